//! Which source-translated flows share a source: so that NAT gives a client the same address and port towards
//! another server (RFC 4787 REQ-1, as far as the kernel goes: `find_appropriate_src`).
//!
//! A list for each source, newest flow first, of links in the flows' places. The table finds the newest by
//! the hash of the source; whoever walks the list compares for himself.
//!
//! Locks: a source shard's below an index shard's, a place's below either.

use std::sync::Mutex;
use std::sync::atomic::Ordering::Relaxed;

use hashbrown::HashTable;

use super::lock;
use super::slab::{NONE, Slab};

/// Shards of the table.
const SHARDS: usize = 64;

/// Flows of one source looked at for a mapping that fits; more have the same one, or none that fits.
const LOOKED_AT: usize = 64;

#[derive(Debug, Clone, Copy)]
struct Newest {
    hash: u64,
    at: u32,
}

#[derive(Debug, Default)]
#[repr(align(64))]
struct Padded(Mutex<HashTable<Newest>>);

/// The lists of all sources.
#[derive(Debug)]
pub(super) struct Sources(Box<[Padded]>);

impl Sources {
    pub(super) fn new() -> Self {
        Sources((0..SHARDS).map(|_| Padded::default()).collect())
    }

    fn shard(&self, hash: u64) -> &Mutex<HashTable<Newest>> {
        &self.0[(hash >> 32) as usize % SHARDS].0
    }

    /// Puts a place that is on no list at the front of its source's.
    pub(super) fn link(&self, slab: &Slab, hash: u64, at: u32) {
        let mut table = lock(self.shard(hash));
        let Some(slot) = slab.slot(at) else { return };
        slot.newer.store(NONE, Relaxed);
        match table.find_mut(hash, |n| n.hash == hash) {
            Some(newest) => {
                slot.older.store(newest.at, Relaxed);
                if let Some(second) = slab.slot(newest.at) {
                    second.newer.store(at, Relaxed);
                }
                newest.at = at;
            }
            None => {
                slot.older.store(NONE, Relaxed);
                table.insert_unique(hash, Newest { hash, at }, |n| n.hash);
            }
        }
    }

    /// Takes a place off its source's list.
    pub(super) fn unlink(&self, slab: &Slab, hash: u64, at: u32) {
        let mut table = lock(self.shard(hash));
        let Some(slot) = slab.slot(at) else { return };
        let newer = slot.newer.swap(NONE, Relaxed);
        let older = slot.older.swap(NONE, Relaxed);
        if let Some(behind) = slab.slot(older) {
            behind.newer.store(newer, Relaxed);
        }
        if let Some(before) = slab.slot(newer) {
            before.older.store(older, Relaxed);
            return;
        }
        let Ok(mut entry) = table.find_entry(hash, |n| n.hash == hash && n.at == at) else { return };
        if older == NONE {
            entry.remove();
        } else {
            entry.get_mut().at = older;
        }
    }

    /// Asks about the flows of a source, newest first, until one gives an answer.
    pub(super) fn find<T>(&self, slab: &Slab, hash: u64, mut ask: impl FnMut(u32) -> Option<T>) -> Option<T> {
        let table = lock(self.shard(hash));
        let mut at = table.find(hash, |n| n.hash == hash)?.at;
        for _ in 0..LOOKED_AT {
            let slot = slab.slot(at)?;
            if let Some(found) = ask(at) {
                return Some(found);
            }
            at = slot.older.load(Relaxed);
        }
        None
    }

    /// Bytes taken.
    pub(super) fn memory(&self) -> usize {
        self.0.iter().map(|s| lock(&s.0).allocation_size() + size_of::<Padded>()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_is_asked_first_and_any_may_leave() {
        let (slab, sources) = (Slab::new(8, 1), Sources::new());
        let list = |hash| {
            let mut seen = Vec::new();
            sources.find(&slab, hash, |at| {
                seen.push(at);
                None::<()>
            });
            seen
        };
        for _ in 0..6 {
            slab.take(0).unwrap();
        }
        for at in 0..4 {
            sources.link(&slab, 77, at);
        }
        sources.link(&slab, 78, 5);
        assert_eq!((list(77), list(78)), (vec![3, 2, 1, 0], vec![5]));
        sources.unlink(&slab, 77, 3);
        sources.unlink(&slab, 77, 1);
        assert_eq!(list(77), [2, 0]);
        sources.unlink(&slab, 77, 0);
        sources.unlink(&slab, 77, 2);
        assert_eq!((list(77), list(78)), (vec![], vec![5]));
        sources.link(&slab, 77, 1);
        assert_eq!(list(77), [1]);
        assert_eq!(sources.find(&slab, 77, |at| (at == 1).then_some(at * 2)), Some(2));
    }
}
