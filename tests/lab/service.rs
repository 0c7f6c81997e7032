//! Load balancing as kube-proxy writes it: a service address, three backends, chosen by `statistic`, reached by DNAT.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use sekisho::lab::{Netns, isolate};

use crate::gateway::ip;
use crate::home::*;

const SERVICE: &str = "10.96.0.10";

/// The chains of one service with three endpoints, TCP and UDP, the choice among them left open.
fn rules(first: &str, second: &str) -> String {
    let mut text = String::from(
        "\
*nat
:PREROUTING ACCEPT [0:0]
:INPUT ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
:KUBE-MARK-MASQ - [0:0]
:KUBE-POSTROUTING - [0:0]
:KUBE-SERVICES - [0:0]
",
    );
    let protocols = [("tcp", "WEB"), ("udp", "DNS")];
    for (_, name) in protocols {
        text += &format!(":KUBE-SVC-{name} - [0:0]\n");
        text.extend((1..=3).map(|i| format!(":KUBE-SEP-{name}{i} - [0:0]\n")));
    }
    text += "\
-A PREROUTING -m comment --comment \"kubernetes service portals\" -j KUBE-SERVICES
-A OUTPUT -m comment --comment \"kubernetes service portals\" -j KUBE-SERVICES
-A POSTROUTING -m comment --comment \"kubernetes postrouting rules\" -j KUBE-POSTROUTING
-A KUBE-MARK-MASQ -j MARK --set-xmark 0x4000/0x4000
-A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN
-A KUBE-POSTROUTING -j MARK --set-xmark 0x4000/0x0
-A KUBE-POSTROUTING -m comment --comment \"kubernetes service traffic requiring SNAT\" -j MASQUERADE --random-fully
";
    for (protocol, name) in protocols {
        text += &format!(
            "-A KUBE-SERVICES -d {SERVICE}/32 -p {protocol} -m comment --comment \"default/{name} cluster IP\" \
             -m {protocol} --dport 80 -j KUBE-SVC-{name}\n\
             -A KUBE-SVC-{name} ! -s 10.0.0.0/8 -d {SERVICE}/32 -p {protocol} -m comment --comment \"default/{name} \
             cluster IP\" -m {protocol} --dport 80 -j KUBE-MARK-MASQ\n"
        );
        for (i, choice) in [first, second, ""].iter().enumerate() {
            text += &format!(
                "-A KUBE-SVC-{name} -m comment --comment \"default/{name}\" {choice} -j KUBE-SEP-{name}{}\n",
                i + 1
            );
        }
        for (i, backend) in BACKENDS.iter().enumerate() {
            let n = i + 1;
            text += &format!(
                "-A KUBE-SEP-{name}{n} -s {backend}/32 -m comment --comment \"default/{name}\" -j KUBE-MARK-MASQ\n\
                 -A KUBE-SEP-{name}{n} -p {protocol} -m comment --comment \"default/{name}\" -m {protocol} \
                 -j DNAT --to-destination {backend}:8080\n"
            );
        }
    }
    text + "COMMIT\n"
}

/// Backends that answer everything with their own number, over TCP and UDP, until told to stop.
fn serve<'s>(scope: &'s thread::Scope<'s, '_>, at: &Netns, stop: &'s AtomicBool) {
    for (i, addr) in BACKENDS.iter().enumerate() {
        let me = [b'0' + i as u8];
        let listener: TcpListener = listen(at, addr, 8080);
        let socket: UdpSocket = udp(at, addr, 8080);
        scope.spawn(move || {
            while !stop.load(Relaxed) {
                let Ok((mut stream, _)) = listener.accept() else {
                    thread::sleep(Duration::from_millis(1));
                    continue;
                };
                stream.set_nonblocking(false).unwrap();
                scope.spawn(move || {
                    // Until the client closes.
                    while stream.read(&mut [0; 64]).is_ok_and(|n| n > 0) && stream.write_all(&me).is_ok() {}
                });
            }
        });
        scope.spawn(move || {
            while !stop.load(Relaxed) {
                if let Some((_, from)) = heard(&socket, Duration::from_millis(20)) {
                    socket.send_to(&me, from).unwrap();
                }
            }
        });
    }
}

