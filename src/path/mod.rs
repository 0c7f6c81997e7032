//! The way of a packet. Read this file and you have read the router.
//!
//! ```text
//!  receive ─► link ─► network ─► PREROUTING ─► route::input ─┬─► forward ─► FORWARD ─► POSTROUTING ─┬─► egress
//!               └─► arp                                      └─► gather ─► INPUT ─► deliver         │
//!                                                                                     │             │
//!          send: what the router itself makes ─► route::output ─► OUTPUT ─► route again ─► POSTROUTING
//!
//!  at the hooks, where a family's rules need them:
//!  PREROUTING   defrag  raw  conntrack  mangle  dnat
//!  INPUT                                mangle  filter  snat  confirm
//!  FORWARD                              mangle  filter
//!  OUTPUT       defrag  raw  conntrack  mangle  dnat  filter
//!  POSTROUTING                          mangle  snat  confirm
//! ```
//!
//! The order of the stages stands here, in `inward`, `local` and `outward` and what they go on with behind a
//! hook, and nowhere else. A stage takes the packet in place and gives a verdict: on it goes, it ends with a
//! [`DropReason`], or somebody else holds it. What a stage
//! wants sent because of a packet (an ICMP error, an ARP reply) is put in line and walks outward
//! after it, so that the walk never calls itself.
//!
//! The order is the kernel's: TTL and MTU are checked before FORWARD, options of IPv6 before
//! PREROUTING, those of IPv4 after it.
//!
//! Knows nothing of devices, threads or clocks: bytes and the time come in as arguments.

mod announce;
mod arp;
mod ask;
mod coalesce;
mod cx;
mod defrag;
mod deliver;
mod egress;
mod flow_cache;
mod forward;
mod hook;
mod icmp;
mod ingress;
mod limit;
mod nat;
mod ndp;
mod queue;
mod reject;
mod reply;
mod resolve;
mod route;
mod rules;
mod sample;
mod source;
mod tick;
pub mod trace;
mod track;

use std::net::IpAddr;

use crate::base::{Column, DropReason, Event, Hook, LinkId, Mac};
use crate::conntrack::Current;
use crate::packet::{Ct, Net, Packet};

pub use ask::{Query, Way, ask, source_on};
pub use cx::{Chance, Cx, Listeners, Live, LiveConfig, Local, Snapshot};
pub use egress::Handed;
pub use flow_cache::FlowCacheConfig;
pub use hook::{At, Call, Function, Hooks, Tracking, Verdict, priority};
pub use limit::Limits;
pub use queue::{Queue, Queued};
pub use sample::{Sample, Sampler, Tap};
pub use tick::{change_neighbors, check_addresses, link_changed, poll_timeout, timeout};
pub use trace::Tracer;

use hook::{Stop, hook};

/// How long a chain of packets may be of which each sets off the next, before it counts as a loop. A TTL of
/// 64 bounds the honest ones; this bounds what a mistake of ours could do.
const CHAIN: usize = 256;

/// Frames that came in by a link together, in their order; the vector is emptied.
pub fn receive_batch(cx: &mut Cx<'_>, link: LinkId, frames: &mut Vec<Packet>) {
    sample::frames(cx, link, frames);
    if frames.len() > 1 {
        coalesce::batch(cx, link, frames);
    }
    let ahead = flow_cache::look_ahead(cx, link, frames);
    for (n, frame) in frames.drain(..).enumerate() {
        receive_one(cx, link, frame, ahead.get(n).and_then(Option::as_ref));
    }
    flow_cache::looked_ahead(cx, ahead);
}

/// A frame from a link: goes the way of those of its flow before it, or walks it to its end, and whatever it sets off.
pub fn receive(cx: &mut Cx<'_>, link: LinkId, packet: Packet) {
    sample::frames(cx, link, std::slice::from_ref(&packet));
    receive_one(cx, link, packet, None);
}

#[inline]
fn receive_one(cx: &mut Cx<'_>, link: LinkId, mut packet: Packet, ahead: Option<&flow_cache::Probe>) {
    enter(cx, link, &mut packet);
    if cx.me.trace.is_on() {
        return met(cx, link, packet, ahead);
    }
    match flow_cache::replay(cx, link, &mut packet, ahead) {
        Some((out, mac)) => egress::frame(cx, packet, out, mac),
        None => from_link(cx, packet),
    }
}

/// Walks a frame from a link.
#[inline]
fn from_link(cx: &mut Cx<'_>, packet: Packet) {
    walk(cx, packet, None);
    cx.me.cache.walked();
    settle(cx);
}

