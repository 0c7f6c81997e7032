//! The control side's table: every route as it was given, several to a prefix.
//!
//! Routes that differ in nothing but prefix and metric share what they have in common, so that a
//! million of them through a handful of neighbors cost some tens of bytes each. Knows nothing of
//! how packets are looked up.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::connected::is_link_local_net;
use super::lpm::Bits;
use super::metrics::Metrics;
use super::route::{Family, MAX_ROUTES, NextHop, Protocol, Route, RouteError, RouteKind, Table};
use super::sorted::Sorted;
use crate::base::LinkId;

/// All routes of one router.
#[derive(Debug, Clone, Default)]
pub struct Rib {
    pub(super) v4: Tables<u32>,
    pub(super) v6: Tables<u128>,
    pub(super) shared: Interner,
}

impl Rib {
    /// No routes at all, not even to the router itself; see [`Rib::connected`].
    pub fn new() -> Self {
        Rib::default()
    }

    /// How many routes there are, in all tables.
    pub fn len(&self) -> usize {
        self.v4.len() + self.v6.len()
    }

    /// How many routes of a family there are in a table.
    pub fn count(&self, family: Family, table: Table) -> usize {
        match family {
            Family::V4 => self.v4.table(table).len(),
            Family::V6 => self.v6.table(table).len(),
        }
    }

    /// How many routes, about, take memory that they don't share with those of another table.
    pub fn apart_from(&self, other: &Rib) -> usize {
        let of = [self.v4.main.apart_from(&other.v4.main), self.v4.local.apart_from(&other.v4.local)];
        let v6 = [self.v6.main.apart_from(&other.v6.main), self.v6.local.apart_from(&other.v6.local)];
        of.into_iter().chain(v6).sum()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Adds a route, as `ip route add` does: it is an error if there is one for its prefix with its
    /// metric. Routes that follow from addresses may share both as long as their links differ.
    pub fn insert(&mut self, route: Route) -> Result<(), RouteError> {
        route.validate()?;
        if self.len() >= MAX_ROUTES {
            return Err(RouteError::Full);
        }
        match route.prefix {
            IpNet::V4(net) => self.v4.insert(net.addr().to_bits(), route, &mut self.shared),
            IpNet::V6(net) => self.v6.insert(net.addr().to_bits(), route, &mut self.shared),
        }
    }

    /// Adds a route in place of the first one for its prefix with its metric, as `ip route replace`
    /// does, and gives back the one that was replaced.
    pub fn replace(&mut self, route: Route) -> Result<Option<Route>, RouteError> {
        route.validate()?;
        let (prefix, table, metric) = (route.prefix, route.table(), route.metric);
        let old = self.remove(prefix, |r| r.table() == table && r.metric == metric).ok();
        match self.insert(route) {
            Ok(()) => Ok(old),
            // Another link's connected route is still there: all stays as it was.
            Err(e) => {
                old.into_iter().try_for_each(|old| self.insert(old))?;
                Err(e)
            }
        }
    }

    /// Removes the first route for the prefix that `which` agrees to: the main table's come first,
    /// and the lowest metrics. Gives back what was removed.
    pub fn remove(&mut self, prefix: IpNet, which: impl Fn(&Route) -> bool) -> Result<Route, RouteError> {
        let removed = match prefix {
            IpNet::V4(net) => {
                self.v4.remove(net.addr().to_bits(), net.prefix_len(), &which, &mut self.shared)
            }
            IpNet::V6(net) => {
                self.v6.remove(net.addr().to_bits(), net.prefix_len(), &which, &mut self.shared)
            }
        };
        removed.ok_or(RouteError::NotFound(prefix))
    }

    /// The routes of a family and table, in the order of `ip route show` and `ip -6 route show`.
    pub fn show(&self, family: Family, table: Table) -> impl Iterator<Item = Route> + '_ {
        let v4 = (family == Family::V4).then(|| self.v4.table(table));
        let v6 = (family == Family::V6).then(|| self.v6.table(table));
        let v4 = v4.into_iter().flatten().map(|(k, id)| self.shared.route(k, *id));
        let v6 = v6.into_iter().flatten().map(|(k, id)| self.shared.route(k, *id));
        v4.chain(v6)
    }

