//! Checksums that a sender left to the hardware, found by their looks.
//!
//! A host at the other end of a virtual device gives the kernel TCP and UDP packets whose checksum field holds the sum
//! of the pseudo-header only, with a note to finish it. XDP gets the packet and not the note. But the field gives it away:
//!
//! - A packet whose checksum is *right* and happens to look so (one in 65,536) is finished to the very same value: what
//!   is added to make it right is what is in it.
//! - A packet whose checksum is *wrong* and happens to look so would be made right. Where frames come from a wire, and
//!   may have been damaged there, nobody must ask.

use crate::packet::Csum;
use crate::wire::ipv4::Ipv4;
use crate::wire::ipv6::Ipv6;
use crate::wire::{checksum, ethernet, ipv4, ipv6, ipv6_ext, proto, tcp, udp, vlan};

/// The state of the upper-layer checksum of an Ethernet frame that comes from a virtual device.
#[inline]
pub(super) fn state(frame: &[u8]) -> Csum {
    looks(frame).unwrap_or_default()
}

fn looks(frame: &[u8]) -> Option<Csum> {
    let mut at = ethernet::HEADER_LEN;
    let mut ethertype = word(frame, at - 2)?;
    while vlan::is_tag(ethertype) {
        at += vlan::TAG_LEN;
        ethertype = word(frame, at - 2)?;
    }
    let l3 = frame.get(at..)?;
    let (start, protocol, pseudo) = match ethertype {
        ethernet::IPV4 => {
            let ip = Ipv4::new(l3).filter(|ip| ip.version() == 4 && !ip.is_fragment())?;
            let start = ip.header_len().max(ipv4::HEADER_LEN);
            let length = usize::from(ip.total_len()).checked_sub(start)?;
            (start, ip.protocol(), checksum::pseudo_v4(ip.src(), ip.dst(), ip.protocol(), length as u32))
        }
        ethernet::IPV6 => {
            let ip = Ipv6::new(l3).filter(|ip| ip.version() == 6)?;
            let (start, protocol) = match ip.next_header() {
                next @ (proto::TCP | proto::UDP) => (ipv6::HEADER_LEN, next),
                _ => {
                    let chain = ipv6_ext::walk(l3).ok()?;
                    // With nodes still to visit the sum is over the last one's address, which is in the routing header.
                    let visits = chain.routing.is_some_and(|r| r.segments_left > 0);
                    let cut = chain.frag.is_some_and(|f| !f.is_atomic());
                    if chain.l4 == 0 || visits || cut {
                        return None;
                    }
                    (chain.l4, chain.proto)
                }
            };
            let length = (ipv6::HEADER_LEN + usize::from(ip.payload_len())).checked_sub(start)?;
            (start, protocol, checksum::pseudo_v6(ip.src(), ip.dst(), protocol, length as u32))
        }
        _ => return None,
    };
    let field = match protocol {
        proto::TCP => tcp::CHECKSUM_AT,
        proto::UDP => udp::CHECKSUM_AT,
        _ => return None,
    };
    (word(l3, start + field)? == checksum::fold(pseudo))
        .then_some(Csum::Partial { start: start as u16, field: field as u16 })
}

fn word(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|w| u16::from_be_bytes(*w))
}
