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

use super::trace::{Parting, Step};
use super::{Cx, Hop, arp, egress, ndp, reply};

/// Places of a worker's memory of next hops: in sets of [`WAYS`]. What finds none costs one look into the table.
const MEMO: usize = 1024;
/// Next hops whose hashes agree that are remembered at once.
const WAYS: usize = 4;

/// A worker's memory of next hops.
#[derive(Debug)]
pub(super) struct Memo {
    places: Vec<Place>,
    /// Who makes way in a full set.
    turn: usize,
}

/// One next hop, and how many stood in its place before.
#[derive(Debug, Clone, Copy, Default)]
struct Place {
    known: Option<Known>,
    tenant: u32,
}

#[derive(Debug, Clone, Copy)]
struct Known {
    link: LinkId,
    ip: IpAddr,
    mac: Mac,
    until: Instant,
    generation: u64,
}

/// A next hop by the place where it is remembered: quicker to find than by its address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Remembered {
    pub(super) place: u16,
    pub(super) tenant: u32,
}

impl Memo {
    pub(super) fn new() -> Self {
        Memo { places: vec![Place::default(); MEMO], turn: 0 }
    }

    /// The set that a next hop is in.
    #[inline]
    fn set(link: LinkId, ip: IpAddr) -> std::ops::Range<usize> {
        let mut h = Quick::default();
        (link, ip).hash(&mut h);
        let first = h.finish() as usize % (MEMO / WAYS) * WAYS;
        first..first + WAYS
    }

    #[inline]
    fn find(&self, link: LinkId, ip: IpAddr) -> Option<(usize, &Known)> {
        let set = Self::set(link, ip);
        self.places[set.clone()].iter().zip(set).find_map(|(place, at)| {
            let known = place.known.as_ref()?;
            (known.link == link && known.ip == ip).then_some((at, known))
        })
    }

    /// The MAC of a next hop, while it may be used.
    #[inline]
    fn mac(&self, link: LinkId, ip: IpAddr, now: Instant, generation: u64) -> Option<Mac> {
        self.find(link, ip).and_then(|(_, known)| known.now(now, generation))
    }

    /// The same of one whose place is known, if it is still there.
    #[inline]
    pub(super) fn mac_at(&self, at: Remembered, now: Instant, generation: u64) -> Option<Mac> {
        let place = self.places.get(usize::from(at.place)).filter(|p| p.tenant == at.tenant)?;
        place.known.as_ref()?.now(now, generation)
    }

    /// Where a next hop stands whose MAC may be used.
    pub(super) fn place(&self, hop: &Hop, now: Instant, generation: u64) -> Option<Remembered> {
        let (at, known) = self.find(hop.link, hop.next)?;
        known.now(now, generation)?;
        Some(Remembered { place: at as u16, tenant: self.places[at].tenant })
    }

    /// Remembers a next hop: in its own place if it has one, else in a free one, or that of one that has to be asked for
    /// anyway; else they take turns.
    fn remember(&mut self, known: Known, now: Instant) {
        let set = Self::set(known.link, known.ip);
        let at = match self.find(known.link, known.ip) {
            Some((at, _)) => at,
            None => {
                self.turn += 1;
                let of_no_use =
                    |p: &Place| p.known.as_ref().is_none_or(|k| k.now(now, known.generation).is_none());
                let free = self.places[set.clone()].iter().position(of_no_use);
                let at = set.start + free.unwrap_or(self.turn % WAYS);
                self.places[at].tenant = self.places[at].tenant.wrapping_add(1);
                at
            }
        };
        self.places[at].known = Some(known);
    }
}

impl Known {
    #[inline]
    fn now(&self, now: Instant, generation: u64) -> Option<Mac> {
        (self.generation == generation && now < self.until).then_some(self.mac)
    }
}

/// The MAC of the hop's neighbor and the packet, or `None` when the packet waits for it.
pub(super) fn resolve(cx: &mut Cx<'_>, p: Packet, hop: &Hop) -> Option<(Packet, Mac)> {
    if let Some(mac) = hop.mac {
        return Some((p, mac));
    }
    let generation = cx.live.neighbors.generation();
    if let Some(mac) = cx.me.memo.mac(hop.link, hop.next, cx.now, generation) {
        cx.tally(Tally::NextHopMemo);
        cx.note(&p, |cx| told(cx, hop, "remembered", Some(mac)));
        return Some((p, mac));
    }
    let column = p.meta.column;
    let parting = cx.note_may_park(&p);
    // It may have to wait there, and what waits is accounted by the memory it holds.
    let p = p.compact(&mut cx.me.pool);
    let mut actions = std::mem::take(&mut cx.me.actions);
    let ready = cx.live.neighbors.resolve(hop.link, hop.next, p, cx.now, &mut actions);
    if ready.is_none() {
        cx.me.counters.event(column, Event::Parked);
    }
    if let Some(parting) = parting {
        looked_up(cx, hop, parting, ready.as_ref().map(|(_, ready)| ready.mac));
    }
    apply(cx, actions);
    let (p, ready) = ready?;
    let known = Known { link: hop.link, ip: hop.next, mac: ready.mac, until: ready.until, generation };
    cx.me.memo.remember(known, cx.now);
    Some((p, ready.mac))
}

/// What the table said of a packet's next hop.
#[cold]
fn looked_up(cx: &mut Cx<'_>, hop: &Hop, parting: Parting, mac: Option<Mac>) {
    let found = cx.live.neighbors.get(hop.link, hop.next, cx.now);
    let known = mac.or_else(|| found.as_ref().and_then(|n| n.mac));
    let mut steps = vec![told(cx, hop, found.map_or("unknown", |n| n.state.name()), known)];
    if mac.is_none() {
        let why = match known {
            None => format!("until {} says its MAC", hop.next),
            Some(_) => format!("behind others for {}", hop.next),
        };
        steps.push(Step::Parked { why });
    }
    cx.note_parked(parting, steps, mac.is_some());
}

fn told(cx: &Cx<'_>, hop: &Hop, state: &str, mac: Option<Mac>) -> Step {
    Step::Neighbor {
        dev: cx.link_name(hop.link).to_owned(),
        ip: hop.next.to_string(),
        state: state.to_owned(),
        mac: mac.map(|m| m.to_string()),
    }
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
                cx.note_unparked(&packet);
                cx.note(&packet, |cx| told(cx, &Hop::to(link, ip), "answered", Some(mac)));
                egress::frame(cx, packet, link, Some(mac));
                if !cx.me.draining.contains(&(link, ip)) {
                    cx.me.draining.push((link, ip));
                }
            }
            Action::Unreachable { link, ip, packet } => {
                cx.me.counters.event(packet.meta.column, Event::Unparked);
                cx.note_unparked(&packet);
                cx.note(&packet, |cx| told(cx, &Hop::to(link, ip), "FAILED", None));
                reply::host_unreachable(cx, &packet);
                cx.drop(packet, DropReason::NeighborFailed);
            }
            Action::Failed { .. } => cx.tally(Tally::NeighborFailures),
            Action::Evicted { .. } => cx.tally(Tally::NeighborEvictions),
            Action::Drop { packet, reason } => {
                cx.me.counters.event(packet.meta.column, Event::Unparked);
                cx.note_unparked(&packet);
                cx.drop(packet, reason);
            }
        }
    }
    cx.me.actions = actions;
}
