//! A worker's side of tracing: it meets packets, gathers what is done to those that are followed, and hands records over when
//! their walk has ended.
//!
//! What is being gathered of a packet is its *draft*. It is the worker's own, found by the number in the packet's metadata;
//! that of a packet which is held back somewhere stands with the [`Tracer`], for whichever worker goes on with it.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use crate::base::counters::Tally;
use crate::base::{Column, DropReason, Instant, LinkId};
use crate::conntrack::Flow;
use crate::packet::{CtState, FlowId, Net, Packet, TraceId};
use crate::path::Cx;
use crate::path::hook::At;
use crate::wire::describe::describe;

use super::expr::{Ending, Facts, Truth};
use super::glance::describe_arp;
use super::{End, Frame, Glance, Point, Points, Record, Shared, Step, Tracer};

/// Steps of one record at most.
const MAX_STEPS: usize = 256;
/// Frames of one record at most.
const MAX_FRAMES: usize = 128;
/// After so long each watch may have as many followed anew.
const WINDOW: Duration = Duration::from_secs(1);

/// Whom a worker follows packets for, and those that it is following.
#[derive(Debug, Default)]
pub(in crate::path) struct Following {
    generation: u32,
    watches: Vec<Active>,
    /// When the rates count from zero again.
    window: Instant,
    open: Vec<Draft>,
    /// Whether what comes now was taken from its device by another worker.
    pub(in crate::path) handed_over: bool,
}

/// A watch, and what it has had of this second.
#[derive(Debug)]
struct Active {
    shared: Arc<Shared>,
    followed: u32,
    told: u32,
}

/// What is being gathered of a packet.
#[derive(Debug)]
pub(super) struct Draft {
    pub(super) id: TraceId,
    record: Record,
    audience: Vec<Listener>,
    glance: Glance,
    outputs: Vec<String>,
    dropped: Option<DropReason>,
    mark: u32,
    state: CtState,
    flow: Option<(FlowId, Flow)>,
    end: Option<End>,
    points: Points,
    snaplen: usize,
}

/// A watch that may want a packet's record.
#[derive(Debug, Clone)]
struct Listener {
    watch: Arc<Shared>,
    standing: Standing,
    /// How many steps of the record it has had, if it has had any of it.
    told: Option<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// It wants it.
    Sure,
    /// The packet's end will tell.
    Maybe,
    /// It wants it if it wants that of the packet which caused this one.
    As(TraceId),
}

/// A packet that somebody may want followed.
#[derive(Debug)]
pub(in crate::path) struct Meeting {
    glance: Glance,
    heard: Vec<(usize, Truth)>,
    flow: Option<(FlowId, Flow)>,
    /// Whether it must walk for that; else it is enough that it does if it must anyway.
    pub(in crate::path) walks: bool,
}

impl Following {
    /// Whether anybody watches.
    #[inline]
    pub(in crate::path) fn is_on(&self) -> bool {
        !self.watches.is_empty()
    }

    /// Looks who watches now. Called for every batch.
    #[inline]
    pub(in crate::path) fn under(&mut self, tracer: &Tracer) {
        if self.generation != tracer.generation.load(Relaxed) {
            self.renew(tracer);
        }
    }

    #[cold]
    fn renew(&mut self, tracer: &Tracer) {
        let watches = super::lock(&tracer.watches);
        self.generation = tracer.generation.load(Relaxed);
        let old = std::mem::take(&mut self.watches);
        let had =
            |w: &Arc<Shared>| old.iter().find(|a| Arc::ptr_eq(&a.shared, w)).map(|a| (a.followed, a.told));
        self.watches = watches
            .iter()
            .map(|w| {
                let (followed, told) = had(w).unwrap_or_default();
                Active { shared: w.clone(), followed, told }
            })
            .collect();
    }

    /// Hands over what has been gathered. Called after every batch.
    #[inline]
    pub(in crate::path) fn settle(&mut self, tracer: &Tracer) {
        if !self.open.is_empty() {
            self.publish(tracer);
        }
    }

