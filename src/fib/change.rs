//! One route more or less in a table that stands: what each needs to know of the others, without compiling them all.
//!
//! A route is judged by the prefixes that cover its gateways, and all routes by what they share: with a million routes
//! through a handful of neighbors that is a handful of questions. [`Rib::build`] says the same of the whole, and makes the
//! table that packets are looked up in besides.

use std::collections::HashMap;
use std::net::IpAddr;

use ipnet::IpNet;

use super::build::{BuildCause, BuildError};
use super::connected::is_link_local_net;
use super::resolve::Resolver;
use super::rib::{Address, Rib, Shared, Tables};
use super::route::{Family, NextHop, Protocol, Route, RouteError, RouteKind, Table, is_link_local};
use crate::link::Links;

impl Rib {
    /// The first route for the prefix that `which` agrees to: the main table's come first, and the lowest metrics.
    pub fn find(&self, prefix: IpNet, which: impl Fn(&Route) -> bool) -> Option<Route> {
        fn first<B: Address>(
            rib: &Rib,
            tables: &Tables<B>,
            (addr, len): (B, u8),
            which: impl Fn(&Route) -> bool,
        ) -> Option<Route> {
            let in_table = |table| tables.in_table(table, addr, len);
            let all = in_table(Table::Main).chain(in_table(Table::Local));
            all.map(|(key, id)| rib.shared.route(key, *id)).find(which)
        }
        match prefix {
            IpNet::V4(net) => first(self, &self.v4, (net.addr().to_bits(), net.prefix_len()), which),
            IpNet::V6(net) => first(self, &self.v6, (net.addr().to_bits(), net.prefix_len()), which),
        }
    }

