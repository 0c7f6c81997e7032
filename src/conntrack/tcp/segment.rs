//! What conntrack reads from a TCP header: whether it is one at all, and the numbers in it.
//!
//! Knows nothing of connections.

use crate::wire::tcp::{ACK, CWR, ECE, FIN, HEADER_LEN, PSH, RST, SYN, Tcp, URG};

/// A segment's numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment {
    /// Its sequence number.
    pub seq: u32,
    /// Its acknowledgment number, whether it counts or not.
    pub ack: u32,
    /// Its window, not scaled.
    pub window: u16,
    /// Its flags, as in [`crate::wire::tcp`].
    pub flags: u8,
    /// Bytes of payload; those of all its segments for a super-frame.
    pub len: u32,
    /// The highest sequence number that it says was received: `ack`, or the end of a block of its SACK option
    /// that is beyond (RFC 2018 §3).
    pub sack: u32,
    /// The options that SYNs have; absent if the header has no options at all.
    pub options: Option<Options>,
}

/// What the options of a SYN promise.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Options {
    /// Window scale, 0 to 14 (RFC 7323 §2.2).
    pub scale: Option<u8>,
    /// SACK permitted (RFC 2018 §2).
    pub sack: bool,
}

/// Why a packet is no TCP segment. It is INVALID then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// The header does not fit in.
    #[error("the TCP header is cut short")]
    Short,
    /// Flags that nobody sends together.
    #[error("no segment has the TCP flags {0:#04x}")]
    Flags(u8),
}

/// What a segment is first of all: the kernel's `enum tcp_bit_set`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    Syn,
    SynAck,
    Fin,
    Ack,
    Rst,
    None,
}

impl Kind {
    #[cfg(test)]
    pub(super) const ALL: [Kind; 6] = [Kind::Syn, Kind::SynAck, Kind::Fin, Kind::Ack, Kind::Rst, Kind::None];
}

impl Segment {
    /// Reads a segment from the first bytes of the TCP header on. `l4_len` is the length of header and payload,
    /// of which `l4` may hold less, but must hold the header.
    #[inline]
    pub fn read(l4: &[u8], l4_len: usize) -> Result<Segment, Malformed> {
        let tcp = Tcp::new(l4).ok_or(Malformed::Short)?;
        let header = tcp.header_len();
        if header < HEADER_LEN || header > l4.len().min(l4_len) {
            return Err(Malformed::Short);
        }
        if !is_possible(tcp.flags()) {
            return Err(Malformed::Flags(tcp.flags()));
        }
        let mut segment = Segment {
            seq: tcp.seq(),
            ack: tcp.ack(),
            window: tcp.window(),
            flags: tcp.flags(),
            len: u32::try_from(l4_len - header).unwrap_or(u32::MAX),
            sack: tcp.ack(),
            options: None,
        };
        match tcp.options() {
            [] => {}
            [1, 1, TIMESTAMP, 10, ..] if header == HEADER_LEN + 12 => {
                segment.options = Some(Options::default())
            }
            options => segment.read_options(options),
        }
        Ok(segment)
    }

    /// Reads options until there are no more, or what is there is none; what was read before counts.
    fn read_options(&mut self, mut rest: &[u8]) {
        let found = self.options.insert(Options::default());
        let mut sacks = None;
        loop {
            rest = match rest {
                [END, ..] => break,
                [NOP, rest @ ..] => rest,
                [kind, size, ..] if (2..=rest.len()).contains(&usize::from(*size)) => {
                    let (option, after) = rest.split_at(usize::from(*size));
                    let data = option.get(2..).unwrap_or_default();
                    match (*kind, data) {
                        (WINDOW_SCALE, [scale]) => found.scale = Some((*scale).min(MOST_SCALE)),
                        (SACK_PERMITTED, []) => found.sack = true,
                        (SACK, [_, ..]) if data.len().is_multiple_of(8) => sacks = sacks.or(Some(data)),
                        _ => {}
                    }
                    after
                }
                _ => break,
            };
        }
        for block in sacks.unwrap_or_default().chunks_exact(8) {
            if let Some(right) = block.last_chunk().map(|b| u32::from_be_bytes(*b))
                && after(right, self.sack)
            {
                self.sack = right;
            }
        }
    }

