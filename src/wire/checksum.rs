//! The Internet checksum (RFC 1071) and its incremental update (RFC 1624).
//!
//! Partial sums are `u64`s over words *in memory order*, so that summing swaps no bytes; [`fold`] turns
//! them the right way round. They may be added to each other with `+`: the accumulator holds the
//! words of 8 GiB before it could overflow. All but the last part must be of even length.
//!
//! ```text
//! sum(a) + sum(b) + pseudo_v4(..) ── fold ──► u16 ── ! ──► the field
//! ```
//!
//! One's complement has two zeros. A field computed here is 0xffff only over all-zero bytes (or, by
//! [`udp`], in place of 0); updates give the same field as summing anew would.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The partial sum of bytes. An odd last byte counts as if a zero followed.
#[inline]
pub fn sum(bytes: &[u8]) -> u64 {
    // Four lanes that do not wait for each other; 32-bit words in 64-bit lanes can't overflow.
    let mut lanes = [0u64; 4];
    let (blocks, rest) = bytes.as_chunks::<32>();
    for block in blocks {
        // Written out, so that it is as fast in a build that inlines little.
        if let ([a, b, c, d], _) = block.as_chunks::<8>() {
            lanes[0] += halves(*a);
            lanes[1] += halves(*b);
            lanes[2] += halves(*c);
            lanes[3] += halves(*d);
        }
    }
    let mut total = lanes[0] + lanes[1] + lanes[2] + lanes[3];
    let (words, rest) = rest.as_chunks::<4>();
    for word in words {
        total += u64::from(u32::from_ne_bytes(*word));
    }
    let (halves, rest) = rest.as_chunks::<2>();
    for half in halves {
        total += u64::from(u16::from_ne_bytes(*half));
    }
    if let [last] = rest {
        total += u64::from(u16::from_ne_bytes([*last, 0]));
    }
    total
}

#[inline(always)]
fn halves(word: [u8; 8]) -> u64 {
    let w = u64::from_ne_bytes(word);
    (w & 0xffff_ffff) + (w >> 32)
}

/// Folds a partial sum into 16 bits, in host order: the complement of a checksum, and what stands in the
/// field of a packet whose checksum is only begun.
#[inline]
pub fn fold(sum: u64) -> u16 {
    let s = (sum & 0xffff_ffff) + (sum >> 32);
    let s = (s & 0xffff) + (s >> 16 & 0xffff) + (s >> 32);
    let s = (s & 0xffff) + (s >> 16);
    let s = (s & 0xffff) + (s >> 16);
    u16::from_be(s as u16)
}

/// The Internet checksum of bytes whose checksum field, if among them, holds zero. Over bytes that
/// hold their right checksum it gives 0.
#[inline]
pub fn checksum(bytes: &[u8]) -> u16 {
    !fold(sum(bytes))
}

/// The partial sum of one 16-bit word.
#[inline]
pub fn word(value: u16) -> u64 {
    u64::from(value.to_be())
}

/// The partial sum of the IPv4 pseudo-header (RFC 9293 §3.1): `len` is the length of the upper-layer
/// packet in bytes.
#[inline]
pub fn pseudo_v4(src: Ipv4Addr, dst: Ipv4Addr, proto: u8, len: u32) -> u64 {
    u64::from(u32::from_ne_bytes(src.octets()))
        + u64::from(u32::from_ne_bytes(dst.octets()))
        + word(u16::from(proto))
        + u64::from(len.to_be())
}

/// The partial sum of the IPv6 pseudo-header (RFC 8200 §8.1): `len` is the length of the upper-layer
/// packet in bytes.
#[inline]
pub fn pseudo_v6(src: Ipv6Addr, dst: Ipv6Addr, proto: u8, len: u32) -> u64 {
    sum(&src.octets()) + sum(&dst.octets()) + word(u16::from(proto)) + u64::from(len.to_be())
}

/// The partial sum of the pseudo-header of either family; `None` if the families differ.
pub fn pseudo(src: IpAddr, dst: IpAddr, proto: u8, len: u32) -> Option<u64> {
    match (src, dst) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => Some(pseudo_v4(src, dst, proto, len)),
        (IpAddr::V6(src), IpAddr::V6(dst)) => Some(pseudo_v6(src, dst, proto, len)),
        _ => None,
    }
}

/// The checksum after a 16-bit word under it changed from `old` to `new` (RFC 1624 §3, equation 3).
#[inline]
pub fn update16(csum: u16, old: u16, new: u16) -> u16 {
    let s = u32::from(!csum) + u32::from(!old) + u32::from(new);
    let s = (s & 0xffff) + (s >> 16);
    let s = (s & 0xffff) + (s >> 16);
    !(s as u16)
}

/// The checksum after an aligned 32-bit word under it changed from `old` to `new`.
#[inline]
pub fn update32(csum: u16, old: u32, new: u32) -> u16 {
    let s = u64::from(!csum) + u64::from(!old) + u64::from(new);
    let s = (s & 0xffff) + (s >> 16 & 0xffff) + (s >> 32);
    let s = (s & 0xffff) + (s >> 16);
    let s = (s & 0xffff) + (s >> 16);
    !(s as u16)
}

