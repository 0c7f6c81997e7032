//! What the kernel checks when a table is loaded, checked before.
//!
//! A match or target may be used in some tables, at some hooks and for some protocols only. A rule in a user's chain is
//! at every hook from which packets come to it; the kernel follows the jumps to find which, and stops in a chain at a
//! rule that lets no packet past it. So do we.

use std::collections::HashMap;

use crate::base::Hook;
use crate::filter::matches::{AddrTypes, Match, Not, Side};
use crate::filter::rule::{Basic, Family, Rule, Table, TableName};
use crate::filter::targets::{Mss, RejectWith, Target};
use crate::wire::proto;

use super::draft::goes_to;
use super::matches::LIMIT_SCALE;
use super::no::{No, Why};

/// Checks a table; `wrong` is told the line and what is wrong there.
pub(super) fn check(table: &Table, family: Family, wrong: &mut dyn FnMut(usize, No)) {
    let graph = Graph::of(table);
    if let Some((line, text)) = graph.a_loop(table) {
        wrong(line, No::Refused(Why::Loop, text));
        return;
    }
    let hooks = graph.hooks(table);
    for (chain, (at, end)) in table.chains.iter().zip(hooks.iter().zip(&graph.ends)) {
        for (i, rule) in chain.rules.iter().enumerate() {
            let at = if i <= *end { *at } else { Hooks(0) };
            if let Err(no) = one(rule, table.name, at, family) {
                wrong(rule.line, no);
            }
        }
    }
}

/// A set of hooks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Hooks(u8);

impl Hooks {
    const fn of(hooks: &[Hook]) -> Hooks {
        let mut bits = 0;
        let mut i = 0;
        while i < hooks.len() {
            bits |= 1 << hooks[i] as u8;
            i += 1;
        }
        Hooks(bits)
    }

    fn has(self, hook: Hook) -> bool {
        self.0 & 1 << hook as u8 != 0
    }

    /// The first hook of these that is not among `allowed`.
    fn beyond(self, allowed: Hooks) -> Option<Hook> {
        crate::base::HOOKS.into_iter().find(|h| self.has(*h) && !allowed.has(*h))
    }
}

/// Where the rules of each chain go.
struct Graph {
    /// For each chain the chains its rules go to, with the rule's line and place.
    edges: Vec<Vec<(usize, usize, usize)>>,
    /// For each chain the place of the first rule that nothing passes; beyond any if there is none.
    ends: Vec<usize>,
}

impl Graph {
    fn of(table: &Table) -> Graph {
        let places: HashMap<&str, usize> =
            table.chains.iter().enumerate().map(|(i, c)| (c.name.as_str(), i)).collect();
        let edges = |rules: &[Rule]| {
            let edge = |(i, r): (usize, &Rule)| Some((*places.get(goes_to(r)?)?, r.line, i));
            rules.iter().enumerate().filter_map(edge).collect()
        };
        Graph {
            edges: table.chains.iter().map(|c| edges(&c.rules)).collect(),
            ends: table
                .chains
                .iter()
                .map(|c| c.rules.iter().position(lets_nothing_past).unwrap_or(usize::MAX))
                .collect(),
        }
    }

    /// A loop of jumps that packets come to, if there is one: the line that closes it.
    fn a_loop(&self, table: &Table) -> Option<(usize, String)> {
        let mut done = vec![false; self.edges.len()];
        let mut on_path = vec![false; self.edges.len()];
        for start in 0..table.name.hooks().len() {
            // Chains on the way from the start, each with the next of its edges to follow.
            let mut path = vec![(start, 0)];
            while let Some((chain, next)) = path.last_mut() {
                let here = *chain;
                if done[here] {
                    path.pop();
                    continue;
                }
                on_path[here] = true;
                // The rules stand in order: behind one that nothing passes all are out of reach.
                let within = |edge: &&(usize, usize, usize)| edge.2 < self.ends[here];
                let Some(&(to, line, _)) = self.edges[here].get(*next).filter(within) else {
                    on_path[here] = false;
                    done[here] = true;
                    path.pop();
                    continue;
                };
                *next += 1;
                if on_path[to] {
                    let from = path.iter().position(|(c, _)| *c == to).unwrap_or(0);
                    let names: Vec<&str> =
                        path[from..].iter().map(|(c, _)| table.chains[*c].name.as_str()).collect();
                    return Some((line, format!("a loop of jumps: {} and back", names.join(", "))));
                }
                path.push((to, 0));
            }
        }
        None
    }

