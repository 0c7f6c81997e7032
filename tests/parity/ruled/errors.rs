//! ICMP errors through NAT, from inside and from outside, about either end's packets.

use super::List;
use crate::family::Family;

pub(super) fn cases(l: &mut List) {
    let kinds = [
        ("masquerade", "-A POSTROUTING -o wan -j MASQUERADE"),
        (
            "snat and port",
            "-A POSTROUTING -p udp -o wan -j SNAT --to-source $[w50]:7000\n-A POSTROUTING -p tcp -o wan -j SNAT --to-source $[w50]:7000",
        ),
        ("dnat", "-A PREROUTING -d $w10 -j DNAT --to-destination $d10"),
        (
            "dnat and port",
            "-A PREROUTING -d $w10 -p udp -j DNAT --to-destination $[d10]:53\n-A PREROUTING -d $w10 -p tcp -j DNAT --to-destination $[d10]:8080",
        ),
        (
            "both ends",
            "-A PREROUTING -d $w10 -j DNAT --to-destination $d10\n-A POSTROUTING -j SNAT --to-source $d50",
        ),
        ("netmap", "-A PREROUTING -d $w0/24 -j NETMAP --to $d0/24"),
        (
            "hairpin",
            "-A PREROUTING -d $w10 -j DNAT --to-destination $l11\n-A POSTROUTING -s $l0/24 -d $l11 -j MASQUERADE",
        ),
    ];
    let firsts = [
        ("udp", "lan udp l10:4000 w10:5000 len=40"),
        ("udp without a sum", "lan udp l10:4000 w10:5000 len=40 sum=0"),
        ("tcp", "lan tcp l10:4000 w10:80 S len=40"),
        ("echo", "lan echo l10 w10 id=7 len=40"),
        ("sctp", "lan sctp l10:4000 w10:80 chunk=INIT"),
        ("gre", "lan gre l10 w10 call=9"),
        ("unknown", "lan proto l10 w10 p=99"),
    ];
    for (kind, rules) in kinds {
        for (about, first) in firsts {
            l.both(
                &format!("error about {about} through {kind}"),
                &format!(
                    "*nat
                    {rules}
                    COMMIT
                    *filter
                    -A FORWARD -m conntrack --ctstate RELATED
                    -A FORWARD -m conntrack --ctstate INVALID -j DROP
                    COMMIT
                    > {first}
                    > err@0 kind=port
                    > err@0 kind=time by=w99
                    > err@0 kind=big mtu=1300 by=d99
                    > err@0 kind=port quote=28
                    > err@0 kind=port quote=48
                    > err@0 kind=port quote=60
                    > err@0 kind=admin sum=bad
                    > ans@0 SA tag=0xb0b0 chunk=INIT_ACK
                    > err kind=port
                    > err@-2 kind=port by=l99
                    > err@-3 kind=time by=l98"
                ),
            );
        }
    }
    for (family, redirect) in [(Family::V4, "5/1"), (Family::V6, "137/0")] {
        l.add(
            family,
            "redirects and nat",
            &format!(
                "*nat
                -A POSTROUTING -o wan -j MASQUERADE
                COMMIT
                > lan udp l10:4000 w10:5000 => wan udp
                > err@0 {redirect}
                > lan udp l10:4000 d10:5000 => dmz udp
                > err@-1 {redirect}"
            ),
        );
    }
    l.both(
        "errors the router makes about translated packets",
        "*nat
        -A PREROUTING -d $x9 -j DNAT --to-destination $d10
        -A POSTROUTING -o wan -j MASQUERADE
        COMMIT
        > lan udp l10:4000 x9:5000 => dmz udp
        > lan udp l10:4000 x9:5000 ttl=1 => lan error time
        > lan udp l10:4000 w10:5000 => wan udp
        > ans ttl=1 => wan error time
        > ans@0 ttl=1
        > lan udp l10:4000 x9:5000 len=1400 df
        > wan udp w10:5000 w1:4000 ttl=1
        > lan echo l10 x9 ttl=1 => lan error time
        > lan tcp l10:4000 x9:80 S ttl=1 => lan error time",
    );
    l.both(
        "a closed port behind dnat",
        "*nat
        -A PREROUTING -i wan -d $w1 -p udp --dport 53 -j DNAT --to-destination $[d10]:5353
        COMMIT
        *filter
        :FORWARD DROP
        -A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
        -A FORWARD -m conntrack --ctstate DNAT -j ACCEPT
        COMMIT
        > wan udp w10:4000 w1:53 => dmz udp
        > err kind=port => wan error port
        > err@0 kind=host by=d99 => wan error host
        > wan udp w10:4000 d10:5353 =>
        > dmz udp d10:5353 w10:4000 => wan udp",
    );
    l.both(
        "errors about what the router sent",
        "*filter
        -A INPUT -m conntrack --ctstate RELATED
        -A INPUT -m conntrack --ctstate INVALID
        -A INPUT
        COMMIT
        > lan echo l10 l1 => lan echo reply
        > err@0 kind=port =>
        > lan udp l10:4000 l1:5000 => lan error port
        > err kind=port =>
        > lan tcp l10:4000 l1:80 S => lan tcp RA
        > err kind=port =>",
    );
    l.both(
        "path mtu discovery through masquerade",
        "*nat
        -A POSTROUTING -o dmz -j MASQUERADE
        COMMIT
        > lan udp l10:4000 d10:5000 len=1400 df => lan error big
        > lan udp l10:4000 d10:5000 len=1200 df => dmz udp
        > err kind=big mtu=1000 by=d99 => lan error big
        > ans@1 len=1200 df => lan udp",
    );
    l.both(
        "a stateful gateway",
        "*nat
        -A POSTROUTING -o wan -j MASQUERADE
        COMMIT
        *filter
        :INPUT DROP
        :FORWARD DROP
        -A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
        -A INPUT -i lan -j ACCEPT
        -A INPUT -p $icmp -j ACCEPT
        -A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
        -A FORWARD -i lan -o wan -j ACCEPT
        COMMIT
        > lan udp l10:4000 w10:5000 => wan udp
        > ans => lan udp
        > lan tcp l10:4000 w10:80 S => wan tcp S
        > ans SA => lan tcp SA
        > ans A => wan tcp A
        > err kind=time by=w99 => lan error time
        > wan tcp w10:4000 l10:22 S =>
        > wan tcp w10:4000 w1:22 S =>
        > wan udp w10:4000 w1:4000 =>
        > wan udp w11:5000 w1:4000 =>
        > wan echo w10 w1 => wan echo reply
        > lan echo l10 w10 ttl=1 => lan error time
        > lan echo l10 w10 => wan echo request
        > err kind=time by=w99 => lan error time
        > wan icmp w10 w1 3/3 len=40 =>
        > lan echo l10 l1 => lan echo reply",
    );
}
