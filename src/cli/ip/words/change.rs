//! The words of `add`, `set`, `replace`, `change`, `append`, `del` and `flush`, each object's as iproute2 has them.
//!
//! What is said that is so anyway is taken (`arp on`, `scope global`); what can't be done here is an error that names it.

mod route;

use std::net::IpAddr;

use super::super::misuse::{Misuse, REFUSED};
use super::values::{self, address, mac, new_name, number_of, scope, states, with_length};
use super::{Words, no_vrf, unsupported};
use crate::config::{AddrChange, Change, LinkChange, LinkSettings, NeighChange};
use crate::control::protocol::Family;
pub(super) use route::route;

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

/// What iproute2 says where no link is named.
const NO_DEV: &str = "Not enough information: \"dev\" argument is required.";

/// `ip link …`.
pub(super) fn link(verb: Verb, words: &mut Words<'_>) -> Result<Change, Misuse> {
    match verb {
        Verb::Add => add_link(words),
        Verb::Set | Verb::Change => set_link(words),
        Verb::Delete => {
            let (mut name, mut kind) = (None, None);
            while let Some(word) = words.next() {
                match word {
                    "type" => kind = Some(words.value(word)?),
                    "group" => return Err(no_word(word)),
                    _ => named(&mut name, word, words)?,
                }
            }
            // The type is a hint to the kernel, and nothing here asks for it.
            let _ = kind;
            let text = "say which link to delete: ip link del NAME";
            let name = name.ok_or_else(|| Misuse::missing(255, NO_DEV, text))?.to_owned();
            Ok(Change::Link(LinkChange::Delete { name }))
        }
        Verb::Replace => Err(unsupported("link replace")),
        Verb::Append | Verb::Flush => Err(unsupported("link flush")),
    }
}

/// Takes the name of a link, with `dev` or `name` before it or without.
fn named<'a>(name: &mut Option<&'a str>, word: &'a str, words: &mut Words<'a>) -> Result<(), Misuse> {
    let text = if matches!(word, "dev" | "name") { words.value(word)? } else { word };
    match name.replace(text) {
        None => values::name("dev", text).map(drop),
        Some(_) => Err(Misuse::garbage("dev", text)),
    }
}

fn add_link(words: &mut Words<'_>) -> Result<Change, Misuse> {
    let (mut name, mut kind) = (None, None);
    // As in the kernel: a link begins its life down unless it is said otherwise.
    let mut settings = LinkSettings { up: Some(false), ..LinkSettings::default() };
    while let Some(word) = words.next() {
        match word {
            "type" => kind = Some(words.value(word)?),
            "device" => settings.device = Some(words.value(word)?.to_owned()),
            _ if setting(word, words, &mut settings)? => {}
            _ if NO_LINK.contains(&word) => return Err(no_word(word)),
            // What stands behind the type is of the type.
            other if kind.is_some() && !matches!(other, "dev" | "name") => return Err(no_word(other)),
            _ => {
                named(&mut name, word, words)?;
                new_name(if word == "name" { "name" } else { "dev" }, name.unwrap_or_default())?;
            }
        }
    }
    let text = "say what the link is to be: type packet, tap or tun";
    let said = "Not enough information: \"type\" argument is required";
    let kind = kind.ok_or_else(|| Misuse::missing(1, said, text))?.to_owned();
    if !["packet", "tap", "tun"].contains(&kind.as_str()) {
        let text = format!("there are no links of type '{kind}': the types are packet, tap and tun");
        return Err(Misuse::new(REFUSED, "Error: Unknown device type.", text));
    }
    // The kernel would make a name up.
    let name = name.ok_or("give the new link's name: ip link add NAME type packet|tap|tun")?.to_owned();
    Ok(Change::Link(LinkChange::Add { name, kind, settings }))
}

