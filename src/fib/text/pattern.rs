//! What of a route to remove is said: every word that is there has to fit, and what is not said may be anything
//! (`fib_table_delete`, `ip6_route_del`).

use std::mem::discriminant;
use std::net::IpAddr;

use ipnet::IpNet;

use super::{Parser, Route, TextError};
use crate::fib::{NextHop, Protocol, RouteKind};
use crate::link::Links;

/// Words that a route may fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    /// The destination.
    pub prefix: IpNet,
    /// The type, if one was said; of a unicast one the hops stand for nothing.
    pub kind: Option<RouteKind>,
    /// The hops that were said: none, the first, or all.
    pub hops: Vec<NextHop>,
    /// The metric; `None`: any, as also what 0 says.
    pub metric: Option<u32>,
    /// The preferred source.
    pub src: Option<IpAddr>,
    /// Who made it.
    pub protocol: Option<Protocol>,
    /// The MTU and the largest segment, as they were said.
    pub sizes: [Option<u32>; 2],
    /// Which of the two are locked, if one was said to be.
    pub locks: Option<[bool; 2]>,
}

/// Reads the words of `ip route del`.
///
/// # Errors
/// As [`parse_line`](super::parse_line); there has to be a destination.
pub fn parse_pattern(line: &str, links: &Links) -> Result<Pattern, TextError> {
    let (prefix, said) = Parser::new(links).words(line)?.ok_or(TextError::NoPrefix)?;
    let hops = match said.hops.as_slice() {
        [] if said.hop.is_empty() => Vec::new(),
        [] => vec![said.hop.next_hop()],
        _ if !said.hop.is_empty() => return Err(TextError::Mixed),
        several => several.iter().map(|h| h.next_hop()).collect(),
    };
    let prefix = prefix.unwrap_or_else(|| super::default_of(said.family()));
    if prefix != prefix.trunc() {
        return Err(super::RouteError::HostBits(prefix).into());
    }
    let metric = said.metric.filter(|m| *m != 0);
    let sizes = [said.mtu, said.advmss];
    let locks =
        Some(sizes.map(|size| size.is_some_and(|size| size.lock))).filter(|locks| locks.contains(&true));
    Ok(Pattern {
        prefix,
        kind: said.kind,
        hops,
        metric,
        src: said.src,
        protocol: said.protocol,
        sizes: sizes.map(|size| size.map(|size| size.bytes)),
        locks,
    })
}

impl Pattern {
    /// Whether a hop is what was said of one.
    pub fn is_hop(&self, said: &NextHop, hop: &NextHop) -> bool {
        said.via.is_none_or(|via| hop.via == Some(via)) && said.link.is_none_or(|link| hop.link == Some(link))
    }

    /// Whether a route is what was said.
    pub fn fits(&self, route: &Route) -> bool {
        let hops = route.hops();
        let way = match self.hops.as_slice() {
            [] => true,
            // Each way of an IPv6 route is a route by itself to the kernel.
            [one] if self.prefix.addr().is_ipv6() => hops.iter().any(|hop| self.is_hop(one, hop)),
            [one] => hops.first().is_some_and(|hop| self.is_hop(one, hop)),
            all => {
                let same =
                    |(said, hop): (&NextHop, &NextHop)| self.is_hop(said, hop) && said.weight == hop.weight;
                all.len() == hops.len() && all.iter().zip(hops).all(same)
            }
        };
        self.prefix == route.prefix
            && self.kind.as_ref().is_none_or(|kind| discriminant(kind) == discriminant(&route.kind))
            && way
            && self.metric.is_none_or(|metric| metric == route.metric)
            && self.src.is_none_or(|src| route.src == Some(src))
            && self.protocol.is_none_or(|protocol| route.protocol == protocol)
            && (self.prefix.addr().is_ipv6() || self.fits_metrics(route))
    }

    /// What was said of sizes, which the kernel asks of IPv4 only (`fib_metrics_match`).
    fn fits_metrics(&self, route: &Route) -> bool {
        let m = route.metrics;
        let has = [u32::from(m.mtu), u32::from(m.advmss)];
        self.sizes.iter().zip(has).all(|(said, has)| said.is_none_or(|said| said == has))
            && self.locks.is_none_or(|locks| locks == [m.mtu_lock, m.advmss_lock])
    }
}
