//! The command line: arguments in, text or JSON out.
//!
//! Each verb is one file with one definition: a clap struct whose doc comment is its help and its
//! manual, and a `Run`. To add one, add its file, its `mod` line and its line in `verbs!`.
//!
//! Exit codes: 0 done, 1 the answer is no or it failed, 2 misuse. What is asked for goes to stdout,
//! errors go to stderr in one sentence.

mod bench;
mod capture;
mod check;
mod completions;
mod config;
mod conntrack;
mod demo;
mod diff;
mod explain;
mod ip;
mod iptables;
mod log;
mod man;
mod manual;
mod out;
mod paint;
mod reload;
mod restore;
mod router;
mod run;
mod save;
mod stats;
mod table;
mod top;
mod trace;

use std::ffi::OsString;
use std::fmt;
use std::io::Write;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser, Subcommand};

pub use manual::reference;
pub use paint::Paint;

/// Runs the command line and gives its exit code.
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args = verb_first(args.into_iter().collect());
    let verb = match Sekisho::try_parse_from(&args) {
        Ok(Sekisho { verb }) => verb,
        // These tools know no other failure.
        Err(e) if args.get(1).is_some_and(|v| SAVE_OR_RESTORE.iter().any(|name| v == name)) => {
            return if misuse(&e, &args) == ExitCode::SUCCESS {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            };
        }
        Err(e) => return misuse(&e, &args),
    };
    match verb.run() {
        Ok(code) => code,
        Err(Failure(text)) => {
            complain(&text);
            ExitCode::FAILURE
        }
    }
}

/// The verbs whose misuse is 1, as it is of the tools they are like.
const SAVE_OR_RESTORE: [&str; 4] =
    ["iptables-save", "ip6tables-save", "iptables-restore", "ip6tables-restore"];

/// Puts a `--control PATH` that stands before the verb behind it, where the verbs that talk to a running
/// router take it: both orders are natural, and scripts use either.
fn verb_first(mut args: Vec<OsString>) -> Vec<OsString> {
    let words = match args.get(1).and_then(|a| a.to_str()) {
        Some("--control") => 2,
        Some(a) if a.starts_with("--control=") => 1,
        _ => return args,
    };
    if args.len() > 1 + words {
        args[1..=1 + words].rotate_left(words);
    }
    args
}

/// A userspace router for Linux.
///
/// One process takes over tun, tap and AF_PACKET links and is the router: its own routes, neighbors
/// and local stack. One file says what it is to be; `sekisho check FILE` says what is wrong with the
/// file, `sekisho run FILE` is the router.
///
/// The verbs from `ip` to `top` talk to the router that runs; of several, `--control` or $SEKISHO_CONTROL names one.
///
/// Exit codes: 0 done, 1 the answer is no or it failed, 2 misuse, unless the tool whose words a verb takes has others.
/// `sekisho VERB --help` is the manual of a verb.
#[derive(Debug, Parser)]
#[command(name = "sekisho", bin_name = "sekisho", version, max_term_width = 100)]
#[command(subcommand_required = true, arg_required_else_help = true, disable_help_subcommand = true)]
struct Sekisho {
    #[command(subcommand)]
    verb: Verb,
}

macro_rules! verbs {
    ($($verb:ident($definition:ty),)+) => {
        #[derive(Debug, Subcommand)]
        enum Verb { $($verb($definition)),+ }

        impl Run for Verb {
            fn run(self) -> Outcome {
                match self { $(Verb::$verb(verb) => verb.run()),+ }
            }
        }
    };
}

// In the order of the help and of the manual: what makes a router, what is said to one that runs in the words of other
// tools, its transactions, what it shows, and what installs the rest.
verbs! {
    Run(run::Run),
    Check(check::Check),
    Demo(demo::Demo),
    Bench(bench::Bench),

    Ip(ip::Ip),
    Iptables(iptables::Iptables),
    Ip6tables(iptables::Ip6tables),
    IptablesSave(save::IptablesSave),
    Ip6tablesSave(save::Ip6tablesSave),
    IptablesRestore(restore::IptablesRestore),
    Ip6tablesRestore(restore::Ip6tablesRestore),
    Conntrack(conntrack::Conntrack),

    Diff(diff::Diff),
    Reload(reload::Reload),
    Confirm(reload::Confirm),
    Rollback(reload::Rollback),
    Config(config::Config),

    Trace(trace::Trace),
    Explain(explain::Explain),
    Capture(capture::Capture),
    Stats(stats::Stats),
    Top(top::Top),

    Completions(completions::Completions),
    Man(man::Man),
}

/// What every verb does.
trait Run {
    fn run(self) -> Outcome;
}

/// How a verb ended: with an exit code, what was to be said having been said, or with a sentence.
type Outcome = Result<ExitCode, Failure>;

