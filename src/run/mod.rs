//! The running router: threads, clock, shutdown.
//!
//! ```text
//! worker × N   owns one port of each link: receive → walk → transmit, to completion
//! host × 1     the local stack: channels in and out
//! engine × 1   transactions; makes the routes anew when a link goes up or down, and ends flows whose address went
//! log × 1      writes the lines of LOG rules
//! metrics × 1  answers Prometheus, if it is asked for
//! caller       control socket, signals
//! ```
//!
//! [`start`] opens everything first and forwards only then: it either gives a router that works
//! whole, or an error and nothing left behind. Threads inherit the network namespace of the caller.
//!
//! Shutdown: the flag is set, every thread is woken, each empties what it has and ends, ports are
//! dropped (which gives back what they took from the host), then [`Running::stop`] returns.

mod clock;
mod desk;
mod engine;
mod gather;
mod handover;
mod host;
mod load;
mod log;
mod nap;
mod privileges;
mod rest;
#[cfg(test)]
mod sample;
mod serve;
mod sight;
mod signals;
pub mod systemd;
mod watch;
mod worker;

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::{self, JoinHandle};

use arc_swap::ArcSwap;
use crossbeam_channel::{Receiver, Sender, TrySendError};
use mio::{Poll, Waker};

use crate::base::{Instant, LinkId};
use crate::config::{Config, Enable, Problems, Setup};
use crate::control::answer::{answer, explain, stats};
use crate::control::metrics::Endpoint;
use crate::control::monitor::{self, Hub};
use crate::control::server::Census;
use crate::control::{Answer, Verb};
use crate::filter::{Family, Program};
use crate::host::Host;
use crate::io::{OpenError, Port};
use crate::packet::Steering;
use crate::path::{FlowCacheConfig, Hooks, Listeners, LiveConfig, Snapshot, Tracking};
use crate::router::Router;

pub use clock::Clock;
use desk::Desk;
use engine::{Ask, Bell, Engine, Gone, Parts, devices::Devices};
use handover::Peers;
pub use privileges::{PrivilegeError, SystemCalls, renounce, seal};
pub use serve::{ServeError, serve};
use sight::Sight;
pub use signals::{Asked, Signals};
use watch::Watch;
use worker::{Loop, SharedWaker, Ties};

/// Packets on their way to the local stack, and back, that may wait.
const HOST_CHANNEL: usize = 1_024;

/// Links there is room for beyond those at the start.
const SPARE_LINKS: usize = 256;

