//! Changes of links, addresses, routes and neighbors, made to a [`Setup`] aside.
//!
//! ```text
//!   Setup ─► Draft ── link · addr · route · neigh ──► edits ─► Config ─┐
//!              └───── links, table of routes ──────────────────────────┴─► Setup
//! ```
//!
//! Of many changes each asks what concerns it, not all there is; the table of links and the routes that follow from
//! addresses are made anew once somebody has to know them. What comes out is what [`Setup::build`] would make of the configuration that comes out, without reading or compiling
//! all of it again. Whatever the checks of a file would refuse is refused here, with the kernel's error where it has one.

mod addr;
mod edits;
mod fixed;
mod link;
mod neigh;
mod owned;
mod route;
mod work;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use super::{AddrChange, Change, Changed, Config, LiveAction, Refusal, Setup};
use crate::base::{Instant, LinkId, Mac};
use crate::fib::{self, BuildError, Leans, NextHop, Rib, Route};
use crate::link::{Links, Places};
use crate::neighbor::NeighborTable;
use edits::Edits;
use fixed::Fixed;
use owned::Owned;
use work::pass;

pub(super) use edits::{hop, with_hops};

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
        Change::Several { changes, .. } if changes.len() > MOST_TOGETHER => {
            let text =
                format!("{} changes are more than the {MOST_TOGETHER} that go together", changes.len());
            return Err(Refusal::of("EINVAL", format!("{text}: ask for some of them first")));
        }
        Change::Several { changes, force } => {
            draft.several(changes, 0, *force, &mut refused);
        }
        one => draft.apply(one)?,
    }
    Ok(Changed { refused: in_few_words(refused), ..draft.finish(setup)? })
}

/// Changes of one transaction, at most.
const MOST_TOGETHER: usize = 65_536;

/// Refusals in as many words as fit into an answer: the errors of all, and the sentences of the first.
fn in_few_words(refused: Vec<(usize, Refusal)>) -> Vec<(usize, Refusal)> {
    /// What is said of all together, in bytes.
    const ROOM: usize = 4 << 20;
    let mut said = 0;
    let fits = |(index, no): (usize, Refusal)| {
        let mut no = no.plain();
        said += no.text.len();
        if said > ROOM {
            no.text = "refused, and why is more than fits here: ask for it alone".to_owned();
        }
        (index, no)
    };
    refused.into_iter().map(fits).collect()
}

/// A setup that is being changed.
#[derive(Clone)]
struct Draft<'a> {
    living: Living<'a>,
    /// Without the neighbors.
    config: Config,
    neighbors: Fixed,
    /// The addresses in the configuration, once somebody has asked for one.
    owned: Option<Owned>,
    /// The next hops of the configuration's own routes, with the places of these; likewise.
    gateways: Option<Arc<HashMap<IpAddr, Vec<IpNet>>>>,
    /// What routes lean on; likewise. Those that follow from addresses may be others by now.
    leans: Option<Arc<Leans>>,
    /// What addresses have done since the links were made.
    unsettled: Option<Unsettled>,
    links: Links,
    places: Places,
    rib: Arc<Rib>,
    /// The routes that follow from the links' addresses, once somebody has asked.
    made: Option<Arc<Rib>>,
    edits: Edits,
    notes: Vec<String>,
    live: Vec<LiveAction>,
    /// What those actions leave of a neighbor.
    lives: HashMap<(LinkId, IpAddr), Left>,
    /// Routes or what they stand on are different: they have to be looked at again.
    routed: bool,
    /// So are links or what follows from their addresses: then it has to be all of them.
    reconnected: bool,
    /// There are other links: rules have to be compiled again.
    relinked: bool,
}

/// What was done to addresses, as far as it matters for what follows from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unsettled {
    /// Some came, or went that no route leaned on.
    Come,
    /// Some went, perhaps after others came: routes may have lost their way.
    Gone,
}

/// What there is of a neighbor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Left {
    Nothing,
    /// It is there, with the MAC that it has in its state.
    There(Option<Mac>),
}

/// The living table of neighbors, to be looked at.
#[derive(Clone, Copy)]
struct Living<'a> {
    neighbors: &'a NeighborTable,
    now: Instant,
}

impl<'a> Draft<'a> {
    fn of(setup: &Setup, living: Living<'a>) -> Self {
        let mut config = setup.config.clone();
        let neighbors = Fixed::of(std::mem::take(&mut config.neighbors));
        Draft {
            living,
            config,
            neighbors,
            owned: None,
            gateways: None,
            leans: None,
            unsettled: None,
            places: setup.places.clone(),
            links: setup.links.clone(),
            rib: setup.rib.clone(),
            made: None,
            edits: Edits::default(),
            notes: Vec::new(),
            live: Vec::new(),
            lives: HashMap::new(),
            routed: false,
            reconnected: false,
            relinked: false,
        }
    }

