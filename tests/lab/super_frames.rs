//! A super-frame in is a super-frame out, whatever the two links are: counted at the hosts' own devices.
//!
//! ```text
//!   client eth0 | tap | tun ──── near [sekisho run] far ──── eth0 | tap | tun server
//!   10.1.0.2/24               .1                   .1              10.2.0.2/24
//! ```
//!
//! Devices that the router makes are sent to the hosts' namespaces, so that both ends are kernels of their own.

use std::fs;
use std::os::fd::AsFd;
use std::time::Duration;

use sekisho::io::netlink::Netlink;
use sekisho::lab::probes::{Amount, Datagrams, Ping, Stream};
use sekisho::lab::{End, Netns, Plan, Topology, isolate, tools};

use crate::gateway::{FAR_SIDE, LAN_MAC, Program, ROUTER, SERVER, WAN_MAC, ip, net, number};
use crate::home::wait_until;

const CLIENT: [&str; 2] = ["10.1.0.2/24", "fd01::2/64"];
/// A gateway's: everything is tracked, filtered and translated.
const RULES: &str = "*nat
:PREROUTING ACCEPT
:INPUT ACCEPT
:OUTPUT ACCEPT
:POSTROUTING ACCEPT
-A POSTROUTING -o far -j MASQUERADE
COMMIT
*filter
:INPUT ACCEPT
:FORWARD DROP
:OUTPUT ACCEPT
-A FORWARD -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT
-A FORWARD -i near -m conntrack --ctstate NEW -j ACCEPT
COMMIT
";

struct Pair {
    lab: Topology,
    program: Program,
    devices: [String; 2],
}

/// Whether the kinds can be had here; says so where not.
fn possible(kinds: [&str; 2]) -> bool {
    kinds == ["packet", "packet"] || tools::has_tun()
}

impl Pair {
    fn new(kinds: [&str; 2], workers: usize, host_offload: bool) -> Pair {
        let mut plan = Plan::new().space("client").space("router").space("server");
        for (host, name, kind) in [("client", "near", kinds[0]), ("server", "far", kinds[1])] {
            if kind == "packet" {
                plan = plan.wire(End::new(host, "eth0").offload(host_offload), End::new("router", name));
            }
        }
        let lab = plan.build().unwrap();
        let link = |name: &str, kind: &str, mac, at: [&str; 2]| {
            let mac = if kind == "tun" { String::new() } else { format!("mac = \"{mac}\"\n") };
            let [v4, v6] = at;
            format!("[link.{name}]\nkind = \"{kind}\"\n{mac}addresses = [\"{v4}/24\", \"{v6}/64\"]\n")
        };
        let program = Program::start(&lab["router"], |control| {
            format!(
                "[router]\nname = \"gw\"\nworkers = {workers}\ncontrol = \"{}\"\n{}{}[firewall]\n\
                 rules4 = '''{RULES}'''\nrules6 = '''{RULES}'''\n",
                control.display(),
                link("near", kinds[0], LAN_MAC, ROUTER),
                link("far", kinds[1], WAN_MAC, FAR_SIDE)
            )
        });
        let hosts =
            [("client", "near", CLIENT, ROUTER), ("server", "far", ["10.2.0.2/24", "fd02::2/64"], FAR_SIDE)];
        let devices = [0, 1].map(|i| {
            let (host, name, addresses, gateways) = hosts[i];
            let device = if kinds[i] == "packet" { "eth0" } else { name };
            if kinds[i] != "packet" {
                lab["router"].run(|| {
                    let mut n = Netlink::open().unwrap();
                    let index = n.link_index(name).unwrap();
                    n.set_netns(index, lab[host].as_fd()).unwrap();
                });
            }
            lab[host].run(|| {
                let mut n = Netlink::open().unwrap();
                let index = n.link_index(device).unwrap();
                n.set_up(index).unwrap();
                for address in addresses {
                    n.addr_add(index, net(address)).unwrap();
                }
                for (to, via) in [("0.0.0.0/0", gateways[0]), ("::/0", gateways[1])] {
                    n.route_add(net(to), Some(ip(via)), Some(index)).unwrap();
                }
            });
            device.to_owned()
        });
        let pair = Pair { lab, program, devices };
        for to in SERVER {
            // Link-local addresses of devices that moved are checked for duplicates first.
            let ping = Ping::new(ip(to)).wait(Duration::from_millis(500));
            wait_until(&format!("{kinds:?}: there is a way to {to}"), || {
                pair.lab["client"].run(|| ping.run()).unwrap().complete()
            });
        }
        pair
    }

    /// Frames that the client's device has sent and the server's received.
    fn frames(&self) -> [u64; 2] {
        let [sent, received] = [("client", &self.devices[0], 9), ("server", &self.devices[1], 1)]
            .map(|(host, device, column)| counter(&self.lab[host], device, column));
        [sent, received]
    }

