//! The IPv4 header (RFC 791 §3.1).
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +-------+-------+---------------+-------------------------------+
//! |version|  IHL  |      TOS      |         total length          |
//! +-------+-------+---------------+-+-+-+-------------------------+
//! |        identification         |0|D|M|     fragment offset     |
//! |                               | |F|F|                         |
//! +---------------+---------------+-+-+-+-------------------------+
//! |      TTL      |   protocol    |        header checksum        |
//! +---------------+---------------+-------------------------------+
//! |                        source address                         |
//! +---------------------------------------------------------------+
//! |                      destination address                      |
//! +---------------------------------------------------------------+
//! |                    options, 0 to 40 bytes                     |
//! +---------------------------------------------------------------+
//! ```

use std::net::Ipv4Addr;

use super::bytes::{put, put_u8, put_u16, u8_at, u16_at, v4_at};
use super::checksum;

/// Bytes of a header without options, the least there is.
pub const HEADER_LEN: usize = 20;
/// Bytes of the longest header.
pub const MAX_HEADER_LEN: usize = 60;
/// Don't fragment, in the word of flags and offset.
pub const DONT_FRAGMENT: u16 = 0x4000;
/// More fragments, in the word of flags and offset.
pub const MORE_FRAGMENTS: u16 = 0x2000;
/// The offset's part of the word of flags and offset, in units of 8 bytes.
pub const OFFSET_MASK: u16 = 0x1fff;
/// Every router forwards packets up to this many bytes (RFC 791 §3.2).
pub const MIN_MTU: usize = 68;

/// An IPv4 packet, from its header on.
#[derive(Debug, Clone, Copy)]
pub struct Ipv4<B>(B);

impl<B: AsRef<[u8]>> Ipv4<B> {
    /// A view of a packet; `None` if the fixed header is not all there. Nothing else is checked.
    #[inline]
    pub fn new(b: B) -> Option<Self> {
        (b.as_ref().len() >= HEADER_LEN).then_some(Ipv4(b))
    }

    #[inline]
    fn b(&self) -> &[u8] {
        self.0.as_ref()
    }

    /// The IP version.
    #[inline]
    pub fn version(&self) -> u8 {
        u8_at(self.b(), 0) >> 4
    }

    /// The header's length in bytes, as it says: 0..=60, perhaps too small, perhaps beyond the end.
    #[inline]
    pub fn header_len(&self) -> usize {
        usize::from(u8_at(self.b(), 0) & 0xf) * 4
    }

    /// Type of service: DSCP and ECN (RFC 2474, RFC 3168).
    #[inline]
    pub fn tos(&self) -> u8 {
        u8_at(self.b(), 1)
    }

    /// The packet's length in bytes, as it says.
    #[inline]
    pub fn total_len(&self) -> u16 {
        u16_at(self.b(), 2)
    }

    /// The identification its fragments share.
    #[inline]
    pub fn ident(&self) -> u16 {
        u16_at(self.b(), 4)
    }

    /// Flags and fragment offset as they stand.
    #[inline]
    pub fn flags_offset(&self) -> u16 {
        u16_at(self.b(), 6)
    }

    /// Whether it must not be fragmented.
    #[inline]
    pub fn dont_fragment(&self) -> bool {
        self.flags_offset() & DONT_FRAGMENT != 0
    }

    /// Whether fragments follow it.
    #[inline]
    pub fn more_fragments(&self) -> bool {
        self.flags_offset() & MORE_FRAGMENTS != 0
    }

    /// The fragment's place in the datagram, in bytes.
    #[inline]
    pub fn frag_offset(&self) -> usize {
        usize::from(self.flags_offset() & OFFSET_MASK) * 8
    }

    /// Whether it is a fragment, the first included.
    #[inline]
    pub fn is_fragment(&self) -> bool {
        self.flags_offset() & (MORE_FRAGMENTS | OFFSET_MASK) != 0
    }

    /// Time to live: the hops it may still take.
    #[inline]
    pub fn ttl(&self) -> u8 {
        u8_at(self.b(), 8)
    }

    /// The upper-layer protocol; see [`proto`](super::proto).
    #[inline]
    pub fn protocol(&self) -> u8 {
        u8_at(self.b(), 9)
    }

    /// The header checksum as it stands.
    #[inline]
    pub fn checksum(&self) -> u16 {
        u16_at(self.b(), 10)
    }

    /// The source address.
    #[inline]
    pub fn src(&self) -> Ipv4Addr {
        v4_at(self.b(), 12)
    }

