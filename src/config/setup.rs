//! A configuration with everything that can be made of it without touching a device: what transactions build aside.
//!
//! Knows nothing of threads, devices or packets.

use std::sync::Arc;

use super::apply::{self, LiveAction};
use super::{Change, Config, Problems, Refusal};
use crate::fib::Rib;
use crate::filter::Program;
use crate::link::Links;

/// What the router is set up to be.
#[derive(Clone)]
pub struct Setup {
    /// What it says, [`Config::routes`] with what was changed since.
    pub config: Config,
    /// The links, by their places.
    pub links: Links,
    /// All routes: those that follow from addresses, the configuration's, and those of its route files.
    pub rib: Arc<Rib>,
    /// The rules of both families, IPv4's first.
    pub programs: [Option<Arc<Program>>; 2],
}

impl Setup {
    /// Builds a configuration. Links keep the places they have in `before`, and rules that are the same their counters and
    /// what their limits remember.
    ///
    /// # Errors
    /// All that is wrong with it and shows only now: routes with no way out, rules that can't be compiled.
    pub fn build(mut config: Config, before: Option<&Setup>) -> Result<Self, Problems> {
        let links = config.links_table();
        let (rib, _) = config.routing(&links)?;
        config.pin(&rib, &links);
        let programs = config.programs(&links)?;
        if let Some(before) = before {
            Self::carry(&programs, before);
        }
        Ok(Setup { config, links, rib: Arc::new(rib), programs })
    }

    /// What it is after a change.
    ///
    /// # Errors
    /// The change can't be made; nothing is different then.
    pub fn changed(&self, change: &Change) -> Result<Changed, Refusal> {
        match change {
            Change::Rules(_) => Err(format!("not yet: {change:?}").into()),
            _ => apply::changed(self, change),
        }
    }

    /// Lets rules that are the same keep their counters and what their limits remember.
    pub(super) fn carry(programs: &[Option<Arc<Program>>; 2], before: &Setup) {
        for (new, old) in programs.iter().zip(&before.programs) {
            if let (Some(new), Some(old)) = (new, old) {
                new.carry(old);
            }
        }
    }
}

/// What a change comes to.
pub struct Changed {
    /// What the router is set up to be then.
    pub setup: Setup,
    /// What else came of it, in one sentence each.
    pub notes: Vec<String>,
    /// What is to be done beside putting it in force: all of it judged before, and run after.
    pub live: Vec<LiveAction>,
}
