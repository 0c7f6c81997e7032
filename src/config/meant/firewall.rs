//! `[firewall]`: rules in the format of iptables-save, in a file of their own or in this one.

use std::collections::BTreeSet;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::super::file::{At, FirewallTable};
use super::super::problem::{Problem, Sink, plain, quoted};
use super::super::{MAX_RULES, Rules, open_file};
use super::{LOOPBACK, Names};
use crate::filter::{Family, Ruleset, iptables};

/// The rules of both families, IPv4's first; the sink gets what is wrong with them, by the lines of the files they
/// stand in.
pub(super) fn firewall(
    tables: &[FirewallTable; 2],
    path: &Path,
    names: &Names<'_>,
    sink: &mut Sink<'_>,
) -> [Option<Rules>; 2] {
    let [v4, v6] = tables;
    [rules(v4, Family::V4, path, names, sink), rules(v6, Family::V6, path, names, sink)]
}

fn rules(
    t: &FirewallTable,
    family: Family,
    path: &Path,
    names: &Names<'_>,
    sink: &mut Sink<'_>,
) -> Option<Rules> {
    let n = match family {
        Family::V4 => 4,
        Family::V6 => 6,
    };
    if let (Some(_), Some(file)) = (t.inline.get(), t.file.get()) {
        let text = format!("[firewall]: rules{n}_file: rules{n} is there too: remove one of the two");
        sink.wrong(file.at, text);
    }
    let (text, mut rules) = match (t.inline.get(), t.file.get()) {
        (Some(At { value: (text, lines), .. }), _) => {
            (text.clone(), Rules::empty(path.to_owned(), lines.clone(), family))
        }
        (None, Some(file)) => {
            let from = path.parent().unwrap_or(Path::new("")).join(&file.value);
            match read(&from) {
                Ok(text) => (text, Rules::empty(from, Vec::new(), family)),
                Err(Unreadable::Whole(why)) => {
                    sink.wrong(file.at, format!("[firewall]: rules{n}_file: {}: {why}", plain(&file.value)));
                    return None;
                }
                Err(Unreadable::At(line)) => {
                    let text = "not UTF-8 text: save the file as UTF-8".to_owned();
                    sink.wrong_in(Problem { file: from, line, column: 0, text });
                    return None;
                }
            }
        }
        (None, None) => return None,
    };
    match iptables::read(&text, family) {
        Ok(ruleset) => rules.ruleset = ruleset.into(),
        Err(problems) => {
            problems.into_iter().for_each(|p| sink.wrong_in(rules.problem(p.line, p.text)));
            return None;
        }
    }
    warn_of_strange_links(&rules, names, sink);
    Some(rules)
}

/// Why a file of rules can't be taken.
enum Unreadable {
    /// As a whole, and what to do.
    Whole(String),
    /// From this line on.
    At(usize),
}

fn read(path: &Path) -> Result<String, Unreadable> {
    let mut bytes = Vec::new();
    open_file(path)
        .and_then(|f| f.take(MAX_RULES + 1).read_to_end(&mut bytes))
        .map_err(|e| Unreadable::Whole(format!("can't be read: {e}")))?;
    if bytes.len() as u64 > MAX_RULES {
        return Err(Unreadable::Whole(format!("longer than {} MiB", MAX_RULES >> 20)));
    }
    String::from_utf8(bytes).map_err(|e| {
        let good = &e.as_bytes()[..e.utf8_error().valid_up_to()];
        Unreadable::At(good.iter().filter(|b| **b == b'\n').count() + 1)
    })
}

/// iptables allows rules about interfaces that are not there, for they may come. Here they can't, so that such a rule is
/// odd: it never matches, or with `!` always. Each name is told of once.
fn warn_of_strange_links(rules: &Rules, names: &Names<'_>, sink: &mut Sink<'_>) {
    let known = |wanted: &str| {
        let mut all = names.typed.iter().map(String::as_str).chain([LOOPBACK]);
        match wanted.strip_suffix('+') {
            Some(beginning) => all.any(|name| name.starts_with(beginning)),
            None => all.any(|name| name == wanted),
        }
    };
    let mut told = BTreeSet::new();
    let all = rules.ruleset.tables.iter().flat_map(|t| &t.chains).flat_map(|c| &c.rules);
    for rule in all {
        for link in [&rule.basic.in_link, &rule.basic.out_link].into_iter().flatten() {
            if !known(&link.value) && !sink.incomplete() && told.insert(link.value.clone()) {
                let what = quoted(&link.value);
                sink.odd_in(rules.problem(rule.line, format!("no link is called {what}; {}", names.list())));
            }
        }
    }
}

impl Rules {
    /// No tables, of a file whose lines are those of the text, or are listed.
    fn empty(file: PathBuf, lines: Vec<usize>, family: Family) -> Self {
        Rules { file, lines, ruleset: Ruleset { family, tables: Vec::new() }.into() }
    }
}
