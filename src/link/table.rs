//! The links of one router and their addresses; immutable once built.
//!
//! Each has a place, its id. A table that follows another keeps the places of the links that stay, so that what
//! remembers an id goes on meaning the same link; places of links that went are free for others.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use crate::base::hash::BuildQuick;
use crate::base::{LinkId, Mac};

/// One link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Its place in the table.
    pub id: LinkId,
    /// Its name in rules, routes and on the screen.
    pub name: String,
    /// What it is.
    pub kind: LinkKind,
    /// Its MAC; `None` on links without a link-layer address (tun, loopback).
    pub mac: Option<Mac>,
    /// The longest L3 packet it takes, in bytes.
    pub mtu: u32,
    /// Its addresses, in the order they were given; the IPv6 link-local one among them.
    pub addresses: Vec<Address>,
    /// Whether and how the source of a packet is checked against the way back (RFC 3704).
    pub rp_filter: RpFilter,
    /// Whether redirects are sent out of it.
    pub redirects: bool,
    /// Whether it is set up: one that is down, by an administrator's wish, carries nothing (`IFF_UP`).
    pub up: bool,
}

impl Link {
    /// A link that is up and has what it would have if nothing were said of it: an MTU of 1500, redirects, and neither MAC
    /// nor addresses. Its id is set by the table.
    pub fn new(name: impl Into<String>, kind: LinkKind) -> Self {
        Link {
            id: LinkId::LO,
            name: name.into(),
            kind,
            mac: None,
            mtu: 1500,
            addresses: Vec::new(),
            rp_filter: RpFilter::Off,
            redirects: true,
            up: true,
        }
    }

    /// Whether frames on it carry Ethernet headers and neighbors have to be resolved.
    pub fn is_ethernet(&self) -> bool {
        self.mac.is_some()
    }

    /// Whether the address is one of this link's own.
    pub fn has(&self, addr: IpAddr) -> bool {
        self.addresses.iter().any(|a| a.addr == addr)
    }

    /// For each of its addresses the one before it that has the same IPv4 prefix, and so makes it secondary: the prefix's
    /// routes, and sources in it, are the primary's.
    pub fn primaries(&self) -> Vec<Option<IpAddr>> {
        let mut first: HashMap<IpNet, IpAddr> = HashMap::new();
        let primary = |a: &Address| {
            let first = *first.entry(a.network()).or_insert(a.addr);
            Some(first).filter(|first| a.addr.is_ipv4() && *first != a.addr)
        };
        self.addresses.iter().map(primary).collect()
    }

    /// The IPv6 link-local address, if it has one.
    pub fn link_local(&self) -> Option<Ipv6Addr> {
        self.addresses.iter().find_map(|a| match a.addr {
            IpAddr::V6(v6) if v6.is_unicast_link_local() => Some(v6),
            _ => None,
        })
    }
}

/// An address with its prefix, on a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Address {
    /// The address itself.
    pub addr: IpAddr,
    /// The length of the on-link prefix.
    pub prefix_len: u8,
}

impl Address {
    /// The on-link prefix.
    pub fn network(&self) -> IpNet {
        IpNet::new(self.addr, self.prefix_len).map_or_else(|_| IpNet::from(self.addr), |n| n.trunc())
    }

    /// The directed broadcast address: IPv4 prefixes shorter than /31 have one.
    pub fn broadcast(&self) -> Option<Ipv4Addr> {
        match (self.addr, self.network()) {
            (IpAddr::V4(_), IpNet::V4(net)) if self.prefix_len < 31 => Some(net.broadcast()),
            _ => None,
        }
    }
}

/// The kinds of link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LinkKind {
    /// `lo`.
    Loopback,
    /// AF_PACKET on a kernel interface.
    Packet,
    /// An Ethernet device created by us.
    Tap,
    /// A layer 3 device created by us.
    Tun,
    /// Frames that live in memory only, for tests and simulations.
    Memory,
}

impl LinkKind {
    /// The word in the configuration and on the screen.
    pub fn name(self) -> &'static str {
        match self {
            LinkKind::Loopback => "loopback",
            LinkKind::Packet => "packet",
            LinkKind::Tap => "tap",
            LinkKind::Tun => "tun",
            LinkKind::Memory => "memory",
        }
    }
}

/// Source validation by reverse path (`net.ipv4.conf.*.rp_filter`, RFC 3704).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum RpFilter {
    /// No check.
    #[default]
    Off,
    /// The way back must lead out of the link the packet came by.
    Strict,
    /// There must be a way back.
    Loose,
}

/// All links. The loopback is always the first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Links {
    /// By place.
    links: Vec<Option<Link>>,
    /// Whose the addresses are. Link-local ones may stand on several links, so they are not here.
    /// Looked at for every packet.
    owners: HashMap<IpAddr, LinkId, BuildQuick>,
}

impl Links {
    /// A table of the loopback (127.0.0.1/8, ::1/128, MTU 65,536) and the links given, whose ids are
    /// set to their places. The caller has seen to it that names and addresses are unique.
    pub fn new(links: impl IntoIterator<Item = Link>) -> Self {
        Self::placed(&[], links, &Places::default())
    }

