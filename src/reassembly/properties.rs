//! What holds for any packet, any order and any hostility.

use std::collections::HashSet;
use std::time::Duration;

use proptest::prelude::*;

use super::tests::{datagram4, datagram6, edit4, frag4, frag6, largest, short};
use super::*;
use crate::base::Instant;
use crate::packet::{Net, Pool};
use crate::wire::proto;

proptest! {
    #[test]
    fn cut_and_put_together_again_it_is_the_same(
        len in 1usize..9_000,
        mtu in 76usize..3_000,
        options in 0usize..=10,
        order in any::<prop::sample::Index>(),
        shuffle in proptest::collection::vec(any::<prop::sample::Index>(), 0..200),
        twice in proptest::collection::vec(any::<bool>(), 64),
    ) {
        let original = datagram4(len, 77, &vec![1; options * 4]);
        let mut fragments = Vec::new();
        fragment4(original.clone(), mtu, &mut Pool::new(2), &mut fragments).unwrap();
        prop_assert!(fragments.iter().all(|f| f.l3_len() <= mtu));
        check_round_trip(&original, fragments, order.index(1_000), &shuffle, &twice)?;
    }

    #[test]
    fn and_so_it_is_with_ipv6(
        len in 1usize..9_000,
        mtu in 1_280usize..3_000,
        hop in any::<bool>(),
        order in any::<prop::sample::Index>(),
        shuffle in proptest::collection::vec(any::<prop::sample::Index>(), 0..200),
        twice in proptest::collection::vec(any::<bool>(), 64),
    ) {
        let original = match hop {
            true => datagram6(proto::HOP_BY_HOP, &[proto::UDP, 0, 1, 4, 0, 0, 0, 0], len),
            false => datagram6(proto::UDP, &[], len),
        };
        let mut fragments = Vec::new();
        fragment6(original.clone(), mtu, 0xdead_beef, &mut Pool::new(2), &mut fragments).unwrap();
        prop_assert!(fragments.iter().all(|f| f.l3_len() <= mtu));
        check_round_trip(&original, fragments, order.index(1_000), &shuffle, &twice)?;
    }

    /// Cutting fragments further is as good as cutting finely at once.
    #[test]
    fn cut_twice_it_is_still_the_same(len in 1_000usize..9_000, first in 600usize..3_000, second in 76usize..600) {
        let original = datagram4(len, 77, &[]);
        let (mut coarse, mut fine) = (Vec::new(), Vec::new());
        let mut pool = Pool::new(2);
        fragment4(original.clone(), first, &mut pool, &mut coarse).unwrap();
        for f in coarse {
            fragment4(f, second, &mut pool, &mut fine).unwrap();
        }
        prop_assert!(fine.iter().all(|f| f.l3_len() <= second));
        check_round_trip(&original, fine, 1, &[], &[])?;
    }

    /// Against a plain model: a map of the bytes that have come.
    #[test]
    fn overlapping_fragments_are_judged_as_by_the_model(
        family in prop_oneof![Just(4), Just(6)],
        pieces in proptest::collection::vec((0usize..12, 1usize..5, any::<bool>(), 0usize..8), 1..60),
    ) {
        let r = Reassembler::new(Config { max_dist: 0, ..Config::default() });
        let (mut out, mut seen, mut end, mut ended) = (Vec::new(), [false; 16], 0, None);
        for (from, blocks, more, ragged) in pieces {
            // All but the last end at multiples of 8.
            let to = (from + blocks) * 8 - if more { 0 } else { ragged };
            let packet = if family == 4 { frag4(1, from * 8, to, more) } else { frag6(1, from * 8, to, more) };
            let held = r.datagrams();
            r.push(packet, Instant::ZERO, &mut out);
            if !more && from == 0 {
                let passed = matches!(out.pop(), Some(Done::Whole { packet, .. }) if packet.cut.is_none());
                prop_assert!(passed && r.datagrams() == held, "it is no fragment");
                continue;
            }
            let blocks = from..from + blocks;
            let came = blocks.clone().filter(|b| seen[*b]).count();
            let contradicts = if more {
                ended.is_some_and(|e| to > e)
            } else {
                to < end || ended.is_some_and(|e| to != e)
            };
            let whole = out.iter().any(|d| matches!(d, Done::Whole { .. }));
            let result = short(&mut out);
            if contradicts {
                prop_assert!(!whole && result.iter().all(|r| r == "fragment_invalid") && !result.is_empty());
            } else if came == 0 {
                for b in blocks {
                    seen[b] = true;
                }
                end = end.max(to);
                if !more {
                    ended = Some(to);
                }
                let all = ended.is_some_and(|e| seen[..e.div_ceil(8)].iter().all(|s| *s));
                prop_assert_eq!(whole, all);
                prop_assert_eq!(result.len(), usize::from(all));
                if !all {
                    continue;
                }
            } else if came == blocks.len() && result == ["fragment_duplicate"] {
                continue;
            } else {
                prop_assert!(result.iter().all(|r| r == "fragment_overlap") && !result.is_empty());
            }
            prop_assert_eq!((r.datagrams(), r.memory()), (0, 0));
            (seen, end, ended) = ([false; 16], 0, None);
        }
    }

    /// Fragments from a small world of keys, places and lies: each comes out exactly once, memory stays
    /// under the limit, and nothing panics.
    #[test]
    fn hostile_fragments_are_conserved(
        steps in proptest::collection::vec(
            (0u16..4, 0usize..40, 0usize..200, any::<bool>(), any::<bool>(), 0u64..5, any::<u32>()), 1..300
        ),
    ) {
        let config = Config { high4: 6_000, high6: 6_000, ..Config::default() };
        let r = Reassembler::new(config);
        let (mut now, mut out, mut ledger, mut number) = (Instant::ZERO, Vec::new(), Ledger::default(), 0u32);
        for (ident, from, len, more, v6, secs, damage) in steps {
            now += Duration::from_secs(secs);
            r.timeout(now, &mut out);
            let mut packet = match v6 {
                true => frag6(u32::from(ident), from * 8, from * 8 + len, more),
                false => frag4(ident, from * 8, from * 8 + len, more),
            };
            if damage % 4 == 0 {
                let at = damage as usize / 4 % packet.len();
                packet.data_mut()[at] ^= (damage >> 24) as u8;
            }
            number += 1;
            packet.meta.mark = number;
            ledger.inside += 1;
            r.push(packet, now, &mut out);
            ledger.settle(&mut out)?;
            prop_assert!(r.memory() <= 12_000);
        }
        r.timeout(now + Duration::from_secs(60), &mut out);
        ledger.settle(&mut out)?;
        prop_assert_eq!(ledger.inside, 0, "never came out");
        prop_assert_eq!((r.memory(), r.datagrams()), (0, 0));
    }

    #[test]
    fn no_bytes_are_too_strange(bytes in proptest::collection::vec(any::<u8>(), 0..200), net in 0..4, l3 in 0u16..60, mtu in 0usize..200) {
        let mut packet = Packet::from_slice(&bytes);
        packet.meta.net = [Net::Ipv4, Net::Ipv6, Net::Arp, Net::None][net as usize];
        packet.meta.l3 = l3;
        let mut out = Vec::new();
        Reassembler::new(Config::default()).push(packet.clone(), Instant::ZERO, &mut out);
        let (mut pool, mut pieces) = (Pool::new(1), Vec::new());
        let _ = fragment4(packet.clone(), mtu, &mut pool, &mut pieces);
        let _ = fragment6(packet, mtu, 1, &mut pool, &mut pieces);
    }
}

