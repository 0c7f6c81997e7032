//! A ruleset as text: byte for byte what iptables-save writes, without the lines that say when.
//!
//! Where the tool's own text says less than the rule (`! -i +`, `! --sport 0:65535`, codes of ICMP from one to another),
//! ours says it all, so that what is written reads back as what it was.

use std::fmt::{self, Write};
use std::net::IpAddr;

use crate::filter::matches::{
    AddrMask, AddrTypes, Conntrack, Hops, Match, Not, PktType, Ports, Side, States, StatusSet, Tcp, Which,
};
use crate::filter::rule::{Chain, Family, Policy, Rule, Ruleset};
use crate::filter::targets::{Connmark, Log, Mss, RejectWith, SetHops, Target};
use crate::packet::{NatRange, Status};

use super::matches::{LIMIT_BURST, LIMIT_SCALE};
use super::names;
use super::targets::{LOG_LEVEL, REJECT4, REJECT6};
use super::value::{prefix_len, show};
use super::words::quote;

/// Writes a ruleset; with `counts`, each rule's counters before it (`iptables-save -c`).
pub fn write(rules: &Ruleset, counts: bool) -> String {
    let mut text = String::new();
    for table in &rules.tables {
        let mut chains: Vec<&Chain> = table.chains.iter().collect();
        // The built-in ones first, as they stand; the others by name, as the tool keeps them.
        chains.sort_by_key(|c| if c.policy.is_some() { "" } else { c.name.as_str() });
        text.push('*');
        text.push_str(table.name.name());
        text.push('\n');
        for c in &chains {
            let policy = match c.policy {
                Some(Policy::Accept) => "ACCEPT",
                Some(Policy::Drop) => "DROP",
                None => "-",
            };
            let _ = writeln!(text, ":{} {policy} [{}:{}]", c.name, c.counters.packets, c.counters.bytes);
        }
        for c in &chains {
            for r in &c.rules {
                if counts {
                    let _ = write!(text, "[{}:{}] ", r.counters.packets, r.counters.bytes);
                }
                let _ = writeln!(text, "{}", rule(r, &c.name, rules.family));
            }
        }
        text.push_str("COMMIT\n");
    }
    text
}

/// A rule as `iptables -S` prints it: `-A CHAIN …`.
pub fn rule<'a>(rule: &'a Rule, chain: &'a str, family: Family) -> impl fmt::Display {
    Shown { rule, chain, family, counts: false }
}

/// The same with its counters, as `iptables -S -v` prints it.
pub(super) fn counted<'a>(rule: &'a Rule, chain: &'a str, family: Family) -> impl fmt::Display {
    Shown { rule, chain, family, counts: true }
}

struct Shown<'a> {
    rule: &'a Rule,
    chain: &'a str,
    family: Family,
    counts: bool,
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Shown { rule, chain, family, counts } = *self;
        write!(f, "-A {chain}")?;
        network(f, "-s", &rule.basic.src)?;
        network(f, "-d", &rule.basic.dst)?;
        link(f, "-i", &rule.basic.in_link)?;
        link(f, "-o", &rule.basic.out_link)?;
        if let Some(p) = rule.basic.proto.filter(|p| p.value != 0) {
            match names::protocol_name(p.value) {
                Some(name) => option(f, p.not, "-p", name)?,
                None => option(f, p.not, "-p", p.value)?,
            }
        }
        if let Some(n) = rule.basic.fragment {
            write!(f, "{} -f", bang(n.not))?;
        }
        for m in &rule.matches {
            a_match(f, m, family)?;
        }
        if counts {
            write!(f, " -c {} {}", rule.counters.packets, rule.counters.bytes)?;
        }
        a_target(f, &rule.target, family)
    }
}

pub(super) type Out<'a, 'b> = &'a mut fmt::Formatter<'b>;

fn bang(not: bool) -> &'static str {
    if not { " !" } else { "" }
}

/// ` [!] OPTION VALUE`.
fn option(f: Out<'_, '_>, not: bool, name: &str, value: impl fmt::Display) -> fmt::Result {
    write!(f, "{} {name} {value}", bang(not))
}

