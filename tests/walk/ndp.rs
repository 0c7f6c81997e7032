//! Neighbor discovery: questions, answers, and the check of our own addresses for duplicates.

use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use sekisho::base::counters::Tally;
use sekisho::base::{DropReason, Mac};
use sekisho::neighbor::{DadState, Nud};
use sekisho::packet::Packet;
use sekisho::wire::ndp::{self, Message, NeighborAdvert, NeighborSolicit};

use crate::basics::udp6;
use crate::make::{icmp6, ping, udp};
use crate::net::*;

const ALL: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
const NOBODY: Ipv6Addr = Ipv6Addr::UNSPECIFIED;
const OTHER_MAC: Mac = Mac([2, 0, 0, 0, 2, 9]);

fn peer() -> Ipv6Addr {
    "fe80::77".parse().unwrap()
}

fn ours() -> Ipv6Addr {
    LAN_MAC.link_local()
}

fn ns(src: Ipv6Addr, dst: Ipv6Addr, target: Ipv6Addr, source_mac: Option<Mac>) -> Vec<u8> {
    let ns = NeighborSolicit { target, source_mac, nonce: None };
    crate::make::ndp(src, dst, |buf| ns.emit(src, dst, buf))
}

fn na(src: Ipv6Addr, dst: Ipv6Addr, target: Ipv6Addr, flags: (bool, bool), mac: Option<Mac>) -> Vec<u8> {
    let na =
        NeighborAdvert { router: false, solicited: flags.0, override_: flags.1, target, target_mac: mac };
    crate::make::ndp(src, dst, |buf| na.emit(src, dst, buf))
}

/// Source, destination, MAC and message of a neighbor discovery packet.
#[track_caller]
fn read(p: &Packet) -> (Ipv6Addr, Ipv6Addr, Mac, Message<'_>) {
    let addr = |at: usize| Ipv6Addr::from(<[u8; 16]>::try_from(&p.l3()[at..at + 16]).unwrap());
    let (src, dst) = (addr(8), addr(24));
    assert_eq!((p.l3()[6], p.l3()[7]), (58, 255));
    (src, dst, Mac(p.data()[..6].try_into().unwrap()), ndp::parse(src, dst, &p.l3()[40..]).unwrap())
}

#[track_caller]
fn advert(p: &Packet) -> (Ipv6Addr, Ipv6Addr, Mac, NeighborAdvert) {
    match read(p) {
        (s, d, m, Message::NeighborAdvert(na)) => (s, d, m, na),
        other => panic!("{other:?}"),
    }
}

fn state(b: &Bench, ip: Ipv6Addr) -> Option<(Nud, Option<Mac>)> {
    let all = b.router.live().neighbors.entries(b.now);
    all.into_iter().find(|i| i.link == LAN && i.ip == IpAddr::V6(ip)).map(|i| (i.state, i.mac))
}

#[test]
fn who_asks_for_us_is_answered_and_remembered() {
    for (target, from) in [(ours(), peer()), (LAN_ADDR6, peer()), (LAN_ADDR6, CLIENT6)] {
        for asked in [ndp::solicited_node(target), target] {
            let mut b = Bench::new();
            b.client_sends(&ns(from, asked, target, Some(CLIENT_MAC)));
            let p = b.one(LAN);
            let (src, dst, mac, na) = advert(&p);
            assert_eq!((src, dst, mac), (target, from, CLIENT_MAC));
            // Who asks this station alone has its MAC already (RFC 4861 §7.2.4).
            let all = asked.is_multicast();
            assert_eq!((na.target, na.target_mac), (target, all.then_some(LAN_MAC)));
            assert!(na.router && na.solicited && na.override_ == all);
            // Stale when it asked, and in use since it was answered.
            assert_eq!(state(&b, from), Some((Nud::Delay, Some(CLIENT_MAC))));
            assert_eq!(b.tally(Tally::Advertisements), 1);
            b.silent();
            b.balanced();
        }
    }
}

#[test]
fn one_who_gives_no_mac_is_asked_for_it() {
    let mut b = Bench::new();
    b.client_sends(&ns(peer(), LAN_ADDR6, LAN_ADDR6, None));
    let p = b.one(LAN);
    assert!(matches!(read(&p).3, Message::NeighborSolicit(q) if q.target == peer()));
    b.client_sends(&na(peer(), LAN_ADDR6, peer(), (true, true), Some(CLIENT_MAC)));
    assert_eq!(advert(&b.one(LAN)).3.target, LAN_ADDR6);
    b.balanced();
}

