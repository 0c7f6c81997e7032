//! Whether the threads that packets depend on still go round.
//!
//! ```text
//! worker, host ── beat, at least twice a second, traffic or not ─► number ◄─ looks ── main thread ─► watchdog
//! ```
//!
//! A process that answers and forwards nothing is worse than one that is started anew: the service manager hears nothing any more
//! while one of them stands still. Knows nothing of what the threads do.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use crate::base::Instant;

/// How long a thread may be silent: ten times as long as the slowest of them takes to go round.
pub(super) const SILENCE: Duration = Duration::from_secs(5);

/// A main thread that comes back later than this was away itself, and has seen nobody's silence.
const AWAY: Duration = Duration::from_secs(1);

/// A thread's own end.
#[derive(Debug, Clone, Default)]
pub(super) struct Pulse(Arc<AtomicU32>);

impl Pulse {
    /// It goes round. Nobody else beats for it.
    pub(super) fn beat(&self) {
        self.0.store(self.0.load(Relaxed).wrapping_add(1), Relaxed);
    }
}

/// The end of whoever looks.
#[derive(Debug, Clone, Default)]
pub(super) struct Pulses {
    all: Vec<Felt>,
    looked: Instant,
}

/// What was seen of a thread.
#[derive(Debug, Clone)]
struct Felt {
    name: String,
    pulse: Pulse,
    last: Option<u32>,
    /// When it was seen to go round.
    at: Instant,
    silent: bool,
}

impl Pulses {
    /// A thread more.
    pub(super) fn of(&mut self, name: &str) -> Pulse {
        let pulse = Pulse::default();
        let (name, at) = (name.to_owned(), Instant::ZERO);
        self.all.push(Felt { name, pulse: pulse.clone(), last: None, at, silent: false });
        pulse
    }

    /// Whether all of them go round. Who stopped, and who goes on, the log says once.
    pub(super) fn look(&mut self, now: Instant) -> bool {
        let since = now.since(std::mem::replace(&mut self.looked, now));
        let missed = if since > AWAY { since } else { Duration::ZERO };
        for felt in &mut self.all {
            felt.look(now, missed);
        }
        !self.all.iter().any(|felt| felt.silent)
    }
}

impl Felt {
    fn look(&mut self, now: Instant, missed: Duration) {
        let beats = Some(self.pulse.0.load(Relaxed));
        if self.last != beats {
            (self.last, self.at) = (beats, now);
            if std::mem::take(&mut self.silent) {
                tracing::warn!("the thread '{}' goes round again", self.name);
            }
            return;
        }
        self.at += missed;
        if !self.silent && now.since(self.at) >= SILENCE {
            self.silent = true;
            tracing::error!(
                "the thread '{}' has stood still for {} s, and packets with it: systemd's watchdog hears nothing until it goes \
                 round again",
                self.name,
                SILENCE.as_secs()
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Instant {
        Instant::ZERO + Duration::from_millis(ms)
    }

    #[test]
    fn one_that_stands_still_is_not_well() {
        let mut pulses = Pulses::default();
        let [one, other] = ["worker-0", "worker-1"].map(|name| pulses.of(name));
        let mut now = 1_000_000;
        let mut look = |ms: u64, beat: &[&Pulse]| {
            let mut well = true;
            // As the main thread does, four times a second.
            for _ in 0..ms / 250 {
                beat.iter().for_each(|p| p.beat());
                now += 250;
                well = pulses.look(at(now));
            }
            well
        };
        assert!(look(60_000, &[&one, &other]));
        assert!(look(4_750, &[&one]));
        assert!(!look(250, &[&one]));
        assert!(!look(60_000, &[&one]));
        assert!(look(250, &[&one, &other]));
        assert!(!look(6_000, &[]));
    }

    #[test]
    fn who_was_away_has_seen_nothing() {
        let mut pulses = Pulses::default();
        let one = pulses.of("worker-0");
        assert!(pulses.look(at(1_000)));
        one.beat();
        assert!(pulses.look(at(1_250)));
        // All of the process was stopped for an hour, and this thread comes to run first.
        assert!(pulses.look(at(3_601_250)) && pulses.look(at(3_601_500)));
        one.beat();
        assert!(pulses.look(at(3_601_750)));
        let silent = (1..=19).map(|n| pulses.look(at(3_601_750 + n * 250))).filter(|well| !well).count();
        assert!(silent == 0 && !pulses.look(at(3_606_750)));
    }
}
