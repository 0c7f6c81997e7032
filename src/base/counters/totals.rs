//! What the blocks of all workers come to, and whether that balances.

use super::{AT_HOOK, Cell, Column, Counters, EVENTS, Event, Tally};
use crate::base::{DropReason, HOOKS, Hook};

/// What a worker's packets have come to: events and drops by column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fates {
    events: [[u64; EVENTS]; 2],
    drops: [[u64; DropReason::COUNT]; 2],
}

impl Counters {
    /// What the packets of this worker have come to so far.
    pub fn fates(&self) -> Fates {
        Fates {
            events: self.events.each_ref().map(|column| column.each_ref().map(Cell::get)),
            drops: self.drops.each_ref().map(|column| column.each_ref().map(Cell::get)),
        }
    }
}

impl Fates {
    /// What has come since these were read.
    pub fn since(&self, begun: &Fates) -> Fates {
        let mut since = self.clone();
        let all = since.events.as_flattened_mut().iter_mut().zip(begun.events.as_flattened());
        let drops = since.drops.as_flattened_mut().iter_mut().zip(begun.drops.as_flattened());
        all.chain(drops).for_each(|(n, begun)| *n = n.wrapping_sub(*begun));
        since
    }
}

/// The sum of all workers' blocks at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Totals {
    events: [[u64; EVENTS]; 2],
    drops: [[u64; DropReason::COUNT]; 2],
    tallies: [u64; Tally::ALL.len()],
    hooks: [[u64; AT_HOOK]; HOOKS.len()],
    /// By the place of the link.
    pub links: Vec<LinkTotals>,
}

/// One link's sums of all its [`LinkCounters`](super::LinkCounters).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LinkTotals {
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
}

impl LinkTotals {
    /// What has come since these were read.
    pub fn since(&self, begun: &LinkTotals) -> LinkTotals {
        LinkTotals {
            rx_packets: self.rx_packets.wrapping_sub(begun.rx_packets),
            rx_bytes: self.rx_bytes.wrapping_sub(begun.rx_bytes),
            rx_dropped: self.rx_dropped.wrapping_sub(begun.rx_dropped),
            rx_missed: self.rx_missed.wrapping_sub(begun.rx_missed),
            tx_packets: self.tx_packets.wrapping_sub(begun.tx_packets),
            tx_bytes: self.tx_bytes.wrapping_sub(begun.tx_bytes),
            tx_dropped: self.tx_dropped.wrapping_sub(begun.tx_dropped),
        }
    }
}

/// What came to a hook: `seen = passed + dropped + held`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HookTotals {
    /// Packets that came there.
    pub seen: u64,
    /// Packets that went on.
    pub passed: u64,
    /// Packets that ended there.
    pub dropped: u64,
    /// Packets that somebody there took.
    pub held: u64,
}

