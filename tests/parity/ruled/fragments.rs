//! Fragments with rules: put together for conntrack, judged whole, sent on in the sizes they came in.

use super::List;

pub(super) fn cases(l: &mut List) {
    for (name, rules) in [
        ("without rules", ""),
        ("without conntrack", "*filter\n-A FORWARD -p udp --dport 5000\n-A FORWARD\nCOMMIT"),
        (
            "with conntrack",
            "*filter\n-A FORWARD -p udp --dport 5000 -m conntrack --ctstate NEW\n-A FORWARD\nCOMMIT",
        ),
        (
            "with nat",
            "*nat\n-A POSTROUTING -o wan -j MASQUERADE\n-A PREROUTING -p udp --dport 5001 -j DNAT --to-destination $[d10]:53\nCOMMIT",
        ),
        (
            "filtered by port",
            "*filter\n-A FORWARD -p udp --dport 5001 -j DROP\n-A FORWARD -m conntrack --ctstate INVALID -j DROP\nCOMMIT",
        ),
        (
            "rejected by port",
            "*filter\n-A FORWARD -p udp --dport 5001 -j REJECT\n-A FORWARD -m conntrack --ctstate INVALID -j DROP\nCOMMIT",
        ),
        (
            "untracked",
            "*raw\n-A PREROUTING -j NOTRACK\nCOMMIT\n*filter\n-A FORWARD -m conntrack --ctstate UNTRACKED\n-A FORWARD\nCOMMIT",
        ),
    ] {
        for (how, lines) in SHAPES {
            l.both(&format!("fragments {name}, {how}"), &format!("{rules}\n{lines}"));
        }
    }
    l.both(
        "echo of a long packet through nat",
        "*nat
        -A POSTROUTING -o wan -j MASQUERADE
        COMMIT
        > lan echo l10 w10 len=3000 cut=1400
        > wan reply w10 w1 id=1 len=3000 cut=1400
        > lan echo l10 l1 len=3000 cut=1400",
    );
    l.both(
        "a long answer to the masqueraded",
        "*nat
        -A POSTROUTING -o wan -j MASQUERADE
        COMMIT
        > lan udp l10:4000 w10:5000 => wan udp
        > wan udp w10:5000 w1:4000 len=3000 cut=1400
        > wan udp w10:5000 w1:4000 len=3000 cut=1400 rev
        > wan udp w10:5000 w1:4000 len=300 cut=8",
    );
}

const SHAPES: [(&str, &str); 7] = [
    (
        "in order",
        "> lan udp l10:4000 w10:5000 len=1000 cut=400\n> lan udp l10:4000 w10:5001 len=1000 cut=400",
    ),
    (
        "out of order",
        "> lan udp l10:4000 w10:5000 len=1000 cut=400 rev\n> lan udp l10:4000 w10:5001 len=1000 cut=400 rev",
    ),
    (
        "missing or twice",
        "> lan udp l10:4000 w10:5000 len=1000 cut=400 skip=1\n> lan udp l10:4000 w10:5000 len=1000 cut=400 dup=0\n> lan udp l10:4000 w10:5000 len=1000 cut=400 dup=1\n> lan udp l10:4000 w10:5000 len=1000 cut=400 skip=0",
    ),
    (
        "larger than the next link",
        "> lan udp l10:4000 d10:5000 len=2600 cut=1400\n> lan udp l10:4000 d10:5000 len=2600 cut=1240\n> lan udp l10:4000 d10:5000 len=2600 cut=1400 df",
    ),
    (
        "not to be cut",
        "> lan udp l10:4000 w10:5000 len=1000 cut=400 df\n> lan udp l10:4000 d10:5000 len=1400 cut=700 df",
    ),
    (
        "at the end of their hops",
        "> lan udp l10:4000 w10:5000 len=1000 cut=400 ttl=1\n> lan udp l10:4000 w10:5000 len=1000 cut=400 ttl=2",
    ),
    (
        "tiny, and for the router",
        "> lan udp l10:4000 w10:5000 len=40 cut=8\n> lan udp l10:4000 l1:5000 len=1000 cut=400\n> lan tcp l10:4000 l1:80 S mss=1460 len=100 cut=40\n> lan udp l10:4000 w10:5000 cut=8",
    ),
];
