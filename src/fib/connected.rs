//! The routes that follow from addresses, as Linux makes them (`fib_add_ifaddr`, `addrconf`).

use std::net::IpAddr;

use ipnet::IpNet;

use super::metrics::Metrics;
use super::rib::Rib;
use super::route::{Family, NextHop, Protocol, Route, RouteKind, is_link_local};
use crate::link::{Address, Link, LinkKind, Links};

/// The metric of the routes to prefixes on links: 0, and `IP6_RT_PRIO_ADDRCONF` (`linux/ipv6_route.h`).
pub fn on_link_metric(family: Family) -> u32 {
    match family {
        Family::V4 => 0,
        Family::V6 => 256,
    }
}

impl Rib {
    /// A table of the routes that the addresses of the links make: to each address itself, to the
    /// prefix on its link, to the broadcast address (IPv4, prefixes shorter than /31) and to the
    /// subnet's routers (IPv6, prefixes shorter than /127; RFC 4291 §2.6.1, RFC 6164).
    ///
    /// As in Linux since 5.14 the network address is no broadcast address.
    pub fn connected(links: &Links) -> Self {
        let mut rib = Rib::new();
        let primaries: Vec<_> = links.iter().map(Link::primaries).collect();
        let all = || {
            let each = links.iter().zip(&primaries);
            each.flat_map(|(l, primaries)| l.addresses.iter().zip(primaries).map(move |(a, p)| (l, a, *p)))
        };
        // The addresses themselves first: one that is also its subnet's anycast address is local.
        // What is refused is there already: a second address in a prefix makes nothing new of it.
        for (link, address, primary) in all() {
            let _ = rib.insert(local(link, address, primary));
        }
        for (link, address, primary) in all() {
            for route in of_prefix(link, address, primary.is_some()).into_iter().flatten() {
                let _ = rib.insert(route);
            }
        }
        rib
    }
}

fn local(link: &Link, address: &Address, primary: Option<IpAddr>) -> Route {
    let route = kernel(address.addr.into(), RouteKind::Local(link.id), 0);
    match address.addr {
        IpAddr::V4(_) => Route { src: Some(primary.unwrap_or(address.addr)), ..route },
        IpAddr::V6(_) => route,
    }
}

fn of_prefix(link: &Link, address: &Address, secondary: bool) -> [Option<Route>; 2] {
    let net = address.network();
    match net {
        IpNet::V4(v4) => {
            // 0.0.0.0/8 is nobody's network, and a /32 has none.
            if v4.addr().octets()[0] == 0 || v4.prefix_len() == 32 || secondary {
                return [None, None];
            }
            let route = |prefix, kind| Route { src: Some(address.addr), ..kernel(prefix, kind, 0) };
            let lo = link.kind == LinkKind::Loopback;
            let whole = if lo { RouteKind::Local(link.id) } else { on_link(link) };
            let broadcast = address.broadcast().map(|b| IpAddr::from(b).into());
            [Some(route(net, whole)), broadcast.map(|b| route(b, RouteKind::Broadcast(link.id)))]
        }
        IpNet::V6(v6) => {
            if link.kind == LinkKind::Loopback {
                return [None, None];
            }
            let routers = IpAddr::from(v6.addr()).into();
            let anycast = || kernel(routers, RouteKind::Anycast(link.id), 0);
            [
                Some(kernel(net, on_link(link), on_link_metric(Family::V6))),
                (v6.prefix_len() < 127).then(anycast),
            ]
        }
    }
}

fn on_link(link: &Link) -> RouteKind {
    RouteKind::Unicast(vec![NextHop::new(None, Some(link.id))])
}

fn kernel(prefix: IpNet, kind: RouteKind, metric: u32) -> Route {
    Route { prefix, kind, metric, protocol: Protocol::Kernel, src: None, metrics: Metrics::default() }
}

/// Whether a prefix lies in fe80::/10: its routes are listed, but where a packet to such an address
/// goes is decided by the link it is on, not by looking it up.
pub(super) fn is_link_local_net(prefix: IpNet) -> bool {
    matches!(prefix, IpNet::V6(net) if net.prefix_len() >= 10 && is_link_local(net.addr()))
}

#[cfg(test)]
mod tests;
