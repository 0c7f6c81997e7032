//! What becomes of the configuration's own routes when the table of routes changes.
//!
//! Routes out of route files are in the table only. One of those that changes takes them all into the configuration: then
//! the files no longer say what is, and the table does.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use super::super::taken::Taken;
use super::super::{Config, HopConfig, RouteConfig, RouteType};
use crate::fib::{Family, NextHop, Protocol, Rib, Route, RouteKind, Table};
use crate::link::Links;

/// By their prefixes and metrics: what became of the routes that were touched.
#[derive(Debug, Clone, Default)]
pub(super) struct Edits {
    by_key: HashMap<Key, Edit>,
    /// The keys as they came.
    order: Vec<Key>,
    /// The next hops of those that came, and where they led then.
    gateways: HashMap<IpAddr, Vec<IpNet>>,
}

/// What tells routes apart: prefix, metric, and the link of those that pass for ones that follow from addresses.
type Key = (IpNet, u32, Option<String>);

#[derive(Debug, Clone)]
struct Edit {
    now: Option<RouteConfig>,
    /// There was one in the beginning.
    before: bool,
}

impl Edits {
    /// There is a route more.
    pub(super) fn added(&mut self, route: &Route, links: &Links) {
        let own = own(route, links);
        for via in own.hops.iter().filter_map(|h| h.via) {
            self.gateways.entry(via).or_default().push(own.to);
        }
        let key = key(&own);
        match self.by_key.get_mut(&key) {
            Some(edit) => edit.now = Some(own),
            None => self.touch(key, Edit { now: Some(own), before: false }),
        }
    }

    /// Where routes that came led by way of a next hop; some may have gone since.
    pub(super) fn led_to(&self, via: IpAddr) -> &[IpNet] {
        self.gateways.get(&via).map_or(&[], Vec::as_slice)
    }

    /// Where the routes that were touched lead.
    pub(super) fn prefixes(&self) -> impl Iterator<Item = IpNet> + '_ {
        self.order.iter().map(|(net, ..)| *net)
    }

    /// There is a route less.
    pub(super) fn removed(&mut self, route: &Route, links: &Links) {
        let key = key(&own(route, links));
        match self.by_key.get_mut(&key) {
            Some(edit) => edit.now = None,
            None => self.touch(key, Edit { now: None, before: true }),
        }
    }

    /// A route of the links there were is another one now, or none.
    pub(super) fn replaced(&mut self, old: &Route, before: &Links, new: Option<&Route>, links: &Links) {
        self.removed(old, before);
        if let Some(new) = new {
            self.added(new, links);
        }
    }

    fn touch(&mut self, key: Key, edit: Edit) {
        self.order.push(key.clone());
        self.by_key.insert(key, edit);
    }

    /// Writes all of it into the configuration, the table being as it is in the end.
    pub(super) fn write(mut self, config: &mut Config, rib: &Arc<Rib>, links: &Links) {
        if self.by_key.is_empty() {
            return;
        }
        let mut routes = Vec::new();
        // As long as files have the others, a list of the rest is the shorter one to print.
        let many = config.route_files.is_empty() && config.routes.len() + self.order.len() > MAX_LISTED;
        let mut taken = config.taken.is_some() || many;
        if !taken {
            routes.reserve(config.routes.len() + 1);
            for route in config.routes.iter() {
                match self.by_key.get_mut(&key(route)) {
                    None => routes.push(route.clone()),
                    Some(edit) => {
                        edit.before = false;
                        routes.extend(edit.now.take().map(|now| RouteConfig { line: route.line, ..now }));
                    }
                }
            }
            // One that was there and not here was a file's.
            taken = self.by_key.values().any(|edit| edit.before);
        }
        if taken {
            config.route_files.clear();
            config.taken = Some(Taken::of(rib, links));
            routes = Vec::new();
        } else {
            let mut rest = |key: &Key| self.by_key.get_mut(key).and_then(|edit| edit.now.take());
            routes.extend(self.order.iter().filter_map(&mut rest));
        }
        config.routes = Arc::new(routes);
    }
}

/// More routes than this are not listed one by one: a list is copied with each change.
const MAX_LISTED: usize = if cfg!(test) { 40 } else { 16_384 };

impl Config {
    /// Says of own routes by which links their next hops are reached, where the table has found out.
    pub(in crate::config) fn pin(&mut self, rib: &Rib, links: &Links) {
        let open = |r: &RouteConfig| r.hops.iter().any(|h| h.dev.is_none());
        if !self.routes.iter().any(open) {
            return;
        }
        for route in Arc::make_mut(&mut self.routes).iter_mut().filter(|r| open(r)) {
            let metric = metric(route);
            let is = |r: &Route| r.table() == Table::Main && (r.metric, r.protocol) == (metric, route.proto);
            if let Some(found) = rib.find(route.to, is) {
                route.hops = found.hops().iter().map(|h| hop(h, links)).collect();
            }
        }
    }
}

/// A route as the configuration has it.
fn own(route: &Route, links: &Links) -> RouteConfig {
    with_hops(route, route.hops().iter().map(|h| hop(h, links)).collect())
}

pub(in crate::config) fn with_hops(route: &Route, hops: Arc<[HopConfig]>) -> RouteConfig {
    let kind = match route.kind {
        RouteKind::Unreachable => RouteType::Unreachable,
        RouteKind::Prohibit => RouteType::Prohibit,
        RouteKind::Blackhole => RouteType::Blackhole,
        // Routes of table local follow from addresses and don't come here.
        _ => RouteType::Unicast,
    };
    RouteConfig {
        line: 0,
        to: route.prefix,
        kind,
        hops,
        metric: Some(route.metric).filter(|m| *m != route.family().default_metric()),
        src: route.src,
        proto: route.protocol,
        metrics: route.metrics,
    }
}

pub(in crate::config) fn hop(hop: &NextHop, links: &Links) -> HopConfig {
    HopConfig {
        via: hop.via,
        dev: hop.link.and_then(|id| links.get(id)).map(|l| l.name.clone()),
        weight: hop.weight,
        onlink: hop.onlink,
    }
}

fn metric(route: &RouteConfig) -> u32 {
    route.metric.unwrap_or_else(|| Family::of(route.to).default_metric())
}

fn key(route: &RouteConfig) -> Key {
    let tag = match &*route.hops {
        [HopConfig { via: None, dev, .. }] if route.proto == Protocol::Kernel => dev.clone(),
        _ => None,
    };
    (route.to, metric(route), tag)
}
