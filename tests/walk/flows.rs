//! The flow a packet walks with: its own and no other's, also where the table does not hold it, or holds it no more.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use sekisho::base::{Column, DropReason, Event, Hook};
use sekisho::filter::Family;
use sekisho::packet::Packet;
use sekisho::path::{At, Function, Snapshot, Verdict};
use sekisho::wire::{ipv4::Ipv4, proto, tcp};

use crate::make::*;
use crate::net::*;

const FAR: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 7);

fn local(b: &mut Bench, l3: &[u8]) {
    b.worker.handle_local(Packet::from_slice(l3), b.now);
    b.collect();
}

fn source(p: &Packet) -> IpAddr {
    Ipv4::new(p.l3()).unwrap().src().into()
}

#[test]
fn a_refused_connection_of_the_router_to_itself_is_told_so() {
    let mut b = Plan::default().rules(&format!("{STATEFUL}{MASQUERADE}"), "").build().acquaint();
    local(&mut b, &tcp(LAN_ADDR, LAN_ADDR, (1000, 81), tcp::SYN, b""));
    assert_eq!(b.host.len(), 1, "the SYN");
    // The stack refuses it; with that the flow ends, before the reset has come round.
    local(&mut b, &tcp(LAN_ADDR, LAN_ADDR, (81, 1000), tcp::RST | tcp::ACK, b""));
    assert_eq!(b.host.len(), 2, "the reset");
    b.balanced();
}

#[test]
fn what_output_rejects_is_told_the_local_stack() {
    for (with, l3) in [
        ("icmp-port-unreachable", udp(WAN_ADDR, FAR, (1000, 53), b"ask")),
        ("tcp-reset", tcp(WAN_ADDR, FAR, (1000, 80), tcp::SYN, b"")),
    ] {
        let refuse = format!(
            "*filter\n:INPUT ACCEPT\n:FORWARD ACCEPT\n:OUTPUT ACCEPT\n-A OUTPUT -d 198.51.100.7/32 -p {} -j REJECT --reject-with {with}\nCOMMIT\n",
            if with == "tcp-reset" { "tcp" } else { "udp" }
        );
        let mut b = Plan::default().rules(&format!("{refuse}{MASQUERADE}"), "").build().acquaint();
        let before = b.totals();
        local(&mut b, &l3);
        let gone = b.totals().drops(DropReason::ConntrackGone);
        assert_eq!(gone, 0, "{with}: the answer has lost its flow");
        let delivered = |t: &sekisho::base::counters::Totals| t.event(Column::Originated, Event::Delivered);
        assert_eq!(delivered(&b.totals()), delivered(&before) + 1, "{with}");
        assert!(b.flows().is_empty());
        b.balanced();
    }
}

#[test]
fn a_neighbor_that_does_not_answer_is_told_who_is_behind_nat() {
    let mut b = Plan::default().rules(MASQUERADE, "").build().acquaint();
    b.client_sends(&udp(CLIENT, Ipv4Addr::new(10, 2, 0, 99), (1000, 53), b"x"));
    b.sent(WAN);
    // Others begin flows meanwhile, and one of them is the worker's last.
    for port in 2000..2005 {
        b.client_sends(&udp(CLIENT, FAR, (port, 53), b"x"));
    }
    b.sent(WAN);
    b.pass(Duration::from_secs(5));
    let told = b.sent(LAN);
    let errors: Vec<_> = told.iter().filter(|p| p.l3()[0] >> 4 == 4).collect();
    assert_eq!(errors.len(), 1, "{}", list(&told));
    let l3 = errors[0].l3();
    let inner = Ipv4::new(&l3[28..]).unwrap();
    assert_eq!(Ipv4::new(l3).unwrap().dst(), CLIENT);
    assert_eq!((inner.src(), inner.dst()), (CLIENT, Ipv4Addr::new(10, 2, 0, 99)));
    b.balanced();
}

#[test]
fn a_function_that_puts_another_packet_in_place_of_one_made_here_keeps_the_ledger() {
    for verdict in [Verdict::Accept, Verdict::Drop, Verdict::Queue(4)] {
        let mut b = Bench::acquainted();
        let call = move |_: &At, p: &mut Packet| {
            *p = Packet::default();
            verdict
        };
        let function =
            Function { name: "swap".into(), hook: Hook::Output, priority: 0, call: Arc::new(call) };
        let snap = Plan::default().snapshot();
        let hooks = snap.hooks.clone().with(function);
        b.router.replace(Snapshot { hooks, ..snap });
        let queue = b.router.queue(4, 4);
        local(&mut b, &udp(LAN_ADDR, CLIENT, (7, 1000), b"x"));
        b.balanced();
        drop(queue);
        b.pass(Duration::from_secs(1));
        b.balanced();
    }
}

