//! Packets to send at the router.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use sekisho::wire::{icmpv4, icmpv6, ipv4::Ipv4, proto, tcp::Tcp, transport, udp::Udp};

use crate::net::{ip4, ip6};

/// An IP packet of either family, TTL 64.
pub(crate) fn ip(src: IpAddr, dst: IpAddr, proto: u8, payload: &[u8]) -> Vec<u8> {
    match (src, dst) {
        (IpAddr::V4(s), IpAddr::V4(d)) => ip4(s, d, proto, payload),
        (IpAddr::V6(s), IpAddr::V6(d)) => ip6(s, d, proto, payload),
        _ => panic!("{src} and {dst} are of two families"),
    }
}

pub(crate) fn udp(
    src: impl Into<IpAddr>,
    dst: impl Into<IpAddr>,
    ports: (u16, u16),
    payload: &[u8],
) -> Vec<u8> {
    let (src, dst) = (src.into(), dst.into());
    ip(src, dst, proto::UDP, &udp_part(src, dst, ports, payload))
}

/// A UDP header and its payload.
pub(crate) fn udp_part(src: IpAddr, dst: IpAddr, ports: (u16, u16), payload: &[u8]) -> Vec<u8> {
    let mut l4 = [&[0; 8], payload].concat();
    let len = l4.len() as u16;
    let mut udp = Udp::new(&mut l4[..]).unwrap();
    udp.set_src_port(ports.0);
    udp.set_dst_port(ports.1);
    udp.set_length(len);
    udp.fill_checksum(src, dst);
    l4
}

pub(crate) fn tcp(
    src: impl Into<IpAddr>,
    dst: impl Into<IpAddr>,
    ports: (u16, u16),
    flags: u8,
    payload: &[u8],
) -> Vec<u8> {
    let (src, dst) = (src.into(), dst.into());
    let mut l4 = [&[0; 20], payload].concat();
    l4[12] = 5 << 4;
    let mut tcp = Tcp::new(&mut l4[..]).unwrap();
    tcp.set_src_port(ports.0);
    tcp.set_dst_port(ports.1);
    tcp.set_seq(1000);
    tcp.set_flags(flags);
    tcp.fill_checksum(src, dst);
    ip(src, dst, proto::TCP, &l4)
}

/// An echo request, ident 7, sequence 9.
pub(crate) fn ping(src: impl Into<IpAddr>, dst: impl Into<IpAddr>, payload: &[u8]) -> Vec<u8> {
    let rest = 7 << 16 | 9;
    match (src.into(), dst.into()) {
        (IpAddr::V4(s), IpAddr::V4(d)) => icmp4(s, d, (icmpv4::ECHO, 0), rest, payload),
        (IpAddr::V6(s), IpAddr::V6(d)) => icmp6(s, d, (icmpv6::ECHO, 0), rest, payload),
        (s, d) => panic!("{s} and {d} are of two families"),
    }
}

pub(crate) fn icmp4(src: Ipv4Addr, dst: Ipv4Addr, kind: (u8, u8), rest: u32, body: &[u8]) -> Vec<u8> {
    let mut message = vec![0; 8 + body.len()];
    icmpv4::emit(&mut message, kind.0, kind.1, rest, body).unwrap();
    ip4(src, dst, proto::ICMP, &message)
}

pub(crate) fn icmp6(src: Ipv6Addr, dst: Ipv6Addr, kind: (u8, u8), rest: u32, body: &[u8]) -> Vec<u8> {
    let mut message = vec![0; 8 + body.len()];
    icmpv6::emit(&mut message, (src, dst), kind, rest, body).unwrap();
    ip6(src, dst, proto::ICMPV6, &message)
}

/// An ICMPv6 packet around a finished message, with hop limit 255.
pub(crate) fn ndp(src: Ipv6Addr, dst: Ipv6Addr, write: impl Fn(&mut [u8]) -> Option<usize>) -> Vec<u8> {
    let mut message = [0; 1280];
    let n = write(&mut message).unwrap();
    let mut p = ip6(src, dst, proto::ICMPV6, &message[..n]);
    p[7] = 255;
    p
}

