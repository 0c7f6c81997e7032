//! A packet on its way: bytes with room in front, and what is known about them.
//!
//! ```text
//!  storage  ├──── headroom ────┼─ L2 ─┼──── L3 ────┼──── L4 ─────────┼── tailroom ──┤
//!           0                start    start+l3     start+l3+l4      end
//! ```
//!
//! Offsets to the upper headers are relative (`l3` to the start of the data, `l4` to L3), so taking
//! away or exchanging the link-layer header moves nothing else. Knows of header formats only what
//! segmentation and checksums need; knows nothing of links, tables or the path.

mod coalesce;
pub mod flow;
mod meta;
pub mod offload;
pub mod peek;
mod pool;
mod segment;
pub mod steer;

pub use coalesce::{Coalesced, coalesce};
pub use flow::{Ct, CtState, Direction, FlowId, FlowView, Manip, NatRange, Status, Tuple};
pub use meta::{Caps, Csum, Frag, Gso, GsoKind, L2Kind, Meta, Net, Offload, TraceId};
pub use pool::Pool;
pub use segment::segment;
pub use steer::Steering;

/// Bytes kept free in front of a received frame: an Ethernet header with two tags, or a tunnel's
/// outer headers.
pub const HEADROOM: usize = 128;

/// The longest L3 packet: the 16-bit length fields of IP.
pub const MAX_L3: usize = 65_535;

/// Storage for an ordinary frame.
pub const SMALL: usize = 2_048;

/// Storage for the largest super-frame: headroom, L2 with two tags, the longest L3 packet.
pub const LARGE: usize = HEADROOM + 22 + MAX_L3 + 1;

/// One packet: owned bytes and their [`Meta`].
///
/// Dropping it frees the storage; on the established path it goes back to a [`Pool`] instead.
#[derive(Debug, Clone, Default)]
pub struct Packet {
    storage: Box<[u8]>,
    start: usize,
    end: usize,
    /// What is known about the bytes.
    pub meta: Meta,
    /// Set on a datagram that came in fragments and goes on in the like (`frag_max_size` and the fragment list
    /// of a kernel's packet). Rare, so it stands apart.
    pub cut: Option<Box<Cut>>,
}

/// How a datagram that is in one piece now had been cut.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cut {
    /// The length of its longest fragment in bytes, IP header included.
    pub largest: u16,
    /// The payload bytes of each of its fragments but the first, in the order of their places. The first has
    /// what they leave.
    pub later: Box<[u16]>,
}

impl Packet {
    /// An empty packet over the storage, with `headroom` bytes (at most all of it) before its data.
    pub fn over(storage: Box<[u8]>, headroom: usize) -> Self {
        let start = headroom.min(storage.len());
        Packet { storage, start, end: start, meta: Meta::default(), cut: None }
    }

    /// A packet with a copy of `data` in storage of its own, with the usual headroom.
    pub fn from_slice(data: &[u8]) -> Self {
        let mut storage = vec![0; HEADROOM + data.len()].into_boxed_slice();
        storage[HEADROOM..].copy_from_slice(data);
        Packet { end: storage.len(), storage, start: HEADROOM, meta: Meta::default(), cut: None }
    }

    /// The bytes, from the link-layer header (if any) on.
    #[inline]
    pub fn data(&self) -> &[u8] {
        &self.storage[self.start..self.end]
    }

    /// The bytes, to be changed in place.
    #[inline]
    pub fn data_mut(&mut self) -> &mut [u8] {
        &mut self.storage[self.start..self.end]
    }

