//! The grammar of ip(8): options, an object, a command, keywords with values; each word may be cut short as
//! iproute2 allows it.
//!
//! A word is looked for in iproute2's own order, so that a prefix means here what it means there, also where it
//! means something this router can't do: that is an error that says so, never a word silently ignored.

mod ask;
mod change;
mod tables;

use std::ffi::OsString;
use std::net::IpAddr;
use std::path::PathBuf;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::config::{AddrChange, Change, NeighChange, RouteChange};
use crate::control::protocol::{
    Family, LinkFilter, Monitor, NeighborFilter, Relation, RouteFilter, RouteGet, Show, Table,
};
use crate::fib::Protocol;
use tables::{
    ADDRESS_COMMANDS, Command, KEYWORDS, LINK_COMMANDS, NEIGHBOR_COMMANDS, OBJECTS, OPTIONS, Object, Opt,
    ROUTE_COMMANDS,
};

/// What was said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Said {
    /// Show something.
    Show(Asked),
    /// Do something else.
    Do(Order),
    /// Do what the lines of a file say, `-` being standard input.
    Batch(Options, PathBuf, Option<PathBuf>),
    /// Help.
    Help,
}

/// What is to be shown, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) options: Options,
    pub(super) show: Show,
    /// A `--control` among the words.
    pub(super) control: Option<PathBuf>,
}

/// Something that is not a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Order {
    pub(super) options: Options,
    pub(super) deed: Deed,
    /// A `--control` among the words.
    pub(super) control: Option<PathBuf>,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Deed {
    /// Change something.
    Change(Change),
    /// Say which way packets take.
    Get(RouteGet),
    /// Tell what changes, with labels or not.
    Monitor(Monitor, bool),
    /// There is nothing to do.
    Nothing,
}

/// How it is to be shown.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Options {
    pub(super) json: bool,
    pub(super) pretty: bool,
    pub(super) brief: bool,
    pub(super) oneline: bool,
    pub(super) stats: bool,
    pub(super) details: bool,
    pub(super) family: Option<Family>,
    pub(super) stamp: Option<Stamp>,
    /// Of several commands, those behind one that failed are done too.
    pub(super) force: bool,
}

/// How the time is written before an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stamp {
    /// On a line of its own.
    Long,
    /// Before it.
    Short,
}

/// Reads the words.
///
/// # Errors
/// One sentence: which word is not understood, and what would be.
pub(super) fn parse(words: &[OsString]) -> Result<Said, String> {
    let strings: Option<Vec<&str>> = words.iter().map(|w| w.to_str()).collect();
    let strings = strings.ok_or("the words of ip must be plain text")?;
    let mut words = Words { all: &strings, at: 0 };
    let (mut options, mut control, mut batch) = (Options::default(), None, None);
    while let Some(word) = words.next_if(|w| w.starts_with('-')) {
        match word.strip_prefix("--control=").map(str::to_owned) {
            Some(path) => control = Some(path.into()),
            None if word == "--control" => control = Some(words.value(word)?.into()),
            None if option(word, &mut options, &mut words, &mut batch)? => return Ok(Said::Help),
            None => {}
        }
    }
    if let Some(file) = batch {
        return Ok(Said::Batch(options, file, control));
    }
    command(&mut words, options, control)
}

/// Reads one command in the words of a line.
///
/// # Errors
/// As [`parse`].
pub(super) fn line(words: &[&str], options: &Options) -> Result<Said, String> {
    command(&mut Words { all: words, at: 0 }, options.clone(), None)
}

