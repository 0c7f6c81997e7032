//! A report as a chart: for each metric a bar for each rival, how many times as good as the kernel with the same rules.
//!
//! The scale is logarithmic, so that twice and half are as far from the kernel's line; to the right is better, also for
//! what is better when it is less. Nothing but text: no fonts, scripts or files of others.

use std::fmt::Write as _;

use super::report::{MetricReport, Report, Row};
use super::rival::YARDSTICK;
use super::stats::Spread;
use super::text::{figure, times};

/// All of it, a whole SVG document.
pub fn render(report: &Report) -> String {
    let groups: Vec<(&MetricReport, Vec<Bar<'_>>)> =
        report.metrics.iter().map(|m| (m, bars(report, m))).filter(|(_, bars)| !bars.is_empty()).collect();
    let scale = Scale::over(groups.iter().flat_map(|(_, bars)| bars));
    let mut chart = Chart { out: String::new(), y: TOP, scale };
    for (metric, bars) in &groups {
        chart.group(report, metric, bars);
    }
    let height = chart.y + BOTTOM;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" \
         height=\"{height}\" role=\"img\">\n<title>{}</title>\n<style>{STYLE}</style>\n\
         <rect class=\"paper\" width=\"{WIDTH}\" height=\"{height}\"/>\n",
        escape(&title(report))
    );
    let _ = writeln!(svg, "<text class=\"title\" x=\"{MARGIN}\" y=\"28\">{}</text>", escape(&title(report)));
    let _ =
        writeln!(svg, "<text class=\"aside\" x=\"{MARGIN}\" y=\"46\">{}</text>", escape(&subtitle(report)));
    chart.scale.draw(&mut svg, chart.y);
    svg.push_str(&chart.out);
    let _ = writeln!(
        svg,
        "<text class=\"aside\" x=\"{MARGIN}\" y=\"{}\">{}</text>\n</svg>",
        height - 12,
        escape(
            "Bars: medians of the ratios of each round; whiskers: quartiles. Right of the line is better than the kernel."
        )
    );
    svg
}

const WIDTH: u32 = 960;
const MARGIN: u32 = 16;
/// Where bars may begin and end; the names are left of it, the figures right.
const LEFT: f64 = 190.0;
const RIGHT: f64 = 760.0;
const TOP: u32 = 84;
const BOTTOM: u32 = 44;
const LINE: u32 = 17;

/// Readable on white and on black: the page says which it is.
const STYLE: &str = "\
text{font:12px system-ui,sans-serif;fill:#1f2328}.title{font-size:17px;font-weight:600}\
.metric{font-weight:600}.aside{fill:#656d76;font-size:11px}.paper{fill:#fff}\
.grid{stroke:#d0d7de}.kernel{stroke:#1f2328;stroke-width:1.5}.whisker{stroke:#1f2328}\
.ours{fill:#0969da}.other{fill:#8c959f}\
@media(prefers-color-scheme:dark){text{fill:#e6edf3}.aside{fill:#9198a1}.paper{fill:#0d1117}\
.grid{stroke:#30363d}.kernel,.whisker{stroke:#e6edf3}.ours{fill:#4493f8}.other{fill:#6e7681}}";

fn title(report: &Report) -> String {
    format!("sekisho {} beside its rivals: times as good as the kernel with the same rules", report.version)
}

fn subtitle(report: &Report) -> String {
    let m = &report.machine;
    let commit = report.commit.as_deref().map_or(String::new(), |c| format!(", commit {c}"));
    let quick = if report.quick { ", a quick run" } else { "" };
    let rounds = if report.rounds == 1 { "round" } else { "rounds" };
    format!(
        "{}, {} CPUs, Linux {}{commit}; {}; {} {rounds}{quick}",
        m.cpu, m.cpus, m.kernel, report.date, report.rounds
    )
}

/// A rival's bar.
struct Bar<'a> {
    row: &'a Row,
    /// How many times as good as the kernel.
    good: Spread,
}

/// Of the rivals that were compared with the kernel; the kernel is the line.
fn bars<'a>(report: &'a Report, metric: &MetricReport) -> Vec<Bar<'a>> {
    let rows = report.rows.iter().filter(|r| r.metric == metric.name && r.rival != YARDSTICK);
    let good = |r: Spread| match metric.better.as_str() {
        "higher" => r,
        // Twice the time is half as good.
        _ => Spread { median: 1.0 / r.median, low: 1.0 / r.high, high: 1.0 / r.low },
    };
    let drawn = |s: &Spread| [s.low, s.median, s.high].iter().all(|v| v.is_finite() && *v > 0.0);
    rows.filter_map(|row| Some(Bar { row, good: row.ratio.map(good).filter(drawn)? })).collect()
}

/// Powers of two from `2^low` to `2^high`.
struct Scale {
    low: i32,
    high: i32,
}

