//! Which worker a packet is for: one function, which the kernel is given a copy of as a program (`io::steer`).
//!
//! ```text
//! TCP, UDP, UDP-Lite, SCTP   both ports           symmetric: either direction gives the same worker
//! ICMP query, echo           the identifier
//! ICMP error                 as the packet it quotes
//! fragment, anything else    both addresses
//! not IP, or cut short       the first worker
//!
//! worker = mix(what was read, key) mod workers
//! ```
//!
//! Of a flow that may be translated only the ports are looked at: NAT exchanges an address and keeps the port where it
//! can, and where it can't it prefers one that gives the same worker, so that both directions meet there on every link
//! although nobody knows the addresses. The price: all flows between one pair of ports (500 and 500, 4500 and 4500) meet at one
//! worker. Where a family's rules translate nothing, the addresses count too, and there is no such price.
//!
//! A wrong guess is never wrong behaviour: the tables are everybody's, and a direction of a flow, which always gives
//! the same worker, stays in order. Knows nothing of links, threads or tables.

use crate::wire::{icmpv4, icmpv6, proto};

use super::Tuple;

/// The parameters of the function: for one run of the router.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Steering {
    /// What outsiders don't know, lest they aim all they send at one worker.
    pub key: u32,
    /// How many workers there are; at least one.
    pub workers: u32,
    /// Whether addresses count beside ports: for IPv4, for IPv6. Not where flows may be translated.
    pub addresses: [bool; 2],
}

impl Default for Steering {
    /// For one worker.
    fn default() -> Self {
        Steering { key: 0, workers: 1, addresses: [false; 2] }
    }
}

impl Steering {
    /// The worker for a packet, given from its L3 header on.
    #[inline]
    pub fn worker(&self, l3: &[u8]) -> usize {
        if self.workers < 2 {
            return 0;
        }
        let read = match l3.first().map(|b| b >> 4) {
            Some(4) => self.v4(l3, false),
            Some(6) => self.v6(l3, false),
            _ => None,
        };
        read.map_or(0, |n| self.choose(n))
    }

    /// The worker for a frame: with an Ethernet header, which may have one tag, or without.
    #[inline]
    pub fn worker_of_frame(&self, frame: &[u8], ethernet: bool) -> usize {
        let l3 = match (ethernet, frame.get(12..14)) {
            (false, _) => 0,
            (true, Some([0x81, 0x00] | [0x88, 0xa8])) => 18,
            (true, _) => 14,
        };
        frame.get(l3..).map_or(0, |l3| self.worker(l3))
    }

    /// The worker for packets of a tuple.
    pub fn worker_of(&self, t: &Tuple) -> usize {
        if self.workers < 2 {
            return 0;
        }
        let addresses = || match t.v6 {
            false => Some(both(long(&t.src, 0)?, long(&t.dst, 0)?)),
            true => Some(both(fold(&t.src, 0)?, fold(&t.dst, 0)?)),
        };
        let ends = match t.proto {
            proto::TCP | proto::UDP | proto::UDP_LITE | proto::SCTP => pair(t.src_port, t.dst_port),
            proto::ICMP | proto::ICMPV6 => pair(t.src_port, 0),
            _ => return addresses().map_or(0, |n| self.choose(n)),
        };
        let also = if self.addresses[usize::from(t.v6)] { addresses().unwrap_or(0) } else { 0 };
        self.choose(ends ^ also)
    }

    /// IPv4, of the packet or of the one that an error quotes.
    #[inline]
    fn v4(&self, ip: &[u8], quoted: bool) -> Option<u32> {
        let also = if self.addresses[0] { addresses4(ip)? } else { 0 };
        if word(ip, 6)? & FRAGMENT4 != 0 {
            return addresses4(ip);
        }
        let l4 = usize::from(byte(ip, 0)? & 0xf) * 4;
        match byte(ip, 9)? {
            proto::TCP | proto::UDP | proto::UDP_LITE | proto::SCTP => Some(ports(ip, l4)? ^ also),
            proto::ICMP => match byte(ip, l4)? {
                kind if QUERIES4.contains(&kind) => Some(pair(word(ip, l4 + 4)?, 0) ^ also),
                kind if ERRORS4.contains(&kind) && !quoted => self.v4(ip.get(l4 + 8..)?, true),
                _ => addresses4(ip),
            },
            _ => addresses4(ip),
        }
    }

