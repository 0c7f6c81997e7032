//! When a worker that has nothing to do keeps looking, and when it goes to sleep.
//!
//! To be woken takes longer than a packet takes through the router, several times so in a virtual machine. A request's answer
//! comes within tens of microseconds, and is better waited for awake; what comes at its own pace is not, for looking
//! costs a CPU that may be the sender's. So for each source of packets (a port, another worker) a guess is kept, as a processor
//! keeps one for each branch: whether what comes from it is followed at once by something from *another* source.
//!
//! ```text
//!               answered at once                          answered at once
//!       sleeps ◄────────────────► sleeps    ···   looks ◄────────────────► looks
//!         0       not answered      1                2      not answered     3
//! ```
//!
//! A stream in one direction is never looked out for, whatever its rate; packets then come in batches, which is cheap.
//! Where the CPUs are all busy, the kernel takes ours away in the middle: then there is no looking for a while. Knows nothing
//! of ports.

use std::time::Duration;

use crate::base::Instant;

/// The longest time to look after the last packet. An answer through two context switches comes well within it.
pub(super) const LOOK: Duration = Duration::from_micros(60);
/// How often it is asked, while looking, whether the CPU was taken away.
const ASK: Duration = Duration::from_millis(2);
/// How long there is no looking after it was: at first, and at most, if it is taken away again and again.
const STAND_OFF: [Duration; 2] = [Duration::from_millis(50), Duration::from_secs(5)];
/// Sources that are told apart.
const SOURCES: usize = 16;

/// What a worker has seen of its traffic.
pub(super) struct Rest {
    /// The guesses, by the source that came last: 2 and 3 mean that another one follows.
    guesses: [u8; SOURCES],
    /// What came last, and when.
    last: Option<(usize, Instant)>,
    /// Times the CPU was taken away when that was asked last, and when to ask again.
    taken: u64,
    ask: Instant,
    stand_off: Instant,
    /// How long the next time without looking is.
    penalty: Duration,
    /// Whether there is another CPU for whoever is waited for.
    alone: bool,
}

impl Rest {
    /// For a worker on a machine with so many CPUs.
    pub(super) fn new(cpus: usize) -> Self {
        Rest {
            guesses: [1; SOURCES],
            last: None,
            taken: 0,
            ask: Instant::ZERO,
            stand_off: Instant::ZERO,
            penalty: STAND_OFF[0],
            alone: cpus < 2,
        }
    }

    /// Packets came from this source.
    pub(super) fn came(&mut self, source: usize, now: Instant) {
        let source = source % SOURCES;
        if let Some((before, at)) = self.last {
            let guess = &mut self.guesses[before];
            *guess = match before != source && now.since(at) <= LOOK {
                true => (*guess + 1).min(3),
                false => guess.saturating_sub(1),
            };
        }
        self.last = Some((source, now));
    }

    /// Whether to keep looking. `taken` says how often the kernel has taken the CPU from this thread so far.
    pub(super) fn looks(&mut self, now: Instant, taken: impl FnOnce() -> u64) -> bool {
        let Some((source, at)) = self.last else { return false };
        if self.alone || self.guesses[source] < 2 || now.since(at) > LOOK || now < self.stand_off {
            return false;
        }
        if now >= self.ask {
            self.ask = now + ASK;
            let taken = taken();
            let lately = taken.wrapping_sub(std::mem::replace(&mut self.taken, taken));
            if lately > 0 {
                self.stand_off = now + self.penalty;
                self.penalty = (self.penalty * 4).min(STAND_OFF[1]);
                return false;
            }
            self.penalty = (self.penalty / 2).max(STAND_OFF[0]);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(micros: u64) -> Instant {
        Instant::ZERO + Duration::from_micros(micros)
    }

    #[test]
    fn answers_are_looked_out_for_and_streams_are_not() {
        let mut rest = Rest::new(2);
        assert!(!rest.looks(at(0), || 0), "nothing came yet");
        // Each request is answered within 20 µs, and the next one comes 10 ms later.
        for n in 0..5 {
            rest.came(0, at(n * 10_000));
            rest.came(1, at(n * 10_000 + 20));
        }
        rest.came(0, at(60_000));
        assert!(rest.looks(at(60_010), || 0), "for the answer");
        assert!(!rest.looks(at(60_100), || 0), "not for long");
        rest.came(1, at(60_101));
        assert!(!rest.looks(at(60_102), || 0), "not for the next request");
        // A stream.
        for n in 0..5 {
            rest.came(0, at(70_000 + n * 10));
        }
        assert!(!rest.looks(at(70_041), || 0));
    }

    #[test]
    fn whoever_has_lost_the_cpu_sleeps_for_a_while() {
        let mut rest = Rest::new(2);
        let mut now = 0;
        let mut ping = |rest: &mut Rest| {
            for source in [0, 1, 0, 1, 0, 1] {
                now += 20;
                rest.came(source, at(now));
            }
            at(now + 5)
        };
        let soon = ping(&mut rest);
        assert!(rest.looks(soon, || 0));
        for _ in 0..20 {
            ping(&mut rest);
        }
        let later = ping(&mut rest);
        assert!(!rest.looks(later, || 3), "taken away three times meanwhile");
        for _ in 0..100 {
            let next = ping(&mut rest);
            assert!(!rest.looks(next, || 3));
        }
        for _ in 0..400 {
            ping(&mut rest);
        }
        let back = ping(&mut rest);
        assert!(rest.looks(back, || 3), "not again since");
        // Taken away whenever we look: soon we hardly do.
        let mut taken = 3;
        let mut looked = 0;
        for _ in 0..100_000 {
            let next = ping(&mut rest);
            taken += u64::from(rest.looks(next, || taken));
            looked = taken - 3;
        }
        assert!(looked < 200, "{looked}");
        assert!(!Rest::new(1).looks(back, || 0));
    }
}
