//! Packets and bytes of rules: a column for each worker, summed when somebody reads.
//!
//! ```text
//!            rule 0 … 255   rule 256 … 511   …
//!  lane 0    [ chunk ]      [ chunk ]             written by worker 0 alone: a plain load and store
//!  lane 1    [ chunk ]      (never hit: absent)
//!  base      what stood in the text, less what had been counted when somebody zeroed
//! ```
//!
//! A chunk comes into being when the first of its rules is hit in its lane, so that a million rules of which
//! a hundred are used cost little. Knows nothing of rules but their numbers.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use super::rule::Count;

/// Counters for a fixed number of rules.
#[derive(Debug)]
pub(super) struct Counters {
    len: usize,
    lanes: Box<[OnceLock<Lane>]>,
    /// Added to the sums of the lanes, wrapping.
    base: Mutex<Vec<Count>>,
}

/// One worker's column.
#[derive(Debug)]
pub(super) struct Lane {
    chunks: Box<[OnceLock<Box<Chunk>>]>,
    /// Whether more than one thread may write: the last lane serves all whose number is too high.
    shared: bool,
}

#[derive(Debug)]
#[repr(align(128))]
struct Chunk([Pair; CHUNK]);

#[derive(Debug, Default)]
struct Pair {
    packets: AtomicU64,
    bytes: AtomicU64,
}

/// Rules in a chunk.
const CHUNK: usize = 256;
/// Lanes with one writer each: as many as a router has workers at most (`MAX_TAP_QUEUES`).
const LANES: usize = 256;

impl Counters {
    /// Counters that begin with these values.
    pub(super) fn new(values: Vec<Count>) -> Self {
        Counters {
            len: values.len(),
            lanes: (0..=LANES).map(|_| OnceLock::new()).collect(),
            base: Mutex::new(values),
        }
    }

    /// Others for as many rules, at zero.
    pub(super) fn anew(&self) -> Self {
        Counters::new(vec![Count::default(); self.len])
    }

    /// A worker's column. Two threads that count at the same time must not give the same number.
    #[inline]
    pub(super) fn lane(&self, lane: usize) -> &Lane {
        let at = lane.min(LANES);
        self.lanes[at].get_or_init(|| Lane {
            chunks: (0..self.len.div_ceil(CHUNK)).map(|_| OnceLock::new()).collect(),
            shared: at == LANES,
        })
    }

    /// The bytes they take, about.
    pub(super) fn memory(&self) -> usize {
        let chunk = |chunk: &OnceLock<Box<Chunk>>| if chunk.get().is_some() { size_of::<Chunk>() } else { 0 };
        let lane = |lane: &Lane| size_of_val(&*lane.chunks) + lane.chunks.iter().map(chunk).sum::<usize>();
        let lanes = self.lanes.iter().filter_map(OnceLock::get).map(lane).sum::<usize>();
        size_of_val(&*self.lanes) + lanes + self.len * size_of::<Count>()
    }

    /// What all lanes and the base make together, by rule.
    pub(super) fn read(&self) -> Vec<Count> {
        let mut sums = self.base().clone();
        self.add_lanes(&mut sums);
        sums
    }

    /// Sets all to zero. What is counted meanwhile counts either before or after.
    pub(super) fn zero(&self) {
        self.set(vec![Count::default(); self.len]);
    }

    /// Sets those to zero for which it says so, and gives what all were. What is counted meanwhile is either in what is given
    /// or counts afterwards.
    pub(super) fn take(&self, zero: impl Fn(usize) -> bool) -> Vec<Count> {
        let mut counted = vec![Count::default(); self.len];
        let mut base = self.base();
        self.add_lanes(&mut counted);
        let each = base.iter_mut().zip(counted).enumerate().map(|(i, (base, counted))| {
            let packets = base.packets.wrapping_add(counted.packets);
            let bytes = base.bytes.wrapping_add(counted.bytes);
            if zero(i) {
                (base.packets, base.bytes) = (counted.packets.wrapping_neg(), counted.bytes.wrapping_neg());
            }
            Count { packets, bytes }
        });
        each.collect()
    }

