//! What verbs print: much of it, and to readers who may go away.

use std::io::{self, BufWriter, ErrorKind, StdoutLock, Write};
use std::process::ExitCode;

use serde::Serialize;
use serde_json::Value;

use super::{Failure, Outcome};
use crate::control::client::ClientError;

/// Why the showing ended early.
pub(super) enum Stop {
    /// The reader went away (`sekisho ip route | head`), which is no error.
    NobodyReads,
    Failed(String),
}

impl From<ClientError> for Stop {
    fn from(e: ClientError) -> Self {
        Stop::Failed(e.to_string())
    }
}

impl From<io::Error> for Stop {
    fn from(e: io::Error) -> Self {
        match e.kind() {
            ErrorKind::BrokenPipe => Stop::NobodyReads,
            _ => Stop::Failed(format!("can't write the answer: {e}")),
        }
    }
}

impl Stop {
    /// How the verb ends, by how the showing did.
    pub(super) fn outcome(shown: Result<(), Stop>) -> Outcome {
        match shown {
            Ok(()) | Err(Stop::NobodyReads) => Ok(ExitCode::SUCCESS),
            Err(Stop::Failed(why)) => Err(Failure(why)),
        }
    }
}

/// Standard output, and how far it has come.
pub(super) struct Out {
    to: BufWriter<StdoutLock<'static>>,
    /// Elements of the JSON list so far.
    elements: usize,
}

impl Out {
    /// Nothing written yet.
    pub(super) fn new() -> Self {
        Out { to: BufWriter::new(io::stdout().lock()), elements: 0 }
    }

    /// More text.
    pub(super) fn texts(&mut self, texts: impl Iterator<Item = String>) -> Result<(), Stop> {
        for text in texts {
            self.to.write_all(text.as_bytes())?;
        }
        Ok(())
    }

    /// More elements of one list, which [`Out::end_json`] closes.
    pub(super) fn json<T: Serialize>(
        &mut self,
        values: impl Iterator<Item = T>,
        pretty: bool,
    ) -> Result<(), Stop> {
        for value in values {
            self.to.write_all(if self.elements == 0 { b"[" } else { b"," })?;
            self.elements += 1;
            let written = match pretty {
                true => serde_json::to_value(&value)
                    .and_then(|v: Value| serde_json::to_writer_pretty(&mut self.to, &v)),
                false => serde_json::to_writer(&mut self.to, &value),
            };
            written.map_err(io::Error::from)?;
        }
        Ok(())
    }

    /// Closes the list; an empty one is `[]`.
    pub(super) fn end_json(&mut self) -> Result<(), Stop> {
        self.to.write_all(if self.elements == 0 { b"[]\n" } else { b"]\n" })?;
        Ok(())
    }

    /// Sees to it that all of it has gone.
    pub(super) fn end(&mut self) -> Result<(), Stop> {
        self.to.flush()?;
        Ok(())
    }
}
