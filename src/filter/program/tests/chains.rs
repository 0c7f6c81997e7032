//! Jumps, gotos, returns, policies, counters, and what is worked out of the rules.

use super::rig::*;
use crate::base::Hook;
use crate::filter::iptables;
use crate::filter::matches::{Masked, Ports};
use crate::filter::program::Program;
use crate::filter::program::claims::{self, Claim};
use crate::filter::rule::{Count, Family, Ruleset, TableName};
use crate::filter::targets::{RejectWith, Target};
use crate::filter::verdict::{NatAction, Verdict};
use crate::packet::{Packet, TraceId};
use crate::wire::proto;

fn read(text: &str) -> Ruleset {
    iptables::read(text, Family::V4).unwrap_or_else(|e| panic!("{e:?}"))
}

fn program(text: &str) -> Program {
    Program::compile(&read(text), &links()).expect("good rules")
}

fn syn(port: u16) -> Packet {
    tcp(ip("10.0.0.1"), ip("10.0.0.2"), (4000, port), 2, &[])
}

/// The counters of a table as iptables-save would show them, in order, without bytes.
fn counts(program: &Program) -> Vec<u64> {
    let rules = program.ruleset();
    let chains = rules.tables.iter().flat_map(|t| &t.chains).filter(|c| !c.rules.is_empty());
    chains
        .flat_map(|c| [c.counters.packets].into_iter().chain(c.rules.iter().map(|r| r.counters.packets)))
        .collect()
}

#[test]
fn workers_share_a_program() {
    fn shared<T: Send + Sync>() {}
    shared::<Program>();
}

#[test]
fn jumps_come_back_gotos_do_not() {
    let p = program(
        "*filter\n:FORWARD DROP [0:0]\n:A - [0:0]\n:B - [0:0]\n\
         -A FORWARD -j A\n-A FORWARD -p tcp --dport 5 -j ACCEPT\n\
         -A A -p tcp --dport 1 -j RETURN\n-A A -p tcp --dport 2:5 -g B\n-A A -p tcp --dport 6 -j ACCEPT\n-A A -j DROP\n\
         -A B -p tcp --dport 2 -j ACCEPT\n-A B -p tcp --dport 3 -j RETURN\nCOMMIT\n",
    );
    let mut w = World::at(Hook::Forward);
    let mut run = |port| p.run(TableName::Filter, &mut syn(port), &mut w);
    // 1 returns to FORWARD, and so do 3 to 5, by the end of B, which A went to for good.
    let verdicts: Vec<Verdict> = (1..=7).map(&mut run).collect();
    use Verdict::{Accept, Drop};
    assert_eq!(verdicts, [Drop, Accept, Drop, Drop, Accept, Accept, Drop]);
    // FORWARD: policy, -j A, --dport 5. A: 1, 2:5, 6, the rest. B: 2, 3.
    assert_eq!(counts(&p), [3, 7, 1, 0, 1, 4, 1, 1, 0, 1, 1]);
}

#[test]
fn return_and_a_gotos_end_in_a_built_in_chain_are_its_policy() {
    let p = program(
        "*filter\n:FORWARD DROP [0:0]\n:A - [0:0]\n-A FORWARD -p tcp --dport 1 -j RETURN\n\
         -A FORWARD -p tcp --dport 2 -g A\n-A FORWARD -j ACCEPT\n-A A -p tcp --dport 9\nCOMMIT\n",
    );
    let mut w = World::at(Hook::Forward);
    let verdicts = [1, 2, 3].map(|port| p.run(TableName::Filter, &mut syn(port), &mut w));
    assert_eq!(verdicts, [Verdict::Drop, Verdict::Drop, Verdict::Accept]);
    assert_eq!(counts(&p), [2, 1, 1, 1, 0, 0]);
}

