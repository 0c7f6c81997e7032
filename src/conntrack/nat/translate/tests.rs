//! Packets of every kind there and back; what is cut short or of something else.

use proptest::prelude::*;

use super::*;
use crate::conntrack::nat::tests::make::{
    Look, Sum, flows, leaving, looks, packet, seen, sound, undoing, visible,
};
use crate::conntrack::nat::tests::{begin, tuple, turned};
use crate::packet::{Meta, Net, Status};

fn plain(sum: Sum) -> Look {
    Look { payload: b"hello".to_vec(), sum, options: false, broken: false }
}

/// What the two hooks on a packet's way do to it, in their order.
fn pass(p: &mut Packet, flow: &Flow, dir: Direction) -> Result<[bool; 2], DropReason> {
    Ok([translate(p, flow, dir, Manip::Dst)?, translate(p, flow, dir, Manip::Src)?])
}

#[test]
fn only_the_end_that_is_translated() {
    let mut flow = begin(tuple(proto::UDP, "10.0.0.2:4000", "198.51.100.7:53"));
    flow.tuples[1] = turned(&tuple(proto::UDP, "192.0.2.1:61000", "198.51.100.7:53"));
    let original = packet(&flow.tuples[0], &plain(Sum::Wire));

    let mut p = original.clone();
    assert_eq!(
        pass(&mut p, &flow, Direction::Original),
        Ok([false, false]),
        "the status says so, not the tuples"
    );
    assert_eq!(p.data(), original.data());

    flow.status.set(Status::SRC_NAT);
    assert_eq!(pass(&mut p, &flow, Direction::Original), Ok([false, true]));
    assert_eq!(seen(p.l3()), tuple(proto::UDP, "192.0.2.1:61000", "198.51.100.7:53"));
    assert!(sound(&p));

    let mut answer = packet(&flow.tuples[1], &plain(Sum::Wire));
    assert_eq!(pass(&mut answer, &flow, Direction::Reply), Ok([true, false]));
    assert_eq!(seen(answer.l3()), tuple(proto::UDP, "198.51.100.7:53", "10.0.0.2:4000"));
    assert!(sound(&answer));
}

#[test]
fn udp_without_a_checksum_gets_none() {
    let mut flow = begin(tuple(proto::UDP, "10.0.0.2:4000", "198.51.100.7:53"));
    flow.tuples[1] = turned(&tuple(proto::UDP, "192.0.2.1:61000", "198.51.100.7:53"));
    flow.status.set(Status::SRC_NAT);
    let mut p = packet(&flow.tuples[0], &plain(Sum::None));
    assert_eq!(translate(&mut p, &flow, Direction::Original, Manip::Src), Ok(true));
    assert_eq!(p.l4()[6..8], [0, 0]);
}

#[test]
fn a_tunnel_whose_inner_checksum_is_begun() {
    // VXLAN as Linux offloads it: the outer checksum is whole, the inner one begins behind 8 + 8 + 14 + 20 bytes.
    let mut flow = begin(tuple(proto::UDP, "10.0.0.2:4000", "198.51.100.7:4789"));
    flow.tuples[1] = turned(&tuple(proto::UDP, "192.0.2.1:61000", "198.51.100.7:4789"));
    flow.status.set(Status::SRC_NAT);
    let mut p = packet(&flow.tuples[0], &Look { payload: vec![7; 80], ..plain(Sum::Wire) });
    p.meta.offload.csum = Csum::Partial { start: p.meta.l4 + 50, field: 16 };
    assert_eq!(translate(&mut p, &flow, Direction::Original, Manip::Src), Ok(true));
    p.meta.offload.csum = Csum::Wire;
    assert!(sound(&p));
}

#[test]
fn what_is_cut_short_is_refused() {
    for (proto, need) in [
        (proto::TCP, 8),
        (proto::UDP, 8),
        (proto::UDP_LITE, 8),
        (proto::SCTP, 8),
        (proto::ICMP, 8),
        (proto::GRE, 8),
        (proto::ESP, 0),
    ] {
        let mut flow = begin(tuple(proto, "10.0.0.2:4000", "198.51.100.7:53"));
        flow.tuples[1] = turned(&tuple(proto, "192.0.2.1:61000", "198.51.100.7:53"));
        flow.status.set(Status::SRC_NAT);
        let whole = packet(&flow.tuples[0], &plain(Sum::Wire));
        for len in 0..whole.l4().len() {
            let mut p = whole.clone();
            p.truncate(14 + 20 + len);
            let expect = if len < need { Err(DropReason::NatFailed) } else { Ok(true) };
            assert_eq!(
                translate(&mut p, &flow, Direction::Original, Manip::Src),
                expect,
                "{proto}: {len} bytes"
            );
        }
        for len in 0..20 {
            let mut p = whole.clone();
            p.truncate(14 + len);
            p.meta.l4 = 0;
            assert!(
                translate(&mut p, &flow, Direction::Original, Manip::Src).is_err(),
                "header of {len} bytes"
            );
        }
    }
}

