//! Network namespaces that live as long as somebody holds them, and the few system calls that the
//! lab needs and the standard library has no words for.
//!
//! A [`Netns`] is a file descriptor and nothing else: no name under /run, no process of its own. When
//! the last descriptor and the last thread inside are gone the kernel takes the namespace apart with
//! all its devices, also after `kill -9`.
//!
//! Knows nothing of what is in a namespace.
#![allow(unsafe_code)] // one of the two rooms for it: unshare, setns, what runs between fork and exec, raw sockets

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd as _, OwnedFd, RawFd};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command};
use std::sync::Arc;
use std::time::Duration;
use std::{fmt, mem, panic, thread};

use crate::io::netlink::{Netlink, NetlinkError};

/// A namespace could not be made or entered.
#[derive(Debug, thiserror::Error)]
pub enum NetnsError {
    /// unshare(2) refused, or the loopback device did.
    #[error("can't make the network namespace '{0}': {1}")]
    Make(String, #[source] io::Error),
    /// setns(2) refused.
    #[error("can't enter the network namespace '{0}': {1}")]
    Enter(String, #[source] io::Error),
}

/// A network namespace, held by a descriptor. Clones share it.
#[derive(Clone)]
pub struct Netns {
    name: Arc<str>,
    fd: Arc<OwnedFd>,
}

impl Netns {
    /// Makes a namespace of its own, empty but for a loopback device that is up.
    ///
    /// The name is for messages only. Needs CAP_SYS_ADMIN in this process's user namespace: see
    /// [`super::isolate`] for how an ordinary user gets it.
    pub fn new(name: &str) -> Result<Self, NetnsError> {
        let fd = on_thread(|| {
            // SAFETY: unshare takes no pointers; it moves this short-lived thread only.
            check(unsafe { libc::unshare(libc::CLONE_NEWNET) })?;
            loopback_up().map_err(io::Error::other)?;
            own_namespace()
        })
        .map_err(|e| NetnsError::Make(name.to_owned(), e))?;
        Ok(Netns { name: name.into(), fd: Arc::new(fd) })
    }

    /// The namespace the calling thread is in.
    pub fn current() -> Result<Self, NetnsError> {
        let fd = own_namespace().map_err(|e| NetnsError::Make("current".into(), e))?;
        Ok(Netns { name: "current".into(), fd: Arc::new(fd) })
    }

    /// The name it was given.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs `f` on a thread inside and gives what it gives. A panic inside goes on outside.
    ///
    /// # Panics
    ///
    /// If the process has lost the right to enter a namespace it holds.
    pub fn run<T: Send>(&self, f: impl FnOnce() -> T + Send) -> T {
        on_thread(|| self.run_here(f))
    }

    /// Like [`Netns::run`], without waiting.
    pub fn spawn<T: Send + 'static>(&self, f: impl FnOnce() -> T + Send + 'static) -> thread::JoinHandle<T> {
        let ns = self.clone();
        thread::spawn(move || ns.run_here(f))
    }

    fn run_here<T>(&self, f: impl FnOnce() -> T) -> T {
        match self.enter() {
            Ok(_inside) => f(),
            Err(e) => panic!("{e}"),
        }
    }

    /// Moves the calling thread inside until the guard is dropped.
    pub fn enter(&self) -> Result<Guard, NetnsError> {
        let refused = |e| NetnsError::Enter(self.name.to_string(), e);
        let outside = own_namespace().map_err(refused)?;
        set_netns(self.fd.as_raw_fd()).map_err(refused)?;
        Ok(Guard { outside, stays_on_its_thread: PhantomData })
    }

    /// Has the command run inside.
    ///
    /// The child is killed when the *thread* that spawns it ends, so spawn it from one that stays: not from
    /// within [`Netns::run`].
    pub fn command<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        let fd = Arc::clone(&self.fd);
        let parent = std::process::id();
        // SAFETY: between fork and exec only system calls are made, nothing is allocated, no lock is taken;
        // the descriptor is kept open by the clone that the closure owns.
        unsafe {
            command.pre_exec(move || {
                set_netns(fd.as_raw_fd())?;
                die_with_parent(parent)
            })
        }
    }
}