/// Likewise, if it is there.
fn maybe<T>(f: Out<'_, '_>, name: &str, value: &Option<Not<T>>, show: impl Fn(&T) -> String) -> fmt::Result {
    value.as_ref().map_or(Ok(()), |n| option(f, n.not, name, show(&n.value)))
}

fn network(f: Out<'_, '_>, name: &str, net: &Option<Not<AddrMask>>) -> fmt::Result {
    match net {
        Some(n) if n.not || !n.value.mask.is_unspecified() => {
            option(f, n.not, name, format!("{}/{}", show(n.value.addr), mask(n.value.mask)))
        }
        _ => Ok(()),
    }
}

/// A mask: how many bits, or all of it if it is no prefix.
pub(super) fn mask(mask: IpAddr) -> String {
    prefix_len(mask).map_or_else(|| show(mask), |n| n.to_string())
}

fn link(f: Out<'_, '_>, name: &str, link: &Option<Not<String>>) -> fmt::Result {
    maybe(f, name, link, |l| if l.contains('"') { quote(l) } else { l.clone() })
}

fn a_match(f: Out<'_, '_>, m: &Match, family: Family) -> fmt::Result {
    match m {
        Match::Tcp(m) => tcp(f, m),
        Match::Udp { sport, dport } => {
            f.write_str(" -m udp")?;
            maybe(f, "--sport", sport, ports)?;
            maybe(f, "--dport", dport, ports)
        }
        Match::Icmp(n) => {
            let (first, last) = n.value.codes;
            let kind = match (family, n.value.kind, first, last) {
                (Family::V4, 255, ..) => "any".to_owned(),
                (_, kind, 0, 255) => kind.to_string(),
                (_, kind, ..) if first == last => format!("{kind}/{first}"),
                (_, kind, ..) => format!("{kind}/{first}:{last}"),
            };
            match family {
                Family::V4 => write!(f, " -m icmp{} --icmp-type {kind}", bang(n.not)),
                Family::V6 => write!(f, " -m icmp6{} --icmpv6-type {kind}", bang(n.not)),
            }
        }
        Match::Conntrack(m) => conntrack(f, m),
        Match::State(n) => write!(f, " -m state{} --state {}", bang(n.not), states(&n.value)),
        Match::Mark(n) => write!(f, " -m mark{} --mark {}", bang(n.not), mark(n.value.value, n.value.mask)),
        Match::Connmark(n) => {
            write!(f, " -m connmark{} --mark {}", bang(n.not), mark(n.value.value, n.value.mask))
        }
        Match::Multiport { which, ports: n } => {
            let name = match which {
                Which::Source => "sports",
                Which::Destination => "dports",
                Which::Either => "ports",
            };
            let list: Vec<String> = n.value.iter().map(ports).collect();
            write!(f, " -m multiport{} --{name} {}", bang(n.not), list.join(","))
        }
        Match::IpRange { src, dst } => {
            let range = |(first, last): &(IpAddr, IpAddr)| format!("{}-{}", show(*first), show(*last));
            f.write_str(" -m iprange")?;
            maybe(f, "--src-range", src, range)?;
            maybe(f, "--dst-range", dst, range)
        }
        Match::Mac(n) => write!(f, " -m mac{} --mac-source {}", bang(n.not), n.value),
        Match::Limit { every, burst } => {
            write!(f, " -m limit --limit {}", rate(*every))?;
            if *burst != LIMIT_BURST {
                write!(f, " --limit-burst {burst}")?;
            }
            Ok(())
        }
        Match::Length(n) => write!(f, " -m length{} --length {}", bang(n.not), span(n.value.0, n.value.1)),
        Match::Ttl(hops) => the_hops(f, "ttl", *hops),
        Match::Hl(hops) => the_hops(f, "hl", *hops),
        Match::Tos(n) => {
            write!(f, " -m tos{} --tos 0x{:02x}/0x{:02x}", bang(n.not), n.value.value, n.value.mask)
        }
        Match::Dscp(n) => write!(f, " -m dscp{} --dscp 0x{:02x}", bang(n.not), n.value),
        Match::Ecn { cwr, ece, ect } => {
            f.write_str(" -m ecn")?;
            for (name, asked) in [("ece", ece), ("cwr", cwr)] {
                if let Some(is) = asked {
                    write!(f, "{} --ecn-tcp-{name}", bang(!is))?;
                }
            }
            maybe(f, "--ecn-ip-ect", ect, u8::to_string)
        }
        Match::PktType(n) => write!(f, " -m pkttype{} --pkt-type {}", bang(n.not), pkt_type(n.value)),
        Match::AddrType { src, dst, limit } => {
            f.write_str(" -m addrtype")?;
            maybe(f, "--src-type", src, types)?;
            maybe(f, "--dst-type", dst, types)?;
            f.write_str(match limit {
                Some(Side::In) => " --limit-iface-in",
                Some(Side::Out) => " --limit-iface-out",
                None => "",
            })
        }
        Match::Random(n) => {
            let chance = f64::from(n.value) / f64::from(1_u32 << 31);
            write!(f, " -m statistic --mode random{} --probability {chance:.11}", bang(n.not))
        }
        Match::Nth { not, every, packet } => {
            write!(f, " -m statistic --mode nth{} --every {every} --packet {packet}", bang(*not))
        }
        Match::Comment(text) => write!(f, " -m comment --comment {}", quote(text)),
    }
}

