//! The worker's loop: a round takes a batch from each port that has one, walks it, and transmits what came of it.
//!
//! ```text
//! trays of others ─┐
//! port 0 ─ batch ──┼─► walk ─► outboxes ─► ports        busy: the next round, and now and then a look at who else is ready
//! port 1 ─ batch ──┤                                    else: looks on for a moment (`rest`), naps (`nap`), or sleeps
//! local stack ─────┘
//! ```
//!
//! The clock is read once a round, and each port is given what all batches of the round have for it at once. A worker owns one
//! port of each link and shares nothing with the others on the way of an established flow; what came to it and is
//! another's it hands over where there is much of it (`handover`). All workers run the timers that are due, whoever comes first; the first worker
//! alone watches the links' condition and sends what the local stack makes, so that both have an order.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, TrySendError};
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token, Waker};

use crate::base::{Column, DropReason, Instant, LinkId};
use crate::io::{Port, Sent, Status};
use crate::packet::Packet;
use crate::path::Handed;
use crate::router::Worker;

use super::clock::Clock;
use super::desk::{Inbox, Order, Task};
use super::handover::{self, Peers, Refused};
use super::load::{Doing, Load};
use super::log;
use super::nap::Naps;
use super::pulse::Pulse;
use super::rest::Rest;
use super::watch::{Watch, ends_addresses};

/// Frames taken from a port before the next has its turn: one receive call of the backends.
const BATCH: usize = 64;
/// Bytes walked before what came of them is transmitted: what a core's own cache still holds when they are read again.
/// Super-frames reach this long before their number counts.
const HELD_BYTES: usize = 512 << 10;
/// Super-frames taken at a time at least.
const LEAST_BATCH: usize = 4;
/// How often a port is asked whether its interface is still there.
const CHECK: Duration = Duration::from_millis(250);
/// Packets walked before what came of them is transmitted: their storage is the pool's, which keeps four batches.
const HELD: usize = 2 * BATCH;
/// Rounds in which frames are waiting at a port, before the others are asked for.
const BUSY_ROUNDS: usize = 4;
/// How late timers may be while there is traffic.
const TIMERS: Duration = Duration::from_millis(1);
/// Trays of others taken in one round.
const TRAYS: usize = 2;
/// A port that is not steered and gives as few frames at a time needs no help any more.
const FEW: usize = BATCH / 4;
/// Sources of packets that are no ports.
const FROM_WORKERS: usize = 14;
const FROM_HOST: usize = 15;
/// Events taken at a time beyond those of the ports at the start.
const EVENTS: usize = 64;
/// Packets of the local stack sent in one round.
const LOCAL_BATCH: usize = 64;
/// Rounds in which more comes to those ports that can say so, before the others are asked for.
const UNASKED: usize = 4;
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
    /// The other workers, if there are any.
    pub peers: Option<Peers>,
    /// CPUs of the machine.
    pub cpus: usize,
    /// What it is told to do.
    pub orders: Inbox,
    /// Set when all is to end.
    pub stop: Arc<AtomicBool>,
    /// Where it says that it goes round.
    pub pulse: Pulse,
}

