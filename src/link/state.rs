//! Whether links are up: the one thing about a link that changes under the router's feet.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use crate::base::LinkId;

/// A flag for each link, read by every worker and written where its port is watched.
#[derive(Debug)]
pub struct LinkStates {
    up: Vec<AtomicBool>,
    generation: AtomicU64,
}

impl LinkStates {
    /// Flags for `links` links, all down but the loopback.
    pub fn new(links: usize) -> Self {
        let up = (0..links).map(|i| AtomicBool::new(i == LinkId::LO.index())).collect();
        LinkStates { up, generation: AtomicU64::new(0) }
    }

    /// Grows with every change.
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
}
