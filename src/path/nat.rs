//! NAT on a packet's way: the rules are asked for the first packet of a flow, and each packet is rewritten.
//!
//! The order is `nf_nat_inet_fn`'s.

use std::cell::Cell;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::base::counters::Tally;
use crate::base::{DropReason, Hook, Instant, LinkId};
use crate::conntrack::{Conntrack, Current, Flow, nat};
use crate::fib::Action;
use crate::filter::{NatAction, TableName};
use crate::packet::flow::Address;
use crate::packet::{CtState, Direction, Manip, NatRange, Net, Packet, Steering, Tuple};
use crate::wire::proto;

use super::hook::At;
use super::trace::{self, Step};
use super::{Cx, Snapshot, deliver, rules, source};

/// Translates one end of a packet; see the module's text.
pub(super) fn translate(cx: &mut Cx<'_>, at: &At, manip: Manip, p: &mut Packet) -> Result<(), DropReason> {
    if !p.meta.ct.is_tracked() {
        return Ok(());
    }
    // Its flow was there when it came: without it nobody knows what it is to become.
    let Some(Current { id, flow }) = &cx.me.flow else { return Err(DropReason::ConntrackGone) };
    let dir = p.meta.ct.dir;
    let icmp = matches!(p.meta.proto, proto::ICMP | proto::ICMPV6);
    if p.meta.ct.state == CtState::Related && icmp {
        let before = p.meta.trace.map(|_| trace::way(p));
        if nat::translate_error(p, flow, dir, manip)? {
            translated(cx, p, "related", before);
        }
        return Ok(());
    }
    if p.meta.ct.state != CtState::Established && !nat::is_done(flow.status, manip) {
        // A flow that was there before the rules were is left alone.
        if id.is_some() {
            return Ok(());
        }
        decide(cx, at, manip, p)?;
    } else if at.hook == Hook::Postrouting && at.output.is_some_and(|out| nat::moved(flow, dir, out)) {
        // MASQUERADE gave it the address of another link than it leaves by now.
        if let Some(id) = id {
            cx.live.conntrack.remove(*id);
        }
        return Err(DropReason::NatFailed);
    }
    let Some(Current { flow, .. }) = &cx.me.flow else { return Err(DropReason::ConntrackGone) };
    let before = p.meta.trace.map(|_| trace::way(p));
    let masquerade = flow.masquerade.is_some();
    if nat::translate(p, flow, dir, manip)? {
        cx.me.cache.rewrote(manip);
        let kind = match (dir, manip) {
            (Direction::Reply, _) => "reply",
            (Direction::Original, Manip::Dst) => "dnat",
            (Direction::Original, Manip::Src) if masquerade => "masquerade",
            (Direction::Original, Manip::Src) => "snat",
        };
        translated(cx, p, kind, before);
    }
    Ok(())
}

fn translated(cx: &mut Cx<'_>, p: &Packet, kind: &str, before: Option<String>) {
    cx.note(p, |_| Step::Translated {
        kind: kind.to_owned(),
        before: before.unwrap_or_default(),
        after: trace::way(p),
    });
}

/// Asks the rules what becomes of a flow, and chooses.
fn decide(cx: &mut Cx<'_>, at: &At, manip: Manip, p: &mut Packet) -> Result<(), DropReason> {
    let action = rules::ask(cx, at, TableName::Nat, p)?;
    let mut masquerade = None;
    let range = match action {
        None => NatRange::default(),
        Some(NatAction::Snat(range) | NatAction::Dnat(range)) => range,
        Some(NatAction::Masquerade(range)) => {
            let (link, addr) = outer(cx, at, p).ok_or(DropReason::NoSourceAddress)?;
            masquerade = Some(link);
            nat::range_at(&range, addr)
        }
        Some(NatAction::Redirect(range)) => {
            let addr = inner(cx, at, p).ok_or(DropReason::NoSourceAddress)?;
            nat::range_at(&range, addr)
        }
    };
    let Some(mut flow) = cx.me.flow.as_ref().map(|c| c.flow) else { return Err(DropReason::ConntrackGone) };
    let taken = Taken {
        snap: cx.snap,
        conntrack: &cx.live.conntrack,
        steering: &cx.live.steering,
        now: cx.now,
        found: Cell::new(0),
    };
    let me = &mut *cx.me;
    let done = nat::setup(&mut flow, &range, manip, &taken, &mut || me.chance(|c| &mut c.nat));
    me.counters.tally(Tally::NatTaken, taken.found.get());
    done?;
    if masquerade.is_some() {
        flow.masquerade = masquerade;
    }
    if let Some(current) = &mut cx.me.flow {
        current.flow = flow;
    }
    Ok(())
}

