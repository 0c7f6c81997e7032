//! Many changes in one transaction: what comes of them is what comes of them one after the other, with little more work than
//! one takes.

use proptest::prelude::*;

use super::work::passes;
use super::*;
use crate::base::Mac;

fn dev() -> impl Strategy<Value = String> {
    proptest::sample::select(&["lan", "wan", "t0", "x1", "lo", "nope"][..]).prop_map(str::to_owned)
}

fn ip() -> impl Strategy<Value = std::net::IpAddr> {
    let all = [
        "10.1.0.1",
        "10.1.0.2",
        "10.1.0.5",
        "10.2.0.1",
        "10.2.0.7",
        "10.5.0.1",
        "10.5.1.1",
        "10.9.0.1",
        "10.9.1.1",
        "fd01::1",
        "fd01::2",
        "fd05::1",
        "fe80::1",
        "fe80::ff:fe00:101",
        "192.0.2.1",
        "127.0.0.1",
    ];
    proptest::sample::select(all.to_vec()).prop_map(|a| a.parse().unwrap())
}

/// All but routes, which are judged together in the end.
fn any_change() -> impl Strategy<Value = Change> {
    let len = proptest::sample::select(&[16u8, 24, 30, 32, 64, 128, 200][..]);
    let addr = (dev(), ip(), len, any::<bool>(), 0..5).prop_map(|(dev, addr, prefix_len, flag, what)| {
        Change::Addr(match what {
            0..3 => AddrChange::Add { dev, addr, prefix_len, replace: flag },
            3 => AddrChange::Delete { dev, addr, prefix_len: flag.then_some(prefix_len) },
            _ => AddrChange::Delete { dev, addr, prefix_len: None },
        })
    });
    let flush = (dev(), any::<bool>()).prop_map(|(dev, neigh)| match neigh {
        true => Change::Neigh(NeighChange::Flush(NeighborFilter {
            dev: Some(dev),
            states: vec!["PERMANENT".into()],
            ..NeighborFilter::default()
        })),
        false => Change::Addr(AddrChange::Flush(LinkFilter { dev: Some(dev), ..LinkFilter::default() })),
    });
    let states = proptest::sample::select(&["permanent", "permanent", "reachable", "stale", "failed"][..]);
    let mac = proptest::option::of(proptest::sample::select(&["02:00:00:00:01:77", "02:00:00:00:01:78"][..]));
    let neigh = (dev(), ip(), any::<(bool, bool)>(), proptest::option::weighted(0.75, (states, mac)));
    let neigh = neigh.prop_map(|(dev, ip, (create, replace), set)| {
        Change::Neigh(match set {
            None => NeighChange::Delete { ip, dev },
            Some((state, mac)) => {
                let (mac, state) = (mac.map(str::to_owned), state.to_owned());
                NeighChange::Set { ip, dev, mac, state, create, replace }
            }
        })
    });
    let mtu = proptest::option::of(proptest::sample::select(&[1000, 1280, 9000, 5][..]));
    let link = (dev(), mtu, 0..3).prop_map(|(name, mtu, what)| {
        let settings = LinkSettings { mtu, ..LinkSettings::default() };
        Change::Link(match what {
            0 => LinkChange::Add { name, kind: "tap".into(), settings },
            1 => LinkChange::Delete { name },
            _ => LinkChange::Set { name, settings },
        })
    });
    prop_oneof![6 => addr, 1 => flush, 3 => neigh, 1 => link]
}

proptest! {
    #[test]
    fn together_they_are_what_they_are_one_by_one(changes in proptest::collection::vec(any_change(), 1..24)) {
        let now = Instant::from_secs(1);
        let (mut one_by_one, together) = (World::new(GW), World::new(GW));
        let (mut refused, mut live) = (Vec::new(), Vec::new());
        for (i, change) in changes.iter().enumerate() {
            match one_by_one.setup.changed(change, &one_by_one.neighbors, now) {
                Ok(changed) => {
                    one_by_one.setup = changed.setup;
                    live.extend(changed.live.clone());
                    let mut out = Vec::new();
                    for action in changed.live {
                        match action {
                            LiveAction::SetNeighbor { link, ip, mac, state } => {
                                one_by_one.neighbors.set(link, ip, mac, state, now, &mut out);
                            }
                            LiveAction::RemoveNeighbor { link, ip } => {
                                one_by_one.neighbors.remove(link, ip, now, &mut out);
                            }
                        }
                    }
                }
                Err(no) => refused.push((i, no.errno)),
            }
        }
        let several = Change::Several { changes, force: true };
        let changed = together.setup.changed(&several, &together.neighbors, now).unwrap();
        holds(&changed.setup, &together.setup);
        let said: Vec<_> = changed.refused.iter().map(|(i, no)| (*i, no.errno)).collect();
        prop_assert_eq!(said, refused);
        // Links stand at other places where one has come and gone in between.
        prop_assert_eq!(&changed.setup.config, &one_by_one.setup.config);
        prop_assert_eq!(changed.live.len() >= live.len().min(1), true);
    }
}

