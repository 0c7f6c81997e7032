//! `sekisho explain` against a running router, without links: what it makes itself, and what it says of bad words.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::live::{Router, said};
use crate::sekisho;

const RULES: &str = "*filter
:INPUT ACCEPT [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
-A OUTPUT -d 192.0.2.9/32 -p tcp -m tcp --dport 23 -j REJECT --reject-with tcp-reset
-A INPUT -p udp -m udp --dport 9 -m comment --comment \"no discards\" -j DROP
COMMIT
";

fn dir() -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let mut text =
        format!("[router]\nname = \"gw\"\nworkers = 1\ncontrol = {:?}\n", dir.path().join("gw.sock"));
    text.push_str("[link.lo]\nkind = \"loopback\"\naddresses = [\"192.0.2.7/32\", \"192.0.2.9/32\"]\n");
    text.push_str("[[route]]\nto = \"198.51.100.0/24\"\ntype = \"unreachable\"\n");
    text.push_str("[firewall]\nrules4_file = \"rules.v4\"\n[services]\necho = true\n");
    fs::write(dir.path().join("gw.toml"), text).expect("it can be written to");
    fs::write(dir.path().join("rules.v4"), RULES).expect("it can be written to");
    dir
}

fn explain(dir: &Path, words: &str) -> String {
    said(dir, &format!("--control gw.sock explain {words}"))
}

