//! A gateway under fire: a stateful filter, NAT, changed packets and fragments put together, and whatever comes in.
//! The ledger balances at any moment, the table keeps its bound, and what NAT is to hide stays hidden.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use crossbeam_channel::Receiver;
use proptest::collection::vec;
use proptest::prelude::*;
use sekisho::base::{Column, Hook, LinkId};
use sekisho::packet::{Csum, Gso, GsoKind, Offload, Packet};
use sekisho::path::{At, Function, Queued, Snapshot, Verdict};
use sekisho::wire::{icmpv4, icmpv6, ipv4::Ipv4, ipv6::Ipv6, ipv6_ext, proto, tcp as wire_tcp};

use crate::make::*;
use crate::net::*;

const FAR: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 7);
const MAX: u32 = 128;

/// The rules of a gateway, with one line in mangle that differs.
fn rules(v6: bool, mangle: &str) -> String {
    let (outer, inner) = if v6 { ("fd02::1", "[fd01::2]:80") } else { ("10.2.0.1", "10.1.0.2:80") };
    let (ttl, reject) = match v6 {
        false => ("TTL --ttl-set 9", "icmp-admin-prohibited"),
        true => ("HL --hl-set 9", "icmp6-adm-prohibited"),
    };
    format!(
        "*mangle
:PREROUTING ACCEPT
:INPUT ACCEPT
:FORWARD ACCEPT
:OUTPUT ACCEPT
:POSTROUTING ACCEPT
-A FORWARD -p tcp --tcp-flags SYN,RST SYN -j TCPMSS {mangle}
-A FORWARD -p udp -j TOS --set-tos 0x10/0xff
-A PREROUTING -m conntrack --ctstate NEW -j CONNMARK --set-xmark 0x5/0xff
-A POSTROUTING -p udp --dport 53 -j {ttl}
COMMIT
*nat
:PREROUTING ACCEPT
:INPUT ACCEPT
:OUTPUT ACCEPT
:POSTROUTING ACCEPT
-A PREROUTING -d {outer} -p tcp --dport 8080 -j DNAT --to-destination {inner}
-A PREROUTING -i lan -p udp --dport 5353 -j REDIRECT --to-ports 7
-A POSTROUTING -o wan -p udp --sport 3:4 -j MASQUERADE --random-fully
-A POSTROUTING -o wan -j MASQUERADE
COMMIT
*filter
:INPUT ACCEPT
:FORWARD DROP
:OUTPUT ACCEPT
-A FORWARD -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT
-A FORWARD -m conntrack --ctstate INVALID -j DROP
-A FORWARD -p tcp --dport 25 -j REJECT --reject-with tcp-reset
-A FORWARD -p udp --dport 25 -j REJECT --reject-with {reject}
-A FORWARD -i lan -m conntrack --ctstate NEW -j ACCEPT
-A FORWARD -m conntrack --ctstate NEW,DNAT -j ACCEPT
-A OUTPUT -p udp --dport 25 -j REJECT
COMMIT
"
    )
    .replace("--ctstate NEW,DNAT", "--ctstate DNAT")
}

fn plan(other: bool) -> Plan {
    let mangle = if other { "--set-mss 900" } else { "--clamp-mss-to-pmtu" };
    let mut plan = Plan::default().rules(&rules(false, mangle), &rules(true, mangle));
    plan.config.conntrack.max = MAX;
    plan
}

#[derive(Debug, Clone)]
enum Step {
    /// A packet of a few flows, from inside or outside, with some bytes changed.
    Sends {
        inside: bool,
        what: u8,
        port: u8,
        flags: u8,
        edits: Vec<(usize, u8)>,
    },
    /// In pieces, in some order, one of them perhaps missing.
    Pieces {
        inside: bool,
        v6: bool,
        step: usize,
        skip: usize,
        turned: bool,
        ident: u8,
    },
    /// An error that quotes what has left before.
    Quotes {
        pick: usize,
        kind: u8,
        len: usize,
        from_wan: bool,
    },
    /// What left comes back with its ends exchanged.
    Answers(usize),
    Pass(u64),
    Gone,
    Replace(bool),
    /// A program gives back what it has waited on longest, with one of its words.
    Reinject(u8),
}

