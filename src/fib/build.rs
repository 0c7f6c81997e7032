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
//!
//! The trie has all routes, whether the links they need are up or not: a link that goes down changes entries, of which there
//! are few. A lookup that comes to one that can't be used asks the routes themselves.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use super::connected::is_link_local_net;
use super::lpm::{Lpm, Prefix};
use super::resolve::Resolver;
use super::rib::{Address, Key, LENGTHS, Rib, Routes, Shared, Tables};
use super::route::{Protocol, RouteKind, Table};
use super::table::{Action, Entry, Fib};
use super::view::View;
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

/// How often gateways are looked for anew because what was left out the last time carried other routes.
const MAX_PASSES: usize = 8;

impl Rib {
    /// Compiles the routes, or says what is wrong with them: of all of them, also those that lose to
    /// a lower metric.
    pub fn build(&self, links: &Links) -> Result<Fib, Vec<BuildError>> {
        let tries = Tries::plan(self);
        let live = vec![true; self.shared.bound()];
        let actions = tries.actions(self, links, &live);
        self.told(errors(&actions))?;
        Ok(tries.finish(Arc::new(self.clone()), &actions, live))
    }

    /// Whether [`Rib::build`] would compile them.
    pub fn check(&self, links: &Links) -> Result<(), Vec<BuildError>> {
        self.told(self.unusable(links))
    }

    /// Compiles the routes without those that `usable` links are needed for and don't have, as if
    /// Linux had flushed them when their link went down: higher metrics and shorter prefixes take
    /// over. Routes with an error are left out as well; [`Rib::build`] is who tells.
    pub fn build_usable(&self, links: &Links, usable: impl Fn(LinkId) -> bool) -> Fib {
        Tries::plan(self).usable(Arc::new(self.clone()), links, usable)
    }

    fn told(&self, errors: Vec<(u32, BuildCause)>) -> Result<(), Vec<BuildError>> {
        let stray = self.v6.main.iter().filter(|(k, _)| is_link_local_net(k.net()));
        let by_hand = |id: u32| self.shared.get(id).is_some_and(|s| s.protocol != Protocol::Kernel);
        let stray = stray.filter(|(_, id)| by_hand(**id)).map(|(k, _)| k.net());
        let report = self.report(errors, stray);
        if report.is_empty() { Ok(()) } else { Err(report) }
    }

    /// Notes the link of every gateway that is a neighbor on one, where none was given, so that it
    /// is shown and stays that link, as in Linux. Gateways behind other gateways are left as they are.
    /// To be done before there are copies: what routes share is another thing behind it.
    pub fn settle(&mut self, links: &Links) {
        let open = |s: &Shared| s.hops().iter().any(|h| h.link.is_none());
        let ids: Vec<u32> =
            (0..self.shared.bound() as u32).filter(|id| self.shared.get(*id).is_some_and(open)).collect();
        if ids.is_empty() {
            return;
        }
        let finder = self.finder(ids.len());
        let lookup = |addr| finder.find(addr);
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

    /// Who finds the route that leads to an address, to be asked so many times.
    pub(super) fn finder(&self, times: usize) -> Finder<'_> {
        /// One search in the table of routes takes as long as compiling so many.
        const SEARCH: usize = 64;
        match times.saturating_mul(SEARCH) < self.len() {
            true => Finder::Search(self),
            false => Finder::Tries(Box::new(Tries::plan(self))),
        }
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

/// The errors among what routes come to.
fn errors(actions: &[Option<Result<Action, BuildCause>>]) -> Vec<(u32, BuildCause)> {
    let numbered = (0..).zip(actions);
    numbered.filter_map(|(id, action)| Some((id, action.as_ref()?.as_ref().err()?.clone()))).collect()
}

/// Finds routes, one at a time or having compiled them all.
pub(super) enum Finder<'a> {
    Search(&'a Rib),
    Tries(Box<Tries>),
}

impl Finder<'_> {
    /// The number of the shared part of the route that leads to an address, and its prefix length.
    pub(super) fn find(&self, addr: IpAddr) -> Option<(u32, u8)> {
        match self {
            Finder::Search(rib) => rib.covering(addr, |_| true, |_| true),
            Finder::Tries(tries) => tries.lookup(addr),
        }
    }
}

/// Both tries over all routes, whether they can be used or not, and what their values stand for: the number of a route's
/// shared part, and the length of its prefix.
#[derive(Debug, Clone)]
pub(super) struct Tries {
    pub(super) v4: Lpm<u32>,
    pub(super) v6: Lpm<u128>,
    pub(super) numbers: Arc<Numbering>,
}

impl Tries {
    fn plan(rib: &Rib) -> Self {
        let mut numbers = Numbering::default();
        let v4 = Lpm::of_routes(gather(&rib.v4, &mut numbers), rib.v4.len());
        let v6 = Lpm::of_routes(gather(&rib.v6, &mut numbers), rib.v6.len());
        numbers.planned = numbers.list.len();
        Tries { v4, v6, numbers: Arc::new(numbers) }
    }

