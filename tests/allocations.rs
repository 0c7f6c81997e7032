//! The established path allocates nothing: counted, not believed.
//!
//! A test binary of its own, since it replaces the allocator. What is measured is what a worker does
//! with batches of an established flow, storage from and back to its pool.
#![allow(unsafe_code)] // an allocator can't be had without it

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::time::Duration;

use sekisho::base::counters::Tally;
use sekisho::fib::{NextHop, Route, RouteKind};
use sekisho::filter::{Family, Program, Ruleset, iptables};
use sekisho::link::{Links, RpFilter};
use sekisho::packet::{Caps, Csum, Gso, GsoKind, Offload, Packet};
use sekisho::path::Handed;

use make::*;
use net::*;

// The bench of the walks serves here too.
#[path = "walk/check.rs"]
mod check;
#[expect(dead_code, reason = "the walks need more of it")]
#[path = "walk/make.rs"]
mod make;
#[expect(dead_code, reason = "the walks need more of it")]
#[path = "walk/net.rs"]
mod net;

thread_local! {
    static CALLS: Cell<u64> = const { Cell::new(0) };
    static BYTES: Cell<i64> = const { Cell::new(0) };
}

/// What an allocation takes beside what was asked for, about.
const HEAD: i64 = 16;

/// The system's allocator, counting the calls of each thread, and the bytes it has.
struct Counting;

