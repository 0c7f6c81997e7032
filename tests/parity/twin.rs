//! One router with three segments around it, of which we are all the stations.
//!
//! ```text
//!   us ── lan 10.1.0.0/24 fd01::/64 ──┐ ┌─────────┐ ┌── wan 10.2.0.0/24 fd02::/64 ── us
//!                                     └─┤ .1   .1 ├─┘
//!                                       │  router │
//!                                       └────┬────┘
//!                  us ── dmz 10.3.0.0/24 fd03::/64, MTU 1280
//! ```
//!
//! Two of these stand side by side, alike to the last MAC: in one the kernel routes, in the other Sekisho.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use ipnet::IpNet;
use sekisho::base::Mac;
use sekisho::io::netlink::Refusal;
use sekisho::lab::probes::Wiretap;
use sekisho::lab::{End, Plan, Spawned, Topology, Workplace};

use crate::frame::{self, V4, V6};

/// The segments.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Port {
    Lan = 1,
    Wan = 2,
    Dmz = 3,
}

impl Port {
    pub(crate) const ALL: [Port; 3] = [Port::Lan, Port::Wan, Port::Dmz];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Port::Lan => "lan",
            Port::Wan => "wan",
            Port::Dmz => "dmz",
        }
    }

    /// The router's MAC.
    pub(crate) fn mac(self) -> Mac {
        Mac([2, 0, 0, 0, self as u8, 1])
    }

    /// The router's address.
    pub(crate) fn router4(self) -> Ipv4Addr {
        self.host4(1)
    }

    /// The router's address.
    pub(crate) fn router6(self) -> Ipv6Addr {
        self.host6(1)
    }

    /// The router's link-local address.
    pub(crate) fn link_local(self) -> Ipv6Addr {
        self.mac().link_local()
    }

    /// A station's address.
    pub(crate) fn host4(self, n: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, self as u8, 0, n)
    }

    /// A station's address.
    pub(crate) fn host6(self, n: u16) -> Ipv6Addr {
        Ipv6Addr::new(0xfd00 | self as u16, 0, 0, 0, 0, 0, 0, n)
    }

    /// The MAC of the station with this address: told from its last bytes.
    pub(crate) fn station(self, addr: IpAddr) -> Mac {
        match addr {
            IpAddr::V4(v4) => Mac([2, 4, 0, self as u8, 0, v4.octets()[3]]),
            IpAddr::V6(v6) => Mac([2, 6, 0, self as u8, v6.octets()[14], v6.octets()[15]]),
        }
    }

    pub(crate) fn mtu(self) -> u32 {
        if self == Port::Dmz { 1280 } else { 1500 }
    }

    /// Whether we are a station with this address here.
    fn is_ours(self, addr: IpAddr) -> bool {
        match addr {
            IpAddr::V4(v4) => {
                let o = v4.octets();
                o[..3] == [10, self as u8, 0] && ![0, 1, ABSENT, 255].contains(&o[3])
            }
            IpAddr::V6(v6) => {
                let s = v6.segments();
                let here = v6.is_unicast_link_local() && v6 != self.link_local()
                    || s[..4] == [0xfd00 | self as u16, 0, 0, 0] && v6 != self.router6();
                here && s[7] != u16::from(ABSENT)
            }
        }
    }
}

/// How long the program may take to start, on a busy machine.
const START: Duration = Duration::from_secs(60);

/// The station that is not there, on every segment.
pub(crate) const ABSENT: u8 = 77;

/// Routes of both routers: beyond the wan, and back out of the lan.
pub(crate) const ROUTES: [(&str, &str, &str); 6] = [
    ("10.100.0.0/16", "10.2.0.254", "wan"),
    ("169.254.7.0/24", "10.2.0.254", "wan"),
    ("10.9.0.0/16", "10.1.0.254", "lan"),
    ("fd64::/32", "fd02::fe", "wan"),
    ("fd09::/32", "fd01::fe", "lan"),
    ("fd0a::/32", "fe80::fe", "lan"),
];

/// Routes of both with an MTU of their own, locked or not.
pub(crate) const NARROW: [(&str, &str, &str, u32, bool); 5] = [
    ("10.110.0.0/16", "10.2.0.254", "wan", 1300, false),
    ("10.111.0.0/16", "10.2.0.254", "wan", 1000, true),
    ("10.112.0.0/16", "10.3.0.254", "dmz", 1400, false),
    ("fd6e::/32", "fd02::fe", "wan", 1300, false),
    ("fd6f::/32", "fd02::fe", "wan", 1300, true),
];

