//! Load: traffic by the million, and what becomes of it.
//!
//! A [`Generator`] in one namespace sends, a [`Sink`] in another counts and throws away, whatever stands
//! between them. [`rate`] finds out how much gets through, [`Bulk`] what TCP makes of it, [`RoundTrip`] how long
//! it takes, [`cost`] and [`memory`] what it takes of the machine. Numbers come back; nothing is printed.
//!
//! ```text
//!  client                              what is measured                             server
//!  ┌──────────────────────────┐       ┌───────────────────┐        ┌─────────────────────────────┐
//!  │ Generator ─► eth (XDP_TX)├──────►│ needs NAPI: napi()│───────►│ eth ─► Sink (tc ingress)    │
//!  │ Bulk, RoundTrip ─► stack ├──────►│                   │───────►│        └─► stack: the rest  │
//!  └──────────────────────────┘       └───────────────────┘        └─────────────────────────────┘
//! ```
//!
//! As root the generator is an XDP program that sends recycled frames (BPF_PROG_RUN, several million a second) and the
//! sink a tc program. In a user namespace, which has no right to bpf(), packet sockets and classic BPF do the same,
//! slower; [`Generator::method`] and [`Sink::method`] say which it was. Knows nothing of routers.

mod bulk;
mod connects;
pub mod cost;
mod device;
mod generator;
mod histogram;
pub mod memory;
mod program;
pub mod rate;
mod round_trip;
mod sink;
mod traffic;

pub use bulk::{Bulk, BulkReport, Direction};
pub use connects::{Connects, ConnectsReport};
pub use device::{set_napi, set_offloads};
pub use generator::{Generator, Method, Rate, Setup};
pub use histogram::Histogram;
pub use round_trip::{Echo, RoundTrip, RoundTripReport};
pub use sink::{Counts, Sink};
pub use traffic::Traffic;

use std::io;
use std::time::Duration;

use super::netns::Netns;
use crate::io::bpf::BpfError;
use crate::io::netlink::{Netlink, NetlinkError};

/// When to measure: counters are compared at the window's two ends, so that neither the start nor the end of the
/// traffic is in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Traffic flows for so long before anything is counted.
    pub warm_up: Duration,
    /// And is counted for so long.
    pub length: Duration,
}

impl Window {
    /// A window of this length after a warm-up of a quarter of it, at least 100 ms.
    pub fn of(length: Duration) -> Self {
        Window { warm_up: (length / 4).max(Duration::from_millis(100)), length }
    }
}

/// A measurement could not be made. That nothing arrived is not an error but a finding.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// bpf() refused.
    #[error(transparent)]
    Bpf(#[from] BpfError),
    /// A device could not be found or set.
    #[error("{space}: {source}")]
    Netlink {
        /// The namespace.
        space: String,
        /// What the kernel said.
        #[source]
        source: NetlinkError,
    },
    /// A socket or a file.
    #[error("{doing}: {source}")]
    Io {
        /// What was being done.
        doing: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The generator ended before it was told to.
    #[error("the generator stopped: {0}")]
    Stopped(String),
    /// The generator sends, and nothing leaves its device.
    #[error(
        "{0}: no frame gets out: the other end of this veth receives XDP frames only while it has NAPI (load::set_napi)"
    )]
    NothingLeaves(String),
}

/// Says what was being done when a call failed.
trait Doing<T> {
    fn doing(self, what: impl FnOnce() -> String) -> Result<T, LoadError>;
}

impl<T> Doing<T> for io::Result<T> {
    fn doing(self, what: impl FnOnce() -> String) -> Result<T, LoadError> {
        self.map_err(|source| LoadError::Io { doing: what(), source })
    }
}

/// Speaks netlink in a namespace.
fn netlink<T: Send>(
    space: &Netns,
    f: impl FnOnce(&mut Netlink) -> Result<T, NetlinkError> + Send,
) -> Result<T, LoadError> {
    space
        .run(|| Netlink::open().and_then(|mut netlink| f(&mut netlink)))
        .map_err(|source| LoadError::Netlink { space: space.name().to_owned(), source })
}
