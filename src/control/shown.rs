//! Links, addresses, routes and neighbors as they are shown, each made of its own tables.
//!
//! Knows nothing of who asks.

use std::net::IpAddr;

use ipnet::IpNet;

use super::filter::scope;
use super::view;
use crate::base::counters::LinkTotals;
use crate::base::{LinkId, Mac};
use crate::fib;
use crate::link::{Address, InUse, Link, LinkKind};
use crate::neighbor::{DadState, Nud};

/// A link, with what it has counted.
pub(super) fn link(l: &Link, up: bool, n: &LinkTotals, driver: Option<view::Driver>) -> view::Link {
    let up = up && l.up;
    let point_to_point = l.mac.is_none();
    let mut flags = match (l.kind, point_to_point) {
        (LinkKind::Loopback, _) => vec!["LOOPBACK"],
        (_, true) => vec!["POINTOPOINT", "MULTICAST", "NOARP"],
        (_, false) => vec!["BROADCAST", "MULTICAST"],
    };
    if l.up && !up {
        flags.insert(0, "NO-CARRIER");
    }
    flags.extend(l.up.then_some("UP"));
    flags.extend(up.then_some("LOWER_UP"));
    let (link_type, address, broadcast) = match (l.kind, l.mac) {
        (LinkKind::Loopback, _) => ("loopback", Some(Mac::ZERO), Some(Mac::ZERO)),
        (_, Some(mac)) => ("ether", Some(mac), Some(Mac::BROADCAST)),
        (_, None) => ("none", None, None),
    };
    view::Link {
        ifindex: u32::from(l.id.0) + 1,
        ifname: l.name.clone(),
        flags: flags.into_iter().map(str::to_owned).collect(),
        mtu: l.mtu,
        // As the kernel says of devices that queue nothing themselves.
        qdisc: "noqueue".to_owned(),
        operstate: match (up, l.kind == LinkKind::Loopback || point_to_point) {
            (false, _) => "DOWN",
            (true, false) => "UP",
            // What has no carrier to lose, the kernel knows nothing of.
            (true, true) => "UNKNOWN",
        }
        .to_owned(),
        linkmode: Some("DEFAULT".to_owned()),
        group: "default".to_owned(),
        link_type: Some(link_type.to_owned()),
        address: address.map(|m| m.to_string()),
        broadcast: broadcast.map(|m| m.to_string()),
        linkinfo: (l.kind != LinkKind::Loopback)
            .then(|| view::LinkInfo { info_kind: l.kind.name().to_owned(), info_data: driver }),
        addr_info: None,
        stats64: Some(view::Stats64 {
            rx: view::RxStats {
                bytes: n.rx_bytes,
                packets: n.rx_packets,
                dropped: n.rx_dropped,
                over_errors: n.rx_missed,
                ..view::RxStats::default()
            },
            tx: view::TxStats {
                bytes: n.tx_bytes,
                packets: n.tx_packets,
                dropped: n.tx_dropped,
                ..view::TxStats::default()
            },
        }),
    }
}

/// What moves a link's frames.
pub(super) fn driver(used: &InUse) -> view::Driver {
    view::Driver {
        name: used.driver.name().to_owned(),
        asked: used.asked.name().to_owned(),
        fallback: used.fallback.as_ref().map(ToString::to_string),
    }
}

/// An address of a link; `secondary`, if another one has its prefix.
pub(super) fn address(l: &Link, secondary: bool, a: &Address, state: DadState) -> view::Address {
    let v4 = a.addr.is_ipv4();
    view::Address {
        family: family_name(a.addr).to_owned(),
        local: a.addr.to_string(),
        prefixlen: a.prefix_len,
        broadcast: a.broadcast().filter(|_| l.kind != LinkKind::Loopback).map(|b| b.to_string()),
        scope: scope(a.addr).to_owned(),
        secondary,
        dadfailed: state == DadState::Duplicate,
        tentative: state != DadState::Valid,
        label: v4.then(|| l.name.clone()),
        valid_life_time: view::FOREVER,
        preferred_life_time: view::FOREVER,
    }
}