    /// How many bytes there are.
    #[inline]
    pub fn len(&self) -> usize {
        self.end - self.start
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// The bytes from the L3 header on; empty if `meta.l3` lies beyond the end.
    #[inline]
    pub fn l3(&self) -> &[u8] {
        self.data().get(usize::from(self.meta.l3)..).unwrap_or_default()
    }

    /// The bytes from the L3 header on, to be changed in place.
    #[inline]
    pub fn l3_mut(&mut self) -> &mut [u8] {
        let at = usize::from(self.meta.l3);
        self.data_mut().get_mut(at..).unwrap_or_default()
    }

    /// The bytes from the L4 header on; empty if there is none.
    #[inline]
    pub fn l4(&self) -> &[u8] {
        match self.meta.l4 {
            0 => &[],
            at => self.l3().get(usize::from(at)..).unwrap_or_default(),
        }
    }

    /// The bytes from the L4 header on, to be changed in place.
    #[inline]
    pub fn l4_mut(&mut self) -> &mut [u8] {
        match usize::from(self.meta.l4) {
            0 => &mut [],
            at => self.l3_mut().get_mut(at..).unwrap_or_default(),
        }
    }

    /// The length from the L3 header on.
    #[inline]
    pub fn l3_len(&self) -> usize {
        self.len().saturating_sub(usize::from(self.meta.l3))
    }

    /// Bytes free in front of the data.
    pub fn headroom(&self) -> usize {
        self.start
    }

    /// Bytes of storage in all.
    pub fn room(&self) -> usize {
        self.storage.len()
    }

    /// Bytes free behind the data.
    pub fn tailroom(&self) -> usize {
        self.storage.len() - self.end
    }

    /// Makes the link-layer header `len` bytes long, by moving the start of the data: what was there
    /// is forgotten, what appears is to be written. `None` (and no change) if the headroom is too small.
    #[inline]
    pub fn set_l2_len(&mut self, len: usize) -> Option<&mut [u8]> {
        let l3_at = self.start + usize::from(self.meta.l3);
        let start = l3_at.checked_sub(len)?;
        if l3_at > self.end {
            return None;
        }
        self.start = start;
        self.meta.l3 = u16::try_from(len).ok()?;
        Some(&mut self.storage[start..l3_at])
    }

    /// Takes `len` bytes out of the L3 header, `at` bytes from its start: what is in front moves up. `false` (and
    /// no change) if they are not all there. Offsets behind them are for the caller to put right.
    pub fn take_out(&mut self, at: usize, len: usize) -> bool {
        let front = usize::from(self.meta.l3) + at;
        if front + len > self.len() {
            return false;
        }
        self.data_mut().copy_within(..front, len);
        self.start += len;
        true
    }

    /// Cuts the data to `len` bytes; no change if it is shorter already.
    pub fn truncate(&mut self, len: usize) {
        self.end = self.end.min(self.start + len);
    }

    /// Adds bytes at the end; `false` (and no change) if the tailroom is too small.
    pub fn append(&mut self, bytes: &[u8]) -> bool {
        let Some(room) = self.storage.get_mut(self.end..self.end + bytes.len()) else { return false };
        room.copy_from_slice(bytes);
        self.end += bytes.len();
        true
    }

    /// The free bytes behind the data, for a device to read into; then call [`Packet::grew`].
    pub fn spare(&mut self) -> &mut [u8] {
        &mut self.storage[self.end..]
    }

    /// Says that `n` bytes of [`Packet::spare`] (at most all) now hold data.
    pub fn grew(&mut self, n: usize) {
        self.end += n.min(self.tailroom());
    }

    /// How much memory the packet holds, for accounts of what waits.
    pub fn footprint(&self) -> usize {
        self.storage.len() + size_of::<Packet>()
    }

    /// The same packet in storage just large enough, for one that will wait long.
    #[must_use]
    pub fn compact(mut self, pool: &mut Pool) -> Packet {
        if self.storage.len() <= SMALL || self.len() + HEADROOM > self.storage.len() / 2 {
            return self;
        }
        let mut small = Packet::from_slice(self.data());
        small.meta = self.meta;
        small.cut = self.cut.take();
        pool.put(self);
        small
    }

    /// Gives the storage back, for a pool.
    pub fn into_storage(self) -> Box<[u8]> {
        self.storage
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exchanging_the_l2_header_keeps_l3() {
        let mut p = Packet::from_slice(b"0123456789abcdIPIPIP");
        p.meta.l3 = 14;
        p.meta.l4 = 2;
        assert_eq!(p.l3(), b"IPIPIP");
        p.set_l2_len(18).unwrap().fill(b'x');
        assert_eq!((p.len(), p.meta.l3, p.l3()), (24, 18, &b"IPIPIP"[..]));
        p.set_l2_len(0).unwrap();
        assert_eq!((p.data(), p.l4()), (&b"IPIPIP"[..], &b"IPIP"[..]));
        assert!(p.set_l2_len(HEADROOM + 15).is_none());
        assert_eq!(p.data(), b"IPIPIP");
    }

    #[test]
    fn offsets_beyond_the_end_give_nothing() {
        let mut p = Packet::from_slice(b"abc");
        p.meta.l3 = 9;
        p.meta.l4 = 9;
        assert!(p.l3().is_empty() && p.l4().is_empty() && p.l3_mut().is_empty() && p.l4_mut().is_empty());
        assert!(p.set_l2_len(0).is_none());
    }

    #[test]
    fn taking_out_moves_what_is_in_front() {
        let mut p = Packet::from_slice(b"l2abXXcd");
        p.meta.l3 = 2;
        assert!(p.take_out(2, 2) && p.data() == b"l2abcd" && p.l3() == b"abcd");
        assert!(!p.take_out(3, 2) && p.data() == b"l2abcd");
        assert!(p.take_out(2, 2) && p.data() == b"l2ab");
    }

    #[test]
    fn append_and_grow_stop_at_the_storage() {
        let mut p = Packet::over(vec![0; 8].into(), 4);
        assert!(p.append(b"ab") && !p.append(b"cde") && p.append(b"cd"));
        assert_eq!((p.data(), p.tailroom()), (&b"abcd"[..], 0));
        p.truncate(1);
        p.grew(100);
        assert_eq!(p.len(), 4);
    }

    #[test]
    fn compact_copies_only_what_is_mostly_empty() {
        let mut pool = Pool::new(4);
        let mut p = pool.large();
        p.append(b"hello");
        let p = p.compact(&mut pool);
        assert_eq!(p.data(), b"hello");
        assert!(p.footprint() < 1000);
        assert!(p.headroom() >= HEADROOM);
    }
}
