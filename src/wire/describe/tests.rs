//! The line that each kind of frame becomes, whole or cut short.

use std::net::{Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;

use super::*;
use crate::base::Mac;
use crate::wire::ipv4::{Ipv4Header, MORE_FRAGMENTS};
use crate::wire::ipv6::Ipv6Header;
use crate::wire::{icmpv4, icmpv6, ndp};

const A: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 2);
const B: Ipv4Addr = Ipv4Addr::new(10, 2, 0, 2);
const A6: Ipv6Addr = Ipv6Addr::new(0xfd01, 0, 0, 0, 0, 0, 0, 2);
const B6: Ipv6Addr = Ipv6Addr::new(0xfd02, 0, 0, 0, 0, 0, 0, 2);

fn v4(proto: u8, l4: &[u8]) -> Vec<u8> {
    let mut b = vec![0; 20];
    Ipv4Header {
        src: A,
        dst: B,
        proto,
        ttl: 64,
        tos: 0,
        ident: 7,
        dont_fragment: true,
        payload_len: l4.len(),
    }
    .emit(&mut b);
    b.extend(l4);
    b
}

fn v6(next_header: u8, rest: &[u8]) -> Vec<u8> {
    let mut b = vec![0; 40];
    let header = Ipv6Header {
        src: A6,
        dst: B6,
        next_header,
        hop_limit: 255,
        traffic_class: 0,
        flow_label: 0,
        payload_len: rest.len(),
    };
    header.emit(&mut b);
    b.extend(rest);
    b
}

fn ethernet(ethertype: u16, payload: &[u8]) -> Vec<u8> {
    let mut b = vec![0; 14];
    super::ethernet::write(&mut b, Mac::BROADCAST, Mac([2, 0, 0, 0, 1, 1]), ethertype);
    b.extend(payload);
    b
}

fn message(body: impl Fn(&mut [u8]) -> Option<usize>) -> Vec<u8> {
    let mut b = vec![0; 1500];
    let n = body(&mut b).expect("room");
    b.truncate(n);
    b
}

const SYN: [u8; 24] =
    [0x9c, 0x40, 0, 7, 0, 0, 0, 17, 0, 0, 0, 0, 0x60, 0xc2, 0xfa, 0xf0, 0, 0, 0, 0, 2, 4, 5, 0xb4];
const UDP: [u8; 11] = [0x10, 0, 0, 7, 0, 11, 0, 0, 1, 2, 3];

#[test]
fn transport_protocols() {
    assert_eq!(
        describe(&v4(6, &SYN), false),
        "IP 10.1.0.2.40000 > 10.2.0.2.7: Flags [SEW], seq 17, win 64240, mss 1460, length 0, ttl 64"
    );
    let mut data = SYN.to_vec();
    data[13] = 0x18;
    data.extend([0; 100]);
    assert_eq!(
        describe(&v6(6, &data), false),
        "IP6 fd01::2.40000 > fd02::2.7: Flags [P.], seq 17:117, ack 0, win 64240, mss 1460, length 100, hlim 255"
    );
    assert_eq!(describe(&v4(17, &UDP), false), "IP 10.1.0.2.4096 > 10.2.0.2.7: UDP, length 3, ttl 64");
    assert_eq!(describe(&v4(132, &UDP), false), "IP 10.1.0.2.4096 > 10.2.0.2.7: SCTP, length 11, ttl 64");
    assert_eq!(describe(&v4(99, &UDP), false), "IP 10.1.0.2 > 10.2.0.2: ip-proto-99, length 11, ttl 64");
}

#[test]
fn fragments() {
    let mut b = v4(17, &UDP);
    Ipv4::new(&mut b).unwrap().set_flags_offset(MORE_FRAGMENTS);
    assert_eq!(describe(&b, false), "IP 10.1.0.2.4096 > 10.2.0.2.7: UDP, length 3, frag 7:11@0+, ttl 64");
    Ipv4::new(&mut b).unwrap().set_flags_offset(185);
    assert_eq!(describe(&b, false), "IP 10.1.0.2 > 10.2.0.2: UDP, length 11, frag 7:11@1480, ttl 64");
    let later = v6(44, &[17, 0, 0x05, 0xa9, 0, 0, 0, 9, 1, 2, 3, 4]);
    assert_eq!(describe(&later, false), "IP6 fd01::2 > fd02::2: UDP, length 4, frag 9:4@1448+, hlim 255");
}

#[test]
fn icmp_in_words() {
    let inner = v4(17, &UDP);
    let icmp = |kind, code, rest, body: &[u8]| {
        let m = message(|b| icmpv4::emit(b, kind, code, rest, body));
        let line = describe(&v4(1, &m), false);
        line.strip_prefix("IP 10.1.0.2 > 10.2.0.2: ").unwrap().to_owned()
    };
    assert_eq!(icmp(8, 0, 0x0009_0001, &[0; 56]), "ICMP echo request, id 9, seq 1, length 64, ttl 64");
    assert_eq!(
        icmp(3, 3, 0, &inner),
        "ICMP port unreachable (10.1.0.2.4096 > 10.2.0.2.7 UDP), length 39, ttl 64"
    );
    assert_eq!(
        icmp(3, 4, 1400, &inner[..24]),
        "ICMP fragmentation needed, mtu 1400 (10.1.0.2.4096 > 10.2.0.2.7 UDP), length 32, ttl 64"
    );
    assert_eq!(icmp(11, 0, 0, &[]), "ICMP time exceeded in transit, length 8, ttl 64");
    assert_eq!(icmp(5, 1, 0x0a01_0003, &[]), "ICMP redirect, code 1, to 10.1.0.3, length 8, ttl 64");
    assert_eq!(icmp(12, 0, 20 << 24, &[]), "ICMP parameter problem, code 0, octet 20, length 8, ttl 64");
    let m = message(|b| icmpv6::emit(b, (A6, B6), (2, 0), 1280, &v6(17, &UDP)));
    assert_eq!(
        describe(&v6(58, &m), false),
        "IP6 fd01::2 > fd02::2: ICMP6, packet too big, mtu 1280 (fd01::2.4096 > fd02::2.7 UDP), length 59, hlim 255"
    );
}

