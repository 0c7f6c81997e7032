//! The worker's loop: receive a batch, walk it, transmit what came of it, to completion; sleep when
//! there is nothing.
//!
//! A worker owns one port of each link and shares nothing with the others on the way of an
//! established flow. All workers run the timers that are due, whoever comes first; the first worker
//! alone watches the links' condition and sends what the local stack makes, so that both have an order.

use std::collections::BTreeSet;
use std::io;
use std::net::Ipv6Addr;
use std::os::fd::RawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, TrySendError};
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token, Waker};

use crate::base::{Column, DropReason, Instant, LinkId};
use crate::io::{Port, Sent, Status};
use crate::link::{Driver, InUse};
use crate::neighbor::DadState;
use crate::packet::Packet;
use crate::path::Handed;
use crate::router::{Router, Worker};

use super::clock::Clock;
use super::log;
use super::routes::Gone;

/// Frames taken from a port before the next has its turn: one receive call of the backends.
const BATCH: usize = 64;
/// How often a port is asked whether its interface is still there.
const CHECK: Duration = Duration::from_millis(250);
/// Packets of the local stack sent in one round.
const LOCAL_BATCH: usize = 64;
/// Times parked packets are let out in a round before the rest waits for the next.
const SETTLE_ROUNDS: usize = 16;
/// The token of the waker; ports have their index.
const WAKE: Token = Token(usize::MAX);

/// Wakes a thread that sleeps in its poll.
pub(super) type SharedWaker = Arc<Waker>;

/// What ties a worker to the rest of the process.
pub(super) struct Ties {
    /// Packets for the local stack.
    pub to_host: Sender<Packet>,
    /// Wakes the local stack's thread.
    pub host_waker: SharedWaker,
    /// Packets of the local stack; the first worker has this.
    pub from_host: Option<Receiver<Packet>>,
    /// Lines that rules write to the log.
    pub log: Sender<log::Line>,
    /// Set when all is to end.
    pub stop: Arc<AtomicBool>,
}

/// One port and where it stands.
struct Slot {
    link: LinkId,
    port: Box<dyn Port>,
    /// The descriptor and epoch that are registered.
    registered: Option<(RawFd, u32)>,
    /// Whether there may be frames to receive.
    ready: bool,
    /// The port's overruns that have been counted.
    overruns: u64,
    /// Its interface's condition when it was looked at last.
    status: Status,
}

/// A worker thread's state.
pub(super) struct Loop {
    worker: Worker,
    slots: Vec<Slot>,
    poll: Poll,
    ties: Ties,
    clock: Clock,
    next_check: Instant,
    /// The first worker says when links go up and down, and what becomes of their addresses.
    watch: Option<Watch>,
    frames: Vec<Packet>,
}

impl Loop {
    /// A loop over `ports`, one for each link named beside it.
    pub(super) fn new(
        worker: Worker,
        ports: Vec<(LinkId, Box<dyn Port>)>,
        poll: Poll,
        ties: Ties,
        clock: Clock,
        watch: Option<Watch>,
    ) -> Self {
        let slots = ports
            .into_iter()
            .map(|(link, port)| Slot {
                link,
                port,
                registered: None,
                ready: true,
                overruns: 0,
                status: Status::Down,
            })
            .collect();
        let frames = Vec::with_capacity(BATCH);
        Loop { worker, slots, poll, ties, clock, next_check: Instant::ZERO, watch, frames }
    }

    /// The poll's waker, for whoever has something for this thread.
    pub(super) fn waker(poll: &Poll) -> io::Result<SharedWaker> {
        Ok(Arc::new(Waker::new(poll.registry(), WAKE)?))
    }

    /// Learns the ports' condition, and registers them. Called before the thread starts, so that the
    /// router forwards once all workers have done it.
    pub(super) fn prepare(&mut self) -> io::Result<()> {
        self.check(self.clock.now())
    }

