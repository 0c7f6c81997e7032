//! What a flow is translated to (`nf_nat_setup_info` and `get_unique_tuple` of Linux's nf_nat_core.c).
//!
//! ```text
//! source, not random:  its own address and port ── in range and free ──────────────────────► kept
//!                      else what another flow of the same source got ── fits, and free ────► the same again
//! else                 an address of the range (pool) ── its own port fits, and is free ───► only the address
//!                      else the ports of the range, or of the port's class, from a random
//!                      one on, until one is free; not found: the source's flow is refused
//! ```
//!
//! A destination that has no port of its own is not refused: the source, decided later, may make the difference.

use crate::base::DropReason;
use crate::conntrack::Flow;
use crate::packet::flow::{Address, unpack};
use crate::packet::{Manip, NatRange, Status, Tuple};
use crate::wire::proto;

use super::{Taken, is_done, pool};

/// Ports looked at in the first round; each further one looks at half as many (Linux `NF_NAT_MAX_ATTEMPTS`).
const MAX_ATTEMPTS: u32 = 128;
/// No round follows one that looked at fewer.
const LEAST_ATTEMPTS: u32 = 16;
/// Ports that suit the worker of which one must be free, lest it be any.
const NEAR: usize = 32;
/// With as few attempts left in a round, flows that are as good as over have to go (Linux `NF_NAT_HARDER_THRESH`).
const HARDER: u32 = MAX_ATTEMPTS / 4;

/// Decides what this end of a new flow's packets becomes, and says whether it differs from what it was.
///
/// `random` gives numbers nobody can guess. Does nothing to a flow that stands in the table, or for which that is
/// decided already. Refuses the flow (`NatExhausted`) if no place of its own is left for it, and (`NatFailed`) a range
/// of the other family.
pub fn setup(
    flow: &mut Flow,
    range: &NatRange,
    manip: Manip,
    taken: &impl Taken,
    random: &mut impl FnMut() -> u64,
) -> Result<bool, DropReason> {
    if flow.status.has(Status::CONFIRMED) || is_done(flow.status, manip) {
        return Ok(false);
    }
    let mut range = *range;
    if range.netmap {
        // Of all the network only the one address is meant: no other will do, even if this source has it already.
        let was = &flow.tuples[1];
        let addr = pool::address(&range, was.v6, manip, &was.dst, &was.src).ok_or(DropReason::NatFailed)?;
        let addr = unpack(addr, was.v6);
        range = NatRange { addr: Some((addr, addr)), netmap: false, ..range };
    }
    let reply = Search { flow, range: &range, manip, upper: Upper::of(flow), taken }.run(random)?;
    let changed = reply != flow.tuples[1];
    let (is, done) = match manip {
        Manip::Src => (Status::SRC_NAT, Status::SRC_NAT_DONE),
        Manip::Dst => (Status::DST_NAT, Status::DST_NAT_DONE),
    };
    if changed {
        flow.tuples[1] = reply;
        flow.status.set(is);
    }
    flow.status.set(done);
    Ok(changed)
}

/// [`setup()`] where no rule says anything: the addresses stay, and so does the port unless another flow has it
/// (`nf_nat_alloc_null_binding`).
pub fn bind(
    flow: &mut Flow,
    manip: Manip,
    taken: &impl Taken,
    random: &mut impl FnMut() -> u64,
) -> Result<bool, DropReason> {
    setup(flow, &NatRange::default(), manip, taken, random)
}

/// What of a tuple is to be chosen besides the address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Upper {
    /// The port of the end in question.
    Port,
    /// The identifier, the same for both ends.
    Ident,
    /// The call id of a PPTP flow that its control connection announced.
    Call,
    /// Nothing.
    None,
}

