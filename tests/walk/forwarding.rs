//! What forwarding does to a packet: hop count, size, options.

use std::net::Ipv4Addr;

use sekisho::base::DropReason;
use sekisho::base::counters::Tally;
use sekisho::wire::{checksum, ipv4::Ipv4, ipv4_options};

use crate::basics::{udp4, udp6};
use crate::make::*;
use crate::net::*;

/// A bench whose far side takes `mtu` bytes.
fn narrow(mtu: u32) -> Bench {
    Plan::default().link(WAN, |l| l.mtu = mtu).build().acquaint()
}

#[test]
fn the_hop_count_goes_down_by_one() {
    for n in [2, 3, 64, 128, 255] {
        let mut b = Bench::acquainted();
        b.client_sends(&udp4(n, b"x"));
        assert_eq!(b.one(WAN).l3()[8], n - 1);
        b.client_sends(&udp6(n, b"x"));
        assert_eq!(b.one(WAN).l3()[7], n - 1);
        assert_eq!(b.tally(Tally::Forwarded), 2);
        b.balanced();
    }
    for n in [0, 1] {
        for (l3, kind) in [(udp4(n, b"x"), (11, 0)), (udp6(n, b"x"), (3, 0))] {
            let mut b = Bench::acquainted();
            b.client_sends(&l3);
            let told = b.error(LAN);
            assert_eq!((told.kind, told.quote), (kind, l3));
            b.dropped(DropReason::TtlExceeded);
        }
    }
}

#[test]
fn the_checksum_is_right_whatever_it_was() {
    // Identifications that make the sum pass through its two zeros.
    for ident in 0..=u16::MAX {
        if ident % 251 != 0 && !(0x2000..0x2400).contains(&ident) {
            continue;
        }
        let mut b = Bench::acquainted();
        b.client_sends(&edit4(udp4(64, b"x"), |p| p[4..6].copy_from_slice(&ident.to_be_bytes())));
        let p = b.one(WAN);
        let mut again = p.l3()[..20].to_vec();
        again[10..12].fill(0);
        assert_eq!(p.l3()[10..12], checksum::checksum(&again).to_be_bytes(), "ident {ident}");
    }
}

#[test]
fn too_big_and_not_to_be_cut() {
    let mut b = narrow(1400);
    let l3 = dont_fragment(udp4(64, &bytes(1373)));
    b.client_sends(&l3);
    let told = b.error(LAN);
    assert_eq!((told.kind, told.rest, told.src), ((3, 4), 1400, LAN_ADDR.into()));
    assert_eq!(told.quote, l3[..548]);
    b.dropped(DropReason::TooBig);

    let mut b = narrow(1400);
    let l3 = udp6(64, &bytes(1353));
    b.client_sends(&l3);
    let told = b.error(LAN);
    assert_eq!((told.kind, told.rest, told.src), ((2, 0), 1400, LAN_ADDR6.into()));
    assert_eq!(told.quote, l3[..1232]);
    b.dropped(DropReason::TooBig);

    // Just as large as may be.
    let mut b = narrow(1400);
    b.client_sends(&dont_fragment(udp4(64, &bytes(1372))));
    b.client_sends(&udp6(64, &bytes(1352)));
    assert_eq!(b.sent(WAN).len(), 2);
    b.balanced();
}

#[test]
fn the_hop_count_is_looked_at_before_the_size() {
    let mut b = narrow(1400);
    b.client_sends(&ttl(dont_fragment(udp4(64, &bytes(1400))), 1));
    assert_eq!(b.error(LAN).kind, (11, 0));
    b.dropped(DropReason::TtlExceeded);
}

/// Puts fragments together by hand.
fn joined(pieces: &[sekisho::packet::Packet]) -> Vec<u8> {
    let mut out = vec![];
    for p in pieces {
        let ip = Ipv4::new(p.l3()).unwrap();
        assert_eq!(ip.frag_offset(), out.len());
        out.extend_from_slice(ip.payload());
    }
    out
}

