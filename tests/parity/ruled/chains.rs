//! Jumps, returns, policies, counters, and the ways through the five hooks.

use super::List;

pub(super) fn cases(l: &mut List) {
    let packets = "
        > lan udp l10:4000 w10:5000 => wan udp
        > lan udp l11:4000 w10:5000 => wan udp
        > lan udp l11:4000 w11:5000 => wan udp
        > lan tcp l10:4000 w10:80 S => wan tcp S
        > lan tcp l10:4000 w11:80 S => wan tcp S
        > lan echo l10 w10 => wan echo request
        > lan echo l11 w11 => wan echo request";
    let nested = "*filter
        :A -
        :B -
        :C -
        -A FORWARD -p udp -j A
        -A FORWARD -p tcp -g B
        -A FORWARD -p $icmp -j C
        -A FORWARD
        -A A -s $l10 -j RETURN
        -A A -g B
        -A A
        -A B -d $w10 -j RETURN
        -A B
        -A C -j A
        -A C
        COMMIT";
    l.both("jump, return and goto", &format!("{nested}{packets}"));
    l.both(
        "goto at the end of a chain of jumps comes back to the built-in one",
        &format!(
            "*filter
            :A -
            :B -
            :FORWARD DROP
            -A FORWARD -p udp -j A
            -A FORWARD -s $l10 -j ACCEPT
            -A A -g B
            -A A -j ACCEPT
            -A B -s $l99
            COMMIT
            {}",
            packets.replace("=> wan udp", "").replace("=> wan tcp S", "").replace("=> wan echo request", "")
        ),
    );
    l.both(
        "return in a built-in chain asks the policy",
        "*filter
        :FORWARD DROP
        -A FORWARD -s $l10 -j RETURN
        -A FORWARD -j ACCEPT
        COMMIT
        > lan udp l10:4000 w10:5000 =>
        > lan udp l11:4000 w10:5000 => wan udp",
    );
    for (table, chain) in [
        ("raw", "PREROUTING"),
        ("raw", "OUTPUT"),
        ("mangle", "PREROUTING"),
        ("mangle", "INPUT"),
        ("mangle", "FORWARD"),
        ("mangle", "OUTPUT"),
        ("mangle", "POSTROUTING"),
        ("filter", "INPUT"),
        ("filter", "FORWARD"),
        ("filter", "OUTPUT"),
    ] {
        let all = "*raw
            -A PREROUTING
            -A OUTPUT
            COMMIT
            *mangle
            -A PREROUTING
            -A INPUT
            -A FORWARD
            -A OUTPUT
            -A POSTROUTING
            COMMIT
            *nat
            -A PREROUTING
            -A INPUT
            -A OUTPUT
            -A POSTROUTING
            COMMIT
            *filter
            -A INPUT
            -A FORWARD
            -A OUTPUT
            COMMIT";
        // Each table stands there once: the policy goes into its own.
        let text = all.replace(&format!("*{table}\n"), &format!("*{table}\n:{chain} DROP\n"));
        l.both(
            &format!("policy of {table} {chain}"),
            &format!(
                "{text}
                > lan udp l10:4000 w10:5000
                > lan echo l10 l1
                > lan udp l10:4000 l1:5000
                > lan udp l10:4000 w10:5000 ttl=1
                > lan tcp l10:4000 w10:80 S"
            ),
        );
    }
    l.both(
        "the order of the tables",
        "*raw
        -A PREROUTING -j MARK --set-xmark 0x1/0xffffffff
        COMMIT
        *mangle
        -A PREROUTING -m mark --mark 0x1 -j MARK --set-xmark 0x2/0xffffffff
        -A FORWARD -m mark --mark 0x2 -j MARK --set-xmark 0x4/0xffffffff
        -A POSTROUTING -m mark --mark 0x8 -m conntrack --ctstate DNAT
        COMMIT
        *nat
        -A PREROUTING -m mark --mark 0x2 -j DNAT --to-destination $w11
        -A POSTROUTING -m mark --mark 0x8 -j SNAT --to-source $w50
        COMMIT
        *filter
        -A FORWARD -m mark --mark 0x4 -d $w11 -j MARK --set-xmark 0x8/0xffffffff
        COMMIT
        > lan udp l10:4000 w10:5000 => wan udp
        > ans => lan udp",
    );
    l.both(
        "a rule that counts bytes as they are at its hook",
        "*mangle
        -A PREROUTING -p tcp
        -A POSTROUTING -p tcp -m tcp --tcp-flags SYN,RST SYN -j TCPMSS --set-mss 1200
        -A POSTROUTING -p tcp
        COMMIT
        > lan tcp l10:4000 w10:80 S => wan tcp S
        > lan tcp l10:4001 w10:80 S mss=1460 => wan tcp S",
    );
    l.both(
        "without conntrack, packets are in no state",
        "*filter
        -A FORWARD -p udp -j ACCEPT
        -A FORWARD -j DROP
        COMMIT
        > lan udp l10:4000 w10:5000 => wan udp
        > wan tcp w10:80 l10:4000 SA =>",
    );
    l.both(
        "to the router in every way",
        "*filter
        -A INPUT -i lan -d $l1 -p udp
        -A INPUT -m conntrack --ctstate NEW
        -A INPUT -m conntrack --ctstate ESTABLISHED
        -A INPUT -m conntrack --ctstate RELATED
        -A INPUT -m conntrack --ctstate INVALID
        -A OUTPUT -m conntrack --ctstate NEW
        -A OUTPUT -m conntrack --ctstate ESTABLISHED
        -A OUTPUT -m conntrack --ctstate RELATED
        -A OUTPUT -m conntrack --ctstate INVALID
        -A OUTPUT -m conntrack --ctstate UNTRACKED
        COMMIT
        > lan echo l10 l1 => lan echo reply
        > lan echo l10 w1 => lan echo reply
        > lan udp l10:4000 l1:5000 => lan error port
        > lan tcp l10:4000 l1:80 S => lan tcp RA
        > lan tcp l10:4000 l1:80 A => lan tcp R
        > lan udp l10:4000 w10:5000 ttl=1 => lan error time
        > lan udp l10:4000 w10:5000 => wan udp
        > err kind=port
        > lan udp l10:4000 w10:5000 ttl=1 => lan error time
        > err@0 kind=port =>
        > err@2 kind=port =>",
    );
}
