//! What is printed, for made-up counters.

use super::*;
use crate::control::view::{
    Columns, ControlStats, Drop, FlowKind, HookStats, LinkStats, Nat, NatPorts, NeighborCount, Reassembly,
    RouteCount, RouteCounts, Tally, WorkerStats,
};

fn sample() -> view::Stats {
    let link = |ifname: &str, up, n: u64| LinkStats {
        ifname: ifname.into(),
        kind: "packet".into(),
        up,
        rx_packets: n,
        rx_bytes: n * 1_500,
        rx_dropped: n / 10,
        rx_missed: n % 10,
        tx_packets: n * 2,
        tx_bytes: n * 3_000,
        tx_dropped: 0,
        driver: None,
    };
    let driver = |name: &str, fallback: Option<&str>| {
        let (name, asked) = (name.into(), "auto".into());
        Some(view::Driver { name, asked, fallback: fallback.map(str::to_owned) })
    };
    let drop = |name: &str, text: &str, received, originated| Drop {
        name: name.into(),
        text: text.into(),
        stage: if name.starts_with("neighbor") { "egress".into() } else { "route".into() },
        received,
        originated,
    };
    let tally = |name: &str, text: &str, value| Tally { name: name.into(), text: text.into(), value };
    let hook = |hook: &str, seen: u64, dropped: u64| {
        let hook = hook.into();
        HookStats { hook, seen, passed: seen - dropped, dropped, held: 0 }
    };
    let neighbor = |family: &str, state: &str, neighbors| {
        let (family, state) = (family.into(), state.into());
        NeighborCount { family, state, neighbors }
    };
    view::Stats {
        name: "gw".into(),
        version: "0.1.0".into(),
        uptime: 3_723.4,
        columns: Columns {
            received: Column {
                entered: 1_234_567,
                sent: 1_234_000,
                delivered: 555,
                parked: 2,
                dropped: 10,
                imbalance: 0,
            },
            originated: Column { entered: 40, sent: 39, dropped: 1, ..Column::default() },
        },
        drops: vec![
            drop("no_route", "no route to the destination", 10, 0),
            drop("ttl_exceeded", "the TTL or hop limit ran out", 0, 0),
            drop("neighbor_failed", "the next hop did not answer", 0, 1),
        ],
        tallies: vec![
            tally("forwarded", "packets forwarded from one link to another or back", 1_234_000),
            tally("fragmented", "packets cut into fragments on the way out", 0),
        ],
        links: vec![
            link("lo", true, 0),
            LinkStats { driver: driver("ring", None), ..link("lan", true, 1_234_567_890_123) },
            LinkStats { driver: driver("socket", Some("no ring")), ..link("wan", false, 77) },
        ],
        conntrack: view::FlowTable {
            families: vec!["ipv4".into(), "ipv6".into()],
            flows: 1_234,
            max: 262_144,
            memory: 3_145_728,
            kinds: vec![
                FlowKind { protocol: "tcp".into(), state: "ESTABLISHED".into(), flows: 1_200 },
                FlowKind { protocol: "udp".into(), state: "UNREPLIED".into(), flows: 34 },
            ],
        },
        hooks: vec![hook("PREROUTING", 1_000, 10), hook("INPUT", 0, 0)],
        workers: vec![WorkerStats {
            busy: 0.1234,
            packets_per_batch: 17.25,
            rx_packets: 1_000,
            tx_packets: 990,
            batches: 58,
            ..WorkerStats::default()
        }],
        nat: Nat {
            source: 1_199,
            ports: vec![NatPorts {
                address: "192.0.2.1".into(),
                protocol: "tcp".into(),
                used: 1_190,
                flows: 1_199,
                of: 64_512,
            }],
            ..Nat::default()
        },
        neighbors: vec![
            neighbor("ipv4", "REACHABLE", 2),
            neighbor("ipv4", "STALE", 1),
            neighbor("ipv6", "FAILED", 1),
        ],
        routes: RouteCounts {
            ipv4: RouteCount { main: 12, local: 5 },
            ipv6: RouteCount { main: 0, local: 1 },
        },
        reassembly: Reassembly { datagrams: 2, memory: 4_096 },
        control: ControlStats { clients: 1, refused: 0, requests: 7, transactions: 3 },
        metrics: None,
    }
}

#[test]
fn what_is_zero_is_left_out() {
    let expected = "\
gw  sekisho 0.1.0, up 1h 02m 03s

packets         received  originated
entered          1234567          40
sent             1234000          39
delivered            555           0
parked                 2           0
dropped               10           1

link             rx packets             bytes       dropped      missed     tx packets             bytes     dropped
lo                        0                 0             0           0              0                 0           0
lan           1234567890123  1851851835184500  123456789012           3  2469135780246  3703703670369000           0
wan                      77            115500             7           7            154            231000           0  down

driver
lan           ring
wan           socket (no ring)

hook                seen      passed     dropped        held
PREROUTING          1000         990          10           0

worker              busy     at once  rx packets  tx packets     batches
0                  12.3%        17.2        1000         990          58

tables              entries
routes ipv4              12  and 5 local
routes ipv6               0  and 1 local
neighbors ipv4            3  2 REACHABLE, 1 STALE
neighbors ipv6            1  1 FAILED
reassembly                2  4096 bytes
control clients           1  7 requests, 0 sent away, 3 transactions

conntrack          flows         max       bytes
ipv4 ipv6           1234      262144     3145728

flows
tcp                 1200  ESTABLISHED
udp                   34  UNREPLIED

nat                flows
source              1199
destination            0

nat ports          in use          of       flows
192.0.2.1 tcp        1190       64512        1199

stage           received  originated
route                 10           0
egress                 0           1

drops              received  originated
no_route                 10           0  no route to the destination
neighbor_failed           0           1  the next hop did not answer

counts
forwarded        1234000  packets forwarded from one link to another or back
";
    let said = text(&sample(), false, Paint::plain());
    assert_eq!(said, expected, "\n{said}");
}

#[test]
fn all_is_all() {
    let said = text(&sample(), true, Paint::plain());
    assert!(said.contains("ttl_exceeded") && said.contains("fragmented") && !said.contains("\non the way"));
    let mut busy = sample();
    busy.columns.received.imbalance = -3;
    assert!(text(&busy, false, Paint::plain()).contains("on the way            -3           0"));
}

#[test]
fn times_are_as_exact_as_they_are_short() {
    let all = [6.74, 306.0, 14_706.9, 273_906.0].map(uptime);
    assert_eq!(all, ["6.7s", "5m 06s", "4h 05m 06s", "3d 04h 05m"]);
}
