//! Longest-prefix match over the bits of an address: a multibit trie in cache lines.
//!
//! ```text
//!   address   ┌─ first S bits ─┬─ 6 bits ─┬─ 6 bits ─┬ … ┐
//!                  │                │          │
//!             direct[2^S] ──ref──► node ──ref─► node ──ref──► leaf
//!
//!   ref   ┌───┬─────────────────────────────┐   1xx a leaf: the value, or none
//!         │ttt│            index            │   01x a skip       001 a page
//!         └───┴─────────────────────────────┘   000 a node: its first word
//!
//!   node  ┌────────────────┬───────┬───────┬───────┬─ …   starts: bit i is set where slot i begins
//!         │     starts     │ ref 0 │ ref 1 │ ref 2 │      a run of slots with one ref. The ref of
//!         └────────────────┴───────┴───────┴───────┴─ …   a slot is that of the last start up to it
//!              64 bits       32 bits each
//!
//!   page  a ref for each value of the next 7 to 16 bits, where many values lead on
//!
//!   skip  where only one way leads on for many bits, they are compared at once: equal, go on at
//!         `next` with bit `at`; else `miss`
//! ```
//!
//! Prefixes are pushed down to the leaves, so that a lookup never goes back up. This is the poptrie
//! (Asai and Ohara, SIGCOMM 2015) with three changes: a node's refs stand beside its bits, children
//! and leaves alike, so that a level costs one cache line; and pages and skips keep IPv6, which is
//! long, crowded in few places and empty between, short.
//!
//! A table never changes for those who read it, and what was changed in a large one costs what lies on the way to it:
//!
//! ```text
//!   before  direct ──►┌──────────────────────────┬───────────┬ ─ ─ ─ ┐
//!                     │ nodes, pages, skips      │ new ones  │ room  │  shared by both
//!   after   direct' ─►└──────────────────────────┴───────────┴ ─ ─ ─ ┘
//!
//!   under   by the first S bits: what holds where the nodes say nothing. Prefixes of up to S bits stand in
//!           `direct` and here only, so that another default route leaves the nodes as they are
//! ```
//!
//! The one before leads into the first part only, so writing behind that disturbs nobody. Where there is no room any more,
//! all moves; what nobody needs any more is left behind before it is as much as what is needed. Knows nothing of what the
//! values mean.

mod build;
mod store;
mod update;

use std::sync::Arc;

use build::Shape;
use store::Store;
pub(super) use update::Source;

/// The bits of an address as a number, the first bit on the wire being the highest.
pub(super) trait Bits: Copy + Ord + std::fmt::Debug {
    /// How many bits there are.
    const WIDTH: u32;
    /// What holds them where others read meanwhile.
    type Cell: store::Cell<Self>;
    /// The first `n` bits, 31 at most.
    fn first(self, n: u32) -> usize;
    /// What is left without the first `n` bits, less than [`Bits::WIDTH`], moved to the front.
    fn after(self, n: u32) -> Self;
    /// How many leading bits `self` and `other` share.
    fn common(self, other: Self) -> u32;
    /// The first `n` bits, with zeros behind them.
    fn keep(self, n: u32) -> Self;
    /// The `n` bits from bit `at` on, with zeros beyond the end.
    fn chunk(self, at: u32, n: u32) -> usize {
        self.after(at).first(n)
    }
}

impl Bits for u32 {
    const WIDTH: u32 = u32::BITS;
    type Cell = std::sync::atomic::AtomicU32;
    #[inline]
    fn first(self, n: u32) -> usize {
        // Two shifts, as n may be 0.
        ((self >> 1) >> (31 - n)) as usize
    }
    #[inline]
    fn after(self, n: u32) -> Self {
        self << n
    }
    #[inline]
    fn common(self, other: Self) -> u32 {
        (self ^ other).leading_zeros()
    }
    fn keep(self, n: u32) -> Self {
        self & u32::MAX.checked_shl(u32::BITS - n).unwrap_or(0)
    }
}

impl Bits for u128 {
    const WIDTH: u32 = u128::BITS;
    type Cell = store::Halves;
    #[inline]
    fn first(self, n: u32) -> usize {
        // On the upper half alone: a shift of 128 bits by a variable takes ten times as long.
        ((((self >> 64) as u64) >> 1) >> (63 - n)) as usize
    }
    #[inline]
    fn after(self, n: u32) -> Self {
        self << n
    }
    #[inline]
    fn common(self, other: Self) -> u32 {
        (self ^ other).leading_zeros()
    }
    fn keep(self, n: u32) -> Self {
        self & u128::MAX.checked_shl(u128::BITS - n).unwrap_or(0)
    }
}

