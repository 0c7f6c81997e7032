//! Rulesets by chance: what is written reads back as what it was, and the kernel's tool prints it back as we wrote it.
//!
//! `SEKISHO_RULES_CASES=5000 cargo test --test rules random` tries more of them.

use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;

use sekisho::filter::{Family, Ruleset, iptables};
use sekisho::lab::{isolate, tools};

use crate::generate::ruleset;
use crate::kernel::Kernel;

/// Lines are where a rule stands, not what it is.
fn without_lines(mut rules: Ruleset) -> Ruleset {
    let rules_of = rules.tables.iter_mut().flat_map(|t| &mut t.chains).flat_map(|c| c.rules.iter_mut());
    rules_of.for_each(|r| r.line = 0);
    rules
}

fn written_reads_back(rules: &Ruleset) -> Result<String, TestCaseError> {
    let text = iptables::write(rules, true);
    let read = iptables::read(&text, rules.family);
    let read = read.map_err(|p| TestCaseError::fail(format!("{}\n{text}", p[0])))?;
    prop_assert_eq!(&without_lines(read), rules, "{}", text);
    Ok(text)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn v4_reads_back(rules in ruleset(Family::V4)) {
        written_reads_back(&rules)?;
    }

    #[test]
    fn v6_reads_back(rules in ruleset(Family::V6)) {
        written_reads_back(&rules)?;
    }
}

fn beside_the_kernel(family: Family) {
    if !tools::usable(&tools::IPTABLES) {
        return;
    }
    let kernel = Kernel::new(family);
    let cases = std::env::var("SEKISHO_RULES_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(150);
    let config = ProptestConfig {
        cases,
        max_shrink_iters: 2_000,
        // What a strategy turns down is one value of many, and many cases add up.
        max_local_rejects: u32::MAX,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    let told = TestRunner::new(config).run(&ruleset(family), |rules| {
        let text = written_reads_back(&rules)?;
        kernel.load(&text).map_err(|e| TestCaseError::fail(format!("the kernel: {e}\n{text}")))?;
        let theirs: String = rules.tables.iter().map(|t| kernel.save(t.name.name())).collect();
        prop_assert_eq!(theirs, text);
        Ok(())
    });
    told.unwrap_or_else(|e| panic!("{e}"));
}

#[test]
fn v4_beside_the_kernel() {
    isolate::test(|| beside_the_kernel(Family::V4));
}

#[test]
fn v6_beside_the_kernel() {
    isolate::test(|| beside_the_kernel(Family::V6));
}

#[test]
fn nothing_is_left_out() {
    for family in [Family::V4, Family::V6] {
        let mut runner = TestRunner::deterministic();
        let strategy = ruleset(family);
        let mut texts = String::new();
        for _ in 0..200 {
            let rules = strategy.new_tree(&mut runner).expect("there is one").current();
            texts.push_str(&iptables::write(&rules, false));
        }
        let ours = iptables::catalogue().into_iter().filter(|e| e.read && e.families.contains(&family));
        for entry in ours.filter(|e| e.names.is_empty()) {
            assert!(texts.contains(&entry.of), "{family:?}: no {} in 200 rulesets", entry.of);
        }
    }
}
