//! From rules as data to a program's code.
//!
//! What can be known before a packet comes is worked out here: which links a name means, which chain a jump leads to,
//! how deep jumps go. Matches keep their order, for some of them count.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use crate::base::{HOOKS, Hook};
use crate::filter::matches::{AddrMask, Hops, Masked, Match, Not};
use crate::filter::problem::Problem;
use crate::filter::rule::{self, Basic, Policy, Ruleset};
use crate::filter::targets::RejectWith;
use crate::filter::targets::{Connmark, Log, Mss, SetHops, Target};
use crate::filter::verdict::NatAction;
use crate::link::Links;
use crate::packet::NatRange;

use super::addr::Addr;
use super::carry::Legacy;
use super::check::{Check, PortCheck, TcpCheck};
use super::ct::Ct;
use super::index::Index;
use super::links::LinkSet;
use super::state::{Limit, Nth};

/// The code of one family's rules.
#[derive(Debug, Clone)]
pub(super) struct Code<A> {
    /// By [`TableName`](rule::TableName).
    pub(super) tables: [Option<Placed<A>>; 4],
}

impl<A> Code<A> {
    /// Whether the other has the very same table.
    pub(super) fn shares(&self, other: &Self, table: rule::TableName) -> bool {
        match (&self.tables[table as usize], &other.tables[table as usize]) {
            (Some(a), Some(b)) => Arc::ptr_eq(&a.table, &b.table),
            (None, None) => true,
            _ => false,
        }
    }

    /// Whether a rule makes conntrack necessary.
    pub(super) fn needs_conntrack(&self) -> bool {
        self.tables.iter().flatten().any(|t| t.table.needs_conntrack)
    }
}

impl<A: Clone> Code<A> {
    /// The same, that shares nothing of what its matches remember.
    pub(super) fn apart(&self) -> Self {
        let apart = |placed: &Placed<A>| Placed { table: Arc::new(Table::clone(&placed.table)), ..*placed };
        Code { tables: self.tables.each_ref().map(|placed| placed.as_ref().map(apart)) }
    }
}

/// A table in its place among the others. Programs that have the same one share it.
#[derive(Debug, Clone)]
pub(super) struct Placed<A> {
    /// The number of its first counter.
    pub(super) counters: u32,
    pub(super) table: Arc<Table<A>>,
}

/// One table.
#[derive(Debug, Clone)]
pub(super) struct Table<A> {
    /// By [`Hook`]: which of the chains it begins with.
    pub(super) entry: [Option<u32>; 5],
    pub(super) chains: Vec<Chain<A>>,
    /// How many jumps may have to be gone back at once.
    pub(super) depth: usize,
    /// What rules name with `-i` and `-o`; number 0 is any.
    pub(super) link_sets: Vec<LinkSet>,
    /// Whether a rule makes conntrack necessary.
    pub(super) needs_conntrack: bool,
}

/// One chain.
#[derive(Debug, Clone)]
pub(super) struct Chain<A> {
    pub(super) name: String,
    pub(super) rules: Vec<Rule<A>>,
    /// What a built-in chain does at its end, and where it is counted, among the table's counters.
    pub(super) policy: Option<(Policy, u32)>,
    pub(super) index: Option<Index<A>>,
}

/// One rule. Small, because a walk goes over many.
#[derive(Debug, Clone)]
pub(super) struct Rule<A> {
    pub(super) src: (A, A),
    pub(super) dst: (A, A),
    pub(super) in_links: u32,
    pub(super) out_links: u32,
    /// Where its matches are counted, among the table's counters.
    pub(super) counter: u32,
    /// The protocol asked for, if one is.
    pub(super) proto: Option<u8>,
    /// The bits of [`not`] for what is negated, and [`not::FRAG`] for a rule of fragments.
    pub(super) flags: u8,
    pub(super) checks: Box<[Check<A>]>,
    pub(super) op: Op,
}

impl<A> Rule<A> {
    /// Whether a match of it remembers something from packet to packet.
    pub(super) fn remembers(&self) -> bool {
        self.checks.iter().any(|c| matches!(c, Check::Limit(_) | Check::Nth { .. }))
    }
}

