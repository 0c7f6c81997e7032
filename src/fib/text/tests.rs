use proptest::prelude::*;

use super::*;
use crate::fib::sample::*;

fn error(line: &str) -> String {
    parse_line(line, &links()).expect_err(line).to_string()
}

fn kind_of(line: &str) -> RouteKind {
    route(line, &links()).kind
}

fn hop(via: Option<&str>, link: Option<LinkId>) -> NextHop {
    NextHop::new(via.map(ip), link)
}

#[test]
fn blank_lines_and_comments_are_no_routes() {
    for line in ["", "   \t", "# 10.0.0.0/8 dev lan", "  # x", "\r\n"] {
        assert_eq!(parse_line(line, &links()), Ok(None), "{line:?}");
    }
    assert_eq!(kind_of("10.9.0.0/16 dev lan # to the lan"), RouteKind::Unicast(vec![hop(None, Some(LAN))]));
}

#[test]
fn destinations() {
    let net = |line: &str| route(line, &links()).prefix.to_string();
    assert_eq!(net("10.9.0.0/16 dev lan"), "10.9.0.0/16");
    assert_eq!(net("unicast to 10.9.0.0/16 dev lan"), "10.9.0.0/16");
    assert_eq!(net("10.9.0.1 dev lan"), "10.9.0.1/32");
    assert_eq!(net("fd09::1 dev lan"), "fd09::1/128");
    assert_eq!(net("10.9/16 dev lan"), "10.9.0.0/16");
    assert_eq!(net("10/8 dev lan"), "10.0.0.0/8");
    assert_eq!(net("2001:db8::/32 dev lan"), "2001:db8::/32");
}

#[test]
fn default_follows_the_family_of_the_rest() {
    let net = |line: &str| route(line, &links()).prefix.to_string();
    assert_eq!(net("default via 10.2.0.2"), "0.0.0.0/0");
    assert_eq!(net("default dev wan"), "0.0.0.0/0");
    assert_eq!(net("default via inet6 fe80::2 dev wan"), "0.0.0.0/0");
    assert_eq!(net("default via fd02::2"), "::/0");
    assert_eq!(net("default nexthop via fd02::2 nexthop via fd02::3"), "::/0");
    assert_eq!(net("default dev wan src fd02::1"), "::/0");
    assert_eq!(net("default dev wan metric 1024 pref medium"), "::/0");
    assert_eq!(net("::/0 dev wan"), "::/0");
}

#[test]
fn metrics() {
    let metric = |line: &str| route(line, &links()).metric;
    assert_eq!(metric("10.9.0.0/16 dev lan"), 0);
    assert_eq!(metric("10.9.0.0/16 dev lan preference 7"), 7);
    assert_eq!(metric("10.9.0.0/16 dev lan priority 0x10"), 16);
    assert_eq!(metric("fd09::/64 dev lan"), 1024);
    assert_eq!(metric("fd09::/64 dev lan metric 0"), 1024);
    assert_eq!(metric("fd09::/64 dev lan metric 4294967295"), u32::MAX);
}

#[test]
fn next_hops() {
    let via = |a| Some(a);
    assert_eq!(kind_of("10.9.0.0/16 via 10.2.0.2"), RouteKind::Unicast(vec![hop(via("10.2.0.2"), None)]));
    assert_eq!(
        kind_of("10.9.0.0/16 via inet6 fe80::5 dev wan"),
        RouteKind::Unicast(vec![hop(via("fe80::5"), Some(WAN))])
    );
    let weighted = NextHop { weight: 256, onlink: true, ..hop(via("10.2.0.2"), Some(WAN)) };
    assert_eq!(
        kind_of("10.9.0.0/16 nexthop via 10.2.0.2 dev wan weight 256 onlink nexthop dev lan"),
        RouteKind::Unicast(vec![weighted, hop(None, Some(LAN))])
    );
    assert_eq!(
        kind_of(
            "10.80.1.0/24 \\\tnexthop via 10.1.0.2 dev lan weight 1 \\\tnexthop via 10.2.0.2 dev wan weight 1 "
        ),
        RouteKind::Unicast(vec![hop(via("10.1.0.2"), Some(LAN)), hop(via("10.2.0.2"), Some(WAN))])
    );
}

