//! IPv4 through the router: header checks, options, fragments, TTL, addresses, scope.

use std::net::Ipv4Addr;

use sekisho::base::Mac;

use super::List;
use crate::frame::{self, DF, IPV4, MF, V4};
use crate::twin::Port::{Dmz, Lan, Wan};

pub(crate) fn cases(l: &mut List) {
    passing(l);
    malformed(l);
    options(l);
    fragments(l);
    addresses(l);
    group(l);
}

fn passing(l: &mut List) {
    l.add("v4 udp", &["wan udp"], |h| h.lan(h.udp4(b"hello")));
    l.add("v4 udp without data", &["wan udp"], |h| h.lan(h.udp4(b"")));
    l.add("v4 udp without checksum", &["wan udp"], |h| {
        let mut p = h.udp4(b"hello");
        p.payload[6..8].fill(0);
        h.lan(p)
    });
    l.add("v4 udp with a bad checksum", &["wan udp"], |h| {
        let mut p = h.udp4(b"hello");
        p.payload[6] ^= 0x55;
        h.lan(p)
    });
    l.add("v4 tcp syn", &["wan tcp S"], |h| {
        let ends = (h.a4(Lan), h.a4(Wan));
        h.lan(h.v4(frame::TCP, frame::tcp(ends.0, ends.1, [4000, 80], [7, 0], frame::SYN, b"")))
    });
    l.add("v4 echo request", &["wan echo request"], |h| h.lan(h.echo4(h.a4(Wan), 56)));
    l.add("v4 unknown protocol", &["wan proto 253"], |h| h.lan(h.v4(frame::UNKNOWN, vec![1, 2, 3])));
    l.add("v4 no payload", &["wan proto 253"], |h| h.lan(h.v4(frame::UNKNOWN, vec![])));
    l.add("v4 tos and ecn stay", &["wan udp"], |h| h.lan(V4 { tos: 0xb9, ..h.udp4(b"ef, ect") }));
    l.add("v4 ttl 2", &["wan udp"], |h| h.lan(V4 { ttl: 2, ..h.udp4(b"last hop but one") }));
    l.add("v4 ttl 255", &["wan udp"], |h| h.lan(V4 { ttl: 255, ..h.udp4(b"far to go") }));
    // 0x0000 and 0xffff are the two zeros of the checksum: the incremental update must not mix them up.
    for (name, id) in [("v4 checksum becomes ffff or 0000", 0u16), ("v4 checksum wraps", 0xfeff)] {
        l.add(name, &["wan udp"], |h| {
            let p = V4 { id, ..h.udp4(b"sum") };
            let sum = u16::from_be_bytes([p.bytes()[10], p.bytes()[11]]);
            // The identification that brings the sum to its edge.
            h.lan(V4 { id: id.wrapping_add(sum.wrapping_sub(1)), ..p })
        });
    }
    l.add("v4 to the far side and back", &["lan udp", "wan udp"], |h| {
        let back = h.udp4_between(h.a4(Wan), h.a4(Lan), b"pong");
        [h.lan(h.udp4(b"ping")), h.wan(back)].concat()
    });
    l.add("v4 beyond the next hop", &["wan udp"], |h| h.lan(h.udp4_to(Ipv4Addr::new(10, 100, 3, 4), b"via")));
    l.add("v4 to a routed link-local prefix", &["wan udp"], |h| {
        h.lan(h.udp4_to(Ipv4Addr::new(169, 254, 7, 7), b"routed all the same"))
    });
}

