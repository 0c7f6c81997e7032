//! What a run gave, as data: every sample, and what follows from them. The JSON of `sekisho bench` is this.
//!
//! `docs/bench.md` has the schema. What it says in words is made in [`super::text`] and [`super::svg`].

use serde::{Deserialize, Serialize};

use super::bars::{self, BarResult};
use super::machine::Machine;
use super::metric::Metric;
use super::stats::{Spread, ratios};

/// The version of the schema. A reader that finds another one has to look.
pub const SCHEMA: u32 = 1;

/// A whole run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The version of this format.
    pub schema: u32,
    /// When it began, in UTC.
    pub date: String,
    /// The program's version.
    pub version: String,
    /// The commit it was built from, where the build knew.
    pub commit: Option<String>,
    /// What it ran on.
    pub machine: Machine,
    /// Rounds asked for.
    pub rounds: usize,
    /// Seconds a trial lasts.
    pub seconds: f64,
    /// Whether it was a quick run, whose figures mean little.
    pub quick: bool,
    /// Whether it was interrupted: what came before that is here.
    pub interrupted: bool,
    /// How the traffic was made and counted.
    pub traffic: String,
    /// How alike repeats of one trial of the kernel's were.
    pub stability: Option<Stability>,
    /// The rivals asked for.
    pub rivals: Vec<RivalReport>,
    /// The metrics asked for.
    pub metrics: Vec<MetricReport>,
    /// What each rival gave for each metric.
    pub rows: Vec<Row>,
    /// The bars, as far as they were measured.
    pub bars: Vec<BarResult>,
}

/// Repeats of one trial, one after the other.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Stability {
    /// The metric.
    pub metric: String,
    /// Its values.
    pub samples: Vec<f64>,
    /// How far they lie apart: greatest less least, as a share of the median.
    pub range: f64,
    /// Whether that is too much for figures to mean something by themselves.
    pub noisy: bool,
}

/// Who was measured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RivalReport {
    /// Its name.
    pub name: String,
    /// What it is.
    pub what: String,
    /// Its version, if it is there.
    pub version: Option<String>,
    /// What it chose for itself, where it was left the choice: Sekisho the driver.
    pub chose: Option<String>,
    /// Why it isn't.
    pub missing: Option<String>,
}

/// What was measured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MetricReport {
    /// Its name.
    pub name: String,
    /// What tables call it.
    pub title: String,
    /// The unit of its values.
    pub unit: String,
    /// `higher` or `lower`.
    pub better: String,
    /// How it is measured.
    pub how: String,
}

impl From<&Metric> for MetricReport {
    fn from(m: &Metric) -> Self {
        MetricReport {
            name: m.name.into(),
            title: m.title.into(),
            unit: m.unit.into(),
            better: m.better.name().into(),
            how: m.how.into(),
        }
    }
}

/// What one rival gave for one metric.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// The metric.
    pub metric: String,
    /// The rival.
    pub rival: String,
    /// Every sample, in the order of the rounds.
    pub samples: Vec<Sample>,
    /// Their median and quartiles.
    pub value: Option<Spread>,
    /// The ratios to the kernel with the same rules, of the same round each: their median and quartiles.
    pub ratio: Option<Spread>,
    /// Why a sample is missing, the last reason.
    pub failure: Option<String>,
}

/// One value.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// The round, from 0.
    pub round: usize,
    /// The value, in the metric's unit.
    pub value: f64,
}

impl Row {
    /// The samples as pairs.
    pub fn pairs(&self) -> Vec<(usize, f64)> {
        self.samples.iter().map(|s| (s.round, s.value)).collect()
    }
}

impl Report {
    /// The row of a rival and a metric.
    pub fn row(&self, metric: &str, rival: &str) -> Option<&Row> {
        self.rows.iter().find(|r| r.metric == metric && r.rival == rival)
    }

    /// Takes in a value, or why there is none.
    pub(super) fn add(&mut self, metric: &str, rival: &str, round: usize, value: Result<f64, &str>) {
        let at = self.rows.iter().position(|r| r.metric == metric && r.rival == rival);
        let at = at.unwrap_or_else(|| {
            let (metric, rival) = (metric.to_owned(), rival.to_owned());
            let row = Row { metric, rival, samples: Vec::new(), value: None, ratio: None, failure: None };
            self.rows.push(row);
            self.rows.len() - 1
        });
        match value {
            Ok(value) if value.is_finite() => self.rows[at].samples.push(Sample { round, value }),
            Ok(_) => self.rows[at].failure = Some("it gave no number".into()),
            Err(why) => self.rows[at].failure = Some(why.to_owned()),
        }
    }

