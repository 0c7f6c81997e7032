//! What hangs at the hooks, and the one place that calls it.

use crate::base::{DropReason, Hook};
use crate::packet::Packet;

use super::Cx;

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
