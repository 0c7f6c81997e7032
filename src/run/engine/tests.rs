//! Without devices: routes that follow their links, and transactions of what needs none.

mod reloads;

use std::net::IpAddr;

use super::*;
use crate::control::protocol::Reload;
use crate::fib::Action;
use crate::packet::Steering;
use crate::run::sample;

const TWO_WAYS: &str = r#"
    [link.near]
    kind = "tun"
    addresses = ["10.1.0.1/24"]
    [link.far]
    kind = "tun"
    addresses = ["10.2.0.1/24"]
    [[route]]
    to = "default"
    via = "10.1.0.2"
    metric = 1
    [[route]]
    to = "default"
    via = "10.2.0.2"
    metric = 2
    [[route]]
    to = "10.9.0.0/16"
    via = "10.1.0.2"
"#;

fn engine(text: &str) -> (Router, Engine) {
    let (router, setup) = sample::router(text);
    let parts = Parts {
        router: router.clone(),
        services: Arc::new(ArcSwap::from_pointee(services(&setup.config))),
        setup: Arc::new(ArcSwap::from_pointee(setup)),
        desk: Desk::new(&[]).0,
        devices: Devices::new(Steering::default()),
        transactions: Arc::default(),
        gone: Gone::default(),
        bell: Bell::default(),
        stop: Arc::default(),
        clock: Clock::start(),
        hub: Hub::default(),
    };
    (router, Engine::new(parts))
}

/// So many that the table is changed rather than made anew.
#[test]
fn a_full_table_is_changed_and_put_back() {
    let dir = tempfile::tempdir().unwrap();
    let routes = dir.path().join("full.txt");
    let lines = (0..2_000).map(|n| format!("20.{}.{}.0/24 via 10.2.0.2\n", n / 250, n % 250));
    std::fs::write(&routes, lines.collect::<String>()).unwrap();
    let text = format!("[router]\nroute_files = [\"{}\"]\n{TWO_WAYS}", routes.display());
    let (router, mut engine) = engine(&text);
    let mut worker = router.worker();
    for name in ["near", "far"] {
        worker.handle_link(router.snapshot().links.named(name).unwrap().id, true, Instant::ZERO);
    }
    let len = |dst: [u8; 4]| router.snapshot().fib.lookup(IpAddr::from(dst)).map(|e| e.prefix_len);
    let change = |engine: &mut Engine, action, route: &str| {
        let change = config::RouteChange::One { action, route: route.into() };
        let before = engine.setup.load_full();
        engine.change(&config::Change::Route(change)).unwrap();
        let apart = engine.setup.load().rib.apart_from(&before.rib);
        assert!(apart < 1_200, "{apart} routes are copied for one");
    };
    change(&mut engine, config::RouteOp::Add, "20.1.7.128/25 via 10.1.0.2");
    assert_eq!((len([20, 1, 7, 129]), len([20, 1, 7, 1])), (Some(25), Some(24)));
    change(&mut engine, config::RouteOp::Delete, "20.1.8.0/24");
    assert_eq!((len([20, 1, 8, 1]), len([20, 1, 9, 1])), (Some(0), Some(24)));
    change(&mut engine, config::RouteOp::Replace, "default via 10.2.0.9 metric 1");
    assert_eq!((len([20, 1, 8, 1]), len([20, 1, 9, 1])), (Some(0), Some(24)));
    let far = router.snapshot().links.named("far").unwrap().id;
    worker.handle_link(far, false, Instant::ZERO);
    engine.follow();
    assert_eq!((len([20, 1, 7, 129]), len([20, 1, 7, 1])), (Some(25), None));
    worker.handle_link(far, true, Instant::ZERO);
    engine.follow();
    engine.rollback(3).unwrap();
    assert_eq!((len([20, 1, 8, 1]), len([20, 1, 7, 129])), (Some(24), Some(24)));
}

