//! Rulesets by chance, as values: each is one that the kernel takes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use sekisho::base::{Hook, Mac};
use sekisho::filter::matches::*;
use sekisho::filter::rule::{Count, Policy, Says};
use sekisho::filter::targets::*;
use sekisho::filter::{Basic, Chain, Family, Match, Rule, Ruleset, Table, TableName, Target};
use sekisho::packet::NatRange;
use sekisho::wire::proto;

/// Rules of one family: some of the tables, in the order of their priorities.
pub(crate) fn ruleset(family: Family) -> BoxedStrategy<Ruleset> {
    subsequence(TableName::ALL.to_vec(), 1..=4)
        .prop_flat_map(move |names| names.into_iter().map(|name| table(name, family)).collect::<Vec<_>>())
        .prop_map(move |tables| Ruleset { family, tables })
        .boxed()
}

/// A table: every built-in chain has up to two chains of the user's that it can go to, and they to each other, one way.
fn table(name: TableName, family: Family) -> BoxedStrategy<Table> {
    let homes: Vec<_> = name.hooks().iter().map(|hook| home(name, *hook, family)).collect();
    homes
        .prop_map(move |homes| {
            let (built_in, users): (Vec<Chain>, Vec<Vec<Chain>>) = homes.into_iter().unzip();
            let mut users = users.concat();
            users.sort_by(|a, b| a.name.cmp(&b.name));
            Table { name, chains: [built_in, users].concat() }
        })
        .boxed()
}

/// A built-in chain, and the users' chains below it.
fn home(table: TableName, hook: Hook, family: Family) -> BoxedStrategy<(Chain, Vec<Chain>)> {
    (0..3_usize)
        .prop_flat_map(move |users| {
            let names: Vec<String> =
                (0..users).map(|i| format!("{}-{i}", hook.name().to_lowercase())).collect();
            let rules = |below: &[String]| vec(rule(table, hook, family, below.to_vec()), 0..5);
            let policy = prop_oneof![3 => Just(Policy::Accept), 1 => Just(Policy::Drop)];
            let built_in = (policy, count(), rules(&names)).prop_map(move |(policy, counters, rules)| {
                Chain { name: hook.name().to_owned(), policy: Some(policy), counters, rules: rules.into() }
            });
            let user = |(i, name): (usize, &String)| {
                let name = name.clone();
                rules(&names[i + 1..]).prop_map(move |rules| Chain {
                    name: name.clone(),
                    policy: None,
                    counters: Count::default(),
                    rules: rules.into(),
                })
            };
            let users: Vec<_> = names.iter().enumerate().map(user).collect();
            (built_in, users)
        })
        .boxed()
}

fn count() -> BoxedStrategy<Count> {
    (0..1_000_u64, any::<u64>()).prop_map(|(packets, bytes)| Count { packets, bytes }).boxed()
}

fn rule(table: TableName, hook: Hook, family: Family, below: Vec<String>) -> BoxedStrategy<Rule> {
    let protos =
        [proto::TCP, proto::UDP, icmp_of(family), proto::SCTP, proto::UDP_LITE, proto::GRE, 33, 50, 99, 255];
    option::weighted(0.7, not(select(protos.to_vec())))
        .prop_flat_map(move |p| {
            let matches = vec(a_match(p, hook, family), 0..3);
            (Just(p), basic(hook, family), matches, target(table, hook, family, p, below.clone()), count())
        })
        .prop_map(|(p, basic, matches, (target, needs), counters)| Rule {
            line: 0,
            counters,
            says: Says {
                basic: Basic { proto: p, ..basic },
                matches: matches.into_iter().chain(needs).collect(),
                target,
            }
            .into(),
        })
        .boxed()
}

fn icmp_of(family: Family) -> u8 {
    if family == Family::V4 { proto::ICMP } else { proto::ICMPV6 }
}

fn not<T: Clone + std::fmt::Debug + 'static>(
    value: impl Strategy<Value = T> + 'static,
) -> BoxedStrategy<Not<T>> {
    (any::<bool>(), value).prop_map(|(not, value)| Not { not, value }).boxed()
}

fn maybe<T: Clone + std::fmt::Debug + 'static>(
    value: impl Strategy<Value = T> + 'static,
) -> BoxedStrategy<Option<Not<T>>> {
    option::weighted(0.3, not(value)).boxed()
}

/// One now and then, or never.
fn at_times<T: Clone + std::fmt::Debug + 'static>(
    chance: f64,
    value: impl Strategy<Value = T> + 'static,
) -> BoxedStrategy<Option<T>> {
    if chance > 0.0 { option::weighted(chance, value).boxed() } else { Just(None).boxed() }
}

