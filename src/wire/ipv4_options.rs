//! IPv4 options (RFC 791 §3.1): checked as Linux checks them on receipt, filled in on the way through.
//!
//! ```text
//!  record route, source routes       timestamp
//! +------+------+-------+- - - -    +------+------+-------+----+----+- - - -
//! | kind |length|pointer| addresses | kind |length|pointer|ovfl|flag| entries
//! +------+------+-------+- - - -    +------+------+-------+----+----+- - - -
//! ```
//!
//! Pointers count from the option's first byte, which is 1. What is after the end-of-list option does
//! not count, and is zeroed when the packet is forwarded.

use std::net::Ipv4Addr;

use super::bytes::{put, put_u8, put_u16, put_u32, u8_at, v4_at};
use super::checksum;
use super::ipv4::{HEADER_LEN, MAX_HEADER_LEN};

/// What the options of a packet ask for. Positions are offsets from the IP header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Options {
    /// Whether the sender lists the routers to be visited.
    pub source_route: SourceRoute,
    /// Where the source route is; 0 if there is none.
    pub source_route_at: u8,
    /// Where the record route option is.
    pub record_route: Option<u8>,
    /// Where the timestamp option is.
    pub timestamp: Option<u8>,
    /// Whether every router is to look at the packet (RFC 2113).
    pub router_alert: bool,
    /// Where the padding behind an end-of-list option begins, if it is not all zero.
    garbage: Option<u8>,
    /// Whether the next prespecified address in the timestamp option is this router's.
    prespecified_is_ours: bool,
}

/// Kinds of source route.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum SourceRoute {
    /// None.
    #[default]
    None,
    /// Other routers may be between those listed.
    Loose,
    /// No other routers.
    Strict,
}

/// Reads the options of a whole, valid header (at least 20 bytes). The error is the pointer of the parameter
/// problem to be sent (RFC 792): the offset of the offending byte from the IP header.
pub fn parse(header: &[u8]) -> Result<Options, u8> {
    let mut seen = Options::default();
    let mut at = HEADER_LEN;
    // Headers are at most 60 bytes long: offsets fit into a byte.
    while let Some(kind) = header.get(at).copied() {
        match kind {
            END => {
                if header[at..].iter().any(|b| *b != END) {
                    seen.garbage = Some(at as u8 + 1);
                }
                break;
            }
            NOP => {
                at += 1;
                continue;
            }
            _ => {}
        }
        let len = usize::from(u8_at(header, at + 1));
        let option = header.get(at..at + len).filter(|o| o.len() >= 2).ok_or(at as u8)?;
        let wrong = |field: usize| (at + field) as u8;
        match kind {
            LOOSE_ROUTE | STRICT_ROUTE => {
                source_route(option).map_err(wrong)?;
                if seen.source_route != SourceRoute::None {
                    return Err(wrong(0));
                }
                seen.source_route =
                    if kind == STRICT_ROUTE { SourceRoute::Strict } else { SourceRoute::Loose };
                seen.source_route_at = at as u8;
            }
            RECORD_ROUTE => {
                if seen.record_route.is_some() {
                    return Err(wrong(0));
                }
                record_route(option).map_err(wrong)?;
                seen.record_route = Some(at as u8);
            }
            TIMESTAMP => {
                if seen.timestamp.is_some() {
                    return Err(wrong(0));
                }
                timestamp(option).map_err(wrong)?;
                seen.timestamp = Some(at as u8);
            }
            ROUTER_ALERT => {
                if len < 4 {
                    return Err(wrong(1));
                }
                seen.router_alert |= option[2..4] == [0, 0];
            }
            _ => {}
        }
        at += len;
    }
    Ok(seen)
}

/// Whether a source route can be. The error is the place of what is wrong in the option; so it is below.
fn source_route(option: &[u8]) -> Result<(), usize> {
    match option.get(2) {
        None => Err(1),
        Some(0..4) => Err(2),
        Some(_) => Ok(()),
    }
}

