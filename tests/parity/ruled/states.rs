//! What conntrack makes of packets: the states of every protocol, and what is INVALID.

use super::List;
use crate::family::Family;

/// Counts by state, and lets all pass.
const COUNT: &str = "*filter
    -A FORWARD -m conntrack --ctstate NEW
    -A FORWARD -m conntrack --ctstate ESTABLISHED
    -A FORWARD -m conntrack --ctstate RELATED
    -A FORWARD -m conntrack --ctstate INVALID
    -A FORWARD -m conntrack --ctdir REPLY
    -A FORWARD -m conntrack --ctstatus ASSURED
    COMMIT";

pub(super) fn cases(l: &mut List) {
    let mut count = |name: &str, lines: &str| l.both(name, &format!("{COUNT}\n{lines}"));
    for (name, lines) in TCP {
        count(&format!("tcp {name}"), lines);
    }
    for (name, lines) in SCTP {
        count(&format!("sctp {name}"), lines);
    }
    for (name, lines) in OTHERS {
        count(name, lines);
    }
    icmp(l);
    l.both(
        "one who speaks to himself",
        &format!("{COUNT}\n> lan gre l11 l11\n> ans\n> ans\n> lan udp x7:9 x7:9\n> ans"),
    );
    l.both("udplite unsummed", &format!("{COUNT}\n> lan udplite l10:4000 w10:5000\n> ans\n> ans\n> ans"));
    for family in [Family::V4, Family::V6] {
        let text = format!("{COUNT}\n> lan udplite l10:4000 w10:5000 => wan proto 136");
        l.add(family, "a right checksum of UDP-Lite", &text).known = Some("UDP-Lite that conntrack looks at");
    }
}

