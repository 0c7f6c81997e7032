//! `docs/rules.md` names all that is read and nothing else, and each of its examples does what it says.

use std::collections::BTreeSet;

use sekisho::filter::{Family, iptables};

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
        let Row { what, how, example, becomes, .. } = row;
        let family = row.families[0];
        let (table, body) = example.split_once(": ").expect("an example begins with its table");
        let body = body.replace("\\n", "\n");
        let text = format!("*{table}\n{body}\nCOMMIT\n");
        let got = iptables::read(&text, family);
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
                let want = becomes.map_or_else(|| body.clone(), |b| b.replace("\\n", "\n"));
                let written = rules(&iptables::write(&rules_of, false));
                if written != want {
                    wrong.push(format!("{what}: {body}\n  gives {written}\n  not   {want}"));
                }
            }
            ("works" | "differs", Err(e)) => wrong.push(format!("{what}: {body}: {}", e[0])),
            (_, Ok(_)) => wrong.push(format!("{what}: {body} is read, though {how}")),
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
