//! Random changes, one after the other: after each the configuration says what is.

use proptest::prelude::*;

use super::*;

fn one_of(words: &'static [&'static str]) -> impl Strategy<Value = String> {
    proptest::sample::select(words).prop_map(str::to_owned)
}

fn dev() -> impl Strategy<Value = String> {
    one_of(&["lan", "wan", "t0", "x1", "lo", "nope"])
}

fn words_of_a_route() -> impl Strategy<Value = String> {
    let to = one_of(&[
        "default",
        "10.9.0.0/16",
        "10.8.0.0/16",
        "10.1.0.0/24",
        "10.1.0.2",
        "10.20.0.0/16",
        "10.20.1.0/24",
        "::/0",
        "fd09::/32",
        "fd01::/64",
        "fe80::/64",
        "10.0.0.0/8",
    ]);
    let way = one_of(&[
        "via 10.1.0.2",
        "via 10.2.0.2",
        "via 10.20.0.1",
        "via 10.20.1.7",
        "via fd01::2",
        "via inet6 fd02::2",
        "dev lan",
        "dev wan",
        "dev t0",
        "via 10.1.0.2 dev lan",
        "via 10.9.0.1 dev wan onlink",
        "via fe80::5 dev lan",
        "",
        "nexthop via 10.1.0.2 nexthop via 10.2.0.2 weight 3",
        "nexthop dev lan nexthop via 10.20.0.1",
        "via 10.5.0.2",
        "nexthop via fd01::2 nexthop via fd02::2",
        "dev x1",
    ]);
    let more = one_of(&["", "", "metric 5", "src 10.1.0.1", "src fd02::1", "proto bgp", "proto kernel"]);
    let kind = one_of(&["", "", "", "", "unreachable", "blackhole"]);
    (kind, to, way, more).prop_map(|(kind, to, way, more)| format!("{kind} {to} {way} {more}"))
}

fn any_change() -> impl Strategy<Value = Change> {
    use RouteOp::{Add, Append, Change as Change_, Delete, Replace};
    let op = proptest::sample::select(&[Add, Add, Append, Replace, Change_, Delete, Delete][..]);
    let route = (op, words_of_a_route())
        .prop_map(|(action, route)| Change::Route(RouteChange::One { action, route }));
    let address = proptest::sample::select(
        &[
            ("10.1.0.1", 24),
            ("10.1.0.5", 24),
            ("10.2.0.1", 24),
            ("10.2.0.7", 24),
            ("10.5.0.1", 16),
            ("10.5.1.1", 24),
            ("fd01::1", 64),
            ("fd02::1", 64),
            ("fd05::1", 64),
            ("fe80::1", 64),
            ("192.0.2.1", 32),
            ("10.20.0.9", 24),
            ("fe80::ff:fe00:101", 64),
        ][..],
    );
    let addr = (dev(), address, any::<bool>(), any::<bool>()).prop_map(|(dev, (addr, len), add, which)| {
        let addr = addr.parse().unwrap();
        Change::Addr(match add {
            true => AddrChange::Add { dev, addr, prefix_len: len, replace: which },
            false => AddrChange::Delete { dev, addr, prefix_len: which.then_some(len) },
        })
    });
    let flush = (proptest::option::of(dev()), any::<bool>(), 0..3).prop_map(|(dev, v6, what)| {
        let family = Some(if v6 { Family::Inet6 } else { Family::Inet });
        match what {
            0 => Change::Addr(AddrChange::Flush(LinkFilter { dev, family, ..LinkFilter::default() })),
            1 => {
                Change::Neigh(NeighChange::Flush(NeighborFilter { dev, family, ..NeighborFilter::default() }))
            }
            _ => Change::Route(RouteChange::Flush(RouteFilter { dev, family, ..RouteFilter::default() })),
        }
    });
    let mac = proptest::option::of(one_of(&["02:00:00:00:01:01", "02:00:00:00:05:05", "03:00:00:00:00:01"]));
    let mtu = proptest::option::of(proptest::sample::select(&[1500, 1000, 1280, 9000, 5][..]));
    let link = (dev(), mac, mtu, proptest::option::of(any::<bool>()), 0..3).prop_map(
        |(name, mac, mtu, up, what)| {
            let mac = mac.map(|m| m.parse().unwrap());
            let settings = LinkSettings { device: None, mac, mtu, up };
            Change::Link(match what {
                0 => {
                    LinkChange::Add { name, kind: if up.is_some() { "tun" } else { "tap" }.into(), settings }
                }
                1 => LinkChange::Delete { name },
                _ => LinkChange::Set { name, settings },
            })
        },
    );
    let states = one_of(&["permanent", "permanent", "stale", "failed", "noarp"]);
    let ip = one_of(&["10.1.0.2", "10.1.0.5", "fd01::9", "10.2.0.3"]);
    let neigh = (dev(), ip, states, any::<(bool, bool, bool)>()).prop_map(
        |(dev, ip, state, (set, create, replace))| {
            let ip = ip.parse().unwrap();
            Change::Neigh(match set {
                true => {
                    let mac = Some("02:00:00:00:01:77".into());
                    NeighChange::Set { ip, dev, mac, state, create, replace }
                }
                false => NeighChange::Delete { ip, dev },
            })
        },
    );
    prop_oneof![6 => route, 3 => addr, 1 => flush, 1 => link, 1 => neigh]
}

proptest! {
    #[test]
    fn the_configuration_says_what_is(changes in proptest::collection::vec(any_change(), 1..24)) {
        let mut w = World::new(GW);
        for change in &changes {
            if let Err(refusal) = w.change(change) {
                prop_assert!(!refusal.text.contains('\n'), "{refusal}");
                prop_assert!(refusal.errno.is_some(), "{change:?}: {refusal}");
            }
        }
    }
}
