//! What the workers are told to do, each between two rounds: to take up a port or to lay one down, to look at their
//! ports at once, or a thing that only a worker can do.
//!
//! An order is carried out before the worker takes the next packets, and answered then. Knows nothing of why.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, SendTimeoutError, Sender, bounded, never, select};

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
    /// To have the link of this port take packets of another length, if it is still wanted.
    Mtu(LinkId, u32, Claim, Sender<Result<(), OpenError>>),
    /// To have it take no longer ones than those any more.
    Shorten(LinkId),
    /// Something else.
    Do(Deed),
}

/// A task, and who waits until it is done.
pub(super) struct Order {
    pub task: Task,
    /// Dropped when it is done.
    pub done: Sender<()>,
}

/// Whose turn an order is that can be withdrawn: either it is carried out, or withdrawn.
#[derive(Debug, Clone, Default)]
pub(super) struct Claim(Arc<AtomicBool>);

impl Claim {
    /// Whether it is the caller's; whoever asks first has it.
    pub(super) fn take(&self) -> bool {
        !self.0.swap(true, Relaxed)
    }
}

/// Why a link does not take packets of another length.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotSet {
    /// The device won't.
    #[error(transparent)]
    Device(#[from] OpenError),
    /// No worker has come to it. It is withdrawn: it won't be done later, either.
    #[error(
        "its worker has not come to it for {0} s: nothing is different, try again when there is less to do"
    )]
    Late(u64),
    /// A worker is at it, and does not say what came of it.
    #[error("its worker has been at it for {0} s and is not done: look at the interface, and ask again")]
    Undecided(u64),
    /// No worker has come to it, and it is not withdrawn.
    #[error("its worker has not come to it for {0} s: it is done when it does")]
    Later(u64),
}

/// What a worker takes its orders from.
pub(super) struct Inbox {
    orders: Receiver<Order>,
    /// Dropped after that: whoever waits for an order that is still there does so no more.
    _here: Sender<Infallible>,
}

impl Inbox {
    /// Whether no order waits.
    pub(super) fn is_empty(&self) -> bool {
        self.orders.is_empty()
    }

    /// The next order.
    pub(super) fn next(&self) -> Option<Order> {
        self.orders.try_recv().ok()
    }
}

/// A worker, as those see it who give it orders.
struct End {
    to: Sender<Order>,
    waker: SharedWaker,
    /// Disconnected when it has ended. What waits in the channel of the orders then is dropped by nobody.
    ended: Receiver<Infallible>,
}

/// Whoever gives orders to the workers.
pub(super) struct Desk {
    ends: Vec<End>,
    /// How long it waits.
    patience: Duration,
}

