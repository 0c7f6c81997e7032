//! Every kind of NAT, for every protocol.

use super::List;

pub(super) fn cases(l: &mut List) {
    for (kind, rule) in [
        ("masquerade", "-A POSTROUTING -o wan -j MASQUERADE"),
        ("snat", "-A POSTROUTING -o wan -j SNAT --to-source $w50"),
        ("snat to an address of the lan", "-A POSTROUTING -o wan -j SNAT --to-source $l50"),
        ("snat to itself", "-A POSTROUTING -j SNAT --to-source $l10"),
        ("dnat", "-A PREROUTING -d $w10 -j DNAT --to-destination $w11"),
        ("dnat to another segment", "-A PREROUTING -d $w10 -j DNAT --to-destination $d10"),
        ("dnat to the same", "-A PREROUTING -d $w10 -j DNAT --to-destination $w10"),
        ("dnat to the router", "-A PREROUTING -d $w10 -j DNAT --to-destination $l1"),
        ("redirect", "-A PREROUTING -d $w10 -j REDIRECT"),
        ("netmap of the destination", "-A PREROUTING -d $w0/24 -j NETMAP --to $d0/24"),
        ("netmap of the source", "-A POSTROUTING -s $l0/24 -j NETMAP --to $x0/24"),
        (
            "both ends",
            "-A PREROUTING -d $w10 -j DNAT --to-destination $d10\n-A POSTROUTING -j SNAT --to-source $d50",
        ),
        (
            "hairpin",
            "-A PREROUTING -d $w10 -j DNAT --to-destination $l11\n-A POSTROUTING -s $l0/24 -d $l11 -j MASQUERADE",
        ),
        ("dnat without a return", "-A PREROUTING -d $w10 -j DNAT --to-destination $l11"),
    ] {
        // The router has no UDP-Lite of its own to say that a port is closed.
        let for_us = kind == "redirect" || kind == "dnat to the router";
        for (protocol, lines) in CONVERSATIONS.iter().filter(|(p, _)| !(for_us && p.starts_with("udplite"))) {
            l.both(&format!("{kind}, {protocol}"), &format!("*nat\n{rule}\nCOMMIT\n{lines}"));
        }
    }
    ports(l);
    clashes(l);
    own(l);
    order(l);
    services(l);
}

/// What is said and answered in every protocol.
const CONVERSATIONS: [(&str, &str); 9] = [
    (
        "udp",
        "> lan udp l10:4000 w10:5000\n> ans\n> ans\n> lan udp l10:4000 w11:5000\n> ans\n> lan udp l10:4000 w10:5000 sum=0",
    ),
    (
        "tcp",
        "> lan tcp l10:4000 w10:80 S\n> ans SA\n> ans A\n> ans PA len=10\n> ans A\n> ans FA\n> ans FA\n> ans A",
    ),
    ("echo", "> lan echo l10 w10 id=7\n> ans\n> again@0\n> ans\n> lan echo l10 w10 id=8\n> ans"),
    (
        "sctp",
        "> lan sctp l10:4000 w10:80 chunk=INIT itag=0x1111\n> ans chunk=INIT_ACK tag=0x1111 itag=0x2222\n> ans chunk=COOKIE_ECHO tag=0x2222",
    ),
    ("gre", "> lan gre l10 w10\n> ans\n> lan gre l10 w10 call=7\n> ans"),
    ("udplite unsummed", "> lan udplite l10:4000 w10:5000\n> ans"),
    ("unknown", "> lan proto l10 w10 p=99 len=30\n> ans\n> lan proto l10 w10 p=50 len=30\n> ans"),
    (
        "short packets",
        "> lan proto l10 w10 p=17 len=6\n> lan proto l10 w10 p=6 len=12\n> lan proto l10 w10 p=1 len=4\n> lan proto l10 w10 p=58 len=4\n> lan udp l10:4000 w10:5000 sum=bad\n> lan tcp l10:4000 w10:5000 S sum=bad\n> lan echo l10 w10 sum=bad",
    ),
    (
        "options",
        "> lan tcp l10:4000 w10:80 S mss=1460 ws=7 sackok ttl=2\n> ans SA mss=1460 ws=7 sackok\n> ans A sack=500001-500002\n> lan udp l10:4000 w10:5000 ttl=1\n> lan udp l10:4000 w10:5000 tos=0xb9 df",
    ),
];