/// The rules, and functions that queue some packets and steal others.
fn snapshot(other: bool) -> Snapshot {
    let snap = plan(other).snapshot();
    let hooks = [(Hook::Forward, 10), (Hook::Postrouting, 200), (Hook::Input, 10), (Hook::Output, -10)];
    let hooks = hooks.into_iter().fold(snap.hooks.clone(), |hooks, (hook, priority)| {
        let seen = std::sync::atomic::AtomicU32::new(0);
        let call = move |_: &At, p: &mut Packet| match seen.fetch_add(1, Relaxed) % 16 {
            3 | 7 => Verdict::Queue(1),
            // Nobody takes from this one.
            9 => Verdict::Queue(2),
            12 => {
                drop(std::mem::take(p));
                Verdict::Stolen
            }
            _ => Verdict::Accept,
        };
        hooks.with(Function { name: "some".into(), hook, priority, call: Arc::new(call) })
    });
    Snapshot { hooks, ..snap }
}

fn step() -> impl Strategy<Value = Step> {
    let flags = prop_oneof![
        3 => Just(wire_tcp::SYN), 2 => Just(wire_tcp::ACK), 1 => Just(wire_tcp::SYN | wire_tcp::ACK),
        1 => Just(wire_tcp::RST), 1 => Just(wire_tcp::FIN | wire_tcp::ACK), 1 => any::<u8>()
    ];
    let edits = prop_oneof![3 => Just(vec![]), 1 => vec((0usize..80, any::<u8>()), 1..4)];
    prop_oneof![
        12 => (proptest::bool::weighted(0.8), 0u8..24, any::<u8>(), flags, edits)
            .prop_map(|(inside, what, port, flags, edits)| Step::Sends { inside, what, port, flags, edits }),
        3 => (any::<bool>(), any::<bool>(), 1usize..90, 0usize..6, any::<bool>(), 0u8..3)
            .prop_map(|(inside, v6, step, skip, turned, ident)| Step::Pieces { inside, v6, step, skip, turned, ident }),
        3 => (any::<usize>(), 0u8..8, 0usize..120, any::<bool>())
            .prop_map(|(pick, kind, len, from_wan)| Step::Quotes { pick, kind, len, from_wan }),
        4 => any::<usize>().prop_map(Step::Answers),
        1 => prop_oneof![0u64..50, 500u64..3000, 10_000u64..200_000].prop_map(Step::Pass),
        1 => Just(Step::Gone),
        1 => any::<bool>().prop_map(Step::Replace),
        3 => any::<u8>().prop_map(Step::Reinject),
    ]
}

/// A packet from somebody inside or outside.
fn packet(inside: bool, what: u8, port: u8, flags: u8) -> (Vec<u8>, Offload) {
    let v6 = what & 1 == 1;
    let (here, there): (IpAddr, IpAddr) = match (v6, inside) {
        (false, true) => (CLIENT.into(), if what & 2 == 0 { FAR.into() } else { SERVER.into() }),
        (true, true) => (CLIENT6.into(), SERVER6.into()),
        (false, false) => (SERVER.into(), WAN_ADDR.into()),
        (true, false) => (SERVER6.into(), WAN_ADDR6.into()),
    };
    let to = [53, 80, 25, 8080, 5353, 9][usize::from(port >> 4) % 6];
    let ports = (u16::from(port & 15), to);
    let plain = Offload::default();
    let (l4, kind) = if v6 { (40, GsoKind::Tcp6) } else { (20, GsoKind::Tcp4) };
    let begun = |field| Csum::Partial { start: l4, field };
    let gso = |kind, size| Some(Gso { kind, size, ecn: false });
    match what / 4 {
        0 | 1 => (udp(here, there, ports, &bytes(40)), plain),
        2 => (tcp(here, there, ports, flags, b""), plain),
        3 => (ping(here, there, b"ping"), plain),
        4 => {
            // A sum that is only begun holds the sum of the pseudo-header.
            let mut p = tcp(here, there, ports, wire_tcp::ACK, &bytes(5000));
            begin(&mut p, l4.into(), 16);
            (p, Offload { csum: begun(16), gso: gso(kind, 1000) })
        }
        _ => {
            let mut p = udp(here, there, ports, &bytes(100));
            begin(&mut p, l4.into(), 6);
            (p, Offload { csum: begun(6), gso: None })
        }
    }
}

