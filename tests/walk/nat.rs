//! NAT on a packet's way: every kind, both directions, and the errors about it.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use sekisho::base::DropReason;
use sekisho::packet::{Net, Packet};
use sekisho::wire::tcp;
use sekisho::wire::transport;
use sekisho::wire::{ipv4::Ipv4, ipv6::Ipv6, proto};

use crate::make::*;
use crate::net::*;

const FAR: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 7);

fn nat(rules: &str) -> Bench {
    let head = "*nat\n:PREROUTING ACCEPT\n:INPUT ACCEPT\n:OUTPUT ACCEPT\n:POSTROUTING ACCEPT\n";
    let v4 = format!("{head}{rules}\nCOMMIT\n");
    Plan::default().rules(&v4, "").build().acquaint()
}

fn masquerade() -> Bench {
    nat("-A POSTROUTING -o wan -j MASQUERADE")
}

/// Who to whom, and the ports.
fn seen(p: &Packet) -> (IpAddr, IpAddr, Option<(u16, u16)>) {
    assert!(right(p.l3()), "wrong checksums");
    let (src, dst, proto, at): (IpAddr, IpAddr, u8, usize) = match p.l3()[0] >> 4 {
        4 => {
            let ip = Ipv4::new(p.l3()).unwrap();
            (ip.src().into(), ip.dst().into(), ip.protocol(), ip.header_len())
        }
        _ => {
            let ip = Ipv6::new(p.l3()).unwrap();
            (ip.src().into(), ip.dst().into(), ip.next_header(), 40)
        }
    };
    (src, dst, transport::ports(proto, &p.l3()[at..]))
}

#[test]
fn masquerade_there_and_back() {
    let mut b = masquerade();
    for (out, back) in [
        (udp(CLIENT, FAR, (1000, 53), b"ask"), udp(FAR, WAN_ADDR, (53, 1000), b"answer")),
        (
            tcp(CLIENT, FAR, (1000, 80), tcp::SYN, b""),
            tcp(FAR, WAN_ADDR, (80, 1000), tcp::SYN | tcp::ACK, b""),
        ),
    ] {
        b.client_sends(&out);
        assert_eq!(seen(&b.one(WAN)).0, IpAddr::from(WAN_ADDR));
        b.server_sends(&back);
        let (src, dst, ports) = seen(&b.one(LAN));
        assert_eq!((src, dst, ports.unwrap().1), (FAR.into(), CLIENT.into(), 1000));
    }
    b.client_sends(&ping(CLIENT, FAR, b"x"));
    assert_eq!(seen(&b.one(WAN)).0, IpAddr::from(WAN_ADDR));
    assert_eq!(b.flows().len(), 3);
    b.balanced();
}

#[test]
fn a_second_client_with_the_same_port_gets_another() {
    let mut b = masquerade();
    let other = Ipv4Addr::new(10, 1, 0, 3);
    b.client_sends(&udp(CLIENT, FAR, (1000, 53), b"a"));
    let first = seen(&b.one(WAN)).2.unwrap();
    b.client_sends(&udp(other, FAR, (1000, 53), b"b"));
    let second = seen(&b.one(WAN)).2.unwrap();
    assert_eq!(first, (1000, 53));
    // The class of the first choice is kept: 600 to 1023.
    assert!(second.0 != 1000 && second.0 >= 600, "{second:?}");
}

#[test]
fn errors_about_a_translated_flow_are_translated() {
    let mut b = masquerade();
    b.client_sends(&udp(CLIENT, FAR, (1000, 53), b"ask"));
    let sent = b.one(WAN).l3().to_vec();
    let router = Ipv4Addr::new(10, 2, 0, 9);
    b.server_sends(&icmp4(router, WAN_ADDR, (11, 0), 0, &sent[..28]));
    let p = b.one(LAN);
    let (src, dst, _) = seen(&p);
    assert_eq!((src, dst), (router.into(), CLIENT.into()));
    let inner = Ipv4::new(&p.l3()[28..]).unwrap();
    assert_eq!((inner.src(), inner.dst()), (CLIENT, FAR));
    assert!(inner.verify_checksum());
    // About nothing that was sent: it belongs to no flow, and without a filter it is for the router.
    let other = udp(WAN_ADDR, FAR, (1001, 53), b"ask");
    b.server_sends(&icmp4(router, WAN_ADDR, (11, 0), 0, &other[..28]));
    b.silent();
    b.balanced();
}

