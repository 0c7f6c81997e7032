//! What a packet must pass to be forwarded, and what forwarding does to its header.
//!
//! The order is `ip_forward`'s and `ip6_forward`'s: whom the frame was for, hop limit, scope, size, then the
//! hop count goes down. A redirect, if there was a shorter way, comes last in IPv4 and with the scope in IPv6.

use std::net::IpAddr;

use crate::base::DropReason;
use crate::base::counters::Tally;
use crate::packet::{Frag, L2Kind, Net, Packet, offload};
use crate::wire::{ipv4::Ipv4, ipv4_options, ipv6::Ipv6};

use super::trace::Step;
use super::{Cx, Hop, egress, reply, route, source};

/// Checks a packet that is to leave by `hop`, and counts its hop.
pub(super) fn check(cx: &mut Cx<'_>, p: &mut Packet, hop: &Hop) -> Result<(), DropReason> {
    // RFC 1812 §5.3.4: what was not sent to this station alone is not its to forward.
    if p.meta.l2 != L2Kind::Host {
        return Err(DropReason::L2Group);
    }
    let mtu = hop.fits(cx.snap.links.get(hop.link).ok_or(DropReason::LinkDown)?);
    match p.meta.net {
        Net::Ipv4 => check4(cx, p, mtu, hop)?,
        _ => check6(cx, p, mtu, hop)?,
    }
    cx.tally(Tally::Forwarded);
    Ok(())
}

fn check4(cx: &mut Cx<'_>, p: &mut Packet, mtu: usize, hop: &Hop) -> Result<(), DropReason> {
    let Some(ip) = Ipv4::new(p.l3()) else { return Err(DropReason::Ip4TooShort) };
    if ip.ttl() <= 1 {
        reply::time_exceeded(cx, p);
        return Err(DropReason::TtlExceeded);
    }
    if ip.dont_fragment() && too_big(p, mtu) {
        told_too_big(cx, p, mtu, hop);
        reply::too_big(cx, p, mtu);
        return Err(DropReason::TooBig);
    }
    if let Some(mut ip) = Ipv4::new(p.l3_mut()) {
        ip.decrement_ttl();
    }
    cx.note(p, |_| ttl(Ipv4::new(p.l3()).map_or(0, |ip| ip.ttl())));
    if hop.link == p.meta.ingress {
        redirect(cx, p, hop);
    }
    Ok(())
}

fn check6(cx: &mut Cx<'_>, p: &mut Packet, mtu: usize, hop: &Hop) -> Result<(), DropReason> {
    let Some(ip) = Ipv6::new(p.l3()) else { return Err(DropReason::Ip6TooShort) };
    let src = ip.src();
    if ip.hop_limit() <= 1 {
        reply::time_exceeded(cx, p);
        return Err(DropReason::TtlExceeded);
    }
    if src.is_unspecified() || src.is_loopback() {
        return Err(DropReason::MartianSource);
    }
    if hop.link == p.meta.ingress {
        redirect(cx, p, hop);
    } else if src.is_unicast_link_local() {
        // RFC 4443 §3.1: code 2, beyond the scope of the source address.
        reply::beyond_scope(cx, p);
        return Err(DropReason::BeyondScope);
    }
    if too_big(p, mtu) {
        told_too_big(cx, p, mtu, hop);
        reply::too_big(cx, p, mtu);
        return Err(DropReason::TooBig);
    }
    if let Some(mut ip) = Ipv6::new(p.l3_mut()) {
        ip.decrement_hop_limit();
    }
    cx.note(p, |_| ttl(Ipv6::new(p.l3()).map_or(0, |ip| ip.hop_limit())));
    Ok(())
}

fn ttl(after: u8) -> Step {
    Step::Ttl { before: after.saturating_add(1), after }
}

fn told_too_big(cx: &mut Cx<'_>, p: &Packet, mtu: usize, hop: &Hop) {
    cx.note(p, |cx| Step::TooBig {
        len: offload::segment_len(p),
        mtu,
        dev: cx.link_name(hop.link).to_owned(),
        route: cx.snap.links.get(hop.link).is_some_and(|l| mtu < l.mtu as usize),
    });
}

/// Whether a packet is larger than the MTU. One that came in fragments leaves in them, so it is their size that counts
/// (`ip_exceeds_mtu`, `ip6_pkt_too_big`).
fn too_big(p: &Packet, mtu: usize) -> bool {
    offload::segment_len(p) > mtu && !egress::came_within(p, mtu)
}

/// Tells the sender of a shorter way: it and the next hop share the link (RFC 1812 §5.2.7.2, RFC 4861
/// §8.2). The packet goes on all the same.
fn redirect(cx: &mut Cx<'_>, p: &Packet, hop: &Hop) {
    let Some(link) = cx.snap.links.get(hop.link) else { return };
    if !link.redirects || !link.is_ethernet() {
        return;
    }
    match p.meta.net {
        Net::Ipv4 => {
            let Some(ip) = Ipv4::new(p.l3()) else { return };
            if p.meta.frag != Frag::Later && route::on_link(link, IpAddr::V4(ip.src())) {
                reply::redirect4(cx, p, hop);
            }
        }
        _ => {
            let Some(ip) = Ipv6::new(p.l3()) else { return };
            let src = ip.src();
            if src.is_unicast_link_local() || route::on_link(link, IpAddr::V6(src)) {
                reply::redirect6(cx, p, hop);
            }
        }
    }
}

/// Fills in record route and timestamp options (`ip_forward_options`).
pub(super) fn stamp_options(cx: &Cx<'_>, p: &mut Packet, hop: &Hop) {
    if !p.meta.options || p.meta.net != Net::Ipv4 {
        return;
    }
    let header = Ipv4::new(p.l3()).map_or(0, |ip| ip.header_len());
    let Some(bytes) = p.l3_mut().get_mut(..header) else { return };
    let Ok(mut options) = ipv4_options::parse(bytes) else { return };
    if options.prespecified(bytes).is_some_and(|a| source::is_ours(cx, a.into())) {
        options.set_prespecified_is_ours();
    }
    if let Some(own) = source::on_link4(cx, hop.link, hop.next) {
        ipv4_options::stamp_on_forward(bytes, &options, own, cx.wall_ms);
    }
}
