//! ICMP errors: when one is sent, when not, from where, and how often.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use sekisho::base::counters::Tally;
use sekisho::base::{DropReason, Mac};
use sekisho::fib::RouteKind;
use sekisho::wire::{proto, tcp as wire_tcp};

use crate::basics::{udp4, udp6};
use crate::make::*;
use crate::net::*;

fn v4(s: &str) -> Ipv4Addr {
    s.parse().unwrap()
}

/// A packet that ends here with `reason` and without a word.
#[track_caller]
fn unanswered(l3: &[u8], reason: DropReason) {
    Bench::swallows(l3, reason);
}

#[test]
fn an_error_comes_from_the_side_it_goes_to() {
    let mut b = Bench::acquainted();
    b.client_sends(&udp4(1, b"x"));
    assert_eq!(b.error(LAN).src, IpAddr::from(LAN_ADDR));
    b.server_sends(&ttl(udp(SERVER, CLIENT, (1, 2), b"x"), 1));
    assert_eq!(b.error(WAN).src, IpAddr::from(WAN_ADDR));
    b.server_sends(&ttl(udp(SERVER6, CLIENT6, (1, 2), b"x"), 1));
    assert_eq!(b.error(WAN).src, IpAddr::from(WAN_ADDR6));
    // To whom the way leads elsewhere: that side's address (icmp_errors_use_inbound_ifaddr is 0).
    b.client_sends(&ttl(udp(v4("192.0.2.9"), SERVER, (1, 2), b"x"), 1));
    let told = b.error(WAN);
    assert_eq!((told.src, told.dst), (WAN_ADDR.into(), v4("192.0.2.9").into()));
    // About a packet for the router: the address that was asked.
    b.client_sends(&udp(CLIENT, WAN_ADDR, (1, 9999), b"x"));
    assert_eq!(b.error(LAN).src, IpAddr::from(WAN_ADDR));
    b.balanced();
}

#[test]
fn a_preferred_source_is_used() {
    let mut plan = Plan::default();
    let mut back = via("192.0.2.0/24", CLIENT.into(), LAN);
    back.src = Some(IpAddr::from(v4("10.3.0.1")));
    plan = plan.route(back);
    let mut b = plan.build().acquaint();
    b.client_sends(&ttl(udp(v4("192.0.2.9"), SERVER, (1, 2), b"x"), 1));
    assert_eq!(b.error(LAN).src, IpAddr::from(v4("10.3.0.1")));
}

#[test]
fn link_local_senders_hear_from_a_link_local_address() {
    let peer: Ipv6Addr = "fe80::77".parse().unwrap();
    let mut b = Bench::acquainted();
    b.router.set_static_neighbor(LAN, peer.into(), CLIENT_MAC);
    b.client_sends(&udp(peer, LAN_MAC.link_local(), (1, 9999), b"x"));
    let told = b.error(LAN);
    assert_eq!((told.kind, told.src, told.dst), ((1, 4), LAN_MAC.link_local().into(), peer.into()));
    b.dropped(DropReason::NoPort);
}

#[test]
fn precedence_ttl_and_quote() {
    let mut b = Bench::acquainted();
    let l3 = ttl(edit4(udp4(64, &bytes(1400)), |p| p[1] = 0xff), 1);
    b.client_sends(&l3);
    let told = b.error(LAN);
    assert_eq!((told.tos, told.ttl), (0xde, 64), "internetwork control, and the packet's own TOS");
    assert_eq!(told.quote, l3[..548], "576 bytes in all");
    let l3 = ttl(udp6(64, &bytes(1400)), 1);
    b.client_sends(&l3);
    let told = b.error(LAN);
    assert_eq!((told.tos, told.ttl), (0, 64));
    assert_eq!(told.quote, l3[..1232], "1280 bytes in all");
    b.balanced();
}