/// Gives the fragments to a reassembler in some order, some of them twice, and compares.
fn check_round_trip(
    original: &Packet,
    mut fragments: Vec<Packet>,
    rotate: usize,
    shuffle: &[prop::sample::Index],
    twice: &[bool],
) -> Result<(), TestCaseError> {
    let (n, longest) = (fragments.len(), fragments.iter().map(Packet::l3_len).max().unwrap_or(0));
    let longest = if n == 1 { 0 } else { longest };
    fragments.rotate_left(rotate % n);
    for (i, other) in shuffle.iter().enumerate() {
        let other = other.index(n);
        fragments.swap(i % n, other);
    }
    let r = Reassembler::new(Config::default());
    let mut out = Vec::new();
    for (i, fragment) in fragments.into_iter().enumerate() {
        let again = (n > 1 && i + 1 < n && twice.get(i % 64) == Some(&true)).then(|| fragment.clone());
        prop_assert!(out.is_empty(), "whole before the last fragment");
        r.push(fragment, Instant::ZERO, &mut out);
        if let Some(again) = again {
            r.push(again, Instant::ZERO, &mut out);
            let result = out.pop();
            let duplicate =
                matches!(result, Some(Done::Dropped { reason: DropReason::FragmentDuplicate, .. }));
            prop_assert!(duplicate);
        }
    }
    let Some(Done::Whole { mut packet, absorbed, .. }) = out.pop() else {
        return Err(TestCaseError::fail("not whole"));
    };
    if original.meta.net == Net::Ipv4 {
        edit4(&mut packet, |_| ());
    }
    prop_assert_eq!(packet.l3(), original.l3());
    prop_assert_eq!(packet.meta, original.meta);
    prop_assert_eq!((usize::from(largest(&packet)), absorbed.len()), (longest, n - 1));
    prop_assert_eq!((r.memory(), r.datagrams()), (0, 0));
    Ok(())
}

/// Which packets came out by name, and how many are inside. The other fragments of a datagram that is
/// whole come out as a number.
#[derive(Default)]
struct Ledger {
    inside: usize,
    named: HashSet<u32>,
}

impl Ledger {
    fn settle(&mut self, out: &mut Vec<Done>) -> Result<(), TestCaseError> {
        for done in out.drain(..) {
            let (packet, others) = match done {
                Done::Whole { packet, absorbed, .. } => (packet, absorbed.len()),
                Done::Dropped { packet, .. } => (packet, 0),
            };
            prop_assert!(self.named.insert(packet.meta.mark), "twice");
            prop_assert!(self.inside > others, "more than went in");
            self.inside -= 1 + others;
        }
        Ok(())
    }
}
