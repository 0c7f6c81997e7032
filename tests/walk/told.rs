//! What is told of packets that wait, go on with other workers, or are refused after their walk.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use sekisho::base::{DropReason, Hook};
use sekisho::packet::Packet;
use sekisho::path::trace::{End, Point, Record, Wanted, Watch};
use sekisho::path::{At, FlowCacheConfig, Function, Handed, Hooks, Tracking, Verdict, priority};
use sekisho::router::Worker;
use sekisho::wire::tcp::SYN;

use crate::basics::udp4;
use crate::make::*;
use crate::net::*;
use crate::traces::{IntoAddr, NAT, all, labels, one, said, text, watch};

#[test]
fn what_waits_goes_on_under_the_same_number() {
    let mut b = Bench::new();
    let w = watch(&b, "udp");
    b.client_sends(&udp4(64, b"x"));
    let waits = one(&w);
    assert_eq!((waits.end, waits.continued), (End::Parked, false), "{waits}");
    assert_eq!(said(&waits, "waits"), "until 10.2.0.2 says its MAC");
    assert!(said(&waits, "neighbor").ends_with("INCOMPLETE"), "{waits}");
    b.answer_arp(WAN, SERVER, SERVER_MAC);
    let goes = one(&w);
    assert_eq!((goes.id, goes.end, goes.continued), (waits.id, End::Sent, true), "{goes}");
    assert_eq!(labels(&goes), ["goes on", "neighbor", "sent"]);
    // Nobody answers: the sender is told.
    b.client_sends(&udp(CLIENT, [10, 2, 0, 9].into_addr(), (1, 2), b"x"));
    assert_eq!(one(&w).end, End::Parked);
    b.pass(Duration::from_secs(5));
    let records = all(&w);
    let [lost, error] = &records[..] else { panic!("{}", text(&records)) };
    assert_eq!((lost.dropped(), lost.continued), (Some("neighbor_failed"), true), "{lost}");
    assert_eq!(error.cause, Some(lost.id));
    // One that must be dropped to be meant is told of when it is, and then whole.
    drop(w);
    let w = watch(&b, "drop neighbor_failed");
    b.client_sends(&udp(CLIENT, [10, 2, 0, 8].into_addr(), (1, 2), b"x"));
    assert!(all(&w).is_empty());
    b.pass(Duration::from_secs(5));
    let records = all(&w);
    let (ends, whole): (Vec<_>, Vec<_>) = records.iter().partition(|r| r.partial);
    assert_eq!(labels(whole[0])[0], "received", "{}", text(&records));
    assert_eq!((whole.len(), whole[0].continued), (2, false), "{}", text(&records));
    // The error about the first one has waited under a watch that is gone: its end is what there is to tell.
    let [error] = &ends[..] else { panic!("{}", text(&records)) };
    assert_eq!((error.dropped(), labels(error)), (Some("neighbor_failed"), vec!["dropped"]), "{error}");
}

#[test]
fn fragments_and_what_they_become() {
    let mut b = Plan::default().link(WAN, |l| l.mtu = 600).tracking(Tracking::On).build().acquaint();
    let w = watch(&b, "ip");
    let whole = udp(CLIENT, SERVER, (1, 2), &bytes(1_000));
    for piece in fragments(&whole, 520, 7) {
        b.client_sends(&piece);
    }
    let records = all(&w);
    assert!(records.len() > 1, "{}", text(&records));
    // The first waits; the second makes it whole.
    let [first, absorbed, last] = &records[..] else { panic!("{}", text(&records)) };
    assert_eq!((first.end, absorbed.id, absorbed.end), (End::Parked, first.id, End::Absorbed));
    assert_eq!(said(absorbed, "absorbed"), format!("its datagram is whole, and goes on as #{}", last.id));
    assert_eq!(said(last, "reassembly"), format!("whole, {} bytes, with #{}", whole.len(), first.id));
    assert!(!labels(last).contains(&"goes on"), "{last}");
    let sent = labels(last).iter().filter(|l| **l == "sent").count();
    assert!(sent == 2 || sent == 3, "{last}");
    assert!(said(last, "cut").ends_with(" fragments"), "{last}");
    // Too big, and it may not be cut.
    b.client_sends(&dont_fragment(whole));
    let records = all(&w);
    assert_eq!(said(&records[0], "mtu"), "1028 bytes do not fit the 600 of wan");
    assert_eq!(records[0].dropped(), Some("too_big"));
}

