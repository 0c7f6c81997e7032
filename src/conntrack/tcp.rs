//! TCP as conntrack follows it (RFC 9293, and van Rooij's "Real Stateful TCP Packet Filtering" for the windows).
//!
//! ```text
//! first segment ─► begin ─► State, in the flow
//!
//! any other ─► Segment::read ─► step ─► phase: where it would lead ─► RST? SYN? ACK in between? ─► window ─► new phase,
//!                               │         │      │                                                  │        timeout
//!                               │         ▼      ▼                                                  ▼
//!                               │      INVALID  let through, remembered                          INVALID, or let through
//!                               └─ SYN after the end: Reopen
//! ```
//!
//! What it allows is what Linux 6.18 does (`nf_conntrack_proto_tcp.c`), segment by segment. Sequence numbers are those
//! that the sender wrote: nothing between it and here changes them.
//!
//! Knows nothing of tables, tuples or packets.

mod phase;
mod segment;
mod window;

use std::time::Duration;

use crate::packet::{Direction, Status};

use super::{Settings, Timeout};

pub use super::step::Step;
pub use phase::Phase;
pub use segment::{Malformed, Options, Segment};

use crate::wire::tcp::{ACK, SYN};
use phase::Next;
use segment::{Kind, after};
use window::Judgement;

/// Where a TCP connection stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct State {
    /// What is known of each side: of who began, of who was asked.
    sides: [Side; 2],
    last: Last,
    phase: Phase,
    /// How often the last ACK came again. Turns over at 256, as in Linux.
    retrans: u8,
}

// The table holds one for each flow.
const _: () = assert!(size_of::<State>() == 56);

/// What one side has sent, and what it may. Packed: four bytes less for each flow.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[repr(Rust, packed(2))]
struct Side {
    /// Behind the last that it sent.
    end: u32,
    /// Behind the last that it may send: the highest acknowledgment and window of the other.
    max_end: u32,
    /// The largest window that it offered; 0 if it has not been heard yet.
    max_window: u32,
    /// The highest acknowledgment number that it sent.
    max_ack: u32,
    /// How many bits its windows are to be shifted.
    scale: u8,
    /// Of [`flag`].
    flags: u8,
}

/// The segment that came last: of those in the window, and of those let through unbelieved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(Rust, packed(2))]
struct Last {
    seq: u32,
    ack: u32,
    end: u32,
    window: u16,
    dir: Direction,
    kind: Kind,
    /// Window scale of a SYN that was let through.
    scale: u8,
    /// Of [`flag`]: options of a SYN that was let through, and what to expect after it.
    flags: u8,
}

/// The kernel's `IP_CT_TCP_FLAG_*`, with its numbers.
mod flag {
    /// The side's SYN had the option.
    pub(super) const WINDOW_SCALE: u8 = 0x01;
    /// The side's SYN had the option.
    pub(super) const SACK_PERMITTED: u8 = 0x02;
    /// The side was the first to close.
    pub(super) const CLOSE_INIT: u8 = 0x04;
    /// Only RSTs of the side are held to the window: its connection was picked up in the middle, and its scale is unknown.
    pub(super) const LIBERAL: u8 = 0x08;
    /// The side has sent what was not acknowledged yet.
    pub(super) const UNACKNOWLEDGED: u8 = 0x10;
    /// The side has acknowledged something.
    pub(super) const MAX_ACK_SET: u8 = 0x20;
    /// The next ACK may be a challenge (RFC 5961 §4).
    pub(super) const CHALLENGE: u8 = 0x40;
    /// Both sides have sent a SYN.
    pub(super) const SIMULTANEOUS: u8 = 0x80;
}

impl State {
    /// The state after the first segment of a connection, and how long it lives; `None` if none can begin with it: it is
    /// INVALID then.
    pub fn begin(seg: &Segment, cfg: &Settings) -> Option<(State, Duration)> {
        let next = phase::next(Phase::None, Direction::Original, seg.kind());
        let window = u32::from(seg.window).max(1);
        let mut first = Side { end: seg.end(), max_end: seg.end(), max_window: window, ..Side::default() };
        let mut other = Side::default();
        match next {
            Next::To(Phase::SynSent) => first.read_options(seg),
            Next::To(_) if cfg.tcp_loose() => {
                first.max_end = first.max_end.wrapping_add(window);
                // What scale was agreed on was said before.
                first.flags = flag::SACK_PERMITTED | flag::LIBERAL;
                other.flags = first.flags;
            }
            _ => return None,
        }
        let last = Last {
            seq: 0,
            ack: 0,
            end: 0,
            window: 0,
            dir: Direction::Original,
            kind: Kind::None,
            scale: 0,
            flags: 0,
        };
        let mut state = State { sides: [first, other], last, phase: Phase::None, retrans: 0 };
        match state.step(Direction::Original, seg, Status::default(), cfg, Duration::MAX) {
            Step::Accept { timeout: Some(timeout), .. } => Some((state, timeout)),
            _ => None,
        }
    }

