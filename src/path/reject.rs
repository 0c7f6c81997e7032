//! REJECT: tells the sender of a packet that a rule has refused it (`nf_reject_ipv4.c`, `nf_reject_ipv6.c`).

use std::net::IpAddr;

use crate::base::LinkId;
use crate::filter::targets::RejectWith;
use crate::packet::{Csum, Frag, Net, Packet};
use crate::wire::icmpv4::unreachable as v4;
use crate::wire::icmpv6::unreachable as v6;
use crate::wire::tcp::{self, Tcp};
use crate::wire::{checksum, icmpv4, icmpv6, ipv4::Ipv4Header, ipv6::Ipv6Header, proto};

use super::{Bound, Cx, deliver, reply};

/// Answers `p` as the rule says, if it may be answered.
pub(super) fn reject(cx: &mut Cx<'_>, p: &Packet, with: RejectWith) {
    if p.meta.frag == Frag::Later || !sound(p) {
        return;
    }
    match (with, p.meta.net) {
        (RejectWith::TcpReset, _) => reset(cx, p),
        (_, Net::Ipv4) => reply::refused4(cx, p, (icmpv4::UNREACHABLE, code4(with))),
        _ => reply::refused6(cx, p, (icmpv6::UNREACHABLE, code6(with))),
    }
}

fn code4(with: RejectWith) -> u8 {
    match with {
        RejectWith::Net => v4::NET,
        RejectWith::Host => v4::HOST,
        RejectWith::Proto => v4::PROTOCOL,
        RejectWith::NetProhibited => v4::NET_PROHIBITED,
        RejectWith::HostProhibited => v4::HOST_PROHIBITED,
        RejectWith::AdminProhibited => v4::ADMIN_PROHIBITED,
        _ => v4::PORT,
    }
}

fn code6(with: RejectWith) -> u8 {
    match with {
        RejectWith::NoRoute6 => v6::NO_ROUTE,
        RejectWith::AdminProhibited6 => v6::PROHIBITED,
        RejectWith::Addr6 => v6::ADDRESS,
        RejectWith::Policy6 => v6::POLICY,
        RejectWith::Route6 => v6::REJECT,
        _ => v6::PORT,
    }
}

/// Whether the upper layer is whole: what was damaged on its way gets no answer (`nf_reject_verify_csum`). Protocols
/// whose checksum covers less or means something else are not looked into; of all others the kernel expects the
/// Internet checksum, whether they have one or not, and of a fragment that it be right by itself.
fn sound(p: &Packet) -> bool {
    let l4 = p.l4();
    if p.meta.net == Net::Ipv6 && l4.is_empty() {
        return false;
    }
    let none = match p.meta.proto {
        proto::UDP => l4.get(6..8) == Some(&[0, 0]),
        other => {
            matches!(other, proto::GRE | proto::AH | proto::ESP | proto::SCTP | proto::UDP_LITE | proto::DCCP)
        }
    };
    if none || p.meta.offload.csum != Csum::Wire {
        return true;
    }
    let with_ends = p.meta.net == Net::Ipv6 || matches!(p.meta.proto, proto::TCP | proto::UDP);
    // The kernel adds up the IPv4 header too, which comes to all ones.
    let around = match deliver::ends(p).filter(|_| with_ends) {
        Some((src, dst)) => checksum::pseudo(src, dst, p.meta.proto, l4.len() as u32).unwrap_or(0),
        None => 0xffff,
    };
    checksum::fold(around + checksum::sum(l4)) == 0xffff
}

/// A reset in the name of the destination, as if nobody listened there (RFC 9293 §3.10.7.1).
fn reset(cx: &mut Cx<'_>, p: &Packet) {
    let Some((peer, asked)) = deliver::ends(p) else { return };
    if p.meta.proto != proto::TCP || !one_host(cx, peer) || !one_host(cx, asked) {
        return;
    }
    let Some(old) = Tcp::new(p.l4()) else { return };
    if old.flags() & tcp::RST != 0 {
        return;
    }
    let mut segment = [0; tcp::HEADER_LEN];
    segment[12] = (tcp::HEADER_LEN as u8 / 4) << 4;
    let Some(mut made) = Tcp::new(&mut segment[..]) else { return };
    made.set_src_port(old.dst_port());
    made.set_dst_port(old.src_port());
    if old.flags() & tcp::ACK != 0 {
        made.set_seq(old.ack());
        made.set_flags(tcp::RST);
    } else {
        let in_seq = u32::from(old.flags() & tcp::SYN != 0) + u32::from(old.flags() & tcp::FIN != 0);
        // A header that claims to be longer than the segment takes away from it, as in the kernel.
        let payload = (p.l4().len() as u32).wrapping_sub(old.header_len() as u32);
        made.set_ack(old.seq().wrapping_add(in_seq).wrapping_add(payload));
        made.set_flags(tcp::RST | tcp::ACK);
    }
    made.fill_checksum(asked, peer);
    let Some(mut made) = around(cx, asked, peer, &segment) else { return };
    cx.caused(&mut made, p);
    if let Some(id) = p.meta.ct.flow {
        let settings = cx.live.conntrack.settings();
        cx.live.conntrack.update(id, |flow| flow.close(cx.now, settings));
    }
    let bound = match peer {
        IpAddr::V6(peer) if p.meta.ingress != LinkId::LO => reply::bound_to(peer, p.meta.ingress),
        _ => Bound::Free,
    };
    cx.originate_about(made, bound, p);
}

fn one_host(cx: &Cx<'_>, addr: IpAddr) -> bool {
    match addr {
        IpAddr::V4(addr) => reply::one_host4(cx, addr) || addr.is_loopback(),
        IpAddr::V6(addr) => !addr.is_multicast() && !addr.is_unspecified(),
    }
}

/// A packet around the segment; DF is set and the identifier 0 in IPv4.
fn around(cx: &mut Cx<'_>, src: IpAddr, dst: IpAddr, segment: &[u8]) -> Option<Packet> {
    let mut p = cx.me.pool.sized(40 + segment.len());
    let room = match (src, dst) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => {
            let header = Ipv4Header {
                src,
                dst,
                proto: proto::TCP,
                ttl: reply::TTL,
                tos: 0,
                ident: 0,
                dont_fragment: true,
                payload_len: segment.len(),
            };
            let mut bytes = [0; 20];
            header.emit(&mut bytes);
            p.append(&bytes)
        }
        (IpAddr::V6(src), IpAddr::V6(dst)) => {
            let header = Ipv6Header {
                src,
                dst,
                next_header: proto::TCP,
                hop_limit: reply::TTL,
                traffic_class: 0,
                flow_label: 0,
                payload_len: segment.len(),
            };
            let mut bytes = [0; 40];
            header.emit(&mut bytes);
            p.append(&bytes)
        }
        _ => false,
    };
    (room && p.append(segment)).then_some(p)
}