#[test]
fn none_about_errors() {
    let quoted = udp(SERVER, CLIENT, (1, 2), b"x");
    for kind in [3, 4, 5, 11, 12, 19, 40, 255] {
        unanswered(&ttl(icmp4(CLIENT, SERVER, (kind, 0), 0, &quoted), 1), DropReason::TtlExceeded);
    }
    // About questions and answers there is.
    for kind in [0, 8, 13, 14, 17, 18] {
        let mut b = Bench::acquainted();
        b.client_sends(&ttl(icmp4(CLIENT, SERVER, (kind, 0), 0, &bytes(12)), 1));
        assert_eq!(b.error(LAN).kind, (11, 0));
    }
    for kind in [1, 2, 3, 4, 100, 127, 137] {
        unanswered(&ttl(icmp6(CLIENT6, SERVER6, (kind, 0), 0, &quoted), 1), DropReason::TtlExceeded);
    }
    for kind in [128, 129, 130, 200] {
        let mut b = Bench::acquainted();
        b.client_sends(&ttl(icmp6(CLIENT6, SERVER6, (kind, 0), 0, &bytes(12)), 1));
        assert_eq!(b.error(LAN).kind, (3, 0));
    }
    // One whose type can't be seen may be an error.
    unanswered(&ttl(ip4(CLIENT, SERVER, proto::ICMP, b""), 1), DropReason::TtlExceeded);
    unanswered(&ttl(ip6(CLIENT6, SERVER6, proto::ICMPV6, b""), 1), DropReason::TtlExceeded);
    // An error behind extension headers is one too.
    let hidden = with_headers(
        &icmp6(CLIENT6, SERVER6, (1, 0), 0, &quoted),
        &[(proto::DEST_OPTIONS, &[0, 0, 1, 4, 0, 0, 0, 0])],
    );
    unanswered(&ttl(hidden, 1), DropReason::TtlExceeded);
}

#[test]
fn none_about_later_fragments() {
    let pieces = fragments(&udp(CLIENT, SERVER, (1, 2), &bytes(100)), 48, 5);
    let mut b = Bench::acquainted();
    b.client_sends(&ttl(pieces[0].clone(), 1));
    assert_eq!(b.error(LAN).kind, (11, 0));
    unanswered(&ttl(pieces[1].clone(), 1), DropReason::TtlExceeded);
    unanswered(&ttl(pieces[2].clone(), 1), DropReason::TtlExceeded);
}

#[test]
fn none_to_those_who_are_not_one_host() {
    let mut b = Plan::default().route(reject("10.9.0.0/16", RouteKind::Unreachable)).build().acquaint();
    // Another subnet's broadcast address passes the checks of sources on this side, but gets no answer.
    b.client_sends(&ttl(udp(v4("10.2.0.255"), SERVER, (1, 2), b"x"), 1));
    b.silent();
    b.dropped(DropReason::TtlExceeded);
    assert_eq!(b.tally(Tally::IcmpSuppressed), 1);
}

#[test]
fn to_groups_only_what_must_be_said() {
    // An option that asks for it even from a group (RFC 4443 §2.4 (e.3)); others don't.
    let to_all = |option: u8| {
        let all: Ipv6Addr = "ff02::1".parse().unwrap();
        with_headers(&udp(CLIENT6, all, (1, 9), b"x"), &[(proto::HOP_BY_HOP, &[0, 0, option, 4, 0, 0, 0, 0])])
    };
    let mut b = Bench::acquainted();
    b.client_sends(&to_all(0x9e));
    let told = b.error(LAN);
    assert_eq!((told.kind, told.src), ((4, 2), LAN_ADDR6.into()));
    unanswered(&to_all(0xde), DropReason::Ip6BadOption);
    let all: Ipv6Addr = "ff02::1".parse().unwrap();
    unanswered(&ip6(CLIENT6, all, 99, b"x"), DropReason::NoProtocol);
    // The frame for all is as good as the packet.
    for (options, told) in [([0, 0, 0x9e, 4, 0, 0, 0, 0], true), ([0, 0, 0xc2, 4, 0, 0, 1, 0], false)] {
        let mut b = Bench::acquainted();
        let l3 = with_headers(&udp(CLIENT6, LAN_ADDR6, (1, 9), b"x"), &[(proto::HOP_BY_HOP, &options)]);
        b.receive(LAN, &frame(Mac::BROADCAST, CLIENT_MAC, &l3));
        assert_eq!(b.sent(LAN).len(), usize::from(told));
        b.dropped(DropReason::Ip6BadOption);
    }
    // Nobody in particular asked.
    let nobody = udp(Ipv6Addr::UNSPECIFIED, LAN_ADDR6, (1, 9), b"x");
    unanswered(
        &with_headers(&nobody, &[(proto::HOP_BY_HOP, &[0, 0, 0x9e, 4, 0, 0, 0, 0])]),
        DropReason::Ip6BadOption,
    );
    unanswered(&nobody, DropReason::NoPort);
    // Too big, though the frame was for all: that is L2, and stops it before.
    let mut b = Plan::default().link(WAN, |l| l.mtu = 1300).build().acquaint();
    b.receive(LAN, &frame(Mac::BROADCAST, CLIENT_MAC, &udp6(64, &bytes(1400))));
    b.silent();
    b.dropped(DropReason::L2Group);
}