#[test]
fn solicitations_that_are_not_for_us() {
    let case = |l3: &[u8], reason| {
        let mut b = Bench::new();
        b.client_sends(l3);
        b.silent();
        assert!(b.router.live().neighbors.entries(b.now).is_empty());
        b.dropped(reason);
    };
    use DropReason::{NdpIgnored, NdpInvalid, NotJoined};
    let group = ndp::solicited_node(ours());
    // Somebody else's; one of our other links'.
    case(&ns(peer(), ALL, "fe80::55".parse().unwrap(), Some(CLIENT_MAC)), NdpIgnored);
    case(&ns(peer(), ALL, WAN_ADDR6, Some(CLIENT_MAC)), NdpIgnored);
    case(&ns(peer(), ALL, WAN_MAC.link_local(), Some(CLIENT_MAC)), NdpIgnored);
    let theirs = "fe80::55".parse().unwrap();
    case(&ns(peer(), ndp::solicited_node(theirs), theirs, Some(CLIENT_MAC)), NotJoined);
    // From afar (RFC 4861 §7.1.1), with a group's MAC, without one to a group, a probe with one.
    let mut far = ns(peer(), group, ours(), Some(CLIENT_MAC));
    far[7] = 254;
    case(&far, NdpInvalid);
    case(&ns(peer(), group, ours(), Some(Mac([0x33, 0x33, 0, 0, 0, 1]))), NdpInvalid);
    case(&ns(peer(), group, ours(), Some(Mac::BROADCAST)), NdpInvalid);
    case(&ns(peer(), group, ours(), Some(Mac::ZERO)), NdpInvalid);
    case(&ns(peer(), group, ours(), Some(LAN_MAC)), NdpInvalid);
    case(&na(peer(), ours(), peer(), (true, true), Some(LAN_MAC)), NdpInvalid);
    case(&ns(peer(), group, ours(), None), NdpInvalid);
    case(&ns(NOBODY, group, ours(), Some(CLIENT_MAC)), NdpInvalid);
    case(&ns(NOBODY, ours(), ours(), None), NdpInvalid);
    case(&ns(peer(), group, ALL, Some(CLIENT_MAC)), NdpInvalid);
    // A code that is not 0, an option of no length, a message cut short.
    let body = |extra: &[u8]| [&ours().octets()[..], extra].concat();
    let raw = |code, body: &[u8]| {
        let mut p = icmp6(peer(), group, (135, code), 0, body);
        p[7] = 255;
        p
    };
    case(&raw(1, &body(&[1, 1, 2, 0, 0, 0, 1, 2])), NdpInvalid);
    case(&raw(0, &body(&[1, 0, 2, 0, 0, 0, 1, 2])), NdpInvalid);
    case(&raw(0, &body(&[1, 2, 2, 0, 0, 0, 1, 2])), NdpInvalid);
    case(&raw(0, &ours().octets()[..12]), NdpInvalid);
    let mut wrong = ns(peer(), group, ours(), Some(CLIENT_MAC));
    wrong[60] ^= 1;
    case(&wrong, DropReason::L4BadChecksum);
}

#[test]
fn other_messages_of_discovery_are_not_for_a_router() {
    for (kind, body) in
        [(133, vec![]), (134, vec![0; 8]), (137, [peer().octets(), CLIENT6.octets()].concat())]
    {
        let mut p = icmp6(peer(), ALL, (kind, 0), 0, &body);
        p[7] = 255;
        let mut b = Bench::acquainted();
        b.client_sends(&p);
        b.silent();
        b.dropped(DropReason::NdpIgnored);
    }
}

#[test]
fn the_anycast_address_of_the_routers() {
    let anycast: Ipv6Addr = "fd01::".parse().unwrap();
    let mut b = Bench::new();
    b.client_sends(&ns(CLIENT6, ndp::solicited_node(anycast), anycast, Some(CLIENT_MAC)));
    let (src, _, _, na) = advert(&b.one(LAN));
    assert_eq!((na.target, na.target_mac, na.solicited), (anycast, Some(LAN_MAC), true));
    assert!(!na.override_, "it is nobody's own (RFC 4861 §7.2.7)");
    assert_ne!(src, anycast);
    // A probe for it is answered to all, from an address that all can place.
    b.client_sends(&ns(NOBODY, ndp::solicited_node(anycast), anycast, None));
    let (src, dst, _, na) = advert(&b.one(LAN));
    assert_eq!((src, dst, na.target, na.override_), (ours(), ALL, anycast, false));
    // Echo to it is answered from an address that is.
    b.client_sends(&ping(CLIENT6, anycast, b"x"));
    assert_eq!(b.one(LAN).l3()[8..24], LAN_ADDR6.octets());
    b.balanced();
}

