//! The two stages of conntrack on a packet's way: finding or beginning its flow, and putting a flow that began
//! into the table when its first packet has passed every rule.
//!
//! What is done is what `nf_conntrack_core.c` of Linux 6.18 does:
//!
//! ```text
//! track    ICMP error ──────────────► RELATED to the flow its quote belongs to, or INVALID
//!          tuple unknown ───────────► NEW: a flow of the worker's own, not in the table yet
//!          known, original way ─────► ESTABLISHED once answered, NEW (or RELATED) before
//!          known, reply way ────────► ESTABLISHED, and the flow is answered
//!          and in each case what its protocol says: go on, INVALID, end it, begin it anew
//! confirm  both tuples free ────────► into the table
//!          one is another's ────────► join it if it is the same flow, else drop
//! ```
//!
//! One difference: a full table gives up a flow for a new one at `confirm`, not at `track`; a packet that the
//! rules drop costs nobody anything. `track` refuses a packet if nothing could be given up for it.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use super::events::{EventKind, Told};
use super::protocol::judge;
use super::table::{Conntrack, Found, Insertion, Under};
use super::{Current, Flow, State, Step, icmp, tuple};
use crate::base::{DropReason, Hook, Instant};
use crate::packet::{Ct, CtState, Direction, FlowId, Frag, Packet, Status};
use crate::wire::proto;

/// What became of a packet at the conntrack stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tracked {
    /// It was seen before, or is not to be tracked.
    Passed,
    /// It begins a flow, which the worker holds.
    Begun,
    /// It belongs to a flow that is in the table.
    Known,
    /// It is an ICMP error about a flow that is in the table.
    Related,
    /// It is of a kind that is never tracked (neighbor discovery).
    Untracked,
    /// It belongs to no flow and can begin none.
    Invalid,
}

/// What became of a flow at the last stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Confirmed {
    /// There was nothing to do.
    Passed,
    /// It is in the table now.
    Inserted,
    /// It was there already, begun by another packet at the same moment: the packet belongs to that one now.
    Joined,
}

impl Conntrack {
    /// The conntrack stage, at PREROUTING and OUTPUT: finds or begins the packet's flow, goes on with its
    /// protocol, fills `meta.ct`, and leaves the flow in `current`.
    ///
    /// A packet that was tracked before (it came round by the loopback) has its flow fetched again.
    ///
    /// # Errors
    ///
    /// Where the kernel drops: the table is full. And if the flow of a packet that came round is gone, and was not held.
    pub fn track(
        &self,
        p: &mut Packet,
        hook: Hook,
        now: Instant,
        current: &mut Option<Current>,
    ) -> Result<Tracked, DropReason> {
        if p.meta.ct.is_tracked() {
            return self.again(p, current);
        }
        *current = None;
        if p.meta.ct.state != CtState::Unseen {
            return Ok(Tracked::Passed);
        }
        // What passes here was put together before; a piece all the same was meant to be seen as one.
        if p.meta.frag != Frag::Whole {
            return Ok(invalid(p));
        }
        if matches!(p.meta.proto, proto::ICMP | proto::ICMPV6) {
            match icmp::look(p, hook, &self.config) {
                icmp::Looked::Query => {}
                icmp::Looked::Untracked => {
                    p.meta.ct.state = CtState::Untracked;
                    return Ok(Tracked::Untracked);
                }
                icmp::Looked::Invalid => return Ok(invalid(p)),
                icmp::Looked::Error => return Ok(self.relate(p, now, current)),
            }
        }
        let Some(tuple) = tuple::of(p) else { return Ok(invalid(p)) };
        let hash = self.hash(&tuple);
        loop {
            let Some(found) = self.look_up(&tuple, hash, now) else { break };
            let id = found.id;
            match self.go_on(p, hook, now, found, current) {
                Step::Accept { .. } => return Ok(Tracked::Known),
                Step::Invalid { .. } => return Ok(invalid(p)),
                Step::Remove => {
                    self.remove(id);
                    return Ok(Tracked::Known);
                }
                Step::Reopen => {
                    self.remove(id);
                }
            }
        }
        if !self.has_room(hash, now) {
            self.counts.full.fetch_add(1, Relaxed);
            return Err(DropReason::ConntrackFull);
        }
        let Some(answer) = tuple::invert(&tuple) else { return Ok(invalid(p)) };
        let mut flow = Flow {
            tuples: [tuple, answer],
            status: Status::default(),
            mark: 0,
            state: State::Other,
            deadline: Instant::ZERO,
            masquerade: None,
        };
        match judge(p, hook, &self.config, &mut flow, Direction::Original, now) {
            Step::Accept { timeout, .. } => {
                // Counted from the moment it is confirmed.
                flow.deadline = Instant::ZERO + timeout.unwrap_or_default();
                p.meta.ct.state = CtState::New;
                p.meta.ct.dir = Direction::Original;
                p.meta.ct.flow = None;
                *current = Some(Current { id: None, flow });
                Ok(Tracked::Begun)
            }
            Step::Invalid { .. } | Step::Remove | Step::Reopen => Ok(invalid(p)),
        }
    }