#[test]
fn a_queued_packet_keeps_its_flow_whatever_becomes_of_the_table() {
    let queueing = |b: &Bench, rules: &str| {
        let snap = Plan::default().rules(rules, "").snapshot();
        let call = |_: &At, p: &mut Packet| match p.meta.proto {
            proto::UDP => Verdict::Queue(1),
            _ => Verdict::Accept,
        };
        let function = Function { name: "q".into(), hook: Hook::Forward, priority: 0, call: Arc::new(call) };
        let hooks = snap.hooks.clone().with(function);
        b.router.replace(Snapshot { hooks, ..snap });
    };
    let ask = udp(CLIENT, FAR, (1000, 53), b"x");
    // Twice at once: the first makes the flow, the second joins it, others having begun flows between them.
    let mut b = Plan::default().rules(MASQUERADE, "").build().acquaint();
    queueing(&b, MASQUERADE);
    let queue = b.router.queue(1, 8);
    b.client_sends(&ask);
    b.client_sends(&ask);
    b.client_sends(&tcp(CLIENT, FAR, (1001, 80), tcp::SYN, b""));
    assert_eq!(source(&b.one(WAN)), IpAddr::from(WAN_ADDR));
    for _ in 0..2 {
        b.worker.reinject(queue.try_recv().unwrap(), Verdict::Accept, b.now);
        b.collect();
        assert_eq!(source(&b.one(WAN)), IpAddr::from(WAN_ADDR));
    }
    assert_eq!(b.flows().len(), 2);
    // It has ended while its packet was away: the packet still leaves as the flow says.
    b.client_sends(&ask);
    b.router.link_gone(WAN);
    b.client_sends(&tcp(CLIENT, FAR, (1002, 80), tcp::SYN, b""));
    b.one(WAN);
    b.worker.reinject(queue.try_recv().unwrap(), Verdict::Accept, b.now);
    b.collect();
    assert_eq!(source(&b.one(WAN)), IpAddr::from(WAN_ADDR));
    b.balanced();
}

/// A gateway that holds UDP back after its source has been chosen, and before its flow is in the table.
fn choosing(rule: &str) -> Bench {
    let nat = MASQUERADE.replace("-A POSTROUTING -o wan -j MASQUERADE", rule);
    let b = Plan::default().rules(&nat, "").build().acquaint();
    let snap = Plan::default().rules(&nat, "").snapshot();
    let call = |_: &At, p: &mut Packet| match p.meta.proto {
        proto::UDP => Verdict::Queue(1),
        _ => Verdict::Accept,
    };
    let function =
        Function { name: "q".into(), hook: Hook::Postrouting, priority: 200, call: Arc::new(call) };
    let hooks = snap.hooks.clone().with(function);
    b.router.replace(Snapshot { hooks, ..snap });
    b
}

#[test]
fn of_two_that_chose_the_same_port_at_once_one_leaves() {
    let mut b = choosing("-A POSTROUTING -o wan -j MASQUERADE");
    let queue = b.router.queue(1, 8);
    let other = Ipv4Addr::new(10, 1, 0, 3);
    b.client_sends(&udp(CLIENT, FAR, (1000, 53), b"x"));
    b.client_sends(&udp(other, FAR, (1000, 53), b"x"));
    for _ in 0..2 {
        b.worker.reinject(queue.try_recv().unwrap(), Verdict::Accept, b.now);
        b.collect();
    }
    assert_eq!(source(&b.one(WAN)), IpAddr::from(WAN_ADDR));
    b.dropped(DropReason::ConntrackClash);
    assert_eq!(b.flows().len(), 1);
    // It comes again, and has a port of its own.
    b.client_sends(&udp(other, FAR, (1000, 53), b"x"));
    b.worker.reinject(queue.try_recv().unwrap(), Verdict::Accept, b.now);
    b.collect();
    assert_ne!(b.one(WAN).l3()[20..22], 1000u16.to_be_bytes());
}

#[test]
fn one_flow_begun_twice_with_two_ports_is_answered_at_both() {
    let mut b = choosing("-A POSTROUTING -o wan -j MASQUERADE --random-fully");
    let queue = b.router.queue(1, 8);
    for _ in 0..2 {
        b.client_sends(&udp(CLIENT, FAR, (1000, 53), b"x"));
    }
    let ports: Vec<u16> = (0..2)
        .map(|_| {
            b.worker.reinject(queue.try_recv().unwrap(), Verdict::Accept, b.now);
            b.collect();
            let p = b.one(WAN);
            assert_eq!(source(&p), IpAddr::from(WAN_ADDR));
            u16::from_be_bytes([p.l3()[20], p.l3()[21]])
        })
        .collect();
    assert_ne!(ports[0], ports[1]);
    for port in &ports {
        b.server_sends(&udp(FAR, WAN_ADDR, (53, *port), b"y"));
        b.worker.reinject(queue.try_recv().unwrap(), Verdict::Accept, b.now);
        b.collect();
        assert_eq!(Ipv4::new(b.one(LAN).l3()).unwrap().dst(), CLIENT);
    }
    // The second was for the moment.
    b.pass(Duration::from_secs(3));
    b.server_sends(&udp(FAR, WAN_ADDR, (53, ports[1]), b"y"));
    assert!(queue.try_recv().is_err());
    b.balanced();
}

