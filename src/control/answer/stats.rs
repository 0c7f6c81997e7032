//! All counters at one moment.
//!
//! Counters are summed over the workers. What the flow table holds is looked through: that is bounded by
//! [`LOOKED_AT`], and holds up nobody, since each place is locked for itself.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

use super::{Sources, driver};
use crate::base::counters::{Column, LaneTotals, Tally};
use crate::base::{DropReason, Event, HOOKS, Instant};
use crate::conntrack::{Conntrack, Flow, text};
use crate::control::view;
use crate::fib;
use crate::filter::Family;
use crate::packet::{Direction, Status};
use crate::wire::proto;

/// Places of the flow table that are looked at: as many as there are by default, some ten milliseconds' worth.
const LOOKED_AT: u32 = 262_144;
/// Pairs of an outer address and a protocol whose ports are told apart, each with 8 KiB while it is looked.
const PAIRS: usize = 64;
/// The ports that NAT chooses from if a rule doesn't say (`nf_nat_l4proto_unique_tuple`).
const PORTS: u64 = 65_536 - 1_024;

/// All counters.
pub fn stats(s: &Sources<'_>) -> view::Stats {
    let t = s.totals;
    let column = |c| view::Column {
        entered: t.event(c, Event::Entered),
        sent: t.event(c, Event::Sent),
        delivered: t.event(c, Event::Delivered),
        parked: t.parked(c),
        dropped: t.all_drops(c),
        imbalance: t.imbalance(c),
    };
    let drops = DropReason::ALL.iter().map(|&r| view::Drop {
        name: r.name().to_owned(),
        text: r.text().to_owned(),
        stage: r.stage().to_owned(),
        received: t.dropped(Column::Received, r),
        originated: t.dropped(Column::Originated, r),
    });
    let tallies = Tally::ALL.iter().map(|&c| view::Tally {
        name: c.name().to_owned(),
        text: c.text().to_owned(),
        value: t.tally(c),
    });
    let (conntrack, nat) = flow_table(s);
    view::Stats {
        name: s.name.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        uptime: s.uptime.as_secs_f64(),
        columns: view::Columns { received: column(Column::Received), originated: column(Column::Originated) },
        hooks: hooks(s),
        drops: drops.collect(),
        tallies: tallies.collect(),
        links: links(s),
        workers: s.rest.workers.iter().enumerate().map(|(n, lane)| worker(n, lane)).collect(),
        conntrack,
        nat,
        neighbors: neighbors(s),
        routes: routes(s.rib),
        reassembly: view::Reassembly {
            datagrams: s.rest.reassembly.0 as u64,
            memory: s.rest.reassembly.1 as u64,
        },
        control: s.rest.control,
        metrics: s.rest.metrics.map(|at| at.to_string()),
    }
}

fn hooks(s: &Sources<'_>) -> Vec<view::HookStats> {
    let hook = |hook: crate::base::Hook| {
        let n = s.totals.hook(hook);
        let name = hook.name().to_owned();
        view::HookStats { hook: name, seen: n.seen, passed: n.passed, dropped: n.dropped, held: n.held }
    };
    HOOKS.into_iter().map(hook).collect()
}

fn links(s: &Sources<'_>) -> Vec<view::LinkStats> {
    let link = |l: &crate::link::Link| {
        let n = s.totals.links.get(l.id.index()).copied().unwrap_or_default();
        view::LinkStats {
            ifname: l.name.clone(),
            kind: l.kind.name().to_owned(),
            up: s.states.is_up(l.id),
            rx_packets: n.rx_packets,
            rx_bytes: n.rx_bytes,
            rx_dropped: n.rx_dropped,
            rx_missed: n.rx_missed,
            tx_packets: n.tx_packets,
            tx_bytes: n.tx_bytes,
            tx_dropped: n.tx_dropped,
            driver: driver(s, l.id),
        }
    };
    s.links.iter().map(link).collect()
}

fn worker(worker: usize, lane: &LaneTotals) -> view::WorkerStats {
    let ratio = |a: u64, b: u64| if b == 0 { 0.0 } else { a as f64 / b as f64 };
    let seconds = |nanos: u64| nanos as f64 / 1e9;
    let recent = lane.recent;
    view::WorkerStats {
        worker,
        // What is measured at two moments may be a little more than there is.
        busy: ratio(recent.busy, recent.window).min(1.0),
        packets_per_batch: ratio(recent.packets, recent.batches),
        window: seconds(recent.window),
        busy_seconds: seconds(lane.busy),
        looking_seconds: seconds(lane.looking),
        asleep_seconds: seconds(lane.asleep),
        batches: lane.batches,
        packets: lane.packets,
        rx_packets: lane.rx_packets,
        rx_bytes: lane.rx_bytes,
        tx_packets: lane.tx_packets,
        tx_bytes: lane.tx_bytes,
    }
}

