//! When two routers with rules did the same.
//!
//! What may differ is given names in the order in which it appears, so that a port that NAT chose here and another
//! one there become the same word, and must stay it: a bijection. Checksums are carried along, so that a wrong one
//! stays wrong. Taken out besides, of packets that a router made itself: identifications, flow labels, and what
//! the local stack's resets look like.

use std::collections::{BTreeSet, HashMap, HashSet};

use sekisho::lab::probes::checksum;

use crate::compare::Seen;
use crate::frame;

/// What everybody knows beforehand: it is compared as it is.
#[derive(Debug, Clone, Default)]
pub(crate) struct Known {
    /// Ports, ICMP and GRE identifiers.
    pub(crate) ports: HashSet<u16>,
    /// Identifications of IP packets.
    pub(crate) idents: HashSet<u16>,
    /// Ranges that rules let NAT choose from.
    pub(crate) ranges: BTreeSet<(u16, u16)>,
}

/// The names one router's choices got.
#[derive(Debug, Default)]
pub(crate) struct Names {
    ports: HashMap<u16, u16>,
    /// How many of each class there are.
    counts: HashMap<u16, u16>,
}

impl Names {
    /// The name of a port.
    fn port(&mut self, port: u16, known: &Known) -> u16 {
        if known.ports.contains(&port) {
            return port;
        }
        if let Some(name) = self.ports.get(&port) {
            return *name;
        }
        let class = class(port, known);
        let count = self.counts.entry(class).or_default();
        let name = class + *count;
        *count += 1;
        self.ports.insert(port, name);
        name
    }

    /// A frame with the names in it.
    pub(crate) fn frame(&mut self, (at, f): &Seen, known: &Known) -> Seen {
        let mut f = f.clone();
        match f.get(12..14).map(|t| u16::from_be_bytes([t[0], t[1]])) {
            Some(frame::IPV4) => self.ipv4(&mut f, 14, known, &[]),
            Some(frame::IPV6) => self.ipv6(&mut f, 14, known, &[]),
            _ => {}
        }
        (*at, f)
    }

    /// `sums`: where checksums stand that cover this packet, because an ICMP message around it quotes it.
    fn ipv4(&mut self, f: &mut [u8], at: usize, known: &Known, sums: &[usize]) {
        let Some(first) = f.get(at).filter(|_| f.len() >= at + 20) else { return };
        let upper = at + usize::from(first & 15) * 4;
        if f.len() < upper {
            return;
        }
        let protocol = f[at + 9];
        let ident = u16::from_be_bytes([f[at + 4], f[at + 5]]);
        if !known.idents.contains(&ident) {
            let right = checksum(&f[at..upper]) == 0;
            put(f, at + 4, 0xffff, sums);
            let reset = protocol == frame::TCP && f.get(upper + 13).is_none_or(|b| b & frame::RST != 0);
            if reset {
                // docs/limits.md: the local stack's have neither DF nor a TOS.
                let first = u16::from(f[at]) << 8;
                put(f, at, first, sums);
                let fragment = u16::from_be_bytes([f[at + 6], f[at + 7]]) & !frame::DF;
                put(f, at + 6, fragment, sums);
            }
            put(f, at + 10, if right { 0x6f6b } else { 0x2121 }, sums);
        }
        // The times of a timestamp reply.
        if protocol == frame::ICMP && f.get(upper) == Some(&14) && f.len() == upper + 20 && sums.is_empty() {
            for at in (upper + 12..upper + 20).step_by(2) {
                put(f, at, 0, &[upper + 2]);
            }
        }
        if u16::from_be_bytes([f[at + 6], f[at + 7]]) & 0x1fff == 0 {
            self.upper(f, upper, protocol, known, sums);
        }
    }

