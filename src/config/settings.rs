//! What a configuration says, key by key and in a file's words: what printing writes down and what a comparison compares.
//!
//! Routes, neighbors, addresses and rules are not here: there may be many of each, and they are no keys.

use std::fmt::Write;
use std::net::IpAddr;
use std::path::Path;

use super::meant::{ICMP_RATE, MTU};
use super::{Account, Config, ConntrackConfig, Enable, LinkConfig};
use crate::base::Mac;
use crate::conntrack::{self, Timeout, Timeouts};
use crate::link::{Address, Driver, LinkKind, RpFilter};
use crate::path::FlowCacheConfig;

/// One key of a section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Setting {
    pub(super) key: &'static str,
    /// Its value as TOML; `None` where it can only be said by leaving the key out.
    pub(super) value: Option<String>,
    /// Whether leaving the key out says the same.
    pub(super) usual: bool,
}

impl Setting {
    fn of(key: &'static str, value: impl ToString, usual: bool) -> Self {
        Setting { key, value: Some(value.to_string()), usual }
    }

    /// One that is there, or not.
    fn maybe(key: &'static str, value: Option<String>) -> Self {
        Setting { key, usual: value.is_none(), value }
    }
}

/// `[router]`, without its lists.
pub(super) fn router(c: &Config) -> Vec<Setting> {
    let flow_cache = match c.flow_cache {
        0 => string("off"),
        n => n.to_string(),
    };
    vec![
        // The host's name is the usual one, and another on another host.
        Setting::of("name", string(&c.name), false),
        Setting::maybe("workers", c.workers.map(|n| n.to_string())),
        Setting::of("flow_cache", flow_cache, c.flow_cache == FlowCacheConfig::default().entries),
        Setting::maybe("control", c.control.as_deref().map(path)),
        Setting::maybe("metrics", c.metrics.map(|at| string(&at.to_string()))),
        Setting::maybe("user", c.user.as_ref().map(|u| account(&u.account))),
        Setting::maybe("group", c.group.as_ref().map(account)),
    ]
}

/// `[link.NAME]` of a router of that name, without its addresses.
pub(super) fn link(l: &LinkConfig, router: &str) -> Vec<Setting> {
    let filter = match l.rp_filter {
        RpFilter::Off => "off",
        RpFilter::Loose => "loose",
        RpFilter::Strict => "strict",
    };
    let mut all = vec![
        Setting::of("kind", string(l.kind.name()), false),
        Setting::of("device", string(&l.device), l.device == l.name),
    ];
    if let Some(mac) = l.mac {
        all.push(Setting::of("mac", string(&mac.to_string()), mac == Mac::stable(&[router, &l.name])));
    }
    all.extend([
        Setting::of("mtu", l.mtu, l.mtu == MTU),
        Setting::of("rp_filter", string(filter), l.rp_filter == RpFilter::default()),
        Setting::of("redirects", l.redirects, l.redirects),
        Setting::of("up", l.up, l.up),
        Setting::maybe("queues", l.queues.map(|n| n.to_string())),
        Setting::of("offload", string(if l.offload { "auto" } else { "off" }), l.offload),
    ]);
    match l.kind {
        LinkKind::Tap | LinkKind::Tun => all.extend([
            Setting::of("persist", l.persist, !l.persist),
            Setting::maybe("owner", l.owner.map(|n| n.to_string())),
            Setting::maybe("group", l.group.map(|n| n.to_string())),
        ]),
        _ => all.push(Setting::of("driver", string(l.driver.name()), l.driver == Driver::default())),
    }
    all.push(Setting::of(
        "link_local",
        link_local(l) != LinkLocal::Removed,
        link_local(l) != LinkLocal::Removed,
    ));
    all
}

/// How a link stands to the link-local address that is made from its MAC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LinkLocal {
    /// It has that one and no other, or can have none: nothing to be said.
    Usual,
    /// It has others, or more, which have to be listed.
    Listed,
    /// It has none and could have.
    Removed,
}

/// See [`LinkLocal`].
pub(super) fn link_local(l: &LinkConfig) -> LinkLocal {
    let made = l.made_link_local();
    let mut there = l.addresses.iter().filter(|a| is_link_local(a.addr));
    match (there.next(), there.next(), made) {
        (None, _, None) => LinkLocal::Usual,
        (None, _, Some(_)) => LinkLocal::Removed,
        (Some(one), None, Some(made)) if *one == made => LinkLocal::Usual,
        _ => LinkLocal::Listed,
    }
}

/// A link's addresses as far as they have to be listed, in their order.
pub(super) fn addresses(l: &LinkConfig) -> impl Iterator<Item = &Address> {
    let all = link_local(l) == LinkLocal::Listed;
    l.addresses.iter().filter(move |a| all || !is_link_local(a.addr))
}

