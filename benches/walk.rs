//! What a packet costs on its whole way: from one link's batch to another link's outbox.
//!
//! `cargo bench --bench walk`. A batch is 64 frames, as a port gives them; their neighbors are known. Each
//! frame is put back as it was between two rounds (54 bytes copied), which is measured too and stands for
//! the port's part.
//!
//! - `forward`: an established flow, by family and size.
//! - `gateway`: the same with a stateful filter, and with NAT; and packets that each begin a flow.
//! - `cache`: a NAT gateway with the flow cache off and on: one flow, a thousand, 65,536; behind 10,000 rules; and beside a
//!   flood of new flows. In time on a CPU.
//! - `super_frame`: 64 KB of TCP, passed whole or cut into 45 segments, one or a batch of them.
//! - `segments`: 45 segments that came in plain, each on its own or put together into one super-frame.
//! - `routes`: flows to 64 Ki destinations with one route and with a million.
//! - `workers`: one worker, two at once, and for comparison one each of two routers that share nothing; each
//!   has a flow of its own, and the time is that of a batch of each.

use std::collections::VecDeque;
use std::hint::black_box;
use std::net::Ipv4Addr;
use std::sync::Barrier;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use sekisho::base::counters::Tally;
use sekisho::fib::{NextHop, Route, RouteKind};
use sekisho::packet::{Caps, Csum, Gso, GsoKind, Meta, Offload, Packet};
use sekisho::path::{FlowCacheConfig, Handed};
use sekisho::router::{Router, Worker};
use sekisho::wire::{ipv4::Ipv4, tcp::Tcp};

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

/// Frames in a batch.
const BATCH: usize = 64;
/// Destinations that are tried, over and over.
const DESTINATIONS: u32 = 1 << 16;

/// A worker and the frames that go round through it.
struct Round {
    worker: Worker,
    now: sekisho::base::Instant,
    frames: Vec<Packet>,
    back: Vec<Packet>,
    head: Vec<u8>,
    meta: Meta,
    spare: VecDeque<Packet>,
}

impl Round {
    /// Walks a batch of copies in storage of the pool, whither it goes back.
    fn anew<'a>(&mut self, inputs: impl Iterator<Item = (&'a [u8], Offload)>) {
        for (input, offload) in inputs {
            let mut p = self.worker.pool().sized(input.len());
            p.append(input);
            p.meta.offload = offload;
            self.frames.push(p);
        }
        self.worker.handle_batch(LAN, &mut self.frames, self.now);
        let spare = &mut self.spare;
        self.worker.transmit(WAN, |pool, queue| {
            std::mem::swap(queue, spare);
            let mut what = Handed::default();
            for p in spare.drain(..) {
                what.sent[p.meta.column as usize] += 1;
                pool.put(p);
            }
            what
        });
    }

    fn new(
        router: &Router,
        now: sekisho::base::Instant,
        caps: Caps,
        l3: &[u8],
        offload: Offload,
        n: usize,
    ) -> Self {
        let mut worker = router.worker();
        worker.set_caps(LAN, caps);
        worker.set_caps(WAN, caps);
        let frame = frame(LAN_MAC, CLIENT_MAC, l3);
        let frames = (0..n).map(|_| Packet::from_slice(&frame)).collect();
        let head = frame[..54.min(frame.len())].to_vec();
        let meta = Meta { offload, ..Meta::default() };
        Round { worker, now, frames, back: Vec::with_capacity(n), head, meta, spare: VecDeque::new() }
    }

    /// Walks all frames once. `to` may give each another destination.
    fn turn(&mut self, mut to: impl FnMut() -> Option<Ipv4Addr>) {
        for p in &mut self.frames {
            p.meta.l3 = 14;
            p.data_mut()[..self.head.len()].copy_from_slice(&self.head);
            if let (Some(dst), Some(mut ip)) = (to(), Ipv4::new(p.l3_mut())) {
                ip.set_dst(dst);
            }
            p.meta = self.meta;
        }
        self.worker.handle_batch(LAN, &mut self.frames, self.now);
        let back = &mut self.back;
        self.worker.transmit(WAN, |_, queue| {
            let mut what = Handed::default();
            for p in queue.drain(..) {
                what.sent[p.meta.column as usize] += 1;
                what.bytes += p.len() as u64;
                back.push(p);
            }
            what
        });
        std::mem::swap(&mut self.frames, &mut self.back);
    }
}

