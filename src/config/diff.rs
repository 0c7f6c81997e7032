//! What is different between two setups: what `sekisho diff` prints.
//!
//! Links, addresses and neighbors are told apart by name, routes by prefix and metric, rules as lines. Routes that follow from
//! addresses are not told of: the addresses are. Of a kind there are [`MOST`] at most, and then how many more. Knows nothing of
//! flows.

mod rules;

use std::cmp::Ordering;
use std::collections::HashMap;
use std::iter;

use ipnet::IpNet;

use super::print::{address, made_by_somebody};
use super::settings::{self, Setting};
use super::{Config, LinkConfig, Setup};
use crate::control::view::Difference;
use crate::fib::{Family, Route, Table};
use crate::link::Links;

/// The most differences of one kind (links, routes, rules …) that are told.
pub(crate) const MOST: usize = 1_000;

/// Keys of `[router]` that a running router has taken for good. So has it `name`, where that names the control socket.
const FIXED: [&str; 5] = ["workers", "control", "metrics", "user", "group"];

/// What `new` would change of `old`: removed and changed before added, of each kind. `flows` is how many there is room for.
pub fn diff(old: &Setup, new: &Setup, flows: u32) -> Vec<Difference> {
    let (was, will) = (&old.config, &new.config);
    let router = [settings::router(was), settings::router(will)];
    let route_files = [was, will].map(|c| c.route_files.iter().map(|f| settings::path(&f.path)));
    let [files_before, files_after] = route_files;
    let mut all = Vec::new();
    let named = names_the_socket(was, will);
    all.extend(bounded(settings_differ("router", "", &router[0], &router[1]).map(|d| d.told(named)).chain(
        lists_differ("router", files_before.map(|f| format!("route_files {f}")).collect(), {
            files_after.map(|f| format!("route_files {f}")).collect()
        }),
    )));
    all.extend(bounded(links(was, will)));
    all.extend(bounded(lists_differ("address", all_addresses(was), all_addresses(will))));
    all.extend(bounded(Routes::of(old, new)));
    all.extend(bounded(lists_differ("neighbor", neighbors(was), neighbors(will))));
    all.extend(bounded(rules::differ(&old.programs, &new.programs)));
    let sections: [(&str, Section); 4] = [
        ("conntrack", |c| settings::conntrack(&c.conntrack)),
        ("conntrack", |c| settings::timeouts(&c.conntrack)),
        ("icmp", settings::icmp),
        ("services", settings::services),
    ];
    for (name, of) in sections {
        all.extend(settings_differ(name, "", &of(was), &of(will)).map(|d| match (name, d.key) {
            ("conntrack", "max") if will.conntrack.table.max > flows => {
                Difference { note: Some(RESTART.to_owned()), ..d.difference }
            }
            _ => d.difference,
        }));
    }
    all
}

type Section = fn(&Config) -> Vec<Setting>;

/// The keys of `[router]` that differ and can't change while the router runs, as people are told of them.
pub fn fixed(old: &Config, new: &Config) -> Vec<String> {
    let router = [settings::router(old), settings::router(new)];
    let named = names_the_socket(old, new);
    let keys = settings_differ("router", "", &router[0], &router[1]).filter(|d| d.is_fixed(named));
    keys.map(|d| format!("[router] {}", d.key)).collect()
}

/// Whether the control socket would have another path with another name.
fn names_the_socket(old: &Config, new: &Config) -> bool {
    old.control.is_none() || new.control.is_none()
}

/// What is said of a key that a running router has taken for good.
const RESTART: &str = "takes a restart";

/// The first of them, and how many more there are.
fn bounded(all: impl Iterator<Item = Difference>) -> impl Iterator<Item = Difference> {
    let mut all = all.peekable();
    let mut told = 0;
    iter::from_fn(move || {
        if told < MOST {
            told += 1;
            return all.next();
        }
        let object = all.peek()?.object.clone();
        let more = all.by_ref().count();
        Some(Difference { object, note: Some(format!("… and {more} more")), ..Difference::default() })
    })
}