/// A prefix and what it leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Prefix<B> {
    /// The address, zeros behind the prefix.
    pub(super) bits: B,
    /// How many bits count.
    pub(super) len: u8,
    /// Below [`MAX_VALUE`].
    pub(super) value: u32,
}

/// Values are smaller than this.
pub(super) const MAX_VALUE: u32 = (1 << 31) - 1;

/// The table. Copies share all of it.
#[derive(Debug, Clone)]
pub(super) struct Lpm<B: Bits> {
    shape: Shape,
    /// How many prefixes there were when its shape was chosen.
    chosen_for: usize,
    direct: Arc<[Ref]>,
    /// For each slot of `direct` the leaf that holds where what lies behind the slot says nothing; empty in tables
    /// whose nodes say it themselves.
    under: Arc<[Ref]>,
    store: Store<B>,
}

impl<B: Bits> Lpm<B> {
    /// The value of the longest prefix that covers the address.
    #[inline]
    pub(super) fn lookup(&self, key: B) -> Option<u32> {
        let direct_bits = self.shape.direct_bits;
        let mut r = *self.direct.get(key.first(direct_bits))?;
        let mut rest = key.after(direct_bits);
        while !r.is_leaf() {
            if r.is_node() {
                let node = r.index();
                let upto = u64::MAX >> (63 - rest.first(STRIDE));
                // Slot 0 begins a run: there is one start at least.
                let nth = (self.store.word(node)? & upto).count_ones() as usize - 1;
                let two = self.store.word(node + 1 + nth / 2)?;
                r = Ref((two >> (nth % 2 * 32)) as u32);
                rest = rest.after(STRIDE);
            } else if r.is_skip() {
                let skip = self.store.skip(r.index())?;
                let at = skip.at();
                if key.common(skip.bits()) < at {
                    r = skip.miss();
                    break;
                }
                r = skip.next();
                if !r.is_leaf() {
                    rest = key.after(at);
                }
            } else {
                let (first, width) = r.page();
                r = self.store.page_slot(first + rest.first(width))?;
                rest = rest.after(width);
            }
        }
        match r.value() {
            None => self.under.get(key.first(direct_bits))?.value(),
            some => some,
        }
    }

    /// Bytes held.
    pub(super) fn memory(&self) -> usize {
        size_of_val(&*self.direct) + size_of_val(&*self.under) + self.store.memory()
    }
}

/// Bits a node decides: as many as a machine word has ones to count.
const STRIDE: u32 = 6;

/// Where a slot leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Ref(u32);

impl Ref {
    const NONE: Ref = Ref(u32::MAX);
    const LEAF: u32 = 1 << 31;
    const SKIP: u32 = 1 << 30;
    const PAGE: u32 = 1 << 29;
    /// A page's ref holds its width above its place.
    const PAGE_WIDTH: u32 = 24;

    fn leaf(value: u32) -> Ref {
        debug_assert!(value < MAX_VALUE);
        Ref(Ref::LEAF | value)
    }

    /// Places have 29 bits, which is 4 GiB of nodes; all the routes a table takes, each alone on
    /// its way down, need a fraction of that.
    fn node(word: usize) -> Ref {
        debug_assert!(word < Ref::PAGE as usize);
        Ref(word as u32)
    }

    fn skip(index: usize) -> Ref {
        debug_assert!(index < Ref::PAGE as usize);
        Ref(Ref::SKIP | index as u32)
    }

    /// The page of 2^`width` refs from `first` on; [`Ref::fits_page`] says whether there can be one.
    fn to_page(first: usize, width: u32) -> Ref {
        debug_assert!(Ref::fits_page(first));
        Ref(Ref::PAGE | width << Ref::PAGE_WIDTH | first as u32)
    }

    fn fits_page(first: usize) -> bool {
        first < 1 << Ref::PAGE_WIDTH
    }

    #[inline]
    fn is_leaf(self) -> bool {
        self.0 & Ref::LEAF != 0
    }

    #[inline]
    fn is_node(self) -> bool {
        self.0 < Ref::PAGE
    }

    #[inline]
    fn is_skip(self) -> bool {
        self.0 & Ref::SKIP != 0
    }

    #[inline]
    fn index(self) -> usize {
        (self.0 & (Ref::PAGE - 1)) as usize
    }

    #[inline]
    fn page(self) -> (usize, u32) {
        let at = self.index();
        (at & ((1 << Ref::PAGE_WIDTH) - 1), (at >> Ref::PAGE_WIDTH) as u32)
    }

    /// This, unless it is the leaf that says nothing: then the other.
    fn or(self, other: Ref) -> Ref {
        if self == Ref::NONE { other } else { self }
    }

    #[inline]
    fn value(self) -> Option<u32> {
        (self != Ref::NONE).then_some(self.0 & !Ref::LEAF)
    }
}

#[cfg(test)]
mod tests;
