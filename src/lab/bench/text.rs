//! A report in words: aligned tables for a terminal. Knows nothing of where it goes or how it is painted.

use std::fmt::Write as _;

use super::bars::BarResult;
use super::report::{MetricReport, Report, Row};
use super::rival::YARDSTICK;
use super::stats::Spread;

/// What a piece of text is, for whoever paints it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// A heading.
    Heading,
    /// What is there for completeness.
    Aside,
    /// What is well.
    Good,
    /// What is not.
    Bad,
    /// What is odd.
    Odd,
}

/// Paints a piece of text that is aligned already.
pub type Brush<'a> = &'a dyn Fn(Tone, &str) -> String;

/// All of it.
pub fn render(report: &Report, brush: Brush<'_>) -> String {
    let mut out = String::new();
    head(&mut out, report, brush);
    for metric in &report.metrics {
        table(&mut out, report, metric, brush);
    }
    bars(&mut out, report, brush);
    out
}

/// Plain.
pub fn plain(_: Tone, text: &str) -> String {
    text.into()
}

fn head(out: &mut String, r: &Report, brush: Brush<'_>) {
    let line = |out: &mut String, name: &str, text: &str| {
        let _ = writeln!(out, "  {} {text}", brush(Tone::Aside, &format!("{name:<10}")));
    };
    let _ = writeln!(out, "{}", brush(Tone::Heading, "sekisho bench"));
    let m = &r.machine;
    let kind = if m.virtual_machine { "a virtual machine" } else { "no virtual machine" };
    line(
        out,
        "machine",
        &format!(
            "{}, {} CPUs, {} GiB, {kind}, Linux {}",
            m.cpu,
            m.cpus,
            (m.memory + (1 << 29)) >> 30,
            m.kernel
        ),
    );
    let commit = r.commit.as_deref().map_or(String::new(), |c| format!(", commit {c}"));
    line(out, "program", &format!("sekisho {}{commit}", r.version));
    let asked = if r.quick { "a quick run: its figures mean little" } else { "medians, with quartiles" };
    let rounds = if r.rounds == 1 { "round" } else { "rounds" };
    line(out, "run", &format!("{}, {} {rounds}, trials of {} s; {asked}", r.date, r.rounds, r.seconds));
    line(out, "traffic", &r.traffic);
    if !m.root {
        line(out, "rights", "root of a user namespace only: see docs/bench.md for what that leaves out");
    }
    if let Some(s) = &r.stability {
        let text = format!("repeats of one trial of the kernel's lie {:.0} % apart", s.range * 100.0);
        let tone = if s.noisy { Tone::Odd } else { Tone::Good };
        line(out, "stability", &brush(tone, &text));
    }
    if r.interrupted {
        line(out, "note", &brush(Tone::Odd, "interrupted: this is what was measured until then"));
    }
    let width = r.rivals.iter().map(|r| r.name.len()).max().unwrap_or(0);
    let _ = writeln!(out, "\n{}", brush(Tone::Heading, "rivals"));
    for rival in &r.rivals {
        let text = match (&rival.version, &rival.missing) {
            (_, Some(why)) => brush(Tone::Odd, why),
            (Some(version), None) => {
                version.clone() + &rival.chose.as_ref().map_or(String::new(), |c| format!(", {c}"))
            }
            (None, None) => String::new(),
        };
        let _ = writeln!(out, "  {:<width$}  {text}", rival.name);
    }
}

fn table(out: &mut String, report: &Report, metric: &MetricReport, brush: Brush<'_>) {
    let rows: Vec<&Row> = report.rows.iter().filter(|r| r.metric == metric.name).collect();
    if rows.is_empty() {
        return;
    }
    let better = if metric.better == "higher" { "more is better" } else { "less is better" };
    let aside = brush(Tone::Aside, &format!("{}, {better}", metric.name));
    let _ = writeln!(out, "\n{}  {aside}", brush(Tone::Heading, &metric.title));
    let width = report.rivals.iter().map(|r| r.name.len()).max().unwrap_or(0);
    for row in rows {
        let Some(value) = row.value else {
            let why = row.failure.as_deref().unwrap_or("no value");
            let _ = writeln!(out, "  {:<width$}  {}", row.rival, brush(Tone::Bad, why));
            continue;
        };
        let spread = brush(Tone::Aside, &format!("{:<26}", range(value, &metric.unit)));
        let ratio = match row.ratio {
            Some(_) if row.rival == YARDSTICK => format!("{:>6} ×", "1"),
            Some(r) => {
                let aside = format!("({} to {})", times(r.low), times(r.high));
                format!("{:>6} ×  {}", times(r.median), brush(Tone::Aside, &aside))
            }
            None => String::new(),
        };
        let partly = match &row.failure {
            Some(why) => {
                format!("  {}", brush(Tone::Odd, &format!("({} samples; {why})", row.samples.len())))
            }
            None => String::new(),
        };
        let line = format!(
            "  {:<width$}  {:>12}  {spread} {ratio}{partly}",
            row.rival,
            figure(value.median, &metric.unit)
        );
        let _ = writeln!(out, "{}", line.trim_end());
    }
}

