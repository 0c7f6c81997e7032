//! The record of a packet's way: which packets are followed, and what is said of them, for each way to end.

use std::time::Duration;

use sekisho::base::counters::Tally;
use sekisho::base::{DropReason, Hook};
use sekisho::path::trace::{End, Point, Record, Step, Wanted, Watch};
use sekisho::path::{At, FlowCacheConfig, Function, Hooks, Verdict, priority};
use sekisho::wire::tcp::{ACK, RST, SYN};

use crate::basics::udp4;
use crate::make::*;
use crate::net::*;

pub(crate) fn watch(b: &Bench, filter: &str) -> Watch {
    let filter = filter.parse().expect("a good filter");
    b.router.live().tracer.watch(Wanted { filter, ..Wanted::default() }).expect("room")
}

pub(crate) fn all(watch: &Watch) -> Vec<Record> {
    watch.take(usize::MAX, usize::MAX)
}

/// The only record there is.
#[track_caller]
pub(crate) fn one(watch: &Watch) -> Record {
    let mut records = all(watch);
    assert_eq!(records.len(), 1, "{}", text(&records));
    records.remove(0)
}

pub(crate) fn text(records: &[Record]) -> String {
    records.iter().map(|r| format!("{r}\n")).collect()
}

pub(crate) fn labels(r: &Record) -> Vec<&str> {
    r.steps.iter().map(Step::label).collect()
}

/// What is said behind a label.
#[track_caller]
pub(crate) fn said(r: &Record, label: &str) -> String {
    let step = r.steps.iter().find(|s| s.label() == label);
    step.unwrap_or_else(|| panic!("no {label}: {r}")).text().to_string()
}

#[test]
fn every_stage_in_order() {
    let mut b = Bench::acquainted();
    let w = watch(&b, "");
    b.client_sends(&udp4(64, b"x"));
    let r = one(&w);
    assert_eq!(
        labels(&r),
        ["received", "PREROUTING", "route", "ttl", "FORWARD", "POSTROUTING", "neighbor", "sent"],
        "{r}"
    );
    assert_eq!((r.end, r.link.as_deref(), r.cause, r.worker), (End::Sent, Some("lan"), None, 0));
    assert_eq!(said(&r, "route"), "10.2.0.0/24 dev wan, table main");
    assert_eq!(said(&r, "ttl"), "64 → 63");
    assert_eq!(said(&r, "FORWARD"), "in lan, out wan");
    assert_eq!(said(&r, "neighbor"), format!("{SERVER} dev wan is at {SERVER_MAC}, PERMANENT"));
    assert!(said(&r, "sent").starts_with(&format!("by wan, 43 bytes to {SERVER_MAC}: IP 10.1.0.2.")), "{r}");
    assert!(r.packet.starts_with("IP 10.1.0.2."), "{r}");
    let block = r.to_string();
    assert_eq!(block.lines().count(), 1 + r.steps.len(), "{block}");
    // The second goes by what the worker remembers.
    b.client_sends(&udp4(64, b"x"));
    assert!(said(&one(&w), "neighbor").ends_with("remembered"));
}

#[test]
fn a_drop_says_why_and_what_it_caused_is_followed_too() {
    let mut b = Bench::acquainted();
    let w = watch(&b, "udp");
    b.client_sends(&udp4(1, b"x"));
    let records = all(&w);
    let [lost, error] = &records[..] else { panic!("{}", text(&records)) };
    assert_eq!((lost.end, lost.dropped()), (End::Dropped, Some("ttl_exceeded")));
    assert_eq!(labels(lost)[2..], ["route", "caused", "dropped"], "{lost}");
    assert_eq!((error.cause, error.link.as_deref(), error.end), (Some(lost.id), None, End::Sent));
    let caused = lost.steps.iter().any(|s| matches!(s, Step::Caused { id, packet } if *id == error.id && packet.contains("ICMP time exceeded")));
    assert!(caused, "{lost}");
    assert!(said(error, "sent").contains("by lan"), "{error}");
    assert!(labels(error).contains(&"OUTPUT"), "{error}");
}

