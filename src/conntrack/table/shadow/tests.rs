//! A packet in the shadow and then the same one in the table: the same becomes of it, and until then nothing has
//! happened to the table.

use std::collections::BTreeSet;
use std::time::Duration;

use proptest::prelude::*;

use crate::base::{DropReason, Hook, Instant};
use crate::conntrack::nat::{self, Taken};
use crate::conntrack::testing::{fill, packet, packet_of, server, tuple4, tuple6, upper};
use crate::conntrack::{Config, Confirmed, Conntrack, Current, Flow, Tracked, tuple};
use crate::packet::flow::{Address, pack};
use crate::packet::{Ct, Direction, FlowId, Manip, NatRange, Packet, Status, Tuple};
use crate::wire::proto;

use std::sync::Arc;

/// Something that happens.
#[derive(Debug, Clone)]
enum Act {
    Packet(Sent),
    /// The n-th of the packets that wait is confirmed.
    Release(usize),
    Mark(usize, u32),
    Remove(usize),
    Pass(u64),
}

#[derive(Debug, Clone)]
struct Sent {
    client: u32,
    server: u32,
    port: u16,
    proto: u8,
    flags: u8,
    seq: u32,
    v6: bool,
    /// It answers what the flow is translated to, instead of going the flow's own way.
    back: bool,
    /// An ICMP error about the packet, rather than the packet.
    error: bool,
    /// The source is translated, to few ports.
    nat: bool,
    /// It waits before it is confirmed.
    waits: bool,
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let flags = prop::sample::select(&[0x02u8, 0x12, 0x10, 0x11, 0x04, 0x14][..]);
    let protos = prop::sample::select(&[proto::TCP, proto::TCP, proto::UDP, proto::ICMP, proto::GRE, 89][..]);
    let ends = (0..4u32, 0..3u32, 0..3u16, protos);
    let ways = (prop::bool::weighted(0.2), any::<bool>(), prop::bool::weighted(0.1));
    let rest = (flags, 0..3u32, any::<bool>(), prop::bool::weighted(0.1));
    let sent = (ends, ways, rest).prop_map(|((client, server, port, proto), (v6, back, error), rest)| {
        let (flags, seq, nat, waits) = rest;
        Act::Packet(Sent { client, server, port, proto, flags, seq, v6, back, error, nat, waits })
    });
    let act = prop_oneof![
        16 => sent,
        2 => any::<prop::sample::Index>().prop_map(|n| Act::Release(n.index(4))),
        1 => (0..20usize, any::<u32>()).prop_map(|(n, mark)| Act::Mark(n, mark)),
        1 => (0..20usize).prop_map(Act::Remove),
        3 => prop_oneof![Just(10u64), Just(2_500), Just(31_000)].prop_map(Act::Pass),
    ];
    proptest::collection::vec(act, 1..60)
}

/// Asks a table what NAT asks it.
struct Asks<'a>(&'a Conntrack, Instant);

impl Taken for Asks<'_> {
    fn is_taken(&self, reply: &Tuple, original: &Tuple) -> bool {
        self.0.is_taken(reply, original, self.1)
    }

    fn source_mapping(
        &self,
        source: &Tuple,
        fits: &mut dyn FnMut(&Address, u16) -> bool,
    ) -> Option<(Address, u16)> {
        self.0.source_mapping(source, self.1, fits)
    }

    fn reserved(&self, _: &Tuple, _: std::net::IpAddr, _: u16) -> bool {
        false
    }

    fn clear(&self, reply: &Tuple, new: &Flow) -> bool {
        self.0.clear(reply, new, self.1)
    }
}

/// What became of a packet, and the packet. A flow that it began is known by what it is, not by its number.
type Seen = (Result<Tracked, DropReason>, Option<Result<Confirmed, DropReason>>, Ct, Option<Flow>, Vec<u8>);

/// The packet that is sent, as the flows that are there let it be.
fn build(ct: &Conntrack, s: &Sent, now: Instant) -> Packet {
    let base = if s.v6 { tuple6(s.client, s.server) } else { tuple4(s.client, s.server) };
    let mut t = Tuple { proto: s.proto, src_port: 4000 + s.port, ..base };
    match s.proto {
        proto::ICMP if s.v6 => (t.proto, t.dst_port) = (proto::ICMPV6, 128 << 8),
        proto::ICMP => t.dst_port = 8 << 8,
        proto::TCP | proto::UDP => {}
        _ => (t.src_port, t.dst_port) = (0, 0),
    }
    if s.back {
        let known = ct.find(&t, now).map(|(_, _, flow)| flow.tuples[1]);
        t = known.or_else(|| tuple::invert(&t)).unwrap();
    }
    let p = match s.proto {
        proto::TCP => {
            let mut l4 = upper(&t, b"");
            l4[4..8].copy_from_slice(&s.seq.to_be_bytes());
            l4[8..12].copy_from_slice(&(s.seq + 1).to_be_bytes());
            l4[13] = s.flags;
            fill(&t, &mut l4, 16);
            packet(t.src(), t.dst(), t.proto, &l4)
        }
        _ => packet_of(&t),
    };
    if !s.error {
        return p;
    }
    let kind = if s.v6 { proto::ICMPV6 } else { proto::ICMP };
    let mut l4 = vec![3, 0, 0, 0, 0, 0, 0, 0];
    l4.extend(p.data());
    let router = if s.v6 { "fd00::99".parse().unwrap() } else { server(99) };
    let about = Tuple { proto: kind, src: pack(router), dst: t.src, src_port: 0, dst_port: 0, v6: s.v6 };
    fill(&about, &mut l4, 2);
    packet(router, t.src(), kind, &l4)
}

