use super::*;
use crate::path::trace::draft::{Listener, Standing};
use crate::path::trace::{End, Expr, Glance, Record, Wanted, Watch};

fn begin(tracer: &Arc<Tracer>, following: &mut Following, watch: &Watch, standing: Standing) -> TraceId {
    let id = tracer.number();
    let cause = match standing {
        Standing::As(cause) => Some(cause.get()),
        _ => None,
    };
    let record = Record { cause, ..Record::new(id) };
    let audience = vec![Listener::new(watch.shared.clone(), standing)];
    let mut draft = Draft::new(id, record, Glance::default(), audience);
    draft.push(Step::Made { len: 20 });
    following.open(tracer, draft);
    id
}

fn watch(tracer: &Arc<Tracer>, filter: &str) -> Watch {
    let filter: Expr = filter.parse().unwrap();
    tracer.watch(Wanted { filter, ..Wanted::default() }).unwrap()
}

fn told(watch: &Watch) -> Vec<(u32, End, Vec<String>)> {
    let labels = |r: &Record| r.steps.iter().map(|s| s.label().to_owned()).collect();
    watch.take(usize::MAX, usize::MAX).iter().map(|r| (r.id, r.end, labels(r))).collect()
}

fn delivered() -> Step {
    Step::Delivered { to: "x".to_owned(), did: None }
}

fn waits() -> Step {
    Step::Parked { why: "x".to_owned() }
}

#[test]
fn another_worker_may_end_a_packet_before_it_is_said_that_it_waits() {
    for second_leaves_first in [false, true] {
        let tracer = Arc::<Tracer>::default();
        let w = watch(&tracer, "");
        let (mut first, mut second) = (Following::default(), Following::default());
        let id = begin(&tracer, &mut first, &w, Standing::Sure);
        let parting = first.part(&tracer, id, None).expect("it is followed");
        second.unpark(&tracer, id, 1);
        second.add(&tracer, id, |d| d.push(delivered())).expect("it is found");
        if second_leaves_first {
            second.settle(&tracer);
            assert!(told(&w).is_empty(), "the first is about to say more");
        }
        first.parted(&tracer, parting, vec![Step::Looped, waits()], false);
        first.settle(&tracer);
        second.settle(&tracer);
        let want = ["made", "loopback", "waits", "goes on", "delivered"].map(str::to_owned).to_vec();
        assert_eq!(told(&w), [(id.get(), End::Delivered, want)]);
        assert!(!first.has_untold() && !second.has_untold());
        assert!(!super::super::lock(&tracer.parked).has(id));
    }
}

#[test]
fn what_a_packet_caused_is_told_behind_it_whoever_ends_it() {
    let tracer = Arc::<Tracer>::default();
    for filter in ["not drop", "drop"] {
        let w = watch(&tracer, filter);
        let (mut first, mut second) = (Following::default(), Following::default());
        let cause = begin(&tracer, &mut first, &w, Standing::Maybe);
        let caused = begin(&tracer, &mut first, &w, Standing::As(cause));
        first.add(&tracer, cause, |d| d.bear(caused));
        first.part(&tracer, cause, Some(waits()));
        // What is caused once it waits stands with it.
        let later = begin(&tracer, &mut first, &w, Standing::As(cause));
        first.add(&tracer, cause, |d| d.bear(later));
        for id in [caused, later] {
            first.add(&tracer, id, |d| d.push(delivered()));
        }
        first.settle(&tracer);
        assert!(told(&w).is_empty(), "only the end of the first tells");
        second.unpark(&tracer, cause, 1);
        second.add(&tracer, cause, |d| d.push(delivered()));
        second.settle(&tracer);
        let ids: Vec<u32> = told(&w).iter().map(|(id, ..)| *id).collect();
        match filter {
            "drop" => assert!(ids.is_empty()),
            _ => assert_eq!(ids, [cause.get(), caused.get(), later.get()]),
        }
        let mut parked = super::super::lock(&tracer.parked);
        assert!([cause, caused, later].iter().all(|id| !parked.has(*id) && parked.leave(*id).is_none()));
    }
}

#[test]
fn too_many_that_wait_are_forgotten_and_counted_as_done() {
    let tracer = Arc::<Tracer>::default();
    let w = tracer.watch(Wanted { count: Some(1), ..Wanted::default() }).unwrap();
    let other = watch(&tracer, "");
    let mut worker = Following::default();
    let first = begin(&tracer, &mut worker, &w, Standing::Sure);
    worker.part(&tracer, first, Some(waits()));
    worker.settle(&tracer);
    assert!(!w.is_over());
    for _ in 0..4_096 {
        let id = begin(&tracer, &mut worker, &other, Standing::Sure);
        worker.part(&tracer, id, Some(waits()));
        worker.settle(&tracer);
    }
    assert!(w.is_over(), "nobody will know what becomes of it");
    assert!(!super::super::lock(&tracer.parked).has(first));
    // With the watches go those that are remembered for them.
    drop((w, other));
    assert!(worker.part(&tracer, first, None).is_none());
}

