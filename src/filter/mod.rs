//! Rules: the tables, chains, matches and targets of iptables, as text, as data, and compiled to run.
//!
//! ```text
//! iptables-save text ─► iptables::read ─► Ruleset (rule, matches, targets) ─► compile ─► Program ─► run
//!                       iptables::write ◄─┘                                   counters ◄─┘
//! ```
//!
//! A [`Program`] is asked at each hook for each table. It changes a packet in place where a target says so
//! (MARK, TOS, TTL, TCPMSS …), and gives a [`Verdict`]; what needs the router's other tables (the packet's
//! flow, the kind of an address, randomness, a log) it asks of an [`Env`]. It knows nothing of conntrack or of
//! NAT beyond the words in [`packet::flow`](crate::packet::flow), and of links only their names.

mod counters;
pub mod iptables;
pub mod log;
pub mod matches;
mod problem;
mod program;
pub mod rule;
pub mod targets;
mod verdict;
mod witness;

pub use matches::Match;
pub use problem::Problem;
pub use program::{Claims, Legacy, Program, Remembered, lower_mss};
pub use rule::{Basic, Chain, Family, Rule, Ruleset, Table, TableName};
pub use targets::Target;
pub use verdict::{Env, NatAction, RuleRef, Verdict};
pub use witness::{TURNS, Witness};
