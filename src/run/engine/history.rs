//! What was in force before, as far back as there is room.
//!
//! A state shares with the next what did not change, so it costs what was different; routes and rules are what can be
//! many. Knows nothing of what a state is made of but that.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use crate::config::{Refusal, Setup};

/// States kept at most.
const KEPT: usize = 50;
/// What the states before the last may take together, in bytes.
const MEMORY: usize = 384 << 20;
/// Of a route in the table, in bytes, about.
const ROUTE: usize = 96;
/// Of one that is listed in the configuration.
const LISTED: usize = 128;
/// Of a permanent neighbor.
const NEIGHBOR: usize = 128;

/// The states before the one in force.
#[derive(Default)]
pub(super) struct History {
    /// The newest first, each with the bytes of its routes and rules that the next newer state does not share with it.
    states: VecDeque<(Arc<Setup>, usize)>,
    transactions: u64,
}

impl History {
    /// There is a new state; `before` was the one before it.
    pub(super) fn add(&mut self, before: Arc<Setup>, now: &Setup) {
        self.transactions += 1;
        let rules = before
            .programs
            .iter()
            .zip(&now.programs)
            .filter_map(|(before, now)| Some(before.as_ref()?.apart_from(now.as_deref())));
        let apart = before.rib.apart_from(&now.rib) * ROUTE + rules.sum::<usize>();
        self.states.push_front((before, apart));
        self.states.truncate(KEPT);
        while self.states.len() > 1 && self.memory() > MEMORY {
            self.states.pop_back();
        }
    }

    /// How many transactions there have been.
    pub(super) fn number(&self) -> u64 {
        self.transactions
    }

    /// The state of so many transactions ago.
    pub(super) fn back(&self, steps: usize) -> Result<Arc<Setup>, Refusal> {
        match (steps, self.states.len()) {
            (0, _) => Err("the state of no transactions ago is in force: give 1 or more".into()),
            (_, 0) => Err("nothing has changed since the start: there is nothing to go back to".into()),
            (n, kept) => self.states.get(n - 1).map(|(state, _)| state.clone()).ok_or_else(|| {
                format!(
                    "of {} transactions the last {kept} can be taken back: give 1 to {kept}",
                    self.transactions
                )
                .into()
            }),
        }
    }

    /// What the states take, about: tables that several share once.
    fn memory(&self) -> usize {
        let mut lists = HashSet::new();
        let mut sum = 0;
        for (state, apart) in &self.states {
            sum += apart;
            if lists.insert(Arc::as_ptr(&state.config.routes)) {
                sum += state.config.routes.len() * LISTED;
            }
            sum += state.config.neighbors.len() * NEIGHBOR;
        }
        sum
    }
}
