//! Routes with an MTU of their own.

use std::net::{Ipv4Addr, Ipv6Addr};

use sekisho::base::DropReason;
use sekisho::base::counters::Tally;
use sekisho::fib::{Metrics, Route};
use sekisho::packet::Packet;
use sekisho::wire::{proto, tcp::Tcp};

use crate::make::*;
use crate::net::*;

/// Stations behind the default routes.
const FAR: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 9);
const FAR6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 9);

fn udp4(data: usize) -> Vec<u8> {
    udp(CLIENT, FAR, (1000, 2000), &bytes(data))
}

fn udp6(data: usize) -> Vec<u8> {
    udp(CLIENT6, FAR6, (1000, 2000), &bytes(data))
}

/// The beginning of a connection, with what the sender takes.
fn syn(src: Ipv4Addr, dst: Ipv4Addr, mss: u16) -> Vec<u8> {
    let [hi, lo] = mss.to_be_bytes();
    let mut l4 = [&[0; 20][..], &[2, 4, hi, lo]].concat();
    l4[12] = 6 << 4;
    let mut tcp = Tcp::new(&mut l4[..]).unwrap();
    tcp.set_src_port(1000);
    tcp.set_dst_port(80);
    tcp.set_flags(2);
    tcp.fill_checksum(src.into(), dst.into());
    ip(src.into(), dst.into(), proto::TCP, &l4)
}

fn mss_of(p: &Packet) -> u16 {
    assert!(right(p.l3()));
    match p.l4()[20..24] {
        [2, 4, hi, lo] => u16::from_be_bytes([hi, lo]),
        _ => panic!("{p:?}"),
    }
}

/// A bench whose default routes have an MTU, and whose far side has another.
fn bench(mtu: u16, link: u32) -> Bench {
    plan(mtu, link).build().acquaint()
}

fn plan(mtu: u16, link: u32) -> Plan {
    let mut plan = Plan::default().link(WAN, |l| l.mtu = link);
    let metrics = Metrics { mtu, ..Metrics::default() };
    plan.routes = plan.routes.into_iter().map(|r| Route { metrics, ..r }).collect();
    plan
}

#[test]
fn what_is_larger_than_the_route_says_is_told() {
    // Nothing that the link can't take goes, whatever the route says; and nothing is cut below what all links carry.
    for (mtu, link, to4, to6) in [
        (1400, 1500, 1400, 1400),
        (1500, 1400, 1400, 1400),
        (0, 1400, 1400, 1400),
        (1000, 1500, 1000, 1280),
        (7, 1500, 68, 1280),
    ] {
        let mut b = bench(mtu, link);
        let l3 = dont_fragment(udp4(to4 + 1 - 28));
        b.client_sends(&l3);
        let told = b.error(LAN);
        assert_eq!((told.kind, told.rest), ((3, 4), to4 as u32), "{mtu} {link}");
        b.dropped(DropReason::TooBig);
        b.client_sends(&dont_fragment(udp4(to4 - 28)));
        b.one(WAN);

        let mut b = bench(mtu, link);
        b.client_sends(&udp6(to6 + 1 - 48));
        let told = b.error(LAN);
        assert_eq!((told.kind, told.rest), ((2, 0), to6 as u32), "{mtu} {link}");
        b.dropped(DropReason::TooBig);
        b.client_sends(&udp6(to6 - 48));
        b.one(WAN);
    }
}

#[test]
fn what_may_be_cut_is_cut_to_what_the_route_says() {
    let mut b = bench(576, 1500);
    b.client_sends(&udp4(1000));
    let lengths: Vec<usize> = b.sent(WAN).iter().map(|p| p.l3_len()).collect();
    assert_eq!(lengths, [572, 476]);
    assert_eq!(b.tally(Tally::Fragmented), 1);
    b.balanced();
}

#[test]
fn a_flow_that_is_remembered_keeps_to_the_route() {
    let mut b = bench(1400, 1500);
    for _ in 0..8 {
        b.client_sends(&dont_fragment(udp4(1400 - 28)));
        b.one(WAN);
        b.client_sends(&udp6(1400 - 48));
        b.one(WAN);
    }
    b.client_sends(&dont_fragment(udp4(1401 - 28)));
    assert_eq!(b.error(LAN).rest, 1400);
    b.client_sends(&udp6(1401 - 48));
    assert_eq!(b.error(LAN).rest, 1400);
    b.client_sends(&udp4(1401 - 28));
    assert_eq!(b.sent(WAN).len(), 2);
    b.balanced();
}

#[test]
fn what_the_router_says_itself_is_cut_to_it() {
    let mut b = bench(576, 1500);
    b.server_sends(&ping(FAR, WAN_ADDR, &bytes(1000)));
    let lengths: Vec<usize> = b.sent(WAN).iter().map(|p| p.l3_len()).collect();
    assert_eq!(lengths, [572, 476]);
    b.balanced();
}

#[test]
fn peers_of_the_local_stack_are_told_of_it() {
    for (mtu, advmss, link, mss) in [
        (0, 0, 1500, 1460),
        (0, 0, 1400, 1360),
        (1300, 0, 1500, 1260),
        (1300, 1000, 1500, 1000),
        (0, 9000, 1400, 1460),
    ] {
        let mut plan = plan(mtu, link);
        for route in &mut plan.routes {
            route.metrics.advmss = advmss;
        }
        let mut b = plan.build().acquaint();
        b.worker.handle_local(Packet::from_slice(&syn(WAN_ADDR, FAR, 1460)), b.now);
        b.collect();
        assert_eq!(mss_of(&b.one(WAN)), mss, "{mtu} {advmss} {link}");
        // What it announces already, if that is less.
        b.worker.handle_local(Packet::from_slice(&syn(WAN_ADDR, FAR, 500)), b.now);
        b.collect();
        assert_eq!(mss_of(&b.one(WAN)), 500);
    }
}

#[test]
fn segments_are_clamped_to_it() {
    const CLAMP: &str = "*mangle\n:PREROUTING ACCEPT\n:INPUT ACCEPT\n:FORWARD ACCEPT\n:OUTPUT ACCEPT\n:POSTROUTING ACCEPT\n\
        -A FORWARD -p tcp -m tcp --tcp-flags SYN,RST SYN -j TCPMSS --clamp-mss-to-pmtu\nCOMMIT\n";
    for (mtu, link, mss) in [(1400, 1500, 1360), (0, 1500, 1460), (1500, 1300, 1260)] {
        let mut b = plan(mtu, link).rules(CLAMP, "").build().acquaint();
        // Here and back: the smaller of the two ways counts.
        b.client_sends(&syn(CLIENT, FAR, 1460));
        assert_eq!(mss_of(&b.one(WAN)), mss, "{mtu} {link}");
        b.server_sends(&syn(FAR, CLIENT, 1460));
        assert_eq!(mss_of(&b.one(LAN)), mss, "{mtu} {link}");
    }
}
