//! Every key there is, by section: what a file may hold, and what `docs/config.md` has to explain.

use crate::conntrack::Timeout;

/// A section and the keys that may stand in it.
#[derive(Debug)]
pub(in crate::config) struct Section {
    /// How its header is written.
    pub(in crate::config) header: &'static str,
    pub(in crate::config) keys: &'static [&'static str],
}

/// All sections, in the order of the documentation. [`TOP`] is not one: its keys are the headers.
pub(in crate::config) const SECTIONS: &[&Section] =
    &[&ROUTER, &LINK, &ROUTE, &NEXTHOP, &NEIGHBOR, &FIREWALL, &CONNTRACK, &TIMEOUTS, &ICMP, &SERVICES];

pub(super) const TOP: Section = Section {
    header: "the file",
    keys: &["router", "link", "route", "neighbor", "firewall", "conntrack", "icmp", "services"],
};

pub(super) const ROUTER: Section = Section {
    header: "[router]",
    keys: &["name", "workers", "flow_cache", "control", "metrics", "state", "user", "group", "route_files"],
};

pub(super) const LINK: Section = Section {
    header: "[link.NAME]",
    keys: &[
        "kind",
        "device",
        "mac",
        "mtu",
        "addresses",
        "link_local",
        "rp_filter",
        "redirects",
        "up",
        "queues",
        "offload",
        "driver",
        "persist",
        "owner",
        "group",
        // of kinds that this version knows by name only
        "ports",
        "ageing",
        "parent",
        "id",
        "protocol",
        "vni",
        "local",
        "remote",
        "port",
        "learning",
        "private_key_file",
        "listen_port",
        "peer",
    ],
};

pub(super) const ROUTE: Section = Section {
    header: "[[route]]",
    keys: &[
        "to",
        "via",
        "dev",
        "onlink",
        "metric",
        "src",
        "nexthops",
        "type",
        "proto",
        "mtu",
        "mtu_lock",
        "advmss",
        "advmss_lock",
    ],
};

pub(super) const NEXTHOP: Section = Section { header: "nexthops", keys: &["via", "dev", "onlink", "weight"] };

pub(super) const NEIGHBOR: Section = Section { header: "[[neighbor]]", keys: &["ip", "mac", "dev"] };

pub(super) const FIREWALL: Section =
    Section { header: "[firewall]", keys: &["rules4_file", "rules6_file", "rules4", "rules6"] };

pub(super) const CONNTRACK: Section = Section {
    header: "[conntrack]",
    keys: &[
        "enable",
        "max",
        "profile",
        "helpers",
        "timeouts",
        // sysctls of Linux, without the words they share
        "tcp_loose",
        "tcp_be_liberal",
        "tcp_max_retrans",
        "tcp_ignore_invalid_rst",
        "checksum",
    ],
};

/// The sysctls `net.netfilter.nf_conntrack_*_timeout*` of Linux, without the words they share.
pub(super) const TIMEOUTS: Section = Section { header: "[conntrack.timeouts]", keys: &TIMEOUT_NAMES };

const TIMEOUT_NAMES: [&str; Timeout::ALL.len()] = {
    let mut names = [""; Timeout::ALL.len()];
    let mut i = 0;
    while i < names.len() {
        names[i] = Timeout::ALL[i].name();
        i += 1;
    }
    names
};

pub(super) const ICMP: Section = Section { header: "[icmp]", keys: &["rate"] };

pub(super) const SERVICES: Section = Section { header: "[services]", keys: &["echo", "discard"] };
