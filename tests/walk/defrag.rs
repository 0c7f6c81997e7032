//! Fragments made whole for conntrack, and sent on in the sizes they came in.

use std::time::Duration;

use proptest::prelude::*;
use sekisho::base::{Column, DropReason, Event, Hook};
use sekisho::packet::{Frag, Packet};
use sekisho::path::{At, Function, Hooks, Tracking, Verdict, priority};
use sekisho::reassembly;
use sekisho::wire::{icmpv4, icmpv6, ipv4::Ipv4, ipv6::Ipv6, ipv6_ext, proto};

use crate::make::*;
use crate::net::*;

/// A bench that tracks flows, whose far side takes `mtu` bytes.
fn tracking(mtu: u32) -> Bench {
    with(Plan::default().link(WAN, |l| l.mtu = mtu), Hooks::new())
}

fn with(plan: Plan, hooks: Hooks) -> Bench {
    let mut snap = plan.snapshot();
    snap.hooks = hooks.with_tracking(Tracking::On);
    let b = plan.build().acquaint();
    b.router.replace(snap);
    b
}

/// A datagram cut into fragments with payloads of these lengths, the last with what is left.
fn cut(packet: &[u8], lens: &[usize]) -> Vec<Vec<u8>> {
    let head = if packet[0] >> 4 == 6 { 40 } else { 20 };
    let mut at = 0;
    let last = (packet.len() - head) - lens.iter().sum::<usize>();
    let piece = |len: &usize| {
        let (from, to) = (at, at + len);
        at = to;
        // One of the two fragments of a cut at these places.
        let body = &packet[head + from..head + to];
        let more = head + to < packet.len();
        let ident = 77u16.to_be_bytes();
        if head == 40 {
            let [a, b] = (from as u16 | u16::from(more)).to_be_bytes();
            let header = [0, 0, a, b, 0, 0, ident[0], ident[1]];
            with_headers(&[&packet[..40], body].concat(), &[(proto::FRAGMENT, &header)])
        } else {
            edit4([&packet[..20], body].concat(), |p| {
                let len = p.len() as u16;
                p[2..4].copy_from_slice(&len.to_be_bytes());
                p[4..6].copy_from_slice(&ident);
                let word = (from / 8) as u16 | if more { 0x2000 } else { 0 } | u16::from(p[6] & 0x40) << 8;
                p[6..8].copy_from_slice(&word.to_be_bytes());
            })
        }
    };
    lens.iter().chain([&last]).map(piece).collect()
}

/// Both families' datagram with `n` bytes of UDP payload from the client to the server.
fn both(n: usize) -> [Vec<u8>; 2] {
    [udp(CLIENT, SERVER, (1000, 2000), &bytes(n)), udp(CLIENT6, SERVER6, (1000, 2000), &bytes(n))]
}

/// What is told by a packet as it leaves: place, payload, whether others follow.
fn piece(p: &Packet) -> (usize, Vec<u8>, bool) {
    if p.l3()[0] >> 4 == 6 {
        let Some(f) = ipv6_ext::walk(p.l3()).unwrap().frag else { return (0, p.l3()[40..].to_vec(), false) };
        return (f.offset, p.l3()[f.at + 8..].to_vec(), f.more);
    }
    let ip = Ipv4::new(p.l3()).unwrap();
    (ip.frag_offset(), ip.payload().to_vec(), ip.more_fragments())
}

/// The payload lengths of the fragments that left, whose bytes must be those of `whole`.
#[track_caller]
fn lengths(sent: &[Packet], whole: &[u8]) -> Vec<usize> {
    let head = if whole[0] >> 4 == 6 { 40 } else { 20 };
    let (mut all, n) = (vec![], sent.len());
    for (i, p) in sent.iter().enumerate() {
        let (at, body, more) = piece(p);
        assert_eq!((at, more), (all.len(), i + 1 < n));
        all.extend(body);
    }
    assert_eq!(all, whole[head..]);
    sent.iter().map(|p| piece(p).1.len()).collect()
}