    /// The destination address.
    #[inline]
    pub fn dst(&self) -> Ipv4Addr {
        v4_at(self.b(), 16)
    }

    /// The options; empty if there are none or the header length lies.
    #[inline]
    pub fn options(&self) -> &[u8] {
        self.b().get(HEADER_LEN..self.header_len()).unwrap_or_default()
    }

    /// What follows the header, up to the total length or the end, whichever comes first; empty if the header
    /// length lies.
    #[inline]
    pub fn payload(&self) -> &[u8] {
        let end = usize::from(self.total_len()).min(self.b().len());
        self.b().get(self.header_len().max(HEADER_LEN)..end).unwrap_or_default()
    }

    /// Whether the header checksum is right; false as well if the header length lies.
    #[inline]
    pub fn verify_checksum(&self) -> bool {
        let header = self.header();
        header.len() >= HEADER_LEN && checksum::checksum(header) == 0
    }

    fn header(&self) -> &[u8] {
        self.b().get(..self.header_len()).unwrap_or_default()
    }
}

impl<B: AsRef<[u8]> + AsMut<[u8]>> Ipv4<B> {
    #[inline]
    fn m(&mut self) -> &mut [u8] {
        self.0.as_mut()
    }

    /// Sets TTL; the checksum is left as it is.
    pub fn set_ttl(&mut self, ttl: u8) {
        put_u8(self.m(), 8, ttl);
    }

    /// Sets the type of service; the checksum is left as it is.
    pub fn set_tos(&mut self, tos: u8) {
        put_u8(self.m(), 1, tos);
    }

    /// Sets the total length in bytes; the checksum is left as it is.
    pub fn set_total_len(&mut self, len: u16) {
        put_u16(self.m(), 2, len);
    }

    /// Sets the identification; the checksum is left as it is.
    pub fn set_ident(&mut self, ident: u16) {
        put_u16(self.m(), 4, ident);
    }

    /// Sets flags and fragment offset: [`DONT_FRAGMENT`], [`MORE_FRAGMENTS`], and the offset in units of
    /// 8 bytes. The checksum is left as it is.
    pub fn set_flags_offset(&mut self, word: u16) {
        put_u16(self.m(), 6, word);
    }

    /// Sets the protocol; the checksum is left as it is.
    pub fn set_protocol(&mut self, protocol: u8) {
        put_u8(self.m(), 9, protocol);
    }

    /// Sets the checksum field.
    pub fn set_checksum(&mut self, csum: u16) {
        put_u16(self.m(), 10, csum);
    }

    /// Computes the header checksum anew. A header length that lies makes no difference to other bytes:
    /// only the field is written.
    pub fn fill_checksum(&mut self) {
        self.set_checksum(0);
        let csum = checksum::checksum(self.header());
        self.set_checksum(csum);
    }

    /// Takes one from the TTL (0 stays 0) and corrects the checksum.
    #[inline]
    pub fn decrement_ttl(&mut self) {
        let old = u16_at(self.b(), 8);
        if old >> 8 != 0 {
            let new = old - 0x100;
            let csum = checksum::update16(self.checksum(), old, new);
            put_u16(self.m(), 8, new);
            self.set_checksum(csum);
        }
    }

    /// Sets the source address and corrects the header checksum; the upper layer's is the caller's.
    pub fn set_src(&mut self, addr: Ipv4Addr) {
        self.set_addr(12, addr);
    }

    /// Sets the destination address and corrects the header checksum; the upper layer's is the caller's.
    pub fn set_dst(&mut self, addr: Ipv4Addr) {
        self.set_addr(16, addr);
    }

    fn set_addr(&mut self, at: usize, addr: Ipv4Addr) {
        let csum = checksum::update32(self.checksum(), v4_at(self.b(), at).into(), addr.into());
        put(self.m(), at, addr.octets());
        self.set_checksum(csum);
    }
}

/// A header of the router's own making: 20 bytes, no options, not a fragment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ipv4Header {
    /// The source address.
    pub src: Ipv4Addr,
    /// The destination address.
    pub dst: Ipv4Addr,
    /// The upper-layer protocol.
    pub proto: u8,
    /// Time to live.
    pub ttl: u8,
    /// Type of service.
    pub tos: u8,
    /// Identification.
    pub ident: u16,
    /// Whether it must not be fragmented.
    pub dont_fragment: bool,
    /// Bytes that follow the header, at most 65,515: more is written as that.
    pub payload_len: usize,
}