/// Puts the sum of the pseudo-header where a finished checksum was.
fn begin(p: &mut [u8], l4: usize, field: usize) {
    let (src, dst, proto): (IpAddr, IpAddr, u8) = match p[0] >> 4 {
        4 => {
            let ip = Ipv4::new(&*p).unwrap();
            (ip.src().into(), ip.dst().into(), ip.protocol())
        }
        _ => {
            let ip = Ipv6::new(&*p).unwrap();
            (ip.src().into(), ip.dst().into(), ip.next_header())
        }
    };
    let len = (p.len() - l4) as u32;
    let sum = sekisho::wire::checksum::fold(sekisho::wire::checksum::pseudo(src, dst, proto, len).unwrap());
    p[l4 + field..l4 + field + 2].copy_from_slice(&sum.to_be_bytes());
}

fn sends(b: &mut Bench, inside: bool, l3: &[u8], offload: Offload) {
    let (link, to, from) = if inside { (LAN, LAN_MAC, CLIENT_MAC) } else { (WAN, WAN_MAC, SERVER_MAC) };
    b.receive_offloaded(link, &frame(to, from, l3), offload);
}

/// The same packet from its destination, ports exchanged, if it has any.
fn turned(l3: &[u8]) -> Option<Vec<u8>> {
    let v6 = l3[0] >> 4 == 6;
    let (proto, l4, ends) = if v6 { (l3[6], 40, 8..40) } else { (l3[9], 20, 12..20) };
    let mut p = l3.to_vec();
    let half = (ends.end - ends.start) / 2;
    p[ends].rotate_left(half);
    if matches!(proto, proto::TCP | proto::UDP) {
        p.get_mut(l4..l4 + 4)?.rotate_left(2);
        if proto == proto::TCP {
            // SYN becomes SYN ACK; the sum follows.
            let tcp = p.get_mut(l4..)?;
            if tcp.len() < 20 {
                return None;
            }
            let old = tcp[13];
            tcp[13] |= wire_tcp::ACK;
            let sum = u16::from_be_bytes([tcp[16], tcp[17]]);
            let sum = sekisho::wire::checksum::update16(sum, old.into(), tcp[13].into());
            tcp[16..18].copy_from_slice(&sum.to_be_bytes());
        }
    } else {
        let kind = p.get_mut(l4)?;
        *kind = match *kind {
            icmpv4::ECHO if !v6 => icmpv4::ECHO_REPLY,
            icmpv6::ECHO if v6 => icmpv6::ECHO_REPLY,
            _ => return None,
        };
        let sum = u16::from_be_bytes([p[l4 + 2], p[l4 + 3]]);
        let (old, new) = if v6 { (0x8000, 0x8100) } else { (0x0800, 0) };
        let sum = sekisho::wire::checksum::update16(sum, old, new);
        p[l4 + 2..l4 + 4].copy_from_slice(&sum.to_be_bytes());
    }
    Some(p)
}