fn basic(hook: Hook, family: Family) -> BoxedStrategy<Basic> {
    let link = || prop_oneof![Just("eth0".to_owned()), Just("ppp+".to_owned()), "[a-z.@:-]{1,14}"].boxed();
    let input = if matches!(hook, Hook::Output | Hook::Postrouting) { 0.0 } else { 0.2 };
    let output = if matches!(hook, Hook::Prerouting | Hook::Input) { 0.0 } else { 0.2 };
    let fragment = if family == Family::V4 { 0.1 } else { 0.0 };
    (
        maybe(network(family)),
        maybe(network(family)),
        at_times(input, not(link())),
        at_times(output, not(link())),
        at_times(fragment, not(Just(()))),
    )
        .prop_map(|(src, dst, in_link, out_link, fragment)| {
            // A network of everything is written only when it is negated.
            let said = |n: &Not<AddrMask>| n.not || !n.value.mask.is_unspecified();
            Basic { src: src.filter(said), dst: dst.filter(said), in_link, out_link, proto: None, fragment }
        })
        .boxed()
}

fn addr(family: Family) -> BoxedStrategy<IpAddr> {
    match family {
        Family::V4 => any::<u32>().prop_map(|a| IpAddr::V4(Ipv4Addr::from(a))).boxed(),
        Family::V6 => prop_oneof![
            any::<u128>(),
            (0..0xffff_u128).prop_map(|a| 0x2001_0db8 << 96 | a),
            (0..1_u128 << 33),
            any::<u32>().prop_map(|a| 0xffff_0000_0000 | u128::from(a)),
            vec(select(&[0_u16, 0, 1][..]), 8)
                .prop_map(|s| s.iter().fold(0, |all, s| all << 16 | u128::from(*s))),
        ]
        .prop_map(|a| IpAddr::V6(Ipv6Addr::from(a)))
        .boxed(),
    }
}

fn prefix(family: Family, len: u32) -> IpAddr {
    match family {
        Family::V4 => IpAddr::V4(Ipv4Addr::from(u32::MAX.checked_shl(32 - len.min(32)).unwrap_or(0))),
        Family::V6 => IpAddr::V6(Ipv6Addr::from(u128::MAX.checked_shl(128 - len).unwrap_or(0))),
    }
}

fn masked(addr: IpAddr, mask: IpAddr) -> IpAddr {
    match (addr, mask) {
        (IpAddr::V4(a), IpAddr::V4(m)) => IpAddr::V4(a & m),
        (IpAddr::V6(a), IpAddr::V6(m)) => IpAddr::V6(a & m),
        _ => unreachable!("they are of one family"),
    }
}

fn network(family: Family) -> BoxedStrategy<AddrMask> {
    let mask = prop_oneof![4 => (0..=128_u32).prop_map(move |n| prefix(family, n)), 1 => addr(family)];
    (addr(family), mask).prop_map(|(a, mask)| AddrMask { addr: masked(a, mask), mask }).boxed()
}

/// An address and a prefix, as conntrack has them: what is outside the prefix stays.
fn host(family: Family) -> BoxedStrategy<AddrMask> {
    (addr(family), 0..=128_u32).prop_map(move |(addr, n)| AddrMask { addr, mask: prefix(family, n) }).boxed()
}

/// Ports that say something: not all of them.
fn ports() -> BoxedStrategy<Ports> {
    (any::<u16>(), any::<u16>(), any::<bool>())
        .prop_map(|(a, b, one)| Ports { first: a.min(b), last: if one { a.min(b) } else { a.max(b) } })
        .prop_filter("all ports are no condition", |p| (p.first, p.last) != (0, u16::MAX))
        .boxed()
}

fn bits(last: u32) -> BoxedStrategy<Masked> {
    let mask = prop_oneof![Just(last), 0..=last];
    (0..=last, mask).prop_map(|(value, mask)| Masked { value, mask }).boxed()
}

fn has_ports(p: u8) -> bool {
    matches!(p, proto::TCP | proto::UDP | proto::SCTP | proto::UDP_LITE | 33)
}

