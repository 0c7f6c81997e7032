//! Exchanging one end of a packet's headers, checksums included, in place (`nf_nat_manip_pkt`).
//!
//! ```text
//!                     covers the addresses    covers port or identifier    where
//! IPv4 header         yes                                                  10
//! TCP, UDP, UDP-Lite  yes                     yes                          16, 6, 6 behind the header
//! ICMP                                        yes                          2
//! ICMPv6              yes                     yes                          2
//! SCTP (CRC-32c)                              yes                          8
//! GRE                                         (call id)
//! ```
//!
//! The same for a packet and for one that an ICMP error quotes, of which there may be eight bytes behind the IP header
//! and no more. Knows nothing of flows.

use crate::packet::Manip;
use crate::packet::flow::Address;
use crate::wire::checksum::{fold, udp, word};
use crate::wire::{icmpv4, icmpv6, ipv4, ipv6, proto, sctp, tcp, udp as udp_header};

/// What one end of a packet becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct End {
    /// Which end.
    pub manip: Manip,
    /// The family.
    pub v6: bool,
    /// The protocol the port belongs to.
    pub proto: u8,
    /// The address.
    pub addr: Address,
    /// The port, identifier or call id.
    pub port: u16,
}

/// How an upper-layer checksum is to be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sum {
    /// It covers the packet.
    Whole,
    /// The field holds the sum of the pseudo-header, and no more.
    Begun,
    /// It covers a packet that may not be all there.
    Quoted,
}

/// Rewrites the packet that begins with `ip`, its upper layer at `l4` (0: none to be seen, and only the address is
/// exchanged). `None` if a header that would have to change is not all there, or is not what it should be; the packet
/// is then half done.
#[inline]
pub(super) fn rewrite(ip: &mut [u8], l4: usize, end: &End, sum: Sum) -> Option<()> {
    if end.v6 { rewrite_v6(ip, l4, end, sum) } else { rewrite_v4(ip, l4, end, sum) }
}

#[inline]
fn rewrite_v4(ip: &mut [u8], l4: usize, end: &End, sum: Sum) -> Option<()> {
    let header = ip.first_chunk::<{ ipv4::HEADER_LEN }>()?;
    if header[0] >> 4 != 4 {
        return None;
    }
    let at = match end.manip {
        Manip::Src => V4_SRC_AT,
        Manip::Dst => V4_DST_AT,
    };
    let old = *header.get(at..)?.first_chunk::<4>()?;
    let new = *end.addr.first_chunk::<4>()?;
    let change = Change::of32(old, new);
    if l4 != 0 {
        rewrite_upper(ip.get_mut(l4..)?, end, change, sum)?;
    }
    change.apply(ip, V4_CHECKSUM_AT);
    put(ip, at, new);
    Some(())
}

#[inline]
fn rewrite_v6(ip: &mut [u8], l4: usize, end: &End, sum: Sum) -> Option<()> {
    let header = ip.first_chunk::<{ ipv6::HEADER_LEN }>()?;
    if header[0] >> 4 != 6 {
        return None;
    }
    let at = match end.manip {
        Manip::Src => V6_SRC_AT,
        Manip::Dst => V6_DST_AT,
    };
    let old = *header.get(at..)?.first_chunk::<16>()?;
    let change = Change::of128(&old, &end.addr);
    if l4 != 0 {
        rewrite_upper(ip.get_mut(l4..)?, end, change, sum)?;
    }
    put(ip, at, end.addr);
    Some(())
}

/// Rewrites the upper layer, whose pseudo-header changes by `addr`.
#[inline]
fn rewrite_upper(l4: &mut [u8], end: &End, addr: Change, sum: Sum) -> Option<()> {
    // Every protocol here has at least the eight bytes that any ICMP error quotes (RFC 792).
    let need = match end.proto {
        proto::TCP | proto::UDP | proto::UDP_LITE | proto::SCTP => QUOTED,
        proto::ICMP | proto::ICMPV6 | proto::GRE => QUOTED,
        _ => return Some(()),
    };
    let begun = sum == Sum::Begun;
    if l4.len() < need {
        return None;
    }
    match end.proto {
        proto::TCP => {
            let port = put_port(l4, end);
            if l4.len() >= tcp::HEADER_LEN {
                match begun {
                    true => addr.apply_begun(l4, tcp::CHECKSUM_AT),
                    false => (addr + port).apply(l4, tcp::CHECKSUM_AT),
                }
            }
        }
        proto::UDP | proto::UDP_LITE => {
            let port = put_port(l4, end);
            let none = end.proto == proto::UDP && l4[udp_header::CHECKSUM_AT..QUOTED] == [0, 0];
            match begun {
                true => addr.apply_begun(l4, udp_header::CHECKSUM_AT),
                false if none => {}
                false => (addr + port).apply_udp(l4, udp_header::CHECKSUM_AT),
            }
        }
        proto::SCTP => {
            let before: [u8; 4] = array(l4, 0);
            put_port(l4, end);
            // The sum covers no address. One left to the device covers everything, when it is made; that of a quote is
            // of no use to anybody if some is missing, and as Linux has it the sum of what is there.
            let stays = sum == Sum::Whole && before == array(l4, 0);
            if l4.len() >= sctp::HEADER_LEN && !begun && !stays {
                sctp::fill_checksum(l4);
            }
        }
        proto::ICMP if has_ident_v4(l4[0]) => {
            let ident = put_u16(l4, IDENT_AT, end.port);
            if !begun {
                ident.apply(l4, ICMP_CHECKSUM_AT);
            }
        }
        proto::ICMPV6 => {
            let ident = match l4[0] {
                icmpv6::ECHO | icmpv6::ECHO_REPLY => put_u16(l4, IDENT_AT, end.port),
                _ => Change::NONE,
            };
            match begun {
                true => addr.apply_begun(l4, ICMP_CHECKSUM_AT),
                false => (addr + ident).apply(l4, ICMP_CHECKSUM_AT),
            }
        }
        proto::GRE if end.manip == Manip::Dst => match l4[1] & GRE_VERSION {
            0 => {}
            1 => put(l4, GRE_CALL_AT, end.port.to_be_bytes()),
            _ => return None,
        },
        _ => {}
    }
    Some(())
}

