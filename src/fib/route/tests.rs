use super::*;
use crate::fib::sample::*;

fn round_trip(line: &str) {
    let links = links();
    assert_eq!(route(line, &links).display(&links).to_string(), line);
}

/// Lines as the kernel and iproute2 print them.
#[test]
fn shown_as_iproute2_shows_them() {
    for line in [
        "default via 10.2.0.2 dev wan metric 100",
        "default via 10.2.0.3 dev wan",
        "10.77.0.0/16 dev wan scope link",
        "10.78.0.0/16 dev wan proto static scope link src 10.1.0.1",
        "10.79.0.1 via 10.2.0.77 dev wan onlink",
        "10.79.0.2 via 10.2.0.77 dev wan proto static src 10.1.0.1 metric 5 onlink",
        "10.80.0.0/16 via inet6 fe80::1 dev wan",
        "blackhole 10.7.0.0/16",
        "prohibit 10.8.0.0/16 proto static metric 7",
        "unreachable default metric 4294967295",
        "10.80.1.0/24\n\tnexthop via inet6 fe80::1 dev wan weight 1\n\tnexthop via 10.1.0.2 dev lan weight 1",
        "10.81.0.0/16\n\tnexthop dev wan weight 2\n\tnexthop via 10.1.0.2 dev lan weight 1 onlink",
        "198.51.101.0/24 proto static src 10.1.0.1 metric 5\n\tnexthop via 10.2.0.2 dev wan weight 3\n\tnexthop via 10.1.0.2 dev lan weight 1",
        "10.76.0.0/16 via 10.2.0.2 dev wan proto 77",
        "10.75.0.0/16 via 10.2.0.2 dev wan proto bgp",
        "2001:db8::/32 metric 1024 pref medium\n\tnexthop via fd02::2 dev wan weight 3\n\tnexthop via fd01::2 dev lan weight 1",
        "blackhole fd07::/32 dev lo proto static metric 1024 pref medium",
        "prohibit fd08::/32 dev lo metric 7 pref medium",
        "fd0b::1 dev wan src fd01::1 metric 1024 pref medium",
        "fd0c::1 via fd02::9 dev wan metric 1024 onlink pref medium",
        "default via fe80::2 dev wan metric 50 pref medium",
        "default dev wan metric 1024 pref medium",
    ] {
        round_trip(line);
    }
}

#[test]
fn what_makes_no_sense_is_refused() {
    let ok = Route::new("10.9.0.0/16".parse().unwrap(), RouteKind::Blackhole);
    let unicast = |hops: Vec<NextHop>| Route { kind: RouteKind::Unicast(hops), ..ok.clone() };
    let via = |a: &str, link| NextHop::new(Some(ip(a)), link);
    let six = |hop: NextHop| Route { prefix: "fd09::/64".parse().unwrap(), ..unicast(vec![hop]) };
    assert_eq!(ok.validate(), Ok(()));
    assert_eq!(unicast(vec![via("fd02::2", None)]).validate(), Ok(()));

    let to = ok.prefix;
    let error = |r: Route| r.validate().unwrap_err();
    let host = "10.9.0.1/16".parse().unwrap();
    assert_eq!(error(Route { prefix: host, ..ok.clone() }), RouteError::HostBits(host));
    assert_eq!(error(Route { src: Some(ip("::1")), ..ok.clone() }), RouteError::SourceFamily(to, ip("::1")));
    assert_eq!(error(unicast(vec![])), RouteError::NoWayOut(to));
    assert_eq!(error(unicast(vec![NextHop::new(None, None)])), RouteError::NoWayOut(to));
    assert_eq!(error(unicast(vec![via("10.2.0.2", None); 257])), RouteError::TooManyHops(to, 257));
    for weight in [0, 257] {
        let hop = NextHop { weight, ..via("10.2.0.2", None) };
        assert_eq!(error(unicast(vec![hop])), RouteError::Weight(to, weight));
    }
    for no_router in ["224.0.0.1", "0.0.0.0", "255.255.255.255", "ff02::1", "::"] {
        assert_eq!(
            error(unicast(vec![via(no_router, Some(WAN))])),
            RouteError::NotUnicast(to, ip(no_router))
        );
    }
    assert_eq!(error(unicast(vec![via("fe80::2", None)])), RouteError::NeedsLink(to, ip("fe80::2")));
    assert_eq!(
        error(unicast(vec![NextHop { onlink: true, ..via("10.2.0.2", None) }])),
        RouteError::OnlinkNeedsLink(to)
    );
    let six = six(via("10.2.0.2", Some(WAN)));
    assert_eq!(error(six.clone()), RouteError::Family(six.prefix, ip("10.2.0.2")));
}

#[test]
fn protocols_by_name_and_number() {
    for n in 0..=u8::MAX {
        let p = Protocol::from_number(n);
        assert_eq!(p.number(), n);
        assert_eq!(Protocol::named(&p.to_string()), Some(p));
    }
    assert_eq!(Protocol::named("2"), Some(Protocol::Kernel));
    assert_eq!(Protocol::named("256"), None);
    assert_eq!(Protocol::named("rpi"), None);
}