/// Which backend answers on a new connection, for as long as it lasts.
fn tcp_backend(from: &Netns) -> u8 {
    let mut stream = connect(from, SERVICE, 80).unwrap();
    let mut ask = || {
        stream.write_all(b"who?").unwrap();
        let mut who = [0];
        stream.read_exact(&mut who).unwrap();
        who[0]
    };
    let first = ask();
    assert!((0..5).all(|_| ask() == first), "one connection, one backend");
    first
}

/// Which backend answers to a new socket at this port: one that the kernel chose could be one of before, whose flow goes
/// on with the backend it has.
fn udp_backend(from: &Netns, port: u16) -> u8 {
    let socket = udp(from, "0.0.0.0", port);
    let ask = || {
        socket.send_to(b"who?", (ip(SERVICE), 80)).unwrap();
        let (answer, from) = heard(&socket, PATIENCE).unwrap();
        assert!(same(from, SERVICE), "answered by {from}");
        answer[0]
    };
    let first = ask();
    assert!((0..5).all(|_| ask() == first), "one socket, one backend");
    first
}

/// How often each of the three is chosen.
fn shares(n: u16, mut choose: impl FnMut(u16) -> u8) -> Vec<usize> {
    let mut all = BTreeMap::new();
    for i in 0..n {
        *all.entry(choose(20_000 + i)).or_insert(0) += 1;
    }
    assert!(all.keys().all(|k| (b'0'..b'3').contains(k)));
    all.into_values().collect()
}

/// Runs a body beside the backends.
fn with_backends(rules: &str, body: impl FnOnce(&Home)) {
    let home = Home::new(&Choice { rules: [rules, ""], ..Choice::default() });
    let stop = AtomicBool::new(false);
    thread::scope(|s| {
        serve(s, home.second(), &stop);
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| body(&home)));
        stop.store(true, Relaxed);
        if let Err(panic) = done {
            std::panic::resume_unwind(panic);
        }
    });
    home.stop();
}

#[test]
fn at_random_each_backend_gets_its_share() {
    isolate::test(|| {
        let random = |p| format!("-m statistic --mode random --probability {p}");
        with_backends(&rules(&random("0.33333333349"), &random("0.50000000000")), |home| {
            // A share of 300 strays by 8 (σ = √(300·⅓·⅔)); 48 is six times that.
            for shares in
                [shares(300, |_| tcp_backend(home.client())), shares(300, |p| udp_backend(home.client(), p))]
            {
                println!("{shares:?}");
                assert!(shares.len() == 3 && shares.iter().all(|n| (52..=148).contains(n)), "{shares:?}");
            }
        });
    });
}

#[test]
fn in_turn_each_backend_gets_exactly_its_share() {
    isolate::test(|| {
        let nth = |n| format!("-m statistic --mode nth --every {n} --packet 0");
        with_backends(&rules(&nth(3), &nth(2)), |home| {
            assert_eq!(shares(60, |_| tcp_backend(home.client())), [20, 20, 20]);
            assert_eq!(shares(60, |port| udp_backend(home.client(), port)), [20, 20, 20]);
        });
    });
}

#[test]
fn a_backend_reaches_itself_by_its_service() {
    isolate::test(|| {
        // Always the first.
        with_backends(&rules("-m statistic --mode nth --every 1 --packet 0", ""), |home| {
            let socket = udp(home.second(), BACKENDS[0], 0);
            for _ in 0..3 {
                socket.send_to(b"who?", (ip(SERVICE), 80)).unwrap();
                let (answer, from) = heard(&socket, PATIENCE).unwrap();
                assert!(answer == b"0" && same(from, SERVICE), "{from}");
            }
            // Its source is translated too, or it would answer itself without the gateway.
            let flows =
                home.flows_with(&["udp", "src=10.3.0.11 dst=10.96.0.10", "src=10.3.0.11 dst=10.3.0.1 "]);
            assert_eq!(flows.len(), 1);
        });
    });
}

#[test]
fn a_stranger_to_the_cluster_is_masqueraded() {
    isolate::test(|| {
        let nth = |n| format!("-m statistic --mode nth --every {n} --packet 0");
        with_backends(&rules(&nth(3), &nth(2)), |home| {
            // Not from 10/8, so marked; the isp has a route to the service's address.
            assert_eq!(shares(30, |_| tcp_backend(home.isp())), [10, 10, 10]);
            let flows = home.flows_with(&["tcp", "src=192.0.2.1 dst=10.96.0.10"]);
            assert!(flows.len() >= 30 && flows.iter().all(|l| l.contains("dst=10.3.0.1 ")), "{flows:#?}");
        });
    });
}
