//! Checksums that a sender left to the hardware, found by their looks.
//!
//! A host at the other end of a virtual device gives the kernel TCP and UDP packets whose checksum field holds the sum
//! of the pseudo-header only (SCTP's: nothing), with a note to finish it. XDP gets the packet and not the note. But the field gives it away:
//!
//! - A packet whose checksum is *right* and happens to look so (one in 65,536) is finished to the very same value: what
//!   is added to make it right is what is in it.
//! - A packet whose checksum is *wrong* and happens to look so would be made right. Where frames come from a wire, and
//!   may have been damaged there, nobody must ask.
//!
//! A host that has a tunnel leaves undone the checksum of the packet within, so that is looked at as well:
//!
//! ```text
//!  ├ Ethernet ┼ IP ┼ TCP or UDP …
//!  ├ Ethernet ┼ IP ┼ IP, or GRE and IP, or GRE and Ethernet and IP, or UDP and VXLAN and Ethernet and IP ┼ TCP or UDP …
//! ```

use crate::packet::Csum;
use crate::wire::ipv4::Ipv4;
use crate::wire::ipv6::Ipv6;
use crate::wire::{checksum, ethernet, ipv4, ipv6, ipv6_ext, proto, sctp, tcp, udp, vlan};

/// The state of the upper-layer checksum of an Ethernet frame that comes from a virtual device.
#[inline]
pub(super) fn state(frame: &[u8]) -> Csum {
    let Some((ethertype, l3)) = behind_ethernet(frame, 0) else { return Csum::Wire };
    match packet(frame, ethertype, l3, TUNNELS) {
        // Counted from the outermost IP header.
        Some(Place { start, field }) => Csum::Partial { start: (start - l3) as u16, field: field as u16 },
        None => Csum::Wire,
    }
}

/// A checksum that is not finished: where its sum starts, in the frame, and where the field is from there.
struct Place {
    start: usize,
    field: usize,
}

/// The type behind an Ethernet header and its tags, and where what it speaks of begins.
#[inline]
fn behind_ethernet(frame: &[u8], from: usize) -> Option<(u16, usize)> {
    let mut at = from + ethernet::HEADER_LEN;
    let mut ethertype = word(frame, at - 2)?;
    while vlan::is_tag(ethertype) {
        at += vlan::TAG_LEN;
        ethertype = word(frame, at - 2)?;
    }
    Some((ethertype, at))
}

/// Looks at the packet that begins at a place, and into as many tunnels.
fn packet(frame: &[u8], ethertype: u16, at: usize, tunnels: usize) -> Option<Place> {
    let l3 = frame.get(at..)?;
    let (length, protocol) = match ethertype {
        ethernet::IPV4 => {
            let ip = Ipv4::new(l3).filter(|ip| ip.version() == 4 && !ip.is_fragment())?;
            (ip.header_len().max(ipv4::HEADER_LEN), ip.protocol())
        }
        ethernet::IPV6 => match Ipv6::new(l3).filter(|ip| ip.version() == 6)?.next_header() {
            next @ (proto::TCP | proto::UDP) => (ipv6::HEADER_LEN, next),
            _ => behind_extensions(l3)?,
        },
        _ => return None,
    };
    let start = at + length;
    let undone = |field| {
        // No sum of a pseudo-header is 0: it says that there is no checksum.
        let sum = word(frame, start + field).filter(|sum| *sum != 0)?;
        (sum == pseudo_header(ethertype, l3, length, protocol)?).then_some(Place { start, field })
    };
    let within = tunnels.checked_sub(1);
    match protocol {
        proto::TCP => undone(tcp::CHECKSUM_AT),
        // A CRC, of which nothing is there yet. One that is 0 is finished to 0.
        proto::SCTP => {
            let empty = frame.get(start + sctp::CHECKSUM_AT..)?.first_chunk() == Some(&[0; 4]);
            empty.then_some(Place { start, field: sctp::CHECKSUM_AT })
        }
        proto::UDP => undone(udp::CHECKSUM_AT).or_else(|| {
            let tunnels = within?;
            let vxlan = start + udp::HEADER_LEN;
            // RFC 7348 §5: the flag that the network is named, and all else reserved.
            let [0x08, 0, 0, 0, _, _, _, 0] = frame.get(vxlan..)?.first_chunk::<VXLAN>()? else {
                return None;
            };
            let (ethertype, at) = behind_ethernet(frame, vxlan + VXLAN)?;
            packet(frame, ethertype, at, tunnels)
        }),
        proto::IPIP => packet(frame, ethernet::IPV4, start, within?),
        proto::IPV6 => packet(frame, ethernet::IPV6, start, within?),
        proto::GRE => {
            let (flags, kind) = (word(frame, start)?, word(frame, start + 2)?);
            // RFC 2890 §2: checksum, key, sequence number, each four bytes; version 0.
            let options = [0x8000, 0x2000, 0x1000].iter().filter(|f| flags & **f != 0).count();
            if flags & 0x4fff != 0 {
                return None;
            }
            let (ethertype, at) = match kind {
                TRANSPARENT_ETHERNET => behind_ethernet(frame, start + 4 + 4 * options)?,
                _ => (kind, start + 4 + 4 * options),
            };
            packet(frame, ethertype, at, within?)
        }
        _ => None,
    }
}