#[test]
fn a_peer_gets_six_at_once_and_then_one_a_second() {
    for (l3, other) in [
        (udp4(1, b"x"), ttl(udp(v4("10.1.0.9"), SERVER, (1, 2), b"x"), 1)),
        (udp6(1, b"x"), ttl(udp("fd01::9".parse::<Ipv6Addr>().unwrap(), SERVER6, (1, 2), b"x"), 1)),
    ] {
        let mut b = Bench::acquainted();
        b.router.set_static_neighbor(LAN, v4("10.1.0.9").into(), Mac([2, 0, 0, 0, 1, 9]));
        b.router.set_static_neighbor(LAN, "fd01::9".parse().unwrap(), Mac([2, 0, 0, 0, 1, 9]));
        // IPv6 gives the peers on a /64 four at a time what IPv4 gives one.
        let second = if l3[0] >> 4 == 4 { 1000 } else { 250 };
        for _ in 0..20 {
            b.client_sends(&l3);
        }
        assert_eq!(b.sent(LAN).len(), 6);
        assert_eq!(b.tally(Tally::IcmpLimited), 14);
        b.client_sends(&other);
        b.one(LAN);
        b.pass(Duration::from_millis(second - 1));
        b.client_sends(&l3);
        b.silent();
        b.pass(Duration::from_millis(1));
        b.client_sends(&l3);
        b.client_sends(&l3);
        b.one(LAN);
        b.balanced();
    }
}

#[test]
fn all_peers_together_get_a_thousand_a_second() {
    let mut b = Bench::acquainted();
    let from = |n: u32| v4(&format!("192.0.{}.{}", 2 + n / 250, 1 + n % 250));
    let mut sent = 0;
    for n in 0..1000 {
        b.client_sends(&ttl(udp(from(n), SERVER, (1, 2), b"x"), 1));
        sent += b.sent(WAN).len();
    }
    assert!((26..=80).contains(&sent), "a burst of 50 or so, but {sent}");
    // A second of many, evenly: about a thousand.
    let mut sent = 0;
    for n in 0..4000 {
        b.now += Duration::from_micros(250);
        b.client_sends(&ttl(udp(from(n + 1000), SERVER, (1, 2), b"x"), 1));
        sent += b.sent(WAN).len();
    }
    assert!((700..1300).contains(&sent), "{sent}");
    b.balanced();
}

#[test]
fn one_peers_flood_leaves_the_others_theirs() {
    let mut b = Bench::acquainted();
    let from = |n: u8| ttl(udp(Ipv4Addr::new(192, 0, 2, n), SERVER, (1, 2), b"x"), 1);
    for n in 1..20 {
        b.client_sends(&from(n));
    }
    for _ in 0..10_000 {
        b.client_sends(&udp4(1, b"x"));
    }
    b.out.clear();
    for n in 20..30 {
        b.client_sends(&from(n));
    }
    assert_eq!(b.sent(WAN).len(), 10, "what was refused to one was not taken from all");
}

#[test]
fn path_mtu_discovery_is_never_limited() {
    let mut b = Plan::default().link(WAN, |l| l.mtu = 1400).build().acquaint();
    for _ in 0..200 {
        b.client_sends(&dont_fragment(udp4(64, &bytes(1400))));
        b.client_sends(&udp6(64, &bytes(1400)));
    }
    assert_eq!(b.sent(LAN).len(), 400);
    assert_eq!(b.tally(Tally::IcmpLimited), 0);
    b.balanced();
}

#[test]
fn echo_is_never_limited() {
    let mut b = Bench::acquainted();
    for _ in 0..200 {
        b.client_sends(&ping(CLIENT, LAN_ADDR, b"x"));
        b.client_sends(&ping(CLIENT6, LAN_ADDR6, b"x"));
    }
    assert_eq!(b.sent(LAN).len(), 400);
    b.balanced();
}

#[test]
fn lack_of_a_route_is_told_less_often() {
    let mut b = Plan::default().route(reject("10.9.0.0/16", RouteKind::Unreachable)).build().acquaint();
    b.pass(Duration::from_secs(60));
    for _ in 0..20 {
        b.client_sends(&udp(CLIENT, v4("10.9.0.1"), (1, 2), b"x"));
    }
    let first = b.sent(LAN).len();
    assert!((2..6).contains(&first), "{first}: two limits share a purse");
    b.balanced();
}

