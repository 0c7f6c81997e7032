//! ARP (RFC 826): answers for our addresses, learns from those who ask us, asks for others.
//!
//! As `arp_process`: any of our addresses is answered for on any Ethernet link (`arp_ignore` 0); who
//! asks is remembered, if `rp_filter` lets him; who merely announces himself only updates what is known
//! already (`arp_accept` 0). We differ in one thing: a group address as a sender's MAC is refused (RFC 1812
//! §3.3.2), and so is our own.

use std::net::{IpAddr, Ipv4Addr};

use crate::base::counters::Tally;
use crate::base::{Column, DropReason, Event, LinkId, Mac};
use crate::link::RpFilter;
use crate::neighbor::Advert;
use crate::packet::{L2Kind, Net, Packet};
use crate::wire::arp::{Arp, Op};

use super::{Cx, egress, resolve, route, source, trace};

/// An ARP packet came in.
pub(super) fn receive(cx: &mut Cx<'_>, p: Packet) {
    match process(cx, &p) {
        Ok(()) => cx.delivered(p),
        Err(reason) => cx.drop(p, reason),
    }
}

fn process(cx: &mut Cx<'_>, p: &Packet) -> Result<(), DropReason> {
    let link = p.meta.ingress;
    let own = cx.snap.links.get(link).and_then(|l| l.mac).ok_or(DropReason::ArpIgnored)?;
    let arp = Arp::parse(p.l3()).map_err(|_| DropReason::ArpInvalid)?;
    let (sender, target) = (arp.sender_ip, arp.target_ip);
    // Nobody else has our MAC: frames to him would come back to us.
    if !arp.sender_mac.is_station() || arp.sender_mac == own || sender.is_multicast() || sender.is_broadcast()
    {
        return Err(DropReason::ArpInvalid);
    }
    if target.is_multicast() || target.is_loopback() || sender.is_loopback() {
        return Err(DropReason::ArpIgnored);
    }
    let reply_wanted = arp.op == Op::Request && source::is_ours(cx, IpAddr::V4(target));
    if sender.is_unspecified() {
        // A probe for duplicates (RFC 5227): answered, and nothing learned.
        if !reply_wanted {
            return Err(DropReason::ArpIgnored);
        }
        reply(cx, link, own, target, &arp);
        return Ok(());
    }
    if cx.snap.links.owner(IpAddr::V4(sender)).is_some() {
        return Err(DropReason::MartianSource);
    }
    let filtered = cx.snap.links.get(link).is_some_and(|l| l.rp_filter != RpFilter::Off);
    if reply_wanted && filtered {
        route::from_where(cx, p, sender.into(), None)?;
    }
    let mut actions = std::mem::take(&mut cx.me.actions);
    let done = if reply_wanted {
        cx.live.neighbors.solicited(link, sender.into(), arp.sender_mac, cx.now, &mut actions);
        Ok(())
    } else {
        announced(cx, p, &arp, link, &mut actions)
    };
    resolve::apply(cx, actions);
    if reply_wanted {
        reply(cx, link, own, target, &arp);
    }
    done
}

/// A reply, a gratuitous announcement, or somebody else's question.
fn announced(
    cx: &Cx<'_>,
    p: &Packet,
    arp: &Arp,
    link: LinkId,
    actions: &mut Vec<crate::neighbor::Action>,
) -> Result<(), DropReason> {
    if !matches!(arp.op, Op::Request | Op::Reply) {
        return Err(DropReason::ArpInvalid);
    }
    // Only an answer sent to us alone shows that we can reach each other both ways.
    let gratuitous = arp.sender_ip == arp.target_ip;
    let solicited = arp.op == Op::Reply && p.meta.l2 == L2Kind::Host && !gratuitous;
    let advert = Advert { solicited, override_: gratuitous, router: None, create: false };
    let known = cx.live.neighbors.advertised(
        link,
        arp.sender_ip.into(),
        Some(arp.sender_mac),
        advert,
        cx.now,
        actions,
    );
    if known { Ok(()) } else { Err(DropReason::ArpIgnored) }
}

fn reply(cx: &mut Cx<'_>, link: LinkId, own: Mac, target: Ipv4Addr, asked: &Arp) {
    cx.tally(Tally::ArpReplies);
    let arp = Arp {
        op: Op::Reply,
        sender_mac: own,
        sender_ip: target,
        target_mac: asked.sender_mac,
        target_ip: asked.sender_ip,
    };
    emit(cx, link, asked.sender_mac, &arp);
}

/// Asks who has `target`: all stations, or the one that had it last.
pub(super) fn request(
    cx: &mut Cx<'_>,
    link: LinkId,
    target: Ipv4Addr,
    dest: Option<Mac>,
    hint: Option<IpAddr>,
) {
    let Some(own) = cx.snap.links.get(link).and_then(|l| l.mac) else { return };
    let sender_ip = match source::for_solicit(cx, link, target.into(), hint) {
        Some(IpAddr::V4(v4)) => v4,
        _ => Ipv4Addr::UNSPECIFIED,
    };
    let target_mac = dest.unwrap_or(Mac::ZERO);
    let arp = Arp { op: Op::Request, sender_mac: own, sender_ip, target_mac, target_ip: target };
    emit(cx, link, dest.unwrap_or(Mac::BROADCAST), &arp);
}

/// ARP passes no hook and needs no route: it goes straight to the link.
fn emit(cx: &mut Cx<'_>, link: LinkId, to: Mac, arp: &Arp) {
    let mut p = cx.me.pool.small();
    p.meta.column = Column::Originated;
    p.meta.ingress = LinkId::LO;
    p.meta.net = Net::Arp;
    cx.me.counters.event(Column::Originated, Event::Entered);
    if !p.append(&arp.emit()) {
        return cx.drop(p, DropReason::NotEncodable);
    }
    trace::made(cx, &mut p);
    if !cx.live.states.is_up(link) {
        return cx.drop(p, DropReason::LinkDown);
    }
    egress::frame(cx, p, link, Some(to));
}
