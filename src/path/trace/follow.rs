//! A worker's side of tracing: it gathers what is done to packets that are followed, and hands records over when it is known
//! what became of them.
//!
//! What is being gathered of a packet is its draft. It is the worker's own, found by the number in the packet's metadata,
//! until the packet is about to be put where another worker may take it out: before that its draft is given to the
//! [`Tracer`], where whoever goes on with the packet finds it. Drafts are looked at after every batch: a packet
//! whose frames stand in an outbox is told once the outbox has been handed to its device, and one that the local stack has
//! fetched once that has said what it did with it.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use crate::base::{DropReason, Instant, LinkId};
use crate::packet::{Packet, TraceId};

use super::draft::Draft;
use super::parked::Parked;
use super::{Shared, Step, Tracer};

/// Drafts of packets whose frames stand in outboxes that a worker keeps; those that are more are given to the tracer.
const MAX_OPEN: usize = 4_096;

/// After so long each watch may have as many followed anew.
const WINDOW: Duration = Duration::from_secs(1);

/// Whom a worker follows packets for, and those that it is following.
#[derive(Debug, Default)]
pub(in crate::path) struct Following {
    generation: u32,
    pub(super) watches: Vec<Active>,
    /// When the rates count from zero again.
    window: Instant,
    open: Vec<Draft>,
    /// Drafts that stand with the tracer and that this worker may add to.
    inside: Vec<TraceId>,
    /// Frames in outboxes, in their order by link.
    given: Vec<(LinkId, TraceId)>,
    /// Packets that stand where the local stack fetches them.
    for_host: Vec<TraceId>,
    /// Whether what comes now was taken from its device by another worker.
    pub(in crate::path) handed_over: bool,
}

/// A watch, and what it has had of this second.
#[derive(Debug)]
pub(super) struct Active {
    pub(super) shared: Arc<Shared>,
    pub(super) followed: u32,
    pub(super) told: u32,
}

/// A packet that was put where it may have to wait, and what is to be said of it stands behind so many steps.
#[derive(Debug, Clone, Copy)]
pub(in crate::path) struct Parting {
    id: TraceId,
    at: usize,
}

impl Following {
    /// Whether anybody watches.
    #[inline]
    pub(in crate::path) fn is_on(&self) -> bool {
        !self.watches.is_empty()
    }

    /// Whether somebody asks for drops.
    pub(in crate::path) fn asks_drops(&self) -> bool {
        self.watches.iter().any(|w| w.shared.asks_drops)
    }

    /// Looks who watches now. Called for every batch.
    #[inline]
    pub(in crate::path) fn under(&mut self, tracer: &Tracer) {
        if self.generation != tracer.generation.load(Relaxed) {
            self.renew(tracer);
        }
    }

    #[cold]
    fn renew(&mut self, tracer: &Tracer) {
        let watches = super::lock(&tracer.watches);
        self.generation = tracer.generation.load(Relaxed);
        let old = std::mem::take(&mut self.watches);
        let had =
            |w: &Arc<Shared>| old.iter().find(|a| Arc::ptr_eq(&a.shared, w)).map(|a| (a.followed, a.told));
        self.watches = watches
            .iter()
            .map(|w| {
                let (followed, told) = had(w).unwrap_or_default();
                Active { shared: w.clone(), followed, told }
            })
            .collect();
    }

    /// Lets each watch have as many anew, if it is time.
    pub(super) fn recount(&mut self, now: Instant) {
        if now >= self.window {
            self.window = now + WINDOW;
            self.watches.iter_mut().for_each(|a| (a.followed, a.told) = (0, 0));
        }
    }

    /// Whether anything is to be told that has not been.
    #[inline]
    pub(in crate::path) fn has_untold(&self) -> bool {
        !self.open.is_empty() || !self.inside.is_empty()
    }

    /// Hands over what has been gathered. Called after every batch.
    #[inline]
    pub(in crate::path) fn settle(&mut self, tracer: &Tracer) {
        if self.has_untold() {
            self.publish(tracer);
        }
    }

