//! The output of ip(8), blanks at the ends of lines included.
//!
//! What was asked for by name is not said again, as there: `ip route show dev lan` has no `dev lan`.

mod counters;
mod paint;

use std::fmt::Write;

use serde_json::{Value, json};

use super::words::Options;
use crate::control::protocol::{Family, NeighborFilter, RouteFilter, Show, Table};
use crate::control::view::{Address, FOREVER, Link, Neighbor, NextHop, Route, Via};
use crate::fib::Protocol;
use paint::Paint;

/// A link without what was not asked for.
pub(super) fn trim_link(mut l: Link, opts: &Options, show: &Show) -> Link {
    if let Show::Addr(f) = show {
        l.linkmode = None;
        if f.family.is_some() && !opts.details {
            (l.link_type, l.address, l.broadcast) = (None, None, None);
        }
        // The kernel's IPv6 knows less of devices.
        if opts.family == Some(Family::Inet6) {
            (l.qdisc, l.group) = (String::new(), String::new());
        }
    }
    if opts.stats == 0 {
        l.stats64 = None;
    }
    if !opts.details {
        l.linkinfo = None;
    }
    if opts.numeric {
        numbers_of_link(&mut l);
    }
    l
}

/// A link with numbers in place of names.
fn numbers_of_link(l: &mut Link) {
    if !l.group.is_empty() {
        l.group = "0".to_owned();
    }
    for a in l.addr_info.iter_mut().flatten() {
        a.scope = scope_number(&a.scope);
    }
    // `ARPHRD_*`, linux/if_arp.h
    l.link_type = l.link_type.take().map(|kind| match kind.as_str() {
        "ether" => "[1]".to_owned(),
        "loopback" => "[772]".to_owned(),
        "none" => "[65534]".to_owned(),
        _ => kind,
    });
}

/// A route without what all have.
pub(super) fn trim_route(r: Route, f: &RouteFilter, opts: &Options) -> Route {
    let mut r = match opts.details {
        true => in_detail(r, f.table == Table::All),
        false => r,
    };
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
    unlocked(&mut r, opts);
    if opts.numeric {
        numbers_of_route(&mut r);
    }
    r
}

/// What `-d` shows of a route besides.
fn in_detail(mut r: Route, tables: bool) -> Route {
    r.kind = r.kind.or_else(|| Some("unicast".to_owned()));
    if tables {
        r.table = r.table.or_else(|| Some("main".to_owned()));
    }
    // Of what is looked up in IPv4, the kernel says neither.
    if r.cache.is_none() {
        r.protocol = r.protocol.or_else(|| Some(Protocol::Boot.to_string()));
        r.scope = r.scope.or_else(|| Some("global".to_owned()));
    }
    r
}

/// What is locked, iproute2 says in words only.
pub(super) fn unlocked(r: &mut Route, opts: &Options) {
    if opts.json {
        r.metrics.iter_mut().for_each(|m| m.lock.clear());
    }
}

/// What is shown of a way.
pub(super) fn trim_way(r: Route, opts: &Options) -> Route {
    let mut r = if opts.details { in_detail(r, true) } else { r };
    unlocked(&mut r, opts);
    if opts.numeric {
        numbers_of_route(&mut r);
    }
    r
}

/// A route with numbers in place of names.
fn numbers_of_route(r: &mut Route) {
    r.scope = r.scope.take().map(|scope| scope_number(&scope));
    r.protocol = r.protocol.take().map(|p| Protocol::named(&p).map_or(p, |p| p.number().to_string()));
    r.table = r.table.take().map(|table| match table.as_str() {
        "main" => "254".to_owned(),
        "local" => "255".to_owned(),
        _ => table,
    });
}

/// `RT_SCOPE_*`, linux/rtnetlink.h
fn scope_number(name: &str) -> String {
    match name {
        "global" => "0",
        "link" => "253",
        "host" => "254",
        other => other,
    }
    .to_owned()
}

