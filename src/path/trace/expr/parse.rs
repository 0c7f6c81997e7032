//! Expressions as people write them.
//!
//! ```text
//! expr    = factor { ( "and" | "or" ) factor }
//! factor  = "not" factor | "(" expr ")" | ask
//! ask     = [ kind ] [ side ] ( "host" ADDR | "net" PREFIX [ "mask" MASK ] | "port" PORT | "portrange" PORT-PORT )
//!         | kind | [ "ip" | "ip6" ] "proto" PROTO | "in" LINK | "out" LINK | "drop" [ REASON ] | "mark" N[/MASK] | "state" STATE
//!         | "flow" NUMBER | "flow" PROTO END [">"] END | VALUE
//! kind    = "ip" | "ip6" | "arp" | "tcp" | "udp" | "icmp" | "icmp6" | "sctp" | "igmp" | "gre" | "esp" | "ah" | "vrrp"
//! side    = "src" | "dst" | "src or dst" | "src and dst"
//! ```
//!
//! A VALUE alone is of the kind that was asked for last: `port 80 or 443`, `proto 6 or 17`. As in pcap-filter(7), "and" and "or"
//! bind alike, from left to right.

use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroU32;

use ipnet::{IpNet, ipv4_mask_to_prefix};

use crate::base::{DropReason, shown};
use crate::packet::{FlowId, Net};
use crate::wire::proto;

use super::{Ask, Expr, Side, names};

/// The longest expression in bytes.
const MAX_LEN: usize = 4_096;
/// Words of an expression at most.
const MAX_WORDS: usize = 512;
/// How deep parentheses and `not`s may stand in each other.
const MAX_DEPTH: usize = 64;

/// What is wrong with an expression: the word, and what would be right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the filter can't be understood at '{word}': {text}")]
pub struct ExprError {
    /// The word.
    pub word: String,
    /// What would be right.
    pub text: String,
}

impl std::str::FromStr for Expr {
    type Err = ExprError;

    fn from_str(text: &str) -> Result<Self, ExprError> {
        if text.len() > MAX_LEN {
            return Err(error("…", format!("{} bytes are more than the {MAX_LEN} it may have", text.len())));
        }
        let words = words(text);
        if words.is_empty() {
            return Ok(Expr::All);
        }
        if words.len() > MAX_WORDS {
            return Err(error(
                "…",
                format!("{} words are more than the {MAX_WORDS} it may have", words.len()),
            ));
        }
        let mut parser = Parser { words: &words, at: 0, last: None };
        let expr = parser.chain(0)?;
        match parser.next() {
            None => Ok(expr),
            Some(")") => Err(error(")", "no '(' is open here")),
            Some(word) => Err(error(word, "put 'and' or 'or' before it, or leave it out")),
        }
    }
}

fn error(word: &str, text: impl Into<String>) -> ExprError {
    ExprError { word: shown(word), text: text.into() }
}

/// Words, parentheses and signs.
fn words(text: &str) -> Vec<&str> {
    let mut words = Vec::new();
    for mut word in text.split_whitespace() {
        while !word.is_empty() {
            let sign = ["(", ")", "!", "&&", "||"].into_iter().find(|s| word.starts_with(s));
            let len = match sign {
                Some(sign) => sign.len(),
                None => {
                    ["(", ")", "&&", "||"].iter().filter_map(|s| word.find(s)).min().unwrap_or(word.len())
                }
            };
            let (first, rest) = word.split_at(len);
            words.push(first);
            word = rest;
        }
    }
    words
}

/// What a value alone is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Host,
    Net,
    Port,
    PortRange,
    Proto,
}

impl Kind {
    /// What must follow its word.
    fn what(self) -> &'static str {
        match self {
            Kind::Host => "an address",
            Kind::Net => "a prefix, as 10.1.0.0/24,",
            Kind::Port => "a port",
            Kind::PortRange => "two ports, as 1-1023,",
            Kind::Proto => "a protocol",
        }
    }
}

/// What was asked before a value.
#[derive(Debug, Clone)]
struct Qualified {
    of: Option<Ask>,
    side: Side,
    kind: Kind,
}

struct Parser<'a> {
    words: &'a [&'a str],
    at: usize,
    last: Option<Qualified>,
}

