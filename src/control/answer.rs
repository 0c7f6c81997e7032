//! Answers made of the router's tables.
//!
//! Short ones are made at once. Routes and flows come in pages: a million of them would hold up the thread that
//! answers, and fill its memory, so each page is made when the client has read the one before.

mod busiest;
mod explain;
mod flows;
mod get;
pub mod rules;
mod stats;
mod trace;

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use crate::base::counters::{LaneTotals, Totals};
use crate::base::{Instant, LinkId, shown};
use crate::config::Refusal;
use crate::conntrack::Conntrack;
use crate::fib;
use crate::link::{self, LinkStates, Links};
use crate::neighbor::{Dad, DadState, NeighborTable};
use crate::path::{Hooks, Tracer};
use crate::router::Router;

use super::protocol::{Family, LinkFilter, NeighborFilter, RouteFilter, Show, Table, Verb};
use super::server::Answer;
use super::{shown, view};

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
#[derive(Clone, Default)]
pub struct Rest {
    /// What each worker has done.
    pub workers: Vec<LaneTotals>,
    /// Half-done datagrams, and the bytes they take.
    pub reassembly: (usize, usize),
    /// Who talks to the router.
    pub control: view::ControlStats,
    /// Where the metrics are.
    pub metrics: Option<SocketAddr>,
    /// The router itself, for what is followed while it changes.
    pub router: Option<Router>,
}

/// Answers a request.
pub fn answer(verb: &Verb, s: &Sources<'_>) -> Answer {
    match verb {
        Verb::Hello => Answer::done(&hello(s)),
        Verb::Stats => Answer::done(&stats(s)),
        Verb::Busiest(asked) => busiest::follow(asked, s),
        Verb::Ip(show) => show_it(show, s),
        Verb::RouteGet(asked) => match get::route(asked, s) {
            Ok(way) => Answer::done(&way),
            Err(no) => Answer::Refused(no),
        },
        // Who can follow what happens has done so.
        Verb::Monitor(_) => Answer::no("nobody here can be followed"),
        Verb::Conntrack(asked) => flows::answer(asked, s),
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

/// `ip … show`.
fn show_it(show: &Show, s: &Sources<'_>) -> Answer {
    let checked = match show {
        Show::Link(f) | Show::Addr(f) => f.check(),
        Show::Neigh(f) => f.check(),
        Show::Route(f) => f.check(),
    };
    if let Err(no) = checked {
        return Answer::Refused(no);
    }
    match show {
        Show::Link(f) => with_dev(s, f.dev.as_deref(), || Answer::done(&links(s, f, false))),
        Show::Addr(f) => with_dev(s, f.dev.as_deref(), || Answer::done(&links(s, f, true))),
        Show::Neigh(f) => with_dev(s, f.dev.as_deref(), || Answer::done(&neighbors(s, f))),
        Show::Route(f) => with_dev(s, f.dev.as_deref(), || Answer::Parts(Box::new(Routes::new(s, f)))),
    }
}

/// The answer, if there is such a link.
fn with_dev(s: &Sources<'_>, dev: Option<&str>, then: impl FnOnce() -> Answer) -> Answer {
    match dev {
        Some(dev) if s.links.named(dev).is_none() => Answer::no(Refusal::of("ENODEV", no_link(s.links, dev))),
        _ => then(),
    }
}

/// That there is no link of a name.
pub(super) fn no_link(links: &Links, name: &str) -> String {
    format!("no link named '{}': the links here are {}", shown(name), links.names())
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
    // As iproute2: one that is set up is up, whether anything hangs at its other end or not.
    let asked = |l: &&link::Link| f.dev.as_ref().is_none_or(|dev| *dev == l.name) && (!f.up || l.up);
    let view = |l: &link::Link| {
        let mut view = link(s, l);
        if addresses {
            let all = l.addresses.iter().zip(l.primaries()).filter(|(a, _)| f.chooses(a.addr));
            let all: Vec<_> = all.map(|(a, primary)| address(s, l, primary.is_some(), a)).collect();
            let all = as_the_kernel_lists(all);
            // One that has none at all is shown unless a family is asked for, one that has none of those meant is not.
            if all.is_empty() && (f.family.is_some() || !l.addresses.is_empty()) {
                return None;
            }
            view.addr_info = Some(all);
        }
        Some(view)
    };
    s.links.iter().filter(asked).filter_map(view).collect()
}

/// Addresses of a link, told in the order in which it was given them: of IPv4 the first of each prefix before the others
/// (`__inet_insert_ifa`), of IPv6 the last before those before it, link-local ones behind all (`ipv6_link_dev_addr`).
fn as_the_kernel_lists(all: Vec<view::Address>) -> Vec<view::Address> {
    let (mut all, mut v6): (Vec<_>, Vec<_>) = all.into_iter().partition(|a| a.family == "inet");
    v6.reverse();
    all.append(&mut v6);
    all.sort_by_key(|a| (a.family != "inet", a.secondary, a.scope == "link"));
    all
}

fn link(s: &Sources<'_>, l: &link::Link) -> view::Link {
    let n = s.totals.links.get(l.id.index()).copied().unwrap_or_default();
    shown::link(l, s.states.is_up(l.id), &n, driver(s, l.id))
}

fn driver(s: &Sources<'_>, link: LinkId) -> Option<view::Driver> {
    s.states.driver(link).as_ref().map(shown::driver)
}

fn address(s: &Sources<'_>, l: &link::Link, secondary: bool, a: &link::Address) -> view::Address {
    let state = match a.addr {
        IpAddr::V6(v6) => s.dad.state(l.id, v6),
        IpAddr::V4(_) => DadState::Valid,
    };
    shown::address(l, secondary, a, state)
}

fn neighbors(s: &Sources<'_>, f: &NeighborFilter) -> Vec<view::Neighbor> {
    let mut all = s.neighbors.entries(s.now);
    // Those of ARP before those of NDP, as the kernel has them.
    all.sort_by_key(|n| (n.ip.is_ipv6(), n.link, n.ip));
    let name = |id: LinkId| s.links.get(id).map(|l| l.name.clone());
    let view = |n: crate::neighbor::Info| {
        let dev = name(n.link);
        f.chooses(n.ip, dev.as_deref(), n.state.name())
            .then(|| shown::neighbor(n.ip, dev, n.mac, n.router, n.state))
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
        self.filter.chooses(r, |id| self.links.get(id.index()).map(|(name, _)| name.as_str()))
    }

    fn view(&self, r: &fib::Route) -> view::Route {
        shown::route(r, &|id| self.links.get(id.index()).cloned())
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

#[cfg(test)]
mod tests;
