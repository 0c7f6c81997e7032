//! `sekisho bench`: how fast, beside whom.
//!
//! The verb starts this program again in namespaces of its own ([`isolate`]); the inner one runs the rounds of
//! [`crate::lab::bench`], says on stderr how far it is (`bench/progress.rs`), and writes what came of it.

mod progress;

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use super::{Failure, Outcome, Paint, Run, complain, say};
use crate::lab::bench::metric::{Metric, WORKS, Work};
use crate::lab::bench::text::Tone;
use crate::lab::bench::{self, Choice, Report, bars, rival, svg, text};
use crate::lab::isolate;
use progress::Progress;

/// Measure this router beside the kernel and its rivals, on this machine.
///
/// Makes a client, a router and a server in namespaces of its own and puts one rival after the other between them: the
/// kernel with MASQUERADE and a stateful filter, the kernel with nothing, Sekisho with the same rules, and what is
/// installed of slirp4netns, pasta, Open vSwitch, VPP and DPDK's testpmd. In each round every metric is measured of every
/// rival before the next metric comes, and the order rotates: what a noisy machine does to one it does to all. Shown are
/// medians over the rounds with their quartiles, and the ratio to the kernel with the same rules, taken round by round.
///
/// Nothing outside those namespaces is touched. Ctrl-C ends it after the trial that runs and shows what there is; a second
/// one ends it at once. A whole run takes about half an hour; `--quick` sees in half a minute that all of it works;
/// `--only packets --rivals kernel,sekisho` asks one question.
///
/// As root, or as an ordinary user where user namespaces are allowed: then without BPF, and the traffic is made by sockets,
/// which is slower and is said. docs/bench.md tells how each figure comes about.
///
/// Exit code 0: it was measured. Exit code 1: nothing could be, or this machine allows no namespaces. Exit code 2: a metric or a
/// rival that does not exist.
#[derive(Debug, clap::Args)]
pub(super) struct Bench {
    /// How often everything is measured
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=1000))]
    rounds: u16,
    /// How long each trial lasts, in seconds
    #[arg(long, value_name = "S", default_value = "1", value_parser = seconds)]
    seconds: Duration,
    /// Measure these only: names or beginnings of names from --list, separated by commas
    #[arg(long, value_name = "METRIC,…", value_delimiter = ',', value_parser = metric)]
    only: Vec<String>,
    /// Measure these only: names from --list, separated by commas; `all` is everyone
    #[arg(long, value_name = "RIVAL,…", value_delimiter = ',', value_parser = rival_name)]
    rivals: Vec<String>,
    /// Measure only what the bars are about, of those they are about: some ten minutes
    #[arg(long, conflicts_with = "quick")]
    bars: bool,
    /// One round of short trials of a few metrics, kernel and Sekisho only: does it work? Its figures mean little
    #[arg(long)]
    quick: bool,
    /// Say what can be measured, how, and of whom, and measure nothing
    #[arg(long)]
    list: bool,
    /// Print JSON, for programs: the same as --json -
    #[arg(short = 'j')]
    j: bool,
    /// Write the report as JSON, every sample in it, to this file; `-` prints it instead of the tables
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write a chart of the ratios as SVG to this file
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// Measure nothing: show the report of an earlier run, from the JSON it wrote
    #[arg(long, value_name = "FILE", conflicts_with_all = ["list", "only", "rivals", "bars", "quick"])]
    from: Option<PathBuf>,
}

