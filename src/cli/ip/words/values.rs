//! The values of iproute2's words: numbers, prefixes, scopes, tables, each with what it says of one that is none.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::Words;
use crate::base::Mac;
use crate::cli::ip::misuse::{Misuse, REFUSED};
use crate::control::protocol::{Family, Table};
use crate::fib::Protocol;

/// A number as strtoul(3) reads it with base 0: `1400`, `0x578`, `02570`.
pub(super) fn number_of(text: &str, most: u32) -> Option<u32> {
    let text = text.trim_start_matches(|c: char| c.is_ascii_whitespace() || c == '\x0b');
    let text = text.strip_prefix('+').unwrap_or(text);
    // The standard library takes a sign, too.
    let digits = |of: &str, base| {
        of.starts_with(|c: char| c.is_digit(base)).then(|| u64::from_str_radix(of, base).ok()).flatten()
    };
    let hex = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"));
    let n = match (hex, text.strip_prefix('0')) {
        (Some(hex), _) => digits(hex, 16),
        (None, Some("")) => Some(0),
        (None, Some(octal)) => digits(octal, 8),
        (None, None) => digits(text, 10),
    };
    n.and_then(|n| u32::try_from(n).ok()).filter(|n| *n <= most)
}

/// The number behind a word; `said` is what iproute2 calls it.
pub(super) fn number(words: &mut Words<'_>, word: &str, said: &str) -> Result<u32, Misuse> {
    at_most(words, word, u32::MAX, said)
}

/// Likewise, within bounds.
pub(super) fn at_most(words: &mut Words<'_>, word: &str, most: u32, said: &str) -> Result<u32, Misuse> {
    let text = words.value(word)?;
    let text_of = || format!("'{text}' is no number for '{word}': write one from 0 to {most}");
    number_of(text, most).ok_or_else(|| Misuse::value(text, said, text_of()))
}

/// The MTU of a link, which iproute2 reads with a sign; what is less than nothing is nothing to the kernel.
pub(super) fn link_mtu(words: &mut Words<'_>, word: &str) -> Result<u32, Misuse> {
    let text = words.value(word)?;
    let most = i32::MAX.unsigned_abs();
    let less = || text.trim_start().strip_prefix('-').and_then(|text| number_of(text, most + 1)).map(|_| 0);
    let text_of = || format!("'{text}' is no MTU: write a number of bytes, like 1500");
    let mtu = number_of(text, most).or_else(less);
    mtu.ok_or_else(|| Misuse::value(text, "Invalid \"mtu\" value", text_of()))
}

/// A prefix, which settles the family if nothing else has.
pub(super) fn prefix(text: &str, family: &mut Option<Family>) -> Result<IpNet, Misuse> {
    let bad = || Misuse::expected("prefix", *family, text);
    let net: IpNet = match text {
        "default" | "any" | "all" if *family == Some(Family::Inet6) => Ipv6Net::default().into(),
        "default" | "any" | "all" => Ipv4Net::default().into(),
        _ => {
            let (addr, len) = with_length(text).ok_or_else(bad)?;
            IpNet::new(addr, len.unwrap_or(longest(addr))).map_err(|_| bad())?
        }
    };
    match *family {
        Some(f) if f != Family::of(&net) => Err(bad()),
        _ => {
            *family = Some(Family::of(&net));
            Ok(net.trunc())
        }
    }
}

/// An address with the length of its prefix, if that is there; of IPv4 ones as a mask, too.
pub(super) fn with_length(text: &str) -> Option<(IpAddr, Option<u8>)> {
    let Some((addr, len)) = text.split_once('/') else { return Some((address_of(text)?, None)) };
    let addr = address_of(addr)?;
    let mask = || {
        let mask = u32::from(len.parse::<Ipv4Addr>().ok()?);
        let ones = mask.leading_ones();
        (addr.is_ipv4() && ones == mask.count_ones()).then_some(ones)
    };
    let most = u32::from(longest(addr));
    let len = number_of(len, most).or_else(mask)?;
    Some((addr, u8::try_from(len).ok()))
}

fn longest(addr: IpAddr) -> u8 {
    if addr.is_ipv4() { 32 } else { 128 }
}

/// An address of the family, if that is settled.
pub(super) fn address(text: &str, family: Option<Family>) -> Result<IpAddr, Misuse> {
    let of = |a: &IpAddr| family.is_none_or(|f| (f == Family::Inet) == a.is_ipv4());
    address_of(text).filter(of).ok_or_else(|| Misuse::expected("address", family, text))
}

