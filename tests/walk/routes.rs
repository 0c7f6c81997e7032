//! Which way a packet goes.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use sekisho::base::{DropReason, Hook, LinkId};
use sekisho::fib::{NextHop, Route, RouteKind};
use sekisho::path::Verdict;
use sekisho::wire::proto;

use crate::make::*;
use crate::net::*;

fn probe(dst: &str) -> Vec<u8> {
    match dst.parse().unwrap() {
        IpAddr::V4(d) => udp(CLIENT, d, (1000, 2000), b"x"),
        IpAddr::V6(d) => udp(CLIENT6, d, (1000, 2000), b"x"),
    }
}

/// By which link a packet for `dst` leaves.
#[track_caller]
fn way(b: &mut Bench, dst: &str) -> LinkId {
    b.client_sends(&probe(dst));
    let out = std::mem::take(&mut b.out);
    assert_eq!(out.len(), 1, "{dst}");
    b.balanced();
    out[0].0
}

fn tun(prefix: &str) -> Route {
    Route::new(prefix.parse().unwrap(), RouteKind::Unicast(vec![NextHop::new(None, Some(TUN))]))
}

#[test]
fn the_longest_prefix_wins_and_then_the_lowest_metric() {
    let with = |mut r: Route, metric| {
        r.metric = metric;
        r
    };
    let mut b = Plan::default()
        .route(tun("10.9.0.0/16"))
        .route(via("10.9.1.0/24", SERVER.into(), WAN))
        .route(tun("10.9.1.7/32"))
        .route(with(tun("10.8.0.0/16"), 200))
        .route(with(via("10.8.0.0/16", SERVER.into(), WAN), 100))
        .route(tun("fd09::/16"))
        .route(via("fd09:1::/32", SERVER6.into(), WAN))
        .build()
        .acquaint();
    for (dst, link) in [
        ("10.9.2.1", TUN),
        ("10.9.1.1", WAN),
        ("10.9.1.7", TUN),
        ("10.8.0.1", WAN),
        ("192.0.2.1", WAN),
        ("fd09::1", TUN),
        ("fd09:1::1", WAN),
        ("2001:db8::1", WAN),
    ] {
        assert_eq!(way(&mut b, dst), link, "{dst}");
    }
}

#[test]
fn routes_that_refuse() {
    for (kind, reason, v4, v6) in [
        (RouteKind::Unreachable, DropReason::Unreachable, Some((3, 1)), Some((1, 0))),
        (RouteKind::Prohibit, DropReason::Prohibit, Some((3, 13)), Some((1, 1))),
        (RouteKind::Blackhole, DropReason::Blackhole, None, None),
    ] {
        for (prefix, dst, want) in [("10.9.0.0/16", "10.9.1.1", v4), ("fd09::/16", "fd09::1", v6)] {
            let mut b = Plan::default().route(reject(prefix, kind.clone())).build().acquaint();
            b.client_sends(&probe(dst));
            match want {
                Some(kind) => {
                    let told = b.error(LAN);
                    assert_eq!((told.kind, told.rest), (kind, 0));
                    assert_eq!(told.quote, probe(dst), "quoted as it came");
                }
                None => b.silent(),
            }
            b.dropped(reason);
        }
    }
}

#[test]
fn no_route_at_all() {
    for (dst, kind) in [("192.0.2.1", (3, 0)), ("2001:db8::1", (1, 0))] {
        let mut plan = Plan::default();
        plan.routes.clear();
        let mut b = plan.build().acquaint();
        b.client_sends(&probe(dst));
        assert_eq!(b.error(LAN).kind, kind);
        b.dropped(DropReason::NoRoute);
    }
}

/// Two ways of weight 1 and 3 to 10.9/16, by `wan` and `tun0`.
fn two_ways() -> Bench {
    let hops = vec![
        NextHop { via: Some(SERVER.into()), link: Some(WAN), weight: 1, onlink: false },
        NextHop { via: None, link: Some(TUN), weight: 3, onlink: false },
    ];
    let hops6 = vec![
        NextHop { via: Some(SERVER6.into()), link: Some(WAN), weight: 1, onlink: false },
        NextHop { via: None, link: Some(TUN), weight: 3, onlink: false },
    ];
    Plan::default()
        .route(Route::new("10.9.0.0/16".parse().unwrap(), RouteKind::Unicast(hops)))
        .route(Route::new("fd09::/16".parse().unwrap(), RouteKind::Unicast(hops6)))
        .build()
        .acquaint()
}

