//! The values of conntrack's options, each an error that says what would be right, if it is not.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;

use crate::control::protocol::{EventName, Family, FlowForm, FlowKind, MOST_WAITING, Translated};
use crate::packet::Status;
use crate::wire::proto;

pub(super) fn family(name: &str, text: &str) -> Result<Family, String> {
    match text {
        "ipv4" => Ok(Family::Inet),
        "ipv6" => Ok(Family::Inet6),
        _ => Err(format!("`{text}' unsupported protocol: {name} takes ipv4 or ipv6")),
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
        format!("`{text}' unsupported protocol: {name} takes tcp, udp, icmp, icmpv6, sctp, gre or a number up to 255")
    })
}

/// The first of the words that `text` begins, as conntrack looks them up.
fn begun<T: Copy>(text: &str, words: &[(&'static str, T)]) -> Option<T> {
    let begins = |start: &str| !text.is_empty() && start.eq_ignore_ascii_case(text);
    let fits = |word: &str| word.get(..text.len()).is_some_and(begins);
    words.iter().find(|(word, _)| fits(word)).map(|(_, is)| *is)
}

/// Adds to the form what the words say.
pub(super) fn output(name: &str, text: &str, form: &mut FlowForm) -> Result<(), String> {
    #[derive(Clone, Copy)]
    enum Is {
        Kind(FlowKind),
        Extended,
        Timestamp,
        Id,
        /// Who did it: told of every event that somebody did.
        Userspace,
        No(&'static str),
    }
    const WORDS: [(&str, Is); 9] = [
        ("xml", Is::Kind(FlowKind::Xml)),
        ("extended", Is::Extended),
        ("timestamp", Is::Timestamp),
        ("id", Is::Id),
        ("ktimestamp", Is::No("flows here don't know when they began")),
        ("labels", Is::No("flows here have no labels")),
        ("userspace", Is::Userspace),
        ("save", Is::Kind(FlowKind::Save)),
        ("json", Is::Kind(FlowKind::Json)),
    ];
    for word in text.split(',') {
        match begun(word, &WORDS) {
            // One that is a whole list, or two in one.
            Some(Is::Kind(kind)) if form.kind != FlowKind::Text && form.kind != kind => {
                return Err(format!(
                    "cannot combine {word} output with any other output type: {name} takes one of xml, save and json"
                ));
            }
            Some(Is::Kind(kind)) => form.kind = kind,
            Some(Is::Extended) => form.extended = true,
            Some(Is::Timestamp) => form.timestamp = true,
            Some(Is::Id) => form.id = true,
            Some(Is::Userspace) => {}
            Some(Is::No(why)) => return Err(format!("{name} {word} is not supported: {why}")),
            None => {
                return Err(format!(
                    "Bad parameter `{word}': {name} takes extended, id, timestamp, userspace, json, save and xml"
                ));
            }
        }
    }
    Ok(())
}

/// A state of TCP or SCTP.
pub(super) fn state(proto: Option<u8>, text: &str) -> Result<String, String> {
    const TCP: [&str; 10] = [
        "NONE",
        "SYN_SENT",
        "SYN_RECV",
        "ESTABLISHED",
        "FIN_WAIT",
        "CLOSE_WAIT",
        "LAST_ACK",
        "TIME_WAIT",
        "CLOSE",
        "SYN_SENT2",
    ];
    const SCTP: [&str; 9] = [
        "NONE",
        "CLOSED",
        "COOKIE_WAIT",
        "COOKIE_ECHOED",
        "ESTABLISHED",
        "SHUTDOWN_SENT",
        "SHUTDOWN_RECD",
        "SHUTDOWN_ACK_SENT",
        "HEARTBEAT_SENT",
    ];
    let (name, known): (_, &[&str]) = match proto {
        Some(proto::TCP) => ("TCP", &TCP),
        Some(proto::SCTP) => ("SCTP", &SCTP),
        _ => {
            return Err(
                "unknown option `--state': it needs a protocol that has states, so add -p tcp".to_owned()
            );
        }
    };
    // What conntrack still calls the state of both having opened at once by.
    let wanted = if text == "LISTEN" { "SYN_SENT2" } else { text };
    let found = known.iter().find(|state| **state == wanted).map(|state| (*state).to_owned());
    found.ok_or_else(|| format!("unknown {name} state `{text}': write one of {}", known.join(", ")))
}

pub(super) fn prefix(name: &str, text: &str) -> Result<IpNet, String> {
    let net = text.parse().ok().or_else(|| Some(text.parse::<IpAddr>().ok()?.into()));
    let net: IpNet = net.ok_or_else(|| {
        let addr = text.split_once('/').map_or(text, |(addr, _)| addr);
        match addr.parse::<IpAddr>() {
            Ok(_) => format!("Invalid netmask: {name} takes a prefix like 10.1.0.0/24, not '{text}'"),
            Err(_) => format!("Invalid IP address `{addr}': {name} takes an address or a prefix"),
        }
    })?;
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
    // Nothing here is handed to hardware: no flow has the last two.
    const WORDS: [(&str, (u32, u32)); 7] = [
        ("ASSURED", (Status::ASSURED.0, 0)),
        ("SEEN_REPLY", (Status::SEEN_REPLY.0, 0)),
        ("UNREPLIED", (0, Status::SEEN_REPLY.0)),
        ("FIXED_TIMEOUT", (Status::FIXED_TIMEOUT.0, 0)),
        ("EXPECTED", (Status::EXPECTED.0, 0)),
        ("OFFLOAD", (OFFLOADED, 0)),
        ("HW_OFFLOAD", (OFFLOADED, 0)),
    ];
    text.split(',').try_fold((0, 0), |(set, not), word| {
        let nat = match word {
            "SRC_NAT" => "; for these there is --src-nat",
            "DST_NAT" => "; for these there is --dst-nat",
            _ => "",
        };
        let known = || WORDS.map(|(n, _)| n).join(", ");
        let bad = || format!("Bad parameter `{word}': {name} takes {}{nat}", known());
        let (more, less) = begun(word, &WORDS).ok_or_else(bad)?;
        Ok((set | more, not | less))
    })
}

/// `IPS_OFFLOAD`, which no flow here has (linux/netfilter/nf_conntrack_common.h).
const OFFLOADED: u32 = 1 << 14;

/// `ADDRESS`, `ADDRESS:PORT`, `[ADDRESS]:PORT`.
pub(super) fn translated(name: &str, value: Option<&str>) -> Result<Translated, String> {
    let Some(text) = value else { return Ok(Translated::default()) };
    let with_port = || text.parse::<SocketAddr>().ok().map(|s| (s.ip(), Some(s.port())));
    let read = text.parse::<IpAddr>().ok().map(|addr| (addr, None)).or_else(with_port);
    let (addr, port) =
        read.ok_or_else(|| format!("Invalid IP address `{text}': {name} takes ADDRESS or ADDRESS:PORT"))?;
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
    const ALL: [EventName; 3] = [EventName::New, EventName::Update, EventName::Destroy];
    const WORDS: [(&str, &[EventName]); 4] = [
        ("ALL", &ALL),
        ("NEW", &[EventName::New]),
        ("UPDATES", &[EventName::Update]),
        ("DESTROY", &[EventName::Destroy]),
    ];
    let one = |word: &str| {
        begun(word, &WORDS)
            .ok_or_else(|| format!("Bad parameter `{word}': {name} takes NEW, UPDATES, DESTROY and ALL"))
    };
    Ok(text.split(',').map(one).collect::<Result<Vec<_>, _>>()?.concat())
}

/// A buffer's size in bytes, as a number of events, of which there may be only so many.
pub(super) fn bytes(name: &str, text: &str) -> Result<u32, String> {
    let bytes: u32 = text.parse().map_err(|_| format!("{name}: '{text}' is no number of bytes"))?;
    Ok((bytes / EVENT).clamp(1, MOST_WAITING))
}

pub(super) fn seconds(name: &str, text: &str) -> Result<u32, String> {
    text.parse().map_err(|_| format!("{name}: '{text}' is no number of seconds"))
}

/// Bytes that an event takes, about.
pub(in crate::cli::conntrack) const EVENT: u32 = 200;
