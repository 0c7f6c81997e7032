//! IPv6 through the router: header checks, hop limit, addresses and scopes, too big, redirects.

use std::net::Ipv6Addr;

use sekisho::base::Mac;

use super::{Hosts, List};
use crate::frame::{self, IPV6, V6};
use crate::twin::Port::{Dmz, Lan, Wan};

pub(crate) fn cases(l: &mut List) {
    passing(l);
    malformed(l);
    hop_limit(l);
    addresses(l);
    too_big(l);
    redirects(l);
}

fn nowhere() -> Ipv6Addr {
    "2001:db8::1".parse().unwrap()
}

fn passing(l: &mut List) {
    l.add("v6 udp", &["wan udp"], |h| h.lan(h.udp6(b"hello")));
    l.add("v6 tcp syn", &["wan tcp S"], |h| {
        let ends = (h.a6(Lan), h.a6(Wan));
        h.lan(h.v6(frame::TCP, frame::tcp(ends.0, ends.1, [4000, 80], [7, 0], frame::SYN, b"")))
    });
    l.add("v6 echo request", &["wan echo request"], |h| h.lan(h.echo6(h.a6(Wan), 56)));
    l.add("v6 unknown next header", &["wan proto 253"], |h| h.lan(h.v6(frame::UNKNOWN, vec![1, 2, 3])));
    l.add("v6 no next header", &["wan proto 59"], |h| h.lan(h.v6(frame::NO_NEXT, vec![])));
    l.add("v6 class and flow label stay", &["wan udp"], |h| {
        h.lan(V6 { class: 0xb9, flow: 0xabcde, ..h.udp6(b"x") })
    });
    l.add("v6 udp without checksum", &["wan udp"], |h| {
        let mut p = h.udp6(b"hello");
        p.payload[6..8].fill(0);
        h.lan(p)
    });
    l.add("v6 beyond the next hop", &["wan udp"], |h| h.lan(h.udp6_to("fd64::5".parse().unwrap(), b"x")));
    l.add("v6 back", &["lan udp"], |h| h.wan(h.udp6_between(h.a6(Wan), h.a6(Lan), b"x")));
    l.add("v6 esp", &["wan proto 50"], |h| h.lan(h.v6(50, vec![0; 24])));
}

fn malformed(l: &mut List) {
    l.add("v6 version 4", &[], |h| h.lan(V6 { version: 4, ..h.udp6(b"x") }));
    l.add("v6 version 7", &[], |h| h.lan(V6 { version: 7, ..h.udp6(b"x") }));
    l.add("v6 payload length above the frame", &[], |h| h.lan(V6 { length: Some(200), ..h.udp6(b"x") }));
    l.add("v6 frame longer than the packet", &["wan udp"], |h| {
        h.lan((IPV6, [h.udp6(b"short").bytes(), vec![0xee; 20]].concat()))
    });
    l.add("v6 payload length zero with data behind", &["wan udp"], |h| {
        h.lan(V6 { length: Some(0), ..h.udp6(b"x") })
    });
    l.add("v6 cut in the header", &[], |h| h.lan((IPV6, h.udp6(b"x").bytes()[..33].to_vec())));
    l.add("v6 nothing behind the ethernet header", &[], |h| h.lan((IPV6, vec![])));
    l.add("v6 unicast in a broadcast frame", &[], |h| vec![h.framed(Lan, Mac::BROADCAST, h.udp6(b"x"))]);
    l.add("v6 unicast in a multicast frame", &[], |h| {
        vec![h.framed(Lan, Mac([0x33, 0x33, 0, 0, 0, 1]), h.udp6(b"x"))]
    });
    l.add("v6 for another station", &[], |h| vec![h.framed(Lan, Mac([2, 9, 9, 9, 9, 9]), h.udp6(b"x"))]);
}

