//! IPv6 to the router itself: echo, closed ports, unknown headers, ICMPv6 of every kind, groups.

use std::net::Ipv6Addr;

use sekisho::base::Mac;

use super::{Hosts, List};
use crate::frame::{self, V6};
use crate::twin::Port::{Lan, Wan};

pub(crate) fn cases(l: &mut List) {
    echo(l);
    groups(l);
    icmp(l);
    udp_and_tcp(l);
}

fn us() -> Ipv6Addr {
    Lan.router6()
}

fn echo(l: &mut List) {
    for (name, size) in
        [("v6 echo to us", 56), ("v6 echo to us, no data", 0), ("v6 echo to us, full frame", 1452)]
    {
        l.add(name, &["lan echo reply"], |h| h.lan(h.echo6(us(), size)));
    }
    l.add("v6 echo to our far side", &["lan echo reply"], |h| h.lan(h.echo6(Wan.router6(), 56)));
    l.add("v6 echo to our link-local address", &["lan echo reply"], |h| {
        h.lan(h.echo6_between(h.ll(), Lan.link_local(), 8))
    });
    l.add("v6 echo to our link-local address from afar", &["lan echo reply"], |h| {
        h.lan(h.echo6(Lan.link_local(), 8))
    });
    l.add("v6 echo to our address from link-local", &["lan echo reply"], |h| {
        h.lan(h.echo6_between(h.ll(), us(), 8))
    });
    l.add("v6 echo to another link's link-local address", &["lan echo request", "lan icmp6 137/0"], |h| {
        h.lan(h.echo6_between(h.ll(), Wan.link_local(), 8))
    })
    .known("IPv6 packet to a link-local address of another station");
    l.add("v6 echo to us, class", &["lan echo reply"], |h| h.lan(V6 { class: 0xb8, ..h.echo6(us(), 8) }));
    l.add("v6 echo to us, bad checksum", &[], |h| {
        let mut p = h.echo6(us(), 8);
        p.payload[2] ^= 1;
        h.lan(p)
    });
    l.add("v6 echo to us, code 5", &["lan echo reply"], |h| {
        let message = frame::icmpv6(h.a6(Lan), us(), 128, 5, 7, b"odd");
        h.lan(V6::new(h.a6(Lan), us(), frame::ICMPV6, message))
    });
    l.add("v6 echo to us, cut at 6 bytes", &[], |h| {
        let mut p = h.echo6(us(), 0);
        p.payload.truncate(6);
        h.lan(p)
    });
    l.add("v6 echo to us from nobody", &[], |h| h.lan(h.echo6_between(Ipv6Addr::UNSPECIFIED, us(), 8)));
    l.add("v6 echo to us from ourselves", &[], |h| h.lan(h.echo6_between(us(), us(), 8)));
    l.add("v6 echo to the subnet-router anycast", &["lan echo reply"], |h| h.lan(h.echo6(Lan.host6(0), 8)));
    l.add("v6 echo to us in a multicast frame", &["lan echo reply"], |h| {
        vec![h.framed(Lan, Mac([0x33, 0x33, 0, 0, 0, 1]), h.echo6(us(), 8))]
    });
}

fn groups(l: &mut List) {
    let to_group = |h: Hosts, src: Ipv6Addr, group: &str| {
        let group: Ipv6Addr = group.parse().unwrap();
        vec![h.framed(Lan, Mac::of_multicast_v6(group), h.echo6_between(src, group, 8))]
    };
    l.add("v6 echo to all nodes", &["lan echo reply"], |h| to_group(h, h.ll(), "ff02::1"));
    l.add("v6 echo to all nodes from afar", &["lan echo reply"], |h| to_group(h, h.a6(Lan), "ff02::1"));
    l.add("v6 echo to all routers", &["lan echo reply"], |h| to_group(h, h.ll(), "ff02::2"));
    l.add("v6 echo to all routers of the site", &[], |h| to_group(h, h.a6(Lan), "ff05::2"))
        .known("echo request to all routers of the site, ff05::2");
    l.add("v6 echo to all nodes of the interface", &[], |h| to_group(h, h.ll(), "ff01::1"));
    l.add("v6 echo to our solicited-node group", &["lan echo reply"], |h| {
        to_group(h, h.ll(), "ff02::1:ff00:1")
    });
    l.add("v6 echo to another's solicited-node group", &[], |h| to_group(h, h.ll(), "ff02::1:ff00:abcd"));
    l.add("v6 udp to all nodes, closed port", &[], |h| {
        let group: Ipv6Addr = "ff02::1".parse().unwrap();
        vec![h.framed(Lan, Mac::of_multicast_v6(group), h.udp6_to(group, b"x"))]
    });
}