/// A neighbor is known with its MAC to those that come behind it.
#[test]
fn a_neighbor_of_the_same_batch_keeps_its_mac() {
    let mac = Mac([2, 0, 0, 0, 1, 0x77]);
    let set = |mac: Option<Mac>, state: &str| {
        let (ip, dev, mac) = ("10.1.0.9".parse().unwrap(), "lan".to_owned(), mac.map(|mac| mac.to_string()));
        Change::Neigh(NeighChange::Set { ip, dev, mac, state: state.into(), create: true, replace: true })
    };
    let gone = Change::Neigh(NeighChange::Delete { ip: "10.1.0.9".parse().unwrap(), dev: "lan".into() });
    let of = |changes: Vec<Change>| {
        let w = World::new(GW);
        let several = Change::Several { changes, force: true };
        let changed = w.setup.changed(&several, &w.neighbors, Instant::from_secs(1)).unwrap();
        let refused: Vec<_> = changed.refused.iter().map(|(i, no)| (*i, no.errno)).collect();
        let last = match changed.live.last() {
            Some(LiveAction::SetNeighbor { mac, state, .. }) => (*mac, *state),
            other => panic!("{other:?}"),
        };
        (refused, last)
    };
    for first in ["permanent", "reachable", "stale"] {
        for then in ["permanent", "stale", "probe"] {
            let (refused, (kept, _)) = of(vec![set(Some(mac), first), set(None, then)]);
            assert_eq!((refused, kept), (vec![], Some(mac)), "{first}, {then}");
        }
    }
    // What has failed or is gone has none.
    let (refused, last) = of(vec![set(Some(mac), "failed"), set(None, "stale")]);
    assert_eq!((refused, last), (vec![(1, Some("EINVAL"))], (Some(mac), Nud::Failed)));
    let (refused, last) = of(vec![set(Some(mac), "stale"), gone, set(None, "stale"), set(None, "failed")]);
    assert_eq!((refused, last), (vec![(2, Some("EINVAL"))], (None, Nud::Failed)));
}

/// What is refused one by one is refused together, too: it could not be read back.
#[test]
fn an_address_that_takes_the_next_hop_of_a_route_of_the_same_batch_is_refused() {
    let route = RouteChange::One { action: RouteOp::Add, route: "198.51.100.0/24 via 10.1.0.77".into() };
    let addr = "10.1.0.77".parse().unwrap();
    let taken = AddrChange::Add { dev: "lan".into(), addr, prefix_len: 24, replace: false };
    let gone = RouteChange::One { action: RouteOp::Delete, route: "198.51.100.0/24".into() };
    let [route, taken, gone] = [Change::Route(route), Change::Addr(taken), Change::Route(gone)];
    let (_, refused, _) = apply(vec![route.clone(), taken.clone()]);
    assert_eq!(refused, 1);
    let (_, refused, _) = apply(vec![route, gone, taken]);
    assert_eq!(refused, 0, "it leads nowhere any more");
}

/// Every hundredth is refused, and leaves nothing behind.
const MANY: u32 = 20_000;

/// Everything is gone over so often at most for all of them together: once for each thing that is asked for, and again where
/// it has become another one.
const PASSES: usize = 12;

/// What comes of them, how many are refused, and how often everything was gone over.
fn apply_to(w: &mut World, changes: Vec<Change>) -> (usize, usize) {
    let several = Change::Several { changes, force: true };
    passes();
    let changed = w.setup.changed(&several, &w.neighbors, Instant::from_secs(1)).unwrap();
    w.setup = changed.setup;
    (changed.refused.len(), passes())
}

fn apply(changes: Vec<Change>) -> (World, usize, usize) {
    let mut w = World::new(GW);
    let (refused, passes) = apply_to(&mut w, changes);
    (w, refused, passes)
}

