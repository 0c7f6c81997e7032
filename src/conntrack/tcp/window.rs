//! Whether a segment is in the window, and what it says of the windows to come.
//!
//! ```text
//!            end - other's max_window              end             max_end
//!  ──────────────┼──────────────────────────────────┼─────────────────┼──────►  one side's sequence numbers
//!     acknowledged            perhaps not yet            may be sent
//!     long ago
//!                └──────── a segment must end here ─────────────────────────►   II.
//!  ◄────────── and begin here ────────────────────────────────────────┘          I.
//!
//!  what it acknowledges of the other side:   end - max(max_window, 66000)  ≤ sack ≤  end     IV. III.
//! ```
//!
//! The router sees both sides, but not when a segment arrives: the windows are the widest that either side can have in
//! mind (van Rooij, "Real Stateful TCP Packet Filtering in IP Filter", 2001).
//!
//! Knows nothing of phases but that a SYN counts anew while a connection opens.

use crate::packet::Direction;
use crate::wire::tcp::{ACK, RST};

use super::segment::{Kind, Segment, after};
use super::{Phase, SYN, Settings, Side, State, flag};

/// How a segment stands to the windows.
pub(super) enum Judgement {
    /// It is in them.
    In,
    /// It is not, and is let through: the other end has to answer it.
    Ignore,
    /// It is INVALID.
    Out,
}

impl State {
    /// Judges a segment by the windows, and takes over what it says of them.
    #[inline]
    pub(super) fn judge_window(
        &mut self,
        dir: Direction,
        seg: &Segment,
        kind: Kind,
        cfg: &Settings,
    ) -> Judgement {
        let opening = matches!(self.phase, Phase::SynSent | Phase::SynRecv);
        let [first, second] = &mut self.sides;
        let (sender, receiver) = match dir {
            Direction::Original => (first, second),
            Direction::Reply => (second, first),
        };
        let (mut seq, mut end, mut ack) = (seg.seq, seg.end(), seg.ack);
        let may_sack = receiver.flags & flag::SACK_PERMITTED != 0;
        let mut sack = if may_sack { seg.sack } else { ack };

        let is_new = sender.max_window == 0;
        if seg.has(SYN) && (is_new || after(end, sender.end) && opening) {
            sender.begin_with_syn(receiver, seg, dir);
            if !seg.has(ACK) && (is_new || dir == Direction::Reply) {
                return Judgement::In;
            }
        } else if is_new {
            sender.begin_in_the_middle(receiver, seg, sack);
        }

        if !seg.has(ACK) || seg.has(RST) && ack == 0 {
            // Nothing is acknowledged. Some RSTs have the flag and no number.
            (ack, sack) = (receiver.end, receiver.end);
        }
        if seg.has(RST) && seq == 0 && self.phase == Phase::SynSent {
            // It answers a SYN, and has no number of its own.
            (seq, end) = (sender.end, sender.end);
        }

        let liberal = cfg.tcp_be_liberal() || sender.flags & flag::LIBERAL != 0;
        let unless_liberal = |judgement| if liberal { Judgement::In } else { judgement };
        let oldest_ack = receiver.end.wrapping_sub(sender.max_window.max(LEAST_ACK_WINDOW));
        let ack_seen = !after(sack, receiver.end);
        let ack_fresh = !after(oldest_ack, sack);
        let oldest_data = sender.end.wrapping_sub(receiver.max_window);
        let data_fresh = !after(oldest_data, end);
        if after(seq, sender.max_end) {
            let beyond = end.wrapping_sub(sender.max_end).wrapping_add(1);
            let heard = receiver.max_window != 0;
            if heard && data_fresh && ack_seen && ack_fresh && beyond <= receiver.max_window {
                // More than was allowed. If it gets through, the other side will acknowledge it. Not so a RST, which
                // has nothing behind it: Linux believes that one too, and whoever sends enough of them blindly makes
                // it take everything true for too old.
                if !seg.has(RST) {
                    sender.end = end;
                    sender.flags |= flag::UNACKNOWLEDGED;
                }
                return unless_liberal(Judgement::Ignore);
            }
            return unless_liberal(Judgement::Out);
        }
        if !ack_seen {
            return unless_liberal(Judgement::Out);
        }
        if receiver.max_window != 0 && !data_fresh || !ack_fresh {
            return unless_liberal(Judgement::Ignore);
        }

        let window = u32::from(seg.window) << if seg.has(SYN) { 0 } else { sender.scale };
        sender.has_sent(seg, window.wrapping_add(sack.wrapping_sub(ack)), end, ack);
        if receiver.max_window != 0 && after(end, sender.max_end) {
            let more = end.wrapping_sub(sender.max_end);
            receiver.max_window = receiver.max_window.wrapping_add(more);
        }
        receiver.was_acknowledged(ack, sack, window);
        if kind == Kind::Ack {
            self.count_retransmissions(dir, seg, seq, ack, end);
        }
        Judgement::In
    }

    /// An ACK that comes again just as it was: its sender gets no answer.
    fn count_retransmissions(&mut self, dir: Direction, seg: &Segment, seq: u32, ack: u32, end: u32) {
        let last = &mut self.last;
        let before = (last.dir, last.seq, last.ack, last.end, last.window);
        if before == (dir, seq, ack, end, seg.window) {
            self.retrans = self.retrans.wrapping_add(1);
        } else {
            (last.dir, last.seq, last.ack, last.end, last.window) = (dir, seq, ack, end, seg.window);
            self.retrans = 0;
        }
    }
}

impl Side {
    /// The side's SYN says where it begins.
    fn begin_with_syn(&mut self, other: &mut Side, seg: &Segment, dir: Direction) {
        self.end = seg.end();
        self.max_end = self.end;
        self.max_window = u32::from(seg.window).max(1);
        self.read_options(seg);
        // Windows are scaled if both say so (RFC 7323 §2.2).
        if dir == Direction::Reply && self.flags & other.flags & flag::WINDOW_SCALE == 0 {
            self.scale = 0;
            other.scale = 0;
        }
    }

    /// The side's first segment that was seen is no SYN: what it says is believed.
    fn begin_in_the_middle(&mut self, other: &mut Side, seg: &Segment, sack: u32) {
        self.end = seg.end();
        self.max_window = (u32::from(seg.window) << self.scale).max(1);
        self.max_end = self.end.wrapping_add(self.max_window);
        if sack == other.end.wrapping_add(1) {
            // It answers a keep-alive, which has a byte that was not counted.
            other.end = sack;
        }
    }

    /// It sent this.
    fn has_sent(&mut self, seg: &Segment, window: u32, end: u32, ack: u32) {
        self.max_window = self.max_window.max(window);
        if after(end, self.end) {
            self.end = end;
            self.flags |= flag::UNACKNOWLEDGED;
        }
        if seg.has(ACK) && (self.flags & flag::MAX_ACK_SET == 0 || after(ack, self.max_ack)) {
            self.max_ack = ack;
            self.flags |= flag::MAX_ACK_SET;
        }
    }

    /// The other side told it this.
    fn was_acknowledged(&mut self, ack: u32, sack: u32, window: u32) {
        let right = sack.wrapping_add(window);
        if after(right, self.max_end.wrapping_sub(1)) {
            // A closed window still takes a probe of one byte.
            self.max_end = right.wrapping_add(u32::from(window == 0));
        }
        if ack == self.end {
            self.flags &= !flag::UNACKNOWLEDGED;
        }
    }
}

/// How far back an acknowledgment may lie, at least: the largest window without scaling, and some (Linux's
/// `MAXACKWINCONST`).
const LEAST_ACK_WINDOW: u32 = 66_000;
