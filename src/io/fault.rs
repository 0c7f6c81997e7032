//! A port that mistreats what passes: for tests of everything that must live with bad links.
//!
//! Wraps any port. Frames are lost, doubled, damaged, held back or exchanged with the one behind, each
//! by a probability of its own and in both directions; the same seed and the same frames give the same faults.
//! Held-back frames count rounds (calls of receive or transmit), not time: the worker's regular checks keep
//! rounds coming.

use std::collections::VecDeque;
use std::os::fd::RawFd;

use super::open::OpenError;
use super::port::{Port, Sent, Status};
use crate::link::InUse;
use crate::packet::{Caps, Packet, Pool};

/// How often what goes wrong. Probabilities are parts of 1.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Faults {
    /// Where the dice start.
    pub seed: u64,
    /// Lost.
    pub drop: f64,
    /// Seen twice.
    pub duplicate: f64,
    /// One bit turned.
    pub corrupt: f64,
    /// Exchanged with the frame behind it, in this batch or the next.
    pub reorder: f64,
    /// Held back for 1 to `rounds` rounds.
    pub delay: f64,
    /// How long frames are held back at most.
    pub rounds: u32,
}

/// What went wrong so far, in both directions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[allow(missing_docs)] // the words of `Faults`
pub struct Happened {
    pub dropped: u64,
    pub duplicated: u64,
    pub corrupted: u64,
    pub reordered: u64,
    pub delayed: u64,
    /// Refused by the device, which the sender is not told any more.
    pub refused: u64,
}

/// The port with faults.
pub struct FaultPort<P> {
    inner: P,
    faults: Faults,
    dice: Dice,
    happened: Happened,
    inward: Mischief,
    outward: Mischief,
    /// Received frames on their way from the device to the caller, who gets at most what was asked for.
    scratch: Vec<Packet>,
    outbox: VecDeque<Packet>,
}

impl<P: Port> FaultPort<P> {
    /// Wraps a port.
    pub fn new(inner: P, faults: Faults) -> Self {
        FaultPort {
            inner,
            faults,
            dice: Dice(faults.seed),
            happened: Happened::default(),
            inward: Mischief::default(),
            outward: Mischief::default(),
            scratch: Vec::new(),
            outbox: VecDeque::new(),
        }
    }

    /// What went wrong so far.
    pub fn happened(&self) -> Happened {
        self.happened
    }

    /// Gives the device what may go; what it can't take now stays in the outbox.
    fn flush(&mut self, pool: &mut Pool) {
        self.outbox.extend(self.outward.ready.drain(..));
        let mut sent = Sent::default();
        self.inner.transmit(pool, &mut self.outbox, &mut sent);
        self.happened.refused += sent.refused.iter().sum::<u64>();
    }
}

impl<P: Port> Port for FaultPort<P> {
    fn caps(&self) -> Caps {
        self.inner.caps()
    }

    fn receive(&mut self, pool: &mut Pool, out: &mut Vec<Packet>, max: usize) -> usize {
        self.inward.age();
        // A batch that lost frames on the way is filled up: fewer than asked for means drained.
        while self.inward.ready.len() < max {
            let count = self.inner.receive(pool, &mut self.scratch, max);
            for packet in self.scratch.drain(..) {
                let mut round =
                    Round { faults: &self.faults, dice: &mut self.dice, happened: &mut self.happened, pool };
                self.inward.take(packet, &mut round);
            }
            if count < max {
                break;
            }
        }
        let count = max.min(self.inward.ready.len());
        out.extend(self.inward.ready.drain(..count));
        count
    }

    fn transmit(&mut self, pool: &mut Pool, queue: &mut VecDeque<Packet>, sent: &mut Sent) {
        self.outward.age();
        self.flush(pool);
        while self.outbox.is_empty() {
            let Some(packet) = queue.pop_front() else { break };
            // For the sender the frame is sent; what happens to it happens on the way.
            sent.count(&packet);
            let mut round =
                Round { faults: &self.faults, dice: &mut self.dice, happened: &mut self.happened, pool };
            self.outward.take(packet, &mut round);
            if self.outward.ready.len() >= BATCH || queue.is_empty() {
                self.flush(pool);
            }
        }
    }

    fn check(&mut self) -> Status {
        self.inner.check()
    }

    fn set_mtu(&mut self, mtu: u32) -> Result<(), OpenError> {
        self.inner.set_mtu(mtu)
    }

    fn shorten(&mut self) {
        self.inner.shorten();
    }

    fn fd(&self) -> Option<RawFd> {
        self.inner.fd()
    }

    fn driver(&self) -> Option<InUse> {
        self.inner.driver()
    }

    fn waiting(&self) -> Option<bool> {
        self.inner.waiting()
    }

    fn steered(&self) -> bool {
        self.inner.steered()
    }

    fn epoch(&self) -> u32 {
        self.inner.epoch()
    }

    fn overruns(&mut self) -> u64 {
        self.inner.overruns()
    }
}

/// One direction: what is held back, and what may go.
#[derive(Debug, Default)]
struct Mischief {
    /// Frames with the rounds they still wait.
    held: Vec<(u32, Packet)>,
    /// A frame that waits for one to go before it.
    swapped: Option<Packet>,
    ready: VecDeque<Packet>,
}

struct Round<'a> {
    faults: &'a Faults,
    dice: &'a mut Dice,
    happened: &'a mut Happened,
    pool: &'a mut Pool,
}

impl Mischief {
    /// A round passes: those that waited long enough may go, and a frame waits for its successor no longer.
    fn age(&mut self) {
        self.ready.extend(self.swapped.take());
        let mut still = Vec::new();
        for (rounds, packet) in self.held.drain(..) {
            match rounds {
                0 => self.ready.push_back(packet),
                n => still.push((n - 1, packet)),
            }
        }
        self.held = still;
    }