/// Why a verb failed, in one sentence that says what to do. Exit code 1.
#[derive(Debug)]
struct Failure(String);

impl<E: fmt::Display> From<E> for Failure {
    fn from(e: E) -> Self {
        Failure(e.to_string())
    }
}

/// Says one sentence on stderr. Nobody can be told if that fails.
fn complain(text: &str) {
    let _ = writeln!(std::io::stderr(), "sekisho: {text}");
}

/// Says what was not understood of the command line.
fn misused(why: &(impl fmt::Display + ?Sized)) -> Outcome {
    complain(&why.to_string());
    Ok(ExitCode::from(2))
}

/// Prints one line. A reader who went away is no error (`sekisho … | head`).
fn say(line: impl fmt::Display) -> Result<(), Failure> {
    match writeln!(std::io::stdout(), "{line}") {
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Failure(format!("can't write the answer: {e}")))
        }
        _ => Ok(()),
    }
}

/// A large number as people read it: `12,345`.
fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let groups = digits.as_bytes().rchunks(3).rev().filter_map(|g| std::str::from_utf8(g).ok());
    groups.collect::<Vec<_>>().join(",")
}

/// Help and version as clap prints them; everything else as one sentence.
fn misuse(e: &clap::Error, args: &[OsString]) -> ExitCode {
    match e.kind() {
        ErrorKind::DisplayHelp
        | ErrorKind::DisplayVersion
        | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            let _ = e.print();
        }
        _ => complain(&sentence(&e.render().to_string(), meant(args).as_deref())),
    }
    ExitCode::from(e.exit_code().clamp(0, 2) as u8)
}

/// The verb that is meant, if there is one of that name.
fn meant(args: &[OsString]) -> Option<String> {
    let word = args.get(1)?.to_str()?;
    Sekisho::command().find_subcommand(word).map(|verb| verb.get_name().to_owned())
}

/// clap's error, its hints included, on one line, and whose help says more.
fn sentence(rendered: &str, verb: Option<&str>) -> String {
    let lines = rendered.lines().map(str::trim).filter(|l| !l.is_empty());
    let said = lines.take_while(|l| !l.starts_with("Usage:") && !l.starts_with("For more information"));
    let said: Vec<&str> = said.map(|l| l.trim_start_matches("error: ").trim_start_matches("tip: ")).collect();
    let verb = verb.map(|verb| format!(" {verb}")).unwrap_or_default();
    format!("{}; see `sekisho{verb} --help`", said.join("; ").replace(":; ", ": "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definitions_hold_together() {
        Sekisho::command().debug_assert();
    }

    #[test]
    fn every_verb_teaches() {
        for verb in Sekisho::command().get_subcommands() {
            let short = verb.get_about().expect("a line of help").to_string();
            let long = verb.get_long_about().expect("a text that teaches").to_string();
            assert!(long.len() > short.len() + 80, "{}: {long}", verb.get_name());
        }
    }

    #[test]
    fn large_numbers_in_groups() {
        assert_eq!([0, 12, 999, 1_000, 1_234_567].map(grouped), ["0", "12", "999", "1,000", "1,234,567"]);
    }

    #[test]
    fn the_socket_may_be_named_before_the_verb() {
        let turned = |words: &str| {
            let args = words.split(' ').map(OsString::from).collect();
            let args = verb_first(args).into_iter().map(|a| a.into_string().unwrap());
            args.collect::<Vec<_>>().join(" ")
        };
        assert_eq!(turned("sekisho --control /x stats -j"), "sekisho stats --control /x -j");
        assert_eq!(turned("sekisho --control=/x ip -j a"), "sekisho ip --control=/x -j a");
        for same in ["sekisho", "sekisho --control", "sekisho --control /x", "sekisho stats --control /x"] {
            assert_eq!(turned(same), same);
        }
    }

    #[test]
    fn misuse_is_one_line() {
        for args in [&["sekisho", "chek"][..], &["sekisho", "check"], &["sekisho", "check", "--x", "f"]] {
            let e = Sekisho::try_parse_from(args).unwrap_err();
            let verb = meant(&args.iter().map(OsString::from).collect::<Vec<_>>());
            let said = sentence(&e.render().to_string(), verb.as_deref());
            assert!(!said.contains('\n') && !said.contains("Usage"), "{said}");
            assert_eq!(said.ends_with("see `sekisho check --help`"), args[1] == "check", "{said}");
            assert_eq!(e.exit_code(), 2);
        }
        let e = Sekisho::try_parse_from(["sekisho", "chek"]).unwrap_err();
        let said = sentence(&e.render().to_string(), None);
        assert_eq!(
            said,
            "unrecognized subcommand 'chek'; a similar subcommand exists: 'check'; see `sekisho --help`"
        );
    }
}
