//! The port: how frames come into the router and leave it.
//!
//! # The contract
//!
//! A port is one queue of one link, owned by one worker. Every backend keeps to this:
//!
//! - **Batches.** [`Port::receive`] never blocks. It appends at most `max` packets, each in storage
//!   from the pool with [`crate::packet::HEADROOM`] in front, the data starting at the Ethernet header
//!   (or the IP header where [`Caps::ethernet`] is false) and `meta.offload` filled in. Tags that the kernel
//!   took off are back in the frame. Fewer than `max` means that the device is drained for now: the port's file
//!   descriptor is edge-triggered, so whoever stops earlier must call again without waiting.
//! - **Backpressure.** [`Port::transmit`] never blocks. It takes packets from the front of the
//!   queue, in order, puts their storage back into the pool and says what became of them. When the
//!   device is full it stops and leaves the rest; the worker may try once more at the end of its
//!   round, and then drops and counts them (`egress_queue_full`): a slow link must not hold up the others.
//! - **Refusals.** A frame that the device will never take (too long, malformed, in need of an offload that is not
//!   among [`Port::caps`]) is taken off and counted in [`Sent::refused`]; it must not block those behind it.
//! - **Down.** While the interface is down or has no carrier, receive gives nothing and transmit leaves all in the queue, both
//!   without an error; [`Port::check`] says so. Coming up again needs no new port.
//! - **Gone.** When the interface is deleted (a packet link's also when it is called something else or sent to
//!   another namespace) the port stays, closes its descriptor, and [`Port::epoch`] grows; [`Port::check`] looks for an
//!   interface of the configured name and opens it, then `epoch` grows again: the descriptor is another one and has to be
//!   registered anew. A closed descriptor has left its epoll by itself. A port never takes an interface it was not
//!   configured for.
//! - **Check.** Four times a second, and at once when the descriptor reports an error, the worker calls
//!   [`Port::check`], looks at `epoch`, and receives once without waiting for the descriptor: whatever an edge failed to
//!   announce waits no longer than that. It runs in the network namespace in which the port was opened.
//! - **Senders only.** Where a link has fewer receive queues than there are workers, the ports beyond never give
//!   a packet and have no descriptor; all the rest holds for them.
//! - **Drop.** Dropping the ports of a link gives back whatever they took from the host: memberships, filters,
//!   devices they created.

use std::collections::VecDeque;
use std::os::fd::RawFd;

use super::open::OpenError;
use crate::base::Column;
use crate::link::InUse;
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

    /// Looks whether the interface is up, down or gone, and takes up one that came back.
    fn check(&mut self) -> Status;

    /// The descriptor to wait on for receiving; `None` while there is none, or never one.
    fn fd(&self) -> Option<RawFd>;

    /// Grows each time the descriptor becomes another one, or none.
    fn epoch(&self) -> u32;

    /// Has the link take L3 packets of another length: a device made by us gets that MTU, an interface must have no less. It is
    /// told to one port of a link, and holds for all. What is on its way is not lost: packets as long as those before are
    /// taken until [`Port::shorten`].
    ///
    /// # Errors
    /// It can't be, and is as it was.
    fn set_mtu(&mut self, _mtu: u32) -> Result<(), OpenError> {
        Ok(())
    }

    /// Nobody gives the link packets any more that are longer than its MTU. Told to one port, too.
    fn shorten(&mut self) {}

    /// Whether frames are waiting, where that can be told without a system call.
    fn waiting(&self) -> Option<bool> {
        None
    }

    /// What moves the link's frames, where there is a choice. May change when [`Port::epoch`] does.
    fn driver(&self) -> Option<InUse> {
        None
    }

    /// Whether the kernel brings each packet to the worker that the steering function ([`packet::steer`](crate::packet::steer)) says. Where it
    /// doesn't, workers hand over what is another's while there is much of it.
    fn steered(&self) -> bool {
        false
    }

    /// Frames that were lost before we could read them (ring or socket buffer overrun, a form that can't be
    /// told), since the port was opened. A link's ports may each count their own part.
    fn overruns(&mut self) -> u64;
}

/// The condition of a port's interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Status {
    /// Carries frames.
    Up,
    /// Set up, and without a carrier: the cable is out, the other end is down.
    NoCarrier,
    /// There, and administratively down.
    Down,
    /// Not there.
    Gone,
}

/// What became of packets given to [`Port::transmit`].
#[derive(Debug, Default)]
pub struct Sent {
    /// Packets the device took.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Received packets among them, by the ledger's column; the others were made here.
    pub received: u64,
    /// Packets the device refused for good, by the ledger's column: received, originated.
    pub refused: [u64; 2],
    /// Whether copies of packets that are refused are wanted.
    pub keeps: bool,
    /// Those, some at most, by their places in the queue as it was.
    pub kept: Vec<(usize, Packet)>,
}

/// Copies of refused packets that nobody follows in one call of [`Port::transmit`] at most.
const KEPT: usize = 256;

impl Sent {
    /// Counts a packet that the device took.
    #[inline]
    pub fn count(&mut self, packet: &Packet) {
        self.packets += 1;
        self.bytes += packet.len() as u64;
        self.received += u64::from(packet.meta.column == Column::Received);
    }

    /// Counts a packet that the device refused.
    #[inline]
    pub fn refuse(&mut self, packet: &Packet) {
        if self.keeps && (packet.meta.trace.is_some() || self.kept.len() < KEPT) {
            self.keep(packet);
        }
        self.refused[packet.meta.column as usize] += 1;
    }

    #[cold]
    fn keep(&mut self, packet: &Packet) {
        let place = self.packets + self.refused.iter().sum::<u64>();
        let mut copy = Packet::from_slice(packet.data());
        copy.meta = packet.meta;
        self.kept.push((place as usize, copy));
    }
}

/// Whether a device that leaves the choice to us should ever be given the packet: not longer than its MTU
/// allows (one tag is extra, as for the kernel), not shorter than a header, in no state it can't finish.
pub(super) fn takes(packet: &Packet, caps: Caps, mtu: usize) -> bool {
    let tagged = matches!(packet.data().get(12..14), Some([0x81, 0x00] | [0x88, 0xa8]));
    let l2 = match (caps.ethernet, tagged) {
        (false, _) => 0,
        (true, false) => 14,
        (true, true) => 18,
    };
    let fits = packet.meta.offload.gso.is_some() || packet.len() <= l2 + mtu;
    packet.len() > l2 && fits && caps.take(&packet.meta.offload)
}