#[test]
fn the_hooks_see_one_datagram_and_the_far_side_its_fragments() {
    for whole in both(1992) {
        let seen = std::sync::Arc::new(std::sync::Mutex::new(vec![]));
        let log = seen.clone();
        let look = move |at: &At, p: &mut Packet| {
            log.lock().unwrap().push((at.hook, p.meta.frag, p.l3_len()));
            Verdict::Accept
        };
        let watch =
            [Hook::Prerouting, Hook::Forward, Hook::Postrouting].into_iter().fold(Hooks::new(), |h, hook| {
                h.with(Function {
                    name: "watch".into(),
                    hook,
                    priority: priority::RAW,
                    call: std::sync::Arc::new(look.clone()),
                })
            });
        let mut b = with(Plan::default(), watch);
        let made = b.totals().event(Column::Originated, Event::Entered);
        let pieces = cut(&whole, &[800, 1000]);
        for i in [2, 0] {
            b.client_sends(&pieces[i]);
            b.silent();
            b.balanced();
        }
        b.client_sends(&pieces[1]);
        let sent = b.sent(WAN);
        assert_eq!(lengths(&sent, &whole), [800, 1000, 200]);
        assert!(sent.iter().all(|p| p.data()[..6] == SERVER_MAC.0 && p.l3()[8].max(p.l3()[7]) >= 63));
        let hooks = [Hook::Prerouting, Hook::Forward, Hook::Postrouting];
        assert_eq!(*seen.lock().unwrap(), hooks.map(|h| (h, Frag::Whole, whole.len())));
        // Three came; one stands for the first that leaves, two have ended in it, two were made.
        let t = b.totals();
        assert_eq!(t.event(Column::Received, Event::Delivered), 2);
        assert_eq!(t.event(Column::Originated, Event::Entered) - made, 2);
        b.balanced();
    }
}

#[test]
fn without_conntrack_fragments_pass_as_they_come() {
    let mut b = Bench::acquainted();
    for whole in both(1992) {
        for p in cut(&whole, &[800, 1000]) {
            b.client_sends(&p);
            assert_eq!(b.sent(WAN).len(), 1);
        }
    }
}

#[test]
fn the_size_of_the_fragments_counts_on_a_smaller_link() {
    let [v4, v6] = both(2492);
    // All of them fit, DF or not.
    for df in [false, true] {
        let v4 = if df { dont_fragment(v4.clone()) } else { v4.clone() };
        let mut b = tracking(1280);
        for p in cut(&v4, &[800, 1256]) {
            b.client_sends(&p);
        }
        assert_eq!(lengths(&b.sent(WAN), &v4), [800, 1256, 444]);
        b.balanced();
    }
    let mut b = tracking(1280);
    for p in cut(&v6, &[800, 1232]) {
        b.client_sends(&p);
    }
    assert_eq!(lengths(&b.sent(WAN), &v6), [800, 1232, 468]);
    // One doesn't: IPv4 is cut anew.
    for p in cut(&v4, &[800, 1400]) {
        b.client_sends(&p);
    }
    assert_eq!(lengths(&b.sent(WAN), &v4), [1256, 1244]);
    b.balanced();
    // Unless it may not be; and the sender is told, with the datagram as it would have been.
    for whole in [dont_fragment(v4), v6] {
        let mut b = tracking(1280);
        for p in cut(&whole, &[800, 1400]) {
            b.client_sends(&p);
        }
        let told = b.error(LAN);
        let kind = if whole[0] >> 4 == 6 { (icmpv6::TOO_BIG, 0) } else { (icmpv4::UNREACHABLE, 4) };
        assert_eq!((told.kind, told.rest), (kind, 1280));
        let v6 = whole[0] >> 4 == 6;
        let expected = if v6 { whole } else { edit4(whole, |p| p[4..6].copy_from_slice(&[0, 77])) };
        assert_eq!(told.quote, expected[..told.quote.len()]);
        b.dropped(DropReason::TooBig);
    }
}

#[test]
fn a_changed_header_is_on_every_fragment() {
    let rewrite = |_: &At, p: &mut Packet| {
        if let Some(mut ip) = Ipv4::new(p.l3_mut()) {
            ip.set_tos(0x10);
            ip.set_ttl(9);
            ip.set_src(WAN_ADDR);
            ip.fill_checksum();
        }
        Verdict::Accept
    };
    let call = std::sync::Arc::new(rewrite);
    let hooks =
        Hooks::new().with(Function { name: "rewrite".into(), hook: Hook::Postrouting, priority: 0, call });
    let mut b = with(Plan::default(), hooks);
    let [whole, _] = both(1992);
    for p in cut(&whole, &[800, 1000]) {
        b.client_sends(&p);
    }
    let sent = b.sent(WAN);
    assert_eq!(lengths(&sent, &whole), [800, 1000, 200]);
    for p in &sent {
        let ip = Ipv4::new(p.l3()).unwrap();
        assert_eq!((ip.src(), ip.ttl(), ip.tos(), ip.ident()), (WAN_ADDR, 9, 0x10, 77));
    }
    b.balanced();
}

