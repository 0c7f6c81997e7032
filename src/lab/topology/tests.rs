//! Two hosts on either side of a kernel that forwards: what a router in the lab has to stand up to.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Duration;

use super::*;
use crate::lab::isolate;
use crate::lab::probes::{Amount, Datagrams, HopKind, Origin, PathMtu, Ping, Stream, Trace, Wiretap};

fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// client ── lan [kernel] wan ── server, both families.
fn plan(offload: bool, far_mtu: u32) -> Plan {
    Plan::new()
        .space("client")
        .space("router")
        .space("server")
        .sysctl("router", "net/ipv4/ip_forward", "1")
        .sysctl("router", "net/ipv6/conf/all/forwarding", "1")
        .wire(
            End::new("client", "eth0")
                .address(net("10.1.0.2/24"))
                .address(net("fd01::2/64"))
                .offload(offload),
            End::new("router", "lan").address(net("10.1.0.1/24")).address(net("fd01::1/64")).offload(offload),
        )
        .wire(
            End::new("router", "wan")
                .address(net("10.2.0.1/24"))
                .address(net("fd02::1/64"))
                .mtu(far_mtu)
                .offload(offload),
            End::new("server", "eth0")
                .address(net("10.2.0.2/24"))
                .address(net("fd02::2/64"))
                .mtu(far_mtu)
                .offload(offload),
        )
        .route("client", net("0.0.0.0/0"), ip("10.1.0.1"))
        .route("client", net("::/0"), ip("fd01::1"))
        .route("server", net("0.0.0.0/0"), ip("10.2.0.1"))
        .route("server", net("::/0"), ip("fd02::1"))
}

#[test]
fn hosts_ping_through_a_router_in_both_families() {
    isolate::test(|| {
        let lab = plan(true, 1500).build().unwrap();
        for (to, from) in [("10.2.0.2", "10.1.0.2"), ("fd02::2", "fd01::2"), ("10.2.0.1", "10.1.0.2")] {
            for size in [0, 56, 8000] {
                let ping = Ping::new(ip(to)).from(ip(from)).count(3).size(size).tos(0x10);
                let report = lab["client"].run(|| ping.run()).unwrap();
                assert!(report.complete(), "{to} {size}: {report:?}");
                assert!(report.rtt().unwrap()[0] > Duration::ZERO);
            }
            let report = lab["client"].run(|| Ping::new(ip(to)).hops(1).run()).unwrap();
            assert_eq!(report.complete(), to == "10.2.0.1", "{report:?}");
        }
        assert!(lab.teardown().is_empty());
    });
}

#[test]
fn errors_come_back_to_the_ping() {
    isolate::test(|| {
        let lab = plan(true, 1500).build().unwrap();
        for (to, router, kind, code) in [("10.9.0.1", "10.1.0.1", 3, 0), ("fd09::1", "fd01::1", 1, 0)] {
            let report = lab["client"].run(|| Ping::new(ip(to)).run()).unwrap();
            let error = report.errors[0];
            assert_eq!((error.from, error.kind, error.code), (Some(ip(router)), kind, code), "{error:?}");
        }
        let report = lab["client"].run(|| Ping::new(ip("10.2.0.2")).size(1473).whole().run()).unwrap();
        assert_eq!((report.errors[0].origin, report.errors[0].mtu), (Origin::Local, 1500));
    });
}

#[test]
fn a_trace_names_every_hop() {
    isolate::test(|| {
        let lab = plan(true, 1500).build().unwrap();
        for (to, first) in [("10.2.0.2", "10.1.0.1"), ("fd02::2", "fd01::1")] {
            let hops = lab["client"].run(|| Trace::new(ip(to)).run()).unwrap();
            let seen: Vec<_> = hops.iter().map(|h| (h.ttl, h.from.unwrap(), h.kind)).collect();
            assert_eq!(seen, [(1, ip(first), HopKind::OnTheWay), (2, ip(to), HopKind::Arrived)]);
        }
        // Nobody there: the router says so, after its three solicitations.
        let trace = Trace::new(ip("10.2.0.77")).most_hops(2).wait(Duration::from_secs(4));
        let hops = lab["client"].run(|| trace.run()).unwrap();
        assert_eq!(hops[1].kind, HopKind::Refused(3, 1));
    });
}

#[test]
fn the_path_mtu_is_that_of_the_far_link() {
    isolate::test(|| {
        let lab = plan(true, 1400).build().unwrap();
        for (to, router) in [("10.2.0.2", "10.1.0.1"), ("fd02::2", "fd01::1")] {
            let report = lab["client"].run(|| PathMtu::new(ip(to)).run()).unwrap();
            assert_eq!(report.mtu, Some(1400), "{report:?}");
            assert_eq!(report.steps.len(), 2);
            let error = report.steps[0].error.unwrap();
            assert_eq!((report.steps[0].size, error.from, error.mtu), (1500, Some(ip(router)), 1400));
        }
    });
}

