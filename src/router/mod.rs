//! The router as its users hold it: frames in, frames out, the time given with each call.
//!
//! A [`Router`] owns the tables; each [`Worker`] made of it walks packets on its own thread. Neither
//! knows of devices or clocks, so the whole router runs in a test. Methods come in four kinds:
//!
//! - `handle_*` take what happened: a frame, a packet of the local stack, a link's change, the time;
//! - `poll_*` give what is to be done: frames to send, packets for the local stack, when to call again;
//! - [`Worker::transmit`] lends an outbox to whoever moves frames, and enters the result in the ledger;
//! - getters.
//!
//! After any `handle_*` call, take everything that [`Worker::poll_transmit`] (or `transmit`) and
//! [`Worker::drain_host`] have, then call [`Worker::settle`]: it lets out what waited behind frames that
//! have now been sent, and says whether there is more to take.

mod shadow;

use std::collections::{HashSet, VecDeque};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;

use crate::base::counters::{LaneTotals, LinkTotals, Load, Tally, Totals};
use crate::base::{Column, Counters, DropReason, Event, Instant, LinkId, Mac};
use crate::conntrack::Flow;
use crate::filter::Family;
use crate::neighbor::{self, NeighborTable};
use crate::packet::{Caps, Direction, Meta, Packet, Pool, Status, Steering};
use crate::path::{
    self, Cx, FlowCacheConfig, Handed, Live, LiveConfig, Local, Queue, Queued, Snapshot, Verdict,
};

pub use shadow::{Comparison, Difference, Fate, Outcome, Shadow, Treated, Walked};

/// One router: its configuration and its tables, shared by its workers. Cloning gives another handle.
#[derive(Clone)]
pub struct Router {
    shared: Arc<Shared>,
}

struct Shared {
    snapshot: ArcSwap<Snapshot>,
    live: Live,
    blocks: Mutex<Vec<Arc<Counters>>>,
    seed: u64,
    flow_cache: FlowCacheConfig,
    /// Places for links.
    room: usize,
    /// By place, what the link's device takes, for whoever has no worker of this router.
    caps: Mutex<Vec<Option<Caps>>>,
    /// By place, where the counters of the link that is there now began.
    begun: Mutex<Vec<LinkTotals>>,
    /// Milliseconds since midnight UTC at the start of the clock.
    wall_ms: u64,
}

/// Milliseconds in a day.
const DAY_MS: u64 = 86_400_000;

impl Router {
    /// A router with this configuration and empty tables. `wall_ms` is the time of day (UTC, in
    /// milliseconds) at [`Instant::ZERO`]; IPv4 timestamps show it.
    pub fn new(snapshot: Snapshot, config: LiveConfig, wall_ms: u64) -> Self {
        let (seed, flow_cache) = (config.seed, config.flow_cache);
        let room = snapshot.links.bound() + config.spare_links;
        let live = Live::new(room, config);
        let shared = Shared {
            snapshot: ArcSwap::from_pointee(snapshot),
            live,
            blocks: Mutex::default(),
            seed,
            flow_cache,
            room,
            caps: Mutex::new(vec![None; room]),
            begun: Mutex::new(vec![LinkTotals::default(); room]),
            wall_ms: wall_ms % DAY_MS,
        };
        Router { shared: Arc::new(shared) }
    }

    /// Another worker. Give it to one thread.
    pub fn worker(&self) -> Worker {
        let mut blocks = self.shared.blocks.lock().unwrap_or_else(PoisonError::into_inner);
        let seed = self.shared.seed ^ (blocks.len() as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut local = Local::new(self.shared.room, blocks.len(), seed, self.shared.flow_cache);
        for link in self.snapshot().links.iter() {
            local.set_caps(link.id, Some(Caps::PLAIN));
        }
        blocks.push(local.counters.clone());
        Worker { shared: self.shared.clone(), local }
    }

    /// The configuration in force.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.shared.snapshot.load_full()
    }

    /// Places for links: their ids are below this.
    pub fn room(&self) -> usize {
        self.shared.room
    }

    /// A link begins to be at a place where another one may have been: its counters begin at zero.
    pub fn begin_link(&self, link: LinkId) {
        let now = self.raw_totals().links.get(link.index()).copied();
        let mut begun = self.shared.begun.lock().unwrap_or_else(PoisonError::into_inner);
        if let (Some(now), Some(begun)) = (now, begun.get_mut(link.index())) {
            *begun = now;
        }
    }

