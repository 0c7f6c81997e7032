//! REJECT: every kind, wherever it may stand, and what it must not answer.

use super::List;

pub(super) fn cases(l: &mut List) {
    let packets = "
        > lan udp l10:4000 w10:5000 tos=0x10
        > lan udp l10:4000 w10:5000 len=1400
        > lan tcp l10:4000 w10:80 S
        > lan tcp l10:4000 w10:80 A ack=77 len=5
        > lan echo l10 w10
        > lan udp l10:4000 l1:5000
        > lan tcp l10:4000 l1:80 S
        > lan proto l10 w10 p=99
        > lan proto l10 w10 p=99 len=1
        > lan proto l10 w10 p=99 len=0
        > lan udp l10:4000 w10:5000 sum=bad
        > lan udp l10:4000 w10:5000 sum=0
        > lan udp l10:4000 w10:5000 to=all
        > wan udp w10:4000 d10:5000";
    for kind in [
        "net-unreachable",
        "host-unreachable",
        "proto-unreachable",
        "port-unreachable",
        "net-prohibited",
        "host-prohibited",
        "admin-prohibited",
    ] {
        for chains in ["FORWARD,INPUT", "OUTPUT"] {
            let rules: String =
                chains.split(',').map(|c| format!("-A {c} -j REJECT --reject-with icmp-{kind}\n")).collect();
            l.v4(&format!("reject with {kind} in {chains}"), &format!("*filter\n{rules}COMMIT\n{packets}"));
        }
    }
    for kind in
        ["no-route", "adm-prohibited", "addr-unreachable", "port-unreachable", "policy-fail", "reject-route"]
    {
        for chains in ["FORWARD,INPUT", "OUTPUT"] {
            let rules: String =
                chains.split(',').map(|c| format!("-A {c} -j REJECT --reject-with icmp6-{kind}\n")).collect();
            l.v6(&format!("reject with {kind} in {chains}"), &format!("*filter\n{rules}COMMIT\n{packets}"));
        }
    }
    l.both(
        "reject with tcp-reset",
        "*filter
        -A FORWARD -p tcp -j REJECT --reject-with tcp-reset
        -A INPUT -p tcp -j REJECT --reject-with tcp-reset
        COMMIT
        > lan tcp l10:4000 w10:80 S => lan tcp RA
        > lan tcp l10:4000 w10:80 S len=7 tos=0x10 => lan tcp RA
        > lan tcp l10:4000 w10:80 A ack=77 => lan tcp R
        > lan tcp l10:4000 w10:80 PA ack=77 len=100 => lan tcp R
        > lan tcp l10:4000 w10:80 SA ack=77 => lan tcp R
        > lan tcp l10:4000 w10:80 FA ack=77 => lan tcp R
        > lan tcp l10:4000 w10:80 F => lan tcp RA
        > lan tcp l10:4000 w10:80 R =>
        > lan tcp l10:4000 w10:80 RA ack=9 =>
        > lan tcp l10:4000 w10:80 => lan tcp RA
        > lan tcp l10:4000 w10:80 S sum=bad =>
        > lan tcp l10:4000 w10:80 S doff=15 => lan tcp RA
        > lan tcp l10:4000 l1:80 S => lan tcp RA
        > lan tcp l10:4000 l1:80 A ack=4 => lan tcp R
        > lan tcp l10:4000 w10:80 S ttl=2 => lan tcp RA
        > lan tcp l10:4000 w10:80 S to=all =>
        > lan udp l10:4000 w10:80 => wan udp",
    );
    l.both(
        "reject with tcp-reset in output",
        "*filter
        -A OUTPUT -p tcp -j REJECT --reject-with tcp-reset
        COMMIT
        > lan tcp l10:4000 l1:80 S =>
        > lan tcp l10:4000 l1:80 A ack=4 =>",
    );
    l.both(
        "reject of the reset that has ended its flow",
        "*filter
        -A OUTPUT -j REJECT
        -A OUTPUT -m conntrack --ctstate NEW
        COMMIT
        > lan tcp l10:4000 l1:80 S =>
        > lan echo l10 l1 =>",
    );
    l.both(
        "reject of resets, heard by the router itself",
        "*filter
        -A OUTPUT -m addrtype ! --dst-type LOCAL -j REJECT
        -A OUTPUT -m conntrack --ctstate RELATED
        -A INPUT -i lo -m conntrack --ctstate RELATED
        COMMIT
        > lan tcp l10:4000 l1:80 S =>
        > lan tcp l10:4000 l1:80 A =>",
    );
    l.both(
        "reject is related, and the reset too",
        "*filter
        -A FORWARD -m conntrack --ctstate NEW -p udp -j REJECT
        -A FORWARD -m conntrack --ctstate NEW -p tcp -j REJECT --reject-with tcp-reset
        -A OUTPUT -m conntrack --ctstate NEW
        -A OUTPUT -m conntrack --ctstate RELATED
        -A OUTPUT -m conntrack --ctstate ESTABLISHED
        -A OUTPUT -m conntrack --ctstate INVALID
        -A OUTPUT -m conntrack --ctstate UNTRACKED
        -A OUTPUT -m conntrack --ctdir REPLY
        -A OUTPUT -m conntrack --ctdir ORIGINAL
        -A OUTPUT
        COMMIT
        > lan udp l10:4000 w10:5000 => lan error port
        > lan tcp l10:4000 w10:80 S => lan tcp RA",
    );
    l.both(
        "reject of an established flow",
        "*filter
        -A FORWARD -m conntrack --ctstate ESTABLISHED --ctdir REPLY -p tcp --dport 4001 -j REJECT --reject-with tcp-reset
        -A FORWARD -m conntrack --ctstate ESTABLISHED -p udp -j REJECT
        -A OUTPUT -m conntrack --ctdir REPLY
        -A OUTPUT -m conntrack --ctdir ORIGINAL
        COMMIT
        > lan tcp l10:4001 w10:80 S => wan tcp S
        > ans SA => wan tcp R
        > lan udp l10:4000 w10:5000 => wan udp
        > ans => wan error port",
    );
    l.both(
        "reject answers no errors and no fragments but the first",
        "*filter
        -A FORWARD -j REJECT
        COMMIT
        > lan icmp l10 w10 3/3 len=40
        > lan icmp l10 w10 1/4 len=60
        > lan udp l10:4000 w10:5000 len=100 cut=40
        > lan udp l10:4000 w10:5000 len=100 cut=40 skip=0
        > lan icmp l10 w10 2/0
        > lan icmp l10 w10 6/0
        > lan icmp l10 w10 7/0
        > lan icmp l10 w10 9/0
        > lan icmp l10 w10 10/0
        > lan icmp l10 w10 17/0
        > lan icmp l10 w10 18/0
        > lan icmp l10 w10 19/0
        > lan icmp l10 w10 42/0",
    );
    l.both(
        "reject of what was translated",
        "*nat
        -A PREROUTING -i lan -d $w10 -j DNAT --to-destination $d10
        COMMIT
        *filter
        -A FORWARD -p udp -j REJECT
        -A FORWARD -p tcp -j REJECT --reject-with tcp-reset
        -A FORWARD -p $icmp -j REJECT
        COMMIT
        > lan udp l10:4000 w10:5000 => lan error port
        > lan tcp l10:4000 w10:80 S => lan tcp RA
        > lan echo l10 w10 => lan error port",
    );
    l.both(
        "reject of what comes back translated",
        "*nat
        -A POSTROUTING -o wan -j MASQUERADE
        COMMIT
        *filter
        -A FORWARD -i wan -p udp -j REJECT
        -A FORWARD -i wan -p tcp -j REJECT --reject-with tcp-reset
        -A INPUT -i wan -p udp -j REJECT
        COMMIT
        > lan udp l10:4000 w10:5000 => wan udp
        > ans => wan error port
        > lan tcp l10:4000 w10:80 S => wan tcp S
        > ans SA => wan tcp R
        > wan udp w10:9 w1:9 => wan error port",
    );
}
