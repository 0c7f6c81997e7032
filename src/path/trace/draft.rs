//! What is being gathered of a packet, and for whom.
//!
//! A draft is over when nothing of its packet waits anywhere and its last step is an end. One whose frames stand in an outbox
//! is not asked before it is known what became of them ([`Draft::stands`]). Knows nothing of where drafts are kept.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use crate::base::{DropReason, LinkId};
use crate::conntrack::Flow;
use crate::packet::{CtState, FlowId, Packet, TraceId};

use super::expr::{Ending, Facts, Truth};
use super::{End, Frame, Glance, Point, Points, Record, Shared, Step};

/// Steps of one record at most.
const MAX_STEPS: usize = 256;
/// Frames of one record at most.
const MAX_FRAMES: usize = 128;
/// Packets that one has caused and that hear what becomes of it, at most.
const MAX_CHILDREN: usize = 64;

/// What is being gathered of a packet.
#[derive(Debug)]
pub(super) struct Draft {
    pub(super) id: TraceId,
    pub(super) record: Record,
    pub(super) audience: Vec<Listener>,
    pub(super) glance: Glance,
    pub(super) flow: Option<(FlowId, Flow)>,
    /// The packets that it has caused.
    pub(super) children: Vec<TraceId>,
    outputs: Vec<String>,
    dropped: Option<DropReason>,
    mark: u32,
    state: CtState,
    /// What the last step says.
    end: Option<End>,
    /// Pieces of it that wait somewhere.
    waiting: u32,
    /// Frames that were given to a link or the local stack, until it is known whether they were taken.
    standing: Vec<Given>,
    /// Whether it stood so after a batch.
    stood: bool,
    points: Points,
    snaplen: usize,
}

/// A frame that stands in an outbox.
#[derive(Debug)]
struct Given {
    /// Of which link; `None`: of the local stack.
    link: Option<LinkId>,
    /// The step that says so.
    step: usize,
    time: u64,
}

/// A watch that may want a packet's record.
#[derive(Debug, Clone)]
pub(super) struct Listener {
    pub(super) watch: Arc<Shared>,
    pub(super) standing: Standing,
    /// How many steps of the record it has had, if it has had any of it.
    pub(super) told: Option<usize>,
    /// Whether the packet is counted among those that the watch has followed to their end.
    pub(super) counted: bool,
}

impl Listener {
    /// One that has had nothing of it.
    pub(super) fn new(watch: Arc<Shared>, standing: Standing) -> Self {
        Listener { watch, standing, told: None, counted: false }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// It wants it.
    Sure,
    /// The packet's end will tell.
    Maybe,
    /// It wants it if it wants that of the packet which caused this one.
    As(TraceId),
}

/// The watches that want a packet's record.
pub(super) type Heard = Vec<Arc<Shared>>;

impl Draft {
    /// Of a packet of which nothing has been told yet.
    pub(super) fn new(id: TraceId, record: Record, glance: Glance, audience: Vec<Listener>) -> Draft {
        let points = audience.iter().fold(Points::default(), |all, l| all.and(l.watch.wanted.points));
        let snaplen = audience.iter().map(|l| l.watch.wanted.snaplen).max().unwrap_or(0);
        Draft {
            id,
            record,
            audience,
            glance,
            flow: None,
            children: Vec::new(),
            outputs: Vec::new(),
            dropped: None,
            mark: 0,
            state: CtState::Unseen,
            end: None,
            waiting: 0,
            standing: Vec::new(),
            stood: false,
            points,
            snaplen,
        }
    }

    pub(super) fn push(&mut self, step: Step) {
        match &step {
            Step::Sent { link, .. } => self.outputs.push(link.clone()),
            Step::Hook { output: Some(link), .. } if !self.outputs.contains(link) => {
                self.outputs.push(link.clone())
            }
            // A fragment that makes a datagram whole waits for no other.
            Step::Reassembly { state, .. } if state == "whole" && self.waits_for_fragments() => self.unsay(),
            _ => {}
        }
        if let (Step::Route { .. }, Some(Step::Caused { .. })) = (&step, self.record.steps.last()) {
            // The sender is told of what was found before it is known here.
            let before = self.record.steps.iter().rposition(|s| !matches!(s, Step::Caused { .. }));
            return self.fill(before.map_or(0, |at| at + 1), vec![step]);
        }
        self.end = step.end();
        match self.record.steps.len() < MAX_STEPS {
            true => self.record.steps.push(step),
            false => self.record.more += 1,
        }
    }

    fn waits_for_fragments(&self) -> bool {
        matches!(self.record.steps.last(), Some(Step::Reassembly { state, .. }) if state == "waits")
    }

    /// Takes back the last step: it did not come to that.
    pub(super) fn unsay(&mut self) {
        match self.record.more {
            0 => drop(self.record.steps.pop()),
            _ => self.record.more -= 1,
        }
        self.end = self.record.steps.last().and_then(Step::end);
    }

    /// Where the next step will stand.
    pub(super) fn place(&self) -> usize {
        self.record.steps.len()
    }

