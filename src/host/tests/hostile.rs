//! Floods, lies and noise.

use std::time::Duration;

use proptest::prelude::*;
use smoltcp::socket::tcp::State;

use super::super::*;
use super::rig::{ALL, Rig, arrived, ip, on_the_wire, tcp, udp};
use super::{SECOND, exchange, pattern};
use crate::packet::Net;
use crate::wire::proto;

const SYN: u8 = 2;

fn syn(i: u32) -> Vec<u8> {
    let src = format!("10.9.{}.{}", i >> 8 & 255, i & 255);
    tcp((&src, 1024 + (i % 60_000) as u16), ("10.0.0.1", 7), i.wrapping_mul(7919), 0, SYN, b"")
}

#[test]
fn half_open_connections_leave_room() {
    let mut rig = Rig::new(ALL);
    let before = rig.connect("10.0.0.1:7");
    rig.settle();
    for i in 0..1_000 {
        rig.host.handle(arrived(&syn(i)), rig.now).unwrap();
        assert!(rig.host.connections() <= limits::HALF_OPEN + 1);
        rig.poll();
        rig.now += Duration::from_millis(1);
    }
    let s = rig.connect("10.0.0.1:7");
    let data = pattern(50_000);
    assert!(exchange(&mut rig, s, &data, 60 * SECOND) == data, "a newcomer is served");
    assert!(exchange(&mut rig, before, &data, 60 * SECOND) == data, "and so is who was there before");
    rig.pass(limits::SYN_RECEIVED + SECOND);
    assert_eq!(rig.host.connections(), 0, "the half-open ones have gone by themselves");
    assert_eq!(rig.host.poll_timeout(rig.now), None);
}

#[test]
fn a_full_table_yields_to_newcomers_only_what_stands_still() {
    let mut rig = Rig::new(ALL);
    let all: Vec<_> = (0..limits::CONNECTIONS).map(|_| rig.connect("10.0.0.1:9")).collect();
    rig.settle();
    // The client's SYNs come all at once: more than may be half-open, so some are repeated.
    rig.run(60 * SECOND, |rig| {
        rig.host.connections() == limits::CONNECTIONS && {
            let open = all.iter().filter(|s| rig.state(**s) == State::Established).count();
            open == limits::CONNECTIONS
        }
    });
    for s in &all {
        rig.socket(*s).send_slice(b"busy").unwrap();
    }
    rig.settle();
    assert_eq!(rig.host.handle(arrived(&syn(1)), rig.now), Err(DropReason::HostRefused));
    rig.pass(limits::YIELD / 2);
    for s in &all[1..] {
        rig.socket(*s).send_slice(b"busy").unwrap();
    }
    rig.pass(limits::YIELD / 2 + SECOND);
    let newcomer = rig.connect("10.0.0.1:7");
    assert!(exchange(&mut rig, newcomer, b"room for one", 10 * SECOND) == b"room for one");
    assert_eq!(rig.state(all[0]), State::Closed, "the one that stood still was told");
    assert!(all[1..].iter().all(|s| rig.state(*s) == State::Established));
}

#[test]
fn a_repeated_syn_is_the_same_connection() {
    let mut rig = Rig::new(ALL);
    let mut numbers = Vec::new();
    for _ in 0..3 {
        rig.host.handle(arrived(&syn(1)), rig.now).unwrap();
        for p in rig.poll() {
            numbers.push(on_the_wire(&p)[0][24..28].to_vec());
        }
        rig.now += 2 * SECOND;
    }
    assert_eq!(rig.host.connections(), 1);
    assert!(numbers.len() > 1 && numbers.iter().all(|n| *n == numbers[0]));
}

#[test]
fn echoes_do_not_feed_each_other() {
    let mut rig = Rig::new(ALL);
    for from in [0, 7, 9, 13, 19, 37, 53, 123, 1023] {
        let p = arrived(&udp(("10.0.0.2", from), ("10.0.0.1", 7), b"x"));
        assert_eq!(rig.host.handle(p, rig.now), Err(DropReason::HostRefused), "{from}");
    }
    rig.host.handle(arrived(&udp(("10.0.0.2", 1024), ("10.0.0.1", 7), b"x")), rig.now).unwrap();
    rig.host.handle(arrived(&udp(("10.0.0.2", 7), ("10.0.0.1", 9), b"x")), rig.now).unwrap();
    assert_eq!(rig.poll().len(), 1);
}