fn a_match(p: Option<Not<u8>>, hook: Hook, family: Family) -> BoxedStrategy<Match> {
    let p = p.filter(|p| !p.not).map(|p| p.value);
    let mut all = vec![anything(family)];
    match p {
        Some(proto::TCP) => all.extend([tcp().prop_map(Match::Tcp).boxed(), ecn(true)]),
        Some(proto::UDP) => {
            let udp = (maybe(ports()), maybe(ports())).prop_map(|(sport, dport)| Match::Udp { sport, dport });
            all.push(udp.boxed());
        }
        Some(p) if p == icmp_of(family) => all.push(not(icmp(family)).prop_map(Match::Icmp).boxed()),
        _ => {}
    }
    if p.is_some_and(has_ports) {
        all.push(multiport());
    }
    if matches!(hook, Hook::Prerouting | Hook::Input | Hook::Forward) {
        all.push(
            not(any::<[u8; 6]>()).prop_map(|n| Match::Mac(Not { not: n.not, value: Mac(n.value) })).boxed(),
        );
    }
    all.push(addrtype(hook, family));
    proptest::strategy::Union::new(all).boxed()
}

/// The matches that can stand anywhere.
fn anything(family: Family) -> BoxedStrategy<Match> {
    let states = not((1..32_u8).prop_map(States));
    let range = move || maybe((addr(family), addr(family)));
    let hops = prop_oneof![
        not(any::<u8>()).prop_map(Hops::Eq),
        any::<u8>().prop_map(Hops::Lt),
        any::<u8>().prop_map(Hops::Gt)
    ];
    let rate = (1..500_u32, select(&[1_u32, 60, 3600, 86_400][..]), 1..20_u32).prop_filter_map(
        "more than the kernel can count",
        |(n, unit, burst)| {
            let every = 10_000 * unit / n;
            (every > 0 && every < 40_000_000).then_some(Match::Limit { every, burst })
        },
    );
    let kind = select(&[PktType::Unicast, PktType::Broadcast, PktType::Multicast, PktType::OtherHost][..]);
    prop_oneof![
        3 => conntrack(family),
        1 => states.prop_map(Match::State),
        1 => not(bits(u32::MAX)).prop_map(Match::Mark),
        1 => not(bits(u32::MAX)).prop_map(Match::Connmark),
        1 => (range(), range())
            .prop_filter("one at least", |(s, d)| s.is_some() || d.is_some())
            .prop_map(|(src, dst)| Match::IpRange { src, dst }),
        1 => rate,
        1 => not(any::<(u16, u16)>()).prop_map(Match::Length),
        1 => hops.prop_map(move |h| if family == Family::V4 { Match::Ttl(h) } else { Match::Hl(h) }),
        1 => not(bits(255)).prop_map(Match::Tos),
        1 => not(0..64_u8).prop_map(Match::Dscp),
        1 => ecn(false),
        1 => not(kind).prop_map(Match::PktType),
        1 => not(0..=1_u32 << 31).prop_map(Match::Random),
        1 => (any::<bool>(), 1..=u32::MAX, any::<u32>())
            .prop_map(|(not, every, packet)| Match::Nth { not, every, packet: packet % every }),
        2 => text(255).prop_map(Match::Comment),
    ]
    .boxed()
}

/// What people write in quotes.
fn text(longest: usize) -> BoxedStrategy<String> {
    prop_oneof!["[a-zA-Z0-9_-]{1,20}", "[ -~]{0,29}", "[ -~äßλ漢]{0,60}"]
        .prop_map(move |mut text: String| {
            while text.len() > longest {
                text.pop();
            }
            text
        })
        .boxed()
}

fn tcp() -> BoxedStrategy<Tcp> {
    let flags = (1..64_u8, 0..64_u8);
    (maybe(ports()), maybe(ports()), maybe(flags), maybe(1..=255_u8))
        .prop_map(|(sport, dport, flags, option)| Tcp { sport, dport, flags, option })
        .boxed()
}

fn ecn(tcp: bool) -> BoxedStrategy<Match> {
    let flag = || at_times(if tcp { 0.5 } else { 0.0 }, any::<bool>());
    (flag(), flag(), option::weighted(if tcp { 0.5 } else { 0.99 }, not(0..4_u8)))
        .prop_filter("one at least", |(c, e, i)| c.is_some() || e.is_some() || i.is_some())
        .prop_map(|(cwr, ece, ect)| Match::Ecn { cwr, ece, ect })
        .boxed()
}

fn icmp(family: Family) -> BoxedStrategy<IcmpType> {
    let codes = prop_oneof![Just((0, 255)), any::<u8>().prop_map(|c| (c, c))];
    (any::<u8>(), codes)
        .prop_map(move |(kind, codes)| match (family, kind) {
            (Family::V4, 255) => IcmpType { kind, codes: (0, 255) },
            _ => IcmpType { kind, codes },
        })
        .boxed()
}