/// The address that MASQUERADE gives: of the link the packet leaves by, towards its next hop.
fn outer(cx: &Cx<'_>, at: &At, p: &Packet) -> Option<(LinkId, IpAddr)> {
    let link = at.output?;
    let neighbor = match at.hop {
        Some(hop) => hop.next,
        None => deliver::ends(p)?.1,
    };
    // A gateway of the other family says nothing of which address fits.
    let towards = match (p.meta.net, neighbor) {
        (Net::Ipv4, IpAddr::V4(_)) | (Net::Ipv6, IpAddr::V6(_)) => neighbor,
        _ => deliver::ends(p)?.1,
    };
    let towards = match towards {
        // A link-local next hop is no reason for a link-local source.
        IpAddr::V6(v6) if v6.is_unicast_link_local() => deliver::ends(p)?.1,
        other => other,
    };
    source::on_link(cx, link, towards).map(|addr| (link, addr))
}

/// The address that REDIRECT gives: this router's, on the link the packet came in by; for what is made here, the
/// loopback's.
fn inner(cx: &Cx<'_>, at: &At, p: &Packet) -> Option<IpAddr> {
    let v6 = p.meta.net == Net::Ipv6;
    if at.hook == Hook::Output {
        return Some(if v6 { Ipv6Addr::LOCALHOST.into() } else { Ipv4Addr::LOCALHOST.into() });
    }
    let link = cx.snap.links.get(at.input?)?;
    let mut own = link.addresses.iter().map(|a| a.addr).filter(|a| a.is_ipv6() == v6);
    let global = |a: &IpAddr| !matches!(a, IpAddr::V6(v6) if v6.is_unicast_link_local());
    own.clone().find(global).or_else(|| own.next())
}

/// What NAT may not give away: tuples of other flows, and ports that somebody here waits on.
struct Taken<'a> {
    snap: &'a Snapshot,
    conntrack: &'a Conntrack,
    steering: &'a Steering,
    now: Instant,
    /// How often something was somebody else's.
    found: Cell<u64>,
}

impl nat::Taken for Taken<'_> {
    fn is_taken(&self, reply: &Tuple, original: &Tuple) -> bool {
        let taken = self.conntrack.is_taken(reply, original, self.now);
        self.found.set(self.found.get() + u64::from(taken));
        taken
    }

    fn source_mapping(
        &self,
        original: &Tuple,
        fits: &mut dyn FnMut(&Address, u16) -> bool,
    ) -> Option<(Address, u16)> {
        self.conntrack.source_mapping(original, self.now, fits)
    }

    fn reserved(&self, original: &Tuple, addr: IpAddr, port: u16) -> bool {
        // What the router's own services send is theirs.
        let ours = |addr| matches!(self.snap.fib.lookup(addr).map(|e| &e.action), Some(Action::Local(_)));
        if ours(original.src()) {
            return false;
        }
        ours(addr) && self.snap.listeners.hold(original.proto, port)
            || self.snap.hooks.claimed(original.proto, addr, port, original.src())
    }

    fn steering(&self) -> Option<&Steering> {
        Some(self.steering).filter(|s| s.workers > 1)
    }

    fn clear(&self, reply: &Tuple, new: &Flow) -> bool {
        self.conntrack.clear(reply, new, self.now)
    }
}