impl AsFd for Netns {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl fmt::Debug for Netns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Netns({}, fd {})", self.name, self.fd.as_raw_fd())
    }
}

/// Keeps its thread inside a namespace; dropping it leads back out.
#[derive(Debug)]
pub struct Guard {
    outside: OwnedFd,
    stays_on_its_thread: PhantomData<*const ()>,
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Err(e) = set_netns(self.outside.as_raw_fd()) {
            // A thread that went on in the wrong namespace would do its work to the wrong devices.
            eprintln!("sekisho: can't leave a network namespace: {e}");
            std::process::abort();
        }
    }
}

/// What [`isolating`] needs between fork and exec, made before the fork: nothing may be allocated then.
struct Maps {
    uid: String,
    gid: String,
    parent: u32,
}

/// Has the command run in network and mount namespaces of its own, as root: with the process's own
/// rights where they suffice, otherwise in a user namespace where the caller is root. Killed when the spawning thread ends.
pub fn isolating(command: &mut Command) -> &mut Command {
    // SAFETY: both calls only read the process's credentials.
    let (uid, gid) = unsafe { (libc::geteuid(), libc::getegid()) };
    let maps = Maps { uid: format!("0 {uid} 1\n"), gid: format!("0 {gid} 1\n"), parent: std::process::id() };
    // SAFETY: `isolate_child` makes system calls only; the texts it writes exist before the fork.
    unsafe { command.pre_exec(move || isolate_child(&maps)) }
}

fn isolate_child(maps: &Maps) -> io::Result<()> {
    const OWN: libc::c_int = libc::CLONE_NEWNET | libc::CLONE_NEWNS;
    // SAFETY: unshare takes no pointers, and the child has one thread.
    let with_own_rights = check(unsafe { libc::unshare(OWN) });
    if with_own_rights.as_ref().is_err_and(|e| e.raw_os_error() == Some(libc::EPERM)) {
        // SAFETY: as above.
        check(unsafe { libc::unshare(libc::CLONE_NEWUSER | OWN) })?;
        // An unprivileged process may map groups only after it has given up setgroups(2): user_namespaces(7).
        write_whole(c"/proc/self/setgroups", b"deny")?;
        write_whole(c"/proc/self/uid_map", maps.uid.as_bytes())?;
        write_whole(c"/proc/self/gid_map", maps.gid.as_bytes())?;
    } else {
        with_own_rights?;
    }
    die_with_parent(maps.parent)
}

/// SIGKILL for the calling process when the thread that forked it ends.
fn die_with_parent(parent: u32) -> io::Result<()> {
    // SAFETY: these options take integers only.
    check(unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) })?;
    // SAFETY: reads the parent's id, nothing else.
    if unsafe { libc::getppid() } as u32 != parent {
        // The parent ended before the signal was asked for.
        return Err(io::Error::from_raw_os_error(libc::ESRCH));
    }
    Ok(())
}

/// Writes a small file at once, with system calls only: safe between fork and exec.
fn write_whole(path: &std::ffi::CStr, text: &[u8]) -> io::Result<()> {
    // SAFETY: the path ends with a zero byte and outlives the call.
    let fd = check(unsafe { libc::open(path.as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC) })?;
    // SAFETY: the pointer and the length are those of one slice; the descriptor is ours.
    let written = unsafe { libc::write(fd, text.as_ptr().cast(), text.len()) };
    let result = if written < 0 { Err(io::Error::last_os_error()) } else { Ok(()) };
    // SAFETY: opened above and used by nobody else.
    unsafe { libc::close(fd) };
    result
}

