//! What `iptables -L` says of matches and of targets with options: other words than those of the commands, and without
//! `-n` yet others.

use std::fmt;

use crate::filter::matches::{Conntrack, Hops, IcmpType, Masked, Match, Not, Ports, Side, Tcp, Which};
use crate::filter::rule::{Family, Rule};
use crate::filter::targets::{Connmark, Log, Mss, SetHops, Target};
use crate::wire::proto;

use super::super::names;
use super::super::value::show;
use super::super::write::{self, Out, span};

/// The matches of a rule and the options of its target, each behind a blank.
pub(super) struct Words<'a> {
    pub(super) rule: &'a Rule,
    pub(super) family: Family,
    /// Numbers for names, as far as `-n` makes them so.
    pub(super) numeric: bool,
}

impl fmt::Display for Words<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.rule.matches.iter().try_for_each(|m| self.a_match(f, m))?;
        self.target(f)
    }
}

fn bang(not: bool) -> &'static str {
    if not { "!" } else { "" }
}

/// ` [! ]NAME VALUE`.
fn named<T>(f: Out<'_, '_>, name: &str, n: &Option<Not<T>>, show: impl Fn(&T) -> String) -> fmt::Result {
    match n {
        Some(n) => write!(f, "{} {name} {}", if n.not { " !" } else { "" }, show(&n.value)),
        None => Ok(()),
    }
}

