//! A gateway with rules between two inside networks and the world:
//!
//! ```text
//!   client 10.1.0.2, fd01::2 ── lan ┐                  192.0.2.2                198.51.100.0/24
//!                                   ├ gateway ── wan ──────────── isp ─────────────────── server .2
//!   second 10.3.0.2, fd03::2 ── dmz ┘             2001:db8:1::2    │  2001:db8:2::/64       ::2
//!                                                                 .1, ::1 on both sides
//! ```
//!
//! The isp's router is a kernel's. It has routes to the inside, as a neighbor that means no good would have; so what
//! gets in or out untranslated was let by the gateway. With `SEKISHO_LAB_KERNEL=1` the gateway is the kernel
//! too, with the same rules from `iptables-legacy-restore`: this is how the tests themselves are tested.

use std::env;
use std::fs;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use sekisho::base::Mac;
use sekisho::lab::probes::{Ping, Wiretap};
use sekisho::lab::{End, Netns, Plan, Topology, Workplace};

use crate::gateway::{LAN_MAC, Program, WAN_MAC, drops, ip, net};

pub(crate) const DMZ_MAC: Mac = Mac([2, 0, 0, 0, 3, 1]);

/// IPv4, then IPv6.
pub(crate) const CLIENT: [&str; 2] = ["10.1.0.2", "fd01::2"];
pub(crate) const SECOND: [&str; 2] = ["10.3.0.2", "fd03::2"];
pub(crate) const LAN: [&str; 2] = ["10.1.0.1", "fd01::1"];
pub(crate) const DMZ: [&str; 2] = ["10.3.0.1", "fd03::1"];
pub(crate) const WAN: [&str; 2] = ["192.0.2.2", "2001:db8:1::2"];
pub(crate) const ISP: [&str; 2] = ["192.0.2.1", "2001:db8:1::1"];
pub(crate) const SERVER: [&str; 2] = ["198.51.100.2", "2001:db8:2::2"];

/// How long an answer that has to come may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
/// How long is waited for one that must not come.
pub(crate) const SILENCE: Duration = Duration::from_millis(400);

