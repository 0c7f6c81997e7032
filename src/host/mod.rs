//! The local stack: what this router says as a host, on every one of its addresses.
//!
//! ```text
//!                    ┌─ UDP ─► echoed in place, or swallowed ────────────────┐
//!  handle ─► plain ──┤                                                       ├─► queue ─► seal ─► poll
//!                    └─ TCP ─► flow table ─┬─ known ─► its own smoltcp ──────┤
//!                                          ├─ SYN to an open port ─► new one ┤
//!                                          └─ anything else ─► RST ──────────┘
//! ```
//!
//! The path hands over whole datagrams for an open UDP port and every TCP segment for this router; it has
//! answered ICMP and closed UDP ports by itself. What comes out of [`Host::poll`] starts at its IP header
//! and walks the output half of the path, which also cuts what is larger than the link takes.
//!
//! TCP is smoltcp's, on [`smoltcp::phy::Medium::Ip`] with "any IP": whether an address is ours the path
//! has decided, so the stack needs no addresses and no routes. Demultiplexing is ours: each connection
//! has an interface and a socket set to itself. smoltcp would look through all sockets for every packet, has
//! no backlog, and gives a repeated SYN to the next idle listener; a table of flows has none of that.
//!
//! # Choices
//!
//! - **No DF, no path MTU discovery.** smoltcp takes no notice of ICMP errors, so a segment with DF would vanish
//!   for good at a narrower link. IPv4 leaves with DF clear and an identification that differs; IPv6
//!   segments keep to 1,280 bytes (RFC 8200 §5 asks just that of nodes that do without discovery).
//! - **Checksums are left to the way out** ([`Csum::Partial`](crate::packet::Csum)), and segments of one
//!   flow leave joined as a super-frame: both are finished in software only where the egress can't.
//! - **No loops.** A datagram from a port below 1024 is not echoed: two echo services told of each
//!   other, or an echo and a chargen, would never stop. Nor is one that was sent to many (RFC 1122 §4.1.3).
//! - **Bounded.** See [`limits`]; when a table is full the least useful entry goes, by rule.
//!
//! Knows nothing of routes, links, threads or clocks.

mod device;
mod frame;
pub mod limits;
mod tcp;
mod udp;

#[cfg(test)]
mod tests;

use std::time::Duration;

use crate::base::{DropReason, Instant};
use crate::packet::{L2Kind, Packet, Pool};
use crate::wire::proto::{TCP, UDP};

use device::Outgoing;
use tcp::Connections;

/// `echo` over UDP and TCP (RFC 862).
pub const ECHO: u16 = 7;
/// `discard` over UDP and TCP (RFC 863).
pub const DISCARD: u16 = 9;

/// Which services the router offers, over UDP and TCP alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Services {
    /// Port 7: sends back what it gets.
    pub echo: bool,
    /// Port 9: swallows what it gets.
    pub discard: bool,
}

/// One service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Service {
    Echo,
    Discard,
}

impl Services {
    /// The open ports, the same for UDP and TCP. About a datagram to any other the path says "port unreachable"; a connection
    /// to any other is reset by the stack.
    pub fn ports(&self) -> Vec<u16> {
        [ECHO, DISCARD].into_iter().filter(|p| self.at(*p).is_some()).collect()
    }

    fn at(&self, port: u16) -> Option<Service> {
        match port {
            ECHO if self.echo => Some(Service::Echo),
            DISCARD if self.discard => Some(Service::Discard),
            _ => None,
        }
    }
}

/// What was done with a packet that was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Took {
    /// It was for a service or a connection, or there is nothing to be said to it.
    Kept,
    /// It was answered with a reset: nobody listens there.
    Reset,
}

/// The same, within.
enum Dealt {
    With(Took),
    /// The packet has become the answer.
    Answer(udp::Reply),
}

/// The local stack of one router. One thread owns it.
pub struct Host {
    services: Services,
    connections: Connections,
    out: Outgoing,
}

