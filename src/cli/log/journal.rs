//! Entries for the journal of systemd, in its native protocol: a datagram of `FIELD=value` lines for each.
//!
//! What is logged may come from strangers (names in packets, prefixes of rules): a line break in it does not begin another
//! field.

use std::fmt::{self, Debug, Write as _};
use std::io::{self, Write};
use std::os::unix::net::UnixDatagram;

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// Where journald listens (systemd-journald.service(8)).
const SOCKET: &str = "/run/systemd/journal/socket";

/// The way to the journal. Each write is an entry.
pub(super) struct Journal(UnixDatagram);

impl Journal {
    /// The way there, if somebody listens at its end.
    pub(super) fn open() -> io::Result<Self> {
        Self::to(SOCKET)
    }

    fn to(socket: &str) -> io::Result<Self> {
        let no = |e| {
            io::Error::other(format!(
                "the log can't go to the journal at {socket}: {e}; SEKISHO_LOG_FORMAT=json or human writes it to stderr"
            ))
        };
        UnixDatagram::unbound()?.connect(socket).map_err(no)?;
        UnixDatagram::unbound().map(Journal)
    }
}

impl Write for Journal {
    /// By name each time: a journal that was started anew has another socket.
    fn write(&mut self, entry: &[u8]) -> io::Result<usize> {
        self.0.send_to(entry, SOCKET)?;
        Ok(entry.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes events as entries.
pub(super) struct Entry;

impl<S, N> FormatEvent<S, N> for Entry
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut out: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let level = event.metadata().level();
        field(&mut out, "PRIORITY", priority(*level))?;
        field(&mut out, "SYSLOG_IDENTIFIER", "sekisho")?;
        field(&mut out, "TARGET", event.metadata().target())?;
        let mut fields = Fields { out, result: Ok(()) };
        event.record(&mut fields);
        fields.result
    }
}

/// The entry that says how many were lost.
pub(super) fn lost(n: u64) -> String {
    let mut out = String::new();
    let text = format!("{n} lines of the log were lost: they came faster than they were read");
    let fields = [("PRIORITY", priority(Level::WARN)), ("SYSLOG_IDENTIFIER", "sekisho"), ("MESSAGE", &text)];
    for (name, value) in fields {
        // A string takes everything.
        let _ = field(&mut out, name, value);
    }
    out
}

/// syslog(3)'s number.
fn priority(level: Level) -> &'static str {
    match level {
        Level::ERROR => "3",
        Level::WARN => "4",
        Level::INFO => "6",
        _ => "7",
    }
}

fn field(out: &mut impl fmt::Write, name: &str, value: &str) -> fmt::Result {
    out.write_str(name)?;
    out.write_char('=')?;
    for (n, line) in value.split('\n').enumerate() {
        out.write_str(if n > 0 { "\\n" } else { "" })?;
        out.write_str(line)?;
    }
    out.write_char('\n')
}

struct Fields<'a> {
    out: Writer<'a>,
    result: fmt::Result,
}

impl Visit for Fields<'_> {
    fn record_str(&mut self, which: &Field, value: &str) {
        let name = match which.name() {
            "message" => "MESSAGE".to_owned(),
            // Names of fields are capitals, digits and underscores.
            other => {
                let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
                format!("SEKISHO_{}", other.chars().map(plain).collect::<String>())
            }
        };
        if self.result.is_ok() {
            self.result = field(&mut self.out, &name, value);
        }
    }

    fn record_debug(&mut self, which: &Field, value: &dyn Debug) {
        let mut text = String::new();
        let _ = write!(text, "{value:?}");
        self.record_str(which, &text);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<Vec<u8>>>>);

    impl Write for Sink {
        fn write(&mut self, entry: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().push(entry.to_vec());
            Ok(entry.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn an_event_is_one_entry_and_adds_no_fields() {
        let sink = Sink::default();
        let writer = sink.clone();
        let subscriber =
            tracing_subscriber::fmt().event_format(Entry).with_writer(move || writer.clone()).finish();
        tracing::subscriber::with_default(subscriber, || {
            tracing::warn!(target: "rules", link = "lan", port.number = 7, "one\nPRIORITY=0\ntwo");
        });
        let entries = sink.0.lock().unwrap();
        assert_eq!(entries.len(), 1);
        assert_eq!(
            String::from_utf8_lossy(&entries[0]),
            "PRIORITY=4\nSYSLOG_IDENTIFIER=sekisho\nTARGET=rules\nMESSAGE=one\\nPRIORITY=0\\ntwo\n\
             SEKISHO_LINK=lan\nSEKISHO_PORT_NUMBER=7\n"
        );
    }

    #[test]
    fn a_journal_that_is_not_there_is_told_of() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("socket");
        let to = || Journal::to(socket.to_str().unwrap());
        assert!(to().err().unwrap().to_string().contains("SEKISHO_LOG_FORMAT=json"));
        let _listens = UnixDatagram::bind(&socket).unwrap();
        assert!(to().is_ok());
    }

    #[test]
    fn what_is_lost_is_an_entry() {
        assert_eq!(lost(3).lines().next(), Some("PRIORITY=4"));
        assert_eq!(lost(3).lines().count(), 3);
    }
}
