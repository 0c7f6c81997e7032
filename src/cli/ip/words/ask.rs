//! The words of `ip route get` and `ip monitor`.

use std::net::IpAddr;

use super::change::number;
use super::{Words, cant_select, find, too_much};
use crate::control::protocol::{Family, Monitor, RouteGet, Watched};

/// `ip route get`.
pub(super) fn get(words: &mut Words<'_>, family: Option<Family>) -> Result<RouteGet, String> {
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
            "to" => to = Some(address(words.value(word)?, family)?),
            "dev" => get.oif = Some(words.value(word)?.to_owned()),
            "uid" => get.uid = Some(number(word, words.value(word)?)?),
            "ipproto" => get.ipproto = Some(protocol(words.value(word)?)?),
            "sport" => get.sport = Some(port(word, words.value(word)?)?),
            "dport" => get.dport = Some(port(word, words.value(word)?)?),
            "fibmatch" => get.fibmatch = true,
            _ if begins(word, "iif", 1) => get.iif = Some(words.value(word)?.to_owned()),
            _ if begins(word, "oif", 1) => get.oif = Some(words.value(word)?.to_owned()),
            _ if begins(word, "from", 2) => get.from = Some(address(words.value(word)?, family)?),
            _ if begins(word, "mark", 1) => {
                let text = words.value(word)?;
                let hex = text.strip_prefix("0x").map(|hex| u32::from_str_radix(hex, 16).ok());
                let mark = hex.unwrap_or_else(|| text.parse().ok());
                get.mark = Some(mark.ok_or_else(|| format!("'{text}' is no mark: write a number"))?);
            }
            "tos" | "dsfield" | "vrf" | "notify" | "connected" | "as" => return Err(cant_select(word)),
            one if to.is_none() => to = Some(address(one, family)?),
            other => return Err(too_much(other)),
        }
    }
    get.to = to.ok_or("need at least a destination address")?;
    Ok(get)
}

/// A single address; iproute2 takes one with a prefix length too, and looks at the address only.
fn address(text: &str, family: Option<Family>) -> Result<IpAddr, String> {
    let plain = text.split_once('/').map_or(text, |(addr, _)| addr);
    let addr = super::address(plain).ok_or_else(|| format!("'{text}' is no address to look up"))?;
    match family {
        Some(f) if (f == Family::Inet) != addr.is_ipv4() => {
            Err(format!("'{text}' is not of the family that -4 or -6 asks for"))
        }
        _ => Ok(addr),
    }
}

fn protocol(text: &str) -> Result<u8, String> {
    const NAMES: [(&str, u8); 6] =
        [("icmp", 1), ("tcp", 6), ("udp", 17), ("icmpv6", 58), ("ipv6-icmp", 58), ("sctp", 132)];
    let named = NAMES.into_iter().find(|(name, _)| *name == text).map(|(_, n)| n);
    named.or_else(|| text.parse().ok()).ok_or_else(|| {
        format!("'{text}' is no protocol: write tcp, udp, icmp, icmpv6, sctp or a number up to 255")
    })
}

fn port(word: &str, text: &str) -> Result<u16, String> {
    text.parse().map_err(|_| format!("'{text}' is no port for '{word}': write 0 to 65535"))
}

/// `ip monitor`: what is watched, and whether each line says what it is about.
pub(super) fn monitor(words: &mut Words<'_>, family: Option<Family>) -> Result<(Monitor, bool), String> {
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
                return Err(format!("'{word}' can't be watched: write link, address, route, neigh or all"));
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
