//! Packets of every kind that NAT knows, in every state of their checksum, and what can be seen in them.

use std::net::IpAddr;

use proptest::prelude::*;

use crate::conntrack::Flow;
use crate::packet::flow::{pack, unpack};
use crate::packet::offload::finish_checksum;
use crate::packet::{Csum, Direction, Gso, GsoKind, Net, Packet, Pool, Status, Tuple, segment};
use crate::wire::ipv4::{self, Ipv4};
use crate::wire::ipv6::{self, Ipv6};
use crate::wire::{checksum, icmpv4, icmpv6, ipv6_ext, proto, sctp, transport};

use super::{begin, turned};

/// How a packet's checksum stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sum {
    Wire,
    Verified,
    Begun,
    /// A super-frame, cut into segments of this size; TCP and UDP only, else as begun.
    Super(u16),
    /// UDP over IPv4 only, else on the wire.
    None,
}

/// What a packet looks like, its tuple apart.
#[derive(Debug, Clone)]
pub(crate) struct Look {
    pub payload: Vec<u8>,
    pub sum: Sum,
    /// IPv4 options or IPv6 extension headers are there.
    pub options: bool,
    /// A bit is wrong under the checksum.
    pub broken: bool,
}

pub(crate) fn looks() -> impl Strategy<Value = Look> {
    let byte = prop_oneof![3 => Just(0u8), 1 => Just(0xff), 3 => any::<u8>()];
    let sum = prop_oneof![
        3 => Just(Sum::Wire), 1 => Just(Sum::Verified), 2 => Just(Sum::Begun), 1 => (8u16..200).prop_map(Sum::Super), 1 => Just(Sum::None)
    ];
    (proptest::collection::vec(byte, 0..300), sum, any::<bool>(), prop::bool::weighted(0.1))
        .prop_map(|(payload, sum, options, broken)| Look { payload, sum, options, broken })
}

/// Flows of every protocol and family, translated at either end, both, or none.
pub(crate) fn flows() -> impl Strategy<Value = Flow> {
    const PROTOS: &[u8] = &[
        proto::TCP,
        proto::UDP,
        proto::UDP_LITE,
        proto::SCTP,
        proto::ICMP,
        proto::GRE,
        proto::ESP,
        proto::TCP,
        proto::UDP,
    ];
    let addr = prop_oneof![Just([0u8; 16]), Just([0xff; 16]), any::<[u8; 16]>()];
    let port = prop_oneof![Just(0u16), Just(0xffff), any::<u16>()];
    let ends = (prop::array::uniform4(addr), prop::array::uniform4(port));
    (prop::sample::select(PROTOS), any::<bool>(), ends, any::<[bool; 2]>()).prop_map(
        |(proto, v6, (addrs, ports), [src, dst])| {
            let proto = if v6 && proto == proto::ICMP { proto::ICMPV6 } else { proto };
            let [a, b, a2, b2] =
                addrs.map(|a| if v6 { a } else { pack(IpAddr::from([a[0], a[1], a[2], a[3]])) });
            let [sp, mut dp, sp2, mut dp2] = match proto {
                proto::ESP => [0; 4],
                // The packet holds the call id of whom it is for, and that of nobody else.
                proto::GRE => [0, ports[1], 0, ports[3]],
                _ => ports,
            };
            match proto {
                proto::ICMP => (dp, dp2) = (u16::from(icmpv4::ECHO) << 8, u16::from(icmpv4::ECHO) << 8),
                proto::ICMPV6 => (dp, dp2) = (u16::from(icmpv6::ECHO) << 8, u16::from(icmpv6::ECHO) << 8),
                _ => {}
            }
            let original = Tuple { src: a, dst: b, src_port: sp, dst_port: dp, proto, v6 };
            let mut sent = original;
            let mut status = Status(Status::SRC_NAT_DONE.0 | Status::DST_NAT_DONE.0);
            if src {
                (sent.src, sent.src_port) = (a2, sp2);
                status.set(Status::SRC_NAT);
            }
            if dst {
                (sent.dst, sent.dst_port) = (b2, dp2);
                status.set(Status::DST_NAT);
            }
            let mut flow = begin(original);
            (flow.tuples[1], flow.status) = (turned(&sent), status);
            flow
        },
    )
}