fn multiport() -> BoxedStrategy<Match> {
    let which = select(&[Which::Source, Which::Destination, Which::Either][..]);
    (which, not(vec(ports(), 1..7))).prop_map(|(which, ports)| Match::Multiport { which, ports }).boxed()
}

fn addrtype(hook: Hook, family: Family) -> BoxedStrategy<Match> {
    let known = match family {
        Family::V4 => 0x0fff_u16,
        // UNSPEC, UNICAST, LOCAL, ANYCAST, MULTICAST, UNREACHABLE.
        Family::V6 => 0b1011_0111,
    };
    let types = move || {
        maybe((1..=known).prop_map(move |t| AddrTypes(t & known)).prop_filter("none", |t| t.0 != 0)).boxed()
    };
    let side = match hook {
        Hook::Prerouting | Hook::Input => Some(Side::In),
        Hook::Output | Hook::Postrouting => Some(Side::Out),
        Hook::Forward => None,
    };
    (types(), types(), any::<bool>(), any::<bool>())
        .prop_filter("one at least", |(s, d, ..)| s.is_some() || d.is_some())
        .prop_map(move |(src, dst, limit, input)| {
            let side = side.unwrap_or(if input { Side::In } else { Side::Out });
            Match::AddrType { src, dst, limit: limit.then_some(side) }
        })
        .boxed()
}

fn conntrack(family: Family) -> BoxedStrategy<Match> {
    let status = (0..16_u32).prop_map(|bits| StatusSet { bits, none: bits == 0 });
    // Both ends, and a last port of zero, mean something else to the tool.
    let port = || {
        maybe(
            (1..1000_u16, 1000..=u16::MAX, any::<bool>())
                .prop_map(|(first, last, one)| Ports { first, last: if one { first } else { last } }),
        )
    };
    let hosts = (maybe(host(family)), maybe(host(family)), maybe(host(family)), maybe(host(family)));
    let ports = (port(), port(), port(), port());
    let rest =
        (maybe((1..128_u8).prop_map(States)), maybe(any::<u8>()), maybe(status), maybe(any::<(u32, u32)>()));
    (hosts, ports, rest, option::weighted(0.3, any::<bool>()))
        .prop_map(|(hosts, ports, (state, proto, status, expire), original)| Conntrack {
            state,
            proto,
            orig_src: hosts.0,
            orig_dst: hosts.1,
            repl_src: hosts.2,
            repl_dst: hosts.3,
            orig_src_port: ports.0,
            orig_dst_port: ports.1,
            repl_src_port: ports.2,
            repl_dst_port: ports.3,
            status,
            expire,
            original,
        })
        .prop_filter("one at least", |c| *c != Conntrack::default())
        .prop_map(|c| Match::Conntrack(Box::new(c)))
        .boxed()
}

/// A target, and the matches it needs before it.
fn target(
    table: TableName,
    hook: Hook,
    family: Family,
    p: Option<Not<u8>>,
    below: Vec<String>,
) -> BoxedStrategy<(Target, Option<Match>)> {
    let tcp = p == Some(Not::is(proto::TCP));
    let mut all: Vec<BoxedStrategy<Target>> = vec![
        select(vec![Target::None, Target::Accept, Target::Return]).boxed(),
        log().prop_map(Target::Log).boxed(),
        bits(u32::MAX).prop_map(Target::Mark).boxed(),
        connmark().prop_map(Target::Connmark).boxed(),
    ];
    if table != TableName::Nat {
        all.push(Just(Target::Drop).boxed());
    }
    if !below.is_empty() {
        let jump = (select(below), any::<bool>());
        all.push(jump.prop_map(|(to, goes)| if goes { Target::Goto(to) } else { Target::Jump(to) }).boxed());
    }
    match table {
        TableName::Raw => all.push(select(vec![Target::CtNotrack, Target::Notrack]).boxed()),
        TableName::Mangle => all.extend([
            bits(255).prop_map(Target::Tos).boxed(),
            (0..64_u8).prop_map(Target::Dscp).boxed(),
            hops().prop_map(Target::Hops).boxed(),
        ]),
        TableName::Nat => all.extend(nat(hook, family, p)),
        TableName::Filter => all.push(reject(family, tcp).prop_map(Target::Reject).boxed()),
    }
    let usual = proptest::strategy::Union::new(all).prop_map(|t| (t, None));
    if !tcp {
        return usual.boxed();
    }
    let clamp = matches!(hook, Hook::Forward | Hook::Output | Hook::Postrouting);
    let mss = prop_oneof![
        (0..=65_495_u16).prop_map(Mss::Set),
        Just(if clamp { Mss::Clamp } else { Mss::Set(1400) })
    ];
    let syn = Match::Tcp(Tcp { flags: Some(Not::is((0x17, 2))), ..Tcp::default() });
    prop_oneof![8 => usual, 1 => mss.prop_map(move |m| (Target::TcpMss(m), Some(syn.clone())))].boxed()
}

