//! Rulesets as text, beside the tools of the machine: what iptables-restore takes we take, what it refuses we refuse,
//! and what iptables-save prints we print, byte for byte.
//!
//! The lines stand in `tests/rules/v4.txt` and `v6.txt`: a table, a tab, the lines of it (`\n` between several); where we
//! differ on purpose, another tab and why, and then it must differ.

#[path = "rules/book.rs"]
mod book;
#[path = "rules/commands.rs"]
mod commands;
#[path = "rules/generate.rs"]
mod generate;
#[path = "rules/kernel.rs"]
mod kernel;
#[path = "rules/random.rs"]
mod random;

use sekisho::filter::{Family, TableName, iptables};
use sekisho::lab::{isolate, tools};

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

/// What `-L` makes of rules, with numbers and with names, as far as the names are not those of services.
fn columns(kernel: &Kernel, rules: &sekisho::filter::Ruleset, table: &str) -> Result<(), String> {
    let service = |l: &str| l.contains("pt:") || l.contains("pts:") || l.contains("ports ");
    for how in ["-L -n -v -x", "-L -n --line-numbers", "-S -v", "-L -v"] {
        let words: Vec<String> = format!("-t {table} {how}").split(' ').map(str::to_owned).collect();
        let (_, theirs, _) = kernel.command(&words);
        let asked = iptables::asked(&words, rules.family).map_err(|e| e.to_string())?;
        let iptables::What::List(which) = asked.what else { return Err(format!("{how} is no list")) };
        let ours = match which.as_commands {
            true => iptables::commands(rules, asked.table, &which, &asked.manner),
            false => iptables::list(rules, asked.table, &which, &asked.manner),
        };
        let ours = ours.map_err(|e| e.to_string())?;
        let mut lines = ours.lines().zip(theirs.lines());
        let other = lines.find(|(a, b)| a != b && !(how == "-L -v" && service(a)));
        if let Some((a, b)) = other {
            return Err(format!("{how}\n    ours   {a}\n    theirs {b}\n"));
        }
        if ours.lines().count() != theirs.lines().count() {
            return Err(format!("{how}: {ours}\n{theirs}"));
        }
    }
    Ok(())
}

fn beside_the_kernel(family: Family, lines: &[Line]) {
    if !tools::usable(&tools::IPTABLES) {
        return;
    }
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
        if let (Ok(_), Ok(_), Ok(rules)) = (&theirs, &ours, iptables::read(&text, family))
            && why.is_none()
            // What says nothing we don't keep.
            && !["-i +", "255/3"].iter().any(|none| body.ends_with(none))
            && let Err(e) = columns(&kernel, &rules, table)
        {
            wrong.push(format!("*{table} {body}\n  {e}"));
        }
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