/// What is negated, and whether fragments are asked for.
pub(super) mod not {
    pub(in crate::filter::program) const SRC: u8 = 1;
    pub(in crate::filter::program) const DST: u8 = 2;
    pub(in crate::filter::program) const PROTO: u8 = 4;
    pub(in crate::filter::program) const FRAG: u8 = 8;
    pub(in crate::filter::program) const NOT_FRAG: u8 = 16;
}

/// What a rule does.
#[derive(Debug, Clone)]
pub(super) enum Op {
    None,
    Accept,
    Drop,
    Return,
    Jump(u32),
    Goto(u32),
    Reject(RejectWith),
    Mark(Masked),
    Connmark(Connmark),
    /// TOS and DSCP.
    Tos(Masked),
    Hops(SetHops),
    Mss(Mss),
    Notrack,
    Log(Box<Log>),
    Nat(Box<NatAction>),
    /// In PREROUTING and OUTPUT the destination, else the source.
    Netmap(Box<NatRange>),
}

/// What was compiled before, for the same links.
pub(super) struct Before<'a, A> {
    pub(super) rules: &'a Ruleset,
    pub(super) code: &'a Code<A>,
    /// For each counter of the new rules, where it goes on.
    pub(super) from: &'a [Option<Legacy>],
}

/// Compiles all tables of a ruleset, but those that say the same as `before` and of which no memory begins anew. Counters
/// are numbered table by table and chain by chain, a chain's policy before its rules.
pub(super) fn compile<A: Addr>(
    rules: &Ruleset,
    links: &Links,
    before: Option<Before<'_, A>>,
) -> Result<Code<A>, Vec<Problem>> {
    let mut tables = [const { None }; 4];
    let mut problems = Vec::new();
    let mut counters = 0;
    for table in &rules.tables {
        let compiled = before.as_ref().and_then(|before| {
            let old = before.rules.tables.iter().find(|t| t.name == table.name)?;
            let placed = before.code.tables[table.name as usize].as_ref()?;
            let same = says_the_same(old, table) && remembers_on(placed, counters, before.from);
            same.then(|| placed.table.clone())
        });
        let compiled = compiled.unwrap_or_else(|| Arc::new(Compiler::new(links, &mut problems).table(table)));
        tables[table.name as usize] = Some(Placed { counters, table: compiled });
        counters += table.chains.iter().map(|c| c.rules.len() as u32 + 1).sum::<u32>();
    }
    match problems.is_empty() {
        true => Ok(Code { tables }),
        false => Err(problems),
    }
}

/// Whether two tables make the same code.
fn says_the_same(a: &rule::Table, b: &rule::Table) -> bool {
    let rules = |a: &rule::Rules, b: &rule::Rules| {
        a.shared_with(b) || a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.says == b.says)
    };
    let chain = |a: &rule::Chain, b: &rule::Chain| {
        a.name == b.name && a.policy == b.policy && rules(&a.rules, &b.rules)
    };
    a.chains.len() == b.chains.len() && a.chains.iter().zip(&b.chains).all(|(a, b)| chain(a, b))
}

/// Whether each rule of a table that remembers something goes on where it stood, and none begins anew: what the table's
/// counters from `counters` on do, `from` says.
fn remembers_on<A>(before: &Placed<A>, counters: u32, from: &[Option<Legacy>]) -> bool {
    let stays = |rule: &Rule<A>| {
        let from = from.get((counters + rule.counter) as usize).copied().flatten();
        from.is_some_and(|from| from.counter == (before.counters + rule.counter) as usize)
    };
    let mut rules = before.table.chains.iter().flat_map(|c| &c.rules);
    rules.all(|rule| stays(rule) || !rule.remembers())
}

struct Compiler<'a> {
    links: &'a Links,
    sets: Vec<LinkSet>,
    /// Sets that exist already, by what was written.
    names: HashMap<(bool, &'a str), u32>,
    /// The number of the next counter.
    next: u32,
    problems: &'a mut Vec<Problem>,
}

impl<'a> Compiler<'a> {
    fn new(links: &'a Links, problems: &'a mut Vec<Problem>) -> Self {
        let any = LinkSet::new(&Not::is("+".into()), links);
        Compiler { links, sets: vec![any], names: HashMap::new(), next: 0, problems }
    }

