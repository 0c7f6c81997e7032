//! The links of one router and their addresses; immutable once built.

use std::collections::HashMap;
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
}

impl Link {
    /// Whether frames on it carry Ethernet headers and neighbors have to be resolved.
    pub fn is_ethernet(&self) -> bool {
        self.mac.is_some()
    }

    /// Whether the address is one of this link's own.
    pub fn has(&self, addr: IpAddr) -> bool {
        self.addresses.iter().any(|a| a.addr == addr)
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
    links: Vec<Link>,
    /// Whose the addresses are. Link-local ones may stand on several links, so they are not here.
    /// Looked at for every packet.
    owners: HashMap<IpAddr, LinkId, BuildQuick>,
}

impl Links {
    /// A table of the loopback (127.0.0.1/8, ::1/128, MTU 65,536) and the links given, whose ids are
    /// set to their places. The caller has seen to it that names and addresses are unique.
    pub fn new(links: impl IntoIterator<Item = Link>) -> Self {
        Self::with_loopback(&[], links)
    }

    /// The same, with more addresses on the loopback.
    pub fn with_loopback(more: &[Address], links: impl IntoIterator<Item = Link>) -> Self {
        let mut lo = Link {
            id: LinkId::LO,
            name: "lo".into(),
            kind: LinkKind::Loopback,
            mac: None,
            mtu: 65_536,
            addresses: vec![
                Address { addr: Ipv4Addr::LOCALHOST.into(), prefix_len: 8 },
                Address { addr: Ipv6Addr::LOCALHOST.into(), prefix_len: 128 },
            ],
            rp_filter: RpFilter::Off,
            redirects: false,
        };
        lo.addresses.extend_from_slice(more);
        let mut all = vec![lo];
        all.extend(links);
        let mut owners = HashMap::default();
        for (i, link) in all.iter_mut().enumerate() {
            link.id = LinkId(i as u16);
            for a in &link.addresses {
                if !matches!(a.addr, IpAddr::V6(v6) if v6.is_unicast_link_local()) {
                    owners.entry(a.addr).or_insert(link.id);
                }
            }
        }
        Links { links: all, owners }
    }

    /// How many there are, the loopback included.
    #[allow(clippy::len_without_is_empty)] // never empty: the loopback is always there
    pub fn len(&self) -> usize {
        self.links.len()
    }

    /// The link with this id.
    #[inline]
    pub fn get(&self, id: LinkId) -> Option<&Link> {
        self.links.get(id.index())
    }

    /// The link of this name.
    pub fn named(&self, name: &str) -> Option<&Link> {
        self.links.iter().find(|l| l.name == name)
    }

    /// All links in order.
    pub fn iter(&self) -> impl Iterator<Item = &Link> {
        self.links.iter()
    }

    /// The link that owns an address that is not link-local.
    pub fn owner(&self, addr: IpAddr) -> Option<LinkId> {
        self.owners.get(&addr).copied()
    }
}
