//! ICMP for IPv4 (RFC 792).
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +---------------+---------------+-------------------------------+
//! |     type      |     code      |           checksum            |
//! +---------------+---------------+-------------------------------+
//! |    rest: ident and sequence, or MTU, pointer, gateway …       |
//! +---------------------------------------------------------------+
//! |    the offending packet's header and some of its data, or     |
//! |    what was sent to be echoed …
//! ```

use std::ops::Deref;

use super::bytes::{put, put_u8, put_u16, put_u32};
use super::checksum;
use super::icmp::{self, Icmp};

pub use super::icmp::HEADER_LEN;

/// How much of an offending packet an error quotes: as much as keeps it, with a header without options,
/// within 576 bytes (RFC 1812 §4.3.2.3).
pub const MAX_QUOTE: usize = 576 - 20 - HEADER_LEN;

/// Echo reply.
pub const ECHO_REPLY: u8 = 0;
/// Destination unreachable; codes in [`mod@unreachable`].
pub const UNREACHABLE: u8 = 3;
/// Source quench, deprecated (RFC 6633).
pub const SOURCE_QUENCH: u8 = 4;
/// Redirect; codes [`REDIRECT_NET`], [`REDIRECT_HOST`].
pub const REDIRECT: u8 = 5;
/// Echo request.
pub const ECHO: u8 = 8;
/// Router advertisement (RFC 1256).
pub const ROUTER_ADVERT: u8 = 9;
/// Router solicitation (RFC 1256).
pub const ROUTER_SOLICIT: u8 = 10;
/// Time exceeded; codes [`TTL_EXCEEDED`], [`REASSEMBLY_EXCEEDED`].
pub const TIME_EXCEEDED: u8 = 11;
/// Parameter problem: the pointer is the first byte of the rest.
pub const PARAMETER_PROBLEM: u8 = 12;
/// Timestamp request.
pub const TIMESTAMP: u8 = 13;
/// Timestamp reply.
pub const TIMESTAMP_REPLY: u8 = 14;

/// Redirect code: for the network.
pub const REDIRECT_NET: u8 = 0;
/// Redirect code: for the host.
pub const REDIRECT_HOST: u8 = 1;
/// Time exceeded code: the TTL ran out.
pub const TTL_EXCEEDED: u8 = 0;
/// Time exceeded code: fragments were missing.
pub const REASSEMBLY_EXCEEDED: u8 = 1;

/// Codes of destination unreachable (RFC 792, RFC 1812 §5.2.7.1).
pub mod unreachable {
    /// No route.
    pub const NET: u8 = 0;
    /// The last router can't reach the host.
    pub const HOST: u8 = 1;
    /// Nobody there speaks the protocol.
    pub const PROTOCOL: u8 = 2;
    /// Nobody listens on the port.
    pub const PORT: u8 = 3;
    /// Too large and not to be fragmented; the MTU is in the low half of the rest (RFC 1191 §4).
    pub const FRAGMENTATION_NEEDED: u8 = 4;
    /// A source route could not be kept.
    pub const SOURCE_ROUTE_FAILED: u8 = 5;
    /// The network is not known.
    pub const NET_UNKNOWN: u8 = 6;
    /// The host is not known.
    pub const HOST_UNKNOWN: u8 = 7;
    /// The network is prohibited.
    pub const NET_PROHIBITED: u8 = 9;
    /// The host is prohibited.
    pub const HOST_PROHIBITED: u8 = 10;
    /// A filter forbids it.
    pub const ADMIN_PROHIBITED: u8 = 13;
}

/// Whether a message of this type is an error, or one Linux does not know and takes for one: no error is sent
/// about it (RFC 1812 §4.3.2.7).
pub fn is_error(kind: u8) -> bool {
    matches!(kind, UNREACHABLE | SOURCE_QUENCH | REDIRECT | TIME_EXCEEDED | PARAMETER_PROBLEM) || kind > 18
}

/// A message.
#[derive(Debug, Clone, Copy)]
pub struct Icmpv4<B>(Icmp<B>);

impl<B> Deref for Icmpv4<B> {
    type Target = Icmp<B>;

    #[inline]
    fn deref(&self) -> &Icmp<B> {
        &self.0
    }
}

impl<B: AsRef<[u8]>> Icmpv4<B> {
    /// A view of a message; `None` if the header is not all there.
    #[inline]
    pub fn new(b: B) -> Option<Self> {
        Icmp::new(b).map(Icmpv4)
    }