#[test]
fn neighbor_discovery() {
    let ns = ndp::NeighborSolicit { target: B6, source_mac: None, nonce: None };
    let m = message(|b| ns.emit(A6, B6, b));
    assert_eq!(
        describe(&v6(58, &m), false),
        "IP6 fd01::2 > fd02::2: ICMP6, neighbor solicitation, who has fd02::2, length 24, hlim 255"
    );
    let na = ndp::NeighborAdvert {
        target: A6,
        router: true,
        solicited: true,
        override_: false,
        target_mac: Some(Mac([2, 0, 0, 0, 1, 1])),
    };
    let mut m = message(|b| na.emit(A6, B6, b));
    assert_eq!(
        describe(&v6(58, &m), false),
        "IP6 fd01::2 > fd02::2: ICMP6, neighbor advertisement, tgt is fd01::2 at 02:00:00:00:01:01, router, solicited, length 32, hlim 255"
    );
    m[25] = 0;
    assert_eq!(
        describe(&v6(58, &m), false),
        "IP6 fd01::2 > fd02::2: ICMP6, invalid neighbor advertisement: an option has a length that can't be, length 32, hlim 255"
    );
}

#[test]
fn frames() {
    let arp = |op, sender_ip, target_ip| {
        let arp =
            Arp { op, sender_mac: Mac([2, 0, 0, 0, 1, 1]), sender_ip, target_mac: Mac::ZERO, target_ip };
        describe(&ethernet(super::ethernet::ARP, &arp.emit()), true)
    };
    assert_eq!(arp(Op::Request, A, B), "ARP, who-has 10.2.0.2 tell 10.1.0.2, length 28");
    assert_eq!(arp(Op::Reply, A, B), "ARP, reply 10.1.0.2 is-at 02:00:00:00:01:01, length 28");
    assert_eq!(arp(Op::Request, A, A), "ARP, announcement 10.1.0.2 is-at 02:00:00:00:01:01, length 28");
    assert_eq!(arp(Op::Request, Ipv4Addr::UNSPECIFIED, A), "ARP, probe 10.1.0.2, length 28");
    let tagged = [&[0xa0, 100, 0x81, 0, 0, 5, 8, 0][..], &v4(17, &UDP)].concat();
    assert_eq!(
        describe(&ethernet(super::ethernet::QINQ, &tagged), true),
        "vlan 100, p 5, vlan 5, IP 10.1.0.2.4096 > 10.2.0.2.7: UDP, length 3, ttl 64"
    );
    assert_eq!(
        describe(&ethernet(0x88cc, &[0; 46]), true),
        "02:00:00:00:01:01 > ff:ff:ff:ff:ff:ff, ethertype 0x88cc, length 60"
    );
    assert_eq!(
        describe(&ethernet(39, &[0; 46]), true),
        "02:00:00:00:01:01 > ff:ff:ff:ff:ff:ff, 802.3, length 39"
    );
}

#[test]
fn what_is_cut_short_is_called_so() {
    assert_eq!(describe(&[1; 13], true), "truncated Ethernet frame, length 13");
    assert_eq!(describe(&[], false), "empty packet");
    assert_eq!(describe(&[0x45; 19], false), "truncated IP, length 19");
    assert_eq!(describe(&[0x12], false), "IP version 1, length 1");
    let b = v4(6, &SYN);
    assert_eq!(
        describe(&b[..30], false),
        "IP 10.1.0.2.40000 > 10.2.0.2.7: truncated TCP, length 10, ttl 64, 14 bytes missing"
    );
    assert_eq!(
        describe(&v6(60, &[6, 9]), false),
        "IP6 fd01::2 > fd02::2: an extension header is cut short, length 2, hlim 255"
    );
}

proptest! {
    #[test]
    fn any_bytes(mut b in proptest::collection::vec(any::<u8>(), 0..200), family in 0usize..5,
                 proto in prop_oneof![Just(1u8), Just(6), Just(17), Just(58), Just(44), Just(0), any::<u8>()],
                 kind in prop_oneof![0u8..20, 128u8..145]) {
        prop_assert!(!describe(&b, true).contains('\n'));
        describe(&b, false);
        // Now with a beginning that leads further in.
        let (version, at, l4) = if family == 4 { (0x45, 9, 20) } else { (0x60, 6, 40) };
        for (at, byte) in [(0, version), (at, proto), (l4, kind)] {
            if let Some(b) = b.get_mut(at) {
                *b = byte;
            }
        }
        prop_assert!(describe(&b, false).len() < 600);
    }
}