fn forward(c: &mut Criterion) {
    let b = Bench::acquainted();
    let mut group = c.benchmark_group("forward");
    group.throughput(Throughput::Elements(BATCH as u64));
    for (name, l3) in [
        ("v4/64", udp(CLIENT, SERVER, (1, 2), &bytes(22))),
        ("v4/1500", udp(CLIENT, SERVER, (1, 2), &bytes(1472))),
        ("v6/64", udp(CLIENT6, SERVER6, (1, 2), &bytes(2))),
        ("v6/1500", udp(CLIENT6, SERVER6, (1, 2), &bytes(1452))),
    ] {
        let mut round = Round::new(&b.router, b.now, Caps::FULL, &l3, Offload::default(), BATCH);
        group.bench_function(name, |bench| {
            bench.iter(|| {
                round.turn(|| None);
                black_box(round.frames.len())
            });
        });
        assert_eq!(round.frames.len(), BATCH, "nothing was lost on the way");
    }
}

/// A NAT gateway with a stateful firewall: what each hook's work adds to an established flow, and what the first packet
/// of one costs.
fn gateway(c: &mut Criterion) {
    let nat = "*nat\n:PREROUTING ACCEPT\n:INPUT ACCEPT\n:OUTPUT ACCEPT\n:POSTROUTING ACCEPT\n-A POSTROUTING -o wan -j MASQUERADE\nCOMMIT\n";
    let mut group = c.benchmark_group("gateway");
    group.throughput(Throughput::Elements(BATCH as u64));
    let l3 = udp(CLIENT, SERVER, (1, 2), &bytes(22));
    for (name, rules) in [
        ("none", String::new()),
        ("filter", STATEFUL.to_owned()),
        ("filter and nat", format!("{STATEFUL}{nat}")),
    ] {
        let b = Plan::default().rules(&rules, "").build().acquaint();
        let mut round = Round::new(&b.router, b.now, Caps::FULL, &l3, Offload::default(), BATCH);
        group.bench_function(name, |bench| bench.iter(|| round.turn(|| None)));
        assert_eq!(round.frames.len(), BATCH);
    }
    let mut plan = Plan::default().rules(&format!("{STATEFUL}{nat}"), "");
    plan.config.conntrack.max = 1 << 20;
    let b = plan.build().acquaint();
    // Each packet gets another destination: without a checksum (RFC 768) all of them are right.
    let mut l3 = l3;
    l3[26..28].fill(0);
    let mut round = Round::new(&b.router, b.now, Caps::FULL, &l3, Offload::default(), BATCH);
    let mut n = 0u32;
    group.bench_function("new flows", |bench| {
        bench.iter(|| {
            // 6,400 flows a second live for 30 seconds: the table stays a fifth full, and lets go of as many as come.
            round.now += Duration::from_millis(10);
            round.turn(|| {
                n = n.wrapping_add(1);
                Some(Ipv4Addr::from((16 << 24) + n % (1 << 24)))
            });
            round.worker.handle_timeout(round.now);
        });
    });
    assert_eq!(round.frames.len(), BATCH);
}

const NAT: &str = "*nat\n:PREROUTING ACCEPT\n:INPUT ACCEPT\n:OUTPUT ACCEPT\n:POSTROUTING ACCEPT\n-A POSTROUTING -o wan -j MASQUERADE\nCOMMIT\n";

