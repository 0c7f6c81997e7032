use super::*;
use crate::fib::sample::*;
use crate::fib::{BuildError, Entry, Fib};

fn build(lines: &[&str]) -> Fib {
    let links = links();
    rib(&links, lines).build(&links).unwrap_or_else(|e| panic!("{lines:?}: {e:?}"))
}

fn errors(lines: &[&str]) -> Vec<String> {
    let links = links();
    let errors = rib(&links, lines).build(&links).expect_err("should fail");
    errors.iter().map(BuildError::to_string).collect()
}

fn hops(fib: &Fib, dst: &str) -> Vec<(LinkId, Option<IpAddr>, u32)> {
    match fib.lookup(ip(dst)) {
        Some(Entry { action: Action::Forward(hops), .. }) => {
            hops.iter().map(|h| (h.link, h.via, h.weight)).collect()
        }
        other => panic!("{dst}: {other:?}"),
    }
}

fn via(text: &str) -> Option<IpAddr> {
    Some(ip(text))
}

#[test]
fn a_neighbor_is_found_without_naming_its_link() {
    let fib = build(&["10.9.0.0/16 via 10.2.0.2", "fd09::/64 via fd01::7"]);
    assert_eq!(hops(&fib, "10.9.1.1"), [(WAN, via("10.2.0.2"), 1)]);
    assert_eq!(hops(&fib, "fd09::1"), [(LAN, via("fd01::7"), 1)]);
    assert_eq!(hops(&fib, "10.2.0.77"), [(WAN, None, 1)]);
}

#[test]
fn a_gateway_behind_a_gateway_is_reached_through_it() {
    let fib = build(&[
        "10.9.0.0/16 via 192.0.2.1",
        "192.0.2.0/24 via 198.51.100.1",
        "198.51.100.0/24 via 10.2.0.2",
        "198.51.100.1 via 10.1.0.2 metric 3",
    ]);
    assert_eq!(hops(&fib, "10.9.1.1"), [(LAN, via("10.1.0.2"), 1)]);
    assert_eq!(hops(&fib, "198.51.100.2"), [(WAN, via("10.2.0.2"), 1)]);
}

#[test]
fn the_default_route_leads_to_gateways_only_if_it_is_on_link() {
    let said = errors(&["10.9.0.0/16 via 192.0.2.1", "default via 10.2.0.2"]);
    assert_eq!(said.len(), 1);
    assert!(said[0].contains("10.9.0.0/16") && said[0].contains("only the default route"), "{said:?}");
    let fib = build(&["10.9.0.0/16 via 192.0.2.1", "default dev wan"]);
    assert_eq!(hops(&fib, "10.9.1.1"), [(WAN, via("192.0.2.1"), 1)]);
}

#[test]
fn loops_are_refused_and_named() {
    let said = errors(&["10.9.0.0/16 via 10.9.0.1"]);
    assert_eq!(
        said,
        [
            "the route to 10.9.0.0/16 can't be used: the way to its next hop 10.9.0.1 leads through 10.9.0.1 itself"
        ]
    );
    let said = errors(&["10.9.0.0/16 via 10.8.0.1", "10.8.0.0/16 via 10.7.0.1", "10.7.0.0/16 via 10.9.0.1"]);
    assert_eq!(said.len(), 3, "{said:?}");
    // Not every route that shares a gateway with a loop is one.
    let fib = build(&["10.9.0.0/16 via 10.8.0.1", "10.8.0.0/16 via 10.7.0.1", "10.7.0.0/16 via 10.2.0.2"]);
    assert_eq!(hops(&fib, "10.9.0.1"), hops(&fib, "10.7.0.1"));
}

