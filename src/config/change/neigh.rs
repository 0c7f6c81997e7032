//! `ip neigh add`, `replace`, `change`, `del`, `flush`.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::control::protocol::NeighborFilter;

/// A change of the neighbors. Permanent ones are part of the configuration, others of the living table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, tag = "op", rename_all = "kebab-case")]
pub enum NeighChange {
    /// One is there, or is different.
    Set {
        /// Its address.
        ip: IpAddr,
        /// The link it is on.
        dev: String,
        /// Its MAC, which only those in state `failed` can do without.
        mac: Option<String>,
        /// In which state it begins: `permanent`, `reachable`, `stale`, `delay`, `probe` or `failed`.
        state: String,
        /// It may be new.
        create: bool,
        /// It may be there.
        replace: bool,
    },
    /// One less.
    Delete {
        /// Its address.
        ip: IpAddr,
        /// The link it is on.
        dev: String,
    },
    /// All that fit are removed; permanent ones only if they are asked for by that state.
    Flush(NeighborFilter),
}