/// A setting that differs.
struct Differs {
    key: &'static str,
    difference: Difference,
}

impl Differs {
    /// Of a key of `[router]`; `named`: the name is the socket's.
    fn is_fixed(&self, named: bool) -> bool {
        FIXED.contains(&self.key) || (named && self.key == "name")
    }

    fn told(self, named: bool) -> Difference {
        let note = self.is_fixed(named).then(|| RESTART.to_owned());
        Difference { note, ..self.difference }
    }
}

/// Settings by key; `whose` stands before each.
fn settings_differ(
    object: &str,
    whose: &str,
    old: &[Setting],
    new: &[Setting],
) -> impl Iterator<Item = Differs> {
    let said = |s: Option<&Setting>| {
        let s = s?;
        let value = s.value.as_ref()?;
        Some(format!("{whose}{} = {value}", s.key))
    };
    let gone = old.iter().filter(|o| new.iter().all(|n| n.key != o.key)).map(|o| (Some(o), None));
    let here = new.iter().map(|n| (old.iter().find(|o| o.key == n.key), Some(n)));
    let differ = gone.chain(here).filter_map(|(o, n)| {
        let (before, after) = (said(o), said(n));
        let difference = Difference { object: object.to_owned(), note: None, before, after };
        (difference.before != difference.after)
            .then(|| Differs { key: o.or(n).map_or("", |s| s.key), difference })
    });
    differ.collect::<Vec<_>>().into_iter()
}

/// What of the lines is in one of the lists only; both may be in any order.
fn lists_differ(
    object: &'static str,
    old: Vec<String>,
    new: Vec<String>,
) -> impl Iterator<Item = Difference> {
    let mut left: HashMap<&str, usize> = HashMap::new();
    new.iter().for_each(|n| *left.entry(n).or_default() += 1);
    let mut gone = Vec::new();
    for o in &old {
        match left.get_mut(o.as_str()) {
            Some(n) if *n > 0 => *n -= 1,
            _ => gone.push(removed(object, o.clone())),
        }
    }
    let mut here = Vec::new();
    for n in &new {
        if let Some(more) = left.get_mut(n.as_str()).filter(|more| **more > 0) {
            *more -= 1;
            here.push(added(object, n.clone()));
        }
    }
    gone.into_iter().chain(here)
}

fn removed(object: &str, text: String) -> Difference {
    Difference { object: object.to_owned(), before: Some(text), ..Difference::default() }
}

fn added(object: &str, text: String) -> Difference {
    Difference { object: object.to_owned(), after: Some(text), ..Difference::default() }
}

fn links(old: &Config, new: &Config) -> impl Iterator<Item = Difference> {
    let text = |l: &LinkConfig, router: &str| {
        let said = settings::link(l, router).into_iter().filter(|s| !s.usual);
        let said = said.filter_map(|s| Some(format!("{} = {}", s.key, s.value?)));
        format!("{} {}", l.name, said.collect::<Vec<_>>().join(" "))
    };
    let named = |c: &Config| -> HashMap<String, LinkConfig> {
        c.links.iter().map(|l| (l.name.clone(), l.clone())).collect()
    };
    let (was, will) = (named(old), named(new));
    let gone =
        old.links.iter().filter(|l| !will.contains_key(&l.name)).map(|l| removed("link", text(l, &old.name)));
    let here = new.links.iter().flat_map(|l| match was.get(&l.name) {
        None => vec![added("link", text(l, &new.name))],
        Some(before) => {
            let [before, after] = [settings::link(before, &old.name), settings::link(l, &new.name)];
            let whose = format!("{} ", l.name);
            settings_differ("link", &whose, &before, &after).map(|d| d.difference).collect()
        }
    });
    gone.chain(here).collect::<Vec<_>>().into_iter()
}

