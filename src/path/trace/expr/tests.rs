use proptest::prelude::*;

use super::*;
use crate::wire::proto;

fn parse(text: &str) -> Expr {
    text.parse().unwrap_or_else(|e| panic!("{text}: {e}"))
}

fn glance(src: &str, dst: &str, proto: u8, ports: Option<(u16, u16)>) -> Glance {
    let ends: (IpAddr, IpAddr) = (src.parse().unwrap(), dst.parse().unwrap());
    let net = if ends.0.is_ipv4() { Net::Ipv4 } else { Net::Ipv6 };
    Glance { net, ends: Some(ends), proto: Some(proto), ports, icmp: None }
}

fn holds(text: &str, glance: &Glance, end: Ending<'_>) -> Truth {
    parse(text).holds(&Facts { glance, input: Some("lan"), flow: &|| None, end })
}

/// A packet of 10.1.0.2:40000 > 198.51.100.7:443, TCP, in by lan.
fn web(text: &str) -> Truth {
    holds(text, &glance("10.1.0.2", "198.51.100.7", proto::TCP, Some((40000, 443))), Ending::Open)
}

#[test]
fn the_words_of_pcap() {
    for yes in [
        "",
        "host 10.1.0.2",
        "host 198.51.100.7",
        "src host 10.1.0.2",
        "src 10.1.0.2",
        "10.1.0.2",
        "10.1.0.0/24",
        "dst 198.51.100.7",
        "net 10.1.0.0/16",
        "net 10.1",
        "net 10",
        "dst net 198.51.100.0/24",
        "port 443",
        "port https",
        "dst port https",
        "src portrange 40000-40001",
        "portrange 1-443",
        "tcp",
        "TCP".to_ascii_lowercase().as_str(),
        "ip",
        "proto 6",
        "proto TCP",
        "tcp port 443",
        "tcp dst port 443",
        "ip host 10.1.0.2",
        "port 80 or 443",
        "tcp port 80 or 443",
        "not udp",
        "! udp && ! arp",
        "not(udp or arp)",
        "(host 10.1.0.2 and port 443) or arp",
        "src or dst host 10.1.0.2",
        "src and dst portrange 1-65535",
        "in lan",
        "flow tcp 10.1.0.2:40000 > 198.51.100.7:443",
        "flow tcp 198.51.100.7:443 10.1.0.2:40000",
        "flow tcp 198.51.100.7 10.1.0.2",
        "udp or tcp and port 443",
        "ip proto 6",
        "ip proto \\tcp",
        "proto 17 or 6",
        "port 80 or proto 17 or \\tcp",
        "ip proto 17 or 6",
        "proto 17 or 10.1.0.2",
        "dst net 198.51.100.0 mask 255.255.255.0",
    ] {
        assert_eq!(web(yes), Truth::Yes, "{yes}");
    }
    for no in [
        "host 10.1.0.3",
        "dst host 10.1.0.2",
        "src net 198.51.100.0/24",
        "port 80",
        "src port 443",
        "udp port 443",
        "udp port 443 or 80",
        "ip6",
        "arp",
        "icmp",
        "src and dst host 10.1.0.2",
        "not tcp",
        "in wan",
        "flow udp 10.1.0.2:40000 > 198.51.100.7:443",
        "flow tcp 10.1.0.2:443 > 198.51.100.7:40000",
        "flow 4294967297",
        "tcp and (udp or port 80)",
        // As tcpdump reads it: (tcp or udp) and port 80.
        "tcp or udp and port 80",
        "port 80 or 443 and udp",
        "ip6 proto 6",
        "ip6 proto 17 or 6",
        // The last is a protocol, no port.
        "port 80 or proto 17 or 132",
        "esp",
    ] {
        assert_eq!(web(no), Truth::No, "{no}");
    }
    let six = glance("fd01::2", "2001:db8::7", proto::ICMPV6, None);
    for yes in ["ip6", "icmp6", "host fd01::2", "net 2001:db8::/32", "not port 80", "ip6 net fd01::/16"] {
        assert_eq!(holds(yes, &six, Ending::Open), Truth::Yes, "{yes}");
    }
}

