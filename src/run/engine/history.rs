//! What was in force before, as far back as there is room.
//!
//! A state shares with the next what did not change, so it costs what was different; routes are what can be many. Knows
//! nothing of what a state is made of but that.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::config::{Refusal, Setup};

/// States kept at most.
const KEPT: usize = 50;
/// Routes in tables kept at most beyond that of the last state, some 90 bytes each.
const ROUTES: usize = 4_000_000;

/// The states before the one in force.
#[derive(Default)]
pub(super) struct History {
    /// The newest first.
    states: VecDeque<Arc<Setup>>,
    transactions: u64,
}

impl History {
    /// There is a new state; this was the one before it.
    pub(super) fn add(&mut self, before: Arc<Setup>) {
        self.transactions += 1;
        self.states.push_front(before);
        self.states.truncate(KEPT);
        while self.states.len() > 1 && self.routes() > ROUTES {
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
            (n, kept) => self.states.get(n - 1).cloned().ok_or_else(|| {
                format!(
                    "of {} transactions the last {kept} can be taken back: give 1 to {kept}",
                    self.transactions
                )
                .into()
            }),
        }
    }

    /// Routes in the tables that are kept, each table once.
    fn routes(&self) -> usize {
        let mut last = None;
        let mut sum = 0;
        for state in &self.states {
            let table = Arc::as_ptr(&state.rib);
            if last.replace(table) != Some(table) {
                sum += state.rib.len();
            }
        }
        sum
    }
}
