//! Packets that meet: few hosts, few ports, every protocol that conntrack knows, and errors about all of them.

use std::fmt;
use std::net::IpAddr;

use sekisho::wire::{checksum, proto};

use crate::kernel::host;
use crate::random::Random;

/// A packet from a host of one side to a host of the other.
#[derive(Clone)]
pub(crate) struct Message {
    pub(crate) side: usize,
    pub(crate) src: IpAddr,
    pub(crate) dst: IpAddr,
    pub(crate) proto: u8,
    pub(crate) l4: Vec<u8>,
    /// Milliseconds of silence before it.
    pub(crate) wait: u64,
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Message { src, dst, proto, l4, .. } = self;
        write!(f, "{src} > {dst} protocol {proto}: ")?;
        l4.iter().try_for_each(|b| write!(f, "{b:02x}"))
    }
}

impl Message {
    pub(crate) fn v6(&self) -> bool {
        self.src.is_ipv6()
    }

    /// From the IP header on. The number is IPv4's identification, or the flow label.
    pub(crate) fn bytes(&self, number: u16) -> Vec<u8> {
        let len = self.l4.len() as u16;
        let [high, low] = number.to_be_bytes();
        let mut b = match (self.src, self.dst) {
            (IpAddr::V4(src), IpAddr::V4(dst)) => {
                let mut b = vec![0x45, 0, 0, 0, high, low, 0, 0, 64, self.proto, 0, 0];
                b[2..4].copy_from_slice(&(20 + len).to_be_bytes());
                b.extend(src.octets());
                b.extend(dst.octets());
                let sum = checksum::checksum(&b);
                b[10..12].copy_from_slice(&sum.to_be_bytes());
                b
            }
            (IpAddr::V6(src), IpAddr::V6(dst)) => {
                let mut b = vec![0x60, 0, high, low, 0, 0, self.proto, 64];
                b[4..6].copy_from_slice(&len.to_be_bytes());
                b.extend(src.octets());
                b.extend(dst.octets());
                b
            }
            _ => unreachable!("two families"),
        };
        b.extend(&self.l4);
        b
    }

    /// Finishes the checksum at `field`.
    fn fill(&mut self, field: usize) {
        let pseudo = match self.proto {
            proto::ICMP => 0,
            _ => checksum::pseudo(self.src, self.dst, self.proto, self.l4.len() as u32).unwrap(),
        };
        self.l4[field..field + 2].fill(0);
        let sum = checksum::udp(!checksum::fold(pseudo + checksum::sum(&self.l4)));
        self.l4[field..field + 2].copy_from_slice(&sum.to_be_bytes());
    }
}

/// A packet between the first hosts, with its checksum at `field` of the upper layer.
fn between(side: usize, v6: bool, proto: u8, l4: Vec<u8>, field: usize) -> Message {
    let mut m = Message { side, src: host(side, 0, v6), dst: host(1 - side, 0, v6), proto, l4, wait: 0 };
    m.fill(field);
    m
}

/// A TCP segment of a connection that the first side has begun.
pub(crate) fn segment(side: usize, v6: bool, flags: u8, seq: u32, ack: u32) -> Message {
    let mut l4 = if side == 0 { vec![0x50, 7, 0, 9] } else { vec![0, 9, 0x50, 7] };
    l4.extend(seq.to_be_bytes());
    l4.extend(ack.to_be_bytes());
    l4.extend([0x50, flags, 0x20, 0, 0, 0, 0, 0]);
    between(side, v6, proto::TCP, l4, 16)
}

/// A datagram, or an answer to it.
pub(crate) fn datagram(side: usize, v6: bool) -> Message {
    let ports = if side == 0 { [0x50, 7, 0, 9] } else { [0, 9, 0x50, 7] };
    between(side, v6, proto::UDP, [&ports[..], &[0, 8, 0, 0]].concat(), 6)
}

/// A packet of any kind.
pub(crate) fn any(r: &mut Random) -> Message {
    let v6 = r.percent(50);
    match r.below(100) {
        0..35 => error(r, v6),
        _ => plain(r, v6),
    }
}

/// One of a side's two hosts, the first as a rule.
fn some(r: &mut Random) -> u8 {
    u8::from(r.percent(20))
}

/// A packet that is no error; now and then with something wrong.
fn plain(r: &mut Random, v6: bool) -> Message {
    let side = r.below(2) as usize;
    let src = host(side, some(r), v6);
    let dst = host(1 - side, some(r), v6);
    let mut m = Message { side, src, dst, proto: 0, l4: Vec::new(), wait: 0 };
    match r.below(100) {
        0..30 => udp(r, &mut m),
        30..65 => icmp(r, &mut m),
        65..80 => gre(r, &mut m),
        80..90 => tcp(r, &mut m),
        _ => {
            // Unknown to conntrack. What is no protocol at all in IPv6 is one in IPv4.
            m.proto = r.pick(&[2, 33, 50, 59, 89, 99, 253, if v6 { proto::ICMP } else { proto::ICMPV6 }]);
            m.l4 = vec![8; r.pick(&[0, 1, 7, 16])];
        }
    }
    m
}

/// The side that began has the low port, as a rule: answers are frequent.
fn ports(r: &mut Random, side: usize) -> [u8; 4] {
    let (low, high) = (r.pick(&[7, 8]), 9);
    let [a, b] = if (side == 0) != r.percent(10) { [low, high] } else { [high, low] };
    [0, a, 0, b]
}