/// The checksum after aligned bytes under it changed from `old` to `new`, both of the same, even
/// length.
#[inline]
pub fn update_bytes(csum: u16, old: &[u8], new: &[u8]) -> u16 {
    debug_assert!(old.len() == new.len() && old.len().is_multiple_of(2));
    // The complement of a folded sum is congruent to the sum of the complements.
    !fold(word(!csum) + word(!fold(sum(old))) + sum(new))
}

/// A UDP checksum just computed, as it goes into the field: 0 would mean "none" (RFC 768), its other
/// form 0xffff takes its place.
#[inline]
pub fn udp(computed: u16) -> u16 {
    if computed == 0 { 0xffff } else { computed }
}

/// [`update_bytes`] for the field of a packet whose checksum is only begun: it holds the folded sum of the
/// pseudo-header, not the complement. For changed addresses; ports are not under it.
#[inline]
pub fn update_partial(field: u16, old: &[u8], new: &[u8]) -> u16 {
    !update_bytes(!field, old, new)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// RFC 1071 §1, to the letter: 16-bit words, end-around carry.
    fn plain(bytes: &[u8]) -> u16 {
        let mut s = 0u32;
        for pair in bytes.chunks(2) {
            s += u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or(0));
            s = (s & 0xffff) + (s >> 16);
        }
        !(s as u16)
    }

    #[test]
    fn the_example_of_rfc_1071() {
        let bytes = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        assert_eq!(fold(sum(&bytes)), 0xddf2);
    }

    #[test]
    fn the_example_of_rfc_1624() {
        // §4: equation 2 of RFC 1141 gives 0xffff here, which a receiver would take for wrong.
        assert_eq!(update16(0xdd2f, 0x5555, 0x3285), 0x0000);
    }

    #[test]
    fn zeros_and_ones() {
        assert_eq!(checksum(&[]), 0xffff);
        assert_eq!(checksum(&[0; 40]), 0xffff);
        assert_eq!(checksum(&[0xff; 40]), 0);
        assert_eq!(checksum(&[0xff; 65_535]), plain(&[0xff; 65_535]));
        assert_eq!(fold(u64::MAX), 0xffff);
        assert_eq!(fold(0), 0);
        assert_eq!(udp(0), 0xffff);
        assert_eq!(udp(0xffff), 0xffff);
    }

    #[test]
    fn pseudo_headers_are_the_sums_of_their_bytes() {
        let (s, d) = (Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(192, 168, 255, 254));
        let bytes = [10, 0, 0, 1, 192, 168, 255, 254, 0, 17, 0x12, 0x34];
        assert_eq!(fold(pseudo_v4(s, d, 17, 0x1234)), !plain(&bytes));
        let (s, d): (Ipv6Addr, Ipv6Addr) = ("fd00::1".parse().unwrap(), "2001:db8::ffff".parse().unwrap());
        let mut bytes = [s.octets(), d.octets()].concat();
        bytes.extend([0, 1, 0x86, 0xa0, 0, 0, 0, 58]);
        assert_eq!(fold(pseudo_v6(s, d, 58, 100_000)), !plain(&bytes));
        assert_eq!(pseudo(s.into(), Ipv4Addr::LOCALHOST.into(), 6, 0), None);
    }

    proptest! {
        #[test]
        fn sum_equals_the_plain_one(bytes in proptest::collection::vec(any::<u8>(), 0..300), cut in 0usize..150) {
            prop_assert_eq!(checksum(&bytes), plain(&bytes));
            let cut = (cut * 2).min(bytes.len() & !1);
            prop_assert_eq!(!fold(sum(&bytes[..cut]) + sum(&bytes[cut..])), plain(&bytes));
        }

        /// Few values per byte, so that 0x0000 and 0xffff turn up as words and as sums.
        #[test]
        fn updates_equal_summing_anew(
            mut bytes in proptest::collection::vec(prop_oneof![Just(0u8), Just(0xff), Just(1), any::<u8>()], 24..64),
            new in proptest::collection::vec(prop_oneof![Just(0u8), Just(0xff), any::<u8>()], 8),
            at in 0usize..8,
        ) {
            // As in every IP header, one byte is never zero.
            bytes[0] |= 0x40;
            let at = 2 + at * 2;
            let before = plain(&bytes);
            let old = bytes[at..at + 8].to_vec();

            bytes[at..at + 8].copy_from_slice(&new);
            let after = plain(&bytes);
            prop_assert_eq!(update_bytes(before, &old, &new), after);

            let words = |b: &[u8]| [u16::from_be_bytes([b[0], b[1]]), u16::from_be_bytes([b[2], b[3]])];
            let longs = |b: &[u8]| u32::from_be_bytes([b[0], b[1], b[2], b[3]]);
            let mut by_word = before;
            for (o, n) in old.chunks(4).zip(new.chunks(4)) {
                for (o, n) in words(o).into_iter().zip(words(n)) {
                    by_word = update16(by_word, o, n);
                }
            }
            prop_assert_eq!(by_word, after);
            let by_long = old.chunks(4).zip(new.chunks(4)).fold(before, |c, (o, n)| update32(c, longs(o), longs(n)));
            prop_assert_eq!(by_long, after);

            prop_assert_eq!(!update_partial(!before, &old, &new), after);
        }
    }
}
