//! The router as a host: what it answers, in pieces or whole.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use sekisho::base::counters::Tally;
use sekisho::base::{Column, DropReason, LinkId};
use sekisho::packet::Packet;
use sekisho::wire::{icmpv4, icmpv6, ipv4::Ipv4, ipv6::Ipv6, proto, tcp as wire_tcp};

use crate::make::*;
use crate::net::*;

fn ll() -> Ipv6Addr {
    "fe80::77".parse().unwrap()
}

/// Puts the pieces of one answer together, whatever its family.
fn whole(pieces: &[Packet]) -> Vec<u8> {
    let mut body = vec![];
    for p in pieces {
        let l3 = p.l3();
        if l3[0] >> 4 == 4 {
            let ip = Ipv4::new(l3).unwrap();
            assert_eq!(ip.frag_offset(), body.len());
            body.extend_from_slice(ip.payload());
        } else if l3[6] == proto::FRAGMENT {
            assert_eq!(usize::from(u16::from_be_bytes([l3[42], l3[43]]) & 0xfff8), body.len());
            body.extend_from_slice(&l3[48..]);
        } else {
            body.extend_from_slice(&l3[40..]);
        }
    }
    body
}

fn addr(p: &Packet, second: bool) -> IpAddr {
    let l3 = p.l3();
    if l3[0] >> 4 == 4 {
        let ip = Ipv4::new(l3).unwrap();
        if second { ip.dst().into() } else { ip.src().into() }
    } else {
        let ip = Ipv6::new(l3).unwrap();
        if second { ip.dst().into() } else { ip.src().into() }
    }
}

#[test]
fn echo_of_any_size_on_every_address() {
    let own_ll = LAN_MAC.link_local();
    let ends: [(IpAddr, IpAddr); 7] = [
        (CLIENT.into(), LAN_ADDR.into()),
        (CLIENT.into(), WAN_ADDR.into()),
        (CLIENT.into(), Ipv4Addr::new(10, 3, 0, 1).into()),
        (CLIENT6.into(), LAN_ADDR6.into()),
        (CLIENT6.into(), WAN_ADDR6.into()),
        (ll().into(), own_ll.into()),
        (CLIENT6.into(), own_ll.into()),
    ];
    for (src, dst) in ends {
        for size in [0, 1, 56, 1400, 1452, 8_000, 60_000] {
            let mut b = Bench::acquainted();
            b.router.set_static_neighbor(LAN, ll().into(), CLIENT_MAC);
            let ask = ping(src, dst, &bytes(size));
            if ask.len() <= 1500 {
                b.client_sends(&ask);
            } else {
                for f in fragments(&ask, 1440, 77) {
                    b.client_sends(&f);
                }
            }
            let out = b.sent(LAN);
            assert!(!out.is_empty(), "{src} to {dst}, {size} bytes");
            assert!(out.iter().all(|p| addr(p, false) == dst && addr(p, true) == src));
            let body = whole(&out);
            let kind = if src.is_ipv4() { icmpv4::ECHO_REPLY } else { icmpv6::ECHO_REPLY };
            assert_eq!((body[0], body[1], &body[4..8]), (kind, 0, &[0, 7, 0, 9][..]));
            assert!(body[8..] == bytes(size));
            assert!(right(&ip(dst, src, if src.is_ipv4() { proto::ICMP } else { proto::ICMPV6 }, &body)));
            assert_eq!(b.tally(Tally::EchoReplies), 1);
            assert_eq!(b.tally(Tally::Reassembled), u64::from(ask.len() > 1500));
            b.silent();
            b.balanced();
        }
    }
}

#[test]
fn fragments_in_any_order_and_twice() {
    let pieces = fragments(&ping(CLIENT, LAN_ADDR, &bytes(8_000)), 1440, 77);
    let mut b = Bench::acquainted();
    for p in pieces.iter().rev() {
        b.client_sends(p);
    }
    assert!(whole(&b.sent(LAN))[8..] == bytes(8_000));
    b.client_sends(&pieces[0]);
    b.client_sends(&pieces[1]);
    b.client_sends(&pieces[0]);
    b.silent();
    assert_eq!(b.totals().drops(DropReason::FragmentDuplicate), 1);
    for p in &pieces[2..] {
        b.client_sends(p);
    }
    assert!(whole(&b.sent(LAN))[8..] == bytes(8_000));
    b.balanced();
}

