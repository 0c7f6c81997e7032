//! How many errors a burst is worth: the limits per peer (`icmp_ratelimit`, `ip_rt_send_redirect`, `ip_error`).

use std::net::Ipv4Addr;

use super::{Hosts, IntoPacket, List};
use crate::frame::{V4, V6};
use crate::twin::Port::{Dmz, Lan};

/// More than any limit lets through at once.
const MANY: usize = 12;

fn many<P: IntoPacket + Clone>(h: Hosts, packet: P) -> Vec<(crate::twin::Port, Vec<u8>)> {
    h.all(std::iter::repeat_n(packet, MANY))
}

pub(crate) fn cases(l: &mut List) {
    l.add("v4 many at ttl 1", &["lan icmp 11/0"; 6], |h| many(h, V4 { ttl: 1, ..h.udp4(b"x") }));
    l.add("v4 many to nowhere", &["lan icmp 3/0"; 2], |h| {
        many(h, h.udp4_to(Ipv4Addr::new(192, 0, 2, 1), b"x"))
    });
    l.add("v4 many prohibited", &["lan icmp 3/13"; 2], |h| {
        many(h, h.udp4_to(Ipv4Addr::new(10, 66, 2, 1), b"x"))
    });
    l.add("v4 many to a closed port", &["lan icmp 3/3"; 6], |h| many(h, h.udp4_to(Lan.router4(), b"x")));
    l.add("v4 many too big", &["lan icmp 3/4"; MANY], |h| {
        many(h, V4 { fragment: crate::frame::DF, ..h.udp4_to(h.a4(Dmz), &[7; 1400]) })
    });
    l.add("v4 many echo requests", &["lan echo reply"; MANY], |h| many(h, h.echo4(Lan.router4(), 8)));
    let mut better = vec!["lan udp"; MANY];
    better.push("lan icmp 5/1");
    l.add("v4 many by the better way", &better, |h| many(h, h.udp4_to(Ipv4Addr::new(10, 9, 0, 1), b"x")));
    l.add("v6 many at hop limit 1", &["lan icmp6 3/0"; 6], |h| many(h, V6 { hops: 1, ..h.udp6(b"x") }));
    l.add("v6 many to nowhere", &["lan icmp6 1/0"; 6], |h| {
        many(h, h.udp6_to("2001:db8::1".parse().unwrap(), b"x"))
    });
    l.add("v6 many to a closed port", &["lan icmp6 1/4"; 6], |h| many(h, h.udp6_to(Lan.router6(), b"x")));
    l.add("v6 many too big", &["lan icmp6 2/0"; MANY], |h| many(h, h.udp6_to(h.a6(Dmz), &[7; 1400])));
    l.add("v6 many echo requests", &["lan echo reply"; MANY], |h| many(h, h.echo6(Lan.router6(), 8)));
    let mut better = vec!["lan udp"; MANY];
    better.extend(["lan icmp6 137/0"; 6]);
    l.add("v6 many by the better way", &better, |h| many(h, h.udp6_to("fd0a::9".parse().unwrap(), b"x")));
}
