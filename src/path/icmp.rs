//! ICMP for this router: echo and timestamp are answered, errors are taken note of, the rest is
//! ignored by name (`icmp_rcv`, `icmpv6_rcv`).
//!
//! Replies are made anew around the request's payload: they may be as long as IP allows, since what
//! came in fragments leaves in fragments.

use std::net::IpAddr;

use crate::base::DropReason;
use crate::base::counters::Tally;
use crate::packet::Packet;
use crate::wire::{checksum, icmpv4, icmpv6, ipv4::Ipv4, ipv6::Ipv6, proto};

use super::{Bound, Cx, deliver, ndp, reply, source};

/// The highest type that `icmp_rcv` knows (`NR_ICMP_TYPES`).
const MAX_KIND: u8 = 18;

/// An ICMPv4 message for this router. `many`: it was sent to others too.
pub(super) fn receive4(cx: &mut Cx<'_>, mut p: Packet, many: bool) {
    match process4(cx, &mut p, many) {
        Ok(()) => cx.delivered(p),
        Err(reason) => cx.drop(p, reason),
    }
}

fn process4(cx: &mut Cx<'_>, p: &mut Packet, many: bool) -> Result<(), DropReason> {
    if p.l4().len() < icmpv4::HEADER_LEN {
        return Err(DropReason::L4TooShort);
    }
    deliver::finish(p)?;
    match p.l4()[0] {
        // RFC 1122 §3.2.2.6, §3.2.2.8: a request sent to many may be ignored, and is.
        icmpv4::ECHO | icmpv4::TIMESTAMP if many => Err(DropReason::IcmpBroadcastEcho),
        icmpv4::ECHO => answer4(cx, p, |message, _| icmpv4::echo_reply(message).then_some(message.len())),
        icmpv4::TIMESTAMP => answer4(cx, p, icmpv4::timestamp_reply),
        icmpv4::ECHO_REPLY | icmpv4::TIMESTAMP_REPLY => Err(DropReason::IcmpNoSocket),
        // A router routes by its table, not by what neighbors tell it (RFC 1812 §5.2.7.2).
        icmpv4::REDIRECT => Err(DropReason::IcmpUnknownType),
        kind if icmpv4::is_error(kind) && kind <= MAX_KIND => Ok(()),
        _ => Err(DropReason::IcmpUnknownType),
    }
}

/// Answers with the message as `edit` makes it, given the time of day; it gives the answer's length.
fn answer4(
    cx: &mut Cx<'_>,
    p: &Packet,
    edit: impl FnOnce(&mut [u8], u32) -> Option<usize>,
) -> Result<(), DropReason> {
    let ip = Ipv4::new(p.l3()).ok_or(DropReason::Ip4TooShort)?;
    let (peer, asked, tos) = (ip.src(), ip.dst(), ip.tos());
    if peer.is_unspecified() {
        return Err(DropReason::MartianSource);
    }
    let Some(IpAddr::V4(src)) = source::for_reply(cx, p.meta.ingress, asked.into(), peer.into()) else {
        return Err(DropReason::NoSourceAddress);
    };
    let mut message = p.l4().to_vec();
    let len = edit(&mut message, cx.wall_ms).ok_or(DropReason::L4TooShort)?;
    let message = message.get_mut(..len).filter(|m| m.len() >= 4).ok_or(DropReason::L4TooShort)?;
    // Anew: what hardware called verified we haven't seen, and won't put our name to.
    message[2..4].fill(0);
    let sum = checksum::checksum(message);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    let mut made =
        reply::packet4(cx, src, peer, proto::ICMP, tos, message).ok_or(DropReason::NotEncodable)?;
    cx.caused(&mut made, p);
    cx.tally(Tally::EchoReplies);
    cx.originate(made, Bound::Free);
    Ok(())
}

/// An ICMPv6 message for this router.
pub(super) fn receive6(cx: &mut Cx<'_>, mut p: Packet) {
    match process6(cx, &mut p) {
        Ok(()) => cx.delivered(p),
        Err(reason) => cx.drop(p, reason),
    }
}

fn process6(cx: &mut Cx<'_>, p: &mut Packet) -> Result<(), DropReason> {
    if p.l4().len() < 4 {
        return Err(DropReason::L4TooShort);
    }
    deliver::finish(p)?;
    match p.l4()[0] {
        icmpv6::ECHO => echo6(cx, p),
        icmpv6::ECHO_REPLY => Err(DropReason::IcmpNoSocket),
        icmpv6::ROUTER_SOLICIT..=icmpv6::REDIRECT => ndp::receive(cx, p),
        kind if icmpv6::is_error(kind) => Ok(()),
        _ => Err(DropReason::IcmpUnknownType),
    }
}

fn echo6(cx: &mut Cx<'_>, p: &Packet) -> Result<(), DropReason> {
    let ip = Ipv6::new(p.l3()).ok_or(DropReason::Ip6TooShort)?;
    let (peer, asked, class) = (ip.src(), ip.dst(), ip.traffic_class());
    if p.l4().len() < 8 {
        return Err(DropReason::L4TooShort);
    }
    if peer.is_unspecified() {
        return Err(DropReason::MartianSource);
    }
    let Some(IpAddr::V6(src)) = source::for_reply(cx, p.meta.ingress, asked.into(), peer.into()) else {
        return Err(DropReason::NoSourceAddress);
    };
    let mut message = p.l4().to_vec();
    if !icmpv6::echo_reply(&mut message) {
        return Err(DropReason::L4TooShort);
    }
    // A multicast request is answered from another address than it was sent to: the sum is made anew.
    icmpv6::fill_checksum(&mut message, src, peer);
    let ingress = p.meta.ingress;
    let mut made =
        reply::icmp6(cx, src, peer, reply::TTL, class, &message).ok_or(DropReason::NotEncodable)?;
    cx.caused(&mut made, p);
    cx.tally(Tally::EchoReplies);
    cx.originate(made, reply::bound_to(peer, ingress));
    Ok(())
}
