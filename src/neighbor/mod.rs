//! Who has which MAC: the ARP and NDP cache, with the states of neighbor unreachability detection.
//!
//! ```text
//!               first use                     an answer of its own
//!  (nothing) ─────────────► INCOMPLETE ──────────────────────────────► REACHABLE ◄────────┐
//!      │                      │   ▲  3 broadcast solicits,               │    ▲           │
//!      │            no answer │   │  1 s apart             its time ends │    │ confirmed │ an answer
//!      │                      ▼   │ next use                             ▼    │ meanwhile │
//!      │ heard of           FAILED             unused ◄──────────────── in use?│          │
//!      │                      ▲                   │                        │   │          │
//!      │                      │                   ▼         use            ▼   │          │
//!      └──────────────────────┼───────────────► STALE ──────────────────► DELAY ──────► PROBE
//!                             │                   ▲                             5 s       │
//!                             │                   └─ another MAC claimed                  │
//!                             └───────────────────────────────────────────────────────────┘
//!                                              no answer to 3 unicast solicits, 1 s apart
//!
//!  state        a packet for it …        its timer …                  it may be evicted …
//!  Incomplete   waits                    retrans, each a solicit      1 s after the first solicit
//!  Reachable    goes                     what is left of its time     never
//!  Stale        goes, and starts Delay   none                         unused for 5 s
//!  Delay        goes                     delay_first_probe            never
//!  Probe        goes                     retrans, each a solicit      never
//!  Failed       waits, and starts anew   none                         always, and first
//!  Permanent    goes                     none                         never
//! ```
//!
//! The states and timers are RFC 4861 §7.3 as Linux has them (`net/core/neighbour.c`), for ARP too.
//! The table is shared by all workers, takes the time as an argument and answers with [`Action`]s;
//! it knows nothing of ARP or NDP messages, of sockets or of routes.
//!
//! # What others must do
//!
//! - Send what [`Action::Solicit`] asks for, with a source address of the link's own: the address in
//!   `hint` if it is one of them, as Linux does.
//! - Carry out [`Action::Send`]s in their order, and **after the last one has been handed to the
//!   port**, call [`NeighborTable::drained`] for each neighbor they were for, on the same thread, until
//!   it says `false`. Until then the workers whose packets these are don't send past them: what else
//!   they have for that neighbor is parked. With one worker nothing changes about that.
//! - Keep the ledger: a packet is parked when [`NeighborTable::resolve`] keeps it, and unparked when
//!   it comes out in an action, whichever. Each packet kept comes out exactly once.
//! - Look at [`NeighborTable::generation`] once a batch when keeping a [`Ready`] beyond a packet.

mod config;
mod dad;
mod entry;
mod gc;
mod queue;
mod shard;
mod table;

pub use config::Config;
pub use dad::{Config as DadConfig, Dad, DadAction, DadState};
pub use table::NeighborTable;

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use crate::base::{DropReason, Instant, LinkId, Mac};
use crate::packet::Packet;

/// A MAC that may be used now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ready {
    /// The neighbor's MAC.
    pub mac: Mac,
    /// The MAC may be used without asking again until then, as long as
    /// [`NeighborTable::generation`] is what it was. At most a second ahead except for permanent
    /// neighbors, so that the table knows who is in use.
    pub until: Instant,
}

