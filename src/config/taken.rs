//! A configuration's own routes where they are too many to be listed: those of a table.
//!
//! Tables share what is the same in them, lists don't. Knows nothing of how a table came about.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use super::apply::{hop, with_hops};
use super::{Config, HopConfig, RouteConfig};
use crate::fib::{Family, NextHop, Protocol, Rib, Route, Table};
use crate::link::Links;

/// The routes of a table but those that follow from addresses.
#[derive(Debug, Clone)]
pub(super) struct Taken {
    rib: Arc<Rib>,
    /// The links it speaks of.
    links: Arc<Links>,
}

impl Taken {
    pub(super) fn of(rib: &Arc<Rib>, links: &Links) -> Self {
        Taken { rib: rib.clone(), links: Arc::new(links.clone()) }
    }

    fn iter(&self) -> impl Iterator<Item = RouteConfig> + '_ {
        let connected = Rib::connected(&self.links);
        let made =
            move |r: &Route| r.protocol == Protocol::Kernel && connected.find(r.prefix, |c| c == r).is_some();
        let mut shared: HashMap<Vec<NextHop>, Arc<[HopConfig]>> = HashMap::new();
        let main = [Family::V4, Family::V6].into_iter().flat_map(|f| self.rib.show(f, Table::Main));
        main.filter(move |r| !made(r)).map(move |r| {
            let hops = match shared.get(r.hops()) {
                Some(hops) => hops.clone(),
                None => {
                    let hops: Arc<[_]> = r.hops().iter().map(|h| hop(h, &self.links)).collect();
                    shared.insert(r.hops().to_vec(), hops.clone());
                    hops
                }
            };
            with_hops(&r, hops)
        })
    }
}

impl PartialEq for Taken {
    fn eq(&self, other: &Self) -> bool {
        if self.links != other.links {
            return self.iter().eq(other.iter());
        }
        let mut same = true;
        self.rib.differences(&other.rib, |_, _| same = false);
        same
    }
}

impl Eq for Taken {}

impl Config {
    /// The routes that are the configuration's own: those listed, or all that there are.
    pub(crate) fn own_routes(&self) -> impl Iterator<Item = Cow<'_, RouteConfig>> {
        let taken = self.taken.iter().flat_map(|t| t.iter().map(Cow::Owned));
        self.routes.iter().map(Cow::Borrowed).chain(taken)
    }
}
