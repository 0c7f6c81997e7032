//! The memory that holds the frames (the kernel's UMEM), and the right to touch each.
//!
//! ```text
//!  area   ├ frame 0 ┼ frame 1 ┼ … ┤
//!
//!  a frame that was received   ├┈ the kernel's headroom, 256 bytes ┈┼ packet ┼┈┈┈┤
//!  a frame to be sent          ├┈ 40 ┈┼ request, 24 bytes ┼ packet ┼┈┈┈┈┈┈┈┈┈┈┈┤
//! ```

use std::io;
use std::os::fd::BorrowedFd;

use super::ring::Mapping;

/// Where the packet begins in a frame to be sent: a cache line of its own, the request in the one before.
pub(super) const TX_HEADROOM: usize = 64;

/// The right to the bytes of one frame: its number.
#[derive(Debug)]
pub(super) struct Frame(u32);

/// All frames of a socket.
pub(super) struct Area {
    mapping: Mapping,
    size: u32,
    count: u32,
}

// SAFETY: the area is memory of its own, touched only by whoever holds the Area and a Frame, and by the kernel.
unsafe impl Send for Area {}

impl Area {
    /// Memory for `count` frames of `size` bytes, a power of 2, and the right to each.
    pub(super) fn new(size: u32, count: u32) -> io::Result<(Self, Vec<Frame>)> {
        let length = size as usize * count as usize;
        let mapping = Mapping::new(length, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1, 0)?;
        // A page of 2 MiB spares the CPU a thousand translations; an advice that need not be taken.
        // SAFETY: advice about memory mapped just above, which it does not change.
        unsafe { libc::madvise(mapping.base.as_ptr().cast(), length, libc::MADV_HUGEPAGE) };
        Ok((Area { mapping, size, count }, (0..count).map(Frame).collect()))
    }

    /// Gives the memory to a socket.
    pub(super) fn register(&self, socket: BorrowedFd<'_>, checksums: bool) -> io::Result<()> {
        let (flags, tx_metadata_len) =
            if checksums { (libc::XDP_UMEM_TX_METADATA_LEN, REQUEST as u32) } else { (0, 0) };
        let request = libc::xdp_umem_reg {
            addr: self.mapping.base.as_ptr().expose_provenance() as u64,
            len: self.mapping.length as u64,
            chunk_size: self.size,
            headroom: 0,
            flags,
            tx_metadata_len,
        };
        super::set(socket, libc::XDP_UMEM_REG, &request)
    }

    /// The address under which the kernel knows a frame, `offset` bytes into it. The frame is the kernel's.
    #[inline]
    #[expect(clippy::needless_pass_by_value, reason = "giving the frame away is the point")]
    pub(super) fn give(&self, frame: Frame, offset: usize) -> u64 {
        u64::from(frame.0) * u64::from(self.size) + offset as u64
    }

    /// The frame at an address that the kernel gave back; `None` if there is none there. The caller answers for that it is
    /// the kernel who says so, and once.
    #[inline]
    pub(super) fn take_back(&self, address: u64) -> Option<Frame> {
        let number = address / u64::from(self.size);
        (number < u64::from(self.count)).then_some(Frame(number as u32))
    }

    /// `length` bytes of a frame from an address on; fewer where the frame ends before.
    #[inline]
    pub(super) fn bytes(&mut self, frame: &mut Frame, address: u64, length: u32) -> &mut [u8] {
        let offset = (address % u64::from(self.size)) as usize;
        let whole = self.whole(frame);
        let end = (offset + length as usize).min(whole.len());
        &mut whole[offset..end]
    }

    /// Copies a packet into a frame that is to be sent; what does not fit is left out.
    #[inline]
    pub(super) fn fill(&mut self, frame: &mut Frame, packet: &[u8]) {
        let room = &mut self.whole(frame)[TX_HEADROOM..];
        let length = packet.len().min(room.len());
        room[..length].copy_from_slice(&packet[..length]);
    }

    /// Asks for the checksum of a frame that is to be sent (`struct xsk_tx_metadata`).
    ///
    /// ```text
    ///  flags (u64) ┊ csum_start (u16) ┊ csum_offset (u16) ┊ 12 bytes for other requests
    /// ```
    pub(super) fn request_checksum(&mut self, frame: &mut Frame, start: u16, field: u16) {
        let request = &mut self.whole(frame)[TX_HEADROOM - REQUEST..TX_HEADROOM];
        request[..8].copy_from_slice(&u64::from(libc::XDP_TXMD_FLAGS_CHECKSUM).to_ne_bytes());
        request[8..10].copy_from_slice(&start.to_ne_bytes());
        request[10..12].copy_from_slice(&field.to_ne_bytes());
        request[12..].fill(0);
    }

    /// Has the CPU fetch what is at an address of the kernel.
    #[inline]
    pub(super) fn prefetch(&self, address: u64) {
        #[cfg(target_arch = "x86_64")]
        if address < self.mapping.length as u64 {
            use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
            // SAFETY: the address is inside the mapping; a prefetch reads nothing that the program would see.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(self.mapping.base.as_ptr().add(address as usize).cast()) };
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = address;
    }

    #[inline]
    fn whole(&mut self, frame: &mut Frame) -> &mut [u8] {
        let (size, at) = (self.size as usize, frame.0 as usize * self.size as usize);
        // SAFETY: a frame's number is below the number of frames, so that its bytes are inside the mapping; whoever
        // holds it is the only one to touch them: there is one Frame for each, none while the kernel has it, and the
        // borrow of both the frame and the area lasts as long as the slice.
        unsafe { std::slice::from_raw_parts_mut(self.mapping.base.as_ptr().add(at), size) }
    }
}

/// Bytes of a `struct xsk_tx_metadata` (Linux 6.18; those before 6.14 know 16 of them, and take more).
const REQUEST: usize = 24;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_frame_has_bytes_of_its_own() {
        let (mut area, frames) = Area::new(2_048, 4).unwrap();
        let mut given = Vec::new();
        for (n, mut frame) in frames.into_iter().enumerate() {
            area.fill(&mut frame, &[n as u8; 3_000]);
            given.push(area.give(frame, TX_HEADROOM));
        }
        for (n, address) in given.into_iter().enumerate() {
            let mut frame = area.take_back(address).unwrap();
            let bytes = area.bytes(&mut frame, address, 5_000);
            assert_eq!((bytes.len(), bytes[0], bytes[1_983]), (2_048 - TX_HEADROOM, n as u8, n as u8));
            assert!(area.bytes(&mut frame, address, 7).iter().all(|b| *b == n as u8));
        }
        assert!(area.take_back(4 * 2_048).is_none() && area.take_back(u64::MAX).is_none());
    }
}
