//! Errors about translated packets: what they quote is what was sent, or they go no further.

use proptest::prelude::*;

use super::*;
use crate::conntrack::nat::tests::make::{Look, Sum, flows, leaving, looks, packet, seen, sound, under};
use crate::conntrack::nat::tests::{begin, end, tuple, turned};
use crate::conntrack::nat::translate::translate;
use crate::packet::flow::pack;
use crate::packet::{Meta, Tuple};

/// An error about the packet whose bytes are quoted, from a router on the way.
fn error(kind: u8, quote: &[u8], v6: bool, options: bool, sum: Sum) -> Packet {
    let router = if v6 { end("[fd99::99]:0").0 } else { end("203.0.113.9:0").0 };
    let icmp = if v6 { proto::ICMPV6 } else { proto::ICMP };
    let src = match v6 {
        true => pack(std::net::IpAddr::from(*quote[8..].first_chunk::<16>().unwrap())),
        false => pack(std::net::IpAddr::from(*quote[12..].first_chunk::<4>().unwrap())),
    };
    let t = Tuple { src: pack(router), dst: src, src_port: 0, dst_port: 0, proto: icmp, v6 };
    let mut message = [&[kind, 1, 0, 0, 0, 0, 5, 0], quote].concat();
    let pseudo = if v6 { checksum::pseudo(t.src(), t.dst(), icmp, message.len() as u32).unwrap() } else { 0 };
    let begun = matches!(sum, Sum::Begun | Sum::Super(_));
    let csum = if begun { checksum::fold(pseudo) } else { !checksum::fold(pseudo + checksum::sum(&message)) };
    message[2..4].copy_from_slice(&csum.to_be_bytes());
    let (l3, at) = under(&t, options, &message);
    let mut p = Packet::from_slice(&l3);
    (p.meta.l4, p.meta.proto) = (at as u16, icmp);
    p.meta.net = if v6 { Net::Ipv6 } else { Net::Ipv4 };
    p.meta.offload.csum = match sum {
        Sum::Verified => Csum::Verified,
        _ if begun => Csum::Partial { start: at as u16, field: 2 },
        _ => Csum::Wire,
    };
    p
}

fn pass(p: &mut Packet, flow: &Flow, dir: Direction) -> Result<[bool; 2], DropReason> {
    Ok([translate_error(p, flow, dir, Manip::Dst)?, translate_error(p, flow, dir, Manip::Src)?])
}

fn plain() -> Look {
    Look { payload: b"hello".to_vec(), sum: Sum::Wire, options: false, broken: false }
}

/// A flow whose source is translated, and one of its packets as it was outside.
fn masqueraded() -> (Flow, Packet) {
    let mut flow = begin(tuple(proto::UDP, "10.0.0.2:4000", "198.51.100.7:53"));
    flow.tuples[1] = turned(&tuple(proto::UDP, "192.0.2.1:61000", "198.51.100.7:53"));
    flow.status = Status(Status::SRC_NAT.0 | Status::SRC_NAT_DONE.0 | Status::DST_NAT_DONE.0);
    let outside = packet(&leaving(&flow, Direction::Original), &plain());
    (flow, outside)
}

#[test]
fn from_outside() {
    let (flow, outside) = masqueraded();
    let mut p = error(icmpv4::TIME_EXCEEDED, outside.l3(), false, false, Sum::Wire);
    assert_eq!(pass(&mut p, &flow, Direction::Reply), Ok([true, false]));
    let outer = seen(p.l3());
    assert_eq!((outer.src(), outer.dst()), (end("203.0.113.9:0").0, end("10.0.0.2:0").0));
    assert_eq!(&p.l4()[8..], packet(&flow.tuples[0], &plain()).l3(), "the client gets back what it sent");
    assert!(sound(&p));
}

#[test]
fn a_wrong_checksum_goes_no_further() {
    let (flow, outside) = masqueraded();
    for dir in Direction::ALL {
        let mut p = error(icmpv4::TIME_EXCEEDED, outside.l3(), false, false, Sum::Wire);
        p.l4_mut()[20] ^= 4;
        assert_eq!(translate_error(&mut p, &flow, dir, Manip::Dst), Err(DropReason::NatFailed));
        p.meta.offload.csum = Csum::Verified;
        assert!(translate_error(&mut p, &flow, dir, Manip::Dst).is_ok(), "known to be right");
    }
}

#[test]
fn redirects_only_where_nothing_is_translated() {
    let (mut flow, outside) = masqueraded();
    let redirect = |flow: &Flow| {
        let mut p = error(icmpv4::REDIRECT, outside.l3(), false, false, Sum::Wire);
        pass(&mut p, flow, Direction::Reply)
    };
    assert_eq!(redirect(&flow), Err(DropReason::NatFailed));
    flow.status = Status(Status::SRC_NAT_DONE.0 | Status::DST_NAT_DONE.0);
    assert_eq!(redirect(&flow), Ok([false, false]));
    flow.status = Status::DST_NAT_DONE;
    assert_eq!(redirect(&flow), Err(DropReason::NatFailed), "not decided yet");
}

