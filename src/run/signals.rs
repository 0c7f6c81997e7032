//! Signals as something that can be polled: handlers write a byte, the main thread reads it.

use std::io::{self, Read};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

/// What the signals received ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Asked {
    /// SIGTERM or SIGINT: end.
    pub end: bool,
    /// SIGHUP: read the configuration again.
    pub reload: bool,
}

/// The signals of this process. Once made, they no longer kill it.
#[derive(Debug)]
pub struct Signals {
    end: UnixStream,
    reload: UnixStream,
}

impl Signals {
    /// Catches SIGTERM, SIGINT and SIGHUP from now on.
    pub fn catch() -> io::Result<Self> {
        let (end, reload) = (UnixStream::pair()?, UnixStream::pair()?);
        for signal in [SIGTERM, SIGINT] {
            signal_hook::low_level::pipe::register(signal, end.1.try_clone()?)?;
        }
        signal_hook::low_level::pipe::register(SIGHUP, reload.1)?;
        end.0.set_nonblocking(true)?;
        reload.0.set_nonblocking(true)?;
        Ok(Signals { end: end.0, reload: reload.0 })
    }

    /// The descriptors that become readable when a signal has come.
    pub fn fds(&self) -> [RawFd; 2] {
        [self.end.as_raw_fd(), self.reload.as_raw_fd()]
    }

    /// What has been asked for since the last call.
    pub fn take(&mut self) -> Asked {
        Asked { end: drain(&mut self.end), reload: drain(&mut self.reload) }
    }
}

fn drain(stream: &mut UnixStream) -> bool {
    let mut bytes = [0; 64];
    let mut any = false;
    while let Ok(1..) = stream.read(&mut bytes) {
        any = true;
    }
    any
}
