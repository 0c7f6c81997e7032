//! What a sender left to hardware: the virtio_net_hdr in front of a frame, and finishing its work.
//!
//! ```text
//!  virtio_net_hdr, fields in the machine's byte order
//! +---------+---------+---------+---------+---------+---------+- - - - -+
//! |  flags  |gso type |header length, of |gso size, |csum start, from   | csum    | buffers
//! |         |         |a super-frame     |payload   |the frame's start  | offset  | (12-byte form)
//! +---------+---------+---------+---------+---------+---------+- - - - -+
//!  0         1         2                  4          6                   8         10      12
//! ```
//!
//! Who writes the header may lie: [`VnetHdr::parse`] takes nothing that reaches beyond the frame, and
//! [`validate`] nothing that does not fit the headers once they are parsed. Knows nothing of devices.

use super::{Csum, Frag, Gso, GsoKind, MAX_L3, Net, Offload, Packet};
use crate::wire::tcp::Tcp;
use crate::wire::{checksum, ethernet, ipv6, proto, sctp, tcp, udp, vlan};

/// The checksum is to be finished (`VIRTIO_NET_HDR_F_NEEDS_CSUM`).
const NEEDS_CSUM: u8 = 1;
/// The checksum was verified (`VIRTIO_NET_HDR_F_DATA_VALID`).
const DATA_VALID: u8 = 2;
/// Kinds of super-frames (virtio 1.3 §5.1.6).
const GSO_NONE: u8 = 0;
const GSO_TCP4: u8 = 1;
const GSO_TCP6: u8 = 4;
const GSO_UDP_L4: u8 = 5;
/// CWR stands on the first segment only; a flag on the TCP kinds.
const GSO_ECN: u8 = 0x80;

/// Where the checksum is in ICMP of both versions (RFC 792, RFC 4443 §2.1).
const ICMP_CHECKSUM_AT: usize = 2;

/// The least size of TCP segments (Linux `TCP_MIN_GSO_SIZE`).
const MIN_TCP_SIZE: u16 = 8;
/// The most datagrams in one super-frame (Linux `UDP_MAX_SEGMENTS`).
const MAX_DATAGRAMS: usize = 128;

/// The codec of the virtio_net_hdr.
#[derive(Debug, Clone, Copy)]
pub struct VnetHdr;

/// Why a virtio_net_hdr is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum VnetError {
    /// Fewer than 10 bytes.
    #[error("the offload header is cut short")]
    Short,
    /// A kind of super-frame that is not known here.
    #[error("super-frames of type {0} are not known")]
    Kind(u8),
    /// A super-frame whose segments would carry nothing.
    #[error("a super-frame with segments of no size")]
    Size,
    /// The checksum begins in the link-layer header, or is not in the frame.
    #[error("the checksum to finish is not in the packet")]
    Checksum,
}

impl VnetHdr {
    /// Bytes of the legacy form.
    pub const LEN: usize = 10;

    /// Reads a header of either form; `frame` is what follows it, as it came (a tag that was stripped
    /// not yet put back), with an Ethernet header or without.
    pub fn parse(hdr: &[u8], frame: &[u8], ethernet: bool) -> Result<Offload, VnetError> {
        let Some([flags, kind, _, _, size @ .., s0, s1, f0, f1]) = hdr.first_chunk::<{ VnetHdr::LEN }>()
        else {
            return Err(VnetError::Short);
        };
        // By far the most: nothing was left undone.
        if flags & NEEDS_CSUM == 0 && *kind == GSO_NONE {
            let csum = if flags & DATA_VALID != 0 { Csum::Verified } else { Csum::Wire };
            return Ok(Offload { csum, gso: None });
        }
        let csum = if flags & NEEDS_CSUM != 0 {
            let (start, field) = (u16::from_ne_bytes([*s0, *s1]), u16::from_ne_bytes([*f0, *f1]));
            let end = usize::from(start) + usize::from(field) + 2;
            let start =
                usize::from(start).checked_sub(l2_len(frame, ethernet)).filter(|_| end <= frame.len());
            match start.and_then(|s| u16::try_from(s).ok()) {
                Some(start) => Csum::Partial { start, field },
                None => return Err(VnetError::Checksum),
            }
        } else if flags & DATA_VALID != 0 {
            Csum::Verified
        } else {
            Csum::Wire
        };
        let ecn = kind & GSO_ECN != 0;
        let kind = match kind & !GSO_ECN {
            GSO_NONE => return Ok(Offload { csum, gso: None }),
            GSO_TCP4 => GsoKind::Tcp4,
            GSO_TCP6 => GsoKind::Tcp6,
            GSO_UDP_L4 => GsoKind::Udp,
            other => return Err(VnetError::Kind(other)),
        };
        match u16::from_ne_bytes(*size) {
            0 => Err(VnetError::Size),
            size => Ok(Offload { csum, gso: Some(Gso { kind, size, ecn }) }),
        }
    }

