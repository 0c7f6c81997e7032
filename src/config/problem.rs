//! What is wrong with a file, where, and how it is told: [`Problem`], [`Problems`], and the [`Sink`]
//! that gathers them while a file is read to its end.
//!
//! Knows nothing of what the file is about.

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};

/// More problems than this are counted, not kept: nobody reads them, and a file may be long.
const MAX_PROBLEMS: usize = 1_000;

/// One thing wrong (or odd) in a file, as `file:line: what is wrong; what would be right`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// The file, as it was named by whoever asked for it.
    pub file: PathBuf,
    /// The line, from 1; 0 where the problem is with the file as a whole.
    pub line: usize,
    /// The column, from 1, in characters; 0 where the text itself names the place.
    pub column: usize,
    /// What is wrong, and what would be right.
    pub text: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if self.line > 0 {
            write!(f, ":{}", self.line)?;
        }
        if self.column > 0 {
            write!(f, ":{}", self.column)?;
        }
        f.write_str(": ")?;
        // Parts of it come from files that anybody may have written.
        for c in self.text.chars() {
            if c.is_control() { write!(f, "{}", c.escape_debug())? } else { write!(f, "{c}")? }
        }
        Ok(())
    }
}

/// Everything wrong with a configuration, in the order of the lines. As an error it holds at least one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Problems {
    list: Vec<Problem>,
    /// Those beyond [`MAX_PROBLEMS`].
    unlisted: usize,
}

impl Problems {
    /// A single problem with a file as a whole.
    pub fn with_file(file: &Path, text: impl Into<String>) -> Self {
        let mut problems = Problems::default();
        problems.push(Problem { file: file.to_owned(), line: 0, column: 0, text: text.into() });
        problems
    }

    /// Adds one.
    pub fn push(&mut self, problem: Problem) {
        if self.list.len() < MAX_PROBLEMS {
            self.list.push(problem);
        } else {
            self.unlisted += 1;
        }
    }

    /// Adds all of `other`.
    pub fn append(&mut self, other: Problems) {
        other.list.into_iter().for_each(|p| self.push(p));
        self.unlisted += other.unlisted;
    }

    /// How many there are, those that were not kept included.
    pub fn len(&self) -> usize {
        self.list.len() + self.unlisted
    }

    /// Whether nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Those that were kept, in order.
    pub fn iter(&self) -> impl Iterator<Item = &Problem> {
        self.list.iter()
    }

    /// One sentence for programs that stop at the first: the first problem, and how to see the rest.
    pub fn sentence(&self) -> String {
        match (self.list.first(), self.len()) {
            (None, _) => String::new(),
            (Some(first), 1) => first.to_string(),
            (Some(first), n) => {
                let (more, s) = (n - 1, if n > 2 { "s" } else { "" });
                format!("{first} (and {more} more problem{s}; `sekisho check` lists all)")
            }
        }
    }

    /// `value` if there are no problems.
    pub fn or<T>(self, value: T) -> Result<T, Problems> {
        if self.is_empty() { Ok(value) } else { Err(self) }
    }

    /// By place: those of the file `first` before those of others, those of a whole file last.
    pub(super) fn sort(&mut self, first: &Path) {
        self.list.sort_by(|a, b| {
            let file = |p: &Problem| p.file != first;
            let place = |p: &Problem| (p.line == 0, p.line, p.column);
            file(a).cmp(&file(b)).then_with(|| a.file.cmp(&b.file)).then(place(a).cmp(&place(b)))
        });
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, problem) in self.list.iter().enumerate() {
            if i > 0 {
                writeln!(f)?;
            }
            write!(f, "{problem}")?;
        }
        if self.unlisted > 0 {
            write!(f, "\n… and {} more", self.unlisted)?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// Gathers what is wrong with one text, by byte offset, and keeps going.
#[derive(Debug)]
pub(super) struct Sink<'a> {
    file: &'a Path,
    text: &'a str,
    /// Where each line after the first begins.
    breaks: Vec<usize>,
    /// Lines that are not even TOML: nothing read from them is to be judged.
    broken: BTreeSet<usize>,
    problems: Problems,
    warnings: Vec<Problem>,
}

impl<'a> Sink<'a> {
    pub(super) fn new(file: &'a Path, text: &'a str) -> Self {
        let breaks = text.bytes().enumerate().filter(|(_, b)| *b == b'\n').map(|(i, _)| i + 1).collect();
        Sink {
            file,
            text,
            breaks,
            broken: BTreeSet::new(),
            problems: Problems::default(),
            warnings: Vec::new(),
        }
    }

    /// Something is wrong at this byte; the text names the key or value itself.
    pub(super) fn wrong(&mut self, at: usize, text: impl Into<String>) {
        let problem = self.problem(at, text.into());
        if !self.broken.contains(&problem.line) {
            self.problems.push(problem);
        }
    }

    /// The text can't be read at this byte. Of several complaints about a line the first counts, and
    /// what is left of the line counts for nothing.
    pub(super) fn unreadable(&mut self, at: usize, text: impl Into<String>) {
        let problem = Problem { column: self.column(at), ..self.problem(at, text.into()) };
        if self.broken.insert(problem.line) {
            self.problems.push(problem);
        }
    }

