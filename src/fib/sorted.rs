//! An ordered map whose copies share what is the same in them.
//!
//! ```text
//!   copy ─┐                 ┌─► chunk   keys in order, up to 512 of them
//!         ├─► first keys ───┼─► chunk ◄──┐
//!         │                 └─► chunk ◄──┼── first keys ◄── a copy that was changed: one chunk is its own
//!         └                     chunk ◄──┘
//! ```
//!
//! A copy of a map of a million costs some thousand counts, and a change to it one chunk. What two copies differ in is found
//! by going over what they don't share. Knows nothing of what it holds.

use std::sync::Arc;

/// Entries in a chunk at most.
const FULL: usize = 512;
/// A chunk with fewer goes together with its neighbor, if both fit into three quarters of one.
const FEW: usize = 128;

/// The map.
#[derive(Debug, Clone)]
pub(super) struct Sorted<K, V> {
    /// Never an empty one.
    chunks: Vec<Chunk<K, V>>,
    len: usize,
}

#[derive(Debug, Clone)]
struct Chunk<K, V> {
    /// The first key: a search touches one chunk only.
    first: K,
    entries: Arc<Vec<(K, V)>>,
}

impl<K, V> Default for Sorted<K, V> {
    fn default() -> Self {
        Sorted { chunks: Vec::new(), len: 0 }
    }
}

