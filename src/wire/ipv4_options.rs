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
use super::ipv4::HEADER_LEN;

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
        let wrong = |field: usize| Err((at + field) as u8);
        match kind {
            LOOSE_ROUTE | STRICT_ROUTE => {
                if len < 3 {
                    return wrong(1);
                }
                if option[2] < 4 {
                    return wrong(2);
                }
                if seen.source_route != SourceRoute::None {
                    return wrong(0);
                }
                seen.source_route =
                    if kind == STRICT_ROUTE { SourceRoute::Strict } else { SourceRoute::Loose };
                seen.source_route_at = at as u8;
            }
            RECORD_ROUTE => {
                if seen.record_route.is_some() {
                    return wrong(0);
                }
                if len < 3 {
                    return wrong(1);
                }
                let pointer = usize::from(option[2]);
                if pointer < 4 || (pointer <= len && pointer + 3 > len) {
                    return wrong(2);
                }
                seen.record_route = Some(at as u8);
            }
            TIMESTAMP => {
                if seen.timestamp.is_some() {
                    return wrong(0);
                }
                if len < 4 {
                    return wrong(1);
                }
                let (pointer, flag) = (usize::from(option[2]), option[3] & 0xf);
                if pointer < 5 {
                    return wrong(2);
                }
                let entry = match flag {
                    TS_ADDR | TS_PRESPEC => 8,
                    _ => 4,
                };
                if pointer <= len && pointer + entry - 1 > len {
                    return wrong(2);
                }
                if pointer > len && flag != TS_PRESPEC && option[3] >> 4 == 15 {
                    return wrong(3);
                }
                seen.timestamp = Some(at as u8);
            }
            ROUTER_ALERT => {
                if len < 4 {
                    return wrong(1);
                }
                seen.router_alert |= option[2..4] == [0, 0];
            }
            _ => {}
        }
        at += len;
    }
    Ok(seen)
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
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::ipv4::Ipv4;

    const OUT: Ipv4Addr = Ipv4Addr::new(10, 2, 0, 1);

    fn header(options: &[u8]) -> Vec<u8> {
        let mut h = vec![0x45, 0, 0, 99, 0, 0, 0, 0, 64, 17, 0, 0, 10, 1, 0, 2, 10, 2, 0, 2];
        h.extend(options);
        h.resize(h.len().next_multiple_of(4), 0);
        h[0] = 0x40 | (h.len() / 4) as u8;
        Ipv4::new(&mut h).unwrap().fill_checksum();
        h
    }

    fn stamped(options: &[u8]) -> Vec<u8> {
        let mut h = header(options);
        let opts = parse(&h).unwrap();
        stamp_on_forward(&mut h, &opts, OUT, 0x0102_0304);
        assert!(Ipv4::new(&h).unwrap().verify_checksum());
        h.split_off(20)
    }

    #[test]
    fn what_options_ask_for() {
        let o = parse(&header(&[1, 7, 7, 4, 0, 0, 0, 0, 148, 4, 0, 0])).unwrap();
        assert_eq!((o.record_route, o.timestamp, o.router_alert), (Some(21), None, true));
        let o = parse(&header(&[131, 7, 4, 10, 9, 9, 9])).unwrap();
        assert_eq!((o.source_route, o.source_route_at), (SourceRoute::Loose, 20));
        assert_eq!(parse(&header(&[137, 3, 4])).unwrap().source_route, SourceRoute::Strict);
        assert!(!parse(&header(&[148, 4, 0, 1])).unwrap().router_alert);
        assert_eq!(parse(&header(&[])), Ok(Options::default()));
        assert_eq!(parse(&header(&[130, 4, 1, 2, 94, 3, 9])), Ok(Options::default()), "unknown ones pass");
    }

    #[test]
    fn pointers_of_parameter_problems_are_those_of_linux() {
        for (options, pointer) in [
            (&[7][..], 20),                // no length: the padding's zero is below 2
            (&[7, 1, 0, 0], 20),           // length below 2
            (&[7, 9, 4, 0], 20),           // beyond the header
            (&[1, 1, 1, 68], 23),          // a lone kind as the last byte
            (&[131, 2, 1, 1], 21),         // no pointer
            (&[131, 3, 3, 1], 22),         // pointer into the header
            (&[131, 3, 4, 137, 3, 4], 23), // two source routes
            (&[7, 2, 1, 1], 21),
            (&[7, 7, 3, 0, 0, 0, 0], 22),
            (&[7, 7, 5, 0, 0, 0, 0], 22), // room for less than an address
            (&[7, 3, 4, 7, 3, 4], 23),    // two record routes
            (&[68, 3, 5, 0], 21),
            (&[68, 8, 4, 0, 0, 0, 0, 0], 22),
            (&[68, 8, 6, 0, 0, 0, 0, 0], 22),
            (&[68, 8, 5, 1, 0, 0, 0, 0], 22), // address and time need eight bytes
            (&[68, 4, 5, 0xf0], 23),          // the overflow overflows
            (&[68, 4, 5, 0, 68, 4, 5, 0], 24),
            (&[148, 3, 0, 0], 21),
        ] {
            assert_eq!(parse(&header(options)), Err(pointer), "{options:?}");
        }
        assert!(parse(&header(&[7, 3, 4])).is_ok(), "full from the beginning");
        assert!(parse(&header(&[68, 4, 5, 0xf3])).is_ok(), "prescribed addresses don't overflow");
    }

    #[test]
    fn record_route() {
        assert_eq!(stamped(&[7, 11, 4, 0, 0, 0, 0, 0, 0, 0, 0]), [7, 11, 8, 10, 2, 0, 1, 0, 0, 0, 0, 0]);
        assert_eq!(stamped(&[7, 7, 8, 9, 9, 9, 9]), [7, 7, 8, 9, 9, 9, 9, 0], "full");
    }

    #[test]
    fn timestamps() {
        assert_eq!(stamped(&[68, 8, 5, 0, 0, 0, 0, 0]), [68, 8, 9, 0, 1, 2, 3, 4]);
        assert_eq!(
            stamped(&[68, 12, 5, 1, 0, 0, 0, 0, 0, 0, 0, 0]),
            [68, 12, 13, 1, 10, 2, 0, 1, 1, 2, 3, 4]
        );
        assert_eq!(stamped(&[68, 4, 5, 0x20]), [68, 4, 5, 0x30], "overflow is counted");
        assert_eq!(stamped(&[68, 4, 5, 0x23]), [68, 4, 5, 0x23], "but not of prescribed addresses");
        let prescribed = [68, 12, 5, 3, 10, 2, 0, 1, 0, 0, 0, 0];
        assert_eq!(stamped(&prescribed), prescribed, "another router's");
        let mut h = header(&prescribed);
        let mut opts = parse(&h).unwrap();
        assert_eq!(opts.prespecified(&h), Some(OUT));
        opts.set_prespecified_is_ours();
        stamp_on_forward(&mut h, &opts, Ipv4Addr::UNSPECIFIED, 0x0102_0304);
        assert_eq!(h[20..], [68, 12, 13, 3, 10, 2, 0, 1, 1, 2, 3, 4]);
    }

    #[test]
    fn nothing_is_smuggled_behind_the_end() {
        assert_eq!(stamped(&[1, 0, 0xde, 0xad]), [1, 0, 0, 0]);
        assert!(!parse(&header(&[1, 0, 0, 0])).unwrap().wants_stamp());
    }

    #[test]
    fn later_fragments_keep_what_is_to_be_copied() {
        let mut o = [7, 3, 4, 148, 4, 0, 0, 68, 4, 5, 0, 1, 130, 3, 9, 0, 7, 3];
        copied_options(&mut o);
        assert_eq!(o, [1, 1, 1, 148, 4, 0, 0, 1, 1, 1, 1, 1, 130, 3, 9, 0, 7, 3]);
        let mut lying = [7, 9, 4];
        copied_options(&mut lying);
        assert_eq!(lying, [7, 9, 4]);
    }

    proptest! {
        #[test]
        fn any_options(
            options in proptest::collection::vec(
                prop_oneof![Just(7u8), Just(68), Just(131), Just(0), Just(1), 0u8..16, any::<u8>()], 0..=40),
            ours: bool,
        ) {
            let mut h = header(&options);
            if let Ok(mut opts) = parse(&h) {
                if ours && opts.prespecified(&h).is_some() {
                    opts.set_prespecified_is_ours();
                }
                stamp_on_forward(&mut h, &opts, OUT, 7);
                let p = Ipv4::new(&h).unwrap();
                prop_assert!(p.verify_checksum());
                prop_assert_eq!((p.header_len(), p.src(), p.ttl()), (h.len(), Ipv4Addr::new(10, 1, 0, 2), 64));
            }
            copied_options(&mut h[20..]);
        }
    }
}
