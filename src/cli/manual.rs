//! The manual, made of the definitions of the verbs: as pages for man(1), and as Markdown for `docs/cli.md`.
//!
//! A verb's long help is its manual. What is set out in lines or in columns is kept as it stands; the rest is prose, which
//! flows. Knows no verb.

use std::fmt::Write as _;

use clap::{Arg, Command, CommandFactory};

use super::Sekisho;

/// A page.
pub(super) struct Page {
    /// Its name without the section: `sekisho-top`.
    pub(super) name: String,
    /// Its text, for troff.
    pub(super) roff: Vec<u8>,
}

/// All pages: the program's first.
pub(super) fn pages() -> Vec<Page> {
    let mut root = Sekisho::command();
    root.build();
    let mut names = vec!["sekisho".to_owned()];
    let mut found = Vec::new();
    collect(&root, "sekisho", &mut found);
    names.extend(found.iter().map(|(name, _)| name.clone()));
    let mut pages = vec![page("sekisho", &root, &names)];
    pages.extend(found.iter().map(|(name, command)| page(name, command, &names)));
    pages
}

/// The reference as Markdown.
pub fn reference() -> String {
    let mut root = Sekisho::command();
    root.build();
    let mut out = String::new();
    let mut found = Vec::new();
    collect(&root, "sekisho", &mut found);
    out.push('\n');
    markdown(&mut out, &root);
    for (_, command) in &found {
        let title = command.get_bin_name().unwrap_or_else(|| command.get_name());
        let _ = writeln!(out, "\n## `{title}`\n");
        markdown(&mut out, command);
    }
    out.push('\n');
    out
}

/// The verbs, and what is below them.
fn collect<'a>(command: &'a Command, name: &str, found: &mut Vec<(String, &'a Command)>) {
    for sub in command.get_subcommands().filter(|s| !s.is_hide_set()) {
        let name = format!("{name}-{}", sub.get_name());
        found.push((name.clone(), sub));
        collect(sub, &name, found);
    }
}

/// A piece of a text.
#[derive(Debug, PartialEq, Eq)]
enum Block {
    Prose(String),
    Verbatim(String),
}

/// The pieces of a text: what empty lines divide.
fn blocks(text: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    for part in text.split("\n\n").map(|p| p.trim_matches('\n')).filter(|p| !p.trim().is_empty()) {
        // Prose is one long line, with a blank between words.
        let set = part.lines().count() > 1 || part.contains("  ");
        let block = match set {
            true => Block::Verbatim(part.to_owned()),
            false => Block::Prose(part.to_owned()),
        };
        match (blocks.last_mut(), block) {
            (Some(Block::Verbatim(last)), Block::Verbatim(more)) => {
                let _ = write!(last, "\n\n{more}");
            }
            (_, block) => blocks.push(block),
        }
    }
    blocks
}

fn text_of(command: &Command) -> String {
    let text = command.get_long_about().or_else(|| command.get_about());
    text.map(ToString::to_string).unwrap_or_default()
}

fn page(name: &str, command: &Command, names: &[String]) -> Page {
    // Its page calls it by its whole name.
    let shown = command.clone().display_name(name.to_owned());
    let man = clap_mangen::Man::new(shown.clone())
        .title(name.to_uppercase())
        .section("1")
        .source(format!("sekisho {}", env!("CARGO_PKG_VERSION")))
        .manual("Sekisho");
    let mut roff = Vec::new();
    // Nothing of this can fail: it is written to memory.
    let _ = man.render_title(&mut roff);
    let _ = man.render_name_section(&mut roff);
    let _ = man.render_synopsis_section(&mut roff);
    roff.extend(description(&text_of(command)).into_bytes());
    if command.get_arguments().any(|a| !a.is_hide_set()) {
        let _ = man.render_options_section(&mut roff);
    }
    if command.has_subcommands() {
        roff.extend(verbs(command, name).into_bytes());
    }
    roff.extend(see_also(name, names).into_bytes());
    Page { name: name.to_owned(), roff }
}

fn description(text: &str) -> String {
    let mut out = String::from(".SH DESCRIPTION\n");
    for (n, block) in blocks(text).iter().enumerate() {
        if n > 0 {
            out.push_str(".PP\n");
        }
        match block {
            Block::Prose(text) => out.push_str(&escaped(text)),
            Block::Verbatim(text) => {
                let _ = write!(out, ".nf\n{}.fi\n", escaped(text));
            }
        }
    }
    out
}

/// The text as troff takes it: nothing of it is a request or an escape.
fn escaped(text: &str) -> String {
    let mut out = String::new();
    for line in text.lines() {
        let line = line.replace('\\', "\\e").replace('-', "\\-").replace('\'', "\\(aq").replace('`', "\\(ga");
        if line.starts_with('.') {
            out.push_str("\\&");
        }
        let _ = writeln!(out, "{line}");
    }
    out
}

fn verbs(command: &Command, name: &str) -> String {
    let mut out = String::from(".SH COMMANDS\n");
    for sub in command.get_subcommands().filter(|s| !s.is_hide_set()) {
        let about = sub.get_about().map(ToString::to_string).unwrap_or_default();
        let page = escaped(&format!("{name}-{}", sub.get_name()));
        let _ = write!(out, ".TP\n\\fB{}\\fR(1)\n{}", page.trim_end(), escaped(&about));
    }
    out
}

