//! VLAN tags (IEEE 802.1Q §9.6).
//!
//! ```text
//!  … source MAC │ TPID 0x8100 or 0x88a8 │ TCI │ ethertype │ payload …
//!
//!  TCI  0 1 2   3   4 5 6 7 8 9 a b c d e f
//!      +-----+---+-------------------------+
//!      | PCP |DEI|           VID           |
//!      +-----+---+-------------------------+
//! ```

use super::bytes::{put_u16, u16_at};
use super::ethernet::{QINQ, VLAN};

/// Bytes a tag adds to a frame.
pub const TAG_LEN: usize = 4;

/// Whether an ethertype announces a tag.
#[inline]
pub fn is_tag(ethertype: u16) -> bool {
    matches!(ethertype, VLAN | QINQ)
}

/// A tag: what follows an ethertype that announces one.
#[derive(Debug, Clone, Copy)]
pub struct Vlan<B>(B);

impl<B: AsRef<[u8]>> Vlan<B> {
    /// A view of the bytes after the tag's ethertype; `None` if the tag is not all there.
    #[inline]
    pub fn new(b: B) -> Option<Self> {
        (b.as_ref().len() >= TAG_LEN).then_some(Vlan(b))
    }

    /// The tag control information.
    pub fn tci(&self) -> u16 {
        u16_at(self.0.as_ref(), 0)
    }

    /// Priority code point, 0..=7.
    pub fn pcp(&self) -> u8 {
        (self.tci() >> 13) as u8
    }

    /// Drop eligible indicator.
    pub fn dei(&self) -> bool {
        self.tci() & 0x1000 != 0
    }

    /// VLAN identifier, 0..=4095; 0 tags only the priority.
    pub fn vid(&self) -> u16 {
        self.tci() & 0x0fff
    }

    /// The protocol of the payload, or another tag's.
    pub fn ethertype(&self) -> u16 {
        u16_at(self.0.as_ref(), 2)
    }

    /// What follows the tag.
    pub fn payload(&self) -> &[u8] {
        self.0.as_ref().get(TAG_LEN..).unwrap_or_default()
    }
}

/// Puts a tag back that was stripped: the first four bytes of `frame` are free, the untagged frame
/// follows them; afterwards the tagged frame begins at the first byte. No change to a frame that
/// holds less than the two MACs.
pub fn insert(frame: &mut [u8], tpid: u16, tci: u16) {
    if frame.len() < TAG_LEN + 12 {
        return;
    }
    frame.copy_within(TAG_LEN..TAG_LEN + 12, 0);
    put_u16(frame, 12, tpid);
    put_u16(frame, 14, tci);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields() {
        let v = Vlan::new([0xb0, 0x64, 0x08, 0x00, 0x45]).unwrap();
        assert_eq!((v.pcp(), v.dei(), v.vid(), v.ethertype()), (5, true, 100, 0x0800));
        assert_eq!(v.payload(), [0x45]);
        assert!(Vlan::new([0, 1, 2]).is_none());
    }

    #[test]
    fn a_tag_goes_between_the_macs_and_the_ethertype() {
        let mut b = *b"....DDDDDDSSSSSS\x08\x00ip";
        insert(&mut b, 0x88a8, 0x0123);
        assert_eq!(&b, b"DDDDDDSSSSSS\x88\xa8\x01\x23\x08\x00ip");
        let mut short = *b"....DDDDDDSSSSS";
        insert(&mut short, VLAN, 1);
        assert_eq!(&short, b"....DDDDDDSSSSS");
    }
}
