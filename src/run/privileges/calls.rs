//! The system calls of a router, as programs for seccomp(2).
//!
//! Three programs are asked of each call, and the strictest answer counts. One knows all that a router needs: whatever else fails with EPERM.
//! One knows what only somebody would try who has taken the process over: that ends it. One has clone3 fail as in a
//! kernel without it, for its flags stand in memory, where a program can't look; the C library then uses clone, whose
//! flags can be looked at.
//!
//! Threads are started, files and sockets opened, interfaces and BPF programs made while the router runs (it is reloaded, an
//! interface comes back): these calls are there, with as much said of their arguments as can be said. Knows nothing of what
//! the calls are for.

use std::collections::BTreeMap;

use libc::c_long;
use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch,
};

use super::SystemCalls;

/// The programs.
pub(super) fn programs(calls: SystemCalls) -> Result<Vec<BpfProgram>, BackendError> {
    let strict = calls == SystemCalls::Refused;
    let no = |action| if strict { action } else { SeccompAction::Log };
    let arch: TargetArch = std::env::consts::ARCH.try_into()?;
    let mut known: BTreeMap<c_long, Vec<SeccompRule>> =
        PLAIN.iter().chain(LEGACY).map(|call| (*call, Vec::new())).collect();
    known.extend(looked_at()?);
    let deadly = DEADLY.iter().map(|call| (*call, Vec::new())).collect();
    let clone3 = [(libc::SYS_clone3, Vec::new())].into_iter().collect();
    let eperm = SeccompAction::Errno(libc::EPERM.unsigned_abs());
    let enosys = SeccompAction::Errno(libc::ENOSYS.unsigned_abs());
    [
        SeccompFilter::new(clone3, SeccompAction::Allow, enosys, arch)?,
        SeccompFilter::new(deadly, SeccompAction::Allow, no(SeccompAction::KillProcess), arch)?,
        // The last one: seccomp(2) is none of the calls that it knows.
        SeccompFilter::new(known, no(eperm), SeccompAction::Allow, arch)?,
    ]
    .into_iter()
    .map(BpfProgram::try_from)
    .collect()
}

/// Calls with certain arguments only: any of the rules will do.
fn looked_at() -> Result<Vec<(c_long, Vec<SeccompRule>)>, BackendError> {
    use SeccompCmpArgLen::{Dword, Qword};
    use SeccompCmpOp::{Eq, MaskedEq, Ne};
    let rule = |all: &[(u8, SeccompCmpArgLen, SeccompCmpOp, u64)]| {
        let all =
            all.iter().map(|(n, len, op, value)| SeccompCondition::new(*n, len.clone(), op.clone(), *value));
        SeccompRule::new(all.collect::<Result<_, _>>()?)
    };
    let any_of = |n: u8, values: &[libc::c_int]| -> Result<Vec<SeccompRule>, BackendError> {
        values.iter().map(|v| rule(&[(n, Dword, Eq, u64::from(v.cast_unsigned()))])).collect()
    };
    let no_code = rule(&[(2, Dword, MaskedEq(libc::PROT_EXEC as u64), 0)])?;
    let thread = rule(&[(0, Qword, MaskedEq(THREAD | NAMESPACES), THREAD)])?;
    // Words put into a terminal's input are commands of whoever sits there. A signal that a descriptor sends may go to anybody.
    let none_of =
        |n: u8, values: &[u64]| rule(&values.iter().map(|v| (n, Dword, Ne, *v)).collect::<Vec<_>>());
    let no_typing = none_of(1, &[TIOCSTI, TIOCLINUX, TIOCSETD, FIOSETOWN, SIOCSPGRP])?;
    let no_signals =
        none_of(1, &[libc::F_SETOWN, F_SETOWN_EX, F_SETSIG].map(|v| u64::from(v.cast_unsigned())))?;
    let ourselves = std::process::id().cast_signed();
    Ok(vec![
        (libc::SYS_mmap, vec![no_code.clone()]),
        (libc::SYS_mprotect, vec![no_code]),
        (libc::SYS_clone, vec![thread]),
        (libc::SYS_clone3, Vec::new()),
        (libc::SYS_ioctl, vec![no_typing]),
        (libc::SYS_fcntl, vec![no_signals]),
        (libc::SYS_tgkill, any_of(0, &[ourselves])?),
        (libc::SYS_prlimit64, any_of(0, &[0, ourselves])?),
        (libc::SYS_socket, any_of(0, &SOCKETS)?),
        (libc::SYS_socketpair, any_of(0, &[libc::AF_UNIX])?),
        (libc::SYS_prctl, any_of(0, &OPTIONS)?),
    ])
}

/// What every new thread is made with, and no new process.
const THREAD: u64 = libc::CLONE_THREAD as u64;
/// Flags of clone(2) that make namespaces. The last is the sign of a 32-bit number.
const NAMESPACES: u64 = (libc::CLONE_NEWNS
    | libc::CLONE_NEWCGROUP
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUSER
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET)
    .cast_unsigned() as u64;

