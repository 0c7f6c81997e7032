//! What rules take, for whoever keeps those of before: programs share what is the same in them, down to single rules.

use std::collections::HashSet;
use std::mem::size_of;
use std::sync::Arc;

use crate::base::hash::BuildQuick;
use crate::filter::matches::{Conntrack, Match};
use crate::filter::rule::{self, Ruleset, Says};
use crate::filter::targets::{Log, Target};
use crate::filter::verdict::NatAction;
use crate::packet::NatRange;

use super::addr::Addr;
use super::check::Check;
use super::compile::{Chain, Code, Op, Rule, Table};
use super::ct::Ct;
use super::state::{Limit, Nth};
use super::{ByFamily, Program};

/// What each allocation takes beside what was asked for.
const HEAD: usize = 16;

impl Program {
    /// The bytes, about, that are this program's alone as long as `other` is there too. Goes through the rules of the
    /// chains that are not the same in both.
    pub fn apart_from(&self, other: Option<&Program>) -> usize {
        if other.is_some_and(|other| std::ptr::eq(self, other)) {
            return 0;
        }
        let code = match (&self.code, other.map(|o| &o.code)) {
            (ByFamily::V4(code), Some(ByFamily::V4(other))) => of_code(code, Some(other)),
            (ByFamily::V6(code), Some(ByFamily::V6(other))) => of_code(code, Some(other)),
            (ByFamily::V4(code), _) => of_code(code, None),
            (ByFamily::V6(code), _) => of_code(code, None),
        };
        size_of::<Program>() + self.counters.memory() + code + of_rules(&self.rules, other.map(|o| &o.rules))
    }
}

fn of_rules(rules: &Ruleset, other: Option<&Ruleset>) -> usize {
    let mut sum = 0;
    for table in &rules.tables {
        let theirs = other.and_then(|o| o.tables.iter().find(|t| t.name == table.name));
        let mut theirs = theirs.map(|t| t.chains.iter()).unwrap_or_default().peekable();
        // The configuration has a list of the chains, and the program one; the rules in them are one.
        sum += 2 * (size_of::<rule::Table>() + HEAD);
        for chain in &table.chains {
            sum += 2 * (size_of::<rule::Chain>() + chain.name.len() + HEAD);
            // Users' chains stand by name, the built-in ones before them as they always do.
            let user = chain.policy.is_none();
            while theirs.next_if(|c| user && (c.policy.is_some() || c.name < chain.name)).is_some() {}
            let same = theirs.next_if(|c| c.name == chain.name);
            sum += match same {
                Some(same) if same.rules.shared_with(&chain.rules) => 0,
                same => of_list(&chain.rules, same.map(|c| &*c.rules).unwrap_or_default()),
            };
        }
    }
    sum
}

/// A list of rules, and what those of them say that are not in the other.
fn of_list(rules: &[rule::Rule], other: &[rule::Rule]) -> usize {
    let shared: HashSet<*const Says, BuildQuick> = other.iter().map(|r| Arc::as_ptr(&r.says)).collect();
    let own = rules.iter().filter(|r| !shared.contains(&Arc::as_ptr(&r.says)));
    size_of::<Vec<rule::Rule>>()
        + 2 * HEAD
        + size_of_val(rules)
        + own.map(|r| of_words(&r.says)).sum::<usize>()
}

fn of_words(says: &Says) -> usize {
    let text = |text: &String| text.len() + HEAD;
    let links = [&says.basic.in_link, &says.basic.out_link].into_iter().flatten().map(|l| text(&l.value));
    let matches = says.matches.iter().map(|m| match m {
        Match::Comment(comment) => text(comment),
        Match::Multiport { ports, .. } => size_of_val(&ports.value[..]) + HEAD,
        Match::Conntrack(_) => size_of::<Conntrack>() + HEAD,
        _ => 0,
    });
    let target = match &says.target {
        Target::Jump(to) | Target::Goto(to) => text(to),
        Target::Log(log) => text(&log.prefix),
        _ => 0,
    };
    let list = if says.matches.is_empty() { 0 } else { says.matches.capacity() * size_of::<Match>() + HEAD };
    // With the two counts of who shares it.
    2 * size_of::<usize>()
        + size_of::<Says>()
        + HEAD
        + links.sum::<usize>()
        + matches.sum::<usize>()
        + target
        + list
}

fn of_code<A: Addr>(code: &Code<A>, other: Option<&Code<A>>) -> usize {
    let tables = code.tables.iter().flatten();
    let shared = |table: &Arc<Table<A>>| {
        other.is_some_and(|o| o.tables.iter().flatten().any(|placed| Arc::ptr_eq(&placed.table, table)))
    };
    let own = tables.filter(|placed| !shared(&placed.table));
    let chain = |chain: &Chain<A>| {
        let rules = chain.rules.iter().map(of_rule).sum::<usize>() + size_of_val(&chain.rules[..]) + HEAD;
        let index = chain.index.as_ref().map_or(0, |index| index.memory());
        size_of::<Chain<A>>() + chain.name.len() + HEAD + rules + index
    };
    own.map(|placed| size_of::<Table<A>>() + placed.table.chains.iter().map(chain).sum::<usize>()).sum()
}

/// What a rule has beside its place in the list.
fn of_rule<A: Addr>(rule: &Rule<A>) -> usize {
    let checks = rule.checks.iter().map(|check| match check {
        Check::Ct(_) => size_of::<Ct<A>>() + HEAD,
        Check::Multiport { ports, .. } => size_of_val(&**ports) + HEAD,
        Check::IpRange(ends) => size_of_val(&**ends) + HEAD,
        Check::Limit(_) => size_of::<Limit>() + HEAD,
        Check::Nth { .. } => size_of::<Nth>() + HEAD,
        _ => 0,
    });
    let op = match &rule.op {
        Op::Log(log) => size_of::<Log>() + log.prefix.len() + 2 * HEAD,
        Op::Nat(_) => size_of::<NatAction>() + HEAD,
        Op::Netmap(_) => size_of::<NatRange>() + HEAD,
        _ => 0,
    };
    let list = if rule.checks.is_empty() { 0 } else { size_of_val(&*rule.checks) + HEAD };
    list + checks.sum::<usize>() + op
}
