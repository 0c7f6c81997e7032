//! The interface that has a name, whichever that is: one may go and another come.

use std::os::fd::AsFd;
use std::os::unix::net::UnixDatagram;

use super::netlink::{Device, Netlink};
use super::open::{DeviceSpec, OpenError};
use super::port::Status;
use super::sys;

/// Asks about the interface of a name.
pub(super) struct Named {
    pub(super) name: String,
    /// For questions about interfaces: a socket stays in its network namespace, whoever asks.
    questions: UnixDatagram,
}

impl Named {
    /// The interface of a packet link, which must be there, be Ethernet and take the link's packets; and the right to have
    /// packet sockets.
    pub(super) fn find(spec: &DeviceSpec) -> Result<(Self, Device), OpenError> {
        let name = &spec.device;
        let device = Netlink::open()?.link(name).map_err(|e| match e.is_missing() {
            true => OpenError::NoDevice(name.clone()),
            false => OpenError::Netlink(e),
        })?;
        if !device.ethernet {
            return Err(OpenError::NotEthernet(name.clone()));
        }
        if device.mtu < spec.mtu {
            return Err(OpenError::Mtu { device: name.clone(), has: device.mtu, wants: spec.mtu });
        }
        let failed = |source| OpenError::Device { device: name.clone(), source };
        if let Err(e) = sys::packet_socket() {
            return Err(match e.raw_os_error() {
                Some(libc::EPERM | libc::EACCES) => OpenError::NoRawSockets,
                _ => failed(e),
            });
        }
        let questions = UnixDatagram::unbound().map_err(failed)?;
        Ok((Named { name: name.clone(), questions }, device))
    }

    /// The index of the interface that has the name now; `None` if there is none.
    pub(super) fn index(&self) -> Option<u32> {
        sys::interface_index(self.questions.as_fd(), &self.name).ok()
    }

    /// The longest L3 packet it takes now; 0 if there is none.
    pub(super) fn mtu(&self) -> usize {
        sys::interface_mtu(self.questions.as_fd(), &self.name).map_or(0, |mtu| mtu as usize)
    }

    /// Whether it takes L3 packets of this length; while it is not there, nothing is said against it.
    pub(super) fn bears(&self, mtu: u32) -> Result<(), OpenError> {
        match u32::try_from(self.mtu()) {
            Ok(has) if has > 0 && has < mtu => {
                Err(OpenError::Mtu { device: self.name.clone(), has, wants: mtu })
            }
            _ => Ok(()),
        }
    }

    /// Its receive queues that are in use.
    pub(super) fn receive_queues(&self) -> u32 {
        // Drivers that can't tell have one.
        sys::receive_queues(self.questions.as_fd(), &self.name).unwrap_or(1).max(1)
    }

    /// Its condition.
    pub(super) fn status(&self) -> Status {
        match sys::interface_flags(self.questions.as_fd(), &self.name) {
            Ok(flags) if flags.running => Status::Up,
            Ok(flags) if flags.up => Status::NoCarrier,
            Ok(_) => Status::Down,
            Err(_) => Status::Gone,
        }
    }
}
