use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};
use proptest::prelude::*;

use super::*;
use crate::fib::sample::*;
use crate::fib::{Family, NextHop, Route};

fn action(fib: &Fib, dst: &str) -> Option<Action> {
    fib.lookup(ip(dst)).map(|e| e.action.clone())
}

fn out(fib: &Fib, dst: &str) -> Option<(LinkId, Option<IpAddr>, u8)> {
    match fib.lookup(ip(dst)) {
        Some(Entry { action: Action::Forward(hops), prefix_len, .. }) => {
            hops.pick(0, |_| true).map(|h| (h.link, h.via, *prefix_len))
        }
        _ => None,
    }
}

#[test]
fn every_kind_of_route_comes_out() {
    let links = links();
    let rib = rib(
        &links,
        &["unreachable 10.9.0.0/16", "prohibit 10.8.0.0/16", "blackhole fd07::/32", "default dev wan"],
    );
    let fib = rib.build(&links).unwrap();
    assert_eq!(action(&fib, "10.9.1.1"), Some(Action::Unreachable));
    assert_eq!(action(&fib, "10.8.1.1"), Some(Action::Prohibit));
    assert_eq!(action(&fib, "fd07::1"), Some(Action::Blackhole));
    assert_eq!(action(&fib, "10.1.0.1"), Some(Action::Local(LAN)));
    assert_eq!(action(&fib, "10.1.0.255"), Some(Action::Broadcast(LAN)));
    assert_eq!(action(&fib, "127.1.2.3"), Some(Action::Local(LinkId::LO)));
    assert_eq!(action(&fib, "127.255.255.255"), Some(Action::Broadcast(LinkId::LO)));
    assert_eq!(action(&fib, "fd01::1"), Some(Action::Local(LAN)));
    assert_eq!(action(&fib, "fd01::"), Some(Action::Anycast(LAN)));
    assert_eq!(action(&fib, "::1"), Some(Action::Local(LinkId::LO)));
    assert_eq!(action(&fib, "2001:db8::1"), None);
    assert_eq!(out(&fib, "10.1.0.0"), Some((LAN, None, 24)));
    assert_eq!(out(&fib, "8.8.8.8"), Some((WAN, None, 0)));
    assert_eq!(fib.lookup(ip("10.1.0.1")).unwrap().src, Some(ip("10.1.0.1")));
}

#[test]
fn the_lowest_metric_wins_and_the_longest_prefix_before_it() {
    let links = links();
    let rib = rib(
        &links,
        &[
            "10.9.0.0/16 via 10.2.0.9 metric 7",
            "10.9.0.0/16 via 10.1.0.9 metric 5",
            "10.9.1.0/24 via 10.3.0.9 metric 900",
        ],
    );
    let fib = rib.build(&links).unwrap();
    assert_eq!(out(&fib, "10.9.0.1"), Some((LAN, Some(ip("10.1.0.9")), 16)));
    assert_eq!(out(&fib, "10.9.1.1"), Some((FAR, Some(ip("10.3.0.9")), 24)));
}

/// Table local is consulted to the end before table main.
#[test]
fn local_beats_everything_inside_it() {
    let links = links();
    let rib = rib(
        &links,
        &[
            "127.0.0.5 via 10.2.0.9",
            "126.0.0.0/7 via 10.2.0.9",
            "10.1.0.1 via 10.2.0.9",
            "10.1.0.255 dev wan",
        ],
    );
    let fib = rib.build(&links).unwrap();
    assert_eq!(action(&fib, "127.0.0.5"), Some(Action::Local(LinkId::LO)));
    assert_eq!(action(&fib, "10.1.0.1"), Some(Action::Local(LAN)));
    assert_eq!(action(&fib, "10.1.0.255"), Some(Action::Broadcast(LAN)));
    assert_eq!(out(&fib, "126.0.0.1"), Some((WAN, Some(ip("10.2.0.9")), 7)));
}

