//! What [`FlowCache`] holds between packets.

use super::*;

#[test]
fn a_witness_is_at_hand_only_while_a_walk_is_recorded() {
    let mut cache = FlowCache::new(FlowCacheConfig::default(), || 7);
    for (how, wanted) in [(How::Off, false), (How::Candidate, false), (How::Recorded, true)] {
        cache.note.how = how;
        assert_eq!(cache.witness().is_some(), wanted);
    }
    cache.walked();
    assert!(cache.witness().is_none());
}

#[test]
fn a_flow_counts_as_known_only_if_it_was_there_before_the_packet() {
    let mut cache = FlowCache::new(FlowCacheConfig::OFF, || 7);
    for (what, known) in [(Tracked::Begun, false), (Tracked::Known, true), (Tracked::Invalid, false)] {
        cache.tracked(what);
        assert_eq!(cache.note.known, known, "{what:?}");
    }
}
