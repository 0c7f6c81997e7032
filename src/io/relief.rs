//! Ports of AF_XDP that may have to end as packet sockets.
//!
//! To begin with an interface AF_XDP takes CAP_BPF, which a router gives up once everything is open. So where an interface is
//! deleted and comes back, its ports are replaced by those of the next best driver, for all workers of the link alike: the first
//! that is told opens them, each takes its own when it looks next.
//!
//! ```text
//!   worker 0   XDP ──► check: refused ──► opens ──┬──► ring
//!   worker 1   XDP ──────────────► check ─────────┴──► ring
//! ```

use std::collections::VecDeque;
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use super::af_packet::{self, PacketPort};
use super::af_xdp::XdpPort;
use super::open::{DeviceSpec, OpenError};
use super::port::{Port, Sent, Status};
use crate::link::InUse;
use crate::packet::{Caps, Packet, Pool};

/// What the ports of a link share.
struct Relief {
    spec: DeviceSpec,
    /// The link's MTU now.
    mtu: AtomicU32,
    workers: usize,
    /// The next ports, until they are taken; `None` as long as there are none.
    next: Mutex<Option<Vec<Option<PacketPort>>>>,
}

/// One worker's part of a link.
pub(super) struct Relieved {
    relief: Arc<Relief>,
    worker: usize,
    port: Either,
    /// What the port before this one counted.
    epoch: u32,
    overruns: u64,
}

enum Either {
    Xdp(XdpPort),
    Packet(PacketPort),
}

/// The same ports, that will be others if they have to.
pub(super) fn with_relief(ports: Vec<XdpPort>, spec: &DeviceSpec, workers: usize) -> Vec<Relieved> {
    let relief = Arc::new(Relief {
        spec: spec.clone(),
        mtu: AtomicU32::new(spec.mtu),
        workers,
        next: Mutex::new(None),
    });
    let with = |(worker, port)| Relieved {
        relief: relief.clone(),
        worker,
        port: Either::Xdp(port),
        epoch: 0,
        overruns: 0,
    };
    ports.into_iter().enumerate().map(with).collect()
}

impl Relief {
    /// A worker's next port. Opens all of them, if nobody has yet; `None` where they can't be had now.
    fn take(&self, worker: usize, why: &Arc<str>) -> Option<PacketPort> {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        if next.is_none() {
            let spec = DeviceSpec { mtu: self.mtu.load(Relaxed), ..self.spec.clone() };
            match af_packet::open(&spec, self.workers, Some(why.clone())) {
                Ok(ports) => *next = Some(ports.into_iter().map(Some).collect()),
                // The interface may have gone again: the next look tries once more.
                Err(e) => {
                    tracing::debug!("'{}': no packet socket in place of AF_XDP: {e}", self.spec.device);
                    return None;
                }
            }
        }
        next.as_mut()?.get_mut(worker)?.take()
    }
}

impl Relieved {
    fn port(&self) -> &dyn Port {
        match &self.port {
            Either::Xdp(port) => port,
            Either::Packet(port) => port,
        }
    }

    fn port_mut(&mut self) -> &mut dyn Port {
        match &mut self.port {
            Either::Xdp(port) => port,
            Either::Packet(port) => port,
        }
    }
}

impl Port for Relieved {
    fn caps(&self) -> Caps {
        self.port().caps()
    }

    #[inline]
    fn receive(&mut self, pool: &mut Pool, out: &mut Vec<Packet>, max: usize) -> usize {
        match &mut self.port {
            Either::Xdp(port) => port.receive(pool, out, max),
            Either::Packet(port) => port.receive(pool, out, max),
        }
    }

    #[inline]
    fn transmit(&mut self, pool: &mut Pool, queue: &mut VecDeque<Packet>, sent: &mut Sent) {
        match &mut self.port {
            Either::Xdp(port) => port.transmit(pool, queue, sent),
            Either::Packet(port) => port.transmit(pool, queue, sent),
        }
    }

    fn check(&mut self) -> Status {
        let status = self.port_mut().check();
        let Either::Xdp(port) = &self.port else { return status };
        let Some(next) = port.refused().and_then(|why| self.relief.take(self.worker, &why)) else {
            return status;
        };
        self.overruns += self.port_mut().overruns();
        // The next one begins with a descriptor.
        self.epoch += self.port().epoch() + 1;
        self.port = Either::Packet(next);
        self.port_mut().check()
    }

    fn set_mtu(&mut self, mtu: u32) -> Result<(), OpenError> {
        self.port_mut().set_mtu(mtu)?;
        self.relief.mtu.store(mtu, Relaxed);
        Ok(())
    }

    fn shorten(&mut self) {
        self.port_mut().shorten();
    }

    fn fd(&self) -> Option<RawFd> {
        self.port().fd()
    }

    fn epoch(&self) -> u32 {
        self.epoch + self.port().epoch()
    }

    fn waiting(&self) -> Option<bool> {
        self.port().waiting()
    }

    fn driver(&self) -> Option<InUse> {
        self.port().driver()
    }

    fn steered(&self) -> bool {
        self.port().steered()
    }

    fn overruns(&mut self) -> u64 {
        let before = self.overruns;
        before + self.port_mut().overruns()
    }
}
