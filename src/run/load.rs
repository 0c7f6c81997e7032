//! What a worker does with its time: busy, looking for packets, or asleep.
//!
//! ```text
//!  round ─────► round ─► looks ─► sleeps ─────────► round
//!  └─ busy ───┘└─ busy ─┘└ looking ┘└─── asleep ────┘
//! ```
//!
//! Measured where the clock is read anyway, once a round, and once more before sleeping. What the last seconds were
//! like is told from samples taken when the ports are looked after, four times a second. Knows nothing of packets.

use std::time::Duration;

use crate::base::Instant;
use crate::base::counters::{Load as Cells, Recent};

/// Samples kept: at four a second, five seconds.
const SAMPLES: usize = 20;

/// What a worker's thread does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Doing {
    /// Packets came, or timers were due.
    Busy,
    /// Nothing came, and it looks on.
    Looking,
    /// It waits to be woken.
    Asleep,
}

/// The stopwatch of one worker.
pub(super) struct Load {
    doing: Doing,
    since: Instant,
    samples: [Recent; SAMPLES],
    next: usize,
}

impl Load {
    /// Begins now.
    pub(super) fn new(now: Instant) -> Self {
        let begun = Recent { window: now.as_nanos(), ..Recent::default() };
        Load { doing: Doing::Asleep, since: now, samples: [begun; SAMPLES], next: 0 }
    }

    /// Whatever it did until now ends, and this begins.
    #[inline]
    pub(super) fn does(&mut self, what: Doing, now: Instant, cells: &Cells) {
        let cell = match self.doing {
            Doing::Busy => &cells.busy,
            Doing::Looking => &cells.looking,
            Doing::Asleep => &cells.asleep,
        };
        cell.add(nanos(now.since(self.since)));
        (self.doing, self.since) = (what, now);
    }

    /// What it has done since it last said so was this.
    #[inline]
    pub(super) fn did(&mut self, what: Doing) {
        self.doing = what;
    }

    /// Takes a sample, and says how the last seconds were.
    pub(super) fn sample(&mut self, now: Instant, cells: &Cells) {
        self.does(self.doing, now, cells);
        let sum = Recent {
            window: now.as_nanos(),
            busy: cells.busy.get(),
            batches: cells.batches.get(),
            packets: cells.packets.get(),
        };
        let old = std::mem::replace(&mut self.samples[self.next % SAMPLES], sum);
        self.next = (self.next + 1) % SAMPLES;
        cells.set_recent(Recent {
            window: sum.window.saturating_sub(old.window),
            busy: sum.busy.saturating_sub(old.busy),
            batches: sum.batches.saturating_sub(old.batches),
            packets: sum.packets.saturating_sub(old.packets),
        });
    }
}

fn nanos(d: Duration) -> u64 {
    u64::try_from(d.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Counters;

    fn at(ms: u64) -> Instant {
        Instant::ZERO + Duration::from_millis(ms)
    }

    #[test]
    fn all_time_is_spent_on_something() {
        let counters = Counters::new(1);
        let cells = counters.load();
        let mut load = Load::new(at(10));
        load.does(Doing::Looking, at(20), cells);
        load.did(Doing::Busy);
        load.does(Doing::Looking, at(50), cells);
        load.does(Doing::Asleep, at(51), cells);
        load.does(Doing::Looking, at(100), cells);
        let ms = |cell: u64| cell / 1_000_000;
        let lane = counters.lane();
        assert_eq!((ms(lane.busy), ms(lane.looking), ms(lane.asleep)), (30, 1, 59));
    }

    #[test]
    fn the_last_seconds_are_the_last_seconds() {
        let counters = Counters::new(1);
        let cells = counters.load();
        let mut load = Load::new(at(0));
        // Busy for ten seconds, then asleep for half of each quarter of a second.
        for n in 1..=40 {
            load.does(Doing::Busy, at(n * 250), cells);
            cells.batches.add(1);
            cells.packets.add(64);
            load.sample(at(n * 250), cells);
        }
        let busy = counters.lane().recent;
        assert_eq!((busy.window, busy.busy), (5_000_000_000, 5_000_000_000));
        assert_eq!((busy.batches, busy.packets), (20, 20 * 64));
        for n in 40..60 {
            load.does(Doing::Asleep, at(n * 250 + 125), cells);
            load.does(Doing::Busy, at(n * 250 + 250), cells);
            load.sample(at(n * 250 + 250), cells);
        }
        let half = counters.lane().recent;
        assert_eq!((half.window, half.busy, half.packets), (5_000_000_000, 2_500_000_000, 0));
    }
}