fn run(b: &mut Bench, step: &Step, left: &mut Vec<(LinkId, Vec<u8>)>, queue: &Receiver<Queued>) {
    match step {
        Step::Sends { inside, what, port, flags, edits } => {
            let (mut l3, offload) = packet(*inside, *what, *port, *flags);
            // The sender's address and the family stay: it is not asked what a spoofed source does here.
            let (fixed, dst) = if l3[0] >> 4 == 6 { (24, 24..40) } else { (16, 16..20) };
            for (at, byte) in edits {
                if let Some(old) = l3
                    .get_mut(*at)
                    .filter(|_| *at != 0 && (*at < fixed - 8 || !dst.contains(at) && *at > fixed))
                {
                    *old = *byte;
                }
            }
            if l3[0] >> 4 == 4 {
                l3 = edit4(l3, |_| {});
            }
            sends(b, *inside, &l3, offload);
        }
        Step::Pieces { inside, v6, step, skip, turned, ident } => {
            let (l3, _) = packet(*inside, u8::from(*v6), 0x10 * ident, 0);
            let whole = [&l3[..], &bytes(200)].concat();
            let mut pieces = fragments(&whole, step * 8, (*ident).into());
            if *turned {
                pieces.reverse();
            }
            for (_, f) in pieces.iter().enumerate().filter(|(i, _)| i + 1 != *skip) {
                sends(b, *inside, f, Offload::default());
            }
        }
        Step::Quotes { pick, kind, len, from_wan } => {
            let Some((_, quoted)) = left.get(pick % left.len().max(1)) else { return };
            let quote = &quoted[..quoted.len().min(20 + len)];
            let l3 = if quoted[0] >> 4 == 6 {
                let to = Ipv6Addr::from(<[u8; 16]>::try_from(&quoted[8..24]).unwrap());
                let from = if *from_wan { SERVER6 } else { CLIENT6 };
                icmp6(from, to, (1 + kind % 4, 0), 1280, quote)
            } else {
                let to = Ipv4Addr::from(<[u8; 4]>::try_from(&quoted[12..16]).unwrap());
                let from = if *from_wan { SERVER } else { CLIENT };
                icmp4(from, to, ([3, 4, 5, 11, 12][usize::from(kind % 5)], 1), 1000, quote)
            };
            sends(b, !from_wan, &l3, Offload::default());
        }
        Step::Answers(pick) => {
            let Some((link, l3)) = left.get(pick % left.len().max(1)) else { return };
            let (inside, Some(answer)) = (*link == LAN, turned(l3)) else { return };
            if answer.len() <= 1500 {
                sends(b, inside, &answer, Offload::default());
            }
        }
        Step::Pass(ms) => b.pass(Duration::from_millis(*ms)),
        Step::Gone => {
            b.router.link_gone(WAN);
        }
        Step::Replace(other) => b.router.replace(snapshot(*other)),
        Step::Reinject(word) => {
            let Ok(queued) = queue.try_recv() else { return };
            let verdict = match word % 8 {
                0 => Verdict::Drop,
                1 => Verdict::Stolen,
                2 => Verdict::Queue(1),
                3 => Verdict::Repeat,
                // Thrown away.
                4 => return drop(queued),
                _ => Verdict::Accept,
            };
            b.worker.reinject(queued, verdict, b.now);
            b.collect();
        }
    }
    b.balanced();
    let live = b.router.live();
    assert!(live.conntrack.len() <= MAX as usize);
    for (link, p) in b.out.drain(..) {
        let l3 = p.l3().to_vec();
        if link == WAN {
            hidden(&l3);
        }
        if (link == WAN || link == LAN) && matches!(l3[0] >> 4, 4 | 6) && left.len() < 64 {
            left.push((link, l3));
        }
    }
    b.host.clear();
}

