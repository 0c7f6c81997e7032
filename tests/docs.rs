//! What the documents repeat from the code must be what the code says.
//!
//! `SEKISHO_WRITE_DOCS=1 cargo test --test docs` writes the generated parts anew.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use sekisho::base::DropReason;
use sekisho::base::counters::Tally;
use sekisho::lab::bench::metric::WORKS;
use sekisho::lab::bench::rival;

/// Replaces, or compares, what stands between `<!-- NAME -->` and `<!-- /NAME -->`.
#[track_caller]
fn generated(file: &str, name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(file);
    let old = fs::read_to_string(&path).unwrap();
    let (open, close) = (format!("<!-- {name} -->\n"), format!("<!-- /{name} -->"));
    let (head, rest) = old.split_once(&open).unwrap_or_else(|| panic!("{file} has no {open}"));
    let (body, tail) = rest.split_once(&close).unwrap_or_else(|| panic!("{file} has no {close}"));
    if body == text {
        return;
    }
    if std::env::var_os("SEKISHO_WRITE_DOCS").is_some() {
        fs::write(&path, format!("{head}{open}{text}{close}{tail}")).unwrap();
    } else {
        panic!("docs/{file} ({name}) is out of date: SEKISHO_WRITE_DOCS=1 cargo test --test docs");
    }
}

#[test]
fn packet_path() {
    let mut table = String::from("\n| reason | what happened |\n| --- | --- |\n");
    for r in DropReason::ALL {
        writeln!(table, "| `{}` | {} |", r.name(), r.text()).unwrap();
    }
    table.push('\n');
    generated("packet-path.md", "drop-reasons", &table);
    let mut table = String::from("\n| counter | what it counts |\n| --- | --- |\n");
    for t in Tally::ALL {
        writeln!(table, "| `{}` | {} |", t.name(), t.text()).unwrap();
    }
    table.push('\n');
    generated("packet-path.md", "tallies", &table);
}

#[test]
fn bench() {
    let mut table =
        String::from("\n| metric | unit | better | how it is measured |\n| --- | --- | --- | --- |\n");
    for m in WORKS.iter().flat_map(|w| w.metrics) {
        writeln!(table, "| `{}` | {} | {} | {} |", m.name, m.unit, m.better.name(), m.how).unwrap();
    }
    table.push('\n');
    generated("bench.md", "metrics", &table);
    let mut table = String::from("\n| rival | what it is | measured |\n| --- | --- | --- |\n");
    for r in rival::all(Path::new("sekisho")) {
        let when = if rival::by_default(r.name()) { "always" } else { "if named" };
        writeln!(table, "| `{}` | {} | {when} |", r.name(), r.what()).unwrap();
    }
    table.push('\n');
    generated("bench.md", "rivals", &table);
}
