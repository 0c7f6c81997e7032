//! What the filters of the protocol choose.
//!
//! Knows links by name only, and nothing of how anything is shown.

use std::net::IpAddr;

use super::protocol::{Family, LinkFilter, NeighborFilter, RouteFilter};
use crate::base::LinkId;
use crate::fib::Route;

impl LinkFilter {
    /// Whether an address is chosen, its link aside.
    pub fn chooses(&self, addr: IpAddr) -> bool {
        self.family.is_none_or(|family| family == family_of(addr))
            && self.scope.as_ref().is_none_or(|s| s == scope(addr))
            && self.to.as_ref().is_none_or(|to| to.contains(&addr))
    }
}

impl RouteFilter {
    /// Whether a route is chosen, its family and table aside. `name` gives the names of links.
    pub fn chooses<'a>(&self, r: &Route, name: impl Fn(LinkId) -> Option<&'a str>) -> bool {
        let hop = match r.hops() {
            [one] => Some(one),
            _ => None,
        };
        let dev = hop.and_then(|h| h.link).or_else(|| r.link()).and_then(name);
        let is = |wanted: &Option<String>, word: &str| wanted.as_ref().is_none_or(|w| w == word);
        (self.dev.is_none() || self.dev.as_deref() == dev)
            && self.via.is_none_or(|via| hop.is_some_and(|h| h.via == Some(via)))
            && is(&self.protocol, &r.protocol.to_string())
            && is(&self.scope, r.scope().unwrap_or("global"))
            && is(&self.kind, r.kind.word().unwrap_or("unicast"))
            && self.metric.is_none_or(|metric| metric == r.metric)
            && self.prefix.is_none_or(|(relation, prefix)| relation.holds(&r.prefix, &prefix))
    }
}

impl NeighborFilter {
    /// Whether a neighbor is chosen; `state` is the word of `ip neigh`.
    pub fn chooses(&self, ip: IpAddr, dev: Option<&str>, state: &str) -> bool {
        self.family.is_none_or(|family| family == family_of(ip))
            && (self.dev.is_none() || self.dev.as_deref() == dev)
            && self.to.as_ref().is_none_or(|to| to.contains(&ip))
            && (self.states.is_empty() || self.states.iter().any(|s| s == state))
    }
}

/// The family of an address.
pub(super) fn family_of(addr: IpAddr) -> Family {
    if addr.is_ipv4() { Family::Inet } else { Family::Inet6 }
}

/// The scope of an address of ours, as iproute2 names it.
pub(super) fn scope(addr: IpAddr) -> &'static str {
    match addr {
        a if a.is_loopback() => "host",
        IpAddr::V6(v6) if v6.is_unicast_link_local() => "link",
        _ => "global",
    }
}
