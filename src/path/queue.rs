//! Packets that a hook has queued for a program: they wait outside the walk, and go on where they stopped.
//!
//! A queue is there while somebody holds its [`Queue`]. What is queued without one is dropped, as the kernel
//! does; so is what a program throws away, or leaves behind when it goes.

use std::collections::HashMap;
use std::ops::Deref;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};

use crate::base::counters::Tally;
use crate::base::{Column, DropReason, Event};
use crate::conntrack::Current;
use crate::packet::{Packet, TraceId};

use super::Cx;
use super::hook::{At, Stop, Verdict};
use super::trace::Step;

/// The queues that somebody takes from, by number.
#[derive(Debug, Default)]
pub(super) struct Queues {
    open: Mutex<HashMap<u16, Sender<Queued>>>,
    /// What was thrown away and has not been entered into the ledger yet, by column.
    lost: Arc<Lost>,
}

/// What programs have thrown away.
#[derive(Debug, Default)]
struct Lost {
    /// Packets by column.
    packets: [AtomicU64; 2],
    /// Those among them that are followed.
    followed: Mutex<Vec<TraceId>>,
}

/// Packets that are followed and were thrown away, remembered until it is told; what becomes of more is not.
const MAX_LOST: usize = 4_096;

impl Queues {
    /// Opens a queue for `capacity` packets; who had it before gets no more.
    pub(super) fn open(&self, number: u16, capacity: usize) -> Queue {
        let (sender, receiver) = bounded(capacity.max(1));
        if let Ok(mut open) = self.open.lock() {
            open.insert(number, sender);
        }
        Queue(receiver)
    }
}

/// The program's end of a queue: what hooks have queued comes out of it. To drop it is to end the queue, and to throw
/// away what is in it.
#[derive(Debug)]
pub struct Queue(Receiver<Queued>);

impl Deref for Queue {
    type Target = Receiver<Queued>;

    fn deref(&self) -> &Receiver<Queued> {
        &self.0
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        // The channel would keep them until somebody queues there again.
        self.0.try_iter().for_each(drop);
    }
}

/// Which of the stages at a hook a packet left, and whether it comes back to the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) index: usize,
    pub(super) priority: i32,
    pub(super) again: bool,
}

/// A packet that waits for a program's word. To throw it away is to drop it.
#[derive(Debug)]
pub struct Queued {
    /// The packet; it may be changed. Its data starts at its link-layer header, if it has one: see its metadata.
    pub packet: Packet,
    at: At,
    place: Place,
    flow: Option<Current>,
    column: Column,
    guard: Guard,
}

impl Queued {
    /// Where it was queued.
    pub fn at(&self) -> &At {
        &self.at
    }
}

/// Counts a packet as lost unless told otherwise.
#[derive(Debug)]
struct Guard {
    column: Column,
    trace: Option<TraceId>,
    lost: Option<Arc<Lost>>,
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(lost) = &self.lost {
            lost.packets[self.column as usize].fetch_add(1, Relaxed);
            if let Some(id) = self.trace
                && let Ok(mut followed) = lost.followed.lock()
                && followed.len() < MAX_LOST
            {
                followed.push(id);
            }
        }
    }
}

/// Puts a packet into a queue.
pub(super) fn put(cx: &mut Cx<'_>, at: &At, p: &mut Packet, number: u16, place: Place) -> Result<(), Stop> {
    let live = cx.live;
    let Ok(mut open) = live.queues.open.lock() else { return Err(DropReason::QueueUnbound.into()) };
    let Some(sender) = open.get(&number) else { return Err(DropReason::QueueUnbound.into()) };
    let (column, trace) = (p.meta.column, p.meta.trace);
    // Before anybody can take it out.
    cx.me.counters.event(column, Event::Parked);
    cx.note_parks(p, |_| Step::Parked { why: format!("in queue {number}, for a program's word") });
    let guard = Guard { column, trace, lost: Some(live.queues.lost.clone()) };
    let flow = cx.me.flow;
    let queued = Queued { packet: std::mem::take(p), at: *at, place, flow, column, guard };
    let (mut back, reason) = match sender.try_send(queued) {
        Ok(()) => {
            cx.tally(Tally::Queued);
            return Err(Stop::Held);
        }
        Err(TrySendError::Full(back)) => (back, DropReason::QueueFull),
        Err(TrySendError::Disconnected(back)) => {
            open.remove(&number);
            (back, DropReason::QueueUnbound)
        }
    };
    cx.me.counters.event(column, Event::Unparked);
    if let Some(id) = trace {
        cx.note_unparks(id);
    }
    back.guard.lost = None;
    *p = back.packet;
    Err(reason.into())
}

/// Lets a packet go on where it was queued, or not.
pub(super) fn reinject(cx: &mut Cx<'_>, queued: Queued, verdict: Verdict) {
    let Queued { mut packet, at, mut place, flow, column, mut guard } = queued;
    guard.lost = None;
    packet.meta.column = column;
    packet.meta.trace = guard.trace;
    cx.me.counters.event(column, Event::Unparked);
    cx.note_unparked(&packet);
    cx.me.flow = flow;
    match verdict {
        Verdict::Accept => {}
        Verdict::Repeat => place.again = true,
        Verdict::Drop => return cx.drop(packet, DropReason::Hook),
        Verdict::Stolen => return cx.delivered(packet),
        Verdict::Queue(number) => {
            if let Err(Stop::Drop(reason)) = put(cx, &at, &mut packet, number, place) {
                cx.drop(packet, reason);
            }
            return;
        }
    }
    super::go_on(cx, &at, packet, place);
}

/// Enters into the ledger what programs have thrown away.
pub(super) fn settle_lost(cx: &mut Cx<'_>) {
    for column in Column::ALL {
        let lost = cx.live.queues.lost.packets[column as usize].swap(0, Relaxed);
        cx.me.counters.events(column, Event::Unparked, lost);
        cx.me.counters.drops(column, DropReason::QueueUnbound, lost);
    }
    let followed = cx.live.queues.lost.followed.lock().map(|mut f| std::mem::take(&mut *f));
    for id in followed.unwrap_or_default() {
        cx.note_lost(id, DropReason::QueueUnbound);
    }
}
