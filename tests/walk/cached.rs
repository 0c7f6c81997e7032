//! The flow cache repeats what the walk does, and nothing else: two routers with the same rules and the same packets, one
//! of which has no cache, give the same frames, flows, marks, logs and counters.

use std::net::IpAddr;
use std::time::Duration;

use proptest::prelude::*;
use proptest::sample::select;

use sekisho::base::counters::Tally;
use sekisho::base::{Column, DropReason, Event, LinkId, Mac};
use sekisho::filter::{Family, iptables};
use sekisho::packet::{Meta, Offload, Packet};
use sekisho::path::FlowCacheConfig;
use sekisho::path::trace::{End, Point, Wanted, Watch};

use crate::make::*;
use crate::net::*;
use crate::talks::{Act, Talk, acts, rulesets, talks};

/// Flows are remembered as early as can be.
const EAGER: FlowCacheConfig = FlowCacheConfig { entries: 1 << 17, eager: true };

/// The two routers.
struct Pair {
    benches: [Bench; 2],
    /// Who follows packets of the second.
    watches: Vec<Watch>,
    talks: Vec<Talk>,
    rules: Vec<[String; 2]>,
    last: Option<(LinkId, Vec<u8>, Offload)>,
}

impl Pair {
    fn new(rules: Vec<[String; 2]>, caches: [FlowCacheConfig; 2]) -> Pair {
        let benches = caches.map(|cache| {
            let mut plan = Plan::default().rules(&rules[0][0], &rules[0][1]);
            plan.config.flow_cache = cache;
            let mut b = plan.build();
            for (link, ip, mac) in
                [(LAN, IpAddr::from(CLIENT), CLIENT_MAC), (LAN, CLIENT6.into(), CLIENT_MAC)]
            {
                b.router.set_static_neighbor(link, ip, mac);
            }
            b.router.set_static_neighbor(WAN, SERVER6.into(), SERVER_MAC);
            // In what order several are asked for is not said.
            for last in (50..=60).chain([77]) {
                b.router.set_static_neighbor(WAN, IpAddr::from([10, 2, 0, last]), SERVER_MAC);
            }
            b.router.set_static_neighbor(WAN, "fd02::50".parse().unwrap(), SERVER_MAC);
            // The server's is learned.
            b.client_sends(&udp(CLIENT, SERVER, (1, 1), b"first"));
            b.answer_arp(WAN, SERVER, SERVER_MAC);
            b
        });
        Pair { benches, watches: vec![], talks: talks(), rules, last: None }
    }

    fn act(&mut self, act: &Act) {
        match act {
            Act::Say { flow, server, how } => {
                if let Some((link, l3, offload)) = self.talks[*flow].say(*server, how) {
                    let mac = if how.other_mac { Mac([2, 0, 0, 0, 1, 9]) } else { CLIENT_MAC };
                    let bytes = match link {
                        LAN => frame(LAN_MAC, mac, &l3),
                        WAN => frame(WAN_MAC, SERVER_MAC, &l3),
                        _ => l3,
                    };
                    self.last = Some((link, bytes, offload));
                    self.send();
                }
            }
            Act::Again => self.send(),
            Act::Pass(ms) => self.each(|b| b.pass(Duration::from_millis(*ms))),
            Act::Rules(n) => {
                let [v4, v6] = self.rules[n % self.rules.len()].clone();
                // Each its own, lest they count together.
                for b in &mut self.benches {
                    b.router.replace(Plan::default().rules(&v4, &v6).snapshot());
                }
            }
            Act::Flap(link) => self.each(|b| {
                b.worker.handle_link(*link, false, b.now);
                b.collect();
                b.worker.handle_link(*link, true, b.now);
                b.pass(Duration::from_secs(3));
            }),
            Act::Flush => self.each(|b| {
                b.router.live().conntrack.remove_where(b.now, &|_| true);
            }),
            Act::Move(n) => self.each(|b| b.answer_arp(WAN, SERVER, Mac([2, 0, 0, 0, 2, 2 + n]))),
        }
        self.compare(act);
    }

    fn send(&mut self) {
        let Some((link, bytes, offload)) = self.last.clone() else { return };
        self.each(|b| b.receive_offloaded(link, &bytes, offload));
    }

    fn each(&mut self, mut f: impl FnMut(&mut Bench)) {
        self.benches.iter_mut().for_each(&mut f);
    }

