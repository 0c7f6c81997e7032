//! A router's tables, and what iproute2 would say of them.

use ipnet::IpNet;
use serde_json::json;

use super::*;
use crate::base::{Column, Counters, DropReason, Event, counters};
use crate::conntrack;
use crate::control::protocol::Relation;
use crate::link::{Address, Driver, InUse, Link, LinkKind};
use crate::neighbor;

const LAN: LinkId = LinkId(1);

/// A router with a quiet life.
struct World {
    totals: Totals,
    links: Links,
    states: LinkStates,
    rib: Arc<fib::Rib>,
    neighbors: NeighborTable,
    dad: Dad,
    conntrack: Arc<Conntrack>,
    hooks: Hooks,
    tracer: Arc<Tracer>,
}

impl World {
    fn new(routes: &[&str]) -> Self {
        let address = |text: &str| {
            let (addr, len) = text.split_once('/').unwrap();
            Address { addr: addr.parse().unwrap(), prefix_len: len.parse().unwrap() }
        };
        let link = |name: &str, kind, mac: Option<&str>, mtu, addresses: &[&str]| Link {
            mac: mac.map(|m| m.parse().unwrap()),
            mtu,
            addresses: addresses.iter().map(|a| address(a)).collect(),
            ..Link::new(name, kind)
        };
        let mac = Some("02:00:00:00:01:01");
        let lan = ["10.1.0.1/24", "10.1.0.2/24", "fd01::1/64", "fe80::ff:fe00:101/64"];
        let links = Links::new([
            link("lan", LinkKind::Packet, mac, 1500, &lan),
            link("t0", LinkKind::Tun, None, 1420, &["10.9.0.1/31"]),
        ]);
        let counters = Counters::new(links.bound());
        counters.event(Column::Received, Event::Entered);
        counters.dropped(Column::Received, DropReason::NoRoute);
        let lan = counters.link(LAN).unwrap();
        lan.rx_packets.add(1);
        lan.rx_bytes.add(98);
        lan.rx_dropped.add(1);
        lan.rx_missed.add(3);
        let states = LinkStates::new(links.bound());
        states.set(LAN, true);
        let mut rib = fib::Rib::connected(&links);
        for line in routes {
            rib.insert(fib::parse_line(line, &links).unwrap().unwrap()).unwrap();
        }
        let neighbors = NeighborTable::new(neighbor::Config::default(), 1);
        let mac = "02:00:00:00:00:02".parse().unwrap();
        let mut out = Vec::new();
        for ip in ["fd01::9", "10.1.0.9", "10.1.0.10"] {
            assert!(neighbors.set_static(LAN, ip.parse().unwrap(), mac, Instant::ZERO, &mut out));
        }
        let dad = Dad::new(neighbor::DadConfig::default(), 1);
        World {
            totals: Totals::sum([&counters]),
            links,
            states,
            rib: Arc::new(rib),
            neighbors,
            dad,
            conntrack: Arc::new(Conntrack::new(conntrack::Config::default(), 1)),
            hooks: Hooks::new(),
            tracer: Arc::default(),
        }
    }

    fn ask(&self, verb: Verb) -> Result<Value, String> {
        let sources = Sources {
            name: "gw",
            uptime: Duration::from_secs(5),
            now: Instant::from_secs(5),
            totals: &self.totals,
            links: &self.links,
            states: &self.states,
            rib: &self.rib,
            neighbors: &self.neighbors,
            dad: &self.dad,
            conntrack: &self.conntrack,
            hooks: &self.hooks,
            tracer: &self.tracer,
            rest: Rest::default(),
        };
        match answer(&verb, &sources) {
            Answer::Done(value) => Ok(value),
            Answer::Refused(no) | Answer::PartsBut(_, no) => Err(no.text),
            Answer::Later(_) | Answer::Feed(_) => panic!("it is answered at once"),
            Answer::Parts(parts) => {
                let parts = parts.flat_map(|p| p.as_array().unwrap().clone());
                Ok(Value::Array(parts.collect()))
            }
        }
    }