    fn tally(&self, name: &str) -> i64 {
        let stats = self.program.stats();
        let tally = stats["tallies"].as_array().unwrap().iter().find(|t| t["name"] == name);
        number(&tally.unwrap()["value"])
    }
}

/// A column of a device's line in `/proc/net/dev`.
fn counter(netns: &Netns, device: &str, column: usize) -> u64 {
    let text = netns.run(|| fs::read_to_string("/proc/thread-self/net/dev").unwrap());
    let line = text.lines().find_map(|l| l.trim().strip_prefix(&format!("{device}:"))).unwrap();
    line.split_whitespace().nth(column).unwrap().parse().unwrap()
}

/// Sends TCP and super-frames of UDP over both families, and counts.
fn pass_whole(kinds: [&str; 2], workers: usize) {
    if !possible(kinds) {
        return;
    }
    let pair = Pair::new(kinds, workers, true);
    let (client, server) = (&pair.lab["client"], &pair.lab["server"]);
    for to in SERVER {
        for (what, bytes) in [("tcp", 32 << 20), ("udp", 32_000 * 1_000)] {
            let before = pair.frames();
            if what == "tcp" {
                let report = Stream::new(ip(to), Amount::Bytes(bytes)).run(client, server).unwrap();
                assert!(report.intact(), "{kinds:?} {to}: {report:?}");
            } else {
                let datagrams = Datagrams::new(ip(to), bytes / 1_000).at_once(32);
                let report = datagrams.run(client, server).unwrap();
                assert!(report.perfect(), "{kinds:?} {to}: {report:?}");
            }
            let after = pair.frames();
            let [sent, received] = [0, 1].map(|i| after[i] - before[i]);
            let each = bytes / received;
            println!(
                "{kinds:?} {what} to {to}: {sent} frames sent, {received} received, {each} bytes in each"
            );
            // What was sent apart may arrive together; a few frames of others (ARP, NDP) are among them.
            assert!(received <= sent + 20, "{kinds:?} {what} {to}: {sent} frames became {received}");
            // How much a TCP that is slow puts into one is its own affair; one that is cut has 1,448 bytes.
            assert!(
                each > if what == "tcp" { 4_000 } else { 10_000 },
                "{kinds:?} {what} {to}: {received} frames of {each} bytes"
            );
        }
    }
    for cut in ["segmented", "fragmented", "checksums_finished"] {
        assert!(pair.tally(cut) <= 20, "{kinds:?}: {cut} {}", pair.tally(cut));
    }
    pair.program.stop();
}

#[test]
fn between_packet_links() {
    isolate::test(|| pass_whole(["packet", "packet"], 1));
}

#[test]
fn between_packet_links_with_two_workers() {
    isolate::test(|| pass_whole(["packet", "packet"], 2));
}

#[test]
fn from_a_packet_link() {
    isolate::test(|| {
        for to in ["tap", "tun"] {
            pass_whole(["packet", to], 1);
        }
    });
}

#[test]
fn to_a_packet_link() {
    isolate::test(|| {
        for from in ["tap", "tun"] {
            pass_whole([from, "packet"], 1);
        }
    });
}

#[test]
fn between_taps_and_tuns() {
    isolate::test(|| {
        for kinds in [["tap", "tap"], ["tap", "tun"], ["tun", "tap"], ["tun", "tun"]] {
            pass_whole(kinds, 1);
        }
    });
}

#[test]
fn between_taps_and_tuns_with_two_workers() {
    isolate::test(|| {
        for kinds in [["tap", "tap"], ["tun", "tun"]] {
            pass_whole(kinds, 2);
        }
    });
}

/// Hosts that segment by themselves: what comes in plain goes on in super-frames, every byte right.
#[test]
fn plain_segments_go_on_together() {
    isolate::test(|| {
        for far in ["packet", "tap", "tun"] {
            let kinds = ["packet", far];
            if !possible(kinds) {
                continue;
            }
            let pair = Pair::new(kinds, 1, false);
            for to in SERVER {
                let before = pair.frames();
                let report = Stream::new(ip(to), Amount::Bytes(64 << 20))
                    .run(&pair.lab["client"], &pair.lab["server"]);
                assert!(report.as_ref().is_ok_and(|r| r.intact()), "{kinds:?} {to}: {report:?}");
                let after = pair.frames();
                let [sent, received] = [0, 1].map(|i| after[i] - before[i]);
                println!("{kinds:?} to {to}: {sent} frames sent, {received} received");
                assert!(sent > 40_000 && received < sent * 3 / 4, "{kinds:?} {to}: {sent}, {received}");
            }
            // The kernel may have put them together before the router saw them.
            assert_eq!(pair.tally("segmented"), 0);
            pair.program.stop();
        }
    });
}
