//! Whose packets come in: samples of the workers, added up by flow while somebody looks.
//!
//! ```text
//!  tap ─► by tuple, at most 4,096 ─► every second: both directions of a flow together ─► the largest
//! ```
//!
//! How many packets are looked at follows how many come, so that some ten thousand a second are. When there are more
//! tuples than room, the smaller half of them is forgotten, and what is shown says below how many bytes a flow may
//! be missing for it (lossy counting).

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::{Sources, stats};
use crate::base::{Instant, LinkId};
use crate::conntrack::{Conntrack, text};
use crate::control::protocol::Busiest;
use crate::control::server::{Answer, Fed, Feed};
use crate::control::view::{BusiestFlows, BusyFlow, Traffic};
use crate::packet::{Direction, FlowId, Tuple};
use crate::path::{Sample, Tap};

/// Samples a second that are aimed at.
const AIM: f64 = 10_000.0;
/// Samples that may wait: at the rate aimed at, ten times what comes between two looks.
const WAITING: usize = 4_096;
/// Tuples that are told apart.
const TUPLES: usize = 4_096;
/// One packet in so many, until it is known how many come.
const FIRST: u32 = 64;

/// Begins to follow.
pub(super) fn follow(asked: &Busiest, s: &Sources<'_>) -> Answer {
    if !(1..=1_000).contains(&asked.count) || !(100..=5_000).contains(&asked.every) {
        return Answer::no("the busiest flows: count is 1 to 1000, and every 100 to 5000 milliseconds");
    }
    let Some(router) = s.rest.router.clone() else {
        return Answer::no("nobody here sees packets");
    };
    let Some(tap) = router.live().sampler.listen(FIRST, WAITING) else {
        return Answer::no("as many look at the busiest flows as may at once: end one of them");
    };
    // Links come and go meanwhile.
    let named = move |id| router.snapshot().links.get(id).map(|l| l.name.clone());
    Answer::Feed(Box::new(Follow {
        tap,
        conntrack: s.conntrack.clone(),
        named: Box::new(named),
        count: asked.count,
        every: Duration::from_millis(asked.every),
        begun: s.now,
        looked: s.now,
        one_in: FIRST,
        settled: false,
        tally: Tally::default(),
    }))
}

struct Follow {
    tap: Tap,
    conntrack: Arc<Conntrack>,
    /// The name of a link.
    named: Box<dyn Fn(LinkId) -> Option<String> + Send>,
    count: usize,
    every: Duration,
    /// When this while began.
    begun: Instant,
    looked: Instant,
    one_in: u32,
    /// Whether it is known how many come. What was counted before is forgotten.
    settled: bool,
    tally: Tally,
}

impl Feed for Follow {
    fn poll(&mut self, now: Instant) -> Fed {
        let mut packets = 0;
        for sample in self.tap.drain() {
            packets += u64::from(sample.weight);
            self.tally.add(&sample);
        }
        let lost = self.tap.lost();
        self.tally.lost += lost;
        let changed = self.adapt(packets + lost * u64::from(self.one_in), now);
        if !self.settled {
            self.settled = !changed;
            self.begun = now;
            self.tally = Tally::default();
            return Fed::Nothing;
        }
        if now.since(self.begun) < self.every {
            return Fed::Nothing;
        }
        let tally = std::mem::take(&mut self.tally);
        let seconds = now.since(self.begun).as_secs_f64();
        self.begun = now;
        let view = BusiestFlows {
            seconds,
            one_in: tally.one_in.max(1),
            lost: tally.lost,
            missing_below: tally.floor,
            flows: self.flows(tally, now),
        };
        match serde_json::to_value([view]) {
            Ok(value) => Fed::Part(value),
            Err(_) => Fed::Nothing,
        }
    }
}

impl Follow {
    /// Looks at as many packets as can be counted; says whether that is another number than before.
    fn adapt(&mut self, packets: u64, now: Instant) -> bool {
        let time = now.since(self.looked).as_secs_f64();
        self.looked = now;
        if time <= 0.0 {
            return true;
        }
        let wanted = (packets as f64 / time / AIM).ceil().clamp(1.0, f64::from(1 << 20)) as u32;
        let wanted = wanted.next_power_of_two();
        // Up at once, and later down by half at a time: the next burst is not far.
        let one_in = match wanted < self.one_in && self.settled {
            true => (self.one_in / 2).max(1),
            false => wanted,
        };
        let changed = one_in != self.one_in;
        if changed {
            self.one_in = one_in;
            self.tap.set_every(one_in);
        }
        changed
    }