#[test]
fn tables_are_asked_at_their_hooks_only() {
    let p = program(
        "*filter\n:INPUT DROP [0:0]\n:FORWARD DROP [0:0]\n:OUTPUT DROP [0:0]\nCOMMIT\n*raw\nCOMMIT\n",
    );
    assert!(p.has(TableName::Filter, Hook::Input) && p.has(TableName::Raw, Hook::Output));
    assert!(!p.has(TableName::Filter, Hook::Prerouting) && !p.has(TableName::Raw, Hook::Forward));
    assert!(!p.has(TableName::Nat, Hook::Prerouting) && !p.has(TableName::Mangle, Hook::Forward));
    let run = |table, hook, p6: bool| {
        let mut packet = if p6 { udp(ip("fd00::1"), ip("fd00::2"), (1, 2)) } else { syn(1) };
        p.run(table, &mut packet, &mut World::at(hook))
    };
    assert_eq!(run(TableName::Filter, Hook::Output, false), Verdict::Drop);
    assert_eq!(run(TableName::Filter, Hook::Prerouting, false), Verdict::Accept);
    assert_eq!(run(TableName::Nat, Hook::Output, false), Verdict::Accept);
    // Rules of one family say nothing of the other's packets.
    assert_eq!(run(TableName::Filter, Hook::Output, true), Verdict::Accept);
}

#[test]
fn chains_of_chains_as_deep_as_somebody_writes() {
    for depth in [1, 15, 16, 17, 300] {
        let mut text = String::from("*filter\n:FORWARD DROP [0:0]\n");
        (0..depth).for_each(|n| text += &format!(":C{n} - [0:0]\n"));
        text += "-A FORWARD -j C0\n-A FORWARD -j REJECT\n";
        (0..depth - 1).for_each(|n| text += &format!("-A C{n} -j C{}\n-A C{n} -j MARK --or-mark 1\n", n + 1));
        text += "COMMIT\n";
        // MARK is a target of every table; what the last chain lacks is a verdict.
        let p = program(&text);
        let mut packet = syn(1);
        let verdict = p.run(TableName::Filter, &mut packet, &mut World::at(Hook::Forward));
        assert_eq!(verdict, Verdict::Reject(RejectWith::Port), "{depth}");
        assert_eq!(packet.meta.mark, u32::from(depth > 1));
        assert_eq!(counts(&p).iter().sum::<u64>(), 2 * depth, "{depth}");
    }
}

#[test]
fn what_reading_would_not_let_through() {
    let compile =
        |chains| Program::compile(&ruleset(Family::V4, vec![table(TableName::Filter, chains)]), &links());
    let jump = |to: &str| rule(Default::default(), [], Target::Jump(to.into()));
    let goto = |to: &str| rule(Default::default(), [], Target::Goto(to.into()));
    let says = |chains| compile(chains).expect_err("wrong").remove(0).text;
    assert!(says(vec![("FORWARD", vec![jump("NOWHERE")])]).contains("'NOWHERE'"));
    assert!(says(vec![("FORWARD", vec![jump("A")]), ("A", vec![jump("A")])]).contains("loop"));
    assert!(
        says(vec![("INPUT", vec![jump("A")]), ("A", vec![goto("B")]), ("B", vec![jump("A")])])
            .contains("loop")
    );
    let other = rule(
        crate::filter::Basic {
            src: Some(crate::filter::matches::Not::is(net("fd00::/8"))),
            ..Default::default()
        },
        [],
        Target::Drop,
    );
    assert!(says(vec![("FORWARD", vec![other])]).contains("family"));
    // A chain that nothing leads to may be as it likes, and two ways may meet again.
    assert!(compile(vec![("A", vec![jump("A")])]).is_ok());
    let diamond = vec![
        ("FORWARD", vec![jump("A"), jump("B")]),
        ("A", vec![jump("C")]),
        ("B", vec![jump("C")]),
        ("C", vec![]),
    ];
    assert!(compile(diamond).is_ok());
}

#[test]
fn counters_begin_as_the_text_says_and_can_be_zeroed() {
    let text = "*filter\n:FORWARD DROP [10:600]\n[5:300] -A FORWARD -p tcp --dport 1 -j ACCEPT\nCOMMIT\n";
    let p = program(text);
    let forward = |p: &Program| {
        let chain = p.ruleset().tables[0].chains[1].clone();
        (chain.counters, chain.rules[0].counters)
    };
    let count = |packets, bytes| Count { packets, bytes };
    assert_eq!(forward(&p), (count(10, 600), count(5, 300)));
    assert_eq!(p.ruleset(), read(text));
    for (lane, port) in [(0, 1), (1, 1), (9_999, 2)] {
        let mut w = World::at(Hook::Forward);
        w.lane = lane;
        p.run(TableName::Filter, &mut syn(port), &mut w);
    }
    assert_eq!(forward(&p), (count(11, 640), count(7, 380)));
    p.zero();
    assert_eq!(forward(&p), (count(0, 0), count(0, 0)));
    p.run(TableName::Filter, &mut syn(1), &mut World::at(Hook::Forward));
    assert_eq!(forward(&p), (count(0, 0), count(1, 40)));
}