/// The folded sum of the pseudo-header of a packet whose headers are `length` bytes.
#[inline]
fn pseudo_header(ethertype: u16, l3: &[u8], length: usize, protocol: u8) -> Option<u16> {
    let sum = match ethertype {
        ethernet::IPV4 => {
            let ip = Ipv4::new(l3)?;
            let upper = usize::from(ip.total_len()).checked_sub(length)?;
            checksum::pseudo_v4(ip.src(), ip.dst(), protocol, upper as u32)
        }
        _ => {
            let ip = Ipv6::new(l3)?;
            let upper = (ipv6::HEADER_LEN + usize::from(ip.payload_len())).checked_sub(length)?;
            checksum::pseudo_v6(ip.src(), ip.dst(), protocol, upper as u32)
        }
    };
    Some(checksum::fold(sum))
}

/// Where the upper layer of an IPv6 packet with extension headers begins, and its protocol, if that has a checksum of its own.
fn behind_extensions(l3: &[u8]) -> Option<(usize, u8)> {
    let chain = ipv6_ext::walk(l3).ok()?;
    // With nodes still to visit the sum is over the last one's address, which is in the routing header.
    let visits = chain.routing.is_some_and(|r| r.segments_left > 0);
    let cut = chain.frag.is_some_and(|f| !f.is_atomic());
    (chain.l4 != 0 && !visits && !cut).then_some((chain.l4, chain.proto))
}

fn word(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|w| u16::from_be_bytes(*w))
}

