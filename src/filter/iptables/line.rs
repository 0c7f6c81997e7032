//! A command: one line of a table that is neither `:CHAIN` nor COMMIT, or the words behind `iptables` itself.
//!
//! The match of the rule's protocol comes by itself when an option is unknown without it.

mod end;

use crate::filter::matches::{AddrMask, Not};
use crate::filter::rule::{Basic, Count, Family, Policy, Rule, TableName};
use crate::filter::targets::Target;

use super::command::Manner;
use super::known;
use super::no::No;
use super::options::{Arg, BASE, Found, Options, Owner};
use super::spec::{Given, MatchSpec, One, TargetSpec};
use super::value;

pub(super) use end::policy;

/// What a line asks for.
#[derive(Debug, Clone)]
pub(super) enum Command {
    /// `-A`.
    Append(String, Vec<Rule>),
    /// `-I`, before the rule of that number, from 1.
    Insert(String, usize, Vec<Rule>),
    /// `-R`.
    Replace(String, usize, Box<Rule>),
    /// `-D` by what the rules say.
    Delete(String, Vec<Rule>),
    /// `-D` by number.
    DeleteNumber(String, usize),
    /// `-C`.
    Check(String, Vec<Rule>),
    /// `-F`, of one chain or all.
    Flush(Option<String>),
    /// `-Z`, of one chain or all, or of one rule.
    Zero(Option<String>, Option<usize>),
    /// `-N`.
    New(String),
    /// `-X`, of one chain or all.
    Remove(Option<String>),
    /// `-E`.
    Rename(String, String),
    /// `-P`; no policy stands for a word that is none.
    Policy(String, Option<Policy>, Option<Count>),
    /// For the other family.
    Nothing,
}

/// What the words behind `iptables` ask for.
#[derive(Debug)]
pub(super) enum Said {
    /// To change the rules, or to look for one.
    Edit(Command),
    /// `-L`, or `-S` with `as_commands`.
    List {
        as_commands: bool,
        chain: Option<String>,
        number: Option<usize>,
        /// And `-Z`: of all that is listed, or of this rule alone.
        zero: Option<Option<usize>>,
    },
    /// `-h`.
    Help,
    /// `-V`.
    Version,
}

/// The longest name of a chain, in bytes (`XT_EXTENSION_MAXNAMELEN`, less the zero at its end).
pub(super) const LONGEST_CHAIN: usize = 28;
/// The longest name of a link, in bytes (`IFNAMSIZ`, likewise).
const LONGEST_LINK: usize = 15;

/// What kind of chain has a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// None.
    None,
    /// A built-in one.
    BuiltIn,
    /// A user's.
    User,
}

/// What has to be known to read a line.
pub(super) struct Around<'a> {
    /// Whose rules these are.
    pub(super) family: Family,
    /// The table.
    pub(super) table: TableName,
    /// Which chains there are.
    pub(super) chain: &'a dyn Fn(&str) -> Kind,
    /// The line's number.
    pub(super) line: usize,
}

/// Reads a line, given in words; `counters` are those that stood before it.
pub(super) fn read(words: &[String], counters: Option<Count>, around: &Around<'_>) -> Result<Command, No> {
    let mut reader = Reader::new(words, counters, around);
    reader.words()?;
    reader.command()
}

/// Reads the words behind `iptables`, into what they ask for, the table, and how it is to be shown.
pub(super) fn command(words: &[String], around: &Around<'_>) -> Result<(Said, TableName, Manner), No> {
    let mut reader = Reader::new(words, None, around);
    reader.manner = Some(Manner::default());
    reader.words()?;
    reader.said()
}

struct Reader<'a> {
    around: &'a Around<'a>,
    words: &'a [String],
    at: usize,
    not: bool,
    command: Option<char>,
    chain: Option<&'a str>,
    number: Option<usize>,
    second: Option<&'a str>,
    counters: Option<Count>,
    basic: Basic,
    given_proto: bool,
    protocol_loaded: bool,
    src: Option<Not<Vec<AddrMask>>>,
    dst: Option<Not<Vec<AddrMask>>>,
    target: Option<Target>,
    target_options: Option<(&'static TargetSpec, Given<'a>)>,
    matches: Vec<(&'static MatchSpec, Given<'a>)>,
    options: Options,
    other_family: bool,
    /// How it is to be shown, if these are the words behind `iptables`; `None` in a text.
    manner: Option<Manner>,
    /// What `-t` said.
    table: Option<&'a str>,
    /// `-Z` beside `-L` or `-S`.
    zero: bool,
    /// It was `-Z` that had a rule's number behind it.
    zeroes_one: bool,
    /// `-w`, `-W`.
    waits: bool,
    waits_between: bool,
    /// `-h` or `-V`: what follows is not looked at.
    ends: bool,
}

