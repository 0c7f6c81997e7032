//! `ip route add`, `append`, `replace`, `change`, `del`, `flush`.

use std::net::IpAddr;
use std::sync::Arc;

use super::super::build::{culprit, shown};
use super::super::meant::unfit_hop;
use super::super::{Refusal, RouteChange, RouteOp};
use super::{Draft, oneline};
use crate::base::LinkId;
use crate::control::protocol::{self, RouteFilter};
use crate::fib::{
    self, BuildCause, Family, Protocol, Rib, Route, RouteError, RouteKind, Table, TextError, parse_line,
    parse_pattern,
};

impl Draft<'_> {
    pub(super) fn route(&mut self, change: &RouteChange) -> Result<(), Refusal> {
        self.settle()?;
        self.routed = true;
        self.leans = None;
        match change {
            RouteChange::One { action: RouteOp::Delete, route } => self.delete_route(route),
            RouteChange::One { action, route } => self.put_route(*action, route),
            RouteChange::Flush(filter) => self.flush_routes(filter),
        }
    }

    fn put_route(&mut self, op: RouteOp, text: &str) -> Result<(), Refusal> {
        let route = parse_line(text, &self.links).map_err(|e| misread(&e))?;
        let mut route = route.ok_or_else(|| misread(&TextError::NoPrefix))?;
        if route.protocol == Protocol::Kernel {
            let text = "routes of protocol kernel follow from addresses: leave it out, or write another";
            return Err(Refusal::of("EINVAL", text));
        }
        self.fit_hops(&route)?;
        self.rib.settle_one(&mut route, &self.links);
        self.rib.judge(&route, &self.links).map_err(|cause| refused(&route, &cause))?;
        let rival = self.rib.find(route.prefix, |r| r.table() == Table::Main && r.metric == route.metric);
        let made = self.made();
        let rib = Arc::make_mut(&mut self.rib);
        match (op, rival) {
            (RouteOp::Change, None) => {
                let text =
                    format!("there is no route to {} with metric {}", shown(route.prefix), route.metric);
                return Err(Refusal::of("ENOENT", format!("{text}: add it, or replace what may be there")));
            }
            (RouteOp::Replace | RouteOp::Change, Some(old)) => {
                if connected(&old, &made) {
                    return Err(from_address(&old));
                }
                rib.replace(route.clone()).map_err(|e| in_the_way(&e))?;
                self.edits.replaced(&old, &self.links, Some(&route), &self.links);
                return Ok(());
            }
            (RouteOp::Append, Some(old)) if old.family() == Family::V6 => {
                return self.append_hops(&old, &route);
            }
            (RouteOp::Append, Some(_)) => {
                let text = "an IPv4 route can't stand behind another one with its metric";
                return Err(Refusal::of(
                    "EOPNOTSUPP",
                    format!("{text}: give another metric, or nexthop for each way"),
                ));
            }
            (RouteOp::Add | RouteOp::Append | RouteOp::Replace | RouteOp::Delete, _) => {
                rib.insert(route.clone()).map_err(|e| in_the_way(&e))?;
            }
        }
        self.edits.added(&route, &self.links);
        Ok(())
    }

    /// IPv6 routes with one prefix and metric are the ways of one (`fib6_add_rt2node`).
    fn append_hops(&mut self, old: &Route, more: &Route) -> Result<(), Refusal> {
        let (RouteKind::Unicast(hops), RouteKind::Unicast(new)) = (&old.kind, &more.kind) else {
            return Err(in_the_way(&RouteError::Exists(old.prefix, old.metric)));
        };
        let known = |n: &fib::NextHop| hops.iter().any(|h| (h.via, h.link) == (n.via, n.link));
        if old.protocol == Protocol::Kernel || new.iter().any(known) {
            return Err(in_the_way(&RouteError::Exists(old.prefix, old.metric)));
        }
        if !more.metrics.is_empty() && more.metrics != old.metrics {
            return Err(Refusal::of(
                "EOPNOTSUPP",
                format!(
                    "all ways of the route to {} share one mtu and advmss: leave them out, or change the route first",
                    shown(old.prefix)
                ),
            ));
        }
        let kind = RouteKind::Unicast(hops.iter().chain(new).copied().collect());
        let route = Route { kind, ..old.clone() };
        self.rib.judge(&route, &self.links).map_err(|cause| refused(&route, &cause))?;
        Arc::make_mut(&mut self.rib).replace(route.clone()).map_err(|e| in_the_way(&e))?;
        self.edits.replaced(old, &self.links, Some(&route), &self.links);
        Ok(())
    }

    /// What the checks of a file say of next hops, and the table does not.
    fn fit_hops(&self, route: &Route) -> Result<(), Refusal> {
        for hop in route.hops() {
            if hop.link == Some(LinkId::LO) {
                let text = "lo leads nowhere: a route of type blackhole drops packets";
                return Err(Refusal::of("EINVAL", text));
            }
            let Some(via) = hop.via else { continue };
            let name = hop.link.and_then(|id| self.links.get(id)).map(|l| l.name.as_str());
            let dev = name.and_then(|name| self.config.links.iter().find(|l| l.name == name));
            if let Some(why) = unfit_hop(via, dev, &self.config) {
                let text = format!("the route to {} can't go via {via}: {via} {why}", shown(route.prefix));
                return Err(Refusal::of(no_way(via), text));
            }
        }
        Ok(())
    }

    fn delete_route(&mut self, text: &str) -> Result<(), Refusal> {
        let pattern = parse_pattern(text, &self.links).map_err(|e| misread(&e))?;
        let made = self.made();
        let fits = |r: &Route| r.table() == Table::Main && pattern.fits(r);
        let found = self.rib.find(pattern.prefix, |r| fits(r) && !connected(r, &made));
        let Some(old) = found else {
            return Err(match self.rib.find(pattern.prefix, fits) {
                Some(made) => from_address(&made),
                None => Refusal::of("ESRCH", format!("there is no such route to {}", shown(pattern.prefix))),
            });
        };
        // Of several IPv6 ways the one that was named goes (`ip6_route_del`).
        let left = match (pattern.hops.as_slice(), old.hops()) {
            ([one], hops @ [_, _, ..]) if old.family() == Family::V6 => {
                let gone = hops.iter().position(|h| pattern.is_hop(one, h));
                let left = hops.iter().enumerate().filter(|(i, _)| Some(*i) != gone);
                Some(Route { kind: RouteKind::Unicast(left.map(|(_, h)| *h).collect()), ..old.clone() })
            }
            _ => None,
        };
        let rib = Arc::make_mut(&mut self.rib);
        let gone = rib.remove(old.prefix, |r| *r == old).map_err(|e| in_the_way(&e))?;
        if let Some(left) = &left {
            rib.insert(left.clone()).map_err(|e| in_the_way(&e))?;
        }
        self.edits.replaced(&gone, &self.links, left.as_ref(), &self.links);
        Ok(())
    }

    fn flush_routes(&mut self, filter: &RouteFilter) -> Result<(), Refusal> {
        filter.check()?;
        if let Some(dev) = filter.dev.as_deref().filter(|dev| self.links.named(dev).is_none()) {
            return Err(self.no_link(dev));
        }
        let made = self.made();
        let tables: &[Table] = match filter.table {
            protocol::Table::Main => &[Table::Main],
            protocol::Table::Local => &[Table::Local],
            protocol::Table::All => &[Table::Main, Table::Local],
        };
        let families = match filter.family {
            Some(protocol::Family::Inet) => &[Family::V4][..],
            Some(protocol::Family::Inet6) => &[Family::V6],
            None => &[Family::V4, Family::V6],
        };
        let name = |id| self.links.get(id).map(|l| l.name.as_str());
        let listed = families.iter().flat_map(|f| tables.iter().map(move |t| (*f, *t)));
        let all = listed.flat_map(|(family, table)| self.rib.show(family, table));
        let (stay, go): (Vec<_>, Vec<_>) =
            all.filter(|r| filter.chooses(r, name)).partition(|r| connected(r, &made));
        if let Some(first) = stay.first() {
            let (n, first) = (stay.len(), oneline(first, &self.links));
            self.notes.push(format!(
                "{n} of the routes follow from addresses of links and stay, such as {first}: remove the addresses"
            ));
        }
        if go.is_empty() {
            return Ok(());
        }
        let rib = Arc::make_mut(&mut self.rib);
        for route in go {
            // It was listed just now.
            if rib.remove(route.prefix, |r| *r == route).is_ok() {
                self.edits.removed(&route, &self.links);
            }
        }
        Ok(())
    }
}

