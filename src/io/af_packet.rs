//! Packet links: AF_PACKET sockets on an interface of the kernel.
//!
//! Each worker has a socket; the kernel spreads flows over them by the steering program ([`steer`]), which brings
//! both directions to the same worker, and a flow keeps its socket, so its packets stay in order. Every frame comes with a
//! virtio_net_hdr, that is with the state of its checksum and as the super-frame it was sent as. The kernel's own
//! stack is kept off the interface by a [`Guard`]. Knows nothing of what is in a frame behind the tag.
//!
//! Frames pass through rings ([`line`](mod@line)) where the kernel gives us some, else in batches of system calls.
//!
//! # When the interface goes
//!
//! What belongs to one interface (guard, sockets, fanout group) is an incarnation. The first port that finds
//! another interface under the name makes a new one with the sockets of all ports in it, in the order of the
//! workers, so that the same flow meets the same worker on every link; the others find theirs there.

mod gro;
mod inward;
mod line;
mod outward;
mod port;

use std::io;
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::{self, Builder, ScopedJoinHandle};

use super::complaint::Complaint;
use super::guard::Guard;
use super::named::Named;
use super::netlink::Netlink;
use super::open::{DeviceSpec, OpenError};
use super::port::Status;
use super::steer;
use super::sys;
use crate::base::Mac;
use crate::link::{Driver, InUse};
use crate::packet::{Caps, Steering};
use gro::Gro;
use line::{Line, LineError};
pub(super) use outward::Outward;
pub(super) use port::PacketPort;

/// What the ports of a link have in common.
struct Shared {
    interface: Named,
    mac: Option<Mac>,
    /// The longest L3 packet of the link.
    mtu: AtomicU32,
    caps: Caps,
    receivers: usize,
    workers: usize,
    asked: Driver,
    /// Why a better driver than rings was not taken.
    better: Option<Arc<str>>,
    /// Why there are no rings, once there was a reason.
    no_rings: Mutex<Option<Arc<str>>>,
    steering: Steering,
    incarnation: Mutex<Incarnation>,
}

/// One interface that had the name.
#[derive(Default)]
struct Incarnation {
    /// Counts from 1; 0 while there was none.
    generation: u64,
    guard: Option<Guard>,
    gro: Option<Gro>,
    /// What their ports have not taken yet.
    lines: Vec<Option<Line>>,
    /// Why there is no next one although an interface has the name.
    complaint: Complaint,
}

