//! The five hooks: the places on a packet's way where rules and programs may look at it.
//!
//! Which hooks a packet meets, and in what order, is the kernel's:
//!
//! ```text
//! forwarded       PREROUTING  FORWARD  POSTROUTING
//! to this router  PREROUTING  INPUT
//! from it         OUTPUT  POSTROUTING
//! from it to it   OUTPUT  POSTROUTING  PREROUTING  INPUT
//! ```

/// A place on a packet's way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Hook {
    /// Just come in, not yet routed.
    Prerouting,
    /// For this router.
    Input,
    /// On its way through.
    Forward,
    /// Made by this router.
    Output,
    /// About to leave.
    Postrouting,
}

/// All hooks in the order of the enum.
pub const HOOKS: [Hook; 5] = [Hook::Prerouting, Hook::Input, Hook::Forward, Hook::Output, Hook::Postrouting];

impl Hook {
    /// The name of the chain that hangs here.
    pub fn name(self) -> &'static str {
        match self {
            Hook::Prerouting => "PREROUTING",
            Hook::Input => "INPUT",
            Hook::Forward => "FORWARD",
            Hook::Output => "OUTPUT",
            Hook::Postrouting => "POSTROUTING",
        }
    }
}
