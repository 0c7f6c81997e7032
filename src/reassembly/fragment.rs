//! Packets cut into fragments on their way out.
//!
//! Every fragment but the last carries a multiple of 8 bytes, as many as fit; but a datagram that came in
//! fragments leaves in fragments of the same lengths if these fit, and in none longer than the longest of them.
//! The first keeps the packet's place in the ledger, the others are [`Column::Originated`].

use crate::base::Column;
use crate::packet::{Cut, Frag, Packet, Pool, offload};
use crate::wire::ipv4::{self, DONT_FRAGMENT, Ipv4, MORE_FRAGMENTS};
use crate::wire::ipv4_options::copied_options;
use crate::wire::ipv6::{self, Ipv6};
use crate::wire::ipv6_ext::FragHeader;
use crate::wire::proto;

/// Cuts an IPv4 packet into fragments of at most `mtu` bytes from the IP header on (`ip_do_fragment`),
/// appends them to `out` in order and says how many they are. Whether it may be cut is for the caller to
/// know; a set DF stands in all of them, unless they are cut as they came: then in none, as in Linux. A fragment
/// is cut into fragments of the same datagram. A checksum left to the hardware is finished first. A packet that
/// fits is passed on as it is, if it did not come in fragments.
///
/// # Errors
///
/// Gives the packet back if its header lies about its length or place, if it is a super-frame, or if less
/// than 8 bytes of payload would fit.
// A packet is given back by value: boxing it would cost every caller for the sake of the rare refusal.
#[allow(clippy::result_large_err)]
pub fn fragment4(
    mut packet: Packet,
    mtu: usize,
    pool: &mut Pool,
    out: &mut Vec<Packet>,
) -> Result<usize, Packet> {
    let Some(plan) = plan4(&packet, mtu) else { return Err(packet) };
    if plan.lens.len() == 1 {
        packet.cut = None;
        out.push(packet);
        return Ok(1);
    }
    if packet.meta.offload.gso.is_some() || !offload::finish_checksum(&mut packet) {
        return Err(packet);
    }
    packet.cut = None;
    let (head, flags) = plan.head4(packet.l3());
    let first_at = out.len();
    let mut at = 0;
    for (i, len) in plan.lens.iter().enumerate() {
        if i > 0 {
            let mut later = pool.sized(head.len() + len);
            later.append(&head);
            later.append(packet.l3().get(plan.header + at..plan.header + at + len).unwrap_or_default());
            later.meta = packet.meta;
            later.meta.l3 = 0;
            later.meta.column = Column::Originated;
            // Counted once, with the first.
            later.meta.untold = 0;
            finish4(&mut later, flags, plan.start + at, at + len < plan.payload);
            out.push(later);
        }
        at += len;
    }
    // The first fragment needs no copy: it is the packet, cut short.
    let first = plan.lens.first().copied().unwrap_or_default();
    packet.truncate(usize::from(packet.meta.l3) + plan.header + first);
    finish4(&mut packet, flags, plan.start, true);
    out.insert(first_at, packet);
    Ok(out.len() - first_at)
}

