//! Routes follow their links: when one goes down, its routes go and the next best take over.
//!
//! As in Linux, where an interface that goes down takes its routes with it, and the flows that MASQUERADE gave its
//! address. A thread of its own, so that making a large table anew, or going through a million flows, keeps neither
//! packets nor the control socket waiting; until it is done, packets for the link are dropped as `link_down`. Knows
//! nothing of ports.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use crossbeam_channel::Receiver;

use crate::base::LinkId;
use crate::fib::Rib;
use crate::path::Snapshot;
use crate::router::Router;

/// Links that were set down or deleted, until somebody has seen to what follows.
#[derive(Debug, Clone, Default)]
pub(super) struct Gone(Arc<Mutex<BTreeSet<LinkId>>>);

impl Gone {
    /// One more.
    pub(super) fn add(&self, link: LinkId) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(link);
    }

    fn take(&self) -> BTreeSet<LinkId> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The table in force, and what it was made for.
pub(super) struct Routes {
    router: Router,
    rib: Arc<Rib>,
    gone: Gone,
    /// The links that count as up in the table in force, by their place.
    up: Vec<bool>,
}

impl Routes {
    /// To be made with a router whose table has all routes in it, whether their links are up or not.
    pub(super) fn new(router: Router, rib: Arc<Rib>, gone: Gone) -> Self {
        let up = vec![true; router.snapshot().links.bound()];
        Routes { router, rib, gone, up }
    }

    /// Follows the links until nobody is left who could say that one has changed.
    pub(super) fn run(mut self, changed: &Receiver<()>) {
        while changed.recv().is_ok() {
            for link in self.gone.take() {
                self.forget(link);
            }
            self.follow();
        }
    }

    /// Ends what was translated to the address of a link that was set down or deleted.
    fn forget(&self, link: LinkId) {
        let ended = self.router.link_gone(link);
        if ended > 0 {
            tracing::debug!("{link}: {ended} flows ended that had its address");
        }
    }

    /// Puts in force the routes that the links' condition leaves; `false` if they are in force already.
    fn follow(&mut self) -> bool {
        let snapshot = self.router.snapshot();
        let states = &self.router.live().states;
        let up: Vec<bool> = snapshot.links.iter().map(|l| states.is_up(l.id)).collect();
        if up == self.up {
            return false;
        }
        let usable = |link: LinkId| up.get(link.index()).copied().unwrap_or(false);
        let fib = Arc::new(self.rib.build_usable(&snapshot.links, usable));
        self.router.replace(Snapshot { fib, ..Snapshot::clone(&snapshot) });
        self.up = up;
        true
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;
    use crate::base::Instant;
    use crate::fib::Action;
    use crate::run::sample;

    const TWO_WAYS: &str = r#"
        [link.near]
        kind = "tun"
        addresses = ["10.1.0.1/24"]
        [link.far]
        kind = "tun"
        addresses = ["10.2.0.1/24"]
        [[route]]
        to = "default"
        via = "10.1.0.2"
        metric = 1
        [[route]]
        to = "default"
        via = "10.2.0.2"
        metric = 2
        [[route]]
        to = "10.9.0.0/16"
        via = "10.1.0.2"
    "#;

    #[test]
    fn a_link_that_goes_down_takes_its_routes_and_gives_them_back() {
        let (router, rib) = sample::router(TWO_WAYS);
        let named = |name| router.snapshot().links.named(name).unwrap().id;
        let (near, far) = (named("near"), named("far"));
        let mut worker = router.worker();
        let mut link = |link, up| assert!(worker.handle_link(link, up, Instant::ZERO));
        let out = |dst: [u8; 4]| match &router.snapshot().fib.lookup(IpAddr::from(dst))?.action {
            Action::Forward(hops) => hops.pick(0, |_| true).map(|h| h.link),
            _ => None,
        };
        let mut routes = Routes::new(router.clone(), Arc::new(rib), Gone::default());
        link(near, true);
        link(far, true);
        assert!(!routes.follow(), "all is up, as the table says");

        link(near, false);
        assert!(routes.follow() && !routes.follow());
        for dst in [[192, 0, 2, 1], [10, 9, 0, 1], [10, 1, 0, 2]] {
            assert_eq!(out(dst), Some(far), "{dst:?}");
        }
        let own = router.snapshot().fib.lookup(IpAddr::from([10, 1, 0, 1])).map(|e| e.action.clone());
        assert_eq!(own, Some(Action::Local(near)), "an address stays the router's own");

        link(far, false);
        assert!(routes.follow());
        assert_eq!(out([192, 0, 2, 1]), None);

        link(near, true);
        link(far, true);
        assert!(routes.follow());
        for dst in [[192, 0, 2, 1], [10, 9, 0, 1], [10, 1, 0, 2]] {
            assert_eq!(out(dst), Some(near), "{dst:?}");
        }
        assert_eq!(out([10, 2, 0, 2]), Some(far));
    }
}
