//! The words of `add`, `set`, `replace`, `change`, `append`, `del` and `flush`, each object's as iproute2 has them.
//!
//! What is said that is so anyway is taken (`arp on`, `scope global`); what can't be done here is an error that names it.

use std::net::IpAddr;

use super::{KEYWORDS, Words, address, cant_select, nud, prefix, too_much, unsupported};
use crate::base::Mac;
use crate::config::{AddrChange, Change, LinkChange, LinkSettings, NeighChange, RouteChange, RouteOp};
use crate::control::protocol::Family;
use crate::fib;

/// What of the commands it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verb {
    Add,
    Append,
    Replace,
    Change,
    Set,
    Delete,
    Flush,
}

/// `ip link …`.
pub(super) fn link(verb: Verb, words: &mut Words<'_>) -> Result<Change, String> {
    match verb {
        Verb::Add => add_link(words),
        Verb::Set | Verb::Change => set_link(words),
        Verb::Delete => {
            let (mut name, mut kind) = (None, None);
            while let Some(word) = words.next() {
                match word {
                    "dev" | "name" => name = Some(words.value(word)?),
                    "type" => kind = Some(words.value(word)?),
                    "group" => return Err(no_word(word)),
                    one if name.is_none() => name = Some(one),
                    other => return Err(too_much(other)),
                }
            }
            // The type is a hint to the kernel, and nothing here asks for it.
            let _ = kind;
            let name = name.ok_or("say which link to delete: ip link del NAME")?.to_owned();
            Ok(Change::Link(LinkChange::Delete { name }))
        }
        Verb::Replace => Err(unsupported("link replace")),
        Verb::Append | Verb::Flush => Err(unsupported("link flush")),
    }
}

fn add_link(words: &mut Words<'_>) -> Result<Change, String> {
    let (mut name, mut kind) = (None, None);
    // As in the kernel: a link begins its life down unless it is said otherwise.
    let mut settings = LinkSettings { up: Some(false), ..LinkSettings::default() };
    while let Some(word) = words.next() {
        match word {
            "name" | "dev" => name = Some(words.value(word)?),
            "type" => kind = Some(words.value(word)?),
            "device" => settings.device = Some(words.value(word)?.to_owned()),
            _ if setting(word, words, &mut settings)? => {}
            _ if NO_LINK.contains(&word) => return Err(no_word(word)),
            one if name.is_none() => name = Some(one),
            other => return Err(no_word(other)),
        }
    }
    let name = name.ok_or("give the new link's name: ip link add NAME type packet|tap|tun")?.to_owned();
    let kind = kind.ok_or("say what the link is to be: type packet, tap or tun")?.to_owned();
    if !["packet", "tap", "tun"].contains(&kind.as_str()) {
        return Err(format!("there are no links of type '{kind}': the types are packet, tap and tun"));
    }
    Ok(Change::Link(LinkChange::Add { name, kind, settings }))
}

fn set_link(words: &mut Words<'_>) -> Result<Change, String> {
    let (mut name, mut settings) = (None, LinkSettings::default());
    while let Some(word) = words.next() {
        match word {
            "dev" => name = Some(words.value(word)?),
            _ if setting(word, words, &mut settings)? => {}
            _ if NO_LINK.contains(&word) => return Err(no_word(word)),
            one if name.is_none() => name = Some(one),
            other => return Err(no_word(other)),
        }
    }
    let name = name.ok_or("say which link to set: ip link set dev NAME up")?.to_owned();
    Ok(Change::Link(LinkChange::Set { name, settings }))
}

/// Takes a setting of a link in; `false` if the word is none.
fn setting(word: &str, words: &mut Words<'_>, s: &mut LinkSettings) -> Result<bool, String> {
    match word {
        "up" => s.up = Some(true),
        "down" => s.up = Some(false),
        "mtu" => s.mtu = Some(number("mtu", words.value(word)?)?),
        _ if word.len() > 1 && "address".starts_with(word) => s.mac = Some(mac(words.value(word)?)?),
        // What is so anyway.
        "arp" | "multicast" => is(word, words.value(word)?, "on")?,
        "promisc" | "allmulticast" | "trailers" | "dynamic" | "protodown" => {
            is(word, words.value(word)?, "off")?;
        }
        "group" => is(word, words.value(word)?, "default")?,
        "mode" => is(word, words.value(word)?, "default")?,
        "nomaster" => {}
        _ => return Ok(false),
    }
    Ok(true)
}

