//! Who is at the other end of a local socket, and who we are.

use std::io;
use std::os::fd::{AsFd, AsRawFd};

/// The process at the other end of a connected Unix socket, as it was when it connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// Its process id, in our pid namespace; 0 if it has none there.
    pub pid: i32,
    /// Its effective user.
    pub uid: u32,
    /// Its effective group.
    pub gid: u32,
}

/// Asks the kernel for the peer of a connected Unix socket (`SO_PEERCRED`, unix(7)).
pub fn peer_of(socket: impl AsFd) -> io::Result<Peer> {
    let mut cred = libc::ucred { pid: 0, uid: 0, gid: 0 };
    let mut len = size_of::<libc::ucred>() as libc::socklen_t;
    // SAFETY: the kernel writes at most `len` bytes into `cred`, and the new length into `len`; both
    // live on this stack. The descriptor is borrowed for the time of the call.
    let result = unsafe {
        libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            (&raw mut cred).cast(),
            &raw mut len,
        )
    };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(Peer { pid: cred.pid, uid: cred.uid, gid: cred.gid })
}

/// Whether the peer of a connected Unix socket was in a group when it connected: by its effective group, or by one of the
/// others (`SO_PEERGROUPS`, Linux 4.13).
pub fn in_group(socket: impl AsFd, group: u32) -> io::Result<bool> {
    if peer_of(&socket)?.gid == group {
        return Ok(true);
    }
    /// `SO_PEERGROUPS` of asm-generic/socket.h.
    const SO_PEERGROUPS: libc::c_int = 59;
    // A process has 65,536 at most (`NGROUPS_MAX`); the kernel says how many there are if they don't fit.
    let mut groups = vec![0u32; 64];
    for _ in 0..2 {
        let mut len = (groups.len() * size_of::<u32>()) as libc::socklen_t;
        // SAFETY: the kernel writes at most `len` bytes into the vector, which has as many, and the length into `len`. The
        // descriptor is borrowed for the time of the call.
        let result = unsafe {
            libc::getsockopt(
                socket.as_fd().as_raw_fd(),
                libc::SOL_SOCKET,
                SO_PEERGROUPS,
                groups.as_mut_ptr().cast(),
                &raw mut len,
            )
        };
        let there = len as usize / size_of::<u32>();
        match result {
            0 => return Ok(groups.iter().take(there).any(|g| *g == group)),
            _ => match io::Error::last_os_error() {
                e if e.raw_os_error() == Some(libc::ERANGE) => groups = vec![0; there.min(65_536)],
                e => return Err(e),
            },
        }
    }
    Ok(false)
}

/// The user whose rights this process has.
pub fn effective_user() -> u32 {
    // SAFETY: geteuid takes nothing, touches no memory and cannot fail.
    unsafe { libc::geteuid() }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn the_other_end_of_a_pair_is_ourselves() {
        let (a, _b) = UnixStream::pair().unwrap();
        let peer = peer_of(&a).unwrap();
        assert_eq!((peer.pid.cast_unsigned(), peer.uid), (std::process::id(), effective_user()));
        assert!(in_group(&a, peer.gid).unwrap());
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let groups = status.lines().find_map(|l| l.strip_prefix("Groups:")).unwrap();
        let groups: Vec<u32> = groups.split_whitespace().map(|g| g.parse().unwrap()).collect();
        for group in &groups {
            assert!(in_group(&a, *group).unwrap());
        }
        let other = (1..).find(|g| *g != peer.gid && !groups.contains(g)).unwrap();
        assert!(!in_group(&a, other).unwrap());
    }

    #[test]
    fn what_is_no_socket_has_no_peer() {
        let file = std::fs::File::open("/dev/null").unwrap();
        assert_eq!(peer_of(&file).unwrap_err().raw_os_error(), Some(libc::ENOTSOCK));
    }
}
