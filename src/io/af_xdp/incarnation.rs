//! What the ports of a link have in common: the interface, the program on it, and a socket for each queue.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard};

use super::super::bpf::{Link, XdpMode};
use super::super::complaint::Complaint;
use super::super::guard::Guard;
use super::super::named::Named;
use super::super::netlink::{Device, Netlink};
use super::super::open::OpenError;
use super::super::sys::{self, Membership, PacketOption, XdpLayout, XdpSocket};
use super::program::Redirect;
use super::{XdpError, layout};
use crate::base::Mac;
use crate::link::Driver;
use crate::packet::Caps;

/// What the ports of a link have in common.
pub(super) struct Shared {
    pub(super) interface: Named,
    pub(super) mac: Option<Mac>,
    pub(super) offload: bool,
    pub(super) asked: Driver,
    pub(super) receivers: usize,
    pub(super) workers: usize,
    pub(super) incarnation: Mutex<Incarnation>,
}

/// One interface that had the name.
#[derive(Default)]
pub(super) struct Incarnation {
    /// Counts from 1; 0 while there was none.
    pub(super) generation: u64,
    /// Whether it is over: ports let go of what they have of it, and only then can there be a next.
    pub(super) over: bool,
    /// What was taken from the interface; the program first, so that nothing is given to closed sockets.
    hold: Option<(Link, Guard)>,
    /// What the ports have not taken yet.
    shares: Vec<Option<Share>>,
    /// Why there will never be a next one: the process may not load programs any more.
    pub(super) refused: Option<Arc<str>>,
    /// Why there is no next one although an interface has the name.
    pub(super) complaint: Complaint,
}

/// What a worker has of an incarnation.
pub(super) struct Share {
    /// A packet socket that receives nothing, and knows when its interface is gone. It holds the memberships.
    pub(super) anchor: OwnedFd,
    /// The sockets on the worker's queues; none for a worker that only sends.
    pub(super) sockets: Vec<XdpSocket>,
    /// What becomes readable when one of several sockets does.
    pub(super) waiter: Option<OwnedFd>,
    pub(super) caps: Caps,
    /// Whether senders may have left checksums to the hardware.
    pub(super) unfinished: bool,
}

impl Shared {
    pub(super) fn lock(&self) -> MutexGuard<'_, Incarnation> {
        self.incarnation.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// Begins with another interface.
    pub(super) fn incarnate(&self, incarnation: &mut Incarnation, index: u32) -> Result<(), OpenError> {
        incarnation.end();
        let device = Netlink::open()?.link_at(index)?;
        let guard = Guard::raise(index, &self.interface.name)?;
        let queues = self.interface.receive_queues();
        let redirect = Redirect::new(index, queues).map_err(|e| self.program(e))?;
        // Hardware hands over what was on a wire; a virtual device what a host left to it.
        let unfinished = device.kind.is_some();
        if unfinished && !redirect.tags {
            return Err(XdpError::NoTags.into());
        }
        let mut shares = Vec::with_capacity(self.workers);
        for worker in 0..self.workers {
            let mut sockets = Vec::new();
            let mut caps = self.caps();
            if worker < self.receivers {
                for queue in (worker as u32..queues).step_by(self.receivers) {
                    let (socket, layout) = self.socket(&device, queue)?;
                    caps = Caps { csum: caps.csum && layout.checksums, ..Caps::PLAIN };
                    redirect.lead(queue, &socket).map_err(|e| self.program(e))?;
                    sockets.push(socket);
                }
            }
            let failed = |source| OpenError::Device { device: self.interface.name.clone(), source };
            let other = self.mac.filter(|mac| worker == 0 && device.mac != Some(*mac));
            let anchor = anchor(index, worker == 0, other).map_err(failed)?;
            let waiter =
                if sockets.len() > 1 { Some(sys::wait_for_any(&sockets).map_err(failed)?) } else { None };
            shares.push(Some(Share { anchor, sockets, waiter, caps, unfinished }));
        }
        let link = redirect.attach(index, XdpMode::Native).map_err(|e| match e.errno() {
            Some(libc::EBUSY | libc::EEXIST) => XdpError::Taken(self.interface.name.clone()),
            Some(libc::EOPNOTSUPP) => XdpError::NoNativeMode(self.interface.name.clone()),
            Some(libc::ERANGE) => XdpError::PeerMtu(self.interface.name.clone()),
            Some(libc::ENOSPC) => XdpError::PeerQueues(self.interface.name.clone()),
            _ => self.program(e),
        })?;
        *incarnation = Incarnation {
            generation: incarnation.generation + 1,
            over: false,
            hold: Some((link, guard)),
            shares,
            refused: None,
            complaint: Complaint::default(),
        };
        Ok(())
    }

    /// What the packet socket of a worker without a queue takes.
    fn caps(&self) -> Caps {
        match self.offload {
            // As in `af_packet`.
            true => Caps { uso: sys::kernel_version() >= (6, 2), ..Caps::FULL },
            false => Caps::PLAIN,
        }
    }

    fn socket(&self, device: &Device, queue: u32) -> Result<(XdpSocket, XdpLayout), XdpError> {
        let mut layout = layout(device, self.offload);
        loop {
            match XdpSocket::open(device.index, queue, layout) {
                Ok(socket) => return Ok((socket, layout)),
                // Before Linux 6.8.
                Err(e) if e.raw_os_error() == Some(libc::EINVAL) && layout.checksums => {
                    layout.checksums = false;
                }
                Err(source) => {
                    let device = self.interface.name.clone();
                    let kilobytes =
                        layout.frame as usize * (layout.receive + layout.transmit) as usize / 1_024;
                    return Err(match source.raw_os_error() {
                        Some(libc::EAFNOSUPPORT) => XdpError::NoSockets,
                        Some(libc::ENOBUFS) => XdpError::Memory { device, kilobytes },
                        Some(libc::EBUSY) => XdpError::QueueTaken { device, queue },
                        _ => XdpError::Socket { device, queue, source },
                    });
                }
            }
        }
    }

    fn program(&self, e: super::super::bpf::BpfError) -> XdpError {
        XdpError::Program { device: self.interface.name.clone(), source: Box::new(e) }
    }
}

impl Incarnation {
    /// What was taken from the interface goes back, in case that only has another name now.
    pub(super) fn end(&mut self) {
        self.over = true;
        self.hold = None;
        self.shares.clear();
    }

    /// A worker's share, once.
    pub(super) fn take(&mut self, worker: usize) -> Option<Share> {
        self.shares.get_mut(worker).and_then(Option::take)
    }
}

/// A packet socket bound to the interface that receives nothing. `mac` is an address to hear besides the interface's own.
fn anchor(index: u32, first: bool, mac: Option<Mac>) -> io::Result<OwnedFd> {
    let socket = sys::packet_socket()?;
    let fd = socket.as_fd();
    sys::set_packet_option(fd, PacketOption::VnetHeader)?;
    sys::set_packet_option(fd, PacketOption::QdiscBypass)?;
    if let Some(mac) = mac {
        sys::add_membership(fd, index, Membership::Unicast(mac))?;
    }
    if first {
        sys::add_membership(fd, index, Membership::AllMulticast)?;
    }
    sys::bind_packet(fd, index, false)?;
    Ok(socket)
}
