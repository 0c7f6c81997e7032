//! `ip link add`, `set`, `del`.

use super::super::meant::{LINKS, MTU, MTU_IPV6, mtus, no_device_name, no_interface_name, not_a_station};
use super::super::{LinkChange, LinkConfig, LinkSettings, Refusal};
use super::Draft;
use super::addr::{LO, link_local};
use crate::base::Mac;
use crate::link::{Driver, LinkKind, RpFilter};

impl Draft<'_> {
    pub(super) fn link(&mut self, change: &LinkChange) -> Result<(), Refusal> {
        self.settle()?;
        // Links get other places, and addresses with them.
        self.owned = None;
        match change {
            LinkChange::Add { name, kind, settings } => self.add_link(name, kind, settings),
            LinkChange::Set { name, settings } => self.set_link(name, settings),
            LinkChange::Delete { name } => self.delete_link(name),
        }
    }

    fn add_link(&mut self, name: &str, kind: &str, s: &LinkSettings) -> Result<(), Refusal> {
        let invalid = |text: String| Err(Refusal::of("EINVAL", text));
        if let Some(bad) = no_interface_name(name) {
            return invalid(format!("the name '{}' {bad}", name.escape_debug()));
        }
        if self.links.named(name).is_some() {
            return Err(Refusal::of("EEXIST", format!("there is a link {name} already")));
        }
        if self.config.links.len() >= LINKS {
            return Err(Refusal::of("ENOSPC", format!("there are {LINKS} links already, which is the most")));
        }
        let kinds = [LinkKind::Packet, LinkKind::Tap, LinkKind::Tun];
        let Some(kind) = kinds.into_iter().find(|k| k.name() == kind) else {
            let text = format!("there are no links of type '{}'", kind.escape_debug());
            return Err(Refusal::of("EOPNOTSUPP", format!("{text}: the types are packet, tap and tun")));
        };
        let device = s.device.clone().unwrap_or_else(|| name.to_owned());
        if let Some(bad) = no_device_name(&device, Some(kind)) {
            return invalid(format!("the device '{}' {bad}", device.escape_debug()));
        }
        if let Some(other) = self.config.links.iter().find(|l| l.device == device) {
            let text = format!("the device {device} is already {}'s: name another", other.name);
            return Err(Refusal::of("EBUSY", text));
        }
        let mut link = LinkConfig {
            line: 0,
            name: name.to_owned(),
            kind,
            device,
            mac: (kind != LinkKind::Tun).then(|| Mac::stable(&[&self.config.name, name])),
            mtu: MTU,
            addresses: Vec::new(),
            rp_filter: RpFilter::default(),
            redirects: true,
            up: s.up.unwrap_or(true),
            queues: None,
            offload: true,
            driver: Driver::default(),
            persist: false,
            owner: None,
            group: None,
        };
        set(&mut link, s)?;
        link.addresses.extend(link_local(&link));
        self.config.links.push(link);
        self.relinked = true;
        self.relink().map(drop)
    }

    fn set_link(&mut self, name: &str, s: &LinkSettings) -> Result<(), Refusal> {
        if name == LO {
            if *s == (LinkSettings { up: Some(true), ..LinkSettings::default() }) {
                return Ok(());
            }
            return Err(Refusal::of("EOPNOTSUPP", "lo is as it is: it can't be set to anything else"));
        }
        let i = self.index(name)?;
        if s.device.is_some() {
            let text = "a link keeps its device: delete it and add it with the other one";
            return Err(Refusal::of("EOPNOTSUPP", text));
        }
        let mut link = self.config.links[i].clone();
        let listed = link.made_link_local();
        let lists_v6 =
            |l: &LinkConfig| l.addresses.iter().find(|a| a.addr.is_ipv6() && Some(**a) != listed).copied();
        set(&mut link, s)?;
        if link.mtu < MTU_IPV6
            && let Some(v6) = lists_v6(&link)
        {
            let text =
                format!("{} is too small for {} on {name}: IPv6 needs {MTU_IPV6} or more", link.mtu, v6.addr);
            return Err(Refusal::of("EINVAL", text));
        }
        if self.config.links[i] == link {
            return Ok(());
        }
        // The link-local address follows the MAC, goes where IPv6 can't be and comes when it can (`addrconf_notify`).
        let (had, made) = (listed.is_some_and(|a| link.addresses.contains(&a)), link.made_link_local());
        if made != listed && (had || listed.is_none()) {
            link.addresses.retain(|a| Some(*a) != listed);
            link.addresses.extend(link_local(&link));
        }
        self.config.links[i] = link;
        let before = self.relink()?;
        self.prune(&before, |_, _| false);
        Ok(())
    }

    fn delete_link(&mut self, name: &str) -> Result<(), Refusal> {
        if name == LO {
            return Err(Refusal::of("EOPNOTSUPP", "lo is always there"));
        }
        let i = self.index(name)?;
        self.config.links.remove(i);
        self.neighbors.retain(|n| n.dev != name);
        self.relinked = true;
        let before = self.relink()?;
        self.prune(&before, |_, _| false);
        Ok(())
    }
}

/// Sets what is asked, if it can be.
fn set(link: &mut LinkConfig, s: &LinkSettings) -> Result<(), Refusal> {
    let invalid = |text: String| Err(Refusal::of("EINVAL", text));
    if let Some(mtu) = s.mtu {
        let range = mtus(Some(link.kind));
        if !range.contains(&mtu) {
            let (low, high) = range.into_inner();
            return invalid(format!("the MTU {mtu} is out of range: {low} to {high}"));
        }
        link.mtu = mtu;
    }
    if let Some(mac) = s.mac {
        if link.mac.is_none() {
            let text = format!("{} is a {} link, which has no MAC", link.name, link.kind.name());
            return Err(Refusal::of("EOPNOTSUPP", text));
        }
        if let Some(bad) = not_a_station(mac) {
            return Err(Refusal::of("EADDRNOTAVAIL", bad));
        }
        link.mac = Some(mac);
    }
    link.up = s.up.unwrap_or(link.up);
    Ok(())
}