    /// Up to `n` routes of those that [`Rib::show`] gives, from behind `after` on, and the place of the
    /// last if there may be more: a long listing in pieces, with the table free to be shared between them.
    pub fn page(
        &self,
        family: Family,
        table: Table,
        after: Option<Place>,
        n: usize,
    ) -> (Vec<Route>, Option<Place>) {
        match (family, after) {
            (Family::V4, Some(Place(AnyKey::V4(key)))) => self.page_of(self.v4.table(table), Some(key), n),
            (Family::V6, Some(Place(AnyKey::V6(key)))) => self.page_of(self.v6.table(table), Some(key), n),
            (Family::V4, _) => self.page_of(self.v4.table(table), None, n),
            (Family::V6, _) => self.page_of(self.v6.table(table), None, n),
        }
    }

    fn page_of<B: Address>(
        &self,
        routes: &Routes<B>,
        after: Option<Key<B>>,
        n: usize,
    ) -> (Vec<Route>, Option<Place>)
    where
        AnyKey: From<Key<B>>,
    {
        let mut last = None;
        let mut one = |(k, id): (&Key<B>, &u32)| (last = Some(*k), self.shared.route(k, *id)).1;
        let page: Vec<_> = match &after {
            Some(key) => routes.behind(key).take(n).map(&mut one).collect(),
            None => routes.iter().take(n).map(&mut one).collect(),
        };
        let more = last.filter(|_| page.len() == n);
        (page, more.map(|key| Place(key.into())))
    }

    /// All routes: IPv4 before IPv6, table main before local, each as [`Rib::show`] gives it.
    pub fn iter(&self) -> impl Iterator<Item = Route> + '_ {
        let all = [
            (Family::V4, Table::Main),
            (Family::V4, Table::Local),
            (Family::V6, Table::Main),
            (Family::V6, Table::Local),
        ];
        all.into_iter().flat_map(|(family, table)| self.show(family, table))
    }
}

/// A place in a listing; see [`Rib::page`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place(AnyKey);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum AnyKey {
    V4(Key<u32>),
    V6(Key<u128>),
}

impl From<Key<u32>> for AnyKey {
    fn from(key: Key<u32>) -> Self {
        AnyKey::V4(key)
    }
}

impl From<Key<u128>> for AnyKey {
    fn from(key: Key<u128>) -> Self {
        AnyKey::V6(key)
    }
}

/// An address as a number, with what the order of its family's routes needs.
pub(super) trait Address: Bits {
    /// Whether the kernel lists a prefix after those inside it. IPv4 routes come in the order of
    /// their first addresses (`fib_trie_walk`), IPv6 ones as a tree is left (`fib6_walk`).
    const INNER_FIRST: bool;
    /// The address with its last `n` bits cleared.
    fn without(self, n: u8) -> Self;
    /// The address with its last `n` bits set.
    fn filled(self, n: u8) -> Self;
    /// The prefix of `len` bits of this address, with no bits behind it.
    fn to_net(self, len: u8) -> IpNet;
}

macro_rules! address {
    ($t:ty, $addr:ty, $net:ty, $inner_first:expr) => {
        impl Address for $t {
            const INNER_FIRST: bool = $inner_first;
            fn without(self, n: u8) -> Self {
                self & <$t>::MAX.checked_shl(u32::from(n)).unwrap_or(0)
            }
            fn filled(self, n: u8) -> Self {
                self | !<$t>::MAX.checked_shl(u32::from(n)).unwrap_or(0)
            }
            fn to_net(self, len: u8) -> IpNet {
                let addr = <$addr>::from_bits(self);
                <$net>::new(addr, len).map_or_else(|_| IpAddr::from(addr).into(), IpNet::from)
            }
        }
    };
}
address!(u32, Ipv4Addr, Ipv4Net, false);
address!(u128, Ipv6Addr, Ipv6Net, true);

/// A route's place among the others, in the order they are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key<B> {
    /// The first address, or the last where the family is listed inner first.
    edge: B,
    /// Bits behind the prefix: of prefixes with one edge the longest comes first.
    host_bits: u8,
    /// The lowest first.
    metric: u32,
    /// Tells apart what follows from addresses on several links, in the order of the links: 0, or
    /// the link's number and 1.
    tag: u32,
}

impl<B: Address> Key<B> {
    fn new(addr: B, len: u8, metric: u32, tag: u32) -> Self {
        let host_bits = (B::WIDTH as u8).saturating_sub(len);
        let edge = if B::INNER_FIRST { addr.filled(host_bits) } else { addr };
        Key { edge, host_bits, metric, tag }
    }

    /// The first and the last place of a prefix's routes.
    fn all(addr: B, len: u8) -> [Self; 2] {
        [Key::new(addr, len, 0, 0), Key::new(addr, len, u32::MAX, u32::MAX)]
    }

