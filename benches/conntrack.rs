//! What conntrack costs a packet: a flow that begins, one that goes on among many others, and what a full table
//! adds; and what memory a million flows take.

use std::cell::Cell;
use std::hint::black_box;
use std::time::Duration;

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use sekisho::base::{Hook, Instant};
use sekisho::conntrack::{Config, Conntrack, Current};
use sekisho::packet::{Csum, Ct, Net, Packet, Status};
use sekisho::wire::proto;

const SEED: u64 = 0x5eed;

/// A packet between the `n`th client and one of its servers, either way; the checksum is known to be right.
fn packet(v6: bool, proto: u8, n: u32, answer: bool) -> Packet {
    let (client, server) = (0x0a00_0000 + (n >> 4), 0xc633_6407u32);
    let (src, dst) = if answer { (server, client) } else { (client, server) };
    let port = 4096 + (n & 15) as u16;
    let (src_port, dst_port) = if answer { (443, port) } else { (port, 443) };
    let mut l4 = [&src_port.to_be_bytes()[..], &dst_port.to_be_bytes()].concat();
    match proto {
        proto::TCP => l4.extend([0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 0x20, 0, 1, 1, 0, 0]),
        _ => l4.extend([0, 26, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
    }
    let mut b = Vec::new();
    if v6 {
        b.extend([0x60, 0, 0, 0, 0, l4.len() as u8, proto, 64]);
        for host in [src, dst] {
            b.extend([0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0]);
            b.extend(host.to_be_bytes());
        }
    } else {
        b.extend([0x45, 0, 0, 20 + l4.len() as u8, 0, 1, 0x40, 0, 64, proto, 0, 0]);
        b.extend(src.to_be_bytes());
        b.extend(dst.to_be_bytes());
    }
    b.extend(&l4);
    let mut p = Packet::from_slice(&b);
    p.meta.net = if v6 { Net::Ipv6 } else { Net::Ipv4 };
    p.meta.proto = proto;
    p.meta.l4 = if v6 { 40 } else { 20 };
    p.meta.offload.csum = Csum::Verified;
    p
}

/// The stages of a packet that every rule lets pass, with a source translation for a new flow if `nat`.
fn walk(ct: &Conntrack, p: &mut Packet, now: Instant, nat: bool) {
    let mut current: Option<Current> = None;
    p.meta.ct = Ct::default();
    let _ = black_box(ct.track(p, Hook::Prerouting, now, &mut current));
    if let Some(current) = &mut current {
        if nat && current.id.is_none() {
            // As NETMAP does: every client has an outer address of its own.
            current.flow.tuples[1].dst[0] = 192;
            current.flow.status.set(Status::SRC_NAT);
        }
        let _ = black_box(ct.confirm(p, current, now));
    }
}

fn filled(flows: u32, v6: bool, proto: u8, nat: bool) -> Conntrack {
    let ct = Conntrack::new(Config { max: 2_000_000, ..Config::default() }, SEED);
    for n in 0..flows {
        walk(&ct, &mut packet(v6, proto, n, false), Instant::ZERO, nat);
    }
    assert_eq!(ct.len(), flows as usize);
    ct
}

/// Known flows, in an order that no cache foresees.
fn known(c: &mut Criterion) {
    let mut group = c.benchmark_group("known flow");
    group.throughput(Throughput::Elements(64));
    for flows in [1_000u32, 100_000, 1_000_000] {
        for (name, v6) in [("IPv4", false), ("IPv6", true)] {
            let ct = filled(flows, v6, proto::UDP, false);
            let mut n = 0u32;
            let next = || {
                n = n.wrapping_add(0x9e37_79b9);
                let which = ((u64::from(n) * u64::from(flows)) >> 32) as u32;
                packet(v6, proto::UDP, which, n & 1 == 0)
            };
            let batches: Vec<Vec<Packet>> = std::iter::repeat_with(next)
                .take(65_536)
                .collect::<Vec<_>>()
                .chunks(64)
                .map(<[_]>::to_vec)
                .collect();
            let mut batches = batches.into_iter().cycle();
            let now = Instant::from_secs(1);
            group.bench_function(BenchmarkId::new(name, flows), |b| {
                b.iter_batched_ref(
                    || batches.next().unwrap_or_default(),
                    |batch| batch.iter_mut().for_each(|p| walk(&ct, p, now, false)),
                    BatchSize::SmallInput,
                );
            });
        }
    }
    group.finish();
}

/// Flows that begin: in a table with room, and in one full of flows that were never answered.
fn new(c: &mut Criterion) {
    let mut group = c.benchmark_group("new flow");
    group.throughput(Throughput::Elements(1));
    for (name, proto, nat) in
        [("UDP", proto::UDP, false), ("TCP", proto::TCP, false), ("UDP, translated", proto::UDP, true)]
    {
        let ct = filled(10_000, false, proto, nat);
        let mut n = 10_000;
        let now = Cell::new(Instant::ZERO);
        group.bench_function(name, |b| {
            b.iter_batched_ref(
                || {
                    n += 1;
                    // Fifty thousand a second; what is past its deadline goes, as a worker's tick has it.
                    now.set(now.get() + Duration::from_micros(20));
                    if n % 1000 == 0 {
                        ct.timeout(now.get());
                    }
                    packet(false, proto, n, false)
                },
                |p| walk(&ct, p, now.get(), nat),
                BatchSize::SmallInput,
            );
        });
    }
    let ct = Conntrack::new(Config { max: 65_536, ..Config::default() }, SEED);
    let mut n = 0;
    for _ in 0..65_536 {
        n += 1;
        walk(&ct, &mut packet(false, proto::TCP, n, false), Instant::ZERO, false);
    }
    group.bench_function("SYN, table full", |b| {
        b.iter_batched_ref(
            || {
                n += 1;
                packet(false, proto::TCP, n, false)
            },
            |p| walk(&ct, p, Instant::ZERO, false),
            BatchSize::SmallInput,
        );
    });
    group.finish();
}

/// A million idle flows: a tick of the clock, and their memory.
fn idle(c: &mut Criterion) {
    let before = resident();
    let ct = filled(1_000_000, false, proto::UDP, true);
    let each = (resident() - before) as f64 / 1e6;
    println!(
        "a million flows, IPv4, translated: {each:.0} bytes each of resident memory, {} by count",
        ct.memory() / 1_000_000
    );
    for n in 0..1_000_000 {
        // Far from due, as established connections are.
        if let Some((id, _, _)) = find(&ct, n) {
            ct.update(id, |f| f.deadline = Instant::from_secs(4_000_000_000));
        }
    }
    let mut now = Instant::from_secs(1000);
    while ct.poll_timeout() <= now {
        ct.timeout(now);
    }
    c.bench_function("a second of a million idle flows", |b| {
        b.iter(|| {
            now += Duration::from_secs(1);
            black_box(ct.timeout(now))
        });
    });
    assert_eq!(ct.len(), 1_000_000);
}

fn find(
    ct: &Conntrack,
    n: u32,
) -> Option<(sekisho::packet::FlowId, sekisho::packet::Direction, sekisho::conntrack::Flow)> {
    let t = sekisho::conntrack::tuple::of(&packet(false, proto::UDP, n, false))?;
    ct.find(&t, Instant::ZERO)
}

/// Bytes of this process in memory.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: usize = statm.split(' ').nth(1).and_then(|p| p.parse().ok()).unwrap_or(0);
    pages * 4096
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(50).measurement_time(Duration::from_secs(2)).warm_up_time(Duration::from_millis(500));
    targets = idle, known, new
}
criterion_main!(benches);