    #[cold]
    fn publish(&mut self, tracer: &Tracer) {
        let mut heard: Vec<(TraceId, Arc<Shared>)> = Vec::new();
        // Those that were caused stand behind those that caused them.
        for mut draft in self.open.drain(..) {
            let end = draft.end.unwrap_or(End::Parked);
            draft.record.end = end;
            for mut listener in std::mem::take(&mut draft.audience) {
                let wants = match listener.standing {
                    Standing::Sure => true,
                    Standing::As(cause) => {
                        heard.iter().any(|(id, w)| *id == cause && Arc::ptr_eq(w, &listener.watch))
                    }
                    Standing::Maybe if end == End::Parked => {
                        draft.audience.push(listener);
                        continue;
                    }
                    Standing::Maybe => draft.is_meant(&listener.watch) && listener.watch.take_one(),
                };
                if !wants {
                    continue;
                }
                heard.push((draft.id, listener.watch.clone()));
                listener.standing = Standing::Sure;
                // Its frames are told with what became of it.
                if end != End::Parked || !listener.watch.wants_frames() {
                    draft.tell(&mut listener);
                }
                if end != End::Parked {
                    draft.done_for(&listener);
                }
                draft.audience.push(listener);
            }
            if end == End::Parked && !draft.audience.is_empty() {
                tracer.park(draft);
            }
        }
    }

    /// What has been gathered of a packet so far.
    fn draft(&mut self, tracer: &Tracer, id: TraceId, lane: usize) -> Option<&mut Draft> {
        let at = match self.open.iter().rposition(|d| d.id == id) {
            Some(at) => at,
            None => {
                let mut draft = tracer.unpark(id)?;
                draft.record.continued = true;
                draft.record.worker = lane;
                draft.push(Step::Continued);
                self.open.push(draft);
                self.open.len() - 1
            }
        };
        self.open.get_mut(at)
    }
}

impl Draft {
    fn push(&mut self, step: Step) {
        match &step {
            Step::Sent { link, .. } => self.outputs.push(link.clone()),
            Step::Hook { output: Some(link), .. } if !self.outputs.contains(link) => {
                self.outputs.push(link.clone())
            }
            // A fragment that makes a datagram whole waits for no other.
            Step::Reassembly { state, .. }
                if state == "whole"
                    && matches!(self.record.steps.last(), Some(Step::Reassembly { state, .. }) if state == "waits") =>
            {
                self.record.steps.pop();
            }
            _ => {}
        }
        self.end = step.end();
        match self.record.steps.len() < MAX_STEPS {
            true => self.record.steps.push(step),
            false => self.record.more += 1,
        }
    }

    fn shoot(&mut self, point: Point, time: u64, link: &str, ethernet: bool, bytes: &[u8]) {
        if !self.points.has(point) || self.record.frames.len() >= MAX_FRAMES {
            return;
        }
        let data = bytes.get(..self.snaplen).unwrap_or(bytes).to_vec();
        let (link, step) = (link.to_owned(), self.record.steps.len());
        self.record.frames.push(Frame { point, link, time, ethernet, len: bytes.len(), data, step });
    }

    /// Whether a watch wants it, now that it has ended.
    fn is_meant(&self, watch: &Shared) -> bool {
        let end = Ending::Known {
            outputs: &self.outputs,
            dropped: self.dropped,
            mark: self.mark,
            state: self.state,
        };
        let input = self.record.link.as_deref();
        let facts = Facts { glance: &self.glance, input, flow: &|| self.flow, end };
        watch.wanted.filter.holds(&facts) == Truth::Yes
    }

    /// Tells a watch what it has not had.
    fn tell(&self, listener: &mut Listener) {
        listener.watch.publish(self.record_for(listener));
        listener.told = Some(self.record.steps.len());
    }

    /// Counts the packet among those that a watch has followed to their end.
    fn done_for(&self, listener: &Listener) {
        if self.record.cause.is_none() {
            listener.watch.done.fetch_add(1, Relaxed);
        }
    }

