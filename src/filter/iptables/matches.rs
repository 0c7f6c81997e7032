//! The matches, as they are read.

use crate::filter::matches::{
    AddrTypes, Conntrack, Hops, IcmpType, Match, Not, PktType, Ports, Side, States, StatusSet, Tcp, Which,
};
use crate::filter::rule::Family;
use crate::packet::Status;
use crate::wire::proto;

use super::names::{self, abbreviated};
use super::spec::{Given, MatchSpec, Of, One, Opt};
use super::value;

/// Every match that is read.
pub(super) const MATCHES: &[MatchSpec] = &[
    MatchSpec {
        name: "tcp",
        of: Of::Both,
        options: &[
            Opt::new("source-port", 0).not(),
            Opt::new("sport", 0).not(),
            Opt::new("destination-port", 1).not(),
            Opt::new("dport", 1).not(),
            Opt::flag("syn", 2).not(),
            Opt { args: 2, ..Opt::new("tcp-flags", 2).not() },
            Opt::new("tcp-option", 3).not(),
        ],
        build: tcp,
    },
    MatchSpec {
        name: "udp",
        of: Of::Both,
        options: &[
            Opt::new("source-port", 0).not(),
            Opt::new("sport", 0).not(),
            Opt::new("destination-port", 1).not(),
            Opt::new("dport", 1).not(),
        ],
        build: udp,
    },
    MatchSpec { name: "icmp", of: Of::V4, options: &[Opt::new("icmp-type", 0).not().must()], build: icmp },
    MatchSpec { name: "icmp6", of: Of::V6, options: &[Opt::new("icmpv6-type", 0).not().must()], build: icmp },
    MatchSpec {
        name: "conntrack",
        of: Of::Both,
        options: &[
            Opt::new("ctstate", 0).not(),
            Opt::new("ctproto", 1).not(),
            Opt::new("ctorigsrc", 2).not(),
            Opt::new("ctorigdst", 3).not(),
            Opt::new("ctreplsrc", 4).not(),
            Opt::new("ctrepldst", 5).not(),
            Opt::new("ctorigsrcport", 6).not(),
            Opt::new("ctorigdstport", 7).not(),
            Opt::new("ctreplsrcport", 8).not(),
            Opt::new("ctrepldstport", 9).not(),
            Opt::new("ctstatus", 10).not(),
            Opt::new("ctexpire", 11).not(),
            Opt::new("ctdir", 12),
        ],
        build: conntrack,
    },
    MatchSpec { name: "state", of: Of::Both, options: &[Opt::new("state", 0).not().must()], build: state },
    MatchSpec { name: "mark", of: Of::Both, options: &[Opt::new("mark", 0).not().must()], build: mark },
    MatchSpec {
        name: "connmark",
        of: Of::Both,
        options: &[Opt::new("mark", 0).not().must()],
        build: connmark,
    },
    MatchSpec {
        name: "multiport",
        of: Of::Both,
        options: &[
            Opt::new("source-ports", 0).not().excludes(0b110),
            Opt::new("sports", 0).not().excludes(0b110),
            Opt::new("destination-ports", 1).not().excludes(0b101),
            Opt::new("dports", 1).not().excludes(0b101),
            Opt::new("ports", 2).not().excludes(0b011),
        ],
        build: multiport,
    },
    MatchSpec {
        name: "iprange",
        of: Of::Both,
        options: &[Opt::new("src-range", 0).not(), Opt::new("dst-range", 1).not()],
        build: iprange,
    },
    MatchSpec { name: "mac", of: Of::Both, options: &[Opt::new("mac-source", 0).not().must()], build: mac },
    MatchSpec {
        name: "limit",
        of: Of::Both,
        options: &[Opt::new("limit", 0), Opt::new("limit-burst", 1)],
        build: limit,
    },
    MatchSpec { name: "length", of: Of::Both, options: &[Opt::new("length", 0).not().must()], build: length },
    MatchSpec {
        name: "ttl",
        of: Of::V4,
        options: &[
            Opt::new("ttl-lt", 1).excludes(0b111),
            Opt::new("ttl-gt", 2).excludes(0b111),
            Opt::new("ttl-eq", 0).not().excludes(0b111),
            Opt::new("ttl", 0).not().excludes(0b111),
        ],
        build: |g| hops(g).map(Match::Ttl),
    },
    MatchSpec {
        name: "hl",
        of: Of::V6,
        options: &[
            Opt::new("hl-lt", 1).excludes(0b111),
            Opt::new("hl-gt", 2).excludes(0b111),
            Opt::new("hl-eq", 0).not().excludes(0b111),
            Opt::new("hl", 0).not().excludes(0b111),
        ],
        build: |g| hops(g).map(Match::Hl),
    },
    MatchSpec {
        name: "tos",
        of: Of::Both,
        options: &[Opt::new("tos", 0).not().must()],
        build: |g| g.must(0, value::tos).map(Match::Tos),
    },
    MatchSpec {
        name: "dscp",
        of: Of::Both,
        options: &[Opt::new("dscp", 0).not().excludes(0b10), Opt::new("dscp-class", 1).not().excludes(0b01)],
        build: dscp,
    },
    MatchSpec {
        name: "ecn",
        of: Of::Both,
        options: &[
            Opt::flag("ecn-tcp-cwr", 0).not(),
            Opt::flag("ecn-tcp-ece", 1).not(),
            Opt::new("ecn-ip-ect", 2).not(),
        ],
        build: ecn,
    },
    MatchSpec {
        name: "pkttype",
        of: Of::Both,
        options: &[Opt::new("pkt-type", 0).not().must()],
        build: pkttype,
    },
    MatchSpec {
        name: "addrtype",
        of: Of::Both,
        options: &[
            Opt::new("src-type", 0).not(),
            Opt::new("dst-type", 1).not(),
            Opt::flag("limit-iface-in", 2).excludes(0b1000),
            Opt::flag("limit-iface-out", 3).excludes(0b0100),
        ],
        build: addrtype,
    },
    MatchSpec {
        name: "statistic",
        of: Of::Both,
        options: &[
            Opt::new("mode", 0).must(),
            Opt::new("probability", 1).not().excludes(0b1100),
            Opt::new("every", 2).not().excludes(0b0010).also(0b1000),
            Opt::new("packet", 3).excludes(0b0010).also(0b0100),
        ],
        build: statistic,
    },
    MatchSpec { name: "comment", of: Of::Both, options: &[Opt::new("comment", 0).must()], build: comment },
];

