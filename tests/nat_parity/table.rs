//! Our side: the flow table, and what NAT asks of it.

use std::net::IpAddr;

use sekisho::base::{DropReason, Hook, Instant};
use sekisho::conntrack::nat::{self, Taken};
use sekisho::conntrack::{Config, Conntrack, Current, Flow, tuple};
use sekisho::packet::flow::Address;
use sekisho::packet::{CtState, Manip, NatRange, Packet, Status, Tuple};

/// Nothing here takes long enough to matter.
const NOW: Instant = Instant::from_secs(1);

pub(crate) struct Table(Conntrack);

/// What the rules say of destinations and of sources.
pub(crate) type Ranges = [Option<NatRange>; 2];

impl Table {
    pub(crate) fn new() -> Table {
        // As the kernel is told too.
        Table(Conntrack::new(Config { checksum: false, ..Config::default() }, 7))
    }

    pub(crate) fn has(&self, t: &Tuple) -> bool {
        self.0.find(t, NOW).is_some()
    }

    /// Finds or begins the packet's flow.
    pub(crate) fn track(&self, p: &mut Packet) -> Current {
        let mut current = None;
        self.0.track(p, Hook::Prerouting, NOW, &mut current).expect("room");
        current.unwrap_or_else(|| panic!("{:?}", p.meta.ct))
    }

    /// Decides what becomes of a new flow.
    pub(crate) fn decide(
        &self,
        flow: &mut Flow,
        ranges: &Ranges,
        random: &mut impl FnMut() -> u64,
    ) -> Result<(), DropReason> {
        for (manip, range) in [Manip::Dst, Manip::Src].into_iter().zip(ranges) {
            match range {
                Some(range) => nat::setup(flow, range, manip, self, random)?,
                None => nat::bind(flow, manip, self, random)?,
            };
        }
        Ok(())
    }

    /// Translates a packet, or an error, at both hooks.
    pub(crate) fn translate(p: &mut Packet, flow: &Flow) {
        let dir = p.meta.ct.dir;
        for manip in [Manip::Dst, Manip::Src] {
            match p.meta.ct.state {
                CtState::Related => nat::translate_error(p, flow, dir, manip),
                _ => nat::translate(p, flow, dir, manip),
            }
            .unwrap_or_else(|why| panic!("{why:?}: {:?}, {flow:?}", p.meta));
        }
    }

    /// Takes a new flow in; says whether there was a place for it.
    pub(crate) fn confirm(&self, p: &mut Packet, current: &mut Current) -> bool {
        self.0.confirm(p, current, NOW).is_ok()
    }
}

impl Taken for Table {
    fn is_taken(&self, reply: &Tuple, original: &Tuple) -> bool {
        self.0.is_taken(reply, original, NOW)
    }

    fn source_mapping(
        &self,
        source: &Tuple,
        fits: &mut dyn FnMut(&Address, u16) -> bool,
    ) -> Option<(Address, u16)> {
        self.0.source_mapping(source, NOW, fits)
    }

    fn reserved(&self, _: &Tuple, _: IpAddr, _: u16) -> bool {
        false
    }

    fn clear(&self, reply: &Tuple, new: &Flow) -> bool {
        self.0.clear(reply, new, NOW)
    }
}

pub(crate) fn is_echo(t: &Tuple) -> bool {
    matches!(t.proto, 1 | 58)
}

/// The tuple of answers.
pub(crate) fn turned(t: &Tuple) -> Tuple {
    tuple::invert(t).expect("no error has a tuple here")
}

/// Makes of a new flow what the kernel chose, where that is not what we did.
pub(crate) fn adopt(flow: &mut Flow, reply: Tuple) {
    let was = turned(&flow.tuples[0]);
    flow.tuples[1] = reply;
    let mut change = |status: Status, addr: bool, port: bool| {
        // Which end's turn changed an identifier can't be told; where ours did, so did the kernel's.
        let ours = is_echo(&was) && flow.status.has(status);
        flow.status.0 &= !status.0;
        if addr || ours || !is_echo(&was) && port {
            flow.status.set(status);
        }
    };
    change(Status::DST_NAT, was.src != reply.src, was.src_port != reply.src_port);
    change(Status::SRC_NAT, was.dst != reply.dst, was.dst_port != reply.dst_port);
}
