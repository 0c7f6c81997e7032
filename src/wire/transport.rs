//! What upper layers have in common: ports, checksums, a hash of the flow.

use std::net::IpAddr;

use super::bytes::u16_at;
use super::{checksum, icmpv4, icmpv6, proto, tcp, udp};

/// Source and destination port, where the protocol has them at its beginning; `None` for other protocols
/// and for fewer than four bytes.
#[inline]
pub fn ports(proto: u8, l4: &[u8]) -> Option<(u16, u16)> {
    let has = matches!(proto, proto::TCP | proto::UDP | proto::SCTP | proto::DCCP | proto::UDP_LITE);
    (has && l4.len() >= 4).then(|| (u16_at(l4, 0), u16_at(l4, 2)))
}

/// Whether the upper-layer header is all there, as a first fragment must have it (RFC 7112 §5); of a protocol
/// that is not known, one byte will do (as Linux).
pub fn header_visible(proto: u8, l4: &[u8]) -> bool {
    let least = match proto {
        proto::TCP => tcp::HEADER_LEN,
        proto::UDP => udp::HEADER_LEN,
        proto::ICMP => icmpv4::HEADER_LEN,
        proto::ICMPV6 => icmpv6::HEADER_LEN,
        proto::NONE => 0,
        _ => 1,
    };
    l4.len() >= least
}

/// A hash of a flow's direction, the same for all its packets, for the choice among equal ways. `key` is the
/// router's own, so that nobody outside can aim.
#[inline]
pub fn flow_hash(src: IpAddr, dst: IpAddr, proto: u8, ports: Option<(u16, u16)>, key: u64) -> u32 {
    let (src_port, dst_port) = ports.unwrap_or_default();
    let upper = u64::from(proto) << 32 | u64::from(src_port) << 16 | u64::from(dst_port);
    let mut h = mix(key ^ upper, SEED[0]);
    for (addr, seed) in [(src, SEED[1]), (dst, SEED[2])] {
        h = match addr {
            IpAddr::V4(a) => mix(h ^ u64::from(u32::from(a)), seed),
            IpAddr::V6(a) => {
                let bits = u128::from(a);
                mix(mix(h ^ bits as u64, seed) ^ (bits >> 64) as u64, seed)
            }
        };
    }
    (h ^ h >> 32) as u32
}

/// Whether the checksum of a whole upper-layer packet, padding cut off, is right. True for protocols that have
/// none, that are not known, and for UDP without one over IPv4; over IPv6 UDP needs one (RFC 8200 §8.1).
pub fn verify(src: IpAddr, dst: IpAddr, proto: u8, l4: &[u8]) -> bool {
    let right = |covered: &[u8], len: usize| {
        checksum::pseudo(src, dst, proto, len as u32)
            .is_some_and(|p| checksum::fold(p + checksum::sum(covered)) == 0xffff)
    };
    match proto {
        proto::ICMP => l4.len() >= icmpv4::HEADER_LEN && checksum::checksum(l4) == 0,
        proto::ICMPV6 => l4.len() >= icmpv6::HEADER_LEN && right(l4, l4.len()),
        proto::TCP => l4.len() >= tcp::HEADER_LEN && right(l4, l4.len()),
        proto::UDP => {
            let len = usize::from(u16_at(l4, 4));
            let none = u16_at(l4, udp::CHECKSUM_AT) == 0;
            match l4.get(..len).filter(|_| len >= udp::HEADER_LEN) {
                Some(_) if none => src.is_ipv4(),
                Some(datagram) => right(datagram, len),
                None => false,
            }
        }
        proto::UDP_LITE => {
            // RFC 3828 §3.1: the length field is the coverage; 0 means all.
            let coverage = match usize::from(u16_at(l4, 4)) {
                0 => l4.len(),
                n => n,
            };
            l4.get(..coverage).filter(|c| c.len() >= udp::HEADER_LEN).is_some_and(|c| right(c, l4.len()))
        }
        _ => true,
    }
}

/// Odd constants with many bits: the fractional digits of π.
const SEED: [u64; 3] = [0x243f_6a88_85a3_08d3, 0x1319_8a2e_0370_7345, 0xa409_3822_299f_31d1];

