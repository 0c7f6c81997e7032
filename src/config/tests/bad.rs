//! What is said about files that are wrong.

use super::{good, said};

/// What is said about a text appended to a router with two links, by line from its first.
fn said_of(text: &str) -> Vec<String> {
    const HEAD: &str = "[router]\nname = \"gw\"\n\
        [link.lan]\nkind = \"packet\"\naddresses = [\"10.1.0.1/24\", \"fd01::1/64\"]\n\
        [link.wan]\nkind = \"packet\"\naddresses = [\"10.2.0.1/24\"]\n";
    let before = HEAD.lines().count();
    let by_line = |s: String| {
        let (line, text) = s.split_once(':').unwrap();
        format!("{}:{text}", line.parse::<usize>().unwrap() - before)
    };
    said(&format!("{HEAD}{text}")).into_iter().map(by_line).collect()
}

#[test]
fn several_mistakes_are_all_reported_in_order() {
    let said = said(
        r#"[router]
name = "g w"
worker = 3
[link.lan]
kind = "packt"
mac = "01:00:5e:00:00:01"
mtu = "1500"
addresses = ["10.1.0.0/24", "10.1.0.1/24", 7]
[link.wan]
kind = "packet"
addresses = ["10.1.0.2/24"]
adresses = []
[[route]]
to = "198.51.100.0/24"
dev = "wann"
[[route]]
to = "10.9.0.1/16"
via = "10.1.0.1"
[icmp]
rate = 0
echo = true
"#,
    );
    let expected = [
        "2: [router]: name: 'g w' can't be a file name: no '/', no spaces",
        "3: [router]: unknown key 'worker'; did you mean workers?",
        "5: link lan: kind: 'packt' is none of packet, tap, tun (did you mean packet?)",
        "6: link lan: mac: 01:00:5e:00:00:01 is a multicast MAC; 00:00:5e:00:00:01 would be a station's",
        "7: link lan: mtu: a whole number without quotes is expected, not the text '1500'",
        "8: link lan: addresses: each is text in quotes, not the number 7",
        "8: link lan: addresses: '10.1.0.0/24' is the address of the network 10.1.0.0/24 itself; take one in it",
        "11: link wan: addresses: 10.1.0.2/24 overlaps lan's 10.1.0.1/24 (line 8): a prefix can be on one link only",
        "12: link wan: unknown key 'adresses'; did you mean addresses?",
        "15: route 198.51.100.0/24: no link named 'wann'; links here are lan, wan",
        "17: route 10.9.0.1/16: bits are set beyond the prefix length: write 10.9.0.0/16",
        "18: route 10.9.0.1/16: via: 10.1.0.1 is this router's own address on lan",
        "20: [icmp]: rate: 0 is out of range: 1 to 1000000",
        "21: [icmp]: unknown key 'echo'; it belongs in [services]",
    ];
    assert_eq!(said, expected);
}

#[test]
fn syntax_errors_carry_their_place_and_hide_nothing_else() {
    let said = said(
        "[router]\nname = gw\nworkers = 9999\n[link.lan\nkind = \"packet\"\n[services]\n[icmp]\nrate = true\n",
    );
    assert!(said[0].starts_with("2:8: "), "{said:?}");
    assert!(said.iter().any(|s| s.starts_with("3: [router]: workers: 9999")), "{said:?}");
    assert!(said.iter().any(|s| s.starts_with("4:10: ")), "{said:?}");
    assert!(said.iter().any(|s| s.starts_with("8: [icmp]: rate: a whole number")), "{said:?}");
}

#[test]
fn what_an_unreadable_line_may_have_said_is_not_missed() {
    let said = said(
        "[router]\nname = \"gw\"\n[link.lan]\nkind = packet\n[link.wan\n[[route]]\nto = \"default\"\ndev = \"wan\"\n",
    );
    assert!(said.iter().all(|s| s.starts_with("4:") || s.starts_with("5:")), "{said:?}");
}

