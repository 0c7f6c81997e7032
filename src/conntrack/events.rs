//! What happens to flows, for those who listen: they begin, their state changes, they end.
//!
//! ```text
//! a worker ─► armed? ─no─► on        listener ─► wants it? ─► its queue, bounded ─► taken by whoever reads
//!               └─yes─► each listener's                            └ full: this one is lost, and counted
//! ```
//!
//! What counts as a change is what ctnetlink tells (`IPCT_REPLY`, `IPCT_ASSURED`, `IPCT_PROTOINFO`, `IPCT_MARK`): the first
//! answer, ASSURED, another state of TCP's or SCTP's, another mark. Deadlines that are put off are no change.
//!
//! An event is told under the lock of its flow's place, so that those of one flow come in order. While nobody listens it
//! costs one relaxed load where a flow's state may change, and nothing elsewhere.
//!
//! Knows nothing of who listens or how it is shown.

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

use super::{Conntrack, Flow, State, lock};
use crate::base::Instant;
use crate::packet::{FlowId, Status};

/// What happened to a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EventKind {
    /// It began: its first packet has passed.
    New,
    /// Its state, its status or its mark is another.
    Update,
    /// It ended.
    Destroy,
}

/// Something that happened to a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FlowEvent {
    /// What.
    pub kind: EventKind,
    /// Its number.
    pub id: FlowId,
    /// The flow as it stood then: of one that ended, at last.
    pub flow: Flow,
    /// When; absent where whoever did it knew no time, which is as good as now.
    pub at: Option<Instant>,
    /// Whether it was an operator's doing, rather than a packet's or time's.
    pub by_hand: bool,
}

/// Which events a listener wants. Asked by the workers: it must not wait for anything.
pub type Wants = dyn Fn(&FlowEvent) -> bool + Send + Sync;

/// Who listens to a table.
#[derive(Debug, Default)]
pub(super) struct Events {
    armed: AtomicBool,
    // Apart: nobody looks here for a packet.
    listeners: Box<Mutex<Vec<Arc<Ears>>>>,
}

struct Ears {
    wants: Box<Wants>,
    capacity: usize,
    heard: Mutex<Heard>,
}

#[derive(Debug, Default)]
struct Heard {
    events: VecDeque<FlowEvent>,
    lost: u64,
}

/// One who listens to a table. Dropping it ends what it costs.
#[derive(Debug)]
pub struct Listener {
    table: Arc<Conntrack>,
    ears: Arc<Ears>,
}

impl Conntrack {
    /// Listens to what happens from now on. As many events as `capacity` wait to be taken; further ones are lost.
    pub fn listen(self: &Arc<Self>, capacity: usize, wants: Box<Wants>) -> Listener {
        let ears = Arc::new(Ears { wants, capacity: capacity.max(1), heard: Mutex::default() });
        let mut listeners = lock(&self.events.listeners);
        listeners.push(ears.clone());
        self.events.armed.store(true, Relaxed);
        Listener { table: self.clone(), ears }
    }
}

impl Listener {
    /// Takes events that wait, oldest first, so many at most; gives them and how many were lost since the last time.
    pub fn take(&self, most: usize) -> (Vec<FlowEvent>, u64) {
        let mut heard = lock(&self.ears.heard);
        let n = heard.events.len().min(most);
        (heard.events.drain(..n).collect(), std::mem::take(&mut heard.lost))
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let mut listeners = lock(&self.table.events.listeners);
        listeners.retain(|ears| !Arc::ptr_eq(ears, &self.ears));
        self.table.events.armed.store(!listeners.is_empty(), Relaxed);
    }
}

impl Events {
    /// Whether anybody listens.
    #[inline]
    pub(super) fn armed(&self) -> bool {
        self.armed.load(Relaxed)
    }

    /// Tells those who want to know. Flows that clash with another are nobody's to see.
    #[inline]
    pub(super) fn tell(&self, kind: EventKind, id: FlowId, flow: &Flow, at: Option<Instant>, by_hand: bool) {
        if self.armed() {
            self.told(&FlowEvent { kind, id, flow: *flow, at, by_hand });
        }
    }

    #[cold]
    fn told(&self, event: &FlowEvent) {
        if event.flow.status.has(Status::NAT_CLASH) {
            return;
        }
        for ears in lock(&self.listeners).iter().filter(|ears| (ears.wants)(event)) {
            let mut heard = lock(&ears.heard);
            match heard.events.len() < ears.capacity {
                true => heard.events.push_back(*event),
                false => heard.lost += 1,
            }
        }
    }
}

/// What of a flow is told when it changes, the mark apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Told {
    status: u32,
    phase: u8,
}

impl Told {
    pub(super) fn of(flow: &Flow) -> Told {
        let phase = match &flow.state {
            State::Tcp(tcp) => tcp.phase() as u8,
            State::Sctp(sctp) => sctp.phase() as u8,
            State::Udp { .. } | State::Other => 0,
        };
        Told { status: flow.status.0 & (Status::SEEN_REPLY.0 | Status::ASSURED.0), phase }
    }
}

impl fmt::Debug for Ears {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ears").field("capacity", &self.capacity).field("heard", &self.heard).finish()
    }
}

#[cfg(test)]
mod tests;
