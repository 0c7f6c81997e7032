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
//! What is left out is going idle and waking up. The whole machine's busy time (`/proc/stat`) has that too, and everything
//! else that the machine does.
//!
//! The traffic has to come from [`Method::PacketSocket`](super::Method), which sleeps between its bursts: the other generator
//! is busy at any rate, and hides what the kernel does on its CPU.

use std::fs;
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::rate::Throughput;
use super::{Generator, LoadError, Rate, Sink, Window};
use crate::lab::netns::process_cpu_time;

/// What traffic at a fixed rate takes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Use {
    /// What was sent and what arrived.
    pub traffic: Throughput,
    /// CPU time of the processes that were named, user and system.
    pub processes: Duration,
    /// The same with that of the sender's thread and the kernel's softirq threads.
    pub threads: Duration,
}

impl Use {
    /// CPU time a packet that arrived, of all threads that had to do with it, less that of the same traffic without a router;
    /// in nanoseconds. Not above 0 where more was used without.
    pub fn cost(&self, without: &Use) -> f64 {
        let a_second = |u: &Use| u.threads.as_secs_f64() / u.traffic.elapsed.as_secs_f64().max(1e-9);
        (a_second(self) - a_second(without)) * 1e9 / self.traffic.rate().max(1e-9)
    }
}

/// Sends at a rate and measures what some processes, the sender and softirqs take meanwhile. The generator is off
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
    let (before, start) = (read()?, Instant::now());
    sleep(window.length);
    let (after, elapsed) = (read()?, start.elapsed());
    generator.set_rate(Rate::Off)?;
    let traffic = Throughput { sent: after.0 - before.0, received: after.1 - before.1, elapsed };
    let [processes, threads] = [after.2.saturating_sub(before.2), after.3.saturating_sub(before.3)];
    Ok(Use { traffic, processes, threads })
}

/// CPU time of processes, their threads included; nothing of those that have ended.
fn process_time(processes: &[u32]) -> Duration {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_busy_process_is_seen_and_one_that_has_ended_is_not() {
        let own = process_time(&[std::process::id()]);
        let deadline = Instant::now() + Duration::from_secs(60);
        while process_time(&[std::process::id()]) == own {
            assert!(Instant::now() < deadline, "its time stands still");
        }
        assert_eq!(process_time(&[u32::MAX]), Duration::ZERO);
    }

    #[test]
    fn the_cost_is_what_the_router_adds() {
        let used = |millis, received| Use {
            traffic: Throughput { sent: received, received, elapsed: Duration::from_secs(1) },
            threads: Duration::from_millis(millis),
            processes: Duration::from_millis(30),
        };
        assert!((used(150, 100_000).cost(&used(50, 100_000)) - 1000.0).abs() < 1e-6);
    }
}