fn see_also(name: &str, names: &[String]) -> String {
    let others: Vec<_> = match name {
        "sekisho" => return String::new(),
        _ => names.iter().filter(|n| *n == "sekisho" || is_kin(n, name)).collect(),
    };
    let list: Vec<_> = others.iter().map(|n| format!("\\fB{}\\fR(1)", escaped(n).trim_end())).collect();
    format!(".SH SEE ALSO\n{}\n", list.join(", "))
}

/// Whether two pages are of one family: `sekisho-iptables` and `sekisho-iptables-save`.
fn is_kin(a: &str, b: &str) -> bool {
    let family = |n: &str| n.split('-').nth(1).map(|f| f.replace("ip6tables", "iptables"));
    a != b && family(a) == family(b)
}

fn markdown(out: &mut String, command: &Command) {
    for (n, block) in blocks(&text_of(command)).iter().enumerate() {
        if n > 0 {
            out.push('\n');
        }
        let _ = match block {
            Block::Prose(text) => writeln!(out, "{}", safe(text)),
            Block::Verbatim(text) => writeln!(out, "```text\n{text}\n```"),
        };
    }
    let usage = command.clone().render_usage().to_string();
    let usage = usage.trim_start_matches("Usage: ").trim();
    let _ = writeln!(out, "\n```text\n{usage}\n```");
    let args: Vec<&Arg> = command.get_arguments().filter(|a| !a.is_hide_set()).collect();
    if !args.is_empty() {
        out.push_str("\n| | |\n| --- | --- |\n");
    }
    for arg in args {
        let help =
            arg.get_help().or_else(|| arg.get_long_help()).map(ToString::to_string).unwrap_or_default();
        let default: Vec<_> = arg.get_default_values().iter().filter_map(|v| v.to_str()).collect();
        // Flags have one that says nothing.
        let default = match arg.get_action().takes_values() && !default.is_empty() {
            true => format!(" (default: `{}`)", default.join(" ")),
            false => String::new(),
        };
        let help = safe(&help).replace('\n', " ").replace('|', "\\|");
        let _ = writeln!(out, "| `{}` | {help}{default} |", named(arg).replace('|', "\\|"));
    }
    let verbs: Vec<_> = command.get_subcommands().filter(|s| !s.is_hide_set()).collect();
    if !verbs.is_empty() {
        out.push_str("\n| | |\n| --- | --- |\n");
    }
    for verb in verbs {
        let about = verb.get_about().map(ToString::to_string).unwrap_or_default();
        let name = verb.get_bin_name().unwrap_or_else(|| verb.get_name());
        let anchor: String = name.chars().filter(|c| c.is_alphanumeric() || " -".contains(*c)).collect();
        let anchor = anchor.replace(' ', "-");
        let _ = writeln!(out, "| [`{name}`](#{anchor}) | {} |", safe(&about).replace('|', "\\|"));
    }
}

/// How an argument is written: `-d, --delay <SECONDS>`.
fn named(arg: &Arg) -> String {
    let values = || {
        let names = arg.get_value_names().unwrap_or_default().iter();
        names.map(|n| format!("<{n}>")).collect::<Vec<_>>().join(" ")
    };
    if arg.is_positional() {
        return values();
    }
    let short = arg.get_short().map(|s| format!("-{s}"));
    let long = arg.get_long().map(|l| format!("--{l}"));
    let mut text = [short, long].into_iter().flatten().collect::<Vec<_>>().join(", ");
    if arg.get_action().takes_values() {
        let _ = write!(text, " {}", values());
    }
    text
}

/// Prose in which nothing is taken for HTML: what stands in backticks is none anyway.
fn safe(text: &str) -> String {
    let parts = text.split('`').enumerate();
    let parts = parts.map(|(n, part)| match n % 2 {
        0 => part.replace('<', "&lt;"),
        _ => part.to_owned(),
    });
    parts.collect::<Vec<_>>().join("`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prose_flows_and_columns_stay() {
        let text = "Shows.\n\nA longer text - with words.\n\n  ip [-4]   link\n\n-4, -6   a family\n\nEnd.";
        let verbatim = "  ip [-4]   link\n\n-4, -6   a family";
        assert_eq!(
            blocks(text),
            [
                Block::Prose("Shows.".into()),
                Block::Prose("A longer text - with words.".into()),
                Block::Verbatim(verbatim.into()),
                Block::Prose("End.".into())
            ]
        );
    }

    #[test]
    fn nothing_is_a_request_to_troff() {
        assert_eq!(escaped(".TH x\n'br\na\\fB -c"), "\\&.TH x\n\\(aqbr\na\\efB \\-c\n");
    }

    #[test]
    fn each_verb_has_its_page_and_its_place() {
        let (pages, reference) = (pages(), reference());
        for verb in Sekisho::command().get_subcommands() {
            let name = format!("sekisho-{}", verb.get_name());
            let page = pages.iter().find(|p| p.name == name).expect(&name);
            let text = String::from_utf8(page.roff.clone()).unwrap();
            for part in [".TH SEKISHO", ".SH NAME", ".SH SYNOPSIS", ".SH DESCRIPTION", ".SH SEE ALSO"] {
                assert!(text.contains(part), "{name}: no {part} in\n{text}");
            }
            assert!(text.contains("\\fBsekisho\\fR(1)"), "{text}");
            assert!(reference.contains(&format!("\n## `sekisho {}`\n", verb.get_name())), "{name}");
        }
        let all = String::from_utf8(pages[0].roff.clone()).unwrap();
        assert!(pages[0].name == "sekisho" && all.contains("\\fBsekisho\\-top\\fR(1)"), "{all}");
    }
}