    /// Whether a route could be put to use here. It need not be in the table.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn judge(&self, route: &Route, links: &Links) -> Result<(), BuildCause> {
        if is_link_local_net(route.prefix) && route.protocol != Protocol::Kernel {
            return Err(BuildCause::LinkLocal);
        }
        let lookup = |addr| self.covering(addr, |_| true, |_| true);
        Resolver::new(self, links, &lookup).action(&Shared::of(route.clone())).map(drop)
    }

    /// Notes the links of a route's gateways, as [`Rib::settle`] does for all routes.
    pub fn settle_one(&self, route: &mut Route, links: &Links) {
        let RouteKind::Unicast(hops) = &mut route.kind else { return };
        let lookup = |addr| self.covering(addr, |_| true, |_| true);
        let mut resolver = None;
        for hop in hops {
            if let (None, Some(via)) = (hop.link, hop.via) {
                let resolver = resolver.get_or_insert_with(|| Resolver::new(self, links, &lookup));
                hop.link = resolver.neighbor_on(via);
            }
        }
    }

    /// Whether all routes can be put to use.
    ///
    /// # Errors
    /// What is wrong with them, as [`Rib::build`] says it.
    pub fn verify(&self, links: &Links) -> Result<(), Vec<BuildError>> {
        let report = self.report(self.unusable(links), std::iter::empty());
        if report.is_empty() { Ok(()) } else { Err(report) }
    }

    /// Makes the routes that follow from the addresses of `before` those of `after`. The links in both have the same ids.
    ///
    /// # Errors
    /// A route in the way of a new one. The table is no longer whole then.
    pub fn reconnect(&mut self, before: &Links, after: &Links) -> Result<(), RouteError> {
        let (old, new) = (Rib::connected(before), Rib::connected(after));
        for route in old.iter().filter(|r| new.find(r.prefix, |n| n == r).is_none()) {
            self.remove(route.prefix, |r| *r == route)?;
        }
        for route in new.iter().filter(|r| old.find(r.prefix, |o| o == r).is_none()) {
            self.insert(route)?;
        }
        Ok(())
    }

    /// Says what differs between this table and a later one of the same links: each route as it was, as it is, or both.
    /// IPv4 comes first, and table main.
    pub fn differences(&self, later: &Rib, mut each: impl FnMut(Option<Route>, Option<Route>)) {
        for table in [Table::Main, Table::Local] {
            differences((self, &self.v4), (later, &later.v4), table, &mut each);
        }
        for table in [Table::Main, Table::Local] {
            differences((self, &self.v6), (later, &later.v6), table, &mut each);
        }
    }

    /// Takes out what can't be used: hops that are `lost` or lead nowhere, and routes with none left or with a source
    /// that is nobody's. An IPv6 route only loses its source, as in Linux. Gives each route as it was, and as it is now if
    /// it still is.
    pub fn prune(
        &mut self,
        links: &Links,
        lost: impl Fn(Family, &NextHop) -> bool,
    ) -> Vec<(Route, Option<Route>)> {
        let mut pruned = Vec::new();
        let lost_in_any = |hop: &NextHop| lost(Family::V4, hop) || lost(Family::V6, hop);
        let ids = 0..self.shared.bound() as u32;
        let doubtful =
            ids.filter(|id| self.shared.get(*id).is_some_and(|s| s.hops().iter().any(lost_in_any)));
        let mut doubtful: Vec<u32> = doubtful.collect();
        // What goes may have carried others: those are found in the next turn, until nothing goes any more.
        loop {
            let changes = self.without(links, &doubtful, &lost);
            for (old, new) in changes {
                // It was there a moment ago, and what replaces it has its prefix and metric.
                let _ = self.remove(old.prefix, |r| *r == old);
                if let Some(new) = &new {
                    let _ = self.insert(new.clone());
                }
                pruned.push((old, new));
            }
            doubtful = self.unusable(links).into_iter().map(|(id, _)| id).collect();
            if doubtful.is_empty() {
                return pruned;
            }
        }
    }

    /// The routes that share these numbers and can't stay as they are, with what is left of each.
    fn without(
        &self,
        links: &Links,
        ids: &[u32],
        lost: &impl Fn(Family, &NextHop) -> bool,
    ) -> Vec<(Route, Option<Route>)> {
        if ids.is_empty() {
            return Vec::new();
        }
        let lookup = |addr| self.covering(addr, |_| true, |_| true);
        let mut resolver = Resolver::new(self, links, &lookup);
        let mut fates: HashMap<(u32, Family), Option<Shared>> = HashMap::new();
        let mut all = Vec::new();
        let ids: std::collections::HashSet<u32> = ids.iter().copied().collect();
        for route in self.sharing(&ids) {
            let family = route.1.family();
            let fate = fates.entry((route.0, family)).or_insert_with(|| {
                let mut shared = Shared::of(route.1.clone());
                let ours = |src| links.iter().any(|l| l.has(src));
                if shared.src.is_some_and(|src| !ours(src)) {
                    if family == Family::V4 {
                        return None;
                    }
                    shared.src = None;
                }
                let with = Shared { kind: RouteKind::Blackhole, src: None, ..shared.clone() };
                if let RouteKind::Unicast(hops) = &mut shared.kind {
                    hops.retain(|hop| {
                        let alone = RouteKind::Unicast(vec![*hop]);
                        let alone = Shared { kind: alone, ..with.clone() };
                        !lost(family, hop) && resolver.action(&alone).is_ok()
                    });
                    if hops.is_empty() {
                        return None;
                    }
                }
                // Too many hops in the end, say: nothing that one of them could be blamed for.
                resolver.action(&shared).is_ok().then_some(shared)
            });
            let (_, route) = route;
            let left = fate.as_ref().map(|s| Route {
                kind: s.kind.clone(),
                protocol: s.protocol,
                src: s.src,
                ..route.clone()
            });
            if left.as_ref() != Some(&route) {
                all.push((route, left));
            }
        }
        all
    }

    /// The main table's routes that share one of these numbers.
    fn sharing<'a>(
        &'a self,
        ids: &'a std::collections::HashSet<u32>,
    ) -> impl Iterator<Item = (u32, Route)> + 'a {
        fn of<'a, B: Address>(
            rib: &'a Rib,
            tables: &'a Tables<B>,
            ids: &'a std::collections::HashSet<u32>,
        ) -> impl Iterator<Item = (u32, Route)> + 'a {
            let chosen = tables.main.iter().filter(|(_, id)| ids.contains(id));
            chosen.map(|(key, id)| (*id, rib.shared.route(key, *id)))
        }
        of(self, &self.v4, ids).chain(of(self, &self.v6, ids))
    }

    /// The shared parts that can't be used, and why.
    pub(super) fn unusable(&self, links: &Links) -> Vec<(u32, BuildCause)> {
        let ids = 0..self.shared.bound() as u32;
        let finder = self.finder(ids.len());
        let lookup = |addr| finder.find(addr);
        let mut resolver = Resolver::new(self, links, &lookup);
        let judged = ids.filter_map(|id| Some((id, resolver.action(self.shared.get(id)?).err()?)));
        judged.collect()
    }

    /// What the compiled table would say of an address if it had only routes whose shared part `counts`, by its number:
    /// that number of the route that leads there, and the length of its prefix. Prefixes of some `lens` alone can have any.
    pub(super) fn covering(
        &self,
        addr: IpAddr,
        lens: impl Fn(u8) -> bool,
        counts: impl Fn(u32) -> bool,
    ) -> Option<(u32, u8)> {
        match addr {
            IpAddr::V4(v4) => covering(&self.v4, v4.to_bits(), lens, counts),
            // Where those are is decided by link.
            IpAddr::V6(v6) if is_link_local(v6) => {
                covering(&self.v6, v6.to_bits(), |len| len < 10 && lens(len), counts)
            }
            IpAddr::V6(v6) => covering(&self.v6, v6.to_bits(), lens, counts),
        }
    }
}

fn differences<B: Address>(
    (old, was): (&Rib, &Tables<B>),
    (new, is): (&Rib, &Tables<B>),
    table: Table,
    each: &mut impl FnMut(Option<Route>, Option<Route>),
) {
    let same = |a: &u32, b: &u32| old.shared.get(*a) == new.shared.get(*b);
    was.table(table).differences(is.table(table), same, |key, a, b| {
        each(a.map(|id| old.shared.route(key, *id)), b.map(|id| new.shared.route(key, *id)));
    });
}

/// The longest prefix that covers an address, of table local if one does.
fn covering<B: Address>(
    tables: &Tables<B>,
    addr: B,
    lens: impl Fn(u8) -> bool,
    counts: impl Fn(u32) -> bool,
) -> Option<(u32, u8)> {
    let first = |table, len: u8| {
        let mut all = tables.in_table(table, addr.keep(len.into()), len);
        all.find(|(_, id)| counts(**id)).map(|(_, id)| (*id, len))
    };
    let in_table = |table| tables.lengths(table).filter(|len| lens(*len)).find_map(|len| first(table, len));
    in_table(Table::Local).or_else(|| in_table(Table::Main))
}

#[cfg(test)]
mod tests;
