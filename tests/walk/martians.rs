//! Addresses that can't be, and the way back to the source.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use sekisho::base::{DropReason, Mac};
use sekisho::fib::RouteKind;
use sekisho::link::RpFilter;
use sekisho::packet::Packet;

use crate::make::*;
use crate::net::*;

fn v4(s: &str) -> Ipv4Addr {
    s.parse().unwrap()
}

fn v6(s: &str) -> Ipv6Addr {
    s.parse().unwrap()
}

fn probe(src: impl Into<IpAddr>, dst: impl Into<IpAddr>) -> Vec<u8> {
    udp(src, dst, (1000, 2000), b"x")
}

#[track_caller]
fn forwarded(mut b: Bench, l3: &[u8]) -> Packet {
    b.client_sends(l3);
    let p = b.one(WAN);
    b.silent();
    b.balanced();
    p
}

#[test]
fn sources_that_no_host_has() {
    let out = [
        "127.0.0.1",
        "127.9.9.9",
        "0.0.0.0",
        "0.1.2.3",
        "224.0.0.1",
        "239.255.255.255",
        "255.255.255.255",
        "10.1.0.1",
        "10.2.0.1",
        "10.3.0.1",
        "10.1.0.255",
    ];
    for src in out {
        Bench::swallows(&probe(v4(src), SERVER), DropReason::MartianSource);
        // For the router itself no less.
        Bench::swallows(&probe(v4(src), WAN_ADDR), DropReason::MartianSource);
    }
    for src in ["::1", "ff02::1", "fd01::1", "fd02::1", "fd03::1"] {
        Bench::swallows(&probe(v6(src), SERVER6), DropReason::MartianSource);
        Bench::swallows(&probe(v6(src), WAN_ADDR6), DropReason::MartianSource);
    }
    Bench::swallows(&probe(v6("::"), SERVER6), DropReason::MartianSource);
}

#[test]
fn the_routers_own_link_local_address_as_source() {
    // An echo service would talk to itself for ever.
    let own = LAN_MAC.link_local();
    for dst in [own, LAN_ADDR6, v6("ff02::1")] {
        Bench::swallows(&udp(own, dst, (7, 7), b"x"), DropReason::MartianSource);
    }
}

#[test]
fn sources_that_look_odd_and_are_not() {
    // As measured on Linux: 240/4, source equal to destination, APIPA.
    for (src, dst) in [
        ("240.0.0.1", "10.2.0.2"),
        ("254.1.1.1", "10.2.0.2"),
        ("10.2.0.2", "10.2.0.2"),
        ("169.254.1.1", "10.2.0.2"),
    ] {
        forwarded(Bench::acquainted(), &probe(v4(src), v4(dst)));
    }
    forwarded(Bench::acquainted(), &probe(CLIENT, v4("169.254.7.7")));
    forwarded(Bench::acquainted(), &probe(CLIENT, v4("240.7.7.7")));
    forwarded(Bench::acquainted(), &probe(v4("10.1.0.0"), SERVER));
}

#[test]
fn destinations_that_can_not_be_reached_from_outside() {
    for dst in ["127.0.0.1", "127.5.5.5", "0.0.0.0", "0.1.2.3"] {
        Bench::swallows(&probe(CLIENT, v4(dst)), DropReason::MartianDestination);
    }
    for dst in ["::1", "::", "ff01::1", "ff00::1"] {
        Bench::swallows(&probe(CLIENT6, v6(dst)), DropReason::MartianDestination);
    }
}

#[test]
fn broadcast_and_multicast_are_not_forwarded() {
    // Limited, and directed to either side: taken in, and nobody answers.
    for dst in ["255.255.255.255", "10.1.0.255", "10.2.0.255"] {
        Bench::swallows(&probe(CLIENT, v4(dst)), DropReason::NoPort);
        Bench::swallows(&ping(CLIENT, v4(dst), b"x"), DropReason::IcmpBroadcastEcho);
    }
    Bench::swallows(&probe(CLIENT, v4("224.0.0.1")), DropReason::NoPort);
    Bench::swallows(&ping(CLIENT, v4("224.0.0.1"), b"x"), DropReason::IcmpBroadcastEcho);
    Bench::swallows(&probe(CLIENT, v4("224.0.0.5")), DropReason::NotJoined);
    Bench::swallows(&probe(CLIENT, v4("239.1.1.1")), DropReason::NotForwarded);
    Bench::swallows(&ttl(probe(CLIENT, v4("239.1.1.1")), 1), DropReason::NotForwarded);
    for (dst, reason) in [
        ("ff02::1", DropReason::NoPort),
        ("ff02::2", DropReason::NoPort),
        ("ff02::fb", DropReason::NotJoined),
        ("ff02::1:ff00:77", DropReason::NotJoined),
        ("ff05::1:3", DropReason::NotForwarded),
        ("ff0e::1", DropReason::NotForwarded),
    ] {
        Bench::swallows(&probe(CLIENT6, v6(dst)), reason);
    }
}

