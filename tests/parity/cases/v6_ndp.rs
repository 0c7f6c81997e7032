//! Neighbor discovery, asked, told and lied to (RFC 4861, RFC 4862).

use std::net::Ipv6Addr;
use std::time::Duration;

use sekisho::base::Mac;

use super::{Hosts, List};
use crate::frame::{self, V6};
use crate::twin::Port::{Lan, Wan};

pub(crate) fn cases(l: &mut List) {
    asked(l);
    lied_to(l);
    told(l);
}

/// A solicitation with everything right, to the solicited-node group of the target.
fn solicitation(h: Hosts, src: Ipv6Addr, target: Ipv6Addr) -> V6 {
    solicitation_with(src, target, &frame::link_layer_option(1, h.mac(Lan)))
}

fn solicitation_with(src: Ipv6Addr, target: Ipv6Addr, options: &[u8]) -> V6 {
    let dst = frame::solicited_node(target);
    V6 { hops: 255, ..V6::new(src, dst, frame::ICMPV6, frame::neighbor(src, dst, 135, 0, target, options)) }
}

fn multicast(h: Hosts, packet: V6) -> Vec<(crate::twin::Port, Vec<u8>)> {
    let mac = Mac::of_multicast_v6(packet.dst);
    vec![h.framed(Lan, mac, packet)]
}

fn asked(l: &mut List) {
    let us = Lan.router6();
    l.add("ns for us", &["lan advertisement"], |h| multicast(h, solicitation(h, h.a6(Lan), us)));
    l.add("ns for us from link-local", &["lan advertisement"], |h| multicast(h, solicitation(h, h.ll(), us)));
    l.add("ns for our link-local address", &["lan advertisement"], |h| {
        multicast(h, solicitation(h, h.ll(), Lan.link_local()))
    });
    l.add("ns for our link-local address from afar", &["lan advertisement"], |h| {
        multicast(h, solicitation(h, h.a6(Lan), Lan.link_local()))
    });
    l.add("ns, unicast", &["lan advertisement"], |h| {
        let option = frame::link_layer_option(1, h.mac(Lan));
        let message = frame::neighbor(h.a6(Lan), us, 135, 0, us, &option);
        h.lan(V6 { hops: 255, ..V6::new(h.a6(Lan), us, frame::ICMPV6, message) })
    });
    l.add("ns, unicast without an option", &["lan advertisement"], |h| {
        let message = frame::neighbor(h.a6(Lan), us, 135, 0, us, &[]);
        h.lan(V6 { hops: 255, ..V6::new(h.a6(Lan), us, frame::ICMPV6, message) })
    });
    l.add("ns without an option", &[], |h| multicast(h, solicitation_with(h.a6(Lan), us, &[])));
    l.add("ns without an option from a neighbor", &["lan advertisement", "lan advertisement"], |h| {
        let first = multicast(h, solicitation(h, h.a6(Lan), us));
        [first, multicast(h, solicitation_with(h.a6(Lan), us, &[]))].concat()
    });
    l.add("ns with an unknown option", &["lan advertisement"], |h| {
        let option = [&[200, 1, 0, 0, 0, 0, 0, 0][..], &frame::link_layer_option(1, h.mac(Lan))].concat();
        multicast(h, solicitation_with(h.a6(Lan), us, &option))
    });
    l.add("dad probe for us", &["lan advertisement"], |h| {
        multicast(h, solicitation_with(Ipv6Addr::UNSPECIFIED, us, &[]))
    });
    l.add("dad probe for our link-local address", &["lan advertisement"], |h| {
        multicast(h, solicitation_with(Ipv6Addr::UNSPECIFIED, Lan.link_local(), &[]))
    });
    l.add("dad probe with a nonce", &["lan advertisement"], |h| {
        multicast(h, solicitation_with(Ipv6Addr::UNSPECIFIED, us, &[14, 1, 1, 2, 3, 4, 5, 6]))
    });
    l.add("ns for the subnet-router anycast", &["lan advertisement"], |h| {
        multicast(h, solicitation(h, h.a6(Lan), Lan.host6(0)))
    })
    // RFC 4861 §7.2.7: whoever answers for an anycast address waits a random time below a second.
    .patience(Duration::from_secs(1));
    l.add("ns for our far side", &[], |h| multicast(h, solicitation(h, h.a6(Lan), Wan.router6())));
    l.add("ns for a neighbor", &[], |h| multicast(h, solicitation(h, h.a6(Lan), Lan.host6(0x2c9))));
    l.add("ns from off the segment", &["lan advertisement"], |h| {
        multicast(h, solicitation(h, "fd01:1::9".parse().unwrap(), us))
    });
}