/// What an ordinary gateway has: inside begins what it likes, outside nothing, and nobody there sees the inside.
pub(crate) const STATEFUL: [&str; 2] = [
    "\
*nat
:PREROUTING ACCEPT [0:0]
:INPUT ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
-A POSTROUTING -o wan -j MASQUERADE
COMMIT
*filter
:INPUT DROP [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A INPUT ! -i wan -j ACCEPT
-A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A FORWARD ! -i wan -o wan -m conntrack --ctstate NEW -j ACCEPT
COMMIT
",
    "\
*nat
:PREROUTING ACCEPT [0:0]
:INPUT ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
-A POSTROUTING -o wan -j MASQUERADE
COMMIT
*filter
:INPUT DROP [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A INPUT ! -i wan -j ACCEPT
-A INPUT -p ipv6-icmp -m icmp6 --icmpv6-type 135 -j ACCEPT
-A INPUT -p ipv6-icmp -m icmp6 --icmpv6-type 136 -j ACCEPT
-A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A FORWARD ! -i wan -o wan -m conntrack --ctstate NEW -j ACCEPT
COMMIT
",
];

/// What can be chosen.
#[derive(Clone)]
pub(crate) struct Choice<'a> {
    /// IPv4's and IPv6's.
    pub(crate) rules: [&'a str; 2],
    /// Keys of `[conntrack]`.
    pub(crate) conntrack: &'a str,
    /// Of the wire behind the isp.
    pub(crate) far_mtu: u32,
    pub(crate) workers: usize,
}

impl Default for Choice<'_> {
    fn default() -> Self {
        Choice { rules: STATEFUL, conntrack: "", far_mtu: 1500, workers: 1 }
    }
}

/// The gateway that runs.
pub(crate) struct Home {
    pub(crate) lab: Topology,
    /// Absent where the kernel does it.
    program: Option<Program>,
}

impl Home {
    pub(crate) fn new(choice: &Choice<'_>) -> Self {
        let kernel = env::var_os("SEKISHO_LAB_KERNEL").is_some();
        let lab = hosts(choice, kernel);
        let program = if kernel {
            for (tool, rules) in
                ["iptables-legacy-restore", "ip6tables-legacy-restore"].iter().zip(choice.rules)
            {
                restore(&lab["router"], tool, rules);
            }
            echo(&lab["router"]);
            None
        } else {
            Some(Program::start(&lab["router"], |control| config(choice, control)))
        };
        let home = Home { lab, program };
        home.acquaint();
        home
    }

    /// The usual, with rules for a stateful gateway.
    pub(crate) fn stateful() -> Self {
        Home::new(&Choice::default())
    }

    pub(crate) fn client(&self) -> &Netns {
        &self.lab["client"]
    }

    pub(crate) fn second(&self) -> &Netns {
        &self.lab["second"]
    }

    pub(crate) fn isp(&self) -> &Netns {
        &self.lab["isp"]
    }

    pub(crate) fn server(&self) -> &Netns {
        &self.lab["server"]
    }

    /// Every host and the isp have the next hop's MAC.
    fn acquaint(&self) {
        let pairs =
            [(self.client(), LAN), (self.second(), DMZ), (self.server(), ["198.51.100.1", "2001:db8:2::1"])];
        for (host, to) in pairs {
            for to in to {
                assert!(host.run(|| Ping::new(ip(to)).run()).unwrap().complete(), "{} to {to}", host.name());
            }
        }
    }

    /// The flow table, a flow a line.
    pub(crate) fn flows(&self) -> Vec<String> {
        let text = match &self.program {
            Some(program) => program.tell(&["conntrack", "-L"]),
            None => self.lab["router"]
                .run(|| fs::read_to_string("/proc/thread-self/net/nf_conntrack"))
                .expect("the kernel shows its table"),
        };
        text.lines().map(str::to_owned).collect()
    }

    /// The flows whose line has all these words.
    pub(crate) fn flows_with(&self, words: &[&str]) -> Vec<String> {
        self.flows().into_iter().filter(|l| words.iter().all(|w| l.contains(w))).collect()
    }

    /// The identifiers of these flows, which no other flow gets. Nothing to say of a kernel's.
    pub(crate) fn flow_ids(&self, which: &str) -> Vec<String> {
        let Some(program) = &self.program else { return Vec::new() };
        let words: Vec<&str> = "conntrack -L -o id".split(' ').chain(which.split(' ')).collect();
        let text = program.tell(&words);
        let of = |line: &str| line.split(' ').find(|w| w.starts_with("id=")).map(str::to_owned);
        text.lines().map(|l| of(l).unwrap_or_else(|| panic!("no id in {l}"))).collect()
    }

    /// Whether it is the kernel's doing.
    pub(crate) fn is_kernel(&self) -> bool {
        self.program.is_none()
    }

    /// How many packets ended for this reason; nothing to say of a kernel.
    pub(crate) fn drops(&self, reason: &str) -> Option<i64> {
        self.program.as_ref().map(|p| drops(&p.stats(), reason))
    }

    pub(crate) fn stop(self) {
        if let Some(program) = self.program {
            program.stop();
        }
    }
}

fn hosts(choice: &Choice<'_>, kernel: bool) -> Topology {
    let end = |space: &str, device: &str, addresses: [&str; 2]| {
        addresses.iter().fold(End::new(space, device), |e, a| {
            let len = if a.contains(':') { 64 } else { 24 };
            e.address(net(&format!("{a}/{len}")))
        })
    };
    // Its devices have addresses of their own only where the kernel routes.
    let gateway = |device: &str, mac: Mac, addresses: [&str; 2]| {
        let e = if kernel { end("router", device, addresses) } else { End::new("router", device) };
        e.mac(mac)
    };
    let second =
        BACKENDS.iter().fold(end("second", "eth0", SECOND), |e, a| e.address(net(&format!("{a}/24"))));
    let mut plan =
        ["client", "second", "router", "isp", "server"].iter().fold(Plan::new(), |p, s| p.space(s));
    for space in if kernel { &["isp", "router"][..] } else { &["isp"] } {
        plan =
            plan.sysctl(space, "net/ipv4/ip_forward", "1").sysctl(space, "net/ipv6/conf/all/forwarding", "1");
    }
    plan = plan
        .wire(end("client", "eth0", CLIENT), gateway("lan", LAN_MAC, LAN))
        .wire(second, gateway("dmz", DMZ_MAC, DMZ))
        .wire(gateway("wan", WAN_MAC, WAN), end("isp", "gw", ISP))
        .wire(
            end("isp", "net", ["198.51.100.1", "2001:db8:2::1"]).mtu(choice.far_mtu),
            end("server", "eth0", SERVER).mtu(choice.far_mtu),
        );
    let routes = [
        ("client", ["0.0.0.0/0", "::/0"], LAN),
        ("second", ["0.0.0.0/0", "::/0"], DMZ),
        ("server", ["0.0.0.0/0", "::/0"], ["198.51.100.1", "2001:db8:2::1"]),
        ("isp", ["10.0.0.0/8", "fd00::/8"], WAN),
        ("router", ["0.0.0.0/0", "::/0"], ISP),
    ];
    for (space, to, via) in routes.iter().filter(|r| kernel || r.0 != "router") {
        for (to, via) in to.iter().zip(via) {
            plan = plan.route(space, net(to), ip(via));
        }
    }
    plan.build().unwrap()
}

/// More addresses of the second host.
pub(crate) const BACKENDS: [&str; 3] = ["10.3.0.11", "10.3.0.12", "10.3.0.13"];

fn config(choice: &Choice<'_>, control: &Path) -> String {
    let Choice { rules: [rules4, rules6], conntrack, workers, .. } = choice;
    let link = |name: &str, mac: Mac, [v4, v6]: [&str; 2]| {
        format!(
            "[link.{name}]\nkind = \"packet\"\nmac = \"{mac}\"\naddresses = [\"{v4}/24\", \"{v6}/64\"]\n\n"
        )
    };
    let links = [link("lan", LAN_MAC, LAN), link("dmz", DMZ_MAC, DMZ), link("wan", WAN_MAC, WAN)].concat();
    let routes: String =
        ISP.iter().map(|via| format!("[[route]]\nto = \"default\"\nvia = \"{via}\"\n\n")).collect();
    format!(
        r#"
[router]
name = "gw"
workers = {workers}
control = "{}"

{links}{routes}[firewall]
rules4 = '''
{rules4}'''
rules6 = '''
{rules6}'''

[conntrack]
{conntrack}

[services]
echo = true
"#,
        control.display()
    )
}

/// Gives the rules to the kernel.
fn restore(netns: &Netns, tool: &str, rules: &str) {
    let place = Workplace::new().unwrap();
    let file = place.write("rules", rules).unwrap();
    let mut command = Command::new(tool);
    let out = netns.command(command.arg(file)).output().unwrap();
    assert!(out.status.success(), "{tool}: {}", String::from_utf8_lossy(&out.stderr));
}

/// The echo service, where the program under test isn't there to give it.
fn echo(netns: &Netns) {
    // Takes IPv4 as well.
    let listener = netns.run(|| TcpListener::bind((ip("::"), 7))).unwrap();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            thread::spawn(move || io::copy(&mut stream.try_clone().unwrap(), &mut stream));
        }
    });
}