fn command(words: &mut Words<'_>, options: Options, control: Option<PathBuf>) -> Result<Said, String> {
    let Some(object) = words.next() else { return Ok(Said::Help) };
    let family = options.family;
    let (name, object) = match find(object, &OBJECTS) {
        Some((name, Some(object))) => (name, object),
        Some(("help", None)) => return Ok(Said::Help),
        Some((name, None)) => return Err(unsupported(name)),
        None => {
            return Err(format!(
                "there is no object '{object}': there are link, address, route, neighbor and monitor"
            ));
        }
    };
    let commands: &[_] = match object {
        Object::Link => &LINK_COMMANDS,
        Object::Address => &ADDRESS_COMMANDS,
        Object::Route => &ROUTE_COMMANDS,
        Object::Neighbor => &NEIGHBOR_COMMANDS,
        Object::Monitor => {
            let deed = match words.all.get(words.at) {
                Some(word) if *word == "help" => return Ok(Said::Help),
                _ => ask::monitor(words, family).map(|(monitor, label)| Deed::Monitor(monitor, label))?,
            };
            return Ok(Said::Do(Order { options, deed, control }));
        }
    };
    let command = match words.next() {
        None => Command::Show,
        Some(word) => match find(word, commands) {
            Some((_, Command::Help)) => return Ok(Said::Help),
            Some((command, Command::Other)) => return Err(unsupported(&format!("{name} {command}"))),
            Some((_, command)) => command,
            None => {
                let list: Vec<_> = commands.iter().filter(|(_, c)| *c != Command::Other).collect();
                let names: Vec<_> = list.iter().map(|(name, _)| *name).collect();
                return Err(format!("'{word}' is no command of 'ip {name}': there are {}", names.join(", ")));
            }
        },
    };
    let deed = match (command, object) {
        (Command::Change(verb), _) => change(verb, object, words, family)?,
        (Command::Get, _) => Deed::Get(ask::get(words, family)?),
        (_, Object::Link) => {
            let show = Show::Link(link(words, family, false)?);
            return Ok(Said::Show(Asked { options, show, control }));
        }
        (_, Object::Address) => {
            let show = Show::Addr(link(words, family, true)?);
            return Ok(Said::Show(Asked { options, show, control }));
        }
        (_, Object::Route) => {
            let show = Show::Route(route(words, family)?);
            return Ok(Said::Show(Asked { options, show, control }));
        }
        (_, Object::Neighbor | Object::Monitor) => {
            let show = Show::Neigh(neighbor(words, family, false)?);
            return Ok(Said::Show(Asked { options, show, control }));
        }
    };
    Ok(Said::Do(Order { options, deed, control }))
}

fn change(
    verb: change::Verb,
    object: Object,
    words: &mut Words<'_>,
    family: Option<Family>,
) -> Result<Deed, String> {
    let flush = verb == change::Verb::Flush;
    if flush && words.at == words.all.len() {
        return Err("flush requires arguments: say what to remove, or all".to_owned());
    }
    // The kernel's cache of routes went with Linux 3.6, and there is none here.
    if flush && matches!(object, Object::Route) && words.all.get(words.at..) == Some(&["cache"]) {
        return Ok(Deed::Nothing);
    }
    Ok(Deed::Change(match object {
        Object::Address if flush && words.all.get(words.at..) == Some(&["all"]) => {
            Change::Addr(AddrChange::Flush(LinkFilter { family, ..LinkFilter::default() }))
        }
        Object::Address if flush => Change::Addr(AddrChange::Flush(link(words, family, true)?)),
        Object::Route if flush => Change::Route(RouteChange::Flush(route(words, family)?)),
        Object::Neighbor if flush => Change::Neigh(NeighChange::Flush(neighbor(words, family, true)?)),
        Object::Link => change::link(verb, words)?,
        Object::Address => change::addr(verb, words, family)?,
        Object::Route => change::route(verb, words, family)?,
        Object::Neighbor | Object::Monitor => change::neigh(verb, words, family)?,
    }))
}

fn unsupported(what: &str) -> String {
    format!("'ip {what}' is not supported here: see `sekisho ip --help` for what is")
}

/// Takes an option in; whether it asks for help.
fn option(
    word: &str,
    o: &mut Options,
    words: &mut Words<'_>,
    batch: &mut Option<PathBuf>,
) -> Result<bool, String> {
    let name = word.trim_start_matches('-');
    // Colour is for terminals, and there is none in what scripts read.
    if name.starts_with('c') && "color".starts_with(name.split('=').next().unwrap_or_default()) {
        return Ok(false);
    }
    match find(name, &OPTIONS).map(|(_, option)| option) {
        Some(Opt::Four) => o.family = Some(Family::Inet),
        Some(Opt::Six) => o.family = Some(Family::Inet6),
        Some(Opt::Family) => {
            o.family = Some(match words.value(word)? {
                "inet" => Family::Inet,
                "inet6" => Family::Inet6,
                other => {
                    return Err(format!("'{other}' is no family that is routed here: write inet or inet6"));
                }
            });
        }
        Some(Opt::Json) => o.json = true,
        Some(Opt::Pretty) => o.pretty = true,
        Some(Opt::Brief) => o.brief = true,
        Some(Opt::Oneline) => o.oneline = true,
        Some(Opt::Stats) => o.stats = true,
        Some(Opt::Details) => o.details = true,
        Some(Opt::Stamp(stamp)) => o.stamp = Some(stamp),
        Some(Opt::Force) => o.force = true,
        Some(Opt::Batch) => *batch = Some(words.value(word)?.into()),
        Some(Opt::Help) => return Ok(true),
        Some(Opt::Nothing) => {}
        Some(Opt::Other) | None => {
            return Err(format!(
                "option '{word}' is not supported: there are -4, -6, -j, -p, -o, -br, -s, -d, -t, -ts, -b, -force and --control PATH"
            ));
        }
    }
    Ok(false)
}