    fn routes(&self, filter: RouteFilter) -> Vec<view::Route> {
        serde_json::from_value(self.ask(Verb::Ip(Show::Route(filter))).unwrap()).unwrap()
    }

    fn dsts(&self, filter: RouteFilter) -> Vec<String> {
        self.routes(filter).into_iter().map(|r| r.dst).collect()
    }
}

#[test]
fn links_are_shown_as_iproute2_would() {
    let world = World::new(&[]);
    let (asked, driver) = (Driver::Auto, Driver::Socket);
    let used = InUse { asked, driver, fallback: Some("no memory".into()) };
    assert!(world.states.set_driver(LAN, Some(used.clone())) && !world.states.set_driver(LAN, Some(used)));
    let value = world.ask(Verb::Ip(Show::Link(LinkFilter::default()))).unwrap();
    let zero = json!({
        "rx": {"bytes":0,"packets":0,"errors":0,"dropped":0,"over_errors":0,"multicast":0},
        "tx": {"bytes":0,"packets":0,"errors":0,"dropped":0,"carrier_errors":0,"collisions":0},
    });
    let mut some = zero.clone();
    some["rx"] = json!({"bytes":98,"packets":1,"errors":0,"dropped":1,"over_errors":3,"multicast":0});
    let expected = json!([
        {"ifindex":1,"ifname":"lo","flags":["LOOPBACK","UP","LOWER_UP"],"mtu":65536,"qdisc":"noqueue",
         "operstate":"UNKNOWN","linkmode":"DEFAULT","group":"default","link_type":"loopback",
         "address":"00:00:00:00:00:00","broadcast":"00:00:00:00:00:00","stats64":zero},
        {"ifindex":2,"ifname":"lan","flags":["BROADCAST","MULTICAST","UP","LOWER_UP"],"mtu":1500,"qdisc":"noqueue",
         "operstate":"UP","linkmode":"DEFAULT","group":"default","link_type":"ether",
         "address":"02:00:00:00:01:01","broadcast":"ff:ff:ff:ff:ff:ff",
         "linkinfo":{"info_kind":"packet","info_data":{"driver":"socket","asked":"auto","fallback":"no memory"}},
         "stats64":some},
        {"ifindex":3,"ifname":"t0","flags":["NO-CARRIER","POINTOPOINT","MULTICAST","NOARP","UP"],"mtu":1420,
         "qdisc":"noqueue","operstate":"DOWN","linkmode":"DEFAULT","group":"default","link_type":"none",
         "linkinfo":{"info_kind":"tun"},"stats64":zero},
    ]);
    assert_eq!(value.to_string(), expected.to_string());

    let names = |f| {
        let v = world.ask(Verb::Ip(Show::Link(f))).unwrap();
        v.as_array().unwrap().iter().map(|l| l["ifname"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names(LinkFilter { up: true, ..LinkFilter::default() }), ["lo", "lan", "t0"]);
    assert_eq!(names(LinkFilter { dev: Some("t0".into()), ..LinkFilter::default() }), ["t0"]);
}

#[test]
fn addresses_have_scopes_and_states() {
    let world = World::new(&[]);
    let mut out = Vec::new();
    world.dad.start(LAN, "fd01::1".parse().unwrap(), Instant::ZERO, &mut out);
    let infos = |f: LinkFilter| {
        let v = world.ask(Verb::Ip(Show::Addr(f))).unwrap();
        let links: Vec<view::Link> = serde_json::from_value(v).unwrap();
        links.into_iter().map(|l| (l.ifname, l.addr_info.unwrap())).collect::<Vec<_>>()
    };
    let lan = infos(LinkFilter { dev: Some("lan".into()), ..LinkFilter::default() });
    let expected = json!([
        {"family":"inet","local":"10.1.0.1","prefixlen":24,"broadcast":"10.1.0.255","scope":"global","label":"lan",
         "valid_life_time":4294967295u32,"preferred_life_time":4294967295u32},
        {"family":"inet","local":"10.1.0.2","prefixlen":24,"broadcast":"10.1.0.255","scope":"global","secondary":true,
         "label":"lan","valid_life_time":4294967295u32,"preferred_life_time":4294967295u32},
        {"family":"inet6","local":"fd01::1","prefixlen":64,"scope":"global","tentative":true,
         "valid_life_time":4294967295u32,"preferred_life_time":4294967295u32},
        {"family":"inet6","local":"fe80::ff:fe00:101","prefixlen":64,"scope":"link",
         "valid_life_time":4294967295u32,"preferred_life_time":4294967295u32},
    ]);
    assert_eq!(serde_json::to_string(&lan[0].1).unwrap(), expected.to_string());

    world.dad.advertised(LAN, "fd01::1".parse().unwrap(), &mut out);
    let lan = infos(LinkFilter { dev: Some("lan".into()), ..LinkFilter::default() });
    assert!(lan[0].1[2].dadfailed && lan[0].1[2].tentative);

    let count = |f| infos(f).into_iter().map(|(name, all)| (name, all.len())).collect::<Vec<_>>();
    let named = |all: &[(&str, usize)]| all.iter().map(|(n, c)| ((*n).to_owned(), *c)).collect::<Vec<_>>();
    let f = LinkFilter { family: Some(Family::Inet6), ..LinkFilter::default() };
    assert_eq!(count(f), named(&[("lo", 1), ("lan", 2)]));
    let f = LinkFilter { scope: Some("link".into()), ..LinkFilter::default() };
    assert_eq!(count(f), named(&[("lan", 1)]));
    let f = LinkFilter { to: Some("10.0.0.0/8".parse().unwrap()), ..LinkFilter::default() };
    assert_eq!(count(f), named(&[("lan", 2), ("t0", 1)]));
}

#[test]
fn addresses_stand_in_the_order_of_the_kernel() {
    let address = |local: &str, secondary, scope: &str| view::Address {
        family: if local.contains(':') { "inet6" } else { "inet" }.to_owned(),
        local: local.to_owned(),
        secondary,
        scope: scope.to_owned(),
        ..view::Address::default()
    };
    // As somebody gave them to a device, and as `ip addr` then showed them.
    let given = vec![
        address("fe80::1", false, "link"),
        address("10.1.0.1", false, "global"),
        address("10.1.0.2", true, "global"),
        address("fd01::1", false, "global"),
        address("10.2.0.1", false, "global"),
        address("fd01::2", false, "global"),
    ];
    let shown: Vec<String> = as_the_kernel_lists(given).into_iter().map(|a| a.local).collect();
    assert_eq!(shown, ["10.1.0.1", "10.2.0.1", "10.1.0.2", "fd01::2", "fd01::1", "fe80::1"]);
}

#[test]
fn routes_are_shown_as_iproute2_would() {
    let world = World::new(&[
        "default via 10.1.0.9 metric 100",
        "198.51.100.0/24 nexthop via 10.1.0.9 dev lan weight 1 nexthop via 10.1.0.10 dev lan weight 2",
        "unreachable 203.0.113.0/24",
        "8.8.8.0/24 via 10.1.0.5 dev lan proto bgp src 10.1.0.1 metric 20",
        "6.6.6.0/24 via inet6 fd01::9 dev lan",
        "1.2.3.0/24 via 9.9.9.9 dev lan onlink",
        "2001:db8::/32 via fd01::9 dev lan",
        "prohibit 2001:db9::/32",
    ]);
    let v4 = RouteFilter { family: Some(Family::Inet), ..RouteFilter::default() };
    let expected = json!([
        {"dst":"default","gateway":"10.1.0.9","metric":100,"flags":[]},
        {"dst":"1.2.3.0/24","gateway":"9.9.9.9","dev":"lan","flags":["onlink"]},
        {"dst":"6.6.6.0/24","via":{"family":"inet6","host":"fd01::9"},"dev":"lan","flags":[]},
        {"dst":"8.8.8.0/24","gateway":"10.1.0.5","dev":"lan","protocol":"bgp","prefsrc":"10.1.0.1","metric":20,"flags":[]},
        {"dst":"10.1.0.0/24","dev":"lan","protocol":"kernel","scope":"link","prefsrc":"10.1.0.1","flags":[]},
        {"dst":"10.9.0.0/31","dev":"t0","protocol":"kernel","scope":"link","prefsrc":"10.9.0.1","flags":["linkdown"]},
        {"dst":"198.51.100.0/24","flags":[],"nexthops":[
            {"gateway":"10.1.0.9","dev":"lan","weight":1,"flags":[]},
            {"gateway":"10.1.0.10","dev":"lan","weight":2,"flags":[]}]},
        {"type":"unreachable","dst":"203.0.113.0/24","flags":[]},
    ]);
    assert_eq!(world.ask(Verb::Ip(Show::Route(v4))).unwrap().to_string(), expected.to_string());

    let v6 = RouteFilter { family: Some(Family::Inet6), ..RouteFilter::default() };
    let expected = json!([
        {"dst":"2001:db8::/32","gateway":"fd01::9","dev":"lan","metric":1024,"flags":[],"pref":"medium"},
        {"type":"prohibit","dst":"2001:db9::/32","dev":"lo","metric":1024,"flags":[],"pref":"medium"},
        {"dst":"fd01::/64","dev":"lan","protocol":"kernel","metric":256,"flags":[],"pref":"medium"},
        {"dst":"fe80::/64","dev":"lan","protocol":"kernel","metric":256,"flags":[],"pref":"medium"},
    ]);
    assert_eq!(world.ask(Verb::Ip(Show::Route(v6))).unwrap().to_string(), expected.to_string());

    let local = RouteFilter { family: Some(Family::Inet), table: Table::Local, ..RouteFilter::default() };
    let first = &world.routes(local)[0];
    let expected = json!({"type":"local","dst":"10.1.0.1","dev":"lan","table":"local","protocol":"kernel",
        "scope":"host","prefsrc":"10.1.0.1","flags":[]});
    assert_eq!(serde_json::to_string(first).unwrap(), expected.to_string());
}

#[test]
fn routes_are_chosen() {
    let world = World::new(&[
        "default via 10.1.0.9 dev lan",
        "10.0.0.0/8 via 10.1.0.10 dev lan proto static",
        "198.51.100.0/24 nexthop via 10.1.0.9 dev lan nexthop via 10.1.0.10 dev lan",
        "blackhole 203.0.113.0/24",
    ]);
    let v4 = || RouteFilter { family: Some(Family::Inet), ..RouteFilter::default() };
    let net = |s: &str| Some(s.parse::<IpNet>().unwrap());
    let prefix = |r, s| net(s).map(|n| (r, n));
    assert_eq!(
        world.dsts(RouteFilter { dev: Some("lan".into()), ..v4() }),
        ["default", "10.0.0.0/8", "10.1.0.0/24"],
        "one with several ways is no link's, as in iproute2"
    );
    let via = Some("10.1.0.10".parse().unwrap());
    assert_eq!(world.dsts(RouteFilter { via, ..v4() }), ["10.0.0.0/8"], "nor any gateway's");
    assert_eq!(world.dsts(RouteFilter { protocol: Some("static".into()), ..v4() }), ["10.0.0.0/8"]);
    assert_eq!(world.dsts(RouteFilter { kind: Some("blackhole".into()), ..v4() }), ["203.0.113.0/24"]);
    assert_eq!(
        world.dsts(RouteFilter { scope: Some("link".into()), ..v4() }),
        ["10.1.0.0/24", "10.9.0.0/31"]
    );
    assert_eq!(
        world.dsts(RouteFilter { prefix: prefix(Relation::Match, "10.1.0.7/32"), ..v4() }),
        ["default", "10.0.0.0/8", "10.1.0.0/24"]
    );
    assert_eq!(
        world.dsts(RouteFilter { prefix: prefix(Relation::Root, "10.0.0.0/8"), ..v4() }),
        ["10.0.0.0/8", "10.1.0.0/24", "10.9.0.0/31"]
    );
    assert_eq!(world.dsts(RouteFilter { prefix: prefix(Relation::Exact, "0.0.0.0/0"), ..v4() }), ["default"]);
    let all = world.dsts(RouteFilter { table: Table::All, ..RouteFilter::default() });
    assert_eq!(all.len(), world.rib.len());
}

#[test]
fn many_routes_come_in_pages() {
    let lines: Vec<_> = (0..5_000).map(|i| format!("11.{}.{}.0/24 via 10.1.0.9", i >> 8, i & 255)).collect();
    let world = World::new(&lines.iter().map(String::as_str).collect::<Vec<_>>());
    let v4 = RouteFilter { family: Some(Family::Inet), ..RouteFilter::default() };
    assert_eq!(world.routes(v4).len(), 5_002);
}

#[test]
fn neighbors_are_shown_as_iproute2_would() {
    let world = World::new(&[]);
    let ask = |f| world.ask(Verb::Ip(Show::Neigh(f))).unwrap();
    let entry = |dst| json!({"dst":dst,"dev":"lan","lladdr":"02:00:00:00:00:02","state":["PERMANENT"]});
    let all = json!([entry("10.1.0.9"), entry("10.1.0.10"), entry("fd01::9")]);
    assert_eq!(ask(NeighborFilter::default()).to_string(), all.to_string());
    let six = NeighborFilter { family: Some(Family::Inet6), ..NeighborFilter::default() };
    assert_eq!(ask(six), json!([entry("fd01::9")]));
    let to = NeighborFilter { to: Some("10.1.0.9/32".parse().unwrap()), ..NeighborFilter::default() };
    assert_eq!(ask(to), json!([entry("10.1.0.9")]));
    let dev = NeighborFilter { dev: Some("t0".into()), ..NeighborFilter::default() };
    assert_eq!(ask(dev), json!([]));
    let failed = NeighborFilter { states: vec!["FAILED".into()], ..NeighborFilter::default() };
    assert_eq!(ask(failed), json!([]));
}

#[test]
fn a_link_that_is_not_there_is_said_so() {
    let world = World::new(&[]);
    let dev = Some("nope".to_owned());
    for show in [
        Show::Link(LinkFilter { dev: dev.clone(), ..LinkFilter::default() }),
        Show::Addr(LinkFilter { dev: dev.clone(), ..LinkFilter::default() }),
        Show::Route(RouteFilter { dev: dev.clone(), ..RouteFilter::default() }),
        Show::Neigh(NeighborFilter { dev, ..NeighborFilter::default() }),
    ] {
        let said = world.ask(Verb::Ip(show)).unwrap_err();
        assert_eq!(said, "no link named 'nope': the links here are lo, lan, t0");
    }
}

#[test]
fn every_counter_is_in_the_stats() {
    let world = World::new(&[]);
    let stats: view::Stats = serde_json::from_value(world.ask(Verb::Stats).unwrap()).unwrap();
    assert_eq!(stats.drops.len(), DropReason::COUNT);
    assert_eq!(stats.tallies.len(), counters::Tally::ALL.len());
    let (r, dropped) = (stats.columns.received, stats.drops.iter().map(|d| d.received).sum::<u64>());
    assert_eq!((r.entered, r.dropped, r.imbalance, dropped), (1, 1, 0, 1));
    let lan = &stats.links[1];
    assert_eq!((lan.ifname.as_str(), lan.up, lan.rx_bytes), ("lan", true, 98));
    let hello: view::Hello = serde_json::from_value(world.ask(Verb::Hello).unwrap()).unwrap();
    assert_eq!((hello.name.as_str(), hello.pid, hello.uptime), ("gw", std::process::id(), 5.0));
}