#[test]
fn link_local_destinations_are_not_looked_up() {
    let links = links();
    let fib = rib(&links, &[]).build(&links).unwrap();
    for dst in ["fe80::1", "fe80::2", "fe80::77"] {
        assert_eq!(fib.lookup(ip(dst)), None);
    }
    let errors = rib(&links, &["fe80:0:0:1::/64 dev wan"]).build(&links).unwrap_err();
    assert_eq!(errors.len(), 1);
    assert!(errors[0].to_string().contains("decided by link"), "{errors:?}");
    // A wider prefix says something about other addresses.
    assert!(rib(&links, &["fe00::/9 dev wan"]).build(&links).is_ok());
}

#[test]
fn routes_that_lose_are_checked_as_well_and_all_are_told() {
    let links = links();
    let rib = rib(
        &links,
        &[
            "10.9.0.0/16 via 10.2.0.9",
            "10.9.0.0/16 via 192.0.2.1 metric 5",
            "10.10.0.0/16 via 192.0.2.1",
            "10.11.0.0/16 via 192.0.2.1",
            "10.12.0.0/16 dev wan src 1.2.3.4",
        ],
    );
    let errors = rib.build(&links).unwrap_err();
    let said: Vec<_> = errors.iter().map(BuildError::to_string).collect();
    assert_eq!(said.len(), 2, "{said:?}");
    assert!(said[0].starts_with("the route to 10.9.0.0/16 (and 2 more like it) can't be used"), "{said:?}");
}

#[test]
fn a_link_that_is_gone_lets_the_next_metric_and_prefix_take_over() {
    let links = links();
    let mut rib = rib(
        &links,
        &[
            "default via 10.2.0.2 metric 100",
            "default via 10.3.0.2 metric 200",
            "10.9.0.0/16 via 10.2.0.2",
            "10.8.0.0/16 via 10.9.0.1",
            "10.8.0.0/16 via 10.1.0.9 metric 5",
            "10.7.0.0/16 nexthop via 10.2.0.2 nexthop via 10.3.0.2",
        ],
    );
    rib.settle(&links);
    let all = rib.build_usable(&links, |_| true);
    assert_eq!(out(&all, "8.8.8.8"), Some((WAN, Some(ip("10.2.0.2")), 0)));
    let without = rib.build_usable(&links, |l| l != WAN);
    assert_eq!(out(&without, "8.8.8.8"), Some((FAR, Some(ip("10.3.0.2")), 0)));
    assert_eq!(out(&without, "10.9.0.1"), Some((FAR, Some(ip("10.3.0.2")), 0)));
    // Its gateway was behind the link that is gone.
    assert_eq!(out(&without, "10.8.0.1"), Some((LAN, Some(ip("10.1.0.9")), 16)));
    // An address of a link that is down is still the router's own.
    assert_eq!(action(&without, "10.2.0.1"), Some(Action::Local(WAN)));
    // One hop of two is left, for whoever picks to find.
    let Some(Action::Forward(hops)) = action(&without, "10.7.0.1") else { panic!() };
    assert_eq!(hops.pick(0, |l| l != WAN).unwrap().link, FAR);
}

#[test]
fn settled_routes_show_their_link() {
    let links = links();
    let mut rib = rib(
        &links,
        &[
            "10.9.0.0/16 via 10.2.0.2",
            "10.8.0.0/16 via 10.2.0.2 dev wan",
            "10.7.0.0/16 via 10.9.0.1",
            "10.6.0.0/16 nexthop via 10.2.0.2 nexthop via 10.1.0.2 weight 2",
            "fd09::/64 via fd01::2",
        ],
    );
    rib.settle(&links);
    let mut main = shown(rib.show(Family::V4, Table::Main), &links);
    main.retain(|l| !l.contains("kernel"));
    assert_eq!(
        main,
        [
            "10.6.0.0/16\n\tnexthop via 10.2.0.2 dev wan weight 1\n\tnexthop via 10.1.0.2 dev lan weight 2",
            "10.7.0.0/16 via 10.9.0.1",
            "10.8.0.0/16 via 10.2.0.2 dev wan",
            "10.9.0.0/16 via 10.2.0.2 dev wan",
        ]
    );
    assert!(
        shown(rib.show(Family::V6, Table::Main), &links)
            .iter()
            .any(|l| l.starts_with("fd09::/64 via fd01::2 dev lan"))
    );
    // Both of what is alike now can be removed, one after the other.
    for net in ["10.9.0.0/16", "10.8.0.0/16"] {
        rib.remove(net.parse().unwrap(), |r| r.hops()[0].link == Some(WAN)).unwrap();
    }
    let left = rib.build(&links).unwrap_err();
    assert!(left[0].to_string().contains("no route leads to 10.9.0.1"), "{left:?}");
    rib.remove("10.7.0.0/16".parse().unwrap(), |_| true).unwrap();
    add(&mut rib, "10.8.0.0/16 via 10.2.0.2 dev wan", &links).unwrap();
    assert_eq!(out(&rib.build(&links).unwrap(), "10.8.0.1"), Some((WAN, Some(ip("10.2.0.2")), 16)));
}

