//! Where the walk would send a packet, asked without one: `ip route get`.
//!
//! The questions are those of [`route`], in its order, to the same tables; nobody is answered and nothing is
//! counted. Hooks are not asked: what rules and conntrack would do with a packet it takes a packet to say.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::base::{DropReason, LinkId};
use crate::fib::{Action, Entry, Hops};
use crate::link::Link;
use crate::neighbor::DadState;
use crate::wire::transport;

use super::{Live, Snapshot, ndp, route, source};

/// The packet in question.
#[derive(Debug, Clone, Copy)]
pub struct Query {
    /// Where it is to go.
    pub to: IpAddr,
    /// Where it comes from; the router's own have one chosen.
    pub from: Option<IpAddr>,
    /// The link it comes in by; `None`: the router makes it.
    pub ingress: Option<LinkId>,
    /// The protocol above IP, 0 where that is not said.
    pub proto: u8,
    /// Its ports.
    pub ports: Option<(u16, u16)>,
}

/// What becomes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// It leaves.
    Out {
        /// By this link.
        link: LinkId,
        /// To this router; `None`: to its destination itself.
        via: Option<IpAddr>,
        /// The length of the prefix that decides.
        prefix_len: u8,
        /// The source, if it is the router's own.
        src: Option<IpAddr>,
        /// It leaves by the link it came in by, and its sender would be told of a better way.
        turns_back: bool,
    },
    /// It is for this router, the address being one of this link's.
    Here(LinkId),
    /// It is for this router as one of the routers of the link's subnet.
    Anycast(LinkId),
    /// It is for everybody on the link.
    Broadcast(LinkId),
    /// It is for a group, or for all, of which this router is one.
    Group,
}

/// Asks.
///
/// # Errors
/// Why the packet would be dropped.
pub fn ask(snap: &Snapshot, live: &Live, q: &Query) -> Result<Way, DropReason> {
    match (q.ingress, q.to, q.from) {
        (None, ..) => free(snap, live, q),
        (Some(ingress), IpAddr::V4(to), from) => {
            let Some(IpAddr::V4(from)) = from.or(Some(Ipv4Addr::UNSPECIFIED.into())) else {
                return Err(DropReason::MartianSource);
            };
            inward4(snap, live, q, ingress, (from, to))
        }
        (Some(ingress), IpAddr::V6(to), from) => {
            let Some(IpAddr::V6(from)) = from.or(Some(Ipv6Addr::UNSPECIFIED.into())) else {
                return Err(DropReason::MartianSource);
            };
            inward6(snap, live, q, ingress, (from, to))
        }
    }
}

/// As `route::way4`.
fn inward4(
    snap: &Snapshot,
    live: &Live,
    q: &Query,
    ingress: LinkId,
    (src, dst): (Ipv4Addr, Ipv4Addr),
) -> Result<Way, DropReason> {
    let inside = ingress == LinkId::LO;
    let fits = |out| route::comes_from(snap, ingress, src.into(), out);
    if src.is_multicast() || src.is_broadcast() || !inside && src.is_loopback() {
        return Err(DropReason::MartianSource);
    }
    if dst.is_multicast() {
        return match dst.octets() {
            [224, 0, 0, 1] => fits(None).map(|()| Way::Group),
            [224, 0, 0, _] => Err(DropReason::NotJoined),
            _ => Err(DropReason::NotForwarded),
        };
    }
    if dst.is_broadcast() || src.is_unspecified() && dst.is_unspecified() {
        return fits(None).map(|()| Way::Group);
    }
    if src.octets()[0] == 0 {
        return Err(DropReason::MartianSource);
    }
    if dst.octets()[0] == 0 || !inside && dst.is_loopback() {
        return Err(DropReason::MartianDestination);
    }
    let entry = snap.fib.lookup4(dst).ok_or(DropReason::NoRoute)?;
    onward(snap, live, q, entry, ingress, src.into())
}

/// As `route::input6`.
fn inward6(
    snap: &Snapshot,
    live: &Live,
    q: &Query,
    ingress: LinkId,
    (src, dst): (Ipv6Addr, Ipv6Addr),
) -> Result<Way, DropReason> {
    let link = snap.links.get(ingress).ok_or(DropReason::LinkDown)?;
    // What `ingress` refuses before anything is asked.
    let inside = ingress == LinkId::LO;
    if src.is_multicast() || !inside && src.is_loopback() {
        return Err(DropReason::MartianSource);
    }
    if !inside && (dst.is_loopback() || dst.is_multicast() && dst.octets()[1] & 0xf < 2) {
        return Err(DropReason::MartianDestination);
    }
    let own = if link.has(src.into()) { Some(ingress) } else { snap.links.owner(src.into()) };
    if ingress != LinkId::LO && own.is_some_and(|on| live.dad.state(on, src) == DadState::Valid) {
        return Err(DropReason::MartianSource);
    }
    if dst.is_multicast() {
        return match ndp::joined(live, link, dst) {
            true => Ok(Way::Group),
            false if dst.octets()[1] & 0xf <= 2 => Err(DropReason::NotJoined),
            false => Err(DropReason::NotForwarded),
        };
    }
    if dst.is_unspecified() {
        return Err(DropReason::MartianDestination);
    }
    if dst.is_unicast_link_local() {
        let anywhere = ingress == LinkId::LO && snap.links.iter().any(|l| l.has(dst.into()));
        return match anywhere || link.has(dst.into()) {
            true => ours6(live, ingress, dst).map(|()| Way::Here(ingress)),
            false => Err(DropReason::LinkLocalScope),
        };
    }
    let entry = snap.fib.lookup6(dst).ok_or(DropReason::NoRoute)?;
    let way = onward(snap, live, q, entry, ingress, src.into())?;
    if let Way::Here(on) | Way::Anycast(on) | Way::Broadcast(on) = way {
        ours6(live, on, dst)?;
    }
    Ok(way)
}

