//! What changes come to, and that it is what the configuration says in the end.

mod any;
mod many;
mod wild;

use std::path::Path;

use super::*;
use crate::config::{
    AddrChange, LinkChange, LinkSettings, NeighChange, RouteChange, RouteConfig, RouteOp, parse,
};
use crate::control::protocol::{Family, LinkFilter, NeighborFilter, RouteFilter};
use crate::fib::Table;
use crate::neighbor::Nud;

const GW: &str = r#"
[router]
name = "gw"
[link.lan]
kind = "tap"
mac = "02:00:00:00:01:01"
addresses = ["10.1.0.1/24", "fd01::1/64"]
[link.wan]
kind = "tap"
mac = "02:00:00:00:02:01"
addresses = ["10.2.0.1/24", "10.2.0.7/24", "fd02::1/64"]
[link.t0]
kind = "tun"
addresses = ["10.3.0.1/30"]
[[route]]
to = "default"
via = "10.2.0.2"
[[route]]
to = "10.9.0.0/16"
via = "10.1.0.2"
src = "10.1.0.1"
[[route]]
to = "10.8.0.0/16"
nexthops = [{ via = "10.1.0.3" }, { via = "10.2.0.3", weight = 2 }]
[[neighbor]]
ip = "10.1.0.2"
mac = "02:00:00:00:01:02"
dev = "lan"
"#;

/// A setup, and the table beside it.
struct World {
    setup: Setup,
    neighbors: NeighborTable,
}

impl World {
    fn new(text: &str) -> Self {
        let config = parse(text, Path::new("/nowhere/gw.toml")).unwrap();
        let setup = Setup::build(config, None).unwrap();
        World { setup, neighbors: NeighborTable::new(crate::neighbor::Config::default(), 1) }
    }

    /// Makes a change, and gives what is to be said of it.
    fn change(&mut self, change: &Change) -> Result<Vec<String>, Refusal> {
        let now = Instant::from_secs(1);
        let before = self.setup.config.clone();
        let changed = self.setup.changed(change, &self.neighbors, now).inspect_err(|_| {
            assert_eq!(self.setup.config, before);
        })?;
        holds(&changed.setup, &self.setup);
        let mut out = Vec::new();
        for action in &changed.live {
            match action {
                LiveAction::SetNeighbor { link, ip, mac, state } => {
                    assert!(self.neighbors.set(*link, *ip, *mac, *state, now, &mut out));
                }
                LiveAction::RemoveNeighbor { link, ip } => {
                    self.neighbors.remove(*link, *ip, now, &mut out);
                }
            }
        }
        self.setup = changed.setup;
        Ok(changed.notes)
    }

    fn route(&mut self, action: RouteOp, route: &str) -> Result<Vec<String>, Refusal> {
        self.change(&Change::Route(RouteChange::One { action, route: route.into() }))
    }

    fn addr(&mut self, dev: &str, addr: &str) -> Result<Vec<String>, Refusal> {
        let (addr, len) = addr.split_once('/').unwrap();
        let (addr, prefix_len) = (addr.parse().unwrap(), len.parse().unwrap());
        self.change(&Change::Addr(AddrChange::Add { dev: dev.into(), addr, prefix_len, replace: false }))
    }

    fn no_addr(&mut self, dev: &str, addr: &str) -> Result<Vec<String>, Refusal> {
        let (addr, len) = addr.split_once('/').map_or((addr, None), |(a, l)| (a, Some(l.parse().unwrap())));
        let addr = addr.parse().unwrap();
        self.change(&Change::Addr(AddrChange::Delete { dev: dev.into(), addr, prefix_len: len }))
    }

    fn set(&mut self, name: &str, settings: LinkSettings) -> Result<Vec<String>, Refusal> {
        self.change(&Change::Link(LinkChange::Set { name: name.into(), settings }))
    }

