//! AF_XDP sockets: frames in memory shared with the kernel, handed over and back through four rings.
//!
//! ```text
//!             ┌────────── fill ──────────►┐               who owns a frame
//!    we       │  empty frames             │    kernel
//!             │◄───────── receive ────────┤               in `fill`, `transmit` and between: the kernel
//!             │                           │               in `receive`, `completion`: nobody until it is taken out
//!             ├────────── transmit ──────►│               as a `Frame`: whoever holds that
//!             │  full frames              │
//!             │◄───────── completion ─────┤
//!             └───────────────────────────┘
//! ```
//!
//! A [`Frame`] is the right to touch one frame's bytes: there is one for each, it can't be copied, pushing
//! it into a ring gives it away, and only what the kernel gives back makes it anew. None leaves this module: a
//! received frame is seen as a slice while a closure runs and is the kernel's again afterwards, one to be sent is
//! filled from slices.

mod area;
mod ring;

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use super::checked;
use area::{Area, Frame};
use ring::{Consumer, Descriptor, Producer};

/// How an AF_XDP socket is laid out. Its memory is `frame × (receive + transmit)` bytes and 24 bytes of rings a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct XdpLayout {
    /// Bytes of a frame: 2,048 or 4,096.
    pub frame: u32,
    /// Frames to receive into; a power of 2.
    pub receive: u32,
    /// Frames to send from; a power of 2.
    pub transmit: u32,
    /// Whether packets may lie in several frames (Linux 6.6).
    pub pieces: bool,
    /// Whether the kernel can be asked to finish checksums (Linux 6.8).
    pub checksums: bool,
}

/// A socket on one queue of an interface, with frames and rings of its own.
pub struct XdpSocket {
    /// Receives, and is what is waited on.
    socket: OwnedFd,
    /// Sends from the same memory. Nobody waits on it: else each packet that was sent would wake whoever does, in vain.
    sender: OwnedFd,
    area: Area,
    fill: Producer<u64>,
    receive: Consumer<Descriptor>,
    transmit: Producer<Descriptor>,
    completion: Consumer<u64>,
    /// Frames to send from that are not under way. The last one used is the first used again: it is in the cache.
    spare: Vec<Frame>,
    layout: XdpLayout,
}

/// What [`XdpSocket::push`] did with a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pushed {
    /// It is in the ring.
    Taken,
    /// There are not enough frames: all are under way.
    Full,
    /// It fits into no number of frames that a packet may have.
    TooLong,
}

impl XdpSocket {
    /// A socket bound to a queue of the interface, in copy mode. It receives what an XDP program redirects to it.
    /// Takes CAP_NET_RAW. `ENOBUFS`: the memory is beyond RLIMIT_MEMLOCK. `EINVAL`: there is no such queue, or this kernel
    /// knows nothing of what the layout asks for. `EBUSY`: another socket has the queue.
    pub fn open(interface: u32, queue: u32, layout: XdpLayout) -> io::Result<Self> {
        let socket = socket()?;
        let (area, frames) = Area::new(layout.frame, layout.receive + layout.transmit)?;
        area.register(socket.as_fd(), layout.checksums)?;
        for (name, entries) in [
            (libc::XDP_UMEM_FILL_RING, layout.receive),
            (libc::XDP_UMEM_COMPLETION_RING, layout.transmit),
            (libc::XDP_RX_RING, layout.receive),
        ] {
            set(socket.as_fd(), name, &entries)?;
        }
        let offsets = offsets(socket.as_fd())?;
        let map = |page_offset, at, entries| ring::map(socket.as_fd(), page_offset, at, entries);
        let mut fill = Producer::new(map(libc::XDP_UMEM_PGOFF_FILL_RING, &offsets.fr, layout.receive)?);
        let completion =
            Consumer::new(map(libc::XDP_UMEM_PGOFF_COMPLETION_RING, &offsets.cr, layout.transmit)?);
        let at = libc::XDP_PGOFF_RX_RING.cast_unsigned();
        let receive = Consumer::new(ring::map(socket.as_fd(), at, &offsets.rx, layout.receive)?);
        let mut frames = frames.into_iter();
        for frame in frames.by_ref().take(layout.receive as usize) {
            fill.push(area.give(frame, 0));
        }
        fill.submit();
        let pieces = if layout.pieces { libc::XDP_USE_SG } else { 0 };
        let flags = libc::XDP_COPY | libc::XDP_USE_NEED_WAKEUP | pieces;
        bind(socket.as_fd(), interface, queue, flags, None)?;

        let sender = self::socket()?;
        set(sender.as_fd(), libc::XDP_TX_RING, &layout.transmit)?;
        // A send call hands over 32 packets and is to be repeated, unless told (Linux 6.17) that it may more.
        let _ = set(sender.as_fd(), XDP_MAX_TX_SKB_BUDGET, &layout.transmit);
        let at = libc::XDP_PGOFF_TX_RING.cast_unsigned();
        let transmit = Producer::new(ring::map(sender.as_fd(), at, &offsets.tx, layout.transmit)?);
        bind(sender.as_fd(), interface, queue, libc::XDP_SHARED_UMEM, Some(socket.as_fd()))?;
        let spare = frames.collect();
        Ok(XdpSocket { socket, sender, area, fill, receive, transmit, completion, spare, layout })
    }

