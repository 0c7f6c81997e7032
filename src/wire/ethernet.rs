//! Ethernet II frames (RFC 894).
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +-------------------------------+-------------------------------+
//! |                    destination MAC                            |
//! +                               +-------------------------------+
//! |                               |          source MAC           |
//! +-------------------------------+                               +
//! |                                                               |
//! +-------------------------------+-------------------------------+
//! |           ethertype           |          payload …
//! +-------------------------------+
//! ```

use super::bytes::{mac_at, put, put_u16, u16_at};
use crate::base::Mac;

/// Bytes of the header without tags.
pub const HEADER_LEN: usize = 14;

/// IPv4 (RFC 894).
pub const IPV4: u16 = 0x0800;
/// ARP (RFC 826).
pub const ARP: u16 = 0x0806;
/// IPv6 (RFC 2464 §3).
pub const IPV6: u16 = 0x86dd;
/// IEEE 802.1Q customer tag.
pub const VLAN: u16 = 0x8100;
/// IEEE 802.1ad service tag.
pub const QINQ: u16 = 0x88a8;

/// A frame with its header.
#[derive(Debug, Clone, Copy)]
pub struct Ethernet<B>(B);

impl<B: AsRef<[u8]>> Ethernet<B> {
    /// A view of a frame; `None` if the header is not all there.
    #[inline]
    pub fn new(b: B) -> Option<Self> {
        (b.as_ref().len() >= HEADER_LEN).then_some(Ethernet(b))
    }

    /// The receiving station or group.
    #[inline]
    pub fn dst(&self) -> Mac {
        mac_at(self.0.as_ref(), 0)
    }

    /// The sending station.
    #[inline]
    pub fn src(&self) -> Mac {
        mac_at(self.0.as_ref(), 6)
    }

    /// The protocol of the payload, or a tag's. Below 0x0600 it is a length (IEEE 802.3).
    #[inline]
    pub fn ethertype(&self) -> u16 {
        u16_at(self.0.as_ref(), 12)
    }

    /// What follows the header.
    #[inline]
    pub fn payload(&self) -> &[u8] {
        self.0.as_ref().get(HEADER_LEN..).unwrap_or_default()
    }
}

/// Writes a header over the first 14 bytes; a shorter buffer takes what fits.
#[inline]
pub fn write(buf: &mut [u8], dst: Mac, src: Mac, ethertype: u16) {
    put(buf, 0, dst.0);
    put(buf, 6, src.0);
    put_u16(buf, 12, ethertype);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn written_and_read_back() {
        let mut b = [0xee; 16];
        let (dst, src) = (Mac([1, 2, 3, 4, 5, 6]), Mac([2, 0, 0, 0, 1, 1]));
        write(&mut b, dst, src, IPV6);
        assert_eq!(b, [1, 2, 3, 4, 5, 6, 2, 0, 0, 0, 1, 1, 0x86, 0xdd, 0xee, 0xee]);
        let e = Ethernet::new(&b).unwrap();
        assert_eq!((e.dst(), e.src(), e.ethertype(), e.payload()), (dst, src, IPV6, &[0xee, 0xee][..]));
        assert!(Ethernet::new(&b[..13]).is_none());
    }
}
