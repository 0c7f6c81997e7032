//! The places flows stand in, and which of them are free.
//!
//! Places are made a chunk at a time as they are needed, and never move: a number finds its place without a
//! lock. Each place has a lock of its own; the links beside it belong to whoever holds the lock of the list
//! they are in (a [`wheel`](super::wheel), a [`source`](super::source) list, the free list here).
//!
//! ```text
//! chunks  ├ 1024 places ┼ 1024 places ┼ not made yet …
//!           │
//!           └ Slot { lock: tenant number, flow or none │ links }
//! ```

use std::num::NonZeroU32;
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
    chunks: Box<[OnceLock<Box<[Slot]>>]>,
    free: Mutex<Free>,
}

#[derive(Debug)]
struct Free {
    /// The place given back last; the others follow by `next`.
    head: u32,
    /// Places beyond this were never used.
    fresh: u32,
}

impl Slab {
    /// For `max` flows; memory is taken as they come.
    pub(super) fn new(max: u32) -> Self {
        let chunks = (max.min(MOST) as usize).div_ceil(CHUNK);
        Slab {
            chunks: (0..chunks).map(|_| OnceLock::new()).collect(),
            free: Mutex::new(Free { head: NONE, fresh: 0 }),
        }
    }

    /// A place that was taken at some time.
    #[inline]
    pub(super) fn slot(&self, at: u32) -> Option<&Slot> {
        self.chunks.get(at as usize / CHUNK)?.get()?.get(at as usize % CHUNK)
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

    /// Takes a free place; `None` if there is none.
    pub(super) fn take(&self) -> Option<u32> {
        let mut free = lock(&self.free);
        if free.head != NONE {
            let at = free.head;
            free.head = self.slot(at)?.next.load(Relaxed);
            return Some(at);
        }
        let at = free.fresh;
        let chunk = self.chunks.get(at as usize / CHUNK)?;
        chunk.get_or_init(|| (0..CHUNK).map(|_| Slot::empty()).collect());
        free.fresh = at + 1;
        Some(at)
    }

    /// Gives an empty place back.
    pub(super) fn give(&self, at: u32) {
        let mut free = lock(&self.free);
        if let Some(slot) = self.slot(at) {
            slot.next.store(free.head, Relaxed);
            free.head = at;
        }
    }

    /// How many places were ever used: those from 0 up to here may hold flows.
    pub(super) fn reach(&self) -> u32 {
        lock(&self.free).fresh
    }

    /// Bytes taken.
    pub(super) fn memory(&self) -> usize {
        let made = self.chunks.iter().filter(|c| c.get().is_some()).count();
        made * CHUNK * size_of::<Slot>() + self.chunks.len() * size_of::<OnceLock<Box<[Slot]>>>()
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
        let slab = Slab::new(1500);
        let mut taken: Vec<u32> = (0..1500).map(|_| slab.take().unwrap()).collect();
        taken.sort_unstable();
        taken.dedup();
        assert_eq!(taken.len(), 1500);
        // The last chunk is whole: the table counts to max, not this.
        for at in [7, 1400] {
            slab.give(at);
        }
        assert_eq!((slab.take(), slab.take()), (Some(1400), Some(7)));
        assert!(slab.memory() >= 2048 * size_of::<Slot>());
    }

    #[test]
    fn a_number_outlives_its_tenant_and_finds_nothing() {
        let slab = Slab::new(1);
        let at = slab.take().unwrap();
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
