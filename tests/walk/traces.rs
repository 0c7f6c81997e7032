//! The record of a packet's way: which packets are recorded, and what is said of them.

use sekisho::path::{TraceFilter, TraceRecord};
use sekisho::wire::proto;

use crate::basics::udp4;
use crate::make::*;
use crate::net::*;

/// What is recorded while these packets pass.
fn recorded(filter: TraceFilter, count: usize, packets: &[Vec<u8>]) -> Vec<TraceRecord> {
    let mut b = Bench::acquainted();
    b.router.live().tracer.arm(filter, count);
    for p in packets {
        b.client_sends(p);
    }
    b.balanced();
    b.router.live().tracer.take()
}

fn stages(records: &[TraceRecord]) -> Vec<&str> {
    records.iter().map(|r| r.text.split([':', ' ']).next().unwrap_or_default()).collect()
}

#[test]
fn every_stage_in_order() {
    let records = recorded(TraceFilter::default(), 1, &[udp4(64, b"x")]);
    assert_eq!(
        stages(&records),
        ["in", "PREROUTING", "route", "FORWARD", "POSTROUTING", "neighbor", "out"],
        "{records:?}"
    );
    assert!(records.iter().all(|r| r.own));
    assert!(records[0].text.contains("lan") && records[6].text.contains("wan"), "{records:?}");
}

#[test]
fn a_drop_says_why_and_an_answer_is_followed() {
    let records = recorded(TraceFilter::default(), 1, &[udp4(1, b"x")]);
    let dropped = records.iter().find(|r| r.text.starts_with("dropped")).expect("it was dropped");
    assert!(dropped.own && dropped.text.contains("ttl_exceeded"), "{records:?}");
    let answer: Vec<_> = records.iter().filter(|r| !r.own).collect();
    assert!(answer.first().is_some_and(|r| r.text.starts_with("made here")), "{records:?}");
    assert!(answer.last().is_some_and(|r| r.text.starts_with("out lan")), "{records:?}");
}

#[test]
fn only_what_was_asked_for() {
    let udp_ = udp(CLIENT, SERVER, (1, 2), b"x");
    let six = udp(CLIENT6, SERVER6, (1, 2), b"x");
    let echo = ping(CLIENT, LAN_ADDR, b"x");
    let all = [udp_, six, echo];
    let ins = |filter| {
        let records = recorded(filter, 9, &all);
        records.iter().filter(|r| r.text.starts_with("in ")).count()
    };
    assert_eq!(ins(TraceFilter::default()), 3);
    assert_eq!(ins(TraceFilter { src: Some(CLIENT.into()), ..TraceFilter::default() }), 2);
    assert_eq!(ins(TraceFilter { src: Some(SERVER.into()), ..TraceFilter::default() }), 0);
    assert_eq!(ins(TraceFilter { dst: Some(SERVER6.into()), ..TraceFilter::default() }), 1);
    assert_eq!(ins(TraceFilter { proto: Some(proto::ICMP), ..TraceFilter::default() }), 1);
    assert_eq!(ins(TraceFilter { link: Some(WAN), ..TraceFilter::default() }), 0);
    assert_eq!(ins(TraceFilter { link: Some(LAN), ..TraceFilter::default() }), 3);
    let both = TraceFilter { src: Some(CLIENT.into()), proto: Some(proto::UDP), ..TraceFilter::default() };
    assert_eq!(ins(both), 1);
}

#[test]
fn as_many_as_were_asked_for_and_no_more() {
    let many: Vec<_> = (0..10).map(|_| udp4(64, b"x")).collect();
    let records = recorded(TraceFilter::default(), 3, &many);
    assert_eq!(records.len(), 21);
    assert!(recorded(TraceFilter::default(), 0, &many).is_empty());
    // Nobody fetches: it stays bounded.
    let many: Vec<_> = (0..2_000).map(|_| udp4(64, b"x")).collect();
    assert_eq!(recorded(TraceFilter::default(), usize::MAX, &many).len(), 4_096);
}