fn log() -> BoxedStrategy<Log> {
    (0..8_u8, text(29), any::<[bool; 5]>())
        .prop_map(|(level, prefix, [sequence, tcp_options, ip_options, uid, mac_decode])| Log {
            level,
            prefix,
            sequence,
            tcp_options,
            ip_options,
            uid,
            mac_decode,
        })
        .boxed()
}

fn connmark() -> BoxedStrategy<Connmark> {
    let masks = || (any::<u32>(), any::<u32>());
    prop_oneof![
        bits(u32::MAX).prop_map(Connmark::Set),
        masks().prop_map(|(nf_mask, ct_mask)| Connmark::Save { nf_mask, ct_mask }),
        masks().prop_map(|(nf_mask, ct_mask)| Connmark::Restore { nf_mask, ct_mask }),
    ]
    .boxed()
}

fn hops() -> BoxedStrategy<SetHops> {
    prop_oneof![
        any::<u8>().prop_map(SetHops::Set),
        (1..=255_u8).prop_map(SetHops::Inc),
        (1..=255_u8).prop_map(SetHops::Dec),
    ]
    .boxed()
}

fn reject(family: Family, tcp: bool) -> BoxedStrategy<RejectWith> {
    use RejectWith::*;
    let mut all = match family {
        Family::V4 => vec![Net, Host, Proto, Port, NetProhibited, HostProhibited, AdminProhibited],
        Family::V6 => vec![NoRoute6, AdminProhibited6, Addr6, Port6, Policy6, Route6],
    };
    all.extend(tcp.then_some(TcpReset));
    select(all).boxed()
}

fn nat(hook: Hook, family: Family, p: Option<Not<u8>>) -> Vec<BoxedStrategy<Target>> {
    let ported =
        p.is_some_and(|p| matches!(p.value, proto::TCP | proto::UDP | proto::SCTP | 33 | proto::ICMP));
    let addrs = move || {
        (addr(family), addr(family), any::<bool>())
            .prop_map(|(a, b, one)| (a.min(b), if one { a.min(b) } else { a.max(b) }))
    };
    let port = move || {
        let pair = (any::<u16>(), any::<u16>()).prop_map(|(a, b)| (a.min(b), a.max(b)));
        at_times(if ported { 0.5 } else { 0.0 }, pair)
    };
    let to = move || {
        (option::weighted(0.8, addrs()), port())
            .prop_filter("one at least", |(a, p)| a.is_some() || p.is_some())
    };
    let range = |((addr, port), [random, random_fully, persistent]): ((_, _), [bool; 3])| NatRange {
        addr,
        port,
        random,
        random_fully,
        persistent,
        ..NatRange::default()
    };
    let prefix_len = 0..=(if family == Family::V4 { 32_u8 } else { 128 });
    let netmap = (addr(family), prefix_len).prop_map(move |(addr, prefix_len)| Target::Netmap {
        addr: masked(addr, prefix(family, prefix_len.into())),
        prefix_len,
    });
    let ports_only = move || (port(), any::<[bool; 2]>());
    let snat = (to(), any::<[bool; 3]>()).prop_map(range).prop_map(Target::Snat).boxed();
    let dnat = (to(), any::<[bool; 2]>(), option::of(1..=u16::MAX))
        .prop_map(move |(to, [random, persistent], base)| {
            let range = range((to, [random, false, persistent]));
            let base = base.filter(|_| range.port.is_some_and(|(first, last)| first < last));
            Target::Dnat(NatRange { base, ..range })
        })
        .boxed();
    let masquerade = ports_only()
        .prop_map(move |(port, [random, fully])| {
            Target::Masquerade(range(((None, port), [random, fully, false])))
        })
        .boxed();
    let redirect = ports_only()
        .prop_map(move |(port, [random, _])| Target::Redirect(range(((None, port), [random, false, false]))))
        .boxed();
    match hook {
        Hook::Prerouting | Hook::Output => vec![dnat, redirect, netmap.boxed()],
        Hook::Input => vec![snat, netmap.boxed()],
        Hook::Postrouting => vec![snat, masquerade, netmap.boxed()],
        Hook::Forward => Vec::new(),
    }
}