/// A watch that wants frames as they come in, at FORWARD, and as they leave.
fn capture(b: &Bench, filter: &str, count: Option<u64>) -> Watch {
    let points = [Point::Ingress, Point::Forward, Point::Egress].into_iter().collect();
    let filter = filter.parse().unwrap();
    let wanted = Wanted { filter, count, points, snaplen: 2_000, ..Wanted::default() };
    b.router.live().tracer.watch(wanted).unwrap()
}

fn points(r: &Record) -> Vec<Point> {
    r.frames.iter().map(|f| f.point).collect()
}

#[test]
fn frames_of_a_packet_that_waits_are_told_with_what_became_of_it() {
    let mut b = Plan::default().rules(NAT, "").build();
    assert!(b.router.set_static_neighbor(LAN, CLIENT.into(), CLIENT_MAC));
    let w = capture(&b, "udp", Some(1));
    b.client_sends(&udp(CLIENT, SERVER, (4000, 53), b"x"));
    assert!(all(&w).is_empty(), "the server's MAC is not known");
    b.pass(Duration::from_millis(500));
    w.hurry(b.now);
    assert!(all(&w).is_empty(), "it may yet go on");
    b.answer_arp(WAN, SERVER, SERVER_MAC);
    let r = one(&w);
    assert_eq!(points(&r), [Point::Ingress, Point::Forward, Point::Egress], "{r}");
    assert_eq!((r.end, r.continued, w.is_over()), (End::Sent, false, true), "{r}");
    for what in ["sent by wan", "-A POSTROUTING -o wan -j MASQUERADE", "masquerade: 10.1.0.2:4000"] {
        assert!(r.comment().contains(what), "{what}: {}", r.comment());
    }

    // Nobody answers: the comment says so, and the sender is told.
    let lost = |port| udp(CLIENT, [10, 2, 0, 9].into_addr(), (port, 2), b"x");
    let w = capture(&b, "udp", None);
    b.client_sends(&lost(1));
    b.pass(Duration::from_secs(4));
    let records = all(&w);
    let [r, error] = &records[..] else { panic!("{}", text(&records)) };
    assert_eq!(
        (points(r), r.dropped()),
        (vec![Point::Ingress, Point::Forward], Some("neighbor_failed")),
        "{r}"
    );
    assert_eq!((points(error), error.cause), (vec![Point::Egress], Some(r.id)), "{error}");
    drop(w);

    // Those that wait for too long are told as they are; what comes later is told with all that was before.
    let stuck = Function {
        name: "stuck".into(),
        hook: Hook::Forward,
        priority: priority::FILTER + 1,
        call: std::sync::Arc::new(|_: &At, _: &mut _| Verdict::Queue(5)),
    };
    let mut snap = Plan::default().rules(NAT, "").snapshot();
    snap.hooks = snap.hooks.with(stuck);
    b.router.replace(snap);
    let queue = b.router.queue(5, 9);
    let w = capture(&b, "udp", None);
    let counting = capture(&b, "udp", Some(1));
    b.client_sends(&udp(CLIENT, SERVER, (4001, 53), b"x"));
    b.pass(Duration::from_secs(6));
    assert!(!counting.is_over());
    counting.hurry(b.now);
    assert!(counting.is_over() && one(&counting).end == End::Parked, "it had as many as it asked for");
    w.hurry(b.now);
    let r = one(&w);
    assert_eq!((r.end, points(&r)), (End::Parked, vec![Point::Ingress, Point::Forward]), "{r}");
    b.worker.reinject(queue.try_recv().unwrap(), Verdict::Accept, b.now);
    b.collect();
    let r = one(&w);
    assert_eq!((r.end, r.continued, points(&r)), (End::Sent, true, vec![Point::Egress]), "{r}");
    assert!(
        r.comment().contains("MASQUERADE") && r.comment().contains("masquerade: 10.1.0.2"),
        "{}",
        r.comment()
    );
    // So are all when the watch ends.
    b.client_sends(&udp(CLIENT, SERVER, (4001, 53), b"x"));
    assert!(all(&w).is_empty());
    w.close();
    let r = one(&w);
    let still = "was still waiting when this was written: in queue 5, for a program's word";
    assert!(r.end == End::Parked && r.comment().contains(still), "{}", r.comment());
    b.client_sends(&udp(CLIENT, SERVER, (4001, 53), b"x"));
    w.close();
    assert!(all(&w).is_empty(), "it wants no more");
}