// SAFETY: every call goes to the system's allocator as it is; counting touches no memory of the caller's, and
// a thread-local that needs no destructor allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        CALLS.set(CALLS.get() + 1);
        BYTES.set(BYTES.get() + layout.size() as i64 + HEAD);
        // SAFETY: the caller keeps the contract of `alloc`, which is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        CALLS.set(CALLS.get() + 1);
        BYTES.set(BYTES.get() + size as i64 - layout.size() as i64);
        // SAFETY: as above.
        unsafe { System.realloc(ptr, layout, size) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        BYTES.set(BYTES.get() - layout.size() as i64 - HEAD);
        // SAFETY: as above.
        unsafe { System.dealloc(ptr, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Frames in a batch.
const BATCH: usize = 64;

/// Walks batches of a frame; gives how often memory was asked for in the last thousand of them.
fn calls(b: &mut Bench, input: &[u8], offload: Offload, batch: usize) -> u64 {
    calls_with(b, input, offload, batch, |_, _| {})
}

/// The same, with something changed in each frame, by its number.
fn calls_with(
    b: &mut Bench,
    input: &[u8],
    offload: Offload,
    batch: usize,
    change: impl Fn(usize, &mut [u8]),
) -> u64 {
    let mut frames: Vec<Packet> = Vec::with_capacity(BATCH);
    let mut before = 0;
    for round in 0..1_100 {
        if round == 100 {
            before = CALLS.get();
        }
        for number in 0..batch {
            let mut p = b.worker.pool().sized(input.len());
            assert!(p.append(input));
            change(round * batch + number, p.data_mut());
            p.meta = Default::default();
            p.meta.offload = offload;
            frames.push(p);
        }
        b.now += Duration::from_micros(100);
        b.worker.handle_batch(LAN, &mut frames, b.now);
        for link in [LAN, WAN, TUN] {
            b.worker.transmit(link, |pool, queue| {
                let mut what = Handed::default();
                for p in queue.drain(..) {
                    what.sent[p.meta.column as usize] += 1;
                    what.bytes += p.len() as u64;
                    pool.put(p);
                }
                what
            });
        }
        b.worker.settle(b.now);
    }
    let calls = CALLS.get() - before;
    b.balanced();
    calls
}

#[test]
fn an_established_flow_asks_for_no_memory() {
    let plain = Offload::default();
    let at = |start, field| Csum::Partial { start, field };
    let tcp4 = Offload { csum: at(20, 16), gso: Some(Gso { kind: GsoKind::Tcp4, size: 1448, ecn: false }) };
    let tcp6 = Offload { csum: at(40, 16), gso: Some(Gso { kind: GsoKind::Tcp6, size: 1428, ecn: false }) };
    let flows: [(&str, Vec<u8>, Offload, usize); 9] = [
        ("IPv4", udp(CLIENT, SERVER, (1, 2), b"hello"), plain, BATCH),
        ("IPv6", udp(CLIENT6, SERVER6, (1, 2), b"hello"), plain, BATCH),
        ("IPv4, long", udp(CLIENT, SERVER, (1, 2), &bytes(1400)), plain, BATCH),
        ("IPv6, long", udp(CLIENT6, SERVER6, (1, 2), &bytes(1400)), plain, BATCH),
        ("to a tun", udp(CLIENT, [10, 3, 0, 2], (1, 2), b"hello"), plain, BATCH),
        ("by one of two ways", udp(CLIENT, [10, 9, 0, 1], (1, 2), b"hello"), plain, BATCH),
        (
            "a partial checksum",
            udp(CLIENT, SERVER, (1, 2), b"hello"),
            Offload { csum: at(20, 6), gso: None },
            BATCH,
        ),
        ("a super-frame", tcp(CLIENT, SERVER, (1, 2), 16, &bytes(60_000)), tcp4, BATCH),
        ("a super-frame of IPv6", tcp(CLIENT6, SERVER6, (1, 2), 16, &bytes(60_000)), tcp6, 4),
    ];
    for learned in [false, true] {
        for caps in [Caps::FULL, Caps::PLAIN] {
            for (name, l3, offload, batch) in &flows {
                let hops = [NextHop::new(Some(SERVER.into()), Some(WAN)), NextHop::new(None, Some(TUN))];
                let two = Route::new("10.9.0.0/16".parse().unwrap(), RouteKind::Unicast(hops.to_vec()));
                let plan = Plan::default().link(LAN, |l| l.rp_filter = RpFilter::Strict).route(two);
                let mut b = if learned { plan.build() } else { plan.build().acquaint() };
                if learned {
                    b.client_sends(&udp(CLIENT, SERVER, (1, 2), b"first"));
                    b.answer_arp(WAN, SERVER, SERVER_MAC);
                    b.router.set_static_neighbor(WAN, SERVER6.into(), SERVER_MAC);
                }
                b.worker.set_caps(WAN, caps);
                b.worker.set_caps(TUN, Caps { ethernet: false, ..caps });
                let forwarded = b.tally(Tally::Forwarded);
                let n = calls(&mut b, &frame(LAN_MAC, CLIENT_MAC, l3), *offload, *batch);
                assert_eq!(b.tally(Tally::Forwarded) - forwarded, 1_100 * *batch as u64, "{name}");
                assert_eq!(n, 0, "{name}, {caps:?}, neighbor learned: {learned}");
            }
        }
    }
}

#[test]
fn a_tracked_filtered_and_translated_flow_asks_for_no_memory() {
    let head = "*nat\n:PREROUTING ACCEPT\n:INPUT ACCEPT\n:OUTPUT ACCEPT\n:POSTROUTING ACCEPT\n";
    let rules = format!("{head}-A POSTROUTING -o wan -j MASQUERADE\nCOMMIT\n{}", STATEFUL);
    let tcp4 = Offload {
        csum: Csum::Partial { start: 20, field: 16 },
        gso: Some(Gso { kind: GsoKind::Tcp4, size: 1448, ecn: false }),
    };
    for (name, l3, offload, batch) in [
        ("UDP", udp(CLIENT, SERVER, (1, 2), b"hello"), Offload::default(), BATCH),
        ("UDP over IPv6", udp(CLIENT6, SERVER6, (1, 2), b"hello"), Offload::default(), BATCH),
        ("TCP in super-frames", tcp(CLIENT, SERVER, (1, 2), 16, &bytes(60_000)), tcp4, 4),
        ("a ping", ping(CLIENT, SERVER, b"hello"), Offload::default(), BATCH),
    ] {
        let mut b = Plan::default().rules(&rules, &rules).build().acquaint();
        let n = calls(&mut b, &frame(LAN_MAC, CLIENT_MAC, &l3), offload, batch);
        assert_eq!(b.flows().len(), 1, "{name}");
        assert_eq!(b.tally(Tally::Forwarded), 1_100 * batch as u64, "{name}");
        assert_eq!(n, 0, "{name}");
    }
}

#[test]
fn segments_that_go_on_together_ask_for_no_memory() {
    let verified = Offload { csum: Csum::Verified, gso: None };
    for of_flows in [1, 5, 20] {
        let mut b = Plan::default().build().acquaint();
        let input = frame(LAN_MAC, CLIENT_MAC, &tcp(CLIENT6, SERVER6, (1, 2), 16, &bytes(1400)));
        let n = calls_with(&mut b, &input, verified, BATCH, |number, frame| {
            frame[14 + 40 + 1] = (number % of_flows) as u8;
            let seq = (number / of_flows * 1400) as u32;
            frame[14 + 44..14 + 48].copy_from_slice(&seq.to_be_bytes());
        });
        let made = b.tally(Tally::Coalesced);
        assert_eq!(made >= 1_000, of_flows < 8, "{made} super-frames of {of_flows} flows");
        assert_eq!(n, 0, "{of_flows} flows");
    }
}

/// Rules of many kinds.
fn ruleset() -> Ruleset {
    let mut text = String::from("*filter\n:some -\n:one-with-a-longer-name -\n");
    for n in 0..500 {
        let source = format!("10.{}.{}.{}", n / 250, n % 250, n % 7);
        for rule in [
            format!(
                "-A FORWARD -s {source} -p tcp --dport {} -m comment --comment \"number {n}\" -j ACCEPT",
                n + 1
            ),
            format!("-A some -s {source}/24 -i lan -m conntrack --ctstate NEW -m limit --limit 5/s -j DROP"),
            format!("-A some -p udp -m multiport --dports 53,{} -j one-with-a-longer-name", n + 1000),
            format!("-A one-with-a-longer-name -d {source} -j LOG --log-prefix \"seen: \""),
        ] {
            text += &rule;
            text.push('\n');
        }
    }
    text += "-A FORWARD -j some\nCOMMIT\n*nat\n-A POSTROUTING -o wan -j MASQUERADE\nCOMMIT\n";
    iptables::read(&text, Family::V4).expect("good rules")
}

#[test]
fn what_rules_take_beside_others_is_told_as_it_is() {
    let links = || Links::new([]);
    for line in [
        "-F",
        "-A FORWARD -j DROP",
        "-I some 7 -j DROP",
        "-N another",
        "-t nat -A POSTROUTING -j ACCEPT",
        "-t mangle -A FORWARD -j ACCEPT",
    ] {
        // The configuration has the rules, and the program that runs.
        let rules = ruleset();
        let program = Program::compile(&rules, &links()).expect("good rules");
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        let next = iptables::edit(&words, &rules).expect("a good change");
        let after = Program::after(&next.rules, &links(), Some((&program, &next.from)));
        let after = after.expect("good rules");
        let told = program.apart_from(Some(&after)) as i64;
        let before = BYTES.get();
        drop((rules, program));
        let freed = before - BYTES.get();
        assert!(
            (told * 8 / 10..told * 12 / 10).contains(&freed),
            "{line}: {freed} bytes were freed, {told} were told of"
        );
        drop((next, after));
    }
}

#[test]
fn the_count_counts() {
    let before = CALLS.get();
    drop(std::hint::black_box(vec![1u8; 100]));
    assert_eq!(CALLS.get() - before, 1);
}
