//! Devices made ready for load: who computes checksums, who cuts segments, who receives by NAPI.

use super::{Doing as _, LoadError};
use crate::lab::netns::{Netns, ethtool_set};
use crate::lab::topology::OFFLOADS;

/// Has a veth receive by NAPI (`ethtool -K … gro on`), or no longer. It needs NAPI to receive XDP frames, which
/// is what the generator sends.
pub fn set_napi(space: &Netns, device: &str, on: bool) -> Result<(), LoadError> {
    let (_, gro) = OFFLOADS[0];
    space
        .run(|| ethtool_set(device, gro, u32::from(on)))
        .doing(|| format!("{}: turning GRO of {device} {}", space.name(), if on { "on" } else { "off" }))
}

/// Has a host leave checksums and segmentation to its device, as is usual, or do them itself. GRO stays as it is.
pub fn set_offloads(space: &Netns, device: &str, on: bool) -> Result<(), LoadError> {
    let mut switches = OFFLOADS[1..].to_vec();
    // Segmentation can't come before checksums, nor stay when they go.
    if on {
        switches.reverse();
    }
    space.run(|| {
        switches.iter().try_for_each(|(what, command)| {
            ethtool_set(device, *command, u32::from(on)).doing(|| {
                format!("{}: turning {what} of {device} {}", space.name(), if on { "on" } else { "off" })
            })
        })
    })
}