    /// From which hooks packets come to each chain.
    fn hooks(&self, table: &Table) -> Vec<Hooks> {
        let mut hooks = vec![Hooks(0); self.edges.len()];
        for (base, hook) in table.name.hooks().iter().enumerate() {
            let mut to_see = vec![base];
            while let Some(chain) = to_see.pop() {
                if hooks[chain].has(*hook) {
                    continue;
                }
                hooks[chain].0 |= 1 << *hook as u8;
                let end = self.ends[chain];
                to_see.extend(self.edges[chain].iter().filter(|(_, _, at)| *at < end).map(|(to, ..)| *to));
            }
        }
        hooks
    }
}

/// Whether a rule decides on every packet, so that none comes to the rule after it.
fn lets_nothing_past(rule: &Rule) -> bool {
    rule.basic == Basic::default()
        && rule.matches.is_empty()
        && matches!(rule.target, Target::Accept | Target::Drop | Target::Return)
}

use Hook::{Forward, Input, Output, Postrouting, Prerouting};

fn one(rule: &Rule, table: TableName, at: Hooks, family: Family) -> Result<(), No> {
    let invalid = |text| No::Refused(Why::Invalid, text);
    for m in &rule.matches {
        if let Match::Limit { every, burst } = m
            && !counts(*every, *burst)
        {
            let text =
                format!("limit: a burst of {burst} at this rate is more than can be counted, or nothing");
            return Err(No::Refused(Why::OutOfRange, text));
        }
        a_match(m, &rule.basic, at, family).map_err(invalid)?;
    }
    a_target(rule, table, at).map_err(invalid)
}

/// Whether the kernel can count with a rate and a burst: in its 32 bits the purse must hold at least one packet's worth.
fn counts(every: u32, burst: u32) -> bool {
    burst != 0 && credits(every.wrapping_mul(burst)) >= credits(every)
}

/// Ticks of the kernel's purse (`user2credits` at 250 or 1,000 ticks a second: 32,000 a second).
fn credits(every: u32) -> u32 {
    const A_SECOND: u32 = 32_000;
    match every > u32::MAX / A_SECOND {
        true => (every / LIMIT_SCALE).wrapping_mul(A_SECOND),
        false => every * A_SECOND / LIMIT_SCALE,
    }
}

/// Whether the rule is about one protocol, this one.
fn is(basic: &Basic, p: u8) -> bool {
    basic.proto == Some(Not::is(p))
}

fn a_match(m: &Match, basic: &Basic, at: Hooks, family: Family) -> Result<(), String> {
    let needs = |name: &str, p: u8, proto: &str| match is(basic, p) {
        true => Ok(()),
        false => Err(format!("match '{name}' needs -p {proto}")),
    };
    match m {
        Match::Tcp(_) => needs("tcp", proto::TCP, "tcp"),
        Match::Udp { .. } => needs("udp", proto::UDP, "udp"),
        Match::Icmp(_) if family == Family::V4 => needs("icmp", proto::ICMP, "icmp"),
        Match::Icmp(_) => needs("icmp6", proto::ICMPV6, "ipv6-icmp"),
        Match::Ecn { cwr, ece, .. } if cwr.is_some() || ece.is_some() => needs("ecn", proto::TCP, "tcp"),
        Match::Mac(_) => match at.beyond(Hooks::of(&[Prerouting, Input, Forward])) {
            Some(hook) => Err(format!("match 'mac': in {} a packet has no source MAC address", hook.name())),
            None => Ok(()),
        },
        Match::AddrType { src, dst, .. } if family == Family::V6 && not_of_v6(src, dst).is_some() => {
            let name = not_of_v6(src, dst).unwrap_or_default();
            Err(format!("addrtype: IPv6 addresses have no type {name}"))
        }
        Match::AddrType { limit: Some(Side::In), .. } if at.has(Output) || at.has(Postrouting) => {
            Err("addrtype: --limit-iface-in has no sense in OUTPUT and POSTROUTING".into())
        }
        Match::AddrType { limit: Some(Side::Out), .. } if at.has(Prerouting) || at.has(Input) => {
            Err("addrtype: --limit-iface-out has no sense in PREROUTING and INPUT".into())
        }
        _ => Ok(()),
    }
}