#[test]
fn what_only_the_end_tells() {
    let p = glance("10.1.0.2", "198.51.100.7", proto::TCP, Some((40000, 443)));
    let outputs = ["wan".to_owned()];
    let known = |dropped| Ending::Known { outputs: &outputs, dropped, mark: 0x12, state: CtState::New };
    let filtered = known(Some(DropReason::Filtered));
    for (text, open, passes, dropped, sent) in [
        ("drop", Truth::Maybe, Truth::No, Truth::Yes, Truth::No),
        ("drop filtered", Truth::Maybe, Truth::No, Truth::Yes, Truth::No),
        ("drop no_route", Truth::Maybe, Truth::No, Truth::No, Truth::No),
        ("not drop", Truth::Maybe, Truth::Yes, Truth::No, Truth::Yes),
        ("drop and udp", Truth::No, Truth::No, Truth::No, Truth::No),
        ("drop or tcp", Truth::Yes, Truth::Yes, Truth::Yes, Truth::Yes),
        ("(drop)", Truth::Maybe, Truth::No, Truth::Yes, Truth::No),
        ("out wan", Truth::Maybe, Truth::Maybe, Truth::Yes, Truth::Yes),
        ("out lan", Truth::Maybe, Truth::Maybe, Truth::No, Truth::No),
        ("mark 0x12", Truth::Maybe, Truth::Maybe, Truth::Yes, Truth::Yes),
        ("mark 16/0xf0", Truth::Maybe, Truth::Maybe, Truth::Yes, Truth::Yes),
        ("mark 1", Truth::Maybe, Truth::Maybe, Truth::No, Truth::No),
        ("state new", Truth::Maybe, Truth::Maybe, Truth::Yes, Truth::Yes),
        ("state ESTABLISHED", Truth::Maybe, Truth::Maybe, Truth::No, Truth::No),
    ] {
        let all = [Ending::Open, Ending::Passes, filtered, known(None)].map(|end| holds(text, &p, end));
        assert_eq!(all, [open, passes, dropped, sent], "{text}");
    }
    assert!(parse("tcp and not drop").asks_drops() && !parse("tcp").asks_drops());
    assert_eq!(parse("in lan or out wan and not in tun0").links(), ["lan", "wan", "tun0"]);
}

#[test]
fn what_is_wrong_is_named_with_what_would_be_right() {
    for (text, word, right) in [
        ("hots 10.1.0.2", "hots", "did you mean 'host'?"),
        ("porr 80", "porr", "did you mean 'port'?"),
        ("host www.example.org", "www.example.org", "names are not looked up"),
        ("net 10.1.0.0/33", "10.1.0.0/33", "10.1.0.0/24"),
        ("port 70000", "70000", "number to 65535"),
        ("port htps", "htps", "the name of a service"),
        ("portrange 9-1", "9-1", "the smaller port comes first"),
        ("proto 256", "256", "a number to 255"),
        ("host", "host", "an address must follow"),
        ("tcp and", "and", "something to ask for must follow"),
        ("tcp udp", "udp", "put 'and' or 'or' before it"),
        ("and tcp", "and", "must stand before it"),
        ("tcp or or udp", "or", "must stand before it"),
        ("net 10.0.0.0 mask 10.0.0.0", "10.0.0.0", "a netmask"),
        ("icmp6 port 5", "5", "no ports"),
        ("arp portrange 1-5", "1-5", "no ports"),
        ("ip6 host 10.1.0.1", "10.1.0.1", "an IPv6 address"),
        ("ip net fd01::/64", "fd01::/64", "an IPv4 address"),
        ("ip6 src host fd01::1 or 10.1.0.1", "10.1.0.1", "an IPv6 address"),
        ("ip net 10.0.0.0/8 or fd01::/64", "fd01::/64", "an IPv4 address"),
        ("src host 10.1.0.1 or 10.2.0.0/16", "10.2.0.0/16", "a prefix follows 'net'"),
        ("proto 6 or 300", "300", "a number to 255"),
        ("net fd01:: mask 255.255.0.0", "fd01::", "an IPv4 address alone"),
        ("net 10.0.0.0/8 mask 255.0.0.0", "10.0.0.0/8", "an IPv4 address alone"),
        ("ip6 net 10.0.0.0 mask 255.0.0.0", "10.0.0.0", "an IPv6 address"),
        // What tcpdump knows is refused by its name.
        ("tcp[tcpflags] & tcp-syn != 0", "tcp[tcpflags]", "flags of TCP"),
        ("ip[8] < 5", "ip[8]", "bytes of a packet"),
        ("tcp and less 100", "less", "lengths"),
        ("vlan 7 and ip", "vlan", "'in LINK'"),
        ("ether host 2:0:0:0:0:1", "ether", "MACs"),
        ("ip multicast", "multicast", "'dst net 224.0.0.0/4'"),
        ("not ip6 protochain 6", "protochain", "'proto'"),
        ("inbound", "inbound", "'in LINK'"),
        ("rarp", "rarp", "ARP"),
        ("(tcp", "(", "never closed"),
        ("tcp)", ")", "no '(' is open"),
        ("drop filterd", "filterd", "did you mean 'filtered'?"),
        ("drop because", "because", "sekisho stats"),
        ("state BEGUN", "BEGUN", "NEW, ESTABLISHED"),
        ("mark high", "high", "a mark is a number"),
        ("flow 7", "7", "no flow has this number"),
        ("flow tcp 10.1.0.2", "flow", "must follow"),
        ("flow tcp 10.1.0.2:1 fd01::2", "tcp", "one family"),
        ("flow tcp 10.1.0.2:x 10.1.0.3:1", "10.1.0.2:x", "ADDRESS:PORT"),
    ] {
        let e = text.parse::<Expr>().expect_err(text);
        assert!(e.word == word && e.text.contains(right), "{text}: {e:?}");
        let said = e.to_string();
        assert!(!said.contains('\n') && said.contains(word), "{said}");
    }
    let deep = format!("{}tcp{}", "(".repeat(65), ")".repeat(65));
    assert!(deep.parse::<Expr>().unwrap_err().text.contains("64 parentheses"));
    assert!(format!("{}tcp", "not ".repeat(70)).parse::<Expr>().is_err());
    assert!("tcp or ".repeat(300).parse::<Expr>().unwrap_err().text.contains("512"));
    assert!("t".repeat(5_000).parse::<Expr>().unwrap_err().text.contains("4096"));
}

