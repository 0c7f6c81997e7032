//! `sekisho stats`: every counter of a running router.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use super::{Outcome, Paint, Run, say};
use crate::control::client::Client;
use crate::control::protocol::Verb;
use crate::control::view::{self, Column};

/// Show what became of every packet: the router's counters.
///
/// The ledger has two columns: packets that came in, and packets the router made (ICMP, ARP, its local stack, further
/// fragments and segments). In each, what entered was sent, delivered here, waits (for a neighbor or for other
/// fragments), or was dropped for a reason with a name. What is missing, `on the way`, is in the router's hands
/// at this moment, and 0 when it is idle.
///
/// Zero counters are left out unless --all is given. -j prints everything, zeros included, as one JSON object.
#[derive(Debug, clap::Args)]
pub(super) struct Stats {
    /// Print JSON, for programs
    #[arg(short, long)]
    json: bool,
    /// Show counters that are zero, too
    #[arg(short, long)]
    all: bool,
    /// The router's control socket; else $SEKISHO_CONTROL, else that of the only router running
    #[arg(long, value_name = "PATH")]
    control: Option<PathBuf>,
}

impl Run for Stats {
    fn run(self) -> Outcome {
        let mut client = Client::find(self.control.as_deref())?;
        let stats: view::Stats = client.ask(Verb::Stats)?;
        if self.json {
            say(serde_json::to_string(&stats)?)?;
        } else {
            say(text(&stats, self.all, Paint::stdout()).trim_end())?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// The counters for people.
fn text(s: &view::Stats, all: bool, paint: Paint) -> String {
    let mut out = String::new();
    let _ = writeln!(out, "{}  sekisho {}, up {}", paint.bold(&s.name), s.version, uptime(s.uptime));
    ledger(&mut out, s, paint);
    links(&mut out, s, paint);
    drivers(&mut out, s, paint);
    flow_table(&mut out, s, paint);
    drops(&mut out, s, all, paint);
    tallies(&mut out, s, all, paint);
    out
}

fn ledger(out: &mut String, s: &view::Stats, paint: Paint) {
    let (r, o) = (&s.columns.received, &s.columns.originated);
    type Row = (&'static str, fn(&Column) -> i128);
    let rows: [Row; 6] = [
        ("entered", |c| c.entered.into()),
        ("sent", |c| c.sent.into()),
        ("delivered", |c| c.delivered.into()),
        ("parked", |c| c.parked.into()),
        ("dropped", |c| c.dropped.into()),
        ("on the way", |c| c.imbalance.into()),
    ];
    let mut table = Table::new(&["packets", "received", "originated"]);
    for (name, value) in rows {
        // Only a busy router has packets on the way.
        if name != "on the way" || value(r) != 0 || value(o) != 0 {
            table.row(name, &[value(r), value(o)], "");
        }
    }
    table.write(out, paint);
}

fn links(out: &mut String, s: &view::Stats, paint: Paint) {
    let mut table = Table::new(&[
        "link",
        "rx packets",
        "bytes",
        "dropped",
        "missed",
        "tx packets",
        "bytes",
        "dropped",
        "",
    ]);
    for l in &s.links {
        let rx = [l.rx_packets, l.rx_bytes, l.rx_dropped, l.rx_missed];
        let counts: Vec<_> =
            rx.into_iter().chain([l.tx_packets, l.tx_bytes, l.tx_dropped]).map(i128::from).collect();
        table.row(&l.ifname, &counts, if l.up { "" } else { "down" });
    }
    table.write(out, paint);
}

/// What moves the frames of packet links, and why nothing better does.
fn drivers(out: &mut String, s: &view::Stats, paint: Paint) {
    let mut table = Table::new(&["driver"]);
    for l in &s.links {
        let Some(d) = &l.driver else { continue };
        let why = d.fallback.as_ref().map_or_else(String::new, |why| format!(" ({why})"));
        table.row(&l.ifname, &[], &format!("{}{why}", d.name));
    }
    table.write(out, paint);
}

/// The flow table, unless nothing is tracked.
fn flow_table(out: &mut String, s: &view::Stats, paint: Paint) {
    let t = &s.conntrack;
    if !t.families.is_empty() || t.flows > 0 {
        let mut table = Table::new(&["conntrack", "flows", "max", "bytes"]);
        table.row(&t.families.join(" "), &[t.flows.into(), t.max.into(), t.memory.into()], "");
        table.write(out, paint);
    }
}

fn drops(out: &mut String, s: &view::Stats, all: bool, paint: Paint) {
    let mut table = Table::new(&["drops", "received", "originated", ""]);
    for d in s.drops.iter().filter(|d| all || d.received != 0 || d.originated != 0) {
        table.row(&d.name, &[d.received.into(), d.originated.into()], &d.text);
    }
    table.write(out, paint);
}

fn tallies(out: &mut String, s: &view::Stats, all: bool, paint: Paint) {
    let mut table = Table::new(&["counts", "", ""]);
    for t in s.tallies.iter().filter(|t| all || t.value != 0) {
        table.row(&t.name, &[t.value.into()], &t.text);
    }
    table.write(out, paint);
}

/// `3d 04h 05m`, `4h 05m 06s`, `5m 06s`, `6.7s`.
fn uptime(seconds: f64) -> String {
    let whole = seconds as u64;
    let (d, h, m, s) = (whole / 86_400, whole / 3_600 % 24, whole / 60 % 60, whole % 60);
    match (d, h, m) {
        (0, 0, 0) => format!("{seconds:.1}s"),
        (0, 0, _) => format!("{m}m {s:02}s"),
        (0, _, _) => format!("{h}h {m:02}m {s:02}s"),
        _ => format!("{d}d {h:02}h {m:02}m"),
    }
}

/// Names, numbers set right, a remark; as wide as what is in it.
struct Table<'a> {
    titles: &'a [&'a str],
    rows: Vec<(String, Vec<String>, String)>,
}

impl<'a> Table<'a> {
    /// The titles of the names, of each number and of the remarks, if there are any.
    fn new(titles: &'a [&'a str]) -> Self {
        Table { titles, rows: Vec::new() }
    }

    fn row(&mut self, name: &str, numbers: &[i128], remark: &str) {
        self.rows.push((name.to_owned(), numbers.iter().map(i128::to_string).collect(), remark.to_owned()));
    }

    /// Writes an empty line and the table; nothing if it has no rows.
    fn write(&self, out: &mut String, paint: Paint) {
        let Some((_, numbers, _)) = self.rows.first() else { return };
        let first = self.rows.iter().map(|r| r.0.len()).chain([self.titles[0].len(), 12]).max().unwrap_or(0);
        let widths: Vec<usize> = (0..numbers.len())
            .map(|i| {
                let cells = self.rows.iter().map(|r| r.1[i].len());
                cells.chain([self.titles[i + 1].len(), 10]).max().unwrap_or(0)
            })
            .collect();
        let mut line = format!("{:<first$}", self.titles[0]);
        for (title, w) in self.titles[1..].iter().zip(&widths) {
            let _ = write!(line, "  {title:>w$}");
        }
        let _ = writeln!(out, "\n{}", paint.dim(line.trim_end()));
        for (name, numbers, remark) in &self.rows {
            let mut line = format!("{name:<first$}");
            for (n, w) in numbers.iter().zip(&widths) {
                let _ = write!(line, "  {n:>w$}");
            }
            let _ = match remark.as_str() {
                "" => writeln!(out, "{line}"),
                remark => writeln!(out, "{line}  {}", paint.dim(remark)),
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::view::{Columns, Drop, LinkStats, Tally};

    fn sample() -> view::Stats {
        let link = |ifname: &str, up, n: u64| LinkStats {
            ifname: ifname.into(),
            kind: "packet".into(),
            up,
            rx_packets: n,
            rx_bytes: n * 1_500,
            rx_dropped: n / 10,
            rx_missed: n % 10,
            tx_packets: n * 2,
            tx_bytes: n * 3_000,
            tx_dropped: 0,
            driver: None,
        };
        let driver = |name: &str, fallback: Option<&str>| {
            let (name, asked) = (name.into(), "auto".into());
            Some(view::Driver { name, asked, fallback: fallback.map(str::to_owned) })
        };
        let drop = |name: &str, text: &str, received, originated| Drop {
            name: name.into(),
            text: text.into(),
            received,
            originated,
        };
        let tally = |name: &str, text: &str, value| Tally { name: name.into(), text: text.into(), value };
        view::Stats {
            name: "gw".into(),
            version: "0.1.0".into(),
            uptime: 3_723.4,
            columns: Columns {
                received: Column {
                    entered: 1_234_567,
                    sent: 1_234_000,
                    delivered: 555,
                    parked: 2,
                    dropped: 10,
                    imbalance: 0,
                },
                originated: Column { entered: 40, sent: 39, dropped: 1, ..Column::default() },
            },
            drops: vec![
                drop("no_route", "no route to the destination", 10, 0),
                drop("ttl_exceeded", "the TTL or hop limit ran out", 0, 0),
                drop("neighbor_failed", "the next hop did not answer", 0, 1),
            ],
            tallies: vec![
                tally("forwarded", "packets forwarded from one link to another or back", 1_234_000),
                tally("fragmented", "packets cut into fragments on the way out", 0),
            ],
            links: vec![
                link("lo", true, 0),
                LinkStats { driver: driver("ring", None), ..link("lan", true, 1_234_567_890_123) },
                LinkStats { driver: driver("socket", Some("no ring")), ..link("wan", false, 77) },
            ],
            conntrack: view::FlowTable {
                families: vec!["ipv4".into(), "ipv6".into()],
                flows: 1_234,
                max: 262_144,
                memory: 3_145_728,
            },
        }
    }

    #[test]
    fn what_is_zero_is_left_out() {
        let expected = "\
gw  sekisho 0.1.0, up 1h 02m 03s

packets         received  originated
entered          1234567          40
sent             1234000          39
delivered            555           0
parked                 2           0
dropped               10           1

link             rx packets             bytes       dropped      missed     tx packets             bytes     dropped
lo                        0                 0             0           0              0                 0           0
lan           1234567890123  1851851835184500  123456789012           3  2469135780246  3703703670369000           0
wan                      77            115500             7           7            154            231000           0  down

driver
lan           ring
wan           socket (no ring)

conntrack          flows         max       bytes
ipv4 ipv6           1234      262144     3145728

drops              received  originated
no_route                 10           0  no route to the destination
neighbor_failed           0           1  the next hop did not answer

counts
forwarded        1234000  packets forwarded from one link to another or back
";
        let said = text(&sample(), false, Paint::plain());
        assert_eq!(said, expected, "\n{said}");
    }

    #[test]
    fn all_is_all() {
        let said = text(&sample(), true, Paint::plain());
        assert!(
            said.contains("ttl_exceeded") && said.contains("fragmented") && !said.contains("\non the way")
        );
        let mut busy = sample();
        busy.columns.received.imbalance = -3;
        assert!(text(&busy, false, Paint::plain()).contains("on the way            -3           0"));
    }

    #[test]
    fn times_are_as_exact_as_they_are_short() {
        let all = [6.74, 306.0, 14_706.9, 273_906.0].map(uptime);
        assert_eq!(all, ["6.7s", "5m 06s", "4h 05m 06s", "3d 04h 05m"]);
    }
}
