//! IPv6 extension headers, transit and to the router: options, routing headers, fragments, chains.

use super::{Hosts, List};
use crate::frame::{self, DESTINATION, FRAGMENT, HOP_BY_HOP, ROUTING, V6};
use crate::twin::Port::{Lan, Wan};

pub(crate) fn cases(l: &mut List) {
    hop_by_hop(l);
    destination(l);
    routing(l);
    fragments(l);
    chains(l);
}

fn hop_by_hop(l: &mut List) {
    let with = |h: Hosts, body: &[u8]| h.udp6(b"x").extend(HOP_BY_HOP, body);
    l.add("v6 hop-by-hop padding", &["wan hbh udp"], |h| h.lan(with(h, &[1, 4, 0, 0, 0, 0])));
    l.add("v6 hop-by-hop pad1 six times", &["wan hbh udp"], |h| h.lan(with(h, &[0; 6])));
    l.add("v6 hop-by-hop padding not zero", &[], |h| h.lan(with(h, &[1, 4, 0, 7, 0, 0])));
    l.add("v6 hop-by-hop padding of 9", &[], |h| {
        h.lan(with(h, &[1, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]))
    });
    l.add("v6 hop-by-hop router alert", &["wan hbh udp"], |h| h.lan(with(h, &[5, 2, 0, 0, 1, 0])));
    l.add("v6 hop-by-hop router alert of length 3", &[], |h| h.lan(with(h, &[5, 3, 0, 0, 0, 0])));
    l.add("v6 hop-by-hop unknown, skip", &["wan hbh udp"], |h| h.lan(with(h, &[0x1e, 4, 0, 0, 0, 0])));
    l.add("v6 hop-by-hop unknown, discard", &[], |h| h.lan(with(h, &[0x5e, 4, 0, 0, 0, 0])));
    l.add("v6 hop-by-hop unknown, report", &["lan icmp6 4/2"], |h| h.lan(with(h, &[0x9e, 4, 0, 0, 0, 0])));
    l.add("v6 hop-by-hop unknown, report unless multicast", &["lan icmp6 4/2"], |h| {
        h.lan(with(h, &[0xde, 4, 0, 0, 0, 0]))
    });
    l.add("v6 hop-by-hop unknown behind padding", &["lan icmp6 4/2"], |h| {
        h.lan(with(h, &[1, 2, 0, 0, 0x9e, 0]))
    });
    l.add("v6 hop-by-hop option beyond its header", &[], |h| h.lan(with(h, &[0x1e, 9, 0, 0, 0, 0])));
    l.add("v6 hop-by-hop beyond the packet", &[], |h| {
        let mut p = h.v6(frame::UDP, vec![]).extend(HOP_BY_HOP, &[1, 4, 0, 0, 0, 0]);
        p.payload[1] = 9;
        h.lan(p)
    });
    l.add("v6 hop-by-hop not first", &["wan dst hbh udp"], |h| {
        h.lan(with(h, &[1, 4, 0, 0, 0, 0]).extend(DESTINATION, &[1, 4, 0, 0, 0, 0]))
    });
    l.add("v6 hop-by-hop unknown to us", &["lan icmp6 4/2"], |h| {
        h.lan(h.echo6(Lan.router6(), 8).extend(HOP_BY_HOP, &[0x9e, 4, 0, 0, 0, 0]))
    });
    l.add("v6 hop-by-hop unknown, hop limit 1", &["lan icmp6 4/2"], |h| {
        h.lan(V6 { hops: 1, ..with(h, &[0x9e, 4, 0, 0, 0, 0]) })
    });
    let all_nodes = "ff02::1".parse().unwrap();
    let group = sekisho::base::Mac::of_multicast_v6(all_nodes);
    l.add("v6 hop-by-hop unknown to a group, report", &["lan icmp6 4/2"], |h| {
        let p = h.udp6_to(all_nodes, b"x").extend(HOP_BY_HOP, &[0x9e, 4, 0, 0, 0, 0]);
        vec![h.framed(Lan, group, p)]
    });
    l.add("v6 hop-by-hop unknown to a group, silent", &[], |h| {
        let p = h.udp6_to(all_nodes, b"x").extend(HOP_BY_HOP, &[0xde, 4, 0, 0, 0, 0]);
        vec![h.framed(Lan, group, p)]
    });
    l.add("v6 jumbo option", &["lan icmp6 4/0"], |h| h.lan(with(h, &[0xc2, 4, 0, 0, 0, 9])));
}

