//! Answers made of the router's tables.
//!
//! Short ones are made at once. Routes and flows come in pages: a million of them would hold up the thread that
//! answers, and fill its memory, so each page is made when the client has read the one before.

mod explain;
mod flows;
mod rules;
mod stats;
mod trace;

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use serde_json::Value;

use crate::base::counters::{LaneTotals, Totals};
use crate::base::{Instant, LinkId, Mac};
use crate::conntrack::Conntrack;
use crate::fib;
use crate::link::{self, LinkKind, LinkStates, Links};
use crate::neighbor::{Dad, DadState, NeighborTable};
use crate::path::{Hooks, Tracer};

use super::protocol::{Family, Flows, LinkFilter, NeighborFilter, RouteFilter, Show, Table, Verb};
use super::server::Answer;
use super::view;

pub use explain::explain;
pub use stats::stats;

/// Routes on one page.
const PAGE: usize = 1024;

/// The router as it is at this moment.
pub struct Sources<'a> {
    /// Its name.
    pub name: &'a str,
    /// How long it has forwarded.
    pub uptime: Duration,
    /// The time on its clock.
    pub now: Instant,
    /// Its counters.
    pub totals: &'a Totals,
    /// Its links.
    pub links: &'a Links,
    /// Which of them are up.
    pub states: &'a LinkStates,
    /// Its routes.
    pub rib: &'a Arc<fib::Rib>,
    /// Its neighbors.
    pub neighbors: &'a NeighborTable,
    /// Which of its addresses are being checked.
    pub dad: &'a Dad,
    /// Its flows.
    pub conntrack: &'a Arc<Conntrack>,
    /// What hangs at its hooks.
    pub hooks: &'a Hooks,
    /// Who is followed.
    pub tracer: &'a Arc<Tracer>,
    /// What else is counted.
    pub rest: Rest,
}

/// What is counted outside of the tables.
#[derive(Debug, Clone, Default)]
pub struct Rest {
    /// What each worker has done.
    pub workers: Vec<LaneTotals>,
    /// Half-done datagrams, and the bytes they take.
    pub reassembly: (usize, usize),
    /// Who talks to the router.
    pub control: view::ControlStats,
    /// Where the metrics are.
    pub metrics: Option<SocketAddr>,
}

/// Answers a request.
pub fn answer(verb: &Verb, s: &Sources<'_>) -> Answer {
    match verb {
        Verb::Hello => Answer::done(&hello(s)),
        Verb::Stats => Answer::done(&stats(s)),
        Verb::Ip(show) => match show {
            Show::Link(f) => with_dev(s, f.dev.as_deref(), || Answer::done(&links(s, f, false))),
            Show::Addr(f) => with_dev(s, f.dev.as_deref(), || Answer::done(&links(s, f, true))),
            Show::Neigh(f) => with_dev(s, f.dev.as_deref(), || Answer::done(&neighbors(s, f))),
            Show::Route(f) => with_dev(s, f.dev.as_deref(), || Answer::Parts(Box::new(Routes::new(s, f)))),
        },
        Verb::Conntrack(Flows::Count) => Answer::done(&s.conntrack.len()),
        Verb::Conntrack(Flows::List { form, filter }) => {
            Answer::Parts(Box::new(flows::Listing::new(s.conntrack.clone(), *form, filter.clone(), s.now)))
        }
        Verb::Rules(asked) => rules::save(asked, s.hooks),
        Verb::Trace(asked) => trace::trace(asked, s),
        Verb::Capture(asked) => trace::capture(asked, s),
        // Whoever can do these has done them.
        Verb::Change(_)
        | Verb::Reload(_)
        | Verb::Confirm
        | Verb::Rollback { .. }
        | Verb::Diff { .. }
        | Verb::Config
        | Verb::Explain(_) => Answer::no("nobody here can change the router"),
    }
}

/// The answer, if there is such a link.
fn with_dev(s: &Sources<'_>, dev: Option<&str>, then: impl FnOnce() -> Answer) -> Answer {
    match dev {
        Some(dev) if s.links.named(dev).is_none() => {
            let names: Vec<_> = s.links.iter().map(|l| l.name.as_str()).collect();
            Answer::no(format!("no link named '{dev}': the links here are {}", names.join(", ")))
        }
        _ => then(),
    }
}

fn hello(s: &Sources<'_>) -> view::Hello {
    view::Hello {
        name: s.name.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: std::process::id(),
        uptime: s.uptime.as_secs_f64(),
    }
}