#[test]
fn rules_are_named_with_their_words_and_so_is_the_policy() {
    let rules = "*filter\n:INPUT ACCEPT\n:FORWARD DROP\n:OUTPUT ACCEPT\n:guests -\n\
        -A FORWARD -p udp -m udp --dport 9 -m comment --comment \"not -j ACCEPT\" -j guests\n\
        -A FORWARD -p udp -m udp --dport 10 -j ACCEPT\n\
        -A guests -i lan\n-A guests -i wan -j ACCEPT\n-A guests -j REJECT --reject-with icmp-admin-prohibited\nCOMMIT\n";
    let mut b = Plan::default().rules(rules, "").build().acquaint();
    let w = watch(&b, "udp");
    b.client_sends(&udp(CLIENT, SERVER, (1, 9), b"x"));
    let records = all(&w);
    assert_eq!(records.len(), 2, "{}", text(&records));
    let told: Vec<_> = records[0]
        .steps
        .iter()
        .filter_map(|s| match s {
            Step::Rule { command, hook, table, chain, number, rule, target } => {
                assert_eq!(
                    (command.as_str(), hook.as_str(), table.as_str()),
                    ("iptables", "FORWARD", "filter")
                );
                Some((chain.as_str(), *number, rule.as_str(), target.as_str()))
            }
            _ => None,
        })
        .collect();
    assert_eq!(
        told,
        [
            (
                "FORWARD",
                1,
                "-A FORWARD -p udp -m udp --dport 9 -m comment --comment \"not -j ACCEPT\" -j guests",
                "guests"
            ),
            ("guests", 1, "-A guests -i lan", ""),
            ("guests", 3, "-A guests -j REJECT --reject-with icmp-admin-prohibited", "REJECT"),
        ]
    );
    assert_eq!(records[0].dropped(), Some("rejected"));
    assert_eq!(records[1].cause, Some(records[0].id));
    b.client_sends(&udp(CLIENT, SERVER, (1, 11), b"x"));
    let r = one(&w);
    assert_eq!(said(&r, "filter"), "iptables FORWARD policy: DROP");
    assert_eq!(r.dropped(), Some("filtered"));
    b.client_sends(&udp(CLIENT, SERVER, (1, 10), b"x"));
    assert_eq!(
        said(&one(&w), "filter"),
        "iptables FORWARD rule 2: -A FORWARD -p udp -m udp --dport 10 -j ACCEPT"
    );
}

pub(crate) const NAT: &str = "*nat\n:PREROUTING ACCEPT\n:INPUT ACCEPT\n:OUTPUT ACCEPT\n:POSTROUTING ACCEPT\n\
    -A PREROUTING -i wan -p tcp -m tcp --dport 8080 -j DNAT --to-destination 10.1.0.2:80\n\
    -A POSTROUTING -o wan -j MASQUERADE\nCOMMIT\n";

