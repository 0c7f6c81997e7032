//! Links and shorthands for the tests of this room.

use std::net::IpAddr;

use super::{Rib, Route, RouteError, parse_line};
use crate::base::LinkId;
use crate::link::{Address, Link, LinkKind, Links};

pub(super) const LAN: LinkId = LinkId(1);
pub(super) const WAN: LinkId = LinkId(2);
pub(super) const FAR: LinkId = LinkId(3);

/// `lan`, `wan` and `far` with the addresses given, as in `10.1.0.1/24`.
pub(super) fn links_with(lan: &[&str], wan: &[&str], far: &[&str]) -> Links {
    let link = |name: &str, addresses: &[&str]| Link {
        addresses: addresses.iter().map(|a| address(a)).collect(),
        ..Link::new(name, LinkKind::Memory)
    };
    Links::new([link("lan", lan), link("wan", wan), link("far", far)])
}

/// What most tests stand on.
pub(super) fn links() -> Links {
    links_with(
        &["10.1.0.1/24", "fd01::1/64", "fe80::1/64"],
        &["10.2.0.1/24", "fd02::1/64", "fe80::2/64"],
        &["10.3.0.1/24"],
    )
}

fn address(text: &str) -> Address {
    let (addr, len) = text.split_once('/').unwrap();
    Address { addr: addr.parse().unwrap(), prefix_len: len.parse().unwrap() }
}

pub(super) fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

pub(super) fn route(line: &str, links: &Links) -> Route {
    parse_line(line, links).unwrap_or_else(|e| panic!("{line}: {e}")).unwrap()
}

/// The connected routes, and those of the lines.
pub(super) fn rib(links: &Links, lines: &[&str]) -> Rib {
    let mut rib = Rib::connected(links);
    for line in lines {
        add(&mut rib, line, links).unwrap_or_else(|e| panic!("{line}: {e}"));
    }
    rib
}

pub(super) fn add(rib: &mut Rib, line: &str, links: &Links) -> Result<(), RouteError> {
    rib.insert(route(line, links))
}

/// Routes as they are shown, one string each.
pub(super) fn shown(routes: impl Iterator<Item = Route>, links: &Links) -> Vec<String> {
    routes.map(|r| r.display(links).to_string()).collect()
}
