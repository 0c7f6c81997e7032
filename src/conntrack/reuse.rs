//! Room for a new connection where an old one only lingers: what NAT may end when it finds hardly a port free.

use crate::base::Instant;
use crate::packet::{Status, Tuple};

use super::tcp::Phase;
use super::{Conntrack, Flow, State};

impl Conntrack {
    /// Ends the connection that `reply` belongs to, and says whether it did: a translated one that is over, when the
    /// sequence number of `new` lies beyond what the old one sent, so that no late segment fits both
    /// (`nf_nat_used_tuple_harder`).
    pub fn clear(&self, reply: &Tuple, new: &Flow, now: Instant) -> bool {
        let Some((id, _, old)) = self.find(reply, now) else { return false };
        let (State::Tcp(was), State::Tcp(is)) = (old.state, new.state) else { return false };
        let over = was.phase() >= Phase::TimeWait && old.status.has(Status::SRC_NAT);
        let fixed = old.status.has(Status::FIXED_TIMEOUT) || old.status.has(Status::DYING);
        over && !fixed && is.sent_after(&was) && self.remove(id)
    }
}
