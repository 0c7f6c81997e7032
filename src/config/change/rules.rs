//! `iptables` and `iptables-restore`.

use serde::{Deserialize, Serialize};

use super::Refusal;
use crate::control::protocol::Family;
use crate::filter::iptables::{self, Asked, Edited, No, Restore, Unread, What};
use crate::filter::{self, Ruleset};

/// A change of one family's rules.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RulesChange {
    /// Whose.
    pub family: Family,
    /// What to do.
    #[serde(flatten)]
    pub edit: Edit,
}

/// What to do with the rules.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, tag = "op", rename_all = "kebab-case")]
pub enum Edit {
    /// What iptables(8) does with these words behind it.
    Command {
        /// `-A`, `FORWARD`, `-j` …
        words: Vec<String>,
    },
    /// What iptables-restore(8) does with this text.
    Restore {
        /// In the format of iptables-save.
        text: String,
        /// Tables keep what the text does not say.
        #[serde(default)]
        noflush: bool,
        /// Only look whether it could be done.
        #[serde(default)]
        test: bool,
        /// With the text's counters.
        #[serde(default)]
        counters: bool,
        /// This table only.
        #[serde(default)]
        table: Option<String>,
    },
}

impl RulesChange {
    /// The rules as they are to be, if `rules` are those that are there.
    ///
    /// # Errors
    /// It can't be done. Of a text, the line stands before what is wrong: `line 7: …`.
    pub fn apply(&self, rules: &Ruleset) -> Result<Edited, Refusal> {
        match &self.edit {
            Edit::Command { words } => iptables::edit(words, rules).map_err(Refusal::from),
            Edit::Restore { text, noflush, counters, table, .. } => {
                let how = Restore { noflush: *noflush, counters: *counters, table: table.clone() };
                iptables::restore(text, &how, rules).map_err(Refusal::from)
            }
        }
    }

    /// Whether nothing is to be different afterwards.
    pub fn only_looks(&self) -> bool {
        matches!(self.edit, Edit::Restore { test: true, .. }) || self.checks()
    }

    /// Whether it asks if there is a rule, and no more.
    pub fn checks(&self) -> bool {
        let Edit::Command { words } = &self.edit else { return false };
        matches!(iptables::asked(words, self.family.into()), Ok(Asked { what: What::Check(_), .. }))
    }

    /// The counters it sets to zero, by their numbers, if it does nothing else.
    ///
    /// # Errors
    /// There is no such chain, or no such rule, or the words can't be understood.
    pub fn zeroed(&self, rules: &Ruleset) -> Result<Option<Vec<bool>>, Refusal> {
        match &self.edit {
            Edit::Command { words } => iptables::zeroed(words, rules).map_err(Refusal::from),
            Edit::Restore { .. } => Ok(None),
        }
    }
}

impl From<Family> for filter::Family {
    fn from(family: Family) -> Self {
        match family {
            Family::Inet => filter::Family::V4,
            Family::Inet6 => filter::Family::V6,
        }
    }
}

impl From<No> for Refusal {
    fn from(no: No) -> Self {
        Refusal::of(no.errno(), no.told())
    }
}

impl From<Unread> for Refusal {
    fn from(Unread { line, no, more }: Unread) -> Self {
        let place = if line > 0 { format!("line {line}: ") } else { String::new() };
        let more = if more > 0 { format!(" (and {more} more)") } else { String::new() };
        Refusal::of(no.errno(), format!("{place}{no}{more}"))
    }
}
