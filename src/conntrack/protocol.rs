//! What each protocol makes of a packet of its flow: how long it lives on, whether it is worth keeping, whether
//! the packet belongs to it at all.
//!
//! TCP and SCTP have files of their own; the rest has little to follow (`nf_conntrack_proto_udp.c`,
//! `nf_conntrack_proto_gre.c`, `nf_conntrack_proto_generic.c`):
//!
//! ```text
//!             unanswered        answered                                   ASSURED
//! UDP         udp               udp, from 2 s after its start udp_stream   once a stream
//! UDP-Lite    udp               udp_stream                                 when answered
//! GRE         gre               gre_stream                                 when answered
//! ICMP        icmp, icmpv6      the same                                   never
//! others      generic           the same                                   never
//! ```

use std::net::IpAddr;
use std::time::Duration;

use super::{Flow, Settings, State, Step, Timeout, sctp, tcp, tuple};
use crate::base::{Hook, Instant};
use crate::packet::{Csum, Direction, Net, Packet, Status};
use crate::wire::ipv4::Ipv4;
use crate::wire::ipv6::Ipv6;
use crate::wire::{checksum, proto, udp};

/// Takes the packet into account in the flow's protocol state and status; the flow's deadline is the caller's to
/// set. A flow that is not CONFIRMED begins with this packet.
#[inline]
pub(super) fn judge(
    p: &Packet,
    hook: Hook,
    config: &Settings,
    flow: &mut Flow,
    dir: Direction,
    now: Instant,
) -> Step {
    let step = match flow.tuples[0].proto {
        proto::TCP => tcp(p, hook, config, flow, dir, now),
        proto::UDP => udp(p, hook, config, flow, now),
        proto::UDP_LITE => udp_lite(p, hook, config, flow),
        proto::SCTP => sctp(p, hook, config, flow, dir),
        proto::ICMP | proto::ICMPV6 => icmp(p, config, flow),
        proto::GRE => answered_or_not(config, flow, Timeout::Gre, Timeout::GreStream),
        _ => accept(config, Timeout::Generic),
    };
    if let Step::Accept { set, .. } = step {
        flow.status.set(set);
    }
    step
}

fn accept(config: &Settings, timeout: Timeout) -> Step {
    Step::Accept { timeout: Some(config.timeout(timeout)), set: Status::default() }
}

/// ASSURED, but for a flow that shares its original tuple with another: it is to go soon.
fn assured(flow: &Flow) -> Status {
    if flow.status.has(Status::NAT_CLASH) { Status::default() } else { Status::ASSURED }
}

fn answered_or_not(config: &Settings, flow: &Flow, unanswered: Timeout, answered: Timeout) -> Step {
    match flow.status.has(Status::SEEN_REPLY) {
        true => Step::Accept { timeout: Some(config.timeout(answered)), set: assured(flow) },
        false => accept(config, unanswered),
    }
}

fn tcp(p: &Packet, hook: Hook, config: &Settings, flow: &mut Flow, dir: Direction, now: Instant) -> Step {
    let l4 = p.l4();
    let Ok(segment) = tcp::Segment::read(l4, l4.len()) else { return Step::INVALID };
    if sum_fails(p, hook, config, Some(proto::TCP), l4.len()) {
        return Step::INVALID;
    }
    if !flow.status.has(Status::CONFIRMED) {
        let Some((state, timeout)) = tcp::State::begin(&segment, config) else { return Step::INVALID };
        flow.state = State::Tcp(state);
        return Step::Accept { timeout: Some(timeout), set: Status::default() };
    }
    let left = flow.deadline.since(now);
    match &mut flow.state {
        State::Tcp(state) => state.step(dir, &segment, flow.status, config, left),
        _ => Step::INVALID,
    }
}

fn sctp(p: &Packet, hook: Hook, config: &Settings, flow: &mut Flow, dir: Direction) -> Step {
    let l4 = p.l4();
    let Ok(packet) = sctp::Packet::read(l4) else { return Step::INVALID };
    if checks_sums(p, hook, config) && !crate::wire::sctp::is_intact(l4) {
        return Step::INVALID;
    }
    if !flow.status.has(Status::CONFIRMED) {
        let Some((state, timeout)) = sctp::State::begin(&packet, config) else { return Step::INVALID };
        flow.state = State::Sctp(state);
        return Step::Accept { timeout: Some(timeout), set: Status::default() };
    }
    match &mut flow.state {
        State::Sctp(state) => state.step(dir, &packet, flow.status, config),
        _ => Step::INVALID,
    }
}

