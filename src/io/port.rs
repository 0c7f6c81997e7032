//! The port: how frames come into the router and leave it.
//!
//! # The contract
//!
//! A port is one queue of one link, owned by one worker. Every backend keeps to this:
//!
//! - **Batches.** [`Port::receive`] never blocks. It appends at most `max` packets, each in storage
//!   from the pool with [`crate::packet::HEADROOM`] in front, the data starting at the Ethernet header
//!   (or the IP header where [`Caps::ethernet`] is false) and `meta.offload` filled in. Fewer than `max` means
//!   that the device is drained for now: the port's file descriptor is edge-triggered, so whoever
//!   stops earlier must call again without waiting.
//! - **Backpressure.** [`Port::transmit`] never blocks. It takes packets from the front of the
//!   queue, in order, puts their storage back into the pool and says what became of them. When the
//!   device is full it stops and leaves the rest; the worker may try once more at the end of its
//!   round, and then drops and counts them (`egress_queue_full`): a slow link must not hold up the others.
//! - **Refusals.** A frame that the device will never take (too long, malformed) is taken off and counted in
//!   [`Sent::refused`]; it must not block those behind it.
//! - **Down.** While the interface is down, receive gives nothing and transmit leaves all in the queue, both
//!   without an error; [`Port::check`] says so. Coming up again needs no new port.
//! - **Gone.** When the interface is deleted the port stays; [`Port::check`] looks for one of the
//!   same name and opens it, then [`Port::epoch`] has grown: the descriptor is another one and has to be
//!   registered anew. A port never takes an interface it was not configured for.
//! - **Drop.** Dropping the port gives back whatever it took from the host: memberships, filters, devices it created.

use std::collections::VecDeque;
use std::os::fd::RawFd;

use crate::packet::{Packet, Pool};

pub use crate::packet::Caps;

/// One queue of one link. See the module's text for the contract.
pub trait Port: Send {
    /// What the device can do now. May change when [`Port::epoch`] does.
    fn caps(&self) -> Caps;

    /// Appends up to `max` packets to `out`; gives how many.
    fn receive(&mut self, pool: &mut Pool, out: &mut Vec<Packet>, max: usize) -> usize;

    /// Sends from the front of `queue` until it is empty or the device is full.
    fn transmit(&mut self, pool: &mut Pool, queue: &mut VecDeque<Packet>, sent: &mut Sent);

    /// Looks whether the interface is up, down or gone, and takes up one that came back. Called a few
    /// times a second, and whenever the descriptor reports an error.
    fn check(&mut self) -> Status;

    /// The descriptor to wait on for receiving; `None` while there is none.
    fn fd(&self) -> Option<RawFd>;

    /// Grows each time the descriptor becomes another one.
    fn epoch(&self) -> u32;

    /// Frames that were lost before we could read them (ring or socket buffer overrun), since the start.
    fn overruns(&mut self) -> u64;
}

/// The condition of a port's interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Status {
    /// Carries frames.
    Up,
    /// There, but administratively down or without carrier.
    Down,
    /// Not there.
    Gone,
}

/// What became of packets given to [`Port::transmit`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sent {
    /// Packets the device took.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Received packets among them, by the ledger's column; the others were made here.
    pub received: u64,
    /// Packets the device refused for good, by the ledger's column: received, originated.
    pub refused: [u64; 2],
}