fn link(words: &mut Words<'_>, family: Option<Family>, addresses: bool) -> Result<LinkFilter, String> {
    let mut f = LinkFilter { family: family.filter(|_| addresses), ..LinkFilter::default() };
    while let Some(word) = words.next() {
        match word {
            "up" => f.up = true,
            "dev" => f.dev = Some(words.value(word)?.to_owned()),
            "scope" if addresses => f.scope = scope(words.value(word)?, &["host", "link", "global"])?,
            "to" if addresses => f.to = Some(prefix(words.value(word)?, &mut f.family)?),
            _ if KEYWORDS.contains(&word) => return Err(cant_select(word)),
            name if f.dev.is_none() => f.dev = Some(name.to_owned()),
            _ => return Err(too_much(word)),
        }
    }
    Ok(f)
}

fn route(words: &mut Words<'_>, family: Option<Family>) -> Result<RouteFilter, String> {
    let mut f = RouteFilter { family, ..RouteFilter::default() };
    while let Some(word) = words.next() {
        match word {
            "dev" | "oif" => f.dev = Some(words.value(word)?.to_owned()),
            "via" => f.via = Some(via(words)?),
            "table" => f.table = table(words.value(word)?)?,
            "metric" | "preference" | "priority" => {
                f.metric = Some(change::number(word, words.value(word)?)?);
            }
            "scope" => f.scope = scope(words.value(word)?, &["host", "link", "global"])?,
            "type" => f.kind = Some(kind(words.value(word)?)?),
            _ if word.len() > 3 && "protocol".starts_with(word) => {
                f.protocol = protocol(words.value(word)?)?;
            }
            "root" => f.prefix = Some((Relation::Root, prefix(words.value(word)?, &mut f.family)?)),
            "match" => f.prefix = Some((Relation::Match, prefix(words.value(word)?, &mut f.family)?)),
            "to" | "exact" => {
                let next = words.value(word)?;
                let relation = match next {
                    "root" => Some(Relation::Root),
                    "match" => Some(Relation::Match),
                    "exact" => Some(Relation::Exact),
                    _ => None,
                };
                let text = if relation.is_some() { words.value(next)? } else { next };
                f.prefix = Some((relation.unwrap_or(Relation::Exact), prefix(text, &mut f.family)?));
            }
            _ if KEYWORDS.contains(&word) => return Err(cant_select(word)),
            _ if f.prefix.is_none() => {
                f.prefix = Some((Relation::Exact, prefix(word, &mut f.family)?));
            }
            _ => return Err(too_much(word)),
        }
    }
    // Without -6 iproute2 shows IPv4, unless it is asked for all tables.
    if f.family.is_none() && f.table != Table::All {
        f.family = Some(f.via.filter(IpAddr::is_ipv6).map_or(Family::Inet, |_| Family::Inet6));
    }
    Ok(f)
}

fn neighbor(words: &mut Words<'_>, family: Option<Family>, flushes: bool) -> Result<NeighborFilter, String> {
    let mut f = NeighborFilter { family, ..NeighborFilter::default() };
    while let Some(word) = words.next() {
        match word {
            "dev" => f.dev = Some(words.value(word)?.to_owned()),
            "to" => f.to = Some(prefix(words.value(word)?, &mut f.family)?),
            "all" if flushes => {}
            "nud" => match words.value(word)? {
                "all" if flushes => f.states = STATES.iter().map(|s| s.to_ascii_uppercase()).collect(),
                "all" => f.states = Vec::new(),
                state => f.states.push(nud(state)?),
            },
            _ if KEYWORDS.contains(&word) => return Err(cant_select(word)),
            _ if f.to.is_none() => f.to = Some(prefix(word, &mut f.family)?),
            _ => return Err(too_much(word)),
        }
    }
    Ok(f)
}

fn via(words: &mut Words<'_>) -> Result<IpAddr, String> {
    let mut text = words.value("via")?;
    if matches!(text, "inet" | "inet6") {
        text = words.value("via")?;
    }
    text.parse().map_err(|_| format!("'{text}' is no address: via takes one like 10.1.0.2"))
}

