//! The flow table: flows under both their tuples, at most so many, for as long as they live.
//!
//! ```text
//! find:    tuple ─► shard (locked) ─► place (locked) ─► the flow, if its deadline has not passed
//! insert:  count one ─► both shards (locked): neither tuple there? ─► place, wheel, source list, index
//! remove:  both shards (locked) ─► place emptied ─► wheel, source list, index ─► count one less
//! ```
//!
//! Whoever inserts or removes holds both shards, so that a flow is under both tuples or under neither for all
//! who look. A flow past its deadline is as good as gone: it is not found, and makes way; the wheel frees it. Who else makes
//! way in a full table, [`full`] says.
//!
//! Locks, outermost first: index shards, by number; a source shard or a wheel; a place. The free list's is
//! taken alone or below the shards.

mod full;
mod listing;
mod shadow;

use std::sync::MutexGuard;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

use super::events::{EventKind, Events, Told};
use super::shard::{At, Index, Key, Two, among};
use super::slab::{Held, Slab};
use super::source::Sources;
use super::wheel::{Look, Wheel, tick_of};
use super::{Config, Flow, Settings, State};
use crate::base::Instant;
use crate::packet::flow::Address;
use crate::packet::{Direction, FlowId, Status, Steering, Tuple};

/// All flows. Shared by all workers.
#[derive(Debug)]
pub struct Conntrack {
    pub(super) config: Settings,
    key: Key,
    index: Index,
    sources: Sources,
    slab: Slab,
    wheels: Box<[Wheel]>,
    steering: Steering,
    /// Flows there are places for.
    room: u32,
    count: Count,
    pub(super) counts: Counts,
    pub(super) events: Events,
    /// The table that this one is a [`shadow`] of.
    parent: Option<Box<shadow::Parent>>,
}

/// How many flows there are: on lines of its own, for what stands beside it is read for each packet.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Count(AtomicU32);

impl Count {
    fn of(flows: usize) -> Self {
        Count(AtomicU32::new(u32::try_from(flows).unwrap_or(u32::MAX)))
    }
}

/// What happened away from the established path. On lines of its own likewise.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(super) struct Counts {
    inserted: AtomicU64,
    early_drops: AtomicU64,
    pub(super) full: AtomicU64,
    pub(super) clashes_resolved: AtomicU64,
    pub(super) clashes_dropped: AtomicU64,
    expired: AtomicU64,
    removed: AtomicU64,
}

/// What happened since the table was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Flows that were put into the table.
    pub inserted: u64,
    /// Flows that made way for new ones in a full table.
    pub early_drops: u64,
    /// Packets refused because the table was full, and nothing near by could make way.
    pub full: u64,
    /// First packets that met their own flow, begun by another packet at the same moment, and joined it.
    pub clashes_resolved: u64,
    /// First packets dropped because another flow had taken their tuple meanwhile.
    pub clashes_dropped: u64,
    /// Flows whose time was up.
    pub expired: u64,
    /// Flows that ended otherwise: reset, reopened, flushed.
    pub removed: u64,
}

/// A flow that was found, its place locked.
pub(super) struct Found<'a> {
    pub(super) held: MutexGuard<'a, Held>,
    pub(super) id: FlowId,
    pub(super) dir: Direction,
}

/// What became of a flow that was to get into the table.
pub(super) enum Insertion {
    /// It is in, under this number.
    In(FlowId),
    /// The table is full.
    Full,
    /// A tuple is another flow's: this one's.
    Clash(FlowId, Flow),
}

/// How a flow came to its end.
#[derive(Debug, Clone, Copy)]
struct Ending {
    at: Option<Instant>,
    by_hand: bool,
}

/// Under which tuples a flow is to stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Under {
    Both,
    /// The original one is another's, with which this flow clashes for the second it lives.
    ReplyOnly,
}

impl Conntrack {
    /// An empty table; the seed is the hash's key and must not be guessable.
    pub fn new(config: Config, seed: u64) -> Self {
        let max = config.max.min(super::slab::MOST);
        let room = room(max);
        Conntrack {
            key: Key::new(seed),
            index: Index::new(),
            sources: Sources::new(),
            slab: Slab::new(room, 1),
            room,
            steering: Steering::default(),
            wheels: (0..WHEELS).map(|_| Wheel::new()).collect(),
            count: Count::default(),
            counts: Counts::default(),
            events: Events::default(),
            parent: None,
            config: Settings::of(&Config { max, ..config }),
        }
    }

