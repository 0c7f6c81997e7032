//! IPv6 extension headers (RFC 8200 §4): the chain, and the options in it.
//!
//! ```text
//!  options, routing          fragment
//! +-----------+-----------+ +-----------+-----------+-----------------+-+-+
//! |next header| length /8 | |next header|  reserved |  offset, 13 bit |0|M|
//! +-----------+-----------+ +-----------+-----------+-----------------+-+-+
//! | options, or type and  | |               identification              |
//! | segments left …       | +-------------------------------------------+
//! +-----------------------+
//!  (length does not count the first 8 bytes; an authentication header's is in 4 bytes, less 2)
//! ```

use super::bytes::{u8_at, u16_at, u32_at};
use super::{ipv6, proto};

/// As many extension headers are followed; a chain has no use for more.
pub const MAX_HEADERS: usize = 8;
/// As many options other than padding are looked at in one header
/// (`net.ipv6.max_hbh_opts_number`, `net.ipv6.max_dst_opts_number`).
pub const MAX_OPTIONS: usize = 8;

/// What stands between an IPv6 header and its upper layer. Offsets are in bytes from the IPv6 header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Chain {
    /// Where the upper-layer header is; 0 if none can be seen: later fragments, `no next header`, nothing
    /// behind the last header.
    pub l4: usize,
    /// The upper-layer protocol; for a later fragment, what its fragment header says comes first.
    pub proto: u8,
    /// The fragment header.
    pub frag: Option<FragHeader>,
    /// Whether hop-by-hop options are there; if so they are at 40.
    pub hop_by_hop: bool,
    /// The first routing header.
    pub routing: Option<RoutingHeader>,
    /// Where the first two destination options headers are.
    pub destination: [Option<usize>; 2],
    /// Where the next-header byte is that names `proto`.
    pub proto_field: usize,
}

/// A fragment header (RFC 8200 §4.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FragHeader {
    /// Where it is, from the IPv6 header.
    pub at: usize,
    /// Where the next-header byte is that announces it.
    pub named_at: usize,
    /// The fragment's place in the fragmentable part, in bytes.
    pub offset: usize,
    /// Whether more fragments follow.
    pub more: bool,
    /// What the fragments of a packet share.
    pub ident: u32,
}

impl FragHeader {
    /// Bytes of the header.
    pub const LEN: usize = 8;

    /// Whether it is a whole packet all the same (RFC 6946).
    pub fn is_atomic(&self) -> bool {
        self.offset == 0 && !self.more
    }
}

/// A routing header (RFC 8200 §4.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RoutingHeader {
    /// Where it is, from the IPv6 header; its type is at +2, the segments left at +3.
    pub at: usize,
    /// The routing type; 0 is deprecated (RFC 5095).
    pub kind: u8,
    /// Listed nodes still to be visited.
    pub segments_left: u8,
}

/// Why a chain could not be followed to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ChainError {
    /// More than [`MAX_HEADERS`].
    #[error("more than {MAX_HEADERS} extension headers")]
    TooLong,
    /// A header reaches beyond the end of the packet.
    #[error("an extension header is cut short")]
    Truncated,
    /// Hop-by-hop options that don't come first (RFC 8200 §4.1).
    #[error("hop-by-hop options behind another header")]
    Misplaced {
        /// The offset of the next-header byte that names them, for a parameter problem of code 1.
        pointer: usize,
    },
}

/// Follows the chain of a packet: its bytes from the IPv6 header to the end of its payload, which must
/// be cut off already. Stops at an upper layer, at what it doesn't know, and behind a fragment header
/// with an offset.
pub fn walk(packet: &[u8]) -> Result<Chain, ChainError> {
    let mut chain = Chain { proto: u8_at(packet, 6), proto_field: 6, ..Chain::default() };
    let mut at = ipv6::HEADER_LEN;
    for _ in 0..=MAX_HEADERS {
        let unit = match chain.proto {
            proto::HOP_BY_HOP if at != ipv6::HEADER_LEN => {
                return Err(ChainError::Misplaced { pointer: chain.proto_field });
            }
            proto::HOP_BY_HOP | proto::DEST_OPTIONS | proto::ROUTING | proto::FRAGMENT => 8,
            proto::AH => 4,
            proto::NONE => return Ok(chain),
            _ => {
                chain.l4 = if at < packet.len() { at } else { 0 };
                return Ok(chain);
            }
        };
        let Some(header) = packet.get(at..).filter(|h| h.len() >= 8) else { return cut_short(chain) };
        let mut len = match chain.proto {
            proto::AH => (usize::from(u8_at(header, 1)) + 2) * unit,
            _ => (usize::from(u8_at(header, 1)) + 1) * unit,
        };
        match chain.proto {
            proto::HOP_BY_HOP => chain.hop_by_hop = true,
            proto::ROUTING if chain.routing.is_none() => {
                chain.routing =
                    Some(RoutingHeader { at, kind: u8_at(header, 2), segments_left: u8_at(header, 3) });
            }
            proto::FRAGMENT => {
                len = FragHeader::LEN;
                let word = u16_at(header, 2);
                let frag = FragHeader {
                    at,
                    named_at: chain.proto_field,
                    offset: usize::from(word & 0xfff8),
                    more: word & 1 != 0,
                    ident: u32_at(header, 4),
                };
                let first = chain.frag.get_or_insert(frag);
                if first.offset != 0 || frag.offset != 0 {
                    chain.proto = u8_at(header, 0);
                    chain.proto_field = at;
                    return Ok(chain);
                }
            }
            proto::DEST_OPTIONS => {
                // RFC 8200 §4.1: at most one before a routing header and one behind.
                if let Some(free) = chain.destination.iter_mut().find(|d| d.is_none()) {
                    *free = Some(at);
                }
            }
            _ => {}
        }
        if header.len() < len {
            return cut_short(chain);
        }
        chain.proto = u8_at(header, 0);
        chain.proto_field = at;
        at += len;
    }
    Err(ChainError::TooLong)
}

