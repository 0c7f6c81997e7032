//! A ring shared with the kernel: one side writes entries and moves `producer`, the other reads them and moves
//! `consumer`; both count on past the end, and an index is a count less its higher bits.
//!
//! ```text
//!  mapping  ├ producer ┼┈┈┼ consumer ┼┈┈┼ flags ┼┈┈┼ entry 0 ┼ entry 1 ┼ … ┼ entry n-1 ┤
//!
//!            consumer              producer
//!   ┈┈┈┈┈┈┈┈┈┈┈┤ to be read         ├ free ┈┈┈┈┈
//! ```
//!
//! # Ordering
//!
//! Who moves an index does so with `Release`, who looks at the other's does so with `Acquire`. So the entries (and the
//! frames they speak of) that a producer wrote before it moved `producer` are there for a consumer that sees it
//! moved; and a producer that sees `consumer` moved writes into entries that have been read.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};

use super::super::checked;

/// A packet, or a piece of one, in a frame (`struct xdp_desc`).
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub(super) struct Descriptor {
    /// Where it is, from the beginning of the area.
    pub(super) address: u64,
    /// Its bytes.
    pub(super) length: u32,
    /// `XDP_PKT_CONTD`, `XDP_TX_METADATA`.
    pub(super) options: u32,
}

/// What may be in a ring: integers, of which any bytes are a valid value.
pub(super) trait Entry: Copy {}
impl Entry for u64 {}
impl Entry for Descriptor {}

/// A ring's mapping and where its parts are.
pub(super) struct Ring<T: Entry> {
    mapping: Mapping,
    producer: NonNull<AtomicU32>,
    consumer: NonNull<AtomicU32>,
    flags: NonNull<AtomicU32>,
    entries: NonNull<T>,
    mask: u32,
}

// SAFETY: the pointers are into the mapping, which the ring owns and which any thread may use.
unsafe impl<T: Entry> Send for Ring<T> {}

/// Maps a ring with `entries` (a power of 2, as set on the socket) of the socket.
pub(super) fn map<T: Entry>(
    socket: BorrowedFd<'_>,
    page_offset: u64,
    at: &libc::xdp_ring_offset,
    entries: u32,
) -> io::Result<Ring<T>> {
    let length = at.desc as usize + entries as usize * size_of::<T>();
    let mapping =
        Mapping::new(length, libc::MAP_SHARED | libc::MAP_POPULATE, socket.as_raw_fd(), page_offset)?;
    let inside = |offset: u64, size: usize, align: usize| {
        let offset = offset as usize;
        (offset.is_multiple_of(align) && offset + size <= length).then_some(offset)
    };
    let word = |offset| inside(offset, size_of::<AtomicU32>(), align_of::<AtomicU32>());
    let places = (|| {
        let entries = inside(at.desc, entries as usize * size_of::<T>(), align_of::<T>())?;
        Some((word(at.producer)?, word(at.consumer)?, word(at.flags)?, entries))
    })();
    let Some((producer, consumer, flags, first)) = places.filter(|_| entries.is_power_of_two()) else {
        return Err(io::Error::from_raw_os_error(libc::EPROTO));
    };
    let base = mapping.base;
    // SAFETY: all four offsets, with the size of what is there, are inside the mapping and aligned, as was just
    // checked; the mapping itself is aligned to a page.
    let (producer, consumer, flags, entries_at) = unsafe {
        (base.add(producer).cast(), base.add(consumer).cast(), base.add(flags).cast(), base.add(first).cast())
    };
    Ok(Ring { mapping, producer, consumer, flags, entries: entries_at, mask: entries - 1 })
}

impl<T: Entry> Ring<T> {
    fn size(&self) -> u32 {
        self.mask + 1
    }

    fn producer(&self) -> &AtomicU32 {
        // SAFETY: points at a word of the mapping, which lives as long as the ring; the kernel uses it atomically.
        unsafe { self.producer.as_ref() }
    }

    fn consumer(&self) -> &AtomicU32 {
        // SAFETY: as above.
        unsafe { self.consumer.as_ref() }
    }

    fn flags(&self) -> &AtomicU32 {
        // SAFETY: as above.
        unsafe { self.flags.as_ref() }
    }

