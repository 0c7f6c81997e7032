//! When to look at a flow again: a hierarchical timer wheel (Varghese and Lauck, scheme 7) in ticks of a second.
//!
//! ```text
//! level 0   64 buckets of 1 s       all of the current 64 s
//! level 1   64 buckets of 64 s      all of the current 4096 s
//! …         each 64 times the last
//! level 5   the rest of 2^32 s
//! ```
//!
//! An entry's level is that of the highest six bits in which its tick and the current one differ. When its
//! bucket's time comes it is looked at: what is due is told, the rest is put where its deadline belongs
//! now. So a packet that puts off a deadline only writes it, and a flow that is idle for days is touched
//! four times. A deadline brought forward beyond the bucket's time moves the entry, which takes no room: an
//! entry is a pair of links in its place, and stands in one bucket.
//!
//! Knows places by number; knows nothing of tuples.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard};

use super::lock;
use super::slab::{NONE, Slab};
use crate::base::Instant;

const LEVELS: usize = 6;
const BUCKETS: usize = 64;
const BITS: u32 = 6;

/// In a `prev` link: this is the head of a bucket, whose number the rest holds.
const HEAD: u32 = 1 << 31;

/// The tick at or after a moment.
#[inline]
pub(super) fn tick_of(deadline: Instant) -> u32 {
    u32::try_from(deadline.as_nanos().div_ceil(NANOS)).unwrap_or(u32::MAX)
}

/// What has to be done with an entry whose bucket's time has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    /// Nothing before this tick.
    At(u32),
    /// It is due: it stays on the wheel (the next tick looks again) until it is unlinked.
    Due,
}

/// A wheel, with its lock.
#[derive(Debug)]
pub(super) struct Wheel {
    /// When to look at it, in nanoseconds; not before means nothing is missed.
    due: AtomicU64,
    ring: Mutex<Ring>,
}

#[derive(Debug)]
pub(super) struct Ring {
    heads: [[u32; BUCKETS]; LEVELS],
    /// Which buckets have entries.
    occupied: [u64; LEVELS],
    /// All before this tick is done; entries are later, or in the bucket that is being worked off.
    now: u32,
}

impl Wheel {
    pub(super) fn new() -> Self {
        let ring = Ring { heads: [[NONE; BUCKETS]; LEVELS], occupied: [0; LEVELS], now: 0 };
        Wheel { due: AtomicU64::new(u64::MAX), ring: Mutex::new(ring) }
    }

    /// When [`turn`](Wheel::turn) has something to do.
    #[inline]
    pub(super) fn due(&self) -> Instant {
        Instant::from_nanos(self.due.load(Relaxed))
    }

    /// Puts a place that is on no list onto the wheel.
    pub(super) fn link(&self, slab: &Slab, at: u32, tick: u32) {
        let mut ring = lock(&self.ring);
        ring.link(slab, at, tick);
        self.note(&ring);
    }

    /// Takes a place off.
    pub(super) fn unlink(&self, slab: &Slab, at: u32) {
        let mut ring = lock(&self.ring);
        ring.unlink(slab, at);
        self.note(&ring);
    }

    /// Moves a place to an earlier tick; `tick` is asked under the lock, and says `None` if it is to stay.
    pub(super) fn bring_forward(&self, slab: &Slab, at: u32, tick: impl FnOnce() -> Option<u32>) {
        let mut ring = lock(&self.ring);
        if let Some(tick) = tick() {
            ring.unlink(slab, at);
            ring.link(slab, at, tick);
            self.note(&ring);
        }
    }

