//! The bars that Sekisho has to clear: what against what, how much at least, how much is aimed at.

use serde::{Deserialize, Serialize};

use super::metric::Better;
use super::report::Report;
use super::rival::YARDSTICK;
use super::stats::{Spread, ratios};

/// A bar.
#[derive(Debug, Clone, Copy)]
struct Bar {
    name: &'static str,
    metric: &'static str,
    who: Who,
    against: Against,
    better: Better,
    least: f64,
    aim: f64,
}

/// Whose figure it is.
#[derive(Debug, Clone, Copy)]
enum Who {
    /// Sekisho as it comes.
    Default,
    /// The faster of Sekisho as it comes and with one worker: the driver it chooses, where the sender needs a CPU too.
    DefaultDriver,
    /// The fastest of all its variants that were measured.
    Fastest,
}

impl Who {
    fn is(self, rival: &str) -> bool {
        match self {
            Who::Default => rival == OURS,
            Who::DefaultDriver => rival == OURS || rival == ONE_WORKER,
            Who::Fastest => rival.starts_with(OURS),
        }
    }
}

/// What it is compared with.
#[derive(Debug, Clone, Copy)]
enum Against {
    /// The same metric of a rival.
    Rival(&'static str),
    /// Another metric of the same rival.
    Itself(&'static str),
    /// Nothing: the figure itself counts.
    Nothing,
}

const OURS: &str = "sekisho";
const ONE_WORKER: &str = "sekisho-1-worker";
const KERNEL: Against = Against::Rival(YARDSTICK);

const BARS: &[Bar] = &[
    Bar {
        who: Who::DefaultDriver,
        ..at_least("packets, 1 k flows, default driver", "packets.1k", KERNEL, 0.9, 1.2)
    },
    Bar {
        who: Who::Fastest,
        ..at_least("packets, 1 k flows, fastest driver", "packets.1k", KERNEL, 1.2, 1.5)
    },
    at_least("packets, 64 k flows", "packets.64k", Against::Itself("packets.1k"), 0.8, 0.95),
    at_least("packets, 10 k rules before the accept", "rules.10k", Against::Itself("packets.1k"), 0.95, 1.0),
    at_least("new flows, 10 k rules", "flows.new.10k-rules", KERNEL, 5.0, 20.0),
    at_least("packets, 1 M routes, random destinations", "routes.1m", Against::Itself("routes.1"), 0.8, 0.95),
    at_most("loading 1 M routes", "routes.load", Against::Nothing, 5.0, 1.0),
    at_least("TCP up, 1 stream, offloads on", "tcp.up.1", KERNEL, 0.6, 0.9),
    at_least("TCP down, 1 stream, offloads on", "tcp.down.1", KERNEL, 0.6, 0.9),
    at_least("TCP up, 1 stream, offloads off", "tcp.plain.up.1", KERNEL, 1.0, 1.3),
    at_least("TCP down, 1 stream, offloads off", "tcp.plain.down.1", KERNEL, 1.0, 1.3),
    at_most("round trip p50, idle", "latency.idle.p50", KERNEL, 1.5, 1.15),
    at_most("round trip p99, idle", "latency.idle.p99", KERNEL, 2.0, 1.3),
    at_least("new flows", "flows.new", KERNEL, 0.7, 1.2),
    at_most("CPU time per packet at 100 k/s", "cpu.packet", KERNEL, 3.0, 1.5),
    at_least("TCP up, 1 stream", "tcp.up.1", Against::Rival("slirp4netns"), 2.0, 4.0),
    at_least("TCP up, 1 stream", "tcp.up.1", Against::Rival("pasta"), 2.0, 4.0),
    at_least("packets, 1 k flows", "packets.1k", Against::Rival("ovs"), 4.0, 8.0),
    at_least("packets, 1 k flows", "packets.1k", Against::Rival("vpp"), 1.0, 1.2),
    at_least("TCP up, 1 stream", "tcp.up.1", Against::Rival("vpp"), 1.5, 2.0),
    at_most("round trip p50, idle", "latency.idle.p50", Against::Rival("vpp"), 0.5, 0.333),
    at_most("memory per flow", "flows.memory", Against::Nothing, 320.0, 256.0),
];

const fn at_least(name: &'static str, metric: &'static str, against: Against, least: f64, aim: f64) -> Bar {
    Bar { name, metric, who: Who::Default, against, better: Better::Higher, least, aim }
}

const fn at_most(name: &'static str, metric: &'static str, against: Against, most: f64, aim: f64) -> Bar {
    Bar { better: Better::Lower, ..at_least(name, metric, against, most, aim) }
}

/// A bar, and what was measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BarResult {
    /// What it is called.
    pub name: String,
    /// The metric.
    pub metric: String,
    /// Whose figure was taken.
    pub rival: String,
    /// What it is compared with: a rival, `itself` with another metric's name, or nothing.
    pub against: Option<String>,
    /// `higher` or `lower`.
    pub better: String,
    /// What is required.
    pub required: f64,
    /// What is aimed at.
    pub aimed: f64,
    /// The ratio of each round, or the value in the metric's unit where it is compared with nothing.
    pub measured: Option<Spread>,
    /// Whether the median meets what is required.
    pub met: Option<bool>,
    /// Whether it meets what is aimed at.
    pub aim_met: Option<bool>,
}

/// Whether a bar needs anybody's figure of a metric.
pub fn is_about(metric: &str) -> bool {
    BARS.iter().any(|b| b.metric == metric || matches!(b.against, Against::Itself(base) if base == metric))
}

/// Whether a bar needs a rival's figure of a metric.
pub fn needs(metric: &str, rival: &str) -> bool {
    BARS.iter().any(|bar| {
        let ours = bar.who.is(rival);
        match bar.against {
            Against::Rival(other) => bar.metric == metric && (ours || rival == other),
            Against::Itself(base) => ours && (bar.metric == metric || base == metric),
            Against::Nothing => ours && bar.metric == metric,
        }
    })
}

/// Holds a report's figures against the bars. One without figures is there too, without a verdict.
pub(super) fn judge(report: &Report) -> Vec<BarResult> {
    BARS.iter().map(|bar| bar.judge(report)).collect()
}

impl Bar {
    fn judge(&self, report: &Report) -> BarResult {
        let candidates = report.rivals.iter().map(|r| r.name.as_str());
        let ours = |name: &&str| self.who.is(name);
        let measured =
            candidates.filter(ours).filter_map(|rival| Some((rival, self.measure(report, rival)?)));
        let best = measured.max_by(|(_, a), (_, b)| a.median.total_cmp(&b.median));
        let (rival, measured) = best.map_or((OURS, None), |(rival, spread)| (rival, Some(spread)));
        let beats = |bound: f64| {
            measured.map(|m| match self.better {
                Better::Higher => m.median >= bound,
                Better::Lower => m.median <= bound,
            })
        };
        BarResult {
            name: self.name.into(),
            metric: self.metric.into(),
            rival: rival.into(),
            against: match self.against {
                Against::Rival(rival) => Some(rival.into()),
                Against::Itself(metric) => Some(format!("itself, {metric}")),
                Against::Nothing => None,
            },
            better: self.better.name().into(),
            required: self.least,
            aimed: self.aim,
            measured,
            met: beats(self.least),
            aim_met: beats(self.aim),
        }
    }