impl Run for Bench {
    fn run(self) -> Outcome {
        if self.list {
            return list();
        }
        if let Some(file) = &self.from {
            let report = read(file)?;
            self.show(&report)?;
            return Ok(ExitCode::SUCCESS);
        }
        if !isolate::inside() {
            let status = isolate::reexec_until_asked(std::env::args_os().skip(1))?;
            return Ok(match status.code() {
                Some(0) => ExitCode::SUCCESS,
                _ => ExitCode::FAILURE,
            });
        }
        let stop = stopper()?;
        let choice = self.choice();
        let mut progress = Progress::stderr();
        let report = bench::run(&choice, &stop, &mut |event| progress.tell(event));
        progress.end();
        self.show(&report)?;
        let measured = report.rows.iter().any(|r| !r.samples.is_empty());
        Ok(if measured { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

impl Bench {
    fn choice(&self) -> Choice {
        let exact = |name: &str| WORKS.iter().flat_map(|w| w.metrics).any(|m| m.name == name);
        // A metric's own name means that one, also where others begin with it.
        let asked = |name: &str, o: &str| if exact(o) { name == o } else { begins(name, o) };
        let wanted = |m: &Metric| self.only.iter().any(|o| asked(m.name, o));
        let chosen_work = |w: &&Work| match self.only.is_empty() {
            true if self.bars => w.metrics.iter().any(|m| bars::is_about(m.name)),
            true => !self.quick || w.quick,
            false => w.metrics.iter().any(wanted),
        };
        let chosen = |name: &str| match self.rivals.is_empty() {
            true if self.quick => name == rival::YARDSTICK || name == "sekisho",
            true => rival::by_default(name),
            false => self.rivals.iter().any(|r| r == name || r == "all"),
        };
        let program = PathBuf::from("/proc/self/exe");
        Choice {
            rounds: if self.quick { 1 } else { self.rounds.into() },
            trial: if self.quick { QUICK.min(self.seconds) } else { self.seconds },
            works: WORKS.iter().filter(chosen_work).copied().collect(),
            rivals: rival::all(&program).iter().map(|r| r.name()).filter(|n| chosen(n)).collect(),
            bars: self.bars,
            quick: self.quick,
            program,
        }
    }

    /// Writes the files that were asked for, and prints.
    fn show(&self, report: &Report) -> Result<(), Failure> {
        let json = || serde_json::to_string_pretty(report).map(|text| text + "\n");
        let mut to_stdout = self.j;
        match &self.json {
            Some(path) if path.as_os_str() == "-" => to_stdout = true,
            Some(path) => write(path, &json()?)?,
            None => {}
        }
        if let Some(path) = &self.svg {
            write(path, &svg::render(report))?;
        }
        if to_stdout {
            return say(json()?.trim_end());
        }
        let paint = Paint::stdout();
        let brush = |tone, text: &str| match tone {
            Tone::Heading => paint.bold(text).to_string(),
            Tone::Aside => paint.dim(text).to_string(),
            Tone::Good => paint.green(text).to_string(),
            Tone::Bad => paint.red(text).to_string(),
            Tone::Odd => paint.yellow(text).to_string(),
        };
        say(text::render(report, &brush).trim_end())
    }
}

/// A trial of a quick run.
const QUICK: Duration = Duration::from_millis(200);

/// Set by SIGINT and SIGTERM. The second one ends the process at once; its children end with it.
fn stopper() -> Result<Arc<AtomicBool>, Failure> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        // In this order: the first signal finds the flag unset.
        signal_hook::flag::register_conditional_shutdown(signal, 1, Arc::clone(&stop))?;
        signal_hook::flag::register(signal, Arc::clone(&stop))?;
    }
    Ok(stop)
}

fn list() -> Outcome {
    let paint = Paint::stdout();
    say(paint.bold("metrics"))?;
    for metric in WORKS.iter().flat_map(|w| w.metrics) {
        let about = format!("{}, {} is better", metric.unit, metric.better.name());
        say(format_args!("  {:<20} {}", metric.name, paint.dim(about)))?;
        say(format_args!("      {}", metric.how))?;
    }
    say("")?;
    say(paint.bold("rivals"))?;
    for rival in rival::all(Path::new("/proc/self/exe")) {
        let there = match rival.available() {
            Ok(version) => paint.green(version).to_string(),
            Err(why) => paint.yellow(why).to_string(),
        };
        let named = if rival::by_default(rival.name()) { "" } else { " (only if named)" };
        say(format_args!("  {:<20} {there}", rival.name()))?;
        say(format_args!("      {}{}", rival.what(), paint.dim(named)))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn read(path: &Path) -> Result<Report, Failure> {
    let text =
        fs::read_to_string(path).map_err(|e| Failure(format!("can't read {}: {e}", path.display())))?;
    let report: Report = serde_json::from_str(&text)
        .map_err(|e| Failure(format!("{} is not a report of `sekisho bench --json`: {e}", path.display())))?;
    if report.schema != bench::report::SCHEMA {
        complain(&format!(
            "{} has schema {}, this is {}",
            path.display(),
            report.schema,
            bench::report::SCHEMA
        ));
    }
    Ok(report)
}

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    fs::write(path, text).map_err(|e| match e.kind() {
        ErrorKind::NotFound => Failure(format!("can't write {}: its directory isn't there", path.display())),
        _ => Failure(format!("can't write {}: {e}", path.display())),
    })
}

fn seconds(text: &str) -> Result<Duration, String> {
    let value: f64 = text.parse().map_err(|_| "a number of seconds, such as 0.5".to_owned())?;
    if (0.05..=600.0).contains(&value) {
        Ok(Duration::from_secs_f64(value))
    } else {
        Err("from 0.05 to 600 seconds".into())
    }
}

fn metric(text: &str) -> Result<String, String> {
    let known = WORKS.iter().flat_map(|w| w.metrics).any(|m| begins(m.name, text));
    if known { Ok(text.to_owned()) } else { Err("no such metric: `sekisho bench --list` names them".into()) }
}

/// Whether a name is the one asked for, or one of its kind: `packets` is all that begin with `packets.`.
fn begins(name: &str, asked: &str) -> bool {
    name.strip_prefix(asked).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

fn rival_name(text: &str) -> Result<String, String> {
    let all = rival::all(Path::new("/proc/self/exe"));
    let known = text == "all" || all.iter().any(|r| r.name() == text);
    if known { Ok(text.to_owned()) } else { Err("no such rival: `sekisho bench --list` names them".into()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        bench: Bench,
    }

    fn choice(args: &str) -> Choice {
        let args = std::iter::once("bench").chain(args.split_whitespace());
        Line::try_parse_from(args).unwrap_or_else(|e| panic!("{e}")).bench.choice()
    }

    #[test]
    fn what_is_asked_is_what_is_measured() {
        let whole = choice("");
        assert_eq!((whole.rounds, whole.works.len()), (5, WORKS.len()));
        assert!(whole.rivals.contains(&"kernel") && !whole.rivals.contains(&"sekisho-socket"));
        let quick = choice("--quick");
        assert_eq!((quick.rounds, quick.rivals.as_slice()), (1, ["kernel", "sekisho"].as_slice()));
        assert!(quick.works.len() < WORKS.len() / 2 && quick.trial < whole.trial);
        let bars = choice("--bars");
        assert!(bars.bars && bars.works.len() < WORKS.len() && bars.rivals == whole.rivals);
        let some = choice("--only latency.idle,packets.1 --rivals sekisho-socket,kernel --rounds 2");
        let names: Vec<_> = some.works.iter().map(|w| w.metrics[0].name).collect();
        assert_eq!(names, ["packets.1", "latency.idle.p50"]);
        assert_eq!(some.rivals, ["kernel", "sekisho-socket"]);
        assert_eq!(choice("--only flows.new").works.len(), 1);
        assert!(choice("--only flows").works.len() > 2);
        assert!(choice("--rivals all").rivals.len() > whole.rivals.len());
    }

    #[test]
    fn what_is_not_there_is_misuse() {
        for args in [
            "--only speed",
            "--rivals cisco",
            "--rounds 0",
            "--seconds 0",
            "--seconds x",
            "--only packets.1kk",
        ] {
            let words = std::iter::once("bench").chain(args.split(' '));
            assert_eq!(Line::try_parse_from(words).err().map(|e| e.exit_code()), Some(2), "{args}");
        }
    }
}
