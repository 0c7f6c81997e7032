//! Frames written by hand. Every field can be wrong on purpose; what isn't touched is right.
//!
//! Shares no code with the router: a mistake in one must not hide the same mistake in the other.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use sekisho::base::Mac;
use sekisho::lab::probes::checksum;

/// EtherTypes.
pub(crate) const IPV4: u16 = 0x0800;
pub(crate) const ARP: u16 = 0x0806;
pub(crate) const IPV6: u16 = 0x86dd;

/// Protocols.
pub(crate) const HOP_BY_HOP: u8 = 0;
pub(crate) const ICMP: u8 = 1;
pub(crate) const TCP: u8 = 6;
pub(crate) const UDP: u8 = 17;
pub(crate) const ROUTING: u8 = 43;
pub(crate) const FRAGMENT: u8 = 44;
pub(crate) const ICMPV6: u8 = 58;
pub(crate) const NO_NEXT: u8 = 59;
pub(crate) const DESTINATION: u8 = 60;
/// For experiments (RFC 3692): nobody speaks it.
pub(crate) const UNKNOWN: u8 = 253;

/// An Ethernet frame.
pub(crate) fn ethernet(dst: Mac, src: Mac, ethertype: u16, payload: &[u8]) -> Vec<u8> {
    [&dst.0[..], &src.0, &ethertype.to_be_bytes(), payload].concat()
}

/// An IPv4 packet.
#[derive(Clone)]
pub(crate) struct V4 {
    pub(crate) version: u8,
    pub(crate) ihl: Option<u8>,
    pub(crate) tos: u8,
    pub(crate) total: Option<u16>,
    pub(crate) id: u16,
    /// Flags and offset, as they stand in the header.
    pub(crate) fragment: u16,
    pub(crate) ttl: u8,
    pub(crate) protocol: u8,
    pub(crate) sum: Option<u16>,
    pub(crate) src: Ipv4Addr,
    pub(crate) dst: Ipv4Addr,
    pub(crate) options: Vec<u8>,
    pub(crate) payload: Vec<u8>,
}

/// Don't fragment.
pub(crate) const DF: u16 = 0x4000;
/// More fragments.
pub(crate) const MF: u16 = 0x2000;

impl V4 {
    pub(crate) fn new(src: Ipv4Addr, dst: Ipv4Addr, protocol: u8, payload: Vec<u8>) -> Self {
        V4 {
            version: 4,
            ihl: None,
            tos: 0,
            total: None,
            id: 0x1234,
            fragment: 0,
            ttl: 64,
            protocol,
            sum: None,
            src,
            dst,
            options: vec![],
            payload,
        }
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let header = 20 + self.options.len();
        assert_eq!(header % 4, 0, "pad the options");
        let total = self.total.unwrap_or((header + self.payload.len()) as u16);
        let mut b = vec![self.version << 4 | self.ihl.unwrap_or((header / 4) as u8), self.tos];
        b.extend(total.to_be_bytes());
        b.extend(self.id.to_be_bytes());
        b.extend(self.fragment.to_be_bytes());
        b.extend([self.ttl, self.protocol, 0, 0]);
        b.extend(self.src.octets());
        b.extend(self.dst.octets());
        b.extend(&self.options);
        // A header length that lies is summed as it says: it has to get past the checksum.
        let summed = self.ihl.map_or(header, |w| usize::from(w) * 4);
        let all = [&b[..], &self.payload].concat();
        let sum = self.sum.unwrap_or_else(|| checksum(&all[..summed.min(all.len())]));
        b[10..12].copy_from_slice(&sum.to_be_bytes());
        b.extend(&self.payload);
        b
    }

    /// Splits into fragments of at most `size` bytes of payload, a multiple of eight.
    pub(crate) fn fragments(&self, size: usize) -> Vec<V4> {
        let n = self.payload.len().div_ceil(size);
        let pieces = self.payload.chunks(size).enumerate();
        pieces
            .map(|(i, piece)| V4 {
                fragment: (i * size / 8) as u16 | if i + 1 < n { MF } else { 0 },
                payload: piece.to_vec(),
                ..self.clone()
            })
            .collect()
    }
}

