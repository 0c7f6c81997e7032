//! Packet links: AF_PACKET sockets on an interface of the kernel.
//!
//! Each worker has a socket; the kernel spreads flows over them by the steering program ([`steer`]), which brings
//! both directions to the same worker, and a flow keeps its socket, so its packets stay in order. Every frame comes with a
//! virtio_net_hdr, that is with the state of its checksum and as the super-frame it was sent as. The kernel's own
//! stack is kept off the interface by a [`Guard`]. Knows nothing of what is in a frame behind the tag.
//!
//! # When the interface goes
//!
//! What belongs to one interface (guard, sockets, fanout group) is an incarnation. The first port that finds
//! another interface under the name makes a new one with the sockets of all ports in it, in the order of the
//! workers, so that the same flow meets the same worker on every link; the others find theirs there.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::net::UnixDatagram;
use std::sync::{Arc, Mutex, MutexGuard};

use super::guard::Guard;
use super::netlink::Netlink;
use super::open::{DeviceSpec, OpenError};
use super::port::{Port, Sent, Status};
use super::slot::Slot;
use super::steer;
use super::sys::{self, Batch, Membership, PacketOption};
use crate::base::Mac;
use crate::link::{Driver, InUse};
use crate::packet::offload::{INVALID, VnetHdr, restore_tag};
use crate::packet::{Caps, Packet, Pool, Steering};

/// One worker's socket on an interface.
pub(super) struct PacketPort {
    shared: Arc<Shared>,
    worker: usize,
    socket: Option<OwnedFd>,
    generation: u64,
    epoch: u32,
    overruns: u64,
    /// How many frames are prepared for: setting up room for those that don't come costs time too.
    expected: usize,
    slots: Vec<Slot>,
    inward: Batch,
    outward: Batch,
    headers: Vec<[u8; VnetHdr::LEN]>,
}

/// What the ports of a link have in common.
struct Shared {
    name: String,
    mac: Option<Mac>,
    caps: Caps,
    receivers: usize,
    workers: usize,
    steering: Steering,
    driver: InUse,
    /// For questions about interfaces: a socket stays in its network namespace, whoever asks.
    questions: UnixDatagram,
    incarnation: Mutex<Incarnation>,
}

/// One interface that had the name.
#[derive(Default)]
struct Incarnation {
    /// Counts from 1; 0 while there was none.
    generation: u64,
    guard: Option<Guard>,
    /// Sockets that their ports have not taken yet.
    sockets: Vec<Option<OwnedFd>>,
    /// Why there is no next one although an interface has the name; said once, not four times a second.
    complaint: Option<String>,
}

