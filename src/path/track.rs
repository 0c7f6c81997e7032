//! Conntrack on a packet's way: its flow is found or begun, and entered into the table once it has passed.

use crate::base::DropReason;
use crate::base::counters::Tally;
use crate::conntrack::{Confirmed, Tracked};
use crate::packet::{CtState, Direction, Packet};
use crate::wire::proto;

use super::Cx;
use super::hook::At;

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
    cx.note(p, || match (p.meta.ct.state, &cx.me.flow) {
        (state, Some(current)) if p.meta.ct.is_tracked() => {
            let way = if p.meta.ct.dir == Direction::Reply { ", reply" } else { "" };
            format!(
                "conntrack: {}{way}: {}",
                name(state),
                crate::conntrack::text::line(&current.flow, cx.now, false)
            )
        }
        (state, _) => format!("conntrack: {}", name(state)),
    });
    Ok(())
}

/// A flow that begins with this packet goes into the table.
pub(super) fn confirm(cx: &mut Cx<'_>, p: &mut Packet) -> Result<(), DropReason> {
    if !p.meta.ct.is_tracked() {
        return Ok(());
    }
    let live = cx.live;
    let Some(current) = &mut cx.me.flow else { return Ok(()) };
    match live.conntrack.confirm(p, current, cx.now)? {
        Confirmed::Inserted => cx.tally(Tally::FlowsBegun),
        Confirmed::Joined => cx.tally(Tally::FlowsClashed),
        Confirmed::Passed => {}
    }
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

fn name(state: CtState) -> &'static str {
    match state {
        CtState::Unseen => "not looked at",
        CtState::Untracked => "UNTRACKED",
        CtState::Invalid => "INVALID",
        CtState::New => "NEW",
        CtState::Established => "ESTABLISHED",
        CtState::Related => "RELATED",
    }
}
