//! One line of a table that is neither `:CHAIN` nor COMMIT: a command, as iptables takes it on its command line.
//!
//! The match of the rule's protocol comes by itself when an option is unknown without it.

use crate::filter::matches::{AddrMask, Match, Not};
use crate::filter::rule::{Basic, Count, Family, Policy, Rule, TableName};
use crate::filter::targets::Target;

use super::known;
use super::options::{Arg, BASE, Found, Options, Owner};
use super::spec::{Given, MatchSpec, One, TargetSpec};
use super::value;

/// What a line asks for.
#[derive(Debug)]
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
    /// `-P`.
    Policy(String, Policy, Option<Count>),
    /// For the other family.
    Nothing,
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
pub(super) fn read(
    words: &[String],
    counters: Option<Count>,
    around: &Around<'_>,
) -> Result<Command, String> {
    let mut reader = Reader {
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
    };
    reader.words()?;
    reader.command()
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
}

impl<'a> Reader<'a> {
    fn words(&mut self) -> Result<(), String> {
        while let Some(word) = self.words.get(self.at) {
            self.at += 1;
            match word.strip_prefix('-') {
                Some("") | None if word == "!" => {
                    if self.not {
                        return Err("two '!' in a row".into());
                    }
                    self.not = true;
                    continue;
                }
                Some("") | None => return Err(format!("'{word}' is no option and belongs to none")),
                Some("-") => return Err("'--' has no sense here".into()),
                Some(rest) => match rest.strip_prefix('-') {
                    Some(long) => self.long(long)?,
                    None => self.short(rest)?,
                },
            }
            if self.other_family {
                return Ok(());
            }
            self.not = false;
        }
        match self.not {
            true => Err("nothing follows the '!'".into()),
            false => Ok(()),
        }
    }

