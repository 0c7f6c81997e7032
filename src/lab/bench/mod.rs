//! The bench: rivals one after the other between the same client and server, over interleaved rounds.
//!
//! ```text
//!   rounds ──► for each round, for each work, for each rival (the order rotates):
//!                testbed ── rival.start() ── traffic ── samples ── all of it down again
//!   report ◄── medians, spreads, ratios to the kernel with the same ruleset, bars
//!     └─► text · JSON · SVG
//! ```
//!
//! [`metric`] says what is measured, [`rival`] who is, [`testbed`] between whom, [`ruleset`] with which rules and routes,
//! [`traffic`] by what means. Everything is in namespaces and in a directory of its own. Prints nothing itself:
//! whoever runs it is told how far it is.

mod answer;
pub mod bars;
pub mod machine;
pub mod metric;
pub mod report;
pub mod rival;
pub mod rounds;
pub mod ruleset;
pub mod stats;
pub mod svg;
pub mod testbed;
pub mod text;
pub mod traffic;

pub use report::Report;
pub use rounds::{Choice, Event, run};

/// Why something of the bench could not be done, in one sentence. A rival's or a work's failure is a row of the
/// report, so that a sentence is all that is ever wanted of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Trouble(pub String);

impl Trouble {
    /// From whatever can be shown.
    pub(crate) fn of(e: impl std::fmt::Display) -> Self {
        Trouble(e.to_string())
    }
}
