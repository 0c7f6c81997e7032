//! Hosts and the wires between them, from one description.
//!
//! ```text
//!   Plan ── build() ──►  Topology
//!   space "client" ─┐      client ┌──────┐ eth0          lan ┌────────┐
//!   space "router"  ├─►           │ Netns├──────veth─────────┤ Netns  │ router
//!   wire, route …  ─┘             └──────┘                   └────────┘
//! ```
//!
//! Wires are veth pairs that are born with each end in its namespace, so nothing is ever seen outside.
//! Knows nothing of what the hosts do.

use std::fs;
use std::io;
use std::net::IpAddr;
use std::ops::Index;
use std::os::fd::AsFd as _;
use std::thread;
use std::time::{Duration, Instant};

use ipnet::IpNet;

use super::netns::{Netns, NetnsError, ethtool_set};
use crate::base::Mac;
use crate::io::netlink::{Netlink, NetlinkError, Refusal, Veth};

/// Something in the lab could not be set up or taken down.
#[derive(Debug, thiserror::Error)]
pub enum LabError {
    /// A namespace.
    #[error(transparent)]
    Netns(#[from] NetnsError),
    /// A device, an address or a route.
    #[error("{space}: {source}")]
    Netlink {
        /// The namespace.
        space: String,
        /// What the kernel said.
        #[source]
        source: NetlinkError,
    },
    /// A setting.
    #[error("{space}: can't set {what}: {source}")]
    Setting {
        /// The namespace.
        space: String,
        /// The sysctl or device feature.
        what: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A name that stands for nothing.
    #[error("the plan has no space named '{0}'")]
    NoSpace(String),
    /// A wire that did not come up.
    #[error("{space}: {device} is not ready after {} s", READY_DEADLINE.as_secs())]
    NotReady {
        /// The namespace.
        space: String,
        /// The device.
        device: String,
    },
}

/// A description of hosts and wires.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    spaces: Vec<String>,
    wires: Vec<[End; 2]>,
    routes: Vec<Route>,
    refusals: Vec<(String, IpNet, Refusal)>,
    neighbors: Vec<Neighbor>,
    sysctls: Vec<Sysctl>,
}

/// One end of a wire.
#[derive(Debug, Clone)]
pub struct End {
    space: String,
    device: String,
    mac: Option<Mac>,
    mtu: Option<u32>,
    addresses: Vec<IpNet>,
    offload: bool,
    queues: u32,
}

#[derive(Debug, Clone)]
struct Route {
    space: String,
    to: IpNet,
    via: IpAddr,
    device: Option<String>,
    /// And whether it is locked.
    mtu: Option<(u32, bool)>,
}

#[derive(Debug, Clone)]
struct Neighbor {
    space: String,
    device: String,
    ip: IpAddr,
    mac: Mac,
}

#[derive(Debug, Clone)]
struct Sysctl {
    space: String,
    path: String,
    value: String,
}

impl End {
    /// The device `device` in the namespace `space`.
    pub fn new(space: &str, device: &str) -> Self {
        End {
            space: space.into(),
            device: device.into(),
            mac: None,
            mtu: None,
            addresses: Vec::new(),
            offload: true,
            queues: 1,
        }
    }

    /// Its MAC; otherwise the kernel makes one up.
    pub fn mac(mut self, mac: Mac) -> Self {
        self.mac = Some(mac);
        self
    }

    /// Its MTU; otherwise 1500.
    pub fn mtu(mut self, mtu: u32) -> Self {
        self.mtu = Some(mtu);
        self
    }

    /// One more address, with its prefix.
    pub fn address(mut self, address: IpNet) -> Self {
        self.addresses.push(address);
        self
    }

    /// Whether the host leaves checksums and segmentation to the device, as it does by default.
    pub fn offload(mut self, on: bool) -> Self {
        self.offload = on;
        self
    }

    /// Its transmit and receive queues, otherwise one of each. Both ends of a wire have as many: the more of the two.
    pub fn queues(mut self, queues: u32) -> Self {
        self.queues = queues;
        self
    }
}

impl Plan {
    /// An empty one.
    pub fn new() -> Self {
        Plan::default()
    }

    /// One more namespace.
    pub fn space(mut self, name: &str) -> Self {
        self.spaces.push(name.into());
        self
    }

    /// One more wire. Its number, for [`Topology::unplug`], is its place among the wires.
    pub fn wire(mut self, a: End, b: End) -> Self {
        self.wires.push([a, b]);
        self
    }

    /// One more route of a namespace's kernel.
    pub fn route(mut self, space: &str, to: IpNet, via: IpAddr) -> Self {
        self.routes.push(Route { space: space.into(), to, via, device: None, mtu: None });
        self
    }

    /// The same by way of a device, which a link-local next hop needs.
    pub fn route_on(mut self, space: &str, to: IpNet, via: IpAddr, device: &str) -> Self {
        self.routes.push(Route { space: space.into(), to, via, device: Some(device.into()), mtu: None });
        self
    }

