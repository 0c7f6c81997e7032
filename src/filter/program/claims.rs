//! The ports that DNAT and REDIRECT rules send elsewhere, so that NAT gives them to nobody.
//!
//! A host inside that picks such a port as its own source, and gets it from SNAT, would receive what is meant
//! for the service (CVE-2021-3773, "port shadow"). Linux gives it away; this router does not.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

use crate::filter::matches::{AddrMask, Match, Ports, Which};
use crate::filter::rule::{Rule, Ruleset, Table, TableName};
use crate::filter::targets::Target;
use crate::packet::NatRange;
use crate::wire::proto;

/// The ports that the rules of one family send elsewhere.
#[derive(Debug, Clone, Default)]
pub struct Claims {
    /// Of one port, by protocol and port.
    single: HashMap<(u8, u16), Vec<Claim>>,
    /// Of more than one port.
    ranges: Vec<Claim>,
}

impl Claims {
    /// Those of a ruleset.
    pub(super) fn of(rules: &Ruleset) -> Self {
        let mut claims = Claims::default();
        for claim in list(rules) {
            if claim.ports.first == claim.ports.last {
                claims.single.entry((claim.proto, claim.ports.first)).or_default().push(claim);
            } else {
                claims.ranges.push(claim);
            }
        }
        claims
    }

    /// Whether a rule sends what comes to this address and port elsewhere than to `from`, who wants it.
    pub fn hold(&self, proto: u8, addr: IpAddr, port: u16, from: IpAddr) -> bool {
        let elsewhere = |c: &Claim| c.to.is_none_or(|(first, last)| !(first..=last).contains(&from));
        let holds = |c: &&Claim| c.dst.as_ref().is_none_or(|d| d.covers(addr)) && elsewhere(c);
        let within = |c: &&Claim| c.proto == proto && (c.ports.first..=c.ports.last).contains(&port);
        self.single.get(&(proto, port)).is_some_and(|list| list.iter().any(|c| holds(&c)))
            || self.ranges.iter().filter(within).any(|c| holds(&c))
    }
}

/// A port or some, at an address or at all, that packets are to be led away from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Claim {
    /// The protocol: TCP, UDP, or another with ports.
    pub(super) proto: u8,
    /// The addresses, if the rule names some.
    pub(super) dst: Option<AddrMask>,
    /// The ports.
    pub(super) ports: Ports,
    /// Where they lead to, if it is somewhere else than this router.
    pub(super) to: Option<(IpAddr, IpAddr)>,
}

/// Claims looked for at most: a ruleset of more has them all alike.
const MOST: usize = 65_536;

/// What is known of a packet that came to a chain, as far as it matters here.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
struct Way {
    proto: Option<u8>,
    dst: Option<AddrMask>,
    ports: Vec<Ports>,
}

/// The claims of all DNAT and REDIRECT rules that packets in PREROUTING come to. Ports and addresses count wherever
/// they are named on the way: in the rule itself, or in one that jumps to its chain.
pub(super) fn list(rules: &Ruleset) -> Vec<Claim> {
    let Some(table) = rules.tables.iter().find(|t| t.name == TableName::Nat) else { return Vec::new() };
    let places: HashMap<&str, usize> =
        table.chains.iter().enumerate().map(|(place, chain)| (chain.name.as_str(), place)).collect();
    let leads = leading(table, &places);
    let mut claims = Vec::new();
    let mut known = HashSet::new();
    let mut seen = HashSet::new();
    let mut line: Vec<(usize, Way)> =
        places.get("PREROUTING").map(|p| (*p, Way::default())).into_iter().collect();
    while let Some((chain, way)) = line.pop() {
        if !leads[chain] || seen.len() >= MOST || !seen.insert((chain, way.clone())) {
            continue;
        }
        for rule in &table.chains[chain].rules {
            match &rule.target {
                Target::Jump(_) | Target::Goto(_) | Target::Dnat(_) | Target::Redirect(_) => {}
                _ => continue,
            }
            let way = way.narrowed(rule);
            match &rule.target {
                Target::Jump(to) | Target::Goto(to) => {
                    line.extend(places.get(to.as_str()).map(|place| (*place, way)));
                }
                Target::Dnat(NatRange { addr: to, .. }) | Target::Redirect(NatRange { addr: to, .. }) => {
                    let Some(proto) = way.proto else { continue };
                    for ports in way.ports {
                        let claim = Claim { proto, dst: way.dst, ports, to: *to };
                        if known.len() < MOST && known.insert(claim) {
                            claims.push(claim);
                        }
                    }
                }
                _ => {}
            }
        }
    }
    claims
}

/// From which chains packets come to a DNAT or REDIRECT rule: what others ask on the way is all the same.
fn leading(table: &Table, places: &HashMap<&str, usize>) -> Vec<bool> {
    let mut leads = vec![false; table.chains.len()];
    let mut from: Vec<Vec<usize>> = vec![Vec::new(); table.chains.len()];
    let mut line = Vec::new();
    for (place, chain) in table.chains.iter().enumerate() {
        for rule in &chain.rules {
            match &rule.target {
                Target::Dnat(_) | Target::Redirect(_) => line.push(place),
                Target::Jump(to) | Target::Goto(to) => {
                    if let Some(to) = places.get(to.as_str()) {
                        from[*to].push(place);
                    }
                }
                _ => {}
            }
        }
    }
    while let Some(place) = line.pop() {
        if !std::mem::replace(&mut leads[place], true) {
            line.extend(&from[place]);
        }
    }
    leads
}

impl Way {
    /// What is known behind a rule as well; what it names is nearer than what was named before.
    fn narrowed(&self, rule: &Rule) -> Way {
        let mut way = self.clone();
        if let Some(proto) = rule.basic.proto.filter(|p| !p.not) {
            way.proto = Some(proto.value);
        }
        if let Some(dst) = rule.basic.dst.filter(|d| !d.not) {
            way.dst = Some(dst.value);
        }
        for m in &rule.matches {
            let ports: Vec<Ports> = match m {
                Match::Tcp(t) => t.dport.filter(|p| !p.not).map(|p| p.value).into_iter().collect(),
                Match::Udp { dport, .. } => dport.filter(|p| !p.not).map(|p| p.value).into_iter().collect(),
                Match::Multiport { which: Which::Destination | Which::Either, ports } if !ports.not => {
                    ports.value.clone()
                }
                _ => continue,
            };
            // All ports is none in particular.
            let all = Ports { first: 0, last: u16::MAX };
            if !ports.is_empty() && !ports.contains(&all) {
                way.ports = ports;
            }
            way.proto = way.proto.or(match m {
                Match::Tcp(_) => Some(proto::TCP),
                Match::Udp { .. } => Some(proto::UDP),
                _ => None,
            });
        }
        way
    }
}