#[test]
fn what_was_sent_to_many_is_answered_by_nobody() {
    let mut rig = Rig::new(ALL);
    let refused = |rig: &mut Rig, p: Packet| {
        assert_eq!(rig.host.handle(p, rig.now), Err(DropReason::HostRefused));
        assert!(rig.poll().is_empty());
    };
    for (src, dst) in [
        ("10.0.0.2", "255.255.255.255"),
        ("10.0.0.2", "224.0.0.1"),
        ("224.0.0.1", "10.0.0.1"),
        ("0.0.0.0", "10.0.0.1"),
        ("255.255.255.255", "10.0.0.1"),
        ("fd00::2", "ff02::1"),
        ("ff02::1", "fd00::1"),
        ("::", "fd00::1"),
    ] {
        refused(&mut rig, arrived(&udp((src, 5000), (dst, 7), b"x")));
        refused(&mut rig, arrived(&tcp((src, 5000), (dst, 7), 1, 0, SYN, b"")));
        refused(&mut rig, arrived(&tcp((src, 5000), (dst, 80), 1, 0, SYN, b"")));
    }
    for l2 in [L2Kind::Broadcast, L2Kind::Multicast] {
        let mut p = arrived(&udp(("10.0.0.2", 5000), ("10.0.0.255", 7), b"x"));
        p.meta.l2 = l2;
        refused(&mut rig, p);
    }
}

#[test]
fn resets_are_not_answered_and_closed_ports_answer_once() {
    let mut rig = Rig::new(ALL);
    rig.host.handle(arrived(&tcp(("10.0.0.2", 5000), ("10.0.0.1", 80), 9, 0, 4, b"")), rig.now).unwrap();
    assert!(rig.poll().is_empty());
    rig.host
        .handle(arrived(&tcp(("10.0.0.2", 5000), ("10.0.0.1", 7), 9, 77, 0x10, b"data")), rig.now)
        .unwrap();
    let out = rig.poll();
    let b = out[0].data();
    // RFC 9293 §3.10.7.1: with an ACK, the reset takes its number for its own.
    assert_eq!((out.len(), &b[24..28], b[33] & 0x3f), (1, &77u32.to_be_bytes()[..], 4));
    rig.host.handle(arrived(&tcp(("10.0.0.2", 5000), ("10.0.0.1", 80), 9, 0, SYN, b"")), rig.now).unwrap();
    let out = rig.poll();
    let b = out[0].data();
    assert_eq!((&b[28..32], b[33] & 0x3f), (&10u32.to_be_bytes()[..], 0x14));
}

#[test]
fn the_queue_is_bounded() {
    let mut rig = Rig::new(ALL);
    let packet = udp(("10.0.0.2", 5000), ("10.0.0.1", 7), b"x");
    for _ in 0..limits::QUEUE {
        rig.host.handle(arrived(&packet), rig.now).unwrap();
    }
    assert_eq!(rig.host.handle(arrived(&packet), rig.now), Err(DropReason::HostQueueFull));
    assert_eq!(rig.poll().len(), limits::QUEUE);
    rig.host.handle(arrived(&packet), rig.now).unwrap();
}

/// Opens a connection by hand; gives the next sequence number of either side.
fn open(rig: &mut Rig) -> (u32, u32) {
    rig.host.handle(arrived(&tcp(("10.0.0.2", 6000), ("10.0.0.1", 7), 1000, 0, SYN, b"")), rig.now).unwrap();
    let out = rig.poll();
    let theirs = u32::from_be_bytes(out[0].data()[24..28].try_into().unwrap()).wrapping_add(1);
    rig.host
        .handle(arrived(&tcp(("10.0.0.2", 6000), ("10.0.0.1", 7), 1001, theirs, 0x10, b"")), rig.now)
        .unwrap();
    rig.poll();
    (1001, theirs)
}

#[test]
fn blind_resets_end_nothing() {
    let mut rig = Rig::new(ALL);
    let (ours, theirs) = open(&mut rig);
    for i in 1..5_000u32 {
        let seq = ours.wrapping_sub(i.wrapping_mul(0x000f_4243));
        // Outside of the window: beyond 64 KiB ahead (no scaling was agreed), or behind.
        if seq.wrapping_sub(ours) >= 65_535 {
            let _ = rig
                .host
                .handle(arrived(&tcp(("10.0.0.2", 6000), ("10.0.0.1", 7), seq, theirs, 4, b"")), rig.now);
        }
    }
    rig.poll();
    assert_eq!(rig.host.connections(), 1);
    rig.host
        .handle(arrived(&tcp(("10.0.0.2", 6000), ("10.0.0.1", 7), ours, theirs, 4, b"")), rig.now)
        .unwrap();
    assert_eq!(rig.host.connections(), 0, "the exact one does");
}

/// One segment thrown at an open connection: offsets from what is expected, flags, options, data.
type Dart = (i64, i64, u8, Vec<u8>, usize, u64);