    /// The header to be sent in front of a parsed packet. Append two zeros for the form with buffers.
    pub fn of(packet: &Packet) -> [u8; VnetHdr::LEN] {
        let mut hdr = [0; VnetHdr::LEN];
        let offload = &packet.meta.offload;
        // A sender must not say that a checksum is verified (virtio 1.3 §5.1.6.2.1).
        if let Csum::Partial { start, field } = offload.csum {
            hdr[0] = NEEDS_CSUM;
            hdr[6..8].copy_from_slice(&packet.meta.l3.saturating_add(start).to_ne_bytes());
            hdr[8..].copy_from_slice(&field.to_ne_bytes());
        }
        if let Some(gso) = offload.gso {
            let kind = match gso.kind {
                GsoKind::Tcp4 => GSO_TCP4,
                GsoKind::Tcp6 => GSO_TCP6,
                GsoKind::Udp => GSO_UDP_L4,
            };
            hdr[1] = if gso.ecn { kind | GSO_ECN } else { kind };
            let headers = usize::from(packet.meta.l3) + headers_len(packet).unwrap_or_default();
            hdr[2..4].copy_from_slice(&u16::try_from(headers).unwrap_or_default().to_ne_bytes());
            hdr[4..6].copy_from_slice(&gso.size.to_ne_bytes());
        }
        hdr
    }
}

/// An offload state that fits no packet: what a device gives a frame whose header it could not read, so that
/// ingress refuses it by name.
pub const INVALID: Offload = Offload { csum: Csum::Partial { start: u16::MAX, field: u16::MAX }, gso: None };

/// The length of a frame's link-layer header: 0 without Ethernet, else 14 and 4 for each tag, however many.
pub fn l2_len(frame: &[u8], ethernet: bool) -> usize {
    if !ethernet {
        return 0;
    }
    let mut len = ethernet::HEADER_LEN;
    while let Some([hi, lo]) = frame.get(len - 2..len) {
        if !vlan::is_tag(u16::from_be_bytes([*hi, *lo])) {
            break;
        }
        len += vlan::TAG_LEN;
    }
    len
}

/// Puts a VLAN tag back that the kernel stripped. `false` (and no change) if the headroom is too small or the
/// frame too short.
pub fn restore_tag(packet: &mut Packet, tpid: u16, tci: u16) -> bool {
    let l2 = usize::from(packet.meta.l3);
    if packet.len() < ethernet::HEADER_LEN || packet.set_l2_len(l2 + vlan::TAG_LEN).is_none() {
        return false;
    }
    if l2 == 0 {
        // Not parsed yet: the whole frame counted as L3, and does again.
        packet.meta.l3 = 0;
    }
    vlan::insert(packet.data_mut(), tpid, tci);
    true
}

/// Whether what the sender said about a parsed packet fits it; what doesn't is not to be trusted in anything.
/// The packet must have been cut to the length in its IP header.
pub fn validate(packet: &Packet) -> bool {
    let Offload { csum, gso } = packet.meta.offload;
    let checked = match csum {
        Csum::Partial { start, field } => partial_fits(packet, start, field),
        Csum::Wire | Csum::Verified => true,
    };
    checked && gso.is_none_or(|gso| super_frame_fits(packet, gso, csum))
}

