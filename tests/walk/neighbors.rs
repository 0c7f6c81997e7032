//! Neighbors over ARP: asking, waiting, giving up, and what is believed.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use sekisho::base::counters::Tally;
use sekisho::base::{Column, DropReason, LinkId, Mac};
use sekisho::neighbor::Nud;
use sekisho::packet::{Net, Packet};
use sekisho::wire::arp::{Arp, Op};

use crate::basics::{udp4, udp6};
use crate::make::*;
use crate::net::*;

const OTHER_MAC: Mac = Mac([2, 0, 0, 0, 2, 9]);

fn state(b: &Bench, link: LinkId, ip: impl Into<IpAddr>) -> Option<Nud> {
    let ip = ip.into();
    b.router
        .live()
        .neighbors
        .entries(b.now)
        .into_iter()
        .find(|i| (i.link, i.ip) == (link, ip))
        .map(|i| i.state)
}

fn mac(b: &Bench, link: LinkId, ip: impl Into<IpAddr>) -> Option<Mac> {
    let ip = ip.into();
    b.router.live().neighbors.entries(b.now).into_iter().find(|i| (i.link, i.ip) == (link, ip))?.mac
}

#[track_caller]
fn arp(p: &Packet) -> (Mac, Arp) {
    assert_eq!(p.meta.net, Net::Arp);
    (Mac(p.data()[..6].try_into().unwrap()), Arp::parse(p.l3()).unwrap())
}

/// An ARP packet from a station on `wan`.
fn says(b: &mut Bench, to: Mac, op: Op, sender_mac: Mac, sender: Ipv4Addr, target: Ipv4Addr) {
    let arp = Arp { op, sender_mac, sender_ip: sender, target_mac: Mac::ZERO, target_ip: target };
    b.receive(WAN, &arp_frame(to, sender_mac, &arp));
}

#[test]
fn three_times_asked_a_second_apart_and_then_the_senders_hear_of_it() {
    let mut b = Bench::acquainted();
    let dead = Ipv4Addr::new(10, 2, 0, 99);
    let packets: Vec<_> = (0..3).map(|n| udp(CLIENT, dead, (1, n), b"x")).collect();
    for p in &packets {
        b.client_sends(p);
    }
    for n in 0..3 {
        let (dst, ask) = arp(&b.one(WAN));
        assert_eq!((dst, ask.op, ask.sender_mac), (Mac::BROADCAST, Op::Request, WAN_MAC));
        assert_eq!((ask.sender_ip, ask.target_ip, ask.target_mac), (WAN_ADDR, dead, Mac::ZERO));
        b.silent();
        b.pass(Duration::from_millis(if n < 2 { 1000 } else { 999 }));
        assert_eq!(b.totals().parked(Column::Received), 3);
    }
    b.silent();
    b.pass(Duration::from_millis(1));
    let told = b.sent(LAN);
    assert_eq!(told.len(), 3);
    for (p, sent) in told.iter().zip(&packets) {
        let told = crate::check::Told::of(p);
        assert_eq!((told.kind, told.src, told.dst), ((3, 1), LAN_ADDR.into(), CLIENT.into()));
        // Its hop was counted before it waited.
        assert_eq!(told.quote, ttl(sent.clone(), 63));
    }
    assert_eq!(b.totals().drops(DropReason::NeighborFailed), 3);
    assert_eq!(state(&b, WAN, dead), Some(Nud::Failed));
    assert_eq!((b.tally(Tally::Solicitations), b.tally(Tally::NeighborFailures)), (3, 1));
    // Who asks again has the same patience.
    b.client_sends(&packets[0]);
    b.one(WAN);
    b.balanced();
}

