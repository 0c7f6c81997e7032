//! Following packets: who wants to know of which, and what is told.
//!
//! ```text
//!  watch(filter) ─► Tracer ── generation ──► worker: meets packets ─► gathers steps ─► publishes records ─┐
//!       ▲                                                                                                │
//!       └── Watch: takes records ◄──────────────────────────── a queue of its own, bounded ◄─────────────┘
//! ```
//!
//! Without a watch it costs a relaxed load a batch. With one, each packet that comes in is judged by its filter before
//! anything is done to it; those that may be meant walk, whatever the flow cache knows, and what is done to them is gathered
//! by the worker without a lock, until their walk has ended. So many a second are followed by each worker and no more: what
//! comes beyond that is counted and goes the ordinary way.

mod draft;
pub mod expr;
mod follow;
mod frame;
mod glance;
mod meet;
mod notes;
mod parked;
mod record;
mod steps;
pub mod text;

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};
use serde::{Deserialize, Serialize};

use crate::base::Instant;
use crate::packet::TraceId;

pub use expr::{Expr, ExprError};
pub use frame::{Frame, Point, Points};
pub use glance::Glance;
pub use record::{End, Record, Step};

pub(in crate::path) use follow::{Following, Parting};
pub(in crate::path) use meet::{begin, made, meet};
pub(in crate::path) use notes::at_hook;
pub(in crate::path) use steps::{conntrack, number, route, way};

use parked::Parked;

/// Watches at once; one more is refused.
pub const MAX_WATCHES: usize = 16;
/// Records that wait for a watch's owner; more are lost, and counted.
const QUEUE: usize = 4_096;
/// Bytes of captured frames that wait, likewise: as much as one response of the control socket may hold.
const QUEUE_BYTES: usize = 16 << 20;
/// How long a packet's frames are kept for the sake of what becomes of it: longer than a neighbor is asked for (three seconds).
const PATIENCE: Duration = Duration::from_secs(5);
/// Records each worker follows a second if nothing else is asked.
pub const RATE: u32 = 1_000;

/// What is to be followed, and how closely.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Which packets.
    pub filter: Expr,
    /// How many; absent: until the watch is dropped.
    pub count: Option<u64>,
    /// How many a second each worker follows at most.
    pub rate: u32,
    /// Where their bytes are kept.
    pub points: Points,
    /// How many of them.
    pub snaplen: usize,
}

impl Default for Wanted {
    /// Every packet, steps only.
    fn default() -> Self {
        Wanted { filter: Expr::All, count: None, rate: RATE, points: Points::default(), snaplen: 0 }
    }
}

/// What a watch did not get since it was asked last.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Missed {
    /// Packets that matched and were not followed: more came than may be.
    pub unfollowed: u64,
    /// Packets that were not followed, and of which only their end would have told whether they match.
    pub unjudged: u64,
    /// Records that nobody took in time.
    pub lost: u64,
}

impl Missed {
    /// All of it.
    pub fn all(&self) -> u64 {
        self.unfollowed + self.unjudged + self.lost
    }
}

/// There are as many watches as there may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{MAX_WATCHES} traces and captures are running already: end one of them first")]
pub struct TooMany;

/// Who is followed: shared by all workers and by those who watch.
#[derive(Debug, Default)]
pub struct Tracer {
    /// Changes whenever a watch comes or goes.
    generation: AtomicU32,
    watches: Mutex<Vec<Arc<Shared>>>,
    /// The next packet's number.
    next: AtomicU32,
    /// Nanoseconds from 1970 to the start of the clock; 0: nobody has said.
    epoch: AtomicU64,
    parked: Mutex<Parked>,
}

/// What workers know of a watch.
#[derive(Debug)]
struct Shared {
    wanted: Wanted,
    /// Which of the watches it is: its place in [`Meta::untold`](crate::packet::Meta::untold).
    slot: usize,
    /// Whether a packet may be meant because it is dropped.
    asks_drops: bool,
    /// Packets taken to be followed, and those of them that are done.
    taken: AtomicU64,
    done: AtomicU64,
    records: Sender<Record>,
    /// Bytes of frames that wait.
    bytes: AtomicUsize,
    unfollowed: AtomicU64,
    unjudged: AtomicU64,
    lost: AtomicU64,
    over: AtomicBool,
}

/// As what a packet is counted that a watch does not follow, by its mark: see [`Missed`].
#[derive(Debug, Clone, Copy)]
enum Untold {
    Unfollowed = 1,
    Unjudged = 2,
}

/// A filter in force, and what has been found. Dropping it ends what it costs.
#[derive(Debug)]
pub struct Watch {
    tracer: Arc<Tracer>,
    shared: Arc<Shared>,
    records: Receiver<Record>,
}

impl Tracer {
    /// Has packets followed from the workers' next batch on.
    ///
    /// # Errors
    /// There are [`MAX_WATCHES`] already.
    pub fn watch(self: &Arc<Self>, wanted: Wanted) -> Result<Watch, TooMany> {
        let (sender, records) = bounded(QUEUE);
        let mut watches = lock(&self.watches);
        let slot = (0..MAX_WATCHES).find(|slot| watches.iter().all(|w| w.slot != *slot)).ok_or(TooMany)?;
        let shared = Arc::new(Shared {
            slot,
            asks_drops: wanted.filter.asks_drops(),
            wanted,
            taken: AtomicU64::new(0),
            done: AtomicU64::new(0),
            records: sender,
            bytes: AtomicUsize::new(0),
            unfollowed: AtomicU64::new(0),
            unjudged: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            over: AtomicBool::new(false),
        });
        watches.push(shared.clone());
        self.generation.fetch_add(1, Relaxed);
        drop(watches);
        Ok(Watch { tracer: self.clone(), shared, records })
    }