impl<'a> Parser<'a> {
    fn peek(&self) -> Option<&'a str> {
        self.words.get(self.at).copied()
    }

    fn next(&mut self) -> Option<&'a str> {
        let word = self.peek()?;
        self.at += 1;
        Some(word)
    }

    fn takes(&mut self, any: &[&str]) -> bool {
        let is = self.peek().is_some_and(|w| any.contains(&w));
        self.at += usize::from(is);
        is
    }

    /// The value behind a word.
    fn value(&mut self, word: &str, what: &str) -> Result<&'a str, ExprError> {
        self.next().ok_or_else(|| error(word, format!("{what} must follow")))
    }

    fn chain(&mut self, depth: usize) -> Result<Expr, ExprError> {
        let mut expr = self.factor(depth)?;
        loop {
            let before = Box::new(expr);
            expr = match () {
                () if self.takes(&["or", "||"]) => Expr::Or(before, Box::new(self.factor(depth)?)),
                () if self.takes(&["and", "&&"]) => Expr::And(before, Box::new(self.factor(depth)?)),
                () => return Ok(*before),
            };
        }
    }

    fn factor(&mut self, depth: usize) -> Result<Expr, ExprError> {
        let Some(word) = self.next() else {
            let last = self.words.last().copied().unwrap_or_default();
            return Err(error(last, "something to ask for must follow, as 'host 10.1.0.2'"));
        };
        if depth >= MAX_DEPTH {
            return Err(error(word, format!("no more than {MAX_DEPTH} parentheses may stand in each other")));
        }
        match word {
            "not" | "!" => Ok(Expr::Not(Box::new(self.factor(depth + 1)?))),
            "(" => {
                let expr = self.chain(depth + 1)?;
                match self.next() {
                    Some(")") => Ok(expr),
                    Some(other) => Err(error(other, "put 'and' or 'or' before it, or close the '(' first")),
                    None => Err(error("(", "it is never closed: put a ')' at the end")),
                }
            }
            _ => self.ask(word),
        }
    }

    fn ask(&mut self, word: &'a str) -> Result<Expr, ExprError> {
        Ok(Expr::Ask(match word {
            "proto" => return self.proto(None),
            "in" | "iif" => Ask::In(self.value(word, "a link's name")?.to_owned()),
            "out" | "oif" => Ask::Out(self.value(word, "a link's name")?.to_owned()),
            "drop" => Ask::Drop(self.reason()?),
            "mark" => self.mark()?,
            "state" => self.state()?,
            "flow" => self.flow()?,
            _ => return self.qualified(word),
        }))
    }

    /// What stands behind `proto`, of a family if one is asked for.
    fn proto(&mut self, of: Option<Ask>) -> Result<Expr, ExprError> {
        let name = self.value("proto", Kind::Proto.what())?;
        let q = Qualified { of, side: Side::Either, kind: Kind::Proto };
        let expr = q.expr(name)?;
        self.last = Some(q);
        Ok(expr)
    }

    /// `[kind] [side] what VALUE`, or parts of it.
    fn qualified(&mut self, first: &'a str) -> Result<Expr, ExprError> {
        let mut word = first;
        let of = kind_of(word);
        if of.is_some() {
            match self.peek() {
                Some("proto") if matches!(of, Some(Ask::Family(Net::Ipv4 | Net::Ipv6))) => {
                    self.at += 1;
                    return self.proto(of);
                }
                Some(other) if names::foreign(other).is_some() => return self.alone(other),
                Some("src" | "dst" | "host" | "net" | "port" | "portrange") => {
                    word = self.next().unwrap_or(word)
                }
                _ => {
                    self.last = None;
                    return Ok(of.map_or(Expr::All, Expr::Ask));
                }
            }
        }
        let side = match word {
            "src" | "dst" => {
                let side = self.side(word);
                match self.peek() {
                    Some("host" | "net" | "port" | "portrange") => word = self.next().unwrap_or(word),
                    // `src 10.1.0.2`
                    Some(_) => word = "host",
                    None => return Err(error(word, "an address, 'net', 'port' or 'portrange' must follow")),
                }
                side
            }
            _ => Side::Either,
        };
        let kind = match word {
            "host" => Kind::Host,
            "net" => Kind::Net,
            "port" => Kind::Port,
            "portrange" => Kind::PortRange,
            value => return self.alone(value),
        };
        let value = self.value(word, kind.what())?;
        let masked = match kind {
            Kind::Net if self.takes(&["mask"]) => Some(self.masked(value)?),
            _ => None,
        };
        let q = Qualified { of, side, kind };
        let expr = q.expr(masked.as_deref().unwrap_or(value));
        let expr = expr.map_err(|e| ExprError { word: shown(value), ..e })?;
        self.last = Some(q);
        Ok(expr)
    }

    /// `NET mask MASK`, as one word.
    fn masked(&mut self, net: &str) -> Result<String, ExprError> {
        if net.contains([':', '/']) {
            return Err(error(net, "before 'mask' stands an IPv4 address alone, as 10.1.0.0"));
        }
        let mask = self.value("mask", "a netmask, as 255.255.255.0,")?;
        let length = mask.parse::<Ipv4Addr>().ok().and_then(|m| ipv4_mask_to_prefix(m).ok());
        let length = length.ok_or_else(|| error(mask, "a netmask is written 255.255.255.0"))?;
        Ok(format!("{net}/{length}"))
    }

    fn side(&mut self, first: &str) -> Side {
        let (one, other) = match first {
            "src" => (Side::Src, "dst"),
            _ => (Side::Dst, "src"),
        };
        let second = self.words.get(self.at + 1).copied() == Some(other);
        match self.peek() {
            Some("or" | "||") if second => {
                self.at += 2;
                Side::Either
            }
            Some("and" | "&&") if second => {
                self.at += 2;
                Side::Both
            }
            _ => one,
        }
    }

    /// A value without a word before it.
    fn alone(&mut self, value: &str) -> Result<Expr, ExprError> {
        if let Some(last) = &self.last {
            match last.expr(value) {
                Err(e) if last.claims(value) => return Err(e),
                Err(_) => {}
                done => return done,
            }
        }
        let host = Qualified { of: None, side: Side::Either, kind: Kind::Host };
        let net = Qualified { kind: Kind::Net, ..host.clone() };
        host.expr(value).or_else(|_| net.expr(value)).map_err(|_| {
            if matches!(value, "and" | "or" | "&&" | "||") {
                return error(value, "something to ask for must stand before it, as 'host 10.1.0.2'");
            }
            if let Some(instead) = names::foreign(value) {
                return error(value, format!("tcpdump knows this, and filters here do not: {instead}"));
            }
            let hint = closest(value).map_or(String::new(), |w| format!("did you mean '{w}'? "));
            error(
                value,
                format!(
                    "{hint}a filter asks for host, net, port, portrange, tcp, udp, icmp, icmp6, arp, ip, ip6, proto, in, \
                     out, flow, drop, mark or state"
                ),
            )
        })
    }

    /// The reason behind `drop`, if one is given.
    fn reason(&mut self) -> Result<Option<DropReason>, ExprError> {
        let Some(word) = self.peek() else { return Ok(None) };
        if matches!(word, "and" | "or" | "&&" | "||" | ")") {
            return Ok(None);
        }
        self.at += 1;
        let found = DropReason::ALL.iter().find(|r| r.name() == word);
        found.copied().map(Some).ok_or_else(|| {
            let near = DropReason::ALL.iter().map(|r| r.name()).find(|n| n.contains(word) || near(word, n));
            let hint = near.map_or(String::new(), |n| format!("did you mean '{n}'? "));
            error(
                word,
                format!("{hint}a drop reason is one that `sekisho stats` names, as filtered or no_route"),
            )
        })
    }

    fn mark(&mut self) -> Result<Ask, ExprError> {
        let word = self.value("mark", "a number, as 0x1 or 0x10/0xf0,")?;
        let (value, mask) = word.split_once('/').unwrap_or((word, "0xffffffff"));
        match (number(value), number(mask)) {
            (Some(value), Some(mask)) => Ok(Ask::Mark(value, mask)),
            _ => Err(error(word, "a mark is a number, as 0x1, or one with a mask, as 0x10/0xf0")),
        }
    }

    fn state(&mut self) -> Result<Ask, ExprError> {
        let word = self.value("state", "NEW, ESTABLISHED, RELATED, INVALID or UNTRACKED")?;
        let found = names::STATES.iter().find(|(name, _)| name.eq_ignore_ascii_case(word));
        found
            .map(|(_, state)| Ask::State(*state))
            .ok_or_else(|| error(word, "a state is NEW, ESTABLISHED, RELATED, INVALID or UNTRACKED"))
    }

    fn flow(&mut self) -> Result<Ask, ExprError> {
        let word = self.value("flow", "a flow's number, or 'tcp 10.1.0.2:40000 198.51.100.7:443',")?;
        if let Ok(number) = word.parse::<u64>() {
            return flow_of(number).map(Ask::Flow).ok_or_else(|| {
                error(word, "no flow has this number: those that have one are told by traces")
            });
        }
        let Some(kind) = names::protocol(&word.to_ascii_lowercase()) else {
            return Err(error(
                word,
                "a flow is a number, or a protocol and two ends: 'tcp 10.1.0.2:40000 198.51.100.7:443'",
            ));
        };
        let from = self.end()?;
        self.takes(&[">", "<", "<>", "-", "->"]);
        let to = self.end()?;
        if from.0.is_ipv4() != to.0.is_ipv4() {
            return Err(error(word, "both ends must be of one family"));
        }
        Ok(Ask::Between(kind, [from, to]))
    }

    /// `10.1.0.2:40000`, `[fd01::2]:40000`, `10.1.0.2`, `fd01::2`.
    fn end(&mut self) -> Result<(IpAddr, Option<u16>), ExprError> {
        let word = self.value("flow", "two ends, as 10.1.0.2:40000 and 198.51.100.7:443,")?;
        if let Ok(addr) = word.parse::<IpAddr>() {
            return Ok((addr, None));
        }
        let parts = match word.strip_prefix('[') {
            Some(rest) => rest.split_once("]:"),
            None => word.rsplit_once(':'),
        };
        let end = parts.and_then(|(addr, port)| Some((addr.parse().ok()?, Some(port.parse().ok()?))));
        end.ok_or_else(|| error(word, "an end of a flow is ADDRESS:PORT, of IPv6 [ADDRESS]:PORT"))
    }
}