    fn ipv6(&mut self, f: &mut [u8], at: usize, known: &Known, sums: &[usize]) {
        if f.len() < at + 4 {
            return;
        }
        let label = u32::from_be_bytes([0, f[at + 1] & 15, f[at + 2], f[at + 3]]);
        if label != 0 {
            let first = u16::from_be_bytes([f[at], f[at + 1] & 0xf0]);
            put(f, at, first, sums);
            put(f, at + 2, 0, sums);
        }
        if f.len() < at + 40 {
            return;
        }
        let (mut next, mut upper) = (f[at + 6], at + 40);
        while [frame::HOP_BY_HOP, frame::ROUTING, frame::DESTINATION, frame::FRAGMENT].contains(&next) {
            let Some(header) = f.get(upper..upper + 8) else { return };
            let (after, is_fragment) = (header[0], next == frame::FRAGMENT);
            let size = if is_fragment { 8 } else { (usize::from(header[1]) + 1) * 8 };
            if is_fragment {
                let id = u32::from_be_bytes([header[4], header[5], header[6], header[7]]);
                let later = u16::from_be_bytes([header[2], header[3]]) & !7 != 0;
                if !u16::try_from(id).is_ok_and(|id| known.idents.contains(&id)) {
                    put(f, upper + 4, 0xffff, sums);
                    put(f, upper + 6, 0xffff, sums);
                }
                if later {
                    return;
                }
            }
            next = after;
            upper += size;
        }
        if next == frame::TCP && f.get(upper + 13).is_some_and(|b| b & frame::RST != 0) {
            // docs/limits.md: the local stack's have no traffic class.
            put(f, at, 0x6000, sums);
        }
        self.upper(f, upper, next, known, sums);
    }

    fn upper(&mut self, f: &mut [u8], at: usize, protocol: u8, known: &Known, sums: &[usize]) {
        let own = match protocol {
            frame::TCP => Some(16),
            frame::UDP | 136 => Some(6),
            frame::ICMP | frame::ICMPV6 => Some(2),
            _ => None,
        };
        let own = own.map(|o| at + o).filter(|o| f.len() >= o + 2);
        let zero = protocol == frame::UDP && own.is_some_and(|o| f[o..o + 2] == [0, 0]);
        let mut all = sums.to_vec();
        all.extend(own.filter(|_| !zero));
        let kind = f.get(at).copied();
        let fields: &[usize] = match (protocol, kind) {
            (frame::TCP | frame::UDP | 132 | 136, _) => &[0, 2],
            (frame::ICMP, Some(0 | 8 | 13..=18)) | (frame::ICMPV6, Some(128 | 129)) => &[4],
            (47, _) if f.get(at + 1).is_some_and(|v| v & 7 == 1) => &[6],
            _ => &[],
        };
        if protocol == 132 && fields.iter().any(|o| self.is_chosen(f, at + o, known)) {
            // A CRC can't be carried along: right or wrong is what is left of it, and in a quotation nothing.
            if let Some(message) = f.get(at..).filter(|m| m.len() >= 12) {
                let mut message = message.to_vec();
                let said = message[8..12].to_vec();
                message[8..12].fill(0);
                let right = sums.is_empty() && frame::crc32c(&message).to_le_bytes() == said[..];
                put(f, at + 8, if right { 0x6f6b } else { 0x2121 }, sums);
                put(f, at + 10, 0, sums);
            }
        }
        for field in fields {
            let Some(b) = f.get(at + field..at + field + 2) else { continue };
            let name = self.port(u16::from_be_bytes([b[0], b[1]]), known);
            put(f, at + field, name, &all);
        }
        match (protocol, kind) {
            // A packet is quoted there, whatever the type of the message has become.
            (frame::ICMP, _) if fields.is_empty() && f.get(at + 8) == Some(&0x45) => {
                self.ipv4(f, at + 8, known, &all)
            }
            (frame::ICMPV6, _) if fields.is_empty() && f.get(at + 8).is_some_and(|b| b >> 4 == 6) => {
                self.ipv6(f, at + 8, known, &all);
            }
            _ => {}
        }
        // Of an error that is quoted in part nobody can tell whether its sum is right.
        // Nor of a reset that is refused itself: the kernel quotes it before it is finished.
        let reset = protocol == frame::TCP && f.get(at + 13).is_some_and(|b| b & frame::RST != 0);
        let error = matches!(protocol, frame::ICMP | frame::ICMPV6) && fields.is_empty();
        let quoted = (error || reset) && own.is_some() && !sums.is_empty();
        if let Some((own, around)) = all.split_last().filter(|_| quoted) {
            put(f, *own, 0x3f3f, around);
        }
        // Two ways to write the same number.
        if let Some((own, around)) = all.split_last().filter(|(own, _)| f[**own..**own + 2] == [0, 0]) {
            put(f, *own, 0xffff, around);
        }
    }