/// A frame from a link while somebody watches: what is to be followed walks, whatever the flow cache knows of it.
#[cold]
fn met(cx: &mut Cx<'_>, link: LinkId, mut packet: Packet, ahead: Option<&flow_cache::Probe>) {
    let mut met = trace::meet(cx, &mut packet, Some(link));
    // The cache takes off what Ethernet padded a packet with; it is told, and captured, as it came.
    let len = packet.len();
    if let Some(met) = met.take_if(|met| met.walks) {
        let cache = flow_cache::would_replay(cx, link, &mut packet);
        packet.grew(len.saturating_sub(packet.len()));
        trace::begin(cx, &mut packet, met, Some(link), cache);
        if packet.meta.trace.is_some() {
            return from_link(cx, packet);
        }
    }
    match flow_cache::replay(cx, link, &mut packet, ahead) {
        Some((out, mac)) => egress::frame(cx, packet, out, mac),
        None => {
            if let Some(met) = met {
                packet.grew(len.saturating_sub(packet.len()));
                trace::begin(cx, &mut packet, met, Some(link), None);
            }
            from_link(cx, packet);
        }
    }
}

/// A frame from a link that nobody can walk: it is in the ledger, with its end.
pub fn refuse(cx: &mut Cx<'_>, link: LinkId, mut packet: Packet, reason: DropReason) {
    enter(cx, link, &mut packet);
    cx.drop(packet, reason);
}

/// A frame begins.
#[inline]
fn enter(cx: &mut Cx<'_>, link: LinkId, packet: &mut Packet) {
    packet.meta.ingress = link;
    packet.meta.column = Column::Received;
    // One that a function stole and gives in again was of a flow.
    packet.meta.ct = Ct::default();
    packet.meta.trace = None;
    cx.me.counters.event(Column::Received, Event::Entered);
    if let Some(c) = cx.me.counters.link(link) {
        c.rx_packets.add(1);
        c.rx_bytes.add(packet.len() as u64);
    }
}

/// A packet of the local stack, from its IP header on: walks outward.
pub fn send(cx: &mut Cx<'_>, packet: Packet) {
    let bound = match ndp::link_of_peer(cx, &packet) {
        Some(link) => Bound::Link(link),
        None => Bound::Free,
    };
    cx.originate(packet, bound);
    settle(cx);
}

/// A program gives back a packet that a hook had queued for it.
pub fn reinject(cx: &mut Cx<'_>, queued: Queued, verdict: Verdict) {
    queue::reinject(cx, queued, verdict);
    settle(cx);
}

/// Where a packet stands after its stages.
enum Next {
    /// An ARP packet for the neighbor protocol.
    Arp,
    /// It is for this router.
    Local,
    /// It has passed INPUT.
    Deliver,
    /// It leaves by this hop.
    Out(Hop),
    /// It was made here for here, and comes in again by the loopback.
    Loop,
}

/// The next hop: which link, and who there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hop {
    /// The link to leave by.
    pub link: LinkId,
    /// The neighbor: the gateway, or the destination itself.
    pub next: IpAddr,
    /// The neighbor's MAC where it is known without asking: groups, and probes to one station.
    pub mac: Option<Mac>,
    /// The largest packet that the route lets go whole, in bytes; what the link takes counts besides.
    pub mtu: u16,
}

/// What a packet made here is tied to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bound {
    /// Nothing: the routing table decides.
    Free,
    /// It leaves by this link: its addresses mean something only there.
    Link(LinkId),
    /// It goes to this station on this link.
    Station(LinkId, Mac),
}

/// A packet that the router made or looped, waiting for its walk.
#[derive(Debug)]
pub(crate) enum Work {
    /// With the flow it is about, which may stand in no table yet or any more.
    Outward(Packet, Bound, Option<Box<Current>>),
    /// With its flow, if that one stands in no table any more or yet.
    Inward(Packet, Option<Box<Current>>),
}

/// From a link inwards. The order of the stages.
fn inward(cx: &mut Cx<'_>, p: &mut Packet) -> Result<Next, Stop> {
    ingress::link(cx, p)?;
    if p.meta.net == Net::Arp {
        return Ok(Next::Arp);
    }
    ingress::network(cx, p)?;
    hook(cx, &At::coming(Hook::Prerouting, p), p)?;
    routed(cx, p)
}

/// Behind PREROUTING. The order of the stages.
fn routed(cx: &mut Cx<'_>, p: &mut Packet) -> Result<Next, Stop> {
    let Some(hop) = route::input(cx, p)? else { return Ok(Next::Local) };
    forward::check(cx, p, &hop)?;
    hook(cx, &At::passing(Hook::Forward, p, &hop), p)?;
    passed(cx, p, hop)
}

/// Behind FORWARD. The order of the stages.
fn passed(cx: &mut Cx<'_>, p: &mut Packet, hop: Hop) -> Result<Next, Stop> {
    forward::stamp_options(cx, p, &hop);
    hook(cx, &At::passing(Hook::Postrouting, p, &hop), p)?;
    Ok(Next::Out(hop))
}