    /// The last route that was added has an MTU of its own, locked or not.
    pub fn route_mtu(mut self, mtu: u32, lock: bool) -> Self {
        if let Some(route) = self.routes.last_mut() {
            route.mtu = Some((mtu, lock));
        }
        self
    }

    /// One more route of a namespace's kernel that leads nowhere.
    pub fn refuse(mut self, space: &str, to: IpNet, how: Refusal) -> Self {
        self.refusals.push((space.into(), to, how));
        self
    }

    /// One more static neighbor of a namespace's kernel.
    pub fn neighbor(mut self, space: &str, device: &str, ip: IpAddr, mac: Mac) -> Self {
        self.neighbors.push(Neighbor { space: space.into(), device: device.into(), ip, mac });
        self
    }

    /// A setting under /proc/sys of a namespace, as in `net/ipv4/ip_forward`. Made before the wires, so
    /// that `default` reaches the devices; one that names a device is made after.
    pub fn sysctl(mut self, space: &str, path: &str, value: &str) -> Self {
        self.sysctls.push(Sysctl { space: space.into(), path: path.into(), value: value.into() });
        self
    }

    /// Makes it all, and returns when every wire carries frames and every address can be used.
    pub fn build(self) -> Result<Topology, LabError> {
        let spaces = self.spaces.iter().map(|n| Netns::new(n)).collect::<Result<Vec<_>, _>>()?;
        let topology = Topology { plan: self, spaces };
        for space in &topology.spaces {
            space.run(|| skip_duplicate_detection(space));
        }
        topology.apply_sysctls(false)?;
        for wire in 0..topology.plan.wires.len() {
            topology.connect(wire)?;
        }
        topology.apply_sysctls(true)?;
        topology.apply_routes(|_| true)?;
        for (space, to, how) in &topology.plan.refusals {
            topology.with(space, |netlink| netlink.route_refuse(*to, *how))?;
        }
        for wire in 0..topology.plan.wires.len() {
            topology.wait_ready(wire)?;
        }
        Ok(topology)
    }
}

/// Namespaces and wires that exist. They are gone when this is dropped and nothing runs inside.
#[derive(Debug)]
pub struct Topology {
    plan: Plan,
    spaces: Vec<Netns>,
}

impl Index<&str> for Topology {
    type Output = Netns;

    /// # Panics
    ///
    /// If the plan has no space of that name.
    fn index(&self, name: &str) -> &Netns {
        match self.named(name) {
            Ok(space) => space,
            Err(e) => panic!("{e}"),
        }
    }
}

impl Topology {
    /// Deletes a wire: both its devices are gone, with their addresses and routes.
    pub fn unplug(&self, wire: usize) -> Result<(), LabError> {
        let end = &self.plan.wires[wire][0];
        self.with(&end.space, |netlink| {
            let index = netlink.link_index(&end.device)?;
            netlink.link_del(index)
        })
    }

    /// Makes an unplugged wire again, with its addresses and routes.
    pub fn plug(&self, wire: usize) -> Result<(), LabError> {
        self.connect(wire)?;
        self.apply_sysctls(true)?;
        let ends = &self.plan.wires[wire];
        self.apply_routes(|space| ends.iter().any(|e| e.space == space))?;
        self.wait_ready(wire)
    }

    /// Sets a device up or down.
    pub fn set_up(&self, space: &str, device: &str, up: bool) -> Result<(), LabError> {
        self.with(space, |netlink| {
            let index = netlink.link_index(device)?;
            if up { netlink.set_up(index) } else { netlink.set_down(index) }
        })
    }

    /// Gives a device another MTU.
    pub fn set_mtu(&self, space: &str, device: &str, mtu: u32) -> Result<(), LabError> {
        self.with(space, |netlink| {
            let index = netlink.link_index(device)?;
            netlink.set_mtu(index, mtu)
        })
    }

    /// Takes the wires down one by one and says what went wrong; without it they go when the
    /// namespaces do, unseen.
    pub fn teardown(self) -> Vec<LabError> {
        let unplugged = (0..self.plan.wires.len()).map(|wire| self.unplug(wire));
        // A wire that is unplugged already is what was wanted.
        let missing = |e: &LabError| matches!(e, LabError::Netlink { source, .. } if source.is_missing());
        unplugged.filter_map(Result::err).filter(|e| !missing(e)).collect()
    }

    fn named(&self, name: &str) -> Result<&Netns, LabError> {
        self.spaces.iter().find(|s| s.name() == name).ok_or_else(|| LabError::NoSpace(name.into()))
    }

    /// Speaks netlink in a namespace.
    fn with<T: Send>(
        &self,
        space: &str,
        f: impl FnOnce(&mut Netlink) -> Result<T, NetlinkError> + Send,
    ) -> Result<T, LabError> {
        let speak = || Netlink::open().and_then(|mut netlink| f(&mut netlink));
        self.named(space)?.run(speak).map_err(|source| LabError::Netlink { space: space.into(), source })
    }

