//! How many instructions the router's hot places take, each under a budget that must hold.
//!
//! `cargo bench --bench counts`. Counted by Callgrind (valgrind), by way of gungraun: a count does not depend on what
//! else the machine is doing, so a budget can be enforced where a time can't. It takes `valgrind`, and `gungraun-runner`
//! of the version in Cargo.lock (`cargo install --locked gungraun-runner@VERSION`). Every count is of [`BATCH`] packets
//! or lookups; budgets are written down for one. What a count says nothing of (cache misses, syscalls, contention) is
//! for the other benches.
//!
//! A budget is some percent above what was counted when it was set. Whoever makes a place cheaper lowers its budget in
//! the same commit; whoever needs more says why.

#![expect(missing_docs, reason = "what the macros make of the benches is public")]

use std::hint::black_box;
use std::net::Ipv4Addr;
use std::time::Duration;

use gungraun::{
    Callgrind, EventKind, LibraryBenchmarkConfig, library_benchmark, library_benchmark_group, main,
};
use ipnet::Ipv4Net;
use sekisho::base::{Hook, Instant};
use sekisho::conntrack::{Config, Conntrack, Current};
use sekisho::fib::{Fib, NextHop, Rib, Route, RouteKind};
use sekisho::packet::{Caps, Csum, Ct, Gso, GsoKind, Net, Offload, Packet};
use sekisho::path::{FlowCacheConfig, Handed};
use sekisho::router::Worker;
use sekisho::wire::{proto, tcp as wire_tcp};

use make::{bytes, tcp, udp};
use net::*;

// The bench of the walks serves here too.
#[path = "../tests/walk/check.rs"]
mod check;
#[expect(dead_code, reason = "the walks need more of it")]
#[path = "../tests/walk/make.rs"]
mod make;
#[expect(dead_code, reason = "the walks need more of it")]
#[path = "../tests/walk/net.rs"]
mod net;

/// Packets or lookups in a count.
const BATCH: u64 = 64;

/// At most so many instructions for each packet.
fn budget(each: u64) -> LibraryBenchmarkConfig {
    let mut callgrind = Callgrind::with_args(["--cache-sim=no"]);
    callgrind.hard_limits([(EventKind::Ir, each * BATCH)]);
    let mut config = LibraryBenchmarkConfig::default();
    config.tool(callgrind);
    config
}

/// A worker and a batch of frames for it.
struct Ready {
    worker: Worker,
    now: Instant,
    frames: Vec<Packet>,
}

/// What passes a gateway.
#[derive(Clone, Copy)]
enum Traffic {
    /// UDP of a flow that has been answered; over IPv6 if so said.
    Udp { v6: bool },
    /// Segments of an open connection.
    Tcp,
    /// A TCP super-frame of 64 KB.
    Super,
    /// UDP packets that each begin a flow.
    New,
}

/// A router in front of which the packets of a batch wait. Those before them have been through: memory is there, next
/// hops are known, the flow is established.
fn ready(traffic: Traffic, gateway: bool) -> Ready {
    in_front(traffic, gateway, FlowCacheConfig { eager: true, ..FlowCacheConfig::default() })
}

/// The same where no flow is remembered, and every packet walks.
fn to_walk(traffic: Traffic, gateway: bool) -> Ready {
    in_front(traffic, gateway, FlowCacheConfig::OFF)
}

