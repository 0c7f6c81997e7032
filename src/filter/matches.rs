//! The matches, as data. What each means is what iptables-extensions(8) says of it.
//!
//! A new match is a variant here, a reader and writer in the text, and a test of a packet where programs run; the
//! compiler then names every place that has to know of it.

use std::net::IpAddr;

use crate::base::Mac;

/// Something that can be negated with `!`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Not<T> {
    /// Whether there was a `!`.
    pub not: bool,
    /// What must be so, or must not.
    pub value: T,
}

impl<T> Not<T> {
    /// The thing itself.
    pub fn is(value: T) -> Self {
        Not { not: false, value }
    }

    /// Its negation.
    pub fn isnt(value: T) -> Self {
        Not { not: true, value }
    }

    /// Turns whether the thing is so into whether the match agrees.
    #[inline]
    pub fn agrees(&self, is: impl FnOnce(&T) -> bool) -> bool {
        is(&self.value) != self.not
    }
}

/// An address and a mask, which need not be a prefix: `10.0.0.1/255.0.0.255`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct AddrMask {
    /// The address; its bits outside the mask are zero in `-s` and `-d`, and as they were written in conntrack's options,
    /// where they mean nothing.
    pub addr: IpAddr,
    /// The mask, of the same family.
    pub mask: IpAddr,
}

impl AddrMask {
    /// Whether the address, of whichever family, is one of these.
    pub fn covers(&self, addr: IpAddr) -> bool {
        match (self.addr, self.mask, addr) {
            (IpAddr::V4(a), IpAddr::V4(m), IpAddr::V4(x)) => u32::from(x) & u32::from(m) == u32::from(a),
            (IpAddr::V6(a), IpAddr::V6(m), IpAddr::V6(x)) => u128::from(x) & u128::from(m) == u128::from(a),
            _ => false,
        }
    }
}

/// Ports from the first to the last, both included; none if the last is below the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Ports {
    /// The first.
    pub first: u16,
    /// The last.
    pub last: u16,
}

/// Some bits of a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Masked {
    /// What they must be.
    pub value: u32,
    /// Which ones.
    pub mask: u32,
}

/// One match of a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Match {
    /// `-m tcp`.
    Tcp(Tcp),
    /// `-m udp`.
    Udp {
        /// `--sport`.
        sport: Option<Not<Ports>>,
        /// `--dport`.
        dport: Option<Not<Ports>>,
    },
    /// `-m icmp --icmp-type`, and `-m icmp6 --icmpv6-type` in rules for IPv6.
    Icmp(Not<IcmpType>),
    /// `-m conntrack`.
    Conntrack(Box<Conntrack>),
    /// `-m state --state`.
    State(Not<States>),
    /// `-m mark --mark`.
    Mark(Not<Masked>),
    /// `-m connmark --mark`.
    Connmark(Not<Masked>),
    /// `-m multiport`.
    Multiport {
        /// Which ports.
        which: Which,
        /// At most 15 slots, of which a range takes two.
        ports: Not<Vec<Ports>>,
    },
    /// `-m iprange`.
    IpRange {
        /// `--src-range`.
        src: Option<Not<(IpAddr, IpAddr)>>,
        /// `--dst-range`.
        dst: Option<Not<(IpAddr, IpAddr)>>,
    },
    /// `-m mac --mac-source`.
    Mac(Not<Mac>),
    /// `-m limit`.
    Limit {
        /// Ten-thousandths of a second between two packets, as the kernel has it (`XT_LIMIT_SCALE`): `3/hour` is 12,000,000.
        every: u32,
        /// How many may come at once.
        burst: u32,
    },
    /// `-m length --length`, of the packet from the L3 header on.
    Length(Not<(u16, u16)>),
    /// `-m ttl`.
    Ttl(Hops),
    /// `-m hl`.
    Hl(Hops),
    /// `-m tos --tos`.
    Tos(Not<Masked>),
    /// `-m dscp --dscp`.
    Dscp(Not<u8>),
    /// `-m ecn`.
    Ecn {
        /// `--ecn-tcp-cwr`, true unless negated.
        cwr: Option<bool>,
        /// `--ecn-tcp-ece`, true unless negated.
        ece: Option<bool>,
        /// `--ecn-ip-ect`: 0 to 3.
        ect: Option<Not<u8>>,
    },
    /// `-m pkttype --pkt-type`.
    PktType(Not<PktType>),
    /// `-m addrtype`.
    AddrType {
        /// `--src-type`.
        src: Option<Not<AddrTypes>>,
        /// `--dst-type`.
        dst: Option<Not<AddrTypes>>,
        /// `--limit-iface-in` or `--limit-iface-out`.
        limit: Option<Side>,
    },
    /// `-m statistic --mode random`: matches if a random number of 31 bits is below this one.
    Random(Not<u32>),
    /// `-m statistic --mode nth`.
    Nth {
        /// Whether negated.
        not: bool,
        /// `--every`, at least 1.
        every: u32,
        /// `--packet`, below `every`.
        packet: u32,
    },
    /// `-m comment --comment`: says something to people.
    Comment(String),
}