fn hop_limit(l: &mut List) {
    l.add("v6 hop limit 2", &["wan udp"], |h| h.lan(V6 { hops: 2, ..h.udp6(b"x") }));
    l.add("v6 hop limit 1", &["lan icmp6 3/0"], |h| h.lan(V6 { hops: 1, ..h.udp6(b"x") }));
    l.add("v6 hop limit 0", &["lan icmp6 3/0"], |h| h.lan(V6 { hops: 0, ..h.udp6(b"x") }));
    l.add("v6 hop limit 1, long packet", &["lan icmp6 3/0"], |h| h.lan(V6 { hops: 1, ..h.udp6(&[7; 1400]) }));
    l.add("v6 hop limit 1, class and flow", &["lan icmp6 3/0"], |h| {
        h.lan(V6 { hops: 1, class: 0xb9, flow: 0x12345, ..h.udp6(b"x") })
    });
    let error = |h: Hosts, kind| {
        let quoted = h.udp6_between(h.a6(Wan), h.a6(Lan), b"x").bytes();
        h.v6(frame::ICMPV6, frame::icmpv6(h.a6(Lan), h.a6(Wan), kind, 0, 0, &quoted))
    };
    l.add("v6 hop limit 1, icmp error", &[], |h| h.lan(V6 { hops: 1, ..error(h, 1) }));
    l.add("v6 hop limit 1, unknown icmp error", &[], |h| h.lan(V6 { hops: 1, ..error(h, 100) }));
    l.add("v6 hop limit 1, unknown icmp information", &["lan icmp6 3/0"], |h| {
        h.lan(V6 { hops: 1, ..error(h, 200) })
    });
    l.add("v6 hop limit 1, redirect", &["lan icmp6 3/0"], |h| h.lan(V6 { hops: 1, ..error(h, 137) }))
        .known("ICMPv6 error about a redirect");
    l.add("v6 hop limit 1, later fragment", &["lan icmp6 3/0"], |h| {
        h.lan(V6 { hops: 1, ..h.v6(frame::UDP, vec![0; 16]).fragment(80, true, 7) })
    });
    l.add("v6 hop limit 1 to us", &["lan echo reply"], |h| {
        h.lan(V6 { hops: 1, ..h.echo6(Lan.router6(), 8) })
    });
    let refused = |second, h: Hosts| Ipv6Addr::new(0xfd66, second, 0, 0, 0, 0, 0, u16::from(h.0));
    l.add("v6 unreachable route", &["lan icmp6 1/0"], |h| h.lan(h.udp6_to(refused(1, h), b"x")));
    l.add("v6 prohibit route", &["lan icmp6 1/1"], |h| h.lan(h.udp6_to(refused(2, h), b"x")));
    l.add("v6 blackhole route", &[], |h| h.lan(h.udp6_to(refused(3, h), b"x")));
    l.add("v6 no route", &["lan icmp6 1/0"], |h| h.lan(h.udp6_to(nowhere(), b"x")));
    l.add("v6 no route, long packet", &["lan icmp6 1/0"], |h| h.lan(h.udp6_to(nowhere(), &[7; 1400])));
    l.add("v6 no route, icmp error", &[], |h| h.lan(V6 { dst: nowhere(), ..error(h, 1) }));
    l.add("v6 hop limit 1 and no route", &["lan icmp6 1/0"], |h| {
        h.lan(V6 { hops: 1, ..h.udp6_to(nowhere(), b"x") })
    });
}

