//! Echo requests through the router and to it.

use sekisho::lab::isolate;
use sekisho::lab::probes::Ping;

use crate::gateway::{FAR_SIDE, Gateway, LAN_MAC, ROUTER, SERVER, drops, ip, number};

#[test]
fn through_the_router_and_to_it_any_size() {
    isolate::test(|| {
        let gw = Gateway::usual();
        for to in [SERVER, ROUTER, FAR_SIDE].concat() {
            for size in [0, 1, 56, 1400, 8000, 60_000] {
                let ping = Ping::new(ip(to)).count(3).size(size);
                let report = gw.client().run(|| ping.run()).unwrap();
                assert!(report.complete(), "{to}, {size} bytes: {report:?}");
            }
        }
        gw.stop();
    });
}

#[test]
fn from_the_far_side() {
    isolate::test(|| {
        let gw = Gateway::usual();
        for to in ["10.1.0.2", "fd01::2", FAR_SIDE[0], FAR_SIDE[1], ROUTER[0], ROUTER[1]] {
            let report = gw.server().run(|| Ping::new(ip(to)).count(3).size(2000).run()).unwrap();
            assert!(report.complete(), "{to}: {report:?}");
        }
        gw.stop();
    });
}

#[test]
fn to_the_link_local_address() {
    isolate::test(|| {
        let gw = Gateway::usual();
        let to = LAN_MAC.link_local().into();
        for size in [56, 8000] {
            let ping = Ping::new(to).device("eth0").count(3).size(size);
            let report = gw.client().run(|| ping.run()).unwrap();
            assert!(report.complete(), "{size} bytes: {report:?}");
        }
        gw.stop();
    });
}

#[test]
fn where_nobody_is() {
    isolate::test(|| {
        let gw = Gateway::usual();
        // No route: at once, from the near side.
        for (to, router, kind) in [("192.0.2.1", ROUTER[0], 3), ("2001:db8::1", ROUTER[1], 1)] {
            let report = gw.client().run(|| Ping::new(ip(to)).run()).unwrap();
            let error = report.errors[0];
            assert_eq!((error.from, error.kind, error.code), (Some(ip(router)), kind, 0), "{to}");
        }
        // A neighbor that is not there: after three solicitations.
        let absent = |to: &str| {
            let ping = Ping::new(ip(to)).wait(std::time::Duration::from_secs(20));
            gw.client().run(|| ping.run()).unwrap().errors[0]
        };
        let (four, six) = std::thread::scope(|s| {
            let six = s.spawn(|| absent("fd02::77"));
            (absent("10.2.0.77"), six.join().unwrap())
        });
        assert_eq!((four.from, four.kind, four.code), (Some(ip(ROUTER[0])), 3, 1));
        assert_eq!((six.from, six.kind, six.code), (Some(ip(ROUTER[1])), 1, 3));
        let stats = gw.balanced();
        assert_eq!(drops(&stats, "no_route"), 2);
        assert_eq!(drops(&stats, "neighbor_failed"), 2);
        gw.stop();
    });
}

#[test]
fn the_ttl_runs_out_at_the_router() {
    isolate::test(|| {
        let gw = Gateway::usual();
        for (to, router, kind) in [(SERVER[0], ROUTER[0], 11), (SERVER[1], ROUTER[1], 3)] {
            let report = gw.client().run(|| Ping::new(ip(to)).hops(1).run()).unwrap();
            let error = report.errors[0];
            assert_eq!((error.from, error.kind, error.code), (Some(ip(router)), kind, 0), "{to}");
            assert!(gw.client().run(|| Ping::new(ip(to)).hops(2).run()).unwrap().complete());
            assert!(gw.client().run(|| Ping::new(ip(router)).hops(1).run()).unwrap().complete());
        }
        let stats = gw.balanced();
        assert_eq!(drops(&stats, "ttl_exceeded"), 2);
        assert!(number(&stats["columns"]["received"]["delivered"]) >= 2);
        gw.stop();
    });
}
