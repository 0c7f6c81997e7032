//! Packet sockets: making, binding, options.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use super::checked;
use crate::base::Mac;

/// A raw packet socket that receives nothing until it is bound. Takes CAP_NET_RAW.
pub fn packet_socket() -> io::Result<OwnedFd> {
    let kind = libc::SOCK_RAW | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    // SAFETY: socket touches no memory and gives a new descriptor, or -1.
    let fd = checked(unsafe { libc::socket(libc::AF_PACKET, kind, 0) })?;
    // SAFETY: the descriptor was made just now and nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Binds a packet socket to an interface: to receive every frame, or only to send.
pub fn bind_packet(socket: BorrowedFd<'_>, interface: u32, receive: bool) -> io::Result<()> {
    let address = libc::sockaddr_ll {
        sll_family: libc::AF_PACKET as u16,
        sll_protocol: if receive { (libc::ETH_P_ALL as u16).to_be() } else { 0 },
        sll_ifindex: interface.cast_signed(),
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    };
    let length = size_of_val(&address) as libc::socklen_t;
    // SAFETY: bind reads `length` bytes of the address, which lives on this stack.
    checked(unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), length) }).map(drop)
}

/// The index of the interface a packet socket is bound to; `None` once that was deleted.
pub fn bound_interface(socket: BorrowedFd<'_>) -> io::Result<Option<u32>> {
    // SAFETY: a sockaddr_ll is integers; all zeros is a valid one.
    let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    let mut length = size_of_val(&address) as libc::socklen_t;
    // SAFETY: getsockname writes at most `length` bytes to the address, which lives on this stack.
    checked(unsafe { libc::getsockname(socket.as_raw_fd(), (&raw mut address).cast(), &raw mut length) })?;
    Ok(u32::try_from(address.sll_ifindex).ok().filter(|index| *index != 0))
}

/// Options of packet sockets that are on or off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PacketOption {
    /// A virtio_net_hdr stands before each frame, both ways.
    VnetHeader,
    /// The tag that was taken off a frame comes with it.
    AuxData,
    /// Frames that this host sends are not received.
    IgnoreOutgoing,
    /// Frames go to the driver without passing a qdisc, or a filter on egress.
    QdiscBypass,
}

/// Turns an option on.
pub fn set_packet_option(socket: BorrowedFd<'_>, option: PacketOption) -> io::Result<()> {
    let name = match option {
        PacketOption::VnetHeader => libc::PACKET_VNET_HDR,
        PacketOption::AuxData => libc::PACKET_AUXDATA,
        PacketOption::IgnoreOutgoing => libc::PACKET_IGNORE_OUTGOING,
        PacketOption::QdiscBypass => libc::PACKET_QDISC_BYPASS,
    };
    set(socket, libc::SOL_PACKET, name, &1i32)
}

/// Sets both socket buffers, beyond the limits for users where that is allowed and up to them where
/// it is not.
pub fn set_buffers(socket: BorrowedFd<'_>, bytes: i32) -> io::Result<()> {
    let pairs = [(libc::SO_RCVBUFFORCE, libc::SO_RCVBUF), (libc::SO_SNDBUFFORCE, libc::SO_SNDBUF)];
    for (force, ask) in pairs {
        if set(socket, libc::SOL_SOCKET, force, &bytes).is_err() {
            set(socket, libc::SOL_SOCKET, ask, &bytes)?;
        }
    }
    Ok(())
}

/// What an interface is asked to receive besides what is meant for it, while the socket lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Membership {
    /// Frames to another address.
    Unicast(Mac),
    /// Frames to any group.
    AllMulticast,
}

/// Asks the interface for more frames. The kernel forgets it when the socket is closed.
pub fn add_membership(socket: BorrowedFd<'_>, interface: u32, what: Membership) -> io::Result<()> {
    let mut request = libc::packet_mreq {
        mr_ifindex: interface.cast_signed(),
        mr_type: libc::PACKET_MR_ALLMULTI as u16,
        mr_alen: 0,
        mr_address: [0; 8],
    };
    if let Membership::Unicast(mac) = what {
        request.mr_type = libc::PACKET_MR_UNICAST as u16;
        request.mr_alen = 6;
        request.mr_address[..6].copy_from_slice(&mac.0);
    }
    set(socket, libc::SOL_PACKET, libc::PACKET_ADD_MEMBERSHIP, &request)
}

