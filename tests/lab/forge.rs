//! Frames as no honest host would send them.

use std::net::IpAddr;

use sekisho::base::Mac;
use sekisho::wire::{ethernet, icmpv4, icmpv6, ipv4::Ipv4, ipv4::Ipv4Header, ipv6::Ipv6Header, proto};
use sekisho::wire::{tcp::Tcp, udp::Udp};

/// An Ethernet frame around an IP packet, from a MAC that nobody has.
pub(crate) fn frame(dst: Mac, l3: &[u8]) -> Vec<u8> {
    let kind = if l3[0] >> 4 == 6 { ethernet::IPV6 } else { ethernet::IPV4 };
    let mut f = vec![0; 14];
    ethernet::write(&mut f, dst, Mac([2, 0xee, 0, 0, 0, 1]), kind);
    f.extend_from_slice(l3);
    f
}

/// An IP packet.
pub(crate) fn packet(src: IpAddr, dst: IpAddr, proto: u8, payload: &[u8]) -> Vec<u8> {
    let mut p = match (src, dst) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => {
            let mut p = vec![0; 20];
            let payload_len = payload.len();
            Ipv4Header { src, dst, proto, ttl: 64, tos: 0, ident: 77, dont_fragment: false, payload_len }
                .emit(&mut p);
            p
        }
        (IpAddr::V6(src), IpAddr::V6(dst)) => {
            let mut p = vec![0; 40];
            let payload_len = payload.len();
            let header = Ipv6Header {
                src,
                dst,
                next_header: proto,
                hop_limit: 64,
                traffic_class: 0,
                flow_label: 0,
                payload_len,
            };
            header.emit(&mut p);
            p
        }
        _ => panic!("{src} and {dst} are of two families"),
    };
    p.extend_from_slice(payload);
    p
}

/// A datagram.
pub(crate) fn udp(src: (IpAddr, u16), dst: (IpAddr, u16), data: &[u8]) -> Vec<u8> {
    let mut l4 = [&[0; 8], data].concat();
    let len = l4.len() as u16;
    let mut udp = Udp::new(&mut l4[..]).unwrap();
    udp.set_src_port(src.1);
    udp.set_dst_port(dst.1);
    udp.set_length(len);
    udp.fill_checksum(src.0, dst.0);
    packet(src.0, dst.0, proto::UDP, &l4)
}

/// A segment without data.
pub(crate) fn tcp(src: (IpAddr, u16), dst: (IpAddr, u16), flags: u8, seq: u32) -> Vec<u8> {
    let mut l4 = vec![0; 20];
    l4[12] = 5 << 4;
    l4[14] = 0x20;
    let mut tcp = Tcp::new(&mut l4[..]).unwrap();
    tcp.set_src_port(src.1);
    tcp.set_dst_port(dst.1);
    tcp.set_seq(seq);
    tcp.set_flags(flags);
    tcp.fill_checksum(src.0, dst.0);
    packet(src.0, dst.0, proto::TCP, &l4)
}

/// An ICMP error of the packet's family about it: "administratively prohibited", which hosts pass on to the socket.
pub(crate) fn unreachable(src: IpAddr, about: &[u8]) -> Vec<u8> {
    let quote = &about[..about.len().min(500)];
    let mut message = vec![0; 8 + quote.len()];
    match src {
        IpAddr::V4(_) => {
            icmpv4::emit(&mut message, icmpv4::UNREACHABLE, 13, 0, quote).unwrap();
            let dst = Ipv4::new(about).unwrap().src();
            packet(src, dst.into(), proto::ICMP, &message)
        }
        IpAddr::V6(own) => {
            let dst = sekisho::wire::ipv6::Ipv6::new(about).unwrap().src();
            icmpv6::emit(&mut message, (own, dst), (icmpv6::UNREACHABLE, 1), 0, quote).unwrap();
            packet(src, dst.into(), proto::ICMPV6, &message)
        }
    }
}

/// A packet's payload from `from` to `to` as a fragment.
pub(crate) fn fragment(whole: &[u8], from: usize, to: usize, ident: u16) -> Vec<u8> {
    let v6 = whole[0] >> 4 == 6;
    let head = if v6 { 40 } else { 20 };
    let more = head + to < whole.len();
    let ident = ident.to_be_bytes();
    let body = &whole[head + from..head + to];
    if v6 {
        let [a, b] = (from as u16 | u16::from(more)).to_be_bytes();
        let mut p = [&whole[..40], &[whole[6], 0, a, b, 0, 0, ident[0], ident[1]], body].concat();
        p[6] = proto::FRAGMENT;
        let len = (p.len() - 40) as u16;
        p[4..6].copy_from_slice(&len.to_be_bytes());
        return p;
    }
    let mut p = [&whole[..20], body].concat();
    let len = p.len() as u16;
    p[2..4].copy_from_slice(&len.to_be_bytes());
    p[4..6].copy_from_slice(&ident);
    let word = (from / 8) as u16 | if more { 0x2000 } else { 0 };
    p[6..8].copy_from_slice(&word.to_be_bytes());
    Ipv4::new(&mut p[..]).unwrap().fill_checksum();
    p
}
