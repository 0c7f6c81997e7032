//! smoltcp's device: one packet in at a time, packets out into a queue, joined where they continue
//! each other.
//!
//! ```text
//!  smoltcp emits   │IP│TCP seq 0│1460│ │IP│TCP seq 1460│1460│ │IP│TCP seq 2920│700│
//!  leaves as       │IP│TCP seq 0│1460  1460  700│          gso: size 1460
//! ```

use smoltcp::phy::{Checksum, ChecksumCapabilities, Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::time::Instant;

use crate::base::{Column, LinkId};
use crate::packet::{Gso, GsoKind, MAX_L3, Meta, Net, Offload, Packet, Pool};
use crate::wire::ipv4::{self, Ipv4};
use crate::wire::ipv6::{self, Ipv6};
use crate::wire::proto::{TCP, UDP};
use crate::wire::tcp::{self, Tcp};
use crate::wire::udp;

use super::frame::{self, Ends};
use super::limits::{MTU4, MTU6};

/// The device of one connection for the time of one call: what it is given, and where its packets go.
pub(super) struct Line<'a> {
    incoming: Option<&'a [u8]>,
    ipv4: bool,
    out: Option<&'a mut Outgoing>,
}

impl<'a> Line<'a> {
    /// A device that will deliver `incoming` (from its plain IP header on), if any, once.
    pub(super) fn new(incoming: Option<&'a [u8]>, ipv4: bool, out: &'a mut Outgoing) -> Self {
        out.joint = None;
        Line { incoming, ipv4, out: Some(out) }
    }

    /// A device that leads nowhere, to make an interface for.
    pub(super) fn idle(ipv4: bool) -> Self {
        Line { incoming: None, ipv4, out: None }
    }
}

impl Device for Line<'_> {
    type RxToken<'b>
        = Incoming<'b>
    where
        Self: 'b;
    type TxToken<'b>
        = &'b mut Outgoing
    where
        Self: 'b;

    fn receive(&mut self, _: Instant) -> Option<(Self::RxToken<'_>, Self::TxToken<'_>)> {
        Some((Incoming(self.incoming.take()?), self.out.as_deref_mut()?))
    }

    fn transmit(&mut self, _: Instant) -> Option<Self::TxToken<'_>> {
        self.out.as_deref_mut()
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut caps = DeviceCapabilities::default();
        caps.medium = Medium::Ip;
        caps.max_transmission_unit = if self.ipv4 { MTU4 } else { MTU6 };
        // Verified before, finished after.
        caps.checksum = ChecksumCapabilities::ignored();
        caps.checksum.tcp = Checksum::None;
        caps
    }
}

/// A packet on its way into smoltcp.
pub(super) struct Incoming<'a>(&'a [u8]);

impl RxToken for Incoming<'_> {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(self.0)
    }
}

impl TxToken for &mut Outgoing {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        let mut scratch = std::mem::take(&mut self.scratch);
        scratch.clear();
        scratch.resize(len, 0);
        let result = f(&mut scratch);
        self.segment(&scratch);
        self.scratch = scratch;
        result
    }
}

/// What waits to be sent. Packets are complete but for their IP header's length and
/// identification and the checksums, which [`Outgoing::drain`] sees to.
pub(super) struct Outgoing {
    queue: Vec<Packet>,
    joint: Option<Joint>,
    pool: Pool,
    idents: Idents,
    scratch: Vec<u8>,
}

/// How the last packet of the queue may be continued.
struct Joint {
    next_seq: u32,
    size: u16,
}

impl Outgoing {
    pub(super) fn new(pool: Pool, seed: u64) -> Self {
        Outgoing { queue: Vec::new(), joint: None, pool, idents: Idents::new(seed), scratch: Vec::new() }
    }

    /// How many packets wait.
    pub(super) fn len(&self) -> usize {
        self.queue.len()
    }

    /// Takes storage back.
    pub(super) fn recycle(&mut self, packet: Packet) {
        self.pool.put(packet);
    }

    /// Queues a packet whose L4 is done, whose L3 starts the data, and which goes between these ends.
    pub(super) fn send(&mut self, mut packet: Packet, ends: Ends) {
        self.joint = None;
        packet.meta = Meta {
            ingress: LinkId::LO,
            column: Column::Originated,
            net: packet.meta.net,
            l4: packet.meta.l4,
            proto: packet.meta.proto,
            offload: packet.meta.offload,
            ..Meta::default()
        };
        frame::write(&mut packet, &ends, 0);
        self.queue.push(packet);
    }

    /// Queues a TCP segment that stands for itself.
    pub(super) fn segment_to(&mut self, ends: Ends, segment: &[u8]) {
        let header = ends.header_len();
        let mut packet = self.pool.sized(header + segment.len());
        if packet.append(&[0; ipv6::HEADER_LEN][..header]) && packet.append(segment) {
            packet.meta.net = if ends.src.is_ipv4() { Net::Ipv4 } else { Net::Ipv6 };
            packet.meta.l4 = header as u16;
            packet.meta.proto = TCP;
            self.send(packet, ends);
        }
    }

    /// Finishes what waits and hands it over.
    pub(super) fn drain(&mut self, out: &mut Vec<Packet>) {
        self.joint = None;
        for packet in &mut self.queue {
            seal(packet, &mut self.idents);
        }
        out.append(&mut self.queue);
    }

    /// Lends the scratch buffer.
    pub(super) fn with_scratch<R>(&mut self, f: impl FnOnce(&mut Vec<u8>) -> R) -> R {
        f(&mut self.scratch)
    }