/// Nothing leaves with an inside address. Errors are not asked: one that quotes a packet of the router's own belongs
/// to a flow that was never translated, and leaves as it is in Linux too.
fn hidden(l3: &[u8]) {
    match l3[0] >> 4 {
        4 => {
            let ip = Ipv4::new(l3).unwrap();
            let error = ip.protocol() == proto::ICMP && matches!(l3[ip.header_len()], 3 | 4 | 5 | 11 | 12);
            assert!(error || ip.src() != CLIENT, "leaves from inside: {l3:?}");
        }
        6 => {
            let ip = Ipv6::new(l3).unwrap();
            let chain = ipv6_ext::walk(l3).unwrap_or_default();
            let error = chain.proto == proto::ICMPV6 && l3.get(chain.l4).is_some_and(|k| k & 0x80 == 0);
            assert!(error || ip.src() != CLIENT6, "leaves from inside: {l3:?}");
        }
        _ => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_traffic_leaves_a_gateway_whole(steps in vec(step(), 1..80)) {
        let mut b = plan(false).build().acquaint();
        b.router.replace(snapshot(false));
        let queue = b.router.queue(1, 4);
        let mut left = vec![];
        for step in &steps {
            run(&mut b, step, &mut left, &queue);
        }
        // Thrown away, all of it; what time sets off now finds no queue.
        while queue.try_recv().is_ok() {}
        drop(queue);
        // All that waits comes to an end.
        b.pass(Duration::from_secs(200));
        b.balanced();
        for column in Column::ALL {
            prop_assert_eq!(b.totals().parked(column), 0);
        }
        prop_assert_eq!(b.router.live().defrag.memory(), 0);
    }
}

#[test]
fn the_gateways_packets_do_pass() {
    // What never passes would leave what is behind untried.
    let mut b = plan(false).build().acquaint();
    for what in 0..24 {
        let (l3, offload) = packet(true, what, 1, wire_tcp::SYN);
        sends(&mut b, true, &l3, offload);
        let out = b.sent(WAN);
        let frames = out.iter().filter(|p| matches!(p.l3()[0] >> 4, 4 | 6)).count();
        assert_eq!(frames, 1, "{what}");
        let p = out.iter().find(|p| matches!(p.l3()[0] >> 4, 4 | 6)).unwrap();
        hidden(p.l3());
        if let Some(answer) = turned(p.l3()).filter(|a| a.len() <= 1500) {
            sends(&mut b, false, &answer, p.meta.offload);
            assert!(!b.sent(LAN).is_empty(), "the answer to {what}");
        }
        b.out.clear();
    }
}

#[test]
fn a_flood_of_connections_leaves_an_established_one_alone() {
    let mut b = plan(false).build().acquaint();
    let ports = (5000, 80);
    let syn = tcp(CLIENT, FAR, ports, wire_tcp::SYN, b"");
    b.client_sends(&syn);
    let out = b.one(WAN).l3().to_vec();
    let port = u16::from_be_bytes([out[20], out[21]]);
    let answer = |flags| {
        let mut p = tcp(FAR, WAN_ADDR, (80, port), flags, b"");
        p[28..32].copy_from_slice(&1001u32.to_be_bytes());
        summed(p)
    };
    b.server_sends(&answer(wire_tcp::SYN | wire_tcp::ACK));
    b.one(LAN);
    let mut ack = tcp(CLIENT, FAR, ports, wire_tcp::ACK, b"");
    ack[24..32].copy_from_slice(&[0, 0, 3, 0xe9, 0, 0, 3, 0xe9]);
    let ack = summed(ack);
    b.client_sends(&ack);
    b.one(WAN);
    assert!(b.flows()[0].contains("ASSURED"), "{:?}", b.flows());
    for n in 0..4 * MAX as u16 {
        // From inside, each from an address of its own.
        let from = Ipv4Addr::new(10, 1, 1 + (n >> 8) as u8, n as u8);
        b.client_sends(&tcp(from, FAR, (n | 1024, 443), wire_tcp::SYN, b""));
        assert!(b.router.live().conntrack.len() <= MAX as usize);
        b.out.clear();
        if n % 16 == 0 {
            b.client_sends(&ack);
            b.one(WAN);
        }
    }
    assert!(b.router.live().conntrack.stats().early_drops > u64::from(2 * MAX));
    b.server_sends(&answer(wire_tcp::ACK));
    b.one(LAN);
    // Resets by one who does not see the connection: he would have to know the sequence number.
    let mut seq = 7u32;
    for _ in 0..20_000 {
        seq = seq.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let mut p = tcp(FAR, WAN_ADDR, (80, port), wire_tcp::RST, b"");
        p[24..28].copy_from_slice(&seq.to_be_bytes());
        b.server_sends(&summed(p));
        b.out.clear();
    }
    assert!(
        b.flows().iter().any(|f| f.contains("ESTABLISHED") && f.contains("ASSURED")),
        "a blind reset hit"
    );
    b.client_sends(&ack);
    b.one(WAN);
    b.balanced();
}

/// Makes a TCP packet's sum right again.
fn summed(mut p: Vec<u8>) -> Vec<u8> {
    let ip = Ipv4::new(&p[..]).unwrap();
    let (src, dst) = (ip.src(), ip.dst());
    wire_tcp::Tcp::new(&mut p[20..]).unwrap().fill_checksum(src.into(), dst.into());
    p
}

#[test]
fn ports_given_at_random_are_spread_evenly() {
    let nat = "*nat\n:PREROUTING ACCEPT\n:INPUT ACCEPT\n:OUTPUT ACCEPT\n:POSTROUTING ACCEPT
-A POSTROUTING -o wan -p udp -j MASQUERADE --to-ports 1024-65535 --random-fully\nCOMMIT\n";
    let mut b = Plan::default().rules(nat, "").build().acquaint();
    const BINS: usize = 63;
    let (mut bins, mut last, mut runs) = ([0u32; BINS], 0u16, 0);
    let each = 6_300;
    for n in 0..each {
        let to = Ipv4Addr::new(198, 51, (n >> 8) as u8, n as u8);
        b.client_sends(&udp(CLIENT, to, (4000, 53), b"x"));
        let p = b.out.drain(..).find(|(link, p)| *link == WAN && p.l3()[0] >> 4 == 4).unwrap().1;
        let port = u16::from_be_bytes([p.l3()[20], p.l3()[21]]);
        bins[usize::from(port - 1024) * BINS / 64_512] += 1;
        runs += u32::from(port.wrapping_sub(last) < 64);
        last = port;
    }
    // 62 degrees of freedom: beyond 90.8 in one of a hundred cases.
    let expected = f64::from(each) / BINS as f64;
    let chi2: f64 = bins.iter().map(|n| (f64::from(*n) - expected).powi(2) / expected).sum();
    assert!(chi2 < 90.8, "{chi2}: {bins:?}");
    // No port tells the next: one in a thousand is as near by chance.
    assert!(runs < 30, "{runs}");
}

#[test]
fn what_is_translated_before_it_is_cut_or_summed_comes_out_right() {
    let ip = |p: &&(LinkId, sekisho::packet::Packet)| matches!(p.1.l3()[0] >> 4, 4 | 6);
    let mut b = plan(false).build().acquaint();
    for link in [LAN, WAN] {
        b.worker.set_caps(link, sekisho::packet::Caps::PLAIN);
    }
    for (what, pieces) in [(16, 5), (17, 5), (18, 5), (20, 1), (21, 1)] {
        let (l3, offload) = packet(true, what, 1, 0);
        sends(&mut b, true, &l3, offload);
        let out: Vec<_> = b.out.drain(..).collect();
        let out: Vec<_> = out.iter().filter(ip).collect();
        assert_eq!(out.len(), pieces, "{what}");
        for (link, p) in &out {
            assert_eq!(*link, WAN);
            hidden(p.l3());
            assert!(right(p.l3()), "{what}");
        }
        // The other way: the same with the ends exchanged, as large and as unfinished.
        let first = out[0].1.l3();
        let v6 = first[0] >> 4 == 6;
        let l4 = if v6 { 40 } else { 20 };
        let ports = (53, u16::from_be_bytes([first[l4], first[l4 + 1]]));
        let (from, to): (IpAddr, IpAddr) = match (v6, what & 2) {
            (true, _) => (SERVER6.into(), WAN_ADDR6.into()),
            (_, 0) => (FAR.into(), WAN_ADDR.into()),
            _ => (SERVER.into(), WAN_ADDR.into()),
        };
        let (mut l3, field) = match pieces {
            1 => (udp(from, to, ports, &bytes(100)), 6),
            _ => (tcp(from, to, ports, wire_tcp::ACK, &bytes(5000)), 16),
        };
        begin(&mut l3, l4, field);
        sends(&mut b, false, &l3, offload);
        let back: Vec<_> = b.out.drain(..).collect();
        let back: Vec<_> = back.iter().filter(ip).collect();
        assert_eq!(back.len(), pieces, "back {what}: {:?}", b.flows());
        for (link, p) in back {
            assert_eq!(*link, LAN);
            assert!(right(p.l3()), "back {what}");
        }
        b.balanced();
    }
}
