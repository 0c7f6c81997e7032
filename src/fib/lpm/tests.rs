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
    let walk_all = Shape { direct_bits: 0, max_page: 0, page_slots: 1, max_walk: 200 };
    vec![Shape::SMALL, Shape::MEDIUM, Shape::LARGE, walk_all, Shape { max_walk: 0, ..walk_all }]
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
            prop_assert_eq!(table.pages.is_empty(), shape.max_page == 0);
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
    let hosts = |n: u32| (0..n).map(|i| Prefix { bits: 0x0a00_0001 + (i << 8), len: 32, value: i }).collect();
    assert!(Lpm::<u32>::build(hosts(20)).memory() < 4 << 10);
    assert!(Lpm::<u32>::build(hosts(1_000)).memory() < 1 << 20);
    assert!(Lpm::<u32>::build(hosts(100_000)).memory() < 8 << 20);
}