/// Opens the ports of a packet link, one for each worker. `fallback` says why another driver was not taken.
pub(super) fn open(
    spec: &DeviceSpec,
    workers: usize,
    fallback: Option<Arc<str>>,
) -> Result<Vec<PacketPort>, OpenError> {
    let name = &spec.device;
    let device = Netlink::open()?.link(name).map_err(|e| match e.is_missing() {
        true => OpenError::NoDevice(name.clone()),
        false => OpenError::Netlink(e),
    })?;
    if !device.ethernet {
        return Err(OpenError::NotEthernet(name.clone()));
    }
    if device.mtu < spec.mtu {
        return Err(OpenError::Mtu { device: name.clone(), has: device.mtu, wants: spec.mtu });
    }
    let failed = |source| OpenError::Device { device: name.clone(), source };
    if let Err(e) = sys::packet_socket() {
        return Err(match e.raw_os_error() {
            Some(libc::EPERM | libc::EACCES) => OpenError::NoRawSockets,
            _ => failed(e),
        });
    }
    let questions = UnixDatagram::unbound().map_err(failed)?;
    let shared = Arc::new(Shared {
        name: name.clone(),
        mac: spec.mac,
        caps: match spec.offload {
            // The kernel finishes in software whatever the device can't, so it takes every kind.
            // UDP super-frames can be told to it since 6.2.
            true => Caps { uso: sys::kernel_version() >= (6, 2), ..Caps::FULL },
            false => Caps::PLAIN,
        },
        receivers: spec.queues.clamp(1, workers.max(1)),
        workers,
        steering: spec.steering,
        driver: InUse { asked: spec.driver, driver: Driver::Socket, fallback },
        questions,
        incarnation: Mutex::default(),
    });
    shared.incarnate(&mut shared.lock(), device.index)?;
    let mut ports: Vec<_> = (0..workers).map(|w| PacketPort::new(shared.clone(), w)).collect();
    for port in &mut ports {
        port.adopt(&mut shared.lock());
        port.epoch = 0;
    }
    Ok(ports)
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Incarnation> {
        self.incarnation.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// Begins with another interface: guard first, then the sockets of all workers. Nothing happens
    /// where that has to wait until the interface is up.
    fn incarnate(&self, incarnation: &mut Incarnation, index: u32) -> Result<(), OpenError> {
        incarnation.sockets.clear();
        incarnation.guard = None;
        let failed = |source| OpenError::Device { device: self.name.clone(), source };
        let guard = Guard::raise(index, &self.name)?;
        // Some drivers answer a request for another address by hearing everything: not asked in vain.
        let own = Netlink::open()?.link_at(index)?.mac;
        let other = self.mac.filter(|mac| own != Some(*mac));
        let mut sockets = Vec::with_capacity(self.workers);
        let (mut group, program) = (None, steer::classic(&self.steering, 0));
        for worker in 0..self.workers {
            let receives = worker < self.receivers;
            let socket = socket(index, receives, other).map_err(failed)?;
            if receives && self.receivers > 1 {
                match join(socket.as_fd(), &mut group, &program) {
                    // Before Linux 6.13 only sockets that receive can form a group.
                    Err(e) if e.raw_os_error() == Some(libc::EINVAL) && self.status() != Status::Up => {
                        return Ok(());
                    }
                    other => other.map_err(failed)?,
                }
            }
            if receives {
                sys::accept_all(socket.as_fd()).map_err(failed)?;
            }
            sockets.push(Some(socket));
        }
        let generation = incarnation.generation + 1;
        *incarnation = Incarnation { generation, guard: Some(guard), sockets, complaint: None };
        Ok(())
    }

    /// The index of the interface that has the name now; `None` if there is none.
    fn index(&self) -> Option<u32> {
        sys::interface_index(self.questions.as_fd(), &self.name).ok()
    }

    fn status(&self) -> Status {
        match sys::interface_flags(self.questions.as_fd(), &self.name) {
            Ok(flags) if flags.running => Status::Up,
            Ok(flags) if flags.up => Status::NoCarrier,
            Ok(_) => Status::Down,
            Err(_) => Status::Gone,
        }
    }
}

/// A socket bound to the interface that refuses every frame as yet: until it is in its group, it would get
/// what belongs to the others. `mac` is an address to hear besides the interface's own.
fn socket(index: u32, receives: bool, mac: Option<Mac>) -> io::Result<OwnedFd> {
    let socket = sys::packet_socket()?;
    let fd = socket.as_fd();
    sys::set_packet_option(fd, PacketOption::VnetHeader)?;
    sys::set_packet_option(fd, PacketOption::QdiscBypass)?;
    sys::set_buffers(fd, BUFFER)?;
    if receives {
        sys::refuse_all(fd)?;
        sys::set_packet_option(fd, PacketOption::AuxData)?;
        // Linux 4.20. Without it the socket sees what the kernel sends, of which the guard lets nothing pass.
        let _ = sys::set_packet_option(fd, PacketOption::IgnoreOutgoing);
        if let Some(mac) = mac {
            sys::add_membership(fd, index, Membership::Unicast(mac))?;
        }
        sys::add_membership(fd, index, Membership::AllMulticast)?;
    }
    sys::bind_packet(fd, index, receives)?;
    Ok(socket)
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

impl PacketPort {
    fn new(shared: Arc<Shared>, worker: usize) -> Self {
        let receives = worker < shared.receivers;
        PacketPort {
            shared,
            worker,
            socket: None,
            generation: 0,
            epoch: 0,
            overruns: 0,
            expected: LEAST,
            slots: Vec::new(),
            inward: Batch::new(if receives { BATCH } else { 0 }),
            outward: Batch::new(BATCH),
            headers: vec![[0; VnetHdr::LEN]; BATCH],
        }
    }

    /// Takes this worker's socket of the incarnation.
    fn adopt(&mut self, incarnation: &mut Incarnation) {
        self.release();
        self.generation = incarnation.generation;
        self.socket = incarnation.sockets.get_mut(self.worker).and_then(Option::take);
        self.epoch += u32::from(self.socket.is_some());
    }

    /// Closes the socket, whose interface is not there any more.
    fn release(&mut self) {
        self.count_overruns();
        if self.socket.take().is_some() {
            self.epoch += 1;
        }
    }

    fn receives(&self) -> bool {
        self.worker < self.shared.receivers
    }

    fn count_overruns(&mut self) {
        if let Some(socket) = self.socket.as_ref().filter(|_| self.receives()) {
            self.overruns += sys::overruns(socket.as_fd()).map_or(0, u64::from);
        }
    }

    /// Whether the socket still hangs on the interface that has the name: an index may be given out
    /// again, and then only the socket knows that its interface is another one.
    fn is_bound_to(&self, index: u32) -> bool {
        let bound = self.socket.as_ref().and_then(|s| sys::bound_interface(s.as_fd()).ok().flatten());
        bound == Some(index)
    }

    /// Makes a packet of the message at a place of the batch.
    fn take(&mut self, at: usize, pool: &mut Pool) -> Option<Packet> {
        let message = self.inward.message(at);
        let slot = &mut self.slots[at];
        let Some(len) = message.len.checked_sub(VnetHdr::LEN).filter(|_| !message.truncated) else {
            self.overruns += 1;
            return None;
        };
        let header = slot.header();
        let mut packet = slot.take(pool, len);
        // The header counts from the start of the frame as it is without the tag.
        packet.meta.offload = VnetHdr::parse(&header, packet.data(), true).unwrap_or(INVALID);
        if let Some(tag) = message.tag {
            restore_tag(&mut packet, tag.protocol, tag.control);
        }
        Some(packet)
    }
}

impl Port for PacketPort {
    fn caps(&self) -> Caps {
        self.shared.caps
    }

    fn receive(&mut self, pool: &mut Pool, out: &mut Vec<Packet>, max: usize) -> usize {
        if self.socket.is_none() || !self.receives() {
            return 0;
        }
        while self.slots.len() < BATCH {
            self.slots.push(Slot::new(pool));
        }
        let (mut count, mut failures) = (0, 0);
        while count < max && failures < BATCH {
            let Some(socket) = &self.socket else { break };
            let want = self.expected.min(max - count);
            match self.inward.receive(socket.as_fd(), self.slots[..want].iter_mut().map(Slot::parts)) {
                Ok(messages) => {
                    self.expected = (messages * 2).clamp(LEAST, BATCH);
                    for at in 0..messages {
                        if let Some(packet) = self.take(at, pool) {
                            out.push(packet);
                            count += 1;
                        }
                    }
                }
                Err(e) => match e.raw_os_error() {
                    Some(libc::EAGAIN) => break,
                    // An old condition, told once: there may be frames behind it.
                    Some(libc::EINTR | libc::ENETDOWN | libc::ENODEV | libc::ENXIO) => failures += 1,
                    // A super-frame of a kind that the header has no word for: the kernel has
                    // thrown it away. There may be more behind it.
                    _ => {
                        failures += 1;
                        self.overruns += 1;
                    }
                },
            }
        }
        count
    }

    fn transmit(&mut self, pool: &mut Pool, queue: &mut VecDeque<Packet>, sent: &mut Sent) {
        let Some(socket) = &self.socket else { return };
        let (caps, mut stale_errors) = (self.shared.caps, 1);
        while let Some(front) = queue.front() {
            if !caps.take(&front.meta.offload) {
                sent.refuse(front);
                queue.pop_front().into_iter().for_each(|p| pool.put(p));
                continue;
            }
            let fit = queue.iter().take(BATCH).take_while(|p| caps.take(&p.meta.offload));
            let mut ready = 0;
            for (header, packet) in self.headers.iter_mut().zip(fit) {
                *header = VnetHdr::of(packet);
                ready += 1;
            }
            let frames = self.headers[..ready].iter().zip(queue.iter());
            match self.outward.send(socket.as_fd(), frames.map(|(h, p)| [&h[..], p.data()])) {
                Ok(count) => {
                    for packet in queue.drain(..count) {
                        sent.count(&packet);
                        pool.put(packet);
                    }
                }
                Err(e) => match e.raw_os_error() {
                    Some(libc::EINTR) => {}
                    // The first may be of a time when it was down, told late.
                    Some(libc::ENETDOWN) if stale_errors > 0 => stale_errors -= 1,
                    // Full, down, or gone: the last two `check` will see.
                    Some(
                        libc::EAGAIN
                        | libc::ENOBUFS
                        | libc::ENOMEM
                        | libc::ENETDOWN
                        | libc::ENXIO
                        | libc::ENODEV,
                    ) => return,
                    _ => {
                        sent.refuse(front);
                        queue.pop_front().into_iter().for_each(|p| pool.put(p));
                    }
                },
            }
        }
    }

    fn check(&mut self) -> Status {
        let shared = self.shared.clone();
        let Some(index) = shared.index() else {
            let mut incarnation = shared.lock();
            if incarnation.generation == self.generation {
                // What it took from the interface goes back, in case that only has another name now.
                incarnation.guard = None;
                incarnation.sockets.clear();
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
                    let complaint = Some(e.to_string());
                    if incarnation.complaint != complaint {
                        tracing::warn!("{e}");
                        incarnation.complaint = complaint;
                    }
                    return Status::Down;
                }
                self.adopt(&mut incarnation);
            }
        }
        shared.status()
    }

    fn steered(&self) -> bool {
        self.shared.receivers >= self.shared.workers
    }

    fn fd(&self) -> Option<RawFd> {
        self.socket.as_ref().filter(|_| self.receives()).map(AsRawFd::as_raw_fd)
    }

    fn epoch(&self) -> u32 {
        self.epoch
    }

    fn driver(&self) -> Option<InUse> {
        Some(self.shared.driver.clone())
    }

    fn overruns(&mut self) -> u64 {
        self.count_overruns();
        self.overruns
    }
}

/// Frames in one call (`UIO_MAXIOV` allows 1,024).
const BATCH: usize = 64;
/// Frames prepared for in quiet times.
const LEAST: usize = 8;
/// Bytes each socket buffer is asked to hold. The kernel doubles it for its own books; 4 MiB take about
/// 10,000 small frames, or 50 super-frames.
const BUFFER: i32 = 4 << 20;
