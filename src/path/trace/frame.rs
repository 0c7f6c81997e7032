//! What a packet looked like at a point of its way, for captures.

use serde::{Deserialize, Serialize};

use crate::base::Hook;

/// Where on its way a packet may be captured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[repr(u8)]
pub enum Point {
    /// As it came in by a link.
    Ingress,
    /// As it leaves by a link.
    Egress,
    /// As it came to PREROUTING.
    Prerouting,
    /// As it came to INPUT.
    Input,
    /// As it came to FORWARD.
    Forward,
    /// As it came to OUTPUT.
    Output,
    /// As it came to POSTROUTING.
    Postrouting,
    /// As it was when it was dropped.
    Drop,
}

impl Point {
    /// All of them, in the order of a packet's way.
    pub const ALL: [Point; 8] = [
        Point::Ingress,
        Point::Egress,
        Point::Prerouting,
        Point::Input,
        Point::Forward,
        Point::Output,
        Point::Postrouting,
        Point::Drop,
    ];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Point::Ingress => "ingress",
            Point::Egress => "egress",
            Point::Prerouting => "prerouting",
            Point::Input => "input",
            Point::Forward => "forward",
            Point::Output => "output",
            Point::Postrouting => "postrouting",
            Point::Drop => "drop",
        }
    }

    /// The point at a hook.
    pub(in crate::path) fn of(hook: Hook) -> Point {
        match hook {
            Hook::Prerouting => Point::Prerouting,
            Hook::Input => Point::Input,
            Hook::Forward => Point::Forward,
            Hook::Output => Point::Output,
            Hook::Postrouting => Point::Postrouting,
        }
    }
}

/// Several points.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Points(u8);

impl Points {
    /// Whether this is one of them.
    pub fn has(self, point: Point) -> bool {
        self.0 & 1 << point as u8 != 0
    }

    /// These and those.
    #[must_use]
    pub fn and(self, other: Points) -> Points {
        Points(self.0 | other.0)
    }
}

impl FromIterator<Point> for Points {
    fn from_iter<I: IntoIterator<Item = Point>>(points: I) -> Self {
        Points(points.into_iter().fold(0, |all, p| all | 1 << p as u8))
    }
}

/// A packet at a point.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Where.
    pub point: Point,
    /// The link it came in by, or at egress the one it leaves by; the loopback's for packets made here.
    pub link: String,
    /// When, as of [`Record::time`](super::Record::time).
    pub time: u64,
    /// Whether it begins with an Ethernet header; else with its IP header.
    pub ethernet: bool,
    /// How long it was.
    pub len: usize,
    /// Its first bytes, as many as were asked for.
    pub data: Vec<u8>,
    /// How many steps had been done.
    pub step: usize,
}