    /// Says what time it is at the start of the clock, in nanoseconds since 1970.
    pub fn set_epoch(&self, nanos: u64) {
        self.epoch.store(nanos, Relaxed);
    }

    fn time(&self, now: Instant) -> u64 {
        self.epoch.load(Relaxed).saturating_add(now.as_nanos())
    }

    /// A number that no packet has had lately.
    fn number(&self) -> TraceId {
        loop {
            let n = self.next.fetch_add(1, Relaxed).wrapping_add(1);
            if let Some(id) = TraceId::new(n) {
                return id;
            }
        }
    }
}

impl Watch {
    /// Takes what has been found, at most so many records and about so many bytes of frames.
    pub fn take(&self, records: usize, bytes: usize) -> Vec<Record> {
        let (mut taken, mut size) = (Vec::new(), 0);
        while taken.len() < records
            && size < bytes.max(1)
            && let Ok(record) = self.records.try_recv()
        {
            let len = held(&record);
            self.shared.bytes.fetch_sub(len, Relaxed);
            size += len;
            taken.push(record);
        }
        taken
    }

    /// Has packets told as far as they went that were kept back until they end, because their frames are to be told with what
    /// became of them, and that have waited for too long by `now`.
    pub fn hurry(&self, now: Instant) {
        if self.shared.wants_frames() {
            let before = self.tracer.time(now).saturating_sub(PATIENCE.as_nanos() as u64);
            lock(&self.tracer.parked).hurry(&self.shared, before);
        }
    }

    /// Has no more packets followed, and those that were kept back told as far as they have come. What workers have in hand
    /// at this moment comes when they have done with it.
    pub fn close(&self) {
        if !self.shared.over.swap(true, Relaxed) {
            lock(&self.tracer.parked).end(&self.shared);
        }
    }

    /// Whether nothing waits to be taken.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// What was missed since this was asked last.
    pub fn missed(&self) -> Missed {
        let s = &self.shared;
        Missed {
            unfollowed: s.unfollowed.swap(0, Relaxed),
            unjudged: s.unjudged.swap(0, Relaxed),
            lost: s.lost.swap(0, Relaxed),
        }
    }

    /// Whether as many packets have been followed to their end as were asked for.
    pub fn is_over(&self) -> bool {
        self.shared.wanted.count.is_some_and(|n| self.shared.done.load(Relaxed) >= n)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.shared.over.store(true, Relaxed);
        let mut watches = lock(&self.tracer.watches);
        watches.retain(|w| !Arc::ptr_eq(w, &self.shared));
        self.tracer.generation.fetch_add(1, Relaxed);
        drop(watches);
        lock(&self.tracer.parked).gone(&self.shared);
    }
}

impl Shared {
    /// Whether it wants more.
    fn has_room(&self) -> bool {
        !self.over.load(Relaxed) && self.wanted.count.is_none_or(|n| self.taken.load(Relaxed) < n)
    }

    /// Whether so much waits for its owner that more would be lost.
    fn is_full(&self) -> bool {
        self.records.is_full() || self.bytes.load(Relaxed) > QUEUE_BYTES
    }

    /// Counts a packet as one that is not followed, and marks it so.
    fn count(&self, marks: &mut u32, how: Untold) {
        *marks |= (how as u32) << (2 * self.slot);
        self.counter(how).fetch_add(1, Relaxed);
    }

    /// Whether a packet with these marks has been counted.
    fn has_counted(&self, marks: u32) -> bool {
        marks >> (2 * self.slot) & 3 != 0
    }

    /// Takes back what has been counted of a packet with these marks, unless it was said already.
    fn uncount(&self, marks: u32) {
        let how = match marks >> (2 * self.slot) & 3 {
            0 => return,
            1 => Untold::Unfollowed,
            _ => Untold::Unjudged,
        };
        // There may be none: then it has been said.
        self.counter(how).fetch_update(Relaxed, Relaxed, |n| n.checked_sub(1)).ok();
    }

    fn counter(&self, how: Untold) -> &AtomicU64 {
        match how {
            Untold::Unfollowed => &self.unfollowed,
            Untold::Unjudged => &self.unjudged,
        }
    }

    /// Takes one more packet to be followed, if it wants more.
    fn take_one(&self) -> bool {
        let most = self.wanted.count.unwrap_or(u64::MAX);
        self.taken.fetch_update(Relaxed, Relaxed, |n| (n < most).then_some(n + 1)).is_ok()
    }

    /// Whether a packet's frames are wanted: they are told once, with all that became of it.
    fn wants_frames(&self) -> bool {
        self.wanted.points != Points::default()
    }

    /// Hands a record over.
    fn publish(&self, record: Record) {
        let len = held(&record);
        let waiting = self.bytes.fetch_add(len, Relaxed);
        if waiting > QUEUE_BYTES || self.records.try_send(record).is_err() {
            self.bytes.fetch_sub(len, Relaxed);
            self.lost.fetch_add(1, Relaxed);
        }
    }
}

/// What a record takes, in bytes, about: more than its frames where many rules matched.
fn held(record: &Record) -> usize {
    record.frames.iter().map(|f| f.data.len()).sum::<usize>() + record.steps.len() * STEP
}

/// A step, with its words.
const STEP: usize = 400;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
