//! How far a run is: a line that rewrites itself on a terminal, plain lines elsewhere.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use crate::cli::Paint;
use crate::lab::bench::Event;

/// Where it is said, and what stands there.
pub(super) struct Progress {
    terminal: bool,
    paint: Paint,
    /// Whether a line stands there that the next may overwrite.
    open: bool,
    /// What a plain line was last said of: a round and a metric.
    said: Option<(usize, &'static str)>,
}

impl Progress {
    /// On stderr.
    pub(super) fn stderr() -> Self {
        Progress { terminal: io::stderr().is_terminal(), paint: Paint::stderr(), open: false, said: None }
    }

    /// Says what happens. Nobody can be told if that fails.
    pub(super) fn tell(&mut self, event: Event<'_>) {
        match event {
            Event::Note(text) => self.line(text),
            Event::Failed { rival, work, why } => {
                let metric = work.metrics.first().map_or("", |m| m.title);
                self.line(&format!("{}: {metric}: {why}", self.paint.yellow(rival)));
            }
            Event::Step { step, steps, round, work, rival, left } => {
                let (name, title) = work.metrics.first().map_or(("", ""), |m| (m.name, m.title));
                let left = left.map_or(String::new(), |l| format!(", {} left", duration(l)));
                let percent = step * 100 / steps.max(1);
                let text = format!("{percent:>3} %{left}: round {}, {title}", round + 1);
                if self.terminal {
                    // Back to the line's beginning, and what stood there is erased (ECMA-48 §8.3.41, EL).
                    let _ = write!(io::stderr(), "\r\x1b[K{text}: {rival}");
                    let _ = io::stderr().flush();
                    self.open = true;
                } else if self.said != Some((round, name)) {
                    self.said = Some((round, name));
                    self.line(&text);
                }
            }
        }
    }

    /// Takes away what still stands there.
    pub(super) fn end(&mut self) {
        self.clear();
    }

    fn line(&mut self, text: &str) {
        self.clear();
        let _ = writeln!(io::stderr(), "sekisho bench: {text}");
    }

    fn clear(&mut self) {
        if std::mem::take(&mut self.open) {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}

/// `45 s`, `3 min 20 s`.
fn duration(time: Duration) -> String {
    match time.as_secs() {
        s @ ..60 => format!("{s} s"),
        s => format!("{} min {} s", s / 60, s % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        assert_eq!(
            [5, 59, 60, 200].map(|s| duration(Duration::from_secs(s))),
            ["5 s", "59 s", "1 min 0 s", "3 min 20 s"]
        );
    }
}
