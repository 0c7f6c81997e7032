//! UDP echo and discard (RFC 862, 863), done in the packet itself.
//!
//! A datagram is answered by turning it round: no socket, no buffer, no copy, so nothing can fill up,
//! and 65,507 bytes are as good as none. A super-frame of equal datagrams goes back as one.

use crate::base::DropReason;
use crate::packet::{Csum, Gso, GsoKind, Packet};
use crate::wire::udp::{self, Udp};

use super::frame::{self, Ends};
use super::limits::RESERVED_PORTS;
use super::{Service, Services};

/// The ends of the answer that a packet has become.
pub(super) type Reply = Ends;

/// Deals with a datagram. `Some`: it is the answer now, but for its IP header and checksum.
pub(super) fn receive(
    services: &Services,
    packet: &mut Packet,
    ends: &Ends,
) -> Result<Option<Reply>, DropReason> {
    let view = Udp::new(packet.l4()).ok_or(DropReason::L4TooShort)?;
    let (from, to) = (view.src_port(), view.dst_port());
    let len = usize::from(view.length());
    let unchecked = view.checksum() == 0;
    if len < udp::HEADER_LEN || len > packet.l4().len() {
        return Err(DropReason::L4TooShort);
    }
    if packet.meta.offload.gso.is_none() {
        packet.truncate(ends.header_len() + len);
    }
    if packet.meta.offload.csum == Csum::Wire {
        match (unchecked, ends.src.is_ipv4()) {
            (true, true) => {}
            // RFC 8200 §8.1: IPv6 has no checksum that could make up for it.
            (true, false) => return Err(DropReason::L4BadChecksum),
            (false, _) => frame::verify(packet, ends)?,
        }
    }
    match services.at(to).ok_or(DropReason::NoPort)? {
        Service::Discard => Ok(None),
        Service::Echo if from < RESERVED_PORTS => Err(DropReason::HostRefused),
        Service::Echo => {
            if let Some(mut view) = Udp::new(packet.l4_mut()) {
                view.set_src_port(to);
                view.set_dst_port(from);
            }
            packet.meta.offload.gso =
                packet.meta.offload.gso.filter(|g| matches!(g, Gso { kind: GsoKind::Udp, .. }));
            Ok(Some(ends.back()))
        }
    }
}
