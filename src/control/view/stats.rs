//! The router's counters as they are shown: `sekisho stats -j`, `top` and the metrics are all made of this.
//!
//! Knows nothing of where the values come from.

use serde::{Deserialize, Serialize};

use super::Driver;

/// Every counter. What has no limit in time counts from the start of the router.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Stats {
    /// The router's name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Seconds since it began to forward.
    pub uptime: f64,
    /// The two columns of the ledger.
    pub columns: Columns,
    /// What became of packets at the hooks.
    pub hooks: Vec<HookStats>,
    /// Every reason to drop a packet, zeros included.
    pub drops: Vec<Drop>,
    /// What else is counted, zeros included.
    pub tallies: Vec<Tally>,
    /// The links' traffic.
    pub links: Vec<LinkStats>,
    /// What each worker does.
    pub workers: Vec<WorkerStats>,
    /// The flow table. What became of its flows is among the tallies.
    pub conntrack: FlowTable,
    /// What is translated.
    pub nat: Nat,
    /// How many neighbors are in each state.
    pub neighbors: Vec<NeighborCount>,
    /// The routes.
    pub routes: RouteCounts,
    /// Half-done datagrams.
    pub reassembly: Reassembly,
    /// Who talks to the router.
    pub control: ControlStats,
    /// Where Prometheus finds the metrics, `ADDRESS:PORT`; absent: nowhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metrics: Option<String>,
}

/// The ledger.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Columns {
    /// Packets that came in.
    pub received: Column,
    /// Packets the router made.
    pub originated: Column,
}

/// One column: `entered = sent + delivered + parked + dropped + imbalance`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Column {
    /// Packets entered.
    pub entered: u64,
    /// Packets a link took.
    pub sent: u64,
    /// Packets used up here.
    pub delivered: u64,
    /// Packets that wait now.
    pub parked: u64,
    /// Packets dropped, for whatever reason.
    pub dropped: u64,
    /// Packets on their way at the moment of counting; 0 when the router is idle.
    pub imbalance: i64,
}

/// What became of packets at a hook: `seen = passed + dropped + held`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HookStats {
    /// `PREROUTING`, `INPUT`, `FORWARD`, `OUTPUT`, `POSTROUTING`.
    pub hook: String,
    /// Packets that came there. One that was queued and came back counts again.
    pub seen: u64,
    /// Packets that went on.
    pub passed: u64,
    /// Packets that ended there.
    pub dropped: u64,
    /// Packets that something there took: a queue, a function, or the datagram whose fragment it is.
    pub held: u64,
}

/// How many packets one reason ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drop {
    /// The reason's name.
    pub name: String,
    /// What it means.
    pub text: String,
    /// The stage that drops for it: `ingress`, `route`, `hooks`, …
    #[serde(default)]
    pub stage: String,
    /// Of those that came in.
    pub received: u64,
    /// Of those made here.
    pub originated: u64,
}

/// How often something happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Its name.
    pub name: String,
    /// What it counts.
    pub text: String,
    /// How often.
    pub value: u64,
}

/// One link's traffic: frames and bytes as on the wire.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkStats {
    /// Its name.
    pub ifname: String,
    /// What it is: `packet`, `tap`, `tun` or `loopback`.
    pub kind: String,
    /// Whether it carries packets: it is set up, and so is its device.
    pub up: bool,
    /// Frames received.
    pub rx_packets: u64,
    /// Bytes received.
    pub rx_bytes: u64,
    /// Frames received and dropped before they were forwarded or delivered.
    pub rx_dropped: u64,
    /// Frames lost before they could be received: they are not in the ledger.
    pub rx_missed: u64,
    /// Frames sent.
    pub tx_packets: u64,
    /// Bytes sent.
    pub tx_bytes: u64,
    /// Frames this link should have sent and did not.
    pub tx_dropped: u64,
    /// What moves its frames; absent where nothing does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub driver: Option<Driver>,
}

/// What one worker does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct WorkerStats {
    /// Its number, from 0 on.
    pub worker: usize,
    /// How much of its time it was busy over the last seconds: 0 to 1.
    pub busy: f64,
    /// Packets that came at once over the last seconds, on average; 0 if none came.
    pub packets_per_batch: f64,
    /// How many seconds the last seconds are.
    pub window: f64,
    /// Seconds spent with packets and timers.
    pub busy_seconds: f64,
    /// Seconds spent looking for packets that did not come.
    pub looking_seconds: f64,
    /// Seconds spent asleep.
    pub asleep_seconds: f64,
    /// Batches taken from ports and from other workers.
    pub batches: u64,
    /// Packets in them.
    pub packets: u64,
    /// Frames of all links that it has walked.
    pub rx_packets: u64,
    /// Their bytes.
    pub rx_bytes: u64,
    /// Frames that it has sent.
    pub tx_packets: u64,
    /// Their bytes.
    pub tx_bytes: u64,
}

