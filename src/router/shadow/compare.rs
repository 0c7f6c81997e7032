//! Which live flows another configuration would treat differently.
//!
//! For each flow and each of its directions, the packet that is likely to come next walks through two shadows of the router,
//! one as it is and one as it would be. Where the frames that leave, or the reasons why none does, are not the same, both
//! walk again step by step, and what differs is told.
//!
//! Each packet meets the router as it is now, not as the one before left it. A flow that the other configuration forgets (its
//! address is gone) is not known there.

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::base::{Column, DropReason, Event, Instant, LinkId, Mac};
use crate::conntrack::{Flow, text};
use crate::packet::{Direction, Packet, Tuple};
use crate::path::Snapshot;

use super::super::{Router, forgets};
use super::flows::{self, Origin};
use super::outcome::{Fate, Outcome};
use super::{Shadow, Walked};

/// Flows after which the shadows know the router's neighbors and limits anew: what many packets ask for is more than there
/// is room for in a table, and is none's fault.
const REFRESH: u64 = 4_096;

/// A comparison that goes on page by page, so that whoever wants it may stop in between.
pub struct Comparison {
    router: Router,
    old: Shadow,
    new: Shadow,
    forgets: Option<Box<dyn Fn(&Flow) -> bool + Send>>,
    now: Instant,
    /// Where the next page begins; none after the last.
    from: Option<u32>,
    /// Flows that were looked at, and of those how many nothing could be said of.
    pub looked_at: u64,
    /// Flows of which nothing can be said: no route leads back to where their packets come from.
    pub unjudged: u64,
}

/// A flow that would be treated differently.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// The flow as it was begun: `tcp 10.1.0.2:40000 > 198.51.100.7:443`.
    pub flow: String,
    /// What would become of packets as the flow was begun, where that differs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub original: Option<Treated>,
    /// What would become of the answers, where that differs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply: Option<Treated>,
}

/// One direction of a flow, before and after.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Treated {
    /// What becomes of its packets now.
    pub before: Outcome,
    /// And what would.
    pub after: Outcome,
}

impl Comparison {
    /// Of the router as it is with what it would be under `new`: links that stay have the same ids there.
    pub fn new(router: &Router, new: &Snapshot, now: Instant) -> Self {
        let old = router.snapshot();
        let forgets = forgets(&old, new).map(|f| Box::new(f) as Box<dyn Fn(&Flow) -> bool + Send>);
        Comparison {
            old: router.shadow_under(&old),
            new: router.shadow_under(new),
            router: router.clone(),
            forgets,
            now,
            from: Some(0),
            looked_at: 0,
            unjudged: 0,
        }
    }

    /// Those of the next thousand places in the flow table that differ; `None` when all were looked at.
    pub fn page(&mut self) -> Option<Vec<Difference>> {
        let mut flows = Vec::new();
        let conntrack = self.router.live().conntrack.clone();
        self.from = conntrack.page(self.from?, self.now, &mut |flow| flows.push(*flow));
        let differ = flows.iter().filter_map(|flow| self.look(flow)).collect();
        if self.from.is_none() && flows.is_empty() {
            return None;
        }
        Some(differ)
    }

    fn look(&mut self, flow: &Flow) -> Option<Difference> {
        if !flows::goes_on(flow) {
            return None;
        }
        self.looked_at += 1;
        if self.looked_at.is_multiple_of(REFRESH) {
            self.old.refresh();
            self.new.refresh();
        }
        let forgotten = self.forgets.as_ref().is_some_and(|f| f(flow));
        let mut judged = false;
        let mut treated = Direction::ALL.map(|dir| {
            let snap = self.old.router.snapshot();
            let origin = flows::origin(&snap, self.old.router.live(), flow.tuple(dir).src())?;
            judged = true;
            let l3 = flows::next(flow, dir);
            self.differs(flow, origin, &l3, forgotten)
        });
        self.unjudged += u64::from(!judged);
        let [original, reply] = &mut treated;
        (original.is_some() || reply.is_some()).then(|| Difference {
            flow: name(&flow.tuples[0]),
            original: original.take(),
            reply: reply.take(),
        })
    }

    fn differs(&mut self, flow: &Flow, origin: Origin, l3: &[u8], forgotten: bool) -> Option<Treated> {
        let now = self.now;
        let seen = |shadow: &mut Shadow, forgotten| {
            let (link, packet) = meet(shadow, flow, origin, l3, now, forgotten);
            let before = shadow.ends();
            let walked = shadow.pass(link, packet, now);
            Seen { ends: shadow.ends().map(|n| n).since(&before), walked }
        };
        if seen(&mut self.old, false) == seen(&mut self.new, forgotten) {
            return None;
        }
        let mut told = |shadow: &mut Shadow, forgotten| {
            let (link, packet) = meet(shadow, flow, origin, l3, now, forgotten);
            Outcome::of(&shadow.walk(link, packet, now).records)
        };
        let (before, after) = (told(&mut self.old, false), told(&mut self.new, forgotten));
        (!before.is_like(&after)).then_some(Treated { before, after })
    }
}
