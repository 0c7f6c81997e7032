//! The table against a list of flows; and many threads at it at once.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread;
use std::time::Duration;

use proptest::prelude::*;

use super::full::may_go;
use super::*;
use crate::conntrack::testing::{flow, host, tuple4, tuple6, udp_flow};
use crate::packet::flow::pack;

fn table(max: u32) -> Conntrack {
    Conntrack::new(Config { max, ..Config::default() }, 42)
}

fn insert(ct: &Conntrack, flow: &Flow, now: Instant) -> FlowId {
    match ct.insert(flow, Under::Both, now) {
        Insertion::In(id) => id,
        Insertion::Full => panic!("full"),
        Insertion::Clash(_, other) => panic!("a clash with {other:?}"),
    }
}

/// As SNAT makes it: answers go to the `pool`th address.
fn translated(mut flow: Flow, pool: u32, port: u16) -> Flow {
    flow.tuples[1].dst = pack(host(pool));
    flow.tuples[1].dst_port = port;
    flow.status.set(Status::SRC_NAT);
    flow
}

const START: Instant = Instant::ZERO;

#[test]
fn found_by_either_tuple_until_its_time_is_up() {
    let ct = table(16);
    let f = translated(udp_flow(1, 2), 100, 77);
    let id = insert(&ct, &f, START);
    for (tuple, dir) in f.tuples.iter().zip(Direction::ALL) {
        assert_eq!(ct.find(tuple, Instant::from_millis(29_999)), Some((id, dir, f)));
        assert_eq!(ct.find(tuple, Instant::from_secs(30)), None);
    }
    assert_eq!(ct.find(&tuple6(1, 2), START), None);
    ct.set_mark(id, 7);
    assert_eq!(ct.get(id).unwrap().mark, 7);
    ct.check();
    assert_eq!(ct.poll_timeout(), Instant::from_secs(30));
    assert_eq!((ct.timeout(Instant::from_secs(29)), ct.len()), (0, 1));
    assert_eq!((ct.timeout(Instant::from_secs(30)), ct.len()), (1, 0));
    assert_eq!((ct.get(id), ct.poll_timeout()), (None, Instant::FAR_FUTURE));
    ct.check();
}

#[test]
fn under_both_tuples_or_not_at_all() {
    let ct = table(16);
    insert(&ct, &udp_flow(1, 2), START);
    let clash = translated(udp_flow(3, 2), 100, 5);
    insert(&ct, &clash, START);
    // Another client whose answers would come back the same way.
    let late = translated(udp_flow(4, 2), 100, 5);
    assert!(matches!(ct.insert(&late, Under::Both, START), Insertion::Clash(_, f) if f == clash));
    assert_eq!((ct.find(&late.tuples[0], START), ct.len()), (None, 2));
    ct.check();
    // When the first is past its deadline it makes way, freed or not.
    let later = Instant::from_secs(31);
    let late = Flow { deadline: Instant::from_secs(60), ..late };
    insert(&ct, &late, later);
    assert_eq!(ct.find(&clash.tuples[1], later).unwrap().2, late);
    assert_eq!(ct.stats().expired, 1);
    ct.check();
}

#[test]
fn taken_but_not_by_its_own_twin() {
    let ct = table(16);
    let f = translated(udp_flow(1, 2), 100, 9);
    insert(&ct, &f, START);
    assert!(ct.is_taken(&f.tuples[1], &tuple4(5, 2), START));
    assert!(ct.is_taken(&f.tuples[0], &tuple4(5, 2), START), "in either direction");
    assert!(!ct.is_taken(&f.tuples[1], &f.tuples[0], START));
    assert!(!ct.is_taken(&f.tuples[1], &tuple4(5, 2), Instant::from_secs(30)));
}

