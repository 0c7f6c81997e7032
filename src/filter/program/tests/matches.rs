//! Each match but those of the upper layer, asked about packets for which it agrees, does not, or drops.

use std::net::IpAddr;

use crate::base::{Hook, LinkId};
use crate::filter::iptables;
use crate::filter::program::{Legacy, Program, carry};
use crate::filter::rule::{Family, TableName};
use crate::filter::verdict::Verdict;
use crate::packet::{Csum, CtState, Direction, L2Kind, Packet, Status};
use crate::wire::{proto, tcp as flag};

use super::ask::*;
use super::rig::*;

#[test]
fn addresses_and_protocols() {
    let p = tcp4(flag::SYN, &[]);
    check(
        &p,
        &forward(),
        &[
            ("", Yes),
            ("-s 10.0.0.1", Yes),
            ("! -s 10.0.0.1", No),
            ("-s 10.0.0.0/30 -d 10.0.0.2/31", Yes),
            ("-s 10.0.0.0/24 ! -d 10.0.0.0/24", No),
            ("-d 10.0.0.1", No),
            ("-s 11.0.0.1/0.255.255.255", Yes),
            ("-s 0.0.0.0/0", Yes),
            ("-p tcp", Yes),
            ("! -p tcp", No),
            ("-p udp", No),
            ("! -p udp", Yes),
            ("-p all", Yes),
            ("-f", No),
            ("! -f", Yes),
        ],
    );
    let p = tcp6(flag::SYN, &[]);
    check(
        &p,
        &forward(),
        &[
            ("-s fd00::1", Yes),
            ("-s fd00::/16 ! -d fd00::3", Yes),
            ("-s fd00::2/127", No),
            ("-s ::1/::ffff", Yes),
            ("! -p tcp", No),
            ("! -p udp", Yes),
            ("-p all", Yes),
        ],
    );
}

#[test]
fn links_by_name_and_where_there_is_none() {
    let p = tcp4(flag::SYN, &[]);
    let cases = [
        (Hook::Forward, "-i eth0 -o eth1", Yes),
        (Hook::Forward, "-i eth1", No),
        (Hook::Forward, "-i eth+ ! -o wan", Yes),
        (Hook::Forward, "-i eth", No),
        (Hook::Forward, "! -i eth+", No),
        (Hook::Prerouting, "-i eth0", Yes),
        (Hook::Postrouting, "-o eth1", Yes),
        (Hook::Output, "-o eth+", Yes),
        (Hook::Input, "! -i wan", Yes),
    ];
    for (hook, rule, says) in cases {
        assert_eq!(ask(rule, &p, &World::at(hook)), says, "{hook:?} {rule}");
    }
    // In a user's chain every name can be asked for at every hook; without a link it is empty.
    let mut nowhere = forward();
    (nowhere.in_link, nowhere.out_link) = (None, Some(LinkId(7)));
    let rules =
        [("-i eth0", No), ("! -i eth0", Yes), ("-i +", Yes), ("-i eth+", No), ("-o lo", No), ("-o +", Yes)];
    check(&p, &nowhere, &rules);
}

#[test]
fn fragments_of_ipv4() {
    let whole = tcp4(flag::SYN, &[]);
    let first = with(&whole, &[(6, 0x20)]);
    let second = with(&whole, &[(6, 0x20), (7, 1)]);
    let third = with(&whole, &[(7, 2)]);
    let udp_second = with(&second, &[(9, proto::UDP)]);
    check(&first, &forward(), &[("-f", No), ("! -f", Yes), ("-p tcp --dport 80", Yes)]);
    check(
        &second,
        &forward(),
        &[
            ("-f", Yes),
            ("! -f", No),
            ("-p tcp", Yes),
            // It would overwrite the flags.
            ("-p tcp --dport 80", Hotdrop),
            ("-p tcp -m multiport --dports 80", No),
            ("-p udp", No),
        ],
    );
    check(
        &third,
        &forward(),
        &[
            ("-f -p tcp", Yes),
            ("-p tcp --dport 80", No),
            ("-p tcp ! --dport 81", No),
            ("-p tcp ! --syn", No),
            ("-p tcp -m multiport ! --dports 81", No),
        ],
    );
    check(
        &udp_second,
        &forward(),
        &[("-p udp", Yes), ("-p udp --sport 0:65535", No), ("-p tcp --dport 80", No)],
    );
    let icmp = with(&third, &[(9, proto::ICMP)]);
    check(&icmp, &forward(), &[("-p icmp", Yes), ("-p icmp --icmp-type any", No)]);
}