#[test]
fn equal_rules_go_on_where_the_old_ones_were() {
    let limit = "-A FORWARD -p tcp -m limit --limit 1/min --limit-burst 2 -j ACCEPT\n";
    let nth = "-A FORWARD -p udp -m statistic --mode nth --every 2 --packet 1 -j DROP\n";
    let old = program(&format!("*filter\n:FORWARD DROP [0:0]\n{limit}{nth}COMMIT\n"));
    let new = program(&format!(
        "*filter\n:FORWARD ACCEPT [0:0]\n{nth}-A FORWARD -j MARK --set-mark 1\n{limit}COMMIT\n"
    ));
    let mut w = World::at(Hook::Forward);
    for _ in 0..3 {
        old.run(TableName::Filter, &mut syn(1), &mut w);
    }
    old.run(TableName::Filter, &mut udp(ip("10.0.0.1"), ip("10.0.0.2"), (1, 2)), &mut w);
    new.carry(&old);
    // The policy that was met twice, nth not yet, the mark of nobody, and the limit's two.
    assert_eq!(counts(&new), [2, 0, 0, 2]);
    new.run(TableName::Filter, &mut syn(1), &mut w);
    let verdict = new.run(TableName::Filter, &mut udp(ip("10.0.0.1"), ip("10.0.0.2"), (1, 2)), &mut w);
    assert_eq!((verdict, counts(&new)), (Verdict::Drop, vec![3, 1, 1, 2]));
}

#[test]
fn an_edit_says_where_each_counter_goes_on_and_nothing_counted_meanwhile_is_lost() {
    use crate::filter::iptables;

    let text = "*filter\n:FORWARD DROP [0:0]\n-A FORWARD -p tcp -m limit --limit 1/min --limit-burst 9 -j MARK --set-mark 1\n\
                -A FORWARD -p tcp -j MARK --set-mark 2\n-A FORWARD -p tcp -j MARK --set-mark 2\nCOMMIT\n";
    let old = program(text);
    let mut w = World::at(Hook::Forward);
    let mut see = |p: &crate::filter::Program, times: u32| {
        (0..times).for_each(|_| _ = p.run(TableName::Filter, &mut syn(1), &mut w));
    };
    see(&old, 2);
    let edited = |line: &str, old: &crate::filter::Program| {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        let edited = iptables::edit(&words, &read(text)).unwrap();
        let new = crate::filter::Program::compile(&edited.rules, &crate::link::Links::new([])).unwrap();
        new.inherit(old, &edited.from);
        new
    };
    // The first of two equal rules goes, and takes its count with it; a packet comes before the old program is left.
    let new = edited("-D FORWARD 2", &old);
    assert_eq!(counts(&new), [2, 2, 2]);
    see(&old, 1);
    see(&new, 4);
    assert_eq!(counts(&new), [6, 6, 6]);
    new.settle(&old);
    assert_eq!(counts(&new), [7, 7, 7]);
    new.settle(&old);
    assert_eq!(counts(&new), [7, 7, 7], "it is settled once");
    // One rule set to zero: what comes meanwhile is counted, and the limit remembers what it has given.
    let zeroed = edited("-Z FORWARD 1", &old);
    assert_eq!(counts(&zeroed), [3, 0, 3, 3]);
    see(&old, 1);
    zeroed.settle(&old);
    assert_eq!(counts(&zeroed), [4, 1, 4, 4]);
    see(&zeroed, 9);
    assert_eq!(counts(&zeroed), [13, 7, 13, 13], "9 at once, of which 3 were gone when it took over");
    // In its place another one begins at zero.
    assert_eq!(counts(&edited("-R FORWARD 2 -p tcp -j MARK --set-mark 2", &old)), [4, 4, 0, 4]);
}

