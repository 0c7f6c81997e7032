//! Packets of flows through both stages, as Linux 6.18 takes them.

use proptest::prelude::*;

use super::*;
use crate::conntrack::testing::*;
use crate::conntrack::{Config, Timeout};
use crate::packet::flow::pack;
use crate::packet::{Csum, Net, Tuple};

/// A table and a clock.
struct Rig {
    ct: Conntrack,
    now: Instant,
}

/// What became of a packet.
type Seen = (Tracked, CtState, Direction);

const BEGUN: Seen = (Tracked::Begun, CtState::New, Direction::Original);
const STILL_NEW: Seen = (Tracked::Known, CtState::New, Direction::Original);
const ONWARD: Seen = (Tracked::Known, CtState::Established, Direction::Original);
const ANSWER: Seen = (Tracked::Known, CtState::Established, Direction::Reply);
const INVALID: Seen = (Tracked::Invalid, CtState::Invalid, Direction::Original);

impl Rig {
    fn new(max: u32) -> Self {
        Rig { ct: Conntrack::new(Config { max, ..Config::default() }, 7), now: Instant::from_secs(100) }
    }

    fn pass(&mut self, millis: u64) {
        self.now += Duration::from_millis(millis);
    }

    /// Tracks and, as rules that let everything pass would, confirms.
    fn walk(&self, p: &mut Packet) -> Seen {
        let mut current = None;
        let tracked = self.ct.track(p, Hook::Prerouting, self.now, &mut current).unwrap();
        if let Some(current) = &mut current {
            self.ct.confirm(p, current, self.now).unwrap();
            assert_eq!(current.id, p.meta.ct.flow);
        }
        (tracked, p.meta.ct.state, p.meta.ct.dir)
    }

    fn send(&self, t: &Tuple) -> Seen {
        self.walk(&mut packet_of(t))
    }

    fn flow(&self, t: &Tuple) -> Flow {
        self.ct.find(t, self.now).expect("the flow").2
    }

    /// Seconds the flow of a tuple has left.
    fn left(&self, t: &Tuple) -> u64 {
        self.flow(t).deadline.since(self.now).as_secs()
    }
}

fn back(t: &Tuple) -> Tuple {
    tuple::invert(t).unwrap()
}

fn with(proto: u8, t: Tuple) -> Tuple {
    match proto {
        proto::UDP | proto::UDP_LITE | proto::TCP => Tuple { proto, ..t },
        _ => Tuple { proto, src_port: 0, dst_port: 0, ..t },
    }
}

fn echo(t: Tuple) -> Tuple {
    let (proto, kind) = if t.v6 { (proto::ICMPV6, 128) } else { (proto::ICMP, 8) };
    Tuple { proto, src_port: 77, dst_port: kind << 8, ..t }
}

#[test]
fn udp_becomes_a_stream_after_two_seconds() {
    for t in [tuple4(1, 2), tuple6(1, 2)] {
        let mut rig = Rig::new(16);
        assert_eq!(rig.send(&t), BEGUN);
        rig.pass(1_000);
        assert_eq!((rig.send(&t), rig.left(&t)), (STILL_NEW, 30));
        assert_eq!((rig.send(&back(&t)), rig.left(&t)), (ANSWER, 30));
        assert_eq!((rig.send(&t), rig.left(&t)), (ONWARD, 30));
        assert!(!rig.flow(&t).status.has(Status::ASSURED), "it lives for a second only");
        rig.pass(1_000);
        assert_eq!((rig.send(&t), rig.left(&t)), (ONWARD, 30), "two seconds are not more than two");
        rig.pass(1);
        assert_eq!((rig.send(&t), rig.left(&t)), (ONWARD, 120));
        assert!(rig.flow(&t).status.has(Status::ASSURED));
    }
}

#[test]
fn an_answer_alone_makes_no_stream() {
    let mut rig = Rig::new(16);
    let t = tuple4(1, 2);
    rig.send(&t);
    rig.pass(5_000);
    // The answer is judged before the flow counts as answered.
    assert_eq!((rig.send(&back(&t)), rig.left(&t)), (ANSWER, 30));
    assert_eq!((rig.send(&back(&t)), rig.left(&t)), (ANSWER, 120));
    rig.pass(120_000);
    assert_eq!(rig.send(&back(&t)), BEGUN, "who was expected comes as a stranger");
}