impl Ipv4Header {
    /// Writes the header, with its checksum, over the first 20 bytes. A shorter buffer takes what fits.
    pub fn emit(&self, buf: &mut [u8]) {
        let mut b = [0; HEADER_LEN];
        put(&mut b, 0, [0x45, self.tos]);
        put_u16(&mut b, 2, u16::try_from(self.payload_len + HEADER_LEN).unwrap_or(u16::MAX));
        put_u16(&mut b, 4, self.ident);
        put_u16(&mut b, 6, if self.dont_fragment { DONT_FRAGMENT } else { 0 });
        put(&mut b, 8, [self.ttl, self.proto]);
        put(&mut b, 12, self.src.octets());
        put(&mut b, 16, self.dst.octets());
        let csum = checksum::checksum(&b);
        put_u16(&mut b, 10, csum);
        let n = buf.len().min(HEADER_LEN);
        buf[..n].copy_from_slice(&b[..n]);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HEADER: Ipv4Header = Ipv4Header {
        src: Ipv4Addr::new(172, 16, 10, 99),
        dst: Ipv4Addr::new(172, 16, 10, 12),
        proto: 6,
        ttl: 64,
        tos: 0x10,
        ident: 0x1c46,
        dont_fragment: true,
        payload_len: 40,
    };

    fn packet() -> Vec<u8> {
        let mut b = vec![0xaa; 64];
        HEADER.emit(&mut b);
        b
    }

    #[test]
    fn emitted_and_read_back() {
        let b = packet();
        assert_eq!(b[..12], [0x45, 0x10, 0, 60, 0x1c, 0x46, 0x40, 0, 64, 6, 0xb1, 0xd6]);
        let p = Ipv4::new(&b).unwrap();
        assert_eq!((p.version(), p.header_len(), p.tos(), p.total_len()), (4, 20, 0x10, 60));
        assert_eq!(
            (p.ident(), p.ttl(), p.protocol(), p.src(), p.dst()),
            (0x1c46, 64, 6, HEADER.src, HEADER.dst)
        );
        assert!(p.dont_fragment() && !p.more_fragments() && !p.is_fragment() && p.verify_checksum());
        assert!(p.options().is_empty());
        assert_eq!(p.payload(), [0xaa; 40], "padding does not belong to it");
    }

    #[test]
    fn fragments() {
        let mut b = packet();
        let mut p = Ipv4::new(&mut b).unwrap();
        p.set_flags_offset(MORE_FRAGMENTS | 185);
        p.fill_checksum();
        assert!(p.more_fragments() && p.is_fragment() && !p.dont_fragment() && p.verify_checksum());
        assert_eq!(p.frag_offset(), 1480);
    }

    #[test]
    fn lying_lengths_give_less_never_more() {
        let mut b = packet();
        b[0] = 0x4f;
        assert_eq!(Ipv4::new(&b).unwrap().options().len(), 40);
        assert!(Ipv4::new(&b[..59]).unwrap().options().is_empty());
        assert!(!Ipv4::new(&b[..59]).unwrap().verify_checksum());
        b[0] = 0x41;
        let p = Ipv4::new(&b).unwrap();
        assert!(p.options().is_empty() && !p.verify_checksum());
        b[0] = 0x45;
        b[3] = 10;
        assert!(Ipv4::new(&b).unwrap().payload().is_empty());
        assert!(Ipv4::new(&b[..19]).is_none());
    }

    #[test]
    fn ttl_zero_stays_zero() {
        let mut b = packet();
        let mut p = Ipv4::new(&mut b).unwrap();
        p.set_ttl(1);
        p.fill_checksum();
        p.decrement_ttl();
        assert!(p.ttl() == 0 && p.verify_checksum());
        p.decrement_ttl();
        assert!(p.ttl() == 0 && p.verify_checksum());
    }

    proptest! {
        #[test]
        fn changes_keep_the_checksum_right(
            src in any::<u32>(), dst in any::<u32>(), ttl in 1u8.., proto: u8, ident: u16, tos: u8,
            new_src in any::<u32>(), new_dst in any::<u32>(),
        ) {
            let mut b = [0; 20];
            Ipv4Header { src: src.into(), dst: dst.into(), proto, ttl, tos, ident, ..HEADER }.emit(&mut b);
            let mut p = Ipv4::new(&mut b).unwrap();
            prop_assert!(p.verify_checksum());
            p.decrement_ttl();
            p.set_src(new_src.into());
            p.set_dst(new_dst.into());
            let by_steps = p.checksum();
            p.fill_checksum();
            prop_assert_eq!(by_steps, p.checksum());
            prop_assert_eq!((p.ttl(), p.src(), p.dst()), (ttl - 1, new_src.into(), new_dst.into()));
        }
    }
}
