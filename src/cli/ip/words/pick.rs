//! What of a listing is shown that the router isn't asked to choose: the filters of iproute2 that look at how things are
//! shown, and those that can choose nothing here.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::control::view::{Address, Link, Route};

/// What of links and addresses.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::cli::ip) struct LinkPick {
    /// Links of this type.
    pub(super) kind: Option<String>,
    /// Addresses with such a label; `*` and `?` stand for letters.
    pub(super) label: Option<String>,
    /// Addresses that are so, or aren't.
    pub(super) flags: Vec<(Flag, bool)>,
    /// Nothing has what is asked for.
    pub(super) none: bool,
}

/// What can be true of an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cli::ip) enum Flag {
    Secondary,
    Tentative,
    Dadfailed,
    /// Always.
    Permanent,
    /// Never: it has an end, is not to be used, was made for privacy, …
    Other,
}

impl Flag {
    /// The flag behind `ip addr show`, and whether it is to be so (`get_filter`).
    pub(super) fn named(word: &str) -> Option<(Flag, bool)> {
        let (name, is) = word.strip_prefix('-').map_or((word, true), |name| (name, false));
        Some(match name {
            "primary" => (Flag::Secondary, !is),
            "dynamic" => (Flag::Permanent, !is),
            "secondary" | "temporary" => (Flag::Secondary, is),
            "tentative" => (Flag::Tentative, is),
            "dadfailed" => (Flag::Dadfailed, is),
            "permanent" => (Flag::Permanent, is),
            "nodad" | "optimistic" | "home" | "deprecated" | "mngtmpaddr" | "noprefixroute" | "autojoin"
            | "stable-privacy" => (Flag::Other, is),
            _ => return None,
        })
    }

    fn of(self, a: &Address) -> bool {
        match self {
            Flag::Secondary => a.secondary,
            Flag::Tentative => a.tentative,
            Flag::Dadfailed => a.dadfailed,
            Flag::Permanent => true,
            Flag::Other => false,
        }
    }
}

impl LinkPick {
    /// Whether only addresses are told of, and not the links they are on.
    pub(in crate::cli::ip) fn labelled(&self) -> bool {
        self.label.is_some()
    }

    /// Whether nothing can be chosen by it.
    pub(super) fn chooses_nothing(&self) -> bool {
        self.none
    }

    /// The link with what is asked for of it.
    pub(in crate::cli::ip) fn of(&self, mut l: Link) -> Option<Link> {
        let kind = l.linkinfo.as_ref().map(|i| i.info_kind.as_str());
        if self.none || self.kind.is_some() && self.kind.as_deref() != kind {
            return None;
        }
        let name = l.ifname.as_str();
        if let Some(all) = l.addr_info.as_mut().filter(|all| !all.is_empty()) {
            all.retain(|a| {
                let label = a.label.as_deref().unwrap_or(name);
                self.flags.iter().all(|(flag, is)| flag.of(a) == *is)
                    && self.label.as_ref().is_none_or(|wanted| fits(wanted.as_bytes(), label.as_bytes()))
            });
            if all.is_empty() {
                return None;
            }
        }
        Some(l)
    }
}

/// What of routes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::cli::ip) struct RoutePick {
    /// Those whose packets have a source within this prefix.
    pub(super) src: Option<IpNet>,
    /// None has what is asked for.
    pub(super) none: bool,
}

impl RoutePick {
    /// Whether nothing can be chosen by it.
    pub(super) fn chooses_nothing(&self) -> bool {
        self.none
    }

    /// The route without what is asked for of it, if it has that.
    pub(in crate::cli::ip) fn of(&self, mut r: Route) -> Option<Route> {
        if self.none {
            return None;
        }
        if let Some(net) = self.src.filter(|net| net.prefix_len() > 0) {
            let src: IpAddr = r.prefsrc.as_ref()?.parse().ok()?;
            if !net.contains(&src) {
                return None;
            }
            r.prefsrc = None;
        }
        Some(r)
    }
}

/// Whether a pattern of letters, `*` and `?` fits, as fnmatch(3) has it, but for sets.
fn fits(pattern: &[u8], text: &[u8]) -> bool {
    // Where to go on when it does not fit behind the last `*`: one letter more is the star's.
    let (mut p, mut t, mut again) = (0, 0, None);
    loop {
        match (pattern.get(p), text.get(t)) {
            (Some(b'*'), _) => {
                again = Some((p + 1, t));
                p += 1;
            }
            (None, None) => return true,
            (Some(a), Some(b)) if a == b || *a == b'?' => (p, t) = (p + 1, t + 1),
            _ => match again {
                Some((after, from)) if from < text.len() => {
                    again = Some((after, from + 1));
                    (p, t) = (after, from + 1);
                }
                _ => return false,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_fit_as_fnmatch_has_it() {
        for (pattern, text, so) in [
            ("lan", "lan", true),
            ("lan", "lan1", false),
            ("l*", "lan", true),
            ("*", "", true),
            ("*n*", "lan", true),
            ("*a*x", "lan", false),
            ("l?n", "lan", true),
            ("l?n", "ln", false),
            ("lan:*", "lan", false),
            ("*an*an", "lanan", true),
            ("", "", true),
            ("", "x", false),
        ] {
            assert_eq!(fits(pattern.as_bytes(), text.as_bytes()), so, "{pattern} {text}");
        }
    }
}
