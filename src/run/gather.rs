//! One worker for all ports while there is little to do.
//!
//! What a packet takes at moderate rates is mostly being woken for it and handing on the few that came: with the same
//! packets spread over several workers each of them is woken for its part. So a worker that has little to do lends its ports to the
//! first one, which receives from all of them in a round and sends once; when that gets busy, everybody has his own again.
//!
//! ```text
//!              busy: mine and the first one's ≤ LITTLE; few ANSWERS; nobody holds it back
//!   at home ─────────────────────────────────────────────────► lent
//!      ▲   ◄─────────────────────────────────────────────────   │
//!      │   the first one's ≥ MUCH, its rounds full, or ANSWERS; │
//!      └───── its owner has something to send ◄─────────────────┘     then at home for PAUSE at least
//! ```
//!
//! A port is one thread's at any time and goes from hand to hand between two rounds, when all that came by it has been transmitted, so
//! the packets of a flow stay in order; the kernel's steering is as it was. Where hosts answer one another within microseconds (see
//! [`rest`](super::rest)), a request does not wait behind another worker's packets: then everybody has his own. Knows nothing of what is lent.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed, Ordering::SeqCst};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, unbounded};

use super::worker::SharedWaker;
use crate::base::Instant;

/// The time over which it is told how busy a worker is.
const WINDOW: Duration = Duration::from_millis(10);
/// How busy the first worker and another may be together for one to do it all, in thousandths.
const LITTLE: u32 = 400;
/// How busy the first worker is when it keeps its own only, in thousandths: well above [`LITTLE`], and what two have taken
/// takes one less.
const MUCH: u32 = 800;
/// Rounds in a row that left something behind: more than a millisecond of work, of which the rings hold more than two.
const FULL_ROUNDS: usize = 32;
/// Answers in a [`WINDOW`] that came at once, for which everybody keeps his own.
const ANSWERS: u64 = 10;
/// How long what was given back stays at home.
const PAUSE: Duration = Duration::from_millis(200);

/// What a worker did since the beginning.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Done {
    /// Nanoseconds with packets and timers.
    pub busy: u64,
    /// How often what came was answered at once.
    pub answers: u64,
}

/// How busy a worker is.
#[derive(Debug)]
pub(super) struct Tide {
    since: Instant,
    done: Done,
}

impl Tide {
    /// Begins now.
    pub(super) fn new(now: Instant) -> Self {
        Tide { since: now, done: Done::default() }
    }

    /// The share of the time since the last answer that it was busy, in thousandths, and all of it where much was answered at once;
    /// `None` if that was a moment ago.
    pub(super) fn share(&mut self, now: Instant, done: Done) -> Option<u32> {
        let elapsed = now.since(self.since);
        if elapsed < WINDOW {
            return None;
        }
        let before = std::mem::replace(&mut self.done, done);
        self.since = now;
        let windows = (elapsed.as_nanos() / WINDOW.as_nanos()) as u64;
        if done.answers.saturating_sub(before.answers) >= ANSWERS * windows {
            return Some(1_000);
        }
        let nanos = u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX);
        let share = done.busy.saturating_sub(before.busy).saturating_mul(1_000) / nanos.max(1);
        Some(u32::try_from(share.min(1_000)).unwrap_or(1_000))
    }
}

/// What all workers, and whoever gives them orders, see of it.
#[derive(Debug, Default)]
pub(super) struct Common {
    /// How busy the first worker was lately, in thousandths.
    first_busy: AtomicU32,
    /// How many want every port to stay with its owner.
    holds: AtomicU32,
    /// Whether the first worker has something to look at.
    news: AtomicBool,
}

impl Common {
    /// Nothing is lent from now on, until as many calls of [`Common::release`] follow. What is lent has to be asked back.
    pub(super) fn hold(&self) {
        self.holds.fetch_add(1, SeqCst);
        self.news.store(true, SeqCst);
    }

    /// Ends one [`Common::hold`].
    pub(super) fn release(&self) {
        self.holds.fetch_sub(1, SeqCst);
    }

    fn is_held(&self) -> bool {
        self.holds.load(SeqCst) > 0
    }
}

/// What a worker has to do with it.
pub(super) enum Part<T> {
    /// It lends.
    Lender(Lender<T>),
    /// It is lent to.
    First(First<T>),
}

/// A worker that may lend what it has.
pub(super) struct Lender<T> {
    me: usize,
    common: Arc<Common>,
    to_first: Sender<(usize, T)>,
    home: Receiver<T>,
    first: SharedWaker,
    /// Asks the first worker for what it has.
    wanted: Arc<AtomicBool>,
    tide: Tide,
    /// How many things are with the first.
    lent: usize,
    at_home_until: Instant,
}

