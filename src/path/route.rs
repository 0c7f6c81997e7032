//! Where a packet goes: to this router, through it, or nowhere.
//!
//! The order of the questions is that of `ip_route_input_slow` and `ip6_route_input`: first the
//! addresses that can't be, then the table, then whether the source may come from where it came.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::base::{DropReason, LinkId, Mac};
use crate::fib::{self, Action, Entry};
use crate::link::{Link, RpFilter};
use crate::neighbor::DadState;
use crate::packet::{Frag, Net, Packet};
use crate::wire::ipv4_options::{self, SourceRoute};
use crate::wire::transport;
use crate::wire::{ipv4::Ipv4, ipv6::Ipv6};

use super::{Bound, Cx, Hop, Snapshot, ndp, reply, trace};

/// Decides on a packet from a link: the hop it is forwarded to, or `None` if it is ours.
pub(super) fn input(cx: &mut Cx<'_>, p: &mut Packet) -> Result<Option<Hop>, DropReason> {
    let way = match p.meta.net {
        Net::Ipv4 => input4(cx, p),
        Net::Ipv6 => input6(cx, p),
        Net::Arp | Net::None => Err(DropReason::EtherTypeUnknown),
    };
    if p.meta.trace.is_some() {
        told(cx, p, way, Bound::Free);
    }
    way
}

/// Where a packet that is followed was found to go.
#[cold]
fn told(cx: &mut Cx<'_>, p: &Packet, way: Result<Option<Hop>, DropReason>, bound: Bound) {
    if let Some(step) = trace::route(cx, p, way, bound) {
        cx.note(p, |_| step);
    }
}

fn input4(cx: &mut Cx<'_>, p: &mut Packet) -> Result<Option<Hop>, DropReason> {
    let Some(ip) = Ipv4::new(p.l3()) else { return Err(DropReason::Ip4TooShort) };
    let (src, dst) = (ip.src(), ip.dst());
    let way = way4(cx, p, src, dst)?;
    options4(cx, p)?;
    Ok(way)
}

fn way4(cx: &mut Cx<'_>, p: &Packet, src: Ipv4Addr, dst: Ipv4Addr) -> Result<Option<Hop>, DropReason> {
    let inside = p.meta.ingress == LinkId::LO;
    if src.is_multicast() || src.is_broadcast() || !inside && src.is_loopback() {
        return Err(DropReason::MartianSource);
    }
    if dst.is_multicast() {
        return group4(cx, p, src, dst);
    }
    if dst.is_broadcast() || src.is_unspecified() && dst.is_unspecified() {
        // Who has no address yet may call out to all.
        from_where(cx, p, src.into(), None)?;
        return Ok(None);
    }
    if src.octets()[0] == 0 {
        return Err(DropReason::MartianSource);
    }
    if dst.octets()[0] == 0 || !inside && dst.is_loopback() {
        return Err(DropReason::MartianDestination);
    }
    let snap = cx.snap;
    let hop = match snap.fib.lookup4(dst) {
        Some(entry) => match &entry.action {
            Action::Local(_) | Action::Anycast(_) | Action::Broadcast(_) => {
                from_where(cx, p, src.into(), None)?;
                return Ok(None);
            }
            _ => forwardable(cx, p, entry, src.into(), dst.into())?,
        },
        None => {
            reply::no_route(cx, p, reply::NET_UNREACHABLE);
            return Err(DropReason::NoRoute);
        }
    };
    from_where(cx, p, src.into(), Some(hop.link))?;
    Ok(Some(hop))
}

/// IPv4 to a group: only 224.0.0.1, which every host is in (RFC 1112 §4); none is forwarded.
fn group4(cx: &mut Cx<'_>, p: &Packet, src: Ipv4Addr, dst: Ipv4Addr) -> Result<Option<Hop>, DropReason> {
    if dst != Ipv4Addr::new(224, 0, 0, 1) {
        return Err(if dst.octets()[..3] == [224, 0, 0] {
            DropReason::NotJoined
        } else {
            DropReason::NotForwarded
        });
    }
    from_where(cx, p, src.into(), None)?;
    Ok(None)
}