fn ours6(live: &Live, on: LinkId, dst: Ipv6Addr) -> Result<(), DropReason> {
    match live.dad.state(on, dst) {
        DadState::Valid => Ok(()),
        DadState::Tentative | DadState::Duplicate => Err(DropReason::AddressTentative),
    }
}

/// What the table says, if the source may come from there.
fn onward(
    snap: &Snapshot,
    live: &Live,
    q: &Query,
    entry: &Entry,
    ingress: LinkId,
    src: IpAddr,
) -> Result<Way, DropReason> {
    let fits = |out| route::comes_from(snap, ingress, src, out);
    match &entry.action {
        Action::Local(link) => fits(None).map(|()| Way::Here(*link)),
        Action::Anycast(link) => fits(None).map(|()| Way::Anycast(*link)),
        Action::Broadcast(link) => fits(None).map(|()| Way::Broadcast(*link)),
        Action::Forward(hops) => {
            let (link, via) = hop(live, q, src, hops)?;
            fits(Some(link))?;
            if let (Some(IpAddr::V6(src)), true) = (q.from, ingress != LinkId::LO) {
                beyond(src, link == ingress)?;
            }
            let redirects = |l: &Link| l.redirects && l.is_ethernet() && route::on_link(l, src);
            let turns_back = link == ingress && snap.links.get(link).is_some_and(redirects);
            Ok(Way::Out { link, via, prefix_len: entry.prefix_len, src: None, turns_back })
        }
        Action::Unreachable => Err(DropReason::Unreachable),
        Action::Prohibit => Err(DropReason::Prohibit),
        Action::Blackhole => Err(DropReason::Blackhole),
    }
}

/// What `forward` refuses of IPv6 sources.
fn beyond(src: Ipv6Addr, stays: bool) -> Result<(), DropReason> {
    if src.is_unspecified() {
        return Err(DropReason::MartianSource);
    }
    if src.is_unicast_link_local() && !stays {
        return Err(DropReason::BeyondScope);
    }
    Ok(())
}

/// What the router makes itself: as `route::free`, with the source that it would choose.
fn free(snap: &Snapshot, live: &Live, q: &Query) -> Result<Way, DropReason> {
    let dst = q.to;
    if dst.is_multicast() || matches!(dst, IpAddr::V6(v6) if v6.is_unicast_link_local()) {
        return Err(DropReason::LinkLocalScope);
    }
    if matches!(dst, IpAddr::V4(v4) if v4.is_broadcast()) {
        return Err(DropReason::NotForwarded);
    }
    let entry = snap.fib.lookup(dst).ok_or(DropReason::NoRoute)?;
    match &entry.action {
        Action::Local(link) => Ok(Way::Here(*link)),
        Action::Anycast(link) => Ok(Way::Anycast(*link)),
        Action::Broadcast(link) => Ok(Way::Broadcast(*link)),
        Action::Forward(hops) => {
            // The source is chosen by the way, and the way among equals by the source: as the kernel, first
            // without one.
            let chosen = |(link, via): (LinkId, Option<IpAddr>)| {
                entry.src.or_else(|| source::out_of(snap, live, link, source::near(dst, via)))
            };
            let first = hops.pick(0, |l| live.states.is_up(l)).ok_or(DropReason::LinkDown)?;
            let src = q.from.or_else(|| chosen((first.link, first.via)));
            let any = if dst.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
            let (link, via) = hop(live, q, src.unwrap_or(any), hops)?;
            let src = q.from.or_else(|| chosen((link, via)));
            Ok(Way::Out { link, via, prefix_len: entry.prefix_len, src, turns_back: false })
        }
        Action::Unreachable => Err(DropReason::Unreachable),
        Action::Prohibit => Err(DropReason::Prohibit),
        Action::Blackhole => Err(DropReason::Blackhole),
    }
}

/// The source of what the router sends by a link, through a gateway if there is one.
pub fn source_on(
    snap: &Snapshot,
    live: &Live,
    link: LinkId,
    to: IpAddr,
    via: Option<IpAddr>,
) -> Option<IpAddr> {
    source::out_of(snap, live, link, source::near(to, via))
}

/// The hop of the flow.
fn hop(live: &Live, q: &Query, src: IpAddr, hops: &Hops) -> Result<(LinkId, Option<IpAddr>), DropReason> {
    let several = hops.iter().len() > 1;
    let hash = if several { transport::flow_hash(src, q.to, q.proto, q.ports, live.flow_key) } else { 0 };
    let hop = hops.pick(hash, |link| live.states.is_up(link)).ok_or(DropReason::LinkDown)?;
    Ok((hop.link, hop.via))
}