#[test]
fn the_same_for_ipv6() {
    let mut b = Bench::acquainted();
    let dead: Ipv6Addr = "fd02::99".parse().unwrap();
    b.client_sends(&udp(CLIENT6, dead, (1, 2), b"x"));
    for n in 0..3 {
        let ask = b.one(WAN);
        assert_eq!(ask.data()[..6], [0x33, 0x33, 0xff, 0, 0, 0x99]);
        let (src, dst) = (WAN_MAC.link_local(), "ff02::1:ff00:99".parse::<Ipv6Addr>().unwrap());
        assert_eq!(ask.l3()[7..40], [&[255][..], &src.octets(), &dst.octets()].concat());
        b.pass(Duration::from_millis(if n < 2 { 1000 } else { 999 }));
    }
    b.silent();
    b.pass(Duration::from_millis(1));
    let told = b.error(LAN);
    assert_eq!((told.kind, told.src), ((1, 3), LAN_ADDR6.into()));
    b.dropped(DropReason::NeighborFailed);
}

#[test]
fn what_waits_leaves_in_the_order_it_came() {
    let mut b = Bench::new();
    for n in 0..50 {
        b.client_sends(&udp(CLIENT, SERVER, (1, n), b"x"));
    }
    assert_eq!(b.sent(WAN).len(), 1, "one question for all");
    b.answer_arp(WAN, SERVER, SERVER_MAC);
    let ports: Vec<u8> = b.sent(WAN).iter().map(|p| p.l3()[23]).collect();
    assert_eq!(ports, (0..50).collect::<Vec<u8>>());
    assert_eq!(state(&b, WAN, SERVER), Some(Nud::Reachable));
    b.balanced();
}

#[test]
fn the_queue_is_bounded_and_the_oldest_go() {
    let mut b = Bench::new();
    for n in 0..1000u16 {
        b.client_sends(&udp(CLIENT, SERVER, (1, n), &bytes(1000)));
    }
    let gone = b.totals().drops(DropReason::NeighborQueueFull);
    assert!(gone > 500, "{gone}");
    assert!(b.router.live().neighbors.parked_bytes() <= 212_992);
    b.balanced();
    b.out.clear();
    b.answer_arp(WAN, SERVER, SERVER_MAC);
    let ports: Vec<u16> =
        b.sent(WAN).iter().map(|p| u16::from_be_bytes(p.l3()[22..24].try_into().unwrap())).collect();
    assert_eq!(ports, (gone as u16..1000).collect::<Vec<_>>(), "the latest, in order");
    assert_eq!(b.router.live().neighbors.parked_bytes(), 0);
    b.silent();
    b.balanced();
}

#[test]
fn reachable_stale_delay_probe() {
    let mut b = Bench::new();
    b.client_sends(&udp4(64, b"x"));
    b.answer_arp(WAN, SERVER, SERVER_MAC);
    b.out.clear();
    b.pass(Duration::from_secs(60));
    b.silent();
    assert_eq!(state(&b, WAN, SERVER), Some(Nud::Stale));
    // Used again: goes at once, and is asked after five seconds, by unicast.
    b.client_sends(&udp4(64, b"x"));
    b.one(WAN);
    assert_eq!(state(&b, WAN, SERVER), Some(Nud::Delay));
    b.pass(Duration::from_millis(4999));
    b.silent();
    b.pass(Duration::from_millis(1));
    let (dst, ask) = arp(&b.one(WAN));
    assert_eq!((dst, ask.op, ask.target_ip), (SERVER_MAC, Op::Request, SERVER));
    assert_eq!(state(&b, WAN, SERVER), Some(Nud::Probe));
    b.client_sends(&udp4(64, b"x"));
    b.one(WAN);
    // No answer: three in all, then nobody is there.
    b.pass(Duration::from_millis(2999));
    assert_eq!(b.sent(WAN).len(), 2);
    b.pass(Duration::from_millis(1));
    b.silent();
    assert_eq!(state(&b, WAN, SERVER), Some(Nud::Failed));
    // The memo of the next hop does not outlive it.
    b.client_sends(&udp4(64, b"late"));
    let (dst, _) = arp(&b.one(WAN));
    assert_eq!(dst, Mac::BROADCAST);
    b.answer_arp(WAN, SERVER, OTHER_MAC);
    assert_eq!(b.one(WAN).data()[..6], OTHER_MAC.0);
    b.balanced();
}

