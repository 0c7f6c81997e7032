//! What a new program takes over from the one before it.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use crate::filter::rule::{Count, Ruleset};

use super::addr::Addr;
use super::check::Check;
use super::compile::{Code, Placed, Rule};

/// Where a counter of new rules goes on counting: at one of the rules before. Counters are numbered table by table and
/// chain by chain, a chain's policy before its rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Legacy {
    /// The number of the old counter.
    pub counter: usize,
    /// From zero on. The rule still remembers what it remembers.
    pub zeroed: bool,
}

/// What was taken over from a program that may have counted since.
#[derive(Debug)]
pub(super) struct Estate {
    /// For each counter, where it went on.
    pub(super) pairs: Vec<Option<usize>>,
    /// What the old one had counted by then.
    pub(super) counted: Vec<Count>,
}

/// For each counter of the new rules, in the order of their numbers, the counter of the old rule that is its equal.
pub(super) fn pairs(new: &Ruleset, old: &Ruleset) -> Vec<Option<usize>> {
    let mut known: HashMap<_, VecDeque<usize>> = HashMap::new();
    for (number, words) in words(old).into_iter().enumerate() {
        known.entry(words).or_default().push_back(number);
    }
    let taken = words(new).into_iter().map(|words| known.get_mut(&words).and_then(VecDeque::pop_front));
    taken.collect()
}

/// What stands at each counter: table, chain, and what the rule says; nothing for a policy.
fn words(rules: &Ruleset) -> Vec<(&str, &str, String)> {
    let mut words = Vec::new();
    for table in &rules.tables {
        for chain in &table.chains {
            words.push((table.name.name(), chain.name.as_str(), String::new()));
            words.extend(chain.rules.iter().map(|r| {
                let says = format!("{:?} {:?} {:?}", r.basic, r.matches, r.target);
                (table.name.name(), chain.name.as_str(), says)
            }));
        }
    }
    words
}

/// Hands over what limits and statistics remember. Equal rules have equal checks.
pub(super) fn memory<A: Addr>(new: &Code<A>, old: &Code<A>, pairs: &[Option<usize>]) {
    let olds = rules(old, new).filter(|(_, rule)| rule.remembers());
    let olds: HashMap<u32, &[Check<A>]> = olds.map(|(counter, rule)| (counter, &*rule.checks)).collect();
    if olds.is_empty() {
        return;
    }
    for (counter, rule) in rules(new, old) {
        let from = pairs.get(counter as usize).copied().flatten();
        let Some(before) = from.and_then(|from| olds.get(&(from as u32))) else { continue };
        for pair in rule.checks.iter().zip(*before) {
            match pair {
                (Check::Limit(new), Check::Limit(old)) => new.carry(old),
                (Check::Nth { nth: new, .. }, Check::Nth { nth: old, .. }) => new.carry(old),
                _ => {}
            }
        }
    }
}

/// The rules of one, and the numbers of their counters, but those of tables that the other shares with it.
fn rules<'a, A: Addr>(code: &'a Code<A>, other: &'a Code<A>) -> impl Iterator<Item = (u32, &'a Rule<A>)> {
    let pairs = code.tables.iter().zip(&other.tables);
    let own = pairs.filter_map(|(placed, other)| {
        let placed = placed.as_ref()?;
        let shared = other.as_ref().is_some_and(|other| Arc::ptr_eq(&placed.table, &other.table));
        (!shared).then_some(placed)
    });
    own.flat_map(|Placed { counters, table }| {
        let rules = table.chains.iter().flat_map(|c| &c.rules);
        rules.map(move |r| (counters + r.counter, r))
    })
}
