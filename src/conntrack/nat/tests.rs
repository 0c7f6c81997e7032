//! What the tests of NAT share, and tests of the small things.

pub(super) mod make;

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::Ipv4Addr;

use super::*;
use crate::base::Instant;
use crate::conntrack::State;
use crate::packet::flow::{pack, unpack};
use crate::wire::{icmpv4, icmpv6, proto};

/// An address and port as in `10.0.0.1:80`, `[fd00::1]:80`.
pub(super) fn end(text: &str) -> (IpAddr, u16) {
    let at: std::net::SocketAddr = text.parse().expect("an address and a port");
    (at.ip(), at.port())
}

/// A tuple between two ends; the source's port is the identifier of an ICMP echo request.
pub(super) fn tuple(proto: u8, src: &str, dst: &str) -> Tuple {
    let ((src, src_port), (dst, mut dst_port)) = (end(src), end(dst));
    match proto {
        proto::ICMP => dst_port = u16::from(icmpv4::ECHO) << 8,
        proto::ICMPV6 => dst_port = u16::from(icmpv6::ECHO) << 8,
        _ => {}
    }
    Tuple { src: pack(src), dst: pack(dst), src_port, dst_port, proto, v6: src.is_ipv6() }
}

/// The tuple of answers.
pub(super) fn turned(t: &Tuple) -> Tuple {
    let turned = Tuple { src: t.dst, dst: t.src, src_port: t.dst_port, dst_port: t.src_port, ..*t };
    match (t.proto, t.icmp_type()) {
        (proto::ICMP, icmpv4::ECHO) => {
            Tuple { src_port: t.src_port, dst_port: u16::from(icmpv4::ECHO_REPLY) << 8, ..turned }
        }
        (proto::ICMP, icmpv4::ECHO_REPLY) => {
            Tuple { src_port: t.src_port, dst_port: u16::from(icmpv4::ECHO) << 8, ..turned }
        }
        (proto::ICMPV6, icmpv6::ECHO) => {
            Tuple { src_port: t.src_port, dst_port: u16::from(icmpv6::ECHO_REPLY) << 8, ..turned }
        }
        (proto::ICMPV6, icmpv6::ECHO_REPLY) => {
            Tuple { src_port: t.src_port, dst_port: u16::from(icmpv6::ECHO) << 8, ..turned }
        }
        _ => turned,
    }
}

/// A flow that begins.
pub(super) fn begin(original: Tuple) -> Flow {
    Flow {
        tuples: [original, turned(&original)],
        status: Status::default(),
        mark: 0,
        state: State::Other,
        deadline: Instant::ZERO,
        masquerade: None,
    }
}

/// A flow table as simple as can be.
#[derive(Default)]
pub(super) struct Book {
    /// Each flow under both its tuples.
    pub flows: RefCell<HashMap<Tuple, Flow>>,
    /// Original tuples, oldest first.
    pub order: RefCell<Vec<Tuple>>,
    /// Ports of the router's own.
    pub own: Vec<(IpAddr, u16)>,
    /// How packets come to workers.
    pub steering: Option<Steering>,
    /// Whether flows in the way may be ended.
    pub over: bool,
}

impl Book {
    /// Takes a flow in; says whether there was a place for it.
    pub(super) fn confirm(&self, flow: &Flow) -> bool {
        let mut flows = self.flows.borrow_mut();
        if flow.tuples.iter().any(|t| flows.contains_key(t)) {
            return false;
        }
        flows.insert(flow.tuples[0], *flow);
        flows.insert(flow.tuples[1], *flow);
        self.order.borrow_mut().push(flow.tuples[0]);
        true
    }

    /// Whether a packet of this tuple would belong to a flow.
    pub(super) fn flows_with(&self, tuple: &Tuple) -> bool {
        self.flows.borrow().contains_key(tuple)
    }
}

impl Taken for Book {
    fn is_taken(&self, reply: &Tuple, original: &Tuple) -> bool {
        self.flows.borrow().get(reply).is_some_and(|f| f.tuples[0] != *original)
    }

    fn source_mapping(
        &self,
        original: &Tuple,
        fits: &mut dyn FnMut(&Address, u16) -> bool,
    ) -> Option<(Address, u16)> {
        let (flows, order) = (self.flows.borrow(), self.order.borrow());
        let same =
            |t: &&Tuple| (t.proto, t.src, t.src_port) == (original.proto, original.src, original.src_port);
        order.iter().rev().filter(same).find_map(|t| {
            let reply = &flows.get(t)?.tuples[1];
            let port = if t.has_ports() { reply.dst_port } else { reply.src_port };
            fits(&reply.dst, port).then_some((reply.dst, port))
        })
    }

    fn reserved(&self, _: &Tuple, addr: IpAddr, port: u16) -> bool {
        self.own.contains(&(addr, port))
    }

    fn steering(&self) -> Option<&Steering> {
        self.steering.as_ref()
    }

    fn clear(&self, reply: &Tuple, _: &Flow) -> bool {
        let mut flows = self.flows.borrow_mut();
        let Some(old) = flows.get(reply).filter(|_| self.over).copied() else { return false };
        old.tuples.iter().all(|t| flows.remove(t).is_some())
    }
}

/// Numbers of a generator that a test can repeat (SplitMix64).
pub(super) fn numbers(mut seed: u64) -> impl FnMut() -> u64 {
    move || {
        seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (seed ^ seed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }
}

/// The destination of answers, as text.
pub(super) fn as_seen(flow: &Flow) -> String {
    let reply = &flow.tuples[1];
    let port =
        if matches!(reply.proto, proto::ICMP | proto::ICMPV6) { reply.src_port } else { reply.dst_port };
    std::net::SocketAddr::new(unpack(reply.dst, reply.v6), port).to_string()
}

#[test]
fn each_end_is_asked_for_by_itself() {
    assert!(is_done(Status::SRC_NAT_DONE, Manip::Src) && !is_done(Status::SRC_NAT_DONE, Manip::Dst));
    assert!(is_done(Status::DST_NAT_DONE, Manip::Dst) && !is_done(Status::DST_NAT, Manip::Dst));
}

#[test]
fn a_masqueraded_flow_that_leaves_elsewhere_has_moved() {
    let mut flow = begin(tuple(proto::UDP, "10.0.0.2:1", "192.0.2.7:2"));
    assert!(!moved(&flow, Direction::Original, LinkId(3)));
    flow.masquerade = Some(LinkId(2));
    assert!(!moved(&flow, Direction::Original, LinkId(2)));
    assert!(moved(&flow, Direction::Original, LinkId(3)));
    assert!(!moved(&flow, Direction::Reply, LinkId(3)), "answers leave by the inner link");
}

#[test]
fn ranges_of_netmap() {
    let range = |text: &str, len| netmap(text.parse().unwrap(), len).addr.unwrap();
    let v4 = |a, b| (IpAddr::V4(Ipv4Addr::from(a)), IpAddr::V4(Ipv4Addr::from(b)));
    assert_eq!(range("192.0.2.77", 24), v4([192, 0, 2, 0], [192, 0, 2, 255]));
    assert_eq!(range("192.0.2.77", 32), v4([192, 0, 2, 77], [192, 0, 2, 77]));
    assert_eq!(range("192.0.2.77", 0), v4([0; 4], [255; 4]));
    let (first, last) = range("fd00:1:2::5", 48);
    assert_eq!(
        (first.to_string(), last.to_string()),
        ("fd00:1:2::".into(), "fd00:1:2:ffff:ffff:ffff:ffff:ffff".into())
    );
    assert!(netmap(first, 48).netmap);
}
