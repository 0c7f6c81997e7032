//! What can be asked of the flow table, in the terms of conntrack(8).
//!
//! Knows nothing of the table itself.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::Family;

/// A question about flows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, tag = "command", rename_all = "kebab-case")]
pub enum Flows {
    /// `-L`: answered in parts, with a list of lines or, as [`FlowKind::Json`], of [`Flow`](crate::control::view::Flow)s.
    List {
        /// How they are to be shown.
        #[serde(default)]
        form: FlowForm,
        /// Which ones.
        #[serde(default)]
        filter: FlowFilter,
    },
    /// `-G`: one flow, by its original tuple, which the filter must name whole. Answered as `-L`, or refused with ENOENT.
    Get {
        /// How it is to be shown.
        #[serde(default)]
        form: FlowForm,
        /// Which one.
        filter: FlowFilter,
    },
    /// `-D`: ends flows. Answered as `-L`, with those that were ended: some with each part, so that who does not read the
    /// answer to its end ends only some.
    Delete {
        /// How they are to be shown.
        #[serde(default)]
        form: FlowForm,
        /// Which ones.
        #[serde(default)]
        filter: FlowFilter,
    },
    /// `-U`: changes flows. Answered as `-L`, with those that were changed, some with each part likewise.
    Update {
        /// How they are to be shown.
        #[serde(default)]
        form: FlowForm,
        /// Which ones.
        #[serde(default)]
        filter: FlowFilter,
        /// The bits of the second number are cleared in their marks, then those of the first turned over.
        #[serde(default)]
        mark: Option<(u32, u32)>,
        /// Seconds that they live from now on, until a packet comes.
        #[serde(default)]
        timeout: Option<u32>,
    },
    /// `-F`: ends all flows, some with each part of the answer, which are empty lists.
    Flush {},
    /// `-E`: what happens to flows from now on, until the client hangs up: lists of [`FlowNews`](crate::control::view::FlowNews).
    Events {
        /// How they are to be shown.
        #[serde(default)]
        form: FlowForm,
        /// Of which flows.
        #[serde(default)]
        filter: FlowFilter,
        /// Which; empty: all.
        #[serde(default)]
        kinds: Vec<EventName>,
        /// Events that wait for the client at most, up to a bound; absent: 8192.
        #[serde(default)]
        buffer: Option<u32>,
    },
    /// `-S`: answered with a list of [`FlowCounters`](crate::control::view::FlowCounters), one for each worker.
    Stats,
    /// `-C`: answered with a number.
    Count,
}

/// Events that wait for one client at most: 7 MB.
pub const MOST_WAITING: u32 = 32_768;

/// What can happen to a flow, in conntrack's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum EventName {
    /// It began.
    New,
    /// Its state, its status or its mark changed.
    Update,
    /// It ended.
    Destroy,
}

/// How flows are shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FlowForm {
    /// In which language.
    pub kind: FlowKind,
    /// With the family in front: `-o extended`.
    pub extended: bool,
    /// With the flow's number: `-o id`.
    pub id: bool,
    /// Events with the time in front: `-o timestamp`.
    pub timestamp: bool,
}

/// In which language flows are shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FlowKind {
    /// conntrack's lines.
    #[default]
    Text,
    /// Options that would make the flow: `-o save`.
    Save,
    /// conntrack's elements: `-o xml`.
    Xml,
    /// Objects.
    Json,
}

/// Which flows. What is absent is not asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FlowFilter {
    /// Only this family's.
    pub family: Option<Family>,
    /// Of this IP protocol.
    pub proto: Option<u8>,
    /// Begun from within this prefix.
    pub orig_src: Option<IpNet>,
    /// Begun to within this prefix.
    pub orig_dst: Option<IpNet>,
    /// Answered from within this prefix.
    pub reply_src: Option<IpNet>,
    /// Answered to within this prefix.
    pub reply_dst: Option<IpNet>,
    /// Begun from this port, or with this ICMP identifier.
    pub orig_sport: Option<u16>,
    /// Begun to this port.
    pub orig_dport: Option<u16>,
    /// Answered from this port.
    pub reply_sport: Option<u16>,
    /// Answered to this port.
    pub reply_dport: Option<u16>,
    /// Begun by an ICMP query of this type.
    pub icmp_type: Option<u8>,
    /// Of this code.
    pub icmp_code: Option<u8>,
    /// With this identifier.
    pub icmp_id: Option<u16>,
    /// Whose protocol is in this state, by its name.
    pub state: Option<String>,
    /// Whose mark is this under the mask.
    pub mark: Option<(u32, u32)>,
    /// With all of these bits of the kernel's status.
    pub status: u32,
    /// With none of these.
    pub status_not: u32,
    /// Whose source is translated, to this address if one is given.
    pub src_nat: Option<Translated>,
    /// Whose destination is translated, to this address if one is given.
    pub dst_nat: Option<Translated>,
    /// Of whose two ends either is translated, to this address if one is given.
    pub any_nat: Option<Translated>,
}

/// What an end is translated to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Translated {
    /// The address; absent: any.
    pub to: Option<IpAddr>,
    /// The port; absent: any.
    #[serde(default)]
    pub port: Option<u16>,
}
