//! What `ip monitor` prints.

use super::text;
use super::words::{Options, Stamp};
use crate::control::view::{Event, Happening};

/// An event, to the end of its last line.
pub(super) fn line(e: &Event, opts: &Options, label: bool) -> String {
    if opts.json {
        return serde_json::to_string(e).map(|line| line + "\n").unwrap_or_default();
    }
    let (name, text) = match &e.what {
        Happening::Link(l) => ("[LINK]", text::link(l, opts, false)),
        Happening::Address(l) => ("[ADDR]", text::addresses(l, opts)),
        Happening::Route(r) => ("[ROUTE]", text::route(r, opts)),
        Happening::Neigh(n) => ("[NEIGH]", text::neighbor(n, opts)),
        Happening::Lost { .. } => return String::new(),
    };
    let stamp = match opts.stamp {
        None => String::new(),
        Some(Stamp::Long) => format!("Timestamp: {}\n", long(e.time)),
        Some(Stamp::Short) => format!("[{}] ", short(e.time)),
    };
    let label = if label { name } else { "" };
    let deleted = if e.deleted { "Deleted " } else { "" };
    format!("{stamp}{label}{deleted}{text}")
}

/// Microseconds since 1970 as asctime(3) writes them, with what it leaves out.
fn long(micros: u64) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let t = Civil::of(micros);
    let day = DAYS[(micros / DAY % 7) as usize];
    let month = MONTHS.get(t.month as usize - 1).copied().unwrap_or_default();
    let Civil { year, day: date, hour, minute, second, micros, .. } = t;
    format!("{day} {month} {date:2} {hour:02}:{minute:02}:{second:02} {year} {micros:06} usec")
}

fn short(micros: u64) -> String {
    let Civil { year, month, day, hour, minute, second, micros } = Civil::of(micros);
    format!("{year}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}")
}

/// Microseconds of a day.
const DAY: u64 = 86_400_000_000;

/// A moment in UTC.
struct Civil {
    year: u64,
    month: u64,
    day: u64,
    hour: u64,
    minute: u64,
    second: u64,
    micros: u64,
}

impl Civil {
    fn of(micros: u64) -> Self {
        // Counted in 400 years from the 1st of March of the year 0, when a leap day is the last of its year.
        let days = micros / DAY + 719_468;
        let (era, of_era) = (days / 146_097, days % 146_097);
        let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let from_march = (5 * of_year + 2) / 153;
        let day = of_year - (153 * from_march + 2) / 5 + 1;
        let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
        let year = year_of_era + era * 400 + u64::from(month <= 2);
        let second = micros % DAY / 1_000_000;
        Civil {
            year,
            month,
            day,
            hour: second / 3_600,
            minute: second / 60 % 60,
            second: second % 60,
            micros: micros % 1_000_000,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::view;

    #[test]
    fn times_are_those_of_iproute2() {
        // As `ip -t monitor` and `ip -ts monitor` printed them.
        assert_eq!(long(1_795_349_754_780_004), "Sun Nov 22 12:15:54 2026 780004 usec");
        assert_eq!(short(1_795_349_756_655_983), "2026-11-22T12:15:56.655983");
        assert_eq!(short(951_782_400_000_000), "2000-02-29T00:00:00.000000");
        assert_eq!(short(0), "1970-01-01T00:00:00.000000");
        assert_eq!(long(0), "Thu Jan  1 00:00:00 1970 000000 usec");
    }

    #[test]
    fn lines_are_those_of_iproute2() {
        let route: view::Route =
            serde_json::from_str(r#"{"dst":"10.9.0.0/16","gateway":"10.1.0.3","dev":"d0","flags":[]}"#)
                .unwrap();
        let e = Event { time: 0, deleted: true, what: Happening::Route(route) };
        let opts = Options::default();
        assert_eq!(line(&e, &opts, false), "Deleted 10.9.0.0/16 via 10.1.0.3 dev d0 \n");
        assert_eq!(line(&e, &opts, true), "[ROUTE]Deleted 10.9.0.0/16 via 10.1.0.3 dev d0 \n");
        let address: view::Link = serde_json::from_str(
            r#"{"ifindex":3,"ifname":"d0","flags":[],"mtu":0,"qdisc":"","operstate":"","group":"","addr_info":[{"family":"inet","local":"10.1.0.1","prefixlen":24,"scope":"global","label":"d0","valid_life_time":4294967295,"preferred_life_time":4294967295}]}"#,
        )
        .unwrap();
        let e = Event { time: 0, deleted: false, what: Happening::Address(address) };
        let said =
            "3: d0    inet 10.1.0.1/24 scope global d0\n       valid_lft forever preferred_lft forever\n";
        assert_eq!(line(&e, &opts, false), said);
        let json = line(&e, &Options { json: true, ..opts }, false);
        assert_eq!(serde_json::from_str::<Event>(&json).unwrap(), e);
    }
}
