//! The UDP header (RFC 768).
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +-------------------------------+-------------------------------+
//! |          source port          |       destination port        |
//! +-------------------------------+-------------------------------+
//! |  length, with these 8 bytes   |   checksum; 0 on IPv4: none   |
//! +-------------------------------+-------------------------------+
//! ```

use std::net::IpAddr;

use super::bytes::{put_u16, u16_at};
use super::{checksum, proto};

/// Bytes of the header.
pub const HEADER_LEN: usize = 8;
/// Where the checksum is, from the header.
pub const CHECKSUM_AT: usize = 6;

/// A datagram.
#[derive(Debug, Clone, Copy)]
pub struct Udp<B>(B);

impl<B: AsRef<[u8]>> Udp<B> {
    /// A view of a datagram; `None` if the header is not all there.
    #[inline]
    pub fn new(b: B) -> Option<Self> {
        (b.as_ref().len() >= HEADER_LEN).then_some(Udp(b))
    }

    fn b(&self) -> &[u8] {
        self.0.as_ref()
    }

    /// The source port; 0 if no answer is wanted.
    #[inline]
    pub fn src_port(&self) -> u16 {
        u16_at(self.b(), 0)
    }

    /// The destination port.
    #[inline]
    pub fn dst_port(&self) -> u16 {
        u16_at(self.b(), 2)
    }

    /// The length of header and payload, as it says.
    #[inline]
    pub fn length(&self) -> u16 {
        u16_at(self.b(), 4)
    }

    /// The checksum as it stands.
    #[inline]
    pub fn checksum(&self) -> u16 {
        u16_at(self.b(), CHECKSUM_AT)
    }

    /// What follows the header, up to the length or the end, whichever comes first.
    pub fn payload(&self) -> &[u8] {
        let end = usize::from(self.length()).min(self.b().len());
        self.b().get(HEADER_LEN..end).unwrap_or_default()
    }
}

impl<B: AsRef<[u8]> + AsMut<[u8]>> Udp<B> {
    /// Sets the source port; the checksum is left as it is.
    pub fn set_src_port(&mut self, port: u16) {
        put_u16(self.0.as_mut(), 0, port);
    }

    /// Sets the destination port; the checksum is left as it is.
    pub fn set_dst_port(&mut self, port: u16) {
        put_u16(self.0.as_mut(), 2, port);
    }

    /// Sets the length; the checksum is left as it is.
    pub fn set_length(&mut self, len: u16) {
        put_u16(self.0.as_mut(), 4, len);
    }

    /// Sets the checksum field.
    pub fn set_checksum(&mut self, csum: u16) {
        put_u16(self.0.as_mut(), CHECKSUM_AT, csum);
    }

    /// Computes the checksum of the whole view anew, never 0. `src` and `dst` must be of one family; if they
    /// aren't the field becomes 0.
    pub fn fill_checksum(&mut self, src: IpAddr, dst: IpAddr) {
        self.set_checksum(0);
        let pseudo = checksum::pseudo(src, dst, proto::UDP, self.b().len() as u32);
        let csum = pseudo.map_or(0, |p| checksum::udp(!checksum::fold(p + checksum::sum(self.b()))));
        self.set_checksum(csum);
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::wire::transport;

    #[test]
    fn set_and_read_back() {
        let mut b = *b"........hello!!";
        let mut u = Udp::new(&mut b[..]).unwrap();
        u.set_src_port(4000);
        u.set_dst_port(7);
        u.set_length(13);
        assert_eq!((u.src_port(), u.dst_port(), u.length(), u.payload()), (4000, 7, 13, &b"hello"[..]));
        u.set_length(4000);
        assert_eq!(u.payload(), b"hello!!");
        u.set_length(3);
        assert!(u.payload().is_empty());
        assert!(Udp::new(&b[..7]).is_none());
    }

    #[test]
    fn a_sum_of_zero_is_written_as_ones() {
        let (src, dst) = (IpAddr::V4(Ipv4Addr::new(1, 2, 3, 4)), IpAddr::V4(Ipv4Addr::new(5, 6, 7, 8)));
        let mut b = [0, 1, 0, 2, 0, 10, 0, 0, 0, 0];
        let mut u = Udp::new(&mut b[..]).unwrap();
        u.fill_checksum(src, dst);
        // Put what is missing to zero into the payload.
        let c = u.checksum().to_be_bytes();
        b[8..].copy_from_slice(&c);
        let mut u = Udp::new(&mut b[..]).unwrap();
        u.fill_checksum(src, dst);
        assert_eq!(u.checksum(), 0xffff);
        assert!(transport::verify(src, dst, proto::UDP, &b));
    }
}