/// An address; of IPv4 ones the last bytes may be left out if they are zero, as in `10/8`.
pub(super) fn address_of(text: &str) -> Option<IpAddr> {
    if let Ok(addr) = text.parse() {
        return Some(addr);
    }
    let missing = 3usize.checked_sub(text.matches('.').count())?;
    (text.bytes().all(|b| b.is_ascii_digit() || b == b'.'))
        .then(|| format!("{text}{}", ".0".repeat(missing)).parse().ok())
        .flatten()
}

/// The address behind `via`, which may say its family first.
pub(super) fn gateway(words: &mut Words<'_>, family: Option<Family>) -> Result<(IpAddr, bool), Misuse> {
    let mut text = words.value("via")?;
    let (mut of, mut other) = (family, false);
    if let "inet" | "inet6" = text {
        of = Some(if text == "inet" { Family::Inet } else { Family::Inet6 });
        other = family.is_some_and(|f| Some(f) != of);
        text = words.value("via")?;
    }
    Ok((address(text, of)?, other))
}

/// A table that can be shown.
pub(super) enum Shown {
    Table(Table),
    /// What was learnt of destinations, which the kernel keeps no more either.
    Cache,
}

/// The table behind `table`.
pub(super) fn table(text: &str, family: Option<Family>) -> Result<Shown, Misuse> {
    Ok(Shown::Table(match text {
        "main" => Table::Main,
        "local" => Table::Local,
        "all" | "unspec" => Table::All,
        "cache" => return Ok(Shown::Cache),
        _ => match table_number(text) {
            Some(254) => Table::Main,
            Some(255) => Table::Local,
            Some(0) => Table::All,
            Some(_) => {
                let of = if family == Some(Family::Inet6) { "ipv6" } else { "ipv4" };
                let said = format!("Error: {of}: FIB table does not exist.\nDump terminated");
                return Err(Misuse::new(REFUSED, said, no_table(text)));
            }
            None => return Err(Misuse::value(text, "table id value is invalid", no_table(text))),
        },
    }))
}

/// A table's number (`rt_tables`).
pub(super) fn table_number(text: &str) -> Option<u32> {
    match text {
        "unspec" => Some(0),
        "default" => Some(253),
        "main" => Some(254),
        "local" => Some(255),
        _ => number_of(text, u32::MAX),
    }
}

pub(super) fn no_table(text: &str) -> String {
    format!("there is no table '{text}': the tables are main, local and all")
}

/// A scope by its name (`rt_scopes`), or the number of one that has none.
pub(super) fn scope(text: &str, said: &str) -> Result<String, Misuse> {
    const NAMES: [(&str, u32); 5] =
        [("global", 0), ("nowhere", 255), ("host", 254), ("link", 253), ("site", 200)];
    let number = number_of(text, 255);
    let named = NAMES.iter().find(|(name, n)| *name == text || Some(*n) == number);
    match (named, number) {
        (Some((name, _)), _) => Ok((*name).to_owned()),
        (None, Some(n)) => Ok(n.to_string()),
        (None, None) => {
            let text_of = format!("there is no scope '{text}': the scopes are host, link and global");
            Err(Misuse::value(text, said, text_of))
        }
    }
}

/// The scope that is asked for; none with `all`.
pub(super) fn scope_asked(words: &mut Words<'_>) -> Result<Option<String>, Misuse> {
    match words.value("scope")? {
        "all" => Ok(None),
        text => scope(text, "invalid \"scope\"").map(Some),
    }
}

/// Types of routes, in the order iproute2 looks them up, and whether they may be cut short (`rtnl_rtntype_a2n`).
const TYPES: [(&str, bool); 12] = [
    ("local", false),
    ("nat", false),
    ("broadcast", true),
    ("brd", false),
    ("anycast", true),
    ("multicast", true),
    ("prohibit", true),
    ("unreachable", true),
    ("blackhole", true),
    ("xresolve", true),
    ("unicast", true),
    ("throw", true),
];

/// A type of routes.
pub(super) fn kind(text: &str) -> Option<&'static str> {
    // Words for all addresses there are.
    if matches!(text, "any" | "all") || text.is_empty() {
        return None;
    }
    let found = TYPES.iter().find(|(name, short)| *name == text || *short && name.starts_with(text));
    found.map(|(name, _)| if *name == "brd" { "broadcast" } else { *name })
}

