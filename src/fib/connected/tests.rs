use crate::fib::sample::*;
use crate::fib::{Family, Rib, Table};

fn all(rib: &Rib, family: Family, table: Table, links: &crate::link::Links) -> Vec<String> {
    shown(rib.show(family, table), links)
}

/// What Linux 6.18 listed for the same addresses.
#[test]
fn ipv4_as_linux() {
    let links = links_with(
        &["10.1.0.1/24", "10.1.0.9/24"],
        &["10.2.0.1/24", "10.3.0.1/31", "10.4.0.1/32", "10.1.0.5/25"],
        &["0.0.0.9/8"],
    );
    let rib = Rib::connected(&links);
    assert_eq!(
        all(&rib, Family::V4, Table::Main, &links),
        [
            "10.1.0.0/25 dev wan proto kernel scope link src 10.1.0.5",
            "10.1.0.0/24 dev lan proto kernel scope link src 10.1.0.1",
            "10.2.0.0/24 dev wan proto kernel scope link src 10.2.0.1",
            "10.3.0.0/31 dev wan proto kernel scope link src 10.3.0.1",
        ]
    );
    assert_eq!(
        all(&rib, Family::V4, Table::Local, &links),
        [
            "local 0.0.0.9 dev far proto kernel scope host src 0.0.0.9",
            "local 10.1.0.1 dev lan proto kernel scope host src 10.1.0.1",
            "local 10.1.0.5 dev wan proto kernel scope host src 10.1.0.5",
            "local 10.1.0.9 dev lan proto kernel scope host src 10.1.0.1",
            "broadcast 10.1.0.127 dev wan proto kernel scope link src 10.1.0.5",
            "broadcast 10.1.0.255 dev lan proto kernel scope link src 10.1.0.1",
            "local 10.2.0.1 dev wan proto kernel scope host src 10.2.0.1",
            "broadcast 10.2.0.255 dev wan proto kernel scope link src 10.2.0.1",
            "local 10.3.0.1 dev wan proto kernel scope host src 10.3.0.1",
            "local 10.4.0.1 dev wan proto kernel scope host src 10.4.0.1",
            "local 127.0.0.0/8 dev lo proto kernel scope host src 127.0.0.1",
            "local 127.0.0.1 dev lo proto kernel scope host src 127.0.0.1",
            "broadcast 127.255.255.255 dev lo proto kernel scope link src 127.0.0.1",
        ]
    );
}

#[test]
fn ipv6_as_linux() {
    let links = links_with(
        &["fd01::1/64", "fe80::1/64"],
        &["fd05::9/64", "fd05::/64", "fd03::1/127", "fd04::1/128"],
        &["fe80::1/64"],
    );
    let rib = Rib::connected(&links);
    assert_eq!(
        all(&rib, Family::V6, Table::Main, &links),
        [
            "fd01::/64 dev lan proto kernel metric 256 pref medium",
            "fd03::/127 dev wan proto kernel metric 256 pref medium",
            "fd04::1 dev wan proto kernel metric 256 pref medium",
            "fd05::/64 dev wan proto kernel metric 256 pref medium",
            "fe80::/64 dev lan proto kernel metric 256 pref medium",
            "fe80::/64 dev far proto kernel metric 256 pref medium",
        ]
    );
    assert_eq!(
        all(&rib, Family::V6, Table::Local, &links),
        [
            "local ::1 dev lo proto kernel metric 0 pref medium",
            "anycast fd01:: dev lan proto kernel metric 0 pref medium",
            "local fd01::1 dev lan proto kernel metric 0 pref medium",
            "local fd03::1 dev wan proto kernel metric 0 pref medium",
            "local fd04::1 dev wan proto kernel metric 0 pref medium",
            "local fd05:: dev wan proto kernel metric 0 pref medium",
            "local fd05::9 dev wan proto kernel metric 0 pref medium",
            "anycast fe80:: dev lan proto kernel metric 0 pref medium",
            "anycast fe80:: dev far proto kernel metric 0 pref medium",
            "local fe80::1 dev lan proto kernel metric 0 pref medium",
            "local fe80::1 dev far proto kernel metric 0 pref medium",
        ]
    );
}
