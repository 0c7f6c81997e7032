//! The wheel against a sorted list of deadlines.

use std::cell::RefCell;
use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

const PLACES: u32 = 40;

#[derive(Debug, Clone)]
enum Act {
    /// Sets a deadline so many seconds ahead, linking or bringing forward as the table does.
    Set(u32, u32),
    Unlink(u32),
    /// Lets time pass, and turns the wheel with this budget.
    Pass(u32, usize),
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let ahead = prop_oneof![0..5u32, 0..100u32, 0..10_000u32, 0..1_000_000u32, 0..400_000_000u32];
    let pass = prop_oneof![0..3u32, 0..100u32, 0..5_000u32, 0..1_000_000u32];
    let act = prop_oneof![
        4 => (0..PLACES, ahead).prop_map(|(at, ahead)| Act::Set(at, ahead)),
        1 => (0..PLACES).prop_map(Act::Unlink),
        3 => (pass, prop_oneof![1..4usize, Just(1000)]).prop_map(|(s, budget)| Act::Pass(s, budget)),
    ];
    proptest::collection::vec(act, 1..200)
}

/// A wheel, and what it should know: the deadline of each place that is linked.
struct Rig {
    slab: Slab,
    wheel: Wheel,
    deadlines: RefCell<BTreeMap<u32, u32>>,
    now: u32,
}

impl Rig {
    fn new() -> Self {
        let slab = Slab::new(PLACES, 1);
        assert!((0..PLACES).all(|_| slab.take(0).is_some()));
        Rig { slab, wheel: Wheel::new(), deadlines: RefCell::default(), now: 0 }
    }

    fn set(&self, at: u32, tick: u32) {
        if self.deadlines.borrow_mut().insert(at, tick).is_none() {
            self.wheel.link(&self.slab, at, tick);
        } else if tick < self.slab.slot(at).unwrap().armed.load(Relaxed) {
            self.wheel.bring_forward(&self.slab, at, || Some(tick));
        }
    }

    /// Turns the wheel once; what is due is unlinked, as the table does after the turn.
    fn turn(&self, budget: usize) -> usize {
        let mut due = Vec::new();
        let looked =
            self.wheel.turn(&self.slab, Instant::from_secs(self.now.into()), budget, &mut |at| match self
                .deadlines
                .borrow()[&at]
            {
                tick if tick > self.now => Look::At(tick),
                _ => {
                    due.push(at);
                    Look::Due
                }
            });
        for at in due {
            self.wheel.unlink(&self.slab, at);
            self.deadlines.borrow_mut().remove(&at);
        }
        looked.unwrap()
    }
}

proptest! {
    #[test]
    fn nothing_is_early_and_nothing_is_forgotten(acts in acts()) {
        let mut rig = Rig::new();
        for act in acts {
            match act {
                Act::Set(at, ahead) => rig.set(at, rig.now + ahead),
                Act::Unlink(at) => {
                    rig.wheel.unlink(&rig.slab, at);
                    rig.deadlines.borrow_mut().remove(&at);
                }
                Act::Pass(seconds, budget) => {
                    rig.now += seconds;
                    rig.turn(budget);
                    // As often as it asks for.
                    let mut turns = 0;
                    while rig.wheel.due() <= Instant::from_secs(rig.now.into()) {
                        rig.turn(budget);
                        turns += 1;
                        prop_assert!(turns < 2000, "no end");
                    }
                    let late = rig.deadlines.borrow().values().filter(|t| **t < rig.now).count();
                    prop_assert_eq!(late, 0, "at {}: {:?}", rig.now, rig.deadlines.borrow());
                }
            }
            let next = rig.deadlines.borrow().values().min().copied();
            if let Some(next) = next {
                prop_assert!(rig.wheel.due() <= Instant::from_secs(next.max(rig.now + 1).into()));
            }
        }
    }
}

#[test]
fn ticks_are_whole_seconds_rounded_up() {
    assert_eq!(tick_of(Instant::ZERO), 0);
    assert_eq!(tick_of(Instant::from_nanos(1)), 1);
    assert_eq!(tick_of(Instant::from_secs(5)), 5);
    assert_eq!(tick_of(Instant::FAR_FUTURE), u32::MAX);
}

#[test]
fn an_idle_entry_is_touched_a_few_times_in_five_days() {
    let mut rig = Rig::new();
    rig.now = 12_345;
    rig.turn(1);
    rig.set(0, 12_345 + 432_000);
    let mut looks = 0;
    while !rig.deadlines.borrow().is_empty() {
        rig.now = (rig.wheel.due().as_millis() / 1000) as u32;
        looks += rig.turn(1000);
    }
    assert_eq!(rig.now, 12_345 + 432_000);
    assert!(looks <= 5, "{looks}");
}

#[test]
fn brought_forward_again_and_again_it_stays_one_entry() {
    let mut rig = Rig::new();
    rig.set(3, 432_000);
    for tick in (10..5_000).rev() {
        rig.set(3, tick);
    }
    // A packet puts it off: the wheel is not told, looks once too early, and moves it.
    rig.set(3, 432_000);
    rig.now = 10;
    let looks: usize = (0..5).map(|_| rig.turn(1000)).sum();
    assert_eq!(looks, 1);
    assert!(rig.wheel.due() > Instant::from_secs(60));
    rig.now = 432_000;
    while rig.wheel.due() <= Instant::from_secs(432_000) {
        rig.turn(1);
    }
    assert!(rig.deadlines.borrow().is_empty());
}