/// Cuts an IPv6 packet into fragments of at most `mtu` bytes (RFC 8200 §4.5, `ip6_fragment`): one made here, or
/// one that came in fragments. Appends them to `out` in order and says how many they are. All have the
/// identification `ident`, which is a new one in Linux too. A packet that fits is passed on as it is, also one that
/// was made larger by being cut.
///
/// # Errors
///
/// Gives the packet back if its headers lie about their length, if it is a fragment or a super-frame, if less
/// than 8 bytes of payload would fit, or if it came in fragments of which one is larger than `mtu`.
// As in `fragment4`.
#[allow(clippy::result_large_err)]
pub fn fragment6(
    mut packet: Packet,
    mtu: usize,
    ident: u32,
    pool: &mut Pool,
    out: &mut Vec<Packet>,
) -> Result<usize, Packet> {
    let Some((plan, named_at)) = plan6(&packet, mtu) else { return Err(packet) };
    if plan.fits {
        packet.cut = None;
        out.push(packet);
        return Ok(1);
    }
    if packet.meta.offload.gso.is_some() || !offload::finish_checksum(&mut packet) {
        return Err(packet);
    }
    let l3 = packet.l3();
    let mut head = l3.get(..plan.header).unwrap_or_default().to_vec();
    let next = head.get(named_at).copied().unwrap_or(proto::NONE);
    if let Some(field) = head.get_mut(named_at) {
        *field = proto::FRAGMENT;
    }
    let first_at = out.len();
    let mut at = 0;
    for len in plan.lens {
        let more = at + len < plan.payload;
        let mut piece = pool.sized(head.len() + FragHeader::LEN + len);
        piece.append(&head);
        let [hi, lo] = (at as u16 | u16::from(more)).to_be_bytes();
        piece.append(&[next, 0, hi, lo]);
        piece.append(&ident.to_be_bytes());
        piece.append(l3.get(plan.header + at..plan.header + at + len).unwrap_or_default());
        piece.meta = packet.meta;
        piece.meta.l3 = 0;
        if at == 0 {
            // All in one is an atomic fragment, which counts as whole.
            piece.meta.frag = if more { Frag::First } else { Frag::Whole };
            if packet.meta.l4 != 0 {
                piece.meta.l4 = packet.meta.l4 + FragHeader::LEN as u16;
            }
        } else {
            piece.meta.column = Column::Originated;
            // Counted once, with the first.
            piece.meta.untold = 0;
            piece.meta.frag = Frag::Later;
            piece.meta.l4 = 0;
            piece.meta.proto = next;
        }
        let payload_len = piece.len() - ipv6::HEADER_LEN;
        if let Some(mut ip) = Ipv6::new(piece.data_mut()) {
            ip.set_payload_len(payload_len as u16);
        }
        out.push(piece);
        at += len;
    }
    pool.put(packet);
    Ok(out.len() - first_at)
}

/// How a packet is cut. Lengths in bytes.
struct Plan {
    /// What stands in front of every fragment, the fragment header not counted.
    header: usize,
    /// What is to be cut.
    payload: usize,
    /// The place of the payload in its datagram.
    start: usize,
    /// How much of it each fragment carries.
    lens: Vec<usize>,
    /// Whether these are the lengths it came in.
    as_it_came: bool,
    /// Nothing is to be cut.
    fits: bool,
}

impl Plan {
    /// A plan for at most `room` bytes of payload a fragment, after how the packet came if that fits.
    fn new(
        header: usize,
        payload: usize,
        start: usize,
        room: usize,
        fits: bool,
        came: Option<&Cut>,
    ) -> Option<Plan> {
        if fits {
            return Some(Plan { header, payload, start, lens: vec![payload], as_it_came: false, fits });
        }
        let came = came.and_then(|c| as_it_came(c, payload, room));
        let as_it_came = came.is_some();
        let lens = came.or_else(|| evenly(payload, room))?;
        Some(Plan { header, payload, start, lens, as_it_came, fits })
    }

    /// The header of later fragments, and the flags the packet came with.
    fn head4(&self, l3: &[u8]) -> (Vec<u8>, u16) {
        let mut head = l3.get(..self.header).unwrap_or_default().to_vec();
        let kept = if self.as_it_came { MORE_FRAGMENTS } else { DONT_FRAGMENT | MORE_FRAGMENTS };
        let flags = Ipv4::new(l3).map_or(0, |ip| ip.flags_offset() & kept);
        if self.start == 0 {
            copied_options(head.get_mut(ipv4::HEADER_LEN..).unwrap_or_default());
        }
        (head, flags)
    }
}

/// The lengths in which a datagram came, if all of them fit.
fn as_it_came(cut: &Cut, payload: usize, room: usize) -> Option<Vec<usize>> {
    let later: usize = cut.later.iter().map(|n| usize::from(*n)).sum();
    let first = payload.checked_sub(later)?;
    let lens: Vec<usize> = std::iter::once(first).chain(cut.later.iter().map(|n| usize::from(*n))).collect();
    let (last, others) = lens.split_last()?;
    let fit = others.iter().all(|n| *n <= room && *n > 0 && n % 8 == 0) && (1..=room).contains(last);
    fit.then_some(lens)
}

