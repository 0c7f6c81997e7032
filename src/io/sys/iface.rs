//! Interfaces by name: index and flags; namespaces of threads.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use super::checked;

/// What `SIOCGIFFLAGS` says of an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flags {
    /// Set up by an administrator.
    pub up: bool,
    /// Up, and with a carrier.
    pub running: bool,
}

/// The index of the interface of this name in the namespace of `socket` (any socket will do).
pub fn interface_index(socket: BorrowedFd<'_>, name: &str) -> io::Result<u32> {
    let mut request = request(name)?;
    // SAFETY: SIOCGIFINDEX reads the name from and writes the index into the ifreq, which lives on
    // this stack; the descriptor is open while it is borrowed.
    checked(unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCGIFINDEX as _, &raw mut request) })?;
    // SAFETY: the call above succeeded, so the union holds the index.
    Ok(unsafe { request.ifr_ifru.ifru_ifindex }.cast_unsigned())
}

/// The flags of the interface of this name in the namespace of `socket`.
pub fn interface_flags(socket: BorrowedFd<'_>, name: &str) -> io::Result<Flags> {
    let mut request = request(name)?;
    // SAFETY: as above, with flags for the index.
    checked(unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCGIFFLAGS as _, &raw mut request) })?;
    // SAFETY: the call above succeeded, so the union holds the flags.
    let flags = i32::from(unsafe { request.ifr_ifru.ifru_flags });
    let up = flags & libc::IFF_UP != 0;
    Ok(Flags { up, running: up && flags & libc::IFF_RUNNING != 0 })
}

/// The longest L3 packet of the interface of this name in the namespace of `socket`.
pub fn interface_mtu(socket: BorrowedFd<'_>, name: &str) -> io::Result<u32> {
    let mut request = request(name)?;
    // SAFETY: as above, with the MTU for the index.
    checked(unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCGIFMTU as _, &raw mut request) })?;
    // SAFETY: the call above succeeded, so the union holds the MTU.
    Ok(unsafe { request.ifr_ifru.ifru_mtu }.cast_unsigned())
}

/// How many receive queues of the interface are in use. `EOPNOTSUPP` where its driver does not tell.
pub fn receive_queues(socket: BorrowedFd<'_>, name: &str) -> io::Result<u32> {
    // struct ethtool_channels: the command; the most of receive, transmit, other and combined ones; those in use.
    let mut channels = [ETHTOOL_GCHANNELS, 0, 0, 0, 0, 0, 0, 0, 0];
    let mut request = request(name)?;
    request.ifr_ifru.ifru_data = channels.as_mut_ptr().cast();
    // SAFETY: SIOCETHTOOL reads the command from the array that the ifreq points at, and writes the nine words that
    // this command has; both live on this stack.
    checked(unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCETHTOOL as _, &raw mut request) })?;
    let [.., receive, _, _, combined] = channels;
    Ok(receive + combined)
}

/// The name of the interface of this index in the namespace of `socket`.
pub fn interface_name(socket: BorrowedFd<'_>, index: u32) -> io::Result<String> {
    // SAFETY: an ifreq is integers and unions of them; all zeros is a valid one.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    request.ifr_ifru.ifru_ifindex = index.cast_signed();
    // SAFETY: SIOCGIFNAME reads the index from and writes the name into the ifreq, which lives on this stack.
    checked(unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCGIFNAME as _, &raw mut request) })?;
    let name: Vec<u8> = request.ifr_name.iter().map(|c| c.cast_unsigned()).take_while(|c| *c != 0).collect();
    Ok(String::from_utf8_lossy(&name).into_owned())
}

/// Whether the kernel puts segments together that the interface receives (GRO).
pub fn puts_together(socket: BorrowedFd<'_>, name: &str) -> io::Result<bool> {
    ethtool_value(socket, name, ETHTOOL_GGRO, 0).map(|on| on != 0)
}

/// Has the kernel do so, or not.
pub fn put_together(socket: BorrowedFd<'_>, name: &str, on: bool) -> io::Result<()> {
    ethtool_value(socket, name, ETHTOOL_SGRO, u32::from(on)).map(drop)
}

/// Commands whose argument is one number (`struct ethtool_value`); gives what the kernel left there.
fn ethtool_value(socket: BorrowedFd<'_>, name: &str, command: u32, value: u32) -> io::Result<u32> {
    let mut argument = [command, value];
    let mut request = request(name)?;
    request.ifr_ifru.ifru_data = argument.as_mut_ptr().cast();
    // SAFETY: SIOCETHTOOL reads and writes the two words that the ifreq points at; both live on this stack.
    checked(unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCETHTOOL as _, &raw mut request) })?;
    Ok(argument[1])
}

/// Moves this thread into a new network namespace, of which it is the only one.
pub fn unshare_network() -> io::Result<()> {
    // SAFETY: CLONE_NEWNET changes where this thread's sockets are made and touches no memory.
    checked(unsafe { libc::unshare(libc::CLONE_NEWNET) }).map(drop)
}

/// Moves this thread into the network namespace behind the descriptor.
pub fn enter_network(netns: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: setns takes a descriptor, open while it is borrowed, and touches no memory.
    checked(unsafe { libc::setns(netns.as_raw_fd(), libc::CLONE_NEWNET) }).map(drop)
}

/// An empty interface request for the name; too long a name is refused (`EINVAL`).
pub(super) fn request(name: &str) -> io::Result<libc::ifreq> {
    // SAFETY: an ifreq is integers and unions of them; all zeros is a valid one.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    // One byte stays zero: the end of the text.
    if name.is_empty() || name.len() >= request.ifr_name.len() || name.bytes().any(|b| b == 0) {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    }
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from.cast_signed();
    }
    Ok(request)
}

/// linux/ethtool.h.
const ETHTOOL_GCHANNELS: u32 = 0x3c;
const ETHTOOL_GGRO: u32 = 0x2b;
const ETHTOOL_SGRO: u32 = 0x2c;
