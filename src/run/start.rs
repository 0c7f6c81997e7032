//! How a router begins: first everything is opened, and what fails leaves nothing behind; then its threads are made.
//!
//! In between nothing runs yet, so that what is given up then is given up for all threads there will be.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread;

use arc_swap::ArcSwap;
use crossbeam_channel::{Receiver, Sender, bounded};
use mio::Poll;

use crate::base::LinkId;
use crate::base::counters::Tally;
use crate::config::{Config, Setup};
use crate::control::answer::stats;
use crate::control::metrics::Endpoint;
use crate::control::monitor::Hub;
use crate::filter::Family;
use crate::host::{Host, Services};
use crate::io::Port;
use crate::packet::{Packet, Steering};
use crate::path::{FlowCacheConfig, Listeners, LiveConfig, Snapshot};
use crate::router::Router;

use super::clock::{self, Clock};
use super::desk::Desk;
use super::engine::{self, Bell, Engine, Gone, Parts, devices::Devices};
use super::handover::Peers;
use super::host::HostLoop;
use super::pulse::Pulses;
use super::sight::Sight;
use super::watch::Watch;
use super::worker::{Loop, SharedWaker, Ties};
use super::{Running, StartError, hooks, log};

/// Packets on their way to the local stack, and back, that may wait.
const HOST_CHANNEL: usize = 1_024;

/// Links there is room for beyond those at the start.
const SPARE_LINKS: usize = 256;

/// What a router is made of when all of it is open, and there is no thread yet.
pub(super) struct Opened {
    setup: Setup,
    snapshot: Snapshot,
    services: Services,
    devices: Devices,
    ports: LinkPorts,
    metrics: Option<Endpoint>,
    steering: Steering,
    cpus: usize,
    seed: u64,
}

/// By link: the ports that are still to be given to a worker each.
type LinkPorts = Vec<(LinkId, std::vec::IntoIter<Box<dyn Port>>)>;

impl Opened {
    /// Opens all that the configuration names.
    pub(super) fn open(config: &Config) -> Result<Self, StartError> {
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
        let seed = RandomState::new().build_hasher().finish();
        let steering = Steering {
            key: (seed >> 32) as u32,
            workers: config.workers(cpus) as u32,
            addresses: [Family::V4, Family::V6].map(|family| !snapshot.hooks.translates(family)),
        };
        let metrics = match config.metrics {
            Some(at) => Some(Endpoint::bind(at).map_err(|source| StartError::Metrics { at, source })?),
            None => None,
        };
        let devices = Devices::new(steering);
        let ports = ports(&setup, &devices)?;
        crate::io::prepare(&steering);
        Ok(Opened { setup, snapshot, services, devices, ports, metrics, steering, cpus, seed })
    }

    /// Makes the router and its threads. It forwards when this returns.
    pub(super) fn launch(self, config: &Config) -> Result<Running, StartError> {
        let clock = Clock::start();
        let router = router(self.snapshot, config, self.steering, self.seed, clock);
        let (to_host, from_workers) = bounded(HOST_CHANNEL);
        let (to_worker, from_host) = bounded(HOST_CHANNEL);
        let host_poll = Poll::new()?;
        let host_waker = Loop::waker(&host_poll)?;
        let (log, lines) = bounded(log::CAPACITY);
        let (written, log_written) = bounded(0);
        let (asks, asked) = bounded(engine::CAPACITY);
        let (changed, changes) = bounded(1);
        let gone = Gone::default();
        let stop = Arc::new(AtomicBool::new(false));
        let mut running = Running {
            sight: Sight {
                router: router.clone(),
                setup: Arc::new(ArcSwap::from_pointee(self.setup)),
                clock,
                census: Arc::default(),
                transactions: Arc::default(),
                metrics: self.metrics.as_ref().map(Endpoint::local_addr),
            },
            asks,
            bell: Bell::default(),
            hub: Hub::default(),
            stop: stop.clone(),
            wakers: vec![host_waker.clone()],
            threads: Vec::new(),
            pulses: Pulses::default(),
            log_written,
        };
        let crew = Crew {
            router: &router,
            clock,
            cpus: self.cpus,
            to_host,
            host_waker,
            from_host,
            log,
            changed,
            gone: gone.clone(),
            stop: stop.clone(),
        };
        let pulses = &mut running.pulses;
        let host_pulse = pulses.of("host");
        let (loops, desk, wakers) = crew.loops(self.steering.workers as usize, self.ports, pulses)?;
        let services = Arc::new(ArcSwap::from_pointee(self.services));
        let host = HostLoop {
            services: services.clone(),
            host: Host::new(self.services, self.seed.rotate_left(32)),
            ledger: router.worker(),
            poll: host_poll,
            from_workers,
            to_worker,
            worker_waker: wakers[0].clone(),
            stop: stop.clone(),
            pulse: host_pulse,
            clock,
        };
        running.wakers.extend(wakers);
        running.spawn("host".into(), move || host.run())?;
        for (i, l) in loops.into_iter().enumerate() {
            running.spawn(worker_name(i), move || l.run())?;
        }
        if let Some(endpoint) = self.metrics {
            running.wakers.push(endpoint.waker()?);
            let (sight, stop) = (running.sight.clone(), stop.clone());
            let serve = move || endpoint.run(&stop, || sight.clock.now(), || sight.sources(stats));
            running.spawn("metrics".into(), serve)?;
        }
        // Ends when the workers do. Not among the others: whoever reads the log may keep it waiting for ever.
        let counted = router.clone();
        let lost = move || counted.totals().tally(Tally::LogLost);
        thread::Builder::new().name("log".into()).spawn(move || log::write(&lines, lost, written))?;
        let engine = Engine::new(Parts {
            router,
            setup: running.sight.setup.clone(),
            transactions: running.sight.transactions.clone(),
            desk,
            devices: self.devices,
            services,
            gone,
            bell: running.bell.clone(),
            stop,
            clock,
            hub: running.hub.clone(),
        });
        // Ends when the first worker does, and after it in the list: it is not who failed.
        running.spawn("engine".into(), move || {
            engine.run(&changes, &asked);
            Ok(())
        })?;
        Ok(running)
    }
}

