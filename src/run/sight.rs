//! The router as those see it who ask: for the control socket and for the metrics.
//!
//! Knows nothing of who asks what.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use arc_swap::ArcSwap;

use super::clock::Clock;
use crate::base::Instant;
use crate::config::Setup;
use crate::control::answer::{Rest, Sources};
use crate::control::server::Census;
use crate::control::view::ControlStats;
use crate::router::Router;

/// What answers are made of. Cloning gives another handle.
#[derive(Clone)]
pub(super) struct Sight {
    pub(super) router: Router,
    /// What is in force.
    pub(super) setup: Arc<ArcSwap<Setup>>,
    pub(super) clock: Clock,
    /// Who talks to the router.
    pub(super) census: Arc<Census>,
    /// How many transactions there have been.
    pub(super) transactions: Arc<AtomicU64>,
    /// Where the metrics are.
    pub(super) metrics: Option<SocketAddr>,
}

impl Sight {
    /// The router as it is now.
    pub(super) fn sources<T>(&self, look: impl FnOnce(&Sources<'_>) -> T) -> T {
        let setup = self.setup.load_full();
        let snapshot = self.router.snapshot();
        let live = self.router.live();
        let now = self.clock.now();
        look(&Sources {
            name: &setup.config.name,
            uptime: now.since(Instant::ZERO),
            now,
            totals: &self.router.totals(),
            links: &snapshot.links,
            states: &live.states,
            rib: &setup.rib,
            neighbors: &live.neighbors,
            dad: &live.dad,
            conntrack: &live.conntrack,
            hooks: &snapshot.hooks,
            tracer: &live.tracer,
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
                transactions: self.transactions.load(Relaxed),
            },
            metrics: self.metrics,
            router: Some(self.router.clone()),
        }
    }
}
