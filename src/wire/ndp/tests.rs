//! Messages both ways, and what RFC 4861 refuses.

use proptest::prelude::*;

use super::*;
use crate::wire::icmpv6::Icmpv6;

const LL: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
const US: Ipv6Addr = Ipv6Addr::new(0xfd01, 0, 0, 0, 0, 0, 0x12, 0x3456);
const THEM: Ipv6Addr = Ipv6Addr::new(0xfd01, 0, 0, 0, 0, 0, 0, 2);
const NONE: Ipv6Addr = Ipv6Addr::UNSPECIFIED;
const ALL: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
const MAC: Mac = Mac([2, 0, 0, 0, 1, 1]);

#[test]
fn solicited_node_groups() {
    let group = solicited_node(US);
    assert_eq!(group, "ff02::1:ff12:3456".parse::<Ipv6Addr>().unwrap());
    assert!(is_solicited_node(group) && !is_solicited_node(US) && !is_solicited_node(ALL));
}

#[test]
fn solicitation_both_ways() {
    let ns = NeighborSolicit { target: US, source_mac: Some(MAC), nonce: None };
    let mut b = [0xee; 40];
    assert_eq!(ns.emit(THEM, solicited_node(US), &mut b), Some(32));
    assert_eq!(b[..2], [135, 0]);
    assert_eq!(b[4..8], [0; 4]);
    assert_eq!(b[24..32], [1, 1, 2, 0, 0, 0, 1, 1]);
    assert!(Icmpv6::new(&b[..32]).unwrap().verify_checksum(THEM, solicited_node(US)));
    assert_eq!(parse(THEM, solicited_node(US), &b[..32]), Ok(Message::NeighborSolicit(ns)));
    let probe = NeighborSolicit { target: US, source_mac: None, nonce: Some([1, 2, 3, 4, 5, 6]) };
    assert_eq!(probe.emit(NONE, solicited_node(US), &mut b), Some(32));
    assert_eq!(b[24..32], [14, 1, 1, 2, 3, 4, 5, 6]);
    assert_eq!(parse(NONE, solicited_node(US), &b[..32]), Ok(Message::NeighborSolicit(probe)));
    assert_eq!(probe.emit(NONE, solicited_node(US), &mut b[..31]), None);
}

#[test]
fn advertisement_both_ways() {
    let mut b = [0xee; 40];
    for bits in 0..8 {
        let na = NeighborAdvert {
            target: US,
            router: bits & 4 != 0,
            solicited: bits & 2 != 0,
            override_: bits & 1 != 0,
            target_mac: (bits != 0).then_some(MAC),
        };
        let n = na.emit(US, THEM, &mut b).unwrap();
        assert_eq!(b[4], bits << 5);
        assert!(Icmpv6::new(&b[..n]).unwrap().verify_checksum(US, THEM));
        assert_eq!(parse(US, THEM, &b[..n]), Ok(Message::NeighborAdvert(na)));
    }
}

#[test]
fn redirect_quotes_what_fits() {
    let packet = [0x60; 1500];
    let mut b = [0; 1500];
    let full = Redirect { target: LL, destination: THEM, target_mac: Some(MAC), redirected: &packet };
    let n = full.emit(LL, THEM, &mut b).unwrap();
    assert_eq!(n + 40, 1280);
    let Ok(Message::Redirect(r)) = parse(LL, THEM, &b[..n]) else { panic!("not parsed") };
    assert_eq!((r.target, r.destination, r.target_mac), (LL, THEM, Some(MAC)));
    assert_eq!(r.redirected, &packet[..1280 - 40 - 40 - 8 - 8]);
    assert!(Icmpv6::new(&b[..n]).unwrap().verify_checksum(LL, THEM));

    let short = Redirect { redirected: &packet[..45], target_mac: None, ..full };
    let n = short.emit(LL, THEM, &mut b).unwrap();
    let Ok(Message::Redirect(r)) = parse(LL, THEM, &b[..n]) else { panic!("not parsed") };
    assert_eq!((n, r.redirected.len()), (40 + 8 + 40, 40));
}

