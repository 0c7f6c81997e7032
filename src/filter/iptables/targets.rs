//! The targets, as they are read.

use std::net::IpAddr;

use crate::filter::matches::{Masked, Not};
use crate::filter::rule::Family;
use crate::filter::targets::{Connmark, Log, Mss, RejectWith, SetHops, Target};
use crate::packet::NatRange;
use crate::wire::proto;

use super::matches::{cut, dscp_class};
use super::names;
use super::spec::{Given, Of, One, Opt, TargetSpec};
use super::value;

/// Every target that is read, those apart that need no module: ACCEPT, DROP, RETURN and the users' chains.
pub(super) const TARGETS: &[TargetSpec] = &[
    TargetSpec { name: "REJECT", of: Of::Both, options: &[Opt::new("reject-with", 0)], build: reject },
    TargetSpec {
        name: "LOG",
        of: Of::Both,
        options: &[
            Opt::new("log-level", 0),
            Opt::new("log-prefix", 1),
            Opt::flag("log-tcp-sequence", 2),
            Opt::flag("log-tcp-options", 3),
            Opt::flag("log-ip-options", 4),
            Opt::flag("log-uid", 5),
            Opt::flag("log-macdecode", 6),
        ],
        build: log,
    },
    TargetSpec {
        name: "MARK",
        of: Of::Both,
        options: &[
            Opt::new("set-xmark", 0).excludes(0b1_1111),
            Opt::new("set-mark", 1).excludes(0b1_1111),
            Opt::new("and-mark", 2).excludes(0b1_1111),
            Opt::new("or-mark", 3).excludes(0b1_1111),
            Opt::new("xor-mark", 4).excludes(0b1_1111),
        ],
        build: mark,
    },
    TargetSpec {
        name: "CONNMARK",
        of: Of::Both,
        options: &[
            Opt::new("set-xmark", 0).excludes(CONNMARK),
            Opt::new("set-mark", 1).excludes(CONNMARK),
            Opt::new("and-mark", 2).excludes(CONNMARK),
            Opt::new("or-mark", 3).excludes(CONNMARK),
            Opt::new("xor-mark", 4).excludes(CONNMARK),
            Opt::flag("save-mark", 5).excludes(CONNMARK),
            Opt::flag("restore-mark", 6).excludes(CONNMARK),
            Opt::new("ctmask", 7).excludes(1 << 9),
            Opt::new("nfmask", 8).excludes(1 << 9),
            Opt::new("mask", 9).excludes(1 << 7 | 1 << 8),
            Opt::new("left-shift-mark", 10).later(),
            Opt::new("right-shift-mark", 11).later(),
        ],
        build: connmark,
    },
    TargetSpec {
        name: "TOS",
        of: Of::Both,
        options: &[
            Opt::new("set-tos", 1).excludes(0b1_1110),
            Opt::new("and-tos", 2).excludes(0b1_1110),
            Opt::new("or-tos", 3).excludes(0b1_1110),
            Opt::new("xor-tos", 4).excludes(0b1_1110),
        ],
        build: tos,
    },
    TargetSpec {
        name: "DSCP",
        of: Of::Both,
        options: &[Opt::new("set-dscp", 0).excludes(0b10), Opt::new("set-dscp-class", 1).excludes(0b01)],
        build: dscp,
    },
    TargetSpec {
        name: "TTL",
        of: Of::V4,
        options: &[
            Opt::new("ttl-set", 0).excludes(0b111),
            Opt::new("ttl-dec", 1).excludes(0b111),
            Opt::new("ttl-inc", 2).excludes(0b111),
        ],
        build: hops,
    },
    TargetSpec {
        name: "HL",
        of: Of::V6,
        options: &[
            Opt::new("hl-set", 0).excludes(0b111),
            Opt::new("hl-dec", 1).excludes(0b111),
            Opt::new("hl-inc", 2).excludes(0b111),
        ],
        build: hops,
    },
    TargetSpec {
        name: "TCPMSS",
        of: Of::Both,
        options: &[Opt::new("set-mss", 0), Opt::flag("clamp-mss-to-pmtu", 1)],
        build: tcpmss,
    },
    TargetSpec {
        name: "CT",
        of: Of::Both,
        options: &[
            Opt::flag("notrack", 0),
            Opt::new("helper", 1).later(),
            Opt::new("timeout", 2).later(),
            Opt::new("ctevents", 3).later(),
            Opt::new("expevents", 4).later(),
            Opt::new("zone-orig", 5).later(),
            Opt::new("zone-reply", 6).later(),
            Opt::new("zone", 7).later(),
        ],
        build: ct,
    },
    TargetSpec { name: "NOTRACK", of: Of::Both, options: &[], build: |_| Ok(Target::Notrack) },
    TargetSpec {
        name: "SNAT",
        of: Of::Both,
        options: &[
            Opt::new("to-source", 0).must(),
            Opt::flag("random", 1),
            Opt::flag("random-fully", 2),
            Opt::flag("persistent", 3),
        ],
        build: |g| nat(g).map(Target::Snat),
    },
    TargetSpec {
        name: "DNAT",
        of: Of::Both,
        options: &[Opt::new("to-destination", 0).must(), Opt::flag("random", 1), Opt::flag("persistent", 3)],
        build: |g| nat(g).map(Target::Dnat),
    },
    TargetSpec {
        name: "MASQUERADE",
        of: Of::Both,
        options: &[Opt::new("to-ports", 0), Opt::flag("random", 1), Opt::flag("random-fully", 2)],
        build: |g| nat(g).map(Target::Masquerade),
    },
    TargetSpec {
        name: "REDIRECT",
        of: Of::Both,
        options: &[Opt::new("to-ports", 0), Opt::flag("random", 1)],
        build: |g| nat(g).map(Target::Redirect),
    },
    TargetSpec { name: "NETMAP", of: Of::Both, options: &[Opt::new("to", 0).must()], build: netmap },
];

