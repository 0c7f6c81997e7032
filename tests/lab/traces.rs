//! `sekisho trace` and `sekisho capture` against a router that forwards.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use sekisho::lab::probes::{Ping, Wiretap};
use serde_json::Value;

use crate::forge;
use crate::gateway::{Choice, Gateway, LAN_MAC, ROUTER, SEKISHO, SERVER, ip};

/// The inside is hidden, and what begins outside is dropped.
const RULES4: &str = "\
*nat
-A POSTROUTING -o wan -j MASQUERADE
COMMIT
*filter
:FORWARD ACCEPT
-A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A FORWARD -i wan -m comment --comment strangers -j DROP
COMMIT
";

/// How long may pass until a packet that is sent again and again has been told of.
const TOLD: Duration = Duration::from_secs(100);

/// Each test in namespaces of its own.
macro_rules! isolated {
    ($($name:ident)*) => {
        mod isolated {
            $(
                #[test]
                fn $name() {
                    sekisho::lab::isolate::test(|| super::$name());
                }
            )*
        }
    };
}

isolated! {
    a_packet_is_told_with_its_rules_and_its_translation
    traces_come_and_go_while_packets_pass
    a_capture_names_verdict_rule_and_translation
    a_capture_that_is_interrupted_ends_its_file_well_and_a_ring_keeps_its_size
    what_waits_when_a_capture_ends_is_written_with_a_word_that_it_did
    the_router_s_own_answers_are_followed
}

fn gateway() -> Gateway {
    let gw = Gateway::new(&Choice { rules4: RULES4, ..Choice::default() });
    gw.acquaint();
    gw
}

/// A verb that runs beside the test, and ends when it has heard of enough.
struct Beside(Child);

impl Beside {
    fn start(gw: &Gateway, args: &[&str]) -> Self {
        let mut command = Command::new(SEKISHO);
        command.args(args).env("SEKISHO_CONTROL", gw.control());
        Beside(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap())
    }

    /// Does something again and again until it has ended; gives what it said on stdout and on stderr.
    fn meanwhile(mut self, mut act: impl FnMut()) -> (String, String) {
        let deadline = Instant::now() + TOLD;
        let status = loop {
            if let Some(status) = self.0.try_wait().unwrap() {
                break status;
            }
            assert!(Instant::now() < deadline, "it never heard of enough");
            act();
        };
        let (mut out, mut err) = (String::new(), String::new());
        self.0.stdout.take().unwrap().read_to_string(&mut out).unwrap();
        self.0.stderr.take().unwrap().read_to_string(&mut err).unwrap();
        assert!(status.success(), "{status}: {err}");
        (out, err)
    }
}

