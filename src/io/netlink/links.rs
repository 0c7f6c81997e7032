//! Links, addresses, routes and static neighbors.

use std::net::IpAddr;
use std::os::fd::{AsRawFd, BorrowedFd};

use ipnet::IpNet;
use netlink_packet_core::{NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL, NLM_F_REPLACE, NlasIterator};
use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressMessage, AddressScope};
use netlink_packet_route::link::{
    InfoData, InfoKind, InfoVeth, LinkAttribute, LinkFlags, LinkInfo, LinkMessage,
};
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState,
};
use netlink_packet_route::route::{
    RouteAttribute, RouteHeader, RouteMessage, RouteMetric, RouteProtocol, RouteScope, RouteType,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use super::{Netlink, NetlinkError};
use crate::base::Mac;

/// What the kernel says of an interface.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Device {
    /// Its index in this namespace.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Whether frames on it have Ethernet headers.
    pub ethernet: bool,
    /// Whether it was set up (`IFF_UP`).
    pub up: bool,
    /// Whether it also has a carrier (`IFF_RUNNING`).
    pub running: bool,
    /// Whether it receives every frame: how many ask for that is not 0 (`IFLA_PROMISCUITY`).
    pub promiscuous: bool,
    /// How many ask for every multicast frame, sockets included (`IFLA_ALLMULTI`, Linux 6.2; 0 before).
    pub all_multicast: u32,
    /// Its MAC, if it has one of six bytes.
    pub mac: Option<Mac>,
    /// The longest L3 packet it takes.
    pub mtu: u32,
    /// The driver's name for its kind (`veth`, `tun`, `bridge`); hardware has none.
    pub kind: Option<String>,
    /// Frames sent; of a veth, those that its peer took.
    pub tx_packets: u64,
    /// Frames the kernel meant to send through it and dropped.
    pub tx_dropped: u64,
    /// Of a tun or tap device made for several queues (`IFF_MULTI_QUEUE`): how many of them somebody has open.
    pub tun_queues: Option<u32>,
}

/// A pair of virtual Ethernet devices to be made.
#[derive(Debug, Clone, Copy)]
pub struct Veth<'a> {
    /// The name of the end in this namespace.
    pub name: &'a str,
    /// The name of the other end.
    pub peer: &'a str,
    /// Where the other end goes; `None`: here.
    pub peer_netns: Option<BorrowedFd<'a>>,
    /// Transmit and receive queues of each end.
    pub queues: u32,
}

/// What becomes of packets on a route that leads nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// Their senders are told that the host can't be reached.
    Unreachable,
    /// Their senders are told that it is not allowed.
    Prohibit,
    /// Nobody is told anything.
    Blackhole,
}

impl Netlink {
    /// The interface of this name.
    pub fn link(&mut self, name: &str) -> Result<Device, NetlinkError> {
        let message = link_named(name);
        self.one_link(&format!("find the interface '{name}'"), message)
    }

    /// The interface with this index.
    pub fn link_at(&mut self, index: u32) -> Result<Device, NetlinkError> {
        self.one_link(&format!("find interface {index}"), link_at(index))
    }

    fn one_link(&mut self, what: &str, message: LinkMessage) -> Result<Device, NetlinkError> {
        let answers = self.get(what, RouteNetlinkMessage::GetLink(message), 0)?;
        answers.first().and_then(|a| parse(a)).ok_or_else(|| NetlinkError::Malformed(what.to_owned()))
    }

    /// All interfaces of this namespace.
    pub fn links(&mut self) -> Result<Vec<Device>, NetlinkError> {
        let message = RouteNetlinkMessage::GetLink(LinkMessage::default());
        let answers = self.get("list the interfaces", message, NLM_F_DUMP)?;
        Ok(answers.iter().filter_map(|a| parse(a)).collect())
    }

    /// The index of the interface of this name.
    pub fn link_index(&mut self, name: &str) -> Result<u32, NetlinkError> {
        Ok(self.link(name)?.index)
    }