/// Whether a route follows from an address.
fn connected(route: &Route, made: &Rib) -> bool {
    route.protocol == Protocol::Kernel && made.find(route.prefix, |r| r == route).is_some()
}

fn from_address(route: &Route) -> Refusal {
    let to = shown(route.prefix);
    Refusal::of(
        "EOPNOTSUPP",
        format!("the route to {to} follows from an address of a link: remove the address"),
    )
}

/// Words that make no route.
fn misread(e: &TextError) -> Refusal {
    let errno = match e {
        TextError::Link(..) | TextError::Route(RouteError::NoWayOut(_)) => "ENODEV",
        _ => "EINVAL",
    };
    Refusal::of(errno, e.to_string())
}

fn in_the_way(e: &RouteError) -> Refusal {
    let errno = match e {
        RouteError::Exists(..) => "EEXIST",
        RouteError::NotFound(_) => "ESRCH",
        RouteError::Full => "ENFILE",
        _ => "EINVAL",
    };
    Refusal::of(errno, e.to_string())
}

/// Why the kernel would not have taken it either.
fn refused(route: &Route, cause: &BuildCause) -> Refusal {
    let errno = match cause {
        BuildCause::NoSuchLink => "ENODEV",
        BuildCause::NotOurs(_) => "EINVAL",
        other => culprit(other).map_or("EINVAL", no_way),
    };
    Refusal::of(errno, format!("the route to {} {cause}", shown(route.prefix)))
}

/// The error of a gateway that can't be reached (`fib_check_nh`, `ip6_route_check_nh`).
fn no_way(via: IpAddr) -> &'static str {
    if via.is_ipv4() { "ENETUNREACH" } else { "EHOSTUNREACH" }
}
