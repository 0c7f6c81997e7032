//! `ip -batch FILE`: a command a line, as iproute2 reads them.
//!
//! Changes that stand one after the other go to the router together, as one transaction: with a table of a million routes
//! one line more costs what it says, and not a new table. Which of them failed is told by its line all the same.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::ExitCode;

use super::super::out::{Out, Stop};
use super::super::{Outcome, complain};
use super::refused::Refused;
use super::words::{self, Deed, Options, Said};
use super::{Ended, act, show};
use crate::config::Change;
use crate::control::client::{Client, ClientError};
use crate::control::protocol::Verb;
use crate::control::view;

/// Changes of one transaction, at most, and how long their lines are together: a request has to hold them.
const TOGETHER: usize = 20_000;
const LENGTH: usize = 1 << 20;

/// The longest line, with those that go on with it, in bytes.
const LONGEST: usize = 1 << 16;

/// Does what the file says.
pub(super) fn run(client: &mut Client, file: &Path, options: &Options, out: &mut Out) -> Outcome {
    let name = file.display().to_string();
    let lines: Box<dyn BufRead> = match name.as_str() {
        "-" => Box::new(std::io::stdin().lock()),
        _ => match File::open(file) {
            Ok(file) => Box::new(BufReader::new(file)),
            Err(e) => {
                complain(&format!("cannot open file \"{name}\" for reading: {e}"));
                return Ok(ExitCode::FAILURE);
            }
        },
    };
    let mut batch = Batch { client, options, out, name, waiting: Vec::new(), length: 0, failed: false };
    let done = batch.all(lines);
    let failed = batch.failed;
    match done {
        Ok(()) if failed => Ok(ExitCode::FAILURE),
        Ok(()) => Stop::outcome(out.end()),
        Err(stop) => Stop::outcome(Err(stop)),
    }
}

struct Batch<'a> {
    client: &'a mut Client,
    options: &'a Options,
    out: &'a mut Out,
    name: String,
    /// Changes that wait for others, with their lines.
    waiting: Vec<(usize, Change)>,
    length: usize,
    failed: bool,
}

impl Batch<'_> {
    /// Whether it ends here.
    fn over(&self) -> bool {
        self.failed && !self.options.force
    }

    fn all(&mut self, mut lines: impl BufRead) -> Result<(), Stop> {
        let mut number = 0;
        while let Some(line) = next(&mut lines, &mut number)? {
            let at = number;
            self.line(&line, at)?;
            if self.over() {
                return Ok(());
            }
        }
        self.send()
    }

    fn line(&mut self, line: &str, at: usize) -> Result<(), Stop> {
        let words = split(line);
        if words.is_empty() {
            return Ok(());
        }
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let said = match words::line(&words, self.options) {
            Ok(Said::Do(order)) => match order.deed {
                Deed::Change(change) => {
                    self.length += line.len();
                    self.waiting.push((at, change));
                    return match self.waiting.len() >= TOGETHER || self.length >= LENGTH {
                        true => self.send(),
                        false => Ok(()),
                    };
                }
                Deed::Monitor(..) => Err("monitor never ends: it can't be in a batch".into()),
                _ => Ok(Said::Do(order)),
            },
            Ok(Said::Batch(..)) => Err("a batch can't be in a batch".into()),
            other => other,
        };
        // What was asked before comes before.
        self.send()?;
        if self.over() {
            return Ok(());
        }
        match said {
            Err(misuse) => self.fails(at, || misuse.say()),
            Ok(Said::Show(asked)) => match show(self.client, &asked, self.out) {
                Ok(()) => Ok(()),
                Err(Ended::Stop(Stop::Failed(text))) => self.fails(at, || complain(&text)),
                Err(Ended::Stop(stop)) => Err(stop),
                Err(Ended::Refused(no)) => self.fails(at, || no.say()),
            },
            Ok(Said::Do(order)) => match act(self.client, &order.deed, &order.options, self.out) {
                Ok(()) => Ok(()),
                Err(Ended::Stop(stop)) => Err(stop),
                Err(Ended::Refused(no)) => self.fails(at, || no.say()),
            },
            Ok(Said::Help(_) | Said::Version | Said::Batch(..)) => Ok(()),
        }
    }

    /// Has the changes made that wait.
    fn send(&mut self) -> Result<(), Stop> {
        let waiting = std::mem::take(&mut self.waiting);
        self.length = 0;
        let Some((first, _)) = waiting.first() else { return Ok(()) };
        let first = *first;
        let (lines, changes): (Vec<usize>, Vec<Change>) = waiting.into_iter().unzip();
        let several = Change::Several { changes: changes.clone(), force: self.options.force };
        let applied: view::Applied = match self.client.ask(Verb::Change(several)) {
            Ok(applied) => applied,
            Err(ClientError::Refused { text, errno }) => {
                // Of all of them: no device could be opened, say.
                let deed = changes.into_iter().next().map_or(Deed::Nothing, Deed::Change);
                let no = Refused::new(&deed, text, errno.as_deref());
                return self.fails(first, || no.say());
            }
            Err(e) => return Err(e.into()),
        };
        self.out.end()?;
        applied.notes.iter().for_each(|note| complain(note));
        for no in applied.refused {
            let deed = changes.get(no.index).cloned().map_or(Deed::Nothing, Deed::Change);
            let line = lines.get(no.index).copied().unwrap_or(first);
            let no = Refused::new(&deed, no.error, no.errno.as_deref());
            self.fails(line, || no.say())?;
        }
        Ok(())
    }

    /// Tells why a line failed, behind all that was shown before.
    fn fails(&mut self, line: usize, say: impl FnOnce()) -> Result<(), Stop> {
        self.failed = true;
        self.out.end()?;
        say();
        let _ = writeln!(std::io::stderr(), "Command failed {}:{line}", self.name);
        Ok(())
    }
}

