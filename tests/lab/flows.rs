//! `sekisho conntrack` beside conntrack(8): the same words for the same traffic, to the real binary and to the kernel.

use std::fs;
use std::net::UdpSocket;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::Duration;

use sekisho::lab::{Netns, isolate, tools};

use crate::firewall::{book, bound, firewall, kernel_router, traffic};
use crate::gateway::{Gateway, SEKISHO};
use crate::home::wait_until;

/// Whom the words are for.
enum Router<'a> {
    Ours(&'a Gateway),
    Kernel(&'a Netns),
}

/// What came of some words: the exit code, what was printed, the closing line without the name of who says it.
type Said = (Option<i32>, Vec<String>, String);

impl Router<'_> {
    fn command(&self, words: &str) -> Command {
        let words = words.split(' ');
        match self {
            Router::Ours(gw) => {
                let mut command = Command::new(SEKISHO);
                command.arg("conntrack").args(words).env("SEKISHO_CONTROL", gw.control());
                command
            }
            Router::Kernel(_) => {
                let mut command = Command::new("conntrack");
                command.args(words);
                command
            }
        }
    }

    fn output(&self, words: &str) -> Output {
        let mut command = self.command(words);
        match self {
            Router::Ours(_) => command.output().unwrap(),
            Router::Kernel(space) => space.command(&mut command).output().unwrap(),
        }
    }

    fn say(&self, words: &str) -> Said {
        let out = self.output(words);
        let text = |bytes| String::from_utf8(bytes).unwrap();
        let err = text(out.stderr);
        let closing = err.lines().last().unwrap_or_default();
        let closing = closing.split_once(": ").map_or(closing, |(_, rest)| rest);
        (out.status.code(), plain(&text(out.stdout)), closing.to_owned())
    }

    /// `conntrack -E`, which writes into a file until it is told to stop.
    fn follow(&self, words: &str, file: &Path) -> Child {
        let mut command = self.command(words);
        let err = fs::File::create(file.with_extension("err")).unwrap();
        command.stdout(fs::File::create(file).unwrap()).stderr(err).stdin(Stdio::null());
        match self {
            Router::Ours(_) => command.spawn().unwrap(),
            Router::Kernel(space) => space.command(&mut command).spawn().unwrap(),
        }
    }
}

/// Lines without what differs from one time to another; the order of flows in a table is nobody's.
fn plain(text: &str) -> Vec<String> {
    if text.contains(" src=") {
        return book(text);
    }
    let line = |line: &str| {
        let mut out = String::new();
        let mut rest = line;
        // `-o save`, and the elements of `-o xml`.
        for (open, close) in [("-t ", " "), ("<timeout>", "<"), ("<id>", "<")] {
            let Some((before, after)) = rest.split_once(open) else { continue };
            let end = after.find(close).unwrap_or(after.len());
            out += &format!("{before}{open}…");
            rest = &after[end..];
        }
        (out + rest).replace("<use>2</use>", "<use>1</use>")
    };
    let mut lines: Vec<String> = text.lines().map(line).collect();
    lines.sort();
    lines
}

/// Sends from the client until what it sent is told of: from then on everything is.
fn until_it_listens(client: &Netns, server: &Netns, file: &Path) {
    let deaf = bound(server, "10.2.0.2:9");
    let mut asked = Vec::<UdpSocket>::new();
    wait_until("the first event", || {
        // Each socket stays open, and a process may have a thousand.
        thread::sleep(Duration::from_millis(150));
        let socket = bound(client, "10.1.0.2:0");
        socket.send_to(b"is anyone listening?", deaf.local_addr().unwrap()).unwrap();
        asked.push(socket);
        fs::read_to_string(file).unwrap().contains(" dport=9 ")
    });
}

/// Makes a flow that is the last one, and waits until it is told of: with it, all that was before.
fn until_all_is_told(client: &Netns, server: &Netns, file: &Path) {
    let (deaf, last) = (bound(server, "10.2.0.2:9"), bound(client, "10.1.0.2:0"));
    last.send_to(b"that was all", deaf.local_addr().unwrap()).unwrap();
    let mark = format!(" sport={} dport=9 ", last.local_addr().unwrap().port());
    wait_until("the last event", || {
        let said = fs::read_to_string(file).unwrap();
        said.split_once(&mark).is_some_and(|(_, rest)| rest.contains('\n'))
    });
}

