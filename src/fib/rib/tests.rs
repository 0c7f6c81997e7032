use super::*;
use crate::fib::sample::*;

fn shown_main(rib: &Rib, family: Family) -> Vec<String> {
    shown(rib.show(family, Table::Main), &links())
}

#[test]
fn ipv4_is_listed_by_first_address_longest_first() {
    // The order in which Linux lists these.
    let lines = [
        "0.0.0.0/1 via 10.2.0.2 dev wan",
        "default via 10.2.0.2 dev wan",
        "default via 10.2.0.3 dev wan metric 100",
        "9.255.0.0/16 via 10.2.0.2 dev wan",
        "10.0.0.0 via 10.2.0.2 dev wan",
        "10.0.0.0/16 via 10.2.0.2 dev wan",
        "10.0.0.0/16 via 10.2.0.2 dev wan metric 9",
        "10.0.0.0/12 via 10.2.0.2 dev wan",
        "10.0.0.0/8 via 10.2.0.2 dev wan",
        "10.255.0.0/16 via 10.2.0.2 dev wan",
        "11.0.0.0/8 via 10.2.0.2 dev wan",
        "128.0.0.0/1 via 10.2.0.2 dev wan",
    ];
    let mut rib = Rib::new();
    for i in 0..lines.len() {
        add(&mut rib, lines[i * 5 % lines.len()], &links()).unwrap();
    }
    assert_eq!(shown_main(&rib, Family::V4), lines);
    assert!(shown_main(&rib, Family::V6).is_empty());
}

#[test]
fn ipv6_is_listed_inner_prefixes_first() {
    // The order in which Linux lists these.
    let lines = [
        "2001:db7::/32 via fd02::2 dev wan metric 1024 pref medium",
        "2001:db8::/64 via fd02::2 dev wan metric 1024 pref medium",
        "2001:db8::/48 via fd02::2 dev wan metric 1024 pref medium",
        "2001:db8:1::1 via fd02::2 dev wan metric 1024 pref medium",
        "2001:db8:ff::/48 via fd02::2 dev wan metric 1024 pref medium",
        "2001:db8:ffff::/48 via fd02::2 dev wan metric 1024 pref medium",
        "2001:db8::/32 via fd02::2 dev wan metric 1024 pref medium",
        "2001:db9::/32 via fd02::2 dev wan metric 1024 pref medium",
        "2000::/3 via fd02::2 dev wan metric 1024 pref medium",
        "fe00::/9 via fd02::2 dev wan metric 1024 pref medium",
        "default via fe80::2 dev wan metric 50 pref medium",
        "default via fd02::2 dev wan metric 1024 pref medium",
    ];
    let mut rib = Rib::new();
    for i in 0..lines.len() {
        add(&mut rib, lines[i * 7 % lines.len()], &links()).unwrap();
    }
    assert_eq!(shown_main(&rib, Family::V6), lines);
}

#[test]
fn one_route_a_prefix_and_metric() {
    let links = links();
    let mut rib = rib(&links, &["10.9.0.0/16 via 10.2.0.2", "10.9.0.0/16 via 10.2.0.3 metric 5"]);
    let before = rib.len();
    let net = "10.9.0.0/16".parse().unwrap();
    assert_eq!(add(&mut rib, "blackhole 10.9.0.0/16 metric 5", &links), Err(RouteError::Exists(net, 5)));
    // Not even beside a connected route, nor beside one that would be on another link.
    let lan = "10.1.0.0/24".parse().unwrap();
    assert_eq!(add(&mut rib, "10.1.0.0/24 via 10.2.0.9", &links), Err(RouteError::Exists(lan, 0)));
    assert_eq!(add(&mut rib, "10.1.0.0/24 dev wan", &links), Err(RouteError::Exists(lan, 0)));
    assert_eq!(add(&mut rib, "10.1.0.0/24 via 10.2.0.9 metric 9", &links), Ok(()));
    assert_eq!(rib.len(), before + 1);
}

#[test]
fn a_prefix_on_two_links_is_connected_twice() {
    let links = links_with(&["10.2.0.7/24"], &["10.2.0.1/24"], &[]);
    let rib = Rib::connected(&links);
    assert_eq!(
        shown(rib.show(Family::V4, Table::Main), &links),
        [
            "10.2.0.0/24 dev lan proto kernel scope link src 10.2.0.7",
            "10.2.0.0/24 dev wan proto kernel scope link src 10.2.0.1"
        ]
    );
}

