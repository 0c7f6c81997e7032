//! A flow as conntrack-tools 1.4.7 print it, byte for byte: lines here, `-o save` and `-o xml` in rooms of their own.
//!
//! ```text
//! tcp      6 431999 ESTABLISHED src=… dst=… sport=… dport=… src=… dst=… sport=… dport=… [ASSURED] mark=0 use=1
//!  [UPDATE] tcp      6 60 SYN_RECV src=… dst=… sport=… dport=… src=… dst=… sport=… dport=…
//! ```

mod save;
mod xml;

use std::fmt;

use super::{EventKind, Flow, State};
use crate::base::Instant;
use crate::packet::{FlowId, Status, Tuple};
use crate::wire::proto;

pub use save::{Save, save};
pub use xml::{XML_END, XML_START, Xml, xml};

/// A flow's line, at a moment.
#[derive(Debug, Clone, Copy)]
pub struct Line<'a> {
    flow: &'a Flow,
    now: Instant,
    extended: bool,
    id: Option<u64>,
    event: Option<(EventKind, bool)>,
}

/// The line of a flow; `extended` is `-o extended`: with the family in front.
pub fn line(flow: &Flow, now: Instant, extended: bool) -> Line<'_> {
    Line { flow, now, extended, id: None, event: None }
}

impl Line<'_> {
    /// With the flow's number behind it: `-o id`.
    #[must_use]
    pub fn with_id(self, id: FlowId) -> Self {
        Line { id: Some(number(id)), ..self }
    }

    /// As the line of an event: with what happened in front, and without what the kernel does not tell of it.
    #[must_use]
    pub fn of_event(self, kind: EventKind, by_hand: bool) -> Self {
        Line { event: Some((kind, by_hand)), ..self }
    }
}

/// The number that a flow is told by: another for each that ever stood in its place.
pub fn number(id: FlowId) -> u64 {
    u64::from(id.tenant.get()) << 32 | u64::from(id.slot)
}

/// What conntrack-tools print in front of what happened to a flow.
pub fn event_name(kind: EventKind) -> &'static str {
    match kind {
        EventKind::New => "    [NEW]",
        EventKind::Update => " [UPDATE]",
        EventKind::Destroy => "[DESTROY]",
    }
}

/// The name conntrack-tools has for a protocol.
pub fn protocol_name(proto: u8) -> &'static str {
    match proto {
        proto::TCP => "tcp",
        proto::UDP => "udp",
        proto::UDP_LITE => "udplite",
        proto::ICMP => "icmp",
        proto::ICMPV6 => "icmpv6",
        proto::SCTP => "sctp",
        proto::GRE => "gre",
        proto::DCCP => "dccp",
        _ => "unknown",
    }
}

/// Where the flow's protocol stands, where that has a name.
pub fn state_name(flow: &Flow) -> Option<&'static str> {
    match &flow.state {
        State::Tcp(tcp) => Some(tcp.name()),
        State::Sctp(sctp) => Some(sctp.name()),
        State::Udp { .. } | State::Other => None,
    }
}

/// The family's name, and its number (AF_INET, AF_INET6).
fn family(v6: bool) -> (&'static str, u8) {
    if v6 { ("ipv6", 10) } else { ("ipv4", 2) }
}

/// Seconds that a flow has left; of an event nothing, if it ended because there were none.
fn left(flow: &Flow, now: Instant, event: Option<EventKind>) -> Option<u64> {
    // A flow that no table has yet begins to age when it is entered into one.
    let from = if flow.status.has(Status::CONFIRMED) { now } else { Instant::ZERO };
    let left = flow.deadline.since(from).as_secs();
    (left > 0 || event != Some(EventKind::Destroy)).then_some(left)
}

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Line { flow, now, extended, id, event } = *self;
        let [original, reply] = &flow.tuples;
        if let Some((kind, _)) = event {
            write!(f, "{} ", event_name(kind))?;
        }
        if extended {
            let (name, number) = family(original.v6);
            write!(f, "{name:<8} {number} ")?;
        }
        write!(f, "{:<8} {} ", protocol_name(original.proto), original.proto)?;
        if let Some(left) = left(flow, now, event.map(|(kind, _)| kind)) {
            write!(f, "{left} ")?;
        }
        if let Some(state) = state_name(flow) {
            write!(f, "{state} ")?;
        }
        tuple(f, original)?;
        if !flow.status.has(Status::SEEN_REPLY) {
            f.write_str(" [UNREPLIED]")?;
        }
        f.write_str(" ")?;
        tuple(f, reply)?;
        if flow.status.has(Status::ASSURED) {
            f.write_str(" [ASSURED]")?;
        }
        match event {
            None => write!(f, " mark={} use=1", flow.mark)?,
            Some(_) if flow.mark != 0 => write!(f, " mark={}", flow.mark)?,
            Some(_) => {}
        }
        if let Some(id) = id {
            write!(f, " id={id}")?;
        }
        match event {
            Some((_, true)) => f.write_str(" [USERSPACE]"),
            _ => Ok(()),
        }
    }
}

fn tuple(f: &mut fmt::Formatter<'_>, t: &Tuple) -> fmt::Result {
    write!(f, "src={} dst={}", t.src(), t.dst())?;
    match t.proto {
        // DCCP has none to Linux 6.18; conntrack-tools print them all the same.
        proto::TCP | proto::UDP | proto::UDP_LITE | proto::SCTP | proto::DCCP => {
            write!(f, " sport={} dport={}", t.src_port, t.dst_port)
        }
        proto::ICMP | proto::ICMPV6 => {
            write!(f, " type={} code={} id={}", t.icmp_type(), t.icmp_code(), t.src_port)
        }
        proto::GRE => write!(f, " srckey=0x{:x} dstkey=0x{:x}", t.src_port, t.dst_port),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
