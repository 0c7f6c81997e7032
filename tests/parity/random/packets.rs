//! Scripts by chance: who says what, and who answers.

use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::Union;

use crate::family::Family;

/// Ten to forty lines.
pub(super) fn script(family: Family) -> BoxedStrategy<Vec<String>> {
    prop::collection::vec(line(family), 10..=40).boxed()
}

fn line(family: Family) -> BoxedStrategy<String> {
    Union::new_weighted(vec![(9, fresh(family)), (9, answer()), (3, error(family)), (1, again())]).boxed()
}

fn words(all: &[&str]) -> BoxedStrategy<String> {
    select(all.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>()).boxed()
}

/// Mostly nothing, now and then one of these.
fn rarely(percent: u32, all: &[&str]) -> BoxedStrategy<String> {
    prop_oneof![100 - percent => Just(String::new()), percent => words(all)].boxed()
}

/// A packet that nobody asked for.
fn fresh(family: Family) -> BoxedStrategy<String> {
    let ends = prop_oneof![
        10 => (words(&["lan l10", "lan l10", "lan l11", "lan x7", "lan w10"]), words(&["w10", "w10", "w11", "d10", "w1", "l1", "l11", "x7", "w50"])),
        4 => (words(&["wan w10", "wan w11", "wan x7"]), words(&["l10", "w1", "w1", "w50", "d10", "l1", "l20"])),
        2 => (words(&["dmz d10", "dmz d11"]), words(&["w10", "l10", "d1", "w1"])),
    ];
    let ports =
        (words(&["4000", "4000", "4001", "500", "1023"]), words(&["80", "443", "5000", "53", "7", "8080"]));
    let options = (
        rarely(12, &["ttl=1", "ttl=2", "ttl=255"]),
        rarely(15, &["tos=0x10", "tos=0x03", "tos=0xb9"]),
        rarely(12, &["df"]),
        rarely(5, &["sum=bad", "sum=bad", "sum=0"]),
        // Options of IPv4 are left out: docs/limits.md.
        rarely(if family == Family::V6 { 8 } else { 0 }, &["ext=hbh", "ext=atomic"]),
        rarely(3, &["to=all", "to=02:00:00:00:99:99"]),
    )
        .prop_map(|(a, b, c, d, e, f)| [a, b, c, d, e, f].join(" "));
    (ends, ports, body(), options)
        .prop_map(move |((from, to), (sport, dport), body, options)| {
            let (port, src) = from.split_once(' ').unwrap_or_default();
            let (kind, rest) = body.split_once(' ').unwrap_or((&body, ""));
            // Whoever speaks from the wan may also be the server's end.
            let (src, dst) = (family.station(src), family.station(&to));
            // The resets of the local stack have no TOS, which rules would see: docs/limits.md.
            let options = match kind {
                "tcp" => options.split(' ').filter(|o| !o.starts_with("tos=")).collect::<Vec<_>>().join(" "),
                _ => options,
            };
            let line = match kind {
                "udp" | "tcp" | "sctp" | "udplite" => {
                    format!("{port} {kind} {src}:{sport} {dst}:{dport} {rest} {options}")
                }
                _ => format!("{port} {kind} {src} {dst} {rest} {options}"),
            };
            line.split_whitespace().collect::<Vec<_>>().join(" ")
        })
        .boxed()
}

fn body() -> BoxedStrategy<String> {
    let length = || words(&["", "", "len=0", "len=1", "len=100", "len=1400", "len=1460"]);
    let join = |(a, b, c): (String, String, String)| format!("{a} {b} {c}");
    Union::new_weighted(vec![
        (
            8,
            (
                Just("udp".to_owned()),
                length(),
                rarely(
                    12,
                    &[
                        "len=2000 cut=512",
                        "len=1600 cut=1024 rev",
                        "len=900 cut=400 skip=0",
                        "cut=8",
                        "len=900 cut=400 dup=0",
                    ],
                ),
            )
                .prop_map(join)
                .boxed(),
        ),
        (
            10,
            (
                (Just("tcp".to_owned()), flags(), tcp_options()).prop_map(join),
                rarely(10, &["len=1", "len=100", "len=1400"]),
                rarely(12, &["seq=5000", "ack=7777", "win=0", "win=100", "seq=4294967295"]),
            )
                .prop_map(join)
                .boxed(),
        ),
        (
            4,
            (
                Just("echo".to_owned()),
                words(&["", "id=2", "id=3 seq=9"]),
                rarely(10, &["len=1400", "len=2000 cut=1024"]),
            )
                .prop_map(join)
                .boxed(),
        ),
        (
            1,
            (
                Just("icmp".to_owned()),
                words(&["13/0", "15/0", "17/0", "0/0", "14/0", "42/0", "129/0", "139/0"]),
                words(&["", "id=2"]),
            )
                .prop_map(join)
                .boxed(),
        ),
        (2, (Just("sctp".to_owned()), chunk(), Just(String::new())).prop_map(join).boxed()),
        (1, words(&["gre", "gre call=7", "gre call=8"])),
        (1, words(&["proto", "proto p=99 len=100", "proto p=50 len=40", "proto p=94"])),
    ])
    .boxed()
}

