//! Rules that are there, changed by a command or by a text. Nothing is different until all of it is done.

use crate::filter::Legacy;
use crate::filter::rule::{Family, Ruleset, TableName};

use super::command::{self, Asked, What};
use super::draft::Draft;
use super::line::{Command, Said};
use super::no::{No, Why};
use super::read::{self, Done, How, MOST_RULES};
use super::{check, known};

/// Rules after a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edited {
    /// What they say. A counter that goes on somewhere has a number here that means nothing.
    pub rules: Ruleset,
    /// For each counter in the order of the rules, a chain's policy before them: where it goes on in the rules before.
    pub from: Vec<Option<Legacy>>,
}

/// What `iptables-restore` is told beside the text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Restore {
    /// `--noflush`: tables keep what the text does not say.
    pub noflush: bool,
    /// `--counters`: with those of the text.
    pub counters: bool,
    /// `--table`: this one only.
    pub table: Option<String>,
}

/// A line that can't be taken, and how many more there are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unread {
    /// Which, from 1; 0 is the text as a whole.
    pub line: usize,
    /// Why.
    pub no: No,
    /// Others.
    pub more: usize,
}

/// Does what a command line asks for; `rules` are those that are there, none at all without a table.
///
/// # Errors
/// It can't be understood, or can't be done.
pub fn edit(words: &[String], rules: &Ruleset) -> Result<Edited, No> {
    let family = rules.family;
    let Asked { table, what, .. } = command::asked(words, family)?;
    if !matches!(what, What::Edit { .. } | What::Check(_)) {
        return Err("this changes nothing".into());
    }
    let mut tables = done(rules);
    let mut draft = match tables.iter().find(|t| t.table.name == table) {
        Some(Done { table, from }) => Draft::of(table, from.iter().copied()),
        None => Draft::new(table, None),
    };
    // Now knowing the chains.
    let (said, ..) = command::read(words, family, table, &|name| draft.kind(name))?;
    let Said::Edit(command) = said else { return Err("this changes nothing".into()) };
    let others: usize = count(tables.iter().filter(|t| t.table.name != table));
    let looks_only = matches!(command, Command::Check(..));
    draft.apply(command)?;
    if draft.rules() + others > MOST_RULES {
        return Err(No::Refused(Why::TooMany, format!("there can be {MOST_RULES} rules")));
    }
    if looks_only {
        return Ok(edited(family, tables));
    }
    let (table, from) = draft.finish();
    let mut wrong = None;
    check::check(&table, family, &mut |_, no| _ = wrong.get_or_insert(no));
    if let Some(no) = wrong {
        return Err(no);
    }
    let done = Done { table, from };
    match tables.iter_mut().find(|t| t.table.name == done.table.name) {
        Some(before) => *before = done,
        None => tables.push(done),
    }
    Ok(edited(family, tables))
}

/// The counters that `-Z` sets to zero, by their numbers; none if the words ask for something else. `rules` are those that
/// are there.
///
/// # Errors
/// As [`edit`].
pub fn zeroed(words: &[String], rules: &Ruleset) -> Result<Option<Vec<bool>>, No> {
    let (said, table, _) = command::read(words, rules.family, TableName::Filter, &command::may_be)?;
    match said {
        Said::Edit(Command::Zero(chain, number)) => zero(table, chain, number, rules).map(Some),
        _ => Ok(None),
    }
}

/// The counters of a table that are set to zero: of all chains or of one, or of one rule, from 1.
///
/// # Errors
/// There is no such chain, or no such rule.
pub fn zero(
    table: TableName,
    chain: Option<String>,
    number: Option<usize>,
    rules: &Ruleset,
) -> Result<Vec<bool>, No> {
    let tables = done(rules);
    let counters = tables.iter().map(|t| t.from.len()).sum();
    let mut draft = match tables.iter().find(|t| t.table.name == table) {
        Some(Done { table, from }) => Draft::of(table, from.iter().copied()),
        None => Draft::new(table, None),
    };
    draft.apply(Command::Zero(chain, number))?;
    let (_, from) = draft.finish();
    let mut zeroed = vec![false; counters];
    for Legacy { counter, .. } in from.into_iter().flatten().filter(|from| from.zeroed) {
        if let Some(is) = zeroed.get_mut(counter) {
            *is = true;
        }
    }
    Ok(zeroed)
}

/// Does what iptables-restore does with a text; `rules` are those that are there.
///
/// # Errors
/// The first line that can't be taken.
pub fn restore(text: &str, how: &Restore, rules: &Ruleset) -> Result<Edited, Unread> {
    let whole = |no| Unread { line: 0, no, more: 0 };
    // Unlike iptables-restore, which takes any name and then finds nothing of it in the text.
    let only = match how.table.as_deref().map(|table| known::table(table, rules.family)) {
        None => None,
        Some(Ok(table)) => Some(table),
        Some(Err(no)) => return Err(whole(No::Misuse(no.to_string()))),
    };
    let how = How { noflush: how.noflush, counters: how.counters, only, most: MOST_RULES };
    match read::load(text, rules.family, done(rules), &how) {
        Ok(tables) => Ok(edited(rules.family, tables)),
        Err(problems) => Err(match problems.first() {
            Some((line, no, more)) => Unread { line, no, more },
            None => whole("it can't be read".into()),
        }),
    }
}

/// The tables as they are, each counter going on where it is.
fn done(rules: &Ruleset) -> Vec<Done> {
    let mut next = 0..;
    let tables = rules.tables.iter().map(|table| {
        let counters = table.chains.iter().map(|c| 1 + c.rules.len()).sum();
        let from = next.by_ref().take(counters).map(|counter| Some(Legacy { counter, zeroed: false }));
        Done { table: table.clone(), from: from.collect() }
    });
    tables.collect()
}

fn count<'a>(tables: impl Iterator<Item = &'a Done>) -> usize {
    tables.flat_map(|t| &t.table.chains).map(|c| c.rules.len()).sum()
}

/// All tables together. The lines of new rules are those of a text that is gone.
fn edited(family: Family, tables: Vec<Done>) -> Edited {
    let mut all = Edited { rules: Ruleset { family, tables: Vec::new() }, from: Vec::new() };
    for Done { mut table, from } in tables {
        let mut counters = from.iter();
        for chain in &mut table.chains {
            counters.next();
            let of = counters.as_slice().get(..chain.rules.len()).unwrap_or_default();
            counters = counters.as_slice().get(chain.rules.len()..).unwrap_or_default().iter();
            // What has no new rule stays shared with what was there before.
            if of.iter().any(Option::is_none) {
                let new = chain.rules.iter_mut().zip(of).filter(|(_, from)| from.is_none());
                new.for_each(|(rule, _)| rule.line = 0);
            }
        }
        all.rules.tables.push(table);
        all.from.extend(from);
    }
    all
}

/// The table of that name, and if it was never given, as it is then: empty, letting all pass.
pub fn table(rules: &Ruleset, name: TableName) -> crate::filter::Table {
    let given = rules.tables.iter().find(|t| t.name == name);
    given.cloned().unwrap_or_else(|| Draft::new(name, None).finish().0)
}

#[cfg(test)]
mod tests;