/// Those that a file lists: a link-local one that is made from the MAC follows from the link.
fn all_addresses(c: &Config) -> Vec<String> {
    let links = c.links.iter().flat_map(|l| settings::addresses(l).map(|a| (l.name.as_str(), a)));
    let all = links.chain(c.loopback.iter().map(|a| ("lo", a)));
    all.map(|(name, a)| format!("{name} {}", address(a))).collect()
}

fn neighbors(c: &Config) -> Vec<String> {
    c.neighbors.iter().map(|n| format!("{} lladdr {} dev {}", n.ip, n.mac, n.dev)).collect()
}

/// Two tables of routes, walked side by side: they are in one order.
struct Routes<'a, A: Iterator<Item = Route>, B: Iterator<Item = Route>> {
    old: iter::Peekable<A>,
    new: iter::Peekable<B>,
    links: [&'a Links; 2],
}

impl<'a> Routes<'a, iter::Empty<Route>, iter::Empty<Route>> {
    fn of(old: &'a Setup, new: &'a Setup) -> Box<dyn Iterator<Item = Difference> + 'a> {
        if std::sync::Arc::ptr_eq(&old.rib, &new.rib) && old.links == new.links {
            return Box::new(iter::empty());
        }
        let links = [&old.links, &new.links];
        let [a, b] = [&old.rib, &new.rib].map(|rib| made_by_somebody(rib).peekable());
        Box::new(Routes { old: a, new: b, links })
    }
}

impl<A: Iterator<Item = Route>, B: Iterator<Item = Route>> Iterator for Routes<'_, A, B> {
    type Item = Difference;

    fn next(&mut self) -> Option<Difference> {
        let [was, will] = self.links;
        loop {
            let order = match (self.old.peek(), self.new.peek()) {
                (None, None) => return None,
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(old), Some(new)) => place(old).cmp(&place(new)),
            };
            let old = if order.is_le() { self.old.next() } else { None };
            let new = if order.is_ge() { self.new.next() } else { None };
            if let (Some(old), Some(new)) = (&old, &new)
                && same(old, was, new, will)
            {
                continue;
            }
            return Some(Difference {
                object: "route".into(),
                before: old.map(|r| shown(&r, was)),
                after: new.map(|r| shown(&r, will)),
                note: None,
            });
        }
    }
}

/// Where a route stands in the order of [`Rib::iter`](crate::fib::Rib::iter): IPv4 by the first address of the prefix, IPv6 by
/// the last, then the longest prefix, then the lowest metric.
fn place(r: &Route) -> (Family, bool, u128, u8, u32) {
    let local = r.table() == Table::Local;
    let (edge, host_bits) = match r.prefix {
        IpNet::V4(net) => (u128::from(net.network().to_bits()), 32 - net.prefix_len()),
        IpNet::V6(net) => (net.broadcast().to_bits(), 128 - net.prefix_len()),
    };
    (r.family(), local, edge, host_bits, r.metric)
}

/// Whether they are the same, links being the same by name.
fn same(old: &Route, was: &Links, new: &Route, will: &Links) -> bool {
    if std::ptr::eq(was, will) || old.hops().is_empty() || new.hops().is_empty() {
        return old == new;
    }
    let said = |r: &Route| (r.prefix, r.metric, r.protocol, r.src, r.metrics, r.hops().len());
    let hops = || {
        old.hops().iter().zip(new.hops()).all(|(o, n)| {
            let name = |links: &Links, id: Option<_>| id.and_then(|id| links.get(id)).map(|l| l.name.clone());
            let alike = match (o.link, n.link) {
                (Some(a), Some(b)) if a == b => {
                    was.get(a).map(|l| l.name.as_str()) == will.get(b).map(|l| l.name.as_str())
                }
                (a, b) => name(was, a) == name(will, b),
            };
            alike && (o.via, o.weight, o.onlink) == (n.via, n.weight, n.onlink)
        })
    };
    said(old) == said(new) && hops()
}

/// On one line, as `ip -o route` shows it.
fn shown(r: &Route, links: &Links) -> String {
    let text = r.display(links).to_string();
    text.lines().map(str::trim).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests;