    /// The empty table, divided among workers: a flow stands where nobody else comes while its packets are steered to one.
    #[must_use]
    pub fn steered(self, steering: Steering) -> Self {
        debug_assert!(self.is_empty());
        Conntrack { slab: Slab::new(self.room, steering.workers), steering, ..self }
    }

    /// Its sizes and habits.
    pub fn settings(&self) -> &Settings {
        &self.config
    }

    /// Has other sizes and habits hold from now on. Flows that are there keep the time they have until their next packet, as in
    /// the kernel; where there are more than there may be now, each new one has some make way until there are not.
    pub fn configure(&self, config: &Config) {
        self.config.set(&Config { max: config.max.min(self.room), ..config.clone() });
    }

    /// Flows that there are places for: [`Config::max`] can't become more.
    pub fn room(&self) -> u32 {
        self.room
    }

    /// Flows in the table, those past their deadline that are not freed yet among them.
    pub fn len(&self) -> usize {
        self.count.0.load(Relaxed) as usize
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes taken by flows and indexes.
    pub fn memory(&self) -> usize {
        let fixed = size_of::<Self>() + self.wheels.len() * size_of::<Wheel>();
        fixed + self.slab.memory() + self.index.memory() + self.sources.memory()
    }

    /// What happened since the table was made.
    pub fn stats(&self) -> Stats {
        let c = &self.counts;
        Stats {
            inserted: c.inserted.load(Relaxed),
            early_drops: c.early_drops.load(Relaxed),
            full: c.full.load(Relaxed),
            clashes_resolved: c.clashes_resolved.load(Relaxed),
            clashes_dropped: c.clashes_dropped.load(Relaxed),
            expired: c.expired.load(Relaxed),
            removed: c.removed.load(Relaxed),
        }
    }

    /// The flow of a number, if it is still there.
    pub fn get(&self, id: FlowId) -> Option<Flow> {
        self.tenant(id)?.flow
    }

    /// What stands under a number, locked, if its tenant is still there.
    #[inline]
    pub(super) fn tenant(&self, id: FlowId) -> Option<MutexGuard<'_, Held>> {
        let held = self.slab.tenant(id);
        if held.is_none() && self.parent.is_some() && self.take_in_number(id) {
            return self.slab.tenant(id);
        }
        held
    }

    /// Begins to fetch what stands under a number from memory; nothing else.
    #[inline]
    pub fn warm(&self, id: FlowId) -> u32 {
        self.slab.slot(id.slot).map_or(0, super::slab::Slot::warm)
    }

    /// Sets the mark of a flow that is still there.
    pub fn set_mark(&self, id: FlowId, mark: u32) {
        self.update(id, |flow| flow.mark = mark);
    }

    /// Changes a flow that is still there, under its lock. What it is found by stays as it is: its tuples, and
    /// whether its source is translated.
    pub fn update(&self, id: FlowId, change: impl FnOnce(&mut Flow)) {
        let Some(mut held) = self.tenant(id) else { return };
        let Some(flow) = held.flow.as_mut() else { return };
        let (tuples, nat) = (flow.tuples, flow.status.0 & Status::SRC_NAT.0);
        let before = (Told::of(flow), flow.mark);
        change(flow);
        flow.tuples = tuples;
        flow.status.0 = flow.status.0 & !Status::SRC_NAT.0 | nat;
        if before != (Told::of(flow), flow.mark) {
            self.events.tell(EventKind::Update, id, flow, None, false);
        }
        let deadline = flow.deadline;
        drop(held);
        self.look_again(id, deadline);
    }

    /// The live flow that a tuple belongs to, and in which direction.
    pub fn find(&self, tuple: &Tuple, now: Instant) -> Option<(FlowId, Direction, Flow)> {
        let found = self.look_up(tuple, self.hash(tuple), now)?;
        Some((found.id, found.dir, found.held.flow?))
    }