/// A function at FORWARD that does something once the packet to a port comes there.
fn once_at(port: u16, act: impl FnMut() + Send + 'static) -> Function {
    let act = Mutex::new(act);
    let call = Arc::new(move |_: &At, p: &mut Packet| {
        if p.l4().get(2..4) == Some(&port.to_be_bytes()) {
            act.lock().unwrap()();
        }
        Verdict::Accept
    });
    Function { name: "meanwhile".into(), hook: Hook::Forward, priority: priority::FILTER + 2, call }
}

/// A bench on which another worker acts while the first one walks the packet to port 99.
fn meanwhile(
    plan: Plan,
    more: Option<Function>,
    act: impl FnMut(&mut Worker) + Send + 'static,
) -> (Bench, Arc<Mutex<Worker>>) {
    let mut snap = plan.snapshot();
    let b = plan.build();
    assert!(b.router.set_static_neighbor(LAN, CLIENT.into(), CLIENT_MAC));
    let other = Arc::new(Mutex::new(b.router.worker()));
    let (theirs, mut act) = (other.clone(), act);
    let once = once_at(99, move || act(&mut theirs.lock().unwrap()));
    snap.hooks = more.into_iter().chain([once]).fold(snap.hooks, Hooks::with);
    b.router.replace(snap);
    (b, other)
}

/// Walks packets of the client's in one batch.
fn batch(b: &mut Bench, packets: &[Vec<u8>]) {
    let frames = packets.iter().map(|l3| Packet::from_slice(&frame(LAN_MAC, CLIENT_MAC, l3)));
    b.worker.handle_batch(LAN, &mut frames.collect(), b.now);
    b.collect();
}

#[test]
fn a_packet_that_another_worker_sends_while_the_batch_lasts_is_told_whole() {
    let now = Bench::new().now;
    let (mut b, other) = meanwhile(Plan::default(), None, move |w| {
        w.handle_frame(WAN, server_answers(), now);
        assert!(w.poll_transmit().is_some(), "the packet leaves by the other worker");
        w.settle(now);
    });
    let wanted = Wanted { filter: "port 2".parse().unwrap(), count: Some(1), ..Wanted::default() };
    let w = b.router.live().tracer.watch(wanted).unwrap();
    batch(&mut b, &[udp(CLIENT, SERVER, (1, 2), b"x"), udp(CLIENT, SERVER, (1, 99), b"x")]);
    let r = one(&w);
    let told = labels(&r);
    assert_eq!(told[told.len() - 5..], ["neighbor", "waits", "goes on", "neighbor", "sent"], "{r}");
    assert_eq!((r.end, r.continued, w.is_over()), (End::Sent, false, true));
    assert!(!other.lock().unwrap().wants_transmit(WAN));

    // The same where a program gives it to another worker.
    let slot: Arc<Mutex<Option<sekisho::path::Queue>>> = Arc::default();
    let queue = slot.clone();
    let queues = Function {
        name: "to a program".into(),
        hook: Hook::Forward,
        priority: priority::FILTER + 1,
        call: Arc::new(|_: &At, p: &mut Packet| match p.l4().get(2..4) {
            Some([0, 2]) => Verdict::Queue(5),
            _ => Verdict::Accept,
        }),
    };
    let (mut b, _other) = meanwhile(Plan::default(), Some(queues), move |w| {
        let queued = queue.lock().unwrap().as_ref().unwrap().try_recv().unwrap();
        w.reinject(queued, Verdict::Accept, now);
        assert!(w.poll_transmit().is_some());
        w.settle(now);
    });
    b.router.set_static_neighbor(WAN, SERVER.into(), SERVER_MAC);
    *slot.lock().unwrap() = Some(b.router.queue(5, 9));
    let w = watch(&b, "port 2");
    batch(&mut b, &[udp(CLIENT, SERVER, (1, 2), b"x"), udp(CLIENT, SERVER, (1, 99), b"x")]);
    let r = one(&w);
    assert_eq!(
        labels(&r)[4..],
        ["FORWARD", "function", "waits", "goes on", "function", "POSTROUTING", "neighbor", "sent"],
        "{r}"
    );

    // And a fragment whose datagram becomes whole there.
    let pieces = fragments(&udp(CLIENT, SERVER, (1, 2), &bytes(1_000)), 520, 7);
    let last = frame(LAN_MAC, CLIENT_MAC, &pieces[1]);
    let (mut b, _other) = meanwhile(Plan::default().tracking(Tracking::On), None, move |w| {
        w.handle_frame(LAN, Packet::from_slice(&last), now);
        while w.poll_transmit().is_some() {}
        w.settle(now);
    });
    b.router.set_static_neighbor(WAN, SERVER.into(), SERVER_MAC);
    let w = watch(&b, "udp and not port 99");
    batch(&mut b, &[pieces[0].clone(), udp(CLIENT, SERVER, (1, 99), b"x")]);
    let records = all(&w);
    let [whole, first] = &records[..] else { panic!("{}", text(&records)) };
    assert_eq!((whole.end, first.end, first.continued), (End::Sent, End::Absorbed, false));
    assert_eq!(labels(first), ["received", "PREROUTING", "reassembly", "absorbed"], "{first}");
}