fn destination(l: &mut List) {
    let us = Lan.router6();
    let odd: &[u8] = &[0x9e, 4, 0, 0, 0, 0];
    l.add("v6 destination options pass", &["wan dst udp"], |h| h.lan(h.udp6(b"x").extend(DESTINATION, odd)));
    l.add("v6 destination options to us", &["lan echo reply"], |h| {
        h.lan(h.echo6(us, 8).extend(DESTINATION, &[1, 4, 0, 0, 0, 0]))
    });
    l.add("v6 destination option unknown to us, report", &["lan icmp6 4/2"], |h| {
        h.lan(h.echo6(us, 8).extend(DESTINATION, odd))
    });
    l.add("v6 destination option unknown to us, skip", &["lan echo reply"], |h| {
        h.lan(h.echo6(us, 8).extend(DESTINATION, &[0x1e, 4, 0, 0, 0, 0]))
    });
    l.add("v6 destination option unknown to us, discard", &[], |h| {
        h.lan(h.echo6(us, 8).extend(DESTINATION, &[0x5e, 4, 0, 0, 0, 0]))
    });
    l.add("v6 destination options twice, to us", &["lan echo reply"], |h| {
        let pad = &[1, 4, 0, 0, 0, 0];
        h.lan(h.echo6(us, 8).extend(DESTINATION, pad).extend(DESTINATION, pad))
    });
}

fn routing(l: &mut List) {
    let us = Lan.router6();
    // Type, segments left, four reserved bytes, one address.
    let header = |kind: u8, left: u8| {
        let far: std::net::Ipv6Addr = "fd02::99".parse().unwrap();
        [&[kind, left, 0, 0, 0, 0][..], &far.octets()].concat()
    };
    l.add("v6 routing header 0 to us", &["lan icmp6 4/0"], |h| {
        h.lan(h.udp6_to(us, b"x").extend(ROUTING, &header(0, 1)))
    });
    l.add("v6 routing header 0 to us, used up", &["lan echo reply"], |h| {
        h.lan(h.echo6(us, 8).extend(ROUTING, &header(0, 0)))
    });
    l.add("v6 routing header 0 passing by", &["wan rh udp"], |h| {
        h.lan(h.udp6(b"x").extend(ROUTING, &header(0, 1)))
    });
    l.add("v6 routing header 2 to us", &["lan icmp6 4/0"], |h| {
        h.lan(h.udp6_to(us, b"x").extend(ROUTING, &header(2, 1)))
    });
    l.add("v6 routing header 200 to us", &["lan icmp6 4/0"], |h| {
        h.lan(h.udp6_to(us, b"x").extend(ROUTING, &header(200, 1)))
    });
    l.add("v6 segment routing header to us", &[], |h| {
        h.lan(h.udp6_to(us, b"x").extend(ROUTING, &header(4, 1)))
    })
    .known("segment routing header that names this router");
}