#[test]
fn chains_of_ipv6_headers() {
    let p = tcp6(flag::SYN, &[]);
    let options = extended(&p, proto::DEST_OPTIONS, &[proto::TCP, 0, 1, 4, 0, 0, 0, 0]);
    check(&options, &forward(), &[("-p tcp --dport 80", Yes), ("-p udp", No), ("! -p udp", Yes)]);
    let first = extended(&p, proto::FRAGMENT, &[proto::TCP, 0, 0, 1, 0, 0, 0, 7]);
    check(&first, &forward(), &[("-p tcp --dport 80", Yes)]);
    // A fragment at 8 is no overwriter here: the kernel counts offsets in bytes in IPv6.
    let second = extended(&p, proto::FRAGMENT, &[proto::TCP, 0, 0, 9, 0, 0, 0, 7]);
    check(
        &second,
        &forward(),
        &[("-p tcp", Yes), ("-p tcp --dport 80", No), ("-p udp", No), ("! -p udp", Yes)],
    );
    // What can't be followed is dropped by the first rule that asks for a protocol, and by no other.
    let hidden = extended(&p, proto::FRAGMENT, &[proto::DEST_OPTIONS, 0, 0, 8, 0, 0, 0, 7]);
    let short = cut(&extended(&p, proto::ROUTING, &[proto::TCP, 0, 0, 0, 0, 0, 0, 0]), 42);
    for p in [hidden, short] {
        check(
            &p,
            &forward(),
            &[
                ("", Yes),
                ("-s fd00::1", Yes),
                ("-p tcp", Hotdrop),
                ("! -p tcp", Hotdrop),
                ("-s fd00::9 -p tcp", No),
            ],
        );
    }
    let none = with(&p, &[(6, proto::NONE)]);
    check(&none, &forward(), &[("-p 59", Yes), ("-p tcp", No)]);
    let headless = cut(&p, 40);
    check(&headless, &forward(), &[("-p tcp", Yes), ("-p tcp --dport 80", Hotdrop)]);
}

