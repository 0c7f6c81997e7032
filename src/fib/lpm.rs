//! Longest-prefix match over the bits of an address: a poptrie with skipped bits.
//!
//! ```text
//!   address   ┌─ first S bits ─┬─ 6 bits ─┬─ 6 bits ─┬ … ┐
//!                  │                │          │
//!             direct[2^S] ──ref──► node ─────► node ──► leaf
//!
//!   ref   ┌──┬──────────────────────────────┐   00 a node
//!         │tt│            index             │   01 a skip
//!         └──┴──────────────────────────────┘   1x a leaf: the value, or none
//!
//!   node  children  bit i: the slot leads to the node base0 + (children set below i)
//!         starts    bit i: a run of equal leaves starts in this slot; the run's ref is at
//!                   base1 + (starts set up to i) - 1
//!
//!   skip  where only one way leads on for many bits, they are compared at once: equal, go on at
//!         `next` with bit `at`; else `miss`
//! ```
//!
//! After Asai and Ohara, "Poptrie" (SIGCOMM 2015); the skips keep IPv6 short. Prefixes are pushed
//! down to the leaves, so that a lookup never goes back up. Knows nothing of what the values mean.

/// The bits of an address as a number, the first bit on the wire being the highest.
pub(super) trait Bits: Copy + Ord + std::fmt::Debug {
    /// How many bits there are.
    const WIDTH: u32;
    /// The `n` bits from bit `at` on (`at` < `WIDTH`, `n` ≤ 31), with zeros beyond the end.
    fn chunk(self, at: u32, n: u32) -> usize;
    /// How many leading bits `self` and `other` share.
    fn common(self, other: Self) -> u32;
}

macro_rules! bits {
    ($t:ty) => {
        impl Bits for $t {
            const WIDTH: u32 = <$t>::BITS;
            #[inline]
            fn chunk(self, at: u32, n: u32) -> usize {
                // Two shifts, as n may be 0.
                (((self << at) >> 1) >> (<$t>::BITS - 1 - n)) as usize
            }
            #[inline]
            fn common(self, other: Self) -> u32 {
                (self ^ other).leading_zeros()
            }
        }
    };
}
bits!(u32);
bits!(u128);

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

/// The table.
#[derive(Debug)]
pub(super) struct Lpm<B> {
    direct_bits: u32,
    direct: Box<[Ref]>,
    nodes: Box<[Node]>,
    leaves: Box<[Ref]>,
    skips: Box<[Skip<B>]>,
}

impl<B: Bits> Lpm<B> {
    /// Compiles prefixes, no two of them equal, with values below [`MAX_VALUE`].
    pub(super) fn build(mut prefixes: Vec<Prefix<B>>) -> Self {
        let direct_bits = direct_bits(prefixes.len());
        Self::build_with(&mut prefixes, direct_bits)
    }

    fn build_with(prefixes: &mut [Prefix<B>], direct_bits: u32) -> Self {
        prefixes.sort_unstable_by_key(|p| (p.bits, p.len));
        let mut b = Builder { nodes: Vec::new(), leaves: Vec::new(), skips: Vec::new() };
        let mut direct = vec![Ref::NONE; 1 << direct_bits];
        let mut rest = &*prefixes;
        spread(rest, 0, direct_bits, &mut direct);
        for (i, slot) in direct.iter_mut().enumerate() {
            let below = take_slot(&mut rest, 0, direct_bits, i);
            *slot = b.subtree(below, direct_bits, *slot);
        }
        Lpm {
            direct_bits,
            direct: direct.into(),
            nodes: b.nodes.into(),
            leaves: b.leaves.into(),
            skips: b.skips.into(),
        }
    }

    /// The value of the longest prefix that covers the address.
    #[inline]
    pub(super) fn lookup(&self, key: B) -> Option<u32> {
        let mut r = *self.direct.get(key.chunk(0, self.direct_bits))?;
        let mut at = self.direct_bits;
        loop {
            if r.is_leaf() {
                return r.value();
            }
            if r.is_skip() {
                let skip = self.skips.get(r.index())?;
                if key.common(skip.bits) < u32::from(skip.at) {
                    return skip.miss.value();
                }
                at = u32::from(skip.at);
                r = skip.next;
                continue;
            }
            let mut node = self.nodes.get(r.index())?;
            r = loop {
                let slot = key.chunk(at, STRIDE);
                let upto = u64::MAX >> (63 - slot);
                if node.children >> slot & 1 == 0 {
                    let run = (node.starts & upto).count_ones() as usize;
                    break *self.leaves.get(node.leaves as usize + run - 1)?;
                }
                let nth = (node.children & upto).count_ones() as usize;
                node = self.nodes.get(node.first_child as usize + nth - 1)?;
                at += STRIDE;
            };
        }
    }

    /// Bytes held.
    pub(super) fn memory(&self) -> usize {
        size_of_val(&*self.direct)
            + size_of_val(&*self.nodes)
            + size_of_val(&*self.leaves)
            + size_of_val(&*self.skips)
    }
}

/// The direct table's width for so many prefixes. A router with a handful must not pay for a table
/// that a million deserve: 256 bytes, 16 KiB, 256 KiB, 1 MiB.
fn direct_bits(prefixes: usize) -> u32 {
    match prefixes {
        0..64 => 6,
        64..4_096 => 12,
        4_096..65_536 => 16,
        _ => 18,
    }
}

/// Bits a node decides: as many as a machine word has ones to count.
const STRIDE: u32 = 6;

/// A path of this many bits or more with one way only is skipped rather than walked.
const MIN_SKIP: u32 = STRIDE;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Ref(u32);

impl Ref {
    const NONE: Ref = Ref(u32::MAX);
    const LEAF: u32 = 1 << 31;
    const SKIP: u32 = 1 << 30;