    /// The same, with more addresses on the loopback, each link at the place that is kept for its name, and new ones at the
    /// first that are free.
    pub fn placed(more: &[Address], links: impl IntoIterator<Item = Link>, places: &Places) -> Self {
        let mut lo = Link {
            mtu: 65_536,
            addresses: vec![
                Address { addr: Ipv4Addr::LOCALHOST.into(), prefix_len: 8 },
                Address { addr: Ipv6Addr::LOCALHOST.into(), prefix_len: 128 },
            ],
            redirects: false,
            ..Link::new("lo", LinkKind::Loopback)
        };
        lo.addresses.extend_from_slice(more);
        let mut all = vec![Some(lo)];
        let mut new = Vec::new();
        for link in links {
            match places.kept.get(&link.name) {
                Some(place) => {
                    all.resize_with(all.len().max(place.index() + 1), || None);
                    all[place.index()] = Some(link);
                }
                None => new.push(link),
            }
        }
        let kept: HashSet<usize> = places.kept.values().map(|id| id.index()).collect();
        let mut place = LinkId::LO.index();
        for link in new {
            while kept.contains(&place) || all.get(place).is_some_and(Option::is_some) {
                place += 1;
            }
            all.resize_with(all.len().max(place + 1), || None);
            all[place] = Some(link);
        }
        let mut owners = HashMap::default();
        for (i, link) in all.iter_mut().enumerate() {
            let Some(link) = link else { continue };
            link.id = LinkId(i as u16);
            for a in &link.addresses {
                if !matches!(a.addr, IpAddr::V6(v6) if v6.is_unicast_link_local()) {
                    owners.entry(a.addr).or_insert(link.id);
                }
            }
        }
        Links { links: all, owners }
    }

    /// All ids are below this.
    pub fn bound(&self) -> usize {
        self.links.len()
    }

    /// The link with this id.
    #[inline]
    pub fn get(&self, id: LinkId) -> Option<&Link> {
        self.links.get(id.index())?.as_ref()
    }

    /// The link of this name.
    pub fn named(&self, name: &str) -> Option<&Link> {
        self.iter().find(|l| l.name == name)
    }

    /// The names of the links, for whoever has named one that isn't there: as many as anybody reads.
    pub fn names(&self) -> String {
        const SHOWN: usize = 12;
        let mut names: Vec<&str> = self.iter().map(|l| l.name.as_str()).take(SHOWN + 1).collect();
        let more = if names.len() > SHOWN { ", …" } else { "" };
        names.truncate(SHOWN);
        names.join(", ") + more
    }

    /// All links in the order of their places.
    pub fn iter(&self) -> impl Iterator<Item = &Link> {
        self.links.iter().flatten()
    }

    /// All places in order, with the links that are there.
    pub fn places(&self) -> impl Iterator<Item = Option<&Link>> {
        self.links.iter().map(Option::as_ref)
    }

    /// The link that owns an address that is not link-local.
    pub fn owner(&self, addr: IpAddr) -> Option<LinkId> {
        self.owners.get(&addr).copied()
    }
}

/// Which places are kept for which names: those of links that are there and, as long as there are few of them, of links
/// that went, so that one that comes back is at its old place.
#[derive(Debug, Clone, Default)]
pub struct Places {
    kept: HashMap<String, LinkId>,
}

/// How many places are kept for links that are not there.
const ABSENT: usize = 64;

impl Places {
    /// Whether each link of a table is at the place that is kept for it, or at one that is kept for nobody.
    pub fn agree(&self, links: &Links) -> bool {
        links.iter().all(|l| match self.kept.get(&l.name) {
            Some(id) => *id == l.id,
            None => !self.kept.values().any(|id| *id == l.id),
        })
    }

    /// These places and those of the links in a table.
    pub fn and(&self, links: &Links) -> Self {
        let here = || links.iter().map(|l| (l.name.clone(), l.id));
        let mut kept = self.kept.clone();
        kept.extend(here());
        // Somebody else's by now, or too many.
        kept.retain(|name, id| links.get(*id).is_none_or(|l| l.name == *name));
        if kept.len() > links.iter().count() + ABSENT {
            kept = here().collect();
        }
        Places { kept }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn placed(names: &[&str], places: &Places) -> Links {
        Links::placed(&[], names.iter().map(|n| Link::new(*n, LinkKind::Memory)), places)
    }

    fn at(links: &Links, name: &str) -> Option<u16> {
        links.named(name).map(|l| l.id.0)
    }

    #[test]
    fn links_that_stay_keep_their_places() {
        let first = placed(&["a", "b", "c"], &Places::default());
        let places = Places::default().and(&first);
        let second = placed(&["d", "c", "a"], &places);
        assert_eq!((at(&second, "a"), at(&second, "c")), (Some(1), Some(3)));
        assert_eq!(at(&second, "d"), Some(4), "b's place is kept for it");
        assert_eq!(second.get(LinkId(2)), None);
        assert_eq!((second.bound(), second.iter().count()), (5, 4));
        let places = places.and(&second);
        assert_eq!(placed(&["a", "b"], &places).named("b").map(|l| l.id.0), Some(2), "one that comes back");
    }

    #[test]
    fn not_more_names_than_anybody_reads() {
        let numbered = |n| Links::new((1..=n).map(|i| Link::new(format!("l{i}"), LinkKind::Memory)));
        assert_eq!(numbered(2).names(), "lo, l1, l2");
        assert!(numbered(11).names().ends_with(", l10, l11"));
        assert!(numbered(12).names().ends_with(", l10, l11, …"));
    }

    #[test]
    fn places_are_not_kept_for_ever() {
        let mut places = Places::default();
        let mut highest = 0;
        for n in 0..1_000 {
            let links = placed(&["stays", &format!("tun{n}")], &places);
            assert_eq!(at(&links, "stays"), Some(1));
            highest = highest.max(links.bound());
            places = places.and(&links);
        }
        assert!(highest <= ABSENT + 4, "{highest}");
    }
}