    /// Looks at entries whose time has come, `budget` of them at most; gives how many it looked at. `None` if
    /// another thread is at it.
    pub(super) fn turn(
        &self,
        slab: &Slab,
        now: Instant,
        budget: usize,
        look: &mut dyn FnMut(u32) -> Look,
    ) -> Option<usize> {
        let mut ring: MutexGuard<'_, Ring> = match self.ring.try_lock() {
            Ok(ring) => ring,
            Err(std::sync::TryLockError::Poisoned(e)) => e.into_inner(),
            Err(std::sync::TryLockError::WouldBlock) => return None,
        };
        let tick = u32::try_from(now.as_nanos() / NANOS).unwrap_or(u32::MAX);
        let mut looked = 0;
        while looked < budget {
            let Some((level, bucket)) = ring.next() else { break };
            let starts = ring.starts(level, bucket);
            if starts > tick {
                break;
            }
            ring.now = ring.now.max(starts);
            while looked < budget && ring.heads[level][bucket] != NONE {
                let at = ring.heads[level][bucket];
                looked += 1;
                let next = match look(at) {
                    Look::At(next) => next,
                    Look::Due => tick.saturating_add(1),
                };
                ring.unlink(slab, at);
                ring.link(slab, at, next);
            }
        }
        // Nothing stands between: the ticks in which nothing happens need no steps.
        if looked < budget {
            ring.now = ring.now.max(tick);
        }
        self.note(&ring);
        Some(looked)
    }

    fn note(&self, ring: &Ring) {
        let due = ring.next().map_or(u64::MAX, |(l, b)| u64::from(ring.starts(l, b)).saturating_mul(NANOS));
        self.due.store(due, Relaxed);
    }
}

impl Ring {
    /// The bucket with entries whose time comes first. On a level that is the one with the lowest number, since
    /// none wraps round; a lower level comes before a higher, unless the higher one's is being worked off.
    fn next(&self) -> Option<(usize, usize)> {
        self.occupied
            .iter()
            .enumerate()
            .filter(|(_, bits)| **bits != 0)
            .map(|(level, bits)| (level, bits.trailing_zeros() as usize))
            .min_by_key(|(level, bucket)| self.starts(*level, *bucket))
    }

    /// The tick at which a bucket is looked at.
    fn starts(&self, level: usize, bucket: usize) -> u32 {
        let shift = BITS * level as u32;
        let above = u64::from(self.now) >> (shift + BITS) << (shift + BITS);
        // An entry is never beyond 2^32 ticks, nor therefore its bucket.
        (above | (bucket as u64) << shift) as u32
    }

    fn link(&mut self, slab: &Slab, at: u32, tick: u32) {
        let Some(slot) = slab.slot(at) else { return };
        let tick = tick.max(self.now.saturating_add(1));
        let differ = (tick ^ self.now).checked_ilog2().unwrap_or(0);
        let level = (differ / BITS) as usize;
        let bucket = (tick >> (BITS * level as u32)) as usize % BUCKETS;
        let head = self.heads[level][bucket];
        slot.armed.store(self.starts(level, bucket), Relaxed);
        slot.prev.store(HEAD | (level * BUCKETS + bucket) as u32, Relaxed);
        slot.next.store(head, Relaxed);
        if let Some(second) = slab.slot(head) {
            second.prev.store(at, Relaxed);
        }
        self.heads[level][bucket] = at;
        self.occupied[level] |= 1 << bucket;
    }

    fn unlink(&mut self, slab: &Slab, at: u32) {
        let Some(slot) = slab.slot(at) else { return };
        let (prev, next) = (slot.prev.load(Relaxed), slot.next.load(Relaxed));
        if prev == NONE {
            return;
        }
        if prev & HEAD != 0 {
            let (level, bucket) = ((prev & !HEAD) as usize / BUCKETS, (prev & !HEAD) as usize % BUCKETS);
            self.heads[level][bucket] = next;
            if next == NONE {
                self.occupied[level] &= !(1 << bucket);
            }
        } else if let Some(before) = slab.slot(prev) {
            before.next.store(next, Relaxed);
        }
        if let Some(behind) = slab.slot(next) {
            behind.prev.store(prev, Relaxed);
        }
        slot.prev.store(NONE, Relaxed);
        slot.next.store(NONE, Relaxed);
    }
}

const NANOS: u64 = 1_000_000_000;

#[cfg(test)]
mod tests;
