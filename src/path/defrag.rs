//! Fragments made whole before conntrack sees them, wherever they are bound for.
//!
//! A flow is known by its ports, which only the first fragment shows; so where flows are tracked, a datagram walks
//! in one piece, and is cut again at egress in the sizes it came in ([`Packet::cut`]). What is done and told is
//! what `nf_defrag_ipv4` and `nf_ct_frag6_gather` do and tell: less than a datagram's destination would.

use crate::base::{DropReason, Event};
use crate::packet::{Csum, Frag, Net, Packet, offload};
use crate::reassembly::{Done, Tell};
use crate::wire::ipv6_ext::FragHeader;
use crate::wire::{ipv4::Ipv4, ipv6, ipv6::Ipv6, ipv6_ext};

use super::hook::Stop;
use super::trace::Step;
use super::{Cx, deliver, ingress, source};

/// Holds a fragment back until its datagram is whole, which then stands in its place. Whole packets pass.
#[inline]
pub(super) fn defrag(cx: &mut Cx<'_>, p: &mut Packet) -> Result<(), Stop> {
    if p.meta.frag != Frag::Whole {
        return gather(cx, p);
    }
    // Without extension headers there is no fragment header.
    if p.meta.net == Net::Ipv6 && usize::from(p.meta.l4) != ipv6::HEADER_LEN {
        return atomic(cx, p);
    }
    Ok(())
}

#[cold]
fn gather(cx: &mut Cx<'_>, p: &mut Packet) -> Result<(), Stop> {
    if p.meta.net == Net::Ipv6 && ragged(p) {
        // As in Linux it goes on as it is, and belongs to no flow.
        return Ok(());
    }
    cx.note_parks(p, |_| reassembly("waits", p));
    cx.me.counters.event(p.meta.column, Event::Parked);
    let fragment = std::mem::take(p).compact(&mut cx.me.pool);
    let mut done = Vec::new();
    cx.live.defrag.push(fragment, cx.now, &mut done);
    let Some(whole) = settle(cx, done) else { return Err(Stop::Held) };
    *p = whole;
    if p.meta.net == Net::Ipv6 {
        ingress::chain(cx, p)?;
    }
    Ok(())
}

/// Enters into the ledger what became of fragments, and tells those senders that Linux tells. Gives the datagram
/// that became whole, if one did.
pub(super) fn settle(cx: &mut Cx<'_>, done: Vec<Done>) -> Option<Packet> {
    deliver::fragments(cx, done, |cx, p, tell| match tell {
        // A router on the way is silent about datagrams that are not for it (RFC 792); in IPv6 Linux isn't.
        Tell::ReassemblyTime => {
            p.meta.net == Net::Ipv6
                || Ipv4::new(p.l3()).is_some_and(|ip| source::is_ours(cx, ip.dst().into()))
        }
        Tell::ParameterProblem { .. } => false,
    })
}

/// What is told of a fragment that is followed.
pub(super) fn reassembly(state: &str, p: &Packet) -> Step {
    Step::Reassembly { state: state.to_owned(), len: p.l3_len(), with: Vec::new() }
}

/// Whether an IPv6 fragment that is not the last is no multiple of 8 bytes long.
fn ragged(p: &Packet) -> bool {
    let frag = ipv6_ext::walk(p.l3()).ok().and_then(|c| c.frag);
    frag.is_some_and(|f| f.more && !p.l3_len().saturating_sub(f.at + FragHeader::LEN).is_multiple_of(8))
}

/// An atomic fragment (RFC 6946) is a datagram in one piece: its fragment header goes, as in Linux.
#[cold]
fn atomic(cx: &mut Cx<'_>, p: &mut Packet) -> Result<(), Stop> {
    let Ok(chain) = ipv6_ext::walk(p.l3()) else { return Ok(()) };
    let Some(frag) = chain.frag.filter(|f| f.is_atomic()) else { return Ok(()) };
    if p.meta.offload.gso.is_none() && !offload::finish_checksum(p) {
        return Err(DropReason::OffloadInvalid.into());
    }
    let next = p.l3().get(frag.at).copied();
    if let (Some(named), Some(next)) = (p.l3_mut().get_mut(frag.named_at), next) {
        *named = next;
    }
    if !p.take_out(frag.at, FragHeader::LEN) {
        return Ok(());
    }
    let len = p.l3_len() - ipv6::HEADER_LEN;
    if let Some(mut ip) = Ipv6::new(p.l3_mut()) {
        ip.set_payload_len(len as u16);
    }
    if let Csum::Partial { start, .. } = &mut p.meta.offload.csum {
        *start -= FragHeader::LEN as u16;
    }
    cx.note(p, |_| reassembly("atomic", p));
    ingress::chain(cx, p)?;
    Ok(())
}
