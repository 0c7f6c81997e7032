//! The local stack's thread: packets in from the workers, packets out to the first of them.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use arc_swap::ArcSwap;
use crossbeam_channel::{Receiver, Sender, TrySendError};
use mio::{Events, Poll};

use crate::base::DropReason;
use crate::host::{Host, Services, Took};
use crate::packet::Packet;
use crate::router::Worker;

use super::clock::Clock;
use super::pulse::Pulse;
use super::worker::SharedWaker;

/// Packets handled before what they set off is sent.
const BATCH: usize = 64;
/// The longest sleep: bounds how late a stop that missed its wake is noticed.
const MAX_PAUSE: Duration = Duration::from_millis(500);

/// The thread's state.
pub(super) struct HostLoop {
    pub host: Host,
    /// Its place in the ledger: nothing is walked here.
    pub ledger: Worker,
    pub poll: Poll,
    pub from_workers: Receiver<Packet>,
    pub to_worker: Sender<Packet>,
    pub worker_waker: SharedWaker,
    /// What it offers; may change.
    pub services: Arc<ArcSwap<Services>>,
    pub stop: Arc<AtomicBool>,
    pub pulse: Pulse,
    pub clock: Clock,
}

impl HostLoop {
    /// Runs until told to stop.
    pub(super) fn run(mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(4);
        let mut made = Vec::new();
        while !self.stop.load(Relaxed) {
            self.pulse.beat();
            let taken = self.take();
            let now = self.clock.now();
            self.host.set_services(**self.services.load());
            self.host.poll(now, &mut made);
            let any = !made.is_empty();
            for p in made.drain(..) {
                // A full channel is a full wire: the stack's own timers send again.
                match self.to_worker.try_send(p) {
                    Ok(()) => {}
                    Err(TrySendError::Full(_)) => self.ledger.host_unsent(DropReason::HostQueueFull),
                    Err(TrySendError::Disconnected(_)) => self.ledger.host_unsent(DropReason::Shutdown),
                }
            }
            if any {
                self.worker_waker.wake().ok();
            }
            let pause = match self.host.poll_timeout(now) {
                _ if taken == BATCH => Duration::ZERO,
                Some(at) => at.since(self.clock.now()).min(MAX_PAUSE),
                None => MAX_PAUSE,
            };
            match self.poll.poll(&mut events, Some(pause)) {
                Ok(()) => {}
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        for p in self.from_workers.try_iter() {
            self.ledger.host_refused(p, DropReason::Shutdown);
        }
        self.ledger.tell(self.clock.now());
        Ok(())
    }

    fn take(&mut self) -> usize {
        let mut n = 0;
        if self.from_workers.is_empty() {
            return n;
        }
        self.ledger.look(self.clock.now());
        while n < BATCH
            && let Ok(p) = self.from_workers.try_recv()
        {
            n += 1;
            let meta = p.meta;
            match self.host.offer(p, self.clock.now()) {
                Ok(Took::Kept) => self.ledger.host_took(&meta),
                Ok(Took::Reset) => self.ledger.host_resets(&meta),
                Err((reason, p)) => self.ledger.host_refused(p, reason),
            }
        }
        self.ledger.tell(self.clock.now());
        n
    }
}

#[cfg(test)]
mod tests {
    use std::thread;
    use std::time::Instant as Wall;

    use super::*;
    use crate::base::Column;
    use crate::host::ECHO;
    use crate::packet::{Csum, L2Kind, Net};
    use crate::run::sample;
    use crate::run::worker::Loop;
    use crate::wire::proto;

    /// A datagram of 4 bytes to the echo service, as the path hands it over.
    fn datagram() -> Packet {
        let datagram = [0x13, 0x88, 0, ECHO as u8, 0, 12, 0, 0, 0, 0, 0, 0];
        let mut p = sample::packet([10, 0, 0, 9], [10, 0, 0, 1], proto::UDP, &datagram);
        p.meta.net = Net::Ipv4;
        p.meta.l2 = L2Kind::Host;
        p.meta.l4 = 20;
        p.meta.proto = proto::UDP;
        p.meta.offload.csum = Csum::Verified;
        p
    }

    #[test]
    fn what_the_channel_to_the_worker_does_not_hold_is_dropped_by_name() {
        let (router, _) = sample::router("[link.t]\nkind = \"tun\"\naddresses = [\"10.0.0.1/24\"]");
        let (to_host, from_workers) = crossbeam_channel::bounded(8);
        let (to_worker, from_host) = crossbeam_channel::bounded(1);
        let (poll, worker_poll) = (Poll::new().unwrap(), Poll::new().unwrap());
        let waker = Loop::waker(&poll).unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let host = HostLoop {
            host: Host::new(Services { echo: true, discard: false }, 1),
            ledger: router.worker(),
            poll,
            from_workers,
            to_worker,
            worker_waker: Loop::waker(&worker_poll).unwrap(),
            services: Arc::new(ArcSwap::from_pointee(Services { echo: true, discard: false })),
            stop: stop.clone(),
            pulse: Pulse::default(),
            clock: Clock::start(),
        };
        for _ in 0..3 {
            to_host.send(datagram()).unwrap();
        }
        let thread = thread::spawn(move || host.run());
        let deadline = Wall::now() + Duration::from_secs(60);
        while router.totals().drops(DropReason::HostQueueFull) < 2 && Wall::now() < deadline {
            thread::yield_now();
        }
        stop.store(true, Relaxed);
        waker.wake().unwrap();
        thread.join().unwrap().unwrap();
        let totals = router.totals();
        assert_eq!(from_host.try_iter().count(), 1, "the channel holds one");
        assert_eq!(totals.dropped(Column::Originated, DropReason::HostQueueFull), 2);
        assert_eq!(totals.imbalance(Column::Originated), 0);
    }
}