/// A neighbor without what all have.
pub(super) fn trim_neighbor(mut n: Neighbor, f: &NeighborFilter, opts: &Options) -> Neighbor {
    if opts.brief {
        (n.router, n.state) = (false, Vec::new());
    }
    if f.dev.is_some() {
        n.dev = None;
    }
    n
}

/// A link and its addresses as text.
pub(super) fn link(l: &Link, opts: &Options, addresses: bool) -> String {
    let infos = l.addr_info.as_deref().unwrap_or_default();
    if opts.brief {
        return brief(l, infos, addresses, opts);
    }
    if addresses && opts.oneline {
        return self::addresses(l, opts);
    }
    let (paint, newline) = (Paint::of(opts), newline(opts));
    let mut out = format!(
        "{}: {}<{}> mtu {} ",
        l.ifindex,
        paint.name(&format!("{}: ", l.ifname)),
        l.flags.join(","),
        l.mtu
    );
    if !l.qdisc.is_empty() {
        let _ = write!(out, "qdisc {} ", l.qdisc);
    }
    let _ = write!(out, "state {}", paint.state(&l.operstate, &format!("{} ", l.operstate)));
    if let Some(mode) = &l.linkmode {
        let _ = write!(out, "mode {mode} ");
    }
    if !l.group.is_empty() {
        let _ = write!(out, "group {} ", l.group);
    }
    if let Some(kind) = &l.link_type {
        let _ = write!(out, "{newline}    link/{kind} ");
        if let Some(mac) = &l.address {
            out.push_str(&paint.mac(mac));
        }
        if let Some(mac) = &l.broadcast {
            let _ = write!(out, " brd {}", paint.mac(mac));
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
        let _ = write!(out, "{newline}    {}", address(a, opts).trim_end_matches('\n'));
    }
    if let Some(s) = &l.stats64 {
        counters::write(&mut out, s, opts);
    }
    out.push('\n');
    out
}

fn newline(opts: &Options) -> &'static str {
    if opts.oneline { "\\" } else { "\n" }
}

/// The addresses of a link, each behind the link's name.
pub(super) fn addresses(l: &Link, opts: &Options) -> String {
    let infos = l.addr_info.iter().flatten();
    infos.map(|a| format!("{}: {}    {}", l.ifindex, l.ifname, address(a, opts))).collect()
}

/// The addresses of a link without its name, which is known.
pub(super) fn labelled(l: &Link, opts: &Options) -> String {
    l.addr_info.iter().flatten().map(|a| format!("    {}", address(a, opts))).collect()
}

