use super::build::Shape;
use super::*;
use proptest::prelude::*;

/// The definition: of the prefixes that cover the address, the longest.
fn reference<B: Bits>(prefixes: &[Prefix<B>], key: B) -> Option<u32> {
    let covering = prefixes.iter().filter(|p| key.common(p.bits) >= u32::from(p.len));
    covering.max_by_key(|p| p.len).map(|p| p.value)
}

fn mask4(bits: u32, len: u8) -> u32 {
    bits & u32::MAX.checked_shl(32 - u32::from(len)).unwrap_or(0)
}

fn mask6(bits: u128, len: u8) -> u128 {
    bits & u128::MAX.checked_shl(128 - u32::from(len)).unwrap_or(0)
}

fn distinct<B: Bits>(raw: Vec<(B, u8)>) -> Vec<Prefix<B>> {
    let set: std::collections::BTreeSet<_> = raw.into_iter().collect();
    set.into_iter().enumerate().map(|(i, (bits, len))| Prefix { bits, len, value: i as u32 }).collect()
}

/// Addresses from few bits, so that prefixes nest and lookups hit; all lengths, 0 and whole included.
fn prefixes4(max: usize) -> impl Strategy<Value = Vec<Prefix<u32>>> {
    let bits = prop_oneof![any::<u32>(), any::<u32>().prop_map(|b| b & 0x0303_c103 | 0x0a00_0000)];
    let one = (bits, 0..=32u8).prop_map(|(b, len)| (mask4(b, len), len));
    proptest::collection::vec(one, 0..max).prop_map(distinct)
}

fn prefixes6(max: usize) -> impl Strategy<Value = Vec<Prefix<u128>>> {
    let dense = any::<u128>().prop_map(|b| b & 0x3_0000_0301_0000_0000_8001_0000_0003 | 0x2001_0db8 << 96);
    let len = prop_oneof![0..=128u8, Just(48), Just(64), Just(128)];
    let one = (prop_oneof![any::<u128>(), dense], len).prop_map(|(b, len)| (mask6(b, len), len));
    proptest::collection::vec(one, 0..max).prop_map(distinct)
}

/// Where things change: the first and last address of each prefix and those beside.
fn edges<B: Bits>(prefixes: &[Prefix<B>], last: impl Fn(B, u8) -> B, step: impl Fn(B) -> [B; 2]) -> Vec<B> {
    prefixes
        .iter()
        .flat_map(|p| [p.bits, last(p.bits, p.len)])
        .flat_map(|b| [b].into_iter().chain(step(b)))
        .collect()
}

/// What tables are built as, and what they could be.
fn shapes() -> Vec<Shape> {
    let walk_all = Shape { direct_bits: 0, max_page: 0, page_slots: 1, max_walk: 200, under: false };
    let crowded = Shape { direct_bits: 12, max_page: 10, page_slots: 64, max_walk: 3, under: true };
    let all = [Shape::SMALL, Shape::MEDIUM, Shape::LARGE, walk_all, Shape { max_walk: 0, ..walk_all }];
    all.into_iter().chain([Shape { under: true, ..walk_all }, crowded]).collect()
}

/// Prefixes as crowded as where a registry hands out neighboring blocks: these make pages.
fn crowded6() -> impl Strategy<Value = Vec<Prefix<u128>>> {
    let len = prop_oneof![3 => Just(32u8), 1 => 20..=32u8, 1 => 33..=64u8, 1 => Just(128)];
    let one = (0..512u128, any::<u64>(), len).prop_map(|(block, site, len)| {
        let bits = 0x2001 << 112 | block << 96 | u128::from(site & 0x8001_0000_0000_0003);
        (mask6(bits, len), len)
    });
    proptest::collection::vec(one, 80..250).prop_map(distinct)
}