/// The next line with those that go on with it, a backslash standing at the end of each but the last. `number` is that of
/// the last line read.
fn next(lines: &mut impl BufRead, number: &mut usize) -> Result<Option<String>, Stop> {
    let mut whole = String::new();
    loop {
        let mut raw = Vec::new();
        let mut bounded = std::io::Read::take(&mut *lines, LONGEST as u64 + 1);
        let read = bounded.read_until(b'\n', &mut raw)?;
        if read == 0 {
            return Ok((!whole.is_empty()).then_some(whole));
        }
        *number += 1;
        if whole.len() + raw.len() > LONGEST {
            return Err(Stop::Failed(format!("line {number} is longer than {LONGEST} bytes")));
        }
        let text = String::from_utf8_lossy(&raw);
        let text = text.trim_end_matches('\n');
        match text.strip_suffix('\\') {
            Some(before) => {
                whole.push_str(before);
                whole.push(' ');
            }
            None => {
                whole.push_str(text);
                // An empty line is one, too.
                whole.push('\n');
                return Ok(Some(whole));
            }
        }
    }
}

/// The words of a line: parted by blanks, those in quotes kept together, up to a `#` (`makeargs`).
fn split(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    for c in line.chars() {
        match (quote, c) {
            (Some(q), c) if c == q => quote = None,
            (Some(_), c) => word.get_or_insert_default().push(c),
            (None, '#') => break,
            (None, '\'' | '"') if word.is_none() => {
                quote = Some(c);
                word = Some(String::new());
            }
            (None, c) if c.is_ascii_whitespace() => words.extend(word.take()),
            (None, c) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_as_iproute2_reads_them() {
        let text = "route add 10/8 \\\n  via 10.1.0.2 # comment\n\n# all of it\nlink set 'x 1' up";
        let (mut lines, mut number, mut all) = (text.as_bytes(), 0, Vec::new());
        while let Ok(Some(line)) = next(&mut lines, &mut number) {
            all.push((number, split(&line)));
        }
        let words = |w: &[&str]| w.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>();
        assert_eq!(
            all,
            [
                (2, words(&["route", "add", "10/8", "via", "10.1.0.2"])),
                (3, vec![]),
                (4, vec![]),
                (5, words(&["link", "set", "x 1", "up"])),
            ]
        );
    }

    #[test]
    fn a_line_without_end_is_refused() {
        let text = "x".repeat(2 * LONGEST);
        assert!(matches!(next(&mut text.as_bytes(), &mut 0), Err(Stop::Failed(_))));
    }

    proptest::proptest! {
        #[test]
        fn no_line_is_too_odd(text in "[a-z '\"#\\\\\n]{0,60}") {
            let (mut lines, mut number) = (text.as_bytes(), 0);
            while let Ok(Some(line)) = next(&mut lines, &mut number) {
                split(&line);
            }
        }
    }
}
