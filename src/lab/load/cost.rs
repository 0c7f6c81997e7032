//! CPU time: what moving a packet takes of the whole machine, fairly between a kernel and a process.
//!
//! A kernel forwards in interrupt context, on whatever thread is interrupted; a router in user space does
//! half of its work in the sender's system calls and half of it in its own. Counting a process's time would flatter the one
//! and counting softirq time the other, and a kernel without precise accounting can't even say. So the whole machine
//! is measured, by what is left of it: the time in which its CPUs had nothing to do (`/proc/stat`; exact on kernels with
//! dynamic ticks).
//!
//! ```text
//!  busy(x)  = CPUs * elapsed - idle                                 while `rate` packets a second are sent
//!  cost     = (busy(with the router) - busy(without)) / packets that arrived
//!  without  = the same traffic, counted and dropped by a Sink where it enters the router's namespace
//! ```
//!
//! The traffic has to come from [`Method::PacketSocket`](super::Method), which sleeps between its bursts: the other generator
//! is busy at any rate, and hides what the kernel does on its CPU. The machine must have nothing else to do.

use std::fs;
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::rate::Throughput;
use super::{Doing as _, Generator, LoadError, Rate, Sink, Window};

/// A moment's reading of the machine's clocks.
#[derive(Debug, Clone, Copy)]
pub struct Reading {
    at: Instant,
    cpus: u32,
    idle: Duration,
}

impl Reading {
    /// Now.
    pub fn now() -> Result<Self, LoadError> {
        let text = fs::read_to_string("/proc/stat").doing(|| "reading /proc/stat".into())?;
        let (cpus, idle) = idle_time(&text);
        Ok(Reading { at: Instant::now(), cpus, idle })
    }

    /// CPU time that was used since an earlier reading, by everybody, and the time that went by.
    pub fn since(&self, earlier: &Reading) -> [Duration; 2] {
        let elapsed = self.at.saturating_duration_since(earlier.at);
        [(elapsed * self.cpus).saturating_sub(self.idle.saturating_sub(earlier.idle)), elapsed]
    }
}

/// What traffic at a fixed rate takes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Use {
    /// What was sent and what arrived.
    pub traffic: Throughput,
    /// CPU time of the whole machine in the window.
    pub machine: Duration,
    /// CPU time of the processes that were named, user and system.
    pub processes: Duration,
}

impl Use {
    /// CPU time a packet that arrived, less that of the same traffic without a router; nanoseconds. Negative
    /// where the machine had more to do without.
    pub fn cost(&self, without: &Use) -> f64 {
        let a_second = |u: &Use| u.machine.as_secs_f64() / u.traffic.elapsed.as_secs_f64().max(1e-9);
        (a_second(self) - a_second(without)) * 1e9 / self.traffic.rate().max(1e-9)
    }

    /// CPU time of the named processes alone a packet that arrived, in nanoseconds.
    pub fn process_cost(&self) -> f64 {
        self.processes.as_secs_f64() * 1e9 / self.traffic.received.max(1) as f64
    }
}

/// Sends at a rate and measures what the machine and some processes take meanwhile. The generator is off afterwards.
pub fn measure(
    generator: &Generator,
    sink: &Sink,
    rate: u64,
    window: Window,
    processes: &[u32],
) -> Result<Use, LoadError> {
    generator.set_rate(Rate::PerSecond(rate))?;
    generator.wait_until_sending()?;
    sleep(window.warm_up);
    let counts = || Ok::<_, LoadError>((generator.sent()?, sink.packets()?, process_time(processes)));
    let (before, start) = (counts()?, Reading::now()?);
    sleep(window.length);
    let (after, end) = (counts()?, Reading::now()?);
    generator.set_rate(Rate::Off)?;
    let [machine, elapsed] = end.since(&start);
    let traffic = Throughput { sent: after.0 - before.0, received: after.1 - before.1, elapsed };
    Ok(Use { traffic, machine, processes: after.2.saturating_sub(before.2) })
}

/// User and system time of processes, their threads included; nothing of those that have ended.
pub fn process_time(processes: &[u32]) -> Duration {
    let stat = |pid: &u32| fs::read_to_string(format!("/proc/{pid}/stat")).ok();
    let ticks: u64 = processes.iter().filter_map(stat).filter_map(|s| busy_ticks(&s)).sum();
    Duration::from_millis(ticks * TICK_MILLIS)
}

/// Of `/proc/PID/stat` the fields 14 and 15, utime and stime (proc(5)). The name before them may hold anything.
fn busy_ticks(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(11).map(str::parse::<u64>);
    Some(fields.next()?.ok()? + fields.next()?.ok()?)
}

/// Of `/proc/stat`: how many CPUs there are, and how long all of them together were idle or waited for disks.
fn idle_time(stat: &str) -> (u32, Duration) {
    let lines = stat.lines().filter(|l| l.strip_prefix("cpu").is_some_and(|r| !r.starts_with(' ')));
    let idle = |line: &str| line.split_whitespace().skip(4).take(2).flat_map(str::parse::<u64>).sum::<u64>();
    let (cpus, ticks) = lines.map(idle).fold((0, 0), |(cpus, sum), ticks| (cpus + 1, sum + ticks));
    (cpus, Duration::from_millis(ticks * TICK_MILLIS))
}

/// `USER_HZ` is 100 on every Linux that Rust runs on.
const TICK_MILLIS: u64 = 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_the_kernel_are_read() {
        let stat =
            "cpu  1 2 3 70 5 6 7 0 0 0\ncpu0 1 2 3 30 4 0 0 0 0 0\ncpu1 0 0 0 40 1 6 7 0 0 0\nintr 9 1\n";
        assert_eq!(idle_time(stat), (2, Duration::from_millis(750)));
        let stat = "77 (a) b) S 1 2 3 4 5 6 7 8 9 10 250 50 0 0 20 0 1";
        assert_eq!(busy_ticks(stat), Some(300));
        assert_eq!(busy_ticks("77 (short) S 1"), None);
        assert_eq!(process_time(&[u32::MAX]), Duration::ZERO);
    }

    #[test]
    fn a_busy_thread_is_seen() {
        let (start, own) = (Reading::now().unwrap(), process_time(&[std::process::id()]));
        let began = Instant::now();
        while process_time(&[std::process::id()]) < own + Duration::from_millis(50) {
            assert!(began.elapsed() < Duration::from_secs(20));
        }
        let [busy, elapsed] = Reading::now().unwrap().since(&start);
        assert!(busy >= Duration::from_millis(20), "{busy:?} of {elapsed:?}");
    }

    #[test]
    fn the_cost_is_what_the_router_adds() {
        let used = |millis, received| Use {
            traffic: Throughput { sent: received, received, elapsed: Duration::from_secs(1) },
            machine: Duration::from_millis(millis),
            processes: Duration::from_millis(30),
        };
        assert!((used(150, 100_000).cost(&used(50, 100_000)) - 1000.0).abs() < 1e-6);
        assert!((used(150, 100_000).process_cost() - 300.0).abs() < 1e-6);
    }
}