fn icmp(l: &mut List) {
    let to_us = |h: Hosts, kind: u8, data: &[u8]| {
        let message = frame::icmpv6(h.a6(Lan), us(), kind, 0, 0, data);
        h.lan(V6::new(h.a6(Lan), us(), frame::ICMPV6, message))
    };
    l.add("v6 echo reply nobody asked for", &[], |h| to_us(h, 129, b"x"));
    l.add("v6 unknown icmp error to us", &[], |h| to_us(h, 100, &h.udp6(b"x").bytes()));
    l.add("v6 unknown icmp information to us", &[], |h| to_us(h, 200, b"x"));
    l.add("v6 node information query", &[], |h| to_us(h, 139, b"12345678"));
    l.add("v6 unreachable about nothing we sent", &[], |h| {
        to_us(h, 1, &h.udp6_between(us(), h.a6(Wan), b"x").bytes())
    });
    l.add("v6 packet too big about nothing we sent", &[], |h| {
        to_us(h, 2, &h.udp6_between(us(), h.a6(Wan), b"x").bytes())
    });
    l.add("v6 icmp without a type", &[], |h| h.lan(V6::new(h.a6(Lan), us(), frame::ICMPV6, vec![])));
    l.add("v6 unknown next header to us", &["lan icmp6 4/1"], |h| {
        h.lan(V6::new(h.a6(Lan), us(), frame::UNKNOWN, b"12345678".to_vec()))
    });
    l.add("v6 icmp of ipv4 to us", &["lan icmp6 4/1"], |h| {
        h.lan(V6::new(h.a6(Lan), us(), frame::ICMP, frame::icmp(8, 0, 1, b"x")))
    });
    l.add("v6 no next header to us", &[], |h| h.lan(V6::new(h.a6(Lan), us(), frame::NO_NEXT, vec![])));
}

fn udp_and_tcp(l: &mut List) {
    l.add("v6 udp closed port", &["lan icmp6 1/4"], |h| h.lan(h.udp6_to(us(), b"anyone?")));
    l.add("v6 udp closed port, long", &["lan icmp6 1/4"], |h| h.lan(h.udp6_to(us(), &[7; 1400])));
    l.add("v6 udp closed port, far side", &["lan icmp6 1/4"], |h| h.lan(h.udp6_to(Wan.router6(), b"x")));
    l.add("v6 udp closed port, link-local", &["lan icmp6 1/4"], |h| {
        h.lan(h.udp6_between(h.ll(), Lan.link_local(), b"x"))
    });
    l.add("v6 udp to us without checksum", &[], |h| {
        let mut p = h.udp6_to(us(), b"x");
        p.payload[6..8].fill(0);
        h.lan(p)
    });
    l.add("v6 udp to us, bad checksum", &[], |h| {
        let mut p = h.udp6_to(us(), b"x");
        p.payload[6] ^= 0x55;
        h.lan(p)
    });
    l.add("v6 udp to us, length beyond the packet", &[], |h| {
        let mut p = h.udp6_to(us(), b"x");
        p.payload[4..6].copy_from_slice(&100u16.to_be_bytes());
        h.lan(p)
    });
    let segment = |h: Hosts, flags, data: &[u8]| {
        let message = frame::tcp(h.a6(Lan), us(), [4000, 81], [1000, 77], flags, data);
        V6::new(h.a6(Lan), us(), frame::TCP, message)
    };
    l.add("v6 tcp syn to a closed port", &["lan tcp RA"], |h| h.lan(segment(h, frame::SYN, b"")));
    l.add("v6 tcp ack to a closed port", &["lan tcp R"], |h| h.lan(segment(h, frame::ACK, b"data")));
    l.add("v6 tcp rst", &[], |h| h.lan(segment(h, frame::RST, b"")));
    l.add("v6 tcp bad checksum", &[], |h| {
        let mut p = segment(h, frame::SYN, b"");
        p.payload[16] ^= 0x55;
        h.lan(p)
    });
}
