//! Packets of every kind that NAT knows.

use std::net::{IpAddr, SocketAddr};

use sekisho::packet::flow::pack;
use sekisho::packet::{Net, Packet, Tuple};
use sekisho::wire::ipv4::Ipv4;
use sekisho::wire::ipv6::Ipv6;
use sekisho::wire::{checksum, ipv6_ext, proto, sctp};

/// A generator whose runs can be repeated (SplitMix64).
#[derive(Debug)]
pub(crate) struct Numbers(pub(crate) u64);

impl Numbers {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    pub(crate) fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    pub(crate) fn coin(&mut self) -> bool {
        self.below(2) == 0
    }

    fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }
}

/// A flow from inside to outside, of few enough hosts and ports that they meet.
pub(crate) fn any_tuple(n: &mut Numbers, v6: bool) -> Tuple {
    let (src, dst): (IpAddr, IpAddr) = match v6 {
        false => (
            [10, 64, n.pick(&[0, 1]), n.pick(&[1, 2, 77])].into(),
            [198, 51, 100, n.pick(&[7, 8, 200])].into(),
        ),
        true => {
            let src = format!("fd64::{:x}:{:x}", n.pick(&[0, 1]), n.pick(&[1, 2, 0x77]));
            (src.parse().unwrap(), format!("fd98::{:x}", n.pick(&[7, 8, 0xffff])).parse().unwrap())
        }
    };
    let icmp = if v6 { proto::ICMPV6 } else { proto::ICMP };
    let proto = n.pick(&[
        proto::TCP,
        proto::TCP,
        proto::UDP,
        proto::UDP,
        icmp,
        icmp,
        proto::UDP_LITE,
        proto::SCTP,
        proto::GRE,
        proto::ESP,
        proto::DCCP,
    ]);
    let (src_port, dst_port) = match proto {
        proto::ICMP => (n.pick(&[0, 7, 500, 65535]), 8 << 8),
        proto::ICMPV6 => (n.pick(&[0, 7, 500, 65535]), 128 << 8),
        // Of PPTP the packet holds the call id of whom it is for.
        proto::GRE => (0, n.pick(&[0, 0, 77])),
        proto::ESP | proto::DCCP => (0, 0),
        _ => (
            n.pick(&[1, 99, 501, 511, 512, 1000, 1002, 1023, 1024, 4000, 4010, 65535]),
            n.pick(&[53, 80, 4001, 65000]),
        ),
    };
    Tuple { src: pack(src), dst: pack(dst), src_port, dst_port, proto, v6 }
}

/// The sequence number of TCP's first packet.
const ISN: u32 = 0x1000_0000;
/// The tag that SCTP's first packet asks for.
const TAG: [u8; 4] = [1, 2, 3, 4];

/// The packet that begins a flow.
pub(crate) fn first(t: &Tuple, n: &mut Numbers) -> Packet {
    let mut l4 = match t.proto {
        proto::TCP => {
            [&ports(t)[..], &ISN.to_be_bytes(), &[0; 4], &[0x50, 0x02, 0xff, 0xff, 0, 0, 0, 0]].concat()
        }
        // INIT.
        proto::SCTP => {
            [&ports(t)[..], &[0; 8], &[1, 0, 0, 20], &TAG, &[0, 1, 0, 0, 0, 1, 0, 1, 0, 0, 0, 9]].concat()
        }
        _ => upper(t),
    };
    finish(t, &mut l4, n)
}

/// A TCP segment without data.
pub(crate) fn segment(t: &Tuple, flags: u8, seq: u32, ack: u32) -> Packet {
    let numbers = [seq.to_be_bytes(), ack.to_be_bytes()].concat();
    let mut l4 = [&ports(t)[..], &numbers, &[0x50, flags, 0xff, 0xff, 0, 0, 0, 0]].concat();
    sum(t, &mut l4);
    under(t, false, &l4)
}

/// The tuple of a TCP connection.
pub(crate) fn tcp(src: &str, dst: &str) -> Tuple {
    let (src, dst): (SocketAddr, SocketAddr) = (src.parse().unwrap(), dst.parse().unwrap());
    let (src_port, dst_port) = (src.port(), dst.port());
    Tuple {
        src: pack(src.ip()),
        dst: pack(dst.ip()),
        src_port,
        dst_port,
        proto: proto::TCP,
        v6: src.is_ipv6(),
    }
}