#[test]
fn an_answer_lets_out_what_waits() {
    let mut b = Bench::new();
    b.server_sends(&udp(SERVER6, CLIENT6, (1, 2), b"x"));
    let p = b.one(LAN);
    let (src, dst, mac, Message::NeighborSolicit(q)) = read(&p) else { panic!() };
    assert_eq!((src, dst), (ours(), ndp::solicited_node(CLIENT6)));
    assert_eq!((mac, q.target, q.source_mac), (Mac::of_multicast_v6(dst), CLIENT6, Some(LAN_MAC)));
    // One without the MAC, and one for somebody else, are no answers.
    b.client_sends(&na(CLIENT6, ours(), CLIENT6, (true, true), None));
    b.client_sends(&na(peer(), ours(), peer(), (true, true), Some(OTHER_MAC)));
    b.client_sends(&na(CLIENT6, ours(), CLIENT6, (true, true), Some(Mac::BROADCAST)));
    b.silent();
    assert_eq!(state(&b, peer()), None, "nobody asked");
    b.client_sends(&na(CLIENT6, ours(), CLIENT6, (true, true), Some(CLIENT_MAC)));
    assert_eq!(b.one(LAN).data()[..6], CLIENT_MAC.0);
    assert_eq!(state(&b, CLIENT6), Some((Nud::Reachable, Some(CLIENT_MAC))));
    b.balanced();
}

#[test]
fn what_an_advertisement_may_change() {
    // Flags solicited and override; whether another MAC; the state after (RFC 4861 §7.2.5, appendix C).
    for (solicited, over, other, want) in [
        (true, true, false, (Nud::Reachable, CLIENT_MAC)),
        (true, false, false, (Nud::Reachable, CLIENT_MAC)),
        (false, true, false, (Nud::Reachable, CLIENT_MAC)),
        (false, false, false, (Nud::Reachable, CLIENT_MAC)),
        (true, true, true, (Nud::Reachable, OTHER_MAC)),
        (true, false, true, (Nud::Stale, CLIENT_MAC)),
        (false, true, true, (Nud::Stale, OTHER_MAC)),
        (false, false, true, (Nud::Stale, CLIENT_MAC)),
    ] {
        let mut b = Bench::new();
        b.server_sends(&udp(SERVER6, CLIENT6, (1, 2), b"x"));
        b.client_sends(&na(CLIENT6, ours(), CLIENT6, (true, true), Some(CLIENT_MAC)));
        let mac = if other { OTHER_MAC } else { CLIENT_MAC };
        let dst = if solicited { ours() } else { ALL };
        b.client_sends(&na(CLIENT6, dst, CLIENT6, (solicited, over), Some(mac)));
        assert_eq!(state(&b, CLIENT6), Some((want.0, Some(want.1))), "{solicited} {over} {other}");
        b.out.clear();
        b.server_sends(&udp(SERVER6, CLIENT6, (1, 2), b"x"));
        assert_eq!(b.one(LAN).data()[..6], want.1.0);
        b.balanced();
    }
    // An answer sent to a group is none.
    let mut b = Bench::new();
    b.client_sends(&na(CLIENT6, ALL, CLIENT6, (true, true), Some(CLIENT_MAC)));
    b.dropped(DropReason::NdpInvalid);
}

/// A router whose links have not come up yet.
fn cold() -> Bench {
    let plan = Plan::default();
    let router = sekisho::router::Router::new(plan.snapshot(), plan.config, 0);
    let mut worker = router.worker();
    for link in [LAN, WAN] {
        worker.set_caps(link, sekisho::packet::Caps::FULL);
    }
    let now = sekisho::base::Instant::from_secs(100);
    Bench { router, worker, now, out: vec![], host: vec![] }
}

fn up(b: &mut Bench) -> Vec<Packet> {
    b.worker.handle_link(LAN, true, b.now);
    b.collect();
    b.sent(LAN)
}

