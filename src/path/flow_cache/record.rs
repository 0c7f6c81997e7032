//! What the walk did to a packet, in a form that can be done again.

use crate::base::LinkId;
use crate::conntrack::Standing;
use crate::filter::Witness;
use crate::packet::{Csum, CtState, Direction, FlowId, Manip, Packet, Status};
use crate::path::resolve::Remembered;
use crate::wire::checksum::{fold, word};
use crate::wire::{icmpv4, ipv4, ipv6, proto, tcp, udp};

use super::key::{Key, Probe};

/// What the walk did to a packet. Two lines of memory, which processors fetch together.
#[derive(Debug, Clone, Copy, Default)]
#[repr(C, align(128))]
pub(super) struct Record {
    pub(super) key: Key,
    /// Source and destination as they leave, and what stands for ports.
    ends: [u8; 32],
    ports: [u8; 4],
    /// What the addresses' change adds to a checksum that covers them, and what that and the ports' change do.
    addresses_change: u16,
    upper_change: u16,
    flow: Option<FlowId>,
    mark: u32,
    flow_mark: u32,
    next_tenant: u32,
    next_place: u16,
    egress: u16,
    /// The longest packet that fits both links, and the lengths of which the rules said the same.
    mtu: u16,
    len: [u16; 2],
    trail: u16,
    status: [u16; 2],
    tos: [u8; 2],
    ttl: [u8; 2],
    tcp_flags: [u8; 2],
    /// The state in conntrack above the bits of [`is`].
    is: u8,
}

const _: () = assert!(size_of::<Record>() == 128);

/// What is true of a record.
mod is {
    /// The flow's other direction.
    pub(super) const REPLY: u8 = 1;
    /// TOS was looked at.
    pub(super) const BY_TOS: u8 = 2;
    /// The TTL was looked at.
    pub(super) const BY_TTL: u8 = 4;
    /// The flow's mark was looked at.
    pub(super) const BY_MARK: u8 = 8;
    /// Ends were rewritten.
    pub(super) const REWRITTEN: u8 = 16;
    /// There is a next hop, with a MAC.
    pub(super) const NEXT: u8 = 32;
    /// The packet's state in conntrack; without a flow: UNTRACKED, or not seen.
    pub(super) const STATE: u8 = 64 | 128;
}

/// The states a record can be of, by number.
const STATES: [CtState; 4] = [CtState::Unseen, CtState::Untracked, CtState::New, CtState::Established];

/// Bits of a flow's status that NAT goes by.
const OF_NAT: u32 = Status::SRC_NAT.0 | Status::DST_NAT.0 | Status::SRC_NAT_DONE.0 | Status::DST_NAT_DONE.0;

/// All that makes a record, but for the packet.
#[derive(Debug, Clone, Copy)]
pub(super) struct Made<'a> {
    pub(super) probe: &'a Probe,
    pub(super) witness: &'a Witness,
    /// Which ends NAT rewrote.
    pub(super) rewritten: Rewritten,
    /// The flow's status and mark, if there is one.
    pub(super) flow: Option<(Status, u32)>,
    pub(super) egress: LinkId,
    pub(super) mtu: usize,
    pub(super) trail: u16,
}

/// Which ends of a packet were rewritten.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Rewritten {
    pub(super) src: bool,
    pub(super) dst: bool,
}

impl Rewritten {
    pub(super) fn add(&mut self, manip: Manip) {
        match manip {
            Manip::Src => self.src = true,
            Manip::Dst => self.dst = true,
        }
    }
}