fn input6(cx: &mut Cx<'_>, p: &mut Packet) -> Result<Option<Hop>, DropReason> {
    let Some(ip) = Ipv6::new(p.l3()) else { return Err(DropReason::Ip6TooShort) };
    let (src, dst) = (ip.src(), ip.dst());
    let ingress = p.meta.ingress;
    let snap = cx.snap;
    let Some(link) = snap.links.get(ingress) else { return Err(DropReason::LinkDown) };
    // Our own addresses, the link-local ones too: what seems to come from us would be answered to us. One that
    // is still being checked is not ours: whoever has it says so from it.
    let own = if link.has(src.into()) { Some(ingress) } else { snap.links.owner(src.into()) };
    if ingress != LinkId::LO && own.is_some_and(|on| cx.live.dad.state(on, src) == DadState::Valid) {
        return Err(DropReason::MartianSource);
    }
    if dst.is_multicast() {
        return if ndp::joined(cx.live, link, dst) {
            Ok(None)
        } else if dst.octets()[1] & 0xf <= 2 {
            Err(DropReason::NotJoined)
        } else {
            Err(DropReason::NotForwarded)
        };
    }
    if dst.is_unspecified() {
        return Err(DropReason::MartianDestination);
    }
    if dst.is_loopback() && ingress != LinkId::LO {
        // NAT has made it so; the loopback's address is on the loopback alone (`rt6_need_strict`).
        reply::no_route(cx, p, reply::NO_ROUTE6);
        return Err(DropReason::NoRoute);
    }
    if dst.is_unicast_link_local() {
        if ingress == LinkId::LO && snap.links.iter().any(|l| l.has(dst.into())) || link.has(dst.into()) {
            return ours6(cx, ingress, dst);
        }
        return Err(DropReason::LinkLocalScope);
    }
    let hop = match snap.fib.lookup6(dst) {
        Some(entry) => match &entry.action {
            Action::Local(on) | Action::Anycast(on) | Action::Broadcast(on) => {
                let on = *on;
                from_where(cx, p, src.into(), None)?;
                return ours6(cx, on, dst);
            }
            _ => forwardable(cx, p, entry, src.into(), dst.into())?,
        },
        None => {
            reply::no_route(cx, p, reply::NO_ROUTE6);
            return Err(DropReason::NoRoute);
        }
    };
    from_where(cx, p, src.into(), Some(hop.link))?;
    Ok(Some(hop))
}

/// One of our own addresses: deaf while it is being checked for duplicates (RFC 4862 §5.4).
fn ours6(cx: &Cx<'_>, on: LinkId, dst: Ipv6Addr) -> Result<Option<Hop>, DropReason> {
    match cx.live.dad.state(on, dst) {
        DadState::Valid => Ok(None),
        DadState::Tentative | DadState::Duplicate => Err(DropReason::AddressTentative),
    }
}

/// The hop of a route that leads on, or the answer that a route that doesn't has for the sender.
fn forwardable(
    cx: &mut Cx<'_>,
    p: &Packet,
    entry: &Entry,
    src: IpAddr,
    dst: IpAddr,
) -> Result<Hop, DropReason> {
    match &entry.action {
        Action::Forward(hops) => {
            let hash = if hops.iter().len() > 1 { flow_hash(cx, p, src, dst) } else { 0 };
            match hops.pick(hash, |link| cx.live.states.is_up(link)) {
                Some(hop) => Ok(Hop::of(entry, hop, dst)),
                None => {
                    reply::no_route(
                        cx,
                        p,
                        if dst.is_ipv4() { reply::NET_UNREACHABLE } else { reply::NO_ROUTE6 },
                    );
                    Err(DropReason::LinkDown)
                }
            }
        }
        Action::Unreachable => {
            reply::no_route(cx, p, if dst.is_ipv4() { reply::HOST_UNREACHABLE } else { reply::NO_ROUTE6 });
            Err(DropReason::Unreachable)
        }
        Action::Prohibit => {
            reply::no_route(cx, p, if dst.is_ipv4() { reply::PROHIBITED } else { reply::PROHIBITED6 });
            Err(DropReason::Prohibit)
        }
        Action::Blackhole => Err(DropReason::Blackhole),
        Action::Local(_) | Action::Anycast(_) | Action::Broadcast(_) => Err(DropReason::NotForwarded),
    }
}

