//! Many messages in one call: `recvmmsg` and `sendmmsg`, each message scattered over a few buffers.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// The headers of a batch of messages, used again for every call.
pub struct Batch {
    headers: Vec<libc::mmsghdr>,
    buffers: Vec<[libc::iovec; PARTS]>,
    controls: Vec<Control>,
}

// SAFETY: the pointers in the headers are written before each call that reads them and mean nothing
// afterwards, so that they may travel to another thread with the rest.
unsafe impl Send for Batch {}

/// What is known of a received message besides its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message {
    /// Bytes written to its buffers.
    pub len: usize,
    /// Whether there was more than the buffers hold.
    pub truncated: bool,
    /// The tag that the kernel took off the frame.
    pub tag: Option<VlanTag>,
}

/// A VLAN tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VlanTag {
    /// Its protocol: 0x8100 or 0x88a8.
    pub protocol: u16,
    /// Priority, drop bit and VLAN id.
    pub control: u16,
}

impl Batch {
    /// Room for `size` messages.
    pub fn new(size: usize) -> Self {
        // SAFETY: an mmsghdr is integers and pointers; all zeros (null) is a valid one.
        let header: libc::mmsghdr = unsafe { std::mem::zeroed() };
        let none = libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 };
        Batch {
            headers: vec![header; size],
            buffers: vec![[none; PARTS]; size],
            controls: vec![Control([0; CONTROL_WORDS]); size],
        }
    }

    /// Receives one message into each set of buffers, as many as are there; never waits. The buffers
    /// of a set are filled one after the other. `WouldBlock` if there is none.
    pub fn receive<'a>(
        &mut self,
        socket: BorrowedFd<'_>,
        buffers: impl Iterator<Item = [&'a mut [u8]; PARTS]>,
    ) -> io::Result<usize> {
        let mut count = 0;
        for (set, message) in buffers.zip(0..self.headers.len()) {
            self.buffers[message] =
                set.map(|b| libc::iovec { iov_base: b.as_mut_ptr().cast(), iov_len: b.len() });
            let header = &mut self.headers[message];
            header.msg_hdr.msg_iov = self.buffers[message].as_mut_ptr();
            header.msg_hdr.msg_iovlen = PARTS as _;
            header.msg_hdr.msg_control = self.controls[message].0.as_mut_ptr().cast();
            header.msg_hdr.msg_controllen = size_of::<Control>() as _;
            header.msg_hdr.msg_flags = 0;
            header.msg_len = 0;
            count += 1;
        }
        // SAFETY: the first `count` headers point at buffers that are borrowed mutably for 'a, which
        // outlives this call, and at control room and vectors of this batch, which are not moved
        // while it is borrowed; lengths are those of what they point at.
        let received = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                self.headers.as_mut_ptr(),
                count as _,
                libc::MSG_DONTWAIT,
                std::ptr::null_mut(),
            )
        };
        super::checked(received).map(|n| n as usize)
    }

    /// The message at a place of the last [`Batch::receive`].
    pub fn message(&self, at: usize) -> Message {
        let header = &self.headers[at];
        let flags = header.msg_hdr.msg_flags;
        let control = header.msg_hdr.msg_controllen != 0 && flags & libc::MSG_CTRUNC == 0;
        Message {
            len: header.msg_len as usize,
            truncated: flags & libc::MSG_TRUNC != 0,
            tag: if control { self.controls[at].tag() } else { None },
        }
    }

    /// Sends one message from each set of buffers, in order, until one is not taken; never waits.
    /// Gives how many were; the error is that of the first.
    pub fn send<'a>(
        &mut self,
        socket: BorrowedFd<'_>,
        buffers: impl Iterator<Item = [&'a [u8]; 2]>,
    ) -> io::Result<usize> {
        let mut count = 0;
        for (set, message) in buffers.zip(0..self.headers.len()) {
            for (vector, b) in self.buffers[message].iter_mut().zip(set) {
                *vector = libc::iovec { iov_base: b.as_ptr().cast_mut().cast(), iov_len: b.len() };
            }
            let header = &mut self.headers[message];
            header.msg_hdr.msg_iov = self.buffers[message].as_mut_ptr();
            header.msg_hdr.msg_iovlen = 2;
            header.msg_hdr.msg_control = std::ptr::null_mut();
            header.msg_hdr.msg_controllen = 0;
            header.msg_hdr.msg_flags = 0;
            count += 1;
        }
        // SAFETY: as in `receive`; sendmmsg only reads through the pointers, and writes `msg_len` of
        // the headers.
        let sent = unsafe {
            libc::sendmmsg(socket.as_raw_fd(), self.headers.as_mut_ptr(), count as _, libc::MSG_DONTWAIT)
        };
        super::checked(sent).map(|n| n as usize)
    }
}

/// Room for one control message, aligned as a `cmsghdr` has to be.
#[derive(Clone, Copy)]
struct Control([u64; CONTROL_WORDS]);

impl Control {
    /// The tag in a `PACKET_AUXDATA` message, which is the only kind asked for.
    ///
    /// ```text
    ///  cmsghdr      len (usize) ┊ level (int) ┊ type (int)
    ///  auxdata      status ┊ len ┊ snaplen (u32 each) ┊ mac ┊ net ┊ vlan_tci ┊ vlan_tpid (u16 each)
    /// ```
    fn tag(&self) -> Option<VlanTag> {
        const {
            let whole = size_of::<libc::cmsghdr>() + size_of::<libc::tpacket_auxdata>();
            assert!(size_of::<Control>() >= whole);
        }
        let at: *const u8 = self.0.as_ptr().cast();
        // SAFETY: the words hold at least a cmsghdr and a tpacket_auxdata, as is asserted above, which
        // are integers: any bytes are valid.
        let (header, data) = unsafe {
            let header: libc::cmsghdr = at.cast::<libc::cmsghdr>().read_unaligned();
            let data = at.add(size_of::<libc::cmsghdr>()).cast::<libc::tpacket_auxdata>().read_unaligned();
            (header, data)
        };
        let is_auxdata = header.cmsg_level == libc::SOL_PACKET && header.cmsg_type == libc::PACKET_AUXDATA;
        if !is_auxdata || data.tp_status & libc::TP_STATUS_VLAN_VALID == 0 {
            return None;
        }
        // Kernels before 3.14 left the protocol out; then it is 802.1Q.
        let named = data.tp_status & libc::TP_STATUS_VLAN_TPID_VALID != 0;
        let protocol = if named { data.tp_vlan_tpid } else { libc::ETH_P_8021Q as u16 };
        Some(VlanTag { protocol, control: data.tp_vlan_tci })
    }
}

/// Buffers of a received message: offload header, the first part of the frame, the rest.
const PARTS: usize = 3;
/// A `cmsghdr` (16 bytes) and a `tpacket_auxdata` (20), with padding.
const CONTROL_WORDS: usize = 5;
