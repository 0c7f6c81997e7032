//! Tables for people: names, numbers, remarks.
//!
//! Knows nothing of what is in them.

use std::fmt::Write as _;

use super::Paint;

/// Names, numbers set right, a remark; as wide as what is in it.
pub(super) struct Table<'a> {
    titles: &'a [&'a str],
    rows: Vec<(String, Vec<String>, String)>,
}

impl<'a> Table<'a> {
    /// The titles of the names, of each number and of the remarks, if there are any.
    pub(super) fn new(titles: &'a [&'a str]) -> Self {
        Table { titles, rows: Vec::new() }
    }

    /// A row of numbers.
    pub(super) fn row(&mut self, name: &str, numbers: &[i128], remark: &str) {
        self.cells(name, numbers.iter().map(i128::to_string).collect(), remark);
    }

    /// A row of whatever else.
    pub(super) fn cells(&mut self, name: &str, cells: Vec<String>, remark: &str) {
        self.rows.push((name.to_owned(), cells, remark.to_owned()));
    }

    /// Writes an empty line and the table; nothing if it has no rows.
    pub(super) fn write(&self, out: &mut String, paint: Paint) {
        let Some((_, numbers, _)) = self.rows.first() else { return };
        let first = self.rows.iter().map(|r| r.0.len()).chain([self.titles[0].len(), 12]).max().unwrap_or(0);
        let widths: Vec<usize> = (0..numbers.len())
            .map(|i| {
                let cells = self.rows.iter().map(|r| r.1[i].len());
                cells.chain([self.titles[i + 1].len(), 10]).max().unwrap_or(0)
            })
            .collect();
        let mut line = format!("{:<first$}", self.titles[0]);
        for (title, w) in self.titles[1..].iter().zip(&widths) {
            let _ = write!(line, "  {title:>w$}");
        }
        let _ = writeln!(out, "\n{}", paint.dim(line.trim_end()));
        for (name, numbers, remark) in &self.rows {
            let mut line = format!("{name:<first$}");
            for (n, w) in numbers.iter().zip(&widths) {
                let _ = write!(line, "  {n:>w$}");
            }
            let _ = match remark.as_str() {
                "" => writeln!(out, "{line}"),
                remark => writeln!(out, "{line}  {}", paint.dim(remark)),
            };
        }
    }
}
