//! Samples in, flows out.

use super::*;
use crate::conntrack::Config;
use crate::conntrack::testing::{insert, tuple4, tuple6, udp_flow};
use crate::packet::flow::pack;
use crate::path::Sampler;

fn at(ms: u64) -> Instant {
    Instant::from_millis(ms)
}

fn sample(tuple: Tuple, bytes: u32, weight: u32) -> Sample {
    Sample { link: LinkId(1), tuple, bytes, weight }
}

/// One who follows, with nothing sampled.
fn follow(sampler: &Arc<Sampler>, conntrack: Conntrack) -> Follow {
    Follow {
        tap: sampler.listen(FIRST, WAITING).unwrap(),
        conntrack: Arc::new(conntrack),
        named: Box::new(|id| (id == LinkId(1)).then(|| "lan".to_owned())),
        count: 3,
        every: Duration::from_secs(1),
        begun: at(0),
        looked: at(0),
        one_in: FIRST,
        settled: true,
        tally: Tally::default(),
    }
}

fn table() -> Conntrack {
    Conntrack::new(Config { max: 1_000, ..Config::default() }, 1)
}

#[test]
fn both_directions_are_one_flow() {
    let sampler = Arc::default();
    let conntrack = table();
    let flow = udp_flow(1, 2);
    insert(&conntrack, &flow);
    let mut f = follow(&sampler, conntrack);
    f.tally.add(&sample(flow.tuples[0], 100, 1));
    f.tally.add(&sample(flow.tuples[1], 1_000, 2));
    // In no table: the higher port is the client's.
    let other = tuple4(7, 8);
    let back =
        Tuple { src: other.dst, dst: other.src, src_port: other.dst_port, dst_port: other.src_port, ..other };
    assert!(other.src_port > other.dst_port);
    f.tally.add(&sample(back, 50, 1));
    f.tally.add(&sample(other, 60, 1));
    assert!(matches!(f.poll(at(999)), Fed::Nothing));
    let Fed::Part(value) = f.poll(at(2_000)) else { panic!("it is time") };
    let [said]: [BusiestFlows; 1] = serde_json::from_value(value).unwrap();
    assert_eq!((said.seconds, said.one_in, said.lost, said.missing_below), (2.0, 2, 0, 0));
    let [first, second] = &said.flows[..] else { panic!("{:?}", said.flows) };
    assert_eq!((first.original.bytes, first.reply.bytes, first.reply.packets), (100, 2_000, 2));
    assert_eq!((first.protocol.as_str(), first.link.as_str(), first.state.is_some()), ("udp", "lan", true));
    assert_eq!((second.original.bytes, second.reply.bytes, second.sport), (60, 50, other.src_port));
    assert_eq!(second.state, None);
    // The next while begins with nothing.
    let Fed::Part(value) = f.poll(at(3_000)) else { panic!("it is time") };
    assert_eq!(value[0]["flows"], serde_json::json!([]));
}

#[test]
fn a_group_begins_nothing() {
    let report = Tuple {
        src: pack("::".parse().unwrap()),
        dst: pack("ff02::16".parse().unwrap()),
        proto: 58,
        ..tuple6(1, 2)
    };
    for ports in [(0, 0), (5353, 5353), (143, 60_000)] {
        let report = Tuple { src_port: ports.0, dst_port: ports.1, ..report };
        assert_eq!(begun_by(&report), (report, Direction::Original));
    }
}

#[test]
fn the_large_ones_are_found_among_very_many_small_ones() {
    let sampler = Arc::default();
    let mut f = follow(&sampler, table());
    for n in 0..50_000u32 {
        f.tally.add(&sample(Tuple { src_port: n as u16, ..tuple4(n, 1) }, 60, 1));
        if n % 50 == 0 {
            f.tally.add(&sample(tuple4(1 << 20, 99), 1_500, 1));
        }
        assert!(f.tally.tuples.len() <= TUPLES);
    }
    let floor = f.tally.floor;
    assert!((60..200_000).contains(&floor), "{floor}");
    let tally = std::mem::take(&mut f.tally);
    let flows = f.flows(tally, at(1_000));
    assert_eq!(flows.len(), 3);
    let most = flows[0].original.bytes + flows[0].reply.bytes;
    assert_eq!(most, 1_000 * 1_500, "it was never forgotten");
}

#[test]
fn as_many_are_looked_at_as_can_be_counted() {
    let sampler: Arc<Sampler> = Arc::default();
    let mut f = follow(&sampler, table());
    let mut now = 0;
    let mut come = |f: &mut Follow, packets| {
        now += 100;
        f.adapt(packets, at(now));
        f.one_in
    };
    assert_eq!(come(&mut f, 800_000), 1_024, "eight million a second");
    assert_eq!(come(&mut f, 400_000), 512);
    for n in [256, 128, 64, 32, 16, 8, 4, 2, 1, 1] {
        assert_eq!(come(&mut f, 10), n);
    }
    assert_eq!(come(&mut f, 1_100), 2, "a little over ten thousand a second");
}

#[test]
fn alike_ones_are_not_all_forgotten() {
    let mut t = Tally::default();
    for n in 0..=TUPLES as u32 {
        t.add(&sample(Tuple { src_port: n as u16, ..tuple4(n, 1) }, 60, 1));
    }
    assert_eq!((t.tuples.len(), t.floor), (TUPLES / 2 + 1, 60));
}

#[test]
fn counting_begins_when_it_is_known_how_many_come() {
    let sampler: Arc<Sampler> = Arc::default();
    let mut f = Follow { settled: false, ..follow(&sampler, table()) };
    assert!(matches!(f.poll(at(0)), Fed::Nothing), "no time has gone by");
    f.tally.add(&sample(tuple4(1, 1), 60, FIRST));
    assert!(matches!(f.poll(at(5_000)), Fed::Nothing));
    assert_eq!((f.one_in, f.tally.tuples.len()), (1, 0));
    assert!(matches!(f.poll(at(5_040)), Fed::Nothing));
    assert!(f.settled);
    assert!(matches!(f.poll(at(6_000)), Fed::Nothing), "its while began at 5,040");
    assert!(matches!(f.poll(at(6_040)), Fed::Part(_)));
}