#[test]
fn a_datagram_goes_on_as_the_fragment_that_was_followed() {
    let mut b = Plan::default().tracking(Tracking::On).build().acquaint();
    // Only the first fragment has ports.
    let w = watch(&b, "dst port 2");
    for piece in fragments(&udp(CLIENT, SERVER, (1, 2), &bytes(1_000)), 400, 7) {
        b.client_sends(&piece);
    }
    let records = all(&w);
    let [first, whole] = &records[..] else { panic!("{}", text(&records)) };
    assert_eq!((first.end, whole.id, whole.end), (End::Parked, first.id, End::Sent), "{whole}");
    assert_eq!(said(whole, "reassembly"), "whole, 1028 bytes");
    // One that never becomes whole is told to its end.
    b.client_sends(&fragments(&udp(CLIENT, SERVER, (1, 2), &bytes(1_000)), 400, 8)[0]);
    assert_eq!(one(&w).end, End::Parked);
    b.pass(Duration::from_secs(61));
    assert_eq!(one(&w).dropped(), Some("fragment_timeout"));
}

/// Gives a device what stands in an outbox: it takes the first frames, refuses one, and leaves the rest.
fn transmit(b: &mut Bench, takes: usize, refuses: bool) {
    b.worker.transmit(WAN, |pool, queue| {
        let mut what = Handed::default();
        for p in queue.drain(..takes) {
            what.sent[p.meta.column as usize] += 1;
            pool.put(p);
        }
        if refuses && let Some(p) = queue.pop_front() {
            what.refused[p.meta.column as usize] += 1;
            what.kept.push((takes, p));
        }
        what
    });
}

#[test]
fn what_a_device_refuses_is_told_with_its_end() {
    let mut b = Bench::acquainted();
    let points = [Point::Egress, Point::Drop].into_iter().collect();
    let frames = Wanted { points, snaplen: 100, ..Wanted::default() };
    let (w, frames) = (watch(&b, "udp"), b.router.live().tracer.watch(frames).unwrap());
    let drops = watch(&b, "drop");
    for port in 1..=4 {
        let l3 = frame(LAN_MAC, CLIENT_MAC, &udp(CLIENT, SERVER, (port, 2), b"x"));
        b.worker.handle_frame(LAN, Packet::from_slice(&l3), b.now);
    }
    assert!(all(&w).is_empty(), "nobody knows yet what the device does");
    transmit(&mut b, 1, true);
    b.worker.tell(b.now);
    let records = all(&w);
    let [sent, refused] = &records[..] else { panic!("{}", text(&records)) };
    assert_eq!((sent.end, labels(sent).last()), (End::Sent, Some(&"sent")));
    assert_eq!((refused.end, refused.dropped()), (End::Dropped, Some("egress_error")), "{refused}");
    assert_eq!(labels(refused)[6..], ["neighbor", "queued", "dropped"], "{refused}");
    assert!(refused.comment().contains("dropped, egress_error"), "{}", refused.comment());
    b.worker.give_up(WAN, DropReason::EgressQueueFull);
    b.worker.tell(b.now);
    let left = all(&w);
    assert!(
        left.iter().all(|r| r.dropped() == Some("egress_queue_full")) && left.len() == 2,
        "{}",
        text(&left)
    );
    let dropped: Vec<_> = all(&drops).iter().map(|r| r.id).collect();
    assert_eq!(dropped, [refused.id, left[0].id, left[1].id], "those that ask for drops hear of them too");
    // With their bytes.
    let seen: Vec<Vec<Point>> = all(&frames).iter().map(points_of).collect();
    let lost = vec![Point::Egress, Point::Drop];
    assert_eq!(seen, [vec![Point::Egress], lost.clone(), lost.clone(), lost]);
    b.balanced();
    drop((w, frames, drops));

    // Of a packet in pieces one may leave and another not.
    let mut b = Plan::default().link(WAN, |l| l.mtu = 600).build().acquaint();
    let w = watch(&b, "udp");
    let l3 = frame(LAN_MAC, CLIENT_MAC, &udp(CLIENT, SERVER, (1, 2), &bytes(1_000)));
    b.worker.handle_frame(LAN, Packet::from_slice(&l3), b.now);
    transmit(&mut b, 1, true);
    b.worker.tell(b.now);
    let r = one(&w);
    assert_eq!(r.end, End::Dropped);
    let told = labels(&r);
    assert_eq!(
        told[told.len() - 7..],
        ["cut", "piece", "neighbor", "sent", "piece", "neighbor", "queued", "dropped"][1..],
        "{r}"
    );

    // What nobody follows is told, too, to those who ask for drops: by its end.
    let mut plan = Plan::default();
    plan.config.flow_cache = FlowCacheConfig { eager: true, ..FlowCacheConfig::default() };
    let mut b = plan.build().acquaint();
    (0..3).for_each(|_| b.client_sends(&udp4(64, b"x")));
    let w = watch(&b, "drop egress_error");
    let l3 = frame(LAN_MAC, CLIENT_MAC, &udp4(64, b"x"));
    b.worker.handle_frame(LAN, Packet::from_slice(&l3), b.now);
    transmit(&mut b, 0, true);
    b.worker.tell(b.now);
    let r = one(&w);
    assert_eq!((r.partial, labels(&r)), (true, vec!["dropped"]), "{r}");
}

