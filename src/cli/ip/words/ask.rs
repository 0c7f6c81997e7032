//! The words of `ip route get`, `ip neigh get` and `ip monitor`.

use std::net::{IpAddr, Ipv4Addr};

use super::super::misuse::{Misuse, REFUSED};
use super::values::{address_of, at_most, number, number_of, tos, with_length};
use super::{Words, cant_select, find, no_vrf};
use crate::control::protocol::{Family, Monitor, NeighborFilter, RouteGet, Watched};
use crate::wire::proto;

/// `ip route get`.
pub(super) fn get(words: &mut Words<'_>, family: Option<Family>) -> Result<RouteGet, Misuse> {
    let mut family = family;
    let mut get = RouteGet {
        to: IpAddr::from([0, 0, 0, 0]),
        from: None,
        iif: None,
        oif: None,
        mark: None,
        ipproto: None,
        sport: None,
        dport: None,
        uid: None,
        fibmatch: false,
    };
    let mut to = None;
    let begins = |word: &str, of: &str, least: usize| word.len() >= least && of.starts_with(word);
    while let Some(word) = words.next() {
        match word {
            "to" => to = Some(single(words.value(word)?, &mut family)?),
            "dev" => get.oif = Some(words.value(word)?.to_owned()),
            "uid" => get.uid = Some(number(words, word, "invalid UID")?),
            "ipproto" => get.ipproto = Some(protocol(words.value(word)?)?),
            "sport" => get.sport = Some(port(words, word)?),
            "dport" => get.dport = Some(port(words, word)?),
            "fibmatch" => get.fibmatch = true,
            // No route here asks for it.
            "tos" | "dsfield" => {
                tos(words.value(word)?)?;
            }
            _ if begins(word, "iif", 1) => get.iif = Some(words.value(word)?.to_owned()),
            _ if begins(word, "oif", 1) => get.oif = Some(words.value(word)?.to_owned()),
            _ if begins(word, "from", 2) => get.from = Some(single(words.value(word)?, &mut family)?),
            _ if begins(word, "mark", 1) => get.mark = Some(number(words, word, "invalid mark value")?),
            "vrf" => return Err(no_vrf(words.value(word)?, "Invalid VRF")),
            "notify" | "connected" | "as" => return Err(cant_select(word)),
            one => to = Some(single(one, &mut family)?),
        }
    }
    let text = "say where to: an address like 192.0.2.7";
    get.to = to.ok_or_else(|| Misuse::missing(1, "need at least a destination address", text))?;
    Ok(get)
}

/// A single address; iproute2 takes one with a prefix length too, and looks at the address only. It settles the family.
fn single(text: &str, family: &mut Option<Family>) -> Result<IpAddr, Misuse> {
    let addr = match text {
        "default" | "any" | "all" if *family == Some(Family::Inet6) => {
            Some(std::net::Ipv6Addr::UNSPECIFIED.into())
        }
        "default" | "any" | "all" => Some(Ipv4Addr::UNSPECIFIED.into()),
        _ => with_length(text).map(|(addr, _)| addr),
    };
    let of = |a: &IpAddr| family.is_none_or(|f| (f == Family::Inet) == a.is_ipv4());
    let addr = addr.filter(of).ok_or_else(|| Misuse::expected("prefix", *family, text))?;
    *family = Some(if addr.is_ipv4() { Family::Inet } else { Family::Inet6 });
    Ok(addr)
}

fn protocol(text: &str) -> Result<u8, Misuse> {
    const NAMES: [(&str, u8); 6] = [
        ("icmp", proto::ICMP),
        ("tcp", proto::TCP),
        ("udp", proto::UDP),
        ("icmpv6", proto::ICMPV6),
        ("ipv6-icmp", proto::ICMPV6),
        ("sctp", proto::SCTP),
    ];
    let named = NAMES.into_iter().find(|(name, _)| *name == text).map(|(_, n)| n);
    let number = || number_of(text, 255).and_then(|n| u8::try_from(n).ok());
    let text_of =
        || format!("'{text}' is no protocol: write tcp, udp, icmp, icmpv6, sctp or a number up to 255");
    named.or_else(number).ok_or_else(|| Misuse::value(text, "Invalid \"ipproto\" value", text_of()))
}

fn port(words: &mut Words<'_>, word: &str) -> Result<u16, Misuse> {
    let port = at_most(words, word, u16::MAX.into(), &format!("invalid {word}"))?;
    Ok(u16::try_from(port).unwrap_or(u16::MAX))
}

/// `ip neigh get`: one neighbor, which is asked for as a list of those with its address.
pub(super) fn neighbor(words: &mut Words<'_>, family: Option<Family>) -> Result<NeighborFilter, Misuse> {
    let (mut dev, mut to) = (None, None);
    while let Some(word) = words.next() {
        match word {
            "dev" => dev = Some(words.value(word)?.to_owned()),
            "proxy" => {
                words.value(word)?;
                let text = "there are no proxies for neighbors here";
                return Err(Misuse::new(REFUSED, "Error: Proxy neighbour entry not found.", text));
            }
            _ => {
                let text = if word == "to" { words.value(word)? } else { word };
                if to.is_some() {
                    return Err(Misuse::garbage("to", text));
                }
                let of = |a: &IpAddr| family.is_none_or(|f| (f == Family::Inet) == a.is_ipv4());
                let addr = address_of(text).filter(of);
                to = Some(addr.ok_or_else(|| Misuse::expected("address", family, text))?);
            }
        }
    }
    match (to, dev) {
        (Some(to), dev @ Some(_)) => {
            Ok(NeighborFilter { family, dev, to: Some(to.into()), states: Vec::new() })
        }
        _ => {
            let text = "say which neighbor: ip neigh get ADDRESS dev NAME";
            Err(Misuse::missing(1, "Device and address are required arguments.", text))
        }
    }
}

/// `ip monitor`: what is watched, and whether each line says what it is about.
pub(super) fn monitor(words: &mut Words<'_>, family: Option<Family>) -> Result<(Monitor, bool), Misuse> {
    let mut monitor = Monitor { family, ..Monitor::default() };
    let mut label = false;
    while let Some(word) = words.next() {
        match find(word, &WATCHED) {
            _ if word == "dev" => monitor.dev = Some(words.value(word)?.to_owned()),
            Some((_, Some(watched))) => monitor.objects.push(watched),
            Some(("all", None)) => label = true,
            Some(("label", None)) => label = true,
            Some((name, None)) => return Err(cant_select(name)),
            None => {
                let text = format!("'{word}' can't be watched: write link, address, route, neigh or all");
                let said = format!("Argument \"{word}\" is unknown, try \"ip monitor help\".");
                return Err(Misuse::new(255, said, text));
            }
        }
    }
    Ok((monitor, label))
}

/// In the order iproute2 looks them up (`ipmonitor.c`).
const WATCHED: [(&str, Option<Watched>); 15] = [
    ("label", None),
    ("link", Some(Watched::Link)),
    ("address", Some(Watched::Address)),
    ("route", Some(Watched::Route)),
    ("mroute", None),
    ("prefix", None),
    ("neighbor", Some(Watched::Neigh)),
    ("neighbour", Some(Watched::Neigh)),
    ("netconf", None),
    ("rule", None),
    ("nsid", None),
    ("nexthop", None),
    ("stats", None),
    ("file", None),
    ("all", None),
];