fn address(n: u32) -> std::net::IpAddr {
    std::net::Ipv4Addr::from(0x0a80_0000 + n).into()
}

fn add(n: u32, prefix_len: u8) -> Change {
    Change::Addr(AddrChange::Add { dev: "t0".into(), addr: address(n), prefix_len, replace: false })
}

fn gone(n: u32) -> Change {
    Change::Addr(AddrChange::Delete { dev: "t0".into(), addr: address(n), prefix_len: None })
}

#[test]
fn twenty_thousand_addresses_take_no_more_passes_than_few() {
    for len in [32, 9] {
        let all = (1..=MANY).map(|n| if n % 100 == 0 { add(n - 1, len) } else { add(n, len) });
        let (mut w, refused, passes) = apply(all.collect());
        assert_eq!(refused, MANY as usize / 100);
        let there = w.setup.links.named("t0").unwrap().addresses.len();
        assert_eq!(there, 1 + (MANY - MANY / 100) as usize);
        assert!(passes <= PASSES, "{passes} passes to add those with /{len}");
        let (refused, passes) = apply_to(&mut w, (1..=MANY).map(gone).collect());
        assert_eq!(refused, MANY as usize / 100);
        assert!(passes <= PASSES, "{passes} passes to remove those with /{len}");
        assert_eq!(w.setup.config, World::new(GW).setup.config);
    }
}

/// One goes and another comes, again and again: that is no more work as long as nothing leans on those that go.
#[test]
fn addresses_that_go_and_come_in_turn_take_no_more_passes() {
    for len in [32, 24] {
        let far = |n: u32| if len == 32 { n } else { n << 8 | 1 };
        let (mut w, refused, _) = apply((1..50).map(|n| add(far(n), len)).collect());
        assert_eq!(refused, 0);
        let before = w.setup.config.clone();
        let turns = |n: u32| [gone(far(n % 49 + 1)), add(far(n % 49 + 1), len)];
        let (refused, passes) = apply_to(&mut w, (0..2_000).flat_map(turns).collect());
        assert_eq!(refused, 0);
        assert!(passes <= PASSES, "{passes} passes with /{len}");
        let sorted = |c: &Config| {
            let mut all = c.links.iter().find(|l| l.name == "t0").unwrap().addresses.clone();
            all.sort_by_key(|a| a.addr);
            all
        };
        assert_eq!(sorted(&w.setup.config), sorted(&before));
    }
}

/// What leans on an address goes with it, though it comes back at once.
#[test]
fn what_leaned_on_an_address_goes_though_it_comes_back() {
    let route = |route: &str| Change::Route(RouteChange::One { action: RouteOp::Add, route: route.into() });
    for (lean, far) in [
        ("198.51.100.0/24 via 10.128.5.9", "by way of it"),
        ("198.51.100.0/24 via 10.1.0.2 src 10.128.5.1", "with it as source"),
        ("198.51.100.0/24 nexthop via 10.1.0.2 nexthop via 10.128.5.9", "one way of two"),
    ] {
        let n = 5 << 8 | 1;
        let (mut w, refused, _) = apply(vec![add(n, 24), route(lean)]);
        assert_eq!(refused, 0, "{far}");
        let shown = |w: &World| w.routes().into_iter().find(|r| r.starts_with("198.51.100.0/24"));
        let before = shown(&w);
        assert!(before.is_some());
        let (refused, _) = apply_to(&mut w, vec![gone(n), add(n, 24)]);
        assert_eq!(refused, 0, "{far}");
        assert_ne!(shown(&w), before, "{far}");
    }
}

#[test]
fn twenty_thousand_neighbors_take_no_more_passes_than_few() {
    let set = |n: u32| {
        let (ip, dev, state) = (address(n), "lan".to_owned(), "permanent".to_owned());
        let mac = Some("02:00:00:00:01:77".into());
        Change::Neigh(NeighChange::Set { ip, dev, mac, state, create: true, replace: false })
    };
    let all = (1..=MANY).map(|n| if n % 100 == 0 { set(n - 1) } else { set(n) });
    let (w, refused, passes) = apply(all.collect());
    assert_eq!(refused, MANY as usize / 100);
    assert_eq!(w.setup.config.neighbors.len(), 1 + (MANY - MANY / 100) as usize);
    assert!(passes <= PASSES, "{passes} passes");
}
