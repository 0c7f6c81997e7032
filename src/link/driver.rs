//! Ways of moving a packet link's frames between the kernel and here.

use std::sync::Arc;

/// A way of moving frames, as it is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Driver {
    /// The best that can be had.
    #[default]
    Auto,
    /// A packet socket: `recvmmsg` and `sendmmsg`.
    Socket,
    /// A packet socket with rings that are shared with the kernel.
    Ring,
    /// AF_XDP.
    Xdp,
}

impl Driver {
    /// All of them.
    pub const ALL: [Driver; 4] = [Driver::Auto, Driver::Socket, Driver::Ring, Driver::Xdp];

    /// The word in the configuration and on the screen.
    pub fn name(self) -> &'static str {
        match self {
            Driver::Auto => "auto",
            Driver::Socket => "socket",
            Driver::Ring => "ring",
            Driver::Xdp => "xdp",
        }
    }
}

/// What a link's frames are moved by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InUse {
    /// What was asked for.
    pub asked: Driver,
    /// What it became; never [`Driver::Auto`].
    pub driver: Driver,
    /// What would have been better and can't be had, and why, in a sentence.
    pub fallback: Option<Arc<str>>,
}
