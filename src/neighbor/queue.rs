//! The packets that wait for one neighbor, and the order in which several workers send them.
//!
//! The worker that hears the answer sends what all workers have parked. Until it says that it has done
//! so, a worker whose packets are among them must not send others past them: those queue up behind.
//!
//! ```text
//!  answer ──► hand_out: everything ──► worker A sends ──► sent ──► hand_out: what came meanwhile ──► …
//!                                           ▲                        (a few rounds, then only A's own)
//!       worker B's packets, while some of B's are in A's hands ──────┘
//! ```
//!
//! With B as fast as A that would never end, so after a few rounds A leaves B's packets to B, which
//! takes them along with its next one, in order; a short timer sees to them if B has none. Knows of
//! packets and limits, nothing of states.

use std::collections::VecDeque;
use std::sync::atomic::Ordering::Relaxed;
use std::thread::ThreadId;
use std::time::Duration;

use super::entry::Shared;
use crate::base::Instant;
use crate::packet::{Packet, Pool};

/// Workers are told apart by their threads.
pub(super) type Worker = ThreadId;

#[derive(Debug, Default)]
pub(super) struct Queue {
    /// Each with the worker that parked it, the oldest first.
    packets: VecDeque<(Packet, Worker)>,
    bytes: usize,
    /// Whose packets are being sent, and by whom.
    in_hand: Vec<(Worker, Worker)>,
    /// How often in a row one worker was given what came meanwhile.
    rounds: u8,
    /// When packets that were left to their own worker are sent by any.
    left_until: Option<Instant>,
}

/// What a worker may do with a packet for a neighbor whose MAC is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// Send it.
    Send,
    /// Park it: earlier ones of this worker are being sent.
    Wait,
    /// Park it and take out what this worker has here: that is the worker's to send.
    Take,
}

impl Queue {
    /// How many packets wait.
    pub(super) fn len(&self) -> usize {
        self.packets.len()
    }

    /// The packet that came last.
    pub(super) fn latest(&self) -> Option<&Packet> {
        self.packets.back().map(|(packet, _)| packet)
    }