/// Words of `ip link` that mean something this router can't do.
const NO_LINK: [&str; 34] = [
    "link",
    "index",
    "broadcast",
    "brd",
    "txqueuelen",
    "qlen",
    "txqlen",
    "xdp",
    "xdpgeneric",
    "xdpdrv",
    "xdpoffload",
    "netns",
    "carrier",
    "vf",
    "master",
    "vrf",
    "alias",
    "numtxqueues",
    "numrxqueues",
    "addrgenmode",
    "link-netns",
    "link-netnsid",
    "gso_max_size",
    "gso_max_segs",
    "gro_max_size",
    "state",
    "altname",
    "parentdev",
    "peer",
    "id",
    "user",
    "pi",
    "one_queue",
    "multi_queue",
];

/// `ip addr …`, apart from `flush`.
pub(super) fn addr(verb: Verb, words: &mut Words<'_>, family: Option<Family>) -> Result<Change, String> {
    let (mut dev, mut given, mut label, mut brd, mut scope) = (None, None, None, None, None);
    while let Some(word) = words.next() {
        match word {
            "dev" => dev = Some(words.value(word)?),
            "local" => given = Some(words.value(word)?),
            "label" => label = Some(words.value(word)?),
            "scope" => scope = Some(words.value(word)?),
            _ if word == "brd" || word.len() > 1 && "broadcast".starts_with(word) => {
                brd = Some(words.value(word)?);
            }
            "valid_lft" | "preferred_lft" => is(word, words.value(word)?, "forever")?,
            _ if NO_ADDRESS.contains(&word) => return Err(no_word(word)),
            one if given.is_none() => given = Some(one),
            other => return Err(too_much(other)),
        }
    }
    let text = given.ok_or("give an address, like 10.1.0.1/24 or fd01::1/64")?;
    let (addr, prefix_len) = with_length(text, family)?;
    let dev = dev.ok_or("not enough information: \"dev\" argument is required")?.to_owned();
    if let Some(label) = label
        && label != dev
    {
        return Err(format!(
            "'label' is not supported here but for the link's own name, {dev}: leave it out"
        ));
    }
    if let Some(scope) = scope {
        let own = match addr {
            a if a.is_loopback() => ["host", "254"],
            IpAddr::V6(v6) if v6.is_unicast_link_local() => ["link", "253"],
            _ => ["global", "0"],
        };
        if !own.contains(&scope) {
            return Err(format!(
                "the scope of {addr} is {}, and follows from the address: leave it out",
                own[0]
            ));
        }
    }
    let longest = if addr.is_ipv4() { 32 } else { 128 };
    let len = prefix_len.unwrap_or(longest);
    let own_brd = crate::link::Address { addr, prefix_len: len }.broadcast();
    if let Some(brd) = brd
        && brd != "+"
        && brd.parse().ok() != own_brd
    {
        let own = own_brd.map_or("none".to_owned(), |b| b.to_string());
        return Err(format!("the broadcast address of {addr}/{len} is {own}: leave '{brd}' out"));
    }
    Ok(Change::Addr(match verb {
        Verb::Delete => {
            // Without a length iproute2 takes an IPv4 address for any of that value.
            let prefix_len = prefix_len.or(addr.is_ipv6().then_some(128));
            AddrChange::Delete { dev, addr, prefix_len }
        }
        verb => AddrChange::Add { dev, addr, prefix_len: len, replace: verb != Verb::Add },
    }))
}

