//! When two routers did the same: what may differ is taken out, the rest is compared byte by byte.
//!
//! Taken out, and only from packets the router made itself: IPv4 identifications and IPv6 fragment
//! identifications (equal ones stay equal), the IPv4 header checksum (verified instead), IPv6 flow labels, and the
//! times in timestamp replies. What is forwarded is compared as it is.

use std::collections::HashMap;
use std::fmt::Write as _;

use sekisho::lab::probes::checksum;

use crate::frame;
use crate::twin::Port;

/// A frame without what may differ.
pub(crate) type Seen = (Port, Vec<u8>);

/// Takes out what may differ. The order is not kept: parked packets come when their neighbor answers.
pub(crate) fn normal(frames: &[Seen]) -> Vec<Seen> {
    let mut ids = HashMap::new();
    let mut all: Vec<Seen> = frames.iter().map(|(p, f)| (*p, without(f, &mut ids))).collect();
    all.sort();
    all
}

fn without(frame: &[u8], ids: &mut HashMap<Vec<u8>, u8>) -> Vec<u8> {
    let mut f = frame.to_vec();
    let mut ordinal = |id: &[u8]| {
        let next = ids.len() as u8 + 1;
        *ids.entry(id.to_vec()).or_insert(next)
    };
    let routers4 = Port::ALL.map(|p| p.router4().octets());
    let routers6 = Port::ALL.map(|p| [p.host6(0), p.router6(), p.link_local()].map(|a| a.octets()));
    match f.get(12..14).map(|t| u16::from_be_bytes([t[0], t[1]])) {
        Some(frame::IPV4) if f.len() >= 34 && routers4.iter().any(|a| f[26..30] == *a) => {
            let header = 14 + usize::from(f[14] & 15) * 4;
            let right = f.get(14..header).is_some_and(|h| checksum(h) == 0);
            let id = ordinal(&f[18..20]);
            f[18..20].copy_from_slice(&[0, id]);
            f[24..26].copy_from_slice(if right { b"ok" } else { b"!!" });
            if f[23] == frame::ICMP && f.get(header) == Some(&14) && f.len() >= header + 20 {
                let right = checksum(&f[header..]) == 0;
                f[header + 2..header + 4].copy_from_slice(if right { b"ok" } else { b"!!" });
                f[header + 12..header + 20].fill(0);
            }
        }
        Some(frame::IPV6) if f.len() >= 54 && routers6.iter().flatten().any(|a| f[22..38] == *a) => {
            f[15] &= 0xf0;
            f[16..18].fill(0);
            if f[20] == frame::FRAGMENT && f.len() >= 62 {
                let id = ordinal(&f[58..62]);
                f[58..62].copy_from_slice(&[0, 0, 0, id]);
            }
        }
        _ => {}
    }
    f
}

/// A frame in a few words, as in the tables of cases: `wan udp`, `lan icmp 3/1`.
pub(crate) fn summary((port, f): &Seen) -> String {
    let what = match f.get(12..14).map(|t| u16::from_be_bytes([t[0], t[1]])) {
        Some(frame::ARP) => match f.get(20..22) {
            Some([0, 1]) => "arp request".into(),
            Some([0, 2]) => "arp reply".into(),
            _ => "arp".into(),
        },
        Some(frame::IPV4) if f.len() >= 34 => {
            let header = 14 + usize::from(f[14] & 15) * 4;
            let fragment = u16::from_be_bytes([f[20], f[21]]);
            let offset = usize::from(fragment & 0x1fff) * 8;
            let more = if fragment & frame::MF != 0 { "+" } else { "" };
            match offset {
                0 => format!("{}{more}", upper(f[23], f.get(header..).unwrap_or_default())),
                _ => format!("@{offset}{more}"),
            }
        }
        Some(frame::IPV6) if f.len() >= 54 => {
            let (mut next, mut at, mut words) = (f[20], 54, String::new());
            loop {
                let name = match next {
                    frame::HOP_BY_HOP => "hbh ",
                    frame::ROUTING => "rh ",
                    frame::DESTINATION => "dst ",
                    frame::FRAGMENT => "",
                    _ => break,
                };
                words.push_str(name);
                let Some([n, len, hi, lo]) = f.get(at..at + 4) else { break };
                let mut header = (usize::from(*len) + 1) * 8;
                if next == frame::FRAGMENT {
                    header = 8;
                    let offset = u16::from_be_bytes([*hi, *lo]);
                    let more = if offset & 1 != 0 { "+" } else { "" };
                    if offset & !7 != 0 {
                        return format!("{} {words}@{}{more}", port.name(), offset & !7);
                    }
                    let _ = write!(words, "frag{more} ");
                }
                (next, at) = (*n, at + header);
            }
            format!("{words}{}", upper(next, f.get(at..).unwrap_or_default()))
        }
        Some(other) => format!("ethertype {other:04x}"),
        None => "runt".into(),
    };
    format!("{} {what}", port.name())
}

