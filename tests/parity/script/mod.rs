//! Packets in words: a line is what one station does, and gives the frames it sends.
//!
//! ```text
//!  lan udp l10:4000 w10:5000 len=8 ttl=1        a packet from a segment, to the router
//!  lan tcp l10:4000 [2001:db8::1]:80 S ws=7     flags as letters
//!  lan echo L10 W10 id=7                        capitals are IPv6: L10 is station 10 of the lan
//!  ans SA                                       whoever got the last packet answers
//!  ans@2 PA len=100                             … the packet that came out as number 2
//!  err@-2 3/4 mtu=1000 quote=28                 an ICMP error about the last but one
//!  again@0                                      the frames of line 0 once more
//!  wait 500                                     milliseconds pass
//! ```
//!
//! An answer is made of what a router really gave, so that each of two routers gets answers to its own
//! translations. Whatever an answer refers to and is not there, is not sent.

mod answer;
mod ip;
mod upper;

pub(crate) use ip::IDENT;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::compare::Seen;
use crate::twin::Port;

/// What has happened so far between the stations and one router.
#[derive(Default)]
pub(crate) struct History {
    /// The frames of each line, as they were sent.
    sent: Vec<Vec<Seen>>,
    /// All that came out, in order.
    came: Vec<Seen>,
    /// Makes the identifications of fragments differ from those of earlier runs, whose pieces may still wait.
    salt: u16,
}

impl History {
    pub(crate) fn new(salt: u16) -> Self {
        History { salt, ..History::default() }
    }

    /// The frames of a line.
    pub(crate) fn act(&mut self, line: &str) -> Vec<Seen> {
        let words = Words::split(line);
        let salt = self.salt.wrapping_add(self.sent.len() as u16);
        let mut frames = match words.verb() {
            ("lan" | "wan" | "dmz", _) => upper::packet(&words).frames(&words, salt),
            ("ans", at) => match pick(&self.came, at).and_then(|seen| answer::to(seen, &words)) {
                Some(packet) => packet.frames(&words, salt),
                None => vec![],
            },
            ("err", at) => match pick(&self.came, at).and_then(|seen| answer::error(seen, &words)) {
                Some(packet) => packet.frames(&words, salt),
                None => vec![],
            },
            ("again", at) => pick(&self.sent, at).cloned().unwrap_or_default(),
            ("wait", _) => vec![],
            (other, _) => panic!("'{other}' in '{line}'"),
        };
        // Longer ones don't get through the wire.
        frames.retain(|(port, f)| f.len() <= port.mtu() as usize + 14);
        self.sent.push(frames.clone());
        frames
    }

    /// What came of it.
    pub(crate) fn note(&mut self, came: &[Seen]) {
        self.came.extend_from_slice(came);
    }
}

/// How long a line waits, in milliseconds.
pub(crate) fn pause(line: &str) -> Option<u64> {
    line.strip_prefix("wait ").and_then(|ms| ms.trim().parse().ok())
}

/// The one of this number, counted from the end if negative; the last one if none is given.
fn pick<T>(all: &[T], at: Option<i64>) -> Option<&T> {
    let n = i64::try_from(all.len()).ok().filter(|n| *n > 0)?;
    all.get(at.unwrap_or(-1).rem_euclid(n) as usize)
}

/// A line, taken apart.
pub(crate) struct Words<'a> {
    line: &'a str,
    all: Vec<&'a str>,
}

impl<'a> Words<'a> {
    fn split(line: &'a str) -> Self {
        Words { line, all: line.split_whitespace().collect() }
    }

    /// The first word, and the number behind its `@`.
    fn verb(&self) -> (&'a str, Option<i64>) {
        let word = self.at(0);
        match word.split_once('@') {
            Some((verb, at)) => (verb, Some(self.parsed(at))),
            None => (word, None),
        }
    }

