//! The gateway under attack: floods, blind resets, made-up errors, overlapping fragments.

use std::io::{Read as _, Write as _};
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use sekisho::lab::isolate;
use sekisho::lab::probes::{Amount, Frame, Stream, Wiretap};
use sekisho::wire::{ipv4::Ipv4, ipv6::Ipv6, ipv6_ext, tcp};

use crate::forge;
use crate::gateway::{LAN_MAC, WAN_MAC, ip};
use crate::home::*;

/// A packet that came in a frame, if it is one of this family and this sender.
fn from(frame: &Frame, src: IpAddr) -> Option<Vec<u8>> {
    let l3 = frame.bytes.get(14..)?.to_vec();
    let sender: IpAddr = match l3.first()? >> 4 {
        4 => Ipv4::new(&l3[..])?.src().into(),
        6 => Ipv6::new(&l3[..])?.src().into(),
        _ => return None,
    };
    (sender == src).then_some(l3)
}

#[test]
fn a_flood_of_syns_hurts_no_flow_in_use() {
    isolate::test(|| {
        const MAX: usize = 512;
        let rules = STATEFUL[0].replace(
            "-A POSTROUTING -o wan",
            "-A PREROUTING -d 192.0.2.2/32 -p tcp -m tcp --dport 8080 -j DNAT --to-destination 10.3.0.2:80\n\
             -A POSTROUTING -o wan",
        );
        let rules = rules.replace(
            "-A FORWARD ! -i wan",
            "-A FORWARD -d 10.3.0.2/32 -p tcp -m tcp --dport 80 -j ACCEPT\n-A FORWARD ! -i wan",
        );
        let conntrack = format!("max = {MAX}");
        let home =
            Home::new(&Choice { rules: [&rules, STATEFUL[1]], conntrack: &conntrack, ..Choice::default() });
        let _listener = listen(home.second(), SECOND[0], 80);
        // A conversation that has lasted for a while: it counts as assured.
        let (inside, outside) = (udp(home.client(), any(SERVER[0]), 0), udp(home.server(), SERVER[0], 53));
        // Asks until there is an answer: a ring that a flood fills loses packets of all flows, and ends none.
        let ask = |i: u32| {
            let deadline = Instant::now() + PATIENCE;
            let pause = Duration::from_millis(100);
            loop {
                inside.send_to(&i.to_be_bytes(), (ip(SERVER[0]), 53)).unwrap();
                if let Some((question, from)) = heard(&outside, pause) {
                    outside.send_to(&question, from).unwrap();
                }
                // What comes late answers an earlier question.
                while let Some((answer, _)) = heard(&inside, pause) {
                    if answer == i.to_be_bytes() {
                        return;
                    }
                }
                assert!(Instant::now() < deadline, "no answer to {i}: {:#?}", home.flows());
            }
        };
        let assured = || home.flows_with(&["udp", "dport=53", "[ASSURED]"]);
        let mut asked = 0;
        wait_until("the conversation is assured", || {
            ask(asked);
            asked += 1;
            !assured().is_empty()
        });
        // The gateway's ports of the flow: another one would have others.
        let ports = || {
            let all = assured();
            let of =
                |line: &String| line.split(' ').filter(|w| w.contains("port=")).collect::<Vec<_>>().join(" ");
            all.iter().map(of).collect::<Vec<_>>()
        };
        let before = (ports(), home.flow_ids("-p udp --dport 53"));
        let tap = home.isp().run(|| Wiretap::open("gw")).unwrap();
        let flooded = home.second().run(|| Wiretap::open("eth0")).unwrap();
        let (over, sent) = (AtomicBool::new(false), AtomicU32::new(0));
        thread::scope(|s| {
            s.spawn(|| {
                let mut n = 0u32;
                while !over.load(Relaxed) {
                    let [_, a, b, c] = n.to_be_bytes();
                    let src: IpAddr = [11, a, b, c].into();
                    let syn = forge::tcp((src, 1024 + n as u16 % 60_000), (ip(WAN[0]), 8080), tcp::SYN, n);
                    press(&tap, &forge::frame(WAN_MAC, &syn));
                    n += 1;
                    sent.store(n, Relaxed);
                    // As fast as the gateway is, whatever the machine: faster, and its rings lose packets of all flows.
                    if n.is_multiple_of(64) {
                        let deadline = Instant::now() + Duration::from_millis(20);
                        flooded.until(deadline, |f| from(f, src).is_some()).unwrap();
                    }
                }
            });
            let work = || {
                let report = Stream::new(ip(SERVER[0]), Amount::For(Duration::from_secs(2)));
                let report = report.run(home.client(), home.server()).unwrap();
                assert!(report.intact() && report.sent > 0, "{report:?}");
                // Until the table would have been filled some times over; how many questions that is, is the machine's affair.
                let deadline = Instant::now() + 10 * PATIENCE;
                let mut i = 0;
                while i < 50 || sent.load(Relaxed) < 8 * MAX as u32 {
                    ask(i);
                    i += 1;
                    assert!(Instant::now() < deadline, "hardly a flood: {} SYNs", sent.load(Relaxed));
                }
                assert_eq!((ports(), home.flow_ids("-p udp --dport 53")), before, "the flow is another");
            };
            let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
            over.store(true, Relaxed);
            done.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        });
        let sent = sent.into_inner();
        let flows = home.flows();
        println!("{sent} SYNs, {} flows", flows.len());
        assert!(home.is_kernel() || flows.len() <= MAX, "{} flows", flows.len());
        home.stop();
    });
}

