//! The last stage: fits the packet to the link, writes its link-layer header, and puts it in the
//! link's outbox, whence the worker hands it to the port.

use crate::base::counters::Tally;
use crate::base::{Column, DropReason, Event, LinkId, Mac};
use crate::packet::{Csum, Frag, Net, Packet, TraceId, offload, segment};
use crate::reassembly::{fragment4, fragment6};
use crate::wire::{ethernet, ipv4::Ipv4};

use super::trace::Step;
use super::{Cx, Hop, Local, Tracer, resolve};

/// Frames that may stand in one outbox: several batches, so that a burst of fragments fits.
pub(super) const OUTBOX: usize = 4_096;

/// Sends a packet by its hop: cut to the MTU of link and route, resolved, framed.
pub(super) fn leave(cx: &mut Cx<'_>, p: Packet, hop: Hop) {
    if hop.link == LinkId::LO {
        return cx.loop_back(p);
    }
    let Some(link) = cx.snap.links.get(hop.link) else { return cx.drop(p, DropReason::LinkDown) };
    if !cx.live.states.is_up(hop.link) {
        return cx.drop(p, DropReason::LinkDown);
    }
    let mtu = hop.fits(link);
    if p.cut.is_none() && offload::segment_len(&p) <= mtu {
        return towards(cx, p, hop);
    }
    cut(cx, p, hop, mtu);
}

/// A packet larger than the MTU, or one that came in fragments. Those that may not be cut were stopped when they
/// were forwarded, so what else arrives here is IPv4 without DF, or was made by this router.
#[cold]
fn cut(cx: &mut Cx<'_>, p: Packet, hop: Hop, mtu: usize) {
    let mut pieces = std::mem::take(&mut cx.me.pieces);
    let trace = p.meta.trace;
    if p.meta.offload.gso.is_some() {
        match segment(p, &mut cx.me.pool, &mut pieces) {
            Ok(n) => segmented(cx, n, trace),
            Err(p) => cx.drop(p, DropReason::OffloadInvalid),
        }
        for piece in pieces.drain(..) {
            leave(cx, piece, hop);
        }
        cx.me.pieces = pieces;
        return;
    }
    let made = match p.meta.net {
        // Nobody has cut it on its way if its fragments are none larger than they were.
        Net::Ipv4 if !came_within(&p, mtu) && Ipv4::new(p.l3()).is_some_and(|ip| ip.dont_fragment()) => {
            Err(p)
        }
        Net::Ipv4 => fragment4(p, mtu, &mut cx.me.pool, &mut pieces),
        _ => {
            let ident = cx.me.random() as u32;
            fragment6(p, mtu, ident, &mut cx.me.pool, &mut pieces)
        }
    };
    match made {
        Ok(1) => {}
        Ok(n) => {
            if let Some(id) = trace {
                cx.noted(id, Step::Cut { pieces: n, into: "fragments".to_owned() });
            }
            cx.tally(Tally::Fragmented);
            cx.me.counters.tally(Tally::Fragments, n as u64);
            cx.multiplied(n.saturating_sub(1));
        }
        Err(p) => cx.drop(p, DropReason::TooBig),
    }
    for piece in pieces.drain(..) {
        if piece.meta.frag != Frag::Whole {
            cx.note(&piece, |_| Step::Piece { len: piece.l3_len() });
        }
        towards(cx, piece, hop);
    }
    cx.me.pieces = pieces;
}

/// Whether a packet came in fragments none of which is larger than the MTU.
pub(super) fn came_within(p: &Packet, mtu: usize) -> bool {
    p.cut.as_ref().is_some_and(|c| usize::from(c.largest) <= mtu)
}

fn towards(cx: &mut Cx<'_>, p: Packet, hop: Hop) {
    if !cx.snap.links.get(hop.link).is_some_and(|l| l.is_ethernet()) {
        return frame(cx, p, hop.link, None);
    }
    if let Some((p, mac)) = resolve::resolve(cx, p, &hop) {
        frame(cx, p, hop.link, Some(mac));
    }
}

