//! `iptables` and `iptables-restore`.

use serde::{Deserialize, Serialize};

use crate::control::protocol::Family;

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
#[serde(tag = "op", rename_all = "kebab-case")]
pub enum Edit {
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
    },
}
