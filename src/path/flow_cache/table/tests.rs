//! Who stays and who goes.

use super::*;
use crate::base::LinkId;

struct Rig {
    table: Table,
    secret: Secret,
}

impl Rig {
    fn new(most: usize) -> Rig {
        Rig { table: Table::new(most), secret: Secret::test() }
    }

    fn hash(&self, n: u32) -> u64 {
        self.secret.hash(&key(n))
    }

    /// The n-th flow comes; says whether it is there now.
    fn comes(&mut self, n: u32) -> bool {
        let hash = self.hash(n);
        if let Some((at, record)) = self.table.find(hash, &key(n)) {
            assert_eq!(record.key, key(n));
            self.table.used(at);
            return true;
        }
        if !self.table.is_candidate(hash) {
            self.table.propose(hash);
            return false;
        }
        let mut record = Record::default();
        record.key = key(n);
        self.table.put(record, hash, &self.secret) != Put::Refused
    }

    fn knows(&self, n: u32) -> bool {
        self.table.find(self.hash(n), &key(n)).is_some()
    }
}

fn key(n: u32) -> Key {
    Key::test(n, LinkId(1))
}

#[test]
fn a_flow_gets_in_when_it_comes_again() {
    let mut rig = Rig::new(100);
    assert!(!rig.comes(1) && rig.comes(1) && rig.knows(1));
    assert!(!rig.knows(2));
    assert_eq!(rig.table.len(), 1);
    assert_eq!(rig.table.clear(), 1);
    assert!(!rig.knows(1) && rig.table.len() == 0);
    assert!(!rig.comes(1) && rig.comes(1) && rig.comes(1));
}

#[test]
fn as_many_as_there_may_be_find_room() {
    let mut rig = Rig::new(4096);
    for _ in 0..8 {
        (0..4096).for_each(|n| _ = rig.comes(n));
    }
    let known = (0..4096).filter(|n| rig.knows(*n)).count();
    assert!(known > 4000, "{known}");
    assert!(rig.table.len() <= 4096);
}

#[test]
fn flows_that_come_in_turn_all_get_in() {
    let mut rig = Rig::new(64);
    for _ in 0..40 {
        (0..48).for_each(|n| _ = rig.comes(n));
    }
    assert_eq!((0..48).filter(|n| rig.knows(*n)).count(), 48);
}

#[test]
fn a_flood_does_not_wash_out_who_is_busy() {
    let mut rig = Rig::new(1024);
    for _ in 0..4 {
        (0..512).for_each(|n| _ = rig.comes(n));
    }
    // Of the flood each comes three times, as often as it takes to get in and be used.
    let busy_before = (0..512).filter(|n| rig.knows(*n)).count();
    let mut hits = 0;
    for round in 0..200u32 {
        for n in 0..512 {
            hits += usize::from(rig.comes(n));
        }
        for n in 0..500 {
            let n = 10_000 + round * 500 + n;
            (0..3).for_each(|_| _ = rig.comes(n));
        }
    }
    assert!(busy_before > 500);
    assert!(hits * 100 > 200 * 512 * 95, "{hits} of {}", 200 * 512);
    assert!(rig.table.len() <= 1024);
}

#[test]
fn who_is_used_no_more_makes_way() {
    let mut rig = Rig::new(1024);
    for _ in 0..8 {
        (0..1024).for_each(|n| _ = rig.comes(n));
    }
    for _ in 0..200 {
        (5000..6024).for_each(|n| _ = rig.comes(n));
    }
    let known = (5000..6024).filter(|n| rig.knows(*n)).count();
    assert!(known > 950, "{known}");
}

#[test]
fn a_record_that_is_not_true_again_and_again_is_made_anew() {
    let mut rig = Rig::new(100);
    rig.comes(1);
    rig.comes(1);
    let at = rig.table.find(rig.hash(1), &key(1)).unwrap().0;
    assert_eq!((0..4).map(|_| rig.table.strike(at)).collect::<Vec<_>>(), [false, false, false, true]);
    rig.table.used(at);
    assert!(!rig.table.strike(at));
}

#[test]
fn a_table_without_room_holds_nothing() {
    let mut rig = Rig::new(0);
    assert!(!rig.comes(1) && !rig.comes(1) && !rig.comes(1));
    assert_eq!((rig.table.warm(5), rig.table.likely(5).is_some()), (0, false));
}