fn flags() -> BoxedStrategy<String> {
    Union::new_weighted(vec![
        (8, words(&["S"])),
        (4, words(&["A", "PA", "SA"])),
        (2, words(&["FA", "R", "RA"])),
        (1, words(&["", "FSRPAU", "SEC", "SF", "F", "SR", "PAU", "FPU", "SAEC"])),
    ])
    .boxed()
}

fn tcp_options() -> BoxedStrategy<String> {
    rarely(
        50,
        &[
            "mss=1460",
            "mss=1460 ws=7",
            "mss=536",
            "mss=1460 ws=2 sackok",
            "ws=14",
            "mss=9000",
            "opt=8",
            "doff=4",
            "doff=15",
        ],
    )
}

fn chunk() -> BoxedStrategy<String> {
    words(&[
        "chunk=INIT",
        "chunk=INIT",
        "chunk=INIT",
        "chunk=INIT_ACK tag=0xb0b0",
        "chunk=DATA tag=0xb0b0",
        "chunk=HEARTBEAT tag=0xb0b0",
        "chunk=ABORT tag=0xb0b0",
        "chunk=SHUTDOWN tag=0xb0b0",
        "chunk=DATA tag=1",
        "chunk=INIT sum=bad",
    ])
}

/// What the usual answers of every protocol need; whoever answers takes what is his.
fn answer() -> BoxedStrategy<String> {
    let at = prop_oneof![3 => Just(String::new()), 2 => (0u8..40).prop_map(|n| format!("@{n}")), 2 => (1u8..6).prop_map(|n| format!("@-{n}"))];
    let tcp = Union::new_weighted(vec![
        (6, words(&["SA", "A", "PA"])),
        (2, words(&["FA", "A", "RA", "R"])),
        (1, words(&["S", "SFA", "", "SR", "PAU"])),
    ]);
    let sctp = words(&[
        "tag=0xb0b0 chunk=INIT_ACK",
        "tag=0xb0b0 chunk=COOKIE_ECHO",
        "tag=0xb0b0 chunk=COOKIE_ACK",
        "tag=0xb0b0 chunk=DATA",
        "tag=0xb0b0 chunk=SHUTDOWN",
        "tag=0xb0b0 chunk=SHUTDOWN_ACK",
        "tag=0xb0b0 chunk=HEARTBEAT_ACK",
        "tag=5 chunk=ABORT",
    ]);
    let more = (
        rarely(30, &["len=0", "len=1", "len=100", "len=1400", "len=2000 cut=1024"]),
        rarely(
            15,
            &[
                "dseq=1",
                "dseq=100000",
                "dack=1",
                "dack=100000",
                "dseq=4294967286",
                "dack=4294867296",
                "win=0",
                "win=10",
            ],
        ),
        rarely(15, &["mss=1460 ws=7", "mss=1460", "sackok mss=1400", "sack=1001-1002"]),
        rarely(8, &["ttl=1", "ttl=2", "sum=bad", "df"]),
        rarely(5, &["sport=53", "sport=4000", "at=lan", "at=dmz", "by=w11"]),
    )
        .prop_map(|(a, b, c, d, e)| [a, b, c, d, e].join(" "));
    (at, tcp, sctp, more)
        .prop_map(|(at, tcp, sctp, more)| {
            let line = format!("ans{at} {tcp} {sctp} {more}");
            line.split_whitespace().collect::<Vec<_>>().join(" ")
        })
        .boxed()
}

fn error(family: Family) -> BoxedStrategy<String> {
    let at = prop_oneof![2 => Just(String::new()), 1 => (0u8..40).prop_map(|n| format!("@{n}"))];
    let kinds = match family {
        Family::V4 => {
            words(&["3/3", "3/3", "3/1", "3/4 mtu=1500", "11/0", "11/1", "12/0", "5/1", "4/0", "3/13"])
        }
        Family::V6 => {
            words(&["1/4", "1/4", "1/0", "2/0 mtu=1500", "3/0", "3/1", "4/1", "1/1", "100/0", "127/0"])
        }
    };
    let more = (
        rarely(25, &["quote=28", "quote=48", "quote=20", "quote=36", "quote=88"]),
        rarely(25, &["by=w99", "by=w11", "by=x9", "by=l99"]),
        rarely(8, &["flip=13", "flip=14"]),
        rarely(8, &["sum=bad", "ttl=1", "at=lan", "at=wan"]),
    )
        .prop_map(|(a, b, c, d)| [a, b, c, d].join(" "));
    (at, kinds, more)
        .prop_map(move |(at, kind, more)| {
            let more = more.split_whitespace().map(|w| match w.strip_prefix("by=") {
                Some(name) => format!("by={}", family.station(name)),
                None => w.to_owned(),
            });
            format!("err{at} {kind} {}", more.collect::<Vec<_>>().join(" ")).trim_end().to_owned()
        })
        .boxed()
}

fn again() -> BoxedStrategy<String> {
    prop_oneof![Just("again".to_owned()), (0u8..40).prop_map(|n| format!("again@{n}"))].boxed()
}
