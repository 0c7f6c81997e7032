//! A router that is the kernel, and both its sides.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use sekisho::base::Mac;
use sekisho::lab::probes::Wiretap;
use sekisho::lab::{End, Plan, Topology};
use sekisho::packet::Packet;

use crate::rules::Rules;

/// A side of the router.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Lan,
    Wan,
}

impl Side {
    fn router(self) -> Mac {
        Mac([2, 0, 0, 0, self as u8, 1])
    }

    /// The one station of the side, through which everybody else is reached.
    fn station(self) -> Mac {
        Mac([2, 0, 0, 0, self as u8, 254])
    }
}

pub(crate) struct Kernel {
    lab: Topology,
    taps: [Wiretap; 2],
}

impl Kernel {
    pub(crate) fn new() -> Kernel {
        let mut plan = Plan::new().space("router");
        for (path, value) in SETTINGS {
            plan = plan.sysctl("router", path, value);
        }
        for (i, (side, name)) in [(Side::Lan, "lan"), (Side::Wan, "wan")].into_iter().enumerate() {
            let n = i + 1;
            let mut end = End::new("router", name).mac(side.router()).offload(false);
            for net in [format!("10.{n}.0.1/24"), format!("fd0{n}::1/64")] {
                end = end.address(net.parse().unwrap());
            }
            plan = plan
                .space(name)
                .sysctl(name, "net/ipv6/conf/all/disable_ipv6", "1")
                .sysctl(name, "net/ipv6/conf/default/disable_ipv6", "1")
                .wire(end, End::new(name, "eth0").mtu(2000).offload(false));
            for station in [format!("10.{n}.0.254"), format!("fd0{n}::254")] {
                plan = plan.neighbor("router", name, station.parse().unwrap(), side.station());
            }
        }
        for (to, via, dev) in ROUTES {
            plan = plan.route_on("router", to.parse().unwrap(), via.parse().unwrap(), dev);
        }
        let lab = plan.build().unwrap();
        let taps = ["lan", "wan"].map(|name| lab[name].run(|| Wiretap::open("eth0")).unwrap());
        Kernel { lab, taps }
    }

    /// New rules, and an empty table of flows.
    pub(crate) fn load(&self, rules: &Rules) {
        let text = rules.text();
        for (program, text) in [
            ("iptables-legacy-restore", if rules.v6 { "*nat\nCOMMIT\n" } else { &text }),
            ("ip6tables-legacy-restore", if rules.v6 { &text } else { "*nat\nCOMMIT\n" }),
        ] {
            let mut command = Command::new(program);
            command.stdin(Stdio::piped()).stderr(Stdio::piped());
            let mut child = self.lab["router"].command(&mut command).spawn().expect(program);
            child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
            let out = child.wait_with_output().unwrap();
            assert!(out.status.success(), "{program}: {}\n{text}", String::from_utf8_lossy(&out.stderr));
        }
        let mut flush = Command::new("conntrack");
        flush.arg("-F").stderr(Stdio::null());
        assert!(self.lab["router"].command(&mut flush).status().expect("conntrack").success());
    }

    pub(crate) fn send(&self, from: Side, packet: &Packet) {
        let ethertype: [u8; 2] = if packet.l3()[0] >> 4 == 4 { [8, 0] } else { [0x86, 0xdd] };
        let frame = [&from.router().0[..], &from.station().0, &ethertype, packet.l3()].concat();
        self.taps[from as usize].send(&frame).unwrap();
    }

    /// Waits until the kernel has dealt with what was sent on this side: it answers a question that came after it.
    pub(crate) fn settle(&self, from: Side) {
        /// A request for IPv4 over Ethernet (RFC 826).
        const REQUEST: [u8; 8] = [0, 1, 8, 0, 6, 4, 0, 1];
        let net = from as u8 + 1;
        let (us, asked) = ([10, net, 0, 254], [10, net, 0, 1]);
        let station = from.station().0;
        let question =
            [&from.router().0[..], &station, &ARP, &REQUEST, &station, &us, &[0; 6], &asked].concat();
        let tap = &self.taps[from as usize];
        tap.send(&question).unwrap();
        let is_answer = |bytes: &[u8]| {
            bytes.starts_with(&station)
                && bytes.get(12..14) == Some(&ARP)
                && bytes.get(20..22) == Some(&[0, 2])
        };
        let frames = tap.until(Instant::now() + Duration::from_secs(30), |f| is_answer(&f.bytes)).unwrap();
        assert!(frames.last().is_some_and(|f| is_answer(&f.bytes)), "the kernel stands still");
    }

    /// The next packet for our station on this side.
    pub(crate) fn next(&self, on: Side, patience: Duration) -> Option<Vec<u8>> {
        let deadline = Instant::now() + patience;
        while let Some(frame) = self.taps[on as usize].next(deadline).unwrap() {
            if frame.bytes.starts_with(&on.station().0) && frame.bytes.get(12..14) != Some(&ARP) {
                return Some(frame.bytes[14..].to_vec());
            }
        }
        None
    }
}

/// The ethertype.
const ARP: [u8; 2] = [8, 6];

const ROUTES: [(&str, &str, &str); 4] = [
    ("10.64.0.0/16", "10.1.0.254", "lan"),
    ("fd64::/16", "fd01::254", "lan"),
    ("0.0.0.0/0", "10.2.0.254", "wan"),
    ("::/0", "fd02::254", "wan"),
];

/// Namespaces inherit settings from the machine, so all that matters is said.
const SETTINGS: [(&str, &str); 6] = [
    // Linux sums UDP-Lite as if it were UDP, and takes all of it for invalid.
    ("net/netfilter/nf_conntrack_checksum", "0"),
    ("net/ipv4/ip_forward", "1"),
    ("net/ipv6/conf/all/forwarding", "1"),
    ("net/ipv4/conf/all/rp_filter", "0"),
    ("net/ipv4/conf/default/rp_filter", "0"),
    ("net/ipv4/conf/all/send_redirects", "0"),
];
