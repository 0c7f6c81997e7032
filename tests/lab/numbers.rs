//! The router's numbers, for packets that are known: `stats`, `top`, and the metrics over HTTP.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use sekisho::lab::{End, Plan, Topology, isolate};
use serde_json::Value;

use crate::gateway::{Program, ip, net, number};
use crate::home::{PATIENCE, heard, udp, wait_until};

const CLIENT: &str = "10.1.0.2";
const SERVER: &str = "10.2.0.2";
const OUTER: &str = "10.2.0.1";

fn lab() -> Topology {
    Plan::new()
        .space("client")
        .space("router")
        .space("server")
        .wire(End::new("client", "eth0").address(net("10.1.0.2/24")), End::new("router", "lan"))
        .wire(End::new("router", "wan"), End::new("server", "eth0").address(net("10.2.0.2/24")))
        .route("client", net("0.0.0.0/0"), ip("10.1.0.1"))
        .build()
        .unwrap()
}

/// Translates what goes out, and lets nothing go to port 9.
fn start(lab: &Topology) -> Program {
    Program::start(&lab["router"], |control| {
        format!(
            r#"
[router]
name = "gw"
workers = 2
control = "{}"
metrics = "127.0.0.1:0"
[link.lan]
kind = "packet"
addresses = ["10.1.0.1/24"]
[link.wan]
kind = "packet"
addresses = ["{OUTER}/24"]
[firewall]
rules4 = '''
*nat
:POSTROUTING ACCEPT
-A POSTROUTING -o wan -j MASQUERADE
COMMIT
*filter
:FORWARD ACCEPT
-A FORWARD -p udp --dport 9 -j DROP
COMMIT
'''
"#,
            control.display()
        )
    })
}

/// The one in a list of which a key is this.
#[track_caller]
fn one<'a>(list: &'a Value, key: &str, is: &str) -> &'a Value {
    let found = list.as_array().unwrap().iter().find(|v| v[key] == is);
    found.unwrap_or_else(|| panic!("no {key} {is} in {list:#}"))
}

