//! Where a frame is received: room for its offload header, for a small frame, and for the rest of a large one.
//!
//! A device may give a frame of 60 bytes or a super-frame of 64 KB, and says which only afterwards. So each
//! receive is scattered over small storage first and then large storage: an ordinary frame costs no copy and
//! fills small, dense memory; a super-frame costs a copy of its first 1,920 bytes to the front of the rest.
//!
//! ```text
//!  header   ├ virtio_net_hdr ┤
//!  small    ├ headroom ┼──── frame, or its front ────┤
//!  large    ├ headroom ┼········ (the front) ········┼──── the rest of a super-frame ────┤
//! ```

use crate::packet::offload::VnetHdr;
use crate::packet::{Packet, Pool};

/// Storage for one receive.
pub(super) struct Slot {
    header: [u8; VnetHdr::LEN],
    small: Packet,
    large: Packet,
}

impl Slot {
    pub(super) fn new(pool: &mut Pool) -> Self {
        Slot { header: [0; VnetHdr::LEN], small: pool.small(), large: pool.large() }
    }

    /// The parts to be filled, one after the other.
    pub(super) fn parts(&mut self) -> [&mut [u8]; 3] {
        let small = self.small.spare();
        let rest = self.large.spare().get_mut(small.len()..).unwrap_or_default();
        [&mut self.header, small, rest]
    }

    /// The offload header of what was received.
    pub(super) fn header(&self) -> [u8; VnetHdr::LEN] {
        self.header
    }

    /// The longest frame that fits.
    pub(super) fn room(&self) -> usize {
        self.large.tailroom()
    }

    /// Takes out the frame of `len` bytes that was received, and gives the slot new storage for it.
    pub(super) fn take(&mut self, pool: &mut Pool, len: usize) -> Packet {
        let room = self.small.tailroom();
        if len <= room {
            self.small.grew(len);
            return std::mem::replace(&mut self.small, pool.small());
        }
        self.large.spare()[..room].copy_from_slice(self.small.spare());
        self.large.grew(len);
        std::mem::replace(&mut self.large, pool.large())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::{HEADROOM, LARGE, SMALL};

    #[test]
    fn frames_of_every_length_come_out_as_they_went_in() {
        let mut pool = Pool::new(4);
        let mut slot = Slot::new(&mut pool);
        let edge = SMALL - HEADROOM;
        for len in [0, 1, 60, edge - 1, edge, edge + 1, 9_000, LARGE - HEADROOM] {
            let frame: Vec<u8> = (0..len).map(|i| (i % 251) as u8).collect();
            let mut rest = frame.as_slice();
            for part in &mut slot.parts()[1..] {
                let n = part.len().min(rest.len());
                part[..n].copy_from_slice(&rest[..n]);
                rest = &rest[n..];
            }
            assert!(rest.is_empty());
            let packet = slot.take(&mut pool, len);
            assert!(packet.data() == frame, "{len}");
            assert_eq!(packet.headroom(), HEADROOM);
            assert_eq!(packet.footprint() > 10_000, len > edge, "{len} bytes in the right storage");
            pool.put(packet);
        }
        assert_eq!(slot.room(), LARGE - HEADROOM);
    }
}
