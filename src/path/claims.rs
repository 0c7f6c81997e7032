//! Ports that NAT does not give away: those the router's own services wait on, and those that rules send
//! elsewhere.
//!
//! A host inside that picks such a port as its own source, and gets it from SNAT, would receive what is meant
//! for the service (CVE-2021-3773, "port shadow"). Linux gives it away; this router does not.

use std::collections::HashMap;
use std::net::IpAddr;

use crate::filter::{Claim, Program};

/// The ports that DNAT and REDIRECT rules send elsewhere.
#[derive(Debug, Clone, Default)]
pub(super) struct Claims {
    /// Of one port, by protocol and port.
    single: HashMap<(u8, u16), Vec<Claim>>,
    /// Of more than one port.
    ranges: Vec<Claim>,
}

impl Claims {
    pub(super) fn of<'a>(programs: impl Iterator<Item = &'a Program>) -> Self {
        let mut claims = Claims::default();
        for claim in programs.flat_map(Program::claimed) {
            if claim.ports.first == claim.ports.last {
                claims.single.entry((claim.proto, claim.ports.first)).or_default().push(claim);
            } else {
                claims.ranges.push(claim);
            }
        }
        claims
    }

    /// Whether a rule sends what comes to this address and port elsewhere than to `from`, who wants it.
    pub(super) fn hold(&self, proto: u8, addr: IpAddr, port: u16, from: IpAddr) -> bool {
        let elsewhere = |c: &Claim| c.to.is_none_or(|(first, last)| !(first..=last).contains(&from));
        let holds = |c: &&Claim| c.dst.as_ref().is_none_or(|d| d.covers(addr)) && elsewhere(c);
        let within = |c: &&Claim| c.proto == proto && (c.ports.first..=c.ports.last).contains(&port);
        self.single.get(&(proto, port)).is_some_and(|list| list.iter().any(|c| holds(&c)))
            || self.ranges.iter().filter(within).any(|c| holds(&c))
    }
}
