//! CPU time: what moving a packet takes, fairly between a kernel and a process.
//!
//! A kernel forwards in softirq context, on whatever thread is interrupted: on a veth that is the sender's. A router
//! in user space does half of its work in the sender's system calls and the rest in its own threads. Counting a process's
//! time alone would flatter the one, counting softirq time the other, and a kernel without precise accounting
//! doesn't even know that. So all threads that can have to do with it are counted, to the nanosecond, and what they
//! take without a router is taken off:
//!
//! ```text
//!  used(x)  = the sender's thread + the router's processes + ksoftirqd       while `rate` packets a second are sent
//!  cost     = (used(with the router) - used(without)) / packets that arrived
//!  without  = the same traffic, counted and dropped by a Sink where it enters the router's namespace
//! ```
//!
//! What is left out is going idle and waking up. The whole machine's busy time (`/proc/stat`; exact on kernels with dynamic
//! ticks) has that too, and everything else: [`Use::machine_cost`] is for a machine that has nothing else to do.
//!
//! The traffic has to come from [`Method::PacketSocket`](super::Method), which sleeps between its bursts: the other generator
//! is busy at any rate, and hides what the kernel does on its CPU.

use std::fs;
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::rate::Throughput;
use super::{Doing as _, Generator, LoadError, Rate, Sink, Window};
use crate::lab::netns::process_cpu_time;

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
    /// The same with that of the sender's thread and the kernel's softirq threads.
    pub threads: Duration,
}

impl Use {
    /// CPU time a packet that arrived, of all threads that had to do with it, less that of the same traffic without a router;
    /// in nanoseconds. Not above 0 where more was used without.
    pub fn cost(&self, without: &Use) -> f64 {
        self.more(without, |u| u.threads)
    }

    /// The same of the whole machine.
    pub fn machine_cost(&self, without: &Use) -> f64 {
        self.more(without, |u| u.machine)
    }

    fn more(&self, without: &Use, time: impl Fn(&Use) -> Duration) -> f64 {
        let a_second = |u: &Use| time(u).as_secs_f64() / u.traffic.elapsed.as_secs_f64().max(1e-9);
        (a_second(self) - a_second(without)) * 1e9 / self.traffic.rate().max(1e-9)
    }

    /// CPU time of the named processes alone a packet that arrived, in nanoseconds.
    pub fn process_cost(&self) -> f64 {
        self.processes.as_secs_f64() * 1e9 / self.traffic.received.max(1) as f64
    }
}

/// Sends at a rate and measures what some processes, the sender and the machine take meanwhile. The generator is off
/// afterwards.
pub fn measure(
    generator: &Generator,
    sink: &Sink,
    rate: u64,
    window: Window,
    processes: &[u32],
) -> Result<Use, LoadError> {
    let softirq = softirq_threads();
    generator.set_rate(Rate::PerSecond(rate))?;
    generator.wait_until_sending()?;
    sleep(window.warm_up);
    let read = || {
        let own = process_time(processes);
        let threads = own + process_time(&softirq) + generator.cpu_time();
        Ok::<_, LoadError>((generator.sent()?, sink.packets()?, own, threads))
    };
    let (before, start) = (read()?, Reading::now()?);
    sleep(window.length);
    let (after, end) = (read()?, Reading::now()?);
    generator.set_rate(Rate::Off)?;
    let [machine, elapsed] = end.since(&start);
    let traffic = Throughput { sent: after.0 - before.0, received: after.1 - before.1, elapsed };
    let [processes, threads] = [after.2.saturating_sub(before.2), after.3.saturating_sub(before.3)];
    Ok(Use { traffic, machine, processes, threads })
}

/// CPU time of processes, their threads included; nothing of those that have ended.
pub fn process_time(processes: &[u32]) -> Duration {
    processes.iter().filter_map(|pid| process_cpu_time(*pid).ok()).sum()
}

/// The kernel's threads that do the softirq work that got too much for whoever was interrupted, one a CPU.
fn softirq_threads() -> Vec<u32> {
    let is_one = |pid: &u32| {
        fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.starts_with("ksoftirqd/"))
    };
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter(is_one).collect()
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
        assert_eq!(process_time(&[u32::MAX]), Duration::ZERO);
    }

    #[test]
    fn a_busy_thread_is_seen() {
        let (start, own) = (Reading::now().unwrap(), process_time(&[std::process::id()]));
        let began = Instant::now();
        while process_time(&[std::process::id()]) < own + Duration::from_millis(50) {
            assert!(began.elapsed() < Duration::from_secs(60));
        }
        let [busy, elapsed] = Reading::now().unwrap().since(&start);
        assert!(busy >= Duration::from_millis(20), "{busy:?} of {elapsed:?}");
    }

    #[test]
    fn the_cost_is_what_the_router_adds() {
        let used = |millis, received| Use {
            traffic: Throughput { sent: received, received, elapsed: Duration::from_secs(1) },
            machine: Duration::from_millis(millis),
            threads: Duration::from_millis(millis / 2),
            processes: Duration::from_millis(30),
        };
        assert!((used(150, 100_000).machine_cost(&used(50, 100_000)) - 1000.0).abs() < 1e-6);
        assert!((used(150, 100_000).cost(&used(50, 100_000)) - 500.0).abs() < 1e-6);
        assert!((used(150, 100_000).process_cost() - 300.0).abs() < 1e-6);
    }
}