    /// Tells a watch what was kept back for it, if the packet began before.
    pub(super) fn hurry(&mut self, watch: &Arc<Shared>, before: u64) {
        let mut audience = std::mem::take(&mut self.audience);
        let waits = |l: &Listener| Arc::ptr_eq(&l.watch, watch) && l.told.is_none();
        for listener in audience.iter_mut().filter(|l| waits(l) && l.standing == Standing::Sure) {
            if self.record.time <= before {
                self.tell(listener);
            }
        }
        self.audience = audience;
    }

    /// Nobody will know what becomes of it: what was kept back is told, and nobody waits for its end.
    pub(super) fn forget(&mut self) {
        for mut listener in std::mem::take(&mut self.audience) {
            if listener.standing == Standing::Sure {
                if listener.told.is_none() {
                    self.tell(&mut listener);
                }
                self.done_for(&listener);
            }
        }
    }

    /// What it takes, in bytes, about.
    pub(super) fn held(&self) -> usize {
        super::held(&self.record)
    }

    /// The record as a watch is to have it: what it has had already is left out. Steps are not where frames are wanted, each
    /// of which is told with all that became of the packet.
    fn record_for(&self, listener: &Listener) -> Record {
        let from = listener.told.unwrap_or_default();
        let Shared { wanted, .. } = &*listener.watch;
        let frames = self.record.frames.iter().filter(|f| f.step >= from && wanted.points.has(f.point));
        let frames = frames.map(|f| {
            let data = f.data.get(..wanted.snaplen).unwrap_or(&f.data).to_vec();
            Frame { data, link: f.link.clone(), ..*f }
        });
        let from = if listener.watch.wants_frames() { 0 } else { from };
        Record {
            frames: frames.collect(),
            steps: self.record.steps.get(from..).unwrap_or_default().to_vec(),
            continued: listener.told.is_some(),
            packet: self.record.packet.clone(),
            link: self.record.link.clone(),
            cache: self.record.cache.clone(),
            ..self.record
        }
    }
}

/// Looks whether anybody may want a packet followed, before anything is done to it. `input`: the link it came in by, if it
/// did.
#[cold]
pub(in crate::path) fn meet(cx: &mut Cx<'_>, p: &Packet, input: Option<LinkId>) -> Option<Meeting> {
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
    if now >= following.window {
        following.window = now + WINDOW;
        following.watches.iter_mut().for_each(|a| (a.followed, a.told) = (0, 0));
    }
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
                (Truth::Yes, _) => active.shared.unfollowed.fetch_add(1, Relaxed),
                (_, true) => active.shared.unjudged.fetch_add(1, Relaxed),
                (_, false) => 0,
            };
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
        audience.push(Listener { watch: watch.clone(), standing, told: None });
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
    cx.me.trace.open.push(draft);
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

fn draft(
    cx: &Cx<'_>,
    p: &Packet,
    glance: Glance,
    audience: Vec<Listener>,
    input: Option<LinkId>,
    cache: Option<String>,
) -> Draft {
    let id = cx.live.tracer.number();
    let points = audience.iter().fold(Points::default(), |all, l| all.and(l.watch.wanted.points));
    let snaplen = audience.iter().map(|l| l.watch.wanted.snaplen).max().unwrap_or(0);
    let packet = match (input, p.meta.net) {
        (Some(_), _) if cx.is_framed(p) => describe(p.data(), true),
        (None, Net::Arp) => describe_arp(p.l3()),
        _ => describe(p.l3(), false),
    };
    Draft {
        id,
        record: Record {
            id: id.get(),
            cause: None,
            time: cx.live.tracer.time(cx.now),
            worker: cx.me.lane,
            link: input.map(|link| cx.link_name(link).to_owned()),
            packet,
            cache,
            continued: false,
            partial: false,
            steps: Vec::new(),
            more: 0,
            end: End::Parked,
            frames: Vec::new(),
        },
        audience,
        glance,
        outputs: Vec::new(),
        dropped: None,
        mark: 0,
        state: CtState::Unseen,
        flow: None,
        end: None,
        points,
        snaplen,
    }
}

