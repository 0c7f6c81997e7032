//! The first look at a frame: whom it is for, what it is, whether its headers hold together.

use sekisho::base::{Column, DropReason, Mac};
use sekisho::wire::{icmpv6, proto};

use crate::basics::{udp4, udp6};
use crate::make::*;
use crate::net::*;

/// A frame that goes nowhere, and about which nobody is told.
#[track_caller]
fn refused(frame: &[u8], reason: DropReason) {
    let mut b = Bench::acquainted();
    b.receive(LAN, frame);
    b.silent();
    b.dropped(reason);
    assert_eq!(b.totals().dropped(Column::Received, reason), 1);
    assert_eq!(b.totals().links[LAN.index()].rx_dropped, 1);
}

/// A packet of the client's that leaves as `want`, but for TTL and checksum.
#[track_caller]
fn passes(frame: &[u8], want: &[u8]) {
    let mut b = Bench::acquainted();
    b.receive(LAN, frame);
    let p = b.one(WAN);
    let skip = if want[0] >> 4 == 6 { 8 } else { 12 };
    assert_eq!(p.l3()[skip..], want[skip..]);
    assert_eq!(p.l3().len(), want.len());
    b.balanced();
}

#[test]
fn frames_cut_short() {
    let whole = frame(LAN_MAC, CLIENT_MAC, &udp4(64, b"x"));
    for n in [0, 1, 6, 13] {
        refused(&whole[..n], DropReason::FrameTooShort);
    }
    refused(&whole[..14], DropReason::Ip4TooShort);
    refused(&whole[..33], DropReason::Ip4TooShort);
    refused(&whole[..34], DropReason::Ip4Truncated);
    let whole = frame(LAN_MAC, CLIENT_MAC, &udp6(64, b"x"));
    refused(&whole[..14], DropReason::Ip6TooShort);
    refused(&whole[..53], DropReason::Ip6TooShort);
    refused(&whole[..60], DropReason::Ip6Truncated);
}

#[test]
fn addressed_to_others_or_from_a_group() {
    let l3 = udp4(64, b"x");
    refused(&frame(Mac([2, 0, 0, 0, 9, 9]), CLIENT_MAC, &l3), DropReason::OtherHost);
    refused(&frame(WAN_MAC, CLIENT_MAC, &l3), DropReason::OtherHost);
    refused(&frame(LAN_MAC, Mac([1, 0, 0x5e, 0, 0, 1]), &l3), DropReason::EthBadSource);
    refused(&frame(LAN_MAC, Mac::BROADCAST, &l3), DropReason::EthBadSource);
    // Even when it is nobody's business here.
    refused(&frame(WAN_MAC, Mac::BROADCAST, &l3), DropReason::EthBadSource);
}

#[test]
fn protocols_that_are_not_routed() {
    let mut f = frame(LAN_MAC, CLIENT_MAC, &udp4(64, b"x"));
    for kind in [0x0000u16, 0x0026, 0x05dc, 0x88cc, 0x8847, 0xffff] {
        f[12..14].copy_from_slice(&kind.to_be_bytes());
        refused(&f, DropReason::EtherTypeUnknown);
    }
}

#[test]
fn a_tag_names_another_link_unless_it_is_a_priority_tag() {
    let l3 = udp4(64, b"tagged");
    let tagged = |tpid: u16, tci: u16, kind: u16, l3: &[u8]| {
        let f = frame(LAN_MAC, CLIENT_MAC, l3);
        [&f[..12], &tpid.to_be_bytes(), &tci.to_be_bytes(), &kind.to_be_bytes(), &f[14..]].concat()
    };
    for tpid in [0x8100, 0x88a8] {
        passes(&tagged(tpid, 0xe000, 0x0800, &l3), &l3);
        refused(&tagged(tpid, 100, 0x0800, &l3), DropReason::VlanUnknown);
        refused(&tagged(tpid, 0xe001, 0x0800, &l3), DropReason::VlanUnknown);
        refused(&tagged(tpid, 0, 0x8100, &l3), DropReason::EtherTypeUnknown);
        refused(&tagged(tpid, 0, 0x0800, &l3)[..17], DropReason::FrameTooShort);
    }
    passes(&tagged(0x8100, 0, 0x86dd, &udp6(64, b"six")), &udp6(64, b"six"));
}

