//! Where nodes, pages and skips stand: three rows that only grow, shared by a table and those made of it.
//!
//! What has been written is never written again, and nothing leads to what has not been written; so everything may be
//! read without a lock while more is added behind it. Words are atomic for that, which costs a load nothing.

use std::fmt::Debug;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Bits, Ref};

/// An address that can be written beside readers.
pub(in crate::fib) trait Cell<B>: Default + Debug {
    fn get(&self) -> B;
    fn set(&self, bits: B);
}

impl Cell<u32> for AtomicU32 {
    #[inline]
    fn get(&self) -> u32 {
        self.load(Relaxed)
    }
    fn set(&self, bits: u32) {
        self.store(bits, Relaxed);
    }
}

/// The two halves, the first one first.
#[derive(Debug, Default)]
pub(in crate::fib) struct Halves([AtomicU64; 2]);

impl Cell<u128> for Halves {
    #[inline]
    fn get(&self) -> u128 {
        let [high, low] = &self.0;
        u128::from(high.load(Relaxed)) << 64 | u128::from(low.load(Relaxed))
    }
    fn set(&self, bits: u128) {
        let [high, low] = &self.0;
        high.store((bits >> 64) as u64, Relaxed);
        low.store(bits as u64, Relaxed);
    }
}

/// Words of nodes, as the cache fetches them.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Line([AtomicU64; LINE]);

/// Words in a line.
pub(super) const LINE: usize = 8;

/// Bits to compare at once. `at` is how many, from the very first.
#[derive(Debug, Default)]
pub(super) struct SkipCell<C> {
    bits: C,
    next: AtomicU32,
    miss: AtomicU32,
    at: AtomicU8,
}

impl<C> SkipCell<C> {
    #[inline]
    pub(super) fn bits<B>(&self) -> B
    where
        C: Cell<B>,
    {
        self.bits.get()
    }

    #[inline]
    pub(super) fn next(&self) -> Ref {
        Ref(self.next.load(Relaxed))
    }

    #[inline]
    pub(super) fn miss(&self) -> Ref {
        Ref(self.miss.load(Relaxed))
    }

    #[inline]
    pub(super) fn at(&self) -> u32 {
        self.at.load(Relaxed).into()
    }
}

/// The same while it is made.
#[derive(Debug, Clone, Copy)]
pub(super) struct Skip<B> {
    pub(super) bits: B,
    pub(super) next: Ref,
    pub(super) miss: Ref,
    pub(super) at: u8,
}

/// How much of each row there is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Extent {
    /// Words of nodes.
    pub(super) words: usize,
    /// Slots of pages.
    pub(super) pages: usize,
    /// Skips.
    pub(super) skips: usize,
}

impl Extent {
    pub(super) fn and(self, more: Extent) -> Extent {
        Extent {
            words: self.words + more.words,
            pages: self.pages + more.pages,
            skips: self.skips + more.skips,
        }
    }

    /// With as much again as a quarter of it.
    fn and_room(self) -> Extent {
        let more = |n: usize| n + n / 4;
        Extent { words: more(self.words), pages: more(self.pages), skips: more(self.skips) }
    }

    /// Bytes of it.
    pub(super) fn bytes<B: Bits>(self) -> usize {
        self.words * size_of::<u64>()
            + self.pages * size_of::<Ref>()
            + self.skips * size_of::<SkipCell<B::Cell>>()
    }
}

/// Rows that were made, to be added behind others.
#[derive(Debug)]
pub(super) struct Rows<B> {
    pub(super) words: Vec<u64>,
    pub(super) pages: Vec<Ref>,
    pub(super) skips: Vec<Skip<B>>,
}

impl<B> Rows<B> {
    pub(super) fn extent(&self) -> Extent {
        Extent { words: self.words.len(), pages: self.pages.len(), skips: self.skips.len() }
    }
}

/// The rows.
#[derive(Debug)]
pub(super) struct Store<B: Bits> {
    lines: Arc<[Line]>,
    pages: Arc<[AtomicU32]>,
    skips: Arc<[SkipCell<B::Cell>]>,
    /// How far they are written.
    used: Arc<Mutex<Extent>>,
    /// How far they were when everything in them was needed.
    needed: Extent,
}

// Derived, it would ask cells to be copied.
impl<B: Bits> Clone for Store<B> {
    fn clone(&self) -> Self {
        Store {
            lines: self.lines.clone(),
            pages: self.pages.clone(),
            skips: self.skips.clone(),
            used: self.used.clone(),
            needed: self.needed,
        }
    }
}

