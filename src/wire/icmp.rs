//! What the ICMP of both families has in common (RFC 792, RFC 4443 §2.1): the header. What types there are, and what is
//! summed, each says for itself in [`icmpv4`](super::icmpv4) and [`icmpv6`](super::icmpv6).
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +---------------+---------------+-------------------------------+
//! |     type      |     code      |           checksum            |
//! +---------------+---------------+-------------------------------+
//! |    rest: ident and sequence, or MTU, pointer, gateway …       |
//! +---------------------------------------------------------------+
//! |    payload …
//! ```

use super::bytes::{put_u8, put_u16, u8_at, u16_at, u32_at};
use super::checksum;

/// Bytes of the header.
pub const HEADER_LEN: usize = 8;

/// A message.
#[derive(Debug, Clone, Copy)]
pub struct Icmp<B>(B);

impl<B: AsRef<[u8]>> Icmp<B> {
    /// A view of a message; `None` if the header is not all there (no message is shorter).
    #[inline]
    pub fn new(b: B) -> Option<Self> {
        (b.as_ref().len() >= HEADER_LEN).then_some(Icmp(b))
    }

    pub(super) fn b(&self) -> &[u8] {
        self.0.as_ref()
    }

    /// The type.
    #[inline]
    pub fn kind(&self) -> u8 {
        u8_at(self.b(), 0)
    }

    /// The code.
    #[inline]
    pub fn code(&self) -> u8 {
        u8_at(self.b(), 1)
    }

    /// The checksum as it stands.
    pub fn checksum(&self) -> u16 {
        u16_at(self.b(), 2)
    }

    /// The second word of the header, whose meaning is the type's.
    pub fn rest(&self) -> u32 {
        u32_at(self.b(), 4)
    }

    /// The identifier of an echo or timestamp.
    pub fn ident(&self) -> u16 {
        u16_at(self.b(), 4)
    }

    /// The sequence number of an echo or timestamp.
    pub fn seq(&self) -> u16 {
        u16_at(self.b(), 6)
    }

    /// What follows the header.
    pub fn payload(&self) -> &[u8] {
        self.b().get(HEADER_LEN..).unwrap_or_default()
    }
}

/// Makes a request of type `of` its reply, of type `reply`, in place, checksum included. `false` (and no change) if it is
/// none.
pub(super) fn turn(message: &mut [u8], of: u8, reply: u8) -> bool {
    if message.len() < HEADER_LEN || message[0] != of {
        return false;
    }
    let old = u16_at(message, 0);
    put_u8(message, 0, reply);
    let csum = checksum::update16(u16_at(message, 2), old, u16_at(message, 0));
    put_u16(message, 2, csum);
    true
}
