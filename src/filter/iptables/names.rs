//! Names that stand for numbers. They are ours, so that a ruleset means the same on every machine: no file is read.

/// Protocols, each by the name that is written first, then the others it is known by.
#[rustfmt::skip]
const PROTOCOLS: &[(u8, &str)] = &[
    // Those that iptables knows by itself, in its own order: `ipv6-icmp` is written, `icmpv6` read.
    (6, "tcp"), (132, "sctp"), (17, "udp"), (136, "udplite"), (1, "icmp"), (58, "ipv6-icmp"), (58, "icmpv6"),
    (58, "icmp6"), (50, "esp"), (51, "ah"), (135, "mobility-header"), (135, "ipv6-mh"), (135, "mh"), (0, "all"),
    // The IANA's registry, by the names of the usual /etc/protocols.
    (0, "ip"), (0, "hopopt"), (2, "igmp"), (3, "ggp"), (4, "ipencap"), (5, "st"), (8, "egp"), (9, "igp"),
    (12, "pup"), (20, "hmp"), (22, "xns-idp"), (27, "rdp"), (29, "iso-tp4"), (33, "dccp"), (36, "xtp"), (37, "ddp"),
    (38, "idpr-cmtp"), (41, "ipv6"), (43, "ipv6-route"), (44, "ipv6-frag"), (45, "idrp"), (46, "rsvp"), (47, "gre"),
    (57, "skip"), (59, "ipv6-nonxt"), (60, "ipv6-opts"), (73, "rspf"), (81, "vmtp"), (88, "eigrp"), (89, "ospf"),
    (93, "ax.25"), (94, "ipip"), (97, "etherip"), (98, "encap"), (103, "pim"), (108, "ipcomp"), (112, "vrrp"),
    (115, "l2tp"), (124, "isis"), (133, "fc"), (137, "mpls-in-ip"), (138, "manet"), (139, "hip"), (140, "shim6"),
    (141, "wesp"), (142, "rohc"), (143, "ethernet"),
];

/// The number of a protocol, by a name in small letters.
pub(super) fn protocol(name: &str) -> Option<u8> {
    PROTOCOLS.iter().find(|(_, n)| *n == name).map(|(number, _)| *number)
}

/// The name of a protocol; 0 has none.
pub(super) fn protocol_name(number: u8) -> Option<&'static str> {
    PROTOCOLS.iter().find(|(n, _)| *n == number && number != 0).map(|(_, name)| *name)
}

/// The name of a protocol that iptables knows by itself; of none it is `all`.
pub(super) fn own_protocol_name(number: u8) -> Option<&'static str> {
    PROTOCOLS.iter().take(OWN_PROTOCOLS).find(|(n, _)| *n == number).map(|(_, name)| *name)
}

/// Those at the beginning of the list.
const OWN_PROTOCOLS: usize = 14;

const TCP: u8 = 1;
const UDP: u8 = 2;
const BOTH: u8 = 3;