/// An address behind its indentation, to the end of its second line.
fn address(a: &Address, opts: &Options) -> String {
    let (paint, newline) = (Paint::of(opts), newline(opts));
    let mut out = format!("{} {}/{} ", a.family, paint.address(&a.local, &a.local), a.prefixlen);
    if let Some(brd) = &a.broadcast {
        let _ = write!(out, "brd {}", paint.address(brd, &format!("{brd} ")));
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
fn brief(l: &Link, infos: &[Address], addresses: bool, opts: &Options) -> String {
    let paint = Paint::of(opts);
    let mut out = paint.name(&format!("{:<16} ", l.ifname));
    out.push_str(&paint.state(&l.operstate, &format!("{:<14} ", l.operstate)));
    if addresses {
        for a in infos {
            let _ = write!(out, "{}/{} ", paint.address(&a.local, &a.local), a.prefixlen);
        }
    } else {
        if let Some(mac) = &l.address {
            out.push_str(&paint.mac(&format!("{mac} ")));
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

/// A route as text.
pub(super) fn route(r: &Route, opts: &Options) -> String {
    let (paint, newline) = (Paint::of(opts), newline(opts));
    let mut out = String::new();
    if let Some(kind) = &r.kind {
        let _ = write!(out, "{kind} ");
    }
    out.push_str(&paint.address(&r.dst, &format!("{} ", r.dst)));
    if let Some(from) = &r.from {
        out.push_str(&paint.address(from, &format!("from {from} ")));
    }
    way(&mut out, r.gateway.as_deref(), r.via.as_ref(), paint);
    if let Some(dev) = &r.dev {
        let _ = write!(out, "dev {}", paint.name(&format!("{dev} ")));
    }
    for (word, value) in [("table", &r.table), ("proto", &r.protocol), ("scope", &r.scope)] {
        if let Some(value) = value {
            let _ = write!(out, "{word} {value} ");
        }
    }
    if let Some(src) = &r.prefsrc {
        let _ = write!(out, "src {}", paint.address(src, &format!("{src} ")));
    }
    if let Some(metric) = r.metric {
        let _ = write!(out, "metric {metric} ");
    }
    for flag in &r.flags {
        let _ = write!(out, "{flag} ");
    }
    // A mark is written as it is most often meant (`print_rta_metrics`' neighbour in iproute.c).
    if let Some(mark) = r.mark {
        match mark {
            0..16 => write!(out, "mark {mark} "),
            _ => write!(out, "mark {mark:#x} "),
        }
        .unwrap_or_default();
    }
    if let Some(uid) = r.uid {
        let _ = write!(out, "uid {uid} ");
    }
    if let Some(cache) = &r.cache {
        let _ = write!(out, "{newline}    cache ");
        if !cache.is_empty() {
            let _ = write!(out, "<{}> ", cache.join(","));
        }
    }
    for (word, bytes) in r.metrics.iter().flat_map(|m| [("mtu", m.mtu), ("advmss", m.advmss)]) {
        if let Some(bytes) = bytes {
            let locked = r.metrics.iter().any(|m| m.lock.iter().any(|lock| lock == word));
            let _ = write!(out, "{word} {}{bytes} ", if locked { "lock " } else { "" });
        }
    }
    if let Some(iif) = &r.iif {
        let _ = write!(out, "iif {}", paint.name(&format!("{iif} ")));
    }
    if let Some(pref) = &r.pref {
        let _ = write!(out, "pref {pref}");
    }
    for hop in &r.nexthops {
        let NextHop { gateway, via, dev, weight, flags } = hop;
        let _ = write!(out, "{newline}\tnexthop ");
        way(&mut out, gateway.as_deref(), via.as_ref(), paint);
        if let Some(dev) = dev {
            let _ = write!(out, "dev {dev} ");
        }
        let _ = write!(out, "weight {weight} ");
        for flag in flags {
            let _ = write!(out, "{flag} ");
        }
    }
    out.push('\n');
    out
}

fn way(out: &mut String, gateway: Option<&str>, via: Option<&Via>, paint: Paint) {
    if let Some(gateway) = gateway {
        let _ = write!(out, "via {}", paint.address(gateway, &format!("{gateway} ")));
    }
    if let Some(Via { family, host }) = via {
        let _ = write!(out, "via {family} {}", paint.address(host, &format!("{host} ")));
    }
}

/// A neighbor as text.
pub(super) fn neighbor(n: &Neighbor, opts: &Options) -> String {
    let paint = Paint::of(opts);
    if opts.brief {
        let dev = n.dev.as_ref().map(|dev| paint.name(&format!("{dev:<16} ")));
        let mac = n.lladdr.as_ref().map(|mac| paint.mac(mac));
        let dst = paint.address(&n.dst, &format!("{:<39} ", n.dst));
        return format!("{dst}{}{}\n", dev.unwrap_or_default(), mac.unwrap_or_default());
    }
    let mut out = paint.address(&n.dst, &format!("{} ", n.dst));
    if let Some(dev) = &n.dev {
        let _ = write!(out, "dev {}", paint.name(&format!("{dev} ")));
    }
    if let Some(mac) = &n.lladdr {
        let _ = write!(out, "lladdr {}", paint.mac(&format!("{mac} ")));
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
