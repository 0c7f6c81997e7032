//! `ip route get`: the way that packets take now, shown as the kernel shows it.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;

use super::{Sources, no_link};
use crate::base::{DropReason, LinkId};
use crate::config::Refusal;
use crate::control::protocol::RouteGet;
use crate::control::{shown, view};
use crate::fib::{Protocol, Route, Table};
use crate::link::Link;
use crate::path::{Live, Query, Snapshot, Way, ask, source_on};
use crate::wire::proto;

/// The metric of the routes that links come with (`IP6_RT_PRIO_ADDRCONF`).
const CONNECTED: u32 = 256;

/// Protocols that have ports.
const WITH_PORTS: [u8; 2] = [proto::TCP, proto::UDP];

pub(super) fn route(asked: &RouteGet, s: &Sources<'_>) -> Result<view::Route, Refusal> {
    if asked.iif.is_none() && asked.from.is_some_and(|from| from.is_unspecified()) {
        // From nowhere is from wherever suits.
        return route(&RouteGet { from: None, ..asked.clone() }, s);
    }
    if asked.iif.is_none() && asked.to == IpAddr::from(Ipv4Addr::UNSPECIFIED) {
        // What the router sends to nowhere it sends to itself.
        let loopback = RouteGet { to: Ipv4Addr::LOCALHOST.into(), ..asked.clone() };
        let way = route(&loopback, s)?;
        return Ok(view::Route { dst: asked.to.to_string(), ..way });
    }
    let Some(router) = &s.rest.router else { return Err("nobody here routes anything".into()) };
    let (snap, live) = (&*router.snapshot(), router.live());
    let iif = asked.iif.as_deref().map(|name| named(s, name)).transpose()?;
    let oif = asked.oif.as_deref().map(|name| named(s, name)).transpose()?;
    if asked.from.is_some_and(|from| from.is_ipv4() != asked.to.is_ipv4()) {
        return Err(Refusal::of("EINVAL", "`from` is of the other family: leave it out, or give another"));
    }
    if iif.is_some() && asked.from.is_none() && asked.to.is_ipv4() {
        return Err(Refusal::of("EINVAL", "a packet that comes in has a source: give it with `from`"));
    }
    if iif.is_none()
        && let Some(from @ IpAddr::V4(_)) = asked.from
        && snap.links.owner(from).is_none()
        && !from.is_loopback()
    {
        let text = format!("{from} is no address of this router: say with `iif` by which link it comes in");
        return Err(Refusal::of("ENETUNREACH", text));
    }
    let ports = (asked.sport.is_some()
        || asked.dport.is_some()
        || asked.ipproto.is_some_and(|p| WITH_PORTS.contains(&p)))
    .then(|| (asked.sport.unwrap_or_default(), asked.dport.unwrap_or_default()));
    let query = Query {
        to: asked.to,
        from: asked.from,
        ingress: iif.map(|l| l.id),
        proto: asked.ipproto.unwrap_or_default(),
        ports,
    };
    let way = match oif {
        Some(link) if iif.is_none() => bound(s, (snap, live), &query, link)?,
        _ => ask(snap, live, &query).map_err(|reason| dropped(reason, iif.is_some()))?,
    };
    if let (Some(oif), Way::Out { link, .. }) = (oif, way)
        && oif.id != link
    {
        return Err(Refusal::of("ENETUNREACH", format!("it does not leave by {}", oif.name)));
    }
    if iif.is_none()
        && let Some(from) = asked.from.filter(IpAddr::is_loopback)
        && from.is_ipv4()
        && matches!(way, Way::Out { link, .. } if link != LinkId::LO)
    {
        return Err(Refusal::of("EINVAL", format!("{from} never leaves the router: leave `from` out")));
    }
    Ok(Shower { asked, s, way, iif, oif }.shown())
}

fn named<'a>(s: &'a Sources<'_>, name: &str) -> Result<&'a Link, Refusal> {
    s.links.named(name).ok_or_else(|| Refusal::of("ENODEV", no_link(s.links, name)))
}

