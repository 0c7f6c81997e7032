use std::collections::{HashMap, VecDeque};
use std::time::Instant as Wall;

use super::*;
use crate::base::counters::Tally;
use crate::io::memory;
use crate::packet::{Caps, Pool, Steering};
use crate::path::trace::{End, Wanted};
use crate::router::Router;
use crate::run::desk::Desk;
use crate::run::engine::Gone;
use crate::run::sample;
use crate::wire::proto;

const TUN: Caps = Caps { ethernet: false, ..Caps::FULL };
/// Who is behind the links `near` and `far`.
const NEAR: [u8; 4] = [10, 1, 0, 9];
const FAR: [u8; 4] = [10, 2, 0, 9];
/// The two links.
const TWO_LINKS: &str = "[link.near]\nkind = \"tun\"\naddresses = [\"10.1.0.1/24\"]\n\
                         [link.far]\nkind = \"tun\"\naddresses = [\"10.2.0.1/24\"]";

fn ties(peers: Option<Peers>, stop: &Arc<AtomicBool>) -> (Ties, Receiver<log::Line>) {
    let (to_host, _) = crossbeam_channel::bounded(1);
    let (log, lines) = crossbeam_channel::bounded(1);
    let host_waker = Loop::waker(&Poll::new().unwrap()).unwrap();
    let orders = Desk::new(std::slice::from_ref(&host_waker)).1.remove(0);
    (
        Ties {
            to_host,
            host_waker,
            from_host: None,
            log,
            peers,
            cpus: 2,
            orders,
            stop: stop.clone(),
            pulse: Pulse::default(),
        },
        lines,
    )
}

/// A worker with one port, the other end of it, its switch, and a log with room for one line.
fn worker(router: &Router) -> (Loop, memory::MemoryPort, memory::Switch, Receiver<log::Line>) {
    let (far, port, switch) = memory::pair(memory::Config { caps: TUN, ..memory::Config::default() });
    let (ties, lines) = ties(None, &Arc::default());
    let ports: Vec<(_, Box<dyn Port>)> = vec![(LinkId(1), Box::new(port))];
    let mut l = Loop::new(router.worker(), ports, Poll::new().unwrap(), ties, Clock::start(), None);
    l.prepare().unwrap();
    (l, far, switch, lines)
}

#[test]
fn lines_that_the_log_has_no_room_for_are_counted() {
    let (router, _) = sample::router(
        "[link.near]\nkind = \"tun\"\naddresses = [\"10.1.0.1/24\"]\n\
         [firewall]\nrules4 = \"*raw\\n-A PREROUTING -j LOG --log-level 5\\nCOMMIT\"",
    );
    let (mut l, mut far, _, lines) = worker(&router);
    let packet = sample::packet(NEAR, [10, 1, 0, 1], 99, &[]);
    let mut queue = vec![packet; 3].into();
    far.transmit(l.worker.pool(), &mut queue, &mut Sent::default());
    assert!(l.round(l.clock.now()));
    let (level, line) = lines.try_recv().unwrap();
    assert!(level == 5 && line.starts_with("IN=near OUT= "), "{level} {line}");
    let totals = router.totals();
    assert_eq!((totals.tally(Tally::Logged), totals.tally(Tally::LogLost)), (3, 2));
}

#[test]
fn frames_that_a_port_lost_are_counted_once() {
    let (router, _) = sample::router("[link.near]\nkind = \"tun\"\naddresses = [\"10.1.0.1/24\"]");
    let (mut l, mut far, switch, _) = worker(&router);
    let mut queue = (0..5_u8).map(|n| Packet::from_slice(&[n; 60])).collect();
    far.transmit(l.worker.pool(), &mut queue, &mut Sent::default());
    switch.overrun(3);
    for _ in 0..2 {
        l.prepare().unwrap();
        assert_eq!(router.totals().links[1].rx_missed, 3);
    }
}