#[test]
fn larger_than_the_link_and_may_be_cut() {
    let mut b = narrow(576);
    let l3 = edit4(udp(CLIENT, SERVER, (1000, 2000), &bytes(1400)), |p| {
        p[1] = 0x28;
        p[4..6].copy_from_slice(&[0xab, 0xcd]);
    });
    b.client_sends(&l3);
    let out = b.sent(WAN);
    assert_eq!(out.len(), 3);
    for (i, p) in out.iter().enumerate() {
        let ip = Ipv4::new(p.l3()).unwrap();
        assert_eq!((ip.ident(), ip.ttl(), ip.tos(), ip.dont_fragment()), (0xabcd, 63, 0x28, false));
        assert_eq!(ip.more_fragments(), i < 2);
        assert_eq!(p.data()[..6], SERVER_MAC.0);
    }
    assert_eq!(out[0].l3_len(), 572, "as many multiples of 8 as fit");
    assert_eq!(joined(&out), l3[20..]);
    assert_eq!((b.tally(Tally::Fragmented), b.tally(Tally::Fragments)), (1, 3));
    b.balanced();
}

#[test]
fn a_fragment_is_cut_further() {
    let mut b = narrow(576);
    let pieces = fragments(&udp(CLIENT, SERVER, (1000, 2000), &bytes(2400)), 1200, 9);
    for p in &pieces {
        b.client_sends(p);
    }
    let out = b.sent(WAN);
    assert!(out.len() >= 5);
    let ip = |p: &sekisho::packet::Packet| Ipv4::new(p.l3()).map(|ip| ip.more_fragments()).unwrap();
    assert!(out[..out.len() - 1].iter().all(ip) && !ip(&out[out.len() - 1]));
    assert_eq!(joined(&out)[8..], bytes(2400));
    b.balanced();
}

#[test]
fn options_of_fragments() {
    // Security (copied), record route (not copied), and padding.
    let options = [130, 11, 1, 2, 3, 4, 5, 6, 7, 8, 9, 7, 7, 4, 0, 0, 0, 0, 1, 0];
    let l3 = with_options(&udp(CLIENT, SERVER, (1000, 2000), &bytes(1000)), &options);
    let mut b = narrow(576);
    b.client_sends(&l3);
    let out = b.sent(WAN);
    assert_eq!(out.len(), 2);
    let options_of = |i: usize| out[i].l3()[20..40].to_vec();
    let mut first = options;
    first[13] = 8;
    first[14..18].copy_from_slice(&WAN_ADDR.octets());
    assert_eq!(options_of(0), first, "stamped before it was cut");
    let mut later = options;
    later[11..18].fill(1);
    assert_eq!(options_of(1), later, "what is not copied becomes padding");
    assert_eq!(joined(&out), l3[40..]);
    b.balanced();
}