/// To this router. The order of the stages. INPUT sees datagrams in IPv4 (`ip_local_deliver`), and in IPv6 the fragments
/// as they come (`ip6_input`), unless conntrack has put them together.
fn local(cx: &mut Cx<'_>, packet: Packet) {
    let whole = match packet.meta.net {
        Net::Ipv6 => Some(packet),
        _ => deliver::gather(cx, packet),
    };
    let Some(mut p) = whole else { return };
    match hook(cx, &At::coming(Hook::Input, &p), &mut p) {
        Ok(()) => arrived(cx, p),
        Err(stop) => stopped(cx, p, stop),
    }
}

/// Behind INPUT. [`deliver::gather`] comes first because a fragment can become a whole packet only by taking others in.
fn arrived(cx: &mut Cx<'_>, packet: Packet) {
    if let Some(p) = deliver::gather(cx, packet) {
        deliver::deliver(cx, p);
    }
}

/// From this router outwards. The order of the stages.
fn outward(cx: &mut Cx<'_>, p: &mut Packet, bound: Bound) -> Result<Next, Stop> {
    ingress::own(cx, p)?;
    let way = route::output(cx, p, bound)?;
    announce::segments(cx, p, way.as_ref());
    let to = deliver::ends(p);
    hook(cx, &At::leaving(Hook::Output, way.as_ref(), bound), p)?;
    let same = deliver::ends(p).map(|e| e.1) == to.map(|e| e.1);
    let way = if same { way } else { route::output(cx, p, Bound::Free)? };
    parting(cx, p, way, bound)
}

/// Behind OUTPUT. The order of the stages.
fn parting(cx: &mut Cx<'_>, p: &mut Packet, way: Option<Hop>, bound: Bound) -> Result<Next, Stop> {
    hook(cx, &At::leaving(Hook::Postrouting, way.as_ref(), bound), p)?;
    Ok(way.map_or(Next::Loop, Next::Out))
}

/// A packet that was held back at a hook goes on behind it.
fn go_on(cx: &mut Cx<'_>, at: &At, mut p: Packet, place: queue::Place) {
    let next = hook::resume(cx, at, &mut p, place).and_then(|()| match (at.hook, at.hop) {
        (Hook::Prerouting, _) => routed(cx, &mut p),
        (Hook::Input, _) => Ok(Next::Deliver),
        (Hook::Forward, Some(hop)) => passed(cx, &mut p, hop),
        // What the program made of it may go elsewhere.
        (Hook::Output, _) => {
            let way = route::output(cx, &mut p, at.bound)?;
            parting(cx, &mut p, way, at.bound)
        }
        (Hook::Postrouting, Some(hop)) => Ok(Next::Out(hop)),
        (Hook::Postrouting, None) => Ok(Next::Loop),
        (Hook::Forward, None) => Err(DropReason::NoRoute.into()),
    });
    arrive(cx, p, next);
}

fn walk(cx: &mut Cx<'_>, mut p: Packet, flow: Option<Box<Current>>) {
    cx.me.flow = flow.map(|f| *f);
    let next = inward(cx, &mut p);
    arrive(cx, p, next);
}

fn walk_out(cx: &mut Cx<'_>, mut p: Packet, bound: Bound, flow: Option<Box<Current>>) {
    cx.me.flow = flow.map(|f| *f);
    let next = outward(cx, &mut p, bound);
    arrive(cx, p, next);
}

/// Takes a packet to where its stages have led it.
fn arrive(cx: &mut Cx<'_>, p: Packet, next: Result<Next, Stop>) {
    match next {
        Ok(Next::Arp) => arp::receive(cx, p),
        Ok(Next::Local) => local(cx, p),
        Ok(Next::Deliver) => arrived(cx, p),
        Ok(Next::Out(hop)) => {
            let draft = flow_cache::leaving(cx, &p, &hop);
            egress::leave(cx, p, hop);
            if let Some(draft) = draft {
                flow_cache::left(cx, draft);
            }
        }
        Ok(Next::Loop) => cx.loop_back(p),
        Err(stop) => stopped(cx, p, stop),
    }
}

/// Ends a walk before its end. What somebody else holds is not here any more.
fn stopped(cx: &mut Cx<'_>, p: Packet, stop: Stop) {
    match stop {
        Stop::Drop(reason) => cx.drop(p, reason),
        Stop::Held => {}
    }
}

/// Walks what stands in line, and what that sets off: link after link of the chains, so that it is their
/// length that is bounded, and not how many neighbors can time out at once.
fn settle(cx: &mut Cx<'_>) {
    for _ in 0..CHAIN {
        if cx.me.line.is_empty() {
            return;
        }
        for _ in 0..cx.me.line.len() {
            match cx.me.line.pop_front() {
                Some(Work::Outward(p, bound, flow)) => walk_out(cx, p, bound, flow),
                Some(Work::Inward(p, flow)) => walk(cx, p, flow),
                None => break,
            }
        }
    }
    while let Some(Work::Outward(p, ..) | Work::Inward(p, _)) = cx.me.line.pop_front() {
        cx.drop(p, DropReason::Loop);
    }
}
