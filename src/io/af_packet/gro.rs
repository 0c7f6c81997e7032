//! Has the kernel put together what an interface receives in segments, while a packet link uses it.
//!
//! Hosts whose devices cut nothing send a segment at a time, each of which would cost as much as a super-frame. GRO makes
//! super-frames of them before packet sockets see them, and has a veth deliver in batches (NAPI). It is on by itself for
//! hardware, and off for veth. Knows nothing of ports.

use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixDatagram;

use crate::io::sys;

/// GRO that was switched on for us; dropping it switches it off again.
pub(super) struct Gro {
    questions: UnixDatagram,
    interface: u32,
}

impl Gro {
    /// Switches it on; `None` if it was on already, or can't be had: the link works without.
    pub(super) fn on(interface: u32, name: &str) -> Option<Self> {
        let switch = || -> io::Result<Option<Self>> {
            let questions = UnixDatagram::unbound()?;
            if sys::puts_together(questions.as_fd(), name)? {
                return Ok(None);
            }
            sys::put_together(questions.as_fd(), name, true)?;
            Ok(Some(Gro { questions, interface }))
        };
        switch().unwrap_or_else(|e| {
            tracing::debug!("{name}: no GRO: {e}");
            None
        })
    }
}

impl Drop for Gro {
    fn drop(&mut self) {
        // By its number: the name may be another's by now. If it is gone, so is what was switched on.
        if let Ok(name) = sys::interface_name(self.questions.as_fd(), self.interface) {
            let _ = sys::put_together(self.questions.as_fd(), &name, false);
        }
    }
}