fn points_of(r: &Record) -> Vec<Point> {
    points(r)
}

#[test]
fn what_the_local_stack_or_a_program_does_not_take_is_told() {
    let mut b = Bench::acquainted();
    let w = watch(&b, "udp");
    for port in [1, 2] {
        let l3 = frame(LAN_MAC, CLIENT_MAC, &udp(CLIENT, LAN_ADDR, (port, 7), b"x"));
        b.worker.handle_frame(LAN, Packet::from_slice(&l3), b.now);
    }
    let mut taken: Vec<Packet> = b.worker.drain_host().collect();
    b.worker.host_refused(taken.pop().unwrap(), DropReason::HostQueueFull);
    b.worker.host_took(&taken.pop().unwrap().meta);
    b.worker.tell(b.now);
    let records = all(&w);
    let [took, refused] = &records[..] else { panic!("{}", text(&records)) };
    assert_eq!((took.end, said(took, "delivered").as_str()), (End::Delivered, "to the local stack"));
    assert_eq!((refused.end, refused.dropped()), (End::Dropped, Some("host_queue_full")), "{refused}");
    assert!(!labels(refused).contains(&"delivered") && !labels(refused).contains(&"given"), "{refused}");
    drop(w);

    // A program that goes away throws away what it had.
    let queues = Function {
        name: "to a program".into(),
        hook: Hook::Forward,
        priority: priority::FILTER + 1,
        call: Arc::new(|_: &At, _: &mut Packet| Verdict::Queue(5)),
    };
    let mut snap = Plan::default().snapshot();
    snap.hooks = snap.hooks.with(queues);
    b.router.replace(snap);
    let queue = b.router.queue(5, 1);
    let wanted = Wanted { filter: "udp".parse().unwrap(), count: Some(2), ..Wanted::default() };
    let w = b.router.live().tracer.watch(wanted).unwrap();
    b.client_sends(&udp4(64, b"x"));
    assert_eq!(one(&w).end, End::Parked);
    // There was room for one.
    b.client_sends(&udp4(64, b"x"));
    let r = one(&w);
    assert_eq!((r.dropped(), labels(&r).contains(&"waits")), (Some("queue_full"), false), "{r}");
    drop(queue);
    b.pass(Duration::from_secs(1));
    let r = one(&w);
    assert_eq!((r.continued, r.dropped(), w.is_over()), (true, Some("queue_unbound"), true), "{r}");
}

