//! Compiling prefixes into the trie.

use std::sync::Arc;

use super::store::{Extent, LINE, Rows, Skip, Store};
use super::{Bits, Lpm, Prefix, Ref, STRIDE};

impl<B: Bits> Lpm<B> {
    /// Compiles prefixes, no two of them equal, with values below [`super::MAX_VALUE`].
    pub(in crate::fib) fn build(mut prefixes: Vec<Prefix<B>>) -> Self {
        let shape = Shape::of::<B>(prefixes.len());
        Self::build_as(&mut prefixes, shape)
    }

    /// The same, for so many routes: what [`Source::count`](super::update::Source::count) is measured by later.
    pub(in crate::fib) fn of_routes(prefixes: Vec<Prefix<B>>, routes: usize) -> Self {
        Lpm { chosen_for: routes, ..Self::build(prefixes) }
    }

    pub(super) fn build_as(prefixes: &mut [Prefix<B>], shape: Shape) -> Self {
        prefixes.sort_unstable_by_key(|p| (p.bits, p.len));
        let width = shape.direct_bits;
        let mut b = Builder::behind(Extent::default(), shape);
        let mut rest = &*prefixes;
        let mut under = vec![Ref::NONE; 1 << width];
        spread(rest, 0, width, &mut under);
        let mut direct = under.clone();
        for (i, slot) in direct.iter_mut().enumerate() {
            let below = take_slot(&mut rest, 0, width, i);
            *slot = match shape.under {
                true => b.subtree(below, width, Ref::NONE).or(*slot),
                false => b.subtree(below, width, *slot),
            };
        }
        let under: Arc<[Ref]> = if shape.under { under.into() } else { Arc::default() };
        let store = Store::of(&b.rows, shape.under);
        Lpm { shape, chosen_for: prefixes.len(), direct: direct.into(), under, store }
    }
}

/// What a trie is built for: time while memory is no matter, memory when it is, for a table that the
/// processor's cache holds is the faster one. The figures are in docs/benchmarks.md.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shape {
    /// The first bits, which have a slot for every value.
    pub(super) direct_bits: u32,
    /// The widest page. Prefixes tend to end on whole octets.
    pub(super) max_page: u32,
    /// One in so many slots of a page must lead on.
    pub(super) page_slots: usize,
    /// A path of more bits than this with one way only is skipped rather than walked.
    pub(super) max_walk: u32,
    /// Prefixes of no more than the first bits stand beside the nodes: the table is one that is changed, not built anew.
    pub(super) under: bool,
}

impl Shape {
    /// A router with a handful of routes: 1 KiB, and 1 KiB for every octet that leads on. There may
    /// be hundreds of such routers on one machine.
    pub(super) const SMALL: Shape =
        Shape { direct_bits: 8, max_page: 8, page_slots: 256, max_walk: 8, under: false };
    /// The same from the second octet on, whose slots fill 256 KiB. With [`Shape::MEDIUM_MAX`]
    /// prefixes it comes to some MiB.
    pub(super) const MEDIUM: Shape = Shape { direct_bits: 16, ..Shape::SMALL };
    /// Full tables. Eight slots for each that leads on are 32 bytes, about what a node and its ref take.
    pub(super) const LARGE: Shape =
        Shape { direct_bits: 18, max_page: 16, page_slots: 8, max_walk: 5, under: true };

    const SMALL_MAX: usize = 64;
    /// Tests have large tables of few prefixes.
    pub(super) const MEDIUM_MAX: usize = if cfg!(test) { 512 } else { 16_384 };

    fn of<B: Bits>(prefixes: usize) -> Shape {
        if prefixes <= Shape::SMALL_MAX {
            Shape::SMALL
        } else if prefixes <= Shape::MEDIUM_MAX {
            Shape::MEDIUM
        } else if B::WIDTH == 128 {
            // IPv6 prefixes differ little in their first bits, and gain nothing beyond 16.
            Shape { direct_bits: 16, ..Shape::LARGE }
        } else {
            Shape::LARGE
        }
    }
}

impl Shape {
    /// The widest page that is worth it for these prefixes.
    fn page_width<B: Bits>(&self, prefixes: &[Prefix<B>], depth: u32) -> Option<u32> {
        let most = (prefixes.len() * self.page_slots).ilog2().min(self.max_page).min(B::WIDTH - depth);
        (MIN_PAGE..=most).rev().find(|&width| {
            let deep = prefixes.iter().filter(|p| u32::from(p.len) >= depth + width);
            let slots = deep.map(|p| p.bits.chunk(depth, width));
            // They come in order.
            let mut last = None;
            let distinct = slots.filter(|slot| last.replace(*slot) != Some(*slot)).count();
            distinct * self.page_slots >= 1 << width
        })
    }
}

/// The narrowest page: 6 bits is what a node decides.
const MIN_PAGE: u32 = STRIDE + 1;

/// Makes rows.
pub(super) struct Builder<B> {
    shape: Shape,
    /// What is there before them.
    before: Extent,
    pub(super) rows: Rows<B>,
}

impl<B: Bits> Builder<B> {
    /// For rows that will stand behind so much.
    pub(super) fn behind(before: Extent, shape: Shape) -> Self {
        Builder { shape, before, rows: Rows { words: Vec::new(), pages: Vec::new(), skips: Vec::new() } }
    }

