//! Where a gateway is reached.
//!
//! A gateway is a neighbor if the route that leads to it has none itself; otherwise that route's
//! gateway is asked for in turn. Linux stops after the first step; routing daemons, whose gateways are
//! often routers far away, have to go on. The default route counts only if it needs no gateway: a
//! mistyped gateway must not find its way to the upstream router.
//!
//! Knows the routes as numbers of what they share, and the trie over them as a function.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::rc::Rc;

use super::build::BuildCause;
use super::rib::{Address, Rib, Shared, Tables};
use super::route::{MAX_HOPS, NextHop, RouteKind, Table, is_link_local};
use super::table::{Action, Hop, Hops};
use crate::base::LinkId;
use crate::link::Links;

/// Routes that one route's gateway may lead through. Linux: 1; a BGP route over an IGP route needs 2.
pub(super) const MAX_DEPTH: usize = 8;

/// Finds neighbors for gateways, each once.
pub(super) struct Resolver<'a> {
    rib: &'a Rib,
    links: &'a Links,
    /// The number and prefix length of the route that leads to an address.
    lookup: &'a dyn Fn(IpAddr) -> Option<(u32, u8)>,
    /// Prefix lengths in table main, for walks along all prefixes that cover an address.
    lengths4: Vec<u8>,
    lengths6: Vec<u8>,
    on_links: HashMap<(IpAddr, LinkId), Result<Hop, BuildCause>>,
    gateways: HashMap<IpAddr, Result<Way, BuildCause>>,
}

/// What a gateway without a link comes to.
#[derive(Clone)]
struct Way {
    hops: Rc<[Hop]>,
    depth: usize,
}

impl Way {
    /// Whoever is asked for is the neighbor where no gateway is.
    fn toward(self, asked: Option<IpAddr>) -> Self {
        if asked.is_none() || self.hops.iter().all(|h| h.via.is_some()) {
            return self;
        }
        let hops = self.hops.iter().map(|h| Hop { via: h.via.or(asked), ..*h }).collect();
        Way { hops, ..self }
    }
}

impl<'a> Resolver<'a> {
    pub(super) fn new(
        rib: &'a Rib,
        links: &'a Links,
        lookup: &'a dyn Fn(IpAddr) -> Option<(u32, u8)>,
    ) -> Self {
        Resolver {
            rib,
            links,
            lookup,
            lengths4: rib.v4.lengths(Table::Main).collect(),
            lengths6: rib.v6.lengths(Table::Main).collect(),
            on_links: HashMap::new(),
            gateways: HashMap::new(),
        }
    }

    /// What is to be done with packets on such routes.
    pub(super) fn action(&mut self, shared: &Shared) -> Result<Action, BuildCause> {
        if let Some(src) = shared.src
            && self.links.owner(src).is_none()
            && !self.links.iter().any(|l| l.has(src))
        {
            return Err(BuildCause::NotOurs(src));
        }
        Ok(match &shared.kind {
            RouteKind::Unicast(hops) => Action::Forward(self.hops(hops)?),
            RouteKind::Local(link) => Action::Local(self.known(*link)?),
            RouteKind::Anycast(link) => Action::Anycast(self.known(*link)?),
            RouteKind::Broadcast(link) => Action::Broadcast(self.known(*link)?),
            RouteKind::Unreachable => Action::Unreachable,
            RouteKind::Prohibit => Action::Prohibit,
            RouteKind::Blackhole => Action::Blackhole,
        })
    }

    /// The link on which an address is a neighbor, if it is one.
    pub(super) fn neighbor_on(&self, via: IpAddr) -> Option<LinkId> {
        let (id, _) = (self.lookup)(via)?;
        let shared = self.rib.shared.get(id)?;
        match (&shared.kind, via) {
            (RouteKind::Local(link), IpAddr::V4(_)) if *link != LinkId::LO => Some(*link),
            (RouteKind::Unicast(hops), _) => match hops.as_slice() {
                [hop] if hop.via.is_none() => hop.link,
                _ => None,
            },
            _ => None,
        }
    }

    fn known(&self, link: LinkId) -> Result<LinkId, BuildCause> {
        self.links.get(link).map(|l| l.id).ok_or(BuildCause::NoSuchLink)
    }

    fn hops(&mut self, hops: &[NextHop]) -> Result<Hops, BuildCause> {
        for hop in hops {
            if let (Some(via), None) = (hop.via, hop.link) {
                self.find(via);
            }
        }
        let way = self.combine(hops, None)?;
        // A route without hops can't be inserted, and a way has one at least.
        Hops::new(&way.hops).ok_or(BuildCause::TooManyHops)
    }

