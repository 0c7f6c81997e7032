//! Neighbor discovery for IPv6 (RFC 4861 §4).
//!
//! ```text
//!  neighbor solicitation, advertisement, redirect
//! +---------------+---------------+-------------------------------+
//! |     type      |   code (0)    |           checksum            |
//! +-+-+-+---------+---------------+-------------------------------+
//! |R|S|O|                  reserved (flags of an advertisement)   |
//! +-+-+-+---------------------------------------------------------+
//! |                    target address, 128 bits                   |
//! +---------------------------------------------------------------+
//! |             destination address, in a redirect only           |
//! +---------------------------------------------------------------+
//! |     options: │ type │ length, in 8 bytes │ value … │
//! ```
//!
//! [`parse`] makes the checks of §6.1, §7.1 and §8.1 that concern the message; that the hop limit is 255 and
//! the checksum right is for the caller to see to.

use std::net::Ipv6Addr;

use super::bytes::{mac_at, put, put_u8, u8_at, u16_at, u32_at, v6_at};
use super::{icmpv6, ipv6};
use crate::base::Mac;

/// The hop limit of every message: it shows that no router passed it on (RFC 4861 §11.2).
pub const HOP_LIMIT: u8 = 255;

/// A valid message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Message<'a> {
    /// A host asks for routers.
    RouterSolicit {
        /// The host's hardware address.
        source_mac: Option<Mac>,
    },
    /// A router tells of itself.
    RouterAdvert(RouterAdvert),
    /// Who has the target?
    NeighborSolicit(NeighborSolicit),
    /// A station has the target.
    NeighborAdvert(NeighborAdvert),
    /// A router knows a better next hop.
    Redirect(Redirect<'a>),
}

/// A router advertisement (RFC 4861 §4.2), without its prefixes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RouterAdvert {
    /// The hop limit to use; 0 unspecified.
    pub hop_limit: u8,
    /// Addresses are given out by DHCPv6.
    pub managed: bool,
    /// Other things are given out by DHCPv6.
    pub other: bool,
    /// How long it is a default router, in seconds; 0: it is none.
    pub lifetime: u16,
    /// Reachable time in milliseconds; 0 unspecified.
    pub reachable_ms: u32,
    /// Retransmission time in milliseconds; 0 unspecified.
    pub retrans_ms: u32,
    /// The router's hardware address.
    pub source_mac: Option<Mac>,
    /// The link's MTU.
    pub mtu: Option<u32>,
}

/// A neighbor solicitation (RFC 4861 §4.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NeighborSolicit {
    /// The address asked for.
    pub target: Ipv6Addr,
    /// The asker's hardware address.
    pub source_mac: Option<Mac>,
    /// Tells a probe for duplicates that came back from another station's (RFC 7527 §4.1).
    pub nonce: Option<[u8; 6]>,
}

/// A neighbor advertisement (RFC 4861 §4.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NeighborAdvert {
    /// The address it is about.
    pub target: Ipv6Addr,
    /// The station is a router.
    pub router: bool,
    /// It answers a solicitation.
    pub solicited: bool,
    /// It replaces what is known.
    pub override_: bool,
    /// The station's hardware address.
    pub target_mac: Option<Mac>,
}

/// A redirect (RFC 4861 §4.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Redirect<'a> {
    /// The better next hop; the destination itself if it is on the link.
    pub target: Ipv6Addr,
    /// Where packets were going.
    pub destination: Ipv6Addr,
    /// The hardware address of the target.
    pub target_mac: Option<Mac>,
    /// The packet that gave rise to it, or its beginning; empty if it is not quoted.
    pub redirected: &'a [u8],
}

/// Why a message is not valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NdpError {
    /// No message of neighbor discovery.
    #[error("ICMPv6 type {0} is not neighbor discovery")]
    Kind(u8),
    /// The code is not 0.
    #[error("code {0} is not 0")]
    Code(u8),
    /// Shorter than its fixed part.
    #[error("the message is cut short")]
    Short,
    /// An option of no length, beyond the end, or of a length its type can't have.
    #[error("an option has a length that can't be")]
    Option,
    /// The target is a group, or in a redirect neither link-local nor the destination.
    #[error("the target address can't be")]
    Target,
    /// The source address is not allowed for this message.
    #[error("the source address can't be")]
    Source,
    /// The destination address is not allowed for this message.
    #[error("the destination address can't be")]
    Destination,
    /// A hardware address although there is no source address (RFC 4861 §7.1.1).
    #[error("a source hardware address from the unspecified address")]
    SourceMac,
}

