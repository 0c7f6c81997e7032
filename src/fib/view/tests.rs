//! Tables that follow their routes: the same as compiled anew, and as what the routes say one by one.

use std::net::IpAddr;
use std::sync::{Arc, OnceLock};

use ipnet::IpNet;
use proptest::prelude::*;

use crate::base::LinkId;
use crate::fib::sample::*;
use crate::fib::{Entry, Fib, Rib, Route, RouteKind, Table};
use crate::link::Links;

/// What happens.
#[derive(Debug, Clone)]
enum Step {
    Add(String),
    Replace(String),
    Delete(String),
    Link(LinkId, bool),
    /// `far` has another address.
    Address(u8),
}

fn prefix4() -> impl Strategy<Value = String> {
    let len = prop_oneof![Just(0u8), 7..=12u8, 16..=19u8, Just(24), 23..=32u8];
    (any::<u32>(), len).prop_map(|(bits, len)| {
        let addr = std::net::Ipv4Addr::from_bits(bits & 0x0003_01c1 | 0x0a09_0000);
        IpNet::new(addr.into(), len).unwrap().trunc().to_string()
    })
}

fn prefix6() -> impl Strategy<Value = String> {
    let len = prop_oneof![Just(0u8), 8..=16u8, 29..=33u8, Just(48), 60..=66u8, Just(128)];
    (any::<u128>(), len).prop_map(|(bits, len)| {
        let addr = std::net::Ipv6Addr::from_bits(
            bits & 0x3 << 96 | bits & 0x8001_0001_8000_0003 | 0x2001_0d00 << 96,
        );
        IpNet::new(addr.into(), len).unwrap().trunc().to_string()
    })
}

/// Routes as lines; `recursive` ones among them, whose gateways are behind others.
fn line(recursive: bool) -> impl Strategy<Value = String> {
    let direct4 = [
        "via 10.1.0.2",
        "via 10.2.0.2",
        "via 10.3.0.2 dev far onlink",
        "dev wan",
        "blackhole",
        "unreachable",
    ];
    let more4 =
        ["prohibit", "nexthop via 10.1.0.2 nexthop via 10.2.0.9 weight 3", "via 10.2.0.2 src 10.1.0.1"];
    let direct6 = ["via fd01::2", "via fd02::2", "via fe80::9 dev far", "blackhole"];
    let more6 = ["nexthop via fd01::2 dev lan nexthop via fd02::9 dev wan weight 2", "prohibit"];
    let behind4 = if recursive { &["via 10.9.0.1", "via 10.10.1.1"][..] } else { &[] };
    let behind6 = if recursive { &["via 2001:d00::1", "via 2001:d01:8000::1"][..] } else { &[] };
    let ways = |all: [&[&str]; 3]| {
        proptest::sample::select(all.concat().iter().map(|s| s.to_string()).collect::<Vec<_>>())
    };
    let join = |(prefix, way, metric): (String, String, u32)| match way.as_str() {
        "blackhole" | "unreachable" | "prohibit" => format!("{way} {prefix} metric {metric}"),
        _ => match way.split_once("nexthop") {
            Some((_, hops)) => format!("{prefix} metric {metric} nexthop{hops}"),
            None => format!("{prefix} {way} metric {metric}"),
        },
    };
    prop_oneof![
        (prefix4(), ways([&direct4, &more4, behind4]), 0..3u32).prop_map(join),
        (prefix6(), ways([&direct6, &more6, behind6]), 1..3u32).prop_map(join),
    ]
}

fn steps(recursive: bool) -> impl Strategy<Value = Vec<Vec<Step>>> {
    let link = (1..=3u16, any::<bool>()).prop_map(|(l, up)| Step::Link(LinkId(l), up));
    let one = prop_oneof![
        8 => line(recursive).prop_map(Step::Add),
        2 => line(recursive).prop_map(Step::Replace),
        4 => line(recursive).prop_map(Step::Delete),
        1 => link,
        1 => (0..3u8).prop_map(Step::Address),
    ];
    proptest::collection::vec(proptest::collection::vec(one, 1..10), 1..8)
}

