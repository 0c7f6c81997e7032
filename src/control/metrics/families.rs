//! The metrics: each one's name, type, labels and meaning, and its values among the router's counters.
//!
//! Names follow Prometheus' conventions: `sekisho_`, what it is, the base unit, `_total` for what only grows. Every
//! label value that can be is there from the start, so that a rate has a beginning. Knows nothing of HTTP.

use std::fmt::{self, Display, Write};

use crate::base::DropReason;
use crate::base::counters;
use crate::control::view::{LinkStats, Stats, WorkerStats};

use super::http::Format;

/// What a metric is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It only grows, until the router starts anew. Its name ends in `_total`.
    Counter,
    /// It goes up and down.
    Gauge,
}

impl Kind {
    /// The word in the text.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
        }
    }
}

/// What a metric is called and means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Definition {
    /// Its name.
    pub name: String,
    /// What it is.
    pub kind: Kind,
    /// The names of its labels.
    pub labels: &'static [&'static str],
    /// What it means, in a sentence without its full stop.
    pub help: String,
}

/// All metrics, in the order they are shown.
pub fn definitions() -> Vec<Definition> {
    let own = METRICS.iter().map(|m| Definition {
        name: format!("{PREFIX}{}", m.name),
        kind: m.kind,
        labels: m.labels,
        help: m.help.to_owned(),
    });
    let tallies = counters::Tally::ALL.iter().map(|t| Definition {
        name: format!("{PREFIX}{}_total", t.name()),
        kind: Kind::Counter,
        labels: &[],
        help: sentence(t.text()),
    });
    own.chain(tallies).collect()
}

/// The text of all metrics.
pub fn text(stats: &Stats, format: Format) -> String {
    let mut out = Text { text: String::with_capacity(32 << 10), format };
    for m in METRICS {
        out.family(m.name, m.kind, m.help);
        (m.values)(stats, &mut |values, number| out.sample(m.name, m.labels, values, &number));
    }
    for (known, t) in counters::Tally::ALL.iter().zip(&stats.tallies) {
        let name = format!("{}_total", known.name());
        out.family(&name, Kind::Counter, &sentence(known.text()));
        out.sample(&name, &[], &[], &Number::Whole(t.value));
    }
    if format == Format::OpenMetrics {
        out.text.push_str("# EOF\n");
    }
    out.text
}

/// What all names begin with.
const PREFIX: &str = "sekisho_";

/// A value.
enum Number {
    Whole(u64),
    Real(f64),
}

impl Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Number::Whole(n) => n.fmt(f),
            Number::Real(n) => n.fmt(f),
        }
    }
}

/// Takes the values of labels, and the number.
type Sink<'a> = dyn FnMut(&[&str], Number) + 'a;

struct Metric {
    name: &'static str,
    kind: Kind,
    labels: &'static [&'static str],
    help: &'static str,
    values: fn(&Stats, &mut Sink<'_>),
}

const fn counter(
    name: &'static str,
    labels: &'static [&'static str],
    help: &'static str,
    values: fn(&Stats, &mut Sink<'_>),
) -> Metric {
    Metric { name, kind: Kind::Counter, labels, help, values }
}

const fn gauge(
    name: &'static str,
    labels: &'static [&'static str],
    help: &'static str,
    values: fn(&Stats, &mut Sink<'_>),
) -> Metric {
    Metric { name, kind: Kind::Gauge, labels, help, values }
}

