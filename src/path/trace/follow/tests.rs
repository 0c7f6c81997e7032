use super::*;
use crate::path::trace::draft::{Listener, Standing};
use crate::path::trace::{End, Expr, Glance, Record, Wanted, Watch};

fn begin(tracer: &Arc<Tracer>, following: &mut Following, watch: &Watch, standing: Standing) -> TraceId {
    let id = tracer.number();
    let record = Record {
        id: id.get(),
        cause: match standing {
            Standing::As(cause) => Some(cause.get()),
            _ => None,
        },
        time: 0,
        worker: 0,
        link: None,
        packet: String::new(),
        cache: None,
        continued: false,
        partial: false,
        steps: Vec::new(),
        more: 0,
        end: End::Parked,
        frames: Vec::new(),
    };
    let audience = vec![Listener { watch: watch.shared.clone(), standing, told: None }];
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
    Step::Delivered { to: "x".to_owned() }
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
