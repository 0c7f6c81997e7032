//! A flow as `conntrack -L` prints it (conntrack-tools 1.4.7), byte for byte.
//!
//! ```text
//! tcp      6 431999 ESTABLISHED src=… dst=… sport=… dport=… src=… dst=… sport=… dport=… [ASSURED] mark=0 use=1
//! ```

use std::fmt;

use super::{Flow, State};
use crate::base::Instant;
use crate::packet::{Status, Tuple};
use crate::wire::proto;

/// A flow's line, at a moment.
#[derive(Debug, Clone, Copy)]
pub struct Line<'a> {
    flow: &'a Flow,
    now: Instant,
    extended: bool,
}

/// The line of a flow; `extended` is `-o extended`: with the family in front.
pub fn line(flow: &Flow, now: Instant, extended: bool) -> Line<'_> {
    Line { flow, now, extended }
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

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Line { flow, now, extended } = *self;
        let [original, reply] = &flow.tuples;
        if extended {
            // AF_INET, AF_INET6.
            let (name, number) = if original.v6 { ("ipv6", 10) } else { ("ipv4", 2) };
            write!(f, "{name:<8} {number} ")?;
        }
        write!(f, "{:<8} {} ", protocol_name(original.proto), original.proto)?;
        write!(f, "{} ", flow.deadline.since(now).as_secs())?;
        match &flow.state {
            State::Tcp(state) => write!(f, "{} ", state.name())?,
            State::Sctp(state) => write!(f, "{} ", state.name())?,
            State::Udp { .. } | State::Other => {}
        }
        tuple(f, original)?;
        if !flow.status.has(Status::SEEN_REPLY) {
            f.write_str("[UNREPLIED] ")?;
        }
        tuple(f, reply)?;
        if flow.status.has(Status::ASSURED) {
            f.write_str("[ASSURED] ")?;
        }
        write!(f, "mark={} use=1", flow.mark)
    }
}

fn tuple(f: &mut fmt::Formatter<'_>, t: &Tuple) -> fmt::Result {
    write!(f, "src={} dst={} ", t.src(), t.dst())?;
    match t.proto {
        // DCCP has none to Linux 6.18; conntrack-tools print them all the same.
        proto::TCP | proto::UDP | proto::UDP_LITE | proto::SCTP | proto::DCCP => {
            write!(f, "sport={} dport={} ", t.src_port, t.dst_port)
        }
        proto::ICMP | proto::ICMPV6 => {
            write!(f, "type={} code={} id={} ", t.icmp_type(), t.icmp_code(), t.src_port)
        }
        proto::GRE => write!(f, "srckey=0x{:x} dstkey=0x{:x} ", t.src_port, t.dst_port),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
