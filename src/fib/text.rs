//! Routes as text: the words of `ip route`, one route a line.
//!
//! ```text
//! [unicast|unreachable|prohibit|blackhole] PREFIX|ADDRESS|default
//!     [via [inet6] ADDRESS] [dev LINK] [onlink] [weight N]
//!     [metric N] [mtu [lock] N] [advmss [lock] N] [src ADDRESS] [proto NAME|N] [scope link|global] [table main]
//!     [nexthop via ADDRESS dev LINK [onlink] [weight N]]...
//! ```
//!
//! What `ip route show` prints is read back, several `nexthop` lines included. What iproute2 knows
//! and this router can't do is an error that names it. Knows nothing of files or tables.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::metrics::Metrics;
use super::route::{Family, NextHop, Protocol, Route, RouteError, RouteKind};
use crate::base::LinkId;
use crate::link::Links;

mod load;
mod pattern;

pub use load::{LineError, LoadError, load};
pub use pattern::{Pattern, parse_pattern};

/// What is wrong with a line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TextError {
    /// A line that ends too early.
    #[error("'{0}' has nothing behind it: give {1}")]
    Missing(&'static str, &'static str),
    /// A type without a prefix.
    #[error("there is no destination: give a prefix like 198.51.100.0/24, or default")]
    NoPrefix,
    /// Not a destination.
    #[error(
        "'{0}' is no destination: write a prefix like 198.51.100.0/24 or 2001:db8::/32, an address, or default"
    )]
    Prefix(String),
    /// Not an address.
    #[error("'{1}' is no address: '{0}' takes one like {2}")]
    Address(&'static str, String, &'static str),
    /// Not a number, or out of range.
    #[error("'{1}' is no {0}: write a number from {2}")]
    Number(&'static str, String, &'static str),
    /// No such link.
    #[error("there is no link '{0}': the links are {1}")]
    Link(String, String),
    /// No such protocol.
    #[error("'{0}' is no protocol: write static, boot, another name iproute2 knows, or a number up to 255")]
    Protocol(String),
    /// A scope that is not what the route would have anyway.
    #[error("scope '{0}' is not supported: leave it out, or write link or global")]
    Scope(String),
    /// A word of iproute2's that means something this router can't do.
    #[error("'{0}' is not supported: leave it out")]
    Unsupported(String),
    /// A type of route that can't be configured.
    #[error("routes of type '{0}' can't be configured: they follow from the addresses of the links")]
    Made(String),
    /// A word nobody knows.
    #[error("'{0}' is no word of a route: via, dev, metric, src, proto, onlink and nexthop are")]
    Unknown(String),
    /// A word that stands there twice.
    #[error("'{0}' stands there twice: leave one")]
    Twice(&'static str),
    /// A next hop for what goes nowhere.
    #[error("a route of type {0} goes nowhere: leave out via, dev, weight and nexthop")]
    GoesNowhere(&'static str),
    /// `via` beside `nexthop`.
    #[error(
        "via, dev, weight and onlink stand behind the nexthop they are meant for, or there is no nexthop"
    )]
    Mixed,
    /// What the words come to is no route.
    #[error(transparent)]
    Route(#[from] RouteError),
    /// Bytes that are no text.
    #[error("the line is not text: is this the right file?")]
    NotText,
    /// A line without end.
    #[error("the line is longer than {max} bytes: is this the right file?", max = load::MAX_LINE)]
    TooLong,
    /// The rest can't be read.
    #[error("reading failed: {0}")]
    Io(String),
}

/// Reads one route; `None` where the line is empty or a comment.
pub fn parse_line(line: &str, links: &Links) -> Result<Option<Route>, TextError> {
    Parser::new(links).line(line)
}

/// Reads routes. Remembers the link last named, as files name the same one over and over.
struct Parser<'a> {
    links: &'a Links,
    last: Option<(&'a str, LinkId)>,
}

