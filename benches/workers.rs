//! What a second worker adds, and what it costs when packets come to the wrong one.
//!
//! `cargo bench --bench workers`. A NAT gateway with a stateful filter; UDP flows of 64-byte packets, both ways, each
//! worker in a thread of its own. All cases in turn, seven times; the middle one counts. A port's part is copying
//! the 54 bytes of headers.
//!
//! - `one worker`, `two workers`: each has flows of its own, both directions, as the kernel steers them.
//! - `two routers`: two that share nothing: what this machine gives a second thread at all.
//! - `answers at the wrong one, walked there`: each worker has its flows' packets, and the other's flows' answers.
//! - `answers at the wrong one, handed over`: the same; the answers go to the flow's worker in batches, and the storage back.

use std::collections::VecDeque;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender};
use sekisho::base::LinkId;
use sekisho::packet::{Caps, Packet, Steering};
use sekisho::path::{FlowCacheConfig, Handed};
use sekisho::router::Worker;

use make::udp;
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

const BATCH: usize = 64;
const FLOWS: usize = 512;
const ROUNDS: usize = 7;
const EACH: Duration = Duration::from_millis(250);
const STEERING: Steering = Steering { key: 0x1234_5678, workers: 2, addresses: [false; 2] };

/// Batches of packets of many flows, one direction.
struct Load {
    input: LinkId,
    heads: Vec<[u8; 54]>,
    at: usize,
    packets: Vec<Packet>,
}

impl Load {
    fn new(input: LinkId, heads: Vec<[u8; 54]>) -> Self {
        let packets = (0..BATCH).map(|_| Packet::from_slice(&[0; 64])).collect();
        Load { input, heads, at: 0, packets }
    }

    fn fill(&mut self, packets: &mut [Packet]) {
        for p in packets {
            p.meta = sekisho::packet::Meta { l3: 14, ..Default::default() };
            p.data_mut()[..54].copy_from_slice(&self.heads[self.at]);
            self.at = (self.at + 1) % self.heads.len();
        }
    }
}

/// Walks a batch; the packets come back into it.
fn walk(worker: &mut Worker, input: LinkId, batch: &mut Vec<Packet>, now: sekisho::base::Instant) {
    let output = if input == LAN { WAN } else { LAN };
    worker.handle_batch(input, batch, now);
    worker.transmit(output, |_, queue: &mut VecDeque<Packet>| {
        let mut what = Handed::default();
        for p in queue.drain(..) {
            what.sent[p.meta.column as usize] += 1;
            what.bytes += p.len() as u64;
            batch.push(p);
        }
        what
    });
    assert_eq!(batch.len(), BATCH, "nothing was lost on the way");
}

fn gateway() -> Bench {
    let nat = "*nat\n:PREROUTING ACCEPT\n:INPUT ACCEPT\n:OUTPUT ACCEPT\n:POSTROUTING ACCEPT\n-A POSTROUTING -o wan -j MASQUERADE\nCOMMIT\n";
    let mut plan = Plan::default().rules(&format!("{STATEFUL}{nat}"), "");
    plan.config.steering = STEERING;
    plan.config.flow_cache = match std::env::var_os("SEKISHO_FLOW_CACHE") {
        Some(_) => flow_cache(),
        None => FlowCacheConfig::default(),
    };
    plan.build().acquaint()
}

fn worker(b: &Bench) -> Worker {
    let mut w = b.router.worker();
    w.set_caps(LAN, Caps::FULL);
    w.set_caps(WAN, Caps::FULL);
    w
}

/// Begins flows that are steered to a worker; gives the headers of their packets and of the answers.
fn begin(b: &Bench, worker: &mut Worker, which: usize) -> [Vec<[u8; 54]>; 2] {
    let mut heads = [Vec::new(), Vec::new()];
    for port in 1024.. {
        let there = udp(CLIENT, SERVER, (port, 53), &[0; 22]);
        if STEERING.worker(&there) != which {
            continue;
        }
        let back = udp(SERVER, WAN_ADDR, (53, port), &[0; 22]);
        let frames = [frame(LAN_MAC, CLIENT_MAC, &there), frame(WAN_MAC, SERVER_MAC, &back)];
        for ((f, input), heads) in frames.iter().zip([LAN, WAN]).zip(&mut heads) {
            worker.handle_frame(input, Packet::from_slice(f), b.now);
            assert!(worker.poll_transmit().is_some());
            heads.push(f[..54].try_into().expect("54 bytes"));
        }
        if heads[0].len() == FLOWS {
            break;
        }
    }
    heads
}