#[test]
fn flows_and_translations_both_ways() {
    let mut b = Plan::default().rules(NAT, "").build().acquaint();
    let w = watch(&b, "");
    b.client_sends(&udp(CLIENT, SERVER, (4000, 53), b"x"));
    let r = one(&w);
    assert!(said(&r, "conntrack").starts_with("NEW, original: udp      17 "), "{r}");
    assert_eq!(said(&r, "masquerade"), "10.1.0.2:4000 > 10.2.0.2:53 → 10.2.0.1:4000 > 10.2.0.2:53");
    let flow = r.steps.iter().find_map(|s| match s {
        Step::Confirmed { flow, joined: false } => Some(*flow),
        _ => None,
    });
    let flow = flow.unwrap_or_else(|| panic!("it was entered: {r}"));
    b.server_sends(&udp(SERVER, WAN_ADDR, (53, 4000), b"y"));
    let r = one(&w);
    let known = format!("ESTABLISHED, reply, flow {flow}: udp      17 ");
    assert!(said(&r, "conntrack").starts_with(&known), "{r}");
    assert_eq!(said(&r, "nat"), "10.2.0.2:53 > 10.2.0.1:4000 → 10.2.0.2:53 > 10.1.0.2:4000");
    // By its number, and by either of its directions as it came or as it was translated.
    drop(w);
    for filter in [
        format!("flow {flow}"),
        "flow udp 10.1.0.2:4000 > 10.2.0.2:53".to_owned(),
        "flow udp 10.2.0.2:53 10.2.0.1:4000".to_owned(),
    ] {
        let w = watch(&b, &filter);
        b.client_sends(&udp(CLIENT, SERVER, (4000, 53), b"x"));
        b.server_sends(&udp(SERVER, WAN_ADDR, (53, 4000), b"y"));
        b.client_sends(&udp(CLIENT, SERVER, (4001, 53), b"x"));
        assert_eq!(all(&w).len(), 2, "{filter}");
    }
    let w = watch(&b, "tcp");
    b.server_sends(&tcp(SERVER, WAN_ADDR, (5000, 8080), SYN, b""));
    let r = one(&w);
    assert_eq!(said(&r, "dnat"), "10.2.0.2:5000 > 10.2.0.1:8080 → 10.2.0.2:5000 > 10.1.0.2:80");
    // An ICMP error about it.
    drop(w);
    let w = watch(&b, "icmp");
    let quoted = tcp(SERVER, CLIENT, (5000, 80), SYN, b"");
    b.client_sends(&icmp4(CLIENT, SERVER, (3, 1), 0, &quoted[..28]));
    let r = one(&w);
    assert!(said(&r, "conntrack").starts_with("RELATED, reply, flow "), "{r}");
    assert_eq!(
        said(&r, "nat"),
        "10.1.0.2 > 10.2.0.2 about 10.2.0.2:5000 > 10.1.0.2:80 → 10.2.0.1 > 10.2.0.2 about 10.2.0.2:5000 > 10.2.0.1:8080"
    );
}

#[test]
fn why_a_packet_is_invalid() {
    let mut b = Plan::default().rules(STATEFUL, STATEFUL).build().acquaint();
    let w = watch(&b, "state INVALID");
    let mut why = |l3: &[u8]| {
        b.client_sends(l3);
        let r = one(&w);
        said(&r, "conntrack")
    };
    let cases = [
        (tcp(CLIENT, SERVER, (1, 2), RST, b""), "INVALID: no flow is known, and a segment with these flags"),
        (tcp(CLIENT, SERVER, (1, 2), 0x3f, b""), "INVALID: no segment has the TCP flags 0x3f"),
        (ping_reply(), "INVALID: an answer that nobody asked for"),
        (
            icmp4(CLIENT, SERVER, (3, 1), 0, &udp(SERVER, CLIENT, (1, 2), b"")),
            "INVALID: an ICMP error about no flow",
        ),
        (icmp4(CLIENT, SERVER, (3, 1), 0, b"junk"), "INVALID: an ICMP error that quotes nothing"),
        (
            damaged(udp(CLIENT, SERVER, (1, 2), b"xx")),
            "INVALID: its header is malformed, or its checksum is wrong",
        ),
    ];
    for (l3, want) in cases {
        let said = why(&l3);
        assert!(said.starts_with(want), "{said}, not {want}");
    }
    // What does not fit the connection that is known.
    b.client_sends(&tcp(CLIENT, SERVER, (7, 80), SYN, b""));
    b.client_sends(&tcp(CLIENT, SERVER, (7, 80), ACK, b""));
    let records = all(&w);
    let said = said(records.last().expect("an ACK before the answer"), "conntrack");
    assert!(
        said.contains("no such segment can come from the original side of a connection in SYN_SENT"),
        "{said}"
    );
}