/// Makes a fanout group of this socket, with an id that nobody else in the namespace has. The program says which of
/// the group's sockets gets a packet, in the order in which they joined; it sees the packet from its L3 header on (Linux 4.3).
pub fn fanout_create(socket: BorrowedFd<'_>, program: &[libc::sock_filter]) -> io::Result<u16> {
    let kind = libc::PACKET_FANOUT_CBPF | libc::PACKET_FANOUT_FLAG_UNIQUEID;
    set(socket, libc::SOL_PACKET, libc::PACKET_FANOUT, &(kind << 16).cast_signed())?;
    let word: u32 = get(socket, libc::SOL_PACKET, libc::PACKET_FANOUT)?;
    // The kernel only reads what it is given as a place to write.
    let filter =
        libc::sock_fprog { len: program.len() as libc::c_ushort, filter: program.as_ptr().cast_mut() };
    set(socket, libc::SOL_PACKET, libc::PACKET_FANOUT_DATA, &filter)?;
    Ok((word & 0xffff) as u16)
}

/// Joins a fanout group that another socket made.
pub fn fanout_join(socket: BorrowedFd<'_>, group: u16) -> io::Result<()> {
    let word = libc::PACKET_FANOUT_CBPF << 16 | u32::from(group);
    set(socket, libc::SOL_PACKET, libc::PACKET_FANOUT, &word.cast_signed())
}

/// Frames that did not fit into the receive buffer since this was last asked.
pub fn overruns(socket: BorrowedFd<'_>) -> io::Result<u32> {
    // struct tpacket_stats: packets, drops.
    let [_, drops]: [u32; 2] = get(socket, libc::SOL_PACKET, libc::PACKET_STATISTICS)?;
    Ok(drops)
}

/// Reads and so clears the error that the socket would tell next.
pub fn take_error(socket: BorrowedFd<'_>) -> Option<io::Error> {
    let error: i32 = get(socket, libc::SOL_SOCKET, libc::SO_ERROR).ok()?;
    (error != 0).then(|| io::Error::from_raw_os_error(error))
}

/// Has the socket refuse every frame from now on.
pub fn refuse_all(socket: BorrowedFd<'_>) -> io::Result<()> {
    let mut program = [libc::sock_filter { code: (libc::BPF_RET | libc::BPF_K) as u16, jt: 0, jf: 0, k: 0 }];
    let filter = libc::sock_fprog { len: 1, filter: program.as_mut_ptr() };
    set(socket, libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, &filter)
}

/// Ends [`refuse_all`].
pub fn accept_all(socket: BorrowedFd<'_>) -> io::Result<()> {
    set(socket, libc::SOL_SOCKET, libc::SO_DETACH_FILTER, &0i32)
}

/// Has a UDP socket send what it is given as datagrams of `size` bytes, cut as late as possible (`UDP_SEGMENT`,
/// Linux 4.18).
pub fn set_udp_segment(socket: impl AsFd, size: u16) -> io::Result<()> {
    set(socket.as_fd(), libc::SOL_UDP, libc::UDP_SEGMENT, &i32::from(size))
}

/// `setsockopt` with a plain C value.
pub(super) fn set<T>(socket: BorrowedFd<'_>, level: i32, name: i32, value: &T) -> io::Result<()> {
    let length = size_of::<T>() as libc::socklen_t;
    // SAFETY: setsockopt reads `length` bytes of the value, which is borrowed for the call; what its
    // pointers point at (a filter's program) lives as long as the caller's variables do.
    checked(unsafe {
        libc::setsockopt(socket.as_raw_fd(), level, name, std::ptr::from_ref(value).cast(), length)
    })
    .map(drop)
}

/// `getsockopt` of a value made of integers.
fn get<T: Copy + Default>(socket: BorrowedFd<'_>, level: i32, name: i32) -> io::Result<T> {
    let mut value = T::default();
    let mut length = size_of::<T>() as libc::socklen_t;
    // SAFETY: getsockopt writes at most `length` bytes to the value, which lives on this stack; it is
    // an integer or an array of them at every call in this file, for which any bytes are valid.
    checked(unsafe {
        libc::getsockopt(socket.as_raw_fd(), level, name, (&raw mut value).cast(), &raw mut length)
    })?;
    Ok(value)
}
