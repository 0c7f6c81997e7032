//! The words of `ip route add`, `replace` and the like, brought into the order of a line of a route file.

use std::net::IpAddr;

use super::super::super::misuse::{Misuse, REFUSED};
use super::super::values::{
    address, gateway, kind as kind_of, no_table, number, prefix, protocol, scope, table_number,
};
use super::super::{Words, no_vrf};
use super::{Verb, no_word};
use crate::config::{Change, RouteChange, RouteOp};
use crate::control::protocol::Family;
use crate::fib;

/// `ip route …`, apart from `flush`.
pub(in super::super) fn route(
    verb: Verb,
    words: &mut Words<'_>,
    family: Option<Family>,
) -> Result<Change, Misuse> {
    let action = match verb {
        Verb::Add => RouteOp::Add,
        Verb::Append => RouteOp::Append,
        Verb::Replace => RouteOp::Replace,
        Verb::Change => RouteOp::Change,
        _ => RouteOp::Delete,
    };
    let mut line = Line { family, ..Line::default() };
    line.read(words)?;
    let Some(to) = line.to else {
        let text = "give a destination: a prefix like 198.51.100.0/24, an address, or default";
        return Err(Misuse { said: None, text: text.to_owned(), code: 255 });
    };
    let unicast = line.kind.is_none_or(|kind| kind == "unicast");
    if verb != Verb::Delete {
        if unicast && !line.hop && line.hops.is_empty() {
            let text = format!("the route to {to} has no way out: give `via` or `dev`");
            return Err(Misuse::new(REFUSED, "RTNETLINK answers: No such device", text));
        }
        let v4 = !to.contains(':') && line.family != Some(Family::Inet6);
        if !unicast && v4 && (line.hop || !line.hops.is_empty()) {
            let said = "Error: Gateway, device and multipath can not be specified for this route type.";
            let text = format!(
                "a route of type {} goes nowhere: leave out via, dev and nexthop",
                line.kind.unwrap_or_default()
            );
            return Err(Misuse::new(REFUSED, said, text));
        }
        line.own.fits(line.scope.as_deref())?;
        line.hops.iter().try_for_each(|hop| hop.fits(None))?;
    }
    let kind = line.kind.map(str::to_owned);
    let own = line.own.words();
    let hops = line.hops.iter().flat_map(|hop| std::iter::once("nexthop".to_owned()).chain(hop.words()));
    let all: Vec<String> = kind.into_iter().chain([to]).chain(own).chain(line.rest).chain(hops).collect();
    let route = all.join(" ");
    // Words are joined here and parted again there.
    if route.contains(['#', '\\', '\n']) || all.iter().any(|word| word.contains(char::is_whitespace)) {
        return Err(format!("'{}' is no route", route.escape_debug()).into());
    }
    Ok(Change::Route(RouteChange::One { action, route }))
}

/// What is said of a route.
#[derive(Default)]
struct Line<'a> {
    /// The family as far as it is settled.
    family: Option<Family>,
    kind: Option<&'static str>,
    to: Option<String>,
    scope: Option<String>,
    /// What is said of no next hop.
    rest: Vec<String>,
    /// Sizes, and whether they are locked.
    mtu: Option<(bool, u32)>,
    advmss: Option<(bool, u32)>,
    /// The way where there is but one, and whether anything is said of it.
    own: Hop<'a>,
    hop: bool,
    hops: Vec<Hop<'a>>,
}

/// One way.
#[derive(Default)]
struct Hop<'a> {
    /// The gateway, and whether it is of another family than the route.
    via: Option<(IpAddr, bool)>,
    dev: Option<&'a str>,
    weight: Option<u32>,
    flags: Vec<&'static str>,
}