/// An IPv6 packet.
#[derive(Clone)]
pub(crate) struct V6 {
    pub(crate) version: u8,
    pub(crate) class: u8,
    pub(crate) flow: u32,
    pub(crate) length: Option<u16>,
    pub(crate) next: u8,
    pub(crate) hops: u8,
    pub(crate) src: Ipv6Addr,
    pub(crate) dst: Ipv6Addr,
    pub(crate) payload: Vec<u8>,
}

impl V6 {
    pub(crate) fn new(src: Ipv6Addr, dst: Ipv6Addr, next: u8, payload: Vec<u8>) -> Self {
        V6 { version: 6, class: 0, flow: 0, length: None, next, hops: 64, src, dst, payload }
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let first = u32::from(self.version) << 28 | u32::from(self.class) << 20 | self.flow;
        let mut b = first.to_be_bytes().to_vec();
        b.extend(self.length.unwrap_or(self.payload.len() as u16).to_be_bytes());
        b.extend([self.next, self.hops]);
        b.extend(self.src.octets());
        b.extend(self.dst.octets());
        b.extend(&self.payload);
        b
    }

    /// Puts an extension header in front of the payload. `body` follows the next-header and length
    /// bytes and is padded with zeros to a multiple of eight.
    pub(crate) fn extend(self, kind: u8, body: &[u8]) -> Self {
        let mut header = vec![self.next, 0];
        header.extend(body);
        header.resize(header.len().next_multiple_of(8), 0);
        header[1] = (header.len() / 8 - 1) as u8;
        header.extend(&self.payload);
        V6 { next: kind, payload: header, ..self }
    }

    /// Puts a fragment header in front of the payload: offset in bytes, more, id.
    pub(crate) fn fragment(self, offset: usize, more: bool, id: u32) -> Self {
        let mut header = vec![self.next, 0];
        header.extend((offset as u16 | u16::from(more)).to_be_bytes());
        header.extend(id.to_be_bytes());
        header.extend(&self.payload);
        V6 { next: FRAGMENT, payload: header, ..self }
    }

    /// Splits into fragments of at most `size` bytes of payload, a multiple of eight.
    pub(crate) fn fragments(&self, size: usize, id: u32) -> Vec<V6> {
        let n = self.payload.len().div_ceil(size);
        let pieces = self.payload.chunks(size).enumerate();
        pieces
            .map(|(i, piece)| {
                V6 { payload: piece.to_vec(), ..self.clone() }.fragment(i * size, i + 1 < n, id)
            })
            .collect()
    }
}

/// The checksum of an upper-layer message with its pseudo-header.
pub(crate) fn upper_checksum(src: IpAddr, dst: IpAddr, protocol: u8, message: &[u8]) -> u16 {
    let mut b = vec![];
    for addr in [src, dst] {
        match addr {
            IpAddr::V4(v4) => b.extend(v4.octets()),
            IpAddr::V6(v6) => b.extend(v6.octets()),
        }
    }
    b.extend((message.len() as u32).to_be_bytes());
    b.extend([0, 0, 0, protocol]);
    b.extend(message);
    checksum(&b)
}

/// A UDP datagram.
pub(crate) fn udp(src: impl Into<IpAddr>, dst: impl Into<IpAddr>, ports: [u16; 2], data: &[u8]) -> Vec<u8> {
    let mut b = vec![];
    b.extend(ports[0].to_be_bytes());
    b.extend(ports[1].to_be_bytes());
    b.extend((8 + data.len() as u16).to_be_bytes());
    b.extend([0, 0]);
    b.extend(data);
    let sum = upper_checksum(src.into(), dst.into(), UDP, &b);
    b[6..8].copy_from_slice(&if sum == 0 { 0xffff } else { sum }.to_be_bytes());
    b
}