    /// Runs until told to stop.
    pub(super) fn run(mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(64);
        while !self.ties.stop.load(Relaxed) {
            let now = self.clock.now();
            if now >= self.next_check {
                self.check(now)?;
            }
            let mut busy = self.receive();
            busy |= self.send_local();
            let now = self.clock.now();
            if now >= self.worker.poll_timeout() {
                self.worker.handle_timeout(now);
                self.flush();
            }
            let wait = if busy { Duration::ZERO } else { self.pause() };
            match self.poll.poll(&mut events, Some(wait)) {
                Ok(()) => {}
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
            for event in &events {
                if let Some(slot) = self.slots.get_mut(event.token().0) {
                    slot.ready = true;
                    if event.is_error() || event.is_read_closed() {
                        self.next_check = Instant::ZERO;
                    }
                }
            }
        }
        self.flush();
        for i in 0..self.slots.len() {
            self.worker.give_up(self.slots[i].link, DropReason::Shutdown);
        }
        Ok(())
    }

    /// One batch from each port that may have one; `true` if one may have more.
    fn receive(&mut self) -> bool {
        let mut more = false;
        for i in 0..self.slots.len() {
            let slot = &mut self.slots[i];
            if !slot.ready {
                continue;
            }
            let n = slot.port.receive(self.worker.pool(), &mut self.frames, BATCH);
            slot.ready = n >= BATCH;
            more |= slot.ready;
            if n > 0 {
                let link = slot.link;
                self.worker.handle_batch(link, &mut self.frames, self.clock.now());
                self.flush();
            }
        }
        more
    }

    /// Sends what the local stack made; `true` if there may be more.
    fn send_local(&mut self) -> bool {
        let Some(from_host) = self.ties.from_host.take() else { return false };
        let mut n = 0;
        while n < LOCAL_BATCH
            && let Ok(p) = from_host.try_recv()
        {
            self.worker.handle_local(p, self.clock.now());
            n += 1;
        }
        let more = !from_host.is_empty();
        self.ties.from_host = Some(from_host);
        if n > 0 {
            self.flush();
        }
        more
    }

    /// Empties the outboxes into the ports, and lets out what waited behind parked packets.
    fn flush(&mut self) {
        for _ in 0..SETTLE_ROUNDS {
            for retry in [false, true] {
                for i in 0..self.slots.len() {
                    let slot = &mut self.slots[i];
                    if !self.worker.wants_transmit(slot.link) {
                        continue;
                    }
                    let port = &mut slot.port;
                    self.worker.transmit(slot.link, |pool, queue| {
                        let mut sent = Sent::default();
                        port.transmit(pool, queue, &mut sent);
                        handed(&sent)
                    });
                    if retry {
                        self.worker.give_up(slot.link, DropReason::EgressQueueFull);
                    }
                }
            }
            if !self.worker.settle(self.clock.now()) {
                break;
            }
        }
        self.hand_to_host();
        self.hand_to_log();
    }

    fn hand_to_log(&mut self) {
        let log = &self.ties.log;
        let lost = self.worker.drain_log().filter_map(|line| log.try_send(line).err()).count();
        if lost > 0 {
            self.worker.log_lost(lost as u64);
        }
    }

    fn hand_to_host(&mut self) {
        let mut refused = Vec::new();
        let mut any = false;
        for p in self.worker.drain_host() {
            match self.ties.to_host.try_send(p) {
                Ok(()) => any = true,
                Err(TrySendError::Full(p)) => refused.push((p, DropReason::HostQueueFull)),
                Err(TrySendError::Disconnected(p)) => refused.push((p, DropReason::Shutdown)),
            }
        }
        for (p, reason) in refused {
            self.worker.host_refused(p, reason);
        }
        if any {
            // A failed wake means that the thread is awake or ending.
            self.ties.host_waker.wake().ok();
        }
    }

    /// Looks after the ports: condition, descriptor, capabilities.
    fn check(&mut self, now: Instant) -> io::Result<()> {
        self.next_check = now + CHECK;
        for (i, slot) in self.slots.iter_mut().enumerate() {
            let status = slot.port.check();
            let wanted = slot.port.fd().map(|fd| (fd, slot.port.epoch()));
            if slot.registered != wanted {
                // The old descriptor left the poll when it was closed.
                if let Some((fd, _)) = wanted {
                    self.poll.registry().register(&mut SourceFd(&fd), Token(i), Interest::READABLE)?;
                }
                slot.registered = wanted;
            }
            // What an edge failed to announce waits no longer than this.
            slot.ready = true;
            self.worker.set_caps(slot.link, slot.port.caps());
            if let Some(watch) = &self.watch {
                watch.driver(slot.link, slot.port.driver());
            }
            let overruns = slot.port.overruns();
            self.worker.missed(slot.link, overruns.saturating_sub(slot.overruns));
            slot.overruns = overruns;
            let was = std::mem::replace(&mut slot.status, status);
            if let Some(watch) = &self.watch {
                if ends_addresses(status) && !ends_addresses(was) {
                    watch.gone(slot.link);
                }
                if self.worker.handle_link(slot.link, status == Status::Up, now) {
                    watch.say(slot.link, status);
                }
            }
        }
        if let Some(watch) = &mut self.watch {
            watch.look();
            self.flush();
        }
        Ok(())
    }

    /// How long there is nothing to do unless something comes.
    fn pause(&self) -> Duration {
        let now = self.clock.now();
        self.worker.poll_timeout().min(self.next_check).since(now)
    }
}

/// Whether an interface in this condition has lost its addresses for NAT, so that what was translated to them ends: set
/// down or away, as in Linux (`NETDEV_DOWN`), where a cable that is out ends nothing.
fn ends_addresses(status: Status) -> bool {
    matches!(status, Status::Down | Status::Gone)
}

/// What the first worker tells people about.
pub(super) struct Watch {
    router: Router,
    /// The links that went down or away since somebody looked.
    gone: Gone,
    /// For whoever sees to it that routes follow their links. One word is enough however many changed.
    changed: Sender<()>,
    duplicates: BTreeSet<(LinkId, Ipv6Addr)>,
    started: bool,
}

impl Watch {
    /// A change of a link goes to `changed`, a channel with room for one.
    pub(super) fn new(router: Router, changed: Sender<()>, gone: Gone) -> Self {
        Watch { router, gone, changed, duplicates: BTreeSet::new(), started: false }
    }

