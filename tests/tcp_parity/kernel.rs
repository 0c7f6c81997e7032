//! The kernel as a router that tracks connections, with us on both sides of it.
//!
//! ```text
//!   us, 10.1.0.2 ── lan 10.1.0.1 ┌────────┐ wan 10.2.0.1 ── us, 10.2.0.2
//!                                │ kernel │
//!                                └────────┘   what it thinks of a packet: in the packet's DSCP
//! ```

use std::fs;
use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use sekisho::base::Mac;
use sekisho::lab::netns::Guard;
use sekisho::lab::probes::Wiretap;
use sekisho::lab::{End, Plan, Topology};
use sekisho::wire::{checksum, proto, sctp};

use crate::ctnetlink::{Ctnetlink, Ports};
use crate::model::{Label, Seen};

/// The hosts: the first begins, as a rule.
pub(crate) const HOSTS: [Ipv4Addr; 2] = [Ipv4Addr::new(10, 1, 0, 2), Ipv4Addr::new(10, 2, 0, 2)];
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
            let octets = HOSTS[i].octets();
            let address = IpAddr::from(Ipv4Addr::new(10, octets[1], 0, 1));
            let router = End::new("router", name).mac(router_mac(i)).mtu(MTU).offload(false);
            plan = plan
                .space(name)
                .sysctl(name, "net/ipv6/conf/default/disable_ipv6", "1")
                .sysctl(name, "net/ipv4/ip_forward", "0")
                .wire(
                    router.address(ipnet::IpNet::new(address, 24).unwrap()),
                    End::new(name, "eth0").mtu(MTU).offload(false),
                )
                .neighbor("router", name, HOSTS[i].into(), host_mac(i));
        }
        let lab = plan.build().unwrap();
        let taps = DEVICES.map(|name| lab[name].run(|| Wiretap::open("eth0")).unwrap());
        let inside = lab["router"].enter().unwrap();
        restore(RULES);
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

    /// Sends a packet from one host to the other and says what the kernel thought of it, and of its flow afterwards.
    pub(crate) fn pass(&mut self, from: usize, ports: Ports, protocol: u8, l4: &[u8]) -> Seen {
        self.taps[from].send(&frame(from, protocol, l4)).unwrap();
        let label = self.forwarded(1 - from, protocol, l4);
        let entry = self.flows.get(protocol, HOSTS, ports);
        Seen { label, entry }
    }

    /// Forgets a flow.
    pub(crate) fn forget(&mut self, protocol: u8, ports: Ports) {
        self.flows.delete(protocol, HOSTS, ports);
    }

    /// What the packet that came out is labelled with; `None` if none came out.
    fn forwarded(&self, at: usize, protocol: u8, l4: &[u8]) -> Option<Label> {
        // The kernel forwards before send(2) returns, but for when it is very busy.
        let deadline = Instant::now() + Duration::from_secs(2);
        loop {
            let frame = self.taps[at].next(deadline).unwrap()?.bytes;
            let is_it = frame.get(12..14) == Some(&[8, 0])
                && frame.get(23) == Some(&protocol)
                && frame.get(34..).is_some_and(|b| b.starts_with(l4));
            if is_it {
                return Some(Label::of_dscp(frame[15] >> 2));
            }
        }
    }
}

fn router_mac(i: usize) -> Mac {
    Mac([2, 0, 0, 0, i as u8, 1])
}

fn host_mac(i: usize) -> Mac {
    Mac([2, 0, 0, 0, i as u8, 2])
}

/// A frame with an IPv4 packet between the hosts.
fn frame(from: usize, protocol: u8, l4: &[u8]) -> Vec<u8> {
    let mut f = router_mac(from).0.to_vec();
    f.extend(host_mac(from).0);
    f.extend([8, 0, 0x45, 0]);
    f.extend((20 + l4.len() as u16).to_be_bytes());
    f.extend([0, 0, 0, 0, 64, protocol, 0, 0]);
    f.extend(HOSTS[from].octets());
    f.extend(HOSTS[1 - from].octets());
    let sum = checksum::checksum(&f[14..]);
    f[24..26].copy_from_slice(&sum.to_be_bytes());
    f.extend(l4);
    f
}

/// Finishes the checksum of what goes from one host to the other.
pub(crate) fn finish(from: usize, protocol: u8, l4: &mut [u8]) {
    match protocol {
        proto::SCTP => sctp::fill_checksum(l4),
        _ if l4.len() >= 18 => {
            l4[16..18].fill(0);
            let pseudo = checksum::pseudo_v4(HOSTS[from], HOSTS[1 - from], protocol, l4.len() as u32);
            let sum = !checksum::fold(pseudo + checksum::sum(l4));
            l4[16..18].copy_from_slice(&sum.to_be_bytes());
        }
        _ => {}
    }
}

/// Room for a payload of nearly 64 KB.
const MTU: u32 = 65_535;

const SETTINGS: [(&str, &str); 4] = [
    ("net/ipv4/ip_forward", "1"),
    ("net/ipv4/conf/all/rp_filter", "0"),
    ("net/ipv4/conf/default/rp_filter", "0"),
    ("net/ipv6/conf/default/disable_ipv6", "1"),
];

const RULES: &str = "*mangle
-A FORWARD -m conntrack --ctstate INVALID -j DSCP --set-dscp 1
-A FORWARD -m conntrack --ctstate NEW -j DSCP --set-dscp 2
-A FORWARD -m conntrack --ctstate ESTABLISHED -j DSCP --set-dscp 3
COMMIT
";

fn restore(rules: &str) {
    let mut command = Command::new("iptables-legacy-restore");
    let mut child =
        command.stdin(Stdio::piped()).spawn().expect("iptables-legacy-restore: apt install iptables");
    child.stdin.take().unwrap().write_all(rules.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success(), "iptables-legacy-restore failed");
}
