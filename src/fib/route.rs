//! The control side's idea of a route: what was configured, and what `ip route` shows.
//!
//! Knows nothing of other routes; whether a gateway can be reached is found out in `build`.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use ipnet::IpNet;

use super::metrics::Metrics;
use crate::base::LinkId;
use crate::link::Links;

/// One route.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Route {
    /// The destinations it is for; no bits set behind the prefix.
    pub prefix: IpNet,
    /// What happens to packets for them.
    pub kind: RouteKind,
    /// Among routes for the same prefix the lowest wins.
    pub metric: u32,
    /// Who made it.
    pub protocol: Protocol,
    /// The source that packets made here prefer on this way; one of the router's addresses.
    pub src: Option<IpAddr>,
    /// What it says of the packets besides.
    pub metrics: Metrics,
}

/// IPv4 or IPv6.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// The family of a prefix.
    pub fn of(prefix: IpNet) -> Self {
        if prefix.addr().is_ipv4() { Family::V4 } else { Family::V6 }
    }

    /// The metric of a route that was given none: 0, and `IP6_RT_PRIO_USER` (`linux/ipv6_route.h`).
    pub fn default_metric(self) -> u32 {
        match self {
            Family::V4 => 0,
            Family::V6 => 1024,
        }
    }
}

/// The tables of a router. As in Linux, the second is looked at only where the first says nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Table {
    /// What is for the router itself: `ip route show table local`.
    Local,
    /// Everything else: `ip route show`.
    Main,
}

/// What happens to the packets a route covers.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum RouteKind {
    /// They go on; over one of several hops, by flow, if there are several.
    Unicast(Vec<NextHop>),
    /// They are for this router.
    Local(LinkId),
    /// They are for this router as one of the routers of a subnet.
    Anycast(LinkId),
    /// They are for everybody on the link.
    Broadcast(LinkId),
    /// They are refused with host unreachable, or no route.
    Unreachable,
    /// They are refused with administratively prohibited.
    Prohibit,
    /// They vanish.
    Blackhole,
}

/// One way on. Either field says enough: a link without `via` means that the destination is a
/// neighbor there; `via` without a link is looked up in the other routes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct NextHop {
    /// The router to hand packets to.
    pub via: Option<IpAddr>,
    /// The link to reach it by.
    pub link: Option<LinkId>,
    /// Its share of the flows relative to the other hops, 1..=256.
    pub weight: u16,
    /// `via` is a neighbor on the link even though no prefix of the link covers it.
    pub onlink: bool,
}

impl NextHop {
    /// The only hop, or one of equals.
    pub fn new(via: Option<IpAddr>, link: Option<LinkId>) -> Self {
        NextHop { via, link, weight: 1, onlink: false }
    }
}

/// Who made a route: numbers and names as in `/etc/iproute2/rt_protos`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub enum Protocol {
    /// It follows from an address.
    Kernel,
    /// Somebody typed it; what `ip route add` gives when told nothing else.
    #[default]
    Boot,
    /// An administrator configured it.
    Static,
    /// A routing daemon, by number.
    Other(u8),
}

/// Why a route can't stand in the table.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RouteError {
    /// Same table, prefix and metric.
    #[error("there is a route to {0} with metric {1} already: give another metric, or replace it")]
    Exists(IpNet, u32),
    /// Nothing to remove.
    #[error("there is no such route to {0}")]
    NotFound(IpNet),
    /// Bits behind the prefix.
    #[error("{0} has bits set behind its prefix: did you mean {right}?", right = .0.trunc())]
    HostBits(IpNet),
    /// Unicast and no next hop, or a next hop of nothing.
    #[error("the route to {0} has no way out: give `via` or `dev`")]
    NoWayOut(IpNet),
    /// More next hops than a route can have.
    #[error("the route to {0} has {1} next hops: at most {MAX_HOPS} are possible")]
    TooManyHops(IpNet, usize),
    /// Weight out of range.
    #[error("weight {1} of a next hop to {0} is out of range: 1 to 256 are possible")]
    Weight(IpNet, u16),
    /// IPv6 through an IPv4 router.
    #[error("the route to {0} can't go via {1}: an IPv6 route needs an IPv6 next hop")]
    Family(IpNet, IpAddr),
    /// An address that no router can have.
    #[error("the route to {0} can't go via {1}: that is no single router's address")]
    NotUnicast(IpNet, IpAddr),
    /// A link-local address without a link.
    #[error("the route to {0} via {1} needs `dev`: a link-local address is there on every link")]
    NeedsLink(IpNet, IpAddr),
    /// `onlink` without a link.
    #[error("the route to {0} is `onlink` of no link: give `dev`")]
    OnlinkNeedsLink(IpNet),
    /// A preferred source of the other family.
    #[error("the route to {0} can't have source {1}: that is of the other family")]
    SourceFamily(IpNet, IpAddr),
    /// The table is full.
    #[error("the table is full: {MAX_ROUTES} routes are the most it takes")]
    Full,
}