/// The longest comment, in bytes; what is beyond is cut off (`XT_MAX_COMMENT_LEN`, less the zero at its end).
const LONGEST_COMMENT: usize = 255;
/// The slots of multiport; a range takes two (`XT_MULTI_PORTS`).
const MULTI_PORTS: usize = 15;
/// How many packets come at once if nothing is said (`XT_LIMIT_BURST`).
pub(super) const LIMIT_BURST: u32 = 5;
/// A second, in the unit of [`Match::Limit`] (`XT_LIMIT_SCALE`).
pub(super) const LIMIT_SCALE: u32 = 10_000;

fn tcp(g: &Given<'_>) -> Result<Match, String> {
    let ports = |text: &str| {
        let ports = value::ports(text, |t| value::port(t, Some(proto::TCP)))?;
        match ports.first <= ports.last {
            true => Ok(ports),
            false => Err(format!("'{text}' ends before it begins")),
        }
    };
    let flags = |o: &One<'_>| match o.opt.args {
        0 => Ok((0b1_0111, 0b0_0010)),
        _ => o.says(tcp_flags(o.arg).and_then(|mask| Ok((mask, tcp_flags(o.second)?)))),
    };
    let flags = g.get(2).map(|o| flags(o).map(|value| Not { not: o.not, value })).transpose()?;
    Ok(Match::Tcp(Tcp {
        sport: g.value(0, ports)?.filter(says_something),
        dport: g.value(1, ports)?.filter(says_something),
        // No flag looked at, none expected: always so.
        flags: flags.filter(|f| *f != Not::is((0, 0))),
        option: g.value(3, |t| value::number(t, 1, 255).map(|n| n as u8))?,
    }))
}

fn udp(g: &Given<'_>) -> Result<Match, String> {
    let ports = |text: &str| value::ports(text, value::decimal_port);
    Ok(Match::Udp {
        sport: g.value(0, ports)?.filter(says_something),
        dport: g.value(1, ports)?.filter(says_something),
    })
}

/// All ports are no condition.
fn says_something(ports: &Not<Ports>) -> bool {
    *ports != Not::is(Ports { first: 0, last: 65535 })
}

fn tcp_flags(text: &str) -> Result<u8, String> {
    let mut flags = 0;
    for name in text.split(',').filter(|n| !n.is_empty()) {
        flags |= match name {
            _ if name.eq_ignore_ascii_case("ALL") => 0x3f,
            _ if name.eq_ignore_ascii_case("NONE") => 0,
            _ => match names::TCP_FLAGS.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)) {
                Some((_, bit)) => *bit,
                None => {
                    return Err(format!("'{name}' is no flag: FIN, SYN, RST, PSH, ACK, URG, ALL or NONE"));
                }
            },
        };
    }
    Ok(flags)
}

