//! Which way a packet would go, asked without one, is the way that it goes.

use std::net::{IpAddr, Ipv6Addr};

use proptest::prelude::*;
use sekisho::base::{Column, DropReason, LinkId, Mac};
use sekisho::fib::{NextHop, Route, RouteKind};
use sekisho::path::{Query, Way, ask};
use sekisho::wire::proto;

use crate::make::*;
use crate::net::*;

/// Gateways on the far side, each with a MAC that tells it from the others.
const GATEWAYS: u8 = 5;

fn gateway(n: u8, v4: bool) -> IpAddr {
    match v4 {
        true => [10, 2, 0, 10 + n].into(),
        false => Ipv6Addr::new(0xfd02, 0, 0, 0, 0, 0, 0, 0x10 + u16::from(n)).into(),
    }
}

fn mac(n: u8) -> Mac {
    Mac([2, 0, 0, 0, 9, n])
}

/// Ways of every kind.
fn bench() -> Bench {
    let several = |prefix: &str, v4| {
        let hop =
            |n: u8| NextHop { weight: u16::from(n) + 1, ..NextHop::new(Some(gateway(n, v4)), Some(WAN)) };
        Route::new(prefix.parse().unwrap(), RouteKind::Unicast((0..GATEWAYS).map(hop).collect()))
    };
    let tun = |prefix: &str| {
        Route::new(prefix.parse().unwrap(), RouteKind::Unicast(vec![NextHop::new(None, Some(TUN))]))
    };
    let mut b = Plan::default()
        .route(several("10.9.0.0/16", true))
        .route(several("fd09::/16", false))
        .route(tun("10.8.0.0/16"))
        .route(tun("fd08::/16"))
        .route(reject("10.7.0.0/16", RouteKind::Unreachable))
        .route(reject("fd07::/16", RouteKind::Prohibit))
        .route(reject("10.6.0.0/16", RouteKind::Blackhole))
        .route(via("10.5.0.0/16", CLIENT.into(), LAN))
        .build()
        .acquaint();
    for (n, v4) in (0..GATEWAYS).flat_map(|n| [(n, true), (n, false)]) {
        assert!(b.router.set_static_neighbor(WAN, gateway(n, v4), mac(n)));
    }
    b.out.clear();
    b
}

fn destinations() -> impl Strategy<Value = IpAddr> {
    let any = proptest::sample::select(
        &[
            "10.9.0.0",
            "10.9.7.0",
            "fd09::",
            "fd09:7::",
            "10.8.0.1",
            "fd08::1",
            "10.7.0.1",
            "fd07::1",
            "10.6.0.1",
            "10.5.0.1",
            "10.2.0.2",
            "fd02::2",
            "10.1.0.1",
            "fd01::1",
            "10.1.0.255",
            "224.0.0.1",
            "224.0.0.9",
            "239.1.1.1",
            "255.255.255.255",
            "0.1.2.3",
            "127.0.0.1",
            "::1",
            "::",
            "fe80::9",
            "ff02::1",
            "ff02::9",
            "ff0e::9",
            "192.0.2.1",
            "2001:db8::1",
            "10.1.0.2",
        ][..],
    );
    (any, 0u8..4).prop_map(|(text, n)| match text.parse().unwrap() {
        IpAddr::V4(v4) if text.starts_with("10.9.") => {
            IpAddr::from((u32::from(v4) + u32::from(n)).to_be_bytes())
        }
        addr => addr,
    })
}

fn sources() -> impl Strategy<Value = (IpAddr, IpAddr)> {
    let v4 = proptest::sample::select(
        &["10.1.0.2", "10.1.0.2", "10.1.0.2", "192.0.2.7", "10.1.0.1", "127.0.0.1", "0.0.0.0"][..],
    );
    let v6 = proptest::sample::select(&["fd01::2", "fd01::2", "2001:db8::7", "fd01::1", "fe80::7"][..]);
    (v4, v6).prop_map(|(v4, v6)| (v4.parse().unwrap(), v6.parse().unwrap()))
}

proptest! {
    #[test]
    fn what_is_said_is_what_happens(dst in destinations(), sources in sources(), ports in any::<(u16, u16)>()) {
        let mut b = bench();
        let src = if dst.is_ipv4() { sources.0 } else { sources.1 };
        let query = Query { to: dst, from: Some(src), ingress: Some(LAN), proto: proto::UDP, ports: Some(ports) };
        let said = ask(&b.router.snapshot(), b.router.live(), &query);
        let packet = match (src, dst) {
            (IpAddr::V4(src), IpAddr::V4(dst)) => udp(src, dst, ports, b"x"),
            (IpAddr::V6(src), IpAddr::V6(dst)) => udp(src, dst, ports, b"x"),
            _ => unreachable!("one family"),
        };
        b.client_sends(&packet);
        let totals = b.totals();
        let out = std::mem::take(&mut b.out);
        let on = |link: LinkId| out.iter().filter(move |(l, p)| *l == link && ends_with(p.data(), b"x"));
        match said {
            Ok(Way::Out { link, via, src: None, .. }) => {
                prop_assert_eq!(on(link).count(), 1, "{:?} for {} from {}", said, dst, src);
                let known = (0..GATEWAYS).find(|n| via == Some(gateway(*n, dst.is_ipv4())));
                if let (Some(n), Some((_, p))) = (known, on(link).next()) {
                    prop_assert_eq!(&p.data()[..6], &mac(n).0[..], "{:?} for {}", said, dst);
                }
            }
            Ok(Way::Out { .. }) => prop_assert!(false, "it has a source: {:?}", said),
            Ok(_) => {
                let delivered = totals.event(Column::Received, sekisho::base::Event::Delivered);
                let refused = DropReason::ALL.iter().map(|r| totals.dropped(Column::Received, *r)).sum::<u64>();
                prop_assert_eq!(delivered + refused, 1, "{:?} for {}", said, dst);
                for reason in [DropReason::NoRoute, DropReason::NotForwarded, DropReason::MartianSource] {
                    prop_assert_eq!(totals.dropped(Column::Received, reason), 0, "{:?} for {}", said, dst);
                }
                prop_assert_eq!(on(WAN).count() + on(TUN).count(), 0);
            }
            Err(reason) => {
                prop_assert_eq!(totals.dropped(Column::Received, reason), 1, "{:?} for {} from {}", said, dst, src);
            }
        }
    }
}

/// Whether the packet that came in is in a frame whole, and not quoted: quotes end with it too, behind their own header.
fn ends_with(frame: &[u8], payload: &[u8]) -> bool {
    let l3 = if frame.first().is_some_and(|b| [4, 6].contains(&(b >> 4))) { frame } else { &frame[14..] };
    let protocol = if l3[0] >> 4 == 4 { l3[9] } else { l3[6] };
    protocol == proto::UDP && frame.ends_with(payload)
}
