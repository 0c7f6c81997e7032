//! What the first worker tells people, and the rest of the process, of links that change.

use std::collections::BTreeSet;
use std::net::Ipv6Addr;

use crossbeam_channel::Sender;

use crate::base::LinkId;
use crate::io::Status;
use crate::link::{Driver, InUse};
use crate::neighbor::DadState;
use crate::router::Router;

use super::engine::Gone;

/// Whether an interface in this condition has lost its addresses for NAT, so that what was translated to them ends: set
/// down or away, as in Linux (`NETDEV_DOWN`), where a cable that is out ends nothing.
pub(super) fn ends_addresses(status: Status) -> bool {
    matches!(status, Status::Down | Status::Gone)
}

/// What the first worker tells people about.
pub(super) struct Watch {
    router: Router,
    /// The links that went down or away since somebody looked.
    gone: Gone,
    /// For whoever sees to it that routes follow their links. One word is enough however many changed.
    changed: Sender<()>,
    duplicates: BTreeSet<(LinkId, Ipv6Addr)>,
    started: bool,
}

impl Watch {
    /// A change of a link goes to `changed`, a channel with room for one.
    pub(super) fn new(router: Router, changed: Sender<()>, gone: Gone) -> Self {
        Watch { router, gone, changed, duplicates: BTreeSet::new(), started: false }
    }

    /// Whether an administrator wants the link to carry packets.
    pub(super) fn is_set_up(&self, link: LinkId) -> bool {
        self.router.snapshot().links.get(link).is_some_and(|l| l.up)
    }

    fn name(&self, link: LinkId) -> String {
        self.router.snapshot().links.get(link).map_or_else(|| link.to_string(), |l| l.name.clone())
    }

    /// Says once what moves a link's frames: a warning where something else was asked for by name.
    pub(super) fn driver(&self, link: LinkId, driver: Option<InUse>) {
        let Some(used) = &driver else { return };
        if !self.router.live().states.set_driver(link, driver.clone()) {
            return;
        }
        let (name, drives) = (self.name(link), used.driver.name());
        match &used.fallback {
            None => tracing::info!("link {name}: driver {drives}"),
            Some(why) if used.asked == Driver::Auto => tracing::info!("link {name}: driver {drives}: {why}"),
            Some(why) => tracing::warn!("link {name}: driver {drives}: {why}"),
        }
    }

    /// Says that what was translated to the link's addresses is to end.
    pub(super) fn gone(&self, link: LinkId) {
        self.gone.add(link);
        self.changed.try_send(()).ok();
    }

    /// That links are up in the beginning is as it should be, and no news for people.
    pub(super) fn say(&self, link: LinkId, status: Status) {
        // Full: the word is there already.
        self.changed.try_send(()).ok();
        if self.started || status != Status::Up {
            let words =
                if status == Status::Up && !self.is_set_up(link) { "set down" } else { in_words(status) };
            tracing::info!("link {}: {words}", self.name(link));
        }
    }

    /// Warns of addresses that turned out to be another station's.
    pub(super) fn look(&mut self) {
        let addresses = self.router.live().dad.addresses();
        let found = addresses.into_iter().filter(|(.., state)| *state == DadState::Duplicate);
        let found: BTreeSet<_> = found.map(|(link, addr, _)| (link, addr)).collect();
        for (link, addr) in found.difference(&self.duplicates) {
            tracing::warn!(
                "link {}: another station has {addr}; it is not used until the link has been down and up again",
                self.name(*link)
            );
        }
        self.duplicates = found;
        self.started = true;
    }
}

fn in_words(status: Status) -> &'static str {
    match status {
        Status::Up => "up",
        Status::NoCarrier => "no carrier",
        Status::Down => "down",
        Status::Gone => "its device is gone; it is taken up again when one of that name comes back",
    }
}