fn ports(l: &mut List) {
    let each = "> lan udp l10:4000 w10:5000\n> ans\n> lan udp l11:4000 w10:5000\n> ans\n> lan tcp l10:4000 w10:80 S\n> ans SA\n> lan tcp l11:4000 w10:80 S\n> ans SA\n> lan sctp l10:4000 w10:80 chunk=INIT\n> lan echo l10 w10 id=7\n> ans";
    for (name, rules) in [
        (
            "snat to a port",
            "-A POSTROUTING -p udp -j SNAT --to-source $[w50]:7000\n-A POSTROUTING -p tcp -j SNAT --to-source $[w50]:7000",
        ),
        (
            "snat to a range of ports",
            "-A POSTROUTING -p udp -j SNAT --to-source $[w50]:20000-20099\n-A POSTROUTING -p tcp -j SNAT --to-source $[w50]:20000-20099",
        ),
        (
            "snat to a range of ports that holds the port",
            "-A POSTROUTING -p udp -j SNAT --to-source $[w50]:3900-4100\n-A POSTROUTING -p tcp -j SNAT --to-source $[w50]:3900-4100",
        ),
        (
            "masquerade to ports",
            "-A POSTROUTING -p udp -j MASQUERADE --to-ports 20000-20099\n-A POSTROUTING -p tcp -j MASQUERADE --to-ports 20000",
        ),
        ("masquerade at random", "-A POSTROUTING -j MASQUERADE --random"),
        ("masquerade fully at random", "-A POSTROUTING -j MASQUERADE --random-fully"),
        ("snat at random", "-A POSTROUTING -j SNAT --to-source $w50 --random"),
        ("snat fully at random", "-A POSTROUTING -j SNAT --to-source $w50 --random-fully"),
        (
            "dnat to a port",
            "-A PREROUTING -p udp -j DNAT --to-destination $[w11]:5353\n-A PREROUTING -p tcp -j DNAT --to-destination $[w11]:8080",
        ),
        (
            "dnat of the port alone",
            "-A PREROUTING -p udp -j DNAT --to-destination :5353\n-A PREROUTING -p tcp -j DNAT --to-destination :8080",
        ),
        (
            "dnat to a range of ports",
            "-A PREROUTING -p udp -j DNAT --to-destination $[w11]:30000-30099\n-A PREROUTING -p tcp -j DNAT --to-destination $[w11]:30000-30099 --random",
        ),
        (
            "dnat to shifted ports",
            "-A PREROUTING -p udp -j DNAT --to-destination $[w11]:6000-6010/4995\n-A PREROUTING -p tcp -j DNAT --to-destination $[w11]:6000-6010/80",
        ),
        (
            "redirect to a port",
            "-A PREROUTING -p udp -j REDIRECT --to-ports 9\n-A PREROUTING -p tcp -j REDIRECT --to-ports 9",
        ),
        (
            "redirect to a range of ports",
            "-A PREROUTING -p udp -j REDIRECT --to-ports 30000-30099\n-A PREROUTING -p tcp -j REDIRECT --to-ports 30000-30099 --random",
        ),
        ("snat of sctp to a port", "-A POSTROUTING -p sctp -j SNAT --to-source $[w50]:7000"),
    ] {
        l.both(name, &format!("*nat\n{rules}\nCOMMIT\n{each}"));
    }
    l.both(
        "snat to a pool, persistent",
        "*nat
        -A POSTROUTING -o wan -j SNAT --to-source $w50-$w50 --persistent
        COMMIT
        > lan udp l10:4000 w10:5000 => wan udp
        > ans => lan udp
        > lan udp l11:4000 w11:5000 => wan udp
        > ans => lan udp",
    );
}

