//! What holds whatever happens: packets are conserved, limits kept, order kept.

use std::collections::{HashMap, HashSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::thread;

use proptest::prelude::*;

use super::*;

const LINKS: [LinkId; 2] = [LinkId(1), LinkId(2)];

/// Something that happens to the table. Addresses and MACs are few, so that things meet.
#[derive(Debug, Clone)]
enum Step {
    Resolve(u8),
    Solicited(u8, u8),
    Advertised(u8, Option<u8>, bool, bool, bool),
    Confirm(u8),
    Drained(u8),
    Static(u8, u8),
    Remove(u8),
    Flush(u8),
    Pass(u32),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let n = 0..24u8;
    let m = 0..4u8;
    let step = prop_oneof![
        8 => n.clone().prop_map(Step::Resolve),
        2 => (n.clone(), m.clone()).prop_map(|(n, m)| Step::Solicited(n, m)),
        4 => (n.clone(), proptest::option::of(m.clone()), any::<bool>(), any::<bool>(), any::<bool>())
            .prop_map(|(n, m, s, o, c)| Step::Advertised(n, m, s, o, c)),
        1 => n.clone().prop_map(Step::Confirm),
        3 => n.clone().prop_map(Step::Drained),
        1 => (n.clone(), m).prop_map(|(n, m)| Step::Static(n, m)),
        1 => n.prop_map(Step::Remove),
        1 => (0..2u8).prop_map(Step::Flush),
        6 => prop_oneof![1..50_000_000u32, 1..4_000_000_000u32].prop_map(Step::Pass),
    ];
    proptest::collection::vec(step, 1..400)
}

fn key(n: u8) -> (LinkId, IpAddr) {
    let host = n / 4;
    let ip = match n % 2 {
        0 => IpAddr::from([10, 0, 0, host]),
        _ => IpAddr::from([0xfd00, 0, 0, 0, 0, 0, 0, u16::from(host)]),
    };
    (LINKS[usize::from(n / 2 % 2)], ip)
}

/// MAC 0 is none a station can have.
fn mac(m: u8) -> Mac {
    if m == 0 { Mac::BROADCAST } else { Mac([2, 0, 0, 0, 0, m]) }
}

fn numbered(number: u32) -> Packet {
    Packet::from_slice(&number.to_be_bytes())
}

fn number(packet: &Packet) -> u32 {
    u32::from_be_bytes(packet.data().try_into().unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn packets_are_conserved_and_limits_kept(steps in steps()) {
        let config = Config {
            gc_thresh1: 2,
            gc_thresh2: 3,
            gc_thresh3: 5,
            queue_bytes: 3 * numbered(0).footprint(),
            total_bytes: 8 * numbered(0).footprint(),
            ..Config::default()
        };
        let table = NeighborTable::new(config.clone(), 7);
        let mut now = Instant::ZERO;
        let mut waiting: HashSet<u32> = HashSet::new();
        let mut next_number = 0;
        let mut last_sent: HashMap<(LinkId, IpAddr), u32> = HashMap::new();
        let mut fixed: HashMap<(LinkId, IpAddr), Mac> = HashMap::new();
        let mut lent: HashMap<(LinkId, IpAddr), (Ready, u64)> = HashMap::new();
        let mut out = Vec::new();
        for step in steps {
            match step {
                Step::Resolve(n) => {
                    let (link, ip) = key(n);
                    let generation = table.generation();
                    next_number += 1;
                    match table.resolve(link, ip, numbered(next_number), now, &mut out) {
                        Some((packet, ready)) => {
                            prop_assert_eq!(number(&packet), next_number);
                            prop_assert!(ready.mac.is_station() && ready.until > now);
                            prop_assert!(last_sent.get(&(link, ip)).is_none_or(|l| *l < next_number));
                            last_sent.insert((link, ip), next_number);
                            lent.insert((link, ip), (ready, generation));
                        }
                        None => { waiting.insert(next_number); }
                    }
                }
                Step::Solicited(n, m) => {
                    table.solicited(key(n).0, key(n).1, mac(m), now, &mut out);
                }
                Step::Advertised(n, m, solicited, override_, create) => {
                    let router = (key(n).1.is_ipv6()).then_some(override_);
                    let advert = Advert { solicited, override_, router, create };
                    table.advertised(key(n).0, key(n).1, m.map(mac), advert, now, &mut out);
                }
                Step::Confirm(n) => table.confirm(key(n).0, key(n).1, now),
                Step::Drained(n) => { table.drained(key(n).0, key(n).1, now, &mut out); }
                Step::Static(n, m) => {
                    if table.set_static(key(n).0, key(n).1, mac(m), now, &mut out) {
                        fixed.insert(key(n), mac(m));
                    }
                }
                Step::Remove(n) => {
                    table.remove(key(n).0, key(n).1, now, &mut out);
                    fixed.remove(&key(n));
                }
                Step::Flush(l) => table.flush_link(LINKS[usize::from(l)], now, &mut out),
                Step::Pass(nanos) => {
                    now += Duration::from_nanos(u64::from(nanos));
                    table.timeout(now, &mut out);
                    prop_assert!(table.poll_timeout() > now);
                }
            }
            for action in out.drain(..) {
                match action {
                    Action::Solicit { dest, .. } => prop_assert!(dest.is_none_or(Mac::is_station)),
                    Action::Send { link, ip, mac, packet } => {
                        prop_assert!(mac.is_station());
                        prop_assert!(waiting.remove(&number(&packet)));
                        let last = last_sent.insert((link, ip), number(&packet));
                        prop_assert!(last.is_none_or(|l| l < number(&packet)), "overtaken");
                    }
                    Action::Unreachable { packet, .. } | Action::Drop { packet, .. } => {
                        prop_assert!(waiting.remove(&number(&packet)));
                    }
                    Action::Failed { .. } | Action::Evicted { .. } => {}
                }
            }
            let entries = table.entries(now);
            let queued: usize = entries.iter().map(|i| i.queued).sum();
            prop_assert_eq!(queued, waiting.len());
            prop_assert_eq!(table.parked_bytes(), queued * numbered(0).footprint());
            prop_assert!(table.parked_bytes() <= config.total_bytes);
            for family in [true, false] {
                let dynamic = |i: &&Info| i.ip.is_ipv4() == family && i.state != Nud::Permanent;
                let count = entries.iter().filter(dynamic).count();
                let counted = &table.counts[usize::from(!family)];
                prop_assert_eq!(count, counted.load(SeqCst));
                prop_assert!(count <= config.gc_thresh3);
            }
            for info in &entries {
                prop_assert!(info.queued <= 3);
                prop_assert!(info.mac.is_none_or(Mac::is_station));
                let fixed = fixed.get(&(info.link, info.ip));
                prop_assert_eq!(info.state == Nud::Permanent, fixed.is_some());
                prop_assert!(fixed.is_none() || fixed == info.mac.as_ref());
            }
            // Whoever keeps a MAC by the rules never uses one the table no longer stands for.
            for ((link, ip), (ready, generation)) in &lent {
                if *generation == table.generation() && now < ready.until {
                    let info = entries.iter().find(|i| i.link == *link && i.ip == *ip);
                    prop_assert_eq!(info.and_then(|i| i.mac), Some(ready.mac));
                }
            }
        }
        table.flush_link(LINKS[0], now, &mut out);
        table.flush_link(LINKS[1], now, &mut out);
        prop_assert_eq!(out.len(), waiting.len());
        prop_assert_eq!(table.parked_bytes(), 0);
    }
}

/// Two workers send numbered packets to one neighbor, which a third keeps forgetting and hearing of again.
/// Each transmits what it is given; each sender's packets must reach the wire in their order.
#[test]
fn two_workers_keep_each_others_order() {
    const ROUNDS: usize = 300;
    let config = Config { queue_bytes: 1 << 30, total_bytes: 1 << 30, ..Config::default() };
    let table = NeighborTable::new(config, 1);
    let ((link, ip), now) = (key(0), Instant::from_secs(1));
    // The lock stands for the port: what is pushed under it is on the wire in that order.
    let wire = Mutex::new(Vec::new());
    let send = |packet: Packet| wire.lock().unwrap().push(number(&packet));
    let carry_out = |out: &mut Vec<Action>| {
        while out.iter().any(|a| matches!(a, Action::Send { .. })) {
            // The time a worker takes between being told and having sent.
            thread::yield_now();
            for action in out.drain(..) {
                match action {
                    Action::Send { packet, .. } => send(packet),
                    Action::Solicit { .. } => {}
                    other => panic!("{other:?}"),
                }
            }
            table.drained(link, ip, now, out);
        }
        out.clear();
    };
    let answer = |out: &mut Vec<Action>| {
        let advert = Advert { solicited: true, ..Advert::default() };
        table.advertised(link, ip, Some(mac(1)), advert, now, out);
        carry_out(out);
    };
    let waiting = || table.entries(now).iter().map(|i| i.queued).sum::<usize>();
    let (done, sent) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        for half in [0, 1 << 31] {
            let (table, send, carry_out, done, sent) = (&table, &send, &carry_out, &done, &sent);
            scope.spawn(move || {
                let mut out = Vec::new();
                for i in 0.. {
                    if done.load(SeqCst) {
                        break;
                    }
                    if let Some((packet, _)) = table.resolve(link, ip, numbered(half | i), now, &mut out) {
                        send(packet);
                    }
                    sent.fetch_add(1, SeqCst);
                    carry_out(&mut out);
                    if i % 64 == 0 {
                        thread::yield_now();
                    }
                }
            });
        }
        let mut out = Vec::new();
        for _ in 0..ROUNDS {
            while waiting() == 0 {
                thread::yield_now();
            }
            answer(&mut out);
            // What was left to the workers they take with their next packets.
            while waiting() > 0 {
                thread::yield_now();
            }
            table.remove(link, ip, now, &mut out);
            assert!(out.is_empty(), "only this thread makes it known, and nothing was left");
        }
        done.store(true, SeqCst);
    });
    answer(&mut Vec::new());
    let wire = wire.into_inner().unwrap();
    assert_eq!(wire.len(), sent.into_inner());
    for half in [0, 1 << 31] {
        let seen: Vec<u32> = wire.iter().copied().filter(|n| n & 1 << 31 == half).collect();
        assert!(seen.is_sorted(), "worker {half:#x} was overtaken");
    }
}

/// Threads that make the same neighbors at the same time make each once, and count it once.
#[test]
fn neighbors_made_by_several_threads_at_once_are_counted_once() {
    const MANY: u32 = 50_000;
    let table =
        NeighborTable::new(Config { gc_thresh2: 1 << 20, gc_thresh3: 1 << 20, ..Config::default() }, 1);
    let now = Instant::from_secs(1);
    thread::scope(|scope| {
        for _ in 0..3 {
            // Who is behind is faster, since the entries are there: so they meet at the front.
            scope.spawn(|| {
                for host in 0..MANY {
                    let ip = IpAddr::from(host.to_be_bytes());
                    assert!(table.solicited(LINKS[0], ip, mac(1), now, &mut Vec::new()));
                }
            });
        }
    });
    assert_eq!(table.entries(now).len(), MANY as usize);
    assert_eq!(table.counts[0].load(SeqCst), MANY as usize);
}
