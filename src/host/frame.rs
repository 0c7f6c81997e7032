//! Between packets of the path and what a host deals in: one plain IP header, then the upper layer.
//!
//! ```text
//!  in    │ L2 │ IP header │ options or extensions │ L4 … │ padding │
//!  plain                        │ plain IP header │ L4 … │
//! ```
//!
//! Options and extension headers have done their work on the path. The plain header is written over the end
//! of them, right before the L4 header, which stays where it is.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::base::DropReason;
use crate::packet::{Csum, Net, Packet};
use crate::wire::checksum;
use crate::wire::ipv4::{self, Ipv4, Ipv4Header};
use crate::wire::ipv6::{self, Ipv6, Ipv6Header};

use super::limits::TTL;

/// Where a datagram comes from and whom it asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ends {
    pub(super) src: IpAddr,
    pub(super) dst: IpAddr,
}

impl Ends {
    /// Whether both are single hosts: only then is there somebody to answer, and somebody who answers.
    pub(super) fn is_unicast(&self) -> bool {
        let single = |a: IpAddr| match a {
            IpAddr::V4(v4) => !v4.is_unspecified() && !v4.is_multicast() && !v4.is_broadcast(),
            IpAddr::V6(v6) => !v6.is_unspecified() && !v6.is_multicast(),
        };
        single(self.src) && single(self.dst)
    }

    /// The ends of the answer.
    pub(super) fn back(&self) -> Ends {
        Ends { src: self.dst, dst: self.src }
    }

    /// With ports: local, remote.
    pub(super) fn flow(&self, ports: (u16, u16)) -> (SocketAddr, SocketAddr) {
        (SocketAddr::new(self.dst, ports.1), SocketAddr::new(self.src, ports.0))
    }

    /// The length of a plain header.
    pub(super) fn header_len(&self) -> usize {
        if self.src.is_ipv4() { ipv4::HEADER_LEN } else { ipv6::HEADER_LEN }
    }

    /// The partial sum of the pseudo-header over `len` bytes of upper layer.
    pub(super) fn pseudo(&self, proto: u8, len: usize) -> Option<u64> {
        checksum::pseudo(self.src, self.dst, proto, u32::try_from(len).ok()?)
    }
}

/// Cuts the packet to its datagram and gives it a plain IP header, at the start of the data.
pub(super) fn plain(packet: &mut Packet) -> Result<Ends, DropReason> {
    let (ends, len) = ends(packet).ok_or(DropReason::HostRefused)?;
    let l4 = usize::from(packet.meta.l4);
    let plain = ends.header_len();
    if l4 < plain || l4 > len || len > packet.l3_len() {
        return Err(DropReason::HostRefused);
    }
    packet.truncate(usize::from(packet.meta.l3) + len);
    let skipped = l4 - plain;
    if let Csum::Partial { start, .. } = &mut packet.meta.offload.csum {
        *start = u16::try_from(usize::from(*start).saturating_sub(skipped)).unwrap_or(0);
    }
    packet.meta.l3 =
        u16::try_from(usize::from(packet.meta.l3) + skipped).map_err(|_| DropReason::HostRefused)?;
    packet.set_l2_len(0).ok_or(DropReason::HostRefused)?;
    packet.meta.l4 = plain as u16;
    write(packet, &ends, 0);
    Ok(ends)
}

/// The addresses, and the length that the IP header tells.
fn ends(packet: &Packet) -> Option<(Ends, usize)> {
    match packet.meta.net {
        Net::Ipv4 => {
            let ip = Ipv4::new(packet.l3())?;
            Some((Ends { src: ip.src().into(), dst: ip.dst().into() }, usize::from(ip.total_len())))
        }
        Net::Ipv6 => {
            let ip = Ipv6::new(packet.l3())?;
            let len = ipv6::HEADER_LEN + usize::from(ip.payload_len());
            Some((Ends { src: ip.src().into(), dst: ip.dst().into() }, len))
        }
        _ => None,
    }
}

/// Writes the plain header of a packet whose L4 is in place: addresses, length, TTL 64, DF clear.
pub(super) fn write(packet: &mut Packet, ends: &Ends, ident: u16) {
    let proto = packet.meta.proto;
    let payload_len = packet.l3_len().saturating_sub(ends.header_len());
    match (ends.src, ends.dst) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => write4(packet.l3_mut(), src, dst, proto, ident, payload_len),
        (IpAddr::V6(src), IpAddr::V6(dst)) => write6(packet.l3_mut(), src, dst, proto, payload_len),
        _ => {}
    }
}

fn write4(buf: &mut [u8], src: Ipv4Addr, dst: Ipv4Addr, proto: u8, ident: u16, payload_len: usize) {
    let header = Ipv4Header { src, dst, proto, ttl: TTL, tos: 0, ident, dont_fragment: false, payload_len };
    header.emit(buf);
}

fn write6(buf: &mut [u8], src: Ipv6Addr, dst: Ipv6Addr, proto: u8, payload_len: usize) {
    let header = Ipv6Header {
        src,
        dst,
        next_header: proto,
        hop_limit: TTL,
        traffic_class: 0,
        flow_label: 0,
        payload_len,
    };
    header.emit(buf);
}

/// Verifies the upper-layer checksum, if nobody has yet.
pub(super) fn verify(packet: &Packet, ends: &Ends) -> Result<(), DropReason> {
    match packet.meta.offload.csum {
        Csum::Verified | Csum::Partial { .. } => Ok(()),
        Csum::Wire => {
            let l4 = packet.l4();
            let pseudo = ends.pseudo(packet.meta.proto, l4.len()).ok_or(DropReason::HostRefused)?;
            match checksum::fold(checksum::sum(l4) + pseudo) {
                0xffff => Ok(()),
                _ => Err(DropReason::L4BadChecksum),
            }
        }
    }
}

/// Leaves the upper-layer checksum to the way out: the sum of the pseudo-header goes into the field, `at`
/// bytes from the L4 header.
pub(super) fn leave_checksum(packet: &mut Packet, ends: &Ends, at: usize) {
    let len = packet.l4().len();
    let Some(pseudo) = ends.pseudo(packet.meta.proto, len) else { return };
    if let Some(field) = packet.l4_mut().get_mut(at..at + 2) {
        field.copy_from_slice(&checksum::fold(pseudo).to_be_bytes());
        packet.meta.offload.csum = Csum::Partial { start: packet.meta.l4, field: at as u16 };
    }
}