#[test]
fn a_section_twice_is_named() {
    let said = said("[router]\nname = \"gw\"\n[icmp]\n[icmp]\n[services]\necho = true\necho = true\n");
    assert_eq!(
        said,
        [
            "4:2: 'icmp' stands here for the second time: put both into one, or rename one",
            "7:1: 'echo' stands here for the second time: put both into one, or rename one"
        ]
    );
}

#[test]
fn sections_of_the_wrong_shape() {
    let said =
        said("icmp = 5\n[route]\nto = \"default\"\n[[router]]\nname = \"gw\"\n[link]\nlan = 3\n[rout]\n");
    assert_eq!(
        said,
        [
            "1: [icmp]: [icmp] is expected here, not the number 5",
            "2: [route]: write [[route]], in double brackets: there may be several",
            "4: [[router]]: write [router], in single brackets",
            "7: link lan: [link.lan] is expected here, not the number 3",
            "8: unknown key 'rout'; did you mean route?",
        ]
    );
}

#[test]
fn links_that_can_not_be() {
    for (text, expected) in [
        ("[link.a]", "1: link a: kind is missing: packet takes a kernel interface, tap and tun make one"),
        (
            "[link.a]\nkind = \"bridge\"\nports = [\"lan\"]",
            "2: link a: kind: this version has no bridge links; it has packet, tap, tun",
        ),
        (
            "[link.a]\nkind = \"wiregard\"",
            "2: link a: kind: 'wiregard' is none of packet, tap, tun (did you mean wireguard?)",
        ),
        (
            "[link.a]\nkind = \"loopback\"",
            "2: link a: kind: the loopback is always there, as lo; add to it in [link.lo]",
        ),
        ("[link.lo]\nkind = \"tap\"", "2: link lo: kind: lo is always the loopback, not 'tap'"),
        ("[link.lo]\nmtu = 1500", "2: link lo: mtu: the loopback only takes more addresses"),
        (
            "[link.lo]\naddresses = [\"192.0.2.1/24\"]",
            "2: link lo: addresses: on lo they stand alone: write 192.0.2.1/32",
        ),
        (
            "[link.lo]\naddresses = [\"fe80::1\"]",
            "2: link lo: addresses: fe80::1 is link-local, and lo is no link",
        ),
        (
            "[link.abcdefghijklmnop]\nkind = \"tap\"",
            "1: link abcdefghijklmnop: the name is too long: interface names have 15 bytes at most",
        ),
        (
            "[link.\"a b\"]\nkind = \"tap\"",
            "1: link a b: the name has a character that interface names can't have: '/', ':' or a space",
        ),
        (
            "[link.a]\nkind = \"packet\"\ndevice = \"lan\"",
            "3: link a: the device lan is already lan's (line 3)",
        ),
        (
            "[link.a]\nkind = \"packet\"\ndevice = \"lo\"",
            "3: link a: device: 'lo' is the kernel's loopback, which is no link to others",
        ),
        ("[link.a]\nkind = \"tap\"\ndevice = \"tap%d\"", "3: link a: device: 'tap%d' contains '%'"),
        (
            "[link.a]\nkind = \"packet\"\npersist = true",
            "3: link a: persist: a packet link has none; remove the line (it is for tap, tun)",
        ),
        (
            "[link.a]\nkind = \"tun\"\nmac = \"02:00:00:00:00:01\"",
            "3: link a: mac: a tun link has none; remove the line (it is for packet, tap, bridge, vlan, vxlan)",
        ),
        (
            "[link.a]\nkind = \"tap\"\nmac = \"00:00:00:00:00:00\"",
            "3: link a: mac: all zeros is no station's MAC: write one like 02:00:00:00:01:01",
        ),
        (
            "[link.a]\nkind = \"tap\"\nmac = \"ff:ff:ff:ff:ff:ff\"",
            "3: link a: mac: this is the broadcast MAC: write one like 02:00:00:00:01:01",
        ),
        (
            "[link.a]\nkind = \"tap\"\nmac = \"02-00-00-00-01-01\"",
            "3: link a: mac: '02-00-00-00-01-01' is not a MAC address: write it like 02:00:00:00:01:01",
        ),
        (
            "[[route]]\nto = \"10.9.0.0/16\"\ntype = \"blackhole\"\nmtu = 65521",
            "4: route 10.9.0.0/16: mtu: 65521 is out of range: 0 to 65520",
        ),
        ("[link.a]\nkind = \"tap\"\nmtu = 67", "3: link a: mtu: 67 is out of range: 68 to 65521"),
        ("[link.a]\nkind = \"tap\"\nmtu = 65536", "3: link a: mtu: 65536 is out of range: 68 to 65521"),
        (
            "[link.a]\nkind = \"tap\"\nmtu = 1279\naddresses = [\"fd09::1/64\"]",
            "3: link a: mtu: 1279 is too small for fd09::1: IPv6 needs 1280 or more",
        ),
        (
            "[link.a]\nkind = \"tap\"\nqueues = \"many\"",
            "3: link a: queues: 'many' is neither \"auto\" nor a number",
        ),
        (
            "[link.a]\nkind = \"packet\"\ndriver = \"rings\"",
            "3: link a: driver: 'rings' is none of auto, socket, ring, xdp (did you mean ring?)",
        ),
        (
            "[link.a]\nkind = \"tap\"\ndriver = \"ring\"",
            "3: link a: driver: a tap link has none; remove the line (it is for packet)",
        ),
        ("[link.a]\nkind = \"tap\"\nqueues = 0", "3: link a: queues: 0 is out of range: 1 to 256"),
        (
            "[link.a]\nkind = \"tap\"\nowner = \"no such user\"",
            "3: link a: owner: there is no user 'no such user' here; give a number",
        ),
        ("[link.a]\nkind = \"tap\"\ngroup = -1", "3: link a: group: -1 is out of range: 0 to 4294967294"),
        (
            "[link.a]\nkind = \"tap\"\nrp_filter = \"stict\"",
            "3: link a: rp_filter: 'stict' is none of off, loose, strict (did you mean strict?)",
        ),
        (
            "[link.a]\nkind = \"tap\"\naddresses = [\"10.1.0.1/24\"]",
            "3: link a: addresses: 10.1.0.1 is already lan's (line 5): an address can be there once",
        ),
        (
            "[link.a]\nkind = \"tap\"\naddresses = [\"10.0.0.1/8\"]",
            "3: link a: addresses: 10.0.0.1/8 overlaps lan's 10.1.0.1/24 (line 5): a prefix can be on one link only",
        ),
        (
            "[link.a]\nkind = \"tap\"\naddresses = [\"10.9.0.1/24\", \"10.9.0.1/24\"]",
            "3: link a: addresses: 10.9.0.1 is already a's (line 11): an address can be there once",
        ),
    ] {
        let said = said_of(text);
        assert_eq!(said.first().map(String::as_str), Some(expected), "{text}\n{said:?}");
        // An 8-bit prefix overlaps both links.
        assert!(said.len() <= 2, "{text}\n{said:?}");
    }
}

