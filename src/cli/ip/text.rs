//! The output of ip(8), blanks at the ends of lines included.
//!
//! What was asked for by name is not said again, as there: `ip route show dev lan` has no `dev lan`.

use std::fmt::Write;

use serde_json::{Value, json};

use super::words::Options;
use crate::control::protocol::{NeighborFilter, RouteFilter, Table};
use crate::control::view::{Address, FOREVER, Link, Neighbor, NextHop, Route, Stats64, Via};

/// A link without what was not asked for.
pub(super) fn trim_link(mut l: Link, opts: &Options, addresses: bool) -> Link {
    if addresses {
        l.linkmode = None;
    }
    if addresses && opts.family.is_some() {
        (l.link_type, l.address, l.broadcast) = (None, None, None);
    }
    if !opts.stats {
        l.stats64 = None;
    }
    if !opts.details {
        l.linkinfo = None;
    }
    l
}

/// A route without what all have.
pub(super) fn trim_route(mut r: Route, f: &RouteFilter) -> Route {
    if f.dev.is_some() {
        r.dev = None;
    }
    if f.via.is_some() {
        (r.gateway, r.via) = (None, None);
    }
    if f.protocol.is_some() {
        r.protocol = None;
    }
    if f.scope.is_some() {
        r.scope = None;
    }
    if f.metric.is_some() {
        r.metric = None;
    }
    if f.table != Table::All {
        r.table = None;
    }
    r
}

/// A neighbor without what all have.
pub(super) fn trim_neighbor(mut n: Neighbor, f: &NeighborFilter) -> Neighbor {
    if f.dev.is_some() {
        n.dev = None;
    }
    n
}

/// A link and its addresses as text.
pub(super) fn link(l: &Link, opts: &Options, addresses: bool) -> String {
    let infos = l.addr_info.as_deref().unwrap_or_default();
    if opts.brief {
        return brief(l, infos, addresses);
    }
    if addresses && opts.oneline {
        return self::addresses(l, "\\");
    }
    let newline = if opts.oneline { "\\" } else { "\n" };
    let mut out = format!(
        "{}: {}: <{}> mtu {} qdisc {} state {} ",
        l.ifindex,
        l.ifname,
        l.flags.join(","),
        l.mtu,
        l.qdisc,
        l.operstate
    );
    if let Some(mode) = &l.linkmode {
        let _ = write!(out, "mode {mode} ");
    }
    let _ = write!(out, "group {} ", l.group);
    if let Some(kind) = &l.link_type {
        let _ = write!(out, "{newline}    link/{kind} ");
        if let Some(mac) = &l.address {
            out.push_str(mac);
        }
        if let Some(mac) = &l.broadcast {
            let _ = write!(out, " brd {mac}");
        }
    }
    if let Some(info) = &l.linkinfo {
        let _ = write!(out, "{newline}    {} ", info.info_kind);
        if let Some(d) = &info.info_data {
            let _ = write!(out, "driver {} ", d.name);
            if let Some(why) = &d.fallback {
                let _ = write!(out, "fallback \"{why}\" ");
            }
        }
    }
    for a in infos {
        let _ = write!(out, "{newline}    {}", address(a, newline).trim_end_matches('\n'));
    }
    if let Some(s) = &l.stats64 {
        stats(&mut out, s, newline);
    }
    out.push('\n');
    out
}

/// The addresses of a link, each behind the link's name.
pub(super) fn addresses(l: &Link, newline: &str) -> String {
    let infos = l.addr_info.iter().flatten();
    infos.map(|a| format!("{}: {}    {}", l.ifindex, l.ifname, address(a, newline))).collect()
}

/// What `-d` shows of a way besides: what it is, and the table.
pub(super) fn in_detail(mut r: Route, opts: &Options) -> Route {
    if opts.details {
        r.kind = r.kind.or(Some("unicast".to_owned()));
        r.table = r.table.or(Some("main".to_owned()));
    }
    r
}

/// An address behind its indentation, to the end of its second line.
fn address(a: &Address, newline: &str) -> String {
    let mut out = format!("{} {}/{} ", a.family, a.local, a.prefixlen);
    if let Some(brd) = &a.broadcast {
        let _ = write!(out, "brd {brd} ");
    }
    let _ = write!(out, "scope {} ", a.scope);
    for (is, word) in [(a.secondary, "secondary"), (a.dadfailed, "dadfailed"), (a.tentative, "tentative")] {
        if is {
            let _ = write!(out, "{word} ");
        }
    }
    out.push_str(a.label.as_deref().unwrap_or_default());
    let life = |n: u32| if n == FOREVER { "forever".to_owned() } else { format!("{n}sec") };
    let (valid, preferred) = (life(a.valid_life_time), life(a.preferred_life_time));
    let _ = writeln!(out, "{newline}       valid_lft {valid} preferred_lft {preferred}");
    out
}

/// A link's line of `-br`.
fn brief(l: &Link, infos: &[Address], addresses: bool) -> String {
    let mut out = format!("{:<16} {:<14} ", l.ifname, l.operstate);
    if addresses {
        for a in infos {
            let _ = write!(out, "{}/{} ", a.local, a.prefixlen);
        }
    } else {
        if let Some(mac) = &l.address {
            let _ = write!(out, "{mac} ");
        }
        let _ = write!(out, "<{}> ", l.flags.join(","));
    }
    out.push('\n');
    out
}

