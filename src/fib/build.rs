//! From the routes as they were given to the table packets are looked up in.
//!
//! ```text
//!   table local ─► all ──────────────────────────┐
//!   table main ──► lowest metric of each prefix ──┴─► trie of (routes' shared part, prefix length)
//!                  unless inside a local prefix            │ each part: where are its gateways?
//!                                                          ▼
//!                                                       entries
//! ```
//!
//! Linux looks into table local to the end before it opens table main, so that 127.0.0.0/8, being
//! local, beats a /32 of the main table. One trie does the same once what lies inside local
//! prefixes is left out.

use std::collections::HashMap;
use std::net::IpAddr;

use ipnet::IpNet;

use super::connected::is_link_local_net;
use super::lpm::{Lpm, Prefix};
use super::resolve::Resolver;
use super::rib::{Address, Key, Rib, Routes, Shared, Tables};
use super::route::{Family, Protocol, RouteKind, Table};
use super::table::{Action, Entry, Fib};
use crate::base::LinkId;
use crate::link::Links;

/// Why the routes can't be put to use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BuildError {
    /// A route, and all that share its next hops.
    #[error("the route to {prefix}{others} {cause}", others = others(*.more))]
    Route {
        /// The first such route's prefix.
        prefix: IpNet,
        /// How many more routes are alike.
        more: usize,
        /// What is wrong with them.
        cause: BuildCause,
    },
    /// There were more errors than anyone reads.
    #[error("and {0} more sets of routes like these")]
    More(usize),
}

fn others(n: usize) -> String {
    match n {
        0 => String::new(),
        n => format!(" (and {n} more like it)"),
    }
}

/// What is wrong with a route.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BuildCause {
    /// A link that doesn't exist.
    #[error("names a link that doesn't exist")]
    NoSuchLink,
    /// Nothing covers the gateway.
    #[error(
        "can't be used: no route leads to {0}, so give a next hop on one of the links, or `dev` and `onlink`"
    )]
    NoWay(IpAddr),
    /// Only a default route through a gateway covers it.
    #[error(
        "can't be used: only the default route leads to {0}, so give a next hop on one of the links, or `dev` and `onlink`"
    )]
    OnlyDefault(IpAddr),
    /// The link it names does not reach the gateway.
    #[error("can't be used: {0} is in no prefix of {1}, so give a next hop that is, or add `onlink`")]
    NotOnLink(IpAddr, String),
    /// The gateway is refused or dropped by another route.
    #[error("can't be used: the route to its next hop {0} is an unreachable, prohibit or blackhole one")]
    Rejected(IpAddr),
    /// The gateway is one of the router's own addresses.
    #[error("can't be used: its next hop {0} is an address of this router, so give the neighbor's")]
    Own(IpAddr),
    /// The gateway is a broadcast or anycast address.
    #[error("can't be used: its next hop {0} is no single router's address")]
    NotUnicast(IpAddr),
    /// The way to the gateway leads through the gateway.
    #[error("can't be used: the way to its next hop {0} leads through {0} itself")]
    Loop(IpAddr),
    /// The way to the gateway leads through too many others.
    #[error("can't be used: the way to its next hop {0} leads through more than {max} others", max = super::resolve::MAX_DEPTH)]
    TooDeep(IpAddr),
    /// All ways together are too many.
    #[error("can't be used: its next hops come to more than {max} in the end", max = super::route::MAX_HOPS)]
    TooManyHops,
    /// The preferred source is nobody's.
    #[error("can't have source {0}: that is no address of this router")]
    NotOurs(IpAddr),
    /// A route into fe80::/10.
    #[error("has no effect: where link-local destinations are is decided by link, so remove it")]
    LinkLocal,
}

/// Errors told one by one.
const MAX_ERRORS: usize = 100;

/// How often the table is made anew because what was left out the last time carried other routes.
const MAX_PASSES: usize = 8;