/// A socket that the standard library does not make; closed on exec.
pub(super) fn socket(domain: libc::c_int, kind: libc::c_int, protocol: libc::c_int) -> io::Result<OwnedFd> {
    // SAFETY: socket takes integers only.
    let fd = check(unsafe { libc::socket(domain, kind | libc::SOCK_CLOEXEC, protocol) })?;
    // SAFETY: the descriptor is new and has no other owner.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// setsockopt(2) with the bytes of the value.
pub(super) fn set_option(
    socket: impl AsFd,
    level: libc::c_int,
    option: libc::c_int,
    value: &[u8],
) -> io::Result<()> {
    let fd = socket.as_fd().as_raw_fd();
    let len = value.len() as libc::socklen_t;
    // SAFETY: pointer and length are those of one slice, which outlives the call.
    check(unsafe { libc::setsockopt(fd, level, option, value.as_ptr().cast(), len) }).map(drop)
}

/// getsockopt(2) of an integer.
pub(super) fn get_option(
    socket: impl AsFd,
    level: libc::c_int,
    option: libc::c_int,
) -> io::Result<libc::c_int> {
    let fd = socket.as_fd().as_raw_fd();
    let (mut value, mut len): (libc::c_int, _) = (0, size_of::<libc::c_int>() as libc::socklen_t);
    // SAFETY: the kernel writes at most `len` bytes, which is the size of `value`.
    check(unsafe { libc::getsockopt(fd, level, option, (&raw mut value).cast(), &mut len) })?;
    Ok(value)
}

/// bind(2) to the address whose bytes these are.
pub(super) fn bind(socket: impl AsFd, address: &[u8]) -> io::Result<()> {
    let len = address.len() as libc::socklen_t;
    // SAFETY: pointer and length are those of one slice, which outlives the call; the kernel checks what it holds.
    check(unsafe { libc::bind(socket.as_fd().as_raw_fd(), address.as_ptr().cast(), len) }).map(drop)
}

/// The number of a device in the calling thread's namespace.
pub(super) fn device_index(name: &str) -> io::Result<u32> {
    let name = CString::new(name)?;
    // SAFETY: the name ends with a zero byte and outlives the call.
    match unsafe { libc::if_nametoindex(name.as_ptr()) } {
        0 => Err(io::Error::last_os_error()),
        index => Ok(index),
    }
}

/// Waits until the socket can be read or has an error, at most `timeout`; `false` if neither. What it was may be gone
/// when it is looked for: read with [`receive`], which does not wait for more.
pub(super) fn readable(socket: impl AsFd, timeout: Duration) -> io::Result<bool> {
    let mut wait = libc::pollfd { fd: socket.as_fd().as_raw_fd(), events: libc::POLLIN, revents: 0 };
    // Rounded up: a wait that ends a little early would turn into a busy one.
    let millis = timeout.as_nanos().div_ceil(1_000_000).min(i32::MAX as u128) as libc::c_int;
    // SAFETY: one pollfd, which outlives the call.
    match check(unsafe { libc::poll(&mut wait, 1, millis) }) {
        Err(e) if e.kind() == io::ErrorKind::Interrupted => Ok(false),
        result => result.map(|n| n > 0),
    }
}

/// One message, if there is one; its length. Never blocks.
pub(super) fn receive(socket: impl AsFd, data: &mut [u8]) -> io::Result<usize> {
    receive_message(socket, 0, data, &mut []).map(|(length, _)| length)
}

/// One message with its control data: the lengths of both. Never blocks.
pub(super) fn receive_message(
    socket: impl AsFd,
    flags: libc::c_int,
    data: &mut [u8],
    control: &mut [u64],
) -> io::Result<(usize, usize)> {
    let mut part = libc::iovec { iov_base: data.as_mut_ptr().cast(), iov_len: data.len() };
    // SAFETY: all zeros is a valid msghdr.
    let mut message: libc::msghdr = unsafe { mem::zeroed() };
    message.msg_iov = &mut part;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    message.msg_controllen = size_of_val(control);
    // SAFETY: the two buffers are exclusively ours, with their true lengths, and outlive the call.
    let n = unsafe { libc::recvmsg(socket.as_fd().as_raw_fd(), &mut message, flags | libc::MSG_DONTWAIT) };
    match usize::try_from(n) {
        Ok(n) => Ok((n, message.msg_controllen)),
        Err(_) => Err(io::Error::last_os_error()),
    }
}

/// One `ethtool -K` switch of a device in the calling thread's namespace.
pub(super) fn ethtool_set(device: &str, command: u32, value: u32) -> io::Result<()> {
    #[repr(C)]
    struct EthtoolValue {
        command: u32,
        data: u32,
    }
    let any = socket(libc::AF_INET, libc::SOCK_DGRAM, 0)?;
    let mut value = EthtoolValue { command, data: value };
    // SAFETY: all zeros is a valid ifreq.
    let mut request: libc::ifreq = unsafe { mem::zeroed() };
    if device.len() >= request.ifr_name.len() {
        return Err(io::Error::from_raw_os_error(libc::ENODEV));
    }
    for (to, from) in request.ifr_name.iter_mut().zip(device.bytes()) {
        *to = from as libc::c_char;
    }
    request.ifr_ifru.ifru_data = (&raw mut value).cast();
    // SAFETY: for these commands the kernel reads and writes one ethtool_value through the pointer; both
    // structures outlive the call.
    check(unsafe { libc::ioctl(any.as_raw_fd(), libc::SIOCETHTOOL as _, &mut request) }).map(drop)
}

/// Sends a signal to a child of ours that has not been waited for.
pub(super) fn signal(child: &Child, signal: libc::c_int) -> io::Result<()> {
    let pid = libc::pid_t::try_from(child.id()).map_err(io::Error::other)?;
    // SAFETY: kill takes integers only; the id is that of the child until it is waited for.
    check(unsafe { libc::kill(pid, signal) }).map(drop)
}

/// The signal that takes a thread out of a system call. It is caught and does nothing else.
fn nudge_signal() -> libc::c_int {
    // A real-time signal: nobody else's, and no default action of the system's is lost.
    libc::SIGRTMIN() + 5
}

/// Has [`nudge`] end system calls, not the process. Once is enough.
pub(super) fn allow_nudges() -> io::Result<()> {
    static NUDGED: std::sync::OnceLock<Arc<std::sync::atomic::AtomicBool>> = std::sync::OnceLock::new();
    if NUDGED.get().is_none() {
        signal_hook::flag::register(nudge_signal(), Arc::clone(NUDGED.get_or_init(Arc::default)))?;
    }
    Ok(())
}

/// Takes a thread out of the system call it is in, if it is in one; after [`allow_nudges`] only.
pub(super) fn nudge<T>(thread: &thread::JoinHandle<T>) {
    use std::os::unix::thread::JoinHandleExt as _;
    // SAFETY: the thread is not joined or detached as long as its handle is borrowed, so that the id is good. It fails
    // only if the thread has ended, and then there is no call to end.
    unsafe { libc::pthread_kill(thread.as_pthread_t(), nudge_signal()) };
}

/// CPU time that a process has used, all its threads together, to the nanosecond.
pub(super) fn process_cpu_time(pid: u32) -> io::Result<Duration> {
    let mut clock = 0;
    let pid = libc::pid_t::try_from(pid).map_err(io::Error::other)?;
    // SAFETY: the kernel's name for the clock is written to a variable on this stack; a process that isn't there is refused.
    match unsafe { libc::clock_getcpuclockid(pid, &raw mut clock) } {
        0 => read_clock(clock),
        errno => Err(io::Error::from_raw_os_error(errno)),
    }
}

/// CPU time that a thread of ours has used.
pub(super) fn thread_cpu_time<T>(thread: &thread::JoinHandle<T>) -> io::Result<Duration> {
    use std::os::unix::thread::JoinHandleExt as _;
    let mut clock = 0;
    // SAFETY: the thread is not joined or detached as long as its handle is borrowed, so that the id is good; the clock's
    // name is written to a variable on this stack.
    match unsafe { libc::pthread_getcpuclockid(thread.as_pthread_t(), &raw mut clock) } {
        0 => read_clock(clock),
        errno => Err(io::Error::from_raw_os_error(errno)),
    }
}

fn read_clock(clock: libc::clockid_t) -> io::Result<Duration> {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the time is written to a variable on this stack; a clock that isn't there is refused.
    check(unsafe { libc::clock_gettime(clock, &raw mut time) })?;
    Ok(Duration::new(time.tv_sec.cast_unsigned(), time.tv_nsec as u32))
}

/// Keeps the calling thread on one CPU.
pub(super) fn pin(cpu: usize) -> io::Result<()> {
    // SAFETY: a cpu_set_t is an array of integers; all zeros is a valid one.
    let mut set: libc::cpu_set_t = unsafe { mem::zeroed() };
    if cpu >= 8 * size_of_val(&set) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    // SAFETY: the number is within the set, as checked.
    unsafe { libc::CPU_SET(cpu, &mut set) };
    // SAFETY: the set lives on this stack and is as long as said; 0 is the calling thread.
    check(unsafe { libc::sched_setaffinity(0, size_of_val(&set), &raw const set) }).map(drop)
}

/// Has the calling thread's sleeps end when they should, not up to 50 µs later: prctl(2), `PR_SET_TIMERSLACK`.
pub(super) fn sleep_exactly() -> io::Result<()> {
    // SAFETY: the option takes integers only.
    check(unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 1_usize, 0_usize, 0_usize, 0_usize) }).map(drop)
}

