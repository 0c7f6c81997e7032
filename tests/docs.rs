//! What the documents repeat from the code must be what the code says.
//!
//! `SEKISHO_WRITE_DOCS=1 cargo test --test docs` writes the generated parts anew.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs;
use std::path::Path;

use sekisho::base::DropReason;
use sekisho::base::counters::Tally;
use sekisho::control::metrics;
use sekisho::control::protocol::Request;
use sekisho::lab::bench::metric::WORKS;
use sekisho::lab::bench::rival;
use serde_json::Value;

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
    let mut table = String::from("\n| reason | stage | what happened |\n| --- | --- | --- |\n");
    for r in DropReason::ALL {
        writeln!(table, "| `{}` | {} | {} |", r.name(), r.stage(), r.text()).unwrap();
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

#[test]
fn the_metrics() {
    let mut table = String::from("\n| metric | type | labels | what it says |\n| --- | --- | --- | --- |\n");
    for d in metrics::definitions() {
        let labels: Vec<_> = d.labels.iter().map(|l| format!("`{l}`")).collect();
        writeln!(table, "| `{}` | {} | {} | {} |", d.name, d.kind.name(), labels.join(" "), d.help).unwrap();
    }
    table.push('\n');
    generated("metrics.md", "metrics", &table);
}

/// The names of what stands in a value, each behind those of what it stands in. What is null says nothing.
fn keys(value: &Value, behind: &str, into: &mut BTreeSet<String>) {
    match value {
        Value::Object(map) => {
            for (key, value) in map.iter().filter(|(_, value)| !value.is_null()) {
                into.insert(format!("{behind}.{key}"));
                keys(value, &format!("{behind}.{key}"), into);
            }
        }
        Value::Array(list) => list.iter().for_each(|value| keys(value, behind, into)),
        _ => {}
    }
}

#[test]
fn the_requests() {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/control.md")).unwrap();
    let mut shown = BTreeSet::new();
    // What a router knows of the same requests, as `null` where they leave it out.
    let mut known = BTreeSet::new();
    let mut verbs = BTreeSet::new();
    for line in text.lines().filter(|line| line.starts_with(r#"{"version":"#)) {
        let request = Request::parse(line.as_bytes()).unwrap_or_else(|e| panic!("{line}: {e}"));
        let said: Value = serde_json::from_str(line).unwrap();
        let tags = ["verb", "object", "command", "said", "op"];
        let which: Vec<&str> = tags.iter().filter_map(|tag| said[tag].as_str()).collect();
        keys(&said, &which.join("-"), &mut shown);
        verbs.insert(which.join("-"));
        let all = serde_json::to_value(&request).unwrap();
        for key in all.as_object().unwrap().keys() {
            known.insert(format!("{}.{key}", which.join("-")));
        }
        // Anything else is refused, so that what is misspelled does not go for nothing.
        let known_to_none =
            ["hello", "stats", "confirm", "config", "conntrack-stats", "conntrack-count", "capture"];
        if !known_to_none.contains(&which.join("-").as_str()) {
            let odd = line.replacen(r#"{"version":1,"#, r#"{"version":1,"odd":1,"#, 1);
            let no = Request::parse(odd.as_bytes()).expect_err(&odd);
            assert!(no.contains("odd"), "{no}");
        }
    }
    assert!(verbs.len() >= 40, "{verbs:?}");
    let untold: Vec<_> = known.difference(&shown).collect();
    assert!(untold.is_empty(), "docs/control.md says nothing of {untold:?}");
    for filter in
        ["family", "proto", "orig_src", "reply_dst", "icmp_id", "state", "mark", "status_not", "src_nat.to"]
    {
        assert!(shown.contains(&format!("conntrack-list.filter.{filter}")), "{filter}");
    }
}

#[test]
fn the_commands() {
    generated("cli.md", "commands", &sekisho::cli::reference());
}

/// The words in a text that are names of metrics.
fn metrics_in(text: &str) -> Vec<&str> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|w| w.starts_with("sekisho_")).collect()
}

#[test]
fn the_dashboard() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/grafana.json");
    let dashboard: serde_json::Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    assert!(panels.len() >= 10);
    let known: Vec<_> = metrics::definitions();
    let mut taken: Vec<(u64, u64, u64, u64)> = Vec::new();
    for panel in panels {
        let title = panel["title"].as_str().unwrap();
        let of = |key: &str| panel["gridPos"][key].as_u64().unwrap();
        let here = (of("x"), of("y"), of("w"), of("h"));
        let apart = |a: &(u64, u64, u64, u64)| {
            a.0 + a.2 <= here.0 || here.0 + here.2 <= a.0 || a.1 + a.3 <= here.1 || here.1 + here.3 <= a.1
        };
        assert!(here.0 + here.2 <= 24 && taken.iter().all(apart), "{title} lies on another");
        taken.push(here);
        for target in panel["targets"].as_array().unwrap() {
            let expr = target["expr"].as_str().unwrap();
            let named = metrics_in(expr);
            assert!(!named.is_empty(), "{title}: {expr}");
            for name in named {
                let found = known.iter().find(|d| d.name == name);
                let found = found.unwrap_or_else(|| panic!("{title}: there is no metric {name}"));
                let rate = expr.contains(&format!("rate({name}"));
                let counter = found.kind == metrics::Kind::Counter;
                assert_eq!(rate, counter, "{title}: {name} is a {}", found.kind.name());
            }
            // Labels that the legend and the expression name are some metric's of it.
            let legend = target["legendFormat"].as_str().unwrap();
            for label in legend.split("{{").skip(1).map(|l| l.split("}}").next().unwrap()) {
                let has = metrics_in(expr)
                    .iter()
                    .any(|m| known.iter().any(|d| d.name == *m && d.labels.contains(&label)));
                assert!(has, "{title}: no metric of it has a label {label}");
            }
        }
    }
}