/// The hash that keeps a flow on one hop. Only the first of a datagram's fragments shows what is in it, so
/// all of them go by addresses.
fn flow_hash(cx: &Cx<'_>, p: &Packet, src: IpAddr, dst: IpAddr) -> u32 {
    let (proto, ports) = match p.meta.frag {
        Frag::Whole => (p.meta.proto, transport::ports(p.meta.proto, p.l4())),
        Frag::First | Frag::Later => (0, None),
    };
    transport::flow_hash(src, dst, proto, ports, cx.live.flow_key)
}

/// Whether the source may come in by this link: the kernel's `fib_validate_source`. `out` is the link
/// the packet will leave by.
pub(super) fn from_where(
    cx: &Cx<'_>,
    p: &Packet,
    src: IpAddr,
    out: Option<LinkId>,
) -> Result<(), DropReason> {
    comes_from(cx.snap, p.meta.ingress, src, out)
}

/// The same, of tables.
pub(super) fn comes_from(
    snap: &Snapshot,
    ingress: LinkId,
    src: IpAddr,
    out: Option<LinkId>,
) -> Result<(), DropReason> {
    if ingress == LinkId::LO || src.is_unspecified() {
        return Ok(());
    }
    // For IPv6 `input6` has asked already.
    if src.is_ipv4() && snap.links.owner(src).is_some() {
        return Err(DropReason::MartianSource);
    }
    let Some(link) = snap.links.get(ingress) else { return Err(DropReason::LinkDown) };
    match src {
        IpAddr::V6(v6) if v6.is_unicast_link_local() => return Ok(()),
        IpAddr::V6(_) => {}
        // The link's own broadcast address is no host's, whatever rp_filter says (RFC 1812 §5.3.7). Linux
        // lets it pass.
        IpAddr::V4(v4) if link.addresses.iter().any(|a| a.broadcast() == Some(v4)) => {
            return Err(DropReason::MartianSource);
        }
        IpAddr::V4(_) => {}
    }
    let turns_back = out == Some(ingress) && link.redirects && src.is_ipv4();
    if link.rp_filter == RpFilter::Off && !turns_back {
        return Ok(());
    }
    let back = snap.fib.lookup(src);
    match (back.map(|e| &e.action), link.rp_filter) {
        (Some(Action::Forward(hops)), RpFilter::Strict) => {
            if hops.iter().any(|h| h.link == ingress) {
                Ok(())
            } else {
                Err(DropReason::RpFilter)
            }
        }
        (Some(Action::Forward(_)), _) | (None, RpFilter::Off) => Ok(()),
        (Some(Action::Local(_) | Action::Broadcast(_) | Action::Anycast(_)), _) => {
            Err(DropReason::MartianSource)
        }
        // A route that refuses is no way back, as none is.
        (Some(_), RpFilter::Off) => Ok(()),
        (Some(_) | None, _) => Err(DropReason::RpFilter),
    }
}

/// IPv4 options, looked at once the packet is known to go somewhere (`ip_rcv_options`).
fn options4(cx: &mut Cx<'_>, p: &Packet) -> Result<(), DropReason> {
    if !p.meta.options {
        return Ok(());
    }
    let header = Ipv4::new(p.l3()).map_or(0, |ip| ip.header_len());
    match ipv4_options::parse(p.l3().get(..header).unwrap_or_default()) {
        Ok(options) if options.source_route != SourceRoute::None => Err(DropReason::Ip4SourceRoute),
        Ok(_) => Ok(()),
        Err(pointer) => {
            reply::parameter_problem4(cx, p, pointer);
            Err(DropReason::Ip4BadOptions)
        }
    }
}