#[test]
fn what_a_device_does_not_take_is_told_to_those_who_follow_it() {
    let (router, _) = sample::router(TWO_LINKS);
    let (mut source, near, _) = memory::pair(memory::Config { caps: TUN, ..memory::Config::default() });
    let small = memory::Config { caps: TUN, mtu: 500, capacity: 1 };
    let (_sink, far, _) = memory::pair(small);
    let ports: Vec<(_, Box<dyn Port>)> = vec![(LinkId(1), Box::new(near)), (LinkId(2), Box::new(far))];
    let (ties, _lines) = ties(None, &Arc::default());
    let watch = Watch::new(router.clone(), crossbeam_channel::bounded(1).0, Gone::default());
    let mut l = Loop::new(router.worker(), ports, Poll::new().unwrap(), ties, Clock::start(), Some(watch));
    l.prepare().unwrap();
    let wanted = Wanted { filter: "udp".parse().unwrap(), ..Wanted::default() };
    let w = router.live().tracer.watch(wanted).unwrap();
    let datagram = |len: usize| sample::packet(NEAR, FAR, proto::UDP, &vec![0; len]);
    let mut queue = [8, 600, 8].map(datagram).into();
    source.transmit(l.worker.pool(), &mut queue, &mut Sent::default());
    assert!(l.round(l.clock.now()));
    let told: Vec<_> =
        w.take(9, usize::MAX).iter().map(|r| (r.end, r.dropped().map(str::to_owned))).collect();
    let lost = |reason: &str| (End::Dropped, Some(reason.to_owned()));
    assert_eq!(told, [(End::Sent, None), lost("egress_error"), lost("egress_queue_full")]);
}

/// Two workers between two links. All that comes by the first comes to the first worker.
struct Two {
    router: Router,
    loops: Vec<Loop>,
    wakers: Vec<SharedWaker>,
    stop: Arc<AtomicBool>,
    /// Where frames go in, and where each worker's come out.
    near: memory::MemoryPort,
    far: Vec<memory::MemoryPort>,
    pool: Pool,
    /// The number each flow's next packet has, as sent and as it should arrive.
    sent: HashMap<u16, u16>,
    arrived: HashMap<(u16, usize), u16>,
    /// The workers are threads: what the two sent can't be put in one order by looking at one after the other.
    apart: bool,
    /// How many left by each worker's port, and how many of these by the one that they were steered to.
    by: [usize; 2],
    steered: usize,
    others: Vec<memory::MemoryPort>,
}

const STEERING: Steering = Steering { key: 0x5e15_0a1d, workers: 2, addresses: [false; 2] };
const FLOWS: u16 = 20;

impl Two {
    fn new() -> Two {
        let (router, _) = sample::steered(TWO_LINKS, STEERING);
        let polls = [Poll::new().unwrap(), Poll::new().unwrap()];
        let wakers: Vec<_> = polls.iter().map(|p| Loop::waker(p).unwrap()).collect();
        let stop = Arc::default();
        let pair =
            || memory::pair(memory::Config { caps: TUN, capacity: 8_192, ..memory::Config::default() });
        let (mut near, mut far, mut others, mut loops) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for (i, (poll, peers)) in polls.into_iter().zip(Peers::connect(&wakers)).enumerate() {
            let (near_end, near_port, _) = pair();
            let (far_end, far_port, _) = pair();
            near.push(near_end);
            far.push(far_end);
            let ports: Vec<(_, Box<dyn Port>)> =
                vec![(LinkId(1), Box::new(near_port)), (LinkId(2), Box::new(far_port))];
            let watch = (i == 0)
                .then(|| Watch::new(router.clone(), crossbeam_channel::bounded(1).0, Gone::default()));
            let (ties, _) = ties(Some(peers), &stop);
            let mut l = Loop::new(router.worker(), ports, poll, ties, Clock::start(), watch);
            l.prepare().unwrap();
            loops.push(l);
        }
        let first = near.remove(0);
        others.extend(near);
        Two {
            router,
            loops,
            wakers,
            stop,
            near: first,
            far,
            pool: Pool::new(8_192),
            sent: HashMap::new(),
            arrived: HashMap::new(),
            apart: false,
            by: [0; 2],
            steered: 0,
            others,
        }
    }

    /// Sends packets of all flows in turn, numbered in each.
    fn send(&mut self, count: u16) {
        let mut queue: VecDeque<Packet> = (0..count)
            .map(|n| {
                let flow = n % FLOWS;
                let number = self.sent.entry(flow).or_default();
                // Ports, length, no checksum; the number.
                let words = [5_000 + flow, 53, 10, 0, *number];
                *number += 1;
                sample::packet(NEAR, FAR, proto::UDP, &words.map(u16::to_be_bytes).concat())
            })
            .collect();
        self.near.transmit(&mut self.pool, &mut queue, &mut Sent::default());
        assert!(queue.is_empty());
    }

    /// Takes what has left; each flow's are in order, though some may be missing.
    fn collect(&mut self) -> usize {
        let mut out = Vec::new();
        for worker in 0..2 {
            self.far[worker].receive(&mut self.pool, &mut out, 8_192);
            for p in out.drain(..) {
                let word = |at: usize| u16::from_be_bytes([p.data()[at], p.data()[at + 1]]);
                let (flow, number) = (word(20) - 5_000, word(28));
                let by = if self.apart { worker } else { 0 };
                let next = self.arrived.entry((flow, by)).or_default();
                assert!(number >= *next, "flow {flow}: {number} after {next}");
                *next = number + 1;
                self.by[worker] += 1;
                self.steered += usize::from(STEERING.worker(p.data()) == worker);
            }
        }
        self.by.iter().sum()
    }

