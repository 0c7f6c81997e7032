//! What a packet's metadata says of the flow it belongs to, in words that rules, conntrack and NAT share.
//!
//! A [`Tuple`] is one direction of a flow as seen on the wire:
//!
//! ```text
//!  protocol   src_port        dst_port
//!  TCP, UDP, SCTP, UDP-Lite   the ports
//!  ICMP, ICMPv6 queries       src_port: the identifier     dst_port: type << 8 | code
//!  GRE version 1 (PPTP)       the call id of each side; version 0: zero
//!  anything else              zero
//! ```
//!
//! Knows nothing of the table flows are kept in.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU32;

use crate::wire::proto;

/// What conntrack says of a packet; carried in its metadata.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ct {
    /// How the packet stands to its flow.
    pub state: CtState,
    /// Which way it goes.
    pub dir: Direction,
    /// Its flow, once it stands in the table. A tracked packet without one is the first of a flow that the
    /// worker holds until the packet has passed every rule.
    pub flow: Option<FlowId>,
}

/// How a packet stands to its flow (`enum ip_conntrack_info`, the direction apart).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum CtState {
    /// Conntrack has not seen it, or is off.
    #[default]
    Unseen,
    /// A rule said that it is not to be tracked.
    Untracked,
    /// It belongs to no flow and can begin none.
    Invalid,
    /// It begins a flow, or belongs to one that was never answered.
    New,
    /// It belongs to a flow that has seen packets in both directions.
    Established,
    /// It begins a flow that another one announced, or is an ICMP error about a flow.
    Related,
}

impl Ct {
    /// Whether the packet belongs to a flow.
    pub fn is_tracked(&self) -> bool {
        matches!(self.state, CtState::New | CtState::Established | CtState::Related)
    }
}

/// One of the two directions of a flow.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Direction {
    /// That of the packet that began it.
    #[default]
    Original,
    /// That of the answers.
    Reply,
}

impl Direction {
    /// Both.
    pub const ALL: [Direction; 2] = [Direction::Original, Direction::Reply];

    /// The other one.
    #[must_use]
    pub fn turned(self) -> Self {
        match self {
            Direction::Original => Direction::Reply,
            Direction::Reply => Direction::Original,
        }
    }
}

/// A flow in the table, and which of those that stood at its place over time: a number that
/// outlives its flow finds nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FlowId {
    /// The place.
    pub slot: u32,
    /// Which of its tenants.
    pub tenant: NonZeroU32,
}

/// An address in a tuple: IPv4 in the first four bytes, the rest zero.
pub type Address = [u8; 16];

/// One direction of a flow; see the module's text. Small, because the table holds two for each flow.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Tuple {
    /// Where it comes from.
    pub src: Address,
    /// Where it goes.
    pub dst: Address,
    /// Port or identifier of the source.
    pub src_port: u16,
    /// Port of the destination, or ICMP type and code.
    pub dst_port: u16,
    /// The IP protocol.
    pub proto: u8,
    /// Whether the addresses are of IPv6.
    pub v6: bool,
}

/// Packs an address for a tuple.
pub fn pack(addr: IpAddr) -> Address {
    match addr {
        IpAddr::V4(v4) => {
            let mut a = [0; 16];
            a[..4].copy_from_slice(&v4.octets());
            a
        }
        IpAddr::V6(v6) => v6.octets(),
    }
}

/// Unpacks an address of a tuple.
pub fn unpack(addr: Address, v6: bool) -> IpAddr {
    match v6 {
        false => IpAddr::V4(Ipv4Addr::new(addr[0], addr[1], addr[2], addr[3])),
        true => IpAddr::V6(Ipv6Addr::from(addr)),
    }
}

impl Tuple {
    /// The source address.
    pub fn src(&self) -> IpAddr {
        unpack(self.src, self.v6)
    }

    /// The destination address.
    pub fn dst(&self) -> IpAddr {
        unpack(self.dst, self.v6)
    }

    /// The type of an ICMP query.
    pub fn icmp_type(&self) -> u8 {
        (self.dst_port >> 8) as u8
    }

    /// The code of an ICMP query.
    pub fn icmp_code(&self) -> u8 {
        self.dst_port as u8
    }

    /// Whether its ports are ports, which NAT may choose among.
    pub fn has_ports(&self) -> bool {
        matches!(self.proto, proto::TCP | proto::UDP | proto::UDP_LITE | proto::SCTP | proto::DCCP)
    }
}

impl fmt::Debug for Tuple {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}:{} > {}:{}", self.proto, self.src(), self.src_port, self.dst(), self.dst_port)
    }
}

/// What is true of a flow (`enum ip_conntrack_status`, the kernel's bits).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Status(pub u32);

impl Status {
    /// Another flow announced it.
    pub const EXPECTED: Status = Status(1 << 0);
    /// Packets have gone both ways.
    pub const SEEN_REPLY: Status = Status(1 << 1);
    /// It is never dropped to make room.
    pub const ASSURED: Status = Status(1 << 2);
    /// Its first packet has left.
    pub const CONFIRMED: Status = Status(1 << 3);
    /// Its source is translated.
    pub const SRC_NAT: Status = Status(1 << 4);
    /// Its destination is translated.
    pub const DST_NAT: Status = Status(1 << 5);
    /// The rules for its source have been asked.
    pub const SRC_NAT_DONE: Status = Status(1 << 7);
    /// The rules for its destination have been asked.
    pub const DST_NAT_DONE: Status = Status(1 << 8);
    /// Its timeout stays as it was set.
    pub const FIXED_TIMEOUT: Status = Status(1 << 10);
    /// It began at the same moment as another flow with the same original tuple, and was given another
    /// translation: it is found by its reply tuple only, and not for long.
    pub const NAT_CLASH: Status = Status(1 << 12);

    /// Whether all of `other` is true.
    pub const fn has(self, other: Status) -> bool {
        self.0 & other.0 == other.0
    }

    /// Makes `other` true too.
    pub const fn set(&mut self, other: Status) {
        self.0 |= other.0;
    }
}

/// What rules may ask of a packet's flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FlowView {
    /// Both directions, original first.
    pub tuples: [Tuple; 2],
    /// What is true of it.
    pub status: Status,
    /// The connection's mark.
    pub mark: u32,
    /// Whole seconds until it is forgotten; 0 for one that does not stand in the table yet.
    pub expires: u32,
}

/// Which end of a packet NAT rewrites.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Manip {
    /// The source: POSTROUTING, and INPUT.
    Src,
    /// The destination: PREROUTING, and OUTPUT.
    Dst,
}

/// What a flow may be translated to (`struct nf_nat_range2`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct NatRange {
    /// First and last address; absent: the address stays.
    pub addr: Option<(IpAddr, IpAddr)>,
    /// First and last port, or ICMP identifier; absent: NAT chooses.
    pub port: Option<(u16, u16)>,
    /// DNAT's third port (`--to-destination :2000-2010/1000`): ports are shifted by as much as the packet's is
    /// above it.
    pub base: Option<u16>,
    /// `--random`: the port is chosen by a keyed hash, not kept.
    pub random: bool,
    /// `--random-fully`: the port is chosen at random.
    pub random_fully: bool,
    /// `--persistent`: a client gets the same address for every destination.
    pub persistent: bool,
    /// NETMAP: of the address only the network part, which is that of the first address, is exchanged; the
    /// last address has all host bits set.
    pub netmap: bool,
}
