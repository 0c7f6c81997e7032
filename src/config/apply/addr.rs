//! `ip addr add`, `replace`, `change`, `del`, `flush`.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use super::super::build::shown;
use super::super::meant::{MTU_IPV6, unfit};
use super::super::{AddrChange, LinkConfig, Refusal};
use super::owned::{Owner, is_link_local, prefix};
use super::work::pass;
use super::{Draft, Unsettled};
use crate::control::protocol::LinkFilter;
use crate::fib::{self, Family, Protocol, RouteError, Table, Users};
use crate::link::{Address, Links};

/// The loopback's name.
pub(super) const LO: &str = "lo";

/// Addresses that the loopback always has: 127.0.0.1/8 and ::1/128, the first of its list.
const ALWAYS: usize = 2;

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
        let owner = self.place(dev)?;
        let longest = if new.addr.is_ipv4() { 32 } else { 128 };
        if new.prefix_len > longest {
            let text = format!("{} is no prefix length of {}: 0 to {longest} is", new.prefix_len, new.addr);
            return Err(Refusal::of("EINVAL", text));
        }
        if let Some(len) = self.length_of(owner, new.addr) {
            return match len == new.prefix_len {
                true if replace => Ok(()),
                true => Err(Refusal::of("EEXIST", format!("{dev} has {} already", new.addr))),
                false => {
                    let text = format!("{dev} has {}/{len}", new.addr);
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
        if let Owner::Link(at) = owner {
            let mtu = self.config.links[at].mtu;
            if new.addr.is_ipv6() && mtu < MTU_IPV6 {
                return invalid(format!(
                    "the MTU {mtu} of {dev} is too small for {}: IPv6 needs {MTU_IPV6} or more",
                    new.addr
                ));
            }
        } else {
            if new.prefix_len != longest {
                return invalid(format!("addresses on lo stand alone: write {}/{longest}", new.addr));
            }
            if is_link_local(new.addr) {
                return invalid(format!("{} is link-local, and lo is no link", new.addr));
            }
        }
        if let Some(refusal) = self.clash(owner, dev, &new) {
            return Err(refusal);
        }
        match owner {
            Owner::Link(at) => {
                // The link-local address made from the MAC stays the last, as in a file.
                let link = &mut self.config.links[at];
                let made = link.made_link_local();
                let last = link.addresses.last().copied();
                let at = link.addresses.len() - usize::from(made.is_some() && made == last);
                link.addresses.insert(at, new);
            }
            Owner::Loopback => self.config.loopback.push(new),
        }
        self.owned().add(owner, &new);
        self.unsettled.get_or_insert(Unsettled::Come);
        Ok(())
    }

    /// What of the rest of the configuration stands against an address.
    fn clash(&mut self, owner: Owner, dev: &str, new: &Address) -> Option<Refusal> {
        let Address { addr, prefix_len } = *new;
        let local = is_link_local(addr);
        if !local && let Some((other, _)) = self.owned().owners(addr).first().copied() {
            let text = format!("{addr} is already {}'s: an address can be there once", self.name_of(other));
            return Some(Refusal::of("EEXIST", text));
        }
        if let Owner::Link(at) = owner
            && !local
            && let Some((other, met)) = self.owned().meets(at, new)
        {
            let theirs = self.config.links.get(other).into_iter().flat_map(|l| &l.addresses);
            let there = theirs.into_iter().find(|a| prefix(a.addr, a.prefix_len) == met);
            let there = there.map(|a| format!("{}/{}", a.addr, a.prefix_len)).unwrap_or_default();
            let name = self.name_of(Owner::Link(other));
            let text =
                format!("{addr}/{prefix_len} overlaps {name}'s {there}: a prefix can be on one link only");
            return Some(Refusal::of("EINVAL", text));
        }
        if self.neighbors.with(addr).any(|n| !local || n.dev == dev) {
            return Some(Refusal::of("EINVAL", format!("{addr} is a static neighbor: delete that first")));
        }
        let own = (!local).then_some(addr);
        let leans = self.leans();
        let named = |via: &IpAddr| leans.has_next_hop(*via);
        let taken: Vec<_> = own.into_iter().chain(new.broadcast().map(IpAddr::V4)).filter(named).collect();
        // Whose next hop it is is asked only then: that takes going over all routes.
        let gateways = if taken.is_empty() { Arc::default() } else { self.gateways() };
        let led_to = |via: IpAddr| {
            let routes = gateways.get(&via).into_iter().flatten().chain(self.edits.led_to(via));
            // Those that have gone since lead nowhere.
            let stays = |to: &IpNet| {
                self.rib.find(*to, |now| now.hops().iter().any(|h| h.via == Some(via))).is_some()
            };
            routes.copied().find(stays)
        };
        if let Some(to) = taken.into_iter().find_map(led_to) {
            let text = format!(
                "{addr}/{prefix_len} takes the next hop of the route to {}: change that first",
                shown(to)
            );
            return Some(Refusal::of("EINVAL", text));
        }
        // The route to the prefix that would follow from it.
        let net = new.network();
        let metric = fib::on_link_metric(Family::of(net));
        let rival =
            |r: &fib::Route| r.table() == Table::Main && r.metric == metric && r.protocol != Protocol::Kernel;
        let follows = matches!(owner, Owner::Link(_)) && !(addr.is_ipv4() && prefix_len == 32);
        if follows && self.rib.find(net, rival).is_some() {
            let rival = RouteError::Exists(net, metric);
            return Some(Refusal::of("EEXIST", format!("a route is in the way: {rival}")));
        }
        None
    }

    /// The next hops of the routes that the configuration had in the beginning, and where these lead.
    fn gateways(&mut self) -> Arc<HashMap<IpAddr, Vec<IpNet>>> {
        let config = &self.config;
        let all = || {
            pass();
            let mut gateways: HashMap<IpAddr, Vec<IpNet>> = HashMap::new();
            for route in config.own_routes() {
                for via in route.hops.iter().filter_map(|h| h.via) {
                    gateways.entry(via).or_default().push(route.to);
                }
            }
            Arc::new(gateways)
        };
        self.gateways.get_or_insert_with(all).clone()
    }

    /// Where the addresses of a link are.
    fn place(&self, dev: &str) -> Result<Owner, Refusal> {
        if dev == LO { Ok(Owner::Loopback) } else { self.index(dev).map(Owner::Link) }
    }

    fn name_of(&self, owner: Owner) -> &str {
        match owner {
            Owner::Loopback => LO,
            Owner::Link(at) => self.config.links.get(at).map_or("", |l| &l.name),
        }
    }

    /// The length of the prefix of an address that a link has.
    fn length_of(&mut self, owner: Owner, addr: IpAddr) -> Option<u8> {
        // What the loopback has by itself stands in no configuration.
        let always = self.links.named(LO).into_iter().flat_map(|l| &l.addresses);
        if owner == Owner::Loopback
            && let Some(found) = always.take(ALWAYS).find(|a| a.addr == addr)
        {
            return Some(found.prefix_len);
        }
        self.owned().owners(addr).iter().find(|(o, _)| *o == owner).map(|(_, len)| *len)
    }

    fn delete_address(&mut self, dev: &str, addr: IpAddr, prefix_len: Option<u8>) -> Result<(), Refusal> {
        let owner = self.place(dev)?;
        let found = self.length_of(owner, addr);
        let Some(len) = found.filter(|len| prefix_len.is_none_or(|wanted| wanted == *len)) else {
            let text = format!("{dev} has no address {addr}");
            let text = match (prefix_len, found) {
                (Some(len), Some(own)) => format!("{text}/{len}: it is {addr}/{own}"),
                (Some(len), None) => format!("{text}/{len}"),
                (None, _) => text,
            };
            return Err(Refusal::of("EADDRNOTAVAIL", text));
        };
        if owner == Owner::Loopback && addr.is_loopback() {
            return Err(Refusal::of("EOPNOTSUPP", format!("{addr} is always there on lo")));
        }
        let gone = Address { addr, prefix_len: len };
        let addresses = match owner {
            Owner::Loopback => &mut self.config.loopback,
            Owner::Link(at) => &mut self.config.links[at].addresses,
        };
        if let Some(at) = addresses.iter().position(|a| *a == gone) {
            addresses.remove(at);
        }
        self.owned().remove(owner, &gone);
        match self.is_leaned_on(owner, &gone) {
            true => self.unsettled = Some(Unsettled::Gone),
            false => drop(self.unsettled.get_or_insert(Unsettled::Come)),
        }
        Ok(())
    }

    /// Whether a route, other than those that follow from it, may have lost its way or its source with an address that has
    /// gone from the configuration just now.
    fn is_leaned_on(&mut self, owner: Owner, gone: &Address) -> bool {
        let v4 = |a: &Address| a.addr.is_ipv4();
        if let Owner::Link(at) = owner
            && v4(gone)
            && !self.config.links.get(at).is_some_and(|l| l.addresses.iter().any(v4))
        {
            return true;
        }
        let (net, leans) = (gone.network(), self.leans());
        let follows = |r: &fib::Route| {
            r.protocol == Protocol::Kernel && r.src == Some(gone.addr) && r.hops().len() == 1
        };
        leans.has_next_hop_in(net)
            || match leans.users_of(gone.addr) {
                Users::Nobody => false,
                Users::OneOfKernel => self.rib.find(net, follows).is_none(),
                Users::Others => true,
            }
    }

    fn flush_addresses(&mut self, filter: &LinkFilter) -> Result<(), Refusal> {
        filter.check()?;
        if let Some(dev) = &filter.dev
            && self.links.named(dev).is_none()
        {
            return Err(self.no_link(dev));
        }
        pass();
        self.settle()?;
        self.owned = None;
        let up = |name: &str| self.links.named(name).is_some_and(|l| l.up);
        let chosen =
            |name: &str| filter.dev.as_ref().is_none_or(|dev| dev == name) && (!filter.up || up(name));
        if chosen(LO) {
            self.config.loopback.retain(|a| !filter.chooses(a.addr));
        }
        for link in &mut self.config.links {
            if chosen(&link.name) {
                link.addresses.retain(|a| !filter.chooses(a.addr));
            }
        }
        self.unsettled = Some(Unsettled::Gone);
        Ok(())
    }

    /// The links that have lost their last IPv4 address: IPv4 is off there, and no route leads out (`fib_disable_ip`).
    pub(super) fn bare(&self, before: &Links) -> Vec<crate::base::LinkId> {
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