    /// The largest flows.
    fn flows(&self, tally: Tally, now: Instant) -> Vec<BusyFlow> {
        let mut all: HashMap<Whose, (BusyFlow, u64)> = HashMap::new();
        for (tuple, count) in tally.tuples {
            let (whose, dir, named, state) = match self.conntrack.find(&tuple, now) {
                Some((id, dir, flow)) => {
                    let state = stats::kind(&flow).to_owned();
                    (Whose::Flow(id), dir, *flow.tuple(Direction::Original), Some(state))
                }
                None => {
                    let (named, dir) = begun_by(&tuple);
                    (Whose::Nobody(named), dir, named, None)
                }
            };
            let (flow, sum) = all.entry(whose).or_insert_with(|| (name(&named, state), 0));
            let way = match dir {
                Direction::Original => {
                    flow.link = (self.named)(count.link).unwrap_or_default();
                    &mut flow.original
                }
                Direction::Reply => &mut flow.reply,
            };
            way.packets += count.packets;
            way.bytes += count.bytes;
            *sum += count.bytes;
        }
        let mut all: Vec<_> = all.into_values().collect();
        all.sort_by(|(a, x), (b, y)| {
            y.cmp(x).then_with(|| (&a.src, a.sport, &a.dst).cmp(&(&b.src, b.sport, &b.dst)))
        });
        all.truncate(self.count);
        all.into_iter().map(|(flow, _)| flow).collect()
    }
}

/// What makes two tuples the same flow's.
#[derive(PartialEq, Eq, Hash)]
enum Whose {
    Flow(FlowId),
    Nobody(Tuple),
}

/// The direction that began a flow that is in no table, most likely: from the higher port to the lower. Nobody answers from a
/// group's address.
fn begun_by(t: &Tuple) -> (Tuple, Direction) {
    if t.dst().is_multicast() {
        return (*t, Direction::Original);
    }
    let turned = match t.has_ports() {
        true => Tuple { src: t.dst, dst: t.src, src_port: t.dst_port, dst_port: t.src_port, ..*t },
        false => Tuple { src: t.dst, dst: t.src, ..*t },
    };
    let rank = |t: &Tuple| (t.src_port, t.src);
    match rank(&turned) > rank(t) {
        true => (turned, Direction::Reply),
        false => (*t, Direction::Original),
    }
}

fn name(t: &Tuple, state: Option<String>) -> BusyFlow {
    let protocol = match text::protocol_name(t.proto) {
        "unknown" => t.proto.to_string(),
        known => known.to_owned(),
    };
    BusyFlow {
        protocol,
        src: t.src().to_string(),
        dst: t.dst().to_string(),
        sport: t.src_port,
        dport: if t.has_ports() { t.dst_port } else { 0 },
        link: String::new(),
        state,
        original: Traffic::default(),
        reply: Traffic::default(),
    }
}

/// What was sampled in a while.
#[derive(Default)]
struct Tally {
    tuples: HashMap<Tuple, Count>,
    /// The coarsest that a sample was.
    one_in: u32,
    lost: u64,
    /// The most bytes that something had that was forgotten.
    floor: u64,
}

#[derive(Clone, Copy)]
struct Count {
    link: LinkId,
    packets: u64,
    bytes: u64,
}

impl Tally {
    fn add(&mut self, s: &Sample) {
        let weight = u64::from(s.weight);
        self.one_in = self.one_in.max(s.weight);
        if self.tuples.len() >= TUPLES && !self.tuples.contains_key(&s.tuple) {
            self.forget();
        }
        let count = self.tuples.entry(s.tuple).or_insert(Count { link: s.link, packets: 0, bytes: 0 });
        count.link = s.link;
        count.packets += weight;
        count.bytes += weight * u64::from(s.bytes);
    }

    /// Forgets the smaller half.
    fn forget(&mut self) {
        let mut sizes: Vec<u64> = self.tuples.values().map(|c| c.bytes).collect();
        let half = sizes.len() / 2;
        let (_, middle, _) = sizes.select_nth_unstable(half);
        let middle = *middle;
        let mut equals = TUPLES / 2;
        self.tuples.retain(|_, c| {
            // Of those in the middle some stay, lest all go that are alike.
            let stays = c.bytes > middle || c.bytes == middle && equals > 0;
            equals -= usize::from(stays && c.bytes == middle);
            stays
        });
        if self.tuples.len() >= TUPLES {
            self.tuples.clear();
        }
        self.floor += middle;
    }
}

#[cfg(test)]
mod tests;