#[test]
fn a_stolen_packet_that_comes_in_again_begins_anew() {
    let kept = Arc::new(std::sync::Mutex::new(Vec::new()));
    let steal = kept.clone();
    let snap = Plan::default().rules(MASQUERADE, "").snapshot();
    let call = move |_: &At, p: &mut Packet| {
        let mut kept = steal.lock().unwrap();
        if p.meta.proto != proto::UDP || !kept.is_empty() {
            return Verdict::Accept;
        }
        kept.push(std::mem::take(p));
        Verdict::Stolen
    };
    let function = Function { name: "s".into(), hook: Hook::Forward, priority: 0, call: Arc::new(call) };
    let hooks = snap.hooks.clone().with(function);
    let mut b = Bench::acquainted();
    b.router.replace(Snapshot { hooks, ..snap });
    b.client_sends(&udp(CLIENT, FAR, (1000, 53), b"x"));
    b.client_sends(&tcp(CLIENT, FAR, (1001, 80), tcp::SYN, b""));
    b.one(WAN);
    let p = kept.lock().unwrap()[0].clone();
    b.worker.handle_frame(LAN, p, b.now);
    b.collect();
    assert_eq!(source(&b.one(WAN)), IpAddr::from(WAN_ADDR));
    b.balanced();
}

#[test]
fn when_the_rules_translate_no_more_the_translated_flows_end() {
    let mut b = Plan::default().rules(&format!("{STATEFUL}{MASQUERADE}"), "").build().acquaint();
    b.client_sends(&udp(CLIENT, FAR, (1000, 53), b"x"));
    assert_eq!(source(&b.one(WAN)), IpAddr::from(WAN_ADDR));
    local(&mut b, &udp(WAN_ADDR, FAR, (7, 53), b"x"));
    b.one(WAN);
    assert_eq!(b.flows().len(), 2);
    // Other rules that translate: it goes on.
    b.router.replace(Plan::default().rules(MASQUERADE, "").snapshot());
    assert_eq!(b.flows().len(), 2);
    b.router.replace(Plan::default().rules(STATEFUL, STATEFUL).snapshot());
    assert!(b.router.snapshot().hooks.tracks(Family::V4));
    assert_eq!(b.flows().len(), 1, "{:?}", b.flows());
    // What comes now is no answer that is the client's, and what goes is a flow of its own.
    b.server_sends(&udp(FAR, WAN_ADDR, (53, 1000), b"y"));
    assert!(b.sent(LAN).is_empty());
    b.client_sends(&udp(CLIENT, FAR, (1000, 53), b"x"));
    b.server_sends(&udp(FAR, CLIENT, (53, 1000), b"y"));
    b.one(LAN);
    b.balanced();
}

#[test]
fn a_table_nat_of_one_chain_translates_answers_too() {
    let mut b = Plan::default()
        .rules("*nat\n:POSTROUTING ACCEPT\n-A POSTROUTING -o wan -j MASQUERADE\nCOMMIT\n", "")
        .build()
        .acquaint();
    b.client_sends(&udp(CLIENT, FAR, (1000, 53), b"x"));
    assert_eq!(source(&b.one(WAN)), IpAddr::from(WAN_ADDR));
    b.server_sends(&udp(FAR, WAN_ADDR, (53, 1000), b"y"));
    b.one(LAN);
}

#[test]
fn an_option_put_into_a_syn_that_came_in_pieces_leaves_it_good() {
    let rules = format!(
        "*mangle\n:PREROUTING ACCEPT\n:INPUT ACCEPT\n:FORWARD ACCEPT\n:OUTPUT ACCEPT\n:POSTROUTING ACCEPT
-A FORWARD -p tcp --tcp-flags SYN,RST SYN -j TCPMSS --set-mss 500\nCOMMIT\n{MASQUERADE}"
    );
    let mut b = Plan::default().rules(&rules, &rules).build().acquaint();
    for syn in
        [tcp(CLIENT, SERVER, (1000, 80), tcp::SYN, b""), tcp(CLIENT6, SERVER6, (1000, 80), tcp::SYN, b"")]
    {
        let whole_first = if syn[0] >> 4 == 6 { 24 } else { 8 };
        for f in fragments(&syn, whole_first, 3) {
            b.client_sends(&f);
        }
        let sent: Vec<Packet> = b.sent(WAN).into_iter().filter(|p| matches!(p.l3()[0] >> 4, 4 | 6)).collect();
        let mut bytes = 0;
        for p in &sent {
            let l3 = p.l3();
            if l3[0] >> 4 == 4 {
                let ip = Ipv4::new(l3).unwrap();
                assert!(!ip.more_fragments() || (l3.len() - 20) % 8 == 0, "{}", list(&sent));
                assert_eq!(ip.frag_offset(), bytes, "{}", list(&sent));
                bytes += l3.len() - 20;
            } else {
                bytes += l3.len() - 40;
            }
        }
        assert_eq!(bytes, 24, "{}", list(&sent));
        if syn[0] >> 4 == 4 {
            assert_eq!(sent.len(), 3, "{}", list(&sent));
        }
    }
    b.balanced();
}