/// Changes an IPv4 header and makes its checksum right again.
pub(crate) fn edit4(mut packet: Vec<u8>, change: impl FnOnce(&mut [u8])) -> Vec<u8> {
    change(&mut packet);
    Ipv4::new(&mut packet[..]).unwrap().fill_checksum();
    packet
}

/// Sets TTL or hop limit.
pub(crate) fn ttl(mut packet: Vec<u8>, n: u8) -> Vec<u8> {
    if packet[0] >> 4 == 6 {
        packet[7] = n;
        return packet;
    }
    edit4(packet, |p| p[8] = n)
}

/// Sets DF.
pub(crate) fn dont_fragment(packet: Vec<u8>) -> Vec<u8> {
    edit4(packet, |p| p[6] |= 0x40)
}

/// Puts options (a multiple of 4 bytes) into an IPv4 packet.
pub(crate) fn with_options(packet: &[u8], options: &[u8]) -> Vec<u8> {
    assert_eq!(options.len() % 4, 0);
    let p = [&packet[..20], options, &packet[20..]].concat();
    edit4(p, |p| {
        p[0] = 0x45 + (options.len() / 4) as u8;
        let len = p.len() as u16;
        p[2..4].copy_from_slice(&len.to_be_bytes());
    })
}

/// Puts extension headers in front of an IPv6 packet's upper layer: each its own type and its bytes, the
/// first of which, the next header, is filled in here.
pub(crate) fn with_headers(packet: &[u8], headers: &[(u8, &[u8])]) -> Vec<u8> {
    let mut p = packet[..40].to_vec();
    let last = p[6];
    let mut named_at = 6;
    for (kind, bytes) in headers {
        p[named_at] = *kind;
        named_at = p.len();
        p.extend_from_slice(bytes);
    }
    p[named_at] = last;
    p.extend_from_slice(&packet[40..]);
    let len = (p.len() - 40) as u16;
    p[4..6].copy_from_slice(&len.to_be_bytes());
    p
}

/// Cuts a packet into fragments with `step` bytes of payload each (a multiple of 8).
pub(crate) fn fragments(packet: &[u8], step: usize, ident: u16) -> Vec<Vec<u8>> {
    let head = if packet[0] >> 4 == 6 { 40 } else { 20 };
    let body = &packet[head..];
    let cuts = body.chunks(step).enumerate();
    cuts.map(|(i, chunk)| {
        let at = i * step;
        let more = at + chunk.len() < body.len();
        if head == 40 {
            let word = at as u16 | u16::from(more);
            let [a, b] = word.to_be_bytes();
            let [c, d] = ident.to_be_bytes();
            with_headers(&[&packet[..40], chunk].concat(), &[(proto::FRAGMENT, &[0, 0, a, b, 0, 0, c, d])])
        } else {
            edit4([&packet[..20], chunk].concat(), |p| {
                let len = p.len() as u16;
                p[2..4].copy_from_slice(&len.to_be_bytes());
                p[4..6].copy_from_slice(&ident.to_be_bytes());
                let word = (at / 8) as u16 | if more { 0x2000 } else { 0 };
                p[6..8].copy_from_slice(&word.to_be_bytes());
            })
        }
    })
    .collect()
}

/// Bytes that are not all alike.
pub(crate) fn bytes(n: usize) -> Vec<u8> {
    (0..n).map(|i| (i * 7 + i / 256) as u8).collect()
}

/// Whether the upper-layer checksum of a packet without extension headers is right.
pub(crate) fn right(packet: &[u8]) -> bool {
    let v6 = packet[0] >> 4 == 6;
    let (src, dst, proto, l4): (IpAddr, IpAddr, u8, &[u8]) = if v6 {
        let ip = sekisho::wire::ipv6::Ipv6::new(packet).unwrap();
        (ip.src().into(), ip.dst().into(), ip.next_header(), &packet[40..])
    } else {
        let ip = Ipv4::new(packet).unwrap();
        (ip.src().into(), ip.dst().into(), ip.protocol(), &packet[ip.header_len()..])
    };
    transport::verify(src, dst, proto, l4)
}
