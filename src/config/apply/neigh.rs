//! `ip neigh add`, `replace`, `change`, `del`, `flush`: permanent ones in the configuration, others for whoever has the
//! living table.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::super::meant::{NEIGHBORS, not_a_host, not_a_station};
use super::super::{LiveAction, NeighChange, NeighborConfig, Refusal};
use super::addr::LO;
use super::owned::{Owner, is_link_local};
use super::{Draft, Left};
use crate::base::Mac;
use crate::control::protocol::NeighborFilter;
use crate::neighbor::Nud;

/// States that somebody can put a neighbor into.
const STATES: [(&str, Nud); 6] = [
    ("permanent", Nud::Permanent),
    ("reachable", Nud::Reachable),
    ("stale", Nud::Stale),
    ("delay", Nud::Delay),
    ("probe", Nud::Probe),
    ("failed", Nud::Failed),
];

impl Draft<'_> {
    pub(super) fn neigh(&mut self, change: &NeighChange) -> Result<(), Refusal> {
        match change {
            NeighChange::Set { ip, dev, mac, state, create, replace } => {
                let Some((_, state)) = STATES.into_iter().find(|(name, _)| name == state) else {
                    let text = format!("a neighbor can't be put into state '{}'", state.escape_debug());
                    let names: Vec<_> = STATES.iter().map(|(name, _)| *name).collect();
                    return Err(Refusal::of("EINVAL", format!("{text}: write one of {}", names.join(", "))));
                };
                self.set_neighbor(*ip, dev, mac.as_deref(), state, (*create, *replace))
            }
            NeighChange::Delete { ip, dev } => {
                self.has_neighbors(dev)?;
                let fixed = self.neighbors.remove(*ip, dev);
                if !fixed && self.left(dev, *ip) == Left::Nothing {
                    return Err(Refusal::of("ENOENT", format!("there is no neighbor {ip} on {dev}")));
                }
                self.forget(dev, *ip);
                Ok(())
            }
            NeighChange::Flush(filter) => self.flush_neighbors(filter),
        }
    }

    /// The link, if stations on it have MACs.
    fn has_neighbors(&self, dev: &str) -> Result<(), Refusal> {
        if dev == LO {
            return Err(Refusal::of("EINVAL", "there are no neighbors on lo"));
        }
        let link = &self.config.links[self.index(dev)?];
        match link.mac {
            Some(_) => Ok(()),
            None => {
                let text = format!("{dev} is a {} link, and neighbors have no MAC there", link.kind.name());
                Err(Refusal::of("EINVAL", text))
            }
        }
    }

    fn set_neighbor(
        &mut self,
        ip: IpAddr,
        dev: &str,
        mac: Option<&str>,
        state: Nud,
        (create, replace): (bool, bool),
    ) -> Result<(), Refusal> {
        self.has_neighbors(dev)?;
        let invalid = |text: String| Err(Refusal::of("EINVAL", text));
        if let Some(why) = not_a_host(ip) {
            return invalid(format!("{ip} {why}: the address of a host is expected"));
        }
        let here = Owner::Link(self.index(dev)?);
        let ours = self.owned().owners(ip);
        if !ours.is_empty() && (!is_link_local(ip) || ours.iter().any(|(owner, _)| *owner == here)) {
            return invalid(format!("{ip} is this router's own address, not a neighbor's"));
        }
        let Ok(mac) = mac.map(str::parse::<Mac>).transpose() else {
            return invalid("that is no MAC: write one like 02:00:00:00:01:01".into());
        };
        // As the kernel, which looks it up before it looks at its MAC (`neigh_add`).
        let there = self.there(dev, ip);
        if there == Left::Nothing && !create {
            return Err(Refusal::of("ENOENT", format!("there is no neighbor {ip} on {dev}: add it")));
        }
        if there != Left::Nothing && !replace {
            let text = format!("{ip} on {dev} is a neighbor already: replace it, or delete it first");
            return Err(Refusal::of("EEXIST", text));
        }
        if let Some(bad) = mac.and_then(not_a_station) {
            return invalid(bad);
        }
        let mac = match there {
            // The one that it has (`__neigh_update`).
            Left::There(has) if mac.is_none() && state != Nud::Failed => has,
            _ => mac,
        };
        if mac.is_none() && state != Nud::Failed {
            return invalid("give the neighbor's MAC behind lladdr".into());
        }
        let wanted = (state == Nud::Permanent).then_some(mac).flatten();
        let full = self.neighbors.len() >= NEIGHBORS;
        match (self.neighbors.get_mut(ip, dev), wanted) {
            (Some(n), Some(mac)) => n.mac = mac,
            (Some(_), None) => drop(self.neighbors.remove(ip, dev)),
            (None, Some(_)) if full => {
                return Err(Refusal::of(
                    "ENOBUFS",
                    format!("there are {NEIGHBORS} static neighbors already"),
                ));
            }
            (None, Some(mac)) => {
                self.neighbors.push(NeighborConfig { line: 0, ip, mac, dev: dev.to_owned() });
            }
            (None, None) => {}
        }
        if let Some(link) = self.links.named(dev).map(|l| l.id) {
            self.lives.insert((link, ip), Left::There(mac.filter(|_| state.is_valid())));
            self.live.push(LiveAction::SetNeighbor { link, ip, mac, state });
        }
        Ok(())
    }

    /// What there is of a neighbor, as far as it is known before the change.
    fn there(&self, dev: &str, ip: IpAddr) -> Left {
        match self.neighbors.with(ip).find(|n| n.dev == dev) {
            Some(fixed) => Left::There(Some(fixed.mac)),
            None => self.left(dev, ip),
        }
    }

    /// Likewise, in the living table.
    fn left(&self, dev: &str, ip: IpAddr) -> Left {
        let Some(on) = self.links.named(dev).map(|l| l.id) else { return Left::Nothing };
        let living = || self.living.neighbors.get(on, ip, self.living.now);
        let said = self.lives.get(&(on, ip)).copied();
        said.unwrap_or_else(|| living().map_or(Left::Nothing, |n| Left::There(n.mac)))
    }

    fn forget(&mut self, dev: &str, ip: IpAddr) {
        if let Some(link) = self.links.named(dev).map(|l| l.id) {
            self.lives.insert((link, ip), Left::Nothing);
            self.live.push(LiveAction::RemoveNeighbor { link, ip });
        }
    }

    fn flush_neighbors(&mut self, filter: &NeighborFilter) -> Result<(), Refusal> {
        filter.check()?;
        if let Some(dev) = &filter.dev
            && self.links.named(dev).is_none()
        {
            return Err(self.no_link(dev));
        }
        // As iproute2: those that somebody fixed go only if they are asked for by state.
        if filter.states.iter().any(|s| s == Nud::Permanent.name()) {
            self.neighbors.retain(|n| !filter.chooses(n.ip, Some(&n.dev), Nud::Permanent.name()));
        }
        // The living table as it will be after what was asked before.
        let entries = self.living.neighbors.entries(self.living.now);
        let mut there: BTreeMap<_, _> = entries.into_iter().map(|n| ((n.link, n.ip), n.state)).collect();
        for action in &self.live {
            match action {
                LiveAction::SetNeighbor { link, ip, state, .. } => there.insert((*link, *ip), *state),
                LiveAction::RemoveNeighbor { link, ip } => there.remove(&(*link, *ip)),
            };
        }
        let name = |id| self.links.get(id).map(|l| l.name.as_str());
        for ((link, ip), state) in there {
            let kept = state == Nud::Permanent && filter.states.is_empty();
            if !kept && filter.chooses(ip, name(link), state.name()) {
                self.lives.insert((link, ip), Left::Nothing);
                self.live.push(LiveAction::RemoveNeighbor { link, ip });
            }
        }
        Ok(())
    }
}
