//! The grammar of ip(8): options, an object, a command, keywords with values; each word may be cut short as
//! iproute2 allows it.
//!
//! A word is looked for in iproute2's own order, so that a prefix means here what it means there, also where it
//! means something this router can't do: that is an error that says so, never a word silently ignored.

use std::ffi::OsString;
use std::net::IpAddr;
use std::path::PathBuf;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::control::protocol::{Family, LinkFilter, NeighborFilter, Relation, RouteFilter, Show, Table};
use crate::fib::Protocol;

/// What was said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Said {
    /// Show something.
    Show(Asked),
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
}

/// Reads the words.
///
/// # Errors
/// One sentence: which word is not understood, and what would be.
pub(super) fn parse(words: &[OsString]) -> Result<Said, String> {
    let strings: Option<Vec<&str>> = words.iter().map(|w| w.to_str()).collect();
    let strings = strings.ok_or("the words of ip must be plain text")?;
    let mut words = Words { all: &strings, at: 0 };
    let (mut options, mut control) = (Options::default(), None);
    while let Some(word) = words.next_if(|w| w.starts_with('-')) {
        match word.strip_prefix("--control=").map(str::to_owned) {
            Some(path) => control = Some(path.into()),
            None if word == "--control" => control = Some(words.value(word)?.into()),
            None if option(word, &mut options, &mut words)? => return Ok(Said::Help),
            None => {}
        }
    }
    let Some(object) = words.next() else { return Ok(Said::Help) };
    let (name, object) = match find(object, &OBJECTS) {
        Some((name, Some(object))) => (name, object),
        Some(("help", None)) => return Ok(Said::Help),
        Some((name, None)) => return Err(unsupported(name)),
        None => {
            return Err(format!("there is no object '{object}': ip shows link, address, route and neighbor"));
        }
    };
    let commands: &[_] = match object {
        Object::Link => &LINK_COMMANDS,
        Object::Address => &ADDRESS_COMMANDS,
        Object::Route => &ROUTE_COMMANDS,
        Object::Neighbor => &NEIGHBOR_COMMANDS,
    };
    if let Some(word) = words.next() {
        match find(word, commands) {
            Some((_, Command::Show)) => {}
            Some((_, Command::Help)) => return Ok(Said::Help),
            Some((command, Command::Other)) => return Err(unsupported(&format!("{name} {command}"))),
            None => return Err(format!("'{word}' is no command of 'ip {name}': write show")),
        }
    }
    let family = options.family;
    let show = match object {
        Object::Link => Show::Link(link(&mut words, family, false)?),
        Object::Address => Show::Addr(link(&mut words, family, true)?),
        Object::Route => Show::Route(route(&mut words, family)?),
        Object::Neighbor => Show::Neigh(neighbor(&mut words, family)?),
    };
    Ok(Said::Show(Asked { options, show, control }))
}

fn unsupported(what: &str) -> String {
    format!("'ip {what}' is not supported by this version: it shows link, address, route and neighbor")
}

