//! Frames out of a packet socket, from slots and from its queue, and into packets.

use super::line::Line;
use crate::io::slot::Slot;
use crate::io::sys::{Batch, RxRing, VlanTag, Whereabouts};
use crate::packet::offload::{INVALID, VnetHdr, restore_tag};
use crate::packet::{Packet, Pool};

/// What receiving takes, and what was lost.
pub(super) struct Inward {
    batch: Batch,
    /// How many frames are prepared for: setting up room for those that don't come costs time too.
    expected: usize,
    slots: Vec<Slot>,
    /// Super-frames to be, and the headers in front of them.
    large: Vec<Packet>,
    headers: Vec<[u8; VnetHdr::LEN]>,
    /// Frames that can't be told, or were cut off.
    pub(super) lost: u64,
}

impl Inward {
    pub(super) fn new(receives: bool) -> Self {
        Inward {
            batch: Batch::new(if receives { BATCH } else { 0 }),
            expected: LEAST,
            slots: Vec::new(),
            large: Vec::new(),
            headers: vec![[0; VnetHdr::LEN]; if receives { MOST_QUEUED } else { 0 }],
            lost: 0,
        }
    }

    /// Appends at most `max` frames; gives how many. Fewer: there are no more.
    pub(super) fn receive(
        &mut self,
        line: &mut Line,
        pool: &mut Pool,
        out: &mut Vec<Packet>,
        max: usize,
    ) -> usize {
        let before = out.len();
        let Some(mut ring) = line.rx.take() else {
            return self.read_socket(line, pool, out, max);
        };
        while out.len() - before < max {
            // Looked at once: a slot that gets ready in between would be taken for the other kind.
            match ring.next_in() {
                None => break,
                Some(Whereabouts::Slot) => match self.read_slot(&mut ring, pool) {
                    Some(packet) => out.push(packet),
                    None => self.lost += 1,
                },
                Some(Whereabouts::Queue) => {
                    let count = ring.queued((max - (out.len() - before)).min(MOST_QUEUED));
                    self.read_queue(&mut ring, line, count, pool, out);
                }
            }
        }
        line.rx = Some(ring);
        out.len() - before
    }

    /// The frame in the next slot; `None` if only a part of it is there: it was longer than the slot, and there was no
    /// room at the socket either.
    #[inline]
    fn read_slot(&mut self, ring: &mut RxRing, pool: &mut Pool) -> Option<Packet> {
        let held = ring.take()?;
        let (header, frame) = held.parts();
        if frame.len() != held.len() {
            return None;
        }
        let mut packet = pool.sized(frame.len());
        packet.append(frame);
        finish(&mut packet, &header, held.tag());
        Some(packet)
    }

    /// The next `count` frames, of which the socket has all.
    fn read_queue(
        &mut self,
        ring: &mut RxRing,
        line: &Line,
        count: usize,
        pool: &mut Pool,
        out: &mut Vec<Packet>,
    ) {
        while self.large.len() < count {
            self.large.push(pool.large());
        }
        let mut stale_errors = 1;
        let got = loop {
            let places = self.headers.iter_mut().zip(&mut self.large).take(count);
            let buffers = places.map(|(h, p)| [&mut h[..], p.spare(), &mut []]);
            match self.batch.receive(line.socket(), buffers) {
                Ok(got) => break got,
                // An old condition, told once.
                Err(e) if e.raw_os_error() == Some(libc::EINTR) => {}
                Err(e) if e.raw_os_error() == Some(libc::ENETDOWN) && stale_errors > 0 => stale_errors -= 1,
                // Not there, or in a form that can't be told: one frame is done with.
                Err(_) => {
                    self.lost += 1;
                    ring.take();
                    return;
                }
            }
        };
        for (at, mut packet) in self.large.drain(..got.min(count)).enumerate() {
            let Some(held) = ring.take() else { break };
            let (message, tag) = (self.batch.message(at), held.tag());
            let len =
                message.len.checked_sub(VnetHdr::LEN).filter(|len| !message.truncated && *len == held.len());
            let Some(len) = len else {
                self.lost += 1;
                pool.put(packet);
                continue;
            };
            packet.grew(len);
            finish(&mut packet, &self.headers[at], tag);
            out.push(packet);
        }
    }

    fn read_socket(&mut self, line: &Line, pool: &mut Pool, out: &mut Vec<Packet>, max: usize) -> usize {
        while self.slots.len() < BATCH {
            self.slots.push(Slot::new(pool));
        }
        let (mut count, mut failures) = (0, 0);
        while count < max && failures < BATCH {
            let want = self.expected.min(max - count);
            match self.batch.receive(line.socket(), self.slots[..want].iter_mut().map(Slot::parts)) {
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
                        self.lost += 1;
                    }
                },
            }
        }
        count
    }

    /// Makes a packet of the message at a place of the batch.
    fn take(&mut self, at: usize, pool: &mut Pool) -> Option<Packet> {
        let message = self.batch.message(at);
        let slot = &mut self.slots[at];
        let Some(len) = message.len.checked_sub(VnetHdr::LEN).filter(|_| !message.truncated) else {
            self.lost += 1;
            return None;
        };
        let header = slot.header();
        let mut packet = slot.take(pool, len);
        finish(&mut packet, &header, message.tag);
        Some(packet)
    }
}

/// Adds what came beside the bytes.
#[inline]
fn finish(packet: &mut Packet, header: &[u8; VnetHdr::LEN], tag: Option<VlanTag>) {
    // The header counts from the start of the frame as it is without the tag.
    packet.meta.offload = VnetHdr::parse(header, packet.data(), true).unwrap_or(INVALID);
    if let Some(tag) = tag {
        restore_tag(packet, tag.protocol, tag.control);
    }
}

/// Frames in one call (`UIO_MAXIOV` allows 1,024).
pub(super) const BATCH: usize = 64;
/// Frames prepared for in quiet times.
const LEAST: usize = 8;
/// Super-frames in one call.
const MOST_QUEUED: usize = 16;
