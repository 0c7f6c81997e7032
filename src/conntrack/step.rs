//! What a packet does to the flow it belongs to, as its protocol judges it.
//!
//! Knows nothing of tables or packets.

use std::time::Duration;

use crate::packet::Status;

/// What became of a flow's packet, and what is to become of the flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The packet belongs to the flow.
    Accept {
        /// How long the flow lives from now on; absent: as long as was said before.
        timeout: Option<Duration>,
        /// What is true of the flow from now on, besides what was.
        set: Status,
    },
    /// The packet is INVALID, and belongs to no flow.
    Invalid {
        /// How long the flow lives from now on; absent: as long as was said before.
        timeout: Option<Duration>,
    },
    /// The packet belongs to the flow and is the last that does: the flow is to be forgotten.
    Remove,
    /// The flow is over: it is to be forgotten, and the packet to be judged anew, as one of no known flow.
    Reopen,
}

impl Step {
    /// INVALID, and the flow lives on.
    pub(super) const INVALID: Step = Step::Invalid { timeout: None };
    /// Let through; the flow lives on as before.
    pub(super) const PASS: Step = Step::Accept { timeout: None, set: Status(0) };
}
