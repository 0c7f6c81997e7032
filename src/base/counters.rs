//! The ledger: what became of every packet.
//!
//! Each worker owns one [`Counters`] block and is its only writer, so that counting is a plain load
//! and store on a line nobody else writes; readers sum the blocks. Two columns keep packets that
//! came in apart from those the router made itself, and each balances on its own:
//!
//! ```text
//! entered = sent + delivered + (parked − unparked) + Σ dropped[reason]
//! ```

mod load;
mod totals;

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::{DropReason, HOOKS, Hook, LinkId};
pub use load::{FlowTotals, LaneTotals, Load, Recent};
pub use totals::{Fates, HookTotals, LinkTotals, Totals};

/// Which side of the ledger a packet stands on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[repr(u8)]
pub enum Column {
    /// It came in through a link.
    #[default]
    Received,
    /// The router made it: ICMP, ARP, NDP, the local stack, further fragments and segments.
    Originated,
}

impl Column {
    /// Both columns.
    pub const ALL: [Column; 2] = [Column::Received, Column::Originated];
}

/// What can happen to a packet, other than a drop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Event {
    /// It entered the ledger.
    Entered,
    /// A link took it.
    Sent,
    /// This router was where it was going, and used it up.
    Delivered,
    /// It began to wait: for a neighbor, or for its other fragments.
    Parked,
    /// It went on after waiting.
    Unparked,
}

impl Event {
    /// Every event.
    pub const ALL: [Event; 5] =
        [Event::Entered, Event::Sent, Event::Delivered, Event::Parked, Event::Unparked];
}

macro_rules! tallies {
    ($($variant:ident $name:literal $text:literal;)+) => {
        /// Things worth counting that are not the end of a packet.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum Tally { $(#[doc = $text] $variant),+ }

        impl Tally {
            /// Every tally, in the order shown.
            pub const ALL: &[Tally] = &[$(Tally::$variant),+];
            /// The name in `sekisho stats`.
            pub const fn name(self) -> &'static str {
                match self { $(Tally::$variant => $name),+ }
            }
            /// What it counts, in a few words.
            pub const fn text(self) -> &'static str {
                match self { $(Tally::$variant => $text),+ }
            }
        }
    };
}

tallies! {
    Forwarded "forwarded" "packets forwarded from one link to another or back";
    Fragmented "fragmented" "packets cut into fragments on the way out";
    Fragments "fragments_made" "fragments made of them";
    Segmented "segmented" "super-frames cut into segments in software";
    Segments "segments_made" "segments made of them";
    Coalesced "coalesced" "super-frames made of segments that came in together";
    Coalesce "segments_coalesced" "segments in them";
    Checksummed "checksums_finished" "partial checksums finished in software";
    Reassembled "reassembled" "datagrams put together from fragments";
    Redirects "redirects_sent" "ICMP redirects sent";
    IcmpErrors "icmp_errors_sent" "ICMP errors sent";
    IcmpSuppressed "icmp_errors_suppressed" "ICMP errors not sent, by rule";
    IcmpLimited "icmp_errors_limited" "ICMP errors not sent, by rate limit";
    EchoReplies "echo_replies_sent" "echo requests answered";
    ArpReplies "arp_replies_sent" "ARP requests answered";
    Solicitations "solicitations_sent" "ARP requests and neighbor solicitations sent";
    Advertisements "advertisements_sent" "neighbor advertisements sent";
    NeighborFailures "neighbor_failures" "neighbors that did not answer";
    NeighborEvictions "neighbor_evictions" "neighbors forgotten to make room";
    DuplicateAddresses "duplicate_addresses" "addresses of ours that another station has";
    FlowsBegun "flows_begun" "flows entered into the flow table";
    FlowsExpired "flows_expired" "flows forgotten because no packet came";
    FlowsEvicted "flows_evicted" "unassured flows dropped early to make room";
    FlowsClashed "flows_clashed" "first packets that found their flow begun by another, and joined it";
    CtInvalid "conntrack_invalid" "packets that belong to no flow and can begin none";
    CtErrors "conntrack_errors" "ICMP messages among them";
    CtUntracked "conntrack_untracked" "packets that a rule kept from conntrack";
    NatTaken "nat_taken" "translations that NAT looked at and another flow had";
    Queued "hook_queued" "packets that a hook queued for a program";
    Logged "log_lines" "lines that LOG rules wrote";
    HandedOver "packets_handed_over" "packets that came to another worker's port, and were handed to it";
    LogLost "log_lines_lost" "lines of LOG rules that came too fast to be written";
    NextHopMemo "next_hop_memo_hits" "next hops found without looking into the table";
    FlowCacheHits "flow_cache_hits" "packets that went the way of others of their flow, without walking";
    FlowCacheUnknown "flow_cache_unknown" "packets that walked: the cache did not know their flow";
    FlowCacheOther "flow_cache_other" "packets that walked: of a kind the cache does not know (fragments, options, ARP)";
    FlowCacheTurns "flow_cache_turns" "packets that walked: TCP with SYN, FIN or RST";
    FlowCacheDiffers "flow_cache_differs" "packets that walked: not like those of their flow before";
    FlowCacheFlow "flow_cache_flow_changed" "packets that walked: their flow's state is another, or it has ended";
    FlowCacheNeighbor "flow_cache_neighbor" "packets that walked: their neighbor was to be asked for again";
    FlowCacheTraced "flow_cache_traced" "packets that walked: they were followed";
    FlowCacheEntered "flow_cache_entered" "directions of flows put into the cache";
    FlowCacheLeft "flow_cache_left" "directions of flows that made way, or were forgotten with the rules, routes or links";
}