#[test]
fn states() {
    let mut p = tcp4(flag::SYN, &[]);
    let world = forward();
    for state in [CtState::Unseen, CtState::Invalid] {
        p.meta.ct.state = state;
        check(
            &p,
            &world,
            &[
                ("-m conntrack --ctstate INVALID", Yes),
                ("-m conntrack ! --ctstate INVALID", No),
                ("-m conntrack --ctstate NEW,ESTABLISHED", No),
                ("-m state --state INVALID", Yes),
                ("-m state ! --state NEW", Yes),
                // Where there is no flow, a state that agrees is all that is looked at.
                ("-m conntrack --ctstate INVALID --ctproto udp", Yes),
                ("-m conntrack ! --ctstate NEW --ctorigsrc 1.2.3.4", Yes),
                ("-m conntrack --ctproto tcp", No),
                ("-m conntrack ! --ctproto tcp", No),
                ("-m conntrack --ctstate DNAT", No),
                ("-m connmark --mark 0", No),
                ("-m connmark ! --mark 0", No),
            ],
        );
    }
    p.meta.ct.state = CtState::Untracked;
    check(
        &p,
        &world,
        &[
            ("-m conntrack --ctstate UNTRACKED", Yes),
            ("-m conntrack --ctstate INVALID", No),
            ("-m state --state UNTRACKED", Yes),
            ("-m conntrack --ctdir ORIGINAL", No),
        ],
    );
    for (state, word) in
        [(CtState::New, "NEW"), (CtState::Established, "ESTABLISHED"), (CtState::Related, "RELATED")]
    {
        let mut world = forward();
        tracked(&mut p, &mut world, state, Status::default());
        for name in ["NEW", "ESTABLISHED", "RELATED"] {
            let says = if name == word { Yes } else { No };
            assert_eq!(ask(&format!("-m conntrack --ctstate {name}"), &p, &world), says);
            assert_eq!(ask(&format!("-m state --state {name}"), &p, &world), says);
        }
        check(&p, &world, &[("-m conntrack --ctstate INVALID,UNTRACKED,SNAT,DNAT", No)]);
        world.flow.as_mut().expect("it has one").status = Status(Status::SRC_NAT.0);
        check(
            &p,
            &world,
            &[
                ("-m conntrack --ctstate SNAT", Yes),
                ("-m conntrack ! --ctstate SNAT", No),
                ("-m conntrack --ctstate DNAT", No),
                ("-m conntrack --ctstate INVALID,SNAT", Yes),
            ],
        );
        world.flow.as_mut().expect("it has one").status = Status(Status::DST_NAT.0);
        check(&p, &world, &[("-m conntrack --ctstate SNAT", No), ("-m conntrack --ctstate DNAT", Yes)]);
    }
}

#[test]
fn what_conntrack_knows_of_a_flow() {
    let mut world = forward();
    let mut p = tcp4(flag::ACK, &[]);
    tracked(&mut p, &mut world, CtState::Established, Status(Status::SEEN_REPLY.0 | Status::CONFIRMED.0));
    check(
        &p,
        &world,
        &[
            ("-m conntrack --ctproto tcp", Yes),
            ("-m conntrack ! --ctproto 6", No),
            ("-m conntrack --ctproto udp", No),
            ("-m conntrack --ctorigsrc 10.0.0.1", Yes),
            ("-m conntrack --ctorigsrc 10.0.0.9/28", Yes),
            ("-m conntrack ! --ctorigsrc 10.0.0.1", No),
            ("-m conntrack --ctorigdst 10.0.0.2", Yes),
            ("-m conntrack --ctreplsrc 10.9.0.0/16", Yes),
            ("-m conntrack --ctreplsrc 10.0.0.2", No),
            ("-m conntrack --ctrepldst 10.0.0.1", Yes),
            ("-m conntrack --ctorigsrcport 4000", Yes),
            ("-m conntrack --ctorigdstport 80:90", Yes),
            ("-m conntrack ! --ctorigdstport 80:90", No),
            ("-m conntrack --ctreplsrcport 8080", Yes),
            ("-m conntrack --ctrepldstport 4001", No),
            ("-m conntrack --ctdir ORIGINAL", Yes),
            ("-m conntrack --ctdir REPLY", No),
            ("-m conntrack --ctstatus SEEN_REPLY", Yes),
            ("-m conntrack --ctstatus EXPECTED,ASSURED", No),
            ("-m conntrack ! --ctstatus ASSURED", Yes),
            ("-m conntrack --ctstatus CONFIRMED,ASSURED", Yes),
            ("-m conntrack --ctstatus NONE", No),
            ("-m conntrack --ctexpire 100", Yes),
            ("-m conntrack --ctexpire 101:200", No),
            ("-m conntrack ! --ctexpire 101:200", Yes),
            ("-m conntrack --ctstate ESTABLISHED --ctdir ORIGINAL --ctproto tcp --ctorigdstport 80", Yes),
            ("-m conntrack --ctstate NEW --ctproto tcp", No),
            ("-m connmark --mark 0x22", Yes),
            ("-m connmark --mark 0x2/0xf", Yes),
            ("-m connmark ! --mark 0x2/0xf", No),
            ("-m connmark --mark 0x12/0xf", No),
        ],
    );
    p.meta.ct.dir = Direction::Reply;
    check(&p, &world, &[("-m conntrack --ctdir ORIGINAL", No), ("-m conntrack --ctdir REPLY", Yes)]);
    let mut p = tcp6(flag::ACK, &[]);
    tracked(&mut p, &mut world, CtState::Established, Status::default());
    check(
        &p,
        &world,
        &[
            ("-m conntrack --ctorigsrc fd00::1", Yes),
            ("-m conntrack --ctorigdst fd00::/64", Yes),
            ("-m conntrack --ctreplsrc fd00::2", No),
            ("-m conntrack ! --ctreplsrc fd00::2 --ctproto tcp", Yes),
        ],
    );
}