/// Reads a message, from the ICMPv6 header to its end; `src` and `dst` are the IPv6 header's.
pub fn parse<'a>(src: Ipv6Addr, dst: Ipv6Addr, message: &'a [u8]) -> Result<Message<'a>, NdpError> {
    let kind = u8_at(message, 0);
    let fixed = match kind {
        icmpv6::ROUTER_SOLICIT => 8,
        icmpv6::ROUTER_ADVERT => 16,
        icmpv6::NEIGHBOR_SOLICIT | icmpv6::NEIGHBOR_ADVERT => 24,
        icmpv6::REDIRECT => 40,
        other => return Err(NdpError::Kind(other)),
    };
    let options = message.get(fixed..).ok_or(NdpError::Short)?;
    let code = u8_at(message, 1);
    if code != 0 {
        return Err(NdpError::Code(code));
    }
    let options = Options::parse(options)?;
    let target = v6_at(message, 8);
    match kind {
        icmpv6::ROUTER_SOLICIT => {
            if src.is_unspecified() && options.source.is_some() {
                return Err(NdpError::SourceMac);
            }
            Ok(Message::RouterSolicit { source_mac: options.source })
        }
        icmpv6::ROUTER_ADVERT => {
            if !src.is_unicast_link_local() {
                return Err(NdpError::Source);
            }
            let flags = u8_at(message, 5);
            Ok(Message::RouterAdvert(RouterAdvert {
                hop_limit: u8_at(message, 4),
                managed: flags & 0x80 != 0,
                other: flags & 0x40 != 0,
                lifetime: u16_at(message, 6),
                reachable_ms: u32_at(message, 8),
                retrans_ms: u32_at(message, 12),
                source_mac: options.source,
                mtu: options.mtu,
            }))
        }
        icmpv6::NEIGHBOR_SOLICIT => {
            if target.is_multicast() {
                return Err(NdpError::Target);
            }
            if src.is_unspecified() {
                if !is_solicited_node(dst) {
                    return Err(NdpError::Destination);
                }
                if options.source.is_some() {
                    return Err(NdpError::SourceMac);
                }
            }
            Ok(Message::NeighborSolicit(NeighborSolicit {
                target,
                source_mac: options.source,
                nonce: options.nonce,
            }))
        }
        icmpv6::NEIGHBOR_ADVERT => {
            let flags = u8_at(message, 4);
            let solicited = flags & SOLICITED != 0;
            if target.is_multicast() {
                return Err(NdpError::Target);
            }
            if dst.is_multicast() && solicited {
                return Err(NdpError::Destination);
            }
            Ok(Message::NeighborAdvert(NeighborAdvert {
                target,
                router: flags & ROUTER != 0,
                solicited,
                override_: flags & OVERRIDE != 0,
                target_mac: options.target,
            }))
        }
        _ => {
            let destination = v6_at(message, 24);
            if !src.is_unicast_link_local() {
                return Err(NdpError::Source);
            }
            if destination.is_multicast() {
                return Err(NdpError::Destination);
            }
            if target != destination && !target.is_unicast_link_local() {
                return Err(NdpError::Target);
            }
            Ok(Message::Redirect(Redirect {
                target,
                destination,
                target_mac: options.target,
                redirected: options.redirected,
            }))
        }
    }
}

impl NeighborSolicit {
    /// A solicitation has a hardware address or, if it has no source to go with it, a nonce.
    fn options(&self) -> (u8, Option<[u8; 6]>) {
        match (self.source_mac, self.nonce) {
            (Some(mac), _) => (SOURCE_MAC, Some(mac.0)),
            (None, nonce) => (NONCE, nonce),
        }
    }

    /// Writes the message with its checksum to the front of `buf`; gives its length, at most 32, or `None` if it
    /// does not fit.
    pub fn emit(&self, src: Ipv6Addr, dst: Ipv6Addr, buf: &mut [u8]) -> Option<usize> {
        let body = Body { flags: 0, addresses: &[self.target], six: self.options(), quote: &[] };
        body.emit(icmpv6::NEIGHBOR_SOLICIT, src, dst, buf)
    }
}

impl NeighborAdvert {
    /// Writes the message with its checksum to the front of `buf`; gives its length, at most 32, or `None` if it
    /// does not fit.
    pub fn emit(&self, src: Ipv6Addr, dst: Ipv6Addr, buf: &mut [u8]) -> Option<usize> {
        let flag = |set, flag| if set { flag } else { 0 };
        let flags =
            flag(self.router, ROUTER) | flag(self.solicited, SOLICITED) | flag(self.override_, OVERRIDE);
        let body = Body {
            flags,
            addresses: &[self.target],
            six: (TARGET_MAC, self.target_mac.map(|m| m.0)),
            quote: &[],
        };
        body.emit(icmpv6::NEIGHBOR_ADVERT, src, dst, buf)
    }
}