/// Words of `ip addr` that mean something this router can't do.
const NO_ADDRESS: [&str; 12] = [
    "peer",
    "remote",
    "anycast",
    "metric",
    "priority",
    "preference",
    "home",
    "mngtmpaddr",
    "nodad",
    "noprefixroute",
    "autojoin",
    "proto",
];

/// `ip route …`, apart from `flush`: the words brought into the order of a line of a route file.
pub(super) fn route(verb: Verb, words: &mut Words<'_>, family: Option<Family>) -> Result<Change, String> {
    let action = match verb {
        Verb::Add => RouteOp::Add,
        Verb::Append => RouteOp::Append,
        Verb::Replace => RouteOp::Replace,
        Verb::Change => RouteOp::Change,
        _ => RouteOp::Delete,
    };
    let (mut kind, mut to, mut hop) = (None, None, false);
    let mut rest: Vec<&str> = Vec::new();
    while let Some(word) = words.next() {
        match word {
            "to" => {
                let mut next = words.value(word)?;
                if TYPES.contains(&next) {
                    kind = Some(next);
                    next = words.value(next)?;
                }
                to = destination(to, next, family)?;
            }
            "via" => {
                hop = true;
                rest.push(word);
                let next = words.value(word)?;
                rest.push(next);
                if matches!(next, "inet" | "inet6") {
                    rest.push(words.value(word)?);
                }
            }
            "dev" | "oif" => {
                hop = true;
                rest.extend(["dev", words.value(word)?]);
            }
            "nexthop" => {
                hop = true;
                rest.push(word);
            }
            "onlink" | "linkdown" | "dead" | "offload" | "trap" => rest.push(word),
            "src" | "scope" | "weight" | "pref" => rest.extend([word, words.value(word)?]),
            "metric" | "preference" => rest.extend(["metric", words.value(word)?]),
            _ if word.len() > 2 && "priority".starts_with(word) => {
                rest.extend(["metric", words.value(word)?]);
            }
            _ if word.len() > 3 && "protocol".starts_with(word) => {
                rest.extend(["proto", words.value(word)?]);
            }
            _ if word.len() > 1 && "table".starts_with(word) => rest.extend(["table", words.value(word)?]),
            // Words of a command, and of no line that is written down.
            "as" | "from" | "error" => return Err(no_word(word)),
            _ if fib::UNSUPPORTED.contains(&word) => return Err(no_word(word)),
            _ if kind.is_none() && to.is_none() && TYPES.contains(&word) => kind = Some(word),
            _ if to.is_none() => to = destination(to, word, family)?,
            other => return Err(too_much(other)),
        }
    }
    let to = to.ok_or("give a destination: a prefix like 198.51.100.0/24, an address, or default")?;
    let unicast = kind.is_none_or(|kind| kind == "unicast");
    if verb != Verb::Delete && unicast && !hop {
        return Err(format!("the route to {to} has no way out: give `via` or `dev`"));
    }
    let words = kind.into_iter().chain([to.as_str()]).chain(rest);
    let route = words.collect::<Vec<_>>().join(" ");
    // Words are joined here and parted again there.
    if route.contains(['#', '\\', '\n']) {
        return Err(format!("'{}' is no route", route.escape_debug()));
    }
    Ok(Change::Route(RouteChange::One { action, route }))
}

/// A destination in words that say its family, where the options do.
fn destination(before: Option<String>, text: &str, family: Option<Family>) -> Result<Option<String>, String> {
    if before.is_some() {
        return Err(format!("there are two destinations: leave out '{text}'"));
    }
    let any = matches!(text, "default" | "any" | "all");
    if any && family.is_none() {
        return Ok(Some("default".to_owned()));
    }
    let plain = text.split_once('/').map_or(text, |(addr, _)| addr);
    let mut of = family;
    prefix(text, &mut of)?;
    match any {
        true => Ok(Some(if family == Some(Family::Inet6) { "::/0" } else { "0.0.0.0/0" }.to_owned())),
        // What iproute2 lets be left out of IPv4 prefixes.
        false => {
            let addr = address(plain).map_or_else(|| plain.to_owned(), |a| a.to_string());
            Ok(Some(text.split_once('/').map_or(addr.clone(), |(_, len)| format!("{addr}/{len}"))))
        }
    }
}

