//! Tuples out of packets, and turned round.
//!
//! What a tuple is stands in [`packet::flow`](crate::packet::flow); this is how one is read from a packet, or
//! from the packet that an ICMP error quotes:
//!
//! ```text
//! outer IP │ ICMP error, 8 bytes │ IP of the packet it is about │ at least 8 bytes of its L4
//!          └ of(): none          └ inner(): its tuple, as it was when it was sent
//! ```

use crate::packet::flow::Address;
use crate::packet::{Frag, Net, Packet, Tuple};
use crate::wire::{icmpv4, icmpv6, ipv6, ipv6_ext, proto};

/// The tuple of a packet: `None` if its upper layer can't be seen, or is of a kind that no answer can be told
/// from (ICMP other than queries), so that it is INVALID.
pub fn of(p: &Packet) -> Option<Tuple> {
    let v6 = match p.meta.net {
        Net::Ipv4 => false,
        Net::Ipv6 => true,
        Net::None | Net::Arp => return None,
    };
    if p.meta.frag != Frag::Whole || v6 && p.meta.proto == proto::NONE {
        return None;
    }
    let tuple = read(p.l3(), v6, p.meta.proto, p.l4())?;
    // One that can't be turned round belongs to no flow.
    answerable(&tuple).then_some(tuple)
}

/// The tuple of the answers to packets of this tuple; `None` for ICMP messages that are no queries.
pub fn invert(t: &Tuple) -> Option<Tuple> {
    let turned = Tuple { src: t.dst, dst: t.src, src_port: t.dst_port, dst_port: t.src_port, ..*t };
    Some(match t.proto {
        proto::ICMP | proto::ICMPV6 => Tuple {
            // The identifier stays where it is; the code too.
            src_port: t.src_port,
            dst_port: u16::from(icmp_answer(t)?) << 8 | t.dst_port & 0xff,
            ..turned
        },
        _ => turned,
    })
}

/// A packet quoted in an ICMP error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Inner {
    /// Its tuple, as it was sent: the flow's direction that it belongs to, as it left; turned round, the tuple
    /// of the direction that the error goes.
    pub tuple: Tuple,
    /// Where its L3 header is, from the L3 header of the error.
    pub l3: usize,
    /// Where its L4 header is, from the L3 header of the error. At least the bytes of the tuple are there.
    pub l4: usize,
}

/// The packet that an ICMP error is about; `None` if this is no error, or quotes nothing that a tuple can be
/// read from.
pub fn inner(p: &Packet) -> Option<Inner> {
    if p.meta.frag != Frag::Whole {
        return None;
    }
    let kind = *p.l4().first()?;
    let (v6, header) = match (p.meta.net, p.meta.proto) {
        (Net::Ipv4, proto::ICMP) if is_error4(kind) => (false, icmpv4::HEADER_LEN),
        (Net::Ipv6, proto::ICMPV6) if kind < icmpv6::ECHO => (true, icmpv6::HEADER_LEN),
        (Net::Ipv6, proto::ICMPV6)
            if kind == icmpv6::REDIRECT && p.l4().get(REDIRECT_LEN) == Some(&REDIRECTED_HEADER) =>
        {
            (true, REDIRECT_LEN + OPTION_HEADER)
        }
        _ => return None,
    };
    let l3 = usize::from(p.meta.l4) + header;
    let quoted = p.l3().get(l3..)?;
    let (l4, proto) = if v6 { upper6(quoted) } else { upper4(quoted) }?;
    let tuple = read(quoted, v6, proto, quoted.get(l4..)?)?;
    Some(Inner { tuple, l3, l4: l3 + l4 })
}

/// Whether an ICMP message is an error, so that conntrack looks for the flow it is about (`icmp_is_err`).
pub(super) fn is_error4(kind: u8) -> bool {
    use icmpv4::{PARAMETER_PROBLEM, REDIRECT, SOURCE_QUENCH, TIME_EXCEEDED, UNREACHABLE};
    matches!(kind, UNREACHABLE | SOURCE_QUENCH | REDIRECT | TIME_EXCEEDED | PARAMETER_PROBLEM)
}

/// Whether a message of this type begins a flow.
pub(super) fn is_query(t: &Tuple) -> bool {
    let kind = t.icmp_type();
    match t.proto {
        proto::ICMP => matches!(kind, icmpv4::ECHO | icmpv4::TIMESTAMP | INFO_REQUEST | MASK_REQUEST),
        _ => matches!(kind, icmpv6::ECHO | NI_QUERY),
    }
}

