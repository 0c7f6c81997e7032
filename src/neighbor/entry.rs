//! One neighbor: its state, its timer and the packets that wait for it.
//!
//! The rules of RFC 4861 §7.3 in the form Linux gave them. Knows nothing of the table it is in, nor
//! of locks; what concerns the whole table goes through [`Shared`].

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use super::queue::{Queue, Turn, Worker};
use super::{Action, Change, Config, Info, Nud, Ready};
use crate::base::{DropReason, Instant, Journal, LinkId, Mac};
use crate::packet::{Net, Packet};

/// A neighbor's name in the table. The same link-local address may be on several links.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) link: LinkId,
    pub(super) ip: IpAddr,
}

/// What all entries share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) config: Config,
    /// The reachable time drawn last, in nanoseconds.
    pub(super) reachable: AtomicU64,
    /// Grows when a MAC that was lent may no longer be used.
    pub(super) generation: AtomicU64,
    /// Bytes of memory in all packets that wait.
    pub(super) parked: AtomicUsize,
    /// For those who follow what becomes of neighbors.
    pub(super) journal: Arc<Journal<Change>>,
}

impl Shared {
    fn reachable(&self) -> Duration {
        Duration::from_nanos(self.reachable.load(Relaxed))
    }

    /// Takes `bytes` from the allowance for packets that wait, if they are left.
    pub(super) fn reserve(&self, bytes: usize) -> bool {
        let fits = |n: usize| n.checked_add(bytes).filter(|n| *n <= self.config.total_bytes);
        self.parked.fetch_update(Relaxed, Relaxed, fits).is_ok()
    }
}

/// Whom and when a step is about, and where its outcome goes.
pub(super) struct Cx<'a> {
    pub(super) key: Key,
    pub(super) now: Instant,
    pub(super) shared: &'a Shared,
    pub(super) out: &'a mut Vec<Action>,
}

/// What a message said about a neighbor, as [`Entry::update`] takes it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Claim {
    /// The MAC; `None` if it named none.
    pub(super) mac: Option<Mac>,
    /// Whether it proves that the neighbor hears us.
    pub(super) reachable: bool,
    /// Whether a MAC that differs replaces the one known.
    pub(super) override_: bool,
    /// Whether, if it doesn't, a reachable neighbor is at least doubted (RFC 4861 §7.2.5, I).
    pub(super) suspect: bool,
    /// Whether it says that the neighbor is a router; `None` if it doesn't say.
    pub(super) router: Option<bool>,
}

/// One neighbor.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) state: Nud,
    /// In force while the state is valid.
    mac: Mac,
    pub(super) used: Instant,
    pub(super) confirmed: Option<Instant>,
    pub(super) updated: Instant,
    probes: u8,
    router: bool,
    /// When the state's timer runs out.
    pub(super) deadline: Option<Instant>,
    /// The earliest alarm set for this entry: never later than the deadline.
    pub(super) alarm: Option<Instant>,
    queue: Queue,
    /// Until when somebody may be using the MAC without asking.
    lent: Instant,
}

impl Entry {
    /// A neighbor that was just heard of or asked for; nothing is known yet.
    pub(super) fn new(now: Instant) -> Self {
        Entry {
            state: Nud::Failed,
            mac: Mac::ZERO,
            used: now,
            confirmed: None,
            updated: now,
            probes: 0,
            router: false,
            deadline: None,
            alarm: None,
            queue: Queue::default(),
            lent: Instant::ZERO,
        }
    }