#[test]
fn an_answer_to_a_probe_is_enough() {
    let mut b = Bench::new();
    b.client_sends(&udp4(64, b"x"));
    b.answer_arp(WAN, SERVER, SERVER_MAC);
    b.pass(Duration::from_secs(60));
    b.client_sends(&udp4(64, b"x"));
    b.pass(Duration::from_secs(5));
    b.answer_arp(WAN, SERVER, SERVER_MAC);
    assert_eq!(state(&b, WAN, SERVER), Some(Nud::Reachable));
    b.out.clear();
    b.pass(Duration::from_secs(10));
    b.silent();
    b.balanced();
}

#[test]
fn a_new_mac_is_in_force_for_the_next_packet() {
    let mut b = Bench::new();
    b.client_sends(&udp4(64, b"x"));
    b.answer_arp(WAN, SERVER, SERVER_MAC);
    b.out.clear();
    b.client_sends(&udp4(64, b"x"));
    assert_eq!(b.one(WAN).data()[..6], SERVER_MAC.0);
    // Within a second of the first answer a second one is not believed (locktime).
    says(&mut b, WAN_MAC, Op::Reply, OTHER_MAC, SERVER, WAN_ADDR);
    b.client_sends(&udp4(64, b"x"));
    assert_eq!(b.one(WAN).data()[..6], SERVER_MAC.0);
    b.pass(Duration::from_millis(1100));
    says(&mut b, WAN_MAC, Op::Reply, OTHER_MAC, SERVER, WAN_ADDR);
    b.client_sends(&udp4(64, b"x"));
    assert_eq!(b.one(WAN).data()[..6], OTHER_MAC.0);
    // A gratuitous announcement moves it at once.
    says(&mut b, Mac::BROADCAST, Op::Request, SERVER_MAC, SERVER, SERVER);
    b.client_sends(&udp4(64, b"x"));
    assert_eq!(b.one(WAN).data()[..6], SERVER_MAC.0);
    b.balanced();
}

#[test]
fn what_nobody_asked_for_creates_nothing() {
    let mut b = Bench::new();
    let stranger = Ipv4Addr::new(10, 2, 0, 77);
    says(&mut b, WAN_MAC, Op::Reply, OTHER_MAC, stranger, WAN_ADDR);
    says(&mut b, Mac::BROADCAST, Op::Request, OTHER_MAC, stranger, stranger);
    says(&mut b, Mac::BROADCAST, Op::Reply, OTHER_MAC, stranger, stranger);
    says(&mut b, Mac::BROADCAST, Op::Request, OTHER_MAC, stranger, SERVER);
    b.silent();
    assert_eq!(state(&b, WAN, stranger), None);
    assert_eq!(b.totals().drops(DropReason::ArpIgnored), 4);
    b.balanced();
}

#[test]
fn who_asks_for_us_is_answered_and_remembered() {
    // For the address of the far side too (arp_ignore 0), and for one on neither.
    for target in [WAN_ADDR, LAN_ADDR, Ipv4Addr::new(10, 3, 0, 1)] {
        let mut b = Bench::new();
        says(&mut b, Mac::BROADCAST, Op::Request, SERVER_MAC, SERVER, target);
        let (dst, reply) = arp(&b.one(WAN));
        assert_eq!((dst, reply.op), (SERVER_MAC, Op::Reply));
        assert_eq!((reply.sender_mac, reply.sender_ip), (WAN_MAC, target));
        assert_eq!((reply.target_mac, reply.target_ip), (SERVER_MAC, SERVER));
        assert_eq!((state(&b, WAN, SERVER), mac(&b, WAN, SERVER)), (Some(Nud::Stale), Some(SERVER_MAC)));
        assert_eq!(b.tally(Tally::ArpReplies), 1);
        // Its MAC is known: nobody needs to ask.
        b.client_sends(&udp4(64, b"x"));
        b.one(WAN);
        b.silent();
        b.balanced();
    }
}

