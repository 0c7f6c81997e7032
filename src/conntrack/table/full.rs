//! Who makes way when the table is full.
//!
//! A flow near the place where the new one's hash points that nobody needs yet (not ASSURED), or whose time is up; if there is
//! none, the new one is refused. The kernel looks at eight buckets, this at sixteen groups of four places, each where the
//! hash says; the choice in a group is better than chance: one that was never answered goes before one that was, and of
//! those the one with the least time left.

use std::sync::atomic::Ordering::Relaxed;

use super::{Conntrack, Ending};
use crate::base::Instant;
use crate::conntrack::Flow;
use crate::packet::{FlowId, Status};

impl Conntrack {
    /// Whether there is room for one more, or somebody who would make way.
    pub(in crate::conntrack) fn has_room(&self, hash: u64, now: Instant) -> bool {
        self.count.0.load(Relaxed) < self.config.max() || self.makes_way(hash, now).is_some()
    }

    /// Counts one more, if need be at another's cost.
    pub(super) fn reserve(&self, hash: u64, now: Instant) -> bool {
        let mut made_way = false;
        for _ in 0..MAKE_WAY {
            let one_more = |n: u32| (n < self.config.max()).then_some(n + 1);
            if self.count.0.fetch_update(Relaxed, Relaxed, one_more).is_ok() {
                return true;
            }
            let Some(victim) = self.makes_way(hash, now) else { break };
            let ending = Ending { at: Some(now), by_hand: false };
            if self.take_out(victim, ending, |f| may_go(f, now)) {
                self.counts.early_drops.fetch_add(1, Relaxed);
                made_way = true;
            }
        }
        // There are still too many since `max` shrank; but one fewer for this one.
        if made_way {
            self.count.0.fetch_add(1, Relaxed);
        }
        made_way
    }

    /// A flow near a hash's place that may make way.
    fn makes_way(&self, hash: u64, now: Instant) -> Option<FlowId> {
        let reach = u64::from(self.crowd());
        (1..=GROUPS).find_map(|group| {
            // Groups stand apart: flows that came at one time, and are worth the same, stand side by side.
            let start = ((mix(hash ^ group << 32) >> 32) * reach) >> 32;
            (0..GROUP)
                .filter_map(|i| {
                    let at = ((start + i) % reach.max(1)) as u32;
                    self.glance(at, |held| {
                        let flow = held.flow.as_ref().filter(|f| may_go(f, now))?;
                        let answered = flow.deadline > now && flow.status.has(Status::SEEN_REPLY);
                        Some(((answered, flow.deadline), FlowId { slot: at, tenant: held.tenant }))
                    })
                })
                .min_by_key(|(worth, _)| *worth)
                .map(|(_, id)| id)
        })
    }
}

/// Makes each bit of a number depend on every other (the last steps of SplitMix64).
fn mix(n: u64) -> u64 {
    let n = (n ^ n >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let n = (n ^ n >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    n ^ n >> 31
}

/// Whether a flow may make way for another: one that is past its deadline, or was never ASSURED.
pub(super) fn may_go(flow: &Flow, now: Instant) -> bool {
    flow.deadline <= now || !flow.status.has(Status::ASSURED)
}

/// Flows that make way for one at most: where there may be fewer now than there are, the next ones see to the rest.
const MAKE_WAY: usize = 8;

/// Groups of places looked at for a flow that makes way (the kernel's `NF_CT_EVICTION_RANGE`), and places in a
/// group.
const GROUPS: u64 = 16;
const GROUP: u64 = 4;
