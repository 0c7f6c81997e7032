//! A router that is only what a program may ask of it, packets, and rules made in a line.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::base::{Hook, Instant, LinkId};
use crate::filter::matches::{AddrMask, AddrTypes, Match, Not, Ports, Tcp};
use crate::filter::rule::{Basic, Chain, Count, Family, Policy, Rule, Ruleset, Says, Table, TableName};
use crate::filter::targets::Target;
use crate::filter::verdict::{Env, RuleRef};
use crate::link::{Link, LinkKind, Links};
use crate::packet::{Csum, CtState, FlowView, Frag, Net, Packet, Status, Tuple, flow};
use crate::wire::checksum;
use crate::wire::{ipv4::Ipv4, ipv6_ext, proto};

/// The links every test has: lo, eth0, eth1, wan.
pub(super) fn links() -> Links {
    Links::new(["eth0", "eth1", "wan"].map(|name| Link::new(name, LinkKind::Memory)))
}

pub(super) const ETH0: LinkId = LinkId(1);
pub(super) const ETH1: LinkId = LinkId(2);

/// What a program asks, with answers that can be set.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct World {
    pub(super) now: Instant,
    pub(super) lane: usize,
    pub(super) hook: Hook,
    pub(super) in_link: Option<LinkId>,
    pub(super) out_link: Option<LinkId>,
    pub(super) flow: Option<FlowView>,
    pub(super) local: Vec<IpAddr>,
    pub(super) seed: u32,
    pub(super) mtu: Option<u32>,
    pub(super) said: Vec<String>,
}

impl World {
    pub(super) fn at(hook: Hook) -> World {
        let (in_link, out_link) = match hook {
            Hook::Prerouting | Hook::Input => (Some(ETH0), None),
            Hook::Forward => (Some(ETH0), Some(ETH1)),
            Hook::Output | Hook::Postrouting => (None, Some(ETH1)),
        };
        World {
            now: Instant::from_secs(1000),
            lane: 0,
            hook,
            in_link,
            out_link,
            flow: None,
            local: Vec::new(),
            seed: 1,
            mtu: Some(1400),
            said: Vec::new(),
        }
    }
}

impl Env for World {
    fn now(&self) -> Instant {
        self.now
    }
    fn lane(&self) -> usize {
        self.lane
    }
    fn hook(&self) -> Hook {
        self.hook
    }
    fn in_link(&self) -> Option<LinkId> {
        self.in_link
    }
    fn out_link(&self) -> Option<LinkId> {
        self.out_link
    }
    fn flow(&mut self, packet: &Packet) -> Option<FlowView> {
        self.flow.filter(|_| packet.meta.ct.is_tracked())
    }
    fn set_flow_mark(&mut self, _: &Packet, mark: u32) {
        self.flow.as_mut().expect("only flows are marked").mark = mark;
    }
    fn addr_type(&mut self, addr: IpAddr, on: Option<LinkId>) -> AddrTypes {
        let multicast = match addr {
            IpAddr::V4(a) => a.is_multicast(),
            IpAddr::V6(a) => a.is_multicast(),
        };
        match self.local.contains(&addr) {
            // What is local is eth0's.
            true if on.is_none_or(|l| l == ETH0) => AddrTypes::LOCAL,
            _ if multicast => AddrTypes::MULTICAST,
            _ if addr == IpAddr::V4(Ipv4Addr::BROADCAST) => AddrTypes::BROADCAST,
            _ => AddrTypes::UNICAST,
        }
    }
    fn random(&mut self) -> u32 {
        self.seed = self.seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        self.seed
    }
    fn path_mtu(&mut self, _: &Packet) -> Option<u32> {
        self.mtu
    }
    fn log(&mut self, level: u8, line: &str) {
        self.said.push(format!("log {level} {line}"));
    }
    fn link_name(&self, link: LinkId) -> &str {
        ["lo", "eth0", "eth1", "wan"][link.index()]
    }
    fn matched(&mut self, _: &Packet, rule: RuleRef<'_>) {
        self.said.push(format!("{} {} {}", rule.table.name(), rule.chain, rule.number));
    }
    fn decided(&mut self, _: &Packet, rule: RuleRef<'_>, verdict: &str) {
        self.said.push(format!("{} {} {} {verdict}", rule.table.name(), rule.chain, rule.number));
    }
}

