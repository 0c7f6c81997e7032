//! `ip addr add`, `replace`, `change`, `del`, `flush`.

use std::net::IpAddr;

use super::super::build::shown;
use super::super::meant::{MTU_IPV6, unfit};
use super::super::{AddrChange, Config, LinkConfig, Refusal};
use super::Draft;
use super::edits::leads_via;
use crate::control::protocol::LinkFilter;
use crate::fib::Family;
use crate::link::{Address, Links};

/// The loopback's name.
pub(super) const LO: &str = "lo";

impl Draft<'_> {
    pub(super) fn addr(&mut self, change: &AddrChange) -> Result<(), Refusal> {
        match change {
            AddrChange::Add { dev, addr, prefix_len, replace } => {
                self.add_address(dev, Address { addr: *addr, prefix_len: *prefix_len }, *replace)
            }
            AddrChange::Delete { dev, addr, prefix_len } => self.delete_address(dev, *addr, *prefix_len),
            AddrChange::Flush(filter) => self.flush_addresses(filter),
        }
    }

    fn add_address(&mut self, dev: &str, new: Address, replace: bool) -> Result<(), Refusal> {
        let Some(link) = self.links.named(dev) else { return Err(self.no_link(dev)) };
        if let Some(own) = link.addresses.iter().find(|a| a.addr == new.addr) {
            return match own.prefix_len == new.prefix_len {
                true if replace => Ok(()),
                true => Err(Refusal::of("EEXIST", format!("{dev} has {} already", new.addr))),
                false => {
                    let text = format!("{dev} has {}/{}", own.addr, own.prefix_len);
                    let text = format!("{text}, and an address can be there once: remove that first");
                    Err(Refusal::of("EEXIST", text))
                }
            };
        }
        let shown_new = format!("{}/{}", new.addr, new.prefix_len);
        let invalid = |text: String| Err(Refusal::of("EINVAL", text));
        if let Some(why) = unfit(&new) {
            return invalid(format!("{shown_new} {why}"));
        }
        if dev == LO {
            let longest = if new.addr.is_ipv4() { 32 } else { 128 };
            if new.prefix_len != longest {
                return invalid(format!("addresses on lo stand alone: write {}/{longest}", new.addr));
            }
            if is_link_local(new.addr) {
                return invalid(format!("{} is link-local, and lo is no link", new.addr));
            }
        } else if new.addr.is_ipv6() && link.mtu < MTU_IPV6 {
            return invalid(format!(
                "the MTU {} of {dev} is too small for {}: IPv6 needs {MTU_IPV6} or more",
                link.mtu, new.addr
            ));
        }
        if let Some(refusal) = self.clash(dev, &new) {
            return Err(refusal);
        }
        match self.config.links.iter_mut().find(|l| l.name == dev) {
            Some(link) => {
                // The link-local address made from the MAC stays the last, as in a file.
                let made = link.made_link_local();
                let last = link.addresses.last().copied();
                let at = link.addresses.len() - usize::from(made.is_some() && made == last);
                link.addresses.insert(at, new);
            }
            None => self.config.loopback.push(new),
        }
        self.relink()
    }

    /// What of the rest of the configuration stands against an address.
    fn clash(&self, dev: &str, new: &Address) -> Option<Refusal> {
        let Address { addr, prefix_len } = *new;
        let local = is_link_local(addr);
        let others = || self.links.iter().filter(|l| l.name != dev);
        if !local && let Some(other) = others().find(|l| l.has(addr)) {
            let text = format!("{addr} is already {}'s: an address can be there once", other.name);
            return Some(Refusal::of("EEXIST", text));
        }
        let net = new.network();
        let meets = |a: &Address| {
            let theirs = a.network();
            !is_link_local(a.addr) && (theirs.contains(&net) || net.contains(&theirs))
        };
        let on_links = others().filter(|l| l.name != LO && dev != LO && !local);
        let mut on_links = on_links.flat_map(|l| l.addresses.iter().map(move |a| (l, a)));
        if let Some((l, a)) = on_links.find(|(_, a)| meets(a)) {
            let text = format!(
                "{addr}/{prefix_len} overlaps {}'s {}/{}: a prefix can be on one link only",
                l.name, a.addr, a.prefix_len
            );
            return Some(Refusal::of("EINVAL", text));
        }
        if self.config.neighbors.iter().any(|n| n.ip == addr && (!local || n.dev == dev)) {
            return Some(Refusal::of("EINVAL", format!("{addr} is a static neighbor: delete that first")));
        }
        let brd = new.broadcast().map(IpAddr::V4);
        let hop = |route: &super::super::RouteConfig| {
            leads_via(route, addr) && !local || brd.is_some_and(|brd| leads_via(route, brd))
        };
        let route = self.config.own_routes().find(|r| hop(r))?;
        let text = format!(
            "{addr}/{prefix_len} takes the next hop of the route to {}: change that first",
            shown(route.to)
        );
        Some(Refusal::of("EINVAL", text))
    }

    fn delete_address(&mut self, dev: &str, addr: IpAddr, prefix_len: Option<u8>) -> Result<(), Refusal> {
        let Some(link) = self.links.named(dev) else { return Err(self.no_link(dev)) };
        let is = |a: &Address| a.addr == addr && prefix_len.is_none_or(|len| len == a.prefix_len);
        let Some(found) = link.addresses.iter().copied().find(is) else {
            let text = format!("{dev} has no address {addr}");
            let text = match (prefix_len, link.addresses.iter().find(|a| a.addr == addr)) {
                (Some(len), Some(a)) => format!("{text}/{len}: it is {addr}/{}", a.prefix_len),
                (Some(len), None) => format!("{text}/{len}"),
                (None, _) => text,
            };
            return Err(Refusal::of("EADDRNOTAVAIL", text));
        };
        if dev == LO && addr.is_loopback() {
            return Err(Refusal::of("EOPNOTSUPP", format!("{addr} is always there on lo")));
        }
        self.without_addresses(|name, a| name == dev && *a == found)
    }

    fn flush_addresses(&mut self, filter: &LinkFilter) -> Result<(), Refusal> {
        if let Some(dev) = &filter.dev
            && self.links.named(dev).is_none()
        {
            return Err(self.no_link(dev));
        }
        let up = |name: &str| self.links.named(name).is_some_and(|l| l.up);
        let chosen = |name: &str, a: &Address| {
            filter.dev.as_ref().is_none_or(|dev| dev == name)
                && (!filter.up || up(name))
                && filter.chooses(a.addr)
        };
        let all = self.links.iter().flat_map(|l| l.addresses.iter().map(move |a| (l.name.clone(), *a)));
        let go: std::collections::HashSet<_> = all.filter(|(name, a)| chosen(name, a)).collect();
        self.without_addresses(|name, a| go.contains(&(name.to_owned(), *a)))
    }

    /// Takes addresses away, and with them what they carried.
    fn without_addresses(&mut self, which: impl Fn(&str, &Address) -> bool) -> Result<(), Refusal> {
        self.config.loopback.retain(|a| !which(LO, a));
        for link in &mut self.config.links {
            let name = link.name.clone();
            link.addresses.retain(|a| !which(&name, a));
        }
        let before = self.links.clone();
        self.relink()?;
        let bare = self.bare(&before);
        self.prune(&before, |family, hop| {
            family == Family::V4 && hop.link.is_some_and(|l| bare.contains(&l))
        });
        Ok(())
    }

    /// The links that have lost their last IPv4 address: IPv4 is off there, and no route leads out (`fib_disable_ip`).
    fn bare(&self, before: &Links) -> Vec<crate::base::LinkId> {
        let v4 = |l: &crate::link::Link| l.addresses.iter().any(|a| a.addr.is_ipv4());
        let had = before.iter().filter(|l| v4(l));
        had.filter(|l| self.links.get(l.id).is_some_and(|now| !v4(now))).map(|l| l.id).collect()
    }
}

/// The link-local address that a link gets by itself: none if one is there.
pub(super) fn link_local(link: &LinkConfig) -> Option<Address> {
    let listed = link.addresses.iter().any(|a| is_link_local(a.addr));
    link.made_link_local().filter(|_| !listed)
}

fn is_link_local(addr: IpAddr) -> bool {
    matches!(addr, IpAddr::V6(v6) if v6.is_unicast_link_local())
}

impl Config {
    /// Which link has an address; link-local ones are no single link's.
    pub(super) fn owner(&self, addr: IpAddr) -> Option<&str> {
        if addr.is_loopback() || self.loopback.iter().any(|a| a.addr == addr) {
            return Some(LO);
        }
        self.links.iter().find(|l| l.addresses.iter().any(|a| a.addr == addr)).map(|l| l.name.as_str())
    }
}