    fn routes(&self) -> Vec<String> {
        let own = self.setup.rib.show(crate::fib::Family::V4, Table::Main);
        let own = own.chain(self.setup.rib.show(crate::fib::Family::V6, Table::Main));
        let own = own.filter(|r| r.protocol != crate::fib::Protocol::Kernel);
        own.map(|r| oneline(&r, &self.setup.links)).collect()
    }

    fn addresses(&self, link: &str) -> Vec<String> {
        let link = self.setup.links.named(link).unwrap();
        link.addresses.iter().map(|a| format!("{}/{}", a.addr, a.prefix_len)).collect()
    }
}

/// What is so after every change: the configuration says what is.
fn holds(setup: &Setup, before: &Setup) {
    let built = match Setup::build(setup.config.clone(), Some(before)) {
        Ok(built) => built,
        Err(e) => panic!("{e}\n{:#?}", setup.config),
    };
    assert_eq!(built.config, setup.config);
    assert_eq!(built.links, setup.links);
    let shown = |s: &Setup| s.rib.iter().map(|r| r.display(&s.links).to_string()).collect::<Vec<_>>();
    assert_eq!(shown(&built), shown(setup));
    // So does what is printed of it, to whoever reads it.
    let text = crate::config::print(setup);
    let printed = parse(&text, Path::new("/elsewhere/gw.toml")).unwrap_or_else(|e| panic!("{e}\n{text}"));
    let printed = Setup::build(printed, Some(before)).unwrap_or_else(|e| panic!("{e}\n{text}"));
    assert_eq!((&printed.links.bound(), shown(&printed)), (&setup.links.bound(), shown(setup)), "{text}");
    assert_eq!(placeless(&printed.config), placeless(&setup.config), "{text}");
    let rules = |s: &Setup| s.programs.clone().map(|p| p.map(|p| crate::config::print::rules(&p)));
    assert_eq!(rules(&printed), rules(setup));
    let (new, old) = (built.rib.build(&built.links), setup.rib.build(&setup.links));
    assert!(new.is_ok() && old.is_ok());
    for link in before.links.iter() {
        let now = setup.links.named(&link.name);
        assert!(now.is_none_or(|now| now.id == link.id), "{} has another place", link.name);
    }
    no_overlaps(setup);
}

/// A configuration without where it stands.
fn placeless(config: &Config) -> Config {
    let mut c = config.clone();
    c.path = "/nowhere".into();
    c.warnings.clear();
    c.links.iter_mut().for_each(|l| l.line = 0);
    c.route_files.iter_mut().for_each(|f| f.line = 0);
    c.neighbors.iter_mut().for_each(|n| n.line = 0);
    // In a list or in a table, they are the same routes.
    let routes = config.own_routes().map(|r| RouteConfig { line: 0, ..r.into_owned() });
    (c.routes, c.taken) = (Arc::new(routes.collect()), None);
    // They are compared as they are printed: lines and files are no part of them.
    c.rules = [None, None];
    c
}

/// What a file's checks say of addresses, word by word.
fn no_overlaps(setup: &Setup) {
    let local =
        |a: &crate::link::Address| matches!(a.addr, std::net::IpAddr::V6(v) if v.is_unicast_link_local());
    let all = || setup.links.iter().flat_map(|l| l.addresses.iter().map(move |a| (l, a)));
    for (i, (l, a)) in all().enumerate() {
        assert!(l.mtu >= 1280 || a.addr.is_ipv4(), "{} has an MTU of {}", l.name, l.mtu);
        for (k, b) in all().skip(i + 1) {
            assert!(a.addr != b.addr || local(a) && l.id != k.id, "{} twice", a.addr);
            let lo = l.name == "lo" || k.name == "lo";
            let meet = a.network().contains(&b.network()) || b.network().contains(&a.network());
            assert!(lo || l.id == k.id || local(a) || local(b) || !meet, "{a:?} and {b:?}");
        }
    }
}

