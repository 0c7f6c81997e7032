//! What can be asked about packets that are never sent, and what is told of them.
//!
//! Knows nothing of the router itself.

use serde::{Deserialize, Serialize};

use crate::path::trace::Record;
use crate::router::Outcome;

/// `explain`: answered with an [`Explanation`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, tag = "said", rename_all = "kebab-case")]
pub enum Explain {
    /// A packet in words; see [`crate::wire::words`].
    Words {
        /// The words, or several in one.
        words: Vec<String>,
    },
    /// A packet as it is.
    Frame {
        /// The link it comes in by; absent: the router makes it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        link: Option<String>,
        /// Its bytes, two hexadecimal digits each.
        frame: String,
        /// Whether it begins with an Ethernet header; else with its IP header.
        ethernet: bool,
    },
}

/// What would become of a packet.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Explanation {
    /// The link it comes in by; absent: the router makes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
    /// The packet, in tcpdump's words.
    pub packet: String,
    /// What would become of it.
    pub outcome: Outcome,
    /// The same in words.
    pub verdict: String,
    /// Packets that the router would make because of it, and what would become of them.
    pub answers: Vec<Answering>,
    /// Each step, as `trace` tells it: the packet's record first, then those of the answers.
    pub records: Vec<Record>,
    /// Lines that LOG rules would write.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub log: Vec<String>,
    /// What else there is to know.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// A packet that the router would make.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answering {
    /// The packet, in tcpdump's words.
    pub packet: String,
    /// What would become of it.
    pub outcome: Outcome,
    /// The same in words.
    pub verdict: String,
}