proptest! {
    #[test]
    fn ipv4_equals_the_definition(prefixes in prefixes4(60), random in proptest::collection::vec(any::<u32>(), 30)) {
        let mut keys = edges(&prefixes, |b, len| b | !mask4(u32::MAX, len), |b| [b.wrapping_add(1), b.wrapping_sub(1)]);
        keys.extend(random);
        for shape in shapes() {
            let table = Lpm::build_as(&mut prefixes.clone(), shape);
            for key in &keys {
                prop_assert_eq!(table.lookup(*key), reference(&prefixes, *key), "{:08x} in {:?}", key, shape);
            }
        }
    }

    #[test]
    fn ipv6_equals_the_definition(prefixes in prefixes6(60), random in proptest::collection::vec(any::<u128>(), 30)) {
        let mut keys = edges(&prefixes, |b, len| b | !mask6(u128::MAX, len), |b| [b.wrapping_add(1), b.wrapping_sub(1)]);
        keys.extend(random);
        for shape in shapes() {
            let table = Lpm::build_as(&mut prefixes.clone(), shape);
            for key in &keys {
                prop_assert_eq!(table.lookup(*key), reference(&prefixes, *key), "{:032x} in {:?}", key, shape);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn crowds_equal_the_definition(prefixes in crowded6()) {
        let keys = edges(&prefixes, |b, len| b | !mask6(u128::MAX, len), |b| [b.wrapping_add(1), b.wrapping_sub(1)]);
        for shape in shapes() {
            let table = Lpm::build_as(&mut prefixes.clone(), shape);
            prop_assert_eq!(table.store.of_pages() == 0, shape.max_page == 0);
            for key in &keys {
                prop_assert_eq!(table.lookup(*key), reference(&prefixes, *key), "{:032x} in {:?}", key, shape);
            }
        }
    }
}

#[test]
fn nothing_leads_nowhere() {
    let empty = Lpm::<u32>::build(vec![]);
    assert_eq!(empty.lookup(0), None);
    assert_eq!(empty.lookup(u32::MAX), None);
    assert!(empty.memory() <= 1 << 10);
}

#[test]
fn a_default_route_leads_everywhere() {
    let table = Lpm::build(vec![Prefix { bits: 0u128, len: 0, value: 7 }]);
    assert_eq!(table.lookup(0), Some(7));
    assert_eq!(table.lookup(u128::MAX), Some(7));
}

#[test]
fn every_nested_length_is_told_apart() {
    // ::/0, 8000::/1, c000::/2 … all the way down to one address.
    let prefixes: Vec<_> =
        (0..=128u8).map(|len| Prefix { bits: mask6(u128::MAX, len), len, value: len.into() }).collect();
    let table = Lpm::build(prefixes);
    for ones in 0..=128u8 {
        assert_eq!(table.lookup(mask6(u128::MAX, ones)), Some(ones.into()));
    }
}

#[test]
fn small_tables_are_small() {
    let hosts = |n: u32| -> Vec<_> {
        (0..n).map(|i| Prefix { bits: 0x0a00_0001 + (i << 8), len: 32, value: i }).collect()
    };
    let as_built = |n, shape| Lpm::<u32>::build_as(&mut { hosts(n) }, shape).memory();
    assert!(as_built(20, Shape::SMALL) < 4 << 10);
    assert!(as_built(1_000, Shape::MEDIUM) < 1 << 20);
    assert!(as_built(100_000, Shape::LARGE) < 8 << 20);
}

/// The prefixes as a set that changes.
struct Known<B>(std::collections::BTreeMap<(B, u8), u32>);

impl<B: Bits> Source<B> for Known<B> {
    fn count(&self) -> usize {
        // Never too few to be changed one by one.
        self.0.len().max(Shape::MEDIUM_MAX)
    }
    fn exactly(&self, bits: B, len: u8) -> Option<u32> {
        self.0.get(&(bits, len)).copied()
    }
    fn inside(&self, bits: B, len: u8) -> Vec<Prefix<B>> {
        let from = self.0.range((bits.keep(len.into()), 0)..);
        let inside = from.take_while(|((b, _), _)| bits.common(*b) >= u32::from(len));
        inside
            .filter(|((_, l), _)| *l > len)
            .map(|((bits, len), value)| Prefix { bits: *bits, len: *len, value: *value })
            .collect()
    }
    fn len_of(&self, value: u32) -> u8 {
        (value >> 16) as u8
    }
}

/// Sets of prefixes that come, if their number is even, or go. Values say the length, as those of routes do.
type Steps<B> = Vec<Vec<(B, u8, u8)>>;

fn steps<B: std::fmt::Debug>(one: impl Strategy<Value = (B, u8)>) -> impl Strategy<Value = Steps<B>> {
    let one = (one, any::<u8>()).prop_map(|((b, len), n)| (b, len, n));
    proptest::collection::vec(proptest::collection::vec(one, 1..12), 1..14)
}

/// Applies the steps to a table, looking after each that it says what its prefixes say, and that the one before still does.
fn follow<B: Bits>(steps: &Steps<B>, shape: Shape, last: impl Fn(B, u8) -> B, step: impl Fn(B) -> [B; 2]) {
    let mut known = Known(Default::default());
    let mut table = Lpm::build_as(&mut [], shape);
    table.chosen_for = Shape::MEDIUM_MAX;
    let list = |known: &Known<B>| -> Vec<_> {
        known.0.iter().map(|((bits, len), value)| Prefix { bits: *bits, len: *len, value: *value }).collect()
    };
    let touched: Vec<_> =
        steps.iter().flatten().map(|(b, l, _)| Prefix { bits: *b, len: *l, value: 0 }).collect();
    let keys = edges(&touched, last, step);
    for changes in steps {
        let before = (table.clone(), list(&known));
        let mut changed: Vec<(B, u8)> = changes.iter().map(|c| (c.0, c.1)).collect();
        changed.sort_unstable();
        changed.dedup();
        for (bits, len, n) in changes {
            // Mostly there are some; all go now and then.
            if n % 3 == 0 {
                known.0.remove(&(*bits, *len));
            } else {
                known.0.insert((*bits, *len), u32::from(*len) << 16 | u32::from(n % 4));
            }
        }
        table = table.updated(&changed, &known).expect("rows are whole");
        let tidy = table.without_litter().expect("rows are whole");
        for (table, prefixes) in [(&before.0, &before.1), (&table, &list(&known)), (&tidy, &list(&known))] {
            for key in &keys {
                assert_eq!(table.lookup(*key), reference(prefixes, *key), "{key:?} in {shape:?}");
            }
        }
    }
}

fn changeable() -> impl Iterator<Item = Shape> {
    shapes().into_iter().filter(|s| s.under && s.direct_bits < 18)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn changed_ipv4_equals_the_definition(
        steps in steps((any::<u32>(), 0..=32u8).prop_map(|(b, len)| (mask4(b & 0x0303_c103 | 0x0a00_0000, len), len)))
    ) {
        for shape in changeable() {
            follow(&steps, shape, |b, len| b | !mask4(u32::MAX, len), |b| [b.wrapping_add(1), b.wrapping_sub(1)]);
        }
    }

    #[test]
    fn changed_ipv6_equals_the_definition(
        steps in steps((0..512u128, any::<u64>(), prop_oneof![3 => Just(32u8), 2 => 0..=32u8, 1 => 33..=128u8]).prop_map(
            |(block, site, len)| {
                let bits = 0x2001 << 112 | block << 96 | u128::from(site & 0x8001_0000_0000_0003);
                (mask6(bits, len), len)
            }
        ))
    ) {
        for shape in changeable() {
            follow(&steps, shape, |b, len| b | !mask6(u128::MAX, len), |b| [b.wrapping_add(1), b.wrapping_sub(1)]);
        }
    }
}

/// What nobody needs is never more than what is needed, or some MiB.
#[test]
fn changes_leave_no_litter() {
    let prefix = |i: u32| (i << 8, 24u8);
    let value = |i: u32, n: u32| (24 << 16) | ((i + n) % 7);
    let mut known = Known((0..16_000).map(|i| (prefix(i * 3), value(i, 0))).collect());
    let list = known.0.iter().map(|((bits, len), value)| Prefix { bits: *bits, len: *len, value: *value });
    let mut table = Lpm::build(list.collect());
    let built = table.memory();
    for n in 1..60u32 {
        let changed: Vec<_> = (0..1_600).map(|i| prefix((i * 10 + n % 10) * 3)).collect();
        for (bits, len) in &changed {
            known.0.insert((*bits, *len), value(*bits, n));
        }
        table = table.updated(&changed, &known).expect("few of many");
        // Room for growth is a quarter.
        assert!(table.memory() <= built * 5 / 2 + (5 << 20) + (5 << 18), "{} after {built}", table.memory());
    }
    let fresh =
        Lpm::build(known.0.iter().map(|((b, l), v)| Prefix { bits: *b, len: *l, value: *v }).collect());
    for i in 0..50_000u32 {
        assert_eq!(table.lookup(i << 8 | 9), fresh.lookup(i << 8 | 9));
    }
}
