//! Flows looked at, changed and ended many at a time: for listings, for operators, and for what follows from a change of
//! the configuration.
//!
//! Whoever goes through the table copies a stretch of it at a time, under no lock but a place's; what he then does to a
//! flow he does by its number, if it is still the one that was seen.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use super::{Conntrack, Ending};
use crate::base::Instant;
use crate::conntrack::events::EventKind;
use crate::conntrack::{Flow, slab};
use crate::packet::{FlowId, Status};

/// Places copied at a time for a listing.
const SWEPT: u32 = 1024;

impl Conntrack {
    /// Tells every live flow, a thousand copied at a time: no lock is held while `f` runs.
    pub fn each(&self, now: Instant, f: &mut dyn FnMut(FlowId, &Flow)) {
        self.sweep(|flow| shown(flow, now), |id, flow| f(id, &flow));
    }

    /// Tells the live flows of a thousand places from `from` on; gives where the next thousand begin, if there are more.
    /// For listings that are read slowly: a flow that lives throughout is told once.
    pub fn page(&self, from: u32, now: Instant, f: &mut dyn FnMut(&Flow)) -> Option<u32> {
        self.numbered(from, now, &mut |_, flow| f(flow))
    }

    /// [`page`](Conntrack::page), with the flows' numbers. `f` is called under no lock.
    pub fn numbered(&self, from: u32, now: Instant, f: &mut dyn FnMut(FlowId, &Flow)) -> Option<u32> {
        let reach = self.slab.reach();
        let to = from.saturating_add(SWEPT).min(reach);
        for slot in from..to {
            let copy = self.glance(slot, |held| Some((held.tenant, held.flow.filter(|f| shown(f, now))?)));
            if let Some((tenant, flow)) = copy {
                f(FlowId { slot, tenant }, &flow);
            }
        }
        (from < to && to < reach).then_some(to)
    }

    /// Ends a flow; says whether it was there.
    pub fn remove(&self, id: FlowId) -> bool {
        self.ended(id, Ending { at: None, by_hand: false }, |_| true)
    }

    /// Ends a flow because somebody said so, if it is still there and one that is meant; says whether it was.
    pub fn delete(&self, id: FlowId, now: Instant, meant: impl Fn(&Flow) -> bool) -> bool {
        self.ended(id, Ending { at: Some(now), by_hand: true }, meant)
    }

    fn ended(&self, id: FlowId, how: Ending, which: impl Fn(&Flow) -> bool) -> bool {
        let gone = self.take_out(id, how, which);
        self.counts.removed.fetch_add(u64::from(gone), Relaxed);
        gone
    }

    /// Ends all flows that `which` says yes to; gives how many.
    pub fn remove_where(&self, now: Instant, which: &dyn Fn(&Flow) -> bool) -> usize {
        let mut gone = 0;
        self.sweep(|flow| flow.deadline > now && which(flow), |id, _| gone += usize::from(self.remove(id)));
        gone
    }

    /// Changes a flow because somebody said so, if it is still there and one that is meant: its mark under a mask, how
    /// long it lives if no packet comes. Gives what it is then.
    pub fn set(
        &self,
        id: FlowId,
        now: Instant,
        mark: Option<(u32, u32)>,
        timeout: Option<Duration>,
        meant: impl Fn(&Flow) -> bool,
    ) -> Option<Flow> {
        let mut held = self.tenant(id)?;
        let flow = held.flow.as_mut().filter(|flow| flow.deadline > now && meant(flow))?;
        if let Some((value, mask)) = mark {
            // As CONNMARK --set-xmark, and ctnetlink.
            flow.mark = flow.mark & !mask ^ value;
        }
        if let Some(timeout) = timeout {
            flow.deadline = now + timeout;
        }
        let changed = *flow;
        self.events.tell(EventKind::Update, id, &changed, Some(now), true);
        drop(held);
        self.look_again(id, changed.deadline);
        Some(changed)
    }

    /// Copies the flows that `which` picks, a stretch of places at a time, and gives them to `f`.
    pub(super) fn sweep(&self, which: impl Fn(&Flow) -> bool, mut f: impl FnMut(FlowId, Flow)) {
        let mut copies = Vec::new();
        let mut at = 0;
        while at < self.slab.reach() {
            for slot in at..(at + SWEPT).min(self.slab.reach()) {
                copies.extend(self.glance(slot, |held: &slab::Held| {
                    let flow = held.flow.filter(|f| which(f))?;
                    Some((FlowId { slot, tenant: held.tenant }, flow))
                }));
            }
            at += SWEPT;
            copies.drain(..).for_each(|(id, flow)| f(id, flow));
        }
    }
}

/// Whether a flow is for others to see.
fn shown(flow: &Flow, now: Instant) -> bool {
    flow.deadline > now && !flow.status.has(Status::NAT_CLASH)
}
