//! Who goes, who stays, who is let in.

use super::*;
use crate::neighbor::tests::{A, B, LAN, N6, World, at, ip, packet};

#[test]
fn collection_starts_at_the_first_threshold() {
    let mut w = World::new();
    for i in 0..127 {
        w.stale(&format!("10.0.1.{i}"), A, 0.0);
    }
    w.run(1000.0);
    assert_eq!(w.table.entries(at(0.0)).len(), 127, "below it nothing goes");
    w.stale("10.0.2.1", A, 1000.0);
    w.resolve("10.0.1.5", packet(0), 1000.0);
    w.reply("10.0.1.5", A, 1000.0);
    w.out.clear();
    w.run(1030.0);
    let left: Vec<_> = w.table.entries(at(0.0)).into_iter().map(|i| i.ip).collect();
    assert_eq!(left, [ip("10.0.1.5"), ip("10.0.2.1")], "what was used within a minute stays");
}

#[test]
fn the_table_is_bounded_and_lets_go_of_the_idle() {
    let mut w = World::new();
    for i in 0..1024 {
        w.stale(&format!("10.0.{}.{}", i / 256, i % 256), A, f64::from(i) / 1e4);
    }
    assert!(!w.table.solicited(LAN, ip("10.1.0.0"), A, at(1.0), &mut w.out), "all were used just now");
    assert!(w.resolve("10.1.0.0", packet(9), 1.0).is_none());
    assert_eq!(w.take(), ["drop 9 neighbor_table_full"]);
    assert!(w.table.solicited(LAN, ip(N6), A, at(1.0), &mut w.out), "each family has its own limit");
    w.stale("10.0.0.0", A, 5.5);
    w.resolve("10.0.0.0", packet(0), 5.5);
    assert!(w.resolve("10.1.0.0", packet(9), 6.0).is_none());
    let actions = w.take();
    assert!(actions.contains(&"who has 10.1.0.0 for 10.9.9.9".into()), "{actions:?}");
    assert!(actions.contains(&"evicted 10.0.0.1".into()) && !actions.contains(&"evicted 10.0.0.0".into()));
    assert!(w.table.entries(at(0.0)).len() <= 1025);
    // Permanent ones don't count.
    for i in 0..600 {
        assert!(w.table.set_static(
            LAN,
            ip(&format!("10.7.{}.{}", i / 256, i % 256)),
            A,
            at(6.0),
            &mut w.out
        ));
    }
}

/// The path's promise for an address scan: 10,000 new addresses a second for 30 s.
#[test]
fn a_scan_from_outside_does_not_touch_neighbors_in_use_or_known() {
    let mut w = World::new();
    let busy: Vec<String> = (0..100).map(|i| format!("10.2.0.{i}")).collect();
    let idle: Vec<String> = (0..300).map(|i| format!("10.3.{}.{}", i / 200, i % 200)).collect();
    for n in busy.iter().chain(&idle) {
        w.reachable(n, A, 0.0);
    }
    let (mut solicits, mut most) = (0, 0);
    for step in 0..300_000_u32 {
        let secs = 1.0 + f64::from(step) / 10_000.0;
        let [_, b, c, d] = step.to_be_bytes();
        w.resolve(&format!("10.{}.{c}.{d}", 100 + b), packet(1), secs);
        if step % 5_000 == 0 {
            for n in &busy {
                assert!(w.resolve(n, packet(2), secs).is_some(), "{n} at {secs}: {:?}", w.info(n));
                w.table.confirm(LAN, ip(n), at(secs));
            }
            // A host that talks to us finds its place in the crowd.
            let newcomer = format!("10.4.{}.{}", step / 5_000 / 50, step / 5_000 % 50);
            assert!(w.table.solicited(LAN, ip(&newcomer), B, at(secs), &mut w.out), "{newcomer}");
            assert!(w.resolve(&newcomer, packet(3), secs).is_some());
        }
        w.table.timeout(at(secs), &mut w.out);
        for action in w.out.drain(..) {
            match action {
                Action::Solicit { .. } => solicits += 1,
                Action::Evicted { ip, .. } => {
                    let name = ip.to_string();
                    assert!(!busy.contains(&name) && !idle.contains(&name), "evicted {name}");
                }
                _ => {}
            }
        }
        if step % 1_000 == 0 {
            most = most.max(w.table.entries(at(secs)).len());
        }
    }
    assert!(most <= 1024, "{most}");
    assert!(w.table.parked_bytes() <= 16 << 20);
    // Each of some 1,000 guesses in the table is asked for up to three times, a second apart.
    assert!(solicits < 30 * 2_000, "{solicits}");
}