pub(super) fn pkt_type(kind: PktType) -> &'static str {
    match kind {
        PktType::Unicast => "unicast",
        PktType::Broadcast => "broadcast",
        PktType::Multicast => "multicast",
        PktType::OtherHost => "otherhost",
    }
}

pub(super) fn types(types: &AddrTypes) -> String {
    let named = names::ADDR_TYPES.iter().enumerate().filter(|(bit, _)| types.0 & 1 << bit != 0);
    named.map(|(_, name)| *name).collect::<Vec<_>>().join(",")
}

fn tcp(f: Out<'_, '_>, m: &Tcp) -> fmt::Result {
    f.write_str(" -m tcp")?;
    maybe(f, "--sport", &m.sport, ports)?;
    maybe(f, "--dport", &m.dport, ports)?;
    maybe(f, "--tcp-option", &m.option, u8::to_string)?;
    maybe(f, "--tcp-flags", &m.flags, |(mask, comp)| format!("{} {}", flags(*mask), flags(*comp)))
}

/// Flags of TCP by their names.
pub(super) fn flags(bits: u8) -> String {
    let set = names::TCP_FLAGS.iter().filter(|(_, bit)| bits & bit != 0).map(|(name, _)| *name);
    let set: Vec<&str> = set.collect();
    if set.is_empty() { "NONE".to_owned() } else { set.join(",") }
}

/// A network; of a single address no more than that.
pub(super) fn short_network(n: &AddrMask) -> String {
    match prefix_len(n.mask) {
        Some(len) if u32::from(len) == if n.addr.is_ipv4() { 32 } else { 128 } => show(n.addr),
        _ => format!("{}/{}", show(n.addr), mask(n.mask)),
    }
}

fn conntrack(f: Out<'_, '_>, m: &Conntrack) -> fmt::Result {
    f.write_str(" -m conntrack")?;
    maybe(f, "--ctstate", &m.state, states)?;
    maybe(f, "--ctproto", &m.proto, u8::to_string)?;
    maybe(f, "--ctorigsrc", &m.orig_src, short_network)?;
    maybe(f, "--ctorigdst", &m.orig_dst, short_network)?;
    maybe(f, "--ctreplsrc", &m.repl_src, short_network)?;
    maybe(f, "--ctrepldst", &m.repl_dst, short_network)?;
    maybe(f, "--ctorigsrcport", &m.orig_src_port, ports)?;
    maybe(f, "--ctorigdstport", &m.orig_dst_port, ports)?;
    maybe(f, "--ctreplsrcport", &m.repl_src_port, ports)?;
    maybe(f, "--ctrepldstport", &m.repl_dst_port, ports)?;
    maybe(f, "--ctstatus", &m.status, statuses)?;
    maybe(f, "--ctexpire", &m.expire, |(first, last)| span(*first, *last))?;
    match m.original {
        Some(true) => f.write_str(" --ctdir ORIGINAL"),
        Some(false) => f.write_str(" --ctdir REPLY"),
        None => Ok(()),
    }
}