pub(super) fn v4(n: u32) -> IpAddr {
    IpAddr::V4(Ipv4Addr::from(n))
}

pub(super) fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

/// `10.0.0.0/8`.
pub(super) fn net(text: &str) -> AddrMask {
    let (addr, len) = text.split_once('/').expect("a prefix");
    let len: u32 = len.parse().expect("a length");
    match ip(addr) {
        IpAddr::V4(a) => {
            let mask = u32::MAX.checked_shl(32 - len).unwrap_or(0);
            AddrMask { addr: v4(u32::from(a) & mask), mask: v4(mask) }
        }
        IpAddr::V6(a) => {
            let mask = u128::MAX.checked_shl(128 - len).unwrap_or(0);
            let v6 = |n: u128| IpAddr::V6(Ipv6Addr::from(n));
            AddrMask { addr: v6(u128::from(a) & mask), mask: v6(mask) }
        }
    }
}

pub(super) fn port(n: u16) -> Option<Not<Ports>> {
    Some(Not::is(Ports { first: n, last: n }))
}

pub(super) fn dport(n: u16) -> Match {
    Match::Tcp(Tcp { dport: port(n), ..Tcp::default() })
}

pub(super) fn rule(basic: Basic, matches: impl Into<Vec<Match>>, target: Target) -> Rule {
    Rule { line: 0, counters: Count::default(), says: Says { basic, matches: matches.into(), target }.into() }
}

/// A rule that only asks matches.
pub(super) fn when(m: Match, target: Target) -> Rule {
    rule(Basic::default(), [m], target)
}

/// A table with these chains; the built-in ones that are missing accept.
pub(super) fn table(name: TableName, given: Vec<(&str, Vec<Rule>)>) -> Table {
    let built_in: Vec<&str> = name.hooks().iter().map(|h| h.name()).collect();
    let chain = |name: &str, policy, rules| Chain {
        name: name.into(),
        policy,
        counters: Count::default(),
        rules: Vec::into(rules),
    };
    let mut chains: Vec<Chain> =
        built_in.iter().map(|n| chain(n, Some(Policy::Accept), Vec::new())).collect();
    for (name, rules) in given {
        match chains.iter_mut().find(|c| c.name == name) {
            Some(c) => c.rules = rules.into(),
            None => chains.push(chain(name, None, rules)),
        }
    }
    Table { name, chains }
}

pub(super) fn ruleset(family: Family, tables: Vec<Table>) -> Ruleset {
    Ruleset { family, tables }
}

/// An IP packet as ingress would leave it, TTL 64, whole.
pub(super) fn packet(src: IpAddr, dst: IpAddr, proto: u8, l4: &[u8]) -> Packet {
    let mut b = match (src, dst) {
        (IpAddr::V4(s), IpAddr::V4(d)) => {
            let mut b = vec![0x45, 0, 0, 0, 0x12, 0x34, 0, 0, 64, proto, 0, 0];
            b.extend(s.octets());
            b.extend(d.octets());
            b
        }
        (IpAddr::V6(s), IpAddr::V6(d)) => {
            let mut b = vec![0x60, 0, 0, 0, 0, 0, proto, 64];
            b.extend(s.octets());
            b.extend(d.octets());
            b
        }
        _ => panic!("two families"),
    };
    b.extend_from_slice(l4);
    parse(&mut b)
}

