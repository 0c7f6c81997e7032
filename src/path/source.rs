//! Which of its addresses the router speaks from (`inet_select_addr`, RFC 6724 §5).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::base::LinkId;
use crate::fib::Action;
use crate::link::Link;
use crate::neighbor::DadState;

use super::{Cx, Live, Snapshot};

/// The address to answer `to` from, and nothing else known: by the route there.
pub(super) fn towards(cx: &Cx<'_>, to: IpAddr) -> Option<IpAddr> {
    let entry = cx.snap.fib.lookup(to)?;
    if let Some(src) = entry.src {
        return Some(src);
    }
    match &entry.action {
        Action::Forward(hops) => {
            let hop = hops.pick(0, |l| cx.live.states.is_up(l)).or_else(|| hops.iter().next())?;
            on_link(cx, hop.link, near(to, hop.via))
        }
        Action::Local(link) | Action::Anycast(link) | Action::Broadcast(link) => on_link(cx, *link, to),
        Action::Unreachable | Action::Prohibit | Action::Blackhole => None,
    }
}

/// Whom the source has to suit: of IPv4 the gateway, if there is one (`fib_result_prefsrc`), of IPv6 the destination
/// (RFC 6724 §5), or a link-local gateway would have the router speak from an address that nobody behind it can answer.
pub(super) fn near(to: IpAddr, via: Option<IpAddr>) -> IpAddr {
    via.filter(|via| via.is_ipv4() && to.is_ipv4()).unwrap_or(to)
}

/// The address to speak to a neighbor on this link from; another link's if this one has none.
pub(super) fn on_link(cx: &Cx<'_>, link: LinkId, neighbor: IpAddr) -> Option<IpAddr> {
    out_of(cx.snap, cx.live, link, neighbor)
}

/// The same, of tables.
pub(super) fn out_of(snap: &Snapshot, live: &Live, link: LinkId, neighbor: IpAddr) -> Option<IpAddr> {
    match neighbor {
        IpAddr::V4(_) => out_of4(snap, link, neighbor).map(IpAddr::V4),
        IpAddr::V6(v6) => out_of6(snap, live, link, v6).map(IpAddr::V6),
    }
}

/// IPv4: the first address whose prefix the neighbor is on, else the link's first, else any link's.
pub(super) fn on_link4(cx: &Cx<'_>, link: LinkId, neighbor: IpAddr) -> Option<Ipv4Addr> {
    out_of4(cx.snap, link, neighbor)
}

fn out_of4(snap: &Snapshot, link: LinkId, neighbor: IpAddr) -> Option<Ipv4Addr> {
    let of = |l: &Link| {
        let v4 = |a: &crate::link::Address| match a.addr {
            IpAddr::V4(v4) => Some(v4),
            IpAddr::V6(_) => None,
        };
        l.addresses
            .iter()
            .find(|a| a.network().contains(&neighbor) && a.addr.is_ipv4())
            .and_then(v4)
            .or_else(|| l.addresses.iter().find_map(v4))
    };
    snap.links
        .get(link)
        .and_then(of)
        .or_else(|| snap.links.iter().filter(|l| l.id != LinkId::LO).find_map(of))
}

/// IPv6: of the same scope, then with the longest prefix in common; never one that is tentative.
fn out_of6(snap: &Snapshot, live: &Live, link: LinkId, to: Ipv6Addr) -> Option<Ipv6Addr> {
    let local = to.is_unicast_link_local() || to.is_multicast() && to.octets()[1] & 0xf <= 2;
    let best = |l: &Link| {
        l.addresses
            .iter()
            .filter_map(|a| match a.addr {
                IpAddr::V6(v6) if v6.is_unicast_link_local() == local => Some(v6),
                _ => None,
            })
            .filter(|a| live.dad.state(l.id, *a) == DadState::Valid)
            .max_by_key(|a| (u128::from(*a) ^ u128::from(to)).leading_zeros())
    };
    let own = snap.links.get(link).and_then(best);
    if local {
        return own;
    }
    own.or_else(|| snap.links.iter().filter(|l| l.id != LinkId::LO).find_map(best))
        .or_else(|| snap.links.get(link).and_then(Link::link_local))
}

/// The source of an ICMP error or reply about a packet from `peer` to `asked`: the address that was
/// asked if it is one of ours, else by the route back.
pub(super) fn for_reply(cx: &Cx<'_>, ingress: LinkId, asked: IpAddr, peer: IpAddr) -> Option<IpAddr> {
    let ours = match cx.snap.fib.lookup(asked).map(|e| &e.action) {
        Some(Action::Local(_)) => true,
        _ => cx.snap.links.get(ingress).is_some_and(|l| l.has(asked)),
    };
    let usable = match asked {
        IpAddr::V6(v6) => cx.live.dad.state(ingress, v6) == DadState::Valid,
        IpAddr::V4(_) => true,
    };
    if ours && usable {
        return Some(asked);
    }
    match peer {
        // IPv6 speaks from the link that the packet came in by, whichever the answer leaves by (`icmp6_send`).
        IpAddr::V6(v6) if v6.is_unicast_link_local() => on_link(cx, ingress, peer),
        IpAddr::V6(_) if ingress != LinkId::LO => on_link(cx, ingress, peer).or_else(|| towards(cx, peer)),
        _ => towards(cx, peer),
    }
}

/// The source an ARP request or solicitation for `target` speaks from: that of the packet that asked
/// for it if it is ours (`arp_announce` 0), else one of the link's.
pub(super) fn for_solicit(cx: &Cx<'_>, link: LinkId, target: IpAddr, hint: Option<IpAddr>) -> Option<IpAddr> {
    let l = cx.snap.links.get(link)?;
    match (target, hint) {
        (IpAddr::V4(_), Some(h @ IpAddr::V4(_))) if cx.snap.links.owner(h).is_some() => Some(h),
        (IpAddr::V6(_), Some(IpAddr::V6(h)))
            if l.has(h.into()) && cx.live.dad.state(link, h) == DadState::Valid =>
        {
            Some(h.into())
        }
        (IpAddr::V4(_), _) => on_link4(cx, link, target).map(IpAddr::V4),
        (IpAddr::V6(_), _) => l
            .link_local()
            .filter(|a| cx.live.dad.state(link, *a) == DadState::Valid)
            .map(IpAddr::V6)
            .or_else(|| on_link(cx, link, target)),
    }
}

/// Whether the address is one of ours, on any link.
pub(super) fn is_ours(cx: &Cx<'_>, addr: IpAddr) -> bool {
    matches!(cx.snap.fib.lookup(addr).map(|e| &e.action), Some(Action::Local(_)))
}
