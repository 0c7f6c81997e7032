//! Where following begins: a packet is looked at before anything is done to it, and somebody wants it, or may.

use crate::base::counters::Tally;
use crate::base::{Column, DropReason, LinkId};
use crate::conntrack::Flow;
use crate::packet::{FlowId, Net, Packet};
use crate::path::Cx;
use crate::wire::describe::describe;

use super::draft::{Draft, Listener, Standing};
use super::expr::{Ending, Facts, Truth};
use super::glance::describe_arp;
use super::{Glance, Point, Record, Step, Untold};

/// A packet that somebody may want followed.
#[derive(Debug)]
pub(in crate::path) struct Meeting {
    glance: Glance,
    heard: Vec<(usize, Truth)>,
    flow: Option<(FlowId, Flow)>,
    /// Whether it must walk for that; else it is enough that it does if it must anyway.
    pub(in crate::path) walks: bool,
}

/// Looks whether anybody may want a packet followed, before anything is done to it. `input`: the link it came in by, if it
/// did.
#[cold]
pub(in crate::path) fn meet(cx: &mut Cx<'_>, p: &mut Packet, input: Option<LinkId>) -> Option<Meeting> {
    let (now, live, snap) = (cx.now, cx.live, cx.snap);
    let link = input.and_then(|id| snap.links.get(id));
    let glance = match (input, p.meta.net) {
        (Some(_), _) => Glance::of(p.data(), link.is_some_and(|l| l.mac.is_some())),
        (None, Net::Arp) => Glance::arp(p.l3()),
        (None, _) => Glance::of(p.l3(), false),
    };
    let found = std::cell::OnceCell::new();
    let flow = || {
        *found.get_or_init(|| {
            let (id, _, flow) = live.conntrack.find(&glance.tuple()?, now)?;
            Some((id, flow))
        })
    };
    let following = &mut cx.me.trace;
    following.recount(now);
    p.meta.untold = 0;
    let (mut heard, mut walks) = (Vec::new(), false);
    for (at, active) in following.watches.iter().enumerate().filter(|(_, a)| a.shared.has_room()) {
        let filter = &active.shared.wanted.filter;
        let facts = |end| Facts { glance: &glance, input: link.map(|l| l.name.as_str()), flow: &flow, end };
        let truth = filter.holds(&facts(Ending::Open));
        if truth == Truth::No {
            continue;
        }
        // One that only asks for drops learns of them in any case.
        let by_walk = truth == Truth::Yes || filter.holds(&facts(Ending::Passes)) != Truth::No;
        // Who has had enough this second costs no more than this.
        if active.followed >= active.shared.wanted.rate || active.shared.is_full() {
            match (truth, by_walk) {
                (Truth::Yes, _) => active.shared.count(&mut p.meta.untold, Untold::Unfollowed),
                (_, true) => active.shared.count(&mut p.meta.untold, Untold::Unjudged),
                (_, false) => {}
            }
            continue;
        }
        walks |= by_walk;
        heard.push((at, truth));
    }
    let flow = found.into_inner().flatten();
    (!heard.is_empty()).then_some(Meeting { glance, heard, flow, walks })
}

/// Begins to follow a packet that has been met, as far as there is room this second.
#[cold]
pub(in crate::path) fn begin(
    cx: &mut Cx<'_>,
    p: &mut Packet,
    met: Meeting,
    input: Option<LinkId>,
    cache: Option<String>,
) {
    let following = &mut cx.me.trace;
    let mut audience = Vec::new();
    for (at, truth) in met.heard {
        let Some(active) = following.watches.get_mut(at) else { continue };
        let watch = &active.shared;
        let standing = if truth == Truth::Yes { Standing::Sure } else { Standing::Maybe };
        if standing == Standing::Sure && !watch.take_one() {
            continue;
        }
        active.followed += 1;
        audience.push(Listener::new(watch.clone(), standing));
    }
    if audience.is_empty() {
        return;
    }
    if input.is_some() {
        cx.tally(Tally::FlowCacheTraced);
    }
    let mut draft = draft(cx, p, met.glance, audience, input, cache);
    draft.flow = met.flow;
    let first = match input {
        Some(link) => Step::Received {
            link: cx.link_name(link).to_owned(),
            len: p.len(),
            handed_over: cx.me.trace.handed_over,
        },
        None => Step::Made { len: p.len() },
    };
    if let Some(link) = input {
        let ethernet = cx.snap.links.get(link).is_some_and(|l| l.mac.is_some());
        draft.shoot(Point::Ingress, draft.record.time, cx.link_name(link), ethernet, p.data());
    }
    draft.push(first);
    p.meta.trace = Some(draft.id);
    let live = cx.live;
    cx.me.trace.open(&live.tracer, draft);
}

