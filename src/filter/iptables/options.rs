//! The options that a line may use, and which one a word means.
//!
//! Options are found as getopt_long finds them: by the whole name or the beginning of one, the tool's own first, then
//! those of matches and targets, the newest first.

use super::spec::Opt;

/// One of the tool's own options.
pub(super) struct Base {
    /// Behind two dashes.
    pub(super) long: &'static str,
    /// Behind one.
    pub(super) short: char,
    /// How many arguments.
    pub(super) arg: Arg,
}

/// How many arguments an option takes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Arg {
    /// None.
    No,
    /// One.
    Yes,
    /// In the same word, or none.
    Joined,
}

const fn base(long: &'static str, short: char, arg: Arg) -> Base {
    Base { long, short, arg }
}

/// The tool's own options.
pub(super) const BASE: &[Base] = &[
    base("append", 'A', Arg::Yes),
    base("delete", 'D', Arg::Yes),
    base("check", 'C', Arg::Yes),
    base("insert", 'I', Arg::Yes),
    base("replace", 'R', Arg::Yes),
    base("list", 'L', Arg::Joined),
    base("list-rules", 'S', Arg::Joined),
    base("flush", 'F', Arg::Joined),
    base("zero", 'Z', Arg::Joined),
    base("new-chain", 'N', Arg::Yes),
    base("delete-chain", 'X', Arg::Joined),
    base("rename-chain", 'E', Arg::Yes),
    base("policy", 'P', Arg::Yes),
    base("source", 's', Arg::Yes),
    base("destination", 'd', Arg::Yes),
    base("src", 's', Arg::Yes),
    base("dst", 'd', Arg::Yes),
    base("protocol", 'p', Arg::Yes),
    base("in-interface", 'i', Arg::Yes),
    base("jump", 'j', Arg::Yes),
    base("table", 't', Arg::Yes),
    base("match", 'm', Arg::Yes),
    base("numeric", 'n', Arg::No),
    base("out-interface", 'o', Arg::Yes),
    base("verbose", 'v', Arg::No),
    base("wait", 'w', Arg::Joined),
    base("wait-interval", 'W', Arg::Joined),
    base("exact", 'x', Arg::No),
    base("fragments", 'f', Arg::No),
    base("version", 'V', Arg::No),
    base("help", 'h', Arg::Joined),
    base("line-numbers", '0', Arg::No),
    base("modprobe", 'M', Arg::Yes),
    base("set-counters", 'c', Arg::Yes),
    base("goto", 'g', Arg::Yes),
    base("ipv4", '4', Arg::No),
    base("ipv6", '6', Arg::No),
];

/// Whose options were added.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Owner {
    /// The match of that name, the last one given.
    Match(&'static str),
    /// The target.
    Target,
}

/// What a long option is.
pub(super) enum Found {
    /// The tool's own.
    Base(&'static Base),
    /// A match's or the target's.
    Other(Owner, &'static Opt),
}

/// The tool's options, and those that the line's matches and target brought.
#[derive(Default)]
pub(super) struct Options {
    added: Vec<(Owner, &'static [Opt])>,
}

impl Options {
    /// Brings in those of a match or target.
    pub(super) fn add(&mut self, owner: Owner, options: &'static [Opt]) {
        self.added.push((owner, options));
    }

    /// The option of that name, or whose name begins so; none if several do and are not the same.
    pub(super) fn find(&self, name: &str) -> Option<Found> {
        let base = || BASE.iter().map(|b| (b.long, b.arg, Err(b.short), Found::Base(b)));
        let others = || {
            self.added.iter().rev().flat_map(|(owner, options)| {
                let arg = |o: &Opt| if o.args > 0 { Arg::Yes } else { Arg::No };
                options.iter().map(move |o| (o.name, arg(o), Ok((*owner, o.id)), Found::Other(*owner, o)))
            })
        };
        if let Some((.., found)) = base().chain(others()).find(|(n, ..)| *n == name) {
            return Some(found);
        }
        let mut hits = base().chain(others()).filter(|(n, ..)| n.starts_with(name));
        let (_, arg, which, found) = hits.next()?;
        let same = hits.all(|(_, a, w, _)| a == arg && w == which);
        same.then_some(found)
    }
}