fn in_front(traffic: Traffic, gateway: bool, flow_cache: FlowCacheConfig) -> Ready {
    let rules = if gateway { format!("{STATEFUL}{MASQUERADE}") } else { String::new() };
    let mut plan = Plan::default().rules(&rules, &rules);
    plan.config.flow_cache = flow_cache;
    let mut b = plan.build().acquaint();
    b.worker.set_caps(LAN, Caps::FULL);
    b.worker.set_caps(WAN, Caps::FULL);
    let (l3, answer) = match traffic {
        Traffic::Udp { v6: false } => {
            let outer = if gateway { WAN_ADDR } else { CLIENT };
            let answer = udp(SERVER, outer, (53, 1025), &bytes(22));
            (udp(CLIENT, SERVER, (1025, 53), &bytes(22)), vec![answer])
        }
        Traffic::Udp { v6: true } => {
            let outer = if gateway { WAN_ADDR6 } else { CLIENT6 };
            let answer = udp(SERVER6, outer, (53, 1025), &bytes(2));
            (udp(CLIENT6, SERVER6, (1025, 53), &bytes(2)), vec![answer])
        }
        Traffic::Tcp | Traffic::Super => {
            b.client_sends(&tcp(CLIENT, SERVER, (1025, 80), wire_tcp::SYN, &[]));
            let outer = if gateway { WAN_ADDR } else { CLIENT };
            let mut answer = tcp(SERVER, outer, (80, 1025), wire_tcp::SYN | wire_tcp::ACK, &[]);
            // It acknowledges the SYN, whose number is 1000, with a window that a super-frame fits into.
            answer[28..32].copy_from_slice(&1001u32.to_be_bytes());
            answer[34..36].copy_from_slice(&u16::MAX.to_be_bytes());
            fill(&mut answer);
            let payload = if matches!(traffic, Traffic::Super) { 64_000 } else { 10 };
            let mut l3 = tcp(CLIENT, SERVER, (1025, 80), wire_tcp::ACK, &bytes(payload));
            l3[24..28].copy_from_slice(&1001u32.to_be_bytes());
            l3[28..32].copy_from_slice(&1001u32.to_be_bytes());
            fill(&mut l3);
            (l3, vec![answer])
        }
        Traffic::New => (udp(CLIENT, SERVER, (1025, 53), &bytes(22)), Vec::new()),
    };
    if !matches!(traffic, Traffic::Tcp | Traffic::Super) {
        b.client_sends(&l3);
    }
    for answer in &answer {
        b.server_sends(answer);
    }
    let offload = match traffic {
        Traffic::Super => Offload {
            csum: Csum::Partial { start: 20, field: 16 },
            gso: Some(Gso { kind: GsoKind::Tcp4, size: 1448, ecn: false }),
        },
        _ => Offload::default(),
    };
    let whole = frame(LAN_MAC, CLIENT_MAC, &l3);
    // A second batch before the one that counts: the first fills what grows once.
    let mut frames = Vec::new();
    for round in 0..2u16 {
        frames = (0..BATCH as u16)
            .map(|n| {
                let mut bytes = whole.clone();
                if matches!(traffic, Traffic::New) {
                    let port = 2000 + round * 1000 + n;
                    bytes[34..36].copy_from_slice(&port.to_be_bytes());
                    // Without a checksum all of them are right (RFC 768).
                    bytes[40..42].fill(0);
                }
                let mut p = Packet::from_slice(&bytes);
                p.meta.offload = offload;
                p
            })
            .collect();
        if round == 0 {
            b.worker.handle_batch(LAN, &mut frames, b.now);
            b.collect();
        }
    }
    assert_eq!(b.out.len() as u64, BATCH + 1 + answer.len() as u64, "everything passes");
    b.out.clear();
    b.now += Duration::from_millis(1);
    Ready { worker: b.worker, now: b.now, frames }
}

/// Puts the right checksum into a TCP packet.
fn fill(l3: &mut [u8]) {
    let (src, dst) = (addr(l3, 12), addr(l3, 16));
    let Some(mut tcp) = wire_tcp::Tcp::new(&mut l3[20..]) else { return };
    tcp.fill_checksum(src.into(), dst.into());
}

fn addr(l3: &[u8], at: usize) -> Ipv4Addr {
    Ipv4Addr::new(l3[at], l3[at + 1], l3[at + 2], l3[at + 3])
}

/// All of the batch has left.
fn left(mut ready: Ready) {
    let mut n = 0;
    ready.worker.transmit(WAN, |_, queue| {
        n = queue.len() as u64;
        queue.clear();
        Handed::default()
    });
    assert_eq!(n, BATCH);
}