/// Links, with their addresses if wanted.
fn links(s: &Sources<'_>, f: &LinkFilter, addresses: bool) -> Vec<view::Link> {
    let asked =
        |l: &&link::Link| f.dev.as_ref().is_none_or(|dev| *dev == l.name) && (!f.up || s.states.is_up(l.id));
    // iproute2 leaves links without addresses out only if one family is asked for.
    let chosen = f.family.is_some() || f.to.is_some();
    let view = |l: &link::Link| {
        let mut view = link(s, l);
        if addresses {
            let all = l.addresses.iter().enumerate().filter(|(_, a)| wanted(f, a));
            let all: Vec<_> = all.map(|(i, a)| address(s, l, i, a)).collect();
            if chosen && all.is_empty() {
                return None;
            }
            view.addr_info = Some(all);
        }
        Some(view)
    };
    s.links.iter().filter(asked).filter_map(view).collect()
}

fn wanted(f: &LinkFilter, a: &link::Address) -> bool {
    f.family.is_none_or(|family| family == family_of(a.addr))
        && f.scope.as_ref().is_none_or(|s| s == scope(a.addr))
        && f.to.as_ref().is_none_or(|to| to.contains(&a.addr))
}

fn link(s: &Sources<'_>, l: &link::Link) -> view::Link {
    let up = s.states.is_up(l.id);
    let point_to_point = l.mac.is_none();
    let mut flags = match (l.kind, point_to_point) {
        (LinkKind::Loopback, _) => vec!["LOOPBACK"],
        (_, true) => vec!["POINTOPOINT", "MULTICAST", "NOARP"],
        (_, false) => vec!["BROADCAST", "MULTICAST"],
    };
    if !up {
        flags.insert(0, "NO-CARRIER");
    }
    flags.push("UP");
    if up {
        flags.push("LOWER_UP");
    }
    let (link_type, address, broadcast) = match (l.kind, l.mac) {
        (LinkKind::Loopback, _) => ("loopback", Some(Mac::ZERO), Some(Mac::ZERO)),
        (_, Some(mac)) => ("ether", Some(mac), Some(Mac::BROADCAST)),
        (_, None) => ("none", None, None),
    };
    let n = s.totals.links.get(l.id.index()).copied().unwrap_or_default();
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
            .then(|| view::LinkInfo { info_kind: l.kind.name().to_owned(), info_data: driver(s, l.id) }),
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

fn driver(s: &Sources<'_>, link: LinkId) -> Option<view::Driver> {
    let used = s.states.driver(link)?;
    Some(view::Driver {
        name: used.driver.name().to_owned(),
        asked: used.asked.name().to_owned(),
        fallback: used.fallback.map(|why| why.to_string()),
    })
}

fn address(s: &Sources<'_>, l: &link::Link, i: usize, a: &link::Address) -> view::Address {
    let state = match a.addr {
        IpAddr::V6(v6) => s.dad.state(l.id, v6),
        IpAddr::V4(_) => DadState::Valid,
    };
    let before = l.addresses.iter().take(i);
    let v4 = a.addr.is_ipv4();
    view::Address {
        family: family_name(a.addr).to_owned(),
        local: a.addr.to_string(),
        prefixlen: a.prefix_len,
        broadcast: a.broadcast().filter(|_| l.kind != LinkKind::Loopback).map(|b| b.to_string()),
        scope: scope(a.addr).to_owned(),
        secondary: v4
            && before.into_iter().any(|b| b.prefix_len == a.prefix_len && b.network() == a.network()),
        dadfailed: state == DadState::Duplicate,
        tentative: state != DadState::Valid,
        label: v4.then(|| l.name.clone()),
        valid_life_time: view::FOREVER,
        preferred_life_time: view::FOREVER,
    }
}

fn family_of(addr: IpAddr) -> Family {
    if addr.is_ipv4() { Family::Inet } else { Family::Inet6 }
}

fn family_name(addr: IpAddr) -> &'static str {
    if addr.is_ipv4() { "inet" } else { "inet6" }
}

/// The scope of an address of ours, as iproute2 names it.
fn scope(addr: IpAddr) -> &'static str {
    match addr {
        a if a.is_loopback() => "host",
        IpAddr::V6(v6) if v6.is_unicast_link_local() => "link",
        _ => "global",
    }
}

fn neighbors(s: &Sources<'_>, f: &NeighborFilter) -> Vec<view::Neighbor> {
    let mut all = s.neighbors.entries(s.now);
    // Those of ARP before those of NDP, as the kernel has them.
    all.sort_by_key(|n| (n.ip.is_ipv6(), n.link, n.ip));
    let name = |id: LinkId| s.links.get(id).map(|l| l.name.clone());
    let asked = |n: &view::Neighbor, ip: IpAddr| {
        f.family.is_none_or(|family| family == family_of(ip))
            && (f.dev.is_none() || f.dev == n.dev)
            && f.to.as_ref().is_none_or(|to| to.contains(&ip))
            && (f.states.is_empty() || f.states.iter().any(|s| n.state.contains(s)))
    };
    let view = |n: crate::neighbor::Info| {
        let view = view::Neighbor {
            dst: n.ip.to_string(),
            dev: name(n.link),
            lladdr: n.mac.map(|m| m.to_string()),
            router: n.router,
            state: vec![n.state.name().to_owned()],
        };
        asked(&view, n.ip).then_some(view)
    };
    all.into_iter().filter_map(view).collect()
}