impl<'a> Line<'a> {
    fn read(&mut self, words: &mut Words<'a>) -> Result<(), Misuse> {
        while let Some(word) = words.next() {
            match word {
                "to" => self.destination(words.value(word)?, words)?,
                "via" => {
                    let (via, other) = gateway(words, self.family)?;
                    self.own.via = Some((via, other));
                    if !other {
                        self.family = Some(if via.is_ipv4() { Family::Inet } else { Family::Inet6 });
                    }
                    self.hop = true;
                }
                "dev" | "oif" => {
                    self.own.dev = Some(dev(words, word)?);
                    self.hop = true;
                }
                "nexthop" => {
                    self.nexthops(words)?;
                    break;
                }
                "weight" => {
                    let text = "'weight' stands behind the nexthop it is meant for";
                    return Err(Misuse { text: text.to_owned(), ..Misuse::garbage("to", word) });
                }
                _ if flag(word).is_some() => self.own.flags.extend(flag(word)),
                "src" => {
                    let src = address(words.value(word)?, self.family)?;
                    self.rest.extend(["src".to_owned(), src.to_string()]);
                }
                "scope" => self.scope = Some(scope(words.value(word)?, "invalid \"scope\" value")?),
                "pref" => {
                    let text = words.value(word)?;
                    if !matches!(text, "low" | "medium" | "high" | "0" | "1" | "3") {
                        let text_of = "the preference of routes here is medium: leave it out";
                        return Err(Misuse::value(text, "\"pref\" value is invalid", text_of));
                    }
                    self.rest.extend(["pref".to_owned(), text.replace('0', "medium")]);
                }
                _ if matches!(word, "metric" | "preference")
                    || word.len() > 2 && "priority".starts_with(word) =>
                {
                    let metric = number(words, word, "\"metric\" value is invalid")?;
                    self.rest.extend(["metric".to_owned(), metric.to_string()]);
                }
                "mtu" => size(&mut self.mtu, words, word, "\"mtu\" value is invalid")?,
                "advmss" => size(&mut self.advmss, words, word, "\"mss\" value is invalid")?,
                _ if word.len() > 3 && "protocol".starts_with(word) => {
                    let text = words.value(word)?;
                    let proto = protocol(text, "\"protocol\" value is invalid")?;
                    self.rest.extend(["proto".to_owned(), proto.unwrap_or_else(|| text.to_owned())]);
                }
                _ if word.len() > 1 && "table".starts_with(word) => {
                    let text = words.value(word)?;
                    match table_number(text) {
                        Some(254) => {}
                        Some(_) => {
                            return Err(format!(
                                "'table {text}' is not supported here: routes are added to main"
                            )
                            .into());
                        }
                        None => {
                            return Err(Misuse::value(text, "\"table\" value is invalid", no_table(text)));
                        }
                    }
                }
                "vrf" => return Err(no_vrf(words.value(word)?, "Invalid VRF")),
                // Words of a command, and of no line that is written down.
                "as" | "from" | "error" => return Err(no_word(word)),
                _ if fib::UNSUPPORTED.contains(&word) => return Err(no_word(word)),
                _ => self.destination(word, words)?,
            }
        }
        self.settle()
    }

    /// `[TYPE] PREFIX`.
    fn destination(&mut self, word: &str, words: &mut Words<'a>) -> Result<(), Misuse> {
        let mut text = word;
        if self.to.is_none()
            && let Some(kind) = kind_of(word)
        {
            if !["unicast", "unreachable", "prohibit", "blackhole"].contains(&kind) {
                return Err(format!(
                    "routes of type '{kind}' are not supported here: write unicast, unreachable, prohibit or blackhole"
                )
                .into());
            }
            self.kind = Some(kind);
            text = words.value(word)?;
        }
        if self.to.is_some() {
            return Err(Misuse::garbage("to", text));
        }
        let any = matches!(text, "default" | "any" | "all");
        let mut of = self.family;
        let net = prefix(text, &mut of)?;
        self.to = Some(match any {
            // The family is that of the gateway.
            true if self.family.is_none() => "default".to_owned(),
            true => net.to_string(),
            // The kernel has no IPv4 route whose destination goes beyond its prefix: it is told so.
            false if net.addr().is_ipv4() => plain(text).unwrap_or_else(|| net.to_string()),
            false if net.prefix_len() == net.max_prefix_len() => net.addr().to_string(),
            false => net.to_string(),
        });
        if !any {
            self.family = of;
        }
        Ok(())
    }

    /// What stands behind the first `nexthop`.
    fn nexthops(&mut self, words: &mut Words<'a>) -> Result<(), Misuse> {
        loop {
            let mut hop = Hop::default();
            let mut said = 0;
            let more = loop {
                let Some(word) = words.next() else { break false };
                said += 1;
                match word {
                    "via" => hop.via = Some(gateway(words, self.family)?),
                    "dev" | "oif" => hop.dev = Some(dev(words, word)?),
                    "weight" => {
                        let text = words.value(word)?;
                        let weight = super::super::values::number_of(text, 256).filter(|n| *n > 0);
                        let text_of = || format!("'{text}' is no weight: write a number from 1 to 256");
                        hop.weight = Some(
                            weight.ok_or_else(|| Misuse::value(text, "\"weight\" is invalid", text_of()))?,
                        );
                    }
                    "nexthop" => break true,
                    "encap" | "realm" | "realms" | "as" | "pervasive" | "offload" => {
                        return Err(no_word(word));
                    }
                    _ => match flag(word) {
                        Some(flag) => hop.flags.push(flag),
                        None => {
                            let said = format!(
                                "Error: \"nexthop\" or end of line is expected instead of \"{word}\""
                            );
                            let text = "what is said of the whole route stands before the first nexthop";
                            return Err(Misuse::new(255, said, text));
                        }
                    },
                }
            };
            if said == 0 {
                let text = "say where the next hop is: nexthop via ADDRESS";
                return Err(Misuse::missing(255, "Error: unexpected end of line after \"nexthop\"", text));
            }
            if let (Some((via, false)), None) = (hop.via, self.family) {
                self.family = Some(if via.is_ipv4() { Family::Inet } else { Family::Inet6 });
            }
            self.hops.push(hop);
            if !more {
                return Ok(());
            }
        }
    }