/// Why a router did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration can't be put into force.
    #[error("{0}")]
    Config(#[from] Problems),
    /// A link's device could not be opened.
    #[error("link {link}: {source}")]
    Open {
        /// The link.
        link: String,
        /// What was wrong.
        source: OpenError,
    },
    /// The metrics can't be offered there.
    #[error("[router] metrics: can't listen at {at}: {source}")]
    Metrics {
        /// Where.
        at: SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// What had to be done before the threads start.
    #[error("{0}")]
    Before(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The system refused a thread or a poll.
    #[error("the system refused a thread or its poll: {0}")]
    System(#[from] io::Error),
}

/// A router at work. Dropping it stops it.
pub struct Running {
    sight: Sight,
    /// Where transactions are asked for.
    asks: Sender<Ask>,
    bell: Bell,
    hub: Hub,
    stop: Arc<AtomicBool>,
    wakers: Vec<SharedWaker>,
    threads: Vec<(String, JoinHandle<io::Result<()>>)>,
    /// Nobody sends here: it is closed when the last line of the log has been written.
    log_written: Receiver<()>,
}

/// Opens the links and starts the threads.
pub fn start(config: &Config) -> Result<Running, StartError> {
    start_after(config, || Ok(()))
}

/// The same, with something to do in between: when everything is open, and no thread is there to keep what this one gives
/// up.
pub fn start_after(
    config: &Config,
    before: impl FnOnce() -> Result<(), Box<dyn std::error::Error + Send + Sync>>,
) -> Result<Running, StartError> {
    let (setup, fib) = Setup::with_table(config.clone(), None)?;
    let services = engine::services(config);
    let snapshot = Snapshot {
        hooks: hooks(config, &setup.programs),
        // Each service answers on both.
        listeners: Listeners { udp: services.ports(), tcp: services.ports() },
        fib: Arc::new(fib),
        icmp_rate: config.icmp.rate,
        links: setup.links.clone(),
    };
    let cpus = thread::available_parallelism().map_or(1, usize::from);
    let workers = config.workers(cpus);
    let seed = RandomState::new().build_hasher().finish();
    let steering = Steering {
        key: (seed >> 32) as u32,
        workers: workers as u32,
        addresses: [Family::V4, Family::V6].map(|family| !snapshot.hooks.translates(family)),
    };
    let metrics = match config.metrics {
        Some(at) => Some(Endpoint::bind(at).map_err(|source| StartError::Metrics { at, source })?),
        None => None,
    };
    let devices = Devices::new(steering);
    let mut ports = open(&setup, &devices)?;
    crate::io::prepare(&steering);
    before().map_err(StartError::Before)?;

    let conntrack = config.conntrack.table.clone();
    let flow_cache = FlowCacheConfig { entries: config.flow_cache, ..FlowCacheConfig::default() };
    let spare_links = SPARE_LINKS;
    let live = LiveConfig { seed, steering, conntrack, flow_cache, spare_links, ..LiveConfig::default() };
    let clock = Clock::start();
    let router = Router::new(snapshot, live, clock::wall_ms());
    router.live().tracer.set_epoch(clock.epoch());
    for n in &config.neighbors {
        if let Some(link) = router.snapshot().links.named(&n.dev) {
            router.set_static_neighbor(link.id, n.ip, n.mac);
        }
    }
    let stop = Arc::new(AtomicBool::new(false));
    let (to_host, from_workers) = crossbeam_channel::bounded(HOST_CHANNEL);
    let (to_worker, from_host) = crossbeam_channel::bounded(HOST_CHANNEL);
    let host_poll = Poll::new()?;
    let host_waker = Loop::waker(&host_poll)?;
    let (log, lines) = crossbeam_channel::bounded(log::CAPACITY);
    let (written, log_written) = crossbeam_channel::bounded(0);
    let (asks, asked) = crossbeam_channel::bounded(engine::CAPACITY);
    let mut running = Running {
        sight: Sight {
            name: config.name.clone(),
            router: router.clone(),
            setup: Arc::new(ArcSwap::from_pointee(setup)),
            clock,
            census: Arc::default(),
            transactions: Arc::default(),
            metrics: metrics.as_ref().map(Endpoint::local_addr),
        },
        asks,
        bell: Bell::default(),
        hub: Hub::default(),
        stop: stop.clone(),
        wakers: vec![host_waker.clone()],
        threads: Vec::new(),
        log_written,
    };

    let (changed, changes) = crossbeam_channel::bounded(1);
    let gone = Gone::default();
    let mut loops = Vec::new();
    let polls = (0..workers).map(|_| Poll::new()).collect::<io::Result<Vec<_>>>()?;
    let wakers = polls.iter().map(Loop::waker).collect::<io::Result<Vec<_>>>()?;
    let mut peers = Peers::connect(&wakers).into_iter();
    let (loans, gathers) = gather::parts(&wakers, clock.now());
    let mut gathers = gathers.into_iter();
    let (desk, orders) = Desk::new(&wakers, loans);
    running.wakers.extend(wakers);
    for (i, (poll, orders)) in polls.into_iter().zip(orders).enumerate() {
        let ties = Ties {
            to_host: to_host.clone(),
            host_waker: host_waker.clone(),
            from_host: (i == 0).then(|| from_host.clone()),
            log: log.clone(),
            peers: peers.next().filter(|_| workers > 1),
            gather: gathers.next(),
            cpus,
            orders,
            stop: stop.clone(),
        };
        let mine = ports.iter_mut().filter_map(|(id, of)| Some((*id, of.next()?))).collect();
        let watch = (i == 0).then(|| Watch::new(router.clone(), changed.clone(), gone.clone()));
        let mut l = Loop::new(router.worker(), mine, poll, ties, clock, watch);
        l.prepare()?;
        loops.push(l);
    }
    let offered = Arc::new(ArcSwap::from_pointee(services));
    let host = host::HostLoop {
        services: offered.clone(),
        host: Host::new(services, seed.rotate_left(32)),
        ledger: router.worker(),
        poll: host_poll,
        from_workers,
        to_worker,
        worker_waker: running.wakers[1].clone(),
        stop,
        clock,
    };
    running.spawn("host".into(), move || host.run())?;
    for (i, l) in loops.into_iter().enumerate() {
        running.spawn(format!("worker-{i}"), move || l.run())?;
    }
    if let Some(endpoint) = metrics {
        running.wakers.push(endpoint.waker()?);
        let (sight, stop) = (running.sight.clone(), running.stop.clone());
        let serve = move || endpoint.run(&stop, || sight.clock.now(), || sight.sources(stats));
        running.spawn("metrics".into(), serve)?;
    }
    // Ends when the workers do. Not among the others: whoever reads the log may keep it waiting for ever.
    drop(log);
    thread::Builder::new().name("log".into()).spawn(move || log::write(&lines, written))?;
    // Ends when the first worker does, and after it in the list: it is not who failed.
    drop(changed);
    let parts = Parts {
        router,
        setup: running.sight.setup.clone(),
        transactions: running.sight.transactions.clone(),
        desk,
        devices,
        services: offered,
        gone,
        bell: running.bell.clone(),
        stop: running.stop.clone(),
        clock,
        hub: running.hub.clone(),
    };
    let engine = Engine::new(parts);
    running.spawn("engine".into(), move || {
        engine.run(&changes, &asked);
        Ok(())
    })?;
    Ok(running)
}

/// What hangs at the hooks: the rules, IPv4's first, and conntrack when it is to be on.
fn hooks(config: &Config, [v4, v6]: &[Option<Arc<Program>>; 2]) -> Hooks {
    let tracking = match config.conntrack.enable {
        Enable::Auto => Tracking::Auto,
        Enable::On => Tracking::On,
        Enable::Off => Tracking::Off,
    };
    Hooks::new().with_rules(Family::V4, v4.clone()).with_rules(Family::V6, v6.clone()).with_tracking(tracking)
}

type LinkPorts = Vec<(LinkId, std::vec::IntoIter<Box<dyn Port>>)>;

fn open(setup: &Setup, devices: &Devices) -> Result<LinkPorts, StartError> {
    let mut all = Vec::new();
    for l in &setup.config.links {
        let Some(link) = setup.links.named(&l.name) else { continue };
        let ports =
            devices.open_one(l).map_err(|source| StartError::Open { link: l.name.clone(), source })?;
        all.push((link.id, ports.into_iter()));
    }
    Ok(all)
}

impl Running {
    /// The router, for reading its tables and counters.
    pub fn router(&self) -> &Router {
        &self.sight.router
    }

    /// The router's name.
    pub fn name(&self) -> &str {
        &self.sight.name
    }

    /// What the router is set up to be.
    pub fn setup(&self) -> Arc<Setup> {
        self.sight.setup.load_full()
    }

    /// Has this woken whenever an answer that came later is there.
    pub fn wake_for_answers(&self, waker: Waker) {
        // Only one can ask at a time.
        self.bell.set(waker).ok();
    }

    /// Answers a request of the control socket: at once, or, if it is a transaction, when that has been made.
    pub fn answer(&self, verb: Verb) -> Answer {
        match verb {
            verb if verb.is_transaction() => self.transact(verb),
            Verb::Monitor(asked) => {
                let watch = monitor::Watch::new(asked, &self.hub, self.router().clone(), self.now());
                Answer::Feed(Box::new(watch))
            }
            Verb::Explain(asked) => explain(&asked, self.router(), self.now()),
            verb => self.sight.sources(|sources| answer(&verb, sources)),
        }
    }

    fn transact(&self, what: Verb) -> Answer {
        let (answer, later) = crossbeam_channel::bounded(1);
        match self.asks.try_send(Ask { what, answer }) {
            Ok(()) => Answer::Later(later),
            Err(TrySendError::Full(_)) => {
                Answer::no("too many changes wait to be made: try again in a moment")
            }
            Err(TrySendError::Disconnected(_)) => Answer::no("the router stops"),
        }
    }

    /// Where those who talk to the router are counted.
    pub fn census(&self) -> Arc<Census> {
        self.sight.census.clone()
    }

    /// What it does, in a line: for a service manager.
    pub fn status(&self) -> String {
        let links = self.router().snapshot().links.iter().count() - 1;
        format!("{} forwards between {links} {}", self.name(), if links == 1 { "link" } else { "links" })
    }

    /// The time on the router's clock.
    pub fn now(&self) -> Instant {
        self.sight.clock.now()
    }

    /// The name of a thread that ended by itself, which none should: the router no longer works whole.
    pub fn failed(&self) -> Option<&str> {
        self.threads.iter().find(|(_, t)| t.is_finished()).map(|(name, _)| name.as_str())
    }

    /// Ends all threads and closes all devices. Gives the first error that a thread ended with.
    pub fn stop(mut self) -> io::Result<()> {
        self.end()
    }

    fn end(&mut self) -> io::Result<()> {
        self.stop.store(true, Relaxed);
        for waker in &self.wakers {
            waker.wake().ok();
        }
        let mut result = Ok(());
        for (name, thread) in self.threads.drain(..) {
            let ended = thread.join().unwrap_or_else(|_| Err(io::Error::other(format!("{name} panicked"))));
            if result.is_ok() {
                result = ended;
            }
        }
        // What rules wrote in the end is still to be read.
        self.log_written.recv_timeout(log::LAST_WORDS).ok();
        result
    }

    fn spawn(
        &mut self,
        name: String,
        body: impl FnOnce() -> io::Result<()> + Send + 'static,
    ) -> io::Result<()> {
        let thread = thread::Builder::new().name(name.clone()).spawn(body)?;
        self.threads.push((name, thread));
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Err(e) = self.end() {
            tracing::error!("a thread ended badly: {e}");
        }
    }
}