impl Words<'_> {
    fn a_match(&self, f: Out<'_, '_>, m: &Match) -> fmt::Result {
        match m {
            Match::Tcp(m) => self.tcp(f, m),
            Match::Udp { sport, dport } => {
                f.write_str(" udp")?;
                self.ports(f, "spt", sport, proto::UDP)?;
                self.ports(f, "dpt", dport, proto::UDP)
            }
            Match::Icmp(n) => self.icmp(f, n),
            Match::Conntrack(m) => conntrack(f, m),
            Match::State(n) => {
                write!(f, "{} state {}", if n.not { " !" } else { "" }, write::states(&n.value))
            }
            Match::Mark(n) => write!(f, " mark match{} {}", spaced(n.not), mark(n.value)),
            Match::Connmark(n) => write!(f, " connmark match {} {}", bang(n.not), mark(n.value)),
            Match::Multiport { which, ports: n } => {
                let name = match which {
                    Which::Source => "sports",
                    Which::Destination => "dports",
                    Which::Either => "ports",
                };
                let of = self.rule.basic.proto.map_or(0, |p| p.value);
                let ports = n.value.iter().map(|p| match p.first == p.last {
                    true => self.port(p.first, of),
                    false => format!("{}:{}", self.port(p.first, of), self.port(p.last, of)),
                });
                let ports: Vec<String> = ports.collect();
                write!(f, " multiport {name} {}{}", if n.not { " !" } else { "" }, ports.join(","))
            }
            Match::IpRange { src, dst } => {
                for (name, range) in [("source", src), ("destination", dst)] {
                    if let Some(n) = range {
                        let (first, last) = n.value;
                        write!(f, " {name} IP range{} {}-{}", spaced(n.not), show(first), show(last))?;
                    }
                }
                Ok(())
            }
            Match::Mac(n) => write!(f, " MAC{} {}", spaced(n.not), n.value),
            Match::Limit { every, burst } => {
                write!(f, " limit: avg {} burst {burst}", write::rate(*every))
            }
            Match::Length(n) => write!(f, " length {}{}", bang(n.not), span(n.value.0, n.value.1)),
            Match::Ttl(hops) => the_hops(f, "TTL", *hops),
            Match::Hl(hops) => the_hops(f, "HL", *hops),
            Match::Tos(n) => {
                write!(f, " tos match{}", bang(n.not))?;
                match tos_name(n.value).filter(|_| !self.numeric) {
                    Some(name) => write!(f, " {name}"),
                    None => write!(f, "0x{:02x}/0x{:02x}", n.value.value, n.value.mask),
                }
            }
            Match::Dscp(n) => write!(f, " DSCP match {}0x{:02x}", bang(n.not), n.value),
            Match::Ecn { cwr, ece, ect } => {
                f.write_str(" ECN match")?;
                for (name, asked) in [("ECE", ece), ("CWR", cwr)] {
                    if let Some(is) = asked {
                        write!(f, " {}{name}", bang(!is))?;
                    }
                }
                ect.map_or(Ok(()), |n| write!(f, " {}ECT={}", bang(n.not), n.value))
            }
            Match::PktType(n) => write!(f, " PKTTYPE {}= {}", bang(n.not), write::pkt_type(n.value)),
            Match::AddrType { src, dst, limit } => {
                f.write_str(" ADDRTYPE match")?;
                for (name, types) in [("src", src), ("dst", dst)] {
                    if let Some(n) = types {
                        write!(f, " {name}-type {}{}", bang(n.not), write::types(&n.value))?;
                    }
                }
                f.write_str(match limit {
                    Some(Side::In) => " limit-in",
                    Some(Side::Out) => " limit-out",
                    None => "",
                })
            }
            Match::Random(n) => {
                let chance = f64::from(n.value) / f64::from(1_u32 << 31);
                write!(f, " statistic mode random{} probability {chance:.11}", spaced(n.not))
            }
            Match::Nth { not, every, packet } => {
                write!(f, " statistic mode nth{} every {every}", spaced(*not))?;
                if *packet != 0 {
                    write!(f, " packet {packet}")?;
                }
                Ok(())
            }
            Match::Comment(text) => write!(f, " /* {text} */"),
        }
    }

    fn tcp(&self, f: Out<'_, '_>, m: &Tcp) -> fmt::Result {
        f.write_str(" tcp")?;
        self.ports(f, "spt", &m.sport, proto::TCP)?;
        self.ports(f, "dpt", &m.dport, proto::TCP)?;
        if let Some(n) = m.option {
            write!(f, " option={}{}", bang(n.not), n.value)?;
        }
        let Some(Not { not, value: (mask, comp) }) = m.flags else { return Ok(()) };
        match self.numeric {
            true => write!(f, " flags:{}0x{mask:02X}/0x{comp:02X}", bang(not)),
            false => write!(f, " flags:{}{}/{}", bang(not), write::flags(mask), write::flags(comp)),
        }
    }

    /// ` spt:PORT` or ` spts:PORT:PORT`.
    fn ports(&self, f: Out<'_, '_>, name: &str, n: &Option<Not<Ports>>, of: u8) -> fmt::Result {
        let Some(n) = n else { return Ok(()) };
        let (first, last) = (self.port(n.value.first, of), self.port(n.value.last, of));
        match n.value.first == n.value.last {
            true => write!(f, " {name}:{}{first}", bang(n.not)),
            false => write!(f, " {name}s:{}{first}:{last}", bang(n.not)),
        }
    }

    fn port(&self, port: u16, of: u8) -> String {
        let name = names::service_name(port, of).filter(|_| !self.numeric);
        name.map_or_else(|| port.to_string(), str::to_owned)
    }

    fn icmp(&self, f: Out<'_, '_>, n: &Not<IcmpType>) -> fmt::Result {
        let (name, known) = match self.family {
            Family::V4 => ("icmp", names::ICMP),
            Family::V6 => ("ipv6-icmp", names::ICMPV6),
        };
        let IcmpType { kind, codes } = n.value;
        let found = known.iter().find(|(_, k, first, last)| (*k, (*first, *last)) == (kind, codes));
        if let Some((of, ..)) = found.filter(|_| !self.numeric) {
            return write!(f, " {name} {}{of}", bang(n.not));
        }
        write!(f, " {name}{}type {kind}", if n.not { " !" } else { "" })?;
        match codes {
            (0, 255) => Ok(()),
            (first, last) if first == last => write!(f, " code {first}"),
            (first, last) => write!(f, " codes {first}-{last}"),
        }
    }

    fn target(&self, f: Out<'_, '_>) -> fmt::Result {
        match &self.rule.target {
            Target::None
            | Target::Accept
            | Target::Drop
            | Target::Return
            | Target::Jump(_)
            | Target::Goto(_) => Ok(()),
            Target::Reject(with) => write!(f, " reject-with {}", write::reject(*with, self.family)),
            Target::Log(log) => self.log(f, log),
            Target::Mark(m) => write!(f, " MARK {}", set_mark(*m)),
            Target::Connmark(Connmark::Set(m)) => write!(f, " CONNMARK {}", set_mark(*m)),
            Target::Connmark(Connmark::Save { nf_mask, ct_mask }) => {
                masks(f, "save", ("nf", *nf_mask), ("ct", *ct_mask))
            }
            Target::Connmark(Connmark::Restore { nf_mask, ct_mask }) => {
                masks(f, "restore", ("ct", *ct_mask), ("nf", *nf_mask))
            }
            Target::Tos(m) => self.set_tos(f, *m),
            Target::Dscp(n) => write!(f, " DSCP set 0x{n:02x}"),
            Target::Hops(hops) => {
                let name = if self.family == Family::V6 { "HL" } else { "TTL" };
                match hops {
                    SetHops::Set(n) => write!(f, " {name} set to {n}"),
                    SetHops::Inc(n) => write!(f, " {name} increment by {n}"),
                    SetHops::Dec(n) => write!(f, " {name} decrement by {n}"),
                }
            }
            Target::TcpMss(Mss::Set(n)) => write!(f, " TCPMSS set {n}"),
            Target::TcpMss(Mss::Clamp) => f.write_str(" TCPMSS clamp to PMTU"),
            Target::CtNotrack => f.write_str(" CT notrack"),
            Target::Notrack => f.write_str(" NOTRACK"),
            Target::Snat(range) | Target::Dnat(range) => {
                write!(f, " to:{}", write::nat_to(range, true))?;
                write::nat_flags(range).try_for_each(|name| write!(f, " {name}"))
            }
            Target::Masquerade(range) | Target::Redirect(range) => {
                let redirect = matches!(self.rule.target, Target::Redirect(_));
                let ports = write::nat_to(range, false);
                match (ports.is_empty(), redirect) {
                    (true, _) => {}
                    (false, true) => write!(f, " redir ports {ports}")?,
                    (false, false) => write!(f, " masq ports: {ports}")?,
                }
                write::nat_flags(range).try_for_each(|name| write!(f, " {name}"))
            }
            Target::Netmap { addr, prefix_len } => write!(f, " to:{}/{prefix_len}", show(*addr)),
        }
    }

    fn log(&self, f: Out<'_, '_>, log: &Log) -> fmt::Result {
        f.write_str(" LOG")?;
        let flags = [
            ("tcp-sequence", log.sequence, 1),
            ("tcp-options", log.tcp_options, 2),
            ("ip-options", log.ip_options, 4),
            ("uid", log.uid, 8),
            ("macdecode", log.mac_decode, 32),
        ];
        let set = flags.iter().filter(|(_, set, _)| *set);
        match self.numeric {
            true => {
                let bits: u32 = set.map(|(.., bit)| bit).sum();
                write!(f, " flags {bits} level {}", log.level)?;
            }
            false => {
                const LEVELS: [&str; 8] =
                    ["emerg", "alert", "crit", "err", "warn", "notice", "info", "debug"];
                write!(f, " level {}", LEVELS.get(usize::from(log.level)).unwrap_or(&"?"))?;
                set.map(|(name, ..)| name).try_for_each(|name| write!(f, " {name}"))?;
            }
        }
        match log.prefix.is_empty() {
            true => Ok(()),
            false => write!(f, " prefix \"{}\"", log.prefix),
        }
    }

    fn set_tos(&self, f: Out<'_, '_>, m: Masked) -> fmt::Result {
        match (m.value, m.mask) {
            (value, mask) if self.numeric => write!(f, " TOS set 0x{value:02x}/0x{mask:02x}"),
            (value, mask) => match tos_name(m) {
                // As the tool writes it.
                Some(name) => write!(f, "  TOS set{name}"),
                None if value == 0 => write!(f, " TOS and 0x{:02x}", !mask & 0xff),
                None if value == mask => write!(f, " TOS or 0x{value:02x}"),
                None if mask == 0 => write!(f, " TOS xor 0x{value:02x}"),
                None => write!(f, " TOS set 0x{value:02x}/0x{mask:02x}"),
            },
        }
    }
}

