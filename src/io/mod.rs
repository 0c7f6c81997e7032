//! Devices: how frames come in and go out, and every syscall that takes.
//!
//! Knows nothing of routes, neighbors or rules.

pub mod fault;
pub mod guard;
pub mod memory;
pub mod netlink;
pub mod pcap;
pub mod port;
pub mod sys;

pub use port::{Port, Sent, Status};
