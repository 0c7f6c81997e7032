//! Samples of what comes in, for those who ask whose it is; and what the hooks count.

use sekisho::base::counters::HookTotals;
use sekisho::base::{Hook, LinkId};
use sekisho::packet::Packet;
use sekisho::path::Sample;

use crate::make::*;
use crate::net::*;

/// Frames of the client's, from these ports.
fn frames(ports: impl Iterator<Item = u16>) -> Vec<Packet> {
    let frame = |port| frame(LAN_MAC, CLIENT_MAC, &udp(CLIENT, SERVER, (port, 53), b"what?"));
    ports.map(|port| Packet::from_slice(&frame(port))).collect()
}

fn send(b: &mut Bench, link: LinkId, mut batch: Vec<Packet>) {
    b.worker.handle_batch(link, &mut batch, b.now);
    b.collect();
    b.out.clear();
}

#[test]
fn each_packet_if_that_is_wanted() {
    let mut b = Plan::default().rules(STATEFUL, "").build().acquaint();
    send(&mut b, LAN, frames(0..8));
    let tap = b.router.live().sampler.listen(1, 1_000).unwrap();
    // In batches and alone, walked and replayed, IP or not.
    send(&mut b, LAN, frames(1_000..1_064));
    send(&mut b, LAN, frames(1_000..1_064));
    b.client_sends(&udp(CLIENT, SERVER, (2_000, 53), b"alone"));
    b.receive(LAN, &[0xff; 60]);
    let samples: Vec<Sample> = tap.drain().collect();
    assert_eq!(samples.len(), 129);
    let length = frames(0..1)[0].len() as u32;
    for (s, port) in samples.iter().zip((1_000..1_064).chain(1_000..1_064).chain([2_000])) {
        assert_eq!((s.link, s.weight, s.bytes, s.tuple.src_port), (LAN, 1, length, port));
        assert_eq!((s.tuple.src(), s.tuple.dst(), s.tuple.dst_port), (CLIENT.into(), SERVER.into(), 53));
    }
    assert_eq!(tap.lost(), 0);
    drop(tap);
    send(&mut b, LAN, frames(0..64));
    b.out.clear();
    b.balanced();
}

#[test]
fn one_in_many_stands_for_many() {
    let mut b = Bench::acquainted();
    let tap = b.router.live().sampler.listen(16, 10_000).unwrap();
    // Two flows take turns, so that whoever counted every sixteenth would see one of them alone.
    for _ in 0..400 {
        send(&mut b, LAN, frames((0..64).map(|n| 1_000 + n % 2)));
    }
    let samples: Vec<Sample> = tap.drain().collect();
    let of = |port| {
        let those = samples.iter().filter(|s| s.tuple.src_port == port);
        those.map(|s| i64::from(s.weight)).sum::<i64>()
    };
    for port in [1_000, 1_001] {
        assert!((of(port) - 12_800).abs() < 2_000, "{} of 12800", of(port));
    }
    // Nothing is left over from then when every packet is wanted.
    tap.set_every(1);
    for _ in 0..10 {
        send(&mut b, LAN, frames(0..64));
    }
    assert!(tap.drain().count() >= 10 * 64 - 2);
    b.balanced();
}

#[test]
fn what_came_to_a_hook_is_counted_also_of_what_did_not_walk() {
    let drop = "*filter\n:INPUT ACCEPT\n:FORWARD ACCEPT\n:OUTPUT ACCEPT\n-A FORWARD -p udp --dport 9 -j DROP\nCOMMIT\n";
    let mut b = Plan::default().rules(drop, "").build().acquaint();
    let before = b.totals();
    for port in [53, 53, 53, 9] {
        b.client_sends(&udp(CLIENT, SERVER, (4_000, port), b"x"));
    }
    let t = b.totals();
    let came = |hook| {
        let (now, before): (HookTotals, HookTotals) = (t.hook(hook), before.hook(hook));
        (now.seen - before.seen, now.passed - before.passed, now.dropped - before.dropped)
    };
    assert_eq!(came(Hook::Prerouting), (4, 4, 0));
    assert_eq!(came(Hook::Forward), (4, 3, 1));
    assert_eq!(came(Hook::Postrouting), (3, 3, 0));
    assert_eq!(came(Hook::Input), (0, 0, 0));
    b.out.clear();
    b.balanced();
}
