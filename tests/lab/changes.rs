//! Rules that change while packets pass: none is lost, none is miscounted, no flow ends.

use std::net::UdpSocket;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use sekisho::config::{Change, Edit, RulesChange};
use sekisho::control::client::Client;
use sekisho::control::protocol::{Family, Rules, Verb};
use sekisho::control::view::Applied;
use sekisho::lab::isolate;

use crate::gateway::{Choice, Gateway};

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
/// Between two datagrams.
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
        let far = gw.server().run(|| UdpSocket::bind("10.2.0.2:7000")).unwrap();
        far.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let near = gw.client().run(|| UdpSocket::bind("10.1.0.2:7001")).unwrap();
        near.connect("10.2.0.2:7000").unwrap();

        let (sent, come, end) = (AtomicU64::new(0), AtomicU64::new(0), AtomicBool::new(false));
        let begun = Instant::now();
        thread::scope(|s| {
            s.spawn(|| {
                // Until all are there: who waits for more than were sent waits in vain, and says so.
                while !end.load(Relaxed) || come.load(Relaxed) < sent.load(Relaxed) {
                    let mut datagram = [0; 8];
                    if far.recv(&mut datagram).is_ok() {
                        come.fetch_add(1, Relaxed);
                    }
                    if begun.elapsed() > LONGEST {
                        return;
                    }
                }
            });
            s.spawn(|| {
                while !end.load(Relaxed) && begun.elapsed() < LONGEST {
                    // No more than the far socket holds, should its thread have to wait for a CPU.
                    if sent.load(Relaxed) < come.load(Relaxed) + 100 {
                        near.send(&sent.load(Relaxed).to_be_bytes()).unwrap();
                        sent.fetch_add(1, Relaxed);
                    }
                    thread::sleep(PAUSE);
                }
            });
            let changes = (0..CHANGES).try_for_each(|n| {
                let mut client = Client::connect(&gw.control())?;
                let change = Change::Rules(RulesChange { family: Family::Inet, edit: change(n) });
                // Not so fast that nobody would be hit.
                while sent.load(Relaxed) < n as u64 / 4 && begun.elapsed() < LONGEST {
                    thread::sleep(PAUSE / 4);
                }
                client.ask::<Applied>(Verb::Change(change)).map(drop)
            });
            end.store(true, Relaxed);
            changes.unwrap();
        });
        let (sent, come) = (sent.into_inner(), come.into_inner());
        assert_eq!((come, sent > 100), (sent, true), "of {sent} datagrams {come} came");

        let asked = Rules { family: Family::Inet, counters: true, table: None };
        let mut rules = Vec::new();
        let mut client = Client::connect(&gw.control()).unwrap();
        client
            .ask_list(Verb::Rules(asked), |lines: Vec<String>| {
                rules.extend(lines);
                Ok::<_, sekisho::control::client::ClientError>(())
            })
            .unwrap();
        let counted = rules.iter().find(|l| l.contains("counted")).expect("the rule is there");
        // A datagram of 8 bytes in UDP and IPv4.
        assert!(counted.starts_with(&format!("[{sent}:{}] ", sent * 36)), "{sent} were sent: {counted}");
        // One flow all the time: the rule of nat was asked once.
        let masquerade = rules.iter().find(|l| l.contains("-j MASQUERADE")).expect("it is there");
        assert!(masquerade.starts_with("[1:36] "), "{masquerade}");
        let last = "-A FORWARD -i lan -p udp -m udp --dport 7000 -j ACCEPT";
        assert_eq!(rules.iter().filter(|l| l.contains("-A FORWARD")).count(), 3, "{rules:#?}");
        assert!(rules.iter().any(|l| l.ends_with(last)), "{rules:#?}");
        gw.stop();
    });
}
