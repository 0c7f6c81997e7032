//! What TCP peers of the local stack are told of the segments that the way to them carries (`tcp_advertise_mss`).
//!
//! The local stack knows of no routes: it announces what Ethernet carries. Knows nothing of connections.

use crate::fib::Action;
use crate::packet::{Frag, Net, Packet};
use crate::wire::proto;

use super::{Cx, Hop, deliver};
use crate::filter::lower_mss;

/// Headers of IP and TCP without options.
const HEADERS4: usize = 40;
const HEADERS6: usize = 60;
/// What is announced at least unless a route says less (`net.ipv4.route.min_adv_mss`).
const LEAST4: usize = 256;
/// The same of IPv6: the least MTU less the headers (`net.ipv6.route.min_adv_mss`).
const LEAST6: usize = 1_220;

/// Lowers what a SYN made here announces to what its route says, or else to what the way out has room for.
#[inline]
pub(super) fn segments(cx: &Cx<'_>, p: &mut Packet, way: Option<&Hop>) {
    if p.meta.proto == proto::TCP
        && let Some(hop) = way
    {
        announced(cx, p, hop);
    }
}

fn announced(cx: &Cx<'_>, p: &mut Packet, hop: &Hop) {
    /// Where the flags are in a TCP header, and SYN among them (RFC 9293 §3.1).
    const FLAGS: usize = 13;
    const SYN: u8 = 2;
    let is_syn = p.meta.frag == Frag::Whole && p.l4().get(FLAGS).is_some_and(|flags| flags & SYN != 0);
    let Some((link, (_, dst))) = cx.snap.links.get(hop.link).zip(deliver::ends(p)).filter(|_| is_syn) else {
        return;
    };
    let route = cx.snap.fib.lookup(dst).filter(|e| matches!(e.action, Action::Forward(_)));
    let said = route.map_or(0, |e| e.advmss);
    let room = hop.fits(link);
    let mss = match (said, p.meta.net) {
        (0, Net::Ipv4) => room.saturating_sub(HEADERS4).max(LEAST4),
        (0, _) => room.saturating_sub(HEADERS6).max(LEAST6),
        (said, _) => said.into(),
    };
    lower_mss(p, u16::try_from(mss).unwrap_or(u16::MAX));
}