    /// Sets all to these values; those that are missing count as zero.
    pub(super) fn set(&self, mut values: Vec<Count>) {
        values.resize(self.len, Count::default());
        let mut counted = vec![Count::default(); self.len];
        let mut base = self.base();
        self.add_lanes(&mut counted);
        for (value, counted) in values.iter_mut().zip(counted) {
            value.packets = value.packets.wrapping_sub(counted.packets);
            value.bytes = value.bytes.wrapping_sub(counted.bytes);
        }
        *base = values;
    }

    /// Adds to each, in order.
    pub(super) fn add(&self, more: impl Iterator<Item = Count>) {
        for (sum, more) in self.base().iter_mut().zip(more) {
            sum.packets = sum.packets.wrapping_add(more.packets);
            sum.bytes = sum.bytes.wrapping_add(more.bytes);
        }
    }

    fn add_lanes(&self, sums: &mut [Count]) {
        for lane in self.lanes.iter().filter_map(OnceLock::get) {
            for (sums, chunk) in sums.chunks_mut(CHUNK).zip(&lane.chunks) {
                let Some(chunk) = chunk.get() else { continue };
                for (sum, pair) in sums.iter_mut().zip(&chunk.0) {
                    sum.packets = sum.packets.wrapping_add(pair.packets.load(Relaxed));
                    sum.bytes = sum.bytes.wrapping_add(pair.bytes.load(Relaxed));
                }
            }
        }
    }

    fn base(&self) -> MutexGuard<'_, Vec<Count>> {
        self.base.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lane {
    /// Counts a packet of so many bytes for a rule.
    #[inline]
    pub(super) fn count(&self, rule: u32, bytes: u64) {
        let rule = rule as usize;
        let Some(chunk) = self.chunks.get(rule / CHUNK) else { return };
        let chunk = chunk.get_or_init(|| Box::new(Chunk(std::array::from_fn(|_| Pair::default()))));
        let pair = &chunk.0[rule % CHUNK];
        if self.shared {
            pair.packets.fetch_add(1, Relaxed);
            pair.bytes.fetch_add(bytes, Relaxed);
        } else {
            pair.packets.store(pair.packets.load(Relaxed).wrapping_add(1), Relaxed);
            pair.bytes.store(pair.bytes.load(Relaxed).wrapping_add(bytes), Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(packets: u64, bytes: u64) -> Count {
        Count { packets, bytes }
    }

    #[test]
    fn lanes_and_the_values_of_the_text_add_up() {
        let c = Counters::new(vec![count(10, 1000), count(0, 0), count(1, 1)]);
        c.lane(0).count(0, 60);
        c.lane(1).count(0, 40);
        c.lane(1).count(2, 5);
        c.lane(0).count(99, 5);
        assert_eq!(c.read(), [count(12, 1100), count(0, 0), count(2, 6)]);
        assert_eq!(c.take(|i| i == 2), [count(12, 1100), count(0, 0), count(2, 6)]);
        c.lane(0).count(2, 3);
        assert_eq!(c.read(), [count(12, 1100), count(0, 0), count(1, 3)]);
        c.zero();
        assert_eq!(c.read(), [count(0, 0); 3]);
        c.lane(1).count(2, 5);
        assert_eq!(c.read(), [count(0, 0), count(0, 0), count(1, 5)]);
        c.set(vec![count(7, 7)]);
        assert_eq!(c.read(), [count(7, 7), count(0, 0), count(0, 0)]);
    }

    #[test]
    fn a_chunk_costs_nothing_until_it_is_hit() {
        let c = Counters::new(vec![Count::default(); 1_000_000]);
        c.lane(3).count(999_999, 1);
        let made = |lane: &Lane| lane.chunks.iter().filter(|chunk| chunk.get().is_some()).count();
        assert_eq!(made(c.lane(3)), 1);
        assert_eq!(c.lanes.iter().filter(|l| l.get().is_some()).count(), 1);
        assert_eq!(c.read()[999_999], count(1, 1));
    }

    #[test]
    fn many_workers_at_once_lose_nothing() {
        let c = Counters::new(vec![Count::default(); 300]);
        std::thread::scope(|s| {
            // Two of them share the last lane.
            for lane in [0, 1, LANES + 1, LANES + 7] {
                let c = &c;
                s.spawn(move || (0..3_000).for_each(|i| c.lane(lane).count(i % 300, 2)));
            }
        });
        assert_eq!(c.read(), vec![count(40, 80); 300]);
    }
}