/// The type that answers a query's, and the other way round.
fn icmp_answer(t: &Tuple) -> Option<u8> {
    const PAIRS4: [(u8, u8); 4] = [
        (icmpv4::ECHO, icmpv4::ECHO_REPLY),
        (icmpv4::TIMESTAMP, icmpv4::TIMESTAMP_REPLY),
        (INFO_REQUEST, INFO_REPLY),
        (MASK_REQUEST, MASK_REPLY),
    ];
    const PAIRS6: [(u8, u8); 2] = [(icmpv6::ECHO, icmpv6::ECHO_REPLY), (NI_QUERY, NI_REPLY)];
    let pairs: &[(u8, u8)] = if t.proto == proto::ICMP { &PAIRS4 } else { &PAIRS6 };
    let kind = t.icmp_type();
    pairs.iter().find_map(|(ask, answer)| match kind {
        k if k == *ask => Some(*answer),
        k if k == *answer => Some(*ask),
        _ => None,
    })
}

fn answerable(t: &Tuple) -> bool {
    !matches!(t.proto, proto::ICMP | proto::ICMPV6) || icmp_answer(t).is_some()
}

/// The tuple of a packet of which the L3 header, the protocol and the L4 header are known.
fn read(l3: &[u8], v6: bool, proto: u8, l4: &[u8]) -> Option<Tuple> {
    let (src, dst) = if v6 {
        let (src, rest) = l3.get(8..)?.split_first_chunk::<16>()?;
        (*src, *rest.first_chunk::<16>()?)
    } else {
        let (src, rest) = l3.get(12..)?.split_first_chunk::<4>()?;
        (widen(*src), widen(*rest.first_chunk::<4>()?))
    };
    let (src_port, dst_port) = upper(proto, l4)?;
    Some(Tuple { src, dst, src_port, dst_port, proto, v6 })
}

fn widen(v4: [u8; 4]) -> Address {
    let mut a = [0; 16];
    a[..4].copy_from_slice(&v4);
    a
}

/// What stands for the ports. DCCP has none here: Linux 6.18 tracks it as a protocol it doesn't know.
fn upper(proto: u8, l4: &[u8]) -> Option<(u16, u16)> {
    let word = |at: usize| l4.get(at..)?.first_chunk::<2>().map(|b| u16::from_be_bytes(*b));
    match proto {
        proto::TCP | proto::UDP | proto::UDP_LITE | proto::SCTP => Some((word(0)?, word(2)?)),
        // type << 8 | code are the first two bytes as they stand; the header must be all there.
        proto::ICMP | proto::ICMPV6 => {
            (l4.len() >= icmpv4::HEADER_LEN).then_some(())?;
            Some((word(4)?, word(0)?))
        }
        proto::GRE => match (word(0), word(2)) {
            (Some(flags), Some(kind)) if flags & GRE_VERSION == 1 => match word(6) {
                // Without the control connection's helper the caller's id isn't known.
                Some(call) => (kind == GRE_PPP).then_some((0, call)),
                None => Some((0, 0)),
            },
            _ => Some((0, 0)),
        },
        _ => Some((0, 0)),
    }
}

/// Where the upper layer of a quoted IPv4 packet begins, and its protocol.
fn upper4(quoted: &[u8]) -> Option<(usize, u8)> {
    let header = quoted.first_chunk::<20>()?;
    let later = u16::from_be_bytes([header[6], header[7]]) & 0x1fff != 0;
    let len = usize::from(header[0] & 0xf) * 4;
    (!later && len >= 20).then_some((len, header[9]))
}

/// The same of a quoted IPv6 packet.
fn upper6(quoted: &[u8]) -> Option<(usize, u8)> {
    let chain = ipv6_ext::walk(quoted.get(..ipv6::HEADER_LEN).and(Some(quoted))?).ok()?;
    let later = chain.frag.is_some_and(|f| f.offset != 0);
    // Some protocols have no more than addresses in their tuple: then nothing need be quoted of them.
    let ends_here = chain.l4 == 0 && chain.frag.is_none() && chain.proto != proto::NONE;
    let l4 = if ends_here { quoted.len() } else { chain.l4 };
    (!later && l4 != 0).then_some((l4, chain.proto))
}

/// Bytes of an IPv6 redirect in front of its options (RFC 4861 §4.5).
pub(super) const REDIRECT_LEN: usize = 40;
/// The option that quotes the redirected packet (RFC 4861 §4.6.3), and what stands in it before the quote.
pub(super) const REDIRECTED_HEADER: u8 = 4;
const OPTION_HEADER: usize = 8;
/// Information request and reply (RFC 792).
const INFO_REQUEST: u8 = 15;
const INFO_REPLY: u8 = 16;
/// Address mask request and reply (RFC 950).
const MASK_REQUEST: u8 = 17;
const MASK_REPLY: u8 = 18;
/// Node information query and reply (RFC 4620).
const NI_QUERY: u8 = 139;
const NI_REPLY: u8 = 140;
/// The version in the first word of a GRE header (RFC 2784 §2.1, RFC 2637 §4.1).
const GRE_VERSION: u16 = 7;
/// What version 1 carries: PPP (RFC 2637 §4.1).
const GRE_PPP: u16 = 0x880b;

#[cfg(test)]
mod tests;