    /// Swaps the configuration: batches that begin after this see all of it. Ids of links are below [`Router::room`], and
    /// those that stay keep theirs. Flows that MASQUERADE gave an
    /// address which is gone are forgotten; so are all that are translated, where there is no table nat any more that would
    /// go on with it (as when the kernel's module goes).
    pub fn replace(&self, snapshot: Snapshot) {
        debug_assert!(snapshot.links.bound() <= self.room());
        let old = self.shared.snapshot.swap(Arc::new(snapshot));
        let new = self.snapshot();
        if let Some(lost) = forgets(&old, &new) {
            self.shared.live.conntrack.remove_where(Instant::ZERO, &lost);
        }
    }

    /// Forgets once more what [`Router::replace`] forgot when it put another configuration in the place of `old`: flows that a
    /// batch began which was on its way. To be called when none is any more.
    pub fn forget(&self, old: &Snapshot) {
        if let Some(lost) = forgets(old, &self.snapshot()) {
            self.shared.live.conntrack.remove_where(Instant::ZERO, &lost);
        }
    }

    /// A link was taken down or away, not merely unplugged: flows that MASQUERADE gave its address are forgotten. Says
    /// how many.
    pub fn link_gone(&self, link: LinkId) -> usize {
        self.shared.live.conntrack.remove_where(Instant::ZERO, &|f: &Flow| f.masquerade == Some(link))
    }

    /// The living tables.
    pub fn live(&self) -> &Live {
        &self.shared.live
    }

    /// Opens the queue of this number for `capacity` packets: what hooks queue there comes out of it, to be
    /// given back with [`Worker::reinject`]. A queue ends when it is dropped, or opened anew.
    pub fn queue(&self, number: u16, capacity: usize) -> Queue {
        self.shared.live.open_queue(number, capacity)
    }

    /// A neighbor from the configuration: never probed, never changed from outside.
    pub fn set_static_neighbor(&self, link: LinkId, ip: IpAddr, mac: Mac) -> bool {
        // Parked packets can't be there yet: statics are set before the first frame.
        let mut out = Vec::new();
        self.shared.live.neighbors.set_static(link, ip, mac, Instant::ZERO, &mut out)
    }

    /// The sum of all workers' counters.
    pub fn totals(&self) -> Totals {
        let mut totals = self.raw_totals();
        let begun = self.shared.begun.lock().unwrap_or_else(PoisonError::into_inner);
        totals.links.iter_mut().zip(begun.iter()).for_each(|(t, begun)| *t = t.since(begun));
        totals
    }

    fn raw_totals(&self) -> Totals {
        let blocks = self.shared.blocks.lock().unwrap_or_else(PoisonError::into_inner);
        Totals::sum(blocks.iter().map(Arc::as_ref))
    }

    /// What each of the first `n` workers has done, in the order they were made.
    pub fn lanes(&self, n: usize) -> Vec<LaneTotals> {
        let blocks = self.shared.blocks.lock().unwrap_or_else(PoisonError::into_inner);
        blocks.iter().take(n).map(|b| b.lane()).collect()
    }
}

/// Which flows are forgotten when one configuration takes another's place; `None`: none are.
fn forgets(old: &Snapshot, new: &Snapshot) -> Option<impl Fn(&Flow) -> bool + use<>> {
    let stays = |link: LinkId, addr: IpAddr| {
        new.links.owner(addr) == Some(link) || new.links.get(link).is_some_and(|l| l.has(addr))
    };
    let gone: HashSet<(LinkId, IpAddr)> = old
        .links
        .iter()
        .flat_map(|l| l.addresses.iter().map(|a| (l.id, a.addr)))
        .filter(|(link, addr)| !stays(*link, *addr))
        .collect();
    let ends = |family| old.hooks.translates(family) && !new.hooks.translates(family);
    let untranslated = [ends(Family::V4), ends(Family::V6)];
    (!gone.is_empty() || untranslated != [false; 2]).then_some(move |f: &Flow| {
        let outer = f.masquerade.map(|link| (link, f.tuple(Direction::Reply).dst()));
        let translated = f.status.has(Status::SRC_NAT) || f.status.has(Status::DST_NAT);
        outer.is_some_and(|o| gone.contains(&o))
            || translated && untranslated[usize::from(f.tuple(Direction::Original).v6)]
    })
}

/// One thread's share of a router.
pub struct Worker {
    shared: Arc<Shared>,
    local: Local,
}

impl Worker {
    /// Says what a link's device takes, so that frames for it are finished as far as it needs.
    pub fn set_caps(&mut self, link: LinkId, caps: Caps) {
        self.tell_caps(link, Some(caps));
        self.local.set_caps(link, Some(caps));
    }

