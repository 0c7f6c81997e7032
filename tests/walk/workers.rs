//! Several workers on one router.

use std::time::Duration;

use sekisho::base::{Column, DropReason, Instant, LinkId};
use sekisho::packet::{Caps, Meta, Net, Packet, Steering};
use sekisho::path::Handed;
use sekisho::router::Worker;
use sekisho::wire::arp::{Arp, Op};

use crate::make::*;
use crate::net::*;

/// A second worker of the bench's router.
fn another(b: &Bench) -> Worker {
    let mut w = b.router.worker();
    for (link, ethernet) in [(LAN, true), (WAN, true), (TUN, false)] {
        w.set_caps(link, Caps { ethernet, ..Caps::FULL });
    }
    w
}

fn numbered(n: u16) -> Packet {
    Packet::from_slice(&frame(LAN_MAC, CLIENT_MAC, &udp(CLIENT, SERVER, (1, n), b"x")))
}

fn number(p: &Packet) -> u16 {
    u16::from_be_bytes(p.l3()[22..24].try_into().unwrap())
}

fn sent(w: &mut Worker) -> Vec<u16> {
    let mut out = vec![];
    while let Some((link, p)) = w.poll_transmit() {
        if p.meta.net == Net::Ipv4 && link == WAN {
            out.push(number(&p));
        }
    }
    out
}

#[test]
fn what_one_parked_leaves_before_what_comes_later_whoever_hears_the_answer() {
    let mut b = Bench::new();
    let (mut one, mut two) = (another(&b), another(&b));
    let now = b.now;
    for n in 0..3 {
        one.handle_frame(LAN, numbered(n), now);
    }
    assert!(sent(&mut one).is_empty());
    // The other hears the answer: it has the packets now, in its outbox, not yet sent.
    two.handle_frame(WAN, server_answers(), now);
    // The flow goes on at the first: nothing may overtake.
    for n in 3..6 {
        one.handle_frame(LAN, numbered(n), now);
    }
    assert!(sent(&mut one).is_empty());
    assert_eq!(sent(&mut two), [0, 1, 2]);
    assert!(two.settle(now), "others came meanwhile");
    one.handle_frame(LAN, numbered(6), now);
    assert!(sent(&mut one).is_empty());
    assert_eq!(sent(&mut two), [3, 4, 5]);
    assert!(two.settle(now));
    assert_eq!(sent(&mut two), [6]);
    assert!(!two.settle(now));
    one.handle_frame(LAN, numbered(7), now);
    assert_eq!(sent(&mut one), [7]);
    b.now = now;
    b.balanced();
}

#[test]
fn what_one_learns_the_other_knows() {
    let b = Bench::new();
    let (mut one, mut two) = (another(&b), another(&b));
    one.handle_frame(LAN, numbered(0), b.now);
    one.handle_frame(WAN, server_answers(), b.now);
    assert_eq!(sent(&mut one), [0]);
    one.settle(b.now);
    two.handle_frame(LAN, numbered(1), b.now);
    assert_eq!(sent(&mut two), [1]);
    // A MAC that changes at one is not used by the other any more.
    let moved = Arp {
        op: Op::Request,
        sender_mac: CLIENT_MAC,
        sender_ip: SERVER,
        target_mac: WAN_MAC,
        target_ip: SERVER,
    };
    one.handle_frame(
        WAN,
        Packet::from_slice(&arp_frame(sekisho::base::Mac::BROADCAST, CLIENT_MAC, &moved)),
        b.now,
    );
    two.handle_frame(LAN, numbered(2), b.now);
    let (_, p) = two.poll_transmit().unwrap();
    assert_eq!(p.data()[..6], CLIENT_MAC.0);
    b.balanced();
}

#[test]
fn fragments_of_one_datagram_may_come_to_several() {
    let b = Bench::acquainted();
    let mut workers = [another(&b), another(&b)];
    let pieces = fragments(&ping(CLIENT, LAN_ADDR, &bytes(4_000)), 1440, 5);
    for (i, f) in pieces.iter().enumerate() {
        workers[i % 2].handle_frame(LAN, Packet::from_slice(&frame(LAN_MAC, CLIENT_MAC, f)), b.now);
    }
    let out: usize = workers.iter_mut().map(|w| std::iter::from_fn(|| w.poll_transmit()).count()).sum();
    assert_eq!(out, 3, "the answer, in pieces");
    b.balanced();
}

#[test]
fn whoever_comes_first_runs_the_timers() {
    let b = Bench::acquainted();
    let (mut one, mut two) = (another(&b), another(&b));
    let dead = udp(CLIENT, std::net::Ipv4Addr::new(10, 2, 0, 99), (1, 2), b"x");
    one.handle_frame(LAN, Packet::from_slice(&frame(LAN_MAC, CLIENT_MAC, &dead)), b.now);
    let mut asked = 0;
    let mut told = 0;
    for step in 0..50 {
        let now = b.now + Duration::from_millis(100 * step);
        for w in [&mut two, &mut one] {
            w.handle_timeout(now);
            while let Some((link, p)) = w.poll_transmit() {
                asked += usize::from(p.meta.net == Net::Arp && link == WAN);
                told += usize::from(p.meta.net == Net::Ipv4 && link == LAN);
            }
        }
    }
    assert_eq!((asked, told), (3, 1));
    b.balanced();
}

