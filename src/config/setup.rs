//! A configuration with everything that can be made of it without touching a device: what transactions build aside.
//!
//! Knows nothing of threads, devices or packets.

use std::net::IpAddr;
use std::sync::Arc;

use super::{Change, Config, Problems, Refusal, apply};
use crate::base::{Instant, LinkId, Mac};
use crate::fib::{Fib, Rib};
use crate::filter::Program;
use crate::link::{Links, Places};
use crate::neighbor::{NeighborTable, Nud};

/// What the router is set up to be.
#[derive(Clone)]
pub struct Setup {
    /// What it says, [`Config::routes`] with what was changed since.
    pub config: Config,
    /// The links, at their places.
    pub links: Links,
    /// The places that are kept.
    pub places: Places,
    /// All routes: those that follow from addresses, the configuration's, and those of its route files.
    pub rib: Arc<Rib>,
    /// The rules of both families, IPv4's first.
    pub programs: [Option<Arc<Program>>; 2],
}

/// What a change makes of a setup.
pub struct Changed {
    /// The setup after it.
    pub setup: Setup,
    /// What it does to the living tables, once the setup is in force.
    pub live: Vec<LiveAction>,
    /// What else is to be said of it, in one sentence each.
    pub notes: Vec<String>,
    /// Of several changes those that could not be made, by their number, and why.
    pub refused: Vec<(usize, Refusal)>,
}

/// A change of what lives while packets pass, and stands in no configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LiveAction {
    /// A neighbor is there, in this state.
    SetNeighbor {
        /// The link it is on.
        link: LinkId,
        /// Its address.
        ip: IpAddr,
        /// Its MAC, where the state has one.
        mac: Option<Mac>,
        /// Its state.
        state: Nud,
    },
    /// A neighbor is forgotten, permanent or not.
    RemoveNeighbor {
        /// The link it is on.
        link: LinkId,
        /// Its address.
        ip: IpAddr,
    },
}

impl Setup {
    /// Builds a configuration. Links keep the places they have in `before`, and rules that are the same are the same program.
    ///
    /// # Errors
    /// All that is wrong with it and shows only now: routes with no way out, rules that can't be compiled.
    pub fn build(mut config: Config, before: Option<&Setup>) -> Result<Self, Problems> {
        let places = before.map(|b| b.places.clone()).unwrap_or_default();
        let links = config.links_at(&places);
        let rib = config.routing(&links)?;
        config.pin(&rib, &links);
        let mut programs = config.programs(&links)?;
        if let Some(before) = before.filter(|b| b.links == links) {
            // What is the same goes on as it is.
            for (at, program) in programs.iter_mut().enumerate() {
                if let (Some(new), Some(old)) = (&mut config.rules[at], &before.config.rules[at])
                    && new.ruleset == old.ruleset
                {
                    new.ruleset.clone_from(&old.ruleset);
                    program.clone_from(&before.programs[at]);
                }
            }
        }
        let places = places.and(&links);
        let rib = match before {
            Some(before) => rib.like(&before.rib),
            None => Arc::new(rib),
        };
        let setup = Setup { config, links, places, rib, programs };
        if let Some(before) = before {
            setup.carry(before);
        }
        Ok(setup)
    }

    /// The same, with the table that packets are looked up in as long as all links are up.
    ///
    /// # Errors
    /// As [`Setup::build`].
    pub fn with_table(config: Config, before: Option<&Setup>) -> Result<(Self, Fib), Problems> {
        let setup = Self::build(config, before)?;
        let fib = setup.rib.build_usable(&setup.links, |_| true);
        Ok((setup, fib))
    }

    /// Hands over what the rules of the setup in force have counted, and what their limits remember, to those that are
    /// the same here.
    pub(super) fn carry(&self, before: &Setup) {
        for (new, old) in self.renewed(before) {
            new.carry(old);
        }
    }

    /// When nobody runs the rules of `before`, from which these took over, any more: takes over what they have counted
    /// since.
    pub fn settle(&self, before: &Setup) {
        for (new, old) in self.renewed(before) {
            new.settle(old);
        }
    }

    /// The programs that are others than before, with those.
    fn renewed<'a>(
        &'a self,
        before: &'a Setup,
    ) -> impl Iterator<Item = (&'a Arc<Program>, &'a Arc<Program>)> {
        let pairs = self.programs.iter().zip(&before.programs);
        pairs
            .filter_map(|(new, old)| Some((new.as_ref()?, old.as_ref()?)))
            .filter(|(new, old)| !Arc::ptr_eq(new, old))
    }

    /// This setup, to be in force again after `now`.
    ///
    /// # Errors
    /// It can't be: what it was made of, files of routes, is not what it was.
    pub fn again(&self, now: &Setup) -> Result<Self, Problems> {
        match now.places.agree(&self.links) {
            true => {
                let again = Setup { places: now.places.and(&self.links), ..self.clone() };
                again.carry(now);
                Ok(again)
            }
            false => Setup::build(self.config.clone(), Some(now)),
        }
    }

    /// What it is after a change. `neighbors` is the living table at the time `now`; it is only looked at.
    ///
    /// # Errors
    /// The change can't be made; nothing is different then.
    pub fn changed(
        &self,
        change: &Change,
        neighbors: &NeighborTable,
        now: Instant,
    ) -> Result<Changed, Refusal> {
        let changed = match change {
            Change::Link(_)
            | Change::Addr(_)
            | Change::Route(_)
            | Change::Neigh(_)
            | Change::Several { .. } => apply::changed(self, change, neighbors, now),
            Change::Rules(change) => self.with_rules(change).map(|setup| {
                let (live, notes, refused) = Default::default();
                Changed { setup, live, notes, refused }
            }),
        };
        changed.map_err(Refusal::plain)
    }
}
