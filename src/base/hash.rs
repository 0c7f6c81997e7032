//! A hash for the packet's way: a few multiplications, without a key.
//!
//! Only where strangers gain nothing by finding collisions: in maps whose entries the configuration made,
//! and in caches where a collision costs one look more.

use std::hash::{BuildHasherDefault, Hasher};

/// Makes the hashes of a `HashMap` quick.
pub type BuildQuick = BuildHasherDefault<Quick>;

/// The hash.
#[derive(Debug, Clone, Copy, Default)]
pub struct Quick(u64);

/// 2^64 divided by the golden ratio, odd (Knuth, TAOCP 3 §6.4).
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

impl Quick {
    #[inline]
    fn mix(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(23) ^ word).wrapping_mul(GOLDEN);
    }
}

impl Hasher for Quick {
    #[inline]
    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            self.mix(u64::from_le_bytes(*word));
        }
        if !rest.is_empty() {
            self.mix(rest.iter().rev().fold(0, |word, b| word << 8 | u64::from(*b)));
        }
    }

    #[inline]
    fn write_u8(&mut self, n: u8) {
        self.mix(n.into());
    }

    #[inline]
    fn write_u16(&mut self, n: u16) {
        self.mix(n.into());
    }

    #[inline]
    fn write_u32(&mut self, n: u32) {
        self.mix(n.into());
    }

    #[inline]
    fn write_u64(&mut self, n: u64) {
        self.mix(n);
    }

    #[inline]
    fn write_usize(&mut self, n: usize) {
        self.mix(n as u64);
    }

    /// The high bits of a product are its best: brought down to where tables look as well.
    #[inline]
    fn finish(&self) -> u64 {
        let n = (self.0 ^ self.0 >> 32).wrapping_mul(GOLDEN);
        n ^ n >> 32
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::hash::Hash;
    use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

    use super::*;

    fn hash(of: impl Hash) -> u64 {
        let mut h = Quick::default();
        of.hash(&mut h);
        h.finish()
    }

    #[test]
    fn neighbors_spread_over_a_small_table_whichever_bits_it_looks_at() {
        let v4 = |i: u32| IpAddr::V4(Ipv4Addr::from(0x0a00_0000 + i));
        let v6 = |i: u32| IpAddr::V6(Ipv6Addr::from((0xfd01_u128 << 112) + u128::from(i)));
        let strides = [1, 256, 65_536];
        for (family, stride) in
            [v4 as fn(u32) -> IpAddr, v6].into_iter().flat_map(|f| strides.map(|s| (f, s)))
        {
            for shift in [0, 32, 56] {
                let places: HashSet<_> =
                    (0..200).map(|i| hash((1_u16, family(i * stride))) >> shift & 0xff).collect();
                // 200 thrown at random hit 138 of 256.
                assert!(places.len() > 115, "{} places, stride {stride}, shift {shift}", places.len());
            }
        }
        assert_ne!(hash((1_u16, v4(1))), hash((2_u16, v4(1))));
        assert_ne!(hash([1_u8, 2, 3]), hash([3_u8, 2, 1]));
    }
}