    /// Makes a pair of virtual Ethernet devices, `peer` in another namespace if one is given.
    pub fn link_add_veth(
        &mut self,
        name: &str,
        peer: &str,
        peer_netns: Option<BorrowedFd<'_>>,
    ) -> Result<(), NetlinkError> {
        self.link_add_veth_with(&Veth { name, peer, peer_netns, queues: 1 })
    }

    /// The same, with more to choose.
    pub fn link_add_veth_with(&mut self, veth: &Veth<'_>) -> Result<(), NetlinkError> {
        let queues = [LinkAttribute::NumTxQueues(veth.queues), LinkAttribute::NumRxQueues(veth.queues)];
        let mut peer = link_named(veth.peer);
        peer.attributes.extend(queues.clone());
        if let Some(netns) = veth.peer_netns {
            peer.attributes.push(LinkAttribute::NetNsFd(netns.as_raw_fd()));
        }
        let mut link = link_named(veth.name);
        link.attributes.extend(queues);
        link.attributes.push(LinkAttribute::LinkInfo(vec![
            LinkInfo::Kind(InfoKind::Veth),
            LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(peer))),
        ]));
        let what = format!("make the veth pair '{}' and '{}'", veth.name, veth.peer);
        self.ask(&what, RouteNetlinkMessage::NewLink(link), NLM_F_CREATE | NLM_F_EXCL)
    }

    /// Sends an interface to another namespace.
    pub fn set_netns(&mut self, index: u32, netns: BorrowedFd<'_>) -> Result<(), NetlinkError> {
        let attribute = LinkAttribute::NetNsFd(netns.as_raw_fd());
        self.change(index, "move it to another namespace", Some(attribute), None)
    }

    /// Sets an interface up.
    pub fn set_up(&mut self, index: u32) -> Result<(), NetlinkError> {
        self.change(index, "set it up", None, Some(true))
    }

    /// Sets an interface down.
    pub fn set_down(&mut self, index: u32) -> Result<(), NetlinkError> {
        self.change(index, "set it down", None, Some(false))
    }

    /// Sets the longest L3 packet an interface takes.
    pub fn set_mtu(&mut self, index: u32, mtu: u32) -> Result<(), NetlinkError> {
        self.change(index, &format!("set its MTU to {mtu}"), Some(LinkAttribute::Mtu(mtu)), None)
    }

    /// Gives an interface another MAC.
    pub fn set_mac(&mut self, index: u32, mac: Mac) -> Result<(), NetlinkError> {
        let attribute = LinkAttribute::Address(mac.0.to_vec());
        self.change(index, &format!("set its MAC to {mac}"), Some(attribute), None)
    }

    /// Gives an interface another name; it has to be down.
    pub fn set_name(&mut self, index: u32, name: &str) -> Result<(), NetlinkError> {
        self.change(index, &format!("call it '{name}'"), Some(LinkAttribute::IfName(name.into())), None)
    }

    fn change(
        &mut self,
        index: u32,
        what: &str,
        attribute: Option<LinkAttribute>,
        up: Option<bool>,
    ) -> Result<(), NetlinkError> {
        let mut message = link_at(index);
        message.attributes.extend(attribute);
        if let Some(up) = up {
            message.header.change_mask = LinkFlags::Up;
            message.header.flags = if up { LinkFlags::Up } else { LinkFlags::empty() };
        }
        let what = format!("change interface {index}: {what}");
        self.ask(&what, RouteNetlinkMessage::SetLink(message), 0)
    }

    /// Deletes an interface; of a veth pair both ends go.
    pub fn link_del(&mut self, index: u32) -> Result<(), NetlinkError> {
        self.ask(&format!("delete interface {index}"), RouteNetlinkMessage::DelLink(link_at(index)), 0)
    }

    /// Adds an address with its prefix. IPv6 addresses are usable at once: no duplicate address detection.
    pub fn addr_add(&mut self, index: u32, address: IpNet) -> Result<(), NetlinkError> {
        let message = address_message(index, address);
        let what = format!("add the address {address} to interface {index}");
        self.ask(&what, RouteNetlinkMessage::NewAddress(message), NLM_F_CREATE | NLM_F_REPLACE)
    }

    /// Adds or replaces a route in the main table, through a gateway, an interface or both.
    pub fn route_add(
        &mut self,
        to: IpNet,
        via: Option<IpAddr>,
        dev: Option<u32>,
    ) -> Result<(), NetlinkError> {
        self.route_of_mtu(to, via, dev, None)
    }

    /// The same with an MTU of its own, locked or not.
    pub fn route_of_mtu(
        &mut self,
        to: IpNet,
        via: Option<IpAddr>,
        dev: Option<u32>,
        mtu: Option<(u32, bool)>,
    ) -> Result<(), NetlinkError> {
        /// `1 << RTAX_MTU` (linux/rtnetlink.h).
        const LOCK_MTU: u32 = 1 << 2;
        let mut message = route(to, RouteType::Unicast);
        message.attributes.extend(mtu.map(|(mtu, lock)| {
            let lock = lock.then_some(RouteMetric::Lock(LOCK_MTU));
            RouteAttribute::Metrics(lock.into_iter().chain([RouteMetric::Mtu(mtu)]).collect())
        }));
        message.header.scope = if via.is_some() { RouteScope::Universe } else { RouteScope::Link };
        message.attributes.extend(via.map(|v| RouteAttribute::Gateway(v.into())));
        message.attributes.extend(dev.map(RouteAttribute::Oif));
        let what = format!("add the route to {to}");
        self.ask(&what, RouteNetlinkMessage::NewRoute(message), NLM_F_CREATE | NLM_F_REPLACE)
    }

    /// Adds or replaces a route that leads nowhere.
    pub fn route_refuse(&mut self, to: IpNet, how: Refusal) -> Result<(), NetlinkError> {
        let (kind, name) = match how {
            Refusal::Unreachable => (RouteType::Unreachable, "unreachable"),
            Refusal::Prohibit => (RouteType::Prohibit, "prohibit"),
            Refusal::Blackhole => (RouteType::BlackHole, "blackhole"),
        };
        let mut message = route(to, kind);
        message.header.scope = RouteScope::Universe;
        let what = format!("add the {name} route to {to}");
        self.ask(&what, RouteNetlinkMessage::NewRoute(message), NLM_F_CREATE | NLM_F_REPLACE)
    }

    /// Adds or replaces a static neighbor.
    pub fn neigh_add(&mut self, index: u32, ip: IpAddr, mac: Mac) -> Result<(), NetlinkError> {
        let mut message = NeighbourMessage::default();
        message.header.family = family(ip);
        message.header.ifindex = index;
        message.header.state = NeighbourState::Permanent;
        let ip_attribute = match ip {
            IpAddr::V4(v4) => NeighbourAddress::Inet(v4),
            IpAddr::V6(v6) => NeighbourAddress::Inet6(v6),
        };
        message.attributes = vec![
            NeighbourAttribute::Destination(ip_attribute),
            NeighbourAttribute::LinkLayerAddress(mac.0.to_vec()),
        ];
        let what = format!("add the neighbor {ip} to interface {index}");
        self.ask(&what, RouteNetlinkMessage::NewNeighbour(message), NLM_F_CREATE | NLM_F_REPLACE)
    }
}