#[test]
fn removed_and_replaced() {
    let links = links();
    let mut rib = rib(&links, &["10.9.0.0/16 via 10.2.0.2", "10.9.0.0/16 via 10.2.0.3 metric 5"]);
    let net: IpNet = "10.9.0.0/16".parse().unwrap();
    let new = route("blackhole 10.9.0.0/16 metric 5", &links);
    let old = rib.replace(new.clone()).unwrap().unwrap();
    assert_eq!(old, route("10.9.0.0/16 via 10.2.0.3 metric 5", &links));
    assert_eq!(rib.replace(route("10.10.0.0/16 dev lan", &links)), Ok(None));

    assert_eq!(rib.remove(net, |r| r.metric == 7), Err(RouteError::NotFound(net)));
    assert_eq!(rib.remove(net, |_| true).unwrap().metric, 0);
    assert_eq!(rib.remove(net, |_| true), Ok(new));
    assert_eq!(rib.remove(net, |_| true), Err(RouteError::NotFound(net)));
    // What is for the router itself can be removed as well, in Linux as here.
    let own = "10.1.0.1/32".parse().unwrap();
    assert_eq!(rib.remove(own, |_| true).unwrap().kind, RouteKind::Local(LAN));
}

#[test]
fn a_refused_replacement_changes_nothing() {
    let links = links();
    let mut rib = rib(&links, &["10.9.0.0/16 via 10.2.0.2"]);
    let bad = Route::new("10.9.0.0/16".parse().unwrap(), RouteKind::Unicast(vec![]));
    let before: Vec<_> = rib.iter().collect();
    assert!(rib.replace(bad).is_err());
    assert_eq!(rib.iter().collect::<Vec<_>>(), before);
}

#[test]
fn a_prefix_connected_twice_is_not_half_replaced() {
    let links = links_with(&["10.2.0.7/24"], &["10.2.0.1/24"], &[]);
    let mut rib = Rib::connected(&links);
    let before: Vec<_> = rib.iter().collect();
    let net = "10.2.0.0/24".parse().unwrap();
    assert_eq!(rib.replace(route("10.2.0.0/24 dev far", &links)), Err(RouteError::Exists(net, 0)));
    assert_eq!(rib.iter().collect::<Vec<_>>(), before);
}

#[test]
fn what_is_shared_is_kept_once_and_given_back() {
    let links = links();
    let mut rib = Rib::new();
    for i in 0..1000 {
        add(&mut rib, &format!("10.{}.{}.0/24 via 10.2.0.2 dev wan", i / 256, i % 256), &links).unwrap();
    }
    assert_eq!(rib.shared.bound(), 1);
    for i in 0..1000 {
        let net = format!("10.{}.{}.0/24", i / 256, i % 256).parse().unwrap();
        rib.remove(net, |_| true).unwrap();
    }
    assert!(rib.is_empty() && rib.shared.get(0).is_none());
    add(&mut rib, "10.0.0.0/8 dev lan", &links).unwrap();
    assert_eq!(rib.shared.bound(), 1);
    assert_eq!(shown_main(&rib, Family::V4), ["10.0.0.0/8 dev lan scope link"]);
}

#[test]
fn iteration_covers_every_table() {
    let links = links();
    let rib = rib(&links, &["default via 10.2.0.2", "default via fd02::2"]);
    assert_eq!(rib.iter().count(), rib.len());
    let first = rib.iter().next().unwrap();
    assert_eq!((first.family(), first.table(), first.prefix.prefix_len()), (Family::V4, Table::Main, 0));
}

#[test]
fn pages_of_any_size_make_the_whole() {
    let links = links();
    let mut rib =
        rib(&links, &["10.9.0.0/16 via 10.2.0.2", "default via 10.2.0.2", "2001:db8::/32 via fd02::2"]);
    for i in 0..20 {
        add(&mut rib, &format!("10.8.{i}.0/24 via 10.2.0.2"), &links).unwrap();
    }
    for (family, table) in [
        (Family::V4, Table::Main),
        (Family::V6, Table::Main),
        (Family::V4, Table::Local),
        (Family::V6, Table::Local),
    ] {
        let whole: Vec<_> = rib.show(family, table).collect();
        for n in 1..30 {
            let (mut pages, mut after) = (Vec::new(), None);
            loop {
                let (page, more) = rib.page(family, table, after, n);
                assert!(page.len() <= n);
                pages.extend(page);
                after = more;
                if after.is_none() {
                    break;
                }
            }
            assert_eq!(pages, whole);
        }
    }
}