    /// When [`Queue::overdue`] is to be looked at.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.left_until
    }

    /// Lets a packet wait. Gives those that go without, for want of room: the oldest, or the packet itself.
    pub(super) fn park(&mut self, packet: Packet, me: Worker, shared: &Shared) -> Vec<Packet> {
        // A pool that keeps nothing: storage that large is better freed than kept waiting here.
        let packet = packet.compact(&mut Pool::new(0));
        let bytes = packet.footprint();
        let mut out = Vec::new();
        while self.bytes + bytes > shared.config.queue_bytes {
            let Some(oldest) = self.pop(shared) else { break };
            out.push(oldest);
        }
        while !shared.reserve(bytes) {
            let Some(oldest) = self.pop(shared) else {
                out.push(packet);
                return out;
            };
            out.push(oldest);
        }
        self.bytes += bytes;
        self.packets.push_back((packet, me));
        out
    }

    /// What this worker may do with its next packet.
    #[inline]
    pub(super) fn turn(&self, me: impl FnOnce() -> Worker) -> Turn {
        if self.packets.is_empty() && self.in_hand.is_empty() {
            return Turn::Send;
        }
        let me = me();
        if self.is_in_hand(me) {
            Turn::Wait
        } else if self.packets.iter().any(|(_, whose)| *whose == me) {
            Turn::Take
        } else {
            Turn::Send
        }
    }

    /// The MAC has become known: gives everything to this worker.
    pub(super) fn hand_out_all(&mut self, me: Worker, shared: &Shared) -> Vec<Packet> {
        self.rounds = 0;
        self.hand_out(me, false, shared)
    }

    /// Gives this worker what it has parked itself.
    pub(super) fn hand_out_mine(&mut self, me: Worker, shared: &Shared) -> Vec<Packet> {
        self.hand_out(me, true, shared)
    }

    /// This worker has sent what it was given: gives it more, if there is.
    pub(super) fn sent(&mut self, me: Worker, now: Instant, shared: &Shared) -> Vec<Packet> {
        let before = self.in_hand.len();
        self.in_hand.retain(|(_, by)| *by != me);
        if self.in_hand.len() == before {
            return Vec::new();
        }
        self.rounds = self.rounds.saturating_add(1);
        let packets = self.hand_out(me, self.rounds > ROUNDS, shared);
        if self.packets.iter().any(|(_, whose)| !self.is_in_hand(*whose)) {
            self.left_until = Some(now + LEFT);
        }
        packets
    }

    /// Gives this worker what others were to take and did not.
    pub(super) fn overdue(&mut self, me: Worker, now: Instant, shared: &Shared) -> Vec<Packet> {
        if self.left_until.is_none_or(|at| now < at) {
            return Vec::new();
        }
        self.hand_out(me, false, shared)
    }

    /// Takes everything out, to be dropped.
    pub(super) fn clear(&mut self, shared: &Shared) -> impl Iterator<Item = Packet> + use<> {
        shared.parked.fetch_sub(self.bytes, Relaxed);
        std::mem::take(self).packets.into_iter().map(|(packet, _)| packet)
    }

    /// Takes out packets that nobody else has earlier ones of, and notes that this worker sends them.
    fn hand_out(&mut self, me: Worker, only_mine: bool, shared: &Shared) -> Vec<Packet> {
        let mut out = Vec::new();
        let mut kept = VecDeque::new();
        let mut owners = Vec::new();
        for (packet, whose) in std::mem::take(&mut self.packets) {
            if self.is_in_hand(whose) || only_mine && whose != me {
                kept.push_back((packet, whose));
                continue;
            }
            self.bytes -= packet.footprint();
            shared.parked.fetch_sub(packet.footprint(), Relaxed);
            if !owners.contains(&(whose, me)) {
                owners.push((whose, me));
            }
            out.push(packet);
        }
        self.packets = kept;
        self.in_hand.append(&mut owners);
        if self.packets.is_empty() {
            self.left_until = None;
        }
        out
    }

    fn is_in_hand(&self, whose: Worker) -> bool {
        self.in_hand.iter().any(|(w, _)| *w == whose)
    }

    fn pop(&mut self, shared: &Shared) -> Option<Packet> {
        let (packet, _) = self.packets.pop_front()?;
        self.bytes -= packet.footprint();
        shared.parked.fetch_sub(packet.footprint(), Relaxed);
        Some(packet)
    }
}

/// How often a worker is given other workers' packets that came meanwhile, before these are left to them.
const ROUNDS: u8 = 4;

