//! The classifiers of an interface: a `clsact` qdisc and the filters in it.
//!
//! `clsact` has no queue; it is the place where filters hang on what an interface receives (ingress)
//! and sends (egress). A filter stands at a priority, lowest first, and under a handle.
//!
//! ```text
//!  device ─► packet sockets ─► clsact ingress ─► the kernel's own stack
//!  device ◄──────────────────── clsact egress ◄─ the kernel's own stack
//!  device ◄─ packet sockets with PACKET_QDISC_BYPASS
//! ```

use std::os::fd::{AsFd as _, AsRawFd as _};

use netlink_packet_core::{
    DefaultNla, NLA_F_NESTED, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL, NLM_F_REPLACE, NlasIterator,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::tc::{TcAttribute, TcHandle, TcMessage, TcOption};

use super::{Netlink, NetlinkError};
use crate::io::bpf::Program;
use crate::io::bpf::classic::Op;

/// One of the two places for filters in a clsact qdisc.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Hook {
    /// On what the interface received.
    Ingress,
    /// On what is to be sent through it.
    Egress,
}

impl Hook {
    /// Both.
    pub const BOTH: [Hook; 2] = [Hook::Ingress, Hook::Egress];

    fn parent(self) -> TcHandle {
        let minor = match self {
            Hook::Ingress => TcHandle::MIN_INGRESS,
            Hook::Egress => TcHandle::MIN_EGRESS,
        };
        TcHandle { major: TcHandle::CLSACT.major, minor }
    }

    fn name(self) -> &'static str {
        match self {
            Hook::Ingress => "ingress",
            Hook::Egress => "egress",
        }
    }
}

/// A filter that hangs somewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    /// The classifier: `bpf`, `matchall`, `u32`, …
    pub kind: String,
    /// Its priority: lower ones are asked first.
    pub priority: u16,
    /// Its handle within the priority. Classifiers with a head of their own also show that, as handle 0.
    pub handle: u32,
}

impl Netlink {
    /// Gives an interface a clsact qdisc; `false` if it had one. An `ingress` qdisc, the older form
    /// without the egress half, is in the way: the kernel refuses.
    pub fn tc_clsact_add(&mut self, index: u32) -> Result<bool, NetlinkError> {
        let what = format!("add a clsact qdisc to interface {index}");
        let message = RouteNetlinkMessage::NewQueueDiscipline(clsact(index));
        match self.ask(&what, message, NLM_F_CREATE | NLM_F_EXCL) {
            Ok(()) => Ok(true),
            Err(e) if e.is_existing() && self.tc_has_clsact(index)? => Ok(false),
            Err(e) => Err(e),
        }
    }

    /// Whether an interface has a clsact qdisc.
    pub fn tc_has_clsact(&mut self, index: u32) -> Result<bool, NetlinkError> {
        let mut message = TcMessage::default();
        message.header.index = index.cast_signed();
        let what = format!("list the qdiscs of interface {index}");
        let answers = self.get(&what, RouteNetlinkMessage::GetQueueDiscipline(message), NLM_F_DUMP)?;
        // The kernel dumps the qdiscs of all interfaces, whichever was asked about.
        Ok(answers.iter().filter_map(|a| parse(a)).any(|q| q.index == index && q.filter.kind == "clsact"))
    }

    /// Takes the clsact qdisc of an interface away, with every filter in it.
    pub fn tc_clsact_del(&mut self, index: u32) -> Result<(), NetlinkError> {
        let what = format!("remove the clsact qdisc of interface {index}");
        self.ask(&what, RouteNetlinkMessage::DelQueueDiscipline(clsact(index)), 0)
    }

    /// Hangs up a filter of classic BPF that drops every packet, or replaces the one that is there
    /// under the same priority and handle. Takes no bpf() call, so that it works in a user namespace.
    pub fn tc_drop_all_bpf(
        &mut self,
        index: u32,
        hook: Hook,
        priority: u16,
        handle: u32,
    ) -> Result<(), NetlinkError> {
        self.tc_classic_bpf(index, hook, priority, handle, &[SHOT])
    }

