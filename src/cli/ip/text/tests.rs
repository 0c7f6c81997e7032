//! Texts that iproute2 6.1 printed, made again from the JSON it printed beside them. Only what this router leaves
//! out is left out of both: `qlen`, and the other end of a veth.

use super::*;
use crate::cli::ip::words::{Said, parse};
use crate::control::protocol::Show;
use crate::control::view::{Driver, LinkInfo};

const LINKS: &str = r#"[{"ifindex":1,"ifname":"lo","flags":["LOOPBACK","UP","LOWER_UP"],"mtu":65536,"qdisc":"noqueue","operstate":"UNKNOWN","linkmode":"DEFAULT","group":"default","link_type":"loopback","address":"00:00:00:00:00:00","broadcast":"00:00:00:00:00:00","addr_info":[{"family":"inet","local":"127.0.0.1","prefixlen":8,"scope":"host","label":"lo","valid_life_time":4294967295,"preferred_life_time":4294967295},{"family":"inet6","local":"::1","prefixlen":128,"scope":"host","valid_life_time":4294967295,"preferred_life_time":4294967295}],"stats64":{"rx":{"bytes":0,"packets":0,"errors":0,"dropped":0,"over_errors":0,"multicast":0},"tx":{"bytes":0,"packets":0,"errors":0,"dropped":0,"carrier_errors":0,"collisions":0}}},
{"ifindex":3,"ifname":"veth0","flags":["BROADCAST","MULTICAST","UP","LOWER_UP"],"mtu":1500,"qdisc":"noqueue","operstate":"UP","linkmode":"DEFAULT","group":"default","link_type":"ether","address":"72:95:95:90:8d:d5","broadcast":"ff:ff:ff:ff:ff:ff","addr_info":[{"family":"inet","local":"10.1.0.1","prefixlen":24,"scope":"global","label":"veth0","valid_life_time":4294967295,"preferred_life_time":4294967295},{"family":"inet","local":"10.1.0.2","prefixlen":24,"scope":"global","secondary":true,"label":"veth0","valid_life_time":4294967295,"preferred_life_time":4294967295},{"family":"inet6","local":"fd01::1","prefixlen":64,"scope":"global","tentative":true,"valid_life_time":4294967295,"preferred_life_time":4294967295}],"stats64":{"rx":{"bytes":90,"packets":1,"errors":0,"dropped":0,"over_errors":0,"multicast":0},"tx":{"bytes":110,"packets":1,"errors":0,"dropped":0,"carrier_errors":0,"collisions":0}}},
{"ifindex":4,"ifname":"t0","flags":["NO-CARRIER","POINTOPOINT","MULTICAST","NOARP","UP"],"mtu":1500,"qdisc":"pfifo_fast","operstate":"DOWN","linkmode":"DEFAULT","group":"default","link_type":"none","addr_info":[{"family":"inet","local":"10.9.0.1","prefixlen":24,"broadcast":"10.9.0.255","scope":"global","label":"t0","valid_life_time":4294967295,"preferred_life_time":4294967295}],"stats64":{"rx":{"bytes":0,"packets":0,"errors":0,"dropped":0,"over_errors":0,"multicast":0},"tx":{"bytes":0,"packets":0,"errors":0,"dropped":0,"carrier_errors":0,"collisions":0}}}]"#;

const ROUTES: &str = r#"[{"dst":"default","gateway":"10.1.0.2","dev":"veth0","metric":100,"flags":[]},{"dst":"1.2.3.0/24","gateway":"9.9.9.9","dev":"veth0","flags":["onlink"]},{"dst":"6.6.6.0/24","via":{"family":"inet6","host":"fd01::9"},"dev":"veth0","flags":[]},{"dst":"8.8.8.0/24","gateway":"10.1.0.5","dev":"veth0","protocol":"bgp","prefsrc":"10.1.0.1","metric":20,"flags":[]},{"dst":"10.1.0.0/24","dev":"veth0","protocol":"kernel","scope":"link","prefsrc":"10.1.0.1","flags":[]},{"dst":"10.9.0.0/24","dev":"t0","protocol":"kernel","scope":"link","prefsrc":"10.9.0.1","flags":["linkdown"]},{"dst":"198.51.100.0/24","flags":[],"nexthops":[{"gateway":"10.1.0.2","dev":"veth0","weight":1,"flags":[]},{"gateway":"10.1.0.3","dev":"veth0","weight":2,"flags":[]}]},{"type":"unreachable","dst":"203.0.113.0/24","flags":[]},{"type":"blackhole","dst":"203.0.114.7","metric":5,"flags":[]}]"#;

