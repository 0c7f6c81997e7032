//! Rules on a packet's way: the tables at their hooks, policies, REJECT, LOG, and what conntrack tells them.

use sekisho::base::DropReason;
use sekisho::base::counters::Tally;
use sekisho::path::Tracking;
use sekisho::path::trace::Wanted;
use sekisho::wire::tcp::{self, Tcp};
use sekisho::wire::{ipv4::Ipv4, proto};

use crate::make::*;
use crate::net::*;

#[test]
fn a_stateful_filter_lets_answers_in_and_strangers_not() {
    for (out, back, stranger) in [
        (
            udp(CLIENT, SERVER, (1000, 53), b"ask"),
            udp(SERVER, CLIENT, (53, 1000), b"answer"),
            udp(SERVER, CLIENT, (53, 1001), b"no"),
        ),
        (
            udp(CLIENT6, SERVER6, (1000, 53), b"ask"),
            udp(SERVER6, CLIENT6, (53, 1000), b"answer"),
            udp(SERVER6, CLIENT6, (54, 1000), b"no"),
        ),
    ] {
        let mut b = Plan::default().rules(STATEFUL, STATEFUL).build().acquaint();
        b.server_sends(&back);
        b.silent();
        b.client_sends(&out);
        assert_eq!(b.one(WAN).l3().len(), out.len());
        b.server_sends(&back);
        b.one(LAN);
        b.server_sends(&stranger);
        b.silent();
        assert_eq!(b.totals().drops(DropReason::Filtered), 2);
        assert_eq!(b.flows().len(), 1, "{:?}", b.flows());
        b.balanced();
    }
}

#[test]
fn rules_in_one_family_cost_the_other_nothing() {
    let mut b = Plan::default().rules(STATEFUL, "").build().acquaint();
    b.server_sends(&udp(SERVER6, CLIENT6, (1, 2), b"x"));
    b.one(LAN);
    assert!(b.flows().is_empty());
    b.server_sends(&udp(SERVER, CLIENT, (1, 2), b"x"));
    b.silent();
}

#[test]
fn rules_that_ask_no_flow_track_none_unless_told_to() {
    let rules = "*filter\n:INPUT ACCEPT\n:FORWARD ACCEPT\n:OUTPUT ACCEPT\n-A FORWARD -p udp --dport 7 -j DROP\nCOMMIT\n";
    let sends = |tracking| {
        let mut b = Plan::default().rules(rules, rules).tracking(tracking).build().acquaint();
        b.client_sends(&udp(CLIENT, SERVER, (1000, 7), b"x"));
        b.dropped(DropReason::Filtered);
        b.client_sends(&udp(CLIENT, SERVER, (1000, 8), b"x"));
        b.one(WAN);
        b.flows().len()
    };
    assert_eq!((sends(Tracking::Auto), sends(Tracking::On), sends(Tracking::Off)), (0, 1, 0));
}

fn refusing(with: &str) -> Bench {
    let v4 = format!("*filter\n:INPUT ACCEPT\n:FORWARD ACCEPT\n:OUTPUT ACCEPT\n-A FORWARD {with}\nCOMMIT\n");
    Plan::default().rules(&v4, "").build().acquaint()
}

#[test]
fn reject_says_what_the_rule_says() {
    for (word, code) in [
        ("net-unreachable", 0),
        ("host-unreachable", 1),
        ("proto-unreachable", 2),
        ("port-unreachable", 3),
        ("net-prohibited", 9),
        ("host-prohibited", 10),
        ("admin-prohibited", 13),
    ] {
        let mut b = refusing(&format!("-j REJECT --reject-with icmp-{word}"));
        b.client_sends(&udp(CLIENT, SERVER, (1000, 2000), b"x"));
        let told = b.error(LAN);
        assert_eq!(told.kind, (3, code), "{word}");
        b.silent();
        b.dropped(DropReason::Rejected);
    }
    // What was damaged on its way is not answered.
    let mut b = refusing("-j REJECT");
    let mut bad = udp(CLIENT, SERVER, (1000, 2000), b"x");
    *bad.last_mut().unwrap() ^= 1;
    b.client_sends(&bad);
    b.silent();
}