    /// Adds steps that were done before those that stand from `at` on: others went on with the packet meanwhile.
    pub(super) fn fill(&mut self, at: usize, steps: Vec<Step>) {
        if at >= self.record.steps.len() {
            return steps.into_iter().for_each(|step| self.push(step));
        }
        let n = steps.len();
        self.shift(at, n);
        self.record.steps.splice(at..at, steps);
    }

    /// Makes place in what refers to steps.
    fn shift(&mut self, at: usize, n: usize) {
        self.standing.iter_mut().filter(|g| g.step >= at).for_each(|g| g.step += n);
        self.record.frames.iter_mut().filter(|f| f.step >= at).for_each(|f| f.step += n);
    }

    pub(super) fn shoot(&mut self, point: Point, time: u64, link: &str, ethernet: bool, bytes: &[u8]) {
        if !self.points.has(point) || self.record.frames.len() >= MAX_FRAMES {
            return;
        }
        let data = bytes.get(..self.snaplen).unwrap_or(bytes).to_vec();
        let (link, step) = (link.to_owned(), self.record.steps.len());
        self.record.frames.push(Frame { point, link, time, ethernet, len: bytes.len(), data, step });
    }

    /// What filters may ask of a packet that has ended.
    pub(super) fn ended(&mut self, p: &Packet) {
        self.mark = p.meta.mark;
        self.state = p.meta.ct.state;
    }

    /// A piece of it went no further.
    pub(super) fn dropped(&mut self, reason: DropReason) {
        self.dropped = Some(reason);
        self.push(drop_step(reason));
    }

    /// A piece of it is put where it waits.
    pub(super) fn waits(&mut self) {
        self.waiting += 1;
    }

    /// A piece of it waits no more.
    pub(super) fn waited(&mut self) {
        self.waiting = self.waiting.saturating_sub(1);
    }

    /// A frame of it was given to a link, or to the local stack (`None`), as the step says.
    pub(super) fn given(&mut self, link: Option<LinkId>, time: u64, step: Step) {
        self.standing.push(Given { link, step: self.record.steps.len(), time });
        self.push(step);
    }

    /// Whether a frame of it stands where it is not known yet whether it will be taken.
    pub(super) fn stands(&self) -> bool {
        !self.standing.is_empty()
    }

    /// Whether it has stood so for longer than a batch, or is to be treated so: then its number, once.
    pub(super) fn stands_long(&mut self, is_long: bool) -> Option<TraceId> {
        (std::mem::replace(&mut self.stood, true) || is_long).then_some(self.id)
    }

    /// The first frame of it that was given to `link` was taken, or refused: then with its bytes.
    pub(super) fn handed(&mut self, link: LinkId, refused: Option<(DropReason, &Packet)>) {
        let Some(given) = self.given_to(Some(link)) else { return };
        let Some((reason, p)) = refused else { return };
        match self.record.steps.get_mut(given.step) {
            Some(step) => {
                step.unsend();
                self.shift(given.step + 1, 1);
                self.record.steps.insert(given.step + 1, drop_step(reason));
            }
            None => self.record.more += 1,
        }
        self.lost(reason, p, given.time, given.step + 1);
    }

    /// The local stack has done something with the first packet that it was given of it, or refused it.
    pub(super) fn answered(&mut self, did: Option<&str>, refused: Option<(DropReason, &Packet)>) {
        let Some(given) = self.given_to(None) else { return };
        let said = match refused {
            Some((reason, _)) => drop_step(reason),
            None => Step::Delivered { to: LOCAL_STACK.to_owned(), did: did.map(str::to_owned) },
        };
        let at = match self.audience.iter().any(|l| l.told.is_some_and(|told| told > given.step)) {
            // That it was given is told already.
            true => self.place(),
            false => given.step,
        };
        match self.record.steps.get_mut(at) {
            Some(step) => {
                *step = said;
                self.end = self.record.steps.last().and_then(Step::end);
            }
            None => self.push(said),
        }
        if let Some((reason, p)) = refused {
            self.lost(reason, p, given.time, at);
        }
    }

    fn given_to(&mut self, link: Option<LinkId>) -> Option<Given> {
        let at = self.standing.iter().position(|g| g.link == link)?;
        Some(self.standing.remove(at))
    }

    /// What it was given to did not take it, as this step says.
    fn lost(&mut self, reason: DropReason, p: &Packet, time: u64, step: usize) {
        self.dropped = Some(reason);
        let came_by = self.record.link.clone().unwrap_or_else(|| "lo".to_owned());
        let ethernet = p.meta.l3 > 0;
        let frames = self.record.frames.len();
        self.shoot(Point::Drop, time, &came_by, ethernet, if ethernet { p.data() } else { p.l3() });
        // It belongs to that step, not to the last.
        self.record.frames.iter_mut().skip(frames).for_each(|f| f.step = step);
    }

    fn ends(&self) -> End {
        match (self.waiting, self.dropped) {
            (0, _) if self.stands() => End::Parked,
            (0, Some(_)) => End::Dropped,
            (0, None) => self.end.unwrap_or(End::Parked),
            _ => End::Parked,
        }
    }