const ROUTES6: &str = r#"[{"dst":"2001:db8::/32","metric":1024,"flags":[],"pref":"medium","nexthops":[{"gateway":"fd01::2","dev":"veth0","weight":1,"flags":[]},{"gateway":"fd01::3","dev":"veth0","weight":1,"flags":[]}]},{"type":"prohibit","dst":"2001:db9::/32","dev":"lo","metric":1024,"flags":[],"pref":"medium"},{"dst":"fd01::/64","dev":"veth0","protocol":"kernel","metric":256,"flags":[],"pref":"medium"},{"dst":"default","gateway":"fe80::9","dev":"veth0","metric":1024,"flags":[],"pref":"medium"},{"type":"local","dst":"::1","dev":"lo","table":"local","protocol":"kernel","metric":0,"flags":[],"pref":"medium"}]"#;

const NEIGHBORS: &str = r#"[{"dst":"10.1.0.2","dev":"veth0","state":["FAILED"]},{"dst":"fd01::2","dev":"veth0","lladdr":"02:00:00:00:00:02","router":null,"state":["STALE"]},{"dst":"10.1.0.3","dev":"veth0","lladdr":"02:00:00:00:00:02","state":["PERMANENT"]}]"#;

/// What `ip WORDS` prints of these, the asking and choosing aside. `$` stands at the ends of lines.
fn printed(words: &str) -> String {
    let words: Vec<_> = words.split(' ').map(Into::into).collect();
    let Ok(Said::Show(asked)) = parse(&words) else { panic!("{words:?}") };
    let o = &asked.options;
    let addresses = matches!(asked.show, Show::Addr(_));
    let text: String = match &asked.show {
        Show::Link(f) | Show::Addr(f) => {
            let all: Vec<Link> = serde_json::from_str(LINKS).unwrap();
            let mut all: Vec<_> =
                all.into_iter().filter(|l| f.dev.as_ref().is_none_or(|d| *d == l.ifname)).collect();
            for l in &mut all {
                if !addresses {
                    l.addr_info = None;
                }
            }
            let all = all.into_iter().map(|l| trim_link(l, o, &asked.show));
            match (o.json, o.brief) {
                (true, true) => all.map(|l| brief_json(&l, addresses).to_string()).collect(),
                (true, false) => all.map(|l| serde_json::to_string(&l).unwrap()).collect(),
                _ => all.map(|l| link(&l, o, addresses)).collect(),
            }
        }
        Show::Route(f) => {
            let v6 = f.family == Some(crate::control::protocol::Family::Inet6);
            let all: Vec<Route> = serde_json::from_str(if v6 { ROUTES6 } else { ROUTES }).unwrap();
            all.into_iter().map(|r| route(&trim_route(r, f, o), o)).collect()
        }
        Show::Neigh(f) => {
            let all: Vec<Neighbor> = serde_json::from_str(NEIGHBORS).unwrap();
            all.into_iter().map(|n| neighbor(&trim_neighbor(n, f, o), o)).collect()
        }
    };
    text.replace('\n', "$\n")
}

#[test]
fn links() {
    assert_eq!(
        printed("link"),
        "\
1: lo: <LOOPBACK,UP,LOWER_UP> mtu 65536 qdisc noqueue state UNKNOWN mode DEFAULT group default $
    link/loopback 00:00:00:00:00:00 brd 00:00:00:00:00:00$
3: veth0: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 qdisc noqueue state UP mode DEFAULT group default $
    link/ether 72:95:95:90:8d:d5 brd ff:ff:ff:ff:ff:ff$
4: t0: <NO-CARRIER,POINTOPOINT,MULTICAST,NOARP,UP> mtu 1500 qdisc pfifo_fast state DOWN mode DEFAULT group default $
    link/none $
"
    );
    assert_eq!(
        printed("-br l"),
        "\
lo               UNKNOWN        00:00:00:00:00:00 <LOOPBACK,UP,LOWER_UP> $
veth0            UP             72:95:95:90:8d:d5 <BROADCAST,MULTICAST,UP,LOWER_UP> $
t0               DOWN           <NO-CARRIER,POINTOPOINT,MULTICAST,NOARP,UP> $
"
    );
    assert_eq!(
        printed("-o link show t0"),
        "4: t0: <NO-CARRIER,POINTOPOINT,MULTICAST,NOARP,UP> mtu 1500 qdisc pfifo_fast state DOWN mode DEFAULT group default \\    link/none $\n"
    );
    assert_eq!(
        printed("-br -j link show t0"),
        r#"{"ifname":"t0","operstate":"DOWN","flags":["NO-CARRIER","POINTOPOINT","MULTICAST","NOARP","UP"]}"#
    );
}

#[test]
fn counters() {
    assert_eq!(
        printed("-s link show dev veth0"),
        "\
3: veth0: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 qdisc noqueue state UP mode DEFAULT group default $
    link/ether 72:95:95:90:8d:d5 brd ff:ff:ff:ff:ff:ff$
    RX:  bytes packets errors dropped  missed   mcast           $
            90       1      0       0       0       0 $
    TX:  bytes packets errors dropped carrier collsns           $
           110       1      0       0       0       0 $
"
    );
}