#[test]
fn a_probe_is_answered_and_not_remembered() {
    let mut b = Bench::new();
    says(&mut b, Mac::BROADCAST, Op::Request, OTHER_MAC, Ipv4Addr::UNSPECIFIED, WAN_ADDR);
    let (dst, reply) = arp(&b.one(WAN));
    assert_eq!((dst, reply.op, reply.sender_ip), (OTHER_MAC, Op::Reply, WAN_ADDR));
    assert!(b.router.live().neighbors.entries(b.now).is_empty());
    says(&mut b, Mac::BROADCAST, Op::Request, OTHER_MAC, Ipv4Addr::UNSPECIFIED, SERVER);
    b.silent();
    b.dropped(DropReason::ArpIgnored);
}

#[test]
fn arp_that_lies_or_makes_no_sense() {
    let case = |op, sender_mac: Mac, sender: &str, target: &str, reason| {
        let mut b = Bench::new();
        let arp = Arp {
            op,
            sender_mac,
            sender_ip: sender.parse().unwrap(),
            target_mac: Mac::ZERO,
            target_ip: target.parse().unwrap(),
        };
        b.receive(WAN, &arp_frame(Mac::BROADCAST, OTHER_MAC, &arp));
        b.silent();
        assert!(b.router.live().neighbors.entries(b.now).is_empty());
        b.dropped(reason);
    };
    use DropReason::{ArpIgnored, ArpInvalid, MartianSource};
    case(Op::Request, Mac([1, 0, 0x5e, 0, 0, 1]), "10.2.0.2", "10.2.0.1", ArpInvalid);
    case(Op::Request, Mac::BROADCAST, "10.2.0.2", "10.2.0.1", ArpInvalid);
    case(Op::Request, Mac::ZERO, "10.2.0.2", "10.2.0.1", ArpInvalid);
    case(Op::Request, WAN_MAC, "10.2.0.2", "10.2.0.1", ArpInvalid);
    case(Op::Request, OTHER_MAC, "224.0.0.1", "10.2.0.1", ArpInvalid);
    case(Op::Request, OTHER_MAC, "255.255.255.255", "10.2.0.1", ArpInvalid);
    case(Op::Request, OTHER_MAC, "10.2.0.1", "10.2.0.1", MartianSource);
    case(Op::Request, OTHER_MAC, "10.1.0.1", "10.2.0.1", MartianSource);
    case(Op::Request, OTHER_MAC, "10.2.0.2", "127.0.0.1", ArpIgnored);
    case(Op::Request, OTHER_MAC, "127.0.0.1", "10.2.0.1", ArpIgnored);
    case(Op::Request, OTHER_MAC, "10.2.0.2", "224.0.0.1", ArpIgnored);
    case(Op::Request, OTHER_MAC, "10.2.0.2", "10.2.0.255", ArpIgnored);
    case(Op::Other(3), OTHER_MAC, "10.2.0.2", "10.2.0.1", ArpInvalid);
    // Cut short, another hardware, another protocol.
    let whole = Arp {
        op: Op::Request,
        sender_mac: OTHER_MAC,
        sender_ip: SERVER,
        target_mac: Mac::ZERO,
        target_ip: WAN_ADDR,
    };
    let good = arp_frame(Mac::BROADCAST, OTHER_MAC, &whole);
    for (at, byte) in [(15, 7), (16, 9), (18, 8), (19, 16)] {
        let mut f = good.clone();
        f[at] = byte;
        let mut b = Bench::new();
        b.receive(WAN, &f);
        b.silent();
        b.dropped(ArpInvalid);
    }
    let mut b = Bench::new();
    b.receive(WAN, &good[..41]);
    b.silent();
    b.dropped(ArpInvalid);
}

#[test]
fn the_question_is_asked_from_the_address_that_speaks() {
    // arp_announce 0: the source of the packet if it is one of ours, on whichever link.
    let mut b = Bench::acquainted();
    let unknown = Ipv4Addr::new(10, 2, 0, 50);
    b.worker.handle_local(Packet::from_slice(&udp(LAN_ADDR, unknown, (7, 1), b"x")), b.now);
    b.collect();
    assert_eq!(arp(&b.one(WAN)).1.sender_ip, LAN_ADDR);
    // A forwarded packet's source is not ours to speak for.
    b.client_sends(&udp(CLIENT, Ipv4Addr::new(10, 2, 0, 51), (1, 2), b"x"));
    assert_eq!(arp(&b.one(WAN)).1.sender_ip, WAN_ADDR);
    b.balanced();
}

