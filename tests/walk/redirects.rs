//! Redirects: to whom, about what, how often.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use sekisho::base::Mac;
use sekisho::base::counters::Tally;
use sekisho::wire::ndp;

use crate::make::*;
use crate::net::*;

const BETTER: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 3);
const BETTER_MAC: Mac = Mac([2, 0, 0, 0, 1, 3]);
const BEHIND: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 1);

fn better6() -> Ipv6Addr {
    "fe80::3".parse().unwrap()
}

fn behind6() -> Ipv6Addr {
    "fd09::1".parse().unwrap()
}

/// The way to 10.9/16 and fd09::/16 leads back out of `lan`, by another router there.
fn plan() -> Plan {
    Plan::default().route(via("10.9.0.0/16", BETTER.into(), LAN)).route(via(
        "fd09::/16",
        better6().into(),
        LAN,
    ))
}

fn ready(plan: Plan) -> Bench {
    let b = plan.build().acquaint();
    b.router.set_static_neighbor(LAN, BETTER.into(), BETTER_MAC);
    b.router.set_static_neighbor(LAN, better6().into(), BETTER_MAC);
    b
}

fn probe() -> Vec<u8> {
    udp(CLIENT, BEHIND, (1, 2), b"x")
}

fn probe6() -> Vec<u8> {
    udp(CLIENT6, behind6(), (1, 2), b"x")
}

/// What left by `lan`: redirects, and packets passed on.
fn split(b: &mut Bench) -> (Vec<sekisho::packet::Packet>, Vec<sekisho::packet::Packet>) {
    b.sent(LAN).into_iter().partition(|p| p.data()[..6] == CLIENT_MAC.0)
}

#[test]
fn the_sender_is_told_and_the_packet_goes_on() {
    let mut b = ready(plan());
    b.client_sends(&probe());
    let (redirects, passed) = split(&mut b);
    assert_eq!((redirects.len(), passed.len()), (1, 1));
    let told = crate::check::Told::of(&redirects[0]);
    assert_eq!((told.kind, told.src, told.dst), ((5, 1), LAN_ADDR.into(), CLIENT.into()));
    assert_eq!((told.rest, told.tos), (u32::from(BETTER), 0xc0));
    assert_eq!(passed[0].data()[..6], BETTER_MAC.0);
    assert_eq!(passed[0].l3()[8], 63);
    assert_eq!(b.tally(Tally::Redirects), 1);
    b.balanced();
}

#[test]
fn the_same_for_ipv6() {
    let mut b = ready(plan());
    b.client_sends(&probe6());
    let (redirects, passed) = split(&mut b);
    assert_eq!((redirects.len(), passed.len()), (1, 1));
    let l3 = redirects[0].l3();
    let (src, dst) = (LAN_MAC.link_local(), CLIENT6);
    assert_eq!((l3[7], &l3[8..24], &l3[24..40]), (255, &src.octets()[..], &dst.octets()[..]));
    let Ok(ndp::Message::Redirect(r)) = ndp::parse(src, dst, &l3[40..]) else { panic!("no redirect") };
    assert_eq!((r.target, r.destination), (better6(), behind6()));
    let whole = r.redirected.len();
    assert_eq!(r.redirected, &probe6()[..whole], "as it came, hop limit and all");
    b.balanced();
}

#[test]
fn a_neighbor_is_its_own_next_hop() {
    let mut b = Bench::acquainted();
    let (near, near6) = (Ipv4Addr::new(10, 1, 0, 9), "fd01::9".parse::<Ipv6Addr>().unwrap());
    b.router.set_static_neighbor(LAN, near.into(), BETTER_MAC);
    b.router.set_static_neighbor(LAN, near6.into(), BETTER_MAC);
    b.client_sends(&udp(CLIENT, near, (1, 2), b"x"));
    let (redirects, _) = split(&mut b);
    assert_eq!(crate::check::Told::of(&redirects[0]).rest, u32::from(near));
    b.client_sends(&udp(CLIENT6, near6, (1, 2), b"x"));
    let (redirects, _) = split(&mut b);
    let Ok(ndp::Message::Redirect(r)) = ndp::parse(LAN_MAC.link_local(), CLIENT6, &redirects[0].l3()[40..])
    else {
        panic!("no redirect")
    };
    assert_eq!((r.target, r.destination), (near6, near6));
    b.balanced();
}

#[test]
fn who_gets_none() {
    let none = |mut b: Bench, l3: &[u8]| {
        b.client_sends(l3);
        let (redirects, passed) = split(&mut b);
        assert_eq!((redirects.len(), passed.len()), (0, 1));
        b.balanced();
    };
    // Switched off; a sender that is not on the link itself; later fragments; ICMP errors.
    none(ready(plan().link(LAN, |l| l.redirects = false)), &probe());
    none(ready(plan().link(LAN, |l| l.redirects = false)), &probe6());
    none(ready(plan()), &udp(Ipv4Addr::new(192, 0, 2, 1), BEHIND, (1, 2), b"x"));
    none(ready(plan()), &udp("2001:db8::1".parse::<Ipv6Addr>().unwrap(), behind6(), (1, 2), b"x"));
    none(ready(plan()), &fragments(&udp(CLIENT, BEHIND, (1, 2), &bytes(100)), 48, 1)[1]);
    none(ready(plan()), &icmp4(CLIENT, BEHIND, (3, 1), 0, &probe()));
    none(ready(plan()), &icmp6(CLIENT6, behind6(), (1, 0), 0, &probe6()));
    // A next hop that is not link-local can't be the target (RFC 4861 §8.2).
    let global: Ipv6Addr = "fd01::3".parse().unwrap();
    let b = Plan::default().route(via("fd09::/16", global.into(), LAN)).build().acquaint();
    b.router.set_static_neighbor(LAN, global.into(), BETTER_MAC);
    none(b, &probe6());
}

#[test]
fn ipv4_redirects_back_off_and_fall_silent() {
    let mut b = ready(plan());
    let mut at = Vec::new();
    for ms in 0..40_000u64 {
        b.now += Duration::from_millis(1);
        if ms % 4 == 0 {
            b.client_sends(&probe());
            if !split(&mut b).0.is_empty() {
                at.push(ms);
            }
        }
    }
    assert_eq!(at.len(), 9, "who does not listen nine times is left alone: {at:?}");
    for (n, pair) in at.windows(2).enumerate() {
        let pause = 20 << (n + 1);
        assert!((pause..=pause + 8).contains(&(pair[1] - pair[0])), "{at:?}");
    }
    b.pass(Duration::from_secs(21));
    b.client_sends(&probe());
    assert_eq!(split(&mut b).0.len(), 1, "after a silence all is forgiven");
    b.balanced();
}

#[test]
fn ipv6_redirects_are_one_a_second_and_six_at_once() {
    let mut b = ready(plan());
    for _ in 0..20 {
        b.client_sends(&probe6());
    }
    assert_eq!(split(&mut b).0.len(), 6);
    b.pass(Duration::from_millis(1000));
    for _ in 0..20 {
        b.client_sends(&probe6());
    }
    assert_eq!(split(&mut b).0.len(), 1);
    b.balanced();
}

#[test]
fn a_long_packet_is_quoted_in_part() {
    let mut b = ready(plan());
    for n in 0..3 {
        b.client_sends(&udp(CLIENT, BEHIND, (1, n), &bytes(1400)));
    }
    let (redirects, passed) = split(&mut b);
    assert_eq!((redirects.len(), passed.len()), (1, 3));
    assert!(redirects[0].l3_len() <= 576);
    b.balanced();
}