impl Scale {
    fn over<'a, 'b: 'a>(bars: impl Iterator<Item = &'a Bar<'b>>) -> Self {
        let mut scale = Scale { low: -1, high: 1 };
        for bar in bars {
            scale.low = scale.low.min(bar.good.low.log2().floor() as i32);
            scale.high = scale.high.max(bar.good.high.log2().ceil() as i32);
        }
        // What lies farther away ends at the edge: its figure stands beside it.
        Scale { low: scale.low.max(-5), high: scale.high.min(5) }
    }

    fn x(&self, ratio: f64) -> f64 {
        let part = (ratio.log2() - f64::from(self.low)) / f64::from(self.high - self.low);
        LEFT + part.clamp(0.0, 1.0) * (RIGHT - LEFT)
    }

    fn draw(&self, out: &mut String, bottom: u32) {
        for power in self.low..=self.high {
            let ratio = f64::from(power).exp2();
            let (x, class) = (self.x(ratio), if power == 0 { "kernel" } else { "grid" });
            let name = match power {
                0 => "kernel".to_owned(),
                1.. => format!("{ratio:.0} ×"),
                _ => format!("1/{:.0}", 1.0 / ratio),
            };
            let _ = writeln!(
                out,
                "<line class=\"{class}\" x1=\"{x:.1}\" y1=\"{}\" x2=\"{x:.1}\" y2=\"{bottom}\"/>\
                 <text class=\"aside\" x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\">{name}</text>",
                TOP - 14,
                TOP - 18
            );
        }
    }
}

struct Chart {
    out: String,
    y: u32,
    scale: Scale,
}

impl Chart {
    fn group(&mut self, report: &Report, metric: &MetricReport, bars: &[Bar<'_>]) {
        self.y += LINE;
        let kernel = report.row(&metric.name, YARDSTICK).and_then(|r| r.value);
        let kernel = kernel.map_or(String::new(), |v| format!("kernel {}", figure(v.median, &metric.unit)));
        let _ = writeln!(
            self.out,
            "<text class=\"metric\" x=\"{MARGIN}\" y=\"{y}\">{}</text>\
             <text class=\"aside\" x=\"{:.0}\" y=\"{y}\">{}</text>",
            escape(&metric.title),
            RIGHT + 10.0,
            escape(&kernel),
            y = self.y
        );
        for bar in bars {
            self.y += LINE;
            self.bar(metric, bar);
        }
        self.y += LINE / 2;
    }

    fn bar(&mut self, metric: &MetricReport, bar: &Bar<'_>) {
        let class = if bar.row.rival.starts_with("sekisho") { "ours" } else { "other" };
        let [one, low, median, high] =
            [1.0, bar.good.low, bar.good.median, bar.good.high].map(|r| self.scale.x(r));
        let (x, width) = (one.min(median), (one - median).abs().max(1.0));
        let (top, middle) = (self.y - 10, f64::from(self.y) - 4.5);
        let value = bar.row.value.map_or(String::new(), |v| figure(v.median, &metric.unit));
        let _ = writeln!(
            self.out,
            "<text x=\"{:.0}\" y=\"{y}\" text-anchor=\"end\">{}</text>\
             <rect class=\"{class}\" x=\"{x:.1}\" y=\"{top}\" width=\"{width:.1}\" height=\"11\"/>\
             <line class=\"whisker\" x1=\"{low:.1}\" y1=\"{middle}\" x2=\"{high:.1}\" y2=\"{middle}\"/>\
             <text x=\"{:.0}\" y=\"{y}\">{}</text>",
            LEFT - 8.0,
            escape(&bar.row.rival),
            RIGHT + 10.0,
            escape(&format!("{} × · {value}", times(bar.good.median))),
            y = self.y
        );
    }
}

/// Text as XML has it, without what XML can't have at all.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::bench::report::tests::sample;

    /// Whether every element that is opened is closed in its turn, and every `&` begins an entity: enough of XML for what is
    /// written here.
    fn assert_well_formed(svg: &str) {
        let (mut open, mut rest) = (Vec::new(), svg);
        while let Some(at) = rest.find('<') {
            let (text, tag) = rest.split_at(at);
            assert!(!text.contains('>'), "{text}");
            for (i, _) in text.match_indices('&') {
                assert!(
                    ["&amp;", "&lt;", "&gt;", "&quot;"].iter().any(|e| text[i..].starts_with(e)),
                    "{text}"
                );
            }
            let end = tag.find('>').expect("a tag ends");
            let inner = &tag[1..end];
            assert!(inner.matches('"').count() % 2 == 0 && !inner.contains('<'), "{inner}");
            match inner.strip_prefix('/') {
                Some(name) => assert_eq!(open.pop().as_deref(), Some(name)),
                None if inner.ends_with('/') => {}
                None => open.push(inner.split(' ').next().unwrap().to_owned()),
            }
            rest = &tag[end + 1..];
        }
        assert!(open.is_empty(), "{open:?}");
    }

    #[test]
    fn a_chart_is_a_document() {
        let mut report = sample();
        report.metrics[0].title = "a < b & \"c\" > d\u{1}".into();
        let svg = render(&report);
        assert_well_formed(&svg);
        assert!(svg.contains("a &lt; b &amp; &quot;c&quot; &gt; d "), "{svg}");
        // A bar for each metric of ours; the kernel's is the line.
        assert_eq!(svg.matches("class=\"ours\"").count(), 2);
        assert!(svg.contains("class=\"kernel\"") && !svg.contains("NaN"));
    }

    #[test]
    fn nothing_measured_is_an_empty_chart() {
        let mut report = sample();
        report.rows.clear();
        assert_well_formed(&render(&report));
    }

    #[test]
    fn less_is_drawn_as_better_where_it_is() {
        let report = sample();
        let latency = bars(&report, &report.metrics[1]);
        assert_eq!(latency[0].good.median, 0.5);
        let scale = Scale { low: -1, high: 1 };
        assert_eq!((scale.x(0.5), scale.x(2.0), scale.x(1.0)), (LEFT, RIGHT, (LEFT + RIGHT) / 2.0));
        assert_eq!(scale.x(1e9), RIGHT);
    }
}