/// Decides on a packet made here: the hop it leaves by, or `None` if it is for this router.
pub(super) fn output(cx: &mut Cx<'_>, p: &mut Packet, bound: Bound) -> Result<Option<Hop>, DropReason> {
    let (src, dst): (IpAddr, IpAddr) = match p.meta.net {
        Net::Ipv4 => Ipv4::new(p.l3()).map(|ip| (ip.src().into(), ip.dst().into())),
        _ => Ipv6::new(p.l3()).map(|ip| (ip.src().into(), ip.dst().into())),
    }
    .ok_or(DropReason::NotEncodable)?;
    let way = match bound {
        Bound::Station(link, mac) => Ok(Some(Hop { mac: Some(mac), ..Hop::to(link, dst) })),
        Bound::Link(link) => match cx.snap.links.get(link) {
            Some(l) if l.has(dst) => Ok(None),
            Some(_) => Ok(Some(Hop { mac: group_mac(dst), ..Hop::to(link, dst) })),
            None => Err(DropReason::LinkDown),
        },
        Bound::Free => free(cx, p, src, dst),
    };
    if p.meta.trace.is_some() {
        told(cx, p, way, bound);
    }
    way
}

fn free(cx: &Cx<'_>, p: &Packet, src: IpAddr, dst: IpAddr) -> Result<Option<Hop>, DropReason> {
    if dst.is_multicast() || matches!(dst, IpAddr::V6(v6) if v6.is_unicast_link_local()) {
        return Err(DropReason::LinkLocalScope);
    }
    if matches!(dst, IpAddr::V4(v4) if v4.is_broadcast()) {
        return Err(DropReason::NotForwarded);
    }
    let Some(entry) = cx.snap.fib.lookup(dst) else { return Err(DropReason::NoRoute) };
    match &entry.action {
        Action::Local(_) | Action::Anycast(_) => Ok(None),
        Action::Forward(hops) => {
            let hash = if hops.iter().len() > 1 { flow_hash(cx, p, src, dst) } else { 0 };
            let hop = hops.pick(hash, |l| cx.live.states.is_up(l)).ok_or(DropReason::LinkDown)?;
            Ok(Some(Hop::of(entry, hop, dst)))
        }
        Action::Broadcast(_) => Err(DropReason::NotForwarded),
        Action::Unreachable => Err(DropReason::Unreachable),
        Action::Prohibit => Err(DropReason::Prohibit),
        Action::Blackhole => Err(DropReason::Blackhole),
    }
}

impl Hop {
    /// To a neighbor on a link that nothing else is said of.
    pub(super) fn to(link: LinkId, next: IpAddr) -> Self {
        Hop { link, next, mac: None, mtu: Entry::UNLIMITED }
    }

    /// What a route says of a destination.
    fn of(entry: &Entry, hop: &fib::Hop, dst: IpAddr) -> Self {
        Hop { link: hop.link, next: hop.via.unwrap_or(dst), mac: None, mtu: entry.mtu(dst) }
    }

    /// The largest packet that goes this way whole, in bytes: what the link takes, or less.
    #[inline]
    pub(super) fn fits(&self, link: &Link) -> usize {
        link.mtu.min(self.mtu.into()) as usize
    }
}

/// The MAC of a group or of all; `None` for a single station.
pub(super) fn group_mac(dst: IpAddr) -> Option<Mac> {
    match dst {
        IpAddr::V4(v4) if v4.is_multicast() => Some(Mac::of_multicast_v4(v4)),
        IpAddr::V4(v4) if v4.is_broadcast() => Some(Mac::BROADCAST),
        IpAddr::V6(v6) if v6.is_multicast() => Some(Mac::of_multicast_v6(v6)),
        _ => None,
    }
}

/// Whether `a` is on the prefix of one of the link's addresses.
pub(super) fn on_link(link: &Link, a: IpAddr) -> bool {
    link.addresses.iter().any(|own| own.network().contains(&a))
}