/// A protocol, by its name; none with `all`.
pub(super) fn protocol(text: &str, said: &str) -> Result<Option<String>, Misuse> {
    if text == "all" {
        return Ok(None);
    }
    let named = Protocol::named(text);
    let number = || number_of(text, 255).and_then(|n| u8::try_from(n).ok()).map(Protocol::from_number);
    let text_of = || format!("'{text}' is no protocol: write kernel, static, boot, … or a number up to 255");
    let known = named.or_else(number).map(|p| Some(p.to_string()));
    known.ok_or_else(|| Misuse::value(text, said, text_of()))
}

/// States of neighbors and their bits (`NUD_*`, linux/neighbour.h). `none` has no bit.
pub(super) const STATES: [(&str, u32); 8] = [
    ("incomplete", 0x01),
    ("reachable", 0x02),
    ("stale", 0x04),
    ("delay", 0x08),
    ("probe", 0x10),
    ("failed", 0x20),
    ("noarp", 0x40),
    ("permanent", 0x80),
];

/// States of neighbors, by name or by bits (`nud_state_a2n`).
pub(super) fn states(text: &str) -> Result<Vec<&'static str>, Misuse> {
    let bits = match STATES.iter().find(|(name, _)| *name == text) {
        Some((_, bit)) => Some(*bit),
        None if text == "none" => Some(0),
        None => number_of(text, 0xff),
    };
    let names = STATES.map(|(name, _)| name).join(", ");
    let text_of = || format!("there is no state '{text}': the states are {names}");
    let bits = bits.ok_or_else(|| Misuse::value(text, "nud state is bad", text_of()))?;
    Ok(STATES.iter().filter(|(_, bit)| bits & bit != 0).map(|(name, _)| *name).collect())
}

/// The codepoint of differentiated services, in hexadecimal or by name (`rtnl_dsfield_a2n`).
pub(super) fn tos(text: &str) -> Result<u8, Misuse> {
    let class = |letters: &str| text.strip_prefix(letters)?.parse::<u8>().ok();
    let named = match text {
        "default" => Some(0),
        "EF" => Some(0xb8),
        // RFC 2597 §6: AFxy; RFC 2474 §4.2.2: CSx.
        _ => match (class("AF"), class("CS")) {
            (Some(n), _) if (1..=4).contains(&(n / 10)) && (1..=3).contains(&(n % 10)) => {
                Some((n / 10) << 5 | (n % 10) << 3)
            }
            (_, Some(n @ 0..=7)) => Some(n << 5),
            _ => None,
        },
    };
    let hex = || u8::from_str_radix(text.trim_start_matches("0x"), 16).ok();
    let text_of = || format!("'{text}' is no type of service: write two hexadecimal digits, like 10");
    named.or_else(hex).ok_or_else(|| Misuse::value(text, "TOS value is invalid", text_of()))
}

/// The name of a link that may be there (`check_altifname`).
pub(super) fn name<'a>(word: &str, name: &'a str) -> Result<&'a str, Misuse> {
    match name.is_empty() || name.contains(|c: char| c == '/' || c.is_whitespace()) {
        true => new_name(word, name),
        false => Ok(name),
    }
}

/// The name of a link that is to be (`check_ifname`).
pub(super) fn new_name<'a>(word: &str, name: &'a str) -> Result<&'a str, Misuse> {
    let fits = !name.is_empty() && name.len() < 16 && !name.contains(|c: char| c == '/' || c.is_whitespace());
    let text = || format!("'{name}' is no name for a link: write up to 15 letters, no slash and no blank");
    match fits {
        true => Ok(name),
        false => Err(Misuse::value(name, &format!("\"{word}\" not a valid ifname"), text())),
    }
}

/// A link-layer address (`ll_addr_a2n`).
pub(super) fn mac(text: &str) -> Result<Mac, Misuse> {
    let bytes = text.split(':').count();
    let hex = |b: &str| b.len() <= 2 && u8::from_str_radix(b, 16).is_ok();
    let text_of = format!("'{text}' is no MAC: write one like 02:00:00:00:01:01");
    match text.parse() {
        Ok(mac) => Ok(mac),
        Err(_) if bytes != 6 && text.contains(':') && text.split(':').all(hex) => {
            let said = format!("Invalid address length {bytes} - must be 6 bytes");
            Err(Misuse::new(1, said, text_of))
        }
        Err(_) => Err(Misuse::new(1, format!("\"{text}\" is invalid lladdr."), text_of)),
    }
}
