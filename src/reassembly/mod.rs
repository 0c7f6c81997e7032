//! Fragments put together, and packets cut into them.
//!
//! [`Reassembler`] is for datagrams that end here: the path hands it every fragment addressed to the
//! router, and the fragments wait until the last one is there. [`fragment4`] and [`fragment6`] are for
//! packets on their way out. Knows of IP headers and nothing of routes, links or ICMP messages; what
//! is to be told to a sender is said, and told by the path.
//!
//! # The ledger
//!
//! A fragment is parked when it is given to [`Reassembler::push`], always, and unparked when it comes
//! out by name in a [`Done`], which every fragment does exactly once:
//!
//! ```text
//! Done::Whole    the packet stands for one fragment and goes on; each column in `absorbed` stands for
//!                another, which has been delivered: its bytes are in the packet
//! Done::Dropped  one fragment, dropped
//! ```

mod config;
mod datagram;
mod fragment;
mod join;
mod reassembler;

pub use config::Config;
pub use fragment::{fragment4, fragment6};
pub use reassembler::Reassembler;

use crate::base::{Column, DropReason};
use crate::packet::{Packet, TraceId};

/// What became of fragments.
#[derive(Debug)]
pub enum Done {
    /// A datagram is whole.
    Whole {
        /// The datagram, as if it had never been cut: lengths, flags, checksum and next headers put right,
        /// [`Meta`](crate::packet::Meta) too. It has the column of its first fragment and the ingress of the
        /// one that came last. How it had been cut is in [`Packet::cut`]: not more than its longest fragment may
        /// be sent in one piece where the datagram is forwarded.
        packet: Packet,
        /// The columns of the other fragments.
        absorbed: Vec<Column>,
        /// The numbers of those fragments whose ways are being recorded. The datagram has that of the one that came last, or
        /// else the first of these.
        followed: Vec<TraceId>,
    },
    /// A fragment goes no further.
    Dropped {
        /// The fragment as it came.
        packet: Packet,
        /// Why.
        reason: DropReason,
        /// What its sender is to be told.
        tell: Option<Tell>,
    },
}

/// The ICMP error about a fragment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tell {
    /// Time exceeded, code 1, for both families (RFC 792, RFC 4443 §3.3): the first fragment has waited in
    /// vain.
    ReassemblyTime,
    /// ICMPv6 parameter problem, code 0 (RFC 8200 §4.5), with the offset from the IPv6 header of what is wrong.
    ParameterProblem {
        /// The offset.
        pointer: u32,
    },
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
