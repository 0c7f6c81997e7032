//! A table made of the one before it: what lies on the way to a change is written anew, all else is shared.
//!
//! ```text
//!   prefix of up to S bits   its slots in `under`, and those of `direct` that are leaves
//!   longer                   direct ─► node ─► page ─► node    each on the way copied with one slot of it different,
//!                               └────────┴───────┴───────┘     until the prefix ends: what it covers is compiled again
//! ```

use super::build::{Builder, Shape, spread, take_slot};
use super::store::{Extent, Skip, Store};
use super::{Bits, Lpm, Prefix, Ref, STRIDE};

/// Where the prefixes are known, as they are after the change.
pub(in crate::fib) trait Source<B> {
    /// How many there are, about.
    fn count(&self) -> usize;
    /// The value of exactly this prefix.
    fn exactly(&self, bits: B, len: u8) -> Option<u32>;
    /// All longer prefixes that share these first bits, in the order of bits and length.
    fn inside(&self, bits: B, len: u8) -> Vec<Prefix<B>>;
    /// The length of the prefixes that have a value.
    fn len_of(&self, value: u32) -> u8;
}

/// One prefix in so many may be another one: with more, compiling all of them is no dearer.
const MANY: usize = 8;

impl<B: Bits> Lpm<B> {
    /// The table with these prefixes as they are now, in the order of bits and length, none twice. `None` if it is better
    /// compiled as a whole: small, changed in many places, or grown out of its shape.
    pub(in crate::fib) fn updated(&self, changed: &[(B, u8)], source: &impl Source<B>) -> Option<Self> {
        let now = source.count();
        let fits = now >= Shape::MEDIUM_MAX / 2 && now <= self.chosen_for * 2 && now >= self.chosen_for / 4;
        if !self.shape.under || !fits || changed.len() > now / MANY {
            return None;
        }
        if self.store.is_littered(*self.store.end()) {
            return self.without_litter()?.updated(changed, source);
        }
        let width = self.shape.direct_bits;
        let (mut direct, mut under) = (self.direct.to_vec(), self.under.to_vec());
        let deep = |c: &&(B, u8)| u32::from(c.1) > width;
        for &(bits, len) in changed.iter().filter(|c| !deep(c)) {
            let own = source.exactly(bits, len).map(Ref::leaf);
            let cover = best(source, bits, 0..len).unwrap_or(Ref::NONE);
            let first = bits.first(width);
            let slots = first..first + (1 << (width - u32::from(len)));
            for (under, direct) in under.get_mut(slots.clone())?.iter_mut().zip(direct.get_mut(slots)?) {
                let was = under.value().map(|v| source.len_of(v));
                match own {
                    Some(own) if was.is_none_or(|was| was <= len) => *under = own,
                    None if was == Some(len) => *under = cover,
                    _ => continue,
                }
                if direct.is_leaf() {
                    *direct = *under;
                }
            }
        }
        let end = self.store.end();
        let mut patch = Patch { store: &self.store, source, made: Builder::behind(*end, self.shape) };
        let deep: Vec<(B, u8)> = changed.iter().filter(deep).copied().collect();
        for together in deep.chunk_by(|a, b| a.0.first(width) == b.0.first(width)) {
            let slot = together.first()?.0.first(width);
            let r = direct.get_mut(slot)?;
            let below = if r.is_leaf() { Ref::NONE } else { *r };
            *r = patch.patch(below, width, together, Ref::NONE).or(*under.get(slot)?);
        }
        let rows = patch.made.rows;
        let store = self.store.with(end, &rows);
        Some(Lpm { direct: direct.into(), under: under.into(), store, ..self.clone() })
    }

    /// The same with nothing in its rows that it does not lead to; `None` if they are broken.
    pub(super) fn without_litter(&self) -> Option<Self> {
        let mut made = Builder::behind(Extent::default(), self.shape);
        let direct: Option<_> = self.direct.iter().map(|r| made.copy(&self.store, *r)).collect();
        Some(Lpm { direct: direct?, store: Store::of(&made.rows, true), ..self.clone() })
    }
}

/// The longest of the prefixes of an address that have one of these lengths.
fn best<B: Bits>(source: &impl Source<B>, bits: B, lens: std::ops::Range<u8>) -> Option<Ref> {
    let mut all = lens.rev().map(|len| source.exactly(bits.keep(len.into()), len));
    all.find_map(|value| value.map(Ref::leaf))
}

struct Patch<'a, B: Bits, S> {
    store: &'a Store<B>,
    source: &'a S,
    made: Builder<B>,
}

