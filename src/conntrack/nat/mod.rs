//! NAT: what a flow is translated to, decided once; and the rewriting of each of its packets.
//!
//! What is decided stands in the flow's reply tuple and nowhere else: a packet of either direction is made to
//! look like the inverse of the other direction's tuple, one end of it at a time:
//!
//! ```text
//!                 PREROUTING, OUTPUT            INPUT, POSTROUTING
//!                 Manip::Dst                    Manip::Src
//!
//! original        destination, if DST_NAT       source, if SRC_NAT
//! reply           destination, if SRC_NAT       source, if DST_NAT
//! ```
//!
//! At each of these hooks, for a packet of a flow, in the kernel's order (`nf_nat_ipv4_fn`, `nf_nat_inet_fn`):
//!
//! 1. an ICMP error ([`CtState::Related`](crate::packet::CtState)): [`translate_error`], and that is all;
//! 2. a packet whose flow is new or related and not [`is_done`] at this end: the rules are asked; [`setup()`] with the
//!    range they give, or, if they gave none (or were not there), [`bind`];
//! 3. any other at POSTROUTING: if the flow has [`moved`], it ends and the packet is dropped;
//! 4. [`translate()`].
//!
//! Translation never leaves a flow with the tuple of another: what finds no place of its own is refused, which
//! the kernel notices only as it puts the flow into its table.
//!
//! Knows nothing of rules, nor of the table's inside: what it asks of other flows is in [`Taken`].

mod error;
mod pool;
mod rewrite;
mod setup;
mod translate;

use std::net::IpAddr;

use crate::base::LinkId;
use crate::packet::flow::Address;
use crate::packet::{Direction, Manip, NatRange, Status, Steering, Tuple};

use super::Flow;

pub use error::translate_error;
pub use setup::{bind, setup};
pub use translate::translate;

/// What the choice of a translation asks of the flows that are there, and of the router.
pub trait Taken {
    /// Whether a live flow has this tuple, in either direction (`nf_conntrack_tuple_taken`). One that began with
    /// `original` too is no other flow, but the same one twice, and doesn't count.
    fn is_taken(&self, reply: &Tuple, original: &Tuple) -> bool;

    /// What another flow is translated to that began with the same protocol, source address and source port (or
    /// identifier) as `source`; of several the youngest that `fits` (`find_appropriate_src`).
    fn source_mapping(
        &self,
        source: &Tuple,
        fits: &mut dyn FnMut(&Address, u16) -> bool,
    ) -> Option<(Address, u16)>;

    /// Whether the port of this address is the router's own: a service listens there, or a DNAT rule leads from it to
    /// somewhere else than where the flow comes from. It is not given to a flow, whose peer's packets would else be
    /// taken for the service's, or the other way round (CVE-2021-3773).
    fn reserved(&self, original: &Tuple, addr: IpAddr, port: u16) -> bool;

    /// How packets come to workers, where there are several: of ports that are all free, one is better that brings the
    /// answers to the worker of the flow's own packets.
    fn steering(&self) -> Option<&Steering> {
        None
    }

    /// Ends the TCP flow whose reply tuple this is, if it is over and the new one can't be mistaken for it; says whether it
    /// did. Asked where hardly a port is left.
    fn clear(&self, reply: &Tuple, new: &Flow) -> bool;
}

/// Whether it has been decided what becomes of this end of a flow's packets: rules are asked once.
pub fn is_done(status: Status, manip: Manip) -> bool {
    status.has(match manip {
        Manip::Src => Status::SRC_NAT_DONE,
        Manip::Dst => Status::DST_NAT_DONE,
    })
}

/// Whether a packet that is about to leave by a link belongs to a flow that MASQUERADE gave the address of another
/// link: the route has changed, and nobody would find back (`nf_nat_oif_changed`). Only to be asked at POSTROUTING.
pub fn moved(flow: &Flow, dir: Direction, out: LinkId) -> bool {
    dir == Direction::Original && flow.masquerade.is_some_and(|given| given != out)
}

/// A target's range with the address that the target stands for: the link's, for MASQUERADE and REDIRECT.
pub fn range_at(range: &NatRange, addr: IpAddr) -> NatRange {
    NatRange { addr: Some((addr, addr)), ..*range }
}

/// The range of `NETMAP --to ADDR/LEN`; host bits of the address are left out.
pub fn netmap(addr: IpAddr, prefix_len: u8) -> NatRange {
    let first_last = match addr {
        IpAddr::V4(a) => {
            let host = u32::MAX.checked_shr(prefix_len.into()).unwrap_or(0);
            let net = u32::from(a) & !host;
            (IpAddr::V4(net.into()), IpAddr::V4((net | host).into()))
        }
        IpAddr::V6(a) => {
            let host = u128::MAX.checked_shr(prefix_len.into()).unwrap_or(0);
            let net = u128::from(a) & !host;
            (IpAddr::V6(net.into()), IpAddr::V6((net | host).into()))
        }
    };
    NatRange { addr: Some(first_last), netmap: true, ..NatRange::default() }
}

/// What says that a direction's packets are rewritten at this end.
fn needed(dir: Direction, manip: Manip) -> Status {
    match (dir, manip) {
        (Direction::Original, Manip::Src) | (Direction::Reply, Manip::Dst) => Status::SRC_NAT,
        (Direction::Original, Manip::Dst) | (Direction::Reply, Manip::Src) => Status::DST_NAT,
    }
}

#[cfg(test)]
mod tests;
