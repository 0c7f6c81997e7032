//! What can be asked of the flow table, in the terms of conntrack(8).
//!
//! Knows nothing of the table itself.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::Family;

/// A question about flows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "kebab-case")]
pub enum Flows {
    /// `-L`: answered in parts, with a list of lines or, as [`FlowForm::Json`], of [`Flow`](crate::control::view::Flow)s.
    List {
        /// How they are to be shown.
        form: FlowForm,
        /// Which ones.
        #[serde(default)]
        filter: FlowFilter,
    },
    /// `-C`: answered with a number.
    Count,
}

/// How flows are shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FlowForm {
    /// conntrack's lines.
    #[default]
    Text,
    /// conntrack's lines with the family in front: `-o extended`.
    Extended,
    /// Objects.
    Json,
}

/// Which flows. What is absent is not asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
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
    /// Whose protocol is in this state, by its name.
    pub state: Option<String>,
    /// Whose mark is this under the mask.
    pub mark: Option<(u32, u32)>,
    /// With all of these bits of the kernel's status.
    pub status: u32,
    /// Whose source is translated, to this address if one is given.
    pub src_nat: Option<Translated>,
    /// Whose destination is translated, to this address if one is given.
    pub dst_nat: Option<Translated>,
    /// Of whose two ends either is translated, to this address if one is given.
    pub any_nat: Option<Translated>,
}

/// What an end is translated to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Translated {
    /// The address; absent: any.
    pub to: Option<IpAddr>,
}
