//! What a program's answer about a packet rests on, for whoever wants to repeat it for other packets of the same flow.
//!
//! While a witness is at hand ([`Env::witness`](super::Env::witness)), a program notes in it which rules it counted, and
//! what the rules it really asked looked at besides what all packets of a flow and direction have in common (addresses,
//! ports, protocol, links, the state in conntrack). As little as possible: where a match says no because one flag is set,
//! other flags could be anything.
//!
//! Knows nothing of flows or caches.

use crate::wire::tcp::{ACK, FIN, RST, SYN};

/// Flags of TCP that whoever repeats answers has looked at himself: all packets in question have none of them.
pub const TURNS: u8 = SYN | FIN | RST;

/// As many counters may be noted; a packet that more rules count is not worth remembering.
const COUNTED: usize = 128;

/// What an answer rests on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Witness {
    /// Whether the answer can't be repeated: a rule was asked that remembers something, acts on each packet, or looked at
    /// what is not noted here.
    pub spoiled: bool,
    /// Whether TOS or the traffic class was looked at or set.
    pub tos: bool,
    /// Whether the TTL or hop limit was looked at or set.
    pub ttl: bool,
    /// Whether the flow's mark was looked at or set.
    pub flow_mark: bool,
    /// Which of TCP's flags were looked at, those of [`TURNS`] apart.
    pub tcp_flags: u8,
    /// Which bits of the flow's status were looked at.
    pub status: u32,
    /// The lengths from the L3 header on, first and last, for which the answer is the same.
    pub len: (usize, usize),
    /// The counters that counted the packet, in the order they did.
    pub counted: Vec<u32>,
}

impl Default for Witness {
    fn default() -> Self {
        Witness {
            spoiled: false,
            tos: false,
            ttl: false,
            flow_mark: false,
            tcp_flags: 0,
            status: 0,
            len: (0, usize::MAX),
            counted: Vec::new(),
        }
    }
}

impl Witness {
    /// Forgets everything; what memory it has it keeps.
    pub fn clear(&mut self) {
        let mut counted = std::mem::take(&mut self.counted);
        counted.clear();
        *self = Witness { counted, ..Witness::default() };
    }

    /// A rule or a policy counted the packet.
    pub(super) fn counts(&mut self, counter: u32) {
        match self.counted.len() < COUNTED {
            true => self.counted.push(counter),
            false => self.spoiled = true,
        }
    }

    /// It was asked whether the flags under a mask are as wanted. One flag that isn't is enough for a no.
    pub(super) fn flags(&mut self, flags: u8, mask: u8, want: u8) {
        let wrong = flags & mask ^ want;
        self.tcp_flags |= match wrong {
            0 => mask & !TURNS,
            // Nobody could have it so, or a flag that is looked at anyway is not as wanted.
            _ if wrong & (!mask | TURNS) != 0 => 0,
            _ if wrong & ACK != 0 => ACK,
            _ => wrong & wrong.wrapping_neg(),
        };
    }

    /// It was asked whether the length is between these.
    pub(super) fn length(&mut self, len: usize, first: usize, last: usize) {
        let (least, most) = &mut self.len;
        if first > last {
            return;
        }
        if len < first {
            *most = (*most).min(first - 1);
        } else if len > last {
            *least = (*least).max(last + 1);
        } else {
            *least = (*least).max(first);
            *most = (*most).min(last);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn other_flags_and_lengths_within_what_is_noted_get_the_same_answers(
            asked in prop::collection::vec((any::<u8>(), any::<u8>()), 0..6),
            ranges in prop::collection::vec((0usize..40, 0usize..40), 0..6),
            (flags, other) in (any::<u8>(), any::<u8>()),
            (len, another) in (0usize..40, 0usize..40),
        ) {
            let (flags, mut other) = (flags & !TURNS, other & !TURNS);
            let mut w = Witness::default();
            asked.iter().for_each(|(mask, want)| w.flags(flags, *mask, *want));
            ranges.iter().for_each(|(first, last)| w.length(len, *first, *last));
            prop_assert!((w.len.0..=w.len.1).contains(&len));
            other = flags & w.tcp_flags | other & !w.tcp_flags;
            for (mask, want) in &asked {
                prop_assert_eq!(flags & mask == *want, other & mask == *want);
            }
            if (w.len.0..=w.len.1).contains(&another) {
                for (first, last) in &ranges {
                    prop_assert_eq!((*first..=*last).contains(&len), (*first..=*last).contains(&another));
                }
            }
        }
    }

    #[test]
    fn a_rule_for_first_segments_depends_on_nothing() {
        let mut w = Witness::default();
        // --syn, and "no flags at all" of a segment with ACK.
        w.flags(ACK, 0x17, SYN);
        assert_eq!(w.tcp_flags, 0);
        w.flags(ACK | 8, 0x3f, 0);
        assert_eq!(w.tcp_flags, ACK);
    }

    #[test]
    fn what_too_many_rules_count_is_spoiled() {
        let mut w = Witness::default();
        (0..COUNTED as u32).for_each(|n| w.counts(n));
        assert!(!w.spoiled);
        w.counts(7);
        assert!(w.spoiled);
        w.clear();
        assert_eq!(w, Witness::default());
    }
}
