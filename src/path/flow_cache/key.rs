//! What a packet is known by, read from its first bytes: which flow and direction it can be of, and what else a record
//! may have to agree with.
//!
//! ```text
//!  addresses  as they stand in the header: 8 bytes of IPv4, 32 of IPv6
//!  rest       ports, or an echo's identifier and type │ ingress │ protocol │ family
//! ```
//!
//! A packet has a key only if it is of the common kind: whole, without options or extension headers, TCP (no SYN, FIN
//! or RST), UDP or an echo, addressed to this station, its header right. All of that is what ingress would find.

use std::net::IpAddr;

use crate::base::counters::Tally;
use crate::base::{LinkId, Mac};
use crate::filter::TURNS;
use crate::packet::Net;
use crate::packet::flow::unpack;
use crate::wire::{checksum, ethernet, icmpv4, icmpv6, ipv4, ipv6, proto, tcp, udp};

/// What a flow's packets of one direction have in common.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) addresses: [u64; 4],
    rest: u64,
}

/// A packet's key, and what else there is to know of it.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::path) struct Probe {
    pub(super) key: Key,
    pub(super) hash: u64,
    /// Where the L3 header is, and the length from there on without padding.
    pub(super) l3: u16,
    pub(super) total: u16,
    pub(super) tos: u8,
    pub(super) ttl: u8,
    pub(super) tcp_flags: u8,
}

impl Key {
    /// The family.
    #[inline]
    pub(super) fn net(&self) -> Net {
        if self.v6() { Net::Ipv6 } else { Net::Ipv4 }
    }

    #[inline]
    pub(super) fn v6(&self) -> bool {
        self.rest & 1 != 0
    }

    #[inline]
    pub(super) fn proto(&self) -> u8 {
        (self.rest >> 8) as u8
    }

    /// The link it came in by.
    #[inline]
    pub(super) fn ingress(&self) -> LinkId {
        LinkId((self.rest >> 16) as u16)
    }

    /// The four bytes behind the ports' place, or an echo's identifier and type, as they stand in the packet.
    #[inline]
    pub(super) fn ports(&self) -> [u8; 4] {
        ((self.rest >> 32) as u32).to_ne_bytes()
    }

    /// Where it comes from.
    pub(super) fn source(&self) -> IpAddr {
        let ends = self.ends();
        let mut src = [0; 16];
        let n = if self.v6() { 16 } else { 4 };
        src[..n].copy_from_slice(&ends[..n]);
        unpack(src, self.v6())
    }

    /// Source and destination, as they stand in the packet.
    #[inline]
    pub(super) fn ends(&self) -> [u8; 32] {
        let mut all = [0; 32];
        for (bytes, word) in all.as_chunks_mut::<8>().0.iter_mut().zip(self.addresses) {
            *bytes = word.to_ne_bytes();
        }
        all
    }

    /// The n-th of many.
    #[cfg(test)]
    pub(super) fn test(n: u32, ingress: LinkId) -> Key {
        Key::new([u64::from(n), 0, 0, 0], [1, 2, 3, 4], ingress, 17, false)
    }

    #[inline]
    fn new(addresses: [u64; 4], ports: [u8; 4], ingress: LinkId, proto: u8, v6: bool) -> Key {
        let rest = u64::from(u32::from_ne_bytes(ports)) << 32
            | u64::from(ingress.0) << 16
            | u64::from(proto) << 8
            | u64::from(v6);
        Key { addresses, rest }
    }
}

/// The key of the hash: random, so that nobody outside can aim at a bucket.
#[derive(Debug, Clone, Copy)]
pub(super) struct Secret([u64; 4]);

impl Secret {
    pub(super) fn new(words: [u64; 4]) -> Self {
        // A factor of zero would forget the other.
        Secret(words.map(|w| w | 1))
    }

