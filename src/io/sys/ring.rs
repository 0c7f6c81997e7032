//! Packet sockets with rings: slots in memory that the kernel and this process share (TPACKET v2).
//!
//! ```text
//!  receive   ├ tpacket2_hdr ┼ sockaddr_ll ┼···┼ virtio_net_hdr ┼─ frame, from tp_mac on ─┤···┤
//!  transmit  ├ tpacket2_hdr ┼ virtio_net_hdr ┼─ frame ─┤···························┤
//!             0              32
//! ```
//!
//! Whose a slot is, its first word says. What is written into a slot is written before that word is given away
//! (release), and read after it was seen to be ours (acquire); the kernel does the same. It looks at the slots in turn,
//! and never at one that is not its own. Knows nothing of what is in a frame.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};

use super::checked;
use super::mmsg::VlanTag;
use super::packet::set;

/// Bytes of a slot: an ordinary frame and what stands before it.
const SLOT: usize = 2_048;
/// Bytes of a block, which the kernel allocates in one piece.
const BLOCK: usize = 1 << 16;
/// Bytes of the offload header (`struct virtio_net_hdr`).
const HEADER: usize = 10;
/// `struct tpacket2_hdr`.
const SLOT_HEADER: usize = size_of::<libc::tpacket2_hdr>();
/// Where the kernel looks for what is to be sent: behind the slot's header, aligned (`TPACKET_ALIGNMENT`).
const SEND_AT: usize = SLOT_HEADER.next_multiple_of(16);

/// Slots for frames that come in.
pub struct RxRing {
    slots: Slots,
    /// Where the next frame will be.
    next: usize,
}

/// Where a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whereabouts {
    /// In its slot.
    Slot,
    /// At the socket; the slot has its beginning.
    Queue,
}

/// A frame in its slot, which the kernel gets back when this is dropped.
pub struct Held<'a> {
    ring: &'a mut RxRing,
    header: libc::tpacket2_hdr,
}

/// Slots for frames that go out, with the socket that sends them.
pub struct TxRing {
    slots: Slots,
    socket: OwnedFd,
    /// The slot that the kernel looks at next. All before it are sent, or were never filled.
    next: usize,
    /// Slots filled from there on.
    filled: usize,
}

impl RxRing {
    /// Has the socket put what it receives into `count` slots. A frame that is longer than a slot is queued at the socket,
    /// too, if that has room. The socket must not be bound yet, and have `PacketOption::VnetHeader`.
    pub fn new(socket: BorrowedFd<'_>, count: usize) -> io::Result<Self> {
        set(socket, libc::SOL_PACKET, libc::PACKET_VERSION, &VERSION)?;
        // Any number but 0 means it.
        set(socket, libc::SOL_PACKET, libc::PACKET_COPY_THRESH, &1i32)?;
        Ok(RxRing { slots: Slots::new(socket, libc::PACKET_RX_RING, count)?, next: 0 })
    }

    /// Whether there is a frame.
    #[inline]
    pub fn is_ready(&self) -> bool {
        self.slots.status(self.next).load(Ordering::Acquire) & libc::TP_STATUS_USER != 0
    }

    /// Where the next frame is, if there is one.
    #[inline]
    pub fn next_in(&self) -> Option<Whereabouts> {
        match self.slots.status(self.next).load(Ordering::Acquire) & QUEUED {
            QUEUED => Some(Whereabouts::Queue),
            libc::TP_STATUS_USER => Some(Whereabouts::Slot),
            _ => None,
        }
    }

    /// The next frame, if there is one.
    #[inline]
    pub fn take(&mut self) -> Option<Held<'_>> {
        if !self.is_ready() {
            return None;
        }
        let at = self.slots.at(self.next).cast::<libc::tpacket2_hdr>();
        // SAFETY: the slot begins with a tpacket2_hdr (integers) and is ours, as `is_ready` has seen with acquire.
        let header = unsafe { at.read() };
        self.slots.prefetch(self.after(self.next));
        Some(Held { ring: self, header })
    }

    /// How many frames in a row from the next one on are ready and queued at the socket, up to `most`.
    pub fn queued(&self, most: usize) -> usize {
        let mut slot = self.next;
        for n in 0..most.min(self.slots.count) {
            let status = self.slots.status(slot).load(Ordering::Acquire);
            if status & QUEUED != QUEUED {
                return n;
            }
            slot = self.after(slot);
        }
        most
    }

    /// Gives the slots back: the socket receives as others do from now on.
    pub fn close(self, socket: BorrowedFd<'_>) -> io::Result<()> {
        drop(self);
        request(socket, libc::PACKET_RX_RING, 0)
    }

    fn after(&self, slot: usize) -> usize {
        if slot + 1 == self.slots.count { 0 } else { slot + 1 }
    }
}

