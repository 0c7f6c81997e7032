//! Random rulesets and random packets: the program says, does and counts what the oracle does.

use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use proptest::prelude::*;

use crate::base::{Hook, Mac};
use crate::filter::matches::*;
use crate::filter::program::Program;
use crate::filter::rule::{Basic, Family, Policy, Rule, Ruleset, TableName};
use crate::filter::targets::{Connmark, RejectWith, SetHops, Target};
use crate::packet::{CtState, Direction, L2Kind, NatRange, Packet, Status};
use crate::wire::proto;

use super::naive::Naive;
use super::rig::*;

/// Draws from a number: what is drawn shrinks as the number does.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        (self.0 >> 33) % sides
    }
    fn one_in(&mut self, n: u64) -> bool {
        self.roll(n) == 0
    }
    fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.roll(all.len() as u64) as usize]
    }
    fn not<T>(&mut self, value: T) -> Not<T> {
        Not { not: self.one_in(4), value }
    }
    fn maybe<T>(&mut self, n: u64, f: impl FnOnce(&mut Dice) -> T) -> Option<T> {
        self.one_in(n).then(|| f(self))
    }
}

/// Few values, so that rules and packets meet.
fn addr(d: &mut Dice, v6: bool) -> IpAddr {
    let n = d.of(&[0x0a00_0001, 0x0a00_0002, 0x0a00_0103, 0x0a01_0001, 0xc0a8_0101, 0xe000_0001]);
    match v6 {
        false => v4(n),
        true => IpAddr::V6(Ipv6Addr::from((u128::from(n) << 96 | 0xfd << 120) + u128::from(n & 3))),
    }
}

fn masked(d: &mut Dice, v6: bool) -> AddrMask {
    let len = d.of(if v6 { &[128, 128, 128, 64, 48, 127, 7] } else { &[32, 32, 32, 24, 16, 8, 31, 0, 5] });
    let mut n = net(&format!("{}/{len}", addr(d, v6)));
    if d.one_in(12) && !v6 {
        n = AddrMask { addr: v4(1), mask: v4(0xff) };
    }
    n
}

fn port_of(d: &mut Dice) -> u16 {
    d.of(&[22, 53, 80, 443, 8080, 4000])
}

fn ports(d: &mut Dice) -> Ports {
    let first = port_of(d);
    let more = d.of(&[0, 0, 0, 3, 20, 9000]);
    Ports { first, last: first.saturating_add(more) }
}

fn states(d: &mut Dice) -> States {
    States(d.of(&[1, 2, 2 | 4, 8, 16, 8 | 2, 32, 64, 31, 8 | 64]))
}

