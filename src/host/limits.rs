//! Every bound of the local stack, and what happens there.

use std::time::Duration;

/// TCP connections at once, half-open ones included, over all ports. When a SYN finds the table full, what gives way is,
/// in this order: one that is closing already, the oldest half-open one, the one that has stood
/// still longest if that is at least [`YIELD`]; otherwise the SYN is dropped, as by a Linux listener whose
/// accept queue is full.
pub const CONNECTIONS: usize = 128;

/// Half-open connections at once. One more SYN takes the place of the oldest, without a word to its sender.
pub const HALF_OPEN: usize = 64;

/// Bytes of each TCP buffer: the receive window offered, and what waits to be sent or acknowledged.
/// All connections together hold at most 64 MiB, and memory that no data reached is not touched.
pub const BUFFER: usize = 256 * 1024;

/// How long a half-open connection waits for its last ACK: five repeats of the SYN-ACK with
/// doubling pauses (`net.ipv4.tcp_synack_retries`).
pub const SYN_RECEIVED: Duration = Duration::from_secs(63);

/// A full table may close a connection on which no byte has moved for this long.
pub const YIELD: Duration = Duration::from_secs(10);

/// A connection on which no byte has moved for this long is reset, full table or not: also the one whose
/// peer answers every probe and never opens its window.
pub const IDLE: Duration = Duration::from_secs(900);

/// A silent peer is asked whether it is still there this often (RFC 9293 §3.8.4).
pub const KEEP_ALIVE: Duration = Duration::from_secs(60);

/// A peer that has not answered anything for this long is given up.
pub const SILENT: Duration = Duration::from_secs(180);

/// The longest IPv4 packet of ours before joining: what Ethernet carries. The path cuts it for less.
pub const MTU4: usize = 1500;

/// The longest IPv6 packet of ours before joining: the minimum MTU, since there is no path MTU
/// discovery (RFC 8200 §5).
pub const MTU6: usize = 1280;

/// Packets ready to be sent before new input is refused ([`HostQueueFull`](crate::base::DropReason::HostQueueFull)).
pub const QUEUE: usize = 4096;

/// Pieces of free storage kept of each size.
pub const POOL: usize = 64;

/// A datagram from a port below this is never echoed: what answers there might answer the echo, for ever
/// (RFC 862 leaves it open; inetd refuses the lower half of these).
pub const RESERVED_PORTS: u16 = 1024;

/// The TTL and hop limit of what is sent (`net.ipv4.ip_default_ttl`).
pub const TTL: u8 = 64;
