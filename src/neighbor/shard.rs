//! A part of the table under one lock: entries, and a heap of alarms for their timers.
//!
//! An alarm is never moved: an entry that wants to wake later is looked at when its alarm goes off
//! and sets another. So a heap holds hardly more alarms than entries, and a timer costs nothing
//! when it is put off, which is what happens to most.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

use super::Action;
use super::entry::{Cx, Entry, Key, Shared};
use crate::base::Instant;

#[derive(Debug, Default)]
pub(super) struct Shard {
    /// Keyed with SipHash by a random key: the addresses are chosen by strangers.
    pub(super) entries: HashMap<Key, Entry>,
    alarms: BinaryHeap<Reverse<(Instant, Key)>>,
}

impl Shard {
    /// The same entries in a table of their own.
    pub(super) fn shadow(&self) -> Self {
        let entries = self.entries.iter().map(|(key, entry)| (*key, entry.shadow()));
        Shard { entries: entries.collect(), alarms: self.alarms.clone() }
    }

    /// Lets `step` change an entry, sees to its timer, and gives what `step` gave.
    pub(super) fn with<T>(
        &mut self,
        cx: &mut Cx<'_>,
        step: impl FnOnce(&mut Entry, &mut Cx<'_>) -> T,
    ) -> Option<T> {
        let entry = self.entries.get_mut(&cx.key)?;
        let before = entry.face();
        let result = step(entry, cx);
        entry.tell(before, cx);
        self.arm(cx.key);
        Some(result)
    }

    /// Sets an alarm for an entry's timers, unless an earlier one is set.
    pub(super) fn arm(&mut self, key: Key) {
        let Some(entry) = self.entries.get_mut(&key) else { return };
        let Some(deadline) = entry.wake() else { return };
        if entry.alarm.is_none_or(|alarm| deadline < alarm) {
            entry.alarm = Some(deadline);
            self.alarms.push(Reverse((deadline, key)));
        }
        if self.alarms.len() > 2 * self.entries.len() + SLACK {
            self.rebuild();
        }
    }

    /// Runs every timer that is due.
    pub(super) fn expire(&mut self, now: Instant, shared: &Shared, out: &mut Vec<Action>) {
        while let Some(Reverse((at, key))) = self.alarms.peek().copied()
            && at <= now
        {
            self.alarms.pop();
            let Some(entry) = self.entries.get_mut(&key) else { continue };
            if entry.alarm != Some(at) {
                continue;
            }
            entry.alarm = None;
            let before = entry.face();
            let cx = &mut Cx { key, now, shared, out };
            entry.expire(cx);
            entry.tell(before, cx);
            self.arm(key);
        }
    }

    /// When the next alarm goes off, if any is set.
    pub(super) fn next(&self) -> Instant {
        self.alarms.peek().map_or(Instant::FAR_FUTURE, |Reverse((at, _))| *at)
    }

    #[cfg(test)]
    pub(super) fn alarms(&self) -> usize {
        self.alarms.len()
    }

    /// Forgets the alarms of entries that are gone.
    fn rebuild(&mut self) {
        let set = self.entries.iter().filter_map(|(key, e)| e.alarm.map(|at| Reverse((at, *key))));
        self.alarms = set.collect();
    }
}

/// How many alarms more than two an entry a heap may hold before it is cleaned.
const SLACK: usize = 64;
