//! The kernel as a router of both families that tracks connections, with us on both sides of it.
//!
//! ```text
//!   us, 10.1.0.2, .3 ── lan 10.1.0.1 ┌────────┐ wan 10.2.0.1 ── us, 10.2.0.2, .3
//!       fd01::2, ::3       fd01::1   │ kernel │     fd02::1        fd02::2, ::3
//!                                    └────────┘   what it thinks of a packet: in the packet's DSCP
//! ```

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use ipnet::IpNet;
use sekisho::base::Mac;
use sekisho::lab::netns::Guard;
use sekisho::lab::probes::Wiretap;
use sekisho::lab::{End, Plan, Topology};
use sekisho::packet::CtState;

use crate::packets::Message;

const DEVICES: [&str; 2] = ["lan", "wan"];

pub(crate) struct Kernel {
    taps: [Wiretap; 2],
    /// What `conntrack -E` prints, line by line.
    events: Receiver<String>,
    follower: Child,
    /// Flows made to mark a place among the events.
    marks: u16,
    // Last: the thread leaves before the namespaces go.
    _inside: Guard,
    _lab: Topology,
}

/// The `n`th host of a side.
pub(crate) fn host(side: usize, n: u8, v6: bool) -> IpAddr {
    match v6 {
        false => Ipv4Addr::new(10, 1 + side as u8, 0, 2 + n).into(),
        true => Ipv6Addr::new(0xfd01 + side as u16, 0, 0, 0, 0, 0, 0, 2 + u16::from(n)).into(),
    }
}

impl Kernel {
    /// A router, with the calling thread inside.
    pub(crate) fn new() -> Kernel {
        let mut plan = Plan::new().space("router");
        for (path, value) in SETTINGS {
            plan = plan.sysctl("router", path, value);
        }
        for (side, name) in DEVICES.into_iter().enumerate() {
            let end = End::new("router", name)
                .mac(mac(side, 1))
                .address(IpNet::new(Ipv4Addr::new(10, 1 + side as u8, 0, 1).into(), 24).unwrap())
                .address(
                    IpNet::new(Ipv6Addr::new(0xfd01 + side as u16, 0, 0, 0, 0, 0, 0, 1).into(), 64).unwrap(),
                )
                .offload(false);
            plan = plan
                .space(name)
                .sysctl(name, "net/ipv6/conf/default/disable_ipv6", "1")
                .sysctl(name, "net/ipv4/ip_forward", "0")
                .wire(end, End::new(name, "eth0").offload(false));
            for (n, v6) in [(0, false), (1, false), (0, true), (1, true)] {
                plan = plan.neighbor("router", name, host(side, n, v6), mac(side, 2));
            }
        }
        let lab = plan.build().unwrap();
        let taps = DEVICES.map(|name| lab[name].run(|| Wiretap::open("eth0")).unwrap());
        let inside = lab["router"].enter().unwrap();
        for program in ["iptables-legacy-restore", "ip6tables-legacy-restore"] {
            restore(program);
        }
        let (follower, events) = follow();
        let mut kernel = Kernel { taps, events, follower, marks: 0, _inside: inside, _lab: lab };
        // It may take a while until it listens.
        while kernel.events_until_mark(Duration::from_millis(200)).is_none() {}
        kernel
    }

    /// What `conntrack -E` has printed since it was asked last, but for what programs did.
    pub(crate) fn events(&mut self) -> Vec<String> {
        self.events_until_mark(Duration::from_secs(60)).expect("conntrack -E tells of the mark")
    }

    /// Events come when they come: those of a flow that is made now come behind all others.
    fn events_until_mark(&mut self, patience: Duration) -> Option<Vec<String>> {
        self.marks += 1;
        let port = self.marks.to_string();
        let mark = [
            "-I",
            "-p",
            "udp",
            "-s",
            "192.0.2.1",
            "-d",
            "192.0.2.2",
            "-t",
            "9",
            "--dport",
            "9",
            "--sport",
            &port,
        ];
        let made = Command::new("conntrack").args(mark).stderr(Stdio::null()).status().unwrap();
        assert!(made.success());
        let (deadline, mark) = (Instant::now() + patience, format!(" sport={port} dport=9 "));
        let mut lines = vec![];
        loop {
            let line = self.events.recv_timeout(deadline.saturating_duration_since(Instant::now())).ok()?;
            if line.contains(MARK) && line.contains(&mark) && line.contains("[NEW]") {
                return Some(lines);
            }
            if !line.contains("[USERSPACE]") && !line.contains(MARK) {
                lines.push(line);
            }
        }
    }

