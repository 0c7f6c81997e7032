//! The devices of links that come, go, or are to be opened otherwise.
//!
//! What is new is opened before anything changes. A device that one link gives up and another takes, or that is to be
//! opened with other settings, has to be closed first: if it can't be opened then, it is opened again as it was. Links
//! whose device stays as it is are not touched. Knows nothing of routes or rules.

use std::collections::BTreeSet;

use crate::base::LinkId;
use crate::config::{Config, LinkConfig, Refusal, Setup};
use crate::io::{DeviceSpec, Port};
use crate::packet::Steering;
use crate::router::Router;

use crate::run::desk::Desk;

/// How devices are opened.
pub(in crate::run) struct Devices {
    steering: Steering,
    /// Links in force whose devices could not be opened again: the next transaction tries.
    closed: BTreeSet<String>,
}

/// The ports of one link, one for each worker.
type Ports = Vec<Box<dyn Port>>;

/// Devices that are open, for links that are not yet in force.
pub(in crate::run) struct Opened {
    come: Vec<(LinkId, Ports)>,
    /// Those of these places are open no more.
    closed: Vec<LinkId>,
    notes: Vec<String>,
}

impl Devices {
    pub(in crate::run) fn new(steering: Steering) -> Self {
        Devices { steering, closed: BTreeSet::new() }
    }

    /// Opens the device of a link.
    pub(in crate::run) fn open_one(&self, link: &LinkConfig) -> Result<Ports, crate::io::OpenError> {
        crate::io::open(&self.spec(link), self.steering.workers as usize)
    }

    /// Opens what `next` has and `before` has not. On an error all is as it was.
    pub(in crate::run) fn open(
        &mut self,
        before: &Setup,
        next: &Setup,
        desk: &Desk,
    ) -> Result<Opened, Refusal> {
        let stays = |l: &LinkConfig, other: &Config| {
            !self.closed.contains(&l.name) && other.links.iter().any(|o| self.spec(o) == self.spec(l))
        };
        let come: Vec<&LinkConfig> = next.config.links.iter().filter(|l| !stays(l, &before.config)).collect();
        let go: Vec<&LinkConfig> = before.config.links.iter().filter(|l| !stays(l, &next.config)).collect();
        let held = |l: &LinkConfig| go.iter().any(|g| g.device == l.device || g.name == l.name);
        let (late, early): (Vec<&LinkConfig>, Vec<&LinkConfig>) = come.into_iter().partition(|l| held(l));
        let mut opened = Opened { come: Vec::new(), closed: Vec::new(), notes: Vec::new() };
        for link in early {
            let ports = self.open_one(link).map_err(|e| refusal(link, &e))?;
            opened.add(next, link, ports);
        }
        let needed = |g: &&&LinkConfig| late.iter().any(|l| g.device == l.device || g.name == l.name);
        let first: Vec<&LinkConfig> = go.iter().filter(needed).copied().collect();
        for link in &first {
            if let Some(id) = before.links.named(&link.name).map(|l| l.id) {
                desk.detach(id);
                opened.closed.push(id);
            }
        }
        for link in late {
            match self.open_one(link) {
                Ok(ports) => {
                    opened.notes.push(format!("link {}: its device was opened anew", link.name));
                    opened.add(next, link, ports);
                }
                Err(e) => {
                    let why = refusal(link, &e);
                    // What was opened in vain is closed before its old owner comes back.
                    drop(opened);
                    return Err(self.restore(before, &first, desk, why));
                }
            }
        }
        self.closed.retain(|name| next.config.links.iter().all(|l| l.name != *name));
        Ok(opened)
    }

    /// Opens again what was closed.
    fn restore(&mut self, before: &Setup, links: &[&LinkConfig], desk: &Desk, mut why: Refusal) -> Refusal {
        for link in links {
            let Some(id) = before.links.named(&link.name).map(|l| l.id) else { continue };
            match self.open_one(link) {
                Ok(ports) => {
                    self.closed.remove(&link.name);
                    desk.attach(id, ports);
                }
                Err(e) => {
                    self.closed.insert(link.name.clone());
                    tracing::error!("link {}: can't be opened again as it was: {e}", link.name);
                    why.text += &format!("; and link {} could not be opened again as it was: {e}", link.name);
                }
            }
        }
        why
    }

    /// The device side of a link.
    fn spec(&self, l: &LinkConfig) -> DeviceSpec {
        let workers = self.steering.workers as usize;
        DeviceSpec {
            kind: l.kind,
            name: l.name.clone(),
            device: l.device.clone(),
            mac: l.mac,
            mtu: l.mtu,
            queues: l.queues.unwrap_or(workers).min(workers),
            steering: self.steering,
            offload: l.offload,
            driver: l.driver,
            persist: l.persist,
            owner: l.owner,
            group: l.group,
        }
    }
}

impl Opened {
    fn add(&mut self, next: &Setup, link: &LinkConfig, ports: Ports) {
        if let Some(link) = next.links.named(&link.name) {
            self.come.push((link.id, ports));
        }
    }

    /// The setup they were opened for is in force: the workers take them up, and lay down those of links that are gone.
    /// Gives what there is to say.
    pub(in crate::run) fn in_force(
        self,
        before: &Setup,
        next: &Setup,
        desk: &Desk,
        router: &Router,
    ) -> Vec<String> {
        let gone = |id: LinkId, name: &str| next.links.get(id).is_none_or(|l| l.name != name);
        for link in before.links.iter().filter(|l| gone(l.id, &l.name)) {
            let id = link.id;
            if !self.closed.contains(&id) {
                desk.detach(id);
            }
            // Permanent neighbors too: whoever is at this place next is somebody else.
            desk.first(move |worker, now| {
                worker.change_neighbors(now, |table, out| {
                    for n in table.entries(now).into_iter().filter(|n| n.link == id) {
                        table.remove(id, n.ip, now, out);
                    }
                });
            });
            router.link_gone(id);
            router.live().states.set_driver(id, None);
        }
        for (id, ports) in self.come {
            desk.attach(id, ports);
        }
        for link in next.links.iter() {
            let was = before.links.get(link.id).filter(|b| b.name == link.name).map(|b| b.up);
            if was.is_some_and(|was| was != link.up) {
                desk.look();
                if !link.up {
                    router.link_gone(link.id);
                }
            }
        }
        self.notes
    }
}

fn refusal(link: &LinkConfig, e: &crate::io::OpenError) -> Refusal {
    use crate::io::OpenError;
    let errno = match e {
        OpenError::NoDevice(_) | OpenError::NoTunDevice => Some("ENODEV"),
        OpenError::Busy(_) => Some("EBUSY"),
        OpenError::NoRawSockets | OpenError::TunPermission(_) | OpenError::TunAccess => Some("EPERM"),
        OpenError::OtherKind { .. } => Some("EEXIST"),
        _ => None,
    };
    Refusal { text: format!("link {}: {e}", link.name), errno }
}