impl Qualified {
    fn expr(&self, value: &str) -> Result<Expr, ExprError> {
        let ask = match self.kind {
            Kind::Host => {
                let addr: IpAddr = value.parse().map_err(|_| {
                    error(
                        value,
                        "an address is written 10.1.0.2 or fd01::2, a prefix follows 'net'; names are not looked up",
                    )
                })?;
                self.fits(value, addr)?;
                Ask::Net(self.side, IpNet::from(addr))
            }
            Kind::Net => {
                let net = prefix(value)
                    .ok_or_else(|| error(value, "a prefix is written 10.1.0.0/24 or fd01::/64"))?;
                self.fits(value, net.addr())?;
                Ask::Net(self.side, net)
            }
            Kind::Port | Kind::PortRange if !self.has_ports() => {
                return Err(error(
                    value,
                    "what is asked for before it has no ports: say 'or', or leave one of them out",
                ));
            }
            Kind::Port => {
                let port = names::service(&value.to_ascii_lowercase()).ok_or_else(|| {
                    error(
                        value,
                        "a port is a number to 65535, or the name of a service that is known here, as https",
                    )
                })?;
                Ask::Port(self.side, port, port)
            }
            Kind::PortRange => {
                let ends = value.split_once(['-', ':']);
                let ends = ends.and_then(|(a, b)| Some((names::service(a)?, names::service(b)?)));
                let (first, last) = ends.ok_or_else(|| error(value, "a range of ports is written 1-1023"))?;
                if first > last {
                    return Err(error(value, "the smaller port comes first"));
                }
                Ask::Port(self.side, first, last)
            }
            // tcpdump wants a backslash before names that are words of filters.
            Kind::Proto => {
                let number = names::protocol(&value.trim_start_matches('\\').to_ascii_lowercase());
                let number =
                    number.ok_or_else(|| error(value, "a protocol is a name, as tcp, or a number to 255"))?;
                Ask::Proto(number)
            }
        };
        let ask = Expr::Ask(ask);
        Ok(match &self.of {
            Some(of) => Expr::And(Box::new(Expr::Ask(of.clone())), Box::new(ask)),
            None => ask,
        })
    }
}