impl Record {
    /// The record of a packet that has been walked, as it is about to leave. `None` for one that no record can tell of.
    pub(super) fn of(p: &Packet, made: &Made<'_>) -> Option<Record> {
        let Made { probe, witness, .. } = made;
        let key = probe.key;
        let v6 = key.v6();
        let l3 = p.l3();
        let mut ends = [0; 32];
        let (from, n) = if v6 { (V6_SRC_AT, 32) } else { (V4_SRC_AT, 8) };
        ends[..n].copy_from_slice(l3.get(from..from + n)?);
        let l4 = p.l4();
        let old_ports = key.ports();
        let ports = match key.proto() {
            proto::ICMP | proto::ICMPV6 => [*l4.get(4)?, *l4.get(5)?, old_ports[2], old_ports[3]],
            _ => *l4.first_chunk::<4>()?,
        };
        let rewritten = made.rewritten.src || made.rewritten.dst;
        let old = key.ends();
        // What is not translated stays as it is.
        let half = n / 2;
        let same = |at: std::ops::Range<usize>, rewritten: bool| rewritten || old[at.clone()] == ends[at];
        if !same(0..half, made.rewritten.src)
            || !same(half..n, made.rewritten.dst)
            || !rewritten && ports != old_ports
        {
            return None;
        }
        let mut addresses = 0;
        for (at, _) in [(0, made.rewritten.src), (half, made.rewritten.dst)]
            .into_iter()
            .filter(|(_, rewritten)| *rewritten)
        {
            addresses += change(&old[at..at + half], &ends[at..at + half]);
        }
        let covers_addresses = key.proto() != proto::ICMP;
        let mut upper = if covers_addresses { addresses } else { 0 };
        for (old, new) in old_ports.as_chunks::<2>().0.iter().zip(ports.as_chunks::<2>().0) {
            if old != new {
                upper += change(old, new);
            }
        }
        let (tos, ttl) = match v6 {
            false => (*l3.get(1)?, *l3.get(8)?),
            true => (l3.first()? << 4 | l3.get(1)? >> 4, *l3.get(7)?),
        };
        let ct = p.meta.ct;
        let state = STATES.iter().position(|s| *s == ct.state)? as u8;
        let (status, flow_mark) = made.flow.unwrap_or_default();
        let asked = (witness.status | OF_NAT) as u16;
        let (least, most) = witness.len;
        let set = |bit: u8, on: bool| if on { bit } else { 0 };
        Some(Record {
            key,
            ends,
            ports,
            addresses_change: fold(addresses),
            upper_change: fold(upper),
            flow: ct.flow,
            mark: p.meta.mark,
            flow_mark,
            next_tenant: 0,
            next_place: 0,
            egress: made.egress.0,
            mtu: made.mtu.min(usize::from(u16::MAX)) as u16,
            len: [least.min(usize::from(u16::MAX)) as u16, most.min(usize::from(u16::MAX)) as u16],
            trail: made.trail,
            status: [asked, status.0 as u16 & asked],
            tos: [probe.tos, tos],
            ttl: [probe.ttl, ttl],
            tcp_flags: [witness.tcp_flags, probe.tcp_flags & witness.tcp_flags],
            is: set(is::REPLY, ct.dir == Direction::Reply)
                | set(is::BY_TOS, witness.tos)
                | set(is::BY_TTL, witness.ttl)
                | set(is::BY_MARK, witness.flow_mark && ct.flow.is_some())
                | set(is::REWRITTEN, rewritten)
                | state << is::STATE.trailing_zeros(),
        })
    }

    /// Says where the MAC of its next hop is.
    pub(super) fn set_next(&mut self, next: Remembered) {
        (self.next_place, self.next_tenant) = (next.place, next.tenant);
        self.is |= is::NEXT;
    }

    /// Whether what the rules looked at is the same in this packet.
    #[inline]
    pub(super) fn is_true_of(&self, probe: &Probe) -> bool {
        (probe.tcp_flags & self.tcp_flags[0] == self.tcp_flags[1])
            & (self.len[0] <= probe.total)
            & (probe.total <= self.len[1])
            & (self.is & is::BY_TOS == 0 || probe.tos == self.tos[0])
            & (self.is & is::BY_TTL == 0 || probe.ttl == self.ttl[0])
    }

    /// Whether its next hop has a MAC, and where that is.
    #[inline]
    pub(super) fn next(&self) -> Option<Remembered> {
        (self.is & is::NEXT != 0).then_some(Remembered { place: self.next_place, tenant: self.next_tenant })
    }

    /// The link it leaves by.
    #[inline]
    pub(super) fn egress(&self) -> LinkId {
        LinkId(self.egress)
    }

    /// The longest packet that fits.
    #[inline]
    pub(super) fn mtu(&self) -> usize {
        self.mtu.into()
    }

    /// Which list of counters it counts for.
    #[inline]
    pub(super) fn trail(&self) -> u16 {
        self.trail
    }

    /// The flow it is of.
    #[inline]
    pub(super) fn flow(&self) -> Option<FlowId> {
        self.flow
    }

    /// How it stood to its flow, if it has one.
    #[inline]
    pub(super) fn standing(&self) -> Option<Standing> {
        Some(Standing {
            flow: self.flow?,
            dir: if self.is & is::REPLY != 0 { Direction::Reply } else { Direction::Original },
            state: self.state(),
            status: Status(self.status[1].into()),
            asked: Status(self.status[0].into()),
            mark: (self.is & is::BY_MARK != 0).then_some(self.flow_mark),
        })
    }

    /// What conntrack said of it.
    #[inline]
    pub(super) fn state(&self) -> CtState {
        STATES[usize::from((self.is & is::STATE) >> is::STATE.trailing_zeros())]
    }