#[test]
fn a_source_keeps_its_mapping() {
    let ct = table(16);
    let mut any = |_: &Address, _: u16| true;
    assert_eq!(ct.source_mapping(&tuple4(1, 9), START, &mut any), None);
    let first = insert(&ct, &translated(udp_flow(1, 2), 100, 9), START);
    insert(&ct, &translated(udp_flow(1, 3), 101, 10), START);
    insert(&ct, &udp_flow(1, 4), START);
    let asked = tuple4(1, 9);
    assert_eq!(ct.source_mapping(&asked, START, &mut any), Some((pack(host(101)), 10)), "the youngest");
    let mut pool = |a: &Address, _: u16| *a == pack(host(100));
    assert_eq!(ct.source_mapping(&asked, START, &mut pool), Some((pack(host(100)), 9)));
    for other in [Tuple { src_port: 1, ..asked }, Tuple { proto: 6, ..asked }, tuple4(2, 9)] {
        assert_eq!(ct.source_mapping(&other, START, &mut any), None);
    }
    assert!(ct.remove(first));
    assert_eq!(ct.source_mapping(&asked, START, &mut pool), None);
    assert_eq!(ct.source_mapping(&asked, Instant::from_secs(30), &mut any), None, "past their deadline");
    // What NAT is not to forget is not to be changed.
    ct.update(ct.find(&tuple4(1, 3), START).unwrap().0, |f| f.status = Status::CONFIRMED);
    assert!(ct.source_mapping(&asked, START, &mut any).is_some());
    ct.remove_where(START, &|_| true);
    assert_eq!(ct.source_mapping(&asked, START, &mut any), None);
    ct.check();
}

#[test]
fn a_port_is_cleared_where_a_connection_is_over_and_the_next_is_beyond_it() {
    use crate::conntrack::testing::upper;
    use crate::conntrack::{State, tcp};
    let tcp_flow = |client: u32, seq: u32| {
        let t = Tuple { proto: 6, ..tuple4(client, 2) };
        let mut syn = upper(&t, b"");
        syn[4..8].copy_from_slice(&seq.to_be_bytes());
        let segment = tcp::Segment::read(&syn, syn.len()).unwrap();
        let state = tcp::State::begin(&segment, &Settings::default()).unwrap().0;
        Flow { state: State::Tcp(state), ..translated(flow(t, 120), 100, 7) }
    };
    let ct = table(16);
    let mut old = tcp_flow(1, 1000);
    let id = insert(&ct, &old, START);
    let beyond = tcp_flow(3, 2000);
    assert!(!ct.clear(&old.tuples[1], &beyond, START), "not over yet");
    // The server resets it.
    let mut rst = upper(&old.tuples[1], b"");
    rst[8..12].copy_from_slice(&1001u32.to_be_bytes());
    rst[13] = 0x12;
    let answer = tcp::Segment::read(&rst, rst.len()).unwrap();
    rst[13] = 0x04;
    rst[4..8].copy_from_slice(&2u32.to_be_bytes());
    let reset = tcp::Segment::read(&rst, rst.len()).unwrap();
    if let State::Tcp(state) = &mut old.state {
        for segment in [answer, reset] {
            state.step(Direction::Reply, &segment, Status::SEEN_REPLY, &Settings::default(), Duration::MAX);
        }
        assert_eq!(state.phase(), tcp::Phase::Close);
    }
    ct.update(id, |f| f.state = old.state);
    assert!(!ct.clear(&old.tuples[1], &tcp_flow(3, 900), START), "a late segment could be taken for its own");
    assert!(!ct.clear(&old.tuples[0], &beyond, START), "not by its original tuple");
    assert!(ct.clear(&old.tuples[1], &beyond, START) && ct.is_empty());
    assert!(!ct.clear(&old.tuples[1], &beyond, START));
}

#[test]
fn a_million_flows_take_a_quarter_of_a_gigabyte() {
    const FLOWS: u32 = 1_000_000;
    let ct = table(FLOWS);
    let empty = ct.memory();
    for n in 0..FLOWS {
        insert(&ct, &translated(flow(tuple4(n, 1), 30), 0x10_0000 + n, 9), START);
    }
    let each = (ct.memory() - empty) / FLOWS as usize;
    println!("{each} bytes a flow, source-translated, {empty} for an empty table");
    assert!(each <= 320, "{each}");
    assert!(empty < 200_000, "{empty}");
}