#[test]
fn errors_say_what_would_be_right() {
    for (line, part) in [
        ("unreachable", "no destination"),
        ("foo", "'foo' is no destination"),
        ("10.1.1.0/33 dev lan", "'10.1.1.0/33' is no destination"),
        ("10.1.1.0/+8 dev lan", "is no destination"),
        ("10.1 dev lan", "'10.1' is no destination"),
        ("10.1.1.1/24 dev lan", "did you mean 10.1.1.0/24"),
        ("10.9.0.0/16", "has no way out"),
        ("unicast 10.9.0.0/16", "has no way out"),
        ("10.9.0.0/16 via", "'via' has nothing behind it"),
        ("10.9.0.0/16 via foo", "'foo' is no address"),
        ("10.9.0.0/16 dev wam", "there is no link 'wam': the links are lo, lan, wan, far"),
        ("10.9.0.0/16 dev lan dev wan", "'dev' stands there twice"),
        ("10.9.0.0/16 dev lan metric", "'metric' has nothing behind it"),
        ("10.9.0.0/16 dev lan metric -1", "'-1' is no metric"),
        ("10.9.0.0/16 dev lan metric 4294967296", "is no metric"),
        ("10.9.0.0/16 dev lan weight 0", "'0' is no weight"),
        ("10.9.0.0/16 nexthop dev lan weight 257", "'257' is no weight"),
        ("10.9.0.0/16 dev lan bogus 5", "'bogus' is no word"),
        ("10.9.0.0/16 dev lan mtu", "'mtu' has nothing behind it"),
        ("10.9.0.0/16 dev lan mtu lock", "'mtu' has nothing behind it"),
        ("10.9.0.0/16 dev lan mtu -1", "'-1' is no mtu"),
        ("10.9.0.0/16 dev lan advmss lock x", "'x' is no advmss"),
        ("10.9.0.0/16 dev lan mtu 1400 mtu 1300", "'mtu' stands there twice"),
        ("10.9.0.0/16 dev lan window 1400", "'window' is not supported"),
        ("10.9.0.0/16 dev lan table 7", "'table 7' is not supported"),
        ("10.9.0.0/16 dev lan table main table local", "'table local' is not supported"),
        ("10.9.0.0/16 dev lan scope host", "scope 'host' is not supported"),
        ("10.9.0.0/16 dev lan proto xyz", "'xyz' is no protocol"),
        ("throw 10.9.0.0/16", "'throw' is not supported"),
        ("local 10.9.0.1 dev lo", "follow from the addresses"),
        ("unreachable 10.9.0.0/16 dev lan", "type unreachable goes nowhere"),
        ("blackhole fd09::/16 dev lan", "type blackhole goes nowhere"),
        ("prohibit 10.9.0.0/16 nexthop dev lan", "goes nowhere"),
        ("10.9.0.0/16 via 10.2.0.2 nexthop dev lan", "behind the nexthop"),
        ("fd09::/16 via 10.2.0.2", "needs an IPv6 next hop"),
        ("fd09::/16 via fe80::2", "needs `dev`"),
        ("10.9.0.0/16 dev lan src fd01::1", "of the other family"),
    ] {
        let said = error(line);
        assert!(said.contains(part), "{line}: {said}");
    }
}

#[test]
fn a_text_is_loaded_with_the_lines_that_are_wrong() {
    let text = "# routes\n10.9.0.0/16 via 10.2.0.2\n\n10.10.0.0/16 dev wam\n10.11.0.0/16\n\tnexthop via 10.2.0.2 dev wan weight 1\n \tnexthop via 10.1.0.2 dev lan weight 2\nblackhole 10.12.0.0/16\n10.9.0.0/16 dev lan\n\tnexthop\n\u{ff}";
    let text: Vec<u8> = text.chars().map(|c| c as u8).collect();
    let links = links();
    let mut rib = crate::fib::Rib::new();
    let error = load(&text[..], &links, |r| rib.insert(r)).unwrap_err();
    let said: Vec<_> = error.lines.iter().map(|l| l.line).collect();
    assert_eq!(said, [4, 9, 11], "{error}");
    assert_eq!(rib.len(), 3);
    let multi = rib.iter().find(|r| r.prefix.to_string() == "10.11.0.0/16").unwrap();
    assert_eq!(multi.hops().len(), 2);
    assert_eq!(load(&b"10.9.0.0/16 dev lan"[..], &links, |_| Ok(())), Ok(1));
    assert_eq!(load(&b""[..], &links, |_| Ok(())), Ok(0));
}

#[test]
fn a_million_mistakes_are_counted_not_told() {
    let text = "10.9.0.0/16 dev wam\n".repeat(1000);
    let error = load(text.as_bytes(), &links(), |_| Ok(())).unwrap_err();
    assert_eq!((error.lines.len(), error.more), (20, 980));
    assert!(error.to_string().ends_with("and 980 more lines"));
    assert!(error.to_string().starts_with("line 1: there is no link 'wam'"));
}

