//! What stages tell of a packet that is followed, and nothing of one that is not.

use crate::base::{Column, DropReason, LinkId, Mac};
use crate::packet::{Meta, Net, Packet, TraceId};
use crate::path::hook::At;
use crate::path::{Cx, Local};
use crate::wire::describe::describe;

use super::draft::{Draft, LOCAL_STACK, Listener, Standing};
use super::follow::Parting;
use super::meet::{draft, late};
use super::{Glance, Point, Step, Tracer};

/// Frames that devices refused and that nobody followed, of which those who ask for drops have not heard yet, at most.
const MAX_REFUSED: usize = 1_024;

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
    let time = cx.live.tracer.time(cx.now);
    cx.draft(id, |draft| {
        draft.shoot(Point::of(at.hook), time, &link, false, p.l3());
        draft.push(Step::Hook { hook: at.hook.name().to_owned(), input, output });
    });
}

impl Cx<'_> {
    /// Adds to what has been gathered of a packet, if it is still remembered.
    fn draft<T>(&mut self, id: TraceId, f: impl FnOnce(&mut Draft) -> T) -> Option<T> {
        let live = self.live;
        self.me.trace.add(&live.tracer, id, f)
    }

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
        self.draft(id, |draft| draft.push(step));
    }

    /// A packet that is followed is about to be put where it waits, and others may take it out.
    #[inline]
    pub(in crate::path) fn note_parks(&mut self, p: &Packet, step: impl FnOnce(&Cx<'_>) -> Step) {
        if let Some(id) = p.meta.trace {
            let (live, step) = (self.live, step(self));
            self.me.trace.part(&live.tracer, id, Some(step));
        }
    }

    /// It was not put there after all.
    #[cold]
    pub(in crate::path) fn note_unparks(&mut self, id: TraceId) {
        self.draft(id, |draft| {
            draft.waited();
            draft.unsay();
        });
    }

    /// A packet that is followed is about to be put where it may have to wait. What there is to be said of it is told by
    /// [`Cx::note_parked`].
    #[inline]
    pub(in crate::path) fn note_may_park(&mut self, p: &Packet) -> Option<Parting> {
        let (id, live) = (p.meta.trace?, self.live);
        self.me.trace.part(&live.tracer, id, None)
    }

    /// What there is to be said of a packet that was put where it may have to wait, and whether it goes on at once.
    #[cold]
    pub(in crate::path) fn note_parked(&mut self, parting: Parting, steps: Vec<Step>, goes_on: bool) {
        let live = self.live;
        self.me.trace.parted(&live.tracer, parting, steps, goes_on);
    }

    /// A packet waits no more.
    #[inline]
    pub(in crate::path) fn note_unparked(&mut self, p: &Packet) {
        if let Some(id) = p.meta.trace {
            let (live, lane) = (self.live, self.me.lane);
            self.me.trace.unpark(&live.tracer, id, lane);
        }
    }

    /// A fragment that waited is part of a datagram now, which may be followed.
    #[cold]
    pub(in crate::path) fn note_absorbed(&mut self, id: TraceId, whole: Option<TraceId>) {
        self.draft(id, |draft| {
            draft.waited();
            draft.push(Step::Absorbed { into: whole.map(TraceId::get) });
        });
    }

    /// A packet that waited is gone.
    #[cold]
    pub(in crate::path) fn note_lost(&mut self, id: TraceId, reason: DropReason) {
        self.draft(id, |draft| {
            draft.waited();
            draft.dropped(reason);
        });
    }

    /// A packet is put into a link's outbox.
    #[inline]
    pub(in crate::path) fn note_sent(&mut self, p: &Packet, link: LinkId, mac: Option<Mac>) {
        if let Some(id) = p.meta.trace {
            self.noted_sent(p, link, mac, id);
        }
    }

    #[cold]
    fn noted_sent(&mut self, p: &Packet, link: LinkId, mac: Option<Mac>, id: TraceId) {
        let name = self.link_name(link).to_owned();
        let ethernet = p.meta.l3 > 0;
        let (live, time) = (self.live, self.live.tracer.time(self.now));
        let packet = describe(p.data(), ethernet);
        let step = Step::Sent { link: name.clone(), len: p.len(), mac: mac.map(|m| m.to_string()), packet };
        self.me.trace.give(&live.tracer, id, Some(link), |draft| {
            draft.shoot(Point::Egress, time, &name, ethernet, p.data());
            draft.ended(p);
            draft.given(Some(link), time, step);
        });
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
    pub(super) fn noted_drop(&mut self, p: &Packet, reason: DropReason, id: TraceId) {
        let (ethernet, link) = (self.is_framed(p), self.link_name(p.meta.ingress).to_owned());
        let time = self.live.tracer.time(self.now);
        let told = self.draft(id, |draft| {
            draft.shoot(Point::Drop, time, &link, ethernet, if ethernet { p.data() } else { p.l3() });
            draft.ended(p);
            draft.dropped(reason);
        });
        if told.is_none() {
            // It was told as far as it went when it was forgotten.
            late(self, p, reason);
        }
    }

    /// Somebody here has a packet.
    #[inline]
    pub(in crate::path) fn note_delivered(&mut self, p: &Packet) {
        if let Some(id) = p.meta.trace {
            self.draft(id, |draft| {
                draft.ended(p);
                draft.push(Step::Delivered { to: "this router".to_owned(), did: None });
            });
        }
    }

    /// A packet is put where the local stack fetches it.
    #[inline]
    pub(in crate::path) fn note_to_host(&mut self, p: &Packet) {
        if let Some(id) = p.meta.trace {
            let (live, time) = (self.live, self.live.tracer.time(self.now));
            self.me.trace.give(&live.tracer, id, None, |draft| {
                draft.ended(p);
                draft.given(None, time, Step::Given { to: LOCAL_STACK.to_owned() });
            });
        }
    }

    /// Tells those who ask for drops of packets that were refused after their walk.
    #[inline]
    pub(crate) fn note_refused(&mut self) {
        if !self.me.refused.is_empty() {
            self.tell_refused();
        }
    }

    #[cold]
    fn tell_refused(&mut self) {
        for (reason, packet) in std::mem::take(&mut self.me.refused) {
            late(self, &packet, reason);
            self.me.pool.put(packet);
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
        let live = self.live;
        let audience = self.draft(cause, |parent| {
            let audience = parent.audience.iter().map(|l| {
                let sure = l.standing == Standing::Sure;
                Listener::new(l.watch.clone(), if sure { Standing::Sure } else { Standing::As(cause) })
            });
            audience.collect::<Vec<_>>()
        });
        let Some(audience) = audience else { return };
        let mut child = draft(self, made, Glance::of(made.data(), false), audience, None, None);
        child.record.cause = Some(cause.get());
        child.push(Step::Made { len: made.len() });
        made.meta.trace = Some(child.id);
        let step = Step::Caused { id: child.id.get(), packet: child.record.packet.clone() };
        self.draft(cause, |parent| {
            parent.bear(child.id);
            parent.push(step);
        });
        self.me.trace.open(&live.tracer, child);
    }

    /// Whether a packet's bytes begin with an Ethernet header.
    pub(super) fn is_framed(&self, p: &Packet) -> bool {
        let unread = p.meta.net == Net::None && p.meta.column == Column::Received;
        p.meta.l3 > 0 || unread && self.snap.links.get(p.meta.ingress).is_some_and(|l| l.mac.is_some())
    }
}

impl Local {
    /// The packets that are followed among those that stand in a link's outbox, by their places there.
    #[inline]
    pub(crate) fn followed(&self, link: LinkId) -> Vec<(usize, TraceId)> {
        if !self.trace.has_given(link) {
            return Vec::new();
        }
        let queue = self.outbox.get(link.index()).into_iter().flatten();
        queue.enumerate().filter_map(|(at, p)| Some((at, p.meta.trace?))).collect()
    }

    /// The first `gone` frames have left a link's outbox, and the device has refused those of `kept`, by their places.
    #[cold]
    pub(crate) fn note_transmitted(
        &mut self,
        tracer: &Tracer,
        link: LinkId,
        gone: usize,
        followed: &[(usize, TraceId)],
        kept: Vec<(usize, Packet)>,
    ) {
        for (at, id) in followed.iter().filter(|(at, _)| *at < gone) {
            let refused = kept.iter().find(|(place, _)| place == at);
            let refused = refused.map(|(_, p)| (DropReason::EgressError, p));
            self.trace.handed(tracer, link, *id, refused);
        }
        for (_, packet) in kept {
            self.turned_away(packet, DropReason::EgressError);
        }
    }

    /// What becomes of the next frame of a link's outbox.
    #[inline]
    pub(crate) fn note_handed(
        &mut self,
        tracer: &Tracer,
        link: LinkId,
        packet: &Packet,
        refused: Option<DropReason>,
    ) {
        if let Some(id) = packet.meta.trace {
            self.trace.handed(tracer, link, id, refused.map(|reason| (reason, packet)));
        }
    }

    /// Keeps a packet that was refused for those who ask for drops, if nobody follows it; else its storage is free.
    pub(crate) fn turned_away(&mut self, packet: Packet, reason: DropReason) {
        let tells = packet.meta.trace.is_none() && self.trace.asks_drops();
        match tells && self.refused.len() < MAX_REFUSED {
            true => self.refused.push((reason, packet)),
            false => self.pool.put(packet),
        }
    }

    /// The local stack fetches what was put there for it.
    #[inline]
    pub(crate) fn host_fetches(&mut self, tracer: &Tracer) {
        self.trace.fetched(tracer);
    }

    /// The local stack has taken a packet that it had fetched, whoever put it there, and did this with it.
    #[inline]
    pub(crate) fn note_host_took(&mut self, tracer: &Tracer, meta: &Meta, did: Option<&str>) {
        if let Some(id) = meta.trace {
            self.trace.answered(tracer, id, did, None);
        }
    }

    /// The local stack has refused one, or it did not come to that.
    #[inline]
    pub(crate) fn note_host_refused(&mut self, tracer: &Tracer, packet: &mut Packet, reason: DropReason) {
        if let Some(id) = packet.meta.trace
            && !self.trace.answered(tracer, id, None, Some((reason, packet)))
        {
            // It was told as far as it went when it was forgotten.
            packet.meta.trace = None;
        }
    }

    /// Whether somebody follows packets.
    pub(crate) fn is_followed(&self) -> bool {
        self.trace.is_on()
    }

    /// Whether there is anything to tell of packets that are followed.
    #[inline]
    pub(crate) fn has_untold(&self) -> bool {
        self.trace.has_untold() || !self.refused.is_empty()
    }
}
