//! Names of protocols, services and states in expressions: those of protocols(5) and services(5) that people type.

use crate::packet::CtState;
use crate::wire::proto;

/// A protocol's number by its name.
pub(super) fn protocol(name: &str) -> Option<u8> {
    Some(match name {
        "icmp" => proto::ICMP,
        "igmp" => proto::IGMP,
        "ipip" | "ipencap" => proto::IPIP,
        "tcp" => proto::TCP,
        "udp" => proto::UDP,
        "dccp" => proto::DCCP,
        "gre" => proto::GRE,
        "esp" => proto::ESP,
        "ah" => proto::AH,
        "icmp6" | "icmpv6" | "ipv6-icmp" => proto::ICMPV6,
        "ospf" => 89,
        "vrrp" => 112,
        "sctp" => proto::SCTP,
        "udplite" => proto::UDP_LITE,
        _ => return name.parse().ok(),
    })
}

/// Protocols with ports.
pub(super) const PORTED: [u8; 5] = [proto::TCP, proto::UDP, proto::SCTP, proto::DCCP, proto::UDP_LITE];

/// What to say instead of a form of pcap-filter(7) that there is not here; `None`: it is none.
pub(super) fn foreign(word: &str) -> Option<&'static str> {
    if word.contains('[') {
        return Some(
            "the bytes of a packet, and the flags of TCP, are not asked for; ask for host, net, port or proto",
        );
    }
    Some(match word {
        "less" | "greater" | "len" => "lengths are not asked for",
        "ether" | "fddi" | "tr" | "wlan" | "addr1" | "addr2" | "addr3" | "addr4" | "ra" | "ta" => {
            "MACs are not asked for; ask for the link, 'in LINK', or for an address"
        }
        "vlan" | "mpls" | "pppoed" | "pppoes" | "geneve" | "vxlan" => {
            "a VLAN or a tunnel is a link of its own, or passes unseen; ask for the link: 'in LINK'"
        }
        "broadcast" | "multicast" => {
            "ask for the address: 'dst 255.255.255.255', 'dst net 224.0.0.0/4', 'dst net ff00::/8'"
        }
        "inbound" | "outbound" | "ifname" | "ifindex" | "on" | "dir" => {
            "ask for the link: 'in LINK' or 'out LINK'"
        }
        "reason" | "action" => "ask for drops: 'drop' or 'drop REASON'",
        "rnr" | "rulenum" | "rset" | "ruleset" | "srnr" | "subrulenum" => {
            "which rules matched each block tells; ask for 'drop filtered'"
        }
        "gateway" => "ask for the link: 'out LINK'",
        "protochain" => "'proto' looks behind IPv6's extension headers",
        "rarp" | "decnet" | "atalk" | "aarp" | "iso" | "stp" | "ipx" | "netbeui" | "llc" | "lat"
        | "moprc" | "mopdl" | "clnp" | "esis" | "isis" | "lane" | "vpi" | "vci" | "sio" | "opc" | "dpc"
        | "sls" | "type" | "subtype" => "only IP and ARP are followed",
        "pim" | "carp" => "ask for it by its number: 'proto 103', 'proto 112'",
        _ => return None,
    })
}

/// A port's number by the name of its service (IANA "Service Name and Transport Protocol Port Number Registry").
pub(super) fn service(name: &str) -> Option<u16> {
    SERVICES.iter().find(|(n, _)| *n == name).map(|(_, port)| *port).or_else(|| name.parse().ok())
}

const SERVICES: [(&str, u16); 48] = [
    ("echo", 7),
    ("discard", 9),
    ("ftp-data", 20),
    ("ftp", 21),
    ("ssh", 22),
    ("telnet", 23),
    ("smtp", 25),
    ("time", 37),
    ("whois", 43),
    ("domain", 53),
    ("dns", 53),
    ("bootps", 67),
    ("bootpc", 68),
    ("tftp", 69),
    ("http", 80),
    ("kerberos", 88),
    ("pop3", 110),
    ("sunrpc", 111),
    ("ntp", 123),
    ("netbios-ns", 137),
    ("netbios-ssn", 139),
    ("imap", 143),
    ("imap2", 143),
    ("snmp", 161),
    ("snmptrap", 162),
    ("bgp", 179),
    ("ldap", 389),
    ("https", 443),
    ("microsoft-ds", 445),
    ("submissions", 465),
    ("isakmp", 500),
    ("syslog", 514),
    ("dhcpv6-client", 546),
    ("dhcpv6-server", 547),
    ("submission", 587),
    ("ldaps", 636),
    ("domain-s", 853),
    ("imaps", 993),
    ("pop3s", 995),
    ("openvpn", 1194),
    ("nfs", 2049),
    ("mysql", 3306),
    ("ipsec-nat-t", 4500),
    ("vxlan", 4789),
    ("sip", 5060),
    ("mdns", 5353),
    ("postgresql", 5432),
    ("wireguard", 51820),
];

/// What conntrack says of packets, by the words of `--ctstate`.
pub(super) const STATES: [(&str, CtState); 5] = [
    ("NEW", CtState::New),
    ("ESTABLISHED", CtState::Established),
    ("RELATED", CtState::Related),
    ("INVALID", CtState::Invalid),
    ("UNTRACKED", CtState::Untracked),
];