#[test]
fn one_beside_another_is_found_by_its_answers_only_and_not_listed() {
    let ct = table(16);
    let first = translated(udp_flow(1, 2), 100, 9);
    insert(&ct, &first, START);
    let mut second = translated(udp_flow(1, 2), 100, 10);
    second.status.set(Status::NAT_CLASH);
    assert!(matches!(ct.insert(&second, Under::ReplyOnly, START), Insertion::In(_)));
    assert_eq!(ct.find(&first.tuples[0], START).unwrap().2, first);
    assert_eq!(ct.find(&second.tuples[1], START).unwrap().2, second);
    let mut listed = 0;
    ct.each(START, &mut |_, f| listed += usize::from(*f == first) + 10 * usize::from(*f == second));
    assert_eq!((listed, ct.len()), (1, 2));
    ct.check();
    assert_eq!(ct.timeout(Instant::from_secs(31)), 2);
    ct.check();
}

#[test]
fn a_full_table_gives_up_what_nobody_needs_and_nothing_else() {
    let ct = table(128);
    let assured = |n: u32| {
        let mut f = flow(tuple4(n, 1), 1000);
        f.status.set(Status::ASSURED);
        f
    };
    for n in 0..127 {
        insert(&ct, &assured(n), START);
    }
    // The one that may go makes way, if it is near; sixteen groups of four places cover about 40 % of 128.
    insert(&ct, &flow(tuple4(500, 1), 1000), START);
    let (mut entered, mut refused) = (0, 0);
    for n in 1000..1200 {
        match ct.insert(&flow(tuple4(n, 1), 1000), Under::Both, START) {
            Insertion::In(_) => entered += 1,
            Insertion::Full => refused += 1,
            Insertion::Clash(..) => panic!(),
        }
        assert_eq!(ct.len(), 128);
    }
    assert!(entered > 40 && refused > 40 && entered + refused == 200, "{entered} {refused}");
    assert_eq!(ct.stats().early_drops, entered);
    for n in 0..127 {
        assert!(ct.find(&tuple4(n, 1), START).is_some(), "{n} was in use");
    }
    // Past their deadline even those in use make way.
    let later = Instant::from_secs(1000);
    insert(&ct, &flow(tuple4(9999, 1), 2000), later);
    assert_eq!(ct.len(), 128);
    ct.check();
}

#[test]
fn a_table_grows_and_shrinks_while_flows_are_in_it() {
    let ct = table(128);
    let full = |from: u32, most: u32| {
        let all = (from..from + most).map(|n| ct.insert(&udp_flow(n, 7), Under::Both, START));
        all.filter(|i| matches!(i, Insertion::In(_))).count()
    };
    assert_eq!(full(0, 128), 128);
    ct.configure(&Config { max: 300_000, ..Config::default() });
    // More than there were places for before.
    assert_eq!(full(1_000, 280_000), 280_000);
    ct.check();
    ct.configure(&Config { max: 1_000, ..Config::default() });
    assert_eq!(ct.len(), 280_128, "nobody is thrown out for nothing");
    let before = ct.stats().early_drops;
    assert_eq!(full(400_000, 10), 10, "for whom others made way");
    let went = ct.stats().early_drops - before;
    assert!((10..=80).contains(&went), "one packet does the work of few: {went}");
    for n in 0.. {
        if ct.len() <= 1_000 {
            break;
        }
        assert!(n < 100, "{} flows are left", ct.len());
        full(500_000 + n * 1_000, 1_000);
    }
    ct.check();
    ct.configure(&Config { max: u32::MAX, ..Config::default() });
    assert_eq!(ct.settings().get().max, ct.room());
}