    fn entry(&self, index: u32) -> NonNull<T> {
        debug_assert!(self.mapping.length > 0);
        // SAFETY: the mask keeps the index below the number of entries, all of which are inside the mapping.
        unsafe { self.entries.add((index & self.mask) as usize) }
    }
}

/// Our side of a ring that we fill.
pub(super) struct Producer<T: Entry> {
    ring: Ring<T>,
    /// How far it is filled; the kernel is told later.
    filled: u32,
}

impl<T: Entry> Producer<T> {
    pub(super) fn new(ring: Ring<T>) -> Self {
        let filled = ring.producer().load(Ordering::Relaxed);
        Producer { ring, filled }
    }

    /// Puts an entry in. There is room: a ring has as many entries as there are frames that may be in it.
    #[inline]
    pub(super) fn push(&mut self, entry: T) {
        // SAFETY: the pointer is inside the mapping and aligned; the kernel reads the entry only once `submit` has
        // moved the index past it.
        unsafe { self.ring.entry(self.filled).write(entry) };
        self.filled = self.filled.wrapping_add(1);
    }

    /// Shows the kernel what was put in.
    #[inline]
    pub(super) fn submit(&mut self) {
        self.ring.producer().store(self.filled, Ordering::Release);
    }

    /// Entries that the kernel has not taken yet.
    #[inline]
    pub(super) fn waiting(&self) -> u32 {
        self.filled.wrapping_sub(self.ring.consumer().load(Ordering::Acquire))
    }

    /// Whether the kernel looks at the ring only when it is called.
    #[inline]
    pub(super) fn needs_wakeup(&self) -> bool {
        self.ring.flags().load(Ordering::Relaxed) & libc::XDP_RING_NEED_WAKEUP != 0
    }
}

/// Our side of a ring that the kernel fills.
pub(super) struct Consumer<T: Entry> {
    ring: Ring<T>,
    /// How far it has been read.
    read: u32,
    /// How far it is known to be filled.
    known: u32,
}

impl<T: Entry> Consumer<T> {
    pub(super) fn new(ring: Ring<T>) -> Self {
        let read = ring.consumer().load(Ordering::Relaxed);
        Consumer { ring, read, known: read }
    }

    /// How many entries may be read, up to `most`. The kernel's index, a cache line that it writes, is looked at only
    /// when what is known does not do.
    #[inline]
    pub(super) fn ready(&mut self, most: u32) -> u32 {
        let mut ready = self.known.wrapping_sub(self.read);
        if ready < most {
            self.known = self.ring.producer().load(Ordering::Acquire);
            ready = self.known.wrapping_sub(self.read).min(self.ring.size());
        }
        ready.min(most)
    }

    /// An entry, counted from the first unread one; below what [`Consumer::ready`] said.
    #[inline]
    pub(super) fn peek(&self, at: u32) -> T {
        // SAFETY: the pointer is inside the mapping and aligned; whatever is there is a valid value; `ready` has seen,
        // with Acquire, that the kernel is done with the entry.
        unsafe { self.ring.entry(self.read.wrapping_add(at)).read() }
    }

    /// Gives entries back to be filled again.
    #[inline]
    pub(super) fn release(&mut self, count: u32) {
        self.read = self.read.wrapping_add(count);
        self.ring.consumer().store(self.read, Ordering::Release);
    }
}

/// Mapped memory; unmapped when dropped.
pub(super) struct Mapping {
    pub(super) base: NonNull<u8>,
    pub(super) length: usize,
}

impl Mapping {
    pub(super) fn new(length: usize, flags: i32, fd: i32, offset: u64) -> io::Result<Self> {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping, where the kernel likes: it touches no memory that is in use.
        let base =
            unsafe { libc::mmap(std::ptr::null_mut(), length, protection, flags, fd, offset.cast_signed()) };
        if base == libc::MAP_FAILED {
            checked(-1)?;
        }
        match NonNull::new(base.cast()) {
            Some(base) => Ok(Mapping { base, length }),
            None => Err(io::Error::from_raw_os_error(libc::ENOMEM)),
        }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: what `new` mapped, and nothing points into it any more: whoever does owns the mapping.
        unsafe { libc::munmap(self.base.as_ptr().cast(), self.length) };
    }
}
