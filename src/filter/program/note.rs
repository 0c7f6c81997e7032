//! What each match and target adds to a [`Witness`]: everything it looks at that can differ between packets of one
//! flow and direction, while the state of their flow is the same.

use crate::filter::targets::Connmark;
use crate::filter::witness::Witness;
use crate::packet::Packet;
use crate::wire::{proto, tcp};

use super::addr::Addr;
use super::check::Check;
use super::compile::{Op, Rule};
use super::facts::Facts;

/// A match is about to be asked.
#[cold]
pub(super) fn check<A: Addr>(check: &Check<A>, f: &Facts<A>, p: &Packet, w: &mut Witness) {
    match check {
        Check::Tcp(c) => {
            let Some(flags) = flags(f, p) else {
                w.spoiled = true;
                return;
            };
            let ports = f.ports.is_some_and(|(s, d)| c.sport.agrees(s) && c.dport.agrees(d));
            if !ports {
                return;
            }
            let (mask, want) = c.flags.value;
            w.flags(flags, mask, want);
            // Options come and go with segments.
            w.spoiled |= c.option.value != 0 && c.flags.agrees(|(mask, want)| flags & mask == *want);
        }
        Check::Ecn { flags: mask, want, ect } => {
            w.tos |= ect.is_some();
            match flags(f, p) {
                _ if *mask == 0 => {}
                Some(flags) => w.flags(flags, *mask, *want),
                None => w.spoiled = true,
            }
        }
        Check::Ct(ct) => {
            w.status |= ct.status_bits();
            w.spoiled |= ct.asks_expiry();
        }
        Check::Connmark(_) => w.flow_mark = true,
        Check::Length(len) => w.length(p.l3_len(), len.value.0.into(), len.value.1.into()),
        Check::Hops(_) => w.ttl = true,
        Check::Tos(_) => w.tos = true,
        Check::Mac(_) | Check::Limit(_) | Check::Random(_) | Check::Nth { .. } => w.spoiled = true,
        // Fixed with the addresses, the ports (of ICMP: type and code), the links and the state.
        Check::Udp { .. }
        | Check::Icmp { .. }
        | Check::State(_)
        | Check::Mark(_)
        | Check::Multiport { .. }
        | Check::IpRange(_)
        | Check::PktType(_)
        | Check::AddrType { .. } => {}
    }
}

/// A rule has agreed and been counted, and does what it is there for. `counters` is the number of its table's first.
#[cold]
pub(super) fn counted<A>(rule: &Rule<A>, counters: u32, w: &mut Witness) {
    w.counts(counters + rule.counter);
    match &rule.op {
        Op::Connmark(Connmark::Set(_) | Connmark::Save { .. } | Connmark::Restore { .. }) => {
            w.flow_mark = true;
        }
        Op::Tos(_) => w.tos = true,
        Op::Hops(_) => w.ttl = true,
        Op::Mss(_) | Op::Log(_) | Op::Nat(_) | Op::Netmap(_) => w.spoiled = true,
        Op::None
        | Op::Accept
        | Op::Drop
        | Op::Return
        | Op::Jump(_)
        | Op::Goto(_)
        | Op::Reject(_)
        | Op::Mark(_)
        | Op::Notrack => {}
    }
}

/// TCP's flags, if it is TCP.
fn flags<A: Addr>(f: &Facts<A>, p: &Packet) -> Option<u8> {
    let l4 = p.l3().get(f.l4..).filter(|_| f.proto == Some(proto::TCP) && f.frag == 0)?;
    tcp::Tcp::new(l4).map(|t| t.flags())
}