/// Ends who follows, as Ctrl-C would; what was told, the first questions apart, and the closing line.
fn ended(mut child: Child, file: &Path) -> (Option<i32>, Vec<String>, String) {
    let kill = format!("kill -INT {}", child.id());
    assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    let code = child.wait().unwrap().code();
    let text = fs::read_to_string(file).unwrap();
    let lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let said = fs::read_to_string(file.with_extension("err")).unwrap();
    let shown = lines.len();
    assert!(said.trim_end().ends_with(&format!(": {shown} flow events have been shown.")), "{said}");
    let lines = lines.into_iter().filter(|l| !l.contains(" dport=9 ") && !l.contains(" sport=9 ")).collect();
    (code, lines, said)
}

/// The lines of events about a protocol, without what differs from one time to another, in order.
fn events(lines: &[String], protocol: &str) -> Vec<String> {
    let mine = lines.iter().filter(|l| l.split_whitespace().nth(1) == Some(protocol));
    mine.map(|l| {
        let mut words: Vec<String> = l.split_whitespace().map(str::to_owned).collect();
        // A second may have passed.
        words[3] = if words[3].parse::<u32>().is_ok() { "SECONDS".to_owned() } else { words[3].clone() };
        for word in &mut words {
            let Some((key, value)) = word.split_once('=') else { continue };
            let chosen = value.parse().is_ok_and(|n: u32| n >= 32_768);
            if key == "id" || matches!(key, "sport" | "dport") && chosen {
                *word = format!("{key}=…");
            }
        }
        words.retain(|w| !w.starts_with("portid=") && !w.starts_with("progname="));
        words.join(" ")
    })
    .collect()
}

