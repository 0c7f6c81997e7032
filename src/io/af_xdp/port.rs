//! One worker's part of a link.

use std::collections::VecDeque;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::sync::Arc;

use super::super::af_packet::Outward;
use super::super::open::OpenError;
use super::super::port::{Port, Sent, Status, takes};
use super::super::sys::{self, Pushed, XdpSocket};
use super::incarnation::{Incarnation, Share, Shared};
use super::unfinished;
use crate::link::{Driver, InUse};
use crate::packet::offload::finish_checksum;
use crate::packet::{Caps, Csum, MAX_L3, Packet, Pool};
use crate::wire::proto;

/// One worker's queues of an interface.
pub(in super::super) struct XdpPort {
    shared: Arc<Shared>,
    worker: usize,
    share: Option<Share>,
    /// For a worker without a queue: through the packet socket.
    outward: Option<Outward>,
    /// Of a packet in several pieces, those that have come.
    begun: Option<Packet>,
    generation: u64,
    epoch: u32,
    /// Whether the interface was up when it was looked at last.
    up: bool,
    mtu: usize,
    /// Of the sockets before this one.
    lost_before: u64,
    /// Packets of this socket that no packet of ours can hold.
    too_long: u64,
}

impl XdpPort {
    pub(super) fn new(shared: Arc<Shared>, worker: usize) -> Self {
        XdpPort {
            shared,
            worker,
            share: None,
            outward: None,
            begun: None,
            generation: 0,
            epoch: 0,
            up: false,
            mtu: 0,
            lost_before: 0,
            too_long: 0,
        }
    }

    /// Takes this worker's share of the first incarnation.
    pub(super) fn begin(&mut self) {
        let shared = self.shared.clone();
        self.adopt(&mut shared.lock());
        self.epoch = 0;
        self.look();
    }

    /// Takes this worker's share of the incarnation.
    fn adopt(&mut self, incarnation: &mut Incarnation) {
        self.release();
        self.generation = incarnation.generation;
        self.share = incarnation.take(self.worker);
        self.epoch += u32::from(self.share.is_some());
        if let Some(share) = self.share.as_ref().filter(|s| s.sockets.is_empty()) {
            // There are no slots, so that it need not know how much the interface takes.
            self.outward.get_or_insert_with(|| Outward::new(share.caps, 0));
        }
    }

    /// Closes the sockets, whose interface is not there any more.
    fn release(&mut self) {
        self.lost_before += self.lost();
        self.begun = None;
        self.up = false;
        if self.share.take().is_some() {
            self.epoch += 1;
        }
    }

    /// Frames that the sockets at hand lost.
    fn lost(&self) -> u64 {
        let sockets = self.share.iter().flat_map(|s| &s.sockets);
        sockets.map(|s| s.lost().unwrap_or(0)).sum()
    }

    /// Whether the share still hangs on the interface that has the name: an index may be given out again, and then
    /// only a socket knows that its interface is another one.
    fn is_bound_to(&self, index: u32) -> bool {
        let bound = self.share.as_ref().and_then(|s| sys::bound_interface(s.anchor.as_fd()).ok().flatten());
        bound == Some(index)
    }

    /// Why AF_XDP can't be had on the interface any more, if it can't.
    pub(in super::super) fn refused(&self) -> Option<Arc<str>> {
        self.share.is_none().then(|| self.shared.lock().refused.clone())?
    }

    /// Learns the interface's condition; sends what waits for it.
    fn look(&mut self) -> Status {
        let status = self.shared.interface.status();
        self.up = status == Status::Up;
        self.mtu = self.shared.interface.mtu();
        if self.up {
            for socket in self.share.iter_mut().flat_map(|s| &mut s.sockets) {
                let _ = socket.submit();
            }
        }
        status
    }
}

impl Port for XdpPort {
    fn set_mtu(&mut self, mtu: u32) -> Result<(), OpenError> {
        // Frames are as long as the interface's own MTU asks for.
        self.shared.interface.bears(mtu)
    }

    fn caps(&self) -> Caps {
        self.share.as_ref().map_or(Caps::PLAIN, |s| s.caps)
    }

