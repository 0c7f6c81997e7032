//! Conntrack: the flows that pass, how each stands, and what they are translated to.
//!
//! ```text
//! packet ─► track: tuple ─► table ─┬─ known: its protocol's state goes on ──┐
//!                                  └─ new: a Flow begins, in the worker ────┤
//!                                                                           ▼
//!           rules, nat::setup (first packet only), nat::translate   Current { id, flow }
//!                                                                           │
//!           confirm: a new flow goes into the table, under both its tuples ◄┘
//! ```
//!
//! Knows nothing of rules, routes or links beyond their ids; when to ask which of these is the path's to say.

mod config;
mod flow;
pub mod nat;
pub mod sctp;
mod step;
pub mod tcp;

pub use config::{Config, Timeout, Timeouts};
pub use flow::{Current, Flow, State};
pub use step::Step;