#[test]
fn routes_that_can_not_be() {
    for (text, expected) in [
        ("via = \"10.1.0.2\"", "1: route: `to` is missing: a prefix, or \"default\""),
        ("to = \"default\"", "1: route default: no way out: give via (a next hop) or dev (a link)"),
        (
            "to = \"net\"\ndev = \"lan\"",
            "2: route net: 'net' is not a prefix: write it like 198.51.100.0/24 or fd02::/64, or \"default\"",
        ),
        (
            "to = \"fd09::/64\"\nvia = \"10.1.0.2\"",
            "1: route fd09::/64: 10.1.0.2: an IPv6 route can't go by way of IPv4",
        ),
        (
            "to = \"10.9.0.0/24\"\nvia = \"10.1.0.2\"\nproto = \"nobody\"",
            "4: route 10.9.0.0/24: proto: 'nobody' is neither a name that iproute2 knows nor 0 to 255",
        ),
        (
            "to = \"10.9.0.0/24\"\nvia = \"10.1.0.2\"\nproto = \"kernel\"",
            "4: route 10.9.0.0/24: proto: routes of the kernel follow from addresses; leave it out",
        ),
        (
            "to = \"10.9.0.0/24\"\nvia = \"10.1.0.2\"\nproto = 256",
            "4: route 10.9.0.0/24: proto: 256 is neither a name that iproute2 knows nor 0 to 255",
        ),
        (
            "to = \"default\"\nvia = \"10.1.0.2/24\"",
            "3: route default: via: '10.1.0.2/24' is not an address: write it like 10.2.0.2",
        ),
        (
            "to = \"default\"\nvia = \"10.2.0.1\"",
            "3: route default: via: 10.2.0.1 is this router's own address on wan",
        ),
        (
            "to = \"default\"\nvia = \"10.2.0.255\"",
            "3: route default: via: 10.2.0.255 is the broadcast address on wan",
        ),
        (
            "to = \"default\"\nvia = \"fe80::2\"",
            "3: route default: via: fe80::2 is link-local, and on every link: say on which with dev",
        ),
        (
            "to = \"default\"\nvia = \"224.0.0.1\"",
            "3: route default: via: '224.0.0.1' is a multicast address: the address of a host is expected",
        ),
        (
            "to = \"default\"\ndev = \"lo\"",
            "3: route default: dev: lo leads nowhere; type = \"blackhole\" drops packets",
        ),
        (
            "to = \"default\"\nvia = \"10.1.0.2\"\nmetric = -1",
            "4: route default: metric: -1 is out of range: 0 to 4294967295",
        ),
        (
            "to = \"default\"\ntype = \"unreachable\"\nvia = \"10.1.0.2\"",
            "4: route default: an unreachable route leads nowhere: remove via, dev and nexthops",
        ),
        (
            "to = \"default\"\ntype = \"reject\"",
            "3: route default: type: 'reject' is none of unicast, unreachable, prohibit, blackhole",
        ),
        (
            "to = \"default\"\nnexthops = []",
            "3: route default: nexthops is empty: list a next hop or use via",
        ),
        ("to = \"default\"\nnexthops = [{}]", "3: route default: nexthops: each needs via, dev or both"),
        (
            "to = \"default\"\nnexthops = [7]",
            "3: route default: nexthops: { via = \"…\", dev = \"…\" } is expected here, not the number 7",
        ),
        (
            "to = \"default\"\nvia = \"10.1.0.2\"\nnexthops = [{ dev = \"lan\" }]",
            "3: route default: via and dev stand beside nexthops: put them into the list",
        ),
        (
            "to = \"default\"\nnexthops = [{ dev = \"lan\", weight = 0 }]",
            "3: route default: weight: 0 is out of range: 1 to 256",
        ),
        (
            "to = \"default\"\nnexthops = [{ via = \"10.1.0.2\" }, { via = \"fd01::2\" }]",
            "3: route default: fd01::2: an IPv4 route goes by way of IPv6 only if `to` says \"0.0.0.0/0\"",
        ),
        (
            "to = \"default\"\nnexthops = [{ via = \"10.1.0.2\", wieght = 2 }]",
            "3: route default: nexthops: unknown key 'wieght'; did you mean weight?",
        ),
    ] {
        assert_eq!(said_of(&format!("[[route]]\n{text}\n")), [expected], "{text}");
    }
}

