//! What the filters of the protocol choose.
//!
//! Knows links by name only, and nothing of how anything is shown.

use std::net::IpAddr;

use super::protocol::{Family, LinkFilter, NeighborFilter, RouteFilter};
use crate::base::LinkId;
use crate::config::Refusal;
use crate::fib::{Protocol, Route};

/// The scopes of iproute2; addresses and routes are of the first three here.
const SCOPES: [&str; 5] = ["host", "link", "global", "site", "nowhere"];
/// Its types of routes; the last ones are never here.
const TYPES: [&str; 10] = [
    "unicast",
    "local",
    "broadcast",
    "anycast",
    "unreachable",
    "prohibit",
    "blackhole",
    "throw",
    "multicast",
    "nat",
];
/// Its states of neighbors; the last ones are never here.
const STATES: [&str; 9] =
    ["PERMANENT", "REACHABLE", "STALE", "DELAY", "PROBE", "FAILED", "INCOMPLETE", "NOARP", "NONE"];

/// Whether a word is one of those that something is called by: one that is not would choose nothing, or be thought to.
fn known<'a>(what: &str, words: impl IntoIterator<Item = &'a String>, known: &[&str]) -> Result<(), Refusal> {
    match words.into_iter().find(|w| !known.contains(&w.as_str())) {
        None => Ok(()),
        Some(word) => {
            let text =
                format!("there is no {what} '{}': there are {}", word.escape_debug(), known.join(", "));
            Err(Refusal::of("EINVAL", text).plain())
        }
    }
}

impl LinkFilter {
    /// Whether it asks for what there can be.
    ///
    /// # Errors
    /// EINVAL, and what there is.
    pub fn check(&self) -> Result<(), Refusal> {
        known("scope", &self.scope, &SCOPES)
    }

    /// Whether an address is chosen, its link aside.
    pub fn chooses(&self, addr: IpAddr) -> bool {
        self.family.is_none_or(|family| family == family_of(addr))
            && self.scope.as_ref().is_none_or(|s| s == scope(addr))
            && self.to.as_ref().is_none_or(|to| to.contains(&addr))
    }
}

impl RouteFilter {
    /// Whether it asks for what there can be.
    ///
    /// # Errors
    /// EINVAL, and what there is.
    pub fn check(&self) -> Result<(), Refusal> {
        known("scope", &self.scope, &SCOPES)?;
        known("type of route", &self.kind, &TYPES)?;
        match self.protocol.as_deref().filter(|p| Protocol::named(p).is_none()) {
            None => Ok(()),
            Some(word) => {
                let text = format!(
                    "there is no protocol '{}': write one that iproute2 knows, or 0 to 255",
                    word.escape_debug()
                );
                Err(Refusal::of("EINVAL", text).plain())
            }
        }
    }

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
            && self.protocol.as_deref().is_none_or(|p| Protocol::named(p) == Some(r.protocol))
            && is(&self.scope, r.scope().unwrap_or("global"))
            && is(&self.kind, r.kind.word().unwrap_or("unicast"))
            && self.metric.is_none_or(|metric| metric == r.metric)
            && self.prefix.is_none_or(|(relation, prefix)| relation.holds(&r.prefix, &prefix))
    }
}

impl NeighborFilter {
    /// Whether it asks for what there can be.
    ///
    /// # Errors
    /// EINVAL, and what there is.
    pub fn check(&self) -> Result<(), Refusal> {
        known("state of neighbors", &self.states, &STATES)
    }

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
