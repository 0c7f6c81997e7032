//! Cutting super-frames into segments in software, for devices that can't.
//!
//! ```text
//!  super-frame  │ L2 │ L3 + ext │ L4 │  size  │  size  │ rest │
//!
//!  segments     │ L2 │ L3 + ext │ L4 │  size  │   ident +0, seq +0
//!               │ L2 │ L3 + ext │ L4 │  size  │   ident +1, seq +size
//!               │ L2 │ L3 + ext │ L4 │ rest │     ident +2, seq +2·size; FIN, PSH
//! ```
//!
//! Headers, options and extension headers are copied; lengths, idents, sequence numbers, flags and
//! checksums are each segment's own. As Linux does it (`inet_gso_segment`, `tcp_gso_segment`).

use std::net::IpAddr;

use super::offload::{headers_len, validate};
use super::{Csum, Gso, GsoKind, Net, Offload, Packet, Pool};
use crate::base::Column;
use crate::wire::ipv4::Ipv4;
use crate::wire::ipv6::Ipv6;
use crate::wire::tcp::{self, Tcp};
use crate::wire::udp::Udp;
use crate::wire::{checksum, ipv6};

/// Cuts a super-frame and appends its segments, in order, with finished checksums. Gives their number, and the packet
/// back unchanged if it is no super-frame or one whose headers don't fit it.
///
/// The first segment stays on the packet's side of the ledger, the others are made here. The packet's storage goes to
/// the pool.
pub fn segment(packet: Packet, pool: &mut Pool, out: &mut Vec<Packet>) -> Result<usize, Packet> {
    let Some(template) = Template::of(&packet) else { return Err(packet) };
    let (l2, size) = (usize::from(packet.meta.l3), usize::from(template.gso.size));
    let (headers, payload) = packet.data().split_at(l2 + template.headers);
    // A super-frame without payload is one segment all the same.
    let count = payload.len().div_ceil(size).max(1);
    out.reserve(count);
    for index in 0..count {
        let from = index * size;
        let chunk = &payload[from..payload.len().min(from + size)];
        let mut piece = pool.sized(headers.len() + chunk.len());
        piece.append(headers);
        piece.append(chunk);
        piece.meta = packet.meta;
        piece.meta.offload = Offload::default();
        if index > 0 {
            piece.meta.column = Column::Originated;
            // Counted once, with the first.
            piece.meta.untold = 0;
        }
        template.write(&mut piece, index, count, checksum::sum(chunk));
        out.push(piece);
    }
    pool.put(packet);
    Ok(count)
}

/// What all segments have in common.
struct Template {
    gso: Gso,
    net: Net,
    /// From the L3 header.
    l4: usize,
    /// From the L3 header to the payload.
    headers: usize,
    /// The identification of the first segment.
    ident: u16,
    /// The sequence number of the first segment.
    seq: u32,
    flags: u8,
    /// The IPv4 header's sum without total length, identification and checksum.
    l3_sum: u64,
    /// The sum of pseudo-header and upper-layer header, without what differs: the lengths, sequence number,
    /// flags and checksum.
    l4_sum: u64,
}