    fn tell_caps(&self, link: LinkId, caps: Option<Caps>) {
        let mut all = self.shared.caps.lock().unwrap_or_else(PoisonError::into_inner);
        all.get_mut(link.index()).into_iter().for_each(|c| *c = caps);
    }

    /// A link's device is gone for good: what waits for it is dropped.
    pub fn forget_link(&mut self, link: LinkId) {
        self.local.left_over(link, DropReason::LinkDown, &self.shared.live.tracer);
        self.tell_caps(link, None);
        self.local.set_caps(link, None);
    }

    /// Has its flow cache room for so many directions of flows; it begins empty.
    pub fn resize_flow_cache(&mut self, entries: u32) {
        self.local.resize_flow_cache(entries);
    }

    /// Changes neighbors by hand, and does what follows.
    pub fn change_neighbors(
        &mut self,
        now: Instant,
        change: impl FnOnce(&NeighborTable, &mut Vec<neighbor::Action>),
    ) {
        self.with(now, |cx| path::change_neighbors(cx, change));
    }

    /// Addresses have come to a link that is up: they are checked before they are used.
    pub fn check_addresses(&mut self, link: LinkId, addresses: &[Ipv6Addr], now: Instant) {
        self.with(now, |cx| path::check_addresses(cx, link, addresses));
    }

    /// Where the thread it runs on says what it does with its time.
    pub fn load(&self) -> &Load {
        self.local.counters.load()
    }

    /// The worker's free storage.
    pub fn pool(&mut self) -> &mut Pool {
        &mut self.local.pool
    }

    /// A frame came in by `link`.
    pub fn handle_frame(&mut self, link: LinkId, frame: Packet, now: Instant) {
        self.with(now, |cx| path::receive(cx, link, frame));
    }

    /// Frames came in by `link`; the vector is emptied. The configuration is looked up once for all, and segments that
    /// came together may go on together.
    pub fn handle_batch(&mut self, link: LinkId, frames: &mut Vec<Packet>, now: Instant) {
        self.with(now, |cx| path::receive_batch(cx, link, frames));
    }

    /// Likewise frames that another worker has taken from their device.
    pub fn handle_handed_over(&mut self, link: LinkId, frames: &mut Vec<Packet>, now: Instant) {
        self.local.handed_over(true);
        self.handle_batch(link, frames, now);
        self.local.handed_over(false);
    }

    /// Frames that came in by `link` went to another worker, who takes them from here.
    pub fn handed_over(&self, n: usize) {
        self.local.counters.tally(Tally::HandedOver, n as u64);
    }

    /// A frame came in by `link` and ends at once.
    pub fn refuse(&mut self, link: LinkId, frame: Packet, reason: DropReason, now: Instant) {
        self.with(now, |cx| path::refuse(cx, link, frame, reason));
    }

    /// Which worker frames are for.
    pub fn steering(&self) -> &Steering {
        &self.shared.live.steering
    }

    /// The local stack made a packet.
    pub fn handle_local(&mut self, packet: Packet, now: Instant) {
        self.with(now, |cx| path::send(cx, packet));
    }

    /// A program has looked at a packet that a hook queued for it. It goes on where it stopped, or not.
    pub fn reinject(&mut self, queued: Queued, verdict: Verdict, now: Instant) {
        self.with(now, |cx| path::reinject(cx, queued, verdict));
    }

    /// A link went up or down; `false` if that is no news.
    pub fn handle_link(&mut self, link: LinkId, up: bool, now: Instant) -> bool {
        self.with(now, |cx| path::link_changed(cx, link, up))
    }

