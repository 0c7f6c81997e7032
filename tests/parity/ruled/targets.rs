//! Targets that change packets.

use super::List;
use crate::family::Family;

pub(super) fn cases(l: &mut List) {
    marks(l);
    header(l);
    mss(l);
    untracked(l);
    l.both(
        "log lets pass",
        "*filter
        -A FORWARD -j LOG --log-prefix \"seen: \" --log-level 6 --log-tcp-options --log-ip-options --log-tcp-sequence
        -A FORWARD -m limit --limit 1/min -j LOG
        COMMIT
        > lan udp l10:4000 w10:5000 => wan udp
        > lan tcp l10:4000 w10:80 S mss=1460 => wan tcp S",
    );
}

fn marks(l: &mut List) {
    l.both(
        "mark is of the packet, connmark of the flow",
        "*mangle
        -A PREROUTING -m conntrack --ctstate NEW -p udp -j MARK --set-xmark 0x5/0xffffffff
        -A PREROUTING -m mark --mark 0x5 -j CONNMARK --save-mark --nfmask 0xffffffff --ctmask 0xffffffff
        -A PREROUTING -m conntrack --ctstate ESTABLISHED -j CONNMARK --restore-mark --nfmask 0xffffffff --ctmask 0xffffffff
        -A FORWARD -m mark --mark 0x5
        -A FORWARD -m connmark --mark 0x5
        -A POSTROUTING -m mark ! --mark 0x5 -j DROP
        COMMIT
        > lan udp l10:4000 w10:5000 => wan udp
        > ans => lan udp
        > ans => wan udp
        > lan tcp l10:4000 w10:80 S =>",
    );
    l.both(
        "connmark with masks",
        "*mangle
        -A PREROUTING -p udp -j MARK --set-xmark 0xabcd/0xffffffff
        -A PREROUTING -p udp -j CONNMARK --set-xmark 0x11110000/0xffffffff
        -A PREROUTING -p udp -j CONNMARK --save-mark --nfmask 0xff00 --ctmask 0xffff
        -A PREROUTING -p udp -j MARK --set-xmark 0xf/0xf0
        -A PREROUTING -p udp -j CONNMARK --restore-mark --nfmask 0xff --ctmask 0xff00ff00
        -A FORWARD -m mark --mark 0x1100abdf
        -A FORWARD -m connmark --mark 0x1111ab00
        -A PREROUTING -p tcp -j CONNMARK --set-mark 7
        -A PREROUTING -p tcp -j CONNMARK --and-mark 0x6
        -A PREROUTING -p tcp -j CONNMARK --or-mark 0x8
        -A PREROUTING -p tcp -j CONNMARK --xor-mark 0x3
        COMMIT
        > lan udp l10:4000 w10:5000 => wan udp
        > lan tcp l10:4000 w10:80 S => wan tcp S",
    );
    l.both(
        "marks do not reach the answer the router makes",
        "*mangle
        -A PREROUTING -j MARK --set-xmark 0x9/0xffffffff
        -A OUTPUT -m mark --mark 0x9
        -A OUTPUT -m mark --mark 0x0
        -A INPUT -j CONNMARK --set-xmark 0x9/0xffffffff
        -A OUTPUT -m connmark --mark 0x9
        COMMIT
        > lan echo l10 l1 => lan echo reply
        > lan udp l10:1 l1:2 => lan error port
        > lan tcp l10:1 l1:2 S => lan tcp RA",
    );
}

fn header(l: &mut List) {
    for (name, target) in [
        ("tos", "TOS --set-tos 0x10/0xff"),
        ("tos mask", "TOS --set-tos 0x04/0x1c"),
        ("and-tos", "TOS --and-tos 0xf0"),
        ("or-tos", "TOS --or-tos 0x02"),
        ("xor-tos", "TOS --xor-tos 0xff"),
        ("dscp", "DSCP --set-dscp 0x2e"),
        ("dscp class", "DSCP --set-dscp-class AF11"),
        ("dscp zero", "DSCP --set-dscp 0x00"),
    ] {
        l.both(
            &format!("target {name}"),
            &format!(
                "*mangle
                -A FORWARD -j {target}
                -A OUTPUT -j {target}
                COMMIT
                > lan udp l10:4000 w10:5000 => wan udp
                > lan udp l10:4000 w10:5000 tos=0x03 => wan udp
                > lan udp l10:4000 w10:5000 tos=0xb9 => wan udp
                > lan tcp l10:4000 w10:80 S tos=0xff => wan tcp S
                > lan echo l10 l1 tos=0x10 => lan echo reply"
            ),
        );
    }
    for (family, word) in [(Family::V4, "TTL --ttl"), (Family::V6, "HL --hl")] {
        for how in ["set 1", "set 2", "set 0", "set 255", "inc 1", "inc 255", "dec 1", "dec 2", "dec 255"] {
            for chain in ["PREROUTING", "FORWARD", "POSTROUTING"] {
                l.add(
                    family,
                    &format!("target {word}-{how} in {chain}"),
                    &format!(
                        "*mangle
                        -A {chain} -p udp -j {word}-{how}
                        COMMIT
                        > lan udp l10:4000 w10:5000
                        > lan udp l10:4000 w10:5000 ttl=1
                        > lan udp l10:4000 w10:5000 ttl=2
                        > lan udp l10:4000 w10:5000 ttl=3
                        > lan udp l10:4000 w10:5000 ttl=255
                        > lan tcp l10:4000 w10:80 S ttl=64 => wan tcp S"
                    ),
                );
            }
        }
    }
}

