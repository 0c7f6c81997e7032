//! Keeps the kernel's own stack off an interface while a packet link uses it.
//!
//! Packet sockets get what an interface receives before tc ingress does, and with
//! `PACKET_QDISC_BYPASS` what they send does not pass tc egress. So a filter at each that drops
//! everything leaves the interface to the router alone: the kernel neither answers nor forwards, and
//! its ARP, router solicitations and duplicate address detection stay inside.
//!
//! ```text
//!  device ─┬─► packet socket ─► router ─► packet socket ─► device
//!          └─► clsact ingress ✗   kernel's stack   ✗ clsact egress
//! ```
//!
//! The filters do not end with the process as sockets do. Ours stand at a priority and a handle of
//! their own, by which those that a killed router left behind are known and replaced. Knows nothing of ports.

use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Mutex;

use super::netlink::{Hook, Netlink, NetlinkError};

/// The filters on one interface; dropping it takes them away.
pub struct Guard {
    // Behind a lock only so that the guard may be shared; it is used when it is made and dropped.
    netlink: Mutex<Netlink>,
    interface: u32,
    kind: &'static str,
    /// Whether the qdisc was made for these filters.
    own_qdisc: bool,
    /// Says to other routers in this network namespace that the interface is taken.
    _claim: UnixDatagram,
}

/// Why the kernel's stack can't be kept off an interface.
#[derive(Debug, thiserror::Error)]
pub enum GuardError {
    /// Another router has it.
    #[error(
        "another sekisho uses the interface '{0}' already: stop that one, or give this one another interface"
    )]
    Taken(String),
    /// It takes a privilege.
    #[error(
        "keeping the kernel's own stack off '{0}' needs CAP_NET_ADMIN: run as root, or in a user and network namespace (unshare -Urn)"
    )]
    Permission(String),
    /// No way of dropping packets that this kernel has.
    #[error(
        "the kernel's own stack can't be kept off '{name}': load the module cls_bpf, or cls_matchall and act_gact (modprobe cls_bpf). {bpf}; {matchall}"
    )]
    NoClassifier {
        /// The interface.
        name: String,
        /// Why cls_bpf did not do.
        bpf: Box<NetlinkError>,
        /// Why cls_matchall did not do.
        matchall: Box<NetlinkError>,
    },
    /// The qdisc can't be made.
    #[error(
        "the kernel's own stack can't be kept off '{name}': {source}. If it has an ingress qdisc, remove that: tc qdisc del dev {name} ingress"
    )]
    Qdisc {
        /// The interface.
        name: String,
        /// Why not.
        source: NetlinkError,
    },
    /// Something else failed.
    #[error("the kernel's own stack can't be kept off '{name}': {source}")]
    Other {
        /// The interface.
        name: String,
        /// What.
        source: NetlinkError,
    },
}

impl GuardError {
    /// Whether the interface vanished meanwhile.
    pub fn is_missing(&self) -> bool {
        match self {
            GuardError::Taken(_) | GuardError::Permission(_) => false,
            GuardError::NoClassifier { bpf, .. } => bpf.is_missing(),
            GuardError::Qdisc { source: e, .. } | GuardError::Other { source: e, .. } => e.is_missing(),
        }
    }
}

impl Guard {
    /// Puts the filters up on an interface of this thread's network namespace.
    pub fn raise(interface: u32, name: &str) -> Result<Self, GuardError> {
        let other = |source: NetlinkError| match source.is_permission() {
            true => GuardError::Permission(name.to_owned()),
            false => GuardError::Other { name: name.to_owned(), source },
        };
        let claim = claim(interface).map_err(|e| match e.kind() {
            io::ErrorKind::AddrInUse => GuardError::Taken(name.to_owned()),
            _ => other(e.into()),
        })?;
        let mut netlink = Netlink::open().map_err(other)?;
        let made = netlink.tc_clsact_add(interface).map_err(|source| match source.is_permission() {
            true => GuardError::Permission(name.to_owned()),
            false => GuardError::Qdisc { name: name.to_owned(), source },
        })?;
        // A qdisc with nothing but our filters in it is what a killed router left behind.
        let own_qdisc = made || only_ours(&mut netlink, interface, 1).map_err(other)?;
        let mut guard =
            Guard { netlink: Mutex::new(netlink), interface, kind: BPF, own_qdisc, _claim: claim };
        let Err(bpf) = guard.hang(BPF) else { return Ok(guard) };
        let Err(matchall) = guard.hang(MATCHALL) else { return Ok(guard) };
        Err(match bpf.is_permission() {
            true => GuardError::Permission(name.to_owned()),
            false => {
                GuardError::NoClassifier { name: name.to_owned(), bpf: bpf.into(), matchall: matchall.into() }
            }
        })
    }

    /// The interface it is on.
    pub fn interface(&self) -> u32 {
        self.interface
    }

    /// Hangs up both filters, or none.
    fn hang(&mut self, kind: &'static str) -> Result<(), NetlinkError> {
        self.kind = kind;
        let netlink = self.netlink.get_mut().unwrap_or_else(|e| e.into_inner());
        let result = Hook::BOTH.into_iter().try_for_each(|hook| match kind {
            BPF => netlink.tc_drop_all_bpf(self.interface, hook, PRIORITY, HANDLE),
            _ => netlink.tc_drop_all_matchall(self.interface, hook, PRIORITY, HANDLE),
        });
        if result.is_err() {
            self.take_down();
        }
        result
    }

    /// Egress last: what the kernel would say on hearing again stays unsaid that long. Nothing can be
    /// done about an error here; most often the interface is gone, and all that hung on it.
    fn take_down(&mut self) {
        let netlink = self.netlink.get_mut().unwrap_or_else(|e| e.into_inner());
        for hook in Hook::BOTH {
            let _ = netlink.tc_filter_del(self.interface, hook, self.kind, PRIORITY, HANDLE);
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.take_down();
        let netlink = self.netlink.get_mut().unwrap_or_else(|e| e.into_inner());
        if self.own_qdisc && only_ours(netlink, self.interface, 0).unwrap_or(false) {
            let _ = netlink.tc_clsact_del(self.interface);
        }
    }
}

/// Whether no filter hangs on the interface but ours, and at least `least` of those.
fn only_ours(netlink: &mut Netlink, interface: u32, least: usize) -> Result<bool, NetlinkError> {
    let mut ours = 0;
    for hook in Hook::BOTH {
        for filter in netlink.tc_filters(interface, hook)? {
            match filter.handle {
                0 if filter.priority == PRIORITY => {} // the head above ours
                HANDLE if filter.priority == PRIORITY => ours += 1,
                _ => return Ok(false),
            }
        }
    }
    Ok(ours >= least)
}

/// Binds a name that stands for the interface in this network namespace; it is free again when the
/// process ends, in whatever way.
fn claim(interface: u32) -> io::Result<UnixDatagram> {
    let name = format!("sekisho/interface/{interface}");
    UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(name)?)
}

/// Before any other filter: one that accepts would end the search.
const PRIORITY: u16 = 1;
/// "sekisho", in what hexadecimal digits can say: how ours are known.
const HANDLE: u32 = 0x05ec_1540;
const BPF: &str = "bpf";
const MATCHALL: &str = "matchall";