const METRICS: &[Metric] = &[
    gauge("info", &["name", "version"], "The router; always 1", |s, out| {
        out(&[&s.name, &s.version], Number::Whole(1));
    }),
    gauge("uptime_seconds", &[], "Seconds since it began to forward", |s, out| {
        out(&[], Number::Real(s.uptime));
    }),
    // ── links ──
    gauge("link_up", LINK, "Whether the link is up: 1 or 0", |s, out| {
        links(s, out, |l| u64::from(l.up));
    }),
    counter("link_receive_packets_total", LINK, "Frames received", |s, out| links(s, out, |l| l.rx_packets)),
    counter("link_receive_bytes_total", LINK, "Bytes received, with the link-layer header", |s, out| {
        links(s, out, |l| l.rx_bytes);
    }),
    counter(
        "link_receive_dropped_packets_total",
        LINK,
        "Frames received and dropped before they were forwarded or delivered",
        |s, out| links(s, out, |l| l.rx_dropped),
    ),
    counter(
        "link_receive_missed_packets_total",
        LINK,
        "Frames lost before they could be received: the router was behind",
        |s, out| links(s, out, |l| l.rx_missed),
    ),
    counter("link_transmit_packets_total", LINK, "Frames sent", |s, out| links(s, out, |l| l.tx_packets)),
    counter("link_transmit_bytes_total", LINK, "Bytes sent, with the link-layer header", |s, out| {
        links(s, out, |l| l.tx_bytes);
    }),
    counter(
        "link_transmit_dropped_packets_total",
        LINK,
        "Frames the link should have sent and did not",
        |s, out| links(s, out, |l| l.tx_dropped),
    ),
    // ── the ledger ──
    counter("packets_entered_total", COLUMN, "Packets that came in, or were made here", |s, out| {
        columns(s, out, |c| c.entered);
    }),
    counter("packets_sent_total", COLUMN, "Packets that a link took", |s, out| columns(s, out, |c| c.sent)),
    counter("packets_delivered_total", COLUMN, "Packets that were for this router", |s, out| {
        columns(s, out, |c| c.delivered);
    }),
    gauge(
        "packets_parked",
        COLUMN,
        "Packets that wait now: for a neighbor, or for other fragments",
        |s, out| columns(s, out, |c| c.parked),
    ),
    counter(
        "packets_dropped_total",
        &["column", "stage", "reason"],
        "Packets dropped, by stage and reason",
        |s, out| {
            for (known, d) in DropReason::ALL.iter().zip(&s.drops) {
                out(&["received", known.stage(), known.name()], Number::Whole(d.received));
                out(&["originated", known.stage(), known.name()], Number::Whole(d.originated));
            }
        },
    ),
    counter(
        "hook_packets_total",
        &["hook", "result"],
        "What became of packets at a hook: passed, dropped, or held by a queue, a function or reassembly",
        |s, out| {
            for h in &s.hooks {
                let hook = h.hook.to_ascii_lowercase();
                for (result, n) in [("passed", h.passed), ("dropped", h.dropped), ("held", h.held)] {
                    out(&[&hook, result], Number::Whole(n));
                }
            }
        },
    ),
    // ── workers ──
    gauge(
        "worker_busy_ratio",
        WORKER,
        "How much of its time a worker was busy over the last five seconds: 0 to 1",
        |s, out| workers(s, out, |w| Number::Real(w.busy)),
    ),
    counter(
        "worker_seconds_total",
        &["worker", "state"],
        "What workers spend their time on: busy, looking for packets, or asleep",
        |s, out| {
            for w in &s.workers {
                let worker = w.worker.to_string();
                out(&[&worker, "busy"], Number::Real(w.busy_seconds));
                out(&[&worker, "looking"], Number::Real(w.looking_seconds));
                out(&[&worker, "asleep"], Number::Real(w.asleep_seconds));
            }
        },
    ),
    counter("worker_batches_total", WORKER, "Batches taken from ports and from other workers", |s, out| {
        workers(s, out, |w| Number::Whole(w.batches));
    }),
    counter("worker_batch_packets_total", WORKER, "Packets in these batches", |s, out| {
        workers(s, out, |w| Number::Whole(w.packets));
    }),
    counter("worker_receive_packets_total", WORKER, "Frames a worker has walked, of all links", |s, out| {
        workers(s, out, |w| Number::Whole(w.rx_packets));
    }),
    counter("worker_receive_bytes_total", WORKER, "Bytes of these frames", |s, out| {
        workers(s, out, |w| Number::Whole(w.rx_bytes));
    }),
    counter("worker_transmit_packets_total", WORKER, "Frames a worker has sent", |s, out| {
        workers(s, out, |w| Number::Whole(w.tx_packets));
    }),
    counter("worker_transmit_bytes_total", WORKER, "Bytes of these frames", |s, out| {
        workers(s, out, |w| Number::Whole(w.tx_bytes));
    }),
    // ── tables ──
    gauge("conntrack_flows", &[], "Flows in the flow table", |s, out| {
        out(&[], Number::Whole(s.conntrack.flows));
    }),
    gauge("conntrack_flows_limit", &[], "Flows that the flow table may hold", |s, out| {
        out(&[], Number::Whole(s.conntrack.max));
    }),
    gauge("conntrack_memory_bytes", &[], "Bytes that the flow table takes", |s, out| {
        out(&[], Number::Whole(s.conntrack.memory));
    }),
    gauge(
        "conntrack_state_flows",
        &["protocol", "state"],
        "Flows by protocol and by where it stands; at most the first 262,144 places of the table are looked at",
        |s, out| {
            for k in &s.conntrack.kinds {
                out(&[&k.protocol, &k.state.to_ascii_lowercase()], Number::Whole(k.flows));
            }
        },
    ),
    gauge(
        "nat_flows",
        &["translated"],
        "Flows whose source or destination is translated; looked at as for conntrack_state_flows",
        |s, out| {
            out(&["source"], Number::Whole(s.nat.source));
            out(&["destination"], Number::Whole(s.nat.destination));
        },
    ),
    gauge(
        "nat_ports_used",
        &["address", "protocol"],
        "Different ports (identifiers of ICMP queries) of an outer address that sources are translated to",
        |s, out| {
            for p in &s.nat.ports {
                out(&[&p.address, &p.protocol], Number::Whole(p.used));
            }
        },
    ),
    gauge(
        "nat_ports_limit",
        &["address", "protocol"],
        "Ports that there are to choose from, if a rule doesn't say which",
        |s, out| {
            for p in &s.nat.ports {
                out(&[&p.address, &p.protocol], Number::Whole(p.of));
            }
        },
    ),
    gauge("neighbors", &["family", "state"], "Neighbors by family and state", |s, out| {
        for n in &s.neighbors {
            out(&[&n.family, &n.state.to_ascii_lowercase()], Number::Whole(n.neighbors));
        }
    }),
    gauge("routes", &["family", "table"], "Routes by family and table", |s, out| {
        for (family, n) in [("ipv4", s.routes.ipv4), ("ipv6", s.routes.ipv6)] {
            out(&[family, "main"], Number::Whole(n.main));
            out(&[family, "local"], Number::Whole(n.local));
        }
    }),
    gauge("reassembly_datagrams", &[], "Datagrams of which fragments are missing", |s, out| {
        out(&[], Number::Whole(s.reassembly.datagrams));
    }),
    gauge("reassembly_memory_bytes", &[], "Bytes that their fragments take", |s, out| {
        out(&[], Number::Whole(s.reassembly.memory));
    }),
    // ── control ──
    gauge("control_clients", &[], "Clients connected to the control socket", |s, out| {
        out(&[], Number::Whole(s.control.clients));
    }),
    counter("control_refused_clients_total", &[], "Clients of the control socket sent away", |s, out| {
        out(&[], Number::Whole(s.control.refused));
    }),
    counter("control_requests_total", &[], "Requests made over the control socket", |s, out| {
        out(&[], Number::Whole(s.control.requests));
    }),
    counter("transactions_total", &[], "Changes put into force since the start", |s, out| {
        out(&[], Number::Whole(s.control.transactions));
    }),
];