impl Upper {
    fn of(flow: &Flow) -> Upper {
        match flow.tuples[0].proto {
            proto::TCP | proto::UDP | proto::UDP_LITE | proto::SCTP => Upper::Port,
            proto::ICMP | proto::ICMPV6 => Upper::Ident,
            proto::GRE if flow.status.has(Status::EXPECTED) => Upper::Call,
            _ => Upper::None,
        }
    }
}

/// The search for a tuple. It works on reply tuples throughout: what leaves from a source comes back to the reply's
/// destination.
struct Search<'a, T> {
    flow: &'a Flow,
    range: &'a NatRange,
    manip: Manip,
    upper: Upper,
    taken: &'a T,
}

impl<T: Taken> Search<'_, T> {
    fn run(&self, random: &mut impl FnMut() -> u64) -> Result<Tuple, DropReason> {
        let was = self.flow.tuples[1];
        if self.manip == Manip::Src && !self.at_random() {
            if self.fits(&was.dst, self.port(&was)) {
                if self.is_free(&was) {
                    return Ok(was);
                }
            } else if let Some(again) = self.as_before(&was)
                && self.is_free(&again)
            {
                return Ok(again);
            }
        }

        let addr =
            pool::address(self.range, was.v6, self.manip, &was.dst, &was.src).ok_or(DropReason::NatFailed)?;
        let chosen = match self.manip {
            Manip::Src => Tuple { dst: addr, ..was },
            Manip::Dst => Tuple { src: addr, ..was },
        };
        match self.with_free_port(chosen, random) {
            Ok(found) => Ok(found),
            Err(last) if self.manip == Manip::Dst => Ok(last),
            Err(_) => Err(DropReason::NatExhausted),
        }
    }

    /// Where another flow of this source went.
    fn as_before(&self, was: &Tuple) -> Option<Tuple> {
        // An identifier may have been exchanged already, with the destination.
        let source = Tuple { src: was.dst, src_port: self.port(was), ..self.flow.tuples[0] };
        let (addr, port) = self.taken.source_mapping(&source, &mut |addr, port| self.fits(addr, port))?;
        Some(self.with_port(Tuple { dst: addr, ..*was }, port))
    }

    /// The tuple with its own port, or another that is free; or as it was tried last.
    fn with_free_port(&self, chosen: Tuple, random: &mut impl FnMut() -> u64) -> Result<Tuple, Tuple> {
        let keeps = match self.range.port {
            // What has no port has nothing to draw.
            _ if self.at_random() => self.upper == Upper::None,
            None => true,
            // What has a place of its own in the range gets that.
            Some(_) => self.range.base.is_none() && self.port_fits(self.port(&chosen)),
        };
        if keeps && self.is_free(&chosen) {
            return Ok(chosen);
        }
        match self.range.port {
            Some((first, last)) if keeps && first == last => Err(chosen),
            _ => self.search(chosen, random),
        }
    }

    /// Tries ports until one is free (`nf_nat_l4proto_unique_tuple`); else gives the last.
    fn search(&self, chosen: Tuple, random: &mut impl FnMut() -> u64) -> Result<Tuple, Tuple> {
        let Some((first, count)) = self.ports(&chosen) else { return Err(chosen) };
        let offset = match self.range.base {
            Some(base) => u64::from(self.port(&chosen).wrapping_sub(base)),
            // Destinations are taken in turn.
            None if self.manip == Manip::Dst && !self.at_random() => 0,
            None => random(),
        };
        let mut start = (offset % u64::from(count)) as u32;
        let mut attempts = count.min(MAX_ATTEMPTS);
        let mut candidate = chosen;
        if let Some(near) = self.near(&chosen, (first, count), start) {
            return Ok(near);
        }
        loop {
            for i in 0..attempts {
                let port = u32::from(first) + (start + i) % count;
                candidate = self.with_port(chosen, port as u16);
                if self.is_free(&candidate) || attempts - i <= HARDER && self.clear(&candidate) {
                    return Ok(candidate);
                }
            }
            if attempts >= count || attempts < LEAST_ATTEMPTS {
                return Err(candidate);
            }
            attempts /= 2;
            start = (random() % u64::from(count)) as u32;
        }
    }

    /// Of the first ports that would be tried, one that is free and brings the answers to the flow's own worker. Not
    /// where another port than the first that is free would show: a destination's, or one that is shifted.
    fn near(&self, chosen: &Tuple, (first, count): (u16, u32), start: u32) -> Option<Tuple> {
        let steering = self.taken.steering()?;
        if self.manip == Manip::Dst || self.range.base.is_some() {
            return None;
        }
        let worker = steering.worker_of(&self.flow.tuples[0]);
        (0..count.min(MAX_ATTEMPTS))
            .map(|i| self.with_port(*chosen, (u32::from(first) + (start + i) % count) as u16))
            .filter(|candidate| steering.worker_of(candidate) == worker)
            .take(NEAR)
            .find(|candidate| self.is_free(candidate))
    }

    /// The first port to be tried, and how many there are; `None` if there is no choice.
    fn ports(&self, chosen: &Tuple) -> Option<(u16, u32)> {
        let (first, last) = match self.range.port {
            _ if self.upper == Upper::None => return None,
            Some((a, b)) => (a.min(b), a.max(b)),
            None if self.upper == Upper::Ident => (0, u16::MAX),
            None if self.upper == Upper::Call => (1, u16::MAX),
            // A server is not asked on another port than it was.
            None if self.manip == Manip::Dst => return None,
            // Ports that say something about who uses them (rcp, rlogin: 512 to 1023) are exchanged for their like.
            // Where a rule claims the port, it may claim them all.
            None => match self.port(chosen) {
                0..1024 if self.is_reserved(chosen) => (1024, u16::MAX),
                0..512 => (1, 511),
                512..1024 => (600, 1023),
                1024.. => (1024, u16::MAX),
            },
        };
        Some((first, u32::from(last - first) + 1))
    }

    fn at_random(&self) -> bool {
        self.range.random || self.range.random_fully
    }

    fn fits(&self, addr: &Address, port: u16) -> bool {
        pool::holds(self.range, addr) && self.port_fits(port)
    }

    /// Whether a port is in the range's; those that mean nothing are.
    fn port_fits(&self, port: u16) -> bool {
        let means = self.upper != Upper::None || self.flow.tuples[0].proto == proto::GRE;
        self.range.port.is_none_or(|(first, last)| !means || (first..=last).contains(&port))
    }

    /// The port in question of a reply tuple.
    fn port(&self, reply: &Tuple) -> u16 {
        match self.manip {
            Manip::Src if self.upper != Upper::Ident => reply.dst_port,
            _ => reply.src_port,
        }
    }

    fn with_port(&self, mut reply: Tuple, port: u16) -> Tuple {
        match self.manip {
            Manip::Src if self.upper != Upper::Ident => reply.dst_port = port,
            _ => reply.src_port = port,
        }
        reply
    }

    fn is_free(&self, reply: &Tuple) -> bool {
        !self.is_reserved(reply) && !self.taken.is_taken(reply, &self.flow.tuples[0])
    }

    /// Whether a source would be given what is the router's own. What it comes from anyway is not given.
    fn is_reserved(&self, reply: &Tuple) -> bool {
        let was = &self.flow.tuples[1];
        self.manip == Manip::Src
            && self.upper == Upper::Port
            && (reply.dst, reply.dst_port) != (was.dst, was.dst_port)
            && self.taken.reserved(&self.flow.tuples[0], unpack(reply.dst, reply.v6), reply.dst_port)
    }

    /// Makes room where a TCP connection is over (`nf_nat_used_tuple_harder`).
    fn clear(&self, reply: &Tuple) -> bool {
        reply.proto == proto::TCP && !self.is_reserved(reply) && self.taken.clear(reply, self.flow)
    }
}

#[cfg(test)]
mod tests;