#[test]
fn closed_ports_and_unknown_protocols() {
    for (l3, kind) in [
        (udp(CLIENT, LAN_ADDR, (1, 9999), b"x"), (3, 3)),
        (udp(CLIENT6, WAN_ADDR6, (1, 9999), b"x"), (1, 4)),
        (ip4(CLIENT, LAN_ADDR, 99, b"x"), (3, 2)),
        (ip4(CLIENT, LAN_ADDR, proto::SCTP, &[0; 12]), (3, 2)),
    ] {
        let mut b = Bench::acquainted();
        b.client_sends(&l3);
        let told = b.error(LAN);
        assert_eq!((told.kind, told.quote), (kind, l3));
        b.balanced();
    }
    // The pointer is at the byte that names the header.
    let mut b = Bench::acquainted();
    b.client_sends(&ip6(CLIENT6, LAN_ADDR6, 99, b"x"));
    let told = b.error(LAN);
    assert_eq!((told.kind, told.rest), ((4, 1), 6));
    let l3 =
        with_headers(&ip6(CLIENT6, LAN_ADDR6, 99, b"x"), &[(proto::DEST_OPTIONS, &[0, 0, 1, 4, 0, 0, 0, 0])]);
    b.client_sends(&l3);
    let told = b.error(LAN);
    assert_eq!((told.kind, told.rest), ((4, 1), 40));
    // Nothing follows: nothing is said (RFC 8200 §4.7).
    unanswered(&ip6(CLIENT6, LAN_ADDR6, proto::NONE, b""), DropReason::NoProtocol);
    // IGMP is spoken by hosts, and not answered.
    unanswered(&ip4(CLIENT, LAN_ADDR, proto::IGMP, &[0; 8]), DropReason::NoProtocol);
}

#[test]
fn what_only_the_destination_refuses() {
    let base = udp(CLIENT6, LAN_ADDR6, (1, 7), b"x");
    let padding: &[u8] = &[0, 0, 1, 4, 0, 0, 0, 0];
    let case = |l3: &[u8], want: Option<((u8, u8), u32)>, reason| {
        let mut b = Bench::acquainted();
        b.client_sends(l3);
        match want {
            Some(want) => {
                let told = b.error(LAN);
                assert_eq!((told.kind, told.rest), want);
            }
            None => b.silent(),
        }
        assert!(b.host.is_empty());
        b.dropped(reason);
    };
    use DropReason::*;
    let rh0 = with_headers(
        &base,
        &[(proto::ROUTING, &[0, 2, 0, 1, 0, 0, 0, 0, 0xfd, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2])],
    );
    case(&rh0, Some(((4, 0), 42)), Ip6RoutingHeader);
    let odd =
        with_headers(&base, &[(proto::DEST_OPTIONS, padding), (proto::ROUTING, &[0, 0, 99, 3, 0, 0, 0, 0])]);
    case(&odd, Some(((4, 0), 50)), Ip6RoutingHeader);
    let option = |kind| with_headers(&base, &[(proto::DEST_OPTIONS, &[0, 0, 1, 0, kind, 2, 9, 9])]);
    case(&option(0x9e), Some(((4, 2), 44)), Ip6BadOption);
    case(&option(0xde), Some(((4, 2), 44)), Ip6BadOption);
    case(&option(0x5e), None, Ip6BadOption);
    let misplaced = with_headers(&base, &[(proto::DEST_OPTIONS, padding), (proto::HOP_BY_HOP, padding)]);
    case(&misplaced, Some(((4, 1), 40)), Ip6BadExtension);
    case(&with_headers(&base, &[(proto::DEST_OPTIONS, padding); 9]), None, Ip6ExtensionChain);
    case(&with_headers(&base, &[(proto::DEST_OPTIONS, &[0, 99, 1, 4, 0, 0, 0, 0])]), None, Ip6BadExtension);
    let first = ip6(CLIENT6, LAN_ADDR6, proto::FRAGMENT, &[17, 0, 0, 1, 0, 0, 0, 1, 0, 1, 0, 7]);
    case(&first, Some(((4, 3), 0)), Ip6IncompleteFirstFragment);
    // What is understood, or may be skipped, reaches its port.
    for ok in [
        option(0x1e),
        with_headers(&base, &[(proto::ROUTING, &[0, 0, 0, 0, 0, 0, 0, 0])]),
        with_headers(&base, &[(proto::FRAGMENT, &[0, 0, 0, 0, 0, 0, 0, 1])]),
        with_headers(&base, &[(proto::HOP_BY_HOP, padding), (proto::DEST_OPTIONS, padding)]),
    ] {
        let mut b = Bench::acquainted();
        b.client_sends(&ok);
        b.silent();
        assert_eq!(b.host.len(), 1);
        b.balanced();
    }
}

#[test]
fn tcp_is_the_stacks_even_where_nobody_listens() {
    let mut b = Bench::acquainted();
    b.client_sends(&tcp(CLIENT, LAN_ADDR, (1, 9999), wire_tcp::SYN, b""));
    b.client_sends(&tcp(CLIENT6, WAN_ADDR6, (1, 9999), wire_tcp::SYN, b""));
    b.silent();
    assert_eq!(b.host.len(), 2, "it sends the RST");
    b.balanced();
}