/// The pages of a listing of routes.
struct Routes {
    rib: Arc<fib::Rib>,
    filter: RouteFilter,
    /// By link: its name, and whether it is up.
    links: Vec<(String, bool)>,
    todo: VecDeque<(fib::Family, fib::Table)>,
    after: Option<fib::Place>,
}

impl Routes {
    fn new(s: &Sources<'_>, filter: &RouteFilter) -> Self {
        let families: &[_] = match filter.family {
            Some(Family::Inet) => &[fib::Family::V4],
            Some(Family::Inet6) => &[fib::Family::V6],
            None => &[fib::Family::V4, fib::Family::V6],
        };
        let tables: &[_] = match filter.table {
            Table::Main => &[fib::Table::Main],
            Table::Local => &[fib::Table::Local],
            Table::All => &[fib::Table::Main, fib::Table::Local],
        };
        Routes {
            rib: s.rib.clone(),
            filter: filter.clone(),
            links: s.links.iter().map(|l| (l.name.clone(), s.states.is_up(l.id))).collect(),
            todo: families.iter().flat_map(|f| tables.iter().map(|t| (*f, *t))).collect(),
            after: None,
        }
    }

    fn asked(&self, r: &fib::Route) -> bool {
        let f = &self.filter;
        let hop = match r.hops() {
            [one] => Some(one),
            _ => None,
        };
        let dev = hop.and_then(|h| h.link).or_else(|| r.link()).and_then(|id| self.name(id));
        let is = |wanted: &Option<String>, word: &str| wanted.as_ref().is_none_or(|w| w == word);
        (f.dev.is_none() || f.dev == dev)
            && f.via.is_none_or(|via| r.hops().iter().any(|h| h.via == Some(via)))
            && is(&f.protocol, &r.protocol.to_string())
            && is(&f.scope, r.scope().unwrap_or("global"))
            && is(&f.kind, r.kind.word().unwrap_or("unicast"))
            && f.prefix.is_none_or(|(relation, prefix)| relation.holds(&r.prefix, &prefix))
    }

    fn name(&self, id: LinkId) -> Option<String> {
        self.links.get(id.index()).map(|(name, _)| name.clone())
    }

    fn view(&self, r: &fib::Route) -> view::Route {
        let v6 = r.family() == fib::Family::V6;
        let (single, several) = match r.hops() {
            [one] => (Some(self.hop(r, one)), Vec::new()),
            hops => (None, hops.iter().map(|h| self.hop(r, h)).collect()),
        };
        let single = single.unwrap_or_else(|| view::NextHop {
            dev: r.link().and_then(|id| self.name(id)),
            flags: self.down(r.link()),
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
            // Route preference (RFC 4191) is always medium here; the kernel shows it all the same.
            pref: v6.then(|| "medium".to_owned()),
            nexthops: several,
        }
    }

    fn hop(&self, r: &fib::Route, h: &fib::NextHop) -> view::NextHop {
        let (mut gateway, mut via) = (None, None);
        if let Some(addr) = h.via {
            if addr.is_ipv4() == r.prefix.addr().is_ipv4() {
                gateway = Some(addr.to_string());
            } else {
                via = Some(view::Via { family: family_name(addr).to_owned(), host: addr.to_string() });
            }
        }
        let mut flags = self.down(h.link);
        if h.onlink {
            flags.insert(0, "onlink".to_owned());
        }
        let dev = h.link.and_then(|id| self.name(id));
        view::NextHop { gateway, via, dev, weight: h.weight, flags }
    }

    fn down(&self, link: Option<LinkId>) -> Vec<String> {
        let down = link.and_then(|id| self.links.get(id.index())).is_some_and(|(_, up)| !up);
        if down { vec!["linkdown".to_owned()] } else { Vec::new() }
    }
}

impl Iterator for Routes {
    type Item = Value;

    /// One page; perhaps an empty one, so that a choosy question keeps nobody waiting.
    fn next(&mut self) -> Option<Value> {
        let (family, table) = *self.todo.front()?;
        let (page, more) = self.rib.page(family, table, self.after, PAGE);
        self.after = more;
        if more.is_none() {
            self.todo.pop_front();
        }
        let views: Vec<_> = page.iter().filter(|r| self.asked(r)).map(|r| self.view(r)).collect();
        serde_json::to_value(views).ok()
    }
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

#[cfg(test)]
mod tests;