#[test]
fn what_begins_anew_remembers_nothing_of_a_table_that_says_the_same() {
    let limit = "-A FORWARD -p tcp -m limit --limit 1/min --limit-burst 3 -j DROP\n";
    let nth = "-A FORWARD -m statistic --mode nth --every 2 --packet 0 -j DROP\n";
    let mangle = "*mangle\n-A FORWARD -p tcp -j MARK --set-mark 1\nCOMMIT\n";
    let text = format!("{mangle}*filter\n{limit}{nth}COMMIT\n");
    let mut w = World::at(Hook::Forward);
    let mut dropped = |program: &Program| {
        let drops = (0..8).filter(|_| program.run(TableName::Filter, &mut syn(1), &mut w) == Verdict::Drop);
        drops.count()
    };
    let inherits = |edited: &iptables::Edited, old: &Program| {
        let new = Program::after(&edited.rules, &links(), Some((old, &edited.from))).expect("good rules");
        new.inherit(old, &edited.from);
        new
    };
    let restored = |text: &str, noflush: bool, old: &Program| {
        let how = iptables::Restore { noflush, ..Default::default() };
        inherits(&iptables::restore(text, &how, &old.rules).expect("good rules"), old)
    };
    let edited = |line: &str, old: &Program| {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        inherits(&iptables::edit(&words, &old.rules).expect("a good rule"), old)
    };
    let old = program(&text);
    assert_eq!(dropped(&old), 3 + 3, "all that are allowed at once, and the first of each two of five");
    // Restored, every rule is a new one; what remembers nothing is shared all the same.
    let new = restored(&text, false, &old);
    assert!(!new.code.shares(&old.code, TableName::Filter) && new.code.shares(&old.code, TableName::Mangle));
    assert_eq!(dropped(&new), 3 + 3);
    // So is what is emptied and filled again at once, and a rule in the place of its like.
    let flushed = restored(&format!("*filter\n-F\n{limit}{nth}COMMIT\n"), true, &new);
    assert_eq!(dropped(&flushed), 3 + 3);
    let replaced = edited(&format!("-R FORWARD 1 {}", limit.trim_start_matches("-A FORWARD ")), &flushed);
    assert_eq!(dropped(&replaced), 3 + 2, "the statistic was not replaced");
    // What stays remembers, whether its table is shared or not.
    let stays = restored(mangle, true, &replaced);
    assert!(stays.code.shares(&replaced.code, TableName::Filter));
    assert_eq!(dropped(&stays), 4);
    let more = edited("-A FORWARD -p udp", &stays);
    assert!(!more.code.shares(&stays.code, TableName::Filter));
    assert_eq!(dropped(&more), 4);
    // Two chains change places: each remembers what it did under its other name.
    let [a, b] = ["a", "b"].map(|chain| limit.replace("FORWARD", chain));
    let chains = program(&format!("*filter\n:a -\n:b -\n{a}{b}-A FORWARD -g a\nCOMMIT\n"));
    assert_eq!(dropped(&chains), 3);
    let swapped = restored("*filter\n-E a c\n-E b a\n-E c b\n-R FORWARD 1 -g a\nCOMMIT\n", true, &chains);
    assert_eq!(dropped(&swapped), 3);
    let back = restored("*filter\n-R FORWARD 1 -g b\nCOMMIT\n", true, &swapped);
    assert_eq!(dropped(&back), 0);
}

#[test]
fn the_line_that_needs_conntrack_is_of_the_text_that_is_in_force() {
    let nat = "*nat\n-A POSTROUTING -j MASQUERADE\nCOMMIT\n";
    let old = program(nat);
    assert_eq!(old.conntrack_line(), Some(2));
    let rules = read(&format!("*filter\n-A FORWARD -p tcp\nCOMMIT\n{nat}"));
    let new = Program::after(&rules, &links(), Some((&old, &[]))).expect("good rules");
    assert!(new.code.shares(&old.code, TableName::Nat) && new.needs_conntrack());
    assert_eq!(new.conntrack_line(), Some(5));
}