/// What the table wants done. All of it is off the fast path.
#[derive(Debug)]
pub enum Action {
    /// Ask who has `target`.
    Solicit {
        /// The link to ask on.
        link: LinkId,
        /// The address asked for.
        target: IpAddr,
        /// The MAC to probe; `None`: ask everybody (ARP broadcast, solicited-node multicast).
        dest: Option<Mac>,
        /// The source address of the latest packet that waits, if one does.
        hint: Option<IpAddr>,
    },
    /// A packet that waited goes on.
    Send {
        /// The link it goes out by.
        link: LinkId,
        /// The neighbor.
        ip: IpAddr,
        /// The neighbor's MAC.
        mac: Mac,
        /// The packet.
        packet: Packet,
    },
    /// The neighbor of a packet that waited did not answer: the sender is told (host or address
    /// unreachable) and the packet is dropped as [`DropReason::NeighborFailed`].
    Unreachable {
        /// The link it should have gone out by.
        link: LinkId,
        /// The neighbor.
        ip: IpAddr,
        /// The packet.
        packet: Packet,
    },
    /// A packet goes no further.
    Drop {
        /// The packet.
        packet: Packet,
        /// Why.
        reason: DropReason,
    },
    /// A neighbor did not answer; its packets, if any, come next as `Unreachable`.
    Failed {
        /// The link.
        link: LinkId,
        /// The neighbor.
        ip: IpAddr,
    },
    /// A neighbor was forgotten to make room.
    Evicted {
        /// The link.
        link: LinkId,
        /// The neighbor.
        ip: IpAddr,
    },
}

/// What an ARP reply, a gratuitous ARP or a neighbor advertisement says besides the MAC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Advert {
    /// It answers a solicit of ours, and so proves that the neighbor hears us: an ARP reply sent to
    /// this station, or an NA with the S flag.
    pub solicited: bool,
    /// It is to replace a MAC known already: a gratuitous ARP, or an NA with the O flag. (Other ARP
    /// replaces too, once the entry is older than [`Config::locktime`]; that is seen to here.)
    pub override_: bool,
    /// The R flag of an NA; `None` for ARP.
    pub router: Option<bool>,
    /// Whether to make an entry for an address unknown so far (`arp_accept`, `accept_untracked_na`;
    /// both off by default).
    pub create: bool,
}

/// The state of a neighbor, as `ip neigh` names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Nud {
    /// Being asked for; packets wait.
    Incomplete,
    /// Known to have received lately.
    Reachable,
    /// The MAC is known, whether it is still right is not.
    Stale,
    /// Stale and in use: time is left for a confirmation from above.
    Delay,
    /// Stale and in use: being probed.
    Probe,
    /// Did not answer.
    Failed,
    /// Configured; nothing on the network changes it.
    Permanent,
}

impl Nud {
    /// Whether there is a MAC to send to.
    pub fn is_valid(self) -> bool {
        !matches!(self, Nud::Incomplete | Nud::Failed)
    }

    /// The word of `ip neigh`.
    pub fn name(self) -> &'static str {
        match self {
            Nud::Incomplete => "INCOMPLETE",
            Nud::Reachable => "REACHABLE",
            Nud::Stale => "STALE",
            Nud::Delay => "DELAY",
            Nud::Probe => "PROBE",
            Nud::Failed => "FAILED",
            Nud::Permanent => "PERMANENT",
        }
    }
}

impl fmt::Display for Nud {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What became of a neighbor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change {
    /// When.
    pub at: Instant,
    /// The link it is on.
    pub link: LinkId,
    /// Its address.
    pub ip: IpAddr,
    /// Its MAC, where one is known and in force.
    pub mac: Option<Mac>,
    /// Its state, the last one if it is gone.
    pub state: Nud,
    /// Whether it says it is a router.
    pub router: bool,
    /// It was forgotten.
    pub gone: bool,
}

/// One neighbor, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Info {
    /// The link it is on.
    pub link: LinkId,
    /// Its address.
    pub ip: IpAddr,
    /// Its MAC, where one is known and in force.
    pub mac: Option<Mac>,
    /// Its state.
    pub state: Nud,
    /// How long ago a packet last asked for it.
    pub used: Duration,
    /// How long ago it was last known to have received something of ours; `None`: never.
    pub confirmed: Option<Duration>,
    /// How long ago its MAC or state last changed.
    pub updated: Duration,
    /// Solicits sent without an answer.
    pub probes: u8,
    /// Packets that wait for it.
    pub queued: usize,
    /// Whether it says it is a router.
    pub router: bool,
}

#[cfg(test)]
mod by_hand;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