fn icmp(g: &Given<'_>) -> Result<Match, String> {
    let types = match g.family {
        Family::V4 => names::ICMP,
        Family::V6 => names::ICMPV6,
    };
    let mut kind = g.must(0, |text| icmp_type(text, types))?;
    if g.family == Family::V4 && kind.value.kind == 255 {
        kind.value.codes = (0, 255);
    }
    Ok(Match::Icmp(kind))
}

fn icmp_type(text: &str, types: &[(&str, u8, u8, u8)]) -> Result<IcmpType, String> {
    let named: Vec<_> = abbreviated(types.iter().map(|t| (t.0, *t)), text).map(|(_, t)| t).collect();
    match named[..] {
        [(_, kind, first, last)] => return Ok(IcmpType { kind, codes: (first, last) }),
        [a, b, ..] => return Err(format!("'{text}' begins both {} and {}", a.0, b.0)),
        [] => {}
    }
    let bad = || format!("'{text}' is no type: a name, a number, or TYPE/CODE");
    let (kind, codes) = match text.split_once('/') {
        None => (text, (0, 255)),
        Some((kind, codes)) => {
            let (first, last) = codes.split_once(':').unwrap_or((codes, codes));
            (kind, (value::byte(first).map_err(|_| bad())?, value::byte(last).map_err(|_| bad())?))
        }
    };
    Ok(IcmpType { kind: value::byte(kind).map_err(|_| bad())?, codes })
}

fn conntrack(g: &Given<'_>) -> Result<Match, String> {
    let addr = |text: &str| value::host_mask(text, g.family);
    // The kernel takes a last port of zero for none given.
    let ports = |text: &str| match value::ports(text, value::decimal_port)? {
        Ports { first, last: 0 } if first > 0 => Err(format!("'{text}' is a range that ends at port 0")),
        ports => Ok(ports),
    };
    let direction = |text: &str| match text {
        _ if text.eq_ignore_ascii_case("ORIGINAL") => Ok(true),
        _ if text.eq_ignore_ascii_case("REPLY") => Ok(false),
        _ => Err(format!("'{text}' is neither ORIGINAL nor REPLY")),
    };
    if g.iter().next().is_none() {
        return Err(g.lacks());
    }
    Ok(Match::Conntrack(Box::new(Conntrack {
        state: g.value(0, |t| states(t, &STATES))?,
        proto: g.value(1, value::protocol)?,
        orig_src: g.value(2, addr)?,
        orig_dst: g.value(3, addr)?,
        repl_src: g.value(4, addr)?,
        repl_dst: g.value(5, addr)?,
        orig_src_port: g.value(6, ports)?,
        orig_dst_port: g.value(7, ports)?,
        repl_src_port: g.value(8, ports)?,
        repl_dst_port: g.value(9, ports)?,
        status: g.value(10, statuses)?,
        expire: g.value(11, |t| value::range(t, u32::MAX.into()).map(|(a, b)| (a as u32, b as u32)))?,
        original: g.value(12, direction)?.map(|d| d.value),
    })))
}

/// The states in the order in which an abbreviation finds them.
const STATES: [(&str, States); 7] = [
    ("INVALID", States::INVALID),
    ("NEW", States::NEW),
    ("ESTABLISHED", States::ESTABLISHED),
    ("RELATED", States::RELATED),
    ("UNTRACKED", States::UNTRACKED),
    ("SNAT", States::SNAT),
    ("DNAT", States::DNAT),
];

fn state(g: &Given<'_>) -> Result<Match, String> {
    Ok(Match::State(g.must(0, |t| states(t, &STATES[..5]))?))
}