const TCP: &[(&str, &str)] = &[
    (
        "from first to last",
        "> lan tcp l10:4000 w10:80 S mss=1460 ws=7
         > ans SA mss=1460 ws=7
         > ans A
         > ans PA len=100
         > ans A len=50
         > ans FA
         > ans A
         > ans FA
         > ans A",
    ),
    (
        "closed by the server",
        "> lan tcp l10:4000 w10:80 S\n> ans SA\n> ans A\n> ans FA\n> ans A\n> ans FA\n> ans A",
    ),
    (
        "closed by both at once",
        "> lan tcp l10:4000 w10:80 S\n> ans SA\n> ans A\n> ans FA\n> ans@2 FA\n> ans A\n> ans@3 A",
    ),
    ("opened by both at once", "> lan tcp l10:4000 w10:80 S\n> ans S\n> ans SA\n> ans SA\n> ans A"),
    ("refused", "> lan tcp l10:4000 w10:80 S\n> ans RA\n> again@0\n> ans SA"),
    ("reset by the client", "> lan tcp l10:4000 w10:80 S\n> ans SA\n> ans A\n> ans A\n> ans RA\n> ans A"),
    ("reset by the server", "> lan tcp l10:4000 w10:80 S\n> ans SA\n> ans A\n> ans R\n> again@2"),
    (
        "syn again and again",
        "> lan tcp l10:4000 w10:80 S\n> again@0\n> again@0\n> again@0\n> again@0\n> ans SA",
    ),
    (
        "syn of another number",
        "> lan tcp l10:4000 w10:80 S\n> lan tcp l10:4000 w10:80 S seq=99999\n> ans SA\n> ans A",
    ),
    ("syn-ack lost", "> lan tcp l10:4000 w10:80 S\n> ans SA\n> again@0\n> again@1\n> ans A"),
    (
        "opened anew after the end",
        "> lan tcp l10:4000 w10:80 S\n> ans SA\n> ans A\n> ans FA\n> ans FA\n> ans A
         > lan tcp l10:4000 w10:80 S seq=900000\n> ans SA seq=77\n> ans A",
    ),
    (
        "opened anew after a reset",
        "> lan tcp l10:4000 w10:80 S\n> ans RA\n> lan tcp l10:4000 w10:80 S seq=900000\n> ans SA",
    ),
    (
        "syn in an open connection",
        "> lan tcp l10:4000 w10:80 S\n> ans SA\n> ans A\n> lan tcp l10:4000 w10:80 S seq=77777\n> ans A\n> ans@2 A",
    ),
    (
        "challenge ack",
        "> lan tcp l10:4000 w10:80 S\n> ans SA\n> ans A\n> lan tcp l10:4000 w10:80 S seq=777\n> ans@2 A\n> ans R",
    ),
    (
        "picked up in the middle",
        "> lan tcp l10:4000 w10:80 A seq=5 ack=9 len=10\n> ans A\n> ans A len=20\n> ans A",
    ),
    (
        "picked up from the server's side",
        "> wan tcp w10:80 l10:4000 PA seq=5 ack=9 len=10\n> ans A\n> ans A len=5",
    ),
    ("picked up at its end", "> lan tcp l10:4000 w10:80 FA seq=5 ack=9\n> ans A\n> ans FA\n> ans A"),
    ("begun by a syn-ack", "> lan tcp l10:4000 w10:80 SA seq=5 ack=9\n> ans A"),
    ("begun by a reset", "> lan tcp l10:4000 w10:80 R seq=5\n> lan tcp l10:4001 w10:80 RA seq=5"),
    (
        "outside the window",
        "> lan tcp l10:4000 w10:80 S\n> ans SA\n> ans A\n> ans A dseq=1000000 len=5\n> ans A dack=1000000\n> ans@1 A dseq=4000000000 len=5",
    ),
    (
        "at the edge of the window",
        "> lan tcp l10:4000 w10:80 S win=1000\n> ans SA win=1000\n> ans A win=1000\n> ans A len=1000 win=1000\n> ans@2 A dseq=1000 len=1 win=1000\n> ans@2 A dseq=1001 len=1 win=1000\n> ans@2 A dseq=2002 len=1 win=1000",
    ),
    (
        "window scaled on both sides",
        "> lan tcp l10:4000 w10:80 S ws=10\n> ans SA ws=10\n> ans A win=100\n> ans A dseq=60000 len=10\n> ans@2 A dseq=102500 len=10",
    ),
    (
        "window scaled on one side",
        "> lan tcp l10:4000 w10:80 S ws=10\n> ans SA\n> ans A win=100\n> ans A dseq=60 len=10\n> ans@2 A dseq=60000 len=10",
    ),
    (
        "scale above 14",
        "> lan tcp l10:4000 w10:80 S ws=15\n> ans SA ws=14\n> ans A win=1\n> ans A dseq=16000 len=10",
    ),
    ("zero window", "> lan tcp l10:4000 w10:80 S\n> ans SA\n> ans A win=0\n> ans A len=1\n> ans A len=1"),
    (
        "reset outside the window",
        "> lan tcp l10:4000 w10:80 S\n> ans SA\n> ans A\n> wan tcp w10:80 l10:4000 R seq=1\n> wan tcp w10:80 l10:4000 R seq=500001\n> ans@2 A",
    ),
    (
        "reset with an ack of nothing",
        "> lan tcp l10:4000 w10:80 S\n> wan tcp w10:80 l10:4000 RA seq=0 ack=1\n> wan tcp w10:80 l10:4000 RA seq=0 ack=1001",
    ),
    (
        "sack",
        "> lan tcp l10:4000 w10:80 S sackok\n> ans SA sackok\n> ans A\n> ans A len=100\n> ans A sack=500101-500201\n> ans A",
    ),
    (
        "the same segment over and over",
        "> lan tcp l10:4000 w10:80 S\n> ans SA\n> ans A\n> ans A len=9\n> again\n> again\n> again\n> again\n> again",
    ),
    (
        "data not acknowledged",
        "> lan tcp l10:4000 w10:80 S\n> ans SA\n> ans A\n> ans@1 A len=100\n> ans@1 A dseq=100 len=100",
    ),
    (
        "flags that go together nowhere",
        "> lan tcp l10:1 w10:80 SF\n> lan tcp l10:2 w10:80 FSRPAU\n> lan tcp l10:3 w10:80\n> lan tcp l10:4 w10:80 SR\n> lan tcp l10:5 w10:80 PU\n> lan tcp l10:6 w10:80 F\n> lan tcp l10:7 w10:80 SU\n> lan tcp l10:8 w10:80 SEC\n> lan tcp l10:9 w10:80 P",
    ),
    (
        "headers that lie",
        "> lan tcp l10:1 w10:80 S doff=4\n> lan tcp l10:2 w10:80 S doff=15\n> lan tcp l10:3 w10:80 S sum=bad\n> lan proto l10 w10 p=6 len=19\n> lan tcp l10:4 w10:80 S mss=1460 sum=0",
    ),
    ("port zero", "> lan tcp l10:0 w10:80 S\n> lan tcp l10:5 w10:0 S\n> ans SA"),
    ("ecn setup", "> lan tcp l10:4000 w10:80 SEC\n> ans SAE\n> ans A"),
    ("answered from elsewhere", "> lan tcp l10:4000 w10:80 S\n> ans SA by=w11\n> ans SA sport=81"),
];