#[test]
fn neighbors_that_can_not_be() {
    let full = |ip: &str, mac: &str, dev: &str| {
        format!("[[neighbor]]\nip = \"{ip}\"\nmac = \"{mac}\"\ndev = \"{dev}\"\n")
    };
    let mac = "02:00:00:00:02:02";
    for (text, expected) in [
        (
            full("10.2.0.1", mac, "wan"),
            "2: neighbor 10.2.0.1: is this router's own address, not a neighbor's",
        ),
        (
            full("224.0.0.1", mac, "wan"),
            "2: neighbor 224.0.0.1: '224.0.0.1' is a multicast address: the address of a host is expected",
        ),
        (
            full("10.2.0.2", "03:00:00:00:00:00", "wan"),
            "3: neighbor 10.2.0.2: mac: 03:00:00:00:00:00 is a multicast MAC; 02:00:00:00:00:00 would be a station's",
        ),
        (full("10.2.0.2", mac, "wna"), "4: neighbor 10.2.0.2: no link named 'wna'; links here are lan, wan"),
        (full("10.2.0.2", mac, "lo"), "4: neighbor 10.2.0.2: dev: there are no neighbors on lo"),
        (
            full("10.3.0.1", mac, "t") + "[link.t]\nkind = \"tun\"\naddresses = [\"10.3.0.2/24\"]",
            "4: neighbor 10.3.0.1: dev: t is a tun link, and neighbors have no MAC there",
        ),
        (
            full("10.2.0.2", mac, "wan") + &full("10.2.0.2", mac, "wan"),
            "5: neighbor 10.2.0.2: is there already on wan (line 9); keep one",
        ),
        (
            "[[neighbor]]\nip = \"10.2.0.2\"\ndev = \"wan\"".into(),
            "1: neighbor 10.2.0.2: mac is missing: an entry has ip, mac and dev",
        ),
    ] {
        assert_eq!(said_of(&text), [expected], "{text}");
    }
}

