//! What can be asked about packets on their way: `trace` and `capture`, and what is told.
//!
//! Both are followed live: the answer comes in parts, lists of what has happened since the part before, until as many packets
//! have been followed as were asked for, the time is over, or the client hangs up.

use serde::{Deserialize, Serialize};

use crate::path::trace::{Missed, Point, Record};

/// `trace`: answered with lists of [`Told`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Trace {
    /// Which packets, as an expression: see docs/trace.md; empty: all.
    pub filter: String,
    /// Packets to follow; absent: until the client hangs up.
    pub count: Option<u64>,
    /// Seconds; absent: no end.
    pub seconds: Option<u64>,
    /// Packets that each worker follows a second at most; absent: 1000.
    pub rate: Option<u32>,
}

/// The most bytes of a packet that are captured: a super-frame and its link-layer header fit (`MAXIMUM_SNAPLEN` of libpcap).
pub const MAX_SNAPLEN: usize = 262_144;

/// `capture`: answered with lists of [`Captured`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Capture {
    /// Which packets, how many, how long, how often.
    #[serde(flatten)]
    pub of: Trace,
    /// Where on their way; empty: as they come in and as they leave.
    pub at: Vec<Point>,
    /// Bytes of each that are wanted; absent: all.
    pub snaplen: Option<usize>,
}

/// What a trace tells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Told {
    /// A packet's way, to its end or until it is held back.
    Packet(Record),
    /// What is not told.
    Missed(Missed),
}

/// What a capture tells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Captured {
    /// A packet at a point of its way.
    Frame(CapturedFrame),
    /// What is not told.
    Missed(Missed),
}

/// A packet at a point of its way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CapturedFrame {
    /// The packet's number, the same at each point.
    pub id: u32,
    /// Nanoseconds since 1970.
    pub time: u64,
    /// Where.
    pub point: Point,
    /// The link it came in by, or at egress the one it leaves by.
    pub link: String,
    /// Whether it begins with an Ethernet header; else with its IP header.
    pub ethernet: bool,
    /// How long it was.
    pub len: usize,
    /// Its bytes, as many as are wanted, in base64 (RFC 4648 §4).
    pub data: String,
    /// What became of the packet: verdict, rules, translations, a line each.
    pub comment: String,
}