impl Rib {
    /// Compiles the routes, or says what is wrong with them: of all of them, also those that lose to
    /// a lower metric.
    pub fn build(&self, links: &Links) -> Result<Fib, Vec<BuildError>> {
        let every = vec![true; self.shared.bound()];
        let (tries, actions) = self.compile(links, &every);
        let mut errors: Vec<(u32, BuildCause)> = Vec::new();
        for (id, action) in actions.iter().enumerate() {
            if let Some(Err(cause)) = action {
                errors.push((id as u32, cause.clone()));
            }
        }
        let link_local = self.show(Family::V6, Table::Main).filter(|r| is_link_local_net(r.prefix));
        let stray = link_local.filter(|r| r.protocol != Protocol::Kernel).map(|r| r.prefix);
        let report = self.report(errors, stray);
        if !report.is_empty() {
            return Err(report);
        }
        Ok(tries.finish(self, &actions))
    }

    /// Compiles the routes without those that `usable` links are needed for and don't have, as if
    /// Linux had flushed them when their link went down: higher metrics and shorter prefixes take
    /// over. Routes with an error are left out as well; [`Rib::build`] is who tells.
    pub fn build_usable(&self, links: &Links, usable: impl Fn(LinkId) -> bool) -> Fib {
        let mut live: Vec<bool> = (0..self.shared.bound() as u32)
            .map(|id| match self.shared.get(id).map(|s| &s.kind) {
                Some(RouteKind::Unicast(hops)) => hops.iter().any(|h| h.link.is_none_or(&usable)),
                _ => true,
            })
            .collect();
        for _ in 0..MAX_PASSES {
            let (tries, actions) = self.compile(links, &live);
            let mut failed = false;
            for (action, live) in actions.iter().zip(&mut live) {
                if *live && matches!(action, Some(Err(_))) {
                    *live = false;
                    failed = true;
                }
            }
            if !failed {
                return tries.finish(self, &actions);
            }
        }
        let (tries, actions) = self.compile(links, &live);
        tries.finish(self, &actions)
    }

    /// Notes the link of every gateway that is a neighbor on one, where none was given, so that it
    /// is shown and stays that link, as in Linux. Gateways behind other gateways are left as they are.
    pub fn settle(&mut self, links: &Links) {
        let open = |s: &Shared| s.hops().iter().any(|h| h.link.is_none());
        let ids: Vec<u32> =
            (0..self.shared.bound() as u32).filter(|id| self.shared.get(*id).is_some_and(open)).collect();
        if ids.is_empty() {
            return;
        }
        let tries = Tries::plan(self, &vec![true; self.shared.bound()]);
        let lookup = |addr| tries.lookup(addr);
        let resolver = Resolver::new(self, links, &lookup);
        let mut settled = Vec::new();
        for id in ids {
            let Some(mut shared) = self.shared.get(id).cloned() else { continue };
            let RouteKind::Unicast(hops) = &mut shared.kind else { continue };
            for hop in hops {
                if let (None, Some(via)) = (hop.link, hop.via) {
                    hop.link = resolver.neighbor_on(via);
                }
            }
            settled.push((id, shared));
        }
        for (id, shared) in settled {
            self.shared.change(id, shared);
        }
    }

    /// The tries over the routes whose shared part is live, and what each such part comes to.
    fn compile(&self, links: &Links, live: &[bool]) -> (Tries, Vec<Option<Result<Action, BuildCause>>>) {
        let tries = Tries::plan(self, live);
        let lookup = |addr| tries.lookup(addr);
        let mut resolver = Resolver::new(self, links, &lookup);
        let actions = (0..self.shared.bound() as u32)
            .map(|id| {
                let wanted = live.get(id as usize).copied().unwrap_or(false);
                let shared = self.shared.get(id).filter(|_| wanted)?;
                Some(resolver.action(shared))
            })
            .collect();
        (tries, actions)
    }

    /// Errors as they are told: each with the first route it is about.
    pub(super) fn report(
        &self,
        errors: Vec<(u32, BuildCause)>,
        stray: impl Iterator<Item = IpNet>,
    ) -> Vec<BuildError> {
        let mut routes: HashMap<u32, (IpNet, usize)> = HashMap::new();
        if !errors.is_empty() {
            let v4 = self.v4.main.iter().map(|(k, id)| (k.net(), *id));
            let v6 = self.v6.main.iter().map(|(k, id)| (k.net(), *id));
            for (net, id) in v4.chain(v6) {
                routes.entry(id).and_modify(|(_, more)| *more += 1).or_insert((net, 0));
            }
        }
        let about = errors.into_iter().filter_map(|(id, cause)| {
            let (prefix, more) = routes.get(&id)?;
            Some(BuildError::Route { prefix: *prefix, more: *more, cause })
        });
        let stray = stray.map(|prefix| BuildError::Route { prefix, more: 0, cause: BuildCause::LinkLocal });
        let mut all = about.chain(stray);
        let mut told: Vec<BuildError> = all.by_ref().take(MAX_ERRORS).collect();
        let more = all.count();
        if more > 0 {
            told.push(BuildError::More(more));
        }
        told
    }
}