/// Ports that somebody has already.
fn clashes(l: &mut List) {
    l.both(
        "netmap of a source that went elsewhere before",
        "*nat
        -A POSTROUTING -o wan -j SNAT --to-source $d50
        -A POSTROUTING -o dmz -j NETMAP --to $d0/24
        COMMIT
        > lan udp l10:4000 w10:5000 => wan udp
        > lan udp l10:4000 d10:5000 => dmz udp
        > ans => lan udp",
    );
    for how in ["--random", "--random-fully"] {
        l.both(
            &format!("masquerade {how} of what has no ports"),
            &format!(
                "*nat
                -A POSTROUTING -o wan -j MASQUERADE {how}
                COMMIT
                > lan gre l10 w10 => wan proto 47
                > ans => lan proto 47
                > lan proto l10 w10 p=99 => wan proto 99"
            ),
        );
    }
    for (class, port) in [("below 512", 500), ("below 1024", 700), ("above", 4000), ("zero", 0)] {
        l.both(
            &format!("masquerade, second client with the same port {class}"),
            &format!(
                "*nat
                -A POSTROUTING -o wan -j MASQUERADE
                COMMIT
                > lan udp l10:{port} w10:5000 => wan udp
                > lan udp l11:{port} w10:5000 => wan udp
                > lan udp l12:{port} w10:5000 => wan udp
                > ans@0 => lan udp
                > ans@1 => lan udp
                > ans@2 => lan udp
                > lan udp l11:{port} w11:5000 => wan udp
                > lan tcp l10:{port} w10:80 S => wan tcp S
                > lan tcp l11:{port} w10:80 S => wan tcp S
                > ans SA => lan tcp SA
                > lan udp l10:{port} w10:5000 => wan udp
                > lan udp l11:{port} w10:5000 => wan udp"
            ),
        );
    }
    l.both(
        "masquerade, second client with the same identifier",
        "*nat
        -A POSTROUTING -o wan -j MASQUERADE
        COMMIT
        > lan echo l10 w10 id=7 => wan echo request
        > lan echo l11 w10 id=7 => wan echo request
        > ans@0 => lan echo reply
        > ans@1 => lan echo reply
        > lan echo l10 w10 id=7 => wan echo request",
    );
    l.both(
        "masquerade, second client of a protocol without ports",
        "*nat
        -A POSTROUTING -o wan -j MASQUERADE
        COMMIT
        > lan proto l10 w10 p=99 => wan proto 99
        > lan proto l11 w10 p=99
        > lan gre l10 w10 => wan proto 47
        > lan gre l11 w10",
    );
    l.both(
        "a port that a flow without translation has",
        "*nat
        -A POSTROUTING -o wan -s $l10 -j SNAT --to-source $l11
        COMMIT
        > lan udp l11:4000 w10:5000 => wan udp
        > lan udp l10:4000 w10:5000 => wan udp
        > ans@0 => lan udp
        > ans@1 => lan udp",
    );
    l.both(
        "a client that keeps its port for other destinations",
        "*nat
        -A POSTROUTING -o wan -j MASQUERADE
        COMMIT
        > lan udp l11:4000 w10:5000 => wan udp
        > lan udp l10:4000 w10:5000 => wan udp
        > lan udp l10:4000 w11:5000 => wan udp
        > lan udp l10:4000 w12:5000 => wan udp
        > ans@1 => lan udp
        > ans@2 => lan udp",
    );
    l.both(
        "two clients through one dnat",
        "*nat
        -A PREROUTING -p udp -j DNAT --to-destination $[d10]:53
        -A POSTROUTING -o dmz -j SNAT --to-source $d50
        COMMIT
        > lan udp l10:4000 w10:5000 => dmz udp
        > lan udp l10:4000 w11:5000 => dmz udp
        > lan udp l11:4000 w11:5000 => dmz udp
        > ans@0 => lan udp
        > ans@1 => lan udp
        > ans@2 => lan udp",
    );
    l.both(
        "a stranger to the masqueraded port",
        "*nat
        -A POSTROUTING -o wan -j MASQUERADE
        COMMIT
        > lan udp l10:4000 w10:5000 => wan udp
        > wan udp w11:5000 w1:4000 => wan error port
        > wan udp w10:5001 w1:4000 => wan error port
        > wan udp w10:5000 w1:4000 => lan udp
        > wan tcp w10:80 w1:4000 S => wan tcp RA",
    );
    l.both(
        "a stranger first, then the client with his port",
        "*nat
        -A POSTROUTING -o wan -j MASQUERADE
        COMMIT
        > wan udp w10:5000 w1:4000 => wan error port
        > lan udp l10:4000 w10:5000 => wan udp
        > ans => lan udp",
    );
    l.both(
        "a connection that ended leaves its port",
        "*nat
        -A POSTROUTING -o wan -j MASQUERADE
        COMMIT
        > lan tcp l10:4000 w10:80 S => wan tcp S
        > ans SA
        > ans A
        > ans FA
        > ans FA
        > ans A
        > lan tcp l11:4000 w10:80 S => wan tcp S
        > ans SA => lan tcp SA
        > lan tcp l10:4000 w10:80 S seq=99999 => wan tcp S",
    );
}

