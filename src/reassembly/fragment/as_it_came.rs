//! Cutting what came in fragments. The figures are those that Linux 6.18 gives for the same fragments.

use super::*;
use crate::base::Instant;
use crate::reassembly::tests::{datagram4, datagram6, edit4};
use crate::reassembly::{Config, Done, Reassembler};
use crate::wire::ipv6_ext;

/// A piece on a wire: place, payload bytes, whether others follow, header length, whether DF stands on it.
type Piece4 = (usize, usize, bool, usize, bool);

fn gathered(pieces: Vec<Packet>) -> Packet {
    let (r, mut out) = (Reassembler::new(Config::default()), Vec::new());
    for p in pieces {
        r.push(p, Instant::ZERO, &mut out);
    }
    match out.pop() {
        Some(Done::Whole { packet, .. }) => packet,
        other => panic!("{other:?}"),
    }
}

/// A datagram's fragments of these lengths; the bit of a mask for each says whether it has DF.
fn pieces4(lens: &[usize], options: [&[u8]; 2], df: u32) -> Vec<Packet> {
    let mut at = 0;
    let mut piece = |(i, len): (usize, &usize)| {
        let mut p = datagram4(*len, 5, options[i.min(1)]);
        let more = if i + 1 < lens.len() { 0x2000 } else { 0 };
        edit4(&mut p, |ip| {
            ip.set_flags_offset((at / 8) as u16 | more | if df >> i & 1 == 1 { 0x4000 } else { 0 })
        });
        at += len;
        p
    };
    lens.iter().enumerate().map(&mut piece).collect()
}

fn sent4(packet: Packet, mtu: usize) -> Vec<Piece4> {
    let mut out = Vec::new();
    fragment4(packet, mtu, &mut Pool::new(4), &mut out).expect("it can be cut");
    out.iter()
        .map(|p| {
            let ip = Ipv4::new(p.l3()).unwrap();
            assert!(p.cut.is_none() && p.l3_len() <= mtu && ip.verify_checksum());
            let place = (ip.frag_offset(), ip.payload().len(), ip.more_fragments());
            (place.0, place.1, place.2, ip.header_len(), ip.dont_fragment())
        })
        .collect()
}

#[test]
fn ipv4_leaves_in_the_sizes_it_came_in() {
    let as_they_came: [Piece4; 3] =
        [(0, 800, true, 20, false), (800, 1000, true, 20, false), (1800, 200, false, 20, false)];
    // DF of any of them goes.
    for df in [0, 0b111, 0b010, 0b101] {
        let whole = gathered(pieces4(&[800, 1000, 200], [&[], &[]], df));
        assert_eq!(
            Ipv4::new(whole.l3()).unwrap().dont_fragment(),
            df & 0b010 != 0,
            "that of the longest counts"
        );
        for mtu in [1020, 1500, 9000] {
            assert_eq!(sent4(whole.clone(), mtu), as_they_came);
        }
    }
    // Also where the whole would fit.
    let small = gathered(pieces4(&[48, 8, 44], [&[], &[]], 0));
    assert_eq!(sent4(small, 1500).iter().map(|p| p.1).collect::<Vec<_>>(), [48, 8, 44]);
}

#[test]
fn ipv4_for_a_smaller_link_is_cut_anew() {
    let lens = |lens: &[usize], mtu| {
        let sent = sent4(gathered(pieces4(lens, [&[], &[]], 0)), mtu);
        sent.into_iter().map(|p| p.1).collect::<Vec<_>>()
    };
    assert_eq!(lens(&[1480, 1480, 540], 1280), [1256, 1256, 988]);
    assert_eq!(lens(&[800, 1400, 300], 1280), [1256, 1244]);
    assert_eq!(lens(&[800, 1256, 444], 1280), [800, 1256, 444]);
}

#[test]
fn a_header_that_grew_leaves_less_room() {
    // Options that only the first had stand in all of them: more than the longest was it is not.
    let options = [148, 4, 0, 0, 7, 7, 4, 0, 0, 0, 0, 0];
    for (df, stands) in [(0, false), (0b111, true)] {
        let whole = gathered(pieces4(&[800, 1000, 200], [&options, &[]], df));
        let expected =
            [(0, 984, true, 32, stands), (984, 984, true, 32, stands), (1968, 32, false, 32, stands)];
        assert_eq!(sent4(whole, 1500), expected);
    }
    let whole = gathered(pieces4(&[800, 1000, 200], [&[], &options], 0));
    assert_eq!(
        sent4(whole, 1500).iter().map(|p| (p.1, p.3)).collect::<Vec<_>>(),
        [(800, 20), (1000, 20), (200, 20)]
    );
}

#[test]
fn a_length_that_is_no_multiple_of_eight_does_not_count() {
    // 3 bytes too many, which the reassembly leaves out.
    let mut first = datagram4(1207, 5, &[]);
    edit4(&mut first, |ip| ip.set_flags_offset(0x2000));
    let mut last = datagram4(800, 5, &[]);
    edit4(&mut last, |ip| ip.set_flags_offset(150));
    let whole = gathered(vec![first, last]);
    assert_eq!(whole.cut.as_ref().unwrap().largest, 1220);
    assert_eq!(sent4(whole, 1500), [(0, 1200, true, 20, false), (1200, 800, false, 20, false)]);
}

