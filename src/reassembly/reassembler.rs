//! The reassembler: which fragment belongs to which datagram, how long that is waited for, and how
//! much memory it may take.

use std::collections::{BTreeMap, HashMap};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::datagram::{Datagram, Fit, Piece};
use super::join::{Whole, join4, join6};
use super::{Config, Done, Tell};
use crate::base::{DropReason, Instant, LinkId};
use crate::packet::{Frag, Net, Packet, Pool};
use crate::wire::ipv4::{self, Ipv4};
use crate::wire::ipv6::{self, Ipv6};
use crate::wire::ipv6_ext::{self, FragHeader};

/// All incomplete datagrams, shared by all workers. One lock for each family: this is off the fast path.
#[derive(Debug)]
pub struct Reassembler {
    config: Config,
    halves: [Mutex<Half>; 2],
    /// The earliest deadline of each half, in nanoseconds.
    wake: [AtomicU64; 2],
}

impl Reassembler {
    /// An empty reassembler.
    pub fn new(config: Config) -> Self {
        let halves = [config.high4, config.high6].map(|high| Mutex::new(Half::new(high)));
        Reassembler { config, halves, wake: std::array::from_fn(|_| AtomicU64::new(u64::MAX)) }
    }

    /// Another, in which copies of the same fragments wait.
    pub fn shadow(&self) -> Self {
        let halves = std::array::from_fn(|at| Mutex::new(self.half(at).clone()));
        let wake = self.wake.each_ref().map(|w| AtomicU64::new(w.load(Relaxed)));
        Reassembler { config: self.config.clone(), halves, wake }
    }

    /// Takes a packet addressed to the router: `meta.net` and `meta.l3` are set, the bytes are cut to
    /// the length the IP header states, and the header has been checked. What becomes of it, now or
    /// later, comes out by name; a packet that is no fragment comes out whole.
    pub fn push(&self, packet: Packet, now: Instant, out: &mut Vec<Done>) {
        let (at, parsed) = match packet.meta.net {
            Net::Ipv4 => (0, parse4(&packet)),
            Net::Ipv6 => (1, parse6(&packet)),
            Net::None | Net::Arp => (0, Parsed::Invalid(None)),
        };
        match parsed {
            Parsed::Whole => {
                let mut packet = packet;
                packet.meta.frag = Frag::Whole;
                out.push(Done::Whole { packet, absorbed: Vec::new(), followed: Vec::new() });
            }
            Parsed::Invalid(tell) => {
                out.push(Done::Dropped { packet, reason: DropReason::FragmentInvalid, tell });
            }
            Parsed::Fragment(key, piece) => {
                let (timeout, max_dist) = match key {
                    Key::V4 { .. } => (self.config.timeout4, self.config.max_dist),
                    Key::V6 { .. } => (self.config.timeout6, 0),
                };
                let mut half = self.half(at);
                half.push(key, &piece, packet, now, timeout, max_dist, out);
                self.wake[at].store(half.next().as_nanos(), Relaxed);
            }
        }
    }

    /// Gives up datagrams whose time is over.
    pub fn timeout(&self, now: Instant, out: &mut Vec<Done>) {
        for at in 0..2 {
            if now.as_nanos() < self.wake[at].load(Relaxed) {
                continue;
            }
            let mut half = self.half(at);
            while half.next() <= now {
                let tell = Some(Tell::ReassemblyTime);
                half.give_up_oldest(DropReason::FragmentTimeout, tell, out);
            }
            self.wake[at].store(half.next().as_nanos(), Relaxed);
        }
    }

    /// When [`Reassembler::timeout`] is to be called.
    pub fn poll_timeout(&self) -> Instant {
        let [v4, v6] = self.wake.each_ref().map(|w| w.load(Relaxed));
        Instant::from_nanos(v4.min(v6))
    }

    /// How many datagrams are incomplete.
    pub fn datagrams(&self) -> usize {
        (0..2).map(|at| self.half(at).waiting.len()).sum()
    }

    /// How much memory they take, in bytes.
    pub fn memory(&self) -> usize {
        (0..2).map(|at| self.half(at).memory).sum()
    }