fn set_link(words: &mut Words<'_>) -> Result<Change, Misuse> {
    let (mut name, mut settings) = (None, LinkSettings::default());
    while let Some(word) = words.next() {
        match word {
            _ if setting(word, words, &mut settings)? => {}
            "name" | "type" | "group" => return Err(no_word(word)),
            _ if NO_LINK.contains(&word) => return Err(no_word(word)),
            _ => named(&mut name, word, words)?,
        }
    }
    // All that are in one.
    if name.is_none() && words.all.contains(&"group") {
        return Err(no_word("group"));
    }
    let text = "say which link to set: ip link set dev NAME up";
    let name = name.ok_or_else(|| Misuse::missing(255, NO_DEV, text))?.to_owned();
    Ok(Change::Link(LinkChange::Set { name, settings }))
}

/// Takes a setting of a link in; `false` if the word is none.
fn setting(word: &str, words: &mut Words<'_>, s: &mut LinkSettings) -> Result<bool, Misuse> {
    match word {
        "up" => s.up = Some(true),
        "down" => s.up = Some(false),
        "mtu" => s.mtu = Some(values::link_mtu(words, word)?),
        _ if word.len() > 1 && "address".starts_with(word) => s.mac = Some(mac(words.value(word)?)?),
        // What is so anyway.
        "arp" | "multicast" => switch(word, words.value(word)?, "on")?,
        "promisc" | "allmulticast" | "trailers" | "dynamic" | "protodown" => {
            switch(word, words.value(word)?, "off")?;
        }
        "group" | "mode" => is(word, words.value(word)?, "default")?,
        "nomaster" => {}
        _ => return Ok(false),
    }
    Ok(true)
}

/// A switch that stands so anyway.
fn switch(word: &str, said: &str, so: &str) -> Result<(), Misuse> {
    if !matches!(said, "on" | "off") {
        let kernel = format!("Error: argument of \"{word}\" must be \"on\" or \"off\", not \"{said}\"");
        return Err(Misuse::new(1, kernel, format!("'{word}' is always {so} here: leave it out")));
    }
    is(word, said, so)
}