/// The family of an address, as iproute2 names it.
pub(super) fn family_name(addr: IpAddr) -> &'static str {
    if addr.is_ipv4() { "inet" } else { "inet6" }
}

/// A neighbor on a link of this name.
pub(super) fn neighbor(
    ip: IpAddr,
    dev: Option<String>,
    mac: Option<Mac>,
    router: bool,
    state: Nud,
) -> view::Neighbor {
    view::Neighbor {
        dst: ip.to_string(),
        dev,
        lladdr: mac.map(|m| m.to_string()),
        router,
        state: vec![state.name().to_owned()],
    }
}

/// The names of links, and whether they are up.
pub(super) type Names<'a> = dyn Fn(LinkId) -> Option<(String, bool)> + 'a;

/// A route.
pub(super) fn route(r: &fib::Route, names: &Names<'_>) -> view::Route {
    let v6 = r.family() == fib::Family::V6;
    let (single, several) = match r.hops() {
        [one] => (Some(hop(r, one, names)), Vec::new()),
        hops => (None, hops.iter().map(|h| hop(r, h, names)).collect()),
    };
    let single = single.unwrap_or_else(|| view::NextHop {
        dev: r.link().and_then(names).map(|(name, _)| name),
        flags: down(r.link(), names),
        ..view::NextHop::default()
    });
    view::Route {
        kind: r.kind.word().map(str::to_owned),
        dst: destination(r.prefix),
        gateway: single.gateway,
        via: single.via,
        dev: single.dev,
        table: (r.table() == fib::Table::Local).then(|| "local".to_owned()),
        protocol: (r.protocol != fib::Protocol::Boot).then(|| r.protocol.to_string()),
        scope: r.scope().map(str::to_owned),
        prefsrc: r.src.map(|a| a.to_string()),
        metric: (v6 || r.metric != 0).then_some(r.metric),
        flags: single.flags,
        metrics: metrics(r.metrics),
        // Route preference (RFC 4191) is always medium here; the kernel shows it all the same.
        pref: v6.then(|| "medium".to_owned()),
        nexthops: several,
        ..view::Route::default()
    }
}

/// What a route says of sizes.
pub(super) fn metrics(m: fib::Metrics) -> Vec<view::Metrics> {
    if m.is_empty() {
        return Vec::new();
    }
    let one = |word| m.said().find(|(said, ..)| *said == word).map(|(_, _, bytes)| bytes);
    let lock = m.said().filter(|(_, lock, _)| *lock).map(|(word, ..)| word.to_owned()).collect();
    vec![view::Metrics { mtu: one("mtu"), advmss: one("advmss"), lock }]
}

fn hop(r: &fib::Route, h: &fib::NextHop, names: &Names<'_>) -> view::NextHop {
    let (gateway, via) = gateway(r.prefix.addr(), h.via);
    let mut flags = down(h.link, names);
    if h.onlink {
        flags.insert(0, "onlink".to_owned());
    }
    let dev = h.link.and_then(names).map(|(name, _)| name);
    view::NextHop { gateway, via, dev, weight: h.weight, flags }
}

/// A gateway, by whether it is of the destination's family.
pub(super) fn gateway(to: IpAddr, via: Option<IpAddr>) -> (Option<String>, Option<view::Via>) {
    match via {
        None => (None, None),
        Some(addr) if addr.is_ipv4() == to.is_ipv4() => (Some(addr.to_string()), None),
        Some(addr) => {
            (None, Some(view::Via { family: family_name(addr).to_owned(), host: addr.to_string() }))
        }
    }
}

fn down(link: Option<LinkId>, names: &Names<'_>) -> Vec<String> {
    let down = link.and_then(names).is_some_and(|(_, up)| !up);
    if down { vec!["linkdown".to_owned()] } else { Vec::new() }
}

/// A destination as iproute2 writes it.
fn destination(prefix: IpNet) -> String {
    if prefix.prefix_len() == 0 {
        "default".to_owned()
    } else if prefix.prefix_len() == prefix.max_prefix_len() {
        prefix.addr().to_string()
    } else {
        prefix.to_string()
    }
}