fn one_match(d: &mut Dice, proto: Option<u8>, v6: bool) -> Match {
    let not_ports = |d: &mut Dice| {
        let p = ports(d);
        d.not(p)
    };
    loop {
        let m = match d.roll(22) {
            0..5 => match proto {
                Some(proto::TCP) => Match::Tcp(Tcp {
                    sport: d.maybe(6, not_ports),
                    dport: if d.one_in(5) { None } else { Some(not_ports(d)) },
                    flags: d.maybe(4, |d| d.not((0x17, 0x02))),
                    option: d.maybe(6, |d| d.not(2)),
                }),
                Some(proto::UDP) => Match::Udp { sport: d.maybe(6, not_ports), dport: Some(not_ports(d)) },
                Some(proto::ICMP) if !v6 => {
                    let kind = IcmpType { kind: d.of(&[8, 0, 3, 255]), codes: d.of(&[(0, 255), (1, 1)]) };
                    Match::Icmp(d.not(kind))
                }
                Some(proto::ICMPV6) if v6 => {
                    let kind = IcmpType { kind: d.of(&[128, 1, 255]), codes: d.of(&[(0, 255), (1, 1)]) };
                    Match::Icmp(d.not(kind))
                }
                _ => continue,
            },
            5..7 => match proto {
                Some(proto::TCP | proto::UDP | proto::SCTP) => {
                    let list = (0..=d.roll(4)).map(|_| ports(d)).collect();
                    let which = d.of(&[Which::Destination, Which::Destination, Which::Source, Which::Either]);
                    Match::Multiport { which, ports: d.not(list) }
                }
                _ => continue,
            },
            7 => {
                let s = States(states(d).0 & 31);
                Match::State(d.not(s))
            }
            8..11 => {
                let s = states(d);
                Match::Conntrack(Box::new(Conntrack {
                    state: if d.one_in(6) { None } else { Some(d.not(s)) },
                    original: d.maybe(6, |d| d.one_in(2)),
                    repl_dst: d.maybe(8, |d| {
                        let n = masked(d, v6);
                        d.not(n)
                    }),
                    orig_dst_port: d.maybe(8, not_ports),
                    status: d.maybe(8, |d| d.not(StatusSet { bits: 2, none: false })),
                    expire: d.maybe(8, |d| d.not((0, 50))),
                    ..Conntrack::default()
                }))
            }
            11 => Match::Mark(d.not(Masked { value: 1, mask: 3 })),
            12 => Match::Connmark(d.not(Masked { value: 2, mask: 2 })),
            13 => {
                let (a, b) = (addr(d, v6), addr(d, v6));
                let range = d.not((a.min(b), a.max(b)));
                Match::IpRange { src: Some(range), dst: None }
            }
            14 => Match::Mac(d.not(Mac([2, 0, 0, 0, 0, 1]))),
            15 => Match::Limit { every: d.of(&[10_000, 50_000]), burst: d.of(&[1, 3]) },
            16 => Match::Length(d.not((20, 48))),
            17 => Match::Tos(d.not(Masked { value: 0x10, mask: 0x3f })),
            18 => {
                let hops = Hops::Lt(d.of(&[0, 64, 65]));
                if v6 { Match::Hl(hops) } else { Match::Ttl(hops) }
            }
            19 => Match::Nth { not: d.one_in(4), every: 3, packet: d.roll(3) as u32 },
            20 => match d.roll(4) {
                0 => Match::Random(d.not(1 << 30)),
                1 => Match::PktType(d.not(PktType::Broadcast)),
                2 => Match::Ecn {
                    cwr: d.maybe(2, |d| d.one_in(2)),
                    ece: Some(true),
                    ect: d.maybe(3, |d| d.not(1)),
                },
                _ => Match::Dscp(d.not(4)),
            },
            _ if !v6 => Match::AddrType {
                src: None,
                dst: Some(d.not(AddrTypes::LOCAL)),
                limit: d.maybe(3, |_| Side::In),
            },
            _ => continue,
        };
        return m;
    }
}

fn one_rule(seed: u64, later_chains: &[String], v6: bool) -> Rule {
    let d = &mut Dice(seed);
    let proto = match d.roll(8) {
        0..3 => Some(proto::TCP),
        3 => Some(proto::UDP),
        4 => Some(if v6 { proto::ICMPV6 } else { proto::ICMP }),
        5 => Some(d.of(&[proto::SCTP, proto::GRE, proto::NONE])),
        _ => None,
    };
    let not_proto = d.one_in(10);
    let link = |d: &mut Dice| {
        let name = d.of(&["eth0", "eth1", "wan", "eth+", "lo", "+", "none"]);
        d.not(name.to_owned())
    };
    let of = |d: &mut Dice| {
        let n = masked(d, v6);
        d.not(n)
    };
    let basic = Basic {
        src: d.maybe(3, of),
        dst: d.maybe(3, of),
        in_link: d.maybe(5, link),
        out_link: d.maybe(6, link),
        proto: proto.map(|value| Not { not: not_proto, value }),
        fragment: if v6 { None } else { d.maybe(12, |d| d.not(())) },
    };
    let known = proto.filter(|_| !not_proto);
    let matches: Vec<Match> = match known {
        // What is most often written.
        Some(proto::TCP) if d.one_in(2) => vec![dport(port_of(d))],
        _ => (0..d.of(&[0, 0, 1, 1, 2, 3])).map(|_| one_match(d, known, v6)).collect(),
    };
    let range = NatRange { addr: Some((v4(1), v4(2))), ..NatRange::default() };
    let target = match d.roll(24) {
        0..3 => Target::Accept,
        3 => Target::Drop,
        4 => Target::Return,
        5..8 if !later_chains.is_empty() => {
            let to = later_chains[d.roll(later_chains.len() as u64) as usize].clone();
            if d.one_in(3) { Target::Goto(to) } else { Target::Jump(to) }
        }
        8 => Target::Reject(RejectWith::Port),
        9 | 10 => Target::Mark(Masked { value: d.roll(4) as u32, mask: 3 }),
        11 => Target::Connmark(Connmark::Set(Masked { value: d.roll(4) as u32, mask: 3 })),
        12 => Target::Connmark(d.of(&[
            Connmark::Save { nf_mask: !0, ct_mask: !0 },
            Connmark::Restore { nf_mask: 1, ct_mask: 3 },
        ])),
        13 => Target::Tos(Masked { value: 0x10, mask: 0x3f }),
        14 => Target::Dscp(4),
        15 => Target::Hops(d.of(&[SetHops::Set(64), SetHops::Inc(200), SetHops::Dec(63)])),
        16 => Target::Notrack,
        17 => Target::Dnat(range),
        18 if !v6 => Target::Netmap { addr: v4(0x0a00_0000), prefix_len: d.of(&[0, 24, 32]) },
        _ => Target::None,
    };
    rule(basic, matches, target)
}

