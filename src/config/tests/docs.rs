//! `docs/config.md` against the code: every key is explained in its section, every example is good.

use super::super::file::SECTIONS;
use super::*;

const DOCS: &str = include_str!("../../../docs/config.md");

/// The text of a section: from its heading to the next of its depth or above.
fn section(header: &str) -> &'static str {
    let heading = |l: &str| l.starts_with('#') && l.contains(&format!("`{header}`"));
    let mut at = 0;
    for line in DOCS.split_inclusive('\n') {
        at += line.len();
        if heading(line) {
            let depth = line.chars().take_while(|c| *c == '#').count();
            let end = DOCS[at..]
                .match_indices("\n#")
                .find(|(i, _)| DOCS[at + i + 1..].chars().take_while(|c| *c == '#').count() <= depth);
            return &DOCS[at..end.map_or(DOCS.len(), |(i, _)| at + i)];
        }
    }
    panic!("docs/config.md has no heading with `{header}`");
}

#[test]
fn every_key_is_explained_in_its_section() {
    for s in SECTIONS {
        let text = section(if s.header == "nexthops" { "[[route]]" } else { s.header });
        for key in s.keys {
            assert!(text.contains(&format!("`{key}`")), "docs/config.md: {} lacks `{key}`", s.header);
        }
    }
}

#[test]
fn no_table_explains_a_key_that_is_not_there() {
    for s in SECTIONS.iter().filter(|s| s.header != "nexthops") {
        let rows = section(s.header).lines().filter_map(|l| l.strip_prefix("| `")?.split('`').next());
        for key in rows {
            assert!(s.keys.contains(&key), "docs/config.md: {} has no key `{key}`", s.header);
        }
    }
}

#[test]
fn every_example_is_good() {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let texts = format!("{DOCS}\n{}", std::fs::read_to_string(readme).unwrap_or_default());
    let examples = |kind: &str| -> Vec<&str> {
        let fence = format!("```{kind}\n");
        texts.split(&fence).skip(1).map(|rest| rest.split("```").next().unwrap()).collect()
    };
    let dir = tempfile::tempdir().unwrap();
    let rules = examples("text iptables");
    assert_eq!(rules.len(), 1, "the one file that an example names");
    std::fs::write(dir.path().join("rules.v4"), rules[0]).unwrap();
    let examples = examples("toml");
    assert!(examples.len() >= 8);
    for example in examples {
        let config = match parse(example, &dir.path().join("docs.toml")) {
            Ok(config) => Config { route_files: Vec::new(), ..config },
            Err(problems) => panic!("{problems}\n{example}"),
        };
        let judged = config.rib().map(drop).and_then(|()| config.programs(&config.links_table()).map(drop));
        if let Err(problems) = judged {
            panic!("{problems}\n{example}");
        }
        assert!(
            config.warnings.iter().all(|w| w.text.starts_with("no links")),
            "{:?}\n{example}",
            config.warnings
        );
    }
}

#[test]
fn the_defaults_are_those_of_the_code() {
    let c = good("[link.a]\nkind = \"tap\"");
    let row = |header, key: &str| {
        let line = section(header).lines().find(|l| l.starts_with(&format!("| `{key}` |")));
        line.unwrap().split(" | ").nth(2).unwrap().to_owned()
    };
    assert_eq!(row("[link.NAME]", "mtu"), c.links[0].mtu.to_string());
    assert_eq!(row("[link.NAME]", "redirects"), format!("`{}`", c.links[0].redirects));
    assert_eq!(row("[link.NAME]", "persist"), format!("`{}`", c.links[0].persist));
    assert_eq!(row("[conntrack]", "max"), c.conntrack.table.max.to_string());
    assert_eq!(row("[icmp]", "rate"), c.icmp.rate.to_string());
}