#[test]
fn who_was_answered_goes_after_who_was_not() {
    let ct = table(128);
    let mut answered = flow(tuple4(0, 1), 20);
    answered.status.set(Status::SEEN_REPLY);
    insert(&ct, &answered, START);
    for n in 1..128 {
        insert(&ct, &flow(tuple4(n, 1), 1000), START);
    }
    for n in 200..2000 {
        insert(&ct, &flow(tuple4(n, 1), 1000), START);
    }
    assert!(ct.find(&tuple4(0, 1), START).is_some(), "three others were always near");
}

#[test]
fn shortened_lives_end_in_time_and_leave_nothing_behind() {
    let ct = table(4096);
    let ids: Vec<FlowId> = (0..2000).map(|n| insert(&ct, &flow(tuple4(n, 1), 432_000), START)).collect();
    // Back and forth, as resets in the window do.
    for round in 0..20 {
        for id in &ids {
            let seconds = if round % 2 == 0 { 10 } else { 432_000 };
            ct.update(*id, |f| f.deadline = Instant::from_secs(seconds));
        }
    }
    ct.check();
    assert_eq!(ct.timeout(Instant::from_secs(11)), 0, "each was put off again");
    ids.iter().for_each(|id| ct.update(*id, |f| f.deadline = Instant::from_secs(120)));
    assert!(ct.poll_timeout() <= Instant::from_secs(120));
    while !ct.is_empty() {
        let now = ct.poll_timeout();
        assert!(now <= Instant::from_secs(120), "{now}");
        ct.timeout(now);
    }
    ct.check();
}

#[test]
fn freeing_is_done_in_pieces() {
    let ct = table(50_000);
    for n in 0..20_000 {
        insert(&ct, &flow(tuple4(n, 1), 30), START);
    }
    let now = Instant::from_secs(31);
    let mut calls = 0;
    while ct.poll_timeout() <= now {
        assert!(ct.timeout(now) <= TURNED);
        calls += 1;
        assert!(calls < 50);
    }
    assert_eq!((ct.len(), ct.stats().expired), (0, 20_000));
    assert!(calls >= 20_000 / TURNED);
}

#[test]
fn listing_and_flushing() {
    let ct = table(5000);
    for n in 0..3000 {
        insert(&ct, &flow(tuple4(n, n % 7), 30 + u64::from(n % 2) * 30), START);
    }
    let mut seen = HashMap::new();
    ct.each(Instant::from_secs(30), &mut |id, f| {
        // A listing that takes its time stops nobody.
        assert!(ct.get(id).is_some());
        seen.insert(id, *f);
    });
    assert_eq!(seen.len(), 1500);
    let (mut from, mut pages, mut told) = (Some(0), 0, Vec::new());
    while let Some(at) = from {
        from = ct.page(at, Instant::from_secs(30), &mut |f| told.push(*f));
        pages += 1;
    }
    assert_eq!((pages, told.len()), (3, 1500));
    assert!(told.iter().all(|f| seen.values().any(|s| s == f)));
    assert_eq!(table(16).page(0, START, &mut |_| ()), None);
    let gone = ct.remove_where(Instant::from_secs(30), &|f| f.tuples[0].dst == tuple4(0, 3).dst);
    assert_eq!(gone, (0..3000).filter(|n| n % 7 == 3 && n % 2 == 1).count());
    assert_eq!(ct.stats().removed as usize, gone);
    ct.check();
}