impl Qualified {
    /// Whether an address is of the family that was asked for before.
    fn fits(&self, value: &str, addr: IpAddr) -> Result<(), ExprError> {
        let family = match &self.of {
            Some(Ask::Family(Net::Ipv6)) => "IPv6",
            Some(Ask::Family(Net::Ipv4 | Net::Arp)) => "IPv4",
            _ => return Ok(()),
        };
        match addr.is_ipv6() == (family == "IPv6") {
            true => Ok(()),
            false => Err(error(value, format!("an {family} address must follow here"))),
        }
    }

    /// Whether a value alone that it refuses can have been meant for it only: read otherwise, it would ask for what nobody wrote.
    fn claims(&self, value: &str) -> bool {
        match self.kind {
            Kind::Host | Kind::Net => prefix(value).is_some(),
            Kind::Proto => value.bytes().all(|b| b.is_ascii_digit()),
            Kind::Port | Kind::PortRange => false,
        }
    }

    /// Whether what was asked for before has ports.
    fn has_ports(&self) -> bool {
        match self.of {
            Some(Ask::Proto(proto)) => names::PORTED.contains(&proto),
            Some(Ask::Family(Net::Arp)) => false,
            _ => true,
        }
    }
}

/// A prefix, its host bits set to zero; an address alone is one of full length; `10.1` is `10.1.0.0/16`, as in pcap.
fn prefix(word: &str) -> Option<IpNet> {
    if let Ok(net) = word.parse::<IpNet>() {
        return Some(net.trunc());
    }
    if let Ok(addr) = word.parse::<IpAddr>() {
        return Some(addr.into());
    }
    let (short, len) = match word.split_once('/') {
        Some((short, len)) => (short, Some(len.parse::<u8>().ok()?)),
        None => (word, None),
    };
    let octets: Vec<u8> = short.split('.').map(|o| o.parse().ok()).collect::<Option<_>>()?;
    let mut all = [0; 4];
    all.get_mut(..octets.len())?.copy_from_slice(&octets);
    let len = len.unwrap_or(octets.len() as u8 * 8);
    IpNet::new(IpAddr::from(all), len).ok().map(|n| n.trunc())
}