fn fragments(l: &mut List) {
    let us = Lan.router6();
    l.add("v6 fragments pass as they come", &["wan @1000+", "wan @2000", "wan frag+ udp"], |h| {
        h.all(h.udp6(&[7; 2400]).fragments(1000, 77))
    });
    l.add("v6 atomic fragment passes", &["wan frag udp"], |h| h.lan(h.udp6(b"x").fragment(0, false, 5)));
    l.add("v6 echo in fragments", &["lan @1448+", "lan @2896", "lan frag+ echo reply"], |h| {
        h.all(h.echo6(us, 4000).fragments(1400, 78))
    });
    l.add("v6 echo in fragments, out of order", &["lan echo reply"], |h| {
        let pieces = h.echo6(us, 1200).fragments(400, 79);
        h.all([2, 0, 3, 1].map(|i| pieces[i].clone()))
    });
    l.add("v6 echo in an atomic fragment", &["lan echo reply"], |h| {
        h.lan(h.echo6(us, 8).fragment(0, false, 80))
    });
    l.add("v6 fragments overlap", &[], |h| {
        let whole = h.echo6(us, 600);
        let piece = |from: usize, to: usize| {
            V6 { payload: whole.payload[from..to].to_vec(), ..whole.clone() }.fragment(from, to < 608, 81)
        };
        h.all([piece(0, 400), piece(392, 608)])
    });
    l.add("v6 echo in fragments, one twice", &["lan echo reply"], |h| {
        let pieces = h.echo6(us, 600).fragments(400, 82);
        h.all([&pieces[0], &pieces[0], &pieces[1]].map(Clone::clone))
    });
    l.add("v6 fragment length not a multiple of eight", &["lan icmp6 4/0"], |h| {
        h.lan(V6::new(h.a6(Lan), us, frame::UDP, vec![7; 397]).fragment(0, true, 83))
    });
    l.add("v6 fragment beyond 65535", &["lan icmp6 4/0"], |h| {
        h.lan(V6::new(h.a6(Lan), us, frame::UDP, vec![7; 400]).fragment(0xfff8, false, 84))
    });
    l.add("v6 first fragment without an upper header", &["lan icmp6 4/3"], |h| {
        let p = V6::new(h.a6(Lan), us, frame::UDP, vec![1, 4, 0, 0, 0, 0, 0, 0]);
        h.lan(V6 { next: DESTINATION, ..p }.fragment(0, true, 85))
    });
    l.add("v6 first fragment without an upper header, passing by", &["wan frag+ dst udp"], |h| {
        let p = V6::new(h.a6(Lan), h.a6(Wan), frame::UDP, vec![frame::UDP, 0, 1, 4, 0, 0, 0, 0]);
        h.lan(V6 { next: DESTINATION, ..p }.fragment(0, true, 89))
    })
    .known("first IPv6 fragment without its upper-layer header, passing by");
    l.add("v6 lone later fragment to us", &[], |h| {
        h.lan(V6::new(h.a6(Lan), us, frame::UDP, vec![7; 400]).fragment(800, false, 86))
    });
    l.add("v6 fragment header cut", &["lan icmp6 4/0"], |h| {
        h.lan(V6::new(h.a6(Lan), us, FRAGMENT, vec![17, 0, 0, 0]))
    })
    .known("IPv6 fragment header that is cut short");
    l.add("v6 udp in fragments to a closed port", &["lan icmp6 1/4"], |h| {
        h.all(h.udp6_to(us, &[7; 900]).fragments(400, 87))
    });
}

fn chains(l: &mut List) {
    let pad: &[u8] = &[1, 4, 0, 0, 0, 0];
    l.add("v6 eight destination headers pass", &["wan dst dst dst dst dst dst dst dst udp"], |h| {
        h.lan((0..8).fold(h.udp6(b"x"), |p, _| p.extend(DESTINATION, pad)))
    });
    l.add("v6 nine destination headers", &["wan dst dst dst dst dst dst dst dst dst udp"], |h| {
        h.lan((0..9).fold(h.udp6(b"x"), |p, _| p.extend(DESTINATION, pad)))
    })
    .known("more than eight IPv6 extension headers, passing by");
    l.add("v6 extension header cut, passing by", &["wan dst udp"], |h| {
        let mut p = h.udp6(b"").extend(DESTINATION, pad);
        p.payload.truncate(8);
        p.payload[1] = 9;
        h.lan(p)
    });
    l.add("v6 hop-by-hop not first, to us", &["lan icmp6 4/1"], |h| {
        h.lan(h.echo6(Lan.router6(), 8).extend(HOP_BY_HOP, pad).extend(DESTINATION, pad))
    });
    l.add("v6 all kinds of headers to us", &["lan echo reply"], |h| {
        let p = h.echo6(Lan.router6(), 8).extend(DESTINATION, pad).fragment(0, false, 88);
        h.lan(p.extend(DESTINATION, pad).extend(HOP_BY_HOP, pad))
    });
    l.add("v6 unknown next header behind options, to us", &["lan icmp6 4/1"], |h| {
        let p = V6::new(h.a6(Lan), Lan.router6(), frame::UNKNOWN, vec![1, 2, 3, 4]);
        h.lan(p.extend(DESTINATION, pad))
    });
    l.add("v6 chain ends in no next header, to us", &[], |h| {
        h.lan(V6::new(h.a6(Lan), Lan.router6(), frame::NO_NEXT, vec![]).extend(DESTINATION, pad))
    });
    l.add("v6 chain cut, passing by", &["wan dst udp"], |h| {
        let mut p = h.udp6(b"").extend(DESTINATION, pad);
        p.payload.truncate(8);
        h.lan(V6 { dst: h.a6(Wan), ..p })
    });
}
