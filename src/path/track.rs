//! Conntrack on a packet's way: its flow is found or begun, and entered into the table once it has passed.

use crate::base::DropReason;
use crate::base::counters::Tally;
use crate::conntrack::{Confirmed, Tracked};
use crate::packet::Packet;
use crate::wire::proto;

use super::Cx;
use super::hook::At;
use super::trace::{self, Step};

/// Finds the packet's flow, or begins one.
pub(super) fn track(cx: &mut Cx<'_>, at: &At, p: &mut Packet) -> Result<(), DropReason> {
    let live = cx.live;
    let tracked = live.conntrack.track(p, at.hook, cx.now, &mut cx.me.flow)?;
    cx.me.cache.tracked(tracked);
    match tracked {
        Tracked::Invalid => {
            cx.tally(Tally::CtInvalid);
            if matches!(p.meta.proto, proto::ICMP | proto::ICMPV6) {
                cx.tally(Tally::CtErrors);
            }
        }
        Tracked::Untracked => cx.tally(Tally::CtUntracked),
        Tracked::Passed | Tracked::Begun | Tracked::Known | Tracked::Related => {}
    }
    cx.note(p, |cx| trace::conntrack(cx, p, at.hook, tracked));
    Ok(())
}

/// A flow that begins with this packet goes into the table.
pub(super) fn confirm(cx: &mut Cx<'_>, p: &mut Packet) -> Result<(), DropReason> {
    if !p.meta.ct.is_tracked() {
        return Ok(());
    }
    let live = cx.live;
    let Some(current) = &mut cx.me.flow else { return Ok(()) };
    let confirmed = live.conntrack.confirm(p, current, cx.now)?;
    match confirmed {
        Confirmed::Inserted => cx.tally(Tally::FlowsBegun),
        Confirmed::Joined => cx.tally(Tally::FlowsClashed),
        Confirmed::Passed => return Ok(()),
    }
    cx.note(p, |_| Step::Confirmed {
        flow: p.meta.ct.flow.map_or(0, trace::number),
        joined: confirmed == Confirmed::Joined,
    });
    Ok(())
}

/// Gives the packet's flow a mark.
pub(super) fn set_mark(cx: &mut Cx<'_>, mark: u32) {
    let Some(current) = &mut cx.me.flow else { return };
    current.flow.mark = mark;
    if let Some(id) = current.id {
        cx.live.conntrack.set_mark(id, mark);
    }
}
