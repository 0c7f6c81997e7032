//! ICMP for IPv6 (RFC 4443). Neighbor discovery is in [`ndp`](super::ndp).
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +---------------+---------------+-------------------------------+
//! |     type      |     code      |   checksum, pseudo-header     |
//! |               |               |           included            |
//! +---------------+---------------+-------------------------------+
//! |    rest: ident and sequence, or MTU, pointer …                |
//! +---------------------------------------------------------------+
//! |    as much of the offending packet as fits into 1280 bytes,   |
//! |    or what was sent to be echoed …
//! ```

use std::net::Ipv6Addr;
use std::ops::Deref;

use super::bytes::{put, put_u16, put_u32};
use super::icmp::{self, Icmp};
use super::{checksum, ipv6, proto};

pub use super::icmp::HEADER_LEN;

/// How much of an offending packet an error quotes: as much as keeps it within the least MTU (RFC 4443 §2.4 (c)).
pub const MAX_QUOTE: usize = ipv6::MIN_MTU - ipv6::HEADER_LEN - HEADER_LEN;

/// Destination unreachable; codes in [`mod@unreachable`].
pub const UNREACHABLE: u8 = 1;
/// Packet too big; the rest is the MTU.
pub const TOO_BIG: u8 = 2;
/// Time exceeded; codes [`HOPS_EXCEEDED`], [`REASSEMBLY_EXCEEDED`].
pub const TIME_EXCEEDED: u8 = 3;
/// Parameter problem; the rest is the pointer, codes in [`problem`].
pub const PARAMETER_PROBLEM: u8 = 4;
/// Echo request.
pub const ECHO: u8 = 128;
/// Echo reply.
pub const ECHO_REPLY: u8 = 129;
/// Multicast listener query (RFC 2710, RFC 3810).
pub const MLD_QUERY: u8 = 130;
/// Multicast listener report, version 1 (RFC 2710).
pub const MLD_REPORT: u8 = 131;
/// Multicast listener done (RFC 2710).
pub const MLD_DONE: u8 = 132;
/// Router solicitation (RFC 4861).
pub const ROUTER_SOLICIT: u8 = 133;
/// Router advertisement (RFC 4861).
pub const ROUTER_ADVERT: u8 = 134;
/// Neighbor solicitation (RFC 4861).
pub const NEIGHBOR_SOLICIT: u8 = 135;
/// Neighbor advertisement (RFC 4861).
pub const NEIGHBOR_ADVERT: u8 = 136;
/// Redirect (RFC 4861).
pub const REDIRECT: u8 = 137;
/// Multicast listener report, version 2 (RFC 3810).
pub const MLD2_REPORT: u8 = 143;

/// Time exceeded code: the hop limit ran out.
pub const HOPS_EXCEEDED: u8 = 0;
/// Time exceeded code: fragments were missing.
pub const REASSEMBLY_EXCEEDED: u8 = 1;

/// Codes of destination unreachable (RFC 4443 §3.1).
pub mod unreachable {
    /// No route.
    pub const NO_ROUTE: u8 = 0;
    /// A filter forbids it.
    pub const PROHIBITED: u8 = 1;
    /// The source address has no meaning on the way out.
    pub const BEYOND_SCOPE: u8 = 2;
    /// The last router can't reach the host.
    pub const ADDRESS: u8 = 3;
    /// Nobody listens on the port.
    pub const PORT: u8 = 4;
    /// The source address may not go this way.
    pub const POLICY: u8 = 5;
    /// A reject route.
    pub const REJECT: u8 = 6;
}

/// Codes of parameter problem (RFC 4443 §3.4, RFC 7112).
pub mod problem {
    /// A field is wrong.
    pub const FIELD: u8 = 0;
    /// A next header is not known.
    pub const NEXT_HEADER: u8 = 1;
    /// An option is not known.
    pub const OPTION: u8 = 2;
    /// The first fragment lacks the upper-layer header.
    pub const INCOMPLETE_CHAIN: u8 = 3;
}

/// Whether no error is sent about a message of this type: errors and redirects (RFC 4443 §2.4 (e)).
pub fn is_error(kind: u8) -> bool {
    kind < 128 || kind == REDIRECT
}

/// A message.
#[derive(Debug, Clone, Copy)]
pub struct Icmpv6<B>(Icmp<B>);

impl<B> Deref for Icmpv6<B> {
    type Target = Icmp<B>;