#[test]
fn streams_and_datagrams_arrive_whole_with_offloads_and_without() {
    isolate::test(|| {
        for offload in [true, false] {
            let lab = plan(offload, 1500).build().unwrap();
            let (client, server) = (&lab["client"], &lab["server"]);
            for to in ["10.2.0.2", "fd02::2"] {
                let report = Stream::new(ip(to), Amount::Bytes(8 << 20)).run(client, server).unwrap();
                assert!(report.intact() && report.sent == 8 << 20, "{report:?}");
                let wish = Amount::For(Duration::from_millis(50));
                let report = Stream::new(ip(to), wish).run(client, server).unwrap();
                assert!(report.intact() && report.rate() > 1e6, "{report:?}");
                for datagrams in [
                    Datagrams::new(ip(to), 1000),
                    Datagrams::new(ip(to), 1000).flows(7).size(16),
                    Datagrams::new(ip(to), 1000).flows(3).at_once(16),
                    Datagrams::new(ip(to), 20).size(8000),
                ] {
                    let report = datagrams.run(client, server).unwrap();
                    assert!(report.perfect() && report.sent >= 20, "{datagrams:?} {report:?}");
                }
            }
        }
    });
}

#[test]
fn lost_datagrams_are_missed_but_not_waited_for_forever() {
    isolate::test(|| {
        let lab = plan(true, 1500).build().unwrap();
        let report = std::thread::scope(|s| {
            let transfer =
                s.spawn(|| Datagrams::new(ip("10.2.0.2"), 4000).run(&lab["client"], &lab["server"]).unwrap());
            lab.set_up("router", "wan", false).unwrap();
            lab.set_up("router", "wan", true).unwrap();
            transfer.join().unwrap()
        });
        assert_eq!(report.sent, 4000);
        assert_eq!((report.out_of_order, report.damaged), (0, 0));
    });
}

#[test]
fn without_offload_no_super_frame_leaves_a_host() {
    isolate::test(|| {
        for offload in [true, false] {
            let lab = plan(offload, 1500).build().unwrap();
            let tap = lab["router"].run(|| Wiretap::open("lan")).unwrap();
            Stream::new(ip("10.2.0.2"), Amount::Bytes(4 << 20)).run(&lab["client"], &lab["server"]).unwrap();
            let frames = tap.until(Instant::now(), |_| false).unwrap();
            let longest = frames.iter().map(|f| f.bytes.len()).max().unwrap();
            assert_eq!(longest > 1514, offload, "{longest}");
        }
    });
}

#[test]
fn a_wiretap_sends_and_sees_frames() {
    isolate::test(|| {
        let lab = plan(true, 1500).build().unwrap();
        let near = lab["client"].run(|| Wiretap::open("eth0")).unwrap();
        let far = lab["router"].run(|| Wiretap::open("lan")).unwrap();
        let frame = [&[0xff; 6][..], &[2; 6], &[0x88, 0xb5], &[7; 46]].concat();
        near.send(&frame).unwrap();
        let deadline = Instant::now() + Duration::from_secs(60);
        let seen = far.until(deadline, |f| f.bytes == frame).unwrap();
        assert_eq!(seen.last().unwrap().bytes, frame);
        assert!(near.until(Instant::now(), |f| f.bytes == frame).unwrap().iter().all(|f| f.bytes != frame));
    });
}

#[test]
fn wires_come_and_go() {
    isolate::test(|| {
        let lab = plan(true, 1500).build().unwrap();
        let answers = || lab["client"].run(|| Ping::new(ip("10.2.0.2")).run()).unwrap().complete();
        let silent = || {
            let ping = Ping::new(ip("10.2.0.2")).wait(Duration::from_millis(100));
            !lab["client"].run(|| ping.run()).unwrap().complete()
        };
        assert!(answers());
        lab.unplug(1).unwrap();
        assert!(silent());
        lab.plug(1).unwrap();
        assert!(answers());
        lab.unplug(1).unwrap();
        assert!(lab.unplug(1).is_err());
        assert!(lab.teardown().is_empty());
    });
}

#[test]
fn two_hosts_keep_their_ports_apart() {
    isolate::test(|| {
        let lab = plan(true, 1500).build().unwrap();
        let at: SocketAddr = "0.0.0.0:5353".parse().unwrap();
        let a = lab["client"].run(|| UdpSocket::bind(at)).unwrap();
        let b = lab["server"].run(|| UdpSocket::bind(at)).unwrap();
        a.send_to(b"over there?", "10.2.0.2:5353").unwrap();
        b.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let mut buffer = [0; 64];
        let (n, from) = b.recv_from(&mut buffer).unwrap();
        assert_eq!((&buffer[..n], from), (&b"over there?"[..], "10.1.0.2:5353".parse().unwrap()));
    });
}

#[test]
fn a_plan_that_makes_no_sense_says_so() {
    isolate::test(|| {
        let nowhere = Plan::new().space("a").wire(End::new("a", "x"), End::new("b", "y"));
        assert!(matches!(nowhere.build(), Err(LabError::NoSpace(name)) if name == "b"));
        let twice = plan(true, 1500).wire(End::new("client", "eth0"), End::new("server", "eth1"));
        assert!(matches!(twice.build(), Err(LabError::Netlink { source, .. }) if source.is_existing()));
        let sysctl = Plan::new().space("a").sysctl("a", "net/ipv4/no_such_thing", "1");
        assert!(matches!(sysctl.build(), Err(LabError::Setting { what, .. }) if what.contains("no_such")));
    });
}
