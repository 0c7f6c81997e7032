//! Sending through a packet socket: for workers that have no queue of their own.

use std::collections::VecDeque;
use std::os::fd::BorrowedFd;

use super::super::port::Sent;
use super::super::sys::Batch;
use crate::packet::offload::VnetHdr;
use crate::packet::{Caps, Packet, Pool};

/// Room for a batch.
pub(super) struct Sender {
    batch: Batch,
    headers: Vec<[u8; VnetHdr::LEN]>,
}

impl Sender {
    pub(super) fn new() -> Self {
        Sender { batch: Batch::new(BATCH), headers: vec![[0; VnetHdr::LEN]; BATCH] }
    }

    /// Sends from the front of the queue until it is empty or the device is full.
    pub(super) fn send(
        &mut self,
        socket: BorrowedFd<'_>,
        caps: Caps,
        pool: &mut Pool,
        queue: &mut VecDeque<Packet>,
        sent: &mut Sent,
    ) {
        let mut stale_errors = 1;
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
            match self.batch.send(socket, frames.map(|(h, p)| [&h[..], p.data()])) {
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
}

/// Frames in one call.
const BATCH: usize = 64;