/// Whether a record of the route can be: a whole address fits, or none any more.
fn record_route(option: &[u8]) -> Result<(), usize> {
    let len = option.len();
    let pointer = usize::from(*option.get(2).ok_or(1usize)?);
    if pointer < 4 || (pointer <= len && pointer + 3 > len) { Err(2) } else { Ok(()) }
}

/// Whether timestamps can be: a whole one fits, with its address where that belongs to it, or none any more and the
/// overflow can still be counted.
fn timestamp(option: &[u8]) -> Result<(), usize> {
    let &[_, _, pointer, flags, ..] = option else { return Err(1) };
    let (len, pointer, flag) = (option.len(), usize::from(pointer), flags & 0xf);
    let entry = match flag {
        TS_ADDR | TS_PRESPEC => 8,
        _ => 4,
    };
    if pointer < 5 || (pointer <= len && pointer + entry - 1 > len) {
        return Err(2);
    }
    if pointer > len && flag != TS_PRESPEC && flags >> 4 == 15 { Err(3) } else { Ok(()) }
}

impl Options {
    /// The address that the timestamp option wants stamped next, if the sender prescribed one.
    pub fn prespecified(&self, header: &[u8]) -> Option<Ipv4Addr> {
        let at = usize::from(self.timestamp?);
        let (len, pointer) = (u8_at(header, at + 1), u8_at(header, at + 2));
        (u8_at(header, at + 3) & 0xf == TS_PRESPEC && pointer <= len)
            .then(|| v4_at(header, entry(at, pointer)))
    }

    /// Says that [`Options::prespecified`] is an address of this router, so that
    /// [`stamp_on_forward`] writes the time beside it.
    pub fn set_prespecified_is_ours(&mut self) {
        self.prespecified_is_ours = true;
    }

    /// Whether forwarding changes anything in the options.
    pub fn wants_stamp(&self) -> bool {
        self.record_route.is_some() || self.timestamp.is_some() || self.garbage.is_some()
    }
}

/// Fills in what the options of a forwarded packet ask this router for (RFC 1812 §5.3.13): `out_addr`, the
/// router's address on the way out, into record route and timestamp, `ms_since_midnight` (UTC) into the timestamp.
/// A full record route passes as it is, a full timestamp counts the overflow. `opts` is what [`parse`] made of
/// this header; the checksum is computed anew if anything changed.
pub fn stamp_on_forward(header: &mut [u8], opts: &Options, out_addr: Ipv4Addr, ms_since_midnight: u32) {
    if !opts.wants_stamp() {
        return;
    }
    if let Some(garbage) = opts.garbage.and_then(|at| header.get_mut(usize::from(at)..)) {
        garbage.fill(END);
    }
    if let Some(at) = opts.record_route.map(usize::from) {
        let (len, pointer) = (u8_at(header, at + 1), u8_at(header, at + 2));
        if pointer <= len {
            put(header, entry(at, pointer), out_addr.octets());
            put_u8(header, at + 2, pointer.wrapping_add(4));
        }
    }
    if let Some(at) = opts.timestamp.map(usize::from) {
        let (len, pointer) = (u8_at(header, at + 1), u8_at(header, at + 2));
        let overflow_flag = u8_at(header, at + 3);
        let entry = entry(at, pointer);
        match overflow_flag & 0xf {
            TS_PRESPEC if pointer > len || !opts.prespecified_is_ours => {}
            _ if pointer > len => put_u8(header, at + 3, overflow_flag.wrapping_add(0x10)),
            TS_ONLY => {
                put_u32(header, entry, ms_since_midnight);
                put_u8(header, at + 2, pointer.wrapping_add(4));
            }
            flag @ (TS_ADDR | TS_PRESPEC) => {
                if flag == TS_ADDR {
                    put(header, entry, out_addr.octets());
                }
                put_u32(header, entry + 4, ms_since_midnight);
                put_u8(header, at + 2, pointer.wrapping_add(8));
            }
            _ => {}
        }
    }
    put_u16(header, 10, 0);
    let csum = checksum::checksum(header);
    put_u16(header, 10, csum);
}

/// Options of a packet made here: up to 40 bytes, a multiple of 4.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Echoed {
    bytes: [u8; MAX_LEN],
    len: usize,
}

