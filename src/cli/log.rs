//! The log of a running router: standard error, which may be read slowly or not at all.
//!
//! Whoever logs hands the line over and goes on; a thread of its own writes. What does not fit in between is lost,
//! and the log says how much. So strangers who set off many LOG lines hold up neither packets nor the end of the router,
//! even where nobody reads.
//!
//! The thread is there ([`Writing::begin`]) when the router has given up its privileges, and gives up what it has left.

mod filter;
mod format;
mod journal;

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use crate::run::renounce;
use format::Format;

/// Lines that may wait to be written.
const WAITING: usize = 1_024;
/// How long the end of the router waits for those that still do: longer than a busy machine lets a thread wait for a CPU, and
/// with all else that is waited for then (`run::serve`, `run::log`) within the two seconds that the end may take.
const LAST_WORDS: Duration = Duration::from_millis(800);

/// What the router has to say while it runs: warnings, what links do, and the lines of LOG rules. `SEKISHO_LOG` chooses
/// (see [`filter`]), `SEKISHO_LOG_FORMAT` says how.
///
/// # Errors
/// A format that is none, or can't be had here; words that choose nothing.
pub(super) fn to_stderr() -> io::Result<Writing> {
    let filter = EnvFilter::try_new(filter::from_environment()?).map_err(io::Error::other)?;
    let format = Format::choose()?;
    let (log, writing) = match format {
        Format::Journald => start(journal::Journal::open()?, journal::lost),
        Format::Json => start(io::stderr(), format::json_lost),
        Format::Human { .. } => start(io::stderr(), format::lost),
    };
    let all = tracing_subscriber::fmt().with_env_filter(filter).log_internal_errors(false).with_writer(log);
    // A program that links the library may have set another already; that one stays.
    let _ = match format {
        Format::Human { colours } => all.with_target(false).without_time().with_ansi(colours).try_init(),
        Format::Json => {
            let json = all.json().flatten_event(true).with_current_span(false).with_span_list(false);
            json.try_init()
        }
        Format::Journald => all.with_ansi(false).event_format(journal::Entry).try_init(),
    };
    Ok(writing)
}

/// What takes the lines, and what writes them to `to` once it has begun. `told` is the line that says how many were lost.
fn start(to: impl Write + Send + 'static, told: fn(u64) -> String) -> (Log, Writing) {
    let (lines, waiting) = crossbeam_channel::bounded(WAITING);
    let lost = Arc::new(AtomicU64::new(0));
    let log = Log { lines: lines.clone(), lost: lost.clone() };
    let writer = Writer { to: Box::new(to), waiting, lost, told };
    (log, Writing { lines, idle: Some(writer) })
}

/// What crosses the channel.
enum Message {
    Line(Vec<u8>),
    /// Everything before has been written when this is dropped.
    Mark {
        _done: Sender<()>,
    },
}

/// Takes lines, and never waits.
#[derive(Clone)]
pub(super) struct Log {
    lines: Sender<Message>,
    lost: Arc<AtomicU64>,
}

impl Write for Log {
    /// One line whole: tracing writes an event at once.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.lines.try_send(Message::Line(line.to_vec())).is_err() {
            self.lost.fetch_add(1, Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Log;

    fn make_writer(&self) -> Log {
        self.clone()
    }
}

/// The writing of the log. When it is dropped, what is still to be written is waited for a little.
pub(super) struct Writing {
    lines: Sender<Message>,
    /// What will write, until it has begun.
    idle: Option<Writer>,
}

impl Writing {
    /// Begins, in a thread that may do nothing but write. Lines have waited until now.
    ///
    /// # Errors
    /// There is no such thread.
    pub(super) fn begin(&mut self) -> io::Result<()> {
        let Some(writer) = self.idle.take() else { return Ok(()) };
        let (begun, begins) = crossbeam_channel::bounded(1);
        thread::Builder::new().name("stderr".into()).spawn(move || {
            let renounced = renounce().map_err(io::Error::other);
            let goes_on = renounced.is_ok();
            if begun.send(renounced).is_ok() && goes_on {
                writer.run();
            }
        })?;
        begins.recv().unwrap_or_else(|e| Err(io::Error::other(e)))
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        if let Some(writer) = self.idle.take() {
            return writer.drain();
        }
        let (done, written) = crossbeam_channel::bounded::<()>(0);
        if self.lines.send_timeout(Message::Mark { _done: done }, LAST_WORDS).is_ok() {
            // Nothing is ever sent: it ends when the mark is dropped, or when time is up.
            let _ = written.recv_timeout(LAST_WORDS);
        }
    }
}

struct Writer {
    to: Box<dyn Write + Send>,
    waiting: Receiver<Message>,
    lost: Arc<AtomicU64>,
    told: fn(u64) -> String,
}

impl Writer {
    /// Writes until nobody is left who could say anything.
    fn run(mut self) {
        while let Ok(message) = self.waiting.recv() {
            self.write(message);
        }
    }

    /// Writes what waits now.
    fn drain(mut self) {
        while let Ok(message) = self.waiting.try_recv() {
            self.write(message);
        }
    }

    fn write(&mut self, message: Message) {
        // Whoever read it may have gone. To complain of that there is nowhere.
        if let Message::Line(line) = message {
            let _ = self.to.write_all(&line);
        }
        let n = self.lost.swap(0, Relaxed);
        if n > 0 {
            let _ = self.to.write_all((self.told)(n).as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Read};
    use std::os::unix::net::UnixStream;
    use std::time::Instant;

    use super::*;

    #[test]
    fn lines_come_out_as_they_went_in() {
        let (to, from) = UnixStream::pair().unwrap();
        let (mut log, mut last) = start(to, format::lost);
        last.begin().unwrap();
        for n in 0..100 {
            writeln!(log, "line {n}").unwrap();
        }
        drop((log, last));
        let lines: Vec<String> = BufReader::new(from).lines().map(Result::unwrap).collect();
        assert_eq!((lines.len(), lines[99].as_str()), (100, "line 99"));
    }

    #[test]
    fn what_was_said_before_it_began_is_not_lost() {
        let (to, mut from) = UnixStream::pair().unwrap();
        let (mut log, last) = start(to, format::lost);
        writeln!(log, "early").unwrap();
        drop((log, last));
        let mut all = String::new();
        from.read_to_string(&mut all).unwrap();
        assert_eq!(all, "early\n");
    }

    #[test]
    fn a_log_that_nobody_reads_holds_up_nobody() {
        let (to, mut from) = UnixStream::pair().unwrap();
        let (mut log, mut last) = start(to, format::lost);
        last.begin().unwrap();
        let line = [b'x'; 1_024];
        let begin = Instant::now();
        for _ in 0..10_000 {
            assert_eq!(log.write(&line).unwrap(), line.len());
        }
        drop((log, last));
        assert!(begin.elapsed() < Duration::from_secs(60));
        let mut all = Vec::new();
        from.read_to_end(&mut all).unwrap();
        let said = String::from_utf8(all).unwrap();
        let told = said.split("sekisho: ").skip(1).map(|t| t.split(' ').next().unwrap());
        let lost: usize = told.map(|n| n.parse::<usize>().unwrap()).sum();
        assert!(lost > 5_000, "{lost}");
        assert_eq!(said.matches('x').count() / line.len() + lost, 10_000);
    }
}
