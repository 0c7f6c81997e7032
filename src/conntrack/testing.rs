//! Flows and packets for tests.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::table::{Insertion, Under};
use super::{Conntrack, Flow, State};
use crate::base::Instant;
use crate::packet::flow::pack;
use crate::packet::{Net, Packet, Status, Tuple};
use crate::wire::{checksum, proto};

/// A UDP tuple between the `a`th client and the `b`th server.
pub(crate) fn tuple4(a: u32, b: u32) -> Tuple {
    Tuple {
        src: pack(host(a)),
        dst: pack(server(b)),
        src_port: 4000,
        dst_port: 53,
        proto: proto::UDP,
        v6: false,
    }
}

/// The same over IPv6.
pub(crate) fn tuple6(a: u32, b: u32) -> Tuple {
    Tuple { src: pack(host6(a)), dst: pack(server6(b)), v6: true, ..tuple4(a, b) }
}

/// The `n`th client.
pub(crate) fn host(n: u32) -> IpAddr {
    Ipv4Addr::from(0x0a00_0000 + n).into()
}

/// The `n`th server.
pub(crate) fn server(n: u32) -> IpAddr {
    Ipv4Addr::from(0xc633_6400 + n).into()
}

pub(crate) fn host6(n: u32) -> IpAddr {
    Ipv6Addr::from((0xfd00_0001 << 96) + u128::from(n)).into()
}

pub(crate) fn server6(n: u32) -> IpAddr {
    Ipv6Addr::from((0x2001_0db8 << 96) + u128::from(n)).into()
}

/// Puts a flow into a table that has room for it.
pub(crate) fn insert(table: &Conntrack, flow: &Flow) {
    assert!(matches!(table.insert(flow, Under::Both, Instant::ZERO), Insertion::In(_)), "{flow:?}");
}

/// A confirmed UDP flow that lives for 30 s from the start of the clock.
pub(crate) fn udp_flow(a: u32, b: u32) -> Flow {
    flow(tuple4(a, b), 30)
}

/// A confirmed flow that lives until so many seconds after the start of the clock.
pub(crate) fn flow(tuple: Tuple, seconds: u64) -> Flow {
    Flow {
        tuples: [tuple, super::tuple::invert(&tuple).expect("a tuple that can be turned round")],
        status: Status::CONFIRMED,
        mark: 0,
        state: State::Other,
        deadline: Instant::from_secs(seconds),
        masquerade: None,
    }
}

/// A packet of one family with this upper layer, as ingress leaves it; checksums of the upper layer as they are.
pub(crate) fn packet(src: IpAddr, dst: IpAddr, proto: u8, l4: &[u8]) -> Packet {
    let (mut bytes, l3) = match (src, dst) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => {
            let len = (20 + l4.len()) as u16;
            let mut b = vec![0x45, 0, 0, 0, 0, 1, 0x40, 0, 64, proto, 0, 0];
            b[2..4].copy_from_slice(&len.to_be_bytes());
            b.extend(src.octets());
            b.extend(dst.octets());
            let csum = checksum::checksum(&b);
            b[10..12].copy_from_slice(&csum.to_be_bytes());
            (b, 20)
        }
        (IpAddr::V6(src), IpAddr::V6(dst)) => {
            let mut b = vec![0x60, 0, 0, 0, 0, 0, proto, 64];
            b[4..6].copy_from_slice(&(l4.len() as u16).to_be_bytes());
            b.extend(src.octets());
            b.extend(dst.octets());
            (b, 40)
        }
        _ => panic!("two families"),
    };
    bytes.extend(l4);
    let mut p = Packet::from_slice(&bytes);
    p.meta.net = if src.is_ipv4() { Net::Ipv4 } else { Net::Ipv6 };
    p.meta.proto = proto;
    p.meta.l4 = l3;
    p
}

/// A packet of a tuple's direction: the least its protocol can be, with its checksum right. TCP is a SYN.
pub(crate) fn packet_of(t: &Tuple) -> Packet {
    packet(t.src(), t.dst(), t.proto, &upper(t, b"x"))
}

/// The upper layer of a packet of a tuple.
pub(crate) fn upper(t: &Tuple, payload: &[u8]) -> Vec<u8> {
    let mut l4 = Vec::new();
    l4.extend(t.src_port.to_be_bytes());
    l4.extend(t.dst_port.to_be_bytes());
    let field = match t.proto {
        proto::UDP | proto::UDP_LITE => {
            l4.extend((8 + payload.len() as u16).to_be_bytes());
            l4.extend([0; 2]);
            l4.extend(payload);
            6
        }
        proto::TCP => {
            l4.extend([0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 0x20, 0, 0, 0, 0, 0]);
            16
        }
        proto::ICMP | proto::ICMPV6 => {
            l4 = vec![t.icmp_type(), t.icmp_code(), 0, 0];
            l4.extend(t.src_port.to_be_bytes());
            l4.extend([0, 1]);
            l4.extend(payload);
            2
        }
        _ => return payload.to_vec(),
    };
    fill(t, &mut l4, field);
    l4
}

/// Fills in the checksum of an upper layer.
pub(crate) fn fill(t: &Tuple, l4: &mut [u8], field: usize) {
    let pseudo = match t.proto {
        proto::ICMP => 0,
        _ => checksum::pseudo(t.src(), t.dst(), t.proto, l4.len() as u32).expect("one family"),
    };
    l4[field..field + 2].fill(0);
    let sum = checksum::udp(!checksum::fold(pseudo + checksum::sum(l4)));
    l4[field..field + 2].copy_from_slice(&sum.to_be_bytes());
}
