//! The words behind `iptables` and `ip6tables`.
//!
//! They are read twice: once by who asks, without the rules, to know what is asked; and again by who has the rules, to do
//! it. The grammar is that of the text ([`mod@line`]), with what only a command line can say.

use crate::filter::rule::{Family, Rule, TableName};

use super::line::{self, Around, Command, Kind, Said};
use super::no::No;
use super::{known, words};

/// What a command line asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// The table it is about.
    pub table: TableName,
    /// What of it.
    pub what: What,
    /// How it is to be shown.
    pub manner: Manner,
}

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// To change the rules. With `-v` it is told: these rules, or what is done to which chains.
    Edit {
        /// The rules that stand on the line.
        rules: Vec<Rule>,
        /// What happens to a chain, and to which; to all of them if it is none.
        chains: Option<(&'static str, Option<String>)>,
    },
    /// `-C`, of these rules.
    Check(Vec<Rule>),
    /// `-L`, `-S`.
    List(List),
    /// `-h`.
    Help,
    /// `-V`.
    Version,
}

/// Which rules are to be shown, and how.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct List {
    /// `-S`: as commands.
    pub as_commands: bool,
    /// Of this chain only.
    pub chain: Option<String>,
    /// This rule only, from 1.
    pub number: Option<usize>,
    /// At once all that is shown of the chains begins at zero again; or one rule, from 1.
    pub zero: Option<Option<usize>>,
}

/// How something is to be shown.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Manner {
    /// `-v`.
    pub verbose: bool,
    /// `-n`.
    pub numeric: bool,
    /// `-x`.
    pub exact: bool,
    /// `--line-numbers`.
    pub line_numbers: bool,
    /// `--json`.
    pub json: bool,
    /// `--control`.
    pub control: Option<String>,
    pub(super) help: bool,
    pub(super) version: bool,
}

/// Reads a command line as far as that can be done without the rules: any name that is no target's may be a chain's.
///
/// # Errors
/// It can't be understood, or names no table.
pub fn asked(words: &[String], family: Family) -> Result<Asked, No> {
    let (said, table, manner) = read(words, family, TableName::Filter, &may_be)?;
    let what = match said {
        Said::Edit(Command::Check(_, rules)) => What::Check(rules),
        Said::Edit(command) => edit(command),
        Said::List { as_commands, chain, number, zero } => {
            What::List(List { as_commands, chain, number, zero })
        }
        Said::Help => What::Help,
        Said::Version => What::Version,
    };
    Ok(Asked { table, what, manner })
}

/// What kind of chain may have a name, as far as that can be said without the rules.
pub(super) fn may_be(name: &str) -> Kind {
    match known::is_target(name) {
        true => Kind::None,
        false => Kind::User,
    }
}

fn edit(command: Command) -> What {
    let (rules, chains) = match command {
        Command::Append(_, rules) | Command::Insert(_, _, rules) | Command::Delete(_, rules) => (rules, None),
        Command::Replace(_, _, rule) => (vec![*rule], None),
        Command::Flush(chain) => (Vec::new(), Some(("Flushing", chain))),
        Command::Remove(chain) => (Vec::new(), Some(("Deleting", chain))),
        Command::Zero(chain, None) => (Vec::new(), Some(("Zeroing", chain))),
        _ => (Vec::new(), None),
    };
    What::Edit { rules, chains }
}

/// Reads a command line, knowing which chains there are.
pub(super) fn read(
    words: &[String],
    family: Family,
    table: TableName,
    chain: &dyn Fn(&str) -> Kind,
) -> Result<(Said, TableName, Manner), No> {
    words.iter().try_for_each(|word| words::fits(word))?;
    line::command(words, &Around { family, table, chain, line: 0 })
}