/// A type that is asked for and that no IPv6 address has.
fn not_of_v6(src: &Option<Not<AddrTypes>>, dst: &Option<Not<AddrTypes>>) -> Option<&'static str> {
    let asked = src.map_or(0, |s| s.value.0) | dst.map_or(0, |d| d.value.0);
    let not = [
        (AddrTypes::BLACKHOLE, "BLACKHOLE"),
        (AddrTypes::BROADCAST, "BROADCAST"),
        (AddrTypes::PROHIBIT, "PROHIBIT"),
        (AddrTypes::THROW, "THROW"),
        (AddrTypes::NAT, "NAT"),
        (AddrTypes::XRESOLVE, "XRESOLVE"),
    ];
    not.iter().find(|(t, _)| asked & t.0 != 0).map(|(_, name)| *name)
}

fn a_target(rule: &Rule, table: TableName, at: Hooks) -> Result<(), String> {
    const ALL: &[Hook] = &crate::base::HOOKS;
    let (name, tables, hooks): (&str, &[TableName], &[Hook]) = match &rule.target {
        Target::Reject(_) => ("REJECT", &[TableName::Filter], &[Input, Forward, Output]),
        Target::Tos(_) => ("TOS", &[TableName::Mangle], ALL),
        Target::Dscp(_) => ("DSCP", &[TableName::Mangle], ALL),
        Target::Hops(_) => ("TTL and HL", &[TableName::Mangle], ALL),
        Target::CtNotrack => ("CT", &[TableName::Raw], ALL),
        Target::Notrack => ("NOTRACK", &[TableName::Raw], ALL),
        Target::Snat(_) => ("SNAT", &[TableName::Nat], &[Postrouting, Input]),
        Target::Dnat(_) => ("DNAT", &[TableName::Nat], &[Prerouting, Output]),
        Target::Masquerade(_) => ("MASQUERADE", &[TableName::Nat], &[Postrouting]),
        Target::Redirect(_) => ("REDIRECT", &[TableName::Nat], &[Prerouting, Output]),
        Target::Netmap { .. } => ("NETMAP", &[TableName::Nat], &[Prerouting, Input, Output, Postrouting]),
        Target::TcpMss(Mss::Clamp) => {
            ("TCPMSS --clamp-mss-to-pmtu", &TableName::ALL, &[Forward, Output, Postrouting])
        }
        _ => ("", &TableName::ALL, ALL),
    };
    if !tables.contains(&table) {
        let only: Vec<&str> = tables.iter().map(|t| t.name()).collect();
        return Err(format!(
            "target {name} can stand in table {} only, not in {}",
            only.join(", "),
            table.name()
        ));
    }
    if let Some(hook) = at.beyond(Hooks::of(hooks)) {
        let only: Vec<&str> = hooks.iter().map(|h| h.name()).collect();
        return Err(format!(
            "target {name} is for {}, and packets of {} come here",
            only.join(", "),
            hook.name()
        ));
    }
    match &rule.target {
        Target::Reject(RejectWith::TcpReset) if !is(&rule.basic, proto::TCP) => {
            Err("--reject-with tcp-reset needs -p tcp".into())
        }
        Target::TcpMss(_) if !is(&rule.basic, proto::TCP) => Err("target TCPMSS needs -p tcp".into()),
        Target::TcpMss(_) if !rule.matches.iter().any(asks_for_syn) => {
            Err("target TCPMSS needs --syn, or --tcp-flags with SYN, before it".into())
        }
        _ => Ok(()),
    }
}

/// Whether a match is of TCP's and wants SYN set.
fn asks_for_syn(m: &Match) -> bool {
    const SYN: u8 = 2;
    matches!(m, Match::Tcp(tcp) if tcp.flags.is_some_and(|f| !f.not && f.value.1 & SYN != 0))
}