#[test]
fn errors_quote_the_datagram() {
    for whole in both(1992) {
        let mut b = tracking(1500);
        for p in cut(&ttl(whole.clone(), 1), &[800, 1000]) {
            b.client_sends(&p);
        }
        let told = b.error(LAN);
        let at = told.quote.len();
        assert!(told.kind == (icmpv4::TIME_EXCEEDED, 0) || told.kind == (icmpv6::TIME_EXCEEDED, 0));
        // From the length on, behind the first word of the header.
        assert_eq!(told.quote[2..4], ttl(whole.clone(), 1)[2..4]);
        assert_eq!(told.quote[28..], whole[28..at]);
        b.dropped(DropReason::TtlExceeded);
    }
}

#[test]
fn to_the_router_itself() {
    let [v4, v6] = [ping(CLIENT, LAN_ADDR, &bytes(2992)), ping(CLIENT6, LAN_ADDR6, &bytes(2992))];
    for whole in [v4, v6] {
        let mut b = tracking(1500);
        for p in cut(&whole, &[1000, 24, 1400]) {
            b.client_sends(&p);
        }
        // The answer is cut as everything that is made here, not as the question was.
        let lens: Vec<usize> = b.sent(LAN).iter().map(|p| piece(p).1.len()).collect();
        let full = if whole[0] >> 4 == 6 { 1448 } else { 1480 };
        assert_eq!(lens, [full, full, 3000 - 2 * full]);
        b.balanced();
    }
}

#[test]
fn overlapping_fragments_are_never_forwarded() {
    for whole in both(1992) {
        let (a, other) = (cut(&whole, &[800, 1000]), cut(&whole, &[792, 1008]));
        for pieces in [[&a[0], &other[1], &a[2]], [&a[2], &other[1], &a[0]], [&other[1], &a[0], &a[2]]] {
            let mut b = tracking(1500);
            for p in pieces {
                b.client_sends(p);
            }
            b.silent();
            assert!(b.totals().drops(DropReason::FragmentOverlap) >= 2);
            b.balanced();
        }
    }
}

#[test]
fn a_fragment_that_came_twice_changes_nothing() {
    for whole in both(1992) {
        let mut b = tracking(1500);
        let pieces = cut(&whole, &[800, 1000]);
        for i in [0, 0, 1, 0, 2] {
            b.client_sends(&pieces[i]);
        }
        assert_eq!(lengths(&b.sent(WAN), &whole), [800, 1000, 200]);
        assert_eq!(b.totals().drops(DropReason::FragmentDuplicate), 2);
        b.balanced();
    }
}

#[test]
fn fragments_whose_others_do_not_come() {
    // Who is told: IPv4 senders only by the datagram's own destination, IPv6 senders by the router too.
    let [v4, v6] = both(1992);
    let here = udp(CLIENT, LAN_ADDR, (1000, 7), &bytes(1992));
    for (whole, told) in [(v4, false), (v6, true), (here, true)] {
        let mut b = tracking(1500);
        let pieces = cut(&whole, &[800, 1000]);
        b.client_sends(&pieces[0]);
        b.client_sends(&pieces[1]);
        b.silent();
        b.pass(Duration::from_secs(61));
        if told {
            let error = b.error(LAN);
            let kind =
                if whole[0] >> 4 == 6 { (icmpv6::TIME_EXCEEDED, 1) } else { (icmpv4::TIME_EXCEEDED, 1) };
            assert_eq!(error.kind, kind);
            assert_eq!(error.quote, pieces[0][..error.quote.len()]);
        }
        b.out.retain(|(link, _)| *link == WAN);
        b.silent();
        assert_eq!(b.totals().drops(DropReason::FragmentTimeout), 2);
        b.balanced();
        // The last comes too late, and waits in vain too.
        b.client_sends(&pieces[2]);
        b.silent();
        b.pass(Duration::from_secs(61));
        assert_eq!(b.totals().drops(DropReason::FragmentTimeout), 3);
        b.balanced();
    }
}