/// The router's own packets, and those for it.
fn own(l: &mut List) {
    l.both(
        "dnat in output of what answers the untracked",
        "*raw
        -A PREROUTING -j NOTRACK
        COMMIT
        *nat
        -A OUTPUT -j DNAT --to-destination $w11
        COMMIT
        *filter
        -A OUTPUT -m conntrack --ctstate NEW
        -A OUTPUT -m conntrack --ctstate DNAT
        COMMIT
        > lan tcp l10:4000 l1:80 S
        > lan tcp l10:4001 l1:80 A
        > lan echo l10 l1
        > lan udp l10:4000 l1:80",
    );
    l.both(
        "snat of the router's own",
        "*raw
        -A PREROUTING -p tcp -j NOTRACK
        COMMIT
        *nat
        -A POSTROUTING -o lan -j SNAT --to-source $l60
        COMMIT
        > lan tcp l10:4000 l1:80 A
        > lan echo l10 l1 => lan echo reply
        > lan udp l10:4000 l1:80 => lan error port
        > lan tcp l10:4000 l1:80 S",
    );
    l.both(
        "snat in input",
        "*nat
        -A INPUT -i lan -j SNAT --to-source $l20
        COMMIT
        *filter
        -A INPUT -s $l20
        -A INPUT -m conntrack --ctstate SNAT
        COMMIT
        > lan echo l10 l1 => lan echo reply
        > lan udp l10:4000 l1:5000 => lan error port
        > lan tcp l10:4000 l1:80 S => lan tcp RA
        > lan udp l10:4000 w10:5000 => wan udp",
    );
    l.both(
        "snat in input, to a port",
        "*nat
        -A INPUT -p udp -j SNAT --to-source $[l20]:7000
        -A INPUT -p tcp -j SNAT --to-source $[l20]:7000
        COMMIT
        > lan udp l10:4000 l1:5000 => lan error port
        > lan tcp l10:4000 l1:80 S => lan tcp RA
        > lan udp l11:4000 l1:5000 =>",
    );
    l.both(
        "redirect of a closed port",
        "*nat
        -A PREROUTING -p udp -j REDIRECT --to-ports 9999
        -A PREROUTING -p tcp -j REDIRECT --to-ports 9999
        COMMIT
        > lan udp l10:4000 w10:5000 => lan error port
        > lan tcp l10:4000 w10:80 S => lan tcp RA
        > lan udp l10:4000 l1:5000 => lan error port
        > lan udp l10:4000 w1:5000 => lan error port",
    );
    l.both(
        "dnat of what is for the router",
        "*nat
        -A PREROUTING -i wan -d $w1 -p tcp --dport 80 -j DNAT --to-destination $[l10]:8080
        -A PREROUTING -i wan -d $w1 -p udp --dport 53 -j DNAT --to-destination $l10
        COMMIT
        > wan tcp w10:4000 w1:80 S => lan tcp S
        > ans SA => wan tcp SA
        > wan udp w10:4000 w1:53 => lan udp
        > err kind=port => wan error port
        > wan udp w10:4000 w1:54 => wan error port
        > wan echo w10 w1 => wan echo reply",
    );
    l.both(
        "dnat to where there is no way",
        "*nat
        -A PREROUTING -p udp --dport 1 -j DNAT --to-destination $x7
        COMMIT
        > lan udp l10:4000 w10:1 => wan udp
        > lan udp l10:4000 w10:2 => wan udp",
    );
    l.v4(
        "dnat to martians and dead ends",
        "*nat
        -A PREROUTING -p udp --dport 1 -j DNAT --to-destination 127.0.0.1
        -A PREROUTING -p udp --dport 2 -j DNAT --to-destination 203.0.113.1
        -A PREROUTING -p udp --dport 3 -j DNAT --to-destination 10.66.1.1
        -A PREROUTING -p udp --dport 4 -j DNAT --to-destination 10.66.3.1
        -A PREROUTING -p udp --dport 5 -j DNAT --to-destination 10.2.0.255
        -A PREROUTING -p udp --dport 6 -j DNAT --to-destination 10.1.0.10
        -A PREROUTING -p udp --dport 7 -j DNAT --to-destination 240.0.0.1
        COMMIT
        > lan udp l10:4000 w10:1
        > lan udp l11:4000 w10:2
        > lan udp l12:4000 w10:3
        > lan udp l13:4000 w10:4
        > lan udp l14:4000 w10:5
        > lan udp l10:4000 w10:6
        > lan udp l15:4000 w10:7",
    );
    l.v6(
        "dnat to martians and dead ends",
        "*nat
        -A PREROUTING -p udp --dport 1 -j DNAT --to-destination ::1
        -A PREROUTING -p udp --dport 2 -j DNAT --to-destination 2001:db8::1
        -A PREROUTING -p udp --dport 3 -j DNAT --to-destination fd66:1::1
        -A PREROUTING -p udp --dport 4 -j DNAT --to-destination fd66:3::1
        -A PREROUTING -p udp --dport 6 -j DNAT --to-destination fd01::a
        COMMIT
        > lan udp L10:4000 W10:1
        > lan udp L11:4000 W10:2
        > lan udp L12:4000 W10:3
        > lan udp L13:4000 W10:4
        > lan udp L10:4000 W10:6",
    );
}

