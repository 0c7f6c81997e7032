//! The same words to `sekisho ip` and iproute2, and to `sekisho conntrack` and conntrack-tools, as a stranger would try them:
//! exit codes, output and what is said of mistakes, by the lists in `words/`.
//!
//! A line of a list is a command, for both. `!` before it: this router can't do it, and says so by name, with exit code 2 and
//! nothing on stdout; it is not told to the kernel, whose state would be another. `~` before it: only the exit code counts, as
//! it does for all of them with a tool of another version than that which the lists were written with.

use std::process::{Command, Output};
use std::thread;
use std::time::{Duration, Instant};

use sekisho::lab::{Netns, isolate};
use serde_json::{Value, json};

use crate::firewall::{book, firewall, kernel_router, traffic};
use crate::gateway::SEKISHO;
use crate::iproute::Pair;

/// What somebody said.
#[derive(Debug, PartialEq)]
struct Said {
    code: Option<i32>,
    out: Vec<String>,
    json: Option<Value>,
    /// The first line on stderr.
    err: String,
}

impl Said {
    /// Leaves out neighbors of which nobody has heard, where the kernel has none such: it forgets them when all namespaces of
    /// the machine together have many, now and then.
    fn forget(&mut self, kernel: &Said) {
        let idle = |line: &String| line.ends_with(" STALE") || line.ends_with(" FAILED");
        self.out.retain(|line| !idle(line) || kernel.out.contains(line));
        let idle = |v: &Value| v["state"] == json!(["STALE"]) || v["state"] == json!(["FAILED"]);
        if let (Some(Value::Array(ours)), Some(Value::Array(theirs))) = (&mut self.json, &kernel.json) {
            ours.retain(|v| !idle(v) || theirs.contains(v));
        }
    }
}

/// What is wrong with a line of a list.
fn judged(line: &str, ours: impl Fn(&str) -> Said, kernel: impl Fn(&str) -> Said) -> Option<String> {
    if let Some(words) = line.strip_prefix("! ") {
        let said = ours(words);
        let refused = said.code == Some(2) && said.out.is_empty() && !said.err.is_empty();
        return (!refused).then(|| format!("{words}: is to be refused: {said:?}"));
    }
    let (words, codes_only) = line.strip_prefix("~ ").map_or((line, false), |words| (words, true));
    let (mut ours, kernel) = (ours(words), kernel(words));
    ours.forget(&kernel);
    // What the kernel says of what it refuses differs from one version to the next.
    let by_kernel = kernel.code == Some(2) || codes_only;
    let same = ours.code == kernel.code
        && (codes_only || ours.out == kernel.out && ours.json == kernel.json)
        && (by_kernel || starts(&ours.err, &kernel.err));
    (!same).then(|| {
        let said = |s: &Said, other: &Said| {
            let lines: Vec<_> = s.out.iter().filter(|line| !other.out.contains(line)).collect();
            format!("{:?} {:?} {lines:#?} {:?}", s.code, s.err, s.json)
        };
        format!("{words}\n  ours: {}\n  theirs: {}", said(&ours, &kernel), said(&kernel, &ours))
    })
}

/// Whether we say what they say, perhaps with what would be right behind it.
fn starts(ours: &str, theirs: &str) -> bool {
    if theirs.is_empty() { ours.is_empty() } else { ours.starts_with(theirs) }
}