impl<B: Bits> Store<B> {
    /// With these rows, and no room behind them unless they are to grow: a change that finds none moves all of them.
    pub(super) fn of(rows: &Rows<B>, grows: bool) -> Self {
        let needed = rows.extent();
        let room = if grows { needed.and_room() } else { needed };
        let store = Store { needed, ..Self::room_for(room) };
        store.write(Extent::default(), rows);
        *store.end() = needed;
        store
    }

    fn room_for(extent: Extent) -> Self {
        fn many<T: Default>(n: usize) -> Arc<[T]> {
            (0..n).map(|_| T::default()).collect()
        }
        Store {
            lines: many(extent.words.div_ceil(LINE)),
            pages: many(extent.pages),
            skips: many(extent.skips),
            used: Arc::default(),
            needed: Extent::default(),
        }
    }

    #[inline]
    pub(super) fn word(&self, i: usize) -> Option<u64> {
        self.lines.get(i / LINE).map(|line| line.0[i % LINE].load(Relaxed))
    }

    #[inline]
    pub(super) fn page_slot(&self, i: usize) -> Option<Ref> {
        self.pages.get(i).map(|slot| Ref(slot.load(Relaxed)))
    }

    #[inline]
    pub(super) fn skip(&self, i: usize) -> Option<&SkipCell<B::Cell>> {
        self.skips.get(i)
    }

    /// How far the rows are written, to be kept while rows for behind that are made.
    pub(super) fn end(&self) -> MutexGuard<'_, Extent> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether there is so much that nobody needs that it is time to leave it behind.
    pub(super) fn is_littered(&self, used: Extent) -> bool {
        used.bytes::<B>() > self.needed.bytes::<B>() + self.needed.bytes::<B>().max(LITTER)
    }

    /// The same with rows behind the end that [`Store::end`] gave; elsewhere, if there is no room for them.
    pub(super) fn with(&self, mut end: MutexGuard<'_, Extent>, rows: &Rows<B>) -> Self {
        let (before, after) = (*end, end.and(rows.extent()));
        let fits = after.words <= self.lines.len() * LINE
            && after.pages <= self.pages.len()
            && after.skips <= self.skips.len();
        if fits {
            self.write(before, rows);
            *end = after;
            return self.clone();
        }
        let moved = Store { needed: self.needed, ..Self::room_for(after.and_room()) };
        for (to, from) in moved.lines.iter().zip(self.lines.iter()) {
            to.0.iter().zip(&from.0).for_each(|(to, from)| to.store(from.load(Relaxed), Relaxed));
        }
        moved
            .pages
            .iter()
            .zip(self.pages.iter())
            .for_each(|(to, from)| to.store(from.load(Relaxed), Relaxed));
        for (to, from) in moved.skips.iter().zip(self.skips.iter()) {
            to.set(Skip { bits: from.bits(), next: from.next(), miss: from.miss(), at: from.at() as u8 });
        }
        moved.write(before, rows);
        *moved.end() = after;
        moved
    }

    /// Writes rows behind the first so many, where there is room.
    fn write(&self, at: Extent, rows: &Rows<B>) {
        for (i, word) in (at.words..).zip(&rows.words) {
            self.lines[i / LINE].0[i % LINE].store(*word, Relaxed);
        }
        let pages = self.pages.iter().skip(at.pages).zip(&rows.pages);
        pages.for_each(|(slot, r)| slot.store(r.0, Relaxed));
        self.skips.iter().skip(at.skips).zip(&rows.skips).for_each(|(cell, skip)| cell.set(*skip));
    }

    /// Slots that pages have.
    #[cfg(test)]
    pub(super) fn of_pages(&self) -> usize {
        self.end().pages
    }

    /// Bytes held.
    pub(super) fn memory(&self) -> usize {
        size_of_val(&*self.lines) + size_of_val(&*self.pages) + size_of_val(&*self.skips)
    }
}

/// What may lie about though nobody needs it in tables smaller than this, in bytes.
const LITTER: usize = 4 << 20;

impl<C> SkipCell<C> {
    fn set<B>(&self, skip: Skip<B>)
    where
        C: Cell<B>,
    {
        self.bits.set(skip.bits);
        self.next.store(skip.next.0, Relaxed);
        self.miss.store(skip.miss.0, Relaxed);
        self.at.store(skip.at, Relaxed);
    }
}