const SCTP: &[(&str, &str)] = &[
    (
        "from first to last",
        "> lan sctp l10:4000 w10:80 chunk=INIT itag=0x1111
         > ans chunk=INIT_ACK tag=0x1111 itag=0x2222
         > ans chunk=COOKIE_ECHO tag=0x2222
         > ans chunk=COOKIE_ACK tag=0x1111
         > ans chunk=DATA tag=0x2222
         > ans chunk=SACK tag=0x1111
         > ans chunk=SHUTDOWN tag=0x2222
         > ans chunk=SHUTDOWN_ACK tag=0x1111",
    ),
    (
        "wrong tags",
        "> lan sctp l10:4000 w10:80 chunk=INIT itag=0x1111\n> ans chunk=INIT_ACK tag=0x9999 itag=0x2222\n> wan sctp w10:80 l10:4000 chunk=INIT_ACK tag=0x1111 itag=0x2222\n> ans chunk=COOKIE_ECHO tag=7",
    ),
    ("init with a tag", "> lan sctp l10:4000 w10:80 chunk=INIT tag=5"),
    ("aborted", "> lan sctp l10:4000 w10:80 chunk=INIT itag=0x1111\n> ans chunk=ABORT tag=0x1111\n> again@0"),
    (
        "begun by data",
        "> lan sctp l10:4000 w10:80 chunk=DATA tag=7\n> ans chunk=SACK tag=8\n> ans chunk=DATA tag=7",
    ),
    (
        "begun by a heartbeat",
        "> lan sctp l10:4000 w10:80 chunk=HEARTBEAT tag=7\n> ans chunk=HEARTBEAT_ACK tag=8\n> ans chunk=DATA tag=7",
    ),
    (
        "begun by anything",
        "> lan sctp l10:1 w10:80 chunk=INIT_ACK tag=1\n> lan sctp l10:2 w10:80 chunk=COOKIE_ECHO tag=1\n> lan sctp l10:3 w10:80 chunk=ABORT tag=1\n> lan sctp l10:4 w10:80 chunk=SHUTDOWN tag=1\n> lan sctp l10:5 w10:80 chunk=SHUTDOWN_ACK tag=1\n> lan sctp l10:6 w10:80 chunk=ERROR tag=1\n> lan sctp l10:7 w10:80 chunk=COOKIE_ACK tag=1\n> lan sctp l10:8 w10:80 chunk=HEARTBEAT_ACK tag=1",
    ),
    (
        "wrong sums and cut headers",
        "> lan sctp l10:4000 w10:80 chunk=INIT sum=bad\n> lan proto l10 w10 p=132 len=8\n> lan proto l10 w10 p=132 len=12\n> lan proto l10 w10 p=132 len=14",
    ),
    (
        "init again",
        "> lan sctp l10:4000 w10:80 chunk=INIT itag=0x1111\n> lan sctp l10:4000 w10:80 chunk=INIT itag=0x3333\n> ans chunk=INIT_ACK tag=0x3333 itag=0x2222\n> ans chunk=INIT itag=0x4444",
    ),
];

const OTHERS: &[(&str, &str)] = &[
    ("udp asked and answered", "> lan udp l10:4000 w10:5000\n> again\n> ans\n> again@0\n> ans"),
    (
        "udp headers that lie",
        "> lan udp l10:1 w10:2 sum=bad\n> lan udp l10:2 w10:2 sum=0\n> lan udp l10:3 w10:2 ulen=4\n> lan udp l10:4 w10:2 ulen=400\n> lan proto l10 w10 p=17 len=7\n> lan udp l10:5 w10:2 len=20 ulen=20",
    ),
    ("udp stream", "> lan udp l10:4000 w10:5000\n> ans\n> wait 2100\n> again@0\n> ans"),
    ("udplite with no right sum", "> lan udplite l10:1 w10:2 sum=bad\n> lan udplite l10:2 w10:2 sum=0"),
    (
        "gre",
        "> lan gre l10 w10\n> ans\n> lan gre l10 w11 call=7\n> ans\n> wan gre w12 l10 call=9\n> lan proto l10 w13 p=47 len=2\n> lan proto l10 w13 p=47 len=8",
    ),
    (
        "unknown protocols",
        "> lan proto l10 w10 p=99\n> ans\n> lan proto l10 w10 p=98\n> lan proto l10 w10 p=50 len=20\n> lan proto l10 w10 p=2 len=20\n> lan proto l10 w10 p=4 len=20",
    ),
    (
        "nobody's answers",
        "> wan udp w10:5000 l10:4000\n> wan tcp w10:80 l10:4000 SA\n> wan reply w10 l10 id=3\n> wan icmp w10 l10 14/0 id=3",
    ),
];