    fn apply(&mut self, change: &Change) -> Result<(), Refusal> {
        match change {
            Change::Link(change) => self.link(change),
            Change::Addr(change) => self.addr(change),
            Change::Route(change) => self.route(change),
            Change::Neigh(change) => self.neigh(change),
            Change::Rules(_) => Err(Refusal::of(
                "EINVAL",
                "rules are not changed together with anything else: ask for them alone",
            )),
            Change::Several { .. } => {
                Err(Refusal::of("EINVAL", "several changes can't be among several: put them into one list"))
            }
        }
    }

    /// Makes changes one after the other, the first of them being number `first`; `false` if it ended with one that was
    /// refused. Whether routes lead anywhere is looked at in the end only, and what follows from addresses when it matters;
    /// if something is wrong then, halves are tried in turn, so that in the end it is one change that is refused for it.
    fn several(
        &mut self,
        changes: &[Change],
        first: usize,
        force: bool,
        refused: &mut Vec<(usize, Refusal)>,
    ) -> bool {
        pass();
        let (saved, before) = (self.clone(), refused.len());
        let mut goes_on = true;
        let mut settled = Ok(());
        for (i, change) in changes.iter().enumerate() {
            settled = self.settle_for(change);
            if settled.is_err() {
                break;
            }
            // Anything else that is refused leaves all as it was.
            let saved = matches!(change, Change::Link(_)).then(|| {
                pass();
                self.clone()
            });
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
        let Err(no) = settled.and_then(|()| self.settle()).and_then(|()| self.verify()) else {
            return goes_on;
        };
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
    fn verify(&mut self) -> Result<(), Refusal> {
        if !self.routed || !self.may_lead_nowhere() {
            return Ok(());
        }
        pass();
        self.rib.verify(&self.links).map_err(|errors| {
            let first = errors.first().map(BuildError::to_string).unwrap_or_default();
            Refusal::of("EBUSY", format!("then {first}; change that first"))
        })
    }

    /// Whether what is different may have to do with where routes lead that are not. Routes that came were judged as they
    /// came; others lose their way only with the way to a next hop, and that is in a prefix that is different.
    fn may_lead_nowhere(&mut self) -> bool {
        if self.reconnected {
            return true;
        }
        let leans = self.leans();
        self.edits.prefixes().any(|net| leans.has_next_hop_in(net))
    }

    fn finish(mut self, before: &Setup) -> Result<Changed, Refusal> {
        self.settle()?;
        self.verify()?;
        self.config.neighbors = self.neighbors.into_list();
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

    /// Settles what has to be before a change: only addresses can do without, and new ones not if others went.
    fn settle_for(&mut self, change: &Change) -> Result<(), Refusal> {
        match (change, self.unsettled) {
            (_, None) | (Change::Neigh(_), _) => Ok(()),
            (Change::Addr(AddrChange::Delete { .. }), _) => Ok(()),
            (Change::Addr(AddrChange::Add { .. }), Some(Unsettled::Come)) => Ok(()),
            _ => self.settle(),
        }
    }

    /// Makes what follows from the addresses that came and went. On an error the draft is no use any more.
    fn settle(&mut self) -> Result<(), Refusal> {
        match self.unsettled {
            None => Ok(()),
            Some(Unsettled::Come) => self.relink().map(drop),
            Some(Unsettled::Gone) => {
                let before = self.relink()?;
                let bare = self.bare(&before);
                self.prune(&before, |family, hop| {
                    family == fib::Family::V4 && hop.link.is_some_and(|l| bare.contains(&l))
                });
                Ok(())
            }
        }
    }

    /// Makes the table of links anew, and the routes that follow from their addresses; gives the table there was.
    fn relink(&mut self) -> Result<Links, Refusal> {
        pass();
        self.unsettled = None;
        let links = self.config.links_at(&self.places);
        let before = std::mem::replace(&mut self.links, links);
        (self.routed, self.reconnected) = (true, true);
        self.made = None;
        let reconnected = Arc::make_mut(&mut self.rib).reconnect(&before, &self.links);
        reconnected.map_err(|e| Refusal::of("EEXIST", format!("a route is in the way: {e}")))?;
        Ok(before)
    }

    /// Takes out the routes that have lost their way, `before` being the links they were made for, and says so.
    fn prune(&mut self, before: &Links, lost: impl Fn(fib::Family, &NextHop) -> bool) {
        pass();
        self.leans = None;
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

    /// The addresses there are.
    fn owned(&mut self) -> &mut Owned {
        self.owned.get_or_insert_with(|| {
            pass();
            Owned::of(&self.config)
        })
    }

    /// What routes lean on.
    fn leans(&mut self) -> Arc<Leans> {
        let leans = || {
            pass();
            Arc::new(self.rib.leans())
        };
        self.leans.get_or_insert_with(leans).clone()
    }

    /// The routes that follow from addresses.
    fn made(&mut self) -> Arc<Rib> {
        let made = || {
            pass();
            Arc::new(Rib::connected(&self.links))
        };
        self.made.get_or_insert_with(made).clone()
    }

    /// There is no such link.
    fn no_link(&self, name: &str) -> Refusal {
        let name = crate::base::shown(name);
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