fn neighbors(s: &Sources<'_>) -> Vec<view::NeighborCount> {
    let mut counts: BTreeMap<(bool, &'static str), u64> = BTreeMap::new();
    for n in s.neighbors.entries(s.now) {
        *counts.entry((n.ip.is_ipv6(), n.state.name())).or_default() += 1;
    }
    let count = |((v6, state), neighbors): ((bool, &str), u64)| view::NeighborCount {
        family: family(v6).to_owned(),
        state: state.to_owned(),
        neighbors,
    };
    counts.into_iter().map(count).collect()
}

fn family(v6: bool) -> &'static str {
    if v6 { "ipv6" } else { "ipv4" }
}

fn routes(rib: &fib::Rib) -> view::RouteCounts {
    let of = |family| view::RouteCount {
        main: rib.count(family, fib::Table::Main) as u64,
        local: rib.count(family, fib::Table::Local) as u64,
    };
    view::RouteCounts { ipv4: of(fib::Family::V4), ipv6: of(fib::Family::V6) }
}

fn flow_table(s: &Sources<'_>) -> (view::FlowTable, view::Nat) {
    let tracked = [Family::V4, Family::V6].into_iter().filter(|f| s.hooks.tracks(*f));
    let (kinds, nat) = census(s.conntrack, s.now);
    let table = view::FlowTable {
        families: tracked.map(|f| family(f == Family::V6).to_owned()).collect(),
        flows: s.conntrack.len() as u64,
        max: s.conntrack.settings().get().max.into(),
        memory: s.conntrack.memory() as u64,
        kinds,
    };
    (table, nat)
}

/// What is known of an outer address and a protocol: which ports are in use, and by how many flows.
struct Used {
    ports: Box<[u64; 1_024]>,
    flows: u64,
}

/// Looks through the flows.
fn census(conntrack: &Conntrack, now: Instant) -> (Vec<view::FlowKind>, view::Nat) {
    let mut nat = view::Nat::default();
    if conntrack.is_empty() {
        return (Vec::new(), nat);
    }
    let mut kinds: BTreeMap<(&'static str, &'static str), u64> = BTreeMap::new();
    let mut used: HashMap<(IpAddr, u8), Used> = HashMap::new();
    let mut look = |flow: &Flow| {
        let original = flow.tuple(Direction::Original);
        *kinds.entry((text::protocol_name(original.proto), kind(flow))).or_default() += 1;
        nat.destination += u64::from(flow.status.has(Status::DST_NAT));
        if !flow.status.has(Status::SRC_NAT) {
            return;
        }
        nat.source += 1;
        let outer = flow.tuple(Direction::Reply);
        let port = match outer.proto {
            _ if outer.has_ports() => outer.dst_port,
            // The identifier stands in both directions in the same place.
            proto::ICMP | proto::ICMPV6 => outer.src_port,
            _ => return,
        };
        let key = (outer.dst(), outer.proto);
        if used.len() >= PAIRS && !used.contains_key(&key) {
            return;
        }
        let of = used.entry(key).or_insert_with(|| Used { ports: Box::new([0; 1_024]), flows: 0 });
        of.ports[usize::from(port >> 6)] |= 1 << (port & 63);
        of.flows += 1;
    };
    let mut from = 0;
    while let Some(next) = conntrack.page(from, now, &mut look) {
        if next >= LOOKED_AT {
            nat.complete = false;
            break;
        }
        from = next;
    }
    let mut ports: Vec<_> = used.into_iter().collect();
    ports.sort_by_key(|(key, _)| *key);
    let ports = ports.into_iter().map(|((address, proto), of)| view::NatPorts {
        address: address.to_string(),
        protocol: text::protocol_name(proto).to_owned(),
        used: of.ports.iter().map(|word| u64::from(word.count_ones())).sum(),
        flows: of.flows,
        of: if matches!(proto, proto::ICMP | proto::ICMPV6) { 65_536 } else { PORTS },
    });
    nat.ports = ports.collect();
    let kinds = kinds.into_iter().map(|((protocol, state), flows)| view::FlowKind {
        protocol: protocol.to_owned(),
        state: state.to_owned(),
        flows,
    });
    (kinds.collect(), nat)
}

/// Where a flow stands: as its protocol says, or else its status.
pub(super) fn kind(flow: &Flow) -> &'static str {
    text::state_name(flow).unwrap_or_else(|| match flow.status {
        s if s.has(Status::ASSURED) => "ASSURED",
        s if s.has(Status::SEEN_REPLY) => "REPLIED",
        _ => "UNREPLIED",
    })
}

#[cfg(test)]
mod tests;