fn errno(result: Result<Vec<String>, Refusal>) -> &'static str {
    let refusal = result.unwrap_err();
    assert!(!refusal.text.contains('\n') && refusal.text.len() > 10, "{refusal}");
    refusal.errno.unwrap_or_default()
}

#[test]
fn routes_come_and_go() {
    use RouteOp::{Add, Append, Change, Delete, Replace};
    let mut w = World::new(GW);
    let file = w.routes();
    assert!(file.contains(&"default via 10.2.0.2 dev wan proto static".into()), "{file:?}");
    w.route(Add, "10.7.0.0/16 via 10.1.0.2").unwrap();
    assert!(w.routes().contains(&"10.7.0.0/16 via 10.1.0.2 dev lan".into()));
    assert_eq!(errno(w.route(Add, "10.7.0.0/16 via 10.1.0.4")), "EEXIST");
    assert_eq!(errno(w.route(Append, "10.7.0.0/16 via 10.1.0.4")), "EOPNOTSUPP");
    w.route(Replace, "10.7.0.0/16 via 10.1.0.4 proto bgp").unwrap();
    w.route(Change, "10.7.0.0/16 via 10.1.0.5").unwrap();
    assert!(w.routes().contains(&"10.7.0.0/16 via 10.1.0.5 dev lan".into()));
    assert_eq!(errno(w.route(Change, "10.6.0.0/16 via 10.1.0.5")), "ENOENT");
    assert_eq!(errno(w.route(Delete, "10.7.0.0/16 via 10.1.0.9")), "ESRCH");
    assert_eq!(errno(w.route(Delete, "10.7.0.0/16 metric 3")), "ESRCH");
    w.route(Delete, "10.7.0.0/16 dev lan").unwrap();
    assert_eq!(w.routes(), file);
    w.route(Delete, "10.8.0.0/16").unwrap();
    w.route(Delete, "default").unwrap();
    w.route(Delete, "10.9.0.0/16 src 10.1.0.1").unwrap();
    assert!(w.routes().is_empty() && w.setup.config.routes.is_empty());
    w.route(Add, "unreachable 10.5.0.0/16").unwrap();
    w.route(Add, "10.4.0.0/16 via inet6 fd01::9").unwrap();
    w.route(Add, "default nexthop via 10.1.0.2 dev lan weight 3 nexthop via 10.2.0.2").unwrap();
    w.route(Add, "default dev t0 src 10.1.0.1 metric 9").unwrap();
    assert_eq!(w.setup.config.routes.len(), 4);
    for n in 0..40 {
        w.route(Add, &format!("10.3.{n}.0/24 via 10.1.0.2 metric {n}")).unwrap();
        assert_eq!(w.setup.config.own_routes().count(), 5 + n);
    }
    assert!(w.setup.config.routes.is_empty(), "many are not listed");
}

#[test]
fn ways_of_ipv6_routes_are_put_together_and_taken_apart() {
    use RouteOp::{Add, Append, Delete};
    let mut w = World::new(GW);
    w.route(Add, "fd09::/32 via fd01::2").unwrap();
    assert_eq!(errno(w.route(Add, "fd09::/32 via fd01::3")), "EEXIST");
    w.route(Append, "fd09::/32 via fd01::3").unwrap();
    assert_eq!(errno(w.route(Append, "fd09::/32 via fd01::3")), "EEXIST");
    assert_eq!(errno(w.route(Append, "fd09::/32 via fd02::4 mtu 1400")), "EOPNOTSUPP", "a size of its own");
    let both = "fd09::/32 metric 1024 pref medium nexthop via fd01::2 dev lan weight 1 nexthop via fd01::3 dev lan weight 1";
    assert_eq!(w.routes().pop().unwrap(), both);
    w.route(Delete, "fd09::/32 via fd01::2").unwrap();
    assert_eq!(w.routes().pop().unwrap(), "fd09::/32 via fd01::3 dev lan metric 1024 pref medium");
    w.route(Delete, "fd09::/32").unwrap();
}

