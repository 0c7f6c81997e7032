//! `-m conntrack`, all of it but a bare `--ctstate`.

use crate::filter::matches::{Conntrack, Not, Ports, States, StatusSet};
use crate::filter::verdict::Env;
use crate::packet::{Direction, FlowView, Packet, Status};

use super::addr::Addr;
use super::check::Flow;
use super::facts::Facts;

/// Something asked of one of the flow's tuples: which one, whether of its destination, and what.
type OfTuple<T> = (Direction, bool, Not<T>);

/// The match, compiled.
#[derive(Debug, Clone)]
pub(super) struct Ct<A> {
    state: Option<Not<States>>,
    original: Option<bool>,
    /// An address and a mask.
    addrs: Vec<OfTuple<(A, A)>>,
    proto: Option<Not<u8>>,
    ports: Vec<OfTuple<Ports>>,
    status: Option<Not<StatusSet>>,
    expire: Option<Not<(u32, u32)>>,
}

impl<A: Addr> Ct<A> {
    /// Compiles it.
    pub(super) fn new(c: &Conntrack) -> Self {
        use Direction::{Original, Reply};
        let addrs = [
            (Original, false, c.orig_src),
            (Original, true, c.orig_dst),
            (Reply, false, c.repl_src),
            (Reply, true, c.repl_dst),
        ];
        let ports = [
            (Original, false, c.orig_src_port),
            (Original, true, c.orig_dst_port),
            (Reply, false, c.repl_src_port),
            (Reply, true, c.repl_dst_port),
        ];
        let number = |a: Not<crate::filter::matches::AddrMask>| {
            let pair = A::of(a.value.addr).zip(A::of(a.value.mask));
            // Bits of the address outside the mask mean nothing. Of the other family it agrees with none.
            let (addr, mask) = pair.unwrap_or((!A::default(), A::default()));
            Not { not: a.not, value: (if pair.is_some() { addr & mask } else { addr }, mask) }
        };
        Ct {
            state: c.state,
            original: c.original,
            addrs: addrs.into_iter().filter_map(|(d, end, a)| Some((d, end, number(a?)))).collect(),
            proto: c.proto,
            ports: ports.into_iter().filter_map(|(d, end, p)| Some((d, end, p?))).collect(),
            status: c.status,
            expire: c.expire,
        }
    }

    /// The bits of the flow's status that are asked for.
    pub(super) fn status_bits(&self) -> u32 {
        self.status.map_or(0, |s| s.value.bits)
    }

    /// Whether it is asked how long the flow has to live.
    pub(super) fn asks_expiry(&self) -> bool {
        self.expire.is_some()
    }

    /// The states in which a packet may agree, NAT apart.
    pub(super) fn states(&self) -> States {
        match self.state {
            // Whether a flow is translated is not known beforehand.
            Some(s) if s.value.intersects(States(States::SNAT.0 | States::DNAT.0)) => States(u8::MAX),
            Some(s) if s.not => States(!s.value.0),
            Some(s) => s.value,
            None => States(u8::MAX),
        }
    }

    /// In the order of `conntrack_mt`. Without a flow a state that agrees is enough, whatever else is asked; without a
    /// state nothing agrees, negated or not.
    pub(super) fn agrees<E: Env>(&self, f: &Facts<A>, p: &Packet, flow: &mut Flow, env: &mut E) -> bool {
        let flow = if p.meta.ct.is_tracked() { flow.get(p, env) } else { None };
        if let Some(states) = self.state {
            let mut has = f.state;
            if let Some(flow) = flow {
                for (status, state) in [(Status::SRC_NAT, States::SNAT), (Status::DST_NAT, States::DNAT)] {
                    if flow.status.has(status) {
                        has.0 |= state.0;
                    }
                }
            }
            if !states.agrees(|s| s.intersects(has)) {
                return false;
            }
        }
        match flow {
            None => self.state.is_some(),
            Some(flow) => {
                self.original.is_none_or(|o| o == (p.meta.ct.dir == Direction::Original))
                    && self.of_flow(flow)
            }
        }
    }

    fn of_flow(&self, flow: &FlowView) -> bool {
        let tuple = |dir: Direction| &flow.tuples[dir as usize];
        let addrs = self.addrs.iter().all(|(dir, dst, want)| {
            let t = tuple(*dir);
            let addr = A::of_tuple(if *dst { &t.dst } else { &t.src });
            want.agrees(|(value, mask)| addr & *mask == *value)
        });
        let ports = self.ports.iter().all(|(dir, dst, want)| {
            let t = tuple(*dir);
            let port = if *dst { t.dst_port } else { t.src_port };
            want.agrees(|r| (r.first..=r.last).contains(&port))
        });
        addrs
            && ports
            && self.proto.is_none_or(|p| p.agrees(|p| *p == tuple(Direction::Original).proto))
            // NONE adds no bit to the kernel's mask: by itself it agrees with no flow.
            && self.status.is_none_or(|s| s.agrees(|s| flow.status.0 & s.bits != 0))
            && self.expire.is_none_or(|e| e.agrees(|(min, max)| (*min..=*max).contains(&flow.expires)))
    }
}
