//! Devices that the router makes: the host's own kernel is the station on the other side.
//!
//! ```text
//!   [kernel of the router's namespace] tap0 ─── [sekisho run] wan ─── eth0 server
//!   10.7.0.2/24 fd07::2/64          .1       .1
//! ```

use std::path::PathBuf;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use sekisho::io::netlink::Netlink;
use sekisho::lab::probes::{Amount, Datagrams, Ping, Stream, Trace};
use sekisho::lab::{End, Netns, Plan, Spawned, Topology, Workplace, isolate, tools};

use crate::gateway::{FAR_SIDE, SEKISHO, SERVER, STOP, WAN_MAC, ip, net, run};
use crate::home::wait_until;

struct Station {
    lab: Topology,
    router: Spawned,
    place: Workplace,
}

impl Station {
    fn here(&self) -> &Netns {
        &self.lab["router"]
    }
}

fn start(kind: &str, offload: &str, workers: usize) -> Station {
    let lab = Plan::new()
        .space("router")
        .space("server")
        .wire(
            End::new("router", "wan"),
            End::new("server", "eth0").address(net("10.2.0.2/24")).address(net("fd02::2/64")),
        )
        .route("server", net("0.0.0.0/0"), ip(FAR_SIDE[0]))
        .route("server", net("::/0"), ip(FAR_SIDE[1]))
        .build()
        .unwrap();
    let place = Workplace::new().unwrap();
    let control: PathBuf = place.path("gw.sock");
    let file = place
        .write(
            "gw.toml",
            &format!(
                r#"
[router]
name = "gw"
workers = {workers}
control = "{}"
[link.inside]
kind = "{kind}"
device = "{kind}0"
addresses = ["10.7.0.1/24", "fd07::1/64"]
offload = "{offload}"
[link.wan]
kind = "packet"
mac = "{WAN_MAC}"
addresses = ["10.2.0.1/24", "fd02::1/64"]
"#,
                control.display()
            ),
        )
        .unwrap();
    let router = run(&lab["router"], &file, &control);
    lab["router"].run(|| {
        let mut netlink = Netlink::open().unwrap();
        let device = netlink.link_index(&format!("{kind}0")).unwrap();
        netlink.set_up(device).unwrap();
        for address in ["10.7.0.2/24", "fd07::2/64"] {
            netlink.addr_add(device, net(address)).unwrap();
        }
        for (to, via) in [("10.2.0.0/24", "10.7.0.1"), ("fd02::/64", "fd07::1")] {
            netlink.route_add(net(to), Some(ip(via)), Some(device)).unwrap();
        }
    });
    Station { lab, router, place }
}

fn carries_everything(kind: &str, offload: &str, workers: usize) {
    if !tools::has_tun() {
        return;
    }
    let mut s = start(kind, offload, workers);
    let server = &s.lab["server"];
    let start = Instant::now();
    // The device's link-local address is still being checked for duplicates when the router starts.
    while !s
        .here()
        .run(|| Ping::new(ip(SERVER[1])).wait(Duration::from_millis(200)).run())
        .unwrap()
        .complete()
    {
        assert!(start.elapsed() < Duration::from_secs(30), "no way through {kind}");
    }
    for to in [SERVER[0], SERVER[1], "10.7.0.1", "fd07::1", FAR_SIDE[0], FAR_SIDE[1]] {
        let report = s.here().run(|| Ping::new(ip(to)).count(3).size(8000).run()).unwrap();
        assert!(report.complete(), "{kind} {to}: {report:?}");
    }
    for (to, back) in [(SERVER[0], "10.7.0.2"), (SERVER[1], "fd07::2")] {
        for (to, from, at) in [(to, s.here(), server), (back, server, s.here())] {
            let report = Stream::new(ip(to), Amount::Bytes(16 << 20)).run(from, at).unwrap();
            assert!(report.intact(), "{kind} {to}: {report:?}");
            println!("{kind}, offload {offload}, {to}: {:.2} Gbit/s", report.rate() / 1e9);
            for datagrams in [
                Datagrams::new(ip(to), 2000),
                Datagrams::new(ip(to), 2000).at_once(16),
                Datagrams::new(ip(to), 4000).size(200).flows(16),
            ] {
                let report = datagrams.run(from, at).unwrap();
                assert!(report.perfect(), "{kind} {to}: {datagrams:?}: {report:?}");
            }
        }
        let hops = s.here().run(|| Trace::new(ip(to)).run()).unwrap();
        assert_eq!(hops.len(), 2, "{hops:?}");
    }
    let device = format!("{kind}0");
    let there = |s: &Station| s.here().run(|| Netlink::open().unwrap().link(&device).is_ok());
    assert!(there(&s));
    assert!(s.router.terminate(STOP).unwrap().success(), "{}", s.router.said());
    assert!(!there(&s), "{device} is still there");
}

