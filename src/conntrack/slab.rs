//! The places flows stand in, and which of them are free.
//!
//! Places are made a chunk at a time as they are needed, and never move: a number finds its place without a
//! lock. Each place has a lock of its own; the links beside it belong to whoever holds the lock of the list
//! they are in (a [`wheel`](super::wheel), a [`source`](super::source) list, the free list here).
//!
//! Each worker takes places of its own, a run at a time: flows of two workers share a line at the edge of a run at most.
//!
//! ```text
//! chunks  ├ 1024 places ┼ 1024 places ┼ not made yet …
//!           │
//!           └ Slot { lock: tenant number, flow or none │ links }
//! ```

use std::num::NonZeroU32;
use std::ops::Range;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, OnceLock};

use super::{Flow, lock};
use crate::packet::FlowId;

/// No place.
pub(super) const NONE: u32 = u32::MAX;

/// As many places at most: numbers keep a bit for the direction, and one for the heads of lists.
pub(super) const MOST: u32 = 1 << 30;

/// Places in a chunk.
const CHUNK: usize = 1024;

/// Chunks behind those of another slab at most.
const MORE: usize = 64;

/// Places a worker takes at a time, where there are several.
const RUN: u32 = 64;

/// A place.
#[derive(Debug)]
pub(super) struct Slot {
    held: Mutex<Held>,
    /// Its neighbors on the wheel; on the free list `next` alone.
    pub(super) next: AtomicU32,
    pub(super) prev: AtomicU32,
    /// The tick at which the wheel looks at it.
    pub(super) armed: AtomicU32,
    /// Its neighbors among the translated flows of the same source.
    pub(super) newer: AtomicU32,
    pub(super) older: AtomicU32,
}

/// What stands in a place.
#[derive(Debug)]
pub(super) struct Held {
    /// Which tenant it is; counts up when one leaves.
    pub(super) tenant: NonZeroU32,
    /// The flow; none if the place is free.
    pub(super) flow: Option<Flow>,
}

impl Held {
    /// Empties the place; numbers of the tenant find nothing from now on.
    pub(super) fn vacate(&mut self) -> Option<Flow> {
        self.tenant = self.tenant.checked_add(1).unwrap_or(NonZeroU32::MIN);
        self.flow.take()
    }
}

/// All places.
#[derive(Debug)]
pub(super) struct Slab {
    chunks: Box<[OnceLock<Chunk>]>,
    /// For each worker.
    free: Box<[Free]>,
    /// Places from here on are nobody's yet.
    fresh: Mutex<u32>,
    /// Places taken at a time.
    run: u32,
}

#[derive(Debug)]
struct Chunk {
    slots: Box<[Slot]>,
    /// Whose each run is. Elsewhere: there is a place here for each chunk that may ever be.
    owners: Box<[AtomicU32; CHUNK / RUN as usize]>,
}

/// The free places of one worker, on lines of their own.
#[derive(Debug)]
#[repr(align(128))]
struct Free(Mutex<Places>);

#[derive(Debug)]
struct Places {
    /// The place given back last; the others follow by `next`.
    head: u32,
    /// The rest of the run that was taken last.
    rest: Range<u32>,
}

impl Slab {
    /// For `max` flows of so many workers; memory is taken as they come.
    pub(super) fn new(max: u32, workers: u32) -> Self {
        let workers = workers.max(1);
        let run = if workers == 1 { 1 } else { RUN };
        // Each may have a run that it has not used up.
        let places = max.min(MOST) as usize + (workers as usize - 1) * RUN as usize;
        let none = || Free(Mutex::new(Places { head: NONE, rest: 0..0 }));
        Slab {
            chunks: (0..places.div_ceil(CHUNK)).map(|_| OnceLock::new()).collect(),
            free: (0..workers).map(|_| none()).collect(),
            fresh: Mutex::new(0),
            run,
        }
    }

    /// For flows that stand in the places another slab has now, under the same numbers ([`open`](Slab::open)), and for more
    /// behind those: as many at most, and a chunk at least.
    pub(super) fn behind(other: &Slab, workers: u32) -> Self {
        let base = other.reach().next_multiple_of(CHUNK as u32);
        let more = other.chunks.len().clamp(1, MORE);
        let own = Slab::new(0, workers);
        let chunks = (0..base as usize / CHUNK + more).map(|_| OnceLock::new()).collect();
        Slab { chunks, fresh: Mutex::new(base), ..own }
    }

    /// Makes a place that was not taken; whether it can be.
    pub(super) fn open(&self, at: u32) -> bool {
        self.chunks.get(at as usize / CHUNK).map(|chunk| chunk.get_or_init(Chunk::new)).is_some()
    }

    /// A place that was taken at some time.
    #[inline]
    pub(super) fn slot(&self, at: u32) -> Option<&Slot> {
        self.chunks.get(at as usize / CHUNK)?.get()?.slots.get(at as usize % CHUNK)
    }