    /// Hangs up a filter of classic BPF whose result is what becomes of the packet (`TC_ACT_…`), likewise.
    pub fn tc_classic_bpf(
        &mut self,
        index: u32,
        hook: Hook,
        priority: u16,
        handle: u32,
        program: &[Op],
    ) -> Result<(), NetlinkError> {
        let ops: Vec<u8> = program.iter().flat_map(|op| op.bytes()).collect();
        let options = vec![
            attribute(TCA_BPF_OPS_LEN, &(program.len() as u16).to_ne_bytes()),
            attribute(TCA_BPF_OPS, &ops),
            attribute(TCA_BPF_FLAGS, &TCA_BPF_FLAG_ACT_DIRECT.to_ne_bytes()),
        ];
        self.tc_filter_add(index, hook, "bpf", priority, handle, options)
    }

    /// Hangs up an eBPF program in a clsact qdisc, for kernels without tcx (before 6.6). It stays until it is
    /// deleted, or the qdisc or the interface is.
    pub fn tc_ebpf(
        &mut self,
        index: u32,
        hook: Hook,
        priority: u16,
        handle: u32,
        program: &Program,
    ) -> Result<(), NetlinkError> {
        let options = vec![
            attribute(TCA_BPF_FD, &program.as_fd().as_raw_fd().to_ne_bytes()),
            attribute(TCA_BPF_NAME, b"sekisho\0"),
            attribute(TCA_BPF_FLAGS, &TCA_BPF_FLAG_ACT_DIRECT.to_ne_bytes()),
        ];
        self.tc_filter_add(index, hook, "bpf", priority, handle, options)
    }

    /// Drops every packet by the `matchall` classifier and the `gact` action, for kernels without cls_bpf.
    pub fn tc_drop_all_matchall(
        &mut self,
        index: u32,
        hook: Hook,
        priority: u16,
        handle: u32,
    ) -> Result<(), NetlinkError> {
        // struct tc_gact: index, capab, action, refcnt, bindcnt.
        let parameters: Vec<u8> =
            [0, 0, TC_ACT_SHOT, 0, 0].iter().flat_map(|v: &u32| v.to_ne_bytes()).collect();
        let action = [
            encode(TCA_ACT_KIND, b"gact\0"),
            encode(TCA_ACT_OPTIONS | NLA_F_NESTED, &encode(TCA_GACT_PARMS, &parameters)),
        ];
        let first = encode(FIRST_ACTION | NLA_F_NESTED, &action.concat());
        let options = vec![attribute(TCA_MATCHALL_ACT | NLA_F_NESTED, &first)];
        self.tc_filter_add(index, hook, "matchall", priority, handle, options)
    }

    fn tc_filter_add(
        &mut self,
        index: u32,
        hook: Hook,
        kind: &str,
        priority: u16,
        handle: u32,
        options: Vec<TcOption>,
    ) -> Result<(), NetlinkError> {
        let mut message = filter(index, hook, priority, handle);
        message.attributes = vec![TcAttribute::Kind(kind.to_owned()), TcAttribute::Options(options)];
        let what = format!("add a {kind} filter to the {} of interface {index}", hook.name());
        self.ask(&what, RouteNetlinkMessage::NewTrafficFilter(message), NLM_F_CREATE | NLM_F_REPLACE)
    }

    /// Takes one filter away.
    pub fn tc_filter_del(
        &mut self,
        index: u32,
        hook: Hook,
        kind: &str,
        priority: u16,
        handle: u32,
    ) -> Result<(), NetlinkError> {
        let mut message = filter(index, hook, priority, handle);
        message.attributes = vec![TcAttribute::Kind(kind.to_owned())];
        let what = format!("remove a {kind} filter from the {} of interface {index}", hook.name());
        self.ask(&what, RouteNetlinkMessage::DelTrafficFilter(message), 0)
    }