    /// Says, after [`Sink::unreadable`], what follows from it: below a header that can't be read nobody
    /// knows what belongs where, and the parser may have taken the next header for its end. So nothing
    /// is judged up to the one after that.
    pub(super) fn doubtful(&mut self, at: usize) {
        let line = self.line(at);
        let is_header = |l: &str| l.trim_start().starts_with('[');
        let start = if line == 1 { 0 } else { self.breaks[line - 2] };
        let mut below = self.text[start..].lines().enumerate();
        if !below.next().is_some_and(|(_, l)| is_header(l)) {
            return;
        }
        let end = below.clone().filter(|(_, l)| is_header(l)).nth(1).map_or(usize::MAX, |(i, _)| i);
        self.broken.extend(below.take_while(|(i, _)| *i < end).map(|(i, _)| line + i));
    }

    /// Something is wrong in another file, or at a place that is known already.
    pub(super) fn wrong_in(&mut self, problem: Problem) {
        self.problems.push(problem);
    }

    /// Something is odd in another file, or at a place that is known already.
    pub(super) fn odd_in(&mut self, problem: Problem) {
        if self.warnings.len() < MAX_PROBLEMS {
            self.warnings.push(problem);
        }
    }

    /// Whether part of the text could not be read, so that what is missing may have stood there.
    pub(super) fn incomplete(&self) -> bool {
        !self.broken.is_empty()
    }

    /// Something is odd at this byte, and may still be meant.
    pub(super) fn odd(&mut self, at: usize, text: impl Into<String>) {
        self.odd_in(self.problem(at, text.into()));
    }

    /// The line of a byte offset, from 1.
    pub(super) fn line(&self, at: usize) -> usize {
        self.breaks.partition_point(|&b| b <= at) + 1
    }

    /// How many problems there are so far.
    pub(super) fn count(&self) -> usize {
        self.problems.len()
    }

    /// The problems and the warnings, each by line.
    pub(super) fn finish(mut self) -> (Problems, Vec<Problem>) {
        self.problems.sort(self.file);
        self.warnings.sort_by(|a, b| {
            (a.file != self.file, &a.file, a.line).cmp(&(b.file != self.file, &b.file, b.line))
        });
        (self.problems, self.warnings)
    }

    fn problem(&self, at: usize, text: String) -> Problem {
        Problem { file: self.file.to_owned(), line: self.line(at), column: 0, text }
    }

    fn column(&self, at: usize) -> usize {
        let start = match self.line(at) {
            1 => 0,
            line => self.breaks[line - 2],
        };
        let before = self.text.get(start..at.min(self.text.len()));
        before.map_or(at - start, |s| s.chars().count()) + 1
    }
}

/// Text from a file as a terminal may see it.
pub(super) use crate::base::shown as plain;

/// The same in quotes.
pub(super) fn quoted(value: &str) -> String {
    format!("'{}'", plain(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_become_lines_and_columns() {
        let sink = Sink::new(Path::new("gw.toml"), "a\nbé = 1\n\nlast");
        let place = |at| (sink.line(at), sink.column(at));
        let places = [0, 1, 2, 6, 8, 9, 10, 13, 99].map(place);
        assert_eq!(places, [(1, 1), (1, 2), (2, 1), (2, 4), (2, 6), (2, 7), (3, 1), (4, 3), (4, 5)]);
    }

    #[test]
    fn an_unreadable_line_is_complained_about_once() {
        let mut sink = Sink::new(Path::new("gw.toml"), "a = \nb");
        sink.wrong(5, "second");
        assert!(!sink.incomplete());
        sink.unreadable(4, "no value");
        sink.unreadable(3, "again");
        sink.wrong(0, "not a key");
        assert!(sink.incomplete());
        let (problems, _) = sink.finish();
        assert_eq!(problems.to_string(), "gw.toml:1:5: no value\ngw.toml:2: second");
    }

    #[test]
    fn the_sentence_counts_the_others() {
        let mut p = Problems::with_file(Path::new("f"), "one");
        assert_eq!(p.sentence(), "f: one");
        p.append(Problems::with_file(Path::new("f"), "two"));
        assert_eq!(p.sentence(), "f: one (and 1 more problem; `sekisho check` lists all)");
        p.append(Problems::with_file(Path::new("f"), "three"));
        assert!(p.sentence().contains("2 more problems;"));
    }

    #[test]
    fn problems_are_bounded_and_counted() {
        let mut sink = Sink::new(Path::new("f"), "");
        (0..MAX_PROBLEMS + 7).for_each(|_| sink.wrong(0, "x"));
        let (problems, _) = sink.finish();
        assert_eq!((problems.iter().count(), problems.len()), (MAX_PROBLEMS, MAX_PROBLEMS + 7));
        assert!(problems.to_string().ends_with("\n… and 7 more"));
    }

    #[test]
    fn quoting_hides_escapes_and_cuts() {
        assert_eq!(quoted("a\x1b[31m"), "'a\\u{1b}[31m'");
        assert!(quoted(&"x".repeat(100)).chars().count() < 70);
    }
}
