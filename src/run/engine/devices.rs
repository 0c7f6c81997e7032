//! The devices of links that come, go, or are to be opened otherwise.
//!
//! What is new is opened before anything changes. A device that one link gives up and another takes, or that is to be
//! opened with other settings, has to be closed first: if it can't be opened then, it is opened again as it was. If that
//! can't be either, the link stays without a device, and is tried again now and then ([`Devices::take_up`]). Another MTU is
//! set while the device is open. Links whose device stays as it is are not touched. Knows nothing of routes or rules.

use std::collections::VecDeque;

use crate::base::LinkId;
use crate::config::{Config, LinkConfig, Refusal, Setup};
use crate::io::{DeviceSpec, Port};
use crate::link::LinkKind;
use crate::packet::Steering;
use crate::router::Router;

use crate::run::desk::{Desk, NotSet};

/// How devices are opened.
pub(in crate::run) struct Devices {
    steering: Steering,
    /// Links in force whose devices could not be opened again, the one that is tried next first.
    closed: VecDeque<String>,
}

/// Links that are tried to be taken up at a time: a device that is in use is waited for.
const TRIED: usize = 4;

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
        Devices { steering, closed: VecDeque::new() }
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
        // Those without a device stay so: whoever changes something else has nothing to do with it.
        let stays = |l: &LinkConfig, other: &Config| {
            let own = self.spec(l);
            other.links.iter().any(|o| DeviceSpec { mtu: own.mtu, ..self.spec(o) } == own)
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
        let lengths: Vec<_> =
            next.config.links.iter().filter_map(|l| self.other_mtu(l, before, &stays)).collect();
        if let Err(why) = set_mtus(&lengths, desk) {
            drop(opened);
            return Err(self.restore(before, &first, desk, why));
        }
        let opened_now: Vec<LinkId> = opened.come.iter().map(|(id, _)| *id).collect();
        self.closed.retain(|name| next.links.named(name).is_some_and(|l| !opened_now.contains(&l.id)));
        Ok(opened)
    }

    /// Whether the devices that [`Devices::open`] would open, or give another MTU, are there and could be, as far as that can
    /// be seen without doing it.
    pub(in crate::run) fn look(&self, before: &Setup, next: &Setup) -> Result<(), Refusal> {
        for link in &next.config.links {
            let spec = self.spec(link);
            // One that is ours already is given up first.
            let ours = before.config.links.iter().any(|o| o.device == link.device);
            let stays = before.config.links.iter().any(|o| self.spec(o) == spec);
            if !stays && (spec.kind == LinkKind::Packet || !ours) {
                crate::io::look(&spec).map_err(|e| refusal(link, &e))?;
            }
        }
        Ok(())
    }

    /// The link, if all that is different of its device is the MTU: that before, and that it is to have.
    fn other_mtu<'a>(
        &self,
        l: &'a LinkConfig,
        before: &Setup,
        stays: &impl Fn(&LinkConfig, &Config) -> bool,
    ) -> Option<OtherMtu<'a>> {
        let old = before.config.links.iter().find(|o| o.name == l.name && o.mtu != l.mtu)?;
        let id = before.links.named(&l.name)?.id;
        let open = stays(l, &before.config) && !self.closed.contains(&l.name);
        open.then_some(OtherMtu { link: l, id, before: old.mtu })
    }

    /// Whether links are without a device.
    pub(in crate::run) fn some_closed(&self) -> bool {
        !self.closed.is_empty()
    }

    /// Tries to open what could not be opened, a few links at a time.
    pub(in crate::run) fn take_up(&mut self, setup: &Setup, desk: &Desk) {
        for _ in 0..self.closed.len().min(TRIED) {
            let Some(name) = self.closed.pop_front() else { return };
            let link = setup.config.links.iter().find(|l| l.name == name);
            let Some((link, id)) = link.zip(setup.links.named(&name).map(|l| l.id)) else { continue };
            // Nobody is waited for: there is a next time.
            match crate::io::open_now(&self.spec(link), self.steering.workers as usize) {
                Ok(ports) => {
                    tracing::info!("link {name}: its device could be opened again");
                    desk.attach(id, ports);
                }
                // It was said when it began.
                Err(_) => self.closed.push_back(name),
            }
        }
    }

    /// Opens again what was closed.
    fn restore(&mut self, before: &Setup, links: &[&LinkConfig], desk: &Desk, mut why: Refusal) -> Refusal {
        for link in links {
            let Some(id) = before.links.named(&link.name).map(|l| l.id) else { continue };
            match self.open_one(link) {
                Ok(ports) => {
                    self.closed.retain(|name| *name != link.name);
                    desk.attach(id, ports);
                }
                Err(e) => {
                    if !self.closed.contains(&link.name) {
                        self.closed.push_back(link.name.clone());
                    }
                    tracing::error!(
                        "link {}: can't be opened again as it was, and is tried again until it can: {e}",
                        link.name
                    );
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

/// A link whose device is to have another MTU.
struct OtherMtu<'a> {
    link: &'a LinkConfig,
    id: LinkId,
    before: u32,
}

/// Sets all, or none. Before the setup is in force, so that nothing of it is if a device won't: a higher one is there before
/// anybody knows of it, and with a lower one the device takes what is longer until nobody has it any more
/// ([`Opened::in_force`]'s caller says when).
fn set_mtus(all: &[OtherMtu<'_>], desk: &Desk) -> Result<(), Refusal> {
    for (n, other) in all.iter().enumerate() {
        let Err(no) = desk.set_mtu(other.id, other.link.mtu) else { continue };
        // What nobody can say of one may have been done.
        let undecided = usize::from(matches!(no, NotSet::Undecided(_)));
        for done in all.iter().take(n + undecided) {
            if let Err(e) = desk.set_mtu_back(done.id, done.before) {
                tracing::error!("link {}: its MTU is not what it was: {e}", done.link.name);
            }
            desk.shorten(done.id);
        }
        return Err(match no {
            NotSet::Device(e) => refusal(other.link, &e),
            late => Refusal::of("ETIMEDOUT", format!("link {}: {late}", other.link.name)),
        });
    }
    Ok(())
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
        OpenError::Mtu { .. } => Some("EINVAL"),
        _ => None,
    };
    Refusal { text: format!("link {}: {e}", link.name), errno }
}