    fn connect(&self, wire: usize) -> Result<(), LabError> {
        let [a, b] = &self.plan.wires[wire];
        let far = self.named(&b.space)?;
        let veth = Veth {
            name: &a.device,
            peer: &b.device,
            peer_netns: Some(far.as_fd()),
            queues: a.queues.max(b.queues),
        };
        self.with(&a.space, |netlink| netlink.link_add_veth_with(&veth))?;
        for end in [a, b] {
            if !end.offload {
                self.without_offload(end)?;
            }
            self.with(&end.space, |netlink| {
                let index = netlink.link_index(&end.device)?;
                end.mac.map_or(Ok(()), |mac| netlink.set_mac(index, mac))?;
                end.mtu.map_or(Ok(()), |mtu| netlink.set_mtu(index, mtu))?;
                netlink.set_up(index)?;
                end.addresses.iter().try_for_each(|a| netlink.addr_add(index, *a))
            })?;
        }
        for n in self
            .plan
            .neighbors
            .iter()
            .filter(|n| [a, b].iter().any(|end| end.space == n.space && end.device == n.device))
        {
            self.with(&n.space, |netlink| {
                let index = netlink.link_index(&n.device)?;
                netlink.neigh_add(index, n.ip, n.mac)
            })?;
        }
        Ok(())
    }

    fn without_offload(&self, end: &End) -> Result<(), LabError> {
        self.named(&end.space)?.run(|| {
            OFFLOADS.iter().try_for_each(|(what, command)| {
                ethtool_set(&end.device, *command, 0).map_err(|source| LabError::Setting {
                    space: end.space.clone(),
                    what: format!("{what} of {}", end.device),
                    source,
                })
            })
        })
    }

    /// The settings that name a device of the plan, or the others.
    fn apply_sysctls(&self, of_devices: bool) -> Result<(), LabError> {
        let names_device = |s: &&Sysctl| {
            let ends = self.plan.wires.iter().flatten();
            ends.filter(|e| e.space == s.space).any(|e| s.path.split('/').any(|part| part == e.device))
        };
        for s in self.plan.sysctls.iter().filter(|s| names_device(s) == of_devices) {
            self.named(&s.space)?.run(|| set(&s.space, &s.path, &s.value))?;
        }
        Ok(())
    }

    fn apply_routes(&self, wanted: impl Fn(&str) -> bool) -> Result<(), LabError> {
        for r in self.plan.routes.iter().filter(|r| wanted(&r.space)) {
            self.with(&r.space, |netlink| {
                let device = r.device.as_deref().map(|d| netlink.link_index(d)).transpose()?;
                netlink.route_of_mtu(r.to, Some(r.via), device, r.mtu)
            })?;
        }
        Ok(())
    }

    fn wait_ready(&self, wire: usize) -> Result<(), LabError> {
        let deadline = Instant::now() + READY_DEADLINE;
        for end in &self.plan.wires[wire] {
            while !self.with(&end.space, |netlink| Ok(netlink.link(&end.device)?.running))?
                || self.named(&end.space)?.run(|| is_tentative(&end.device))
            {
                if Instant::now() > deadline {
                    return Err(LabError::NotReady { space: end.space.clone(), device: end.device.clone() });
                }
                thread::sleep(Duration::from_millis(1));
            }
        }
        Ok(())
    }
}

/// How long a wire may take to carry frames. Duplicate address detection, where it can't be
/// switched off, takes up to two seconds of it.
const READY_DEADLINE: Duration = Duration::from_secs(20);

/// The switches of `ethtool -K`, with their numbers in linux/ethtool.h. The order matters: the
/// kernel takes segmentation off by itself when checksums go.
pub(super) const OFFLOADS: [(&str, u32); 5] =
    [("gro", 0x2c), ("gso", 0x24), ("tso", 0x1f), ("scatter-gather", 0x19), ("tx checksums", 0x17)];

/// IPv6 addresses without the wait for duplicates. Only where /proc may be written; elsewhere the wait is waited.
fn skip_duplicate_detection(space: &Netns) {
    for path in ["net/ipv6/conf/default/accept_dad", "net/ipv6/conf/default/dad_transmits"] {
        let _ = set(space.name(), path, "0");
    }
}

fn set(space: &str, path: &str, value: &str) -> Result<(), LabError> {
    fs::write(format!("/proc/sys/{path}"), value).map_err(|source| LabError::Setting {
        space: space.into(),
        what: path.into(),
        source,
    })
}

/// Whether an IPv6 address of the device is still being checked for duplicates.
fn is_tentative(device: &str) -> bool {
    /// `IFA_F_TENTATIVE` of linux/if_addr.h.
    const TENTATIVE: u32 = 0x40;
    let table = fs::read_to_string("/proc/thread-self/net/if_inet6").unwrap_or_default();
    table.lines().any(|line| {
        let mut words = line.split_whitespace();
        let flags = words.nth(4).and_then(|w| u32::from_str_radix(w, 16).ok());
        words.next() == Some(device) && flags.is_some_and(|f| f & TENTATIVE != 0)
    })
}

#[cfg(test)]
mod tests;