/// Both stages with NAT between them, as the path goes through them.
fn walk(ct: &Conntrack, mut p: Packet, s: &Sent, now: Instant) -> (Seen, Option<(Packet, Current)>) {
    let mut current = None;
    let tracked = ct.track(&mut p, Hook::Prerouting, now, &mut current);
    let told = |confirmed, current: Option<Current>, p: &Packet| -> Seen {
        let begun = matches!(confirmed, Some(Ok(Confirmed::Inserted)));
        let number = p.meta.ct.flow.filter(|_| !begun);
        (tracked, confirmed, Ct { flow: number, ..p.meta.ct }, current.map(|c| c.flow), p.data().to_vec())
    };
    let Some(mut it) = current else { return (told(None, None, &p), None) };
    if it.id.is_none() {
        let pool = if s.v6 { "2001:db8:9::1" } else { "192.0.2.1" }.parse().unwrap();
        let range = NatRange { addr: Some((pool, pool)), port: Some((5000, 5002)), ..NatRange::default() };
        let range = if s.nat { range } else { NatRange::default() };
        let mut n = 0;
        let mut random = || {
            n += 1;
            n
        };
        if nat::setup(&mut it.flow, &range, Manip::Src, &Asks(ct, now), &mut random).is_err() {
            return (told(Some(Err(DropReason::NatExhausted)), Some(it), &p), None);
        }
        if s.waits {
            return (told(None, Some(it), &p), Some((p, it)));
        }
    }
    if tracked != Ok(Tracked::Related) {
        let dir = p.meta.ct.dir;
        nat::translate(&mut p, &it.flow, dir, Manip::Src).unwrap();
    }
    let confirmed = ct.confirm(&mut p, &mut it, now);
    (told(Some(confirmed), Some(it), &p), None)
}

/// Everything a table holds.
fn whole(ct: &Conntrack) -> String {
    let slots: Vec<_> = (0..ct.slab.reach()).map(|at| format!("{:?}", ct.slab.slot(at))).collect();
    let rest = (&ct.index, &ct.sources, &ct.wheels, ct.len(), ct.stats());
    format!("{slots:?} {rest:?}")
}

/// The flows of a table, by what they are.
fn listed(ct: &Conntrack, now: Instant) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    ct.each(now, &mut |_, flow| assert!(all.insert(format!("{flow:?}"))));
    let mut paged = BTreeSet::new();
    let mut next = Some(0);
    while let Some(from) = next {
        next = ct.page(from, now, &mut |flow| assert!(paged.insert(format!("{flow:?}"))));
    }
    assert_eq!(all, paged);
    all
}

/// What can be seen of a table: its flows before and after they are looked for, and what is found.
type View = (usize, [BTreeSet<String>; 2], Vec<Option<(Direction, Flow)>>);

fn view(ct: &Conntrack, tuples: &BTreeSet<[u8; 38]>, now: Instant) -> View {
    let first = listed(ct, now);
    let find = |t: &[u8; 38]| {
        let (id, dir, flow) = ct.find(&unkey(t), now)?;
        assert_eq!(ct.get(id), Some(flow));
        Some((dir, flow))
    };
    let found = tuples.iter().map(find).collect();
    (ct.len(), [first, listed(ct, now)], found)
}

fn key(t: &Tuple) -> [u8; 38] {
    let mut key = [0; 38];
    key[..16].copy_from_slice(&t.src);
    key[16..32].copy_from_slice(&t.dst);
    key[32..34].copy_from_slice(&t.src_port.to_be_bytes());
    key[34..36].copy_from_slice(&t.dst_port.to_be_bytes());
    (key[36], key[37]) = (t.proto, u8::from(t.v6));
    key
}

