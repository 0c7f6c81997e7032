//! The table: entries in shards, and what the path does with them.

use std::collections::hash_map::Entry as Slot;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::entry::{Claim, Cx, Entry, Key, Shared};
use super::gc::{Gc, Newcomer};
use super::shard::Shard;
use super::{Action, Advert, Change, Config, Info, Nud, Ready};
use crate::base::{DropReason, Follower, Instant, Journal, LinkId, Mac};
use crate::packet::Packet;

/// The neighbors of all links, shared by all workers.
///
/// # Locks
///
/// A shard's lock is held while one entry is looked at, and no other lock is taken meanwhile. The
/// collector's lock is taken with no shard locked; it then takes the shards' one after the other.
#[derive(Debug)]
pub struct NeighborTable {
    pub(super) shared: Shared,
    pub(super) shards: [Mutex<Shard>; SHARDS],
    /// Which shard: by a key of its own, so that a shard's map sees no pattern in its hashes.
    hasher: RandomState,
    /// Entries that are not permanent, by family.
    pub(super) counts: [AtomicUsize; 2],
    pub(super) gc: Mutex<Gc>,
    /// Not later than the earliest alarm or collection, in nanoseconds.
    pub(super) wake: AtomicU64,
}

impl NeighborTable {
    /// An empty table. Reachable times are drawn from `seed`.
    pub fn new(config: Config, seed: u64) -> Self {
        let mut gc = Gc::new(seed);
        let reachable = gc.draw(config.reachable);
        let wake = Instant::ZERO + config.gc_interval;
        NeighborTable {
            shared: Shared {
                config,
                reachable: AtomicU64::new(reachable),
                generation: AtomicU64::new(0),
                parked: AtomicUsize::new(0),
                journal: Arc::new(Journal::new(JOURNAL)),
            },
            shards: std::array::from_fn(|_| Mutex::default()),
            hasher: RandomState::new(),
            counts: [AtomicUsize::new(0), AtomicUsize::new(0)],
            gc: Mutex::new(gc),
            wake: AtomicU64::new(wake.as_nanos()),
        }
    }

    /// A table of its own that knows the same neighbors, in the same states. What waits here waits there no more.
    pub fn shadow(&self) -> Self {
        let copy = |n: &AtomicUsize| AtomicUsize::new(n.load(Relaxed));
        NeighborTable {
            shared: Shared {
                config: self.shared.config.clone(),
                reachable: AtomicU64::new(self.shared.reachable.load(Relaxed)),
                generation: AtomicU64::new(self.shared.generation.load(Relaxed)),
                // What waits takes room there too.
                parked: copy(&self.shared.parked),
                // Nobody follows what happens there.
                journal: Arc::new(Journal::new(0)),
            },
            shards: std::array::from_fn(|at| Mutex::new(lock(&self.shards[at]).shadow())),
            hasher: self.hasher.clone(),
            counts: self.counts.each_ref().map(copy),
            gc: Mutex::new(lock(&self.gc).clone()),
            wake: AtomicU64::new(self.wake.load(Relaxed)),
        }
    }

    /// The settings.
    pub fn config(&self) -> &Config {
        &self.shared.config
    }

    /// A packet wants to go to `ip`, a next hop on `link` that is no group address.
    ///
    /// Gives it back with the MAC to send it to; or keeps it until the MAC is known or known not to
    /// be had, which [`Action`]s will tell: now, or from another call on any thread. A packet for
    /// which the table is full is kept in that sense too, and comes out as a drop at once.
    pub fn resolve(
        &self,
        link: LinkId,
        ip: IpAddr,
        packet: Packet,
        now: Instant,
        out: &mut Vec<Action>,
    ) -> Option<(Packet, Ready)> {
        let key = Key { link, ip };
        let mut waiting = Some(packet);
        let mut step = |entry: &mut Entry, cx: &mut Cx<'_>| entry.resolve(waiting.take()?, cx);
        let done = self.with_new(key, Newcomer::Asked, now, out, &mut step);
        match waiting {
            None => done.flatten(),
            Some(packet) => {
                out.push(Action::Drop { packet, reason: DropReason::NeighborTableFull });
                None
            }
        }
    }

    /// Grows whenever a MAC given by [`NeighborTable::resolve`] may no longer be used, although its
    /// time is not up. Who keeps MACs reads it *before* resolving, and asks again once it differs.
    #[inline]
    pub fn generation(&self) -> u64 {
        self.shared.generation.load(Relaxed)
    }

    /// An ARP request or neighbor solicitation that was meant for us came from `ip`, at `mac`: it is
    /// about to talk to us. `false` if the table is full or the MAC is none a station can have
    /// (RFC 1812 §3.3.2; Linux would take it).
    pub fn solicited(&self, link: LinkId, ip: IpAddr, mac: Mac, now: Instant, out: &mut Vec<Action>) -> bool {
        if !mac.is_station() {
            return false;
        }
        let claim = Claim { mac: Some(mac), reachable: false, override_: true, suspect: false, router: None };
        let step = &mut |entry: &mut Entry, cx: &mut Cx<'_>| entry.update(claim, cx);
        self.with_new(Key { link, ip }, Newcomer::Heard, now, out, step).is_some()
    }