/// What Linux would do: the local table's longest match, and if there is none the main table's,
/// the lowest metric first.
fn reference(routes: &[Route], dst: IpAddr) -> Option<&Route> {
    [Table::Local, Table::Main].into_iter().find_map(|table| {
        let covering = routes.iter().filter(|r| r.table() == table && r.prefix.contains(&dst));
        covering.min_by_key(|r| (u8::MAX - r.prefix.prefix_len(), r.metric))
    })
}

fn any_route() -> impl Strategy<Value = Route> {
    // Few addresses, many lengths: prefixes nest, share and hide each other.
    let v4 = (0..=32u8, any::<u32>()).prop_map(|(len, bits)| {
        IpNet::V4(Ipv4Net::new(Ipv4Addr::from_bits(bits & 0x8101_0103), len).unwrap().trunc())
    });
    let v6 = (0..=128u8, any::<u128>()).prop_map(|(len, bits)| {
        let bits = bits & 0xc000_0001_0000_0001_8000_0000_0000_0003;
        IpNet::V6(Ipv6Net::new(Ipv6Addr::from_bits(bits), len).unwrap().trunc())
    });
    let kind = prop_oneof![
        6 => (0..4u16).prop_map(|l| RouteKind::Unicast(vec![NextHop::new(None, Some(LinkId(l)))])),
        1 => (0..4u16).prop_map(|l| RouteKind::Local(LinkId(l))),
        1 => (0..4u16).prop_map(|l| RouteKind::Broadcast(LinkId(l))),
        1 => Just(RouteKind::Unreachable),
        1 => Just(RouteKind::Blackhole),
    ];
    (prop_oneof![v4, v6], kind, 0..3u32)
        .prop_map(|(prefix, kind, metric)| Route { metric, ..Route::new(prefix, kind) })
}

proptest! {
    #[test]
    fn the_table_decides_as_the_two_tables_of_linux(
        routes in proptest::collection::vec(any_route(), 0..40),
        random in proptest::collection::vec(any::<u128>(), 20),
    ) {
        let links = links();
        let mut rib = Rib::new();
        let mut taken = vec![];
        for route in routes {
            if rib.insert(route.clone()).is_ok() {
                taken.push(route);
            }
        }
        let fib = rib.build(&links).unwrap();
        let edges = taken.iter().flat_map(|r| [r.prefix.network(), r.prefix.broadcast()]);
        let v4 = random.iter().map(|r| IpAddr::V4(Ipv4Addr::from_bits(*r as u32 & 0x8101_0107)));
        let v6 = random.iter().map(|r| IpAddr::V6(Ipv6Addr::from_bits(*r & 0xc000_0001_0000_0003_8000_0000_0000_0007)));
        for dst in edges.chain(v4).chain(v6) {
            let expected = reference(&taken, dst);
            let found = fib.lookup(dst);
            prop_assert_eq!(found.map(|e| e.prefix_len), expected.map(|r| r.prefix.prefix_len()), "{}", dst);
            if let (Some(entry), Some(route)) = (found, expected) {
                let same = match (&entry.action, &route.kind) {
                    (Action::Forward(hops), RouteKind::Unicast(_)) => {
                        hops.iter().next().map(|h| h.link) == route.hops()[0].link
                    }
                    (Action::Local(a), RouteKind::Local(b)) | (Action::Broadcast(a), RouteKind::Broadcast(b)) => a == b,
                    (Action::Unreachable, RouteKind::Unreachable) => true,
                    (Action::Blackhole, RouteKind::Blackhole) => true,
                    _ => false,
                };
                prop_assert!(same, "{}: {:?} for {:?}", dst, entry, route);
            }
        }
    }
}