    fn table<A: Addr>(mut self, table: &'a rule::Table) -> Table<A> {
        let places: HashMap<&str, u32> =
            table.chains.iter().zip(0..).map(|(chain, i)| (chain.name.as_str(), i)).collect();
        let mut chains: Vec<Chain<A>> = table.chains.iter().map(|chain| self.chain(chain, &places)).collect();
        let depth = match depth(&chains) {
            Some(depth) => depth,
            None => {
                self.problem(
                    0,
                    format!("table {}: a loop of jumps: a chain leads back to itself", table.name.name()),
                );
                0
            }
        };
        let by_state = !chains.iter().flat_map(|c| &c.rules).any(|r| matches!(r.op, Op::Notrack));
        for chain in &mut chains {
            chain.index = Index::new(&chain.rules, &self.sets, by_state);
        }
        let entry = HOOKS.map(|hook| {
            let place = places.get(hook.name()).copied()?;
            table.name.hooks().contains(&hook).then_some(place)
        });
        let needs_conntrack = table.chains.iter().flat_map(|c| &c.rules).any(needs_conntrack);
        Table { entry, chains, depth, link_sets: self.sets, needs_conntrack }
    }

    fn chain<A: Addr>(&mut self, chain: &'a rule::Chain, places: &HashMap<&str, u32>) -> Chain<A> {
        let counter = self.counter();
        let policy = chain.policy.map(|p| (p, counter));
        let rules = chain.rules.iter().map(|r| self.rule(r, places)).collect();
        Chain { name: chain.name.clone(), rules, policy, index: None }
    }

    fn rule<A: Addr>(&mut self, rule: &'a rule::Rule, places: &HashMap<&str, u32>) -> Rule<A> {
        let counter = self.counter();
        let Basic { src, dst, in_link, out_link, proto, fragment } = &rule.basic;
        let mut flags = 0;
        let mut end = |addr: &Option<Not<AddrMask>>, bit: u8| {
            let Some(addr) = addr else { return Some((A::default(), A::default())) };
            flags |= if addr.not { bit } else { 0 };
            let (value, mask) = A::of(addr.value.addr).zip(A::of(addr.value.mask))?;
            Some((value & mask, mask))
        };
        let (src, dst) = (end(src, not::SRC), end(dst, not::DST));
        if src.is_none() || dst.is_none() {
            self.problem(rule.line, "an address of the other family".into());
        }
        match proto {
            Some(p) if p.not => flags |= not::PROTO,
            _ => {}
        }
        match fragment {
            Some(f) if f.not => flags |= not::NOT_FRAG,
            Some(_) => flags |= not::FRAG,
            None => {}
        }
        Rule {
            src: src.unwrap_or_default(),
            dst: dst.unwrap_or_default(),
            in_links: self.set(in_link),
            out_links: self.set(out_link),
            counter,
            // The kernel takes protocol 0 for "not asked".
            proto: proto.map(|p| p.value).filter(|p| *p != 0),
            flags,
            checks: rule.matches.iter().filter_map(|m| self.check(rule.line, m)).collect(),
            op: self.op(rule, places),
        }
    }

    fn counter(&mut self) -> u32 {
        self.next += 1;
        self.next - 1
    }

    fn problem(&mut self, line: usize, text: String) {
        self.problems.push(Problem { line, text });
    }

    fn set(&mut self, pattern: &'a Option<Not<String>>) -> u32 {
        let Some(pattern) = pattern else { return 0 };
        let next = self.sets.len() as u32;
        let number = *self.names.entry((pattern.not, &pattern.value)).or_insert(next);
        if number == next {
            self.sets.push(LinkSet::new(pattern, self.links));
        }
        number
    }

