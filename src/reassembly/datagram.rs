//! One datagram in the making: which of its bytes have come.
//!
//! ```text
//!  0        1480      2960                4440        5000
//!  ├─ run ────────────┤                   ├─ run ─────┤       end known once the last fragment came
//!  │fragment│ fragment│       hole        │ fragment  │
//! ```
//!
//! Overlaps are told from duplicates as Linux tells them (`inet_frag_queue_insert`): what lies within
//! one run of fragments, each of which came when it continued the run, came before. Anything else that
//! touches bytes already there is an overlap, and ends the datagram (RFC 5722).

use std::collections::BTreeMap;
use std::ops::Range;

use crate::packet::Packet;

/// What the header of a fragment says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Piece {
    /// Its place in the datagram's payload, in bytes.
    pub(super) place: Range<usize>,
    /// Where its payload begins, from the L3 header.
    pub(super) from: usize,
    /// Whether others follow.
    pub(super) more: bool,
    /// Its length from the L3 header; what was cut off of its payload does not count.
    pub(super) size: usize,
    /// Whether it must not be cut further.
    pub(super) dont_fragment: bool,
    /// Its ECN field (RFC 3168 §5): 0 to 3.
    pub(super) ecn: u8,
}

/// What a fragment did to its datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fit {
    /// It was missing, and others still are.
    Kept,
    /// It was the last that was missing.
    Complete,
    /// It had come already.
    Duplicate,
    /// It covers bytes that had come already, and others.
    Overlap,
    /// It contradicts what was said about the end.
    Invalid,
}

/// A datagram of which fragments have come.
#[derive(Debug, Clone, Default)]
pub(super) struct Datagram {
    runs: BTreeMap<usize, Run>,
    /// The end of the payload as far as it is known; final once the last fragment came.
    len: usize,
    last_seen: bool,
    /// Payload bytes here.
    here: usize,
    /// A bit for each ECN value seen.
    ecn: u8,
    largest: usize,
    largest_df: usize,
}

#[derive(Debug, Clone)]
struct Run {
    end: usize,
    packets: Vec<(Packet, usize, usize)>,
}

impl Datagram {
    /// Takes a fragment in, or says why not and gives it back.
    pub(super) fn insert(&mut self, packet: Packet, piece: &Piece) -> Result<Fit, (Fit, Packet)> {
        let Range { start, end } = piece.place;
        let beyond = if piece.more { end > self.len } else { end != self.len };
        if start >= end || !piece.more && end < self.len || self.last_seen && beyond {
            return Err((Fit::Invalid, packet));
        }
        let part = (packet, piece.from, end - start);
        match self.runs.last_entry() {
            Some(mut last) if last.get().end == start => {
                last.get_mut().end = end;
                last.get_mut().packets.push(part);
            }
            _ => {
                let before = self.runs.range(..=start).next_back().filter(|(_, run)| start < run.end);
                if let Some((_, run)) = before {
                    let fit = if end <= run.end { Fit::Duplicate } else { Fit::Overlap };
                    return Err((fit, part.0));
                }
                if self.runs.range(start..).next().is_some_and(|(next, _)| *next < end) {
                    return Err((Fit::Overlap, part.0));
                }
                self.runs.insert(start, Run { end, packets: vec![part] });
            }
        }
        self.last_seen |= !piece.more;
        self.len = self.len.max(end);
        self.here += end - start;
        self.ecn |= 1 << (piece.ecn & 3);
        self.largest = self.largest.max(piece.size);
        if piece.dont_fragment {
            self.largest_df = self.largest_df.max(piece.size);
        }
        Ok(if self.last_seen && self.here == self.len { Fit::Complete } else { Fit::Kept })
    }

    /// Whether no fragment has come yet.
    pub(super) fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// The payload's length, once complete.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The length of the longest fragment.
    pub(super) fn largest(&self) -> usize {
        self.largest
    }

    /// Whether the longest fragment was not to be cut: then neither is the datagram (`ip_frag_reasm`).
    pub(super) fn dont_fragment(&self) -> bool {
        self.largest_df == self.largest
    }

    /// What the ECN fields of the fragments come to (RFC 3168 §5.3): what is to be added to the first
    /// one's; `None` if they can't belong together.
    pub(super) fn ecn(&self) -> Option<u8> {
        let [not_ect, _ect_1, _ect_0, ce] = std::array::from_fn(|i| self.ecn & 1 << i != 0);
        if not_ect {
            return (self.ecn == 1).then_some(0);
        }
        Some(if ce { 3 } else { 0 })
    }

    /// Whether the fragment at offset 0 is here.
    pub(super) fn has_first(&self) -> bool {
        self.runs.contains_key(&0)
    }

    /// The fragments in the order of their places: packet, start and length of the payload in it.
    pub(super) fn into_parts(self) -> impl Iterator<Item = (Packet, usize, usize)> {
        self.runs.into_values().flat_map(|run| run.packets)
    }
}