/// What CONNMARK can do, of which it does one.
const CONNMARK: u16 = 0b111_1111;

/// The longest prefix of a log line, in bytes; what is beyond is cut off (`struct xt_log_info`).
const LONGEST_PREFIX: usize = 29;
/// The level of log lines if nothing is said: warning.
pub(super) const LOG_LEVEL: u8 = 4;

/// What REJECT can answer in IPv4, each with the name that is written and another.
pub(super) const REJECT4: &[(RejectWith, &str, &str)] = &[
    (RejectWith::Net, "icmp-net-unreachable", "net-unreach"),
    (RejectWith::Host, "icmp-host-unreachable", "host-unreach"),
    (RejectWith::Proto, "icmp-proto-unreachable", "proto-unreach"),
    (RejectWith::Port, "icmp-port-unreachable", "port-unreach"),
    (RejectWith::NetProhibited, "icmp-net-prohibited", "net-prohib"),
    (RejectWith::HostProhibited, "icmp-host-prohibited", "host-prohib"),
    (RejectWith::TcpReset, "tcp-reset", "tcp-rst"),
    (RejectWith::AdminProhibited, "icmp-admin-prohibited", "admin-prohib"),
];

/// And in IPv6.
pub(super) const REJECT6: &[(RejectWith, &str, &str)] = &[
    (RejectWith::NoRoute6, "icmp6-no-route", "no-route"),
    (RejectWith::AdminProhibited6, "icmp6-adm-prohibited", "adm-prohibited"),
    (RejectWith::Addr6, "icmp6-addr-unreachable", "addr-unreach"),
    (RejectWith::Port6, "icmp6-port-unreachable", "port-unreach"),
    (RejectWith::TcpReset, "tcp-reset", "tcp-reset"),
    (RejectWith::Policy6, "icmp6-policy-fail", "policy-fail"),
    (RejectWith::Route6, "icmp6-reject-route", "reject-route"),
];

fn reject(g: &Given<'_>) -> Result<Target, String> {
    let (known, usual) = match g.family {
        Family::V4 => (REJECT4, RejectWith::Port),
        Family::V6 => (REJECT6, RejectWith::Port6),
    };
    let begins =
        |name: &str, text: &str| name.get(..text.len()).is_some_and(|n| n.eq_ignore_ascii_case(text));
    let with = |text: &str| {
        let found = known.iter().find(|(_, name, other)| begins(name, text) || begins(other, text));
        found.map(|(with, ..)| *with).ok_or_else(|| {
            let names: Vec<&str> = known.iter().map(|(_, name, _)| *name).collect();
            format!("'{text}' is none of {}", names.join(", "))
        })
    };
    Ok(Target::Reject(g.value(0, with)?.map_or(usual, |w| w.value)))
}

