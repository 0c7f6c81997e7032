//! The lines that LOG rules write: from the workers to whoever reads the router's log.
//!
//! ```text
//! worker ─► drain_log ─► channel, bounded ─► this thread ─► tracing
//!                          └─ full: the line is lost, counted (`log_lines_lost`), and the log says how many were
//! ```
//!
//! A thread of its own, so that a log that is read slowly, or not at all, holds up no packet. Knows nothing of what
//! the lines say.

use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender};

/// Lines that may wait to be written.
pub(super) const CAPACITY: usize = 1_024;
/// How long a router that stops waits for what is still to be written.
pub(super) const LAST_WORDS: Duration = Duration::from_millis(400);
/// How often it is said that lines were lost, at most.
const PAUSE: Duration = Duration::from_secs(1);

/// A line and syslog's level of it: 0, emergency, to 7, debug.
pub(super) type Line = (u8, String);

/// Writes lines until nobody is left who could send one. `done` is dropped then. `lost` is how many have been lost since the
/// start: asked while lines come, for none are lost while none do.
pub(super) fn write(lines: &Receiver<Line>, lost: impl Fn() -> u64, done: Sender<()>) {
    let mut told = 0;
    while let Ok(first) = lines.recv() {
        say(first);
        let mut due = Instant::now() + PAUSE;
        loop {
            let next = lines.recv_deadline(due);
            let over = next.is_err();
            if let Ok(line) = next {
                say(line);
            }
            if over || Instant::now() >= due {
                due = Instant::now() + PAUSE;
                let all = lost();
                if all > told {
                    let n = all - told;
                    tracing::warn!(target: TARGET, lost = n, "{n} lines of LOG rules were lost: they came too fast to be written");
                    told = all;
                }
            }
            if over {
                break;
            }
        }
    }
    drop(done);
}

fn say((level, line): Line) {
    match level {
        0..=3 => tracing::error!(target: TARGET, "{line}"),
        4 => tracing::warn!(target: TARGET, "{line}"),
        5..=6 => tracing::info!(target: TARGET, "{line}"),
        _ => tracing::debug!(target: TARGET, "{line}"),
    }
}

/// What filters call these lines: `SEKISHO_LOG=rules=off`.
const TARGET: &str = "rules";

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use super::*;

    /// All that is logged.
    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl Write for Sink {
        fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(line);
            Ok(line.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_was_lost_is_said_once() {
        let sink = Sink::default();
        let writer = sink.clone();
        let to_sink = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
        let (to, lines) = crossbeam_channel::bounded(CAPACITY);
        for n in 0..3 {
            to.send((6, format!("line {n}"))).unwrap();
        }
        drop(to);
        let (done, written) = crossbeam_channel::bounded(0);
        tracing::subscriber::with_default(to_sink, || write(&lines, || 7, done));
        assert!(written.recv().is_err(), "it says that it has ended");
        let said = String::from_utf8(sink.0.lock().unwrap().clone()).unwrap();
        assert_eq!(said.matches("rules: line ").count(), 3, "{said}");
        assert_eq!(said.matches("7 lines of LOG rules were lost").count(), 1, "{said}");
    }
}
