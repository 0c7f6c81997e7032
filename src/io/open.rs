//! From a link's description to its ports.

use std::thread;
use std::time::{Duration, Instant};

use super::af_packet;
use super::af_xdp::{self, XdpError};
use super::guard::GuardError;
use super::named::Named;
use super::netlink::NetlinkError;
use super::port::Port;
use super::relief;
use super::tun_tap;
use crate::base::Mac;
use crate::link::{Driver, LinkKind};
use crate::packet::Steering;

/// The device side of a link, as configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceSpec {
    /// Which kind of device: packet, tap or tun.
    pub kind: LinkKind,
    /// The link's name.
    pub name: String,
    /// The interface's name.
    pub device: String,
    /// The router's MAC on a packet link, so that the interface lets frames to it pass; the device's own may
    /// be another. `None`: the device's own.
    pub mac: Option<Mac>,
    /// The longest L3 packet, in bytes. Created devices get it; an existing interface must have no less.
    pub mtu: u32,
    /// Receive queues wanted; no more than there are workers are made.
    pub queues: usize,
    /// Which of them a packet is to come to.
    pub steering: Steering,
    /// Whether super-frames and partial checksums are left to the device. What it gives us unfinished is
    /// understood either way.
    pub offload: bool,
    /// What moves a packet link's frames. What can't be had is replaced by the next best: [`Port::driver`] says so.
    pub driver: Driver,
    /// Whether a created device stays when the router ends; from the first `Port::check` on.
    pub persist: bool,
    /// The user a created device belongs to.
    pub owner: Option<u32>,
    /// The group a created device belongs to.
    pub group: Option<u32>,
}

/// Why a link's device can't be opened, in a sentence that says what to do.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A name the kernel would not take.
    #[error(
        "'{0}' can't be an interface's name: 1 to 15 characters, no '/', ':', '%' or space; set device = …"
    )]
    Name(String),
    /// A kind without a device.
    #[error("a link of kind {0} has no device to open")]
    NoDeviceKind(&'static str),
    /// No such interface.
    #[error("there is no interface '{0}' here: make it first, or correct device = …")]
    NoDevice(String),
    /// Not an Ethernet interface.
    #[error("'{0}' is not an Ethernet interface: a packet link needs one")]
    NotEthernet(String),
    /// The interface's MTU is below the link's.
    #[error(
        "the MTU of '{device}' is {has}, below the link's {wants}: set mtu = {has}, or raise the interface's (ip link set {device} mtu {wants})"
    )]
    Mtu {
        /// The interface.
        device: String,
        /// Its MTU.
        has: u32,
        /// The link's.
        wants: u32,
    },
    /// No privilege for packet sockets.
    #[error(
        "opening a packet socket needs CAP_NET_RAW: run as root, or in a user and network namespace (unshare -Urn)"
    )]
    NoRawSockets,
    /// No tun driver.
    #[error(
        "there is no /dev/net/tun here: load the module (modprobe tun), or let the container have the device"
    )]
    NoTunDevice,
    /// No access to the tun driver.
    #[error(
        "/dev/net/tun may not be opened by this user: give access to it (chmod 666 /dev/net/tun), or run as root"
    )]
    TunAccess,
    /// No privilege for the tun or tap device.
    #[error(
        "'{0}' can't be created or taken over: run as root, in a user and network namespace (unshare -Urn), or let an administrator make it for you (ip tuntap add {0} mode tap user …)"
    )]
    TunPermission(String),
    /// Another process has the device.
    #[error("'{0}' is in use by another process: stop that one, or choose another device = …")]
    Busy(String),
    /// An interface of the name is there and of another kind.
    #[error(
        "there is an interface '{device}' already, and it is no {kind} device: delete it, or choose another device = …"
    )]
    OtherKind {
        /// The interface.
        device: String,
        /// The kind wanted.
        kind: &'static str,
    },
    /// AF_XDP can't be had there.
    #[error(transparent)]
    Xdp(#[from] XdpError),
    /// The kernel's stack can't be kept off.
    #[error(transparent)]
    Guard(#[from] GuardError),
    /// A netlink request failed.
    #[error(transparent)]
    Netlink(#[from] NetlinkError),
    /// Anything else.
    #[error("'{device}' can't be opened: {source}")]
    Device {
        /// The interface.
        device: String,
        /// Why.
        source: std::io::Error,
    },
}

impl OpenError {
    /// Whether the process may not do it, and never will: it has given up what it takes.
    pub(super) fn is_forbidden(&self) -> bool {
        let OpenError::Xdp(XdpError::Program { source, .. }) = self else { return false };
        matches!(source.errno(), Some(libc::EPERM | libc::EACCES))
    }
}

/// Does now what takes privileges, for devices that are opened when they are gone.
pub fn prepare(steering: &Steering) {
    if steering.workers > 1 {
        tun_tap::prepare(steering);
    }
}

/// Whether the device of a link is there and could be opened, or is not and could be made, as far as that shows without
/// doing it. Nothing is different afterwards.
pub fn look(spec: &DeviceSpec) -> Result<(), OpenError> {
    if !is_interface_name(&spec.device) {
        return Err(OpenError::Name(spec.device.clone()));
    }
    match spec.kind {
        LinkKind::Packet => Named::find(spec).map(drop),
        LinkKind::Tap | LinkKind::Tun => tun_tap::look(spec),
        LinkKind::Loopback | LinkKind::Memory => Err(OpenError::NoDeviceKind(spec.kind.name())),
    }
}

/// Opens all queues of a link: one port for each worker; `ports[i]` belongs to worker `i`. Where the device
/// has fewer receive queues than there are workers, the ports beyond only transmit. On an error nothing is left
/// behind. A device that somebody else has is waited for up to a second: a router that was killed just now may not
/// be quite gone.
pub fn open(spec: &DeviceSpec, workers: usize) -> Result<Vec<Box<dyn Port>>, OpenError> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match open_now(spec, workers) {
            Err(OpenError::Busy(_) | OpenError::Guard(GuardError::Taken(_))) if Instant::now() < deadline => {
                thread::sleep(PATIENCE / 20);
            }
            result => return result,
        }
    }
}