fn malformed(l: &mut List) {
    l.add("v4 bad header checksum", &[], |h| h.lan(V4 { sum: Some(0x1234), ..h.udp4(b"x") }));
    l.add("v4 header checksum zero", &[], |h| h.lan(V4 { sum: Some(0), ..h.udp4(b"x") }));
    l.add("v4 version 5", &[], |h| h.lan(V4 { version: 5, ..h.udp4(b"x") }));
    l.add("v4 version 6", &[], |h| h.lan(V4 { version: 6, ..h.udp4(b"x") }));
    l.add("v4 header length 4 words", &[], |h| h.lan(V4 { ihl: Some(4), ..h.udp4(b"x") }));
    l.add("v4 header length 0", &[], |h| h.lan(V4 { ihl: Some(0), ..h.udp4(b"x") }));
    l.add("v4 header length beyond the packet", &[], |h| h.lan(V4 { ihl: Some(15), ..h.udp4(b"x") }));
    l.add("v4 total length above the frame", &[], |h| h.lan(V4 { total: Some(200), ..h.udp4(b"x") }));
    l.add("v4 total length below the header", &[], |h| h.lan(V4 { total: Some(19), ..h.udp4(b"x") }));
    l.add("v4 total length zero", &[], |h| h.lan(V4 { total: Some(0), ..h.udp4(b"x") }));
    l.add("v4 frame longer than the packet", &["wan udp"], |h| {
        h.lan((IPV4, [h.udp4(b"short").bytes(), vec![0xee; 20]].concat()))
    });
    l.add("v4 cut in the header", &[], |h| h.lan((IPV4, h.udp4(b"x").bytes()[..17].to_vec())));
    l.add("v4 one byte", &[], |h| h.lan((IPV4, vec![0x45])));
    l.add("v4 nothing behind the ethernet header", &[], |h| h.lan((IPV4, vec![])));
    l.add("ethertype ipv4, packet ipv6", &[], |h| h.lan((IPV4, h.udp6(b"x").bytes())));
    l.add("ethertype ipv6, packet ipv4", &[], |h| h.lan((frame::IPV6, h.udp4(b"x").bytes())));
    l.add("unknown ethertype", &[], |h| h.lan((0x88b5, vec![7; 46])));
    l.add("802.3 length instead of a type", &[], |h| h.lan((46, vec![0xaa; 46])));
    l.add("tagged for vlan 7", &[], |h| h.lan((0x8100, [vec![0, 7, 8, 0], h.udp4(b"x").bytes()].concat())));
    l.add("priority tag, vlan 0", &["wan udp"], |h| {
        h.lan((0x8100, [vec![0xa0, 0, 8, 0], h.udp4(b"x").bytes()].concat()))
    });
}