fn mss(l: &mut List) {
    const SYN: &str = "-p tcp -m tcp --tcp-flags SYN,RST SYN";
    for mss in [500, 1000, 1300, 9000] {
        l.both(
            &format!("target TCPMSS --set-mss {mss}"),
            &format!(
                "*mangle
                -A FORWARD {SYN} -j TCPMSS --set-mss {mss}
                COMMIT
                > lan tcp l10:4000 w10:80 S => wan tcp S
                > lan tcp l10:4001 w10:80 S mss=1460 => wan tcp S
                > ans SA mss=1460 ws=7 => lan tcp SA
                > lan tcp l10:4002 w10:80 S mss=400 => wan tcp S
                > lan tcp l10:4003 w10:80 S ws=7 sackok => wan tcp S
                > lan tcp l10:4004 w10:80 S mss=1460 ws=7 sackok len=10
                > lan tcp l10:4005 w10:80 S len=10
                > lan tcp l10:4006 w10:80 S doff=6
                > lan tcp l10:4007 w10:80 A mss=1460"
            ),
        );
    }
    for chain in ["FORWARD", "POSTROUTING"] {
        l.both(
            &format!("target TCPMSS --clamp-mss-to-pmtu in {chain}"),
            &format!(
                "*mangle
                -A {chain} {SYN} -j TCPMSS --clamp-mss-to-pmtu
                COMMIT
                > lan tcp l10:4000 d10:80 S => dmz tcp S
                > lan tcp l10:4001 d10:80 S mss=1460 => dmz tcp S
                > ans SA mss=1460 => lan tcp SA
                > lan tcp l10:4002 w10:80 S mss=1460 => wan tcp S
                > lan tcp l10:4003 w10:80 S mss=9000 => wan tcp S
                > lan tcp l10:4004 d10:80 S mss=536 => dmz tcp S
                > wan tcp w10:4000 d10:80 S mss=1460 => dmz tcp S"
            ),
        );
    }
    l.both(
        "target TCPMSS for the router's own segments",
        &format!(
            "*mangle
            -A OUTPUT {SYN} -j TCPMSS --set-mss 1000
            COMMIT
            > lan tcp l10:4000 l1:80 S => lan tcp RA"
        ),
    );
}

fn untracked(l: &mut List) {
    for target in ["NOTRACK", "CT --notrack"] {
        l.both(
            &format!("target {target}"),
            &format!(
                "*raw
                -A PREROUTING -p udp -j {target}
                COMMIT
                *nat
                -A POSTROUTING -o wan -j MASQUERADE
                COMMIT
                *filter
                -A FORWARD -m conntrack --ctstate UNTRACKED
                -A FORWARD -m conntrack ! --ctstate UNTRACKED
                -A FORWARD -m state --state UNTRACKED
                -A FORWARD -m conntrack --ctstate NEW
                -A FORWARD -m connmark --mark 0x0
                -A FORWARD -m conntrack --ctdir ORIGINAL
                -A FORWARD -m conntrack --ctstatus NONE
                COMMIT
                > lan udp l10:4000 w10:5000 => wan udp
                > ans
                > lan tcp l10:4000 w10:80 S => wan tcp S
                > ans SA => lan tcp SA
                > err@0 kind=port => lan error port
                > lan udp l10:4000 w10:5000 len=1000 cut=400"
            ),
        );
    }
    l.both(
        "what the router answers to the untracked is tracked",
        "*raw
        -A PREROUTING -j NOTRACK
        COMMIT
        *filter
        -A OUTPUT -m conntrack --ctstate NEW
        -A OUTPUT -m conntrack --ctstate INVALID
        -A OUTPUT -m conntrack --ctstate RELATED
        -A OUTPUT -m conntrack --ctstate UNTRACKED
        -A OUTPUT
        COMMIT
        > lan echo l10 l1 => lan echo reply
        > lan udp l10:4000 l1:5000 => lan error port
        > lan tcp l10:4000 l1:80 S => lan tcp RA
        > lan udp l10:4000 w10:5000 ttl=1 => lan error time",
    );
    l.both(
        "what the router says of packets for it is no flow's before conntrack",
        "*raw
        -A OUTPUT -m conntrack --ctdir REPLY
        COMMIT
        *filter
        -A OUTPUT -m conntrack --ctstate RELATED
        COMMIT
        > lan udp l10:4000 l1:5000 => lan error port
        > lan udp l10:4000 w10:5000 ttl=1 => lan error time
        > lan echo l10 l1 => lan echo reply
        > lan proto l10 l1 p=99",
    );
    l.both(
        "the router's own can go untracked",
        "*raw
        -A OUTPUT -j CT --notrack
        COMMIT
        *filter
        -A OUTPUT -m conntrack --ctstate UNTRACKED
        -A OUTPUT -m conntrack ! --ctstate UNTRACKED
        COMMIT
        > lan echo l10 l1 => lan echo reply
        > lan tcp l10:4000 l1:80 S => lan tcp RA",
    );
}