fn one_packet(seed: u64, v6: bool, world: &mut World) -> Packet {
    let d = &mut Dice(seed);
    let (src, dst) = (addr(d, v6), addr(d, v6));
    let kinds = [proto::TCP, proto::TCP, proto::UDP, proto::ICMP, proto::ICMPV6, proto::SCTP, proto::GRE];
    let kind = d.of(&kinds);
    let (s, e) = (port_of(d).to_be_bytes(), port_of(d).to_be_bytes());
    let mut l4 = match kind {
        proto::ICMP | proto::ICMPV6 => vec![d.of(&[8, 0, 3, 128, 1]), d.of(&[0, 1]), 0, 0, 0, 0, 0, 0],
        _ => vec![s[0], s[1], e[0], e[1], 0, 0, 0, 0],
    };
    if kind == proto::TCP {
        l4.extend([
            0,
            0,
            0,
            0,
            d.of(&[0x50, 0x60, 0x60, 0x40, 0xf0]),
            d.of(&[2, 0x12, 0x10, 0xc2]),
            0,
            0,
            0,
            0,
            0,
            0,
        ]);
        l4.extend(d.of(&[[1, 2, 4, 5], [2, 4, 5, 180], [3, 0, 2, 4], [1, 1, 1, 200]]));
    }
    if d.one_in(12) {
        l4.truncate(d.roll(20) as usize);
    }
    let (next, mut rest) = match d.roll(12) {
        0 if v6 => (proto::DEST_OPTIONS, vec![kind, 0, 1, 4, 0, 0, 0, 0]),
        1 if v6 => {
            let inner = if d.one_in(4) { proto::DEST_OPTIONS } else { kind };
            (proto::FRAGMENT, vec![inner, 0, 0, d.of(&[0, 1, 8, 9]), 0, 0, 0, 7])
        }
        2 if v6 => (proto::ROUTING, vec![kind, d.of(&[0, 9]), 4, 0, 0, 0, 0, 0]),
        _ => (kind, Vec::new()),
    };
    rest.extend(l4);
    if v6 && d.one_in(20) {
        rest.truncate(d.roll(9) as usize);
    }
    let mut b = packet(src, dst, next, &rest).l3().to_vec();
    if v6 {
        b[1] = d.of(&[0, 0x10, 0x40]);
    } else {
        b[1] = d.of(&[0, 0x10, 0x11, 1]);
        let [hi, lo] = d.of(&[0u16, 0, 0, 0, 0, 0, 0x2000, 1, 0x2001, 2]).to_be_bytes();
        b[6..8].copy_from_slice(&[hi, lo]);
    }
    let mut p = parse(&mut b);
    if d.one_in(2) {
        let mac = d.of(&[1, 2]);
        let header = p.set_l2_len(14).expect("headroom");
        header.copy_from_slice(&[2, 0, 0, 0, 0, 9, 2, 0, 0, 0, 0, mac, 8, 0]);
    }
    p.meta.l2 = d.of(&[L2Kind::Host, L2Kind::Host, L2Kind::Broadcast]);
    p.meta.mark = d.roll(4) as u32;
    world.flow = None;
    match d.roll(6) {
        0 => p.meta.ct.state = CtState::Invalid,
        1 => p.meta.ct.state = CtState::Untracked,
        2 => {}
        _ => {
            let state = d.of(&[CtState::New, CtState::Established, CtState::Related]);
            let status = Status(d.of(&[0, 2, 2 | 16, 32, 14]));
            tracked(&mut p, world, state, status);
        }
    }
    p.meta.ct.dir = d.of(&Direction::ALL);
    world.now += Duration::from_millis(d.of(&[0, 100, 900]));
    world.hook = d.of(&[Hook::Forward, Hook::Forward, Hook::Input]);
    world.out_link = if world.hook == Hook::Forward { Some(ETH1) } else { None };
    world.in_link = d.of(&[Some(ETH0), Some(ETH1), None]);
    p
}