#[test]
fn the_other_protocols_know_answered_or_not() {
    // Before and after the answer, and whether it is then worth keeping.
    let cases = [
        (proto::UDP_LITE, 30, 120, true),
        (proto::GRE, 30, 180, true),
        (proto::DCCP, 600, 600, false),
        (89, 600, 600, false),
    ];
    for (proto, before, after, assured) in cases {
        for t in [with(proto, tuple4(1, 2)), with(proto, tuple6(1, 2))] {
            let rig = Rig::new(16);
            assert_eq!((rig.send(&t), rig.left(&t)), (BEGUN, before), "{proto}");
            assert_eq!((rig.send(&back(&t)), rig.left(&t)), (ANSWER, before));
            assert_eq!((rig.send(&t), rig.left(&t)), (ONWARD, after));
            assert_eq!(rig.flow(&t).status.has(Status::ASSURED), assured, "{proto}");
        }
    }
}

#[test]
fn pings_are_never_worth_keeping_and_answers_alone_are_invalid() {
    for t in [echo(tuple4(1, 2)), echo(tuple6(1, 2))] {
        let rig = Rig::new(16);
        assert_eq!(rig.send(&back(&t)), INVALID);
        assert_eq!((rig.send(&t), rig.send(&t)), (BEGUN, STILL_NEW));
        assert_eq!((rig.send(&back(&t)), rig.send(&back(&t))), (ANSWER, ANSWER), "a duplicate is an answer");
        assert_eq!((rig.send(&t), rig.left(&t)), (ONWARD, 30));
        assert!(!rig.flow(&t).status.has(Status::ASSURED));
        assert_eq!(rig.send(&Tuple { src_port: 78, ..back(&t) }), INVALID, "another identifier");
    }
    // ICMP in the wrong family.
    let rig = Rig::new(16);
    assert_eq!(rig.send(&Tuple { proto: proto::ICMPV6, dst_port: 128 << 8, ..tuple4(1, 2) }), INVALID);
    assert_eq!(rig.send(&Tuple { proto: proto::ICMP, dst_port: 8 << 8, ..tuple6(1, 2) }), INVALID);
}

#[test]
fn tcp_handshake_and_reset() {
    let rig = Rig::new(16);
    let t = with(proto::TCP, tuple4(1, 2));
    assert_eq!((rig.send(&t), rig.left(&t)), (BEGUN, 120));
    // RST/ACK to an unanswered SYN: the last packet of the flow.
    let mut reset = upper(&back(&t), b"");
    reset[8..12].copy_from_slice(&2u32.to_be_bytes());
    reset[13] = 0x14;
    fill(&back(&t), &mut reset, 16);
    let mut p = packet(t.dst(), t.src(), proto::TCP, &reset);
    let mut current = None;
    rig.ct.track(&mut p, Hook::Prerouting, rig.now, &mut current).unwrap();
    assert_eq!((p.meta.ct.state, p.meta.ct.dir), (CtState::Established, Direction::Reply));
    let mut current = current.expect("its flow goes with it");
    assert_eq!(rig.ct.confirm(&mut p, &mut current, rig.now), Ok(Confirmed::Passed));
    assert!(rig.ct.len() <= 1);
    assert_eq!(rig.send(&back(&Tuple { src_port: 9, ..t })).1, CtState::New, "loose pick-up of a SYN");
}

#[test]
fn unconfirmed_flows_are_nobodys() {
    let rig = Rig::new(16);
    let t = tuple4(1, 2);
    let mut p = packet_of(&t);
    let mut current = None;
    assert_eq!(rig.ct.track(&mut p, Hook::Prerouting, rig.now, &mut current), Ok(Tracked::Begun));
    assert_eq!((rig.ct.len(), p.meta.ct.flow), (0, None));
    assert_eq!(current.unwrap().flow.view(rig.now).expires, 0);
    // The packet waits somewhere: the flow lives from when it is confirmed.
    let later = rig.now + Duration::from_secs(100);
    let mut held = current.unwrap();
    assert_eq!(rig.ct.confirm(&mut p, &mut held, later), Ok(Confirmed::Inserted));
    assert_eq!(held.flow.view(later).expires, 30);
    assert_eq!(rig.ct.confirm(&mut p, &mut held, later), Ok(Confirmed::Passed), "once");
    assert_eq!(rig.ct.stats().inserted, 1);
}

