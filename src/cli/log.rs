//! The log of a running router: standard error, which may be read slowly or not at all.
//!
//! Whoever logs hands the line over and goes on; a thread of its own writes. What does not fit in between is lost,
//! and the log says how much. So strangers who set off many LOG lines hold up neither packets nor the end of the router,
//! even where nobody reads.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender};
use tracing_subscriber::fmt::MakeWriter;

/// Lines that may wait to be written.
const WAITING: usize = 1_024;
/// How long the end of the router waits for those that still do.
const LAST_WORDS: Duration = Duration::from_millis(250);

/// Begins to write to `to`; gives what takes the lines, and what waits for them in the end.
pub(super) fn start(to: impl Write + Send + 'static) -> io::Result<(Log, LastWords)> {
    let (lines, waiting) = crossbeam_channel::bounded(WAITING);
    let lost = Arc::new(AtomicU64::new(0));
    let log = Log { lines: lines.clone(), lost: lost.clone() };
    thread::Builder::new().name("stderr".into()).spawn(move || write(to, &waiting, &lost))?;
    Ok((log, LastWords(lines)))
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

/// Waits a little, when it is dropped, for what is still to be written.
pub(super) struct LastWords(Sender<Message>);

impl Drop for LastWords {
    fn drop(&mut self) {
        let (done, written) = crossbeam_channel::bounded::<()>(0);
        if self.0.send_timeout(Message::Mark { _done: done }, LAST_WORDS).is_ok() {
            // Nothing is ever sent: it ends when the mark is dropped, or when time is up.
            let _ = written.recv_timeout(LAST_WORDS);
        }
    }
}

fn write(mut to: impl Write, waiting: &Receiver<Message>, lost: &AtomicU64) {
    for message in waiting {
        // Whoever read it may have gone. To complain of that there is nowhere.
        if let Message::Line(line) = message {
            let _ = to.write_all(&line);
        }
        let n = lost.swap(0, Relaxed);
        if n > 0 {
            let _ =
                writeln!(to, "sekisho: {n} lines of the log were lost: they came faster than they were read");
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
        let (mut log, last) = start(to).unwrap();
        for n in 0..100 {
            writeln!(log, "line {n}").unwrap();
        }
        drop((log, last));
        let lines: Vec<String> = BufReader::new(from).lines().map(Result::unwrap).collect();
        assert_eq!((lines.len(), lines[99].as_str()), (100, "line 99"));
    }

    #[test]
    fn a_log_that_nobody_reads_holds_up_nobody() {
        let (to, mut from) = UnixStream::pair().unwrap();
        let (mut log, last) = start(to).unwrap();
        let line = [b'x'; 1_024];
        let begin = Instant::now();
        for _ in 0..10_000 {
            assert_eq!(log.write(&line).unwrap(), line.len());
        }
        drop((log, last));
        assert!(begin.elapsed() < Duration::from_secs(5));
        let mut all = Vec::new();
        from.read_to_end(&mut all).unwrap();
        let said = String::from_utf8(all).unwrap();
        let told = said.split("sekisho: ").skip(1).map(|t| t.split(' ').next().unwrap());
        let lost: usize = told.map(|n| n.parse::<usize>().unwrap()).sum();
        assert!(lost > 5_000, "{lost}");
        assert_eq!(said.matches('x').count() / line.len() + lost, 10_000);
    }
}
