//! Before the walk: segments that came in one batch go through it, and on, as the super-frames they could have come as.
//!
//! One walk, one frame for the device and one for the next stack, where there would have been forty. What the rules count
//! and measure are then super-frames, as under Linux with GRO. Whither a packet goes is known only behind the walk, so this
//! is done where every link it could leave by takes super-frames; by one that doesn't it would only be cut again.

use crate::base::LinkId;
use crate::base::counters::Tally;
use crate::packet::{Caps, Packet, coalesce};

use super::Cx;

/// What can be said of every link that packets from `link` can leave by; by that one itself only where there is no other.
/// `None` is a place without a link.
pub(super) fn common(caps: &[Option<Caps>], link: LinkId) -> Caps {
    let other = |at: usize| at != LinkId::LO.index() && at != link.index();
    let others = caps.iter().enumerate().filter(|(at, _)| other(*at)).filter_map(|(_, c)| *c);
    let own = caps.get(link.index()).copied().flatten();
    let alone = others.clone().next().is_none();
    others.chain(own.filter(|_| alone)).fold(Caps::FULL, |all, c| Caps {
        ethernet: c.ethernet,
        csum: all.csum && c.csum,
        tso4: all.tso4 && c.tso4,
        tso6: all.tso6 && c.tso6,
        uso: all.uso && c.uso,
    })
}

/// Makes super-frames of the segments among the frames that came in by `link`.
pub(super) fn batch(cx: &mut Cx<'_>, link: LinkId, frames: &mut Vec<Packet>) {
    let Some(egress) = cx.me.common.get(link.index()).filter(|c| c.csum && (c.tso4 || c.tso6)) else {
        return;
    };
    let Some(ethernet) = cx.snap.links.get(link).map(|l| l.is_ethernet()) else { return };
    let done = coalesce(frames, ethernet, *egress, &mut cx.me.pool);
    if done.made == 0 {
        return;
    }
    cx.me.counters.tally(Tally::Coalesced, done.made);
    cx.me.counters.tally(Tally::Coalesce, done.made + done.absorbed);
    // The link's counters are of frames as they came; those that are left are counted as they walk.
    if let Some(c) = cx.me.counters.link(link) {
        c.rx_packets.add(done.absorbed);
        c.rx_bytes.add(done.spared);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_all_other_links_take() {
        const FULL: Caps = Caps::FULL;
        let four = Caps { tso6: false, ..FULL };
        let caps = [Caps::PLAIN, FULL, four, Caps::PLAIN].map(Some);
        let link = |n| LinkId(n);
        // Of three, by either of the others; the loopback does not count.
        assert!(!common(&caps, link(1)).tso4);
        assert_eq!(common(&caps[..3], link(1)), four);
        assert_eq!(common(&caps[..3], link(2)), FULL);
        // Of the plain one the others take.
        let from_plain = common(&caps, link(3));
        assert!(from_plain.csum && from_plain.tso4 && !from_plain.tso6);
        // The only one is its own way out.
        assert_eq!(common(&caps[..2], link(1)), FULL);
        assert_eq!(common(&[Some(Caps::PLAIN), Some(Caps::PLAIN)], link(1)), Caps::PLAIN);
        // A place without a link takes part in nothing.
        assert_eq!(common(&[Some(Caps::PLAIN), Some(FULL), None, Some(four)], link(1)), four);
        assert_eq!(common(&[Some(Caps::PLAIN), Some(FULL), None], link(1)), FULL);
    }
}