fn options(l: &mut List) {
    let with = |options: &'static [u8]| move |p: V4| V4 { options: options.to_vec(), ..p };
    let nops = with(&[1, 1, 1, 0]);
    l.add("v4 no-operation options", &["wan udp"], |h| h.lan(nops(h.udp4(b"x"))));
    let record = with(&[7, 11, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    l.add("v4 record route", &["wan udp"], |h| h.lan(record(h.udp4(b"x"))));
    let second = with(&[7, 11, 8, 9, 9, 9, 9, 0, 0, 0, 0, 0]);
    l.add("v4 record route, second slot", &["wan udp"], |h| h.lan(second(h.udp4(b"x"))));
    let full = with(&[7, 7, 8, 9, 9, 9, 9, 0]);
    l.add("v4 record route, full", &["wan udp"], |h| h.lan(full(h.udp4(b"x"))));
    let half = with(&[7, 9, 8, 9, 9, 9, 9, 0, 0, 0, 0, 0]);
    l.add("v4 record route, room for half an address", &["lan icmp 12/0"], |h| h.lan(half(h.udp4(b"x"))));
    let early = with(&[7, 7, 3, 0, 0, 0, 0, 0]);
    l.add("v4 record route, pointer too small", &["lan icmp 12/0"], |h| h.lan(early(h.udp4(b"x"))));
    let overflow = with(&[68, 8, 9, 0x00, 0, 0, 0, 1]);
    l.add("v4 timestamp option, full", &["wan udp"], |h| h.lan(overflow(h.udp4(b"x"))));
    let overflowed = with(&[68, 8, 9, 0xf0, 0, 0, 0, 1]);
    l.add("v4 timestamp option, overflow count full", &["lan icmp 12/0"], |h| {
        h.lan(overflowed(h.udp4(b"x")))
    });
    // A slot for somebody else: nothing is to be written.
    let others = with(&[68, 12, 5, 3, 9, 9, 9, 9, 0, 0, 0, 0]);
    l.add("v4 timestamp option for another", &["wan udp"], |h| h.lan(others(h.udp4(b"x"))));
    let loose = with(&[131, 7, 4, 10, 2, 0, 99, 0]);
    l.add("v4 loose source route", &[], |h| h.lan(loose(h.udp4_to(Lan.router4(), b"x"))));
    l.add("v4 loose source route, passing by", &[], |h| h.lan(loose(h.udp4(b"x"))));
    let strict = with(&[137, 7, 4, 10, 2, 0, 99, 0]);
    l.add("v4 strict source route", &[], |h| h.lan(strict(h.udp4(b"x"))));
    let done = with(&[131, 7, 8, 10, 2, 0, 99, 0]);
    l.add("v4 source route, used up", &[], |h| h.lan(done(h.udp4(b"x"))));
    let alert = with(&[148, 4, 0, 0]);
    l.add("v4 router alert", &["wan udp"], |h| h.lan(alert(h.udp4(b"x"))));
    let stranger = with(&[0x9e, 4, 1, 2]);
    l.add("v4 unknown option", &["wan udp"], |h| h.lan(stranger(h.udp4(b"x"))));
    let one = with(&[7, 1, 4, 0]);
    l.add("v4 option length 1", &["lan icmp 12/0"], |h| h.lan(one(h.udp4(b"x"))));
    let beyond = with(&[7, 11, 4, 0]);
    l.add("v4 option beyond the header", &["lan icmp 12/0"], |h| h.lan(beyond(h.udp4(b"x"))));
    let lone = with(&[1, 1, 1, 7]);
    l.add("v4 option without a length", &["lan icmp 12/0"], |h| h.lan(lone(h.udp4(b"x"))));
    let twice = with(&[7, 7, 4, 0, 0, 0, 0, 7, 7, 4, 0, 0, 0, 0, 0, 0]);
    l.add("v4 record route twice", &["lan icmp 12/0"], |h| h.lan(twice(h.udp4(b"x"))))
        .known("ICMP error or reply to a packet with IP options");
    l.add("v4 bad option on an icmp error", &[], |h| {
        let quoted = h.udp4_between(h.a4(Wan), h.a4(Lan), b"x").bytes();
        h.lan(one(h.v4(frame::ICMP, frame::icmp(3, 3, 0, &quoted))))
    });
}

fn fragments(l: &mut List) {
    l.add("v4 fragments pass as they come", &["wan @1000+", "wan @2000", "wan udp+"], |h| {
        h.all(h.udp4(&[7; 2400]).fragments(1000))
    });
    l.add("v4 fragments in reverse", &["wan @1000+", "wan @2000", "wan udp+"], |h| {
        h.all(h.udp4(&[7; 2400]).fragments(1000).into_iter().rev())
    });
    l.add("v4 overlapping fragments pass", &["wan @8+", "wan udp+"], |h| {
        let whole = h.udp4(&[7; 64]);
        let piece = |offset: u16, payload: &[u8]| V4 {
            fragment: offset | MF,
            payload: payload.to_vec(),
            ..whole.clone()
        };
        h.all([piece(0, &whole.payload[..32]), piece(1, &whole.payload[..32])])
    });
    l.add("v4 fragment beyond 65535", &["wan @65528"], |h| {
        h.lan(V4 { fragment: 0x1fff, ..h.udp4(&[7; 100]) })
    });
    l.add("v4 reserved flag", &["wan udp"], |h| h.lan(V4 { fragment: 0x8000, ..h.udp4(b"evil") }));
    l.add("v4 don't fragment and small", &["dmz udp"], |h| {
        h.lan(V4 { fragment: DF, ..h.udp4_to(h.a4(Dmz), b"x") })
    });
    l.add("v4 exactly the next mtu", &["dmz udp"], |h| {
        h.lan(V4 { fragment: DF, ..h.udp4_to(h.a4(Dmz), &[7; 1280 - 28]) })
    });
    l.add("v4 one more than the next mtu, df", &["lan icmp 3/4"], |h| {
        h.lan(V4 { fragment: DF, ..h.udp4_to(h.a4(Dmz), &[7; 1281 - 28]) })
    });
    l.add("v4 one more than the next mtu", &["dmz @1256", "dmz udp+"], |h| {
        h.lan(h.udp4_to(h.a4(Dmz), &[7; 1281 - 28]))
    });
    l.add("v4 fragmented, id and tos stay", &["dmz @1256", "dmz udp+"], |h| {
        h.lan(V4 { id: 0xbeef, tos: 0x28, ..h.udp4_to(h.a4(Dmz), &[7; 1400]) })
    });
    l.add("v4 a middle fragment fragmented", &["dmz @1840+", "dmz @3096+"], |h| {
        h.lan(V4 { fragment: 230 | MF, ..h.udp4_to(h.a4(Dmz), &[7; 1392]) })
    });
    l.add("v4 the last fragment fragmented", &["dmz @1840+", "dmz @3096"], |h| {
        h.lan(V4 { fragment: 230, ..h.udp4_to(h.a4(Dmz), &[7; 1397]) })
    });
    l.add("v4 fragmented with options", &["dmz @1240", "dmz udp+"], |h| {
        // Record route stays with the first fragment, the security option (130) goes into each.
        let options = vec![130, 5, 1, 2, 3, 7, 7, 4, 0, 0, 0, 0, 148, 4, 0, 0];
        h.lan(V4 { options, ..h.udp4_to(h.a4(Dmz), &[7; 1400]) })
    });
    l.add("v4 too big and ttl 1", &["lan icmp 11/0"], |h| {
        h.lan(V4 { ttl: 1, fragment: DF, ..h.udp4_to(h.a4(Dmz), &[7; 1400]) })
    });
    l.add("v4 too big, df, an icmp error", &[], |h| {
        let error = frame::icmp(3, 1, 0, &h.udp4(&[7; 1400]).bytes());
        h.lan(V4 { fragment: DF, ..V4::new(h.a4(Lan), h.a4(Dmz), frame::ICMP, error) })
    });
}

fn addresses(l: &mut List) {
    for (name, src, gives) in [
        ("v4 source 127.0.0.1", [127, 0, 0, 1], &[][..]),
        ("v4 source 127.9.9.9", [127, 9, 9, 9], &[]),
        ("v4 source 0.0.0.0", [0, 0, 0, 0], &[]),
        ("v4 source 0.1.2.3", [0, 1, 2, 3], &["wan udp"]),
        ("v4 source multicast", [224, 0, 0, 5], &[]),
        ("v4 source limited broadcast", [255, 255, 255, 255], &[]),
        ("v4 source our own", [10, 1, 0, 1], &[]),
        ("v4 source our own, far side", [10, 2, 0, 1], &[]),
        ("v4 source class e", [240, 0, 0, 9], &["wan udp"]),
        ("v4 source link-local", [169, 254, 3, 3], &["wan udp"]),
        ("v4 source from nowhere", [203, 0, 113, 5], &["wan udp"]),
        ("v4 source of another segment", [10, 3, 0, 9], &["wan udp"]),
    ] {
        let case = l.add(name, gives, |h| h.lan(h.udp4_between(src.into(), h.a4(Wan), b"spoofed")));
        if src == [0, 1, 2, 3] {
            case.known("address in 0.0.0.0/8 other than 0.0.0.0");
        }
    }
    l.add("v4 source the segment's broadcast", &["wan udp"], |h| {
        h.lan(h.udp4_between(Lan.host4(255), h.a4(Wan), b"spoofed"))
    })
    .known("packet whose source is the segment's broadcast address");
    l.add("v4 source equals destination", &["wan udp"], |h| {
        h.lan(h.udp4_between(h.a4(Wan), h.a4(Wan), b"land"))
    });
    l.add("v4 to 127.0.0.1", &[], |h| h.lan(h.udp4_to(Ipv4Addr::LOCALHOST, b"x")));
    l.add("v4 to 127.9.9.9", &[], |h| h.lan(h.udp4_to([127, 9, 9, 9].into(), b"x")));
    l.add("v4 to 0.0.0.0", &[], |h| h.lan(h.udp4_to(Ipv4Addr::UNSPECIFIED, b"x")));
    l.add("v4 to 0.1.2.3", &["lan icmp 3/0"], |h| h.lan(h.udp4_to([0, 1, 2, 3].into(), b"x")))
        .known("address in 0.0.0.0/8 other than 0.0.0.0");
}

fn group(l: &mut List) {
    let broadcast = Mac::BROADCAST;
    l.add("v4 limited broadcast", &[], |h| {
        vec![h.framed(Lan, broadcast, h.udp4_to(Ipv4Addr::BROADCAST, b"x"))]
    });
    l.add("v4 limited broadcast in a unicast frame", &[], |h| h.lan(h.udp4_to(Ipv4Addr::BROADCAST, b"x")));
    l.add("v4 directed broadcast, this segment", &[], |h| {
        vec![h.framed(Lan, broadcast, h.udp4_to(Lan.host4(255), b"x"))]
    });
    l.add("v4 directed broadcast, far segment", &[], |h| h.lan(h.udp4_to(Wan.host4(255), b"x")));
    l.add("v4 echo to the broadcast address", &[], |h| {
        vec![h.framed(Lan, broadcast, h.echo4(Lan.host4(255), 56))]
    });
    l.add("v4 echo to the far broadcast address", &[], |h| h.lan(h.echo4(Wan.host4(255), 56)));
    let group: Ipv4Addr = [224, 0, 0, 1].into();
    l.add("v4 echo to all systems", &[], |h| {
        vec![h.framed(Lan, Mac::of_multicast_v4(group), h.echo4(group, 56))]
    });
    let mdns: Ipv4Addr = [224, 0, 0, 251].into();
    l.add("v4 multicast, link scope", &[], |h| {
        vec![h.framed(Lan, Mac::of_multicast_v4(mdns), h.udp4_to(mdns, b"x"))]
    });
    let wide: Ipv4Addr = [239, 1, 2, 3].into();
    l.add("v4 multicast, wide scope", &[], |h| {
        vec![h.framed(Lan, Mac::of_multicast_v4(wide), h.udp4_to(wide, b"x"))]
    });
    l.add("v4 unicast in a broadcast frame", &[], |h| vec![h.framed(Lan, broadcast, h.udp4(b"x"))]);
    l.add("v4 unicast in a multicast frame", &[], |h| {
        vec![h.framed(Lan, Mac::of_multicast_v4(wide), h.udp4(b"x"))]
    });
    l.add("v4 echo to us in a broadcast frame", &["lan echo reply"], |h| {
        vec![h.framed(Lan, broadcast, h.echo4(Lan.router4(), 8))]
    });
    l.add("v4 for another station", &[], |h| vec![h.framed(Lan, Mac([2, 9, 9, 9, 9, 9]), h.udp4(b"x"))]);
    l.add("v4 to the mac of our other segment", &[], |h| vec![h.framed(Lan, Wan.mac(), h.udp4(b"x"))]);
    l.add("v4 from a multicast mac", &["wan udp"], |h| {
        let packet = h.udp4(b"x").bytes();
        vec![(Lan, frame::ethernet(Lan.mac(), Mac([3, 4, 0, 1, 0, 9]), IPV4, &packet))]
    })
    .known("frame whose source MAC is a group address");
    l.add("v4 from our own mac", &["wan udp"], |h| {
        vec![(Lan, frame::ethernet(Lan.mac(), Lan.mac(), IPV4, &h.udp4(b"x").bytes()))]
    });
}