/// What can happen to a table.
#[derive(Debug, Clone)]
enum Act {
    Insert { client: u32, server: u32, port: Option<u16>, seconds: u64, assured: bool },
    Find { client: u32, server: u32 },
    Answer { server: u32, port: u16 },
    Deadline { nth: usize, seconds: u64 },
    Remove { nth: usize },
    Pass { millis: u64 },
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let (client, server, port) = (0..6u32, 0..3u32, proptest::option::of(0..4u16));
    let seconds = prop_oneof![1..10u64, 1..100u64, Just(432_000u64)];
    let act = prop_oneof![
        6 => (client.clone(), server.clone(), port, seconds.clone(), any::<bool>()).prop_map(
            |(client, server, port, seconds, assured)| Act::Insert { client, server, port, seconds, assured }
        ),
        2 => (client, server.clone()).prop_map(|(client, server)| Act::Find { client, server }),
        2 => (server, 0..4u16).prop_map(|(server, port)| Act::Answer { server, port }),
        2 => (any::<usize>(), seconds).prop_map(|(nth, seconds)| Act::Deadline { nth, seconds }),
        1 => any::<usize>().prop_map(|nth| Act::Remove { nth }),
        2 => (0..20_000u64).prop_map(|millis| Act::Pass { millis }),
    ];
    proptest::collection::vec(act, 1..150)
}

proptest! {
    #[test]
    fn it_holds_what_a_list_would(acts in acts(), max in 1..8u32) {
        let ct = table(max);
        let mut model: HashMap<FlowId, Flow> = HashMap::new();
        let mut now = START;
        for act in acts {
            let mut ids: Vec<FlowId> = model.keys().copied().collect();
            ids.sort_by_key(|id| (id.slot, id.tenant));
            let live = |f: &&Flow| f.deadline > now;
            match act {
                Act::Insert { client, server, port, seconds, assured } => {
                    let mut f = Flow { deadline: now + Duration::from_secs(seconds), ..udp_flow(client, server) };
                    if let Some(port) = port {
                        f = translated(f, 100, port);
                    }
                    if assured {
                        f.status.set(Status::ASSURED);
                    }
                    let full = model.len() == max as usize;
                    let stuck = full && !model.values().any(|f| may_go(f, now));
                    match ct.insert(&f, Under::Both, now) {
                        Insertion::In(id) => {
                            prop_assert!(!stuck);
                            // Who left: those past their deadline, and one that made way.
                            let before = model.len();
                            model.retain(|id, f| {
                                let there = ct.get(*id).is_some();
                                assert!(there || may_go(f, now), "{f:?} was in use");
                                there
                            });
                            prop_assert!(before - model.len() <= 3);
                            let clash = |o: &&Flow| o.deadline > now && o.tuples.iter().any(|t| f.tuples.contains(t));
                            prop_assert!(!model.values().any(|o| clash(&o)));
                            model.insert(id, f);
                        }
                        Insertion::Full => prop_assert!(stuck),
                        Insertion::Clash(id, other) => {
                            prop_assert!(other.deadline > now);
                            prop_assert!(other.tuples.iter().any(|t| f.tuples.contains(t)));
                            prop_assert_eq!(model.get(&id), Some(&other));
                            model.retain(|id, _| ct.get(*id).is_some());
                        }
                    }
                }
                Act::Find { client, server } => {
                    let t = tuple4(client, server);
                    let there = model.iter().find(|(_, f)| live(f) && f.tuples[0] == t);
                    prop_assert_eq!(
                        ct.find(&t, now).map(|(id, _, f)| (id, f)),
                        there.map(|(id, f)| (*id, *f))
                    );
                }
                Act::Answer { server, port } => {
                    let t = translated(udp_flow(0, server), 100, port).tuples[1];
                    let there = model.values().find(|f| live(f) && f.tuples[1] == t);
                    prop_assert_eq!(ct.find(&t, now).map(|(_, _, f)| f), there.copied());
                    prop_assert_eq!(ct.is_taken(&t, &tuple4(50, 50), now), there.is_some());
                }
                Act::Deadline { nth, seconds } if !ids.is_empty() => {
                    let id = ids[nth % ids.len()];
                    let deadline = now + Duration::from_secs(seconds);
                    ct.update(id, |f| f.deadline = deadline);
                    model.get_mut(&id).unwrap().deadline = deadline;
                }
                Act::Remove { nth } if !ids.is_empty() => {
                    let id = ids[nth % ids.len()];
                    prop_assert!(ct.remove(id) && !ct.remove(id));
                    model.remove(&id);
                }
                Act::Deadline { .. } | Act::Remove { .. } => {}
                Act::Pass { millis } => {
                    now += Duration::from_millis(millis);
                    while ct.poll_timeout() <= now {
                        ct.timeout(now);
                    }
                    let sure = now - Duration::from_secs(1);
                    model.retain(|id, f| {
                        let there = ct.get(*id).is_some();
                        assert!(there || f.deadline <= now, "{f:?} was freed early");
                        assert!(!there || f.deadline > sure, "{f:?} was forgotten");
                        there
                    });
                }
            }
            prop_assert_eq!(ct.len(), model.len());
            ct.check();
        }
    }
}