fn log(g: &Given<'_>) -> Result<Target, String> {
    let level = |text: &str| match value::number(text, 0, 7) {
        Ok(level) => Ok(level as u8),
        Err(_) => {
            names::LEVELS.iter().find(|(name, _)| *name == text).map(|(_, level)| *level).ok_or_else(|| {
                let names: Vec<&str> = names::LEVELS.iter().map(|(name, _)| *name).collect();
                format!("'{text}' is no level: 0 to 7, or one of {}", names.join(", "))
            })
        }
    };
    let prefix = |text: &str| match text {
        "" => Err("an empty prefix".into()),
        _ if text.contains('\n') => Err("a prefix of more than one line".into()),
        _ => Ok(cut(text, LONGEST_PREFIX).to_owned()),
    };
    Ok(Target::Log(Log {
        level: g.value(0, level)?.map_or(LOG_LEVEL, |l| l.value),
        prefix: g.value(1, prefix)?.map(|p| p.value).unwrap_or_default(),
        sequence: g.has(2),
        tcp_options: g.has(3),
        ip_options: g.has(4),
        uid: g.has(5),
        mac_decode: g.has(6),
    }))
}

/// `--set-xmark`, `--set-mark`, `--and-mark`, `--or-mark`, `--xor-mark` (ids from 0): all are one operation. `last` is
/// the largest value.
fn operation(one: &One<'_>, last: u64) -> Result<Option<Masked>, String> {
    let bits = || one.value(|t| value::number(t, 0, last)).map(|n| n.value as u32);
    let not = last as u32;
    Ok(Some(match one.opt.id {
        0 => one.value(|t| value::masked(t, last))?.value,
        1 => {
            let Masked { value, mask } = one.value(|t| value::masked(t, last))?.value;
            Masked { value, mask: mask | value }
        }
        2 => Masked { value: 0, mask: !bits()? & not },
        3 => {
            let bits = bits()?;
            Masked { value: bits, mask: bits }
        }
        4 => Masked { value: bits()?, mask: 0 },
        _ => return Ok(None),
    }))
}

fn mark(g: &Given<'_>) -> Result<Target, String> {
    let one = g.iter().next().ok_or_else(|| g.lacks())?;
    operation(one, u32::MAX.into())?.map(Target::Mark).ok_or_else(|| g.lacks())
}

fn connmark(g: &Given<'_>) -> Result<Target, String> {
    // As the tool does: masks and operations stand in the same two fields, and what is said last holds.
    let (mut op, mut value, mut ct_mask, mut nf_mask) = (None, 0, u32::MAX, u32::MAX);
    for o in g.iter() {
        let mask = || o.value(|t| value::number(t, 0, u32::MAX.into())).map(|n| n.value as u32);
        match o.opt.id {
            7 => ct_mask = mask()?,
            8 => nf_mask = mask()?,
            9 => (ct_mask, nf_mask) = (mask()?, mask()?),
            id => {
                op = Some(id);
                if let Some(masked) = operation(o, u32::MAX.into())? {
                    (value, ct_mask) = (masked.value, masked.mask);
                }
            }
        }
    }
    Ok(Target::Connmark(match op.ok_or_else(|| g.lacks())? {
        5 => Connmark::Save { nf_mask, ct_mask },
        6 => Connmark::Restore { nf_mask, ct_mask },
        _ => Connmark::Set(Masked { value, mask: ct_mask }),
    }))
}

fn tos(g: &Given<'_>) -> Result<Target, String> {
    let one = g.iter().next().ok_or_else(|| g.lacks())?;
    let tos = match one.opt.id {
        1 => Some(one.value(value::tos)?.value),
        _ => operation(one, 255)?,
    };
    tos.map(Target::Tos).ok_or_else(|| g.lacks())
}

fn dscp(g: &Given<'_>) -> Result<Target, String> {
    let by_number = g.value(0, |t| value::number(t, 0, 63).map(|n| n as u8))?;
    let by_class = g.value(1, dscp_class)?;
    by_number.or(by_class).map(|d| Target::Dscp(d.value)).ok_or_else(|| g.lacks())
}

fn hops(g: &Given<'_>) -> Result<Target, String> {
    let one = g.iter().next().ok_or_else(|| g.lacks())?;
    let least = u64::from(one.opt.id != 0);
    let n = one.value(|t| value::number(t, least, 255))?.value as u8;
    Ok(Target::Hops(match one.opt.id {
        0 => SetHops::Set(n),
        1 => SetHops::Dec(n),
        _ => SetHops::Inc(n),
    }))
}

fn tcpmss(g: &Given<'_>) -> Result<Target, String> {
    // What is left of 65,535 bytes behind the IP header.
    let most = match g.family {
        Family::V4 => 65_535 - 20,
        Family::V6 => 65_535 - 40,
    };
    let mut mss = None;
    for o in g.iter() {
        mss = Some(match o.opt.id {
            0 => Mss::Set(o.value(|t| value::number(t, 0, most))?.value as u16),
            _ => Mss::Clamp,
        });
    }
    mss.map(Target::TcpMss).ok_or_else(|| g.lacks())
}

