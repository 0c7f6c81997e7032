//! `sekisho bench` whole: it measures, it can be interrupted, and leaves nothing. No verdict on how fast anything is.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::gateway::SEKISHO;

/// How long a run of a few trials may take in a debug build on a busy machine.
const PATIENCE: Duration = Duration::from_secs(500);

/// A run whose files go to `dir`, with directories of its own in there.
fn bench(dir: &Path, args: &[&str]) -> Child {
    let mut command = Command::new(SEKISHO);
    command.arg("bench").args(args).args(["--json", "run.json", "--svg", "run.svg", "--seconds", "0.1"]);
    let tmp = dir.join("tmp");
    fs::create_dir(&tmp).unwrap();
    command
        .current_dir(dir)
        .env("TMPDIR", tmp)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command.spawn().unwrap()
}

fn end(child: &mut Child) -> i32 {
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status.code().unwrap();
        }
        assert!(start.elapsed() < PATIENCE, "it does not end");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn report(dir: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(dir.join("run.json")).unwrap()).unwrap()
}

/// No process of the run is there any more, and none of its files but the reports.
fn assert_nothing_is_left(dir: &Path) {
    let name = dir.file_name().unwrap().to_str().unwrap();
    for process in fs::read_dir("/proc").unwrap().flatten() {
        // One that ends meanwhile is one that is not left.
        let command = fs::read(process.path().join("cmdline")).unwrap_or_default();
        let command = String::from_utf8_lossy(&command);
        assert!(!command.contains(name), "{}: {command}", process.path().display());
    }
    let left: Vec<_> = fs::read_dir(dir.join("tmp")).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert!(left.is_empty(), "{left:?}");
}

/// Runs until all has been measured that is to be: on a machine that is too busy for a figure there is none.
fn until_measured(mut run: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !run() {
        assert!(Instant::now() < deadline, "it was not measured in all that time");
    }
}

#[test]
fn a_run_measures_and_leaves_nothing() {
    let mut missing = Vec::new();
    for metric in ["packets.1k", "tcp.up.1", "tcp.down.1", "latency.idle.p99"] {
        missing.extend(["kernel", "sekisho"].map(|rival| (metric, rival)));
    }
    until_measured(|| {
        let (report, err) = run_whole();
        let rows = report["rows"].as_array().unwrap();
        missing.retain(|(metric, rival)| {
            let row = rows.iter().find(|r| r["metric"] == *metric && r["rival"] == *rival).unwrap();
            // The ratio takes the yardstick's figure, too.
            let median = |what: &str| row[what]["median"].as_f64().unwrap_or_default();
            let measured = row["failure"].is_null() && median("value") > 0.0 && median("ratio") > 0.0;
            if !measured {
                println!("{row}\n{err}");
            }
            !measured
        });
        missing.is_empty()
    });
}

/// A short run to its end, of which nothing may be left: its report, and what it said on stderr.
fn run_whole() -> (Value, String) {
    let dir = tempfile::tempdir().unwrap();
    let args = [
        "--rounds",
        "1",
        "--only",
        "packets.1k,tcp.up.1,tcp.down.1,latency.idle",
        "--rivals",
        "kernel,sekisho,vpp",
    ];
    let mut run = bench(dir.path(), &args);
    assert_eq!(end(&mut run), 0);
    let (mut out, mut err) = (String::new(), String::new());
    run.stdout.take().unwrap().read_to_string(&mut out).unwrap();
    run.stderr.take().unwrap().read_to_string(&mut err).unwrap();
    let report = report(dir.path());
    assert_eq!((&report["schema"], &report["interrupted"]), (&1.into(), &false.into()));
    assert!(err.contains("round 1"), "{err}");
    assert!(out.contains("the bars") && !out.contains('\x1b'), "{out}");
    let svg = fs::read_to_string(dir.path().join("run.svg")).unwrap();
    let ours = |row: &Value| row["rival"] == "sekisho" && !row["value"].is_null();
    let measured = report["rows"].as_array().unwrap().iter().any(ours);
    assert!(svg.contains("class=\"ours\"") || !measured, "{svg}");
    assert_nothing_is_left(dir.path());
    (report, err)
}

#[test]
fn an_interrupted_run_shows_what_there_is_and_leaves_nothing() {
    for signal in ["-INT", "-TERM"] {
        until_measured(|| {
            let report = run_interrupted(signal);
            report["rows"].as_array().unwrap().iter().any(|r| !r["samples"].as_array().unwrap().is_empty())
        });
    }
}

/// A long run that a signal ends in its second round, and of which nothing may be left: its report.
fn run_interrupted(signal: &str) -> Value {
    let dir = tempfile::tempdir().unwrap();
    let mut run = bench(dir.path(), &["--rounds", "500", "--only", "tcp.up.1", "--rivals", "kernel,sekisho"]);
    let mut said = BufReader::new(run.stderr.take().unwrap()).lines();
    // The second round: something may have been measured by then.
    assert!(said.any(|line| line.unwrap().contains("round 2")), "it ended early");
    let reader = std::thread::spawn(move || said.for_each(drop));
    // The shell's own `kill`: not every machine has the program.
    let kill = format!("kill {signal} {}", run.id());
    assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    assert_eq!(end(&mut run), 0);
    reader.join().unwrap();
    let report = report(dir.path());
    assert_eq!(report["interrupted"], true);
    assert_nothing_is_left(dir.path());
    report
}