    fn at(&self, n: usize) -> &'a str {
        self.all.get(n).copied().unwrap_or_else(|| panic!("word {n} is missing in '{}'", self.line))
    }

    /// Whether a word stands there by itself.
    fn has(&self, word: &str) -> bool {
        self.all.contains(&word)
    }

    /// What stands behind `name=`.
    fn value(&self, name: &str) -> Option<&'a str> {
        self.all.iter().find_map(|w| w.strip_prefix(name)?.strip_prefix('='))
    }

    /// The same as a number, decimal or 0x….
    fn number(&self, name: &str) -> Option<u32> {
        self.value(name).map(|v| match v.strip_prefix("0x") {
            Some(hex) => u32::from_str_radix(hex, 16).unwrap_or_else(|_| self.wrong(v)),
            None => self.parsed(v),
        })
    }

    fn number_or(&self, name: &str, otherwise: u32) -> u32 {
        self.number(name).unwrap_or(otherwise)
    }

    /// The TCP flags: the word of capitals.
    fn flags(&self) -> Option<u8> {
        let is_flags = |w: &&&str| w.bytes().all(|b| FLAGS.contains(&b));
        let word = self.all[1..].iter().find(is_flags)?;
        Some(
            word.bytes()
                .filter_map(|b| FLAGS.iter().position(|f| *f == b))
                .fold(0, |bits, at| bits | 1 << at),
        )
    }

    /// A pair of numbers with a slash between: an ICMP type and its code.
    fn kind(&self) -> Option<(u8, u8)> {
        let word =
            self.all.iter().find(|w| w.starts_with(|c: char| c.is_ascii_digit()) && w.contains('/'))?;
        let (kind, code) = word.split_once('/')?;
        Some((self.parsed(kind), self.parsed(code)))
    }

    fn parsed<T: std::str::FromStr>(&self, word: &str) -> T {
        word.parse().unwrap_or_else(|_| self.wrong(word))
    }

    fn wrong(&self, word: &str) -> ! {
        panic!("'{word}' in '{}'", self.line)
    }

    /// An address with or without a port.
    fn end(&self, n: usize) -> (IpAddr, u16) {
        let word = self.at(n);
        if let Some(addr) = address(word) {
            return (addr, 0);
        }
        let (addr, port) = word.rsplit_once(':').unwrap_or_else(|| self.wrong(word));
        let addr = addr.strip_prefix('[').and_then(|a| a.strip_suffix(']')).unwrap_or(addr);
        (address(addr).unwrap_or_else(|| self.wrong(word)), self.parsed(port))
    }
}

/// The bits of the flags byte, lowest first: FIN to CWR.
const FLAGS: &[u8] = b"FSRPAUEC";

/// An address, or one of ours by its short name.
pub(crate) fn address(word: &str) -> Option<IpAddr> {
    if let Ok(addr) = word.parse() {
        return Some(addr);
    }
    let n: u8 = word.get(1..)?.parse().ok()?;
    let wide = u16::from(n);
    Some(match word.as_bytes()[0] {
        b'l' => Port::Lan.host4(n).into(),
        b'w' => Port::Wan.host4(n).into(),
        b'd' => Port::Dmz.host4(n).into(),
        b'x' => Ipv4Addr::new(10, 100, 0, n).into(),
        b'L' => Port::Lan.host6(wide).into(),
        b'W' => Port::Wan.host6(wide).into(),
        b'D' => Port::Dmz.host6(wide).into(),
        b'X' => Ipv6Addr::new(0xfd64, 0, 0, 0, 0, 0, 0, wide).into(),
        _ => return None,
    })
}

fn port(word: &str) -> Option<Port> {
    Port::ALL.into_iter().find(|p| p.name() == word)
}

/// A packet on its way into the router, without its IP header.
struct Made {
    at: Port,
    src: IpAddr,
    dst: IpAddr,
    protocol: u8,
    upper: Vec<u8>,
}