/// A route of the main table without its way.
fn route(to: IpNet, kind: RouteType) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = family(to.addr());
    message.header.destination_prefix_length = to.prefix_len();
    message.header.table = RouteHeader::RT_TABLE_MAIN;
    message.header.protocol = RouteProtocol::Static;
    message.header.kind = kind;
    if to.prefix_len() > 0 {
        message.attributes.push(RouteAttribute::Destination(to.network().into()));
    }
    message
}

fn link_named(name: &str) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.attributes.push(LinkAttribute::IfName(name.to_owned()));
    message
}

fn link_at(index: u32) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.header.index = index;
    message
}

fn address_message(index: u32, address: IpNet) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.family = family(address.addr());
    message.header.prefix_len = address.prefix_len();
    message.header.scope = AddressScope::Universe;
    message.header.index = index;
    message.attributes =
        vec![AddressAttribute::Local(address.addr()), AddressAttribute::Address(address.addr())];
    match address {
        IpNet::V4(v4) if v4.prefix_len() < 31 => {
            message.attributes.push(AddressAttribute::Broadcast(v4.broadcast()));
        }
        IpNet::V4(_) => {}
        IpNet::V6(_) => message.attributes.push(AddressAttribute::Flags(AddressFlags::Nodad)),
    }
    message
}