    /// Whether a live flow has this tuple, in either direction (`nf_conntrack_tuple_taken`). One that began with
    /// the tuple `original` too doesn't count: it is the same flow, begun twice at once.
    pub fn is_taken(&self, tuple: &Tuple, original: &Tuple, now: Instant) -> bool {
        let found = self.look_up(tuple, self.hash(tuple), now);
        found.and_then(|f| f.held.flow).is_some_and(|f| f.tuples[0] != *original)
    }

    /// What another live flow from the same source (protocol, address, port) has its source translated to, of
    /// several the youngest that `fits`.
    pub fn source_mapping(
        &self,
        original: &Tuple,
        now: Instant,
        fits: &mut dyn FnMut(&Address, u16) -> bool,
    ) -> Option<(Address, u16)> {
        let same = |t: &Tuple| {
            (t.src, t.src_port, t.proto, t.v6)
                == (original.src, original.src_port, original.proto, original.v6)
        };
        let mut mapped = |flow: &Flow| {
            // What the packets leave as is where the answers go; an ICMP query's identifier never moves.
            let leaves = super::tuple::invert(&flow.tuples[1])?;
            let alive = flow.deadline > now && same(&flow.tuples[0]);
            (alive && fits(&leaves.src, leaves.src_port)).then_some((leaves.src, leaves.src_port))
        };
        let source = self.key.source(original);
        let own = self.sources.find(&self.slab, source, |at| mapped(self.slab.held(at)?.flow.as_ref()?));
        own.or_else(|| self.ask_parent(source, mapped))
    }

    /// Ends the TCP flow whose answers have this tuple, if it is over, was source-translated, and `new` can't be
    /// mistaken for it; says whether it did. For NAT, when it finds hardly a port free.
    pub fn clear(&self, reply: &Tuple, new: &Flow, now: Instant) -> bool {
        let Some((id, Direction::Reply, old)) = self.find(reply, now) else { return false };
        let over = match (&new.state, &old.state) {
            (State::Tcp(new), State::Tcp(old)) => new.outruns(old),
            _ => false,
        };
        over && old.status.has(Status::SRC_NAT) && !old.status.has(Status::FIXED_TIMEOUT) && self.remove(id)
    }

    /// Frees flows past their deadline, some thousands at most; gives how many. [`poll_timeout`] says when to
    /// come again.
    ///
    /// [`poll_timeout`]: Conntrack::poll_timeout
    pub fn timeout(&self, now: Instant) -> usize {
        let mut budget = TURNED;
        let mut freed = 0;
        let mut due = Vec::new();
        for wheel in &self.wheels {
            if budget == 0 || wheel.due() > now {
                continue;
            }
            let looked = wheel.turn(&self.slab, now, budget, &mut |at| match self.slab.held(at) {
                Some(held) => match held.flow {
                    Some(flow) if flow.deadline > now => Look::At(tick_of(flow.deadline)),
                    Some(_) => {
                        due.push(FlowId { slot: at, tenant: held.tenant });
                        Look::Due
                    }
                    // Being removed at this moment.
                    None => Look::Due,
                },
                None => Look::Due,
            });
            budget -= looked.unwrap_or(0).min(budget);
            for id in due.drain(..) {
                freed += usize::from(self.expire(id, now));
            }
        }
        freed
    }

    /// When [`timeout`](Conntrack::timeout) has something to do; it may be early, and is late by a second at most.
    pub fn poll_timeout(&self) -> Instant {
        self.wheels.iter().map(Wheel::due).min().unwrap_or(Instant::FAR_FUTURE)
    }

    #[inline]
    pub(super) fn hash(&self, tuple: &Tuple) -> u64 {
        let hash = self.key.tuple(tuple);
        match self.steering.workers {
            0 | 1 => hash,
            workers => among(hash, self.steering.worker_of(tuple), workers),
        }
    }