/// A chain that ends in the midst of a header. In a first fragment the rest of it stands in another, and no
/// upper-layer header can be seen here (RFC 7112).
fn cut_short(chain: Chain) -> Result<Chain, ChainError> {
    let continued = chain.frag.is_some_and(|f| f.more);
    if continued { Ok(Chain { l4: 0, ..chain }) } else { Err(ChainError::Truncated) }
}

/// What the options of a header say to a router that may pass them on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Options {
    /// The value of a router alert (RFC 2711).
    pub router_alert: Option<u16>,
}

/// Why a packet with such options goes no further.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OptionError {
    /// The options are malformed; nobody is told (as Linux).
    #[error("malformed options")]
    Malformed,
    /// An option that is not known asks for silence (RFC 8200 §4.2, action 01, and 11 to a group).
    #[error("an unknown option asks to drop the packet")]
    Discard,
    /// The sender is told by a parameter problem.
    #[error("parameter problem, code {code}, at {pointer}")]
    Problem {
        /// The code: 0 erroneous field, 2 unknown option (RFC 4443 §3.4).
        code: u8,
        /// The offset of the option, or of the field, from the IPv6 header.
        pointer: u32,
    },
}

/// Which header's options are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OptionsOf {
    /// Hop-by-hop options, by every router on the way.
    HopByHop,
    /// Destination options, by the destination.
    Destination,
}

/// Goes through the options of the header at `at` (from the IPv6 header), as Linux does: at most
/// [`MAX_OPTIONS`], never more than 7 bytes of padding in a row (RFC 4942 §2.1.9.5) and that all zero.
/// Jumbo payloads are refused: no link here carries them.
pub fn options(packet: &[u8], at: usize, of: OptionsOf) -> Result<Options, OptionError> {
    let len = (usize::from(u8_at(packet, at + 1)) + 1) * 8;
    let end = at + len;
    if packet.len() < end {
        return Err(OptionError::Malformed);
    }
    let mut seen = Options::default();
    let (mut at, mut padding, mut count) = (at + 2, 0, 0);
    while at < end {
        let kind = u8_at(packet, at);
        if kind == PAD1 {
            padding += 1;
            at += 1;
            if padding > MAX_PADDING {
                return Err(OptionError::Malformed);
            }
            continue;
        }
        let next = at + 2 + usize::from(u8_at(packet, at + 1));
        let option = packet.get(at..next).filter(|_| next <= end).ok_or(OptionError::Malformed)?;
        if kind == PADN {
            padding += option.len();
            if padding > MAX_PADDING || option[2..].iter().any(|b| *b != 0) {
                return Err(OptionError::Malformed);
            }
        } else {
            padding = 0;
            count += 1;
            if count > MAX_OPTIONS {
                return Err(OptionError::Malformed);
            }
            match kind {
                ROUTER_ALERT if of == OptionsOf::HopByHop => match option {
                    [_, 2, hi, lo] => seen.router_alert = Some(u16::from_be_bytes([*hi, *lo])),
                    _ => return Err(OptionError::Malformed),
                },
                JUMBO if of == OptionsOf::HopByHop => return Err(jumbo(packet, option, at)),
                _ => unknown(packet, kind, at)?,
            }
        }
        at = next;
    }
    Ok(seen)
}

/// RFC 2675 §3: what is wrong with a jumbo payload option. If nothing else is, the packet is shorter than it
/// says, since longer ones than 65,535 bytes can't have come here.
fn jumbo(packet: &[u8], option: &[u8], at: usize) -> OptionError {
    if option.len() != 6 || at % 4 != 2 {
        OptionError::Malformed
    } else if u32_at(option, 2) <= 0xffff {
        OptionError::Problem { code: 0, pointer: at as u32 + 2 }
    } else if u16_at(packet, 4) != 0 {
        OptionError::Problem { code: 0, pointer: at as u32 }
    } else {
        OptionError::Malformed
    }
}

/// RFC 8200 §4.2: the two highest bits of an option say what to do about it when it is not known.
fn unknown(packet: &[u8], kind: u8, at: usize) -> Result<(), OptionError> {
    let to_group = u8_at(packet, 24) == 0xff;
    match kind >> 6 {
        0 => Ok(()),
        1 => Err(OptionError::Discard),
        3 if to_group => Err(OptionError::Discard),
        _ => Err(OptionError::Problem { code: 2, pointer: at as u32 }),
    }
}

/// RFC 8200 §4.2.
const PAD1: u8 = 0;
const PADN: u8 = 1;
/// RFC 2711 §2.1.
const ROUTER_ALERT: u8 = 5;
/// RFC 2675 §2.
const JUMBO: u8 = 0xc2;
/// Padding aligns to 8 bytes: more is of no use (RFC 4942 §2.1.9.5).
const MAX_PADDING: usize = 7;

#[cfg(test)]
mod tests;
