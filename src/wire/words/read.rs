//! Words, one after the other, to what they say.

use std::fmt::Display;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use super::{Ip, MAX_WORD, MAX_WORDS, Spoken, Upper, What, WordsError, icmp};
use crate::base::Mac;
use crate::wire::{icmpv4, icmpv6, proto, tcp};

/// A source port, where none was said: the first that systems give by themselves (RFC 6335 §6).
const SOME_PORT: u16 = 49_152;

/// What the words say.
///
/// # Errors
/// The first word that is wrong, and what would be right.
pub fn parse<'a>(words: impl IntoIterator<Item = &'a str>) -> Result<Spoken, WordsError> {
    let words: Vec<&str> = words.into_iter().flat_map(str::split_whitespace).take(MAX_WORDS + 1).collect();
    if words.is_empty() {
        return Err(WordsError::Nothing);
    }
    if words.len() > MAX_WORDS {
        return Err(WordsError::Amiss(format!("a packet is told in at most {MAX_WORDS} words")));
    }
    if let Some(long) = words.iter().find(|w| w.len() > MAX_WORD) {
        return Err(WordsError::word(long, format!("a word has at most {MAX_WORD} bytes")));
    }
    let mut words = Words { words: &words, at: 0 };
    let mut spoken = Spoken {
        link: None,
        from: None,
        to: None,
        vlan: None,
        what: What::WhoHas { target: Ipv4Addr::UNSPECIFIED, sender: Ipv4Addr::UNSPECIFIED },
    };
    while words.around(&mut spoken)? {}
    spoken.what = match words.next("a protocol, such as tcp, udp or icmp")? {
        "arp" => words.arp()?,
        name => What::Ip(Box::new(words.ip(name, Some(&mut spoken))?)),
    };
    while words.around(&mut spoken)? {}
    if let Some(rest) = words.peek() {
        return Err(WordsError::word(rest, "nothing more is known to say of it"));
    }
    if spoken.link.is_none() {
        if matches!(spoken.what, What::WhoHas { .. } | What::IsAt { .. }) {
            let why = "ARP comes from a neighbor: say the link it comes in by, with `-i LINK`";
            return Err(WordsError::Amiss(why.into()));
        }
        if spoken.from.is_some() || spoken.to.is_some() || spoken.vlan.is_some() {
            let why = "what the router makes has no frame yet: say the link it comes in by, with `-i LINK`";
            return Err(WordsError::Amiss(why.into()));
        }
    }
    Ok(spoken)
}

struct Words<'w, 'a> {
    words: &'w [&'a str],
    at: usize,
}

