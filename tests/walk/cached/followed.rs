//! Following packets changes nothing of what they meet: two routers with a flow cache, of which one is watched.

use std::cell::Cell;

use proptest::prelude::*;
use proptest::sample::select;

use sekisho::path::trace::{End, Point, Record, Wanted};

use super::{EAGER, Pair, acts, rulesets};

/// What is followed.
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
    let (hits, told) = (Cell::new(0), Cell::new(0));
    proptest!(config, |(rules in rulesets::some(), acts in acts(), filters in filters)| {
        let mut pair = Pair::new(rules, [EAGER, EAGER]);
        let mut watches = vec![];
        for (filter, rate, frames) in filters {
            let points = Point::ALL.into_iter().filter(|_| frames).collect();
            let wanted = Wanted { filter: filter.parse().unwrap(), rate, points, snaplen: 64, ..Wanted::default() };
            watches.push(pair.benches[1].router.live().tracer.watch(wanted).unwrap());
        }
        for act in &acts {
            pair.act(act);
            for record in watches.iter().flat_map(|w| w.take(1_000, usize::MAX)) {
                told.set(told.get() + 1);
                assert!(!record.steps.is_empty(), "{record}");
                assert_eq!(record.end == End::Dropped, record.dropped().is_some(), "{record}");
                let read = serde_json::from_str::<Record>(&serde_json::to_string(&record).unwrap());
                assert_eq!(read.unwrap().steps, record.steps);
            }
        }
        hits.set(hits.get() + pair.end());
    });
    // What is not followed goes on being replayed.
    assert!(hits.get() > 200 && told.get() > 1_000, "{} hits, {} records", hits.get(), told.get());
}
