//! The router as those see it who ask: for the control socket and for the metrics.
//!
//! Knows nothing of who asks what.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::clock::Clock;
use crate::base::Instant;
use crate::control::answer::{Rest, Sources};
use crate::control::server::Census;
use crate::control::view::ControlStats;
use crate::fib::Rib;
use crate::router::Router;

/// What answers are made of. Cloning gives another handle.
#[derive(Clone)]
pub(super) struct Sight {
    pub(super) name: String,
    pub(super) router: Router,
    pub(super) rib: Arc<Rib>,
    pub(super) clock: Clock,
    /// Who talks to the router.
    pub(super) census: Arc<Census>,
    /// Where the metrics are.
    pub(super) metrics: Option<SocketAddr>,
}

impl Sight {
    /// The router as it is now.
    pub(super) fn sources<T>(&self, look: impl FnOnce(&Sources<'_>) -> T) -> T {
        let snapshot = self.router.snapshot();
        let live = self.router.live();
        let now = self.clock.now();
        look(&Sources {
            name: &self.name,
            uptime: now.since(Instant::ZERO),
            now,
            totals: &self.router.totals(),
            links: &snapshot.links,
            states: &live.states,
            rib: &self.rib,
            neighbors: &live.neighbors,
            dad: &live.dad,
            conntrack: &live.conntrack,
            hooks: &snapshot.hooks,
            rest: self.rest(),
        })
    }

    /// What is counted outside of the tables.
    fn rest(&self) -> Rest {
        let live = self.router.live();
        let (a, b) = (&live.reassembler, &live.defrag);
        Rest {
            workers: self.router.lanes(live.steering.workers as usize),
            reassembly: (a.datagrams() + b.datagrams(), a.memory() + b.memory()),
            control: ControlStats {
                clients: self.census.clients.load(Relaxed),
                refused: self.census.refused.load(Relaxed),
                requests: self.census.requests.load(Relaxed),
                transactions: 0,
            },
            metrics: self.metrics,
            sampler: live.sampler.clone(),
        }
    }
}
