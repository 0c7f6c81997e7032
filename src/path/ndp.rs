//! Neighbor discovery (RFC 4861): answers for our addresses, learns from those who ask us, asks for
//! others, checks our own addresses for duplicates (RFC 4862 §5.4), and tells of better first hops.
//!
//! As a Linux router does: advertisements carry the R flag; router solicitations, advertisements and
//! redirects of others are not for us. Messages pass the hooks like any other packet.

use std::net::{IpAddr, Ipv6Addr};

use crate::base::counters::Tally;
use crate::base::{DropReason, LinkId, Mac};
use crate::fib::Action as Route;
use crate::link::Link;
use crate::neighbor::{Advert, DadState};
use crate::packet::{Net, Packet};
use crate::wire::ipv6::Ipv6;
use crate::wire::ndp::{self, HOP_LIMIT, Message};

use super::{Bound, Cx, Live, reply, resolve, source, tick};

/// All nodes on the link (RFC 4291 §2.7.1).
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
/// All routers on the link.
const ALL_ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2);
/// All routers of the site.
const SITE_ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff05, 0, 0, 0, 0, 0, 0, 2);
/// Room for the longest message: a redirect that fills the minimum MTU (RFC 4861 §4.5).
const ROOM: usize = 1_280;

/// Whether this router listens to the group on this link.
pub(super) fn joined(live: &Live, link: &Link, group: Ipv6Addr) -> bool {
    if [ALL_NODES, ALL_ROUTERS, SITE_ROUTERS].contains(&group) {
        return true;
    }
    let solicits = |a: Ipv6Addr| ndp::solicited_node(a) == group;
    link.addresses.iter().any(|a| match a.addr {
        IpAddr::V6(own) => {
            let anycast = match a.network().network() {
                IpAddr::V6(net) => net,
                IpAddr::V4(_) => own,
            };
            solicits(own) || solicits(anycast)
        }
        IpAddr::V4(_) => false,
    }) && live.states.is_up(link.id)
}

/// A neighbor discovery message, its checksum verified.
pub(super) fn receive(cx: &mut Cx<'_>, p: &Packet) -> Result<(), DropReason> {
    let ip = Ipv6::new(p.l3()).ok_or(DropReason::Ip6TooShort)?;
    let (src, dst, hops) = (ip.src(), ip.dst(), ip.hop_limit());
    // RFC 4861 §7.1: what fails any of its checks is silently discarded.
    if hops != HOP_LIMIT {
        return Err(DropReason::NdpInvalid);
    }
    match ndp::parse(src, dst, p.l4()) {
        Ok(Message::NeighborSolicit(ns)) => solicitation(cx, p.meta.ingress, &ns, src, dst),
        Ok(Message::NeighborAdvert(na)) => advertisement(cx, p.meta.ingress, &na),
        Ok(_) => Err(DropReason::NdpIgnored),
        Err(_) => Err(DropReason::NdpInvalid),
    }
}

fn solicitation(
    cx: &mut Cx<'_>,
    link: LinkId,
    ns: &ndp::NeighborSolicit,
    src: Ipv6Addr,
    dst: Ipv6Addr,
) -> Result<(), DropReason> {
    let probing = src.is_unspecified();
    let snap = cx.snap;
    let l = snap.links.get(link).ok_or(DropReason::LinkDown)?;
    let own = l.mac.ok_or(DropReason::NdpIgnored)?;
    let anycast = !l.has(ns.target.into());
    if anycast && !is_anycast(cx, l, ns.target) {
        return Err(DropReason::NdpIgnored);
    }
    match cx.live.dad.state(link, ns.target) {
        DadState::Valid => {}
        DadState::Tentative if probing => {
            // Somebody else is about to take the address we are about to take (RFC 4862 §5.4.3).
            let mut out = Vec::new();
            cx.live.dad.solicited(link, ns.target, ns.nonce, &mut out);
            tick::dad(cx, out);
            return Ok(());
        }
        DadState::Tentative | DadState::Duplicate => return Err(DropReason::AddressTentative),
    }
    if probing {
        advertise(cx, link, own, ns.target, ALL_NODES, Asked { solicited: false, by_group: true, anycast });
        return Ok(());
    }
    if let Some(mac) = ns.source_mac {
        if !mac.is_station() || mac == own {
            return Err(DropReason::NdpInvalid);
        }
        let mut actions = std::mem::take(&mut cx.me.actions);
        cx.live.neighbors.solicited(link, src.into(), mac, cx.now, &mut actions);
        resolve::apply(cx, actions);
    } else if dst.is_multicast() && cx.live.neighbors.get(link, src.into(), cx.now).is_none() {
        // It should have said where to answer to (RFC 4861 §4.3).
        return Err(DropReason::NdpInvalid);
    }
    let by_group = dst.is_multicast();
    advertise(cx, link, own, ns.target, src, Asked { solicited: true, by_group, anycast });
    Ok(())
}

/// The subnet-router anycast address of a prefix on this link (RFC 4291 §2.6.1).
fn is_anycast(cx: &Cx<'_>, link: &Link, addr: Ipv6Addr) -> bool {
    matches!(cx.snap.fib.lookup6(addr).map(|e| &e.action), Some(Route::Anycast(on)) if *on == link.id)
}

