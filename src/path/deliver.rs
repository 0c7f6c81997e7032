//! For this router: puts fragments together, checks the upper layer, and hands over.
//!
//! ICMP is answered here; TCP and open UDP ports belong to the local stack, which is another thread's;
//! what nobody takes gets the answer that says so.

use std::net::IpAddr;

use crate::base::counters::Tally;
use crate::base::{DropReason, Event, LinkId};
use crate::fib::Action;
use crate::packet::{Csum, Ct, Frag, GsoKind, L2Kind, Net, Packet, TraceId, offload, segment};
use crate::reassembly::{Done, Tell};
use crate::wire::{icmpv6, ipv4::Ipv4, ipv6::Ipv6, ipv6_ext, proto, transport};

use super::trace::Step;
use super::{Cx, defrag, icmp, ingress, reply};

/// Packets for the local stack that may wait in one batch; more are dropped.
const TO_HOST: usize = 256;
/// Link-local peers of the local stack remembered at most.
const MAX_PEERS: usize = 1_024;

/// Holds a fragment until its datagram is whole. Whole packets pass.
pub(super) fn gather(cx: &mut Cx<'_>, p: Packet) -> Option<Packet> {
    let mut p = sensible(cx, p)?;
    if p.meta.frag == Frag::Whole {
        // How it came matters to nobody here; and an answer is made of it.
        p.cut = None;
        return Some(p);
    }
    cx.note_parks(&p, |_| defrag::reassembly("waits", &p));
    cx.me.counters.event(p.meta.column, Event::Parked);
    let p = p.compact(&mut cx.me.pool);
    let mut done = Vec::new();
    cx.live.reassembler.push(p, cx.now, &mut done);
    let mut p = fragments(cx, done, |_, _, _| true)?;
    p.cut = None;
    if p.meta.net == Net::Ipv6
        && let Err(reason) = ingress::chain(cx, &mut p)
    {
        cx.drop(p, reason);
        return None;
    }
    sensible(cx, p)
}

/// Lets pass what has headers that can be followed.
fn sensible(cx: &mut Cx<'_>, p: Packet) -> Option<Packet> {
    if p.meta.net == Net::Ipv6
        && let Err(reason) = ingress::chain_is_whole(cx, &p)
    {
        cx.drop(p, reason);
        return None;
    }
    Some(p)
}

