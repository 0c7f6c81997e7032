//! `sekisho stats`: every counter of a running router.

use std::fmt::Write as _;
use std::process::ExitCode;

use super::router::Control;
use super::table::Table;
use super::{Outcome, Paint, Run, say};
use crate::control::protocol::Verb;
use crate::control::view::{self, Column};

/// Show what became of every packet: the router's counters.
///
/// The ledger has two columns: packets that came in, and packets the router made (ICMP, ARP, its local stack, further
/// fragments and segments). In each, what entered was sent, delivered here, waits (for a neighbor or for other
/// fragments), or was dropped for a reason with a name. What is missing, `on the way`, is in the router's hands
/// at this moment, and 0 when it is idle.
///
/// Then follow the links; the hooks, each with the packets that came to it and what became of them; the workers, with the
/// share of their time that they were busy over the last five seconds and how many packets came at once; the flow
/// table; the ports that NAT has given away, of each outer address; the drops by stage and by reason; and what else is counted.
///
/// Zero counters are left out unless --all is given. -j prints everything, zeros included, as one JSON object.
/// `sekisho top` shows the same live, and `[router] metrics` in the configuration gives it to Prometheus.
#[derive(Debug, clap::Args)]
pub(super) struct Stats {
    /// Print JSON, for programs
    #[arg(short, long)]
    json: bool,
    /// Show counters that are zero, too
    #[arg(short, long)]
    all: bool,
    #[command(flatten)]
    control: Control,
}

impl Run for Stats {
    fn run(self) -> Outcome {
        let mut client = self.control.client()?;
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
    hooks(&mut out, s, all, paint);
    workers(&mut out, s, paint);
    tables(&mut out, s, paint);
    flow_table(&mut out, s, paint);
    nat(&mut out, s, paint);
    stages(&mut out, s, paint);
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

fn hooks(out: &mut String, s: &view::Stats, all: bool, paint: Paint) {
    let mut table = Table::new(&["hook", "seen", "passed", "dropped", "held"]);
    for h in s.hooks.iter().filter(|h| all || h.seen != 0) {
        table.row(&h.hook, &[h.seen, h.passed, h.dropped, h.held].map(i128::from), "");
    }
    table.write(out, paint);
}

fn workers(out: &mut String, s: &view::Stats, paint: Paint) {
    let mut table = Table::new(&["worker", "busy", "at once", "rx packets", "tx packets", "batches"]);
    for w in &s.workers {
        let mut cells = vec![format!("{:.1}%", w.busy * 100.0), format!("{:.1}", w.packets_per_batch)];
        cells.extend([w.rx_packets, w.tx_packets, w.batches].map(|n| n.to_string()));
        table.cells(&w.worker.to_string(), cells, "");
    }
    table.write(out, paint);
}

/// How full the other tables are, and who talks to the router.
fn tables(out: &mut String, s: &view::Stats, paint: Paint) {
    let mut table = Table::new(&["tables", "entries", ""]);
    for (family, routes) in [("ipv4", s.routes.ipv4), ("ipv6", s.routes.ipv6)] {
        let local = format!("and {} local", routes.local);
        table.row(&format!("routes {family}"), &[routes.main.into()], &local);
    }
    for family in ["ipv4", "ipv6"] {
        let of: Vec<_> = s.neighbors.iter().filter(|n| n.family == family).collect();
        let states: Vec<_> = of.iter().map(|n| format!("{} {}", n.neighbors, n.state)).collect();
        let sum = of.iter().map(|n| i128::from(n.neighbors)).sum();
        table.row(&format!("neighbors {family}"), &[sum], &states.join(", "));
    }
    let r = s.reassembly;
    if r.datagrams > 0 {
        table.row("reassembly", &[r.datagrams.into()], &format!("{} bytes", r.memory));
    }
    let c = s.control;
    let said = format!("{} requests, {} sent away, {} transactions", c.requests, c.refused, c.transactions);
    table.row("control clients", &[c.clients.into()], &said);
    table.write(out, paint);
}

/// What is translated, and the ports in use.
fn nat(out: &mut String, s: &view::Stats, paint: Paint) {
    let n = &s.nat;
    if n.source + n.destination > 0 {
        let mut table = Table::new(&["nat", "flows", ""]);
        let part = if n.complete { "" } else { "at least: the flow table is larger than what is looked at" };
        table.row("source", &[n.source.into()], part);
        table.row("destination", &[n.destination.into()], part);
        table.write(out, paint);
    }
    let mut table = Table::new(&["nat ports", "in use", "of", "flows"]);
    for p in &n.ports {
        table.row(&format!("{} {}", p.address, p.protocol), &[p.used, p.of, p.flows].map(i128::from), "");
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
        let mut table = Table::new(&["flows", "", ""]);
        for k in &t.kinds {
            table.row(&k.protocol, &[k.flows.into()], &k.state);
        }
        table.write(out, paint);
    }
}

/// The drops of each stage, where there are any.
fn stages(out: &mut String, s: &view::Stats, paint: Paint) {
    let mut sums: Vec<(&str, [i128; 2])> = Vec::new();
    for d in s.drops.iter().filter(|d| d.received != 0 || d.originated != 0) {
        // Reasons of one stage stand together.
        if sums.last().is_none_or(|(stage, _)| *stage != d.stage) {
            sums.push((&d.stage, [0; 2]));
        }
        if let Some((_, [received, originated])) = sums.last_mut() {
            *received += i128::from(d.received);
            *originated += i128::from(d.originated);
        }
    }
    let mut table = Table::new(&["stage", "received", "originated"]);
    for (stage, sums) in &sums {
        table.row(stage, sums, "");
    }
    table.write(out, paint);
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
pub(super) fn uptime(seconds: f64) -> String {
    let whole = seconds as u64;
    let (d, h, m, s) = (whole / 86_400, whole / 3_600 % 24, whole / 60 % 60, whole % 60);
    match (d, h, m) {
        (0, 0, 0) => format!("{seconds:.1}s"),
        (0, 0, _) => format!("{m}m {s:02}s"),
        (0, _, _) => format!("{h}h {m:02}m {s:02}s"),
        _ => format!("{d}d {h:02}h {m:02}m"),
    }
}

#[cfg(test)]
mod tests;