    fn receive(&mut self, pool: &mut Pool, out: &mut Vec<Packet>, max: usize) -> usize {
        let Some(share) = self.share.as_mut() else { return 0 };
        let (begun, too_long, unfinished) = (&mut self.begun, &mut self.too_long, share.unfinished);
        let before = out.len();
        for socket in &mut share.sockets {
            if socket.waiting() > 0 && self.up {
                // The device was full before.
                let _ = socket.submit();
            }
            loop {
                let room = max - (out.len() - before);
                let pieces = socket.receive(room, |bytes, more| {
                    let mut packet = match begun.take() {
                        None if more => pool.large(),
                        None => pool.sized(bytes.len()),
                        Some(packet) => packet,
                    };
                    // What does not fit is lost as a whole: from here on the packet stays full.
                    if !packet.append(bytes) {
                        let rest = packet.tailroom();
                        packet.grew(rest);
                    }
                    if more {
                        *begun = Some(packet);
                    } else if packet.len() > LONGEST {
                        *too_long += 1;
                        pool.put(packet);
                    } else {
                        if unfinished {
                            packet.meta.offload.csum = unfinished::state(packet.data());
                        }
                        out.push(packet);
                    }
                });
                if pieces < room || pieces == 0 {
                    break;
                }
            }
        }
        out.len() - before
    }

    fn transmit(&mut self, pool: &mut Pool, queue: &mut VecDeque<Packet>, sent: &mut Sent) {
        let Some(share) = self.share.as_mut().filter(|_| self.up) else { return };
        if let (Some(outward), []) = (&mut self.outward, &share.sockets[..]) {
            return outward.transmit(share.anchor.as_fd(), None, pool, queue, sent);
        }
        let Some(socket) = share.sockets.first_mut() else { return };
        let mut full = false;
        while let Some(packet) = queue.front_mut() {
            match push(socket, packet, share.caps, self.mtu) {
                Pushed::Taken => sent.count(packet),
                Pushed::TooLong => sent.refuse(packet),
                // What is sent at once makes room.
                Pushed::Full if !full && socket.submit().is_ok() && socket.waiting() == 0 => {
                    full = true;
                    continue;
                }
                Pushed::Full => break,
            }
            full = false;
            queue.pop_front().into_iter().for_each(|p| pool.put(p));
        }
        if let Err(e) = socket.submit()
            && matches!(e.raw_os_error(), Some(libc::ENETDOWN | libc::ENXIO))
        {
            // What is in the ring is lost to us, as in any device's; the rest stays until `check` says that it is up.
            self.up = false;
        }
    }

    fn check(&mut self) -> Status {
        let shared = self.shared.clone();
        let index = shared.interface.index();
        let mut incarnation = shared.lock();
        let mine = incarnation.generation == self.generation;
        let bound = index.is_some_and(|index| self.is_bound_to(index)) && !(mine && incarnation.over);
        let Some(index) = index.filter(|_| bound || self.share.is_none()) else {
            // Also where there is another of the name already: who was on the link that went has to be forgotten.
            if mine {
                incarnation.end();
            }
            drop(incarnation);
            self.release();
            return Status::Gone;
        };
        if !bound {
            if incarnation.refused.is_some() {
                return Status::Down;
            }
            if mine && let Err(e) = shared.incarnate(&mut incarnation, index) {
                if e.is_forbidden() {
                    // Others take over, and say why.
                    incarnation.refused = Some(e.to_string().into());
                    return Status::Down;
                }
                incarnation.complaint.say(&e);
                return Status::Down;
            }
            self.adopt(&mut incarnation);
            if !self.is_bound_to(index) {
                // It went again meanwhile.
                drop(incarnation);
                return Status::Down;
            }
        }
        drop(incarnation);
        self.look()
    }

    fn fd(&self) -> Option<RawFd> {
        let share = self.share.as_ref()?;
        match &share.waiter {
            Some(waiter) => Some(waiter.as_raw_fd()),
            None => share.sockets.first().map(|s| s.as_fd().as_raw_fd()),
        }
    }

    fn epoch(&self) -> u32 {
        self.epoch
    }

    fn driver(&self) -> Option<InUse> {
        Some(InUse { asked: self.shared.asked, driver: Driver::Xdp, fallback: None })
    }

    fn overruns(&mut self) -> u64 {
        self.lost_before + self.lost() + self.too_long
    }
}

/// Puts a packet into the ring, if the device takes such packets.
#[inline]
fn push(socket: &mut XdpSocket, packet: &mut Packet, caps: Caps, mtu: usize) -> Pushed {
    // The kernel can't be told that a checksum is no sum.
    let is_sum = packet.meta.proto != proto::SCTP;
    if !takes(packet, caps, mtu) || !is_sum && !finish_checksum(packet) {
        return Pushed::TooLong;
    }
    let checksum = match packet.meta.offload.csum {
        Csum::Partial { start, field } => Some((packet.meta.l3.saturating_add(start), field)),
        Csum::Wire | Csum::Verified => None,
    };
    socket.push(packet.data(), checksum)
}

/// The longest frame: two tags, and what IP can say.
const LONGEST: usize = 22 + MAX_L3;