#[test]
fn counters_make_room_for_themselves() {
    let all: Vec<Link> = serde_json::from_str(LINKS).unwrap();
    let mut s = all[0].stats64.unwrap();
    s.rx.bytes = 123_456_789_012;
    s.tx.packets = 123_456_789;
    let mut out = String::new();
    counters::write(&mut out, &s, &Options { stats: 1, ..Options::default() });
    assert_eq!(
        out,
        "
    RX:    bytes   packets errors dropped  missed   mcast           
    123456789012         0      0       0       0       0 
    TX:    bytes   packets errors dropped carrier collsns           
               0 123456789      0       0       0       0 "
    );
}

#[test]
fn addresses() {
    assert_eq!(
        printed("a"),
        "\
1: lo: <LOOPBACK,UP,LOWER_UP> mtu 65536 qdisc noqueue state UNKNOWN group default $
    link/loopback 00:00:00:00:00:00 brd 00:00:00:00:00:00$
    inet 127.0.0.1/8 scope host lo$
       valid_lft forever preferred_lft forever$
    inet6 ::1/128 scope host $
       valid_lft forever preferred_lft forever$
3: veth0: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 qdisc noqueue state UP group default $
    link/ether 72:95:95:90:8d:d5 brd ff:ff:ff:ff:ff:ff$
    inet 10.1.0.1/24 scope global veth0$
       valid_lft forever preferred_lft forever$
    inet 10.1.0.2/24 scope global secondary veth0$
       valid_lft forever preferred_lft forever$
    inet6 fd01::1/64 scope global tentative $
       valid_lft forever preferred_lft forever$
4: t0: <NO-CARRIER,POINTOPOINT,MULTICAST,NOARP,UP> mtu 1500 qdisc pfifo_fast state DOWN group default $
    link/none $
    inet 10.9.0.1/24 brd 10.9.0.255 scope global t0$
       valid_lft forever preferred_lft forever$
"
    );
    assert_eq!(
        printed("-4 addr show dev t0"),
        "\
4: t0: <NO-CARRIER,POINTOPOINT,MULTICAST,NOARP,UP> mtu 1500 qdisc pfifo_fast state DOWN group default $
    inet 10.9.0.1/24 brd 10.9.0.255 scope global t0$
       valid_lft forever preferred_lft forever$
"
    );
    assert_eq!(
        printed("-o addr"),
        "\
1: lo    inet 127.0.0.1/8 scope host lo\\       valid_lft forever preferred_lft forever$
1: lo    inet6 ::1/128 scope host \\       valid_lft forever preferred_lft forever$
3: veth0    inet 10.1.0.1/24 scope global veth0\\       valid_lft forever preferred_lft forever$
3: veth0    inet 10.1.0.2/24 scope global secondary veth0\\       valid_lft forever preferred_lft forever$
3: veth0    inet6 fd01::1/64 scope global tentative \\       valid_lft forever preferred_lft forever$
4: t0    inet 10.9.0.1/24 brd 10.9.0.255 scope global t0\\       valid_lft forever preferred_lft forever$
"
    );
    assert_eq!(
        printed("-br addr"),
        "\
lo               UNKNOWN        127.0.0.1/8 ::1/128 $
veth0            UP             10.1.0.1/24 10.1.0.2/24 fd01::1/64 $
t0               DOWN           10.9.0.1/24 $
"
    );
    assert_eq!(
        printed("-br -j addr show dev lo"),
        r#"{"ifname":"lo","operstate":"UNKNOWN","addr_info":[{"local":"127.0.0.1","prefixlen":8},{"local":"::1","prefixlen":128}]}"#
    );
}

#[test]
fn colours_and_numbers_are_those_of_iproute2() {
    // As `ip -c` and `ip -N` printed them.
    assert_eq!(
        printed("-c -br link show veth0"),
        "\x1b[36mveth0            \x1b[0m\x1b[32mUP             \x1b[0m\x1b[33m72:95:95:90:8d:d5 \x1b[0m\
         <BROADCAST,MULTICAST,UP,LOWER_UP> $\n"
    );
    assert!(printed("-c route").contains(
        "\x1b[35m8.8.8.0/24 \x1b[0mvia \x1b[35m10.1.0.5 \x1b[0mdev \x1b[36mveth0 \x1b[0mproto bgp src \x1b[35m10.1.0.1 \x1b[0mmetric 20 $"
    ));
    assert!(printed("-c route").starts_with("default via \x1b[35m10.1.0.2 \x1b[0m"));
    assert!(printed("-c=auto route").starts_with("default via 10.1.0.2 dev"), "nobody looks");
    assert!(printed("-N route").contains("dev veth0 proto 2 scope 253 src 10.1.0.1 $"));
    assert!(printed("-N addr show lo").contains("group 0 $\n    link/[772] 00:"));
    assert_eq!(
        printed("-br neigh"),
        "10.1.0.2                                veth0            $\n\
         fd01::2                                 veth0            02:00:00:00:00:02$\n\
         10.1.0.3                                veth0            02:00:00:00:00:02$\n"
    );
    assert!(
        printed("-d route")
            .starts_with("unicast default via 10.1.0.2 dev veth0 proto boot scope global metric 100 $")
    );
}

