//! What is measured: each metric's name, unit, direction and way of measuring, and the works that measure them.
//!
//! A work is one stretch of traffic through one rival that has been set up for it; it gives the values of one or more
//! metrics. Knows nothing of how traffic is made.

use super::ruleset::{Routes, Rules};

/// Which way is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Better {
    /// More is.
    Higher,
    /// Less is.
    Lower,
}

impl Better {
    /// As in the reports.
    pub fn name(self) -> &'static str {
        match self {
            Better::Higher => "higher",
            Better::Lower => "lower",
        }
    }
}

/// One thing that is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metric {
    /// Its name, in parts: `packets.1k`.
    pub name: &'static str,
    /// The unit of its values.
    pub unit: &'static str,
    /// Which way is better.
    pub better: Better,
    /// What it is called in tables.
    pub title: &'static str,
    /// How it is measured, in a sentence.
    pub how: &'static str,
}

/// What a rival is set up for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Setup {
    /// Its rules.
    pub rules: Rules,
    /// Its routes.
    pub routes: Routes,
    /// Whether the hosts leave checksums and segmentation to their devices.
    pub offload: bool,
}

/// The traffic of a work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Traffic {
    /// 60-byte packets of so many flows, as fast as they can be made.
    Packets {
        /// How many.
        flows: u32,
    },
    /// The same to random destinations.
    Destinations,
    /// The highest rate of so many flows with little loss.
    Lossless {
        /// How many.
        flows: u32,
    },
    /// TCP as fast as it goes.
    Bulk {
        /// Connections.
        streams: u32,
        /// Whether the server sends.
        down: bool,
    },
    /// Round trips one after the other.
    RoundTrip {
        /// Whether other traffic runs beside them.
        loaded: bool,
    },
    /// Each packet a flow of its own.
    NewFlows,
    /// Flows that stay, and what the rival's memory grows by.
    Memory,
    /// A fixed rate, and the processors' time.
    CpuTime,
    /// None but one answer: the time until it forwards.
    Start,
}

/// One stretch of traffic, and what it gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Work {
    /// What the rival is set up for.
    pub setup: Setup,
    /// The traffic.
    pub traffic: Traffic,
    /// The metrics, in the order in which the traffic gives their values.
    pub metrics: &'static [Metric],
    /// Whether a quick run has it.
    pub quick: bool,
}

const USUAL: Setup = Setup { rules: Rules::Usual, routes: Routes::One, offload: true };
const PLAIN: Setup = Setup { offload: false, ..USUAL };

const fn higher(name: &'static str, unit: &'static str, title: &'static str, how: &'static str) -> Metric {
    Metric { name, unit, better: Better::Higher, title, how }
}

const fn lower(name: &'static str, unit: &'static str, title: &'static str, how: &'static str) -> Metric {
    Metric { name, unit, better: Better::Lower, title, how }
}

macro_rules! rate {
    ($name:literal, $title:literal, $how:literal) => {
        &[higher($name, "packets/s", $title, $how)]
    };
}

macro_rules! bulk {
    ($name:literal, $title:literal, $how:literal) => {
        &[higher($name, "bit/s", $title, $how)]
    };
}