#[test]
fn a_link_that_goes_down_and_comes_back() {
    let mut b = Bench::new();
    b.router.set_static_neighbor(LAN, CLIENT.into(), CLIENT_MAC);
    b.client_sends(&udp4(64, b"one"));
    b.answer_arp(WAN, SERVER, SERVER_MAC);
    b.client_sends(&udp(CLIENT, Ipv4Addr::new(10, 2, 0, 9), (1, 2), b"waits"));
    b.out.clear();
    b.worker.handle_link(WAN, false, b.now);
    b.collect();
    assert_eq!(state(&b, WAN, SERVER), None, "neighbors are forgotten");
    assert_eq!(b.totals().drops(DropReason::LinkDown), 1, "what waited is dropped");
    b.balanced();
    b.client_sends(&udp4(64, b"two"));
    assert_eq!(b.error(LAN).kind, (3, 0));
    b.silent();
    b.worker.handle_link(WAN, true, b.now);
    b.pass(Duration::from_secs(3));
    b.out.clear();
    b.client_sends(&udp4(64, b"three"));
    assert_eq!(arp(&b.one(WAN)).0, Mac::BROADCAST);
    b.answer_arp(WAN, SERVER, SERVER_MAC);
    b.one(WAN);
    b.balanced();
}

#[test]
fn a_scan_does_not_push_out_the_neighbors_in_use() {
    let mut plan = Plan::default();
    for l in &mut plan.links {
        for a in &mut l.addresses {
            if a.addr == IpAddr::from(WAN_ADDR) {
                a.prefix_len = 16;
            }
        }
    }
    let mut b = plan.build();
    b.router.set_static_neighbor(LAN, CLIENT.into(), CLIENT_MAC);
    b.client_sends(&udp4(64, b"x"));
    b.answer_arp(WAN, SERVER, SERVER_MAC);
    b.out.clear();
    for round in 0..20u32 {
        for n in 0..500u32 {
            let dst = Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 2, 1, 0)) + round * 500 + n);
            b.client_sends(&udp(CLIENT, dst, (1, 2), b"x"));
        }
        b.pass(Duration::from_millis(200));
        b.out.clear();
        b.client_sends(&udp4(64, b"x"));
        let passed = b.sent(WAN).into_iter().filter(|p| p.meta.net == Net::Ipv4).count();
        assert_eq!(passed, 1, "round {round}");
    }
    let known = b.router.live().neighbors.entries(b.now).len();
    assert!(known <= 1024 + 2, "{known}");
    assert!(b.totals().drops(DropReason::NeighborTableFull) > 0);
    b.pass(Duration::from_secs(10));
    assert_eq!(b.router.live().neighbors.parked_bytes(), 0);
    b.balanced();
}

#[test]
fn a_crowd_of_unanswered_questions_is_asked_in_full() {
    // Each of the unknown neighbors is asked for three times, however many they are.
    let mut b = Bench::acquainted();
    let many = 600;
    for n in 0..many {
        let dst = Ipv6Addr::new(0xfd02, 0, 0, 0, 0, 0, 1, n);
        b.client_sends(&udp(CLIENT6, dst, (1, 2), b"x"));
    }
    b.pass(Duration::from_secs(4));
    assert_eq!(b.sent(WAN).len(), 3 * usize::from(many));
    assert_eq!(b.totals().drops(DropReason::Loop), 0);
    b.balanced();
}

#[test]
fn both_families_have_neighbors_of_their_own() {
    let mut b = Bench::new();
    b.client_sends(&udp4(64, b"x"));
    b.client_sends(&udp6(64, b"x"));
    assert_eq!(b.sent(WAN).len(), 2);
    b.answer_arp(WAN, SERVER, SERVER_MAC);
    assert_eq!(b.one(WAN).meta.net, Net::Ipv4);
    assert_eq!(state(&b, WAN, SERVER6), Some(Nud::Incomplete));
    b.balanced();
}