#[test]
fn what_quotes_too_little_is_refused() {
    let (flow, outside) = masqueraded();
    for len in 20..28 {
        let mut p = error(icmpv4::TIME_EXCEEDED, &outside.l3()[..len], false, false, Sum::Wire);
        assert_eq!(translate_error(&mut p, &flow, Direction::Reply, Manip::Dst), Err(DropReason::NatFailed));
    }
    let mut p = error(icmpv4::TIME_EXCEEDED, &outside.l3()[..28], false, false, Sum::Wire);
    assert_eq!(translate_error(&mut p, &flow, Direction::Reply, Manip::Dst), Ok(true));
    // Not what the flow's packets are, though conntrack said so.
    for (at, byte) in [(0, 0x65), (0, 0x41), (0, 0x4f), (9, proto::TCP)] {
        let mut quote = outside.l3().to_vec();
        quote[at] = byte;
        let mut p = error(icmpv4::TIME_EXCEEDED, &quote, false, false, Sum::Wire);
        assert_eq!(translate_error(&mut p, &flow, Direction::Reply, Manip::Dst), Err(DropReason::NatFailed));
    }
}

#[test]
fn what_is_no_error_of_the_flows_family_is_refused() {
    let (flow, outside) = masqueraded();
    let mut p = error(icmpv4::TIME_EXCEEDED, outside.l3(), false, false, Sum::Wire);
    p.meta.net = Net::Ipv6;
    assert!(translate_error(&mut p, &flow, Direction::Reply, Manip::Dst).is_err());
    p.meta.net = Net::Ipv4;
    p.meta.proto = proto::UDP;
    assert!(translate_error(&mut p, &flow, Direction::Reply, Manip::Dst).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// Whoever sent the packet that an error is about gets it back as it was sent, as much of it as is quoted; the
    /// error itself comes from and goes to the addresses the flow has on that side.
    #[test]
    fn the_quote_is_what_was_sent(
        flow in flows(), look in looks(), reply: bool, cut in 8usize..400, options: bool, sum in looks(),
    ) {
        let dir = if reply { Direction::Reply } else { Direction::Original };
        // A quote has been on a wire.
        let look = Look { sum: if look.sum == Sum::None { Sum::None } else { Sum::Wire }, ..look };
        let sent = packet(flow.tuple(dir), &look);
        let mut out = sent.clone();
        for manip in [Manip::Dst, Manip::Src] {
            translate(&mut out, &flow, dir, manip).unwrap();
        }
        let headers = usize::from(out.meta.l4);
        let mut cut = (headers + cut).min(out.l3().len());
        // A checksum that is not all there can't be mended; that of SCTP needs the rest too (as Linux).
        match flow.tuples[0].proto {
            proto::TCP if (headers + 16..headers + 20).contains(&cut) => cut = headers + 16,
            proto::SCTP if cut < out.l3().len() => cut = headers + 8,
            _ => {}
        }

        let v6 = flow.tuples[0].v6;
        let kind = if v6 { icmpv6::TOO_BIG } else { icmpv4::UNREACHABLE };
        let came = error(kind, &out.l3()[..cut], v6, options, sum.sum);
        prop_assert!(sound(&came));
        let mut p = came.clone();
        let back = dir.turned();
        let ends = pass(&mut p, &flow, back).unwrap();
        let (dst, src) = (flow.status.has(Status::DST_NAT), flow.status.has(Status::SRC_NAT));
        prop_assert_eq!(ends, if reply { [dst, src] } else { [src, dst] });

        prop_assert_eq!(&p.l4()[8..], &sent.l3()[..cut]);
        prop_assert!(sound(&p));
        let (before, after, leaves) = (seen(came.l3()), seen(p.l3()), leaving(&flow, back));
        prop_assert_eq!(after.dst, if ends[0] { leaves.dst } else { before.dst });
        prop_assert_eq!(after.src, if ends[1] { leaves.src } else { before.src });
        prop_assert_eq!(&p.l4()[4..8], &came.l4()[4..8], "the MTU");
        prop_assert_eq!(p.meta, came.meta);
    }

    #[test]
    fn no_bytes_do_harm(
        flow in flows(), bytes in proptest::collection::vec(any::<u8>(), 0..160), l4 in 0u16..80, v6: bool, reply: bool,
        as_flow: bool,
    ) {
        let mut p = Packet::from_slice(&bytes);
        let v6 = if as_flow { flow.tuples[0].v6 } else { v6 };
        let (net, icmp) = if v6 { (Net::Ipv6, proto::ICMPV6) } else { (Net::Ipv4, proto::ICMP) };
        p.meta = Meta { l4, proto: icmp, net, ..Meta::default() };
        p.meta.offload.csum = Csum::Verified;
        if as_flow {
            let version = if v6 { 0x60 } else { 0x45 };
            let quote = usize::from(l4) + 8;
            for (at, byte) in [(0, version), (quote, version), (quote + if v6 { 6 } else { 9 }, flow.tuples[0].proto)] {
                if let Some(b) = p.l3_mut().get_mut(at) {
                    *b = byte;
                }
            }
        }
        let len = p.len();
        let _ = pass(&mut p, &flow, if reply { Direction::Reply } else { Direction::Original });
        prop_assert_eq!(p.len(), len);
    }
}
