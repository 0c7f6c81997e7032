//! ICMP errors: when to send one, when not to, from which address, and how much to quote.
//!
//! RFC 792, RFC 1812 §4.3.2, RFC 4443 §2.4; where they leave room, as `icmp_send` and
//! `icmp6_send`. An error is a packet that the router makes: it is put in line and walks outward.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::base::LinkId;
use crate::base::counters::Tally;
use crate::fib::Action;
use crate::packet::{Frag, L2Kind, Net, Packet};
use crate::wire::icmpv4::unreachable as v4;
use crate::wire::icmpv6::unreachable as v6;
use crate::wire::{icmpv4, icmpv6, ipv4::Ipv4, ipv4::Ipv4Header, ipv6::Ipv6, ipv6::Ipv6Header, proto};

use super::{Bound, Cx, Hop, ndp, source};

/// Type and code of an answer to a packet that can't go on.
type Kind = (u8, u8);

/// Network unreachable: no route (RFC 1812 §5.2.7.1).
pub(super) const NET_UNREACHABLE: Kind = (icmpv4::UNREACHABLE, v4::NET);
/// Host unreachable: the next hop does not answer, or a route says so.
pub(super) const HOST_UNREACHABLE: Kind = (icmpv4::UNREACHABLE, v4::HOST);
/// Administratively prohibited.
pub(super) const PROHIBITED: Kind = (icmpv4::UNREACHABLE, v4::ADMIN_PROHIBITED);
/// No route to destination (RFC 4443 §3.1).
pub(super) const NO_ROUTE6: Kind = (icmpv6::UNREACHABLE, v6::NO_ROUTE);
/// Administratively prohibited.
pub(super) const PROHIBITED6: Kind = (icmpv6::UNREACHABLE, v6::PROHIBITED);

/// TTL and hop limit of what is made here (`net.ipv4.ip_default_ttl`).
pub(super) const TTL: u8 = 64;
/// TOS of ICMPv4 errors: precedence internetwork control (RFC 1812 §4.3.2.5).
const PREC_INTERNETCONTROL: u8 = 0xc0;

/// No route: one more limit applies, as in the kernel's `ip_error`.
pub(super) fn no_route(cx: &mut Cx<'_>, p: &Packet, kind: Kind) {
    match p.meta.net {
        Net::Ipv4 => {
            let Some(ip) = Ipv4::new(p.l3()) else { return };
            if may_answer4(cx, p) && !cx.live.limits.route_error(IpAddr::V4(ip.src()), cx.now) {
                cx.tally(Tally::IcmpLimited);
                return;
            }
            error4(cx, p, kind, 0);
        }
        _ => error6(cx, p, kind, 0),
    }
}

/// The next hop did not answer.
pub(super) fn host_unreachable(cx: &mut Cx<'_>, p: &Packet) {
    match p.meta.net {
        Net::Ipv4 => error4(cx, p, HOST_UNREACHABLE, 0),
        _ => error6(cx, p, (icmpv6::UNREACHABLE, v6::ADDRESS), 0),
    }
}

/// TTL or hop limit ran out.
pub(super) fn time_exceeded(cx: &mut Cx<'_>, p: &Packet) {
    match p.meta.net {
        Net::Ipv4 => error4(cx, p, (icmpv4::TIME_EXCEEDED, icmpv4::TTL_EXCEEDED), 0),
        _ => error6(cx, p, (icmpv6::TIME_EXCEEDED, icmpv6::HOPS_EXCEEDED), 0),
    }
}

/// The rest of a datagram did not come in time; `p` is its first fragment.
pub(super) fn reassembly_exceeded(cx: &mut Cx<'_>, p: &Packet) {
    match p.meta.net {
        Net::Ipv4 => error4(cx, p, (icmpv4::TIME_EXCEEDED, icmpv4::REASSEMBLY_EXCEEDED), 0),
        _ => error6(cx, p, (icmpv6::TIME_EXCEEDED, icmpv6::REASSEMBLY_EXCEEDED), 0),
    }
}