fn unkey(key: &[u8; 38]) -> Tuple {
    let port = |at: usize| u16::from_be_bytes([key[at], key[at + 1]]);
    let (src, dst) = (key[..16].try_into().unwrap(), key[16..32].try_into().unwrap());
    Tuple { src, dst, src_port: port(32), dst_port: port(34), proto: key[36], v6: key[37] != 0 }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]
    #[test]
    fn the_shadow_tells_what_becomes_of_a_packet_and_leaves_no_trace(
        acts in acts(), max in prop::sample::select(&[3u32, 6, 200][..]), renewed in any::<bool>(),
    ) {
        let ct = Arc::new(Conntrack::new(Config { max, ..Config::default() }, 9));
        let mut kept = Conntrack::shadow_of(&ct);
        let mut now = Instant::from_secs(10);
        let mut waiting: Vec<(Packet, Current)> = Vec::new();
        let mut tuples = BTreeSet::new();
        for act in acts {
            let ids: Vec<FlowId> = {
                let mut ids = Vec::new();
                ct.each(now, &mut |id, _| ids.push(id));
                ids
            };
            if !renewed || !kept.renew() {
                kept = Conntrack::shadow_of(&ct);
            }
            let shadow = &kept;
            let before = whole(&ct);
            let expected;
            match act {
                Act::Packet(s) => {
                    let p = build(&ct, &s, now);
                    tuples.extend(tuple::of(&p).iter().map(key));
                    let foreseen = walk(shadow, p.clone(), &s, now);
                    tuples.extend(foreseen.0.3.iter().flat_map(|flow| flow.tuples.iter().map(key)));
                    expected = view(shadow, &tuples, now);
                    prop_assert_eq!(&before, &whole(&ct));
                    let (seen, held) = walk(&ct, p, &s, now);
                    prop_assert_eq!(&foreseen.0, &seen);
                    waiting.extend(held);
                }
                Act::Release(n) if n < waiting.len() => {
                    let (p, current) = waiting.remove(n);
                    let go = |ct: &Conntrack| {
                        let (mut p, mut current) = (p.clone(), current);
                        let done = ct.confirm(&mut p, &mut current, now);
                        (done, current.flow, p.meta.ct.dir)
                    };
                    let foreseen = go(shadow);
                    expected = view(shadow, &tuples, now);
                    prop_assert_eq!(&before, &whole(&ct));
                    prop_assert_eq!(foreseen, go(&ct));
                }
                Act::Mark(n, mark) if n < ids.len() => {
                    shadow.set_mark(ids[n], mark);
                    expected = view(shadow, &tuples, now);
                    prop_assert_eq!(&before, &whole(&ct));
                    ct.set_mark(ids[n], mark);
                }
                Act::Remove(n) if n < ids.len() => {
                    prop_assert!(shadow.remove(ids[n]) && !shadow.remove(ids[n]));
                    prop_assert_eq!(shadow.get(ids[n]), None);
                    expected = view(shadow, &tuples, now);
                    prop_assert_eq!(&before, &whole(&ct));
                    ct.remove(ids[n]);
                }
                Act::Pass(millis) => {
                    now += Duration::from_millis(millis);
                    // What is past its deadline is freed sooner or later.
                    if millis == 2_500 {
                        ct.timeout(now);
                    }
                    continue;
                }
                _ => continue,
            }
            prop_assert_eq!(expected, view(&ct, &tuples, now));
        }
    }
}

#[test]
fn what_ended_in_the_shadow_is_there_again_when_it_is_renewed() {
    let ct = Arc::new(Conntrack::new(Config { max: 16, ..Config::default() }, 9));
    let flow = crate::conntrack::testing::udp_flow(1, 2);
    crate::conntrack::testing::insert(&ct, &flow);
    let (id, dir, _) = ct.find(&flow.tuples[1], Instant::ZERO).unwrap();
    assert_eq!(dir, Direction::Reply);
    let shadow = Conntrack::shadow_of(&ct);
    assert_eq!(shadow.get(id), Some(flow), "by its number");
    shadow.update(id, |f| f.status.set(Status::ASSURED));
    assert!(shadow.get(id).unwrap().status.has(Status::ASSURED));
    assert_eq!(shadow.remove_where(Instant::ZERO, &|_| true), 1);
    assert_eq!((shadow.find(&flow.tuples[0], Instant::ZERO), shadow.len()), (None, 0));
    assert_eq!((shadow.poll_timeout(), shadow.timeout(Instant::from_secs(60))), (Instant::FAR_FUTURE, 0));
    assert!(shadow.renew());
    assert_eq!(shadow.find(&flow.tuples[0], Instant::ZERO), Some((id, Direction::Original, flow)));
    assert_eq!((shadow.len(), ct.len(), ct.get(id)), (1, 1, Some(flow)));
    let early = Conntrack::shadow_of(&Arc::new(Conntrack::new(Config::default(), 1)));
    assert!(early.renew(), "the other is as small as it was");
    assert!(!ct.renew() && ct.len() == 1, "a table that is no shadow stays as it is");
}