    /// An ARP reply, a gratuitous ARP, an ARP request not meant for us, or a neighbor advertisement
    /// said that `ip` is at `mac`. `None`: an advertisement without the option. Gives whether the
    /// neighbor is one that is known.
    pub fn advertised(
        &self,
        link: LinkId,
        ip: IpAddr,
        mac: Option<Mac>,
        advert: Advert,
        now: Instant,
        out: &mut Vec<Action>,
    ) -> bool {
        if mac.is_some_and(|mac| !mac.is_station()) {
            return false;
        }
        let locktime = self.shared.config.locktime;
        let arp = ip.is_ipv4();
        let claim = |entry: &Entry| Claim {
            mac,
            reachable: advert.solicited,
            override_: advert.override_ || arp && now > entry.updated + locktime,
            suspect: !arp,
            router: advert.router,
        };
        let key = Key { link, ip };
        let known = self.with(key, now, out, |entry, cx| {
            // As ndisc_recv_na: who did not answer in time is asked again, not believed.
            if arp || entry.state != Nud::Failed {
                entry.update(claim(entry), cx);
            }
        });
        if known.is_none() && advert.create && mac.is_some() {
            // An untracked NA proves nothing, whatever its flags (RFC 9131 §6.1.1).
            let step = &mut |entry: &mut Entry, cx: &mut Cx<'_>| {
                let claim = claim(entry);
                entry.update(Claim { reachable: claim.reachable && arp, ..claim }, cx);
            };
            return self.with_new(key, Newcomer::Heard, now, out, step).is_some();
        }
        known.is_some()
    }

    /// The layer above knows that `ip` receives what is sent to it, e.g. by an acknowledgement.
    pub fn confirm(&self, link: LinkId, ip: IpAddr, now: Instant) {
        self.with(Key { link, ip }, now, &mut Vec::new(), |entry, cx| entry.confirm(cx.now));
    }

    /// This worker (thread) has given the packets last handed out for this neighbor as [`Action::Send`] to
    /// the port. If others came meanwhile they are handed out now, with `true`: send them and call again.
    /// With `false` there is nothing more to do.
    pub fn drained(&self, link: LinkId, ip: IpAddr, now: Instant, out: &mut Vec<Action>) -> bool {
        self.with(Key { link, ip }, now, out, Entry::drained).unwrap_or(false)
    }

    /// Runs what is due: solicits, state changes, failures, collection.
    pub fn timeout(&self, now: Instant, out: &mut Vec<Action>) {
        if now < self.poll_timeout() {
            return;
        }
        // From here on alarms set by others lower it again; those set before are found below.
        self.wake.store(u64::MAX, Relaxed);
        for shard in &self.shards {
            let mut shard = lock(shard);
            shard.expire(now, &self.shared, out);
            self.wake_by(shard.next());
        }
        self.wake_by(self.collect(now, out));
    }

    /// When [`NeighborTable::timeout`] is to be called, at the latest. May move earlier at any time.
    #[inline]
    pub fn poll_timeout(&self) -> Instant {
        Instant::from_nanos(self.wake.load(Relaxed))
    }

    /// Makes a neighbor permanent; packets that wait for it go on. `false` if no station can have
    /// the MAC.
    pub fn set_static(
        &self,
        link: LinkId,
        ip: IpAddr,
        mac: Mac,
        now: Instant,
        out: &mut Vec<Action>,
    ) -> bool {
        if !mac.is_station() {
            return false;
        }
        let key = Key { link, ip };
        let mut shard = lock(self.shard(&key));
        let known = shard.entries.contains_key(&key);
        let entry = shard.entries.entry(key).or_insert_with(|| Entry::new(now));
        if known && entry.state != Nud::Permanent {
            self.counts[family(ip)].fetch_sub(1, Relaxed);
        }
        let before = entry.face();
        let cx = &mut Cx { key, now, shared: &self.shared, out };
        entry.fix(mac, cx);
        entry.tell(before, cx);
        true
    }

    /// Puts a neighbor into a state by hand. `mac` may be missing only where there is none in that state, and then
    /// what is known of it stays. `false` if there is no room for it, or no station can have the MAC.
    pub fn set(
        &self,
        link: LinkId,
        ip: IpAddr,
        mac: Option<Mac>,
        state: Nud,
        now: Instant,
        out: &mut Vec<Action>,
    ) -> bool {
        if mac.map_or(state.is_valid(), |mac| !mac.is_station()) || state == Nud::Incomplete {
            return false;
        }
        if let (Nud::Permanent, Some(mac)) = (state, mac) {
            return self.set_static(link, ip, mac, now, out);
        }
        // One that was permanent counts among the others from now on.
        let step = &mut |entry: &mut Entry, cx: &mut Cx<'_>| {
            if entry.state == Nud::Permanent {
                self.counts[family(ip)].fetch_add(1, Relaxed);
            }
            entry.put(mac, state, cx);
        };
        self.with_new(Key { link, ip }, Newcomer::Heard, now, out, step).is_some()
    }

    /// Forgets a neighbor, permanent or not; what waits for it can't be delivered. `false` if it was
    /// not known.
    pub fn remove(&self, link: LinkId, ip: IpAddr, now: Instant, out: &mut Vec<Action>) -> bool {
        let key = Key { link, ip };
        let mut shard = lock(self.shard(&key));
        let Some(queue) = self.forget(&mut shard, key, now) else { return false };
        out.extend(queue.map(|packet| Action::Unreachable { link, ip, packet }));
        true
    }

    /// The link went down: all its neighbors are forgotten but the permanent ones, and what waits is
    /// dropped.
    pub fn flush_link(&self, link: LinkId, now: Instant, out: &mut Vec<Action>) {
        for shard in &self.shards {
            let mut shard = lock(shard);
            let keys: Vec<Key> = shard.entries.keys().filter(|k| k.link == link).copied().collect();
            for key in keys {
                let Some(entry) = shard.entries.get_mut(&key) else { continue };
                let queue = entry.take_queue(&self.shared);
                let drop = |packet| Action::Drop { packet, reason: DropReason::LinkDown };
                out.extend(queue.map(drop));
                if entry.state != Nud::Permanent {
                    self.forget(&mut shard, key, now);
                }
            }
        }
    }

    /// What becomes of neighbors from now on.
    pub fn follow(&self) -> Follower<Change> {
        self.shared.journal.follow()
    }

    /// One neighbor, if it is known; looking does not count as use.
    pub fn get(&self, link: LinkId, ip: IpAddr, now: Instant) -> Option<Info> {
        let key = Key { link, ip };
        lock(self.shard(&key)).entries.get(&key).map(|entry| entry.info(key, now))
    }

    /// All neighbors, ordered by link and address, for people.
    pub fn entries(&self, now: Instant) -> Vec<Info> {
        let mut all = Vec::new();
        for shard in &self.shards {
            all.extend(lock(shard).entries.iter().map(|(key, entry)| entry.info(*key, now)));
        }
        all.sort_by_key(|i| (i.link, i.ip));
        all
    }

    /// How much memory the packets hold that wait now.
    pub fn parked_bytes(&self) -> usize {
        self.shared.parked.load(Relaxed)
    }

    /// Lets `step` change the entry, if there is one.
    fn with<T>(
        &self,
        key: Key,
        now: Instant,
        out: &mut Vec<Action>,
        step: impl FnOnce(&mut Entry, &mut Cx<'_>) -> T,
    ) -> Option<T> {
        let mut shard = lock(self.shard(&key));
        let result = shard.with(&mut Cx { key, now, shared: &self.shared, out }, step);
        self.wake_by(shard.next());
        result
    }

    /// Lets `step` change the entry, which is made if there is none; `None` if there is no room. The
    /// step is taken at most once.
    fn with_new<T>(
        &self,
        key: Key,
        newcomer: Newcomer,
        now: Instant,
        out: &mut Vec<Action>,
        step: &mut impl FnMut(&mut Entry, &mut Cx<'_>) -> T,
    ) -> Option<T> {
        if let Some(result) = self.with(key, now, out, &mut *step) {
            return Some(result);
        }
        if !self.admit(key, newcomer, now, out) {
            return None;
        }
        let mut shard = lock(self.shard(&key));
        match shard.entries.entry(key) {
            Slot::Vacant(slot) => _ = slot.insert(Entry::new(now)),
            // Another thread was faster; its entry has a place of its own.
            Slot::Occupied(_) => _ = self.counts[family(key.ip)].fetch_sub(1, Relaxed),
        }
        let result = shard.with(&mut Cx { key, now, shared: &self.shared, out }, step);
        self.wake_by(shard.next());
        result
    }

    /// Removes an entry, and gives what waited for it.
    pub(super) fn forget(
        &self,
        shard: &mut Shard,
        key: Key,
        now: Instant,
    ) -> Option<impl Iterator<Item = Packet> + use<>> {
        let mut entry = shard.entries.remove(&key)?;
        if entry.state != Nud::Permanent {
            self.counts[family(key.ip)].fetch_sub(1, Relaxed);
        }
        entry.revoke(now, &self.shared);
        if self.shared.journal.is_followed() {
            self.shared.journal.push(entry.change(key, now, true));
        }
        Some(entry.take_queue(&self.shared))
    }

    pub(super) fn shard(&self, key: &Key) -> &Mutex<Shard> {
        &self.shards[self.hasher.hash_one(key) as usize % SHARDS]
    }

    fn wake_by(&self, at: Instant) {
        // Most calls find it early enough: don't write to a line that every worker reads.
        if at.as_nanos() < self.wake.load(Relaxed) {
            self.wake.fetch_min(at.as_nanos(), Relaxed);
        }
    }
}

/// Changes kept for those who follow them.
const JOURNAL: usize = 4_096;

/// How many locks the entries are spread over.
const SHARDS: usize = 16;

/// Which of the two limits an address counts against.
pub(super) fn family(ip: IpAddr) -> usize {
    usize::from(ip.is_ipv6())
}

/// Locks, also after a panic elsewhere: each step leaves an entry whole.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