    /// IPv6, likewise.
    #[inline]
    fn v6(&self, ip: &[u8], quoted: bool) -> Option<u32> {
        let also = if self.addresses[1] { addresses6(ip)? } else { 0 };
        let (mut next, mut l4) = (byte(ip, 6)?, 40);
        for _ in 0..EXTENSIONS {
            if !SKIPPED6.contains(&next) {
                break;
            }
            let length = (usize::from(byte(ip, l4 + 1)?) + 1) * 8;
            next = byte(ip, l4)?;
            l4 += length;
        }
        match next {
            proto::TCP | proto::UDP | proto::UDP_LITE | proto::SCTP => Some(ports(ip, l4)? ^ also),
            proto::ICMPV6 => match byte(ip, l4)? {
                kind if QUERIES6.contains(&kind) => Some(pair(word(ip, l4 + 4)?, 0) ^ also),
                kind if ERRORS6.contains(&kind) && !quoted => self.v6(ip.get(l4 + 8..)?, true),
                _ => addresses6(ip),
            },
            _ => addresses6(ip),
        }
    }

    /// MurmurHash3's last steps, behind a key.
    #[inline]
    fn choose(&self, n: u32) -> usize {
        let n = n ^ self.key;
        let n = (n ^ n >> 16).wrapping_mul(MIX[0]);
        let n = (n ^ n >> 13).wrapping_mul(MIX[1]);
        ((n ^ n >> 16) % self.workers) as usize
    }
}

/// More fragments, or an offset: the header's bytes 6 and 7 (RFC 791).
pub(crate) const FRAGMENT4: u16 = 0x3fff;
/// Messages that carry an identifier, and the answers to them (RFC 792, RFC 950).
pub(crate) const QUERIES4: [u8; 8] = [
    icmpv4::ECHO_REPLY,
    icmpv4::ECHO,
    icmpv4::TIMESTAMP,
    icmpv4::TIMESTAMP_REPLY,
    // Information and address mask: request and reply.
    15,
    16,
    17,
    18,
];
/// Messages that quote a packet (RFC 792).
pub(crate) const ERRORS4: [u8; 5] = [
    icmpv4::UNREACHABLE,
    icmpv4::SOURCE_QUENCH,
    icmpv4::REDIRECT,
    icmpv4::TIME_EXCEEDED,
    icmpv4::PARAMETER_PROBLEM,
];
/// Echo request and reply (RFC 4443 §4).
pub(crate) const QUERIES6: [u8; 2] = [icmpv6::ECHO, icmpv6::ECHO_REPLY];
/// Messages that quote a packet (RFC 4443 §3).
pub(crate) const ERRORS6: [u8; 4] = [1, 2, 3, 4];
/// Extension headers that are passed over: their length stands in their second byte in units of 8, less one (RFC 8200 §4).
pub(crate) const SKIPPED6: [u8; 3] = [proto::HOP_BY_HOP, proto::ROUTING, proto::DEST_OPTIONS];
/// How many of them. What has more goes by its addresses.
pub(crate) const EXTENSIONS: usize = 2;
/// The multipliers of MurmurHash3's 32-bit finalizer.
pub(crate) const MIX: [u32; 2] = [0x85eb_ca6b, 0xc2b2_ae35];
/// 2^32 divided by the golden ratio, odd.
pub(crate) const GOLDEN: u32 = 0x9e37_79b1;

/// Two numbers in any order.
#[inline]
fn pair(a: u16, b: u16) -> u32 {
    let (a, b) = (u32::from(a), u32::from(b));
    (a + b) << 16 ^ a ^ b
}

#[inline]
fn ports(ip: &[u8], l4: usize) -> Option<u32> {
    Some(pair(word(ip, l4)?, word(ip, l4 + 2)?))
}

/// Two addresses in any order.
#[inline]
fn both(a: u32, b: u32) -> u32 {
    a ^ b ^ a.wrapping_add(b).wrapping_mul(GOLDEN)
}

#[inline]
fn addresses4(ip: &[u8]) -> Option<u32> {
    Some(both(long(ip, 12)?, long(ip, 16)?))
}

#[inline]
fn addresses6(ip: &[u8]) -> Option<u32> {
    Some(both(fold(ip, 8)?, fold(ip, 24)?))
}

/// An address of IPv6 in one word.
#[inline]
fn fold(ip: &[u8], at: usize) -> Option<u32> {
    let mut n = long(ip, at)?;
    for i in 1..4 {
        n = n.wrapping_mul(GOLDEN).wrapping_add(long(ip, at + 4 * i)?);
    }
    Some(n)
}

#[inline]
fn byte(ip: &[u8], at: usize) -> Option<u8> {
    ip.get(at).copied()
}

#[inline]
fn word(ip: &[u8], at: usize) -> Option<u16> {
    ip.get(at..)?.first_chunk().map(|b| u16::from_be_bytes(*b))
}

