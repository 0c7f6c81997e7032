//! `sekisho ip` and the kernel's `ip`, told the same in the same state: exit codes, first words of refusals, tables.
//!
//! ```text
//!   kernel lan ──── k1 far r1 ──── lan [sekisho run]
//!   kernel wan ──── k2     r2 ──── wan
//! ```

use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use sekisho::lab::{End, Netns, Plan, Topology, Workplace, isolate, tools};

use crate::gateway::{LAN_MAC, Program, SEKISHO, WAN_MAC, net};

/// How long something may take to be told.
const SOON: Duration = Duration::from_secs(30);

/// Both of them.
pub(crate) struct Pair {
    lab: Topology,
    program: Program,
    place: Workplace,
}

/// What one of them said.
#[derive(Debug, PartialEq, Eq)]
struct Ran {
    code: Option<i32>,
    out: String,
    /// The first line on stderr: ours has a sentence more.
    err: String,
}

impl Pair {
    /// `None`, with a line that says so, where there is no iproute2 to compare with.
    pub(crate) fn new() -> Option<Self> {
        if !tools::usable(&tools::IPROUTE) {
            return None;
        }
        let lan = |space: &str| End::new(space, "lan").mac(LAN_MAC);
        let wan = |space: &str| End::new(space, "wan").mac(WAN_MAC);
        let kernel = ["10.1.0.1/24", "fd01::1/64"].map(net).into_iter().fold(lan("kernel"), End::address);
        let kernel_wan = ["10.2.0.1/24", "fd02::1/64"].map(net).into_iter().fold(wan("kernel"), End::address);
        let lab = Plan::new()
            .space("kernel")
            .space("router")
            .space("far")
            .wire(kernel, End::new("far", "k1"))
            .wire(kernel_wan, End::new("far", "k2"))
            .wire(lan("router"), End::new("far", "r1"))
            .wire(wan("router"), End::new("far", "r2"))
            .sysctl("kernel", "net/ipv4/ip_forward", "1")
            .sysctl("kernel", "net/ipv6/conf/all/forwarding", "1")
            .build()
            .unwrap();
        let program = Program::start(&lab["router"], config);
        Some(Pair { lab, program, place: Workplace::new().unwrap() })
    }

    fn kernel(&self) -> &Netns {
        &self.lab["kernel"]
    }

    fn command(&self, ours: bool, words: &[&str]) -> Command {
        let mut command = Command::new(if ours { SEKISHO } else { "ip" });
        if ours {
            command.arg("ip").env("SEKISHO_CONTROL", self.program.control());
        }
        command.args(words);
        command
    }

    /// What came of it.
    pub(crate) fn output(&self, ours: bool, words: &[&str]) -> Output {
        let mut command = self.command(ours, words);
        if !ours {
            self.kernel().command(&mut command);
        }
        command.output().unwrap()
    }

    pub(crate) fn stop(self) {
        self.program.stop();
    }

    fn run(&self, ours: bool, words: &str) -> Ran {
        let words: Vec<&str> = words.split_whitespace().collect();
        let ran = self.output(ours, &words);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let err = text(&ran.stderr).lines().next().unwrap_or_default().to_owned();
        // What went well may have a note to it.
        let err = if ran.status.success() { String::new() } else { err };
        Ran { code: ran.status.code(), out: text(&ran.stdout), err }
    }

    /// Tells both.
    fn same(&self, words: &str) {
        let (ours, kernel) = (self.run(true, words), self.run(false, words));
        assert_eq!(ours, kernel, "ip {words}");
    }

    /// Both show the same, apart from what only one of them has by itself.
    fn show_the_same(&self) {
        let noise = |line: &&str| {
            // IPv6's multicast, and link-local prefixes, whose order is that of the links' numbers.
            !["multicast ", "fe80::/64", "ff00::/8"].iter().any(|of| line.starts_with(of))
        };
        for words in ["-4 route", "-6 route", "neigh show nud permanent", "-j route show via 10.2.0.2"] {
            let [ours, kernel] = [true, false].map(|ours| self.run(ours, words).out);
            let lines =
                |text: &str| -> Vec<String> { text.lines().filter(noise).map(str::to_owned).collect() };
            assert_eq!(lines(&ours), lines(&kernel), "ip {words}");
        }
        for link in ["lan", "wan"] {
            let addresses = |ours| {
                let out = self.run(ours, &format!("-br addr show {link}")).out;
                let mut all: Vec<String> = out.split_whitespace().skip(2).map(str::to_owned).collect();
                all.sort();
                all
            };
            assert_eq!(addresses(true), addresses(false), "{link}");
        }
    }