/// Next hops of one route, at most. Linux has no limit of its own; a netlink message holds some
/// thousands. Nobody balances over more ports than a chassis has.
pub(super) const MAX_HOPS: usize = 256;

/// Routes of one router, at most: four times today's Internet, and still small next to memory.
pub(super) const MAX_ROUTES: usize = 1 << 22;

impl Route {
    /// A route as `ip route add` makes it when told nothing more: protocol boot, the family's
    /// default metric, no preferred source.
    pub fn new(prefix: IpNet, kind: RouteKind) -> Self {
        let metric = Family::of(prefix).default_metric();
        Route { prefix, kind, metric, protocol: Protocol::Boot, src: None, metrics: Metrics::default() }
    }

    /// The family of its destinations.
    pub fn family(&self) -> Family {
        Family::of(self.prefix)
    }

    /// The table it stands in: what is for the router itself is looked up before all else.
    pub fn table(&self) -> Table {
        match self.kind {
            RouteKind::Local(_) | RouteKind::Anycast(_) | RouteKind::Broadcast(_) => Table::Local,
            _ => Table::Main,
        }
    }

    /// Its hops; none unless it is unicast.
    pub fn hops(&self) -> &[NextHop] {
        match &self.kind {
            RouteKind::Unicast(hops) => hops,
            _ => &[],
        }
    }

    /// Whether it makes sense by itself.
    pub fn validate(&self) -> Result<(), RouteError> {
        let to = self.prefix;
        if to != to.trunc() {
            return Err(RouteError::HostBits(to));
        }
        if let Some(src) = self.src
            && src.is_ipv4() != to.addr().is_ipv4()
        {
            return Err(RouteError::SourceFamily(to, src));
        }
        let RouteKind::Unicast(hops) = &self.kind else { return Ok(()) };
        if hops.is_empty() {
            return Err(RouteError::NoWayOut(to));
        }
        if hops.len() > MAX_HOPS {
            return Err(RouteError::TooManyHops(to, hops.len()));
        }
        hops.iter().try_for_each(|hop| validate_hop(to, hop))
    }

    /// The word iproute2 prints after `scope`; `None` where it prints none: for what is global, and IPv6.
    pub fn scope(&self) -> Option<&'static str> {
        if self.family() == Family::V4 { scope(&self.kind) } else { None }
    }

    /// The link of a route that is not unicast. Linux hangs IPv6 rejects on `lo`, IPv4 ones nowhere.
    pub fn link(&self) -> Option<LinkId> {
        self.kind.link(self.family())
    }

    /// The route in the words of `ip route show`, for lack of a name `linkN` for a link.
    /// Several hops make several lines, as there. iproute2 also writes a blank at the end of lines;
    /// this does not.
    pub fn display<'a>(&'a self, links: &'a Links) -> impl fmt::Display + 'a {
        Shown { route: self, links }
    }
}

fn validate_hop(to: IpNet, hop: &NextHop) -> Result<(), RouteError> {
    if !(1..=256).contains(&hop.weight) {
        return Err(RouteError::Weight(to, hop.weight));
    }
    if hop.onlink && hop.link.is_none() {
        return Err(RouteError::OnlinkNeedsLink(to));
    }
    let Some(via) = hop.via else {
        return if hop.link.is_some() { Ok(()) } else { Err(RouteError::NoWayOut(to)) };
    };
    if via.is_ipv4() && to.addr().is_ipv6() {
        return Err(RouteError::Family(to, via));
    }
    match via {
        _ if via.is_multicast() || via.is_unspecified() => Err(RouteError::NotUnicast(to, via)),
        IpAddr::V4(v4) if v4.is_broadcast() => Err(RouteError::NotUnicast(to, via)),
        IpAddr::V6(v6) if is_link_local(v6) && hop.link.is_none() => Err(RouteError::NeedsLink(to, via)),
        _ => Ok(()),
    }
}

/// fe80::/10 (RFC 4291 §2.5.6).
pub(super) fn is_link_local(addr: Ipv6Addr) -> bool {
    addr.is_unicast_link_local()
}