impl Desk {
    /// A desk for the workers that these wake, and what each of them takes its orders from.
    pub(super) fn new(wakers: &[SharedWaker]) -> (Self, Vec<Inbox>) {
        let (ends, inboxes) = wakers
            .iter()
            .map(|waker| {
                let ((to, orders), (here, ended)) = (bounded(CAPACITY), bounded(0));
                (End { to, waker: waker.clone(), ended }, Inbox { orders, _here: here })
            })
            .unzip();
        (Desk { ends, patience: PATIENCE }, inboxes)
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

    /// Has a link take L3 packets of another length: that and, if it is shorter, what was taken before, until
    /// [`Desk::shorten`] says that nobody gives it those any more.
    ///
    /// # Errors
    /// The device won't, or the worker has not done it: then it does not do it later.
    pub(super) fn set_mtu(&self, link: LinkId, mtu: u32) -> Result<(), NotSet> {
        let (answer, said) = bounded(1);
        let (claim, seconds) = (Claim::default(), self.patience.as_secs());
        let done = self.send(0, Task::Mtu(link, mtu, claim.clone(), answer));
        match self.hear(0, &said) {
            Ok(set) => return Ok(set?),
            // A worker that has ended has no ports any more.
            Err(RecvTimeoutError::Disconnected) if done.is_ok() => return Ok(()),
            _ if claim.take() => return Err(NotSet::Late(seconds)),
            // It came to it just now.
            _ => {}
        }
        match self.hear(0, &said) {
            Ok(set) => Ok(set?),
            Err(RecvTimeoutError::Disconnected) => Ok(()),
            Err(RecvTimeoutError::Timeout) => Err(NotSet::Undecided(seconds)),
        }
    }

    /// Has a link take packets of the length that it took before [`Desk::set_mtu`], whatever came of that. Not withdrawn:
    /// a worker that is still at the other one does this after it.
    ///
    /// # Errors
    /// The device won't, or the worker has not done it yet.
    pub(super) fn set_mtu_back(&self, link: LinkId, mtu: u32) -> Result<(), NotSet> {
        let (answer, said) = bounded(1);
        // A claim that only the worker has.
        let done = self.send(0, Task::Mtu(link, mtu, Claim::default(), answer));
        match self.hear(0, &said) {
            Ok(set) => Ok(set?),
            Err(_) if done.is_err() => Err(NotSet::Late(self.patience.as_secs())),
            Err(RecvTimeoutError::Disconnected) => Ok(()),
            Err(RecvTimeoutError::Timeout) => Err(NotSet::Later(self.patience.as_secs())),
        }
    }

    /// Has a link take no longer packets than its MTU any more: those who know of another one are through with it.
    pub(super) fn shorten(&self, link: LinkId) {
        self.give(0, Task::Shorten(link));
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
        self.all(|_| {});
    }

    /// Has each worker do something, and waits until it is done.
    pub(super) fn all(&self, deed: impl FnOnce(&mut Worker) + Copy + Send + 'static) {
        let one = |w| self.send(w, Task::Do(Box::new(move |worker, _| deed(worker))));
        let all: Vec<_> = (0..self.ends.len()).map(one).collect();
        all.into_iter().enumerate().for_each(|(w, sent)| self.wait(w, sent));
    }

    fn give(&self, worker: usize, task: Task) {
        self.wait(worker, self.send(worker, task));
    }

    /// What to wait at until it is done.
    fn send(&self, worker: usize, task: Task) -> Result<Receiver<()>, Busy> {
        let (done, waits) = bounded(0);
        if let Some(End { to, waker, .. }) = self.ends.get(worker) {
            match to.send_timeout(Order { task, done }, self.patience) {
                Ok(()) => waker.wake().ok(),
                Err(SendTimeoutError::Timeout(_)) => return Err(Busy),
                // A worker that has ended lays down everything by itself.
                Err(SendTimeoutError::Disconnected(_)) => None,
            };
        }
        Ok(waits)
    }

    /// Until it is done, or whoever should do it has ended.
    fn wait(&self, worker: usize, sent: Result<Receiver<()>, Busy>) {
        let late = sent.map(|done| self.hear(worker, &done));
        if matches!(late, Err(Busy) | Ok(Err(RecvTimeoutError::Timeout))) {
            tracing::error!("a worker has not come to an order for {} s", self.patience.as_secs());
        }
    }

    /// What a worker says of an order; as of one that is dropped, if it has ended.
    fn hear<T>(&self, worker: usize, from: &Receiver<T>) -> Result<T, RecvTimeoutError> {
        let nobody = never::<Infallible>();
        let ended = self.ends.get(worker).map_or(&nobody, |end| &end.ended);
        select! {
            recv(from) -> said => said.map_err(|_| RecvTimeoutError::Disconnected),
            // What it said before that counts.
            recv(ended) -> _ => from.try_recv().map_err(|_| RecvTimeoutError::Disconnected),
            default(self.patience) => Err(RecvTimeoutError::Timeout),
        }
    }
}

/// So many orders wait for a worker that one more finds no room.
struct Busy;

#[cfg(test)]
mod tests {
    use std::thread;

    use mio::Poll;

    use super::*;
    use crate::run::worker::Loop;

    /// A desk with one worker's inbox, that waits for so long.
    fn desk(patience: Duration) -> (Desk, Inbox, Poll) {
        let poll = Poll::new().unwrap();
        let (desk, mut inboxes) = Desk::new(&[Loop::waker(&poll).unwrap()]);
        (Desk { patience, ..desk }, inboxes.remove(0), poll)
    }

