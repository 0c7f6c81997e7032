//! `ip addr add`, `replace`, `change`, `del`, `flush`.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::control::protocol::LinkFilter;

/// A change of a link's addresses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, tag = "op", rename_all = "kebab-case")]
pub enum AddrChange {
    /// One more.
    Add {
        /// The link.
        dev: String,
        /// The address.
        addr: IpAddr,
        /// The length of the on-link prefix.
        prefix_len: u8,
        /// Done already is done.
        #[serde(default)]
        replace: bool,
    },
    /// One less.
    Delete {
        /// The link.
        dev: String,
        /// The address.
        addr: IpAddr,
        /// The length of its on-link prefix; absent: whatever it is.
        prefix_len: Option<u8>,
    },
    /// All that fit.
    Flush(LinkFilter),
}
