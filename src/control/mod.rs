//! The control socket: how the other verbs talk to a running router.
//!
//! ```text
//!  sekisho stats ─► client ══ Unix socket, mode 0600 ══► server ─► handler ─► answer ─► view
//!                         ◄═══ JSON, length first ══════        (of the run loop)
//! ```
//!
//! [`protocol`] is what crosses the socket, [`server`] and [`client`] its two ends, [`view`] what is shown
//! and [`answer`] how that is made of the router's tables. [`metrics`] shows the counters to Prometheus, over HTTP and on a
//! thread of its own. Knows nothing of the command line.

pub mod answer;
pub mod base64;
pub mod client;
mod filter;
pub mod metrics;
pub mod monitor;
pub mod protocol;
pub mod server;
mod shown;
pub mod view;

pub use client::Client;
pub use protocol::{Request, Verb};
pub use server::{Answer, Server};