fn upper(protocol: u8, message: &[u8]) -> String {
    match (protocol, message) {
        (frame::UDP, _) => "udp".into(),
        (frame::TCP, m) if m.len() >= 20 => {
            let flags = "FSRPA".chars().enumerate().filter(|(i, _)| m[13] & 1 << i != 0);
            format!("tcp {}", flags.map(|(_, c)| c).collect::<String>())
        }
        (frame::ICMP, [0, ..]) | (frame::ICMPV6, [129, ..]) => "echo reply".into(),
        (frame::ICMP, [8, ..]) | (frame::ICMPV6, [128, ..]) => "echo request".into(),
        (frame::ICMPV6, [136, ..]) => "advertisement".into(),
        (frame::ICMP, [kind, code, ..]) => format!("icmp {kind}/{code}"),
        (frame::ICMPV6, [kind, code, ..]) => format!("icmp6 {kind}/{code}"),
        _ => format!("proto {protocol}"),
    }
}

/// Both sides of a difference, and where the frames part.
pub(crate) fn explain(names: [&str; 2], a: &[Seen], b: &[Seen]) -> String {
    let mut text = String::new();
    let only = |of: &[Seen], not_in: &[Seen]| -> Vec<Seen> {
        let mut rest = not_in.to_vec();
        let is_new = |f: &&Seen| match rest.iter().position(|r| r == *f) {
            Some(at) => {
                rest.swap_remove(at);
                false
            }
            None => true,
        };
        of.iter().filter(is_new).cloned().collect()
    };
    let (only_a, only_b) = (only(a, b), only(b, a));
    let width = names[0].len().max(names[1].len());
    for (name, all, mine) in [(names[0], a, &only_a), (names[1], b, &only_b)] {
        let list: Vec<String> = all
            .iter()
            .map(|f| format!("{}{}", if mine.contains(f) { "≠ " } else { "" }, summary(f)))
            .collect();
        let list = if list.is_empty() { "nothing".into() } else { list.join(" · ") };
        let _ = writeln!(text, "    {name:width$}  {list}");
    }
    for i in 0..only_a.len().max(only_b.len()).min(MOST_DUMPS) {
        let (x, y) = (only_a.get(i), only_b.get(i));
        for (name, mine, other) in [(names[0], x, y), (names[1], y, x)] {
            if let Some((_, bytes)) = mine {
                let other = other.map(|(_, b)| &b[..]);
                let _ = writeln!(text, "    {name:width$}  {} bytes", bytes.len());
                hex(&mut text, bytes, other);
            }
        }
    }
    text
}

/// The differences of a burst are much the same.
const MOST_DUMPS: usize = 3;

/// A hex dump; bytes that differ from the other frame's stand in brackets.
fn hex(text: &mut String, bytes: &[u8], other: Option<&[u8]>) {
    /// Enough for the headers and a quotation of them.
    const MOST: usize = 160;
    for (row, chunk) in bytes.chunks(16).take(MOST / 16).enumerate() {
        let _ = write!(text, "      {:04x} ", row * 16);
        for (i, byte) in chunk.iter().enumerate() {
            let differs = other.is_some_and(|o| o.get(row * 16 + i) != Some(byte));
            let _ = if differs { write!(text, "[{byte:02x}]") } else { write!(text, " {byte:02x} ") };
        }
        text.push('\n');
    }
    if bytes.len() > MOST {
        let from = (MOST..bytes.len()).find(|i| other.is_some_and(|o| o.get(*i) != bytes.get(*i)));
        let more = from.map_or(String::new(), |i| format!(", the first different one at {i:04x}"));
        let _ = writeln!(text, "      … {} more{more}", bytes.len() - MOST);
    }
}
