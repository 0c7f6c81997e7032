//! What a walk has at hand: the snapshot, the living tables, and the worker's own things.

use std::collections::{HashMap, VecDeque};
use std::net::Ipv6Addr;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};

use siphasher::sip::SipHasher13;

use crate::base::counters::Tally;
use crate::base::{Column, Counters, DropReason, Event, Instant, LinkId};
use crate::conntrack::{self, Conntrack, Current};
use crate::fib::Fib;
use crate::link::{LinkStates, Links};
use crate::neighbor::{self, Dad, NeighborTable};
use crate::packet::{Caps, Ct, CtState, Packet, Pool, Steering};
use crate::reassembly::{self, Reassembler};
use crate::wire::proto;

use super::flow_cache::{FlowCache, FlowCacheConfig};
use super::hook::Hooks;
use super::limit::Limits;
use super::queue::{Queue, Queues};
use super::resolve::Memo;
use super::sample::Sampler;
use super::trace::{Following, Step, Tracer};
use super::{Bound, Work};
use super::{coalesce, egress};

/// The configuration as the walk uses it: immutable, swapped whole.
#[derive(Clone)]
pub struct Snapshot {
    /// The links and their addresses.
    pub links: Links,
    /// The routes.
    pub fib: Arc<Fib>,
    /// The ports of the local stack.
    pub listeners: Listeners,
    /// ICMP errors per second in all (`net.ipv4.icmp_msgs_per_sec`); `u32::MAX`: no limit, for no peer either.
    pub icmp_rate: u32,
    /// What hangs at the hooks.
    pub hooks: Hooks,
}

impl Snapshot {
    /// The same configuration for a router beside the one it is in force in: its rules count and remember for themselves,
    /// and functions that programs have registered are not asked, but taken to let everything pass.
    pub(crate) fn shadow(&self) -> Snapshot {
        Snapshot { hooks: self.hooks.shadow(), ..self.clone() }
    }
}

/// Which ports the local stack has open.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listeners {
    /// Open UDP ports.
    pub udp: Vec<u16>,
    /// Open TCP ports: for NAT to keep off. What comes to others the stack refuses by itself.
    pub tcp: Vec<u16>,
}

impl Listeners {
    /// Whether something here waits on this port.
    pub(super) fn hold(&self, proto: u8, port: u16) -> bool {
        match proto {
            proto::UDP => self.udp.contains(&port),
            proto::TCP => self.tcp.contains(&port),
            _ => false,
        }
    }
}

/// Sizes and timers of the living tables.
#[derive(Debug, Clone, Default)]
pub struct LiveConfig {
    /// The neighbor table's.
    pub neighbor: neighbor::Config,
    /// The reassemblers', each.
    pub reassembly: reassembly::Config,
    /// Conntrack's.
    pub conntrack: conntrack::Config,
    /// Which worker a packet is for.
    pub steering: Steering,
    /// The flow cache's of each worker.
    pub flow_cache: FlowCacheConfig,
    /// What random choices (timers, identifiers, hashes) grow from.
    pub seed: u64,
    /// How many links there is room for beyond those the router begins with.
    pub spare_links: usize,
}

/// The tables that live while packets pass; shared by all workers.
pub struct Live {
    /// ARP and NDP.
    pub neighbors: NeighborTable,
    /// Duplicate address detection for our own addresses.
    pub dad: Dad,
    /// Half-done datagrams for this router.
    pub reassembler: Reassembler,
    /// Half-done datagrams that conntrack waits for.
    pub defrag: Reassembler,
    /// The flows.
    pub conntrack: Arc<Conntrack>,
    /// Which worker a packet is for.
    pub steering: Steering,
    /// How many of the flows that made way for others stand in the ledger.
    pub(super) evicted: AtomicU64,
    /// Which links are up.
    pub states: LinkStates,
    /// Rate limits on ICMP.
    pub limits: Limits,
    /// The recorder of packets' ways.
    pub tracer: Arc<Tracer>,
    /// Samples of what comes in.
    pub sampler: Arc<Sampler>,
    /// On which link a link-local peer of the local stack was heard last.
    pub(super) peers: Mutex<HashMap<Ipv6Addr, LinkId>>,
    /// Packets that wait for a program's word.
    pub(super) queues: Queues,
    /// The key of the hash that spreads flows over next hops.
    pub(super) flow_key: u64,
}

