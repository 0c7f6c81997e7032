//! Routes with an MTU of their own.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::List;
use crate::frame::{DF, V4, V6};

pub(crate) fn cases(l: &mut List) {
    let far = Ipv4Addr::new(10, 110, 3, 4);
    let locked = Ipv4Addr::new(10, 111, 3, 4);
    l.add("v4 exactly the route's mtu", &["wan udp"], |h| {
        h.lan(V4 { fragment: DF, ..h.udp4_to(far, &[7; 1300 - 28]) })
    });
    l.add("v4 one more than the route's mtu, df", &["lan icmp 3/4"], |h| {
        h.lan(V4 { fragment: DF, ..h.udp4_to(far, &[7; 1301 - 28]) })
    });
    l.add("v4 one more than the route's mtu", &["wan @1280", "wan udp+"], |h| {
        h.lan(h.udp4_to(far, &[7; 1301 - 28]))
    });
    l.add("v4 one more than the route's locked mtu, df", &["lan icmp 3/4"], |h| {
        h.lan(V4 { fragment: DF, ..h.udp4_to(locked, &[7; 1001 - 28]) })
    });
    l.add("v4 one more than the route's locked mtu", &["wan @976", "wan udp+"], |h| {
        h.lan(h.udp4_to(locked, &[7; 1001 - 28]))
    });
    l.add("v4 ttl 1, larger than the route's mtu, df", &["lan icmp 11/0"], |h| {
        h.lan(V4 { fragment: DF, ttl: 1, ..h.udp4_to(far, &[7; 1400]) })
    });
    let wide = Ipv4Addr::new(10, 112, 3, 4);
    l.add("v4 the route's mtu above the link's, df", &["dmz udp"], |h| {
        h.lan(V4 { fragment: DF, ..h.udp4_to(wide, &[7; 1400 - 28]) })
    })
    .known("packet that fits its route's MTU and not its link's");

    let far: Ipv6Addr = "fd6e::5".parse().unwrap();
    let locked: Ipv6Addr = "fd6f::5".parse().unwrap();
    l.add("v6 exactly the route's mtu", &["wan udp"], |h| h.lan(h.udp6_to(far, &[7; 1300 - 48])));
    l.add("v6 one more than the route's mtu", &["lan icmp6 2/0"], |h| h.lan(h.udp6_to(far, &[7; 1301 - 48])))
        .known("IPv6 packet larger than its route's MTU, which is not locked");
    l.add("v6 exactly the route's locked mtu", &["wan udp"], |h| h.lan(h.udp6_to(locked, &[7; 1300 - 48])));
    l.add("v6 one more than the route's locked mtu", &["lan icmp6 2/0"], |h| {
        h.lan(h.udp6_to(locked, &[7; 1301 - 48]))
    });
    l.add("v6 hop limit 1, larger than the route's mtu", &["lan icmp6 3/0"], |h| {
        h.lan(V6 { hops: 1, ..h.udp6_to(locked, &[7; 1400]) })
    });
}
