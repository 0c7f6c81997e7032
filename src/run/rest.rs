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
//! Where the CPUs are all busy, the kernel takes ours away in the middle, which shows as a gap between two looks: then there is
//! no looking for a while. Knows nothing of ports.

use std::time::Duration;

use crate::base::Instant;

/// The longest time to look after the last packet. An answer through two context switches comes well within it.
pub(super) const LOOK: Duration = Duration::from_micros(60);
/// A longer time between two looks is somebody else's turn on the CPU, and not one of the kernel's own short ones.
const TURN: Duration = Duration::from_micros(300);
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
    /// When it last decided to look on.
    looked: Option<Instant>,
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
            looked: None,
            stand_off: Instant::ZERO,
            penalty: STAND_OFF[0],
            alone: cpus < 2,
        }
    }

    /// Packets came from this source.
    pub(super) fn came(&mut self, source: usize, now: Instant) {
        self.mind_the_gap(now);
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

    /// Whether to keep looking.
    pub(super) fn looks(&mut self, now: Instant) -> bool {
        self.mind_the_gap(now);
        let Some((source, at)) = self.last else { return false };
        let looks =
            !self.alone && self.guesses[source] >= 2 && now.since(at) <= LOOK && now >= self.stand_off;
        self.looked = looks.then_some(now);
        looks
    }

    /// Stands off if the CPU was taken away while looking: for longer each time in a row.
    fn mind_the_gap(&mut self, now: Instant) {
        let Some(looked) = self.looked.take() else { return };
        if now.since(looked) > TURN {
            if now.since(self.stand_off) > self.penalty * 8 {
                self.penalty = STAND_OFF[0];
            }
            self.stand_off = now + self.penalty;
            self.penalty = (self.penalty * 4).min(STAND_OFF[1]);
        }
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
        assert!(!rest.looks(at(0)), "nothing came yet");
        // Each request is answered within 20 µs, and the next one comes 10 ms later.
        for n in 0..5 {
            rest.came(0, at(n * 10_000));
            rest.came(1, at(n * 10_000 + 20));
        }
        rest.came(0, at(60_000));
        assert!(rest.looks(at(60_010)), "for the answer");
        assert!(!rest.looks(at(60_100)), "not for long");
        rest.came(1, at(60_101));
        assert!(!rest.looks(at(60_102)), "not for the next request");
        // A stream.
        for n in 0..5 {
            rest.came(0, at(70_000 + n * 10));
        }
        assert!(!rest.looks(at(70_041)));
    }

    #[test]
    fn whoever_has_lost_the_cpu_sleeps_for_a_while() {
        let mut rest = Rest::new(2);
        let mut now = 0;
        let mut ping = |rest: &mut Rest, pause: u64| {
            now += pause;
            for source in [0, 1, 0, 1, 0, 1] {
                now += 20;
                rest.came(source, at(now));
            }
            now += 5;
            at(now)
        };
        let soon = ping(&mut rest, 0);
        assert!(rest.looks(soon));
        let later = ping(&mut rest, 50);
        assert!(rest.looks(later), "a short gap is nobody's turn");
        let taken = ping(&mut rest, 3_000);
        assert!(!rest.looks(taken), "three milliseconds between two looks");
        let still = ping(&mut rest, 40_000);
        assert!(!rest.looks(still));
        let again = ping(&mut rest, 20_000);
        assert!(rest.looks(again));
        // Taken away whenever we look: soon we hardly do.
        let mut looked = 0;
        for _ in 0..3_000 {
            let next = ping(&mut rest, 4_000);
            looked += u64::from(rest.looks(next));
        }
        assert!((1..10).contains(&looked), "{looked} times in twelve seconds");
        // Quiet for long: as if nothing had been.
        let back = ping(&mut rest, 60_000_000);
        assert!(rest.looks(back));
        let once = ping(&mut rest, 3_000);
        assert!(!rest.looks(once));
        let soon = ping(&mut rest, 60_000);
        assert!(rest.looks(soon), "the short penalty again");
        assert!(!Rest::new(1).looks(soon));
    }
}