/// A packet that is followed has come to a hook.
#[inline]
pub(in crate::path) fn at_hook(cx: &mut Cx<'_>, at: &At, p: &Packet) {
    if let Some(id) = p.meta.trace {
        came_to(cx, at, p, id);
    }
}

#[cold]
fn came_to(cx: &mut Cx<'_>, at: &At, p: &Packet, id: TraceId) {
    let name = |link: Option<LinkId>| link.map(|l| cx.link_name(l).to_owned());
    let (input, output) = (name(at.input), name(at.output));
    let link = cx.link_name(p.meta.ingress).to_owned();
    let (live, lane) = (cx.live, cx.me.lane);
    let time = live.tracer.time(cx.now);
    let Some(draft) = cx.me.trace.draft(&live.tracer, id, lane) else { return };
    draft.shoot(Point::of(at.hook), time, &link, false, p.l3());
    draft.push(Step::Hook { hook: at.hook.name().to_owned(), input, output });
}

impl Cx<'_> {
    /// Adds a step to the record of a packet that is followed.
    #[inline]
    pub(in crate::path) fn note(&mut self, p: &Packet, step: impl FnOnce(&Cx<'_>) -> Step) {
        if let Some(id) = p.meta.trace {
            let step = step(self);
            self.noted(id, step);
        }
    }

    /// Adds a step to the record of a packet that is followed and not at hand.
    #[cold]
    pub(in crate::path) fn noted(&mut self, id: TraceId, step: Step) {
        let (live, lane) = (self.live, self.me.lane);
        if let Some(draft) = self.me.trace.draft(&live.tracer, id, lane) {
            draft.push(step);
        }
    }

    /// A packet stands in a link's outbox.
    #[inline]
    pub(in crate::path) fn note_sent(&mut self, p: &Packet, link: LinkId, mac: Option<crate::base::Mac>) {
        if let Some(id) = p.meta.trace {
            self.noted_sent(p, link, mac, id);
        }
    }

    #[cold]
    fn noted_sent(&mut self, p: &Packet, link: LinkId, mac: Option<crate::base::Mac>, id: TraceId) {
        let name = self.link_name(link).to_owned();
        let ethernet = p.meta.l3 > 0;
        let (live, lane) = (self.live, self.me.lane);
        let time = live.tracer.time(self.now);
        let Some(draft) = self.me.trace.draft(&live.tracer, id, lane) else { return };
        draft.shoot(Point::Egress, time, &name, ethernet, p.data());
        ended(draft, p);
        let packet = describe(p.data(), ethernet);
        draft.push(Step::Sent { link: name, len: p.len(), mac: mac.map(|m| m.to_string()), packet });
    }

    /// A packet goes no further.
    #[inline]
    pub(in crate::path) fn note_drop(&mut self, p: &Packet, reason: DropReason) {
        match p.meta.trace {
            Some(id) => self.noted_drop(p, reason, id),
            None if self.me.trace.is_on() => late(self, p, reason),
            None => {}
        }
    }

    #[cold]
    fn noted_drop(&mut self, p: &Packet, reason: DropReason, id: TraceId) {
        let (ethernet, link) = (self.is_framed(p), self.link_name(p.meta.ingress).to_owned());
        let (live, lane) = (self.live, self.me.lane);
        let time = live.tracer.time(self.now);
        let Some(draft) = self.me.trace.draft(&live.tracer, id, lane) else {
            // It was told as far as it went then: waiting for others, say.
            return late(self, p, reason);
        };
        let bytes = if ethernet { p.data() } else { p.l3() };
        draft.shoot(Point::Drop, time, &link, ethernet, bytes);
        ended(draft, p);
        draft.dropped = Some(reason);
        draft.push(Step::Dropped { reason: reason.name().to_owned(), text: reason.text().to_owned() });
    }

    /// Somebody here has a packet.
    #[inline]
    pub(in crate::path) fn note_delivered(&mut self, p: &Packet, to: &str) {
        if let Some(id) = p.meta.trace {
            let (live, lane) = (self.live, self.me.lane);
            if let Some(draft) = self.me.trace.draft(&live.tracer, id, lane) {
                ended(draft, p);
                draft.push(Step::Delivered { to: to.to_owned() });
            }
        }
    }

    /// The router has made a packet because of another: who wants to hear of that one hears of this one.
    #[inline]
    pub(in crate::path) fn caused(&mut self, made: &mut Packet, by: &Packet) {
        made.meta.trace = None;
        if let Some(cause) = by.meta.trace {
            self.followed_too(made, cause);
        }
    }

    #[cold]
    fn followed_too(&mut self, made: &mut Packet, cause: TraceId) {
        let (live, lane) = (self.live, self.me.lane);
        let Some(parent) = self.me.trace.draft(&live.tracer, cause, lane) else { return };
        let audience = parent.audience.iter().map(|l| Listener {
            watch: l.watch.clone(),
            standing: if l.standing == Standing::Sure { Standing::Sure } else { Standing::As(cause) },
            told: None,
        });
        let audience = audience.collect();
        let mut child = draft(self, made, Glance::of(made.data(), false), audience, None, None);
        child.record.cause = Some(cause.get());
        child.push(Step::Made { len: made.len() });
        made.meta.trace = Some(child.id);
        let step = Step::Caused { id: child.id.get(), packet: child.record.packet.clone() };
        self.noted(cause, step);
        self.me.trace.open.push(child);
    }

    /// Whether a packet's bytes begin with an Ethernet header.
    fn is_framed(&self, p: &Packet) -> bool {
        let unread = p.meta.net == Net::None && p.meta.column == Column::Received;
        p.meta.l3 > 0 || unread && self.snap.links.get(p.meta.ingress).is_some_and(|l| l.mac.is_some())
    }
}