impl Echoed {
    /// The bytes that go behind the fixed header.
    pub fn as_slice(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// The options of an ICMP reply to, or error about, the packet with this header: its record route and timestamp, each
/// filled in twice, on arrival and on the way back, as Linux does (RFC 1122 §3.2.2.6). `addr` is the reply's source
/// address, `ours` tells the router's own. Empty if there is nothing to echo; `None` if an option has room for half an
/// entry, then Linux sends no reply.
///
/// A source route is not turned round: packets with one are refused.
pub fn echo(
    header: &[u8],
    opts: &Options,
    addr: Ipv4Addr,
    ms_since_midnight: u32,
    ours: impl Fn(Ipv4Addr) -> bool,
) -> Option<Echoed> {
    // The fixed header in front stays zero: it only makes the offsets those of a packet.
    let mut reply = [0; HEADER_LEN + MAX_LEN];
    let mut end = HEADER_LEN;
    for at in [opts.record_route, opts.timestamp].into_iter().flatten().map(usize::from) {
        let option = header.get(at..at + usize::from(u8_at(header, at + 1)))?;
        reply.get_mut(end..end + option.len())?.copy_from_slice(option);
        end += option.len();
    }
    let end = end.next_multiple_of(4);
    let arrived = parse(&reply[..end]).ok()?;
    stamp_echo(&mut reply[..end], arrived, addr, ms_since_midnight, &ours);
    // A timestamp that is full now has counted its overflow already: it stands last, and is left out.
    let full = |at: &u8| u8_at(&reply, usize::from(*at) + 2) > u8_at(&reply, usize::from(*at) + 1);
    let until = arrived.timestamp.filter(full).map_or(end, usize::from);
    let leaving = parse(&reply[..until]).ok()?;
    stamp_echo(&mut reply[..until], leaving, addr, ms_since_midnight, &ours);
    let mut bytes = [0; MAX_LEN];
    bytes.copy_from_slice(&reply[HEADER_LEN..]);
    Some(Echoed { bytes, len: end - HEADER_LEN })
}

fn stamp_echo(
    header: &mut [u8],
    mut opts: Options,
    addr: Ipv4Addr,
    ms_since_midnight: u32,
    ours: impl Fn(Ipv4Addr) -> bool,
) {
    if opts.prespecified(header).is_some_and(ours) {
        opts.set_prespecified_is_ours();
    }
    stamp_on_forward(header, &opts, addr, ms_since_midnight);
}

/// Where the pointer of the option at `at` points to.
fn entry(at: usize, pointer: u8) -> usize {
    (at + usize::from(pointer)).saturating_sub(1)
}

/// Makes the options of a later fragment of those of the whole packet: what is not to be copied becomes
/// padding, the length stays (RFC 791 §3.1, copied flag).
pub fn copied_options(options: &mut [u8]) {
    let mut at = 0;
    while let Some(kind) = options.get(at).copied() {
        let len = match kind {
            END => return,
            NOP => 1,
            _ => usize::from(u8_at(options, at + 1)),
        };
        let Some(option) = options.get_mut(at..at + len).filter(|o| !o.is_empty()) else { return };
        if kind & COPIED == 0 {
            option.fill(NOP);
        }
        at += len;
    }
}

/// Bytes of options at most.
const MAX_LEN: usize = MAX_HEADER_LEN - HEADER_LEN;

/// Option kinds: IANA "IP Option Numbers".
const END: u8 = 0;
const NOP: u8 = 1;
const RECORD_ROUTE: u8 = 7;
const TIMESTAMP: u8 = 68;
const LOOSE_ROUTE: u8 = 131;
const STRICT_ROUTE: u8 = 137;
const ROUTER_ALERT: u8 = 148;
/// The bit of a kind that says it goes into every fragment.
const COPIED: u8 = 0x80;

/// Timestamp flags (RFC 791 §3.1): times only; addresses and times; times beside prescribed addresses.
const TS_ONLY: u8 = 0;
const TS_ADDR: u8 = 1;
const TS_PRESPEC: u8 = 3;

#[cfg(test)]
mod tests;
