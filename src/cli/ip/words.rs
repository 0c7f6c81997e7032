//! The grammar of ip(8): options, an object, a command, keywords with values; each word may be cut short as
//! iproute2 allows it.
//!
//! A word is looked for in iproute2's own order, so that a prefix means here what it means there, also where it
//! means something this router can't do: that is an error that says so, never a word silently ignored.

mod ask;
mod change;
mod pick;
mod tables;
mod values;

use std::ffi::OsString;
use std::net::IpAddr;
use std::path::PathBuf;

use ipnet::IpNet;

use super::misuse::Misuse;
use crate::config::{AddrChange, Change, NeighChange, RouteChange};
use crate::control::protocol::{
    Family, LinkFilter, Monitor, NeighborFilter, Relation, RouteFilter, RouteGet, Show, Table,
};
use pick::Flag;
pub(super) use pick::{LinkPick, RoutePick};
pub(super) use tables::Object;
use tables::{
    ADDRESS_COMMANDS, Command, KEYWORDS, LINK_COMMANDS, NEIGHBOR_COMMANDS, OBJECTS, OPTIONS, Opt,
    ROUTE_COMMANDS,
};
use values::{Shown, number, prefix, scope_asked, states, table};

/// What was said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Said {
    /// Show something.
    Show(Asked),
    /// Do something else.
    Do(Order),
    /// Do what the lines of a file say, `-` being standard input.
    Batch(Options, PathBuf, Option<PathBuf>),
    /// Help, with one object if there is one.
    Help(Option<Object>),
    /// Say who this is.
    Version,
}

/// What is to be shown, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) options: Options,
    pub(super) show: Show,
    /// What of the answer.
    pub(super) links: LinkPick,
    pub(super) routes: RoutePick,
    /// It is one thing, which has to be there.
    pub(super) one: bool,
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
    /// Counters; twice: those of errors, too.
    pub(super) stats: u8,
    pub(super) details: bool,
    /// Numbers in place of names.
    pub(super) numeric: bool,
    /// Large numbers shortened, by thousands or by 1024.
    pub(super) human: bool,
    pub(super) iec: bool,
    pub(super) color: Color,
    pub(super) family: Option<Family>,
    pub(super) stamp: Option<Stamp>,
    /// Of several commands, those behind one that failed are done too.
    pub(super) force: bool,
}