#[inline]
fn long(ip: &[u8], at: usize) -> Option<u32> {
    ip.get(at..)?.first_chunk().map(|b| u32::from_be_bytes(*b))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::flow::pack;

    const FOUR: Steering = Steering { key: 0x1234_5678, workers: 4, addresses: [false; 2] };

    fn v4(src: [u8; 4], dst: [u8; 4], proto: u8, l4: &[u8]) -> Vec<u8> {
        let mut ip = vec![0x45, 0, 0, 0, 0, 0, 0, 0, 64, proto, 0, 0];
        ip.extend(src.iter().chain(&dst).chain(l4));
        ip
    }

    fn ends(a: u16, b: u16) -> Vec<u8> {
        [a.to_be_bytes(), b.to_be_bytes(), [0; 2], [0; 2]].concat()
    }

    fn tuple(proto: u8, src: [u8; 4], dst: [u8; 4], ports: (u16, u16)) -> Tuple {
        let (src, dst) =
            (pack(std::net::Ipv4Addr::from(src).into()), pack(std::net::Ipv4Addr::from(dst).into()));
        Tuple { src, dst, src_port: ports.0, dst_port: ports.1, proto, v6: false }
    }

    const LAN: [u8; 4] = [10, 1, 0, 2];
    const WAN: [u8; 4] = [192, 0, 2, 1];
    const FAR: [u8; 4] = [198, 51, 100, 7];

    #[test]
    fn both_directions_of_a_masqueraded_flow_and_errors_about_it_meet() {
        for port in 1024..2024 {
            let there = v4(LAN, FAR, proto::UDP, &ends(port, 53));
            let back = v4(FAR, WAN, proto::UDP, &ends(53, port));
            let sent = v4(WAN, FAR, proto::UDP, &ends(port, 53));
            let error = v4([9; 4], WAN, proto::ICMP, &[[3, 1, 0, 0, 0, 0, 0, 0].as_slice(), &sent].concat());
            let worker = FOUR.worker(&there);
            assert_eq!([FOUR.worker(&back), FOUR.worker(&error)], [worker; 2]);
            assert_eq!(FOUR.worker_of(&tuple(proto::UDP, LAN, FAR, (port, 53))), worker);
            assert_eq!(FOUR.worker_of(&tuple(proto::UDP, FAR, WAN, (53, port))), worker);
        }
    }

    #[test]
    fn everybody_gets_his_share() {
        let apart = Steering { addresses: [true; 2], ..FOUR };
        let mut shares = [[0u32; 4]; 3];
        for n in 0..40_000u16 {
            let [hi, lo] = n.to_be_bytes();
            shares[0][FOUR.worker(&v4(LAN, FAR, proto::TCP, &ends(1024 + n, 443)))] += 1;
            // Peers of one tunnel, which all use the same port.
            shares[1][apart.worker(&v4([10, 9, hi, lo], FAR, proto::UDP, &ends(51_820, 51_820)))] += 1;
            shares[2][FOUR.worker(&v4([10, 9, hi, lo], FAR, proto::ESP, &[0; 8]))] += 1;
        }
        for share in shares.iter().flatten() {
            assert!((9_000..11_000).contains(share), "{shares:?}");
        }
    }

    #[test]
    fn another_key_is_another_choice() {
        let other = Steering { key: 1, ..FOUR };
        let packet = |n| v4(LAN, FAR, proto::TCP, &ends(n, 80));
        let same = (1..1001).filter(|n| FOUR.worker(&packet(*n)) == other.worker(&packet(*n))).count();
        assert!((150..350).contains(&same), "{same}");
    }

    #[test]
    fn tags_are_passed_over_and_the_first_worker_has_the_rest() {
        let ip = v4(LAN, FAR, proto::UDP, &ends(7, 9));
        let plain = [&[0; 12][..], &[8, 0], &ip].concat();
        let tagged = [&[0; 12][..], &[0x81, 0, 0, 5, 8, 0], &ip].concat();
        let worker = FOUR.worker(&ip);
        assert_eq!([FOUR.worker_of_frame(&plain, true), FOUR.worker_of_frame(&tagged, true)], [worker; 2]);
        assert_eq!(FOUR.worker_of_frame(&ip, false), worker);
        assert_eq!(FOUR.worker_of_frame(&[0, 1, 8, 0], false), 0, "ARP");
        for len in 0..24 {
            assert_eq!(FOUR.worker(&ip[..len]), 0, "cut short: {len}");
        }
        assert_eq!(Steering::default().worker(&ip), 0);
    }
}