fn states(text: &str, known: &[(&'static str, States)]) -> Result<States, String> {
    list(text, known.iter().copied()).map(|states| States(states.iter().fold(0, |bits, s| bits | s.0)))
}

fn statuses(text: &str) -> Result<StatusSet, String> {
    let known = [
        ("NONE", Status(0)),
        ("EXPECTED", Status::EXPECTED),
        ("SEEN_REPLY", Status::SEEN_REPLY),
        ("ASSURED", Status::ASSURED),
        ("CONFIRMED", Status::CONFIRMED),
    ];
    let bits = list(text, known)?.iter().fold(0, |bits, s| bits | s.0);
    Ok(StatusSet { bits, none: bits == 0 })
}

/// Names with commas between; each may be cut short.
fn list<T>(text: &str, known: impl IntoIterator<Item = (&'static str, T)> + Clone) -> Result<Vec<T>, String> {
    let one = |name: &str| {
        let found = abbreviated(known.clone(), name).next().filter(|_| !name.is_empty());
        found.map(|(_, value)| value).ok_or_else(|| {
            let known: Vec<&str> = known.clone().into_iter().map(|(n, _)| n).collect();
            format!("'{name}' is none of {}", known.join(", "))
        })
    };
    text.split(',').map(one).collect()
}

fn mark(g: &Given<'_>) -> Result<Match, String> {
    g.must(0, |t| value::masked(t, u32::MAX.into())).map(Match::Mark)
}

fn connmark(g: &Given<'_>) -> Result<Match, String> {
    g.must(0, |t| value::masked(t, u32::MAX.into())).map(Match::Connmark)
}

fn multiport(g: &Given<'_>) -> Result<Match, String> {
    let given = g.iter().next().ok_or_else(|| g.lacks())?;
    let which = match given.opt.id {
        0 => Which::Source,
        1 => Which::Destination,
        _ => Which::Either,
    };
    let of = match given.proto {
        Some(Not { not: false, value: p }) if has_ports(p) => p,
        _ => return Err("multiport needs -p tcp, udp, udplite, sctp or dccp before it".into()),
    };
    let ports = |text: &str| {
        let mut slots = 0;
        let one = |one: &str| {
            let ports = match one.split_once(':') {
                None => {
                    let p = value::port(one, Some(of))?;
                    Ports { first: p, last: p }
                }
                Some((a, b)) => Ports { first: value::port(a, Some(of))?, last: value::port(b, Some(of))? },
            };
            if one.contains(':') && ports.first >= ports.last {
                return Err(format!("'{one}' ends before it begins"));
            }
            slots += 1 + usize::from(ports.first != ports.last);
            Ok(ports)
        };
        let ports = text.split(',').map(one).collect::<Result<Vec<Ports>, String>>()?;
        match slots <= MULTI_PORTS {
            true => Ok(ports),
            false => Err(format!("more than {MULTI_PORTS} ports; a range counts as two")),
        }
    };
    Ok(Match::Multiport { which, ports: given.value(ports)? })
}

fn has_ports(p: u8) -> bool {
    matches!(p, proto::TCP | proto::UDP | proto::UDP_LITE | proto::SCTP | proto::DCCP)
}

fn iprange(g: &Given<'_>) -> Result<Match, String> {
    let range = |text: &str| {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        Ok((value::range_address(first, g.family)?, value::range_address(last, g.family)?))
    };
    let (src, dst) = (g.value(0, range)?, g.value(1, range)?);
    match (src, dst) {
        (None, None) => Err(g.lacks()),
        (src, dst) => Ok(Match::IpRange { src, dst }),
    }
}

fn mac(g: &Given<'_>) -> Result<Match, String> {
    g.must(0, value::mac).map(Match::Mac)
}

fn limit(g: &Given<'_>) -> Result<Match, String> {
    let every = g.value(0, rate)?.map_or(LIMIT_SCALE * 3600 / 3, |n| n.value);
    let burst =
        g.value(1, |t| value::number(t, 0, 10_000).map(|n| n as u32))?.map_or(LIMIT_BURST, |n| n.value);
    Ok(Match::Limit { every, burst })
}

/// `N`, `N/second`, `N/minute`, `N/hour`, `N/day`, and what begins like them.
fn rate(text: &str) -> Result<u32, String> {
    let bad = || format!("'{text}' is no rate such as 3/minute (second, minute, hour, day)");
    let (n, unit) = text.split_once('/').unwrap_or((text, "second"));
    let units = [("second", 1), ("minute", 60), ("hour", 3600), ("day", 86_400)];
    let seconds = abbreviated(units, unit).next().filter(|_| !unit.is_empty()).ok_or_else(bad)?.1;
    let n: u32 = n.parse().ok().filter(|n| *n > 0).ok_or_else(bad)?;
    match LIMIT_SCALE * seconds / n {
        0 => Err(format!("'{text}' is too fast: {LIMIT_SCALE} a second at most")),
        every => Ok(every),
    }
}

fn length(g: &Given<'_>) -> Result<Match, String> {
    g.must(0, |t| value::range(t, 65535).map(|(a, b)| (a as u16, b as u16))).map(Match::Length)
}

fn hops(g: &Given<'_>) -> Result<Hops, String> {
    let one = g.iter().next().ok_or_else(|| g.lacks())?;
    let hops = one.value(value::byte)?;
    Ok(match one.opt.id {
        0 => Hops::Eq(hops),
        1 => Hops::Lt(hops.value),
        _ => Hops::Gt(hops.value),
    })
}

fn dscp(g: &Given<'_>) -> Result<Match, String> {
    let by_number = g.value(0, |t| value::number(t, 0, 63).map(|n| n as u8))?;
    let by_class = g.value(1, dscp_class)?;
    by_number.or(by_class).map(Match::Dscp).ok_or_else(|| g.lacks())
}

/// A class by name.
pub(super) fn dscp_class(text: &str) -> Result<u8, String> {
    let found = names::DSCP.iter().find(|(name, _)| name.eq_ignore_ascii_case(text));
    found
        .map(|(_, dscp)| *dscp)
        .ok_or_else(|| format!("'{text}' is no class: BE, EF, CS0 to CS7, AF11 to AF43"))
}

fn ecn(g: &Given<'_>) -> Result<Match, String> {
    let cwr = g.get(0).map(|o| !o.not);
    let ece = g.get(1).map(|o| !o.not);
    let ect = g.value(2, |t| value::number(t, 0, 3).map(|n| n as u8))?;
    match (cwr, ece, ect) {
        (None, None, None) => Err(g.lacks()),
        _ => Ok(Match::Ecn { cwr, ece, ect }),
    }
}

fn pkttype(g: &Given<'_>) -> Result<Match, String> {
    let kind = |text: &str| match text.to_ascii_lowercase().as_str() {
        "unicast" | "host" => Ok(PktType::Unicast),
        "broadcast" | "bcast" => Ok(PktType::Broadcast),
        "multicast" | "mcast" => Ok(PktType::Multicast),
        "otherhost" => Ok(PktType::OtherHost),
        _ => Err(format!("'{text}' is none of unicast, broadcast, multicast, otherhost")),
    };
    g.must(0, kind).map(Match::PktType)
}

fn addrtype(g: &Given<'_>) -> Result<Match, String> {
    let types = |text: &str| {
        let known = names::ADDR_TYPES.iter().enumerate().map(|(bit, name)| (*name, 1 << bit));
        list(text, known).map(|bits: Vec<u16>| AddrTypes(bits.iter().fold(0, |all, b| all | b)))
    };
    let (src, dst) = (g.value(0, types)?, g.value(1, types)?);
    if src.is_none() && dst.is_none() {
        return Err("addrtype: give --src-type or --dst-type".into());
    }
    let limit = match (g.has(2), g.has(3)) {
        (true, _) => Some(Side::In),
        (_, true) => Some(Side::Out),
        _ => None,
    };
    Ok(Match::AddrType { src, dst, limit })
}

fn statistic(g: &Given<'_>) -> Result<Match, String> {
    let random = |text: &str| match text {
        "random" => Ok(true),
        "nth" => Ok(false),
        _ => Err(format!("'{text}' is neither random nor nth")),
    };
    let chance = |text: &str| match text.parse::<f64>() {
        Ok(p) if (0.0..=1.0).contains(&p) => Ok((p * f64::from(1_u32 << 31)).round() as u32),
        _ => Err(format!("'{text}' is no number from 0 to 1")),
    };
    let every = |text: &str| value::number(text, 1, u32::MAX.into()).map(|n| n as u32);
    let packet = |text: &str| value::number(text, 0, u32::MAX.into()).map(|n| n as u32);
    let (chance, every, packet) = (g.value(1, chance)?, g.value(2, every)?, g.value(3, packet)?);
    match (g.must(0, random)?.value, chance, every, packet) {
        (true, Some(chance), ..) => Ok(Match::Random(chance)),
        (true, None, ..) => Err("statistic: --mode random needs --probability".into()),
        (false, _, Some(every), Some(packet)) if packet.value < every.value => {
            Ok(Match::Nth { not: every.not, every: every.value, packet: packet.value })
        }
        (false, _, Some(every), Some(_)) => {
            Err(format!("statistic: --packet must be below --every, which is {}", every.value))
        }
        (false, ..) => Err("statistic: --mode nth needs --every and --packet".into()),
    }
}

fn comment(g: &Given<'_>) -> Result<Match, String> {
    g.must(0, |t| Ok(cut(t, LONGEST_COMMENT).to_owned())).map(|n| Match::Comment(n.value))
}

/// The beginning of a text, at most so many bytes.
pub(super) fn cut(text: &str, most: usize) -> &str {
    let end = (0..=most.min(text.len())).rev().find(|i| text.is_char_boundary(*i)).unwrap_or(0);
    &text[..end]
}