#[test]
fn a_tap() {
    isolate::test(|| carries_everything("tap", "auto", 1));
}

#[test]
fn a_tap_without_offload() {
    isolate::test(|| carries_everything("tap", "off", 1));
}

#[test]
fn a_tun() {
    isolate::test(|| carries_everything("tun", "auto", 1));
}

#[test]
fn a_tun_without_offload() {
    isolate::test(|| carries_everything("tun", "off", 1));
}

#[test]
fn a_tap_of_two_workers() {
    isolate::test(|| carries_everything("tap", "auto", 2));
}

#[test]
fn a_tun_of_two_workers() {
    isolate::test(|| carries_everything("tun", "auto", 2));
}

#[test]
fn a_tun_of_two_workers_without_offload() {
    isolate::test(|| carries_everything("tun", "off", 2));
}

/// The host's side keeps its addresses and routes, and what is under way arrives.
fn has_another_mtu(kind: &str, workers: usize) {
    if !tools::has_tun() {
        return;
    }
    let mut s = start(kind, "auto", workers);
    let device = format!("{kind}0");
    let link = || s.here().run(|| Netlink::open().unwrap().link(&device)).unwrap();
    let set = |mtu: &str| {
        let mut command = Command::new(SEKISHO);
        command
            .args(["ip", "link", "set", "inside", "mtu", mtu])
            .env("SEKISHO_CONTROL", s.place.path("gw.sock"));
        let out = command.output().unwrap();
        let said = String::from_utf8_lossy(&out.stderr).into_owned();
        assert!(out.status.success() && said.is_empty(), "{said}");
    };
    let ping = Ping::new(ip(SERVER[0]));
    let once = ping.clone().wait(Duration::from_secs(1));
    wait_until("there is a way through", || s.here().run(|| once.run()).is_ok_and(|r| r.complete()));
    let before = link();
    thread::scope(|scope| {
        let pings = scope.spawn(|| s.here().run(|| ping.clone().count(100).run()).unwrap());
        let mut mtus = ["1400", "9000", "1300", "1500"].into_iter().cycle();
        while !pings.is_finished() {
            let mtu = mtus.next().unwrap();
            set(mtu);
            assert_eq!(link().mtu.to_string(), mtu);
        }
        let report = pings.join().unwrap();
        assert!(report.complete(), "{report:?}");
    });
    assert_eq!(link().index, before.index, "it is the same device");
    // Super-frames and all.
    set("1400");
    let report = Stream::new(ip(SERVER[0]), Amount::Bytes(1 << 20)).run(s.here(), &s.lab["server"]).unwrap();
    assert!(report.intact(), "{report:?}");
    assert!(s.router.terminate(STOP).unwrap().success(), "{}", s.router.said());
    assert!(!s.router.said().contains("anew"), "{}", s.router.said());
}

#[test]
fn a_tap_with_another_mtu_is_the_same_tap() {
    isolate::test(|| has_another_mtu("tap", 1));
}

#[test]
fn a_tun_with_another_mtu_is_the_same_tun() {
    isolate::test(|| has_another_mtu("tun", 2));
}