#[test]
fn what_the_local_stack_does_with_a_packet_is_told_when_it_has_said_so() {
    let mut b = Bench::acquainted();
    let mut ledger = b.router.worker();
    let (w, drops) = (watch(&b, "tcp"), watch(&b, "drop"));
    let frames = capture(&b, "tcp", None);
    let syn = |port| frame(LAN_MAC, CLIENT_MAC, &tcp(CLIENT, LAN_ADDR, (port, 22), SYN, b""));
    let mut deliver = |port| {
        b.worker.handle_frame(LAN, Packet::from_slice(&syn(port)), b.now);
        let fetched = b.worker.drain_host().next().expect("it is for the local stack");
        b.worker.tell(b.now);
        fetched
    };
    let [resets, refused, waits] = [1, 2, 3].map(&mut deliver);
    assert!(all(&w).is_empty() && all(&frames).is_empty(), "nobody knows what it does with them");
    ledger.look(b.now);
    ledger.host_resets(&resets.meta);
    ledger.tell(b.now);
    let r = one(&w);
    let did = "to the local stack, which answers with a reset: nothing listens at that port";
    assert_eq!((r.end, said(&r, "delivered").as_str(), r.continued), (End::Delivered, did, false), "{r}");
    assert!(one(&frames).comment().starts_with(&format!("#{} delivered {did}", r.id)));
    ledger.host_refused(refused, DropReason::HostRefused);
    ledger.tell(b.now);
    let r = one(&w);
    assert_eq!((r.end, r.dropped()), (End::Dropped, Some("host_refused")), "{r}");
    assert_eq!(labels(&r).iter().filter(|l| ["given", "delivered"].contains(l)).count(), 0, "{r}");
    assert_eq!(one(&drops).id, r.id);
    assert!(one(&frames).comment().contains("dropped, host_refused"));
    // One that it has not come to when the capture ends is told as that.
    frames.close();
    let r = one(&frames);
    assert!(r.comment().contains("given to the local stack, which had not looked at it"), "{}", r.comment());
    ledger.host_took(&waits.meta);
    ledger.tell(b.now);
    assert_eq!(one(&w).end, End::Delivered);
    drop((w, frames, drops));

    // One that nobody follows is told by its end to those who ask for drops.
    let wanted = Wanted { filter: "drop".parse().unwrap(), rate: 1, ..Wanted::default() };
    let drops = b.router.live().tracer.watch(wanted).unwrap();
    let [followed, unfollowed] = [4, 5].map(&mut deliver);
    assert!(followed.meta.trace.is_some() && unfollowed.meta.trace.is_none());
    ledger.host_took(&followed.meta);
    ledger.look(b.now);
    ledger.host_refused(unfollowed, DropReason::L4BadChecksum);
    ledger.tell(b.now);
    let r = one(&drops);
    assert_eq!((r.partial, r.dropped()), (true, Some("l4_bad_checksum")), "{r}");
    assert!(r.packet.contains("10.1.0.2.5 > 10.1.0.1.22"), "{r}");
    b.balanced();
}

#[test]
fn what_is_counted_as_not_followed_is_not_told_besides() {
    let mut b = Bench::acquainted();
    let limited = |b: &Bench, filter: &str, rate| {
        let wanted = Wanted { filter: filter.parse().unwrap(), rate, ..Wanted::default() };
        b.router.live().tracer.watch(wanted).unwrap()
    };
    let (maybe, sure) = (limited(&b, "drop or out wan", 2), limited(&b, "udp or drop", 2));
    (0..5).for_each(|_| b.client_sends(&udp4(64, b"x")));
    b.client_sends(&udp4(1, b"x"));
    let (told, missed) = (all(&maybe), maybe.missed());
    assert_eq!(told.iter().filter(|r| r.partial).count(), 1);
    // Six packets, and the error about the last, which nobody knows by which link it left.
    assert_eq!((told.len(), missed.unfollowed, missed.unjudged), (3, 0, 4), "{}", text(&told));
    assert_eq!((all(&sure).len(), sure.missed().unfollowed, sure.missed().unjudged), (3, 3, 0));
    drop((maybe, sure));

    // More are dropped than are told: each is counted once.
    b.pass(Duration::from_secs(2));
    let w = limited(&b, "drop or out wan", 1);
    for _ in 0..4 {
        b.client_sends(&udp4(1, b"x"));
    }
    let (told, missed) = (all(&w), w.missed());
    let drops = told.iter().filter(|r| r.cause.is_none()).count();
    assert_eq!((drops, missed.unfollowed, missed.unjudged), (2, 2, 3), "{}", text(&told));
    drop(w);

    // By which link it was to leave nobody knows of one that was not followed.
    b.pass(Duration::from_secs(2));
    let w = limited(&b, "drop and not out wan", 1);
    for _ in 0..3 {
        b.client_sends(&udp4(1, b"x"));
    }
    assert_eq!((all(&w).iter().filter(|r| r.cause.is_none()).count(), w.missed().unjudged), (1, 2));
    b.balanced();
}