const LINK: &[&str] = &["link"];
const COLUMN: &[&str] = &["column"];
const WORKER: &[&str] = &["worker"];

fn links(s: &Stats, out: &mut Sink<'_>, value: fn(&LinkStats) -> u64) {
    for l in &s.links {
        out(&[&l.ifname], Number::Whole(value(l)));
    }
}

fn workers(s: &Stats, out: &mut Sink<'_>, value: fn(&WorkerStats) -> Number) {
    for w in &s.workers {
        out(&[&w.worker.to_string()], value(w));
    }
}

fn columns(s: &Stats, out: &mut Sink<'_>, value: fn(&crate::control::view::Column) -> u64) {
    out(&["received"], Number::Whole(value(&s.columns.received)));
    out(&["originated"], Number::Whole(value(&s.columns.originated)));
}

/// With its first letter large.
fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

/// The text while it is written.
struct Text {
    text: String,
    format: Format,
}

impl Text {
    /// The lines above a metric's samples.
    fn family(&mut self, name: &str, kind: Kind, help: &str) {
        // OpenMetrics names the family of a counter without its ending.
        let family = match self.format {
            Format::OpenMetrics => name.strip_suffix("_total").unwrap_or(name),
            Format::Prometheus => name,
        };
        let help = help.replace('\\', r"\\").replace('\n', r"\n");
        let _ =
            write!(self.text, "# HELP {PREFIX}{family} {help}.\n# TYPE {PREFIX}{family} {}\n", kind.name());
    }