fn told(wrong: &[String], of: usize) {
    assert!(wrong.is_empty(), "{} of {of}:\n{}", wrong.len(), wrong.join("\n"));
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// How closely a tool is compared with.
#[derive(Clone, Copy)]
enum Tool {
    /// It is the version that the lists were written with.
    Known,
    /// Another, whose texts may be others: only exit codes count.
    Other,
}

impl Tool {
    /// None if it isn't there, which a line says.
    fn find(name: &str, known: &str) -> Option<Self> {
        let Ok(version) = Command::new(name).arg("-V").output() else {
            println!("skipped: there is no {name} to compare with");
            return None;
        };
        match text(&version.stdout).contains(known) {
            true => Some(Tool::Known),
            false => {
                println!("{name} is not {known}: only exit codes are compared");
                Some(Tool::Other)
            }
        }
    }

    /// The commands of a list.
    fn commands(self, list: &str) -> Vec<String> {
        let lines = list.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        let line = |line: &str| match self {
            Tool::Other if !line.starts_with(['!', '~']) => format!("~ {line}"),
            _ => line.to_owned(),
        };
        lines.map(line).collect()
    }
}

#[test]
fn ip_is_understood_as_iproute2_understands_it() {
    let Some(ip) = Tool::find("ip", "iproute2-6.1") else { return };
    isolate::test(|| {
        let Some(pair) = Pair::new() else { return };
        let run = |ours: bool, words: &str| {
            let words = parted(words);
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            let neighbors = words.iter().any(|w| matches!(*w, "n" | "neigh" | "neighbor" | "neighbour"));
            ip_said(&pair.output(ours, &words), words.contains(&"-j"), neighbors)
        };
        let deadline = Instant::now() + Duration::from_secs(60);
        let tentative = |ours: &bool| text(&pair.output(*ours, &["addr"]).stdout).contains("tentative");
        while [true, false].iter().any(tentative) {
            assert!(Instant::now() < deadline, "addresses stay tentative");
            thread::sleep(Duration::from_millis(50));
        }
        let commands = ip.commands(include_str!("words/ip.txt"));
        let judged = |line: &String| judged(line, |words| run(true, words), |words| run(false, words));
        let wrong: Vec<String> = commands.iter().filter_map(judged).collect();
        told(&wrong, commands.len());
        pair.stop();
    });
}

/// The words of a command; quotes keep blanks.
fn parted(words: &str) -> Vec<String> {
    let mut all = Vec::new();
    for (i, part) in words.split('"').enumerate() {
        match i % 2 {
            0 => all.extend(part.split_whitespace().map(str::to_owned)),
            _ => all.push(part.to_owned()),
        }
    }
    all
}

/// What was said, without what only one of them can say: the other end of a wire, queues, numbers of devices, and neighbors that
/// the kernel heard of by itself.
fn ip_said(ran: &Output, json: bool, neighbors: bool) -> Said {
    let out = text(&ran.stdout);
    let parsed = json.then(|| serde_json::from_str::<Value>(&out).ok()).flatten().map(plain_json);
    let lines = out.lines().filter(|line| !heard_of(line.split(' ').next().unwrap_or_default()));
    let mut lines: Vec<String> = lines.map(plain_line).collect();
    // Neighbors are in the order of nobody's hash.
    if neighbors {
        lines.sort();
    }
    let out = if parsed.is_some() { Vec::new() } else { lines };
    let err = text(&ran.stderr).lines().next().unwrap_or_default().trim_end().to_owned();
    // What went well may have a note to it.
    let err = if ran.status.success() { String::new() } else { err };
    Said { code: ran.status.code(), out, json: parsed, err }
}

/// Whether it is a neighbor, and one that the kernel heard of by itself, or a group.
fn heard_of(dst: &str) -> bool {
    !dst.contains('/') && (dst.starts_with("fe80::") || dst.starts_with("ff02::"))
}

fn plain_line(line: &str) -> String {
    let line = line.replace('\\', " \\ ");
    let mut words: Vec<&str> = line.split_whitespace().collect();
    let numbered =
        words.first().is_some_and(|w| w.strip_suffix(':').is_some_and(|n| n.parse::<u32>().is_ok()));
    if numbered {
        words[0] = "N:";
    }
    for key in ["qlen", "link-netnsid", "link-netns"] {
        if let Some(at) = words.iter().position(|w| *w == key) {
            words.drain(at..words.len().min(at + 2));
        }
    }
    // How this kernel got its addresses, and how long it looks whether others have them.
    words.retain(|w| !matches!(*w, "nodad" | "tentative"));
    let mut line = words.join(" ");
    while let Some(at) = line.find("@if") {
        let end = line[at + 3..].find(|c: char| !c.is_ascii_digit()).map_or(line.len(), |n| at + 3 + n);
        line.replace_range(at..end, "");
    }
    line
}

fn plain_json(value: Value) -> Value {
    const GONE: [&str; 7] =
        ["ifindex", "link_index", "link_netnsid", "link_netns", "txqlen", "nodad", "tentative"];
    match value {
        Value::Array(all) => {
            let heard = |v: &Value| v["dst"].as_str().is_some_and(heard_of);
            // What iproute2 makes of what it chose to leave out.
            let nothing = |v: &Value| v.as_object().is_some_and(serde_json::Map::is_empty);
            let mut all: Vec<Value> =
                all.into_iter().filter(|v| !heard(v) && !nothing(v)).map(plain_json).collect();
            if all.iter().all(|v| v["state"].is_array()) {
                all.sort_by_key(|v| v["dst"].to_string());
            }
            Value::Array(all)
        }
        Value::Object(all) => all
            .into_iter()
            .filter(|(k, _)| !GONE.contains(&k.as_str()))
            .map(|(k, v)| (k, plain_json(v)))
            .collect(),
        other => other,
    }
}

#[test]
fn conntrack_is_understood_as_conntrack_tools_understand_it() {
    let Some(conntrack) = Tool::find("conntrack", "v1.4.7") else { return };
    isolate::test(|| {
        let gw = firewall();
        let lab = kernel_router();
        traffic(gw.client(), gw.server());
        traffic(&lab["client"], &lab["server"]);
        let run = |mut command: Command, words: &str, at: Option<&Netns>| {
            command.args(parted(words));
            let command = match at {
                Some(space) => space.command(&mut command),
                None => &mut command,
            };
            conntrack_said(&command.output().unwrap())
        };
        let ours = |words: &str| {
            let mut command = Command::new(SEKISHO);
            command.arg("conntrack").env("SEKISHO_CONTROL", gw.control());
            run(command, words, None)
        };
        let kernel = |words: &str| run(Command::new("conntrack"), words, Some(&lab["router"]));
        let commands = conntrack.commands(include_str!("words/conntrack.txt"));
        let wrong: Vec<String> = commands.iter().filter_map(|line| judged(line, ours, kernel)).collect();
        told(&wrong, commands.len());
        gw.stop();
    });
}

/// What was said, without what differs from one time to another, and in no order, as flows have none.
fn conntrack_said(ran: &Output) -> Said {
    let out = text(&ran.stdout);
    // Of `-o save`, and of the elements of `-o xml`.
    const VARIES: [(&str, char); 6] = [
        ("-t ", ' '),
        ("--icmp-id ", ' '),
        ("--icmpv6-id ", ' '),
        ("<timeout>", '<'),
        ("<id>", '<'),
        ("<use>", '<'),
    ];
    let line = |line: &str| {
        let mut line = line.to_owned();
        for (open, close) in VARIES {
            if let Some(at) = line.find(open).map(|at| at + open.len()) {
                let end = line[at..].find(close).map_or(line.len(), |n| at + n);
                line.replace_range(at..end, "…");
            }
        }
        line
    };
    let chosen = |line: String| {
        // Ports and identifiers that a kernel chose.
        let word = |w: &str| match w.parse::<u32>().is_ok_and(|n| n >= 32_768) {
            true => "…".to_owned(),
            false => w.to_owned(),
        };
        line.split(' ').map(word).collect::<Vec<_>>().join(" ")
    };
    let mut lines = match out.contains(" src=") && !out.contains("cpu=") {
        true => extended(&out),
        false => out.lines().map(|l| chosen(line(l))).collect(),
    };
    lines.sort();
    let said = text(&ran.stderr);
    let mut said = said.lines();
    let said = if ran.status.success() { said.next_back() } else { said.next() }.unwrap_or_default();
    let err = said.split_once(": ").map_or(said, |(_, rest)| rest).to_owned();
    Said { code: ran.status.code(), out: lines, json: None, err }
}

/// As [`book`], families in front or not.
fn extended(out: &str) -> Vec<String> {
    let plain: Vec<&str> = out
        .lines()
        .map(|l| l.strip_prefix("ipv4     2 ").or_else(|| l.strip_prefix("ipv6     10 ")).unwrap_or(l))
        .collect();
    let families = out.lines().filter(|l| l.starts_with("ipv")).count();
    let mut lines = book(&plain.join("\n"));
    lines.push(format!("{families} with their family"));
    lines
}
