//! The oracle: rules asked one after the other, straight from the data, every time.
//!
//! Shares nothing with the program but the data and the packet's bytes.

use std::collections::HashMap;
use std::net::IpAddr;

use crate::base::Hook;
use crate::filter::matches::{AddrMask, Hops, Match, Not, PktType, Ports, Side, Which};
use crate::filter::rule::{Chain, Count, Policy, Rule, Ruleset, TableName};
use crate::filter::targets::{Connmark, SetHops, Target};
use crate::filter::verdict::{Env, NatAction, Verdict};
use crate::packet::{CtState, Direction, L2Kind, NatRange, Net, Packet};

use super::rig::World;

/// The naive router's memory: what matches remember, and what was counted.
#[derive(Debug, Default)]
pub(super) struct Naive {
    pub(super) counts: HashMap<(TableName, usize, usize), Count>,
    /// Credits in units of 1/32,000 s and the millisecond they were last looked at; packets counted.
    limits: HashMap<(TableName, usize, usize, usize), (u64, u64)>,
    nths: HashMap<(TableName, usize, usize, usize), u32>,
}

enum Next {
    Fall,
    Return,
    End(Verdict),
}

/// Where a header was found.
struct Upper {
    proto: u8,
    at: usize,
    offset: usize,
}

impl Naive {
    pub(super) fn run(&mut self, rules: &Ruleset, name: TableName, p: &mut Packet, w: &mut World) -> Verdict {
        let Some(table) = rules.tables.iter().find(|t| t.name == name) else { return Verdict::Accept };
        let Some(at) = table.chains.iter().position(|c| c.policy.is_some() && c.name == w.hook.name()) else {
            return Verdict::Accept;
        };
        if let Next::End(verdict) = self.chain(&table.chains, name, at, p, w) {
            return verdict;
        }
        self.count(name, at, 0, p);
        match table.chains[at].policy {
            Some(Policy::Drop) => Verdict::Drop,
            _ => Verdict::Accept,
        }
    }

    fn count(&mut self, name: TableName, chain: usize, rule: usize, p: &Packet) {
        let count = self.counts.entry((name, chain, rule)).or_default();
        count.packets += 1;
        count.bytes += p.l3().len() as u64;
    }

    fn chain(&mut self, chains: &[Chain], name: TableName, at: usize, p: &mut Packet, w: &mut World) -> Next {
        let find = |n: &str| chains.iter().position(|c| c.name == n).expect("a chain");
        for (n, rule) in chains[at].rules.iter().enumerate() {
            match self.matches(rule, (name, at, n), p, w) {
                Err(()) => return Next::End(Verdict::Drop),
                Ok(false) => continue,
                Ok(true) => self.count(name, at, n + 1, p),
            }
            match &rule.target {
                Target::Jump(to) => match self.chain(chains, name, find(to), p, w) {
                    Next::End(v) => return Next::End(v),
                    Next::Fall | Next::Return => {}
                },
                Target::Goto(to) => return self.chain(chains, name, find(to), p, w),
                Target::Return => return Next::Return,
                other => {
                    if let Some(verdict) = act(other, p, w) {
                        return Next::End(verdict);
                    }
                }
            }
        }
        Next::Fall
    }