/// The ways of a route share what it says of sizes.
#[test]
fn a_way_put_to_others_has_their_metrics() {
    use RouteOp::{Add, Append};
    let mut w = World::new(GW);
    w.route(Add, "fd09::/32 via fd01::2 mtu 1400").unwrap();
    for other in ["mtu 1300", "mtu lock 1400", "advmss 1200", "mtu 1400 advmss 1200"] {
        let no = w.route(Append, &format!("fd09::/32 via fd01::3 {other}"));
        assert_eq!(errno(no), "EOPNOTSUPP", "{other}");
    }
    assert_eq!(errno(w.route(Append, "fd09::/32 via fd01::2 mtu 1300")), "EEXIST", "it is there already");
    w.route(Append, "fd09::/32 via fd01::3 mtu 1400").unwrap();
    w.route(Append, "fd09::/32 via fd01::4").unwrap();
    let routes = w.routes();
    let route = routes.iter().find(|r| r.starts_with("fd09::/32")).unwrap();
    assert!(route.contains("mtu 1400") && route.matches(" via ").count() == 3, "{route}");
}

#[test]
fn routes_that_lead_nowhere_are_refused_as_the_kernel_does() {
    let mut w = World::new(GW);
    for (route, wanted) in [
        ("10.7.0.0/16 via 10.77.0.2", "ENETUNREACH"),
        ("10.7.0.0/16 via 10.2.0.2 dev lan", "ENETUNREACH"),
        ("10.7.0.0/16 via 10.1.0.1", "ENETUNREACH"),
        ("10.7.0.0/16 via 10.1.0.255", "ENETUNREACH"),
        ("10.7.0.0/16 via 127.0.0.1", "ENETUNREACH"),
        ("fd07::/32 via fd77::2", "EHOSTUNREACH"),
        ("fd07::/32 via fe80::2", "EINVAL"),
        ("10.7.0.0/16", "ENODEV"),
        ("10.7.0.0/16 dev nope", "ENODEV"),
        ("10.7.0.1/16 dev lan", "EINVAL"),
        ("10.7.0.0/16 dev lo", "EINVAL"),
        ("10.7.0.0/16 dev lan src 10.99.0.1", "EINVAL"),
        ("10.7.0.0/16 dev lan window 1400", "EINVAL"),
        ("10.7.0.0/16 dev lan table 7", "EINVAL"),
        ("fe80::/64 dev lan", "EINVAL"),
        ("local 10.7.0.1 dev lan", "EINVAL"),
        ("", "EINVAL"),
        ("10.1.0.0/24 dev lan", "EEXIST"),
    ] {
        assert_eq!(errno(w.route(RouteOp::Add, route)), wanted, "{route}");
    }
    assert_eq!(errno(w.route(RouteOp::Delete, "10.1.0.0/24")), "EOPNOTSUPP");
    assert_eq!(errno(w.route(RouteOp::Replace, "10.1.0.0/24 dev wan")), "EOPNOTSUPP");
}

#[test]
fn what_others_stand_on_stays() {
    let mut w = World::new(GW);
    w.route(RouteOp::Add, "10.20.0.0/16 dev t0").unwrap();
    w.route(RouteOp::Add, "10.21.0.0/16 via 10.20.0.1 dev t0").unwrap();
    let refused = w.route(RouteOp::Delete, "10.20.0.0/16").unwrap_err();
    assert_eq!(refused.errno, Some("EBUSY"));
    assert!(refused.text.contains("10.21.0.0/16"), "{refused}");
    w.route(RouteOp::Add, "blackhole 10.20.0.1").unwrap();
    w.route(RouteOp::Delete, "10.21.0.0/16").unwrap();
    w.route(RouteOp::Delete, "10.20.0.0/16").unwrap();
}