    /// The same for routes that have become others; `None` if too many numbers are nobody's by now.
    fn after(&self, before: &Rib, rib: &Rib) -> Option<Self> {
        let mut numbers = self.numbers.clone();
        let v4 = follow(&self.v4, &before.v4, &rib.v4, &mut numbers);
        let v6 = follow(&self.v6, &before.v6, &rib.v6, &mut numbers);
        let bound = 2 * numbers.planned + Numbering::SPARE;
        (numbers.list.len() <= bound).then_some(Tries { v4, v6, numbers })
    }

    fn lookup(&self, addr: IpAddr) -> Option<(u32, u8)> {
        let at = match addr {
            IpAddr::V4(a) => self.v4.lookup(a.to_bits())?,
            IpAddr::V6(a) => self.v6.lookup(a.to_bits())?,
        };
        self.numbers.list.get(at as usize).copied()
    }

    /// What each shared part that is live comes to, where only those are.
    fn actions(&self, rib: &Rib, links: &Links, live: &[bool]) -> Vec<Option<Result<Action, BuildCause>>> {
        let is_live = |id: u32| live.get(id as usize).copied().unwrap_or(false);
        let lookup = |addr| match self.lookup(addr)? {
            (id, len) if is_live(id) => Some((id, len)),
            _ => rib.covering(addr, |_| true, is_live),
        };
        let mut resolver = Resolver::new(rib, links, &lookup);
        let ids = 0..rib.shared.bound() as u32;
        ids.map(|id| Some(resolver.action(rib.shared.get(id).filter(|_| is_live(id))?))).collect()
    }

    /// See [`Rib::build_usable`].
    fn usable(self, rib: Arc<Rib>, links: &Links, usable: impl Fn(LinkId) -> bool) -> Fib {
        let mut live: Vec<bool> = (0..rib.shared.bound() as u32)
            .map(|id| match rib.shared.get(id).map(|s| &s.kind) {
                Some(RouteKind::Unicast(hops)) => hops.iter().any(|h| h.link.is_none_or(&usable)),
                _ => true,
            })
            .collect();
        let mut actions = self.actions(&rib, links, &live);
        for _ in 0..MAX_PASSES {
            let mut failed = false;
            for (action, live) in actions.iter().zip(&mut live) {
                if *live && matches!(action, Some(Err(_))) {
                    *live = false;
                    failed = true;
                }
            }
            if !failed {
                break;
            }
            actions = self.actions(&rib, links, &live);
        }
        self.finish(rib, &actions, live)
    }

    fn finish(self, rib: Arc<Rib>, actions: &[Option<Result<Action, BuildCause>>], live: Vec<bool>) -> Fib {
        let entry = |&(id, prefix_len): &(u32, u8)| {
            let (action, usable) = match actions.get(id as usize) {
                Some(Some(Ok(action))) => (action.clone(), true),
                // Only what had an error after the last pass comes here.
                Some(Some(Err(_))) => (Action::Unreachable, true),
                _ => (Action::Unreachable, false),
            };
            let shared = rib.shared.get(id);
            let metrics = shared.map(|s| s.metrics).unwrap_or_default();
            Entry {
                action,
                prefix_len,
                usable,
                src: shared.and_then(|s| s.src),
                mtu: if metrics.mtu == 0 { Entry::UNLIMITED } else { metrics.mtu },
                advmss: metrics.advmss,
            }
        };
        let entries: Arc<[Entry]> = self.numbers.list.iter().map(entry).collect();
        let mut lens = [false; LENGTHS];
        for entry in entries.iter().filter(|e| e.usable) {
            lens[usize::from(entry.prefix_len)] = true;
        }
        Fib { tries: self, entries, rib, live, lens }
    }
}

impl Fib {
    /// Whether it was made of these very routes.
    pub fn is_made_of(&self, rib: &Arc<Rib>) -> bool {
        Arc::ptr_eq(&self.rib, rib)
    }