    /// Begins to watch, and waits until that is so.
    fn watch(&self, ours: bool, words: &[&str]) -> Watcher {
        let file = self.place.path(&format!("{ours}-{}", words.join("")));
        let mut command = self.command(ours, words);
        command.stdout(Stdio::from(File::create(&file).unwrap())).stdin(Stdio::null());
        if !ours {
            self.kernel().command(&mut command);
        }
        Watcher { child: command.spawn().unwrap(), file }
    }
}

struct Watcher {
    child: Child,
    file: std::path::PathBuf,
}

impl Watcher {
    fn said(&self) -> String {
        fs::read_to_string(&self.file).unwrap()
    }

    fn wait_for(&self, text: &str) {
        let deadline = Instant::now() + SOON;
        // With the whole of the line.
        while !self.said().split_once(text).is_some_and(|(_, rest)| rest.contains('\n')) {
            assert!(Instant::now() < deadline, "'{text}' is not told: {}", self.said());
            thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn config(control: &Path) -> String {
    format!(
        "[router]\nname = \"gw\"\nworkers = 1\ncontrol = \"{}\"\n\
         [link.lan]\nkind = \"packet\"\nmac = \"{LAN_MAC}\"\naddresses = [\"10.1.0.1/24\", \"fd01::1/64\"]\n\
         [link.wan]\nkind = \"packet\"\nmac = \"{WAN_MAC}\"\naddresses = [\"10.2.0.1/24\", \"fd02::1/64\"]\n",
        control.display()
    )
}

#[test]
fn changes_are_made_and_refused_as_the_kernel_does() {
    isolate::test(|| {
        let Some(pair) = Pair::new() else { return };
        pair.show_the_same();
        for words in [
            "route add 10.9.0.0/16 via 10.2.0.2",
            "route add 10.9.0.0/16 via 10.2.0.2",
            "route add 10.9.0.0/16 via 10.2.0.3 metric 7 proto bgp",
            "route replace 10.9.0.0/16 via 10.2.0.4 src 10.1.0.1",
            "route change 10.9.0.0/16 via 10.2.0.2",
            "route change 10.8.0.0/16 via 10.2.0.2",
            "route add 10.8.0.0/16 via 10.77.0.2",
            "route add 10.8.0.0/16 via 10.2.0.2 dev lan",
            "route add 10.8.0.0/16 dev nope",
            "route add 10.8.0.1/16 dev lan",
            "route add 10.8.0.0/16 dev lan",
            "route add unreachable 10.7.0.0/16",
            "route add prohibit 10.6.0.0/16",
            "route add blackhole 10.5.0.0/16 metric 9",
            "route add 10.4.0.0/16 via inet6 fd02::2 dev wan",
            "route add default nexthop via 10.1.0.2 weight 3 nexthop via 10.2.0.2 dev wan",
            "route add 198.51.100.0/24 via 203.0.113.9 dev wan onlink",
            "route del 10.9.0.0/16 via 10.2.0.9",
            "route del 10.9.0.0/16 metric 7",
            "route del 10.3.0.0/16",
            "-6 route add default via fe80::9 dev wan",
            "route add fd09::/32 via fd02::2",
            "route add fd09::/32 via fd02::3",
            "route append fd09::/32 via fd02::3",
            "route add fd08::/32 via fd77::2",
            "route add fd08::/32 via fd01::2 metric 5 proto static",
            "route add unreachable fd07::/32 metric 5",
            "-6 route del fd06::/32",
            "route del fd09::/32 via fd02::2",
            "addr add 10.11.0.1/24 dev lan",
            "addr add 10.11.0.1/24 dev lan",
            "addr replace 10.11.0.1/24 dev lan",
            "addr add 10.11.0.1/24 dev nope",
            "addr del 10.11.0.9/24 dev lan",
            "addr del 10.11.0.1/25 dev lan",
            "-6 addr del fd05::9/64 dev lan",
            "-6 addr add fd01::1/64 dev lan",
            "route add 10.12.0.0/16 via 10.11.0.2",
            "neigh add 10.1.0.2 lladdr 02:00:00:00:00:02 dev lan",
            "neigh add 10.1.0.2 lladdr 02:00:00:00:00:02 dev lan",
            "neigh replace 10.1.0.2 lladdr 02:00:00:00:00:03 dev lan",
            "neigh change 10.1.0.3 lladdr 02:00:00:00:00:03 dev lan",
            "neigh add fd01::2 lladdr 02:00:00:00:00:02 dev lan",
            "neigh del 10.1.0.3 dev lan",
            "neigh del fd01::2 dev lan",
            "neigh del 10.1.0.2 dev lan",
            "neigh add 10.1.0.3 lladdr 02:00:00:00:00:03 dev nope",
            "link set nope up",
            "link del nope",
            "link set lan mtu 1400",
            "route flush 10.9.0.0/16",
            "route flush proto static",
            // Linux lets a route stand whose gateway is on no link any more, as long as the link has another address.
            "route del default",
            "addr del 10.1.0.1/24 dev lan",
            "addr del 10.11.0.1/24 dev lan",
            "addr flush dev nope",
            "-4 addr flush dev wan",
        ] {
            pair.same(words);
            pair.show_the_same();
        }
        pair.program.stop();
    });
}

#[test]
fn ways_are_those_of_the_kernel() {
    isolate::test(|| {
        let Some(pair) = Pair::new() else { return };
        for words in [
            "route add 10.9.0.0/16 via 10.2.0.2",
            "route add 10.4.0.0/16 via inet6 fd02::2 dev wan",
            "route add unreachable 10.7.0.0/16",
            "route add prohibit 10.6.0.0/16",
            "route add blackhole 10.5.0.0/16",
            "route add 10.3.0.0/16 via 10.2.0.2 src 10.1.0.1",
            "route add fd09::/32 via fd02::2 proto bgp",
            "route add unreachable fd07::/32",
            "addr add 10.2.0.7/24 dev wan",
        ] {
            pair.same(words);
        }
        for words in [
            "10.9.1.1",
            "10.4.1.1",
            "10.3.1.1",
            "10.1.0.1",
            "10.1.0.77",
            "10.1.0.255",
            "10.2.0.7",
            "10.7.0.1",
            "10.6.0.1",
            "10.5.0.1",
            "8.8.8.8",
            "127.0.0.1",
            "224.0.0.5",
            "255.255.255.255",
            "255.255.255.255 oif lan",
            "10.9.1.1 mark 7",
            "10.9.1.1 from 10.1.0.1",
            "10.9.1.1 from 10.1.0.99",
            "10.9.1.1 oif wan",
            "10.9.1.1 oif lan",
            "10.1.0.9 oif wan",
            "10.9.1.1 oif nope",
            "10.9.1.1 sport 7 dport 8 ipproto tcp",
            "10.9.1.1 uid 7",
            "10.9.1.1 from 10.1.0.7 iif lan",
            "10.9.1.1 from 10.1.0.7 iif lan mark 5",
            "10.1.0.1 from 10.1.0.7 iif lan",
            "10.1.0.9 from 10.1.0.7 iif lan",
            "10.9.1.1 from 10.1.0.1 iif lan",
            "10.77.1.1 from 10.1.0.7 iif lan",
            "10.6.0.1 from 10.1.0.7 iif lan",
            "10.5.0.1 from 10.1.0.7 iif lan",
            "10.1.0.255 from 10.1.0.7 iif lan",
            "127.0.0.1 from 10.1.0.7 iif lan",
            "10.9.1.1 iif lan",
            "fd09::1",
            "fd01::7",
            "fd01::1",
            "fd07::1",
            "fd77::1",
            "::1",
            "fd09::1 from fd01::7 iif lan",
            "fd01::1 from fd01::7 iif lan",
            "fd09::1 oif lan",
            "fd09::1 mark 3",
            "fibmatch 10.9.1.1",
        ] {
            for options in ["", "-j", "-o", "-d"] {
                // What -d says of IPv6 routes besides, and of local ones, is not all said here.
                if options != "-d" || words == "10.9.1.1" {
                    pair.same(&format!("{options} route get {words}"));
                }
            }
        }
        pair.program.stop();
    });
}

#[test]
fn what_changes_is_told_as_the_kernel_tells_it() {
    isolate::test(|| {
        let Some(pair) = Pair::new() else { return };
        let words = ["-4", "monitor", "route", "neigh"];
        let watchers = [true, false].map(|ours| pair.watch(ours, &words));
        // Until the first change is heard of, nobody may have listened.
        let deadline = Instant::now() + SOON;
        let mut n = 0;
        while watchers.iter().any(|w| !w.said().contains("192.0.2.")) {
            assert!(Instant::now() < deadline, "nothing is told");
            n = n % 250 + 1;
            pair.same(&format!("route add 192.0.2.{n} via 10.2.0.2"));
            thread::sleep(Duration::from_millis(20));
        }
        for words in [
            "route add 10.9.0.0/16 via 10.2.0.2",
            "route replace 10.9.0.0/16 via 10.2.0.3",
            "route add unreachable 10.7.0.0/16",
            "route add 10.8.0.0/16 nexthop via 10.2.0.2 nexthop via 10.1.0.2 weight 2",
            "neigh add 10.1.0.2 lladdr 02:00:00:00:00:02 dev lan",
            "neigh replace 10.1.0.2 lladdr 02:00:00:00:00:03 dev lan nud stale",
            "route del 10.9.0.0/16",
            "route del 10.7.0.0/16",
            "route add 10.10.0.0/16 dev lan",
        ] {
            pair.same(words);
        }
        let [ours, kernel] = watchers.each_ref().map(|w| {
            w.wait_for("10.10.0.0/16");
            let said = w.said();
            let from = said.find("10.9.0.0/16").unwrap();
            said[from..].to_owned()
        });
        assert_eq!(ours, kernel);

        let json = pair.watch(true, &["-j", "monitor", "link", "address"]);
        let deadline = Instant::now() + SOON;
        let mut up = false;
        while !json.said().contains("\"object\":\"link\"") {
            assert!(Instant::now() < deadline, "nothing is told");
            pair.program.tell(&["ip", "link", "set", "wan", if up { "up" } else { "down" }]);
            up = !up;
        }
        pair.program.tell(&["ip", "addr", "add", "10.12.0.1/24", "dev", "lan"]);
        json.wait_for("10.12.0.1");
        let said = json.said();
        // The last line may be on its way.
        let whole = said.rfind('\n').unwrap_or_default();
        for line in said[..whole].lines() {
            let event: serde_json::Value = serde_json::from_str(line).unwrap();
            assert!(event["time"].as_u64().is_some_and(|t| t > 1_600_000_000_000_000), "{line}");
        }
        drop((watchers, json));
        pair.program.tell(&["ip", "link", "set", "wan", "up"]);
        pair.program.stop();
    });
}

#[test]
fn batches_end_where_they_fail() {
    isolate::test(|| {
        let Some(pair) = Pair::new() else { return };
        let batch = "route add 10.9.0.0/16 via 10.2.0.2\n# a comment\nroute add 10.8.0.0/16 \\\n via 10.77.0.2\n\
                     route add 10.7.0.0/16 via 10.2.0.2\naddr add 10.11.0.1/24 dev lan\n";
        let file = pair.place.write("batch", batch).unwrap();
        let file = file.to_str().unwrap();
        for force in ["", "-force"] {
            let run = |ours| pair.run(ours, &format!("{force} -batch {file}"));
            let (ours, kernel) = (run(true), run(false));
            assert_eq!((ours.code, &ours.err), (kernel.code, &kernel.err), "{force}");
            pair.show_the_same();
        }
        // What was shown stands before what is said of a later line, also where both go to one file.
        let batch =
            pair.place.write("shown", "route show 10.2.0.0/24\nroute add 10.2.0.0/33 dev lan\n").unwrap();
        let both = pair.place.path("both");
        let to = File::create(&both).unwrap();
        let mut command = pair.command(true, &["-batch", batch.to_str().unwrap()]);
        let done = command.stdout(to.try_clone().unwrap()).stderr(to).status().unwrap();
        let said = fs::read_to_string(&both).unwrap();
        let begin: Vec<&str> = said.lines().filter_map(|line| line.split(' ').next()).collect();
        assert_eq!(
            (done.code(), begin),
            (Some(1), vec!["10.2.0.0/24", "Error:", "sekisho:", "Command"]),
            "{said}"
        );
        let many: String = (0..30_000)
            .map(|n| format!("route add 100.{}.{}.{}/30 via 10.2.0.2\n", n >> 14, n >> 6 & 255, n << 2 & 255))
            .collect();
        let many = pair.place.write("many", &many).unwrap();
        pair.program.tell(&["ip", "-batch", many.to_str().unwrap()]);
        let routes = pair.program.tell(&["ip", "route", "show", "root", "100.0.0.0/8"]);
        assert_eq!(routes.lines().count(), 30_000);
        pair.program.tell(&["ip", "route", "flush", "root", "100.0.0.0/8"]);
        pair.show_the_same();
        pair.program.stop();
    });
}