#[test]
fn a_flush_takes_what_fits() {
    let mut w = World::new(GW);
    let flush = |f| Change::Route(RouteChange::Flush(f));
    let lan = RouteFilter { family: Some(Family::Inet), dev: Some("lan".into()), ..RouteFilter::default() };
    let notes = w.change(&flush(lan)).unwrap();
    assert!(notes[0].contains("follow from addresses"), "{notes:?}");
    assert_eq!(w.routes().len(), 2, "{:?}", w.routes());
    w.change(&flush(RouteFilter { family: Some(Family::Inet), ..RouteFilter::default() })).unwrap();
    assert!(w.routes().is_empty());
    let nothing = RouteFilter { protocol: Some("bgp".into()), ..RouteFilter::default() };
    assert_eq!(w.change(&flush(nothing)), Ok(vec![]));
}

#[test]
fn routes_of_files_are_taken_in_when_one_of_them_changes() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("r.txt"), "10.30.0.0/16 via 10.1.0.2\n10.31.0.0/16 via 10.1.0.2\n")
        .unwrap();
    let text = GW.replace("name = \"gw\"", "name = \"gw\"\nroute_files = [\"r.txt\"]");
    let config = parse(&text, &dir.path().join("gw.toml")).unwrap();
    let neighbors = NeighborTable::new(crate::neighbor::Config::default(), 1);
    let mut w = World { setup: Setup::build(config, None).unwrap(), neighbors };
    w.route(RouteOp::Add, "10.32.0.0/16 via 10.1.0.2").unwrap();
    w.route(RouteOp::Delete, "10.8.0.0/16").unwrap();
    assert_eq!(w.setup.config.route_files.len(), 1, "what does not touch them leaves them");
    let before = w.routes();
    w.route(RouteOp::Replace, "10.31.0.0/16 via 10.2.0.2").unwrap();
    assert!(w.setup.config.route_files.is_empty());
    assert_eq!(w.routes().len(), before.len());
    assert_eq!(w.setup.config.own_routes().count(), before.len());
    // From here on the table says what there is, whatever happens.
    w.route(RouteOp::Delete, "10.31.0.0/16").unwrap();
    w.route(RouteOp::Add, "10.33.0.0/16 via 10.2.0.2").unwrap();
    assert_eq!(w.setup.config.own_routes().count(), before.len());
    assert!(w.setup.config.routes.is_empty());
}

#[test]
fn addresses_come_and_go() {
    let mut w = World::new(GW);
    w.addr("lan", "10.5.0.1/16").unwrap();
    assert_eq!(w.addresses("lan"), ["10.1.0.1/24", "fd01::1/64", "10.5.0.1/16", "fe80::ff:fe00:101/64"]);
    w.addr("lo", "192.0.2.1/32").unwrap();
    for (dev, addr, wanted) in [
        ("lan", "10.5.0.1/16", "EEXIST"),
        ("lan", "10.5.0.1/24", "EEXIST"),
        ("wan", "10.5.0.1/32", "EEXIST"),
        ("wan", "10.5.3.1/24", "EINVAL"),
        ("wan", "10.0.0.1/8", "EINVAL"),
        ("nope", "10.6.0.1/16", "ENODEV"),
        ("lan", "224.0.0.1/32", "EINVAL"),
        ("lan", "10.6.0.0/16", "EINVAL"),
        ("lan", "10.1.0.2/24", "EINVAL"),
        ("t0", "10.2.0.2/32", "EINVAL"),
        ("lo", "192.0.2.9/24", "EINVAL"),
        ("lo", "127.0.0.1/8", "EEXIST"),
    ] {
        assert_eq!(errno(w.addr(dev, addr)), wanted, "{dev} {addr}");
    }
    for (dev, addr, wanted) in [
        ("lan", "10.5.0.2/16", "EADDRNOTAVAIL"),
        ("lan", "10.5.0.1/24", "EADDRNOTAVAIL"),
        ("lo", "127.0.0.1/8", "EOPNOTSUPP"),
        ("nope", "10.5.0.1", "ENODEV"),
    ] {
        assert_eq!(errno(w.no_addr(dev, addr)), wanted, "{dev} {addr}");
    }
    w.no_addr("lan", "10.5.0.1").unwrap();
    w.no_addr("lo", "192.0.2.1/32").unwrap();
    assert_eq!(w.addresses("lan"), ["10.1.0.1/24", "fd01::1/64", "fe80::ff:fe00:101/64"]);
}

