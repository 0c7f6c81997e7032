//! Giving up what the process may do: another user, no new privileges, no memory dumps, fewer system calls.

use std::io;

use super::checked;

/// Makes all threads of the process this user's, with these groups and no others. Capabilities stay permitted if the thread
/// keeps them (`PR_SET_KEEPCAPS`), and are no longer in effect.
pub fn become_user(uid: u32, gid: u32, groups: &[u32]) -> io::Result<()> {
    // SAFETY: setgroups reads as many numbers as the slice has, and nothing else.
    checked(unsafe { libc::setgroups(groups.len(), groups.as_ptr()) })?;
    // SAFETY: it takes three numbers and touches no memory of ours.
    checked(unsafe { libc::setresgid(gid, gid, gid) })?;
    // SAFETY: likewise.
    checked(unsafe { libc::setresuid(uid, uid, uid) })?;
    Ok(())
}

/// Nothing this thread and those it starts execute gets more privileges than they have (`PR_SET_NO_NEW_PRIVS`).
pub fn no_new_privileges() -> io::Result<()> {
    // SAFETY: the option takes numbers and touches no memory.
    checked(unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) }).map(drop)
}

/// The process leaves no core file, and other processes of its user can't look into its memory (`PR_SET_DUMPABLE`).
pub fn not_dumpable() -> io::Result<()> {
    // SAFETY: the option takes a number and touches no memory.
    checked(unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0) }).map(drop)
}

/// Has every thread of the process ask this program of each system call (seccomp(2)). What it refuses, the kernel's audit log
/// is told of.
pub fn filter_system_calls(program: &[seccompiler::sock_filter]) -> io::Result<()> {
    /// `struct sock_fprog` of linux/filter.h.
    #[repr(C)]
    struct Program {
        len: libc::c_ushort,
        filter: *const seccompiler::sock_filter,
    }
    let len = program.len().try_into().map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))?;
    let program = Program { len, filter: program.as_ptr() };
    let flags = libc::SECCOMP_FILTER_FLAG_TSYNC | libc::SECCOMP_FILTER_FLAG_LOG;
    // SAFETY: the kernel reads the structure and as many instructions as it says, all of which live until it returns, and
    // keeps a copy. `sock_filter` has the layout of the kernel's.
    let result =
        unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, &raw const program) };
    match result {
        0 => Ok(()),
        // The thread that could not be brought along.
        1.. => Err(io::Error::from_raw_os_error(libc::EBUSY)),
        _ => Err(io::Error::last_os_error()),
    }
}
