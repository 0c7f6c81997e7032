//! What conntrack reads from an SCTP packet: its tag, and which chunks it has.
//!
//! ```text
//! +---------------+---------------+-------------------------------+
//! |  chunk type   |         flags |        length, with this      |   common header, then chunks, each padded
//! +---------------+---------------+-------------------------------+   to four bytes (RFC 9260 §3.2)
//! |     INIT and INIT ACK: initiate tag, the other's from now on  |
//! +---------------------------------------------------------------+
//! ```
//!
//! Knows nothing of associations. The checksum is others' to verify.

use crate::wire::sctp::HEADER_LEN;

/// An SCTP packet whose chunks stand as they may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packet<'a> {
    /// Its verification tag.
    pub(super) tag: u32,
    chunks: &'a [u8],
    /// The chunks it has, bits of [`Kind::bit`].
    kinds: u16,
    /// Whether it has a DATA chunk.
    pub(super) has_data: bool,
}

/// Why a packet is no SCTP packet. It is INVALID then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// The common header does not fit in, or no chunk does.
    #[error("the SCTP packet is cut short")]
    Short,
    /// A chunk has length 0.
    #[error("an SCTP chunk has no length")]
    NoLength,
    /// Chunks that must stand alone or first don't.
    #[error("an SCTP chunk stands where it must not")]
    Misplaced,
}

/// A chunk.
#[derive(Debug, Clone, Copy)]
pub(super) struct Chunk<'a> {
    pub(super) kind: Kind,
    /// Bit T: the tag is the other side's own (RFC 9260 §3.3.7, §3.3.13).
    pub(super) reflects: bool,
    body: &'a [u8],
}

/// What a chunk is (RFC 9260 §3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Init,
    InitAck,
    Heartbeat,
    HeartbeatAck,
    Abort,
    Shutdown,
    ShutdownAck,
    Error,
    CookieEcho,
    CookieAck,
    ShutdownComplete,
    /// DATA, SACK and all that say nothing of where the association stands.
    Other,
}

impl Kind {
    #[cfg(test)]
    pub(super) const KNOWN: [Kind; 11] = [
        Kind::Init,
        Kind::InitAck,
        Kind::Heartbeat,
        Kind::HeartbeatAck,
        Kind::Abort,
        Kind::Shutdown,
        Kind::ShutdownAck,
        Kind::Error,
        Kind::CookieEcho,
        Kind::CookieAck,
        Kind::ShutdownComplete,
    ];

    fn of(number: u8) -> Kind {
        match number {
            1 => Kind::Init,
            2 => Kind::InitAck,
            4 => Kind::Heartbeat,
            5 => Kind::HeartbeatAck,
            6 => Kind::Abort,
            7 => Kind::Shutdown,
            8 => Kind::ShutdownAck,
            9 => Kind::Error,
            10 => Kind::CookieEcho,
            11 => Kind::CookieAck,
            14 => Kind::ShutdownComplete,
            _ => Kind::Other,
        }
    }

    const fn bit(self) -> u16 {
        1 << self as u16
    }
}

impl<'a> Packet<'a> {
    /// Reads a packet, from the first byte of the common header to the last of the datagram.
    pub fn read(l4: &'a [u8]) -> Result<Packet<'a>, Malformed> {
        let (header, chunks) = l4.split_at_checked(HEADER_LEN).ok_or(Malformed::Short)?;
        let tag = header.get(4..8).and_then(|b| b.first_chunk()).ok_or(Malformed::Short)?;
        let mut packet = Packet { tag: u32::from_be_bytes(*tag), chunks, kinds: 0, has_data: false };
        for (i, (number, length, chunk)) in RawChunks(chunks).enumerate() {
            let alone = Kind::Init.bit() | Kind::InitAck.bit() | Kind::ShutdownComplete.bit();
            let first = Kind::CookieEcho.bit() | Kind::CookieAck.bit();
            if length == 0 {
                return Err(Malformed::NoLength);
            }
            // A chunk that stands alone allows none behind it either.
            if i > 0 && (packet.kinds & alone != 0 || chunk.kind.bit() & (alone | first) != 0) {
                return Err(Malformed::Misplaced);
            }
            packet.kinds |= chunk.kind.bit();
            packet.has_data |= number == DATA;
        }
        if packet.kinds == 0 { Err(Malformed::Short) } else { Ok(packet) }
    }

    /// Its chunks.
    pub(super) fn chunks(&self) -> impl Iterator<Item = Chunk<'a>> + use<'a> {
        RawChunks(self.chunks).map(|(_, _, chunk)| chunk)
    }

    /// Whether it has a chunk of one of these.
    pub(super) fn has(&self, kinds: &[Kind]) -> bool {
        kinds.iter().any(|k| self.kinds & k.bit() != 0)
    }
}

impl Chunk<'_> {
    /// The tag that INIT and INIT ACK ask for, if their fixed part is all there.
    pub(super) fn initiate_tag(&self) -> Option<u32> {
        /// Tag, window, numbers of streams, first TSN (RFC 9260 §3.3.2).
        const FIXED: usize = 16;
        let fixed = self.body.get(..FIXED)?;
        fixed.first_chunk().map(|tag| u32::from_be_bytes(*tag))
    }
}

