//! The shadow of a table: a table that is there to be tried out on, and reads through to the one that is in use.
//!
//! ```text
//! shadow:  find ─┬─ a flow of its own: begun here, or taken in before ──► that one
//!                └─ none ─► the parent's, under the parent's locks ─► a copy is taken in, under the same number
//! ```
//!
//! What happens to the copy does not happen to the parent: no deadline is put off there, nothing counted, nothing begun
//! or ended. A flow that was taken in once is not looked for in the parent again, so that one which ended here is gone.
//! The parent's flows count here from the beginning: where it is full, so is the shadow, and the same ones make way.
//!
//! A copy stands in the place of the same number as in the parent; what begins here stands in places behind those.
//! A flow that begins in the parent after the shadow was made may be seen or not.
//!
//! A shadow is for one thread at a time.

use std::collections::HashSet;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex};

use super::{Conntrack, Count, Counts, Ending, WHEELS};
use crate::conntrack::events::Events;
use crate::conntrack::shard::{At, Index};
use crate::conntrack::slab::{Held, Slab};
use crate::conntrack::source::Sources;
use crate::conntrack::wheel::{Wheel, tick_of};
use crate::conntrack::{Flow, Settings, lock};
use crate::packet::{Direction, FlowId, Status, Tuple};

/// What a shadow knows of the table it is one of.
#[derive(Debug)]
pub(super) struct Parent {
    table: Arc<Conntrack>,
    /// Places from here on are the shadow's own.
    base: u32,
    /// Places below, of which the shadow has taken in what stood there.
    taken: Mutex<HashSet<u32>>,
}

impl Conntrack {
    /// A table that is `parent` to whoever asks, and leaves no trace there; see the module's text. Cheap: nothing is copied
    /// before it is asked for.
    pub fn shadow_of(parent: &Arc<Conntrack>) -> Conntrack {
        let slab = Slab::behind(&parent.slab, parent.steering.workers);
        let base = slab.reach();
        Conntrack {
            config: Settings::of(&parent.config.get()),
            key: parent.key,
            index: Index::new(),
            sources: Sources::new(),
            slab,
            room: parent.room,
            wheels: (0..WHEELS).map(|_| Wheel::new()).collect(),
            steering: parent.steering,
            count: Count::of(parent.len()),
            counts: Counts::default(),
            events: Events::default(),
            parent: Some(Box::new(Parent { table: parent.clone(), base, taken: Mutex::default() })),
        }
    }

    /// Forgets what happened in a shadow: it is as if it were made now. `false`, and nothing done: it is none, or the parent
    /// has outgrown it, and another is to be made.
    pub fn renew(&self) -> bool {
        let Some(parent) = self.parent.as_deref() else { return false };
        if parent.table.slab.reach() > parent.base {
            return false;
        }
        let own = parent.base..self.slab.reach();
        for at in lock(&parent.taken).drain().chain(own) {
            if let Some(id) = self.slab.held(at).map(|held| FlowId { slot: at, tenant: held.tenant }) {
                self.leave(id);
            }
        }
        self.count.0.store(parent.table.count.0.load(Relaxed), Relaxed);
        true
    }

    /// Takes a flow out of everything but the count, if it is still there.
    fn leave(&self, id: FlowId) {
        let Some(tuples) = self.slab.tenant(id).and_then(|held| held.flow).map(|f| f.tuples) else { return };
        let hashes = tuples.map(|t| self.hash(&t));
        self.uproot(id, hashes, Ending { at: None, by_hand: false }, |_| true);
    }

    /// Whether a place's number may be given to another flow: one of the parent's stays that flow's.
    #[inline]
    pub(super) fn is_reused(&self, slot: u32) -> bool {
        self.parent.as_deref().is_none_or(|parent| slot >= parent.base)
    }

    /// How far the places reach that flows which make way are looked for in.
    pub(super) fn crowd(&self) -> u32 {
        self.parent.as_deref().map_or(self.slab.reach(), |parent| parent.table.slab.reach().min(parent.base))
    }

    /// What stands in a place, here or in the parent, not taken in.
    pub(super) fn glance<T>(&self, slot: u32, look: impl FnOnce(&Held) -> Option<T>) -> Option<T> {
        let table = match self.parent.as_deref() {
            Some(parent) if parent.is_theirs(slot) => &parent.table.slab,
            _ => &self.slab,
        };
        look(&*table.held(slot)?)
    }

    /// Takes in the parent's flow of a tuple, if there is one that was not taken in before; says whether it did.
    #[cold]
    pub(super) fn take_in(&self, tuple: &Tuple, hash: u64) -> bool {
        let Some(parent) = self.parent.as_deref() else { return false };
        let theirs = &parent.table;
        let found = theirs.index.lock(hash).find(hash, |at| {
            let held = theirs.slab.held(at.slot());
            held.is_some_and(|h| h.flow.as_ref().is_some_and(|f| f.tuple(at.dir()) == tuple))
        });
        found.is_some_and(|at| self.take_in_from(parent, at.slot()))
    }

    /// Takes in the parent's flow of a number, likewise.
    #[cold]
    pub(super) fn take_in_number(&self, id: FlowId) -> bool {
        let Some(parent) = self.parent.as_deref() else { return false };
        let theirs = parent.table.slab.held(id.slot).is_some_and(|held| held.tenant == id.tenant);
        theirs && self.take_in_from(parent, id.slot)
    }

    /// What the parent's flows from the same source have it translated to: see [`Conntrack::source_mapping`]. Those that
    /// were taken in are as they stand here.
    pub(super) fn ask_parent<T>(&self, source: u64, mut ask: impl FnMut(&Flow) -> Option<T>) -> Option<T> {
        let parent = self.parent.as_deref()?;
        parent.table.sources.find(&parent.table.slab, source, |at| {
            self.glance(at, |held| held.flow.as_ref().and_then(&mut ask))
        })
    }

    fn take_in_from(&self, parent: &Parent, slot: u32) -> bool {
        let copy = parent.table.slab.held(slot).and_then(|held| Some((held.tenant, held.flow?)));
        let Some((tenant, flow)) = copy else { return false };
        if !parent.is_theirs(slot) || !self.slab.open(slot) {
            return false;
        }
        lock(&parent.taken).insert(slot);
        let hashes = flow.tuples.map(|t| self.hash(&t));
        let mut two = self.index.lock_two(hashes[0], hashes[1]);
        let Some(mut held) = self.slab.held(slot) else { return false };
        *held = Held { tenant, flow: Some(flow) };
        drop(held);
        self.wheel(slot).link(&self.slab, slot, tick_of(flow.deadline));
        if !flow.status.has(Status::NAT_CLASH) {
            two.of(hashes[0]).insert(hashes[0], At::new(slot, Direction::Original));
        }
        two.of(hashes[1]).insert(hashes[1], At::new(slot, Direction::Reply));
        // Its source's list is the parent's: there it has its turn.
        true
    }
}

impl Parent {
    /// Whether what stands in a place is the parent's, and has not been taken in.
    fn is_theirs(&self, slot: u32) -> bool {
        slot < self.base && !lock(&self.taken).contains(&slot)
    }
}

#[cfg(test)]
mod tests;
