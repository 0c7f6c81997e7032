//! `sekisho iptables` and the rest of its family beside the machine's own: what is typed into a shell, in a namespace of the
//! kernel's and against a running router. The same exit codes, the same on stdout, something on stderr or nothing, the
//! kernel's own words of a refusal, and the same rules behind every line.
//!
//! The lines stand in `tests/cli/beside/*.txt`. A section begins behind `==`, with no rules. Where we differ on purpose, a
//! tab, a `#` and why stand behind the line, and then it must differ; docs/rules.md has a table of these.

use std::collections::HashSet;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use sekisho::lab::isolate;

use crate::live::Router;

/// The iptables that is printed as. Others are held to exit codes and rules alone: their lists look otherwise.
const LIKE: &str = "v1.8.9 ";

/// One of the two whose answers are compared.
struct Side {
    path: OsString,
    /// Where its lines may write.
    files: PathBuf,
    dir: PathBuf,
}

/// What a line came to.
#[derive(Debug, PartialEq)]
struct Came {
    code: i32,
    out: String,
    err: String,
}

impl Side {
    /// Makes the tools; `link` puts one where it is told to, by its name.
    fn new(dir: &Path, name: &str, link: impl Fn(&str, &Path)) -> Self {
        let (tools, files) = (dir.join(name).join("bin"), dir.join(name).join("files"));
        fs::create_dir_all(&tools).expect("a directory");
        fs::create_dir_all(&files).expect("a directory");
        for tool in ["iptables", "ip6tables"] {
            for what in ["", "-save", "-restore"] {
                let name = format!("{tool}{what}");
                link(&name, &tools.join(&name));
            }
        }
        let mut path = tools.into_os_string();
        path.push(":");
        path.push(std::env::var_os("PATH").unwrap_or_default());
        Side { path, files, dir: dir.to_owned() }
    }

    /// Runs a line as a shell does: it ends as its last command does. Who wrote for that one may have been cut short by it,
    /// or not, as chance would have it.
    fn run(&self, line: &str) -> Came {
        let out = Command::new("bash")
            .args(["-c", line])
            .env("PATH", &self.path)
            .env("TMP", &self.files)
            .env("LC_ALL", "C.UTF-8")
            .env("XTABLES_LOCKFILE", self.dir.join("lock"))
            .env("SEKISHO_CONTROL", self.dir.join("gw.sock"))
            .stdin(Stdio::null())
            .output()
            .expect("there is a shell");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let code = out.status.code().expect("it ends by itself");
        Came { code, out: text(&out.stdout), err: text(&out.stderr) }
    }

    /// The rules of one family, which `tool` is for.
    fn rules(&self, tool: &str) -> String {
        let came = self.run(&format!("{tool}-save -c"));
        assert_eq!(came.code, 0, "{}", came.err);
        came.out
    }

    /// Puts rules in force that were saved elsewhere.
    fn load(&self, tool: &str, rules: &str) -> bool {
        let file = self.dir.join("rules");
        fs::write(&file, rules).expect("it can be written to");
        self.run(&format!("{tool}-restore -c {}", file.display())).code == 0
    }
}

/// What can be the same: no comments; tables by their names; and no counts of policies, which the tool forgets with every
/// change of their table.
fn comparable(text: &str) -> String {
    let line = |line: &str| match line.split_once(' ') {
        _ if line.starts_with('#') => String::new(),
        Some((chain, rest)) if chain.starts_with(':') && !rest.starts_with('-') => {
            format!("{chain} {}\n", rest.split(' ').next().unwrap_or_default())
        }
        _ => match (line.split_once(" packets, "), line.split_once(" -c ")) {
            (Some((head, _)), _) if line.starts_with("Chain ") => {
                format!("{}\n", head.trim_end_matches(char::is_numeric))
            }
            (_, Some((head, _))) if line.starts_with("-P ") => format!("{head}\n"),
            _ => format!("{line}\n"),
        },
    };
    let text: String = text.lines().map(line).collect();
    match text.starts_with('*') {
        true => {
            let mut tables: Vec<&str> = text.split_inclusive("COMMIT\n").collect();
            tables.sort_unstable();
            tables.concat()
        }
        false => text,
    }
}

/// What of an error both must say: the kernel's words, if it was the kernel that refused.
fn refusal(err: &str) -> Option<&str> {
    let (tool, said) = err.lines().next()?.split_once(": ")?;
    let said = said.trim_end_matches(" Run `dmesg' for more information.");
    // A match or target of the tool's own that the kernel has not is none here either.
    (matches!(tool, "iptables" | "ip6tables") && said.ends_with('.')).then_some(said)
}

/// The line of a text that an error names.
fn line_named(err: &str) -> Option<usize> {
    let number = |word: &str| word.trim_end_matches([':', '.', ',']).parse().ok();
    let words: Vec<&str> = err.split_whitespace().collect();
    words.windows(2).filter(|w| w[0].trim_end_matches(':') == "line").find_map(|w| number(w[1]))
}

