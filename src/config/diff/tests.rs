use std::path::Path;

use super::*;
use crate::config::parse;

fn setup(text: &str) -> Setup {
    let text = format!("[router]\nname = \"gw\"\n{text}");
    let config = parse(&text, Path::new("gw.toml")).unwrap_or_else(|e| panic!("{e}\n{text}"));
    Setup::build(config, None).unwrap_or_else(|e| panic!("{e}\n{text}"))
}

/// Flows there is room for.
const ROOM: u32 = 1_000_000;

/// `object -before +after (note)`.
fn told(old: &str, new: &str) -> Vec<String> {
    let line = |d: Difference| {
        let mut line = d.object;
        d.before.into_iter().for_each(|b| line += &format!(" -{b}"));
        d.after.into_iter().for_each(|a| line += &format!(" +{a}"));
        d.note.into_iter().for_each(|n| line += &format!(" ({n})"));
        line
    };
    diff(&setup(old), &setup(new), ROOM).into_iter().map(line).collect()
}

const LAN: &str = "[link.lan]\nkind = \"tap\"\naddresses = [\"10.1.0.1/24\"]\nlink_local = false\n";

#[test]
fn what_is_the_same_differs_in_nothing() {
    assert_eq!(told(LAN, LAN), [""; 0]);
    let said = "[link.lan]\nkind = \"tap\"\nmtu = 1500\naddresses = [\"10.1.0.1/24\"]\nlink_local = false\n[icmp]\nrate = 1000\n";
    assert_eq!(told(LAN, said), [""; 0], "the usual said is the usual");
}

#[test]
fn keys_are_told_with_both_values_and_those_that_take_a_restart() {
    let new = format!(
        "workers = 2\n{LAN}mtu = 9000\n[icmp]\nrate = 5\n[services]\necho = true\n[conntrack]\nmax = 500\n[conntrack.timeouts]\nudp = 7\n"
    );
    assert_eq!(
        told(LAN, &new),
        [
            "router +workers = 2 (takes a restart)",
            "link -lan mtu = 1500 +lan mtu = 9000",
            "conntrack -max = 262144 +max = 500",
            "conntrack -udp = 30 +udp = 7",
            "icmp -rate = 1000 +rate = 5",
            "services -echo = false +echo = true",
        ]
    );
}

#[test]
fn a_name_takes_a_restart_where_the_socket_has_it() {
    let with = |name: &str, control: &str| {
        let text = format!("[router]\nname = \"{name}\"\n{control}flow_cache = {}\n", name.len());
        Setup::build(parse(&text, Path::new("gw.toml")).unwrap(), None).unwrap().config
    };
    let own = "control = \"/run/x.sock\"\n";
    let fixed = |a: &str, b: &str| fixed(&with("gw", a), &with("other", b));
    assert_eq!(fixed("", ""), ["[router] name"]);
    assert_eq!(fixed("", own), ["[router] name", "[router] control"]);
    assert_eq!(fixed(own, own), [""; 0]);
}

#[test]
fn more_flows_than_there_is_room_for_take_a_restart() {
    let with = |max: u32| format!("{LAN}[conntrack]\nmax = {max}\n");
    assert_eq!(told(LAN, &with(ROOM)), ["conntrack -max = 262144 +max = 1000000"]);
    assert_eq!(told(LAN, &with(ROOM + 1)), ["conntrack -max = 262144 +max = 1000001 (takes a restart)"]);
}

#[test]
fn links_addresses_routes_and_neighbors() {
    let old = format!(
        "{LAN}[[route]]\nto = \"192.0.2.0/24\"\nvia = \"10.1.0.2\"\n[[route]]\nto = \"default\"\nvia = \"10.1.0.2\"\n\
         [[neighbor]]\nip = \"10.1.0.2\"\nmac = \"02:00:00:00:00:02\"\ndev = \"lan\"\n"
    );
    let new = "[link.wan]\nkind = \"tun\"\naddresses = [\"10.9.0.1/24\"]\n\
         [link.lan]\nkind = \"tap\"\naddresses = [\"10.1.0.9/24\", \"10.1.0.1/24\"]\nlink_local = false\n\
         [[route]]\nto = \"default\"\nvia = \"10.9.0.2\"\n[[route]]\nto = \"192.0.2.0/24\"\nvia = \"10.1.0.2\"\nmetric = 5\n\
         [[neighbor]]\nip = \"10.1.0.2\"\nmac = \"02:00:00:00:00:03\"\ndev = \"lan\"\n";
    assert_eq!(
        told(&old, new),
        [
            "link +wan kind = \"tun\"",
            "address +wan 10.9.0.1/24",
            "address +lan 10.1.0.9/24",
            "route -default via 10.1.0.2 dev lan proto static +default via 10.9.0.2 dev wan proto static",
            "route -192.0.2.0/24 via 10.1.0.2 dev lan proto static",
            "route +192.0.2.0/24 via 10.1.0.2 dev lan proto static metric 5",
            "neighbor -10.1.0.2 lladdr 02:00:00:00:00:02 dev lan",
            "neighbor +10.1.0.2 lladdr 02:00:00:00:00:03 dev lan",
        ]
    );
    assert_eq!(told(new, &old).len(), 8, "the other way round it is as much");
}