    fn sample(&mut self, name: &str, labels: &[&str], values: &[&str], number: &Number) {
        let _ = write!(self.text, "{PREFIX}{name}");
        for (n, (label, value)) in labels.iter().zip(values).enumerate() {
            let value = value.replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n");
            let _ = write!(self.text, "{}{label}=\"{value}\"", if n == 0 { '{' } else { ',' });
        }
        if !labels.is_empty() {
            self.text.push('}');
        }
        let _ = writeln!(self.text, " {number}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::view::{Drop, HookStats, Tally};

    fn stats() -> Stats {
        let drops = DropReason::ALL.iter().map(|r| Drop {
            name: r.name().into(),
            text: r.text().into(),
            stage: r.stage().into(),
            received: 1,
            originated: 2,
        });
        let tallies = counters::Tally::ALL.iter().map(|t| Tally {
            name: t.name().into(),
            text: t.text().into(),
            value: 3,
        });
        Stats {
            name: "g\"w\\".into(),
            uptime: 1.5,
            drops: drops.collect(),
            tallies: tallies.collect(),
            hooks: vec![HookStats { hook: "FORWARD".into(), seen: 6, passed: 3, dropped: 2, held: 1 }],
            workers: vec![WorkerStats { worker: 4, busy: 0.25, ..WorkerStats::default() }],
            ..Stats::default()
        }
    }

    #[test]
    fn names_keep_the_conventions() {
        let all = definitions();
        for d in &all {
            let plain = d.name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
            assert!(plain && d.name.starts_with(PREFIX), "{}", d.name);
            assert_eq!(d.name.ends_with("_total"), d.kind == Kind::Counter, "{}", d.name);
            assert!(
                !["_count", "_sum", "_bucket", "_created"].iter().any(|s| d.name.ends_with(s)),
                "{}",
                d.name
            );
            assert!(!d.help.ends_with('.') && !d.help.is_empty(), "{}", d.help);
            assert_eq!(all.iter().filter(|o| o.name == d.name).count(), 1, "{}", d.name);
        }
    }

    #[test]
    fn prometheus_text() {
        let said = text(&stats(), Format::Prometheus);
        for line in [
            r#"sekisho_info{name="g\"w\\",version=""} 1"#,
            "# TYPE sekisho_uptime_seconds gauge",
            "sekisho_uptime_seconds 1.5",
            "# TYPE sekisho_packets_dropped_total counter",
            r#"sekisho_packets_dropped_total{column="originated",stage="route",reason="no_route"} 2"#,
            r#"sekisho_hook_packets_total{hook="forward",result="held"} 1"#,
            r#"sekisho_worker_busy_ratio{worker="4"} 0.25"#,
            "sekisho_log_lines_lost_total 3",
        ] {
            assert!(said.lines().any(|l| l == line), "no line {line} in\n{said}");
        }
        assert!(!said.contains("# EOF"));
    }

    #[test]
    fn open_metrics_names_families_without_their_ending() {
        let said = text(&stats(), Format::OpenMetrics);
        for line in ["# TYPE sekisho_log_lines_lost counter", "sekisho_log_lines_lost_total 3"] {
            assert!(said.lines().any(|l| l == line), "no line {line} in\n{said}");
        }
        assert!(said.ends_with("\n# EOF\n"));
        assert!(!said.contains("_total counter"));
    }

    #[test]
    fn what_is_defined_is_written_and_nothing_else() {
        let said = text(&stats(), Format::Prometheus);
        let typed: Vec<_> = said.lines().filter_map(|l| l.strip_prefix("# TYPE ")).collect();
        let defined: Vec<_> =
            definitions().into_iter().map(|d| format!("{} {}", d.name, d.kind.name())).collect();
        assert_eq!(typed, defined);
    }
}