/// The beginning: four tables with nothing in them.
fn begin(sides: [&Side; 2]) {
    let chains = [
        ("raw", &["PREROUTING", "OUTPUT"][..]),
        ("mangle", &["PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"]),
        ("nat", &["PREROUTING", "INPUT", "OUTPUT", "POSTROUTING"]),
        ("filter", &["INPUT", "FORWARD", "OUTPUT"]),
    ];
    let mut text = String::new();
    for (table, chains) in chains {
        let policies: String = chains.iter().map(|c| format!(":{c} ACCEPT [0:0]\n")).collect();
        let _ = write!(text, "*{table}\n{policies}COMMIT\n");
    }
    for side in sides {
        for tool in ["iptables", "ip6tables"] {
            assert!(side.load(tool, &text), "{tool}: can't begin");
        }
    }
}

fn beside(book: &str) {
    let real = |name: &str| {
        let name = name.replacen("tables", "tables-legacy", 1);
        let places = ["/usr/sbin", "/sbin", "/usr/bin"].map(|p| Path::new(p).join(&name));
        places.into_iter().find(|p| p.exists())
    };
    if ["iptables", "ip6tables-save", "iptables-restore"].iter().any(|tool| real(tool).is_none()) {
        eprintln!("skipped: there is no iptables-legacy here (.ci/setup installs it)");
        return;
    }
    let dir = tempfile::tempdir().expect("a temporary directory");
    let dir = dir.path();
    let theirs = Side::new(dir, "theirs", |name, at| {
        symlink(real(name).expect("the others are there"), at).expect("a link");
    });
    let ours = Side::new(dir, "ours", |name, at| {
        let script = format!("#!/bin/sh\nexec '{}' {name} \"$@\"\n", env!("CARGO_BIN_EXE_sekisho"));
        fs::write(at, script).expect("it can be written to");
        fs::set_permissions(at, fs::Permissions::from_mode(0o755)).expect("it is ours");
    });
    let control = dir.join("gw.sock");
    fs::write(dir.join("gw.toml"), format!("[router]\nname = \"gw\"\nworkers = 1\ncontrol = {control:?}\n"))
        .expect("it can be written to");
    let router = Router::start(dir);
    let version = theirs.run("iptables -V").out;
    let alike = version.contains(LIKE);
    if !alike {
        eprintln!("{} prints lists of its own: only exit codes and rules are compared", version.trim());
    }

    let (mut wrong, mut lines, mut section, mut seen) = (Vec::new(), 0, "", HashSet::new());
    for line in book.lines().filter(|l| !l.is_empty()) {
        if let Some(title) = line.strip_prefix("== ") {
            assert!(seen.insert(title), "there are two sections {title}");
            section = title;
            begin([&theirs, &ours]);
            continue;
        }
        let (line, why) = match line.split_once("\t# ") {
            Some((line, why)) => (line, Some(why)),
            None => (line, None),
        };
        lines += 1;
        let (a, b) = (theirs.run(line), ours.run(line));
        let mut differ = Vec::new();
        if a.code != b.code {
            differ.push(format!("they end with {}, we with {}", a.code, b.code));
        }
        let (a_out, b_out) = (comparable(&a.out), comparable(&b.out));
        if alike && a_out != b_out {
            differ.push(format!("they print\n{a_out}we print\n{b_out}"));
        }
        if alike && a.err.is_empty() != b.err.is_empty() {
            differ.push("only one of us complains".into());
        }
        if let (1, Some(theirs)) = (a.code, refusal(&a.err))
            && refusal(&b.err) != Some(theirs)
        {
            differ.push("the refusals are not the same".into());
        }
        if let Some(theirs) = line_named(&a.err)
            && line_named(&b.err) != Some(theirs)
        {
            differ.push(format!("they name line {theirs}"));
        }
        // What only shows has changed nothing, and is looked after by the next line.
        let tool = if line.contains("ip6tables") { "ip6tables" } else { "iptables" };
        let shows = ["-L", "-S", "-C", "--list"].iter().any(|c| line.contains(c)) && !line.contains("-Z");
        if !shows || why.is_some() {
            let (a, b) = (theirs.rules(tool), ours.rules(tool));
            if comparable(&a) != comparable(&b) {
                differ.push(format!("their rules\n{a}our rules\n{b}"));
                // From here on both have the same again.
                assert!(ours.load(tool, &a) || theirs.load(tool, &b), "{line}: can't go on from {a}");
            }
        }
        match (why, differ.is_empty()) {
            (None, false) => {
                let (theirs, ours) = (a.err.trim_end(), b.err.trim_end());
                wrong.push(format!(
                    "== {section}\n{line}\n{}\nthey say {theirs}\nwe say {ours}\n",
                    differ.join("\n")
                ));
            }
            (Some(why), true) if alike => {
                wrong.push(format!("== {section}\n{line}\nis the same, though: {why}\n"))
            }
            _ => {}
        }
    }
    assert!(wrong.is_empty(), "{} of {lines} lines differ:\n{}", wrong.len(), wrong.join("\n"));
    assert!(lines > 100, "only {lines} lines were found");
    assert_eq!(router.terminate(), Some(0));
}

#[test]
fn commands() {
    isolate::test(|| beside(include_str!("beside/commands.txt")));
}

#[test]
fn rules() {
    isolate::test(|| beside(include_str!("beside/rules.txt")));
}

#[test]
fn texts() {
    isolate::test(|| beside(include_str!("beside/texts.txt")));
}

#[test]
fn v6() {
    isolate::test(|| beside(include_str!("beside/v6.txt")));
}