/// The same for `-br -j`.
pub(super) fn brief_json(l: &Link, addresses: bool) -> Value {
    if addresses {
        let infos = l.addr_info.iter().flatten();
        let infos: Vec<_> = infos.map(|a| json!({ "local": a.local, "prefixlen": a.prefixlen })).collect();
        return json!({ "ifname": l.ifname, "operstate": l.operstate, "addr_info": infos });
    }
    match &l.address {
        Some(mac) => {
            json!({ "ifname": l.ifname, "operstate": l.operstate, "address": mac, "flags": l.flags })
        }
        None => json!({ "ifname": l.ifname, "operstate": l.operstate, "flags": l.flags }),
    }
}

/// The counters of `-s`; columns grow with what is in them.
fn stats(out: &mut String, s: &Stats64, newline: &str) {
    let (rx, tx) = (&s.rx, &s.tx);
    let rows = [
        (
            "RX:",
            ["bytes", "packets", "errors", "dropped", "missed", "mcast"],
            [rx.bytes, rx.packets, rx.errors, rx.dropped, rx.over_errors, rx.multicast],
        ),
        (
            "TX:",
            ["bytes", "packets", "errors", "dropped", "carrier", "collsns"],
            [tx.bytes, tx.packets, tx.errors, tx.dropped, tx.carrier_errors, tx.collisions],
        ),
    ];
    let mut width = [10, 7, 6, 7, 7, 7];
    for (w, values) in rows.iter().flat_map(|(_, _, v)| (0..6).map(move |i| (i, v[i]))) {
        width[w] = width[w].max(values.to_string().len());
    }
    for (name, titles, values) in rows {
        let _ = write!(out, "{newline}    {name} {:>w$}", titles[0], w = width[0] - 4);
        for i in 1..6 {
            let _ = write!(out, " {:>w$}", titles[i], w = width[i]);
        }
        // iproute2's column for compressed packets, which it leaves empty.
        let _ = write!(out, " {:10}{newline}    ", "");
        for i in 0..6 {
            let _ = write!(out, "{:>w$} ", values[i], w = width[i]);
        }
    }
}

/// A route as text.
pub(super) fn route(r: &Route, opts: &Options) -> String {
    let newline = if opts.oneline { "\\" } else { "\n" };
    let mut out = String::new();
    if let Some(kind) = &r.kind {
        let _ = write!(out, "{kind} ");
    }
    let _ = write!(out, "{} ", r.dst);
    if let Some(from) = &r.from {
        let _ = write!(out, "from {from} ");
    }
    way(&mut out, r.gateway.as_deref(), r.via.as_ref(), r.dev.as_deref());
    let words = [("table", &r.table), ("proto", &r.protocol), ("scope", &r.scope), ("src", &r.prefsrc)];
    for (word, value) in words {
        if let Some(value) = value {
            let _ = write!(out, "{word} {value} ");
        }
    }
    if let Some(metric) = r.metric {
        let _ = write!(out, "metric {metric} ");
    }
    for flag in &r.flags {
        let _ = write!(out, "{flag} ");
    }
    for (word, n) in [("mark", r.mark), ("uid", r.uid)] {
        if let Some(n) = n {
            let _ = write!(out, "{word} {n} ");
        }
    }
    if let Some(cache) = &r.cache {
        let _ = write!(out, "{newline}    cache ");
        if !cache.is_empty() {
            let _ = write!(out, "<{}> ", cache.join(","));
        }
    }
    if let Some(iif) = &r.iif {
        let _ = write!(out, "iif {iif} ");
    }
    if let Some(pref) = &r.pref {
        let _ = write!(out, "pref {pref}");
    }
    for hop in &r.nexthops {
        let NextHop { gateway, via, dev, weight, flags } = hop;
        let _ = write!(out, "{newline}\tnexthop ");
        way(&mut out, gateway.as_deref(), via.as_ref(), dev.as_deref());
        let _ = write!(out, "weight {weight} ");
        for flag in flags {
            let _ = write!(out, "{flag} ");
        }
    }
    out.push('\n');
    out
}

fn way(out: &mut String, gateway: Option<&str>, via: Option<&Via>, dev: Option<&str>) {
    if let Some(gateway) = gateway {
        let _ = write!(out, "via {gateway} ");
    }
    if let Some(Via { family, host }) = via {
        let _ = write!(out, "via {family} {host} ");
    }
    if let Some(dev) = dev {
        let _ = write!(out, "dev {dev} ");
    }
}

/// A neighbor as text.
pub(super) fn neighbor(n: &Neighbor) -> String {
    let mut out = format!("{} ", n.dst);
    if let Some(dev) = &n.dev {
        let _ = write!(out, "dev {dev} ");
    }
    if let Some(mac) = &n.lladdr {
        let _ = write!(out, "lladdr {mac} ");
    }
    if n.router {
        out.push_str("router ");
    }
    for state in &n.state {
        let _ = write!(out, "{state} ");
    }
    out.push('\n');
    out
}

#[cfg(test)]
mod tests;