/// How many of 400 flows take `wan` and `tun0`.
fn shares(b: &mut Bench, dst: &str) -> (usize, usize) {
    let dst: IpAddr = dst.parse().unwrap();
    let src = if dst.is_ipv4() { IpAddr::from(CLIENT) } else { CLIENT6.into() };
    for port in 0..400 {
        b.client_sends(&udp(src, dst, (1000 + port, 2000), b"x"));
    }
    b.balanced();
    (b.sent(WAN).len(), b.sent(TUN).len())
}

#[test]
fn flows_divide_among_the_hops_by_weight_and_stay_on_theirs() {
    for dst in ["10.9.0.1", "fd09::1"] {
        let mut b = two_ways();
        let (wan, tun) = shares(&mut b, dst);
        assert!((60..140).contains(&wan) && wan + tun == 400, "{wan} and {tun}");
        assert_eq!(shares(&mut b, dst), (wan, tun), "the same flows take the same ways");
        b.worker.handle_link(TUN, false, b.now);
        assert_eq!(shares(&mut b, dst), (400, 0), "a dead link has no share");
        b.worker.handle_link(TUN, true, b.now);
        assert_eq!(shares(&mut b, dst), (wan, tun));
    }
}

#[test]
fn when_all_hops_are_dead_the_sender_is_told() {
    let mut b = two_ways();
    b.worker.handle_link(WAN, false, b.now);
    b.worker.handle_link(TUN, false, b.now);
    b.collect();
    b.out.clear();
    b.client_sends(&probe("10.9.0.1"));
    assert_eq!(b.error(LAN).kind, (3, 0));
    b.dropped(DropReason::LinkDown);
}

#[test]
fn the_fragments_of_a_datagram_take_one_way() {
    let mut b = two_ways();
    let mut used = HashSet::new();
    for n in 0..40u8 {
        let dst = Ipv4Addr::new(10, 9, 3, n);
        for f in fragments(&udp(CLIENT, dst, (1, 2), &bytes(3000)), 1000, 5) {
            b.client_sends(&f);
        }
        let out: Vec<_> = std::mem::take(&mut b.out).into_iter().map(|(l, _)| l).collect();
        assert_eq!(out.len(), 4);
        assert!(out.iter().all(|l| *l == out[0]), "{dst}: {out:?}");
        used.insert(out[0]);

        // With a header of the fragmentable part in front of the upper layer, which only the first shows.
        let dst = format!("fd09::{n}").parse::<std::net::Ipv6Addr>().unwrap();
        let whole = with_headers(
            &udp(CLIENT6, dst, (1, 2), &bytes(3000)),
            &[(proto::DEST_OPTIONS, &[0, 0, 1, 4, 0, 0, 0, 0])],
        );
        for f in fragments(&whole, 1000, 5) {
            b.client_sends(&f);
        }
        let out: Vec<_> = std::mem::take(&mut b.out).into_iter().map(|(l, _)| l).collect();
        assert_eq!(out.len(), 4);
        assert!(out.iter().all(|l| *l == out[0]), "{dst}: {out:?}");
    }
    assert_eq!(used.len(), 2, "both ways are in use");
    b.balanced();
}

#[test]
fn a_gateway_behind_another_is_found() {
    let far = |prefix: &str, gateway: &str| {
        let hop = NextHop::new(Some(gateway.parse().unwrap()), None);
        Route::new(prefix.parse().unwrap(), RouteKind::Unicast(vec![hop]))
    };
    let mut b = Plan::default()
        .route(far("10.9.0.0/16", "10.2.0.2"))
        .route(far("10.10.0.0/16", "10.9.0.5"))
        .build()
        .acquaint();
    b.client_sends(&probe("10.10.1.1"));
    let p = b.one(WAN);
    assert_eq!(p.data()[..6], SERVER_MAC.0, "handed to the last gateway that is a neighbor");
    b.balanced();
}

#[test]
fn a_route_change_holds_for_the_next_packet() {
    let mut b = Bench::acquainted();
    assert_eq!(way(&mut b, "10.9.0.1"), WAN);
    b.router.replace(Plan::default().route(tun("10.9.0.0/16")).snapshot());
    assert_eq!(way(&mut b, "10.9.0.1"), TUN);
    b.router.replace(Plan::default().route(reject("10.9.0.0/16", RouteKind::Blackhole)).snapshot());
    b.client_sends(&probe("10.9.0.1"));
    b.dropped(DropReason::Blackhole);
    b.router.replace(Plan::default().snapshot());
    assert_eq!(way(&mut b, "10.9.0.1"), WAN);
}

#[test]
fn a_packet_that_waits_leaves_by_the_route_it_was_given() {
    let mut b = Bench::new();
    b.client_sends(&probe("10.2.0.2"));
    b.one(WAN);
    b.router.replace(Plan::default().route(tun("10.2.0.0/25")).snapshot());
    b.answer_arp(WAN, SERVER, SERVER_MAC);
    b.one(WAN);
    assert_eq!(way(&mut b, "10.2.0.2"), TUN);
}