    #[inline]
    fn deref(&self) -> &Icmp<B> {
        &self.0
    }
}

impl<B: AsRef<[u8]>> Icmpv6<B> {
    /// A view of a message; `None` if the header is not all there.
    #[inline]
    pub fn new(b: B) -> Option<Self> {
        Icmp::new(b).map(Icmpv6)
    }

    /// Whether the checksum is right for these addresses.
    pub fn verify_checksum(&self, src: Ipv6Addr, dst: Ipv6Addr) -> bool {
        message_checksum(self.b(), src, dst) == 0
    }
}

/// Writes a message with its checksum to the front of `buf`: type, code, the second word, and what follows
/// (for an error, the packet it is about, already cut to [`MAX_QUOTE`]). Gives its length; `None` if
/// the buffer is too small.
pub fn emit(
    buf: &mut [u8],
    (src, dst): (Ipv6Addr, Ipv6Addr),
    (kind, code): (u8, u8),
    rest: u32,
    body: &[u8],
) -> Option<usize> {
    let message = buf.get_mut(..HEADER_LEN + body.len())?;
    put(message, 0, [kind, code]);
    put_u32(message, 4, rest);
    message[HEADER_LEN..].copy_from_slice(body);
    fill_checksum(message, src, dst);
    Some(message.len())
}

/// Makes an echo request its reply, in place, checksum included, for the same two addresses exchanged; where the
/// request went to a group, [`fill_checksum`] must follow. `false` (and no change) if it is none.
pub fn echo_reply(message: &mut [u8]) -> bool {
    icmp::turn(message, ECHO, ECHO_REPLY)
}

/// Computes the checksum of a message anew.
pub fn fill_checksum(message: &mut [u8], src: Ipv6Addr, dst: Ipv6Addr) {
    put_u16(message, 2, 0);
    let csum = message_checksum(message, src, dst);
    put_u16(message, 2, csum);
}

fn message_checksum(message: &[u8], src: Ipv6Addr, dst: Ipv6Addr) -> u16 {
    let pseudo = checksum::pseudo_v6(src, dst, proto::ICMPV6, message.len() as u32);
    !checksum::fold(pseudo + checksum::sum(message))
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Ipv6Addr = Ipv6Addr::new(0xfd01, 0, 0, 0, 0, 0, 0, 1);
    const B: Ipv6Addr = Ipv6Addr::new(0xfd02, 0, 0, 0, 0, 0, 0, 2);

    #[test]
    fn a_known_message() {
        // 1 + 1 + 8 + 58 of the pseudo-header, 0x8000 + 1 + 1 of the message: 0x8046, complemented.
        let mut b = [0; 8];
        emit(&mut b, (Ipv6Addr::LOCALHOST, Ipv6Addr::LOCALHOST), (ECHO, 0), 0x0001_0001, &[]).unwrap();
        assert_eq!(b, [0x80, 0, 0x7f, 0xb9, 0, 1, 0, 1]);
    }

    #[test]
    fn an_error_quotes_and_is_summed() {
        let mut b = [0xee; 64];
        let n = emit(&mut b, (A, B), (TOO_BIG, 0), 1400, &[0x60, 0, 5]).unwrap();
        let m = Icmpv6::new(&b[..n]).unwrap();
        assert_eq!((m.kind(), m.code(), m.rest(), m.payload()), (2, 0, 1400, &[0x60, 0, 5][..]));
        assert!(m.verify_checksum(A, B) && !m.verify_checksum(A, A));
        assert_eq!(emit(&mut b[..10], (A, B), (ECHO, 0), 0, &[1, 2, 3]), None);
    }

    #[test]
    fn echo_in_place() {
        let mut b = [0; 13];
        emit(&mut b, (A, B), (ECHO, 0), 0x1234_0001, b"hello").unwrap();
        assert!(echo_reply(&mut b));
        let m = Icmpv6::new(&b).unwrap();
        assert_eq!((m.kind(), m.ident(), m.seq(), m.payload()), (ECHO_REPLY, 0x1234, 1, &b"hello"[..]));
        assert!(m.verify_checksum(B, A));
        assert!(!echo_reply(&mut b));
    }

    #[test]
    fn errors_are_not_answered_with_errors() {
        assert!(is_error(1) && is_error(127) && is_error(REDIRECT) && !is_error(ECHO) && !is_error(255));
    }
}