impl<K: Ord + Copy, V: Copy> Sorted<K, V> {
    /// How many entries there are.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The entries in order.
    pub(super) fn iter(&self) -> Iter<'_, K, V> {
        Iter { chunks: &self.chunks, entries: [].iter() }
    }

    /// The entries from this key on.
    pub(super) fn from(&self, key: &K) -> Iter<'_, K, V> {
        let (at, within) = self.place(key);
        let Some((chunk, behind)) = self.chunks.get(at..).and_then(<[_]>::split_first) else {
            return Iter { chunks: &[], entries: [].iter() };
        };
        Iter { chunks: behind, entries: chunk.entries.get(within..).unwrap_or_default().iter() }
    }

    /// The entries from behind this key on.
    pub(super) fn behind<'a>(&'a self, key: &'a K) -> impl Iterator<Item = (&'a K, &'a V)> {
        self.from(key).skip_while(move |(k, _)| *k == key)
    }

    /// The entries between two keys, with both.
    pub(super) fn between(&self, first: &K, last: K) -> impl Iterator<Item = (&K, &V)> + use<'_, K, V> {
        self.from(first).take_while(move |(k, _)| **k <= last)
    }

    /// The chunk that a key is in or belongs into, and its place there.
    fn place(&self, key: &K) -> (usize, usize) {
        let at = self.chunks.partition_point(|c| c.first <= *key).saturating_sub(1);
        let within = self.chunks.get(at).map_or(0, |c| c.entries.partition_point(|(k, _)| k < key));
        (at, within)
    }

    /// Puts an entry in; what was there under its key goes.
    pub(super) fn insert(&mut self, key: K, value: V) {
        let (at, within) = self.place(&key);
        let last = at + 1 >= self.chunks.len();
        let Some(chunk) = self.chunks.get_mut(at) else {
            self.chunks.push(Chunk { first: key, entries: Arc::new(vec![(key, value)]) });
            self.len += 1;
            return;
        };
        if chunk.entries.get(within).is_some_and(|(k, _)| *k == key) {
            Arc::make_mut(&mut chunk.entries)[within].1 = value;
            return;
        }
        self.len += 1;
        if chunk.entries.len() >= FULL {
            // What comes in order fills its chunks.
            let half = if last && within == chunk.entries.len() { within } else { FULL / 2 };
            let mut behind = Vec::with_capacity(FULL);
            if half < chunk.entries.len() {
                behind.extend(Arc::make_mut(&mut chunk.entries).drain(half..));
            }
            if within >= half {
                behind.insert(within - half, (key, value));
            } else {
                chunk.put(within, key, value);
            }
            let first = behind.first().map_or(key, |(k, _)| *k);
            self.chunks.insert(at + 1, Chunk { first, entries: Arc::new(behind) });
        } else {
            chunk.put(within, key, value);
        }
    }

    /// Takes an entry out.
    pub(super) fn remove(&mut self, key: &K) -> Option<V> {
        let (at, within) = self.place(key);
        let chunk = self.chunks.get_mut(at)?;
        chunk.entries.get(within).filter(|(k, _)| k == key)?;
        let (_, value) = Arc::make_mut(&mut chunk.entries).remove(within);
        self.len -= 1;
        match chunk.entries.first() {
            Some((first, _)) => chunk.first = *first,
            None => {
                self.chunks.remove(at);
                return Some(value);
            }
        }
        if chunk.entries.len() < FEW {
            // With the one behind it, or the one before it.
            self.join(at);
            self.join(at.wrapping_sub(1));
        }
        Some(value)
    }

    /// Makes one chunk of this and the next, if that leaves room.
    fn join(&mut self, at: usize) {
        let Some([one, next]) = self.chunks.get_mut(at..).and_then(|c| c.first_chunk_mut()) else { return };
        if one.entries.len() + next.entries.len() <= FULL - FEW {
            Arc::make_mut(&mut one.entries).extend_from_slice(&next.entries);
            self.chunks.remove(at + 1);
        }
    }

    /// What is in only one of two maps, or has another value: each key once, in order, with both values.
    pub(super) fn differences(
        &self,
        later: &Self,
        same: impl Fn(&V, &V) -> bool,
        mut each: impl FnMut(&K, Option<&V>, Option<&V>),
    ) {
        let (mut old, mut new) = (self.iter(), later.iter());
        loop {
            // At the beginning of the same chunk there is nothing to see before its end.
            while let Some((a, b)) = old.at_chunk().zip(new.at_chunk()) {
                if !Arc::ptr_eq(a, b) {
                    break;
                }
                old.skip_chunk();
                new.skip_chunk();
            }
            match (old.peek(), new.peek()) {
                (None, None) => return,
                (Some((a, was)), Some((b, is))) if a == b => {
                    if !same(was, is) {
                        each(a, Some(was), Some(is));
                    }
                    (old.next(), new.next());
                }
                (Some((a, was)), other) if other.is_none_or(|(b, _)| a < b) => {
                    each(a, Some(was), None);
                    old.next();
                }
                (_, Some((b, is))) => {
                    each(b, None, Some(is));
                    new.next();
                }
                (Some(_), None) => return, // told above
            }
        }
    }

    /// How many entries of this map stand in chunks that the other has not.
    pub(super) fn apart_from(&self, other: &Self) -> usize {
        let mut theirs = other.chunks.iter().peekable();
        let own = self.chunks.iter().filter(|c| {
            while theirs.next_if(|t| t.first < c.first).is_some() {}
            !theirs.peek().is_some_and(|t| Arc::ptr_eq(&t.entries, &c.entries))
        });
        own.map(|c| c.entries.len()).sum()
    }
}

impl<K: Copy, V: Copy> Chunk<K, V> {
    fn put(&mut self, within: usize, key: K, value: V) {
        Arc::make_mut(&mut self.entries).insert(within, (key, value));
        if within == 0 {
            self.first = key;
        }
    }
}

impl<'a, K: Ord + Copy, V: Copy> IntoIterator for &'a Sorted<K, V> {
    type Item = (&'a K, &'a V);
    type IntoIter = Iter<'a, K, V>;
    fn into_iter(self) -> Iter<'a, K, V> {
        self.iter()
    }
}

/// Entries in order.
pub(super) struct Iter<'a, K, V> {
    chunks: &'a [Chunk<K, V>],
    entries: std::slice::Iter<'a, (K, V)>,
}

impl<'a, K, V> Iter<'a, K, V> {
    /// The chunk that begins here.
    fn at_chunk(&self) -> Option<&'a Arc<Vec<(K, V)>>> {
        self.chunks.first().filter(|_| self.entries.len() == 0).map(|c| &c.entries)
    }

    fn skip_chunk(&mut self) {
        self.chunks = self.chunks.get(1..).unwrap_or_default();
    }

    fn peek(&self) -> Option<(&'a K, &'a V)> {
        let (key, value) = match self.entries.as_slice().first() {
            Some(entry) => entry,
            None => self.chunks.first()?.entries.first()?,
        };
        Some((key, value))
    }
}

