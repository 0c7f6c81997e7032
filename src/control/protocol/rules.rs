//! What can be asked of the rules. Knows nothing of the rules themselves.

use serde::{Deserialize, Serialize};

use super::Family;

/// `iptables-save`: answered in parts, with lists of lines.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rules {
    /// Whose.
    pub family: Family,
    /// With the counters.
    #[serde(default)]
    pub counters: bool,
    /// This table only.
    #[serde(default)]
    pub table: Option<String>,
    /// Of this chain only, with the rules of others that go to it. Goes with a table.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chain: Option<String>,
    /// And set counters to zero, at once: each packet is counted either in the answer or afterwards. Goes with a table.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zero: Option<Zero>,
}

/// `-Z`: of the whole table, if nothing is said.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Zero {
    /// This chain only.
    pub chain: Option<String>,
    /// This rule only, from 1; goes with a chain.
    pub number: Option<usize>,
}