    /// Finds out about a gateway without a link and about all it leads through. The stack is our own:
    /// a chain of a million routes must not grow the thread's.
    fn find(&mut self, via: IpAddr) {
        let mut stack = vec![via];
        let mut open = HashSet::from([via]);
        while let Some(&via) = stack.last() {
            let next = match self.behind(via) {
                _ if self.gateways.contains_key(&via) => None,
                Ok(hops) => hops.iter().find_map(|h| match (h.via, h.link) {
                    (Some(v), None) if !self.gateways.contains_key(&v) => Some(v),
                    _ => None,
                }),
                Err(_) => None,
            };
            match next {
                Some(next) if open.insert(next) => stack.push(next),
                Some(next) => {
                    self.gateways.insert(next, Err(BuildCause::Loop(next)));
                }
                None => {
                    if !self.gateways.contains_key(&via) {
                        let way = self.way(via);
                        self.gateways.insert(via, way);
                    }
                    stack.pop();
                    open.remove(&via);
                }
            }
        }
    }

    /// What a gateway without a link comes to, once that is known for all it leads through.
    fn way(&mut self, via: IpAddr) -> Result<Way, BuildCause> {
        if let (Some(link), IpAddr::V4(_)) = (self.own(via), via) {
            // Linux takes a gateway that is the router's own IPv4 address for "on that link".
            return Ok(Way { hops: Rc::new([Hop { link, via: None, weight: 1 }]), depth: 1 });
        }
        let hops = self.behind(via)?.to_vec();
        let way = self.combine(&hops, Some(via))?;
        let depth = way.depth + 1;
        if depth > MAX_DEPTH {
            return Err(BuildCause::TooDeep(via));
        }
        Ok(Way { depth, ..way })
    }

