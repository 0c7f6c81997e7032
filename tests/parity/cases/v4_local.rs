//! IPv4 to the router itself: echo, closed ports, unknown protocols, ICMP of every kind, fragments.

use std::net::Ipv4Addr;

use super::{Hosts, List};
use crate::frame::{self, MF, V4};
use crate::twin::Port::{Lan, Wan};

pub(crate) fn cases(l: &mut List) {
    echo(l);
    icmp(l);
    udp(l);
    tcp(l);
    fragments(l);
}

fn us() -> Ipv4Addr {
    Lan.router4()
}

fn echo(l: &mut List) {
    for (name, size) in [
        ("v4 echo to us", 56),
        ("v4 echo to us, no data", 0),
        ("v4 echo to us, one byte", 1),
        ("v4 echo to us, full frame", 1472),
    ] {
        l.add(name, &["lan echo reply"], |h| h.lan(h.echo4(us(), size)));
    }
    l.add("v4 echo to our far side", &["lan echo reply"], |h| h.lan(h.echo4(Wan.router4(), 56)));
    l.add("v4 echo to us, ttl 1", &["lan echo reply"], |h| h.lan(V4 { ttl: 1, ..h.echo4(us(), 56) }));
    l.add("v4 echo to our far side, ttl 1", &["lan echo reply"], |h| {
        h.lan(V4 { ttl: 1, ..h.echo4(Wan.router4(), 56) })
    });
    l.add("v4 echo to us, tos and df", &["lan echo reply"], |h| {
        h.lan(V4 { tos: 0xb8, fragment: frame::DF, ..h.echo4(us(), 56) })
    });
    l.add("v4 echo to us, ecn", &["lan echo reply"], |h| h.lan(V4 { tos: 0x03, ..h.echo4(us(), 56) }));
    l.add("v4 echo to us, bad checksum", &[], |h| {
        let mut p = h.echo4(us(), 56);
        p.payload[2] ^= 1;
        h.lan(p)
    });
    l.add("v4 echo to us, code 5", &["lan echo reply"], |h| {
        h.lan(V4::new(h.a4(Lan), us(), frame::ICMP, frame::icmp(8, 5, 0x99, b"odd")))
    });
    l.add("v4 echo to us, cut at 6 bytes", &[], |h| {
        let mut p = h.echo4(us(), 0);
        p.payload.truncate(6);
        h.lan(p)
    });
    l.add("v4 echo to us, trailing bytes", &["lan echo reply"], |h| {
        h.lan((frame::IPV4, [h.echo4(us(), 3).bytes(), vec![0xee; 15]].concat()))
    });
    l.add("v4 echo to us with record route", &["lan echo reply"], |h| {
        let options = vec![7, 15, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        h.lan(V4 { options, ..h.echo4(us(), 8) })
    })
    .known("ICMP error or reply to a packet with IP options");
    l.add("v4 echo to us with no-operations", &["lan echo reply"], |h| {
        h.lan(V4 { options: vec![1, 1, 1, 0], ..h.echo4(us(), 8) })
    });
    l.add("v4 echo to us from beyond a router", &["wan echo reply"], |h| {
        let request = frame::icmp(8, 0, 1, b"far");
        h.wan(V4::new([10, 100, 0, h.0].into(), Wan.router4(), frame::ICMP, request))
    });
    l.add("v4 echo to us from nowhere", &[], |h| {
        h.lan(V4::new([203, 0, 113, 3].into(), us(), frame::ICMP, frame::icmp(8, 0, 1, b"?")))
    });
}

fn icmp(l: &mut List) {
    let to_us = |h: Hosts, message: Vec<u8>| h.lan(V4::new(h.a4(Lan), us(), frame::ICMP, message));
    l.add("v4 timestamp request", &["lan icmp 14/0"], |h| to_us(h, frame::icmp(13, 0, 7, &[1; 12])));
    l.add("v4 timestamp request, too short", &[], |h| to_us(h, frame::icmp(13, 0, 7, &[0; 2])));
    l.add("v4 address mask request", &[], |h| to_us(h, frame::icmp(17, 0, 7, &[0; 4])));
    l.add("v4 information request", &[], |h| to_us(h, frame::icmp(15, 0, 7, &[])));
    l.add("v4 router solicitation", &[], |h| to_us(h, frame::icmp(10, 0, 0, &[])));
    l.add("v4 source quench", &[], |h| to_us(h, frame::icmp(4, 0, 0, &h.udp4(b"x").bytes())));
    l.add("v4 redirect to us", &[], |h| {
        let quoted = h.udp4_between(us(), h.a4(Wan), b"x").bytes();
        to_us(h, frame::icmp(5, 1, u32::from(h.a4(Lan)), &quoted))
    });
    l.add("v4 unknown icmp type", &[], |h| to_us(h, frame::icmp(99, 1, 0, b"x")));
    l.add("v4 extended echo request", &[], |h| to_us(h, frame::icmp(42, 0, 0x0001_0001, b"")));
    l.add("v4 echo reply nobody asked for", &[], |h| to_us(h, frame::icmp(0, 0, 7, b"x")));
    l.add("v4 error about nothing we sent", &[], |h| {
        let quoted = h.udp4_between(us(), h.a4(Wan), b"x").bytes();
        to_us(h, frame::icmp(3, 1, 0, &quoted))
    });
    l.add("v4 error with half a quotation", &[], |h| to_us(h, frame::icmp(3, 1, 0, &[0x45, 0, 0])));
}

fn udp(l: &mut List) {
    l.add("v4 udp closed port", &["lan icmp 3/3"], |h| h.lan(h.udp4_to(us(), b"anyone?")));
    l.add("v4 udp closed port, far side", &["lan icmp 3/3"], |h| h.lan(h.udp4_to(Wan.router4(), b"anyone?")));
    l.add("v4 udp closed port, no checksum", &["lan icmp 3/3"], |h| {
        let mut p = h.udp4_to(us(), b"x");
        p.payload[6..8].fill(0);
        h.lan(p)
    });
    l.add("v4 udp closed port, bad checksum", &[], |h| {
        let mut p = h.udp4_to(us(), b"x");
        p.payload[6] ^= 0x55;
        h.lan(p)
    });
    l.add("v4 udp closed port, ttl 1", &["lan icmp 3/3"], |h| h.lan(V4 { ttl: 1, ..h.udp4_to(us(), b"x") }));
    l.add("v4 udp closed port, long", &["lan icmp 3/3"], |h| h.lan(h.udp4_to(us(), &[7; 1400])));
    l.add("v4 udp length beyond the packet", &[], |h| {
        let mut p = h.udp4_to(us(), b"x");
        p.payload[4..6].copy_from_slice(&100u16.to_be_bytes());
        h.lan(p)
    });
    l.add("v4 udp length below the packet", &["lan icmp 3/3"], |h| {
        // Right for the eight bytes that count; the rest is not the datagram's.
        let mut p = h.udp4_to(us(), b"");
        p.payload.extend([0xee; 6]);
        h.lan(p)
    });
    l.add("v4 udp length below its header", &[], |h| {
        let mut p = h.udp4_to(us(), b"x");
        p.payload[4..6].copy_from_slice(&7u16.to_be_bytes());
        h.lan(p)
    });
    l.add("v4 udp cut in the header", &[], |h| {
        let mut p = h.udp4_to(us(), b"x");
        p.payload.truncate(5);
        h.lan(p)
    });
    l.add("v4 udp port 0", &["lan icmp 3/3"], |h| {
        h.lan(V4::new(h.a4(Lan), us(), frame::UDP, frame::udp(h.a4(Lan), us(), [4000, 0], b"x")))
    });
    l.add("v4 udp to us from the broadcast address", &["lan icmp 3/3"], |h| {
        h.lan(h.udp4_between(Lan.host4(255), us(), b"x"))
    })
    .known("answer to a packet whose source is the segment's broadcast address");
    l.add("v4 protocol nobody speaks", &["lan icmp 3/2"], |h| {
        h.lan(V4::new(h.a4(Lan), us(), frame::UNKNOWN, b"12345678".to_vec()))
    });
    l.add("v4 protocol nobody speaks, no payload", &["lan icmp 3/2"], |h| {
        h.lan(V4::new(h.a4(Lan), us(), frame::UNKNOWN, vec![]))
    });
}

fn tcp(l: &mut List) {
    const RESET: &str = "TCP reset over IPv4";
    let segment = |h: Hosts, numbers, flags, data: &[u8]| {
        let message = frame::tcp(h.a4(Lan), us(), [4000, 81], numbers, flags, data);
        V4::new(h.a4(Lan), us(), frame::TCP, message)
    };
    l.add("v4 tcp syn to a closed port", &["lan tcp RA"], |h| h.lan(segment(h, [1000, 0], frame::SYN, b"")))
        .known(RESET);
    l.add("v4 tcp syn with data", &["lan tcp RA"], |h| h.lan(segment(h, [1000, 0], frame::SYN, b"early")))
        .known(RESET);
    l.add("v4 tcp ack to a closed port", &["lan tcp R"], |h| h.lan(segment(h, [1000, 77], frame::ACK, b"")))
        .known(RESET);
    l.add("v4 tcp fin and data", &["lan tcp RA"], |h| h.lan(segment(h, [1000, 0], frame::FIN, b"bye")))
        .known(RESET);
    l.add("v4 tcp data with ack", &["lan tcp R"], |h| {
        h.lan(segment(h, [1000, 77], frame::ACK | frame::PSH, b"data"))
    })
    .known(RESET);
    l.add("v4 tcp no flags", &["lan tcp RA"], |h| h.lan(segment(h, [1000, 0], 0, b""))).known(RESET);
    l.add("v4 tcp rst", &[], |h| h.lan(segment(h, [1000, 0], frame::RST, b"")));
    l.add("v4 tcp bad checksum", &[], |h| {
        let mut p = segment(h, [1000, 0], frame::SYN, b"");
        p.payload[16] ^= 0x55;
        h.lan(p)
    });
    l.add("v4 tcp cut in the header", &[], |h| {
        let mut p = segment(h, [1000, 0], frame::SYN, b"");
        p.payload.truncate(12);
        h.lan(p)
    });
    l.add("v4 tcp header length 4 words", &[], |h| {
        let mut p = segment(h, [1000, 0], frame::SYN, b"");
        p.payload[12] = 4 << 4;
        p.payload[16..18].fill(0);
        let sum = frame::upper_checksum(h.a4(Lan).into(), us().into(), frame::TCP, &p.payload);
        p.payload[16..18].copy_from_slice(&sum.to_be_bytes());
        h.lan(p)
    });
    l.add("v4 tcp to our far side", &["lan tcp RA"], |h| {
        let dst = Wan.router4();
        let message = frame::tcp(h.a4(Lan), dst, [4000, 81], [5, 0], frame::SYN, b"");
        h.lan(V4 { tos: 0x10, ..V4::new(h.a4(Lan), dst, frame::TCP, message) })
    })
    .known(RESET);
}

fn fragments(l: &mut List) {
    l.add("v4 echo in fragments", &["lan @1480+", "lan @2960", "lan echo reply+"], |h| {
        h.all(h.echo4(us(), 4000).fragments(1400))
    });
    l.add("v4 echo in fragments, out of order", &["lan echo reply"], |h| {
        let pieces = h.echo4(us(), 1200).fragments(400);
        h.all([2, 0, 3, 1].map(|i| pieces[i].clone()))
    });
    l.add("v4 echo in tiny fragments", &["lan echo reply"], |h| h.all(h.echo4(us(), 120).fragments(8)));
    l.add("v4 echo in fragments, one twice", &["lan echo reply"], |h| {
        let pieces = h.echo4(us(), 600).fragments(400);
        h.all([&pieces[0], &pieces[0], &pieces[1]].map(Clone::clone))
    });
    l.add("v4 fragments overlap", &[], |h| {
        let whole = h.echo4(us(), 600);
        let piece = |from: usize, to: usize| V4 {
            fragment: (from / 8) as u16 | if to < 608 { MF } else { 0 },
            payload: whole.payload[from..to].to_vec(),
            ..whole.clone()
        };
        h.all([piece(0, 400), piece(392, 608)])
    });
    l.add("v4 fragments, the last missing", &[], |h| {
        h.all(h.echo4(us(), 600).fragments(400).into_iter().take(1))
    });
    l.add("v4 fragment length not a multiple of eight", &[], |h| {
        let whole = h.echo4(us(), 600);
        let piece = |from: usize, to: usize, more: u16| V4 {
            fragment: (from / 8) as u16 | more,
            payload: whole.payload[from..to].to_vec(),
            ..whole.clone()
        };
        h.all([piece(0, 397, MF), piece(400, 608, 0)])
    });
    l.add("v4 fragments beyond 65535", &[], |h| {
        let whole = h.echo4(us(), 1000);
        h.all([
            V4 { fragment: MF, ..whole.clone() },
            V4 { fragment: 0x1fff, payload: vec![7; 1000], ..whole },
        ])
    });
    l.add("v4 udp in fragments to a closed port", &["lan icmp 3/3"], |h| {
        h.all(h.udp4_to(us(), &[7; 900]).fragments(400))
    });
    l.add("v4 unknown protocol in fragments", &["lan icmp 3/2"], |h| {
        h.all(V4::new(h.a4(Lan), us(), frame::UNKNOWN, vec![9; 900]).fragments(400))
    });
}
