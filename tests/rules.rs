//! Rulesets as text, beside the tools of the machine: what iptables-restore takes we take, what it refuses we refuse,
//! and what iptables-save prints we print, byte for byte.
//!
//! The lines stand in `tests/rules/v4.txt` and `v6.txt`: a table, a tab, the lines of it (`\n` between several); where we
//! differ on purpose, another tab and why, and then it must differ.

#[path = "rules/book.rs"]
mod book;
#[path = "rules/generate.rs"]
mod generate;
#[path = "rules/kernel.rs"]
mod kernel;
#[path = "rules/random.rs"]
mod random;

use sekisho::filter::{Family, TableName, iptables};
use sekisho::lab::isolate;

use kernel::Kernel;

struct Line {
    table: &'static str,
    body: String,
    why: Option<&'static str>,
}

fn lines(text: &'static str) -> Vec<Line> {
    let line = |line: &'static str| {
        let mut parts = line.split('\t');
        let table = parts.next()?;
        let body = parts.next()?.replace("\\n", "\n");
        Some(Line { table, body, why: parts.next() })
    };
    text.lines().filter(|l| !l.starts_with('#')).filter_map(line).collect()
}

fn beside_the_kernel(family: Family, lines: &[Line]) {
    let kernel = Kernel::new(family);
    let mut wrong = Vec::new();
    for Line { table, body, why } in lines {
        // The tool leaves policies as they are unless it is told.
        let policies = TableName::ALL.iter().find(|t| t.name() == *table).map_or(&[][..], |t| t.hooks());
        let policies: String = policies.iter().map(|h| format!(":{} ACCEPT [0:0]\n", h.name())).collect();
        let text = format!("*{table}\n{policies}{body}\nCOMMIT\n");
        let theirs = kernel.load(&text).map(|()| kernel.save(table));
        let ours = iptables::read(&text, family).map(|r| iptables::write(&r, true));
        let same = match (&theirs, &ours) {
            (Ok(theirs), Ok(ours)) => theirs == ours,
            (Err(_), Err(_)) => true,
            _ => false,
        };
        let theirs = theirs.unwrap_or_else(|e| format!("refused: {e}"));
        let ours = ours.unwrap_or_else(|e| format!("refused: {}\n", e[0]));
        match why {
            None if !same => wrong.push(format!("*{table} {body}\n  kernel {theirs}  ours   {ours}")),
            Some(why) if same => wrong.push(format!("*{table} {body}\n  is the same, though: {why}\n")),
            _ => {}
        }
    }
    assert!(wrong.is_empty(), "{} of {} lines:\n{}", wrong.len(), lines.len(), wrong.join(""));
    assert!(lines.len() > 50, "only {} lines were found", lines.len());
}

#[test]
fn v4() {
    isolate::test(|| beside_the_kernel(Family::V4, &lines(include_str!("rules/v4.txt"))));
}

#[test]
fn v6() {
    isolate::test(|| beside_the_kernel(Family::V6, &lines(include_str!("rules/v6.txt"))));
}