#[test]
fn lines_without_end_are_passed_over() {
    let mut text = vec![b'x'; 3 * load::MAX_LINE];
    text.extend(b"\n10.9.0.0/16 dev lan\n");
    let mut taken = vec![];
    let error = load(&text[..], &links(), |r| {
        taken.push(r);
        Ok(())
    })
    .unwrap_err();
    assert_eq!(error.lines, [LineError { line: 1, error: TextError::TooLong }]);
    assert_eq!(taken.len(), 1);
    // Nor does a route grow without end by its next hops.
    let endless = "10.9.0.0/16\n".to_owned() + &"\tnexthop dev lan\n".repeat(10_000);
    assert!(load(endless.as_bytes(), &links(), |_| Ok(())).is_err());
}

#[test]
fn a_reader_that_fails_is_told_of() {
    struct Broken;
    impl std::io::Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            Err(std::io::Error::other("the disk is gone"))
        }
    }
    let error = load(std::io::BufReader::new(Broken), &links(), |_| Ok(())).unwrap_err();
    assert!(error.to_string().contains("line 1: reading failed: the disk is gone"));
}

fn any_hop(v4: bool) -> impl Strategy<Value = NextHop> {
    let via = if v4 {
        any::<[u8; 3]>().prop_map(|[a, b, c]| Some(IpAddr::from([10, a, b, c]))).boxed()
    } else {
        any::<u64>()
            .prop_map(|b| Some(IpAddr::from(Ipv6Addr::from_bits(0xfd02 << 112 | u128::from(b) | 1))))
            .boxed()
    };
    let hop = (proptest::option::of(via), 0..4u16, any::<bool>());
    hop.prop_map(|(via, link, onlink)| NextHop {
        via: via.flatten(),
        link: Some(LinkId(link)),
        weight: 1,
        onlink,
    })
}

fn any_route() -> impl Strategy<Value = Route> {
    any::<bool>().prop_flat_map(|v4| {
        let prefix = (any::<u128>(), 0..=128u8).prop_map(move |(bits, len)| {
            if v4 {
                IpNet::V4(Ipv4Net::new((bits as u32).into(), len % 33).unwrap().trunc())
            } else {
                IpNet::V6(Ipv6Net::new(bits.into(), len).unwrap().trunc())
            }
        });
        let many = proptest::collection::vec((any_hop(v4), 1..=256u16), 2..5).prop_map(|hops| {
            hops.into_iter().map(|(hop, weight)| NextHop { weight, ..hop }).collect::<Vec<_>>()
        });
        let kind = prop_oneof![
            any_hop(v4).prop_map(|hop| RouteKind::Unicast(vec![hop])),
            many.prop_map(RouteKind::Unicast),
            Just(RouteKind::Unreachable),
            Just(RouteKind::Prohibit),
            Just(RouteKind::Blackhole),
        ];
        let metrics = (0..=Metrics::MAX_MTU, 0..=Metrics::MAX_ADVMSS, any::<bool>(), any::<bool>())
            .prop_map(|(mtu, advmss, mtu_lock, advmss_lock)| Metrics { mtu, advmss, mtu_lock, advmss_lock });
        let metrics = prop_oneof![Just(Metrics::default()), metrics];
        (prefix, kind, 1..=u32::MAX, any::<u8>(), metrics).prop_map(
            |(prefix, kind, metric, protocol, metrics)| Route {
                prefix,
                kind,
                metric,
                protocol: Protocol::from_number(protocol),
                src: None,
                metrics,
            },
        )
    })
}

proptest! {
    #[test]
    fn any_line_is_read_or_refused(line in ".{0,60}") {
        let _ = parse_line(&line, &links());
    }

    #[test]
    fn any_words_are_read_or_refused(words in proptest::collection::vec(prop_oneof![
        Just("via"), Just("dev"), Just("lan"), Just("10.0.0.0/8"), Just("nexthop"), Just("inet6"), Just("fe80::1"),
        Just("metric"), Just("weight"), Just("1"), Just("default"), Just("onlink"), Just("src"), Just("blackhole"),
        Just("to"), Just("pref"), Just("medium"), Just("/"), Just("::/0"),
        Just("mtu"), Just("lock"), Just("advmss"),
    ], 0..12)) {
        if let Ok(Some(route)) = parse_line(&words.join(" "), &links()) {
            prop_assert_eq!(route.validate(), Ok(()));
        }
    }

    #[test]
    fn any_bytes_are_loaded_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = load(&bytes[..], &links(), |_| Ok(()));
    }

    #[test]
    fn what_is_shown_is_read_back(route in any_route()) {
        let links = links();
        let text = route.display(&links).to_string();
        let mut read = vec![];
        let count = load(text.as_bytes(), &links, |r| {
            read.push(r);
            Ok(())
        });
        prop_assert_eq!(count, Ok(1), "{}", text);
        prop_assert_eq!(&read[..], &[route][..], "{}", text);
    }
}