#[test]
fn seen_before_it_keeps_its_flow() {
    let rig = Rig::new(16);
    let t = tuple4(1, 2);
    let mut p = packet_of(&t);
    rig.walk(&mut p);
    // Round by the loopback: the same flow, fetched anew.
    rig.ct.set_mark(p.meta.ct.flow.unwrap(), 5);
    let mut current = None;
    assert_eq!(rig.ct.track(&mut p, Hook::Prerouting, rig.now, &mut current), Ok(Tracked::Passed));
    assert_eq!(current.unwrap().flow.mark, 5);
    rig.ct.remove_where(rig.now, &|_| true);
    // Gone from the table, but in hand: as if it were there.
    assert_eq!(rig.ct.track(&mut p, Hook::Prerouting, rig.now, &mut current), Ok(Tracked::Passed));
    assert_eq!(current.unwrap().flow.mark, 5);
    assert_eq!(rig.ct.track(&mut p, Hook::Prerouting, rig.now, &mut None), Err(DropReason::ConntrackGone));
    for state in [CtState::Untracked, CtState::Invalid] {
        let mut p = packet_of(&t);
        p.meta.ct.state = state;
        assert_eq!(rig.ct.track(&mut p, Hook::Prerouting, rig.now, &mut None), Ok(Tracked::Passed));
        assert_eq!(p.meta.ct.state, state);
    }
}

#[test]
fn bad_sums_are_invalid_where_they_are_looked_at() {
    let all = [
        tuple4(1, 2),
        tuple6(1, 2),
        with(proto::TCP, tuple4(1, 2)),
        with(proto::TCP, tuple6(1, 2)),
        with(proto::UDP_LITE, tuple4(1, 2)),
        echo(tuple4(1, 2)),
        echo(tuple6(1, 2)),
    ];
    for t in all {
        let rig = Rig::new(16);
        let mut p = packet_of(&t);
        let last = p.len() - 1;
        p.data_mut()[last] ^= 1;
        assert_eq!(rig.walk(&mut p.clone()), INVALID, "{t:?}");
        // Not on the way out, not if somebody else vouches for it, not if told not to.
        let mut q = p.clone();
        assert_eq!(rig.ct.track(&mut q, Hook::Output, rig.now, &mut None), Ok(Tracked::Begun));
        for csum in [Csum::Verified, Csum::Partial { start: 20, field: 6 }] {
            let mut q = p.clone();
            q.meta.offload.csum = csum;
            assert_eq!(rig.ct.track(&mut q, Hook::Prerouting, rig.now, &mut None), Ok(Tracked::Begun));
        }
        let careless = Conntrack::new(Config { checksum: false, ..Config::default() }, 1);
        assert_eq!(careless.track(&mut p, Hook::Prerouting, rig.now, &mut None), Ok(Tracked::Begun));
    }
}

#[test]
fn udp_lengths_and_missing_sums() {
    let rig = Rig::new(16);
    let t = tuple4(1, 2);
    let udp = |len: u16, sum: u16| {
        let mut l4 = upper(&t, b"12345678");
        l4[4..6].copy_from_slice(&len.to_be_bytes());
        fill(&t, &mut l4, 6);
        if sum != 1 {
            l4[6..8].copy_from_slice(&sum.to_be_bytes());
        }
        rig.walk(&mut packet(t.src(), t.dst(), t.proto, &l4))
    };
    assert_eq!((udp(7, 1), udp(17, 1)), (INVALID, INVALID), "shorter than its header, longer than it is");
    assert_eq!(udp(16, 0), BEGUN, "no checksum");
    assert_eq!(udp(12, 0), STILL_NEW, "something behind it");
    // Linux sums up all that is there.
    assert_eq!(udp(12, 1), STILL_NEW);
    let t6 = tuple6(1, 2);
    let mut l4 = upper(&t6, b"x");
    l4[6..8].fill(0);
    assert_eq!(rig.walk(&mut packet(t6.src(), t6.dst(), t6.proto, &l4)), BEGUN, "as Linux, over IPv6 too");
    let lite = with(proto::UDP_LITE, t);
    let mut l4 = upper(&lite, b"x");
    l4[6..8].fill(0);
    assert_eq!(rig.walk(&mut packet(t.src(), t.dst(), lite.proto, &l4)), INVALID, "it must have one");
}

#[test]
fn pieces_and_hidden_upper_layers_are_invalid() {
    let rig = Rig::new(16);
    let mut p = packet_of(&tuple4(1, 2));
    p.meta.frag = Frag::First;
    assert_eq!(rig.walk(&mut p), INVALID);
    assert_eq!(rig.walk(&mut packet(host6(1), host6(2), proto::NONE, &[])), INVALID);
    assert_eq!(rig.walk(&mut packet(host(1), host(2), proto::TCP, &[0, 1, 2])), INVALID);
    assert_eq!(rig.walk(&mut packet(host(1), host(2), proto::UDP, &[0, 1, 0, 2, 0, 8])), INVALID);
}

