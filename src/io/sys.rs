//! Syscalls: every one that the standard library does not wrap, each behind a safe function.
//!
//! With the lab's namespace code this is the only room with `unsafe` in it. A function here does one
//! call and turns its result into `io::Result`; descriptors are owned. Knows nothing of packets.

// The room of the unsafe blocks: what is here exists to wrap them.
#![allow(unsafe_code)]

mod iface;

pub use iface::{Flags, enter_network, interface_flags, interface_index, unshare_network};

use std::io;

/// Gives the result of a syscall, or the error it left in `errno`.
fn checked(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
