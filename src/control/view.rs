//! What is shown: the router's tables in the words that scripts know.
//!
//! Links, addresses, routes and neighbors have the fields of `ip -j`, in its order, with its spelling; what a
//! userspace router has no idea of (`txqlen`, `link-netnsid`) is left out, as iproute2 leaves out what the kernel
//! doesn't say. Counters are ours. Knows nothing of where the values come from.

mod stats;

use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub use stats::{
    BusiestFlows, BusyFlow, Column, Columns, ControlStats, Drop, FlowKind, FlowTable, HookStats, LinkStats,
    Nat, NatPorts, NeighborCount, Reassembly, RouteCount, RouteCounts, Stats, Tally, Traffic, WorkerStats,
};

/// Who answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Hello {
    /// The router's name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its process.
    pub pid: u32,
    /// Seconds since it began to forward.
    pub uptime: f64,
}

/// What moves a packet link's frames.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Driver {
    /// `socket`, `ring` or `xdp`.
    #[serde(rename = "driver")]
    pub name: String,
    /// What the configuration says: one of these, or `auto`.
    pub asked: String,
    /// Why it is not a better one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fallback: Option<String>,
}

/// What `ip -d -j link` says about the kind of a link.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)] // the names are iproute2's
pub struct LinkInfo {
    pub info_kind: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub info_data: Option<Driver>,
}

/// A link, as `ip -j link` and `ip -j addr` show it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)] // the names are iproute2's
pub struct Link {
    pub ifindex: u32,
    pub ifname: String,
    pub flags: Vec<String>,
    pub mtu: u32,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub qdisc: String,
    pub operstate: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub linkmode: Option<String>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub group: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub link_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub broadcast: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub linkinfo: Option<LinkInfo>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub addr_info: Option<Vec<Address>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stats64: Option<Stats64>,
}

/// An address of a link.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)] // the names are iproute2's
pub struct Address {
    /// `inet` or `inet6`.
    pub family: String,
    pub local: String,
    pub prefixlen: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub broadcast: Option<String>,
    pub scope: String,
    /// An IPv4 address behind the first of its prefix.
    #[serde(default, skip_serializing_if = "is_false")]
    pub secondary: bool,
    /// Another station has it.
    #[serde(default, skip_serializing_if = "is_false")]
    pub dadfailed: bool,
    /// Being checked for duplicates, or found to be one.
    #[serde(default, skip_serializing_if = "is_false")]
    pub tentative: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// [`FOREVER`]: the router's addresses don't expire.
    pub valid_life_time: u32,
    pub preferred_life_time: u32,
}

/// A lifetime without end (`INFINITY_LIFE_TIME`, linux/if_addr.h).
pub const FOREVER: u32 = u32::MAX;

/// A link's counters, as `ip -j -s link` shows them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)] // the names are iproute2's
pub struct Stats64 {
    pub rx: RxStats,
    pub tx: TxStats,
}

/// What a link received.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)] // the names are iproute2's
pub struct RxStats {
    pub bytes: u64,
    pub packets: u64,
    pub errors: u64,
    pub dropped: u64,
    pub over_errors: u64,
    pub multicast: u64,
}

/// What a link sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)] // the names are iproute2's
pub struct TxStats {
    pub bytes: u64,
    pub packets: u64,
    pub errors: u64,
    pub dropped: u64,
    pub carrier_errors: u64,
    pub collisions: u64,
}

/// A route, as `ip -j route` shows it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)] // the names are iproute2's
pub struct Route {
    /// What is not plain unicast: `local`, `broadcast`, `unreachable`, …
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    pub dst: String,
    /// The source that was asked with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gateway: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub via: Option<Via>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dev: Option<String>,
    /// The table, where it is not `main`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub table: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protocol: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prefsrc: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metric: Option<u32>,
    pub flags: Vec<String>,
    /// The mark that was asked with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mark: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
    /// Of a way that `ip route get` shows: what it is, in iproute2's words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache: Option<Vec<String>>,
    /// One, if there is anything in it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub metrics: Vec<Metrics>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub iif: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pref: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nexthops: Vec<NextHop>,
}

