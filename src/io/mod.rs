//! Devices: how frames come in and go out, and every syscall that takes.
//!
//! [`open()`] gives the ports of a link, [`port`] says what can be relied on. Decorators ([`pcap`], [`fault`]) wrap any
//! port; [`memory`] needs no kernel. Knows nothing of routes, neighbors or rules.

mod af_packet;
mod af_xdp;
pub mod bpf;
mod complaint;
pub mod fault;
pub mod guard;
pub mod memory;
mod named;
pub mod netlink;
mod open;
pub mod pcap;
pub mod pcap_read;
pub mod pcapng;
pub mod port;
mod relief;
mod slot;
pub mod steer;
pub mod sys;
mod tun_tap;

pub use open::{DeviceSpec, OpenError, is_interface_name, look, open, open_now, prepare};
pub use port::{Port, Sent, Status};