    /// Works out what follows from the samples.
    pub(super) fn conclude(&mut self) {
        let place = |name: &str, names: &[&str]| names.iter().position(|n| *n == name);
        let metrics: Vec<&str> = self.metrics.iter().map(|m| m.name.as_str()).collect();
        let rivals: Vec<&str> = self.rivals.iter().map(|r| r.name.as_str()).collect();
        self.rows.sort_by_key(|r| (place(&r.metric, &metrics), place(&r.rival, &rivals)));
        let yardsticks: Vec<(String, Vec<(usize, f64)>)> = self
            .rows
            .iter()
            .filter(|r| r.rival == super::rival::YARDSTICK)
            .map(|r| (r.metric.clone(), r.pairs()))
            .collect();
        for row in &mut self.rows {
            let values: Vec<f64> = row.samples.iter().map(|s| s.value).collect();
            row.value = Spread::of(&values);
            let kernel = yardsticks.iter().find(|(metric, _)| *metric == row.metric);
            row.ratio = kernel.and_then(|(_, kernel)| {
                let all: Vec<f64> = ratios(row.pairs(), kernel).map(|(_, r)| r).collect();
                Spread::of(&all)
            });
        }
        // A quick run is no verdict.
        self.bars = if self.quick { Vec::new() } else { bars::judge(self) };
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A small run: two rivals, two metrics.
    pub(in super::super) fn sample() -> Report {
        let works = super::super::metric::WORKS;
        let metrics = ["packets.1k", "latency.idle.p50"].map(|name| {
            let metric = works.iter().flat_map(|w| w.metrics).find(|m| m.name == name).unwrap();
            MetricReport::from(metric)
        });
        let rival = |name: &str| RivalReport {
            name: name.into(),
            what: "a <router> & more".into(),
            version: Some("1".into()),
            chose: None,
            missing: None,
        };
        let mut report = Report {
            schema: SCHEMA,
            date: "2026-01-01T00:00:00Z".into(),
            version: "0.1.0".into(),
            commit: None,
            machine: Machine::here(),
            rounds: 3,
            seconds: 1.0,
            quick: false,
            interrupted: false,
            traffic: "made up".into(),
            stability: None,
            rivals: ["kernel", "sekisho", "vpp"].map(rival).to_vec(),
            metrics: metrics.to_vec(),
            rows: Vec::new(),
            bars: Vec::new(),
        };
        report.rivals[2].version = None;
        report.rivals[2].missing = Some("not installed".into());
        for (round, (kernel, ours)) in [(100.0, 120.0), (200.0, 180.0), (50.0, 50.0)].into_iter().enumerate()
        {
            report.add("packets.1k", "kernel", round, Ok(kernel));
            report.add("packets.1k", "sekisho", round, Ok(ours));
            report.add("latency.idle.p50", "kernel", round, Ok(1e-5));
            report.add("latency.idle.p50", "sekisho", round, Ok(2e-5));
        }
        report.add("packets.1k", "sekisho", 3, Err("it ended: <why>"));
        report.conclude();
        report
    }

    #[test]
    fn ratios_are_taken_round_by_round() {
        let report = sample();
        let row = report.row("packets.1k", "sekisho").unwrap();
        // 1.2, 0.9 and 1.0: not 120 to 100.
        assert_eq!(row.ratio, Some(Spread { median: 1.0, low: 0.9, high: 1.2 }));
        assert_eq!(row.value.unwrap().median, 120.0);
        assert_eq!(row.failure.as_deref(), Some("it ended: <why>"));
        assert_eq!(report.row("packets.1k", "kernel").unwrap().ratio.unwrap().median, 1.0);
    }

    #[test]
    fn json_comes_back_as_it_went() {
        let report = sample();
        let text = serde_json::to_string_pretty(&report).unwrap();
        assert_eq!(serde_json::from_str::<Report>(&text).unwrap(), report);
        let schema = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap()["schema"].as_u64();
        assert_eq!(schema(&text), Some(1));
    }
}