impl Protocol {
    /// Names as iproute2 knows them, with their numbers (`linux/rtnetlink.h`, `RTPROT_*`).
    const NAMES: [(u8, &'static str); 22] = [
        (1, "redirect"),
        (2, "kernel"),
        (3, "boot"),
        (4, "static"),
        (8, "gated"),
        (9, "ra"),
        (10, "mrt"),
        (11, "zebra"),
        (12, "bird"),
        (13, "dnrouted"),
        (14, "xorp"),
        (15, "ntk"),
        (16, "dhcp"),
        (18, "keepalived"),
        (42, "babel"),
        (84, "ovn"),
        (99, "openr"),
        (186, "bgp"),
        (187, "isis"),
        (188, "ospf"),
        (189, "rip"),
        (192, "eigrp"),
    ];

    /// The protocol of a number.
    pub fn from_number(n: u8) -> Self {
        match n {
            2 => Protocol::Kernel,
            3 => Protocol::Boot,
            4 => Protocol::Static,
            n => Protocol::Other(n),
        }
    }

    /// The protocol of a name, or of a number in digits.
    pub fn named(word: &str) -> Option<Self> {
        let known = Self::NAMES.iter().find(|(_, name)| *name == word).map(|(n, _)| *n);
        known.or_else(|| word.parse().ok()).map(Self::from_number)
    }

    /// Its number.
    pub fn number(self) -> u8 {
        match self {
            Protocol::Kernel => 2,
            Protocol::Boot => 3,
            Protocol::Static => 4,
            Protocol::Other(n) => n,
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let n = self.number();
        match Self::NAMES.iter().find(|(known, _)| *known == n) {
            Some((_, name)) => f.write_str(name),
            None => write!(f, "{n}"),
        }
    }
}

impl RouteKind {
    /// The word before the prefix in `ip route show`; unicast needs none.
    pub fn word(&self) -> Option<&'static str> {
        Some(match self {
            RouteKind::Unicast(_) => return None,
            RouteKind::Local(_) => "local",
            RouteKind::Anycast(_) => "anycast",
            RouteKind::Broadcast(_) => "broadcast",
            RouteKind::Unreachable => "unreachable",
            RouteKind::Prohibit => "prohibit",
            RouteKind::Blackhole => "blackhole",
        })
    }

    fn link(&self, family: Family) -> Option<LinkId> {
        match self {
            RouteKind::Local(link) | RouteKind::Anycast(link) | RouteKind::Broadcast(link) => Some(*link),
            RouteKind::Unicast(_) => None,
            _ => (family == Family::V6).then_some(LinkId::LO),
        }
    }
}

struct Shown<'a> {
    route: &'a Route,
    links: &'a Links,
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let r = self.route;
        let family = r.family();
        if let Some(word) = r.kind.word() {
            write!(f, "{word} ")?;
        }
        write_prefix(f, r.prefix)?;
        let single = match r.hops() {
            [one] => Some(one),
            _ => None,
        };
        if let Some(hop) = single {
            self.write_hop(f, hop)?;
        }
        if let Some(link) = r.link() {
            self.write_link(f, link)?;
        }
        if r.protocol != Protocol::Boot {
            write!(f, " proto {}", r.protocol)?;
        }
        if let Some(scope) = r.scope() {
            write!(f, " scope {scope}")?;
        }
        if let Some(src) = r.src {
            write!(f, " src {src}")?;
        }
        if family == Family::V6 || r.metric != 0 {
            write!(f, " metric {}", r.metric)?;
        }
        if single.is_some_and(|hop| hop.onlink) {
            f.write_str(" onlink")?;
        }
        write!(f, "{}", r.metrics)?;
        if family == Family::V6 {
            // Route preference (RFC 4191) is always medium here; the kernel shows it all the same.
            f.write_str(" pref medium")?;
        }
        if single.is_none() {
            for hop in r.hops() {
                f.write_str("\n\tnexthop")?;
                self.write_hop(f, hop)?;
                write!(f, " weight {}", hop.weight)?;
                if hop.onlink {
                    f.write_str(" onlink")?;
                }
            }
        }
        Ok(())
    }
}

impl Shown<'_> {
    fn write_hop(&self, f: &mut fmt::Formatter<'_>, hop: &NextHop) -> fmt::Result {
        if let Some(via) = hop.via {
            let other_family = via.is_ipv4() != self.route.prefix.addr().is_ipv4();
            write!(f, " via {}{via}", if other_family { "inet6 " } else { "" })?;
        }
        hop.link.map_or(Ok(()), |link| self.write_link(f, link))
    }

    fn write_link(&self, f: &mut fmt::Formatter<'_>, id: LinkId) -> fmt::Result {
        match self.links.get(id) {
            Some(link) => write!(f, " dev {}", link.name),
            None => write!(f, " dev {id}"),
        }
    }
}

fn write_prefix(f: &mut fmt::Formatter<'_>, prefix: IpNet) -> fmt::Result {
    if prefix.prefix_len() == 0 {
        f.write_str("default")
    } else if prefix.prefix_len() == prefix.max_prefix_len() {
        write!(f, "{}", prefix.addr())
    } else {
        write!(f, "{prefix}")
    }
}

/// Linux gives link scope to what has no gateway, except that a route with several hops counts as global.
fn scope(kind: &RouteKind) -> Option<&'static str> {
    match kind {
        RouteKind::Local(_) => Some("host"),
        RouteKind::Anycast(_) | RouteKind::Broadcast(_) => Some("link"),
        RouteKind::Unicast(hops) => match hops.as_slice() {
            [hop] if hop.via.is_none() => Some("link"),
            _ => None,
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests;