/// Which rule is asked, and when.
fn order(l: &mut List) {
    l.both(
        "rules are asked for the first packet only",
        "*nat
        -A PREROUTING -p udp -m statistic --mode nth --every 2 --packet 0 -j DNAT --to-destination $w11
        -A PREROUTING -p udp
        -A POSTROUTING
        COMMIT
        > lan udp l10:4000 w10:5000 => wan udp
        > lan udp l10:4000 w10:5000 => wan udp
        > ans => lan udp
        > lan udp l11:4000 w10:5000 => wan udp
        > lan udp l11:4000 w10:5000 => wan udp
        > wan udp w10:9 l10:9 => wan udp",
    );
    l.both(
        "accept and return in nat",
        "*nat
        :A -
        -A PREROUTING -s $l10 -j ACCEPT
        -A PREROUTING -s $l11 -j A
        -A PREROUTING -j DNAT --to-destination $d10
        -A A -p udp -j RETURN
        -A A -j DNAT --to-destination $w11
        COMMIT
        > lan udp l10:4000 w10:5000 => wan udp
        > lan udp l11:4000 w10:5000 => dmz udp
        > lan tcp l11:4000 w10:80 S => wan tcp S",
    );
    l.both(
        "what was dropped begins no flow",
        "*nat
        -A POSTROUTING -j MASQUERADE
        COMMIT
        *filter
        -A FORWARD -p udp -m statistic --mode nth --every 2 --packet 0 -j DROP
        COMMIT
        > lan udp l10:4000 w10:5000 =>
        > lan udp l10:4000 w10:5000 => wan udp
        > ans =>
        > ans => lan udp",
    );
    l.both(
        "invalid packets are not translated",
        "*nat
        -A POSTROUTING -o wan -j MASQUERADE
        -A PREROUTING -i wan -j DNAT --to-destination $l11
        COMMIT
        *filter
        -A FORWARD -m conntrack --ctstate INVALID
        COMMIT
        > lan tcp l10:4000 w10:80 SF
        > lan tcp l10:4001 w10:80 S sum=bad
        > lan udp l10:4000 w10:80 ulen=4
        > wan icmp w10 w1 3/3 len=40
        > lan icmp l10 w10 42/0",
    );
    l.both(
        "ctstate SNAT and DNAT",
        "*nat
        -A PREROUTING -i lan -d $w10 -j DNAT --to-destination $w11
        -A POSTROUTING -o wan -s $l11 -j SNAT --to-source $w50
        COMMIT
        *filter
        -A FORWARD -m conntrack --ctstate DNAT
        -A FORWARD -m conntrack ! --ctstate DNAT
        -A FORWARD -m conntrack --ctstate SNAT
        -A FORWARD -m conntrack ! --ctstate SNAT
        -A FORWARD -m conntrack --ctorigdst $w10
        -A FORWARD -m conntrack --ctreplsrc $w11
        -A FORWARD -m conntrack --ctrepldst $w50
        COMMIT
        > lan udp l10:4000 w10:5000 => wan udp
        > ans => lan udp
        > lan udp l11:4000 w10:5000 => wan udp
        > ans => lan udp
        > lan udp l11:4000 w12:5000 => wan udp
        > ans => lan udp
        > lan udp l10:4000 w12:5000 => wan udp
        > ans => lan udp",
    );
    l.both(
        "packets see their addresses as they are at each hook",
        "*raw
        -A PREROUTING -s $w10 -d $w50
        COMMIT
        *mangle
        -A PREROUTING -d $w50
        -A PREROUTING -d $w10
        -A FORWARD -s $l10 -d $w11
        -A FORWARD -s $w11 -d $l10
        -A POSTROUTING -s $l10
        -A POSTROUTING -s $w10 -d $l10
        COMMIT
        *nat
        -A PREROUTING -d $w10 -j DNAT --to-destination $w11
        -A POSTROUTING -o wan -j SNAT --to-source $w50
        COMMIT
        > lan udp l10:4000 w10:5000 => wan udp
        > ans => lan udp
        > ans => wan udp",
    );
}