    /// The sequence number behind it: SYN and FIN count for one each.
    #[inline]
    pub(super) fn end(&self) -> u32 {
        let marks = u32::from(self.has(SYN)) + u32::from(self.has(FIN));
        self.seq.wrapping_add(self.len).wrapping_add(marks)
    }

    /// Whether it has this flag.
    #[inline]
    pub(super) fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// What it is.
    #[inline]
    pub(super) fn kind(&self) -> Kind {
        match self.flags {
            f if f & RST != 0 => Kind::Rst,
            f if f & (SYN | ACK) == SYN | ACK => Kind::SynAck,
            f if f & SYN != 0 => Kind::Syn,
            f if f & FIN != 0 => Kind::Fin,
            f if f & ACK != 0 => Kind::Ack,
            _ => Kind::None,
        }
    }
}

/// Whether `a` comes after `b` on the circle of sequence numbers (RFC 9293 §3.4).
#[inline]
pub(super) fn after(a: u32, b: u32) -> bool {
    (b.wrapping_sub(a) as i32) < 0
}

/// Flags that may stand together; what PSH, ECE and CWR say does not matter.
fn is_possible(flags: u8) -> bool {
    const SYN_URG: u8 = SYN | URG;
    const SYN_ACK: u8 = SYN | ACK;
    const RST_ACK: u8 = RST | ACK;
    const FIN_ACK: u8 = FIN | ACK;
    const FIN_ACK_URG: u8 = FIN | ACK | URG;
    const ACK_URG: u8 = ACK | URG;
    matches!(
        flags & !(PSH | ECE | CWR),
        SYN | SYN_URG | SYN_ACK | RST | RST_ACK | FIN_ACK | FIN_ACK_URG | ACK | ACK_URG
    )
}