    fn name(&self, link: LinkId) -> String {
        self.router.snapshot().links.get(link).map_or_else(|| link.to_string(), |l| l.name.clone())
    }

    /// Says once what moves a link's frames: a warning where something else was asked for by name.
    fn driver(&self, link: LinkId, driver: Option<InUse>) {
        let Some(used) = &driver else { return };
        if !self.router.live().states.set_driver(link, driver.clone()) {
            return;
        }
        let (name, drives) = (self.name(link), used.driver.name());
        match &used.fallback {
            None => tracing::info!("link {name}: driver {drives}"),
            Some(why) if used.asked == Driver::Auto => tracing::info!("link {name}: driver {drives}: {why}"),
            Some(why) => tracing::warn!("link {name}: driver {drives}: {why}"),
        }
    }

    /// Says that what was translated to the link's addresses is to end.
    fn gone(&self, link: LinkId) {
        self.gone.add(link);
        self.changed.try_send(()).ok();
    }

    /// That links are up in the beginning is as it should be, and no news for people.
    fn say(&self, link: LinkId, status: Status) {
        // Full: the word is there already.
        self.changed.try_send(()).ok();
        if self.started || status != Status::Up {
            tracing::info!("link {}: {}", self.name(link), in_words(status));
        }
    }

    /// Warns of addresses that turned out to be another station's.
    fn look(&mut self) {
        let addresses = self.router.live().dad.addresses();
        let found = addresses.into_iter().filter(|(.., state)| *state == DadState::Duplicate);
        let found: BTreeSet<_> = found.map(|(link, addr, _)| (link, addr)).collect();
        for (link, addr) in found.difference(&self.duplicates) {
            tracing::warn!(
                "link {}: another station has {addr}; it is not used until the link has been down and up again",
                self.name(*link)
            );
        }
        self.duplicates = found;
        self.started = true;
    }
}

fn in_words(status: Status) -> &'static str {
    match status {
        Status::Up => "up",
        Status::NoCarrier => "no carrier",
        Status::Down => "down",
        Status::Gone => "its device is gone; it is taken up again when one of that name comes back",
    }
}

