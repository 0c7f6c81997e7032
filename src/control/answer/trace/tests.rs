use std::sync::Arc;

use serde_json::Value;

use super::*;
use crate::path::trace::{MAX_WATCHES, Tracer};

fn followed(tracer: &Arc<Tracer>, count: Option<u64>, end: Option<u64>) -> Followed<Told> {
    Followed {
        watch: tracer.watch(Wanted { count, ..Wanted::default() }).unwrap(),
        end: end.map(Instant::from_secs),
        said: Instant::ZERO,
        over: false,
        closed: None,
        told: |records| records.into_iter().map(Told::Packet).collect(),
        missed: Told::Missed,
    }
}

#[test]
fn it_says_now_and_then_that_it_goes_on_and_ends_in_time() {
    let tracer = Arc::<Tracer>::default();
    let mut feed = followed(&tracer, None, Some(2));
    let at = |ms| Instant::from_millis(ms);
    assert!(matches!(feed.poll(at(499)), Fed::Nothing));
    assert!(matches!(feed.poll(at(500)), Fed::Part(Value::Array(list)) if list.is_empty()));
    assert!(matches!(feed.poll(at(900)), Fed::Nothing));
    assert!(matches!(feed.poll(at(1_000)), Fed::Part(_)));
    // Once more, for what workers have in hand, and not at once, though it is asked at once when something was said.
    assert!(matches!(feed.poll(at(2_000)), Fed::Part(_)));
    assert!(matches!(feed.poll(at(2_000)), Fed::Nothing));
    assert!(matches!(feed.poll(at(2_039)), Fed::Nothing));
    assert!(matches!(feed.poll(at(2_040)), Fed::End(_)));
    // One that wants nothing more is asked once more, for what the last packet has caused.
    let mut feed = followed(&tracer, Some(0), None);
    assert!(matches!(feed.poll(at(1)), Fed::Nothing));
    assert!(matches!(feed.poll(at(2)), Fed::Nothing));
    assert!(matches!(feed.poll(at(41)), Fed::Nothing));
    assert!(matches!(feed.poll(at(42)), Fed::End(_)));
    // One that is ended by whoever asked says what is left, and ends.
    let mut feed = followed(&tracer, None, None);
    assert!(matches!(feed.poll(at(1)), Fed::Nothing));
    assert!(feed.close());
    assert!(matches!(feed.poll(at(2)), Fed::Nothing));
    assert!(matches!(feed.poll(at(41)), Fed::Nothing));
    assert!(matches!(feed.poll(at(42)), Fed::End(_)));
}

#[test]
fn dropping_the_feed_ends_the_watch() {
    let tracer = Arc::<Tracer>::default();
    let feeds: Vec<_> = (0..MAX_WATCHES).map(|_| followed(&tracer, None, None)).collect();
    assert!(tracer.watch(Wanted::default()).is_err());
    drop(feeds);
    assert!(tracer.watch(Wanted::default()).is_ok());
}
