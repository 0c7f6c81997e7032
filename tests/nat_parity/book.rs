//! A flow table as simple as can be.

use std::collections::HashMap;
use std::net::IpAddr;

use sekisho::base::Instant;
use sekisho::conntrack::nat::Taken;
use sekisho::conntrack::{Flow, State};
use sekisho::packet::flow::Address;
use sekisho::packet::{Status, Tuple};

#[derive(Default)]
pub(crate) struct Book {
    flows: HashMap<Tuple, Flow>,
    /// Original tuples, oldest first.
    order: Vec<Tuple>,
}

impl Book {
    pub(crate) fn has(&self, tuple: &Tuple) -> bool {
        self.flows.contains_key(tuple)
    }

    pub(crate) fn confirm(&mut self, flow: &Flow) {
        assert!(!flow.tuples.iter().any(|t| self.has(t)), "{flow:?} clashes");
        self.flows.insert(flow.tuples[0], *flow);
        self.flows.insert(flow.tuples[1], *flow);
        self.order.push(flow.tuples[0]);
    }
}

impl Taken for Book {
    fn is_taken(&self, reply: &Tuple, original: &Tuple) -> bool {
        self.flows.get(reply).is_some_and(|f| f.tuples[0] != *original)
    }

    fn source_mapping(
        &self,
        original: &Tuple,
        fits: &mut dyn FnMut(&Address, u16) -> bool,
    ) -> Option<(Address, u16)> {
        let source = |t: &Tuple| (t.proto, t.src, t.src_port);
        self.order.iter().rev().filter(|t| source(t) == source(original)).find_map(|t| {
            let reply = &self.flows[t].tuples[1];
            let port = if is_echo(reply) { reply.src_port } else { reply.dst_port };
            fits(&reply.dst, port).then_some((reply.dst, port))
        })
    }

    fn reserved(&self, _: &Tuple, _: IpAddr, _: u16) -> bool {
        false
    }

    fn clear(&self, _: &Tuple, _: &Flow) -> bool {
        false
    }
}

pub(crate) fn is_echo(t: &Tuple) -> bool {
    matches!(t.proto, 1 | 58)
}

/// The tuple of answers.
pub(crate) fn turned(t: &Tuple) -> Tuple {
    let turned = Tuple { src: t.dst, dst: t.src, src_port: t.dst_port, dst_port: t.src_port, ..*t };
    // Echo request and reply: 8 and 0, 128 and 129.
    let kind = match (t.proto, t.icmp_type()) {
        (1, kind) => u16::from(8 - kind),
        (58, kind) => u16::from(128 + (129 - kind)),
        _ => return turned,
    };
    Tuple { src_port: t.src_port, dst_port: kind << 8, ..turned }
}

/// A flow that begins.
pub(crate) fn begin(original: Tuple) -> Flow {
    Flow {
        tuples: [original, turned(&original)],
        status: Status::default(),
        mark: 0,
        state: State::Other,
        deadline: Instant::ZERO,
        masquerade: None,
    }
}

/// The flow as the kernel decided, where it chose otherwise than we did.
pub(crate) fn as_chosen(ours: &Flow, reply: Tuple) -> Flow {
    let mut flow = *ours;
    let was = begin(ours.tuples[0]).tuples[1];
    flow.tuples[1] = reply;
    let mut change = |is: bool, status| {
        if is {
            flow.status.set(status)
        }
    };
    change(was.src != reply.src || !is_echo(&was) && was.src_port != reply.src_port, Status::DST_NAT);
    change(was.dst != reply.dst || !is_echo(&was) && was.dst_port != reply.dst_port, Status::SRC_NAT);
    flow
}
