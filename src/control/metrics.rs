//! The router's counters for Prometheus: over HTTP, in its text format or OpenMetrics.
//!
//! ```text
//!  Prometheus ══ TCP ══► server ─► request ─► families of view::Stats ─► text
//! ```
//!
//! [`families`] says which metrics there are and what of [`Stats`](super::view::Stats) they show, [`http`] understands a
//! request, [`Endpoint`] talks to many at once on one thread. Knows nothing of the router's tables.

pub mod families;
pub mod http;
mod server;

pub use families::{Definition, Kind, definitions};
pub use server::Endpoint;