/// Fills in lengths and sums of the IP header, and the metadata.
pub(super) fn parse(b: &mut [u8]) -> Packet {
    let len = b.len();
    let mut p;
    if b[0] >> 4 == 4 {
        let mut ip = Ipv4::new(&mut *b).expect("a header");
        ip.set_total_len(len as u16);
        ip.fill_checksum();
        let (offset, more, header) = (ip.frag_offset(), ip.more_fragments(), ip.header_len());
        p = Packet::from_slice(b);
        p.meta.net = Net::Ipv4;
        p.meta.proto = b[9];
        p.meta.frag = match (offset, more) {
            (0, false) => Frag::Whole,
            (0, true) => Frag::First,
            _ => Frag::Later,
        };
        p.meta.l4 = if p.meta.frag == Frag::Later { 0 } else { header as u16 };
    } else {
        b[4..6].copy_from_slice(&((len - 40) as u16).to_be_bytes());
        p = Packet::from_slice(b);
        p.meta.net = Net::Ipv6;
        let hidden = ipv6_ext::Chain { proto: proto::NONE, ..ipv6_ext::Chain::default() };
        let chain = ipv6_ext::walk(b).unwrap_or(hidden);
        (p.meta.proto, p.meta.l4) = (chain.proto, chain.l4 as u16);
        p.meta.frag = match chain.frag {
            Some(f) if f.offset != 0 => Frag::Later,
            Some(f) if f.more => Frag::First,
            _ => Frag::Whole,
        };
    }
    p.meta.ingress = ETH0;
    p
}

/// A TCP header with options (a multiple of four bytes), its checksum right.
pub(super) fn tcp(src: IpAddr, dst: IpAddr, ports: (u16, u16), flags: u8, options: &[u8]) -> Packet {
    let mut l4 = vec![0; 20];
    l4[..2].copy_from_slice(&ports.0.to_be_bytes());
    l4[2..4].copy_from_slice(&ports.1.to_be_bytes());
    l4[12] = (5 + options.len() as u8 / 4) << 4;
    l4[13] = flags;
    l4.extend_from_slice(options);
    let sum =
        checksum::pseudo(src, dst, proto::TCP, l4.len() as u32).expect("one family") + checksum::sum(&l4);
    l4[16..18].copy_from_slice(&(!checksum::fold(sum)).to_be_bytes());
    packet(src, dst, proto::TCP, &l4)
}

pub(super) fn udp(src: IpAddr, dst: IpAddr, ports: (u16, u16)) -> Packet {
    let [a, b] = ports.0.to_be_bytes();
    let [c, d] = ports.1.to_be_bytes();
    packet(src, dst, proto::UDP, &[a, b, c, d, 0, 8, 0, 0])
}

/// A tracked packet, and its flow.
pub(super) fn tracked(p: &mut Packet, world: &mut World, state: CtState, status: Status) {
    let end = |ip: &str| flow::pack(ip.parse().expect("an address"));
    let tuple = |src: &str, dst: &str, ports: (u16, u16)| Tuple {
        src: end(src),
        dst: end(dst),
        src_port: ports.0,
        dst_port: ports.1,
        proto: p.meta.proto,
        v6: src.contains(':'),
    };
    p.meta.ct.state = state;
    let tuples = match p.meta.net {
        Net::Ipv6 => [tuple("fd00::1", "fd00::2", (4000, 80)), tuple("fd00::9", "fd00::1", (8080, 4000))],
        _ => [tuple("10.0.0.1", "10.0.0.2", (4000, 80)), tuple("10.9.0.9", "10.0.0.1", (8080, 4000))],
    };
    world.flow = Some(FlowView { tuples, status, mark: 0x22, expires: 100 });
}

/// Whether all checksums of a packet that claims to be finished are right.
pub(super) fn sums_are_right(p: &Packet) -> bool {
    let (src, dst) = match p.meta.net {
        Net::Ipv4 => {
            let ip = Ipv4::new(p.l3()).expect("a header");
            if !ip.verify_checksum() || usize::from(ip.total_len()) != p.l3_len() {
                return false;
            }
            (ip.src().into(), ip.dst().into())
        }
        _ => {
            let ip = crate::wire::ipv6::Ipv6::new(p.l3()).expect("a header");
            if usize::from(ip.payload_len()) + 40 != p.l3_len() {
                return false;
            }
            (IpAddr::V6(ip.src()), IpAddr::V6(ip.dst()))
        }
    };
    let mut p = p.clone();
    if matches!(p.meta.offload.csum, Csum::Partial { .. }) && !crate::packet::offload::finish_checksum(&mut p)
    {
        return false;
    }
    p.meta.proto != proto::TCP || crate::wire::transport::verify(src, dst, proto::TCP, p.l4())
}