#[test]
fn details_say_what_moves_the_frames() {
    let mut l: Link = serde_json::from_str::<Vec<Link>>(LINKS).unwrap().swap_remove(1);
    let data = |fallback: Option<&str>| Driver {
        name: "socket".into(),
        asked: "auto".into(),
        fallback: fallback.map(str::to_owned),
    };
    let mut said = |words: &str, fallback| {
        let words: Vec<_> = words.split(' ').map(Into::into).collect();
        let Ok(Said::Show(asked)) = parse(&words) else { panic!("{words:?}") };
        l.linkinfo = Some(LinkInfo { info_kind: "packet".into(), info_data: Some(data(fallback)) });
        link(&trim_link(l.clone(), &asked.options, &asked.show), &asked.options, false)
    };
    assert!(said("-d link", None).contains("\n    packet driver socket \n"));
    assert!(said("-d link", Some("no ring")).contains("\n    packet driver socket fallback \"no ring\" \n"));
    assert!(!said("link", None).contains("driver"));
}

#[test]
fn json_leaves_out_what_was_not_asked() {
    let said = printed("-j addr show dev t0");
    assert!(!said.contains("linkmode") && !said.contains("stats64") && said.contains("link_type"), "{said}");
    let said = printed("-4 -j addr show dev veth0");
    assert!(!said.contains("link_type") && !said.contains("72:95"), "{said}");
    let said = printed("-j -s link show dev t0");
    assert!(said.contains("linkmode") && said.contains("stats64") && !said.contains("addr_info"), "{said}");
}

#[test]
fn routes() {
    assert_eq!(
        printed("r"),
        "\
default via 10.1.0.2 dev veth0 metric 100 $
1.2.3.0/24 via 9.9.9.9 dev veth0 onlink $
6.6.6.0/24 via inet6 fd01::9 dev veth0 $
8.8.8.0/24 via 10.1.0.5 dev veth0 proto bgp src 10.1.0.1 metric 20 $
10.1.0.0/24 dev veth0 proto kernel scope link src 10.1.0.1 $
10.9.0.0/24 dev t0 proto kernel scope link src 10.9.0.1 linkdown $
198.51.100.0/24 $
\tnexthop via 10.1.0.2 dev veth0 weight 1 $
\tnexthop via 10.1.0.3 dev veth0 weight 2 $
unreachable 203.0.113.0/24 $
blackhole 203.0.114.7 metric 5 $
"
    );
    assert_eq!(
        printed("-6 route show table all"),
        "\
2001:db8::/32 metric 1024 pref medium$
\tnexthop via fd01::2 dev veth0 weight 1 $
\tnexthop via fd01::3 dev veth0 weight 1 $
prohibit 2001:db9::/32 dev lo metric 1024 pref medium$
fd01::/64 dev veth0 proto kernel metric 256 pref medium$
default via fe80::9 dev veth0 metric 1024 pref medium$
local ::1 dev lo table local proto kernel metric 0 pref medium$
"
    );
    assert!(printed("-o -6 r").starts_with(
        "2001:db8::/32 metric 1024 pref medium\\\tnexthop via fd01::2 dev veth0 weight 1 \\\tnexthop via fd01::3 dev veth0 weight 1 $\n"
    ));
    assert!(printed("r s dev veth0").starts_with("default via 10.1.0.2 metric 100 $\n"));
    assert!(printed("r s via 10.1.0.2").starts_with("default dev veth0 metric 100 $\n"));
    assert!(printed("r s proto kernel scope link").contains("\n10.1.0.0/24 dev veth0 src 10.1.0.1 $\n"));
    assert!(
        printed("-6 r s table local").ends_with("\nlocal ::1 dev lo proto kernel metric 0 pref medium$\n")
    );
}

#[test]
fn neighbors() {
    assert_eq!(
        printed("n"),
        "\
10.1.0.2 dev veth0 FAILED $
fd01::2 dev veth0 lladdr 02:00:00:00:00:02 router STALE $
10.1.0.3 dev veth0 lladdr 02:00:00:00:00:02 PERMANENT $
"
    );
    assert!(printed("n s dev veth0").starts_with("10.1.0.2 FAILED $\n"));
}