fn ping_reply() -> Vec<u8> {
    icmp4(CLIENT, SERVER, (0, 0), 7 << 16 | 9, b"x")
}

fn damaged(mut l3: Vec<u8>) -> Vec<u8> {
    let last = l3.len() - 1;
    l3[last] ^= 1;
    l3
}

pub(crate) trait IntoAddr {
    fn into_addr(self) -> std::net::IpAddr;
}

impl IntoAddr for [u8; 4] {
    fn into_addr(self) -> std::net::IpAddr {
        self.into()
    }
}

#[test]
fn to_the_router_and_from_it() {
    let mut b = Bench::acquainted();
    let w = watch(&b, "");
    b.client_sends(&ping(CLIENT, LAN_ADDR, b"x"));
    let records = all(&w);
    let [asked, answer] = &records[..] else { panic!("{}", text(&records)) };
    assert_eq!(said(asked, "route"), "local 10.1.0.1/32 dev lan, table local");
    assert_eq!((asked.end, said(asked, "delivered").as_str()), (End::Delivered, "to this router"));
    assert_eq!((answer.cause, answer.end), (Some(asked.id), End::Sent));
    b.client_sends(&udp(CLIENT, LAN_ADDR, (1, 7), b"x"));
    assert_eq!(said(&one(&w), "delivered"), "to the local stack");
    b.client_sends(&udp(CLIENT, [10, 9, 9, 9].into_addr(), (1, 7), b"x"));
    assert!(said(&one(&w), "route").starts_with("default via 10.2.0.2 dev wan"));
    // A frame that is no packet, and one that is for another station.
    b.receive(LAN, &[0xff; 9]);
    assert_eq!(one(&w).dropped(), Some(DropReason::FrameTooShort.name()));
    b.receive(LAN, &frame(SERVER_MAC, CLIENT_MAC, &udp4(64, b"x")));
    assert_eq!(one(&w).dropped(), Some(DropReason::OtherHost.name()));
    b.balanced();
}

#[test]
fn registered_functions_and_queues_are_told() {
    let call = |verdict| -> sekisho::path::Call { std::sync::Arc::new(move |_: &At, _: &mut _| verdict) };
    let function = |hook, verdict| Function {
        name: "gate".into(),
        hook,
        priority: priority::FILTER + 1,
        call: call(verdict),
    };
    let b = |hooks: Hooks| {
        let plan = Plan::default();
        let mut snap = plan.snapshot();
        snap.hooks = hooks;
        let b = plan.build().acquaint();
        b.router.replace(snap);
        b
    };
    let mut stolen = b(Hooks::new().with(function(Hook::Forward, Verdict::Stolen)));
    let w = watch(&stolen, "");
    stolen.client_sends(&udp4(64, b"x"));
    let r = one(&w);
    assert_eq!((r.end, said(&r, "function").as_str()), (End::Stolen, "gate at 1: stolen"));

    let mut queued = b(Hooks::new().with(function(Hook::Forward, Verdict::Queue(5))));
    let queue = queued.router.queue(5, 9);
    let w = watch(&queued, "");
    queued.client_sends(&udp4(64, b"x"));
    let r = one(&w);
    assert_eq!((r.end, said(&r, "waits").as_str()), (End::Parked, "in queue 5, for a program's word"));
    let waiting = queue.try_recv().expect("it is there");
    queued.worker.reinject(waiting, Verdict::Accept, queued.now);
    queued.collect();
    let goes = one(&w);
    assert_eq!((goes.id, goes.end), (r.id, End::Sent));
}