    /// What stands in a place, locked.
    #[inline]
    pub(super) fn held(&self, at: u32) -> Option<MutexGuard<'_, Held>> {
        Some(lock(&self.slot(at)?.held))
    }

    /// What stands under a number, locked; `None` if its tenant has left.
    pub(super) fn tenant(&self, id: FlowId) -> Option<MutexGuard<'_, Held>> {
        self.held(id.slot).filter(|h| h.tenant == id.tenant && h.flow.is_some())
    }

    /// Takes a free place of a worker's; of another's if it has none; `None` if nobody has.
    pub(super) fn take(&self, worker: usize) -> Option<u32> {
        let own = worker % self.free.len();
        if let Some(at) = self.take_of(own) {
            return Some(at);
        }
        if let Some(run) = self.take_run(own) {
            let at = run.start;
            lock(&self.free[own].0).rest = at + 1..run.end;
            return Some(at);
        }
        (0..self.free.len()).find_map(|other| self.take_of(other))
    }

    fn take_of(&self, worker: usize) -> Option<u32> {
        let mut places = lock(&self.free[worker].0);
        if places.head != NONE {
            let at = places.head;
            places.head = self.slot(at)?.next.load(Relaxed);
            return Some(at);
        }
        places.rest.next()
    }

    /// Places that nobody has had.
    fn take_run(&self, worker: usize) -> Option<Range<u32>> {
        let mut fresh = lock(&self.fresh);
        let at = *fresh;
        let chunk = self.chunks.get(at as usize / CHUNK)?.get_or_init(Chunk::new);
        chunk.owners[at as usize % CHUNK / RUN as usize].store(worker as u32, Relaxed);
        *fresh = at + self.run;
        Some(at..*fresh)
    }

    /// Gives an empty place back, to the worker it is of.
    pub(super) fn give(&self, at: u32) {
        let Some(chunk) = self.chunks.get(at as usize / CHUNK).and_then(OnceLock::get) else { return };
        let (owner, slot) =
            (&chunk.owners[at as usize % CHUNK / RUN as usize], &chunk.slots[at as usize % CHUNK]);
        let Some(free) = self.free.get(owner.load(Relaxed) as usize) else { return };
        let mut places = lock(&free.0);
        slot.next.store(places.head, Relaxed);
        places.head = at;
    }

    /// How many places were ever taken: those from 0 up to here may hold flows.
    pub(super) fn reach(&self) -> u32 {
        *lock(&self.fresh)
    }

    /// Bytes taken.
    pub(super) fn memory(&self) -> usize {
        let made = self.chunks.iter().filter(|c| c.get().is_some()).count();
        made * (CHUNK * size_of::<Slot>() + size_of::<[AtomicU32; CHUNK / RUN as usize]>())
            + self.chunks.len() * size_of::<OnceLock<Chunk>>()
    }
}

impl Chunk {
    fn new() -> Self {
        Chunk {
            slots: (0..CHUNK).map(|_| Slot::empty()).collect(),
            owners: Box::new(std::array::from_fn(|_| AtomicU32::new(0))),
        }
    }
}

impl Slot {
    /// Looks at both ends of it: nothing but memory is asked.
    #[inline]
    pub(super) fn warm(&self) -> u32 {
        u32::from(self.held.is_poisoned()) ^ self.armed.load(Relaxed)
    }

    fn empty() -> Self {
        Slot {
            held: Mutex::new(Held { tenant: NonZeroU32::MIN, flow: None }),
            next: AtomicU32::new(NONE),
            prev: AtomicU32::new(NONE),
            armed: AtomicU32::new(0),
            newer: AtomicU32::new(NONE),
            older: AtomicU32::new(NONE),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_and_its_flow_are_small() {
        assert!(size_of::<Flow>() <= 176, "{}", size_of::<Flow>());
        assert!(size_of::<Slot>() <= 208, "{}", size_of::<Slot>());
    }

    #[test]
    fn places_are_used_again_and_never_twice() {
        let slab = Slab::new(1500, 1);
        let mut taken: Vec<u32> = (0..1500).map(|_| slab.take(0).unwrap()).collect();
        taken.sort_unstable();
        taken.dedup();
        assert_eq!(taken.len(), 1500);
        // The last chunk is whole: the table counts to max, not this.
        for at in [7, 1400] {
            slab.give(at);
        }
        assert_eq!((slab.take(0), slab.take(0)), (Some(1400), Some(7)));
        assert!(slab.memory() >= 2048 * size_of::<Slot>());
    }

    #[test]
    fn workers_have_places_of_their_own() {
        let slab = Slab::new(1000, 3);
        let mut runs = [[0; 32]; 3];
        for n in 0..600 {
            let worker = n % 3;
            runs[worker][(slab.take(worker).unwrap() / RUN) as usize] += 1;
        }
        for run in 0..32 {
            assert!(runs.iter().filter(|r| r[run] > 0).count() <= 1, "{runs:?}");
        }
        // One may have all there is, and what he gives back is whose it was.
        let mut more: Vec<u32> = std::iter::from_fn(|| slab.take(0)).collect();
        assert!(more.len() >= 400);
        more.sort_unstable();
        more.dedup();
        let last = *more.last().unwrap();
        slab.give(last);
        assert_eq!(slab.take(2), Some(last), "the others have none of their own");
    }

    #[test]
    fn a_number_outlives_its_tenant_and_finds_nothing() {
        let slab = Slab::new(1, 1);
        let at = slab.take(0).unwrap();
        let id = {
            let mut held = slab.held(at).unwrap();
            held.flow = Some(super::super::testing::udp_flow(1, 2));
            FlowId { slot: at, tenant: held.tenant }
        };
        assert!(slab.tenant(id).is_some());
        assert!(slab.held(at).unwrap().vacate().is_some());
        assert!(slab.tenant(id).is_none());
        slab.held(at).unwrap().flow = Some(super::super::testing::udp_flow(1, 2));
        assert!(slab.tenant(id).is_none(), "another tenant");
    }
}