#[test]
fn a_link_that_goes_down_takes_its_routes_and_gives_them_back() {
    let (router, mut engine) = engine(TWO_WAYS);
    let named = |name| router.snapshot().links.named(name).unwrap().id;
    let (near, far) = (named("near"), named("far"));
    let mut worker = router.worker();
    let mut link = |link, up| assert!(worker.handle_link(link, up, Instant::ZERO));
    let out = |dst: [u8; 4]| match &router.snapshot().fib.lookup(IpAddr::from(dst))?.action {
        Action::Forward(hops) => hops.pick(0, |_| true).map(|h| h.link),
        _ => None,
    };
    link(near, true);
    link(far, true);
    assert!(!engine.follow(), "all is up, as the table says");

    link(near, false);
    assert!(engine.follow() && !engine.follow());
    for dst in [[192, 0, 2, 1], [10, 9, 0, 1], [10, 1, 0, 2]] {
        assert_eq!(out(dst), Some(far), "{dst:?}");
    }
    let own = router.snapshot().fib.lookup(IpAddr::from([10, 1, 0, 1])).map(|e| e.action.clone());
    assert_eq!(own, Some(Action::Local(near)), "an address stays the router's own");

    link(far, false);
    assert!(engine.follow());
    assert_eq!(out([192, 0, 2, 1]), None);

    link(near, true);
    link(far, true);
    assert!(engine.follow());
    for dst in [[192, 0, 2, 1], [10, 9, 0, 1], [10, 1, 0, 2]] {
        assert_eq!(out(dst), Some(near), "{dst:?}");
    }
    assert_eq!(out([10, 2, 0, 2]), Some(far));
}

#[test]
fn what_is_refused_whole_is_no_transaction() {
    use crate::config::{AddrChange, Change, NeighChange, RouteChange, RouteOp};
    let (_, mut engine) = engine(TWO_WAYS);
    let route = |action, route: &str| Change::Route(RouteChange::One { action, route: route.into() });
    let addr = |addr: &str, prefix_len| {
        let (dev, addr) = ("near".to_owned(), addr.parse().unwrap());
        Change::Addr(AddrChange::Add { dev, addr, prefix_len, replace: false })
    };
    let gone = NeighChange::Delete { ip: "10.1.0.9".parse().unwrap(), dev: "near".into() };
    let all = [
        route(RouteOp::Add, "10.7.0.0/16 via 10.77.0.1"),
        route(RouteOp::Add, "10.9.0.0/16 via 10.1.0.2"),
        route(RouteOp::Delete, "10.8.0.0/16"),
        route(RouteOp::Add, "nonsense"),
        addr("10.1.0.1", 24),
        addr("10.2.0.9", 24),
        addr("10.5.0.0", 16),
        Change::Neigh(gone),
        Change::Several { changes: Vec::new(), force: true },
    ];
    let before = engine.setup.load_full();
    for force in [false, true] {
        for changes in all.iter().map(|c| vec![c.clone()]).chain([all.to_vec(), Vec::new()]) {
            let several = Change::Several { changes: changes.clone(), force };
            let applied = engine.change(&several).unwrap();
            let refused = if force { changes.len() } else { changes.len().min(1) };
            assert_eq!(
                (applied.transaction, applied.changed, applied.refused.len()),
                (0, false, refused),
                "{changes:?}"
            );
        }
    }
    assert!(Arc::ptr_eq(&before, &engine.setup.load_full()));
    assert_eq!(engine.transactions.load(Relaxed), 0);
    let applied = engine.change(&addr("10.5.0.1", 16)).unwrap();
    assert_eq!((applied.transaction, applied.changed), (1, true));
}

#[test]
fn what_a_table_was_not_made_for_takes_a_restart_and_all_is_said_at_once() {
    let (router, mut engine) = engine(TWO_WAYS);
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("gw.toml");
    let mut reload = |text: &str| {
        std::fs::write(&file, text).unwrap();
        engine.reload(&Reload { file: Some(file.clone()), confirm: None })
    };
    let with =
        |router: &str, conntrack: &str| format!("[router]\n{router}\n[conntrack]\n{conntrack}\n{TWO_WAYS}");
    reload(&with("", "max = 128\ntcp_loose = false\n[conntrack.timeouts]\nudp = 7")).unwrap();
    let now = || router.live().conntrack.settings().get();
    assert_eq!((now().max, now().tcp_loose), (128, false));
    assert_eq!(now().timeouts.get(crate::conntrack::Timeout::Udp), Duration::from_secs(7));
    reload(&with("", "profile = \"rfc\"\nmax = 1000000")).unwrap();
    assert_eq!((now().max, now().tcp_loose), (1_000_000, true));
    assert_eq!(now().timeouts, crate::conntrack::Timeouts::rfc());
    let no = reload(&with("workers = 3\ncontrol = \"/tmp/x.sock\"", "max = 2000000000")).unwrap_err();
    for part in ["[router] workers", "[router] control", "[conntrack] max beyond"] {
        assert!(no.text.contains(part), "{no}");
    }
    assert_eq!(now().max, 1_000_000);
    let no = engine.reload(&Reload { file: Some("gw.toml".into()), confirm: None }).unwrap_err();
    assert_eq!(no.errno, Some("EINVAL"));
}