/// The packet that answers it; `t` is the reply tuple.
pub(crate) fn answer(t: &Tuple, n: &mut Numbers) -> Packet {
    let mut l4 = match t.proto {
        proto::TCP => {
            let ack = (ISN + 1).to_be_bytes();
            [&ports(t)[..], &[0, 0, 1, 0], &ack, &[0x50, 0x12, 0xff, 0xff, 0, 0, 0, 0]].concat()
        }
        // INIT ACK.
        proto::SCTP => {
            [&ports(t)[..], &TAG, &[0; 4], &[2, 0, 0, 20, 9, 9, 9, 9], &[0, 1, 0, 0, 0, 1, 0, 1, 0, 0, 0, 9]]
                .concat()
        }
        _ => upper(t),
    };
    finish(t, &mut l4, n)
}

fn ports(t: &Tuple) -> Vec<u8> {
    [t.src_port.to_be_bytes(), t.dst_port.to_be_bytes()].concat()
}

fn upper(t: &Tuple) -> Vec<u8> {
    match t.proto {
        proto::UDP | proto::UDP_LITE => [&ports(t)[..], &[0; 4]].concat(),
        proto::ICMP | proto::ICMPV6 => {
            [&t.dst_port.to_be_bytes()[..], &[0, 0], &t.src_port.to_be_bytes(), &[0, 1]].concat()
        }
        proto::GRE if t.dst_port != 0 => {
            [&[0x30, 0x01, 0x88, 0x0b, 0, 0], &t.dst_port.to_be_bytes()[..], &[0, 0, 0, 1]].concat()
        }
        // Version 0, without a key.
        proto::GRE => vec![0, 0, 8, 0, 1, 2, 3, 4],
        _ => vec![0xaa; 8],
    }
}

/// Adds some payload where that changes nothing, the checksum, and the IP header.
fn finish(t: &Tuple, l4: &mut Vec<u8>, n: &mut Numbers) -> Packet {
    if t.proto != proto::SCTP && t.proto != proto::TCP {
        let byte = n.pick(&[0, 0xff, 0x5a]);
        l4.extend(vec![byte; n.below(40)]);
    }
    if t.proto == proto::UDP {
        let len = (l4.len() as u16).to_be_bytes();
        l4[4..6].copy_from_slice(&len);
    }
    let none = t.proto == proto::UDP && !t.v6 && n.below(4) == 0;
    if !none {
        sum(t, l4);
    }
    let exts = n.below(4) == 0;
    under(t, exts, l4)
}

fn sum(t: &Tuple, l4: &mut [u8]) {
    let at = match t.proto {
        proto::TCP => 16,
        proto::UDP | proto::UDP_LITE => 6,
        proto::ICMP | proto::ICMPV6 => 2,
        proto::SCTP => return sctp::fill_checksum(l4),
        _ => return,
    };
    let pseudo = match t.proto {
        proto::ICMP => 0,
        _ => checksum::pseudo(t.src(), t.dst(), t.proto, l4.len() as u32).unwrap(),
    };
    let csum = checksum::udp(!checksum::fold(pseudo + checksum::sum(l4)));
    // Only UDP writes ones for nothing.
    let csum = if csum == 0xffff && !matches!(t.proto, proto::UDP | proto::UDP_LITE) { 0 } else { csum };
    l4[at..at + 2].copy_from_slice(&csum.to_be_bytes());
}