pub(super) fn states(set: &States) -> String {
    let all = [
        ("INVALID", States::INVALID),
        ("NEW", States::NEW),
        ("RELATED", States::RELATED),
        ("ESTABLISHED", States::ESTABLISHED),
        ("UNTRACKED", States::UNTRACKED),
        ("SNAT", States::SNAT),
        ("DNAT", States::DNAT),
    ];
    let set: Vec<&str> = all.iter().filter(|(_, s)| set.intersects(*s)).map(|(name, _)| *name).collect();
    set.join(",")
}

pub(super) fn statuses(set: &StatusSet) -> String {
    let all = [
        ("EXPECTED", Status::EXPECTED),
        ("SEEN_REPLY", Status::SEEN_REPLY),
        ("ASSURED", Status::ASSURED),
        ("CONFIRMED", Status::CONFIRMED),
    ];
    let set: Vec<&str> = all.iter().filter(|(_, s)| set.bits & s.0 != 0).map(|(name, _)| *name).collect();
    if set.is_empty() { "NONE".to_owned() } else { set.join(",") }
}

pub(super) fn ports(p: &Ports) -> String {
    span(p.first, p.last)
}

/// One number, or two with a colon between.
pub(super) fn span<T: PartialEq + fmt::Display>(first: T, last: T) -> String {
    if first == last { first.to_string() } else { format!("{first}:{last}") }
}

pub(super) fn mark(value: u32, mask: u32) -> String {
    match mask {
        u32::MAX => format!("0x{value:x}"),
        mask => format!("0x{value:x}/0x{mask:x}"),
    }
}

/// A rate in the longest unit that still tells it well enough, by the tool's own measure.
pub(super) fn rate(every: u32) -> String {
    let every = every.max(1);
    let units = [("day", 86_400), ("hour", 3600), ("min", 60), ("sec", 1)];
    let fits = |a_unit: u32| every <= a_unit && a_unit / every >= a_unit % every;
    let shorter = units[1..].iter().take_while(|(_, seconds)| fits(seconds * LIMIT_SCALE)).count();
    let (name, seconds) = units[shorter];
    format!("{}/{name}", seconds * LIMIT_SCALE / every)
}

fn the_hops(f: Out<'_, '_>, name: &str, hops: Hops) -> fmt::Result {
    match hops {
        Hops::Eq(n) => write!(f, " -m {name}{} --{name}-eq {}", bang(n.not), n.value),
        Hops::Lt(n) => write!(f, " -m {name} --{name}-lt {n}"),
        Hops::Gt(n) => write!(f, " -m {name} --{name}-gt {n}"),
    }
}