    fn leaf(value: u32) -> Ref {
        debug_assert!(value < MAX_VALUE);
        Ref(Ref::LEAF | value)
    }

    /// Nodes and skips are fewer than prefixes times levels; indices have 30 bits.
    fn node(index: usize) -> Ref {
        debug_assert!(index < Ref::SKIP as usize);
        Ref(index as u32)
    }

    fn skip(index: usize) -> Ref {
        debug_assert!(index < Ref::SKIP as usize);
        Ref(Ref::SKIP | index as u32)
    }

    #[inline]
    fn is_leaf(self) -> bool {
        self.0 & Ref::LEAF != 0
    }

    #[inline]
    fn is_skip(self) -> bool {
        self.0 & Ref::SKIP != 0
    }

    #[inline]
    fn index(self) -> usize {
        (self.0 & (Ref::SKIP - 1)) as usize
    }

    #[inline]
    fn value(self) -> Option<u32> {
        (self != Ref::NONE).then_some(self.0 & !Ref::LEAF)
    }
}

#[derive(Debug, Clone, Copy)]
struct Node {
    children: u64,
    starts: u64,
    first_child: u32,
    leaves: u32,
}

#[derive(Debug)]
struct Skip<B> {
    bits: B,
    next: Ref,
    miss: Ref,
    at: u8,
}

/// What stands in a slot.
enum Slot {
    Ref(Ref),
    Node(Node),
}

struct Builder<B> {
    nodes: Vec<Node>,
    leaves: Vec<Ref>,
    skips: Vec<Skip<B>>,
}

impl<B: Bits> Builder<B> {
    /// As [`Builder::slot`], with a node put into the array.
    fn subtree(&mut self, prefixes: &[Prefix<B>], depth: u32, inherited: Ref) -> Ref {
        match self.slot(prefixes, depth, inherited) {
            Slot::Ref(r) => r,
            Slot::Node(node) => {
                self.nodes.push(node);
                Ref::node(self.nodes.len() - 1)
            }
        }
    }

    /// Compiles sorted prefixes that share their first `depth` bits and are all longer than that;
    /// `inherited` is what holds where none of them does.
    fn slot(&mut self, prefixes: &[Prefix<B>], depth: u32, inherited: Ref) -> Slot {
        let [first, ..] = prefixes else { return Slot::Ref(inherited) };
        let last = prefixes.last().unwrap_or(first);
        // The order puts a prefix before those inside it: no other can be shorter than the first
        // and still share all that the first and the last do.
        let shared = first.bits.common(last.bits).min(u32::from(first.len));
        if prefixes.len() == 1 || shared >= depth + MIN_SKIP {
            return Slot::Ref(self.skip(prefixes, shared, inherited));
        }
        Slot::Node(self.node(prefixes, depth, inherited))
    }

    fn skip(&mut self, prefixes: &[Prefix<B>], to: u32, miss: Ref) -> Ref {
        let Some((first, rest)) = prefixes.split_first() else { return miss };
        let (below, inherited) =
            if u32::from(first.len) == to { (rest, Ref::leaf(first.value)) } else { (prefixes, miss) };
        let next = self.subtree(below, to, inherited);
        self.skips.push(Skip { bits: first.bits, next, miss, at: to as u8 });
        Ref::skip(self.skips.len() - 1)
    }

    fn node(&mut self, prefixes: &[Prefix<B>], depth: u32, inherited: Ref) -> Node {
        let mut slots = [inherited; 1 << STRIDE];
        spread(prefixes, depth, STRIDE, &mut slots);
        let mut rest = prefixes;
        let mut children = Vec::new();
        let mut node = Node { children: 0, starts: 0, first_child: 0, leaves: 0 };
        let mut runs = Vec::new();
        for (i, inherited) in slots.into_iter().enumerate() {
            let below = take_slot(&mut rest, depth, STRIDE, i);
            match self.slot(below, depth + STRIDE, inherited) {
                Slot::Node(child) => {
                    node.children |= 1 << i;
                    children.push(child);
                }
                Slot::Ref(r) => {
                    // A run goes on across the slots of children, which nobody reads from it.
                    if runs.last() != Some(&r) {
                        node.starts |= 1 << i;
                        runs.push(r);
                    }
                }
            }
        }
        node.first_child = self.nodes.len() as u32;
        node.leaves = self.leaves.len() as u32;
        self.nodes.append(&mut children);
        self.leaves.append(&mut runs);
        node
    }
}

/// Writes the prefixes that end within the `width` bits from `depth` on into the slots they cover.
/// A longer prefix comes after the ones around it, and so overwrites them.
fn spread<B: Bits>(prefixes: &[Prefix<B>], depth: u32, width: u32, slots: &mut [Ref]) {
    for p in prefixes {
        let Some(free) = (depth + width).checked_sub(u32::from(p.len)) else { continue };
        let first = if depth < B::WIDTH { p.bits.chunk(depth, width) } else { 0 };
        if let Some(covered) = slots.get_mut(first..first + (1 << free)) {
            covered.fill(Ref::leaf(p.value));
        }
    }
}

/// Takes off the front those prefixes that belong to slot `i`, and gives those that are longer than
/// the slot is deep.
fn take_slot<'a, B: Bits>(rest: &mut &'a [Prefix<B>], depth: u32, width: u32, i: usize) -> &'a [Prefix<B>] {
    let n = rest.iter().take_while(|p| p.bits.chunk(depth, width) == i).count();
    let (slot, others) = rest.split_at(n);
    *rest = others;
    // Those that end here have zeros behind the slot's bits and stand before all longer ones.
    let ended = slot.iter().take_while(|p| u32::from(p.len) <= depth + width).count();
    slot.split_at(ended).1
}

#[cfg(test)]
mod tests;
