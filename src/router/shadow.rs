//! A router beside a router: the same configuration and tables that know the same, so that what it does with a packet is what
//! the other would do. Its packets are never sent, and nothing that happens to it happens to the other.
//!
//! ```text
//! Router ── shadow ──► Shadow ── walk(packet) ──► Walked { what it would send, and every step }
//!                        │
//!                        └── of another Snapshot: what the other configuration would do
//! ```
//!
//! There is no second path for packets that are only asked about: the walk is [`path`](crate::path)'s, over tables of its own.
//! What can't be the same: ports that NAT draws and packets that rules pick by chance are drawn anew, and [`Walked::chance`]
//! says so; packets that wait somewhere in the router wait in the router alone; functions that programs have registered are
//! not asked, but taken to let packets pass.

mod compare;
mod flows;
mod outcome;

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;

use crate::base::counters::LinkTotals;
use crate::base::{Instant, LinkId, Mac};
use crate::filter::{Family, Program, Remembered};
use crate::packet::Packet;
use crate::path::trace::{Record, Wanted, Watch};
use crate::path::{Chance, FlowCacheConfig, Snapshot};
use crate::wire::proto;
use crate::wire::tcp::{self, Tcp};

use super::{Router, Shared, Worker};

pub use compare::{Comparison, Difference, Treated};
pub use outcome::{Fate, Outcome};

const FAMILIES: [Family; 2] = [Family::V4, Family::V6];

/// Records of one walk: its packet's, and those of the packets that it sets off.
const RECORDS: usize = 64;

/// What keeps the random numbers of a shadow apart from the router's.
const SEED: u64 = 0x5ad0_3a11_0e5c_a9ed;

/// A router that is only asked what it would do. For one thread.
pub struct Shadow {
    /// The router it is the shadow of.
    of: Router,
    router: Router,
    worker: Worker,
    /// The rules that its own are copies of, and where they remember something.
    rules: [Option<(Arc<Program>, Remembered)>; 2],
}

/// What would become of a packet.
#[derive(Debug)]
pub struct Walked {
    /// Frames that would be sent, in their order, and by which link: the packet, what it sets off, and what is asked of
    /// neighbors.
    pub sent: Vec<(LinkId, Packet)>,
    /// What would go to the local stack. What that would answer is not known here.
    pub host: Vec<Packet>,
    /// What was done: the packet's own record first. Empty unless steps were asked for.
    pub records: Vec<Record>,
    /// Lines that LOG rules would write, with syslog's levels.
    pub log: Vec<(u8, String)>,
    /// Which decisions were left to chance: they would be others the next time.
    pub chance: Chance,
}

impl Router {
    /// A shadow of this router as it is now. Copies what there is of rules and neighbors; flows are looked up when they are
    /// needed.
    pub fn shadow(&self) -> Shadow {
        self.shadow_under(&self.snapshot())
    }

    /// A shadow of this router as it would be with another configuration in force: links that stay have the same ids. Links
    /// that it does not have yet are taken to be up.
    pub fn shadow_under(&self, snapshot: &Snapshot) -> Shadow {
        let rules = FAMILIES.map(|family| snapshot.hooks.rules(family).map(|p| (p.clone(), p.remembered())));
        let (router, worker) = self.beside(Arc::new(snapshot.shadow()));
        Shadow { of: self.clone(), router, worker, rules }
    }

    /// Another router with tables that know what this one's do, and its worker.
    fn beside(&self, snapshot: Arc<Snapshot>) -> (Router, Worker) {
        let room = self.shared.room.max(snapshot.links.bound());
        let live = self.shared.live.shadow(room);
        let now = self.snapshot();
        for link in snapshot.links.iter() {
            let same = now.links.get(link.id).filter(|l| l.name == link.name);
            if same.is_none_or(|l| l.up != link.up) {
                live.states.set(link.id, link.up);
            }
        }
        let shared = Shared {
            snapshot: ArcSwap::from(snapshot),
            live,
            blocks: Mutex::default(),
            seed: self.shared.seed ^ SEED,
            flow_cache: FlowCacheConfig::OFF,
            room,
            caps: Mutex::new(vec![None; room]),
            begun: Mutex::new(vec![LinkTotals::default(); room]),
            wall_ms: self.shared.wall_ms,
        };
        let router = Router { shared: Arc::new(shared) };
        let mut worker = router.worker();
        let caps = self.shared.caps.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for (at, caps) in caps.into_iter().enumerate() {
            if let Some(caps) = caps {
                worker.set_caps(LinkId(at as u16), caps);
            }
        }
        (router, worker)
    }
}

