//! Rulesets by chance, as text, of few values so that packets meet them.

use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::Union;

use crate::family::Family;
use crate::side::TABLES;

/// Rules of one family.
pub(super) fn ruleset(family: Family) -> BoxedStrategy<String> {
    let tables = TABLES.map(|(name, hooks)| {
        let table = prop::option::weighted(
            match name {
                "filter" => 0.8,
                "nat" => 0.75,
                _ => 0.4,
            },
            table(name, hooks, family),
        );
        table.prop_map(Option::unwrap_or_default)
    });
    tables.prop_map(|t| t.concat()).boxed()
}

/// A table: each built-in chain with a policy and rules, and two chains of the user's that it can jump to.
fn table(name: &'static str, hooks: &'static [&'static str], family: Family) -> BoxedStrategy<String> {
    let chains: Vec<_> = hooks.iter().map(|hook| chain(name, hook, family)).collect();
    chains
        .prop_map(move |chains| {
            let mut text = format!("*{name}\n");
            chains.iter().for_each(|c| text.push_str(&c.declared));
            chains.iter().for_each(|c| c.rules.iter().for_each(|r| text.push_str(r)));
            text + "COMMIT\n"
        })
        .boxed()
}

#[derive(Debug, Clone)]
struct Chain {
    declared: String,
    rules: Vec<String>,
}

fn chain(table: &'static str, hook: &'static str, family: Family) -> BoxedStrategy<Chain> {
    let policy = match table {
        // Nothing but this one table is usual for it.
        "filter" => prop_oneof![9 => Just("ACCEPT"), 1 => Just("DROP")].boxed(),
        "nat" => Just("ACCEPT").boxed(),
        _ => prop_oneof![60 => Just("ACCEPT"), 1 => Just("DROP")].boxed(),
    };
    let (one, two) = (format!("{hook}-1"), format!("{hook}-2"));
    let names = [hook.to_owned(), one.clone(), two.clone()];
    let few = |at: usize, most: usize| {
        let rule = rule(table, hook, at, family);
        let name = names[at].clone();
        prop::collection::vec(rule, 0..=most)
            .prop_map(move |rules| rules.iter().map(|r| format!("-A {name} {r}\n")).collect::<Vec<_>>())
    };
    (policy, few(0, 5), prop::option::weighted(0.4, (few(1, 3), few(2, 2))))
        .prop_map(move |(policy, mut rules, users)| {
            let mut declared = format!(":{hook} {policy}\n");
            declared += &format!(":{one} -\n:{two} -\n");
            if let Some((a, b)) = users {
                rules.extend(a);
                rules.extend(b);
            }
            Chain { declared, rules }
        })
        .boxed()
}

/// A rule of the chain at this hook: `depth` 0 is the built-in one, 1 and 2 those below it.
fn rule(table: &'static str, hook: &'static str, depth: usize, family: Family) -> BoxedStrategy<String> {
    let matches = (
        prop::option::weighted(0.45, protocol(family)),
        prop::option::weighted(0.25, ends(family)),
        prop::option::weighted(0.25, links(hook, depth)),
        prop::collection::vec(module(hook, family), 0..=2),
    );
    (matches, target(table, hook, depth, family))
        .prop_map(|((protocol, ends, links, modules), target)| {
            let mut words = vec![];
            // What the target asks for comes first.
            let (needs, target) = target.split_once('|').unwrap_or(("", &target));
            let protocol = protocol.unwrap_or_default();
            if needs.is_empty() {
                words.push(protocol);
            } else {
                words.push(needs.to_owned());
            }
            words.extend(ends.into_iter().chain(links));
            let mut seen = vec![];
            for m in modules {
                let name = m.split_whitespace().nth(1).unwrap_or_default().to_owned();
                let fits =
                    name != "multiport" || words[0].starts_with("-p tcp") || words[0].starts_with("-p udp");
                if fits && !seen.contains(&name) {
                    seen.push(name);
                    words.push(m);
                }
            }
            words.push(target.to_owned());
            words.retain(|w| !w.is_empty());
            words.join(" ")
        })
        .boxed()
}

fn one_of(all: &[&str]) -> BoxedStrategy<String> {
    select(all.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>()).boxed()
}

/// Puts the family's addresses in: `$l10` is station 10 of the lan.
fn addressed(family: Family, all: &[&str]) -> BoxedStrategy<String> {
    select(all.iter().map(|s| family.rules(s)).collect::<Vec<_>>()).boxed()
}

fn protocol(family: Family) -> BoxedStrategy<String> {
    let icmp = match family {
        Family::V4 => one_of(&[
            "-p icmp",
            "-p icmp -m icmp --icmp-type 8",
            "-p icmp -m icmp ! --icmp-type 8",
            "-p icmp -m icmp --icmp-type echo-reply",
            "-p icmp -m icmp --icmp-type 3",
            "-p icmp -m icmp --icmp-type 3/4",
            "-p icmp -m icmp --icmp-type 11/0",
            "-p icmp -m icmp --icmp-type any",
        ]),
        Family::V6 => one_of(&[
            "-p ipv6-icmp",
            "-p ipv6-icmp -m icmp6 --icmpv6-type 128",
            "-p ipv6-icmp -m icmp6 ! --icmpv6-type 128",
            "-p ipv6-icmp -m icmp6 --icmpv6-type echo-reply",
            "-p ipv6-icmp -m icmp6 --icmpv6-type 1",
            "-p ipv6-icmp -m icmp6 --icmpv6-type 1/4",
            "-p ipv6-icmp -m icmp6 --icmpv6-type 3/0",
        ]),
    };
    Union::new_weighted(vec![
        (
            4,
            one_of(&[
                "-p tcp",
                "-p tcp -m tcp --dport 80",
                "-p tcp -m tcp ! --dport 80",
                "-p tcp -m tcp --dport 80:443",
                "-p tcp -m tcp --sport 4000",
                "-p tcp -m tcp ! --sport 1024:65535",
                "-p tcp -m tcp --syn",
                "-p tcp -m tcp ! --syn",
                "-p tcp -m tcp --tcp-flags SYN,ACK SYN,ACK",
                "-p tcp -m tcp --tcp-flags RST RST",
                "-p tcp -m tcp ! --tcp-flags FIN,RST NONE",
                "-p tcp -m tcp --tcp-option 3",
                "-p tcp -m tcp ! --tcp-option 2",
            ]),
        ),
        (
            4,
            one_of(&[
                "-p udp",
                "-p udp -m udp --dport 5000",
                "-p udp -m udp ! --dport 5000",
                "-p udp -m udp --sport 4000:4001",
                "-p udp -m udp --dport 53 --sport 4000",
                "-p udp -m udp --dport :99",
            ]),
        ),
        (3, icmp),
        (1, one_of(&["-p sctp", "-p gre", "-p 253", "-p udplite", "! -p tcp", "! -p udp", "-p all"])),
    ])
    .boxed()
}

fn ends(family: Family) -> BoxedStrategy<String> {
    let mut all = vec![
        "-s $l10",
        "! -s $l10",
        "-s $l0/24",
        "-d $w10",
        "! -d $w10",
        "-d $w0/24",
        "-d $w1",
        "-d $l1",
        "-d $w50",
        "-s $w0/24",
        "-s $l10 -d $w10",
        "-s $d10",
        "! -d $d0/24",
        "-s $l10/31",
    ];
    if family == Family::V4 {
        all.extend(["-s 10.0.0.10/255.0.0.255", "-d 0.0.0.11/0.0.0.255", "-f", "! -f"]);
    } else {
        all.extend(["-s fd00::a/ff00::ffff", "-d ::b/::ffff"]);
    }
    addressed(family, &all)
}

fn links(hook: &str, depth: usize) -> BoxedStrategy<String> {
    let (inward, outward) = (
        ["-i lan", "! -i lan", "-i wan", "-i l+", "-i dmz"],
        ["-o wan", "! -o wan", "-o lan", "-o w+", "-o d+"],
    );
    match hook {
        // Below, the tool does not know where it will be asked.
        "PREROUTING" | "INPUT" if depth == 0 => one_of(&inward),
        "OUTPUT" | "POSTROUTING" if depth == 0 => one_of(&outward),
        _ => one_of(&[inward, outward].concat()),
    }
}

fn module(hook: &str, family: Family) -> BoxedStrategy<String> {
    let flows = addressed(
        family,
        &[
            "-m conntrack --ctstate NEW",
            "-m conntrack --ctstate ESTABLISHED",
            "-m conntrack --ctstate RELATED,ESTABLISHED",
            "-m conntrack ! --ctstate RELATED,ESTABLISHED",
            "-m conntrack --ctstate RELATED",
            "-m conntrack --ctstate INVALID",
            "-m conntrack ! --ctstate INVALID",
            "-m conntrack --ctstate UNTRACKED",
            "-m conntrack --ctstate SNAT",
            "-m conntrack --ctstate DNAT",
            "-m conntrack ! --ctstate SNAT,DNAT",
            "-m conntrack --ctdir ORIGINAL",
            "-m conntrack --ctdir REPLY",
            "-m conntrack --ctproto 17",
            "-m conntrack ! --ctproto 6",
            "-m conntrack --ctorigsrc $l10",
            "-m conntrack ! --ctorigdst $w10",
            "-m conntrack --ctreplsrc $w0/24",
            "-m conntrack --ctrepldst $l10",
            "-m conntrack --ctorigsrcport 4000",
            "-m conntrack --ctorigdstport 80:443",
            "-m conntrack ! --ctreplsrcport 80",
            "-m conntrack --ctrepldstport 4000",
            "-m conntrack --ctstatus NONE",
            "-m conntrack --ctstatus SEEN_REPLY",
            "-m conntrack ! --ctstatus ASSURED",
            "-m conntrack --ctstatus CONFIRMED",
            "-m conntrack --ctstatus ASSURED,CONFIRMED",
            "-m conntrack --ctexpire 0:1000",
            "-m conntrack --ctexpire 1001:999999",
            "-m conntrack ! --ctexpire 0",
            "-m conntrack --ctstate NEW --ctdir ORIGINAL",
            "-m state --state NEW",
            "-m state --state RELATED,ESTABLISHED",
            "-m state ! --state INVALID",
        ],
    );
    let ttl = match family {
        Family::V4 => {
            one_of(&["-m ttl --ttl-eq 64", "-m ttl ! --ttl-eq 64", "-m ttl --ttl-gt 63", "-m ttl --ttl-lt 2"])
        }
        Family::V6 => {
            one_of(&["-m hl --hl-eq 64", "-m hl ! --hl-eq 64", "-m hl --hl-gt 63", "-m hl --hl-lt 2"])
        }
    };
    let mut packet = vec![
        "-m mark --mark 0x1",
        "-m mark ! --mark 0x1",
        "-m mark --mark 0x0/0x2",
        "-m mark ! --mark 0x4/0x6",
        "-m connmark --mark 0x1",
        "-m connmark ! --mark 0x0",
        "-m connmark --mark 0x2/0x2",
        "-m multiport --dports 80,443",
        "-m multiport ! --dports 80,5000:5001",
        "-m multiport --sports 4000,500",
        "-m multiport --ports 53,5001",
        "-m iprange --src-range $l10-$l11",
        "-m iprange ! --dst-range $w10-$w20",
        "-m iprange --src-range $l1-$l20 ! --dst-range $d1-$d9",
        "-m limit --limit 1/hour --limit-burst 2",
        "-m limit --limit 2/hour",
        "-m length --length 0:60",
        "-m length ! --length 28:32",
        "-m length --length 1000:65535",
        "-m tos --tos 0x10",
        "-m tos ! --tos 0x00/0x1c",
        "-m dscp --dscp 0x04",
        "-m dscp ! --dscp 0x00",
        "-m ecn --ecn-ip-ect 1",
        "-m ecn ! --ecn-ip-ect 0",
        "-m pkttype --pkt-type unicast",
        "-m pkttype ! --pkt-type unicast",
        "-m pkttype --pkt-type broadcast",
        "-m addrtype --dst-type LOCAL",
        "-m addrtype ! --dst-type LOCAL",
        "-m addrtype --src-type UNICAST",
        "-m addrtype --src-type LOCAL",
        "-m addrtype --dst-type UNICAST ! --src-type LOCAL",
        "-m statistic --mode nth --every 2 --packet 0",
        "-m statistic --mode nth --every 3 --packet 1",
        "-m statistic --mode nth ! --every 3 --packet 2",
        "-m comment --comment \"a word\"",
    ];
    if family == Family::V4 {
        packet.extend(["-m addrtype --dst-type MULTICAST,BROADCAST", "-m addrtype ! --dst-type BROADCAST"]);
    }
    if matches!(hook, "PREROUTING" | "INPUT" | "FORWARD") {
        packet.extend(["-m mac --mac-source 02:04:00:01:00:0a", "-m mac ! --mac-source 02:04:00:01:00:0a"]);
    }
    if matches!(hook, "PREROUTING" | "INPUT") {
        packet.push("-m addrtype --dst-type LOCAL --limit-iface-in");
    }
    Union::new_weighted(vec![(5, flows), (4, addressed(family, &packet)), (1, ttl)]).boxed()
}

fn target(table: &'static str, hook: &'static str, depth: usize, family: Family) -> BoxedStrategy<String> {
    let v4 = family == Family::V4;
    let mut all = vec![(2, one_of(&["", "-j RETURN"])), (2, one_of(&["-j ACCEPT"]))];
    if depth < 2 {
        // Chains only jump to deeper ones: no loops.
        let below = (depth + 1..=2).flat_map(|d| [format!("-j {hook}-{d}"), format!("-g {hook}-{d}")]);
        all.push((3, select(below.collect::<Vec<_>>()).boxed()));
    }
    let own = match table {
        "raw" => one_of(&[
            "-j NOTRACK",
            "-j CT --notrack",
            "-j DROP",
            "-j MARK --set-xmark 0x1/0xffffffff",
            "-j LOG --log-prefix \"x \"",
        ]),
        "mangle" => {
            let mut own = vec![
                "-j MARK --set-xmark 0x1/0xffffffff",
                "-j MARK --set-xmark 0x2/0x2",
                "-j MARK --set-xmark 0x5/0x0",
                "-j CONNMARK --set-xmark 0x1/0xffffffff",
                "-j CONNMARK --set-xmark 0x2/0x3",
                "-j CONNMARK --save-mark --nfmask 0xffffffff --ctmask 0xffffffff",
                "-j CONNMARK --restore-mark --nfmask 0xffffffff --ctmask 0xffffffff",
                "-j CONNMARK --restore-mark --nfmask 0x1 --ctmask 0x3",
                "-j TOS --set-tos 0x10/0x3f",
                "-j TOS --set-tos 0x04/0xff",
                "-j DSCP --set-dscp 0x04",
                "-j DROP",
                "-p tcp -m tcp --tcp-flags SYN,RST SYN|-j TCPMSS --set-mss 1000",
            ];
            if matches!(hook, "FORWARD" | "OUTPUT" | "POSTROUTING") {
                own.push("-p tcp -m tcp --tcp-flags SYN,RST SYN|-j TCPMSS --clamp-mss-to-pmtu");
            }
            match v4 {
                true => own.extend([
                    "-j TTL --ttl-set 1",
                    "-j TTL --ttl-set 9",
                    "-j TTL --ttl-inc 2",
                    "-j TTL --ttl-dec 1",
                ]),
                false => own.extend([
                    "-j HL --hl-set 1",
                    "-j HL --hl-set 9",
                    "-j HL --hl-inc 2",
                    "-j HL --hl-dec 1",
                ]),
            }
            // docs/limits.md: what Linux makes of these in IPv6, and the TOS of resets.
            own.retain(|t| {
                let early = matches!(hook, "PREROUTING" | "INPUT");
                let tos = t.starts_with("-j TOS") || t.starts_with("-j DSCP");
                !(early && tos || !v4 && (t.contains("TCPMSS") || early && t.starts_with("-j HL")))
            });
            one_of(&own)
        }
        "nat" => match hook {
            "PREROUTING" => addressed(
                family,
                &[
                    "-j DNAT --to-destination $w11",
                    "-j DNAT --to-destination $d10",
                    "-j DNAT --to-destination $l11",
                    "-j DNAT --to-destination $w1",
                    "-p tcp|-j DNAT --to-destination $[w11]:8080",
                    "-p udp|-j DNAT --to-destination $[l11]:5000",
                    "-p tcp|-j DNAT --to-destination :443",
                    "-p udp|-j DNAT --to-destination $[w11]:30000-30999",
                    "-p udp|-j DNAT --to-destination $[d11]:6000-6010/5000",
                    "-j REDIRECT",
                    "-p udp|-j REDIRECT --to-ports 7",
                    "-p tcp|-j REDIRECT --to-ports 9999",
                    "-j NETMAP --to $w0/24",
                    "-j NETMAP --to $d0/24",
                ],
            ),
            "OUTPUT" => addressed(
                family,
                &[
                    "-j DNAT --to-destination $w11",
                    "-j DNAT --to-destination $l11",
                    "-p udp|-j DNAT --to-destination $[l11]:4001",
                    "-j NETMAP --to $d0/24",
                    "-j REDIRECT",
                ],
            ),
            "INPUT" => addressed(
                family,
                &[
                    "-j SNAT --to-source $l20",
                    "-j SNAT --to-source $w20",
                    "-p udp|-j SNAT --to-source $[l20]:7000",
                    "-j NETMAP --to $l0/24",
                ],
            ),
            _ => addressed(
                family,
                &[
                    "-j MASQUERADE",
                    "-j MASQUERADE",
                    "-p udp|-j MASQUERADE --to-ports 20000-20999",
                    "-p tcp|-j MASQUERADE --to-ports 7001",
                    // Ports drawn at random would meet one router's port ranges and not the other's.
                    "-j MASQUERADE",
                    "-j SNAT --to-source $w50",
                    "-j SNAT --to-source $w50",
                    "-p udp|-j SNAT --to-source $[w50]:7000",
                    "-p tcp|-j SNAT --to-source $[w50]:20000-20999",
                    "-p tcp|-j SNAT --to-source $w50",
                    "-p udp|-j SNAT --to-source $w50 --persistent",
                    "-j SNAT --to-source $l50",
                    "-j NETMAP --to $w0/24",
                ],
            ),
        },
        _ => match v4 {
            true => one_of(&[
                "-j DROP",
                "-j DROP",
                "-j REJECT",
                "-j REJECT --reject-with icmp-host-prohibited",
                "-j REJECT --reject-with icmp-net-unreachable",
                "-j REJECT --reject-with icmp-admin-prohibited",
                "-p tcp|-j REJECT --reject-with tcp-reset",
                "-j LOG --log-prefix \"y \" --log-level 6",
                "-j MARK --set-xmark 0x2/0xffffffff",
                "-j CONNMARK --set-xmark 0x2/0xffffffff",
            ]),
            false => one_of(&[
                "-j DROP",
                "-j DROP",
                "-j REJECT",
                "-j REJECT --reject-with icmp6-no-route",
                "-j REJECT --reject-with icmp6-adm-prohibited",
                "-j REJECT --reject-with icmp6-addr-unreachable",
                "-p tcp|-j REJECT --reject-with tcp-reset",
                "-j LOG --log-prefix \"y \" --log-level 6",
                "-j MARK --set-xmark 0x2/0xffffffff",
                "-j CONNMARK --set-xmark 0x2/0xffffffff",
            ]),
        },
    };
    all.push((6, own));
    Union::new_weighted(all).boxed()
}
