//! Functions that a program hangs up at the hooks, and every verdict they can give.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sekisho::base::{Column, DropReason, Event, Hook};
use sekisho::packet::Packet;
use sekisho::path::{At, Function, Hooks, Verdict, priority};

use crate::make::*;
use crate::net::*;

fn at(
    hook: Hook,
    priority: i32,
    call: impl Fn(&At, &mut Packet) -> Verdict + Send + Sync + 'static,
) -> Function {
    Function { name: format!("test {priority}"), hook, priority, call: Arc::new(call) }
}

fn with(functions: impl IntoIterator<Item = Function>) -> Bench {
    let b = Bench::acquainted();
    let mut snap = Plan::default().snapshot();
    snap.hooks = functions.into_iter().fold(Hooks::new(), Hooks::with);
    b.router.replace(snap);
    b
}

fn through() -> Vec<u8> {
    udp(CLIENT, SERVER, (1000, 2000), b"hello")
}

#[test]
fn functions_are_called_by_priority_and_the_first_refusal_is_final() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let note = |n: i32, verdict: Verdict| {
        let seen = seen.clone();
        at(Hook::Forward, n, move |_, _| {
            seen.lock().unwrap().push(n);
            verdict
        })
    };
    let mut b = with([
        note(5, Verdict::Drop),
        note(priority::FILTER, Verdict::Accept),
        note(-10, Verdict::Accept),
        note(6, Verdict::Accept),
    ]);
    b.client_sends(&through());
    b.silent();
    b.dropped(DropReason::Hook);
    assert_eq!(*seen.lock().unwrap(), [-10, 0, 5]);
}

#[test]
fn a_function_sees_the_links_and_may_change_the_packet() {
    let links = Arc::new(Mutex::new(Vec::new()));
    let log = links.clone();
    let look = move |at: &At, p: &mut Packet| {
        log.lock().unwrap().push((at.input, at.output));
        p.meta.mark = 7;
        Verdict::Accept
    };
    let check = |_: &At, p: &mut Packet| if p.meta.mark == 7 { Verdict::Accept } else { Verdict::Drop };
    let mut b = with([
        at(Hook::Prerouting, 0, look.clone()),
        at(Hook::Forward, 0, look.clone()),
        at(Hook::Postrouting, 0, look),
        at(Hook::Postrouting, 1, check),
    ]);
    b.client_sends(&through());
    assert_eq!(b.out.len(), 1);
    let (lan, wan) = (Some(LAN), Some(WAN));
    assert_eq!(*links.lock().unwrap(), [(lan, None), (lan, wan), (lan, wan)]);
}

#[test]
fn a_stolen_packet_is_the_functions_own() {
    let kept = Arc::new(Mutex::new(Vec::new()));
    let steal = kept.clone();
    let mut b = with([at(Hook::Prerouting, 0, move |_, p| {
        steal.lock().unwrap().push(std::mem::take(p));
        Verdict::Stolen
    })]);
    let before = b.totals().event(Column::Received, Event::Delivered);
    b.client_sends(&through());
    b.silent();
    assert_eq!(kept.lock().unwrap()[0].l3(), through());
    assert_eq!(b.totals().event(Column::Received, Event::Delivered), before + 1);
    b.balanced();
}

#[test]
fn a_function_that_wants_to_see_a_packet_again_does_but_not_for_ever() {
    let calls = Arc::new(AtomicUsize::new(0));
    let count = calls.clone();
    let mut b = with([at(Hook::Forward, 0, move |_, _| {
        if count.fetch_add(1, Relaxed) < 3 { Verdict::Repeat } else { Verdict::Accept }
    })]);
    b.client_sends(&through());
    assert_eq!((b.out.len(), calls.load(Relaxed)), (1, 4));

    let mut b = with([at(Hook::Forward, 0, |_, _| Verdict::Repeat)]);
    b.client_sends(&through());
    b.silent();
    b.dropped(DropReason::HookLoop);
}

#[test]
fn a_queued_packet_waits_and_goes_on_where_it_was() {
    for hook in [Hook::Prerouting, Hook::Forward, Hook::Postrouting] {
        let after = Arc::new(AtomicUsize::new(0));
        let count = after.clone();
        let mut b = with([
            at(hook, 0, |_, _| Verdict::Queue(3)),
            at(hook, 0, move |_, _| {
                count.fetch_add(1, Relaxed);
                Verdict::Accept
            }),
        ]);
        let queue = b.router.queue(3, 8);
        b.client_sends(&through());
        b.silent();
        b.balanced();
        let queued = queue.try_recv().unwrap();
        assert_eq!((queued.at().hook, after.load(Relaxed)), (hook, 0));
        b.worker.reinject(queued, Verdict::Accept, b.now);
        b.collect();
        assert_eq!((b.out.len(), after.load(Relaxed)), (1, 1), "{hook:?}");
        b.balanced();
    }
}