/// The router made a packet: it is followed if somebody wants it.
#[inline]
pub(in crate::path) fn made(cx: &mut Cx<'_>, p: &mut Packet) {
    if cx.me.trace.is_on()
        && p.meta.trace.is_none()
        && let Some(met) = meet(cx, p, None)
    {
        begin(cx, p, met, None, None);
    }
}

pub(super) fn draft(
    cx: &Cx<'_>,
    p: &Packet,
    glance: Glance,
    audience: Vec<Listener>,
    input: Option<LinkId>,
    cache: Option<String>,
) -> Draft {
    let id = cx.live.tracer.number();
    let packet = match (input, p.meta.net) {
        (Some(_), _) if cx.is_framed(p) => describe(p.data(), true),
        (None, Net::Arp) => describe_arp(p.l3()),
        _ => describe(p.l3(), false),
    };
    let record = Record {
        time: cx.live.tracer.time(cx.now),
        worker: cx.me.lane,
        link: input.map(|link| cx.link_name(link).to_owned()),
        packet,
        cache,
        ..Record::new(id)
    };
    Draft::new(id, record, glance, audience)
}

/// A packet that was not followed is dropped, and somebody asks for drops: its end, at least, is told.
#[cold]
pub(super) fn late(cx: &mut Cx<'_>, p: &Packet, reason: DropReason) {
    let (now, live, snap) = (cx.now, cx.live, cx.snap);
    let ethernet = cx.is_framed(p);
    let input = (p.meta.column == Column::Received).then_some(p.meta.ingress);
    let glance = Glance::of(if ethernet { p.data() } else { p.l3() }, ethernet);
    let flow = || {
        let (id, _, flow) = live.conntrack.find(&glance.tuple()?, now)?;
        Some((id, flow))
    };
    let end = Ending::Dropped { reason, mark: p.meta.mark, state: p.meta.ct.state };
    let name = input.and_then(|id| snap.links.get(id)).map(|l| l.name.as_str());
    let facts = Facts { glance: &glance, input: name, flow: &flow, end };
    let mut audience = Vec::new();
    cx.me.trace.recount(now);
    for active in cx.me.trace.watches.iter_mut().filter(|a| a.shared.asks_drops && a.shared.has_room()) {
        let watch = &active.shared;
        let mut untold = p.meta.untold;
        match watch.wanted.filter.holds(&facts) {
            Truth::Yes => {}
            // It may have been counted when it came.
            Truth::Maybe if watch.has_counted(untold) => continue,
            Truth::Maybe => {
                watch.count(&mut untold, Untold::Unjudged);
                continue;
            }
            Truth::No => {
                watch.uncount(untold);
                continue;
            }
        }
        watch.uncount(untold);
        if active.told >= watch.wanted.rate || watch.is_full() {
            watch.count(&mut untold, Untold::Unfollowed);
        } else if watch.take_one() {
            active.told += 1;
            audience.push(Listener::new(watch.clone(), Standing::Sure));
        }
    }
    if audience.is_empty() {
        return;
    }
    let mut draft = draft(cx, p, glance, audience, input, None);
    draft.record.partial = true;
    let id = draft.id;
    cx.me.trace.open(&live.tracer, draft);
    cx.noted_drop(p, reason, id);
}