/// What filters may ask of a packet that has ended.
fn ended(draft: &mut Draft, p: &Packet) {
    draft.mark = p.meta.mark;
    draft.state = p.meta.ct.state;
}

/// A packet that was not followed is dropped, and somebody asks for drops: its end, at least, is told.
#[cold]
fn late(cx: &mut Cx<'_>, p: &Packet, reason: DropReason) {
    let (now, live, snap) = (cx.now, cx.live, cx.snap);
    let ethernet = cx.is_framed(p);
    let input = (p.meta.column == Column::Received).then_some(p.meta.ingress);
    let glance = Glance::of(if ethernet { p.data() } else { p.l3() }, ethernet);
    let flow = || {
        let (id, _, flow) = live.conntrack.find(&glance.tuple()?, now)?;
        Some((id, flow))
    };
    let end =
        Ending::Known { outputs: &[], dropped: Some(reason), mark: p.meta.mark, state: p.meta.ct.state };
    let name = input.and_then(|id| snap.links.get(id)).map(|l| l.name.as_str());
    let facts = Facts { glance: &glance, input: name, flow: &flow, end };
    let mut audience = Vec::new();
    for active in cx.me.trace.watches.iter_mut().filter(|a| a.shared.asks_drops && a.shared.has_room()) {
        let watch = &active.shared;
        if watch.wanted.filter.holds(&facts) != Truth::Yes {
            continue;
        }
        if active.told >= watch.wanted.rate || watch.is_full() {
            watch.unfollowed.fetch_add(1, Relaxed);
        } else if watch.take_one() {
            active.told += 1;
            audience.push(Listener { watch: watch.clone(), standing: Standing::Sure, told: None });
        }
    }
    if audience.is_empty() {
        return;
    }
    let mut draft = draft(cx, p, glance, audience, input, None);
    draft.record.partial = true;
    let id = draft.id;
    cx.me.trace.open.push(draft);
    cx.noted_drop(p, reason, id);
}