fn partial_fits(packet: &Packet, start: u16, field: u16) -> bool {
    let meta = &packet.meta;
    if meta.l4 == 0 || meta.frag != Frag::Whole {
        return false;
    }
    let at = usize::from(field);
    let (fits, width) = match meta.proto {
        proto::TCP => (start == meta.l4 && at == tcp::CHECKSUM_AT, 2),
        proto::SCTP => (start == meta.l4 && at == sctp::CHECKSUM_AT, 4),
        proto::ICMP | proto::ICMPV6 => (start == meta.l4 && at == ICMP_CHECKSUM_AT, 2),
        // In a tunnel over UDP the checksum left undone is that of the packet within.
        proto::UDP if start == meta.l4 => (at == udp::CHECKSUM_AT, 2),
        proto::UDP => (usize::from(start) >= usize::from(meta.l4) + udp::HEADER_LEN, 2),
        _ => (start >= meta.l4, 2),
    };
    fits && usize::from(start) + at + width <= packet.l3_len()
}

fn super_frame_fits(packet: &Packet, gso: Gso, csum: Csum) -> bool {
    let meta = &packet.meta;
    let Some(headers) = headers_len(packet).filter(|_| meta.frag == Frag::Whole) else { return false };
    let payload = packet.l3_len() - headers;
    let kind = match gso.kind {
        GsoKind::Tcp4 => meta.net == Net::Ipv4 && meta.proto == proto::TCP && gso.size >= MIN_TCP_SIZE,
        GsoKind::Tcp6 => meta.net == Net::Ipv6 && meta.proto == proto::TCP && gso.size >= MIN_TCP_SIZE,
        GsoKind::Udp => {
            matches!(meta.net, Net::Ipv4 | Net::Ipv6)
                && meta.proto == proto::UDP
                && gso.size > 0
                && payload <= usize::from(gso.size) * MAX_DATAGRAMS
                && matches!(csum, Csum::Partial { .. })
        }
    };
    // What the length fields of IP can say.
    let longest = if meta.net == Net::Ipv6 { ipv6::HEADER_LEN + MAX_L3 } else { MAX_L3 };
    // The segments' checksums are those of the upper layer itself.
    kind && packet.l3_len() <= longest && !matches!(csum, Csum::Partial { start, .. } if start != meta.l4)
}

/// Bytes from the L3 header to the end of a TCP or UDP header; `None` if that is not all there.
pub fn headers_len(packet: &Packet) -> Option<usize> {
    let l4 = packet.l4();
    let len = match packet.meta.proto {
        proto::TCP => Tcp::new(l4)?.header_len().max(tcp::HEADER_LEN),
        proto::UDP => udp::HEADER_LEN,
        _ => return None,
    };
    (l4.len() >= len).then_some(usize::from(packet.meta.l4) + len)
}

/// The L3 length of the largest packet that will be on a wire: of a super-frame's full segments, of another
/// packet its own. This is what an MTU is compared with.
pub fn segment_len(packet: &Packet) -> usize {
    match packet.meta.offload.gso.zip(headers_len(packet)) {
        Some((gso, headers)) => packet.l3_len().min(headers + usize::from(gso.size)),
        None => packet.l3_len(),
    }
}

/// Finishes a partial checksum in software; others are left as they are. `false` (and no change) if the state
/// does not fit the packet; super-frames are for [`segment`](super::segment()).
pub fn finish_checksum(packet: &mut Packet) -> bool {
    let Csum::Partial { start, field } = packet.meta.offload.csum else { return true };
    if packet.meta.offload.gso.is_some() || !partial_fits(packet, start, field) {
        return false;
    }
    let sctp = packet.meta.proto == proto::SCTP;
    let Some(covered) = packet.l3_mut().get_mut(usize::from(start)..) else { return false };
    if sctp {
        sctp::fill_checksum(covered);
    } else {
        // As Linux, 0xffff for 0 whatever the protocol: it is the same number, and UDP's 0 means "none".
        let csum = checksum::udp(checksum::checksum(covered));
        let Some(place) = covered.get_mut(usize::from(field)..usize::from(field) + 2) else { return false };
        place.copy_from_slice(&csum.to_be_bytes());
    }
    packet.meta.offload.csum = Csum::Wire;
    true
}

#[cfg(test)]
mod tests;