    /// Between these two are all prefixes that share these first bits, and no other as long.
    fn inside(bits: B, len: u8) -> [Self; 2] {
        let last = bits.filled((B::WIDTH as u8).saturating_sub(len));
        let key = |edge, rest: u32| Key { edge, host_bits: rest as u8, metric: rest, tag: rest };
        [key(bits, 0), key(last, u32::MAX)]
    }

    /// Whether it leads to addresses whose place is decided by link.
    pub(super) fn is_link_local(&self) -> bool {
        B::WIDTH == 128 && is_link_local_net(self.net())
    }

    /// The first address of the prefix.
    pub(super) fn addr(&self) -> B {
        if B::INNER_FIRST { self.edge.without(self.host_bits) } else { self.edge }
    }

    /// The length of the prefix.
    pub(super) fn len(&self) -> u8 {
        B::WIDTH as u8 - self.host_bits
    }

    /// The prefix.
    pub(super) fn net(&self) -> IpNet {
        self.addr().to_net(self.len())
    }

    /// Whether the other is a route for the same prefix.
    pub(super) fn same_prefix(&self, other: &Self) -> bool {
        self.edge == other.edge && self.host_bits == other.host_bits
    }
}

/// What routes share, by its number.
pub(super) type Routes<B> = Sorted<Key<B>, u32>;

/// The tables of one family.
#[derive(Debug, Clone)]
pub(super) struct Tables<B> {
    pub(super) local: Routes<B>,
    pub(super) main: Routes<B>,
    /// How many routes of each prefix length there are, in table local and in table main.
    pub(super) lengths: [[u32; LENGTHS]; 2],
}

/// Prefix lengths of the longer addresses: 0 to 128.
pub(super) const LENGTHS: usize = 129;

impl<B> Default for Tables<B> {
    fn default() -> Self {
        Tables { local: Sorted::default(), main: Sorted::default(), lengths: [[0; LENGTHS]; 2] }
    }
}

impl<B: Address> Tables<B> {
    pub(super) fn len(&self) -> usize {
        self.local.len() + self.main.len()
    }

    pub(super) fn table(&self, table: Table) -> &Routes<B> {
        match table {
            Table::Local => &self.local,
            Table::Main => &self.main,
        }
    }

    pub(super) fn table_mut(&mut self, table: Table) -> &mut Routes<B> {
        match table {
            Table::Local => &mut self.local,
            Table::Main => &mut self.main,
        }
    }

    fn insert(&mut self, addr: B, route: Route, shared: &mut Interner) -> Result<(), RouteError> {
        let key = |tag| Key::new(addr, route.prefix.prefix_len(), route.metric, tag);
        let tag = tag(&route);
        let routes = self.table_mut(route.table());
        if routes.between(&key(0), key(u32::MAX)).any(|(k, _)| k.tag == tag || k.tag == 0 || tag == 0) {
            return Err(RouteError::Exists(route.prefix, route.metric));
        }
        let (table, len) = (route.table(), route.prefix.prefix_len());
        routes.insert(key(tag), shared.add(Shared::of(route)));
        self.lengths[table as usize][usize::from(len)] += 1;
        Ok(())
    }

    fn remove(
        &mut self,
        addr: B,
        len: u8,
        which: impl Fn(&Route) -> bool,
        shared: &mut Interner,
    ) -> Option<Route> {
        for table in [Table::Main, Table::Local] {
            let routes = self.table_mut(table);
            let [first, last] = Key::all(addr, len);
            let found = routes.between(&first, last).find_map(|(k, id)| {
                let route = shared.route(k, *id);
                which(&route).then_some((*k, *id, route))
            });
            if let Some((key, id, route)) = found {
                routes.remove(&key);
                shared.release(id);
                self.lengths[table as usize][usize::from(len)] -= 1;
                return Some(route);
            }
        }
        None
    }

    /// What the main table's routes for exactly this prefix share, the lowest metric first.
    pub(super) fn exactly(&self, addr: B, len: u8) -> impl Iterator<Item = u32> + '_ {
        self.in_table(Table::Main, addr, len).map(|(_, id)| *id)
    }

    /// The routes for exactly this prefix, the lowest metric first.
    pub(super) fn in_table(
        &self,
        table: Table,
        addr: B,
        len: u8,
    ) -> impl Iterator<Item = (&Key<B>, &u32)> + '_ {
        let [first, last] = Key::all(addr, len);
        self.table(table).between(&first, last)
    }

    /// The routes for prefixes inside this one, and for itself.
    pub(super) fn inside(&self, table: Table, bits: B, len: u8) -> impl Iterator<Item = (&Key<B>, &u32)> {
        let [first, last] = Key::inside(bits, len);
        self.table(table).between(&first, last).filter(move |(k, _)| k.len() >= len)
    }

    /// The prefix lengths that a table has, longest first.
    pub(super) fn lengths(&self, table: Table) -> impl Iterator<Item = u8> + '_ {
        let counts = self.lengths[table as usize].iter().enumerate();
        counts.rev().filter(|(_, n)| **n > 0).map(|(len, _)| len as u8)
    }
}