fn udp(p: &Packet, hook: Hook, config: &Settings, flow: &mut Flow, now: Instant) -> Step {
    let l4 = p.l4();
    let Some(datagram) = udp::Udp::new(l4) else { return Step::INVALID };
    let len = usize::from(datagram.length());
    if len < udp::HEADER_LEN || len > l4.len() {
        return Step::INVALID;
    }
    // As Linux, over IPv6 too: a checksum of zero is not looked at.
    if datagram.checksum() != 0 && sum_fails(p, hook, config, Some(proto::UDP), l4.len()) {
        return Step::INVALID;
    }
    let stream_from = match flow.state {
        State::Udp { stream_from } => stream_from,
        _ => {
            let stream_from = now + STREAM_AFTER;
            flow.state = State::Udp { stream_from };
            stream_from
        }
    };
    if flow.status.has(Status::SEEN_REPLY) && now > stream_from {
        Step::Accept { timeout: Some(config.timeout(Timeout::UdpStream)), set: assured(flow) }
    } else {
        accept(config, Timeout::Udp)
    }
}

fn udp_lite(p: &Packet, hook: Hook, config: &Settings, flow: &Flow) -> Step {
    let l4 = p.l4();
    let Some(datagram) = udp::Udp::new(l4) else { return Step::INVALID };
    // RFC 3828 §3.1: the length field is the coverage; 0 means all.
    let coverage = match usize::from(datagram.length()) {
        0 => l4.len(),
        n => n,
    };
    if coverage < udp::HEADER_LEN || coverage > l4.len() || datagram.checksum() == 0 {
        return Step::INVALID;
    }
    if sum_fails(p, hook, config, Some(proto::UDP_LITE), coverage) {
        return Step::INVALID;
    }
    answered_or_not(config, flow, Timeout::Udp, Timeout::UdpStream)
}

fn icmp(p: &Packet, config: &Settings, flow: &Flow) -> Step {
    let timeout = match (p.meta.net, flow.tuples[0].proto) {
        (Net::Ipv4, proto::ICMP) => Timeout::Icmp,
        (Net::Ipv6, proto::ICMPV6) => Timeout::Icmpv6,
        _ => return Step::INVALID,
    };
    // An answer that nobody asked for begins nothing.
    if tuple::is_query(&flow.tuples[0]) { accept(config, timeout) } else { Step::INVALID }
}

/// Whether checksums are looked at: of packets that come in, as on the wire.
fn checks_sums(p: &Packet, hook: Hook, config: &Settings) -> bool {
    config.checksum() && hook == Hook::Prerouting && p.meta.offload.csum == Csum::Wire
}

/// Whether the checksum over the first `covered` bytes of the upper layer, and the pseudo-header of the protocol
/// if there is one, is looked at and wrong.
pub(super) fn sum_fails(
    p: &Packet,
    hook: Hook,
    config: &Settings,
    pseudo: Option<u8>,
    covered: usize,
) -> bool {
    if !checks_sums(p, hook, config) {
        return false;
    }
    let l4 = p.l4();
    let header = match (pseudo, addresses(p)) {
        (None, _) => Some(0),
        (Some(proto), Some((src, dst))) => checksum::pseudo(src, dst, proto, l4.len() as u32),
        (Some(_), None) => None,
    };
    let sum = |header| checksum::fold(header + checksum::sum(&l4[..covered.min(l4.len())]));
    header.map(sum) != Some(0xffff)
}

fn addresses(p: &Packet) -> Option<(IpAddr, IpAddr)> {
    match p.meta.net {
        Net::Ipv4 => Ipv4::new(p.l3()).map(|ip| (ip.src().into(), ip.dst().into())),
        Net::Ipv6 => Ipv6::new(p.l3()).map(|ip| (ip.src().into(), ip.dst().into())),
        Net::None | Net::Arp => None,
    }
}

/// From when on answered UDP counts as a stream (`nf_conntrack_udp_packet`).
const STREAM_AFTER: Duration = Duration::from_secs(2);