/// What a packet socket has seen since this was last asked, kept or not, behind its filter: packet(7), `PACKET_STATISTICS`.
pub(super) fn packets_seen(socket: impl AsFd) -> io::Result<u32> {
    let mut stats = libc::tpacket_stats { tp_packets: 0, tp_drops: 0 };
    let mut len = size_of_val(&stats) as libc::socklen_t;
    let fd = socket.as_fd().as_raw_fd();
    // SAFETY: the kernel writes at most `len` bytes, which is the size of `stats`.
    check(unsafe {
        libc::getsockopt(fd, libc::SOL_PACKET, libc::PACKET_STATISTICS, (&raw mut stats).cast(), &mut len)
    })?;
    Ok(stats.tp_packets)
}

fn set_netns(fd: RawFd) -> io::Result<()> {
    // SAFETY: setns takes no pointers; a descriptor of another kind is refused by the kernel.
    check(unsafe { libc::setns(fd, libc::CLONE_NEWNET) }).map(drop)
}

fn loopback_up() -> Result<(), NetlinkError> {
    let mut netlink = Netlink::open()?;
    let index = netlink.link_index("lo")?;
    netlink.set_up(index)
}

fn own_namespace() -> io::Result<OwnedFd> {
    // /proc/self would be that of the process's first thread.
    File::open("/proc/thread-self/ns/net").map(OwnedFd::from)
}