    /// The table of routes that have become others since, or of other links: see [`Rib::build_usable`]. Costs what has
    /// changed rather than what there is, as long as `rib` was made of the routes that this table was made of.
    pub fn after(&self, rib: &Arc<Rib>, links: &Links, usable: impl Fn(LinkId) -> bool) -> Fib {
        let tries = match Arc::ptr_eq(&self.rib, rib) {
            true => Some(self.tries.clone()),
            false => self.tries.after(&self.rib, rib),
        };
        tries.unwrap_or_else(|| Tries::plan(rib)).usable(rib.clone(), links, usable)
    }
}

/// One family's trie for routes that have become others.
fn follow<B: Address>(
    trie: &Lpm<B>,
    before: &Tables<B>,
    after: &Tables<B>,
    numbers: &mut Arc<Numbering>,
) -> Lpm<B> {
    let mut changed = Vec::new();
    for table in [Table::Local, Table::Main] {
        before.table(table).differences(
            after.table(table),
            |a, b| a == b,
            |key, _, now| {
                changed.push((key.addr(), key.len()));
                if let Some(id) = now
                    && numbers.of(*id, key.len()).is_none()
                {
                    Arc::make_mut(numbers).number((*id, key.len()));
                }
                if table == Table::Local {
                    // What it hides or hid.
                    let inside = after.inside(Table::Main, key.addr(), key.len());
                    changed.extend(inside.map(|(k, _)| (k.addr(), k.len())));
                }
            },
        );
    }
    if changed.is_empty() {
        return trie.clone();
    }
    changed.sort_unstable();
    changed.dedup();
    let updated = trie.updated(&changed, &View { tables: after, numbers });
    updated.unwrap_or_else(|| Lpm::of_routes(gather(after, Arc::make_mut(numbers)), after.len()))
}

/// Numbers for pairs, in the order they come.
#[derive(Debug, Clone, Default)]
pub(super) struct Numbering {
    pub(super) list: Vec<(u32, u8)>,
    numbers: HashMap<(u32, u8), u32>,
    last: Option<((u32, u8), u32)>,
    /// How many there were when every one was somebody's.
    planned: usize,
}

impl Numbering {
    /// Numbers that may be nobody's in any table.
    const SPARE: usize = 4096;

    pub(super) fn of(&self, id: u32, len: u8) -> Option<u32> {
        self.numbers.get(&(id, len)).copied()
    }

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

/// The prefixes of one family that packets can meet, each with the first of its routes. All routes have numbers then.
fn gather<B: Address>(tables: &Tables<B>, numbers: &mut Numbering) -> Vec<Prefix<B>> {
    let covers = outermost(&tables.local);
    let mut found = Vec::with_capacity(tables.local.len() + tables.main.len());
    for (routes, main) in [(&tables.local, false), (&tables.main, true)] {
        let mut last = None;
        for (key, id) in routes {
            let (bits, len) = (key.addr(), key.len());
            let value = numbers.number((*id, len));
            if last.is_some_and(|l: &Key<B>| l.same_prefix(key)) {
                continue;
            }
            last = Some(key);
            let hidden = main && covers.lookup(bits).is_some_and(|cover| cover <= u32::from(len));
            if !hidden && !key.is_link_local() {
                found.push(Prefix { bits, len, value });
            }
        }
    }
    found
}

/// The prefixes that are inside no other one, each with its length as value.
fn outermost<B: Address>(routes: &Routes<B>) -> Lpm<B> {
    let mut all: Vec<(B, u8)> = routes.iter().map(|(k, _)| (k.addr(), k.len())).collect();
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
