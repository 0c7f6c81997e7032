//! What happens because time passes or a link changes, rather than because a packet came.

use std::net::Ipv6Addr;
use std::sync::atomic::Ordering::Relaxed;

use crate::base::counters::Tally;
use crate::base::{DropReason, Instant, LinkId};
use crate::neighbor::{Action, DadAction, NeighborTable};

use super::{Cx, Live, defrag, deliver, ndp, queue, resolve, settle};

/// When [`timeout`] has something to do next.
pub fn poll_timeout(live: &Live) -> Instant {
    live.neighbors
        .poll_timeout()
        .min(live.dad.poll_timeout())
        .min(live.reassembler.poll_timeout())
        .min(live.defrag.poll_timeout())
        .min(live.conntrack.poll_timeout())
}

/// Does what is due: probes, failures, half-done datagrams.
pub fn timeout(cx: &mut Cx<'_>) {
    // Nobody walks: what is told about packets that waited is about none that walked last.
    cx.me.flow = None;
    let mut actions = std::mem::take(&mut cx.me.actions);
    cx.live.neighbors.timeout(cx.now, &mut actions);
    resolve::apply(cx, actions);
    let mut probes = Vec::new();
    cx.live.dad.timeout(cx.now, &mut probes);
    dad(cx, probes);
    queue::settle_lost(cx);
    let expired = cx.live.conntrack.timeout(cx.now);
    cx.me.counters.tally(Tally::FlowsExpired, expired as u64);
    let evicted = cx.live.conntrack.stats().early_drops;
    let entered = cx.live.evicted.fetch_max(evicted, Relaxed);
    cx.me.counters.tally(Tally::FlowsEvicted, evicted.saturating_sub(entered));
    let mut done = Vec::new();
    cx.live.reassembler.timeout(cx.now, &mut done);
    let here = deliver::fragments(cx, done, |_, _, _| true);
    let mut done = Vec::new();
    cx.live.defrag.timeout(cx.now, &mut done);
    let through = defrag::settle(cx, done);
    // Time makes no datagram whole.
    for p in here.into_iter().chain(through) {
        cx.drop(p, DropReason::FragmentInvalid);
    }
    settle(cx);
}

/// A link went up or down: its neighbors are forgotten, its addresses checked anew. `false` if that is no
/// news, and nothing happened.
pub fn link_changed(cx: &mut Cx<'_>, link: LinkId, up: bool) -> bool {
    if !cx.live.states.set(link, up) {
        return false;
    }
    cx.me.flow = None;
    let mut actions = std::mem::take(&mut cx.me.actions);
    if !up {
        cx.live.neighbors.flush_link(link, cx.now, &mut actions);
    }
    resolve::apply(cx, actions);
    let mut probes = Vec::new();
    let addresses = cx.snap.links.get(link).filter(|l| l.is_ethernet() && up).map(|l| l.addresses.iter());
    for a in addresses.into_iter().flatten() {
        if let std::net::IpAddr::V6(v6) = a.addr {
            cx.live.dad.start(link, v6, cx.now, &mut probes);
        }
    }
    if !up {
        cx.live.dad.link_down(link);
    }
    dad(cx, probes);
    settle(cx);
    true
}

/// Neighbors are changed by hand: what waited for them goes on, or ends.
pub fn change_neighbors(cx: &mut Cx<'_>, change: impl FnOnce(&NeighborTable, &mut Vec<Action>)) {
    cx.me.flow = None;
    let mut actions = std::mem::take(&mut cx.me.actions);
    change(&cx.live.neighbors, &mut actions);
    resolve::apply(cx, actions);
    settle(cx);
}

/// Addresses have come to a link: others on it are asked whether they have them (RFC 4862 §5.4).
pub fn check_addresses(cx: &mut Cx<'_>, link: LinkId, addresses: &[Ipv6Addr]) {
    let ethernet = cx.snap.links.get(link).is_some_and(|l| l.is_ethernet());
    if !ethernet || !cx.live.states.is_up(link) {
        return;
    }
    cx.me.flow = None;
    let mut probes = Vec::new();
    for addr in addresses {
        cx.live.dad.start(link, *addr, cx.now, &mut probes);
    }
    dad(cx, probes);
    settle(cx);
}

pub(super) fn dad(cx: &mut Cx<'_>, actions: Vec<DadAction>) {
    for action in actions {
        match action {
            DadAction::Probe { link, addr, nonce } => ndp::probe(cx, link, addr, nonce),
            DadAction::Valid { .. } => {}
            DadAction::Duplicate { .. } => {
                cx.tally(Tally::DuplicateAddresses);
            }
        }
    }
}

impl Cx<'_> {
    /// After the frames of a batch have been handed to the ports: lets out what was parked behind
    /// them meanwhile. `true` if there was more, and it stands in the outboxes now.
    pub fn drain_neighbors(&mut self) -> bool {
        let mut more = false;
        self.me.flow = None;
        for (link, ip) in std::mem::take(&mut self.me.draining) {
            let mut actions = std::mem::take(&mut self.me.actions);
            more |= self.live.neighbors.drained(link, ip, self.now, &mut actions);
            resolve::apply(self, actions);
        }
        more
    }

    /// Whether parked packets stand in the outboxes, so that [`Cx::drain_neighbors`] is due.
    pub fn is_draining(&self) -> bool {
        !self.me.draining.is_empty()
    }
}