/// Requests of ioctl(2) (asm-generic/ioctls.h): fake input, the console's own, another line discipline.
const TIOCSTI: u64 = 0x5412;
const TIOCLINUX: u64 = 0x541c;
const TIOCSETD: u64 = 0x5423;

/// Commands of fcntl(2) and requests of ioctl(2) (asm-generic/fcntl.h, sockios.h) that have a descriptor send signals: which, and to
/// whom.
const F_SETSIG: libc::c_int = 10;
const F_SETOWN_EX: libc::c_int = 15;
const FIOSETOWN: u64 = 0x8901;
const SIOCSPGRP: u64 = 0x8902;

/// The families of sockets: control, service manager and journal, services and metrics, netlink, packets.
const SOCKETS: [libc::c_int; 6] =
    [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK, libc::AF_PACKET, libc::AF_XDP];

/// Options of prctl(2): names of threads and of memory, and what a thread looks at and gives up when it renounces.
const OPTIONS: [libc::c_int; 5] =
    [libc::PR_SET_NAME, libc::PR_GET_NAME, libc::PR_SET_VMA, libc::PR_CAPBSET_READ, libc::PR_CAP_AMBIENT];

/// Calls that are allowed whatever their arguments.
const PLAIN: &[c_long] = &[
    // memory
    libc::SYS_brk,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_madvise,
    libc::SYS_membarrier,
    // threads and time
    libc::SYS_futex,
    libc::SYS_set_robust_list,
    libc::SYS_rseq,
    libc::SYS_set_tid_address,
    libc::SYS_sched_yield,
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_setaffinity,
    libc::SYS_getcpu,
    libc::SYS_nanosleep,
    libc::SYS_clock_nanosleep,
    libc::SYS_clock_gettime,
    libc::SYS_clock_getres,
    libc::SYS_gettimeofday,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_restart_syscall,
    // signals
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    // who we are, and on what
    libc::SYS_getpid,
    libc::SYS_gettid,
    libc::SYS_getppid,
    libc::SYS_getuid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getegid,
    // they only give capabilities up: there are none to be had
    libc::SYS_capget,
    libc::SYS_capset,
    libc::SYS_uname,
    libc::SYS_sysinfo,
    libc::SYS_getrusage,
    libc::SYS_getrandom,
    // descriptors
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_readv,
    libc::SYS_writev,
    libc::SYS_pread64,
    libc::SYS_pwrite64,
    libc::SYS_close,
    libc::SYS_close_range,
    libc::SYS_dup,
    libc::SYS_dup3,
    libc::SYS_pipe2,
    libc::SYS_eventfd2,
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_pwait2,
    libc::SYS_ppoll,
    libc::SYS_timerfd_create,
    libc::SYS_timerfd_settime,
    libc::SYS_timerfd_gettime,
    // files
    libc::SYS_openat,
    libc::SYS_newfstatat,
    libc::SYS_fstat,
    libc::SYS_statx,
    libc::SYS_statfs,
    libc::SYS_lseek,
    libc::SYS_readlinkat,
    libc::SYS_unlinkat,
    libc::SYS_getdents64,
    libc::SYS_getcwd,
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
    libc::SYS_flock,
    // sockets
    libc::SYS_bind,
    libc::SYS_listen,
    libc::SYS_accept4,
    libc::SYS_connect,
    libc::SYS_getsockname,
    libc::SYS_getpeername,
    libc::SYS_getsockopt,
    libc::SYS_setsockopt,
    libc::SYS_sendto,
    libc::SYS_recvfrom,
    libc::SYS_sendmsg,
    libc::SYS_recvmsg,
    libc::SYS_sendmmsg,
    libc::SYS_recvmmsg,
    libc::SYS_shutdown,
    // programs and maps of BPF; the kernel asks for capabilities that are gone, where they are dangerous
    libc::SYS_bpf,
];

/// Calls that newer architectures don't have.
#[cfg(target_arch = "x86_64")]
const LEGACY: &[c_long] = &[
    libc::SYS_open,
    libc::SYS_stat,
    libc::SYS_lstat,
    libc::SYS_access,
    libc::SYS_readlink,
    libc::SYS_unlink,
    libc::SYS_poll,
    libc::SYS_epoll_wait,
    libc::SYS_dup2,
    libc::SYS_accept,
    libc::SYS_time,
];
#[cfg(not(target_arch = "x86_64"))]
const LEGACY: &[c_long] = &[];

/// Calls that a router never makes, and that an attacker has most use for.
const DEADLY: &[c_long] = &[
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_pidfd_getfd,
    libc::SYS_setns,
    libc::SYS_unshare,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_open_by_handle_at,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_io_uring_setup,
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_personality,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_programs_and_none_is_too_long() {
        for calls in [SystemCalls::Refused, SystemCalls::Logged] {
            let programs = programs(calls).unwrap();
            assert_eq!(programs.len(), 3);
            // BPF_MAXINSNS of linux/bpf_common.h.
            assert!(programs.iter().all(|p| (1..4_096).contains(&p.len())));
        }
    }

    #[test]
    fn what_is_deadly_is_not_allowed_as_well() {
        assert!(DEADLY.iter().all(|call| !PLAIN.contains(call) && !LEGACY.contains(call)));
    }
}
