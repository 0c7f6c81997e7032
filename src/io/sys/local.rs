//! Unix sockets that are there before anybody can connect to them.

use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::checked;

/// A stream socket bound to this path. Whoever connects is refused until it [`listen`]s. It does not block.
pub fn bind_local(path: &Path) -> io::Result<OwnedFd> {
    let flags = libc::SOCK_STREAM | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    // SAFETY: socket touches no memory and gives a new descriptor, or -1.
    let fd = checked(unsafe { libc::socket(libc::AF_UNIX, flags, 0) })?;
    // SAFETY: the descriptor was made just now and nobody else owns it.
    let socket = unsafe { OwnedFd::from_raw_fd(fd) };
    // SAFETY: a sockaddr_un is integers; all zeros is a valid one.
    let mut address: libc::sockaddr_un = unsafe { std::mem::zeroed() };
    address.sun_family = libc::AF_UNIX as libc::sa_family_t;
    let path = path.as_os_str().as_bytes();
    // One byte stays zero: the end of the path.
    if path.is_empty() || path.len() >= address.sun_path.len() || path.contains(&0) {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    }
    for (to, from) in address.sun_path.iter_mut().zip(path) {
        *to = *from as libc::c_char;
    }
    // SAFETY: bind reads the address, which lives on this stack, and no more than its length.
    let bound = unsafe {
        libc::bind(
            socket.as_raw_fd(),
            (&raw const address).cast(),
            size_of::<libc::sockaddr_un>() as libc::socklen_t,
        )
    };
    checked(bound).map(|_| socket)
}

/// Lets others connect from now on.
pub fn listen(socket: impl AsFd) -> io::Result<()> {
    /// As the standard library has it.
    const BACKLOG: libc::c_int = 128;
    // SAFETY: listen touches no memory; the descriptor is open while it is borrowed.
    checked(unsafe { libc::listen(socket.as_fd().as_raw_fd(), BACKLOG) }).map(drop)
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn nobody_connects_before_it_listens() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let socket = bind_local(&path).unwrap();
        assert_eq!(UnixStream::connect(&path).unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
        listen(&socket).unwrap();
        UnixStream::connect(&path).unwrap();
        assert_eq!(bind_local(&path).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        let long = dir.path().join("x".repeat(108));
        assert_eq!(bind_local(&long).unwrap_err().raw_os_error(), Some(libc::EINVAL));
    }
}