impl Held<'_> {
    /// The offload header, and as much of the frame as the slot holds.
    #[inline]
    pub fn parts(&self) -> ([u8; HEADER], &[u8]) {
        let start = usize::from(self.header.tp_mac);
        let end = start + self.header.tp_snaplen as usize;
        // The kernel has no reason to say anything else; whatever it says, we stay in the slot.
        if start < HEADER || end > SLOT {
            return ([0; HEADER], &[]);
        }
        let at = self.ring.slots.at(self.ring.next);
        // SAFETY: the bytes are in the slot, as was just checked, and nobody writes to them until the slot is given back,
        // which takes `self`.
        let bytes =
            unsafe { std::slice::from_raw_parts(at.add(start - HEADER).as_ptr(), end - start + HEADER) };
        let (header, frame) = bytes.split_at(HEADER);
        (header.try_into().unwrap_or_default(), frame)
    }

    /// The length of the frame as it came.
    #[inline]
    pub fn len(&self) -> usize {
        self.header.tp_len as usize
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The tag that the kernel took off the frame.
    #[inline]
    pub fn tag(&self) -> Option<VlanTag> {
        if self.header.tp_status & libc::TP_STATUS_VLAN_VALID == 0 {
            return None;
        }
        // As in `mmsg`: kernels before 3.14 left the protocol out.
        let named = self.header.tp_status & libc::TP_STATUS_VLAN_TPID_VALID != 0;
        let protocol = if named { self.header.tp_vlan_tpid } else { libc::ETH_P_8021Q as u16 };
        Some(VlanTag { protocol, control: self.header.tp_vlan_tci })
    }
}

impl Drop for Held<'_> {
    #[inline]
    fn drop(&mut self) {
        self.ring.slots.status(self.ring.next).store(libc::TP_STATUS_KERNEL, Ordering::Release);
        self.ring.next = self.ring.after(self.ring.next);
    }
}

impl TxRing {
    /// The longest frame that fits.
    pub const ROOM: usize = SLOT - SEND_AT - HEADER;

    /// Gives the socket `count` slots to send from. It must not be bound yet, and have `PacketOption::VnetHeader`.
    pub fn new(socket: OwnedFd, count: usize) -> io::Result<Self> {
        set(socket.as_fd(), libc::SOL_PACKET, libc::PACKET_VERSION, &VERSION)?;
        let slots = Slots::new(socket.as_fd(), libc::PACKET_TX_RING, count)?;
        Ok(TxRing { slots, socket, next: 0, filled: 0 })
    }

    /// The socket, to be bound.
    pub fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Puts a frame into the next slot; `false` if that is still in use, all are full, or the frame is too long.
    #[inline]
    pub fn put(&mut self, mut header: [u8; HEADER], frame: &[u8]) -> bool {
        let slot = self.slot(self.filled);
        // Only ours: a slot on its way is the kernel's until the last holder of the frame lets go of it.
        if self.filled == self.slots.count
            || frame.len() > Self::ROOM
            || self.slots.status(slot).load(Ordering::Acquire) != libc::TP_STATUS_AVAILABLE
        {
            return false;
        }
        // "Headers" as long as the frame: the kernel copies them, and does not point into the ring.
        header[2..4].copy_from_slice(&(frame.len() as u16).to_ne_bytes());
        let at = self.slots.at(slot);
        // SAFETY: the slot is ours; the header of the slot, the offload header and at most ROOM bytes fit into it.
        unsafe {
            (*at.cast::<libc::tpacket2_hdr>().as_ptr()).tp_len = (HEADER + frame.len()) as u32;
            let data = at.add(SEND_AT);
            data.copy_from_nonoverlapping(NonNull::from(&header).cast(), HEADER);
            data.add(HEADER).as_ptr().copy_from_nonoverlapping(frame.as_ptr(), frame.len());
        }
        self.slots.status(slot).store(libc::TP_STATUS_SEND_REQUEST, Ordering::Release);
        self.filled += 1;
        true
    }

