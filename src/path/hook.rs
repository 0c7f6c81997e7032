//! The five hooks: the places where rules and programs may look at a packet and stop it.
//!
//! Called from the walk alone. Which hooks a packet meets, and in what order, is the kernel's:
//!
//! ```text
//! forwarded       PREROUTING  FORWARD  POSTROUTING
//! to this router  PREROUTING  INPUT
//! from it         OUTPUT  POSTROUTING
//! from it to it   OUTPUT  POSTROUTING  PREROUTING  INPUT
//! ```

use crate::base::DropReason;
use crate::packet::Packet;

use super::Cx;

/// A place on a packet's way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
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

/// Shows the packet to everything that hangs at this hook, in order; the first refusal is final.
#[inline]
pub(super) fn hook(cx: &mut Cx<'_>, at: Hook, p: &mut Packet) -> Result<(), DropReason> {
    for watch in &cx.snap.watchers {
        if !watch(at, p) {
            return Err(DropReason::Hook);
        }
    }
    cx.note(p, || at.name().to_owned());
    Ok(())
}