/// Load balancing as kube-proxy writes it.
fn services(l: &mut List) {
    let rules = "*nat
        :KUBE-SERVICES -
        :KUBE-SVC-ECHO -
        :KUBE-SEP-A -
        :KUBE-SEP-B -
        :KUBE-SEP-C -
        :KUBE-MARK-MASQ -
        :KUBE-POSTROUTING -
        -A PREROUTING -m comment --comment \"kubernetes service portals\" -j KUBE-SERVICES
        -A OUTPUT -m comment --comment \"kubernetes service portals\" -j KUBE-SERVICES
        -A POSTROUTING -m comment --comment \"kubernetes postrouting rules\" -j KUBE-POSTROUTING
        -A KUBE-SERVICES -d $x50 -p udp -m comment --comment \"default/echo cluster IP\" -m udp --dport 80 -j KUBE-SVC-ECHO
        -A KUBE-SERVICES -d $x50 -p tcp -m comment --comment \"default/echo cluster IP\" -m tcp --dport 80 -j KUBE-SVC-ECHO
        -A KUBE-SVC-ECHO ! -s $l0/24 -j KUBE-MARK-MASQ
        -A KUBE-SVC-ECHO -m statistic --mode nth --every 3 --packet 0 -j KUBE-SEP-A
        -A KUBE-SVC-ECHO -m statistic --mode nth --every 2 --packet 0 -j KUBE-SEP-B
        -A KUBE-SVC-ECHO -j KUBE-SEP-C
        -A KUBE-SEP-A -s $l11 -j KUBE-MARK-MASQ
        -A KUBE-SEP-A -p udp -m udp -j DNAT --to-destination $[l11]:8080
        -A KUBE-SEP-A -p tcp -m tcp -j DNAT --to-destination $[l11]:8080
        -A KUBE-SEP-B -s $d12 -j KUBE-MARK-MASQ
        -A KUBE-SEP-B -p udp -m udp -j DNAT --to-destination $[d12]:8080
        -A KUBE-SEP-B -p tcp -m tcp -j DNAT --to-destination $[d12]:8080
        -A KUBE-SEP-C -s $d13 -j KUBE-MARK-MASQ
        -A KUBE-SEP-C -p udp -m udp -j DNAT --to-destination $[d13]:8080
        -A KUBE-SEP-C -p tcp -m tcp -j DNAT --to-destination $[d13]:8080
        -A KUBE-MARK-MASQ -j MARK --set-xmark 0x4000/0x4000
        -A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN
        -A KUBE-POSTROUTING -j MARK --set-xmark 0x4000/0x0
        -A KUBE-POSTROUTING -j MASQUERADE --random-fully
        COMMIT
        *filter
        :KUBE-FORWARD -
        -A FORWARD -j KUBE-FORWARD
        -A KUBE-FORWARD -m conntrack --ctstate INVALID -j DROP
        -A KUBE-FORWARD -m mark --mark 0x4000/0x4000 -j ACCEPT
        -A KUBE-FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
        COMMIT";
    let mut lines = String::new();
    for client in 0..9 {
        let from = ["lan udp l", "wan udp w", "dmz udp d"][client % 3];
        lines += &format!("> {from}{}:4000 x50:80\n> ans\n", 10 + client / 3);
    }
    for client in 0..7 {
        lines += &format!("> lan tcp l10:{} x50:80 S\n> ans SA\n> ans A\n> ans PA len=20\n", 4000 + client);
    }
    l.both("a service with three backends", &format!("{rules}\n{lines}"));
}