/// Words of `ip link` that mean something this router can't do.
const NO_LINK: [&str; 35] = [
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
    "prefix",
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
pub(super) fn addr(verb: Verb, words: &mut Words<'_>, family: Option<Family>) -> Result<Change, Misuse> {
    let (mut dev, mut given, mut label, mut brd, mut wanted) = (None, None, None, None, None);
    while let Some(word) = words.next() {
        match word {
            "dev" => dev = Some(words.value(word)?),
            "label" => label = Some(words.value(word)?),
            "scope" => wanted = Some(scope(words.value(word)?, "invalid scope value.")?),
            _ if word == "brd" || word.len() > 1 && "broadcast".starts_with(word) => {
                brd = Some(words.value(word)?);
            }
            "valid_lft" | "preferred_lft" => {
                let text = words.value(word)?;
                if text != "forever" && number_of(text, u32::MAX).is_none() {
                    let text_of = format!("addresses here have no end: leave {word} out");
                    return Err(Misuse::value(text, &format!("{word} value"), text_of));
                }
                is(word, text, "forever")?;
            }
            _ if NO_ADDRESS.contains(&word) => return Err(no_word(word)),
            _ => {
                let text = if word == "local" { words.value(word)? } else { word };
                if given.is_some() {
                    return Err(Misuse::garbage("local", text));
                }
                let of = |a: &IpAddr| family.is_none_or(|f| (f == Family::Inet) == a.is_ipv4());
                let read = with_length(text).filter(|(addr, _)| of(addr));
                given = Some(read.ok_or_else(|| Misuse::expected("prefix", family, text))?);
            }
        }
    }
    let dev = dev.ok_or_else(|| Misuse::missing(1, NO_DEV, "say of which link: add dev NAME"))?.to_owned();
    let text = "give an address, like 10.1.0.1/24 or fd01::1/64";
    let said = "RTNETLINK answers: Operation not supported";
    let (addr, prefix_len) = given.ok_or_else(|| Misuse::missing(REFUSED, said, text))?;
    if let Some(label) = label
        && label != dev
    {
        return Err(format!(
            "'label' is not supported here but for the link's own name, {dev}: leave it out"
        )
        .into());
    }
    if let Some(wanted) = wanted {
        let own = match addr {
            a if a.is_loopback() => "host",
            IpAddr::V6(v6) if v6.is_unicast_link_local() => "link",
            _ => "global",
        };
        if own != wanted {
            return Err(
                format!("the scope of {addr} is {own}, and follows from the address: leave it out").into()
            );
        }
    }
    let longest = if addr.is_ipv4() { 32 } else { 128 };
    let len = prefix_len.unwrap_or(longest);
    if let Some(brd) = brd {
        if addr.is_ipv6() {
            let said = "Broadcast can be set only for IPv4 addresses";
            return Err(Misuse::new(1, said, "IPv6 has no broadcast: leave it out"));
        }
        let own = crate::link::Address { addr, prefix_len: len }.broadcast();
        if brd != "+" && brd.parse().ok() != own {
            let own = own.map_or("none".to_owned(), |b| b.to_string());
            return Err(format!("the broadcast address of {addr}/{len} is {own}: leave '{brd}' out").into());
        }
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

/// `ip neigh …`, apart from `flush`.
pub(super) fn neigh(verb: Verb, words: &mut Words<'_>, family: Option<Family>) -> Result<Change, Misuse> {
    let (mut dev, mut to, mut lladdr, mut state) = (None, None, None, None);
    while let Some(word) = words.next() {
        match word {
            "dev" => dev = Some(words.value(word)?),
            "nud" | "state" => {
                let text = words.value(word)?;
                state = Some(match states(text)?.as_slice() {
                    [one] if *one != "noarp" => (*one).to_owned(),
                    _ => return Err(format!("'nud {text}' is not supported here: {SETTABLE}").into()),
                });
            }
            _ if word.len() > 1 && "lladdr".starts_with(word) => {
                lladdr = match words.value(word)? {
                    "none" => None,
                    text => Some(lladdr_of(text)?),
                }
            }
            "vrf" => return Err(no_vrf(words.value(word)?, "Not a valid VRF name")),
            _ if NO_NEIGHBOR.contains(&word) => return Err(no_word(word)),
            _ => {
                let text = if word == "to" { words.value(word)? } else { word };
                if to.is_some() {
                    return Err(Misuse::garbage("to", text));
                }
                to = Some(address(text, family)?);
            }
        }
    }
    let (Some(ip), Some(dev)) = (to, dev) else {
        let text = "say which neighbor: ADDRESS dev NAME";
        return Err(Misuse::missing(255, "Device and destination are required arguments.", text));
    };
    let dev = dev.to_owned();
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

/// The MAC of a neighbor. One that is too short or too long is the kernel's to refuse.
fn lladdr_of(text: &str) -> Result<String, Misuse> {
    match mac(text) {
        Ok(mac) => Ok(mac.to_string()),
        Err(Misuse { said: Some(said), text, .. }) if said.starts_with("Invalid address length") => {
            Err(Misuse::new(REFUSED, "Error: Invalid link address.", text))
        }
        Err(e) => Err(e),
    }
}

const SETTABLE: &str = "write one of permanent, reachable, stale, delay, probe, failed";

/// Words of `ip neigh` that mean something this router can't do.
const NO_NEIGHBOR: [&str; 7] = ["proxy", "router", "use", "managed", "extern_learn", "protocol", "proto"];

/// That a word says what is so anyway.
fn is(word: &str, said: &str, so: &str) -> Result<(), Misuse> {
    match said == so {
        true => Ok(()),
        false => Err(format!("'{word} {said}' is not supported here: it is always {so}").into()),
    }
}

fn no_word(word: &str) -> Misuse {
    format!("'{word}' is not supported here: see `sekisho ip --help` for what can be said").into()
}
