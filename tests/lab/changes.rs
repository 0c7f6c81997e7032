//! Rules that change while packets pass: none is lost, none is miscounted, no flow ends.

use std::net::UdpSocket;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use sekisho::config::{Change, Edit, RulesChange};
use sekisho::control::client::Client;
use sekisho::control::protocol::{Family, Rules, Verb, Zero};
use sekisho::control::view::Applied;
use sekisho::lab::isolate;

use crate::gateway::{Choice, Gateway};
use crate::steady::{LENGTH, Steady};

/// The first rule counts what the test sends, and goes on counting whatever becomes of the others.
const RULES4: &str = "\
*nat
-A POSTROUTING -o wan -j MASQUERADE
COMMIT
*filter
:FORWARD DROP
-A FORWARD -p udp --dport 7000 -m comment --comment counted
-A FORWARD -m conntrack --ctstate ESTABLISHED -j ACCEPT
-A FORWARD -i lan -p udp --dport 7000 -j ACCEPT
COMMIT
";

/// How often rules are changed.
const CHANGES: usize = 1_000;
/// Between what one flow sends.
const PAUSE: Duration = Duration::from_millis(2);
/// How long all of it may take on a busy machine.
const LONGEST: Duration = Duration::from_secs(500);

/// What change number `n` is: rules come and go before, behind and in other tables, chains come, are gone to and go.
fn change(n: usize) -> Edit {
    let line = match n % 10 {
        0 => "-I FORWARD 1 -s 198.51.100.0/24 -j DROP",
        1 => "-t nat -I POSTROUTING 1 -o wan -p tcp -j MASQUERADE",
        2 => "-N more",
        3 => "-I FORWARD 2 -p tcp -j more",
        4 => "-t mangle -A FORWARD -p udp --dport 7000 -j MARK --set-mark 7",
        5 => "-R FORWARD 2 -p icmp -j more",
        6 => "-D FORWARD 2",
        7 => "-X more",
        8 => "-t nat -D POSTROUTING 1",
        _ => {
            let text = "*mangle\n-F FORWARD\nCOMMIT\n*filter\n-D FORWARD 1\nCOMMIT\n".to_owned();
            return Edit::Restore { text, noflush: true, test: false, counters: false, table: None };
        }
    };
    Edit::Command { words: line.split(' ').map(str::to_owned).collect() }
}

#[test]
fn a_thousand_changes_of_rules_lose_no_packet_and_no_count() {
    isolate::test(|| {
        let gw = Gateway::new(&Choice { workers: 2, rules4: RULES4, ..Choice::default() });
        gw.acquaint();
        let (sent, come) = Steady::during(&gw, LONGEST, |steady| {
            for n in 0..CHANGES {
                let mut client = Client::connect(&gw.control()).unwrap();
                let change = Change::Rules(RulesChange { family: Family::Inet, edit: change(n) });
                // Not so fast that nobody would be hit.
                steady.wait_for(n as u64 / 4);
                client.ask::<Applied>(Verb::Change(change)).unwrap();
            }
        });
        assert_eq!((come, sent > 100), (sent, true), "of {sent} datagrams {come} came");

        let asked = Rules { family: Family::Inet, counters: true, table: None, chain: None, zero: None };
        let mut rules = Vec::new();
        let mut client = Client::connect(&gw.control()).unwrap();
        client
            .ask_list(Verb::Rules(asked), |lines: Vec<String>| {
                rules.extend(lines);
                Ok::<_, sekisho::control::client::ClientError>(())
            })
            .unwrap();
        let counted = rules.iter().find(|l| l.contains("counted")).expect("the rule is there");
        // In UDP and IPv4.
        let bytes = sent * (LENGTH + 28);
        assert!(counted.starts_with(&format!("[{sent}:{bytes}] ")), "{sent} were sent: {counted}");
        // One flow all the time: the rule of nat was asked once.
        let masquerade = rules.iter().find(|l| l.contains("-j MASQUERADE")).expect("it is there");
        assert!(masquerade.starts_with("[1:36] "), "{masquerade}");
        let last = "-A FORWARD -i lan -p udp -m udp --dport 7000 -j ACCEPT";
        assert_eq!(rules.iter().filter(|l| l.contains("-A FORWARD")).count(), 3, "{rules:#?}");
        assert!(rules.iter().any(|l| l.ends_with(last)), "{rules:#?}");
        gw.stop();
    });
}