#[test]
fn routes_go_with_the_last_address_of_their_link() {
    let mut w = World::new(GW);
    assert_eq!(w.no_addr("wan", "10.2.0.7/24"), Ok(vec![]), "the other one is there yet");
    let notes = w.no_addr("wan", "10.2.0.1/24").unwrap();
    assert_eq!(
        notes,
        [
            "the route default via 10.2.0.2 dev wan proto static went with it",
            "the route 10.8.0.0/16 proto static nexthop via 10.1.0.3 dev lan weight 1 nexthop via 10.2.0.3 dev wan weight 2 \
             is 10.8.0.0/16 via 10.1.0.3 dev lan proto static now",
        ]
    );
    let notes = w.no_addr("lan", "10.1.0.1/24").unwrap();
    assert_eq!(notes.len(), 2, "{notes:?}");
    assert!(w.routes().is_empty(), "{:?}", w.routes());
}

#[test]
fn all_addresses_may_be_flushed() {
    let mut w = World::new(GW);
    let f = LinkFilter { dev: Some("lan".into()), ..LinkFilter::default() };
    w.change(&Change::Addr(AddrChange::Flush(f))).unwrap();
    assert!(w.addresses("lan").is_empty());
    w.change(&Change::Addr(AddrChange::Flush(LinkFilter::default()))).unwrap();
    assert_eq!(w.addresses("lo"), ["127.0.0.1/8", "::1/128"]);
}

#[test]
fn link_local_addresses_follow_the_mac_and_the_mtu() {
    let mut w = World::new(GW);
    let mac = |m: &str| LinkSettings { mac: m.parse().ok(), ..LinkSettings::default() };
    let mtu = |n| LinkSettings { mtu: Some(n), ..LinkSettings::default() };
    w.set("lan", mac("02:00:00:00:09:09")).unwrap();
    assert_eq!(w.addresses("lan"), ["10.1.0.1/24", "fd01::1/64", "fe80::ff:fe00:909/64"]);
    w.addr("lan", "fe80::1/64").unwrap();
    w.no_addr("lan", "fe80::ff:fe00:909/64").unwrap();
    w.set("lan", mac("02:00:00:00:01:01")).unwrap();
    assert_eq!(w.addresses("lan"), ["10.1.0.1/24", "fd01::1/64", "fe80::1/64"], "a listed one stays");
    w.no_addr("lan", "fe80::1/64").unwrap();
    assert_eq!(w.addresses("lan"), ["10.1.0.1/24", "fd01::1/64"], "none comes by itself");
    assert_eq!(errno(w.set("lan", mtu(1000))), "EINVAL");
    w.no_addr("lan", "fd01::1/64").unwrap();
    w.set("lan", mtu(1000)).unwrap();
    assert_eq!(w.addresses("lan"), ["10.1.0.1/24"]);
    assert_eq!(errno(w.addr("lan", "fd01::1/64")), "EINVAL");
    w.set("lan", mtu(1280)).unwrap();
    assert_eq!(w.addresses("lan"), ["10.1.0.1/24", "fe80::ff:fe00:101/64"]);
    assert_eq!(errno(w.set("lan", mtu(67))), "EINVAL");
    assert_eq!(errno(w.set("t0", mac("02:00:00:00:01:01"))), "EOPNOTSUPP");
    assert_eq!(errno(w.set("lan", mac("03:00:00:00:01:01"))), "EADDRNOTAVAIL");
    assert_eq!(errno(w.set("nope", mtu(1500))), "ENODEV");
    assert_eq!(errno(w.set("lo", mtu(1500))), "EOPNOTSUPP");
}