    /// Sends a packet and says what the kernel thought of it. It carries a number by which it is known again.
    pub(crate) fn pass(&mut self, message: &Message, number: u16) -> CtState {
        let mut frame = [mac(message.side, 1).0, mac(message.side, 2).0].concat();
        frame.extend(if message.v6() { [0x86, 0xdd] } else { [8, 0] });
        frame.extend(message.bytes(number));
        self.taps[message.side].send(&frame).unwrap();
        // The kernel forwards before send(2) returns, but for when it is very busy.
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            let came = self.taps[1 - message.side].next(deadline).unwrap();
            let frame = came.unwrap_or_else(|| panic!("not forwarded: {message:?}")).bytes;
            let class = match frame.get(12..14) {
                Some([8, 0]) if frame[18..20] == number.to_be_bytes() => frame[15] >> 2,
                // The flow label's lower half.
                Some([0x86, 0xdd]) if frame[16..18] == number.to_be_bytes() => {
                    (u16::from_be_bytes([frame[14], frame[15]]) >> 6 & 0x3f) as u8
                }
                _ => continue,
            };
            return match class {
                1 => CtState::Invalid,
                2 => CtState::New,
                3 => CtState::Established,
                4 => CtState::Related,
                5 => CtState::Untracked,
                other => panic!("no label: {other}"),
            };
        }
    }

    /// What `conntrack -L` prints, in order.
    pub(crate) fn list(&self) -> Vec<String> {
        let out = Command::new("conntrack").args(["-L", "-o", "extended"]).stderr(Stdio::null()).output();
        let out = out.expect("conntrack: apt install conntrack");
        assert!(out.status.success());
        let mut lines: Vec<String> =
            String::from_utf8(out.stdout).unwrap().lines().map(str::to_owned).collect();
        lines.retain(|line| !line.contains(MARK));
        lines.sort();
        lines
    }

    /// Forgets all flows.
    pub(crate) fn flush(&self) {
        let done = Command::new("conntrack").arg("-F").stderr(Stdio::null()).status();
        assert!(done.expect("conntrack: apt install conntrack").success());
    }
}

impl Drop for Kernel {
    fn drop(&mut self) {
        let _ = self.follower.kill();
        let _ = self.follower.wait();
    }
}

/// `conntrack -E`, and its lines.
fn follow() -> (Child, Receiver<String>) {
    let mut command = Command::new("conntrack");
    command.args(["-E", "-o", "extended", "-b", "8000000"]).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().expect("conntrack: apt install conntrack");
    let (to, lines) = mpsc::channel();
    let out = BufReader::new(child.stdout.take().unwrap());
    thread::spawn(move || out.lines().map_while(Result::ok).try_for_each(|line| to.send(line)));
    (child, lines)
}

fn mac(side: usize, station: u8) -> Mac {
    Mac([2, 0, 0, 0, side as u8, station])
}

/// What the lines of flows have that mark a place among the events.
const MARK: &str = " src=192.0.2.1 ";

const SETTINGS: [(&str, &str); 7] = [
    ("net/ipv4/ip_forward", "1"),
    ("net/ipv4/conf/all/rp_filter", "0"),
    ("net/ipv4/conf/default/rp_filter", "0"),
    ("net/ipv6/conf/all/forwarding", "1"),
    ("net/ipv6/conf/default/accept_dad", "0"),
    ("net/ipv6/conf/all/accept_dad", "0"),
    ("net/ipv6/conf/default/accept_ra", "0"),
];

fn restore(program: &str) {
    let mut child = Command::new(program)
        .stdin(Stdio::piped())
        .spawn()
        .unwrap_or_else(|e| panic!("{program}: {e}: apt install iptables"));
    let mut rules = "*mangle\n".to_owned();
    for (class, state) in ["INVALID", "NEW", "ESTABLISHED", "RELATED", "UNTRACKED"].into_iter().enumerate() {
        let class = class + 1;
        rules += &format!("-A FORWARD -m conntrack --ctstate {state} -j DSCP --set-dscp {class}\n");
    }
    rules += "COMMIT\n";
    child.stdin.take().unwrap().write_all(rules.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success(), "{program} failed");
}