#[test]
fn fragments_that_overlap_end_the_datagram() {
    for dst in [IpAddr::from(LAN_ADDR), LAN_ADDR6.into()] {
        let src = if dst.is_ipv4() { IpAddr::from(CLIENT) } else { CLIENT6.into() };
        let ask = ping(src, dst, &bytes(3_000));
        let (a, other) = (fragments(&ask, 1000, 77), fragments(&ask, 1400, 77));
        let mut b = Bench::acquainted();
        b.client_sends(&a[0]);
        b.client_sends(&other[1]);
        b.client_sends(&a[1]);
        b.silent();
        assert_eq!(b.totals().drops(DropReason::FragmentOverlap), 3);
        b.balanced();
    }
}

#[test]
fn fragments_that_can_not_be() {
    // Beyond the longest datagram.
    let piece = fragments(&ping(CLIENT, LAN_ADDR, &bytes(3_000)), 1440, 77).remove(1);
    let far = edit4(piece, |p| p[6..8].copy_from_slice(&0x1fffu16.to_be_bytes()));
    let mut b = Bench::acquainted();
    b.client_sends(&far);
    b.silent();
    b.dropped(DropReason::FragmentInvalid);
    // IPv6 says so: the length of all but the last is a multiple of 8 (RFC 8200 §4.5).
    let mut piece = fragments(&ping(CLIENT6, LAN_ADDR6, &bytes(3_000)), 1440, 77).remove(0);
    piece.pop();
    piece[4..6].copy_from_slice(&(1440u16 + 7).to_be_bytes());
    let mut b = Bench::acquainted();
    b.client_sends(&piece);
    let told = b.error(LAN);
    assert_eq!((told.kind, told.rest), ((4, 0), 4));
    b.dropped(DropReason::FragmentInvalid);
    let mut piece = fragments(&ping(CLIENT6, LAN_ADDR6, &bytes(3_000)), 1440, 77).remove(1);
    piece[42..44].copy_from_slice(&0xfff8u16.to_be_bytes());
    let mut b = Bench::acquainted();
    b.client_sends(&piece);
    let told = b.error(LAN);
    assert_eq!((told.kind, told.rest), ((4, 0), 42));
    b.dropped(DropReason::FragmentInvalid);
}

#[test]
fn fragments_whose_others_do_not_come() {
    for (src, dst, secs, kind) in [
        (IpAddr::from(CLIENT), IpAddr::from(LAN_ADDR), 30, (11, 1)),
        (CLIENT6.into(), LAN_ADDR6.into(), 60, (3, 1)),
    ] {
        let pieces = fragments(&ping(src, dst, &bytes(3_000)), 1440, 77);
        let mut b = Bench::acquainted();
        b.client_sends(&pieces[0]);
        b.client_sends(&pieces[1]);
        assert_eq!(b.totals().parked(Column::Received), 2);
        b.pass(Duration::from_millis(secs * 1000 - 1));
        b.silent();
        b.pass(Duration::from_millis(1));
        let told = b.error(LAN);
        assert_eq!((told.kind, told.src), (kind, dst));
        let quoted = told.quote.len();
        assert_eq!(told.quote, pieces[0][..quoted]);
        assert_eq!(b.totals().drops(DropReason::FragmentTimeout), 2);
        b.balanced();
        // Without the first nobody can be told.
        b.client_sends(&pieces[1]);
        b.pass(Duration::from_secs(secs));
        b.silent();
        b.balanced();
    }
}

#[test]
fn half_done_datagrams_are_bounded() {
    let mut b = Bench::acquainted();
    for ident in 0..6_000 {
        b.client_sends(&fragments(&ping(CLIENT, LAN_ADDR, &bytes(3_000)), 1440, ident)[0]);
    }
    assert!(b.router.live().reassembler.memory() <= 4 << 20);
    assert!(b.totals().drops(DropReason::FragmentTableFull) > 1000);
    b.silent();
    b.balanced();
    b.pass(Duration::from_secs(31));
    assert_eq!(b.totals().parked(Column::Received), 0);
    assert_eq!(b.router.live().reassembler.memory(), 0);
    b.balanced();
}

#[test]
fn an_error_about_a_datagram_in_pieces_quotes_it_whole() {
    let l3 = udp(CLIENT, LAN_ADDR, (1, 9999), &bytes(3_000));
    let mut b = Bench::acquainted();
    for f in fragments(&l3, 1440, 77) {
        b.client_sends(&f);
    }
    let told = b.error(LAN);
    assert_eq!((told.kind, told.quote.len()), ((3, 3), 548));
    assert_eq!(told.quote[2..4], (l3.len() as u16).to_be_bytes());
    assert_eq!(told.quote[20..], l3[20..548]);
    b.balanced();
}

