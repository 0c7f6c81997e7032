//! One worker's port of a packet link.

use std::collections::VecDeque;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::inward::Inward;
use super::line::Line;
use super::outward::Outward;
use super::{Incarnation, Shared};
use crate::io::open::OpenError;
use crate::io::port::{Port, Sent, Status};
use crate::io::sys::{self, RxRing};
use crate::link::InUse;
use crate::packet::{Caps, Packet, Pool};

/// One worker's socket on an interface.
pub(in crate::io) struct PacketPort {
    shared: Arc<Shared>,
    worker: usize,
    line: Option<Line>,
    generation: u64,
    epoch: u32,
    /// Frames that the kernel had no room for.
    overruns: u64,
    inward: Inward,
    outward: Outward,
    /// Whether frames were received since the last check, and how many were lost until then.
    stuck: Stuck,
}

/// The signs of a ring that the kernel does not fill any more.
#[derive(Default)]
struct Stuck {
    received: bool,
    overruns: u64,
}

impl PacketPort {
    /// The port of a worker, with its share of the incarnation that is there.
    pub(super) fn new(shared: Arc<Shared>, worker: usize) -> Self {
        let mut port = PacketPort {
            worker,
            line: None,
            generation: 0,
            epoch: 0,
            overruns: 0,
            inward: Inward::new(worker < shared.receivers),
            outward: Outward::new(shared.caps, shared.mtu.load(Relaxed) as usize),
            stuck: Stuck::default(),
            shared: shared.clone(),
        };
        port.adopt(&mut shared.lock());
        port.epoch = 0;
        port
    }

    /// Takes this worker's share of the incarnation.
    fn adopt(&mut self, incarnation: &mut Incarnation) {
        self.release();
        self.generation = incarnation.generation;
        self.line = incarnation.lines.get_mut(self.worker).and_then(Option::take);
        self.epoch += u32::from(self.line.is_some());
    }

    /// Closes the socket, whose interface is not there any more.
    fn release(&mut self) {
        self.count_overruns();
        if let Some(line) = self.line.take() {
            line.close();
            self.epoch += 1;
        }
    }

    fn receives(&self) -> bool {
        self.worker < self.shared.receivers
    }

    fn count_overruns(&mut self) {
        if let Some(line) = self.line.as_ref().filter(|_| self.receives()) {
            self.overruns += sys::overruns(line.socket()).map_or(0, u64::from);
        }
    }

    /// Whether the socket still hangs on the interface that has the name: an index may be given out
    /// again, and then only the socket knows that its interface is another one.
    fn is_bound_to(&self, index: u32) -> bool {
        let bound = self.line.as_ref().and_then(|l| sys::bound_interface(l.socket()).ok().flatten());
        bound == Some(index)
    }

    /// A super-frame of a kind that the offload header has no word for is thrown away by the kernel, which before that has
    /// marked its slot as being written, and leaves it so: the ring stands still for ever, with all slots free and every
    /// frame lost. Then it has to do without.
    fn look_whether_stuck(&mut self) {
        let received = std::mem::take(&mut self.stuck.received);
        let lost = self.overruns > std::mem::replace(&mut self.stuck.overruns, self.overruns);
        let Some(line) = &mut self.line else { return };
        let waits = line.rx.as_ref().is_none_or(|ring| ring.is_ready());
        if !lost || received || waits {
            return;
        }
        self.shared.refuse_rings(STUCK.to_owned());
        if let Err(e) = line.drop_rings() {
            tracing::warn!("{}: a ring that stands still can't be closed: {e}", self.shared.interface.name);
        }
    }
}

impl Port for PacketPort {
    fn caps(&self) -> Caps {
        self.shared.caps
    }

    fn receive(&mut self, pool: &mut Pool, out: &mut Vec<Packet>, max: usize) -> usize {
        let receives = self.receives();
        let Some(line) = self.line.as_mut().filter(|_| receives) else { return 0 };
        let count = self.inward.receive(line, pool, out, max);
        self.stuck.received |= count > 0;
        count
    }

    fn transmit(&mut self, pool: &mut Pool, queue: &mut VecDeque<Packet>, sent: &mut Sent) {
        if let Some(line) = &mut self.line {
            let (socket, slots) = line.outward();
            self.outward.transmit(socket, slots, pool, queue, sent);
        }
    }

    fn check(&mut self) -> Status {
        let shared = self.shared.clone();
        let Some(index) = shared.interface.index() else {
            let mut incarnation = shared.lock();
            if incarnation.generation == self.generation {
                // What it took from the interface goes back, in case that only has another name now.
                incarnation.gro = None;
                incarnation.guard = None;
                incarnation.lines.clear();
            }
            drop(incarnation);
            self.release();
            return Status::Gone;
        };
        if !self.is_bound_to(index) {
            let mut incarnation = shared.lock();
            if incarnation.generation != self.generation {
                self.adopt(&mut incarnation);
            }
            if !self.is_bound_to(index) {
                self.release();
                if let Err(e) = shared.incarnate(&mut incarnation, index) {
                    incarnation.complaint.say(&e);
                    return Status::Down;
                }
                self.adopt(&mut incarnation);
            }
        }
        if let Some(line) = self.line.as_ref().filter(|l| l.rx.is_some()) {
            // Told by the socket when it was down; nobody reads it where frames come in slots.
            sys::take_error(line.socket());
        }
        self.count_overruns();
        self.look_whether_stuck();
        self.outward.set_mtu(shared.mtu());
        shared.interface.status()
    }

    fn set_mtu(&mut self, mtu: u32) -> Result<(), OpenError> {
        // The slots are as long for every link, and what is longer has its own way; each port looks at this when it checks.
        self.shared.interface.bears(mtu)?;
        self.shared.mtu.store(mtu, Relaxed);
        Ok(())
    }

    fn fd(&self) -> Option<RawFd> {
        self.line.as_ref().filter(|_| self.receives()).map(|l| l.socket().as_raw_fd())
    }

    fn epoch(&self) -> u32 {
        self.epoch
    }

    fn waiting(&self) -> Option<bool> {
        self.line.as_ref()?.rx.as_ref().map(RxRing::is_ready)
    }

    fn steered(&self) -> bool {
        self.shared.receivers >= self.shared.workers
    }

    fn driver(&self) -> Option<InUse> {
        let rings = match &self.line {
            Some(line) => line.has_rings(),
            // While there is no interface: what it would be.
            None => self.shared.rings_wanted(),
        };
        Some(self.shared.driver(rings))
    }

    fn overruns(&mut self) -> u64 {
        self.count_overruns();
        self.overruns + self.inward.lost
    }
}

const STUCK: &str = "a super-frame of a kind that has no word in the offload header came, and the kernel's ring stopped at it";