impl Totals {
    /// Sums blocks.
    pub fn sum<'a>(blocks: impl IntoIterator<Item = &'a Counters>) -> Self {
        let mut t = Totals {
            events: [[0; EVENTS]; 2],
            drops: [[0; DropReason::COUNT]; 2],
            tallies: [0; Tally::ALL.len()],
            hooks: [[0; AT_HOOK]; HOOKS.len()],
            links: Vec::new(),
        };
        for b in blocks {
            for c in 0..2 {
                add_all(&mut t.events[c], &b.events[c]);
                add_all(&mut t.drops[c], &b.drops[c]);
            }
            add_all(&mut t.tallies, &b.tallies);
            for (sums, cells) in t.hooks.iter_mut().zip(&b.hooks) {
                add_all(sums, cells);
            }
            if t.links.len() < b.links.len() {
                t.links.resize(b.links.len(), LinkTotals::default());
            }
            for (sum, l) in t.links.iter_mut().zip(&b.links) {
                sum.rx_packets += l.rx_packets.get();
                sum.rx_bytes += l.rx_bytes.get();
                sum.rx_dropped += l.rx_dropped.get();
                sum.rx_missed += l.rx_missed.get();
                sum.tx_packets += l.tx_packets.get();
                sum.tx_bytes += l.tx_bytes.get();
                sum.tx_dropped += l.tx_dropped.get();
            }
        }
        t
    }

    /// How often an event happened in a column.
    pub fn event(&self, column: Column, event: Event) -> u64 {
        self.events[column as usize][event as usize]
    }

    /// How many packets of a column a reason ended.
    pub fn dropped(&self, column: Column, reason: DropReason) -> u64 {
        self.drops[column as usize][reason as usize]
    }

    /// How many packets a reason ended, in both columns.
    pub fn drops(&self, reason: DropReason) -> u64 {
        Column::ALL.iter().map(|c| self.dropped(*c, reason)).sum()
    }

    /// The value of a tally.
    pub fn tally(&self, what: Tally) -> u64 {
        self.tallies[what as usize]
    }

    /// What became of packets at a hook. Those that went the way of others of their flow without walking met no hook,
    /// and count as what these were: they came in, and were forwarded.
    pub fn hook(&self, hook: Hook) -> HookTotals {
        let [seen, dropped, held] = self.hooks[hook as usize];
        let replayed = match hook {
            Hook::Prerouting | Hook::Forward | Hook::Postrouting => self.tally(Tally::FlowCacheHits),
            Hook::Input | Hook::Output => 0,
        };
        let passed = seen.saturating_sub(dropped).saturating_sub(held) + replayed;
        HookTotals { seen: passed + dropped + held, passed, dropped, held }
    }

    /// Packets of a column that wait now. Exact when the workers are idle.
    pub fn parked(&self, column: Column) -> u64 {
        self.event(column, Event::Parked).saturating_sub(self.event(column, Event::Unparked))
    }

    /// All drops of a column.
    pub fn all_drops(&self, column: Column) -> u64 {
        self.drops[column as usize].iter().sum()
    }

    /// What entered a column less what became of it: zero whenever the workers are idle.
    pub fn imbalance(&self, column: Column) -> i64 {
        let out = self.event(column, Event::Sent)
            + self.event(column, Event::Delivered)
            + self.parked(column)
            + self.all_drops(column);
        self.event(column, Event::Entered).wrapping_sub(out) as i64
    }
}

fn add_all(sums: &mut [u64], cells: &[Cell]) {
    for (s, c) in sums.iter_mut().zip(cells) {
        *s += c.get();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::counters::AtHook;

    #[test]
    fn columns_balance_on_their_own() {
        let (a, b) = (Counters::new(2), Counters::new(3));
        for c in [&a, &b] {
            c.event(Column::Received, Event::Entered);
            c.event(Column::Received, Event::Entered);
            c.event(Column::Originated, Event::Entered);
        }
        a.event(Column::Received, Event::Sent);
        a.event(Column::Received, Event::Parked);
        b.event(Column::Received, Event::Unparked);
        b.event(Column::Received, Event::Sent);
        b.event(Column::Received, Event::Delivered);
        b.dropped(Column::Received, DropReason::NoRoute);
        let t = Totals::sum([&a, &b]);
        assert_eq!(t.imbalance(Column::Received), 0);
        assert_eq!(t.imbalance(Column::Originated), 2);
        assert_eq!(t.drops(DropReason::NoRoute), 1);
        assert_eq!(t.parked(Column::Received), 0);
        assert_eq!(t.links.len(), 3);
    }

    #[test]
    fn what_comes_to_a_hook_passes_or_ends_or_stays() {
        let (a, b) = (Counters::new(1), Counters::new(1));
        for what in [AtHook::Seen, AtHook::Seen, AtHook::Seen, AtHook::Dropped, AtHook::Held] {
            a.at_hook(Hook::Forward, what);
        }
        b.at_hook(Hook::Forward, AtHook::Seen);
        b.tally(Tally::FlowCacheHits, 7);
        let t = Totals::sum([&a, &b]);
        let forward = t.hook(Hook::Forward);
        assert_eq!(forward, HookTotals { seen: 11, passed: 9, dropped: 1, held: 1 });
        assert_eq!(t.hook(Hook::Postrouting), HookTotals { seen: 7, passed: 7, dropped: 0, held: 0 });
        assert_eq!(t.hook(Hook::Input), HookTotals::default());
    }
}
