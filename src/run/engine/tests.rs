//! Without devices: routes that follow their links, and transactions of what needs none.

use std::net::IpAddr;

use super::*;
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
        desk: Desk::new(&[], Arc::default()).0,
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