    fn compare(&mut self, act: &Act) {
        let [walked, cached] = &mut self.benches;
        let logs = [walked.worker.drain_log().collect::<Vec<_>>(), cached.worker.drain_log().collect()];
        assert_eq!(logs[0], logs[1], "{act:?}");
        let frames = |out: &[(LinkId, Packet)]| -> Vec<_> {
            out.iter().map(|(link, p)| (*link, Meta { trace: None, ..p.meta }, p.data().to_vec())).collect()
        };
        let (a, b) = (frames(&walked.out), frames(&cached.out));
        if a != b {
            let first = a.iter().zip(&b).find(|(a, b)| a != b);
            panic!("{act:?}: {} and {} frames, first apart: {first:02x?}", a.len(), b.len());
        }
        assert_eq!(walked.flows(), cached.flows(), "{act:?}");
        for talk in &mut self.talks {
            talk.hear(&walked.out);
        }
        self.each(|b| b.out.clear());
        self.each(|b| b.host.clear());
    }

    /// What is compared once, at the end.
    fn end(&self) -> u64 {
        let [walked, cached] = &self.benches;
        let (a, b) = (walked.totals(), cached.totals());
        for what in Tally::ALL.iter().filter(|t| !t.name().starts_with("flow_cache")) {
            assert_eq!(a.tally(*what), b.tally(*what), "{}", what.name());
        }
        for column in Column::ALL {
            for event in Event::ALL {
                assert_eq!(a.event(column, event), b.event(column, event), "{event:?}");
            }
            for reason in DropReason::ALL {
                assert_eq!(a.dropped(column, *reason), b.dropped(column, *reason), "{}", reason.name());
            }
        }
        assert_eq!(a.links, b.links);
        for family in [Family::V4, Family::V6] {
            let [a, b] = [walked, cached].map(|b| {
                let snapshot = b.router.snapshot();
                snapshot.hooks.rules(family).map(|p| iptables::write(&p.ruleset(), true))
            });
            assert_eq!(a, b);
        }
        cached.balanced();
        b.tally(Tally::FlowCacheHits)
    }
}

#[test]
fn random_packets_under_random_rules_meet_the_same_with_the_cache_and_without() {
    use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
    let cases = std::env::var("SEKISHO_CACHE_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(300);
    let seed = std::env::var("SEKISHO_CACHE_SEED").ok().and_then(|n| n.parse().ok()).unwrap_or(1u8);
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &[seed; 32]));
    let hits = std::cell::Cell::new(0);
    let played = runner.run(&(rulesets(), acts()), |(rules, acts)| {
        let mut pair = Pair::new(rules, [FlowCacheConfig::OFF, EAGER]);
        acts.iter().for_each(|a| pair.act(a));
        hits.set(hits.get() + pair.end());
        assert_eq!(pair.benches[0].tally(Tally::FlowCacheHits), 0);
        Ok(())
    });
    if let Err(e) = played {
        panic!("{e}");
    }
    // A cache that is never asked would be as good as none.
    assert!(hits.get() > 10 * u64::from(cases), "{} hits in {cases} sequences", hits.get());
}

/// What is followed: nothing of it may change what packets meet.
const FILTERS: [&str; 9] = [
    "",
    "udp",
    "in lan and not tcp port 80",
    "out wan",
    "drop",
    "state ESTABLISHED or drop filtered",
    "mark 0x2 or ip6",
    "flow tcp 10.1.0.2:4001 10.2.0.2:80",
    "not drop and portrange 4000-4002",
];

#[test]
fn packets_that_are_followed_meet_the_same_as_those_that_are_not() {
    let rates = select(vec![1u32, 5, 1_000]);
    let filters = prop::collection::vec((select(FILTERS.to_vec()), rates, any::<bool>()), 1..4);
    let config = ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() };
    let (hits, told) = (std::cell::Cell::new(0), std::cell::Cell::new(0));
    proptest!(config, |(rules in rulesets(), acts in acts(), filters in filters)| {
        let mut pair = Pair::new(rules, [EAGER, EAGER]);
        for (filter, rate, frames) in filters {
            let points = Point::ALL.into_iter().filter(|_| frames).collect();
            let wanted = Wanted { filter: filter.parse().unwrap(), rate, points, snaplen: 64, ..Wanted::default() };
            pair.watches.push(pair.benches[1].router.live().tracer.watch(wanted).unwrap());
        }
        for act in &acts {
            pair.act(act);
            for record in pair.watches.iter().flat_map(|w| w.take(1_000, usize::MAX)) {
                told.set(told.get() + 1);
                assert!(!record.steps.is_empty(), "{record}");
                assert_eq!(record.end == End::Dropped, record.dropped().is_some(), "{record}");
                let read = serde_json::from_str::<sekisho::path::trace::Record>(&serde_json::to_string(&record).unwrap());
                assert_eq!(read.unwrap().steps, record.steps);
            }
        }
        hits.set(hits.get() + pair.end());
    });
    // What is not followed goes on being replayed.
    assert!(hits.get() > 200 && told.get() > 1_000, "{} hits, {} records", hits.get(), told.get());
}