impl<B: Bits, S: Source<B>> Patch<'_, B, S> {
    /// What takes the place of `r`, which stands where the first `depth` bits end. The changes are longer than those, and
    /// share them; `inherited` is what holds where no prefix longer than those does.
    fn patch(&mut self, r: Ref, depth: u32, changes: &[(B, u8)], inherited: Ref) -> Ref {
        let Some((bits, _)) = changes.first() else { return r };
        let patched = match r {
            _ if r.is_leaf() => None,
            _ if r.is_skip() => self.skip(r, changes, inherited),
            _ => self.slots(r, depth, changes, inherited),
        };
        patched.unwrap_or_else(|| {
            let prefixes = self.source.inside(bits.keep(depth), depth as u8);
            self.made.subtree(&prefixes, depth, inherited)
        })
    }

    /// `None` if there is more than one way now.
    fn skip(&mut self, r: Ref, changes: &[(B, u8)], inherited: Ref) -> Option<Ref> {
        let skip = self.store.skip(r.index())?;
        let (bits, at): (B, u32) = (skip.bits(), skip.at());
        if changes.iter().any(|(b, len)| u32::from(*len) <= at || bits.common(*b) < at) {
            return None;
        }
        let below = self.source.exactly(bits.keep(at), at as u8).map_or(inherited, Ref::leaf);
        let next = self.patch(skip.next(), at, changes, below);
        Some(match next == inherited {
            true => inherited,
            false => self.made.put_skip(Skip { bits, next, miss: inherited, at: at as u8 }),
        })
    }

    fn slots(&mut self, r: Ref, depth: u32, changes: &[(B, u8)], inherited: Ref) -> Option<Ref> {
        let (mut slots, width) = slots(self.store, r)?;
        let ends = depth + width;
        let mut rest = changes;
        while let Some(&(bits, len)) = rest.first() {
            let slot = bits.chunk(depth, width);
            let inherits = |upto| best(self.source, bits, depth as u8 + 1..upto).unwrap_or(inherited);
            let n = if u32::from(len) > ends {
                let n = rest.iter().take_while(|(b, _)| b.chunk(depth, width) == slot).count();
                let below = inherits(ends as u8 + 1);
                let was = *slots.get(slot)?;
                slots[slot] = self.patch(was, ends, &rest[..n], below);
                n
            } else {
                let covered = slot..slot + (1 << (ends - u32::from(len)));
                slots.get_mut(covered.clone())?.fill(inherits(len + 1));
                let prefixes = self.source.inside(bits, len);
                spread(&prefixes, depth, width, &mut slots);
                let mut below = &*prefixes;
                for i in covered {
                    let below = take_slot(&mut below, depth, width, i);
                    slots[i] = self.made.subtree(below, ends, slots[i]);
                }
                // Whatever is inside is done with it.
                rest.iter().take_while(|(b, _)| b.common(bits) >= u32::from(len)).count()
            };
            rest = rest.get(n.max(1)..)?;
        }
        if slots.iter().all(|slot| *slot == inherited) {
            return Some(inherited);
        }
        self.made.put_slots(&slots, width)
    }
}

impl<B: Bits> Builder<B> {
    /// Copies what a ref of these rows leads to.
    fn copy(&mut self, from: &Store<B>, r: Ref) -> Option<Ref> {
        if r.is_leaf() {
            return Some(r);
        }
        if r.is_skip() {
            let skip = from.skip(r.index())?;
            let next = self.copy(from, skip.next())?;
            return Some(self.put_skip(Skip {
                bits: skip.bits(),
                next,
                miss: skip.miss(),
                at: skip.at() as u8,
            }));
        }
        let (mut slots, width) = slots(from, r)?;
        let mut last = (Ref::NONE, Ref::NONE);
        for slot in &mut slots {
            if *slot != last.0 {
                last = (*slot, self.copy(from, *slot)?);
            }
            *slot = last.1;
        }
        self.put_slots(&slots, width)
    }

    /// A node or a page; `None` if there is no room for one.
    fn put_slots(&mut self, slots: &[Ref], width: u32) -> Option<Ref> {
        if let Ok(slots) = slots.try_into() {
            return Some(self.put_node(slots));
        }
        let first = self.next_page();
        self.rows.pages.extend(slots);
        Ref::fits_page(first).then(|| Ref::to_page(first, width))
    }
}

/// What all slots of a node or a page lead to, and how many bits they stand for.
fn slots<B: Bits>(store: &Store<B>, r: Ref) -> Option<(Vec<Ref>, u32)> {
    if !r.is_node() {
        let (first, width) = r.page();
        let slots: Option<_> = (first..first + (1 << width)).map(|i| store.page_slot(i)).collect();
        return Some((slots?, width));
    }
    let starts = store.word(r.index())?;
    let slot = |i: u32| {
        let nth = (starts & u64::MAX >> (63 - i)).count_ones() as usize - 1;
        let two = store.word(r.index() + 1 + nth / 2)?;
        Some(Ref((two >> (nth % 2 * 32)) as u32))
    };
    let slots: Option<_> = (0..1 << STRIDE).map(slot).collect();
    Some((slots?, STRIDE))
}