fn spaced(not: bool) -> &'static str {
    if not { " !" } else { "" }
}

fn mark(m: Masked) -> String {
    write::mark(m.value, m.mask)
}

/// What MARK and CONNMARK do, by the name that says it shortest.
fn set_mark(m: Masked) -> String {
    match (m.value, m.mask) {
        (0, mask) => format!("and 0x{:x}", !mask),
        (value, mask) if value == mask => format!("or 0x{value:x}"),
        (value, 0) => format!("xor 0x{value:x}"),
        (value, u32::MAX) => format!("set 0x{value:x}"),
        (value, mask) => format!("xset 0x{value:x}/0x{mask:x}"),
    }
}

fn masks(f: Out<'_, '_>, does: &str, from: (&str, u32), to: (&str, u32)) -> fmt::Result {
    write!(f, " CONNMARK {does}")?;
    match (from.1, to.1) {
        (u32::MAX, u32::MAX) => Ok(()),
        (a, b) if a == b => write!(f, " mask 0x{a:x}"),
        (a, b) => write!(f, " {}mask 0x{a:x} {}mask ~0x{b:x}", from.0, to.0),
    }
}

/// The name of a type of service (RFC 1349), where the mask is that of its bits.
fn tos_name(m: Masked) -> Option<&'static str> {
    names::TOS.iter().find(|(_, value)| m.mask == 0x3f && m.value == u32::from(*value)).map(|(name, _)| *name)
}

