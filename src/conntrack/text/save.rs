//! `-o save`: a flow as the options that would make it again (`conntrack -R` reads them).
//!
//! ```text
//! -A -t 29 -u SEEN_REPLY -s … -d … -r … -q … -p udp --sport … --dport … --reply-port-src … --reply-port-dst …
//! ```

use std::fmt;

use super::{protocol_name, state_name};
use crate::base::Instant;
use crate::conntrack::{EventKind, Flow, State};
use crate::packet::{Status, Tuple};
use crate::wire::proto;

/// A flow's options, at a moment.
#[derive(Debug, Clone, Copy)]
pub struct Save<'a> {
    flow: &'a Flow,
    now: Instant,
    event: Option<EventKind>,
    by_hand: bool,
}

/// The options of a flow: to add it; of an event, to do the same again.
pub fn save(flow: &Flow, now: Instant, event: Option<EventKind>, by_hand: bool) -> Save<'_> {
    Save { flow, now, event, by_hand }
}

impl fmt::Display for Save<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Save { flow, now, event, by_hand } = *self;
        let [original, reply] = &flow.tuples;
        f.write_str(match event {
            None | Some(EventKind::New) => "-A",
            Some(EventKind::Update) => "-U",
            Some(EventKind::Destroy) => "-D",
        })?;
        if let Some(left) = super::left(flow, now, event) {
            write!(f, " -t {left}")?;
        }
        f.write_str(" -u ")?;
        let set = STATUS.iter().filter(|(bit, _)| flow.status.has(*bit));
        let names: Vec<_> = set.map(|(_, name)| *name).collect();
        f.write_str(&if names.is_empty() { "UNSET".to_owned() } else { names.join(",") })?;
        let (from, to) = (flow.status.has(Status::DST_NAT), flow.status.has(Status::SRC_NAT));
        let (from, to) = (if from { "-g" } else { "-r" }, if to { "-n" } else { "-q" });
        write!(
            f,
            " -s {} -d {} {from} {} {to} {}",
            original.src(),
            original.dst(),
            reply.src(),
            reply.dst()
        )?;
        match protocol_name(original.proto) {
            "unknown" => write!(f, " -p {}", original.proto)?,
            name => write!(f, " -p {name}")?,
        }
        upper(f, original, reply)?;
        if let Some(state) = state_name(flow) {
            write!(f, " --state {state}")?;
        }
        if let State::Sctp(sctp) = &flow.state {
            let [orig, reply] = sctp.tags();
            write!(f, " --orig-vtag {orig} --reply-vtag {reply}")?;
        }
        if by_hand { f.write_str(" [USERSPACE]") } else { Ok(()) }
    }
}

fn upper(f: &mut fmt::Formatter<'_>, original: &Tuple, reply: &Tuple) -> fmt::Result {
    let icmp = |f: &mut fmt::Formatter<'_>, name: &str| {
        let (kind, code, id) = (original.icmp_type(), original.icmp_code(), original.src_port);
        write!(f, " --{name}-type {kind} --{name}-code {code} --{name}-id {id}")
    };
    let (a, b, c, d) = (original.src_port, original.dst_port, reply.src_port, reply.dst_port);
    match original.proto {
        proto::ICMP => icmp(f, "icmp"),
        proto::ICMPV6 => icmp(f, "icmpv6"),
        proto::GRE => write!(f, " --srckey {a} --dstkey {b} --reply-key-src {c} --reply-key-dst {d}"),
        _ if original.has_ports() => {
            write!(f, " --sport {a} --dport {b} --reply-port-src {c} --reply-port-dst {d}")
        }
        _ => Ok(()),
    }
}

/// What of the status can be set with `-u`.
const STATUS: [(Status, &str); 3] = [
    (Status::SEEN_REPLY, "SEEN_REPLY"),
    (Status::ASSURED, "ASSURED"),
    (Status::FIXED_TIMEOUT, "FIXED_TIMEOUT"),
];