/// `-m tcp`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tcp {
    /// `--sport`.
    pub sport: Option<Not<Ports>>,
    /// `--dport`.
    pub dport: Option<Not<Ports>>,
    /// `--tcp-flags MASK COMP`; `--syn` is `FIN,SYN,RST,ACK SYN`. Bits as in the header: FIN 1 … URG 32.
    pub flags: Option<Not<(u8, u8)>>,
    /// `--tcp-option`.
    pub option: Option<Not<u8>>,
}

/// An ICMP type and the codes it may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct IcmpType {
    /// The type; 255 with codes 0 to 255 means any (IPv4).
    pub kind: u8,
    /// First and last code.
    pub codes: (u8, u8),
}

/// A set of states: the bits of `ctstate`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct States(pub u8);

impl States {
    /// `INVALID`.
    pub const INVALID: States = States(1);
    /// `ESTABLISHED`.
    pub const ESTABLISHED: States = States(2);
    /// `RELATED`.
    pub const RELATED: States = States(4);
    /// `NEW`.
    pub const NEW: States = States(8);
    /// `UNTRACKED`.
    pub const UNTRACKED: States = States(16);
    /// `SNAT`: the flow's source is translated.
    pub const SNAT: States = States(32);
    /// `DNAT`: the flow's destination is translated.
    pub const DNAT: States = States(64);

    /// Whether any of `other` is in the set.
    pub fn intersects(self, other: States) -> bool {
        self.0 & other.0 != 0
    }
}

/// `-m conntrack`. What is not given agrees with everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Conntrack {
    /// `--ctstate`.
    pub state: Option<Not<States>>,
    /// `--ctproto`.
    pub proto: Option<Not<u8>>,
    /// `--ctorigsrc`.
    pub orig_src: Option<Not<AddrMask>>,
    /// `--ctorigdst`.
    pub orig_dst: Option<Not<AddrMask>>,
    /// `--ctreplsrc`.
    pub repl_src: Option<Not<AddrMask>>,
    /// `--ctrepldst`.
    pub repl_dst: Option<Not<AddrMask>>,
    /// `--ctorigsrcport`.
    pub orig_src_port: Option<Not<Ports>>,
    /// `--ctorigdstport`.
    pub orig_dst_port: Option<Not<Ports>>,
    /// `--ctreplsrcport`.
    pub repl_src_port: Option<Not<Ports>>,
    /// `--ctrepldstport`.
    pub repl_dst_port: Option<Not<Ports>>,
    /// `--ctstatus`.
    pub status: Option<Not<StatusSet>>,
    /// `--ctexpire`, seconds.
    pub expire: Option<Not<(u32, u32)>>,
    /// `--ctdir`: true for ORIGINAL.
    pub original: Option<bool>,
}

/// `--ctstatus`: the bits of [`Status`](crate::packet::Status) of which one must be set. No bits are written `NONE`, and
/// no flow has one of them: it never matches, and negated always does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct StatusSet {
    /// `EXPECTED`, `SEEN_REPLY`, `ASSURED`, `CONFIRMED`.
    pub bits: u32,
    /// Whether there are no bits.
    pub none: bool,
}

/// Which ports multiport looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Which {
    /// `--sports`.
    Source,
    /// `--dports`.
    Destination,
    /// `--ports`: either.
    Either,
}

/// `-m ttl`, `-m hl`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Hops {
    /// `--ttl-eq`, with `!` or without.
    Eq(Not<u8>),
    /// `--ttl-lt`.
    Lt(u8),
    /// `--ttl-gt`.
    Gt(u8),
}

/// Whom the frame was addressed to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PktType {
    /// This station.
    Unicast,
    /// All.
    Broadcast,
    /// A group.
    Multicast,
    /// Another station: such frames come to no rule, so it never matches, as in the kernel.
    OtherHost,
}

/// A set of address types, and of an address its type: one bit each (`RTN_*`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct AddrTypes(pub u16);

impl AddrTypes {
    /// `UNSPEC`: 0.0.0.0, and what the table gives no type.
    pub const UNSPEC: AddrTypes = AddrTypes(1 << 0);
    /// `UNICAST`.
    pub const UNICAST: AddrTypes = AddrTypes(1 << 1);
    /// `LOCAL`.
    pub const LOCAL: AddrTypes = AddrTypes(1 << 2);
    /// `BROADCAST`.
    pub const BROADCAST: AddrTypes = AddrTypes(1 << 3);
    /// `ANYCAST`.
    pub const ANYCAST: AddrTypes = AddrTypes(1 << 4);
    /// `MULTICAST`.
    pub const MULTICAST: AddrTypes = AddrTypes(1 << 5);
    /// `BLACKHOLE`.
    pub const BLACKHOLE: AddrTypes = AddrTypes(1 << 6);
    /// `UNREACHABLE`.
    pub const UNREACHABLE: AddrTypes = AddrTypes(1 << 7);
    /// `PROHIBIT`.
    pub const PROHIBIT: AddrTypes = AddrTypes(1 << 8);
    /// `THROW`; no route here has this type.
    pub const THROW: AddrTypes = AddrTypes(1 << 9);
    /// `NAT`; no route here has this type.
    pub const NAT: AddrTypes = AddrTypes(1 << 10);
    /// `XRESOLVE`; no route here has this type.
    pub const XRESOLVE: AddrTypes = AddrTypes(1 << 11);
}

/// One side of a packet's way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Side {
    /// The link it came in by.
    In,
    /// The link it leaves by.
    Out,
}
