//! The engine: makes the router what it is set up to be, one transaction after the other, and keeps its routes true to
//! its links.
//!
//! ```text
//!   reload ─┐                 build aside            devices                    in force
//!   ip …    ├─► ask ─► Setup ─────────────► Setup' ─────────► ports ─► Snapshot ────────► workers ─► what follows
//!   rollback┘            │  refused: nothing is different │                 ▲
//!                        └────────────────────────────────┘    links up and down
//! ```
//!
//! A thread of its own, so that building a large table, going through a million flows or waiting for a device keeps
//! neither packets nor the control socket waiting. As in Linux, a link that goes down takes its routes with it, and the
//! flows that MASQUERADE gave its address. Knows nothing of sockets.

pub(super) mod devices;
mod flows;
mod history;
mod reload;

use std::collections::{BTreeSet, HashSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use crossbeam_channel::{Receiver, Sender, never};
use mio::Waker;

use crate::base::{Instant, LinkId};
use crate::config::{self, Config, LiveAction, Refusal, Setup};
use crate::control::answer::rules;
use crate::control::monitor::Hub;
use crate::control::view::{self, Applied};
use crate::control::{Answer, Verb};
use crate::host::Services;
use crate::path::{Listeners, Snapshot};
use crate::router::Router;

use super::clock::Clock;
use super::desk::Desk;
use super::systemd;
use devices::Devices;
use history::History;
use reload::Unconfirmed;

/// Transactions that may wait.
pub(super) const CAPACITY: usize = 64;

/// How often links without a device are tried.
const TRY: Duration = Duration::from_secs(1);

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

/// A transaction that is wanted.
pub(super) struct Ask {
    pub what: Verb,
    pub answer: Sender<Answer>,
}

/// Wakes whoever waits for answers.
pub(super) type Bell = Arc<OnceLock<Waker>>;

/// The engine's state.
pub(super) struct Engine {
    router: Router,
    /// What is in force, for all to read.
    setup: Arc<ArcSwap<Setup>>,
    desk: Desk,
    devices: Devices,
    /// What the local stack offers.
    services: Arc<ArcSwap<Services>>,
    /// How many transactions there have been.
    transactions: Arc<AtomicU64>,
    gone: Gone,
    bell: Bell,
    stop: Arc<AtomicBool>,
    clock: Clock,
    hub: Hub,
    /// The file it was started with.
    file: PathBuf,
    /// The links that count as up in the table in force, by their place.
    up: Vec<bool>,
    history: History,
    /// What is put in force again if nobody confirms.
    unconfirmed: Option<Unconfirmed>,
    /// When links without a device are tried again.
    next_try: Option<Instant>,
}

/// What an engine is made of.
pub(super) struct Parts {
    pub router: Router,
    pub setup: Arc<ArcSwap<Setup>>,
    pub desk: Desk,
    pub devices: Devices,
    pub services: Arc<ArcSwap<Services>>,
    pub transactions: Arc<AtomicU64>,
    pub gone: Gone,
    pub bell: Bell,
    pub stop: Arc<AtomicBool>,
    pub clock: Clock,
    pub hub: Hub,
}

impl Engine {
    /// To be made with a router whose table has all routes in it, whether their links are up or not.
    pub(super) fn new(parts: Parts) -> Self {
        let Parts { router, setup, desk, devices, services, transactions, gone, bell, stop, clock, hub } =
            parts;
        let up = vec![true; router.room()];
        let file = setup.load().config.path.clone();
        let history = History::default();
        Engine {
            router,
            setup,
            desk,
            devices,
            services,
            transactions,
            gone,
            bell,
            stop,
            clock,
            hub,
            file,
            up,
            history,
            unconfirmed: None,
            next_try: None,
        }
    }

    /// Serves until nobody is left who could say that a link has changed: the workers have ended.
    pub(super) fn run(mut self, changed: &Receiver<()>, asks: &Receiver<Ask>) {
        let mut asks = asks.clone();
        loop {
            let wait = self.unconfirmed.as_ref().map(|u| u.until.since(self.clock.now()));
            let wait = wait.into_iter().chain(self.next_try.map(|at| at.since(self.clock.now()))).min();
            let timer = wait.map_or_else(never, crossbeam_channel::after);
            crossbeam_channel::select! {
                recv(changed) -> word => match word {
                    Ok(()) => self.follow_links(),
                    Err(_) => return,
                },
                recv(asks) -> ask => match ask {
                    // Who asked is told that the router stops.
                    Ok(_) if self.stop.load(Relaxed) => return,
                    Ok(ask) => self.serve(ask),
                    Err(_) => asks = never(),
                },
                recv(timer) -> _ => self.give_back(),
            }
            self.take_up();
        }
    }

    /// Tries to open the devices of links that have none, now and then.
    fn take_up(&mut self) {
        let now = self.clock.now();
        if self.next_try.is_some_and(|at| at <= now) {
            let setup = self.setup.load_full();
            self.devices.take_up(&setup, &self.desk);
            self.follow();
            self.next_try = None;
        }
        match self.devices.some_closed() {
            true => self.next_try = self.next_try.or(Some(self.clock.now() + TRY)),
            false => self.next_try = None,
        }
    }

    fn serve(&mut self, Ask { what, answer }: Ask) {
        // Whoever asks for a reload, the service manager is told of it.
        let reloads = matches!(what, Verb::Reload(_));
        if reloads {
            systemd::reloading();
        }
        let done = self.answer(what);
        // Who asked may have gone.
        answer.send(done).ok();
        if reloads {
            systemd::ready(&super::status(&self.setup.load().config.name, &self.router));
        }
        if let Some(bell) = self.bell.get() {
            bell.wake().ok();
        }
    }

    fn answer(&mut self, what: Verb) -> Answer {
        let applied = match what {
            Verb::Change(change) => self.change(&change),
            Verb::Reload(asked) => self.reload(&asked),
            Verb::Rollback { steps } => self.rollback(steps),
            Verb::Confirm => return self.confirm(),
            Verb::Diff { file, flows } => return self.diff(file, flows),
            Verb::Config => {
                let text = config::print(&self.setup.load());
                return Answer::lines(text);
            }
            Verb::Rules(asked) => {
                let setup = self.setup.load();
                return rules::take(&asked, setup.programs.each_ref().map(Option::as_deref));
            }
            _ => Err("this is no transaction".into()),
        };
        match applied {
            Ok(applied) => Answer::done(&applied),
            Err(no) => Answer::Refused(no),
        }
    }

    fn change(&mut self, change: &config::Change) -> Result<Applied, Refusal> {
        let now = self.setup.load_full();
        if let config::Change::Rules(rules) = change
            && now.zero(rules)?
        {
            return Ok(Applied { changed: false, ..self.applied(Vec::new()) });
        }
        let changed = now.changed(change, &self.router.live().neighbors, self.clock.now())?;
        if matches!(change, config::Change::Rules(rules) if rules.only_looks()) {
            return Ok(Applied { changed: false, ..self.applied(changed.notes) });
        }
        let mut notes = changed.notes;
        // A neighbor that lives and dies by itself is no reason to make tables anew.
        let differs = matches!(change, config::Change::Rules(_)) || changed.setup.config != now.config;
        if differs {
            notes.extend(self.commit_beside(changed.setup, &changed.live)?);
            notes.extend(self.told_what_waits());
        }
        let refused = changed.refused.into_iter().map(|(index, no)| {
            let errno = no.errno.map(str::to_owned);
            view::Refused { index, error: no.text, errno }
        });
        let refused = refused.collect();
        let changed_now = differs || !changed.live.is_empty();
        let applied = Applied { changed: changed_now, refused, ..self.applied(notes) };
        self.live(changed.live);
        Ok(applied)
    }

    fn applied(&self, notes: Vec<String>) -> Applied {
        Applied { transaction: self.history.number(), changed: true, notes, ..Applied::default() }
    }

    /// Puts a setup in force, or changes nothing.
    fn commit(&mut self, next: Setup) -> Result<Vec<String>, Refusal> {
        self.commit_beside(next, &[])
    }

    /// The same; neighbors that `live` will change are left to it.
    fn commit_beside(&mut self, next: Setup, live: &[LiveAction]) -> Result<Vec<String>, Refusal> {
        let before = self.setup.load_full();
        self.has_room(&next)?;
        let opened = match self.devices.open(&before, &next, &self.desk) {
            Ok(opened) => opened,
            Err(no) => {
                // A device may have been closed for it, and not be back.
                self.follow();
                return Err(no);
            }
        };
        let old = self.router.snapshot();
        for link in next.links.iter().filter(|l| before.links.get(l.id).is_none_or(|b| b.name != l.name)) {
            self.router.begin_link(link.id);
        }
        self.swap(&next);
        self.services.store(Arc::new(services(&next.config)));
        if before.config.conntrack.table != next.config.conntrack.table {
            self.router.live().conntrack.configure(&next.config.conntrack.table);
        }
        let next = Arc::new(next);
        self.setup.store(next.clone());
        let up = |link: LinkId| self.up.get(link.index()).copied().unwrap_or(false);
        self.hub.changed(&before, &next, &up, self.clock.now());
        let notes = opened.in_force(&before, &next, &self.desk, &self.router);
        // Links that came up or went down with it have their routes before anybody is answered.
        self.follow();
        // From here on nobody runs the old rules, or begins flows with the old addresses.
        self.desk.settle();
        let entries = next.config.flow_cache;
        if entries != before.config.flow_cache {
            self.desk.all(move |worker| worker.resize_flow_cache(entries));
        }
        for link in next.links.iter() {
            let is_other = |b: &crate::link::Link| b.name == link.name && b.mtu != link.mtu;
            if before.links.get(link.id).is_some_and(is_other) {
                self.desk.shorten(link.id);
            }
        }
        next.settle(&before);
        self.router.forget(&old);
        self.neighbors(&before, &next, live);
        self.addresses(&before, &next);
        self.history.add(before, &self.setup.load());
        self.transactions.store(self.history.number(), Relaxed);
        Ok(notes)
    }

    /// Swaps the snapshot.
    fn swap(&mut self, next: &Setup) {
        // What changes meanwhile is followed: then it is not what is noted here.
        let up = self.links_up();
        let snapshot = self.snapshot(next, |link| up.get(link.index()).copied().unwrap_or(false));
        self.up = up;
        self.router.replace(snapshot);
    }

    /// What packets meet under a setup. Routes of links that are not up are left out.
    fn snapshot(&self, setup: &Setup, up: impl Fn(LinkId) -> bool) -> Snapshot {
        let (services, now) = (services(&setup.config), self.router.snapshot());
        let stands = |l: &crate::link::Link| self.up.get(l.id.index()) == Some(&up(l.id));
        let same =
            now.fib.is_made_of(&setup.rib) && now.links == setup.links && setup.links.iter().all(stands);
        let fib = if same { now.fib.clone() } else { Arc::new(now.fib.after(&setup.rib, &setup.links, up)) };
        Snapshot {
            fib,
            links: setup.links.clone(),
            listeners: Listeners { udp: services.ports(), tcp: services.ports() },
            icmp_rate: setup.config.icmp.rate,
            hooks: super::hooks(&setup.config, &setup.programs),
        }
    }

    /// Which links are up, by their places.
    fn links_up(&self) -> Vec<bool> {
        let states = &self.router.live().states;
        (0..self.router.room()).map(|l| states.is_up(LinkId(l as u16))).collect()
    }

    /// Permanent neighbors follow the configuration.
    fn neighbors(&self, before: &Setup, next: &Setup, live: &[LiveAction]) {
        let all = |s: &Setup| -> Vec<_> {
            let link = |n: &config::NeighborConfig| s.links.named(&n.dev).map(|l| (l.id, n.ip, n.mac));
            s.config.neighbors.iter().filter_map(link).collect()
        };
        if before.config.neighbors == next.config.neighbors && before.links == next.links {
            return;
        }
        let (old, new) = (all(before), all(next));
        let set = live.iter().filter_map(|a| match a {
            LiveAction::SetNeighbor { link, ip, .. } => Some((*link, *ip)),
            LiveAction::RemoveNeighbor { .. } => None,
        });
        let stay: HashSet<_> = new.iter().map(|n| (n.0, n.1)).chain(set).collect();
        let there: HashSet<_> = old.iter().collect();
        let gone: Vec<_> = old.iter().filter(|(l, ip, _)| !stay.contains(&(*l, *ip))).copied().collect();
        let come: Vec<_> = new.iter().filter(|n| !there.contains(n)).copied().collect();
        if gone.is_empty() && come.is_empty() {
            return;
        }
        self.desk.first(move |worker, now| {
            worker.change_neighbors(now, |table, out| {
                for (link, ip, _) in gone {
                    table.remove(link, ip, now, out);
                }
                for (link, ip, mac) in come {
                    table.set_static(link, ip, mac, now, out);
                }
            });
        });
    }

    /// New addresses are checked before they are used; nothing is known of those that went.
    fn addresses(&self, before: &Setup, next: &Setup) {
        let v6 = |s: &Setup| -> BTreeSet<_> {
            let of = |l: &crate::link::Link| -> Vec<_> {
                let v6 = l.addresses.iter().filter_map(|a| match a.addr {
                    std::net::IpAddr::V6(v6) => Some((l.id, v6)),
                    std::net::IpAddr::V4(_) => None,
                });
                v6.collect()
            };
            s.links.iter().flat_map(of).collect()
        };
        let (old, new) = (v6(before), v6(next));
        for (link, addr) in old.difference(&new) {
            self.router.live().dad.stop(*link, *addr);
        }
        let come: Vec<_> = new.difference(&old).copied().collect();
        if !come.is_empty() {
            self.desk.first(move |worker, now| {
                for (link, addr) in come {
                    worker.check_addresses(link, &[addr], now);
                }
            });
        }
    }

    /// Changes the living tables.
    fn live(&self, actions: Vec<LiveAction>) {
        if actions.is_empty() {
            return;
        }
        self.desk.first(move |worker, now| {
            worker.change_neighbors(now, |table, out| {
                for action in actions {
                    match action {
                        LiveAction::RemoveNeighbor { link, ip } => {
                            table.remove(link, ip, now, out);
                        }
                        LiveAction::SetNeighbor { link, ip, mac, state } => {
                            table.set(link, ip, mac, state, now, out);
                        }
                    }
                }
            });
        });
    }

    /// Puts in force the routes that the links' condition leaves.
    fn follow_links(&mut self) {
        for link in self.gone.take() {
            let ended = self.router.link_gone(link);
            if ended > 0 {
                tracing::debug!("{link}: {ended} flows ended that had its address");
            }
        }
        self.follow();
    }

    /// `false` if the routes in force are right already.
    fn follow(&mut self) -> bool {
        let snapshot = self.router.snapshot();
        let states = &self.router.live().states;
        let same = |l: &crate::link::Link| self.up.get(l.id.index()) == Some(&states.is_up(l.id));
        if snapshot.links.iter().all(same) {
            return false;
        }
        for link in snapshot.links.iter().filter(|l| !same(l)) {
            self.hub.link(link, states.is_up(link.id), self.clock.now());
        }
        let setup = self.setup.load_full();
        self.up = self.links_up();
        let up = &self.up;
        let usable = |link: LinkId| up.get(link.index()).copied().unwrap_or(false);
        let fib = Arc::new(snapshot.fib.after(&setup.rib, &snapshot.links, usable));
        self.router.replace(Snapshot { fib, ..Snapshot::clone(&snapshot) });
        true
    }
}

/// What the local stack offers.
pub(super) fn services(config: &Config) -> Services {
    Services { echo: config.services.echo, discard: config.services.discard }
}

#[cfg(test)]
mod tests;
