//! How the demo looks.

use super::LINKS;
use crate::base::counters::Totals;
use crate::base::{Column, DropReason, Event};
use crate::cli::{Failure, Paint, say};
use crate::path::TraceRecord;
use crate::run::Running;

/// The drawing: who is where.
const DRAWING: &str = "
       client                    sekisho                     server
    ┌──────────┐    lan   ┌─────────────────────┐   wan    ┌──────────┐
    │ 10.1.0.2 ├──────────┤ 10.1.0.1   10.2.0.1 ├──────────┤ 10.2.0.2 │
    │ fd01::2  │ MTU 1500 │ fd01::1    fd02::1  │ MTU 1400 │ fd02::2  │
    └──────────┘          └─────────────────────┘          └──────────┘";

/// What this is.
pub(super) fn title(paint: Paint) -> Result<(), Failure> {
    let name = paint.bold(concat!("Sekisho ", env!("CARGO_PKG_VERSION")));
    say(format_args!("\n  {name}: a userspace router between two hosts, each in a namespace of its own"))?;
    say(DRAWING)
}

/// A part of the show, and whose command shows the same.
pub(super) fn heading(paint: Paint, what: &str, aside: &str) -> Result<(), Failure> {
    say(format_args!("\n  {}  {}", paint.bold(what), paint.dim(aside)))
}

/// A probe's line.
pub(super) fn probe(paint: Paint, name: &str, good: bool, figure: &str) -> Result<(), Failure> {
    if good {
        say(format_args!("    {} {name:<32} {figure}", paint.green("✓")))
    } else {
        say(format_args!("    {} {name:<32} {}", paint.red("✗"), paint.red(figure)))
    }
}

/// Links, the ledger, and every drop with its reason.
pub(super) fn counters(running: &Running, paint: Paint) -> Result<(), Failure> {
    let t = running.router().totals();
    let snapshot = running.router().snapshot();
    say(paint.dim(format!("    {:<6} {:>12} {:>10}   {:>12} {:>10}", "link", "received", "", "sent", "")))?;
    for id in LINKS {
        let (Some(link), Some(c)) = (snapshot.links.get(id), t.links.get(id.index())) else { continue };
        say(format_args!(
            "    {:<6} {:>12} {:>10}   {:>12} {:>10}",
            link.name,
            grouped(c.rx_packets),
            bytes(c.rx_bytes),
            grouped(c.tx_packets),
            bytes(c.tx_bytes),
        ))?;
    }
    say("")?;
    say(format_args!("    {}", ledger(&t, Column::Received, "packets came in")))?;
    say(format_args!("    {}", ledger(&t, Column::Originated, "were made here")))?;
    for reason in DropReason::ALL.iter().filter(|r| t.drops(**r) > 0) {
        let (n, name) = (grouped(t.drops(*reason)), reason.name());
        say(format_args!("    {n:>12} {} {}", paint.yellow(format!("{name:<20}")), reason.text()))?;
    }
    Ok(())
}

/// `1,234 packets came in: 1,200 sent, 30 for the router, 0 waiting, 4 dropped`
fn ledger(t: &Totals, column: Column, what: &str) -> String {
    let balance = match t.imbalance(column) {
        0 => String::new(),
        n => format!(", {n} on their way"),
    };
    format!(
        "{:>12} {what}: {} sent, {} for the router, {} waiting, {} dropped{balance}",
        grouped(t.event(column, Event::Entered)),
        grouped(t.event(column, Event::Sent)),
        grouped(t.event(column, Event::Delivered)),
        grouped(t.parked(column)),
        grouped(t.all_drops(column)),
    )
}

/// The neighbor table in the words of `ip neigh`.
pub(super) fn neighbors(running: &Running) -> Result<(), Failure> {
    let snapshot = running.router().snapshot();
    for n in running.router().live().neighbors.entries(running.now()) {
        let dev = snapshot.links.get(n.link).map_or("?", |l| l.name.as_str());
        let mac = n.mac.map_or(String::new(), |m| format!("lladdr {m} "));
        say(format_args!("    {:<28} dev {dev:<4} {mac}{}", n.ip.to_string(), n.state))?;
    }
    Ok(())
}

/// The stages of one packet, a line each.
pub(super) fn followed(records: &[TraceRecord]) -> Result<(), Failure> {
    for r in records {
        say(format_args!("    {}", r.text))?;
    }
    Ok(())
}

/// `12,345`.
fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (i, d) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(d);
    }
    out
}

/// `1.2 GB`: decimal units, as rates have.
pub(super) fn bytes(n: u64) -> String {
    const UNITS: [(&str, f64); 4] = [("GB", 1e9), ("MB", 1e6), ("kB", 1e3), ("B", 1.0)];
    let n = n as f64;
    let (unit, size) = UNITS.into_iter().find(|(_, size)| n >= *size).unwrap_or(("B", 1.0));
    if size == 1.0 { format!("{n} B") } else { format!("{:.1} {unit}", n / size) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures() {
        assert_eq!([0, 12, 999, 1_000, 1_234_567].map(grouped), ["0", "12", "999", "1,000", "1,234,567"]);
        assert_eq!(
            [0, 999, 1_500, 2_000_000, 3_200_000_000].map(bytes),
            ["0 B", "999 B", "1.5 kB", "2.0 MB", "3.2 GB"]
        );
    }

    #[test]
    fn the_drawing_is_straight() {
        let boxes: Vec<usize> = DRAWING.lines().skip(2).map(|l| l.chars().count()).collect();
        assert!(boxes.iter().all(|n| *n == boxes[0]), "{boxes:?}");
    }
}
