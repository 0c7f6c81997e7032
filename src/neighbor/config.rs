//! The neighbor table's settings.

use std::time::Duration;

/// Times, counts and limits, each after its sysctl under `net.ipv4.neigh.default` and
/// `net.ipv6.neigh.default`. The default is Linux's (6.18).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// `base_reachable_time_ms`: how long a confirmation holds. What is used is drawn from half to
    /// one and a half times this, anew every five minutes (RFC 4861 §6.3.2).
    pub reachable: Duration,
    /// `retrans_time_ms`: between solicits.
    pub retrans: Duration,
    /// `delay_first_probe_time`: for a confirmation from above, before a stale neighbor is probed.
    pub delay_first_probe: Duration,
    /// `ucast_solicit`: unicast probes before a neighbor has failed.
    pub ucast_probes: u8,
    /// `mcast_solicit`: broadcast or multicast solicits before a neighbor has failed; at least 1.
    pub mcast_probes: u8,
    /// `locktime`: how long the first of several ARP replies stands against the others. Linux has
    /// it for ARP only.
    pub locktime: Duration,
    /// `gc_stale_time`: a stale neighbor unused for this long may be collected.
    pub gc_stale: Duration,
    /// `gc_interval`: between collections.
    pub gc_interval: Duration,
    /// `gc_thresh1`, per family: below it nothing is collected.
    pub gc_thresh1: usize,
    /// `gc_thresh2`, per family: above it newcomers push out what is not in use.
    pub gc_thresh2: usize,
    /// `gc_thresh3`, per family: there are never more, permanent ones not counted.
    pub gc_thresh3: usize,
    /// `unres_qlen_bytes`: bytes of memory in the packets that wait for one neighbor. The latest
    /// packet waits even if it is larger.
    pub queue_bytes: usize,
    /// Bytes of memory in all packets that wait, so that a scan can't fill the memory. Linux has no
    /// such limit.
    pub total_bytes: usize,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            reachable: Duration::from_secs(30),
            retrans: Duration::from_secs(1),
            delay_first_probe: Duration::from_secs(5),
            ucast_probes: 3,
            mcast_probes: 3,
            locktime: Duration::from_secs(1),
            gc_stale: Duration::from_secs(60),
            gc_interval: Duration::from_secs(30),
            gc_thresh1: 128,
            gc_thresh2: 512,
            gc_thresh3: 1024,
            queue_bytes: 212_992,
            total_bytes: 16 << 20,
        }
    }
}