fn icmp(l: &mut List) {
    l.v4(
        "icmp queries",
        &format!(
            "{COUNT}
            > lan echo l10 w10 id=1 => wan echo request
            > ans => lan echo reply
            > ans@0
            > again@0
            > lan icmp l10 w10 13/0 id=1
            > ans
            > lan icmp l10 w10 15/0 id=1
            > ans
            > lan icmp l10 w10 17/0 id=1
            > ans
            > lan icmp l10 w10 8/3 id=5
            > ans
            > lan icmp l10 w10 9/0
            > lan icmp l10 w10 10/0
            > lan icmp l10 w10 42/0
            > lan icmp l10 w10 19/0
            > lan icmp l10 w10 0/0 id=9
            > lan echo l10 w10 id=4 sum=bad
            > lan proto l10 w10 p=1 len=6"
        ),
    );
    l.v6(
        "icmp queries",
        &format!(
            "{COUNT}
            > lan echo L10 W10 id=1 => wan echo request
            > ans => lan echo reply
            > ans@0
            > again@0
            > lan icmp L10 W10 139/0 id=1
            > ans
            > lan icmp L10 W10 140/0 id=1
            > lan icmp L10 W10 128/3 id=5
            > lan icmp L10 W10 130/0
            > lan icmp L10 W10 131/0
            > lan icmp L10 W10 133/0
            > lan icmp L10 W10 135/0
            > lan icmp L10 W10 137/0
            > lan icmp L10 W10 143/0
            > lan icmp L10 W10 144/0
            > lan icmp L10 W10 200/0
            > lan icmp L10 W10 129/0 id=9
            > lan echo L10 W10 id=4 sum=bad
            > lan proto L10 W10 p=58 len=3"
        ),
    );
    for (family, kinds) in [
        (Family::V4, "3/0 3/1 3/2 3/3 3/4 3/13 3/200 4/0 5/0 5/1 11/0 11/1 12/0 12/1"),
        (Family::V6, "1/0 1/1 1/4 1/9 2/0 3/0 3/1 4/0 4/1 4/2 100/0 127/0 5/0"),
    ] {
        for (flow, first) in [
            ("udp", "lan udp l10:4000 w10:5000"),
            ("tcp", "lan tcp l10:4000 w10:80 S"),
            ("echo", "lan echo l10 w10 id=7"),
            ("sctp", "lan sctp l10:4000 w10:80 chunk=INIT"),
            ("gre", "lan gre l10 w10"),
            ("unknown", "lan proto l10 w10 p=99"),
        ] {
            let errors: String = kinds.split(' ').map(|k| format!("> err@0 {k} mtu=1300\n")).collect();
            l.add(
                family,
                &format!("icmp errors about {flow}"),
                &format!(
                    "{COUNT}
                    > {first}
                    {errors}
                    > err@0 kind=port by=w99
                    > err@0 kind=port by=x9
                    > err@0 kind=port quote=20
                    > err@0 kind=port quote=28
                    > err@0 kind=port quote=47
                    > err@0 kind=port quote=48
                    > err@0 kind=port quote=24
                    > err@0 kind=port quote=44
                    > err@0 kind=port sum=bad
                    > err@0 kind=port flip=16
                    > err@0 kind=port flip=28
                    > err@0 kind=port flip=0
                    > err@0 kind=port at=dmz
                    > ans@0 SA tag=0xb0b0 chunk=INIT_ACK
                    > err kind=port
                    > err kind=time by=l99"
                ),
            );
        }
        l.add(
            family,
            "icmp errors about nothing",
            &format!(
                "{COUNT}
                > lan icmp l10 w10 {} len=60
                > lan udp l10:4000 w10:5000 => wan udp
                > err kind=port => lan error port
                > err kind=port
                > err@1 kind=time by=l99",
                if family == Family::V4 { "3/3" } else { "1/4" }
            ),
        );
    }
}