    /// The last stage, at INPUT and POSTROUTING: puts the flow of a first packet into the table, under both
    /// its tuples as NAT left them. Any other packet passes.
    ///
    /// # Errors
    ///
    /// The table is full, or another flow has taken one of the tuples and the packet can't join it.
    pub fn confirm(
        &self,
        p: &mut Packet,
        current: &mut Current,
        now: Instant,
    ) -> Result<Confirmed, DropReason> {
        if current.id.is_some()
            || p.meta.ct.dir == Direction::Reply
            || current.flow.status.has(Status::CONFIRMED)
        {
            return Ok(Confirmed::Passed);
        }
        let mut flow = current.flow;
        flow.deadline = now + flow.deadline.since(Instant::ZERO);
        flow.status.set(Status::CONFIRMED);
        match self.insert(&flow, Under::Both, now) {
            Insertion::In(id) => {
                now_is(p, current, id, flow);
                Ok(Confirmed::Inserted)
            }
            Insertion::Clash(id, other) => self.resolve(p, current, now, id, other),
            Insertion::Full => {
                self.counts.full.fetch_add(1, Relaxed);
                Err(DropReason::ConntrackFull)
            }
        }
    }

    /// Lets a first packet whose flow is in the table already join it, if it is the same flow; else lets it stand
    /// beside it for a second (`nf_ct_resolve_clash`). Not for protocols whose ends send again by themselves
    /// and would be confused.
    fn resolve(
        &self,
        p: &mut Packet,
        current: &mut Current,
        now: Instant,
        id: FlowId,
        other: Flow,
    ) -> Result<Confirmed, DropReason> {
        let [original, reply] = current.flow.tuples;
        let join = |id: FlowId, other: Flow, p: &mut Packet, current: &mut Current| {
            let same = other.tuples == [original, reply];
            let turned = other.tuples == [reply, original];
            if same || turned {
                p.meta.ct.dir = if same { Direction::Original } else { Direction::Reply };
                now_is(p, current, id, other);
                self.counts.clashes_resolved.fetch_add(1, Relaxed);
            }
            same || turned
        };
        if !matches!(original.proto, proto::TCP | proto::SCTP) {
            if join(id, other, p, current) {
                return Ok(Confirmed::Joined);
            }
            // The same client's packet got another translation from another worker. The first one's stands; this
            // packet leaves with its own, and what answers it within a second comes back.
            let mut flow = current.flow;
            flow.deadline = now + CLASH_LIVES;
            flow.status.set(Status::CONFIRMED);
            flow.status.set(Status::FIXED_TIMEOUT);
            flow.status.set(Status::NAT_CLASH);
            match self.insert(&flow, Under::ReplyOnly, now) {
                Insertion::In(id) => {
                    now_is(p, current, id, flow);
                    self.counts.clashes_resolved.fetch_add(1, Relaxed);
                    return Ok(Confirmed::Inserted);
                }
                Insertion::Clash(id, flow) if join(id, flow, p, current) => {
                    return Ok(Confirmed::Joined);
                }
                Insertion::Clash(..) | Insertion::Full => {}
            }
        }
        self.counts.clashes_dropped.fetch_add(1, Relaxed);
        Err(DropReason::ConntrackClash)
    }

