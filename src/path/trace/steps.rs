//! Steps made of what the tables say.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::base::{DropReason, Hook, Instant};
use crate::conntrack::{Tracked, text, tuple};
use crate::fib::{Action, Entry};
use crate::packet::{CtState, Direction, FlowId, Packet};
use crate::path::{Bound, Cx, Hop, deliver};

use super::{Glance, Step};

/// Source and destination as they are now; of an ICMP error those of the packet it is about, too, which NAT translates with it.
pub(in crate::path) fn way(p: &Packet) -> String {
    let way = Glance::of(p.l3(), false).way();
    match tuple::inner(p) {
        Some(about) => format!("{way} about {}", Glance::known_by(&about.tuple).way()),
        None => way,
    }
}

/// A flow's number, as one.
pub(in crate::path) fn number(id: FlowId) -> u64 {
    u64::from(id.tenant.get()) << 32 | u64::from(id.slot)
}

/// What conntrack has made of a packet.
#[cold]
pub(in crate::path) fn conntrack(cx: &Cx<'_>, p: &Packet, hook: Hook, tracked: Tracked) -> Step {
    let ct = p.meta.ct;
    let flow = cx.me.flow.as_ref().filter(|_| ct.is_tracked());
    let why = match (ct.state, tracked) {
        (CtState::Invalid, Tracked::Invalid) => Some(cx.live.conntrack.why_invalid(p, hook, cx.now)),
        (CtState::Untracked, Tracked::Untracked) => Some("neighbor discovery is never tracked".to_owned()),
        (CtState::Untracked, _) => Some("a rule said so".to_owned()),
        _ => None,
    };
    Step::Conntrack {
        state: match ct.state {
            CtState::Unseen => "UNSEEN",
            CtState::Untracked => "UNTRACKED",
            CtState::Invalid => "INVALID",
            CtState::New => "NEW",
            CtState::Established => "ESTABLISHED",
            CtState::Related => "RELATED",
        }
        .to_owned(),
        direction: flow.map(|_| match ct.dir {
            Direction::Original => "original".to_owned(),
            Direction::Reply => "reply".to_owned(),
        }),
        flow: ct.flow.map(number),
        // The time of one that only begins runs from when it is entered.
        line: flow.map(|c| {
            let now = if c.id.is_some() { cx.now } else { Instant::ZERO };
            text::line(&c.flow, now, false).to_string()
        }),
        why,
    }
}

/// Where a packet has been found to go; `None` if it was refused before the routes were asked.
#[cold]
pub(in crate::path) fn route(
    cx: &Cx<'_>,
    p: &Packet,
    found: Result<Option<Hop>, DropReason>,
    bound: Bound,
) -> Option<Step> {
    let (_, dst) = deliver::ends(p)?;
    let dev = |link| Some(cx.link_name(link).to_owned());
    // What no table was asked for, or had an answer to.
    let besides = |kind: &str, via, dev| Step::Route {
        table: None,
        kind: kind.to_owned(),
        prefix: None,
        via,
        dev,
        nexthops: None,
    };
    let hop = match found {
        Ok(hop) => hop,
        Err(DropReason::NoRoute) => return Some(besides("none", None, None)),
        Err(DropReason::RpFilter) => return Some(way_back(cx, deliver::ends(p)?.0)),
        Err(
            DropReason::Unreachable | DropReason::Prohibit | DropReason::Blackhole | DropReason::LinkDown,
        ) => None,
        Err(_) => return None,
    };
    if let (Bound::Link(link) | Bound::Station(link, _), Some(_)) = (bound, hop) {
        return Some(besides("bound", None, dev(link)));
    }
    let Some(entry) = cx.snap.fib.lookup(dst) else {
        // To a group or to all: no table holds those.
        let kind = if dst.is_multicast() { "multicast" } else { "broadcast" };
        return Some(match (hop, found) {
            (_, Err(_)) => besides("none", None, None),
            (None, _) => besides(kind, None, dev(p.meta.ingress)),
            (Some(hop), _) => besides("bound", via(dst, hop.next), dev(hop.link)),
        });
    };
    let (table, kind, link) = match &entry.action {
        Action::Forward(_) => ("main", "unicast", hop.map(|h| h.link)),
        Action::Local(link) => ("local", "local", Some(*link)),
        Action::Anycast(link) => ("local", "anycast", Some(*link)),
        Action::Broadcast(link) => ("local", "broadcast", Some(*link)),
        Action::Unreachable => ("main", "unreachable", None),
        Action::Prohibit => ("main", "prohibit", None),
        Action::Blackhole => ("main", "blackhole", None),
    };
    let prefix = covering(dst, entry);
    let nexthops = match &entry.action {
        Action::Forward(hops) if hops.len() > 1 => Some(hops.len()),
        _ => None,
    };
    Some(Step::Route {
        table: Some(table.to_owned()),
        kind: kind.to_owned(),
        prefix,
        via: hop.and_then(|h| via(dst, h.next)),
        dev: link.and_then(dev),
        nexthops,
    })
}

/// Where the way back to a source leads that a link does not take packets from.
fn way_back(cx: &Cx<'_>, src: IpAddr) -> Step {
    let entry = cx.snap.fib.lookup(src);
    let hops = match entry.map(|e| &e.action) {
        Some(Action::Forward(hops)) => Some(hops),
        _ => None,
    };
    let first = hops.and_then(|hops| hops.iter().next());
    Step::Route {
        table: entry.map(|_| "main".to_owned()),
        kind: if hops.is_some() { "back" } else { "no_way_back" }.to_owned(),
        prefix: entry.and_then(|e| covering(src, e)),
        via: first.and_then(|h| h.via).map(|via| via.to_string()),
        dev: first.map(|h| cx.link_name(h.link).to_owned()),
        nexthops: hops.map(|hops| hops.len()).filter(|n| *n > 1),
    }
}

/// The prefix that a route is for.
fn covering(addr: IpAddr, entry: &Entry) -> Option<String> {
    let net = IpNet::new(addr, entry.prefix_len).ok()?;
    Some(if net.prefix_len() == 0 { "default".to_owned() } else { net.trunc().to_string() })
}

fn via(dst: IpAddr, next: IpAddr) -> Option<String> {
    (next != dst).then(|| next.to_string())
}
