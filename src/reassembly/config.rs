//! The reassembler's settings.

use std::time::Duration;

/// Limits and times, each after its sysctl under `net.ipv4` and `net.ipv6`. The default is Linux's (6.18).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// `ipfrag_high_thresh`: bytes of memory in incomplete IPv4 datagrams; beyond it the oldest go. (Linux
    /// refuses the newest; its `ipfrag_low_thresh` has had no effect since it does.)
    pub high4: usize,
    /// `ip6frag_high_thresh`: the same for IPv6.
    pub high6: usize,
    /// `ipfrag_time`: how long the first fragment to come waits for the others.
    pub timeout4: Duration,
    /// `ip6frag_time`: the same for IPv6 (60 s in RFC 8200 §4.5).
    pub timeout6: Duration,
    /// `ipfrag_max_dist`: a datagram starts anew if more fragments than these came from its source since its
    /// last one: the identification has likely been used again. IPv4 only; 0: no such check.
    pub max_dist: u32,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            high4: 4 << 20,
            high6: 4 << 20,
            timeout4: Duration::from_secs(30),
            timeout6: Duration::from_secs(60),
            max_dist: 64,
        }
    }
}