fn compare(name: TableName, chains: &[Vec<u64>], packets: &[u64], v6: bool) -> Result<(), TestCaseError> {
    let names: Vec<String> = (0..chains.len()).map(|n| format!("CHAIN{n}")).collect();
    let rules_of = |n: usize| -> Vec<Rule> {
        chains[n]
            .iter()
            .map(|seed| one_rule(*seed, names.get((n + 1).max(2)..).unwrap_or_default(), v6))
            .collect()
    };
    let mut given: Vec<(&str, Vec<Rule>)> =
        (0..chains.len()).map(|n| (names[n].as_str(), rules_of(n))).collect();
    // The first chains are the built-in ones', which jump to the others.
    let hooks = [Hook::Forward, Hook::Input];
    for (chain, hook) in given.iter_mut().zip(hooks) {
        chain.0 = hook.name();
    }
    let mut t = table(name, given);
    for c in t.chains.iter_mut().filter(|c| c.name == "FORWARD") {
        c.policy = Some(Policy::Drop);
    }
    let rules: Ruleset = ruleset(if v6 { Family::V6 } else { Family::V4 }, vec![t]);
    let program = Program::compile(&rules, &links()).expect("no loops");
    let mut naive = Naive::default();
    let mut world = World::at(Hook::Forward);
    world.local = vec![v4(0x0a00_0001)];
    for seed in packets {
        let mut a = one_packet(*seed, v6, &mut world);
        let mut b = a.clone();
        let mut other = world.clone();
        let want = naive.run(&rules, name, &mut a, &mut world);
        let got = program.run(name, &mut b, &mut other);
        prop_assert_eq!(got, want, "packet {}", seed);
        prop_assert_eq!(b.data(), a.data());
        prop_assert_eq!(b.meta, a.meta);
        prop_assert_eq!(&other, &world);
    }
    for (c, chain) in program.ruleset().tables[0].chains.iter().enumerate() {
        let want = |n: usize| naive.counts.get(&(name, c, n)).copied().unwrap_or_default();
        prop_assert_eq!(chain.counters, want(0), "policy of {}", chain.name);
        for (n, rule) in chain.rules.iter().enumerate() {
            prop_assert_eq!(rule.counters, want(n + 1), "{} rule {}", chain.name, n + 1);
        }
    }
    Ok(())
}

fn seeds(least: usize, most: usize) -> impl Strategy<Value = Vec<u64>> {
    proptest::collection::vec(any::<u64>(), least..most)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn long_chains_are_as_the_oracle(
        chains in proptest::collection::vec(seeds(20, 120), 2..5),
        packets in seeds(1, 60),
        v6: bool,
    ) {
        compare(TableName::Filter, &chains, &packets, v6)?;
    }

    #[test]
    fn short_chains_are_as_the_oracle(
        chains in proptest::collection::vec(seeds(0, 12), 2..7),
        packets in seeds(1, 60),
        v6: bool,
    ) {
        compare(TableName::Mangle, &chains, &packets, v6)?;
    }
}
