//! Each way a packet can take, once.

use etherparse::PacketBuilder;
use sekisho::base::DropReason;
use sekisho::wire::arp::{Arp, Op};
use sekisho::wire::{icmpv4, icmpv6, ipv4::Ipv4, ipv6::Ipv6, proto};

use crate::net::*;

/// A UDP datagram from client to server, checksums and all.
pub(crate) fn udp4(ttl: u8, payload: &[u8]) -> Vec<u8> {
    let b = PacketBuilder::ipv4(CLIENT.octets(), SERVER.octets(), ttl).udp(1000, 2000);
    let mut out = Vec::new();
    b.write(&mut out, payload).unwrap();
    out
}

pub(crate) fn udp6(hops: u8, payload: &[u8]) -> Vec<u8> {
    let b = PacketBuilder::ipv6(CLIENT6.octets(), SERVER6.octets(), hops).udp(1000, 2000);
    let mut out = Vec::new();
    b.write(&mut out, payload).unwrap();
    out
}

#[test]
fn an_ipv4_packet_is_forwarded() {
    let mut b = Bench::acquainted();
    b.client_sends(&udp4(64, b"hello"));
    let p = b.one(WAN);
    assert_eq!(&p.data()[..12], &[SERVER_MAC.0, WAN_MAC.0].concat()[..]);
    let ip = Ipv4::new(p.l3()).unwrap();
    assert_eq!((ip.src(), ip.dst(), ip.ttl(), ip.verify_checksum()), (CLIENT, SERVER, 63, true));
    assert_eq!(&p.l3()[28..], b"hello");
    b.silent();
    b.balanced();
}

#[test]
fn an_ipv6_packet_is_forwarded() {
    let mut b = Bench::acquainted();
    b.client_sends(&udp6(64, b"hello"));
    let p = b.one(WAN);
    let ip = Ipv6::new(p.l3()).unwrap();
    assert_eq!((ip.src(), ip.dst(), ip.hop_limit()), (CLIENT6, SERVER6, 63));
    b.silent();
    b.balanced();
}

#[test]
fn an_unknown_neighbor_is_asked_for_and_the_packet_waits() {
    let mut b = Bench::new();
    b.client_sends(&udp4(64, b"one"));
    let ask = b.one(WAN);
    let ask = Arp::parse(ask.l3()).unwrap();
    assert_eq!((ask.op, ask.sender_ip, ask.target_ip), (Op::Request, WAN_ADDR, SERVER));
    b.answer_arp(WAN, SERVER, SERVER_MAC);
    let p = b.one(WAN);
    assert_eq!(&p.l3()[28..], b"one");
    b.silent();
    b.balanced();
}

#[test]
fn ttl_runs_out() {
    let mut b = Bench::acquainted();
    b.client_sends(&udp4(1, b"x"));
    let p = b.one(LAN);
    let ip = Ipv4::new(p.l3()).unwrap();
    assert_eq!((ip.src(), ip.dst(), ip.protocol(), ip.tos()), (LAN_ADDR, CLIENT, proto::ICMP, 0xc0));
    let icmp = icmpv4::Icmpv4::new(&p.l3()[20..]).unwrap();
    assert_eq!((icmp.kind(), icmp.code(), icmp.verify_checksum()), (icmpv4::TIME_EXCEEDED, 0, true));
    b.dropped(DropReason::TtlExceeded);
    b.silent();
}

#[test]
fn hop_limit_runs_out() {
    let mut b = Bench::acquainted();
    b.client_sends(&udp6(1, b"x"));
    let p = b.one(LAN);
    let ip = Ipv6::new(p.l3()).unwrap();
    assert_eq!((ip.src(), ip.dst()), (LAN_ADDR6, CLIENT6));
    let icmp = icmpv6::Icmpv6::new(&p.l3()[40..]).unwrap();
    assert_eq!((icmp.kind(), icmp.code()), (icmpv6::TIME_EXCEEDED, 0));
    assert!(icmp.verify_checksum(LAN_ADDR6, CLIENT6));
    b.dropped(DropReason::TtlExceeded);
}

#[test]
fn the_router_answers_echo_on_the_far_address() {
    let mut b = Bench::acquainted();
    let mut ping = Vec::new();
    PacketBuilder::ipv4(CLIENT.octets(), WAN_ADDR.octets(), 1)
        .icmpv4_echo_request(7, 9)
        .write(&mut ping, b"payload")
        .unwrap();
    b.client_sends(&ping);
    let p = b.one(LAN);
    let ip = Ipv4::new(p.l3()).unwrap();
    assert_eq!((ip.src(), ip.dst(), ip.ttl()), (WAN_ADDR, CLIENT, 64));
    let icmp = icmpv4::Icmpv4::new(&p.l3()[20..]).unwrap();
    assert_eq!((icmp.kind(), icmp.ident(), icmp.seq()), (icmpv4::ECHO_REPLY, 7, 9));
    assert!(icmp.verify_checksum());
    b.silent();
    b.balanced();
}

#[test]
fn a_closed_udp_port_is_unreachable_and_an_open_one_reaches_the_stack() {
    let mut b = Bench::acquainted();
    for (port, answered) in [(9999, true), (7, false)] {
        let mut d = Vec::new();
        PacketBuilder::ipv4(CLIENT.octets(), LAN_ADDR.octets(), 64)
            .udp(1000, port)
            .write(&mut d, b"x")
            .unwrap();
        b.client_sends(&d);
        assert_eq!(b.sent(LAN).len(), usize::from(answered));
        assert_eq!(b.host.len(), usize::from(!answered));
    }
    b.dropped(DropReason::NoPort);
}