/// Services, with the protocols they are registered for (the IANA's registry, by the names of the usual /etc/services).
#[rustfmt::skip]
const SERVICES: &[(&str, u16, u8)] = &[
    ("echo", 7, BOTH), ("discard", 9, BOTH), ("daytime", 13, BOTH), ("chargen", 19, BOTH), ("ftp-data", 20, TCP),
    ("ftp", 21, TCP), ("ssh", 22, TCP), ("telnet", 23, TCP), ("smtp", 25, TCP), ("time", 37, BOTH), ("whois", 43, TCP),
    ("tacacs", 49, BOTH), ("domain", 53, BOTH), ("bootps", 67, UDP), ("bootpc", 68, UDP), ("tftp", 69, UDP),
    ("finger", 79, TCP), ("http", 80, TCP), ("www", 80, TCP), ("kerberos", 88, BOTH), ("pop3", 110, TCP),
    ("sunrpc", 111, BOTH), ("auth", 113, TCP), ("ident", 113, TCP), ("nntp", 119, TCP), ("ntp", 123, UDP),
    ("netbios-ns", 137, UDP), ("netbios-dgm", 138, UDP), ("netbios-ssn", 139, TCP), ("imap2", 143, TCP),
    ("imap", 143, TCP), ("snmp", 161, BOTH), ("snmp-trap", 162, BOTH), ("bgp", 179, TCP), ("ldap", 389, BOTH),
    ("https", 443, BOTH), ("microsoft-ds", 445, TCP), ("submissions", 465, TCP), ("isakmp", 500, UDP),
    ("syslog", 514, UDP), ("shell", 514, TCP), ("login", 513, TCP), ("printer", 515, TCP), ("route", 520, UDP),
    ("dhcpv6-client", 546, UDP), ("dhcpv6-server", 547, UDP), ("rtsp", 554, BOTH), ("submission", 587, TCP),
    ("ipp", 631, TCP), ("ldaps", 636, BOTH), ("domain-s", 853, BOTH), ("rsync", 873, TCP), ("ftps-data", 989, TCP),
    ("ftps", 990, TCP), ("telnets", 992, TCP), ("imaps", 993, TCP), ("pop3s", 995, TCP), ("socks", 1080, TCP),
    ("openvpn", 1194, BOTH), ("ms-sql-s", 1433, TCP), ("l2f", 1701, UDP), ("radius", 1812, BOTH),
    ("radius-acct", 1813, BOTH), ("nfs", 2049, BOTH), ("iscsi-target", 3260, TCP), ("mysql", 3306, TCP),
    ("ms-wbt-server", 3389, TCP), ("nut", 3493, BOTH), ("svn", 3690, TCP), ("ipsec-nat-t", 4500, UDP),
    ("iax", 4569, UDP), ("sip", 5060, BOTH), ("sip-tls", 5061, BOTH), ("xmpp-client", 5222, TCP),
    ("xmpp-server", 5269, TCP), ("mdns", 5353, UDP), ("postgresql", 5432, TCP), ("amqps", 5671, TCP),
    ("x11", 6000, TCP), ("redis", 6379, TCP), ("ircd", 6667, TCP), ("syslog-tls", 6514, TCP),
    ("http-alt", 8080, TCP), ("git", 9418, TCP), ("zabbix-agent", 10050, TCP), ("zabbix-trapper", 10051, TCP),
];

/// The port of a service of a protocol (6 or 17), or of any when none is given.
pub(super) fn service(name: &str, proto: Option<u8>) -> Option<u16> {
    let of = match proto {
        Some(6) => TCP,
        Some(17) => UDP,
        None => BOTH,
        Some(_) => 0,
    };
    SERVICES.iter().find(|(n, _, protos)| *n == name && protos & of != 0).map(|(_, port, _)| *port)
}

/// The service that has a port of a protocol.
pub(super) fn service_name(port: u16, proto: u8) -> Option<&'static str> {
    let of = match proto {
        6 => TCP,
        17 => UDP,
        _ => 0,
    };
    SERVICES.iter().find(|(_, p, protos)| *p == port && protos & of != 0).map(|(name, ..)| *name)
}

/// ICMP types by name: type, first and last code, in the order `iptables -p icmp -h` lists them.
#[rustfmt::skip]
pub(super) const ICMP: &[(&str, u8, u8, u8)] = &[
    ("any", 255, 0, 255), ("echo-reply", 0, 0, 255), ("pong", 0, 0, 255), ("destination-unreachable", 3, 0, 255),
    ("network-unreachable", 3, 0, 0), ("host-unreachable", 3, 1, 1), ("protocol-unreachable", 3, 2, 2),
    ("port-unreachable", 3, 3, 3), ("fragmentation-needed", 3, 4, 4), ("source-route-failed", 3, 5, 5),
    ("network-unknown", 3, 6, 6), ("host-unknown", 3, 7, 7), ("network-prohibited", 3, 9, 9),
    ("host-prohibited", 3, 10, 10), ("TOS-network-unreachable", 3, 11, 11), ("TOS-host-unreachable", 3, 12, 12),
    ("communication-prohibited", 3, 13, 13), ("host-precedence-violation", 3, 14, 14), ("precedence-cutoff", 3, 15, 15),
    ("source-quench", 4, 0, 255), ("redirect", 5, 0, 255), ("network-redirect", 5, 0, 0), ("host-redirect", 5, 1, 1),
    ("TOS-network-redirect", 5, 2, 2), ("TOS-host-redirect", 5, 3, 3), ("echo-request", 8, 0, 255), ("ping", 8, 0, 255),
    ("router-advertisement", 9, 0, 255), ("router-solicitation", 10, 0, 255), ("time-exceeded", 11, 0, 255),
    ("ttl-exceeded", 11, 0, 255), ("ttl-zero-during-transit", 11, 0, 0), ("ttl-zero-during-reassembly", 11, 1, 1),
    ("parameter-problem", 12, 0, 255), ("ip-header-bad", 12, 0, 0), ("required-option-missing", 12, 1, 1),
    ("timestamp-request", 13, 0, 255), ("timestamp-reply", 14, 0, 255), ("address-mask-request", 17, 0, 255),
    ("address-mask-reply", 18, 0, 255),
];