    /// A match; `None` for one that says nothing.
    fn check<A: Addr>(&mut self, line: usize, m: &Match) -> Option<Check<A>> {
        Some(match m {
            Match::Tcp(t) => Check::Tcp(TcpCheck {
                sport: PortCheck::new(t.sport),
                dport: PortCheck::new(t.dport),
                flags: t.flags.unwrap_or(Not::is((0, 0))),
                option: t.option.unwrap_or_default(),
            }),
            Match::Udp { sport, dport } => {
                Check::Udp { sport: PortCheck::new(*sport), dport: PortCheck::new(*dport) }
            }
            // Type 255 is any type and any code, in IPv4 only.
            Match::Icmp(kind) => {
                Check::Icmp { kind: kind.value, any: !A::V6 && kind.value.kind == 255, not: kind.not }
            }
            Match::Conntrack(c) => Check::Ct(Box::new(Ct::new(c))),
            Match::State(states) => Check::State(*states),
            Match::Mark(m) => Check::Mark(*m),
            Match::Connmark(m) => Check::Connmark(*m),
            Match::Multiport { which, ports } => {
                Check::Multiport { which: *which, ports: ports.value.as_slice().into(), not: ports.not }
            }
            Match::IpRange { src, dst } => {
                let mut range = |r: &Option<Not<(IpAddr, IpAddr)>>| {
                    let r = (*r)?;
                    match A::of(r.value.0).zip(A::of(r.value.1)) {
                        Some(value) => Some(Not { not: r.not, value }),
                        None => {
                            self.problem(line, "an address of the other family".into());
                            None
                        }
                    }
                };
                Check::IpRange(Box::new([range(src), range(dst)]))
            }
            Match::Mac(mac) => Check::Mac(*mac),
            Match::Limit { every, burst } => Check::Limit(Box::new(Limit::new(*every, *burst))),
            Match::Length(len) => Check::Length(*len),
            Match::Ttl(hops) | Match::Hl(hops) => match hops {
                Hops::Eq(n) => Check::Hops(Not { not: n.not, value: (n.value, n.value) }),
                Hops::Lt(0) => Check::Hops(Not::isnt((0, u8::MAX))),
                Hops::Lt(n) => Check::Hops(Not::is((0, n - 1))),
                Hops::Gt(u8::MAX) => Check::Hops(Not::isnt((0, u8::MAX))),
                Hops::Gt(n) => Check::Hops(Not::is((n + 1, u8::MAX))),
            },
            Match::Tos(tos) => Check::Tos(*tos),
            Match::Dscp(d) => {
                Check::Tos(Not { not: d.not, value: Masked { value: u32::from(d.value) << 2, mask: 0xfc } })
            }
            Match::Ecn { cwr, ece, ect } => {
                let bits = [(crate::wire::tcp::CWR, *cwr), (crate::wire::tcp::ECE, *ece)];
                let sum =
                    |of: fn(bool) -> bool| bits.iter().filter(|b| b.1.is_some_and(of)).map(|b| b.0).sum();
                Check::Ecn { flags: sum(|_| true), want: sum(|set| set), ect: *ect }
            }
            Match::PktType(kind) => Check::PktType(*kind),
            Match::AddrType { src, dst, limit } => Check::AddrType { types: [*src, *dst], limit: *limit },
            Match::Random(below) => Check::Random(*below),
            Match::Nth { not, every, packet } => {
                Check::Nth { nth: Box::new(Nth::new(*every, *packet)), not: *not }
            }
            Match::Comment(_) => return None,
        })
    }

    fn op(&mut self, rule: &rule::Rule, places: &HashMap<&str, u32>) -> Op {
        let mut chain = |name: &str| match places.get(name) {
            Some(place) => *place,
            None => {
                self.problem(rule.line, format!("there is no chain '{name}' in this table"));
                0
            }
        };
        let nat = |action| Op::Nat(Box::new(action));
        match &rule.target {
            Target::None => Op::None,
            Target::Accept => Op::Accept,
            Target::Drop => Op::Drop,
            Target::Return => Op::Return,
            Target::Jump(name) => Op::Jump(chain(name)),
            Target::Goto(name) => Op::Goto(chain(name)),
            Target::Reject(with) => Op::Reject(*with),
            Target::Log(log) => Op::Log(Box::new(log.clone())),
            Target::Mark(m) => Op::Mark(*m),
            Target::Connmark(how) => Op::Connmark(*how),
            Target::Tos(m) => Op::Tos(*m),
            Target::Dscp(dscp) => Op::Tos(Masked { value: u32::from(*dscp) << 2, mask: 0xfc }),
            Target::Hops(how) => Op::Hops(*how),
            Target::TcpMss(how) => Op::Mss(*how),
            Target::CtNotrack | Target::Notrack => Op::Notrack,
            Target::Snat(range) => nat(NatAction::Snat(*range)),
            Target::Dnat(range) => nat(NatAction::Dnat(*range)),
            Target::Masquerade(range) => nat(NatAction::Masquerade(*range)),
            Target::Redirect(range) => nat(NatAction::Redirect(*range)),
            Target::Netmap { addr, prefix_len } => Op::Netmap(Box::new(netmap(*addr, *prefix_len))),
        }
    }
}

