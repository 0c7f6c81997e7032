//! The first look at a frame: whom it is for, what it is, and whether its headers hold together.
//!
//! Reads each header once and leaves offsets in the packet's metadata. The checks are those of
//! RFC 1812 §5.2.2 and what `ip_rcv` and `ipv6_rcv` do; each has a drop reason of its own.

use crate::base::{DropReason, LinkId, Mac};
use crate::packet::{Frag, L2Kind, Net, Packet, offload};
use crate::wire::icmpv6::problem;
use crate::wire::ipv6_ext::{self, OptionError, OptionsOf};
use crate::wire::{ethernet, ipv4::Ipv4, ipv6, ipv6::Ipv6, proto, transport, vlan};

use super::{Cx, reply, trace};

/// The link-layer header. Leaves `meta.l3` and `meta.net`.
pub(super) fn link(cx: &mut Cx<'_>, p: &mut Packet) -> Result<(), DropReason> {
    let Some(link) = cx.snap.links.get(p.meta.ingress) else { return Err(DropReason::LinkDown) };
    if !link.up {
        return Err(DropReason::LinkDown);
    }
    match link.mac {
        Some(mac) => ethernet(p, mac),
        None => {
            p.meta.l2 = L2Kind::Host;
            p.meta.l3 = 0;
            p.meta.net = match p.data().first().map(|b| b >> 4) {
                Some(4) => Net::Ipv4,
                Some(6) => Net::Ipv6,
                Some(_) => return Err(DropReason::EtherTypeUnknown),
                None => return Err(DropReason::FrameTooShort),
            };
            Ok(())
        }
    }
}

fn ethernet(p: &mut Packet, own: Mac) -> Result<(), DropReason> {
    let Some(eth) = ethernet::Ethernet::new(p.data()) else { return Err(DropReason::FrameTooShort) };
    let (dst, src, mut kind) = (eth.dst(), eth.src(), eth.ethertype());
    let mut l3 = ethernet::HEADER_LEN;
    if matches!(kind, ethernet::VLAN | ethernet::QINQ) {
        // A priority tag (VID 0) says nothing of a VLAN (802.1Q §6.9); any other is another link's.
        let tag = vlan::Vlan::new(eth.payload()).ok_or(DropReason::FrameTooShort)?;
        if tag.vid() != 0 {
            return Err(DropReason::VlanUnknown);
        }
        kind = tag.ethertype();
        l3 += vlan::TAG_LEN;
    }
    if src.is_group() {
        return Err(DropReason::EthBadSource);
    }
    p.meta.l2 = match dst {
        d if d == own => L2Kind::Host,
        Mac::BROADCAST => L2Kind::Broadcast,
        d if d.is_group() => L2Kind::Multicast,
        _ => return Err(DropReason::OtherHost),
    };
    p.meta.l3 = l3 as u16;
    p.meta.net = match kind {
        ethernet::IPV4 => Net::Ipv4,
        ethernet::IPV6 => Net::Ipv6,
        ethernet::ARP => Net::Arp,
        _ => return Err(DropReason::EtherTypeUnknown),
    };
    Ok(())
}

/// The network header of a packet from outside.
pub(super) fn network(cx: &mut Cx<'_>, p: &mut Packet) -> Result<(), DropReason> {
    match p.meta.net {
        Net::Ipv4 => ipv4(p)?,
        Net::Ipv6 => ipv6(cx, p)?,
        Net::Arp | Net::None => return Err(DropReason::EtherTypeUnknown),
    }
    // A super-frame that lies about itself would be cut wrongly far from here, so it stops here.
    let unfinished = p.meta.offload.gso.is_some() || p.meta.offload.csum != crate::packet::Csum::Wire;
    if unfinished && !offload::validate(p) {
        return Err(DropReason::OffloadInvalid);
    }
    let size = offload::segment_len(p);
    let mtu = cx.snap.links.get(p.meta.ingress).map_or(0, |l| l.mtu as usize);
    if p.meta.ingress != LinkId::LO && size > mtu {
        return Err(DropReason::FrameTooLong);
    }
    Ok(())
}

/// The network header of a packet made here: only read, for it was just written.
pub(super) fn own(cx: &mut Cx<'_>, p: &mut Packet) -> Result<(), DropReason> {
    trace::made(cx, p);
    p.meta.l2 = L2Kind::Host;
    p.meta.net = match p.l3().first().map(|b| b >> 4) {
        Some(4) => Net::Ipv4,
        Some(6) => Net::Ipv6,
        _ => return Err(DropReason::NotEncodable),
    };
    match p.meta.net {
        Net::Ipv4 => ipv4(p)?,
        _ => {
            let total = Ipv6::new(p.l3()).map(|ip| ipv6::HEADER_LEN + usize::from(ip.payload_len()));
            let total = total.filter(|n| *n <= p.l3_len()).ok_or(DropReason::NotEncodable)?;
            p.truncate(usize::from(p.meta.l3) + total);
            chain(cx, p)?;
        }
    }
    Ok(())
}