    /// Shows up to `max` pieces of received packets to `take`, in order, with whether the packet goes on in the next;
    /// afterwards their frames are the kernel's again. Gives how many. Copies nothing and calls nothing.
    #[inline]
    pub fn receive(&mut self, max: usize, mut take: impl FnMut(&mut [u8], bool)) -> usize {
        let ready = self.receive.ready(max as u32);
        for i in 0..ready {
            if let Some(ahead) = (i + AHEAD < ready).then(|| self.receive.peek(i + AHEAD)) {
                self.area.prefetch(ahead.address);
            }
            let piece = self.receive.peek(i);
            // The kernel gives no address but those it was given.
            let Some(mut frame) = self.area.take_back(piece.address) else { continue };
            take(self.area.bytes(&mut frame, piece.address, piece.length), piece.options & CONTINUED != 0);
            self.fill.push(self.area.give(frame, 0));
        }
        if ready > 0 {
            self.receive.release(ready);
            self.fill.submit();
        }
        ready as usize
    }

    /// Copies a packet into frames and puts it into the transmit ring, where [`XdpSocket::submit`] shows it to the kernel.
    /// `checksum` is for the kernel to finish: where the sum starts, and where its field is from there; only where
    /// the layout has `checksums`.
    #[inline]
    pub fn push(&mut self, packet: &[u8], checksum: Option<(u16, u16)>) -> Pushed {
        let room = self.layout.frame as usize - area::TX_HEADROOM;
        let pieces = packet.len().div_ceil(room);
        if pieces > 1 && (!self.layout.pieces || pieces > MOST_PIECES) {
            return Pushed::TooLong;
        }
        if self.spare.len() < pieces {
            self.reclaim();
            if self.spare.len() < pieces {
                return Pushed::Full;
            }
        }
        let mut rest = packet;
        let mut request = checksum;
        while !rest.is_empty()
            && let Some(mut frame) = self.spare.pop()
        {
            let (piece, behind) = rest.split_at(rest.len().min(room));
            let mut options = if behind.is_empty() { 0 } else { CONTINUED };
            self.area.fill(&mut frame, piece);
            if let Some((start, field)) = request.take() {
                self.area.request_checksum(&mut frame, start, field);
                options |= libc::XDP_TX_METADATA;
            }
            let address = self.area.give(frame, area::TX_HEADROOM);
            self.transmit.push(Descriptor { address, length: piece.len() as u32, options });
            rest = behind;
        }
        Pushed::Taken
    }

    /// Shows the kernel what was pushed and has it send; `Ok` says that all went.
    ///
    /// `ENETDOWN`: the interface is down. `ENXIO`: it is gone. `EAGAIN`, `ENOBUFS`: there is more than can be sent now. What was not
    /// sent stays in the ring for the next call.
    pub fn submit(&mut self) -> io::Result<()> {
        self.transmit.submit();
        while self.transmit.waiting() > 0 {
            let before = self.transmit.waiting();
            if !self.transmit.needs_wakeup() {
                return Ok(());
            }
            let flags = libc::MSG_DONTWAIT;
            // SAFETY: with a length of 0 nothing is read, neither of the buffer nor of the address.
            let sent = unsafe {
                libc::sendto(self.sender.as_raw_fd(), std::ptr::null(), 0, flags, std::ptr::null(), 0)
            };
            // A call stops after some packets, or at one that was dropped: what counts is whether any went.
            if self.transmit.waiting() == before {
                return checked(sent as libc::c_int).map(drop);
            }
        }
        Ok(())
    }