#[test]
fn our_addresses_are_checked_before_they_are_used() {
    let mut b = cold();
    let probes = up(&mut b);
    assert_eq!(probes.len(), 2, "the global and the link-local one");
    for p in &probes {
        let (src, dst, mac, Message::NeighborSolicit(q)) = read(p) else { panic!() };
        assert_eq!((src, dst, mac), (NOBODY, ndp::solicited_node(q.target), Mac::of_multicast_v6(dst)));
        assert!([LAN_ADDR6, ours()].contains(&q.target));
        assert_eq!(q.source_mac, None);
        assert!(q.nonce.is_some());
    }
    // Meanwhile they are nobody's.
    b.client_sends(&ping(CLIENT6, LAN_ADDR6, b"x"));
    b.client_sends(&ns(peer(), ndp::solicited_node(ours()), ours(), Some(CLIENT_MAC)));
    b.silent();
    assert_eq!(b.totals().drops(DropReason::AddressTentative), 2);
    // Our own probe come back is no claim (RFC 7527).
    let mine = probes[0].l3().to_vec();
    b.receive(LAN, &frame(Mac::of_multicast_v6(ALL), CLIENT_MAC, &mine));
    b.pass(Duration::from_secs(1));
    assert_eq!(b.router.live().dad.state(LAN, LAN_ADDR6), DadState::Valid);
    b.client_sends(&ns(peer(), ndp::solicited_node(ours()), ours(), Some(CLIENT_MAC)));
    assert_eq!(advert(&b.one(LAN)).3.target, ours());
    b.balanced();
}

#[test]
fn an_address_that_another_has_is_not_used() {
    for by_advert in [false, true] {
        let mut b = cold();
        up(&mut b);
        let claim = if by_advert {
            na(LAN_ADDR6, ALL, LAN_ADDR6, (false, true), Some(CLIENT_MAC))
        } else {
            ns(NOBODY, ndp::solicited_node(LAN_ADDR6), LAN_ADDR6, None)
        };
        b.client_sends(&claim);
        assert_eq!(b.router.live().dad.state(LAN, LAN_ADDR6), DadState::Duplicate, "{by_advert}");
        assert_eq!(b.tally(Tally::DuplicateAddresses), 1);
        b.pass(Duration::from_secs(60));
        b.out.clear();
        b.client_sends(&ping(CLIENT6, LAN_ADDR6, b"x"));
        b.client_sends(&ns(peer(), ndp::solicited_node(LAN_ADDR6), LAN_ADDR6, Some(CLIENT_MAC)));
        b.silent();
        // The link-local one is still ours.
        b.client_sends(&ns(peer(), ndp::solicited_node(ours()), ours(), Some(CLIENT_MAC)));
        assert_eq!(advert(&b.one(LAN)).3.target, ours());
        // Nothing is said in the name of the other.
        b.router.set_static_neighbor(LAN, CLIENT6.into(), CLIENT_MAC);
        b.client_sends(&udp6(1, b"x"));
        if let Some(p) = b.sent(LAN).first() {
            assert_ne!(p.l3()[8..24], LAN_ADDR6.octets());
        }
        b.balanced();
    }
}

#[test]
fn anothers_probe_for_our_address_is_answered_to_all() {
    let mut b = Bench::new();
    b.client_sends(&ns(NOBODY, ndp::solicited_node(LAN_ADDR6), LAN_ADDR6, None));
    let (src, dst, mac, na) = advert(&b.one(LAN));
    assert_eq!((src, dst, mac), (LAN_ADDR6, ALL, Mac::of_multicast_v6(ALL)));
    assert_eq!((na.target, na.solicited, na.override_, na.router), (LAN_ADDR6, false, true, true));
    assert_eq!(na.target_mac, Some(LAN_MAC));
    assert!(b.router.live().neighbors.entries(b.now).is_empty());
    b.balanced();
}

#[test]
fn a_link_that_comes_back_has_its_addresses_checked_anew() {
    let mut b = Bench::new();
    b.worker.handle_link(LAN, false, b.now);
    b.pass(Duration::from_secs(10));
    b.silent();
    assert_eq!(up(&mut b).len(), 2);
    b.pass(Duration::from_secs(1));
    b.client_sends(&ns(peer(), ndp::solicited_node(ours()), ours(), Some(CLIENT_MAC)));
    b.one(LAN);
    // Said twice, it is no news.
    assert!(up(&mut b).is_empty());
    b.balanced();
}
