//! Naps: when a worker that found nothing more sleeps for a fixed moment, deaf to what comes, instead of being woken by the next packet.
//!
//! What network cards do who hold their interrupts back while much comes (adaptive moderation): a stream of some ten thousand packets a
//! second wakes a worker for every few of them, and each waking costs more than what it is for. Asleep for a fixed time it finds
//! several, whoever sends pays for no wake-up, and they go out in one call.
//!
//! ```text
//!  packets   ││││││││││││││││││││││              ││
//!  woken     ▲▲ ▲▲ ▲ ▲ ▲▲ ▲ ▲▲ ▲  ▲              ▲▲       without naps
//!            ▲         ▲         ▲         ▲  ▲ (awaits)   with them, NAP apart
//! ```
//!
//! Latency is what it costs, so it is for streams only: all that came for a while came from one source, nothing from another one (an
//! answer, an acknowledgement), and enough of it that naps find several packets. Where as much comes as fills batches by itself, or
//! three naps find nothing, there are none, nor for who is handed something by another worker; and now and then it is waited as usual,
//! to hear of what is no packet. Knows nothing of ports.

use std::time::Duration;

use crate::base::Instant;

/// How long a nap is. The kernel adds up to 50 µs to it (`timerslack_ns`), and less than that where there is a real-time scheduler.
pub(super) const NAP: Duration = Duration::from_micros(150);
/// The time over which packets are counted.
const WINDOW: Duration = Duration::from_millis(1);
/// A window that lasted longer than this many of them had pauses in it.
const WINDOWS: u32 = 3;
/// Packets in a window at least: half a dozen for each nap.
const LEAST: u32 = 40;
/// Packets in a window at most: from there on they come in batches that are worth a waking.
const MOST: u32 = 400;
/// So many packets a round, of itself, need no naps.
const ENOUGH: u32 = 16;
/// For how long all came from one source before there are naps.
const ALONE: Duration = Duration::from_millis(5);
/// Naps in a row that find nothing: a stream in bursts has pauses of its own.
const EMPTY: u8 = 3;
/// So many times it is waited as usual once, to hear of what is no packet: an interface that went down, say.
const ROW: u8 = 16;

/// What a worker has seen of its traffic.
pub(super) struct Naps {
    /// What came last, and since when there has been nothing else.
    source: Option<(usize, Instant)>,
    /// When the window began, and what came in it.
    begun: Instant,
    packets: u32,
    rounds: u32,
    /// Whether what comes is a stream of that kind.
    stream: bool,
    /// Naps since something came.
    empty: u8,
    /// Naps since it was waited as usual.
    row: u8,
}

impl Naps {
    pub(super) fn new() -> Self {
        Naps { source: None, begun: Instant::ZERO, packets: 0, rounds: 0, stream: false, empty: 0, row: 0 }
    }

    /// So many packets came from this source in a round.
    pub(super) fn came(&mut self, source: usize, packets: usize, now: Instant) {
        self.empty = 0;
        let alone_since = match self.source {
            Some((last, since)) if last == source => since,
            _ => {
                self.source = Some((source, now));
                self.begin(now);
                self.stream = false;
                now
            }
        };
        self.packets = self.packets.saturating_add(u32::try_from(packets).unwrap_or(u32::MAX));
        self.rounds += 1;
        let elapsed = now.since(self.begun);
        if elapsed < WINDOW {
            return;
        }
        let few_at_once = self.stream || self.packets < self.rounds.saturating_mul(ENOUGH);
        let micros = u32::try_from(elapsed.as_micros()).unwrap_or(u32::MAX);
        let rate = u64::from(self.packets) * u64::from(WINDOW.subsec_micros()) / u64::from(micros.max(1));
        self.stream = elapsed < WINDOW * WINDOWS
            && now.since(alone_since) >= ALONE
            && (u64::from(LEAST)..=u64::from(MOST)).contains(&rate)
            && few_at_once;
        self.begin(now);
    }

    /// Somebody waits for this worker: there are no naps for a while.
    pub(super) fn wake(&mut self) {
        (self.source, self.stream) = (None, false);
    }

    /// Whether to take a nap now that nothing is there: for how long.
    pub(super) fn nap(&mut self) -> Option<Duration> {
        if !self.stream {
            return None;
        }
        self.empty += 1;
        if self.empty > EMPTY {
            self.stream = false;
            return None;
        }
        self.row = (self.row + 1) % ROW;
        (self.row > 0).then_some(NAP)
    }