/// So many other routes that a change is worth following.
fn many() -> (Arc<Rib>, Arc<Fib>) {
    static MANY: OnceLock<(Arc<Rib>, Arc<Fib>)> = OnceLock::new();
    let made = MANY.get_or_init(|| {
        let links = links();
        let mut rib = rib(&links, &[]);
        for i in 0..700u32 {
            let via4 = if i % 3 == 0 { "10.1.0.2" } else { "10.2.0.2" };
            let v4 = std::net::Ipv4Addr::from_bits((11 << 24) + (i * 7 << 8));
            let net = |addr: IpAddr, len| IpNet::new(addr, len).unwrap().trunc();
            add(&mut rib, &format!("{} via {via4}", net(v4.into(), 23 + i as u8 % 2)), &links).ok();
            let v6 = std::net::Ipv6Addr::from_bits((0x2001 << 112) + (u128::from(i * 5) << 80));
            add(&mut rib, &format!("{} via fd02::2", net(v6.into(), 46 + i as u8 % 3)), &links).ok();
        }
        rib.settle(&links);
        let fib = rib.build(&links).unwrap();
        (Arc::new(rib), Arc::new(fib))
    });
    made.clone()
}

struct World {
    links: Links,
    rib: Arc<Rib>,
    fib: Arc<Fib>,
    up: [bool; 4],
    /// Addresses to look up.
    asked: Vec<IpAddr>,
}

impl World {
    fn new() -> Self {
        let (rib, fib) = many();
        let asked = [
            "10.3.0.1",
            "10.1.0.1",
            "10.1.0.255",
            "127.0.0.1",
            "8.8.8.8",
            "11.0.0.9",
            "2001::5:1",
            "fd01::2",
        ];
        World { links: links(), rib, fib, up: [true; 4], asked: asked.map(ip).into() }
    }

    fn take(&mut self, step: &Step) {
        let rib = Arc::make_mut(&mut self.rib);
        match step {
            Step::Add(line) | Step::Replace(line) | Step::Delete(line) => {
                let route = route(line, &self.links);
                let net = route.prefix;
                let last = match net {
                    IpNet::V4(v4) => v4.broadcast().into(),
                    IpNet::V6(v6) => v6.broadcast().into(),
                };
                self.asked.extend([net.addr(), last, next(last)]);
                let _ = match step {
                    Step::Add(_) => rib.insert(route).is_ok(),
                    Step::Replace(_) => rib.replace(route).is_ok(),
                    _ => rib.remove(net, |r| r.protocol == route.protocol).is_ok(),
                };
            }
            Step::Link(link, up) => self.up[link.index()] = *up,
            Step::Address(n) => {
                let far = [["10.3.0.1/24"], ["10.9.1.1/26"], ["10.9.0.0/8"]][usize::from(*n)];
                let lan = ["10.1.0.1/24", "fd01::1/64", "fe80::1/64"];
                let wan = ["10.2.0.1/24", "fd02::1/64", "fe80::2/64"];
                let after = links_with(&lan, &wan, &far);
                let mut changed = rib.clone();
                if changed.reconnect(&self.links, &after).is_ok() {
                    *rib = changed;
                    self.links = after;
                    self.asked.extend(["10.9.1.1", "10.9.1.63", "10.9.0.0", "10.255.255.255"].map(ip));
                }
            }
        }
    }

    /// Goes on, and looks at all.
    fn follow(&mut self, naive: bool) {
        let up = self.up;
        let usable = |l: LinkId| up[l.index()];
        self.fib = Arc::new(self.fib.after(&self.rib, &self.links, usable));
        let fresh = self.rib.build_usable(&self.links, usable);
        let routes: Vec<Route> = if naive { self.rib.iter().collect() } else { Vec::new() };
        for addr in &self.asked {
            let found = self.fib.lookup(*addr);
            assert_eq!(found, fresh.lookup(*addr), "{addr}");
            if naive {
                let said = found.map(|e| (e.prefix_len, e.src));
                assert_eq!(
                    said,
                    first(&routes, *addr, usable).map(|r| (r.prefix.prefix_len(), r.src)),
                    "{addr}"
                );
            }
        }
    }
}

