//! Making super-frames of segments that came in one batch, for devices that take them.
//!
//! ```text
//!  segments     │ L2 │ L3 │ L4 │  size  │   ident  0, seq 0
//!               │ L2 │ L3 │ L4 │  size  │   ident +1, seq +size
//!               │ L2 │ L3 │ L4 │ rest │     ident +2, seq +2·size; FIN, PSH
//!
//!  super-frame  │ L2 │ L3 │ L4 │  size  │  size  │ rest │    FIN, PSH; checksum begun
//! ```
//!
//! Only what [`segment`](super::segment()) would cut into the same bytes again: whoever sees the segments later can't tell
//! that they have been together. That is stricter than Linux's GRO where the identification of IPv4 stands still, and in two
//! values of checksums that mean the same as others. TCP alone: how many datagrams of UDP there were is for their reader
//! to know, and Linux leaves them alone when it forwards, too (`rx-udp-gro-forwarding`).
//!
//! Nothing waits: a run ends with its batch. A packet that does not fit its flow's run ends it, so that the packets of a
//! flow stay in order. Sums are verified first, for the super-frame's are made anew. Looks at frames that nobody has parsed,
//! and believes nothing in them; knows nothing of links.

use std::net::IpAddr;

use super::{Caps, Csum, Gso, GsoKind, MAX_L3, Offload, Packet, Pool};
use crate::wire::ipv4::Ipv4;
use crate::wire::ipv6::{self, Ipv6};
use crate::wire::tcp::{self, Tcp};
use crate::wire::{checksum, ethernet, proto, transport, vlan};

/// Flows that may have a run at a time (Linux `MAX_GRO_SKBS`); of more, one ends for the next to begin.
const OPEN: usize = 8;
/// The least payload of a segment (Linux `TCP_MIN_GSO_SIZE`).
const MIN_SIZE: usize = 8;
/// Bytes of an IPv4 header without options.
const IPV4_LEN: usize = 20;

/// What became of a batch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Coalesced {
    /// Super-frames that were made.
    pub made: u64,
    /// Packets that went into others, and are gone.
    pub absorbed: u64,
    /// Bytes of headers that are gone with them.
    pub spared: u64,
}

/// Makes super-frames of a batch of received frames, as far as `egress` takes them; their storage comes from the pool, and
/// that of their segments goes there. `ethernet` says whether the frames have such a header.
pub fn coalesce(frames: &mut Vec<Packet>, ethernet: bool, egress: Caps, pool: &mut Pool) -> Coalesced {
    let mut runs = Runs::default();
    let mut kept = 0;
    for at in 0..frames.len() {
        let Some((done, frame)) = frames.split_at_mut_checked(at) else { break };
        let Some(frame) = frame.first_mut() else { break };
        match look(frame.data(), ethernet) {
            Seen::Other => {}
            Seen::Odd => runs.finish(done),
            Seen::Segment(head) => {
                if runs.take(&head, frame, done, pool) {
                    pool.put(std::mem::take(frame));
                    continue;
                }
                let takes = egress.csum && if head.v6 { egress.tso6 } else { egress.tso4 };
                if takes && head.begins && frame.meta.offload.gso.is_none() {
                    runs.begin(Run::new(kept, &head), done);
                }
            }
        }
        if kept != at {
            frames.swap(kept, at);
        }
        kept += 1;
    }
    runs.finish(frames);
    frames.truncate(kept);
    runs.result
}

/// What a frame is, at a glance.
enum Seen {
    /// Nothing of TCP.
    Other,
    /// Perhaps TCP, of a flow that can't be told in a few instructions: a fragment, with options or extension headers, or
    /// broken.
    Odd,
    Segment(Head),
}

/// What is to be known of a segment.
struct Head {
    /// The same for all packets of a flow in one direction, and for few others.
    flow: u64,
    v6: bool,
    /// Bytes of L2 header.
    l2: usize,
    /// From the frame's start.
    l4: usize,
    /// Bytes of all headers.
    headers: usize,
    payload: usize,
    /// The identification, in IPv4.
    ident: u16,
    seq: u32,
    flags: u8,
    /// Whether a run may begin with it.
    begins: bool,
    /// Whether it may be part of a run at all.
    fits: bool,
}