impl<'a> Words<'_, 'a> {
    fn peek(&self) -> Option<&'a str> {
        self.words.get(self.at).copied()
    }

    fn next(&mut self, what: &'static str) -> Result<&'a str, WordsError> {
        let word = self.peek().ok_or(WordsError::Ends(what))?;
        self.at += 1;
        Ok(word)
    }

    /// Takes the next word if it is one of these.
    fn take(&mut self, any: &[&str]) -> bool {
        let is = self.peek().is_some_and(|w| any.contains(&w));
        self.at += usize::from(is);
        is
    }

    /// The number that follows, from `least` to `most`; hexadecimal behind 0x.
    fn number<T: TryFrom<u64>>(
        &mut self,
        what: &'static str,
        least: u64,
        most: u64,
    ) -> Result<T, WordsError> {
        let word = self.next(what)?;
        let read = match word.strip_prefix("0x") {
            Some(hex) => u64::from_str_radix(hex, 16),
            None => word.parse(),
        };
        let within = read.ok().filter(|n| (least..=most).contains(n)).and_then(|n| T::try_from(n).ok());
        within.ok_or_else(|| WordsError::word(word, format!("{what} is a number from {least} to {most}")))
    }

    fn parsed<T: FromStr>(&mut self, what: &'static str, example: impl Display) -> Result<T, WordsError> {
        let word = self.next(what)?;
        word.parse().map_err(|_| WordsError::word(word, format!("{what} is wanted, such as {example}")))
    }

    fn mac(&mut self, what: &'static str) -> Result<Mac, WordsError> {
        if self.take(&["broadcast"]) {
            return Ok(Mac::BROADCAST);
        }
        self.parsed(what, "02:00:00:00:01:02")
    }

    /// What is said of the frame, before or behind what is in it.
    fn around(&mut self, spoken: &mut Spoken) -> Result<bool, WordsError> {
        let Some(word) = self.peek() else { return Ok(false) };
        let twice = |said: bool| match said {
            true => Err(WordsError::word(word, "it was said already")),
            false => Ok(()),
        };
        match word {
            "-i" | "iif" | "in" => {
                twice(spoken.link.is_some())?;
                self.at += 1;
                spoken.link = Some(self.next("the name of a link")?.to_owned());
            }
            "smac" => {
                twice(spoken.from.is_some())?;
                self.at += 1;
                spoken.from = Some(self.mac("the sender's MAC")?);
            }
            "dmac" => {
                twice(spoken.to.is_some())?;
                self.at += 1;
                spoken.to = Some(self.mac("the MAC it is sent to")?);
            }
            "vlan" => {
                twice(spoken.vlan.is_some())?;
                self.at += 1;
                spoken.vlan = Some(self.number("a VLAN's number", 0, 4094)?);
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn arp(&mut self) -> Result<What, WordsError> {
        let example = "10.1.0.1";
        match self.next("`who-has ADDRESS tell ADDRESS` or `reply ADDRESS is-at MAC to ADDRESS`")? {
            "who-has" => {
                let target = self.parsed("the IPv4 address that is asked for", example)?;
                match self.next("`tell ADDRESS`")? {
                    "tell" => {}
                    other => return Err(WordsError::word(other, "`tell` and who asks are wanted")),
                }
                Ok(What::WhoHas { target, sender: self.parsed("the IPv4 address of who asks", example)? })
            }
            "reply" => {
                let sender = self.parsed("the IPv4 address of who answers", example)?;
                match self.next("`is-at MAC`")? {
                    "is-at" => {}
                    other => return Err(WordsError::word(other, "`is-at` and a MAC are wanted")),
                }
                let mac = self.mac("the MAC of who answers")?;
                self.towards()?;
                Ok(What::IsAt {
                    sender,
                    mac,
                    target: self.parsed("the IPv4 address of who had asked", example)?,
                })
            }
            other => Err(WordsError::word(other, "ARP is `who-has` or `reply`")),
        }
    }

    /// The word between the two ends.
    fn towards(&mut self) -> Result<(), WordsError> {
        const SIGN: &str = "`to`, or a `>` that the shell does not see, and where it goes";
        match self.next(SIGN)? {
            ">" | "to" | "->" | "→" => Ok(()),
            other => Err(WordsError::word(other, format!("{SIGN}, are wanted"))),
        }
    }

    /// An IP packet behind the name of its protocol. `frame`: where what is said of the frame belongs.
    fn ip(&mut self, name: &str, mut frame: Option<&mut Spoken>) -> Result<Ip, WordsError> {
        let proto = match name {
            "proto" => self.number("a protocol", 0, 255)?,
            _ => protocol(name).ok_or_else(|| {
                WordsError::word(
                    name,
                    "a protocol is wanted: tcp, udp, udplite, sctp, icmp, icmp6, gre, esp, ah, arp or `proto NUMBER`",
                )
            })?,
        };
        let (src, sport) = self.end("the source")?;
        self.towards()?;
        let (dst, dport) = self.end("the destination")?;
        if src.is_ipv4() != dst.is_ipv4() {
            return Err(WordsError::Amiss(format!("{src} and {dst} are of different families")));
        }
        let v6 = src.is_ipv6();
        if matches!(proto, proto::ICMP | proto::ICMPV6) && v6 != (proto == proto::ICMPV6) {
            let right = if v6 { "icmp6" } else { "icmp" };
            return Err(WordsError::Amiss(format!("{name} does not go with {src}: say {right}")));
        }
        let ports = match (sport, dport, has_ports(proto)) {
            (_, None, true) => {
                let example = if v6 { format!("[{dst}]:53") } else { format!("{dst}:53") };
                return Err(WordsError::Amiss(format!("{name} needs a destination port: {example}")));
            }
            (sport, Some(dport), true) => (sport.unwrap_or(SOME_PORT), dport),
            (None, None, false) => (0, 0),
            _ => return Err(WordsError::Amiss(format!("{name} has no ports: give the addresses alone"))),
        };
        let mut ip = Ip {
            src,
            dst,
            ttl: 64,
            tos: 0,
            df: false,
            ident: 1,
            len: None,
            fragment: None,
            upper: upper(proto, ports),
        };
        if let Upper::Icmp { kind, .. } = &mut ip.upper {
            *kind = if v6 { icmpv6::ECHO } else { icmpv4::ECHO };
        }
        let mut said = Vec::new();
        while self.of_ip(&mut ip, &mut said)? || self.of_upper(&mut ip, &mut said)? || {
            let around = frame.as_deref_mut().map(|spoken| self.around(spoken));
            around.unwrap_or(Ok(false))?
        } {}
        super::make::check(&ip)?;
        Ok(ip)
    }

    /// An address, and a port if there is one.
    fn end(&mut self, what: &'static str) -> Result<(IpAddr, Option<u16>), WordsError> {
        let word = self.next(what)?;
        let bare = word.strip_prefix('[').and_then(|w| w.strip_suffix(']')).unwrap_or(word);
        if let Ok(addr) = bare.parse::<IpAddr>() {
            return Ok((addr, None));
        }
        match word.parse::<SocketAddr>() {
            Ok(SocketAddr::V6(at)) if at.scope_id() != 0 => Err(WordsError::word(
                word,
                "an address without a scope is wanted: the link says which one is meant",
            )),
            Ok(at) => Ok((at.ip(), Some(at.port()))),
            Err(_) => {
                let examples = "10.1.0.2, 10.1.0.2:40000, fd01::2 or [fd01::2]:5000";
                Err(WordsError::word(word, format!("{what} is an address, such as {examples}")))
            }
        }
    }

    /// One thing that can be said of any IP packet.
    fn of_ip(&mut self, ip: &mut Ip, said: &mut Vec<&'a str>) -> Result<bool, WordsError> {
        let Some(word) = self.peek() else { return Ok(false) };
        let v6 = ip.src.is_ipv6();
        if !matches!(word, "ttl" | "hlim" | "tos" | "tclass" | "len" | "length" | "df" | "ipid" | "frag") {
            return Ok(false);
        }
        self.at += 1;
        if said.contains(&word) {
            return Err(WordsError::word(word, "it was said already"));
        }
        said.push(word);
        match word {
            "ttl" | "hlim" => ip.ttl = self.number("the TTL or hop limit", 0, 255)?,
            "tos" | "tclass" => ip.tos = self.number("the TOS or traffic class", 0, 255)?,
            "len" | "length" => {
                ip.len = Some(self.number("the length of the whole IP packet", 20, 65_535)?)
            }
            "df" if v6 => {
                return Err(WordsError::word(word, "IPv6 has no such flag: routers never cut its packets"));
            }
            "df" => ip.df = true,
            "ipid" => ip.ident = self.number("the datagram's identification", 0, 65_535)?,
            _ => {
                let word = self.next("where in its datagram the fragment belongs, such as 1480 or 0+")?;
                let (at, more) = word.strip_suffix('+').map_or((word, false), |at| (at, true));
                let offset = at.parse::<u16>().ok().filter(|n| n.is_multiple_of(8) && (*n > 0 || more));
                let right =
                    "a fragment's place is a multiple of 8 bytes, with a + if more follow: 0+, 1480+, 2960";
                ip.fragment = Some((offset.ok_or_else(|| WordsError::word(word, right))?, more));
            }
        }
        Ok(true)
    }

    /// One thing that can be said of what it carries.
    fn of_upper(&mut self, ip: &mut Ip, said: &mut Vec<&'a str>) -> Result<bool, WordsError> {
        let v6 = ip.src.is_ipv6();
        match &mut ip.upper {
            Upper::Tcp { flags, seq, ack, window, mss, .. } => {
                let Some(word) = self.peek() else { return Ok(false) };
                if let Some(bits) = flag(word) {
                    self.at += 1;
                    // Nothing said is a SYN; the first that is said is instead of it.
                    if !said.contains(&"flags") {
                        said.push("flags");
                        *flags = 0;
                    }
                    *flags |= bits;
                    let numbered =
                        word == "ack" && self.peek().is_some_and(|w| w.as_bytes()[0].is_ascii_digit());
                    if numbered {
                        *ack = self.number("an acknowledgment number", 0, u32::MAX.into())?;
                    }
                    return Ok(true);
                }
                match word {
                    "seq" => {
                        self.at += 1;
                        *seq = self.number("a sequence number", 0, u32::MAX.into())?;
                    }
                    "win" => {
                        self.at += 1;
                        *window = self.number("a window", 0, 65_535)?;
                    }
                    "mss" => {
                        self.at += 1;
                        *mss = Some(self.number("an MSS", 0, 65_535)?);
                    }
                    _ => return Ok(false),
                }
                Ok(true)
            }
            Upper::Sctp { tag, chunk, .. } => {
                let Some(word) = self.peek() else { return Ok(false) };
                if let Some((_, kind)) = CHUNKS.iter().find(|(name, _)| *name == word) {
                    self.at += 1;
                    *chunk = *kind;
                    return Ok(true);
                }
                if word != "tag" {
                    return Ok(false);
                }
                self.at += 1;
                *tag = self.number("a verification tag", 0, u32::MAX.into())?;
                Ok(true)
            }
            Upper::Icmp { kind, code, rest, about } => self.of_icmp(v6, kind, code, rest, about),
            Upper::Udp { .. } | Upper::Other(_) => Ok(false),
        }
    }

    fn of_icmp(
        &mut self,
        v6: bool,
        kind: &mut u8,
        code: &mut u8,
        rest: &mut u32,
        about: &mut Option<Box<Ip>>,
    ) -> Result<bool, WordsError> {
        let Some(word) = self.peek() else { return Ok(false) };
        let names = if v6 { &icmp::V6[..] } else { &icmp::V4[..] };
        if let Some((_, k, c)) = names.iter().find(|(name, ..)| *name == word) {
            self.at += 1;
            (*kind, *code) = (*k, *c);
            return Ok(true);
        }
        let known = matches!(word, "type" | "code" | "id" | "seq" | "mtu" | "about");
        self.at += usize::from(known);
        match word {
            "type" => *kind = self.number("a type", 0, 255)?,
            "code" => *code = self.number("a code", 0, 255)?,
            "id" => *rest = *rest & 0xffff | self.number::<u32>("an identifier", 0, 65_535)? << 16,
            "seq" => *rest = *rest & 0xffff_0000 | self.number::<u32>("a sequence number", 0, 65_535)?,
            "mtu" => *rest = self.number("an MTU", 0, 65_535)?,
            "about" if !icmp::quotes(v6, *kind) => {
                let right = "only errors are about a packet: say first which, such as port-unreachable";
                return Err(WordsError::word(word, right));
            }
            "about" => {
                let name = self.next("the packet that it is about")?;
                let inner = self.ip(name, None)?;
                if inner.src.is_ipv6() != v6 {
                    return Err(WordsError::Amiss("an error is about a packet of its own family".into()));
                }
                if matches!(inner.upper, Upper::Icmp { about: Some(_), .. }) {
                    return Err(WordsError::Amiss("an error about an error is never sent".into()));
                }
                *about = Some(Box::new(inner));
            }
            _ => {}
        }
        Ok(known)
    }
}

/// SCTP's chunks (RFC 9260 §3.2).
const CHUNKS: [(&str, u8); 13] = [
    ("data", 0),
    ("init", 1),
    ("init-ack", 2),
    ("sack", 3),
    ("heartbeat", 4),
    ("heartbeat-ack", 5),
    ("abort", 6),
    ("shutdown", 7),
    ("shutdown-ack", 8),
    ("error", 9),
    ("cookie-echo", 10),
    ("cookie-ack", 11),
    ("shutdown-complete", 14),
];

fn flag(word: &str) -> Option<u8> {
    Some(match word {
        "syn" => tcp::SYN,
        "ack" => tcp::ACK,
        "syn-ack" | "synack" => tcp::SYN | tcp::ACK,
        "fin" => tcp::FIN,
        "rst" => tcp::RST,
        "psh" => tcp::PSH,
        "urg" => tcp::URG,
        "ece" => tcp::ECE,
        "cwr" => tcp::CWR,
        "none" => 0,
        _ => return None,
    })
}

fn protocol(name: &str) -> Option<u8> {
    Some(match name {
        "tcp" => proto::TCP,
        "udp" => proto::UDP,
        "udplite" => proto::UDP_LITE,
        "sctp" => proto::SCTP,
        "icmp" => proto::ICMP,
        "icmp6" | "icmpv6" | "ipv6-icmp" => proto::ICMPV6,
        "gre" => proto::GRE,
        "esp" => proto::ESP,
        "ah" => proto::AH,
        "igmp" => proto::IGMP,
        "ipip" => proto::IPIP,
        _ => return None,
    })
}

fn has_ports(proto: u8) -> bool {
    matches!(proto, proto::TCP | proto::UDP | proto::UDP_LITE | proto::SCTP)
}

fn upper(proto: u8, ports: (u16, u16)) -> Upper {
    match proto {
        proto::TCP => Upper::Tcp { ports, flags: tcp::SYN, seq: 1, ack: 0, window: 64_240, mss: None },
        proto::UDP | proto::UDP_LITE => Upper::Udp { proto, ports },
        proto::SCTP => Upper::Sctp { ports, tag: 0, chunk: 1 },
        proto::ICMP | proto::ICMPV6 => Upper::Icmp { kind: 0, code: 0, rest: 1 << 16 | 1, about: None },
        other => Upper::Other(other),
    }
}

impl Ip {
    /// Whether it is IPv6.
    pub fn is_v6(&self) -> bool {
        matches!((self.src, self.dst), (IpAddr::V6(_), _) | (_, IpAddr::V6(_)))
    }

    /// Its ends where both are IPv6.
    pub(super) fn ends6(&self) -> Option<(Ipv6Addr, Ipv6Addr)> {
        match (self.src, self.dst) {
            (IpAddr::V6(src), IpAddr::V6(dst)) => Some((src, dst)),
            _ => None,
        }
    }
}