    const LINK: LinkId = LinkId(1);
    /// As good as not waiting at all.
    const IMPATIENT: Duration = Duration::from_millis(1);

    #[test]
    fn an_order_that_nobody_came_to_is_an_error_and_is_withdrawn() {
        let (desk, inbox, _poll) = desk(IMPATIENT);
        let late = desk.set_mtu(LINK, 1400);
        assert!(matches!(late, Err(NotSet::Late(_))), "{late:?}");
        // Who comes to it later finds that it is not wanted any more.
        let Task::Mtu(_, _, claim, _) = inbox.next().unwrap().task else { panic!("another order") };
        assert!(!claim.take());
    }

    #[test]
    fn the_way_back_is_not_withdrawn() {
        let (desk, inbox, _poll) = desk(IMPATIENT);
        let late = desk.set_mtu_back(LINK, 1400);
        assert!(matches!(late, Err(NotSet::Later(_))), "{late:?}");
        let Task::Mtu(link, mtu, claim, _) = inbox.next().unwrap().task else { panic!("another order") };
        assert_eq!((link, mtu, claim.take()), (LINK, 1400, true));
        while inbox.orders.len() < CAPACITY {
            desk.look();
        }
        let late = desk.set_mtu_back(LINK, 1400);
        assert!(matches!(late, Err(NotSet::Late(_))), "there is no room for it: {late:?}");
        drop(inbox);
        assert!(desk.set_mtu_back(LINK, 1400).is_ok(), "it has ended");
    }

    #[test]
    fn who_ends_keeps_nobody_waiting_for_what_it_has_not_come_to() {
        let (desk, inbox, _poll) = desk(Duration::from_secs(60));
        thread::scope(|scope| {
            scope.spawn(move || {
                while inbox.is_empty() {
                    thread::yield_now();
                }
                drop(inbox);
            });
            let set = desk.set_mtu(LINK, 1400);
            assert!(set.is_ok(), "{set:?}");
        });
    }

    #[test]
    fn an_order_for_which_there_is_no_room_is_an_error() {
        let (desk, inbox, _poll) = desk(IMPATIENT);
        for _ in 0..CAPACITY {
            desk.look();
        }
        let late = desk.set_mtu(LINK, 1400);
        assert!(matches!(late, Err(NotSet::Late(_))), "{late:?}");
        assert_eq!(inbox.orders.len(), CAPACITY);
    }

    #[test]
    fn one_that_somebody_is_at_and_does_not_end_is_told_as_such() {
        let (desk, inbox, _poll) = desk(Duration::from_millis(200));
        let kept = thread::scope(|scope| {
            let at_it = scope.spawn(|| {
                let order = inbox.orders.recv().unwrap();
                let Task::Mtu(_, _, claim, _) = &order.task else { panic!("another order") };
                claim.take();
                order
            });
            let late = desk.set_mtu(LINK, 1400);
            assert!(matches!(late, Err(NotSet::Undecided(_) | NotSet::Late(_))), "{late:?}");
            at_it.join().unwrap()
        });
        drop(kept);
    }

    #[test]
    fn what_the_device_says_is_told_and_who_has_ended_has_no_device() {
        let (desk, inbox, _poll) = desk(Duration::from_secs(60));
        thread::scope(|scope| {
            scope.spawn(move || {
                for said in [Ok(()), Err(OpenError::NoDevice("gone".into()))] {
                    let Task::Mtu(link, mtu, claim, answer) = inbox.orders.recv().unwrap().task else {
                        return;
                    };
                    assert_eq!((link, mtu, claim.take()), (LINK, 1400, true));
                    answer.send(said).unwrap();
                }
                // One that it ends without having come to.
                drop(inbox.orders.recv());
                drop(inbox);
            });
            assert!(desk.set_mtu(LINK, 1400).is_ok());
            let no = desk.set_mtu(LINK, 1400);
            assert!(matches!(no, Err(NotSet::Device(OpenError::NoDevice(_)))), "{no:?}");
            assert!(desk.set_mtu(LINK, 1400).is_ok(), "it ended meanwhile");
            assert!(desk.set_mtu(LINK, 1400).is_ok(), "it has ended");
        });
    }
}
