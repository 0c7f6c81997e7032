//! What iptables knows and we don't: named, so that a ruleset that needs it is told which, and never a rule is ignored.

use crate::filter::rule::{Family, TableName};

use super::matches::MATCHES;
use super::no::No;
use super::options::BASE;
use super::spec::{MatchSpec, Of, Opt, Spec, TargetSpec};
use super::targets::TARGETS;

/// Matches not read yet.
#[rustfmt::skip]
pub(super) const LATER_MATCHES: &[(&str, Of)] = &[
    ("ah", Of::Both), ("bpf", Of::Both), ("cgroup", Of::Both), ("cluster", Of::Both), ("connbytes", Of::Both),
    ("connlabel", Of::Both), ("connlimit", Of::Both), ("cpu", Of::Both), ("dccp", Of::Both), ("devgroup", Of::Both),
    ("dst", Of::V6), ("esp", Of::Both), ("eui64", Of::V6), ("frag", Of::V6), ("hashlimit", Of::Both), ("hbh", Of::V6),
    ("helper", Of::Both), ("ipcomp", Of::Both), ("ipv6header", Of::V6), ("ipvs", Of::Both), ("mh", Of::V6),
    ("nfacct", Of::Both), ("osf", Of::Both), ("owner", Of::Both), ("physdev", Of::Both), ("policy", Of::Both),
    ("quota", Of::Both), ("rateest", Of::Both), ("realm", Of::V4), ("recent", Of::Both), ("rpfilter", Of::Both),
    ("rt", Of::V6), ("sctp", Of::Both), ("set", Of::Both), ("socket", Of::Both), ("srh", Of::V6), ("string", Of::Both),
    ("tcpmss", Of::Both), ("time", Of::Both), ("u32", Of::Both),
];

/// Targets not read yet.
#[rustfmt::skip]
pub(super) const LATER_TARGETS: &[(&str, Of)] = &[
    ("AUDIT", Of::Both), ("CHECKSUM", Of::Both), ("CLASSIFY", Of::Both), ("CLUSTERIP", Of::V4),
    ("CONNSECMARK", Of::Both), ("DNPT", Of::V6), ("ECN", Of::V4), ("HMARK", Of::Both), ("IDLETIMER", Of::Both),
    ("LED", Of::Both), ("NFLOG", Of::Both), ("NFQUEUE", Of::Both), ("QUEUE", Of::Both), ("RATEEST", Of::Both),
    ("SECMARK", Of::Both), ("SET", Of::Both), ("SNPT", Of::V6), ("SYNPROXY", Of::Both), ("TCPOPTSTRIP", Of::Both),
    ("TEE", Of::Both), ("TPROXY", Of::Both), ("TRACE", Of::Both), ("ULOG", Of::V4),
];

/// What does as well, or nearly, for some of those.
const INSTEAD: &[(&str, &str)] = &[
    ("ah", "`-p ah` alone is there"),
    ("connlimit", "`-m limit` is there, for all senders together"),
    ("dccp", "`-p dccp` with `-m multiport` is there"),
    ("esp", "`-p esp` alone is there"),
    ("hashlimit", "`-m limit` is there, for all senders together"),
    ("ipcomp", "`-p ipcomp` alone is there"),
    ("mh", "`-p mh` alone is there"),
    ("owner", "what this router sends has no user: leave the rule out"),
    ("policy", "what comes through a tunnel comes in by its link: `-i`"),
    ("recent", "`-m limit` is there, for all senders together"),
    ("rpfilter", "`rp_filter` of a link does it"),
    ("sctp", "`-p sctp` with `-m multiport` is there"),
    ("set", "a chain of a rule for each address is as quick"),
    ("tcpmss", "TCPMSS never raises what is there, and needs no match"),
    ("time", "let a timer put the rules in and take them out"),
    ("CHECKSUM", "checksums are always filled in here: leave the rule out"),
    ("NFLOG", "`-j LOG` is there, and `sekisho capture`"),
    ("SET", "chains of rules can be changed at any time"),
    ("TEE", "`sekisho capture` writes packets to a file"),
    ("TPROXY", "`-j DNAT` can lead to a proxy on another host"),
    ("TRACE", "`sekisho trace` follows packets through all rules"),
    ("ULOG", "`-j LOG` is there, and `sekisho capture`"),
];

/// What to do about a match or target that is not read yet.
fn instead(name: &str) -> &'static str {
    INSTEAD.iter().find(|(n, _)| *n == name).map_or("docs/rules.md lists what is", |(_, instead)| instead)
}

/// Tables not read yet.
pub(super) const LATER_TABLES: &[&str] = &["security"];

/// Something that may stand in a ruleset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What it is part of: nothing, `-m MATCH` or `-j TARGET`.
    pub of: String,
    /// Its names: those of an option, or none for the match or target itself.
    pub names: Vec<String>,
    /// Whose rulesets may have it.
    pub families: &'static [Family],
    /// Whether it is read; what is not gives an error that names it.
    pub read: bool,
}