    /// Goes on with a segment of the flow.
    ///
    /// `status` is the flow's before this segment: SEEN_REPLY is to be set afterwards, if the step accepts an answer.
    /// `left` is how long the flow had to live still. [`Status::FIXED_TIMEOUT`] is the caller's to honor, but for INVALID
    /// segments.
    #[inline]
    pub fn step(
        &mut self,
        dir: Direction,
        seg: &Segment,
        status: Status,
        cfg: &Settings,
        left: Duration,
    ) -> Step {
        let kind = seg.kind();
        let mut old = self.phase;
        let mut in_window = false;
        let new = match phase::next(old, dir, kind) {
            Next::Invalid => return Step::INVALID,
            Next::To(Phase::SynSent)
                if matches!(old, Phase::TimeWait | Phase::Close) && self.is_over(dir) =>
            {
                return Step::Reopen;
            }
            Next::To(Phase::SynSent) if matches!(old, Phase::TimeWait | Phase::Close) => {
                self.remember(dir, kind, seg);
                return Step::PASS;
            }
            Next::Ignore if self.answers_a_remembered_syn(dir, kind, seg) => {
                self.believe_the_remembered_syn(dir);
                old = Phase::SynSent;
                Phase::SynRecv
            }
            Next::Ignore => {
                self.remember(dir, kind, seg);
                return Step::PASS;
            }
            Next::To(Phase::TimeWait) if self.is_challenged(dir, kind) => {
                self.last.flags &= !flag::CHALLENGE;
                return Step::PASS;
            }
            Next::To(Phase::SynSent2) => {
                self.last.flags |= flag::SIMULTANEOUS;
                Phase::SynSent2
            }
            Next::To(Phase::SynRecv)
                if (dir, kind) == (Direction::Reply, Kind::Ack)
                    && self.last.flags & flag::SIMULTANEOUS != 0 =>
            {
                Phase::Established
            }
            Next::To(Phase::Close) if kind == Kind::Rst => match self.judge_reset(dir, seg, status, cfg) {
                Reset::Invalid => return Step::INVALID,
                Reset::Believed(phase) => {
                    in_window = true;
                    phase
                }
                Reset::IfInWindow(phase) => phase,
            },
            Next::To(phase) => phase,
        };
        if !in_window {
            match self.judge_window(dir, seg, kind, cfg) {
                Judgement::In => {}
                Judgement::Ignore => return Step::PASS,
                Judgement::Out => {
                    return Step::Invalid { timeout: self.after_invalid(dir, kind, status, cfg, left) };
                }
            }
        }
        self.last.kind = kind;
        self.last.dir = dir;
        self.phase = new;
        if old != new && new == Phase::FinWait {
            self.sides[dir as usize].flags |= flag::CLOSE_INIT;
        }
        self.lives_on(kind, old, status, cfg)
    }

    /// A segment without data that this side may send next, as far as can be told: its flags, its sequence number and
    /// its acknowledgment number. For asking what would become of it.
    pub fn next_of(&self, dir: Direction) -> (u8, u32, u32) {
        let (mine, other) = (self.sides[dir as usize], self.sides[dir.turned() as usize]);
        let (end, heard) = (mine.end, other.end);
        match (self.phase, dir) {
            // Nobody has heard it: it says it again.
            (Phase::None | Phase::SynSent, Direction::Original) => (SYN, end.wrapping_sub(1), 0),
            (Phase::None | Phase::SynSent, Direction::Reply) => (SYN | ACK, end.wrapping_sub(1), heard),
            (Phase::SynRecv, Direction::Reply) => (SYN | ACK, end.wrapping_sub(1), heard),
            (Phase::SynSent2, _) => (SYN | ACK, end.wrapping_sub(1), heard),
            _ => (ACK, end, heard),
        }
    }