#[test]
fn echo_keeps_tos_and_is_answered_at_ttl_one() {
    let mut b = Bench::acquainted();
    b.client_sends(&ttl(edit4(ping(CLIENT, WAN_ADDR, b"x"), |p| p[1] = 0xb8), 1));
    let p = b.one(LAN);
    assert_eq!((p.l3()[1], p.l3()[8]), (0xb8, 64));
    let mut ask = ttl(ping(CLIENT6, WAN_ADDR6, b"x"), 1);
    ask[0] = 0x6b;
    ask[1] = 0x80;
    b.client_sends(&ask);
    let p = b.one(LAN);
    assert_eq!(Ipv6::new(p.l3()).unwrap().traffic_class(), 0xb8);
    b.balanced();
}

#[test]
fn multicast_echo_is_answered_for_ipv6_only() {
    let all: Ipv6Addr = "ff02::1".parse().unwrap();
    for (src, from) in [(CLIENT6, LAN_ADDR6), (ll(), LAN_MAC.link_local())] {
        let mut b = Bench::acquainted();
        b.router.set_static_neighbor(LAN, ll().into(), CLIENT_MAC);
        b.client_sends(&ping(src, all, b"hello"));
        let p = b.one(LAN);
        assert_eq!((addr(&p, false), addr(&p, true)), (from.into(), src.into()));
        b.balanced();
    }
}

#[test]
fn nobody_in_particular_is_not_answered() {
    Bench::swallows(&ping(Ipv6Addr::UNSPECIFIED, LAN_ADDR6, b"x"), DropReason::MartianSource);
    Bench::swallows(&ping(Ipv4Addr::UNSPECIFIED, LAN_ADDR, b"x"), DropReason::MartianSource);
    Bench::swallows(&ping(Ipv4Addr::UNSPECIFIED, Ipv4Addr::BROADCAST, b"x"), DropReason::IcmpBroadcastEcho);
}

#[test]
fn timestamps_are_answered() {
    let mut b = Bench::acquainted();
    b.client_sends(&icmp4(CLIENT, LAN_ADDR, (13, 0), 0x0007_0009, &[0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0]));
    let p = b.one(LAN);
    let icmp = &p.l3()[20..];
    let ms = (b.now.as_millis() % 86_400_000) as u32;
    assert_eq!((icmp[0], icmp[1], &icmp[4..8]), (14, 0, &[0, 7, 0, 9][..]));
    assert_eq!(icmp[8..], [&[0, 0, 1, 0], &ms.to_be_bytes()[..], &ms.to_be_bytes()].concat());
    b.client_sends(&icmp4(CLIENT, LAN_ADDR, (13, 0), 0, &[0; 11]));
    b.silent();
    b.dropped(DropReason::L4TooShort);
}

#[test]
fn messages_that_are_taken_note_of_or_ignored() {
    for (l3, reason) in [
        (icmp4(CLIENT, LAN_ADDR, (0, 0), 0, b"x"), Some(DropReason::IcmpNoSocket)),
        (icmp4(CLIENT, LAN_ADDR, (14, 0), 0, &[0; 12]), Some(DropReason::IcmpNoSocket)),
        (icmp4(CLIENT, LAN_ADDR, (5, 1), 0, &[0; 28]), Some(DropReason::IcmpUnknownType)),
        (icmp4(CLIENT, LAN_ADDR, (17, 0), 0, &[0; 4]), Some(DropReason::IcmpUnknownType)),
        (icmp4(CLIENT, LAN_ADDR, (42, 0), 0, b""), Some(DropReason::IcmpUnknownType)),
        (icmp4(CLIENT, LAN_ADDR, (3, 1), 0, &[0; 28]), None),
        (icmp6(CLIENT6, LAN_ADDR6, (129, 0), 0, b"x"), Some(DropReason::IcmpNoSocket)),
        (icmp6(CLIENT6, LAN_ADDR6, (130, 0), 0, &[0; 16]), Some(DropReason::IcmpUnknownType)),
        (icmp6(CLIENT6, LAN_ADDR6, (200, 0), 0, b""), Some(DropReason::IcmpUnknownType)),
        (icmp6(CLIENT6, LAN_ADDR6, (1, 0), 0, &[0; 48]), None),
    ] {
        let mut b = Bench::acquainted();
        b.client_sends(&l3);
        b.silent();
        match reason {
            Some(reason) => b.dropped(reason),
            None => b.balanced(),
        }
    }
}