/// The flow that undoes what this one does.
pub(crate) fn undoing(flow: &Flow) -> Flow {
    Flow { tuples: [turned(&flow.tuples[1]), turned(&flow.tuples[0])], ..*flow }
}

/// What a packet of this direction looks like on its way out.
pub(crate) fn leaving(flow: &Flow, dir: Direction) -> Tuple {
    turned(flow.tuple(dir.turned()))
}

/// What of a tuple can be seen in a packet: GRE has only the call id of whom it is for.
pub(crate) fn visible(t: &Tuple) -> Tuple {
    if t.proto == proto::GRE { Tuple { src_port: 0, ..*t } } else { *t }
}

/// A packet of a tuple.
pub(crate) fn packet(t: &Tuple, look: &Look) -> Packet {
    let (src, dst) = (t.src(), t.dst());
    let mut l4 = upper(t, &look.payload);
    let sum_at = match t.proto {
        proto::TCP => Some(16),
        proto::UDP | proto::UDP_LITE => Some(6),
        proto::ICMP | proto::ICMPV6 => Some(2),
        proto::SCTP => Some(sctp::CHECKSUM_AT),
        _ => None,
    };
    let pseudo = match t.proto {
        proto::ICMP | proto::SCTP => 0,
        _ => checksum::pseudo(src, dst, t.proto, l4.len() as u32).unwrap(),
    };
    let mut begun = matches!(look.sum, Sum::Begun | Sum::Super(_));
    let none = look.sum == Sum::None && t.proto == proto::UDP && !t.v6;
    match sum_at {
        None => begun = false,
        Some(_) if none => {}
        Some(at) if begun && t.proto != proto::SCTP => {
            l4[at..at + 2].copy_from_slice(&checksum::fold(pseudo).to_be_bytes());
        }
        Some(_) if begun => {}
        Some(_) if t.proto == proto::SCTP => sctp::fill_checksum(&mut l4),
        Some(at) => {
            let csum = !checksum::fold(pseudo + checksum::sum(&l4));
            let udp = matches!(t.proto, proto::UDP | proto::UDP_LITE);
            let csum = if udp { checksum::udp(csum) } else { csum };
            l4[at..at + 2].copy_from_slice(&csum.to_be_bytes());
        }
    }
    if look.broken && !begun && t.proto != proto::SCTP && !look.payload.is_empty() {
        *l4.last_mut().unwrap() ^= 1;
    }

    let (l3, at) = under(t, look.options, &l4);
    let mut p = Packet::from_slice(&[&[0xee; 14][..], &l3].concat());
    (p.meta.l3, p.meta.l4, p.meta.proto) = (14, at as u16, t.proto);
    p.meta.net = if t.v6 { Net::Ipv6 } else { Net::Ipv4 };
    if look.sum == Sum::Verified && !look.broken {
        p.meta.offload.csum = Csum::Verified;
    }
    if let (true, Some(field)) = (begun, sum_at) {
        p.meta.offload.csum = Csum::Partial { start: at as u16, field: field as u16 };
        let kind = match t.proto {
            proto::TCP if t.v6 => Some(GsoKind::Tcp6),
            proto::TCP => Some(GsoKind::Tcp4),
            proto::UDP => Some(GsoKind::Udp),
            _ => None,
        };
        if let (Sum::Super(size), Some(kind)) = (look.sum, kind) {
            p.meta.offload.gso = Some(Gso { kind, size, ecn: false });
        }
    }
    p
}

/// The upper layer without a checksum.
fn upper(t: &Tuple, payload: &[u8]) -> Vec<u8> {
    let ports = [t.src_port.to_be_bytes(), t.dst_port.to_be_bytes()].concat();
    let mut l4 = match t.proto {
        proto::TCP => [&ports[..], &[0, 0, 0, 9, 0, 0, 0, 5, 0x50, 0x18, 1, 0, 0, 0, 0, 0]].concat(),
        proto::UDP => [&ports[..], &(payload.len() as u16 + 8).to_be_bytes(), &[0, 0]].concat(),
        proto::UDP_LITE => [&ports[..], &[0; 4]].concat(),
        proto::SCTP => [&ports[..], &[1, 2, 3, 4, 0, 0, 0, 0]].concat(),
        proto::ICMP | proto::ICMPV6 => [&[t.icmp_type(), t.icmp_code(), 0, 0], &ports[..2], &[0, 1]].concat(),
        proto::GRE => [&[0x30, 0x81, 0x88, 0x0b, 0, 0], &ports[2..], &[0, 0, 0, 1]].concat(),
        _ => vec![0xaa; 8],
    };
    l4.extend_from_slice(payload);
    l4
}