#[test]
fn a_reset_is_what_the_destination_would_say() {
    let mut b = refusing("-p tcp -j REJECT --reject-with tcp-reset");
    b.client_sends(&tcp(CLIENT, SERVER, (1000, 80), tcp::SYN, b""));
    let p = b.one(LAN);
    let ip = Ipv4::new(p.l3()).unwrap();
    assert_eq!((ip.src(), ip.dst(), ip.protocol()), (SERVER, CLIENT, proto::TCP));
    let l4 = &p.l3()[20..];
    assert!(right(p.l3()));
    let t = Tcp::new(l4).unwrap();
    assert_eq!((t.src_port(), t.dst_port(), t.flags()), (80, 1000, tcp::RST | tcp::ACK));
    // Never a reset for a reset.
    b.client_sends(&tcp(CLIENT, SERVER, (1000, 80), tcp::RST, b""));
    b.silent();
}

#[test]
fn marks_tos_and_ttl_are_changed_where_the_rule_says() {
    let rules =
        "*mangle\n:PREROUTING ACCEPT\n:INPUT ACCEPT\n:FORWARD ACCEPT\n:OUTPUT ACCEPT\n:POSTROUTING ACCEPT
-A PREROUTING -p udp -j MARK --set-xmark 0x7/0xffffffff
-A FORWARD -m mark --mark 0x7 -j TOS --set-tos 0x10/0xff
-A POSTROUTING -m tos --tos 0x10/0xff -j TTL --ttl-set 9
COMMIT
";
    let mut b = Plan::default().rules(rules, "").build().acquaint();
    b.client_sends(&udp(CLIENT, SERVER, (1000, 2000), b"x"));
    let p = b.one(WAN);
    let ip = Ipv4::new(p.l3()).unwrap();
    assert_eq!((ip.tos(), ip.ttl()), (0x10, 9));
    assert!(right(p.l3()));
}

#[test]
fn a_packet_that_is_not_to_be_tracked_is_not() {
    let raw =
        "*raw\n:PREROUTING ACCEPT\n:OUTPUT ACCEPT\n-A PREROUTING -p udp --dport 9 -j CT --notrack\nCOMMIT\n";
    let rules = format!("{raw}{STATEFUL}");
    let mut b = Plan::default().rules(&rules, "").build().acquaint();
    b.client_sends(&udp(CLIENT, SERVER, (1000, 9), b"x"));
    // It is UNTRACKED, which is neither NEW nor ESTABLISHED.
    b.dropped(DropReason::Filtered);
    assert!(b.flows().is_empty());
}

#[test]
fn a_log_line_reads_as_the_kernel_writes_it() {
    let mut b = refusing("-p udp -j LOG --log-prefix \"seen: \" --log-level 6");
    b.client_sends(&udp(CLIENT, SERVER, (1000, 2000), b"x"));
    b.one(WAN);
    let lines: Vec<_> = b.worker.drain_log().collect();
    assert_eq!(lines.len(), 1);
    assert_eq!(lines[0].0, 6);
    let line = &lines[0].1;
    assert!(line.starts_with("seen: IN=lan OUT=wan "), "{line}");
    assert!(
        line.contains("SRC=10.1.0.2 DST=10.2.0.2 LEN=29 ")
            && line.contains("PROTO=UDP SPT=1000 DPT=2000 LEN=9")
    );
    // More than somebody fetches are lost, and counted.
    for _ in 0..300 {
        b.client_sends(&udp(CLIENT, SERVER, (1000, 2000), b"x"));
    }
    assert_eq!(b.tally(Tally::LogLost), 300 - 256);
}

#[test]
fn the_record_names_the_flow_and_the_rule() {
    let mut b = Plan::default().rules(STATEFUL, STATEFUL).build().acquaint();
    let watch = b.router.live().tracer.watch(Wanted::default()).unwrap();
    b.server_sends(&udp(SERVER, CLIENT, (53, 1001), b"no"));
    let records = watch.take(9, usize::MAX);
    let said = records[0].to_string();
    assert!(said.contains("conntrack    NEW, original: udp      17 "), "{said}");
    assert!(said.contains("filter       iptables FORWARD policy: DROP"), "{said}");
    assert!(said.contains("dropped      filtered: "), "{said}");
}