/// Whether to paint.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Color {
    #[default]
    Never,
    /// On a terminal.
    Auto,
    Always,
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
/// Which word is not understood, and what would be.
pub(super) fn parse(words: &[OsString]) -> Result<Said, Misuse> {
    let strings: Option<Vec<&str>> = words.iter().map(|w| w.to_str()).collect();
    let strings = strings.ok_or("the words of ip must be plain text")?;
    let mut words = Words { all: &strings, at: 0 };
    let (mut options, mut control, mut batch) = (Options::default(), None, None);
    while let Some(word) = words.next_if(|w| w.starts_with('-')) {
        match word.strip_prefix("--control=").map(str::to_owned) {
            Some(path) => control = Some(path.into()),
            None if word == "--control" => control = Some(words.value(word)?.into()),
            None if word == "--" => break,
            None => match option(word, &mut options, &mut words, &mut batch)? {
                Opt::Help => return Ok(Said::Help(None)),
                Opt::Version => return Ok(Said::Version),
                _ => {}
            },
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
pub(super) fn line(words: &[&str], options: &Options) -> Result<Said, Misuse> {
    command(&mut Words { all: words, at: 0 }, options.clone(), None)
}

fn command(words: &mut Words<'_>, options: Options, control: Option<PathBuf>) -> Result<Said, Misuse> {
    let Some(object) = words.next() else {
        return Err(Misuse::missing(255, super::USAGE, "say what to show or to change"));
    };
    let family = options.family;
    let (name, object) = match find(object, &OBJECTS) {
        Some((name, Some(object))) => (name, object),
        Some(("help", None)) => return Ok(Said::Help(None)),
        Some((name, None)) => return Err(unsupported(name)),
        None => {
            let text = "there are link, address, route, neighbor and monitor";
            let said = format!("Object \"{object}\" is unknown, try \"ip help\".");
            return Err(Misuse::new(1, said, format!("there is no object '{object}': {text}")));
        }
    };
    let commands: &[_] = match object {
        Object::Link => &LINK_COMMANDS,
        Object::Address => &ADDRESS_COMMANDS,
        Object::Route => &ROUTE_COMMANDS,
        Object::Neighbor => &NEIGHBOR_COMMANDS,
        Object::Monitor => {
            let deed = match words.all.get(words.at) {
                Some(word) if *word == "help" => return Ok(Said::Help(Some(object))),
                _ => ask::monitor(words, family).map(|(monitor, label)| Deed::Monitor(monitor, label))?,
            };
            return Ok(Said::Do(Order { options, deed, control }));
        }
    };
    let command = match words.next() {
        None => Command::Show,
        Some(word) => match find(word, commands) {
            Some((_, Command::Help)) => return Ok(Said::Help(Some(object))),
            Some((command, Command::Other)) => return Err(unsupported(&format!("{name} {command}"))),
            Some((_, command)) => command,
            None => {
                let list: Vec<_> = commands.iter().filter(|(_, c)| *c != Command::Other).collect();
                let names: Vec<_> = list.iter().map(|(name, _)| *name).collect();
                let short = if object == Object::Neighbor { "neigh" } else { name };
                let said = format!("Command \"{word}\" is unknown, try \"ip {short} help\".");
                let text = format!("'{word}' is no command of 'ip {name}': there are {}", names.join(", "));
                return Err(Misuse::new(255, said, text));
            }
        },
    };
    // Whoever asks for help behind a command gets it.
    if words.all.get(words.at..) == Some(&["help"]) {
        return Ok(Said::Help(Some(object)));
    }
    let asked = |show| Asked {
        options: options.clone(),
        show,
        links: LinkPick::default(),
        routes: RoutePick::default(),
        one: false,
        control: control.clone(),
    };
    let asked = match (command, object) {
        (Command::Change(verb), _) => {
            let deed = change(verb, object, words, family)?;
            return Ok(Said::Do(Order { options, deed, control }));
        }
        (Command::Get, Object::Neighbor) => {
            let filter = ask::neighbor(words, family)?;
            Asked { one: true, ..asked(Show::Neigh(filter)) }
        }
        (Command::Get, _) => {
            let deed = Deed::Get(ask::get(words, family)?);
            return Ok(Said::Do(Order { options, deed, control }));
        }
        (_, Object::Link | Object::Address) => {
            let addresses = object == Object::Address;
            let (filter, links) = link(words, family, addresses)?;
            let show = if addresses { Show::Addr(filter) } else { Show::Link(filter) };
            Asked { links, ..asked(show) }
        }
        (_, Object::Route) => {
            let (filter, routes) = route(words, family)?;
            Asked { routes, ..asked(Show::Route(filter)) }
        }
        (_, Object::Neighbor | Object::Monitor) => asked(Show::Neigh(neighbor(words, family, false)?)),
    };
    Ok(Said::Show(asked))
}

fn change(
    verb: change::Verb,
    object: Object,
    words: &mut Words<'_>,
    family: Option<Family>,
) -> Result<Deed, Misuse> {
    let flush = verb == change::Verb::Flush;
    let rest = words.all.get(words.at..).unwrap_or_default();
    if flush && rest.is_empty() {
        let said = match object {
            Object::Route => "\"ip route flush\" requires arguments.",
            _ => "Flush requires arguments.",
        };
        return Err(Misuse::missing(1, said, "flush requires arguments: say what to remove, or all"));
    }
    // The kernel's cache of routes went with Linux 3.6, and there is none here.
    if flush && matches!(object, Object::Route) && matches!(rest, ["cache"] | ["table", "cache"]) {
        return Ok(Deed::Nothing);
    }
    Ok(Deed::Change(match object {
        Object::Address if flush && rest == ["all"] => {
            Change::Addr(AddrChange::Flush(LinkFilter { family, ..LinkFilter::default() }))
        }
        Object::Address if flush => {
            let (filter, pick) = link(words, family, true)?;
            if pick.chooses_nothing() {
                return Ok(Deed::Nothing);
            }
            if pick != LinkPick::default() {
                return Err(
                    "addresses can't be flushed by label, type or flags here: choose by dev, scope or to"
                        .into(),
                );
            }
            Change::Addr(AddrChange::Flush(filter))
        }
        Object::Route if flush => {
            let (filter, pick) = route(words, family)?;
            if pick.chooses_nothing() {
                return Ok(Deed::Nothing);
            }
            if pick != RoutePick::default() {
                return Err("routes can't be flushed by src here: choose by dev, via, proto or prefix".into());
            }
            Change::Route(RouteChange::Flush(filter))
        }
        Object::Neighbor if flush => Change::Neigh(NeighChange::Flush(neighbor(words, family, true)?)),
        Object::Link => change::link(verb, words)?,
        Object::Address => change::addr(verb, words, family)?,
        Object::Route => change::route(verb, words, family)?,
        Object::Neighbor | Object::Monitor => change::neigh(verb, words, family)?,
    }))
}

fn unsupported(what: &str) -> Misuse {
    format!("'ip {what}' is not supported here: see `sekisho ip --help` for what is").into()
}

/// Takes an option in; gives it back.
fn option(
    word: &str,
    o: &mut Options,
    words: &mut Words<'_>,
    batch: &mut Option<PathBuf>,
) -> Result<Opt, Misuse> {
    let name = word.strip_prefix("--").or_else(|| word.strip_prefix('-')).unwrap_or(word);
    let found = find(name, &OPTIONS).map(|(_, option)| option);
    match found {
        Some(Opt::Four) => o.family = Some(Family::Inet),
        Some(Opt::Six) => o.family = Some(Family::Inet6),
        Some(Opt::Family) => {
            let text = words.value_or_usage(word)?;
            o.family = Some(match text {
                "inet" => Family::Inet,
                "inet6" => Family::Inet6,
                "link" | "mpls" | "bridge" => {
                    return Err(format!("family '{text}' is not supported here: write inet or inet6").into());
                }
                _ => {
                    let text_of = format!("'{text}' is no family that is routed here: write inet or inet6");
                    return Err(Misuse::value(text, "invalid protocol family", text_of));
                }
            });
        }
        Some(Opt::Json) => o.json = true,
        Some(Opt::Pretty) => o.pretty = true,
        Some(Opt::Brief) => o.brief = true,
        Some(Opt::Oneline) => o.oneline = true,
        Some(Opt::Stats) => o.stats = o.stats.saturating_add(1),
        Some(Opt::Details) => o.details = true,
        Some(Opt::Numeric) => o.numeric = true,
        Some(Opt::Human) => o.human = true,
        Some(Opt::Iec) => o.iec = true,
        Some(Opt::Stamp(stamp)) => o.stamp = Some(stamp),
        Some(Opt::Force) => o.force = true,
        Some(Opt::Batch) => *batch = Some(words.value_or_usage(word)?.into()),
        // How much is read at once, and how often is begun again, is nobody's business here.
        Some(Opt::Count) => {
            let text = words.value_or_usage(word)?;
            if values::number_of(text, u32::MAX).is_none() {
                return Err(Misuse::new(
                    255,
                    format!("Invalid value '{text}'"),
                    format!("{word} needs a number"),
                ));
            }
        }
        Some(Opt::Help | Opt::Version | Opt::Nothing) => {}
        Some(Opt::Other) => {
            return Err(format!("option '{word}' is not supported: {ABLE}").into());
        }
        None => match color(name) {
            Some(color) => o.color = color,
            None => {
                let short = word.strip_prefix("--").map_or(word.to_owned(), |name| format!("-{name}"));
                let said = format!("Option \"{short}\" is unknown, try \"ip -help\".");
                return Err(Misuse::new(255, said, format!("option '{word}' is not supported: {ABLE}")));
            }
        },
    }
    Ok(found.unwrap_or(Opt::Nothing))
}

/// Options that there are.
const ABLE: &str =
    "there are -4, -6, -j, -p, -o, -br, -s, -d, -h, -iec, -N, -c, -t, -ts, -b, -force, -V and --control PATH";

/// `-c`, `-color=auto` (`matches_color`).
fn color(name: &str) -> Option<Color> {
    let (name, when) = name.split_once('=').unwrap_or((name, "always"));
    let is = !name.is_empty() && "color".starts_with(name);
    match when {
        _ if !is => None,
        "always" | "" => Some(Color::Always),
        "auto" => Some(Color::Auto),
        "never" => Some(Color::Never),
        _ => None,
    }
}

fn link(
    words: &mut Words<'_>,
    family: Option<Family>,
    addresses: bool,
) -> Result<(LinkFilter, LinkPick), Misuse> {
    let mut f = LinkFilter { family: family.filter(|_| addresses), ..LinkFilter::default() };
    let mut pick = LinkPick::default();
    while let Some(word) = words.next() {
        match word {
            "up" => f.up = true,
            "type" => pick.kind = Some(words.value(word)?.to_owned()),
            "group" => pick.none |= group(words.value(word)?)? != 0,
            // No link here has one.
            "master" => {
                words.value(word)?;
                pick.none = true;
            }
            "nomaster" => {}
            "vrf" => return Err(no_vrf(words.value(word)?, "Not a valid VRF name")),
            "scope" if addresses => f.scope = scope_asked(words)?,
            "to" if addresses => f.to = Some(prefix(words.value(word)?, &mut f.family)?),
            "label" if addresses => pick.label = Some(words.value(word)?.to_owned()),
            _ if addresses && Flag::named(word).is_some() => pick.flags.extend(Flag::named(word)),
            _ if word != "dev" && KEYWORDS.contains(&word) => return Err(cant_select(word)),
            _ => {
                let name = if word == "dev" { words.value(word)? } else { word };
                if f.dev.is_some() {
                    return Err(Misuse::garbage("dev", name));
                }
                f.dev = Some(name.to_owned());
            }
        }
    }
    Ok((f, pick))
}

/// The group of a link: all are in that of number 0.
fn group(text: &str) -> Result<u32, Misuse> {
    let number = if text == "default" { Some(0) } else { values::number_of(text, u32::MAX) };
    let text_of = || format!("'{text}' is no group: all links are in the group default");
    number.ok_or_else(|| Misuse::value(text, "Invalid \"group\" value", text_of()))
}

fn no_vrf(name: &str, said: &str) -> Misuse {
    Misuse::value(name, said, "there are no VRFs here: all links route by the same tables")
}

fn route(words: &mut Words<'_>, family: Option<Family>) -> Result<(RouteFilter, RoutePick), Misuse> {
    let mut f = RouteFilter { family, ..RouteFilter::default() };
    let mut pick = RoutePick::default();
    while let Some(word) = words.next() {
        match word {
            "dev" | "oif" => f.dev = Some(words.value(word)?.to_owned()),
            // What comes in by a link is no route's condition here.
            "iif" => {
                f.dev = Some(words.value(word)?.to_owned());
                pick.none = true;
            }
            "via" => f.via = Some(values::gateway(words, f.family)?.0),
            "table" => match table(words.value(word)?, f.family)? {
                Shown::Table(table) => f.table = table,
                Shown::Cache => pick.none = true,
            },
            "cache" | "cached" => pick.none = true,
            "metric" | "preference" | "priority" => {
                f.metric = Some(number(words, word, "\"metric\" value is invalid")?);
            }
            "scope" => f.scope = scope_asked(words)?,
            "type" => f.kind = Some(kind_asked(words)?),
            // No route here asks for these.
            "tos" | "dsfield" => pick.none |= values::tos(words.value(word)?)? != 0,
            "mark" => pick.none |= number(words, word, "\"mark\" value is invalid")? != 0,
            "realm" | "realms" => {
                words.value(word)?;
                pick.none = true;
            }
            "vrf" => return Err(no_vrf(words.value(word)?, "Invalid VRF")),
            "src" => pick.src = Some(prefix(words.value(word)?, &mut f.family)?),
            "from" => {
                let (relation, net) = related(words, word, &mut f.family)?;
                // Routes are for all sources, which cover every prefix, and are in that of all only.
                pick.none |= relation != Relation::Match && net.prefix_len() > 0;
            }
            _ if word.len() > 3 && "protocol".starts_with(word) => {
                f.protocol = values::protocol(words.value(word)?, "invalid \"protocol\"")?;
            }
            "root" | "match" | "exact" => {
                words.at -= 1;
                chosen(&mut f, words)?;
            }
            "to" => chosen(&mut f, words)?,
            _ if KEYWORDS.contains(&word) => return Err(cant_select(word)),
            _ => {
                words.at -= 1;
                chosen(&mut f, words)?;
            }
        }
    }
    // Without -6 iproute2 shows IPv4, unless it is asked for all tables.
    if f.family.is_none() && f.table != Table::All {
        f.family = Some(f.via.filter(IpAddr::is_ipv6).map_or(Family::Inet, |_| Family::Inet6));
    }
    Ok((f, pick))
}

/// Takes in how destinations are to stand to a prefix. Said again it counts instead.
fn chosen(f: &mut RouteFilter, words: &mut Words<'_>) -> Result<(), Misuse> {
    let (relation, net) = related(words, "to", &mut f.family)?;
    if f.prefix.is_some_and(|(before, _)| before != relation && relation != Relation::Exact) {
        return Err("routes are chosen by one prefix here: root, match or exact".into());
    }
    f.prefix = Some((relation, net));
    Ok(())
}

/// `[root|match|exact] PREFIX`.
fn related(
    words: &mut Words<'_>,
    word: &str,
    family: &mut Option<Family>,
) -> Result<(Relation, IpNet), Misuse> {
    let next = words.value(word)?;
    let relation = match next {
        "root" => Some(Relation::Root),
        "match" => Some(Relation::Match),
        "exact" => Some(Relation::Exact),
        _ => None,
    };
    let text = if relation.is_some() { words.value(next)? } else { next };
    Ok((relation.unwrap_or(Relation::Exact), prefix(text, family)?))
}

fn kind_asked(words: &mut Words<'_>) -> Result<String, Misuse> {
    let text = words.value("type")?;
    let text_of = || format!("there are no routes of type '{text}': write unicast, local, unreachable, …");
    let kind = values::kind(text).map(str::to_owned);
    kind.ok_or_else(|| Misuse::value(text, "node type value is invalid", text_of()))
}

fn neighbor(words: &mut Words<'_>, family: Option<Family>, flushes: bool) -> Result<NeighborFilter, Misuse> {
    let mut f = NeighborFilter { family, ..NeighborFilter::default() };
    // What none has.
    let nothing = || vec!["NONE".to_owned()];
    while let Some(word) = words.next() {
        match word {
            "dev" => {
                let name = words.value(word)?;
                if f.dev.is_some() {
                    return Err(Misuse::twice("dev", name));
                }
                f.dev = Some(name.to_owned());
            }
            "to" => f.to = Some(prefix(words.value(word)?, &mut f.family)?),
            "all" if flushes => {}
            "nud" => match words.value(word)? {
                "all" if flushes => {
                    f.states = values::STATES.map(|(name, _)| name.to_ascii_uppercase()).to_vec();
                }
                "all" => f.states = Vec::new(),
                state => match states(state)? {
                    none if none.is_empty() => f.states.extend(nothing()),
                    some => f.states.extend(some.iter().map(|s| s.to_ascii_uppercase())),
                },
            },
            // Nothing holds on to a neighbor here: who sends looks it up each time.
            "unused" | "nomaster" => {}
            "master" => {
                words.value(word)?;
                f.states = nothing();
            }
            "proxy" => f.states = nothing(),
            "vrf" => return Err(no_vrf(words.value(word)?, "Not a valid VRF name")),
            _ if KEYWORDS.contains(&word) => return Err(cant_select(word)),
            _ => f.to = Some(prefix(word, &mut f.family)?),
        }
    }
    Ok(f)
}

fn cant_select(word: &str) -> Misuse {
    format!("'{word}' is not supported here: see `sekisho ip --help` for what can be chosen by").into()
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

    fn value(&mut self, of: &str) -> Result<&'a str, Misuse> {
        self.next().ok_or_else(|| Misuse::incomplete(of))
    }

    /// The value of an option.
    fn value_or_usage(&mut self, of: &str) -> Result<&'a str, Misuse> {
        let text = || format!("'{of}' has nothing behind it: give its value");
        self.next().ok_or_else(|| Misuse::missing(255, super::USAGE, text()))
    }
}

#[cfg(test)]
mod tests;