fn lied_to(l: &mut List) {
    let us = Lan.router6();
    l.add("ns with hop limit 254", &[], |h| multicast(h, V6 { hops: 254, ..solicitation(h, h.a6(Lan), us) }));
    l.add("ns with a bad checksum", &[], |h| {
        let mut p = solicitation(h, h.a6(Lan), us);
        p.payload[2] ^= 1;
        multicast(h, p)
    });
    l.add("ns with code 1", &[], |h| {
        let dst = frame::solicited_node(us);
        let message = frame::icmpv6(h.a6(Lan), dst, 135, 1, 0, &us.octets());
        multicast(h, V6 { hops: 255, ..V6::new(h.a6(Lan), dst, frame::ICMPV6, message) })
    });
    l.add("ns cut in the target", &[], |h| {
        let dst = frame::solicited_node(us);
        let message = frame::icmpv6(h.a6(Lan), dst, 135, 0, 0, &us.octets()[..12]);
        multicast(h, V6 { hops: 255, ..V6::new(h.a6(Lan), dst, frame::ICMPV6, message) })
    });
    l.add("ns for a group", &[], |h| multicast(h, solicitation(h, h.a6(Lan), "ff02::1".parse().unwrap())));
    l.add("ns with an option of length 0", &[], |h| {
        multicast(h, solicitation_with(h.a6(Lan), us, &[1, 0, 0, 0, 0, 0, 0, 0]))
    });
    l.add("ns with an option beyond the message", &[], |h| {
        multicast(h, solicitation_with(h.a6(Lan), us, &[1, 3, 0, 0, 0, 0, 0, 0]))
    });
    l.add("dad probe with a link-layer address", &[], |h| {
        multicast(h, solicitation(h, Ipv6Addr::UNSPECIFIED, us))
    });
    l.add("dad probe sent to us alone", &[], |h| {
        let none = Ipv6Addr::UNSPECIFIED;
        let message = frame::neighbor(none, us, 135, 0, us, &[]);
        h.lan(V6 { hops: 255, ..V6::new(none, us, frame::ICMPV6, message) })
    });
    l.add("ns from ourselves", &["lan advertisement"], |h| multicast(h, solicitation(h, us, us)))
        .known("neighbor solicitation from one of the router's own addresses");
    l.add("ns with a group's mac as its own", &["lan advertisement"], |h| {
        let option = frame::link_layer_option(1, Mac([0x33, 0x33, 0, 0, 0, 9]));
        multicast(h, solicitation_with(h.a6(Lan), us, &option))
    })
    .known("ARP or neighbor solicitation with a group address as the sender's MAC");
    l.spoil();
}

fn told(l: &mut List) {
    let us = Lan.router6();
    let say = |h: Hosts, dst: Ipv6Addr, kind: u8, flags: u32, data: &[u8]| {
        let message = frame::icmpv6(h.ll(), dst, kind, 0, flags, data);
        V6 { hops: 255, ..V6::new(h.ll(), dst, frame::ICMPV6, message) }
    };
    let all_nodes: Ipv6Addr = "ff02::1".parse().unwrap();
    let all_routers: Ipv6Addr = "ff02::2".parse().unwrap();
    l.add("advertisement nobody asked for", &[], |h| {
        let option = frame::link_layer_option(2, h.mac(Lan));
        let data = [&h.ll().octets()[..], &option].concat();
        multicast(h, say(h, all_nodes, 136, 0x2000_0000, &data))
    });
    l.add("advertisement of our own address", &[], |h| {
        let option = frame::link_layer_option(2, h.mac(Lan));
        let data = [&us.octets()[..], &option].concat();
        multicast(h, say(h, all_nodes, 136, 0x2000_0000, &data))
    });
    l.add("router solicitation", &[], |h| {
        let option = frame::link_layer_option(1, h.mac(Lan));
        multicast(h, say(h, all_routers, 133, 0, &option))
    });
    l.add("router advertisement", &[], |h| multicast(h, say(h, all_nodes, 134, 0x4000_0708, &[0; 8])));
    l.add("redirect to us", &[], |h| {
        let data = [h.ll().octets(), h.a6(Wan).octets()].concat();
        h.lan(say(h, us, 137, 0, &data))
    });
}