/// `GET /metrics` from within the router's namespace.
fn scrape(lab: &Topology, at: &str) -> String {
    let mut stream = lab["router"].run(|| TcpStream::connect(at)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: gw\r\n\r\n").unwrap();
    let mut said = String::new();
    stream.read_to_string(&mut said).unwrap();
    assert!(said.starts_with("HTTP/1.1 200 OK\r\n"), "{said}");
    said
}

/// A sample of a scrape.
#[track_caller]
fn sample(text: &str, series: &str) -> f64 {
    let line = text.lines().find_map(|l| l.strip_prefix(series)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {series} in {text}")).parse().unwrap()
}

#[test]
fn what_is_shown_is_what_has_passed() {
    isolate::test(|| {
        let lab = lab();
        let gw = start(&lab);
        let (client, server) = (udp(&lab["client"], CLIENT, 4_000), udp(&lab["server"], SERVER, 53));
        for n in 0..20u8 {
            client.send_to(&[n], (SERVER, 53)).unwrap();
            let (_, from) = heard(&server, PATIENCE).expect("it goes through");
            server.send_to(&[n], from).unwrap();
            heard(&client, PATIENCE).expect("and back");
        }
        for _ in 0..5 {
            client.send_to(b"x", (SERVER, 9)).unwrap();
        }
        let forward = |s: &Value| one(&s["hooks"], "hook", "FORWARD").clone();
        wait_until("five packets dropped", || number(&forward(&gw.stats())["dropped"]) == 5);
        let stats = gw.balanced();
        for h in stats["hooks"].as_array().unwrap() {
            assert_eq!(
                number(&h["seen"]),
                number(&h["passed"]) + number(&h["dropped"]) + number(&h["held"]),
                "{h}"
            );
        }
        let forwarded = number(&one(&stats["tallies"], "name", "forwarded")["value"]);
        let here = forward(&stats);
        assert_eq!((number(&here["seen"]), number(&here["passed"]), forwarded), (45, 40, 45));
        let nat = &stats["nat"];
        assert_eq!((number(&nat["source"]), &nat["complete"]), (1, &true.into()), "{nat}");
        let ports = one(&nat["ports"], "address", OUTER);
        assert_eq!((&ports["protocol"], number(&ports["used"])), (&"udp".into(), 1), "{ports}");
        assert_eq!(number(&one(&stats["conntrack"]["kinds"], "protocol", "udp")["flows"]), 1);
        assert!(number(&one(&stats["neighbors"], "family", "ipv4")["neighbors"]) >= 1);

        // What the hosts say of their own accord may come between the one count and the other.
        wait_until("workers and links count the same", || {
            let stats = gw.stats();
            let workers = stats["workers"].as_array().unwrap();
            let links = stats["links"].as_array().unwrap().iter().filter(|l| l["kind"] == "packet");
            let walked: i64 = workers.iter().map(|w| number(&w["rx_packets"])).sum();
            walked == links.map(|l| number(&l["rx_packets"])).sum::<i64>()
        });
        // A worker that waits for a CPU has not said yet how long it slept.
        wait_until("all of the time is accounted for", || {
            let stats = gw.stats();
            let uptime = stats["uptime"].as_f64().unwrap();
            stats["workers"].as_array().unwrap().iter().all(|w| {
                let of = |key: &str| w[key].as_f64().unwrap();
                let told = of("busy_seconds") + of("looking_seconds") + of("asleep_seconds");
                assert!((0.0..=1.0).contains(&of("busy")) && of("asleep_seconds") > 0.0, "{w}");
                (told - uptime).abs() < 1.0
            })
        });

        let at = stats["metrics"].as_str().expect("it is on").to_owned();
        let text = scrape(&lab, &at);
        assert_eq!(sample(&text, "sekisho_forwarded_total"), 45.0);
        assert_eq!(sample(&text, r#"sekisho_hook_packets_total{hook="forward",result="dropped"}"#), 5.0);
        assert_eq!(
            sample(
                &text,
                r#"sekisho_packets_dropped_total{column="received",stage="hooks",reason="filtered"}"#
            ),
            5.0
        );
        assert_eq!(
            sample(&text, &format!(r#"sekisho_nat_ports_used{{address="{OUTER}",protocol="udp"}}"#)),
            1.0
        );
        gw.stop();
    });
}

#[test]
fn top_shows_who_is_busy() {
    isolate::test(|| {
        let lab = lab();
        let gw = start(&lab);
        let (client, server) = (udp(&lab["client"], CLIENT, 4_000), udp(&lab["server"], SERVER, 53));
        let over = Arc::new(AtomicBool::new(false));
        let ended = over.clone();
        let talk = thread::spawn(move || {
            while !ended.load(Relaxed) {
                client.send_to(&[0; 1_000], (SERVER, 53)).unwrap();
                if let Some((_, from)) = heard(&server, Duration::from_secs(1)) {
                    server.send_to(b"short", from).unwrap();
                    heard(&client, Duration::from_secs(1));
                }
                thread::sleep(Duration::from_millis(2));
            }
        });
        // The flow is seen both ways, by the addresses it was begun with, though the answers come to others.
        let deadline = Instant::now() + PATIENCE;
        loop {
            let said = gw.tell(&["top", "--once", "--delay", "0.5"]);
            assert!(said.starts_with("gw  sekisho ") && said.contains("\nLINK "), "{said}");
            let flow = said.lines().find(|l| l.starts_with("udp "));
            let words: Vec<_> = flow.unwrap_or_default().split_whitespace().collect();
            if let [_, from, to, there, back, _, link, ..] = words[..] {
                assert_eq!((from, to, link), ("10.1.0.2:4000", "10.2.0.2:53", "lan"), "{said}");
                assert!(said.contains("busiest flows (every packet)"), "{said}");
                // An answer may have come too late to be among them.
                if there != "0" && back != "0" {
                    break;
                }
            }
            assert!(Instant::now() < deadline, "{said}");
        }
        over.store(true, Relaxed);
        talk.join().unwrap();
        gw.stop();
    });
}