    #[cfg(test)]
    pub(super) fn test() -> Self {
        Secret::new([
            0x9e37_79b9_7f4a_7c15,
            0xbf58_476d_1ce4_e5b9,
            0x94d0_49bb_1331_11eb,
            0xd6e8_feb8_6659_fd93,
        ])
    }

    /// Two rounds of multiplying by what nobody knows, for IPv6 three more (as in Wang's wyhash).
    #[inline]
    pub(super) fn hash(&self, key: &Key) -> u64 {
        let fold = |a: u64, b: u64| {
            let wide = u128::from(a) * u128::from(b);
            wide as u64 ^ (wide >> 64) as u64
        };
        let [a, b, c, d] = self.0;
        let [w, x, y, z] = key.addresses;
        let mut h = fold(w ^ a, key.rest ^ b);
        if key.v6() {
            h ^= fold(x ^ b.rotate_left(32), y ^ c) ^ fold(z ^ d, a.rotate_left(32));
        }
        fold(h ^ c, d)
    }
}

/// Looks at a frame from a link with this MAC (or without one). `Err`: why it has no key.
#[inline]
pub(super) fn look(data: &[u8], own: Option<Mac>, ingress: LinkId) -> Result<Probe, Tally> {
    let (l3, v6) = match own {
        Some(own) => {
            let head = data.first_chunk::<{ ethernet::HEADER_LEN }>().ok_or(OTHER)?;
            let v6 = match u16::from_be_bytes([head[12], head[13]]) {
                ethernet::IPV4 => false,
                ethernet::IPV6 => true,
                _ => return Err(OTHER),
            };
            if head[..6] != own.0 || head[6] & 1 != 0 {
                return Err(OTHER);
            }
            (ethernet::HEADER_LEN, v6)
        }
        None => (0, data.first().ok_or(OTHER)? >> 4 == 6),
    };
    let packet = data.get(l3..).ok_or(OTHER)?;
    let mut probe = if v6 { look6(packet, ingress)? } else { look4(packet, ingress)? };
    probe.l3 = l3 as u16;
    Ok(probe)
}

#[inline]
fn look4(packet: &[u8], ingress: LinkId) -> Result<Probe, Tally> {
    let head = packet.first_chunk::<{ ipv4::HEADER_LEN }>().ok_or(OTHER)?;
    let total = u16::from_be_bytes([head[2], head[3]]);
    // Version 4 without options; whole (RFC 791 §3.1: MF, and the offset).
    if head[0] != 0x45 || (head[6] & 0x3f | head[7]) != 0 || checksum::checksum(head) != 0 || head[8] <= 1 {
        return Err(OTHER);
    }
    let upper = packet.get(ipv4::HEADER_LEN..usize::from(total)).ok_or(OTHER)?;
    let (ports, tcp_flags) = look_up(head[9], upper)?;
    let [.., a, b, c, d, e, f, g, h] = *head;
    let addresses = [u64::from_ne_bytes([a, b, c, d, e, f, g, h]), 0, 0, 0];
    let key = Key::new(addresses, ports, ingress, head[9], false);
    Ok(Probe { key, hash: 0, l3: 0, total, tos: head[1], ttl: head[8], tcp_flags })
}

#[inline]
fn look6(packet: &[u8], ingress: LinkId) -> Result<Probe, Tally> {
    let head = packet.first_chunk::<{ ipv6::HEADER_LEN }>().ok_or(OTHER)?;
    let total = u16::from_be_bytes([head[4], head[5]]).checked_add(ipv6::HEADER_LEN as u16).ok_or(OTHER)?;
    if head[0] >> 4 != 6 || head[7] <= 1 {
        return Err(OTHER);
    }
    let upper = packet.get(ipv6::HEADER_LEN..usize::from(total)).ok_or(OTHER)?;
    let (ports, tcp_flags) = look_up(head[6], upper)?;
    let mut addresses = [0; 4];
    for (word, bytes) in addresses.iter_mut().zip(head[8..].as_chunks::<8>().0) {
        *word = u64::from_ne_bytes(*bytes);
    }
    let key = Key::new(addresses, ports, ingress, head[6], true);
    let tos = head[0] << 4 | head[1] >> 4;
    Ok(Probe { key, hash: 0, l3: 0, total, tos, ttl: head[7], tcp_flags })
}