/// The flow table and how full it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowTable {
    /// Whose flows are tracked: `ipv4`, `ipv6`.
    pub families: Vec<String>,
    /// Flows in it.
    pub flows: u64,
    /// As many as it may hold.
    pub max: u64,
    /// The bytes it takes.
    pub memory: u64,
    /// What they are. Of a table with very many flows, only so many are looked at: see [`Nat::complete`].
    #[serde(default)]
    pub kinds: Vec<FlowKind>,
}

/// How many flows are of a kind.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowKind {
    /// The protocol as conntrack-tools name it: `tcp`, `udp`, `unknown`.
    pub protocol: String,
    /// Where the protocol stands, where that has a name; else `UNREPLIED`, `REPLIED` or `ASSURED`.
    pub state: String,
    /// How many.
    pub flows: u64,
}

/// What is translated.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Nat {
    /// Flows whose source is translated.
    pub source: u64,
    /// Flows whose destination is translated.
    pub destination: u64,
    /// The ports (identifiers of ICMP queries) that sources are translated to, by address and protocol.
    pub ports: Vec<NatPorts>,
    /// Whether all flows were looked at. Of a table with very many, the first 262,144 places are.
    pub complete: bool,
}

impl Default for Nat {
    fn default() -> Self {
        Nat { source: 0, destination: 0, ports: Vec::new(), complete: true }
    }
}

/// The ports of one outer address that are in use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NatPorts {
    /// The address.
    pub address: String,
    /// The protocol.
    pub protocol: String,
    /// Different ports in use. Flows to different destinations can share one.
    pub used: u64,
    /// Flows that use them.
    pub flows: u64,
    /// How many there are that NAT chooses from if a rule doesn't say: 1024 to 65535; of identifiers, all.
    pub of: u64,
}

/// How many neighbors are in a state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NeighborCount {
    /// `ipv4` or `ipv6`.
    pub family: String,
    /// `REACHABLE`, `STALE`, …
    pub state: String,
    /// How many.
    pub neighbors: u64,
}

/// The routes of both families.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteCounts {
    /// IPv4's.
    pub ipv4: RouteCount,
    /// IPv6's.
    pub ipv6: RouteCount,
}

/// The routes of one family.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteCount {
    /// In the table main.
    pub main: u64,
    /// In the table local: the router's own addresses.
    pub local: u64,
}

/// Datagrams of which fragments are missing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reassembly {
    /// How many.
    pub datagrams: u64,
    /// The bytes they take.
    pub memory: u64,
}

/// Who talks to the router.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ControlStats {
    /// Clients connected to the control socket now.
    pub clients: u64,
    /// Clients that were sent away: they may not, or there were too many.
    pub refused: u64,
    /// Requests that were made.
    pub requests: u64,
    /// Changes that were put into force since the start.
    pub transactions: u64,
}

/// The busiest flows of a while. Numbers are estimates where `one_in` is more than 1.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct BusiestFlows {
    /// How long the while was.
    pub seconds: f64,
    /// One packet in so many was looked at.
    pub one_in: u32,
    /// Packets looked at that were lost on the way to whoever counted, and are missing below.
    pub lost: u64,
    /// A flow that had fewer bytes than this may be missing, and others may have had as many more.
    pub missing_below: u64,
    /// The flows, those with the most bytes first.
    pub flows: Vec<BusyFlow>,
}

/// One of the busiest flows.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct BusyFlow {
    /// The protocol as conntrack-tools name it, or its number.
    pub protocol: String,
    /// Who began it; where conntrack doesn't say, the end with the higher port.
    pub src: String,
    /// With whom.
    pub dst: String,
    /// The port, or identifier, of who began it.
    pub sport: u16,
    /// The port of the other; 0 where there is none.
    pub dport: u16,
    /// The link that those packets came in by; empty if there were none.
    pub link: String,
    /// Where it stands in the flow table; absent: it isn't there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// From who began it.
    pub original: Traffic,
    /// Back to it.
    pub reply: Traffic,
}

/// Packets and their bytes, link-layer headers included.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Traffic {
    /// Packets.
    pub packets: u64,
    /// Bytes.
    pub bytes: u64,
}
