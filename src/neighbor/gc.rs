//! Making room: who is forgotten when the table grows, and who is let in when it is full.
//!
//! Linux's thresholds, and stricter rules for what may go, since an address scan from outside makes
//! an entry for each address it tries: entries that nobody answered for go first, neighbors in use
//! never, and known ones are not given up for more guesses once guesses hold half of the table.

use std::cmp::max;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use super::entry::{Entry, Key};
use super::table::{NeighborTable, family, lock};
use super::{Action, Nud};
use crate::base::{DropReason, Instant};

/// Why an entry is to be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Newcomer {
    /// A packet is to be sent to it. Whether it exists is not known.
    Asked,
    /// It was heard on the link: it is there.
    Heard,
}

/// The collector's own state.
#[derive(Debug, Clone)]
pub(super) struct Gc {
    random: u64,
    /// When a new reachable time is due.
    redraw: Instant,
    /// When the next collection is due; unset before the first.
    next: Option<Instant>,
    /// When room was last made, by family.
    made: [Option<Instant>; 2],
    /// Until when it is not worth looking for room again, by family and newcomer.
    barren: [[Instant; 2]; 2],
}

impl Gc {
    pub(super) fn new(seed: u64) -> Self {
        Gc {
            random: seed,
            redraw: Instant::ZERO + REDRAW,
            next: None,
            made: [None; 2],
            barren: [[Instant::ZERO; 2]; 2],
        }
    }

    /// A reachable time between a half and one and a half of `base` (RFC 4861 §6.3.2), in
    /// nanoseconds.
    pub(super) fn draw(&mut self, base: Duration) -> u64 {
        self.random = scramble(self.random);
        let base = u64::try_from(base.as_nanos()).unwrap_or(u64::MAX);
        (base / 2).saturating_add(self.random % base.max(1))
    }
}

impl NeighborTable {
    /// Counts a newcomer in, if there is room or room can be made.
    pub(super) fn admit(&self, key: Key, newcomer: Newcomer, now: Instant, out: &mut Vec<Action>) -> bool {
        let (family, config) = (family(key.ip), &self.shared.config);
        let count = self.counts[family].fetch_add(1, Relaxed) + 1;
        if count > config.gc_thresh2 {
            self.make_room(family, newcomer, now, out);
        }
        let fits = self.counts[family].load(Relaxed) <= config.gc_thresh3;
        if !fits {
            self.counts[family].fetch_sub(1, Relaxed);
        }
        fits
    }

    /// Evicts entries of a family that has grown beyond the second threshold (`neigh_forced_gc`).
    fn make_room(&self, family: usize, newcomer: Newcomer, now: Instant, out: &mut Vec<Action>) {
        let config = &self.shared.config;
        let mut gc = lock(&self.gc);
        let count = self.counts[family].load(Relaxed);
        let full = count > config.gc_thresh3;
        let rested = gc.made[family].is_none_or(|made| now >= made + IDLE);
        if full && now < gc.barren[family][newcomer as usize] || !full && !rested {
            return;
        }
        gc.made[family] = Some(now);
        let mut found = self.candidates(family, newcomer, now);
        found.list.sort_unstable();
        let surplus = count.saturating_sub(config.gc_thresh2);
        // A little more than is needed, so that a crowd doesn't cost a search each.
        let needed = count.saturating_sub(config.gc_thresh3) + config.gc_thresh3 / 16;
        let guesses = found.list.iter().filter(|c| c.0 < Worth::Known).count();
        let crowded = newcomer == Newcomer::Asked && found.unresolved - guesses >= config.gc_thresh3 / 2;
        let mut evicted = 0;
        for (worth, _, key) in found.list {
            let goes = match worth {
                Worth::Failed => evicted < surplus,
                Worth::Unanswered => full && evicted < needed,
                Worth::Known => full && evicted < needed && !crowded,
            };
            if !goes {
                continue;
            }
            let mut shard = lock(self.shard(&key));
            if shard.entries.get(&key).is_none_or(|e| self.worth(e, newcomer, now) != Some(worth)) {
                continue;
            }
            out.push(Action::Evicted { link: key.link, ip: key.ip });
            let queue = self.forget(&mut shard, key, now).into_iter().flatten();
            let drop = |packet| Action::Drop { packet, reason: DropReason::NeighborTableFull };
            out.extend(queue.map(drop));
            evicted += 1;
        }
        if full && evicted == 0 {
            gc.barren[family][newcomer as usize] = now + BARREN;
        }
    }

