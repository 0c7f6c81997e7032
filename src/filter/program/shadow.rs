//! A program beside the one in force: the same rules, with counters and a memory of its own, so that packets which are
//! never sent can be asked about.

use std::sync::Mutex;

use super::addr::Addr;
use super::check::Check;
use super::compile::Code;
use super::{ByFamily, Program};

/// Where in a program matches are that remember something from packet to packet: table, chain, rule, match.
#[derive(Debug, Clone, Default)]
pub struct Remembered(Vec<[usize; 4]>);

impl Remembered {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Program {
    /// The same program beside this one: what limits and statistics remember goes on from here on both sides, counters
    /// begin at zero. Costs as much as copying the rules.
    pub fn shadow(&self) -> Program {
        Program {
            rules: self.rules.clone(),
            code: match &self.code {
                ByFamily::V4(code) => ByFamily::V4(code.apart()),
                ByFamily::V6(code) => ByFamily::V6(code.apart()),
            },
            counters: self.counters.anew(),
            claims: self.claims.clone(),
            estate: Mutex::default(),
        }
    }

    /// Which of its matches remember something.
    pub fn remembered(&self) -> Remembered {
        Remembered(match &self.code {
            ByFamily::V4(code) => places(code),
            ByFamily::V6(code) => places(code),
        })
    }

    /// Remembers again what the program remembers whose [`shadow`](Program::shadow) this is; `which` is what
    /// [`remembered`](Program::remembered) says of either.
    pub fn recall(&self, from: &Program, which: &Remembered) {
        match (&self.code, &from.code) {
            (ByFamily::V4(code), ByFamily::V4(from)) => recall(code, from, which),
            (ByFamily::V6(code), ByFamily::V6(from)) => recall(code, from, which),
            _ => {}
        }
    }
}

fn places<A: Addr>(code: &Code<A>) -> Vec<[usize; 4]> {
    let mut places = Vec::new();
    for (t, table) in code.tables.iter().enumerate() {
        for (c, chain) in table.iter().flat_map(|t| &t.table.chains).enumerate() {
            for (r, rule) in chain.rules.iter().enumerate() {
                let remember = rule.checks.iter().enumerate().filter(|(_, check)| check.remembers());
                places.extend(remember.map(|(k, _)| [t, c, r, k]));
            }
        }
    }
    places
}

fn recall<A: Addr>(code: &Code<A>, from: &Code<A>, which: &Remembered) {
    for place in &which.0 {
        match (check(code, place), check(from, place)) {
            (Some(Check::Limit(new)), Some(Check::Limit(old))) => new.carry(old),
            (Some(Check::Nth { nth: new, .. }), Some(Check::Nth { nth: old, .. })) => new.carry(old),
            _ => {}
        }
    }
}

fn check<'a, A: Addr>(code: &'a Code<A>, [t, c, r, k]: &[usize; 4]) -> Option<&'a Check<A>> {
    code.tables.get(*t)?.as_ref()?.table.chains.get(*c)?.rules.get(*r)?.checks.get(*k)
}
