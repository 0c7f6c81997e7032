//! Upper-layer protocol numbers (IANA "Assigned Internet Protocol Numbers"), those with a name here.

/// IPv6 hop-by-hop options (RFC 8200 §4.3).
pub const HOP_BY_HOP: u8 = 0;
/// ICMP for IPv4 (RFC 792).
pub const ICMP: u8 = 1;
/// IGMP (RFC 3376).
pub const IGMP: u8 = 2;
/// IPv4 in IP (RFC 2003).
pub const IPIP: u8 = 4;
/// TCP (RFC 9293).
pub const TCP: u8 = 6;
/// UDP (RFC 768).
pub const UDP: u8 = 17;
/// DCCP (RFC 4340).
pub const DCCP: u8 = 33;
/// IPv6 in IP (RFC 2473).
pub const IPV6: u8 = 41;
/// IPv6 routing header (RFC 8200 §4.4).
pub const ROUTING: u8 = 43;
/// IPv6 fragment header (RFC 8200 §4.5).
pub const FRAGMENT: u8 = 44;
/// GRE (RFC 2784).
pub const GRE: u8 = 47;
/// Encapsulating security payload (RFC 4303).
pub const ESP: u8 = 50;
/// Authentication header (RFC 4302).
pub const AH: u8 = 51;
/// ICMP for IPv6 (RFC 4443).
pub const ICMPV6: u8 = 58;
/// Nothing follows (RFC 8200 §4.7).
pub const NONE: u8 = 59;
/// IPv6 destination options (RFC 8200 §4.6).
pub const DEST_OPTIONS: u8 = 60;
/// SCTP (RFC 9260).
pub const SCTP: u8 = 132;
/// UDP-Lite (RFC 3828).
pub const UDP_LITE: u8 = 136;

/// The protocol's short name, as `getprotobynumber` and tcpdump have it; `None` for the many others.
pub fn name(proto: u8) -> Option<&'static str> {
    Some(match proto {
        HOP_BY_HOP => "HBH",
        ICMP => "ICMP",
        IGMP => "IGMP",
        IPIP => "IPIP",
        TCP => "TCP",
        UDP => "UDP",
        DCCP => "DCCP",
        IPV6 => "IPv6",
        ROUTING => "RH",
        FRAGMENT => "frag",
        GRE => "GRE",
        ESP => "ESP",
        AH => "AH",
        ICMPV6 => "ICMP6",
        NONE => "no-next-header",
        DEST_OPTIONS => "DSTOPT",
        89 => "OSPF",
        112 => "VRRP",
        SCTP => "SCTP",
        UDP_LITE => "UDP-Lite",
        _ => return None,
    })
}