    /// The hops of the route that leads to a gateway.
    fn behind(&self, via: IpAddr) -> Result<&'a [NextHop], BuildCause> {
        let (id, len) = (self.lookup)(via).ok_or(BuildCause::NoWay(via))?;
        let shared = self.rib.shared.get(id).ok_or(BuildCause::NoWay(via))?;
        match &shared.kind {
            RouteKind::Unicast(hops) if len == 0 && hops.iter().any(|h| h.via.is_some()) => {
                Err(BuildCause::OnlyDefault(via))
            }
            RouteKind::Unicast(hops) => Ok(hops),
            RouteKind::Local(_) if self.own(via).is_some() && via.is_ipv4() => Ok(&[]),
            RouteKind::Local(_) => Err(BuildCause::Own(via)),
            RouteKind::Anycast(_) | RouteKind::Broadcast(_) => Err(BuildCause::NotUnicast(via)),
            RouteKind::Unreachable | RouteKind::Prohibit | RouteKind::Blackhole => {
                Err(BuildCause::Rejected(via))
            }
        }
    }

    /// The link of an address of the router's own, other than the loopback's.
    fn own(&self, addr: IpAddr) -> Option<LinkId> {
        let (id, _) = (self.lookup)(addr)?;
        match self.rib.shared.get(id)?.kind {
            RouteKind::Local(link) if link != LinkId::LO => Some(link),
            _ => None,
        }
    }

    /// Puts the neighbors behind several hops together, each hop's share divided among its own.
    /// `toward` is the gateway asked for, which is the neighbor where a hop has none.
    fn combine(&mut self, hops: &[NextHop], toward: Option<IpAddr>) -> Result<Way, BuildCause> {
        let mut ways: Vec<(u64, Way)> = Vec::with_capacity(hops.len());
        for hop in hops {
            let one = |h: Hop| Way { hops: Rc::new([Hop { via: h.via.or(toward), ..h }]), depth: 0 };
            let way = match (hop.via, hop.link) {
                (None, Some(link)) => one(Hop { link: self.known(link)?, via: None, weight: 1 }),
                (Some(via), Some(link)) => one(self.on_link(via, link, hop.onlink)?),
                (Some(via), None) => match self.gateways.get(&via) {
                    Some(way) => way.clone()?.toward(toward),
                    None => return Err(BuildCause::NoWay(via)),
                },
                (None, None) => return Err(BuildCause::NoSuchLink),
            };
            ways.push((u64::from(hop.weight), way));
        }
        if ways.iter().map(|(_, w)| w.hops.len()).sum::<usize>() > MAX_HOPS {
            return Err(BuildCause::TooManyHops);
        }
        let depth = ways.iter().map(|(_, w)| w.depth).max().unwrap_or(0);
        Ok(Way { hops: divide(&ways).into(), depth })
    }

    /// A gateway with the link it is said to be on.
    fn on_link(&mut self, via: IpAddr, link: LinkId, onlink: bool) -> Result<Hop, BuildCause> {
        let known = self.known(link)?;
        let hop = Hop { link: known, via: Some(via), weight: 1 };
        if onlink || matches!(via, IpAddr::V6(v6) if is_link_local(v6)) {
            return Ok(hop);
        }
        if let Some(found) = self.on_links.get(&(via, link)) {
            return found.clone();
        }
        let found = self.check_on_link(hop, via);
        self.on_links.insert((via, link), found.clone());
        found
    }

    fn check_on_link(&self, hop: Hop, via: IpAddr) -> Result<Hop, BuildCause> {
        let shared = (self.lookup)(via).and_then(|(id, _)| self.rib.shared.get(id));
        let kind = shared.map(|s| &s.kind);
        match kind {
            Some(RouteKind::Local(link)) if *link == hop.link && via.is_ipv4() => {
                return Ok(Hop { via: None, ..hop });
            }
            Some(RouteKind::Local(_)) => return Err(BuildCause::Own(via)),
            Some(RouteKind::Anycast(_) | RouteKind::Broadcast(_)) => return Err(BuildCause::NotUnicast(via)),
            Some(RouteKind::Unicast(hops))
                if hops.iter().any(|h| h.link == Some(hop.link) && h.via.is_none()) =>
            {
                return Ok(hop);
            }
            _ => {}
        }
        // Another link's route is in the way: only those out of the link named count.
        let direct = match via {
            IpAddr::V4(v4) => self.leads_to(&self.rib.v4, &self.lengths4, v4.to_bits(), hop.link),
            IpAddr::V6(v6) => self.leads_to(&self.rib.v6, &self.lengths6, v6.to_bits(), hop.link),
        };
        if direct {
            return Ok(hop);
        }
        let name = self.links.get(hop.link).map(|l| l.name.clone()).unwrap_or_default();
        Err(BuildCause::NotOnLink(via, name))
    }

    /// Whether the longest prefix with a route out of the link has one without a gateway.
    fn leads_to<B: Address>(&self, tables: &Tables<B>, lengths: &[u8], addr: B, link: LinkId) -> bool {
        for &len in lengths {
            let ids = tables.exactly(addr.without(B::WIDTH as u8 - len), len);
            let hops = ids.filter_map(|id| self.rib.shared.get(id)).flat_map(Shared::hops);
            let mut out = hops.filter(|h| h.link == Some(link)).peekable();
            if out.peek().is_some() {
                return out.any(|h| h.via.is_none());
            }
        }
        false
    }
}

/// Weights such that each way has its share of the whole and each hop its share of its way. Where the
/// numbers grow past what fits, shares are rounded, never to nothing.
fn divide(ways: &[(u64, Way)]) -> Vec<Hop> {
    let sum = |w: &Way| w.hops.iter().map(|h| u128::from(h.weight)).sum::<u128>().max(1);
    // Weights fit 32 bits, and so do sums of 256 of them 40: twice that stays below 128.
    let common = ways.iter().map(|(_, w)| sum(w)).fold(1, |a, b| lcm(a, b).min(1 << 64));
    let exact = ways.iter().flat_map(|(share, way)| {
        let scale = u128::from(*share) * (common / sum(way)).max(1);
        way.hops.iter().map(move |h| (h, scale * u128::from(h.weight)))
    });
    let exact: Vec<(&Hop, u128)> = exact.collect();
    let divisor = exact.iter().fold(0, |d, (_, w)| gcd(d, *w)).max(1);
    let most = exact.iter().map(|(_, w)| w / divisor).max().unwrap_or(1);
    let excess = (u128::BITS - most.leading_zeros()).saturating_sub(u32::BITS);
    let weight = |w: u128| u32::try_from((w / divisor) >> excess).unwrap_or(u32::MAX).max(1);
    exact.into_iter().map(|(h, w)| Hop { weight: weight(w), ..*h }).collect()
}

fn gcd(a: u128, b: u128) -> u128 {
    if b == 0 { a } else { gcd(b, a % b) }
}

fn lcm(a: u128, b: u128) -> u128 {
    a / gcd(a, b).max(1) * b
}

#[cfg(test)]
mod tests;
