//! `-i` and `-o`: names, and beginnings of names, made into sets of links.

use crate::filter::matches::Not;
use crate::link::Links;

/// A set of links, and of "no link": a hook without one has an empty name, which `+` and negations match.
/// Place 0 is "no link", place n + 1 the link with id n.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LinkSet {
    first: u64,
    more: Box<[u64]>,
    /// How it is with links made after the set was.
    rest: bool,
}

impl LinkSet {
    /// The links that `pattern` agrees with.
    pub(super) fn new(pattern: &Not<String>, links: &Links) -> Self {
        let rest = pattern.agrees(|p| p == "+");
        let mut words = vec![0u64; links.bound() / 64 + 1];
        let names = links.places().map(|l| l.map(|l| l.name.as_str()));
        let has = |name: Option<&str>| name.map_or(rest, |name| pattern.agrees(|p| matches(p, name)));
        let has = std::iter::once(Some("")).chain(names).map(has).chain(std::iter::repeat(rest));
        for (place, has) in (0..words.len() * 64).zip(has) {
            words[place / 64] |= u64::from(has) << (place % 64);
        }
        LinkSet { first: words[0], more: words[1..].into(), rest }
    }

    /// Whether the link at this place is in it.
    #[inline]
    pub(super) fn has(&self, place: usize) -> bool {
        let word = match place / 64 {
            0 => Some(self.first),
            n => self.more.get(n - 1).copied(),
        };
        word.map_or(self.rest, |w| w >> (place % 64) & 1 != 0)
    }

    /// The places in it, if they are at most `limit` and links made later are not among them.
    pub(super) fn places(&self, limit: usize) -> Option<Vec<u16>> {
        let count = std::iter::once(&self.first).chain(&self.more).map(|w| w.count_ones() as usize);
        if self.rest || count.sum::<usize>() > limit {
            return None;
        }
        let all = (self.more.len() + 1) * 64;
        Some((0..all).filter(|p| self.has(*p)).filter_map(|p| u16::try_from(p).ok()).collect())
    }
}

/// Whether a name is what is asked for: the whole, or a beginning and `+`.
fn matches(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('+') {
        Some(begin) => name.starts_with(begin),
        None => pattern == name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::LinkId;
    use crate::filter::program::facts::place;
    use crate::link::{Link, LinkKind};

    fn links(n: usize) -> Links {
        Links::new((1..=n).map(|i| Link::new(format!("eth{i}"), LinkKind::Memory)))
    }

    fn set(pattern: &str, not: bool, n: usize) -> Vec<usize> {
        let set = LinkSet::new(&Not { not, value: pattern.into() }, &links(n));
        (0..=n + 2).filter(|p| set.has(*p)).collect()
    }

    #[test]
    fn names_and_beginnings() {
        let lo = place(Some(LinkId::LO));
        assert_eq!(set("eth2", false, 3), [3]);
        assert_eq!(set("eth", false, 3), [0; 0]);
        assert_eq!(set("eth+", false, 3), [2, 3, 4]);
        assert_eq!(set("+", false, 3), [0, 1, 2, 3, 4, 5]);
        assert_eq!(set("lo", false, 3), [lo]);
        assert_eq!(set("wan", false, 3), [0; 0]);
    }

    #[test]
    fn no_link_has_an_empty_name() {
        // The last is a link that was made later.
        assert_eq!(set("eth2", true, 3), [0, 1, 2, 4, 5]);
        assert_eq!(set("+", true, 3), [0; 0]);
    }

    #[test]
    fn many_links() {
        assert_eq!(set("eth150", false, 200), [151]);
        assert_eq!(set("eth15+", false, 200), [16, 151, 152, 153, 154, 155, 156, 157, 158, 159, 160]);
        let set = |p: &str| LinkSet::new(&Not::is(p.into()), &links(200));
        assert_eq!(set("eth150").places(4), Some(vec![151]));
        assert_eq!(set("eth15+").places(4), None);
        assert_eq!(set("none").places(4), Some(vec![]));
    }
}
