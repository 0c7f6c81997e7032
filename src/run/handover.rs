//! Packets that came to another worker's port, on their way to it.
//!
//! The kernel steers packets to their workers where it can. Where it can't (a device with fewer queues than there are
//! workers, a driver that has no program) all of a link's load would stay with whoever has the queue. Then he hands over
//! what the steering function says is another's, a batch at a time:
//!
//! ```text
//! giver   port.receive ─► its own ─► walk                       taker   walk ─► transmit
//!                     └─► others' ─► a tray for each ─► channel ──────►  │
//!                            ▲                                           ▼
//!                            └──────────── channel ◄──────── the tray, with storage for as many
//! ```
//!
//! - **Order.** Of a link in this state every packet of a direction goes the same way; the giver leaves the state only
//!   when all trays are back, that is when everything given has been transmitted.
//! - **Bounds.** Each pair of workers has so many trays. When all are with the taker he is behind, and what is for him is
//!   dropped by name (`worker_queue_full`), as the kernel does when a CPU's backlog is full.
//! - **Storage** goes back with the trays, so that the giver's pool doesn't run dry nor the taker's over.
//! - **Waking** takes a system call; a taker who is awake looks by himself.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering, fence};

use crossbeam_channel::{Receiver, Sender};

use super::worker::SharedWaker;
use crate::base::LinkId;
use crate::packet::{Packet, Pool, SMALL};

/// Trays of each pair of workers: four thousand packets, as many as wait in a ring or an AF_XDP queue: who is
/// not given a CPU for a while loses nothing here that would have waited there.
const TRAYS: usize = 64;

/// Packets of one link, for one worker.
pub(super) struct Tray {
    from: usize,
    /// The link they came in by.
    pub link: LinkId,
    /// The packets; on the way back, storage.
    pub frames: Vec<Packet>,
}

/// A worker's connections to the others.
pub(super) struct Peers {
    me: usize,
    ends: Vec<End>,
    inbox: Receiver<Tray>,
    back: Receiver<(usize, Vec<Packet>)>,
    /// Empty trays, and what lies on the one that is being filled, for each of the others.
    trays: Vec<Vec<Vec<Packet>>>,
    filling: Vec<Vec<Packet>>,
    /// Trays that are to go back when all has been transmitted, with what was on them: small pieces, large ones.
    owed: VecDeque<(Tray, [usize; 2])>,
}

/// What reaches a worker.
#[derive(Clone)]
struct End {
    to: Sender<Tray>,
    home: Sender<(usize, Vec<Packet>)>,
    waker: SharedWaker,
    asleep: Arc<AtomicBool>,
}

impl Peers {
    /// Connects workers, which sleep until their wakers wake them.
    pub(super) fn connect(wakers: &[SharedWaker]) -> Vec<Peers> {
        let n = wakers.len();
        let mut ends = Vec::new();
        let mut receivers = Vec::new();
        for waker in wakers {
            let (to, inbox) = crossbeam_channel::bounded(TRAYS * n);
            let (home, back) = crossbeam_channel::bounded(TRAYS * n);
            ends.push(End { to, home, waker: waker.clone(), asleep: Arc::default() });
            receivers.push((inbox, back));
        }
        receivers
            .into_iter()
            .enumerate()
            .map(|(me, (inbox, back))| Peers {
                me,
                ends: ends.clone(),
                inbox,
                back,
                trays: (0..n).map(|other| vec![Vec::new(); if other == me { 0 } else { TRAYS }]).collect(),
                filling: vec![Vec::new(); n],
                owed: VecDeque::new(),
            })
            .collect()
    }

    /// This worker's number.
    pub(super) fn me(&self) -> usize {
        self.me
    }

    /// How many workers there are.
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// Puts a packet aside for another.
    pub(super) fn put(&mut self, worker: usize, packet: Packet) {
        if let Some(tray) = self.filling.get_mut(worker) {
            tray.push(packet);
        }
    }

    /// Sends what was put aside, all of which came in by this link; gives how many went, and tells what could not.
    pub(super) fn send(&mut self, link: LinkId, mut refused: impl FnMut(Packet, Refused)) -> usize {
        let mut sent = 0;
        for worker in 0..self.filling.len() {
            if self.filling[worker].is_empty() {
                continue;
            }
            let Some(empty) = self.trays[worker].pop() else {
                self.filling[worker].drain(..).for_each(|p| refused(p, Refused::Behind));
                continue;
            };
            let frames = std::mem::replace(&mut self.filling[worker], empty);
            let count = frames.len();
            match self.ends[worker].to.try_send(Tray { from: self.me, link, frames }) {
                Ok(()) => sent += count,
                Err(e) => e.into_inner().frames.into_iter().for_each(|p| refused(p, Refused::Gone)),
            }
            self.wake(worker);
        }
        sent
    }

    /// The next tray from another.
    pub(super) fn take(&mut self) -> Option<Tray> {
        self.inbox.try_recv().ok()
    }

    /// Packets of the tray have been taken off it; it goes back with [`Peers::give_back`].
    pub(super) fn owe(&mut self, tray: Tray, pieces: [usize; 2]) {
        self.owed.push_back((tray, pieces));
    }

    /// All packets that were taken have been transmitted: trays go back, with storage from the pool.
    pub(super) fn give_back(&mut self, pool: &mut Pool) {
        for (mut tray, [small, large]) in self.owed.drain(..) {
            pool.spare(&mut tray.frames, small, large);
            if let Some(end) = self.ends.get(tray.from) {
                // There is room for all trays; whoever has ended doesn't miss his.
                end.home.try_send((self.me, tray.frames)).ok();
            }
        }
    }

    /// Takes in trays that came back.
    pub(super) fn take_back(&mut self, pool: &mut Pool) {
        while let Ok((from, mut tray)) = self.back.try_recv() {
            tray.drain(..).for_each(|p| pool.put(p));
            if let Some(trays) = self.trays.get_mut(from) {
                trays.push(tray);
            }
        }
    }

    /// Whether all that was given has been transmitted. Only to be relied on after [`Peers::take_back`].
    pub(super) fn all_home(&self) -> bool {
        self.trays.iter().enumerate().all(|(other, trays)| other == self.me || trays.len() == TRAYS)
    }

    /// Whether nothing is there that was handed over.
    pub(super) fn has_none(&self) -> bool {
        self.inbox.is_empty()
    }

    /// Says that this worker goes to sleep; `false` if there is something for it, and it must not.
    pub(super) fn may_sleep(&self) -> bool {
        let asleep = &self.ends[self.me].asleep;
        asleep.store(true, Ordering::Relaxed);
        // Either the giver sees that we sleep, or we see what he gave.
        fence(Ordering::SeqCst);
        if self.inbox.is_empty() {
            return true;
        }
        self.awake();
        false
    }

    /// Says that it is awake.
    pub(super) fn awake(&self) {
        self.ends[self.me].asleep.store(false, Ordering::Relaxed);
    }

    fn wake(&self, worker: usize) {
        fence(Ordering::SeqCst);
        let end = &self.ends[worker];
        if end.asleep.load(Ordering::Relaxed) && end.asleep.swap(false, Ordering::Relaxed) {
            // A failed wake means that the thread is ending.
            end.waker.wake().ok();
        }
    }
}

/// Why a packet could not be handed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    /// The other has more than it can do.
    Behind,
    /// The other has ended.
    Gone,
}

/// How many packets are in small and in large storage.
pub(super) fn pieces(frames: &[Packet]) -> [usize; 2] {
    let small = frames.iter().filter(|p| p.room() <= SMALL).count();
    [small, frames.len() - small]
}