fn look(data: &[u8], ethernet: bool) -> Seen {
    let l2 = match ethernet {
        false => 0,
        true => match data.get(12..18) {
            Some([0x08, 0x00, ..] | [0x86, 0xdd, ..]) => ethernet::HEADER_LEN,
            Some([0x81, 0x00, _, _, 0x08, 0x00] | [0x81, 0x00, _, _, 0x86, 0xdd]) => {
                ethernet::HEADER_LEN + vlan::TAG_LEN
            }
            _ => return Seen::Other,
        },
    };
    let l3 = data.get(l2..).unwrap_or_default();
    // For whom it is, groups apart, is said by the headers, which are the same in a run.
    let group = ethernet && data.first().is_some_and(|b| b & 1 != 0);
    match l3.first() {
        Some(0x45) => ipv4(l3, l2, group),
        Some(first) if first >> 4 == 6 => ipv6(l3, l2, group),
        Some(first) if first >> 4 == 4 && l3.get(9) == Some(&proto::TCP) => Seen::Odd,
        _ => Seen::Other,
    }
}

fn ipv4(l3: &[u8], l2: usize, group: bool) -> Seen {
    let Some(ip) = l3.first_chunk::<IPV4_LEN>() else { return Seen::Other };
    let [_, _, t0, t1, i0, i1, f0, f1, _, proto, c0, c1, addresses @ ..] = ip;
    if *proto != proto::TCP {
        return Seen::Other;
    }
    // Don't-fragment may be set; an offset, or more to come, or the bit that has no name may not.
    if f0 & 0xbf != 0 || *f1 != 0 {
        return Seen::Odd;
    }
    let total = usize::from(u16::from_be_bytes([*t0, *t1]));
    // 0xffff for 0 is right and would not be made again.
    let fits = !group && total == l3.len() && [*c0, *c1] != [0xff, 0xff];
    let flow = u64::from_ne_bytes(*addresses);
    let ident = u16::from_be_bytes([*i0, *i1]);
    segment_of(l3, total, Place { l2, l3: IPV4_LEN, flow, v6: false, fits, ident })
}

fn ipv6(l3: &[u8], l2: usize, group: bool) -> Seen {
    let Some(ip) = l3.first_chunk::<{ ipv6::HEADER_LEN }>() else { return Seen::Other };
    match ip[6] {
        proto::TCP => {}
        proto::UDP | proto::ICMPV6 => return Seen::Other,
        _ => return Seen::Odd,
    }
    let total = ipv6::HEADER_LEN + usize::from(u16::from_be_bytes([ip[4], ip[5]]));
    let (words, _) = ip[8..].as_chunks::<8>();
    let flow = words.iter().fold(0u64, |sum, w| sum.rotate_left(13) ^ u64::from_ne_bytes(*w));
    let fits = !group && total == l3.len();
    segment_of(l3, total, Place { l2, l3: ipv6::HEADER_LEN, flow, v6: true, fits, ident: 0 })
}

/// What the network header says.
struct Place {
    l2: usize,
    /// Bytes of L3 header.
    l3: usize,
    flow: u64,
    v6: bool,
    fits: bool,
    ident: u16,
}

/// The TCP part of an L3 packet of which `total` bytes are its own, the rest padding.
fn segment_of(l3: &[u8], total: usize, place: Place) -> Seen {
    let Some(l4) = l3.get(place.l3..total) else { return Seen::Odd };
    let Some(tcp) = Tcp::new(l4) else { return Seen::Odd };
    let header = tcp.header_len();
    if header < tcp::HEADER_LEN || header > l4.len() {
        return Seen::Odd;
    }
    let payload = l4.len() - header;
    let flags = tcp.flags();
    let ports = u64::from(tcp.src_port()) << 16 | u64::from(tcp.dst_port());
    Seen::Segment(Head {
        flow: place.flow ^ ports.wrapping_mul(0x9e37_79b9_7f4a_7c15),
        v6: place.v6,
        l2: place.l2,
        l4: place.l2 + place.l3,
        headers: place.l2 + place.l3 + header,
        payload,
        ident: place.ident,
        seq: tcp.seq(),
        flags,
        begins: place.fits && payload >= MIN_SIZE && matches!(flags & !tcp::ECE, tcp::ACK),
        fits: place.fits && payload > 0 && matches!(flags & !(tcp::ECE | ENDS), tcp::ACK),
    })
}