fn the_hops(f: Out<'_, '_>, name: &str, hops: Hops) -> fmt::Result {
    match hops {
        Hops::Eq(n) => write!(f, " {name} match {name} {} {}", if n.not { "!=" } else { "==" }, n.value),
        Hops::Lt(n) => write!(f, " {name} match {name} < {n}"),
        Hops::Gt(n) => write!(f, " {name} match {name} > {n}"),
    }
}

fn conntrack(f: Out<'_, '_>, m: &Conntrack) -> fmt::Result {
    let ports = |p: &Ports| span(p.first, p.last);
    named(f, "ctstate", &m.state, write::states)?;
    named(f, "ctproto", &m.proto, u8::to_string)?;
    named(f, "ctorigsrc", &m.orig_src, write::short_network)?;
    named(f, "ctorigdst", &m.orig_dst, write::short_network)?;
    named(f, "ctreplsrc", &m.repl_src, write::short_network)?;
    named(f, "ctrepldst", &m.repl_dst, write::short_network)?;
    named(f, "ctorigsrcport", &m.orig_src_port, ports)?;
    named(f, "ctorigdstport", &m.orig_dst_port, ports)?;
    named(f, "ctreplsrcport", &m.repl_src_port, ports)?;
    named(f, "ctrepldstport", &m.repl_dst_port, ports)?;
    named(f, "ctstatus", &m.status, write::statuses)?;
    named(f, "ctexpire", &m.expire, |(first, last)| span(*first, *last))?;
    match m.original {
        Some(true) => f.write_str(" ctdir ORIGINAL"),
        Some(false) => f.write_str(" ctdir REPLY"),
        None => Ok(()),
    }
}