    fn is_chosen(&self, f: &[u8], at: usize, known: &Known) -> bool {
        f.get(at..at + 2).is_some_and(|b| !known.ports.contains(&u16::from_be_bytes([b[0], b[1]])))
    }

    /// A flow as the kernel and `conntrack -L` print it, without what is not compared, and how long it has left.
    pub(crate) fn flow(&self, line: &str, known: &Known) -> (String, u32) {
        let mut words: Vec<&str> = line.split_whitespace().collect();
        if let ["ipv4" | "ipv6", _, ..] = words[..] {
            words.drain(..2);
        }
        let left = words.get(2).and_then(|w| w.parse().ok()).unwrap_or(0);
        // GRE's line in the kernel's table also says what is the same for all.
        words.retain(|w| !w.starts_with("timeout=") && !w.starts_with("stream_timeout="));
        let mut text = match words[..] {
            ["unknown", number, ..] => format!("unknown {number}"),
            [name, ..] => name.to_owned(),
            [] => String::new(),
        };
        // The kernel calls it so, the tool otherwise.
        let has_time = words.get(2).is_some_and(|w| w.parse::<u32>().is_ok());
        for word in words.iter().skip(if has_time { 3 } else { 2 }) {
            let (name, value) = word.split_once('=').unwrap_or((word, ""));
            let value = match name {
                "use" | "zone" => continue,
                "src" | "dst" => match value.parse::<std::net::IpAddr>() {
                    Ok(addr) => addr.to_string(),
                    Err(_) => value.to_owned(),
                },
                "sport" | "dport" | "id" => match value.parse::<u16>() {
                    Ok(port) if known.ports.contains(&port) => value.to_owned(),
                    Ok(port) => match self.ports.get(&port) {
                        Some(name) => format!("<{name}>"),
                        None => format!("<{}+>", class(port, known)),
                    },
                    Err(_) => value.to_owned(),
                },
                _ => value.to_owned(),
            };
            text += &if word.contains('=') { format!(" {name}={value}") } else { format!(" {word}") };
        }
        (text, left)
    }
}

/// The first name of the class a port is in: NAT chooses within its class, or within a range.
fn class(port: u16, known: &Known) -> u16 {
    if let Some(at) = known.ranges.iter().position(|(first, last)| (*first..=*last).contains(&port)) {
        return 50_000 + 500 * at as u16;
    }
    match port {
        0..512 => 60_000,
        512..1024 => 60_500,
        _ => 61_000,
    }
}

/// Writes a number and carries it into the checksums that cover it, the outermost first.
fn put(f: &mut [u8], at: usize, new: u16, sums: &[usize]) {
    let old = u16::from_be_bytes([f[at], f[at + 1]]);
    f[at..at + 2].copy_from_slice(&new.to_be_bytes());
    carry(f, old, new, sums);
}

/// Carries a change into checksums (RFC 1624), and the change of an inner one into those around it.
fn carry(f: &mut [u8], old: u16, new: u16, sums: &[usize]) {
    let Some((inner, outer)) = sums.split_last() else { return };
    let was = u16::from_be_bytes([f[*inner], f[*inner + 1]]);
    let total = u32::from(!was) + u32::from(!old) + u32::from(new);
    let total = (total & 0xffff) + (total >> 16);
    let total = (total & 0xffff) + (total >> 16);
    let is = !(total as u16);
    f[*inner..*inner + 2].copy_from_slice(&is.to_be_bytes());
    carry(f, was, is, outer);
    carry(f, old, new, outer);
}
