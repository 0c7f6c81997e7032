//! The kernel as a router that tracks connections, with us on both sides of it.
//!
//! ```text
//!   us, 10.1.0.2 fd01::2 ── lan ┌────────┐ wan ── us, 10.2.0.2 fd02::2
//!                               │ kernel │
//!                               └────────┘   what it thinks of a packet: in the packet's DSCP
//! ```

use std::fs;
use std::io::Write as _;
use std::net::IpAddr;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use ipnet::IpNet;
use sekisho::base::Mac;
use sekisho::lab::netns::Guard;
use sekisho::lab::probes::Wiretap;
use sekisho::lab::{End, Plan, Topology};
use sekisho::packet::Tuple;

use crate::ctnetlink::Ctnetlink;
use crate::ours::{Label, Seen};
use crate::packet::{Sent, host};

const DEVICES: [&str; 2] = ["lan", "wan"];

pub(crate) struct Kernel {
    taps: [Wiretap; 2],
    flows: Ctnetlink,
    /// The settings that were made.
    settings: Vec<(String, String)>,
    // Last: the thread leaves before the namespaces go.
    _inside: Guard,
    _lab: Topology,
}

impl Kernel {
    /// A router, with the calling thread inside.
    pub(crate) fn new() -> Kernel {
        let mut plan = Plan::new().space("router");
        for (path, value) in SETTINGS {
            plan = plan.sysctl("router", path, value);
        }
        for (i, name) in DEVICES.into_iter().enumerate() {
            let mut router = End::new("router", name).mac(router_mac(i)).mtu(MTU).offload(false);
            for v6 in [false, true] {
                router = router.address(routers(host(i, v6)));
                plan = plan.neighbor("router", name, host(i, v6), host_mac(i));
            }
            plan = plan
                .space(name)
                .sysctl(name, "net/ipv6/conf/default/disable_ipv6", "1")
                .sysctl(name, "net/ipv4/ip_forward", "0")
                .wire(router, End::new(name, "eth0").mtu(MTU).offload(false));
        }
        let lab = plan.build().unwrap();
        let taps = DEVICES.map(|name| lab[name].run(|| Wiretap::open("eth0")).unwrap());
        let inside = lab["router"].enter().unwrap();
        restore("iptables-legacy-restore");
        restore("ip6tables-legacy-restore");
        Kernel { taps, flows: Ctnetlink::open(), settings: vec![], _inside: inside, _lab: lab }
    }

    /// Makes a setting, by its name under net.netfilter.
    pub(crate) fn set(&mut self, name: &str, value: &str) {
        let setting = (name.to_owned(), value.to_owned());
        if self.settings.contains(&setting) {
            return;
        }
        let path = format!("/proc/sys/net/netfilter/{name}");
        fs::write(&path, value).unwrap_or_else(|e| panic!("{path} = {value}: {e}"));
        self.settings.retain(|(n, _)| n != name);
        self.settings.push(setting);
    }

    /// Lets a packet pass, and says what its flow is like then.
    pub(crate) fn pass(&mut self, sent: &Sent, tuple: Option<&Tuple>) -> Seen {
        let mut frame = router_mac(sent.from).0.to_vec();
        frame.extend(host_mac(sent.from).0);
        frame.extend(if sent.v6 { [0x86, 0xdd] } else { [8, 0] });
        frame.extend(sent.bytes());
        self.taps[sent.from].send(&frame).unwrap();
        let label = self.forwarded(sent, &frame[12..14]);
        Seen { label, entry: tuple.and_then(|t| self.flows.get(t)) }
    }

    /// Forgets a flow.
    pub(crate) fn forget(&mut self, tuple: &Tuple) {
        self.flows.delete(tuple);
    }

    /// What the packet that came out is labelled with; `None` if none came out.
    fn forwarded(&self, sent: &Sent, ethertype: &[u8]) -> Option<Label> {
        // The kernel forwards before send(2) returns, but for when it is very busy.
        let deadline = Instant::now() + Duration::from_secs(30);
        let (proto, l4) = if sent.v6 { (20, 54) } else { (23, 34) };
        loop {
            let frame = self.taps[1 - sent.from].next(deadline).unwrap()?.bytes;
            let is_it = frame.get(12..14) == Some(ethertype)
                && frame.get(proto) == Some(&sent.proto)
                && frame.get(l4..).is_some_and(|b| b.starts_with(&sent.l4));
            if is_it {
                let class = if sent.v6 { frame[14] << 4 | frame[15] >> 4 } else { frame[15] };
                return Some(label(class >> 2));
            }
        }
    }
}

fn label(dscp: u8) -> Label {
    match dscp {
        1 => Label::Invalid,
        2 => Label::New,
        3 => Label::Established,
        4 => Label::Related,
        5 => Label::Untracked,
        _ => panic!("no rule of ours sets DSCP {dscp}"),
    }
}

fn router_mac(i: usize) -> Mac {
    Mac([2, 0, 0, 0, i as u8, 1])
}

fn host_mac(i: usize) -> Mac {
    Mac([2, 0, 0, 0, i as u8, 2])
}

/// The router's address where the host is.
fn routers(host: IpAddr) -> IpNet {
    match host {
        IpAddr::V4(v4) => IpNet::new((v4.to_bits() - 1).to_be_bytes().into(), 24).unwrap(),
        IpAddr::V6(v6) => IpNet::new((v6.to_bits() - 1).to_be_bytes().into(), 64).unwrap(),
    }
}

/// Room for a payload of nearly 64 KB.
const MTU: u32 = 65_535;

const SETTINGS: [(&str, &str); 4] = [
    ("net/ipv4/ip_forward", "1"),
    ("net/ipv6/conf/all/forwarding", "1"),
    ("net/ipv4/conf/all/rp_filter", "0"),
    ("net/ipv4/conf/default/rp_filter", "0"),
];

const RULES: &str = "*mangle
-A FORWARD -m conntrack --ctstate INVALID -j DSCP --set-dscp 1
-A FORWARD -m conntrack --ctstate NEW -j DSCP --set-dscp 2
-A FORWARD -m conntrack --ctstate ESTABLISHED -j DSCP --set-dscp 3
-A FORWARD -m conntrack --ctstate RELATED -j DSCP --set-dscp 4
-A FORWARD -m conntrack --ctstate UNTRACKED -j DSCP --set-dscp 5
COMMIT
";

fn restore(program: &str) {
    let mut child = Command::new(program)
        .stdin(Stdio::piped())
        .spawn()
        .unwrap_or_else(|e| panic!("{program}: {e}: install the package iptables"));
    child.stdin.take().unwrap().write_all(RULES.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success(), "{program} failed");
}