    /// Whether nothing more will become of it.
    pub(super) fn is_over(&self) -> bool {
        self.ends() != End::Parked && !self.stands()
    }

    /// Tells those that want it what they have not had, and gives them. Who can't say yet, or is to hear more, stays in
    /// its audience.
    pub(super) fn conclude(&mut self) -> Heard {
        self.record.end = self.ends();
        let over = self.is_over();
        let mut heard = Heard::new();
        for mut listener in std::mem::take(&mut self.audience) {
            let wants = match listener.standing {
                Standing::Sure => true,
                Standing::Maybe if over => self.is_meant(&listener.watch) && listener.watch.take_one(),
                Standing::Maybe | Standing::As(_) => {
                    self.audience.push(listener);
                    continue;
                }
            };
            if !wants {
                continue;
            }
            listener.standing = Standing::Sure;
            heard.push(listener.watch.clone());
            // Its frames are told with what became of it.
            if (over || !listener.watch.wants_frames()) && listener.told != Some(self.place()) {
                self.tell(&mut listener);
            }
            match over {
                true => self.done_for(&mut listener),
                false => self.audience.push(listener),
            }
        }
        heard
    }

    /// The packet that caused it is over, and these wanted its record.
    pub(super) fn hear(&mut self, cause: TraceId, heard: &Heard) {
        let wanted = |l: &Listener| heard.iter().any(|w| Arc::ptr_eq(w, &l.watch));
        self.audience.retain(|l| l.standing != Standing::As(cause) || wanted(l));
        let those = self.audience.iter_mut().filter(|l| l.standing == Standing::As(cause));
        those.for_each(|l| l.standing = Standing::Sure);
    }

    /// The packet that caused it.
    pub(super) fn cause(&self) -> Option<TraceId> {
        self.record.cause.and_then(TraceId::new)
    }

    /// It has caused another.
    pub(super) fn bear(&mut self, child: TraceId) {
        if self.children.len() < MAX_CHILDREN {
            self.children.push(child);
        }
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
        listener.told = Some(self.place());
    }

    /// Counts the packet among those that a watch has followed to their end.
    fn done_for(&self, listener: &mut Listener) {
        if self.record.cause.is_none() && !std::mem::replace(&mut listener.counted, true) {
            listener.watch.done.fetch_add(1, Relaxed);
        }
    }

    /// Tells a watch what was kept back for it, if the packet began before: it waits for that one no longer.
    pub(super) fn hurry(&mut self, watch: &Arc<Shared>, before: u64) {
        let mut audience = std::mem::take(&mut self.audience);
        let waits = |l: &Listener| Arc::ptr_eq(&l.watch, watch) && l.told.is_none();
        for listener in audience.iter_mut().filter(|l| waits(l) && l.standing == Standing::Sure) {
            if self.record.time <= before {
                self.record.end = self.ends();
                self.tell(listener);
                self.done_for(listener);
            }
        }
        self.audience = audience;
    }

    /// A watch ends: it is told how far the packet has come, if it means it as far as is known by now. `told`: those that it
    /// was told of so. Whether it was.
    pub(super) fn part_with(&mut self, watch: &Arc<Shared>, told: &[TraceId]) -> bool {
        let Some(at) = self.audience.iter().position(|l| Arc::ptr_eq(&l.watch, watch)) else { return false };
        let mut listener = self.audience.remove(at);
        let wants = match listener.standing {
            Standing::Sure => true,
            Standing::Maybe => self.is_meant(watch) && watch.take_one(),
            Standing::As(cause) => told.contains(&cause),
        };
        if wants && listener.told != Some(self.place()) {
            self.record.end = self.ends();
            self.tell(&mut listener);
        }
        wants
    }

    /// Nobody will know what becomes of it: what was kept back is told, and nobody waits for its end. Gives those who wanted
    /// it.
    pub(super) fn forget(&mut self) -> Heard {
        self.record.end = self.ends();
        let mut heard = Heard::new();
        for mut listener in std::mem::take(&mut self.audience) {
            if listener.standing == Standing::Sure {
                if listener.told.is_none() {
                    self.tell(&mut listener);
                }
                self.done_for(&mut listener);
                heard.push(listener.watch);
            }
        }
        heard
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
        let mut steps = self.record.steps.clone();
        // What stands in a link's queue has not left.
        let queued = self.standing.iter().filter(|g| g.link.is_some());
        queued.for_each(|g| steps.get_mut(g.step).into_iter().for_each(Step::unsend));
        steps.drain(..if listener.watch.wants_frames() { 0 } else { from.min(steps.len()) });
        Record {
            frames: frames.collect(),
            steps,
            continued: listener.told.is_some(),
            packet: self.record.packet.clone(),
            link: self.record.link.clone(),
            cache: self.record.cache.clone(),
            ..self.record
        }
    }
}

/// Whom TCP and open UDP ports belong to.
pub(super) const LOCAL_STACK: &str = "the local stack";

fn drop_step(reason: DropReason) -> Step {
    Step::Dropped { reason: reason.name().to_owned(), text: reason.text().to_owned() }
}