/// [`open`] without waiting for anybody.
pub fn open_now(spec: &DeviceSpec, workers: usize) -> Result<Vec<Box<dyn Port>>, OpenError> {
    if !is_interface_name(&spec.device) {
        return Err(OpenError::Name(spec.device.clone()));
    }
    fn boxed<P: Port + 'static>(ports: Vec<P>) -> Vec<Box<dyn Port>> {
        ports.into_iter().map(|port| Box::new(port) as Box<dyn Port>).collect()
    }
    match spec.kind {
        LinkKind::Packet => {
            let missing = match spec.driver {
                Driver::Auto | Driver::Socket | Driver::Ring => None,
                Driver::Xdp => match af_xdp::open(spec, workers) {
                    Ok(ports) => return Ok(boxed(relief::with_relief(ports, spec, workers))),
                    Err(e) => Some(e.to_string().into()),
                },
            };
            af_packet::open(spec, workers, missing).map(boxed)
        }
        LinkKind::Tap | LinkKind::Tun => tun_tap::open(spec, workers).map(boxed),
        LinkKind::Loopback | LinkKind::Memory => Err(OpenError::NoDeviceKind(spec.kind.name())),
    }
}

/// What the kernel lets an interface be called (`dev_valid_name`), less `%`, which makes it a pattern.
pub fn is_interface_name(name: &str) -> bool {
    let bad = |b: u8| matches!(b, b'/' | b':' | b'%' | 0x0b | 0) || b.is_ascii_whitespace();
    (1..libc::IFNAMSIZ).contains(&name.len()) && name != "." && name != ".." && !name.bytes().any(bad)
}

/// How long a device that is in use is waited for.
const PATIENCE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interface_names() {
        for good in ["a", "eth1", "veth-left_0.100", "exactly15chars!"] {
            assert!(is_interface_name(good), "{good}");
        }
        for bad in ["", ".", "..", "sixteen-chars-ab", "a b", "a/b", "a:b", "a\tb", "a\0b", "tap%d"] {
            assert!(!is_interface_name(bad), "{bad}");
        }
    }
}