/// Too big for the next link: says how big may be (RFC 1191 §4, RFC 4443 §3.2).
pub(super) fn too_big(cx: &mut Cx<'_>, p: &Packet, mtu: usize) {
    match p.meta.net {
        Net::Ipv4 => error4(cx, p, (icmpv4::UNREACHABLE, v4::FRAGMENTATION_NEEDED), mtu.min(0xffff) as u32),
        _ => error6(cx, p, (icmpv6::TOO_BIG, 0), mtu as u32),
    }
}

/// Nobody listens on the port.
pub(super) fn port_unreachable(cx: &mut Cx<'_>, p: &Packet) {
    match p.meta.net {
        Net::Ipv4 => error4(cx, p, (icmpv4::UNREACHABLE, v4::PORT), 0),
        _ => error6(cx, p, (icmpv6::UNREACHABLE, v6::PORT), 0),
    }
}

/// Nobody speaks the protocol (IPv4).
pub(super) fn protocol_unreachable(cx: &mut Cx<'_>, p: &Packet) {
    error4(cx, p, (icmpv4::UNREACHABLE, v4::PROTOCOL), 0);
}

/// The source is link-local and the way leads off the link.
pub(super) fn beyond_scope(cx: &mut Cx<'_>, p: &Packet) {
    error6(cx, p, (icmpv6::UNREACHABLE, v6::BEYOND_SCOPE), 0);
}

/// A malformed IPv4 option; `pointer` is its offset in the header.
pub(super) fn parameter_problem4(cx: &mut Cx<'_>, p: &Packet, pointer: u8) {
    error4(cx, p, (icmpv4::PARAMETER_PROBLEM, 0), u32::from(pointer) << 24);
}

/// A header or option of IPv6 that can't be dealt with; `pointer` is its offset in the packet.
pub(super) fn parameter_problem6(cx: &mut Cx<'_>, p: &Packet, code: u8, pointer: u32) {
    error6(cx, p, (icmpv6::PARAMETER_PROBLEM, code), pointer);
}

/// A rule refuses it (IPv4); the router hears it too, of what it has made itself.
pub(super) fn refused4(cx: &mut Cx<'_>, p: &Packet, kind: Kind) {
    match !is_own_icmp(p) && answerable4(cx, p) {
        true => limited4(cx, p, kind, 0),
        false => cx.tally(Tally::IcmpSuppressed),
    }
}

/// A rule refuses it (IPv6).
pub(super) fn refused6(cx: &mut Cx<'_>, p: &Packet, kind: Kind) {
    match !is_own_icmp(p) && answerable6(p, kind) {
        true => limited6(cx, p, kind, 0),
        false => cx.tally(Tally::IcmpSuppressed),
    }
}

/// Of its own messages the router does not complain to itself: the kernel makes one at a time (`icmp_xmit_lock`).
fn is_own_icmp(p: &Packet) -> bool {
    p.meta.ingress == LinkId::LO && matches!(p.meta.proto, proto::ICMP | proto::ICMPV6)
}

/// A shorter way for IPv4: the next hop's own address.
pub(super) fn redirect4(cx: &mut Cx<'_>, p: &Packet, hop: &Hop) {
    let Some(ip) = Ipv4::new(p.l3()) else { return };
    let IpAddr::V4(gateway) = hop.next else { return };
    if !may_answer4(cx, p) || !cx.live.limits.redirect4(IpAddr::V4(ip.src()), cx.now) {
        return;
    }
    cx.tally(Tally::Redirects);
    emit4(cx, p, (icmpv4::REDIRECT, icmpv4::REDIRECT_HOST), u32::from(gateway));
}

/// A shorter way for IPv6 (RFC 4861 §8.2): the target must be link-local, or the destination itself.
pub(super) fn redirect6(cx: &mut Cx<'_>, p: &Packet, hop: &Hop) {
    let Some(ip) = Ipv6::new(p.l3()) else { return };
    let (src, dst) = (ip.src(), ip.dst());
    let IpAddr::V6(target) = hop.next else { return };
    // Both are limited: whom it is about (`ip6_forward`), and whom it goes to (`ndisc_send_redirect`).
    if !cx.live.limits.redirect6(dst.into(), cx.now) || target != dst && !target.is_unicast_link_local() {
        return;
    }
    if !may_answer6(p, (icmpv6::REDIRECT, 0)) || !cx.live.limits.redirect6(src.into(), cx.now) {
        return;
    }
    cx.tally(Tally::Redirects);
    ndp::send_redirect(cx, p, hop.link, target);
}

