//! Headers on the wire: one protocol a file, each with its picture.
//!
//! A *view* such as [`Ipv4<B>`](ipv4::Ipv4) wraps any bytes: `new` only checks that the fixed header is
//! there, getters read, setters (over mutable bytes) write in place. What a view reads is what the
//! sender wrote, true or not; nothing here panics on it. Judging is the path's business.
//!
//! Knows of addresses, and nothing of packets' storage, links, tables or time.

pub mod arp;
mod bytes;
pub mod checksum;
pub mod describe;
pub mod ethernet;
pub mod icmp;
pub mod icmpv4;
pub mod icmpv6;
pub mod ipv4;
pub mod ipv4_options;
pub mod ipv6;
pub mod ipv6_ext;
pub mod ndp;
pub mod proto;
pub mod sctp;
pub mod tcp;
pub mod transport;
pub mod udp;
pub mod vlan;
pub mod words;

#[cfg(test)]
mod oracle;
