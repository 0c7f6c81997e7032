//! The parts of the screen as words: for the terminal's tables and for text alike.
//!
//! Knows nothing of colours and places.

use std::fmt::Write as _;

use super::screen::Screen;
use crate::cli::Paint;
use crate::cli::stats::uptime;

/// A table: its columns, and rows of as many cells.
pub(super) struct Sheet {
    pub(super) columns: Vec<Column>,
    pub(super) rows: Vec<Vec<String>>,
}

/// A column.
pub(super) struct Column {
    pub(super) title: &'static str,
    /// Whether it is numbers.
    pub(super) right: bool,
}

/// Columns: a title that begins with `>` is one of numbers.
fn sheet(titles: &[&'static str], rows: Vec<Vec<String>>) -> Sheet {
    let column = |t: &&'static str| match t.strip_prefix('>') {
        Some(title) => Column { title, right: true },
        None => Column { title: t, right: false },
    };
    Sheet { columns: titles.iter().map(column).collect(), rows }
}

impl Sheet {
    /// How wide each column is.
    pub(super) fn widths(&self) -> Vec<usize> {
        let cell = |row: &Vec<String>, i: usize| row.get(i).map_or(0, |c| c.chars().count());
        let columns = self.columns.iter().enumerate();
        columns
            .map(|(i, c)| self.rows.iter().map(|r| cell(r, i)).chain([c.title.len()]).max().unwrap_or(0))
            .collect()
    }

    fn write(&self, out: &mut String, paint: Paint) {
        if self.rows.is_empty() {
            return;
        }
        let widths = self.widths();
        let line = |cells: &mut dyn Iterator<Item = &str>| {
            let mut text = String::new();
            for ((cell, column), w) in cells.zip(&self.columns).zip(&widths) {
                let _ = match column.right {
                    true => write!(text, "{cell:>w$}  "),
                    false => write!(text, "{cell:<w$}  "),
                };
            }
            text.trim_end().to_owned()
        };
        let titles = line(&mut self.columns.iter().map(|c| c.title));
        let _ = writeln!(out, "\n{}", paint.dim(titles));
        for row in &self.rows {
            let _ = writeln!(out, "{}", line(&mut row.iter().map(String::as_str)));
        }
    }
}

/// The whole screen as text.
pub(super) fn text(s: &Screen, most: usize, paint: Paint) -> String {
    let mut out = String::new();
    let (name, rest) = head(s);
    let _ = writeln!(out, "{}  {rest}", paint.bold(name));
    links(s).write(&mut out, paint);
    workers(s).write(&mut out, paint);
    let _ = write!(out, "\n{}\n", tables(s).join("\n"));
    drops(s).write(&mut out, paint);
    let flows = flows(s, most);
    let _ = writeln!(out, "\n{}", flows_title(s));
    flows.write(&mut out, paint);
    out
}

/// The router's name, and how it does.
pub(super) fn head(s: &Screen) -> (String, String) {
    let Some(now) = &s.now else { return ("…".into(), "waiting for the router".into()) };
    let r = s.all();
    let rest = format!(
        "{}sekisho {}, up {}   in {} pkt/s {} bit/s   out {} pkt/s {} bit/s   drops {}/s",
        if s.paused { "PAUSED   " } else { "" },
        now.version,
        uptime(now.uptime),
        si(r.rx_packets),
        si(r.rx_bits),
        si(r.tx_packets),
        si(r.tx_bits),
        si(s.drops().iter().fold(0.0, |sum, d| sum + d.1)),
    );
    (now.name.clone(), rest)
}

/// The links and their rates.
pub(super) fn links(s: &Screen) -> Sheet {
    let links = s.now.iter().flat_map(|n| &n.links);
    let row = |l: &crate::control::view::LinkStats| {
        let r = s.link(l);
        let numbers = [r.rx_packets, r.rx_bits, r.tx_packets, r.tx_bits, r.drops];
        let mut row = vec![l.ifname.clone()];
        row.extend(numbers.map(si));
        row.push(if l.up { s.sparkline(&l.ifname) } else { "down".into() });
        row
    };
    // The loopback is shown while something moves over it.
    let moves = |l: &&crate::control::view::LinkStats| l.kind != "loopback" || s.link(l).rx_packets > 0.0;
    sheet(
        &["LINK", ">in pkt/s", ">bit/s", ">out pkt/s", ">bit/s", ">drops/s", "bits in and out"],
        links.filter(moves).map(row).collect(),
    )
}