/// How long packets are left to the worker that parked them.
const LEFT: Duration = Duration::from_millis(1);

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, AtomicUsize};
    use std::thread;

    use super::*;
    use crate::neighbor::Config;

    const ROOMY: usize = 1 << 20;

    fn worker() -> Worker {
        thread::spawn(|| thread::current().id()).join().unwrap()
    }

    fn shared() -> Shared {
        Shared {
            config: Config { queue_bytes: ROOMY, total_bytes: ROOMY, ..Config::default() },
            journal: std::sync::Arc::new(crate::base::Journal::new(1)),
            reachable: AtomicU64::new(0),
            generation: AtomicU64::new(0),
            parked: AtomicUsize::new(0),
        }
    }

    fn park(q: &mut Queue, names: &str, me: Worker, shared: &Shared) {
        for name in names.bytes() {
            assert!(q.park(Packet::from_slice(&[name]), me, shared).is_empty());
        }
    }

    fn names(packets: Vec<Packet>) -> String {
        packets.iter().map(|p| char::from(p.data()[0])).collect()
    }

    fn at(millis: u64) -> Instant {
        Instant::from_millis(millis)
    }

    #[test]
    fn only_those_whose_packets_are_in_hand_wait() {
        let (a, b, c, s) = (worker(), worker(), worker(), shared());
        let mut q = Queue::default();
        park(&mut q, "12", b, &s);
        assert_eq!(names(q.hand_out_all(a, &s)), "12");
        assert_eq!([a, b, c].map(|w| q.turn(|| w)), [Turn::Send, Turn::Wait, Turn::Send]);
        // Another worker's word counts for nothing.
        assert!(q.sent(c, at(0), &s).is_empty());
        assert_eq!(q.turn(|| b), Turn::Wait);
        assert!(q.sent(a, at(0), &s).is_empty());
        assert_eq!(q.turn(|| b), Turn::Send);
    }

    #[test]
    fn after_a_few_rounds_packets_are_left_to_their_own_worker() {
        let (a, b, s) = (worker(), worker(), shared());
        let mut q = Queue::default();
        park(&mut q, "0", b, &s);
        q.hand_out_all(a, &s);
        for round in ["1", "2", "3", "4"] {
            park(&mut q, round, b, &s);
            assert_eq!(names(q.sent(a, at(0), &s)), round);
        }
        park(&mut q, "56", b, &s);
        park(&mut q, "x", a, &s);
        assert_eq!(names(q.sent(a, at(0), &s)), "x", "A's own it gets");
        assert_eq!((q.turn(|| a), q.turn(|| b)), (Turn::Wait, Turn::Take));
        assert_eq!(q.deadline(), Some(at(1)));
        // B comes with its next one, and takes all of its own along.
        park(&mut q, "7", b, &s);
        assert_eq!(names(q.hand_out_mine(b, &s)), "567");
        assert_eq!((q.turn(|| b), q.deadline()), (Turn::Wait, None));
        park(&mut q, "8", b, &s);
        assert!(q.sent(a, at(0), &s).is_empty(), "B's are in B's hand");
        assert_eq!(names(q.sent(b, at(0), &s)), "8");
        assert!(q.sent(b, at(0), &s).is_empty());
        assert_eq!((q.turn(|| a), q.turn(|| b)), (Turn::Send, Turn::Send));
        assert_eq!(s.parked.load(Relaxed), 0);
    }

    #[test]
    fn what_nobody_comes_for_is_sent_by_any() {
        let (a, b, s) = (worker(), worker(), shared());
        let mut q = Queue::default();
        park(&mut q, "0", b, &s);
        q.hand_out_all(a, &s);
        for _ in 0..ROUNDS {
            park(&mut q, "1", b, &s);
            q.sent(a, at(0), &s);
        }
        park(&mut q, "2", b, &s);
        assert!(q.sent(a, at(5), &s).is_empty());
        assert!(q.overdue(a, at(5), &s).is_empty());
        assert_eq!(names(q.overdue(a, at(6), &s)), "2");
        assert_eq!((q.turn(|| b), q.deadline()), (Turn::Wait, None));
        q.sent(a, at(6), &s);
        assert_eq!(q.turn(|| b), Turn::Send);
    }

    #[test]
    fn nobody_is_given_what_would_overtake() {
        let (a, b, c, s) = (worker(), worker(), worker(), shared());
        let mut q = Queue::default();
        park(&mut q, "0", b, &s);
        park(&mut q, "0", c, &s);
        q.hand_out_all(a, &s);
        for _ in 0..ROUNDS {
            park(&mut q, "1", b, &s);
            park(&mut q, "1", c, &s);
            q.sent(a, at(0), &s);
        }
        park(&mut q, "2", b, &s);
        park(&mut q, "3", c, &s);
        assert!(q.sent(a, at(0), &s).is_empty());
        assert_eq!(names(q.hand_out_mine(b, &s)), "2");
        park(&mut q, "4", b, &s);
        assert_eq!(names(q.overdue(a, at(9), &s)), "3", "4 comes after 2, which B has not sent yet");
        assert_eq!(names(q.sent(b, at(9), &s)), "4");
    }

    #[test]
    fn a_cleared_queue_holds_nobody_back() {
        let (a, b, s) = (worker(), worker(), shared());
        let mut q = Queue::default();
        park(&mut q, "0", b, &s);
        q.hand_out_all(a, &s);
        park(&mut q, "12", b, &s);
        assert_eq!(names(q.clear(&s).collect()), "12");
        assert_eq!((q.turn(|| b), q.len(), s.parked.load(Relaxed)), (Turn::Send, 0, 0));
    }
}