#[test]
fn a_packet_of_something_else_is_refused() {
    let mut flow = begin(tuple(proto::UDP, "10.0.0.2:4000", "198.51.100.7:53"));
    flow.status.set(Status::SRC_NAT);
    for other in [
        tuple(proto::TCP, "10.0.0.2:4000", "198.51.100.7:53"),
        tuple(proto::UDP, "[fd00::2]:4000", "[fd00::7]:53"),
    ] {
        let mut p = packet(&other, &plain(Sum::Wire));
        assert_eq!(translate(&mut p, &flow, Direction::Original, Manip::Src), Err(DropReason::NatFailed));
    }
    // GRE of a version that nobody knows.
    let mut flow = begin(tuple(proto::GRE, "10.0.0.2:0", "198.51.100.7:53"));
    flow.status.set(Status::DST_NAT);
    let mut p = packet(&flow.tuples[0], &plain(Sum::Wire));
    p.l4_mut()[1] = 0x82;
    assert_eq!(translate(&mut p, &flow, Direction::Original, Manip::Dst), Err(DropReason::NatFailed));
}

#[test]
fn a_later_fragment_has_addresses_only() {
    let mut flow = begin(tuple(proto::UDP, "10.0.0.2:4000", "198.51.100.7:53"));
    flow.tuples[1] = turned(&tuple(proto::UDP, "192.0.2.1:61000", "198.51.100.7:53"));
    flow.status.set(Status::SRC_NAT);
    let mut p = packet(&flow.tuples[0], &plain(Sum::Wire));
    let l4 = p.l4().to_vec();
    p.meta.l4 = 0;
    assert_eq!(translate(&mut p, &flow, Direction::Original, Manip::Src), Ok(true));
    assert_eq!(&p.l3()[20..], &l4);
    assert_eq!(seen(p.l3()).src, tuple(proto::UDP, "192.0.2.1:1", "1.1.1.1:1").src);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// Either direction leaves as the inverse of the other, with right checksums; undone, every byte is as it was.
    #[test]
    fn there_and_back(flow in flows(), look in looks(), reply: bool) {
        let dir = if reply { Direction::Reply } else { Direction::Original };
        let came = packet(flow.tuple(dir), &look);
        prop_assert_eq!(seen(came.l3()), visible(flow.tuple(dir)));
        prop_assert!(look.broken || sound(&came));

        let mut p = came.clone();
        let ends = pass(&mut p, &flow, dir).unwrap();
        let (dst, src) = (flow.status.has(Status::DST_NAT), flow.status.has(Status::SRC_NAT));
        prop_assert_eq!(ends, if reply { [src, dst] } else { [dst, src] });
        prop_assert_eq!(seen(p.l3()), visible(&leaving(&flow, dir)));
        prop_assert_eq!(sound(&p), sound(&came), "what was broken stays so, and nothing else is");
        prop_assert_eq!(p.meta, came.meta);
        prop_assert_eq!(&p.data()[..14], &came.data()[..14]);

        let mut back = p.clone();
        pass(&mut back, &undoing(&flow), dir).unwrap();
        prop_assert_eq!(back.data(), came.data());
    }

    #[test]
    fn no_bytes_do_harm(
        flow in flows(), bytes in proptest::collection::vec(any::<u8>(), 0..120), l3 in 0u16..30, l4 in 0u16..100,
        begun: bool, reply: bool, as_flow: bool,
    ) {
        let mut p = Packet::from_slice(&bytes);
        let proto = if as_flow { flow.tuples[0].proto } else { 6 };
        p.meta = Meta { l3, l4, proto, net: Net::Ipv4, ..Meta::default() };
        if as_flow && let Some(first) = p.l3_mut().first_mut() {
            *first = if flow.tuples[0].v6 { 0x60 } else { 0x45 };
        }
        if begun {
            p.meta.offload.csum = Csum::Partial { start: l4, field: 2 };
        }
        let len = p.len();
        let _ = pass(&mut p, &flow, if reply { Direction::Reply } else { Direction::Original });
        prop_assert_eq!(p.len(), len);
    }
}