#[test]
fn upper_layers_cut_short_or_wrong() {
    let cut = |l3: &[u8], n: usize| -> Vec<u8> {
        match l3[0] >> 4 {
            4 => ip4(CLIENT, LAN_ADDR, l3[9], &l3[20..20 + n]),
            _ => ip6(CLIENT6, LAN_ADDR6, l3[6], &l3[40..40 + n]),
        }
    };
    let wrong = |mut l3: Vec<u8>| {
        let end = l3.len() - 1;
        l3[end] ^= 1;
        l3
    };
    let all = [
        udp(CLIENT, LAN_ADDR, (1, 7), b"hello"),
        udp(CLIENT6, LAN_ADDR6, (1, 7), b"hello"),
        tcp(CLIENT, LAN_ADDR, (1, 7), wire_tcp::SYN, b""),
        tcp(CLIENT6, LAN_ADDR6, (1, 7), wire_tcp::SYN, b""),
        ping(CLIENT, LAN_ADDR, b"hello"),
        ping(CLIENT6, LAN_ADDR6, b"hello"),
    ];
    for l3 in all {
        Bench::swallows(&wrong(l3.clone()), DropReason::L4BadChecksum);
        Bench::swallows(&cut(&l3, 3), DropReason::L4TooShort);
    }
    // Lengths that lie.
    for (at, value) in [(25, 7u8), (25, 14), (24, 1)] {
        let mut l3 = udp(CLIENT, LAN_ADDR, (1, 7), b"hello");
        l3[at] = value;
        Bench::swallows(&l3, DropReason::L4TooShort);
    }
    for value in [0x40, 0xf0] {
        let mut l3 = tcp(CLIENT, LAN_ADDR, (1, 7), wire_tcp::SYN, b"");
        l3[32] = value;
        Bench::swallows(&l3, DropReason::L4TooShort);
    }
    // UDP without a checksum: IPv4 allows it, IPv6 doesn't (RFC 8200 §8.1).
    let mut l3 = udp(CLIENT, LAN_ADDR, (1, 7), b"hello");
    l3[26..28].fill(0);
    let mut b = Bench::acquainted();
    b.client_sends(&l3);
    assert_eq!(b.host.len(), 1);
    let mut l3 = udp(CLIENT6, LAN_ADDR6, (1, 7), b"hello");
    l3[46..48].fill(0);
    Bench::swallows(&l3, DropReason::L4BadChecksum);
    // Bytes behind a datagram's length are not its own.
    let l4 = [&udp(CLIENT, LAN_ADDR, (1, 7), b"hello")[20..], b"more"].concat();
    b.client_sends(&ip4(CLIENT, LAN_ADDR, proto::UDP, &l4));
    assert_eq!(b.host.len(), 2);
    b.balanced();
}

/// The local stack sends.
fn made(b: &mut Bench, l3: &[u8]) {
    b.worker.handle_local(Packet::from_slice(l3), b.now);
    b.collect();
}

#[test]
fn packets_of_the_local_stack_leave_like_others() {
    let mut b = Bench::acquainted();
    made(&mut b, &udp(LAN_ADDR, SERVER, (7, 1000), b"x"));
    let p = b.one(WAN);
    assert_eq!((p.l3()[8], p.meta.column), (64, Column::Originated), "no hop is counted");
    made(&mut b, &udp(LAN_ADDR6, SERVER6, (7, 1000), &bytes(3_000)));
    let out = b.sent(WAN);
    assert_eq!(out.len(), 3);
    assert!(whole(&out) == udp(LAN_ADDR6, SERVER6, (7, 1000), &bytes(3_000))[40..]);
    made(&mut b, &udp(LAN_ADDR, SERVER, (7, 1000), &bytes(3_000)));
    assert!(whole(&b.sent(WAN)) == udp(LAN_ADDR, SERVER, (7, 1000), &bytes(3_000))[20..]);
    b.balanced();
}