pub(super) use slot::Slot;

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
    rest: Rest,
    naps: Naps,
    load: Load,
    frames: Vec<Packet>,
    own: Vec<Packet>,
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
        let slots = ports.into_iter().map(|(link, port)| Slot::new(link, port)).collect();
        let [frames, own] = std::array::from_fn(|_| Vec::with_capacity(BATCH));
        let rest = Rest::new(ties.cpus);
        let load = Load::new(clock.now());
        let (naps, next_check) = (Naps::new(), Instant::ZERO);
        Loop { worker, slots, poll, ties, clock, next_check, watch, rest, naps, load, frames, own }
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
        let mut events = Events::with_capacity(self.slots.len() + EVENTS);
        let mut timers = Instant::ZERO;
        let (mut busy_rounds, mut unasked) = (0, 0);
        while !self.ties.stop.load(Relaxed) {
            let now = self.clock.now();
            if !self.ties.orders.is_empty() {
                self.obey(now)?;
            }
            self.load.does(Doing::Looking, now, self.worker.load());
            if now >= self.next_check {
                self.check(now)?;
            }
            let worked = self.round(now);
            if worked {
                self.load.did(Doing::Busy);
            }
            if !worked || now >= timers {
                timers = now + TIMERS;
                if now >= self.worker.poll_timeout() {
                    self.load.did(Doing::Busy);
                    self.worker.handle_timeout(now);
                    self.flush(now);
                }
            }
            let busy = self.slots.iter().any(|s| s.ready) || self.local_waits();
            busy_rounds = if busy { busy_rounds + 1 } else { 0 };
            if busy && busy_rounds % BUSY_ROUNDS != 0 {
                continue;
            }
            let looks = busy || self.rest.looks(now);
            let (all, any) = self.ask_ports();
            if any && (all || unasked < UNASKED) {
                unasked += 1;
                continue;
            }
            if all && looks {
                std::hint::spin_loop();
                continue;
            }
            unasked = 0;
            if all && let Some(nap) = self.naps.nap() {
                self.nap(nap);
                continue;
            }
            self.wait(&mut events, if looks { Duration::ZERO } else { self.pause(now) })?;
        }
        self.flush(self.clock.now());
        self.end();
        Ok(())
    }

    /// Takes what has come, walks it, and transmits; `false` if nothing had.
    fn round(&mut self, now: Instant) -> bool {
        let mut held = self.take_over(now);
        let (mut worked, mut held_bytes) = (held > 0, 0);
        for i in 0..self.slots.len() {
            let slot = &mut self.slots[i];
            if !slot.ready {
                continue;
            }
            let n = slot.port.receive(self.worker.pool(), &mut self.frames, slot.batch);
            slot.ready = n >= slot.batch;
            if n == 0 {
                continue;
            }
            worked = true;
            took(&self.worker, n);
            let bytes = self.frames.iter().map(Packet::len).sum();
            slot.batch = next_batch(slot.batch, bytes);
            held_bytes += bytes;
            let link = slot.link;
            self.rest.came(link.index() % FROM_WORKERS, now);
            self.naps.came(link.index(), n, now);
            self.hand_over(i, n, now);
            self.worker.handle_batch(link, &mut self.frames, now);
            held += n;
            if held >= HELD || held_bytes >= HELD_BYTES {
                self.flush(now);
                (held, held_bytes) = (0, 0);
            }
        }
        let local = self.take_local(now);
        worked |= local > 0;
        if held + local > 0 {
            self.flush(now);
        }
        worked
    }

    /// Walks what other workers have handed over; gives how many packets.
    fn take_over(&mut self, now: Instant) -> usize {
        let Some(peers) = &mut self.ties.peers else { return 0 };
        peers.take_back(self.worker.pool());
        let mut held = 0;
        for _ in 0..TRAYS {
            let Some(mut tray) = peers.take() else { break };
            held += tray.frames.len();
            took(&self.worker, tray.frames.len());
            let pieces = handover::pieces(&tray.frames);
            self.worker.handle_handed_over(tray.link, &mut tray.frames, now);
            peers.owe(tray, pieces);
        }
        if held > 0 {
            self.rest.came(FROM_WORKERS, now);
            // Others wait for their trays.
            self.naps.wake();
        }
        held
    }

    /// Hands what the port of a slot has given, `n` frames, to the workers it is for; what is left is this one's. Only
    /// where the kernel has not steered it already and there is much of it: else it is walked here, which costs less.
    fn hand_over(&mut self, at: usize, n: usize, now: Instant) {
        let Some(peers) = &mut self.ties.peers else { return };
        let slot = &mut self.slots[at];
        if slot.port.steered() {
            return;
        }
        slot.shared |= n >= BATCH;
        if slot.shared && n <= FEW && peers.all_home() {
            slot.shared = false;
        }
        if !slot.shared {
            return;
        }
        let (me, steering) = (peers.me(), self.worker.steering());
        let ethernet = slot.port.caps().ethernet;
        for frame in self.frames.drain(..) {
            match steering.worker_of_frame(frame.data(), ethernet) {
                worker if worker == me || worker >= peers.len() => self.own.push(frame),
                worker => peers.put(worker, frame),
            }
        }
        std::mem::swap(&mut self.frames, &mut self.own);
        let (link, mut refused) = (slot.link, Vec::new());
        let sent = peers.send(link, |frame, why| refused.push((frame, why)));
        self.worker.handed_over(sent);
        for (frame, why) in refused {
            let reason = match why {
                Refused::Behind => DropReason::WorkerQueueFull,
                Refused::Gone => DropReason::Shutdown,
            };
            self.worker.refuse(link, frame, reason, now);
        }
    }

    /// Walks what the local stack made; gives how many packets.
    fn take_local(&mut self, now: Instant) -> usize {
        let Some(from_host) = &self.ties.from_host else { return 0 };
        let mut n = 0;
        while n < LOCAL_BATCH
            && let Ok(p) = from_host.try_recv()
        {
            self.worker.handle_local(p, now);
            n += 1;
        }
        if n > 0 {
            self.rest.came(FROM_HOST, now);
            self.naps.wake();
        }
        n
    }

    fn local_waits(&self) -> bool {
        self.ties.from_host.as_ref().is_some_and(|f| !f.is_empty())
    }

    /// Asks the ports that can say without a system call whether frames are waiting: whether that is all there is to ask, and
    /// whether some are.
    fn ask_ports(&mut self) -> (bool, bool) {
        let (mut all, mut any) = (true, false);
        for slot in &mut self.slots {
            match slot.port.waiting() {
                Some(waits) => {
                    any |= waits && !slot.ready;
                    slot.ready |= waits;
                }
                None => all &= slot.ready || slot.registered.is_none(),
            }
        }
        (all, any)
    }

    /// Sleeps without being woken by what comes.
    fn nap(&mut self, nap: Duration) {
        if self.ties.peers.as_ref().is_none_or(Peers::has_none) {
            self.load.does(Doing::Asleep, self.clock.now(), self.worker.load());
            thread::sleep(nap);
        }
        self.ask_ports();
    }

    /// Waits for something to come, at most so long.
    fn wait(&mut self, events: &mut Events, pause: Duration) -> io::Result<()> {
        let sleeps = !pause.is_zero() && self.ties.peers.as_ref().is_none_or(Peers::may_sleep);
        if sleeps {
            self.load.does(Doing::Asleep, self.clock.now(), self.worker.load());
        }
        match self.poll.poll(events, Some(if sleeps { pause } else { Duration::ZERO })) {
            Ok(()) => {}
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
        if let Some(peers) = &self.ties.peers {
            peers.awake();
        }
        for event in &*events {
            if let Some(slot) = self.slots.iter_mut().find(|s| s.token() == event.token()) {
                slot.ready = true;
                if event.is_error() || event.is_read_closed() {
                    self.next_check = Instant::ZERO;
                }
            }
        }
        Ok(())
    }

    /// Drops by name whatever is left.
    fn end(&mut self) {
        for slot in &self.slots {
            self.worker.give_up(slot.link, DropReason::Shutdown);
        }
        let now = self.clock.now();
        while let Some(tray) = self.ties.peers.as_mut().and_then(Peers::take) {
            for frame in tray.frames {
                self.worker.refuse(tray.link, frame, DropReason::Shutdown, now);
            }
        }
    }

    /// Empties the outboxes into the ports, and lets out what waited behind parked packets.
    fn flush(&mut self, now: Instant) {
        for _ in 0..SETTLE_ROUNDS {
            for retry in [false, true] {
                for i in 0..self.slots.len() {
                    let slot = &mut self.slots[i];
                    if !self.worker.wants_transmit(slot.link) {
                        continue;
                    }
                    let port = &mut slot.port;
                    let keeps = self.worker.is_followed();
                    self.worker.transmit(slot.link, |pool, queue| {
                        let mut sent = Sent { keeps, ..Sent::default() };
                        port.transmit(pool, queue, &mut sent);
                        handed(sent)
                    });
                    if retry {
                        self.worker.give_up(slot.link, DropReason::EgressQueueFull);
                    }
                }
            }
            if !self.worker.settle(now) {
                break;
            }
        }
        if let Some(peers) = &mut self.ties.peers {
            peers.give_back(self.worker.pool());
        }
        self.hand_to_host();
        self.hand_to_log();
        self.worker.tell(now);
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

    /// Does what it is told to.
    fn obey(&mut self, now: Instant) -> io::Result<()> {
        while let Some(Order { task, done }) = self.ties.orders.next() {
            match task {
                Task::Attach(link, port) => {
                    self.slots.push(Slot::new(link, port));
                    self.check(now)?;
                }
                Task::Detach(link) => self.lay_down(link, now),
                Task::Look => self.check(now)?,
                Task::Mtu(link, mtu, claim, answer) if claim.take() => {
                    let slot = self.slots.iter_mut().find(|slot| slot.link == link);
                    // There is room for one answer.
                    answer.try_send(slot.map_or(Ok(()), |slot| slot.port.set_mtu(mtu))).ok();
                }
                // Who wanted it has stopped waiting, and said so.
                Task::Mtu(..) => {}
                Task::Shorten(link) => {
                    self.slots.iter_mut().filter(|slot| slot.link == link).for_each(|s| s.port.shorten());
                }
                Task::Do(deed) => {
                    deed(&mut self.worker, now);
                    self.flush(now);
                }
            }
            drop(done);
        }
        Ok(())
    }

    /// Closes the port of a link.
    fn lay_down(&mut self, link: LinkId, now: Instant) {
        if self.watch.is_some() {
            self.worker.handle_link(link, false, now);
        }
        self.flush(now);
        self.slots.retain(|slot| slot.link != link);
        self.worker.forget_link(link);
    }

    /// Looks after the ports: condition, descriptor, capabilities.
    fn check(&mut self, now: Instant) -> io::Result<()> {
        self.next_check = now + CHECK;
        self.ties.pulse.beat();
        self.load.sample(now, self.worker.load());
        for slot in &mut self.slots {
            let status = slot.port.check();
            let wanted = slot.port.fd().map(|fd| (fd, slot.port.epoch()));
            if slot.registered != wanted {
                // The old descriptor left the poll when it was closed.
                if let Some((fd, _)) = wanted {
                    self.poll.registry().register(&mut SourceFd(&fd), slot.token(), Interest::READABLE)?;
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
                let up = status == Status::Up && watch.is_set_up(slot.link);
                if self.worker.handle_link(slot.link, up, now) {
                    watch.say(slot.link, status);
                }
            }
        }
        if let Some(watch) = &mut self.watch {
            watch.look();
            self.flush(now);
        }
        Ok(())
    }

    /// How long there is nothing to do unless something comes.
    fn pause(&self, now: Instant) -> Duration {
        self.worker.poll_timeout().min(self.next_check).since(now)
    }
}

fn handed(sent: Sent) -> Handed {
    let mut h = Handed { bytes: sent.bytes, refused: sent.refused, kept: sent.kept, ..Handed::default() };
    h.sent[Column::Received as usize] = sent.received;
    h.sent[Column::Originated as usize] = sent.packets.saturating_sub(sent.received);
    h
}

/// Counts a batch of so many.
fn took(worker: &Worker, n: usize) {
    worker.load().batches.add(1);
    worker.load().packets.add(n as u64);
}

/// How many frames to take next of a port whose last batch was of so many bytes.
fn next_batch(batch: usize, bytes: usize) -> usize {
    match bytes {
        _ if bytes > HELD_BYTES => (batch / 2).max(LEAST_BATCH),
        // Twice as many of the same would still be few enough.
        _ if bytes <= HELD_BYTES / 2 => (batch * 2).min(BATCH),
        _ => batch,
    }
}

mod slot;
#[cfg(test)]
mod tests;