    fn take(&mut self, mut packet: Packet, round: &mut Round<'_>) {
        let Round { faults, dice, happened, pool } = round;
        if dice.falls(faults.drop) {
            happened.dropped += 1;
            return pool.put(packet);
        }
        if dice.falls(faults.corrupt) && !packet.is_empty() {
            happened.corrupted += 1;
            let bit = dice.below(packet.len() as u64 * 8);
            packet.data_mut()[(bit / 8) as usize] ^= 1 << (bit % 8);
        }
        if dice.falls(faults.duplicate) {
            happened.duplicated += 1;
            self.ready.push_back(packet.clone());
        }
        if dice.falls(faults.delay) && faults.rounds > 0 && self.held.len() < BACKLOG {
            happened.delayed += 1;
            let rounds = dice.below(u64::from(faults.rounds)) as u32;
            return self.held.push((rounds, packet));
        }
        if self.swapped.is_none() && dice.falls(faults.reorder) {
            happened.reordered += 1;
            self.swapped = Some(packet);
            return;
        }
        self.ready.push_back(packet);
        self.ready.extend(self.swapped.take());
    }
}

/// A generator of evenly spread numbers (SplitMix64): for faults, not for secrets.
#[derive(Debug)]
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `n`, which is not 0.
    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    fn falls(&mut self, probability: f64) -> bool {
        // The 53 bits that an f64 holds exactly. Rolled for every question, so that changing one
        // probability leaves the other dice as they were.
        let roll = (self.next() >> 11) as f64 / (1u64 << 53) as f64;
        roll < probability
    }
}

/// Frames held back in one direction at most; beyond it they pass without delay.
const BACKLOG: usize = 1_024;
/// Frames handed to the device at a time.
const BATCH: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::memory::{self, Config, MemoryPort};

    fn frame(n: u32) -> Packet {
        let mut bytes = vec![0; 60];
        bytes[20..24].copy_from_slice(&n.to_be_bytes());
        Packet::from_slice(&bytes)
    }

    /// Sends `n` frames from the port with faults to its peer; what arrives, by number.
    fn cross(faults: Faults, n: u32) -> (Vec<u32>, Happened) {
        let (a, mut b, _) = memory::pair(Config::default());
        let mut a: FaultPort<MemoryPort> = FaultPort::new(a, faults);
        let (mut pool, mut out, mut sent) = (Pool::new(64), Vec::new(), Sent::default());
        for i in 0..n {
            a.transmit(&mut pool, &mut VecDeque::from([frame(i)]), &mut sent);
        }
        for _ in 0..=faults.rounds + 1 {
            a.transmit(&mut pool, &mut VecDeque::new(), &mut sent);
        }
        assert_eq!(sent.packets, u64::from(n), "the sender sees no fault");
        while b.receive(&mut pool, &mut out, 64) == 64 {}
        let number = |p: &Packet| u32::from_be_bytes(*p.data()[20..].first_chunk().unwrap());
        (out.iter().map(number).collect(), a.happened())
    }

    #[test]
    fn no_faults_change_nothing() {
        let (got, happened) = cross(Faults::default(), 100);
        assert_eq!(got, (0..100).collect::<Vec<_>>());
        assert_eq!(happened, Happened::default());
    }

    #[test]
    fn each_fault_does_what_it_says_and_is_counted() {
        let (got, h) = cross(Faults { seed: 1, drop: 0.2, ..Faults::default() }, 500);
        assert_eq!(got.len() as u64, 500 - h.dropped);
        assert!((50..150).contains(&h.dropped), "{h:?}");

        let (got, h) = cross(Faults { seed: 2, duplicate: 0.1, ..Faults::default() }, 500);
        assert_eq!(got.len() as u64, 500 + h.duplicated);
        assert!(h.duplicated > 20);

        let (mut got, h) = cross(Faults { seed: 3, delay: 0.3, rounds: 5, ..Faults::default() }, 500);
        assert!(h.delayed > 80 && got != (0..500).collect::<Vec<_>>());
        got.sort_unstable();
        assert_eq!(got, (0..500).collect::<Vec<_>>(), "late is not lost");

        let (got, h) = cross(Faults { seed: 4, corrupt: 1.0, ..Faults::default() }, 100);
        assert_eq!((got.len(), h.corrupted), (100, 100));
    }

    #[test]
    fn reordering_exchanges_neighbors_in_a_batch() {
        let (a, mut b, _) = memory::pair(Config::default());
        let mut a = FaultPort::new(a, Faults { seed: 9, reorder: 0.3, ..Faults::default() });
        let (mut pool, mut out, mut sent) = (Pool::new(64), Vec::new(), Sent::default());
        let mut batch: VecDeque<_> = (0..100).map(frame).collect();
        a.transmit(&mut pool, &mut batch, &mut sent);
        a.transmit(&mut pool, &mut batch, &mut sent);
        while b.receive(&mut pool, &mut out, 64) == 64 {}
        let got: Vec<u8> = out.iter().map(|p| p.data()[23]).collect();
        assert!(a.happened().reordered > 10);
        assert!(got.iter().enumerate().all(|(at, n)| at.abs_diff(usize::from(*n)) <= 2), "{got:?}");
        assert_ne!(got, (0..100).collect::<Vec<_>>());
    }

    #[test]
    fn the_same_seed_gives_the_same_faults() {
        let faults =
            Faults { seed: 7, drop: 0.1, duplicate: 0.1, corrupt: 0.1, reorder: 0.1, delay: 0.1, rounds: 3 };
        assert_eq!(cross(faults, 300), cross(faults, 300));
        assert_ne!(cross(faults, 300), cross(Faults { seed: 8, ..faults }, 300));
    }
}