/// Ways to another worker and back, for batches.
type Ways = (Sender<Vec<Packet>>, Receiver<Vec<Packet>>, Sender<Vec<Packet>>, Receiver<Vec<Packet>>);

/// What one thread does until told to stop; gives packets.
struct Thread {
    worker: Worker,
    loads: Vec<Load>,
    /// What is to be handed over, and how.
    foreign: Option<(Load, Ways)>,
}

impl Thread {
    fn run(mut self, now: sekisho::base::Instant, barrier: &Barrier, stop: &AtomicBool) -> u64 {
        let mut done = 0;
        barrier.wait();
        while !stop.load(Relaxed) {
            for load in &mut self.loads {
                let mut packets = std::mem::take(&mut load.packets);
                load.fill(&mut packets);
                walk(&mut self.worker, load.input, &mut packets, now);
                load.packets = packets;
                done += BATCH as u64;
            }
            let Some((load, (to, inbox, home, back))) = &mut self.foreign else { continue };
            if let Ok(mut tray) = back.try_recv() {
                load.fill(&mut tray);
                to.try_send(tray).ok();
            }
            if let Ok(mut tray) = inbox.try_recv() {
                walk(&mut self.worker, load.input, &mut tray, now);
                home.try_send(tray).ok();
                done += BATCH as u64;
            }
        }
        done
    }
}

fn rate(threads: Vec<Thread>, now: sekisho::base::Instant) -> f64 {
    let (barrier, stop) = (Barrier::new(threads.len() + 1), AtomicBool::new(false));
    std::thread::scope(|s| {
        let running: Vec<_> = threads.into_iter().map(|t| s.spawn(|| t.run(now, &barrier, &stop))).collect();
        barrier.wait();
        let start = Instant::now();
        std::thread::sleep(EACH);
        stop.store(true, Relaxed);
        let took = start.elapsed();
        let done: u64 = running.into_iter().map(|t| t.join().expect("a worker")).sum();
        done as f64 / took.as_secs_f64() / 1e6
    })
}

/// Threads of workers 0 and 1: each has its flows, and the answers to `answers` of its number.
fn threads(benches: [&Bench; 2], many: usize, answers: [usize; 2], hand_over: bool) -> Vec<Thread> {
    let mut workers: Vec<Worker> = benches.iter().map(|b| worker(b)).collect();
    let heads: Vec<_> = (0..2).map(|i| begin(benches[i], &mut workers[i], i)).collect();
    let mut ways = ways();
    workers
        .into_iter()
        .enumerate()
        .take(many)
        .map(|(i, worker)| {
            let mut loads = vec![Load::new(LAN, heads[i][0].clone())];
            let other = Load::new(WAN, heads[answers[i]][1].clone());
            let foreign = match hand_over {
                true => Some((other, ways.remove(0))),
                false => {
                    loads.push(other);
                    None
                }
            };
            Thread { worker, loads, foreign }
        })
        .collect()
}

fn ways() -> Vec<Ways> {
    let pair = || crossbeam_channel::bounded(16);
    let [(to_1, in_1), (to_0, in_0), (home_0, back_0), (home_1, back_1)] = std::array::from_fn(|_| pair());
    for home in [&home_0, &home_1] {
        for _ in 0..4 {
            home.try_send((0..BATCH).map(|_| Packet::from_slice(&[0; 64])).collect()).ok();
        }
    }
    vec![(to_1, in_0, home_1, back_0), (to_0, in_1, home_0, back_1)]
}

fn main() {
    let (b, other) = (gateway(), gateway());
    let cases: [(&str, &dyn Fn() -> Vec<Thread>); 5] = [
        ("one worker", &|| threads([&b, &b], 1, [0, 1], false)),
        ("two workers", &|| threads([&b, &b], 2, [0, 1], false)),
        ("two routers", &|| threads([&b, &other], 2, [0, 1], false)),
        ("answers at the wrong one, walked there", &|| threads([&b, &b], 2, [1, 0], false)),
        ("answers at the wrong one, handed over", &|| threads([&b, &b], 2, [1, 0], true)),
    ];
    let mut rates = vec![Vec::new(); cases.len()];
    for _ in 0..ROUNDS {
        for ((_, threads), rates) in cases.iter().zip(&mut rates) {
            rates.push(rate(threads(), b.now));
        }
    }
    println!("million packets a second, of {ROUNDS} rounds: the middle one, least and most");
    for ((name, _), rates) in cases.iter().zip(&mut rates) {
        rates.sort_by(f64::total_cmp);
        println!("{name:42} {:6.2}  {:6.2} to {:.2}", rates[ROUNDS / 2], rates[0], rates[ROUNDS - 1]);
    }
}