    /// The filters that hang at a hook of an interface; none where it has no clsact qdisc.
    pub fn tc_filters(&mut self, index: u32, hook: Hook) -> Result<Vec<Filter>, NetlinkError> {
        let mut message = TcMessage::default();
        message.header.index = index.cast_signed();
        message.header.parent = hook.parent();
        let what = format!("list the {} filters of interface {index}", hook.name());
        let answers = self.get(&what, RouteNetlinkMessage::GetTrafficFilter(message), NLM_F_DUMP)?;
        Ok(answers.iter().filter_map(|a| parse(a)).map(|f| f.filter).collect())
    }
}

fn clsact(index: u32) -> TcMessage {
    let mut message = TcMessage::default();
    message.header.index = index.cast_signed();
    message.header.parent = TcHandle::CLSACT;
    message.header.handle = TcHandle { major: TcHandle::CLSACT.major, minor: 0 };
    message.attributes.push(TcAttribute::Kind("clsact".into()));
    message
}

fn filter(index: u32, hook: Hook, priority: u16, handle: u32) -> TcMessage {
    let mut message = TcMessage::default();
    message.header.index = index.cast_signed();
    message.header.parent = hook.parent();
    message.header.handle = handle.into();
    message.header.info = u32::from(priority) << 16 | u32::from(ETH_P_ALL.to_be());
    message
}

struct Parsed {
    index: u32,
    filter: Filter,
}

/// Reads what is wanted of a `tcmsg` and its attributes.
fn parse(payload: &[u8]) -> Option<Parsed> {
    let (header, attributes) = payload.split_at_checked(20)?;
    let word = |at: usize| header.get(at..).and_then(<[u8]>::first_chunk).map(|w| u32::from_ne_bytes(*w));
    let kind = NlasIterator::new(attributes).flatten().find(|a| a.kind() == TCA_KIND)?;
    let name = kind.value().split(|b| *b == 0).next().unwrap_or_default();
    let filter = Filter {
        kind: String::from_utf8_lossy(name).into_owned(),
        priority: (word(16)? >> 16) as u16,
        handle: word(8)?,
    };
    Some(Parsed { index: word(4)?, filter })
}

fn attribute(kind: u16, value: &[u8]) -> TcOption {
    TcOption::Other(DefaultNla::new(kind, value.to_vec()))
}

/// One attribute as bytes, padded to its alignment.
fn encode(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = (4 + value.len()) as u16;
    let mut bytes = [length.to_ne_bytes(), kind.to_ne_bytes()].concat();
    bytes.extend_from_slice(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// A whole program: every packet is shot.
const SHOT: Op = Op { code: (libc::BPF_RET | libc::BPF_K) as u16, jt: 0, jf: 0, k: TC_ACT_SHOT };

// linux/pkt_cls.h and linux/rtnetlink.h.
const TC_ACT_SHOT: u32 = 2;
const TCA_KIND: u16 = 1;
const TCA_BPF_OPS_LEN: u16 = 4;
const TCA_BPF_OPS: u16 = 5;
const TCA_BPF_FD: u16 = 6;
const TCA_BPF_NAME: u16 = 7;
const TCA_BPF_FLAGS: u16 = 8;
const TCA_BPF_FLAG_ACT_DIRECT: u32 = 1;
const TCA_MATCHALL_ACT: u16 = 2;
const TCA_ACT_KIND: u16 = 1;
const TCA_ACT_OPTIONS: u16 = 2;
const TCA_GACT_PARMS: u16 = 2;
/// Actions are numbered from 1 in the order they are taken.
const FIRST_ACTION: u16 = 1;
const ETH_P_ALL: u16 = 0x0003;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_padded_and_say_their_length() {
        assert_eq!(encode(1, b"gact\0").len(), 12);
        assert_eq!(encode(1, b"gact\0")[..4], [[9, 0], 1u16.to_ne_bytes()].concat());
    }

    #[test]
    fn a_short_answer_is_not_read_beyond_its_end() {
        for length in 0..40 {
            assert!(parse(&vec![0; length]).is_none(), "{length}");
        }
    }
}