/// The chunks of a packet, with their numbers and lengths.
struct RawChunks<'a>(&'a [u8]);

impl<'a> Iterator for RawChunks<'a> {
    type Item = (u8, u16, Chunk<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let (&[number, flags, high, low], body) = self.0.split_first_chunk::<4>()?;
        let length = u16::from_be_bytes([high, low]);
        let padded = usize::from(length).next_multiple_of(4);
        // Length 0 ends it: read() has refused such a packet.
        self.0 = if length == 0 { &[] } else { self.0.get(padded..).unwrap_or_default() };
        Some((number, length, Chunk { kind: Kind::of(number), reflects: flags & 1 != 0, body }))
    }
}

/// RFC 9260 §3.3.1.
const DATA: u8 = 0;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn packet(chunks: &[(u8, u16)]) -> Vec<u8> {
        let mut b = vec![0, 1, 0, 2, 0, 0, 0, 99, 0, 0, 0, 0];
        for (number, length) in chunks {
            b.extend([*number, 0]);
            b.extend(length.to_be_bytes());
            b.resize(b.len() + usize::from(length.saturating_sub(4)).next_multiple_of(4), 7);
        }
        b
    }

    fn read(chunks: &[(u8, u16)]) -> Result<(), Malformed> {
        Packet::read(&packet(chunks)).map(drop)
    }

    #[test]
    fn where_chunks_may_stand() {
        assert_eq!(read(&[(1, 20)]), Ok(()));
        assert_eq!(read(&[(10, 9), (0, 20)]), Ok(()));
        assert_eq!(read(&[(0, 20), (10, 8)]), Err(Malformed::Misplaced));
        assert_eq!(read(&[(3, 16), (11, 4)]), Err(Malformed::Misplaced));
        assert_eq!(read(&[(1, 20), (0, 20)]), Err(Malformed::Misplaced));
        assert_eq!(read(&[(0, 20), (1, 20)]), Err(Malformed::Misplaced));
        assert_eq!(read(&[(14, 4), (14, 4)]), Err(Malformed::Misplaced));
        assert_eq!(read(&[(0, 20), (6, 4), (4, 8)]), Ok(()));
    }

    #[test]
    fn what_does_not_fit() {
        assert_eq!(read(&[]), Err(Malformed::Short));
        assert_eq!(read(&[(0, 0)]), Err(Malformed::NoLength));
        assert_eq!(Packet::read(&packet(&[(0, 4)])[..15]), Err(Malformed::Short));
        // The last chunk may be cut.
        assert!(Packet::read(&packet(&[(0, 40)])[..20]).is_ok());
        let whole = packet(&[(1, 20)]);
        let tag = |b| Packet::read(b).unwrap().chunks().next().and_then(|c| c.initiate_tag());
        assert_eq!((tag(&whole), tag(&whole[..31])), (Some(0x0707_0707), None));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(b in proptest::collection::vec(any::<u8>(), 0..100)) {
            if let Ok(p) = Packet::read(&b) {
                prop_assert!((1..=22).contains(&p.chunks().count()));
            }
        }
    }
}