#[test]
fn marks_lengths_and_hops() {
    let mut p = tcp4(flag::SYN, &[]);
    p.meta.mark = 0x15;
    check(
        &p,
        &forward(),
        &[
            ("-m mark --mark 0x15", Yes),
            ("-m mark --mark 0x5/0xf", Yes),
            ("-m mark ! --mark 0x5/0xf", No),
            ("-m mark --mark 0x15/0xf", No),
            ("-m length --length 40", Yes),
            ("-m length --length :39", No),
            ("-m length ! --length 41:", Yes),
            ("-m ttl --ttl-eq 64", Yes),
            ("-m ttl ! --ttl-eq 64", No),
            ("-m ttl --ttl-lt 65", Yes),
            ("-m ttl --ttl-lt 64", No),
            ("-m ttl --ttl-gt 63", Yes),
            ("-m ttl --ttl-gt 64", No),
            ("-m ttl --ttl-gt 255", No),
            ("-m ttl --ttl-lt 0", No),
            ("-m comment --comment hello", Yes),
        ],
    );
    check(
        &tcp6(flag::SYN, &[]),
        &forward(),
        &[
            ("-m length --length 60", Yes),
            ("-m hl --hl-eq 64", Yes),
            ("-m hl --hl-lt 64", No),
            ("-m hl --hl-gt 1", Yes),
        ],
    );
    // Padding behind the packet is not the packet's, a link-layer header is not counted.
    let mut p = tcp4(flag::SYN, &[]);
    p.set_l2_len(14).expect("headroom");
    check(&p, &forward(), &[("-m length --length 40", Yes)]);
}

#[test]
fn service_classes_and_congestion() {
    let p = with(&tcp4(flag::SYN | flag::ECE, &[]), &[(1, 0xb9)]);
    let q = with(&tcp6(flag::SYN | flag::ECE, &[]), &[(0, 0x6b), (1, 0x9f)]);
    for p in [p, q] {
        check(
            &p,
            &forward(),
            &[
                ("-m tos --tos 0xb9", Yes),
                ("-m tos --tos 0xb8/0xfc", Yes),
                ("-m tos ! --tos 0xb8/0xfc", No),
                ("-m tos --tos 0x10", No),
                ("-m dscp --dscp 46", Yes),
                ("-m dscp --dscp-class EF", Yes),
                ("-m dscp ! --dscp 46", No),
                ("-m dscp --dscp 10", No),
                ("-m ecn --ecn-ip-ect 1", Yes),
                ("-m ecn ! --ecn-ip-ect 1", No),
                ("-m ecn --ecn-ip-ect 2", No),
                ("-p tcp -m ecn --ecn-tcp-ece", Yes),
                ("-p tcp -m ecn ! --ecn-tcp-ece", No),
                ("-p tcp -m ecn --ecn-tcp-cwr", No),
                ("-p tcp -m ecn ! --ecn-tcp-cwr --ecn-tcp-ece --ecn-ip-ect 1", Yes),
            ],
        );
    }
    // It does not drop what is cut short.
    check(&cut(&tcp4(flag::ECE, &[]), 39), &forward(), &[("-p tcp -m ecn --ecn-tcp-ece", No)]);
}