#[test]
fn the_checks_of_rfc_1812_5_2_2() {
    let good = udp4(64, b"0123456789");
    let case = |change: &dyn Fn(&mut Vec<u8>), reason| {
        let mut p = good.clone();
        change(&mut p);
        let mut f = frame(LAN_MAC, CLIENT_MAC, &p);
        f[12..14].copy_from_slice(&[8, 0]);
        refused(&f, reason);
    };
    let mend = |p: &mut Vec<u8>| *p = edit4(p.clone(), |_| {});
    case(&|p| p[10] ^= 1, DropReason::Ip4BadChecksum);
    case(&|p| p[15] ^= 1, DropReason::Ip4BadChecksum);
    case(&|p| p[0] = 0x65, DropReason::Ip4BadVersion);
    case(&|p| p[0] = 0x05, DropReason::Ip4BadVersion);
    case(&|p| p[0] = 0x44, DropReason::Ip4BadHeaderLength);
    case(&|p| p[0] = 0x40, DropReason::Ip4BadHeaderLength);
    case(&|p| p[0] = 0x4f, DropReason::Ip4BadHeaderLength);
    for (total, reason) in [
        (0u16, DropReason::Ip4BadTotalLength),
        (19, DropReason::Ip4BadTotalLength),
        (39, DropReason::Ip4Truncated),
        (0xffff, DropReason::Ip4Truncated),
    ] {
        case(
            &|p| {
                p[2..4].copy_from_slice(&total.to_be_bytes());
                mend(p);
            },
            reason,
        );
    }
}

#[test]
fn the_same_for_ipv6() {
    let good = udp6(64, b"0123456789");
    let case = |change: &dyn Fn(&mut Vec<u8>), reason| {
        let mut p = good.clone();
        change(&mut p);
        let mut f = frame(LAN_MAC, CLIENT_MAC, &p);
        f[12..14].copy_from_slice(&[0x86, 0xdd]);
        refused(&f, reason);
    };
    case(&|p| p[0] = 0x45, DropReason::Ip6BadVersion);
    case(&|p| p[0] = 0x70, DropReason::Ip6BadVersion);
    case(&|p| p[5] += 1, DropReason::Ip6Truncated);
    case(&|p| p[4] = 0xff, DropReason::Ip6Truncated);
}

#[test]
fn padding_is_cut_off() {
    for l3 in [udp4(64, b"hello"), udp6(64, b"hello")] {
        let mut f = frame(LAN_MAC, CLIENT_MAC, &l3);
        f.extend_from_slice(&[0xaa; 18]);
        passes(&f, &l3);
    }
    // A header alone, in the shortest frame of Ethernet.
    let l3 = ip4(CLIENT, SERVER, 99, b"");
    let mut f = frame(LAN_MAC, CLIENT_MAC, &l3);
    f.resize(60, 0);
    passes(&f, &l3);
}

#[test]
fn longer_than_the_link_takes() {
    let just = udp4(64, &bytes(1472));
    passes(&frame(LAN_MAC, CLIENT_MAC, &just), &just);
    refused(&frame(LAN_MAC, CLIENT_MAC, &udp4(64, &bytes(1473))), DropReason::FrameTooLong);
    refused(&frame(LAN_MAC, CLIENT_MAC, &udp6(64, &bytes(1453))), DropReason::FrameTooLong);
}

#[test]
fn a_link_without_ethernet_tells_versions_by_the_first_nibble() {
    let case = |frame: &[u8], reason| {
        let mut b = Bench::acquainted();
        b.receive(TUN, frame);
        b.silent();
        b.dropped(reason);
    };
    case(&[], DropReason::FrameTooShort);
    case(&[0x00; 60], DropReason::EtherTypeUnknown);
    case(&[0xf5; 60], DropReason::EtherTypeUnknown);
    case(&[0x45; 10], DropReason::Ip4TooShort);
    case(&[0x60; 39], DropReason::Ip6TooShort);
}

#[test]
fn an_upper_layer_that_is_not_known_is_none_of_a_routers_business() {
    for n in [0, 99, 143, 253, 255] {
        let l3 = ip4(CLIENT, SERVER, n, b"whatever");
        passes(&frame(LAN_MAC, CLIENT_MAC, &l3), &l3);
    }
    for n in [41, 99, 253, 255, proto::NONE] {
        let l3 = ip6(CLIENT6, SERVER6, n, b"whatever");
        passes(&frame(LAN_MAC, CLIENT_MAC, &l3), &l3);
    }
}

#[test]
fn a_wrong_upper_layer_checksum_is_passed_on() {
    for mut l3 in [udp4(64, b"hello"), udp6(64, b"hello")] {
        let end = l3.len() - 1;
        l3[end] ^= 0xff;
        passes(&frame(LAN_MAC, CLIENT_MAC, &l3), &l3);
    }
}