/// Whether a rule asks for a flow's state or mark, marks flows, or translates.
pub(super) fn needs_conntrack(rule: &rule::Rule) -> bool {
    let asks = |m: &Match| matches!(m, Match::Conntrack(_) | Match::State(_) | Match::Connmark(_));
    let does = matches!(
        rule.target,
        Target::Connmark(_)
            | Target::Snat(_)
            | Target::Dnat(_)
            | Target::Masquerade(_)
            | Target::Redirect(_)
            | Target::Netmap { .. }
    );
    does || rule.matches.iter().any(asks)
}

/// The range of NETMAP: from the network's address to its last.
fn netmap(addr: IpAddr, prefix_len: u8) -> NatRange {
    fn ends<A: Addr>(addr: A, len: u8) -> (IpAddr, IpAddr) {
        let mask = A::mask(len.into());
        ((addr & mask).ip(), ((addr & mask) ^ !mask).ip())
    }
    let addr = match addr {
        IpAddr::V4(v4) => ends(u32::from(v4), prefix_len),
        IpAddr::V6(v6) => ends(u128::from(v6), prefix_len),
    };
    NatRange { addr: Some(addr), netmap: true, ..NatRange::default() }
}

/// The most jumps (gotos leave nothing to go back to) on any way from a built-in chain; `None` if there is a loop.
/// Chains that nothing leads to are never asked.
fn depth<A: Addr>(chains: &[Chain<A>]) -> Option<usize> {
    /// How far a chain has been looked at.
    #[derive(Clone, Copy)]
    enum Seen {
        No,
        Open,
        Done(usize),
    }
    let ways = |chain: usize| {
        chains[chain].rules.iter().take_while(|rule| !lets_nothing_past(rule)).filter_map(|rule| {
            match rule.op {
                Op::Jump(to) => Some((to as usize, 1)),
                Op::Goto(to) => Some((to as usize, 0)),
                _ => None,
            }
        })
    };
    let mut seen = vec![Seen::No; chains.len()];
    let mut deepest = 0;
    // Depth first, with a stack of its own: a chain of chains may be long.
    for start in (0..chains.len()).filter(|c| chains[*c].policy.is_some()) {
        let mut stack = vec![start];
        while let Some(&chain) = stack.last() {
            match seen[chain] {
                Seen::Done(_) => {
                    stack.pop();
                }
                Seen::No => {
                    seen[chain] = Seen::Open;
                    for (to, _) in ways(chain) {
                        match seen[to] {
                            Seen::Open => return None,
                            Seen::No => stack.push(to),
                            Seen::Done(_) => {}
                        }
                    }
                }
                Seen::Open => {
                    let below = ways(chain).map(|(to, step)| match seen[to] {
                        Seen::Done(depth) => depth + step,
                        Seen::No | Seen::Open => 0,
                    });
                    let depth = below.max().unwrap_or(0);
                    seen[chain] = Seen::Done(depth);
                    deepest = deepest.max(depth);
                    stack.pop();
                }
            }
        }
    }
    Some(deepest)
}

/// Whether a rule decides on every packet, so that none comes to the rule after it.
fn lets_nothing_past<A: Addr>(rule: &Rule<A>) -> bool {
    let any = (A::default(), A::default());
    matches!(rule.op, Op::Accept | Op::Drop | Op::Return)
        && (rule.src, rule.dst) == (any, any)
        && (rule.in_links, rule.out_links, rule.proto, rule.flags) == (0, 0, None, 0)
        && rule.checks.is_empty()
}

/// What NETMAP does at a hook.
pub(super) fn netmap_action(range: NatRange, hook: Hook) -> NatAction {
    match hook {
        Hook::Prerouting | Hook::Output => NatAction::Dnat(range),
        _ => NatAction::Snat(range),
    }
}
