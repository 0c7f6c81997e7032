//! How the log is written: for people, for programs, or for the journal of systemd.

use std::io::{self, IsTerminal};
use std::os::unix::fs::MetadataExt;

use super::journal::Journal;
use crate::cli::paint::Paint;

/// How.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// Lines of text.
    Human {
        /// With colours in them.
        colours: bool,
    },
    /// A JSON object on each line.
    Json,
    /// Entries of the journal.
    Journald,
}

impl Format {
    /// What `SEKISHO_LOG_FORMAT` says; else text on a terminal, entries if standard error is the journal, JSON otherwise.
    pub(super) fn choose() -> io::Result<Self> {
        let asked = std::env::var_os("SEKISHO_LOG_FORMAT").filter(|word| !word.is_empty());
        let colours = Paint::stderr().is_on();
        match asked.as_deref().map(|word| word.to_string_lossy()) {
            Some(word) => Self::named(&word, colours),
            None if io::stderr().is_terminal() => Ok(Format::Human { colours }),
            None if is_journal() && Journal::open().is_ok() => Ok(Format::Journald),
            None => Ok(Format::Json),
        }
    }

    fn named(word: &str, colours: bool) -> io::Result<Self> {
        match word {
            "human" => Ok(Format::Human { colours }),
            "json" => Ok(Format::Json),
            "journald" => Ok(Format::Journald),
            _ => Err(io::Error::other(format!(
                "SEKISHO_LOG_FORMAT is '{word}': it may be human, json or journald"
            ))),
        }
    }
}

/// Whether standard error is a stream of the journal: `JOURNAL_STREAM` is its device and inode then (systemd.exec(5)).
fn is_journal() -> bool {
    let Ok(stream) = std::env::var("JOURNAL_STREAM") else { return false };
    let Ok(stderr) = std::fs::metadata("/proc/self/fd/2") else { return false };
    stream == format!("{}:{}", stderr.dev(), stderr.ino())
}

/// The line that says how many were lost.
pub(super) fn lost(n: u64) -> String {
    format!("sekisho: {n} lines of the log were lost: they came faster than they were read\n")
}

/// Likewise, for programs.
pub(super) fn json_lost(n: u64) -> String {
    let message = format!("{n} lines of the log were lost: they came faster than they were read");
    serde_json::json!({ "level": "WARN", "message": message, "lost": n, "target": "log" }).to_string() + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_have_names() {
        assert_eq!(Format::named("json", true).unwrap(), Format::Json);
        assert_eq!(Format::named("human", false).unwrap(), Format::Human { colours: false });
        assert_eq!(Format::named("journald", true).unwrap(), Format::Journald);
        assert!(Format::named("xml", true).unwrap_err().to_string().contains("'xml'"));
    }

    #[test]
    fn what_is_lost_is_json_too() {
        let said: serde_json::Value = serde_json::from_str(&json_lost(7)).unwrap();
        assert_eq!((said["lost"].as_u64(), said["level"].as_str()), (Some(7), Some("WARN")));
    }
}
