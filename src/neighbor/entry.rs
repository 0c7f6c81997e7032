//! One neighbor: its state, its timer and the packets that wait for it.
//!
//! The rules of RFC 4861 §7.3 in the form Linux gave them. Knows nothing of the table it is in, nor
//! of locks; what concerns the whole table goes through [`Shared`].

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use super::{Action, Config, Info, Nud, Ready};
use crate::base::{DropReason, Instant, LinkId, Mac};
use crate::packet::{Net, Packet, Pool};

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
}

impl Shared {
    fn reachable(&self) -> Duration {
        Duration::from_nanos(self.reachable.load(Relaxed))
    }

    /// Takes `bytes` from the allowance for packets that wait, if they are left.
    fn reserve(&self, bytes: usize) -> bool {
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
    queue: VecDeque<Packet>,
    queue_bytes: usize,
    /// A worker is sending what waited; later packets stay behind those.
    draining: bool,
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
            queue: VecDeque::new(),
            queue_bytes: 0,
            draining: false,
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
        if self.draining {
            self.park(packet, cx);
            return None;
        }
        let until = match self.deadline {
            _ if self.state == Nud::Permanent => Instant::FAR_FUTURE,
            Some(deadline) => deadline.min(cx.now + LEND),
            None => cx.now + LEND,
        };
        self.lent = self.lent.max(until);
        Some((packet, Ready { mac: self.mac, until }))
    }

    /// The timer ran out.
    pub(super) fn expire(&mut self, cx: &mut Cx<'_>) {
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
        if self.mac != mac {
            self.revoke(cx.now, cx.shared);
        }
        self.mac = mac;
        self.enter(Nud::Permanent, None, cx.now);
        if !self.draining {
            self.release(cx);
        }
    }

    /// The layer above heard from the neighbor: it receives what we send.
    pub(super) fn confirm(&mut self, now: Instant) {
        if self.state.is_valid() {
            self.confirmed = Some(now);
        }
    }

    /// The packets handed out last are on their way; hands out those that came meanwhile, or lets
    /// packets pass again if there are none.
    pub(super) fn drained(&mut self, cx: &mut Cx<'_>) -> bool {
        if !self.draining {
            return false;
        }
        self.release(cx);
        self.draining
    }

    /// Takes out all packets that wait. The caller says what becomes of them.
    pub(super) fn take_queue(&mut self, shared: &Shared) -> VecDeque<Packet> {
        shared.parked.fetch_sub(self.queue_bytes, Relaxed);
        self.queue_bytes = 0;
        self.draining = false;
        std::mem::take(&mut self.queue)
    }

    /// Makes those who use the MAC without asking ask again.
    pub(super) fn revoke(&mut self, now: Instant, shared: &Shared) {
        if self.lent > now {
            shared.generation.fetch_add(1, Relaxed);
        }
        self.lent = Instant::ZERO;
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
        cx.out.extend(queue.into_iter().map(|packet| Action::Unreachable { link, ip, packet }));
    }

    fn solicit(&mut self, cx: &mut Cx<'_>) {
        let Key { link, ip } = cx.key;
        let dest = (self.probes < cx.shared.config.ucast_probes).then_some(self.mac);
        self.probes = self.probes.saturating_add(1);
        let hint = self.queue.back().and_then(source);
        cx.out.push(Action::Solicit { link, target: ip, dest, hint });
    }

    /// Hands out what waits; while there is something, later packets stay behind.
    fn release(&mut self, cx: &mut Cx<'_>) {
        let Key { link, ip } = cx.key;
        let mac = self.mac;
        let queue = self.take_queue(cx.shared);
        self.draining = !queue.is_empty();
        cx.out.extend(queue.into_iter().map(|packet| Action::Send { link, ip, mac, packet }));
    }

    /// Lets a packet wait, pushing out older ones if there is no room.
    fn park(&mut self, packet: Packet, cx: &mut Cx<'_>) {
        // A pool that keeps nothing: storage that large is better freed than kept waiting here.
        let packet = packet.compact(&mut Pool::new(0));
        let bytes = packet.footprint();
        let full = |packet| Action::Drop { packet, reason: DropReason::NeighborQueueFull };
        while self.queue_bytes + bytes > cx.shared.config.queue_bytes {
            let Some(oldest) = self.unpark(cx.shared) else { break };
            cx.out.push(full(oldest));
        }
        while !cx.shared.reserve(bytes) {
            match self.unpark(cx.shared) {
                Some(oldest) => cx.out.push(full(oldest)),
                None => return cx.out.push(full(packet)),
            }
        }
        self.queue_bytes += bytes;
        self.queue.push_back(packet);
    }

    fn unpark(&mut self, shared: &Shared) -> Option<Packet> {
        let packet = self.queue.pop_front()?;
        self.queue_bytes -= packet.footprint();
        shared.parked.fetch_sub(packet.footprint(), Relaxed);
        Some(packet)
    }
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
