//! `sekisho check`: everything wrong with a file, and nothing else.

use std::io::Write;
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use super::{Outcome, Paint, Run, say};
use crate::config::{self, LinkConfig, Problem};

/// Say everything that is wrong with a configuration file.
///
/// Reads the file and everything it names, and reports all problems at once, each by file and line
/// with what would be right. Nothing is started, opened or changed, and no rights are needed.
///
/// Exit code 0: the file is good; one line says what it holds, warnings may precede it.
///
/// Exit code 1: it isn't; the problems are on stderr, in the form `FILE:LINE: WHAT IS WRONG`, which
/// editors understand.
#[derive(Debug, clap::Args)]
pub(super) struct Check {
    /// The configuration file: see docs/config.md
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

impl Run for Check {
    fn run(self) -> Outcome {
        let (config, problems) = config::check(&self.file);
        let paint = Paint::stderr();
        let mut err = std::io::stderr().lock();
        for warning in config.iter().flat_map(|c| &c.warnings) {
            writeln!(err, "{} {} {}", place(warning, paint), paint.yellow("warning:"), warning.text)?;
        }
        for problem in problems.iter() {
            writeln!(err, "{} {}", place(problem, paint), problem.text)?;
        }
        let shown = problems.iter().count();
        if problems.len() > shown {
            writeln!(err, "… and {} more", problems.len() - shown)?;
        }
        match config.filter(|_| problems.is_empty()) {
            Some(config) => say(format_args!("{}: good: {}", self.file.display(), holds(&config)))?,
            None => return Ok(ExitCode::FAILURE),
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Everything of a problem but its text.
fn place(problem: &Problem, paint: Paint) -> impl std::fmt::Display {
    let place = Problem { text: String::new(), ..problem.clone() }.to_string();
    paint.bold(place.trim_end().to_owned())
}

/// `2 links, 4 addresses, 3 routes`: what the file says, and what it names.
fn holds(c: &config::Config) -> String {
    // The link-local addresses that were made are not in the file.
    let typed = |l: &LinkConfig| {
        let made = l.mac.map(|mac| IpAddr::V6(mac.link_local()));
        l.addresses.iter().filter(|a| Some(a.addr) != made).count()
    };
    let addresses = c.loopback.len() + c.links.iter().map(typed).sum::<usize>();
    let mut parts = vec![
        count(c.links.len(), "link", "links"),
        count(addresses, "address", "addresses"),
        count(c.routes.len(), "route", "routes"),
    ];
    if !c.route_files.is_empty() {
        parts.push(count(c.route_files.len(), "route file", "route files"));
    }
    if !c.neighbors.is_empty() {
        parts.push(count(c.neighbors.len(), "neighbor", "neighbors"));
    }
    let tables = c.rules.iter().flatten().flat_map(|r| &r.ruleset.tables);
    let rules: usize = tables.flat_map(|t| &t.chains).map(|c| c.rules.len()).sum();
    if c.rules.iter().any(Option::is_some) {
        parts.push(count(rules, "rule", "rules"));
    }
    parts.join(", ")
}

fn count(n: usize, one: &str, many: &str) -> String {
    format!("{n} {}", if n == 1 { one } else { many })
}