#[test]
fn links_come_and_go() {
    let mut w = World::new(GW);
    let add = |name: &str, kind: &str, settings| {
        Change::Link(LinkChange::Add { name: name.into(), kind: kind.into(), settings })
    };
    let plain = LinkSettings::default;
    w.change(&add("x1", "tap", LinkSettings { up: Some(false), mtu: Some(9000), ..plain() })).unwrap();
    let x1 = w.setup.links.named("x1").unwrap();
    assert!(!x1.up && x1.mtu == 9000 && x1.addresses.len() == 1);
    assert_eq!(errno(w.change(&add("x1", "tap", plain()))), "EEXIST");
    assert_eq!(errno(w.change(&add("lo", "tap", plain()))), "EEXIST");
    assert_eq!(errno(w.change(&add("x2", "veth", plain()))), "EOPNOTSUPP");
    assert_eq!(errno(w.change(&add("x/2", "tun", plain()))), "EINVAL");
    let taken = LinkSettings { device: Some("x1".into()), ..plain() };
    assert_eq!(errno(w.change(&add("x2", "packet", taken))), "EBUSY");
    w.addr("x1", "10.6.0.1/24").unwrap();
    w.route(RouteOp::Add, "10.60.0.0/16 via 10.6.0.2").unwrap();
    let del = |name: &str| Change::Link(LinkChange::Delete { name: name.into() });
    let notes = w.change(&del("x1")).unwrap();
    assert_eq!(notes, ["the route 10.60.0.0/16 via 10.6.0.2 dev x1 went with it"]);
    let notes = w.change(&del("lan")).unwrap();
    assert_eq!(notes.len(), 2, "{notes:?}");
    assert!(w.setup.config.neighbors.is_empty());
    assert_eq!(errno(w.change(&del("lan"))), "ENODEV");
    assert_eq!(errno(w.change(&del("lo"))), "EOPNOTSUPP");
    w.change(&add("lan", "tap", plain())).unwrap();
    assert_eq!(w.setup.links.named("lan").unwrap().id.0, 1, "at its old place");
}