fn is_link_local(addr: IpAddr) -> bool {
    matches!(addr, IpAddr::V6(v6) if v6.is_unicast_link_local())
}

/// `[conntrack]`.
pub(super) fn conntrack(c: &ConntrackConfig) -> Vec<Setting> {
    let (t, usual) = (&c.table, conntrack::Config::default());
    let enable = match c.enable {
        Enable::Auto => "auto",
        Enable::On => "on",
        Enable::Off => "off",
    };
    // No table says that it is off, too.
    let said = c.enable == Enable::default() || (t.max == 0 && c.enable == Enable::Off);
    let profile = if profile(&t.timeouts).1 { "rfc" } else { "linux" };
    vec![
        Setting::of("enable", string(enable), said),
        Setting::of("max", t.max, t.max == usual.max),
        Setting::of("profile", string(profile), profile == "linux"),
        Setting::of("tcp_loose", t.tcp_loose, t.tcp_loose == usual.tcp_loose),
        Setting::of("tcp_be_liberal", t.tcp_be_liberal, t.tcp_be_liberal == usual.tcp_be_liberal),
        Setting::of("tcp_max_retrans", t.tcp_max_retrans, t.tcp_max_retrans == usual.tcp_max_retrans),
        Setting::of(
            "tcp_ignore_invalid_rst",
            t.tcp_ignore_invalid_rst,
            t.tcp_ignore_invalid_rst == usual.tcp_ignore_invalid_rst,
        ),
        Setting::of("checksum", t.checksum, t.checksum == usual.checksum),
    ]
}

/// `[conntrack.timeouts]`, in seconds.
pub(super) fn timeouts(c: &ConntrackConfig) -> Vec<Setting> {
    let (usual, _) = profile(&c.table.timeouts);
    let one = |which: &Timeout| {
        let seconds = c.table.timeouts.get(*which);
        Setting::of(which.name(), seconds.as_secs(), seconds == usual.get(*which))
    };
    Timeout::ALL.iter().map(one).collect()
}

/// The profile that leaves less to be said, and whether it is the RFCs'.
fn profile(timeouts: &Timeouts) -> (Timeouts, bool) {
    let others = |p: &Timeouts| Timeout::ALL.iter().filter(|t| p.get(**t) != timeouts.get(**t)).count();
    let (linux, rfc) = (Timeouts::linux(), Timeouts::rfc());
    if others(&rfc) < others(&linux) { (rfc, true) } else { (linux, false) }
}

/// `[icmp]`.
pub(super) fn icmp(c: &Config) -> Vec<Setting> {
    vec![Setting::of("rate", c.icmp.rate, c.icmp.rate == ICMP_RATE)]
}

/// `[services]`.
pub(super) fn services(c: &Config) -> Vec<Setting> {
    let one = |key, on: bool| Setting::of(key, on, !on);
    vec![one("echo", c.services.echo), one("discard", c.services.discard)]
}

fn account(a: &Account) -> String {
    if a.name.bytes().all(|b| b.is_ascii_digit()) { a.name.clone() } else { string(&a.name) }
}

/// A path that means the same wherever the file stands.
pub(super) fn path(path: &Path) -> String {
    let whole = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    string(&whole.to_string_lossy())
}

/// A TOML basic string.
pub(super) fn string(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    escape(text, "", &mut out);
    out.push('"');
    out
}

/// A TOML string of several lines; as it is where that can be.
pub(super) fn lines(text: &str) -> String {
    let plain = |c: char| !c.is_control() || c == '\n' || c == '\t';
    if !text.contains("''") && !text.ends_with('\'') && text.chars().all(plain) {
        return format!("'''\n{text}'''");
    }
    let mut out = String::from("\"\"\"\n");
    escape(text, "\n\t", &mut out);
    out + "\"\"\""
}

fn escape(text: &str, as_they_are: &str, out: &mut String) {
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_control() && !as_they_are.contains(c) => {
                let _ = write!(out, "\\u{:04X}", u32::from(c));
            }
            c => out.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(serde::Deserialize)]
    struct One {
        x: String,
    }

    fn read(value: &str) -> String {
        toml::from_str::<One>(&format!("x = {value}\n")).unwrap_or_else(|e| panic!("{value}: {e}")).x
    }

    proptest! {
        #[test]
        fn any_text_reads_back(text in any::<String>()) {
            prop_assert_eq!(&read(&string(&text)), &text);
        }

        #[test]
        fn any_lines_read_back(text in "[a'\"\\\\\n\t\u{7f}\u{0}é-]{0,20}") {
            prop_assert_eq!(&read(&lines(&text)), &text);
        }
    }
}