/// What a line has said so far.
#[derive(Default)]
struct Said {
    kind: Option<RouteKind>,
    hop: Gateway,
    hops: Vec<Gateway>,
    metric: Option<u32>,
    src: Option<IpAddr>,
    protocol: Option<Protocol>,
    mtu: Option<Size>,
    advmss: Option<Size>,
    /// A word that only IPv6 routes have was there.
    pref: bool,
}

/// What was said of a size in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Size {
    lock: bool,
    bytes: u32,
}

/// What was said of one next hop.
#[derive(Default, Clone, Copy)]
struct Gateway {
    via: Option<IpAddr>,
    /// `inet6` stood before the address: the route itself is IPv4.
    inet6: bool,
    link: Option<LinkId>,
    weight: Option<u16>,
    onlink: bool,
}

impl Gateway {
    fn is_empty(&self) -> bool {
        self.via.is_none() && self.link.is_none() && self.weight.is_none() && !self.onlink
    }

    fn next_hop(self) -> NextHop {
        NextHop { via: self.via, link: self.link, weight: self.weight.unwrap_or(1), onlink: self.onlink }
    }
}

impl<'a> Parser<'a> {
    fn new(links: &'a Links) -> Self {
        Parser { links, last: None }
    }

    fn line(&mut self, line: &str) -> Result<Option<Route>, TextError> {
        let Some((prefix, said)) = self.words(line)? else { return Ok(None) };
        self.route(prefix, said).map(Some)
    }

    /// The destination, `None` for the default of a family that is not known yet, and all that is said besides.
    fn words(&mut self, line: &str) -> Result<Option<(Option<IpNet>, Said)>, TextError> {
        let text = line.split_once('#').map_or(line, |(before, _)| before);
        // `ip -oneline` writes a backslash for each line end.
        let mut words = text.split_ascii_whitespace().filter(|w| *w != "\\");
        let Some(mut word) = words.next() else { return Ok(None) };
        let mut said = Said { kind: kind(word)?, ..Said::default() };
        if said.kind.is_some() {
            word = words.next().ok_or(TextError::NoPrefix)?;
        }
        if word == "to" {
            word = words.next().ok_or(TextError::NoPrefix)?;
        }
        let prefix = prefix(word)?;
        while let Some(word) = words.next() {
            self.option(word, &mut words, &mut said)?;
        }
        Ok(Some((prefix, said)))
    }

