//! What routes lean on: the addresses they name.
//!
//! Of a million routes through a handful of neighbors it is the handful: who wants to know whether an address may go or
//! come asks these instead of all routes. Knows nothing of who owns an address.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;

use ipnet::IpNet;

use super::rib::Rib;
use super::route::{Protocol, RouteKind};

/// The addresses that routes name.
#[derive(Debug, Clone, Default)]
pub struct Leans {
    next_hops: BTreeSet<IpAddr>,
    sources: HashMap<IpAddr, Users>,
}

/// Whose source an address is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Users {
    /// No route's.
    Nobody,
    /// One route's, of protocol kernel: as of the one that follows from the address.
    OneOfKernel,
    /// Others'.
    Others,
}

impl Rib {
    /// The addresses that the routes of table main name.
    pub fn leans(&self) -> Leans {
        let mut leans = Leans::default();
        for id in 0..self.shared.bound() as u32 {
            let Some(shared) = self.shared.get(id) else { continue };
            if matches!(shared.kind, RouteKind::Local(_) | RouteKind::Broadcast(_) | RouteKind::Anycast(_)) {
                continue;
            }
            leans.next_hops.extend(shared.hops().iter().filter_map(|h| h.via));
            if let Some(src) = shared.src {
                let one = shared.protocol == Protocol::Kernel && self.shared.users(id) == 1;
                let users = if one { Users::OneOfKernel } else { Users::Others };
                leans.sources.entry(src).and_modify(|u| *u = Users::Others).or_insert(users);
            }
        }
        leans
    }
}

impl Leans {
    /// Whether it is a next hop.
    pub fn has_next_hop(&self, addr: IpAddr) -> bool {
        self.next_hops.contains(&addr)
    }

    /// Whether any is within a prefix.
    pub fn has_next_hop_in(&self, net: IpNet) -> bool {
        self.next_hops.range(net.network()..=net.broadcast()).next().is_some()
    }

    /// Whose source it is.
    pub fn users_of(&self, src: IpAddr) -> Users {
        self.sources.get(&src).copied().unwrap_or(Users::Nobody)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fib::sample::*;

    #[test]
    fn what_routes_name_is_leaned_on_and_nothing_else() {
        let lines = [
            "10.9.0.0/16 via 10.1.0.77",
            "10.8.0.0/16 nexthop via 10.2.0.7 nexthop via 10.2.0.8",
            "10.7.0.0/16 via 10.1.0.77 src 10.3.0.1",
            "fd09::/32 via fd02::2",
            "blackhole 10.6.0.0/16",
        ];
        let leans = rib(&links(), &lines).leans();
        for hop in ["10.1.0.77", "10.2.0.7", "10.2.0.8", "fd02::2"] {
            assert!(leans.has_next_hop(ip(hop)), "{hop}");
        }
        for other in ["10.1.0.1", "10.3.0.1", "10.9.0.1", "10.1.0.78"] {
            assert!(!leans.has_next_hop(ip(other)), "{other}");
        }
        for (net, has) in [("10.1.0.0/24", true), ("10.1.0.77/32", true), ("10.1.0.78/31", false)] {
            assert_eq!(leans.has_next_hop_in(net.parse().unwrap()), has, "{net}");
        }
        assert!(leans.has_next_hop_in("::/0".parse().unwrap()));
        assert!(!leans.has_next_hop_in("fd01::/64".parse().unwrap()));
        assert_eq!(leans.users_of(ip("10.1.0.1")), Users::OneOfKernel, "the prefix on its link");
        assert_eq!(leans.users_of(ip("10.3.0.1")), Users::Others);
        assert_eq!(leans.users_of(ip("10.4.0.1")), Users::Nobody);
    }
}
