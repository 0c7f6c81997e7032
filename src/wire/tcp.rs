//! The TCP header (RFC 9293 §3.1).
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +-------------------------------+-------------------------------+
//! |          source port          |       destination port        |
//! +-------------------------------+-------------------------------+
//! |                        sequence number                        |
//! +---------------------------------------------------------------+
//! |                     acknowledgment number                     |
//! +-------+-------+---------------+-------------------------------+
//! | data  | reser-|C|E|U|A|P|R|S|F|                               |
//! | offset| ved   |W|C|R|C|S|S|Y|I|            window             |
//! |       |       |R|E|G|K|H|T|N|N|                               |
//! +-------+-------+---------------+-------------------------------+
//! |           checksum            |        urgent pointer         |
//! +-------------------------------+-------------------------------+
//! |                    options, 0 to 40 bytes                     |
//! +---------------------------------------------------------------+
//! ```

use std::net::IpAddr;

use super::bytes::{put_u8, put_u16, put_u32, u8_at, u16_at, u32_at};
use super::{checksum, proto};

/// Bytes of a header without options, the least there is.
pub const HEADER_LEN: usize = 20;
/// Where the checksum is, from the header.
pub const CHECKSUM_AT: usize = 16;

/// No more data from the sender.
pub const FIN: u8 = 0x01;
/// Synchronize sequence numbers.
pub const SYN: u8 = 0x02;
/// Reset the connection.
pub const RST: u8 = 0x04;
/// Push the data to the receiver.
pub const PSH: u8 = 0x08;
/// The acknowledgment number counts.
pub const ACK: u8 = 0x10;
/// The urgent pointer counts.
pub const URG: u8 = 0x20;
/// ECN echo (RFC 3168).
pub const ECE: u8 = 0x40;
/// Congestion window reduced (RFC 3168).
pub const CWR: u8 = 0x80;

/// A segment.
#[derive(Debug, Clone, Copy)]
pub struct Tcp<B>(B);

impl<B: AsRef<[u8]>> Tcp<B> {
    /// A view of a segment; `None` if the fixed header is not all there.
    #[inline]
    pub fn new(b: B) -> Option<Self> {
        (b.as_ref().len() >= HEADER_LEN).then_some(Tcp(b))
    }

    fn b(&self) -> &[u8] {
        self.0.as_ref()
    }

    /// The source port.
    #[inline]
    pub fn src_port(&self) -> u16 {
        u16_at(self.b(), 0)
    }

    /// The destination port.
    #[inline]
    pub fn dst_port(&self) -> u16 {
        u16_at(self.b(), 2)
    }

    /// The sequence number of the first byte of payload (or of SYN).
    #[inline]
    pub fn seq(&self) -> u32 {
        u32_at(self.b(), 4)
    }

    /// The sequence number expected next from the other side.
    #[inline]
    pub fn ack(&self) -> u32 {
        u32_at(self.b(), 8)
    }

    /// The header's length in bytes, as it says: 0..=60, perhaps too small, perhaps beyond the end.
    #[inline]
    pub fn header_len(&self) -> usize {
        usize::from(u8_at(self.b(), 12) >> 4) * 4
    }

    /// The flags [`FIN`] to [`CWR`].
    #[inline]
    pub fn flags(&self) -> u8 {
        u8_at(self.b(), 13)
    }

    /// The receive window, not scaled.
    pub fn window(&self) -> u16 {
        u16_at(self.b(), 14)
    }

    /// The checksum as it stands.
    pub fn checksum(&self) -> u16 {
        u16_at(self.b(), CHECKSUM_AT)
    }

    /// The urgent pointer.
    pub fn urgent(&self) -> u16 {
        u16_at(self.b(), 18)
    }

    /// The options; empty if there are none or the header length lies.
    pub fn options(&self) -> &[u8] {
        self.b().get(HEADER_LEN..self.header_len()).unwrap_or_default()
    }

    /// What follows the header; empty if the header length lies.
    pub fn payload(&self) -> &[u8] {
        self.b().get(self.header_len().max(HEADER_LEN)..).unwrap_or_default()
    }
}

impl<B: AsRef<[u8]> + AsMut<[u8]>> Tcp<B> {
    /// Sets the source port; the checksum is left as it is.
    pub fn set_src_port(&mut self, port: u16) {
        put_u16(self.0.as_mut(), 0, port);
    }

    /// Sets the destination port; the checksum is left as it is.
    pub fn set_dst_port(&mut self, port: u16) {
        put_u16(self.0.as_mut(), 2, port);
    }

    /// Sets the sequence number; the checksum is left as it is.
    pub fn set_seq(&mut self, seq: u32) {
        put_u32(self.0.as_mut(), 4, seq);
    }

    /// Sets the acknowledgment number; the checksum is left as it is.
    pub fn set_ack(&mut self, ack: u32) {
        put_u32(self.0.as_mut(), 8, ack);
    }

    /// Sets the flags; the checksum is left as it is.
    pub fn set_flags(&mut self, flags: u8) {
        put_u8(self.0.as_mut(), 13, flags);
    }

    /// Sets the checksum field.
    pub fn set_checksum(&mut self, csum: u16) {
        put_u16(self.0.as_mut(), CHECKSUM_AT, csum);
    }

    /// Computes the checksum of the whole view anew. `src` and `dst` must be of one family; if they
    /// aren't the field becomes 0.
    pub fn fill_checksum(&mut self, src: IpAddr, dst: IpAddr) {
        self.set_checksum(0);
        let pseudo = checksum::pseudo(src, dst, proto::TCP, self.b().len() as u32);
        let csum = pseudo.map_or(0, |p| !checksum::fold(p + checksum::sum(self.b())));
        self.set_checksum(csum);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields() {
        let mut b = [
            0x1f, 0x90, 0xc0, 0x00, 0, 0, 0, 7, 0, 0, 1, 0, 0x60, 0x12, 0xfa, 0xf0, 0xab, 0xcd, 0, 9, 2, 4,
            5, 0xb4, 0xaa, 0xbb,
        ];
        let t = Tcp::new(&b).unwrap();
        assert_eq!((t.src_port(), t.dst_port(), t.seq(), t.ack()), (8080, 49152, 7, 256));
        assert_eq!(
            (t.header_len(), t.flags(), t.window(), t.checksum(), t.urgent()),
            (24, SYN | ACK, 64240, 0xabcd, 9)
        );
        assert_eq!((t.options(), t.payload()), (&[2, 4, 5, 0xb4][..], &[0xaa, 0xbb][..]));
        b[12] = 0xf0;
        let t = Tcp::new(&b).unwrap();
        assert!(t.options().is_empty() && t.payload().is_empty());
        b[12] = 0;
        let mut t = Tcp::new(&mut b).unwrap();
        assert!(t.options().is_empty());
        t.set_src_port(1);
        t.set_dst_port(2);
        t.set_seq(3);
        t.set_ack(4);
        t.set_flags(FIN | CWR);
        assert_eq!((t.src_port(), t.dst_port(), t.seq(), t.ack(), t.flags()), (1, 2, 3, 4, 0x81));
        assert!(Tcp::new(&b[..19]).is_none());
    }
}