impl Host {
    /// A stack with these services. `seed` is secret and differs at every start: sequence numbers
    /// and identifications grow from it.
    pub fn new(services: Services, seed: u64) -> Self {
        Host {
            services,
            connections: Connections::new(seed),
            out: Outgoing::new(Pool::new(limits::POOL), seed),
        }
    }

    /// Offers these from now on. Connections to others go on until they end.
    pub fn set_services(&mut self, services: Services) {
        self.services = services;
    }

    /// The services it offers.
    pub fn services(&self) -> Services {
        self.services
    }

    /// How many TCP connections there are, half-open ones included.
    pub fn connections(&self) -> usize {
        self.connections.len()
    }

    /// Takes a packet for this router: whole, `meta.net`, `meta.l3`, `meta.l4` and `meta.proto` set. A super-frame
    /// is taken as it is; a checksum is verified unless it is partial or known to be right.
    ///
    /// # Errors
    /// The packet was not taken, and why; the storage is kept for use again.
    pub fn handle(&mut self, packet: Packet, now: Instant) -> Result<Took, DropReason> {
        self.offer(packet, now).map_err(|(reason, packet)| {
            self.out.recycle(packet);
            reason
        })
    }

    /// The same for who wants back what was not taken. It may begin with a plain IP header by then.
    ///
    /// # Errors
    /// The packet was not taken, and why.
    pub fn offer(&mut self, mut packet: Packet, now: Instant) -> Result<Took, (DropReason, Packet)> {
        if self.out.len() >= limits::QUEUE {
            return Err((DropReason::HostQueueFull, packet));
        }
        match self.take(&mut packet, now) {
            Ok(Dealt::Answer(reply)) => {
                self.out.send(packet, reply);
                Ok(Took::Kept)
            }
            Ok(Dealt::With(took)) => {
                self.out.recycle(packet);
                Ok(took)
            }
            Err(reason) => Err((reason, packet)),
        }
    }

    /// Does what is due and appends the packets to be sent: from the IP header on, `meta.column`
    /// originated, `meta.ingress` the loopback.
    pub fn poll(&mut self, now: Instant, out: &mut Vec<Packet>) {
        self.connections.poll(now, &mut self.out);
        self.out.drain(out);
    }

    /// When [`Host::poll`] has something to do next if nothing arrives; `None`: never.
    pub fn poll_timeout(&self, now: Instant) -> Option<Instant> {
        if self.out.len() > 0 { Some(now) } else { self.connections.poll_timeout() }
    }

    /// Deals with one packet.
    fn take(&mut self, packet: &mut Packet, now: Instant) -> Result<Dealt, DropReason> {
        let ends = frame::plain(packet)?;
        if packet.meta.l2 != L2Kind::Host || !ends.is_unicast() {
            return Err(DropReason::HostRefused);
        }
        match packet.meta.proto {
            UDP => {
                let reply = udp::receive(&self.services, packet, &ends)?;
                Ok(reply.map_or(Dealt::With(Took::Kept), Dealt::Answer))
            }
            TCP => {
                frame::verify(packet, &ends)?;
                let l3 = packet.l3();
                let took = self.connections.receive(&self.services, l3, &ends, now, &mut self.out)?;
                Ok(Dealt::With(took))
            }
            _ => Err(DropReason::NoProtocol),
        }
    }
}

/// smoltcp's clock for ours. Whole microseconds, rounded down.
fn clock(now: Instant) -> smoltcp::time::Instant {
    smoltcp::time::Instant::from_micros(i64::try_from(now.as_nanos() / 1_000).unwrap_or(i64::MAX))
}

/// Our clock for smoltcp's.
fn moment(at: smoltcp::time::Instant) -> Instant {
    Instant::ZERO + Duration::from_micros(u64::try_from(at.total_micros()).unwrap_or(0))
}

/// smoltcp's duration for ours.
fn span(d: Duration) -> smoltcp::time::Duration {
    smoltcp::time::Duration::from_micros(u64::try_from(d.as_micros()).unwrap_or(u64::MAX))
}