fn ipv4(p: &mut Packet) -> Result<(), DropReason> {
    let data = p.l3();
    let Some(ip) = Ipv4::new(data) else { return Err(DropReason::Ip4TooShort) };
    if ip.version() != 4 {
        return Err(DropReason::Ip4BadVersion);
    }
    let (header, total, len) = (ip.header_len(), usize::from(ip.total_len()), data.len());
    if header < 20 || header > len {
        return Err(DropReason::Ip4BadHeaderLength);
    }
    if !ip.verify_checksum() {
        return Err(DropReason::Ip4BadChecksum);
    }
    if total > len {
        return Err(DropReason::Ip4Truncated);
    }
    if total < header {
        return Err(DropReason::Ip4BadTotalLength);
    }
    let frag = match (ip.frag_offset(), ip.more_fragments()) {
        (0, false) => Frag::Whole,
        (0, true) => Frag::First,
        _ => Frag::Later,
    };
    p.meta.proto = ip.protocol();
    p.meta.frag = frag;
    p.meta.options = header > 20;
    p.meta.l4 = if frag == Frag::Later { 0 } else { header as u16 };
    // Ethernet pads short frames: what lies behind the total length is not the packet's.
    p.truncate(usize::from(p.meta.l3) + total);
    Ok(())
}

fn ipv6(cx: &mut Cx<'_>, p: &mut Packet) -> Result<(), DropReason> {
    let Some(ip) = Ipv6::new(p.l3()) else { return Err(DropReason::Ip6TooShort) };
    if ip.version() != 6 {
        return Err(DropReason::Ip6BadVersion);
    }
    let total = 40 + usize::from(ip.payload_len());
    if total > p.l3_len() {
        return Err(DropReason::Ip6Truncated);
    }
    let (src, dst) = (ip.src(), ip.dst());
    if src.is_multicast() {
        return Err(DropReason::MartianSource);
    }
    if p.meta.ingress != LinkId::LO {
        if src.is_loopback() {
            return Err(DropReason::MartianSource);
        }
        // Scopes 0 (reserved) and 1 (interface-local) never come over a wire (RFC 4291 §2.7).
        if dst.is_loopback() || dst.is_multicast() && dst.octets()[1] & 0xf < 2 {
            return Err(DropReason::MartianDestination);
        }
    }
    let hop_by_hop = ip.next_header() == proto::HOP_BY_HOP;
    p.truncate(usize::from(p.meta.l3) + total);
    chain(cx, p)?;
    if hop_by_hop {
        self::hop_by_hop(cx, p)?;
    }
    Ok(())
}

/// Walks the IPv6 extension headers. Those that make no sense are for the destination to refuse: a router on
/// the way does not look at them (RFC 8200 §4), so that nothing is then known of what follows. But what is
/// made to hide its upper layer from everybody on the way goes no further (RFC 7112 §5).
pub(super) fn chain(cx: &mut Cx<'_>, p: &mut Packet) -> Result<(), DropReason> {
    let hidden = ipv6_ext::Chain { proto: proto::NONE, ..ipv6_ext::Chain::default() };
    let found = match ipv6_ext::walk(p.l3()) {
        Ok(found) => found,
        Err(ipv6_ext::ChainError::TooLong) => return Err(DropReason::Ip6ExtensionChain),
        Err(ipv6_ext::ChainError::Truncated | ipv6_ext::ChainError::Misplaced { .. }) => hidden,
    };
    p.meta.proto = found.proto;
    p.meta.options = found.hop_by_hop;
    p.meta.l4 = found.l4 as u16;
    p.meta.frag = match found.frag {
        None => Frag::Whole,
        Some(f) if f.offset == 0 && !f.more => Frag::Whole,
        Some(f) if f.offset == 0 => Frag::First,
        Some(_) => Frag::Later,
    };
    if p.meta.frag == Frag::First && !transport::header_visible(p.meta.proto, p.l4()) {
        // RFC 7112 §5: the pointer is 0.
        reply::parameter_problem6(cx, p, problem::INCOMPLETE_CHAIN, 0);
        return Err(DropReason::Ip6IncompleteFirstFragment);
    }
    Ok(())
}

/// Whether the extension headers of a packet for this router make sense.
pub(super) fn chain_is_whole(cx: &mut Cx<'_>, p: &Packet) -> Result<(), DropReason> {
    match ipv6_ext::walk(p.l3()) {
        Ok(_) => Ok(()),
        Err(ipv6_ext::ChainError::TooLong) => Err(DropReason::Ip6ExtensionChain),
        Err(ipv6_ext::ChainError::Truncated) => Err(DropReason::Ip6BadExtension),
        Err(ipv6_ext::ChainError::Misplaced { pointer }) => {
            // RFC 8200 §4.1: hop-by-hop options only right behind the IPv6 header, else 4/1.
            reply::parameter_problem6(cx, p, problem::NEXT_HEADER, pointer as u32);
            Err(DropReason::Ip6BadExtension)
        }
    }
}

/// Options that every router on the way looks at (RFC 8200 §4.3).
fn hop_by_hop(cx: &mut Cx<'_>, p: &mut Packet) -> Result<(), DropReason> {
    let whole = p
        .l3()
        .get(ipv6::HEADER_LEN + 1)
        .is_some_and(|n| p.l3_len() >= ipv6::HEADER_LEN + (usize::from(*n) + 1) * 8);
    if !whole {
        return Err(DropReason::Ip6BadExtension);
    }
    let verdict = ipv6_ext::options(p.l3(), ipv6::HEADER_LEN, OptionsOf::HopByHop);
    refuse_options(cx, p, verdict.err())
}

/// Answers for options that can't be dealt with.
pub(super) fn refuse_options(
    cx: &mut Cx<'_>,
    p: &Packet,
    why: Option<OptionError>,
) -> Result<(), DropReason> {
    match why {
        None => Ok(()),
        Some(OptionError::Malformed | OptionError::Discard) => Err(DropReason::Ip6BadOption),
        Some(OptionError::Problem { code, pointer }) => {
            reply::parameter_problem6(cx, p, code, pointer);
            Err(DropReason::Ip6BadOption)
        }
    }
}
