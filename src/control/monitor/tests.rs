use std::path::Path;
use std::sync::Arc;

use super::*;
use crate::base::Mac;
use crate::config::{self, AddrChange, Change as Changing, LinkChange, RouteChange, RouteOp};
use crate::control::protocol::Family;
use crate::neighbor::{self, NeighborTable, Nud};
use crate::path::{Hooks, Listeners, LiveConfig, Snapshot};

const GW: &str = "[router]\nname = \"gw\"\n[link.lan]\nkind = \"tap\"\nmac = \"02:00:00:00:01:01\"\n\
                  addresses = [\"10.1.0.1/24\"]\n";

struct World {
    setup: Setup,
    router: Router,
    hub: Hub,
    now: Instant,
}

impl World {
    fn new() -> Self {
        let config = config::parse(GW, Path::new("/nowhere/gw.toml")).unwrap();
        let (setup, fib) = Setup::with_table(config, None).unwrap();
        let snapshot = Snapshot {
            links: setup.links.clone(),
            fib: Arc::new(fib),
            listeners: Listeners::default(),
            icmp_rate: 1000,
            hooks: Hooks::new(),
        };
        let router = Router::new(snapshot, LiveConfig::default(), 0);
        World { setup, router, hub: Hub::default(), now: Instant::from_secs(1) }
    }

    fn watch(&self, objects: &[Watched]) -> Watch {
        let asked = Monitor { objects: objects.to_vec(), ..Monitor::default() };
        Watch::new(asked, &self.hub, self.router.clone(), self.now)
    }

    fn change(&mut self, change: Changing) {
        let neighbors = NeighborTable::new(neighbor::Config::default(), 1);
        let changed = self.setup.changed(&change, &neighbors, self.now).unwrap();
        self.hub.changed(&self.setup, &changed.setup, &|_| true, self.now);
        self.setup = changed.setup;
    }

    fn route(&mut self, action: RouteOp, route: &str) {
        self.change(Changing::Route(RouteChange::One { action, route: route.into() }));
    }

    fn addr(&mut self, addr: &str) {
        let (dev, addr) = ("lan".into(), addr.parse().unwrap());
        self.change(Changing::Addr(AddrChange::Add { dev, addr, prefix_len: 24, replace: false }));
    }
}

/// What is told: `-` for what is gone, then what it is.
fn told(watch: &mut Watch, now: Instant) -> Vec<String> {
    let Fed::Part(value) = watch.poll(now) else { return Vec::new() };
    let events: Vec<Event> = serde_json::from_value(value).unwrap();
    let text = |e: Event| {
        let what = match e.what {
            Happening::Link(l) => format!("link {} {}", l.ifname, l.flags.contains(&"UP".to_owned())),
            Happening::Address(l) => format!("addr {}", l.addr_info.unwrap()[0].local),
            Happening::Route(r) => format!("route {} {}", r.dst, r.gateway.unwrap_or_default()),
            Happening::Neigh(n) => format!("neigh {} {}", n.dst, n.state[0]),
            Happening::Lost { events } => format!("lost {events}"),
        };
        format!("{}{what}", if e.deleted { "-" } else { "" })
    };
    events.into_iter().map(text).collect()
}

#[test]
fn what_was_found_out_about_an_address_is_told() {
    let w = World::new();
    let lan = w.setup.links.named("lan").unwrap();
    let (id, ll) = (lan.id, lan.link_local().unwrap());
    let dad = &w.router.live().dad;
    let (mut before, mut routes) = (w.watch(&[Watched::Address]), w.watch(&[Watched::Route]));
    let mut sent = Vec::new();
    dad.start(id, ll, w.now, &mut sent);
    let mut later = w.watch(&[Watched::Address]);
    let quiet = Instant::from_millis(1_500);
    assert_eq!((told(&mut before, quiet), told(&mut later, quiet)), (vec![], vec![]));
    let now = Instant::from_secs(2);
    dad.timeout(now, &mut sent);
    let valid = vec![format!("addr {ll}")];
    assert_eq!((told(&mut before, now), told(&mut later, now)), (valid.clone(), valid));
    // Once, and not to those who watch something else.
    assert_eq!((told(&mut before, now), told(&mut routes, now)), (vec![], vec![]));
    // Another station's, after the link was down.
    dad.link_down(id);
    assert_eq!(told(&mut before, now), [""; 0]);
    dad.link_up(id, now, &mut sent);
    dad.advertised(id, ll, &mut sent);
    let Fed::Part(value) = before.poll(now) else { panic!() };
    let events: Vec<Event> = serde_json::from_value(value).unwrap();
    let [Event { what: Happening::Address(l), deleted: false, .. }] = &events[..] else {
        panic!("{events:?}")
    };
    let a = &l.addr_info.as_ref().unwrap()[0];
    assert!(a.local == ll.to_string() && a.dadfailed && a.tentative, "{a:?}");
}