impl<'a> Reader<'a> {
    fn new(words: &'a [String], counters: Option<Count>, around: &'a Around<'a>) -> Self {
        Reader {
            around,
            words,
            at: 0,
            not: false,
            command: None,
            chain: None,
            number: None,
            second: None,
            counters,
            basic: Basic::default(),
            protocol_loaded: false,
            given_proto: false,
            src: None,
            dst: None,
            target: None,
            target_options: None,
            matches: Vec::new(),
            options: Options::default(),
            other_family: false,
            manner: None,
            table: None,
            zero: false,
            zeroes_one: false,
            waits: false,
            waits_between: false,
            ends: false,
        }
    }

    fn words(&mut self) -> Result<(), No> {
        while let Some(word) = self.words.get(self.at) {
            self.at += 1;
            match word.strip_prefix('-') {
                Some("") | None if word == "!" => {
                    if self.not {
                        return Err("multiple consecutive ! not allowed".into());
                    }
                    self.not = true;
                    continue;
                }
                Some("") | None => {
                    return Err(format!("Bad argument `{word}': it is no option and belongs to none").into());
                }
                Some("-") => return Err("'--' has no sense here".into()),
                Some(rest) => match rest.strip_prefix('-') {
                    Some(long) => self.long(long)?,
                    None => self.short(rest)?,
                },
            }
            if self.other_family || self.ends {
                return Ok(());
            }
            self.not = false;
        }
        match self.not {
            true => Err("nothing appropriate following !".into()),
            false => Ok(()),
        }
    }

    fn short(&mut self, mut letters: &'a str) -> Result<(), No> {
        while let Some(letter) = letters.chars().next() {
            letters = &letters[letter.len_utf8()..];
            let Some(base) = BASE.iter().find(|b| b.short == letter && letter != '0') else {
                return Err(format!("unknown option \"-{letter}\"").into());
            };
            let joined = Some(letters).filter(|l| !l.is_empty() && base.arg != Arg::No);
            let arg = match base.arg {
                Arg::Yes => Some(joined.map_or_else(|| self.next(&format!("-{letter}")), Ok)?),
                _ => joined,
            };
            self.base(base.short, arg)?;
            if base.arg != Arg::No {
                break;
            }
        }
        Ok(())
    }

    fn long(&mut self, word: &'a str) -> Result<(), No> {
        let (name, joined) = match word.split_once('=') {
            Some((name, arg)) => (name, Some(arg)),
            None => (word, None),
        };
        if self.manner.is_some() && matches!(name, "json" | "control") {
            return self.of_ours(name, joined);
        }
        let found = match self.options.find(name) {
            Some(found) => found,
            None if self.load_protocol()? => self.options.find(name).ok_or_else(|| self.unknown(name))?,
            None => return Err(self.unknown(name).into()),
        };
        let shown = match &found {
            Found::Base(b) => b.long,
            Found::Other(_, o) => o.name,
        };
        let shown = format!("--{shown}");
        let args = match &found {
            Found::Base(b) => b.arg,
            Found::Other(_, o) if o.args > 0 => Arg::Yes,
            Found::Other(..) => Arg::No,
        };
        let arg = match (args, joined) {
            (Arg::No, Some(_)) => return Err(format!("option \"{shown}\" takes no argument").into()),
            (Arg::Yes, None) => Some(self.next(&shown)?),
            (_, joined) => joined,
        };
        let (owner, opt) = match found {
            Found::Base(b) => return self.base(b.short, arg),
            Found::Other(owner, opt) => (owner, opt),
        };
        let second = if opt.args == 2 { self.next(&shown)? } else { "" };
        let one = One { opt, not: self.not, arg: arg.unwrap_or(""), second, proto: self.basic.proto };
        let given = match owner {
            Owner::Target => self.target_options.as_mut().map(|(_, g)| g),
            Owner::Match(name) => self.matches.iter_mut().rev().find(|(s, _)| s.name == name).map(|(_, g)| g),
        };
        Ok(given.map_or(Ok(()), |g| g.add(one))?)
    }

    /// What iptables hasn't: by its whole name alone, so that no abbreviation of iptables' means another thing.
    fn of_ours(&mut self, name: &str, joined: Option<&'a str>) -> Result<(), No> {
        let value = match (name, joined) {
            ("json", Some(_)) => return Err("--json takes no argument".into()),
            ("json", None) => None,
            (_, Some(value)) => Some(value),
            (_, None) => Some(self.next("--control")?),
        };
        let Some(manner) = &mut self.manner else { return Ok(()) };
        match value {
            None => manner.json = true,
            Some(path) => manner.control = Some(path.to_owned()),
        }
        Ok(())
    }

