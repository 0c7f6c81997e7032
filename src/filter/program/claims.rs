//! The ports that DNAT rules wait at, so that NAT gives them to nobody else (CVE-2021-3773).

use std::collections::HashSet;
use std::net::IpAddr;

use crate::filter::matches::{AddrMask, Match, Ports, Which};
use crate::filter::rule::{Rule, Ruleset, Table, TableName};
use crate::filter::targets::Target;
use crate::packet::NatRange;
use crate::wire::proto;

/// A port or some, at an address or at all, that packets are to be led away from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Claim {
    /// The protocol: TCP, UDP, or another with ports.
    pub proto: u8,
    /// The addresses, if the rule names some.
    pub dst: Option<AddrMask>,
    /// The ports.
    pub ports: Ports,
    /// Where they lead to, if it is somewhere else than this router.
    pub to: Option<(IpAddr, IpAddr)>,
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
pub(super) fn claims(rules: &Ruleset) -> Vec<Claim> {
    let Some(table) = rules.tables.iter().find(|t| t.name == TableName::Nat) else { return Vec::new() };
    let mut claims = Vec::new();
    let mut known = HashSet::new();
    let mut seen = HashSet::new();
    let mut line = vec![("PREROUTING", Way::default())];
    while let Some((chain, way)) = line.pop() {
        if seen.len() >= MOST || !seen.insert((chain, way.clone())) {
            continue;
        }
        for rule in rules_of(table, chain) {
            let way = way.narrowed(rule);
            match &rule.target {
                Target::Jump(to) | Target::Goto(to) => line.push((to, way)),
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

fn rules_of<'a>(table: &'a Table, chain: &str) -> &'a [Rule] {
    table.chains.iter().find(|c| c.name == chain).map_or(&[], |c| &c.rules)
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
