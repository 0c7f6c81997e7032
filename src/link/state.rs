//! What changes about links under the router's feet: whether they are up, and what moves their frames.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

use super::InUse;
use crate::base::LinkId;

/// A flag for each link, read by every worker and written where its port is watched; beside it what is told to people only.
#[derive(Debug)]
pub struct LinkStates {
    up: Vec<AtomicBool>,
    generation: AtomicU64,
    drivers: Mutex<Vec<Option<InUse>>>,
}

impl LinkStates {
    /// Flags for `links` links, all down but the loopback.
    pub fn new(links: usize) -> Self {
        let up = (0..links).map(|i| AtomicBool::new(i == LinkId::LO.index())).collect();
        LinkStates { up, generation: AtomicU64::new(0), drivers: Mutex::new(vec![None; links]) }
    }

    /// Flags of their own for `links` links, which stand as these do. Those beyond these are taken to be up.
    pub fn shadow(&self, links: usize) -> Self {
        let is_up = |i: usize| self.up.get(i).is_none_or(|up| up.load(Relaxed));
        LinkStates {
            up: (0..links).map(|i| AtomicBool::new(is_up(i))).collect(),
            generation: AtomicU64::new(self.generation()),
            drivers: Mutex::new(vec![None; links]),
        }
    }

    /// Grows with every link that goes up or down.
    #[inline]
    pub fn generation(&self) -> u64 {
        self.generation.load(Relaxed)
    }

    /// Whether the link can carry frames now. Unknown links can't.
    #[inline]
    pub fn is_up(&self, link: LinkId) -> bool {
        self.up.get(link.index()).is_some_and(|up| up.load(Relaxed))
    }

    /// Says that a link went up or down; `true` if that is news.
    pub fn set(&self, link: LinkId, up: bool) -> bool {
        let news = self.up.get(link.index()).is_some_and(|flag| flag.swap(up, Relaxed) != up);
        if news {
            self.generation.fetch_add(1, Relaxed);
        }
        news
    }

    /// What moves the link's frames, where there is a choice.
    pub fn driver(&self, link: LinkId) -> Option<InUse> {
        self.drivers.lock().unwrap_or_else(PoisonError::into_inner).get(link.index())?.clone()
    }

    /// Says what moves the link's frames; `true` if that is news.
    pub fn set_driver(&self, link: LinkId, driver: Option<InUse>) -> bool {
        let mut drivers = self.drivers.lock().unwrap_or_else(PoisonError::into_inner);
        match drivers.get_mut(link.index()) {
            Some(old) if *old != driver => {
                *old = driver;
                true
            }
            _ => false,
        }
    }
}
