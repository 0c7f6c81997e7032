//! What the workers are told to do, each between two rounds: to take up a port or to lay one down, to look at their
//! ports at once, or a thing that only a worker can do.
//!
//! An order is carried out before the worker takes the next packets, and answered then. Knows nothing of why.

use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::base::{Instant, LinkId};
use crate::io::{OpenError, Port};
use crate::router::Worker;

use super::worker::SharedWaker;

/// Orders that may wait for a worker: each comes from one thread, which waits for the answer to most.
const CAPACITY: usize = 64;
/// How long a worker may take to come to an order: a batch takes it a millisecond.
const PATIENCE: Duration = Duration::from_secs(10);

/// A thing that only a worker can do.
type Deed = Box<dyn FnOnce(&mut Worker, Instant) + Send>;

/// One thing to do.
pub(super) enum Task {
    /// To own one more port, of this link.
    Attach(LinkId, Box<dyn Port>),
    /// To own the port of this link no more.
    Detach(LinkId),
    /// To look at the ports' condition now.
    Look,
    /// To have the link of this port take packets of another length.
    Mtu(LinkId, u32, Sender<Result<(), OpenError>>),
    /// Something else.
    Do(Deed),
}

/// A task, and who waits until it is done.
pub(super) struct Order {
    pub task: Task,
    /// Dropped when it is done.
    pub done: Sender<()>,
}

/// Whoever gives orders to the workers.
pub(super) struct Desk {
    ends: Vec<(Sender<Order>, SharedWaker)>,
}

impl Desk {
    /// A desk for the workers that these wake, and what each of them takes its orders from.
    pub(super) fn new(wakers: &[SharedWaker]) -> (Self, Vec<Receiver<Order>>) {
        let (ends, inboxes) = wakers
            .iter()
            .map(|waker| {
                let (to, inbox) = bounded(CAPACITY);
                ((to, waker.clone()), inbox)
            })
            .unzip();
        (Desk { ends }, inboxes)
    }

    /// Gives each worker its port of a link. The first worker is last: when it has looked at its own and says that the
    /// link is up, all can send.
    pub(super) fn attach(&self, link: LinkId, ports: Vec<Box<dyn Port>>) {
        for (worker, port) in ports.into_iter().enumerate().rev() {
            self.give(worker, Task::Attach(link, port));
        }
    }

    /// Has all workers lay down their ports of a link, and waits until all are closed. The first worker is first: from then
    /// on the link is down for all.
    pub(super) fn detach(&self, link: LinkId) {
        for worker in 0..self.ends.len() {
            self.give(worker, Task::Detach(link));
        }
    }

    /// Has a link take L3 packets of another length.
    pub(super) fn set_mtu(&self, link: LinkId, mtu: u32) -> Result<(), OpenError> {
        let (answer, said) = bounded(1);
        self.give(0, Task::Mtu(link, mtu, answer));
        // A worker that has ended has no ports any more.
        said.try_recv().unwrap_or(Ok(()))
    }

    /// Has the ports looked at.
    pub(super) fn look(&self) {
        self.give(0, Task::Look);
    }

    /// Has the first worker do something, and waits until it is done.
    pub(super) fn first(&self, deed: impl FnOnce(&mut Worker, Instant) + Send + 'static) {
        self.give(0, Task::Do(Box::new(deed)));
    }

    /// Waits until no worker is in the round any more that it was in when this was called.
    pub(super) fn settle(&self) {
        let all: Vec<_> = (0..self.ends.len()).map(|w| self.send(w, Task::Do(Box::new(|_, _| {})))).collect();
        all.into_iter().for_each(wait);
    }

    fn give(&self, worker: usize, task: Task) {
        wait(self.send(worker, task));
    }

    fn send(&self, worker: usize, task: Task) -> Receiver<()> {
        let (done, waits) = bounded(0);
        if let Some((to, waker)) = self.ends.get(worker) {
            // A worker that has ended lays down everything by itself.
            if to.send_timeout(Order { task, done }, PATIENCE).is_ok() {
                waker.wake().ok();
            }
        }
        waits
    }
}

/// Until it is done, or whoever should do it has ended.
fn wait(done: Receiver<()>) {
    if let Err(crossbeam_channel::RecvTimeoutError::Timeout) = done.recv_timeout(PATIENCE) {
        tracing::error!("a worker has not come to an order for {} s", PATIENCE.as_secs());
    }
}