/// Routes of both that lead nowhere.
pub(crate) const REFUSALS: [(&str, Refusal); 6] = [
    ("10.66.1.0/24", Refusal::Unreachable),
    ("10.66.2.0/24", Refusal::Prohibit),
    ("10.66.3.0/24", Refusal::Blackhole),
    ("fd66:1::/32", Refusal::Unreachable),
    ("fd66:2::/32", Refusal::Prohibit),
    ("fd66:3::/32", Refusal::Blackhole),
];

/// The word for it in configurations.
fn word(refusal: Refusal) -> &'static str {
    match refusal {
        Refusal::Unreachable => "unreachable",
        Refusal::Prohibit => "prohibit",
        Refusal::Blackhole => "blackhole",
    }
}

/// One of the two.
pub(crate) struct Twin {
    pub(crate) name: &'static str,
    wires: Box<dyn Wires>,
    seen: Vec<(Port, Vec<u8>)>,
    sentinels: Vec<[u8; 4]>,
}

/// Our ends of the segments.
pub(crate) trait Wires {
    /// Sends a frame.
    fn send(&mut self, port: Port, frame: &[u8]);
    /// What came since the last time.
    fn receive(&mut self) -> Vec<(Port, Vec<u8>)>;
}

impl Twin {
    /// A router behind these wires.
    pub(crate) fn new(name: &'static str, wires: impl Wires + 'static) -> Self {
        Twin { name, wires: Box::new(wires), seen: vec![], sentinels: vec![] }
    }

    /// The kernel forwards, with `settings` on top of the usual.
    pub(crate) fn kernel(name: &'static str, settings: &[(&str, &str)]) -> Self {
        Twin::new(name, Taps::open(kernel_plan(settings).build().unwrap()))
    }

    /// Sekisho runs, with one worker.
    pub(crate) fn sekisho() -> Self {
        let lab = segments(false).build().unwrap();
        let place = Workplace::new().unwrap();
        let control = place.path("gw.sock");
        let file = place.write("gw.toml", &config(&control)).unwrap();
        let program = Path::new(env!("CARGO_BIN_EXE_sekisho"));
        let mut router = Spawned::start(&lab["router"], program, &["run", file.to_str().unwrap()]).unwrap();
        router.wait_for_socket(&control, START).unwrap();
        wait_for_addresses(program, &control);
        Twin::new("sekisho", Process { taps: Taps::open(lab), _router: router, _place: place })
    }

    pub(crate) fn send(&mut self, port: Port, frame: &[u8]) {
        self.wires.send(port, frame);
    }

    /// Sends a packet that any router forwards: what was sent before it is done with when it arrives.
    pub(crate) fn send_sentinel(&mut self, port: Port, number: u32) {
        let far = if port == Port::Lan { Port::Wan } else { Port::Lan };
        let (src, dst) = (port.host4(250), far.host4(250));
        let data = [SENTINEL, &number.to_be_bytes()].concat();
        let packet = V4::new(src, dst, frame::UDP, frame::udp(src, dst, [9, 9], &data));
        let frame = frame::ethernet(port.mac(), port.station(src.into()), frame::IPV4, &packet.bytes());
        self.send(port, &frame);
    }

    /// Reads what came, and answers whoever asks for one of our stations' MACs.
    pub(crate) fn pump(&mut self) {
        for (port, bytes) in self.wires.receive() {
            if let Some(reply) = answer(port, &bytes) {
                self.send(port, &reply);
            }
            if let Some(number) = sentinel(&bytes) {
                self.sentinels.push(number);
            } else if !is_chatter(&bytes) {
                self.seen.push((port, bytes));
            }
        }
    }

    /// How often the sentinel of this number arrived.
    pub(crate) fn sentinels(&self, number: u32) -> usize {
        self.sentinels.iter().filter(|n| **n == number.to_be_bytes()).count()
    }

    /// What came since the last time, without sentinels and the router's own questions.
    pub(crate) fn seen(&self) -> &[(Port, Vec<u8>)] {
        &self.seen
    }

    pub(crate) fn forget(&mut self) {
        self.pump();
        self.seen.clear();
        self.sentinels.clear();
    }
}

