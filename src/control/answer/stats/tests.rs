//! What is counted of a flow table.

use super::*;
use crate::conntrack::Config;
use crate::conntrack::testing::{flow, insert, tuple4};
use crate::packet::Tuple;
use crate::packet::flow::pack;

const NOW: Instant = Instant::ZERO;

fn table(flows: &[Flow]) -> Conntrack {
    let table = Conntrack::new(Config { max: 100_000, ..Config::default() }, 1);
    flows.iter().for_each(|f| insert(&table, f));
    table
}

fn snat(n: u32, proto: u8, port: u16) -> Flow {
    let tuple = tuple4(n, 9);
    let mut f = flow(
        match proto {
            proto::ICMP => Tuple { proto, dst_port: 8 << 8, ..tuple },
            _ => Tuple { proto, ..tuple },
        },
        100,
    );
    f.status.0 |= Status::SRC_NAT.0;
    f.tuples[1].dst = pack("192.0.2.1".parse().unwrap());
    match proto {
        proto::ICMP => f.tuples[1].src_port = port,
        _ => f.tuples[1].dst_port = port,
    }
    f
}

#[test]
fn ports_that_flows_share_are_one() {
    let mut flows: Vec<Flow> = (0..50).map(|n| snat(n, proto::UDP, 5_000 + n as u16)).collect();
    // The same port, to another server.
    let mut other = snat(60, proto::UDP, 5_000);
    other.tuples[1].src = pack("203.0.113.7".parse().unwrap());
    flows.push(other);
    flows.push(snat(70, proto::ICMP, 7));
    let plain = flow(tuple4(80, 9), 100);
    flows.push(plain);
    let (kinds, nat) = census(&table(&flows), NOW);
    assert_eq!((nat.source, nat.destination, nat.complete), (52, 0, true));
    let ports = |protocol: &str, used, flows, of| view::NatPorts {
        address: "192.0.2.1".into(),
        protocol: protocol.into(),
        used,
        flows,
        of,
    };
    assert_eq!(nat.ports, [ports("icmp", 1, 1, 65_536), ports("udp", 50, 51, 64_512)]);
    assert_eq!(kinds.iter().map(|k| k.flows).sum::<u64>(), 53);
    assert!(kinds.iter().all(|k| k.state == "UNREPLIED"), "{kinds:?}");
}

#[test]
fn an_empty_table_has_nothing_in_it() {
    let (kinds, nat) = census(&table(&[]), NOW);
    assert_eq!((kinds, nat), (Vec::new(), view::Nat::default()));
}

#[test]
fn addresses_beyond_a_bound_are_not_told_apart() {
    let flows: Vec<Flow> = (0..PAIRS as u32 + 10)
        .map(|n| {
            let mut f = snat(n, proto::UDP, 6_000);
            f.tuples[1].dst = pack(std::net::Ipv4Addr::from(0xc000_0200 + n).into());
            f
        })
        .collect();
    let (_, nat) = census(&table(&flows), NOW);
    assert_eq!((nat.ports.len(), nat.source), (PAIRS, flows.len() as u64));
}

#[test]
fn a_worker_that_did_nothing_divides_by_nothing() {
    let idle = worker(3, &LaneTotals::default());
    assert_eq!((idle.worker, idle.busy, idle.packets_per_batch), (3, 0.0, 0.0));
    let recent = crate::base::counters::Recent { window: 4_000, busy: 1_000, batches: 2, packets: 5 };
    let busy = worker(0, &LaneTotals { recent, busy: 1_500_000_000, ..LaneTotals::default() });
    assert_eq!((busy.busy, busy.packets_per_batch, busy.busy_seconds), (0.25, 2.5, 1.5));
}