/// RFC 9293 §3.2.
const END: u8 = 0;
/// RFC 9293 §3.2.
const NOP: u8 = 1;
/// RFC 7323 §2.2.
const WINDOW_SCALE: u8 = 3;
/// RFC 2018 §2.
const SACK_PERMITTED: u8 = 4;
/// RFC 2018 §3.
const SACK: u8 = 5;
/// RFC 7323 §3.2.
const TIMESTAMP: u8 = 8;
/// RFC 7323 §2.3.
const MOST_SCALE: u8 = 14;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn header(flags: u8, options: &[u8]) -> Vec<u8> {
        assert!(options.len().is_multiple_of(4));
        let mut b = vec![0, 80, 0, 99, 0, 0, 0, 7, 0, 0, 1, 0, 0x50, flags, 0xfa, 0xf0, 0, 0, 0, 0];
        b[12] += (options.len() as u8 / 4) << 4;
        b.extend(options);
        b
    }

    fn read(flags: u8, options: &[u8]) -> Segment {
        let b = header(flags, options);
        Segment::read(&b, b.len()).unwrap()
    }

    #[test]
    fn numbers() {
        let b = header(ACK | PSH, &[]);
        let s = Segment::read(&b, 20 + 1000).unwrap();
        let expected =
            Segment { seq: 7, ack: 256, window: 64240, flags: 0x18, len: 1000, sack: 256, options: None };
        assert_eq!((s, s.end()), (expected, 1007));
        assert_eq!(read(SYN, &[]).end(), 8);
        assert_eq!(read(FIN | ACK, &[]).end(), 8);
        assert_eq!(read(RST, &[]).end(), 7);
    }

    #[test]
    fn what_does_not_fit_is_no_header() {
        let b = header(ACK, &[1, 1, 1, 1]);
        assert_eq!(Segment::read(&b[..19], 60), Err(Malformed::Short));
        assert_eq!(Segment::read(&b[..20], 60), Err(Malformed::Short));
        assert_eq!(Segment::read(&b, 23), Err(Malformed::Short));
        assert_eq!(Segment::read(&b, 24).map(|s| s.len), Ok(0));
        let mut small = b;
        small[12] = 0x40;
        assert_eq!(Segment::read(&small, 60), Err(Malformed::Short));
    }

    #[test]
    fn flags_that_nobody_sends() {
        let possible: Vec<u8> =
            (0..64).filter(|f| f & PSH == 0 && Segment::read(&header(*f, &[]), 20).is_ok()).collect();
        assert_eq!(possible, [0x02, 0x04, 0x10, 0x11, 0x12, 0x14, 0x22, 0x30, 0x31]);
        assert_eq!(Segment::read(&header(0xc8, &[]), 20), Err(Malformed::Flags(0xc8)));
        assert!(Segment::read(&header(0xd8, &[]), 20).is_ok());
    }

    #[test]
    fn options_of_a_syn() {
        let of = |options: &[u8]| read(SYN, options).options.map(|o| (o.scale, o.sack));
        assert_eq!(of(&[]), None);
        assert_eq!(of(&[1, 1, 8, 10, 0, 0, 0, 0, 0, 0, 0, 0]), Some((None, false)));
        assert_eq!(of(&[2, 4, 5, 0xb4, 4, 2, 1, 3, 3, 7, 0, 0]), Some((Some(7), true)));
        // A scale beyond 14 counts as 14; the last one counts.
        assert_eq!(of(&[3, 3, 2, 3, 3, 200, 1, 1]), Some((Some(14), false)));
        // Nothing is read behind the end, behind a silly length, behind one that leads out.
        assert_eq!(of(&[0, 3, 3, 7]), Some((None, false)));
        assert_eq!(of(&[4, 2, 9, 1, 3, 3, 7, 0]), Some((None, true)));
        assert_eq!(of(&[4, 2, 9, 7, 3, 3, 7, 0]), Some((None, true)));
        assert_eq!(of(&[1, 1, 1, 3]), Some((None, false)));
        // Options of another length than theirs are none.
        assert_eq!(of(&[3, 4, 7, 7, 4, 3, 0, 1]), Some((None, false)));
    }

    #[test]
    fn the_highest_sack_block_counts() {
        let sack = |options: &[u8]| read(ACK, options).sack;
        let block = |right: u32| [&[0u8; 4][..], &right.to_be_bytes()].concat();
        let one = |right: u32| [&[1, 1, 5, 10][..], &block(right)].concat();
        assert_eq!(sack(&one(300)), 300);
        // Before the acknowledgment number, which is 256.
        assert_eq!(sack(&one(200)), 256);
        let two = [&[1, 1, 5, 18][..], &block(900), &block(500)].concat();
        assert_eq!(sack(&two), 900);
        // Only the first of two options is read.
        assert_eq!(sack(&[one(300), one(900)].concat()), 300);
        // A size that is not that of whole blocks.
        assert_eq!(sack(&[&[5, 12][..], &block(900), &[0, 0]].concat()), 256);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(b in proptest::collection::vec(any::<u8>(), 0..70), len in 0..100usize) {
            if let Ok(s) = Segment::read(&b, len) {
                prop_assert!(s.len as usize <= len - HEADER_LEN && s.kind() != Kind::None);
                prop_assert!(s.sack == s.ack || after(s.sack, s.ack));
                prop_assert!(s.options.is_none_or(|o| o.scale.is_none_or(|s| s <= 14)));
            }
        }

        #[test]
        fn the_circle(a: u32, d in 1..0x8000_0000u32) {
            prop_assert!(after(a.wrapping_add(d), a) && !after(a, a.wrapping_add(d)) && !after(a, a));
        }
    }
}
