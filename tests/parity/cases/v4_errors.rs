//! When the router sends an ICMP error, what it quotes, and when it must not send one.

use std::net::Ipv4Addr;
use std::time::Duration;

use sekisho::base::Mac;

use super::{Hosts, List};
use crate::frame::{self, MF, V4};
use crate::twin::ABSENT;
use crate::twin::Port::{Dmz, Lan, Wan};

const NOWHERE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);

pub(crate) fn cases(l: &mut List) {
    time_exceeded(l);
    unreachable(l);
    never(l);
    redirects(l);
}

fn time_exceeded(l: &mut List) {
    l.add("v4 ttl 1", &["lan icmp 11/0"], |h| h.lan(V4 { ttl: 1, ..h.udp4(b"last hop") }));
    l.add("v4 ttl 0", &["lan icmp 11/0"], |h| h.lan(V4 { ttl: 0, ..h.udp4(b"past it") }));
    l.add("v4 ttl 1 with a long packet", &["lan icmp 11/0"], |h| h.lan(V4 { ttl: 1, ..h.udp4(&[7; 1400]) }));
    for (name, size) in [("v4 ttl 1, quotation just fits", 520), ("v4 ttl 1, quotation just cut", 521)] {
        l.add(name, &["lan icmp 11/0"], |h| h.lan(V4 { ttl: 1, ..h.udp4(&vec![7; size]) }));
    }
    l.add("v4 ttl 1 with tos and ecn", &["lan icmp 11/0"], |h| {
        h.lan(V4 { ttl: 1, tos: 0x2b, ..h.udp4(b"x") })
    });
    l.add("v4 ttl 1 with high precedence", &["lan icmp 11/0"], |h| {
        h.lan(V4 { ttl: 1, tos: 0xe0, ..h.udp4(b"x") })
    });
    l.add("v4 ttl 1 with don't fragment", &["lan icmp 11/0"], |h| {
        h.lan(V4 { ttl: 1, fragment: frame::DF, ..h.udp4(b"x") })
    });
    l.add("v4 ttl 1 with record route", &["lan icmp 11/0"], |h| {
        let options = vec![7, 11, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        h.lan(V4 { ttl: 1, options, ..h.udp4(b"x") })
    })
    .known("ICMP error or reply to a packet with IP options");
    l.add("v4 ttl 1, first fragment", &["lan icmp 11/0"], |h| {
        h.lan(V4 { ttl: 1, fragment: MF, ..h.udp4(b"12345678") })
    });
    l.add("v4 ttl 1, later fragment", &[], |h| h.lan(V4 { ttl: 1, fragment: 10, ..h.udp4(b"12345678") }));
    l.add("v4 ttl 1, echo reply", &["lan icmp 11/0"], |h| {
        h.lan(V4 { ttl: 1, ..h.v4(frame::ICMP, frame::icmp(0, 0, 7, b"x")) })
    });
    l.add("v4 ttl 1, bad udp checksum", &["lan icmp 11/0"], |h| {
        let mut p = V4 { ttl: 1, ..h.udp4(b"x") };
        p.payload[6] ^= 0x55;
        h.lan(p)
    });
    l.add("v4 ttl 1 from the wan", &["wan icmp 11/0"], |h| {
        h.wan(V4 { ttl: 1, ..h.udp4_between(h.a4(Wan), h.a4(Lan), b"x") })
    });
    l.add("v4 ttl 1 and no route", &["lan icmp 3/0"], |h| h.lan(V4 { ttl: 1, ..h.udp4_to(NOWHERE, b"x") }));
    l.add("v4 ttl 1 from behind another router", &["wan icmp 11/0"], |h| {
        h.lan(V4 { ttl: 1, ..h.udp4_between([10, 100, 0, h.0].into(), h.a4(Dmz), b"x") })
    });
    l.add("v4 ttl 1 with trailing bytes", &["lan icmp 11/0"], |h| {
        let packet = V4 { ttl: 1, ..h.udp4(b"x") }.bytes();
        h.lan((frame::IPV4, [packet, vec![0xee; 17]].concat()))
    });
}

fn unreachable(l: &mut List) {
    l.add("v4 no route", &["lan icmp 3/0"], |h| h.lan(h.udp4_to(NOWHERE, b"x")));
    l.add("v4 no route, echo request", &["lan icmp 3/0"], |h| h.lan(h.echo4(NOWHERE, 8)));
    l.add("v4 no route, long packet", &["lan icmp 3/0"], |h| h.lan(h.udp4_to(NOWHERE, &[7; 1400])));
    let refused = |third, h: Hosts| Ipv4Addr::new(10, 66, third, h.0);
    l.add("v4 unreachable route", &["lan icmp 3/1"], |h| h.lan(h.udp4_to(refused(1, h), b"x")));
    l.add("v4 prohibit route", &["lan icmp 3/13"], |h| h.lan(h.udp4_to(refused(2, h), b"x")));
    l.add("v4 blackhole route", &[], |h| h.lan(h.udp4_to(refused(3, h), b"x")));
    l.add("v4 prohibit route, later fragment", &[], |h| {
        h.lan(V4 { fragment: 9, ..h.udp4_to(refused(2, h), b"12345678") })
    });
    l.add("v4 unreachable route, ttl 1", &["lan icmp 3/1"], |h| {
        h.lan(V4 { ttl: 1, ..h.udp4_to(refused(1, h), b"x") })
    });
    l.add("v4 no route to class e", &["lan icmp 3/0"], |h| h.lan(h.udp4_to([240, 0, 0, 1].into(), b"x")));
    l.add("v4 no route to link-local", &["lan icmp 3/0"], |h| {
        h.lan(h.udp4_to([169, 254, 1, 1].into(), b"x"))
    });
    let slow = |h: Hosts| {
        let to_absent = h.udp4_to(Wan.host4(ABSENT), b"anybody there?");
        let six = h.udp6_to(Wan.host6(ABSENT.into()), b"anybody there?");
        [h.lan(to_absent), h.lan(six)].concat()
    };
    l.add("v4 and v6 next hop does not answer", &["lan icmp 3/1", "lan icmp6 1/3"], slow)
        .patience(Duration::from_secs(6));
}

fn never(l: &mut List) {
    let error = |h: Hosts, dst: Ipv4Addr| {
        let quoted = h.udp4_between(dst, h.a4(Lan), b"what went wrong").bytes();
        V4::new(h.a4(Lan), dst, frame::ICMP, frame::icmp(3, 3, 0, &quoted))
    };
    l.add("v4 ttl 1, icmp error", &[], |h| h.lan(V4 { ttl: 1, ..error(h, h.a4(Wan)) }));
    l.add("v4 no route, icmp error", &[], |h| h.lan(error(h, NOWHERE)));
    l.add("v4 ttl 1, icmp of unknown type", &[], |h| {
        h.lan(V4 { ttl: 1, ..h.v4(frame::ICMP, frame::icmp(42, 0, 0, b"x")) })
    });
    l.add("v4 ttl 1, icmp cut before its type", &[], |h| h.lan(V4 { ttl: 1, ..h.v4(frame::ICMP, vec![]) }));
    l.add("v4 no route, later fragment", &[], |h| {
        h.lan(V4 { fragment: 5, ..h.udp4_to(NOWHERE, b"12345678") })
    });
    l.add("v4 no route, broadcast frame", &[], |h| {
        vec![h.framed(Lan, Mac::BROADCAST, h.udp4_to(NOWHERE, b"x"))]
    });
    l.add("v4 no route, multicast frame", &[], |h| {
        vec![h.framed(Lan, Mac([1, 0, 0x5e, 1, 2, 3]), h.udp4_to(NOWHERE, b"x"))]
    });
    l.add("v4 ttl 1, broadcast frame", &[], |h| {
        vec![h.framed(Lan, Mac::BROADCAST, V4 { ttl: 1, ..h.udp4(b"x") })]
    });
    l.add("v4 no route, source class e", &[], |h| {
        h.lan(h.udp4_between([240, 0, 0, 7].into(), NOWHERE, b"x"))
    });
    l.add("v4 ttl 1, source from nowhere", &[], |h| {
        h.lan(V4 { ttl: 1, ..h.udp4_between([203, 0, 113, 7].into(), h.a4(Wan), b"x") })
    });
    l.add("v4 no route, source broadcast of the segment", &["lan icmp 3/0"], |h| {
        h.lan(h.udp4_between(Lan.host4(255), NOWHERE, b"x"))
    })
    .known("answer to a packet whose source is the segment's broadcast address");
}

fn redirects(l: &mut List) {
    let behind = Ipv4Addr::new(10, 9, 0, 1);
    l.add("v4 better way on the same segment", &["lan icmp 5/1", "lan udp"], |h| {
        h.lan(h.udp4_to(behind, b"x"))
    });
    l.add("v4 neighbor on the same segment", &["lan icmp 5/1", "lan udp"], |h| {
        h.lan(h.udp4_to(Lan.host4(245), b"x"))
    });
    l.add("v4 better way, source not on the segment", &["lan udp"], |h| {
        h.lan(h.udp4_between([203, 0, 113, 9].into(), behind, b"x"))
    });
    l.add("v4 better way, ttl 1", &["lan icmp 11/0"], |h| h.lan(V4 { ttl: 1, ..h.udp4_to(behind, b"x") }));
    l.add("v4 better way, later fragment", &["lan @40"], |h| {
        h.lan(V4 { fragment: 5, ..h.udp4_to(behind, b"12345678") })
    });
    l.add("v4 better way, icmp error", &["lan icmp 3/3"], |h| {
        let quoted = h.udp4_between(behind, h.a4(Lan), b"x").bytes();
        h.lan(V4::new(h.a4(Lan), behind, frame::ICMP, frame::icmp(3, 3, 0, &quoted)))
    });
    l.add("v4 better way, echo request", &["lan echo request", "lan icmp 5/1"], |h| {
        h.lan(h.echo4(behind, 8))
    });
}
