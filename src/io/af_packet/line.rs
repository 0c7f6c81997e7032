//! One worker's way to an interface: a packet socket, and rings where the kernel gives us some.
//!
//! ```text
//!              ┌── slots (RxRing) ──── ordinary frames ──┐
//!  device ─────┤                                         ├─► receive, in the order they came
//!              └── socket's queue ──── super-frames ─────┘
//!
//!              ┌── slots (TxRing) ──── ordinary frames ──┐
//!  device ◄────┤                                         ├─◄ transmit, one after the other
//!              └── sendmmsg ────────── super-frames ─────┘
//! ```
//!
//! Slots as long as super-frames would be so few, or so much memory, that every frame misses the cache; so a slot holds
//! an ordinary frame, and what is longer the kernel queues at the socket (`PACKET_COPY_THRESH`): a super-frame then is
//! copied once, to where it stays. The slot it would have had says when it is its turn. Sending is over when the call
//! returns, on either way, so that the two don't overtake each other.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::thread::{self, Builder};

use crate::base::Mac;
use crate::io::sys::{self, Membership, PacketOption, RxRing, TxRing};

/// A socket, with rings or without.
pub(super) struct Line {
    // Before the socket, which the slots belong to.
    pub(super) rx: Option<RxRing>,
    pub(super) tx: Option<TxRing>,
    socket: OwnedFd,
}

/// Why there is no line.
pub(super) enum LineError {
    /// No rings; without it might do.
    NoRings(io::Error),
    /// Something else.
    Other(io::Error),
}

impl LineError {
    /// A thread that made it did not come to an end.
    pub(super) fn panicked() -> Self {
        LineError::Other(io::Error::other("a thread panicked"))
    }
}

impl From<io::Error> for LineError {
    fn from(e: io::Error) -> Self {
        LineError::Other(e)
    }
}

impl From<LineError> for io::Error {
    fn from(e: LineError) -> Self {
        match e {
            LineError::NoRings(e) | LineError::Other(e) => e,
        }
    }
}

impl Line {
    /// Binds a [`sender`] to the interface, where it refuses every frame as yet: until it is in its group, it would get
    /// what belongs to the others. `mac` is an address to hear besides the interface's own.
    pub(super) fn new(
        socket: OwnedFd,
        index: u32,
        receives: bool,
        mac: Option<Mac>,
        rings: bool,
    ) -> Result<Self, LineError> {
        let fd = socket.as_fd();
        let (rx, tx) = match rings {
            true => Self::rings(fd, index, receives)?,
            false => (None, None),
        };
        if receives {
            sys::refuse_all(fd)?;
            sys::set_packet_option(fd, PacketOption::AuxData)?;
            // Linux 4.20. Without it the socket sees what the kernel sends, of which the guard lets nothing pass.
            let _ = sys::set_packet_option(fd, PacketOption::IgnoreOutgoing);
            if let Some(mac) = mac {
                sys::add_membership(fd, index, Membership::Unicast(mac))?;
            }
            sys::add_membership(fd, index, Membership::AllMulticast)?;
        }
        sys::bind_packet(fd, index, receives)?;
        Ok(Line { rx, tx, socket })
    }

    /// The rings. Making one waits until every CPU has seen the last of the old state, so both are made at once.
    fn rings(
        socket: BorrowedFd<'_>,
        index: u32,
        receives: bool,
    ) -> Result<(Option<RxRing>, Option<TxRing>), LineError> {
        thread::scope(|scope| {
            let outward = move || -> Result<TxRing, LineError> {
                // A socket of its own: one with a ring sends in no other way.
                let ring = TxRing::new(sender()?, TX_SLOTS).map_err(LineError::NoRings)?;
                sys::bind_packet(ring.socket(), index, false)?;
                Ok(ring)
            };
            let outward = Builder::new().spawn_scoped(scope, outward)?;
            let rx = match receives {
                true => Some(RxRing::new(socket, RX_SLOTS).map_err(LineError::NoRings)?),
                false => None,
            };
            let tx = outward.join().unwrap_or_else(|_| Err(LineError::panicked()))?;
            Ok((rx, Some(tx)))
        })
    }

    /// Closes it all; that waits as making it does.
    pub(super) fn close(self) {
        let Line { rx, tx, socket } = self;
        thread::scope(|scope| {
            // Where there is no thread to be had, it is dropped with the closure.
            let _ = Builder::new().spawn_scoped(scope, move || drop(tx));
            drop(rx);
            drop(socket);
        });
    }

    /// The socket to receive from, and to send super-frames by.
    pub(super) fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// What to send by: the socket, and the slots of another if there are any.
    pub(super) fn outward(&mut self) -> (BorrowedFd<'_>, Option<&mut TxRing>) {
        (self.socket.as_fd(), self.tx.as_mut())
    }

    /// Whether there are rings.
    pub(super) fn has_rings(&self) -> bool {
        self.rx.is_some() || self.tx.is_some()
    }

    /// Receives without slots from now on.
    pub(super) fn drop_rings(&mut self) -> io::Result<()> {
        self.tx = None;
        match self.rx.take() {
            Some(ring) => ring.close(self.socket.as_fd()),
            None => Ok(()),
        }
    }
}

/// A socket that can send.
pub(super) fn sender() -> io::Result<OwnedFd> {
    let socket = sys::packet_socket()?;
    sys::set_packet_option(socket.as_fd(), PacketOption::VnetHeader)?;
    sys::set_packet_option(socket.as_fd(), PacketOption::QdiscBypass)?;
    sys::set_buffers(socket.as_fd(), BUFFER)?;
    Ok(socket)
}

/// The memory of one worker's rings on one link, for people.
pub(super) fn memory() -> String {
    format!("{} MiB", (RX_SLOTS + TX_SLOTS) * 2_048 / (1 << 20))
}

/// Ordinary frames that wait for us: 2.7 ms of them at 1.5 million a second, which is what a busy scheduler makes us
/// miss now and then. 8 MiB.
const RX_SLOTS: usize = 4_096;
/// Frames on their way out. A slot is free again when whoever got the frame lets go of it. 1 MiB.
const TX_SLOTS: usize = 512;
/// Bytes each socket buffer is asked to hold. The kernel doubles it for its own books; 4 MiB take about
/// 10,000 small frames, or 50 super-frames.
const BUFFER: i32 = 4 << 20;