/// Whether the local stack would answer a packet with a reset, as far as the ports tell: a connection to a service that has
/// been closed meanwhile goes on.
fn resets(snapshot: &Snapshot, p: &Packet) -> bool {
    p.meta.proto == proto::TCP
        && Tcp::new(p.l4())
            .is_some_and(|t| t.flags() & tcp::RST == 0 && !snapshot.listeners.tcp.contains(&t.dst_port()))
}

impl Shadow {
    /// The shadow's own tables, configuration and counters.
    pub fn router(&self) -> &Router {
        &self.router
    }

    /// The MAC of the station that a packet from an address comes from by a link, if it is known: its own, or that of the
    /// router in between.
    pub fn sender(&self, link: LinkId, src: IpAddr, now: Instant) -> Option<Mac> {
        let live = self.router.live();
        let own = live.neighbors.get(link, src, now).and_then(|n| n.mac);
        own.or_else(|| match flows::origin(&self.router.snapshot(), live, src) {
            Some(flows::Origin::Link(on, hop)) if on == link => live.neighbors.get(link, hop, now)?.mac,
            _ => None,
        })
    }

    /// A station that nobody has, for packets of which it is not known who sends them.
    pub fn somebody() -> Mac {
        flows::somebody()
    }

    /// What would become of a frame that comes in by a link, or of a packet that the router's own programs make (`None`), step
    /// by step. Later walks meet what earlier ones left behind.
    pub fn walk(&mut self, link: Option<LinkId>, packet: Packet, now: Instant) -> Walked {
        let tracer = &self.router.live().tracer;
        let watch = tracer.watch(Wanted { rate: u32::MAX, ..Wanted::default() }).ok();
        let mut walked = self.pass(link, packet, now);
        walked.records = watch.map(|w: Watch| w.take(RECORDS, usize::MAX)).unwrap_or_default();
        // What it set off may have ended before it was known that a link took it.
        walked.records.sort_by_key(|r| r.id);
        walked
    }

    /// The same without the steps.
    fn pass(&mut self, link: Option<LinkId>, packet: Packet, now: Instant) -> Walked {
        let worker = &mut self.worker;
        worker.local.chances();
        match link {
            Some(link) => worker.handle_frame(link, packet, now),
            None => worker.handle_local(packet, now),
        }
        let snapshot = self.router.snapshot();
        let (mut sent, mut host) = (Vec::new(), Vec::new());
        loop {
            sent.extend(std::iter::from_fn(|| worker.poll_transmit()));
            let taken: Vec<Packet> = worker.drain_host().collect();
            for p in &taken {
                match resets(&snapshot, p) {
                    true => worker.host_resets(&p.meta),
                    false => worker.host_took(&p.meta),
                }
            }
            host.extend(taken);
            if !worker.settle(now) {
                break;
            }
        }
        let log = worker.drain_log().collect();
        let chance = worker.local.chances();
        Walked { sent, host, records: Vec::new(), log, chance }
    }

    /// Forgets which flows were begun or changed by what has walked here, and what rules have counted on for it; random
    /// numbers begin anew.
    fn renew(&mut self) {
        self.router.live().conntrack.renew();
        self.worker.local.rewind();
        for (family, rules) in FAMILIES.into_iter().zip(&self.rules) {
            if let Some((of, which)) = rules
                && !which.is_empty()
                && let Some(own) = self.router.snapshot().hooks.rules(family)
            {
                own.recall(of, which);
            }
        }
    }

    /// Knows the router's neighbors and limits again as they are now.
    fn refresh(&mut self) {
        (self.router, self.worker) = self.of.beside(self.router.snapshot());
        self.renew();
    }
}
