//! ICMP errors about a translated flow (`nf_nat_icmp_reply_translation`, and the same for ICMPv6).
//!
//! ```text
//!  an error from the outside                      as it goes inside
//! +----------------------------+                 +----------------------------+
//! | router > 192.0.2.1         |  the end that   | router > 10.0.0.2          |
//! +----------------------------+  this hook      +----------------------------+
//! | ICMP: time exceeded        |  rewrites       | ICMP, summed anew          |
//! +----------------------------+                 +----------------------------+
//! | 192.0.2.1:61000 > server:80|  in the quote   | 10.0.0.2:4000 > server:80  |
//! | … as much as is quoted     |  the other end  | …                          |
//! +----------------------------+                 +----------------------------+
//! ```
//!
//! The quote is whatever the sender wrote: nothing in it is believed but what conntrack found a flow by.

use std::net::Ipv6Addr;

use crate::base::DropReason;
use crate::conntrack::Flow;
use crate::packet::{Csum, Direction, Manip, Net, Packet, Status};
use crate::wire::{checksum, icmpv4, icmpv6, ipv4, ipv6, ipv6_ext, proto};

use super::needed;
use super::rewrite::{End, ICMP_CHECKSUM_AT, Sum, rewrite};
use super::translate::{inverse, same, sum_of};

/// Rewrites one end of an ICMP error about a flow and the opposite end of the packet it quotes, if the flow wants that;
/// says whether it did. `dir` is the direction the error goes in. `NatFailed` for one with a wrong checksum, a redirect
/// about a flow with any translation, and a quote that can't be rewritten: none of these may pass.
pub fn translate_error(
    p: &mut Packet,
    flow: &Flow,
    dir: Direction,
    manip: Manip,
) -> Result<bool, DropReason> {
    rewrite_error(p, flow, dir, manip).ok_or(DropReason::NatFailed)
}

fn rewrite_error(p: &mut Packet, flow: &Flow, dir: Direction, manip: Manip) -> Option<bool> {
    let other = flow.tuple(dir.turned());
    let (icmp, redirect, quoted_header) = match p.meta.net {
        Net::Ipv4 if !other.v6 => (proto::ICMP, icmpv4::REDIRECT, ipv4::HEADER_LEN),
        Net::Ipv6 if other.v6 => (proto::ICMPV6, icmpv6::REDIRECT, ipv6::HEADER_LEN),
        _ => return None,
    };
    // ICMP headers are eight bytes long in both versions.
    let message = p.l4();
    if p.meta.proto != icmp || message.len() < icmpv4::HEADER_LEN + quoted_header || !is_sound(p) {
        return None;
    }
    if message[0] == redirect {
        // The gateway it names would be one of the other side.
        let done = flow.status.has(Status::SRC_NAT_DONE) && flow.status.has(Status::DST_NAT_DONE);
        if !done || flow.status.has(Status::SRC_NAT) || flow.status.has(Status::DST_NAT) {
            return None;
        }
    }
    if !flow.status.has(needed(dir, manip)) {
        return Some(false);
    }

    // What the error quotes went the other way: its source is the error's destination.
    let opposite = match manip {
        Manip::Src => Manip::Dst,
        Manip::Dst => Manip::Src,
    };
    let quote = p.l4_mut().get_mut(icmpv4::HEADER_LEN..)?;
    let l4 = quoted_upper(quote, other.proto, other.v6)?;
    rewrite(quote, l4, &same(other, opposite), Sum::Quoted)?;

    let sum = sum_of(p);
    if sum == Sum::Whole {
        sum_anew(p)?;
    }
    let end = End { proto: icmp, ..inverse(other, manip) };
    let at = p.meta.l4.into();
    rewrite(p.l3_mut(), at, &end, sum)?;
    Some(true)
}

/// Whether the checksum of the message is right, or known to be, or yet to be made.
fn is_sound(p: &Packet) -> bool {
    p.meta.offload.csum != Csum::Wire
        || pseudo(p).is_some_and(|s| checksum::fold(s + checksum::sum(p.l4())) == 0xffff)
}

fn sum_anew(p: &mut Packet) -> Option<()> {
    let pseudo = pseudo(p)?;
    let message = p.l4_mut();
    let field = ICMP_CHECKSUM_AT..ICMP_CHECKSUM_AT + 2;
    message.get_mut(field.clone())?.fill(0);
    let csum = !checksum::fold(pseudo + checksum::sum(message));
    message.get_mut(field)?.copy_from_slice(&csum.to_be_bytes());
    Some(())
}

/// The partial sum of what the checksum covers besides the message: nothing with ICMP, the pseudo-header with ICMPv6.
fn pseudo(p: &Packet) -> Option<u64> {
    match p.meta.net {
        Net::Ipv6 => {
            let header = p.l3().first_chunk::<{ ipv6::HEADER_LEN }>()?;
            let src: [u8; 16] = *header[8..].first_chunk()?;
            let dst: [u8; 16] = *header[24..].first_chunk()?;
            let len = u32::try_from(p.l4().len()).ok()?;
            Some(checksum::pseudo_v6(Ipv6Addr::from(src), Ipv6Addr::from(dst), proto::ICMPV6, len))
        }
        _ => Some(0),
    }
}

/// Where the upper layer of a quoted packet is; 0 if only its addresses can be seen. `None` if the quote is not of this
/// protocol.
fn quoted_upper(quote: &[u8], proto: u8, v6: bool) -> Option<usize> {
    if v6 {
        // A chain that breaks off, or goes on beyond what is followed here, ends in nothing that could be rewritten.
        let Ok(chain) = ipv6_ext::walk(quote) else { return Some(0) };
        return (chain.l4 == 0 || chain.proto == proto).then_some(chain.l4);
    }
    let header = ipv4::Ipv4::new(quote)?;
    let fits = header.header_len() >= ipv4::HEADER_LEN && header.protocol() == proto;
    fits.then(|| if header.frag_offset() == 0 { header.header_len() } else { 0 })
}

#[cfg(test)]
mod tests;