    /// A flow that is in the table: its protocol goes on, under its lock.
    #[inline]
    fn go_on(
        &self,
        p: &mut Packet,
        hook: Hook,
        now: Instant,
        mut found: Found<'_>,
        current: &mut Option<Current>,
    ) -> Step {
        let (id, dir) = (found.id, found.dir);
        let Some(flow) = found.held.flow.as_mut() else { return Step::INVALID };
        let before = flow.status;
        let told = self.events.armed().then(|| Told::of(flow));
        let step = judge(p, hook, &self.config, flow, dir, now);
        if let Step::Accept { timeout: Some(timeout), .. } | Step::Invalid { timeout: Some(timeout) } = step
            && !flow.status.has(Status::FIXED_TIMEOUT)
        {
            flow.deadline = now + timeout;
        }
        if matches!(step, Step::Accept { .. } | Step::Remove) {
            p.meta.ct = Ct { state: standing(before, dir), dir, flow: Some(id) };
            let mut seen = *flow;
            if dir == Direction::Reply {
                seen.status.set(Status::SEEN_REPLY);
            }
            // What ends a flow is its answer to who looks at the packet, and not to who is told of the end.
            if matches!(step, Step::Accept { .. }) {
                flow.status = seen.status;
            }
            *current = Some(Current { id: Some(id), flow: seen });
        }
        if matches!(step, Step::Accept { .. }) && told.is_some_and(|told| told != Told::of(flow)) {
            self.events.tell(EventKind::Update, id, flow, Some(now), false);
        }
        let deadline = flow.deadline;
        drop(found);
        self.look_again(id, deadline);
        step
    }

    /// An ICMP error: it belongs to the flow of the packet it quotes, if it goes to who sent that.
    fn relate(&self, p: &mut Packet, now: Instant, current: &mut Option<Current>) -> Tracked {
        let found = icmp::about(p).and_then(|t| self.look_up(&t, self.hash(&t), now));
        let Some(Found { held, id, dir }) = found else { return invalid(p) };
        let Some(flow) = held.flow else { return invalid(p) };
        p.meta.ct.state = CtState::Related;
        p.meta.ct.dir = dir;
        p.meta.ct.flow = Some(id);
        *current = Some(Current { id: Some(id), flow });
        Tracked::Related
    }

    /// A packet that was tracked before: its flow is fetched again. One that has ended since is what the worker
    /// holds of it, for as long as it does: a reset may end a flow, and what is made of the reset belongs to it.
    fn again(&self, p: &mut Packet, current: &mut Option<Current>) -> Result<Tracked, DropReason> {
        let Some(id) = p.meta.ct.flow else { return Ok(Tracked::Passed) };
        match self.get(id) {
            Some(flow) => *current = Some(Current { id: Some(id), flow }),
            None if current.is_some_and(|c| c.id == Some(id)) => {}
            None => return Err(DropReason::ConntrackGone),
        }
        Ok(Tracked::Passed)
    }
}

/// How a packet that goes this way stands to its flow, whose status was this before it came.
#[inline]
pub(super) fn standing(before: Status, dir: Direction) -> CtState {
    match dir {
        Direction::Reply => CtState::Established,
        Direction::Original if before.has(Status::SEEN_REPLY) => CtState::Established,
        Direction::Original if before.has(Status::EXPECTED) => CtState::Related,
        Direction::Original => CtState::New,
    }
}

fn now_is(p: &mut Packet, current: &mut Current, id: FlowId, flow: Flow) {
    p.meta.ct.flow = Some(id);
    *current = Current { id: Some(id), flow };
}

fn invalid(p: &mut Packet) -> Tracked {
    p.meta.ct.state = CtState::Invalid;
    p.meta.ct.flow = None;
    Tracked::Invalid
}

/// How long a flow lives that shares its original tuple with another (`nf_ct_resolve_clash_harder`).
const CLASH_LIVES: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests;
