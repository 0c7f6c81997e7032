//! Each packet of a translated flow (`nf_nat_packet`).

use crate::base::DropReason;
use crate::conntrack::Flow;
use crate::packet::{Csum, Direction, Manip, Packet, Tuple};
use crate::wire::proto;

use super::needed;
use super::rewrite::{End, Sum, rewrite};

/// Rewrites this end of a packet that goes in the given direction of its flow, if the flow wants that; says whether it
/// did. In place, whatever the state of its checksum, super-frames too. `NatFailed` for a packet whose headers are not
/// those of its flow, or not all there: it must not be sent, and may be half done.
#[inline]
pub fn translate(p: &mut Packet, flow: &Flow, dir: Direction, manip: Manip) -> Result<bool, DropReason> {
    if !flow.status.has(needed(dir, manip)) {
        return Ok(false);
    }
    let end = inverse(flow.tuple(dir.turned()), manip);
    let l4 = p.meta.l4;
    if l4 != 0 && p.meta.proto != end.proto {
        return Err(DropReason::NatFailed);
    }
    let sum = sum_of(p);
    match rewrite(p.l3_mut(), l4.into(), &end, sum) {
        Some(()) => Ok(true),
        None => Err(DropReason::NatFailed),
    }
}

/// How the checksum of the packet's own upper layer stands. One that is left to the device but begins deeper is that of
/// a packet in a tunnel, and the outer one is whole.
pub(super) fn sum_of(p: &Packet) -> Sum {
    match p.meta.offload.csum {
        Csum::Partial { start, .. } if start == p.meta.l4 => Sum::Begun,
        _ => Sum::Whole,
    }
}

/// One end of the inverse of a tuple: packets of a direction are to look like the inverse of the other's.
#[inline]
pub(super) fn inverse(other: &Tuple, manip: Manip) -> End {
    let (addr, port) = match manip {
        Manip::Src => (other.dst, if has_ident(other.proto) { other.src_port } else { other.dst_port }),
        Manip::Dst => (other.src, other.src_port),
    };
    End { manip, v6: other.v6, proto: other.proto, addr, port }
}

/// One end of a tuple as it is.
pub(super) fn same(tuple: &Tuple, manip: Manip) -> End {
    let (addr, port) = match manip {
        Manip::Src => (tuple.src, tuple.src_port),
        Manip::Dst => (tuple.dst, if has_ident(tuple.proto) { tuple.src_port } else { tuple.dst_port }),
    };
    End { manip, v6: tuple.v6, proto: tuple.proto, addr, port }
}

/// Whether the tuple's source port is an identifier, which goes with both ends.
fn has_ident(proto: u8) -> bool {
    matches!(proto, proto::ICMP | proto::ICMPV6)
}

#[cfg(test)]
mod tests;