/// The way by one link: by the longest prefix with a route out of it, and for IPv4 else straight to the destination, as
/// the kernel takes `oif`.
fn bound(
    s: &Sources<'_>,
    (snap, live): (&Snapshot, &Live),
    query: &Query,
    link: &Link,
) -> Result<Way, Refusal> {
    let to = query.to;
    let straight = to.is_multicast() || matches!(to, IpAddr::V4(v4) if v4.is_broadcast());
    if !straight
        && let Ok(way) = ask(snap, live, query)
        && !matches!(way, Way::Out { link: by, .. } if by != link.id)
    {
        return Ok(way);
    }
    let out = |via, prefix_len| {
        let via_or = if straight { None } else { via };
        let src = query.from.or_else(|| source_on(snap, live, link.id, to, via_or));
        Way::Out { link: link.id, via, prefix_len, src, turns_back: false }
    };
    if !s.states.is_up(link.id) {
        return Err(dropped(DropReason::LinkDown, false));
    }
    let local = matches!(to, IpAddr::V6(v6) if v6.is_unicast_link_local());
    if straight || local {
        return Ok(out(None, 0));
    }
    let longest = if to.is_ipv4() { 32 } else { 128 };
    for len in (0..=longest).rev() {
        let Some(prefix) = IpNet::new(to, len).ok().map(|net| net.trunc()) else { continue };
        let by = |r: &Route| r.hops().iter().any(|h| h.link == Some(link.id));
        if let Some(route) = s.rib.find(prefix, |r| r.table() == Table::Main && by(r)) {
            let hop = route.hops().iter().find(|h| h.link == Some(link.id));
            return Ok(out(hop.and_then(|h| h.via), len));
        }
    }
    match to {
        IpAddr::V4(_) => Ok(out(None, 0)),
        IpAddr::V6(_) => {
            Err(Refusal::of("ENETUNREACH", format!("no route to {to} leads out of {}", link.name)))
        }
    }
}

/// The error that the kernel has for a packet that goes no further (`ip_route_output_key_hash_rcu`,
/// `ip_route_input_rcu`).
fn dropped(reason: DropReason, comes_in: bool) -> Refusal {
    let errno = match reason {
        DropReason::Unreachable => "EHOSTUNREACH",
        DropReason::Prohibit => "EACCES",
        DropReason::RpFilter => "EXDEV",
        DropReason::Blackhole | DropReason::MartianSource | DropReason::MartianDestination => "EINVAL",
        DropReason::NotJoined | DropReason::NotForwarded if comes_in => "EINVAL",
        _ => "ENETUNREACH",
    };
    Refusal::of(errno, format!("such a packet is dropped as {}: {}", reason.name(), reason.text()))
}

/// What is shown of an answer.
struct Shower<'a> {
    asked: &'a RouteGet,
    s: &'a Sources<'a>,
    way: Way,
    iif: Option<&'a Link>,
    oif: Option<&'a Link>,
}