impl Live {
    /// Empty tables for a router with room for `links` links, the loopback included.
    pub fn new(links: usize, config: LiveConfig) -> Self {
        let LiveConfig { neighbor, reassembly, conntrack, steering, seed, flow_cache: _, spare_links: _ } =
            config;
        Live {
            neighbors: NeighborTable::new(neighbor, seed),
            dad: Dad::new(neighbor::DadConfig::default(), seed.rotate_left(8)),
            reassembler: Reassembler::new(reassembly.clone()),
            defrag: Reassembler::new(reassembly),
            conntrack: Arc::new(Conntrack::new(conntrack, seed.rotate_left(41)).steered(steering)),
            steering,
            evicted: AtomicU64::new(0),
            states: LinkStates::new(links),
            limits: Limits::new(seed ^ 0x1c3b),
            tracer: Arc::default(),
            sampler: Arc::default(),
            peers: Mutex::new(HashMap::new()),
            queues: Queues::default(),
            flow_key: seed.rotate_left(17) | 1,
        }
    }
}

impl Live {
    /// Tables of their own that know what these do, for a router beside this one whose packets are never sent: what
    /// happens there does not happen here. The flow table there is a [shadow](Conntrack::shadow_of) of this one; queues of
    /// programs are not there.
    pub(crate) fn shadow(&self, links: usize) -> Live {
        Live {
            neighbors: self.neighbors.shadow(),
            dad: self.dad.shadow(),
            reassembler: self.reassembler.shadow(),
            defrag: self.defrag.shadow(),
            conntrack: Arc::new(Conntrack::shadow_of(&self.conntrack)),
            steering: self.steering,
            evicted: AtomicU64::new(0),
            states: self.states.shadow(links),
            limits: self.limits.shadow(),
            tracer: Arc::default(),
            sampler: Arc::default(),
            peers: Mutex::new(self.peers.lock().unwrap_or_else(PoisonError::into_inner).clone()),
            queues: Queues::default(),
            flow_key: self.flow_key,
        }
    }

    /// Opens a queue for packets that hooks queue; see [`Router::queue`](crate::router::Router::queue).
    pub(crate) fn open_queue(&self, number: u16, capacity: usize) -> Queue {
        self.queues.open(number, capacity)
    }
}

/// What one worker owns alone.
pub struct Local {
    /// Its column of the ledger.
    pub counters: Arc<Counters>,
    /// Its free storage.
    pub pool: Pool,
    /// Frames ready to be sent, by link.
    pub outbox: Vec<VecDeque<Packet>>,
    /// What each link's device takes, by link; `None` where there is no link.
    pub(super) caps: Vec<Option<Caps>>,
    /// What every device takes that packets from a link can leave by, by link.
    pub(super) common: Vec<Caps>,
    /// Packets for the local stack.
    pub to_host: Vec<Packet>,
    /// The flow of the packet that walks, if conntrack has seen it.
    pub(super) flow: Option<Current>,
    /// Neighbors whose parked packets stand in the outbox; see [`NeighborTable::drained`].
    pub(super) draining: Vec<(LinkId, std::net::IpAddr)>,
    pub(super) line: VecDeque<Work>,
    pub(super) memo: Memo,
    pub(super) actions: Vec<neighbor::Action>,
    pub(super) pieces: Vec<Packet>,
    /// Which of the workers this is: the column in which rules count.
    pub(super) lane: usize,
    /// Lines for the log, with syslog's levels.
    pub(super) log: Vec<(u8, String)>,
    /// What others of a packet's flow went through.
    pub(super) cache: FlowCache,
    /// Whose ways are being recorded.
    pub(super) trace: Following,
    /// What was refused after its walk, until those who ask for drops hear of it.
    pub(super) refused: Vec<(DropReason, Packet)>,
    /// How many packets go by before the next one that is sampled.
    pub(super) unsampled: u32,
    /// What random numbers are made with, and how many were.
    rng: (SipHasher13, u64),
    /// Which decisions were left to chance since somebody asked.
    chance: Chance,
}