    /// What the kernel would refuse of ways said twice.
    fn settle(&mut self) -> Result<(), Misuse> {
        if !self.hops.is_empty() && self.hop {
            let said = match self.own.via {
                Some(_) => "Error: Nexthop gateway does not match RTA_GATEWAY or RTA_VIA.",
                None => "Error: Nexthop device index does not match RTA_OIF.",
            };
            let text = "via and dev stand behind the nexthop they are meant for, or there is no nexthop";
            return Err(Misuse::new(REFUSED, said, text));
        }
        let mut ways = self.hops.iter().chain(self.hop.then_some(&self.own));
        if self.family == Some(Family::Inet6) && ways.any(|hop| hop.via.is_some_and(|(_, other)| other)) {
            let said = "Error: IPv6 does not support RTA_VIA attribute.";
            return Err(Misuse::new(REFUSED, said, "an IPv6 route needs an IPv6 gateway"));
        }
        for (word, size) in [("mtu", self.mtu), ("advmss", self.advmss)] {
            if let Some((lock, bytes)) = size {
                self.rest.push(word.to_owned());
                self.rest.extend(lock.then(|| "lock".to_owned()));
                self.rest.push(bytes.to_string());
            }
        }
        if let Some(scope) = &self.scope {
            self.rest.extend(["scope".to_owned(), scope.clone()]);
        }
        Ok(())
    }
}

impl Hop<'_> {
    /// What the kernel would refuse of a way, `scope` being the route's.
    fn fits(&self, scope: Option<&str>) -> Result<(), Misuse> {
        if self.flags.contains(&"onlink") && self.via.is_none() {
            let said = "Error: Invalid flags for nexthop - PERVASIVE and ONLINK can not be set.";
            return Err(Misuse::new(
                REFUSED,
                said,
                "onlink is said of a gateway: give `via`, or leave it out",
            ));
        }
        if let (Some((via, _)), None) = (self.via, self.dev) {
            let refused = |said, text: &str| Err(Misuse::new(REFUSED, said, text));
            match via {
                IpAddr::V6(v6) if v6.is_unicast_link_local() => {
                    let said = "Error: Egress device not specified.";
                    return refused(said, "a link-local gateway is there on every link: give `dev`");
                }
                _ if self.flags.contains(&"onlink") => {
                    let said = "Error: Nexthop device required for onlink.";
                    return refused(said, "say on which link the gateway is: give `dev`");
                }
                _ => {}
            }
        }
        match (scope, self.via) {
            (Some("link"), Some(_)) => {
                let text = "a route with a gateway has scope global: leave scope out";
                Err(Misuse::new(REFUSED, "Error: Nexthop has invalid gateway.", text))
            }
            (Some("global"), None) if self.dev.is_some() => {
                Err("a route without a gateway has scope link here: leave scope out".into())
            }
            _ => Ok(()),
        }
    }

    fn words(&self) -> impl Iterator<Item = String> {
        let via = self.via.map(|(via, other)| match (other, via.is_ipv4()) {
            (false, _) => format!("via {via}"),
            (true, true) => format!("via inet {via}"),
            (true, false) => format!("via inet6 {via}"),
        });
        let dev = self.dev.map(|dev| format!("dev {dev}"));
        let weight = self.weight.map(|n| format!("weight {n}"));
        let flags = self.flags.iter().map(|flag| (*flag).to_owned());
        let words: Vec<String> = via.into_iter().chain(dev).chain(flags).chain(weight).collect();
        let parts: Vec<String> = words.iter().flat_map(|w| w.split(' ').map(str::to_owned)).collect();
        parts.into_iter()
    }
}

/// `[lock] N`; what was locked stays so.
fn size(
    of: &mut Option<(bool, u32)>,
    words: &mut Words<'_>,
    word: &str,
    said: &'static str,
) -> Result<(), Misuse> {
    let mut lock = of.is_some_and(|(lock, _)| lock);
    let mut text = words.value(word)?;
    if text == "lock" {
        lock = true;
        text = words.value(word)?;
    }
    let text_of = || format!("'{text}' is no number of bytes for '{word}'");
    let bytes = super::super::values::number_of(text, u32::MAX);
    *of = Some((lock, bytes.ok_or_else(|| Misuse::value(text, said, text_of()))?));
    Ok(())
}

/// A link's name; its absence is no word.
fn dev<'a>(words: &mut Words<'a>, word: &str) -> Result<&'a str, Misuse> {
    match words.value(word)? {
        "" => {
            Err(Misuse::new(1, "Cannot find device \"\"", "'dev' has nothing behind it: give a link's name"))
        }
        name => Ok(name),
    }
}

/// What can be said of a way besides, or is printed behind it.
fn flag(word: &str) -> Option<&'static str> {
    ["onlink", "linkdown", "dead", "offload", "trap"].into_iter().find(|flag| *flag == word)
}

/// An IPv4 prefix as it was said, bits behind it included.
fn plain(text: &str) -> Option<String> {
    let (addr, len) = super::super::values::with_length(text)?;
    Some(len.map_or_else(|| addr.to_string(), |len| format!("{addr}/{len}")))
}