fn handed(sent: &Sent) -> Handed {
    let mut h = Handed { bytes: sent.bytes, refused: sent.refused, ..Handed::default() };
    h.sent[Column::Received as usize] = sent.received;
    h.sent[Column::Originated as usize] = sent.packets.saturating_sub(sent.received);
    h
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::counters::Tally;
    use crate::io::memory;
    use crate::run::sample;
    use crate::wire::ipv4::Ipv4Header;

    /// A worker with one port, the other end of it, its switch, and a log with room for one line.
    fn worker(router: &Router) -> (Loop, memory::MemoryPort, memory::Switch, Receiver<log::Line>) {
        let (far, port, switch) = memory::pair(memory::Config { caps: TUN, ..memory::Config::default() });
        let (to_host, _) = crossbeam_channel::bounded(1);
        let (log, lines) = crossbeam_channel::bounded(1);
        let poll = Poll::new().unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let ties = Ties { to_host, host_waker: Loop::waker(&poll).unwrap(), from_host: None, log, stop };
        let ports: Vec<(_, Box<dyn Port>)> = vec![(LinkId(1), Box::new(port))];
        let mut l = Loop::new(router.worker(), ports, Poll::new().unwrap(), ties, Clock::start(), None);
        l.prepare().unwrap();
        (l, far, switch, lines)
    }

    const TUN: crate::packet::Caps = crate::packet::Caps { ethernet: false, ..crate::packet::Caps::FULL };

    #[test]
    fn lines_that_the_log_has_no_room_for_are_counted() {
        let (router, _) = sample::router(
            "[link.near]\nkind = \"tun\"\naddresses = [\"10.1.0.1/24\"]\n\
             [firewall]\nrules4 = \"*raw\\n-A PREROUTING -j LOG --log-level 5\\nCOMMIT\"",
        );
        let (mut l, mut far, _, lines) = worker(&router);
        let header = Ipv4Header {
            src: [10, 1, 0, 9].into(),
            dst: [10, 1, 0, 1].into(),
            proto: 99,
            ttl: 64,
            tos: 0,
            ident: 1,
            dont_fragment: false,
            payload_len: 0,
        };
        let mut bytes = [0; 20];
        header.emit(&mut bytes);
        let mut queue = (0..3).map(|_| Packet::from_slice(&bytes)).collect();
        far.transmit(l.worker.pool(), &mut queue, &mut Sent::default());
        assert!(!l.receive());
        let (level, line) = lines.try_recv().unwrap();
        assert!(level == 5 && line.starts_with("IN=near OUT= "), "{level} {line}");
        let totals = router.totals();
        assert_eq!((totals.tally(Tally::Logged), totals.tally(Tally::LogLost)), (3, 2));
    }

    #[test]
    fn frames_that_a_port_lost_are_counted_once() {
        let (router, _) = sample::router("[link.near]\nkind = \"tun\"\naddresses = [\"10.1.0.1/24\"]");
        let (mut l, mut far, switch, _) = worker(&router);
        let mut queue = (0..5_u8).map(|n| Packet::from_slice(&[n; 60])).collect();
        far.transmit(l.worker.pool(), &mut queue, &mut Sent::default());
        switch.overrun(3);
        for _ in 0..2 {
            l.prepare().unwrap();
            assert_eq!(router.totals().links[1].rx_missed, 3);
        }
    }
}