    /// The live flow of a tuple, its place locked.
    #[inline]
    pub(super) fn look_up(&self, tuple: &Tuple, hash: u64, now: Instant) -> Option<Found<'_>> {
        let mut found = self.indexed(tuple, hash);
        if found.is_none() && self.parent.is_some() && self.take_in(tuple, hash) {
            found = self.indexed(tuple, hash);
        }
        let (held, at) = found?;
        let flow = held.flow.as_ref().filter(|f| f.deadline > now)?;
        // Who speaks to himself answers himself: the kernel comes upon the reply first, which it put in last.
        let dir = if flow.tuples[0] == flow.tuples[1] { Direction::Reply } else { at.dir() };
        let id = FlowId { slot: at.slot(), tenant: held.tenant };
        Some(Found { held, id, dir })
    }

    /// What the index has under a tuple, its place locked.
    #[inline]
    fn indexed(&self, tuple: &Tuple, hash: u64) -> Option<(MutexGuard<'_, Held>, At)> {
        let shard = self.index.lock(hash);
        let mut found = None;
        shard.find(hash, |at| {
            let Some(held) = self.slab.held(at.slot()) else { return false };
            let is = held.flow.as_ref().is_some_and(|f| f.tuple(at.dir()) == tuple);
            if is {
                found = Some((held, at));
            }
            is
        });
        found
    }

    /// Has the wheel look at a flow in time, if its deadline came nearer. The flow's place must not be locked.
    #[inline]
    pub(super) fn look_again(&self, id: FlowId, deadline: Instant) {
        let early = |armed: u32| tick_of(deadline) < armed;
        if self.slab.slot(id.slot).is_some_and(|s| early(s.armed.load(Relaxed))) {
            self.wheel(id.slot).bring_forward(&self.slab, id.slot, || {
                self.slab.tenant(id)?.flow.map(|f| tick_of(f.deadline))
            });
        }
    }

    /// Puts a flow into the table: both its tuples are free then, and it counts.
    pub(super) fn insert(&self, flow: &Flow, under: Under, now: Instant) -> Insertion {
        let hashes = flow.tuples.map(|t| self.hash(&t));
        if self.parent.is_some() {
            flow.tuples.iter().zip(hashes).for_each(|(t, hash)| drop(self.look_up(t, hash, now)));
        }
        if !self.reserve(hashes[0], now) {
            return Insertion::Full;
        }
        loop {
            let mut two = self.index.lock_two(hashes[0], hashes[1]);
            let stands = [Direction::Original, Direction::Reply]
                .into_iter()
                .filter(|dir| under == Under::Both || *dir == Direction::Reply)
                .find_map(|dir| self.other_under(&mut two, hashes[dir as usize], flow.tuple(dir)));
            if let Some((id, other)) = stands {
                drop(two);
                if other.deadline <= now {
                    self.expire(id, now);
                    continue;
                }
                self.count.0.fetch_sub(1, Relaxed);
                return Insertion::Clash(id, other);
            }
            let Some(id) = self.settle(&mut two, flow, under, hashes) else {
                self.count.0.fetch_sub(1, Relaxed);
                return Insertion::Full;
            };
            self.counts.inserted.fetch_add(1, Relaxed);
            // While its shards are locked nobody finds it, and nothing can be told of it before this.
            self.events.tell(EventKind::New, id, flow, Some(now), false);
            drop(two);
            return Insertion::In(id);
        }
    }

    /// Who stands under a tuple, its shard being locked.
    fn other_under(&self, two: &mut Two<'_>, hash: u64, tuple: &Tuple) -> Option<(FlowId, Flow)> {
        let mut other = None;
        two.of(hash).find(hash, |at| {
            let Some(held) = self.slab.held(at.slot()) else { return false };
            let Some(flow) = held.flow.filter(|f| f.tuple(at.dir()) == tuple) else { return false };
            other = Some((FlowId { slot: at.slot(), tenant: held.tenant }, flow));
            true
        });
        other
    }

    /// Gives a flow its place, under shards that are locked.
    fn settle(&self, two: &mut Two<'_>, flow: &Flow, under: Under, hashes: [u64; 2]) -> Option<FlowId> {
        let at = self.slab.take(self.steering.worker_of(&flow.tuples[0]))?;
        let tenant = {
            let mut held = self.slab.held(at)?;
            held.flow = Some(*flow);
            held.tenant
        };
        self.wheel(at).link(&self.slab, at, tick_of(flow.deadline));
        if flow.status.has(Status::SRC_NAT) {
            self.sources.link(&self.slab, self.key.source(&flow.tuples[0]), at);
        }
        if under == Under::Both {
            two.of(hashes[0]).insert(hashes[0], At::new(at, Direction::Original));
        }
        two.of(hashes[1]).insert(hashes[1], At::new(at, Direction::Reply));
        Some(FlowId { slot: at, tenant })
    }

    /// Takes a flow out of everything, if it is still there and `whether` says so.
    fn take_out(&self, id: FlowId, how: Ending, whether: impl Fn(&Flow) -> bool) -> bool {
        let Some(tuples) = self.get(id).map(|f| f.tuples) else { return false };
        let gone = self.uproot(id, tuples.map(|t| self.hash(&t)), how, whether);
        if gone {
            self.count.0.fetch_sub(1, Relaxed);
        }
        gone
    }

    /// [`take_out`](Conntrack::take_out), but for the count.
    fn uproot(&self, id: FlowId, hashes: [u64; 2], how: Ending, whether: impl Fn(&Flow) -> bool) -> bool {
        let mut two = self.index.lock_two(hashes[0], hashes[1]);
        let flow = {
            let Some(mut held) = self.slab.tenant(id) else { return false };
            let Some(flow) = held.flow.as_ref().filter(|f| whether(f)) else { return false };
            self.events.tell(EventKind::Destroy, id, flow, how.at, how.by_hand);
            held.vacate()
        };
        for dir in Direction::ALL {
            two.of(hashes[dir as usize]).remove(hashes[dir as usize], At::new(id.slot, dir));
        }
        self.wheel(id.slot).unlink(&self.slab, id.slot);
        if let Some(flow) = flow.filter(|f| f.status.has(Status::SRC_NAT)) {
            self.sources.unlink(&self.slab, self.key.source(&flow.tuples[0]), id.slot);
        }
        drop(two);
        if self.is_reused(id.slot) {
            self.slab.give(id.slot);
        }
        true
    }

    /// Frees a flow whose time is up.
    fn expire(&self, id: FlowId, now: Instant) -> bool {
        let gone = self.take_out(id, Ending { at: Some(now), by_hand: false }, |f| f.deadline <= now);
        self.counts.expired.fetch_add(u64::from(gone), Relaxed);
        gone
    }

    fn wheel(&self, at: u32) -> &Wheel {
        &self.wheels[at as usize % WHEELS]
    }

    /// Whether everything agrees with everything; for tests, while nobody else is about.
    #[cfg(test)]
    pub(super) fn check(&self) {
        let (mut flows, mut entries) = (0, 0);
        for at in 0..self.slab.reach() {
            let Some(flow) = self.slab.held(at).unwrap().flow else { continue };
            flows += 1;
            for dir in Direction::ALL {
                let hidden = dir == Direction::Original && flow.status.has(Status::NAT_CLASH);
                let hash = self.hash(flow.tuple(dir));
                let found = self.index.lock(hash).find(hash, |e| e == At::new(at, dir));
                assert_eq!(found.is_some(), !hidden, "{flow:?} {dir:?}");
                entries += usize::from(!hidden);
            }
            let armed = self.slab.slot(at).unwrap().armed.load(Relaxed);
            assert!(armed <= tick_of(flow.deadline), "{flow:?} is looked at too late: {armed}");
        }
        assert_eq!((flows, entries), (self.len(), self.index.entries()));
        assert!(self.len() <= self.config.max() as usize);
    }
}

/// Flows there are places for in a table that is to have `max`: four times as many, so that it can have more while it is
/// there. A place that is not used takes a thirtieth of a byte.
fn room(max: u32) -> u32 {
    /// As if the kernel's usual table had been asked for at least.
    const LEAST: u32 = 262_144;
    max.max(LEAST).saturating_mul(4).min(super::slab::MOST)
}

/// Wheels: more than threads, so that two seldom meet at one.
const WHEELS: usize = 16;

/// Flows looked at in one [`Conntrack::timeout`].
const TURNED: usize = 4096;

#[cfg(test)]
mod tests;