    fn round(&mut self, which: usize) {
        let l = &mut self.loops[which];
        for slot in &mut l.slots {
            slot.ready = true;
        }
        l.round(l.clock.now());
    }

    fn tally(&self) -> u64 {
        self.router.totals().tally(Tally::HandedOver)
    }

    fn balanced(&self) {
        let totals = self.router.totals();
        for column in Column::ALL {
            assert_eq!(totals.imbalance(column), 0);
        }
    }
}

#[test]
fn a_port_that_is_not_steered_shares_its_load_and_no_more_than_that() {
    let mut two = Two::new();
    // Few: whoever has them walks them.
    two.send(40);
    (0..2).for_each(|i| two.round(i));
    assert_eq!((two.collect(), two.by[1], two.tally()), (40, 0, 0));
    two.balanced();
    // Many.
    two.send(640);
    for _ in 0..12 {
        (0..2).for_each(|i| two.round(i));
    }
    assert_eq!(two.collect(), 680, "all, in order");
    assert!(two.by[1] > 200 && two.tally() == two.by[1] as u64, "{:?}", two.by);
    assert!(two.steered >= 640, "each of these by its own worker: {}", two.steered);
    two.balanced();
    // Few again, and the first ones still on their way: in order all the same.
    let before = two.tally();
    two.send(10);
    two.round(0);
    assert_eq!(two.tally(), before, "all trays were home");
    assert_eq!(two.collect(), 690);
    assert!(two.others[0].receive(&mut two.pool, &mut Vec::new(), 64) == 0);
}

#[test]
fn what_a_worker_that_is_behind_can_not_take_is_dropped_by_name() {
    let mut two = Two::new();
    // The second one sleeps through it.
    for _ in 0..200 {
        two.send(64);
        two.round(0);
        two.collect();
    }
    let refused = two.router.totals().drops(DropReason::WorkerQueueFull);
    assert!(refused > 200, "{refused}");
    // Trays are out, so the link goes on sharing, lest anything overtakes.
    two.send(5);
    two.round(0);
    let given = two.tally();
    for _ in 0..100 {
        (0..2).rev().for_each(|i| two.round(i));
        two.collect();
    }
    let arrived = two.collect() as u64;
    let refused = two.router.totals().drops(DropReason::WorkerQueueFull);
    assert_eq!((arrived + refused, two.by[1] as u64), (200 * 64 + 5, given));
    two.balanced();
    two.send(64);
    (0..3).for_each(|_| (0..2).for_each(|i| two.round(i)));
    assert_eq!(two.collect() as u64, arrived + 64, "all is well again");
}

#[test]
fn threads_hand_over_and_wake_one_another_and_leave_nothing_behind() {
    let mut two = Two::new();
    two.apart = true;
    let threads: Vec<_> =
        std::mem::take(&mut two.loops).into_iter().map(|l| thread::spawn(move || l.run().unwrap())).collect();
    let deadline = Wall::now() + Duration::from_secs(60);
    let mut total = 0;
    for burst in [3_000, 1, 700, 64, 2_000, 5, 4_000] {
        two.send(burst);
        total += u64::from(burst);
        loop {
            let gone = two.router.totals().drops(DropReason::WorkerQueueFull);
            if two.collect() as u64 + gone == total {
                break;
            }
            assert!(Wall::now() < deadline, "{:?} of {total}", two.by);
            thread::yield_now();
        }
    }
    assert!(two.tally() > 0);
    two.stop.store(true, Relaxed);
    two.wakers.iter().for_each(|w| w.wake().unwrap());
    threads.into_iter().for_each(|t| t.join().unwrap());
    two.balanced();
}

#[test]
fn batches_are_as_long_as_the_cache_holds() {
    let settle = |mut batch: usize, frame: usize| {
        for _ in 0..10 {
            batch = next_batch(batch, batch * frame);
        }
        batch
    };
    for from in [BATCH, LEAST_BATCH] {
        assert_eq!(settle(from, 60), BATCH);
        assert_eq!(settle(from, 1_514), BATCH);
        let large = settle(from, 65_550);
        assert!((LEAST_BATCH..=8).contains(&large), "{large}");
        assert!(large * 65_550 <= HELD_BYTES + 65_550);
    }
    // A port that gives little is asked for much.
    assert_eq!(next_batch(LEAST_BATCH, 0), 2 * LEAST_BATCH);
}
