//! One rule, and what it says of a packet.

use crate::base::Hook;
use crate::filter::iptables;
use crate::filter::program::Program;
use crate::filter::rule::{Family, TableName};
use crate::filter::verdict::Verdict;
use crate::packet::{Net, Packet};

use super::rig::*;

/// What a rule says of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Says {
    Yes,
    No,
    /// The packet is dropped though no target said so.
    Hotdrop,
}
pub(super) use Says::{Hotdrop, No, Yes};

/// One rule at the world's hook, without a target.
pub(super) fn ask(rule: &str, p: &Packet, world: &World) -> Says {
    let family = if p.meta.net == Net::Ipv6 { Family::V6 } else { Family::V4 };
    let text = format!("*mangle\n-A {} {rule}\nCOMMIT\n", world.hook.name());
    let rules = iptables::read(&text, family).unwrap_or_else(|e| panic!("{rule}: {e:?}"));
    let program = Program::compile(&rules, &links()).expect("a good rule");
    let mut after = p.clone();
    let verdict = program.run(TableName::Mangle, &mut after, &mut world.clone());
    assert_eq!((after.data(), after.meta), (p.data(), p.meta), "a match changes nothing");
    let counts = program.ruleset();
    let chain = counts.tables[0].chains.iter().find(|c| c.name == world.hook.name()).expect("its chain");
    let counted = chain.rules[0].counters;
    match (counted.packets, verdict) {
        (1, Verdict::Accept) => {
            assert_eq!(counted.bytes, p.l3_len() as u64);
            Yes
        }
        (0, Verdict::Accept) => No,
        (0, Verdict::Drop) => Hotdrop,
        other => panic!("{rule}: {other:?}"),
    }
}

pub(super) fn check(p: &Packet, world: &World, cases: &[(&str, Says)]) {
    for (rule, says) in cases {
        assert_eq!(ask(rule, p, world), *says, "{rule}");
    }
}

pub(super) fn forward() -> World {
    World::at(Hook::Forward)
}

pub(super) fn tcp4(flags: u8, options: &[u8]) -> Packet {
    tcp(ip("10.0.0.1"), ip("10.0.0.2"), (4000, 80), flags, options)
}

pub(super) fn tcp6(flags: u8, options: &[u8]) -> Packet {
    tcp(ip("fd00::1"), ip("fd00::2"), (4000, 80), flags, options)
}

/// The same with some bytes of its IP header changed.
pub(super) fn with(p: &Packet, bytes: &[(usize, u8)]) -> Packet {
    let mut b = p.l3().to_vec();
    for (at, byte) in bytes {
        b[*at] = *byte;
    }
    let mut q = parse(&mut b);
    (q.meta.ct, q.meta.mark) = (p.meta.ct, p.meta.mark);
    q
}

/// The same, of which only so many bytes came.
pub(super) fn cut(p: &Packet, len: usize) -> Packet {
    parse(&mut p.l3()[..len].to_vec())
}

/// The same with extension headers before its upper layer.
pub(super) fn extended(p: &Packet, next: u8, headers: &[u8]) -> Packet {
    let mut b = [&p.l3()[..40], headers, &p.l3()[40..]].concat();
    b[6] = next;
    parse(&mut b)
}
