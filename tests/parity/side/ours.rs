//! Sekisho without devices, with rules.

use std::sync::Arc;
use std::time::Duration;

use sekisho::conntrack::text;
use sekisho::filter::{Family, Program, iptables};
use sekisho::link::RpFilter;
use sekisho::path::{Hooks, LiveConfig, Snapshot};
use sekisho::reassembly;

use super::{Rules, Side, neighbors, sorted};
use crate::compare::Seen;
use crate::twin::Wires as _;
use crate::walk::{Walk, id};

/// The walk in memory, set up like [`super::kernel::Kernel`].
pub(crate) struct Ours(Walk);

impl Ours {
    pub(crate) fn new() -> Self {
        let day = Duration::from_secs(86_400);
        let reassembly = reassembly::Config {
            high4: 1_000_000_000,
            high6: 1_000_000_000,
            timeout4: day,
            timeout6: day,
            ..reassembly::Config::default()
        };
        let walk = Walk::with(RpFilter::Off, u32::MAX, LiveConfig { reassembly, ..LiveConfig::default() });
        for (port, ip, mac) in neighbors() {
            walk.router.set_static_neighbor(id(port), ip, mac);
        }
        Ours(walk)
    }
}

impl Side for Ours {
    fn name(&self) -> &'static str {
        "sekisho"
    }

    fn load(&mut self, rules: &Rules) -> Result<(), String> {
        let whole = rules.whole();
        let old = self.0.router.snapshot();
        let mut hooks = Hooks::new();
        for (family, text) in [(Family::V4, &whole.v4), (Family::V6, &whole.v6)] {
            let say =
                |problems: Vec<_>| problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
            let rules = iptables::read(text, family).map_err(say)?;
            let program = Program::compile(&rules, &old.links).map_err(say)?;
            hooks = hooks.with_rules(family, Some(Arc::new(program)));
        }
        self.0.router.replace(Snapshot { hooks, ..Snapshot::clone(&old) });
        self.0.router.live().conntrack.remove_where(self.0.now(), &|_| true);
        self.0.receive();
        Ok(())
    }

    fn step(&mut self, frames: &[Seen], _: Duration) -> Vec<Seen> {
        for (port, frame) in frames {
            self.0.send(*port, frame);
        }
        sorted(self.0.receive())
    }

    fn flows(&mut self) -> Vec<String> {
        let (mut lines, now) = (vec![], self.0.now());
        let conntrack = &self.0.router.live().conntrack;
        conntrack.each(now, &mut |_, flow| lines.push(text::line(flow, now, true).to_string()));
        lines
    }

    fn counters(&mut self) -> String {
        let snapshot = self.0.router.snapshot();
        let rules = [Family::V4, Family::V6].iter().filter_map(|f| snapshot.hooks.rules(*f));
        rules.map(|p| iptables::write(&p.ruleset(), true)).collect()
    }
}