#[test]
fn a_hundred_thousand_blind_resets_end_nothing() {
    isolate::test(|| {
        let home = Home::stateful();
        for v in 0..2 {
            let listener = listen(home.server(), SERVER[v], 80);
            let mut stream = connect(home.client(), SERVER[v], 80).unwrap();
            let (mut served, seen) = accept(&listener);
            converse(&mut stream, &mut served).unwrap();
            let tap = home.isp().run(|| Wiretap::open("gw")).unwrap();
            // Evenly over all sequence numbers: some are within the window, none is exact but by a chance of 1 in 40,000.
            for i in 0..100_000u32 {
                let seq = i.wrapping_mul(42_950).wrapping_add(i % 97);
                let rst = forge::tcp((ip(SERVER[v]), 80), (ip(WAN[v]), seen.port()), tcp::RST, seq);
                press(&tap, &forge::frame(WAN_MAC, &rst));
            }
            if home.is_kernel() {
                // It stands still from here on: see docs/limits.md.
                return;
            }
            for _ in 0..5 {
                converse(&mut stream, &mut served).unwrap();
            }
            assert_eq!(home.flows_with(&["tcp", "ESTABLISHED", "dport=80 "]).len(), 1);
        }
        home.stop();
    });
}

#[test]
fn errors_pass_only_about_flows() {
    isolate::test(|| {
        let home = Home::stateful();
        for v in 0..2 {
            let (inside, outside) =
                (udp(home.client(), any(SERVER[v]), 0), udp(home.server(), SERVER[v], 53));
            inside.send_to(b"?", (ip(SERVER[v]), 53)).unwrap();
            let (_, hole) = heard(&outside, PATIENCE).unwrap();
            let own = inside.local_addr().unwrap().port();
            let tap = home.isp().run(|| Wiretap::open("gw")).unwrap();
            let listening = home.client().run(|| Wiretap::open("eth0")).unwrap();
            let about = |port: u16, peer: u16| forge::udp((ip(WAN[v]), port), (ip(SERVER[v]), peer), b"?");
            let error = |about: &[u8]| forge::unreachable(ip(ISP[v]), about);
            let right = error(&about(hole.port(), 53));
            let mut spoilt = right.clone();
            // Code 10 instead of 13, or 3 instead of 1, with the checksum of the other.
            let code_at = if v == 0 { 21 } else { 41 };
            spoilt[code_at] ^= if v == 0 { 7 } else { 2 };
            let tcp_instead = forge::tcp((ip(WAN[v]), hole.port()), (ip(SERVER[v]), 53), tcp::ACK, 1);
            for bad in [
                error(&about(hole.port() ^ 1, 53)),
                error(&about(hole.port(), 54)),
                error(&tcp_instead),
                // As it would be about the inside itself.
                {
                    let inner = forge::udp((ip(CLIENT[v]), own), (ip(SERVER[v]), 53), b"?");
                    error(&inner)
                },
                error(&about(hole.port(), 53)[..if v == 0 { 23 } else { 43 }]),
                spoilt,
                right.clone(),
            ] {
                tap.send(&forge::frame(WAN_MAC, &bad)).unwrap();
            }
            // Only the last of them arrives, as what it is to the client.
            let mut came: Vec<Vec<u8>> = Vec::new();
            let mut deadline = Instant::now() + PATIENCE;
            while let Some(f) = listening.next(deadline).unwrap() {
                if let Some(l3) = from(&f, ip(ISP[v])) {
                    came.push(l3);
                    deadline = Instant::now() + SILENCE;
                }
            }
            assert_eq!(came.len(), 1, "{came:02x?}");
            let head = if v == 0 { 20 } else { 40 };
            let quoted = &came[0][head + 8..];
            let expected = forge::udp((ip(CLIENT[v]), own), (ip(SERVER[v]), 53), b"?");
            assert_eq!(quoted[head..head + 4], expected[head..head + 4], "ports");
            let addresses = if v == 0 { 12..20 } else { 8..40 };
            assert_eq!(quoted[addresses.clone()], expected[addresses], "addresses");
            // And the socket hears of it.
            inside.connect((ip(SERVER[v]), 53)).unwrap();
            tap.send(&forge::frame(WAN_MAC, &right)).unwrap();
            let e = inside.recv(&mut [0; 8]).unwrap_err();
            assert!(e.raw_os_error().is_some_and(|n| n == libc::EHOSTUNREACH || n == libc::EACCES), "{e}");
        }
        home.stop();
    });
}