fn table(text: &str) -> Result<Table, String> {
    match text {
        "main" | "254" => Ok(Table::Main),
        "local" | "255" => Ok(Table::Local),
        "all" | "0" | "unspec" => Ok(Table::All),
        _ => Err(format!("there is no table '{text}': the tables are main, local and all")),
    }
}

fn scope(text: &str, known: &[&str]) -> Result<Option<String>, String> {
    match text {
        "all" => Ok(None),
        _ if known.contains(&text) => Ok(Some(text.to_owned())),
        _ => Err(format!("there is no scope '{text}': the scopes are {}", known.join(", "))),
    }
}

fn kind(text: &str) -> Result<String, String> {
    const KINDS: [&str; 7] =
        ["unicast", "local", "broadcast", "anycast", "unreachable", "prohibit", "blackhole"];
    match KINDS.contains(&text) {
        true => Ok(text.to_owned()),
        false => Err(format!("there are no routes of type '{text}': the types are {}", KINDS.join(", "))),
    }
}

fn protocol(text: &str) -> Result<Option<String>, String> {
    if text == "all" {
        return Ok(None);
    }
    let known = Protocol::named(text).map(|p| Some(p.to_string()));
    known.ok_or_else(|| {
        format!("'{text}' is no protocol: write kernel, static, boot, … or a number up to 255")
    })
}

/// The states of neighbors.
const STATES: [&str; 7] = ["permanent", "reachable", "stale", "delay", "probe", "failed", "incomplete"];

fn nud(text: &str) -> Result<String, String> {
    match STATES.contains(&text) {
        true => Ok(text.to_ascii_uppercase()),
        false => Err(format!("there is no state '{text}': the states are {}", STATES.join(", "))),
    }
}

/// A prefix, which settles the family if nothing else has.
fn prefix(text: &str, family: &mut Option<Family>) -> Result<IpNet, String> {
    let bad =
        || format!("'{text}' is no prefix: write one like 10.1.0.0/24 or fd01::/64, an address, or default");
    let net: IpNet = match text {
        "default" | "any" | "all" if *family == Some(Family::Inet6) => Ipv6Net::default().into(),
        "default" | "any" | "all" => Ipv4Net::default().into(),
        _ => match text.split_once('/') {
            Some((addr, len)) => IpNet::new(address(addr).ok_or_else(bad)?, len.parse().map_err(|_| bad())?)
                .map_err(|_| bad())?,
            None => IpNet::from(address(text).ok_or_else(bad)?),
        },
    };
    match *family {
        Some(f) if f != Family::of(&net) => Err(format!(
            "'{text}' is not of the family that -4 or -6 asks for: leave the option out, or give another prefix"
        )),
        _ => {
            *family = Some(Family::of(&net));
            Ok(net.trunc())
        }
    }
}

/// An address; of IPv4 ones the last bytes may be left out if they are zero, as in `10/8`.
fn address(text: &str) -> Option<IpAddr> {
    if let Ok(addr) = text.parse() {
        return Some(addr);
    }
    let missing = 3usize.checked_sub(text.matches('.').count())?;
    (text.bytes().all(|b| b.is_ascii_digit() || b == b'.'))
        .then(|| format!("{text}{}", ".0".repeat(missing)).parse().ok())
        .flatten()
}

fn cant_select(word: &str) -> String {
    format!("'{word}' is not supported here: see `sekisho ip --help` for what can be chosen by")
}

fn too_much(word: &str) -> String {
    format!("'{word}' is one word too many: see `sekisho ip --help`")
}

/// The first of `table` that the word is, or begins.
fn find<T: Copy>(word: &str, table: &[(&'static str, T)]) -> Option<(&'static str, T)> {
    table.iter().find(|(name, _)| !word.is_empty() && name.starts_with(word)).copied()
}

/// The words and how far they are read.
struct Words<'a> {
    all: &'a [&'a str],
    at: usize,
}

impl<'a> Words<'a> {
    fn next(&mut self) -> Option<&'a str> {
        self.next_if(|_| true)
    }

    fn next_if(&mut self, is: impl Fn(&str) -> bool) -> Option<&'a str> {
        let word = self.all.get(self.at).copied().filter(|w| is(w))?;
        self.at += 1;
        Some(word)
    }

    fn value(&mut self, of: &str) -> Result<&'a str, String> {
        self.next().ok_or_else(|| format!("'{of}' has nothing behind it: give its value"))
    }
}

#[cfg(test)]
mod tests;
