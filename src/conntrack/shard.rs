//! Where a tuple is found: the index, in shards with a lock each.
//!
//! ```text
//! tuple ─► 64-bit keyed hash ─┬─ upper half: the shard
//!                             └─ lower half: the place in its table, and kept with the entry
//! entry: lower half │ place << 1 | direction                8 bytes
//! ```
//!
//! The hash's key is random (the edge's, by way of a seed): nobody outside can aim at a bucket. An entry keeps
//! its half of the hash, so that a table grows, and passes over strangers, without a look at any flow.
//!
//! Locks: two shards are locked in the order of their numbers; a place's lock is taken below a shard's, never
//! the other way round.

use std::hash::Hasher;
use std::sync::{Mutex, MutexGuard};

use hashbrown::HashTable;
use siphasher::sip::SipHasher13;

use super::lock;
use crate::packet::flow::Address;
use crate::packet::{Direction, Tuple};

/// Shards: many more than there are threads, so that two seldom meet at one.
const SHARDS: usize = 256;

/// The key of the hash.
#[derive(Debug, Clone, Copy)]
pub(super) struct Key(SipHasher13);

impl Key {
    pub(super) fn new(seed: u64) -> Self {
        // Two keys of one seed, the second through a fixed odd multiplier: the first alone is the secret.
        Key(SipHasher13::new_with_keys(seed, seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29)))
    }

    /// The hash of a tuple.
    #[inline]
    pub(super) fn tuple(&self, t: &Tuple) -> u64 {
        let ports = u64::from(t.src_port) << 32 | u64::from(t.dst_port) << 16;
        let upper = ports | u64::from(t.proto) << 8 | u64::from(t.v6);
        let mut h = self.0;
        h.write_u64(upper);
        if t.v6 {
            wide(&mut h, &t.src);
            wide(&mut h, &t.dst);
        } else {
            h.write_u64(narrow(&t.src) << 32 | narrow(&t.dst));
        }
        h.finish()
    }

    /// The hash of a tuple's source alone.
    pub(super) fn source(&self, t: &Tuple) -> u64 {
        let mut h = self.0;
        h.write_u64(u64::from(t.src_port) << 16 | u64::from(t.proto) << 8 | u64::from(t.v6) | 1 << 48);
        wide(&mut h, &t.src);
        h.finish()
    }
}

fn wide(h: &mut SipHasher13, a: &Address) {
    let (words, _) = a.as_chunks::<8>();
    for word in words {
        h.write_u64(u64::from_le_bytes(*word));
    }
}

fn narrow(a: &Address) -> u64 {
    u64::from(u32::from_be_bytes([a[0], a[1], a[2], a[3]]))
}

/// The hash with its shard chosen among those of one of so many workers: where packets come to the worker they are steered
/// to, no two lock the same shard.
#[inline]
pub(super) fn among(hash: u64, worker: usize, workers: u32) -> u64 {
    let share = (SHARDS as u64 / u64::from(workers)).max(1);
    let number = (worker as u64 * share + (hash >> 32) % share) % SHARDS as u64;
    // The shard is what the upper half's lowest bits say.
    hash & !((SHARDS as u64 - 1) << 32) | number << 32
}

/// One direction of a flow: its place and which.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct At(u32);

impl At {
    #[inline]
    pub(super) fn new(slot: u32, dir: Direction) -> Self {
        At(slot << 1 | dir as u32)
    }

    #[inline]
    pub(super) fn slot(self) -> u32 {
        self.0 >> 1
    }

    #[inline]
    pub(super) fn dir(self) -> Direction {
        if self.0 & 1 == 0 { Direction::Original } else { Direction::Reply }
    }
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    hash: u32,
    at: At,
}

/// The table of one shard.
#[derive(Debug, Default)]
pub(super) struct Shard(HashTable<Entry>);

impl Shard {
    /// The first entry of this hash that `is` says yes to.
    #[inline]
    pub(super) fn find(&self, hash: u64, mut is: impl FnMut(At) -> bool) -> Option<At> {
        let low = hash as u32;
        self.0.find(spread(low), |e| e.hash == low && is(e.at)).map(|e| e.at)
    }

    pub(super) fn insert(&mut self, hash: u64, at: At) {
        let low = hash as u32;
        self.0.insert_unique(spread(low), Entry { hash: low, at }, |e| spread(e.hash));
    }

    pub(super) fn remove(&mut self, hash: u64, at: At) {
        if let Ok(entry) = self.0.find_entry(spread(hash as u32), |e| e.at == at) {
            entry.remove();
        }
    }
}

/// A table looks at the lowest bits and the highest seven: both are from the half that is kept.
#[inline]
fn spread(low: u32) -> u64 {
    u64::from(low) << 32 | u64::from(low)
}

/// On lines of its own, lest neighbors slow one another down.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Padded(Mutex<Shard>);

/// All shards.
#[derive(Debug)]
pub(super) struct Index(Box<[Padded]>);

impl Index {
    pub(super) fn new() -> Self {
        Index((0..SHARDS).map(|_| Padded::default()).collect())
    }

    #[inline]
    fn number(hash: u64) -> usize {
        (hash >> 32) as usize % SHARDS
    }

