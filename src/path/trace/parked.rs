//! Drafts of packets that wait somewhere: whichever worker goes on with a packet adds to its draft here.
//!
//! ```text
//!  a worker walks ─ about to put it where others may take it out ─► put, inside 1
//!                                      another takes it out ─► enter, inside 2 ─► adds its steps
//!  either's batch ends ─► leave: the last one out tells what there is, and keeps it if the packet waits on
//! ```
//!
//! A packet and those that it has caused stand here together, or with one worker together.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use crate::packet::TraceId;

use super::Shared;
use super::draft::{Draft, Heard};

/// Packets remembered that are held back somewhere; the oldest are forgotten, and what becomes of them is not told.
const MAX: usize = 4_096;
/// Bytes of what has been gathered of them, likewise.
const MAX_BYTES: usize = 16 << 20;

/// Packets that are held back somewhere, and what has been gathered of them.
#[derive(Debug, Default)]
pub(super) struct Parked {
    drafts: HashMap<TraceId, Held>,
    order: VecDeque<TraceId>,
    /// What the drafts take, about.
    bytes: usize,
}

#[derive(Debug)]
struct Held {
    draft: Draft,
    /// Workers that may be about to add to it.
    inside: u32,
}

impl Parked {
    /// Keeps a draft to which so many workers may be about to add.
    pub(super) fn put(&mut self, draft: Draft, inside: u32) {
        self.bytes += draft.held();
        self.order.push_back(draft.id);
        self.drafts.insert(draft.id, Held { draft, inside });
        for _ in 0..self.order.len() {
            if self.drafts.len() <= MAX && self.bytes <= MAX_BYTES {
                break;
            }
            let Some(oldest) = self.order.pop_front() else { break };
            match self.drafts.get(&oldest) {
                Some(held) if held.inside > 0 => self.order.push_back(oldest),
                _ => self.forget(oldest),
            }
        }
        // Numbers of those that went on stay in the order until there are too many of them.
        if self.order.len() > 2 * MAX {
            let Parked { drafts, order, .. } = self;
            order.retain(|id| drafts.contains_key(id));
        }
    }

    fn take(&mut self, id: TraceId) -> Option<Draft> {
        let Held { draft, .. } = self.drafts.remove(&id)?;
        self.bytes = self.bytes.saturating_sub(draft.held());
        Some(draft)
    }

    fn forget(&mut self, id: TraceId) {
        let Some(mut draft) = self.take(id) else { return };
        let heard = draft.forget();
        let mut line = vec![(draft, heard)];
        while let Some((draft, heard)) = line.pop() {
            for child in &draft.children {
                if let Some(mut child) = self.hear(*child, draft.id, &heard) {
                    let heard = child.conclude();
                    line.push((child, heard));
                }
            }
        }
    }

    /// The packet that caused one of these.
    pub(super) fn cause(&self, id: TraceId) -> Option<TraceId> {
        self.drafts.get(&id)?.draft.cause()
    }

    pub(super) fn has(&self, id: TraceId) -> bool {
        self.drafts.contains_key(&id)
    }

    /// One more worker may be about to add to a draft; whether it is here.
    pub(super) fn enter(&mut self, id: TraceId) -> bool {
        self.drafts.get_mut(&id).map(|held| held.inside += 1).is_some()
    }

    /// Adds to a draft.
    pub(super) fn add<T>(&mut self, id: TraceId, f: impl FnOnce(&mut Draft) -> T) -> Option<T> {
        let Held { draft, .. } = self.drafts.get_mut(&id)?;
        let before = draft.held();
        let done = f(draft);
        self.bytes = self.bytes.saturating_sub(before) + draft.held();
        Some(done)
    }

    /// A worker is about to add no more to a draft; gives it to the last of them.
    pub(super) fn leave(&mut self, id: TraceId) -> Option<Draft> {
        let held = self.drafts.get_mut(&id)?;
        held.inside = held.inside.saturating_sub(1);
        if held.inside > 0 { None } else { self.take(id) }
    }

    /// The packet that caused this one is over, and these wanted its record. Gives this one's draft if it was only that what it
    /// waited for.
    pub(super) fn hear(&mut self, id: TraceId, cause: TraceId, heard: &Heard) -> Option<Draft> {
        let held = self.drafts.get_mut(&id)?;
        held.draft.hear(cause, heard);
        let free = held.inside == 0 && held.draft.is_over();
        if free { self.take(id) } else { None }
    }

    /// Tells a watch what was kept back for it of packets that began before.
    pub(super) fn hurry(&mut self, watch: &Arc<Shared>, before: u64) {
        self.drafts.values_mut().for_each(|held| held.draft.hurry(watch, before));
    }

    /// A watch ends: it is told how far those have come that it means, causes before what they caused.
    pub(super) fn end(&mut self, watch: &Arc<Shared>) {
        let mut ids: Vec<TraceId> = self.drafts.keys().copied().collect();
        ids.sort();
        let mut told = Vec::new();
        for id in ids {
            if self.add(id, |draft| draft.part_with(watch, &told)) == Some(true) {
                told.push(id);
            }
        }
    }

    /// A watch is gone: what was for it alone is forgotten.
    pub(super) fn gone(&mut self, watch: &Arc<Shared>) {
        let mut left = 0;
        self.drafts.retain(|_, held| {
            held.draft.audience.retain(|l| !Arc::ptr_eq(&l.watch, watch));
            let stays = !held.draft.audience.is_empty();
            left += if stays { held.draft.held() } else { 0 };
            stays
        });
        self.bytes = left;
    }
}
