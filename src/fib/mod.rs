//! Where packets go: routes as they are configured, and the table that packets are looked up in.
//!
//! ```text
//!   text ──► Route ──► Rib ──────────────► Fib ──────► Entry
//!   ip route words     all routes, several  immutable   what to do with
//!                      a prefix by metric   trie        one packet
//! ```
//!
//! The control side ([`Rib`]) keeps every route as it was given; [`Rib::build`] chooses among equals,
//! finds out where each gateway is reached, and compiles what is left into a [`Fib`], which workers
//! share and only read. Knows the names and addresses of links; knows nothing of neighbors, packets
//! or of whether a link is up.

mod alike;
mod build;
mod change;
mod connected;
mod leans;
mod lpm;
mod metrics;
mod resolve;
mod rib;
mod route;
mod sorted;
mod table;
mod text;
mod view;

#[cfg(test)]
mod sample;

pub use build::{BuildCause, BuildError};
pub use connected::on_link_metric;
pub use leans::{Leans, Users};
pub use metrics::Metrics;
pub use rib::{Place, Rib};
pub use route::{Family, NextHop, Protocol, Route, RouteError, RouteKind, Table};
pub use table::{Action, Entry, Fib, Hop, Hops};
pub use text::{LineError, LoadError, Pattern, TextError, UNSUPPORTED, load, parse_line, parse_pattern};