#[test]
fn our_own_errors_are_about_what_the_sender_sent() {
    // The client's packet is translated before its TTL is looked at.
    let mut b = nat("-A PREROUTING -d 192.0.2.1/32 -j DNAT --to-destination 10.2.0.2");
    b.client_sends(&ttl(udp(CLIENT, Ipv4Addr::new(192, 0, 2, 1), (1000, 53), b"ask"), 1));
    let p = b.one(LAN);
    assert_eq!(seen(&p).1, IpAddr::from(CLIENT));
    let inner = Ipv4::new(&p.l3()[28..]).unwrap();
    assert_eq!((inner.src(), inner.dst()), (CLIENT, Ipv4Addr::new(192, 0, 2, 1)));
}

#[test]
fn a_port_forward_and_its_hairpin() {
    let mut b =
        nat("-A PREROUTING -d 10.2.0.1/32 -p tcp -m tcp --dport 8080 -j DNAT --to-destination 10.1.0.9:80
-A POSTROUTING -s 10.1.0.0/24 -d 10.1.0.9/32 -p tcp -m tcp --dport 80 -j MASQUERADE");
    let inside = Ipv4Addr::new(10, 1, 0, 9);
    assert!(b.router.set_static_neighbor(LAN, inside.into(), CLIENT_MAC));
    b.server_sends(&tcp(SERVER, WAN_ADDR, (5000, 8080), tcp::SYN, b""));
    assert_eq!(seen(&b.one(LAN)), (SERVER.into(), inside.into(), Some((5000, 80))));
    b.client_sends(&tcp(inside, SERVER, (80, 5000), tcp::SYN | tcp::ACK, b""));
    assert_eq!(seen(&b.one(WAN)), (WAN_ADDR.into(), SERVER.into(), Some((8080, 5000))));
    // From inside by the outer address, and back by the router.
    b.client_sends(&tcp(CLIENT, WAN_ADDR, (6000, 8080), tcp::SYN, b""));
    let there = b.sent(LAN).pop().unwrap();
    assert_eq!(seen(&there), (LAN_ADDR.into(), inside.into(), Some((6000, 80))));
    b.client_sends(&tcp(inside, LAN_ADDR, (80, 6000), tcp::SYN | tcp::ACK, b""));
    let back = b.sent(LAN).pop().unwrap();
    assert_eq!(seen(&back), (WAN_ADDR.into(), CLIENT.into(), Some((8080, 6000))));
    b.balanced();
}

#[test]
fn a_redirect_brings_it_here_and_the_answer_comes_from_where_it_was_sent() {
    let mut b = nat("-A PREROUTING -i lan -p icmp -j REDIRECT");
    b.client_sends(&ping(CLIENT, FAR, b"x"));
    assert_eq!(seen(&b.one(LAN)), (FAR.into(), CLIENT.into(), None));
    b.balanced();
}

#[test]
fn what_is_made_here_goes_where_output_sends_it() {
    let mut b = nat("-A OUTPUT -d 192.0.2.1/32 -j DNAT --to-destination 10.1.0.2");
    let p = Packet::from_slice(&udp(WAN_ADDR, Ipv4Addr::new(192, 0, 2, 1), (7, 1000), b"x"));
    b.worker.handle_local(p, b.now);
    b.collect();
    assert_eq!(seen(&b.one(LAN)), (WAN_ADDR.into(), CLIENT.into(), Some((7, 1000))));
}

#[test]
fn when_no_port_is_left_the_new_flow_is_refused() {
    let mut b = nat("-A POSTROUTING -o wan -p udp -j SNAT --to-source 10.2.0.1:5000-5001");
    for port in 1000..1002 {
        b.client_sends(&udp(CLIENT, FAR, (port, 53), b"x"));
        b.one(WAN);
    }
    b.client_sends(&udp(CLIENT, FAR, (1002, 53), b"x"));
    b.silent();
    b.dropped(DropReason::NatExhausted);
    // The others go on, and to another destination there is room.
    b.client_sends(&udp(CLIENT, FAR, (1000, 53), b"x"));
    b.one(WAN);
    b.client_sends(&udp(CLIENT, SERVER, (1002, 53), b"x"));
    b.one(WAN);
}

#[test]
fn ports_that_somebody_waits_on_are_never_given_away() {
    // Port 7 is the router's own echo service; 8080 is forwarded.
    let mut b =
        nat("-A PREROUTING -d 10.2.0.1/32 -p udp -m udp --dport 8080 -j DNAT --to-destination 10.1.0.9:80
-A POSTROUTING -o wan -j MASQUERADE");
    for port in [7, 8080] {
        b.client_sends(&udp(CLIENT, FAR, (port, 53), b"x"));
        let given = seen(&b.one(WAN)).2.unwrap().0;
        assert_ne!(given, port);
        // What comes to the port from the same peer reaches who waits there, not the client.
        b.server_sends(&udp(FAR, WAN_ADDR, (53, port), b"y"));
        let ip = |p: &&Packet| p.meta.net == Net::Ipv4;
        assert!(!b.sent(LAN).iter().filter(ip).any(|p| seen(p).1 == IpAddr::from(CLIENT)));
    }
    b.client_sends(&udp(CLIENT, FAR, (8081, 53), b"x"));
    assert_eq!(seen(&b.one(WAN)).2, Some((8081, 53)));
    // A rule may claim the whole class of a port; then it is another class, and not no flow at all.
    let mut b = nat("-A PREROUTING -p udp -m udp --dport :1023 -j DNAT --to-destination 10.2.0.11
-A POSTROUTING -o wan -j MASQUERADE");
    b.client_sends(&udp(CLIENT, FAR, (600, 5353), b"x"));
    assert!(seen(&b.one(WAN)).2.unwrap().0 >= 1024);
    let mut b =
        nat("-A PREROUTING -d 10.2.0.1/32 -p udp -m udp --dport 8080 -j DNAT --to-destination 10.1.0.9:80
-A POSTROUTING -o wan -j MASQUERADE");
    // Whom the rule leads to may speak from the port: the answers reach it either way.
    b.client_sends(&udp([10, 1, 0, 9], FAR, (8080, 5353), b"x"));
    assert_eq!(seen(&b.one(WAN)).2, Some((8080, 5353)));
}

#[test]
fn masqueraded_flows_end_when_the_address_goes() {
    let mut b = masquerade();
    b.client_sends(&udp(CLIENT, FAR, (1000, 53), b"x"));
    b.one(WAN);
    assert_eq!(b.flows().len(), 1);
    assert_eq!(b.router.link_gone(LAN), 0);
    assert_eq!(b.router.link_gone(WAN), 1);
    assert!(b.flows().is_empty());
    b.client_sends(&udp(CLIENT, FAR, (1000, 53), b"x"));
    b.one(WAN);
    let plan = Plan::default().link(WAN, |l| l.addresses[0].addr = "10.2.0.5".parse().unwrap());
    let hooks = b.router.snapshot().hooks.clone();
    b.router.replace(sekisho::path::Snapshot { hooks, ..plan.snapshot() });
    assert!(b.flows().is_empty());
    b.client_sends(&udp(CLIENT, FAR, (1000, 53), b"x"));
    assert_eq!(seen(&b.one(WAN)).0, "10.2.0.5".parse::<IpAddr>().unwrap());
}

#[test]
fn a_balanced_service_keeps_each_flow_on_its_backend() {
    let mut b = nat("-N SVC
-A PREROUTING -d 192.0.2.1/32 -p udp -m udp --dport 53 -j SVC
-A SVC -p udp -m statistic --mode nth --every 3 --packet 0 -j DNAT --to-destination 10.2.0.11:53
-A SVC -p udp -m statistic --mode nth --every 2 --packet 0 -j DNAT --to-destination 10.2.0.12:53
-A SVC -p udp -j DNAT --to-destination 10.2.0.13:53");
    for n in 11..=13 {
        let backend = Ipv4Addr::new(10, 2, 0, n);
        assert!(b.router.set_static_neighbor(WAN, backend.into(), SERVER_MAC));
    }
    let service = Ipv4Addr::new(192, 0, 2, 1);
    let mut to = |port| {
        b.client_sends(&udp(CLIENT, service, (port, 53), b"x"));
        seen(&b.one(WAN)).1
    };
    let first: Vec<IpAddr> = (1000..1030).map(&mut to).collect();
    let again: Vec<IpAddr> = (1000..1030).map(&mut to).collect();
    assert_eq!(first, again);
    for n in 11..=13 {
        let backend: IpAddr = Ipv4Addr::new(10, 2, 0, n).into();
        assert_eq!(first.iter().filter(|a| **a == backend).count(), 10, "{first:?}");
    }
}

#[test]
fn netmap_changes_the_network_and_keeps_the_host() {
    let mut b = nat("-A PREROUTING -d 192.0.2.0/24 -j NETMAP --to 10.2.0.0/24
-A POSTROUTING -s 10.1.0.0/24 -j NETMAP --to 203.0.113.0/24");
    b.client_sends(&udp(CLIENT, Ipv4Addr::new(192, 0, 2, 2), (1, 2), b"x"));
    assert_eq!(seen(&b.one(WAN)), (Ipv4Addr::new(203, 0, 113, 2).into(), SERVER.into(), Some((1, 2))));
}

#[test]
fn fragments_are_translated_whole_and_leave_as_they_came() {
    let mut b = masquerade();
    let whole = udp(CLIENT, FAR, (1000, 53), &bytes(2000));
    let pieces = fragments(&whole, 800, 7);
    for f in pieces.iter().rev() {
        b.client_sends(f);
    }
    let sent = b.sent(WAN);
    let sizes = |l: &[Vec<u8>]| l.iter().map(Vec::len).collect::<Vec<_>>();
    assert_eq!(sizes(&sent.iter().map(|p| p.l3().to_vec()).collect::<Vec<_>>()), sizes(&pieces));
    assert!(sent.iter().all(|p| Ipv4::new(p.l3()).unwrap().src() == WAN_ADDR));
    b.balanced();
}

#[test]
fn protocols_without_ports_are_translated_by_address() {
    let mut b = masquerade();
    b.client_sends(&ip(CLIENT.into(), FAR.into(), 99, b"whatever"));
    assert_eq!(seen(&b.one(WAN)).0, IpAddr::from(WAN_ADDR));
    b.server_sends(&ip(FAR.into(), WAN_ADDR.into(), 99, b"whatever"));
    assert_eq!(seen(&b.one(LAN)).1, IpAddr::from(CLIENT));
    assert_eq!(proto::GRE, 47);
}

#[test]
fn a_flow_is_forgotten_after_its_time() {
    let mut b = masquerade();
    b.client_sends(&udp(CLIENT, FAR, (1000, 53), b"x"));
    b.one(WAN);
    b.pass(Duration::from_secs(29));
    assert_eq!(b.flows().len(), 1);
    b.pass(Duration::from_secs(2));
    assert!(b.flows().is_empty());
    b.server_sends(&udp(FAR, WAN_ADDR, (53, 1000), b"late"));
    assert!(b.sent(LAN).is_empty());
}

#[test]
fn netmap_knows_one_address_only_whatever_the_source_has_elsewhere() {
    let mut b = nat("-A POSTROUTING -d 10.2.0.2/32 -j SNAT --to-source 203.0.113.77
-A POSTROUTING -j NETMAP --to 203.0.113.0/24");
    b.client_sends(&udp(CLIENT, SERVER, (1000, 1), b"x"));
    assert_eq!(seen(&b.one(WAN)).0, IpAddr::from([203, 0, 113, 77]));
    b.client_sends(&udp(CLIENT, FAR, (1000, 2), b"x"));
    assert_eq!(seen(&b.one(WAN)).0, IpAddr::from([203, 0, 113, 2]));
}