#[library_benchmark]
#[bench::routed_v4(config = budget(940), args = (Traffic::Udp { v6: false }, false), setup = ready, teardown = left)]
#[bench::routed_v6(config = budget(890), args = (Traffic::Udp { v6: true }, false), setup = ready, teardown = left)]
#[bench::gateway_udp_v4(config = budget(1640), args = (Traffic::Udp { v6: false }, true), setup = ready, teardown = left)]
#[bench::gateway_udp_v6(config = budget(1560), args = (Traffic::Udp { v6: true }, true), setup = ready, teardown = left)]
#[bench::gateway_tcp(config = budget(2200), args = (Traffic::Tcp, true), setup = ready, teardown = left)]
#[bench::gateway_super_frame(config = budget(2110), args = (Traffic::Super, true), setup = ready, teardown = left)]
#[bench::walked_routed_v4(config = budget(1900), args = (Traffic::Udp { v6: false }, false), setup = to_walk, teardown = left)]
#[bench::walked_gateway_udp_v4(config = budget(4150), args = (Traffic::Udp { v6: false }, true), setup = to_walk, teardown = left)]
#[bench::walked_gateway_tcp(config = budget(4700), args = (Traffic::Tcp, true), setup = to_walk, teardown = left)]
#[bench::gateway_new_flow(config = budget(10_000), args = (Traffic::New, true), setup = ready, teardown = left)]
fn walk(mut ready: Ready) -> Ready {
    ready.worker.handle_batch(LAN, &mut ready.frames, ready.now);
    ready
}

/// A table of so many routes, and destinations in it.
fn table(routes: u32) -> (Fib, Vec<Ipv4Addr>) {
    let plan = Plan::default();
    let links = plan.snapshot().links;
    let mut rib = Rib::connected(&links);
    let hops = RouteKind::Unicast(vec![NextHop::new(Some(SERVER.into()), Some(WAN))]);
    let net = |i: u32| Ipv4Addr::from((16 << 24) + (i << 8));
    for i in 0..routes {
        let prefix = Ipv4Net::new(net(i), 24).expect("24 bits");
        rib.insert(Route::new(prefix.into(), hops.clone())).expect("a route");
    }
    let to = (0..BATCH as u32).map(|i| Ipv4Addr::from(u32::from(net(i * 97 % routes)) | 9)).collect();
    (rib.build(&links).expect("routes"), to)
}

#[library_benchmark]
#[bench::routes_1k(config = budget(78), args = (1_000), setup = table)]
#[bench::routes_100k(config = budget(112), args = (100_000), setup = table)]
fn fib((fib, to): (Fib, Vec<Ipv4Addr>)) -> (Fib, Vec<Ipv4Addr>) {
    for to in &to {
        black_box(fib.lookup4(*to));
    }
    (fib, to)
}

/// A table with so many flows, packets of some of them, and the time.
fn flows(n: u32) -> (Conntrack, Vec<Packet>, Instant) {
    let conntrack = Conntrack::new(Config::default(), 0x5eed);
    let now = Instant::ZERO + Duration::from_secs(1);
    for i in 0..n {
        let mut p = datagram(i);
        begin(&conntrack, &mut p, now);
    }
    let packets = (0..BATCH as u32).map(|i| datagram(i * 97 % n)).collect();
    (conntrack, packets, now + Duration::from_secs(1))
}

/// A UDP packet of the `n`th flow, from its IP header on; the checksum is known to be right.
fn datagram(n: u32) -> Packet {
    let mut p = Packet::from_slice(&udp(Ipv4Addr::from((10 << 24) + n), SERVER, (4000, 53), &[]));
    (p.meta.net, p.meta.proto, p.meta.l4) = (Net::Ipv4, proto::UDP, 20);
    p.meta.offload.csum = Csum::Verified;
    p
}

fn begin(conntrack: &Conntrack, p: &mut Packet, now: Instant) {
    let mut current: Option<Current> = None;
    p.meta.ct = Ct::default();
    let _ = black_box(conntrack.track(p, Hook::Prerouting, now, &mut current));
    if let Some(current) = &mut current {
        let _ = black_box(conntrack.confirm(p, current, now));
    }
}

#[library_benchmark]
#[bench::known_flow(config = budget(990), args = (10_000), setup = flows)]
fn conntrack(mut all: (Conntrack, Vec<Packet>, Instant)) -> (Conntrack, Vec<Packet>, Instant) {
    let (conntrack, packets, now) = &mut all;
    for p in packets {
        begin(conntrack, p, *now);
    }
    all
}

library_benchmark_group!(name = path, benchmarks = [walk, fib, conntrack]);
main!(library_benchmark_groups = path);
