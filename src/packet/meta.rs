//! What is known about a packet besides its bytes.

use crate::base::{Column, LinkId};

use super::flow::Ct;

/// Filled once at ingress, carried to egress.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Meta {
    /// The link it came in by; the loopback for packets made here.
    pub ingress: LinkId,
    /// The side of the ledger it stands on.
    pub column: Column,
    /// Whom the link-layer header addressed.
    pub l2: L2Kind,
    /// The L3 protocol.
    pub net: Net,
    /// Offset of the L3 header from the start of the data: the length of the L2 header.
    pub l3: u16,
    /// Offset of the upper-layer header from the L3 header; 0 where there is none to be seen
    /// (later fragments, unknown chains).
    pub l4: u16,
    /// The upper-layer protocol: what the last `next header` says. Unknown (59) if there is none.
    pub proto: u8,
    /// Whether it is a piece of a datagram.
    pub frag: Frag,
    /// Whether IPv4 options or an IPv6 hop-by-hop header are there to be looked at.
    pub options: bool,
    /// What the sender left to the hardware.
    pub offload: Offload,
    /// The packet's mark (`nfmark`).
    pub mark: u32,
    /// What conntrack says of it.
    pub ct: Ct,
    /// The number under which its way is being recorded, if it is.
    pub trace: Option<TraceId>,
    /// Those who wanted its way recorded and have counted it as one that is not: two bits for each, of which only the recorder
    /// knows what they say.
    pub untold: u32,
}

/// The number of a packet that is followed.
pub type TraceId = std::num::NonZeroU32;

/// To whom the frame was addressed at the link layer; the kernel's packet types.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum L2Kind {
    /// To this station, or on a link without addresses.
    #[default]
    Host,
    /// To all.
    Broadcast,
    /// To a group.
    Multicast,
}

/// The L3 protocol of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Net {
    /// Not looked at yet, or none we know.
    #[default]
    None,
    /// IPv4.
    Ipv4,
    /// IPv6.
    Ipv6,
    /// ARP over Ethernet for IPv4.
    Arp,
}

/// Whether a packet is a fragment, and which.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Frag {
    /// Whole. An atomic IPv6 fragment (RFC 6946) counts as whole.
    #[default]
    Whole,
    /// The first fragment: the upper-layer header can be seen.
    First,
    /// Any other.
    Later,
}

/// What the sender left undone for hardware to finish: the contents of a virtio_net_hdr.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Offload {
    /// The state of the upper-layer checksum.
    pub csum: Csum,
    /// Set on a super-frame: how it is to be cut.
    pub gso: Option<Gso>,
}

/// The state of the upper-layer checksum.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Csum {
    /// In the packet as on a wire; nobody has verified it.
    #[default]
    Wire,
    /// Known to be right; what the field holds need not be looked at again.
    Verified,
    /// The field holds the sum of the pseudo-header only. To finish it, sum everything from `start`
    /// to the end and store the complement at `start + field`.
    Partial {
        /// Where the sum starts, from the L3 header: the L4 header.
        start: u16,
        /// Where the field is, from `start`.
        field: u16,
    },
}

/// How a super-frame is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Gso {
    /// What the segments are.
    pub kind: GsoKind,
    /// Payload bytes in each segment but the last; never 0.
    pub size: u16,
    /// Whether CWR stands on the first segment only (RFC 3168 §6.1.2).
    pub ecn: bool,
}

/// What the segments of a super-frame are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum GsoKind {
    /// TCP over IPv4.
    Tcp4,
    /// TCP over IPv6.
    Tcp6,
    /// UDP datagrams of equal size (USO), over either.
    Udp,
}

/// What a device takes over from its sender. Kept with the packet's offload state since the two
/// are always held against each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caps {
    /// Whether frames carry an Ethernet header.
    pub ethernet: bool,
    /// Whether partial checksums are finished.
    pub csum: bool,
    /// Whether TCP over IPv4 super-frames are taken.
    pub tso4: bool,
    /// Whether TCP over IPv6 super-frames are taken.
    pub tso6: bool,
    /// Whether UDP super-frames are taken.
    pub uso: bool,
}

impl Caps {
    /// A device that takes finished Ethernet frames only.
    pub const PLAIN: Caps = Caps { ethernet: true, csum: false, tso4: false, tso6: false, uso: false };
    /// A device that takes every kind of unfinished Ethernet frame.
    pub const FULL: Caps = Caps { ethernet: true, csum: true, tso4: true, tso6: true, uso: true };

    /// Whether the device takes a packet in this state as it is.
    #[inline]
    pub fn take(self, offload: &Offload) -> bool {
        let csum = self.csum || !matches!(offload.csum, Csum::Partial { .. });
        let gso = match offload.gso.map(|g| g.kind) {
            None => true,
            Some(GsoKind::Tcp4) => self.tso4,
            Some(GsoKind::Tcp6) => self.tso6,
            Some(GsoKind::Udp) => self.uso,
        };
        csum && gso
    }
}
