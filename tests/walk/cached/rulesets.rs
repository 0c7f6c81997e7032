//! Random rules: every match and target whose outcome may be remembered, and those whose may not.

use proptest::prelude::*;
use proptest::sample::select;

/// Matches, for both families or one of them.
fn matches(v6: bool) -> BoxedStrategy<&'static str> {
    let mut all = vec![
        "",
        "",
        "",
        "-i lan",
        "-p udp",
        "-p tcp",
        "-m tos --tos 0x10/0x3f",
        "-m tos ! --tos 0x00/0x3f",
        "-m dscp --dscp 0x2e",
        "-m ecn --ecn-ip-ect 3",
        "-p tcp -m tcp --tcp-flags FIN,SYN,RST,ACK SYN",
        "-p tcp -m tcp --tcp-flags FIN,SYN,RST,PSH,ACK,URG NONE",
        "-p tcp -m tcp ! --tcp-flags PSH,ACK PSH,ACK",
        "-p tcp -m tcp --dport 80 --tcp-flags URG URG",
        "-p tcp -m tcp --tcp-option 8",
        "-m length --length 40:80",
        "-m length ! --length 0:50",
        "-m length --length 1000:65535",
        "-m conntrack --ctstate NEW",
        "-m conntrack --ctstate ESTABLISHED",
        "-m state --state ESTABLISHED,RELATED",
        "-m conntrack --ctstate SNAT",
        "-m conntrack --ctstatus ASSURED",
        "-m conntrack ! --ctstatus ASSURED",
        "-m conntrack --ctstatus SEEN_REPLY",
        "-m conntrack --ctdir REPLY",
        "-m conntrack --ctexpire 20:100",
        "-m connmark --mark 0x1",
        "-m mark --mark 0x2",
        "-m mark ! --mark 0x0/0x1",
        "-m limit --limit 5/sec --limit-burst 4",
        "-m statistic --mode nth --every 3 --packet 0",
        "-m statistic --mode random --probability 0.5",
        "-m mac --mac-source 02:00:00:00:01:02",
        "-m pkttype --pkt-type unicast",
        "-m addrtype --dst-type UNICAST",
        "-p udp -m multiport --dports 53,80",
    ];
    all.extend(match v6 {
        true => ["-m hl --hl-gt 30", "-m hl --hl-eq 63", "-p ipv6-icmp -m icmp6 --icmpv6-type 128"],
        false => ["-m ttl --ttl-gt 30", "-m ttl --ttl-eq 63", "-p icmp -m icmp --icmp-type 8"],
    });
    select(all).boxed()
}

fn chain(table: &'static str, hook: &'static str, v6: bool) -> BoxedStrategy<String> {
    let mut targets = vec!["", "", "-j ACCEPT", "-j RETURN"];
    match table {
        "mangle" => {
            targets.extend([
                "-j MARK --set-xmark 0x2/0xffffffff",
                "-j MARK --set-xmark 0x1/0x1",
                "-j CONNMARK --set-xmark 0x1/0xffffffff",
                "-j CONNMARK --save-mark --nfmask 0xffffffff --ctmask 0xffffffff",
                "-j CONNMARK --restore-mark --nfmask 0xffffffff --ctmask 0xffffffff",
                "-j TOS --set-tos 0x10/0xff",
                "-j TOS --set-tos 0x04/0x04",
                "-j DSCP --set-dscp 0x0a",
                "-j LOG --log-level 4",
            ]);
            targets.extend(match v6 {
                true => ["-j HL --hl-set 64", "-j HL --hl-inc 1"],
                false => ["-j TTL --ttl-set 64", "-j TTL --ttl-inc 1"],
            });
        }
        "raw" => targets.extend(["-j CT --notrack"]),
        _ => targets.extend(["-j DROP", "-j user", "-g user", "-j LOG --log-level 4"]),
    }
    // The MAC is known where a packet has come in.
    let fits = move |m: &&str| hook != "POSTROUTING" || !m.contains("mac-source") && !m.contains("-i ");
    let rule = (matches(v6).prop_filter("a mac", fits), select(targets))
        .prop_map(move |(m, t)| format!("-A {hook} {m} {t}\n"));
    prop::collection::vec(rule, 0..4).prop_map(|rules| rules.concat()).boxed()
}

fn ruleset(v6: bool) -> BoxedStrategy<String> {
    let nat = match v6 {
        false => vec![
            "-A POSTROUTING -o wan -j MASQUERADE\n",
            "-A POSTROUTING -o wan -j SNAT --to-source 10.2.0.50-10.2.0.60\n",
            "-A PREROUTING -d 10.2.0.77/32 -p tcp -m tcp --dport 8080 -j DNAT --to-destination 10.2.0.2:80\n\
             -A POSTROUTING -o wan -j MASQUERADE --random\n",
            "",
        ],
        true => vec![
            "-A POSTROUTING -o wan -j MASQUERADE\n",
            "-A POSTROUTING -o wan -j SNAT --to-source fd02::50\n",
            "",
        ],
    };
    let mangle = (chain("mangle", "PREROUTING", v6), chain("mangle", "FORWARD", v6), chain("mangle", "POSTROUTING", v6))
        .prop_map(|(a, b, c)| {
            format!("*mangle\n:PREROUTING ACCEPT\n:INPUT ACCEPT\n:FORWARD ACCEPT\n:OUTPUT ACCEPT\n:POSTROUTING ACCEPT\n{a}{b}{c}COMMIT\n")
        });
    let filter = (chain("filter", "FORWARD", v6), chain("mangle", "FORWARD", v6), any::<bool>()).prop_map(
        |(rules, user, stateful)| {
            let user: String = user
                .lines()
                .filter(|l| !l.contains("-j ") || l.ends_with("ACCEPT") || l.ends_with("RETURN"))
                .map(|l| format!("{}\n", l.replace("-A FORWARD", "-A user")))
                .collect();
            let (policy, first) = match stateful {
                true => ("DROP", "-A FORWARD -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT\n"),
                false => ("ACCEPT", ""),
            };
            let last = if stateful { "-A FORWARD -i lan -m conntrack --ctstate NEW -j ACCEPT\n" } else { "" };
            format!("*filter\n:INPUT ACCEPT\n:FORWARD {policy}\n:OUTPUT ACCEPT\n:user -\n{rules}{first}{last}{user}COMMIT\n")
        },
    );
    let nat = select(nat).prop_map(|rules| {
        format!(
            "*nat\n:PREROUTING ACCEPT\n:INPUT ACCEPT\n:OUTPUT ACCEPT\n:POSTROUTING ACCEPT\n{rules}COMMIT\n"
        )
    });
    let raw = chain("raw", "PREROUTING", v6)
        .prop_map(|rules| format!("*raw\n:PREROUTING ACCEPT\n:OUTPUT ACCEPT\n{rules}COMMIT\n"));
    let maybe = |s: BoxedStrategy<String>, often: f64| {
        prop::option::weighted(often, s).prop_map(Option::unwrap_or_default)
    };
    (maybe(raw.boxed(), 0.2), maybe(mangle.boxed(), 0.5), maybe(nat.boxed(), 0.7), maybe(filter.boxed(), 0.8))
        .prop_map(|(raw, mangle, nat, filter)| format!("{raw}{mangle}{nat}{filter}"))
        .boxed()
}

/// One or two sets, to change between.
pub(crate) fn some() -> impl Strategy<Value = Vec<[String; 2]>> {
    prop::collection::vec((ruleset(false), ruleset(true)).prop_map(|(a, b)| [a, b]), 1..3)
}