fn a_target(f: Out<'_, '_>, target: &Target, family: Family) -> fmt::Result {
    match target {
        Target::None => Ok(()),
        Target::Accept => f.write_str(" -j ACCEPT"),
        Target::Drop => f.write_str(" -j DROP"),
        Target::Return => f.write_str(" -j RETURN"),
        Target::Jump(chain) => write!(f, " -j {chain}"),
        Target::Goto(chain) => write!(f, " -g {chain}"),
        Target::Reject(with) => write!(f, " -j REJECT --reject-with {}", reject(*with, family)),
        Target::Log(log) => the_log(f, log),
        Target::Mark(m) => write!(f, " -j MARK --set-xmark 0x{:x}/0x{:x}", m.value, m.mask),
        Target::Connmark(Connmark::Set(m)) => {
            write!(f, " -j CONNMARK --set-xmark 0x{:x}/0x{:x}", m.value, m.mask)
        }
        Target::Connmark(Connmark::Save { nf_mask, ct_mask }) => {
            write!(f, " -j CONNMARK --save-mark --nfmask 0x{nf_mask:x} --ctmask 0x{ct_mask:x}")
        }
        Target::Connmark(Connmark::Restore { nf_mask, ct_mask }) => {
            write!(f, " -j CONNMARK --restore-mark --nfmask 0x{nf_mask:x} --ctmask 0x{ct_mask:x}")
        }
        Target::Tos(m) => write!(f, " -j TOS --set-tos 0x{:02x}/0x{:02x}", m.value, m.mask),
        Target::Dscp(n) => write!(f, " -j DSCP --set-dscp 0x{n:02x}"),
        Target::Hops(hops) => {
            let (target, name) = match family {
                Family::V4 => ("TTL", "ttl"),
                Family::V6 => ("HL", "hl"),
            };
            let (what, n) = match hops {
                SetHops::Set(n) => ("set", n),
                SetHops::Inc(n) => ("inc", n),
                SetHops::Dec(n) => ("dec", n),
            };
            write!(f, " -j {target} --{name}-{what} {n}")
        }
        Target::TcpMss(Mss::Set(n)) => write!(f, " -j TCPMSS --set-mss {n}"),
        Target::TcpMss(Mss::Clamp) => f.write_str(" -j TCPMSS --clamp-mss-to-pmtu"),
        Target::CtNotrack => f.write_str(" -j CT --notrack"),
        Target::Notrack => f.write_str(" -j NOTRACK"),
        Target::Snat(range) => nat(f, "SNAT", "--to-source", range, true),
        Target::Dnat(range) => nat(f, "DNAT", "--to-destination", range, true),
        Target::Masquerade(range) => nat(f, "MASQUERADE", "--to-ports", range, false),
        Target::Redirect(range) => nat(f, "REDIRECT", "--to-ports", range, false),
        Target::Netmap { addr, prefix_len } => write!(f, " -j NETMAP --to {}/{prefix_len}", show(*addr)),
    }
}

pub(super) fn reject(with: RejectWith, family: Family) -> &'static str {
    let (first, second) = match family {
        Family::V4 => (REJECT4, REJECT6),
        Family::V6 => (REJECT6, REJECT4),
    };
    // Every answer stands in one of the two lists.
    first.iter().chain(second).find(|(w, ..)| *w == with).map_or("", |(_, name, _)| name)
}

fn the_log(f: Out<'_, '_>, log: &Log) -> fmt::Result {
    f.write_str(" -j LOG")?;
    if !log.prefix.is_empty() {
        write!(f, " --log-prefix {}", quote(&log.prefix))?;
    }
    if log.level != LOG_LEVEL {
        write!(f, " --log-level {}", log.level)?;
    }
    let flags = [
        ("tcp-sequence", log.sequence),
        ("tcp-options", log.tcp_options),
        ("ip-options", log.ip_options),
        ("uid", log.uid),
        ("macdecode", log.mac_decode),
    ];
    flags.iter().filter(|(_, set)| *set).try_for_each(|(name, _)| write!(f, " --log-{name}"))
}

/// What has neither addresses nor ports stands not at all.
fn nat(f: Out<'_, '_>, target: &str, name: &str, range: &NatRange, colon: bool) -> fmt::Result {
    write!(f, " -j {target}")?;
    let to = nat_to(range, colon);
    if !to.is_empty() {
        write!(f, " {name} {to}")?;
    }
    nat_flags(range).try_for_each(|name| write!(f, " --{name}"))
}

/// The addresses and ports of a range; with `colon`, ports stand behind one.
pub(super) fn nat_to(range: &NatRange, colon: bool) -> String {
    let mut to = String::new();
    if let Some((first, last)) = range.addr {
        let brackets = first.is_ipv6() && range.port.is_some();
        let addrs = if first == last { show(first) } else { format!("{}-{}", show(first), show(last)) };
        to = if brackets { format!("[{addrs}]") } else { addrs };
    }
    if let Some((first, last)) = range.port {
        if colon {
            to.push(':');
        }
        to.push_str(&first.to_string());
        if last != first {
            let _ = write!(to, "-{last}");
        }
        if let Some(base) = range.base {
            let _ = write!(to, "/{base}");
        }
    }
    to
}

/// The names of the flags that a range has.
pub(super) fn nat_flags(range: &NatRange) -> impl Iterator<Item = &'static str> {
    let flags =
        [("random", range.random), ("random-fully", range.random_fully), ("persistent", range.persistent)];
    flags.into_iter().filter(|(_, set)| *set).map(|(name, _)| name)
}