/// Which decisions about packets were left to chance.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Chance {
    /// A rule with `statistic --mode random`.
    pub rules: bool,
    /// A port that NAT gave.
    pub nat: bool,
}

impl Local {
    /// The things of worker number `lane` of a router with room for `links` links. `seed` need only differ between workers.
    pub fn new(links: usize, lane: usize, seed: u64, cache: FlowCacheConfig) -> Self {
        let mut rng = (SipHasher13::new_with_keys(seed, lane as u64), 0);
        let cache = FlowCache::new(cache, || random(&mut rng));
        Local {
            counters: Arc::new(Counters::new(links)),
            pool: Pool::with(SMALL_KEPT, LARGE_KEPT),
            outbox: (0..links).map(|_| VecDeque::new()).collect(),
            caps: vec![None; links],
            common: vec![Caps::PLAIN; links],
            to_host: Vec::new(),
            flow: None,
            draining: Vec::new(),
            line: VecDeque::new(),
            memo: Memo::new(),
            actions: Vec::new(),
            pieces: Vec::new(),
            lane,
            log: Vec::new(),
            cache,
            trace: Following::default(),
            refused: Vec::new(),
            unsampled: 0,
            rng,
            chance: Chance::default(),
        }
    }

    /// Has the flow cache room for so many directions of flows; it begins empty.
    pub fn resize_flow_cache(&mut self, entries: u32) {
        let gone = self.cache.resize(entries);
        self.counters.tally(Tally::FlowCacheLeft, gone as u64);
    }

    /// Says what a link's device takes; `None`: there is no link.
    pub fn set_caps(&mut self, link: LinkId, caps: Option<Caps>) {
        let Some(old) = self.caps.get_mut(link.index()).filter(|old| **old != caps) else { return };
        *old = caps;
        for (at, common) in self.common.iter_mut().enumerate() {
            *common = coalesce::common(&self.caps, LinkId(at as u16));
        }
    }

    /// Lines that rules have written to the log, with syslog's levels.
    pub fn drain_log(&mut self) -> std::vec::Drain<'_, (u8, String)> {
        self.log.drain(..)
    }

    /// A number that outsiders can't guess, whatever they have seen of those before: identifiers of datagrams made
    /// here, ports that NAT gives (RFC 6056 §3.3). A keyed hash of how many there were.
    pub(super) fn random(&mut self) -> u64 {
        random(&mut self.rng)
    }

    /// A number that a decision rests on: not the same for every packet alike.
    pub(super) fn chance(&mut self, of: impl FnOnce(&mut Chance) -> &mut bool) -> u64 {
        *of(&mut self.chance) = true;
        self.random()
    }

    /// Which decisions were left to chance since this was asked last.
    pub(crate) fn chances(&mut self) -> Chance {
        std::mem::take(&mut self.chance)
    }

    /// Begins the sequence of random numbers anew.
    pub(crate) fn rewind(&mut self) {
        self.rng.1 = 0;
    }

    /// The configuration that packets are to meet from now on: what was recorded under another is forgotten. And who wants
    /// to know of them.
    #[inline]
    pub(crate) fn under(&mut self, snapshot: &Arc<Snapshot>, tracer: &Tracer) {
        self.trace.under(tracer);
        let gone = self.cache.under(snapshot);
        if gone > 0 {
            self.counters.tally(Tally::FlowCacheLeft, gone as u64);
        }
    }
}

impl Local {
    /// What is done when a batch is: those who follow packets hear of them.
    #[inline]
    pub(crate) fn done(&mut self, tracer: &Tracer) {
        self.trace.settle(tracer);
    }

    /// Says whether what comes now was taken from its device by another worker.
    pub(crate) fn handed_over(&mut self, is: bool) {
        self.trace.handed_over = is;
    }
}

fn random((key, n): &mut (SipHasher13, u64)) -> u64 {
    *n = n.wrapping_add(1);
    key.hash(&n.to_le_bytes())
}