fn error4(cx: &mut Cx<'_>, p: &Packet, kind: Kind, rest: u32) {
    if !may_answer4(cx, p) {
        cx.tally(Tally::IcmpSuppressed);
        return;
    }
    limited4(cx, p, kind, rest);
}

/// An error as far as the limits let it.
fn limited4(cx: &mut Cx<'_>, p: &Packet, kind: Kind, rest: u32) {
    let Some(peer) = Ipv4::new(p.l3()).map(|ip| IpAddr::V4(ip.src())) else { return };
    // "Fragmentation needed" is never limited: path MTU discovery depends on it.
    let limited = kind != (icmpv4::UNREACHABLE, v4::FRAGMENTATION_NEEDED);
    if limited && !cx.live.limits.error(peer, cx.snap.icmp_rate, 0, cx.now) {
        cx.tally(Tally::IcmpLimited);
        return;
    }
    cx.tally(Tally::IcmpErrors);
    emit4(cx, p, kind, rest);
}

fn emit4(cx: &mut Cx<'_>, p: &Packet, (kind, code): Kind, rest: u32) {
    let Some(ip) = Ipv4::new(p.l3()) else { return };
    let (peer, asked, tos) = (ip.src(), ip.dst(), ip.tos());
    let Some(IpAddr::V4(src)) = source::for_reply(cx, p.meta.ingress, asked.into(), peer.into()) else {
        return;
    };
    let quote = p.l3();
    let quote = &quote[..quote.len().min(icmpv4::MAX_QUOTE)];
    let mut room = [0; icmpv4::HEADER_LEN + icmpv4::MAX_QUOTE];
    let Some(len) = icmpv4::emit(&mut room, kind, code, rest, quote) else { return };
    // Errors and redirects carry the precedence of routing traffic, and the packet's own TOS bits.
    let tos = tos & 0x1e | PREC_INTERNETCONTROL;
    if let Some(mut made) = packet4(cx, src, peer, proto::ICMP, tos, &room[..len]) {
        cx.caused(&mut made, p);
        cx.originate_about(made, Bound::Free, p);
    }
}

fn error6(cx: &mut Cx<'_>, p: &Packet, kind: Kind, rest: u32) {
    if !may_answer6(p, kind) {
        cx.tally(Tally::IcmpSuppressed);
        return;
    }
    limited6(cx, p, kind, rest);
}

/// An error as far as the limits let it.
fn limited6(cx: &mut Cx<'_>, p: &Packet, kind: Kind, rest: u32) {
    let Some(peer) = Ipv6::new(p.l3()).map(|ip| ip.src()) else { return };
    if kind.0 != icmpv6::TOO_BIG {
        // The narrower the route to the peer, the rarer (`icmpv6_xrlim_allow`).
        let plen = cx.snap.fib.lookup6(peer).map_or(128, |e| u32::from(e.prefix_len));
        let shift = if plen < 128 { (128 - plen) >> 5 } else { 0 };
        if !cx.live.limits.error(peer.into(), cx.snap.icmp_rate, shift, cx.now) {
            cx.tally(Tally::IcmpLimited);
            return;
        }
    }
    let Some(asked) = Ipv6::new(p.l3()).map(|ip| ip.dst()) else { return };
    let Some(IpAddr::V6(src)) = source::for_reply(cx, p.meta.ingress, asked.into(), peer.into()) else {
        return;
    };
    cx.tally(Tally::IcmpErrors);
    let quote = p.l3();
    let quote = &quote[..quote.len().min(icmpv6::MAX_QUOTE)];
    let mut room = [0; icmpv6::HEADER_LEN + icmpv6::MAX_QUOTE];
    let Some(len) = icmpv6::emit(&mut room, (src, peer), kind, rest, quote) else { return };
    let ingress = p.meta.ingress;
    if let Some(mut made) = icmp6(cx, src, peer, TTL, 0, &room[..len]) {
        cx.caused(&mut made, p);
        cx.originate_about(made, bound_to(peer, ingress), p);
    }
}