#[test]
fn conntrack_is_needed_by_what_asks_for_it() {
    let needs = |table: &str, rule: &str| program(&format!("*{table}\n{rule}\nCOMMIT\n")).needs_conntrack();
    for (table, rule) in [
        ("filter", "-A INPUT -m conntrack --ctproto 6"),
        ("filter", "-A INPUT -m state --state NEW"),
        ("mangle", "-A INPUT -m connmark --mark 1"),
        ("mangle", "-A INPUT -j CONNMARK --save-mark"),
        ("nat", "-A POSTROUTING -j MASQUERADE"),
        ("nat", ":UNUSED - [0:0]\n-A UNUSED -j ACCEPT -m state --state NEW"),
        ("nat", "-A PREROUTING -j NETMAP --to 10.0.0.0/8"),
    ] {
        assert!(needs(table, rule), "{rule}");
    }
    for (table, rule) in [
        ("nat", ""),
        ("nat", "-A POSTROUTING -j ACCEPT"),
        ("raw", "-A PREROUTING -j NOTRACK"),
        ("raw", "-A PREROUTING -j CT --notrack"),
        ("filter", "-A INPUT -m mark --mark 1 -j REJECT"),
    ] {
        assert!(!needs(table, rule), "{rule}");
    }
}

#[test]
fn what_matched_and_what_decided_is_told_of_packets_that_are_followed() {
    let p = program(
        "*filter\n:FORWARD DROP [0:0]\n:A - [0:0]\n-A FORWARD -p tcp --dport 1:4 -j A\n\
         -A A -p tcp --dport 1 -j ACCEPT\n-A A -p tcp --dport 2 -j REJECT\n-A A -p tcp --dport 3 --tcp-option 9 -j ACCEPT\nCOMMIT\n",
    );
    let mut w = World::at(Hook::Forward);
    let mut run = |port, traced| {
        let mut packet = syn(port);
        packet.meta.trace = TraceId::new(traced);
        if port == 3 {
            packet.l3_mut()[32] = 0x40;
        }
        p.run(TableName::Filter, &mut packet, &mut w);
    };
    run(1, 0);
    (1..=5).for_each(|port| run(port, 1));
    let want = [
        // What leads to a verdict, and the rule that has it.
        "filter FORWARD 1",
        "filter A 1",
        "filter FORWARD 1",
        "filter A 2",
        "filter FORWARD 1",
        "filter A 3 hotdrop",
        "filter FORWARD 1",
        "filter FORWARD 0 DROP",
        "filter FORWARD 0 DROP",
    ];
    assert_eq!(w.said, want);
}

#[test]
fn ports_that_dnat_waits_at() {
    let p = program(
        "*nat\n:KUBE - [0:0]\n:SVC - [0:0]\n:UNUSED - [0:0]\n\
         -A PREROUTING -d 192.0.2.1/32 -p tcp -m tcp --dport 80 -j DNAT --to-destination 10.0.0.1:8080\n\
         -A PREROUTING -p udp -m multiport --dports 53,1000:1009 -j REDIRECT\n\
         -A PREROUTING -p tcp -m tcp ! --dport 22 -j DNAT --to-destination 10.0.0.2\n\
         -A PREROUTING -p tcp -m tcp --sport 22 -j DNAT --to-destination 10.0.0.2\n\
         -A PREROUTING -j KUBE\n\
         -A KUBE -d 10.96.0.1/32 -p tcp -m tcp --dport 443 -j SVC\n\
         -A SVC -m statistic --mode random --probability 0.5 -p tcp -j DNAT --to-destination 10.1.0.1:6443\n\
         -A SVC -p tcp -j DNAT --to-destination 10.1.0.2:6443\n\
         -A UNUSED -p tcp -m tcp --dport 9 -j REDIRECT\n\
         -A OUTPUT -p tcp -m tcp --dport 10 -j REDIRECT\n\
         -A POSTROUTING -p tcp -m tcp --dport 11 -j MASQUERADE\nCOMMIT\n",
    );
    let mut claims = claims::list(&p.ruleset());
    claims.sort_by_key(|c| (c.ports.first, c.to));
    let claim = |proto, dst: Option<&str>, (first, last), to: Option<&str>| Claim {
        proto,
        dst: dst.map(net),
        ports: Ports { first, last },
        to: to.map(|to| (ip(to), ip(to))),
    };
    let want = [
        claim(proto::UDP, None, (53, 53), None),
        claim(proto::TCP, Some("192.0.2.1/32"), (80, 80), Some("10.0.0.1")),
        claim(proto::TCP, Some("10.96.0.1/32"), (443, 443), Some("10.1.0.1")),
        claim(proto::TCP, Some("10.96.0.1/32"), (443, 443), Some("10.1.0.2")),
        claim(proto::UDP, None, (1000, 1009), None),
    ];
    assert_eq!(claims, want);
    assert!(claims::list(&program("*filter\nCOMMIT\n").ruleset()).is_empty());
}