/// The packet under its IP header, and where the upper layer is.
pub(crate) fn under(t: &Tuple, options: bool, l4: &[u8]) -> (Vec<u8>, usize) {
    let (mut header, between): (Vec<u8>, &[u8]) = match (t.v6, options) {
        (false, false) => (vec![0; ipv4::HEADER_LEN], &[]),
        (false, true) => (vec![0; ipv4::HEADER_LEN], &[1, 1, 1, 0]),
        (true, false) => (vec![0; ipv6::HEADER_LEN], &[]),
        // Hop-by-hop and destination options, padding only.
        (true, true) => (vec![0; ipv6::HEADER_LEN], &[60, 0, 1, 4, 0, 0, 0, 0, t.proto, 0, 1, 4, 0, 0, 0, 0]),
    };
    let len = between.len() + l4.len();
    header[0] = if t.v6 { 0x60 } else { 0x45 + (between.len() / 4) as u8 };
    let mut l3 = [&header, between, l4].concat();
    match (t.src(), t.dst()) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => {
            let mut ip = Ipv4::new(&mut l3[..]).unwrap();
            ip.set_total_len((ipv4::HEADER_LEN + len) as u16);
            ip.set_ttl(64);
            ip.set_protocol(t.proto);
            ip.set_src(src);
            ip.set_dst(dst);
            ip.fill_checksum();
        }
        (IpAddr::V6(src), IpAddr::V6(dst)) => {
            let mut ip = Ipv6::new(&mut l3[..]).unwrap();
            ip.set_payload_len(len as u16);
            ip.set_next_header(if options { proto::HOP_BY_HOP } else { t.proto });
            ip.set_hop_limit(64);
            ip.set_src(src);
            ip.set_dst(dst);
        }
        _ => unreachable!("a tuple is of one family"),
    }
    let at = header.len() + between.len();
    (l3, at)
}

/// The tuple of a packet's bytes, whatever its metadata say.
pub(crate) fn seen(l3: &[u8]) -> Tuple {
    let (src, dst, proto, at) = match l3[0] >> 4 {
        4 => {
            let ip = Ipv4::new(l3).unwrap();
            assert!(ip.verify_checksum(), "header checksum");
            (IpAddr::V4(ip.src()), IpAddr::V4(ip.dst()), ip.protocol(), ip.header_len())
        }
        _ => {
            let (ip, chain) = (Ipv6::new(l3).unwrap(), ipv6_ext::walk(l3).unwrap());
            (IpAddr::V6(ip.src()), IpAddr::V6(ip.dst()), chain.proto, chain.l4)
        }
    };
    let word = |at: usize| u16::from_be_bytes([l3[at], l3[at + 1]]);
    let (src_port, dst_port) = match proto {
        proto::ICMP | proto::ICMPV6 => (word(at + 4), word(at)),
        proto::GRE => (0, word(at + 6)),
        proto::ESP => (0, 0),
        _ => (word(at), word(at + 2)),
    };
    Tuple { src: pack(src), dst: pack(dst), src_port, dst_port, proto, v6: src.is_ipv6() }
}

/// Whether the checksums are right, of all packets that a device would make of it.
pub(crate) fn sound(p: &Packet) -> bool {
    let mut p = p.clone();
    if p.meta.offload.gso.is_some() {
        let mut pieces = Vec::new();
        let n = segment(p, &mut Pool::new(4), &mut pieces).expect("a super-frame");
        return n > 0 && pieces.iter().all(sound);
    }
    assert!(finish_checksum(&mut p));
    let t = seen(p.l3());
    match t.proto {
        proto::SCTP => {
            let mut again = p.l4().to_vec();
            sctp::fill_checksum(&mut again);
            again == p.l4()
        }
        _ => transport::verify(unpack(t.src, t.v6), unpack(t.dst, t.v6), t.proto, p.l4()),
    }
}
