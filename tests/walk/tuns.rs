//! Links without Ethernet: no MACs, no neighbors, and otherwise like the others.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use sekisho::base::DropReason;
use sekisho::packet::Caps;

use crate::make::*;
use crate::net::*;

const PEER: Ipv4Addr = Ipv4Addr::new(10, 3, 0, 2);
const OURS: Ipv4Addr = Ipv4Addr::new(10, 3, 0, 1);

fn peer6() -> Ipv6Addr {
    "fd03::2".parse().unwrap()
}

fn ours6() -> Ipv6Addr {
    "fd03::1".parse().unwrap()
}

#[test]
fn from_ethernet_to_tun_and_back() {
    let mut b = Bench::acquainted();
    for l3 in [udp(CLIENT, PEER, (1, 2), b"hello"), udp(CLIENT6, peer6(), (1, 2), b"hello")] {
        b.client_sends(&l3);
        let p = b.one(TUN);
        assert_eq!(p.data(), ttl(l3, 63), "nothing in front of it, and nobody was asked");
    }
    for l3 in [udp(PEER, CLIENT, (1, 2), b"hello"), udp(peer6(), CLIENT6, (1, 2), b"hello")] {
        b.receive(TUN, &l3);
        let p = b.one(LAN);
        assert_eq!(p.data()[..12], [CLIENT_MAC.0, LAN_MAC.0].concat());
        assert_eq!(p.l3(), ttl(l3, 63));
    }
    b.balanced();
}

#[test]
fn out_of_it_and_in_again() {
    let mut b = Bench::acquainted();
    let (other, other6) = (Ipv4Addr::new(10, 3, 0, 9), "fd03::9".parse::<Ipv6Addr>().unwrap());
    for l3 in [udp(PEER, other, (1, 2), b"x"), udp(peer6(), other6, (1, 2), b"x")] {
        b.receive(TUN, &l3);
        assert_eq!(b.one(TUN).data(), ttl(l3, 63), "and no redirect: there is no other way");
    }
    b.balanced();
}

#[test]
fn the_router_answers_there_too() {
    let mut b = Bench::acquainted();
    for (src, dst) in [(PEER, OURS), (PEER, LAN_ADDR)] {
        b.receive(TUN, &ping(src, dst, b"x"));
        assert_eq!(b.one(TUN).data()[12..20], [dst.octets(), src.octets()].concat());
    }
    for (src, dst) in [(peer6(), ours6()), (peer6(), WAN_ADDR6)] {
        b.receive(TUN, &ping(src, dst, b"x"));
        assert_eq!(b.one(TUN).data()[8..40], [dst.octets(), src.octets()].concat());
    }
    b.receive(TUN, &ttl(udp(PEER, CLIENT, (1, 2), b"x"), 1));
    assert_eq!(b.error(TUN).src, std::net::IpAddr::from(OURS));
    b.receive(TUN, &udp(peer6(), ours6(), (1, 9999), b"x"));
    assert_eq!(b.error(TUN).kind, (1, 4));
    b.balanced();
}

#[test]
fn groups_and_neighbor_discovery_mean_nothing_there() {
    let mut b = Bench::acquainted();
    let all: Ipv6Addr = "ff02::1".parse().unwrap();
    b.receive(TUN, &ping(peer6(), all, b"x"));
    assert_eq!(b.one(TUN).data()[8..24], ours6().octets());
    let ns = sekisho::wire::ndp::NeighborSolicit { target: ours6(), source_mac: None, nonce: None };
    b.receive(TUN, &ndp(peer6(), ours6(), |buf| ns.emit(peer6(), ours6(), buf)));
    b.silent();
    b.dropped(DropReason::NdpIgnored);
}

#[test]
fn fragments_and_super_frames() {
    let mut b = Plan::default().link(TUN, |l| l.mtu = 1280).build().acquaint();
    b.worker.set_caps(TUN, Caps { ethernet: false, ..Caps::PLAIN });
    b.client_sends(&udp(CLIENT, PEER, (1, 2), &bytes(1400)));
    assert_eq!(b.sent(TUN).len(), 2);
    b.client_sends(&udp(CLIENT6, peer6(), (1, 2), &bytes(1400)));
    let told = b.error(LAN);
    assert_eq!((told.kind, told.rest), ((2, 0), 1280));
    b.balanced();
}

#[test]
fn down_and_up() {
    let mut b = Bench::acquainted();
    b.worker.handle_link(TUN, false, b.now);
    b.collect();
    b.client_sends(&udp(CLIENT, PEER, (1, 2), b"x"));
    assert_eq!(b.error(LAN).kind, (3, 0));
    b.worker.handle_link(TUN, true, b.now);
    b.pass(Duration::from_secs(2));
    b.silent();
    b.client_sends(&udp(CLIENT, PEER, (1, 2), b"x"));
    b.one(TUN);
    b.balanced();
}