/// What only the last segment may say.
const ENDS: u8 = tcp::FIN | tcp::PSH;

/// Segments of one flow, one behind the other; or its first, to which none has come yet.
struct Run {
    flow: u64,
    /// Where the frame stands that the others go into.
    at: usize,
    v6: bool,
    l2: usize,
    l4: usize,
    headers: usize,
    /// Payload bytes of each segment.
    size: usize,
    flags: u8,
    /// Of the segment that would be next.
    seq: u32,
    ident: u16,
    segments: usize,
    /// Whether none may follow.
    ended: bool,
}

impl Run {
    fn new(at: usize, head: &Head) -> Run {
        Run {
            flow: head.flow,
            at,
            v6: head.v6,
            l2: head.l2,
            l4: head.l4,
            headers: head.headers,
            size: head.payload,
            flags: head.flags,
            seq: head.seq.wrapping_add(head.payload as u32),
            ident: head.ident.wrapping_add(1),
            segments: 1,
            ended: false,
        }
    }

    /// Whether the segment goes on where the run stands, and differs in nothing that can't be made again.
    fn goes_on_with(&self, head: &Head, first: &Packet, frame: &Packet) -> bool {
        let shape = (self.v6, self.l2, self.headers) == (head.v6, head.l2, head.headers);
        let place = self.seq == head.seq && (self.v6 || self.ident == head.ident);
        let room = head.payload <= self.size && first.len() - self.l2 + head.payload <= MAX_L3;
        let flags = self.flags == head.flags & !ENDS;
        head.fits
            && shape
            && place
            && room
            && flags
            && frame.meta.offload.gso.is_none()
            && same_headers(self, first.data(), frame.data())
    }
}

/// Whether two headers are the same but for lengths, identification, sequence number, flags and checksums.
fn same_headers(run: &Run, a: &[u8], b: &[u8]) -> bool {
    let same = |from: usize, to: usize| match (a.get(from..to), b.get(from..to)) {
        (Some(a), Some(b)) => a == b,
        _ => false,
    };
    let (l3, l4) = (run.l2, run.l4);
    let network = match run.v6 {
        // Version, class and label; next header, hop limit and addresses.
        true => same(0, l3 + 4) && same(l3 + 6, l4),
        // Version and TOS; fragmentation, TTL and protocol; addresses.
        false => same(0, l3 + 2) && same(l3 + 6, l3 + 10) && same(l3 + 12, l4),
    };
    // Ports; acknowledgment and data offset; window; urgent pointer and options.
    let ports_to_offset = same(l4, l4 + 4) && same(l4 + 8, l4 + 13);
    network && ports_to_offset && same(l4 + 14, l4 + 16) && same(l4 + 18, run.headers)
}

/// Whether the sums of a segment are right, and would be made the same again.
fn sound(frame: &Packet, l2: usize, l4: usize, v6: bool) -> bool {
    let Some(l3) = frame.data().get(l2..) else { return false };
    let (src, dst): (IpAddr, IpAddr) = if v6 {
        let Some(ip) = Ipv6::new(l3) else { return false };
        (ip.src().into(), ip.dst().into())
    } else {
        let Some(ip) = Ipv4::new(l3).filter(Ipv4::verify_checksum) else { return false };
        (ip.src().into(), ip.dst().into())
    };
    let Some(segment) = l3.get(l4 - l2..) else { return false };
    // 0 for 0xffff is right and would not be made again.
    let field = Tcp::new(segment).map_or(0, |t| t.checksum());
    match frame.meta.offload.csum {
        Csum::Partial { start, field } => {
            usize::from(start) == l4 - l2 && usize::from(field) == tcp::CHECKSUM_AT
        }
        Csum::Verified => field != 0,
        Csum::Wire => field != 0 && transport::verify(src, dst, proto::TCP, segment),
    }
}

/// The runs that are open.
#[derive(Default)]
struct Runs {
    open: [Option<Run>; OPEN],
    result: Coalesced,
}