#[test]
fn ranges_of_addresses() {
    check(
        &tcp4(2, &[]),
        &forward(),
        &[
            ("-m iprange --src-range 10.0.0.1-10.0.0.9", Yes),
            ("-m iprange --src-range 10.0.0.2-10.0.0.9", No),
            ("-m iprange ! --src-range 10.0.0.2-10.0.0.9 --dst-range 10.0.0.2-10.0.0.2", Yes),
            ("-m iprange ! --dst-range 10.0.0.0-10.255.0.0", No),
        ],
    );
    check(
        &tcp6(2, &[]),
        &forward(),
        &[
            ("-m iprange --src-range fd00::-fd00::1", Yes),
            ("-m iprange --src-range fd00::2-fd00::9", No),
            ("-m iprange ! --src-range fd00::2-fd00::9", Yes),
        ],
    );
}

#[test]
fn macs_and_packet_types() {
    let mut p = tcp4(2, &[]);
    let rules = |with: Says, without: Says| {
        [
            ("-m mac --mac-source 02:00:00:00:00:07", with),
            ("-m mac ! --mac-source 02:00:00:00:00:07", without),
        ]
    };
    check(&p, &forward(), &rules(No, No));
    p.set_l2_len(14).expect("headroom").copy_from_slice(&[2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 7, 8, 0]);
    check(&p, &forward(), &rules(Yes, No));
    p.data_mut()[11] = 8;
    check(&p, &forward(), &rules(No, Yes));
    // The loopback has no MACs.
    p.meta.ingress = LinkId::LO;
    check(&p, &forward(), &rules(No, No));

    let kinds =
        [(L2Kind::Host, "unicast"), (L2Kind::Broadcast, "broadcast"), (L2Kind::Multicast, "multicast")];
    for (kind, word) in kinds {
        p.meta.l2 = kind;
        for (_, name) in kinds {
            let is = name == word;
            let says = |yes| if yes { Yes } else { No };
            assert_eq!(ask(&format!("-m pkttype --pkt-type {name}"), &p, &forward()), says(is));
            assert_eq!(ask(&format!("-m pkttype ! --pkt-type {name}"), &p, &forward()), says(!is));
        }
    }
}

#[test]
fn address_types() {
    let mut world = forward();
    world.local = vec![ip("10.0.0.2"), ip("fd00::2")];
    check(
        &tcp4(2, &[]),
        &world,
        &[
            ("-m addrtype --dst-type LOCAL", Yes),
            ("-m addrtype ! --dst-type LOCAL", No),
            ("-m addrtype --src-type LOCAL", No),
            ("-m addrtype --src-type UNICAST --dst-type LOCAL", Yes),
            ("-m addrtype --dst-type UNICAST", No),
            ("-m addrtype --dst-type LOCAL,MULTICAST,BROADCAST", Yes),
            // It is eth0's address.
            ("-m addrtype --dst-type LOCAL --limit-iface-in", Yes),
            ("-m addrtype --dst-type LOCAL --limit-iface-out", No),
        ],
    );
    let check6 = |src: &str, dst: &str, cases: &[(&str, Says)]| {
        check(&packet(ip(src), ip(dst), proto::NONE, &[]), &world, cases);
    };
    check6(
        "fd00::1",
        "fd00::2",
        &[
            ("-m addrtype --dst-type LOCAL", Yes),
            ("-m addrtype --src-type LOCAL", No),
            // What the address itself says comes first, and all of it must be so.
            ("-m addrtype --dst-type UNICAST", Yes),
            ("-m addrtype --dst-type UNICAST,LOCAL", Yes),
            ("-m addrtype --dst-type MULTICAST,LOCAL", No),
            ("-m addrtype --src-type UNICAST,LOCAL", No),
            ("-m addrtype ! --src-type UNICAST,LOCAL", Yes),
        ],
    );
    check6(
        "::",
        "ff02::1",
        &[
            ("-m addrtype --src-type UNSPEC", Yes),
            ("-m addrtype --src-type UNICAST", No),
            ("-m addrtype --dst-type MULTICAST", Yes),
            ("-m addrtype --dst-type UNICAST", No),
        ],
    );
    check6(
        "::ffff:10.0.0.1",
        "::1",
        &[("-m addrtype --src-type UNICAST", No), ("-m addrtype --dst-type UNICAST", Yes)],
    );
}