    /// Queues a segment as smoltcp wrote it: as the continuation of the one before, or by itself.
    fn segment(&mut self, bytes: &[u8]) {
        let (net, l4) = match bytes.first().map(|b| b >> 4) {
            Some(4) => (Net::Ipv4, ipv4::HEADER_LEN),
            Some(6) => (Net::Ipv6, ipv6::HEADER_LEN),
            _ => return,
        };
        let Some(tcp) = bytes.get(l4..).and_then(Tcp::new) else { return };
        let payload = bytes.get(l4 + tcp.header_len()..).unwrap_or_default();
        if self.join(&tcp, payload) {
            return;
        }
        // A full segment is seldom the last: room for those that follow.
        let full = bytes.len() >= MTU6.min(MTU4);
        let mut packet = if full { self.pool.large() } else { self.pool.sized(bytes.len()) };
        if !packet.append(bytes) {
            return;
        }
        packet.meta = Meta {
            ingress: LinkId::LO,
            column: Column::Originated,
            net,
            l4: l4 as u16,
            proto: TCP,
            ..Meta::default()
        };
        self.queue.push(packet);
        self.joint = joinable(tcp.flags()).then(|| joint(&tcp, payload)).flatten();
    }

    /// Appends a segment to the one before if that is what it continues: same acknowledgment and window, no
    /// options, next in sequence, not longer (as the kernel's GRO joins them).
    fn join(&mut self, tcp: &Tcp<&[u8]>, payload: &[u8]) -> bool {
        let Some(joint) = &mut self.joint else { return false };
        let Some(head) = self.queue.last_mut() else { return false };
        let fits = head.l3_len() + payload.len() <= MAX_L3 && head.tailroom() >= payload.len();
        let follows = tcp.seq() == joint.next_seq
            && tcp.header_len() == tcp::HEADER_LEN
            && !payload.is_empty()
            && payload.len() <= usize::from(joint.size)
            && tcp.flags() & !(tcp::PSH | tcp::FIN) == tcp::ACK;
        let same = Tcp::new(head.l4()).is_some_and(|h| h.ack() == tcp.ack() && h.window() == tcp.window());
        if !(fits && follows && same && head.append(payload)) {
            return false;
        }
        let size = joint.size;
        let kind = if head.meta.net == Net::Ipv4 { GsoKind::Tcp4 } else { GsoKind::Tcp6 };
        head.meta.offload = Offload { gso: Some(Gso { kind, size, ecn: false }), ..head.meta.offload };
        if let Some(mut h) = Tcp::new(head.l4_mut()) {
            let flags = h.flags() | tcp.flags();
            h.set_flags(flags);
        }
        joint.next_seq = joint.next_seq.wrapping_add(payload.len() as u32);
        if payload.len() < usize::from(size) || tcp.flags() & (tcp::PSH | tcp::FIN) != 0 {
            self.joint = None;
        }
        true
    }
}

/// Whether a segment with these flags may be followed by more in one super-frame.
fn joinable(flags: u8) -> bool {
    flags == tcp::ACK
}

/// How this segment may be continued.
fn joint(tcp: &Tcp<&[u8]>, payload: &[u8]) -> Option<Joint> {
    let size = u16::try_from(payload.len()).ok().filter(|s| *s > 0)?;
    let plain = tcp.header_len() == tcp::HEADER_LEN;
    plain.then(|| Joint { next_seq: tcp.seq().wrapping_add(u32::from(size)), size })
}

/// Writes what depends on the whole packet: the IP header with its length and identification, and the sum of the
/// pseudo-header.
fn seal(packet: &mut Packet, idents: &mut Idents) {
    let ends = match packet.meta.net {
        Net::Ipv4 => Ipv4::new(packet.l3()).map(|ip| Ends { src: ip.src().into(), dst: ip.dst().into() }),
        _ => Ipv6::new(packet.l3()).map(|ip| Ends { src: ip.src().into(), dst: ip.dst().into() }),
    };
    let Some(ends) = ends else { return };
    let segments = match packet.meta.offload.gso {
        Some(gso) => packet.l4().len().div_ceil(usize::from(gso.size.max(1))),
        None => 1,
    };
    let ident = if ends.src.is_ipv4() { idents.take(&ends, segments) } else { 0 };
    frame::write(packet, &ends, ident);
    let field = if packet.meta.proto == UDP { udp::CHECKSUM_AT } else { tcp::CHECKSUM_AT };
    frame::leave_checksum(packet, &ends, field);
}

/// Identifications of IPv4 packets: a counter for each of many pairs of addresses, chosen and started by a
/// keyed hash, so that fragments of different packets are told apart (RFC 6864 §4.3) and the number tells
/// nobody how much is sent to others.
struct Idents {
    seed: u64,
    counters: Vec<u16>,
}

/// How many counters; a power of two. Linux has 2,048 or more (`ip_idents`).
const IDENTS: usize = 2_048;

impl Idents {
    fn new(seed: u64) -> Self {
        Idents { seed, counters: vec![0; IDENTS] }
    }

    /// The first of `n` identifications in a row.
    fn take(&mut self, ends: &Ends, n: usize) -> u16 {
        let hash = super::tcp::keyed(self.seed, ends);
        let counter = &mut self.counters[hash as usize % IDENTS];
        let first = counter.wrapping_add((hash >> 48) as u16);
        *counter = counter.wrapping_add(n as u16);
        first
    }
}

impl std::hash::Hash for Ends {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.src.hash(state);
        self.dst.hash(state);
    }
}
