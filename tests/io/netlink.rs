//! Links, addresses, routes and filters through netlink.

use sekisho::base::Mac;
use sekisho::io::netlink::{Hook, Netlink};

use crate::contract::until;
use crate::netns::Netns;

#[test]
fn a_veth_pair_between_namespaces_carries_packets_and_goes_with_either_end() {
    let (Some(here), Some(there)) = (Netns::new(), Netns::new()) else { return };
    here.run(|| {
        let mut n = Netlink::open().unwrap();
        n.link_add_veth("left", "right", Some(there.fd())).unwrap();
        let left = n.link_index("left").unwrap();
        assert!(n.link("right").unwrap_err().is_missing());
        let mac = Mac([2, 0, 0, 0, 0, 9]);
        n.set_mac(left, mac).unwrap();
        n.set_mtu(left, 9000).unwrap();
        n.addr_add(left, "10.9.0.1/24".parse().unwrap()).unwrap();
        n.addr_add(left, "fd09::1/64".parse().unwrap()).unwrap();
        n.set_up(left).unwrap();
        n.route_add("0.0.0.0/0".parse().unwrap(), Some("10.9.0.2".parse().unwrap()), None).unwrap();
        n.route_add("fd10::/64".parse().unwrap(), Some("fd09::2".parse().unwrap()), Some(left)).unwrap();
        let d = n.link_at(left).unwrap();
        assert_eq!((d.name.as_str(), d.mac, d.mtu, d.up, d.running), ("left", Some(mac), 9000, true, false));
        assert_eq!(d.kind.as_deref(), Some("veth"));
    });
    there.run(|| {
        let mut n = Netlink::open().unwrap();
        let right = n.link_index("right").unwrap();
        n.addr_add(right, "10.9.0.2/24".parse().unwrap()).unwrap();
        n.addr_add(right, "fd09::2/64".parse().unwrap()).unwrap();
        n.set_up(right).unwrap();
    });
    // The kernel notes the carrier when it gets to it.
    until("the carrier", || here.run(|| Netlink::open().unwrap().link("left").unwrap().running));
    for (client, server) in [("10.9.0.1", "10.9.0.2:7"), ("fd09::1", "[fd09::2]:7")] {
        let socket = there.run(|| std::net::UdpSocket::bind(server).unwrap());
        here.run(|| std::net::UdpSocket::bind((client, 0)).unwrap().send_to(b"hello", server).unwrap());
        let mut buffer = [0; 9];
        socket.set_read_timeout(Some(std::time::Duration::from_secs(60))).unwrap();
        assert_eq!(socket.recv_from(&mut buffer).unwrap().0, 5);
    }
    there.run(|| {
        let mut n = Netlink::open().unwrap();
        let right = n.link_index("right").unwrap();
        n.link_del(right).unwrap();
    });
    here.run(|| assert!(Netlink::open().unwrap().link("left").unwrap_err().is_missing()));
}

#[test]
fn refusals_say_what_was_wanted_and_what_the_kernel_says() {
    let Some(here) = Netns::new() else { return };
    here.run(|| {
        let mut n = Netlink::open().unwrap();
        let e = n.link_index("nothing").unwrap_err();
        assert!(e.is_missing() && e.to_string().contains("'nothing'"), "{e}");
        n.link_add_veth("a", "b", None).unwrap();
        let e = n.link_add_veth("a", "c", None).unwrap_err();
        assert!(e.is_existing(), "{e}");
        let a = n.link_index("a").unwrap();
        let e = n.set_mtu(a, 1_000_000).unwrap_err();
        assert!(e.to_string().contains("MTU") && e.to_string().contains('('), "{e}");
    });
}

#[test]
fn filters_come_are_replaced_and_go() {
    let Some(here) = Netns::new() else { return };
    here.run(|| {
        let mut n = Netlink::open().unwrap();
        n.link_add_veth("a", "b", None).unwrap();
        let a = n.link_index("a").unwrap();
        assert!(!n.tc_has_clsact(a).unwrap());
        assert!(n.tc_filters(a, Hook::Ingress).unwrap().is_empty());
        assert!(n.tc_clsact_add(a).unwrap());
        assert!(!n.tc_clsact_add(a).unwrap(), "it is there already");
        for hook in Hook::BOTH {
            for _ in 0..2 {
                n.tc_drop_all_bpf(a, hook, 1, 7).unwrap();
                let mine: Vec<_> =
                    n.tc_filters(a, hook).unwrap().into_iter().filter(|f| f.handle == 7).collect();
                assert_eq!(mine.len(), 1, "{mine:?}");
                assert_eq!((mine[0].kind.as_str(), mine[0].priority), ("bpf", 1));
            }
            n.tc_filter_del(a, hook, "bpf", 1, 7).unwrap();
            assert!(n.tc_filters(a, hook).unwrap().is_empty());
            assert!(n.tc_filter_del(a, hook, "bpf", 1, 7).unwrap_err().is_missing());
        }
        n.tc_clsact_del(a).unwrap();
        assert!(!n.tc_has_clsact(a).unwrap());
    });
}
