//! A complete datagram made into one packet.

use super::datagram::Datagram;
use super::reassembler::MAX_DATAGRAM;
use crate::base::Column;
use crate::packet::{Cut, Frag, HEADROOM, Meta, Offload, Packet, TraceId};
use crate::wire::ipv4::{DONT_FRAGMENT, Ipv4};
use crate::wire::ipv6::{self, Ipv6};
use crate::wire::ipv6_ext::{self, FragHeader};

/// The whole packet, or the fragments, if they make none.
pub(super) type Joined = Result<Whole, Vec<Packet>>;

/// Fragments in one piece.
pub(super) struct Whole {
    pub(super) packet: Packet,
    /// The columns of the fragments but the first.
    pub(super) absorbed: Vec<Column>,
    /// The fragments whose ways are being recorded.
    pub(super) followed: Vec<TraceId>,
}

/// Makes an IPv4 packet (`ip_frag_reasm`): the first fragment's header, and all payloads.
pub(super) fn join4(datagram: Datagram) -> Joined {
    let (ecn, dont_fragment) = (datagram.ecn(), datagram.dont_fragment());
    join(datagram, |_, from, payload| {
        let ecn = ecn?;
        let len = u16::try_from(from + payload).ok()?;
        Some((from, move |whole: &mut Packet| {
            let mut ip = Ipv4::new(whole.l3_mut())?;
            ip.set_total_len(len);
            ip.set_tos(ip.tos() | ecn);
            ip.set_flags_offset(if dont_fragment { DONT_FRAGMENT } else { 0 });
            ip.fill_checksum();
            whole.meta.proto = ip.protocol();
            whole.meta.l4 = u16::try_from(from).ok()?;
            Some(())
        }))
    })
}

/// Makes an IPv6 packet (`ip6_frag_reasm`): what stood before the first fragment's fragment header, and
/// all payloads.
pub(super) fn join6(datagram: Datagram) -> Joined {
    let ecn = datagram.ecn();
    join(datagram, |first, from, payload| {
        let ecn = ecn?;
        let frag_at = from.checked_sub(FragHeader::LEN)?;
        let len = (frag_at + payload).checked_sub(ipv6::HEADER_LEN).filter(|l| *l <= MAX_DATAGRAM)?;
        let len = u16::try_from(len).ok()?;
        let named_at = ipv6_ext::walk(first.l3()).ok()?.frag.filter(|f| f.at == frag_at)?.named_at;
        let next = *first.l3().get(frag_at)?;
        Some((frag_at, move |whole: &mut Packet| {
            *whole.l3_mut().get_mut(named_at)? = next;
            let mut ip = Ipv6::new(whole.l3_mut())?;
            ip.set_payload_len(len);
            ip.set_traffic_class(ip.traffic_class() | ecn);
            // A fragment header behind the fragment header is nonsense (ipv6_frag_rcv).
            let chain = ipv6_ext::walk(whole.l3()).ok().filter(|c| c.frag.is_none())?;
            whole.meta.proto = chain.proto;
            whole.meta.l4 = u16::try_from(chain.l4).ok()?;
            Some(())
        }))
    })
}

/// Copies a datagram together. `plan` sees the first fragment, where its payload begins and how long
/// all payloads are, and says how many of the first one's L3 bytes stay in front, and how they are then
/// put right.
fn join<F>(datagram: Datagram, plan: impl FnOnce(&Packet, usize, usize) -> Option<(usize, F)>) -> Joined
where
    F: FnOnce(&mut Packet) -> Option<()>,
{
    let (payload, largest) = (datagram.len(), datagram.largest());
    let parts: Vec<_> = datagram.into_parts().collect();
    let build = || {
        let (first, from, _) = parts.first()?;
        let (head, finish) = plan(first, *from, payload)?;
        let head = first.data().get(..usize::from(first.meta.l3) + head)?;
        let storage = vec![0; HEADROOM + head.len() + payload].into_boxed_slice();
        let mut whole = Packet::over(storage, HEADROOM);
        let mut fits = whole.append(head);
        for (packet, from, len) in &parts {
            fits &= whole.append(packet.l3().get(*from..from + len)?);
        }
        // A fragment's upper-layer checksum can't have been verified or left to the hardware.
        whole.meta = Meta { frag: Frag::Whole, offload: Offload::default(), ..first.meta };
        fits.then_some(())?;
        finish(&mut whole)?;
        let later =
            parts.iter().skip(1).map(|(.., len)| u16::try_from(*len)).collect::<Result<_, _>>().ok()?;
        let largest = u16::try_from(largest).unwrap_or(u16::MAX);
        whole.cut = Some(Box::new(Cut { largest, later }));
        Some(whole)
    };
    match build() {
        Some(packet) => {
            let absorbed = parts.iter().skip(1).map(|(packet, ..)| packet.meta.column).collect();
            let followed = parts.iter().filter_map(|(packet, ..)| packet.meta.trace).collect();
            Ok(Whole { packet, absorbed, followed })
        }
        None => Err(parts.into_iter().map(|(packet, ..)| packet).collect()),
    }
}