#[test]
fn neighbors_are_the_configurations_or_the_living_tables() {
    let mut w = World::new(GW);
    let set = |ip: &str, mac: Option<&str>, state: &str, create, replace| {
        Change::Neigh(NeighChange::Set {
            ip: ip.parse().unwrap(),
            dev: "lan".into(),
            mac: mac.map(str::to_owned),
            state: state.into(),
            create,
            replace,
        })
    };
    let mac = Some("02:00:00:00:01:09");
    let del = |ip: &str| Change::Neigh(NeighChange::Delete { ip: ip.parse().unwrap(), dev: "lan".into() });
    let state = |w: &World, ip: &str| {
        let lan = w.setup.links.named("lan").unwrap().id;
        w.neighbors.get(lan, ip.parse().unwrap(), Instant::from_secs(1)).map(|n| n.state)
    };
    assert_eq!(errno(w.change(&set("10.1.0.2", mac, "permanent", true, false))), "EEXIST");
    assert_eq!(errno(w.change(&set("10.1.0.9", mac, "permanent", false, true))), "ENOENT");
    assert_eq!(errno(w.change(&set("10.1.0.1", mac, "permanent", true, true))), "EINVAL");
    assert_eq!(errno(w.change(&set("10.1.0.9", None, "permanent", true, true))), "EINVAL");
    // Whether it is there is asked before what it has or could have.
    assert_eq!(errno(w.change(&set("10.1.0.9", None, "stale", false, true))), "ENOENT");
    assert_eq!(errno(w.change(&set("10.1.0.9", None, "failed", false, true))), "ENOENT");
    assert_eq!(errno(w.change(&set("10.1.0.9", Some("01:00:00:00:00:01"), "stale", false, true))), "ENOENT");
    assert_eq!(errno(w.change(&set("10.1.0.9", Some("01:00:00:00:00:01"), "stale", true, true))), "EINVAL");
    assert_eq!(errno(w.change(&set("10.1.0.9", Some("zz"), "stale", false, true))), "EINVAL");
    assert_eq!(errno(w.change(&set("10.1.0.9", mac, "noarp", true, true))), "EINVAL");
    assert_eq!(errno(w.change(&set("10.1.0.9", Some("zz"), "stale", true, true))), "EINVAL");
    w.change(&set("10.1.0.9", mac, "permanent", true, false)).unwrap();
    assert_eq!((w.setup.config.neighbors.len(), state(&w, "10.1.0.9")), (2, Some(Nud::Permanent)));
    w.change(&set("10.1.0.9", mac, "stale", false, true)).unwrap();
    assert_eq!((w.setup.config.neighbors.len(), state(&w, "10.1.0.9")), (1, Some(Nud::Stale)));
    w.change(&set("10.1.0.10", mac, "reachable", true, false)).unwrap();
    assert_eq!(errno(w.change(&set("10.1.0.10", mac, "permanent", true, false))), "EEXIST");
    w.change(&del("10.1.0.9")).unwrap();
    assert_eq!(errno(w.change(&del("10.1.0.9"))), "ENOENT");
    w.change(&Change::Neigh(NeighChange::Flush(NeighborFilter::default()))).unwrap();
    assert_eq!((w.setup.config.neighbors.len(), state(&w, "10.1.0.10")), (1, None));
    let all = NeighborFilter { states: vec!["PERMANENT".into()], ..NeighborFilter::default() };
    w.change(&Change::Neigh(NeighChange::Flush(all))).unwrap();
    assert!(w.setup.config.neighbors.is_empty());
}

#[test]
fn several_changes_are_one_transaction() {
    let route = |action, route: &str| Change::Route(RouteChange::One { action, route: route.into() });
    let add = |text: &str| route(RouteOp::Add, text);
    let address = |dev: &str, addr: &str| {
        let addr = addr.parse().unwrap();
        Change::Addr(AddrChange::Add { dev: dev.into(), addr, prefix_len: 24, replace: false })
    };
    let all = vec![
        add("10.20.0.0/16 dev t0"),
        add("10.21.0.0/16 via 10.20.0.1 dev t0"),
        add("10.22.0.0/16 via 10.77.0.1"),
        route(RouteOp::Delete, "10.20.0.0/16"),
        address("wan", "10.1.0.9"),
        address("lan", "10.1.0.9"),
        add("10.23.0.0/16 via 10.1.0.2"),
    ];
    let run = |force| {
        let mut w = World::new(GW);
        let now = Instant::from_secs(1);
        let several = Change::Several { changes: all.clone(), force };
        let changed = w.setup.changed(&several, &w.neighbors, now).unwrap();
        holds(&changed.setup, &w.setup);
        w.setup = changed.setup;
        (w, changed.refused.into_iter().map(|(i, no)| (i, no.errno.unwrap())).collect::<Vec<_>>())
    };
    let (w, refused) = run(true);
    assert_eq!(refused, [(2, "ENETUNREACH"), (3, "EBUSY"), (4, "EINVAL")]);
    assert!(w.routes().contains(&"10.23.0.0/16 via 10.1.0.2 dev lan".into()));
    assert!(w.addresses("lan").contains(&"10.1.0.9/24".into()));
    let (w, refused) = run(false);
    assert_eq!(refused, [(2, "ENETUNREACH")]);
    assert!(w.routes().contains(&"10.21.0.0/16 via 10.20.0.1 dev t0".into()));
    assert!(!w.routes().iter().any(|r| r.starts_with("10.23.")));
}
