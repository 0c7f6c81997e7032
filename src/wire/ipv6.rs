//! The IPv6 header (RFC 8200 §3).
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +-------+---------------+---------------------------------------+
//! |version| traffic class |              flow label               |
//! +-------+---------------+-------+---------------+---------------+
//! |        payload length         |  next header  |   hop limit   |
//! +-------------------------------+---------------+---------------+
//! |                                                               |
//! +                   source address, 128 bits                    +
//! |                               …                               |
//! +---------------------------------------------------------------+
//! |                                                               |
//! +                 destination address, 128 bits                 +
//! |                               …                               |
//! +---------------------------------------------------------------+
//! ```

use std::net::Ipv6Addr;

use super::bytes::{put, put_u8, put_u16, put_u32, u8_at, u16_at, u32_at, v6_at};

/// Bytes of the header.
pub const HEADER_LEN: usize = 40;
/// Every link carries packets up to this many bytes (RFC 8200 §5).
pub const MIN_MTU: usize = 1280;

/// An IPv6 packet, from its header on.
#[derive(Debug, Clone, Copy)]
pub struct Ipv6<B>(B);

impl<B: AsRef<[u8]>> Ipv6<B> {
    /// A view of a packet; `None` if the fixed header is not all there. Nothing else is checked.
    #[inline]
    pub fn new(b: B) -> Option<Self> {
        (b.as_ref().len() >= HEADER_LEN).then_some(Ipv6(b))
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

    /// Traffic class: DSCP and ECN.
    #[inline]
    pub fn traffic_class(&self) -> u8 {
        (u16_at(self.b(), 0) >> 4) as u8
    }

    /// The flow label, 20 bits.
    #[inline]
    pub fn flow_label(&self) -> u32 {
        u32_at(self.b(), 0) & 0x000f_ffff
    }

    /// Bytes that follow this header, as it says.
    #[inline]
    pub fn payload_len(&self) -> u16 {
        u16_at(self.b(), 4)
    }

    /// The protocol of what follows: an extension header's or the upper layer's.
    #[inline]
    pub fn next_header(&self) -> u8 {
        u8_at(self.b(), 6)
    }

    /// The hops it may still take.
    #[inline]
    pub fn hop_limit(&self) -> u8 {
        u8_at(self.b(), 7)
    }

    /// The source address.
    #[inline]
    pub fn src(&self) -> Ipv6Addr {
        v6_at(self.b(), 8)
    }

    /// The destination address.
    #[inline]
    pub fn dst(&self) -> Ipv6Addr {
        v6_at(self.b(), 24)
    }

    /// What follows the header, up to the payload length or the end, whichever comes first.
    #[inline]
    pub fn payload(&self) -> &[u8] {
        let end = (HEADER_LEN + usize::from(self.payload_len())).min(self.b().len());
        self.b().get(HEADER_LEN..end).unwrap_or_default()
    }
}

impl<B: AsRef<[u8]> + AsMut<[u8]>> Ipv6<B> {
    #[inline]
    fn m(&mut self) -> &mut [u8] {
        self.0.as_mut()
    }

    /// Sets the traffic class.
    pub fn set_traffic_class(&mut self, class: u8) {
        let word = u16_at(self.b(), 0) & 0xf00f | u16::from(class) << 4;
        put_u16(self.m(), 0, word);
    }

    /// Sets the payload length in bytes.
    pub fn set_payload_len(&mut self, len: u16) {
        put_u16(self.m(), 4, len);
    }

    /// Sets the next header.
    pub fn set_next_header(&mut self, proto: u8) {
        put_u8(self.m(), 6, proto);
    }

    /// Sets the hop limit.
    pub fn set_hop_limit(&mut self, hops: u8) {
        put_u8(self.m(), 7, hops);
    }

    /// Takes one from the hop limit; 0 stays 0.
    #[inline]
    pub fn decrement_hop_limit(&mut self) {
        let hops = self.hop_limit().saturating_sub(1);
        self.set_hop_limit(hops);
    }

    /// Sets the source address; the upper layer's checksum is the caller's.
    pub fn set_src(&mut self, addr: Ipv6Addr) {
        put(self.m(), 8, addr.octets());
    }

    /// Sets the destination address; the upper layer's checksum is the caller's.
    pub fn set_dst(&mut self, addr: Ipv6Addr) {
        put(self.m(), 24, addr.octets());
    }
}

/// A header of the router's own making.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ipv6Header {
    /// The source address.
    pub src: Ipv6Addr,
    /// The destination address.
    pub dst: Ipv6Addr,
    /// The protocol of what follows.
    pub next_header: u8,
    /// Hop limit.
    pub hop_limit: u8,
    /// Traffic class.
    pub traffic_class: u8,
    /// Flow label, 20 bits.
    pub flow_label: u32,
    /// Bytes that follow the header, at most 65,535: more is written as that.
    pub payload_len: usize,
}

impl Ipv6Header {
    /// Writes the header over the first 40 bytes. A shorter buffer takes what fits.
    pub fn emit(&self, buf: &mut [u8]) {
        let mut b = [0; HEADER_LEN];
        put_u32(&mut b, 0, 6 << 28 | u32::from(self.traffic_class) << 20 | self.flow_label & 0x000f_ffff);
        put_u16(&mut b, 4, u16::try_from(self.payload_len).unwrap_or(u16::MAX));
        put(&mut b, 6, [self.next_header, self.hop_limit]);
        put(&mut b, 8, self.src.octets());
        put(&mut b, 24, self.dst.octets());
        let n = buf.len().min(HEADER_LEN);
        buf[..n].copy_from_slice(&b[..n]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn emitted_read_back_and_changed() {
        let h = Ipv6Header {
            src: "fd01::2".parse().unwrap(),
            dst: "2001:db8::1".parse().unwrap(),
            next_header: 58,
            hop_limit: 1,
            traffic_class: 0xb8,
            flow_label: 0xfabcd,
            payload_len: 3,
        };
        let mut b = [0xaa; 48];
        h.emit(&mut b);
        assert_eq!(b[..8], [0x6b, 0x8f, 0xab, 0xcd, 0, 3, 58, 1]);
        let mut p = Ipv6::new(&mut b).unwrap();
        assert_eq!((p.version(), p.traffic_class(), p.flow_label()), (6, 0xb8, 0xfabcd));
        assert_eq!((p.payload_len(), p.next_header(), p.hop_limit()), (3, 58, 1));
        assert_eq!((p.src(), p.dst(), p.payload()), (h.src, h.dst, &[0xaa; 3][..]));

        p.set_traffic_class(0x01);
        p.set_payload_len(900);
        p.set_next_header(44);
        p.set_src(h.dst);
        p.set_dst(h.src);
        p.decrement_hop_limit();
        p.decrement_hop_limit();
        assert_eq!((p.version(), p.traffic_class(), p.flow_label()), (6, 1, 0xfabcd));
        assert_eq!((p.payload().len(), p.next_header(), p.hop_limit()), (8, 44, 0));
        assert_eq!((p.src(), p.dst()), (h.dst, h.src));
        assert!(Ipv6::new(&b[..39]).is_none());
    }
}