#[test]
fn a_long_word_is_quoted_by_its_beginning() {
    let long = "9".repeat(3_000);
    for text in [long.clone(), format!("port {long}"), format!("drop {long}"), format!("flow {long}\u{7}")] {
        let said = text.parse::<Expr>().unwrap_err().to_string();
        assert!(said.chars().count() < 300 && said.contains("999…") && !said.contains('\u{7}'), "{said}");
    }
}

#[test]
fn a_flow_s_number_reads_back() {
    let id = FlowId { slot: 7, tenant: std::num::NonZeroU32::new(3).unwrap() };
    let number = crate::path::trace::steps::number(id);
    assert_eq!(parse(&format!("flow {number}")), Expr::Ask(Ask::Flow(id)));
}

/// Expressions that say what they mean, and their meaning.
fn any_expr() -> impl Strategy<Value = String> {
    let ask = prop_oneof![
        Just("tcp".to_owned()),
        Just("drop".to_owned()),
        any::<u16>().prop_map(|p| format!("dst port {p}")),
        any::<[u8; 4]>().prop_map(|a| format!("src host {}", std::net::Ipv4Addr::from(a))),
        Just("in lan".to_owned()),
        Just("state NEW".to_owned()),
    ];
    ask.prop_recursive(5, 40, 2, |inner| {
        prop_oneof![
            inner.clone().prop_map(|e| format!("not ({e})")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a}) and ({b})")),
            (inner.clone(), inner).prop_map(|(a, b)| format!("({a} or {b})")),
        ]
    })
}

proptest! {
    #[test]
    fn any_text_is_understood_or_refused(text in "\\PC{0,80}") {
        let _ = text.parse::<Expr>();
    }

    #[test]
    fn any_words_are_understood_or_refused(
        words in proptest::collection::vec(proptest::sample::select(vec![
            "host", "net", "port", "portrange", "src", "dst", "or", "and", "not", "(", ")", "!", "tcp", "ip6", "proto", "in",
            "out", "flow", "drop", "mark", "state", "10.1.0.2", "fd01::/16", "80", "1-2", "https", "NEW", "0x1/0x2", ">", "lan",
            "filtered", "[fd01::1]:5", "10.1.0.2:5",
        ]), 0..12),
    ) {
        if let Err(e) = words.join(" ").parse::<Expr>() {
            prop_assert!(!e.text.is_empty());
        }
    }

    #[test]
    fn what_is_sure_early_stays_so(text in any_expr(), dropped in any::<bool>(), port in any::<u16>()) {
        let p = glance("10.1.0.2", "10.2.0.2", proto::TCP, Some((1, port)));
        let end = Ending::Known {
            outputs: &[],
            dropped: dropped.then_some(DropReason::NoRoute),
            mark: 0,
            state: CtState::New,
        };
        let (open, known) = (holds(&text, &p, Ending::Open), holds(&text, &p, end));
        prop_assert_ne!(known, Truth::Maybe);
        prop_assert!(open == Truth::Maybe || open == known, "{}: {:?} then {:?}", text, open, known);
        let passes = holds(&text, &p, Ending::Passes);
        prop_assert!(passes == Truth::Maybe || dropped || passes == known, "{}", text);
        let opposite = holds(&format!("not ({text})"), &p, end);
        prop_assert_ne!(opposite, known);
    }

    #[test]
    fn any_frame_can_be_glanced_at(bytes in proptest::collection::vec(any::<u8>(), 0..90), ethernet in any::<bool>()) {
        let g = Glance::of(&bytes, ethernet);
        let _ = (g.tuple(), g.way());
        for first in [0x45, 0x60] {
            let mut packet = bytes.clone();
            if let Some(b) = packet.first_mut() {
                *b = first;
            }
            let _ = Glance::of(&packet, false).way();
        }
    }
}
