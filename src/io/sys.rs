//! Syscalls: every one that the standard library does not wrap, each behind a safe function.
//!
//! With the lab's namespace code this is the only room with `unsafe` in it. A function here does one
//! call and turns its result into `io::Result`; descriptors are owned. Knows nothing of packets.

// The room of the unsafe blocks: what is here exists to wrap them.
#![allow(unsafe_code)]

pub mod bpf;
mod iface;
mod local;
mod mmsg;
mod packet;
mod peer;
mod privileges;
mod ring;
mod tun;
mod xdp;

pub use iface::{
    Flags, enter_network, interface_flags, interface_index, interface_mtu, interface_name, put_together,
    puts_together, receive_queues, unshare_network,
};
pub use local::{bind_local, listen};
pub use mmsg::{Batch, Message, VlanTag};
pub use packet::{
    Membership, PacketOption, accept_all, add_membership, bind_packet, bound_interface, fanout_create,
    fanout_join, overruns, packet_socket, refuse_all, set_buffers, set_packet_option, set_udp_segment,
    take_error,
};
pub use peer::{Peer, effective_user, in_group, peer_of};
pub use privileges::{become_user, filter_system_calls, no_new_privileges, not_dumpable};
pub use ring::{Held, RxRing, TxRing, Whereabouts};
pub use tun::{
    TunFlags, offload, own_tun, tun_attach, tun_group, tun_name, tun_offload, tun_owner, tun_persist,
    tun_steer, tun_vnet_header,
};
pub use xdp::{Pushed, XdpLayout, XdpSocket};

use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

/// A counter that can be waited on: readable while it is not zero, which a write makes it.
pub fn event() -> io::Result<OwnedFd> {
    // SAFETY: eventfd touches no memory and gives a new descriptor, or -1.
    let fd = checked(unsafe { libc::eventfd(0, libc::EFD_NONBLOCK | libc::EFD_CLOEXEC) })?;
    // SAFETY: the descriptor was made just now and nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Makes an [`event`] readable.
pub fn signal(event: &OwnedFd) {
    let one = 1u64.to_ne_bytes();
    // SAFETY: write reads eight bytes of an array that lives on this stack. It fails only if the
    // counter is at its end, and then it is readable already.
    unsafe { libc::write(event.as_raw_fd(), one.as_ptr().cast(), one.len()) };
}

/// Something to wait on: readable while one of the descriptors is. It knows them as long as they are open.
pub fn wait_for_any(descriptors: &[impl AsFd]) -> io::Result<OwnedFd> {
    // SAFETY: epoll_create1 touches no memory and gives a new descriptor, or -1.
    let fd = checked(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })?;
    // SAFETY: the descriptor was made just now and nobody else owns it.
    let all = unsafe { OwnedFd::from_raw_fd(fd) };
    for one in descriptors {
        let mut event = libc::epoll_event { events: libc::EPOLLIN.cast_unsigned(), u64: 0 };
        let fd = one.as_fd().as_raw_fd();
        // SAFETY: epoll_ctl reads the event, which lives on this stack.
        checked(unsafe { libc::epoll_ctl(all.as_raw_fd(), libc::EPOLL_CTL_ADD, fd, &raw mut event) })?;
    }
    Ok(all)
}

/// The running kernel's version, major and minor; 0.0 where it can't be read.
pub fn kernel_version() -> (u32, u32) {
    // SAFETY: a utsname is arrays of integers; all zeros is a valid one.
    let mut name: libc::utsname = unsafe { std::mem::zeroed() };
    // SAFETY: uname fills the structure, which lives on this stack.
    if unsafe { libc::uname(&raw mut name) } < 0 {
        return (0, 0);
    }
    let release: Vec<u8> = name.release.iter().map(|c| c.cast_unsigned()).take_while(|c| *c != 0).collect();
    version(&String::from_utf8_lossy(&release))
}

fn version(release: &str) -> (u32, u32) {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|n| n.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

/// Gives the result of a syscall, or the error it left in `errno`.
fn checked(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn release_texts() {
        assert_eq!(version("6.18.44-fc-v595"), (6, 18));
        assert_eq!(version("5.10"), (5, 10));
        assert_eq!(version(""), (0, 0));
        assert!(kernel_version() > (3, 0));
    }
}