#[test]
fn the_same_words_do_the_same() {
    isolate::test(|| {
        if !tools::usable(tools::IPTABLES.iter().chain(&tools::CONNTRACK)) {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let gw = firewall();
        let lab = kernel_router();
        let ours = (Router::Ours(&gw), gw.client(), gw.server(), dir.path().join("ours"));
        let kernel =
            (Router::Kernel(&lab["router"]), &lab["client"], &lab["server"], dir.path().join("kernel"));
        let followed = [&ours, &kernel].map(|(router, client, server, file)| {
            let child = router.follow("-E", file);
            until_it_listens(client, server, file);
            traffic(client, server);
            child
        });
        let both = |words: &str| {
            let (ours, kernel) = (ours.0.say(words), kernel.0.say(words));
            assert_eq!(ours, kernel, "conntrack {words}");
            ours
        };
        for words in [
            "-L -p udp --dport 6000",
            "-G -p udp -s 10.1.0.2 -d 10.2.0.2 --sport 5001 --dport 6001",
            "-G -p udp -s fd01::2 -d fd02::2 --sport 5001 --dport 6001 -o extended",
            "-L -o save -p udp --dport 6001",
            "-L -o xml -p udp --dport 6001",
            "-L -p udp -u UNREPLIED --dport 6000",
            "-L -n 10.2.0.1 -p udp --dport 6001",
            "-L -m 7",
            "-U -p udp -s 10.1.0.2 -d 10.2.0.2 --sport 5001 --dport 6001 -m 7",
            "-L -m 7",
            "-D -p udp --dport 6000 -f ipv4",
            "-D -p icmp",
            "-D -f ipv6 -p udp -o save",
        ] {
            let (code, _, closing) = both(words);
            assert_eq!((code, closing.is_empty()), (Some(0), false), "{words}");
        }
        for words in [
            "-G -p udp -s 10.1.0.2 -d 10.2.0.2 --sport 5001 --dport 6009",
            "-U -p sctp -m 7",
            "-D -p sctp",
            "-D -s 192.0.2.99",
        ] {
            assert_eq!(both(words).0, Some(1), "{words}");
        }
        assert_eq!(both("-F").2, "connection tracking table has been emptied.");
        let [a, b] = [&ours, &kernel].map(|r| r.0.output("-C").stdout);
        assert_eq!((a.as_slice(), b.as_slice()), (&b"0\n"[..], &b"0\n"[..]));

        for (_, client, server, file) in [&ours, &kernel] {
            until_all_is_told(client, server, file);
        }
        let [a, b] = followed
            .into_iter()
            .zip([&ours.3, &kernel.3])
            .map(|(child, file)| ended(child, file))
            .collect::<Vec<_>>()
            .try_into()
            .unwrap();
        assert_eq!((a.0, b.0), (Some(0), Some(0)), "{}{}", a.2, b.2);
        for protocol in ["udp", "icmp", "icmpv6"] {
            let begun = |lines: &[String]| -> Vec<String> {
                // Flows that -F ended come in nobody's order.
                let mut lines = events(lines, protocol);
                let ended = lines.iter().position(|l| l.starts_with("[DESTROY]")).unwrap_or(lines.len());
                lines[ended..].sort();
                lines
            };
            assert!(begun(&a.1).len() >= 3, "{:#?}", a.1);
            assert_eq!(begun(&a.1), begun(&b.1), "{:#?}{:#?}", a.1, b.1);
        }
        // How a connection ends is its ends' affair.
        let opened = |lines: &[String]| events(lines, "tcp").into_iter().take(3).collect::<Vec<_>>();
        assert_eq!(opened(&a.1), opened(&b.1), "{:#?}{:#?}", a.1, b.1);
        let names = |out: Output| -> Vec<String> {
            let text = String::from_utf8(out.stdout).unwrap();
            let line = text.lines().next().unwrap().replace('\t', " ");
            line.split(' ')
                .map(|w| w.split('=').next().unwrap().to_owned())
                .filter(|w| !w.is_empty())
                .collect()
        };
        assert_eq!(names(ours.0.output("-S")), names(kernel.0.output("-S")));
        gw.stop();
    });
}

#[test]
fn a_deleted_flow_is_over_and_its_port_free() {
    isolate::test(|| {
        let gw = firewall();
        let router = Router::Ours(&gw);
        let server = bound(gw.server(), "10.2.0.2:6001");
        let client = bound(gw.client(), "10.1.0.2:5001");
        let mut heard = [0; 64];
        // Often enough for the flow cache.
        let mut seen = None;
        for _ in 0..8 {
            client.send_to(b"hello", server.local_addr().unwrap()).unwrap();
            let (_, from) = server.recv_from(&mut heard).unwrap();
            server.send_to(b"hello yourself", from).unwrap();
            client.recv(&mut heard).unwrap();
            seen = Some(from);
        }
        let hits = |gw: &Gateway| {
            let stats = gw.ask(&["stats", "-j"]);
            let tally = stats["tallies"].as_array().unwrap().iter().find(|t| t["name"] == "flow_cache_hits");
            tally.unwrap()["value"].as_u64().unwrap()
        };
        assert!(hits(&gw) > 0, "the cache knew nothing");
        let seen = seen.unwrap();
        assert_eq!(seen.to_string(), "10.2.0.1:5001");
        let before = hits(&gw);
        let (code, gone, closing) = router.say("-D -p udp --dport 6001");
        assert_eq!((code, gone.len(), closing.as_str()), (Some(0), 1, "1 flow entries have been deleted."));
        // Nobody outside gets in by what is over, whatever the cache has seen.
        server.send_to(b"are you still there?", seen).unwrap();
        client.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
        assert!(client.recv(&mut heard).is_err());
        // Another client may have the port now.
        let second = bound(gw.client(), "10.1.0.2:5001".replace("5001", "5002").as_str());
        second.send_to(b"hello", server.local_addr().unwrap()).unwrap();
        assert_eq!(server.recv_from(&mut heard).unwrap().1.to_string(), "10.2.0.1:5002");
        // The first one's next packet begins a flow like any other.
        client.send_to(b"hello again", server.local_addr().unwrap()).unwrap();
        assert_eq!(server.recv_from(&mut heard).unwrap().1, seen);
        let (_, begun, _) = router.say("-L -p udp --sport 5001 --dport 6001");
        assert_eq!(begun.len(), 1);
        assert!(begun[0].contains("[UNREPLIED]"), "{begun:?}");
        assert_eq!(hits(&gw), before, "none of this was the cache's to answer");
        gw.stop();
    });
}