    /// Reads a word and what belongs to it.
    fn option<'w>(
        &mut self,
        word: &str,
        words: &mut impl Iterator<Item = &'w str>,
        said: &mut Said,
    ) -> Result<(), TextError> {
        let mut next = |word, wanted| words.next().ok_or(TextError::Missing(word, wanted));
        let hop = said.hops.last_mut().unwrap_or(&mut said.hop);
        match word {
            "via" => {
                let mut addr = next("via", "an address")?;
                if matches!(addr, "inet" | "inet6") {
                    hop.inet6 = addr == "inet6";
                    addr = next("via", "an address")?;
                }
                set(&mut hop.via, "via", address("via", addr)?)?;
            }
            "dev" | "oif" => {
                let link = self.link(next("dev", "a link's name")?)?;
                set(&mut hop.link, "dev", link)?;
            }
            "weight" => {
                let n = next("weight", "a number from 1 to 256")?;
                let weight = n.parse().ok().filter(|w| (1..=256).contains(w));
                let weight = weight.ok_or_else(|| TextError::Number("weight", n.into(), "1 to 256"))?;
                set(&mut hop.weight, "weight", weight)?;
            }
            "onlink" => hop.onlink = true,
            "nexthop" => said.hops.push(Gateway::default()),
            "metric" | "preference" | "priority" => {
                let n = next("metric", "a number")?;
                let metric =
                    number(n).ok_or_else(|| TextError::Number("metric", n.into(), "0 to 4294967295"))?;
                set(&mut said.metric, "metric", metric)?;
            }
            "mtu" => set(&mut said.mtu, "mtu", size("mtu", words)?)?,
            "advmss" => set(&mut said.advmss, "advmss", size("advmss", words)?)?,
            "src" => set(&mut said.src, "src", address("src", next("src", "an address")?)?)?,
            "proto" | "protocol" => {
                let name = next("proto", "a name or a number")?;
                let protocol = Protocol::named(name).ok_or_else(|| TextError::Protocol(name.into()))?;
                set(&mut said.protocol, "proto", protocol)?;
            }
            // Scope follows from whether there is a gateway.
            "scope" => match next("scope", "link or global")? {
                "link" | "global" | "universe" | "0" | "253" => {}
                other => return Err(TextError::Scope(other.into())),
            },
            "table" => match next("table", "main")? {
                "main" | "254" => {}
                other => return Err(TextError::Unsupported(format!("table {other}"))),
            },
            "pref" => match next("pref", "medium")? {
                "medium" => said.pref = true,
                other => return Err(TextError::Unsupported(format!("pref {other}"))),
            },
            // What the kernel says of the state of a route, and no part of it.
            "linkdown" | "dead" | "offload" | "trap" => {}
            "error" => drop(next("error", "a number")?),
            known if UNSUPPORTED.contains(&known) => return Err(TextError::Unsupported(known.into())),
            other => return Err(TextError::Unknown(other.into())),
        }
        Ok(())
    }

    fn route(&self, prefix: Option<IpNet>, said: Said) -> Result<Route, TextError> {
        let metrics = said.metrics();
        let prefix = prefix.unwrap_or_else(|| default_of(said.family()));
        let family = Family::of(prefix);
        let kind = match said.kind {
            Some(kind) if kind.hops_nowhere() => {
                // The kernel lists IPv6 rejects with the loopback.
                let lo = family == Family::V6 && said.hop.link == Some(LinkId::LO);
                let hop = if lo { Gateway { link: None, ..said.hop } } else { said.hop };
                if !hop.is_empty() || !said.hops.is_empty() {
                    return Err(TextError::GoesNowhere(kind.word().unwrap_or_default()));
                }
                kind
            }
            _ if said.hops.is_empty() && said.hop.is_empty() => RouteKind::Unicast(vec![]),
            _ if said.hops.is_empty() => RouteKind::Unicast(vec![said.hop.next_hop()]),
            _ if !said.hop.is_empty() => return Err(TextError::Mixed),
            _ => RouteKind::Unicast(said.hops.iter().map(|h| h.next_hop()).collect()),
        };
        let metric = match (said.metric, family) {
            // Linux takes an IPv6 metric of 0 for none at all.
            (None | Some(0), Family::V6) => family.default_metric(),
            (metric, _) => metric.unwrap_or(family.default_metric()),
        };
        let protocol = said.protocol.unwrap_or_default();
        let route = Route { prefix, kind, metric, protocol, src: said.src, metrics };
        route.validate()?;
        Ok(route)
    }

    fn link(&mut self, name: &str) -> Result<LinkId, TextError> {
        match self.last {
            Some((last, id)) if last == name => Ok(id),
            _ => match self.links.named(name) {
                Some(link) => {
                    self.last = Some((&link.name, link.id));
                    Ok(link.id)
                }
                None => Err(TextError::Link(name.into(), self.links.names())),
            },
        }
    }
}

impl Said {
    /// The family that `default` stands for.
    fn family(&self) -> Family {
        let hops = self.hops.iter().chain([&self.hop]);
        let via = hops.filter(|h| !h.inet6).find_map(|h| h.via).or(self.src);
        let v6 = self.pref || via.is_some_and(|a| a.is_ipv6());
        if v6 { Family::V6 } else { Family::V4 }
    }
}

impl Said {
    fn metrics(&self) -> Metrics {
        Metrics {
            mtu: self.mtu.map_or(0, |mtu| Metrics::mtu_of(mtu.bytes)),
            advmss: self.advmss.map_or(0, |mss| Metrics::advmss_of(mss.bytes)),
            mtu_lock: self.mtu.is_some_and(|mtu| mtu.lock),
            advmss_lock: self.advmss.is_some_and(|mss| mss.lock),
        }
    }
}

impl RouteKind {
    fn hops_nowhere(&self) -> bool {
        matches!(self, RouteKind::Unreachable | RouteKind::Prohibit | RouteKind::Blackhole)
    }
}