fn advertisement(cx: &mut Cx<'_>, link: LinkId, na: &ndp::NeighborAdvert) -> Result<(), DropReason> {
    let l = cx.snap.links.get(link).ok_or(DropReason::LinkDown)?;
    if na.target_mac.is_some_and(|m| !m.is_station() || Some(m) == l.mac) {
        return Err(DropReason::NdpInvalid);
    }
    if l.has(na.target.into()) {
        let mut out = Vec::new();
        cx.live.dad.advertised(link, na.target, &mut out);
        tick::dad(cx, out);
        return Ok(());
    }
    let advert =
        Advert { solicited: na.solicited, override_: na.override_, router: Some(na.router), create: false };
    let mut actions = std::mem::take(&mut cx.me.actions);
    cx.live.neighbors.advertised(link, na.target.into(), na.target_mac, advert, cx.now, &mut actions);
    resolve::apply(cx, actions);
    Ok(())
}

/// How an address was asked for.
struct Asked {
    /// By somebody who can be answered; a probe for duplicates can't.
    solicited: bool,
    /// By its group: whoever asked the station itself knows the MAC (RFC 4861 §7.2.4).
    by_group: bool,
    /// The address is an anycast one.
    anycast: bool,
}

fn advertise(cx: &mut Cx<'_>, link: LinkId, own: Mac, target: Ipv6Addr, to: Ipv6Addr, asked: Asked) {
    cx.tally(Tally::Advertisements);
    let Asked { solicited, by_group, anycast } = asked;
    // An anycast address is nobody's own: it is advertised from another, and overrides nothing
    // (RFC 4861 §7.2.7).
    let src = if anycast { source::on_link(cx, link, to.into()) } else { Some(target.into()) };
    let Some(IpAddr::V6(src)) = src else { return };
    let na = ndp::NeighborAdvert {
        router: true,
        solicited,
        override_: !anycast && by_group,
        target,
        target_mac: by_group.then_some(own),
    };
    emit(cx, link, (src, to), None, None, |buf| na.emit(src, to, buf));
}

/// Asks who has `target`: its solicited-node group, or the station that had it last.
pub(super) fn solicit(
    cx: &mut Cx<'_>,
    link: LinkId,
    target: Ipv6Addr,
    dest: Option<Mac>,
    hint: Option<IpAddr>,
) {
    let Some(own) = cx.snap.links.get(link).and_then(|l| l.mac) else { return };
    let Some(IpAddr::V6(src)) = source::for_solicit(cx, link, target.into(), hint) else { return };
    let to = if dest.is_some() { target } else { ndp::solicited_node(target) };
    let ns = ndp::NeighborSolicit { target, source_mac: Some(own), nonce: None };
    emit(cx, link, (src, to), dest, None, |buf| ns.emit(src, to, buf));
}

/// Asks whether anybody has the address that we are about to take.
pub(super) fn probe(cx: &mut Cx<'_>, link: LinkId, target: Ipv6Addr, nonce: [u8; 6]) {
    let ns = ndp::NeighborSolicit { target, source_mac: None, nonce: Some(nonce) };
    let (src, to) = (Ipv6Addr::UNSPECIFIED, ndp::solicited_node(target));
    emit(cx, link, (src, to), None, None, |buf| ns.emit(src, to, buf));
}

/// Tells the sender of `p` that `target` is the better first hop to its destination.
pub(super) fn send_redirect(cx: &mut Cx<'_>, p: &Packet, link: LinkId, target: Ipv6Addr) {
    let Some(ip) = Ipv6::new(p.l3()) else { return };
    let (src, dst) = (ip.src(), ip.dst());
    let Some(l) = cx.snap.links.get(link) else { return };
    let Some(from) = l.link_local() else { return };
    let target_mac = cx.live.neighbors.get(link, target.into(), cx.now).and_then(|n| n.mac);
    let redirect = ndp::Redirect { target, destination: dst, target_mac, redirected: p.l3() };
    emit(cx, link, (from, src), None, Some(p), |buf| redirect.emit(from, src, buf));
}

fn emit(
    cx: &mut Cx<'_>,
    link: LinkId,
    (src, dst): (Ipv6Addr, Ipv6Addr),
    to: Option<Mac>,
    because: Option<&Packet>,
    write: impl FnOnce(&mut [u8]) -> Option<usize>,
) {
    let mut message = [0; ROOM];
    let Some(message) = write(&mut message).and_then(|n| message.get(..n)) else { return };
    if let Some(mut made) = reply::icmp6(cx, src, dst, HOP_LIMIT, 0, message) {
        if let Some(p) = because {
            cx.caused(&mut made, p);
        }
        let bound = to.map_or(Bound::Link(link), |mac| Bound::Station(link, mac));
        cx.originate(made, bound);
    }
}

/// The link of a link-local peer that the local stack answers.
pub(super) fn link_of_peer(cx: &Cx<'_>, p: &Packet) -> Option<LinkId> {
    if p.meta.net == Net::Ipv4 {
        return None;
    }
    let dst = Ipv6::new(p.l3()).filter(|ip| ip.version() == 6)?.dst();
    if !dst.is_unicast_link_local() {
        return None;
    }
    cx.live.peers.lock().ok()?.get(&dst).copied()
}
