//! Packets into a packet socket: through slots if there are any, in batches what does not go through them.

use std::collections::VecDeque;
use std::io;
use std::os::fd::BorrowedFd;

use super::inward::BATCH;
use crate::io::port::Sent;
use crate::io::sys::{Batch, TxRing};
use crate::packet::offload::VnetHdr;
use crate::packet::{Caps, Packet, Pool};

/// What sending takes.
pub(in crate::io) struct Outward {
    batch: Batch,
    headers: Vec<[u8; VnetHdr::LEN]>,
    caps: Caps,
    /// The longest frame that goes through a slot.
    longest: usize,
}

impl Outward {
    /// For an interface that takes L3 packets of `mtu` bytes.
    pub(in crate::io) fn new(caps: Caps, mtu: usize) -> Self {
        let mut outward =
            Outward { batch: Batch::new(BATCH), headers: vec![[0; VnetHdr::LEN]; BATCH], caps, longest: 0 };
        outward.set_mtu(mtu);
        outward
    }

    /// What is longer goes by itself, so that the kernel says whether it went: a ring loses it without a word.
    pub(super) fn set_mtu(&mut self, mtu: usize) {
        self.longest = (ETHERNET + mtu).min(TxRing::ROOM);
    }

    /// Sends from the front of the queue until it is empty or the device is full.
    pub(in crate::io) fn transmit(
        &mut self,
        socket: BorrowedFd<'_>,
        mut slots: Option<&mut TxRing>,
        pool: &mut Pool,
        queue: &mut VecDeque<Packet>,
        sent: &mut Sent,
    ) {
        let mut stale_errors = 1;
        while let Some(front) = queue.front() {
            if !self.caps.take(&front.meta.offload) {
                refuse_front(pool, queue, sent);
                continue;
            }
            let (count, result) = match &mut slots {
                Some(ring) if self.suits(front) => match self.fill(ring, queue) {
                    // The slots are with those who have not yet read what we sent; a frame more by itself.
                    0 => self.send(socket, queue, 1),
                    _ => ring.send(),
                },
                ring => {
                    let (slots, most) = (ring.is_some(), queue.len().min(BATCH));
                    let run = queue.iter().take(most).take_while(|p| !(slots && self.suits(p))).count();
                    self.send(socket, queue, run)
                }
            };
            for packet in queue.drain(..count.min(queue.len())) {
                sent.count(&packet);
                pool.put(packet);
            }
            let Err(e) = result else { continue };
            match e.raw_os_error() {
                Some(libc::EINTR) => {}
                // The first may be of a time when it was down, told late.
                Some(libc::ENETDOWN) if stale_errors > 0 => stale_errors -= 1,
                // Full, down, or gone: the last two `check` will see.
                Some(
                    libc::EAGAIN | libc::ENOBUFS | libc::ENOMEM | libc::ENETDOWN | libc::ENXIO | libc::ENODEV,
                ) => return,
                _ => refuse_front(pool, queue, sent),
            }
        }
    }

    /// Whether the packet can go through a slot.
    #[inline]
    fn suits(&self, packet: &Packet) -> bool {
        packet.len() <= self.longest && packet.meta.offload.gso.is_none()
    }

    /// Puts packets from the front into slots; gives how many.
    fn fill(&self, ring: &mut TxRing, queue: &VecDeque<Packet>) -> usize {
        let fit = queue.iter().take(BATCH).take_while(|p| self.suits(p) && self.caps.take(&p.meta.offload));
        fit.take_while(|p| ring.put(VnetHdr::of(p), p.data())).count()
    }

    /// Sends the first packets of the queue, up to the first that the device may not have.
    fn send(
        &mut self,
        socket: BorrowedFd<'_>,
        queue: &VecDeque<Packet>,
        most: usize,
    ) -> (usize, io::Result<()>) {
        let fit = queue.iter().take(most).take_while(|p| self.caps.take(&p.meta.offload));
        let mut ready = 0;
        for (header, packet) in self.headers.iter_mut().zip(fit) {
            *header = VnetHdr::of(packet);
            ready += 1;
        }
        let frames = self.headers[..ready].iter().zip(queue.iter());
        match self.batch.send(socket, frames.map(|(h, p)| [&h[..], p.data()])) {
            Ok(count) => (count, Ok(())),
            Err(e) => (0, Err(e)),
        }
    }
}

fn refuse_front(pool: &mut Pool, queue: &mut VecDeque<Packet>, sent: &mut Sent) {
    if let Some(front) = queue.pop_front() {
        sent.refuse(&front);
        pool.put(front);
    }
}

/// An Ethernet header without tags.
const ETHERNET: usize = 14;