impl<'a, K, V> Iterator for Iter<'a, K, V> {
    type Item = (&'a K, &'a V);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some((key, value)) = self.entries.next() {
                return Some((key, value));
            }
            let (chunk, behind) = self.chunks.split_first()?;
            self.chunks = behind;
            self.entries = chunk.entries.iter();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone)]
    enum Step {
        Insert(u16, u8),
        Remove(u16),
        /// Many in a row, to fill chunks and to empty them.
        Fill(u16, u16),
        Clear(u16, u16),
        Copy,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let key = || any::<u16>().prop_map(|k| k % 3_000);
        let one = prop_oneof![
            4 => (key(), any::<u8>()).prop_map(|(k, v)| Step::Insert(k, v)),
            4 => key().prop_map(Step::Remove),
            1 => (key(), 0..900u16).prop_map(|(k, n)| Step::Fill(k, n)),
            1 => (key(), 0..900u16).prop_map(|(k, n)| Step::Clear(k, n)),
            1 => Just(Step::Copy),
        ];
        proptest::collection::vec(one, 0..60)
    }

    fn equal(map: &Sorted<u16, u8>, reference: &BTreeMap<u16, u8>) {
        assert_eq!(map.len(), reference.len());
        assert!(map.iter().eq(reference.iter()));
        for chunk in &map.chunks {
            assert!((1..=FULL).contains(&chunk.entries.len()));
            assert_eq!(chunk.first, chunk.entries[0].0);
        }
        // Room is not given away to many small ones: two neighbors hold a quarter of one at least, but for those just split.
        assert!(map.chunks.len() <= 2 + map.len() / (FEW / 2));
        for key in [0, 1, 700, 1_500, 2_999] {
            assert!(map.from(&key).eq(reference.range(key..)));
            assert!(map.behind(&key).eq(reference.range(key + 1..)));
            assert!(map.between(&key, key + 600).eq(reference.range(key..=key + 600)));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]
        #[test]
        fn it_is_an_ordered_map_and_copies_stay_as_they_were(steps in steps()) {
            let (mut map, mut reference) = (Sorted::default(), BTreeMap::new());
            let mut copies = Vec::new();
            for step in steps {
                match step {
                    Step::Insert(k, v) => {
                        map.insert(k, v);
                        reference.insert(k, v);
                    }
                    Step::Remove(k) => prop_assert_eq!(map.remove(&k), reference.remove(&k)),
                    Step::Fill(k, n) => (k..k + n).for_each(|k| {
                        map.insert(k, 7);
                        reference.insert(k, 7);
                    }),
                    Step::Clear(k, n) => (k..k + n).for_each(|k| {
                        assert_eq!(map.remove(&k), reference.remove(&k));
                    }),
                    Step::Copy => copies.push((map.clone(), reference.clone())),
                }
            }
            equal(&map, &reference);
            for (copy, was) in &copies {
                equal(copy, was);
                let mut told = Vec::new();
                copy.differences(&map, |a, b| a == b, |k, a, b| told.push((*k, a.copied(), b.copied())));
                let keys: std::collections::BTreeSet<_> = was.keys().chain(reference.keys()).copied().collect();
                let all = keys.into_iter().map(|k| (k, was.get(&k).copied(), reference.get(&k).copied()));
                let expected: Vec<_> = all.filter(|(_, a, b)| a != b).collect();
                prop_assert_eq!(told, expected);
            }
        }
    }

    #[test]
    fn a_change_costs_a_copy_one_chunk() {
        let mut map = Sorted::default();
        (0..100_000u32).for_each(|k| map.insert(k, k));
        assert_eq!(map.chunks.len(), 100_000usize.div_ceil(FULL));
        let copy = map.clone();
        assert_eq!(map.apart_from(&copy), 0);
        map.insert(50_000, 0);
        map.remove(&50_001);
        assert!(map.apart_from(&copy) <= FULL);
        let mut told = 0;
        copy.differences(&map, |a, b| a == b, |_, _, _| told += 1);
        assert_eq!(told, 2);
    }
}
