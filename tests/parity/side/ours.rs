//! Sekisho without devices, with rules.

use std::sync::Arc;
use std::time::Duration;

use sekisho::base::counters::Tally;
use sekisho::conntrack::{self, text};
use sekisho::filter::{Family, Program, iptables};
use sekisho::link::RpFilter;
use sekisho::path::{FlowCacheConfig, Hooks, LiveConfig, Snapshot};
use sekisho::reassembly;

use super::{Rules, Side, neighbors, sorted};
use crate::compare::Seen;
use crate::twin::Wires as _;
use crate::walk::{Walk, flow_cache, id};

/// The walk in memory, set up like [`super::kernel::Kernel`].
pub(crate) struct Ours {
    walk: Walk,
    rules: Rules,
    /// How often each frame comes.
    times: usize,
}

impl Ours {
    pub(crate) fn new() -> Self {
        Ours::with(conntrack::Config::default())
    }

    pub(crate) fn with(conntrack: conntrack::Config) -> Self {
        Ours::of(conntrack, flow_cache())
    }

    /// With this flow cache, and each frame three times: so that it has something to do.
    pub(crate) fn cached(flow_cache: FlowCacheConfig) -> Self {
        Ours { times: 3, ..Ours::of(conntrack::Config::default(), flow_cache) }
    }

    /// How many packets went the way of others.
    pub(crate) fn hits(&self) -> u64 {
        self.walk.router.totals().tally(Tally::FlowCacheHits)
    }

    fn of(conntrack: conntrack::Config, flow_cache: FlowCacheConfig) -> Self {
        let day = Duration::from_secs(86_400);
        let reassembly = reassembly::Config {
            high4: 1_000_000_000,
            high6: 1_000_000_000,
            timeout4: day,
            timeout6: day,
            ..reassembly::Config::default()
        };
        let walk = Walk::with(
            RpFilter::Off,
            false,
            u32::MAX,
            LiveConfig { reassembly, conntrack, flow_cache, ..LiveConfig::default() },
        );
        for (port, ip, mac) in neighbors() {
            walk.router.set_static_neighbor(id(port), ip, mac);
        }
        Ours { walk, rules: Rules::default(), times: 1 }
    }
}

impl Side for Ours {
    fn name(&self) -> &'static str {
        "sekisho"
    }

    fn load(&mut self, rules: &Rules) -> Result<(), String> {
        let whole = rules.whole();
        let old = self.walk.router.snapshot();
        let mut hooks = Hooks::new();
        for (family, text) in [(Family::V4, &whole.v4), (Family::V6, &whole.v6)] {
            let say =
                |problems: Vec<_>| problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
            let ruleset = iptables::read(text, family).map_err(say)?;
            let program = Program::compile(&ruleset, &old.links).map_err(say)?;
            hooks = hooks.with_rules(family, Some(Arc::new(program)));
        }
        self.walk.router.replace(Snapshot { hooks, ..Snapshot::clone(&old) });
        self.walk.router.live().conntrack.remove_where(self.walk.now(), &|_| true);
        self.walk.receive();
        self.rules = rules.clone();
        Ok(())
    }

    fn step(&mut self, frames: &[Seen], _: Duration) -> Vec<Seen> {
        for (port, frame) in frames {
            for _ in 0..self.times {
                self.walk.send(*port, frame);
            }
        }
        sorted(self.walk.receive())
    }

    fn flows(&mut self) -> Vec<String> {
        let (mut lines, now) = (vec![], self.walk.now());
        let conntrack = &self.walk.router.live().conntrack;
        conntrack.each(now, &mut |_, flow| lines.push(text::line(flow, now, true).to_string()));
        lines
    }

    fn counters(&mut self) -> String {
        let snapshot = self.walk.router.snapshot();
        let families = [(Family::V4, &self.rules.v4), (Family::V6, &self.rules.v6)];
        let rules = families.iter().filter(|(_, text)| !text.is_empty());
        let programs = rules.filter_map(|(f, _)| snapshot.hooks.rules(*f));
        programs.map(|p| iptables::write(&p.ruleset(), true)).collect()
    }
}
