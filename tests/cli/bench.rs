//! `sekisho bench`: what can be asked, and reports of earlier runs. That it measures is for `tests/lab/bench.rs`.

use std::fs;
use std::path::Path;

use crate::sekisho;

#[test]
fn what_can_be_measured_is_listed() {
    let ran = sekisho(Path::new("/"), &["bench", "--list"]);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    for name in
        ["packets.1k", "tcp.plain.down.4", "cpu.packet", "kernel-bare", "sekisho-xdp", "slirp4netns", "vpp"]
    {
        assert!(ran.out.lines().any(|l| l.split_whitespace().next() == Some(name)), "{name}:\n{}", ran.out);
    }
}

#[test]
fn what_is_not_there_is_misuse_in_one_sentence() {
    for args in [
        &["bench", "--only", "packets.1k,speed"][..],
        &["bench", "--rivals", "cisco"],
        &["bench", "--rounds", "0"],
        &["bench", "--seconds", "-1"],
        &["bench", "--from", "x", "--quick"],
    ] {
        let ran = sekisho(Path::new("/"), args);
        assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{args:?}: {}", ran.err);
        assert!(ran.err.starts_with("sekisho: ") && ran.err.lines().count() == 1, "{}", ran.err);
    }
    let ran = sekisho(Path::new("/"), &["bench", "--only", "speed"]);
    assert!(ran.err.contains("'speed'") && ran.err.contains("bench --list"), "{}", ran.err);
}

/// A report of a run that was interrupted early, as `docs/bench.md` describes it.
const REPORT: &str = r#"{
    "schema": 1, "date": "2026-01-01T00:00:00Z", "version": "0.1.0", "commit": "abc",
    "machine": {"cpu": "A <CPU> & more", "cpus": 2, "memory": 8589934592, "kernel": "6.18", "virtual_machine": true, "root": true},
    "rounds": 5, "seconds": 1.0, "quick": false, "interrupted": true, "traffic": "made somehow", "stability": null,
    "rivals": [
        {"name": "kernel", "what": "it", "version": "6.18", "chose": null, "missing": null},
        {"name": "sekisho", "what": "we", "version": "0.1.0", "chose": "driver ring", "missing": null},
        {"name": "vpp", "what": "they", "version": null, "chose": null, "missing": "not installed"}
    ],
    "metrics": [{"name": "packets.1k", "title": "packets", "unit": "packets/s", "better": "higher", "how": "somehow"}],
    "rows": [
        {"metric": "packets.1k", "rival": "kernel", "samples": [{"round": 0, "value": 1e6}],
         "value": {"median": 1e6, "low": 1e6, "high": 1e6}, "ratio": {"median": 1.0, "low": 1.0, "high": 1.0}, "failure": null},
        {"metric": "packets.1k", "rival": "sekisho", "samples": [{"round": 0, "value": 1.5e6}],
         "value": {"median": 1.5e6, "low": 1.5e6, "high": 1.5e6}, "ratio": {"median": 1.5, "low": 1.5, "high": 1.5}, "failure": null}
    ],
    "bars": []
}"#;

#[test]
fn the_report_of_an_earlier_run_is_shown_again() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("run.json"), REPORT).unwrap();
    let ran =
        sekisho(dir.path(), &["bench", "--from", "run.json", "--svg", "run.svg", "--json", "again.json"]);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    for part in ["interrupted", "not installed", "1.50 M/s", "1.50 ×", "commit abc", "driver ring"] {
        assert!(ran.out.contains(part), "{part}:\n{}", ran.out);
    }
    let svg = fs::read_to_string(dir.path().join("run.svg")).unwrap();
    assert!(
        svg.starts_with("<svg ")
            && svg.trim_end().ends_with("</svg>")
            && svg.contains("A &lt;CPU&gt; &amp; more")
    );
    let value = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
    assert_eq!(value(&fs::read_to_string(dir.path().join("again.json")).unwrap()), value(REPORT));
    let ran = sekisho(dir.path(), &["bench", "--from", "run.json", "-j"]);
    assert_eq!(value(&ran.out), value(REPORT));
}

#[test]
fn what_is_no_report_is_told_by_its_name() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("no.json"), "{}").unwrap();
    for file in ["no.json", "nothing.json"] {
        let ran = sekisho(dir.path(), &["bench", "--from", file]);
        assert_eq!((ran.code, ran.out.as_str()), (1, ""));
        assert!(ran.err.contains(file) && ran.err.lines().count() == 1, "{}", ran.err);
    }
}
