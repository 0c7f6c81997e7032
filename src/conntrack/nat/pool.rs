//! Which address of a range a flow gets: the kernel's choice, so that it is the same on both.
//!
//! Without a key, on purpose: a client keeps its address over restarts, and knowing which one it gets is no secret.

use crate::packet::flow::{Address, pack};
use crate::packet::{Manip, NatRange};

/// The address of the range for this end of a flow whose packets go, so far, from `src` to `dst`; `None` for a range
/// of the other family. (`find_best_ips_proto`, and `xt_NETMAP` before it.)
pub(super) fn address(
    range: &NatRange,
    v6: bool,
    manip: Manip,
    src: &Address,
    dst: &Address,
) -> Option<Address> {
    let now = match manip {
        Manip::Src => src,
        Manip::Dst => dst,
    };
    let Some((first, last)) = range.addr else { return Some(*now) };
    if first.is_ipv6() != v6 || last.is_ipv6() != v6 {
        return None;
    }
    let (first, last) = (pack(first), pack(last));
    if range.netmap {
        // Bits in which the two ends differ are the host's.
        let mut mapped = [0; 16];
        for (i, byte) in mapped.iter_mut().enumerate() {
            let host = first[i] ^ last[i];
            *byte = (now[i] & host) | (first[i] & !host);
        }
        return Some(mapped);
    }
    Some(if first == last { first } else { spread([&first, &last], v6, manip, src, dst, range.persistent) })
}

/// Whether an address is between the ends of the range, or there are none.
pub(super) fn holds(range: &NatRange, addr: &Address) -> bool {
    range.addr.is_none_or(|(first, last)| (pack(first)..=pack(last)).contains(addr))
}

/// One of a range by a hash of source and destination, or of the source alone. Word by word: as long as what is
/// chosen equals the range's end, the next word may not go beyond it either.
fn spread(
    [first, last]: [&Address; 2],
    v6: bool,
    manip: Manip,
    src: &Address,
    dst: &Address,
    persistent: bool,
) -> Address {
    let words = if v6 { 4 } else { 1 };
    let dst = words_of(dst);
    let mut hash = jhash(words_of(src), if persistent { 0 } else { dst[words - 1] });
    let mut chosen = [0; 16];
    let mut free = false;
    for (i, out) in chosen.as_chunks_mut::<4>().0.iter_mut().enumerate().take(words) {
        let (least, most) = (word_at(first, i), word_at(last, i));
        let (least, count) =
            if free { (0, u32::MAX) } else { (least, most.wrapping_sub(least).wrapping_add(1)) };
        let word = least.wrapping_add(((u64::from(hash) * u64::from(count)) >> 32) as u32);
        *out = word.to_be_bytes();
        free |= word != most;
        if !persistent {
            // Linux has written the word over the destination's by now, if that is what is chosen.
            hash ^= if manip == Manip::Dst { word.to_be() } else { dst[i] };
        }
    }
    chosen
}

fn word_at(addr: &Address, i: usize) -> u32 {
    addr.as_chunks::<4>().0.get(i).map_or(0, |w| u32::from_be_bytes(*w))
}

/// The address as the machine reads its words, which is what the kernel hashes.
fn words_of(addr: &Address) -> [u32; 4] {
    std::array::from_fn(|i| word_at(addr, i).to_be())
}

/// Bob Jenkins' lookup3 over four words, as in Linux's `jhash2`.
fn jhash(k: [u32; 4], seed: u32) -> u32 {
    // Linux adds the length in bytes.
    let start = 0xdead_beef_u32.wrapping_add(16).wrapping_add(seed);
    let (mut a, mut b, mut c) =
        (start.wrapping_add(k[0]), start.wrapping_add(k[1]), start.wrapping_add(k[2]));
    // Each line of lookup3's mix(): x = (x - y) ^ rot(y, n); y += z.
    let step = |x: &mut u32, y: &mut u32, z: u32, by: u32| {
        *x = x.wrapping_sub(*y) ^ y.rotate_left(by);
        *y = y.wrapping_add(z);
    };
    step(&mut a, &mut c, b, 4);
    step(&mut b, &mut a, c, 6);
    step(&mut c, &mut b, a, 8);
    step(&mut a, &mut c, b, 16);
    step(&mut b, &mut a, c, 19);
    step(&mut c, &mut b, a, 4);
    a = a.wrapping_add(k[3]);
    // And of final(): x = (x ^ y) - rot(y, n).
    let last = |x: u32, y: u32, by: u32| (x ^ y).wrapping_sub(y.rotate_left(by));
    c = last(c, b, 14);
    a = last(a, c, 11);
    b = last(b, a, 25);
    c = last(c, b, 16);
    a = last(a, c, 4);
    b = last(b, a, 14);
    last(c, b, 24)
}
