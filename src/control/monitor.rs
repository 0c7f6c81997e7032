//! `ip monitor`: what changes about links, addresses, routes and neighbors, told as it happens.
//!
//! Whoever changes the router writes into a [`Hub`]; what becomes of neighbors stands in a journal of their own. A
//! [`Watch`] reads both. Nothing is written while nobody watches, and who is too slow is told how much was lost.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::answer::no_link;
use super::protocol::{Monitor, Watched};
use super::server::{Fed, Feed};
use super::shown;
use super::view::{self, Event, Happening};
use crate::base::counters::LinkTotals;
use crate::base::{Follower, Instant, Journal, LinkId};
use crate::config::{Refusal, Setup};
use crate::fib::{Rib, Route};
use crate::link::{Address, Link, Links};
use crate::neighbor::{Change, DadState};
use crate::router::Router;

/// Changes kept for those who watch.
const KEPT: usize = 32_768;

/// Events told at once.
const PART: usize = 512;

/// How long nothing may happen before that is said.
const QUIET: Duration = Duration::from_secs(3);

/// Whether what is asked for can be followed here.
///
/// # Errors
/// There is no such link.
pub fn check(asked: &Monitor, links: &Links) -> Result<(), Refusal> {
    match asked.dev.as_deref().filter(|dev| links.named(dev).is_none()) {
        Some(dev) => Err(Refusal::of("ENODEV", no_link(links, dev))),
        None => Ok(()),
    }
}

/// Where changes of links, addresses and routes are written down.
#[derive(Debug, Clone)]
pub struct Hub(Arc<Journal<Entry>>);

#[derive(Debug, Clone)]
struct Entry {
    at: Instant,
    deleted: bool,
    what: Happening,
}

impl Default for Hub {
    fn default() -> Self {
        Hub(Arc::new(Journal::new(KEPT)))
    }
}

impl Hub {
    /// A setup has taken the place of another. `up` says which links are.
    pub fn changed(&self, before: &Setup, after: &Setup, up: &dyn Fn(LinkId) -> bool, now: Instant) {
        if !self.0.is_followed() {
            return;
        }
        let writer = Writer { hub: self, now };
        let names = |links: &Links| {
            let links = links.clone();
            move |id: LinkId| links.get(id).map(|l| (l.name.clone(), up(id)))
        };
        let (was, is) = (names(&before.links), names(&after.links));
        for link in after.links.iter() {
            let old = before.links.named(&link.name);
            if old.is_none_or(|old| !same_link(old, link)) {
                writer.link(false, link, up(link.id));
            }
        }
        for (link, secondary, address) in without(&before.links, &after.links) {
            writer.address(true, link, secondary, address);
        }
        let mut come = Vec::new();
        let mut each = |old: Option<Route>, new: Option<Route>| match (old, new) {
            (Some(old), None) => writer.write(true, Happening::Route(shown::route(&old, &was))),
            (_, Some(new)) => come.push(new),
            (None, None) => {}
        };
        if !Arc::ptr_eq(&before.rib, &after.rib) {
            Rib::differences(&before.rib, &after.rib, &mut each);
        }
        for (link, secondary, address) in without(&after.links, &before.links) {
            writer.address(false, link, secondary, address);
        }
        for route in come {
            writer.write(false, Happening::Route(shown::route(&route, &is)));
        }
        for link in before.links.iter().filter(|l| after.links.named(&l.name).is_none()) {
            writer.link(true, link, false);
        }
    }

    /// A link went up or down by itself.
    pub fn link(&self, link: &Link, up: bool, now: Instant) {
        // One that was set down has been told of.
        if link.up && self.0.is_followed() {
            Writer { hub: self, now }.link(false, link, up);
        }
    }
}

/// Whether a link is what it was, its addresses aside.
fn same_link(a: &Link, b: &Link) -> bool {
    (a.id, a.kind, a.mac, a.mtu, a.up) == (b.id, b.kind, b.mac, b.mtu, b.up)
}

/// The addresses of links that the links of the same names in `others` do not have, and whether each is secondary.
fn without<'a>(links: &'a Links, others: &'a Links) -> impl Iterator<Item = (&'a Link, bool, &'a Address)> {
    links.iter().flat_map(|l| {
        let theirs: HashSet<&Address> =
            others.named(&l.name).into_iter().flat_map(|other| &other.addresses).collect();
        let mine = l.addresses.iter().zip(l.primaries());
        mine.filter(move |(a, _)| !theirs.contains(a)).map(move |(a, primary)| (l, primary.is_some(), a))
    })
}

struct Writer<'a> {
    hub: &'a Hub,
    now: Instant,
}

impl Writer<'_> {
    fn write(&self, deleted: bool, what: Happening) {
        self.hub.0.push(Entry { at: self.now, deleted, what });
    }

    fn link(&self, deleted: bool, link: &Link, up: bool) {
        let view = shown::link(link, up, &LinkTotals::default(), None);
        self.write(
            deleted,
            Happening::Link(view::Link { linkmode: None, linkinfo: None, stats64: None, ..view }),
        );
    }

    fn address(&self, deleted: bool, link: &Link, secondary: bool, a: &Address) {
        // One that comes is checked first, where that is done.
        let checked = a.addr.is_ipv6() && link.is_ethernet() && !deleted;
        let state = if checked { DadState::Tentative } else { DadState::Valid };
        self.write(deleted, of_address(link, secondary, a, state));
    }
}

fn of_address(link: &Link, secondary: bool, a: &Address, state: DadState) -> Happening {
    let addr_info = Some(vec![shown::address(link, secondary, a, state)]);
    let ifindex = u32::from(link.id.0) + 1;
    Happening::Address(view::Link { ifindex, ifname: link.name.clone(), addr_info, ..view::Link::default() })
}