#[test]
fn open_ports_are_not_for_broadcasts() {
    let all6 = v6("ff02::1");
    for dst in ["255.255.255.255", "10.1.0.255", "10.2.0.255", "224.0.0.1"] {
        Bench::swallows(&udp(CLIENT, v4(dst), (1, 7), b"x"), DropReason::NoPort);
        Bench::swallows(&tcp(CLIENT, v4(dst), (1, 7), 2, b""), DropReason::NoPort);
    }
    Bench::swallows(&udp(CLIENT6, all6, (1, 7), b"x"), DropReason::NoPort);
    Bench::swallows(&tcp(CLIENT6, all6, (1, 7), 2, b""), DropReason::NoPort);
    for mac in [Mac::BROADCAST, Mac([1, 0, 0x5e, 0, 0, 1])] {
        let mut b = Bench::acquainted();
        b.receive(LAN, &frame(mac, CLIENT_MAC, &udp(CLIENT, LAN_ADDR, (1, 7), b"x")));
        b.silent();
        assert!(b.host.is_empty());
        b.dropped(DropReason::NoPort);
    }
}

#[test]
fn sources_of_broadcasts_and_multicasts_are_looked_at_too() {
    for dst in ["255.255.255.255", "10.1.0.255", "224.0.0.1"] {
        for src in ["10.1.0.1", "10.2.0.1", "127.0.0.1", "224.0.0.9"] {
            Bench::swallows(&probe(v4(src), v4(dst)), DropReason::MartianSource);
        }
    }
    // Who has no address yet may call out (RFC 1122 §3.2.1.3).
    for dst in ["255.255.255.255", "224.0.0.1"] {
        Bench::swallows(&probe(v4("0.0.0.0"), v4(dst)), DropReason::NoPort);
    }
}

#[test]
fn a_unicast_packet_in_a_group_frame_goes_no_further() {
    for mac in [Mac::BROADCAST, Mac([1, 0, 0x5e, 0, 0, 1]), Mac([0x33, 0x33, 0, 0, 0, 1])] {
        for l3 in [probe(CLIENT, SERVER), probe(CLIENT6, SERVER6), ttl(probe(CLIENT, SERVER), 1)] {
            let mut b = Bench::acquainted();
            b.receive(LAN, &frame(mac, CLIENT_MAC, &l3));
            b.silent();
            b.dropped(DropReason::L2Group);
        }
        // For the router: taken in, but nothing is said about it.
        let mut b = Bench::acquainted();
        b.receive(LAN, &frame(mac, CLIENT_MAC, &probe(CLIENT, LAN_ADDR)));
        b.silent();
        b.dropped(DropReason::NoPort);
        // Nor is an error sent about one that has no way.
        let mut b = Plan::default().route(reject("10.9.0.0/16", RouteKind::Unreachable)).build().acquaint();
        b.receive(LAN, &frame(mac, CLIENT_MAC, &probe(CLIENT, v4("10.9.1.1"))));
        b.silent();
        b.dropped(DropReason::Unreachable);
    }
}

#[test]
fn link_local_addresses_stay_on_their_link() {
    let (ours, theirs) = (LAN_MAC.link_local(), v6("fe80::77"));
    Bench::swallows(&probe(theirs, v6("fe80::99")), DropReason::LinkLocalScope);
    // Those of the other side are not reached from this one (RFC 4007 §9).
    Bench::swallows(&probe(theirs, WAN_MAC.link_local()), DropReason::LinkLocalScope);
    // Beyond the scope of the source: told so, by an address that the sender can place.
    let mut b = Bench::acquainted();
    b.router.set_static_neighbor(LAN, theirs.into(), CLIENT_MAC);
    b.client_sends(&probe(theirs, SERVER6));
    let told = b.error(LAN);
    assert_eq!((told.kind, told.dst), ((1, 2), theirs.into()));
    assert_eq!(told.src, ours);
    b.dropped(DropReason::BeyondScope);
}