/// ICMPv6 types, likewise.
#[rustfmt::skip]
pub(super) const ICMPV6: &[(&str, u8, u8, u8)] = &[
    ("destination-unreachable", 1, 0, 255), ("no-route", 1, 0, 0), ("communication-prohibited", 1, 1, 1),
    ("beyond-scope", 1, 2, 2), ("address-unreachable", 1, 3, 3), ("port-unreachable", 1, 4, 4),
    ("failed-policy", 1, 5, 5), ("reject-route", 1, 6, 6), ("packet-too-big", 2, 0, 255), ("time-exceeded", 3, 0, 255),
    ("ttl-exceeded", 3, 0, 255), ("ttl-zero-during-transit", 3, 0, 0), ("ttl-zero-during-reassembly", 3, 1, 1),
    ("parameter-problem", 4, 0, 255), ("bad-header", 4, 0, 0), ("unknown-header-type", 4, 1, 1),
    ("unknown-option", 4, 2, 2), ("echo-request", 128, 0, 255), ("ping", 128, 0, 255), ("echo-reply", 129, 0, 255),
    ("pong", 129, 0, 255), ("router-solicitation", 133, 0, 255), ("router-advertisement", 134, 0, 255),
    ("neighbour-solicitation", 135, 0, 255), ("neighbor-solicitation", 135, 0, 255),
    ("neighbour-advertisement", 136, 0, 255), ("neighbor-advertisement", 136, 0, 255), ("redirect", 137, 0, 255),
];

/// Classes of RFC 2474, 2597 and 3246.
#[rustfmt::skip]
pub(super) const DSCP: &[(&str, u8)] = &[
    ("CS0", 0), ("CS1", 8), ("CS2", 16), ("CS3", 24), ("CS4", 32), ("CS5", 40), ("CS6", 48), ("CS7", 56), ("BE", 0),
    ("AF11", 10), ("AF12", 12), ("AF13", 14), ("AF21", 18), ("AF22", 20), ("AF23", 22), ("AF31", 26), ("AF32", 28),
    ("AF33", 30), ("AF41", 34), ("AF42", 36), ("AF43", 38), ("EF", 46),
];

/// Types of service (RFC 1349).
pub(super) const TOS: &[(&str, u8)] = &[
    ("Minimize-Delay", 0x10),
    ("Maximize-Throughput", 0x08),
    ("Maximize-Reliability", 0x04),
    ("Minimize-Cost", 0x02),
    ("Normal-Service", 0),
];

/// Levels of syslog that have a name in a ruleset.
pub(super) const LEVELS: &[(&str, u8)] = &[
    ("emerg", 0),
    ("panic", 0),
    ("alert", 1),
    ("crit", 2),
    ("error", 3),
    ("warning", 4),
    ("notice", 5),
    ("info", 6),
    ("debug", 7),
];

/// The types of addresses, the bit of each being its place.
#[rustfmt::skip]
pub(super) const ADDR_TYPES: &[&str] = &[
    "UNSPEC", "UNICAST", "LOCAL", "BROADCAST", "ANYCAST", "MULTICAST", "BLACKHOLE", "UNREACHABLE", "PROHIBIT", "THROW",
    "NAT", "XRESOLVE",
];

/// The flags of TCP, each with its bit.
pub(super) const TCP_FLAGS: &[(&str, u8)] =
    &[("FIN", 1), ("SYN", 2), ("RST", 4), ("PSH", 8), ("ACK", 16), ("URG", 32)];

/// Those of the names that begin with `name`, in whatever case.
pub(super) fn abbreviated<'a, T>(
    names: impl IntoIterator<Item = (&'a str, T)>,
    name: &str,
) -> impl Iterator<Item = (&'a str, T)> {
    names.into_iter().filter(move |(n, _)| n.get(..name.len()).is_some_and(|n| n.eq_ignore_ascii_case(name)))
}
