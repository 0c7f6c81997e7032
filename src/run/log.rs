//! The lines that LOG rules write: from the workers to whoever reads the router's log.
//!
//! ```text
//! worker ─► drain_log ─► channel, bounded ─► this thread ─► tracing
//!                          └─ full: the line is lost, and counted (`log_lines_lost`)
//! ```
//!
//! A thread of its own, so that a log that is read slowly, or not at all, holds up no packet. Knows nothing of what
//! the lines say.

use std::time::Duration;

use crossbeam_channel::{Receiver, Sender};

/// Lines that may wait to be written.
pub(super) const CAPACITY: usize = 1_024;
/// How long a router that stops waits for what is still to be written.
pub(super) const LAST_WORDS: Duration = Duration::from_millis(250);

/// A line and syslog's level of it: 0, emergency, to 7, debug.
pub(super) type Line = (u8, String);

/// Writes lines until nobody is left who could send one. `done` is dropped then.
pub(super) fn write(lines: &Receiver<Line>, done: Sender<()>) {
    for (level, line) in lines {
        match level {
            0..=3 => tracing::error!(target: TARGET, "{line}"),
            4 => tracing::warn!(target: TARGET, "{line}"),
            5..=6 => tracing::info!(target: TARGET, "{line}"),
            _ => tracing::debug!(target: TARGET, "{line}"),
        }
    }
    drop(done);
}

/// What filters call these lines: `SEKISHO_LOG=rules=off`.
const TARGET: &str = "rules";