/// What the flow cache saves, and whether it lasts.
fn cache(c: &mut Criterion) {
    let mut group = c.benchmark_group("cache");
    group.throughput(Throughput::Elements(BATCH as u64));
    let refuse = (0..10_000u32).map(|n| {
        let [a, b] = (n as u16).to_be_bytes();
        format!("-A FORWARD -s 172.16.{a}.{b}/32 -p tcp -m tcp --dport {} -j DROP\n", 1024 + n)
    });
    let many = STATEFUL.replace("-A FORWARD -m", &format!("{}-A FORWARD -m", refuse.collect::<String>()));
    let plain = udp(CLIENT, SERVER, (1, 2), &bytes(22));
    let mut unsummed = plain.clone();
    unsummed[26..28].fill(0);
    let segment = tcp(CLIENT, SERVER, (1, 2), 16, &bytes(10));
    let stateful = format!("{STATEFUL}{NAT}");
    for (name, rules, l3, flows, new) in [
        ("no rules", "", &plain, 1u32, 0usize),
        ("udp", &stateful, &plain, 1, 0),
        ("tcp", &stateful, &segment, 1, 0),
        ("1 k flows", &stateful, &unsummed, 1_000, 0),
        ("64 k flows", &stateful, &unsummed, 65_536, 0),
        ("10 k rules", &format!("{many}{NAT}"), &plain, 1, 0),
        ("a flood beside 1 k flows", &stateful, &unsummed, 1_000, 16),
    ] {
        for (cache, config) in [("off", FlowCacheConfig::OFF), ("on", FlowCacheConfig::default())] {
            let mut plan = Plan::default().rules(rules, "");
            plan.config.conntrack.max = 1 << 20;
            plan.config.flow_cache = config;
            let b = plan.build().acquaint();
            let mut round = Round::new(&b.router, b.now, Caps::FULL, l3, Offload::default(), BATCH);
            let (mut n, mut strangers) = (0u32, 0u32);
            let mut turn = |round: &mut Round| {
                let mut at = 0;
                round.turn(|| {
                    at += 1;
                    if at <= new {
                        strangers = strangers.wrapping_add(1);
                        return Some(Ipv4Addr::from((20 << 24) + strangers % (1 << 24)));
                    }
                    n = (n + 1) % flows;
                    (flows > 1).then(|| Ipv4Addr::from((16 << 24) + n * 7))
                });
            };
            // Each flow is there, and as well known as it can be.
            (0..flows * 8 / BATCH as u32 + 8).for_each(|_| turn(&mut round));
            let before = b.router.totals();
            group.bench_function(format!("{name}/{cache}"), |bench| {
                bench.iter_custom(|times| {
                    let start = on_cpu();
                    for _ in 0..times {
                        // 1,600 new ones a second that live for 30 seconds.
                        round.now += if new > 0 { Duration::from_millis(10) } else { Duration::ZERO };
                        turn(&mut round);
                        if new > 0 {
                            round.worker.handle_timeout(round.now);
                        }
                    }
                    on_cpu().saturating_sub(start)
                });
            });
            assert_eq!(round.frames.len(), BATCH, "nothing was lost on the way");
            let t = b.router.totals();
            let of = |what| t.tally(what) - before.tally(what);
            let (all, hits) = (of(Tally::Forwarded), of(Tally::FlowCacheHits));
            assert!(
                config == FlowCacheConfig::OFF || all < 1000 * BATCH as u64 || hits * 3 > all * 2,
                "{hits} hits of {all}"
            );
        }
    }
}

/// The time this thread has had a CPU: what others do on the machine is not in it.
fn on_cpu() -> Duration {
    // The kernel adds up what it owes a thread when it gives way.
    std::thread::yield_now();
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("a kernel with schedstat");
    Duration::from_nanos(text.split(' ').next().and_then(|n| n.parse().ok()).expect("a number"))
}

fn super_frame(c: &mut Criterion) {
    let b = Bench::acquainted();
    let mut group = c.benchmark_group("super_frame");
    let l3 = tcp(CLIENT, SERVER, (1, 2), 16, &bytes(65_160));
    let gso = Some(Gso { kind: GsoKind::Tcp4, size: 1448, ecn: false });
    let offload = Offload { csum: Csum::Partial { start: 20, field: 16 }, gso };
    group.throughput(Throughput::Bytes(l3.len() as u64));
    let mut whole = Round::new(&b.router, b.now, Caps::FULL, &l3, offload, 1);
    group.bench_function("whole", |bench| bench.iter(|| whole.turn(|| None)));
    assert_eq!(whole.frames.len(), 1);

    // Cut, the frame itself does not come out again: it is copied anew from storage of the pool.
    for (name, count) in [("cut", 1), ("a batch of 64, cut", BATCH)] {
        let mut cut = Round::new(&b.router, b.now, Caps::PLAIN, &l3, offload, 0);
        let input = frame(LAN_MAC, CLIENT_MAC, &l3);
        group.throughput(Throughput::Bytes((l3.len() * count) as u64));
        group.bench_function(name, |bench| {
            bench.iter(|| cut.anew((0..count).map(|_| (&input[..], offload))));
        });
    }
}