    /// Does to a packet what was done: headers, checksums, mark. `None`, and nothing done, if the headers are not all
    /// there.
    #[inline]
    pub(super) fn rewrite(&self, p: &mut Packet, probe: &Probe) -> Option<()> {
        let begun = matches!(p.meta.offload.csum, Csum::Partial { start, .. } if start == p.meta.l4);
        let mark = self.mark;
        let l3 = p.l3_mut();
        if self.key.v6() {
            let (head, upper) = l3.split_first_chunk_mut::<{ ipv6::HEADER_LEN }>()?;
            if self.is & is::REWRITTEN != 0 {
                self.rewrite_upper(upper, begun)?;
                head[V6_SRC_AT..].copy_from_slice(&self.ends);
            }
            if self.is & is::BY_TOS != 0 {
                head[0] = head[0] & 0xf0 | self.tos[1] >> 4;
                head[1] = head[1] & 0x0f | self.tos[1] << 4;
            }
            head[7] = self.ttl_of(probe);
        } else {
            let (head, upper) = l3.split_first_chunk_mut::<{ ipv4::HEADER_LEN }>()?;
            let mut sum = 0;
            if self.is & is::REWRITTEN != 0 {
                self.rewrite_upper(upper, begun)?;
                head[V4_SRC_AT..].copy_from_slice(&self.ends[..8]);
                sum += word(self.addresses_change);
            }
            if self.is & is::BY_TOS != 0 && self.tos[0] != self.tos[1] {
                sum += change(&[head[0], head[1]], &[head[0], self.tos[1]]);
                head[1] = self.tos[1];
            }
            let ttl = self.ttl_of(probe);
            sum += change(&[head[8], head[9]], &[ttl, head[9]]);
            head[8] = ttl;
            add(&mut head[V4_CHECKSUM_AT..], sum);
        }
        p.meta.mark = mark;
        Some(())
    }

    /// The TTL it leaves with: what the rules made of it if they looked at it, else one less.
    #[inline]
    fn ttl_of(&self, probe: &Probe) -> u8 {
        if self.is & is::BY_TTL != 0 { self.ttl[1] } else { probe.ttl - 1 }
    }

    #[inline]
    fn rewrite_upper(&self, l4: &mut [u8], begun: bool) -> Option<()> {
        match self.key.proto() {
            proto::TCP => {
                let head = l4.first_chunk_mut::<{ tcp::HEADER_LEN }>()?;
                head[..4].copy_from_slice(&self.ports);
                self.sum_up(&mut head[tcp::CHECKSUM_AT..], begun);
            }
            proto::UDP => {
                let head = l4.first_chunk_mut::<{ udp::HEADER_LEN }>()?;
                head[..4].copy_from_slice(&self.ports);
                // None stays none (RFC 768), and nothing else becomes none.
                if begun || head[udp::CHECKSUM_AT..] != [0, 0] {
                    self.sum_up(&mut head[udp::CHECKSUM_AT..], begun);
                    if !begun && head[udp::CHECKSUM_AT..] == [0, 0] {
                        head[udp::CHECKSUM_AT..].fill(0xff);
                    }
                }
            }
            kind => {
                let head = l4.first_chunk_mut::<{ icmpv4::HEADER_LEN }>()?;
                head[4..6].copy_from_slice(&self.ports[..2]);
                // A sum that is begun is that of a pseudo-header, which ICMP of IPv4 has not.
                if !begun || kind == proto::ICMPV6 {
                    self.sum_up(&mut head[ICMP_CHECKSUM_AT..], begun);
                }
            }
        }
        Some(())
    }

    /// Puts a checksum right: one that is begun holds the sum of the pseudo-header alone, not its complement.
    #[inline]
    fn sum_up(&self, field: &mut [u8], begun: bool) {
        match begun {
            false => add(field, word(self.upper_change)),
            true => {
                let Some(field) = field.first_chunk_mut::<2>() else { return };
                let sum = word(u16::from_be_bytes(*field)) + word(self.addresses_change);
                *field = fold(sum).to_be_bytes();
            }
        }
    }
}

/// What bytes of even length add to a one's complement sum when they change (RFC 1624 §3, equation 3).
#[inline]
fn change(old: &[u8], new: &[u8]) -> u64 {
    let pairs = old.as_chunks::<2>().0.iter().zip(new.as_chunks::<2>().0);
    pairs.map(|(o, n)| u64::from(!u16::from_ne_bytes(*o)) + u64::from(u16::from_ne_bytes(*n))).sum()
}

/// The checksum in front, after what it covers has changed by `sum`.
#[inline]
fn add(field: &mut [u8], sum: u64) {
    if let Some(field) = field.first_chunk_mut::<2>() {
        let csum = u16::from_be_bytes(*field);
        *field = (!fold(word(!csum) + sum)).to_be_bytes();
    }
}

/// Where IPv4 has its checksum and addresses (RFC 791 §3.1), and IPv6 (RFC 8200 §3).
const V4_CHECKSUM_AT: usize = 10;
const V4_SRC_AT: usize = 12;
const V6_SRC_AT: usize = 8;
/// Where ICMP of both versions has its checksum (RFC 792, RFC 4443 §2.1).
const ICMP_CHECKSUM_AT: usize = 2;

#[cfg(test)]
mod tests;