fn kind_of(word: &str) -> Option<Ask> {
    Some(match word {
        "ip" | "ip4" => Ask::Family(Net::Ipv4),
        "ip6" => Ask::Family(Net::Ipv6),
        "arp" => Ask::Family(Net::Arp),
        "tcp" => Ask::Proto(proto::TCP),
        "udp" => Ask::Proto(proto::UDP),
        "icmp" => Ask::Proto(proto::ICMP),
        "icmp6" | "icmpv6" => Ask::Proto(proto::ICMPV6),
        "sctp" | "igmp" | "gre" | "esp" | "ah" | "vrrp" => Ask::Proto(names::protocol(word)?),
        _ => return None,
    })
}

fn number(word: &str) -> Option<u32> {
    match word.strip_prefix("0x") {
        Some(hex) => u32::from_str_radix(hex, 16).ok(),
        None => word.parse().ok(),
    }
}

/// The flow of a number, as traces print it.
pub(super) fn flow_of(number: u64) -> Option<FlowId> {
    Some(FlowId { slot: number as u32, tenant: NonZeroU32::new((number >> 32) as u32)? })
}

/// The word that was probably meant.
fn closest(word: &str) -> Option<&'static str> {
    const WORDS: [&str; 22] = [
        "host",
        "net",
        "port",
        "portrange",
        "src",
        "dst",
        "tcp",
        "udp",
        "icmp",
        "icmp6",
        "arp",
        "ip",
        "ip6",
        "proto",
        "in",
        "out",
        "flow",
        "drop",
        "mark",
        "state",
        "and",
        "not",
    ];
    WORDS.into_iter().find(|w| near(word, w))
}

/// Whether two words differ by one letter, or by two that changed places.
fn near(a: &str, b: &str) -> bool {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().take(40).collect(), b.chars().collect());
    if a.len() < 3 || b.len() < 3 || a.len().abs_diff(b.len()) > 1 {
        return false;
    }
    let same = a.iter().zip(&b).take_while(|(x, y)| x == y).count();
    let tail = a.iter().rev().zip(b.iter().rev()).take_while(|(x, y)| x == y).count();
    let (short, long) = (a.len().min(b.len()), a.len().max(b.len()));
    if same + tail + 1 >= long && short + 1 >= long {
        return true;
    }
    a.len() == b.len()
        && same + 2 <= a.len()
        && a[same] == b[same + 1]
        && a[same + 1] == b[same]
        && a[same + 2..] == b[same + 2..]
}
