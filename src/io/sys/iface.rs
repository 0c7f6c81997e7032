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