    /// Compiles sorted prefixes that share their first `depth` bits and are all longer than that;
    /// `inherited` is what holds where none of them does.
    pub(super) fn subtree(&mut self, prefixes: &[Prefix<B>], depth: u32, inherited: Ref) -> Ref {
        let [first, ..] = prefixes else { return inherited };
        let last = prefixes.last().unwrap_or(first);
        // The order puts a prefix before those inside it: no other can be shorter than the first
        // and still share all that the first and the last do.
        let shared = first.bits.common(last.bits).min(u32::from(first.len));
        if prefixes.len() == 1 || shared > depth + self.shape.max_walk {
            return self.skip(prefixes, shared, inherited);
        }
        match self.shape.page_width(prefixes, depth) {
            Some(width) if Ref::fits_page(self.next_page()) => self.page(prefixes, depth, width, inherited),
            _ => self.node(prefixes, depth, inherited),
        }
    }

    fn skip(&mut self, prefixes: &[Prefix<B>], to: u32, miss: Ref) -> Ref {
        let Some((first, rest)) = prefixes.split_first() else { return miss };
        let (below, inherited) =
            if u32::from(first.len) == to { (rest, Ref::leaf(first.value)) } else { (prefixes, miss) };
        let next = self.subtree(below, to, inherited);
        self.put_skip(Skip { bits: first.bits, next, miss, at: to as u8 })
    }

    pub(super) fn put_skip(&mut self, skip: Skip<B>) -> Ref {
        self.rows.skips.push(skip);
        Ref::skip(self.before.skips + self.rows.skips.len() - 1)
    }

    /// Where the next page will begin.
    pub(super) fn next_page(&self) -> usize {
        self.before.pages + self.rows.pages.len()
    }

    fn page(&mut self, prefixes: &[Prefix<B>], depth: u32, width: u32, inherited: Ref) -> Ref {
        let first = self.next_page();
        let at = self.rows.pages.len();
        let mut slots = vec![inherited; 1 << width];
        spread(prefixes, depth, width, &mut slots);
        self.rows.pages.extend(&slots);
        let mut rest = prefixes;
        for (i, inherited) in slots.into_iter().enumerate() {
            let below = take_slot(&mut rest, depth, width, i);
            self.rows.pages[at + i] = self.subtree(below, depth + width, inherited);
        }
        Ref::to_page(first, width)
    }

    fn node(&mut self, prefixes: &[Prefix<B>], depth: u32, inherited: Ref) -> Ref {
        let mut slots = [inherited; 1 << STRIDE];
        spread(prefixes, depth, STRIDE, &mut slots);
        let mut rest = prefixes;
        for (i, slot) in slots.iter_mut().enumerate() {
            let below = take_slot(&mut rest, depth, STRIDE, i);
            *slot = self.subtree(below, depth + STRIDE, *slot);
        }
        self.put_node(&slots)
    }

    /// Writes a node. One that fits a line is not written across two.
    pub(super) fn put_node(&mut self, slots: &[Ref; 1 << STRIDE]) -> Ref {
        let mut starts = 0;
        let mut runs = [Ref::NONE; 1 << STRIDE];
        let mut n = 0;
        for (i, r) in slots.iter().enumerate() {
            if i == 0 || runs[n - 1] != *r {
                starts |= 1 << i;
                runs[n] = *r;
                n += 1;
            }
        }
        let runs = &runs[..n];
        let words = 1 + runs.len().div_ceil(2);
        let free = LINE - self.next_word() % LINE;
        if free < words.min(LINE) {
            self.rows.words.resize(self.rows.words.len() + free, 0);
        }
        let at = self.next_word();
        self.rows.words.push(starts);
        for two in runs.chunks(2) {
            let high = two.get(1).map_or(0, |r| u64::from(r.0) << 32);
            self.rows.words.push(u64::from(two[0].0) | high);
        }
        Ref::node(at)
    }

    fn next_word(&self) -> usize {
        self.before.words + self.rows.words.len()
    }
}

/// Writes the prefixes that end within the `width` bits from `depth` on into the slots they cover.
/// A longer prefix comes after the ones around it, and so overwrites them.
pub(super) fn spread<B: Bits>(prefixes: &[Prefix<B>], depth: u32, width: u32, slots: &mut [Ref]) {
    for p in prefixes {
        let Some(free) = (depth + width).checked_sub(u32::from(p.len)) else { continue };
        let first = p.bits.chunk(depth, width);
        if let Some(covered) = slots.get_mut(first..first + (1 << free)) {
            covered.fill(Ref::leaf(p.value));
        }
    }
}

/// Takes off the front those prefixes that belong to slot `i`, and gives those that are longer than
/// the slot is deep.
pub(super) fn take_slot<'a, B: Bits>(
    rest: &mut &'a [Prefix<B>],
    depth: u32,
    width: u32,
    i: usize,
) -> &'a [Prefix<B>] {
    let n = rest.iter().take_while(|p| p.bits.chunk(depth, width) == i).count();
    let (slot, others) = rest.split_at(n);
    *rest = others;
    // Those that end here have zeros behind the slot's bits and stand before all longer ones.
    let ended = slot.iter().take_while(|p| u32::from(p.len) <= depth + width).count();
    slot.split_at(ended).1
}