#[test]
fn only_what_was_asked_for() {
    let packets = [
        udp(CLIENT, SERVER, (1, 2), b"x"),
        udp(CLIENT6, SERVER6, (1, 2), b"x"),
        ping(CLIENT, LAN_ADDR, b"x"),
    ];
    let n = |filter: &str| {
        let mut b = Bench::acquainted();
        let w = watch(&b, filter);
        packets.iter().for_each(|p| b.client_sends(p));
        all(&w).iter().filter(|r| r.cause.is_none()).count()
    };
    assert_eq!(n(""), 3);
    assert_eq!(n("src host 10.1.0.2"), 2);
    assert_eq!(n("src 10.2.0.2"), 0);
    assert_eq!(n("dst fd02::2"), 1);
    assert_eq!(n("icmp"), 1);
    assert_eq!(n("in wan"), 0);
    assert_eq!(n("in lan"), 3);
    assert_eq!(n("out wan"), 2);
    assert_eq!(n("not out wan"), 1);
    assert_eq!(n("drop"), 0);
    assert_eq!(n("src 10.1.0.2 and udp"), 1);
    assert_eq!(n("port 2 and (ip6 or tcp)"), 1);
    assert_eq!(n("net 10.1.0.0/16 and not icmp"), 1);
}

#[test]
fn as_many_as_were_asked_for_and_no_more() {
    let mut b = Bench::acquainted();
    let wanted = Wanted { count: Some(3), ..Wanted::default() };
    let w = b.router.live().tracer.watch(wanted).unwrap();
    for _ in 0..10 {
        b.client_sends(&udp4(64, b"x"));
    }
    assert!(w.is_over());
    assert_eq!(all(&w).len(), 3);
    // Of those that only their end tells, as many ends.
    let wanted = Wanted { count: Some(2), filter: "drop".parse().unwrap(), ..Wanted::default() };
    let w = b.router.live().tracer.watch(wanted).unwrap();
    for ttl in [64, 64, 1, 64, 1, 1] {
        b.client_sends(&udp4(ttl, b"x"));
    }
    let roots = all(&w).iter().filter(|r| r.cause.is_none()).count();
    assert_eq!((roots, w.is_over()), (2, true));
}

#[test]
fn more_than_may_be_followed_is_counted_and_goes_its_way() {
    let mut b = Bench::acquainted();
    let rate = |filter: &str, rate| Wanted { filter: filter.parse().unwrap(), rate, ..Wanted::default() };
    let w = b.router.live().tracer.watch(rate("udp", 4)).unwrap();
    let drops = b.router.live().tracer.watch(rate("drop", 2)).unwrap();
    let maybe = b.router.live().tracer.watch(rate("out wan", 1)).unwrap();
    for _ in 0..10 {
        b.client_sends(&udp4(64, b"x"));
    }
    b.client_sends(&udp4(1, b"x"));
    assert_eq!(b.sent(WAN).len(), 10);
    assert_eq!((all(&w).len(), w.missed().unfollowed), (4, 7));
    assert_eq!(w.missed().all(), 0, "it is told once");
    // The error that the last of them caused would have been one.
    assert_eq!((all(&maybe).len(), maybe.missed().unjudged), (1, 11));
    // The drop came when no more were followed: its end is told all the same.
    let r = one(&drops);
    assert_eq!((r.partial, r.dropped(), labels(&r)), (true, Some("ttl_exceeded"), vec!["dropped"]));
    // A second later there is room again.
    b.pass(Duration::from_secs(1));
    b.client_sends(&udp4(64, b"x"));
    assert_eq!(all(&w).len(), 1);
    // Nobody takes them: it stays bounded, and what is lost is counted.
    drop((w, drops, maybe));
    let w = b.router.live().tracer.watch(rate("", u32::MAX)).unwrap();
    for _ in 0..5_000 {
        b.client_sends(&udp4(64, b"x"));
    }
    assert_eq!((all(&w).len(), w.missed().unfollowed), (4_096, 904));
    b.balanced();
}

