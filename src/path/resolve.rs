//! From the next hop to its MAC: the worker's memo first, then the neighbor table.
//!
//! The memo is what keeps the neighbor table's locks off the established path: it repeats an answer
//! of the table's for as long as the table said it may, and not past a change of its generation.

use std::hash::{Hash, Hasher};
use std::net::IpAddr;

use crate::base::counters::Tally;
use crate::base::hash::Quick;
use crate::base::{DropReason, Event, Instant, LinkId, Mac};
use crate::neighbor::Action;
use crate::packet::Packet;

use super::{Cx, Hop, arp, egress, ndp, reply};

/// Next hops remembered by a worker; a collision costs one look into the table.
const MEMO: usize = 256;

/// A worker's memory of next hops: direct-mapped.
#[derive(Debug)]
pub(super) struct Memo(Vec<Option<Known>>);

#[derive(Debug, Clone, Copy)]
struct Known {
    link: LinkId,
    ip: IpAddr,
    mac: Mac,
    until: Instant,
    generation: u64,
}

impl Memo {
    pub(super) fn new() -> Self {
        Memo(vec![None; MEMO])
    }

    fn slot(&mut self, link: LinkId, ip: IpAddr) -> &mut Option<Known> {
        let mut h = Quick::default();
        (link, ip).hash(&mut h);
        let at = h.finish() as usize % MEMO;
        &mut self.0[at]
    }
}

/// The MAC of the hop's neighbor and the packet, or `None` when the packet waits for it.
pub(super) fn resolve(cx: &mut Cx<'_>, p: Packet, hop: &Hop) -> Option<(Packet, Mac)> {
    if let Some(mac) = hop.mac {
        return Some((p, mac));
    }
    let generation = cx.live.neighbors.generation();
    if let Some(k) = cx.me.memo.slot(hop.link, hop.next)
        && (k.link, k.ip, k.generation) == (hop.link, hop.next, generation)
        && cx.now < k.until
    {
        let mac = k.mac;
        cx.tally(Tally::NextHopMemo);
        cx.note(&p, || format!("neighbor: {} is at {mac}, as remembered", hop.next));
        return Some((p, mac));
    }
    let column = p.meta.column;
    cx.note(&p, || format!("neighbor: looking up {} on {}", hop.next, cx.link_name(hop.link)));
    // It may have to wait there, and what waits is accounted by the memory it holds.
    let p = p.compact(&mut cx.me.pool);
    let mut actions = std::mem::take(&mut cx.me.actions);
    let ready = cx.live.neighbors.resolve(hop.link, hop.next, p, cx.now, &mut actions);
    if ready.is_none() {
        cx.me.counters.event(column, Event::Parked);
    }
    apply(cx, actions);
    let (p, ready) = ready?;
    *cx.me.memo.slot(hop.link, hop.next) =
        Some(Known { link: hop.link, ip: hop.next, mac: ready.mac, until: ready.until, generation });
    Some((p, ready.mac))
}

/// Does what the neighbor table wants done. Every packet among the actions had been counted as parked.
pub(super) fn apply(cx: &mut Cx<'_>, mut actions: Vec<Action>) {
    for action in actions.drain(..) {
        match action {
            Action::Solicit { link, target, dest, hint } => {
                cx.tally(Tally::Solicitations);
                match target {
                    IpAddr::V4(v4) => arp::request(cx, link, v4, dest, hint),
                    IpAddr::V6(v6) => ndp::solicit(cx, link, v6, dest, hint),
                }
            }
            Action::Send { link, ip, mac, packet } => {
                cx.me.counters.event(packet.meta.column, Event::Unparked);
                cx.note(&packet, || format!("neighbor: {ip} is at {mac}"));
                egress::frame(cx, packet, link, Some(mac));
                if !cx.me.draining.contains(&(link, ip)) {
                    cx.me.draining.push((link, ip));
                }
            }
            Action::Unreachable { packet, .. } => {
                cx.me.counters.event(packet.meta.column, Event::Unparked);
                reply::host_unreachable(cx, &packet);
                cx.drop(packet, DropReason::NeighborFailed);
            }
            Action::Failed { .. } => cx.tally(Tally::NeighborFailures),
            Action::Evicted { .. } => cx.tally(Tally::NeighborEvictions),
            Action::Drop { packet, reason } => {
                cx.me.counters.event(packet.meta.column, Event::Unparked);
                cx.drop(packet, reason);
            }
        }
    }
    cx.me.actions = actions;
}
