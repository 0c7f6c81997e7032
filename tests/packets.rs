//! Rules beside the kernel's, packet by packet: the same random ruleset in a program and in the kernel's raw and mangle
//! tables, the same random packets through both, and every counter must say the same.
//!
//! Asks PREROUTING only, which sees packets as they come: what a router does besides is the parity tests' matter.
//! `SEKISHO_PACKETS=N` makes N rulesets of each kind instead of a few, `PROPTEST_RNG_SEED` gives other ones.

#[path = "packets/draw.rs"]
mod draw;
#[path = "packets/gate.rs"]
mod gate;
#[expect(dead_code, reason = "its commands are for the tests of rules")]
#[path = "rules/kernel.rs"]
mod kernel;

use std::cell::{Cell, RefCell};

use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use sekisho::filter::{Family, Program, TableName, Verdict, iptables};
use sekisho::lab::{isolate, tools};

use gate::{Gate, World, links};
use kernel::Kernel;

/// What is drawn: the chains of each table, as seeds of their rules, and seeds of packets.
type Drawn = (Vec<Vec<Vec<u64>>>, Vec<u64>);

fn drawn() -> impl Strategy<Value = Drawn> {
    let rules = || proptest::collection::vec(any::<u64>(), 0..25);
    let table = || proptest::collection::vec(rules(), 1..5);
    (proptest::collection::vec(table(), 1..3), proptest::collection::vec(any::<u64>(), 1..80))
}

fn beside_the_kernel(family: Family, states: bool) {
    if let Err(e) = std::fs::File::options().read(true).write(true).open("/dev/net/tun") {
        println!("skipped: /dev/net/tun: {e}");
        return;
    }
    if !tools::usable(&tools::IPTABLES) {
        return;
    }
    let gate = RefCell::new(Gate::new());
    let kernel = Kernel::new(family);
    let cases = std::env::var("SEKISHO_PACKETS").ok().and_then(|n| n.parse().ok()).unwrap_or(40);
    let config = ProptestConfig {
        cases,
        failure_persistence: None,
        max_shrink_iters: 300,
        ..ProptestConfig::default()
    };
    let taken = Cell::new(0);
    let outcome = TestRunner::new(config).run(&drawn(), |(tables, packets)| {
        let text = draw::ruleset(&tables, family, states);
        if let Err(refused) = kernel.load(&text) {
            prop_assert!(
                iptables::read(&text, family).is_err(),
                "only the kernel refuses: {}\n{}",
                refused,
                text
            );
            return Err(TestCaseError::reject("refused"));
        }
        let rules = match iptables::read(&text, family) {
            Ok(rules) => rules,
            Err(why) => return Err(TestCaseError::fail(format!("only we refuse: {}\n{text}", why[0]))),
        };
        let program = Program::compile(&rules, &links()).expect("what was read compiles");
        let mut world = World;
        for seed in &packets {
            let mut packet = draw::packet(*seed, family, states, gate.borrow().mac());
            gate.borrow_mut().send(&packet);
            for table in [TableName::Raw, TableName::Mangle] {
                if program.run(table, &mut packet, &mut world) == Verdict::Drop {
                    break;
                }
            }
        }
        let counted = program.ruleset();
        for table in counted.tables.iter().map(|t| t.name) {
            let mut one = counted.clone();
            one.tables.retain(|t| t.name == table);
            let ours = iptables::write(&one, true);
            let theirs =
                gate.borrow_mut().settled(|| kernel.save(table.name()), |text| counts(text) == counts(&ours));
            if counts(&ours) != counts(&theirs) {
                let differ = ours.lines().zip(theirs.lines()).filter(|(a, b)| counts(a) != counts(b));
                let differ: String = differ.map(|(a, b)| format!("ours   {a}\nkernel {b}\n")).collect();
                return Err(TestCaseError::fail(format!("{differ}in\n{text}")));
            }
        }
        taken.set(taken.get() + 1);
        Ok(())
    });
    if let Err(why) = outcome {
        panic!("{why}");
    }
    assert!(taken.get() >= cases, "only {} rulesets were taken", taken.get());
}

/// The counters in a text of iptables-save, in their order.
fn counts(text: &str) -> Vec<&str> {
    text.lines().filter_map(|l| l.split_once('[')?.1.split_once(']')).map(|(count, _)| count).collect()
}

#[test]
fn v4() {
    isolate::test(|| beside_the_kernel(Family::V4, false));
}

#[test]
fn v6() {
    isolate::test(|| beside_the_kernel(Family::V6, false));
}

#[test]
fn v4_where_conntrack_runs() {
    isolate::test(|| beside_the_kernel(Family::V4, true));
}

#[test]
fn v6_where_conntrack_runs() {
    isolate::test(|| beside_the_kernel(Family::V6, true));
}