/// As much as fits in each.
fn evenly(payload: usize, room: usize) -> Option<Vec<usize>> {
    let full = room & !7;
    if full == 0 {
        return None;
    }
    let mut lens = Vec::with_capacity(payload / full + 1);
    let mut left = payload;
    while left > room {
        lens.push(full);
        left -= full;
    }
    lens.push(left);
    Some(lens)
}

fn plan4(packet: &Packet, mtu: usize) -> Option<Plan> {
    let l3 = packet.l3();
    let ip = Ipv4::new(l3)?;
    let (header, total) = (ip.header_len(), usize::from(ip.total_len()));
    let start = ip.frag_offset();
    // A fragment that reaches beyond the longest datagram has no place to be cut at.
    if header < ipv4::HEADER_LEN || total < header || total > l3.len() || start + total > 65_535 + header {
        return None;
    }
    let came = packet.cut.as_deref();
    let limit = came.map_or(mtu, |c| mtu.min(usize::from(c.largest)));
    let fits = came.is_none() && total <= limit;
    Plan::new(header, total - header, start, limit.saturating_sub(header), fits, came)
}

/// Fills in what differs between the fragments of an IPv4 packet.
fn finish4(piece: &mut Packet, flags: u16, place: usize, followed: bool) {
    let len = piece.l3_len();
    if let Some(mut ip) = Ipv4::new(piece.l3_mut()) {
        ip.set_total_len(len as u16);
        let more = if followed { MORE_FRAGMENTS } else { 0 };
        ip.set_flags_offset(flags | more | (place / 8) as u16);
        ip.fill_checksum();
    }
    if place == 0 {
        piece.meta.frag = Frag::First;
    } else {
        piece.meta.frag = Frag::Later;
        piece.meta.l4 = 0;
    }
}

/// The plan for an IPv6 packet, and where the next-header byte is that is to name the fragment header.
fn plan6(packet: &Packet, mtu: usize) -> Option<(Plan, usize)> {
    let l3 = packet.l3();
    let total = ipv6::HEADER_LEN + usize::from(Ipv6::new(l3)?.payload_len());
    let l3 = l3.get(..total)?;
    let (header, named_at) = unfragmentable(l3)?;
    let came = packet.cut.as_deref();
    let (fits, limit) = match came.map(|c| usize::from(c.largest)) {
        None => (total <= mtu, mtu),
        Some(largest) => (total <= mtu.min(largest), largest.max(ipv6::MIN_MTU)),
    };
    if !fits && came.is_some_and(|c| usize::from(c.largest) > mtu) {
        return None;
    }
    let room = limit.saturating_sub(header + FragHeader::LEN);
    Some((Plan::new(header, total - header, 0, room, fits, came)?, named_at))
}

/// The length of the part that goes into every fragment, and where the byte is that names what follows
/// it: the headers that routers on the way look at, as Linux finds them (`ip6_find_1stfragopt`).
/// `None` if they are cut short, or the packet is a fragment.
fn unfragmentable(l3: &[u8]) -> Option<(usize, usize)> {
    let (mut at, mut named_at, mut routed) = (ipv6::HEADER_LEN, 6, false);
    loop {
        match *l3.get(named_at)? {
            proto::FRAGMENT => return None,
            proto::HOP_BY_HOP => {}
            proto::ROUTING => routed = true,
            // Behind a routing header they are for the last station only.
            proto::DEST_OPTIONS if !routed => {}
            _ => return Some((at, named_at)),
        }
        named_at = at;
        at += 8 * (usize::from(*l3.get(at + 1)?) + 1);
        if at > l3.len() {
            return None;
        }
    }
}

#[cfg(test)]
mod as_it_came;
#[cfg(test)]
mod tests;