fn bars(out: &mut String, report: &Report, brush: Brush<'_>) {
    let measured: Vec<&BarResult> = report.bars.iter().filter(|b| b.measured.is_some()).collect();
    if measured.is_empty() {
        return;
    }
    let _ = writeln!(out, "\n{}", brush(Tone::Heading, "the bars"));
    let columns: Vec<[String; 6]> = measured.iter().map(|b| bar(b, report)).collect();
    let head = ["what", "whose", "against", "required", "aimed at", "measured"].map(String::from);
    let width = |i: usize| columns.iter().chain([&head]).map(|c| c[i].chars().count()).max().unwrap_or(0);
    let line = |c: &[String; 6]| {
        let mut text = String::from(" ");
        for (i, cell) in c.iter().enumerate() {
            let pad = " ".repeat(width(i) - cell.chars().count());
            let _ = if i < 3 { write!(text, " {cell}{pad} ") } else { write!(text, " {pad}{cell} ") };
        }
        text
    };
    let _ = writeln!(out, "{}", brush(Tone::Aside, line(&head).trim_end()));
    for (cells, b) in columns.iter().zip(measured) {
        let verdict = match (b.met, b.aim_met) {
            (_, Some(true)) => brush(Tone::Good, "met, and the aim"),
            (Some(true), _) => brush(Tone::Good, "met"),
            _ => brush(Tone::Bad, "NOT MET"),
        };
        let _ = writeln!(out, "{} {verdict}", line(cells));
    }
    let unmeasured = report.bars.len() - columns.len();
    if unmeasured > 0 {
        let text = format!("  {unmeasured} more need metrics or rivals that were not measured");
        let _ = writeln!(out, "{}", brush(Tone::Aside, &text));
    }
}

fn bar(b: &BarResult, report: &Report) -> [String; 6] {
    let unit = match b.against {
        Some(_) => None,
        None => report.metrics.iter().find(|m| m.name == b.metric).map(|m| m.unit.as_str()),
    };
    let value = |v: f64| unit.map_or_else(|| format!("{} ×", times(v)), |u| figure(v, u));
    let sign = if b.better == "higher" { "≥" } else { "≤" };
    [
        b.name.clone(),
        b.rival.clone(),
        b.against.clone().unwrap_or_else(|| "-".into()),
        format!("{sign} {}", value(b.required)),
        format!("{sign} {}", value(b.aimed)),
        b.measured.map_or_else(String::new, |m| value(m.median)),
    ]
}

/// A ratio with as many digits as say something.
pub fn times(ratio: f64) -> String {
    match ratio.abs() {
        0.0..0.01 => format!("{ratio:.5}"),
        0.01..0.1 => format!("{ratio:.3}"),
        0.1..10.0 => format!("{ratio:.2}"),
        10.0..100.0 => format!("{ratio:.1}"),
        _ => format!("{ratio:.0}"),
    }
}

/// `1.5 M/s`, `20.1 Gbit/s`, `26.9 µs`, `384 B`.
pub fn figure(value: f64, unit: &str) -> String {
    let (number, prefix) = scaled(value);
    match unit {
        "bytes" => format!("{value:.0} B"),
        "s" => format!("{number} {prefix}s"),
        "bit/s" => format!("{number} {}bit/s", if prefix == "k" { "k" } else { prefix }),
        _ => format!("{number} {prefix}/s").replace(" /", "/"),
    }
}

/// `1.20 M/s to 1.40 M/s`.
fn range(spread: Spread, unit: &str) -> String {
    format!("{} to {}", figure(spread.low, unit), figure(spread.high, unit))
}

/// Three digits, and the prefix of the unit.
fn scaled(value: f64) -> (String, &'static str) {
    const PREFIXES: [(f64, &str); 8] =
        [(1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""), (1e-3, "m"), (1e-6, "µ"), (1e-9, "n")];
    // What would be rounded up to 1000 belongs to the next prefix.
    let fits = PREFIXES.iter().find(|(size, _)| value.abs() >= size * 0.9995);
    let (size, prefix) = match (value, fits) {
        (0.0, _) => (1.0, ""),
        (_, Some(&(size, prefix))) => (size, prefix),
        (_, None) => (1e-9, "n"),
    };
    let n = value / size;
    let number = match n.abs() {
        99.95.. => format!("{n:.0}"),
        9.995..99.95 => format!("{n:.1}"),
        _ => format!("{n:.2}"),
    };
    (number, prefix)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::bench::report::tests::sample;

    #[test]
    fn figures() {
        for (value, unit, text) in [
            (894_123.0, "packets/s", "894 k/s"),
            (999_999.0, "packets/s", "1.00 M/s"),
            (12.0, "flows/s", "12.0/s"),
            (20.13e9, "bit/s", "20.1 Gbit/s"),
            (26.94e-6, "s", "26.9 µs"),
            (1.5, "s", "1.50 s"),
            (0.0, "s", "0.00 s"),
            (384.4, "bytes", "384 B"),
        ] {
            assert_eq!(figure(value, unit), text);
        }
        assert_eq!(
            [0.000_42, 0.0123, 0.5, 1.154, 12.34, 123.4].map(times),
            ["0.00042", "0.012", "0.50", "1.15", "12.3", "123"]
        );
    }

    #[test]
    fn a_report_says_it_all() {
        let text = render(&sample(), &plain);
        for part in
            ["not installed", "packets, 1 k flows", "1.00 ×  (0.90 to 1.20)", "it ended: <why>", "NOT MET"]
        {
            assert!(text.contains(part), "{part}:\n{text}");
        }
        assert!(text.lines().all(|l| l.trim_end() == l), "{text}");
    }
}