/// Finishes what the egress device can't, and frames the packet.
#[inline]
pub(super) fn frame(cx: &mut Cx<'_>, mut p: Packet, link: LinkId, dst: Option<Mac>) {
    let caps = cx.me.caps.get(link.index()).copied().flatten().unwrap_or(crate::packet::Caps::PLAIN);
    if caps.take(&p.meta.offload) {
        return put(cx, p, link, dst);
    }
    if p.meta.offload.gso.is_some() {
        let mut pieces = std::mem::take(&mut cx.me.pieces);
        let trace = p.meta.trace;
        match segment(p, &mut cx.me.pool, &mut pieces) {
            Ok(n) => segmented(cx, n, trace),
            Err(p) => cx.drop(p, DropReason::OffloadInvalid),
        }
        for piece in pieces.drain(..) {
            put(cx, piece, link, dst);
        }
        cx.me.pieces = pieces;
        return;
    }
    if matches!(p.meta.offload.csum, Csum::Partial { .. }) {
        if !offload::finish_checksum(&mut p) {
            return cx.drop(p, DropReason::OffloadInvalid);
        }
        cx.tally(Tally::Checksummed);
    }
    put(cx, p, link, dst);
}

fn segmented(cx: &mut Cx<'_>, n: usize, trace: Option<TraceId>) {
    if let Some(id) = trace {
        cx.noted(id, Step::Cut { pieces: n, into: "segments".to_owned() });
    }
    cx.tally(Tally::Segmented);
    cx.me.counters.tally(Tally::Segments, n as u64);
    cx.multiplied(n.saturating_sub(1));
}

#[inline]
fn put(cx: &mut Cx<'_>, mut p: Packet, link: LinkId, dst: Option<Mac>) {
    let own = cx.snap.links.get(link).and_then(|l| l.mac);
    let framed = match (own, dst) {
        (Some(src), Some(dst)) => {
            let kind = match p.meta.net {
                Net::Ipv4 => ethernet::IPV4,
                Net::Ipv6 => ethernet::IPV6,
                Net::Arp => ethernet::ARP,
                Net::None => return cx.drop(p, DropReason::NotEncodable),
            };
            match p.set_l2_len(ethernet::HEADER_LEN) {
                Some(header) => {
                    ethernet::write(header, dst, src, kind);
                    true
                }
                None => false,
            }
        }
        (None, _) => p.meta.net != Net::Arp && p.set_l2_len(0).is_some(),
        (Some(_), None) => false,
    };
    if !framed {
        return cx.drop(p, DropReason::NotEncodable);
    }
    if p.meta.trace.is_some() && cx.me.outbox.get(link.index()).is_some_and(|q| q.len() < OUTBOX) {
        cx.note_sent(&p, link, dst);
    }
    match cx.me.outbox.get_mut(link.index()) {
        Some(queue) if queue.len() < OUTBOX => queue.push_back(p),
        Some(_) => lost(cx, p, link, DropReason::EgressQueueFull),
        None => cx.drop(p, DropReason::LinkDown),
    }
}

fn lost(cx: &mut Cx<'_>, p: Packet, link: LinkId, reason: DropReason) {
    if let Some(c) = cx.me.counters.link(link) {
        c.tx_dropped.add(1);
    }
    cx.drop(p, reason);
}

/// What became of frames given to a port, in the ledger's terms.
#[derive(Debug, Default)]
pub struct Handed {
    /// Frames that the device took, by the ledger's column.
    pub sent: [u64; 2],
    /// Their bytes.
    pub bytes: u64,
    /// Frames that the device refused for good, by the ledger's column.
    pub refused: [u64; 2],
    /// Some of those, if it was asked for, by their places in the outbox as it was.
    pub kept: Vec<(usize, Packet)>,
}

impl Local {
    /// Enters into the ledger what a port did with frames of `link`'s outbox.
    pub fn handed(&mut self, link: LinkId, what: &Handed) {
        for column in Column::ALL {
            self.counters.events(column, Event::Sent, what.sent[column as usize]);
            self.counters.drops(column, DropReason::EgressError, what.refused[column as usize]);
        }
        if let Some(c) = self.counters.link(link) {
            c.tx_packets.add(what.sent.iter().sum());
            c.tx_bytes.add(what.bytes);
            c.tx_dropped.add(what.refused.iter().sum());
        }
    }

    /// Drops what the port left in `link`'s outbox, by name.
    pub(crate) fn left_over(&mut self, link: LinkId, reason: DropReason, tracer: &Tracer) {
        while let Some(p) = self.outbox.get_mut(link.index()).and_then(std::collections::VecDeque::pop_front)
        {
            self.counters.dropped(p.meta.column, reason);
            if let Some(c) = self.counters.link(link) {
                c.tx_dropped.add(1);
            }
            self.note_handed(tracer, link, &p, Some(reason));
            self.turned_away(p, reason);
        }
    }
}