    fn half(&self, at: usize) -> MutexGuard<'_, Half> {
        self.halves[at].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the fragments of one datagram share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Key {
    /// RFC 791 §3.2.
    V4 { src: Ipv4Addr, dst: Ipv4Addr, ident: u16, protocol: u8 },
    /// RFC 8200 §4.5. The link where the destination means something different on each.
    V6 { src: Ipv6Addr, dst: Ipv6Addr, ident: u32, link: Option<LinkId> },
}

enum Parsed {
    Whole,
    Fragment(Key, Piece),
    Invalid(Option<Tell>),
}

/// One family's datagrams.
#[derive(Debug, Clone)]
struct Half {
    /// Keyed with SipHash by a random key: the keys are chosen by strangers.
    waiting: HashMap<Key, Waiting>,
    /// The same by deadline; the oldest is first.
    order: BTreeMap<(Instant, u64), Key>,
    serial: u64,
    /// Sources with datagrams waiting: how many datagrams, how many fragments came (`inet_peer.rid`).
    sources: HashMap<Ipv4Addr, (usize, u32)>,
    memory: usize,
    high: usize,
}

#[derive(Debug, Clone)]
struct Waiting {
    datagram: Datagram,
    at: (Instant, u64),
    /// The number of the source's fragment that came last for it.
    rid: u32,
    memory: usize,
}

impl Half {
    fn new(high: usize) -> Self {
        Half {
            waiting: HashMap::new(),
            order: BTreeMap::new(),
            serial: 0,
            sources: HashMap::new(),
            memory: 0,
            high,
        }
    }

    fn next(&self) -> Instant {
        self.order.first_key_value().map_or(Instant::FAR_FUTURE, |((at, _), _)| *at)
    }

    #[allow(clippy::too_many_arguments)] // a private step of `push`, where they all come from
    fn push(
        &mut self,
        key: Key,
        piece: &Piece,
        packet: Packet,
        now: Instant,
        timeout: Duration,
        max_dist: u32,
        out: &mut Vec<Done>,
    ) {
        self.open(key, now + timeout);
        self.check_distance(key, now + timeout, max_dist, out);
        let (ingress, trace) = (packet.meta.ingress, packet.meta.trace);
        // A pool that keeps nothing: storage that large is better freed than kept waiting here.
        let packet = packet.compact(&mut Pool::new(0));
        let cost = packet.footprint() + FRAGMENT_COST;
        let Some(waiting) = self.waiting.get_mut(&key) else { return };
        match waiting.datagram.insert(packet, piece) {
            Ok(Fit::Complete) => {
                let Some(waiting) = self.close(key) else { return };
                let joined = match key {
                    Key::V4 { .. } => join4(waiting.datagram),
                    Key::V6 { .. } => join6(waiting.datagram),
                };
                match joined {
                    Ok(Whole { mut packet, absorbed, followed }) => {
                        packet.meta.ingress = ingress;
                        packet.meta.trace = trace.or(followed.first().copied());
                        out.push(Done::Whole { packet, absorbed, followed });
                    }
                    Err(packets) => drop_all(packets, DropReason::FragmentInvalid, out),
                }
            }
            Ok(_) => {
                waiting.memory += cost;
                self.memory += cost;
                while self.memory > self.high {
                    self.give_up_oldest(DropReason::FragmentTableFull, None, out);
                }
            }
            Err((Fit::Duplicate, packet)) => {
                out.push(Done::Dropped { packet, reason: DropReason::FragmentDuplicate, tell: None });
            }
            Err((fit, packet)) => {
                let reason = match fit {
                    Fit::Overlap => DropReason::FragmentOverlap,
                    _ => DropReason::FragmentInvalid,
                };
                if let Some(waiting) = self.close(key) {
                    drop_all(waiting.datagram.into_parts().map(|p| p.0), reason, out);
                }
                out.push(Done::Dropped { packet, reason, tell: None });
            }
        }
    }

    /// Sees to it that a datagram of this key is waiting.
    fn open(&mut self, key: Key, deadline: Instant) {
        if self.waiting.contains_key(&key) {
            return;
        }
        let at = (deadline, self.serial);
        self.serial += 1;
        self.order.insert(at, key);
        self.waiting
            .insert(key, Waiting { datagram: Datagram::default(), at, rid: 0, memory: DATAGRAM_COST });
        self.memory += DATAGRAM_COST;
        if let Key::V4 { src, .. } = key {
            self.sources.entry(src).or_default().0 += 1;
        }
    }

    /// Takes a datagram out.
    fn close(&mut self, key: Key) -> Option<Waiting> {
        let waiting = self.waiting.remove(&key)?;
        self.order.remove(&waiting.at);
        self.memory -= waiting.memory;
        if let Key::V4 { src, .. } = key
            && let Some(source) = self.sources.get_mut(&src)
        {
            source.0 -= 1;
            if source.0 == 0 {
                self.sources.remove(&src);
            }
        }
        Some(waiting)
    }