/// Takes an option in; whether it asks for help.
fn option(word: &str, o: &mut Options, words: &mut Words<'_>) -> Result<bool, String> {
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
        Some(Opt::Help) => return Ok(true),
        Some(Opt::Nothing) => {}
        Some(Opt::Other) | None => {
            return Err(format!(
                "option '{word}' is not supported: there are -4, -6, -j, -p, -o, -br, -s, -d and --control PATH"
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

fn neighbor(words: &mut Words<'_>, family: Option<Family>) -> Result<NeighborFilter, String> {
    let mut f = NeighborFilter { family, ..NeighborFilter::default() };
    while let Some(word) = words.next() {
        match word {
            "dev" => f.dev = Some(words.value(word)?.to_owned()),
            "to" => f.to = Some(prefix(words.value(word)?, &mut f.family)?),
            "nud" => match words.value(word)? {
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

fn nud(text: &str) -> Result<String, String> {
    const STATES: [&str; 7] = ["permanent", "reachable", "stale", "delay", "probe", "failed", "incomplete"];
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

#[derive(Clone, Copy)]
enum Object {
    Link,
    Address,
    Route,
    Neighbor,
}

#[derive(Clone, Copy)]
enum Command {
    Show,
    Help,
    Other,
}

#[derive(Clone, Copy)]
enum Opt {
    Four,
    Six,
    Family,
    Json,
    Pretty,
    Brief,
    Oneline,
    Stats,
    Details,
    Help,
    Nothing,
    Other,
}

/// Objects in the order iproute2 looks them up (`ip.c`).
const OBJECTS: [(&str, Option<Object>); 17] = [
    ("address", Some(Object::Address)),
    ("addrlabel", None),
    ("maddress", None),
    ("route", Some(Object::Route)),
    ("rule", None),
    ("neighbor", Some(Object::Neighbor)),
    ("neighbour", Some(Object::Neighbor)),
    ("ntable", None),
    ("link", Some(Object::Link)),
    ("tunnel", None),
    ("tuntap", None),
    ("token", None),
    ("monitor", None),
    ("mroute", None),
    ("netns", None),
    ("vrf", None),
    ("help", None),
];

const ADDRESS_COMMANDS: [(&str, Command); 12] = [
    ("add", Command::Other),
    ("change", Command::Other),
    ("chg", Command::Other),
    ("replace", Command::Other),
    ("delete", Command::Other),
    ("show", Command::Show),
    ("lst", Command::Show),
    ("list", Command::Show),
    ("flush", Command::Other),
    ("save", Command::Other),
    ("restore", Command::Other),
    ("help", Command::Help),
];

/// `ip link s` is `set` there.
const LINK_COMMANDS: [(&str, Command); 10] = [
    ("add", Command::Other),
    ("set", Command::Other),
    ("change", Command::Other),
    ("replace", Command::Other),
    ("delete", Command::Other),
    ("show", Command::Show),
    ("lst", Command::Show),
    ("list", Command::Show),
    ("property", Command::Other),
    ("help", Command::Help),
];

const ROUTE_COMMANDS: [(&str, Command); 16] = [
    ("list", Command::Show),
    ("show", Command::Show),
    ("lst", Command::Show),
    ("get", Command::Other),
    ("add", Command::Other),
    ("append", Command::Other),
    ("change", Command::Other),
    ("chg", Command::Other),
    ("replace", Command::Other),
    ("prepend", Command::Other),
    ("delete", Command::Other),
    ("test", Command::Other),
    ("flush", Command::Other),
    ("save", Command::Other),
    ("restore", Command::Other),
    ("help", Command::Help),
];

const NEIGHBOR_COMMANDS: [(&str, Command); 11] = [
    ("add", Command::Other),
    ("change", Command::Other),
    ("chg", Command::Other),
    ("replace", Command::Other),
    ("delete", Command::Other),
    ("get", Command::Other),
    ("show", Command::Show),
    ("lst", Command::Show),
    ("list", Command::Show),
    ("flush", Command::Other),
    ("help", Command::Help),
];

/// Options in the order iproute2 looks them up.
const OPTIONS: [(&str, Opt); 23] = [
    ("loops", Opt::Other),
    ("family", Opt::Family),
    ("4", Opt::Four),
    ("6", Opt::Six),
    ("0", Opt::Other),
    ("M", Opt::Other),
    ("B", Opt::Other),
    ("human-readable", Opt::Other),
    ("iec", Opt::Other),
    ("stats", Opt::Stats),
    ("statistics", Opt::Stats),
    ("details", Opt::Details),
    // There are no names to be looked up in the first place, so nothing is done for these two.
    ("resolve", Opt::Nothing),
    ("oneline", Opt::Oneline),
    ("timestamp", Opt::Other),
    ("force", Opt::Other),
    ("batch", Opt::Other),
    ("brief", Opt::Brief),
    ("json", Opt::Json),
    ("pretty", Opt::Pretty),
    ("help", Opt::Help),
    ("netns", Opt::Other),
    ("Numeric", Opt::Nothing),
];

/// Selectors of iproute2's that can't be used here, and so are no names of links or prefixes.
const KEYWORDS: [&str; 30] = [
    "master",
    "nomaster",
    "type",
    "vrf",
    "label",
    "to",
    "scope",
    "permanent",
    "dynamic",
    "secondary",
    "primary",
    "tentative",
    "deprecated",
    "dadfailed",
    "temporary",
    "group",
    "proxy",
    "unused",
    "iif",
    "src",
    "from",
    "tos",
    "dsfield",
    "mark",
    "realm",
    "realms",
    "metric",
    "cached",
    "cache",
    "nhid",
];

#[cfg(test)]
mod tests;