impl Template {
    fn of(packet: &Packet) -> Option<Template> {
        let gso = packet.meta.offload.gso?;
        let headers = headers_len(packet).filter(|_| validate(packet))?;
        let (l3, l4) = (packet.l3(), usize::from(packet.meta.l4));
        let (ident, src, dst, l3_sum) = match packet.meta.net {
            Net::Ipv4 => {
                let ip = Ipv4::new(l3)?;
                let mut header = [0; 60];
                let header = header.get_mut(..ip.header_len())?;
                header.copy_from_slice(l3.get(..header.len())?);
                let mut blank = Ipv4::new(&mut *header)?;
                blank.set_total_len(0);
                blank.set_ident(0);
                blank.set_checksum(0);
                (ip.ident(), IpAddr::V4(ip.src()), IpAddr::V4(ip.dst()), checksum::sum(header))
            }
            Net::Ipv6 => {
                let ip = Ipv6::new(l3)?;
                (0, IpAddr::V6(ip.src()), IpAddr::V6(ip.dst()), 0)
            }
            Net::None | Net::Arp => return None,
        };
        let mut header = [0; 60];
        let header = header.get_mut(..headers - l4)?;
        header.copy_from_slice(l3.get(l4..headers)?);
        let l4_len = l3.len() - l4;
        let (mut seq, mut flags) = (0, 0);
        let field = match gso.kind {
            GsoKind::Udp => {
                let mut udp = Udp::new(&mut *header)?;
                let field = udp.checksum();
                udp.set_length(0);
                udp.set_checksum(0);
                field
            }
            GsoKind::Tcp4 | GsoKind::Tcp6 => {
                let mut tcp = Tcp::new(&mut *header)?;
                (seq, flags) = (tcp.seq(), tcp.flags());
                let field = tcp.checksum();
                tcp.set_seq(0);
                tcp.set_flags(0);
                tcp.set_checksum(0);
                field
            }
        };
        let pseudo = match packet.meta.offload.csum {
            // The sender's own sum: only it knows the last address of a routing header. Its length is the whole.
            Csum::Partial { .. } => checksum::word(field) + checksum::word(!(l4_len as u16)),
            Csum::Wire | Csum::Verified => checksum::pseudo(src, dst, packet.meta.proto, 0)?,
        };
        let l4_sum = pseudo + checksum::sum(header);
        Some(Template { gso, net: packet.meta.net, l4, headers, ident, seq, flags, l3_sum, l4_sum })
    }

    /// Makes segment `index` of `count` of a copy of the headers and its payload, whose sum is given.
    fn write(&self, piece: &mut Packet, index: usize, count: usize, payload_sum: u64) {
        let l3 = piece.l3_mut();
        // No casts cut anything off: the lengths of the super-frame fit, and its segments are no longer.
        let l4_len = l3.len().saturating_sub(self.l4) as u16;
        match self.net {
            Net::Ipv4 => {
                let l3_len = l3.len() as u16;
                let ident = self.ident.wrapping_add(index as u16);
                let sum = self.l3_sum + checksum::word(l3_len) + checksum::word(ident);
                if let Some(mut ip) = Ipv4::new(&mut *l3) {
                    ip.set_total_len(l3_len);
                    ip.set_ident(ident);
                    ip.set_checksum(!checksum::fold(sum));
                }
            }
            _ => {
                let l3_len = l3.len();
                if let Some(mut ip) = Ipv6::new(&mut *l3) {
                    ip.set_payload_len(l3_len.saturating_sub(ipv6::HEADER_LEN) as u16);
                }
            }
        }
        let sum = self.l4_sum + checksum::word(l4_len) + payload_sum;
        let l4 = l3.get_mut(self.l4..).unwrap_or_default();
        match self.gso.kind {
            GsoKind::Udp => {
                if let Some(mut udp) = Udp::new(l4) {
                    udp.set_length(l4_len);
                    udp.set_checksum(checksum::udp(!checksum::fold(sum + checksum::word(l4_len))));
                }
            }
            GsoKind::Tcp4 | GsoKind::Tcp6 => {
                let mut flags = self.flags;
                if index + 1 < count {
                    flags &= !(tcp::FIN | tcp::PSH);
                }
                if index > 0 && self.gso.ecn {
                    flags &= !tcp::CWR;
                }
                let seq = self.seq.wrapping_add((index * usize::from(self.gso.size)) as u32);
                let seq_sum = checksum::word((seq >> 16) as u16) + checksum::word(seq as u16);
                if let Some(mut tcp) = Tcp::new(l4) {
                    tcp.set_seq(seq);
                    tcp.set_flags(flags);
                    let sum = sum + seq_sum + checksum::word(flags.into());
                    tcp.set_checksum(checksum::udp(!checksum::fold(sum)));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
