//! What verbs print: much of it, and to readers who may go away.

use std::io::{self, BufWriter, ErrorKind, StdoutLock, Write};
use std::process::ExitCode;

use serde::Serialize;
use serde_json::ser::{Formatter, Serializer};

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
    /// Whether they stand on several lines.
    pretty: bool,
}

impl Out {
    /// Nothing written yet.
    pub(super) fn new() -> Self {
        Out { to: BufWriter::new(io::stdout().lock()), elements: 0, pretty: false }
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
            let begin: &[u8] = match (self.elements, pretty) {
                (0, true) => b"[ ",
                (0, false) => b"[",
                _ => b",",
            };
            self.to.write_all(begin)?;
            self.elements += 1;
            self.pretty = pretty;
            let written = match pretty {
                true => value.serialize(&mut Serializer::with_formatter(&mut self.to, Indented::inside())),
                false => serde_json::to_writer(&mut self.to, &value),
            };
            written.map_err(io::Error::from)?;
        }
        Ok(())
    }

    /// Closes the list; an empty one is `[]`.
    pub(super) fn end_json(&mut self) -> Result<(), Stop> {
        let end: &[u8] = match (self.elements, self.pretty) {
            (0, _) => b"[]\n",
            (_, true) => b" ]\n",
            _ => b"]\n",
        };
        self.to.write_all(end)?;
        Ok(())
    }

    /// Sees to it that all of it has gone.
    pub(super) fn end(&mut self) -> Result<(), Stop> {
        self.to.flush()?;
        Ok(())
    }
}

/// JSON as iproute2 indents it: each key on a line, lists within one.
#[derive(Default)]
struct Indented {
    depth: usize,
    /// What was begun last has something in it.
    filled: bool,
}

impl Indented {
    /// Within a list.
    fn inside() -> Self {
        Indented { depth: 1, filled: false }
    }

    fn line<W: ?Sized + Write>(&self, to: &mut W) -> io::Result<()> {
        to.write_all(b"\n")?;
        (0..self.depth).try_for_each(|_| to.write_all(b"    "))
    }
}

impl Formatter for Indented {
    fn begin_array<W: ?Sized + Write>(&mut self, to: &mut W) -> io::Result<()> {
        self.depth += 1;
        self.filled = false;
        to.write_all(b"[ ")
    }

    fn end_array<W: ?Sized + Write>(&mut self, to: &mut W) -> io::Result<()> {
        self.depth -= 1;
        to.write_all(if std::mem::replace(&mut self.filled, true) { b" ]" } else { b"]" })
    }

    fn begin_array_value<W: ?Sized + Write>(&mut self, to: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { to.write_all(b",") }
    }

    fn end_array_value<W: ?Sized + Write>(&mut self, _: &mut W) -> io::Result<()> {
        self.filled = true;
        Ok(())
    }

    fn begin_object<W: ?Sized + Write>(&mut self, to: &mut W) -> io::Result<()> {
        self.depth += 1;
        self.filled = false;
        to.write_all(b"{")
    }

    fn end_object<W: ?Sized + Write>(&mut self, to: &mut W) -> io::Result<()> {
        self.depth -= 1;
        if std::mem::replace(&mut self.filled, true) {
            self.line(to)?;
        }
        to.write_all(b"}")
    }

    fn begin_object_key<W: ?Sized + Write>(&mut self, to: &mut W, first: bool) -> io::Result<()> {
        if !first {
            to.write_all(b",")?;
        }
        self.line(to)
    }

    fn begin_object_value<W: ?Sized + Write>(&mut self, to: &mut W) -> io::Result<()> {
        to.write_all(b": ")
    }

    fn end_object_value<W: ?Sized + Write>(&mut self, _: &mut W) -> io::Result<()> {
        self.filled = true;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn pretty_json_is_that_of_iproute2() {
        let value =
            json!({ "dst": "x", "flags": [], "info": [ { "a": 1 }, { "b": [ "c", "d" ] } ], "none": {} });
        let mut to = Vec::new();
        value.serialize(&mut Serializer::with_formatter(&mut to, Indented::inside())).unwrap();
        let expected = r#"{
        "dst": "x",
        "flags": [ ],
        "info": [ {
                "a": 1
            },{
                "b": [ "c","d" ]
            } ],
        "none": {}
    }"#;
        assert_eq!(String::from_utf8(to).unwrap(), expected);
    }
}