/// An ICMP error from `from` to `to` about a packet.
fn error(from: std::net::IpAddr, to: std::net::IpAddr, kind: u8, quoted: &Packet) -> Packet {
    let mut l4 = vec![kind, 0, 0, 0, 0, 0, 0, 0];
    l4.extend(quoted.data());
    let proto = if from.is_ipv4() { proto::ICMP } else { proto::ICMPV6 };
    let t = Tuple { proto, src: pack(from), dst: pack(to), v6: from.is_ipv6(), ..tuple4(0, 0) };
    fill(&t, &mut l4, 2);
    packet(from, to, proto, &l4)
}

#[test]
fn errors_are_related_to_what_they_quote() {
    for (t, router, kinds) in [
        (tuple4(1, 2), host(99), &[3u8, 4, 5, 11, 12][..]),
        (tuple6(1, 2), host6(99), &[1, 2, 3, 4, 127][..]),
    ] {
        let mut rig = Rig::new(16);
        let about = |quoted: &Tuple, to, kind| error(router, to, kind, &packet_of(quoted));
        assert_eq!(rig.walk(&mut about(&t, t.src(), kinds[0])), INVALID, "of no flow");
        rig.send(&t);
        rig.pass(1_000);
        for kind in kinds {
            // To the client about what it sent: the way of the answers.
            let mut p = about(&t, t.src(), *kind);
            assert_eq!(rig.walk(&mut p), (Tracked::Related, CtState::Related, Direction::Reply));
            assert!(p.meta.ct.flow.is_some());
            // To the server about an answer.
            let seen = rig.walk(&mut about(&back(&t), t.dst(), *kind));
            assert_eq!(seen, (Tracked::Related, CtState::Related, Direction::Original));
            assert_eq!(rig.walk(&mut about(&t, router, *kind)), INVALID, "not to whom it concerns");
            let mut p = about(&t, t.src(), *kind);
            p.data_mut()[30] ^= 0x10;
            assert_eq!(rig.walk(&mut p), INVALID, "a wrong checksum");
        }
        assert_eq!(rig.left(&t), 29, "errors prolong nothing");
        assert!(!rig.flow(&t).status.has(Status::SEEN_REPLY));
        // About an error.
        let inner = about(&t, t.src(), kinds[0]);
        assert_eq!(rig.walk(&mut error(router, router, kinds[0], &inner)), INVALID);
        rig.pass(30_000);
        assert_eq!(rig.walk(&mut about(&t, t.src(), kinds[0])), INVALID, "its flow's time is up");
    }
}

#[test]
fn redirects_from_a_neighbor_are_related_too() {
    let rig = Rig::new(16);
    let t = tuple6(1, 2);
    rig.send(&t);
    let quoted = packet_of(&t);
    let redirect = |from: &str, hop_limit: u8, code: u8, kind: u8| {
        let mut l4 = vec![0; 48];
        (l4[0], l4[1], l4[40], l4[41]) = (137, code, kind, 8);
        l4.extend(quoted.data());
        let from = from.parse().unwrap();
        let outer = Tuple { proto: proto::ICMPV6, src: pack(from), ..back(&t) };
        fill(&outer, &mut l4, 2);
        let mut p = packet(from, t.src(), proto::ICMPV6, &l4);
        p.data_mut()[7] = hop_limit;
        rig.walk(&mut p)
    };
    assert_eq!(redirect("fe80::2", 255, 0, 4), (Tracked::Related, CtState::Related, Direction::Reply));
    assert_eq!(redirect("fe80::2", 64, 0, 4), INVALID, "from afar");
    assert_eq!(redirect("fd00::2", 255, 0, 4), INVALID, "from no neighbor");
    assert_eq!(redirect("fe80::2", 255, 1, 4), INVALID, "not known");
    assert_eq!(redirect("fe80::2", 255, 0, 2), INVALID, "another option comes first");
}

