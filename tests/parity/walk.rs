//! The router without devices: frames handed to the walk, the clock that of the machine. What differs here
//! differs in the router itself, not in its ports.

use std::sync::Arc;
use std::time;

use sekisho::base::{Instant, LinkId};
use sekisho::fib::{Metrics, NextHop, Rib, Route, RouteKind};
use sekisho::host::{Host, Services};
use sekisho::io::netlink::Refusal;
use sekisho::link::{Address, Link, LinkKind, Links, RpFilter};
use sekisho::packet::{Caps, Packet};
use sekisho::path::{FlowCacheConfig, Hooks, Listeners, LiveConfig, Snapshot};
use sekisho::router::{Router, Worker};

use crate::twin::{NARROW, Port, REFUSALS, ROUTES, Wires};

/// A router in memory, its local stack with it.
pub(crate) struct Walk {
    pub(crate) router: Router,
    worker: Worker,
    host: Host,
    start: time::Instant,
    out: Vec<(Port, Vec<u8>)>,
}

impl Walk {
    /// With this source validation on every link.
    pub(crate) fn new(rp_filter: RpFilter) -> Self {
        let config = LiveConfig { flow_cache: flow_cache(), ..LiveConfig::default() };
        Walk::with(rp_filter, true, 1000, config)
    }

    /// With redirects or without, this many ICMP errors a second, and these tables.
    pub(crate) fn with(rp_filter: RpFilter, redirects: bool, icmp_rate: u32, config: LiveConfig) -> Self {
        let links = Links::new(Port::ALL.map(|p| Link { rp_filter, redirects, ..link(p) }));
        let mut rib = Rib::connected(&links);
        for (to, via, dev) in ROUTES {
            let link = links.named(dev).unwrap().id;
            let hop = NextHop::new(Some(via.parse().unwrap()), Some(link));
            rib.insert(Route::new(to.parse().unwrap(), RouteKind::Unicast(vec![hop]))).unwrap();
        }
        for (to, via, dev, mtu, lock) in NARROW {
            let link = links.named(dev).unwrap().id;
            let hop = NextHop::new(Some(via.parse().unwrap()), Some(link));
            let metrics = Metrics { mtu: Metrics::mtu_of(mtu), mtu_lock: lock, ..Metrics::default() };
            let route = Route::new(to.parse().unwrap(), RouteKind::Unicast(vec![hop]));
            rib.insert(Route { metrics, ..route }).unwrap();
        }
        for (to, how) in REFUSALS {
            let kind = match how {
                Refusal::Unreachable => RouteKind::Unreachable,
                Refusal::Prohibit => RouteKind::Prohibit,
                Refusal::Blackhole => RouteKind::Blackhole,
            };
            rib.insert(Route::new(to.parse().unwrap(), kind)).unwrap();
        }
        let fib = Arc::new(rib.build(&links).unwrap());
        let snapshot =
            Snapshot { fib, links, listeners: Listeners::default(), icmp_rate, hooks: Hooks::default() };
        let router = Router::new(snapshot, config, 0);
        let mut worker = router.worker();
        for port in Port::ALL {
            worker.set_caps(id(port), Caps { ethernet: true, ..Caps::PLAIN });
            worker.handle_link(id(port), true, Instant::ZERO);
        }
        let mut walk = Walk {
            router,
            worker,
            host: Host::new(Services::default(), 1),
            start: time::Instant::now(),
            out: vec![],
        };
        // Duplicate address detection takes its time, which nobody has to wait here.
        for second in 1..=LEAD {
            walk.worker.handle_timeout(Instant::from_secs(second));
            walk.collect(Instant::from_secs(second));
        }
        walk.out.clear();
        walk
    }

    /// The machine's time, ahead by the time that was skipped.
    pub(crate) fn now(&self) -> Instant {
        Instant::from_secs(LEAD) + self.start.elapsed()
    }

    fn collect(&mut self, now: Instant) {
        loop {
            while let Some((link, packet)) = self.worker.poll_transmit() {
                if let Some(port) = Port::ALL.into_iter().find(|p| id(*p) == link) {
                    self.out.push((port, packet.data().to_vec()));
                }
            }
            let taken: Vec<Packet> = self.worker.drain_host().collect();
            for p in taken {
                let meta = p.meta;
                match self.host.offer(p, now) {
                    Ok(_) => self.worker.host_took(&meta),
                    Err((reason, p)) => self.worker.host_refused(p, reason),
                }
            }
            let mut made = Vec::new();
            self.host.poll(now, &mut made);
            let more = !made.is_empty();
            made.into_iter().for_each(|p| self.worker.handle_local(p, now));
            if !self.worker.settle(now) && !more {
                break;
            }
        }
    }
}

impl Wires for Walk {
    fn send(&mut self, port: Port, frame: &[u8]) {
        let now = self.now();
        self.worker.handle_frame(id(port), Packet::from_slice(frame), now);
        self.collect(now);
    }

    fn receive(&mut self) -> Vec<(Port, Vec<u8>)> {
        let now = self.now();
        if now >= self.worker.poll_timeout() {
            self.worker.handle_timeout(now);
        }
        self.collect(now);
        std::mem::take(&mut self.out)
    }
}

/// The flow cache of the walks: flows get into it as early as can be, and with `SEKISHO_FLOW_CACHE=off` there is none.
pub(crate) fn flow_cache() -> FlowCacheConfig {
    match std::env::var("SEKISHO_FLOW_CACHE").as_deref() {
        Ok("off") => FlowCacheConfig::OFF,
        _ => FlowCacheConfig { eager: true, ..FlowCacheConfig::default() },
    }
}

/// Seconds that pass before the first frame.
const LEAD: u64 = 5;

pub(crate) fn id(port: Port) -> LinkId {
    LinkId(port as u16)
}

fn link(port: Port) -> Link {
    Link {
        mac: Some(port.mac()),
        mtu: port.mtu(),
        addresses: vec![
            Address { addr: port.router4().into(), prefix_len: 24 },
            Address { addr: port.router6().into(), prefix_len: 64 },
            Address { addr: port.link_local().into(), prefix_len: 64 },
        ],
        ..Link::new(port.name(), LinkKind::Memory)
    }
}