fn worker_name(n: usize) -> String {
    format!("worker-{n}")
}

fn ports(setup: &Setup, devices: &Devices) -> Result<LinkPorts, StartError> {
    let mut all = Vec::new();
    for l in &setup.config.links {
        let Some(link) = setup.links.named(&l.name) else { continue };
        let ports =
            devices.open_one(l).map_err(|source| StartError::Open { link: l.name.clone(), source })?;
        all.push((link.id, ports.into_iter()));
    }
    Ok(all)
}

/// The router's tables, with nobody yet who looks at them.
fn router(snapshot: Snapshot, config: &Config, steering: Steering, seed: u64, clock: Clock) -> Router {
    let live = LiveConfig {
        seed,
        steering,
        conntrack: config.conntrack.table.clone(),
        flow_cache: FlowCacheConfig { entries: config.flow_cache, ..FlowCacheConfig::default() },
        spare_links: SPARE_LINKS,
        ..LiveConfig::default()
    };
    let router = Router::new(snapshot, live, clock::wall_ms());
    router.live().tracer.set_epoch(clock.epoch());
    for n in &config.neighbors {
        if let Some(link) = router.snapshot().links.named(&n.dev) {
            router.set_static_neighbor(link.id, n.ip, n.mac);
        }
    }
    router
}

/// What each of the workers gets a share of. What only they are to send by goes with it.
struct Crew<'a> {
    router: &'a Router,
    clock: Clock,
    cpus: usize,
    to_host: Sender<Packet>,
    host_waker: SharedWaker,
    from_host: Receiver<Packet>,
    log: Sender<log::Line>,
    changed: Sender<()>,
    gone: Gone,
    stop: Arc<AtomicBool>,
}

impl Crew<'_> {
    /// The workers' loops, ready to run; where they take their orders from; and what wakes them.
    fn loops(
        self,
        workers: usize,
        mut ports: LinkPorts,
        pulses: &mut Pulses,
    ) -> io::Result<(Vec<Loop>, Desk, Vec<SharedWaker>)> {
        let polls = (0..workers).map(|_| Poll::new()).collect::<io::Result<Vec<_>>>()?;
        let wakers = polls.iter().map(Loop::waker).collect::<io::Result<Vec<_>>>()?;
        let mut peers = Peers::connect(&wakers).into_iter();
        let (desk, orders) = Desk::new(&wakers);
        let mut loops = Vec::new();
        for (i, (poll, orders)) in polls.into_iter().zip(orders).enumerate() {
            let ties = Ties {
                to_host: self.to_host.clone(),
                host_waker: self.host_waker.clone(),
                from_host: (i == 0).then(|| self.from_host.clone()),
                log: self.log.clone(),
                peers: peers.next().filter(|_| workers > 1),
                cpus: self.cpus,
                orders,
                stop: self.stop.clone(),
                pulse: pulses.of(&worker_name(i)),
            };
            let mine = ports.iter_mut().filter_map(|(id, of)| Some((*id, of.next()?))).collect();
            let watch =
                (i == 0).then(|| Watch::new(self.router.clone(), self.changed.clone(), self.gone.clone()));
            let mut l = Loop::new(self.router.worker(), mine, poll, ties, self.clock, watch);
            l.prepare()?;
            loops.push(l);
        }
        Ok((loops, desk, wakers))
    }
}