/// Threads that forward at the same time while neighbors come and go.
#[test]
fn flows_keep_their_order_on_threads() {
    const FLOWS: u16 = 4;
    const EACH: u16 = 400;
    let b = Bench::new();
    let start = b.now;
    let collected = std::sync::Mutex::new(Vec::new());
    std::thread::scope(|s| {
        for thread in 0..2u16 {
            let mut w = another(&b);
            let collected = &collected;
            s.spawn(move || {
                let mut now = start;
                let drain = |w: &mut Worker, now: Instant| {
                    // As a port would: all of it under one lock, so that the order is the wire's.
                    loop {
                        let mut wire = collected.lock().unwrap();
                        while let Some((link, p)) = w.poll_transmit() {
                            wire.push((link, p));
                        }
                        drop(wire);
                        if !w.settle(now) {
                            break;
                        }
                    }
                };
                for n in 0..EACH {
                    now += Duration::from_millis(1);
                    for flow in (0..FLOWS).filter(|f| f % 2 == thread) {
                        let l3 = udp(CLIENT, SERVER, (flow, n), b"x");
                        w.handle_frame(LAN, Packet::from_slice(&frame(LAN_MAC, CLIENT_MAC, &l3)), now);
                    }
                    if n % 50 == 7 {
                        w.handle_frame(WAN, server_answers(), now);
                    }
                    if n % 90 == 80 {
                        // The neighbor has another MAC: nobody may go on using the old one.
                        w.handle_frame(WAN, announcement(n), now);
                    }
                    w.handle_timeout(now);
                    drain(&mut w, now);
                }
                w.handle_frame(WAN, server_answers(), now);
                drain(&mut w, now);
            });
        }
    });
    let mut next = [0u16; FLOWS as usize];
    let mut seen = 0;
    for (link, p) in collected.into_inner().unwrap() {
        if (link, p.meta.net) == (WAN, Net::Ipv4) {
            let flow = usize::from(u16::from_be_bytes(p.l3()[20..22].try_into().unwrap()));
            let n = number(&p);
            assert!(n >= next[flow], "flow {flow}: {n} after {}", next[flow]);
            next[flow] = n + 1;
            seen += 1;
        }
    }
    assert!(seen > 0);
    let t = b.totals();
    for column in Column::ALL {
        assert_eq!(t.imbalance(column), 0);
    }
    assert!(t.links[LinkId(2).index()].tx_packets >= seen);
}

/// The server says that it has moved.
fn announcement(n: u16) -> Packet {
    let mac = sekisho::base::Mac([2, 0, 0, 1, (n >> 8) as u8, n as u8]);
    let arp = Arp { op: Op::Request, sender_mac: mac, sender_ip: SERVER, target_mac: mac, target_ip: SERVER };
    Packet::from_slice(&arp_frame(sekisho::base::Mac::BROADCAST, mac, &arp))
}

#[test]
fn what_the_ports_leave_is_in_the_ledger() {
    let b = Bench::acquainted();
    let mut w = another(&b);
    let before = b.totals().links[WAN.index()].tx_packets;
    // An outbox is bounded: the newest go.
    for n in 0..5_000 {
        w.handle_frame(LAN, numbered(n), b.now);
    }
    assert_eq!(b.totals().drops(DropReason::EgressQueueFull), 5_000 - 4_096);
    // The device takes some, refuses some for good, and leaves the rest.
    w.transmit(WAN, |pool, queue| {
        let mut what = Handed::default();
        for i in 0..2_000 {
            let p = queue.pop_front().unwrap();
            match i % 2 {
                0 => what.sent[p.meta.column as usize] += 1,
                _ => what.refused[p.meta.column as usize] += 1,
            }
            what.bytes += p.len() as u64;
            pool.put(p);
        }
        what
    });
    assert!(w.wants_transmit(WAN));
    w.give_up(WAN, DropReason::Shutdown);
    assert!(!w.wants_transmit(WAN));
    let t = b.totals();
    assert_eq!((t.drops(DropReason::EgressError), t.drops(DropReason::Shutdown)), (1_000, 2_096));
    let wan = t.links[WAN.index()];
    assert_eq!((wan.tx_packets - before, wan.tx_dropped), (1_000, 904 + 1_000 + 2_096));
    b.balanced();
}