/// The upper layer: what stands for ports, and TCP's flags.
#[inline]
fn look_up(kind: u8, upper: &[u8]) -> Result<([u8; 4], u8), Tally> {
    let ports = |least: usize| upper.first_chunk::<4>().filter(|_| upper.len() >= least).ok_or(OTHER);
    match kind {
        proto::TCP => {
            let ports = ports(tcp::HEADER_LEN)?;
            match upper[FLAGS_AT] {
                flags if flags & TURNS != 0 => Err(Tally::FlowCacheTurns),
                flags => Ok((*ports, flags)),
            }
        }
        proto::UDP => Ok((*ports(udp::HEADER_LEN)?, 0)),
        proto::ICMP | proto::ICMPV6 => {
            let head = upper.first_chunk::<{ icmpv4::HEADER_LEN }>().ok_or(OTHER)?;
            let echo = match kind {
                proto::ICMP => matches!(head[0], icmpv4::ECHO | icmpv4::ECHO_REPLY),
                _ => matches!(head[0], icmpv6::ECHO | icmpv6::ECHO_REPLY),
            };
            if !echo {
                return Err(OTHER);
            }
            Ok(([head[4], head[5], head[0], head[1]], 0))
        }
        _ => Err(OTHER),
    }
}

/// The packet is of another kind.
const OTHER: Tally = Tally::FlowCacheOther;

/// Where TCP has its flags (RFC 9293 §3.1).
const FLAGS_AT: usize = 13;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_neighbors_spread_over_all_bits() {
        let secret = Secret::test();
        for v6 in [false, true] {
            for shift in [0, 16, 32, 48] {
                let mut places = [0u32; 256];
                for n in 0..4096u32 {
                    let ports = (n as u16).to_be_bytes();
                    let ports = [ports[0], ports[1], 0, 80];
                    let addresses = if v6 { [1, 2, 3, 4] } else { [0x0200_010a_0200_020a, 0, 0, 0] };
                    let hash = secret.hash(&Key::new(addresses, ports, LinkId(1), 17, v6));
                    places[(hash >> shift & 0xff) as usize] += 1;
                }
                assert!(places.iter().all(|n| (2..48).contains(n)), "{v6} {shift}: {places:?}");
            }
        }
    }

    #[test]
    fn every_part_of_a_key_has_a_say() {
        let secret = Secret::test();
        for v6 in [false, true] {
            let base = Key::new([1, 2, 3, 4], [1, 2, 3, 4], LinkId(1), 6, v6);
            let mut hashes = vec![secret.hash(&base)];
            for word in 0..if v6 { 4 } else { 1 } {
                for bit in 0..64 {
                    let mut other = base;
                    other.addresses[word] ^= 1 << bit;
                    hashes.push(secret.hash(&other));
                }
            }
            for bit in 1..64 {
                hashes.push(secret.hash(&Key { rest: base.rest ^ 1 << bit, ..base }));
            }
            let n = hashes.len();
            hashes.sort_unstable();
            hashes.dedup();
            assert_eq!(hashes.len(), n);
        }
    }

    #[test]
    fn what_is_put_in_comes_out() {
        let key = Key::new([1, 2, 3, u64::MAX], [9, 8, 7, 6], LinkId(0x1234), 58, true);
        assert_eq!(
            (key.v6(), key.proto(), key.ingress(), key.ports()),
            (true, 58, LinkId(0x1234), [9, 8, 7, 6])
        );
        assert_eq!(key.ends()[24..], [0xff; 8]);
        assert_eq!(key.net(), Net::Ipv6);
    }
}