/// Opens the ports of a packet link, one for each worker. `better` says why a better driver was not taken.
pub(super) fn open(
    spec: &DeviceSpec,
    workers: usize,
    better: Option<Arc<str>>,
) -> Result<Vec<PacketPort>, OpenError> {
    let (interface, device) = Named::find(spec)?;
    let shared = Arc::new(Shared {
        interface,
        mac: spec.mac,
        mtu: AtomicU32::new(spec.mtu),
        caps: match spec.offload {
            // The kernel finishes in software whatever the device can't, so it takes every kind.
            // UDP super-frames can be told to it since 6.2.
            true => Caps { uso: sys::kernel_version() >= (6, 2), ..Caps::FULL },
            false => Caps::PLAIN,
        },
        receivers: spec.queues.clamp(1, workers.max(1)),
        workers,
        asked: spec.driver,
        better,
        no_rings: Mutex::default(),
        steering: spec.steering,
        incarnation: Mutex::default(),
    });
    shared.incarnate(&mut shared.lock(), device.index)?;
    Ok((0..workers).map(|w| PacketPort::new(shared.clone(), w)).collect())
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Incarnation> {
        self.incarnation.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// Begins with another interface: guard first, then the sockets of all workers. Nothing happens
    /// where that has to wait until the interface is up.
    fn incarnate(&self, incarnation: &mut Incarnation, index: u32) -> Result<(), OpenError> {
        incarnation.lines.clear();
        incarnation.gro = None;
        incarnation.guard = None;
        let failed = |source| OpenError::Device { device: self.interface.name.clone(), source };
        let guard = Guard::raise(index, &self.interface.name)?;
        // Some drivers answer a request for another address by hearing everything: not asked in vain.
        let own = Netlink::open()?.link_at(index)?.mac;
        let other = self.mac.filter(|mac| own != Some(*mac));
        let lines = match self.lines(index, other, self.rings_wanted()) {
            Err(LineError::NoRings(e)) => {
                self.refuse_rings(format!("the kernel refuses rings of {}: {e}", line::memory()));
                self.lines(index, other, false)
            }
            result => result,
        };
        let Some(lines) = lines.map_err(|e| failed(e.into()))? else { return Ok(()) };
        let gro = if self.caps.tso4 { Gro::on(index, &self.interface.name) } else { None };
        let generation = incarnation.generation + 1;
        *incarnation =
            Incarnation { generation, guard: Some(guard), gro, lines, complaint: Complaint::default() };
        Ok(())
    }

    /// The lines of all workers; `None` if that has to wait.
    fn lines(
        &self,
        index: u32,
        mac: Option<Mac>,
        rings: bool,
    ) -> Result<Option<Vec<Option<Line>>>, LineError> {
        let new = |worker, socket| Line::new(socket, index, worker < self.receivers, mac, rings);
        // One after the other: in the order in which they were made, the kernel puts the sockets of an interface that was
        // down back into their group, and the place there is the worker's number.
        let sockets = (0..self.workers).map(|_| line::sender()).collect::<io::Result<Vec<_>>>()?;
        // All at once: each waits for the kernel.
        let made: Vec<Result<Line, LineError>> = thread::scope(|scope| {
            let begin = |(worker, socket)| Builder::new().spawn_scoped(scope, move || new(worker, socket));
            let threads: Vec<_> = sockets.into_iter().enumerate().map(begin).collect();
            let end = |t: io::Result<ScopedJoinHandle<'_, _>>| {
                t?.join().unwrap_or_else(|_| Err(LineError::panicked()))
            };
            threads.into_iter().map(end).collect()
        });
        let mut lines = Vec::with_capacity(self.workers);
        let (mut group, program) = (None, steer::classic(&self.steering, 0));
        for (worker, line) in made.into_iter().enumerate() {
            let line = line?;
            let receives = worker < self.receivers;
            if receives && self.receivers > 1 {
                match join(line.socket(), &mut group, &program) {
                    // Before Linux 6.13 only sockets that receive can form a group.
                    Err(e)
                        if e.raw_os_error() == Some(libc::EINVAL)
                            && self.interface.status() != Status::Up =>
                    {
                        return Ok(None);
                    }
                    other => other?,
                }
            }
            if receives {
                sys::accept_all(line.socket())?;
            }
            lines.push(Some(line));
        }
        Ok(Some(lines))
    }

    fn rings_wanted(&self) -> bool {
        self.asked != Driver::Socket && self.no_rings.lock().is_ok_and(|why| why.is_none())
    }

    /// Does without rings from now on.
    fn refuse_rings(&self, why: String) {
        *self.no_rings.lock().unwrap_or_else(|e| e.into_inner()) = Some(why.into());
    }

    /// What moves the frames.
    fn driver(&self, rings: bool) -> InUse {
        let driver = if rings { Driver::Ring } else { Driver::Socket };
        let no_rings = self.no_rings.lock().unwrap_or_else(|e| e.into_inner()).clone();
        let fallback = match (self.better.clone(), no_rings.filter(|_| !rings)) {
            (Some(better), Some(no_rings)) => Some(format!("{better}; {no_rings}").into()),
            (one, other) => one.or(other),
        };
        InUse { asked: self.asked, driver, fallback }
    }

    /// The longest L3 packet that the interface surely takes: whoever set up the link may have changed it since.
    fn mtu(&self) -> usize {
        self.interface.mtu().min(self.mtu.load(Relaxed) as usize)
    }
}

/// Puts a socket into the fanout group, which the first one makes.
fn join(socket: BorrowedFd<'_>, group: &mut Option<u16>, program: &[libc::sock_filter]) -> io::Result<()> {
    match *group {
        Some(id) => sys::fanout_join(socket, id),
        None => {
            *group = Some(sys::fanout_create(socket, program)?);
            Ok(())
        }
    }
}