    /// Has the kernel send what was put, in order, until it takes no more: how many it took, and why not all. The
    /// others are taken back.
    pub fn send(&mut self) -> (usize, io::Result<()>) {
        // SAFETY: a send without a buffer and an address touches no memory.
        let result = checked(unsafe {
            libc::sendto(
                self.socket.as_raw_fd(),
                std::ptr::null(),
                0,
                libc::MSG_DONTWAIT,
                std::ptr::null(),
                0,
            )
        } as libc::c_int);
        // The kernel looks at the slots in the call only; later it just says that it is done with one.
        let mut taken = 0;
        while taken < self.filled {
            match self.slots.status(self.slot(taken)).load(Ordering::Acquire) {
                libc::TP_STATUS_SEND_REQUEST | libc::TP_STATUS_WRONG_FORMAT => break,
                _ => taken += 1,
            }
        }
        for n in taken..self.filled {
            self.slots.status(self.slot(n)).store(libc::TP_STATUS_AVAILABLE, Ordering::Relaxed);
        }
        self.next = self.slot(taken);
        self.filled = 0;
        (taken, result.map(drop))
    }

    fn slot(&self, n: usize) -> usize {
        let slot = self.next + n;
        if slot >= self.slots.count { slot - self.slots.count } else { slot }
    }
}

/// Memory shared with the kernel, in slots; unmapped when dropped.
struct Slots {
    start: NonNull<u8>,
    count: usize,
}

// SAFETY: the mapping belongs to this value alone, whichever thread has it.
unsafe impl Send for Slots {}

impl Slots {
    /// Rounds up to whole blocks.
    fn new(socket: BorrowedFd<'_>, which: libc::c_int, count: usize) -> io::Result<Self> {
        let bytes = (count.max(1) * SLOT).next_multiple_of(BLOCK);
        request(socket, which, bytes)?;
        // SAFETY: a new shared mapping of the socket's ring, whose length was just set; no memory of ours is involved.
        let start = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                bytes,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED | libc::MAP_POPULATE,
                socket.as_raw_fd(),
                0,
            )
        };
        let start = if start == libc::MAP_FAILED { None } else { NonNull::new(start.cast()) };
        match start {
            Some(start) => Ok(Slots { start, count: bytes / SLOT }),
            None => {
                let e = io::Error::last_os_error();
                let _ = request(socket, which, 0);
                Err(e)
            }
        }
    }

    #[inline]
    fn at(&self, slot: usize) -> NonNull<u8> {
        debug_assert!(slot < self.count);
        // SAFETY: the mapping has `count` slots, and every caller's slot is below that: the rings count modulo it.
        unsafe { self.start.add(slot * SLOT) }
    }

    /// The word that says whose the slot is: the first of both headers.
    #[inline]
    fn status(&self, slot: usize) -> &AtomicU32 {
        // SAFETY: a slot begins on a multiple of 2,048 in a page, with this word; it is accessed as an atomic only, but for
        // the copy of a header that is ours.
        unsafe { AtomicU32::from_ptr(self.at(slot).cast().as_ptr()) }
    }

    /// Fetches a slot's first lines before they are needed: they were written by another CPU.
    #[inline]
    fn prefetch(&self, slot: usize) {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: a prefetch reads nothing that could be seen; the addresses are in the mapping all the same.
        unsafe {
            use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
            let at = self.at(slot).as_ptr();
            _mm_prefetch::<_MM_HINT_T0>(at.cast());
            _mm_prefetch::<_MM_HINT_T0>(at.add(64).cast());
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = slot;
    }
}

impl Drop for Slots {
    fn drop(&mut self) {
        // SAFETY: the mapping was made with this length, and no reference into it outlives this value.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.count * SLOT) };
    }
}

/// Asks for a ring of so many bytes; 0 ends it.
fn request(socket: BorrowedFd<'_>, which: libc::c_int, bytes: usize) -> io::Result<()> {
    let number = |n: usize| u32::try_from(n).map_err(|_| io::Error::from_raw_os_error(libc::ENOMEM));
    let request = libc::tpacket_req {
        tp_block_size: if bytes == 0 { 0 } else { BLOCK as u32 },
        tp_block_nr: number(bytes / BLOCK)?,
        tp_frame_size: if bytes == 0 { 0 } else { SLOT as u32 },
        tp_frame_nr: number(bytes / SLOT)?,
    };
    set(socket, libc::SOL_PACKET, which, &request)
}

const VERSION: libc::c_int = libc::tpacket_versions::TPACKET_V2 as libc::c_int;
/// A slot's status, of these two bits, when the socket has its frame whole.
const QUEUED: u32 = libc::TP_STATUS_USER | libc::TP_STATUS_COPY;