    /// The shard of a hash, locked.
    #[inline]
    pub(super) fn lock(&self, hash: u64) -> MutexGuard<'_, Shard> {
        lock(&self.0[Self::number(hash)].0)
    }

    /// The shards of two hashes, locked.
    pub(super) fn lock_two(&self, a: u64, b: u64) -> Two<'_> {
        let (na, nb) = (Self::number(a), Self::number(b));
        let low = lock(&self.0[na.min(nb)].0);
        let high = (na != nb).then(|| lock(&self.0[na.max(nb)].0));
        Two { low, high, first: na.min(nb) }
    }

    /// Bytes taken.
    pub(super) fn memory(&self) -> usize {
        self.0.iter().map(|s| lock(&s.0).0.allocation_size() + size_of::<Padded>()).sum()
    }

    /// Entries in all shards.
    #[cfg(test)]
    pub(super) fn entries(&self) -> usize {
        self.0.iter().map(|s| lock(&s.0).0.len()).sum()
    }

    /// The longest table.
    #[cfg(test)]
    pub(super) fn fullest(&self) -> usize {
        self.0.iter().map(|s| lock(&s.0).0.len()).max().unwrap_or(0)
    }
}

/// Two shards, or twice the same.
#[derive(Debug)]
pub(super) struct Two<'a> {
    low: MutexGuard<'a, Shard>,
    high: Option<MutexGuard<'a, Shard>>,
    first: usize,
}

impl Two<'_> {
    /// The one of a hash, which must be one of the two locked for.
    pub(super) fn of(&mut self, hash: u64) -> &mut Shard {
        match &mut self.high {
            Some(high) if Index::number(hash) != self.first => high,
            _ => &mut self.low,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conntrack::testing::{tuple4, tuple6};

    #[test]
    fn every_field_has_a_say() {
        let key = Key::new(7);
        for base in [tuple4(1, 2), tuple6(1, 2)] {
            let mut others = vec![base];
            for i in 0..16 {
                let last = if base.v6 { 16 } else { 4 };
                if i < last {
                    let (mut src, mut dst) = (base, base);
                    src.src[i] ^= 1;
                    dst.dst[i] ^= 1;
                    others.extend([src, dst]);
                }
            }
            others.push(Tuple { src_port: base.src_port ^ 1, ..base });
            others.push(Tuple { dst_port: base.dst_port ^ 1, ..base });
            others.push(Tuple { proto: 6, ..base });
            others.push(Tuple { src: base.dst, dst: base.src, ..base });
            let mut hashes: Vec<u64> = others.iter().map(|t| key.tuple(t)).collect();
            hashes.sort_unstable();
            hashes.dedup();
            assert_eq!(hashes.len(), others.len());
        }
    }

    #[test]
    fn what_collides_under_one_key_does_not_under_another() {
        // A million tuples; those that share shard and the lowest ten bits of the place under the first key
        // are what a flood would choose.
        let (known, other) = (Key::new(1), Key::new(2));
        let place = |key: &Key, t: &Tuple| {
            let h = key.tuple(t);
            (Index::number(h), h & 0x3ff)
        };
        let mut chosen: Vec<Tuple> = Vec::new();
        for n in 0..1_000_000_u32 {
            let t = Tuple { src_port: n as u16, ..tuple4(n >> 16, 9) };
            if Index::number(known.tuple(&t)) == 0 && known.tuple(&t) & 0x3f == 0 {
                chosen.push(t);
            }
        }
        assert!(chosen.len() > 40, "{}", chosen.len());
        let mut under_other: Vec<_> = chosen.iter().map(|t| place(&other, t)).collect();
        under_other.sort_unstable();
        under_other.dedup();
        assert!(under_other.len() + 3 > chosen.len(), "{} of {}", under_other.len(), chosen.len());
    }

    #[test]
    fn workers_have_shards_of_their_own() {
        let key = Key::new(3);
        for workers in [1u32, 2, 3, 7, 256, 300] {
            let mut owners = [None; SHARDS];
            let mut used = 0;
            for n in 0..20_000u32 {
                let hash = key.tuple(&tuple4(n, 9));
                let worker = (n % workers.min(256)) as usize;
                let steered = among(hash, worker, workers);
                assert_eq!(steered as u32, hash as u32, "the place stays");
                if workers == 1 {
                    assert_eq!(steered, hash);
                }
                let owner = &mut owners[Index::number(steered)];
                used += usize::from(owner.is_none());
                assert_eq!(*owner.get_or_insert(worker), worker);
            }
            assert!(used >= SHARDS.saturating_sub(workers as usize), "{workers}: {used}");
        }
    }

    #[test]
    fn a_flow_whose_tuples_share_a_shard_is_locked_once() {
        let index = Index::new();
        let (a, b) = (5 << 32 | 1, 5 << 32 | 2);
        let mut two = index.lock_two(a, b);
        two.of(a).insert(a, At::new(3, Direction::Original));
        two.of(b).insert(b, At::new(3, Direction::Reply));
        drop(two);
        let mut two = index.lock_two(b, 1 << 32);
        assert_eq!(two.of(b).find(b, |_| true), Some(At::new(3, Direction::Reply)));
        assert_eq!(two.of(1 << 32).find(1 << 32, |_| true), None);
        two.of(b).remove(b, At::new(4, Direction::Reply));
        two.of(b).remove(b, At::new(3, Direction::Reply));
        drop(two);
        assert_eq!(index.entries(), 1);
    }
}