impl Redirect<'_> {
    /// Writes the message with its checksum to the front of `buf`, with as much of the redirected packet as fits into
    /// 1280 bytes, in steps of 8 as Linux does; gives its length, or `None` if the buffer is too small.
    pub fn emit(&self, src: Ipv6Addr, dst: Ipv6Addr, buf: &mut [u8]) -> Option<usize> {
        let mac_len = if self.target_mac.is_some() { 8 } else { 0 };
        let room = ipv6::MIN_MTU - ipv6::HEADER_LEN - 40 - mac_len - 8;
        let quote = &self.redirected[..self.redirected.len().min(room) & !7];
        let addresses = &[self.target, self.destination];
        let body = Body { flags: 0, addresses, six: (TARGET_MAC, self.target_mac.map(|m| m.0)), quote };
        body.emit(icmpv6::REDIRECT, src, dst, buf)
    }
}

/// The solicited-node group of an address (RFC 4291 §2.7.1): ff02::1:ff and its last 24 bits.
pub fn solicited_node(addr: Ipv6Addr) -> Ipv6Addr {
    let [.., a, b, c] = addr.octets();
    Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00 | u16::from(a), u16::from_be_bytes([b, c]))
}

/// Whether an address is a solicited-node group.
pub fn is_solicited_node(addr: Ipv6Addr) -> bool {
    solicited_node(addr) == addr
}

/// The options of a message. Of two of a kind the first counts, as in Linux.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Options<'a> {
    source: Option<Mac>,
    target: Option<Mac>,
    mtu: Option<u32>,
    nonce: Option<[u8; 6]>,
    redirected: &'a [u8],
}

impl<'a> Options<'a> {
    fn parse(mut b: &'a [u8]) -> Result<Self, NdpError> {
        let mut seen = Options::default();
        while !b.is_empty() {
            let len = usize::from(u8_at(b, 1)) * 8;
            if len == 0 || len > b.len() {
                return Err(NdpError::Option);
            }
            let (option, rest) = b.split_at(len);
            b = rest;
            // A hardware address of another length is not Ethernet's.
            let mac = || if len == 8 { Ok(mac_at(option, 2)) } else { Err(NdpError::Option) };
            match option[0] {
                SOURCE_MAC if seen.source.is_none() => seen.source = Some(mac()?),
                TARGET_MAC if seen.target.is_none() => seen.target = Some(mac()?),
                NONCE if seen.nonce.is_none() => seen.nonce = option[2..].try_into().ok(),
                REDIRECTED if seen.redirected.is_empty() => seen.redirected = &option[8..],
                MTU if seen.mtu.is_none() => {
                    if len != 8 {
                        return Err(NdpError::Option);
                    }
                    seen.mtu = Some(u32_at(option, 4));
                }
                _ => {}
            }
        }
        Ok(seen)
    }
}

/// What the messages made here have in common.
struct Body<'a> {
    flags: u8,
    addresses: &'a [Ipv6Addr],
    /// An option of six bytes and its type.
    six: (u8, Option<[u8; 6]>),
    quote: &'a [u8],
}

impl Body<'_> {
    fn emit(&self, kind: u8, src: Ipv6Addr, dst: Ipv6Addr, buf: &mut [u8]) -> Option<usize> {
        let mac_len = if self.six.1.is_some() { 8 } else { 0 };
        let quote_len = if self.quote.is_empty() { 0 } else { 8 + self.quote.len() };
        let message = buf.get_mut(..8 + 16 * self.addresses.len() + mac_len + quote_len)?;
        message.fill(0);
        put(message, 0, [kind, 0]);
        put_u8(message, 4, self.flags);
        let mut at = 8;
        for address in self.addresses {
            put(message, at, address.octets());
            at += 16;
        }
        if let (option, Some(six)) = self.six {
            put(message, at, [option, 1]);
            put(message, at + 2, six);
            at += 8;
        }
        if !self.quote.is_empty() {
            put(message, at, [REDIRECTED, (quote_len / 8) as u8]);
            message[at + 8..].copy_from_slice(self.quote);
        }
        icmpv6::fill_checksum(message, src, dst);
        Some(message.len())
    }
}

/// Option types (RFC 4861 §4.6).
const SOURCE_MAC: u8 = 1;
const TARGET_MAC: u8 = 2;
const REDIRECTED: u8 = 4;
const MTU: u8 = 5;
/// RFC 3971 §5.3.2; its use here is that of RFC 7527.
const NONCE: u8 = 14;
/// Flags of a neighbor advertisement (RFC 4861 §4.4).
const ROUTER: u8 = 0x80;
const SOLICITED: u8 = 0x40;
const OVERRIDE: u8 = 0x20;

#[cfg(test)]
mod tests;