impl Shower<'_> {
    fn shown(&self) -> view::Route {
        let to = self.asked.to;
        let v4 = to.is_ipv4();
        let route = self.route();
        if self.asked.fibmatch
            && let Some(route) = &route
        {
            let route = shown::route(route, &|id| Some((self.name(id)?, self.s.states.is_up(id))));
            return view::Route { table: route.table.filter(|_| !v4), ..route };
        }
        let lo = self.name(LinkId::LO);
        let comes_in = self.iif.is_some();
        let (kind, dev, src, flags): (_, _, _, &[&str]) = match self.way {
            Way::Out { link, src, turns_back, .. } => {
                let kind = (to.is_multicast()).then_some("multicast");
                let kind = kind.or_else(|| self.everybody().then_some("broadcast"));
                let flags: &[&str] = match kind {
                    Some("multicast") => &["mc"],
                    Some(_) => &["local", "brd"],
                    None if turns_back => &["redirect"],
                    None => &[],
                };
                (kind, self.name(link), src, flags)
            }
            Way::Here(_) => (Some("local"), lo, route.as_ref().and_then(|r| r.src).or(Some(to)), &["local"]),
            Way::Anycast(link) => (Some("anycast"), lo, self.speaks(link), &["local"]),
            Way::Broadcast(link) => {
                let dev = if comes_in { lo } else { self.name(link) };
                (Some("broadcast"), dev, route.as_ref().and_then(|r| r.src), &["local", "brd"])
            }
            Way::Group if to.is_multicast() => (Some("multicast"), lo, None, &["local", "mc"]),
            Way::Group => (Some("broadcast"), lo, None, &["local", "brd"]),
        };
        let via = match self.way {
            Way::Out { via, .. } => via,
            _ => None,
        };
        let (gateway, via) = shown::gateway(to, via);
        // What an IPv6 route is, the kernel shows of the way too; that to all groups is one of its own table.
        let v6 = route.as_ref().filter(|_| !v4);
        let group = !v4 && to.is_multicast();
        let any = (!v4).then(|| "::".to_owned());
        // An IPv6 source is shown as it would be chosen, whatever was asked with.
        let src = match self.way {
            Way::Out { link, .. } if !v4 => {
                route.as_ref().filter(|_| !group).and_then(|r| r.src).or_else(|| self.speaks(link))
            }
            _ => src,
        };
        let src = src.filter(|_| !comes_in && (self.asked.from.is_none() || !v4));
        view::Route {
            kind: kind.map(str::to_owned),
            dst: to.to_string(),
            from: self.asked.from.map(|from| from.to_string()).or(any),
            gateway,
            via,
            dev,
            table: (group || v6.is_some_and(|r| r.table() == Table::Local)).then(|| "local".to_owned()),
            protocol: match group {
                true => Some(Protocol::Kernel.to_string()),
                false => v6.and_then(|r| (r.protocol != Protocol::Boot).then(|| r.protocol.to_string())),
            },
            prefsrc: src.map(|src| src.to_string()),
            metric: if group { Some(CONNECTED) } else { v6.map(|r| r.metric) },
            mark: self.asked.mark.filter(|mark| v4 && *mark != 0),
            // The last number stands for nobody (`INVALID_UID`).
            uid: self.asked.uid.filter(|uid| v4 && !comes_in && *uid != u32::MAX),
            metrics: match self.way {
                Way::Out { .. } if !group => route.as_ref().map_or(Vec::new(), |r| shown::metrics(r.metrics)),
                _ => Vec::new(),
            },
            cache: v4.then(|| flags.iter().map(|f| (*f).to_owned()).collect()),
            iif: self.iif.map(|l| l.name.clone()),
            pref: (!v4).then(|| "medium".to_owned()),
            ..view::Route::default()
        }
    }

    /// The address that the router speaks to the destination from.
    fn speaks(&self, link: LinkId) -> Option<IpAddr> {
        let router = self.s.rest.router.as_ref()?;
        let snap = router.snapshot();
        source_on(&snap, router.live(), link, self.asked.to, None)
    }

    fn everybody(&self) -> bool {
        matches!(self.asked.to, IpAddr::V4(v4) if v4.is_broadcast())
    }

    /// The route that decides.
    fn route(&self) -> Option<Route> {
        let to = self.asked.to;
        let local = |r: &Route| r.table() == Table::Local;
        match self.way {
            Way::Out { link, prefix_len, .. } => {
                let link_local = matches!(to, IpAddr::V6(v6) if v6.is_unicast_link_local());
                let len = if link_local && self.oif.is_some() { 64 } else { prefix_len };
                let prefix = IpNet::new(to, len).ok()?.trunc();
                let up = |r: &Route| r.hops().iter().any(|h| h.link.is_none_or(|l| self.s.states.is_up(l)));
                let by = |r: &Route| r.hops().iter().any(|h| h.link.is_none_or(|l| l == link));
                self.s.rib.find(prefix, |r| !local(r) && up(r) && by(r))
            }
            Way::Here(_) | Way::Anycast(_) | Way::Broadcast(_) => {
                let longest = if to.is_ipv4() { 32 } else { 128 };
                (0..=longest).rev().find_map(|len| self.s.rib.find(IpNet::new(to, len).ok()?.trunc(), local))
            }
            Way::Group => None,
        }
    }

    fn name(&self, id: LinkId) -> Option<String> {
        self.s.links.get(id).map(|l| l.name.clone())
    }
}