/// The workers and their load.
pub(super) fn workers(s: &Screen) -> Sheet {
    let workers = s.now.iter().flat_map(|n| &n.workers);
    let row = |w: &crate::control::view::WorkerStats| {
        let of = |s: &crate::control::view::Stats| {
            Some(s.workers.iter().find(|o| o.worker == w.worker)?.rx_packets)
        };
        vec![
            w.worker.to_string(),
            format!("{:.1}%", w.busy * 100.0),
            format!("{:.1}", w.packets_per_batch),
            si(s.rate(of)),
            bar(w.busy),
        ]
    };
    sheet(&["WORKER", ">busy", ">at once", ">in pkt/s", ""], workers.map(row).collect())
}

/// A share as a bar of twenty.
fn bar(share: f64) -> String {
    let full = (share.clamp(0.0, 1.0) * 20.0).round() as usize;
    "█".repeat(full) + &"░".repeat(20 - full)
}

/// How full the tables are, a line each.
pub(super) fn tables(s: &Screen) -> Vec<String> {
    let Some(now) = &s.now else { return Vec::new() };
    let hits = s.tally("flow_cache_hits");
    let came = s.rate(|s| {
        Some(
            s.links
                .iter()
                .filter(|l| l.kind != "loopback")
                .fold(0u64, |sum, l| sum.saturating_add(l.rx_packets)),
        )
    });
    let cached = if came > 0.0 { hits / came * 100.0 } else { 0.0 };
    let mut lines = Vec::new();
    let t = &now.conntrack;
    if t.families.is_empty() && t.flows == 0 {
        lines.push(format!("flows: not tracked   flow cache {cached:.0}%"));
    } else {
        lines.push(format!(
            "flows {} of {} ({:.1}%)   +{}/s   expired {}/s   evicted {}/s   flow cache {cached:.0}%",
            t.flows,
            t.max,
            t.flows as f64 / t.max.max(1) as f64 * 100.0,
            si(s.tally("flows_begun")),
            si(s.tally("flows_expired")),
            si(s.tally("flows_evicted")),
        ));
    }
    let mut ports: Vec<_> = now.nat.ports.iter().collect();
    ports.sort_by_key(|p| std::cmp::Reverse(p.used));
    if !ports.is_empty() {
        let port = |p: &&crate::control::view::NatPorts| {
            let share = p.used as f64 / p.of.max(1) as f64 * 100.0;
            format!("{} {} {} ({share:.1}%)", p.address, p.protocol, p.used)
        };
        let some: Vec<_> = ports.iter().take(3).map(port).collect();
        let more = if ports.len() > 3 { format!("   and {} more", ports.len() - 3) } else { String::new() };
        lines.push(format!("nat ports   {}{more}", some.join("   ")));
    }
    lines
}

/// What is dropped at this moment.
pub(super) fn drops(s: &Screen) -> Sheet {
    let row = |(name, rate, all): (String, f64, u64)| vec![name, si(rate), all.to_string()];
    sheet(&["DROPPED", ">pkt/s", ">in all"], s.drops().into_iter().map(row).collect())
}

/// What there is to say about the busiest flows.
pub(super) fn flows_title(s: &Screen) -> String {
    match (&s.no_flows, &s.flows) {
        (Some(why), _) => format!("busiest flows: {why}"),
        (None, None) => "busiest flows: waiting for the first".into(),
        (None, Some(f)) => {
            let how = match f.one_in {
                0 | 1 => "every packet".to_owned(),
                n => format!("sampled, 1 packet in {n}"),
            };
            let lost = if f.lost > 0 { format!(", {} samples lost", f.lost) } else { String::new() };
            let none = if f.flows.is_empty() { ": none" } else { "" };
            format!("busiest flows ({how}{lost}){none}")
        }
    }
}