#[test]
fn what_is_replayed_is_followed_truthfully_and_the_rest_goes_on_being_replayed() {
    let mut plan = Plan::default();
    plan.config.flow_cache = FlowCacheConfig { eager: true, ..FlowCacheConfig::default() };
    let mut b = plan.rules(STATEFUL, "").build().acquaint();
    let (mine, other) = (udp(CLIENT, SERVER, (1, 2), b"x"), udp(CLIENT, SERVER, (3, 4), b"x"));
    for p in [&mine, &other] {
        (0..3).for_each(|_| b.client_sends(p));
    }
    let hits = b.tally(Tally::FlowCacheHits);
    let w = watch(&b, "port 2");
    b.client_sends(&mine);
    b.client_sends(&other);
    assert_eq!(b.tally(Tally::FlowCacheHits), hits + 1, "only the one that is not followed");
    let r = one(&w);
    assert_eq!(r.cache.as_deref(), Some("hit"), "{r}");
    assert!(r.to_string().contains("the flow cache would have replayed it"), "{r}");
    assert_eq!(
        said(&r, "filter"),
        "iptables FORWARD rule 2: -A FORWARD -i lan -m conntrack --ctstate NEW -j ACCEPT"
    );
    b.client_sends(&udp(CLIENT, SERVER, (5, 2), b"x"));
    assert_eq!(one(&w).cache.as_deref(), Some("unknown"));
    // A filter for drops does not take what is replayed off its way.
    drop(w);
    let w = watch(&b, "drop");
    let hits = b.tally(Tally::FlowCacheHits);
    (0..5).for_each(|_| b.client_sends(&mine));
    assert_eq!(b.tally(Tally::FlowCacheHits), hits + 5);
    assert!(all(&w).is_empty());
    drop(w);
    // And without anybody who watches all is as before.
    b.client_sends(&mine);
    assert_eq!(b.tally(Tally::FlowCacheHits), hits + 6);
}

#[test]
fn several_watch_at_once_and_each_gets_its_own() {
    let mut b = Bench::acquainted();
    let (a, c) = (watch(&b, "port 2"), watch(&b, "udp"));
    b.client_sends(&udp(CLIENT, SERVER, (1, 2), b"x"));
    b.client_sends(&udp(CLIENT, SERVER, (1, 3), b"x"));
    let (mine, both) = (all(&a), all(&c));
    assert_eq!((mine.len(), both.len()), (1, 2));
    assert_eq!(mine[0], both[0]);
    let many: Vec<_> = (0..14).map(|_| watch(&b, "tcp")).collect();
    let refused = b.router.live().tracer.watch(Wanted::default()).unwrap_err();
    assert!(refused.to_string().contains("16"), "{refused}");
    drop(many);
    assert!(b.router.live().tracer.watch(Wanted::default()).is_ok());
}

#[test]
fn frames_as_they_were_at_each_point() {
    let mut b = Plan::default().rules(NAT, "").build().acquaint();
    let points = Point::ALL.into_iter().collect();
    let w = b.router.live().tracer.watch(Wanted { points, snaplen: 30, ..Wanted::default() }).unwrap();
    b.client_sends(&udp(CLIENT, SERVER, (4000, 53), &bytes(100)));
    let r = one(&w);
    let seen: Vec<_> =
        r.frames.iter().map(|f| (f.point, f.link.as_str(), f.ethernet, f.len, f.data.len())).collect();
    assert_eq!(
        seen,
        [
            (Point::Ingress, "lan", true, 142, 30),
            (Point::Prerouting, "lan", false, 128, 30),
            (Point::Forward, "lan", false, 128, 30),
            (Point::Postrouting, "lan", false, 128, 30),
            (Point::Egress, "wan", true, 142, 30),
        ]
    );
    // Before and after the translation.
    assert_eq!(&r.frames[3].data[12..16], CLIENT.octets());
    assert_eq!(&r.frames[4].data[26..30], WAN_ADDR.octets());
    b.client_sends(&ttl(udp(CLIENT, SERVER, (4000, 53), b"x"), 1));
    let r = all(&w).remove(0);
    assert_eq!(r.frames.last().map(|f| (f.point, f.ethernet)), Some((Point::Drop, true)), "{r}");
}