    /// A packet wants to go to this neighbor.
    pub(super) fn resolve(&mut self, packet: Packet, cx: &mut Cx<'_>) -> Option<(Packet, Ready)> {
        let config = &cx.shared.config;
        self.used = cx.now;
        match self.state {
            Nud::Failed => {
                self.enter(Nud::Incomplete, Some(cx.now + config.retrans), cx.now);
                // Counting on from the unicast probes makes the first of them a broadcast.
                self.probes = config.ucast_probes;
                self.park(packet, cx);
                self.solicit(cx);
                return None;
            }
            Nud::Incomplete => {
                self.park(packet, cx);
                return None;
            }
            Nud::Stale => self.enter(Nud::Delay, Some(cx.now + config.delay_first_probe), cx.now),
            Nud::Reachable | Nud::Delay | Nud::Probe | Nud::Permanent => {}
        }
        match self.queue.turn(me) {
            Turn::Send => {}
            Turn::Wait => {
                self.park(packet, cx);
                return None;
            }
            Turn::Take => {
                self.park(packet, cx);
                let mine = self.queue.hand_out_mine(me(), cx.shared);
                self.send(mine, cx);
                return None;
            }
        }
        let until = match self.deadline {
            _ if self.state == Nud::Permanent => Instant::FAR_FUTURE,
            Some(deadline) => deadline.min(cx.now + LEND),
            None => cx.now + LEND,
        };
        self.lent = self.lent.max(until);
        Some((packet, Ready { mac: self.mac, until }))
    }

    /// When [`Entry::expire`] is to be called.
    pub(super) fn wake(&self) -> Option<Instant> {
        match (self.deadline, self.queue.deadline()) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }

    /// Does what is due.
    pub(super) fn expire(&mut self, cx: &mut Cx<'_>) {
        let overdue = self.queue.overdue(me(), cx.now, cx.shared);
        self.send(overdue, cx);
        if self.deadline.is_none_or(|deadline| cx.now < deadline) {
            return;
        }
        let config = &cx.shared.config;
        let now = cx.now;
        match self.state {
            Nud::Reachable => {
                let end = self.confirmed.map(|c| c + cx.shared.reachable()).filter(|end| now < *end);
                if end.is_some() {
                    self.deadline = end;
                } else if now <= self.used + config.delay_first_probe {
                    self.enter(Nud::Delay, Some(now + config.delay_first_probe), now);
                } else {
                    self.enter(Nud::Stale, None, now);
                }
            }
            Nud::Delay => match self.confirmed.filter(|c| now <= *c + config.delay_first_probe) {
                Some(confirmed) => {
                    self.enter(Nud::Reachable, Some(confirmed + cx.shared.reachable()), now);
                }
                None => {
                    self.enter(Nud::Probe, None, now);
                    self.probes = 0;
                    self.probe_or_fail(config.ucast_probes, cx);
                }
            },
            Nud::Probe => self.probe_or_fail(config.ucast_probes, cx),
            Nud::Incomplete => {
                self.probe_or_fail(config.ucast_probes.saturating_add(config.mcast_probes), cx);
            }
            Nud::Stale | Nud::Failed | Nud::Permanent => self.deadline = None,
        }
    }

    /// Somebody said something about this neighbor.
    pub(super) fn update(&mut self, claim: Claim, cx: &mut Cx<'_>) {
        let old = self.state;
        if old == Nud::Permanent {
            return;
        }
        let known = old.is_valid();
        let mac = match claim.mac {
            Some(mac) => mac,
            None if known => self.mac,
            None => return,
        };
        let mut new = if claim.reachable { Nud::Reachable } else { Nud::Stale };
        let mut differs = !known || mac != self.mac;
        if known && differs && !claim.override_ {
            // Linux counts this as a confirmation of the MAC it contradicts; here it is none.
            if claim.suspect && old == Nud::Reachable {
                self.enter(Nud::Stale, None, cx.now);
            }
            return;
        }
        if let Some(router) = claim.router {
            self.router = router;
        }
        if known && !differs && new == Nud::Stale {
            // News that is no news: what is known is no worse for it.
            new = old;
        }
        if new == Nud::Reachable && claim.reachable {
            self.confirmed = Some(cx.now);
        }
        if !known {
            self.mac = mac;
            differs = false;
        }
        if differs {
            self.revoke(cx.now, cx.shared);
            self.mac = mac;
            self.updated = cx.now;
            if !claim.reachable {
                self.confirmed = None;
            }
        }
        if new != old {
            let end = (new == Nud::Reachable).then(|| cx.now + cx.shared.reachable());
            self.enter(new, end, cx.now);
        }
        if !known {
            self.release(cx);
        }
    }

    /// Makes the entry permanent, whatever it was.
    pub(super) fn fix(&mut self, mac: Mac, cx: &mut Cx<'_>) {
        let known = self.state.is_valid();
        if self.mac != mac {
            self.revoke(cx.now, cx.shared);
        }
        self.mac = mac;
        self.enter(Nud::Permanent, None, cx.now);
        if !known {
            self.release(cx);
        }
    }