fn filtered(rp_filter: RpFilter) -> Plan {
    Plan::default()
        .link(LAN, |l| l.rp_filter = rp_filter)
        .route(via("10.77.0.0/16", CLIENT.into(), LAN))
        .route(via("fd77::/64", CLIENT6.into(), LAN))
        .route(reject("10.88.0.0/16", RouteKind::Unreachable))
        .route(reject("10.89.0.0/16", RouteKind::Blackhole))
}

/// What becomes of a packet from this source on `lan` with this rp_filter; the default route is on `wan`.
fn verdict(rp_filter: RpFilter, default_route: bool, src: IpAddr) -> Option<DropReason> {
    let mut plan = filtered(rp_filter);
    if !default_route {
        plan.routes.retain(|r| r.prefix.prefix_len() != 0);
        plan =
            plan.route(via("10.2.2.0/24", SERVER.into(), WAN)).route(via("fd02:2::/64", SERVER6.into(), WAN));
    }
    let mut b = plan.build().acquaint();
    let dst = if src.is_ipv4() { IpAddr::from(SERVER) } else { SERVER6.into() };
    b.client_sends(&probe(src, dst));
    b.balanced();
    let t = b.totals();
    let reason = DropReason::ALL.iter().copied().find(|r| t.drops(*r) > 0);
    assert_eq!(b.sent(WAN).len(), usize::from(reason.is_none()));
    b.silent();
    reason
}

#[test]
fn a_trace_tells_where_the_way_back_leads() {
    let mut b = filtered(RpFilter::Strict).build().acquaint();
    let w = crate::traces::watch(&b, "ip");
    for (src, way) in [
        ("10.99.1.1", "the way back to its source is default via 10.2.0.2 dev wan, table main"),
        ("10.2.0.9", "the way back to its source is 10.2.0.0/24 dev wan, table main"),
        ("10.88.0.1", "no way leads back to its source: 10.88.0.0/16 is refused"),
    ] {
        b.client_sends(&probe(v4(src), SERVER));
        let r = crate::traces::one(&w);
        assert_eq!((crate::traces::said(&r, "route").as_str(), r.dropped()), (way, Some("rp_filter")), "{r}");
    }
}

#[test]
fn the_way_back_to_the_source() {
    use RpFilter::{Loose, Off, Strict};
    let (far, behind, wrong) = (v4("10.99.1.1").into(), v4("10.77.1.1").into(), v4("10.2.0.9").into());
    let (far6, behind6, wrong6): (IpAddr, IpAddr, IpAddr) =
        (v6("fd99::1").into(), v6("fd77::1").into(), v6("fd02::9").into());
    for mode in [Off, Loose, Strict] {
        assert_eq!(verdict(mode, true, CLIENT.into()), None);
        assert_eq!(verdict(mode, true, behind), None);
        assert_eq!(verdict(mode, true, CLIENT6.into()), None);
        assert_eq!(verdict(mode, true, behind6), None);
    }
    for src in [far, wrong, far6, wrong6] {
        assert_eq!(verdict(Off, true, src), None);
        assert_eq!(verdict(Loose, true, src), None);
        assert_eq!(verdict(Strict, true, src), Some(DropReason::RpFilter));
    }
    // No route back at all.
    for src in [far, far6] {
        assert_eq!(verdict(Off, false, src), None);
        assert_eq!(verdict(Loose, false, src), Some(DropReason::RpFilter));
    }
    // A route that refuses is no way back.
    for src in ["10.88.0.1", "10.89.0.1"] {
        assert_eq!(verdict(Off, true, v4(src).into()), None);
        assert_eq!(verdict(Loose, true, v4(src).into()), Some(DropReason::RpFilter));
        assert_eq!(verdict(Strict, true, v4(src).into()), Some(DropReason::RpFilter));
    }
}

#[test]
fn strict_holds_for_packets_to_the_router_too() {
    let mut b = filtered(RpFilter::Strict).build().acquaint();
    b.client_sends(&ping(v4("10.2.0.9"), LAN_ADDR, b"x"));
    b.silent();
    b.dropped(DropReason::RpFilter);
}

#[test]
fn a_packet_that_turns_back_from_a_refused_source_is_forwarded() {
    // With redirects on, the kernel looks at the way back; a route that refuses counts as none.
    let mut b = filtered(RpFilter::Off).build().acquaint();
    b.client_sends(&probe(v4("10.88.0.1"), v4("10.77.0.1")));
    b.one(LAN);
    b.silent();
    b.balanced();
}