fn next(addr: IpAddr) -> IpAddr {
    match addr {
        IpAddr::V4(a) => std::net::Ipv4Addr::from_bits(a.to_bits().wrapping_add(1)).into(),
        IpAddr::V6(a) => std::net::Ipv6Addr::from_bits(a.to_bits().wrapping_add(1)).into(),
    }
}

/// The definition: of table local and then of table main the longest prefix around an address, with the lowest metric, that
/// has a link which is up.
fn first(routes: &[Route], addr: IpAddr, usable: impl Fn(LinkId) -> bool) -> Option<&Route> {
    let lives = |r: &&Route| match &r.kind {
        RouteKind::Unicast(hops) => hops.iter().any(|h| h.link.is_none_or(&usable)),
        _ => true,
    };
    let link_local = |r: &&Route| matches!(r.prefix, IpNet::V6(n) if n.prefix_len() >= 10 && n.addr().is_unicast_link_local());
    [Table::Local, Table::Main].into_iter().find_map(|table| {
        let around = routes.iter().filter(|r| r.table() == table && r.prefix.contains(&addr));
        let living = around.filter(lives).filter(|r| !link_local(r));
        living.min_by_key(|r| (u8::MAX - r.prefix.prefix_len(), r.metric))
    })
}

fn settled(rib: &mut Rib, line: &str, links: &Links) -> String {
    let mut route = route(line, links);
    rib.settle_one(&mut route, links);
    route.display(links).to_string().replace("\n\t", " ")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    /// As links are named where they are known, what a link that is down takes along is what names it.
    #[test]
    fn a_table_that_follows_says_what_its_routes_say(steps in steps(false)) {
        let mut world = World::new();
        for together in steps {
            for step in together {
                let step = match step {
                    Step::Add(l) => Step::Add(settled(Arc::make_mut(&mut world.rib), &l, &world.links)),
                    Step::Replace(l) => Step::Replace(settled(Arc::make_mut(&mut world.rib), &l, &world.links)),
                    // Other addresses may take a gateway away, which the definition here does not know.
                    Step::Address(_) => continue,
                    other => other,
                };
                world.take(&step);
            }
            world.follow(true);
        }
    }

    #[test]
    fn a_table_that_follows_equals_one_made_anew(steps in steps(true)) {
        let mut world = World::new();
        for together in steps {
            together.iter().for_each(|step| world.take(step));
            world.follow(false);
        }
    }
}

#[test]
fn a_link_that_goes_down_and_up_leaves_the_tries_as_they_are() {
    let mut world = World::new();
    world.take(&Step::Add("default via 10.1.0.9 dev lan".into()));
    world.take(&Step::Add("11.0.0.0/8 via 10.1.0.7 dev lan".into()));
    world.follow(true);
    let whole = world.fib.clone();
    let out = |fib: &Fib, dst| fib.lookup(ip(dst)).map(|e: &Entry| e.prefix_len);
    assert_eq!(out(&whole, "11.0.7.1"), Some(24));
    world.take(&Step::Link(WAN, false));
    world.follow(true);
    assert_eq!((out(&world.fib, "11.0.7.1"), out(&world.fib, "11.0.0.1")), (Some(8), Some(23)));
    assert_eq!(world.fib.memory(), whole.memory());
    world.take(&Step::Link(WAN, true));
    world.follow(true);
    assert_eq!(out(&world.fib, "11.0.7.1"), Some(24));
}

#[test]
fn numbers_that_are_nobodys_go_in_the_end() {
    let mut world = World::new();
    let most = 2 * world.fib.entries.len() + 5_000;
    for n in 0..40u32 {
        for i in 0..256 {
            world.take(&Step::Replace(format!("10.9.{i}.0/24 via 10.2.{}.{i} dev wan onlink", n % 250)));
        }
        world.fib = Arc::new(world.fib.after(&world.rib, &world.links, |_| true));
        assert!(world.fib.entries.len() <= most);
    }
}