/// How many tunnels are looked into, one in the other.
const TUNNELS: usize = 2;
/// Bytes of a VXLAN header (RFC 7348 §5).
const VXLAN: usize = 8;
/// An Ethernet frame in GRE (RFC 7637 §3.2).
const TRANSPARENT_ETHERNET: u16 = 0x6558;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::packet::offload::finish_checksum;
    use crate::packet::{Net, Packet};

    /// An IPv4 header from 10.0.0.1 to 10.0.0.2, without its own checksum.
    fn v4(protocol: u8, payload: &[u8]) -> Vec<u8> {
        let mut ip = vec![0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, protocol, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2];
        ip[2..4].copy_from_slice(&(20 + payload.len() as u16).to_be_bytes());
        [ip, payload.to_vec()].concat()
    }

    fn v6(next: u8, payload: &[u8]) -> Vec<u8> {
        let length = (payload.len() as u16).to_be_bytes();
        let mut ip = vec![0x60, 0, 0, 0, length[0], length[1], next, 64];
        ip.extend([0xfd; 16]);
        ip.extend([0xfe; 16]);
        [ip, payload.to_vec()].concat()
    }

    fn udp(checksum: u16, payload: &[u8]) -> Vec<u8> {
        let length = 8 + payload.len() as u16;
        let words = [4_000, 5_000, length, checksum];
        [words.iter().flat_map(|w: &u16| w.to_be_bytes()).collect(), payload.to_vec()].concat()
    }

    fn frame(ethertype: u16, l3: &[u8]) -> Vec<u8> {
        [&[2; 12], &ethertype.to_be_bytes()[..], l3].concat()
    }

    fn pseudo4(protocol: u8, length: u32) -> u16 {
        checksum::fold(checksum::pseudo_v4([10, 0, 0, 1].into(), [10, 0, 0, 2].into(), protocol, length))
    }

    fn undone(payload: &[u8]) -> Vec<u8> {
        v4(proto::UDP, &udp(pseudo4(proto::UDP, 8 + payload.len() as u32), payload))
    }

    #[test]
    fn in_packets_and_in_tunnels() {
        let partial = |start| Csum::Partial { start, field: 6 };
        let inner = undone(b"hello");
        assert_eq!(state(&frame(ethernet::IPV4, &inner)), partial(20));
        let tagged = [&[2; 12], &[0x81, 0, 0, 5, 8, 0][..], &inner].concat();
        assert_eq!(state(&tagged), partial(20));
        assert_eq!(state(&frame(ethernet::IPV4, &v4(proto::IPIP, &inner))), partial(40));
        assert_eq!(state(&frame(ethernet::IPV6, &v6(proto::IPIP, &inner))), partial(60));
        let gre = [&[0x20, 0, 8, 0, 0, 0, 0, 7][..], &inner].concat();
        assert_eq!(state(&frame(ethernet::IPV4, &v4(proto::GRE, &gre))), partial(48));
        let bridged = [&[0, 0, 0x65, 0x58][..], &frame(ethernet::IPV4, &inner)].concat();
        assert_eq!(state(&frame(ethernet::IPV4, &v4(proto::GRE, &bridged))), partial(58));
        let vxlan = [&[8, 0, 0, 0, 0, 0, 7, 0][..], &frame(ethernet::IPV4, &inner)].concat();
        assert_eq!(state(&frame(ethernet::IPV4, &v4(proto::UDP, &udp(0, &vxlan)))), partial(70));
        let sctp = [[0; 12], [1; 12]].concat();
        assert_eq!(
            state(&frame(ethernet::IPV4, &v4(proto::SCTP, &sctp))),
            Csum::Partial { start: 20, field: 8 }
        );
        assert_eq!(state(&frame(ethernet::IPV4, &v4(proto::SCTP, &[1; 24]))), Csum::Wire);
        // Three, one in the other, are one too many.
        let deep = v4(proto::IPIP, &v4(proto::IPIP, &v4(proto::IPIP, &inner)));
        assert_eq!(state(&frame(ethernet::IPV4, &deep)), Csum::Wire);
    }

    #[test]
    fn not_where_it_can_t_be() {
        let mut fragment = undone(b"hello");
        fragment[6] = 0x20;
        assert_eq!(state(&frame(ethernet::IPV4, &fragment)), Csum::Wire);
        assert_eq!(state(&frame(ethernet::ARP, &undone(b"hello"))), Csum::Wire);
        assert_eq!(state(&frame(ethernet::IPV4, &v4(proto::UDP, &udp(0, b"none")))), Csum::Wire);
        let mut routed = v6(43, &[&[proto::UDP, 0, 4, 1, 0, 0, 0, 0][..], &udp(0, b"")].concat());
        let sum = checksum::pseudo_v6([0xfd; 16].into(), [0xfe; 16].into(), proto::UDP, 8);
        routed[54..56].copy_from_slice(&checksum::fold(sum).to_be_bytes());
        assert_eq!(state(&frame(ethernet::IPV6, &routed)), Csum::Wire);
        routed[43] = 0;
        assert_eq!(state(&frame(ethernet::IPV6, &routed)), Csum::Partial { start: 48, field: 6 });
    }

    proptest! {
        #[test]
        fn any_bytes_do(bytes in proptest::collection::vec(any::<u8>(), 0..120), kind in 0usize..4) {
            let mut bytes = bytes;
            let types = [[8, 0], [0x86, 0xdd], [0x81, 0], [0x88, 0xa8]];
            if let Some(place) = bytes.get_mut(12..14) {
                place.copy_from_slice(&types[kind]);
            }
            state(&bytes);
        }

        /// A right checksum that looks undone is finished to what it is.
        #[test]
        fn a_right_one_stays_as_it_is(data in proptest::collection::vec(any::<u8>(), 0..64)) {
            // The last word makes the whole sum to 0, so that the right checksum is the pseudo-header's sum.
            let mut payload = data;
            payload.resize(payload.len().next_multiple_of(2), 0);
            payload.extend([0, 0]);
            let sum = pseudo4(proto::UDP, 8 + payload.len() as u32);
            let body = udp(sum, &payload);
            let rest = checksum::fold(checksum::sum(&body) + checksum::word(sum));
            let at = payload.len() - 2;
            payload[at..].copy_from_slice(&(!rest).to_be_bytes());
            let whole = v4(proto::UDP, &udp(sum, &payload));
            prop_assert_eq!(state(&frame(ethernet::IPV4, &whole)), Csum::Partial { start: 20, field: 6 });
            let mut packet = Packet::from_slice(&frame(ethernet::IPV4, &whole));
            (packet.meta.net, packet.meta.l3, packet.meta.l4) = (Net::Ipv4, 14, 20);
            packet.meta.proto = proto::UDP;
            packet.meta.offload.csum = state(packet.data());
            let before = packet.data().to_vec();
            prop_assert!(finish_checksum(&mut packet));
            prop_assert_eq!(packet.data(), before);
        }
    }
}