/// What a route says of the packets it covers, in bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)] // the names are iproute2's
pub struct Metrics {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u16>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub advmss: Option<u16>,
    /// Which of them are locked. `ip -j` does not say it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lock: Vec<String>,
}

/// A gateway of another family than the route's (RFC 5549).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)] // the names are iproute2's
pub struct Via {
    pub family: String,
    pub host: String,
}

/// One of several ways of a route.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)] // the names are iproute2's
pub struct NextHop {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gateway: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub via: Option<Via>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dev: Option<String>,
    pub weight: u16,
    pub flags: Vec<String>,
}

/// A neighbor, as `ip -j neigh` shows it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)] // the names are iproute2's
pub struct Neighbor {
    pub dst: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dev: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lladdr: Option<String>,
    /// It says it is a router: there as `null`, as iproute2 has it.
    #[serde(
        default,
        skip_serializing_if = "is_false",
        serialize_with = "null",
        deserialize_with = "present"
    )]
    pub router: bool,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub state: Vec<String>,
}

/// Something that changed, as `ip monitor` tells it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// When, in microseconds since 1970 (UTC).
    pub time: u64,
    /// It is no more; what is shown is how it was.
    #[serde(default, skip_serializing_if = "is_false")]
    pub deleted: bool,
    /// What.
    #[serde(flatten)]
    pub what: Happening,
}

/// What changed, as it is now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "object", rename_all = "lowercase")]
pub enum Happening {
    /// A link.
    Link(Link),
    /// An address: a link that has only that.
    Address(Link),
    /// A route.
    Route(Route),
    /// A neighbor.
    Neigh(Neighbor),
    /// More happened than could be kept until it was read.
    Lost {
        /// How many events are missing here.
        events: u64,
    },
}

/// A flow, as `sekisho conntrack -L -j` shows it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Flow {
    /// What happened to it, of an event: `NEW`, `UPDATE`, `DESTROY`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<String>,
    /// When, in seconds since 1970 UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<f64>,
    /// Whether an operator did it.
    #[serde(default, skip_serializing_if = "is_false")]
    pub userspace: bool,
    /// Its number, as long as it lives.
    #[serde(default)]
    pub id: u64,
    /// `ipv4` or `ipv6`.
    pub family: String,
    /// The protocol as conntrack-tools name it: `tcp`, `icmpv6`, `unknown`.
    pub protocol: String,
    /// Its number.
    pub protonum: u8,
    /// Seconds until it is forgotten if no packet comes.
    pub timeout: u32,
    /// Where its protocol stands, where that has a name: `ESTABLISHED`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// As it was begun.
    pub original: FlowTuple,
    /// As it is answered.
    pub reply: FlowTuple,
    /// What is true of it, in the kernel's words: `SEEN_REPLY`, `ASSURED`, `SRC_NAT`, …
    pub status: Vec<String>,
    /// The connection's mark.
    pub mark: u32,
}

/// What `sekisho conntrack -E` has to tell.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FlowNews {
    /// Something that happened, as a line.
    Line(String),
    /// Likewise, as an object.
    Flow(Box<Flow>),
    /// So many events came faster than they were read, and are lost.
    Lost(u64),
}

/// What conntrack did on one worker, as `sekisho conntrack -S` shows it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowCounters {
    /// The worker's number.
    pub cpu: u32,
    /// Translations that NAT looked at and another flow had.
    pub found: u64,
    /// Packets that belong to no flow and can begin none.
    pub invalid: u64,
    /// Flows put into the table.
    pub insert: u64,
    /// First packets whose flow found its place taken, and which were dropped.
    pub insert_failed: u64,
    /// First packets dropped because the table was full, or their place taken.
    pub drop: u64,
    /// Flows that made way for others in a full table.
    pub early_drop: u64,
    /// ICMP messages among the invalid.
    pub error: u64,
    /// Searches begun again: never, here.
    pub search_restart: u64,
    /// First packets that found their flow begun by another, and joined it.
    pub clash_resolve: u64,
    /// Flows refused because of a chain's length: never, here.
    pub chaintoolong: u64,
}

/// What has become of a change.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Applied {
    /// Which transaction it was: grows by one with each; the state the router began with is 0.
    pub transaction: u64,
    /// Whether anything is different now.
    pub changed: bool,
    /// What else came of it, in one sentence each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// Seconds after which it is rolled back unless it is confirmed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirm_within: Option<u64>,
    /// Of several changes, those that were refused.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refused: Vec<Refused>,
}