/// Place and length of what a fragment carries, and whether others follow.
fn piece(l3: &[u8]) -> Option<(usize, usize, bool)> {
    if l3[0] >> 4 == 6 {
        let f = ipv6_ext::walk(l3).ok()?.frag?;
        return Some((f.offset, l3.len() - f.at - 8, f.more));
    }
    let ip = Ipv4::new(l3)?;
    ip.is_fragment().then(|| (ip.frag_offset(), ip.payload().len(), ip.more_fragments()))
}

#[test]
fn fragments_leave_in_their_sizes_and_never_overlapping() {
    isolate::test(|| {
        let home = Home::stateful();
        let tap = home.client().run(|| Wiretap::open("eth0")).unwrap();
        let far = home.isp().run(|| Wiretap::open("gw")).unwrap();
        for v in 0..2 {
            let data: Vec<u8> = (0..1992).map(|i| i as u8).collect();
            let whole = forge::udp((ip(CLIENT[v]), 4000), (ip(SERVER[v]), 9), &data);
            let send = |ident, pieces: &[(usize, usize)]| {
                for (from, to) in pieces {
                    tap.send(&forge::frame(LAN_MAC, &forge::fragment(&whole, *from, *to, ident))).unwrap();
                }
            };
            // Bytes that are said twice, in several ways.
            send(1, &[(0, 800), (792, 1800), (1800, 2000)]);
            send(2, &[(792, 1800), (0, 800), (1800, 2000)]);
            send(3, &[(1800, 2000), (800, 1808), (0, 800)]);
            send(4, &[(0, 800), (1800, 2000), (0, 808), (800, 1800)]);
            // And a datagram as it should be, in odd sizes and out of order, one of them twice.
            send(5, &[(1800, 2000), (0, 800), (0, 800), (800, 1800)]);
            let mut came: Vec<(usize, usize, bool)> = Vec::new();
            let mut deadline = Instant::now() + PATIENCE;
            while let Some(f) = far.next(deadline).unwrap() {
                let translated = from(&f, ip(WAN[v]));
                assert!(from(&f, ip(CLIENT[v])).is_none(), "something left untranslated");
                if let Some(p) = translated.as_deref().and_then(piece) {
                    came.push(p);
                }
                // Those that must come are waited for patiently, others not so long.
                if came.len() >= 3 {
                    deadline = deadline.min(Instant::now() + SILENCE);
                }
            }
            assert_eq!(came, [(0, 800, true), (800, 1000, true), (1800, 200, false)]);
        }
        // What a host itself cuts arrives whole, and so does the answer.
        for v in 0..2 {
            let (inside, outside) =
                (udp(home.client(), any(SERVER[v]), 0), udp(home.server(), SERVER[v], 53));
            let data: Vec<u8> = (0..20_000u32).map(|i| (i ^ i >> 8) as u8).collect();
            let mut buffer = vec![0; 30_000];
            inside.send_to(&data, (ip(SERVER[v]), 53)).unwrap();
            let (n, back) = outside.recv_from(&mut buffer).unwrap();
            assert!(buffer[..n] == data && same(back, WAN[v]));
            outside.send_to(&data, back).unwrap();
            let (n, _) = inside.recv_from(&mut buffer).unwrap();
            assert!(buffer[..n] == data);
        }
        home.stop();
    });
}

#[test]
fn nothing_untranslated_leaves_while_the_table_is_full() {
    isolate::test(|| {
        let home = Home::new(&Choice { conntrack: "max = 128", ..Choice::default() });
        if home.is_kernel() {
            // The size of its table is that of all namespaces.
            return;
        }
        // Connections that last fill it: none of them may go to make room.
        let listener = listen(home.server(), SERVER[0], 80);
        let mut held = Vec::new();
        let refused = || home.drops("conntrack_full").unwrap_or_default();
        while refused() == 0 && held.len() <= 128 {
            // The one for which there is no room is heard of by nobody.
            let Ok(mut stream) = connect_within(home.client(), SERVER[0], 80, Duration::from_secs(1)) else {
                continue;
            };
            // One that was given up may have come about all the same; ports are kept.
            let port = stream.local_addr().unwrap().port();
            let mut served =
                std::iter::repeat_with(|| accept(&listener)).find(|(_, from)| from.port() == port).unwrap().0;
            converse(&mut stream, &mut served).unwrap();
            held.push((stream, served));
        }
        assert!((100..=128).contains(&held.len()), "{} connections", held.len());
        let before = refused();
        let (tap, far) = (
            home.client().run(|| Wiretap::open("eth0")).unwrap(),
            home.isp().run(|| Wiretap::open("gw")).unwrap(),
        );
        for port in 0..500u16 {
            let datagram = forge::udp((ip(CLIENT[0]), 5000 + port), (ip(SERVER[0]), 53), b"?");
            press(&tap, &forge::frame(LAN_MAC, &datagram));
        }
        wait_until("datagrams find no room", || refused() > before);
        let mut seen = far.until(Instant::now() + SILENCE, |_| false).unwrap();
        seen.retain(|f| from(f, ip(CLIENT[0])).is_some());
        assert_eq!(seen, []);
        for (stream, served) in &mut held {
            stream.write_all(b"still here").unwrap();
            served.read_exact(&mut [0; 10]).unwrap();
        }
        home.stop();
    });
}