const EVENTS: usize = Event::ALL.len();

/// What becomes of a packet at a hook, other than that it passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum AtHook {
    /// It came there. One that was queued and comes back is seen again.
    Seen,
    /// It ended there.
    Dropped,
    /// Somebody there has taken it: a queue, a function, or the datagram it is a fragment of.
    Held,
}

/// How many things are counted at a hook.
const AT_HOOK: usize = 3;

/// One link's traffic as one worker saw it. Packets and bytes as on the wire, with the L2 header.
/// On lines of its own, so that two workers' tables share none.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct LinkCounters {
    /// Frames received.
    pub rx_packets: Cell,
    /// Bytes received.
    pub rx_bytes: Cell,
    /// Frames received and dropped before they were forwarded or delivered.
    pub rx_dropped: Cell,
    /// Frames lost before they could be received: they are not in the ledger.
    pub rx_missed: Cell,
    /// Frames sent.
    pub tx_packets: Cell,
    /// Bytes sent.
    pub tx_bytes: Cell,
    /// Frames this link should have sent and did not.
    pub tx_dropped: Cell,
}

/// A counter with one writer. Padding it to a line would not help: its neighbors have the same writer.
#[derive(Debug, Default)]
pub struct Cell(AtomicU64);

impl Cell {
    /// Adds `n`. Only the owner calls this.
    #[inline]
    pub fn add(&self, n: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(n), Relaxed);
    }

    /// Puts `n` in its place. Only the owner calls this.
    pub fn set(&self, n: u64) {
        self.0.store(n, Relaxed);
    }

    /// The value; may be read from any thread.
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// One worker's counters. Aligned so that two workers' blocks share no line, prefetch pairs included.
#[derive(Debug)]
#[repr(align(128))]
pub struct Counters {
    events: [[Cell; EVENTS]; 2],
    drops: [[Cell; DropReason::COUNT]; 2],
    tallies: [Cell; Tally::ALL.len()],
    hooks: [[Cell; AT_HOOK]; HOOKS.len()],
    load: Load,
    links: Vec<LinkCounters>,
}

impl Counters {
    /// A block for a router with `links` links, the loopback included.
    pub fn new(links: usize) -> Self {
        let cells = |_| Cell::default();
        Counters {
            events: std::array::from_fn(|_| std::array::from_fn(cells)),
            drops: std::array::from_fn(|_| std::array::from_fn(cells)),
            tallies: std::array::from_fn(cells),
            hooks: std::array::from_fn(|_| std::array::from_fn(cells)),
            load: Load::default(),
            links: (0..links).map(|_| LinkCounters::default()).collect(),
        }
    }

    /// Counts an event.
    #[inline]
    pub fn event(&self, column: Column, event: Event) {
        self.events[column as usize][event as usize].add(1);
    }

    /// Counts an event that happened to `n` packets.
    pub fn events(&self, column: Column, event: Event, n: u64) {
        self.events[column as usize][event as usize].add(n);
    }

    /// Counts `n` drops.
    pub fn drops(&self, column: Column, reason: DropReason, n: u64) {
        self.drops[column as usize][reason as usize].add(n);
    }

    /// Counts a drop.
    #[inline]
    pub fn dropped(&self, column: Column, reason: DropReason) {
        self.drops[column as usize][reason as usize].add(1);
    }

    /// Counts something that is not the end of a packet.
    #[inline]
    pub fn tally(&self, what: Tally, n: u64) {
        self.tallies[what as usize].add(n);
    }

    /// Counts a packet at a hook.
    #[inline]
    pub fn at_hook(&self, hook: Hook, what: AtHook) {
        self.hooks[hook as usize][what as usize].add(1);
    }

    /// What its thread does with its time.
    #[inline]
    pub fn load(&self) -> &Load {
        &self.load
    }

    /// This block alone, for readers.
    pub fn lane(&self) -> LaneTotals {
        // The loopback moves nothing.
        let moved = self.load.lane(self.links.get(1..).unwrap_or_default());
        LaneTotals { flows: self.flows(), ..moved }
    }

    fn flows(&self) -> FlowTotals {
        let tally = |what: Tally| self.tallies[what as usize].get();
        let dropped =
            |why: DropReason| Column::ALL.iter().map(|c| self.drops[*c as usize][why as usize].get()).sum();
        FlowTotals {
            taken: tally(Tally::NatTaken),
            invalid: tally(Tally::CtInvalid),
            errors: tally(Tally::CtErrors),
            begun: tally(Tally::FlowsBegun),
            joined: tally(Tally::FlowsClashed),
            clashed: dropped(DropReason::ConntrackClash),
            full: dropped(DropReason::ConntrackFull),
            evicted: tally(Tally::FlowsEvicted),
        }
    }

    /// A link's counters; `None` for a link made after this block.
    #[inline]
    pub fn link(&self, link: LinkId) -> Option<&LinkCounters> {
        self.links.get(link.index())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_is_shown_without_the_loopback() {
        let a = Counters::new(2);
        for (link, n) in [(LinkId(0), 100), (LinkId(1), 3)] {
            a.link(link).unwrap().rx_packets.add(n);
        }
        a.load().busy.add(5);
        let recent = Recent { window: 4, busy: 3, batches: 2, packets: 1 };
        a.load().set_recent(Recent { window: 9, ..recent });
        a.load().set_recent(recent);
        let lane = a.lane();
        assert_eq!((lane.rx_packets, lane.busy, lane.recent), (3, 5, recent));
    }
}
