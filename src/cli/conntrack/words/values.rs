//! The values of conntrack's options, each an error that says what would be right, if it is not.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;

use crate::control::protocol::{EventName, Family, FlowForm, FlowKind, Translated};
use crate::packet::Status;
use crate::wire::proto;

pub(super) fn family(name: &str, text: &str) -> Result<Family, String> {
    match text {
        "ipv4" => Ok(Family::Inet),
        "ipv6" => Ok(Family::Inet6),
        _ => Err(format!("{name}: '{text}' is no family: write ipv4 or ipv6")),
    }
}

pub(super) fn protocol(name: &str, text: &str) -> Result<u8, String> {
    const NAMES: [(&str, u8); 9] = [
        ("icmp", proto::ICMP),
        ("tcp", proto::TCP),
        ("udp", proto::UDP),
        ("dccp", proto::DCCP),
        ("gre", proto::GRE),
        ("icmpv6", proto::ICMPV6),
        ("ipv6-icmp", proto::ICMPV6),
        ("sctp", proto::SCTP),
        ("udplite", proto::UDP_LITE),
    ];
    let named = NAMES.iter().find(|(n, _)| n.eq_ignore_ascii_case(text)).map(|(_, number)| *number);
    let number = named.or_else(|| text.parse().ok());
    number.ok_or_else(|| {
        format!("{name}: '{text}' is no protocol: write tcp, udp, icmp, icmpv6, sctp, gre or a number")
    })
}

/// Adds to the form what the words say.
pub(super) fn output(name: &str, text: &str, form: &mut FlowForm) -> Result<(), String> {
    for word in text.split(',') {
        match word {
            "extended" => form.extended = true,
            "id" => form.id = true,
            "timestamp" => form.timestamp = true,
            "json" => form.kind = FlowKind::Json,
            "save" => form.kind = FlowKind::Save,
            "xml" => form.kind = FlowKind::Xml,
            "ktimestamp" => {
                return Err(format!("{name} {word} is not supported: flows here don't know when they began"));
            }
            "labels" => return Err(format!("{name} {word} is not supported: flows here have no labels")),
            "userspace" => return Err(format!("{name} {word} is not supported: it goes without saying")),
            _ => {
                return Err(format!(
                    "{name}: '{word}' is no form: there are extended, id, timestamp, json, save and xml"
                ));
            }
        }
    }
    Ok(())
}

pub(super) fn prefix(name: &str, text: &str) -> Result<IpNet, String> {
    let net = text.parse().ok().or_else(|| Some(text.parse::<IpAddr>().ok()?.into()));
    let net: IpNet = net.ok_or_else(|| format!("{name}: '{text}' is no address and no prefix"))?;
    Ok(net.trunc())
}

pub(super) fn port(name: &str, text: &str) -> Result<u16, String> {
    text.parse().map_err(|_| format!("{name}: '{text}' is no port: write a number from 0 to 65535"))
}

pub(super) fn mark(name: &str, text: &str) -> Result<(u32, u32), String> {
    let number = |t: &str| match t.strip_prefix("0x").or_else(|| t.strip_prefix("0X")) {
        Some(hex) => u32::from_str_radix(hex, 16).ok(),
        None => t.parse().ok(),
    };
    let both = match text.split_once('/') {
        Some((value, mask)) => number(value).zip(number(mask)),
        None => number(text).zip(Some(u32::MAX)),
    };
    both.ok_or_else(|| format!("{name}: '{text}' is no mark: write VALUE or VALUE/MASK"))
}

/// Bits that are to be set, and bits that are not to be.
pub(super) fn status(name: &str, text: &str) -> Result<(u32, u32), String> {
    const NAMES: [(&str, Status); 4] = [
        ("EXPECTED", Status::EXPECTED),
        ("SEEN_REPLY", Status::SEEN_REPLY),
        ("ASSURED", Status::ASSURED),
        ("FIXED_TIMEOUT", Status::FIXED_TIMEOUT),
    ];
    text.split(',').try_fold((0, 0), |(set, not), word| {
        if word.eq_ignore_ascii_case("UNREPLIED") {
            return Ok((set, not | Status::SEEN_REPLY.0));
        }
        let found = NAMES.iter().find(|(n, _)| n.eq_ignore_ascii_case(word));
        let known = || NAMES.map(|(n, _)| n).join(", ");
        let bit = found.ok_or_else(|| format!("{name}: '{word}' is none of {}, UNREPLIED", known()))?.1;
        Ok((set | bit.0, not))
    })
}

/// `ADDRESS`, `ADDRESS:PORT`, `[ADDRESS]:PORT`.
pub(super) fn translated(name: &str, value: Option<&str>) -> Result<Translated, String> {
    let Some(text) = value else { return Ok(Translated::default()) };
    let with_port = || text.parse::<SocketAddr>().ok().map(|s| (s.ip(), Some(s.port())));
    let read = text.parse::<IpAddr>().ok().map(|addr| (addr, None)).or_else(with_port);
    let (addr, port) = read.ok_or_else(|| format!("{name}: '{text}' is no address"))?;
    Ok(Translated { to: Some(addr), port })
}

/// The key of one end of GRE, decimal or hexadecimal.
pub(super) fn key(name: &str, text: &str) -> Result<u16, String> {
    let key = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(hex) => u16::from_str_radix(hex, 16).ok(),
        None => text.parse().ok(),
    };
    key.ok_or_else(|| format!("{name}: '{text}' is no key: write a number from 0 to 65535"))
}

/// An ICMP type or code.
pub(super) fn icmp(name: &str, text: &str) -> Result<u8, String> {
    text.parse()
        .map_err(|_| format!("{name}: '{text}' is neither type nor code: write a number from 0 to 255"))
}

/// There is one zone.
pub(super) fn zone(name: &str, text: &str) -> Result<(), String> {
    match text {
        "0" => Ok(()),
        _ => Err(format!("{name} {text} is not supported: all flows here are in zone 0")),
    }
}

/// `NEW`, `UPDATES`, `DESTROY`, `ALL`.
pub(super) fn events(name: &str, text: &str) -> Result<Vec<EventName>, String> {
    let one = |word: &str| match word.to_ascii_uppercase().as_str() {
        "NEW" => Ok(vec![EventName::New]),
        "UPDATES" => Ok(vec![EventName::Update]),
        "DESTROY" => Ok(vec![EventName::Destroy]),
        "ALL" => Ok(vec![EventName::New, EventName::Update, EventName::Destroy]),
        _ => Err(format!("{name}: '{word}' is no event: there are NEW, UPDATES, DESTROY and ALL")),
    };
    Ok(text.split(',').map(one).collect::<Result<Vec<_>, _>>()?.concat())
}

/// A buffer's size in bytes, as a number of events.
pub(super) fn bytes(name: &str, text: &str) -> Result<u32, String> {
    let bytes: u32 = text.parse().map_err(|_| format!("{name}: '{text}' is no number of bytes"))?;
    Ok((bytes / EVENT).max(1))
}

pub(super) fn seconds(name: &str, text: &str) -> Result<u32, String> {
    text.parse().map_err(|_| format!("{name}: '{text}' is no number of seconds"))
}

/// Bytes that an event takes, about.
const EVENT: u32 = 200;
