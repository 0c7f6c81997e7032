//! `docs/rules.md` names all that is read and nothing else, and each of its examples does what it says.

use std::collections::BTreeSet;

use sekisho::filter::{Family, iptables};
use sekisho::lab::{isolate, tools};

use crate::kernel::Kernel;

const BOOK: &str = include_str!("../../docs/rules.md");

/// A line of one of its tables.
struct Row {
    what: &'static str,
    families: Vec<Family>,
    how: &'static str,
    /// The example, and what becomes of it.
    example: &'static str,
    becomes: Option<&'static str>,
}

fn rows() -> Vec<Row> {
    let row = |line: &'static str| {
        let cells: Vec<&str> =
            line.strip_prefix("| `")?.strip_suffix(" |").unwrap_or(line).split(" | ").collect();
        let [what, families, how, example, ..] = cells[..] else { return None };
        let of = |digit: char| match digit {
            '4' => Some(Family::V4),
            '6' => Some(Family::V6),
            _ => None,
        };
        let (example, becomes) = match example.split_once(" → ") {
            Some((example, becomes)) => (example, Some(becomes)),
            None => (example, None),
        };
        Some(Row {
            what: what.trim_end_matches('`'),
            families: families.chars().filter_map(of).collect(),
            how,
            example: example.trim_matches('`'),
            becomes: becomes.map(|b| if b == "no rule" { "" } else { b.trim_matches('`') }),
        })
    };
    BOOK.lines().filter_map(row).collect()
}

impl Row {
    /// The ruleset of the example.
    fn text(&self) -> String {
        let (table, body) = self.example.split_once(": ").expect("an example begins with its table");
        format!("*{table}\n{}\nCOMMIT\n", body.replace("\\n", "\n"))
    }

    /// What its rules are when they are written.
    fn want(&self) -> String {
        let body = self.example.split_once(": ").map_or("", |(_, body)| body);
        self.becomes.unwrap_or(body).replace("\\n", "\n")
    }
}

/// The rules of a text, one a line.
fn rules(text: &str) -> String {
    let rules: Vec<&str> = text.lines().filter(|l| l.starts_with("-A")).collect();
    rules.join("\n")
}

#[test]
fn it_names_what_is_read_and_nothing_else() {
    let shown = |of: &str, names: &[String]| format!("{of} {}", names.join(", ")).trim().to_owned();
    let code: BTreeSet<_> = iptables::catalogue()
        .iter()
        .map(|e| (shown(&e.of, &e.names), format!("{:?}", e.families), e.read))
        .collect();
    let read = |how: &str| match how {
        "works" | "differs" => true,
        "not yet" | "refused" => false,
        other => panic!("docs/rules.md: '{other}' is none of works, differs, not yet, refused"),
    };
    let book: BTreeSet<_> =
        rows().iter().map(|r| (r.what.to_owned(), format!("{:?}", r.families), read(r.how))).collect();
    let more: Vec<_> = book.difference(&code).collect();
    let less: Vec<_> = code.difference(&book).collect();
    assert!(more.is_empty() && less.is_empty(), "in docs/rules.md only: {more:#?}\nnot in it: {less:#?}");
    assert_eq!(rows().len(), code.len(), "a row stands twice in docs/rules.md");
}

#[test]
fn its_examples_do_what_they_say() {
    let mut wrong = Vec::new();
    for row in rows() {
        let Row { what, how, .. } = row;
        let text = row.text();
        let got = iptables::read(&text, row.families[0]);
        // The last word of what it is about, and all its other names.
        let names: Vec<&str> = what.split([' ', ',']).filter(|w| !w.is_empty()).collect();
        let option = names.iter().any(|n| n.starts_with("--")) && what.contains(' ');
        let names: Vec<&str> = match (option, what.starts_with("-m ") || what.starts_with("-j ")) {
            (_, false) => names,
            (true, true) => names[2..].to_vec(),
            (false, true) => names[1..].to_vec(),
        };
        let names: Vec<&str> = names.iter().map(|n| n.trim_start_matches('*')).collect();
        let uses = |word: &str| names.contains(&word);
        let implied = matches!(what, "-m icmp6" | "-m limit");
        if !text.split([' ', '\n', '*']).any(uses) && !implied {
            wrong.push(format!("{what}: the example has nothing of it"));
        }
        match (how, got) {
            ("works" | "differs", Ok(rules_of)) => {
                let want = row.want();
                let written = rules(&iptables::write(&rules_of, false));
                if written != want {
                    wrong.push(format!("{what}: {text}  gives {written}\n  not   {want}"));
                }
            }
            ("works" | "differs", Err(e)) => wrong.push(format!("{what}: {}", e[0])),
            (_, Ok(_)) => wrong.push(format!("{what} is read, though {how}")),
            (_, Err(e)) => {
                let told = e[0].to_string();
                if !names.iter().any(|n| told.contains(n)) {
                    wrong.push(format!("{what}: the error does not name it: {told}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "docs/rules.md:\n{}", wrong.join("\n"));
}

#[test]
fn its_examples_are_the_kernels_too() {
    isolate::test(|| {
        if !tools::usable(&tools::IPTABLES) {
            return;
        }
        let mut wrong = Vec::new();
        let mut seen = 0;
        for row in rows().iter().filter(|r| matches!(r.how, "works" | "differs")) {
            for family in &row.families {
                // Those with addresses of IPv4 are for it alone.
                let Ok(ours) = iptables::read(&row.text(), *family) else { continue };
                let kernel = Kernel::new(*family);
                let table = row.example.split(':').next().unwrap_or("");
                let theirs = kernel.load(&row.text()).map(|()| kernel.save(table));
                let theirs = theirs.map(|t| rules(&t.replace("[0:0] ", "").replace("[5:6] ", "")));
                if theirs.as_ref() != Ok(&rules(&iptables::write(&ours, false))) {
                    wrong.push(format!("{}: {theirs:?}", row.what));
                }
                seen += 1;
            }
        }
        assert!(wrong.is_empty(), "docs/rules.md:\n{}", wrong.join("\n"));
        assert!(seen > 250, "{seen}");
    });
}