#[test]
fn packets_of_the_local_stack_that_lead_nowhere() {
    let mut plan = Plan::default();
    plan.routes.clear();
    let mut b = plan.build();
    for (l3, reason) in [
        (udp(LAN_ADDR, Ipv4Addr::new(192, 0, 2, 1), (1, 2), b"x"), DropReason::NoRoute),
        (udp(LAN_ADDR, Ipv4Addr::new(10, 2, 0, 255), (1, 2), b"x"), DropReason::NotForwarded),
        (udp(LAN_ADDR, Ipv4Addr::BROADCAST, (1, 2), b"x"), DropReason::NotForwarded),
        (udp(LAN_ADDR, Ipv4Addr::new(224, 0, 0, 5), (1, 2), b"x"), DropReason::LinkLocalScope),
        (udp(LAN_ADDR6, ll(), (1, 2), b"x"), DropReason::LinkLocalScope),
        (vec![], DropReason::NotEncodable),
        (vec![0x45; 12], DropReason::Ip4TooShort),
        (vec![0x60; 12], DropReason::NotEncodable),
    ] {
        let before = b.totals().dropped(Column::Originated, reason);
        made(&mut b, &l3);
        b.silent();
        assert_eq!(b.totals().dropped(Column::Originated, reason), before + 1, "{}", reason.name());
    }
    b.balanced();
}

#[test]
fn from_one_of_our_addresses_to_another() {
    let mut b = Bench::acquainted();
    made(&mut b, &udp(WAN_ADDR, LAN_ADDR, (1000, 7), b"x"));
    assert_eq!((b.host.len(), b.host[0].meta.ingress), (1, LinkId::LO));
    b.host.clear();
    made(&mut b, &udp(Ipv4Addr::LOCALHOST, Ipv4Addr::LOCALHOST, (1000, 7), b"x"));
    made(&mut b, &udp(Ipv6Addr::LOCALHOST, Ipv6Addr::LOCALHOST, (1000, 7), b"x"));
    made(&mut b, &udp(LAN_ADDR6, LAN_ADDR6, (1000, 7), b"x"));
    assert_eq!(b.host.len(), 3);
    // A ping of ours to ourselves: the answer finds nobody who waits for it.
    made(&mut b, &ping(LAN_ADDR, WAN_ADDR, b"x"));
    b.silent();
    assert_eq!((b.tally(Tally::EchoReplies), b.totals().drops(DropReason::IcmpNoSocket)), (1, 1));
    let lo = b.totals().links[0];
    assert_eq!((lo.rx_packets, lo.tx_packets), (6, 6));
    b.balanced();
}

#[test]
fn link_local_peers_of_the_stack_are_answered_on_their_link() {
    let mut b = Bench::acquainted();
    b.router.set_static_neighbor(LAN, ll().into(), CLIENT_MAC);
    b.router.set_static_neighbor(WAN, ll().into(), SERVER_MAC);
    for (link, own, mac) in [(LAN, LAN_MAC, CLIENT_MAC), (WAN, WAN_MAC, SERVER_MAC)] {
        let ask = udp(ll(), own.link_local(), (1000, 7), b"x");
        b.receive(link, &frame(own, mac, &ask));
        assert_eq!(b.host.len(), 1);
        b.host.clear();
        made(&mut b, &udp(own.link_local(), ll(), (7, 1000), b"x"));
        assert_eq!(b.one(link).data()[..6], mac.0);
    }
    b.balanced();
}

#[test]
fn the_stack_is_given_no_more_than_it_can_take() {
    let mut b = Bench::acquainted();
    let f = frame(LAN_MAC, CLIENT_MAC, &udp(CLIENT, LAN_ADDR, (1, 7), b"x"));
    let mut batch: Vec<_> = (0..300).map(|_| Packet::from_slice(&f)).collect();
    b.worker.handle_batch(LAN, &mut batch, b.now);
    b.collect();
    assert_eq!((b.host.len(), b.totals().drops(DropReason::HostQueueFull)), (256, 44));
    b.balanced();
    // What the stack refuses is in the ledger as well.
    b.worker.handle_frame(LAN, Packet::from_slice(&f), b.now);
    let taken: Vec<_> = b.worker.drain_host().collect();
    for p in taken {
        b.worker.host_refused(p, DropReason::HostRefused);
    }
    assert_eq!(b.totals().drops(DropReason::HostRefused), 1);
    b.balanced();
}

#[test]
fn an_answer_that_finds_no_way_back_ends_there() {
    // Asked as one of all, by somebody there is no way to.
    let mut plan = Plan::default();
    plan.routes.clear();
    let mut b = plan.build();
    let (far, all): (Ipv6Addr, Ipv6Addr) = ("2001:db8::1".parse().unwrap(), "ff02::1".parse().unwrap());
    b.client_sends(&ping(far, all, b"x"));
    b.silent();
    b.dropped(DropReason::NoRoute);
}
