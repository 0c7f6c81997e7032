//! Why a packet is INVALID, in words, for whoever follows it: asked after the fact, of the tables as they then stand. Decides
//! nothing and changes nothing.

use super::protocol::sum_fails;
use super::{Conntrack, State, icmp, tcp, tuple};
use crate::base::{Hook, Instant};
use crate::packet::{Direction, Frag, Packet};
use crate::wire::proto;

impl Conntrack {
    /// Why the conntrack stage finds this packet INVALID.
    pub fn why_invalid(&self, p: &Packet, hook: Hook, now: Instant) -> String {
        if p.meta.frag != Frag::Whole {
            return "it is a fragment whose datagram was not put together".to_owned();
        }
        if matches!(p.meta.proto, proto::ICMP | proto::ICMPV6) {
            match icmp::look(p, hook, &self.config) {
                icmp::Looked::Error => return self.why_unrelated(p, now),
                icmp::Looked::Invalid => {
                    return "the ICMP message is malformed, or its checksum is wrong".to_owned();
                }
                icmp::Looked::Query | icmp::Looked::Untracked => {}
            }
        }
        let Some(tuple) = tuple::of(p) else {
            return "its upper-layer header is cut short, or of a kind that has no answer".to_owned();
        };
        let known = self.find(&tuple, now);
        match tuple.proto {
            proto::TCP => self.why_tcp(p, hook, known.map(|(_, dir, flow)| (dir, flow.state))),
            proto::ICMP | proto::ICMPV6 if known.is_none() => "an answer that nobody asked for".to_owned(),
            proto::SCTP if known.is_none() => "no flow is known, and this packet can't begin one".to_owned(),
            proto::SCTP => "it does not fit where its association stands".to_owned(),
            _ => "its header is malformed, or its checksum is wrong".to_owned(),
        }
    }

    fn why_unrelated(&self, p: &Packet, now: Instant) -> String {
        match icmp::about(p) {
            None => "an ICMP error that quotes nothing its destination could have sent".to_owned(),
            Some(t) if self.find(&t, now).is_none() => "an ICMP error about no flow that is known".to_owned(),
            Some(_) => "an ICMP error".to_owned(),
        }
    }

    fn why_tcp(&self, p: &Packet, hook: Hook, known: Option<(Direction, State)>) -> String {
        let l4 = p.l4();
        let segment = match tcp::Segment::read(l4, l4.len()) {
            Ok(segment) => segment,
            Err(why) => return why.to_string(),
        };
        if sum_fails(p, hook, &self.config, Some(proto::TCP), l4.len()) {
            return "its TCP checksum is wrong".to_owned();
        }
        match known {
            None => "no flow is known, and a segment with these flags can't begin one".to_owned(),
            Some((dir, State::Tcp(state))) => {
                let side = if dir == Direction::Original { "original" } else { "reply" };
                let name = state.name();
                match state.refuses(dir, &segment) {
                    true => {
                        format!("no such segment can come from the {side} side of a connection in {name}")
                    }
                    false => {
                        format!("its numbers are outside the window of the connection, which is in {name}")
                    }
                }
            }
            Some(_) => "the flow it belongs to is no TCP connection".to_owned(),
        }
    }
}