#[test]
fn many_threads_at_once_keep_both_or_neither_and_the_count() {
    let ct = Arc::new(table(256));
    let stop = Arc::new(AtomicBool::new(false));
    let workers: Vec<_> = (0..4u32)
        .map(|w| {
            let ct = Arc::clone(&ct);
            thread::spawn(move || {
                let mut random = u64::from(w) + 1;
                let mut mine = Vec::new();
                for step in 0..30_000u64 {
                    random = random.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
                    let (a, b) = ((random >> 40) as u32 % 300, (random >> 30) as u32 % 3);
                    let now = Instant::from_millis(step);
                    let mut f = Flow { deadline: now + Duration::from_secs(1 + step % 40), ..udp_flow(a, b) };
                    if random >> 20 & 3 != 0 {
                        f = translated(f, 500, (random >> 50) as u16 % 200);
                    }
                    match random >> 60 & 7 {
                        0..=3 => {
                            if let Insertion::In(id) = ct.insert(&f, Under::Both, now) {
                                mine.push(id);
                            }
                        }
                        4 => {
                            if let Some(id) = mine.pop() {
                                ct.remove(id);
                            }
                        }
                        5 => {
                            if let Some((id, _, _)) = ct.find(&f.tuples[1], now) {
                                ct.update(id, |f| f.deadline = now + Duration::from_secs(random >> 55 & 63));
                            }
                        }
                        6 => drop(ct.source_mapping(&f.tuples[0], now, &mut |_, p| p % 7 == 0)),
                        _ => drop(ct.timeout(now)),
                    }
                    assert!(ct.len() <= 256);
                }
            })
        })
        .collect();
    let watcher = {
        let (ct, stop) = (Arc::clone(&ct), Arc::clone(&stop));
        thread::spawn(move || {
            while !stop.load(Relaxed) {
                let mut n = 0;
                ct.each(START, &mut |_, _| n += 1);
                assert!(n <= 1024, "what comes and goes during a listing is at most all of it");
            }
        })
    };
    for w in workers {
        w.join().unwrap();
    }
    stop.store(true, Relaxed);
    watcher.join().unwrap();
    ct.check();
    ct.remove_where(START, &|_| true);
    let end = Instant::from_secs(500_000);
    while ct.poll_timeout() <= end {
        ct.timeout(end);
    }
    assert_eq!((ct.len(), ct.slab.reach() <= 256), (0, true));
    ct.check();
}

#[test]
fn tuples_chosen_against_one_key_are_spread_by_another() {
    // What a flooder would pick who knew the key: all in one shard. Under the router's own key a million
    // tuples, whatever they are, fill the shards evenly.
    let known = table(1);
    let chosen: Vec<Tuple> = (0..2_000_000u32)
        .map(|n| Tuple { src_port: n as u16, ..tuple4(n >> 16, 1) })
        .filter(|t| known.hash(t) >> 32 & 0xff == 7)
        .take(5_000)
        .collect();
    assert_eq!(chosen.len(), 5_000);
    let ct = Conntrack::new(Config::default(), 43);
    for t in &chosen {
        insert(&ct, &flow(*t, 30), START);
    }
    // 10,000 entries over 256 shards: 39 each; 5 standard deviations above are 70.
    assert!(ct.index.fullest() < 75, "{}", ct.index.fullest());
}