#[test]
fn nat_rules_say_how() {
    let text = "*nat\n-A POSTROUTING -s 10.0.0.0/8 -p tcp -j SNAT --to-source 192.0.2.1-192.0.2.3:1000-2000 --persistent\n\
                -A POSTROUTING -j MASQUERADE --random\n-A PREROUTING -p tcp --dport 1 -j REDIRECT --to-ports 8080\n\
                -A PREROUTING -p tcp --dport 2 -j DNAT --to-destination 10.9.9.9\n\
                -A PREROUTING -j NETMAP --to 10.5.0.0/16\n-A INPUT -j NETMAP --to 10.6.0.0/16\nCOMMIT\n";
    let p = program(text);
    let run = |hook, packet: &mut Packet| match p.run(TableName::Nat, packet, &mut World::at(hook)) {
        Verdict::Nat(action) => action,
        other => panic!("{other:?}"),
    };
    let NatAction::Snat(range) = run(Hook::Postrouting, &mut syn(1)) else { panic!() };
    assert_eq!((range.addr, range.port), (Some((ip("192.0.2.1"), ip("192.0.2.3"))), Some((1000, 2000))));
    assert!(range.persistent && !range.netmap);
    let mut other = udp(ip("11.0.0.1"), ip("10.0.0.2"), (1, 2));
    assert!(
        matches!(run(Hook::Postrouting, &mut other), NatAction::Masquerade(r) if r.random && r.addr.is_none())
    );
    assert!(
        matches!(run(Hook::Prerouting, &mut syn(1)), NatAction::Redirect(r) if r.port == Some((8080, 8080)))
    );
    assert!(
        matches!(run(Hook::Prerouting, &mut syn(2)), NatAction::Dnat(r) if r.addr == Some((ip("10.9.9.9"), ip("10.9.9.9"))))
    );
    assert!(
        matches!(run(Hook::Prerouting, &mut syn(3)), NatAction::Dnat(r) if r.netmap && r.addr == Some((ip("10.5.0.0"), ip("10.5.255.255"))))
    );
    assert!(
        matches!(run(Hook::Input, &mut syn(3)), NatAction::Snat(r) if r.netmap && r.addr == Some((ip("10.6.0.0"), ip("10.6.255.255"))))
    );
    let mark = when(
        crate::filter::Match::Mark(crate::filter::matches::Not::is(Masked { value: 0, mask: 0 })),
        Target::Netmap { addr: ip("fd00:1::"), prefix_len: 32 },
    );
    let rules = ruleset(Family::V6, vec![table(TableName::Nat, vec![("OUTPUT", vec![mark])])]);
    let p = Program::compile(&rules, &links()).expect("good rules");
    let verdict =
        p.run(TableName::Nat, &mut udp(ip("fd00::1"), ip("fd00::2"), (1, 2)), &mut World::at(Hook::Output));
    let Verdict::Nat(NatAction::Dnat(range)) = verdict else { panic!("{verdict:?}") };
    assert_eq!(range.addr, Some((ip("fd00:1::"), ip("fd00:1:ffff:ffff:ffff:ffff:ffff:ffff"))));
}

#[test]
fn ports_behind_many_ways_are_found_among_chains_that_lead_nowhere() {
    // Each service marks first, in a chain that is come to by as many ways and leads to no DNAT.
    let count = 40_000;
    let mut text = String::from("*nat\n:MARK-MASQ -\n:SVC -\n");
    for n in 0..count {
        text += &format!("-A PREROUTING -d 10.{}.{}.1 -p tcp --dport 80 -j MARK-MASQ\n", n / 250, n % 250);
        text += &format!("-A PREROUTING -d 10.{}.{}.1 -p tcp --dport 80 -j SVC\n", n / 250, n % 250);
    }
    text +=
        "-A MARK-MASQ -j MARK --set-mark 1\n-A SVC -p tcp -j DNAT --to-destination 10.244.0.1:8080\nCOMMIT\n";
    assert_eq!(claims::list(&read(&text)).len(), count);
}