fn darts() -> impl Strategy<Value = Vec<Dart>> {
    let near = prop_oneof![
        4 => -3i64..4,
        2 => -70_000i64..70_000,
        1 => any::<i32>().prop_map(i64::from),
        1 => Just(65_535i64),
    ];
    let flags = prop_oneof![6 => Just(0x10u8), 2 => Just(0x18u8), 1 => Just(0x11u8), 1 => Just(0x02), 1 => any::<u8>()];
    let options = proptest::collection::vec(any::<u8>(), 0..12);
    let len = prop_oneof![Just(0usize), 1usize..20, 1_000usize..60_000];
    let wait = prop_oneof![4 => Just(0u64), 2 => 0u64..50, 1 => 0u64..100_000];
    proptest::collection::vec((near.clone(), near, flags, options, len, wait), 1..60)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, ..ProptestConfig::default() })]

    /// An open connection, and a peer that says anything at any time.
    #[test]
    fn no_segment_breaks_an_open_connection(darts in darts(), window in any::<u16>()) {
        let mut rig = Rig::new(ALL);
        let (mut ours, mut theirs) = open(&mut rig);
        for (dseq, dack, flags, options, len, wait) in darts {
            let seq = ours.wrapping_add(dseq as u32);
            let ack = theirs.wrapping_add(dack as u32);
            let mut b = tcp(("10.0.0.2", 6000), ("10.0.0.1", 7), seq, ack, flags, &vec![0x55; len]);
            let pad = options.len() / 4 * 4;
            b.splice(40..40, options[..pad].iter().copied());
            b[32] = ((20 + pad) as u8 / 4) << 4;
            b[34..36].copy_from_slice(&window.to_be_bytes());
            let total = (b.len() as u16).to_be_bytes();
            b[2..4].copy_from_slice(&total);
            let mut p = arrived(&b);
            p.meta.offload.csum = crate::packet::Csum::Verified;
            let _ = rig.host.handle(p, rig.now);
            for p in rig.poll() {
                for b in on_the_wire(&p) {
                    // Keep step as an honest peer would, so that later darts come near.
                    if b[33] & 4 == 0 && b[23] == proto::TCP {
                        ours = u32::from_be_bytes(b[28..32].try_into().unwrap());
                        let payload = b.len() - 20 - usize::from(b[32] >> 4) * 4;
                        let next = u32::from_be_bytes(b[24..28].try_into().unwrap()).wrapping_add(payload as u32);
                        if next.wrapping_sub(theirs) < 1 << 30 {
                            theirs = next;
                        }
                    }
                }
            }
            rig.now += Duration::from_millis(wait);
            prop_assert!(rig.host.connections() <= 1);
        }
        // Whatever was said, it ends.
        for _ in 0..200 {
            rig.now += 10 * SECOND;
            rig.poll();
        }
        prop_assert_eq!(rig.host.connections(), 0);
        prop_assert_eq!(rig.host.poll_timeout(rig.now), None);
    }

    #[test]
    fn noise_is_survived(
        bytes in proptest::collection::vec(any::<u8>(), 0..200),
        l3 in 0u16..60, l4 in 0u16..80, proto in prop_oneof![Just(6u8), Just(17), any::<u8>()], six in any::<bool>(),
    ) {
        let mut rig = Rig::new(ALL);
        let mut p = Packet::from_slice(&bytes);
        p.meta = crate::packet::Meta {
            net: if six { Net::Ipv6 } else { Net::Ipv4 }, l3, l4, proto, ..p.meta
        };
        let _ = rig.host.handle(p.clone(), rig.now);
        p.meta.offload.csum = crate::packet::Csum::Verified;
        let _ = rig.host.handle(p, rig.now);
        rig.poll();
    }

    #[test]
    fn noise_behind_a_good_ip_header_is_survived(
        l4 in proptest::collection::vec(any::<u8>(), 0..120), tcp in any::<bool>(), open_port in any::<bool>(),
        six in any::<bool>(),
    ) {
        let mut rig = Rig::new(ALL);
        let mut l4 = l4;
        if open_port && l4.len() >= 4 {
            l4[2..4].copy_from_slice(&[0, 7]);
        }
        let (src, dst) = if six { ("fd00::2", "fd00::1") } else { ("10.0.0.2", "10.0.0.1") };
        let mut p = arrived(&ip(src, dst, if tcp { proto::TCP } else { proto::UDP }, &l4));
        p.meta.offload.csum = crate::packet::Csum::Verified;
        let _ = rig.host.handle(p, rig.now);
        for p in rig.poll() {
            on_the_wire(&p);
        }
    }
}