    /// What could go for this newcomer.
    fn candidates(&self, family_: usize, newcomer: Newcomer, now: Instant) -> Candidates {
        let mut found = Candidates { list: Vec::new(), unresolved: 0 };
        for shard in &self.shards {
            for (key, entry) in &lock(shard).entries {
                if family(key.ip) != family_ {
                    continue;
                }
                found.unresolved += usize::from(!entry.state.is_valid());
                if let Some(worth) = self.worth(entry, newcomer, now) {
                    let since = if worth == Worth::Known { entry.used } else { entry.updated };
                    found.list.push((worth, since, *key));
                }
            }
        }
        found
    }

    /// How much would be lost with an entry; `None` if it may not go.
    fn worth(&self, entry: &Entry, newcomer: Newcomer, now: Instant) -> Option<Worth> {
        let asked_once = || now >= entry.updated + self.shared.config.retrans;
        match entry.state {
            Nud::Failed => Some(Worth::Failed),
            Nud::Incomplete if newcomer == Newcomer::Heard || asked_once() => Some(Worth::Unanswered),
            Nud::Stale if now >= entry.used + IDLE => Some(Worth::Known),
            _ => None,
        }
    }

    /// Collects what has not been in use for long, if that is due, and says when it will be due
    /// again (`neigh_periodic_work`).
    pub(super) fn collect(&self, now: Instant, out: &mut Vec<Action>) -> Instant {
        let config = &self.shared.config;
        let mut gc = lock(&self.gc);
        let due = gc.next.unwrap_or(Instant::ZERO + config.gc_interval);
        if now < due {
            return due;
        }
        let next = now + config.gc_interval;
        gc.next = Some(next);
        if now >= gc.redraw {
            gc.redraw = now + REDRAW;
            self.shared.reachable.store(gc.draw(config.reachable), Relaxed);
        }
        let over: [bool; 2] = std::array::from_fn(|f| self.counts[f].load(Relaxed) >= config.gc_thresh1);
        if !over[0] && !over[1] {
            return next;
        }
        let old = |e: &Entry| match e.state {
            Nud::Failed => true,
            Nud::Stale => now >= max(Some(e.used), e.confirmed).unwrap_or(e.used) + config.gc_stale,
            _ => false,
        };
        for shard in &self.shards {
            let mut shard = lock(shard);
            let gone = shard.entries.iter().filter(|(key, e)| over[family(key.ip)] && old(e));
            let gone: Vec<Key> = gone.map(|(key, _)| *key).collect();
            for key in gone {
                let queue = self.forget(&mut shard, key, now).into_iter().flatten();
                let drop = |packet| Action::Drop { packet, reason: DropReason::NeighborTableFull };
                out.extend(queue.map(drop));
            }
        }
        next
    }
}

/// The number after this one (the output step of SplitMix64). Routers started together should not
/// probe in step; no more is asked of it.
pub(super) fn scramble(n: u64) -> u64 {
    let mut z = n.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ z >> 31
}

/// What may be evicted, the least worth first.
struct Candidates {
    list: Vec<(Worth, Instant, Key)>,
    /// Entries without a MAC, whether or not they may go.
    unresolved: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Worth {
    /// It did not answer.
    Failed,
    /// It has not answered so far.
    Unanswered,
    /// It was there once, and is not in use.
    Known,
}

/// How long a known neighbor must have been unused to be evicted, and the pause between evictions
/// below the last threshold (`neigh_forced_gc`, `neigh_alloc`).
const IDLE: Duration = Duration::from_secs(5);

/// How long to refuse newcomers before looking for room again when there was none.
const BARREN: Duration = Duration::from_millis(100);

/// Between two drawings of the reachable time (`neigh_periodic_work`).
const REDRAW: Duration = Duration::from_secs(300);

#[cfg(test)]
mod tests;
