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

/// Services, with the protocols they are registered for (the IANA's registry, by the names of the usual /etc/services); of
/// several names of a port the one that is shown comes first.
#[rustfmt::skip]
const SERVICES: &[(&str, u16, u8)] = &[
    ("tcpmux", 1, TCP), ("echo", 7, BOTH), ("discard", 9, BOTH), ("sink", 9, BOTH), ("null", 9, BOTH),
    ("systat", 11, TCP), ("users", 11, TCP), ("daytime", 13, BOTH), ("netstat", 15, TCP), ("qotd", 17, TCP),
    ("quote", 17, TCP), ("chargen", 19, BOTH), ("ttytst", 19, BOTH), ("source", 19, BOTH), ("ftp-data", 20, TCP),
    ("ftp", 21, TCP), ("fsp", 21, UDP), ("fspd", 21, UDP), ("ssh", 22, TCP), ("telnet", 23, TCP), ("smtp", 25, TCP),
    ("mail", 25, TCP), ("time", 37, BOTH), ("timserver", 37, BOTH), ("whois", 43, TCP), ("nicname", 43, TCP),
    ("tacacs", 49, BOTH), ("domain", 53, BOTH), ("bootps", 67, UDP), ("bootpc", 68, UDP), ("tftp", 69, UDP),
    ("gopher", 70, TCP), ("finger", 79, TCP), ("http", 80, TCP), ("www", 80, TCP), ("kerberos", 88, BOTH),
    ("kerberos5", 88, BOTH), ("krb5", 88, BOTH), ("kerberos-sec", 88, BOTH), ("iso-tsap", 102, TCP),
    ("tsap", 102, TCP), ("acr-nema", 104, TCP), ("dicom", 104, TCP), ("pop3", 110, TCP), ("pop-3", 110, TCP),
    ("sunrpc", 111, BOTH), ("portmapper", 111, BOTH), ("auth", 113, TCP), ("authentication", 113, TCP),
    ("tap", 113, TCP), ("ident", 113, TCP), ("nntp", 119, TCP), ("readnews", 119, TCP), ("untp", 119, TCP),
    ("ntp", 123, UDP), ("epmap", 135, TCP), ("loc-srv", 135, TCP), ("netbios-ns", 137, UDP),
    ("netbios-dgm", 138, UDP), ("netbios-ssn", 139, TCP), ("imap2", 143, TCP), ("imap", 143, TCP),
    ("snmp", 161, BOTH), ("snmp-trap", 162, BOTH), ("snmptrap", 162, BOTH), ("cmip-man", 163, BOTH),
    ("cmip-agent", 164, BOTH), ("mailq", 174, TCP), ("xdmcp", 177, UDP), ("bgp", 179, TCP), ("smux", 199, TCP),
    ("qmtp", 209, TCP), ("z3950", 210, TCP), ("wais", 210, TCP), ("ipx", 213, UDP), ("ptp-event", 319, UDP),
    ("ptp-general", 320, UDP), ("pawserv", 345, TCP), ("zserv", 346, TCP), ("rpc2portmap", 369, BOTH),
    ("codaauth2", 370, BOTH), ("clearcase", 371, UDP), ("Clearcase", 371, UDP), ("ldap", 389, BOTH),
    ("svrloc", 427, BOTH), ("https", 443, BOTH), ("snpp", 444, TCP), ("microsoft-ds", 445, TCP),
    ("kpasswd", 464, BOTH), ("submissions", 465, TCP), ("ssmtp", 465, TCP), ("smtps", 465, TCP), ("urd", 465, TCP),
    ("saft", 487, TCP), ("isakmp", 500, UDP), ("rtsp", 554, BOTH), ("nqs", 607, TCP), ("asf-rmcp", 623, UDP),
    ("qmqp", 628, TCP), ("ipp", 631, TCP), ("ldp", 646, BOTH), ("exec", 512, TCP), ("biff", 512, UDP),
    ("comsat", 512, UDP), ("login", 513, TCP), ("who", 513, UDP), ("whod", 513, UDP), ("shell", 514, TCP),
    ("cmd", 514, TCP), ("syslog", 514, BOTH), ("printer", 515, TCP), ("spooler", 515, TCP), ("talk", 517, UDP),
    ("ntalk", 518, UDP), ("route", 520, UDP), ("router", 520, UDP), ("routed", 520, UDP), ("gdomap", 538, BOTH),
    ("uucp", 540, TCP), ("uucpd", 540, TCP), ("klogin", 543, TCP), ("kshell", 544, TCP), ("krcmd", 544, TCP),
    ("dhcpv6-client", 546, UDP), ("dhcpv6-server", 547, UDP), ("afpovertcp", 548, TCP), ("nntps", 563, TCP),
    ("snntp", 563, TCP), ("submission", 587, TCP), ("ldaps", 636, BOTH), ("tinc", 655, BOTH), ("silc", 706, TCP),
    ("kerberos-adm", 749, TCP), ("domain-s", 853, BOTH), ("rsync", 873, TCP), ("ftps-data", 989, TCP),
    ("ftps", 990, TCP), ("telnets", 992, TCP), ("imaps", 993, TCP), ("pop3s", 995, TCP), ("socks", 1080, TCP),
    ("proofd", 1093, TCP), ("rootd", 1094, TCP), ("openvpn", 1194, BOTH), ("rmiregistry", 1099, TCP),
    ("lotusnote", 1352, TCP), ("lotusnotes", 1352, TCP), ("ms-sql-s", 1433, TCP), ("ms-sql-m", 1434, UDP),
    ("ingreslock", 1524, TCP), ("datametrics", 1645, BOTH), ("old-radius", 1645, BOTH), ("sa-msg-port", 1646, BOTH),
    ("old-radacct", 1646, BOTH), ("kermit", 1649, TCP), ("groupwise", 1677, TCP), ("l2f", 1701, UDP),
    ("l2tp", 1701, UDP), ("radius", 1812, BOTH), ("radius-acct", 1813, BOTH), ("radacct", 1813, BOTH),
    ("cisco-sccp", 2000, TCP), ("nfs", 2049, BOTH), ("gnunet", 2086, BOTH), ("rtcm-sc104", 2101, BOTH),
    ("gsigatekeeper", 2119, TCP), ("gris", 2135, TCP), ("cvspserver", 2401, TCP), ("venus", 2430, BOTH),
    ("venus-se", 2431, BOTH), ("codasrv", 2432, BOTH), ("codasrv-se", 2433, BOTH), ("mon", 2583, BOTH),
    ("dict", 2628, TCP), ("f5-globalsite", 2792, TCP), ("gsiftp", 2811, TCP), ("gpsd", 2947, TCP),
    ("gds-db", 3050, TCP), ("gds_db", 3050, TCP), ("icpv2", 3130, UDP), ("icp", 3130, UDP), ("isns", 3205, BOTH),
    ("iscsi-target", 3260, TCP), ("mysql", 3306, TCP), ("ms-wbt-server", 3389, TCP), ("nut", 3493, BOTH),
    ("distcc", 3632, TCP), ("daap", 3689, TCP), ("svn", 3690, TCP), ("subversion", 3690, TCP), ("suucp", 4031, TCP),
    ("sysrqd", 4094, TCP), ("sieve", 4190, TCP), ("epmd", 4369, TCP), ("remctl", 4373, TCP), ("f5-iquery", 4353, TCP),
    ("ntske", 4460, TCP), ("ipsec-nat-t", 4500, UDP), ("iax", 4569, UDP), ("mtn", 4691, TCP),
    ("radmin-port", 4899, TCP), ("sip", 5060, BOTH), ("sip-tls", 5061, BOTH), ("xmpp-client", 5222, TCP),
    ("jabber-client", 5222, TCP), ("xmpp-server", 5269, TCP), ("jabber-server", 5269, TCP), ("cfengine", 5308, TCP),
    ("mdns", 5353, UDP), ("postgresql", 5432, TCP), ("postgres", 5432, TCP), ("freeciv", 5556, TCP),
    ("rptp", 5556, TCP), ("amqps", 5671, TCP), ("amqp", 5672, TCP), ("x11", 6000, TCP), ("x11-0", 6000, TCP),
    ("x11-1", 6001, TCP), ("x11-2", 6002, TCP), ("x11-3", 6003, TCP), ("x11-4", 6004, TCP), ("x11-5", 6005, TCP),
    ("x11-6", 6006, TCP), ("x11-7", 6007, TCP), ("gnutella-svc", 6346, BOTH), ("gnutella-rtr", 6347, BOTH),
    ("redis", 6379, TCP), ("sge-qmaster", 6444, TCP), ("sge_qmaster", 6444, TCP), ("sge-execd", 6445, TCP),
    ("sge_execd", 6445, TCP), ("mysql-proxy", 6446, TCP), ("babel", 6696, UDP), ("ircs-u", 6697, TCP),
    ("bbs", 7000, TCP), ("afs3-fileserver", 7000, UDP), ("afs3-callback", 7001, UDP), ("afs3-prserver", 7002, UDP),
    ("afs3-vlserver", 7003, UDP), ("afs3-kaserver", 7004, UDP), ("afs3-volser", 7005, UDP), ("afs3-bos", 7007, UDP),
    ("afs3-update", 7008, UDP), ("afs3-rmtsys", 7009, UDP), ("font-service", 7100, TCP), ("xfs", 7100, TCP),
    ("http-alt", 8080, TCP), ("webcache", 8080, TCP), ("puppet", 8140, TCP), ("bacula-dir", 9101, TCP),
    ("bacula-fd", 9102, TCP), ("bacula-sd", 9103, TCP), ("xmms2", 9667, TCP), ("nbd", 10809, TCP),
    ("zabbix-agent", 10050, TCP), ("zabbix-trapper", 10051, TCP), ("amanda", 10080, TCP), ("dicom", 11112, TCP),
    ("hkp", 11371, TCP), ("db-lsp", 17500, TCP), ("dcap", 22125, TCP), ("gsidcap", 22128, TCP), ("wnn6", 22273, TCP),
    ("kerberos4", 750, BOTH), ("kerberos-iv", 750, BOTH), ("kdc", 750, BOTH), ("kerberos-master", 751, BOTH),
    ("kerberos_master", 751, UDP), ("passwd-server", 752, UDP), ("passwd_server", 752, UDP), ("krb-prop", 754, TCP),
    ("krb_prop", 754, TCP), ("krb5_prop", 754, TCP), ("hprop", 754, TCP), ("zephyr-srv", 2102, UDP),
    ("zephyr-clt", 2103, UDP), ("zephyr-hm", 2104, UDP), ("iprop", 2121, TCP), ("supfilesrv", 871, TCP),
    ("supfiledbg", 1127, TCP), ("poppassd", 106, TCP), ("moira-db", 775, TCP), ("moira_db", 775, TCP),
    ("moira-update", 777, TCP), ("moira_update", 777, TCP), ("moira-ureg", 779, UDP), ("moira_ureg", 779, UDP),
    ("spamd", 783, TCP), ("skkserv", 1178, TCP), ("predict", 1210, UDP), ("rmtcfg", 1236, TCP), ("xtel", 1313, TCP),
    ("xtelw", 1314, TCP), ("zebrasrv", 2600, TCP), ("zebra", 2601, TCP), ("ripd", 2602, TCP), ("ripngd", 2603, TCP),
    ("ospfd", 2604, TCP), ("bgpd", 2605, TCP), ("ospf6d", 2606, TCP), ("ospfapi", 2607, TCP), ("isisd", 2608, TCP),
    ("fax", 4557, TCP), ("hylafax", 4559, TCP), ("munin", 4949, TCP), ("lrrd", 4949, TCP), ("rplay", 5555, UDP),
    ("nrpe", 5666, TCP), ("nsca", 5667, TCP), ("canna", 5680, TCP), ("syslog-tls", 6514, TCP),
    ("sane-port", 6566, TCP), ("sane", 6566, TCP), ("saned", 6566, TCP), ("ircd", 6667, TCP), ("zope-ftp", 8021, TCP),
    ("tproxy", 8081, TCP), ("omniorb", 8088, TCP), ("clc-build-daemon", 8990, TCP), ("xinetd", 9098, TCP),
    ("git", 9418, TCP), ("zope", 9673, TCP), ("webmin", 10000, TCP), ("kamanda", 10081, TCP),
    ("amandaidx", 10082, TCP), ("amidxtape", 10083, TCP), ("sgi-cmsd", 17001, UDP), ("sgi-crsd", 17002, UDP),
    ("sgi-gcd", 17003, UDP), ("sgi-cad", 17004, TCP), ("binkp", 24554, TCP), ("asp", 27374, BOTH),
    ("csync2", 30865, TCP), ("dircproxy", 57000, TCP), ("tfido", 60177, TCP), ("fido", 60179, TCP),
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
