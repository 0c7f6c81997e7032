//! What can be asked about the busiest flows.

use serde::{Deserialize, Serialize};

/// How many, and how often.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Busiest {
    /// At most so many flows each time: 1 to 1,000.
    pub count: usize,
    /// Milliseconds between two lists: 100 to 5,000, so that whoever follows hears from the router in time.
    pub every: u64,
}

impl Default for Busiest {
    fn default() -> Self {
        Busiest { count: 50, every: 1_000 }
    }
}