#[test]
fn what_changes_is_told_to_those_who_watch_it() {
    let mut w = World::new();
    w.route(RouteOp::Add, "10.9.0.0/16 via 10.1.0.2");
    let (mut all, mut routes) = (w.watch(&[]), w.watch(&[Watched::Route]));
    w.route(RouteOp::Replace, "10.9.0.0/16 via 10.1.0.3");
    w.addr("10.2.0.1");
    let lan = w.setup.links.named("lan").unwrap().id;
    let table = &w.router.live().neighbors;
    let (ip, mac) = ("10.1.0.9".parse().unwrap(), Some(Mac([2, 0, 0, 0, 0, 9])));
    let mut out = Vec::new();
    assert!(table.set(lan, ip, mac, Nud::Stale, w.now, &mut out));
    assert!(table.set(lan, ip, mac, Nud::Permanent, w.now, &mut out));
    assert!(table.set(lan, ip, mac, Nud::Reachable, w.now, &mut out));
    assert!(table.remove(lan, ip, w.now, &mut out));
    let made = ["route 10.2.0.0/24 ", "route 10.2.0.1 ", "route 10.2.0.255 "];
    let neighbors = [
        "neigh 10.1.0.9 STALE",
        "neigh 10.1.0.9 PERMANENT",
        "neigh 10.1.0.9 REACHABLE",
        "-neigh 10.1.0.9 REACHABLE",
    ];
    let said = told(&mut all, w.now);
    let of = |kind: &str| said.iter().filter(|s| s.contains(kind)).map(String::as_str).collect::<Vec<_>>();
    assert_eq!(of("route"), [&["route 10.9.0.0/16 10.1.0.3"][..], &made].concat());
    assert_eq!((of("addr"), of("neigh")), (vec!["addr 10.2.0.1"], neighbors.to_vec()));
    assert_eq!(told(&mut routes, w.now).len(), 4);

    w.change(Changing::Link(LinkChange::Delete { name: "lan".into() }));
    let said = told(&mut all, w.now);
    assert_eq!(said.last().unwrap(), "-link lan true");
    assert!(said.contains(&"-addr 10.1.0.1".into()) && said.contains(&"-route 10.9.0.0/16 10.1.0.3".into()));
}

#[test]
fn watching_costs_nothing_when_nobody_does() {
    let mut w = World::new();
    w.addr("10.2.0.1");
    let watch = w.watch(&[]);
    assert!(w.hub.0.is_followed());
    drop(watch);
    assert!(!w.hub.0.is_followed());
    let lan = w.setup.links.named("lan").unwrap().clone();
    let mut late = w.watch(&[]);
    assert!(told(&mut late, w.now).is_empty());
    w.hub.link(&lan, false, w.now);
    assert_eq!(told(&mut late, w.now), ["link lan true"]);
    w.hub.link(&Link { up: false, ..lan }, false, w.now);
    assert!(told(&mut late, w.now).is_empty(), "that has been told as a change");
}

#[test]
fn who_is_too_slow_is_told_how_much_is_lost() {
    let w = World::new();
    let lan = w.setup.links.named("lan").unwrap();
    let mut watch = w.watch(&[Watched::Link]);
    for _ in 0..KEPT + 7 {
        w.hub.link(lan, true, w.now);
    }
    let first = told(&mut watch, w.now);
    assert_eq!((first[0].as_str(), first.len()), ("lost 7", PART + 1));
    let mut rest = 0;
    while let part @ [_, ..] = &told(&mut watch, w.now)[..] {
        rest += part.len();
    }
    assert_eq!(rest, KEPT - PART);
}

#[test]
fn a_quiet_watch_says_now_and_then_that_it_is_there() {
    let w = World::new();
    let mut watch = w.watch(&[]);
    assert!(matches!(watch.poll(w.now), Fed::Nothing));
    let later = w.now + QUIET;
    assert!(matches!(watch.poll(later), Fed::Part(part) if part.as_array().is_some_and(Vec::is_empty)));
    assert!(matches!(watch.poll(later), Fed::Nothing));
}

#[test]
fn only_what_is_chosen_is_told() {
    let mut w = World::new();
    let asked = Monitor { family: Some(Family::Inet6), ..Monitor::default() };
    let mut v6 = Watch::new(asked, &w.hub, w.router.clone(), w.now);
    let asked = Monitor { dev: Some("wan".into()), ..Monitor::default() };
    let mut wan = Watch::new(asked, &w.hub, w.router.clone(), w.now);
    w.route(RouteOp::Add, "10.9.0.0/16 via 10.1.0.2");
    w.route(RouteOp::Add, "fd09::/32 via fe80::2 dev lan");
    assert_eq!(told(&mut v6, w.now), ["route fd09::/32 fe80::2"]);
    assert!(told(&mut wan, w.now).is_empty());
}
