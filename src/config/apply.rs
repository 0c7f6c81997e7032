//! Changes of links, addresses, routes and neighbors, made to a [`Setup`] aside.
//!
//! ```text
//!   Setup ─► Draft ── link · addr · route · neigh ──► edits ─► Config ─┐
//!              └───── links, table of routes ──────────────────────────┴─► Setup
//! ```
//!
//! What comes out is what [`Setup::build`] would make of the configuration that comes out, without reading or compiling
//! all of it again. Whatever the checks of a file would refuse is refused here, with the kernel's error where it has one.

mod addr;
mod edits;
mod link;
mod neigh;
mod route;

use std::sync::Arc;

use super::{Change, Changed, Config, LiveAction, Refusal, Setup};
use crate::base::Instant;
use crate::fib::{self, BuildError, NextHop, Rib, Route};
use crate::link::{Links, Places};
use crate::neighbor::NeighborTable;
use edits::Edits;

/// What a setup is after a change.
///
/// # Errors
/// Why it can't be made.
pub(super) fn changed(
    setup: &Setup,
    change: &Change,
    neighbors: &NeighborTable,
    now: Instant,
) -> Result<Changed, Refusal> {
    let mut draft = Draft::of(setup, Living { neighbors, now });
    let mut refused = Vec::new();
    match change {
        Change::Several { changes, force } => {
            draft.several(changes, 0, *force, &mut refused);
        }
        one => draft.apply(one)?,
    }
    Ok(Changed { refused, ..draft.finish(setup)? })
}

/// A setup that is being changed.
#[derive(Clone)]
struct Draft<'a> {
    living: Living<'a>,
    config: Config,
    links: Links,
    places: Places,
    rib: Arc<Rib>,
    /// The routes that follow from the links' addresses, once somebody has asked.
    made: Option<Arc<Rib>>,
    edits: Edits,
    notes: Vec<String>,
    live: Vec<LiveAction>,
    /// Routes or what they stand on are different: all have to be looked at again.
    routed: bool,
    /// There are other links: rules have to be compiled again.
    relinked: bool,
}

/// The living table of neighbors, to be looked at.
#[derive(Clone, Copy)]
struct Living<'a> {
    neighbors: &'a NeighborTable,
    now: Instant,
}

impl<'a> Draft<'a> {
    fn of(setup: &Setup, living: Living<'a>) -> Self {
        Draft {
            living,
            config: setup.config.clone(),
            places: setup.places.clone(),
            links: setup.links.clone(),
            rib: setup.rib.clone(),
            made: None,
            edits: Edits::default(),
            notes: Vec::new(),
            live: Vec::new(),
            routed: false,
            relinked: false,
        }
    }

    fn apply(&mut self, change: &Change) -> Result<(), Refusal> {
        match change {
            Change::Link(change) => self.link(change),
            Change::Addr(change) => self.addr(change),
            Change::Route(change) => self.route(change),
            Change::Neigh(change) => self.neigh(change),
            Change::Rules(_) => Err("rules are not changed together with anything else".into()),
            Change::Several { .. } => Err("several changes can't be among several".into()),
        }
    }

    /// Makes changes one after the other, the first of them being number `first`; `false` if it ended with one that was
    /// refused. Whether routes lead anywhere is looked at in the end only; if some don't, halves are tried in turn, so that
    /// in the end it is one change that is refused for it.
    fn several(
        &mut self,
        changes: &[Change],
        first: usize,
        force: bool,
        refused: &mut Vec<(usize, Refusal)>,
    ) -> bool {
        let (saved, before) = (self.clone(), refused.len());
        let mut goes_on = true;
        for (i, change) in changes.iter().enumerate() {
            // A route that is refused leaves all as it was.
            let saved = (!matches!(change, Change::Route(_))).then(|| self.clone());
            let Err(no) = self.apply(change) else { continue };
            if let Some(saved) = saved {
                *self = saved;
            }
            refused.push((first + i, no));
            if !force {
                goes_on = false;
                break;
            }
        }
        let Err(no) = self.verify() else { return goes_on };
        *self = saved;
        refused.truncate(before);
        if changes.len() <= 1 {
            refused.push((first, no));
            return force;
        }
        let (one, other) = changes.split_at(changes.len() / 2);
        self.several(one, first, force, refused) && self.several(other, first + one.len(), force, refused)
    }

    /// Whether all routes lead somewhere.
    fn verify(&self) -> Result<(), Refusal> {
        if !self.routed {
            return Ok(());
        }
        self.rib.verify(&self.links).map_err(|errors| {
            let first = errors.first().map(BuildError::to_string).unwrap_or_default();
            Refusal::of("EBUSY", format!("then {first}; change that first"))
        })
    }

    fn finish(mut self, before: &Setup) -> Result<Changed, Refusal> {
        self.verify()?;
        self.edits.write(&mut self.config, &self.rib, &self.links);
        let programs = match self.relinked {
            true => self.config.programs(&self.links)?,
            false => before.programs.clone(),
        };
        let places = self.places.and(&self.links);
        let setup = Setup { config: self.config, links: self.links, places, rib: self.rib, programs };
        // They are for other links, and have counted what they have counted.
        setup.carry(before);
        Ok(Changed { setup, notes: told(self.notes), live: self.live, refused: Vec::new() })
    }

    /// Makes the table of links anew, and the routes that follow from their addresses.
    fn relink(&mut self) -> Result<(), Refusal> {
        let links = self.config.links_at(&self.places);
        let before = std::mem::replace(&mut self.links, links);
        self.routed = true;
        self.made = None;
        let reconnected = Arc::make_mut(&mut self.rib).reconnect(&before, &self.links);
        reconnected.map_err(|e| Refusal::of("EEXIST", format!("a route is in the way: {e}")))
    }

    /// Takes out the routes that have lost their way, `before` being the links they were made for, and says so.
    fn prune(&mut self, before: &Links, lost: impl Fn(fib::Family, &NextHop) -> bool) {
        let pruned = Arc::make_mut(&mut self.rib).prune(&self.links, lost);
        for (old, new) in &pruned {
            self.edits.replaced(old, before, new.as_ref(), &self.links);
            let was = oneline(old, before);
            self.notes.push(match new {
                None => format!("the route {was} went with it"),
                Some(new) => format!("the route {was} is {} now", oneline(new, &self.links)),
            });
        }
    }

    /// The routes that follow from addresses.
    fn made(&mut self) -> Arc<Rib> {
        self.made.get_or_insert_with(|| Arc::new(Rib::connected(&self.links))).clone()
    }

    /// There is no such link.
    fn no_link(&self, name: &str) -> Refusal {
        Refusal::of("ENODEV", format!("no link named '{name}': the links here are {}", self.links.names()))
    }

    /// The place in the configuration of a link that is not the loopback.
    fn index(&self, name: &str) -> Result<usize, Refusal> {
        self.config.links.iter().position(|l| l.name == name).ok_or_else(|| self.no_link(name))
    }
}

/// A route's words on one line.
fn oneline(route: &Route, links: &Links) -> String {
    route.display(links).to_string().replace("\n\t", " ")
}

/// As many notes as anybody reads.
fn told(mut notes: Vec<String>) -> Vec<String> {
    const TOLD: usize = 10;
    if notes.len() > TOLD {
        let more = notes.len() - TOLD;
        notes.truncate(TOLD);
        notes.push(format!("… and {more} more like these"));
    }
    notes
}

#[cfg(test)]
mod tests;
