//! Sekisho: a userspace router for Linux.
//!
//! One process opens tun, tap and AF_PACKET links and *is* the router: its own routing table,
//! ARP/NDP cache, five hooks with iptables' rules, conntrack, NAT and local host stack. This file is the map.
//!
//! ```text
//! port.rx ─► ingress ─► PREROUTING ─► route ─┬─► (TTL, MTU) ─► FORWARD ─┐
//!   batch     parse    conntrack    is it    │                          ├─► POSTROUTING ─► neighbor ─► egress ─► port.tx
//!             once     dnat         ours?    └─► INPUT ─► deliver       │   snat             MAC       L2 header   batch
//!                                                          │            │
//!                                           deliver ─► OUTPUT ─► route ─┘
//!                                           ICMP replies and errors, host stack, services
//! ```
//!
//! # Layers: imports point downward only
//!
//! ```text
//! cli        arguments in, text or JSON out
//! edge       io · run · control · config · lab      fds, threads, clock, syscalls, unsafe
//! state      router (owns all tables) · host (smoltcp local stack)
//! path       the order of the stages
//! tables     fib · neighbor · reassembly · filter · conntrack     siblings never import each other
//! link       what a link is: name, kind, addresses
//! bytes      wire (header views, checksums) · packet (buffers, metadata)
//! base       addresses, ids, time, drop reasons, counters
//! ```
//!
//! `tests/layers.rs` reads the `use` lines and fails on an upward or sibling edge.
//!
//! # Invariants
//!
//! 1. **Time is an argument.** Nothing below the edge asks what time it is. Tests own the clock.
//! 2. **Sans-IO.** Everything from `base` to `host` takes bytes and gives bytes: the whole router
//!    runs in a unit test with no root, no socket, no sleep.
//! 3. **Every stage gives a verdict, every drop has a name.** For the packets that came in and for
//!    those made here, each: `in = sent + delivered + parked + Σ drops by reason`, exactly, at any
//!    moment the workers are idle.
//! 4. **One definition of behaviour.** The walk in [`path`] decides; whatever is faster replays it.
//! 5. **Configuration is a transaction.** A new snapshot is built aside and swapped in; no packet
//!    sees half of it; a bad change changes nothing.
//! 6. **Everything is bounded.** Each table, queue and buffer has a capacity, a rule for what
//!    happens when it is full, and a counter that says it happened.
//! 7. **A packet is parsed once**, into offsets in its metadata; in-place rewriting afterwards.
//! 8. **No allocation, lock wait, syscall per packet or log line on the established path.**
//! 9. **Unsafe lives in `io/sys`** and in the lab's `netns`, each block with its SAFETY line.
//! 10. **Offload state travels with the packet**: partial checksums and GSO super-frames are carried
//!     through, and only split or finished where the egress can't take them.

pub mod base;
pub mod packet;
pub mod wire;

pub mod conntrack;
pub mod fib;
pub mod filter;
pub mod link;
pub mod neighbor;
pub mod reassembly;

pub mod path;

pub mod host;
pub mod router;

pub mod config;
pub mod control;
pub mod io;
pub mod lab;
pub mod run;

pub mod cli;
