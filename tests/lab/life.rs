//! How the router starts, ends, is killed, and what it leaves.

use std::path::Path;
use std::time::Duration;

use sekisho::io::netlink::{Device, Hook, Netlink};
use sekisho::lab::probes::Ping;
use sekisho::lab::{Netns, Spawned, Workplace, isolate};

use crate::gateway::{Choice, Gateway, SEKISHO, SERVER, START, STOP, ip};
use crate::home::wait_until;

/// What a namespace's kernel has: devices with their flags, and the filters and qdiscs on them.
fn inventory(netns: &Netns) -> Vec<(Device, bool, usize)> {
    netns.run(|| {
        let mut netlink = Netlink::open().unwrap();
        let mut all = vec![];
        for device in netlink.links().unwrap() {
            let clsact = netlink.tc_has_clsact(device.index).unwrap();
            let filters = if clsact {
                let mut count = |hook| netlink.tc_filters(device.index, hook).unwrap().len();
                count(Hook::Ingress) + count(Hook::Egress)
            } else {
                0
            };
            all.push((Device { tx_packets: 0, tx_dropped: 0, ..device }, clsact, filters));
        }
        all
    })
}

fn pings(gw: &Gateway) -> bool {
    let complete = |to: &&str| gw.client().run(|| Ping::new(ip(to)).run()).unwrap().complete();
    SERVER.iter().all(complete)
}

#[test]
fn a_signal_ends_it_and_everything_is_taken_back() {
    isolate::test(|| {
        for signal in [libc::SIGTERM, libc::SIGINT] {
            let mut gw = Gateway::new(&Choice { workers: 2, ..Choice::default() });
            let running = inventory(&gw.lab["router"]);
            assert!(running.iter().any(|(_, _, filters)| *filters > 0), "{running:?}");
            assert!(pings(&gw));
            let status = gw.router.signal(signal, STOP).unwrap();
            assert_eq!(status.code(), Some(0), "{}", gw.router.said());
            assert!(!gw.control().exists());
            for (device, clsact, filters) in inventory(&gw.lab["router"]) {
                assert!(!clsact && filters == 0, "left on {device:?}");
                assert!(!device.promiscuous, "{device:?}");
            }
            // And the next one finds everything as the first did.
            gw.restart();
            assert!(pings(&gw));
            assert_eq!(inventory(&gw.lab["router"]), running);
            gw.stop();
        }
    });
}

#[test]
fn it_ends_in_the_midst_of_traffic() {
    isolate::test(|| {
        let mut gw = Gateway::usual();
        std::thread::scope(|s| {
            let lab = &gw.lab;
            let flood = s.spawn(|| {
                let (client, server) = (&lab["client"], &lab["server"]);
                let amount = sekisho::lab::probes::Amount::For(Duration::from_secs(3));
                let stream = sekisho::lab::probes::Stream::new(ip(SERVER[0]), amount);
                // It is to be cut off: what it says of that does not matter.
                let _ = stream.deadline(Duration::from_millis(1500)).run(client, server);
            });
            let status = gw.program.router.terminate(STOP).unwrap();
            assert_eq!(status.code(), Some(0));
            flood.join().unwrap();
        });
    });
}

#[test]
fn killed_and_started_again() {
    isolate::test(|| {
        let mut gw = Gateway::usual();
        let running = inventory(&gw.lab["router"]);
        for _ in 0..3 {
            assert!(pings(&gw));
            gw.router.signal(libc::SIGKILL, STOP).unwrap();
            // The socket and the filters it left behind don't stop the next one.
            gw.restart();
            assert_eq!(inventory(&gw.lab["router"]), running);
        }
        assert!(pings(&gw));
        gw.stop();
    });
}

#[test]
fn two_of_the_same_name_are_one_too_many() {
    isolate::test(|| {
        let gw = Gateway::usual();
        let file = gw.control().with_file_name("gw.toml");
        let args = ["run", file.to_str().unwrap()];
        let mut second = Spawned::start(&gw.lab["router"], Path::new(SEKISHO), &args).unwrap();
        assert_eq!(second.wait(START).unwrap().code(), Some(1));
        assert_eq!(second.said().lines().count(), 1, "{}", second.said());
        assert!(second.said().contains("already"), "{}", second.said());
        assert!(pings(&gw));
        gw.stop();
    });
}

#[test]
fn what_can_not_start_says_why_and_leaves_nothing() {
    isolate::test(|| {
        let gw = Gateway::usual();
        let place = Workplace::new().unwrap();
        let link = "kind = \"packet\"\naddresses = [\"10.5.0.1/24\"]\n";
        gw.lab["router"].run(|| {
            let mut netlink = Netlink::open().unwrap();
            netlink.link_add_veth("spare", "other", None).unwrap();
            for device in ["spare", "other"] {
                let index = netlink.link_index(device).unwrap();
                netlink.set_up(index).unwrap();
            }
            // The kernel notes the carrier when it gets to it.
            wait_until("both ends have a carrier", || {
                ["spare", "other"].iter().all(|d| netlink.link(d).unwrap().running)
            });
        });
        for (name, links, said) in [
            ("nodev", format!("[link.eth9]\n{link}"), "eth9"),
            // The first opens well and has to be given back.
            (
                "half",
                format!(
                    "[link.spare]\nkind = \"packet\"\naddresses = [\"10.6.0.1/24\"]\n[link.eth9]\n{link}"
                ),
                "eth9",
            ),
        ] {
            let control = place.path(&format!("{name}.sock"));
            let text = format!("[router]\nname = \"{name}\"\ncontrol = \"{}\"\n{links}", control.display());
            let file = place.write(&format!("{name}.toml"), &text).unwrap();
            let before = inventory(&gw.lab["router"]);
            let args = ["run", file.to_str().unwrap()];
            let mut failed = Spawned::start(&gw.lab["router"], Path::new(SEKISHO), &args).unwrap();
            assert_eq!(failed.wait(START).unwrap().code(), Some(1), "{name}");
            assert_eq!(failed.said().lines().count(), 1, "{}", failed.said());
            assert!(failed.said().contains(said), "{}", failed.said());
            assert!(!control.exists());
            assert_eq!(inventory(&gw.lab["router"]), before);
        }
        gw.stop();
    });
}
