use super::*;
use crate::fib::sample::*;

#[test]
fn the_table_says_of_each_route_what_compiling_says_of_all() {
    let links = links();
    let lines = [
        "default via 10.2.0.2",
        "10.9.0.0/16 via 10.1.0.2",
        "10.8.0.0/16 via 10.9.0.1",
        "fd09::/32 via fd01::2",
        "fd08::/32 via fd09::1",
    ];
    let rib = rib(&links, &lines);
    assert_eq!(rib.verify(&links), Ok(()));
    let compiled = rib.build(&links).unwrap();
    for addr in [
        "10.9.0.1",
        "10.8.7.6",
        "10.1.0.1",
        "10.1.0.255",
        "127.0.0.9",
        "8.8.8.8",
        "fd09::7",
        "fd01::",
        "fd77::1",
    ] {
        let covering = rib.covering(ip(addr), |_| true, |_| true).map(|(_, len)| len);
        assert_eq!(covering, compiled.lookup(ip(addr)).map(|e| e.prefix_len), "{addr}");
    }
    for line in [
        "10.7.0.0/16 via 10.9.0.7",
        "10.7.0.0/16 via 10.77.0.1 dev lan onlink",
        "fd07::/32 via fe80::9 dev wan",
    ] {
        assert_eq!(rib.judge(&route(line, &links), &links), Ok(()), "{line}");
    }
    for line in ["fe80::/64 dev lan", "10.7.0.0/16 via 192.0.2.1", "10.7.0.0/16 via 10.1.0.2 dev wan"] {
        assert!(rib.judge(&route(line, &links), &links).is_err(), "{line}");
    }
}

#[test]
fn what_carried_others_takes_them_along() {
    let links = links();
    let mut rib = rib(
        &links,
        &[
            "10.9.0.0/16 via 10.1.0.2 dev lan",
            "10.8.0.0/16 via 10.9.0.1",
            "10.7.0.0/16 nexthop via 10.8.0.1 nexthop via 10.2.0.2",
            "fd09::/32 via fd02::2 src fd01::1",
        ],
    );
    let bare = links_with(&["fd01::2/64"], &["10.2.0.1/24", "fd02::1/64"], &["10.3.0.1/24"]);
    rib.reconnect(&links, &bare).unwrap();
    let pruned = rib.prune(&bare, |family, hop| family == Family::V4 && hop.link == Some(LAN));
    assert_eq!(pruned.len(), 4, "{pruned:?}");
    let left: Vec<_> = rib.iter().filter(|r| r.protocol != Protocol::Kernel).collect();
    assert_eq!(
        shown(left.into_iter(), &bare),
        ["10.7.0.0/16 via 10.2.0.2", "fd09::/32 via fd02::2 metric 1024 pref medium"]
    );
    assert_eq!(rib.verify(&bare), Ok(()));
    let fresh = Rib::connected(&bare);
    let connected = |r: &Rib| r.iter().filter(|r| r.protocol == Protocol::Kernel).collect::<Vec<_>>();
    assert_eq!(connected(&rib), connected(&fresh));
}