/// Threads that begin, answer and end the same translated flows at the same time. What is INVALID is not translated, in
/// Linux neither, so that a rule has to drop it.
#[test]
fn nothing_leaves_untranslated_when_workers_begin_the_same_flows() {
    let nat = "*nat\n:PREROUTING ACCEPT\n:INPUT ACCEPT\n:OUTPUT ACCEPT\n:POSTROUTING ACCEPT
-A POSTROUTING -o wan -p udp -j MASQUERADE --to-ports 40000-40019\n-A POSTROUTING -o wan -j MASQUERADE\nCOMMIT
*filter\n:INPUT ACCEPT\n:FORWARD ACCEPT\n:OUTPUT ACCEPT
-A FORWARD -m conntrack --ctstate INVALID -j DROP\nCOMMIT\n";
    let mut plan = Plan::default().rules(nat, "");
    plan.config.conntrack.max = 64;
    let b = plan.build().acquaint();
    let start = b.now;
    let (router, gate) = (&b.router, &std::sync::Barrier::new(2));
    std::thread::scope(|s| {
        for thread in 0..2u16 {
            let mut w = another(&b);
            s.spawn(move || {
                let mut now = start;
                for n in 0..1_500u16 {
                    now += Duration::from_millis(20);
                    gate.wait();
                    // The same few flows from both, and some that fight for the last ports.
                    for port in [n / 8 % 30, n / 8 % 30 + u16::from(thread == 1) * 7] {
                        for l3 in [
                            udp(CLIENT, SERVER, (1024 + port, 53), b"x"),
                            tcp(CLIENT, SERVER, (1024 + port, 80), [2, 16, 4, 17][usize::from(n % 4)], b""),
                        ] {
                            w.handle_frame(LAN, Packet::from_slice(&frame(LAN_MAC, CLIENT_MAC, &l3)), now);
                        }
                    }
                    while let Some((link, p)) = w.poll_transmit() {
                        if p.meta.net != Net::Ipv4 {
                            continue;
                        }
                        let l3 = p.l3();
                        assert!(right(l3));
                        let (src, dst) = (&l3[12..16], &l3[16..20]);
                        assert!(link != WAN || src == WAN_ADDR.octets(), "leaves from inside");
                        assert!(link != LAN || dst == CLIENT.octets(), "comes to nobody inside");
                        if link == WAN && l3[9] == 17 {
                            let port = u16::from_be_bytes([l3[20], l3[21]]);
                            assert!((40_000..40_020).contains(&port));
                            let answer = udp(SERVER, WAN_ADDR, (53, port), b"y");
                            w.handle_frame(
                                WAN,
                                Packet::from_slice(&frame(WAN_MAC, SERVER_MAC, &answer)),
                                now,
                            );
                        }
                    }
                    assert!(router.live().conntrack.len() <= 64);
                    match n % 100 {
                        50 => drop(router.link_gone(WAN)),
                        75 if thread == 0 => now += Duration::from_secs(31),
                        _ => {}
                    }
                    w.handle_timeout(now);
                }
                // What came last.
                while w.poll_transmit().is_some() || w.settle(now) {}
                let n = w.drain_host().count();
                (0..n).for_each(|_| w.host_took(&Meta { column: Column::Received, ..Meta::default() }));
            });
        }
    });
    b.balanced();
}

/// Clients that all use the same ports, so that NAT has to exchange most of them: the answers come to the worker of the flow.
#[test]
fn answers_to_a_masqueraded_flow_come_to_its_own_worker() {
    let nat = "*nat\n:PREROUTING ACCEPT\n:INPUT ACCEPT\n:OUTPUT ACCEPT\n:POSTROUTING ACCEPT
-A POSTROUTING -o wan -j MASQUERADE\nCOMMIT\n";
    for workers in [2, 4] {
        let mut plan = Plan::default().rules(nat, "");
        let steering = Steering { key: 0xdead_beef, workers, addresses: [false; 2] };
        plan.config.steering = steering;
        let b = plan.build().acquaint();
        let mut own: Vec<Worker> = (0..workers).map(|_| another(&b)).collect();
        let (mut right, mut all, mut kept) = (0, 0, 0);
        for n in 0..3_000u16 {
            let client = std::net::Ipv4Addr::new(10, 1, 0, 10 + (n % 30) as u8);
            let l3 = match n % 10 {
                9 => ping(client, SERVER, b"x"),
                8 => tcp(client, SERVER, (2_000 + n / 30, 443), sekisho::wire::tcp::SYN, b""),
                _ => udp(client, SERVER, (2_000 + n / 30, 53), b"x"),
            };
            let worker = steering.worker(&l3);
            own[worker].handle_frame(LAN, Packet::from_slice(&frame(LAN_MAC, CLIENT_MAC, &l3)), b.now);
            while let Some((link, p)) = own[worker].poll_transmit() {
                if (link, p.meta.net) != (WAN, Net::Ipv4) {
                    continue;
                }
                let sent = p.l3();
                let mut answer = sent.to_vec();
                answer[12..16].copy_from_slice(&sent[16..20]);
                answer[16..20].copy_from_slice(&sent[12..16]);
                if n % 10 == 9 {
                    answer[20] = 0;
                } else {
                    answer[20..22].copy_from_slice(&sent[22..24]);
                    answer[22..24].copy_from_slice(&sent[20..22]);
                    kept += u32::from(sent[20..22] == l3[20..22]);
                }
                all += 1;
                right += u32::from(steering.worker(&answer) == worker);
            }
        }
        assert!(all > 2_700 && kept < 600, "{all}, of which {kept} kept their port");
        assert!(f64::from(right) >= f64::from(all) * 0.99, "{right} of {all}");
        b.balanced();
    }
}