#[test]
fn extension_headers_of_packets_in_transit() {
    let base = udp6(64, b"hello");
    let pass = |headers: &[(u8, &[u8])]| {
        let l3 = with_headers(&base, headers);
        passes(&frame(LAN_MAC, CLIENT_MAC, &l3), &l3);
    };
    let padding: &[u8] = &[0, 0, 1, 4, 0, 0, 0, 0];
    let unknown_skip: &[u8] = &[0, 0, 0x1e, 4, 1, 2, 3, 4];
    let unknown_tell: &[u8] = &[0, 0, 0x9e, 4, 1, 2, 3, 4];
    pass(&[(proto::HOP_BY_HOP, padding)]);
    pass(&[(proto::HOP_BY_HOP, unknown_skip)]);
    // Only the destination looks into its options, and only it may be told to route by a header.
    pass(&[(proto::DEST_OPTIONS, unknown_tell)]);
    pass(&[(proto::ROUTING, &[0, 0, 0, 9, 0, 0, 0, 0])]);
    // Atomic and other fragments.
    pass(&[(proto::FRAGMENT, &[0, 0, 0, 0, 0, 0, 0, 1])]);
    pass(&[(proto::FRAGMENT, &[0, 0, 0, 1, 0, 0, 0, 1])]);
    pass(&[(proto::FRAGMENT, &[0, 0, 0, 8, 0, 0, 0, 1])]);
    // Many, and such that a host would not make sense of (RFC 8200 §4).
    pass(&[(proto::DEST_OPTIONS, padding); 8]);
    pass(&[(proto::DEST_OPTIONS, &[0, 200, 1, 4, 0, 0, 0, 0])]);
    pass(&[(proto::DEST_OPTIONS, padding), (proto::HOP_BY_HOP, padding)]);
    let short = ip6(CLIENT6, SERVER6, proto::FRAGMENT, &[17, 0, 0]);
    passes(&frame(LAN_MAC, CLIENT_MAC, &short), &short);
    // But not without end, nor so as to hide the upper layer (RFC 7112 §5).
    let nine = with_headers(&base, &[(proto::DEST_OPTIONS, padding); 9]);
    refused(&frame(LAN_MAC, CLIENT_MAC, &nine), DropReason::Ip6ExtensionChain);
    let first = ip6(CLIENT6, SERVER6, proto::FRAGMENT, &[17, 0, 0, 1, 0, 0, 0, 1]);
    let mut b = Bench::acquainted();
    b.client_sends(&first);
    let p = b.one(LAN);
    assert_eq!(p.l3()[40..42], [icmpv6::PARAMETER_PROBLEM, icmpv6::problem::INCOMPLETE_CHAIN]);
    b.dropped(DropReason::Ip6IncompleteFirstFragment);
}

#[test]
fn hop_by_hop_options_that_must_be_understood() {
    let base = udp6(64, b"hello");
    let case = |options: &[u8], want: Option<(u8, u32)>| {
        let mut b = Bench::acquainted();
        b.client_sends(&with_headers(&base, &[(proto::HOP_BY_HOP, options)]));
        match want {
            Some((code, pointer)) => {
                let told = b.error(LAN);
                assert_eq!((told.kind, told.rest), ((4, code), pointer), "{options:?}");
            }
            None => b.silent(),
        }
        b.dropped(DropReason::Ip6BadOption);
    };
    case(&[0, 0, 0x5e, 4, 1, 2, 3, 4], None);
    case(&[0, 0, 0x9e, 4, 1, 2, 3, 4], Some((2, 42)));
    case(&[0, 0, 0xde, 4, 1, 2, 3, 4], Some((2, 42)));
    case(&[0, 0, 1, 0, 0x9e, 2, 1, 2], Some((2, 44)));
    case(&[0, 0, 0x1e, 9, 1, 2, 3, 4], None);
    // Padding that is not padding (RFC 4942 §2.1.9.5).
    case(&[0, 0, 1, 4, 0, 0, 7, 0], None);
    // A jumbo payload in a packet that is none.
    case(&[0, 0, 0xc2, 4, 0, 0, 1, 0], Some((0, 44)));
    case(&[0, 0, 0xc2, 4, 0, 1, 0, 0], Some((0, 42)));
    // Options that reach beyond the packet.
    let mut b = Bench::acquainted();
    b.client_sends(&with_headers(&base, &[(proto::HOP_BY_HOP, &[0, 9, 1, 4, 0, 0, 0, 0])]));
    b.silent();
    b.dropped(DropReason::Ip6BadExtension);
}