fn addresses(l: &mut List) {
    for (name, src, gives) in [
        ("v6 source ::1", "::1", &[][..]),
        ("v6 source multicast", "ff02::5", &[]),
        ("v6 source unspecified", "::", &[]),
        ("v6 source our own", "fd01::1", &["wan udp"]),
        ("v6 source our own, far side", "fd02::1", &["wan udp"]),
        ("v6 source v4-mapped", "::ffff:10.1.0.9", &["wan udp"]),
        ("v6 source site-local", "fec0::9", &["wan udp"]),
        ("v6 source from nowhere", "2001:db8::9", &["wan udp"]),
    ] {
        let case = l.add(name, gives, |h| h.lan(h.udp6_between(src.parse().unwrap(), h.a6(Wan), b"x")));
        if name.starts_with("v6 source our own") {
            case.known("IPv6 packet whose source is one of the router's own addresses");
        }
    }
    l.add("v6 source equals destination", &["wan udp"], |h| {
        h.lan(h.udp6_between(h.a6(Wan), h.a6(Wan), b"x"))
    });
    l.add("v6 source link-local, destination beyond", &["lan icmp6 1/2"], |h| {
        h.lan(h.udp6_between(h.ll(), h.a6(Wan), b"x"))
    });
    l.add("v6 source link-local, no route", &["lan icmp6 1/0"], |h| {
        h.lan(h.udp6_between(h.ll(), nowhere(), b"x"))
    });
    l.add("v6 source link-local, icmp error", &[], |h| {
        let error = frame::icmpv6(h.ll(), h.a6(Wan), 1, 0, 0, &h.udp6(b"x").bytes());
        h.lan(V6::new(h.ll(), h.a6(Wan), frame::ICMPV6, error))
    });
    for (name, dst) in [
        ("v6 to ::1", "::1"),
        ("v6 to ::", "::"),
        ("v6 to the subnet-router anycast of the wan", "fd02::"),
        ("v6 to a link-local address not ours", "fe80::abcd"),
        ("v6 to a v4-mapped address", "::ffff:10.2.0.9"),
    ] {
        let (gives, known): (&[&str], _) = match dst {
            "fd02::" => {
                (&["lan icmp6 1/4"], Some("ICMPv6 error about a packet to the subnet-router anycast address"))
            }
            "fe80::abcd" => (
                &["lan icmp6 137/0", "lan udp"],
                Some("IPv6 packet to a link-local address of another station"),
            ),
            "::" => (&["lan icmp6 1/0"], Some("IPv6 packet to the unspecified address")),
            "::ffff:10.2.0.9" => (&["lan icmp6 1/0"], None),
            _ => (&[], None),
        };
        l.add(name, gives, |h| h.lan(h.udp6_to(dst.parse().unwrap(), b"x"))).known = known;
    }
    for (name, dst) in [
        ("v6 multicast, interface scope", "ff01::1"),
        ("v6 multicast, scope 0", "ff00::1"),
        ("v6 multicast, link scope, not joined", "ff02::1234"),
        ("v6 multicast, site scope", "ff05::1234"),
        ("v6 multicast, global scope", "ff0e::1234"),
    ] {
        let dst: Ipv6Addr = dst.parse().unwrap();
        l.add(name, &[], |h| vec![h.framed(Lan, Mac::of_multicast_v6(dst), h.udp6_to(dst, b"x"))]);
    }
}

fn too_big(l: &mut List) {
    l.add("v6 exactly the next mtu", &["dmz udp"], |h| h.lan(h.udp6_to(h.a6(Dmz), &[7; 1280 - 48])));
    l.add("v6 one more than the next mtu", &["lan icmp6 2/0"], |h| {
        h.lan(h.udp6_to(h.a6(Dmz), &[7; 1281 - 48]))
    });
    l.add("v6 a whole frame, too big", &["lan icmp6 2/0"], |h| h.lan(h.udp6_to(h.a6(Dmz), &[7; 1452])));
    l.add("v6 fragment too big", &["lan icmp6 2/0"], |h| {
        let p = V6::new(h.a6(Lan), h.a6(Dmz), frame::UDP, vec![7; 1400]);
        h.lan(p.fragment(0, true, 9))
    });
    l.add("v6 too big, hop limit 1", &["lan icmp6 3/0"], |h| {
        h.lan(V6 { hops: 1, ..h.udp6_to(h.a6(Dmz), &[7; 1400]) })
    });
    l.add("v6 too big, icmp error", &[], |h| {
        let error = frame::icmpv6(h.a6(Lan), h.a6(Dmz), 1, 0, 0, &[7; 1400]);
        h.lan(V6::new(h.a6(Lan), h.a6(Dmz), frame::ICMPV6, error))
    });
    l.add("v6 too big from link-local", &["lan icmp6 1/2"], |h| {
        h.lan(h.udp6_between(h.ll(), h.a6(Dmz), &[7; 1400]))
    });
}

fn redirects(l: &mut List) {
    // RFC 4861 §8.1: a redirect names its target by the link-local address, so there is none where only
    // a global one is known.
    let unnamed: Ipv6Addr = "fd09::5".parse().unwrap();
    l.add("v6 better way by a global next hop", &["lan udp"], |h| h.lan(h.udp6_to(unnamed, b"x")));
    let behind: Ipv6Addr = "fd0a::5".parse().unwrap();
    l.add("v6 better way on the same segment", &["lan icmp6 137/0", "lan udp"], |h| {
        h.lan(h.udp6_to(behind, b"x"))
    });
    l.add("v6 neighbor on the same segment", &["lan icmp6 137/0", "lan udp"], |h| {
        h.lan(h.udp6_to(Lan.host6(0x2c8), b"x"))
    });
    l.add("v6 better way, source not on the segment", &["lan udp"], |h| {
        h.lan(h.udp6_between("2001:db8::77aa".parse().unwrap(), behind, b"x"))
    });
    l.add("v6 better way, long packet", &["lan icmp6 137/0", "lan udp"], |h| {
        h.lan(h.udp6_to(behind, &[7; 1400]))
    });
}