/// How often is listed and zeroed at once.
const LISTS: usize = 300;
/// Datagrams that have been sent and not been listed, at most.
const AHEAD: u64 = 1_000;
/// Flows, so that all workers count.
const FLOWS: u16 = 4;

/// The packets and bytes of the rule that counts, in a list that sets it to zero.
fn taken(gw: &Gateway, zero: Zero) -> (u64, u64) {
    let (family, table) = (Family::Inet, Some("filter".to_owned()));
    let asked = Rules { family, counters: true, table, chain: None, zero: Some(zero) };
    let mut found = None;
    let mut client = Client::connect(&gw.control()).unwrap();
    client
        .ask_list(Verb::Rules(asked), |lines: Vec<String>| {
            let counted = lines.iter().find(|l| l.contains("counted"));
            if let Some((count, _)) = counted.and_then(|l| l.strip_prefix('[')?.split_once(']')) {
                found = count.split_once(':').map(|(p, b)| (p.parse().unwrap(), b.parse().unwrap()));
            }
            Ok::<_, sekisho::control::client::ClientError>(())
        })
        .unwrap();
    found.expect("the rule is there")
}

#[test]
fn what_is_listed_and_zeroed_at_once_adds_up_to_what_was_sent() {
    isolate::test(|| {
        let gw = Gateway::new(&Choice { workers: 2, rules4: RULES4, ..Choice::default() });
        gw.acquaint();
        // Nobody reads it: what counts is who came by the rule.
        let _far = gw.server().run(|| UdpSocket::bind("10.2.0.2:7000")).unwrap();
        let near = |n: u16| {
            let near = gw.client().run(|| UdpSocket::bind(("10.1.0.2", 7001 + n))).unwrap();
            near.connect("10.2.0.2:7000").unwrap();
            near
        };
        let near: Vec<UdpSocket> = (0..FLOWS).map(near).collect();

        let (sent, end, told) = (AtomicU64::new(0), AtomicBool::new(false), AtomicU64::new(0));
        let begun = Instant::now();
        let mut sum = (0, 0);
        let mut some = 0;
        thread::scope(|s| {
            s.spawn(|| {
                while !end.load(Relaxed) && begun.elapsed() < LONGEST {
                    // No more than a ring holds, should its worker have to wait for a CPU.
                    if sent.load(Relaxed) >= told.load(Relaxed) + AHEAD {
                        thread::sleep(PAUSE);
                        continue;
                    }
                    for socket in &near {
                        socket.send(&[0; 8]).unwrap();
                        sent.fetch_add(1, Relaxed);
                    }
                    thread::sleep(PAUSE);
                }
            });
            for n in 0..LISTS {
                // Of all chains, of the one, of the one rule; and between them rules change, and other counters are set to zero.
                let chain = (n % 3 > 0).then(|| "FORWARD".to_owned());
                let number = (n % 3 > 1).then_some(1);
                let (packets, bytes) = taken(&gw, Zero { chain, number });
                sum = (sum.0 + packets, sum.1 + bytes);
                told.store(sum.0, Relaxed);
                some += u32::from(packets > 0);
                let line = match n % 4 {
                    0 => "-A FORWARD -s 198.51.100.0/24 -j DROP",
                    1 => "-D FORWARD -s 198.51.100.0/24 -j DROP",
                    2 => "-Z FORWARD 2",
                    _ => continue,
                };
                let words = line.split(' ').map(str::to_owned).collect();
                let edit = Edit::Command { words };
                let change = Change::Rules(RulesChange { family: Family::Inet, edit });
                let mut client = Client::connect(&gw.control()).unwrap();
                client.ask::<Applied>(Verb::Change(change)).unwrap();
            }
            end.store(true, Relaxed);
        });
        let sent = sent.into_inner();
        // The last may be on their way.
        while sum.0 < sent && begun.elapsed() < LONGEST {
            let (packets, bytes) = taken(&gw, Zero::default());
            sum = (sum.0 + packets, sum.1 + bytes);
        }
        assert_eq!(sum, (sent, sent * 36), "{sent} were sent");
        assert_eq!(taken(&gw, Zero::default()), (0, 0));
        assert!(some > 10, "only {some} of {LISTS} lists had anything in them");
        gw.stop();
    });
}
