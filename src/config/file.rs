//! The file as typed: which keys stand where, and what TOML types their values have.
//!
//! Everything unknown or of the wrong type is reported, with the line and the nearest known key;
//! the rest is handed on with the places it stands at. What the values mean is not asked here.

mod keys;
mod lines;
mod table;

use toml::de::{DeTable, DeValue};

use super::problem::{Sink, plain, quoted};
#[cfg(test)]
pub(super) use keys::SECTIONS;
use keys::Section;
pub(super) use table::{At, Given, Scalar, Table};

/// A whole file.
#[derive(Debug, Default)]
pub(super) struct File {
    pub(super) router: RouterTable,
    pub(super) links: Vec<LinkTable>,
    pub(super) routes: Vec<RouteTable>,
    pub(super) neighbors: Vec<NeighborTable>,
    /// What `[firewall]` says of IPv4 and of IPv6.
    pub(super) firewall: [FirewallTable; 2],
    pub(super) conntrack: ConntrackTable,
    pub(super) icmp_rate: Given<i64>,
    pub(super) echo: Given<bool>,
    pub(super) discard: Given<bool>,
}

/// `[router]`.
#[derive(Debug, Default)]
pub(super) struct RouterTable {
    pub(super) name: Given<String>,
    pub(super) workers: Given<i64>,
    pub(super) flow_cache: Given<Scalar>,
    pub(super) control: Given<String>,
    pub(super) route_files: Vec<At<String>>,
    pub(super) user: Given<Scalar>,
    pub(super) group: Given<Scalar>,
    pub(super) metrics: Given<String>,
    /// `state`, if it is there.
    pub(super) later: Vec<At<&'static str>>,
}

/// `[link.NAME]`.
#[derive(Debug)]
pub(super) struct LinkTable {
    pub(super) name: At<String>,
    pub(super) kind: Given<String>,
    pub(super) device: Given<String>,
    pub(super) mac: Given<String>,
    pub(super) mtu: Given<i64>,
    pub(super) addresses: Vec<At<String>>,
    pub(super) link_local: Given<bool>,
    pub(super) rp_filter: Given<String>,
    pub(super) redirects: Given<bool>,
    pub(super) up: Given<bool>,
    pub(super) queues: Given<Scalar>,
    pub(super) offload: Given<String>,
    pub(super) driver: Given<String>,
    pub(super) persist: Given<bool>,
    pub(super) owner: Given<Scalar>,
    pub(super) group: Given<Scalar>,
    /// Every known key that is there.
    pub(super) keys: Vec<At<&'static str>>,
}

/// `[[route]]`.
#[derive(Debug)]
pub(super) struct RouteTable {
    pub(super) at: usize,
    pub(super) to: Given<String>,
    pub(super) hop: HopTable,
    pub(super) nexthops: Given<Vec<HopTable>>,
    pub(super) metric: Given<i64>,
    pub(super) src: Given<String>,
    pub(super) kind: Given<String>,
    pub(super) proto: Given<Scalar>,
    pub(super) mtu: Given<i64>,
    pub(super) mtu_lock: Given<bool>,
    pub(super) advmss: Given<i64>,
    pub(super) advmss_lock: Given<bool>,
}

/// A next hop: one of `nexthops`, or the route's own `via` and `dev`.
#[derive(Debug)]
pub(super) struct HopTable {
    pub(super) at: usize,
    pub(super) via: Given<String>,
    pub(super) dev: Given<String>,
    pub(super) onlink: Given<bool>,
    pub(super) weight: Given<i64>,
}

/// `[[neighbor]]`.
#[derive(Debug)]
pub(super) struct NeighborTable {
    pub(super) at: usize,
    pub(super) ip: Given<String>,
    pub(super) mac: Given<String>,
    pub(super) dev: Given<String>,
}

/// What `[firewall]` says of one family.
#[derive(Debug, Default)]
pub(super) struct FirewallTable {
    /// `rules4`, `rules6`: the text itself, and the line of the file that each of its lines stands on.
    pub(super) inline: Given<(String, Vec<usize>)>,
    /// `rules4_file`, `rules6_file`.
    pub(super) file: Given<String>,
}