    /// Puts the entry into a state other than incomplete, whatever it was. `mac` is there if the state has one.
    pub(super) fn put(&mut self, mac: Option<Mac>, state: Nud, cx: &mut Cx<'_>) {
        let known = self.state.is_valid();
        if mac.is_some_and(|mac| mac != self.mac) || !state.is_valid() {
            self.revoke(cx.now, cx.shared);
        }
        self.mac = mac.unwrap_or(self.mac);
        let now = cx.now;
        match state {
            Nud::Reachable => {
                self.confirmed = Some(now);
                self.enter(state, Some(now + cx.shared.reachable()), now);
            }
            Nud::Delay => self.enter(state, Some(now + cx.shared.config.delay_first_probe), now),
            Nud::Probe => {
                self.enter(state, None, now);
                self.probes = 0;
                self.probe_or_fail(cx.shared.config.ucast_probes, cx);
            }
            Nud::Failed | Nud::Incomplete => self.fail(cx),
            Nud::Stale | Nud::Permanent => self.enter(state, None, now),
        }
        if !known && self.state.is_valid() {
            self.release(cx);
        }
    }

    /// The layer above heard from the neighbor: it receives what we send.
    pub(super) fn confirm(&mut self, now: Instant) {
        if self.state.is_valid() {
            self.confirmed = Some(now);
        }
    }

    /// This worker has sent the packets it was given. Gives it those that came meanwhile; `false` if there
    /// are none for it.
    pub(super) fn drained(&mut self, cx: &mut Cx<'_>) -> bool {
        let packets = self.queue.sent(me(), cx.now, cx.shared);
        let more = !packets.is_empty();
        self.send(packets, cx);
        more
    }

    /// Takes out all packets that wait. The caller says what becomes of them.
    pub(super) fn take_queue(&mut self, shared: &Shared) -> impl Iterator<Item = Packet> + use<> {
        self.queue.clear(shared)
    }

    /// Makes those who use the MAC without asking ask again.
    pub(super) fn revoke(&mut self, now: Instant, shared: &Shared) {
        if self.lent > now {
            shared.generation.fetch_add(1, Relaxed);
        }
        self.lent = Instant::ZERO;
    }

    /// What others are told of when it changes.
    pub(super) fn face(&self) -> (Nud, Mac, bool) {
        (self.state, self.mac, self.router)
    }

    /// Tells those who follow, if anything has changed since it had this face. As in Linux, what only says that
    /// somebody is being waited for is no news.
    pub(super) fn tell(&self, before: (Nud, Mac, bool), cx: &Cx<'_>) {
        let quiet = matches!(self.state, Nud::Incomplete | Nud::Delay);
        if self.face() != before && !quiet && cx.shared.journal.is_followed() {
            cx.shared.journal.push(self.change(cx.key, cx.now, false));
        }
    }

    /// The entry as it is told of.
    pub(super) fn change(&self, key: Key, at: Instant, gone: bool) -> Change {
        let mac = self.state.is_valid().then_some(self.mac);
        Change { at, link: key.link, ip: key.ip, mac, state: self.state, router: self.router, gone }
    }

    /// The same neighbor in a table of its own; nothing waits there.
    pub(super) fn shadow(&self) -> Self {
        Entry { queue: Queue::default(), ..*self }
    }

    /// The entry as people see it.
    pub(super) fn info(&self, key: Key, now: Instant) -> Info {
        Info {
            link: key.link,
            ip: key.ip,
            mac: self.state.is_valid().then_some(self.mac),
            state: self.state,
            used: now.since(self.used),
            confirmed: self.confirmed.map(|c| now.since(c)),
            updated: now.since(self.updated),
            probes: self.probes,
            queued: self.queue.len(),
            router: self.router,
        }
    }

    fn enter(&mut self, state: Nud, deadline: Option<Instant>, now: Instant) {
        self.state = state;
        self.deadline = deadline;
        self.updated = now;
    }