    /// Whether no such segment can come from this side now, whatever its numbers are.
    pub(super) fn refuses(&self, dir: Direction, seg: &Segment) -> bool {
        matches!(phase::next(self.phase, dir, seg.kind()), Next::Invalid)
    }

    /// Whether this connection, of which the first SYN was seen, can't be mistaken for an old one between the same
    /// ends: that one is over, and the sequence numbers are beyond it (`nf_nat_used_tuple_harder`).
    pub fn outruns(&self, old: &State) -> bool {
        self.phase == Phase::SynSent
            && matches!(old.phase, Phase::TimeWait | Phase::Close | Phase::SynSent2)
            && after(self.sides[0].end, old.sides[0].end)
    }

    /// Where it stands.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// Its name in listings.
    pub fn name(&self) -> &'static str {
        self.phase.name()
    }

    /// Whether a SYN in this direction begins the next connection: this one was closed, or reset by the same side.
    fn is_over(&self, dir: Direction) -> bool {
        let [a, b] = self.sides;
        (a.flags | b.flags) & flag::CLOSE_INIT != 0 || self.last.dir == dir && self.last.kind == Kind::Rst
    }

    /// Takes note of a segment that is let through unbelieved.
    fn remember(&mut self, dir: Direction, kind: Kind, seg: &Segment) {
        let last = &mut self.last;
        (last.kind, last.dir) = (kind, dir);
        (last.seq, last.end, last.window) = (seg.seq, seg.end(), seg.window);
        if (kind, dir) == (Kind::Syn, Direction::Original) {
            // The other side may answer with SYN and ACK: then these options count from there on.
            let mut side = Side::default();
            side.read_options(seg);
            (last.flags, last.scale) = (side.flags, side.scale);
            // Or with a challenge, which must not pass for the ACK of the last FIN.
            if self.phase == Phase::LastAck {
                last.flags |= flag::CHALLENGE;
            }
        }
        // An ACK that answers a SYN is of a connection from before. What it acknowledges will be the RST's sequence number.
        if (self.phase, kind, dir) == (Phase::SynSent, Kind::Ack, Direction::Reply) {
            last.ack = seg.ack;
        }
    }

    /// Whether it is the SYN with ACK for a SYN that was let through unbelieved.
    fn answers_a_remembered_syn(&self, dir: Direction, kind: Kind, seg: &Segment) -> bool {
        let last = &self.last;
        kind == Kind::SynAck && last.kind == Kind::Syn && last.dir != dir && seg.ack == last.end
    }

    /// Both ends agree on a connection that we know nothing of: what was remembered of its SYN holds.
    fn believe_the_remembered_syn(&mut self, dir: Direction) {
        let last = &mut self.last;
        last.flags &= !flag::CHALLENGE;
        self.sides[last.dir as usize] = Side {
            end: last.end,
            max_end: last.end,
            max_window: u32::from(last.window).max(1),
            scale: last.scale,
            flags: last.flags,
            max_ack: self.sides[last.dir as usize].max_ack,
        };
        let side = &mut self.sides[dir as usize];
        *side = Side { flags: side.flags & flag::LIBERAL, ..Side::default() };
    }

    /// Whether an ACK that seems to acknowledge the last FIN rejects a SYN instead.
    fn is_challenged(&self, dir: Direction, kind: Kind) -> bool {
        self.phase == Phase::LastAck
            && kind == Kind::Ack
            && self.last.dir != dir
            && self.last.kind == Kind::Syn
            && self.last.flags & flag::CHALLENGE != 0
    }

    /// What a RST is worth. A blind one must not end an open connection (RFC 5961 §3).
    fn judge_reset(&self, dir: Direction, seg: &Segment, status: Status, cfg: &Settings) -> Reset {
        if self.phase.is_closing() {
            // The ends may have begun anew, and nothing is lost.
            return Reset::Believed(Phase::Close);
        }
        let (last, other) = (&self.last, &self.sides[dir.turned() as usize]);
        let is_open = self.phase == Phase::Established && status.has(Status::ASSURED);
        let mut new = Phase::Close;
        if other.flags & flag::MAX_ACK_SET != 0 && last.kind != Kind::Syn {
            if seg.seq == 0 && !is_open {
                // It answers a SYN that was let through.
                return Reset::IfInWindow(Phase::Close);
            }
            if after(other.max_ack, seg.seq) && !cfg.tcp_ignore_invalid_rst() {
                return Reset::Invalid;
            }
            let is_exact = seg.seq == other.max_ack;
            // Behind the data that came just before.
            let follows = last.kind == Kind::Ack && last.dir == dir && seg.seq == last.end;
            if !is_open || is_exact || follows {
                return Reset::IfInWindow(Phase::Close);
            }
            // It may be true: what the other end says will show.
            new = self.phase;
        }
        let answers_unbelieved = match last.kind {
            Kind::Syn => status.has(Status::SEEN_REPLY) && last.dir != dir,
            Kind::Ack => !status.has(Status::ASSURED),
            _ => false,
        };
        let answers_old_ack = self.phase == Phase::SynSent
            && last.kind == Kind::Ack
            && last.dir == Direction::Reply
            && seg.seq == last.ack;
        if answers_unbelieved && seg.ack == last.end || answers_old_ack {
            return Reset::Believed(new);
        }
        Reset::IfInWindow(new)
    }

    /// After an INVALID segment: when both sides seem to end a connection that we have lost track of, it is not kept for days.
    #[cold]
    fn after_invalid(
        &mut self,
        dir: Direction,
        kind: Kind,
        status: Status,
        cfg: &Settings,
        left: Duration,
    ) -> Option<Duration> {
        let ends = |kind| matches!(kind, Kind::Rst | Kind::Fin);
        if !status.has(Status::ASSURED) || status.has(Status::FIXED_TIMEOUT) || !ends(kind) {
            return None;
        }
        if self.last.dir == dir || !ends(self.last.kind) {
            (self.last.kind, self.last.dir) = (kind, dir);
            return None;
        }
        let short = cfg.timeout(Timeout::TcpUnacknowledged);
        (left >= SHORT_ALREADY && left > short).then_some(short)
    }

    /// A reset was made for it: it is closed; `false` if it was.
    pub(super) fn close(&mut self) -> bool {
        std::mem::replace(&mut self.phase, Phase::Close) != Phase::Close
    }

    /// What the flow is worth after a segment in the window.
    fn lives_on(&self, kind: Kind, old: Phase, status: Status, cfg: &Settings) -> Step {
        let ordinary = cfg.timeout(self.phase.timeout());
        let retransmitting = cfg.timeout(Timeout::TcpMaxRetrans);
        let unacknowledged = cfg.timeout(Timeout::TcpUnacknowledged);
        let [a, b] = self.sides;
        let waits = (a.flags | b.flags) & flag::UNACKNOWLEDGED != 0;
        let mut timeout = if self.retrans >= cfg.tcp_max_retrans() && ordinary > retransmitting {
            retransmitting
        } else if kind == Kind::Rst {
            cfg.timeout(Timeout::TcpClose)
        } else if waits && ordinary > unacknowledged {
            unacknowledged
        } else if self.last.window == 0 && ordinary > retransmitting {
            retransmitting
        } else {
            ordinary
        };
        let mut set = Status::default();
        if !status.has(Status::SEEN_REPLY) {
            if kind == Kind::Rst {
                // Nobody is there, as so often.
                return Step::Remove;
            }
            if kind == Kind::Syn && old == Phase::SynSent {
                // Who asks again and again must not hold the entry, and its port, forever.
                return Step::PASS;
            }
            if self.phase == Phase::Established {
                timeout = timeout.min(unacknowledged);
            }
        } else if !status.has(Status::ASSURED)
            && matches!(old, Phase::SynRecv | Phase::Established)
            && self.phase == Phase::Established
        {
            set = Status::ASSURED;
        }
        Step::Accept { timeout: Some(timeout), set }
    }
}

impl Side {
    /// Takes over what the options of a SYN promise; nothing changes if there are none.
    fn read_options(&mut self, seg: &Segment) {
        let Some(options) = seg.options else { return };
        self.scale = options.scale.unwrap_or(0);
        self.flags &= flag::LIBERAL;
        if options.scale.is_some() {
            self.flags |= flag::WINDOW_SCALE;
        }
        if options.sack {
            self.flags |= flag::SACK_PERMITTED;
        }
    }
}

/// What a RST is worth.
enum Reset {
    /// Nobody sends it.
    Invalid,
    /// It leads there, if the windows agree.
    IfInWindow(Phase),
    /// It leads there.
    Believed(Phase),
}

/// A flow that lives no longer than this is not worth shortening (Linux has the number in its code).
const SHORT_ALREADY: Duration = Duration::from_secs(120);

#[cfg(test)]
mod tests;