#[test]
fn a_limit_and_statistics_count_only_what_comes_to_them() {
    let text = "*filter\n-A FORWARD -p udp -m limit --limit 1/s --limit-burst 2 -j DROP\n\
                -A FORWARD -m statistic --mode nth --every 3 --packet 1 -j DROP\n\
                -A FORWARD -m statistic --mode random --probability 0.5\nCOMMIT\n";
    let rules = iptables::read(text, Family::V4).expect("good rules");
    let program = Program::compile(&rules, &links()).expect("good rules");
    let mut world = forward();
    let run = |p: &Packet, world: &mut World| program.run(TableName::Filter, &mut p.clone(), world);
    let (a, b) = (tcp4(2, &[]), udp(ip("10.0.0.1"), ip("10.0.0.2"), (1, 2)));
    // TCP never comes to the limit, and two packets of UDP never to the count.
    let verdicts: Vec<Verdict> = (0..9).map(|_| run(&a, &mut world)).collect();
    let dropped = |v: &[Verdict]| v.iter().map(|v| *v == Verdict::Drop).collect::<Vec<_>>();
    assert_eq!(dropped(&verdicts), [false, true, false, false, true, false, false, true, false]);
    let verdicts: Vec<Verdict> = (0..5).map(|_| run(&b, &mut world)).collect();
    assert_eq!(dropped(&verdicts), [true, true, false, true, false]);
    world.now += std::time::Duration::from_secs(1);
    assert_eq!((run(&b, &mut world), run(&b, &mut world)), (Verdict::Drop, Verdict::Accept));
    for _ in 0..4_000 {
        run(&a, &mut world);
    }
    let counted = program.ruleset().tables[0].chains[1].rules[2].counters.packets;
    assert!((1_200..1_460).contains(&counted), "half of two thirds of 4,000, not {counted}");
}

#[test]
fn super_frames_count_once_and_whole() {
    let src: IpAddr = ip("10.0.0.1");
    let mut l4 = vec![0; 20 + 30_000];
    l4[12] = 0x50;
    let mut p = packet(src, ip("10.0.0.2"), proto::TCP, &l4);
    p.meta.offload.csum = Csum::Partial { start: 20, field: 16 };
    assert_eq!(ask("-m length --length 30040", &p, &forward()), Yes);
}