fn family(address: IpAddr) -> AddressFamily {
    match address {
        IpAddr::V4(_) => AddressFamily::Inet,
        IpAddr::V6(_) => AddressFamily::Inet6,
    }
}

/// Reads what is wanted of an `ifinfomsg` and its attributes. By hand: the crate's parser fails as a
/// whole when a newer kernel changes the form of an attribute that nobody here asked about.
fn parse(payload: &[u8]) -> Option<Device> {
    let (header, attributes) = payload.split_at_checked(16)?;
    let flags = u32::from_ne_bytes(*header[8..].first_chunk()?);
    let flag = |f: i32| flags & f.cast_unsigned() != 0;
    let mut device = Device {
        index: u32::from_ne_bytes(*header[4..].first_chunk()?),
        ethernet: u16::from_ne_bytes(*header[2..].first_chunk()?) == libc::ARPHRD_ETHER,
        up: flag(libc::IFF_UP),
        running: flag(libc::IFF_UP) && flag(libc::IFF_RUNNING),
        ..Device::default()
    };
    for attribute in NlasIterator::new(attributes).flatten() {
        let value = attribute.value();
        match attribute.kind() {
            IFLA_ADDRESS => device.mac = <[u8; 6]>::try_from(value).ok().map(Mac),
            IFLA_IFNAME => device.name = text(value),
            IFLA_MTU => device.mtu = number(value),
            IFLA_PROMISCUITY => device.promiscuous = number(value) > 0,
            IFLA_ALLMULTI => device.all_multicast = number(value),
            IFLA_LINKINFO => {
                let inner = || NlasIterator::new(value).flatten();
                device.kind = inner().find(|a| a.kind() == IFLA_INFO_KIND).map(|a| text(a.value()));
                let data = inner().find(|a| a.kind() == IFLA_INFO_DATA);
                device.tun_queues = data
                    .filter(|_| device.kind.as_deref() == Some("tun"))
                    .and_then(|data| tun_queues(data.value()));
            }
            IFLA_STATS64 => {
                let at = |at: usize| value.get(at..).and_then(<[u8]>::first_chunk);
                let count = |place: usize| at(place).map_or(0, |v| u64::from_ne_bytes(*v));
                (device.tx_packets, device.tx_dropped) = (count(TX_PACKETS_AT), count(TX_DROPPED_AT));
            }
            _ => {}
        }
    }
    Some(device)
}

fn tun_queues(data: &[u8]) -> Option<u32> {
    let of = |kind| NlasIterator::new(data).flatten().find(|a| a.kind() == kind);
    let several = of(IFLA_TUN_MULTI_QUEUE).is_some_and(|a| a.value() != [0]);
    let open = |kind| of(kind).map_or(0, |a| number(a.value()));
    several.then(|| open(IFLA_TUN_NUM_QUEUES) + open(IFLA_TUN_NUM_DISABLED_QUEUES))
}

fn number(value: &[u8]) -> u32 {
    value.first_chunk().map_or(0, |v| u32::from_ne_bytes(*v))
}

fn text(value: &[u8]) -> String {
    String::from_utf8_lossy(value.split(|b| *b == 0).next().unwrap_or_default()).into_owned()
}

/// Where `tx_packets` stands in `struct rtnl_link_stats64`: behind `rx_packets`.
const TX_PACKETS_AT: usize = 8;
/// Where `tx_dropped` stands in `struct rtnl_link_stats64`: behind packets, bytes, errors of both
/// directions and `rx_dropped`.
const TX_DROPPED_AT: usize = 7 * 8;

// linux/if_link.h.
const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_LINKINFO: u16 = 18;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const IFLA_TUN_MULTI_QUEUE: u16 = 7;
const IFLA_TUN_NUM_QUEUES: u16 = 8;
const IFLA_TUN_NUM_DISABLED_QUEUES: u16 = 9;
const IFLA_STATS64: u16 = 23;
const IFLA_PROMISCUITY: u16 = 30;
const IFLA_ALLMULTI: u16 = 61;