/// Both halves of the product: every bit of `a` has a say in every bit of the result.
#[inline]
fn mix(a: u64, seed: u64) -> u64 {
    let product = u128::from(a ^ seed) * u128::from(seed.rotate_left(32) | 1);
    product as u64 ^ (product >> 64) as u64
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use super::*;
    use crate::wire::tcp::Tcp;
    use crate::wire::udp::Udp;

    const A: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
    const B: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2));
    const A6: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1));
    const B6: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 2));

    #[test]
    fn which_protocols_have_ports() {
        for p in [6, 17, 33, 132, 136] {
            assert_eq!(ports(p, &[0, 7, 1, 0]), Some((7, 256)));
            assert_eq!(ports(p, &[0, 7, 1]), None);
        }
        assert_eq!(ports(1, &[0, 7, 1, 0]), None);
    }

    #[test]
    fn headers_in_first_fragments() {
        assert!(header_visible(6, &[0; 20]) && !header_visible(6, &[0; 19]));
        assert!(header_visible(17, &[0; 8]) && !header_visible(17, &[0; 7]));
        assert!(header_visible(58, &[0; 8]) && !header_visible(58, &[0; 7]));
        assert!(header_visible(59, &[]) && header_visible(99, &[0]) && !header_visible(99, &[]));
    }

    #[test]
    fn udp_over_both_families() {
        let mut b = [0u8, 1, 0, 2, 0, 11, 0, 0, 1, 2, 3, 0xee];
        assert!(verify(A, B, 17, &b), "no checksum, padding behind");
        assert!(!verify(A6, B6, 17, &b), "which IPv6 does not allow");
        for (src, dst) in [(A, B), (A6, B6)] {
            Udp::new(&mut b[..11]).unwrap().fill_checksum(src, dst);
            assert!(verify(src, dst, 17, &b));
            b[8] ^= 1;
            assert!(!verify(src, dst, 17, &b));
        }
        b[5] = 13;
        assert!(!verify(A, B, 17, &b), "longer than what is there");
        b[5] = 7;
        assert!(!verify(A, B, 17, &b), "shorter than its header");
        assert!(!verify(A, B6, 17, &b));
    }

    #[test]
    fn tcp_over_both_families() {
        let mut b = [7u8; 33];
        for (src, dst) in [(A, B), (A6, B6)] {
            Tcp::new(&mut b).unwrap().fill_checksum(src, dst);
            assert!(verify(src, dst, 6, &b));
            assert!(!verify(src, src, 6, &b));
            assert!(!verify(src, dst, 6, &b[..19]));
        }
    }

    #[test]
    fn udp_lite_covers_what_it_says() {
        let mut b = [0u8, 1, 0, 2, 0, 8, 0, 0, 1, 2, 3];
        let p = checksum::pseudo(A, B, 136, 11).unwrap();
        let c = !checksum::fold(p + checksum::sum(&b[..8]));
        b[6..8].copy_from_slice(&c.to_be_bytes());
        b[9] = 99;
        assert!(verify(A, B, 136, &b));
        b[1] = 9;
        assert!(!verify(A, B, 136, &b));
    }

    #[test]
    fn flows_spread_and_stay_together() {
        let h = |src, port, key| flow_hash(src, B, 6, Some((port, 80)), key);
        assert_eq!(h(A, 1000, 1), h(A, 1000, 1));
        assert_ne!(h(A, 1000, 1), h(A, 1000, 2), "the key matters");
        assert_ne!(flow_hash(A, B, 6, None, 1), flow_hash(B, A, 6, None, 1));
        assert_ne!(flow_hash(A6, B6, 6, None, 1), flow_hash(B6, A6, 6, None, 1));
        // Ports that differ by one in turn: four ways get a quarter each, within five per cent.
        let mut ways = [0u32; 4];
        for port in 0..40_000 {
            ways[(h(A, port, 42) >> 30) as usize] += 1;
        }
        assert!(ways.iter().all(|n| (9_500..10_500).contains(n)), "{ways:?}");
        let mut ways = [0u32; 3];
        for host in 0..30_000u32 {
            let src = IpAddr::V4((0x0a00_0000 + host).into());
            ways[(h(src, 1, 42) % 3) as usize] += 1;
        }
        assert!(ways.iter().all(|n| (9_500..10_500).contains(n)), "{ways:?}");
    }
}
