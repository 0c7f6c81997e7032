//! Which counters packets are counted by: lists that many flows share, by number.

use std::collections::HashMap;

use crate::base::hash::BuildQuick;

/// As many lists at most. Rules of which more come together make all records begin anew.
const MOST: usize = 4096;

/// The lists.
#[derive(Debug, Default)]
pub(super) struct Trails {
    counters: Vec<u32>,
    /// Where each list is among them.
    lists: Vec<(u32, u32)>,
    /// The configuration made what stands in a list; strangers can only choose among its rules.
    numbers: HashMap<Box<[u32]>, u16, BuildQuick>,
}

impl Trails {
    /// The counters of a list.
    #[inline]
    pub(super) fn get(&self, number: u16) -> &[u32] {
        let Some((from, to)) = self.lists.get(usize::from(number)) else { return &[] };
        self.counters.get(*from as usize..*to as usize).unwrap_or_default()
    }

    /// The number of a list; `None` if there are too many.
    pub(super) fn number(&mut self, counters: &[u32]) -> Option<u16> {
        if let Some(number) = self.numbers.get(counters) {
            return Some(*number);
        }
        if self.lists.len() >= MOST {
            return None;
        }
        let number = self.lists.len() as u16;
        let from = self.counters.len() as u32;
        self.counters.extend_from_slice(counters);
        self.lists.push((from, self.counters.len() as u32));
        self.numbers.insert(counters.into(), number);
        Some(number)
    }

    /// Forgets all.
    pub(super) fn clear(&mut self) {
        self.counters.clear();
        self.lists.clear();
        self.numbers.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_lists_share_a_number() {
        let mut t = Trails::default();
        let (a, b, none) = (t.number(&[1, 2]), t.number(&[2, 1]), t.number(&[]));
        assert!(a != b && a.is_some() && none.is_some() && t.number(&[1, 2]) == a);
        assert_eq!((t.get(a.unwrap()), t.get(b.unwrap())), (&[1, 2][..], &[2, 1][..]));
        assert!(t.get(none.unwrap()).is_empty() && t.get(999).is_empty());
        for n in 0..MOST as u32 {
            t.number(&[n, n, n]);
        }
        assert_eq!((t.number(&[77_777]), t.number(&[1, 2])), (None, a));
        t.clear();
        assert!(t.get(0).is_empty() && t.number(&[5]) == Some(0));
    }
}
