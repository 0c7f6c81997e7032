//! The routes that follow from addresses, as Linux makes them (`fib_add_ifaddr`, `addrconf`).

use std::net::IpAddr;

use ipnet::IpNet;

use super::rib::Rib;
use super::route::{NextHop, Protocol, Route, RouteKind, is_link_local};
use crate::link::{Address, Link, LinkKind, Links};

/// `IP6_RT_PRIO_ADDRCONF` (`linux/ipv6_route.h`): the metric of IPv6 on-link prefixes.
const METRIC_ON_LINK_V6: u32 = 256;

impl Rib {
    /// A table of the routes that the addresses of the links make: to each address itself, to the
    /// prefix on its link, to the broadcast address (IPv4, prefixes shorter than /31) and to the
    /// subnet's routers (IPv6, prefixes shorter than /127; RFC 4291 §2.6.1, RFC 6164).
    ///
    /// As in Linux since 5.14 the network address is no broadcast address.
    pub fn connected(links: &Links) -> Self {
        let mut rib = Rib::new();
        let all = || links.iter().flat_map(|l| l.addresses.iter().enumerate().map(move |(i, a)| (l, i, a)));
        // The addresses themselves first: one that is also its subnet's anycast address is local.
        // What is refused is there already: a second address in a prefix makes nothing new of it.
        for (link, i, address) in all() {
            let _ = rib.insert(local(link, i, address));
        }
        for (link, i, address) in all() {
            for route in of_prefix(link, i, address).into_iter().flatten() {
                let _ = rib.insert(route);
            }
        }
        rib
    }
}

fn local(link: &Link, i: usize, address: &Address) -> Route {
    let route = kernel(address.addr.into(), RouteKind::Local(link.id), 0);
    match address.addr {
        IpAddr::V4(_) => Route { src: Some(primary(link, i, address).unwrap_or(address).addr), ..route },
        IpAddr::V6(_) => route,
    }
}

/// The address before this one that has the same IPv4 prefix, and so makes this one secondary: the
/// prefix's routes, and sources in it, are the primary's.
fn primary<'a>(link: &'a Link, i: usize, address: &Address) -> Option<&'a Address> {
    let net = address.network();
    link.addresses.iter().take(i).find(|a| a.prefix_len == address.prefix_len && a.network() == net)
}

fn of_prefix(link: &Link, i: usize, address: &Address) -> [Option<Route>; 2] {
    let net = address.network();
    match net {
        IpNet::V4(v4) => {
            // 0.0.0.0/8 is nobody's network, and a /32 has none.
            if v4.addr().octets()[0] == 0 || v4.prefix_len() == 32 || primary(link, i, address).is_some() {
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
            [Some(kernel(net, on_link(link), METRIC_ON_LINK_V6)), (v6.prefix_len() < 127).then(anycast)]
        }
    }
}

fn on_link(link: &Link) -> RouteKind {
    RouteKind::Unicast(vec![NextHop::new(None, Some(link.id))])
}

fn kernel(prefix: IpNet, kind: RouteKind, metric: u32) -> Route {
    Route { prefix, kind, metric, protocol: Protocol::Kernel, src: None }
}

/// Whether a prefix lies in fe80::/10: its routes are listed, but where a packet to such an address
/// goes is decided by the link it is on, not by looking it up.
pub(super) fn is_link_local_net(prefix: IpNet) -> bool {
    matches!(prefix, IpNet::V6(net) if net.prefix_len() >= 10 && is_link_local(net.addr()))
}

#[cfg(test)]
mod tests;