/// Segments around a namespace whose kernel is the router, with `settings` on top of the usual.
pub(crate) fn kernel_plan(settings: &[(&str, &str)]) -> Plan {
    let mut plan = segments(true);
    for (path, value) in KERNEL_SETTINGS.iter().chain(settings) {
        plan = plan.sysctl("router", path, value);
    }
    for (to, via, dev) in ROUTES {
        plan = plan.route_on("router", to.parse().unwrap(), via.parse().unwrap(), dev);
    }
    for (to, via, dev, mtu, lock) in NARROW {
        let (to, via) = (to.parse().unwrap(), via.parse().unwrap());
        plan = plan.route_on("router", to, via, dev).route_mtu(mtu, lock);
    }
    for (to, how) in REFUSALS {
        plan = plan.refuse("router", to.parse().unwrap(), how);
    }
    plan
}

/// The ends of real wires.
pub(crate) struct Taps {
    /// The namespaces.
    pub(crate) lab: Topology,
    taps: Vec<(Port, Wiretap)>,
}

impl Taps {
    pub(crate) fn open(lab: Topology) -> Self {
        let taps = Port::ALL.map(|p| {
            let tap = lab[p.name()].run(|| Wiretap::open("eth0")).unwrap();
            (p, tap)
        });
        Taps { lab, taps: taps.into() }
    }
}

impl Wires for Taps {
    fn send(&mut self, port: Port, frame: &[u8]) {
        self.taps[port as usize - 1].1.send(frame).unwrap();
    }

    fn receive(&mut self) -> Vec<(Port, Vec<u8>)> {
        let mut came = vec![];
        for (port, tap) in &self.taps {
            let frames = tap.until(Instant::now(), |_| false).unwrap();
            came.extend(frames.into_iter().map(|f| (*port, f.bytes)));
        }
        came
    }
}

/// The ends of real wires, and the program between them.
struct Process {
    taps: Taps,
    _router: Spawned,
    _place: Workplace,
}

impl Wires for Process {
    fn send(&mut self, port: Port, frame: &[u8]) {
        self.taps.send(port, frame);
    }

    fn receive(&mut self) -> Vec<(Port, Vec<u8>)> {
        self.taps.receive()
    }
}