/// Every work, in the order of the reports.
pub const WORKS: &[Work] = &[
    work(
        USUAL,
        Traffic::Packets { flows: 1 },
        rate!(
            "packets.1",
            "packets, 1 flow",
            "60-byte UDP frames of one established flow offered at saturation; what arrives at the server, per second"
        ),
    ),
    quick(
        USUAL,
        Traffic::Packets { flows: 1 << 10 },
        rate!("packets.1k", "packets, 1 k flows", "the same with 1,024 established flows in turn"),
    ),
    work(
        USUAL,
        Traffic::Packets { flows: 1 << 16 },
        rate!("packets.64k", "packets, 64 k flows", "the same with 65,536 established flows in turn"),
    ),
    work(
        Setup { rules: Rules::More(1_000), ..USUAL },
        Traffic::Packets { flows: 1 << 10 },
        rate!(
            "rules.1k",
            "packets, 1 k rules",
            "as packets.1k with 1,000 rules before the accept (-s ADDRESS -p tcp --dport PORT -j DROP) that match none of it"
        ),
    ),
    work(
        Setup { rules: Rules::More(10_000), ..USUAL },
        Traffic::Packets { flows: 1 << 10 },
        rate!("rules.10k", "packets, 10 k rules", "the same with 10,000 rules"),
    ),
    work(
        USUAL,
        Traffic::Lossless { flows: 1 },
        rate!(
            "lossless.1",
            "≤ 0.5 % loss, 1 flow",
            "the highest offered rate of one flow of which at most 0.5 % is lost, by bisection over short trials"
        ),
    ),
    work(
        USUAL,
        Traffic::Lossless { flows: 1 << 10 },
        rate!("lossless.1k", "≤ 0.5 % loss, 1 k flows", "the same with 1,024 flows"),
    ),
    work(
        USUAL,
        Traffic::Lossless { flows: 1 << 16 },
        rate!("lossless.64k", "≤ 0.5 % loss, 64 k flows", "the same with 65,536 flows"),
    ),
    quick(
        USUAL,
        Traffic::Bulk { streams: 1, down: false },
        bulk!(
            "tcp.up.1",
            "TCP up, 1 stream",
            "one TCP connection from the client to the server, MTU 1500, the hosts' offloads on; bytes received after a warm-up"
        ),
    ),
    work(
        USUAL,
        Traffic::Bulk { streams: 4, down: false },
        bulk!("tcp.up.4", "TCP up, 4 streams", "the same with four connections at once"),
    ),
    work(
        USUAL,
        Traffic::Bulk { streams: 1, down: true },
        bulk!(
            "tcp.down.1",
            "TCP down, 1 stream",
            "one connection, begun by the client, on which the server sends"
        ),
    ),
    work(
        USUAL,
        Traffic::Bulk { streams: 4, down: true },
        bulk!("tcp.down.4", "TCP down, 4 streams", "the same with four connections at once"),
    ),
    work(
        PLAIN,
        Traffic::Bulk { streams: 1, down: false },
        bulk!(
            "tcp.plain.up.1",
            "TCP up, 1, offloads off",
            "as tcp.up.1 with segmentation, receive and checksum offloads off at both hosts: every frame is 1,514 bytes"
        ),
    ),
    work(
        PLAIN,
        Traffic::Bulk { streams: 4, down: false },
        bulk!("tcp.plain.up.4", "TCP up, 4, offloads off", "the same with four connections at once"),
    ),
    work(
        PLAIN,
        Traffic::Bulk { streams: 1, down: true },
        bulk!("tcp.plain.down.1", "TCP down, 1, offloads off", "as tcp.down.1 with the hosts' offloads off"),
    ),
    work(
        PLAIN,
        Traffic::Bulk { streams: 4, down: true },
        bulk!("tcp.plain.down.4", "TCP down, 4, offloads off", "the same with four connections at once"),
    ),
    quick(
        USUAL,
        Traffic::RoundTrip { loaded: false },
        &[
            lower(
                "latency.idle.p50",
                "s",
                "round trip p50",
                "a small UDP datagram to the server and back, one after the other and nothing else: the median",
            ),
            lower("latency.idle.p99", "s", "round trip p99", "of the same round trips the 99th percentile"),
            lower(
                "latency.idle.p999",
                "s",
                "round trip p99.9",
                "of the same round trips the 99.9th percentile",
            ),
        ],
    ),
    work(
        USUAL,
        Traffic::RoundTrip { loaded: true },
        &[
            lower(
                "latency.loaded.p50",
                "s",
                "round trip p50, loaded",
                "the same beside 100,000 packets a second of 1,024 other flows: the median",
            ),
            lower(
                "latency.loaded.p99",
                "s",
                "round trip p99, loaded",
                "of the same round trips the 99th percentile",
            ),
            lower(
                "latency.loaded.p999",
                "s",
                "round trip p99.9, loaded",
                "of the same round trips the 99.9th percentile",
            ),
        ],
    ),
    quick(
        USUAL,
        Traffic::NewFlows,
        &[higher(
            "flows.new",
            "flows/s",
            "new flows",
            "60-byte UDP frames, each the first of a flow of its own, offered at saturation; those that arrive, per second",
        )],
    ),
    work(
        Setup { rules: Rules::More(10_000), ..USUAL },
        Traffic::NewFlows,
        &[higher(
            "flows.new.10k-rules",
            "flows/s",
            "new flows, 10 k rules",
            "the same with 10,000 rules before the accept that match none of it",
        )],
    ),
    work(
        USUAL,
        Traffic::Memory,
        &[lower(
            "flows.memory",
            "bytes",
            "memory per flow",
            "what the rival's memory grows by when flows are added, by flow: a process's resident set, the kernel's conntrack slab",
        )],
    ),
    work(
        Setup { rules: Rules::None, routes: Routes::Default, ..USUAL },
        Traffic::Destinations,
        rate!(
            "routes.1",
            "packets, 1 route",
            "no rules, one route; 60-byte UDP frames to random destinations in 16.0.0.0/4 at saturation"
        ),
    ),
    work(
        Setup { rules: Rules::None, routes: Routes::Million, ..USUAL },
        Traffic::Destinations,
        rate!(
            "routes.1m",
            "packets, 1 M routes",
            "the same with 1,000,000 routes of lengths 16 to 24 over 32 next hops"
        ),
    ),
    work(
        Setup { rules: Rules::None, routes: Routes::Million, ..USUAL },
        Traffic::Start,
        &[lower(
            "routes.load",
            "s",
            "loading 1 M routes",
            "the time from starting the router, or from the first route handed to the kernel by netlink, until it forwards by all 1,000,000",
        )],
    ),
    work(
        USUAL,
        Traffic::CpuTime,
        &[lower(
            "cpu.packet",
            "s",
            "CPU time per packet",
            "100,000 packets a second of 1,024 flows: the machine's busy time less that of the same traffic straight to the sink, per packet",
        )],
    ),
];

const fn work(setup: Setup, traffic: Traffic, metrics: &'static [Metric]) -> Work {
    Work { setup, traffic, metrics, quick: false }
}

const fn quick(setup: Setup, traffic: Traffic, metrics: &'static [Metric]) -> Work {
    Work { setup, traffic, metrics, quick: true }
}