/// Pieces of storage a worker keeps for ordinary frames: as many as one outbox may hold, for a batch of super-frames that
/// were cut. 8 MiB, if it ever comes to that.
const SMALL_KEPT: usize = egress::OUTBOX;
/// And for super-frames: four batches, 16 MiB.
const LARGE_KEPT: usize = 256;

/// One walk's surroundings.
pub struct Cx<'a> {
    /// The moment of the batch.
    pub now: Instant,
    /// Seconds since midnight UTC in milliseconds, for IPv4 timestamps (RFC 791).
    pub wall_ms: u32,
    /// The configuration.
    pub snap: &'a Snapshot,
    /// The shared tables.
    pub live: &'a Live,
    /// The worker's own things.
    pub me: &'a mut Local,
}

impl Cx<'_> {
    /// Ends a packet, by name.
    pub(super) fn drop(&mut self, packet: Packet, reason: DropReason) {
        self.note_drop(&packet, reason);
        let meta = &packet.meta;
        self.me.counters.dropped(meta.column, reason);
        if meta.column == Column::Received
            && let Some(c) = self.me.counters.link(meta.ingress)
        {
            c.rx_dropped.add(1);
        }
        self.me.pool.put(packet);
    }

    /// Ends a packet that has done what it came for.
    pub(super) fn delivered(&mut self, packet: Packet) {
        self.note_delivered(&packet);
        self.me.counters.event(packet.meta.column, Event::Delivered);
        self.me.pool.put(packet);
    }

    /// Puts a packet that the router made in line to walk outward. Its data starts at its IP header.
    pub(super) fn originate(&mut self, mut packet: Packet, bound: Bound) {
        packet.meta.ct = Ct::default();
        self.enter(packet, bound, None);
    }

    /// Likewise, a packet about `other`: it belongs to its flow, and goes the other way (`nf_ct_attach`).
    pub(super) fn originate_about(&mut self, mut packet: Packet, bound: Bound, other: &Packet) {
        let ct = other.meta.ct;
        packet.meta.ct = match ct.is_tracked() {
            true => Ct { state: CtState::Related, dir: ct.dir.turned(), flow: ct.flow },
            false => Ct::default(),
        };
        // A flow that only begins is in no table yet.
        let flow = self.me.flow.filter(|f| ct.is_tracked() && f.id == ct.flow).map(Box::new);
        self.enter(packet, bound, flow);
    }

    fn enter(&mut self, mut packet: Packet, bound: Bound, flow: Option<Box<Current>>) {
        packet.meta.column = Column::Originated;
        packet.meta.ingress = LinkId::LO;
        packet.meta.mark = 0;
        self.me.counters.event(Column::Originated, Event::Entered);
        self.me.line.push_back(Work::Outward(packet, bound, flow));
    }

    /// Turns a packet that left by the loopback round, to come in again.
    pub(super) fn loop_back(&mut self, mut packet: Packet) {
        // What came with a link-layer header goes on without: the loopback has none.
        packet.set_l2_len(0);
        if let Some(c) = self.me.counters.link(LinkId::LO) {
            let len = packet.len() as u64;
            c.tx_packets.add(1);
            c.tx_bytes.add(len);
            c.rx_packets.add(1);
            c.rx_bytes.add(len);
        }
        packet.meta.ingress = LinkId::LO;
        self.note(&packet, |_| Step::Looped);
        // It comes in again with the flow it has left with: a reset ends its flow as it leaves.
        let ct = packet.meta.ct;
        let flow = self.me.flow.filter(|f| ct.is_tracked() && f.id == ct.flow);
        let flow = flow.filter(|f| f.id.is_none_or(|id| self.live.conntrack.get(id).is_none()));
        self.me.line.push_back(Work::Inward(packet, flow.map(Box::new)));
    }

    /// Counts a packet made out of another: a further fragment or segment.
    pub(super) fn multiplied(&mut self, n: usize) {
        for _ in 0..n {
            self.me.counters.event(Column::Originated, Event::Entered);
        }
    }

    /// Counts something.
    pub(super) fn tally(&self, what: Tally) {
        self.me.counters.tally(what, 1);
    }

    /// The name of a link, for records.
    pub(super) fn link_name(&self, link: LinkId) -> &str {
        self.snap.links.get(link).map_or("?", |l| &l.name)
    }
}
