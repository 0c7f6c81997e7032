//! The targets that change a packet, or something about it, and let it go on.

use crate::filter::matches::Masked;
use crate::filter::targets::{Connmark, SetHops};
use crate::filter::verdict::Env;
use crate::packet::{CtState, Packet};
use crate::wire::checksum;
use crate::wire::ipv4::Ipv4;
use crate::wire::ipv6::Ipv6;

use super::addr::Addr;
use super::check::{Flow, hop_limit};

/// TOS, or the traffic class.
#[inline]
pub(super) fn tos<A: Addr>(p: &Packet) -> u8 {
    match A::V6 {
        false => Ipv4::new(p.l3()).map_or(0, |ip| ip.tos()),
        true => Ipv6::new(p.l3()).map_or(0, |ip| ip.traffic_class()),
    }
}

/// Sets TOS or the traffic class.
pub(super) fn set_tos<A: Addr>(p: &mut Packet, tos: u8) {
    if A::V6 {
        if let Some(mut ip) = Ipv6::new(p.l3_mut()) {
            ip.set_traffic_class(tos);
        }
    } else {
        edit4(p, 0, |ip| ip.set_tos(tos));
    }
}

/// TOS with a value and a mask; DSCP is one whose mask leaves the lowest two bits.
pub(super) fn change_tos<A: Addr>(p: &mut Packet, m: Masked) {
    let (old, new) = (tos::<A>(p), xmark(tos::<A>(p).into(), m) as u8);
    if old != new {
        set_tos::<A>(p, new);
    }
}

/// TTL and HL.
pub(super) fn set_hops<A: Addr>(p: &mut Packet, how: SetHops) {
    let old = hop_limit::<A>(p);
    let new = match how {
        SetHops::Set(n) => n,
        SetHops::Inc(n) => old.saturating_add(n),
        SetHops::Dec(n) => old.saturating_sub(n),
    };
    if A::V6 {
        if let Some(mut ip) = Ipv6::new(p.l3_mut()) {
            ip.set_hop_limit(new);
        }
    } else if new != old {
        edit4(p, 8, |ip| ip.set_ttl(new));
    }
}

/// Changes something in the 16-bit word at `at` of an IPv4 header, and its checksum with it.
pub(super) fn edit4(p: &mut Packet, at: usize, change: impl FnOnce(&mut Ipv4<&mut [u8]>)) {
    let word =
        |p: &Packet| p.l3().get(at..).and_then(|b| b.first_chunk()).map_or(0, |w| u16::from_be_bytes(*w));
    let old = word(p);
    if let Some(mut ip) = Ipv4::new(p.l3_mut()) {
        change(&mut ip);
    }
    let new = word(p);
    if let Some(mut ip) = Ipv4::new(p.l3_mut()) {
        let csum = checksum::update16(ip.checksum(), old, new);
        ip.set_checksum(csum);
    }
}

/// Bits of a number after some were cleared and others turned round, as MARK and its like do.
#[inline]
pub(super) fn xmark(number: u32, m: Masked) -> u32 {
    (number & !m.mask) ^ m.value
}

/// CONNMARK; nothing if the packet has no flow.
pub(super) fn connmark<E: Env>(p: &mut Packet, how: Connmark, flow: &mut Flow, env: &mut E) {
    let Some(ct) = flow.get(p, env).map(|f| f.mark) else { return };
    let mark = match how {
        Connmark::Set(m) => xmark(ct, m),
        Connmark::Save { nf_mask, ct_mask } => (ct & !ct_mask) ^ (p.meta.mark & nf_mask),
        Connmark::Restore { nf_mask, ct_mask } => {
            p.meta.mark = (p.meta.mark & !nf_mask) ^ (ct & ct_mask);
            return;
        }
    };
    if mark != ct {
        flow.set_mark(p, env, mark);
    }
}

/// `CT --notrack`: what conntrack has taken already stays tracked.
pub(super) fn notrack(p: &mut Packet) {
    if matches!(p.meta.ct.state, CtState::Unseen | CtState::Invalid) {
        p.meta.ct.state = CtState::Untracked;
    }
}