/// `[conntrack]`.
#[derive(Debug, Default)]
pub(super) struct ConntrackTable {
    pub(super) enable: Given<String>,
    pub(super) max: Given<i64>,
    pub(super) profile: Given<String>,
    pub(super) helpers: Vec<At<String>>,
    pub(super) timeouts: Vec<(&'static str, At<i64>)>,
    pub(super) tcp_loose: Given<bool>,
    pub(super) tcp_be_liberal: Given<bool>,
    pub(super) tcp_max_retrans: Given<i64>,
    pub(super) tcp_ignore_invalid_rst: Given<bool>,
    pub(super) checksum: Given<bool>,
}

/// Reads a text as far as it can be read.
pub(super) fn read(text: &str, sink: &mut Sink<'_>) -> File {
    let (root, errors) = DeTable::parse_recoverable(text);
    for e in errors {
        let span = e.span().unwrap_or(0..0);
        if e.message() == "duplicate key" {
            let key = quoted(text.get(span.clone()).unwrap_or(""));
            let text = format!("{key} stands here for the second time: put both into one, or rename one");
            sink.unreadable(span.start, text);
        } else {
            sink.unreadable(span.start, e.message());
            sink.doubtful(span.start);
        }
    }
    let root = Table::root(root.get_ref());
    root.only(&keys::TOP, sink);

    let mut file = File::default();
    if let Some(t) = root.table("router", "[router]", sink) {
        file.router = router(&t, sink);
    }
    if let Some(links) = root.table("link", "[link.NAME]", sink) {
        file.links = links.entries().filter_map(|(name, value)| link(name, value, sink)).collect();
        file.links.sort_by_key(|l| l.name.at);
    }
    for t in root.tables("route", sink) {
        file.routes.push(route(&t, sink));
    }
    for t in root.tables("neighbor", sink) {
        file.neighbors.push(neighbor(&t, sink));
    }
    if let Some(t) = root.table("firewall", "[firewall]", sink) {
        t.only(&keys::FIREWALL, sink);
        file.firewall = [("rules4", "rules4_file"), ("rules6", "rules6_file")].map(|(inline, file)| {
            FirewallTable { inline: t.text(inline, text, sink), file: t.string(file, sink) }
        });
    }
    if let Some(t) = root.table("conntrack", "[conntrack]", sink) {
        file.conntrack = conntrack(&t, sink);
    }
    if let Some(t) = root.table("icmp", "[icmp]", sink) {
        t.only(&keys::ICMP, sink);
        file.icmp_rate = t.number("rate", sink);
    }
    if let Some(t) = root.table("services", "[services]", sink) {
        t.only(&keys::SERVICES, sink);
        file.echo = t.bool("echo", sink);
        file.discard = t.bool("discard", sink);
    }
    file
}

fn router(t: &Table<'_>, sink: &mut Sink<'_>) -> RouterTable {
    t.only(&keys::ROUTER, sink);
    RouterTable {
        name: t.string("name", sink),
        workers: t.number("workers", sink),
        flow_cache: t.scalar("flow_cache", sink),
        control: t.string("control", sink),
        route_files: t.strings("route_files", sink),
        user: t.scalar("user", sink),
        group: t.scalar("group", sink),
        metrics: t.string("metrics", sink),
        later: t.present(&keys::ROUTER).filter(|k| k.value == "state").collect(),
    }
}

fn link(name: At<&str>, value: &toml::Spanned<DeValue<'_>>, sink: &mut Sink<'_>) -> Option<LinkTable> {
    let what = format!("link {}", plain(name.value));
    let header = format!("[link.{}]", name.value);
    let t = Table::of(value, name.at, &what, &header, sink)?;
    t.only(&keys::LINK, sink);
    Some(LinkTable {
        name: name.map(str::to_owned),
        kind: t.string("kind", sink),
        device: t.string("device", sink),
        mac: t.string("mac", sink),
        mtu: t.number("mtu", sink),
        addresses: t.strings("addresses", sink),
        link_local: t.bool("link_local", sink),
        rp_filter: t.string("rp_filter", sink),
        redirects: t.bool("redirects", sink),
        up: t.bool("up", sink),
        queues: t.scalar("queues", sink),
        offload: t.string("offload", sink),
        driver: t.string("driver", sink),
        persist: t.bool("persist", sink),
        owner: t.scalar("owner", sink),
        group: t.scalar("group", sink),
        keys: t.present(&keys::LINK).collect(),
    })
}

fn route(t: &Table<'_>, sink: &mut Sink<'_>) -> RouteTable {
    let to = t.string("to", sink);
    let what = match &to {
        Given::Yes(to) => format!("route {}", plain(&to.value)),
        _ => "route".to_owned(),
    };
    let t = &t.named(what);
    t.only(&keys::ROUTE, sink);
    let nexthops = match t.array("nexthops", sink) {
        Given::Yes(list) => {
            let table = |v, sink: &mut Sink<'_>| {
                let what = format!("{}: nexthops", t.what());
                let table = Table::of(v, v.span().start, &what, "{ via = \"…\", dev = \"…\" }", sink)?;
                Some(hop(&table, &keys::NEXTHOP, sink))
            };
            let hops: Vec<_> = list.value.iter().filter_map(|v| table(v, sink)).collect();
            let readable = hops.len() == list.value.len();
            if readable { Given::Yes(list.map(|_| hops)) } else { Given::Unreadable }
        }
        Given::Unreadable => Given::Unreadable,
        Given::No => Given::No,
    };
    RouteTable {
        at: t.at(),
        to,
        proto: t.scalar("proto", sink),
        hop: HopTable {
            at: t.at(),
            via: t.string("via", sink),
            dev: t.string("dev", sink),
            onlink: t.bool("onlink", sink),
            weight: Given::No,
        },
        nexthops,
        metric: t.number("metric", sink),
        src: t.string("src", sink),
        kind: t.string("type", sink),
        mtu: t.number("mtu", sink),
        mtu_lock: t.bool("mtu_lock", sink),
        advmss: t.number("advmss", sink),
        advmss_lock: t.bool("advmss_lock", sink),
    }
}