fn on_thread<T: Send>(f: impl FnOnce() -> T + Send) -> T {
    thread::scope(|s| match s.spawn(f).join() {
        Ok(value) => value,
        Err(panicked) => panic::resume_unwind(panicked),
    })
}

fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::isolate;
    use std::net::UdpSocket;

    fn inode() -> u64 {
        use std::os::unix::fs::MetadataExt as _;
        std::fs::metadata("/proc/thread-self/ns/net").unwrap().ino()
    }

    #[test]
    fn threads_go_in_and_come_back() {
        isolate::test(|| {
            let (a, b) = (Netns::new("a").unwrap(), Netns::new("b").unwrap());
            let outside = inode();
            let (in_a, in_b) = (a.run(inode), b.run(inode));
            assert!(in_a != in_b && in_a != outside && in_b != outside);
            assert_eq!(a.spawn(inode).join().unwrap(), in_a);
            {
                let _a = a.enter().unwrap();
                assert_eq!(inode(), in_a);
                let _b = b.enter().unwrap();
                assert_eq!(inode(), in_b);
            }
            assert_eq!(inode(), outside);
            let _a = a.enter().unwrap();
            assert_eq!(Netns::current().unwrap().run(inode), in_a);
        });
    }

    #[test]
    fn a_panic_inside_goes_on_outside() {
        isolate::test(|| {
            let ns = Netns::new("a").unwrap();
            let caught = panic::catch_unwind(|| ns.run(|| panic!("inside")));
            assert_eq!(*caught.unwrap_err().downcast::<&str>().unwrap(), "inside");
        });
    }

    #[test]
    fn commands_run_inside() {
        isolate::test(|| {
            let ns = Netns::new("a").unwrap();
            let mut cat = Command::new("cat");
            cat.arg("/proc/self/net/dev");
            let out = ns.command(&mut cat).output().unwrap();
            let text = String::from_utf8(out.stdout).unwrap();
            assert_eq!(text.lines().skip(2).count(), 1, "{text}");
            // The same port can be taken in each: they are not one network.
            let here = UdpSocket::bind("0.0.0.0:4242").unwrap();
            assert!(ns.run(|| UdpSocket::bind("0.0.0.0:4242").is_ok()));
            drop(here);
        });
    }
}