    #[cold]
    fn publish(&mut self, tracer: &Tracer) {
        let crowded = self.open.len() > MAX_OPEN;
        let mut standing: HashSet<TraceId> = self.open.iter().filter(|d| d.stands()).map(|d| d.id).collect();
        standing.extend(self.given.iter().map(|(_, id)| id).chain(&self.for_host));
        // What a packet caused is told behind it.
        let stays = |id: TraceId, cause: Option<TraceId>| {
            standing.contains(&id) || cause.is_some_and(|c| standing.contains(&c))
        };
        let (open, mut ready): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.open).into_iter().partition(|d| stays(d.id, d.cause()));
        self.open = open;
        // What stands for longer than a batch, whoever ends a watch must find.
        let long = self.open.iter_mut().filter(|d| d.stands()).filter_map(|d| d.stands_long(crowded));
        let long: Vec<TraceId> = long.collect();
        let mut parked = super::lock(&tracer.parked);
        self.hand_in_all(&mut parked, &long);
        for id in std::mem::take(&mut self.inside) {
            match stays(id, parked.cause(id)) {
                true => self.inside.push(id),
                false => ready.extend(parked.leave(id)),
            }
        }
        // Those that were caused stand behind those that caused them.
        ready.sort_by_key(|d| d.id);
        let mut ready = VecDeque::from(ready);
        while let Some(mut draft) = ready.pop_front() {
            let heard = draft.conclude();
            if draft.is_over() {
                for child in &draft.children {
                    match ready.iter_mut().chain(&mut self.open).find(|d| d.id == *child) {
                        Some(child) => child.hear(draft.id, &heard),
                        None => ready.extend(parked.hear(*child, draft.id, &heard)),
                    }
                }
            }
            let alone = draft.is_over() && !self.holds(&ready, &parked, draft.cause());
            if !draft.audience.is_empty() && !alone {
                parked.put(draft, 0);
            }
        }
    }

    /// Whether what becomes of the packet with this number will yet be told.
    fn holds(&self, ready: &VecDeque<Draft>, parked: &Parked, id: Option<TraceId>) -> bool {
        id.is_some_and(|id| {
            let is = |d: &Draft| d.id == id;
            parked.has(id) || ready.iter().any(is) || self.open.iter().any(is)
        })
    }

    /// Begins to gather.
    pub(super) fn open(&mut self, tracer: &Tracer, draft: Draft) {
        let cause = draft.cause();
        match cause.is_none() || self.open.iter().any(|d| Some(d.id) == cause) {
            true => self.open.push(draft),
            // It stands where the one stands that caused it.
            false => {
                self.inside.push(draft.id);
                super::lock(&tracer.parked).put(draft, 1);
            }
        }
    }

    /// Adds to what has been gathered of a packet, if it is still remembered.
    pub(super) fn add<T>(
        &mut self,
        tracer: &Tracer,
        id: TraceId,
        f: impl FnOnce(&mut Draft) -> T,
    ) -> Option<T> {
        if let Some(draft) = self.open.iter_mut().rfind(|d| d.id == id) {
            return Some(f(draft));
        }
        let mut parked = super::lock(&tracer.parked);
        if !self.inside.contains(&id) {
            if !parked.enter(id) {
                return None;
            }
            self.inside.push(id);
        }
        parked.add(id, f)
    }

    /// A packet that is followed is about to be put where others may take it out: from now on they find what has been
    /// gathered of it, and of those that it has caused.
    pub(super) fn part(&mut self, tracer: &Tracer, id: TraceId, step: Option<Step>) -> Option<Parting> {
        self.hand_in(&mut super::lock(&tracer.parked), id);
        self.add(tracer, id, |draft| {
            draft.waits();
            step.into_iter().for_each(|step| draft.push(step));
            Parting { id, at: draft.place() }
        })
    }

    /// Others find what has been gathered of a packet, and of those that it has caused. This worker may add to it yet.
    fn hand_in(&mut self, parked: &mut Parked, id: TraceId) {
        let mut line = vec![id];
        while let Some(id) = line.pop() {
            let Some(at) = self.open.iter().rposition(|d| d.id == id) else { continue };
            let draft = self.open.remove(at);
            line.extend(&draft.children);
            self.inside.push(id);
            parked.put(draft, 1);
        }
    }

    /// As [`Following::hand_in`], of as many at once as may stand in outboxes: each is looked for once.
    fn hand_in_all(&mut self, parked: &mut Parked, ids: &[TraceId]) {
        if ids.is_empty() {
            return;
        }
        let places: HashMap<TraceId, usize> =
            self.open.iter().enumerate().map(|(at, d)| (d.id, at)).collect();
        let mut open: Vec<_> = std::mem::take(&mut self.open).into_iter().map(Some).collect();
        for id in ids {
            let mut line = vec![*id];
            while let Some(id) = line.pop() {
                let draft = places.get(&id).and_then(|at| open.get_mut(*at)).and_then(Option::take);
                let Some(draft) = draft else { continue };
                line.extend(&draft.children);
                self.inside.push(id);
                parked.put(draft, 1);
            }
        }
        self.open = open.into_iter().flatten().collect();
    }

    /// What is to be said of a packet that was put where it may have to wait, and whether it does not.
    pub(super) fn parted(&mut self, tracer: &Tracer, parting: Parting, steps: Vec<Step>, stays: bool) {
        self.add(tracer, parting.id, |draft| {
            draft.fill(parting.at, steps);
            if stays {
                draft.waited();
            }
        });
    }

    /// A packet waits no more: this worker goes on with it.
    pub(super) fn unpark(&mut self, tracer: &Tracer, id: TraceId, lane: usize) {
        let news = !self.inside.contains(&id);
        self.add(tracer, id, |draft| {
            draft.waited();
            if news {
                draft.record.worker = lane;
                draft.push(Step::Continued);
            }
        });
    }

    /// A frame was given to a link, or to the local stack (`None`).
    pub(super) fn give(
        &mut self,
        tracer: &Tracer,
        id: TraceId,
        link: Option<LinkId>,
        f: impl FnOnce(&mut Draft),
    ) {
        if self.add(tracer, id, f).is_some() {
            match link {
                Some(link) => self.given.push((link, id)),
                None => self.for_host.push(id),
            }
        }
    }

    /// Whether frames that are followed stand in a link's outbox.
    #[inline]
    pub(in crate::path) fn has_given(&self, link: LinkId) -> bool {
        self.given.iter().any(|(of, _)| *of == link)
    }

    /// The local stack has fetched what was given to it, and will say what it did with each: see [`Following::answered`].
    #[inline]
    pub(in crate::path) fn fetched(&mut self, tracer: &Tracer) {
        if !self.for_host.is_empty() {
            self.await_host(tracer);
        }
    }

    #[cold]
    fn await_host(&mut self, tracer: &Tracer) {
        let mut parked = super::lock(&tracer.parked);
        let for_host = std::mem::take(&mut self.for_host);
        self.hand_in_all(&mut parked, &for_host);
        // The stack is one of those that may add to each.
        for id in for_host {
            parked.enter(id);
        }
    }

    /// The local stack says, in any worker's ledger, what it did with the first that it fetched of the packet with this number.
    /// Whether that is still remembered.
    pub(in crate::path) fn answered(
        &mut self,
        tracer: &Tracer,
        id: TraceId,
        did: Option<&str>,
        refused: Option<(DropReason, &Packet)>,
    ) -> bool {
        let mut parked = super::lock(&tracer.parked);
        match self.inside.contains(&id) {
            // The two are one.
            true => drop(parked.leave(id)),
            // From now on this worker is what the stack was.
            false => self.inside.push(id),
        }
        parked.add(id, |draft| draft.answered(did, refused)).is_some()
    }

    /// What became of the first frame in an outbox that is followed, and bears this number.
    pub(in crate::path) fn handed(
        &mut self,
        tracer: &Tracer,
        link: LinkId,
        id: TraceId,
        refused: Option<(DropReason, &Packet)>,
    ) {
        let Some(at) = self.given.iter().position(|given| *given == (link, id)) else { return };
        self.given.remove(at);
        self.add(tracer, id, |draft| draft.handed(link, refused));
    }
}

#[cfg(test)]
mod tests;
