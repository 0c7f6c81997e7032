//! Many routes from one text, with the lines that are wrong.

use std::fmt;
use std::io::{BufRead, Read};

use super::{Parser, Route, RouteError, TextError};
use crate::link::Links;

/// A line, next hops on lines of their own included, in bytes. Holds as many next hops as a route
/// can have.
pub(super) const MAX_LINE: usize = 32 << 10;

/// Lines told to be wrong, at most.
const MAX_ERRORS: usize = 20;

/// Lines that are no routes, or routes that were refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadError {
    /// The first of them.
    pub lines: Vec<LineError>,
    /// How many more there are.
    pub more: usize,
}

/// A line that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {error}")]
pub struct LineError {
    /// Its number, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub error: TextError,
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, line) in self.lines.iter().enumerate() {
            write!(f, "{}{line}", if i > 0 { "\n" } else { "" })?;
        }
        match self.more {
            0 => Ok(()),
            n => write!(f, "\nand {n} more lines"),
        }
    }
}

impl std::error::Error for LoadError {}

/// Reads all routes of a text and hands each to `sink`, which may refuse it. Goes on after errors, so
/// that all are told. Gives the number of routes taken.
///
/// A line that begins with a blank and `nexthop` goes on with the route before it, as `ip route
/// show` prints routes with several hops.
pub fn load(
    text: impl BufRead,
    links: &Links,
    mut sink: impl FnMut(Route) -> Result<(), RouteError>,
) -> Result<usize, LoadError> {
    let mut parser = Parser::new(links);
    let mut errors = LoadError { lines: Vec::new(), more: 0 };
    let mut taken = 0;
    let mut lines = Lines { text, raw: Vec::new(), number: 0 };
    let mut route = String::new();
    let mut route_line = 0;
    loop {
        let next = lines.next();
        if let Some(Ok(line)) = &next
            && continues(line)
            && route.len() + line.len() <= MAX_LINE
        {
            route.push(' ');
            route.push_str(line);
            continue;
        }
        match parser.line(&route) {
            Ok(None) => {}
            Ok(Some(r)) => match sink(r) {
                Ok(()) => taken += 1,
                Err(e) => errors.add(route_line, e.into()),
            },
            Err(e) => errors.add(route_line, e),
        }
        route.clear();
        match next {
            None => break,
            Some(Ok(line)) => route.push_str(line),
            Some(Err(e @ TextError::Io(_))) => {
                errors.add(lines.number + 1, e);
                break;
            }
            Some(Err(e)) => errors.add(lines.number, e),
        }
        route_line = lines.number;
    }
    if errors.lines.is_empty() { Ok(taken) } else { Err(errors) }
}

impl LoadError {
    fn add(&mut self, line: usize, error: TextError) {
        if self.lines.len() < MAX_ERRORS {
            self.lines.push(LineError { line, error });
        } else {
            self.more += 1;
        }
    }
}

fn continues(line: &str) -> bool {
    line.starts_with([' ', '\t']) && line.trim_start().starts_with("nexthop")
}

/// Lines of bounded length, with their numbers.
struct Lines<R> {
    text: R,
    raw: Vec<u8>,
    number: usize,
}

impl<R: BufRead> Lines<R> {
    fn next(&mut self) -> Option<Result<&str, TextError>> {
        self.raw.clear();
        let mut bounded = (&mut self.text).take(MAX_LINE as u64 + 1);
        match bounded.read_until(b'\n', &mut self.raw) {
            Ok(0) => return None,
            Ok(_) => self.number += 1,
            Err(e) => return Some(Err(TextError::Io(e.to_string()))),
        }
        if self.raw.len() > MAX_LINE && self.raw.last() != Some(&b'\n') {
            return Some(Err(match self.text.skip_until(b'\n') {
                Ok(_) => TextError::TooLong,
                Err(e) => TextError::Io(e.to_string()),
            }));
        }
        Some(std::str::from_utf8(&self.raw).map_err(|_| TextError::NotText))
    }
}