/// Listens for TCP.
pub(crate) fn listen(at: &Netns, addr: &str, port: u16) -> TcpListener {
    let listener = at.run(|| TcpListener::bind((ip(addr), port))).unwrap();
    listener.set_nonblocking(true).unwrap();
    listener
}

/// The next connection and who it is from.
pub(crate) fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match listener.accept() {
            Ok((stream, from)) => {
                stream.set_nonblocking(false).unwrap();
                return (patient(stream), from);
            }
            Err(e) if e.kind() == ErrorKind::WouldBlock => {}
            Err(e) => panic!("{e}"),
        }
        assert!(Instant::now() < deadline, "nobody came");
        thread::sleep(Duration::from_millis(1));
    }
}

fn patient(stream: TcpStream) -> TcpStream {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

pub(crate) fn connect(from: &Netns, addr: &str, port: u16) -> io::Result<TcpStream> {
    connect_within(from, addr, port, PATIENCE)
}

pub(crate) fn connect_within(from: &Netns, addr: &str, port: u16, within: Duration) -> io::Result<TcpStream> {
    let to = SocketAddr::new(ip(addr), port);
    from.run(|| TcpStream::connect_timeout(&to, within)).map(patient)
}

/// Sends something through a connection, and back.
pub(crate) fn converse(a: &mut TcpStream, b: &mut TcpStream) -> io::Result<()> {
    for text in [&b"there"[..], &[7; 5000]] {
        a.write_all(text)?;
        let mut came = vec![0; text.len()];
        b.read_exact(&mut came)?;
        assert!(came == text);
        std::mem::swap(&mut *a, &mut *b);
    }
    Ok(())
}

/// A UDP socket that waits patiently.
pub(crate) fn udp(at: &Netns, addr: &str, port: u16) -> UdpSocket {
    let socket = at.run(|| UdpSocket::bind((ip(addr), port))).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

/// What comes next at a socket, and from whom; `None` if nothing does for a while.
pub(crate) fn heard(socket: &UdpSocket, wait: Duration) -> Option<(Vec<u8>, SocketAddr)> {
    socket.set_read_timeout(Some(wait)).unwrap();
    let mut buffer = [0; 2048];
    match socket.recv_from(&mut buffer) {
        Ok((n, from)) => Some((buffer[..n].to_vec(), from)),
        Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => None,
        Err(e) => panic!("{e}"),
    }
}

/// Sends a frame, when the device takes more if it does not now.
pub(crate) fn press(tap: &Wiretap, frame: &[u8]) {
    let deadline = Instant::now() + PATIENCE;
    while let Err(e) = tap.send(frame) {
        assert!(Instant::now() < deadline, "the device takes no more: {e}");
        assert!(
            matches!(e.source.kind(), ErrorKind::WouldBlock)
                || e.source.raw_os_error() == Some(libc::ENOBUFS),
            "{e}"
        );
        thread::sleep(Duration::from_millis(1));
    }
}

/// The unspecified address of the family.
pub(crate) fn any(like: &str) -> &'static str {
    if like.contains(':') { "::" } else { "0.0.0.0" }
}

/// Waits for a condition, for as long as a machine with a lot else to do may take.
#[track_caller]
pub(crate) fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(100);
    while !done() {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        thread::sleep(Duration::from_millis(10));
    }
}

/// Whether a socket's address has this IP address.
pub(crate) fn same(addr: SocketAddr, text: &str) -> bool {
    let expected: IpAddr = ip(text);
    addr.ip() == expected
}