fn ct(g: &Given<'_>) -> Result<Target, String> {
    match g.has(0) {
        true => Ok(Target::CtNotrack),
        false => Err("CT: nothing but --notrack is supported here (yet)".into()),
    }
}

fn nat(g: &Given<'_>) -> Result<NatRange, String> {
    let mut range =
        NatRange { random: g.has(1), random_fully: g.has(2), persistent: g.has(3), ..NatRange::default() };
    if let Some(one) = g.get(0) {
        match one.opt.name {
            "to-ports" => one.says(nat_ports(one.arg, one, &mut range, false))?,
            name => one.says(nat_to(one, &mut range, g.family, name == "to-destination"))?,
        }
    }
    Ok(range)
}

/// `[ADDR[-ADDR]][:PORTS]`; of IPv6 the addresses stand in brackets if ports follow.
fn nat_to(one: &One<'_>, range: &mut NatRange, family: Family, shifted: bool) -> Result<(), String> {
    let text = one.arg;
    let (addrs, ports) = match text.strip_prefix('[') {
        Some(_) if family == Family::V4 => return Err(format!("'{text}' is no IPv4 address")),
        Some(rest) => {
            let (addrs, rest) = rest.split_once(']').ok_or_else(|| format!("'{text}' lacks a ']'"))?;
            match rest.strip_prefix(':') {
                Some(ports) => (addrs, Some(ports)),
                None if rest.is_empty() => (addrs, None),
                None => return Err(format!("'{rest}' stands behind the ']': a colon and ports may")),
            }
        }
        None => match text.split_once(':') {
            // More than one colon: an address.
            Some((_, rest)) if rest.contains(':') => (text, None),
            Some((addrs, ports)) => (addrs, Some(ports)),
            None => (text, None),
        },
    };
    if let Some(ports) = ports {
        nat_ports(ports, one, range, shifted)?;
        if addrs.is_empty() {
            return Ok(());
        }
    }
    let (first, last) = addrs.split_once('-').unwrap_or((addrs, addrs));
    let (first, last) = (value::address(first, family)?, value::address(last, family)?);
    if first > last {
        return Err(format!("'{addrs}' ends before it begins"));
    }
    range.addr = Some((first, last));
    Ok(())
}

/// `PORT`, `PORT-PORT`, and of DNAT `PORT-PORT/PORT`.
fn nat_ports(text: &str, one: &One<'_>, range: &mut NatRange, shifted: bool) -> Result<(), String> {
    let proto = one.proto.map(|Not { value, .. }| value);
    if !matches!(proto, Some(proto::TCP | proto::UDP | proto::SCTP | proto::DCCP | proto::ICMP)) {
        return Err("ports need -p tcp, udp, sctp, dccp or icmp before them".into());
    }
    let (ports, base) = match text.split_once('/') {
        Some((ports, base)) => (ports, Some(base)),
        None => (text, None),
    };
    let Some((first, last)) = ports.split_once('-').filter(|(a, _)| value::number(a, 0, 65535).is_ok())
    else {
        if base.is_some() {
            return Err(format!("'{text}': a base port needs a range before it"));
        }
        let port = value::port(ports, None).map_err(|e| format!("{e}, or two with a dash between"))?;
        range.port = Some((port, port));
        return Ok(());
    };
    let (first, last) = (value::number(first, 0, 65535)? as u16, value::number(last, 0, 65535)? as u16);
    if first > last {
        return Err(format!("'{ports}' ends before it begins"));
    }
    range.port = Some((first, last));
    if let Some(base) = base {
        if !shifted {
            return Err(format!("'{text}': a base port is for DNAT alone"));
        }
        let base = value::port(base, None)?;
        if base == 0 {
            return Err(format!("'{text}': the base port can't be 0"));
        }
        range.base = Some(base);
    }
    Ok(())
}

fn netmap(g: &Given<'_>) -> Result<Target, String> {
    let to = g.must(0, |t| value::host_mask(t, g.family))?.value;
    let addr: IpAddr = value::and(to.addr, to.mask);
    match value::prefix_len(to.mask) {
        Some(prefix_len) => Ok(Target::Netmap { addr, prefix_len }),
        None => Err(format!("--to: a mask that is no prefix ({}) is not supported here (yet)", to.mask)),
    }
}
