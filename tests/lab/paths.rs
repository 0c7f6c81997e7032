//! Traceroute and path MTU discovery.

use sekisho::lab::isolate;
use sekisho::lab::probes::{HopKind, PathMtu, Trace};

use crate::gateway::{Choice, Gateway, ROUTER, SERVER, drops, ip};

#[test]
fn a_trace_names_the_router_and_the_server() {
    isolate::test(|| {
        let gw = Gateway::usual();
        for (to, router) in SERVER.into_iter().zip(ROUTER) {
            let hops = gw.client().run(|| Trace::new(ip(to)).run()).unwrap();
            let seen: Vec<_> = hops.iter().map(|h| (h.ttl, h.from, h.kind)).collect();
            let expected = [(1, Some(ip(router)), HopKind::OnTheWay), (2, Some(ip(to)), HopKind::Arrived)];
            assert_eq!(seen, expected);
        }
        gw.stop();
    });
}

#[test]
fn a_trace_to_the_router_is_one_hop() {
    isolate::test(|| {
        let gw = Gateway::usual();
        for router in [ROUTER[0], ROUTER[1], "10.2.0.1", "fd02::1"] {
            let hops = gw.client().run(|| Trace::new(ip(router)).run()).unwrap();
            let seen: Vec<_> = hops.iter().map(|h| (h.ttl, h.from, h.kind)).collect();
            assert_eq!(seen, [(1, Some(ip(router)), HopKind::Arrived)]);
        }
        gw.stop();
    });
}

#[test]
fn the_path_mtu_is_that_of_the_far_link() {
    isolate::test(|| {
        for far_mtu in [1500, 1400, 1280] {
            let gw = Gateway::new(&Choice { far_mtu, ..Choice::default() });
            for (to, router) in SERVER.into_iter().zip(ROUTER) {
                let report = gw.client().run(|| PathMtu::new(ip(to)).run()).unwrap();
                assert_eq!(report.mtu, Some(far_mtu), "{to}: {report:?}");
                if far_mtu < 1500 {
                    let error = report.steps[0].error.unwrap();
                    assert_eq!((error.from, error.mtu), (Some(ip(router)), far_mtu));
                }
            }
            let stats = gw.balanced();
            assert_eq!(drops(&stats, "too_big"), if far_mtu < 1500 { 2 } else { 0 });
            gw.stop();
        }
    });
}