#[test]
fn a_queued_packet_for_the_router_or_of_its_own_goes_on_too() {
    let mut b =
        with([at(Hook::Input, 0, |_, _| Verdict::Queue(1)), at(Hook::Output, 0, |_, _| Verdict::Queue(2))]);
    let (to, from) = (b.router.queue(1, 8), b.router.queue(2, 8));
    b.client_sends(&ping(CLIENT, LAN_ADDR, b"x"));
    b.worker.reinject(to.try_recv().unwrap(), Verdict::Accept, b.now);
    b.silent();
    b.worker.reinject(from.try_recv().unwrap(), Verdict::Accept, b.now);
    b.collect();
    assert_eq!(b.out.len(), 1);
    b.balanced();
}

#[test]
fn a_queued_packet_meets_what_has_been_hung_up_behind_it_since_and_no_other() {
    for (priority, calls) in [(i32::MIN, 1), (-1, 1), (1, 0), (i32::MAX, 0)] {
        let mut b = with([at(Hook::Forward, priority, |_, _| Verdict::Queue(3))]);
        let queue = b.router.queue(3, 8);
        b.client_sends(&through());
        let queued = queue.try_recv().unwrap();
        // Where it stood nothing hangs any more.
        let called = Arc::new(AtomicUsize::new(0));
        let count = called.clone();
        let mut snap = Plan::default().snapshot();
        snap.hooks = Hooks::new().with(at(Hook::Forward, 0, move |_, _| {
            count.fetch_add(1, Relaxed);
            Verdict::Accept
        }));
        b.router.replace(snap);
        b.worker.reinject(queued, Verdict::Accept, b.now);
        b.collect();
        assert_eq!((b.out.len(), called.load(Relaxed)), (1, calls), "{priority}");
        b.balanced();
    }
}

#[test]
fn what_a_program_leaves_in_its_queue_is_in_the_ledger() {
    let mut b = with([at(Hook::Forward, 0, |_, _| Verdict::Queue(3))]);
    let queue = b.router.queue(3, 8);
    for _ in 0..3 {
        b.client_sends(&through());
    }
    drop(queue);
    b.worker.handle_timeout(b.now);
    assert_eq!(b.totals().dropped(Column::Received, DropReason::QueueUnbound), 3);
    b.balanced();
}

#[test]
fn a_queue_nobody_takes_from_or_that_is_full_drops() {
    let mut b = with([at(Hook::Forward, 0, |_, _| Verdict::Queue(0))]);
    b.client_sends(&through());
    b.dropped(DropReason::QueueUnbound);
    let queue = b.router.queue(0, 2);
    for _ in 0..3 {
        b.client_sends(&through());
    }
    b.dropped(DropReason::QueueFull);
    // What the program throws away is entered as dropped the next time the clock is looked at; what it leaves in
    // the queue when it goes, once the queue is found to be nobody's.
    let lost = |b: &mut Bench| {
        b.pass(Duration::from_secs(1));
        b.totals().dropped(Column::Received, DropReason::QueueUnbound)
    };
    drop(queue.try_recv().unwrap());
    drop(queue);
    assert!((2..=3).contains(&lost(&mut b)));
    b.client_sends(&through());
    assert_eq!(lost(&mut b), 4);
    b.silent();
    b.balanced();
}

#[test]
fn a_programs_other_words_hold_for_queued_packets_too() {
    let mut b =
        with([at(Hook::Forward, 0, |_, _| Verdict::Queue(0)), at(Hook::Forward, 1, |_, _| Verdict::Accept)]);
    let (first, second) = (b.router.queue(0, 8), b.router.queue(1, 8));
    b.client_sends(&through());
    b.worker.reinject(first.try_recv().unwrap(), Verdict::Drop, b.now);
    b.dropped(DropReason::Hook);
    b.client_sends(&through());
    b.worker.reinject(first.try_recv().unwrap(), Verdict::Repeat, b.now);
    b.worker.reinject(first.try_recv().unwrap(), Verdict::Queue(1), b.now);
    b.silent();
    // The hooks have changed meanwhile: its priority says where it was.
    let mut snap = Plan::default().snapshot();
    snap.hooks = Hooks::new().with(at(Hook::Forward, -5, |_, _| Verdict::Drop));
    b.router.replace(snap);
    b.worker.reinject(second.try_recv().unwrap(), Verdict::Accept, b.now);
    b.collect();
    assert_eq!(b.out.len(), 1);
    b.client_sends(&through());
    b.balanced();
}