pub(crate) const FIN: u8 = 1;
pub(crate) const SYN: u8 = 2;
pub(crate) const RST: u8 = 4;
pub(crate) const PSH: u8 = 8;
pub(crate) const ACK: u8 = 16;

/// A TCP segment: ports, sequence and acknowledgement numbers, flags.
pub(crate) fn tcp(
    src: impl Into<IpAddr>,
    dst: impl Into<IpAddr>,
    ports: [u16; 2],
    numbers: [u32; 2],
    flags: u8,
    data: &[u8],
) -> Vec<u8> {
    let mut b = vec![];
    b.extend(ports[0].to_be_bytes());
    b.extend(ports[1].to_be_bytes());
    b.extend(numbers[0].to_be_bytes());
    b.extend(numbers[1].to_be_bytes());
    b.extend([5 << 4, flags, 0xfa, 0xf0, 0, 0, 0, 0]);
    b.extend(data);
    let sum = upper_checksum(src.into(), dst.into(), TCP, &b);
    b[16..18].copy_from_slice(&sum.to_be_bytes());
    b
}

/// The checksum of SCTP (RFC 9260 §6.8, appendix A), bit by bit.
pub(crate) fn crc32c(bytes: &[u8]) -> u32 {
    /// The polynomial 0x1EDC6F41, turned round.
    const POLYNOMIAL: u32 = 0x82f6_3b78;
    !bytes.iter().fold(!0, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| sum >> 1 ^ if sum & 1 != 0 { POLYNOMIAL } else { 0 })
    })
}

/// An ICMP message: type, code, the second word, and what follows.
pub(crate) fn icmp(kind: u8, code: u8, word: u32, data: &[u8]) -> Vec<u8> {
    let mut b = vec![kind, code, 0, 0];
    b.extend(word.to_be_bytes());
    b.extend(data);
    let sum = checksum(&b);
    b[2..4].copy_from_slice(&sum.to_be_bytes());
    b
}

/// An ICMPv6 message.
pub(crate) fn icmpv6(src: Ipv6Addr, dst: Ipv6Addr, kind: u8, code: u8, word: u32, data: &[u8]) -> Vec<u8> {
    let mut b = vec![kind, code, 0, 0];
    b.extend(word.to_be_bytes());
    b.extend(data);
    let sum = upper_checksum(src.into(), dst.into(), ICMPV6, &b);
    b[2..4].copy_from_slice(&sum.to_be_bytes());
    b
}

/// A neighbor solicitation or advertisement: type, flags word, target, options.
pub(crate) fn neighbor(
    src: Ipv6Addr,
    dst: Ipv6Addr,
    kind: u8,
    flags: u32,
    target: Ipv6Addr,
    options: &[u8],
) -> Vec<u8> {
    icmpv6(src, dst, kind, 0, flags, &[&target.octets()[..], options].concat())
}

/// A link-layer address option: 1 for the source's, 2 for the target's.
pub(crate) fn link_layer_option(kind: u8, mac: Mac) -> Vec<u8> {
    [&[kind, 1][..], &mac.0].concat()
}

/// An ARP packet for IPv4 over Ethernet.
pub(crate) fn arp(op: u16, sender: (Mac, Ipv4Addr), target: (Mac, Ipv4Addr)) -> Vec<u8> {
    let mut b = vec![0, 1, 8, 0, 6, 4];
    b.extend(op.to_be_bytes());
    for (mac, ip) in [sender, target] {
        b.extend(mac.0);
        b.extend(ip.octets());
    }
    b
}

/// The group on which the owner of an address is solicited (RFC 4291 §2.7.1).
pub(crate) fn solicited_node(target: Ipv6Addr) -> Ipv6Addr {
    let o = target.octets();
    Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00 | u16::from(o[13]), u16::from_be_bytes([o[14], o[15]]))
}