/// Messages of ICMP that have an identifier (`icmp_manip_pkt`).
fn has_ident_v4(kind: u8) -> bool {
    matches!(kind, icmpv4::ECHO | icmpv4::ECHO_REPLY | icmpv4::TIMESTAMP..=ADDRESS_MASK_REPLY)
}

/// Where IPv4 has its checksum and addresses (RFC 791 §3.1).
const V4_CHECKSUM_AT: usize = 10;
const V4_SRC_AT: usize = 12;
const V4_DST_AT: usize = 16;
/// Where IPv6 has its addresses (RFC 8200 §3).
const V6_SRC_AT: usize = 8;
const V6_DST_AT: usize = 24;
/// As much of the upper layer as every ICMP error quotes (RFC 792).
const QUOTED: usize = 8;
/// Where ICMP of both versions has its checksum and identifier (RFC 792, RFC 4443 §4.1).
pub(super) const ICMP_CHECKSUM_AT: usize = 2;
const IDENT_AT: usize = 4;
/// Address mask reply (RFC 950): the last of the messages 13 to 18, which all have an identifier.
const ADDRESS_MASK_REPLY: u8 = 18;
/// The version, in the second byte of GRE (RFC 2784 §2.1), and the call id of version 1 (RFC 2637 §4.1).
const GRE_VERSION: u8 = 7;
const GRE_CALL_AT: usize = 6;

/// What a change of covered bytes adds to a one's complement sum, as a partial sum (see [`checksum`]).
///
/// [`checksum`]: crate::wire::checksum
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Change(u64);

impl Change {
    const NONE: Change = Change(0);

    #[inline]
    fn of32(old: [u8; 4], new: [u8; 4]) -> Change {
        // RFC 1624 equation 3: less a word is plus its complement.
        Change(u64::from(!u32::from_ne_bytes(old)) + u64::from(u32::from_ne_bytes(new)))
    }

    #[inline]
    fn of128(old: &Address, new: &Address) -> Change {
        let (old, new) = (old.as_chunks::<4>().0, new.as_chunks::<4>().0);
        old.iter().zip(new).map(|(o, n)| Change::of32(*o, *n)).fold(Change::NONE, |a, b| a + b)
    }

    /// The checksum at `at` after the change.
    #[inline]
    fn apply(self, b: &mut [u8], at: usize) {
        let csum = u16::from_be_bytes(array(b, at));
        put(b, at, (!fold(word(!csum) + self.0)).to_be_bytes());
    }

    /// The same for UDP, where 0 means that there is none (RFC 768).
    #[inline]
    fn apply_udp(self, b: &mut [u8], at: usize) {
        let csum = u16::from_be_bytes(array(b, at));
        put(b, at, udp(!fold(word(!csum) + self.0)).to_be_bytes());
    }

    /// The same for a field that holds a sum, not its complement.
    #[inline]
    fn apply_begun(self, b: &mut [u8], at: usize) {
        let sum = u16::from_be_bytes(array(b, at));
        put(b, at, fold(word(sum) + self.0).to_be_bytes());
    }
}

impl std::ops::Add for Change {
    type Output = Change;

    #[inline]
    fn add(self, other: Change) -> Change {
        Change(self.0 + other.0)
    }
}

/// Writes the port of the end in question.
#[inline]
fn put_port(l4: &mut [u8], end: &End) -> Change {
    let at = match end.manip {
        Manip::Src => 0,
        Manip::Dst => 2,
    };
    put_u16(l4, at, end.port)
}

/// Writes a 16-bit field, and says what changed.
#[inline]
fn put_u16(b: &mut [u8], at: usize, new: u16) -> Change {
    let old = u16::from_be_bytes(array(b, at));
    if old == new {
        return Change::NONE;
    }
    put(b, at, new.to_be_bytes());
    Change(word(!old) + word(new))
}

/// Bytes at `at`; zero beyond the end.
#[inline]
fn array<const N: usize>(b: &[u8], at: usize) -> [u8; N] {
    b.get(at..).and_then(|b| b.first_chunk()).copied().unwrap_or([0; N])
}

/// Writes bytes at `at`, if there is room.
#[inline]
fn put<const N: usize>(b: &mut [u8], at: usize, value: [u8; N]) {
    if let Some(field) = b.get_mut(at..).and_then(|b| b.first_chunk_mut()) {
        *field = value;
    }
}
