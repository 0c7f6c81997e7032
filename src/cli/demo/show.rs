//! How the demo looks.

use super::LINKS;
use crate::base::counters::Totals;
use crate::base::{Column, DropReason, Event};
use crate::cli::trace::block;
use crate::cli::{Failure, Paint, grouped, say};
use crate::conntrack::text;
use crate::control::protocol::Explanation;
use crate::filter::{Family, Rule, Target, iptables};
use crate::path::trace::Record;
use crate::run::Running;

/// The drawing: who is where.
const DRAWING: &str = "
        inside                    sekisho                       outside
    ┌──────────┐    lan   ┌────────────────────────┐   wan    ┌───────────────────────┐
    │ 10.1.0.2 ├──────────┤ 10.1.0.1   203.0.113.1 ├──────────┤ 203.0.113.80   server │
    │ fd01::2  │ MTU 1500 │ NAT, stateful firewall │ MTU 1400 │ 203.0.113.66 stranger │
    └──────────┘          └────────────────────────┘          └───────────────────────┘";

/// What this is.
pub(super) fn title(paint: Paint) -> Result<(), Failure> {
    let name = paint.bold(concat!("Sekisho ", env!("CARGO_PKG_VERSION")));
    say(format_args!(
        "\n  {name}: a home gateway in userspace, inside and outside each in a namespace of its own"
    ))?;
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

/// The flow table as `conntrack -L` has it, the first of each protocol.
pub(super) fn flows(running: &Running) -> Result<(), Failure> {
    let (table, now) = (&running.router().live().conntrack, running.now());
    let mut lines: Vec<String> = Vec::new();
    table.each(now, &mut |_, flow| lines.push(text::line(flow, now, false).to_string()));
    // By protocol, and among those the ones that last longest.
    lines.sort_by(|a, b| {
        let key = |line: &str| {
            let mut words = line.split_whitespace();
            let proto: u8 = words.nth(1).and_then(|w| w.parse().ok()).unwrap_or(0);
            (proto, std::cmp::Reverse(words.next().and_then(|w| w.parse::<u64>().ok())))
        };
        key(a).cmp(&key(b)).then_with(|| a.cmp(b))
    });
    let mut shown: Vec<(&str, usize)> = Vec::new();
    for line in &lines {
        let proto = line.split(' ').next().unwrap_or("");
        if shown.last().is_none_or(|(last, _)| *last != proto) {
            shown.push((proto, 0));
        }
        let Some((_, n)) = shown.last_mut() else { continue };
        *n += 1;
        if *n <= OF_A_KIND {
            say(format_args!("    {line}"))?;
        }
    }
    let rest: usize = shown.iter().map(|(_, n)| n.saturating_sub(OF_A_KIND)).sum();
    if rest > 0 {
        say(format_args!("    … and {rest} more"))?;
    }
    Ok(())
}

/// Flows of one protocol that are shown.
const OF_A_KIND: usize = 3;

/// Every rule that dropped something, with its place and what it counted; gives how many there are.
pub(super) fn dropping(running: &Running, paint: Paint) -> Result<usize, Failure> {
    let snapshot = running.router().snapshot();
    let mut rules = 0;
    for (family, name) in [(Family::V4, "iptables"), (Family::V6, "ip6tables")] {
        let Some(ruleset) = snapshot.hooks.rules(family).map(|program| program.ruleset()) else { continue };
        for table in &ruleset.tables {
            for chain in &table.chains {
                let dropped = |(_, r): &(usize, &Rule)| r.target == Target::Drop && r.counters.packets > 0;
                for (i, rule) in chain.rules.iter().enumerate().filter(dropped) {
                    rules += 1;
                    let (table, chain, n) = (table.name.name(), &chain.name, i + 1);
                    let place = paint.yellow(format!("{name} {table} {chain} rule {n}"));
                    let c = &rule.counters;
                    let text = iptables::rule(rule, chain, family);
                    say(format_args!("    {place}: {} packets, {} bytes", c.packets, c.bytes))?;
                    say(format_args!("        {text}"))?;
                }
            }
        }
    }
    Ok(rules)
}

/// The ways of packets, a block each.
pub(super) fn followed(paint: Paint, records: &[Record]) -> Result<(), Failure> {
    for record in records {
        for line in block(paint, record) {
            say(format_args!("    {line}"))?;
        }
    }
    Ok(())
}

/// What would become of a packet.
pub(super) fn explained(paint: Paint, told: &Explanation) -> Result<(), Failure> {
    crate::cli::explain::text(told, None, paint).lines().try_for_each(|line| say(format_args!("    {line}")))
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