/// What a packet to `peer`, heard on `link`, is tied to.
pub(super) fn bound_to(peer: Ipv6Addr, link: LinkId) -> Bound {
    let local = peer.is_unicast_link_local() || peer.is_multicast();
    if local { Bound::Link(link) } else { Bound::Free }
}

/// An ICMPv6 packet around a finished message.
pub(super) fn icmp6(
    cx: &mut Cx<'_>,
    src: Ipv6Addr,
    dst: Ipv6Addr,
    hop_limit: u8,
    traffic_class: u8,
    message: &[u8],
) -> Option<Packet> {
    let mut p = cx.me.pool.sized(40 + message.len());
    let header = Ipv6Header {
        src,
        dst,
        next_header: proto::ICMPV6,
        hop_limit,
        traffic_class,
        flow_label: 0,
        payload_len: message.len(),
    };
    let mut bytes = [0; 40];
    header.emit(&mut bytes);
    (p.append(&bytes) && p.append(message)).then_some(p)
}

/// An IPv4 packet around a payload.
pub(super) fn packet4(
    cx: &mut Cx<'_>,
    src: Ipv4Addr,
    dst: Ipv4Addr,
    proto: u8,
    tos: u8,
    payload: &[u8],
) -> Option<Packet> {
    let mut p = cx.me.pool.sized(20 + payload.len());
    let header = Ipv4Header {
        src,
        dst,
        proto,
        ttl: TTL,
        tos,
        ident: cx.me.random() as u16,
        dont_fragment: false,
        payload_len: payload.len(),
    };
    let mut bytes = [0; 20];
    header.emit(&mut bytes);
    (p.append(&bytes) && p.append(payload)).then_some(p)
}

/// When not to send an error (RFC 1122 §3.2.2, RFC 1812 §4.3.2.7): about errors, later fragments, what
/// was sent to many, or what came from nobody in particular.
fn may_answer4(cx: &Cx<'_>, p: &Packet) -> bool {
    p.meta.ingress != LinkId::LO && answerable4(cx, p)
}

fn answerable4(cx: &Cx<'_>, p: &Packet) -> bool {
    let Some(ip) = Ipv4::new(p.l3()) else { return false };
    let (src, dst) = (ip.src(), ip.dst());
    p.meta.l2 == L2Kind::Host
        && p.meta.frag != Frag::Later
        && one_host4(cx, src)
        && !dst.is_multicast()
        && !dst.is_broadcast()
        && !matches!(cx.snap.fib.lookup4(dst).map(|e| &e.action), Some(Action::Broadcast(_)))
        && !(ip.protocol() == proto::ICMP && p.l4().first().is_none_or(|t| counts_as_error4(*t)))
}

/// Errors, and types that the kernel takes for such because nobody uses them (`icmp_pointers`).
fn counts_as_error4(kind: u8) -> bool {
    icmpv4::is_error(kind) || matches!(kind, 1 | 2 | 6 | 7 | 9 | 10)
}

pub(super) fn one_host4(cx: &Cx<'_>, src: Ipv4Addr) -> bool {
    !src.is_unspecified()
        && !src.is_multicast()
        && !src.is_broadcast()
        && !src.is_loopback()
        && !matches!(cx.snap.fib.lookup4(src).map(|e| &e.action), Some(Action::Broadcast(_)))
}

/// RFC 4443 §2.4 (e): likewise; but "too big" and an option that demands it are answered to groups too.
fn may_answer6(p: &Packet, kind: Kind) -> bool {
    p.meta.ingress != LinkId::LO && answerable6(p, kind)
}

fn answerable6(p: &Packet, kind: Kind) -> bool {
    let Some(ip) = Ipv6::new(p.l3()) else { return false };
    let (src, dst) = (ip.src(), ip.dst());
    let many = p.meta.l2 != L2Kind::Host || dst.is_multicast();
    let even_so = kind.0 == icmpv6::TOO_BIG || kind == (icmpv6::PARAMETER_PROBLEM, 2);
    (!many || even_so)
        && !src.is_unspecified()
        && !src.is_multicast()
        && !src.is_loopback()
        && !(p.meta.proto == proto::ICMPV6
            && p.meta.frag != Frag::Later
            && p.l4().first().is_none_or(|t| icmpv6::is_error(*t)))
}
