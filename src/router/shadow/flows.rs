//! The packet that is likely to come next of a flow: for asking what would become of it.

use std::net::IpAddr;

use crate::base::{LinkId, Mac};
use crate::conntrack::{Flow, State, tcp};
use crate::fib::Action;
use crate::packet::{Direction, Packet, Status};
use crate::path::Live;
use crate::path::Snapshot;
use crate::wire::words::{Ip, Upper};
use crate::wire::{ethernet, icmpv4, proto};

/// Where packets of one direction of a flow come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// The router itself.
    Here,
    /// A link, and the neighbor there that they come from.
    Link(LinkId, IpAddr),
}

/// Where packets from this address come from, as far as the routes say: where packets to it go.
pub(super) fn origin(snap: &Snapshot, live: &Live, src: IpAddr) -> Option<Origin> {
    match &snap.fib.lookup(src)?.action {
        Action::Local(_) => Some(Origin::Here),
        Action::Forward(hops) => {
            let hop = hops.pick(0, |l| live.states.is_up(l)).or_else(|| hops.iter().next())?;
            Some(Origin::Link(hop.link, hop.via.unwrap_or(src)))
        }
        _ => None,
    }
}

/// Whether more is to come of a flow.
pub(super) fn goes_on(flow: &Flow) -> bool {
    match &flow.state {
        State::Tcp(tcp) => !matches!(tcp.phase(), tcp::Phase::TimeWait | tcp::Phase::Close),
        _ => !flow.status.has(Status::NAT_CLASH),
    }
}

/// The next packet of a direction, from its IP header on.
pub(super) fn next(flow: &Flow, dir: Direction) -> Vec<u8> {
    let tuple = flow.tuple(dir);
    let ports = (tuple.src_port, tuple.dst_port);
    let upper = match (tuple.proto, &flow.state) {
        (proto::TCP, State::Tcp(state)) => {
            let (flags, seq, ack) = state.next_of(dir);
            Upper::Tcp { ports, flags, seq, ack, window: 64_240, mss: None }
        }
        (proto::SCTP, State::Sctp(state)) => {
            let (tag, chunk) = state.next_of(dir);
            Upper::Sctp { ports, tag, chunk }
        }
        (proto @ (proto::UDP | proto::UDP_LITE), _) => Upper::Udp { proto, ports },
        (proto::ICMP | proto::ICMPV6, _) => Upper::Icmp {
            kind: tuple.icmp_type(),
            code: tuple.icmp_code(),
            rest: u32::from(tuple.src_port) << 16 | 1,
            about: None,
        },
        (other, _) => Upper::Other(other),
    };
    let ip = Ip {
        src: tuple.src(),
        dst: tuple.dst(),
        ttl: 64,
        tos: 0,
        df: true,
        ident: 1,
        len: matches!(upper, Upper::Icmp { .. }).then(|| if tuple.v6 { 40 } else { 20 } + icmpv4::HEADER_LEN),
        fragment: None,
        upper,
    };
    let mut bytes = ip.bytes();
    if tuple.proto == proto::GRE && tuple.dst_port != 0 {
        pptp(&mut bytes, tuple.v6, tuple.dst_port);
    }
    bytes
}

/// Makes a bare GRE packet one of PPTP's, with the call it belongs to (RFC 2637 §4.1).
fn pptp(bytes: &mut Vec<u8>, v6: bool, call: u16) {
    let (header, length) = if v6 { (40, 4) } else { (20, 2) };
    bytes.resize(header + 8, 0);
    let [hi, lo] = call.to_be_bytes();
    if let Some(gre) = bytes.get_mut(header..) {
        gre.copy_from_slice(&[0x20, 0x01, 0x88, 0x0b, 0, 0, hi, lo]);
    }
    let len = if v6 { 8u16 } else { header as u16 + 8 };
    if let Some(field) = bytes.get_mut(length..length + 2) {
        field.copy_from_slice(&len.to_be_bytes());
    }
    if let Some(mut ip) = crate::wire::ipv4::Ipv4::new(bytes.as_mut_slice()).filter(|_| !v6) {
        ip.fill_checksum();
    }
}

/// A station that nobody has: who sends what is only asked about, unless somebody says who, or it is known.
pub(super) fn somebody() -> Mac {
    Mac::stable(&["somebody"])
}

/// The packet as it comes in by a link of a configuration.
pub(super) fn framed(snap: &Snapshot, link: LinkId, from: Mac, l3: &[u8]) -> Packet {
    let Some(own) = snap.links.get(link).and_then(|l| l.mac) else { return Packet::from_slice(l3) };
    let kind = if l3.first().is_some_and(|b| b >> 4 == 6) { ethernet::IPV6 } else { ethernet::IPV4 };
    let mut frame = vec![0; ethernet::HEADER_LEN + l3.len()];
    ethernet::write(&mut frame, own, from, kind);
    frame[ethernet::HEADER_LEN..].copy_from_slice(l3);
    Packet::from_slice(&frame)
}
