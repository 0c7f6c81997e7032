//! What everything else is built of: addresses, ids, time, drop reasons, counters.
//!
//! Knows nothing of packets, tables or threads, and imports nothing from the crate.

pub mod counters;
pub mod drop;
pub mod hash;
pub mod hook;
pub mod ids;
pub mod journal;
pub mod mac;
mod shown;
pub mod time;

pub use counters::{Column, Counters, Event};
pub use drop::DropReason;
pub use hook::{HOOKS, Hook};
pub use ids::LinkId;
pub use journal::{Follower, Journal};
pub use mac::Mac;
pub use shown::shown;
pub use time::Instant;
