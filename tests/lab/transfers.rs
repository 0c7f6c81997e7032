//! TCP and UDP through the router, every byte compared, with the hosts' offloads on and off.

use sekisho::lab::isolate;
use sekisho::lab::probes::{Amount, Datagrams, PathMtu, Stream};

use crate::gateway::{Choice, Gateway, SERVER, ip};

/// What every combination of offloads has to carry.
fn carry(choice: &Choice) {
    let gw = Gateway::new(choice);
    if choice.driver == "xdp" && !gw.has_driver(choice.driver) {
        return;
    }
    gw.acquaint();
    for to in SERVER {
        // What the client learns of the path here it remembers; IPv6 datagrams would be lost over it.
        let report = gw.client().run(|| PathMtu::new(ip(to)).run()).unwrap();
        assert_eq!(report.mtu, Some(choice.far_mtu));
        let report = Stream::new(ip(to), Amount::Bytes(64 << 20)).run(gw.client(), gw.server()).unwrap();
        assert!(report.intact() && report.sent == 64 << 20, "{to}: {report:?}");
        println!("{to}: {:.2} Gbit/s", report.rate() / 1e9);
        for datagrams in [
            Datagrams::new(ip(to), 5000),
            Datagrams::new(ip(to), 5000).size(16).flows(5),
            Datagrams::new(ip(to), 5000).at_once(32),
            Datagrams::new(ip(to), 200).size(8000),
        ] {
            let report = datagrams.run(gw.client(), gw.server()).unwrap();
            assert!(report.perfect() && report.sent > 0, "{to}: {datagrams:?}: {report:?}");
        }
    }
    gw.stop();
}

#[test]
fn with_all_offloads() {
    isolate::test(|| carry(&Choice::default()));
}

#[test]
fn with_hosts_that_offload_nothing() {
    isolate::test(|| carry(&Choice { host_offload: false, ..Choice::default() }));
}

#[test]
fn with_a_router_that_offloads_nothing() {
    isolate::test(|| carry(&Choice { offload: "off", ..Choice::default() }));
}

#[test]
fn with_no_offloads_anywhere() {
    isolate::test(|| carry(&Choice { offload: "off", host_offload: false, ..Choice::default() }));
}

#[test]
fn without_rings() {
    isolate::test(|| carry(&Choice { driver: "socket", ..Choice::default() }));
}

#[test]
fn without_rings_and_offloads() {
    isolate::test(|| {
        carry(&Choice { driver: "socket", offload: "off", host_offload: false, ..Choice::default() })
    });
}

#[test]
fn into_a_smaller_link() {
    isolate::test(|| carry(&Choice { far_mtu: 1400, ..Choice::default() }));
}

#[test]
fn over_af_xdp() {
    isolate::test(|| {
        for (host_offload, offload) in [(true, "auto"), (false, "auto"), (true, "off")] {
            carry(&Choice { driver: "xdp", host_offload, offload, ..Choice::default() });
        }
    });
}

#[test]
fn over_af_xdp_with_a_worker_that_only_sends() {
    isolate::test(|| carry(&Choice { driver: "xdp", workers: 2, ..Choice::default() }));
}

#[test]
fn both_ways_at_once() {
    isolate::test(|| {
        let gw = Gateway::usual();
        std::thread::scope(|s| {
            for (to, back) in [(SERVER[0], false), ("10.1.0.2", true), (SERVER[1], false), ("fd01::2", true)]
            {
                let gw = &gw;
                s.spawn(move || {
                    let (from, at) =
                        if back { (gw.server(), gw.client()) } else { (gw.client(), gw.server()) };
                    let report = Stream::new(ip(to), Amount::Bytes(16 << 20)).run(from, at).unwrap();
                    assert!(report.intact(), "{to}: {report:?}");
                });
            }
        });
        gw.stop();
    });
}

#[test]
fn on_two_workers_in_flow_order() {
    isolate::test(|| {
        // AF_XDP has one queue here: the worker who has it hands over what is the other's.
        for (host_offload, driver) in [(true, "auto"), (false, "auto"), (false, "xdp")] {
            let gw = Gateway::new(&Choice { workers: 2, host_offload, driver, ..Choice::default() });
            if driver != "auto" && !gw.has_driver(driver) {
                return;
            }
            gw.acquaint();
            for to in SERVER {
                for at_once in [1, 16] {
                    let datagrams = Datagrams::new(ip(to), 20_000).size(200).flows(16).at_once(at_once);
                    let report = datagrams.run(gw.client(), gw.server()).unwrap();
                    assert!(report.perfect(), "{driver}, {to}: {datagrams:?}: {report:?}, {:#}", gw.stats());
                }
                let report =
                    Stream::new(ip(to), Amount::Bytes(16 << 20)).run(gw.client(), gw.server()).unwrap();
                assert!(report.intact(), "{driver}, {to}: {report:?}");
            }
            gw.stop();
        }
    });
}