/// All that iptables knows of tables, options, matches and targets.
pub fn catalogue() -> Vec<Entry> {
    let of_both = |of: &str, names: Vec<String>, read| Entry {
        of: of.into(),
        names,
        families: families(Of::Both),
        read,
    };
    let ours = TableName::ALL.iter().map(|t| (t.name(), true));
    let tables = ours.chain(LATER_TABLES.iter().map(|t| (*t, false)));
    let mut all: Vec<Entry> =
        tables.map(|(name, read)| of_both(&format!("*{name}"), Vec::new(), read)).collect();
    for (i, first) in BASE.iter().enumerate().filter(|(i, b)| BASE[..*i].iter().all(|o| o.short != b.short)) {
        let mut names = vec![format!("-{}", first.short)];
        // What has no short name has a number for one.
        names.retain(|_| first.short != '0');
        names.extend(BASE[i..].iter().filter(|b| b.short == first.short).map(|b| format!("--{}", b.long)));
        let mut entry = of_both("", names, !"LStnwWxVh0M".contains(first.short));
        if first.short == 'f' {
            entry.families = families(Of::V4);
        }
        all.push(entry);
    }
    all.push(of_both("-j ACCEPT", Vec::new(), true));
    all.push(of_both("-j DROP", Vec::new(), true));
    all.push(of_both("-j RETURN", Vec::new(), true));
    MATCHES.iter().for_each(|m| entries(&mut all, &format!("-m {}", m.name), m.of, m.options));
    TARGETS.iter().for_each(|t| entries(&mut all, &format!("-j {}", t.name), t.of, t.options));
    let later = LATER_MATCHES.iter().map(|(name, of)| (format!("-m {name}"), *of));
    for (name, of) in later.chain(LATER_TARGETS.iter().map(|(name, of)| (format!("-j {name}"), *of))) {
        all.push(Entry { of: name, names: Vec::new(), families: families(of), read: false });
    }
    all
}

/// A match or target, and its options: those that are one under several names together.
fn entries(all: &mut Vec<Entry>, name: &str, of: Of, options: &[Opt]) {
    all.push(Entry { of: name.into(), names: Vec::new(), families: families(of), read: true });
    for (i, first) in options.iter().enumerate() {
        let same = |o: &Opt| o.id == first.id && o.args == first.args;
        if !options[..i].iter().any(same) {
            let names = options.iter().filter(|o| same(o)).map(|o| format!("--{}", o.name)).collect();
            all.push(Entry { of: name.into(), names, families: families(of), read: !first.later });
        }
    }
}

fn families(of: Of) -> &'static [Family] {
    match of {
        Of::Both => &[Family::V4, Family::V6],
        Of::V4 => &[Family::V4],
        Of::V6 => &[Family::V6],
    }
}

/// A table by its name.
///
/// # Errors
/// There is none, or not yet.
pub fn table(name: &str, family: Family) -> Result<TableName, No> {
    let tool = match family {
        Family::V4 => "iptables",
        Family::V6 => "ip6tables",
    };
    TableName::ALL.into_iter().find(|t| t.name() == name).ok_or_else(|| {
        let why = match LATER_TABLES.contains(&name) {
            true => "it is not supported here (yet): there are raw, mangle, nat and filter",
            false => "there are raw, mangle, nat and filter",
        };
        No::NoTable(format!("can't initialize {tool} table `{name}': Table does not exist: {why}"))
    })
}

/// A match by its name.
pub(super) fn match_spec(name: &str, family: Family) -> Result<&'static MatchSpec, No> {
    let name = match name {
        "icmpv6" | "ipv6-icmp" => "icmp6",
        name => name,
    };
    find(MATCHES, LATER_MATCHES, "match", name, family)
}

/// A target by its name.
pub(super) fn target_spec(name: &str, family: Family) -> Result<&'static TargetSpec, No> {
    find(TARGETS, LATER_TARGETS, "target", name, family)
}

/// Whether there is a target of that name, ours or not: then no chain may be given it.
pub(super) fn is_target(name: &str) -> bool {
    matches!(name, "ACCEPT" | "DROP" | "RETURN")
        || TARGETS.iter().any(|t| t.name == name)
        || LATER_TARGETS.iter().any(|(n, _)| *n == name)
}

/// The name of the match that a protocol brings with it, if iptables has one.
pub(super) fn of_protocol(number: u8) -> Option<&'static str> {
    Some(match number {
        6 => "tcp",
        17 => "udp",
        1 => "icmp",
        58 => "icmp6",
        33 => "dccp",
        50 => "esp",
        51 => "ah",
        132 => "sctp",
        135 => "mh",
        _ => return None,
    })
}

/// The options of ours that have that name, by whom they belong to.
pub(super) fn who_has(option: &str) -> Vec<&'static str> {
    let has = |options: &[Opt]| options.iter().any(|o| o.name == option);
    let matches = MATCHES.iter().filter(|m| has(m.options)).map(|m| m.name);
    matches.chain(TARGETS.iter().filter(|t| has(t.options)).map(|t| t.name)).collect()
}

fn find<T>(
    ours: &'static [Spec<T>],
    later: &[(&str, Of)],
    what: &'static str,
    name: &str,
    family: Family,
) -> Result<&'static Spec<T>, No> {
    let no = |text| No::Unloaded(what, name.to_owned(), text);
    let other = match family {
        Family::V4 => "IPv6",
        Family::V6 => "IPv4",
    };
    if let Some(spec) = ours.iter().find(|s| s.name == name) {
        return match spec.of.has(family) {
            true => Ok(spec),
            false => Err(no(format!("{what} '{name}' is for {other}"))),
        };
    }
    Err(no(match later.iter().find(|(n, _)| *n == name) {
        Some((_, of)) if of.has(family) => {
            format!("{what} '{name}' is not supported here (yet): {}", instead(name))
        }
        Some(_) => format!("{what} '{name}' is for {other}, and not supported here (yet)"),
        None => format!("{what} '{name}' is unknown"),
    }))
}