#[test]
fn kinds_of_icmp() {
    let rig = Rig::new(16);
    let v4 = |kind: u8| {
        let t = Tuple { proto: 1, dst_port: u16::from(kind) << 8, ..tuple4(1, 2) };
        rig.send(&t).0
    };
    for kind in [1, 2, 6, 7, 9, 10, 19, 40, 255] {
        assert_eq!(v4(kind), Tracked::Invalid, "{kind}");
    }
    for kind in [8, 13, 15, 17] {
        assert_eq!(v4(kind), Tracked::Begun, "{kind}");
    }
    let v6 = |kind: u8| {
        let t = Tuple { proto: 58, dst_port: u16::from(kind) << 8, ..tuple6(1, 2) };
        rig.send(&t).0
    };
    for kind in [130, 131, 132, 133, 134, 135, 136, 143, 151, 152] {
        assert_eq!(v6(kind), Tracked::Untracked, "{kind}");
    }
    for kind in [137, 138, 141, 142, 144, 150, 153, 200, 255, 129, 140] {
        assert_eq!(v6(kind), Tracked::Invalid, "{kind}");
    }
    for kind in [128, 139] {
        assert_eq!(v6(kind), Tracked::Begun, "{kind}");
    }
}

/// Two packets tracked before either is confirmed, as on two workers; `nat` does what the rules would.
fn race(
    a: &Tuple,
    b: &Tuple,
    nat: impl Fn(usize, &mut Flow),
) -> (Rig, Packet, Result<Confirmed, DropReason>) {
    let rig = Rig::new(16);
    let mut packets = [packet_of(a), packet_of(b)];
    let mut flows = [None, None];
    for (p, current) in packets.iter_mut().zip(&mut flows) {
        rig.ct.track(p, Hook::Prerouting, rig.now, current).unwrap();
    }
    let mut last = Ok(Confirmed::Passed);
    for (i, (p, current)) in packets.iter_mut().zip(&mut flows).enumerate() {
        let current = current.as_mut().unwrap();
        nat(i, &mut current.flow);
        last = rig.ct.confirm(p, current, rig.now);
        if last.is_ok() {
            assert_eq!((current.id, current.flow.status.has(Status::CONFIRMED)), (p.meta.ct.flow, true));
        }
    }
    let [_, second] = packets;
    rig.ct.check();
    (rig, second, last)
}

#[test]
fn the_same_flow_twice_at_once_is_one() {
    let t = tuple4(1, 2);
    let (rig, second, end) = race(&t, &t, |_, _| {});
    assert_eq!((end, rig.ct.len(), rig.ct.stats().clashes_resolved), (Ok(Confirmed::Joined), 1, 1));
    assert_eq!(second.meta.ct.flow, Some(rig.ct.find(&t, rig.now).unwrap().0));
    // From both sides at once.
    let (rig, second, end) = race(&t, &back(&t), |_, _| {});
    assert_eq!((end, rig.ct.len()), (Ok(Confirmed::Joined), 1));
    assert_eq!(second.meta.ct.dir, Direction::Reply);
    // TCP sends its SYN again.
    let t = with(proto::TCP, t);
    let (rig, _, end) = race(&t, &t, |_, _| {});
    assert_eq!((end, rig.ct.len()), (Err(DropReason::ConntrackClash), 1));
    assert_eq!(rig.ct.stats().clashes_dropped, 1);
}

#[test]
fn two_translations_of_one_client_stand_beside_each_other_for_a_second() {
    let t = tuple4(1, 2);
    let nat = |i: usize, f: &mut Flow| {
        f.tuples[1].dst_port = 1000 + i as u16;
        f.status.set(Status::SRC_NAT);
    };
    let (mut rig, second, end) = race(&t, &t, nat);
    assert_eq!((end, rig.ct.len()), (Ok(Confirmed::Inserted), 2));
    let late = Tuple { dst_port: 1001, ..back(&t) };
    let mut answer = packet_of(&late);
    assert_eq!(rig.walk(&mut answer), ANSWER);
    assert_eq!(answer.meta.ct.flow, second.meta.ct.flow);
    assert_eq!(rig.flow(&t).tuples[1].dst_port, 1000, "the client's packets go on with the first");
    for _ in 0..3 {
        rig.pass(300);
        rig.send(&late);
    }
    assert!(!rig.flow(&late).status.has(Status::ASSURED));
    rig.pass(100);
    assert_eq!(rig.send(&late), BEGUN, "it is over after a second, whatever came");
}

