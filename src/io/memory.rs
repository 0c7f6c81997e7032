//! The in-memory twin of a device: two ends, each a port, with bounded queues between.
//!
//! It keeps to the contract as the devices of the kernel do, refusals, backpressure and the loss of the
//! interface included, so that whatever drives ports can be tested with no kernel at all. Frames cross with their
//! offload state. Knows nothing of the path.
//!
//! ```text
//!  end ── transmit ──► queue (bounded) ──► receive ── end
//!      ◄── receive ─── queue (bounded) ◄── transmit ──
//! ```

use std::collections::VecDeque;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard};

use super::port::{Port, Sent, Status, takes};
use super::sys;
use crate::packet::{Caps, Offload, Packet, Pool};

/// What a pair of ends is like.
#[derive(Debug, Clone, Copy)]
pub struct Config {
    /// What the device takes from its sender. Frames that ask for more are refused.
    pub caps: Caps,
    /// The longest L3 packet, in bytes, of frames that are not super-frames.
    pub mtu: usize,
    /// Frames that wait in each direction; a full queue pushes back on its sender.
    pub capacity: usize,
}

impl Default for Config {
    /// An Ethernet device with every offload, an MTU of 1,500 bytes and room for 1,024 frames.
    fn default() -> Self {
        Config { caps: Caps::FULL, mtu: 1_500, capacity: 1_024 }
    }
}

/// Makes both ends and the switch that is the administrator of the interface between.
pub fn pair(config: Config) -> (MemoryPort, MemoryPort, Switch) {
    let wire = Arc::new(Wire {
        config,
        status: AtomicUsize::new(Status::Up as usize),
        births: AtomicU64::new(0),
        lanes: [Lane::default(), Lane::default()],
    });
    (MemoryPort::new(&wire, 0), MemoryPort::new(&wire, 1), Switch(wire))
}

/// Takes the interface up, down and away.
#[derive(Debug, Clone)]
pub struct Switch(Arc<Wire>);

impl Switch {
    /// Changes the condition of the interface. What waited is lost when it goes down or away; after
    /// `Gone`, all others make a new interface of the same name.
    pub fn set(&self, status: Status) {
        let was = self.0.status.swap(status as usize, Relaxed);
        if was == Status::Gone as usize && status != Status::Gone {
            self.0.births.fetch_add(1, Relaxed);
        }
        if status != Status::Up {
            self.0.lanes.iter().for_each(|lane| lane.lock().clear());
        }
    }

    /// Loses the next `count` frames on their way to the second end, as an overrun does.
    pub fn overrun(&self, count: usize) {
        let lane = &self.0.lanes[1];
        let mut queue = lane.lock();
        let lost = count.min(queue.len());
        queue.drain(..lost);
        lane.overruns.fetch_add(lost as u64, Relaxed);
    }
}

/// One end.
#[derive(Debug)]
pub struct MemoryPort {
    wire: Arc<Wire>,
    /// The lane this end receives from; the other one is transmitted to.
    lane: usize,
    event: Option<Arc<OwnedFd>>,
    birth: u64,
    epoch: u32,
}

#[derive(Debug)]
struct Wire {
    config: Config,
    status: AtomicUsize,
    /// How often the interface was made anew.
    births: AtomicU64,
    /// By the end that receives.
    lanes: [Lane; 2],
}

#[derive(Debug, Default)]
struct Lane {
    queue: Mutex<VecDeque<(Vec<u8>, Offload)>>,
    /// The receiver's descriptor, to wake it.
    wake: Mutex<Option<Arc<OwnedFd>>>,
    overruns: AtomicU64,
}

impl Wire {
    fn status(&self) -> Status {
        [Status::Up, Status::NoCarrier, Status::Down, Status::Gone]
            .into_iter()
            .find(|s| *s as usize == self.status.load(Relaxed))
            .unwrap_or(Status::Gone)
    }
}

impl Lane {
    fn lock(&self) -> MutexGuard<'_, VecDeque<(Vec<u8>, Offload)>> {
        self.queue.lock().unwrap_or_else(|e| e.into_inner())
    }
}

impl MemoryPort {
    fn new(wire: &Arc<Wire>, lane: usize) -> Self {
        let mut port = MemoryPort { wire: wire.clone(), lane, event: None, birth: 0, epoch: 0 };
        port.open();
        port
    }

    fn open(&mut self) {
        self.birth = self.wire.births.load(Relaxed);
        self.set_event(sys::event().ok().map(Arc::new));
    }

    fn set_event(&mut self, event: Option<Arc<OwnedFd>>) {
        let mut wake = self.wire.lanes[self.lane].wake.lock().unwrap_or_else(|e| e.into_inner());
        wake.clone_from(&event);
        self.event = event;
    }

    /// Whether the interface this end has open is the one that is there, and up.
    fn carries(&self) -> bool {
        self.event.is_some()
            && self.wire.status() == Status::Up
            && self.birth == self.wire.births.load(Relaxed)
    }
}

impl Port for MemoryPort {
    fn caps(&self) -> Caps {
        self.wire.config.caps
    }

    fn receive(&mut self, pool: &mut Pool, out: &mut Vec<Packet>, max: usize) -> usize {
        if !self.carries() {
            return 0;
        }
        let mut queue = self.wire.lanes[self.lane].lock();
        let count = max.min(queue.len());
        for (bytes, offload) in queue.drain(..count) {
            let mut packet = pool.sized(bytes.len());
            packet.append(&bytes);
            packet.meta.offload = offload;
            out.push(packet);
        }
        count
    }

    fn transmit(&mut self, pool: &mut Pool, queue: &mut VecDeque<Packet>, sent: &mut Sent) {
        if !self.carries() {
            return;
        }
        let lane = &self.wire.lanes[1 - self.lane];
        let mut there = lane.lock();
        let was_empty = there.is_empty();
        while let Some(packet) = queue.front() {
            if !takes(packet, self.wire.config.caps, self.wire.config.mtu) {
                sent.refuse(packet);
            } else if there.len() < self.wire.config.capacity {
                sent.count(packet);
                there.push_back((packet.data().to_vec(), packet.meta.offload));
            } else {
                break;
            }
            queue.pop_front().into_iter().for_each(|p| pool.put(p));
        }
        if was_empty && !there.is_empty() {
            let wake = lane.wake.lock().unwrap_or_else(|e| e.into_inner());
            if let Some(event) = wake.as_ref() {
                sys::signal(event);
            }
        }
    }

    fn check(&mut self) -> Status {
        let status = self.wire.status();
        let stale = self.event.is_some() && self.birth != self.wire.births.load(Relaxed);
        if self.event.is_some() && (status == Status::Gone || stale) {
            self.set_event(None);
            self.epoch += 1;
        }
        if self.event.is_none() && status != Status::Gone {
            self.open();
            self.epoch += 1;
        }
        status
    }

    fn fd(&self) -> Option<RawFd> {
        self.event.as_ref().map(|e| e.as_raw_fd())
    }

    fn epoch(&self) -> u32 {
        self.epoch
    }

    fn overruns(&mut self) -> u64 {
        self.wire.lanes[self.lane].overruns.load(Relaxed)
    }
}