    fn begin(&mut self, now: Instant) {
        (self.begun, self.packets, self.rounds) = (now, 0, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A worker whose rounds take no time, and packets that come at times of their own: how often it was woken, how many naps
    /// it took, and how long the packets waited at most.
    #[derive(Debug, Default)]
    struct Seen {
        woken: u32,
        naps: u32,
        waited: Duration,
    }

    fn run(naps: &mut Naps, packets: &[(u64, usize)]) -> Seen {
        let at = |micros: u64| Instant::ZERO + Duration::from_micros(micros);
        let (mut seen, mut next, mut now) = (Seen::default(), 0, 0);
        while next < packets.len() {
            while let Some((came, source)) = packets.get(next).filter(|p| p.0 <= now) {
                let same = packets[next..].iter().take_while(|p| p.0 <= now && p.1 == *source).count();
                seen.waited = seen.waited.max(Duration::from_micros(now - came));
                naps.came(*source, same, at(now));
                next += same;
            }
            match naps.nap() {
                Some(nap) => {
                    seen.naps += 1;
                    now += nap.as_micros() as u64;
                }
                None => {
                    let Some((came, _)) = packets.get(next) else { break };
                    seen.woken += 1;
                    now = now.max(*came);
                }
            }
        }
        seen
    }

    fn every(micros: u64, from: u64, to: u64) -> Vec<(u64, usize)> {
        (from..to).step_by(micros as usize).map(|at| (at, 0)).collect()
    }

    #[test]
    fn a_stream_is_taken_in_naps() {
        let seen = run(&mut Naps::new(), &every(10, 1_000, 1_001_000));
        assert!(seen.woken < 1_000 && (6_500..7_000).contains(&seen.naps), "{seen:?}");
        assert!(seen.waited <= NAP, "{seen:?}");
    }

    #[test]
    fn so_is_one_in_bursts() {
        // Twenty-five every 250 µs.
        let packets: Vec<_> = every(250, 1_000, 1_001_000)
            .iter()
            .flat_map(|(at, _)| (0..25).map(move |n| (at + n, 0)))
            .collect();
        let seen = run(&mut Naps::new(), &packets);
        assert!(seen.woken < 2_000 && seen.waited <= NAP, "{seen:?}");
    }

    #[test]
    fn who_waits_for_an_answer_is_never_held_up() {
        // Round trips as fast as they go, and with pauses; few packets; bursts that are far apart.
        let trips = |pause: u64| -> Vec<_> {
            (0..20_000).map(|n| (1_000 + n * pause + (n % 2) * 7, (n % 2) as usize)).collect()
        };
        for packets in
            [trips(13), trips(100), trips(5_000), every(30, 0, 1_000_000), every(1_000, 0, 1_000_000)]
        {
            let seen = run(&mut Naps::new(), &packets);
            assert_eq!((seen.naps, seen.waited), (0, Duration::ZERO), "{:?} {seen:?}", &packets[..3]);
        }
    }

    #[test]
    fn a_stream_that_is_answered_is_not_held_up() {
        // An acknowledgement every two milliseconds.
        let mut packets = every(10, 1_000, 1_001_000);
        packets.extend((0..500).map(|n| (2_003 + n * 2_000, 1)));
        packets.sort();
        assert_eq!(run(&mut Naps::new(), &packets).naps, 0);
    }

    #[test]
    fn a_stream_that_ends_is_soon_forgotten_and_its_follower_not_late() {
        let mut naps = Naps::new();
        let mut packets = every(10, 1_000, 50_000);
        packets.extend([(60_000, 0), (60_500, 0), (61_000, 1)]);
        let seen = run(&mut naps, &packets);
        assert!(seen.naps > 250, "{seen:?}");
        assert!(!naps.stream);
        let single = run(&mut naps, &[(200_000, 0), (200_020, 0)]);
        assert_eq!(single.naps, 0);
    }

    #[test]
    fn as_much_as_fills_batches_needs_no_naps() {
        // A million a second, one by one; and batches of forty.
        let packets = |step: u64, many: usize| -> Vec<_> {
            (0..50_000 / step).flat_map(|n| vec![(1_000 + n * step, 0); many]).collect()
        };
        assert_eq!(run(&mut Naps::new(), &packets(1, 1)).naps, 0);
        assert_eq!(run(&mut Naps::new(), &packets(500, 40)).naps, 0);
    }
}