#[test]
fn router_messages() {
    let ra = [
        134, 0, 0, 0, 64, 0xc0, 0x07, 0x08, 0, 0, 0x75, 0x30, 0, 0, 3, 0xe8, //
        5, 1, 0, 0, 0, 0, 5, 0xdc, 1, 1, 2, 0, 0, 0, 1, 1, //
        3, 4, 64, 0xc0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, // a prefix, skipped
        0xfd, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    ];
    let expected = RouterAdvert {
        hop_limit: 64,
        managed: true,
        other: true,
        lifetime: 1800,
        reachable_ms: 30_000,
        retrans_ms: 1000,
        source_mac: Some(MAC),
        mtu: Some(1500),
    };
    assert_eq!(parse(LL, ALL, &ra), Ok(Message::RouterAdvert(expected)));
    assert_eq!(parse(US, ALL, &ra), Err(NdpError::Source), "routers speak from link-local addresses");
    let rs = [133, 0, 0, 0, 0, 0, 0, 0, 1, 1, 2, 0, 0, 0, 1, 1];
    assert_eq!(parse(LL, ALL, &rs), Ok(Message::RouterSolicit { source_mac: Some(MAC) }));
    assert_eq!(parse(NONE, ALL, &rs), Err(NdpError::SourceMac));
    assert_eq!(parse(NONE, ALL, &rs[..8]), Ok(Message::RouterSolicit { source_mac: None }));
}

#[test]
fn what_rfc_4861_refuses() {
    let mut b = [0; 64];
    let n =
        NeighborSolicit { target: US, source_mac: Some(MAC), nonce: None }.emit(THEM, US, &mut b).unwrap();
    let group = solicited_node(US);
    let with = |changes: &[(usize, u8)]| {
        let mut b = b[..n].to_vec();
        for (at, byte) in changes {
            b[*at] = *byte;
        }
        b
    };
    assert!(parse(THEM, US, &with(&[])).is_ok());
    assert_eq!(parse(THEM, US, &with(&[(1, 1)])), Err(NdpError::Code(1)));
    assert_eq!(parse(THEM, US, &with(&[(0, 128)])), Err(NdpError::Kind(128)));
    assert_eq!(parse(THEM, US, &b[..23]), Err(NdpError::Short));
    assert_eq!(parse(THEM, US, &with(&[(8, 0xff)])), Err(NdpError::Target));
    assert_eq!(parse(THEM, US, &with(&[(25, 0)])), Err(NdpError::Option), "an option of no length");
    assert_eq!(parse(THEM, US, &with(&[(25, 2)])), Err(NdpError::Option), "an option beyond the end");
    assert_eq!(parse(THEM, US, &b[..n - 1]), Err(NdpError::Option));
    assert_eq!(parse(THEM, US, &b[..25]), Err(NdpError::Option));
    assert_eq!(parse(NONE, group, &b[..n]), Err(NdpError::SourceMac));
    assert_eq!(parse(NONE, US, &b[..24]), Err(NdpError::Destination));
    assert!(parse(NONE, group, &b[..24]).is_ok());
    let nonce = with(&[(24, 14)]);
    assert_eq!(
        parse(THEM, US, &nonce),
        Ok(Message::NeighborSolicit(NeighborSolicit { target: US, source_mac: None, nonce: Some(MAC.0) }))
    );
    let long_mac = [&b[..24], &[1, 2], &[0; 14]].concat();
    assert_eq!(parse(THEM, US, &long_mac), Err(NdpError::Option));

    let solicited =
        NeighborAdvert { target: US, router: true, solicited: true, override_: true, target_mac: Some(MAC) };
    let n = solicited.emit(US, ALL, &mut b).unwrap();
    assert_eq!(parse(US, ALL, &b[..n]), Err(NdpError::Destination));

    let redirect = Redirect { target: US, destination: THEM, target_mac: None, redirected: &[] };
    let n = redirect.emit(LL, THEM, &mut b).unwrap();
    assert_eq!(parse(LL, THEM, &b[..n]), Err(NdpError::Target));
    let n = Redirect { target: THEM, ..redirect }.emit(LL, THEM, &mut b).unwrap();
    assert!(parse(LL, THEM, &b[..n]).is_ok(), "on the link");
    assert_eq!(parse(US, THEM, &b[..n]), Err(NdpError::Source));
    let n = Redirect { target: ALL, destination: ALL, ..redirect }.emit(LL, THEM, &mut b).unwrap();
    assert_eq!(parse(LL, THEM, &b[..n]), Err(NdpError::Destination));
}

proptest! {
    #[test]
    fn any_bytes(kind in 130u8..140, src in any::<u128>(), dst in any::<u128>(),
                 rest in proptest::collection::vec(prop_oneof![Just(0u8), Just(1), Just(2), any::<u8>()], 0..120)) {
        let message = [&[kind, 0][..], &rest].concat();
        let _ = parse(src.into(), dst.into(), &message);
        let _ = parse(LL, ALL, &message);
    }
}