    fn matches(
        &mut self,
        rule: &Rule,
        key: (TableName, usize, usize),
        p: &Packet,
        w: &mut World,
    ) -> Result<bool, ()> {
        let b = &rule.basic;
        let l3 = p.l3();
        let v6 = p.meta.net == Net::Ipv6;
        let (src, dst) = ends(l3, v6);
        let in_net = |a: &[u8], n: &AddrMask| {
            let octets = |ip: IpAddr| match ip {
                IpAddr::V4(a) => a.octets().to_vec(),
                IpAddr::V6(a) => a.octets().to_vec(),
            };
            a.iter().zip(octets(n.mask)).zip(octets(n.addr)).all(|((a, m), v)| a & m == v)
        };
        let named = |pattern: &String, link| {
            let name = match link {
                Some(link) => w.link_name(link),
                None => "",
            };
            match pattern.strip_suffix('+') {
                Some(begin) => name.starts_with(begin),
                None => name == pattern,
            }
        };
        if b.src.is_some_and(|n| in_net(src, &n.value) == n.not)
            || b.dst.is_some_and(|n| in_net(dst, &n.value) == n.not)
            || b.in_link.as_ref().is_some_and(|n| named(&n.value, w.in_link) == n.not)
            || b.out_link.as_ref().is_some_and(|n| named(&n.value, w.out_link) == n.not)
        {
            return Ok(false);
        }
        let upper = upper(l3, v6);
        if let Some(proto) = b.proto {
            let upper = upper.as_ref().ok_or(())?;
            if (upper.proto == proto.value) == proto.not {
                return Ok(false);
            }
        }
        if let Some(f) = b.fragment
            && !v6
            && (upper.as_ref().is_some_and(|u| u.offset != 0)) == f.not
        {
            return Ok(false);
        }
        let upper = upper.unwrap_or(Upper { proto: 0, at: 0, offset: 0 });
        for (n, m) in rule.matches.iter().enumerate() {
            if !self.one(m, (key.0, key.1, key.2, n), &upper, p, w)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn one(
        &mut self,
        m: &Match,
        key: (TableName, usize, usize, usize),
        upper: &Upper,
        p: &Packet,
        w: &mut World,
    ) -> Result<bool, ()> {
        let l3 = p.l3();
        let v6 = p.meta.net == Net::Ipv6;
        let l4 = l3.get(upper.at..).unwrap_or(&[]);
        let whole = |len: usize| if l4.len() < len { Err(()) } else { Ok(()) };
        let ports = || ([l4[0], l4[1]], [l4[2], l4[3]]);
        let in_ports = |r: &Ports, port: [u8; 2]| {
            let port = u16::from_be_bytes(port);
            r.first <= port && port <= r.last
        };
        let ok = |range: &Option<Not<Ports>>, port| range.is_none_or(|r| in_ports(&r.value, port) != r.not);
        Ok(match m {
            Match::Tcp(t) => {
                if upper.offset != 0 {
                    return if !v6 && upper.offset == 1 { Err(()) } else { Ok(false) };
                }
                whole(20)?;
                let (s, d) = ports();
                if !ok(&t.sport, s) || !ok(&t.dport, d) {
                    return Ok(false);
                }
                if t.flags.is_some_and(|f| (l4[13] & f.value.0 == f.value.1) == f.not) {
                    return Ok(false);
                }
                let Some(option) = t.option.filter(|o| o.value != 0) else { return Ok(true) };
                let end = usize::from(l4[12] >> 4) * 4;
                if end < 20 {
                    return Err(());
                }
                whole(end)?;
                let mut at = 20;
                let mut found = false;
                while at < end && !found {
                    found = l4[at] == option.value;
                    let len = if l4[at] < 2 || at + 1 >= end { 1 } else { usize::from(l4[at + 1]) };
                    at += len.max(1);
                }
                found != option.not
            }
            Match::Udp { sport, dport } => {
                if upper.offset != 0 {
                    return Ok(false);
                }
                whole(8)?;
                let (s, d) = ports();
                ok(sport, s) && ok(dport, d)
            }
            Match::Icmp(t) => {
                if upper.offset != 0 {
                    return Ok(false);
                }
                whole(8)?;
                let c = t.value.codes;
                let is = l4[0] == t.value.kind && c.0 <= l4[1] && l4[1] <= c.1;
                (is || t.value.kind == 255 && !v6) != t.not
            }
            Match::Multiport { which, ports: list } => {
                if upper.offset != 0 {
                    return Ok(false);
                }
                whole(4)?;
                let (s, d) = ports();
                let has = |port| list.value.iter().any(|r| in_ports(r, port));
                let is = match which {
                    Which::Source => has(s),
                    Which::Destination => has(d),
                    Which::Either => has(s) || has(d),
                };
                is != list.not
            }
            Match::State(s) => (s.value.0 & state(p, None) != 0) != s.not,
            Match::Conntrack(c) => {
                let flow = w.flow(p);
                if let Some(s) = c.state
                    && (s.value.0 & state(p, flow.map(|f| f.status.0)) != 0) == s.not
                {
                    return Ok(false);
                }
                let Some(flow) = flow else { return Ok(c.state.is_some()) };
                let [o, r] = flow.tuples;
                let addr = |want: &Option<Not<AddrMask>>, has: IpAddr| {
                    want.is_none_or(|n| {
                        let bits = |ip| match ip {
                            IpAddr::V4(a) => u128::from(u32::from(a)),
                            IpAddr::V6(a) => u128::from(a),
                        };
                        (bits(has) & bits(n.value.mask) == bits(n.value.addr)) != n.not
                    })
                };
                let dir = p.meta.ct.dir == Direction::Original;
                c.original.is_none_or(|original| original == dir)
                    && addr(&c.orig_src, o.src())
                    && addr(&c.orig_dst, o.dst())
                    && addr(&c.repl_src, r.src())
                    && addr(&c.repl_dst, r.dst())
                    && c.proto.is_none_or(|n| (n.value == o.proto) != n.not)
                    && ok(&c.orig_src_port, o.src_port.to_be_bytes())
                    && ok(&c.orig_dst_port, o.dst_port.to_be_bytes())
                    && ok(&c.repl_src_port, r.src_port.to_be_bytes())
                    && ok(&c.repl_dst_port, r.dst_port.to_be_bytes())
                    && c.status.is_none_or(|n| (flow.status.0 & n.value.bits != 0) != n.not)
                    && c.expire
                        .is_none_or(|n| (n.value.0 <= flow.expires && flow.expires <= n.value.1) != n.not)
            }
            Match::Mark(n) => (p.meta.mark & n.value.mask == n.value.value) != n.not,
            Match::Connmark(n) => match w.flow(p) {
                Some(flow) => (flow.mark & n.value.mask == n.value.value) != n.not,
                None => false,
            },
            Match::IpRange { src, dst } => {
                let ends = ends(l3, v6);
                let within = |has: &[u8], range: &Option<Not<(IpAddr, IpAddr)>>| {
                    range.is_none_or(|n| {
                        let has: IpAddr = match <[u8; 4]>::try_from(has) {
                            Ok(a) => a.into(),
                            Err(_) => <[u8; 16]>::try_from(has).expect("an address").into(),
                        };
                        (n.value.0 <= has && has <= n.value.1) != n.not
                    })
                };
                within(ends.0, src) && within(ends.1, dst)
            }
            Match::Mac(n) => p.meta.l3 == 14 && (p.data()[6..12] == n.value.0) != n.not,
            Match::Limit { every, burst } => {
                let (cap, cost) =
                    (u64::from(*every) * u64::from(*burst) * 16 / 5, u64::from(*every) * 16 / 5);
                let ms = w.now().as_millis();
                let (credits, last) = self.limits.entry(key).or_insert((cap, ms));
                *credits = (*credits + (ms - *last) * 32).min(cap);
                *last = ms;
                let pays = *credits >= cost;
                *credits -= if pays { cost } else { 0 };
                pays
            }
            Match::Length(n) => {
                (usize::from(n.value.0) <= l3.len() && l3.len() <= usize::from(n.value.1)) != n.not
            }
            Match::Ttl(h) | Match::Hl(h) => {
                let ttl = if v6 { l3[7] } else { l3[8] };
                match h {
                    Hops::Eq(n) => (ttl == n.value) != n.not,
                    Hops::Lt(n) => ttl < *n,
                    Hops::Gt(n) => ttl > *n,
                }
            }
            Match::Tos(n) => (u32::from(tos(l3, v6)) & n.value.mask == n.value.value) != n.not,
            Match::Dscp(n) => (tos(l3, v6) >> 2 == n.value) != n.not,
            Match::Ecn { cwr, ece, ect } => {
                if ect.is_some_and(|e| (tos(l3, v6) & 3 == e.value) == e.not) {
                    return Ok(false);
                }
                if cwr.is_none() && ece.is_none() {
                    return Ok(true);
                }
                l4.len() >= 20
                    && ece.is_none_or(|set| (l4[13] & 0x40 != 0) == set)
                    && cwr.is_none_or(|set| (l4[13] & 0x80 != 0) == set)
            }
            Match::PktType(n) => {
                let is = match n.value {
                    PktType::Unicast => L2Kind::Host,
                    PktType::Broadcast => L2Kind::Broadcast,
                    PktType::Multicast => L2Kind::Multicast,
                    PktType::OtherHost => return Ok(n.not),
                };
                (p.meta.l2 == is) != n.not
            }
            Match::AddrType { src, dst, limit } => {
                assert!(!v6, "the oracle knows types of IPv4 only");
                let on = match limit {
                    None => None,
                    Some(Side::In) => w.in_link,
                    Some(Side::Out) => w.out_link,
                };
                let (s, d) = ends(l3, v6);
                let mut is = |has: &[u8], want: &Option<Not<crate::filter::matches::AddrTypes>>| {
                    want.is_none_or(|n| {
                        let addr: IpAddr = <[u8; 4]>::try_from(has).expect("IPv4").into();
                        (w.addr_type(addr, on).0 & n.value.0 != 0) != n.not
                    })
                };
                is(s, src) && is(d, dst)
            }
            Match::Random(n) => (w.random() << 1 >> 1 < n.value) != n.not,
            Match::Nth { not, every, packet } => {
                let seen = self.nths.entry(key).or_insert(0);
                let is = *seen == *packet;
                *seen = (*seen + 1) % every;
                is != *not
            }
            Match::Comment(_) => true,
        })
    }
}

/// What targets without a verdict of their own do; a verdict otherwise.
fn act(target: &Target, p: &mut Packet, w: &mut World) -> Option<Verdict> {
    let v6 = p.meta.net == Net::Ipv6;
    match target {
        Target::None => {}
        Target::Accept => return Some(Verdict::Accept),
        Target::Drop => return Some(Verdict::Drop),
        Target::Reject(with) => return Some(Verdict::Reject(*with)),
        Target::Mark(m) => p.meta.mark = (p.meta.mark & !m.mask) ^ m.value,
        Target::Connmark(c) => {
            if let Some(flow) = w.flow(p) {
                match c {
                    Connmark::Set(m) => w.set_flow_mark(p, (flow.mark & !m.mask) ^ m.value),
                    Connmark::Save { nf_mask, ct_mask } => {
                        w.set_flow_mark(p, (flow.mark & !ct_mask) ^ (p.meta.mark & nf_mask));
                    }
                    Connmark::Restore { nf_mask, ct_mask } => {
                        p.meta.mark = (p.meta.mark & !nf_mask) ^ (flow.mark & ct_mask);
                    }
                }
            }
        }
        Target::Tos(m) => {
            let old = u32::from(tos(p.l3(), v6));
            set_tos(p, ((old & !m.mask) ^ m.value) as u8, v6);
        }
        Target::Dscp(n) => {
            let old = tos(p.l3(), v6);
            set_tos(p, old & 3 | n << 2, v6);
        }
        Target::Hops(h) => {
            let at = if v6 { 7 } else { 8 };
            let old = i32::from(p.l3()[at]);
            let new = match h {
                SetHops::Set(n) => i32::from(*n),
                SetHops::Inc(n) => old + i32::from(*n),
                SetHops::Dec(n) => old - i32::from(*n),
            };
            p.l3_mut()[at] = new.clamp(0, 255) as u8;
            resum(p, v6);
        }
        Target::CtNotrack | Target::Notrack => {
            if p.meta.ct.state == CtState::Unseen || p.meta.ct.state == CtState::Invalid {
                p.meta.ct.state = CtState::Untracked;
            }
        }
        Target::Snat(r) => return Some(Verdict::Nat(NatAction::Snat(*r))),
        Target::Dnat(r) => return Some(Verdict::Nat(NatAction::Dnat(*r))),
        Target::Masquerade(r) => return Some(Verdict::Nat(NatAction::Masquerade(*r))),
        Target::Redirect(r) => return Some(Verdict::Nat(NatAction::Redirect(*r))),
        Target::Netmap { addr: IpAddr::V4(addr), prefix_len } => {
            let host = u64::from(u32::MAX) >> prefix_len;
            let first = u64::from(u32::from(*addr)) & !host;
            let addr = Some((super::rig::v4(first as u32), super::rig::v4((first | host) as u32)));
            let range = NatRange { addr, netmap: true, ..NatRange::default() };
            let destination = matches!(w.hook, Hook::Prerouting | Hook::Output);
            return Some(Verdict::Nat(if destination {
                NatAction::Dnat(range)
            } else {
                NatAction::Snat(range)
            }));
        }
        other => panic!("the oracle does not know {other:?}"),
    }
    None
}

fn ends(l3: &[u8], v6: bool) -> (&[u8], &[u8]) {
    if v6 { (&l3[8..24], &l3[24..40]) } else { (&l3[12..16], &l3[16..20]) }
}

fn tos(l3: &[u8], v6: bool) -> u8 {
    if v6 { l3[0] << 4 | l3[1] >> 4 } else { l3[1] }
}

fn set_tos(p: &mut Packet, tos: u8, v6: bool) {
    let l3 = p.l3_mut();
    if v6 {
        l3[0] = l3[0] & 0xf0 | tos >> 4;
        l3[1] = l3[1] & 0x0f | tos << 4;
    } else {
        l3[1] = tos;
    }
    resum(p, v6);
}

/// The header checksum, anew.
fn resum(p: &mut Packet, v6: bool) {
    if let Some(mut ip) = crate::wire::ipv4::Ipv4::new(p.l3_mut()).filter(|_| !v6) {
        ip.fill_checksum();
    }
}

fn state(p: &Packet, status: Option<u32>) -> u8 {
    let state = match p.meta.ct.state {
        CtState::Unseen | CtState::Invalid => 1,
        CtState::Established => 2,
        CtState::Related => 4,
        CtState::New => 8,
        CtState::Untracked => 16,
    };
    let status = status.unwrap_or(0);
    // IPS_SRC_NAT and IPS_DST_NAT are bits 4 and 5 of the status, SNAT and DNAT 5 and 6 of the states.
    state | ((status & 0x30) << 1) as u8
}

fn upper(l3: &[u8], v6: bool) -> Option<Upper> {
    if !v6 {
        let offset = usize::from(l3[6] & 0x1f) << 8 | usize::from(l3[7]);
        return Some(Upper { proto: l3[9], at: usize::from(l3[0] & 15) * 4, offset });
    }
    let (mut next, mut at) = (l3[6], 40);
    while [0, 43, 44, 51, 60].contains(&next) {
        if at + 2 > l3.len() || next == 43 && at + 4 > l3.len() || next == 44 && at + 4 > l3.len() {
            return None;
        }
        let offset =
            if next == 44 { usize::from(l3[at + 2]) << 8 | usize::from(l3[at + 3] & 0xf8) } else { 0 };
        if offset != 0 {
            let proto = l3[at];
            return (![0, 43, 44, 51, 60].contains(&proto)).then_some(Upper { proto, at: 0, offset });
        }
        let units = usize::from(l3[at + 1]);
        let len = match next {
            44 => 8,
            51 => units * 4 + 8,
            _ => units * 8 + 8,
        };
        next = l3[at];
        at += len;
    }
    Some(Upper { proto: next, at, offset: 0 })
}
