//! What a match or target is in the text: its name, its options, what they demand of each other, and what they add up to.

use crate::filter::matches::{Match, Not};
use crate::filter::rule::Family;
use crate::filter::targets::Target;

/// Which families have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Of {
    /// Both.
    Both,
    /// IPv4 alone.
    V4,
    /// IPv6 alone.
    V6,
}

impl Of {
    /// Whether rules of this family have it.
    pub(super) fn has(self, family: Family) -> bool {
        !matches!((self, family), (Of::V4, Family::V6) | (Of::V6, Family::V4))
    }
}

/// A match or a target. `T` is [`Match`] or [`Target`].
pub(super) struct Spec<T: 'static> {
    /// Its name.
    pub(super) name: &'static str,
    /// Which families have it.
    pub(super) of: Of,
    /// Its options.
    pub(super) options: &'static [Opt],
    /// Makes one of what was given.
    pub(super) build: fn(&Given<'_>) -> Result<T, String>,
}

/// A match.
pub(super) type MatchSpec = Spec<Match>;
/// A target.
pub(super) type TargetSpec = Spec<Target>;

/// An option.
#[derive(Debug, Clone, Copy)]
pub(super) struct Opt {
    /// Its name, without the dashes.
    pub(super) name: &'static str,
    /// Which one it is; those that are the same under another name share it. Below 16.
    pub(super) id: u8,
    /// How many words follow it.
    pub(super) args: u8,
    /// Whether `!` may stand before it.
    pub(super) not: bool,
    /// Whether it must be there.
    pub(super) must: bool,
    /// Bits of the options it can't stand beside.
    pub(super) excludes: u16,
    /// Bits of the options that must stand beside it.
    pub(super) also: u16,
    /// Whether it is iptables' and not ours yet.
    pub(super) later: bool,
}

impl Opt {
    /// An option with one argument.
    pub(super) const fn new(name: &'static str, id: u8) -> Opt {
        Opt { name, id, args: 1, not: false, must: false, excludes: 0, also: 0, later: false }
    }

    /// One without an argument.
    pub(super) const fn flag(name: &'static str, id: u8) -> Opt {
        Opt { args: 0, ..Opt::new(name, id) }
    }

    /// The same, with `!` allowed.
    pub(super) const fn not(self) -> Opt {
        Opt { not: true, ..self }
    }

    /// The same, but it must be there.
    pub(super) const fn must(self) -> Opt {
        Opt { must: true, ..self }
    }

    /// The same, but not beside these.
    pub(super) const fn excludes(self, excludes: u16) -> Opt {
        Opt { excludes, ..self }
    }

    /// The same, but only beside these.
    pub(super) const fn also(self, also: u16) -> Opt {
        Opt { also, ..self }
    }

    /// The same, but not read yet.
    pub(super) const fn later(self) -> Opt {
        Opt { later: true, ..self }
    }

    fn bit(&self) -> u16 {
        1 << self.id
    }
}

/// An option that was given.
#[derive(Debug)]
pub(super) struct One<'a> {
    /// Which.
    pub(super) opt: &'static Opt,
    /// Whether `!` stood before it.
    pub(super) not: bool,
    /// Its argument; empty if it has none.
    pub(super) arg: &'a str,
    /// Its second argument, likewise.
    pub(super) second: &'a str,
    /// The rule's `-p` as far as it was read by then.
    pub(super) proto: Option<Not<u8>>,
}

impl One<'_> {
    /// Puts the option's name before what is wrong with its argument.
    pub(super) fn says<T>(&self, result: Result<T, String>) -> Result<T, String> {
        result.map_err(|e| format!("--{}: {e}", self.opt.name))
    }

    /// The value, negated if it was.
    pub(super) fn value<T>(&self, read: impl FnOnce(&str) -> Result<T, String>) -> Result<Not<T>, String> {
        Ok(Not { not: self.not, value: self.says(read(self.arg))? })
    }
}

/// The options given to one match or target, in the order they were given.
pub(super) struct Given<'a> {
    /// What they are given to.
    pub(super) name: &'static str,
    /// Its options.
    pub(super) options: &'static [Opt],
    /// The rule's family.
    pub(super) family: Family,
    given: Vec<One<'a>>,
}

impl<'a> Given<'a> {
    /// None so far.
    pub(super) fn new(name: &'static str, options: &'static [Opt], family: Family) -> Self {
        Given { name, options, family, given: Vec::new() }
    }

    /// One more. Refused if it is there already, or if `!` has no sense before it.
    pub(super) fn add(&mut self, one: One<'a>) -> Result<(), String> {
        if one.opt.later {
            return Err(format!("{}: --{} is not supported here (yet)", self.name, one.opt.name));
        }
        if self.given.iter().any(|o| o.opt.id == one.opt.id) {
            return Err(format!("{}: option \"--{}\" can only be used once", self.name, one.opt.name));
        }
        if one.not && !one.opt.not {
            return Err(format!("{}: option \"--{}\" cannot be inverted", self.name, one.opt.name));
        }
        self.given.push(one);
        Ok(())
    }

    /// What the options demand of each other.
    pub(super) fn check(&self) -> Result<(), String> {
        let have = self.given.iter().fold(0, |bits, o| bits | o.opt.bit());
        let named = |bits: u16| self.options.iter().find(|o| o.bit() & bits != 0).map_or("", |o| o.name);
        if let Some(o) = self.options.iter().find(|o| o.must && have & o.bit() == 0) {
            return Err(format!("{}: option \"--{}\" must be specified", self.name, o.name));
        }
        for o in &self.given {
            let beside = have & o.opt.excludes & !o.opt.bit();
            if beside != 0 {
                let other = self.given.iter().find(|o| o.opt.bit() & beside != 0).map_or("", |o| o.opt.name);
                return Err(format!(
                    "{}: option \"--{}\" cannot be used together with \"--{other}\"",
                    self.name, o.opt.name
                ));
            }
            let lacks = o.opt.also & !have;
            if lacks != 0 {
                return Err(format!("{}: --{} needs --{} beside it", self.name, o.opt.name, named(lacks)));
            }
        }
        Ok(())
    }

    /// All, in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &One<'a>> {
        self.given.iter()
    }

    /// One.
    pub(super) fn get(&self, id: u8) -> Option<&One<'a>> {
        self.given.iter().find(|o| o.opt.id == id)
    }

    /// Whether it is there.
    pub(super) fn has(&self, id: u8) -> bool {
        self.get(id).is_some()
    }

    /// Its value, if it is there.
    pub(super) fn value<T>(
        &self,
        id: u8,
        read: impl FnOnce(&str) -> Result<T, String>,
    ) -> Result<Option<Not<T>>, String> {
        self.get(id).map(|o| o.value(read)).transpose()
    }

    /// The value of one that must be there.
    pub(super) fn must<T>(
        &self,
        id: u8,
        read: impl FnOnce(&str) -> Result<T, String>,
    ) -> Result<Not<T>, String> {
        self.value(id, read)?.ok_or_else(|| self.lacks())
    }

    /// That none is there where one must be.
    pub(super) fn lacks(&self) -> String {
        let mut names: Vec<String> = Vec::new();
        let mut last = None;
        for o in self.options {
            if last != Some(o.id) {
                names.push(format!("--{}", o.name));
            }
            last = Some(o.id);
        }
        format!("{}: give one of {}", self.name, names.join(", "))
    }
}