impl Beside {
    /// Waits until it ends by itself; gives what it said on stdout.
    fn ended(mut self) -> String {
        let mut stdout = self.0.stdout.take().unwrap();
        let (said, all) = std::sync::mpsc::channel();
        thread::spawn(move || {
            let mut text = String::new();
            said.send(stdout.read_to_string(&mut text).map(|_| text)).ok();
        });
        // What it writes to is closed when it ends.
        let text = all.recv_timeout(TOLD).expect("it never ended").unwrap();
        assert!(self.0.wait().unwrap().success());
        text
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A verb that does what it is told.
fn sekisho(gw: &Gateway, args: &[&str]) {
    let out = Command::new(SEKISHO).args(args).env("SEKISHO_CONTROL", gw.control()).output().unwrap();
    assert!(out.status.success(), "{args:?}: {}", String::from_utf8_lossy(&out.stderr));
}

/// A ping from inside, answered.
fn ping(gw: &Gateway) {
    assert!(gw.client().run(|| Ping::new(ip(SERVER[0])).run()).unwrap().complete());
}

/// One from outside, which must be lost.
fn intrude(gw: &Gateway) {
    let wait = Duration::from_millis(50);
    let report = gw.server().run(|| Ping::new(ip("10.1.0.2")).wait(wait).run()).unwrap();
    assert!(!report.complete());
}

fn a_packet_is_told_with_its_rules_and_its_translation() {
    let gw = gateway();
    // Whether the server's MAC is known or has to be asked for.
    for known in [false, true] {
        if known {
            ping(&gw);
        }
        let beside =
            Beside::start(&gw, &["trace", "-c", "1", "in", "lan", "and", "icmp", "and", "dst", SERVER[0]]);
        let (text, err) = beside.meanwhile(|| {
            if !known {
                sekisho(&gw, &["ip", "neigh", "flush", "dev", "wan"]);
            }
            ping(&gw);
        });
        assert_eq!(err, "");
        let labels: Vec<&str> = text.lines().skip(1).filter_map(|l| l.split_whitespace().next()).collect();
        assert_eq!(labels.first().zip(labels.last()), Some((&"received", &"sent")), "{text}");
        for label in
            ["PREROUTING", "conntrack", "route", "ttl", "FORWARD", "POSTROUTING", "masquerade", "neighbor"]
        {
            assert!(labels.contains(&label), "{label}: {text}");
        }
        assert!(
            text.contains("nat          iptables POSTROUTING rule 1: -A POSTROUTING -o wan -j MASQUERADE"),
            "{text}"
        );
        assert!(text.contains("masquerade   10.1.0.2 > 10.2.0.2 id"), "{text}");
    }

    // As JSON, by the reason for which it was dropped.
    let beside = Beside::start(&gw, &["trace", "-j", "-c", "1", "drop filtered"]);
    let (text, _) = beside.meanwhile(|| intrude(&gw));
    let told: Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    assert_eq!(
        (&told["kind"], &told["end"], &told["link"]),
        (&"packet".into(), &"dropped".into(), &"wan".into())
    );
    let steps = told["steps"].as_array().unwrap();
    let rule = steps.iter().find(|s| s["step"] == "rule").unwrap();
    assert_eq!(rule["rule"], "-A FORWARD -i wan -m comment --comment strangers -j DROP");
    assert_eq!(
        (&rule["chain"], &rule["number"], &rule["target"]),
        (&"FORWARD".into(), &2.into(), &"DROP".into())
    );
    assert_eq!(steps.last().unwrap()["reason"], "filtered");
    // Its time is the host's.
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos() as u64;
    assert!(now.abs_diff(told["time"].as_u64().unwrap()) < 60_000_000_000, "{told}");
    // Whoever follows nothing ends when the time has come.
    let text = Beside::start(&gw, &["trace", "--for", "1", "port 9"]).ended();
    assert_eq!(text, "");
    gw.stop();
}

fn traces_come_and_go_while_packets_pass() {
    let gw = gateway();
    for filter in ["", "drop", "out wan", "state ESTABLISHED", "icmp and not in tun", "host 10.2.0.2"] {
        let filter = filter.replace(" and not in tun", "");
        let (text, _) = Beside::start(&gw, &["trace", "-c", "2", &filter]).meanwhile(|| {
            ping(&gw);
            if filter == "drop" {
                intrude(&gw);
            }
        });
        assert!(text.lines().count() > 3, "{filter}: {text}");
    }
    // One that is killed leaves nothing behind: sixteen is all there may be.
    for _ in 0..20 {
        drop(Beside::start(&gw, &["trace", "tcp port 9"]));
    }
    let (text, _) = Beside::start(&gw, &["trace", "-c", "1"]).meanwhile(|| ping(&gw));
    assert!(text.contains("received"), "{text}");
    gw.stop();
}

fn a_capture_names_verdict_rule_and_translation() {
    let gw = gateway();
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();

    let sent = file("sent.pcapng");
    let args = [
        "capture",
        "-w",
        &sent,
        "-c",
        "1",
        "--at",
        "ingress,forward,egress",
        "in lan and icmp and dst 10.2.0.2",
    ];
    // The first of them waits until the server has said its MAC.
    let (out, err) = Beside::start(&gw, &args).meanwhile(|| {
        sekisho(&gw, &["ip", "neigh", "flush", "dev", "wan"]);
        ping(&gw);
    });
    assert_eq!((out.as_str(), err.as_str()), ("", "sekisho: 3 frames captured\n"));
    let bytes = std::fs::read(&sent).unwrap();
    let has = |bytes: &[u8], what: &str| bytes.windows(what.len()).any(|w| w == what.as_bytes());
    for what in [
        "sent by wan",
        "nat: iptables POSTROUTING rule 1: -A POSTROUTING -o wan -j MASQUERADE",
        "masquerade: 10.1.0.2",
    ] {
        assert!(has(&bytes, what), "{what}");
    }

    let lost = file("lost.pcapng");
    let args = ["capture", "-w", &lost, "-c", "2", "-s", "60", "--at", "drop", "drop"];
    Beside::start(&gw, &args).meanwhile(|| intrude(&gw));
    assert!(has(&std::fs::read(&lost).unwrap(), "dropped, filtered"));

    if !has_tshark() {
        println!("skipped: tshark is not installed, so that nobody but us has read the captures");
        return gw.stop();
    }
    let fields = ["frame.interface_name", "frame.comment", "ip.src", "frame.len", "frame.cap_len"];
    let rows = tshark(Path::new(&sent), &fields);
    assert_eq!(rows.len(), 3, "{rows:?}");
    let names: Vec<&str> = rows.iter().map(|r| r[0].as_str()).collect();
    assert_eq!(names, ["lan", "lan:forward", "wan"]);
    assert_eq!([&rows[0][2], &rows[1][2], &rows[2][2]], ["10.1.0.2", "10.1.0.2", "10.2.0.1"]);
    assert!(rows.iter().all(|r| r[1].contains("MASQUERADE") && r[1].contains("sent by wan")), "{rows:?}");
    let rows = tshark(Path::new(&lost), &fields);
    assert_eq!(rows.len(), 2, "{rows:?}");
    assert!(
        rows.iter()
            .all(|r| r[1].contains("rule 2: -A FORWARD -i wan -m comment --comment strangers -j DROP")),
        "{rows:?}"
    );
    assert!(rows.iter().all(|r| r[0] == "wan:drop" && r[4] == "60" && r[3] != "60"), "{rows:?}");

    // Through a pipe.
    let mut capture = Beside::start(&gw, &["capture", "-w", "-", "-c", "1", "icmp"]);
    let from = Stdio::from(capture.0.stdout.take().unwrap());
    let reader = thread::spawn(move || {
        let args = ["-r", "-", "-T", "fields", "-e", "icmp.type"];
        Command::new("tshark").args(args).stdin(from).output().unwrap()
    });
    let deadline = Instant::now() + TOLD;
    while capture.0.try_wait().unwrap().is_none() {
        assert!(Instant::now() < deadline, "it never heard of enough");
        ping(&gw);
    }
    let read = String::from_utf8(reader.join().unwrap().stdout).unwrap();
    assert!(read.lines().count() >= 2, "{read}");
    gw.stop();
}

fn a_capture_that_is_interrupted_ends_its_file_well_and_a_ring_keeps_its_size() {
    let gw = gateway();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ring.pcapng");
    let args = ["capture", "-w", path.to_str().unwrap(), "-G", "1", "-W", "2", "icmp"];
    let mut capture = Beside::start(&gw, &args);
    let names = || -> Vec<PathBuf> {
        let mut all: Vec<_> = std::fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().path()).collect();
        all.sort();
        all
    };
    let deadline = Instant::now() + TOLD;
    while names().len() < 2 || std::fs::metadata(&names()[1]).unwrap().len() < 200 {
        assert!(Instant::now() < deadline, "{:?}", names());
        ping(&gw);
    }
    let kill = format!("kill -INT {}", capture.0.id());
    assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    assert!(capture.0.wait().unwrap().success());
    for name in names() {
        let bytes = std::fs::read(&name).unwrap();
        assert!(!blocks(&bytes).is_empty(), "{name:?}");
    }
    assert_eq!(names().len(), 2);
    gw.stop();
}

fn what_waits_when_a_capture_ends_is_written_with_a_word_that_it_did() {
    const STILL: &[u8] = b"was still waiting when this was written: for its other fragments";
    let gw = gateway();
    let dir = tempfile::tempdir().unwrap();
    let tap = gw.client().run(|| Wiretap::open("eth0")).unwrap();
    let whole = forge::udp((ip("10.1.0.2"), 5000), (ip(ROUTER[0]), 7), &[0; 64]);
    // Fragments whose others never come: each waits for thirty seconds.
    let mut idents = 1..;
    let mut fragment = || {
        let ident = idents.next().unwrap();
        tap.send(&forge::frame(LAN_MAC, &forge::fragment(&whole, 0, 8, ident))).unwrap();
    };
    let waiting = || gw.stats()["columns"]["received"]["parked"].as_u64().unwrap();
    let capture = |file: &Path, more: &[&str]| {
        let args = ["capture", "-w", file.to_str().unwrap(), "--at", "ingress", "udp or icmp"];
        Beside::start(&gw, &[&args[..], more].concat())
    };
    let told = |file: &Path| {
        let bytes = std::fs::read(file).unwrap();
        assert!(!blocks(&bytes).is_empty());
        bytes.windows(STILL.len()).any(|w| w == STILL)
    };

    // Ended by the time: what is sent until then waits.
    let file = dir.path().join("time");
    let deadline = Instant::now() + TOLD;
    loop {
        let mut capture = capture(&file, &["--for", "2"]);
        while capture.0.try_wait().unwrap().is_none() {
            fragment();
            thread::sleep(Duration::from_millis(50));
        }
        assert!(capture.0.wait().unwrap().success());
        if told(&file) {
            break;
        }
        assert!(Instant::now() < deadline, "nothing that waits is written");
    }
    // By a signal, and by the router's own end.
    let mut begin = |end: &str| {
        let file = dir.path().join(end);
        let capture = capture(&file, &[]);
        // What is answered is written: it has begun.
        let deadline = Instant::now() + TOLD;
        while std::fs::metadata(&file).map_or(0, |m| m.len()) < 300 {
            assert!(Instant::now() < deadline, "nothing is written");
            ping(&gw);
        }
        let before = waiting();
        while waiting() <= before {
            assert!(Instant::now() < deadline, "no fragment waits");
            fragment();
        }
        (file, capture)
    };
    for end in ["INT", "TERM"] {
        let (file, mut capture) = begin(end);
        let kill = format!("kill -{end} {}", capture.0.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
        assert!(capture.0.wait().unwrap().success(), "{end}");
        assert!(told(&file), "{end}");
    }
    let (file, mut capture) = begin("router");
    gw.stop();
    // It says that the router is gone.
    assert_eq!(capture.0.wait().unwrap().code(), Some(1));
    assert!(told(&file), "the router's end");
}

/// The types of a file's blocks, each of which must be whole.
fn blocks(mut file: &[u8]) -> Vec<u32> {
    let mut kinds = Vec::new();
    while !file.is_empty() {
        let word = |at: usize| u32::from_ne_bytes(*file[at..].first_chunk().expect("a whole block"));
        let len = word(4) as usize;
        assert_eq!(word(len - 4) as usize, len);
        kinds.push(word(0));
        file = &file[len..];
    }
    kinds
}

fn has_tshark() -> bool {
    Command::new("tshark").arg("--version").output().is_ok_and(|o| o.status.success())
}

/// The fields of each packet of a file.
fn tshark(file: &Path, fields: &[&str]) -> Vec<Vec<String>> {
    let mut command = Command::new("tshark");
    command.args(["-r", file.to_str().unwrap(), "-T", "fields", "-E", "separator=|"]);
    for field in fields {
        command.args(["-e", field]);
    }
    let out = command.output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let text = String::from_utf8(out.stdout).unwrap();
    text.lines().map(|l| l.split('|').map(str::to_owned).collect()).collect()
}

fn the_router_s_own_answers_are_followed() {
    let gw = gateway();
    let (text, _) =
        Beside::start(&gw, &["trace", "-j", "-c", "1", "icmp and dst 10.1.0.1"]).meanwhile(|| {
            assert!(gw.client().run(|| Ping::new(ip(ROUTER[0])).run()).unwrap().complete());
        });
    let told: Vec<Value> = text.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert_eq!(told.len(), 2, "{text}");
    assert_eq!(told[1]["cause"], told[0]["id"]);
    assert_eq!((&told[0]["end"], &told[1]["end"]), (&"delivered".into(), &"sent".into()));
    gw.stop();
}