fn under(t: &Tuple, options: bool, l4: &[u8]) -> Packet {
    let (fixed, between): (usize, &[u8]) = match (t.v6, options) {
        (false, false) => (20, &[]),
        // No operation, four times.
        (false, true) => (20, &[1, 1, 1, 1]),
        (true, false) => (40, &[]),
        // Destination options, padding only.
        (true, true) => (40, &[t.proto, 0, 1, 4, 0, 0, 0, 0]),
    };
    let len = between.len() + l4.len();
    let mut l3 = [&vec![0; fixed][..], between, l4].concat();
    l3[0] = if t.v6 { 0x60 } else { 0x45 + (between.len() / 4) as u8 };
    match (t.src(), t.dst()) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => {
            let mut ip = Ipv4::new(&mut l3[..]).unwrap();
            ip.set_total_len((fixed + len) as u16);
            ip.set_ident(0x1234);
            ip.set_ttl(64);
            ip.set_protocol(t.proto);
            ip.set_src(src);
            ip.set_dst(dst);
            ip.fill_checksum();
        }
        (IpAddr::V6(src), IpAddr::V6(dst)) => {
            let mut ip = Ipv6::new(&mut l3[..]).unwrap();
            ip.set_payload_len(len as u16);
            ip.set_next_header(if options { proto::DEST_OPTIONS } else { t.proto });
            ip.set_hop_limit(64);
            ip.set_src(src);
            ip.set_dst(dst);
        }
        _ => unreachable!("one family"),
    }
    let mut p = Packet::from_slice(&l3);
    (p.meta.l4, p.meta.proto) = ((fixed + between.len()) as u16, t.proto);
    p.meta.net = if t.v6 { Net::Ipv6 } else { Net::Ipv4 };
    p
}

/// An ICMP error about a packet, from a router on its way; quoting all of it or some.
pub(crate) fn error(about: &[u8], n: &mut Numbers) -> Packet {
    let quoted = seen(about);
    let (router, icmp, kinds): (IpAddr, _, _) = match quoted.v6 {
        // Time exceeded, unreachable, parameter problem.
        false => ([100, 64, 0, 9].into(), proto::ICMP, [11, 3, 12]),
        true => ("fd99::9".parse().unwrap(), proto::ICMPV6, [3, 1, 4]),
    };
    let headers = about.len() - upper_len(about);
    let whole = about.len() - headers;
    let cut = headers + if n.coin() { 8 + n.below(whole.saturating_sub(7).max(1)) } else { whole };
    let t =
        Tuple { src: pack(router), dst: quoted.src, src_port: 0, dst_port: 0, proto: icmp, v6: quoted.v6 };
    let mut message = [&[n.pick(&kinds), 0, 0, 0, 0, 0, 0, 0], &about[..cut.min(about.len())]].concat();
    sum(&t, &mut message);
    under(&t, false, &message)
}

fn upper_len(l3: &[u8]) -> usize {
    match l3[0] >> 4 {
        4 => l3.len() - Ipv4::new(l3).unwrap().header_len(),
        _ => l3.len() - ipv6_ext::walk(l3).unwrap().l4,
    }
}

/// The tuple of a packet's bytes.
pub(crate) fn seen(l3: &[u8]) -> Tuple {
    let (src, dst, proto) = match l3[0] >> 4 {
        4 => {
            let ip = Ipv4::new(l3).unwrap();
            (IpAddr::V4(ip.src()), IpAddr::V4(ip.dst()), ip.protocol())
        }
        _ => {
            let ip = Ipv6::new(l3).unwrap();
            (IpAddr::V6(ip.src()), IpAddr::V6(ip.dst()), ipv6_ext::walk(l3).unwrap().proto)
        }
    };
    let at = l3.len() - upper_len(l3);
    let word = |at: usize| u16::from_be_bytes([l3[at], l3[at + 1]]);
    let (src_port, dst_port) = match proto {
        proto::ICMP | proto::ICMPV6 => (word(at + 4), word(at)),
        proto::GRE if l3[at + 1] & 7 == 1 => (0, word(at + 6)),
        proto::GRE | proto::ESP | proto::DCCP => (0, 0),
        _ => (word(at), word(at + 2)),
    };
    Tuple { src: pack(src), dst: pack(dst), src_port, dst_port, proto, v6: src.is_ipv6() }
}

/// What a router's hop does to a packet besides.
pub(crate) fn hop(p: &mut Packet) {
    match p.meta.net {
        Net::Ipv4 => Ipv4::new(p.l3_mut()).unwrap().decrement_ttl(),
        _ => Ipv6::new(p.l3_mut()).unwrap().decrement_hop_limit(),
    };
}

/// Bytes to be compared by eye.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes
        .chunks(4)
        .map(|c| c.iter().map(|b| format!("{b:02x}")).collect::<String>())
        .collect::<Vec<_>>()
        .join(" ")
}
