//! ARP, asked, told and lied to (RFC 826, RFC 5227).

use std::net::Ipv4Addr;

use sekisho::base::Mac;

use super::{Hosts, List};
use crate::frame::{self, ARP};
use crate::twin::Port::{Lan, Wan};

const ZERO: Mac = Mac::ZERO;

pub(crate) fn cases(l: &mut List) {
    let us = Lan.router4();
    let ask =
        |h: Hosts, sender: Ipv4Addr, target: Ipv4Addr| frame::arp(1, (h.mac(Lan), sender), (ZERO, target));
    let broadcast = |h: Hosts, message: Vec<u8>| vec![h.framed(Lan, Mac::BROADCAST, (ARP, message))];

    l.add("arp who has us", &["lan arp reply"], |h| broadcast(h, ask(h, h.a4(Lan), us)));
    l.add("arp who has us, in a unicast frame", &["lan arp reply"], |h| h.lan((ARP, ask(h, h.a4(Lan), us))));
    l.add("arp who has our far side", &["lan arp reply"], |h| broadcast(h, ask(h, h.a4(Lan), Wan.router4())));
    l.add("arp probe for us", &["lan arp reply"], |h| broadcast(h, ask(h, Ipv4Addr::UNSPECIFIED, us)));
    l.add("arp probe for our far side", &["lan arp reply"], |h| {
        broadcast(h, ask(h, Ipv4Addr::UNSPECIFIED, Wan.router4()))
    });
    l.add("arp who has a neighbor", &[], |h| broadcast(h, ask(h, h.a4(Lan), Lan.host4(246))));
    l.add("arp who has somebody beyond us", &[], |h| broadcast(h, ask(h, h.a4(Lan), h.a4(Wan))));
    l.add("arp who has us, asked from off the segment", &["lan arp reply"], |h| {
        broadcast(h, ask(h, [192, 0, 2, 9].into(), us))
    });
    l.add("arp who has us, asked in our name", &[], |h| broadcast(h, ask(h, us, us)));
    l.add("arp who has our far side, asked in our name", &[], |h| broadcast(h, ask(h, us, Wan.router4())));
    l.add("arp who has us, asked by the broadcast address", &["lan arp reply"], |h| {
        broadcast(h, ask(h, Lan.host4(255), us))
    });
    l.add("arp who has us, asked by a group", &[], |h| broadcast(h, ask(h, [224, 0, 0, 5].into(), us)));
    l.add("arp who has us, asked by 127.0.0.1", &[], |h| broadcast(h, ask(h, Ipv4Addr::LOCALHOST, us)));
    for (name, target) in [
        ("arp who has 127.0.0.1", [127, 0, 0, 1]),
        ("arp who has 0.0.0.0", [0, 0, 0, 0]),
        ("arp who has the segment's broadcast", [10, 1, 0, 255]),
        ("arp who has 255.255.255.255", [255, 255, 255, 255]),
        ("arp who has a group", [224, 0, 0, 1]),
    ] {
        l.add(name, &[], |h| broadcast(h, ask(h, h.a4(Lan), target.into())));
    }
    l.add("arp gratuitous request", &[], |h| broadcast(h, ask(h, h.a4(Lan), h.a4(Lan))));
    l.add("arp gratuitous reply", &[], |h| {
        let me = (h.mac(Lan), h.a4(Lan));
        broadcast(h, frame::arp(2, me, (Mac::BROADCAST, h.a4(Lan))))
    });
    l.add("arp reply nobody asked for", &[], |h| {
        h.lan((ARP, frame::arp(2, (h.mac(Lan), h.a4(Lan)), (Lan.mac(), us))))
    });
    l.add("arp sender's mac is not the frame's", &["lan arp reply"], |h| {
        let other = Mac([2, 0xee, 0, 0, 0, h.0]);
        broadcast(h, frame::arp(1, (other, h.a4(Lan)), (ZERO, us)))
    });
    l.add("arp sender's mac is a group", &["lan arp reply"], |h| {
        broadcast(h, frame::arp(1, (Mac([1, 0, 0x5e, 0, 0, 1]), h.a4(Lan)), (ZERO, us)))
    })
    .known("ARP or neighbor solicitation with a group address as the sender's MAC");
    l.spoil();
    l.add("arp target's mac filled in", &["lan arp reply"], |h| {
        broadcast(h, frame::arp(1, (h.mac(Lan), h.a4(Lan)), (Mac([2, 1, 2, 3, 4, 5]), us)))
    });
    for (name, at, value) in [
        ("arp of another hardware type", 1, 9u8),
        ("arp of another protocol", 2, 9),
        ("arp with hardware addresses of 8 bytes", 4, 8),
        ("arp with protocol addresses of 16 bytes", 5, 16),
        ("arp with operation 0", 7, 0),
        ("arp with operation 3", 7, 3),
        ("arp with operation 9", 7, 9),
    ] {
        l.add(name, &[], |h| {
            let mut message = ask(h, h.a4(Lan), us);
            message[at] = value;
            broadcast(h, message)
        });
    }
    l.add("arp with ieee 802 hardware type", &["lan arp reply"], |h| {
        let mut message = ask(h, h.a4(Lan), us);
        message[1] = 6;
        broadcast(h, message)
    });
    l.add("arp cut short", &[], |h| broadcast(h, ask(h, h.a4(Lan), us)[..20].to_vec()));
    l.add("arp padded to 60", &["lan arp reply"], |h| {
        let mut message = ask(h, h.a4(Lan), us);
        message.resize(46, 0);
        broadcast(h, message)
    });
    l.add("arp for another station's mac", &[], |h| {
        vec![h.framed(Lan, Mac([2, 9, 9, 9, 9, 9]), (ARP, ask(h, h.a4(Lan), us)))]
    });
    l.add("arp on the wrong segment", &["wan arp reply"], |h| {
        vec![h.framed(Wan, Mac::BROADCAST, (ARP, ask(h, h.a4(Lan), us)))]
    });
}