#[test]
fn a_running_router_says_what_it_would_do() {
    let dir = dir();
    let dir = dir.path();
    let router = Router::start(dir);
    let counters = || said(dir, "--control gw.sock iptables-save -c");
    let (stats, rules) = (said(dir, "--control gw.sock stats -j"), counters());

    let echo = explain(dir, "udp 192.0.2.7:5000 to 192.0.2.9:7");
    let lines: Vec<&str> = echo.lines().collect();
    assert_eq!(lines[0], "made here: IP 192.0.2.7.5000 > 192.0.2.9.7: UDP, length 0, ttl 64");
    for stage in ["   OUTPUT", "   POSTROUTING", "   loopback", "   PREROUTING", "   INPUT"] {
        assert!(lines.iter().any(|l| l.starts_with(stage)), "{stage}: {echo}");
    }
    assert_eq!(lines.last().copied(), Some("delivered to the local stack"), "{echo}");

    let dropped = explain(dir, "-q udp 192.0.2.7:5000 > 192.0.2.9:9");
    assert_eq!(
        dropped,
        "dropped: filter INPUT rule 1: -A INPUT -p udp -m udp --dport 9 -m comment --comment \"no discards\" -j DROP"
    );
    let rejected = explain(dir, "tcp 192.0.2.7:5000 to 192.0.2.9:23 syn");
    assert!(rejected.contains("\nrejected: filter OUTPUT rule 1: "), "{rejected}");
    assert!(rejected.lines().last().is_some_and(|l| l.contains("Flags [R.]")), "{rejected}");
    let nowhere = explain(dir, "-q icmp 192.0.2.7 to 198.51.100.1");
    assert!(nowhere.starts_with("dropped: route_unreachable ("), "{nowhere}");

    let json: Value =
        serde_json::from_str(&explain(dir, "-j udp 192.0.2.7:5000 to 192.0.2.9:9")).expect("JSON");
    let (one, steps) = (&json[0], &json[0]["records"][0]["steps"]);
    assert_eq!(
        (&one["outcome"]["verdict"], &one["outcome"]["reason"]),
        (&"dropped".into(), &"filtered".into())
    );
    assert_eq!(one["verdict"], dropped.as_str());
    assert!(steps.as_array().is_some_and(|s| s.len() > 4), "{steps}");

    let check = |words: &str| {
        let words: Vec<&str> = words.split(' ').collect();
        sekisho(dir, &[&["--control", "gw.sock", "explain", "--check"], &words[..]].concat()).code
    };
    assert_eq!((check("udp 192.0.2.7:1 to 192.0.2.9:9"), check("udp 192.0.2.7:1 to 192.0.2.9:7")), (1, 0));

    let ran = sekisho(dir, &["--control", "gw.sock", "explain", "-i lan udp 192.0.2.7:1 > 192.0.2.9:7"]);
    assert_eq!((ran.code, ran.err.as_str()), (1, "sekisho: no link named 'lan': the links here are lo\n"));

    // A frame out of a file: raw IP, which begins behind the file's header and the frame's own.
    let packet = [
        &[0x45, 0, 0, 28, 0, 1, 0, 0, 64, 17, 0, 0, 192, 0, 2, 7, 192, 0, 2, 9][..],
        &[19, 136, 0, 9, 0, 8, 0, 0],
    ];
    let mut packet = packet.concat();
    let sum = sekisho::wire::checksum::checksum(&packet[..20]);
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
    let word = |n: u32| n.to_be_bytes();
    let mut file = [word(0xa1b2_c3d4), [0; 4], [0; 4], [0; 4], word(65_535), word(101)].concat();
    file.extend([[0; 4], [0; 4], word(28), word(28)].concat());
    file.extend(&packet);
    fs::write(dir.join("one.pcap"), &file).expect("it can be written to");
    assert_eq!(explain(dir, "-q -r one.pcap -n 1"), format!("1: {dropped}"));
    let ran = sekisho(dir, &["--control", "gw.sock", "explain", "-r", "one.pcap", "-n", "2"]);
    assert_eq!((ran.code, ran.err.as_str()), (1, "sekisho: one.pcap: it has no frame 2\n"));
    // Linux cooked, of both kinds: a spanning tree's message, which begins as IPv4 might, and the packet.
    for (kind, at, len) in [(113, 14, 16), (276, 0, 20)] {
        let mut file = [word(0xa1b2_c3d4), [0; 4], [0; 4], [0; 4], word(65_535), word(kind)].concat();
        for (ethertype, data) in [(4u16, &[0x42, 0x42, 3, 0, 0][..]), (0x0800, &packet)] {
            let mut frame = vec![0; len];
            frame[at..at + 2].copy_from_slice(&ethertype.to_be_bytes());
            frame.extend(data);
            file.extend([[0; 4], [0; 4], word(frame.len() as u32), word(frame.len() as u32)].concat());
            file.extend(frame);
        }
        fs::write(dir.join("cooked.pcap"), &file).expect("it can be written to");
        let ran = sekisho(dir, &["--control", "gw.sock", "explain", "-q", "-r", "cooked.pcap"]);
        assert_eq!((ran.code, ran.out), (0, format!("2: {dropped}\n")), "{}", ran.err);
        assert!(ran.err.contains("frame 1 holds no IP packet"), "{}", ran.err);
    }
    let ran = sekisho(dir, &["--control", "gw.sock", "explain", "-r", "gw.toml"]);
    assert!(ran.code == 1 && ran.err.contains("this is no capture"), "{}", ran.err);

    // Nothing has happened meanwhile.
    let (before, after): (Value, Value) = (
        serde_json::from_str(&stats).expect("JSON"),
        serde_json::from_str(&said(dir, "--control gw.sock stats -j")).expect("JSON"),
    );
    for part in ["columns", "hooks", "drops", "tallies", "links", "conntrack", "neighbors"] {
        assert!(before[part] == after[part], "{part}: {}", after[part]);
    }
    let comments =
        |text: &str| text.lines().filter(|l| !l.starts_with('#')).map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(comments(&counters()), comments(&rules));
    assert_eq!(router.terminate(), Some(0));
}

#[test]
fn what_is_no_packet_needs_no_router() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    for words in [
        "explain",
        "explain tpc 10.0.0.1 to 10.0.0.2",
        "explain -i lan udp 10.0.0.1:1 10.0.0.2:2",
        "explain -n 3 x",
    ] {
        let words: Vec<&str> = words.split(' ').collect();
        let ran = sekisho(dir.path(), &words);
        assert_eq!(
            (ran.code, ran.out.as_str(), ran.err.lines().count()),
            (2, "", 1),
            "{words:?}: {}",
            ran.err
        );
    }
    assert!(said(dir.path(), "explain --help").contains("Nothing is sent, counted or remembered"));
}