    /// Whether the checksum is right.
    pub fn verify_checksum(&self) -> bool {
        checksum::checksum(self.b()) == 0
    }
}

/// Writes a message with its checksum to the front of `buf`: type, code, the second word, and what follows
/// (for an error, the packet it is about, already cut to [`MAX_QUOTE`]). Gives its length; `None` if
/// the buffer is too small.
pub fn emit(buf: &mut [u8], kind: u8, code: u8, rest: u32, body: &[u8]) -> Option<usize> {
    let message = buf.get_mut(..HEADER_LEN + body.len())?;
    put(message, 0, [kind, code, 0, 0]);
    put_u32(message, 4, rest);
    message[HEADER_LEN..].copy_from_slice(body);
    let csum = checksum::checksum(message);
    put_u16(message, 2, csum);
    Some(message.len())
}

/// Makes an echo request its reply, in place, checksum included. `false` (and no change) if it is none.
pub fn echo_reply(message: &mut [u8]) -> bool {
    icmp::turn(message, ECHO, ECHO_REPLY)
}

/// Makes a timestamp request its reply, in place, checksum included: it came and goes at `ms_since_midnight` (UTC).
/// Gives the length of the reply; `None` (and no change) if it is no whole request.
pub fn timestamp_reply(message: &mut [u8], ms_since_midnight: u32) -> Option<usize> {
    let message = message.get_mut(..TIMESTAMP_LEN).filter(|m| m[0] == TIMESTAMP)?;
    put_u8(message, 0, TIMESTAMP_REPLY);
    put_u32(message, 12, ms_since_midnight);
    put_u32(message, 16, ms_since_midnight);
    put_u16(message, 2, 0);
    let csum = checksum::checksum(message);
    put_u16(message, 2, csum);
    Some(TIMESTAMP_LEN)
}

/// Bytes of a timestamp message: three times of four bytes follow the header.
const TIMESTAMP_LEN: usize = 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_quotes_and_is_summed() {
        let mut b = [0xee; 64];
        let n = emit(&mut b, UNREACHABLE, unreachable::FRAGMENTATION_NEEDED, 1400, &[0x45, 0, 5]).unwrap();
        assert_eq!(n, 11);
        let m = Icmpv4::new(&b[..n]).unwrap();
        assert_eq!((m.kind(), m.code(), m.rest(), m.payload()), (3, 4, 1400, &[0x45, 0, 5][..]));
        assert!(m.verify_checksum());
        assert_eq!(b[11], 0xee);
        assert_eq!(emit(&mut b[..10], ECHO, 0, 0, &[1, 2, 3]), None);
    }

    #[test]
    fn echo_in_place() {
        let mut b = [0; 13];
        emit(&mut b, ECHO, 0, 0x1234_0001, b"hello").unwrap();
        assert!(echo_reply(&mut b));
        let m = Icmpv4::new(&b).unwrap();
        assert_eq!((m.kind(), m.ident(), m.seq(), m.payload()), (ECHO_REPLY, 0x1234, 1, &b"hello"[..]));
        assert!(m.verify_checksum());
        assert!(!echo_reply(&mut b), "a reply is not answered");
        assert!(!echo_reply(&mut [8; 7]));
    }

    #[test]
    fn timestamp_in_place() {
        let mut b = [0; 24];
        emit(&mut b, TIMESTAMP, 0, 0x0001_0002, &[0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 0]).unwrap();
        assert_eq!(timestamp_reply(&mut b, 0x0102_0304), Some(20));
        let m = Icmpv4::new(&b[..20]).unwrap();
        assert_eq!((m.kind(), m.rest()), (TIMESTAMP_REPLY, 0x0001_0002));
        assert_eq!(m.payload(), [0, 0, 0, 5, 1, 2, 3, 4, 1, 2, 3, 4]);
        assert!(m.verify_checksum());
        assert_eq!(timestamp_reply(&mut b, 0), None);
        assert_eq!(timestamp_reply(&mut [13; 19], 0), None);
    }

    #[test]
    fn errors_are_not_answered_with_errors() {
        let errors: Vec<u8> = (0..=255).filter(|k| is_error(*k)).collect();
        assert_eq!(errors[..6], [3, 4, 5, 11, 12, 19]);
        assert!(errors.contains(&255));
    }
}