/// Gives a packet to the local stack, which fetches it.
fn hand_to_host(tracer: &Arc<Tracer>, worker: &mut Following, id: TraceId) {
    worker.give(tracer, id, None, |d| d.given(None, 0, Step::Given { to: "x".to_owned() }));
    worker.fetched(tracer);
}

#[test]
fn a_packet_of_the_local_stack_is_told_when_that_has_said_what_it_did() {
    for stack_is_last in [false, true] {
        let tracer = Arc::<Tracer>::default();
        let w = watch(&tracer, "");
        let (mut worker, mut ledger) = (Following::default(), Following::default());
        let id = begin(&tracer, &mut worker, &w, Standing::Sure);
        hand_to_host(&tracer, &mut worker, id);
        if stack_is_last {
            worker.settle(&tracer);
        }
        assert!(told(&w).is_empty(), "nobody knows yet");
        assert!(ledger.answered(&tracer, id, None, None));
        ledger.settle(&tracer);
        worker.settle(&tracer);
        let want = ["made", "delivered"].map(str::to_owned).to_vec();
        assert_eq!(told(&w), [(id.get(), End::Delivered, want)]);
        assert!(!worker.has_untold() && !ledger.has_untold());
        assert!(!super::super::lock(&tracer.parked).has(id));
    }
    // Where the worker itself says it, and where the watch does not wait for it.
    let tracer = Arc::<Tracer>::default();
    let (w, impatient) = (watch(&tracer, ""), watch(&tracer, ""));
    let (mut worker, mut ledger) = (Following::default(), Following::default());
    let id = begin(&tracer, &mut worker, &w, Standing::Sure);
    hand_to_host(&tracer, &mut worker, id);
    worker.answered(&tracer, id, None, None);
    worker.settle(&tracer);
    assert_eq!(told(&w).len(), 1);
    let id = begin(&tracer, &mut worker, &impatient, Standing::Sure);
    hand_to_host(&tracer, &mut worker, id);
    worker.settle(&tracer);
    impatient.close();
    assert_eq!(told(&impatient), [(id.get(), End::Parked, vec!["made".to_owned(), "given".to_owned()])]);
    assert!(ledger.answered(&tracer, id, None, None));
    ledger.settle(&tracer);
    assert!(told(&impatient).is_empty() && !super::super::lock(&tracer.parked).has(id));
    assert!(!ledger.answered(&tracer, id, None, None), "nobody remembers it");
}

#[test]
fn a_watch_that_ends_is_told_of_what_waits_and_of_what_that_caused() {
    let tracer = Arc::<Tracer>::default();
    for (filter, means) in [("not drop", true), ("drop", false)] {
        let w = watch(&tracer, filter);
        let mut worker = Following::default();
        let cause = begin(&tracer, &mut worker, &w, Standing::Maybe);
        let caused = begin(&tracer, &mut worker, &w, Standing::As(cause));
        worker.add(&tracer, cause, |d| d.bear(caused));
        for id in [cause, caused] {
            worker.part(&tracer, id, Some(waits()));
        }
        worker.settle(&tracer);
        assert!(told(&w).is_empty(), "only the end of the first tells");
        w.close();
        let ids: Vec<u32> = told(&w).iter().map(|(id, ..)| *id).collect();
        assert_eq!(ids, if means { vec![cause.get(), caused.get()] } else { vec![] }, "{filter}");
        w.close();
        assert!(told(&w).is_empty());
    }
}

#[test]
fn what_stands_in_a_queue_for_long_is_told_when_the_watch_ends() {
    let tracer = Arc::<Tracer>::default();
    let w = watch(&tracer, "");
    let mut worker = Following::default();
    let id = begin(&tracer, &mut worker, &w, Standing::Sure);
    let sent = Step::Sent { link: "x".to_owned(), len: 1, mac: None, packet: String::new() };
    worker.give(&tracer, id, Some(LinkId(1)), |d| d.given(Some(LinkId(1)), 0, sent));
    for _ in 0..3 {
        worker.settle(&tracer);
        assert!(told(&w).is_empty() && worker.has_given(LinkId(1)));
    }
    w.close();
    assert_eq!(told(&w), [(id.get(), End::Parked, vec!["made".to_owned(), "queued".to_owned()])]);
    worker.handed(&tracer, LinkId(1), id, None);
    worker.settle(&tracer);
    assert!(told(&w).is_empty() && !worker.has_untold());
}