    fn probe_or_fail(&mut self, most: u8, cx: &mut Cx<'_>) {
        if self.probes >= most {
            self.fail(cx);
        } else {
            self.deadline = Some(cx.now + cx.shared.config.retrans);
            self.solicit(cx);
        }
    }

    fn fail(&mut self, cx: &mut Cx<'_>) {
        let Key { link, ip } = cx.key;
        self.enter(Nud::Failed, None, cx.now);
        self.revoke(cx.now, cx.shared);
        cx.out.push(Action::Failed { link, ip });
        let queue = self.take_queue(cx.shared);
        cx.out.extend(queue.map(|packet| Action::Unreachable { link, ip, packet }));
    }

    fn solicit(&mut self, cx: &mut Cx<'_>) {
        let Key { link, ip } = cx.key;
        let dest = (self.probes < cx.shared.config.ucast_probes).then_some(self.mac);
        self.probes = self.probes.saturating_add(1);
        let hint = self.queue.latest().and_then(source);
        cx.out.push(Action::Solicit { link, target: ip, dest, hint });
    }

    /// Gives what waits to this worker.
    fn release(&mut self, cx: &mut Cx<'_>) {
        let packets = self.queue.hand_out_all(me(), cx.shared);
        self.send(packets, cx);
    }

    fn send(&self, packets: Vec<Packet>, cx: &mut Cx<'_>) {
        let (Key { link, ip }, mac) = (cx.key, self.mac);
        cx.out.extend(packets.into_iter().map(|packet| Action::Send { link, ip, mac, packet }));
    }

    fn park(&mut self, packet: Packet, cx: &mut Cx<'_>) {
        let reason = DropReason::NeighborQueueFull;
        let gone = self.queue.park(packet, me(), cx.shared).into_iter();
        cx.out.extend(gone.map(|packet| Action::Drop { packet, reason }));
    }
}

/// The worker that does this.
fn me() -> Worker {
    thread::current().id()
}

/// How long a MAC is lent, at most: what the table knows about use is never older than this.
const LEND: Duration = Duration::from_secs(1);

/// The source address of an IP packet: bytes 12 to 15 (RFC 791 §3.1), bytes 8 to 23 (RFC 8200 §3).
fn source(packet: &Packet) -> Option<IpAddr> {
    let l3 = packet.l3();
    match packet.meta.net {
        Net::Ipv4 => Some(IpAddr::from(<[u8; 4]>::try_from(l3.get(12..16)?).ok()?)),
        Net::Ipv6 => Some(IpAddr::from(<[u8; 16]>::try_from(l3.get(8..24)?).ok()?)),
        Net::None | Net::Arp => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_left_to_a_worker_that_does_not_come_are_sent_soon() {
        let shared = Shared {
            config: Config::default(),
            reachable: AtomicU64::new(30_000_000_000),
            generation: AtomicU64::new(0),
            parked: AtomicUsize::new(0),
            journal: Arc::new(Journal::new(1)),
        };
        let other = thread::spawn(me).join().unwrap();
        let key = Key { link: LinkId(1), ip: IpAddr::from([10, 0, 0, 1]) };
        let mac = Mac([2, 0, 0, 0, 0, 1]);
        let (mut entry, mut out, now) = (Entry::new(Instant::ZERO), Vec::new(), Instant::ZERO);
        let claim = Claim { mac: Some(mac), reachable: true, override_: true, suspect: false, router: None };
        entry.queue.park(Packet::from_slice(b"0"), other, &shared);
        let mut cx = Cx { key, now, shared: &shared, out: &mut out };
        entry.update(claim, &mut cx);
        assert_eq!(entry.wake(), Some(Instant::from_secs(30)));
        // The other worker is never done with parking.
        let mut more = true;
        while more {
            entry.queue.park(Packet::from_slice(b"1"), other, &shared);
            more = entry.drained(&mut cx);
        }
        let soon = entry.wake().unwrap();
        assert!(soon < Instant::from_millis(10));
        out.clear();
        entry.expire(&mut Cx { key, now: soon, shared: &shared, out: &mut out });
        assert!(matches!(&out[..], [Action::Send { .. }]));
        assert_eq!((entry.state, entry.wake()), (Nud::Reachable, Some(Instant::from_secs(30))));
    }
}