/// Both tries, and what their values stand for: the number of a route's shared part, and the length
/// of its prefix.
struct Tries {
    v4: Lpm<u32>,
    v6: Lpm<u128>,
    entries: Vec<(u32, u8)>,
}

impl Tries {
    fn plan(rib: &Rib, live: &[bool]) -> Self {
        let mut entries = Numbering::default();
        let v4 = Lpm::build(gather(&rib.v4, live, &mut entries));
        let v6 = Lpm::build(gather(&rib.v6, live, &mut entries));
        Tries { v4, v6, entries: entries.list }
    }

    fn lookup(&self, addr: IpAddr) -> Option<(u32, u8)> {
        let at = match addr {
            IpAddr::V4(a) => self.v4.lookup(a.to_bits())?,
            IpAddr::V6(a) => self.v6.lookup(a.to_bits())?,
        };
        self.entries.get(at as usize).copied()
    }

    fn finish(self, rib: &Rib, actions: &[Option<Result<Action, BuildCause>>]) -> Fib {
        let entry = |&(id, prefix_len): &(u32, u8)| {
            let action = match actions.get(id as usize) {
                Some(Some(Ok(action))) => action.clone(),
                // Only what had an error after the last pass comes here.
                _ => Action::Unreachable,
            };
            Entry { action, prefix_len, src: rib.shared.get(id).and_then(|s| s.src) }
        };
        let entries = self.entries.iter().map(entry).collect();
        Fib { v4: self.v4, v6: self.v6, entries }
    }
}

/// Numbers for pairs, in the order they come.
#[derive(Default)]
struct Numbering {
    list: Vec<(u32, u8)>,
    numbers: HashMap<(u32, u8), u32>,
    last: Option<((u32, u8), u32)>,
}

impl Numbering {
    fn number(&mut self, pair: (u32, u8)) -> u32 {
        // Neighboring prefixes often share both.
        if let Some((last, n)) = self.last
            && last == pair
        {
            return n;
        }
        let n = *self.numbers.entry(pair).or_insert_with(|| {
            self.list.push(pair);
            self.list.len() as u32 - 1 // not more than there are routes
        });
        self.last = Some((pair, n));
        n
    }
}

/// The prefixes of one family that packets can meet, each with the best of its live routes.
fn gather<B: Address>(tables: &Tables<B>, live: &[bool], numbers: &mut Numbering) -> Vec<Prefix<B>> {
    let covers = outermost(&tables.local);
    let mut found = Vec::with_capacity(tables.local.len() + tables.main.len());
    for (routes, main) in [(&tables.local, false), (&tables.main, true)] {
        let mut last = None;
        for (key, id) in routes {
            if last.is_some_and(|l: &Key<B>| l.same_prefix(key)) || !live.get(*id as usize).unwrap_or(&false)
            {
                continue;
            }
            last = Some(key);
            let (bits, len) = (key.addr(), key.len());
            let hidden = main && covers.lookup(bits).is_some_and(|cover| cover <= u32::from(len));
            if hidden || (B::WIDTH == 128 && is_link_local_net(key.net())) {
                continue;
            }
            found.push(Prefix { bits, len, value: numbers.number((*id, len)) });
        }
    }
    found
}

/// The prefixes that are inside no other one, each with its length as value.
fn outermost<B: Address>(routes: &Routes<B>) -> Lpm<B> {
    let mut all: Vec<(B, u8)> = routes.keys().map(|k| (k.addr(), k.len())).collect();
    all.sort_unstable();
    let mut outer: Vec<Prefix<B>> = Vec::new();
    for (bits, len) in all {
        let inside = outer.last().is_some_and(|o| bits.common(o.bits) >= u32::from(o.len));
        if !inside {
            outer.push(Prefix { bits, len, value: u32::from(len) });
        }
    }
    Lpm::build(outer)
}

#[cfg(test)]
mod tests;