/// Types of routes that there are.
const TYPES: [&str; 11] = [
    "unicast",
    "unreachable",
    "prohibit",
    "blackhole",
    "local",
    "broadcast",
    "anycast",
    "throw",
    "multicast",
    "nat",
    "xresolve",
];

/// `ip neigh …`, apart from `flush`.
pub(super) fn neigh(verb: Verb, words: &mut Words<'_>, family: Option<Family>) -> Result<Change, String> {
    let (mut dev, mut to, mut lladdr, mut state) = (None, None, None, None);
    while let Some(word) = words.next() {
        match word {
            "dev" => dev = Some(words.value(word)?),
            "to" => to = Some(words.value(word)?),
            "nud" | "state" => state = Some(nud(words.value(word)?)?.to_ascii_lowercase()),
            _ if word.len() > 1 && "lladdr".starts_with(word) => {
                lladdr = match words.value(word)? {
                    "none" => None,
                    text => Some(mac(text)?.to_string()),
                }
            }
            _ if NO_NEIGHBOR.contains(&word) => return Err(no_word(word)),
            one if to.is_none() => to = Some(one),
            other => return Err(too_much(other)),
        }
    }
    let required = "device and destination are required arguments";
    let (to, dev) = (to.ok_or(required)?, dev.ok_or(required)?.to_owned());
    let ip: IpAddr = to.parse().map_err(|_| format!("'{to}' is no address of a neighbor"))?;
    if family.is_some_and(|f| (f == Family::Inet) != ip.is_ipv4()) {
        return Err(format!("'{to}' is not of the family that -4 or -6 asks for"));
    }
    Ok(Change::Neigh(match verb {
        Verb::Delete => NeighChange::Delete { ip, dev },
        verb => NeighChange::Set {
            ip,
            dev,
            mac: lladdr,
            state: state.unwrap_or_else(|| "permanent".to_owned()),
            create: verb != Verb::Change,
            replace: verb != Verb::Add,
        },
    }))
}

/// Words of `ip neigh` that mean something this router can't do.
const NO_NEIGHBOR: [&str; 7] = ["proxy", "router", "use", "managed", "extern_learn", "protocol", "vrf"];

/// An address with the length of its prefix, if that is there.
fn with_length(text: &str, family: Option<Family>) -> Result<(IpAddr, Option<u8>), String> {
    let bad = || format!("'{text}' is no address: write it like 10.1.0.1/24 or fd01::1/64");
    let (addr, len) = text.split_once('/').map_or((text, None), |(addr, len)| (addr, Some(len)));
    let addr: IpAddr = addr.parse().map_err(|_| bad())?;
    let longest = if addr.is_ipv4() { 32 } else { 128 };
    let len = len.map(|len| len.parse().ok().filter(|n| *n <= longest).ok_or_else(bad)).transpose()?;
    if family.is_some_and(|f| (f == Family::Inet) != addr.is_ipv4()) {
        return Err(format!("'{text}' is not of the family that -4 or -6 asks for"));
    }
    Ok((addr, len))
}

/// That a word says what is so anyway.
fn is(word: &str, said: &str, so: &str) -> Result<(), String> {
    match said == so {
        true => Ok(()),
        false => Err(format!("'{word} {said}' is not supported here: it is always {so}")),
    }
}

pub(super) fn number(word: &str, text: &str) -> Result<u32, String> {
    text.parse().map_err(|_| format!("'{text}' is no number for '{word}'"))
}

fn mac(text: &str) -> Result<Mac, String> {
    text.parse().map_err(|_| format!("\"{text}\" is invalid lladdr: write one like 02:00:00:00:01:01"))
}

fn no_word(word: &str) -> String {
    match KEYWORDS.contains(&word) {
        true => cant_select(word),
        false => format!("'{word}' is not supported here: see `sekisho ip --help` for what can be said"),
    }
}