#[test]
fn whose_answers_another_gets_is_dropped() {
    // Two clients given the same port: never both.
    let nat = |_: usize, f: &mut Flow| {
        f.tuples[1].dst = pack(host(100));
        f.status.set(Status::SRC_NAT);
    };
    let (rig, _, end) = race(&tuple4(1, 2), &tuple4(3, 2), nat);
    assert_eq!((end, rig.ct.len()), (Err(DropReason::ConntrackClash), 1));
}

#[test]
fn a_syn_flood_four_times_the_table_hurts_no_flow_in_use() {
    const MAX: u32 = 1024;
    let mut rig = Rig::new(MAX);
    let old: Vec<Tuple> = (0..300).map(|n| tuple4(n, 1)).collect();
    for t in &old {
        rig.send(t);
        rig.send(&back(t));
    }
    rig.pass(3_000);
    for t in &old {
        rig.send(t);
    }
    let before = rig.ct.memory();
    let (mut begun, mut alive) = (0, 0);
    for n in 0..4 * MAX {
        rig.pass(1);
        rig.send(&with(proto::TCP, tuple4(0x10_0000 + n, 2)));
        assert!(rig.ct.len() <= MAX as usize);
        if n % 16 == 0 {
            // A new flow, real: its answer comes a few packets of the flood later.
            let t = tuple4(10_000 + n, 3);
            begun += u32::from(rig.send(&t) == BEGUN);
            for m in 0..8 {
                rig.send(&with(proto::TCP, tuple4(0x80_0000 + 8 * n + m, 2)));
            }
            alive += u32::from(rig.send(&back(&t)) == ANSWER);
        }
        assert_eq!(rig.send(&old[n as usize % 300]), ONWARD);
    }
    assert_eq!(begun, 256, "every real flow gets in");
    assert!(alive > 230, "and nearly every one lives to be answered: {alive}");
    assert!(rig.ct.stats().early_drops > u64::from(3 * MAX));
    assert_eq!(rig.ct.stats().full, 0);
    assert!(rig.ct.memory() < before * 105 / 100 + 200_000, "{before} {}", rig.ct.memory());
    rig.ct.check();
}

#[test]
fn a_table_full_of_flows_in_use_refuses_new_ones() {
    let mut rig = Rig::new(128);
    for n in 0..128 {
        rig.send(&tuple4(n, 1));
        rig.send(&back(&tuple4(n, 1)));
    }
    rig.pass(3_000);
    for n in 0..128 {
        assert_eq!(rig.send(&tuple4(n, 1)), ONWARD);
    }
    let mut p = packet_of(&tuple4(500, 1));
    let refused = rig.ct.track(&mut p, Hook::Prerouting, rig.now, &mut None);
    assert_eq!(refused, Err(DropReason::ConntrackFull));
    assert_eq!((rig.ct.len(), rig.ct.stats().full), (128, 1));
    rig.pass(120_000);
    assert_eq!(rig.send(&tuple4(500, 1)), BEGUN, "those past their deadline make way before they are freed");
}

#[test]
fn timeouts_are_those_of_the_configuration() {
    let mut config = Config::default();
    config.timeouts.set(Timeout::Udp, 7);
    config.timeouts.set(Timeout::Generic, 9);
    let rig = Rig { ct: Conntrack::new(config, 1), now: Instant::ZERO };
    let (udp, ospf) = (tuple4(1, 2), with(89, tuple4(1, 2)));
    rig.send(&udp);
    rig.send(&ospf);
    assert_eq!((rig.left(&udp), rig.left(&ospf)), (7, 9));
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(
        packets in proptest::collection::vec(
            (
                proptest::collection::vec(any::<u8>(), 0..100),
                prop_oneof![Just(1u8), Just(6), Just(17), Just(47), Just(58), Just(132), Just(136), any::<u8>()],
                any::<bool>(),
                0..70u16,
                any::<bool>(),
            ),
            1..20,
        )
    ) {
        let rig = Rig { ct: Conntrack::new(Config { checksum: false, max: 8, ..Config::default() }, 3), now: Instant::ZERO };
        for (bytes, proto, v6, l4, flip) in packets {
            let mut p = Packet::from_slice(&bytes);
            p.meta.net = if v6 { Net::Ipv6 } else { Net::Ipv4 };
            p.meta.proto = proto;
            p.meta.l4 = l4;
            let hook = if flip { Hook::Prerouting } else { Hook::Output };
            let mut current = None;
            if rig.ct.track(&mut p, hook, rig.now, &mut current).is_ok() && let Some(c) = &mut current {
                let _ = rig.ct.confirm(&mut p, c, rig.now);
            }
            rig.ct.check();
        }
    }
}
