//! The rules and routes that every rival gets that can have them, as text: one place for all.
//!
//! Rules are in the format of iptables-save, routes in the words of `ip route`. Knows nothing of who reads them.

use std::fmt::Write as _;
use std::net::Ipv4Addr;

/// Which rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rules {
    /// None, and no connection tracking with them.
    None,
    /// MASQUERADE and a stateful filter.
    Usual,
    /// The same with so many rules before the accept, which match none of the traffic.
    More(u32),
}

/// Which routes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Routes {
    /// To the two networks.
    One,
    /// And one to all of 16.0.0.0/4.
    Default,
    /// A million to all of 16.0.0.0/4 instead.
    Million,
}

/// The rules, `None` where there are none: five in the filter, as a gateway has them that lets out what begins inside.
///
/// What a gateway's owner blocks stands first, as it does with those who write `-I FORWARD` or keep a list: each
/// names one address and one TCP port.
pub fn rules(rules: Rules) -> Option<String> {
    let more = match rules {
        Rules::None => return None,
        Rules::Usual => 0,
        Rules::More(n) => n,
    };
    let mut text = String::from(
        "*nat\n:PREROUTING ACCEPT [0:0]\n:INPUT ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n:POSTROUTING ACCEPT [0:0]\n\
         -A POSTROUTING -o wan -j MASQUERADE\nCOMMIT\n\
         *filter\n:INPUT ACCEPT [0:0]\n:FORWARD DROP [0:0]\n:OUTPUT ACCEPT [0:0]\n",
    );
    for i in 0..more {
        // Of 198.18.0.0/15, which is for benchmarks and nobody's (RFC 2544); a prime step mixes their order.
        let address = Ipv4Addr::from_bits(0xc612_0000 | (i.wrapping_mul(7_919) & 0x1_ffff));
        let port = 1 + i.wrapping_mul(104_729) % 65_535;
        let _ = writeln!(text, "-A FORWARD -s {address}/32 -p tcp -m tcp --dport {port} -j DROP");
    }
    text.push_str(
        "-A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n\
         -A FORWARD -m conntrack --ctstate INVALID -j DROP\n\
         -A FORWARD -i lan -o wan -p tcp -m conntrack --ctstate NEW -j ACCEPT\n\
         -A FORWARD -i lan -o wan -p udp -m conntrack --ctstate NEW -j ACCEPT\n\
         -A FORWARD -i lan -o wan -p icmp -j ACCEPT\nCOMMIT\n",
    );
    Some(text)
}

/// How many next hops the routes have: the server is all of them.
pub const GATEWAYS: u32 = 32;

/// The address of a next hop.
pub fn gateway(i: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(u32::from_be_bytes([203, 0, 113, 100]) + i % GATEWAYS)
}

/// The network that the routes cover between them, for random destinations: 2²⁸ addresses.
pub const COVERED: (Ipv4Addr, u8) = (Ipv4Addr::new(16, 0, 0, 0), 4);

/// The routes besides those to the two networks: prefix, length, next hop.
///
/// The million is a table like the Internet's: more specific prefixes lie in less specific ones, neighbors mostly have
/// different next hops, and half of all are /24 (bgp.potaroo.net has 60 %).
pub fn routes(routes: Routes) -> Vec<(Ipv4Addr, u8, Ipv4Addr)> {
    match routes {
        Routes::One => Vec::new(),
        Routes::Default => vec![(COVERED.0, COVERED.1, gateway(0))],
        Routes::Million => {
            let mut all = Vec::with_capacity(MILLION);
            // All of the short ones cover everything; of the long ones there are as many as there is room for.
            for (length, count) in [(16, 1 << 12), (20, 1 << 16), (22, 1 << 18)] {
                all.extend((0..count).map(|i| prefix(i, length)));
            }
            let rest = (MILLION - all.len()) as u32;
            // An odd multiplier visits each of the 2²⁰ once (it is a permutation modulo a power of two).
            all.extend((0..rest).map(|i| prefix(i.wrapping_mul(0x9e37_79b1) & 0xf_ffff, 24)));
            all
        }
    }
}

const MILLION: usize = 1_000_000;

fn prefix(i: u32, length: u8) -> (Ipv4Addr, u8, Ipv4Addr) {
    let address = COVERED.0.to_bits() | i << (32 - length);
    // Any mixing will do (here Knuth's multiplicative one) that gives neighbors different next hops.
    let hop = (address ^ u32::from(length)).wrapping_mul(2_654_435_761) >> 27;
    (Ipv4Addr::from_bits(address), length, gateway(hop))
}

/// The same in the words of `ip route`, a line each.
pub fn routes_text(which: Routes) -> String {
    let mut text = String::new();
    for (prefix, length, via) in routes(which) {
        let _ = writeln!(text, "{prefix}/{length} via {via} dev wan");
    }
    text
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_rules_are_rules() {
        assert_eq!(rules(Rules::None), None);
        for (which, count) in [(Rules::Usual, 6), (Rules::More(10_000), 10_006)] {
            let text = rules(which).unwrap();
            assert_eq!(text.lines().filter(|l| l.starts_with("-A ")).count(), count);
            // No two block the same, and the traffic's addresses are not among them.
            let lines: BTreeSet<&str> = text.lines().filter(|l| l.contains("-s ")).collect();
            assert_eq!(lines.len(), count - 6);
            assert!(lines.iter().all(|l| l.contains("-s 198.18.") || l.contains("-s 198.19.")));
        }
    }

    #[test]
    fn a_million_routes_are_a_million() {
        let all = routes(Routes::Million);
        assert_eq!(all.len(), 1_000_000);
        let different: BTreeSet<_> = all.iter().map(|(p, l, _)| (*p, *l)).collect();
        assert_eq!(different.len(), all.len());
        assert!(all.iter().all(|(p, l, _)| p.octets()[0] >> 4 == 1 && p.to_bits() << l == 0));
        let hops: BTreeSet<_> = all.iter().map(|(_, _, hop)| *hop).collect();
        assert_eq!(hops.len(), GATEWAYS as usize);
        assert_eq!(routes_text(Routes::Default), "16.0.0.0/4 via 203.0.113.100 dev wan\n");
    }
}