#[test]
fn the_header_of_an_atomic_fragment_goes() {
    let [_, whole] = both(100);
    let mut b = tracking(1500);
    b.client_sends(&with_headers(&whole, &[(proto::FRAGMENT, &[0, 0, 0, 0, 0, 0, 0, 9])]));
    assert_eq!(b.one(WAN).l3(), ttl(whole.clone(), 63));
    // Behind options, and with an unfinished checksum.
    let options = [0, 0, 1, 4, 0, 0, 0, 0];
    let headers: [(u8, &[u8]); 2] = [(proto::DEST_OPTIONS, &options), (proto::FRAGMENT, &[0; 8])];
    let l3 = with_headers(&whole, &headers);
    let frame = frame(LAN_MAC, CLIENT_MAC, &l3);
    let csum = sekisho::packet::Csum::Partial { start: 56, field: 6 };
    b.receive_offloaded(LAN, &frame, sekisho::packet::Offload { csum, gso: None });
    let sent = b.one(WAN);
    assert_eq!(sent.l3()[6..8], [proto::DEST_OPTIONS, 63]);
    assert_eq!((sent.l3()[40], sent.l3_len()), (proto::UDP, whole.len() + 8));
    assert_eq!(Ipv6::new(sent.l3()).unwrap().payload_len() as usize, whole.len() - 32);
    b.balanced();
}

#[test]
fn an_ipv6_fragment_of_an_odd_length_goes_on_alone() {
    let [_, whole] = both(1992);
    let mut b = tracking(1500);
    let mut ragged = cut(&whole, &[800, 1000]).remove(1);
    ragged.truncate(ragged.len() - 3);
    let len = (ragged.len() - 40) as u16;
    ragged[4..6].copy_from_slice(&len.to_be_bytes());
    b.client_sends(&ragged);
    assert_eq!(b.one(WAN).l3(), ttl(ragged, 63));
    b.balanced();
}

#[test]
fn a_flood_of_fragments_is_bounded_and_hurts_no_others() {
    let limit = 200_000;
    let config = reassembly::Config { high4: limit, high6: limit, ..reassembly::Config::default() };
    let mut plan = Plan::default();
    plan.config.reassembly = config;
    let mut b = with(plan, Hooks::new());
    for i in 0..3_000u16 {
        for whole in both(1992) {
            let mut p = cut(&whole, &[800, 1000]).remove(usize::from(i % 3));
            match whole[0] >> 4 {
                6 => p[46..48].copy_from_slice(&i.to_be_bytes()),
                _ => p = edit4(p, |p| p[4..6].copy_from_slice(&i.to_be_bytes())),
            }
            b.client_sends(&p);
        }
        assert!(b.router.live().defrag.memory() <= 2 * limit);
    }
    b.silent();
    assert!(b.totals().drops(DropReason::FragmentTableFull) > 4_000);
    b.balanced();
    for whole in both(2_492) {
        for p in cut(&whole, &[800, 1000]) {
            b.client_sends(&p);
        }
        assert_eq!(lengths(&b.sent(WAN), &whole), [800, 1000, 700]);
    }
    b.pass(Duration::from_secs(61));
    assert_eq!((b.router.live().defrag.memory(), b.router.live().defrag.datagrams()), (0, 0));
    b.balanced();
}

proptest! {
    /// Cut anywhere, sent in any order, some twice: the same bytes leave in the same sizes.
    #[test]
    fn what_comes_in_fragments_leaves_in_them(
        v6 in any::<bool>(),
        // In units of 8 bytes.
        lens in prop::collection::vec(1usize..180, 1..12),
        last in 9usize..1_400,
        order in prop::collection::vec(any::<prop::sample::Index>(), 12),
        twice in any::<u16>(),
    ) {
        let mut lens: Vec<usize> = lens.iter().map(|n| n * 8).collect();
        let n = lens.iter().sum::<usize>() + last - 8;
        let [a, b] = both(n);
        let whole = if v6 { b } else { a };
        let pieces = cut(&whole, &lens);
        let mut b = tracking(1500);
        let mut turns: Vec<usize> = (0..pieces.len()).collect();
        for (i, other) in order.iter().enumerate() {
            turns.swap(i % pieces.len(), other.index(pieces.len()));
        }
        for (i, turn) in turns.iter().enumerate() {
            prop_assert!(b.out.is_empty());
            b.client_sends(&pieces[*turn]);
            if i + 1 < turns.len() && twice >> i & 1 == 1 {
                b.client_sends(&pieces[*turn]);
            }
        }
        lens.push(last);
        // IPv6 that is no longer than its longest fragment was leaves in one piece, as in Linux.
        let sum = lens.iter().sum();
        if v6 && lens.iter().any(|n| n + 8 >= sum) {
            lens = vec![sum];
        }
        prop_assert_eq!(lengths(&b.sent(WAN), &whole), lens);
        b.balanced();
    }
}