#[test]
fn chains_are_followed_so_far_and_no_further() {
    let line = |i: usize| format!("10.{}.0.0/16 via 10.{}.0.1", 10 + i, 11 + i);
    let chain = |n: usize| {
        let mut lines: Vec<String> = (0..n).map(line).collect();
        lines.push(format!("10.{}.0.0/16 via 10.2.0.2", 10 + n));
        lines
    };
    let as_str = |lines: &[String]| lines.iter().map(|l| l.as_str().to_owned()).collect::<Vec<_>>();
    let good = as_str(&chain(MAX_DEPTH - 1));
    let fib = build(&good.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(hops(&fib, "10.10.0.1"), [(WAN, via("10.2.0.2"), 1)]);
    let bad = as_str(&chain(MAX_DEPTH));
    let said = errors(&bad.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(
        said[0].contains("the route to 10.10.0.0/16") && said[0].contains("more than 8 others"),
        "{said:?}"
    );
}

#[test]
fn a_chain_of_thousands_is_no_danger() {
    let lines: Vec<String> = (0..20_000u32)
        .map(|i| format!("10.128.{}.{} via 10.128.{}.{}", i / 256, i % 256, (i + 1) / 256, (i + 1) % 256))
        .collect();
    let said = errors(&lines.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(said.len(), 101);
    assert_eq!(said[100], "and 19900 more sets of routes like these");
}

#[test]
fn shares_multiply_along_the_way() {
    let fib = build(&[
        "10.9.0.0/16 nexthop via 192.0.2.1 weight 1 nexthop via 10.3.0.9 weight 1",
        "192.0.2.0/24 nexthop via 10.1.0.2 weight 1 nexthop via 10.2.0.2 weight 2",
        "10.8.0.0/16 nexthop via 10.1.0.2 weight 4 nexthop via 10.2.0.2 weight 8",
    ]);
    assert_eq!(
        hops(&fib, "10.9.0.1"),
        [(LAN, via("10.1.0.2"), 1), (WAN, via("10.2.0.2"), 2), (FAR, via("10.3.0.9"), 3)]
    );
    assert_eq!(hops(&fib, "10.8.0.1"), [(LAN, via("10.1.0.2"), 1), (WAN, via("10.2.0.2"), 2)]);
}

#[test]
fn wild_weights_keep_their_proportion() {
    let way = |weights: &[u32]| Way {
        hops: weights.iter().map(|w| Hop { link: LAN, via: None, weight: *w }).collect(),
        depth: 1,
    };
    let primes = [4_294_967_291, 4_294_967_279, 4_294_967_231];
    let hops = divide(&[(256, way(&primes)), (1, way(&[1])), (255, way(&[u32::MAX, 1]))]);
    let total: f64 = hops.iter().map(|h| f64::from(h.weight)).sum();
    let share = |i: usize| f64::from(hops[i].weight) / total;
    assert!((share(3) - 1.0 / 512.0).abs() < 1e-6, "{hops:?}");
    assert!((share(0) - 256.0 / 512.0 / 3.0).abs() < 1e-6);
    assert!((share(4) - 255.0 / 512.0).abs() < 1e-6);
    assert!(hops.iter().all(|h| h.weight >= 1));
}

#[test]
fn gateways_through_too_many_hops_are_refused() {
    let far: Vec<String> = (2..=40).map(|i| format!("nexthop via 10.1.0.{i}")).collect();
    let far = format!("192.0.2.0/24 {}", far.join(" "));
    let near: Vec<String> = (1..=10).map(|i| format!("nexthop via 192.0.2.{i}")).collect();
    let said = errors(&[&far, &format!("10.9.0.0/16 {}", near.join(" "))]);
    assert!(said[0].contains("come to more than 256"), "{said:?}");
}

#[test]
fn the_link_named_must_reach_the_gateway() {
    let said = errors(&["10.9.0.0/16 via 10.2.0.2 dev lan", "10.8.0.0/16 via 192.0.2.1 dev wan"]);
    assert!(said[0].contains("10.2.0.2 is in no prefix of lan"), "{said:?}");
    assert!(said[1].contains("192.0.2.1 is in no prefix of wan") && said[1].contains("`onlink`"), "{said:?}");
    let fib = build(&[
        "10.9.0.0/16 via 10.2.0.2 dev lan onlink",
        // A static route without gateway makes neighbors as well as a connected one.
        "192.0.2.0/24 dev wan",
        "10.8.0.0/16 via 192.0.2.1 dev wan",
        // Another link's longer prefix is not in the way of the link named.
        "10.2.0.128/25 dev lan",
        "10.7.0.0/16 via 10.2.0.129 dev wan",
        "10.6.0.0/16 via 10.2.0.129",
        // Link-local gateways are on whatever link is named.
        "fd09::/64 via fe80::9 dev wan",
        "10.5.0.0/16 via inet6 fe80::9 dev lan",
        "10.4.0.0/16 via inet6 fd02::9",
    ]);
    assert_eq!(hops(&fib, "10.9.0.1"), [(LAN, via("10.2.0.2"), 1)]);
    assert_eq!(hops(&fib, "10.8.0.1"), [(WAN, via("192.0.2.1"), 1)]);
    assert_eq!(hops(&fib, "10.7.0.1"), [(WAN, via("10.2.0.129"), 1)]);
    assert_eq!(hops(&fib, "10.6.0.1"), [(LAN, via("10.2.0.129"), 1)]);
    assert_eq!(hops(&fib, "fd09::1"), [(WAN, via("fe80::9"), 1)]);
    assert_eq!(hops(&fib, "10.5.0.1"), [(LAN, via("fe80::9"), 1)]);
    assert_eq!(hops(&fib, "10.4.0.1"), [(WAN, via("fd02::9"), 1)]);
}

#[test]
fn a_link_whose_longest_prefix_has_a_gateway_does_not_reach() {
    let said = errors(&["10.2.0.128/25 via 10.2.0.2 dev wan", "10.9.0.0/16 via 10.2.0.129 dev wan"]);
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].contains("10.2.0.129 is in no prefix of wan"));
}

#[test]
fn gateways_that_are_nobody_s_or_our_own() {
    let said = errors(&[
        "10.9.0.0/16 via 192.0.2.1",
        "10.10.0.0/16 via 10.2.0.255",
        "10.11.0.0/16 via 127.0.0.1",
        "fd09::/64 via fd02::1",
        "fd0a::/64 via fd02:: dev wan",
        "blackhole 203.0.113.0/24",
        "10.12.0.0/16 via 203.0.113.1",
        "10.13.0.0/16 via 10.1.0.1 dev wan",
    ]);
    let parts = [
        "no route leads to 192.0.2.1",
        "10.2.0.255 is no single router's",
        "127.0.0.1 is an address of this router",
        "fd02::1 is an address of this router",
        "fd02:: is no single router's",
        "next hop 203.0.113.1 is an unreachable, prohibit or blackhole one",
        "10.1.0.1 is an address of this router",
    ];
    assert_eq!(said.len(), parts.len(), "{said:?}");
    for (said, part) in said.iter().zip(parts) {
        assert!(said.contains(part), "{said}");
    }
}

/// Linux takes `via` an own IPv4 address for a route without gateway.
#[test]
fn via_an_own_address_means_on_that_link() {
    let fib =
        build(&["10.9.0.0/16 via 10.2.0.1", "10.8.0.0/16 via 10.2.0.1 dev wan", "10.7.0.0/16 via 10.9.0.3"]);
    assert_eq!(hops(&fib, "10.9.0.1"), [(WAN, None, 1)]);
    assert_eq!(hops(&fib, "10.8.0.1"), [(WAN, None, 1)]);
    assert_eq!(hops(&fib, "10.7.0.1"), [(WAN, via("10.9.0.3"), 1)]);
}

#[test]
fn the_source_must_be_ours() {
    let fib = build(&["10.9.0.0/16 dev wan src 10.1.0.1", "fd09::/64 dev wan src fe80::1"]);
    assert_eq!(fib.lookup(ip("10.9.0.1")).unwrap().src, via("10.1.0.1"));
    let said = errors(&["10.9.0.0/16 dev wan src 10.1.0.2"]);
    assert_eq!(
        said,
        ["the route to 10.9.0.0/16 can't have source 10.1.0.2: that is no address of this router"]
    );
}
