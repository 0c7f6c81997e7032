//! The counters of `-s`; columns grow with what is in them.

use std::fmt::Write;

use super::super::words::Options;
use super::newline;
use crate::control::view::Stats64;

/// What went one way.
struct Row {
    name: &'static str,
    titles: [&'static str; 6],
    values: [u64; 6],
    /// Of those that `-s -s` has besides, which all are 0.
    errors: [&'static str; 5],
}

/// Writes them behind a link. What is counted of errors in detail, with `-s -s`, no link here counts.
pub(super) fn write(out: &mut String, s: &Stats64, opts: &Options) {
    let (rx, tx) = (&s.rx, &s.tx);
    let newline = newline(opts);
    let received = [rx.bytes, rx.packets, rx.errors, rx.dropped, rx.over_errors, rx.multicast];
    let sent = [tx.bytes, tx.packets, tx.errors, tx.dropped, tx.carrier_errors, tx.collisions];
    let mut width = [10, 7, 6, 7, 7, 7];
    for values in [received, sent] {
        for (w, n) in width.iter_mut().zip(values) {
            *w = (*w).max(n.to_string().len());
        }
    }
    let rows = [
        Row {
            name: "RX",
            titles: ["bytes", "packets", "errors", "dropped", "missed", "mcast"],
            values: received,
            errors: ["length", "crc", "frame", "fifo", "overrun"],
        },
        Row {
            name: "TX",
            titles: ["bytes", "packets", "errors", "dropped", "carrier", "collsns"],
            values: sent,
            errors: ["aborted", "fifo", "window", "heartbt", "transns"],
        },
    ];
    for Row { name, titles, values, errors } in rows {
        let _ = write!(out, "{newline}    {name}: {:>w$}", titles[0], w = width[0] - 4);
        for (title, w) in titles.iter().zip(width).skip(1) {
            let _ = write!(out, " {title:>w$}");
        }
        // iproute2's column for compressed packets, which it leaves empty.
        let _ = write!(out, " {:10}{newline}    ", "");
        for (value, w) in values.iter().zip(width) {
            let _ = write!(out, "{:>w$} ", number(*value, opts));
        }
        if opts.stats > 1 {
            let indent = width[0] + 1;
            let _ = write!(out, "{newline}    {name} errors:{:w$}", "", w = width[0] - 10);
            for (title, w) in errors.iter().zip(width.into_iter().skip(1)) {
                let _ = write!(out, " {title:>w$}");
            }
            let _ = write!(out, "{newline}    {:indent$}", "");
            for w in width.into_iter().skip(1).take(errors.len()) {
                let _ = write!(out, "{:>w$} ", 0);
            }
        }
    }
}

/// A number; with `-h` a large one as `1.23M`, with `-iec` too as `1.18Mi` (`print_num`).
fn number(n: u64, opts: &Options) -> String {
    let base: u64 = if opts.iec { 1024 } else { 1000 };
    if !opts.human || n < base {
        return n.to_string();
    }
    let (mut power, mut unit) = (1, 'k');
    for next in "kMGTPE".chars() {
        power *= base;
        unit = next;
        if n / base < power {
            break;
        }
    }
    let whole = n / power;
    let precision = if whole < 10 { 2 } else { usize::from(whole < 100) };
    let i = if opts.iec { "i" } else { "" };
    // Digits behind the seventeenth are nobody's.
    let value = n as f64 / power as f64;
    format!("{value:.precision$}{unit}{i}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_numbers_are_shortened_as_in_iproute2() {
        // As `ip -s -h link` and `ip -s -iec link` printed them.
        let (human, iec) = (
            Options { human: true, ..Options::default() },
            Options { human: true, iec: true, ..Options::default() },
        );
        for (n, by_1000, by_1024) in [
            (999, "999", "999"),
            (1_000, "1.00k", "1000"),
            (12_345, "12.3k", "12.1ki"),
            (1_234_567, "1.23M", "1.18Mi"),
            (123_456_789, "123M", "118Mi"),
        ] {
            assert_eq!((number(n, &human), number(n, &iec)), (by_1000.into(), by_1024.into()), "{n}");
            assert_eq!(number(n, &Options::default()), n.to_string());
        }
    }
}