/// Enters into the ledger what became of fragments, and tells their senders where `tells` says so. Gives the
/// datagram that became whole, if one did.
pub(super) fn fragments(
    cx: &mut Cx<'_>,
    done: Vec<Done>,
    tells: impl Fn(&Cx<'_>, &Packet, Tell) -> bool,
) -> Option<Packet> {
    let mut whole = None;
    for d in done {
        match d {
            Done::Whole { packet, absorbed, followed } => {
                cx.me.counters.event(packet.meta.column, Event::Unparked);
                joined(cx, &packet, followed);
                for column in absorbed {
                    cx.me.counters.event(column, Event::Unparked);
                    cx.me.counters.event(column, Event::Delivered);
                }
                cx.tally(Tally::Reassembled);
                whole = Some(packet);
            }
            Done::Dropped { packet, reason, tell } => {
                cx.me.counters.event(packet.meta.column, Event::Unparked);
                cx.note_unparked(&packet);
                match tell.filter(|t| tells(cx, &packet, *t)) {
                    None => {}
                    Some(Tell::ReassemblyTime) => reply::reassembly_exceeded(cx, &packet),
                    Some(Tell::ParameterProblem { pointer }) => {
                        reply::parameter_problem6(cx, &packet, icmpv6::problem::FIELD, pointer);
                    }
                }
                cx.drop(packet, reason);
            }
        }
    }
    whole
}

/// What is told of fragments that are followed, and of the datagram that they make.
#[inline]
fn joined(cx: &mut Cx<'_>, whole: &Packet, followed: Vec<TraceId>) {
    cx.note_unparked(whole);
    let others: Vec<TraceId> = followed.into_iter().filter(|id| Some(*id) != whole.meta.trace).collect();
    for id in &others {
        cx.note_absorbed(*id, whole.meta.trace);
    }
    cx.note(whole, |_| Step::Reassembly {
        state: "whole".to_owned(),
        len: whole.l3_len(),
        with: others.iter().map(|id| id.get()).collect(),
    });
}

/// Hands a whole packet to whoever it is for.
pub(super) fn deliver(cx: &mut Cx<'_>, mut p: Packet) {
    if let Err(reason) = headers(cx, &p) {
        return cx.drop(p, reason);
    }
    // A reply to an echo request looks at the address only; for the rest the frame counts too.
    let group = to_group(cx, &p);
    let many = group || p.meta.l2 != L2Kind::Host;
    match (p.meta.net, p.meta.proto) {
        (Net::Ipv4, proto::ICMP) => icmp::receive4(cx, p, group),
        (Net::Ipv6, proto::ICMPV6) => icmp::receive6(cx, p),
        (_, proto::TCP) => match tcp(&mut p, many) {
            Ok(()) => to_host(cx, p),
            Err(reason) => cx.drop(p, reason),
        },
        (_, proto::UDP) => {
            // Its flow ends here (`nf_reset_ct`): what is said of it is found to be about it anew.
            p.meta.ct = Ct::default();
            match udp(cx, &mut p, many) {
                Ok(()) => to_host(cx, p),
                Err(reason) => cx.drop(p, reason),
            }
        }
        (Net::Ipv4, proto::IGMP) => cx.drop(p, DropReason::NoProtocol),
        (Net::Ipv4, _) => {
            reply::protocol_unreachable(cx, &p);
            cx.drop(p, DropReason::NoProtocol);
        }
        (_, proto::NONE) => cx.drop(p, DropReason::NoProtocol),
        _ => {
            // RFC 8200 §4: unrecognised next header, the pointer at the byte that names it.
            if let Ok(found) = ipv6_ext::walk(p.l3()) {
                reply::parameter_problem6(cx, &p, 1, found.proto_field as u32);
            }
            cx.drop(p, DropReason::NoProtocol);
        }
    }
}

/// What only the destination looks at: routing headers and destination options.
fn headers(cx: &mut Cx<'_>, p: &Packet) -> Result<(), DropReason> {
    if p.meta.net != Net::Ipv6 {
        return Ok(());
    }
    let found = match ipv6_ext::walk(p.l3()) {
        Ok(found) => found,
        Err(why) => {
            if let ipv6_ext::ChainError::Misplaced { pointer } = why {
                reply::parameter_problem6(cx, p, 1, pointer as u32);
            }
            return Err(DropReason::Ip6BadExtension);
        }
    };
    if let Some(routing) = found.routing
        && routing.segments_left > 0
    {
        // RFC 5095 §3: type 0 is refused; RFC 8200 §4.4: so is what isn't known. The pointer is at the type.
        reply::parameter_problem6(cx, p, 0, routing.at as u32 + 2);
        return Err(DropReason::Ip6RoutingHeader);
    }
    let why = found
        .destination
        .into_iter()
        .flatten()
        .find_map(|at| ipv6_ext::options(p.l3(), at, ipv6_ext::OptionsOf::Destination).err());
    ingress::refuse_options(cx, p, why)
}

/// Whether the packet's destination is more stations than this one.
fn to_group(cx: &Cx<'_>, p: &Packet) -> bool {
    match p.meta.net {
        Net::Ipv4 => Ipv4::new(p.l3()).is_none_or(|ip| {
            let dst = ip.dst();
            dst.is_multicast()
                || dst.is_broadcast()
                || dst.is_unspecified()
                || matches!(cx.snap.fib.lookup4(dst).map(|e| &e.action), Some(Action::Broadcast(_)))
        }),
        _ => Ipv6::new(p.l3()).is_none_or(|ip| ip.dst().is_multicast()),
    }
}

fn tcp(p: &mut Packet, many: bool) -> Result<(), DropReason> {
    let header = p.l4().get(12).map_or(0, |b| usize::from(b >> 4) * 4);
    if header < 20 || p.l4().len() < header {
        return Err(DropReason::L4TooShort);
    }
    if many {
        return Err(DropReason::NoPort);
    }
    finish(p)
}

fn udp(cx: &mut Cx<'_>, p: &mut Packet, many: bool) -> Result<(), DropReason> {
    let l4 = p.l4();
    let Some([_, _, d0, d1, n0, n1, _, _]) = l4.first_chunk::<8>() else {
        return Err(DropReason::L4TooShort);
    };
    let port = u16::from_be_bytes([*d0, *d1]);
    let said = usize::from(u16::from_be_bytes([*n0, *n1]));
    if p.meta.offload.gso.is_none() && (said < 8 || said > l4.len()) {
        return Err(DropReason::L4TooShort);
    }
    finish(p)?;
    if many {
        return Err(DropReason::NoPort);
    }
    if !cx.snap.listeners.udp.contains(&port) {
        // What lies behind the datagram is not the datagram's: it is not quoted.
        if p.meta.offload.gso.is_none() {
            p.truncate(usize::from(p.meta.l3) + usize::from(p.meta.l4) + said);
        }
        reply::port_unreachable(cx, p);
        return Err(DropReason::NoPort);
    }
    Ok(())
}

/// Verifies the checksum, or finishes it if the sender left that to hardware.
pub(super) fn finish(p: &mut Packet) -> Result<(), DropReason> {
    match p.meta.offload.csum {
        Csum::Verified => Ok(()),
        // A super-frame's sums are made when it is cut; the local stack takes it whole, on trust.
        Csum::Partial { .. } if p.meta.offload.gso.is_some() => Ok(()),
        Csum::Partial { .. } => {
            if offload::finish_checksum(p) {
                Ok(())
            } else {
                Err(DropReason::OffloadInvalid)
            }
        }
        Csum::Wire => {
            let good = ends(p).is_some_and(|(src, dst)| transport::verify(src, dst, p.meta.proto, p.l4()));
            if good { Ok(()) } else { Err(DropReason::L4BadChecksum) }
        }
    }
}

/// Puts a packet where the local stack's thread fetches it.
fn to_host(cx: &mut Cx<'_>, p: Packet) {
    remember_peer(cx, &p);
    if p.meta.offload.gso.is_some_and(|g| g.kind == GsoKind::Udp) {
        let mut cut = Vec::new();
        match segment(p, &mut cx.me.pool, &mut cut) {
            Ok(n) => cx.multiplied(n.saturating_sub(1)),
            Err(p) => return cx.drop(p, DropReason::OffloadInvalid),
        }
        for piece in cut {
            one_to_host(cx, piece);
        }
    } else {
        one_to_host(cx, p);
    }
}

fn one_to_host(cx: &mut Cx<'_>, p: Packet) {
    if cx.me.to_host.len() >= TO_HOST {
        return cx.drop(p, DropReason::HostQueueFull);
    }
    cx.note_to_host(&p);
    let p = p.compact(&mut cx.me.pool);
    cx.me.to_host.push(p);
}

/// The local stack does not know of links: for link-local peers the path remembers where they are.
fn remember_peer(cx: &Cx<'_>, p: &Packet) {
    if p.meta.net != Net::Ipv6 || p.meta.ingress == LinkId::LO {
        return;
    }
    let Some(src) = Ipv6::new(p.l3()).map(|ip| ip.src()) else { return };
    if !src.is_unicast_link_local() {
        return;
    }
    let Ok(mut peers) = cx.live.peers.lock() else { return };
    if peers.len() >= MAX_PEERS && !peers.contains_key(&src) {
        peers.clear();
    }
    peers.insert(src, p.meta.ingress);
}

/// Who sent a packet, and to which address.
pub(super) fn ends(p: &Packet) -> Option<(IpAddr, IpAddr)> {
    match p.meta.net {
        Net::Ipv4 => Ipv4::new(p.l3()).map(|ip| (ip.src().into(), ip.dst().into())),
        Net::Ipv6 => Ipv6::new(p.l3()).map(|ip| (ip.src().into(), ip.dst().into())),
        Net::Arp | Net::None => None,
    }
}
