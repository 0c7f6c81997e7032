//! Packet links over AF_XDP: frames are taken from the interface's driver before the kernel makes anything of them.
//!
//! ```text
//!                 queue 0 ──► XDP program ──► socket of worker 0 ─► receive ─┐
//!  device ──────┤ queue 1 ──► XDP program ──► socket of worker 1             ├─► router
//!       ◄───────┤                                                            │
//!               └──────────◄─ as an skb ◄──── the same socket ◄── transmit ◄─┘
//! ```
//!
//! A receive queue belongs to one worker; workers without one send through a packet socket. The driver must have XDP of
//! its own (native mode): in generic mode, behind GRO, super-frames would arrive, and nothing would say how to cut them.
//! A frame costs one copy in, by the kernel, and one here, to where the router works on it; out likewise. What came of
//! working on frames where they lie is in `docs/benchmarks.md`.
//!
//! A queue takes 9 MiB of locked memory, 18 where packets are longer than 1,770 bytes.
//!
//! XDP tells a frame's bytes and nothing else: what its sender left to the hardware has to be guessed ([`unfinished`]).
//! The kernel's own stack sees only what no socket took, and is kept off that by a [`Guard`](super::guard::Guard).
//!
//! # When the interface goes
//!
//! As in `af_packet`: what belongs to one interface (guard, program, sockets) is an incarnation, and the first port that
//! finds another interface under the name makes the next for all.

mod incarnation;
mod port;
mod program;
mod unfinished;

use std::io;
use std::sync::{Arc, Mutex};

use super::bpf::BpfError;
use super::named::Named;
use super::netlink::Device;
use super::open::{DeviceSpec, OpenError};
use super::sys::XdpLayout;
use incarnation::Shared;
pub(super) use port::XdpPort;

/// Why there is no AF_XDP on an interface, in a sentence that says what to do.
#[derive(Debug, thiserror::Error)]
pub enum XdpError {
    /// The kernel was built without it.
    #[error("this kernel has no AF_XDP (CONFIG_XDP_SOCKETS)")]
    NoSockets,
    /// A program can't ask for the tags of frames.
    #[error(
        "this kernel does not tell XDP programs the VLAN tags of a virtual device's frames (that takes Linux 6.8)"
    )]
    NoTags,
    /// An XDP program can't be had.
    #[error("no XDP program for '{device}': {source}")]
    Program {
        /// The interface.
        device: String,
        /// Why.
        source: Box<BpfError>,
    },
    /// The driver has no native mode.
    #[error("the driver of '{0}' has no XDP in native mode, and generic mode does not know super-frames")]
    NoNativeMode(String),
    /// Somebody else's program is there.
    #[error("'{0}' has an XDP program already: take it off (ip link set {0} xdp off)")]
    Taken(String),
    /// A veth whose peer's frames are too long.
    #[error("the MTU at the other end of '{0}' is too large for XDP: make it smaller")]
    PeerMtu(String),
    /// A veth whose peer has more transmit queues than this end receive queues.
    #[error(
        "the other end of '{0}' has more transmit queues than '{0}' receive queues: make them as many (ethtool -L {0} rx …)"
    )]
    PeerQueues(String),
    /// The memory limit.
    #[error(
        "frames for '{device}' take {kilobytes} KiB of locked memory: raise the limit (ulimit -l), or give the process CAP_IPC_LOCK"
    )]
    Memory {
        /// The interface.
        device: String,
        /// What a queue's frames take.
        kilobytes: usize,
    },
    /// Another AF_XDP socket has the queue.
    #[error("queue {queue} of '{device}' has an AF_XDP socket already: stop the program it belongs to")]
    QueueTaken {
        /// The interface.
        device: String,
        /// The queue.
        queue: u32,
    },
    /// Anything else.
    #[error("no AF_XDP socket on queue {queue} of '{device}': {source}")]
    Socket {
        /// The interface.
        device: String,
        /// The queue.
        queue: u32,
        /// Why.
        source: io::Error,
    },
}

/// Opens the ports of a packet link, one for each worker.
pub(super) fn open(spec: &DeviceSpec, workers: usize) -> Result<Vec<XdpPort>, OpenError> {
    let (interface, device) = Named::find(spec)?;
    let workers = workers.max(1);
    let shared = Arc::new(Shared {
        interface,
        mac: spec.mac,
        offload: spec.offload,
        asked: spec.driver,
        receivers: spec.queues.clamp(1, workers),
        workers,
        incarnation: Mutex::default(),
    });
    shared.incarnate(&mut shared.lock(), device.index)?;
    let mut ports: Vec<_> = (0..workers).map(|w| XdpPort::new(shared.clone(), w)).collect();
    ports.iter_mut().for_each(XdpPort::begin);
    Ok(ports)
}

/// How sockets on a device are laid out: frames of half a page where its packets fit, of a page where not, and several of
/// these for one packet where that is too small as well.
fn layout(device: &Device, checksums: bool) -> XdpLayout {
    let longest = device.mtu + LINK_HEADER;
    let frame = if longest + XDP_PACKET_HEADROOM <= 2_048 { 2_048 } else { 4_096 };
    let pieces = longest + XDP_PACKET_HEADROOM > frame;
    XdpLayout { frame, receive: RECEIVE, transmit: TRANSMIT, pieces, checksums }
}

/// An Ethernet header and two tags.
const LINK_HEADER: u32 = 14 + 8;
/// What the kernel leaves free before a received packet (linux/bpf.h).
const XDP_PACKET_HEADROOM: u32 = 256;
/// Frames to receive into, for each queue: what a worker may be late by, 4 ms at a million packets a second.
const RECEIVE: u32 = 4_096;
/// Frames to send from: as many as a veth's ring holds twice. More are no use, and are out of the cache each time.
const TRANSMIT: u32 = 512;
