//! What a run was made on and with, as far as the machine says so.

use std::fs;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// The machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// The processor's name.
    pub cpu: String,
    /// How many of them this process may use.
    pub cpus: usize,
    /// The memory, in bytes.
    pub memory: u64,
    /// The kernel's release.
    pub kernel: String,
    /// Whether a hypervisor is under it.
    pub virtual_machine: bool,
    /// Whether the run was made with root's rights, or as root in a user namespace.
    pub root: bool,
}

impl Machine {
    /// This one.
    pub fn here() -> Self {
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        let (cpuinfo, meminfo) = (read("/proc/cpuinfo"), read("/proc/meminfo"));
        let field = |text: &str, name: &str| {
            let line = text.lines().find(|l| l.split(':').next().is_some_and(|f| f.trim() == name));
            line.and_then(|l| l.split_once(':')).map(|(_, v)| v.trim().to_owned())
        };
        let kibibytes: u64 = field(&meminfo, "MemTotal")
            .and_then(|v| v.split_whitespace().next().and_then(|n| n.parse().ok()))
            .unwrap_or(0);
        let flags = field(&cpuinfo, "flags").unwrap_or_default();
        Machine {
            cpu: field(&cpuinfo, "model name").unwrap_or_else(|| std::env::consts::ARCH.into()),
            cpus: std::thread::available_parallelism().map_or(1, usize::from),
            memory: kibibytes << 10,
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            virtual_machine: flags.split(' ').any(|f| f == "hypervisor"),
            // A user namespace's map is not the whole range onto itself.
            root: read("/proc/self/uid_map").split_whitespace().eq(["0", "0", "4294967295"]),
        }
    }
}

/// The commit this was built from, where the build knew it.
pub fn commit() -> Option<&'static str> {
    option_env!("SEKISHO_COMMIT").filter(|c| !c.is_empty())
}

/// This moment in UTC, as RFC 3339 has it.
pub fn now() -> String {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    timestamp(since.as_secs())
}

/// Seconds since 1970 as a date and time; the calendar's rule is that of the Gregorian years from March on, which makes the
/// leap day the last.
fn timestamp(seconds: u64) -> String {
    let (days, time) = (seconds / 86_400, seconds % 86_400);
    // Days since 1 March of the year 0, in eras of 400 years (146,097 days).
    let shifted = days + 719_468;
    let (era, day) = (shifted / 146_097, shifted % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day_of_year = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let (month, carry) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    let year = era * 400 + year + carry;
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", time / 3_600, time / 60 % 60, time % 60)
}

/// Waits until the processors have little to do, so that what went before is not measured with what comes: a namespace is
/// taken apart after its last user has gone. At most `longest`; the machine may have other work.
pub fn settle(longest: Duration) {
    const LOOK: Duration = Duration::from_millis(20);
    /// Busy to this share at most.
    const QUIET: f64 = 0.15;
    let deadline = Instant::now() + longest;
    let Some(mut before) = times() else { return };
    loop {
        std::thread::sleep(LOOK);
        let Some(after) = times() else { return };
        let (busy, all) = (after.0.saturating_sub(before.0), after.1.saturating_sub(before.1));
        // The kernel counts in ticks: a window in which there was none says nothing.
        if all > 0 {
            if busy as f64 <= QUIET * all as f64 {
                return;
            }
            before = after;
        }
        if Instant::now() > deadline {
            return;
        }
    }
}

/// Ticks of all processors since the start: busy, and in all (proc_stat(5)).
fn times() -> Option<(u64, u64)> {
    let text = fs::read_to_string("/proc/stat").ok()?;
    let numbers: Vec<u64> =
        text.lines().next()?.split_whitespace().skip(1).filter_map(|w| w.parse().ok()).collect();
    let all: u64 = numbers.iter().take(8).sum();
    // idle and iowait.
    let idle = numbers.get(3)? + numbers.get(4)?;
    Some((all - idle.min(all), all))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (951_868_800, "2000-03-01T00:00:00Z"),
            (1_767_225_599, "2025-12-31T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(timestamp(seconds), text);
        }
    }

    #[test]
    fn the_machine_says_what_it_is() {
        let here = Machine::here();
        assert!(here.cpus > 0 && here.memory > 1 << 20 && here.kernel.contains('.'), "{here:?}");
        settle(Duration::from_millis(50));
    }
}