#[test]
fn users_and_groups_that_are_not_there() {
    let router = |lines: &str| said(&format!("[router]\nname = \"gw\"\n{lines}\n[link.lo]\n"));
    for (line, expected) in [
        (
            "user = \"no body\"",
            "3: [router]: user: there is no user 'no body' in /etc/passwd; make one, or name another",
        ),
        ("user = 4294967295", "3: [router]: user: 4294967295 is out of range: 0 to 4294967294"),
        ("group = \"no body\"", "3: [router]: group: there is no group 'no body' here; give a number"),
        ("group = -1", "3: [router]: group: -1 is out of range: 0 to 4294967294"),
    ] {
        assert_eq!(router(line), [expected]);
    }
}

#[test]
fn what_this_version_can_not_do_is_an_error() {
    let said = said(
        r#"[router]
name = "gw"
metrics = "127.0.0.1"
state = "/var/lib/sekisho/gw"

[conntrack]
enable = "on"
tcp_max_retrans = 256
helpers = ["ftp"]
max = 127
[conntrack.timeouts]
udp = 0
tcp_etablished = 3
"#,
    );
    let places: Vec<_> = said.iter().map(|s| s.split(": ").take(3).collect::<Vec<_>>().join(": ")).collect();
    assert_eq!(
        places,
        [
            "3: [router]: metrics",
            "4: [router]: state",
            "8: [conntrack]: tcp_max_retrans",
            "9: [conntrack]: helpers",
            "10: [conntrack]: max",
            "12: [conntrack.timeouts]: udp",
            "13: [conntrack.timeouts]: unknown key 'tcp_etablished'; did you mean tcp_established?",
        ]
    );
    assert_eq!(
        said_of("[conntrack]\nmax = 0\nenable = \"on\""),
        ["3: [conntrack]: enable: \"on\" tracks connections and max = 0 tracks none; remove one of the two"]
    );
    good("[router]\nname = \"gw\"\n[firewall]\n[conntrack]\nmax = 0\nhelpers = []\nenable = \"auto\"");
}

#[test]
fn shapes_that_are_hard_on_parsers() {
    let deep = format!("a = {}", "[".repeat(100_000));
    let dotted = format!("{}b = 1", "a.".repeat(100_000));
    for text in
        [deep.as_str(), dotted.as_str(), "[", "[[", "=", "\"", "a = '''", "a = {", "\0", "[link.\"\\u0000\"]"]
    {
        assert!(!said(text).is_empty());
    }
}