/// A datagram's fragments of these lengths, with extension headers in front of the fragment header of the first
/// and of the others.
fn pieces6(lens: &[usize], front: [&[u8]; 2], next: u8, data: &[u8]) -> Vec<Packet> {
    let mut at = 0;
    let mut piece = |(i, len): (usize, &usize)| {
        let front = front[i.min(1)];
        let [hi, lo] = (at as u16 | u16::from(i + 1 < lens.len())).to_be_bytes();
        let header = [next, 0, hi, lo, 0, 0, 0, 9];
        let body = [front, &header, &data[at..at + len]].concat();
        at += len;
        let first = match front.len() {
            0 => proto::FRAGMENT,
            12 => proto::AH,
            _ => proto::DEST_OPTIONS,
        };
        datagram6(first, &body, 0)
    };
    lens.iter().enumerate().map(&mut piece).collect()
}

/// Length of the headers before the fragment header (all, if there is none), place, payload bytes, others follow.
fn sent6(packet: Packet, mtu: usize) -> Option<Vec<(usize, usize, usize, bool)>> {
    let mut out = Vec::new();
    fragment6(packet, mtu, 77, &mut Pool::new(4), &mut out).ok()?;
    let piece = |p: &Packet| {
        assert!(p.cut.is_none() && p.l3_len() <= mtu);
        let frag = ipv6_ext::walk(p.l3()).unwrap().frag;
        let head = |f: &FragHeader| (f.at, f.offset, p.l3_len() - f.at - 8, f.more);
        assert!(frag.is_none_or(|f| f.ident == 77));
        frag.as_ref().map_or((40, 0, p.l3_len() - 40, false), head)
    };
    Some(out.iter().map(piece).collect())
}

#[test]
fn ipv6_leaves_in_the_sizes_it_came_in() {
    let data: Vec<u8> = (0..4000).map(|i| i as u8).collect();
    let whole = |lens: &[usize]| gathered(pieces6(lens, [&[], &[]], proto::UDP, &data));
    let lens =
        |lens: &[usize], mtu| sent6(whole(lens), mtu).map(|s| s.iter().map(|p| p.2).collect::<Vec<_>>());
    assert_eq!(lens(&[800, 1000, 200], 1500), Some(vec![800, 1000, 200]));
    assert_eq!(lens(&[48, 8, 44], 1500), Some(vec![48, 8, 44]));
    assert_eq!(lens(&[800, 1232, 468], 1280), Some(vec![800, 1232, 468]));
    // What cutting has made longer leaves in one piece.
    assert_eq!(sent6(whole(&[1000, 8]), 1500), Some(vec![(40, 0, 1008, false)]));
    // The sender should have heard of it.
    assert_eq!(lens(&[800, 1400, 300], 1280), None);
}

#[test]
fn ipv6_headers_that_move_into_the_front() {
    let option = |next| [next, 0, 1, 4, 0, 0, 0, 0];
    let front = option(proto::FRAGMENT);
    let data = |behind: &[u8]| [behind, &vec![7; 3000][..]].concat();
    let whole = gathered(pieces6(&[800, 1000, 200], [&front, &front], proto::UDP, &data(&[])));
    assert_eq!(
        sent6(whole, 1500),
        Some(vec![(48, 0, 800, true), (48, 800, 1000, true), (48, 1800, 200, false)])
    );
    // Options that were cut with the rest stand in front of every fragment now. 1280 bytes always may be (RFC 8200
    // §5), so that they still fit.
    let whole =
        gathered(pieces6(&[800, 1000, 208], [&[], &[]], proto::DEST_OPTIONS, &data(&option(proto::UDP))));
    assert_eq!(
        sent6(whole, 1500),
        Some(vec![(48, 0, 792, true), (48, 792, 1000, true), (48, 1792, 208, false)])
    );
    let lens = [800, 1232, 208];
    let whole = gathered(pieces6(&lens, [&[], &[]], proto::DEST_OPTIONS, &data(&option(proto::UDP))));
    assert_eq!(sent6(whole, 1500), Some(vec![(48, 0, 1224, true), (48, 1224, 1008, false)]));
    let whole = gathered(pieces6(&[800, 1000, 200], [&front, &[]], proto::UDP, &data(&[])));
    assert_eq!(
        sent6(whole, 1500),
        Some(vec![(48, 0, 800, true), (48, 800, 1000, true), (48, 1800, 200, false)])
    );
    // An authentication header counts as payload, and 812 is no multiple of 8.
    let auth = [proto::FRAGMENT, 1, 0, 0, 0, 0, 0, 9, 0, 0, 0, 1];
    let whole = |lens: &[usize]| gathered(pieces6(lens, [&auth, &auth], proto::UDP, &data(&[])));
    assert_eq!(sent6(whole(&[800, 1000]), 1500), Some(vec![(40, 0, 1232, true), (40, 1232, 580, false)]));
    assert_eq!(sent6(whole(&[80, 100]), 1500), Some(vec![(40, 0, 192, false)]), "an atomic fragment");
}
