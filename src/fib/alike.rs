//! A table that takes from one before it whatever is the same in both.
//!
//! ```text
//!   before  ──► chunk  chunk  chunk          read anew, the second chunk with a route more: of the whole table that
//!                 │      ╳      │            was built beside it, one chunk stays
//!   alike   ──► chunk  chunk' chunk
//! ```
//!
//! Whoever reads a file again has built a table that shares nothing with the one in force, even if not a route of it is
//! different. Knows nothing of files.

use std::sync::Arc;

use super::rib::{Address, Interner, Key, Rib, Tables};
use super::route::Table;

/// With more than one route in so many different, a table of its own is as good.
const MANY: usize = 4;

impl Rib {
    /// The same routes, kept where `before` has them as far as it does: that takes no memory twice, and what differs from
    /// `before` is found soon. The links of both have the same ids.
    pub fn like(self, before: &Arc<Rib>) -> Arc<Rib> {
        let same = Same::of(&before.shared, &self.shared);
        let most = self.len() / MANY + 1;
        let (Some(v4), Some(v6)) =
            (same.differences(&before.v4, &self.v4, most), same.differences(&before.v6, &self.v6, most))
        else {
            return Arc::new(self);
        };
        if v4.is_empty() && v6.is_empty() {
            return before.clone();
        }
        let mut rib = Rib::clone(before);
        take_over(&mut rib.v4, &self.v4, v4, (&mut rib.shared, &self.shared));
        take_over(&mut rib.v6, &self.v6, v6, (&mut rib.shared, &self.shared));
        Arc::new(rib)
    }
}

/// A route that is in one of two tables only, or another one in each: the numbers of what it shares with others.
struct Differs<B> {
    table: Table,
    key: Key<B>,
    was: Option<u32>,
    is: Option<u32>,
}

/// What of two tables' routes is shared by the routes of both.
struct Same<'a> {
    before: &'a Interner,
    now: &'a Interner,
    /// By its number now: that before.
    known: Vec<Option<u32>>,
}

impl<'a> Same<'a> {
    fn of(before: &'a Interner, now: &'a Interner) -> Self {
        let ids = 0..now.bound() as u32;
        let known = ids.map(|id| now.get(id).and_then(|shared| before.number_of(shared))).collect();
        Same { before, now, known }
    }

    fn is(&self, was: u32, now: u32) -> bool {
        let known = self.known.get(now as usize).copied().flatten();
        // Two numbers may stand for the same.
        known == Some(was) || (known.is_some() && self.before.get(was) == self.now.get(now))
    }

    /// In what two tables differ; `None` if in more than so many.
    fn differences<B: Address>(
        &self,
        before: &Tables<B>,
        now: &Tables<B>,
        most: usize,
    ) -> Option<Vec<Differs<B>>> {
        let (mut all, mut count) = (Vec::new(), 0);
        for table in [Table::Local, Table::Main] {
            let same = |was: &u32, is: &u32| self.is(*was, *is);
            before.table(table).differences(now.table(table), same, |key, was, is| {
                count += 1;
                if count <= most {
                    all.push(Differs { table, key: *key, was: was.copied(), is: is.copied() });
                }
            });
        }
        (count <= most).then_some(all)
    }
}

/// Makes one table's routes those of another.
fn take_over<B: Address>(
    tables: &mut Tables<B>,
    of: &Tables<B>,
    differ: Vec<Differs<B>>,
    (shared, theirs): (&mut Interner, &Interner),
) {
    for Differs { table, key, was, is } in differ {
        // First what comes: what both have in common keeps its number.
        let number = is.and_then(|id| theirs.get(id)).map(|s| shared.add(s.clone()));
        match number {
            Some(number) => tables.table_mut(table).insert(key, number),
            None => drop(tables.table_mut(table).remove(&key)),
        }
        was.into_iter().for_each(|id| shared.release(id));
    }
    tables.lengths = of.lengths;
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::fib::sample::*;
    use crate::fib::{Family, Route};
    use crate::link::Links;

    /// Routes of few prefixes through few neighbors, so that many of two tables are the same ones.
    fn lines() -> impl Strategy<Value = Vec<String>> {
        let one = (0..40u8, 16..26u8, 0..5u8, 0..3u8).prop_map(|(net, len, via, metric)| match via {
            0 => format!("blackhole 20.0.{net}.0/{} metric {metric}", 24 + len % 8),
            1..4 => format!("20.0.{net}.0/{} via 10.1.0.{via} metric {metric}", 24 + len % 8),
            _ => format!("fd{net:02}::/{len} via fd01::{via} metric {}", 1 + metric),
        });
        proptest::collection::vec(one, 0..60)
    }

    fn built(lines: &[String], links: &Links) -> Rib {
        let mut rib = Rib::connected(links);
        for line in lines {
            // Some are there already, some have bits behind their prefix.
            if let Ok(Some(route)) = crate::fib::parse_line(line, links) {
                let _ = rib.insert(route);
            }
        }
        rib.settle(links);
        rib
    }

    fn all(rib: &Rib) -> Vec<Route> {
        rib.iter().collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn it_is_the_same_table(before in lines(), more in lines(), taken in 0..8usize) {
            let links = links();
            let kept: Vec<_> = before.iter().skip(taken).cloned().collect();
            let now: Vec<_> = kept.iter().chain(more.iter().take(taken)).cloned().collect();
            let (before, fresh) = (Arc::new(built(&before, &links)), built(&now, &links));
            let alike = fresh.clone().like(&before);
            prop_assert_eq!(all(&alike), all(&fresh));
            prop_assert_eq!(alike.check(&links), fresh.check(&links));
            for family in [Family::V4, Family::V6] {
                for table in [Table::Main, Table::Local] {
                    prop_assert_eq!(alike.count(family, table), fresh.count(family, table));
                }
            }
            // It goes on as one that was built: each route of it can go, and nothing is left then.
            let mut emptied = Rib::clone(&alike);
            for route in all(&fresh) {
                prop_assert_eq!(emptied.remove(route.prefix, |r| *r == route), Ok(route));
            }
            prop_assert!(emptied.is_empty());
            prop_assert!((0..emptied.shared.bound() as u32).all(|id| emptied.shared.get(id).is_none()));
            // And what packets meet is what they meet of a table of its own.
            let fib = before.build_usable(&links, |_| true).after(&alike, &links, |_| true);
            let own = fresh.build_usable(&links, |_| true);
            for route in all(&fresh) {
                let dst = route.prefix.addr();
                prop_assert_eq!(fib.lookup(dst), own.lookup(dst), "{}", dst);
            }
        }
    }

    #[test]
    fn what_is_the_same_is_there_once() {
        let links = links();
        let many = |n: u32| -> Vec<String> {
            (0..n).map(|n| format!("20.{}.{}.0/24 via 10.1.0.{}", n / 250, n % 250, 2 + n % 7)).collect()
        };
        let before = Arc::new(built(&many(10_000), &links));
        let again = built(&many(10_000), &links);
        assert!(again.apart_from(&before) >= 10_000);
        assert!(Arc::ptr_eq(&again.like(&before), &before));
        // In another order, with one more, and one by way of somebody else.
        let mut other = many(10_001);
        other[77] = "20.0.77.0/24 via 10.2.0.9".into();
        other.reverse();
        let other = built(&other, &links).like(&before);
        assert_eq!(other.len(), before.len() + 1);
        assert!(other.apart_from(&before) <= 4 * 512, "{}", other.apart_from(&before));
        // Hardly anything is the same.
        let few = built(&many(100), &links);
        let len = few.len();
        assert_eq!(few.like(&before).len(), len);
    }
}
