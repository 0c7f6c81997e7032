//! Whether links are up: the one thing about a link that changes under the router's feet.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use crate::base::LinkId;

/// A flag for each link, read by every worker and written where its port is watched.
#[derive(Debug)]
pub struct LinkStates(Vec<AtomicBool>);

impl LinkStates {
    /// Flags for `links` links, all down but the loopback.
    pub fn new(links: usize) -> Self {
        LinkStates((0..links).map(|i| AtomicBool::new(i == LinkId::LO.index())).collect())
    }

    /// Whether the link can carry frames now. Unknown links can't.
    #[inline]
    pub fn is_up(&self, link: LinkId) -> bool {
        self.0.get(link.index()).is_some_and(|up| up.load(Relaxed))
    }

    /// Says that a link went up or down; `true` if that is news.
    pub fn set(&self, link: LinkId, up: bool) -> bool {
        self.0.get(link.index()).is_some_and(|flag| flag.swap(up, Relaxed) != up)
    }
}
