//! The stage of conntrack for a packet whose flow is known by its number, and which is to be treated as another packet
//! of that flow was: what [`track`](Conntrack::track) does, without looking for the flow.
//!
//! It is done whole, or not at all: where the flow does not stand as it is said to stand, or its protocol makes something
//! else of the packet than to let it pass, everything is as before, and the packet is `track`'s.

use super::events::{EventKind, Told};
use super::protocol::judge;
use super::table::Conntrack;
use super::track::standing;
use super::{Flow, Step, icmp};
use crate::base::{Hook, Instant};
use crate::packet::{Ct, CtState, Direction, FlowId, Packet, Status};
use crate::wire::proto;

/// How a packet stood to its flow, and its flow to the world.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// The flow.
    pub flow: FlowId,
    /// Which way the packet went.
    pub dir: Direction,
    /// What rules could say of the packet.
    pub state: CtState,
    /// Bits of the flow's status, once the packet had passed this stage.
    pub status: Status,
    /// Which of them matter.
    pub asked: Status,
    /// The flow's mark, if it matters.
    pub mark: Option<u32>,
}

impl Conntrack {
    /// Takes a packet that came in by a link, whole and without options, as the next one of a flow; fills `meta.ct`.
    /// `false`: nothing has happened.
    #[inline]
    pub fn replay(&self, p: &mut Packet, was: &Standing, now: Instant) -> bool {
        let Some(mut held) = self.tenant(was.flow) else { return false };
        let Some(flow) = held.flow.as_mut() else { return false };
        let before = (flow.state, flow.status);
        if !self.stands(p, flow, was, now) {
            return false;
        }
        let step = judge(p, Hook::Prerouting, &self.config, flow, was.dir, now);
        let Step::Accept { timeout, .. } = step else {
            (flow.state, flow.status) = before;
            return false;
        };
        if was.dir == Direction::Reply {
            flow.status.set(Status::SEEN_REPLY);
        }
        if (flow.status.0 ^ was.status.0) & was.asked.0 != 0 {
            (flow.state, flow.status) = before;
            return false;
        }
        if let Some(timeout) = timeout.filter(|_| !flow.status.has(Status::FIXED_TIMEOUT)) {
            flow.deadline = now + timeout;
        }
        if self.events.armed()
            && Told::of(flow) != Told::of(&Flow { state: before.0, status: before.1, ..*flow })
        {
            self.events.tell(EventKind::Update, was.flow, flow, Some(now), false);
        }
        p.meta.ct = Ct { state: was.state, dir: was.dir, flow: Some(was.flow) };
        let deadline = flow.deadline;
        drop(held);
        self.look_again(was.flow, deadline);
        true
    }

    /// Whether [`replay`](Conntrack::replay) would take the packet; nothing happens.
    pub fn would_replay(&self, p: &Packet, was: &Standing, now: Instant) -> bool {
        let Some(mut flow) = self.get(was.flow) else { return false };
        self.stands(p, &flow, was, now)
            && matches!(
                judge(p, Hook::Prerouting, &self.config, &mut flow, was.dir, now),
                Step::Accept { .. }
            )
            && {
                if was.dir == Direction::Reply {
                    flow.status.set(Status::SEEN_REPLY);
                }
                (flow.status.0 ^ was.status.0) & was.asked.0 == 0
            }
    }

    /// Whether the flow stands as it was said to stand.
    #[inline]
    fn stands(&self, p: &Packet, flow: &Flow, was: &Standing, now: Instant) -> bool {
        flow.deadline > now
            && standing(flow.status, was.dir) == was.state
            && was.mark.is_none_or(|mark| mark == flow.mark)
            && (!is_icmp(p) || icmp::look(p, Hook::Prerouting, &self.config) == icmp::Looked::Query)
    }
}

fn is_icmp(p: &Packet) -> bool {
    matches!(p.meta.proto, proto::ICMP | proto::ICMPV6)
}
