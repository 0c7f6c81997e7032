//! What can be asked of the rules. Knows nothing of the rules themselves.

use serde::{Deserialize, Serialize};

use super::Family;

/// `iptables-save`: answered in parts, with lists of lines.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rules {
    /// Whose.
    pub family: Family,
    /// With the counters.
    #[serde(default)]
    pub counters: bool,
    /// This table only.
    #[serde(default)]
    pub table: Option<String>,
}
