//! What is chosen by the words behind `show` and `flush`.

use std::net::IpAddr;

use ipnet::IpNet;

use super::super::misuse::Misuse;
use super::pick::{Flag, LinkPick, RoutePick};
use super::tables::KEYWORDS;
use super::values::{self, Shown, number, prefix, scope_asked, states, table};
use super::{Words, cant_select};
use crate::control::protocol::{Family, LinkFilter, NeighborFilter, Relation, RouteFilter, Table};

/// Which links, and which of their addresses.
pub(super) fn link(
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

/// That there are none, in the words for the place where one is asked for.
pub(super) fn no_vrf(name: &str, said: &str) -> Misuse {
    Misuse::value(name, said, "there are no VRFs here: all links route by the same tables")
}

/// Which routes.
pub(super) fn route(
    words: &mut Words<'_>,
    family: Option<Family>,
) -> Result<(RouteFilter, RoutePick), Misuse> {
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

/// Which neighbors.
pub(super) fn neighbor(
    words: &mut Words<'_>,
    family: Option<Family>,
    flushes: bool,
) -> Result<NeighborFilter, Misuse> {
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
