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

use crate::base::{Instant, LinkId};
use crate::conntrack::{Flow, text};
use crate::packet::{Direction, Packet, Tuple};
use crate::path::Snapshot;

use super::super::{Router, forgets};
use super::flows::{self, Origin};
use super::outcome::Outcome;
use super::{Shadow, Walked};

/// Flows after which the shadows know the router's neighbors and limits anew: what many packets ask for is more than there
/// is room for in a table, and is none's fault.
const REFRESH: u64 = 4_096;

/// Which flows end when the other configuration comes into force.
type Forgets = Box<dyn Fn(&Flow) -> bool + Send>;

/// A comparison that goes on page by page, so that whoever wants it may stop in between.
pub struct Comparison {
    router: Router,
    old: Shadow,
    new: Shadow,
    forgets: Option<Forgets>,
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

    /// What becomes of one packet under each of the two, where that is not the same.
    fn differs(&mut self, flow: &Flow, origin: Origin, l3: &[u8], forgotten: bool) -> Option<Treated> {
        let now = self.now;
        let seen = |shadow: &mut Shadow, forgotten| {
            let (link, packet) = meet(shadow, flow, origin, l3, now, forgotten);
            let before = shadow.worker.local.counters.fates();
            let Walked { sent, .. } = shadow.pass(link, packet, now);
            (sent, shadow.worker.local.counters.fates().since(&before))
        };
        let (old, new) = (seen(&mut self.old, false), seen(&mut self.new, forgotten));
        let frames =
            |sent: &[(LinkId, Packet)]| sent.iter().map(|(l, p)| (*l, p.data().len())).collect::<Vec<_>>();
        let same = frames(&old.0) == frames(&new.0)
            && old.0.iter().zip(&new.0).all(|(a, b)| a.1.data() == b.1.data());
        if same && old.1 == new.1 {
            return None;
        }
        let told = |shadow: &mut Shadow, forgotten| {
            let (link, packet) = meet(shadow, flow, origin, l3, now, forgotten);
            Outcome::of(&shadow.walk(link, packet, now).records)
        };
        let (before, after) = (told(&mut self.old, false), told(&mut self.new, forgotten));
        (!before.is_like(&after)).then_some(Treated { before, after })
    }
}

/// The packet as it comes to a shadow that has forgotten all that came before.
fn meet(
    shadow: &mut Shadow,
    flow: &Flow,
    origin: Origin,
    l3: &[u8],
    now: Instant,
    forgotten: bool,
) -> (Option<LinkId>, Packet) {
    shadow.renew();
    let live = shadow.router.live();
    if forgotten && let Some((id, ..)) = live.conntrack.find(&flow.tuples[0], now) {
        live.conntrack.remove(id);
    }
    match origin {
        Origin::Here => (None, Packet::from_slice(l3)),
        Origin::Link(link, neighbor) => {
            let from = live.neighbors.get(link, neighbor, now).and_then(|n| n.mac);
            let snap = shadow.router.snapshot();
            (Some(link), flows::framed(&snap, link, from.unwrap_or_else(flows::somebody), l3))
        }
    }
}

/// A flow by its original tuple: `tcp 10.1.0.2:40000 > 198.51.100.7:443`.
fn name(tuple: &Tuple) -> String {
    let end = |addr: IpAddr, port: u16| match (addr, tuple.has_ports()) {
        (addr, false) => addr.to_string(),
        (IpAddr::V4(v4), true) => format!("{v4}:{port}"),
        (IpAddr::V6(v6), true) => format!("[{v6}]:{port}"),
    };
    let (from, to) = (end(tuple.src(), tuple.src_port), end(tuple.dst(), tuple.dst_port));
    match text::protocol_name(tuple.proto) {
        "unknown" => format!("proto {} {from} > {to}", tuple.proto),
        name @ ("icmp" | "icmpv6") => format!("{name} {from} > {to} id {}", tuple.src_port),
        name => format!("{name} {from} > {to}"),
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.flow)?;
        let told = |t: &Treated| format!("{} → {}", t.before, t.after);
        match (&self.original, &self.reply) {
            (Some(original), None) => write!(f, ": {}", told(original)),
            (None, Some(reply)) => write!(f, ", answers: {}", told(reply)),
            (Some(original), Some(reply)) => write!(f, ": {}; answers: {}", told(original), told(reply)),
            (None, None) => Ok(()),
        }
    }
}