    fn unknown(&self, name: &str) -> String {
        match known::who_has(name)[..] {
            [] => format!("unknown option \"--{name}\""),
            ref owners => {
                let owners = owners.join(", ");
                format!("unknown option \"--{name}\": it belongs to {owners}, which was not given before it")
            }
        }
    }

    /// Brings in the match of the rule's protocol, once.
    fn load_protocol(&mut self) -> Result<bool, No> {
        let number = match self.basic.proto {
            Some(p) if self.given_proto && !self.protocol_loaded => p.value,
            _ => return Ok(false),
        };
        let Some(name) = known::of_protocol(number) else { return Ok(false) };
        self.protocol_loaded = true;
        self.load_match(name)?;
        Ok(true)
    }

    fn load_match(&mut self, name: &str) -> Result<(), No> {
        let spec = known::match_spec(name, self.around.family)?;
        if self.matches.iter().all(|(s, _)| s.name != spec.name) {
            self.options.add(Owner::Match(spec.name), spec.options);
        }
        self.matches.push((spec, Given::new(spec.name, spec.options, self.around.family)));
        Ok(())
    }

    fn next(&mut self, option: &str) -> Result<&'a str, String> {
        let word =
            self.words.get(self.at).ok_or_else(|| format!("option \"{option}\" requires an argument"))?;
        self.at += 1;
        Ok(word)
    }

    /// The next word, if it can be an argument that may be left out.
    fn next_if_any(&mut self) -> Option<&'a str> {
        let word = self.words.get(self.at).filter(|w| !w.starts_with(['-', '!']))?;
        self.at += 1;
        Some(word)
    }

    fn base(&mut self, option: char, arg: Option<&'a str>) -> Result<(), No> {
        let not = self.not;
        if not && !matches!(option, 's' | 'd' | 'p' | 'i' | 'o' | 'f' | '4' | '6') {
            return Err(format!("cannot have ! before -{option}").into());
        }
        let text = arg.unwrap_or("");
        match option {
            'A' | 'C' | 'D' | 'I' | 'R' | 'F' | 'Z' | 'N' | 'X' | 'E' | 'P' => {
                self.is_command(option, arg)?
            }
            's' => set(&mut self.src, option, not, value::networks(text, self.around.family)?)?,
            'd' => set(&mut self.dst, option, not, value::networks(text, self.around.family)?)?,
            'p' => {
                let number = value::protocol(text)?;
                if self.given_proto {
                    return Err("multiple -p flags not allowed".into());
                }
                if not && number == 0 {
                    return Err("rule would never match protocol: every packet has one".into());
                }
                self.given_proto = true;
                self.basic.proto = Some(Not { not, value: number }).filter(|_| number != 0);
            }
            'i' => set(&mut self.basic.in_link, option, not, link(text)?)?,
            'o' => set(&mut self.basic.out_link, option, not, link(text)?)?,
            'f' if self.around.family == Family::V6 => return Err("-f is for IPv4".into()),
            'f' => set(&mut self.basic.fragment, option, not, ())?,
            'j' | 'g' => self.jump(option, text)?,
            'm' => self.load_match(text)?,
            'c' => self.set_counters(text)?,
            '4' | '6' => self.is_for(option == '6')?,
            'v' if self.manner.is_none() => {}
            option if self.manner.is_some() => self.of_command(option, arg)?,
            't' => {
                return Err(
                    "The -t option cannot be used in a ruleset: the table is that of the '*' line".into()
                );
            }
            '0' => return Err("Illegal option `--line-numbers' in a ruleset".into()),
            option => return Err(format!("Illegal option `-{option}' in a ruleset").into()),
        }
        Ok(())
    }

    /// `-4` and `-6`. A text passes over what is for the other family, so that one text can serve both.
    fn is_for(&mut self, six: bool) -> Result<(), No> {
        let other = (self.around.family == Family::V6) != six;
        if other && self.manner.is_some() {
            return Err(match six {
                true => "-6 is for IPv6: use ip6tables".into(),
                false => "-4 is for IPv4: use iptables".into(),
            });
        }
        self.other_family |= other;
        Ok(())
    }

    /// What stands behind `iptables` only.
    fn of_command(&mut self, option: char, arg: Option<&'a str>) -> Result<(), No> {
        match option {
            'L' | 'S' => return self.is_command(option, arg),
            't' => self.table = arg,
            'w' | 'W' => {
                self.waits |= option == 'w';
                self.waits_between |= option == 'W';
                if let Some(text) = arg.or_else(|| self.next_if_any()) {
                    value::number(text, 0, u32::MAX.into())
                        .map_err(|_| format!("-{option}: '{text}' is no number of seconds"))?;
                }
            }
            _ => {}
        }
        let Some(manner) = &mut self.manner else { return Ok(()) };
        match option {
            'v' => manner.verbose = true,
            'n' => manner.numeric = true,
            'x' => manner.exact = true,
            '0' => manner.line_numbers = true,
            'h' => (manner.help, self.ends) = (true, true),
            'V' => (manner.version, self.ends) = (true, true),
            // `-M`: there are no modules here; `-w`: nothing is waited for.
            _ => {}
        }
        Ok(())
    }

    fn is_command(&mut self, option: char, arg: Option<&'a str>) -> Result<(), No> {
        match (self.command, option) {
            (None, _) => self.command = Some(option),
            (Some('L' | 'S'), 'Z') => self.zero = true,
            (Some('Z'), 'L' | 'S') => (self.command, self.zero) = (Some(option), true),
            (Some(other), _) => return Err(format!("Cannot use -{option} with -{other}").into()),
        }
        let chain = match option {
            'F' | 'Z' | 'X' | 'L' | 'S' => arg.or_else(|| self.next_if_any()),
            _ => arg,
        };
        self.chain = chain.or(self.chain);
        match option {
            'I' | 'D' | 'Z' | 'L' | 'S' => {
                if let Some(text) = self.next_if_any() {
                    self.number = Some(rule_number(text)?);
                    self.zeroes_one |= option == 'Z';
                }
            }
            'R' => self.number = Some(rule_number(self.next_if_any().ok_or("-R requires a rule number")?)?),
            'P' => self.second = Some(self.next_if_any().ok_or("-P requires a chain and a policy")?),
            'E' => {
                self.second = Some(self.next_if_any().ok_or("-E requires old-chain-name and new-chain-name")?)
            }
            _ => {}
        }
        Ok(())
    }

    fn jump(&mut self, option: char, name: &'a str) -> Result<(), No> {
        if self.target.is_some() || self.target_options.is_some() {
            return Err("multiple -j flags not allowed".into());
        }
        let kind = (self.around.chain)(name);
        let no_chain = || format!("there is no chain '{name}' (chains are declared before rules go to them)");
        self.target = Some(match (option, name, kind) {
            // To a built-in one no rule can go: whoever puts it into its chain says so.
            ('g', _, Kind::User | Kind::BuiltIn) => Target::Goto(name.to_owned()),
            ('g', ..) => return Err(format!("goto '{name}' is not a chain: {}", no_chain()).into()),
            (_, "ACCEPT", _) => Target::Accept,
            (_, "DROP", _) => Target::Drop,
            (_, "RETURN", _) => Target::Return,
            (_, _, Kind::User | Kind::BuiltIn) => Target::Jump(name.to_owned()),
            _ => {
                let spec = match known::target_spec(name, self.around.family) {
                    Ok(spec) => spec,
                    Err(_) if !known::is_target(name) => {
                        let text = format!("target '{name}' is unknown, and {}", no_chain());
                        return Err(No::Unloaded("target", name.to_owned(), text));
                    }
                    Err(e) => return Err(e),
                };
                self.options.add(Owner::Target, spec.options);
                self.target_options = Some((spec, Given::new(spec.name, spec.options, self.around.family)));
                return Ok(());
            }
        });
        Ok(())
    }

    fn set_counters(&mut self, text: &'a str) -> Result<(), String> {
        if self.counters.is_some() {
            return Err("multiple -c flags not allowed".into());
        }
        let (packets, bytes) = match text.split_once(',') {
            Some(both) => both,
            None => (text, self.next_if_any().ok_or("-c requires packet and byte counter")?),
        };
        let number =
            |what: &str, t: &str| t.parse().map_err(|_| format!("-c {what} counter not numeric: '{t}'"));
        self.counters = Some(Count { packets: number("packet", packets)?, bytes: number("byte", bytes)? });
        Ok(())
    }
}

fn set<T>(place: &mut Option<Not<T>>, option: char, not: bool, value: T) -> Result<(), String> {
    match place.replace(Not { not, value }) {
        Some(_) => Err(format!("multiple -{option} flags not allowed")),
        None => Ok(()),
    }
}

fn link(text: &str) -> Result<String, String> {
    match text {
        "" => Err("Empty interface is likely to be undesired: '+' stands for all".into()),
        _ if text.len() > LONGEST_LINK => {
            Err(format!("interface name `{text}' must be shorter than IFNAMSIZ ({LONGEST_LINK})"))
        }
        _ if text.contains(|c: char| c == '/' || c.is_whitespace()) => {
            Err(format!("'{text}' is no link's name: they have no blanks and no '/'"))
        }
        _ => Ok(text.to_owned()),
    }
}

fn rule_number(text: &str) -> Result<usize, String> {
    value::number(text, 1, i32::MAX as u64)
        .map(|n| n as usize)
        .map_err(|_| format!("Invalid rule number `{text}'"))
}