impl Runs {
    /// Puts a segment into its flow's run; `false` if it has none or does not fit it, in which case the run has ended. `done`
    /// is what stands in front of the frame.
    fn take(&mut self, head: &Head, frame: &Packet, done: &mut [Packet], pool: &mut Pool) -> bool {
        let Some(place) = self.open.iter_mut().find(|r| r.as_ref().is_some_and(|r| r.flow == head.flow))
        else {
            return false;
        };
        let Some(run) = place.as_mut() else { return false };
        if join(run, head, frame, done, pool) {
            self.result.absorbed += 1;
            self.result.spared += run.headers as u64;
            if !run.ended {
                return true;
            }
            if let Some(run) = place.take() {
                self.close(&run, done);
            }
            return true;
        }
        if let Some(run) = place.take() {
            self.close(&run, done);
        }
        false
    }

    fn begin(&mut self, run: Run, done: &mut [Packet]) {
        let free = self.open.iter().position(Option::is_none).unwrap_or_else(|| {
            // The one that has stood here longest.
            self.open.rotate_left(1);
            OPEN - 1
        });
        if let Some(old) = self.open.get_mut(free).and_then(|place| place.replace(run)) {
            self.close(&old, done);
        }
    }

    fn finish(&mut self, done: &mut [Packet]) {
        for place in 0..OPEN {
            if let Some(run) = self.open.get_mut(place).and_then(Option::take) {
                self.close(&run, done);
            }
        }
    }

    /// Makes a super-frame of what a run has become, if more than one segment.
    fn close(&mut self, run: &Run, done: &mut [Packet]) {
        if run.segments < 2 {
            return;
        }
        if let Some(frame) = done.get_mut(run.at) {
            write(run, frame);
            self.result.made += 1;
        }
    }
}

/// Appends a segment's payload to its run's frame, if it fits there.
fn join(run: &mut Run, head: &Head, frame: &Packet, done: &mut [Packet], pool: &mut Pool) -> bool {
    let Some(first) = done.get_mut(run.at) else { return false };
    if !run.goes_on_with(head, first, frame) || !sound(frame, run.l2, run.l4, run.v6) {
        return false;
    }
    if run.segments == 1 && !sound(first, run.l2, run.l4, run.v6) {
        return false;
    }
    let payload = frame.data().get(run.headers..).unwrap_or_default();
    if first.tailroom() < payload.len() {
        let mut large = pool.large();
        large.append(first.data());
        large.meta = first.meta;
        pool.put(std::mem::replace(first, large));
    }
    if !first.append(payload) {
        return false;
    }
    run.seq = run.seq.wrapping_add(payload.len() as u32);
    run.ident = run.ident.wrapping_add(1);
    run.segments += 1;
    run.ended = payload.len() < run.size || head.flags & ENDS != 0;
    run.flags |= head.flags & ENDS;
    true
}

/// Puts into the headers what is true of all the segments.
fn write(run: &Run, frame: &mut Packet) {
    let Some(l3) = frame.data_mut().get_mut(run.l2..) else { return };
    let (l3_len, l4) = (l3.len(), run.l4 - run.l2);
    // No casts cut anything off: a run has at most 65,535 bytes of L3.
    let l4_len = (l3_len - l4) as u32;
    let pseudo = if run.v6 {
        let Some(mut ip) = Ipv6::new(&mut *l3) else { return };
        ip.set_payload_len(l4_len as u16);
        checksum::pseudo_v6(ip.src(), ip.dst(), proto::TCP, l4_len)
    } else {
        let Some(mut ip) = Ipv4::new(&mut *l3) else { return };
        ip.set_total_len(l3_len as u16);
        ip.fill_checksum();
        checksum::pseudo_v4(ip.src(), ip.dst(), proto::TCP, l4_len)
    };
    let Some(mut tcp) = l3.get_mut(l4..).and_then(Tcp::new) else { return };
    tcp.set_flags(run.flags);
    tcp.set_checksum(checksum::fold(pseudo));
    let kind = if run.v6 { GsoKind::Tcp6 } else { GsoKind::Tcp4 };
    frame.meta.offload = Offload {
        csum: Csum::Partial { start: l4 as u16, field: tcp::CHECKSUM_AT as u16 },
        gso: Some(Gso { kind, size: run.size as u16, ecn: false }),
    };
}

#[cfg(test)]
mod tests;