fn udp(r: &mut Random, m: &mut Message) {
    m.proto = proto::UDP;
    let payload = r.below(8) as usize;
    m.l4 = ports(r, m.side).to_vec();
    let lie = if r.percent(8) { r.pick(&[-9i16, -1, 1, 300]) } else { 0 };
    m.l4.extend((8 + payload as i16 + lie).to_be_bytes());
    m.l4.extend([0; 2]);
    m.l4.resize(8 + payload, 0x55);
    if !r.percent(20) {
        m.fill(6);
    }
    if r.percent(10) {
        m.l4[7] ^= 1;
    }
    cut(r, m);
}

fn tcp(r: &mut Random, m: &mut Message) {
    m.proto = proto::TCP;
    m.l4 = ports(r, m.side).to_vec();
    m.l4.extend([0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 0x20, 0, 0, 0, 0, 0]);
    m.fill(16);
    cut(r, m);
}

fn icmp(r: &mut Random, m: &mut Message) {
    let v6 = m.v6();
    m.proto = if v6 { proto::ICMPV6 } else { proto::ICMP };
    let (asks, answers): (&[u8], &[u8]) =
        if v6 { (&[128, 139], &[129, 140]) } else { (&[8, 13, 15, 17], &[0, 14, 16, 18]) };
    let kind = match r.below(100) {
        0..40 => r.pick(asks),
        40..75 => r.pick(answers),
        75..85 if v6 => r.pick(&[130, 131, 132, 143]),
        // Errors without a quote among them; those of IPv6 that only neighbors may send are not forwarded.
        _ if v6 => r.pick(&[0, 5, 100, 127, 130, 131, 132, 138, 141, 142, 143, 144, 200, 255]),
        _ => r.pick(&[1, 2, 6, 7, 9, 10, 19, 40, 255]),
    };
    let code = r.pick(&[0, 0, 0, 0, 1]);
    m.l4 = vec![kind, code, 0, 0, 0, r.pick(&[7, 7, 7, 8]), 0, 1, 1, 2, 3, 4, 5];
    m.fill(2);
    if r.percent(5) {
        m.l4[12] ^= 1;
    }
    cut(r, m);
}

fn gre(r: &mut Random, m: &mut Message) {
    m.proto = proto::GRE;
    m.l4 = match r.below(4) {
        0 => vec![0, 0, 8, 0, 1, 2, 3, 4],
        1 => vec![0x20, 0, 8, 0, 0, 0, 0, r.below(2) as u8, 1, 2],
        2 => vec![0x30, 1, 0x88, 0x0b, 0, 4, 0, r.below(2) as u8, 0, 0, 0, 1],
        _ => vec![0x30, r.pick(&[1, 2, 5]), r.pick(&[8, 0x88]), r.pick(&[0, 0x0b]), 0, 4, 0, 1],
    };
    cut(r, m);
}

/// Now and then the end is missing.
fn cut(r: &mut Random, m: &mut Message) {
    if r.percent(5) {
        m.l4.truncate(r.below(m.l4.len() as u32 + 1) as usize);
    }
}

/// An error about a packet that may have gone either way, from anybody on the way to it.
fn error(r: &mut Random, v6: bool) -> Message {
    let about = match r.percent(5) {
        true => error(r, v6),
        false => plain(r, v6),
    };
    let mut quoted = about.bytes(r.word() as u16);
    let header = if v6 { 40 } else { 20 };
    match r.below(100) {
        // At least eight bytes, as it must be; or whatever.
        0..30 => quoted.truncate(header + 8),
        30..40 => quoted.truncate(r.below(quoted.len() as u32 + 1) as usize),
        40..50 => {
            let at = r.below(quoted.len() as u32) as usize;
            quoted[at] ^= 1 << r.below(8);
        }
        50..55 if !v6 => quoted[6] = r.pick(&[0x20, 0x00]),
        55..60 if !v6 => quoted[7] = 1,
        60..65 if v6 => {
            let next = quoted[6];
            quoted[6] = proto::FRAGMENT;
            let offset = r.pick(&[0, 1, 8, 9]);
            quoted.splice(40..40, [next, 0, 0, offset, 0, 0, 0, 1]);
        }
        65..70 if v6 => {
            let next = quoted[6];
            quoted[6] = proto::DEST_OPTIONS;
            quoted.splice(40..40, [next, 0, 1, 4, 0, 0, 0, 0]);
        }
        _ => {}
    }
    // To the sender of what it quotes, but for now and then; from the far side in any case.
    let side = 1 - about.side;
    let dst = if r.percent(90) { about.src } else { host(about.side, some(r), v6) };
    let kind = if v6 { r.pick(&[1, 2, 3, 4, 100]) } else { r.pick(&[3, 4, 5, 11, 12]) };
    let mut l4 = vec![kind, r.below(3) as u8, 0, 0, 0, 0, 0, 0];
    l4.extend(&quoted);
    let proto = if v6 { proto::ICMPV6 } else { proto::ICMP };
    let mut m = Message { side, src: host(side, some(r), v6), dst, proto, l4, wait: 0 };
    m.fill(2);
    if r.percent(5) {
        m.l4[4] ^= 1;
    }
    m
}