/// Segments of one flow, 64 KB in all, as they come from a host that segments by itself.
fn segments(c: &mut Criterion) {
    let b = Bench::acquainted();
    let mut group = c.benchmark_group("segments");
    let inputs: Vec<_> = (0..45u32)
        .map(|i| {
            let mut l3 = tcp(CLIENT, SERVER, (1, 2), 16, &bytes(1448));
            Ipv4::new(&mut l3[..]).unwrap().set_ident(i as u16);
            Ipv4::new(&mut l3[..]).unwrap().fill_checksum();
            let mut header = Tcp::new(&mut l3[20..]).unwrap();
            header.set_seq(1000 + i * 1448);
            header.fill_checksum(CLIENT.into(), SERVER.into());
            frame(LAN_MAC, CLIENT_MAC, &l3)
        })
        .collect();
    group.throughput(Throughput::Elements(inputs.len() as u64));
    for (name, caps) in [("each on its own", Caps::PLAIN), ("put together", Caps::FULL)] {
        let mut round = Round::new(&b.router, b.now, caps, &inputs[0][14..], Offload::default(), 0);
        group.bench_function(name, |bench| {
            bench.iter(|| round.anew(inputs.iter().map(|i| (&i[..], Offload::default()))));
        });
        let made = b.tally(Tally::Coalesced) > 0;
        assert_eq!(made, caps == Caps::FULL);
    }
}

fn routes(c: &mut Criterion) {
    let mut group = c.benchmark_group("routes");
    group.throughput(Throughput::Elements(BATCH as u64));
    for n in [1u32, 1_000_000] {
        let mut plan = Plan::default();
        if n > 1 {
            let hops = RouteKind::Unicast(vec![NextHop::new(Some(SERVER.into()), Some(WAN))]);
            plan.routes.extend((0..n).map(|i| {
                let net = ipnet::Ipv4Net::new(destination_net(i), 24).expect("24 bits");
                Route::new(net.into(), hops.clone())
            }));
        }
        let b = plan.build().acquaint();
        let l3 = udp(CLIENT, SERVER, (1, 2), &bytes(22));
        let mut round = Round::new(&b.router, b.now, Caps::FULL, &l3, Offload::default(), BATCH);
        let mut state = 1u32;
        group.bench_with_input(BenchmarkId::new("v4", n), &n, |bench, _| {
            bench.iter(|| {
                round.turn(|| {
                    state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    let which = (state >> 16) % DESTINATIONS * 15;
                    Some(Ipv4Addr::from(u32::from(destination_net(which)) | 9))
                });
            });
        });
        assert_eq!(round.frames.len(), BATCH);
    }
}

/// A million networks of 24 bits, from 16.0.0.0 on.
fn destination_net(i: u32) -> Ipv4Addr {
    Ipv4Addr::from((16 << 24) + (i << 8))
}

fn workers(c: &mut Criterion) {
    let (one, other) = (Bench::acquainted(), Bench::acquainted());
    let mut group = c.benchmark_group("workers");
    for (name, routers) in [("1", vec![&one]), ("2", vec![&one, &one]), ("2 apart", vec![&one, &other])] {
        group.throughput(Throughput::Elements((BATCH * routers.len()) as u64));
        group.bench_function(name, |bench| {
            bench.iter_custom(|iterations| {
                let barrier = Barrier::new(routers.len());
                let longest = std::thread::scope(|s| {
                    let threads: Vec<_> = routers
                        .iter()
                        .map(|b| s.spawn(|| turns(&b.router, b.now, &barrier, iterations)))
                        .collect();
                    threads.into_iter().map(|t| t.join().expect("a worker")).max()
                });
                longest.unwrap_or(Duration::ZERO)
            });
        });
    }
}

/// How long a new worker of the router takes for so many batches.
fn turns(router: &Router, now: sekisho::base::Instant, barrier: &Barrier, iterations: u64) -> Duration {
    let l3 = udp(CLIENT, SERVER, (1, 2), &bytes(22));
    let mut round = Round::new(router, now, Caps::FULL, &l3, Offload::default(), BATCH);
    round.turn(|| None);
    barrier.wait();
    let start = Instant::now();
    for _ in 0..iterations {
        round.turn(|| None);
    }
    start.elapsed()
}

criterion_group! {
    name = benches;
    config = Criterion::default().warm_up_time(Duration::from_secs(1)).measurement_time(Duration::from_secs(3));
    targets = forward, gateway, cache, super_frame, segments, routes, workers
}
criterion_main!(benches);