#[test]
fn tables_that_say_the_same_are_shared_and_count_in_their_own_place() {
    let read = |text: &str| iptables::read(text, Family::V4).expect("good rules");
    let changed = |text: &str, before: &Program| {
        let rules = read(text);
        let from = carry::pairs(&rules, &before.rules).into_iter();
        let from: Vec<_> = from.map(|from| from.map(|counter| Legacy { counter, zeroed: false })).collect();
        Program::after(&rules, &links(), Some((before, &from))).expect("good rules")
    };
    let filter = "*filter\n-A FORWARD -i eth0 -p udp -m limit --limit 1/s --limit-burst 2 -j DROP\n\
                  -A FORWARD -m statistic --mode nth --every 2 --packet 0 -j DROP\nCOMMIT\n";
    let mangle = |more: &str| format!("*mangle\n{more}-A FORWARD -j MARK --set-mark 7\nCOMMIT\n");
    let p = udp(ip("10.0.0.1"), ip("10.0.0.2"), (1, 2));
    let mut world = forward();
    let mut ask = |program: &Program, table| program.run(table, &mut p.clone(), &mut world);

    let before = Program::compile(&read(&(mangle("") + filter)), &links()).expect("good rules");
    assert_eq!(ask(&before, TableName::Filter), Verdict::Drop);
    // More rules stand before it, which moves its counters.
    let more = "-A FORWARD -o eth1 -j MARK --set-mark 5\n-A FORWARD -p tcp\n";
    let after = changed(&(mangle(more) + filter), &before);
    assert!(after.code.shares(&before.code, TableName::Filter));
    assert!(!after.code.shares(&before.code, TableName::Mangle));
    after.carry(&before);
    // What the limit remembers is there once for both; what each counted is its own.
    assert_eq!(ask(&after, TableName::Filter), Verdict::Drop);
    assert_eq!(ask(&after, TableName::Mangle), Verdict::Accept);
    assert_eq!(ask(&before, TableName::Filter), Verdict::Drop, "by the count");
    let counted = |program: &Program| -> Vec<Vec<u64>> {
        let tables = program.ruleset().tables;
        let rules = tables.iter().map(|t| t.chains.iter().flat_map(|c| &c.rules));
        rules.map(|rules| rules.map(|r| r.counters.packets).collect()).collect()
    };
    assert_eq!(counted(&before), [vec![0], vec![1, 1]]);
    assert_eq!(counted(&after), [vec![1, 0, 1], vec![2, 0]]);
    after.settle(&before);
    assert_eq!(counted(&after), [vec![1, 0, 1], vec![2, 1]]);

    // One that says something else, or has other chains, is made anew; so is another family's.
    for other in [
        filter.replace("udp", "tcp"),
        filter.replace("*filter\n", "*filter\n:FORWARD DROP\n"),
        filter.replace("*filter\n", "*filter\n:more -\n"),
    ] {
        let other = changed(&(mangle(more) + &other), &after);
        assert!(!other.code.shares(&after.code, TableName::Filter));
        assert!(other.code.shares(&after.code, TableName::Mangle));
    }
    // What is asked beside the program leaves what it remembers alone.
    let shadow = after.shadow();
    assert!(!shadow.code.shares(&after.code, TableName::Filter));
    assert_eq!(ask(&shadow, TableName::Filter), Verdict::Accept, "by the count");
    assert_eq!(ask(&shadow, TableName::Filter), Verdict::Drop, "by the count");
    assert_eq!(ask(&after, TableName::Filter), Verdict::Accept, "by the count");
}

#[test]
fn what_is_shared_takes_nothing_beside_the_other() {
    let text = |last: &str| {
        let lines = (0..1_000).map(|n| {
            format!("-A FORWARD -s 10.0.{}.{} -p tcp --dport {} -j ACCEPT\n", n / 250, n % 250, n + 1)
        });
        format!(
            "*filter\n:small -\n{}{last}COMMIT\n*nat\n-A POSTROUTING -j MASQUERADE\nCOMMIT\n",
            lines.collect::<String>()
        )
    };
    let rules = iptables::read(&text(""), Family::V4).expect("good rules");
    let program = |line: &str, before: &Program| {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        let edited = iptables::edit(&words, &before.rules).expect("a good rule");
        Program::after(&edited.rules, &links(), Some((before, &edited.from))).expect("good rules")
    };
    let before = Program::compile(&rules, &links()).expect("good rules");
    let alone = before.apart_from(None);
    assert_eq!(before.apart_from(Some(&before)), 0);
    // Of the chain's thousand rules the list and the code, not the words.
    let more = program("-A FORWARD -j DROP", &before);
    let apart = before.apart_from(Some(&more));
    assert!((alone / 4..alone * 2 / 3).contains(&apart), "{apart} of {alone}");
    // Of another chain's, the code; of another table's, nothing but counters.
    let small = program("-A small -j DROP", &before);
    assert!(before.apart_from(Some(&small)) < apart - 900 * 32);
    let nat = program("-t nat -A POSTROUTING -j ACCEPT", &before);
    assert!(before.apart_from(Some(&nat)) < alone / 10, "{}", before.apart_from(Some(&nat)));
}
