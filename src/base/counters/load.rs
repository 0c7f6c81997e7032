//! What a worker does with its time, and its share of the traffic.
//!
//! Knows nothing of clocks: whoever runs the worker says how long something took.

use super::{Cell, LinkCounters};

/// What a worker does with its time, and how much comes at once. Its thread is the only writer.
#[derive(Debug, Default)]
pub struct Load {
    /// Nanoseconds spent with packets and timers.
    pub busy: Cell,
    /// Nanoseconds spent looking for packets that did not come.
    pub looking: Cell,
    /// Nanoseconds spent asleep.
    pub asleep: Cell,
    /// Batches taken from ports and from other workers.
    pub batches: Cell,
    /// Packets in them.
    pub packets: Cell,
    /// The same over the last seconds: set now and then, not added to.
    pub recent: [Cell; 4],
}

/// What [`Load::recent`] holds, in its order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Recent {
    /// How long it is that is looked back on, in nanoseconds.
    pub window: u64,
    /// How much of it was [`Load::busy`].
    pub busy: u64,
    /// Batches in it.
    pub batches: u64,
    /// Packets in them.
    pub packets: u64,
}

impl Load {
    /// What it holds, and what its worker has moved over these links; not what conntrack did.
    pub(super) fn lane(&self, links: &[LinkCounters]) -> LaneTotals {
        let [window, busy, batches, packets] = self.recent.each_ref().map(Cell::get);
        LaneTotals {
            rx_packets: links.iter().map(|l| l.rx_packets.get()).sum(),
            rx_bytes: links.iter().map(|l| l.rx_bytes.get()).sum(),
            tx_packets: links.iter().map(|l| l.tx_packets.get()).sum(),
            tx_bytes: links.iter().map(|l| l.tx_bytes.get()).sum(),
            busy: self.busy.get(),
            looking: self.looking.get(),
            asleep: self.asleep.get(),
            batches: self.batches.get(),
            packets: self.packets.get(),
            recent: Recent { window, busy, batches, packets },
            flows: FlowTotals::default(),
        }
    }

    /// Says how it was of late.
    pub fn set_recent(&self, r: Recent) {
        for (cell, value) in self.recent.iter().zip([r.window, r.busy, r.batches, r.packets]) {
            cell.set(value);
        }
    }
}

/// One worker's share of the traffic, and its [`Load`]. Frames and bytes of all links but the loopback.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LaneTotals {
    /// Frames it has walked.
    pub rx_packets: u64,
    /// Their bytes.
    pub rx_bytes: u64,
    /// Frames it has sent.
    pub tx_packets: u64,
    /// Their bytes.
    pub tx_bytes: u64,
    /// Nanoseconds spent with packets and timers.
    pub busy: u64,
    /// Nanoseconds spent looking for packets that did not come.
    pub looking: u64,
    /// Nanoseconds spent asleep.
    pub asleep: u64,
    /// Batches taken from ports and from other workers.
    pub batches: u64,
    /// Packets in them.
    pub packets: u64,
    /// The same over the last seconds.
    pub recent: Recent,
    /// What conntrack did there.
    pub flows: FlowTotals,
}

/// What conntrack did on one worker.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FlowTotals {
    /// Translations that were looked at and another flow had.
    pub taken: u64,
    /// Packets that belong to no flow and can begin none.
    pub invalid: u64,
    /// ICMP messages among them.
    pub errors: u64,
    /// Flows put into the table.
    pub begun: u64,
    /// First packets that joined their flow, which another had begun.
    pub joined: u64,
    /// First packets dropped, their flow's place being taken.
    pub clashed: u64,
    /// First packets dropped, the table being full.
    pub full: u64,
    /// Flows that made way for others.
    pub evicted: u64,
}