/// One of several changes that was refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// Which, counted from 0.
    pub index: usize,
    /// Why.
    pub error: String,
    /// Which of the kernel's errors it would have been.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub errno: Option<String>,
}

/// One thing that another configuration would change.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// What it is of: `router`, `link`, `route`, `neighbor`, `rule`, `conntrack`, `flow` …
    pub object: String,
    /// As it is now; absent where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    /// As it would be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// What is to be said of it besides: that it takes a restart, or how many more there are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// One direction of a flow. Ports are there where the protocol has them, and so on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)] // the names are conntrack's
pub struct FlowTuple {
    pub src: String,
    pub dst: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sport: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dport: Option<u16>,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub srckey: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dstkey: Option<u16>,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde's signature
fn is_false(flag: &bool) -> bool {
    !flag
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde's signature
fn null<S: Serializer>(_: &bool, s: S) -> Result<S::Ok, S::Error> {
    s.serialize_unit()
}

fn present<'de, D: Deserializer<'de>>(d: D) -> Result<bool, D::Error> {
    IgnoredAny::deserialize(d).map(|_| true)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lines that iproute2 6.1 printed, less what is left out here.
    #[test]
    fn json_is_that_of_iproute2() {
        fn same<T: Serialize + serde::de::DeserializeOwned>(text: &str) {
            let read: T = serde_json::from_str(text).unwrap();
            assert_eq!(serde_json::to_string(&read).unwrap(), text);
        }
        same::<Link>(
            r#"{"ifindex":3,"ifname":"veth0","flags":["BROADCAST","MULTICAST","UP","LOWER_UP"],"mtu":1500,"qdisc":"noqueue","operstate":"UP","linkmode":"DEFAULT","group":"default","link_type":"ether","address":"72:95:95:90:8d:d5","broadcast":"ff:ff:ff:ff:ff:ff","stats64":{"rx":{"bytes":90,"packets":1,"errors":0,"dropped":0,"over_errors":0,"multicast":0},"tx":{"bytes":110,"packets":1,"errors":0,"dropped":0,"carrier_errors":0,"collisions":0}}}"#,
        );
        same::<Link>(
            r#"{"ifindex":4,"ifname":"t0","flags":["NO-CARRIER","POINTOPOINT","MULTICAST","NOARP","UP"],"mtu":1500,"qdisc":"pfifo_fast","operstate":"DOWN","group":"default","link_type":"none","addr_info":[{"family":"inet","local":"10.9.0.1","prefixlen":24,"broadcast":"10.9.0.255","scope":"global","label":"t0","valid_life_time":4294967295,"preferred_life_time":4294967295},{"family":"inet6","local":"fd01::1","prefixlen":64,"scope":"global","tentative":true,"valid_life_time":4294967295,"preferred_life_time":4294967295}]}"#,
        );
        same::<Route>(
            r#"{"dst":"10.9.0.0/24","dev":"t0","protocol":"kernel","scope":"link","prefsrc":"10.9.0.1","flags":["linkdown"]}"#,
        );
        same::<Route>(
            r#"{"dst":"2001:db8::/32","metric":1024,"flags":[],"pref":"medium","nexthops":[{"gateway":"fd01::2","dev":"veth0","weight":1,"flags":[]},{"gateway":"fd01::3","dev":"veth0","weight":1,"flags":[]}]}"#,
        );
        same::<Route>(
            r#"{"type":"local","dst":"::1","dev":"lo","table":"local","protocol":"kernel","metric":0,"flags":[],"pref":"medium"}"#,
        );
        same::<Route>(
            r#"{"dst":"6.6.6.0/24","via":{"family":"inet6","host":"fd01::9"},"dev":"veth0","flags":[]}"#,
        );
        same::<Neighbor>(
            r#"{"dst":"fd01::2","dev":"veth0","lladdr":"02:00:00:00:00:02","router":null,"state":["STALE"]}"#,
        );
        same::<Neighbor>(r#"{"dst":"10.1.0.2","dev":"veth0","state":["FAILED"]}"#);
    }
}