fn hop(t: &Table<'_>, section: &Section, sink: &mut Sink<'_>) -> HopTable {
    t.only(section, sink);
    HopTable {
        at: t.at(),
        via: t.string("via", sink),
        dev: t.string("dev", sink),
        onlink: t.bool("onlink", sink),
        weight: t.number("weight", sink),
    }
}

fn neighbor(t: &Table<'_>, sink: &mut Sink<'_>) -> NeighborTable {
    t.only(&keys::NEIGHBOR, sink);
    NeighborTable {
        at: t.at(),
        ip: t.string("ip", sink),
        mac: t.string("mac", sink),
        dev: t.string("dev", sink),
    }
}

fn conntrack(t: &Table<'_>, sink: &mut Sink<'_>) -> ConntrackTable {
    t.only(&keys::CONNTRACK, sink);
    let mut timeouts = Vec::new();
    if let Some(t) = t.table("timeouts", "[conntrack.timeouts]", sink) {
        t.only(&keys::TIMEOUTS, sink);
        for key in t.present(&keys::TIMEOUTS).collect::<Vec<_>>() {
            if let Given::Yes(seconds) = t.number(key.value, sink) {
                timeouts.push((key.value, seconds));
            }
        }
    }
    ConntrackTable {
        enable: t.string("enable", sink),
        max: t.number("max", sink),
        profile: t.string("profile", sink),
        helpers: t.strings("helpers", sink),
        timeouts,
        tcp_loose: t.bool("tcp_loose", sink),
        tcp_be_liberal: t.bool("tcp_be_liberal", sink),
        tcp_max_retrans: t.number("tcp_max_retrans", sink),
        tcp_ignore_invalid_rst: t.bool("tcp_ignore_invalid_rst", sink),
        checksum: t.bool("checksum", sink),
    }
}