    /// Counts a fragment of a source, and starts its datagram anew if too many others came in between
    /// (`ip_frag_too_far`).
    fn check_distance(&mut self, key: Key, deadline: Instant, max_dist: u32, out: &mut Vec<Done>) {
        let Key::V4 { src, .. } = key else { return };
        let (Some(source), Some(waiting)) = (self.sources.get_mut(&src), self.waiting.get_mut(&key)) else {
            return;
        };
        source.1 = source.1.wrapping_add(1);
        let distance = source.1.wrapping_sub(waiting.rid);
        waiting.rid = source.1;
        if max_dist == 0 || waiting.datagram.is_empty() || distance <= max_dist {
            return;
        }
        let old = std::mem::take(&mut waiting.datagram);
        drop_all(old.into_parts().map(|p| p.0), DropReason::FragmentTimeout, out);
        self.memory -= waiting.memory - DATAGRAM_COST;
        waiting.memory = DATAGRAM_COST;
        self.order.remove(&waiting.at);
        waiting.at = (deadline, self.serial);
        self.serial += 1;
        self.order.insert(waiting.at, key);
    }

    fn give_up_oldest(&mut self, reason: DropReason, tell: Option<Tell>, out: &mut Vec<Done>) {
        let Some((_, key)) = self.order.first_key_value() else { return };
        let Some(waiting) = self.close(*key) else { return };
        // Only the first fragment can be quoted so that its sender knows it.
        let mut tell = tell.filter(|_| waiting.datagram.has_first());
        for (packet, _, _) in waiting.datagram.into_parts() {
            out.push(Done::Dropped { packet, reason, tell: tell.take() });
        }
    }
}

fn drop_all(packets: impl IntoIterator<Item = Packet>, reason: DropReason, out: &mut Vec<Done>) {
    out.extend(packets.into_iter().map(|packet| Done::Dropped { packet, reason, tell: None }));
}

/// Reads an IPv4 fragment.
fn parse4(packet: &Packet) -> Parsed {
    let l3 = packet.l3();
    let Some(ip) = Ipv4::new(l3) else { return Parsed::Invalid(None) };
    let (header, size) = (ip.header_len(), usize::from(ip.total_len()));
    if header < ipv4::HEADER_LEN || size < header || l3.len() < size {
        return Parsed::Invalid(None);
    }
    if !ip.is_fragment() {
        return Parsed::Whole;
    }
    let (start, more) = (ip.frag_offset(), ip.more_fragments());
    let mut end = start + (size - header);
    if more {
        // Linux takes the whole multiples of 8 of a fragment whose length is none (RFC 791 §3.2).
        end &= !7;
    }
    if header + end > MAX_DATAGRAM {
        return Parsed::Invalid(None);
    }
    let key = Key::V4 { src: ip.src(), dst: ip.dst(), ident: ip.ident(), protocol: ip.protocol() };
    let dont_fragment = ip.dont_fragment();
    let place = start..end;
    let size = header + (end - start);
    Parsed::Fragment(key, Piece { place, from: header, more, size, dont_fragment, ecn: ip.tos() & 3 })
}

/// Reads an IPv6 fragment.
fn parse6(packet: &Packet) -> Parsed {
    let l3 = packet.l3();
    let Some(ip) = Ipv6::new(l3) else { return Parsed::Invalid(None) };
    let size = ipv6::HEADER_LEN + usize::from(ip.payload_len());
    let Some(l3) = l3.get(..size) else { return Parsed::Invalid(None) };
    let Ok(chain) = ipv6_ext::walk(l3) else { return Parsed::Invalid(None) };
    let Some(frag) = chain.frag.filter(|f| !f.is_atomic()) else { return Parsed::Whole };
    let from = frag.at + FragHeader::LEN;
    let Some(len) = size.checked_sub(from) else { return Parsed::Invalid(None) };
    let (start, more) = (frag.offset, frag.more);
    let end = start + len;
    // The largest payload length, not counting what stays in front (ip6_frag_queue).
    if end > MAX_DATAGRAM {
        let pointer = frag.at as u32 + 2;
        return Parsed::Invalid(Some(Tell::ParameterProblem { pointer }));
    }
    if more && end % 8 != 0 {
        return Parsed::Invalid(Some(Tell::ParameterProblem { pointer: PAYLOAD_LEN_AT }));
    }
    let own_link = ip.dst().is_multicast() || ip.dst().is_unicast_link_local();
    let link = own_link.then_some(packet.meta.ingress);
    let key = Key::V6 { src: ip.src(), dst: ip.dst(), ident: frag.ident, link };
    let ecn = ip.traffic_class() & 3;
    Parsed::Fragment(key, Piece { place: start..end, from, more, size, dont_fragment: false, ecn })
}

/// The longest IPv4 packet, and the longest payload of an IPv6 packet: 16-bit length fields.
pub(super) const MAX_DATAGRAM: usize = 65_535;

/// Where the payload length is in the IPv6 header (RFC 8200 §3).
const PAYLOAD_LEN_AT: u32 = 4;

/// What a datagram takes besides its fragments: itself, and its places in the maps.
const DATAGRAM_COST: usize = size_of::<Waiting>() + 2 * size_of::<Key>() + 128;

/// What a fragment takes besides the packet: its place in the datagram.
const FRAGMENT_COST: usize = 64;
