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
mod events;
mod flow;
mod icmp;
pub mod nat;
mod protocol;
mod replay;
pub mod sctp;
mod shard;
mod slab;
mod source;
mod step;
mod table;
pub mod tcp;
pub mod text;
mod track;
pub mod tuple;
mod wheel;
mod why;

#[cfg(test)]
pub(crate) mod testing;

use std::sync::{Mutex, MutexGuard, PoisonError};

pub use config::{Config, Settings, Timeout, Timeouts};
pub use events::{EventKind, FlowEvent, Listener, Wants};
pub use flow::{Current, Flow, State};
pub use replay::Standing;
pub use step::Step;
pub use table::{Conntrack, Stats};
pub use track::{Confirmed, Tracked};

/// Locks, whatever became of a thread that held the lock before: each change to what it guards is whole.
#[inline]
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