/// Waits until the router has made sure that nobody else has its IPv6 addresses.
fn wait_for_addresses(program: &Path, control: &Path) {
    let deadline = Instant::now() + START;
    loop {
        let mut show = Command::new(program);
        let out = show.args(["ip", "addr"]).env("SEKISHO_CONTROL", control).output().unwrap();
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        let text = String::from_utf8_lossy(&out.stdout);
        if text.contains("inet6 fd01::1") && !text.contains("tentative") {
            return;
        }
        assert!(Instant::now() < deadline, "{text}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// The router's configuration: what [`Twin::kernel`] sets up by netlink and sysctl.
fn config(control: &Path) -> String {
    let mut text = format!("[router]\nname = \"gw\"\nworkers = 1\ncontrol = \"{}\"\n", control.display());
    for port in Port::ALL {
        let (name, mac, mtu) = (port.name(), port.mac(), port.mtu());
        let (v4, v6) = (port.router4(), port.router6());
        text += &format!("[link.{name}]\nkind = \"packet\"\nmac = \"{mac}\"\nmtu = {mtu}\n");
        // Like the kernel's there: what leaves is finished, so that it can be compared.
        text += &format!("offload = \"off\"\naddresses = [\"{v4}/24\", \"{v6}/64\"]\n");
    }
    for (to, via, dev) in ROUTES {
        text += &format!("[[route]]\nto = \"{to}\"\nvia = \"{via}\"\ndev = \"{dev}\"\n");
    }
    for (to, via, dev, mtu, lock) in NARROW {
        text += &format!("[[route]]\nto = \"{to}\"\nvia = \"{via}\"\ndev = \"{dev}\"\n");
        text += &format!("mtu = {mtu}\nmtu_lock = {lock}\n");
    }
    for (to, how) in REFUSALS {
        text += &format!("[[route]]\nto = \"{to}\"\ntype = \"{}\"\n", word(how));
    }
    text
}

/// What the kernel needs to be a router like ours. Namespaces inherit IPv4 settings from the machine, so all
/// that matters is said.
const KERNEL_SETTINGS: [(&str, &str); 9] = [
    ("net/ipv4/ip_forward", "1"),
    ("net/ipv6/conf/all/forwarding", "1"),
    ("net/ipv4/conf/all/rp_filter", "0"),
    ("net/ipv4/conf/default/rp_filter", "0"),
    ("net/ipv4/conf/all/send_redirects", "1"),
    ("net/ipv4/conf/default/send_redirects", "1"),
    ("net/ipv4/conf/all/accept_source_route", "0"),
    ("net/ipv4/conf/default/accept_source_route", "0"),
    ("net/ipv4/icmp_echo_ignore_broadcasts", "1"),
];

/// The segments, with the kernel of the router's namespace having addresses or not. It finishes its own
/// checksums, which would otherwise be read here undone.
pub(crate) fn segments(kernel_routes: bool) -> Plan {
    let mut plan = Plan::new().space("router");
    for port in Port::ALL {
        let mut end = End::new("router", port.name()).mac(port.mac()).mtu(port.mtu()).offload(!kernel_routes);
        if kernel_routes {
            let nets = [IpNet::new(port.router4().into(), 24), IpNet::new(port.router6().into(), 64)];
            end = nets.into_iter().fold(end, |end, net| end.address(net.unwrap()));
        }
        plan = plan
            .space(port.name())
            // We are the stations; the kernel there must keep out of it.
            .sysctl(port.name(), "net/ipv6/conf/all/disable_ipv6", "1")
            .sysctl(port.name(), "net/ipv6/conf/default/disable_ipv6", "1")
            .sysctl(port.name(), "net/ipv4/ip_forward", "0")
            .wire(end, End::new(port.name(), "eth0").mtu(2000).offload(false));
    }
    plan
}

const SENTINEL: &[u8] = b"sentinel";

fn sentinel(frame: &[u8]) -> Option<[u8; 4]> {
    let data = frame.get(14 + 28..)?.strip_prefix(SENTINEL)?;
    data.get(..4)?.try_into().ok()
}

/// Answers ARP requests and neighbor solicitations for our stations.
fn answer(port: Port, bytes: &[u8]) -> Option<Vec<u8>> {
    let asker = Mac(bytes.get(6..12)?.try_into().ok()?);
    match u16::from_be_bytes(bytes.get(12..14)?.try_into().ok()?) {
        frame::ARP if bytes.get(20..22)? == [0, 1] => {
            let sender = (Mac(bytes.get(22..28)?.try_into().ok()?), ipv4(bytes.get(28..32)?));
            let wanted = ipv4(bytes.get(38..42)?);
            let station = port.station(wanted.into());
            let reply = frame::arp(2, (station, wanted), sender);
            port.is_ours(wanted.into()).then(|| frame::ethernet(asker, station, frame::ARP, &reply))
        }
        frame::IPV6 if *bytes.get(20)? == frame::ICMPV6 && *bytes.get(54)? == 135 => {
            let (asking, wanted) = (ipv6(bytes.get(22..38)?), ipv6(bytes.get(62..78)?));
            let station = port.station(wanted.into());
            let option = frame::link_layer_option(2, station);
            /// Solicited, override.
            const FLAGS: u32 = 0x6000_0000;
            let message = frame::neighbor(wanted, asking, 136, FLAGS, wanted, &option);
            let packet = V6 { hops: 255, ..V6::new(wanted, asking, frame::ICMPV6, message) };
            port.is_ours(wanted.into()).then(|| frame::ethernet(asker, station, frame::IPV6, &packet.bytes()))
        }
        _ => None,
    }
}

/// What a router says of its own accord, at moments of its own choosing: ARP requests, neighbor and
/// router solicitations, group reports.
pub(crate) fn is_chatter(bytes: &[u8]) -> bool {
    let from_router = Port::ALL.iter().any(|p| bytes.get(6..12) == Some(&p.mac().0));
    let made_there = |src: &[u8]| {
        let src = ipv6(src);
        src.is_unspecified() || Port::ALL.iter().any(|p| src == p.router6() || src == p.link_local())
    };
    let kind = match bytes.get(20) {
        Some(&frame::ICMPV6) => bytes.get(54),
        // A group report has its router alert option between.
        Some(&frame::HOP_BY_HOP) if bytes.get(54) == Some(&frame::ICMPV6) => bytes.get(62),
        _ => None,
    };
    from_router
        && match bytes.get(12..14).map(|t| u16::from_be_bytes([t[0], t[1]])) {
            Some(frame::ARP) => bytes.get(20..22) == Some(&[0, 1]),
            Some(frame::IPV6) => {
                matches!(kind, Some(131 | 132 | 133 | 135 | 143)) && bytes.get(22..38).is_some_and(made_there)
            }
            _ => false,
        }
}

fn ipv4(bytes: &[u8]) -> Ipv4Addr {
    Ipv4Addr::from(<[u8; 4]>::try_from(bytes).unwrap())
}

fn ipv6(bytes: &[u8]) -> Ipv6Addr {
    Ipv6Addr::from(<[u8; 16]>::try_from(bytes).unwrap())
}