    fn short(&mut self, mut letters: &'a str) -> Result<(), String> {
        while let Some(letter) = letters.chars().next() {
            letters = &letters[letter.len_utf8()..];
            let Some(base) = BASE.iter().find(|b| b.short == letter && letter != '0') else {
                return Err(format!("unknown option -{letter}"));
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

    fn long(&mut self, word: &'a str) -> Result<(), String> {
        let (name, joined) = match word.split_once('=') {
            Some((name, arg)) => (name, Some(arg)),
            None => (word, None),
        };
        let found = match self.options.find(name) {
            Some(found) => found,
            None if self.load_protocol()? => self.options.find(name).ok_or_else(|| self.unknown(name))?,
            None => return Err(self.unknown(name)),
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
            (Arg::No, Some(_)) => return Err(format!("{shown} takes no argument")),
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
        given.map_or(Ok(()), |g| g.add(one))
    }

    fn unknown(&self, name: &str) -> String {
        match known::who_has(name)[..] {
            [] => format!("unknown option --{name}"),
            ref owners => {
                format!("option --{name} belongs to {}, which was not given before it", owners.join(", "))
            }
        }
    }

    /// Brings in the match of the rule's protocol, once.
    fn load_protocol(&mut self) -> Result<bool, String> {
        let number = match self.basic.proto {
            Some(p) if self.given_proto && !self.protocol_loaded => p.value,
            _ => return Ok(false),
        };
        let Some(name) = known::of_protocol(number) else { return Ok(false) };
        self.protocol_loaded = true;
        self.load_match(name)?;
        Ok(true)
    }

    fn load_match(&mut self, name: &str) -> Result<(), String> {
        let spec = known::match_spec(name, self.around.family)?;
        if self.matches.iter().all(|(s, _)| s.name != spec.name) {
            self.options.add(Owner::Match(spec.name), spec.options);
        }
        self.matches.push((spec, Given::new(spec.name, spec.options, self.around.family)));
        Ok(())
    }

    fn next(&mut self, option: &str) -> Result<&'a str, String> {
        let word = self.words.get(self.at).ok_or_else(|| format!("{option} needs an argument"))?;
        self.at += 1;
        Ok(word)
    }

    /// The next word, if it can be an argument that may be left out.
    fn next_if_any(&mut self) -> Option<&'a str> {
        let word = self.words.get(self.at).filter(|w| !w.starts_with(['-', '!']))?;
        self.at += 1;
        Some(word)
    }

    fn base(&mut self, option: char, arg: Option<&'a str>) -> Result<(), String> {
        let not = self.not;
        if not && !matches!(option, 's' | 'd' | 'p' | 'i' | 'o' | 'f' | '4' | '6') {
            return Err(format!("there can be no '!' before -{option}"));
        }
        let text = arg.unwrap_or("");
        match option {
            'A' | 'C' | 'D' | 'I' | 'R' | 'F' | 'Z' | 'N' | 'X' | 'E' | 'P' => {
                self.is_command(option, arg)?
            }
            's' => set(&mut self.src, option, not, networks(text, 's', self.around.family)?)?,
            'd' => set(&mut self.dst, option, not, networks(text, 'd', self.around.family)?)?,
            'p' => {
                let number = value::protocol(text).map_err(|e| format!("-p: {e}"))?;
                if self.given_proto {
                    return Err("-p can be given once".into());
                }
                if not && number == 0 {
                    return Err("-p: no packet has a protocol that is not 'all'".into());
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
            'v' => {}
            '4' => self.other_family = self.around.family == Family::V6,
            '6' => self.other_family = self.around.family == Family::V4,
            't' => return Err("-t has no sense here: the table is that of the '*' line".into()),
            '0' => return Err("--line-numbers has no sense in a ruleset".into()),
            option => return Err(format!("-{option} has no sense in a ruleset")),
        }
        Ok(())
    }

    fn is_command(&mut self, option: char, arg: Option<&'a str>) -> Result<(), String> {
        if let Some(other) = self.command {
            return Err(format!("-{option} and -{other} in one line"));
        }
        self.command = Some(option);
        self.chain = match option {
            'F' | 'Z' | 'X' => arg.or_else(|| self.next_if_any()),
            _ => arg,
        };
        match option {
            'I' | 'D' | 'Z' => {
                if let Some(text) = self.next_if_any() {
                    self.number = Some(rule_number(text)?);
                }
            }
            'R' => {
                self.number = Some(rule_number(self.next_if_any().ok_or("-R needs the number of a rule")?)?)
            }
            'P' => self.second = Some(self.next_if_any().ok_or("-P needs a chain and a policy")?),
            'E' => self.second = Some(self.next_if_any().ok_or("-E needs the old name and the new")?),
            _ => {}
        }
        Ok(())
    }

    fn jump(&mut self, option: char, name: &'a str) -> Result<(), String> {
        if self.target.is_some() || self.target_options.is_some() {
            return Err("more than one -j or -g".into());
        }
        let kind = (self.around.chain)(name);
        if kind == Kind::BuiltIn {
            return Err(format!("no rule can go to a built-in chain, and {name} is one"));
        }
        let no_chain = || format!("there is no chain '{name}' (chains are declared before rules go to them)");
        self.target = Some(match (option, name, kind) {
            ('g', _, Kind::User) => Target::Goto(name.to_owned()),
            ('g', ..) => return Err(format!("-g: {}", no_chain())),
            (_, "ACCEPT", _) => Target::Accept,
            (_, "DROP", _) => Target::Drop,
            (_, "RETURN", _) => Target::Return,
            (_, _, Kind::User) => Target::Jump(name.to_owned()),
            _ => {
                let spec = match known::target_spec(name, self.around.family) {
                    Ok(spec) => spec,
                    Err(_) if !known::is_target(name) => {
                        return Err(format!("target '{name}' is unknown, and {}", no_chain()));
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
            return Err("counters are given twice".into());
        }
        let (packets, bytes) = match text.split_once(',') {
            Some(both) => both,
            None => (text, self.next_if_any().ok_or("-c needs packets and bytes")?),
        };
        let number = |t: &str| t.parse().map_err(|_| format!("-c: '{t}' is no count"));
        self.counters = Some(Count { packets: number(packets)?, bytes: number(bytes)? });
        Ok(())
    }

    /// What the line says, when all of it is read.
    fn command(mut self) -> Result<Command, String> {
        if self.other_family {
            return Ok(Command::Nothing);
        }
        let command = self.command.ok_or("no command such as -A")?;
        if let Some(name) = self.chain.filter(|c| c.len() > LONGEST_CHAIN) {
            return Err(format!("'{name}' is no chain's name: {LONGEST_CHAIN} bytes at most"));
        }
        let chain = self.chain.map(str::to_owned);
        let number = self.number;
        if matches!(command, 'A' | 'I' | 'R' | 'C') || command == 'D' && number.is_none() {
            let chain = chain.ok_or("the chain is missing")?;
            let mut rules = self.rules(&chain)?;
            return Ok(match (command, number) {
                ('A', _) => Command::Append(chain, rules),
                ('I', n) => Command::Insert(chain, n.unwrap_or(1), rules),
                ('R', Some(n)) if rules.len() == 1 => Command::Replace(chain, n, Box::new(rules.remove(0))),
                ('R', _) => return Err("-R puts one rule in the place of one".into()),
                ('C', _) => Command::Check(chain, rules),
                _ => Command::Delete(chain, rules),
            });
        }
        self.says_nothing_else(command)?;
        Ok(match (command, chain, number) {
            ('D', Some(chain), Some(n)) => Command::DeleteNumber(chain, n),
            ('F', chain, _) => Command::Flush(chain),
            ('Z', chain, n) => Command::Zero(chain, n),
            ('N', Some(chain), _) => Command::New(new_name(chain)?),
            ('X', chain, _) => Command::Remove(chain),
            ('E', Some(chain), _) => Command::Rename(chain, new_name(self.second.unwrap_or("").to_owned())?),
            ('P', Some(chain), _) => {
                let policy = policy(self.second.unwrap_or(""))?;
                if self.around.table == TableName::Nat && policy == Policy::Drop {
                    return Err(NAT_DROPS_NOTHING.into());
                }
                Command::Policy(chain, policy, self.counters)
            }
            _ => return Err("the chain is missing".into()),
        })
    }

    /// Refuses what belongs to a rule on a line that has none.
    fn says_nothing_else(&self, command: char) -> Result<(), String> {
        let rule = self.src.is_some()
            || self.dst.is_some()
            || self.given_proto
            || self.basic != Basic::default()
            || self.target.is_some()
            || self.target_options.is_some()
            || !self.matches.is_empty()
            || (self.counters.is_some() && command != 'P');
        match rule {
            true => Err(format!("-{command} takes no rule behind it")),
            false => Ok(()),
        }
    }

    /// The rules of the line: several where `-s` or `-d` list several addresses.
    fn rules(&mut self, chain: &str) -> Result<Vec<Rule>, String> {
        let target = match self.target_options.take() {
            Some((spec, given)) => {
                given.check()?;
                (spec.build)(&given)?
            }
            None => self.target.take().unwrap_or(Target::None),
        };
        if self.around.table == TableName::Nat && target == Target::Drop {
            return Err(NAT_DROPS_NOTHING.into());
        }
        let matches = self.matches.iter().map(|(spec, given)| {
            given.check()?;
            (spec.build)(given)
        });
        let matches = matches.collect::<Result<Vec<Match>, String>>()?;
        if matches!(chain, "PREROUTING" | "INPUT") && self.basic.out_link.is_some() {
            return Err(format!("-o: in {chain} it is not known where a packet will leave"));
        }
        if matches!(chain, "POSTROUTING" | "OUTPUT") && self.basic.in_link.is_some() {
            return Err(format!("-i: in {chain} it is not known where a packet came in"));
        }
        let (src, dst) = (self.src.take(), self.dst.take());
        let several = [&src, &dst].iter().any(|n| n.as_ref().is_some_and(|n| n.value.len() > 1));
        if several && [&src, &dst].iter().any(|n| n.as_ref().is_some_and(|n| n.not)) {
            return Err("'!' can't stand before several addresses: write a rule for each".into());
        }
        let mut basic = std::mem::take(&mut self.basic);
        let any_link = |l: &Not<String>| l.not || l.value != "+";
        basic.in_link = basic.in_link.filter(any_link);
        basic.out_link = basic.out_link.filter(any_link);
        let (src, dst) = (each(src), each(dst));
        if src.len().saturating_mul(dst.len()) > MOST_RULES_A_LINE {
            return Err(format!("the lists make more than {MOST_RULES_A_LINE} rules"));
        }
        let mut rules = Vec::with_capacity(src.len() * dst.len());
        for src in &src {
            for dst in &dst {
                rules.push(Rule {
                    line: self.around.line,
                    counters: self.counters.unwrap_or_default(),
                    basic: Basic { src: *src, dst: *dst, ..basic.clone() },
                    matches: matches.clone(),
                    target: target.clone(),
                });
            }
        }
        Ok(rules)
    }
}

/// More rules than that a line of the longest length can't sensibly want.
const MOST_RULES_A_LINE: usize = 65_536;

const NAT_DROPS_NOTHING: &str = "table nat sees only the first packet of a flow: DROP belongs in filter";

/// One for each address of a list; the whole network is no condition.
fn each(list: Option<Not<Vec<AddrMask>>>) -> Vec<Option<Not<AddrMask>>> {
    let Some(Not { not, value }) = list else { return vec![None] };
    value
        .into_iter()
        .map(|n| Some(Not { not, value: n }).filter(|n| n.not || !n.value.mask.is_unspecified()))
        .collect()
}

fn set<T>(place: &mut Option<Not<T>>, option: char, not: bool, value: T) -> Result<(), String> {
    match place.replace(Not { not, value }) {
        Some(_) => Err(format!("-{option} can be given once")),
        None => Ok(()),
    }
}

fn networks(text: &str, option: char, family: Family) -> Result<Vec<AddrMask>, String> {
    value::networks(text, family).map_err(|e| format!("-{option}: {e}"))
}

fn link(text: &str) -> Result<String, String> {
    match text {
        "" => Err("a link's name is empty".into()),
        _ if text.len() > LONGEST_LINK => {
            Err(format!("'{text}' is no link's name: {LONGEST_LINK} bytes at most"))
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
        .map_err(|_| format!("'{text}' is no rule's number"))
}

/// A policy by its name.
pub(super) fn policy(text: &str) -> Result<Policy, String> {
    match text {
        "ACCEPT" => Ok(Policy::Accept),
        "DROP" => Ok(Policy::Drop),
        _ => Err(format!("'{text}' is no policy: ACCEPT or DROP")),
    }
}

/// A name that `-N` and `-E` may give.
fn new_name(name: String) -> Result<String, String> {
    match name.as_str() {
        _ if name.len() > LONGEST_CHAIN => {
            Err(format!("'{name}' is no chain's name: {LONGEST_CHAIN} bytes at most"))
        }
        _ if name.starts_with(['-', '!']) => {
            Err(format!("'{name}': a chain's name begins with neither '-' nor '!'"))
        }
        _ if known::is_target(&name) => Err(format!("'{name}' is the name of a target")),
        _ if name.is_empty() || name.contains(char::is_whitespace) => {
            Err(format!("'{name}' is no chain's name"))
        }
        _ => Ok(name),
    }
}