/// Somebody who watches.
pub struct Watch {
    objects: HashSet<Watched>,
    asked: Monitor,
    changes: Option<Follower<Entry>>,
    neighbors: Option<Follower<Change>>,
    router: Router,
    /// The addresses that were being checked for duplicates when somebody last looked.
    checked: HashSet<(LinkId, Ipv6Addr)>,
    /// The time at [`Instant::ZERO`].
    zero: Duration,
    /// When something was last said.
    said: Instant,
}

impl Watch {
    /// Watches from now on.
    pub fn new(asked: Monitor, hub: &Hub, router: Router, now: Instant) -> Self {
        let all = [Watched::Link, Watched::Address, Watched::Route, Watched::Neigh];
        let objects: HashSet<_> = match asked.objects.is_empty() {
            true => all.into_iter().collect(),
            false => asked.objects.iter().copied().collect(),
        };
        let tables = objects.iter().any(|o| *o != Watched::Neigh);
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let mut watch = Watch {
            checked: HashSet::new(),
            changes: tables.then(|| hub.0.follow()),
            neighbors: objects.contains(&Watched::Neigh).then(|| router.live().neighbors.follow()),
            objects,
            asked,
            router,
            zero: wall.saturating_sub(now.since(Instant::ZERO)),
            said: now,
        };
        watch.found_out(now);
        watch
    }

    /// What has been found out about addresses that were being checked: each is told of as it is now.
    fn found_out(&mut self, now: Instant) -> Vec<Event> {
        let router = self.router.clone();
        let dad = &router.live().dad;
        if !self.objects.contains(&Watched::Address) || self.checked.is_empty() && dad.all_valid() {
            return Vec::new();
        }
        let (checked, settled): (Vec<_>, Vec<_>) =
            dad.addresses().into_iter().partition(|(.., state)| *state == DadState::Tentative);
        let before = std::mem::take(&mut self.checked);
        self.checked = checked.into_iter().map(|(link, addr, _)| (link, addr)).collect();
        let snapshot = router.snapshot();
        let news = settled.into_iter().filter(|(link, addr, _)| before.contains(&(*link, *addr)));
        let news = news.filter_map(|(id, addr, state)| {
            let link = snapshot.links.get(id)?;
            let a = link.addresses.iter().find(|a| a.addr == addr)?;
            Some(self.event(now, false, of_address(link, false, a, state)))
        });
        news.collect()
    }

    fn event(&self, at: Instant, deleted: bool, what: Happening) -> Event {
        let time = self.zero + at.since(Instant::ZERO);
        Event { time: u64::try_from(time.as_micros()).unwrap_or(u64::MAX), deleted, what }
    }

    /// Whether somebody wants to hear of it.
    fn wanted(&self, what: &Happening) -> bool {
        let dev = |name: Option<&str>| self.asked.dev.is_none() || self.asked.dev.as_deref() == name;
        let family = |name: &str| {
            let wanted = self.asked.family.map(|f| match f {
                super::protocol::Family::Inet => "inet",
                super::protocol::Family::Inet6 => "inet6",
            });
            wanted.is_none_or(|w| w == name)
        };
        match what {
            Happening::Link(l) => self.objects.contains(&Watched::Link) && dev(Some(&l.ifname)),
            Happening::Address(l) => {
                let of = l.addr_info.iter().flatten().any(|a| family(&a.family));
                self.objects.contains(&Watched::Address) && dev(Some(&l.ifname)) && of
            }
            Happening::Route(r) => {
                let hops = r.nexthops.iter().any(|h| dev(h.dev.as_deref()));
                // Only IPv6 routes have a preference.
                let of = if r.pref.is_some() { "inet6" } else { "inet" };
                self.objects.contains(&Watched::Route) && (dev(r.dev.as_deref()) || hops) && family(of)
            }
            Happening::Neigh(n) => {
                let v4 = n.dst.parse().is_ok_and(|ip: IpAddr| ip.is_ipv4());
                dev(n.dev.as_deref()) && family(if v4 { "inet" } else { "inet6" })
            }
            Happening::Lost { .. } => true,
        }
    }
}

impl Feed for Watch {
    fn poll(&mut self, now: Instant) -> Fed {
        let (changes, lost) = self.changes.as_mut().map(|f| f.read(PART)).unwrap_or_default();
        let (neighbors, more) = self.neighbors.as_mut().map(|f| f.read(PART)).unwrap_or_default();
        let mut events: Vec<Event> =
            changes.into_iter().map(|e| self.event(e.at, e.deleted, e.what)).collect();
        let snapshot = self.router.snapshot();
        for n in neighbors {
            let dev = snapshot.links.get(n.link).map(|l| l.name.clone());
            let view = shown::neighbor(n.ip, dev, n.mac, n.router, n.state);
            events.push(self.event(n.at, n.gone, Happening::Neigh(view)));
        }
        events.extend(self.found_out(now));
        // Each journal is in order, and the sort keeps that.
        events.sort_by_key(|e| e.time);
        events.retain(|e| self.wanted(&e.what));
        if lost + more > 0 {
            events.insert(0, self.event(now, false, Happening::Lost { events: lost + more }));
        }
        if events.is_empty() && now < self.said + QUIET {
            return Fed::Nothing;
        }
        self.said = now;
        match serde_json::to_value(events) {
            Ok(events) => Fed::Part(events),
            Err(_) => Fed::Nothing,
        }
    }
}

#[cfg(test)]
mod tests;
