//! The routes of one family as the trie sees them: prefixes, each with the number of what its first route comes to.

use super::build::Numbering;
use super::lpm::{Prefix, Source};
use super::rib::{Address, Key, Tables};
use super::route::Table;

/// Tables whose routes all have numbers.
pub(super) struct View<'a, B> {
    pub(super) tables: &'a Tables<B>,
    pub(super) numbers: &'a Numbering,
}

impl<B: Address> View<'_, B> {
    /// Whether packets never come to a route of table main, a local one being around it.
    fn is_hidden(&self, bits: B, len: u8) -> bool {
        let mut around = self.tables.lengths(Table::Local).filter(|l| *l <= len);
        around.any(|l| self.tables.in_table(Table::Local, bits.keep(l.into()), l).next().is_some())
    }

    /// `None` for what stands in no trie.
    fn value(&self, table: Table, key: &Key<B>, id: u32) -> Option<u32> {
        let (bits, len) = (key.addr(), key.len());
        let hidden = table == Table::Main && self.is_hidden(bits, len);
        if hidden || key.is_link_local() { None } else { self.numbers.of(id, len) }
    }
}

impl<B: Address> Source<B> for View<'_, B> {
    fn count(&self) -> usize {
        self.tables.len()
    }

    fn exactly(&self, bits: B, len: u8) -> Option<u32> {
        [Table::Local, Table::Main].into_iter().find_map(|table| {
            let (key, id) = self.tables.in_table(table, bits, len).next()?;
            self.value(table, key, *id)
        })
    }

    fn inside(&self, bits: B, len: u8) -> Vec<Prefix<B>> {
        let mut found = Vec::new();
        for table in [Table::Local, Table::Main] {
            let mut last: Option<&Key<B>> = None;
            for (key, id) in self.tables.inside(table, bits, len) {
                // The first of a prefix's routes is the one.
                if key.len() > len && !last.is_some_and(|last| last.same_prefix(key)) {
                    last = Some(key);
                    let value = self.value(table, key, *id);
                    found.extend(value.map(|value| Prefix { bits: key.addr(), len: key.len(), value }));
                }
            }
        }
        found.sort_unstable_by_key(|p| (p.bits, p.len));
        found
    }

    fn len_of(&self, value: u32) -> u8 {
        self.numbers.list.get(value as usize).map_or(0, |(_, len)| *len)
    }
}

#[cfg(test)]
mod tests;