/// The busiest flows.
pub(super) fn flows(s: &Screen, most: usize) -> Sheet {
    let seconds = s.flows.as_ref().map_or(1.0, |f| f.seconds.max(0.001));
    let row = |f: &&crate::control::view::BusyFlow| {
        let end = |addr: &str, port: u16| match (addr.contains(':'), port) {
            (_, 0) => addr.to_owned(),
            (true, port) => format!("[{addr}]:{port}"),
            (false, port) => format!("{addr}:{port}"),
        };
        let rate = |n: u64, each: f64| si(n as f64 * each / seconds);
        vec![
            f.protocol.clone(),
            end(&f.src, f.sport),
            end(&f.dst, f.dport),
            rate(f.original.bytes, 8.0),
            rate(f.reply.bytes, 8.0),
            rate(f.original.packets.saturating_add(f.reply.packets), 1.0),
            f.link.clone(),
            f.state.clone().unwrap_or_default(),
        ]
    };
    sheet(
        &["PROTO", "FROM", "TO", ">bit/s", ">back", ">pkt/s", "LINK", "STATE"],
        s.busiest().iter().take(most).map(row).collect(),
    )
}

/// A number in three digits or so: `0`, `12`, `1.2k`, `345M`.
pub(super) fn si(n: f64) -> String {
    const UNITS: [&str; 5] = ["", "k", "M", "G", "T"];
    let (mut n, mut unit) = (n, 0);
    // What rounds to a thousand is one of the next.
    while n >= 999.5 && unit < UNITS.len() - 1 {
        n /= 1_000.0;
        unit += 1;
    }
    let places = match (unit, n) {
        (0, n) if n.fract() == 0.0 || n >= 9.95 => 0,
        (_, n) if n >= 99.95 => 0,
        _ => 1,
    };
    format!("{n:.places$}{}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::super::screen::tests::screen;
    use super::*;

    #[test]
    fn numbers_are_short() {
        let all = [0.0, 0.4, 3.0, 12.3, 999.4, 999.6, 1_234.0, 45_678.0, 345_600_000.0, 1.5e12, 9.9e17];
        assert_eq!(
            all.map(si),
            ["0", "0.4", "3", "12", "999", "1.0k", "1.2k", "45.7k", "346M", "1.5T", "990000T"]
        );
    }

    #[test]
    fn a_screen_as_text() {
        let said = text(&screen(), 1, Paint::plain());
        let expected = "\
gw  sekisho 0.1.0, up 1m 43s   in 1.0M pkt/s 10.0G bit/s   out 2.0M pkt/s 1.0G bit/s   drops 2.0k/s

LINK  in pkt/s  bit/s  out pkt/s  bit/s  drops/s  bits in and out
lo           5  50.0k         10   5.0k        0  █
lan       1.0M  10.0G       2.0M   1.0G     1.0k  █
wan         10   100k         20  10.0k        0  █

WORKER   busy  at once  in pkt/s
0       34.5%     17.3      1.0M  ███████░░░░░░░░░░░░░

flows 1234 of 262144 (0.5%)   +120/s   expired 0/s   evicted 0/s   flow cache 90%
nat ports   192.0.2.1 tcp 6451 (10.0%)

DROPPED    pkt/s  in all
rp_filter   2.0k    6007
filtered      12      43

busiest flows (sampled, 1 packet in 64)

PROTO  FROM            TO                bit/s  back  pkt/s  LINK  STATE
tcp    10.1.0.2:40000  198.51.100.7:443  10.0M  4.0k   1.0k  lan   ESTABLISHED
";
        assert_eq!(said, expected, "\n{said}");
    }

    #[test]
    fn nothing_heard_yet() {
        let empty = Screen::new(super::super::Sort::Bits);
        assert!(text(&empty, 5, Paint::plain()).contains("waiting for the router"));
    }
}
