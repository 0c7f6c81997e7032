//! The names of ICMP messages: those of iptables and of tcpdump.

use crate::wire::icmpv4::{self, unreachable as v4};
use crate::wire::icmpv6::{self, unreachable as v6};

/// Type and code of a name.
pub(super) type Named = (&'static str, u8, u8);

/// IPv4's (`iptables -p icmp -h`).
pub(super) const V4: [Named; 22] = [
    ("echo-request", icmpv4::ECHO, 0),
    ("echo-reply", icmpv4::ECHO_REPLY, 0),
    ("destination-unreachable", icmpv4::UNREACHABLE, v4::NET),
    ("network-unreachable", icmpv4::UNREACHABLE, v4::NET),
    ("host-unreachable", icmpv4::UNREACHABLE, v4::HOST),
    ("protocol-unreachable", icmpv4::UNREACHABLE, v4::PROTOCOL),
    ("port-unreachable", icmpv4::UNREACHABLE, v4::PORT),
    ("fragmentation-needed", icmpv4::UNREACHABLE, v4::FRAGMENTATION_NEEDED),
    ("source-route-failed", icmpv4::UNREACHABLE, v4::SOURCE_ROUTE_FAILED),
    ("network-prohibited", icmpv4::UNREACHABLE, v4::NET_PROHIBITED),
    ("host-prohibited", icmpv4::UNREACHABLE, v4::HOST_PROHIBITED),
    ("communication-prohibited", icmpv4::UNREACHABLE, v4::ADMIN_PROHIBITED),
    ("source-quench", icmpv4::SOURCE_QUENCH, 0),
    ("network-redirect", icmpv4::REDIRECT, icmpv4::REDIRECT_NET),
    ("host-redirect", icmpv4::REDIRECT, icmpv4::REDIRECT_HOST),
    ("router-advertisement", icmpv4::ROUTER_ADVERT, 0),
    ("router-solicitation", icmpv4::ROUTER_SOLICIT, 0),
    ("time-exceeded", icmpv4::TIME_EXCEEDED, icmpv4::TTL_EXCEEDED),
    ("ttl-exceeded", icmpv4::TIME_EXCEEDED, icmpv4::TTL_EXCEEDED),
    ("parameter-problem", icmpv4::PARAMETER_PROBLEM, 0),
    ("timestamp-request", icmpv4::TIMESTAMP, 0),
    ("timestamp-reply", icmpv4::TIMESTAMP_REPLY, 0),
];

/// IPv6's (`ip6tables -p icmpv6 -h`).
pub(super) const V6: [Named; 18] = [
    ("echo-request", icmpv6::ECHO, 0),
    ("echo-reply", icmpv6::ECHO_REPLY, 0),
    ("destination-unreachable", icmpv6::UNREACHABLE, v6::NO_ROUTE),
    ("no-route", icmpv6::UNREACHABLE, v6::NO_ROUTE),
    ("communication-prohibited", icmpv6::UNREACHABLE, v6::PROHIBITED),
    ("beyond-scope", icmpv6::UNREACHABLE, v6::BEYOND_SCOPE),
    ("address-unreachable", icmpv6::UNREACHABLE, v6::ADDRESS),
    ("port-unreachable", icmpv6::UNREACHABLE, v6::PORT),
    ("packet-too-big", icmpv6::TOO_BIG, 0),
    ("time-exceeded", icmpv6::TIME_EXCEEDED, icmpv6::HOPS_EXCEEDED),
    ("ttl-exceeded", icmpv6::TIME_EXCEEDED, icmpv6::HOPS_EXCEEDED),
    ("parameter-problem", icmpv6::PARAMETER_PROBLEM, 0),
    ("bad-header", icmpv6::PARAMETER_PROBLEM, 0),
    ("unknown-header-type", icmpv6::PARAMETER_PROBLEM, 1),
    ("unknown-option", icmpv6::PARAMETER_PROBLEM, 2),
    ("router-solicitation", icmpv6::ROUTER_SOLICIT, 0),
    ("router-advertisement", icmpv6::ROUTER_ADVERT, 0),
    ("redirect", icmpv6::REDIRECT, 0),
];

/// Whether messages of this type quote a packet.
pub(super) fn quotes(v6: bool, kind: u8) -> bool {
    use icmpv4::{PARAMETER_PROBLEM, REDIRECT, SOURCE_QUENCH, TIME_EXCEEDED, UNREACHABLE};
    match v6 {
        false => matches!(kind, UNREACHABLE | SOURCE_QUENCH | REDIRECT | TIME_EXCEEDED | PARAMETER_PROBLEM),
        true => kind < icmpv6::ECHO,
    }
}

/// Whether the second word of the header is an identifier and a sequence number.
pub(super) fn has_ident(v6: bool, kind: u8) -> bool {
    match v6 {
        false => matches!(kind, icmpv4::ECHO | icmpv4::ECHO_REPLY | 13..=18),
        true => matches!(kind, icmpv6::ECHO | icmpv6::ECHO_REPLY),
    }
}