    fn measure(&self, report: &Report, rival: &str) -> Option<Spread> {
        let row = report.row(self.metric, rival)?;
        let base = match self.against {
            Against::Rival(other) => report.row(self.metric, other)?,
            Against::Itself(metric) => report.row(metric, rival)?,
            Against::Nothing => return row.value,
        };
        let all: Vec<f64> = ratios(row.pairs(), &base.pairs()).map(|(_, ratio)| ratio).collect();
        Spread::of(&all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::bench::metric::WORKS;
    use crate::lab::bench::report::tests::sample;

    #[test]
    fn every_bar_is_about_something_that_is_measured() {
        let metrics: Vec<_> = WORKS.iter().flat_map(|w| w.metrics).collect();
        let named = |name: &str| metrics.iter().find(|m| m.name == name);
        let rivals: Vec<_> = crate::lab::bench::rival::all("x".as_ref()).iter().map(|r| r.name()).collect();
        for bar in BARS {
            let metric = named(bar.metric).unwrap_or_else(|| panic!("{}", bar.metric));
            assert_eq!(metric.better, bar.better, "{}", bar.name);
            match bar.against {
                Against::Rival(rival) => assert!(rivals.contains(&rival), "{rival}"),
                Against::Itself(other) => assert!(named(other).is_some(), "{other}"),
                Against::Nothing => {}
            }
            let harder = if bar.better == Better::Higher { bar.aim > bar.least } else { bar.aim < bar.least };
            assert!(harder, "{}", bar.name);
        }
    }

    #[test]
    fn who_is_needed_for_what() {
        for (metric, rivals) in [
            (
                "packets.1k",
                &[
                    "kernel",
                    "sekisho",
                    "sekisho-xdp",
                    "sekisho-1-worker",
                    "sekisho-xdp-1-worker",
                    "ovs",
                    "vpp",
                ][..],
            ),
            ("packets.64k", &["sekisho"]),
            ("routes.1", &["sekisho"]),
            ("tcp.up.1", &["kernel", "sekisho", "slirp4netns", "pasta", "vpp"]),
            ("lossless.1", &[]),
        ] {
            let all = crate::lab::bench::rival::all("x".as_ref());
            let needed: Vec<_> = all
                .iter()
                .map(|r| r.name())
                .filter(|r| crate::lab::bench::rival::by_default(r) && needs(metric, r))
                .collect();
            for rival in &needed {
                assert!(rivals.contains(rival), "{rival} for {metric}");
            }
            assert_eq!(needed.len(), rivals.len(), "{metric}");
        }
    }

    #[test]
    fn verdicts() {
        let report = sample();
        let find = |name: &str| report.bars.iter().find(|b| b.name == name).unwrap();
        let packets = find("packets, 1 k flows, default driver");
        assert_eq!((packets.met, packets.aim_met), (Some(true), Some(false)));
        let latency = find("round trip p50, idle");
        assert_eq!((latency.measured.unwrap().median, latency.met), (2.0, Some(false)));
        assert_eq!(find("new flows").met, None);
    }
}
