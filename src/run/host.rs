//! The local stack's thread: packets in from the workers, packets out to the first of them.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender};
use mio::{Events, Poll};

use crate::host::Host;
use crate::packet::Packet;
use crate::router::Worker;

use super::clock::Clock;
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
    pub stop: Arc<AtomicBool>,
    pub clock: Clock,
}

impl HostLoop {
    /// Runs until told to stop.
    pub(super) fn run(mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(4);
        let mut made = Vec::new();
        while !self.stop.load(Relaxed) {
            let taken = self.take();
            let now = self.clock.now();
            self.host.poll(now, &mut made);
            let any = !made.is_empty();
            for p in made.drain(..) {
                // A full channel is a full wire: the stack's own timers send again.
                self.to_worker.try_send(p).ok();
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
        Ok(())
    }

    fn take(&mut self) -> usize {
        let mut n = 0;
        while n < BATCH
            && let Ok(p) = self.from_workers.try_recv()
        {
            n += 1;
            let column = p.meta.column;
            match self.host.handle(p, self.clock.now()) {
                Ok(()) => self.ledger.host_took(column),
                Err(reason) => self.ledger.host_dropped(column, reason),
            }
        }
        n
    }
}