    /// Does what is due by now. Calling early does no harm.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.with(now, path::timeout);
    }

    /// When [`Worker::handle_timeout`] has something to do next.
    pub fn poll_timeout(&self) -> Instant {
        path::poll_timeout(&self.shared.live)
    }

    /// A frame to send, of any link; counts as sent. For tests and simulations: real ports take whole
    /// outboxes through [`Worker::transmit`].
    pub fn poll_transmit(&mut self) -> Option<(LinkId, Packet)> {
        for link in 0..self.local.outbox.len() {
            let Some(p) = self.local.outbox[link].pop_front() else { continue };
            let link = LinkId(link as u16);
            let mut what = Handed { bytes: p.len() as u64, ..Handed::default() };
            what.sent[p.meta.column as usize] = 1;
            self.local.handed(link, &what);
            self.local.note_handed(&self.shared.live.tracer, link, &p, None);
            return Some((link, p));
        }
        None
    }

    /// Whether frames wait in `link`'s outbox.
    pub fn wants_transmit(&self, link: LinkId) -> bool {
        self.local.outbox.get(link.index()).is_some_and(|q| !q.is_empty())
    }

    /// Lends `link`'s outbox and the pool to `send`, and enters what became of the frames.
    pub fn transmit(&mut self, link: LinkId, send: impl FnOnce(&mut Pool, &mut VecDeque<Packet>) -> Handed) {
        let followed = self.local.followed(link);
        if let Some(queue) = self.local.outbox.get_mut(link.index()) {
            let before = queue.len();
            let what = send(&mut self.local.pool, queue);
            let gone = before.saturating_sub(queue.len());
            self.local.handed(link, &what);
            if !followed.is_empty() || !what.kept.is_empty() {
                self.local.note_transmitted(&self.shared.live.tracer, link, gone, &followed, what.kept);
            }
        }
    }

    /// Whether somebody follows packets, so that ports are to keep those that their devices refuse.
    pub fn is_followed(&self) -> bool {
        self.local.is_followed()
    }

    /// Tells those who follow packets what became of them since the last batch. To be called when outboxes have been sent
    /// and the local stack has its packets.
    pub fn tell(&mut self, now: Instant) {
        if self.local.has_untold() {
            self.with(now, |_| ());
        }
    }

    /// Drops what is left in `link`'s outbox.
    pub fn give_up(&mut self, link: LinkId, reason: DropReason) {
        self.local.left_over(link, reason, &self.shared.live.tracer);
    }

    /// To be called when the outboxes have been sent: see the module's text. `true` if there is more.
    pub fn settle(&mut self, now: Instant) -> bool {
        self.with(now, |cx| cx.is_draining() && cx.drain_neighbors())
    }

    /// Lines that LOG rules have written, with syslog's levels: to be fetched after every batch.
    pub fn drain_log(&mut self) -> std::vec::Drain<'_, (u8, String)> {
        self.local.drain_log()
    }

    /// Lines that were fetched and went nowhere.
    pub fn log_lost(&self, n: u64) {
        self.local.counters.tally(Tally::LogLost, n);
    }

    /// Packets for the local stack, in the order they came; say of each what became of it, here or to the worker of another
    /// thread, with [`Worker::host_took`], [`Worker::host_resets`] or [`Worker::host_refused`].
    pub fn drain_host(&mut self) -> std::vec::Drain<'_, Packet> {
        self.local.host_fetches(&self.shared.live.tracer);
        self.local.to_host.drain(..)
    }

    /// The local stack has the packet that bore this.
    pub fn host_took(&mut self, meta: &Meta) {
        self.host_has(meta, None);
    }

    /// Likewise, and answers it with a reset: nobody listens there.
    pub fn host_resets(&mut self, meta: &Meta) {
        self.host_has(meta, Some("which answers with a reset: nothing listens at that port"));
    }

    fn host_has(&mut self, meta: &Meta, did: Option<&str>) {
        self.local.counters.event(meta.column, Event::Delivered);
        self.local.note_host_took(&self.shared.live.tracer, meta, did);
    }

    /// The local stack has not taken the packet: there was no room, or it has looked at it and does not want it.
    pub fn host_refused(&mut self, mut packet: Packet, reason: DropReason) {
        self.local.counters.dropped(packet.meta.column, reason);
        self.local.note_host_refused(&self.shared.live.tracer, &mut packet, reason);
        self.local.turned_away(packet, reason);
    }

    /// Looks who follows packets, for whom it will be said here what the local stack does.
    pub fn look(&mut self, now: Instant) {
        self.with(now, |_| ());
    }

    /// The device of `link` lost `n` frames before they could be handled.
    pub fn missed(&self, link: LinkId, n: u64) {
        if let Some(c) = self.local.counters.link(link) {
            c.rx_missed.add(n);
        }
    }

    /// The local stack made a packet that never came to walk.
    pub fn host_unsent(&self, reason: DropReason) {
        self.local.counters.event(Column::Originated, Event::Entered);
        self.local.counters.dropped(Column::Originated, reason);
    }

    fn with<T>(&mut self, now: Instant, f: impl FnOnce(&mut Cx<'_>) -> T) -> T {
        let snap = self.shared.snapshot.load();
        let live = &self.shared.live;
        self.local.under(&snap, &live.tracer);
        let wall_ms = ((self.shared.wall_ms + now.as_millis()) % DAY_MS) as u32;
        let mut cx = Cx { now, wall_ms, snap: &snap, live, me: &mut self.local };
        cx.note_refused();
        let done = f(&mut cx);
        self.local.done(&live.tracer);
        done
    }
}