#[test]
fn a_link_local_address_that_is_made_is_no_news() {
    let with = "[link.lan]\nkind = \"tap\"\naddresses = [\"10.1.0.1/24\"]\n";
    assert_eq!(told("", with), ["link +lan kind = \"tap\"", "address +lan 10.1.0.1/24"]);
    assert_eq!(told(with, LAN), ["link -lan link_local = true +lan link_local = false"]);
    let listed = with.replace("\"]", "\", \"fe80::1/64\"]");
    assert_eq!(told(with, &listed), ["address +lan fe80::1/64"]);
}

#[test]
fn links_in_other_places_are_the_same_links() {
    let wan = "[link.wan]\nkind = \"tap\"\naddresses = [\"10.2.0.1/24\"]\nlink_local = false\n";
    let route = "[[route]]\nto = \"192.0.2.0/24\"\nvia = \"10.1.0.2\"\ndev = \"lan\"\n";
    assert_eq!(told(&format!("{LAN}{wan}{route}"), &format!("{wan}{LAN}{route}")), [""; 0]);
}

#[test]
fn rules_are_lines_and_policies() {
    let rules = |text: &str| format!("{LAN}[firewall]\nrules4 = '''\n{text}'''\n");
    let old = rules(
        "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [7:8]\n-A FORWARD -i lan -j ACCEPT\n-A FORWARD -j DROP\nCOMMIT\n",
    );
    let new = rules(
        "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD DROP [9:9]\n:web - [0:0]\n-A FORWARD -i lan -j web\n-A FORWARD -j DROP\nCOMMIT\n",
    );
    assert_eq!(
        told(&old, &new),
        [
            "rule -iptables -t filter -P FORWARD ACCEPT +iptables -t filter -P FORWARD DROP",
            "rule -iptables -t filter -A FORWARD -i lan -j ACCEPT",
            "rule +iptables -t filter -N web",
            "rule +iptables -t filter -A FORWARD -i lan -j web",
        ]
    );
    assert_eq!(told(&old, LAN).len(), 2, "only rules go: policies are the usual ones");
}

#[test]
fn a_route_with_another_mtu_is_another_route() {
    let route = |more: &str| {
        format!("{LAN}[[route]]\nto = \"192.0.2.0/24\"\nvia = \"10.1.0.2\"\ndev = \"lan\"\n{more}")
    };
    assert_eq!(
        told(&route("mtu = 1400\n"), &route("mtu = 1400\nmtu_lock = true\nadvmss = 1300\n")),
        [
            "route -192.0.2.0/24 via 10.1.0.2 dev lan proto static mtu 1400 +192.0.2.0/24 via 10.1.0.2 dev lan proto static mtu lock 1400 advmss 1300"
        ]
    );
    assert_eq!(told(&route(""), &route("mtu = 0\n")), [""; 0]);
}

#[test]
fn many_routes_are_told_of_up_to_a_bound() {
    let many: String = (0..1_500)
        .map(|n| format!("[[route]]\nto = \"172.{}.{}.0/24\"\ntype = \"blackhole\"\n", 16 + n / 256, n % 256))
        .collect();
    let all = told(LAN, &format!("{LAN}{many}"));
    assert_eq!((all.len(), all[MOST].as_str()), (MOST + 1, "route (… and 500 more)"));
}

#[test]
fn the_order_of_routes_is_the_tables() {
    let many = "[[route]]\nto = \"172.16.0.0/12\"\ntype = \"blackhole\"\n[[route]]\nto = \"172.16.0.0/16\"\ntype = \"blackhole\"\n\
        [[route]]\nto = \"0.0.0.0/0\"\ntype = \"blackhole\"\n[[route]]\nto = \"172.16.0.0/16\"\ntype = \"blackhole\"\nmetric = 4\n\
        [[route]]\nto = \"::/0\"\ntype = \"blackhole\"\n[[route]]\nto = \"fd00::/8\"\ntype = \"blackhole\"\n\
        [[route]]\nto = \"fd00::/64\"\ntype = \"blackhole\"\n[[route]]\nto = \"ff00::/8\"\ntype = \"blackhole\"\n";
    let s = setup(&format!("{LAN}{many}"));
    let places: Vec<_> = made_by_somebody(&s.rib).map(|r| place(&r)).collect();
    assert_eq!(places.len(), 8);
    assert!(places.windows(2).all(|w| w[0] < w[1]), "{places:?}");
}