/// The worker that is lent to.
pub(super) struct First<T> {
    common: Arc<Common>,
    inbox: Receiver<(usize, T)>,
    /// By worker but the first: where its things go back to, who is to be woken, and whether he wants them.
    owners: Vec<(Sender<T>, SharedWaker, Arc<AtomicBool>)>,
    tide: Tide,
}

/// The parts of workers, which sleep until their wakers wake them; the first one's first. One alone has none.
pub(super) fn parts<T>(wakers: &[SharedWaker], now: Instant) -> (Arc<Common>, Vec<Part<T>>) {
    let common = Arc::<Common>::default();
    let [first, others @ ..] = wakers else { return (common, Vec::new()) };
    // As many as there are ports.
    let (to_first, inbox) = unbounded();
    let mut owners = Vec::new();
    let mut lenders = Vec::new();
    for (i, waker) in others.iter().enumerate() {
        let (back, home) = unbounded();
        let wanted = Arc::<AtomicBool>::default();
        owners.push((back, waker.clone(), wanted.clone()));
        lenders.push(Part::Lender(Lender {
            me: i + 1,
            common: common.clone(),
            to_first: to_first.clone(),
            home,
            first: first.clone(),
            wanted,
            tide: Tide::new(now),
            lent: 0,
            at_home_until: Instant::ZERO,
        }));
    }
    if lenders.is_empty() {
        return (common, Vec::new());
    }
    let mut parts = vec![Part::First(First { common: common.clone(), inbox, owners, tide: Tide::new(now) })];
    parts.extend(lenders);
    (common, parts)
}

impl<T> Lender<T> {
    /// Whether to lend now.
    pub(super) fn lends(&mut self, now: Instant, done: Done) -> bool {
        let Some(mine) = self.tide.share(now, done) else { return false };
        let both = mine + self.common.first_busy.load(SeqCst);
        both <= LITTLE && now >= self.at_home_until && !self.common.is_held()
    }

    /// Lends something; gives it back where there is nobody any more.
    pub(super) fn lend(&mut self, thing: T) -> Result<(), T> {
        self.wanted.store(false, SeqCst);
        self.to_first.send((self.me, thing)).map_err(|e| e.into_inner().1)?;
        self.lent += 1;
        Ok(())
    }

    /// Has the first worker see what it was lent.
    pub(super) fn tell(&self) {
        self.common.news.store(true, SeqCst);
        // A failed wake means that the thread is ending.
        self.first.wake().ok();
    }

    /// Whether something is with the first.
    pub(super) fn has_lent(&self) -> bool {
        self.lent > 0
    }

    /// Asks for what is lent.
    pub(super) fn want(&self) {
        if !self.wanted.swap(true, SeqCst) {
            self.tell();
        }
    }

    /// The next thing that has come home.
    pub(super) fn take_home(&mut self, now: Instant) -> Option<T> {
        if self.lent == 0 {
            return None;
        }
        let thing = self.home.try_recv().ok()?;
        self.lent -= 1;
        self.at_home_until = now + PAUSE;
        Some(thing)
    }
}

impl<T> First<T> {
    /// The next thing that somebody lends, and who.
    pub(super) fn take(&self) -> Option<(usize, T)> {
        self.inbox.try_recv().ok()
    }

    /// Whether somebody has lent something or wants it back, or all of it is to go back, since this was asked.
    #[inline]
    pub(super) fn has_news(&self) -> bool {
        self.common.news.load(Relaxed) && self.common.news.swap(false, SeqCst)
    }

    /// Whether everybody is to have his own again: told from what this worker did, and its last rounds in a row that left
    /// something behind.
    #[inline]
    pub(super) fn is_too_much(&mut self, now: Instant, done: Done, full_rounds: usize) -> bool {
        let full = full_rounds >= FULL_ROUNDS;
        let share = if full { Some(1_000) } else { self.tide.share(now, done) };
        share.is_some_and(|share| {
            self.common.first_busy.store(share, SeqCst);
            share >= MUCH
        })
    }

    /// Whether everybody is to have his own until further notice.
    pub(super) fn is_held(&self) -> bool {
        self.common.is_held()
    }

    /// Whether its owner wants what he lent.
    pub(super) fn is_wanted(&self, owner: usize) -> bool {
        self.owner(owner).is_some_and(|(.., wanted)| wanted.load(SeqCst))
    }

    /// Gives something back; who has ended doesn't miss it.
    pub(super) fn give_back(&self, owner: usize, thing: T) {
        if let Some((home, waker, _)) = self.owner(owner)
            && home.send(thing).is_ok()
        {
            waker.wake().ok();
        }
    }

    fn owner(&self, owner: usize) -> Option<&(Sender<T>, SharedWaker, Arc<AtomicBool>)> {
        self.owners.get(owner.checked_sub(1)?)
    }
}