#[test]
fn a_route_into_the_loopback_ends() {
    // The packet goes round until its TTL runs out; nothing else happens.
    let lo = |prefix: &str| {
        Route::new(prefix.parse().unwrap(), RouteKind::Unicast(vec![NextHop::new(None, Some(LinkId::LO))]))
    };
    for (prefix, dst) in [("10.9.0.0/16", "10.9.0.1"), ("fd09::/16", "fd09::1")] {
        let mut b = Plan::default().route(lo(prefix)).build().acquaint();
        b.client_sends(&probe(dst));
        b.silent();
        b.dropped(DropReason::TtlExceeded);
        b.pass(Duration::from_secs(5));
        b.silent();
        assert_eq!(b.totals().links[0].rx_packets, 63);
    }
}

#[test]
fn the_hooks_of_the_four_ways() {
    use Hook::*;
    let seen = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let mut b = Bench::acquainted();
    let mut snap = Plan::default().snapshot();
    let log = seen.clone();
    snap.hooks = everywhere(move |at, _| {
        log.lock().unwrap().push(at.hook);
        Verdict::Accept
    });
    b.router.replace(snap);
    let ways = |b: &mut Bench| {
        b.out.clear();
        std::mem::take(&mut *seen.lock().unwrap())
    };
    b.client_sends(&probe("10.2.0.2"));
    assert_eq!(ways(&mut b), [Prerouting, Forward, Postrouting]);
    b.client_sends(&udp(CLIENT, LAN_ADDR, (1, 7), b"x"));
    assert_eq!(ways(&mut b), [Prerouting, Input]);
    // An answer is the router's own: it leaves as such.
    b.client_sends(&ping(CLIENT6, LAN_ADDR6, b"x"));
    assert_eq!(ways(&mut b), [Prerouting, Input, Output, Postrouting]);
    b.client_sends(&ttl(probe("10.2.0.2"), 1));
    assert_eq!(ways(&mut b), [Prerouting, Output, Postrouting], "stopped before FORWARD");
    let local = |b: &mut Bench, l3: &[u8]| {
        b.worker.handle_local(sekisho::packet::Packet::from_slice(l3), b.now);
        b.collect();
    };
    local(&mut b, &udp(WAN_ADDR, SERVER, (7, 1000), b"x"));
    assert_eq!(ways(&mut b), [Output, Postrouting]);
    local(&mut b, &udp(WAN_ADDR, LAN_ADDR, (1000, 7), b"x"));
    assert_eq!(ways(&mut b), [Output, Postrouting, Prerouting, Input]);
    // A fragment shows itself to INPUT once its datagram is whole.
    for f in fragments(&udp(CLIENT, LAN_ADDR, (1, 7), &bytes(100)), 48, 1) {
        b.client_sends(&f);
    }
    assert_eq!(ways(&mut b), [Prerouting, Prerouting, Prerouting, Input]);
    // Neighbor discovery passes like everything else, ARP does not.
    let mut b2 = Bench::new();
    let mut snap = Plan::default().snapshot();
    let log = seen.clone();
    snap.hooks = everywhere(move |at, _| {
        log.lock().unwrap().push(at.hook);
        Verdict::Accept
    });
    b2.router.replace(snap);
    b2.client_sends(&probe("10.2.0.2"));
    assert_eq!(ways(&mut b2), [Prerouting, Forward, Postrouting]);
    b2.client_sends(&probe("fd02::2"));
    assert_eq!(ways(&mut b2), [Prerouting, Forward, Postrouting, Output, Postrouting]);
    b.balanced();
    b2.balanced();
}

#[test]
fn each_hook_can_stop_a_packet() {
    let stops = |hook: Hook, l3: &[u8]| {
        let mut b = Bench::acquainted();
        let mut snap = Plan::default().snapshot();
        snap.hooks = everywhere(move |at, _| if at.hook == hook { Verdict::Drop } else { Verdict::Accept });
        b.router.replace(snap);
        b.client_sends(l3);
        b.silent();
        assert!(b.host.is_empty());
        b.dropped(DropReason::Hook);
    };
    let (through, to, asks) =
        (probe("10.2.0.2"), udp(CLIENT, LAN_ADDR, (1, 7), b"x"), ping(CLIENT, LAN_ADDR, b"x"));
    stops(Hook::Prerouting, &through);
    stops(Hook::Forward, &through);
    stops(Hook::Postrouting, &through);
    stops(Hook::Prerouting, &to);
    stops(Hook::Input, &to);
    stops(Hook::Output, &asks);
    stops(Hook::Postrouting, &asks);
}
