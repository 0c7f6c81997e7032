//! Rules as data: what an iptables-save text says, in the order it says it, nothing resolved yet.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use crate::base::Hook;

use super::matches::{AddrMask, Match, Not};
use super::targets::Target;

/// The family of addresses a ruleset is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Family {
    /// `iptables`.
    V4,
    /// `ip6tables`.
    V6,
}

/// The tables, in the order of their priorities.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum TableName {
    /// Before conntrack.
    Raw,
    /// Changes packets.
    Mangle,
    /// Changes addresses; asked for the first packet of a flow only.
    Nat,
    /// Lets pass or not.
    Filter,
}

impl TableName {
    /// All tables, in the order of their priorities.
    pub const ALL: [TableName; 4] = [TableName::Raw, TableName::Mangle, TableName::Nat, TableName::Filter];

    /// The name behind the `*`.
    pub fn name(self) -> &'static str {
        match self {
            TableName::Raw => "raw",
            TableName::Mangle => "mangle",
            TableName::Nat => "nat",
            TableName::Filter => "filter",
        }
    }

    /// The hooks at which it has a chain, in the order in which iptables-save prints them.
    pub fn hooks(self) -> &'static [Hook] {
        use Hook::{Forward, Input, Output, Postrouting, Prerouting};
        match self {
            TableName::Raw => &[Prerouting, Output],
            TableName::Mangle => &[Prerouting, Input, Forward, Output, Postrouting],
            TableName::Nat => &[Prerouting, Input, Output, Postrouting],
            TableName::Filter => &[Input, Forward, Output],
        }
    }
}

/// The rules of one family.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ruleset {
    /// Whose packets they are for.
    pub family: Family,
    /// The tables that were given, in the order they were given; each at most once.
    pub tables: Vec<Table>,
}

/// One table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// Which one.
    pub name: TableName,
    /// Its chains: the built-in ones first, in the order of [`TableName::hooks`], all of them; then the users', by name, as
    /// iptables keeps them.
    pub chains: Vec<Chain>,
}

/// One chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chain {
    /// Its name.
    pub name: String,
    /// What a built-in chain does with packets that come to its end; `None` for a user's chain.
    pub policy: Option<Policy>,
    /// Packets and bytes that met the policy, as they stood in the text.
    pub counters: Count,
    /// Its rules.
    pub rules: Rules,
}

/// The rules of a chain. Who copies them shares them, until one of both changes its own: of a change in one chain the
/// others cost nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rules(Arc<Vec<Rule>>);

impl Rules {
    /// Whether both are one and the same list, and not only equal ones.
    pub fn shared_with(&self, other: &Rules) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Deref for Rules {
    type Target = [Rule];

    fn deref(&self) -> &[Rule] {
        &self.0
    }
}

impl DerefMut for Rules {
    fn deref_mut(&mut self) -> &mut [Rule] {
        Arc::<Vec<Rule>>::make_mut(&mut self.0)
    }
}

impl From<Vec<Rule>> for Rules {
    fn from(rules: Vec<Rule>) -> Self {
        Rules(Arc::new(rules))
    }
}

impl FromIterator<Rule> for Rules {
    fn from_iter<I: IntoIterator<Item = Rule>>(rules: I) -> Self {
        Vec::from_iter(rules).into()
    }
}

impl<'a> IntoIterator for &'a Rules {
    type Item = &'a Rule;
    type IntoIter = std::slice::Iter<'a, Rule>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// What becomes of a packet that no rule of a built-in chain decided on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Policy {
    /// It passes.
    Accept,
    /// It does not.
    Drop,
}

/// Packets and bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Count {
    /// Packets.
    pub packets: u64,
    /// Bytes, from the L3 header on.
    pub bytes: u64,
}

/// One rule. What it says is shared by all that copy it: of a change of a few rules among many, the many cost little.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// The line of the text it stands on, from 1; 0 for one that came otherwise.
    pub line: usize,
    /// Packets and bytes that matched, as they stood in the text.
    pub counters: Count,
    /// What it asks and does; also read as if it were the rule's own.
    pub says: Arc<Says>,
}

/// What a rule asks of a packet, and does with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Says {
    /// What every rule can ask of the IP header and the links.
    pub basic: Basic,
    /// Its match modules, in the order they were written. All must agree.
    pub matches: Vec<Match>,
    /// What to do with a packet that matches.
    pub target: Target,
}

impl Deref for Rule {
    type Target = Says;

    fn deref(&self) -> &Says {
        &self.says
    }
}

/// `-s -d -i -o -p -f`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Basic {
    /// `-s`.
    pub src: Option<Not<AddrMask>>,
    /// `-d`.
    pub dst: Option<Not<AddrMask>>,
    /// `-i`: a link's name, or the beginning of one and a `+`.
    pub in_link: Option<Not<String>>,
    /// `-o`, likewise.
    pub out_link: Option<Not<String>>,
    /// `-p`; protocol 0 (`all`) is written as no protocol at all.
    pub proto: Option<Not<u8>>,
    /// `-f`: second and further IPv4 fragments; `! -f`: all others.
    pub fragment: Option<Not<()>>,
}