/// The link a route follows from, if it follows from an address.
fn tag(route: &Route) -> u32 {
    let link: Option<LinkId> = match &route.kind {
        _ if route.protocol != Protocol::Kernel => None,
        RouteKind::Local(link) | RouteKind::Anycast(link) | RouteKind::Broadcast(link) => Some(*link),
        RouteKind::Unicast(hops) => match hops.as_slice() {
            [hop] if hop.via.is_none() => hop.link,
            _ => None,
        },
        _ => None,
    };
    link.map_or(0, |l| u32::from(l.0) + 1)
}

/// All of a route but prefix and metric.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Shared {
    pub(super) kind: RouteKind,
    pub(super) protocol: Protocol,
    pub(super) src: Option<IpAddr>,
    pub(super) metrics: Metrics,
}

impl Shared {
    pub(super) fn of(route: Route) -> Self {
        Shared { kind: route.kind, protocol: route.protocol, src: route.src, metrics: route.metrics }
    }

    /// The hops; none unless unicast.
    pub(super) fn hops(&self) -> &[NextHop] {
        match &self.kind {
            RouteKind::Unicast(hops) => hops,
            _ => &[],
        }
    }
}

/// Each thing that routes share, once, with the number of routes that do.
#[derive(Debug, Clone, Default)]
pub(super) struct Interner {
    ids: HashMap<Arc<Shared>, u32>,
    slots: Vec<(Arc<Shared>, usize)>,
    free: Vec<u32>,
}

impl Interner {
    /// The number for what one more route shares with others.
    pub(super) fn add(&mut self, shared: Shared) -> u32 {
        if let Some(id) = self.ids.get(&shared) {
            if let Some((_, routes)) = self.slots.get_mut(*id as usize) {
                *routes += 1;
            }
            return *id;
        }
        let shared = Arc::new(shared);
        let id = match self.free.pop() {
            Some(id) => id,
            None => self.slots.len() as u32, // at most one each for MAX_ROUTES routes
        };
        match self.slots.get_mut(id as usize) {
            Some(slot) => *slot = (shared.clone(), 1),
            None => self.slots.push((shared.clone(), 1)),
        }
        self.ids.insert(shared, id);
        id
    }

    /// A route less.
    pub(super) fn release(&mut self, id: u32) {
        let Some((shared, routes)) = self.slots.get_mut(id as usize) else { return };
        *routes -= 1;
        if *routes == 0 {
            if self.ids.get(shared) == Some(&id) {
                self.ids.remove(shared);
            }
            self.free.push(id);
        }
    }

    /// Says that all routes of this number share something else now.
    pub(super) fn change(&mut self, id: u32, to: Shared) {
        let Some((shared, _)) = self.slots.get_mut(id as usize) else { return };
        if self.ids.get(shared) == Some(&id) {
            self.ids.remove(shared);
        }
        *shared = Arc::new(to);
        // Where another number stands for the same already, new routes go on sharing that one.
        self.ids.entry(shared.clone()).or_insert(id);
    }

    /// The number for something, if there is one.
    pub(super) fn number_of(&self, shared: &Shared) -> Option<u32> {
        self.ids.get(shared).copied()
    }

    /// How many routes share what a number stands for.
    pub(super) fn users(&self, id: u32) -> usize {
        self.slots.get(id as usize).map_or(0, |(_, routes)| *routes)
    }

    /// Numbers are below this.
    pub(super) fn bound(&self) -> usize {
        self.slots.len()
    }

    /// What a number stands for, if any route still shares it.
    pub(super) fn get(&self, id: u32) -> Option<&Shared> {
        self.slots.get(id as usize).filter(|(_, routes)| *routes > 0).map(|(shared, _)| &**shared)
    }

    pub(super) fn route<B: Address>(&self, key: &Key<B>, id: u32) -> Route {
        let shared = &self.slots[id as usize].0; // a number in a table is one that `add` gave
        Route {
            prefix: key.net(),
            kind: shared.kind.clone(),
            metric: key.metric,
            protocol: shared.protocol,
            src: shared.src,
            metrics: shared.metrics,
        }
    }
}

#[cfg(test)]
mod tests;
