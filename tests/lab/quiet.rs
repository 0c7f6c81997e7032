//! The kernel's own stack on a packet link: it neither answers nor forwards nor speaks.

use std::time::{Duration, Instant};

use sekisho::lab::isolate;
use sekisho::lab::probes::{Amount, Datagrams, Frame, Ping, Stream, Trace, Wiretap};

use crate::gateway::{Choice, Gateway, LAN_MAC, ROUTER, SERVER, WAN_MAC, ip};

/// A kernel that forwards, with the router's own MACs and addresses: as bad as it gets.
fn competing() -> Gateway {
    Gateway::new(&Choice { kernel_competes: true, ..Choice::default() })
}

#[test]
fn each_packet_arrives_once() {
    isolate::test(|| {
        let gw = competing();
        gw.acquaint();
        let tap = gw.server().run(|| Wiretap::open("eth0")).unwrap();
        for to in SERVER {
            let report = Datagrams::new(ip(to), 500).run(gw.client(), gw.server()).unwrap();
            assert!(report.perfect(), "{to}: {report:?}");
        }
        let udp = |f: &&Frame| {
            matches!(f.bytes.get(12..14), Some([8, 0])) && f.bytes.get(23) == Some(&17)
                || matches!(f.bytes.get(12..14), Some([0x86, 0xdd])) && f.bytes.get(20) == Some(&17)
        };
        let frames = tap.until(Instant::now(), |_| false).unwrap();
        assert_eq!(frames.iter().filter(udp).count(), 1000);
        let report =
            Stream::new(ip(SERVER[0]), Amount::Bytes(8 << 20)).run(gw.client(), gw.server()).unwrap();
        assert!(report.intact());
        gw.stop();
    });
}

#[test]
fn each_question_is_answered_once() {
    isolate::test(|| {
        let gw = competing();
        let (tap, since) = (gw.client().run(|| Wiretap::open("eth0")).unwrap(), Instant::now());
        for router in ROUTER {
            let report = gw.client().run(|| Ping::new(ip(router)).count(5).run()).unwrap();
            assert!(report.complete(), "{report:?}");
        }
        // A closed port, in both families: an error each, not two.
        for router in ROUTER {
            let hops = gw.client().run(|| Trace::new(ip(router)).run()).unwrap();
            assert_eq!(hops.len(), 1);
        }
        let deadline = Instant::now() + Duration::from_millis(200);
        let frames = tap.until(deadline, |_| false).unwrap();
        let replies = |ethertype: [u8; 2], at: usize, kind: u8| {
            frames.iter().filter(|f| f.bytes[12..14] == ethertype && f.bytes.get(at) == Some(&kind)).count()
        };
        assert_eq!(replies([8, 0], 34, 0), 5, "echo replies");
        assert_eq!(replies([0x86, 0xdd], 54, 129), 5, "ICMPv6 echo replies");
        assert_eq!(replies([8, 0], 34, 3), 1, "port unreachable");
        assert_eq!(replies([0x86, 0xdd], 54, 1), 1, "ICMPv6 port unreachable");
        // A client that hears nothing for a second asks again.
        let asked = 1 + since.elapsed().as_secs() as usize;
        assert!((1..=asked).contains(&replies([8, 6], 21, 2)), "ARP replies");
        gw.stop();
    });
}

#[test]
fn the_kernel_does_not_speak() {
    isolate::test(|| {
        let gw = competing();
        let (near, far) = (gw.client(), gw.server());
        let taps = [near.run(|| Wiretap::open("eth0")).unwrap(), far.run(|| Wiretap::open("eth0")).unwrap()];
        // Whatever a kernel says on a link that comes up, it says here; and it is asked to speak.
        let socket = gw.lab["router"].run(|| std::net::UdpSocket::bind("0.0.0.0:0")).unwrap();
        for to in ["10.1.0.9:9", "10.1.0.255:9", "10.2.0.9:9"] {
            let _ = socket.send_to(b"from the kernel", to);
        }
        // The router asks for the server's MAC itself; its own frames are told by their source.
        let report = near.run(|| Ping::new(ip(SERVER[0])).run()).unwrap();
        assert!(report.complete());
        let deadline = Instant::now() + Duration::from_millis(300);
        for tap in taps {
            for frame in tap.until(deadline, |_| false).unwrap() {
                let says = |text: &[u8]| frame.bytes.windows(text.len()).any(|w| w == text);
                assert!(!says(b"from the kernel"), "{frame:?}");
                let asks_for = |last: u8| frame.bytes[12..14] == [8, 6] && frame.bytes.get(41) == Some(&last);
                assert!(!asks_for(9), "the kernel resolves: {frame:?}");
            }
        }
        gw.stop();
    });
}

#[test]
fn with_a_mac_of_its_own_the_devices_mac_is_nobody() {
    isolate::test(|| {
        let gw = Gateway::usual();
        let device = sekisho::io::netlink::Netlink::open;
        let mac = gw.lab["router"].run(|| device().unwrap().link("lan").unwrap().mac.unwrap());
        assert!(mac != LAN_MAC && mac != WAN_MAC);
        let tap = gw.client().run(|| Wiretap::open("eth0")).unwrap();
        // An ARP request to the device's MAC, for the router's address: the frame is for another station.
        let mut frame = [&mac.0[..], &[2, 0, 0, 0, 0, 9], &[8, 6, 0, 1, 8, 0, 6, 4, 0, 1]].concat();
        frame.extend([2, 0, 0, 0, 0, 9, 10, 1, 0, 9, 0, 0, 0, 0, 0, 0, 10, 1, 0, 1]);
        tap.send(&frame).unwrap();
        assert!(gw.client().run(|| Ping::new(ip(ROUTER[0])).run()).unwrap().complete());
        let frames = tap.until(Instant::now(), |_| false).unwrap();
        let to_us = frames.iter().filter(|f| f.bytes[..6] == [2, 0, 0, 0, 0, 9]).count();
        assert_eq!(to_us, 0);
        assert!(frames.iter().any(|f| f.bytes[6..12] == LAN_MAC.0));
        assert!(frames.iter().all(|f| f.bytes[6..12] != mac.0), "the kernel spoke");
        gw.stop();
    });
}