    /// How many pieces are in the transmit ring, unseen by the driver.
    pub fn waiting(&self) -> u32 {
        self.transmit.waiting()
    }

    /// Frames that were lost on their way here since the socket was opened: no frame was free, the ring was full, or the
    /// packet longer than a frame.
    pub fn lost(&self) -> io::Result<u64> {
        let mut statistics = [0u64; size_of::<libc::xdp_statistics>() / 8];
        let mut length = size_of_val(&statistics) as libc::socklen_t;
        // SAFETY: getsockopt writes at most `length` bytes to the array, which lives on this stack; the structure is
        // made of u64.
        checked(unsafe {
            libc::getsockopt(
                self.socket.as_raw_fd(),
                libc::SOL_XDP,
                libc::XDP_STATISTICS,
                statistics.as_mut_ptr().cast(),
                &raw mut length,
            )
        })?;
        // rx_dropped and rx_ring_full; `rx_fill_ring_empty_descs` is a part of the first.
        Ok(statistics[0] + statistics[3])
    }

    /// Takes back the frames that were sent.
    fn reclaim(&mut self) {
        let ready = self.completion.ready(self.layout.transmit);
        for i in 0..ready {
            self.spare.extend(self.area.take_back(self.completion.peek(i)));
        }
        self.completion.release(ready);
    }
}

impl AsFd for XdpSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn socket() -> io::Result<OwnedFd> {
    let kind = libc::SOCK_RAW | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    // SAFETY: socket touches no memory and gives a new descriptor, or -1.
    let fd = checked(unsafe { libc::socket(libc::AF_XDP, kind, 0) })?;
    // SAFETY: the descriptor was made just now and nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Binds a socket to a queue; `share` is the one whose memory it uses, where it has none of its own.
fn bind(
    socket: BorrowedFd<'_>,
    interface: u32,
    queue: u32,
    flags: u16,
    share: Option<BorrowedFd<'_>>,
) -> io::Result<()> {
    let address = libc::sockaddr_xdp {
        sxdp_family: libc::AF_XDP as u16,
        sxdp_flags: flags,
        sxdp_ifindex: interface,
        sxdp_queue_id: queue,
        sxdp_shared_umem_fd: share.map_or(0, |fd| fd.as_raw_fd().cast_unsigned()),
    };
    let length = size_of_val(&address) as libc::socklen_t;
    // SAFETY: bind reads `length` bytes of the address, which lives on this stack.
    checked(unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), length) }).map(drop)
}

/// Where the parts of the rings are in their mappings.
fn offsets(socket: BorrowedFd<'_>) -> io::Result<libc::xdp_mmap_offsets> {
    // SAFETY: the structure is integers; all zeros is a valid one.
    let mut offsets: libc::xdp_mmap_offsets = unsafe { std::mem::zeroed() };
    let mut length = size_of_val(&offsets) as libc::socklen_t;
    let to = (&raw mut offsets).cast();
    // SAFETY: getsockopt writes at most `length` bytes to the structure, which lives on this stack and is integers.
    checked(unsafe {
        libc::getsockopt(socket.as_raw_fd(), libc::SOL_XDP, libc::XDP_MMAP_OFFSETS, to, &raw mut length)
    })?;
    // Linux 5.4: before it rings had no flags.
    if length as usize == size_of_val(&offsets) {
        Ok(offsets)
    } else {
        Err(io::Error::from_raw_os_error(libc::EOPNOTSUPP))
    }
}

/// `setsockopt` with a plain C value.
fn set<T>(socket: BorrowedFd<'_>, name: i32, value: &T) -> io::Result<()> {
    let length = size_of::<T>() as libc::socklen_t;
    let from = std::ptr::from_ref(value).cast();
    // SAFETY: setsockopt reads `length` bytes of the value, which is borrowed for the call.
    checked(unsafe { libc::setsockopt(socket.as_raw_fd(), libc::SOL_XDP, name, from, length) }).map(drop)
}

/// How far ahead of its turn a received frame is fetched: another CPU has written it.
const AHEAD: u32 = 4;
/// The packet goes on in the next descriptor.
const CONTINUED: u32 = libc::XDP_PKT_CONTD;
/// The pieces a packet may have: `MAX_SKB_FRAGS` of Linux.
const MOST_PIECES: usize = 17;
/// linux/if_xdp.h.
const XDP_MAX_TX_SKB_BUDGET: i32 = 9;