#[test]
fn record_route_and_timestamps_are_filled_in() {
    let stamped = |options: &[u8]| {
        let mut b = Bench::acquainted();
        b.client_sends(&with_options(&udp4(64, b"x"), options));
        let p = b.one(WAN);
        b.balanced();
        (p.l3()[20..20 + options.len()].to_vec(), b.now.as_millis() as u32)
    };
    // Record route: one place left, none left, some taken.
    assert_eq!(stamped(&[7, 7, 4, 0, 0, 0, 0, 0]).0, [7, 7, 8, 10, 2, 0, 1, 0]);
    assert_eq!(stamped(&[7, 7, 8, 9, 9, 9, 9, 0]).0, [7, 7, 8, 9, 9, 9, 9, 0]);
    assert_eq!(stamped(&[7, 11, 8, 9, 9, 9, 9, 0, 0, 0, 0, 0]).0, [7, 11, 12, 9, 9, 9, 9, 10, 2, 0, 1, 0]);
    // Timestamp alone, with address, full.
    let (got, ms) = stamped(&[68, 8, 5, 0, 0, 0, 0, 0]);
    assert_eq!(got, [&[68, 8, 9, 0][..], &ms.to_be_bytes()].concat());
    let (got, ms) = stamped(&[68, 12, 5, 1, 0, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(got, [&[68, 12, 13, 1, 10, 2, 0, 1][..], &ms.to_be_bytes()].concat());
    assert_eq!(stamped(&[68, 4, 5, 0]).0, [68, 4, 5, 0x10], "one router more that found no room");
    // Times beside prescribed addresses: only if it is our turn.
    let (got, ms) = stamped(&[68, 12, 5, 3, 10, 3, 0, 1, 0, 0, 0, 0]);
    assert_eq!(got, [&[68, 12, 13, 3, 10, 3, 0, 1][..], &ms.to_be_bytes()].concat());
    let other = [68, 12, 5, 3, 10, 3, 0, 9, 0, 0, 0, 0];
    assert_eq!(stamped(&other).0, other);
    // What follows the end of the list is made zero; options not known pass.
    assert_eq!(stamped(&[1, 0, 7, 7]).0, [1, 0, 0, 0]);
    assert_eq!(stamped(&[130, 4, 1, 1]).0, [130, 4, 1, 1]);
}

#[test]
fn the_time_of_day_wraps_at_midnight() {
    let mut b = Bench::acquainted();
    b.pass(std::time::Duration::from_secs(86_400));
    b.client_sends(&with_options(&udp4(64, b"x"), &[68, 8, 5, 0, 0, 0, 0, 0]));
    let p = b.one(WAN);
    let ms = u32::from_be_bytes(p.l3()[24..28].try_into().unwrap());
    assert_eq!(u64::from(ms), b.now.as_millis() % 86_400_000);
    assert!(ms < 200_000);
}

#[test]
fn source_routes_are_refused() {
    for kind in [131, 137] {
        for option in [[kind, 7, 4, 10, 2, 0, 2, 0], [kind, 7, 8, 10, 2, 0, 2, 0]] {
            Bench::swallows(&with_options(&udp4(64, b"x"), &option), DropReason::Ip4SourceRoute);
            let to_us = udp(CLIENT, LAN_ADDR, (1, 9999), b"x");
            Bench::swallows(&with_options(&to_us, &option), DropReason::Ip4SourceRoute);
        }
    }
}

#[test]
fn malformed_options_and_where() {
    for (options, pointer) in [
        (vec![7, 0, 0, 0], 20),
        (vec![7, 1, 0, 0], 20),
        (vec![7, 2, 0, 0], 21),
        (vec![7, 3, 3, 0], 22),
        (vec![1, 7, 7, 5, 0, 0, 0, 0], 23),
        (vec![7, 9, 4, 0], 20),
        (vec![1, 1, 1, 68], 23),
        (vec![68, 3, 5, 0], 21),
        (vec![68, 4, 4, 0], 22),
        (vec![68, 4, 5, 0xf0], 23),
        (vec![7, 3, 4, 7, 3, 4, 0, 0], 23),
        (vec![131, 2, 0, 0], 21),
        (vec![99, 5, 0, 0], 20),
    ] {
        for dst in [SERVER, WAN_ADDR] {
            let l3 = with_options(&udp(CLIENT, dst, (1, 2), b"x"), &options);
            let mut b = Bench::acquainted();
            b.client_sends(&l3);
            let told = b.error(LAN);
            assert_eq!((told.kind, told.rest >> 24), ((12, 0), pointer), "{options:?}");
            assert_eq!(told.quote, l3);
            b.dropped(DropReason::Ip4BadOptions);
        }
    }
    // Nobody is told about one that was sent to all.
    for dst in [[255; 4], [10, 1, 0, 255], [10, 2, 0, 255], [224, 0, 0, 1]] {
        let l3 = with_options(&udp(CLIENT, Ipv4Addr::from(dst), (1, 2), b"x"), &[7, 0, 0, 0]);
        Bench::swallows(&l3, DropReason::Ip4BadOptions);
    }
}

#[test]
fn options_are_looked_at_once_the_way_is_known() {
    // A martian is a martian, whatever its options say.
    let l3 = with_options(&udp(Ipv4Addr::LOCALHOST, SERVER, (1, 2), b"x"), &[7, 0, 0, 0]);
    Bench::swallows(&l3, DropReason::MartianSource);
    assert!(ipv4_options::parse(&l3[..24]).is_err());
}