/// Words of `ip route add` that change where or how packets go, and that this router can't follow.
pub const UNSUPPORTED: &[&str] = &[
    "congctl",
    "cwnd",
    "dsfield",
    "encap",
    "expires",
    "fastopen_no_cookie",
    "features",
    "hoplimit",
    "initcwnd",
    "initrwnd",
    "lock",
    "nhid",
    "pervasive",
    "quickack",
    "realm",
    "realms",
    "reordering",
    "rto_min",
    "rtt",
    "rttvar",
    "ssthresh",
    "tos",
    "ttl-propagate",
    "vrf",
    "window",
];

/// The type of a word; `None` if it is none, or none is needed.
fn kind(word: &str) -> Result<Option<RouteKind>, TextError> {
    Ok(Some(match word {
        "unicast" => RouteKind::Unicast(vec![]),
        "unreachable" => RouteKind::Unreachable,
        "prohibit" => RouteKind::Prohibit,
        "blackhole" => RouteKind::Blackhole,
        "local" | "broadcast" | "anycast" => return Err(TextError::Made(word.into())),
        "throw" | "multicast" | "nat" | "xresolve" => return Err(TextError::Unsupported(word.into())),
        _ => return Ok(None),
    }))
}

/// A destination; `None` for the default of a family that is not known yet.
fn prefix(word: &str) -> Result<Option<IpNet>, TextError> {
    if matches!(word, "default" | "any" | "all") {
        return Ok(None);
    }
    let bad = || TextError::Prefix(word.into());
    let (addr, len) = match word.split_once('/') {
        None => (word, None),
        Some((addr, len)) => {
            let digits = !len.is_empty() && len.len() <= 3 && len.bytes().all(|b| b.is_ascii_digit());
            (addr, Some(len.parse::<u8>().ok().filter(|_| digits).ok_or_else(bad)?))
        }
    };
    let addr = match IpAddr::from_str(addr) {
        Ok(addr) => addr,
        Err(_) => len.and_then(|_| short4(addr)).ok_or_else(bad)?.into(),
    };
    match len {
        None => Ok(Some(addr.into())),
        Some(len) => IpNet::new(addr, len).map(Some).map_err(|_| bad()),
    }
}

/// iproute2 lets trailing zeros of an IPv4 prefix be left out: `10.1/16`.
fn short4(text: &str) -> Option<Ipv4Addr> {
    let dots = text.bytes().filter(|b| *b == b'.').count();
    let rest = [".0.0.0", ".0.0", ".0"].get(dots)?;
    format!("{text}{rest}").parse().ok()
}

fn default_of(family: Family) -> IpNet {
    match family {
        Family::V4 => Ipv4Net::default().into(),
        Family::V6 => Ipv6Net::new_assert(Ipv6Addr::UNSPECIFIED, 0).into(),
    }
}

fn address(word: &'static str, text: &str) -> Result<IpAddr, TextError> {
    text.parse().map_err(|_| TextError::Address(word, text.into(), "10.2.0.2 or fd02::2"))
}

/// `[lock] N`.
fn size<'w>(word: &'static str, words: &mut impl Iterator<Item = &'w str>) -> Result<Size, TextError> {
    let mut next = || words.next().ok_or(TextError::Missing(word, "a number of bytes"));
    let mut text = next()?;
    let lock = text == "lock";
    if lock {
        text = next()?;
    }
    let bytes = number(text).ok_or_else(|| TextError::Number(word, text.into(), "0 to 4294967295"))?;
    Ok(Size { lock, bytes })
}

/// Decimal or, as iproute2 takes them too, hexadecimal.
fn number(text: &str) -> Option<u32> {
    match text.strip_prefix("0x") {
        Some(hex) => u32::from_str_radix(hex, 16).ok(),
        None => text.parse().ok(),
    }
}

fn set<T>(slot: &mut Option<T>, word: &'static str, value: T) -> Result<(), TextError> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(TextError::Twice(word)),
    }
}

#[cfg(test)]
mod tests;
