//! The phases of a connection as a router in the middle sees them, and what leads from one to the next.
//!
//! ```text
//! A row is a phase; a column what the segment is. →: from the side that began; ←: from the other.
//! "." is INVALID, "-" is let through without believing it: it may be right, and the ends will know.
//!
//!              →SYN ←SYN  →SYN+ACK ←SYN+ACK  →FIN ←FIN  →ACK ←ACK  →RST ←RST  →0 ←0
//! NONE          SS    .       .        .       .    .    ES    .     .    .    .  .
//! SYN_SENT      SS   S2       .       SR       .    .     .    -    CL   CL    .  .
//! SYN_RECV       -    .      SR        -      FW   FW    ES   SR    CL   CL    .  .
//! ESTABLISHED    -    .       .        -      FW   FW    ES   ES    CL   CL    .  .
//! FIN_WAIT       -    .       .        -      LA   LA    CW   CW    CL   CL    .  .
//! CLOSE_WAIT     -    .       .        -      LA   LA    CW   CW    CL   CL    .  .
//! LAST_ACK       -    .       .        -      LA   LA    TW   TW    CL   CL    .  .
//! TIME_WAIT     SS   SS       .        -      TW   TW    TW   TW    CL   CL    .  .
//! CLOSE         SS    .       .        -      CL   CL    CL   CL    CL   CL    .  .
//! SYN_SENT2     S2   S2      SR       SR       .    .     .    -    CL   CL    .  .
//! ```
//!
//! Knows nothing of sequence numbers.

use crate::packet::Direction;

use super::segment::Kind;
use crate::conntrack::Timeout;

/// Where a connection stands. The order is the kernel's (`enum tcp_conntrack`), which its programs know by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Phase {
    /// Nothing was seen.
    None,
    /// The first SYN was.
    SynSent,
    /// A SYN was answered by a SYN with ACK.
    SynRecv,
    /// The connection is open.
    Established,
    /// One side has closed.
    FinWait,
    /// Its FIN was acknowledged, or so it seems.
    CloseWait,
    /// Both sides have closed.
    LastAck,
    /// Both FINs were acknowledged.
    TimeWait,
    /// It was reset.
    Close,
    /// Both sides have sent a SYN (RFC 9293 §3.5, simultaneous open).
    SynSent2,
}

impl Phase {
    #[cfg(test)]
    pub(super) const ALL: [Phase; 10] = [
        Phase::None,
        Phase::SynSent,
        Phase::SynRecv,
        Phase::Established,
        Phase::FinWait,
        Phase::CloseWait,
        Phase::LastAck,
        Phase::TimeWait,
        Phase::Close,
        Phase::SynSent2,
    ];

    /// Its name in listings.
    pub const fn name(self) -> &'static str {
        match self {
            Phase::None => "NONE",
            Phase::SynSent => "SYN_SENT",
            Phase::SynRecv => "SYN_RECV",
            Phase::Established => "ESTABLISHED",
            Phase::FinWait => "FIN_WAIT",
            Phase::CloseWait => "CLOSE_WAIT",
            Phase::LastAck => "LAST_ACK",
            Phase::TimeWait => "TIME_WAIT",
            Phase::Close => "CLOSE",
            Phase::SynSent2 => "SYN_SENT2",
        }
    }

    /// Whether the connection is closing or closed, so that its end is no loss.
    pub const fn is_closing(self) -> bool {
        use Phase::{Close, CloseWait, FinWait, LastAck, TimeWait};
        matches!(self, FinWait | CloseWait | LastAck | TimeWait | Close)
    }

    /// How long it lasts. A simultaneous open has no sysctl of its own in Linux; here it goes by that of SYN_SENT.
    pub(super) const fn timeout(self) -> Timeout {
        match self {
            Phase::None | Phase::SynSent | Phase::SynSent2 => Timeout::TcpSynSent,
            Phase::SynRecv => Timeout::TcpSynRecv,
            Phase::Established => Timeout::TcpEstablished,
            Phase::FinWait => Timeout::TcpFinWait,
            Phase::CloseWait => Timeout::TcpCloseWait,
            Phase::LastAck => Timeout::TcpLastAck,
            Phase::TimeWait => Timeout::TcpTimeWait,
            Phase::Close => Timeout::TcpClose,
        }
    }
}

/// Where a segment leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// To this phase, if the windows agree.
    To(Phase),
    /// Nowhere: it is let through, and only remembered. Either the ends know better than we do, or the answer will show.
    Ignore,
    /// Nowhere: nobody sends that here.
    Invalid,
}

/// Where a segment leads from here: the table above.
#[inline]
pub(super) fn next(from: Phase, dir: Direction, kind: Kind) -> Next {
    use Direction::{Original, Reply};
    use Next::{Ignore, Invalid, To};
    use Phase::*;
    match (kind, dir, from) {
        (Kind::None, ..) => Invalid,

        (Kind::Rst, _, None) => Invalid,
        (Kind::Rst, ..) => To(Close),

        (Kind::Syn, Original, None | SynSent | TimeWait | Close) => To(SynSent),
        (Kind::Syn, Original, SynSent2) => To(SynSent2),
        (Kind::Syn, Original, _) => Ignore,
        (Kind::Syn, Reply, SynSent | SynSent2) => To(SynSent2),
        // Who was asked now asks.
        (Kind::Syn, Reply, TimeWait) => To(SynSent),
        (Kind::Syn, Reply, _) => Invalid,

        // Of a simultaneous open; else the side that began has no SYN to acknowledge.
        (Kind::SynAck, Original, SynRecv | SynSent2) => To(SynRecv),
        (Kind::SynAck, Original, _) => Invalid,
        (Kind::SynAck, Reply, None) => Invalid,
        (Kind::SynAck, Reply, SynSent | SynSent2) => To(SynRecv),
        // Late, or the answer to a SYN that was ignored.
        (Kind::SynAck, Reply, _) => Ignore,

        (Kind::Fin, _, None | SynSent | SynSent2) => Invalid,
        (Kind::Fin, _, SynRecv | Established) => To(FinWait),
        (Kind::Fin, _, FinWait | CloseWait | LastAck) => To(LastAck),
        (Kind::Fin, _, TimeWait) => To(TimeWait),
        (Kind::Fin, _, Close) => To(Close),

        // The middle of a connection that began unseen.
        (Kind::Ack, Original, None) => To(Established),
        (Kind::Ack, Original, SynSent | SynSent2) | (Kind::Ack, Reply, None) => Invalid,
        // Half open from before: the other side's next segment is a RST.
        (Kind::Ack, Reply, SynSent | SynSent2) => Ignore,
        (Kind::Ack, Original, SynRecv) => To(Established),
        (Kind::Ack, Reply, SynRecv) => To(SynRecv),
        (Kind::Ack, _, Established) => To(Established),
        (Kind::Ack, _, FinWait | CloseWait) => To(CloseWait),
        (Kind::Ack, _, LastAck | TimeWait) => To(TimeWait),
        (Kind::Ack, _, Close) => To(Close),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The drawing above is what the code does.
    #[test]
    fn every_phase_direction_and_kind() {
        let drawing = include_str!("phase.rs").lines().filter_map(|l| l.strip_prefix("//! "));
        for phase in Phase::ALL {
            let row = drawing.clone().find_map(|l| l.strip_prefix(&format!("{} ", phase.name()))).unwrap();
            let cells: Vec<&str> = row.split_whitespace().collect();
            assert_eq!(cells.len(), 12, "{row}");
            for (kind, pair) in Kind::ALL.into_iter().zip(cells.chunks(2)) {
                for (dir, cell) in Direction::ALL.into_iter().zip(pair) {
                    assert_eq!(short(next(phase, dir, kind)), *cell, "{phase:?} {dir:?} {kind:?}");
                }
            }
        }
    }

    fn short(next: Next) -> &'static str {
        match next {
            Next::Ignore => "-",
            Next::Invalid => ".",
            Next::To(Phase::None) => "NO",
            Next::To(Phase::SynSent) => "SS",
            Next::To(Phase::SynRecv) => "SR",
            Next::To(Phase::Established) => "ES",
            Next::To(Phase::FinWait) => "FW",
            Next::To(Phase::CloseWait) => "CW",
            Next::To(Phase::LastAck) => "LA",
            Next::To(Phase::TimeWait) => "TW",
            Next::To(Phase::Close) => "CL",
            Next::To(Phase::SynSent2) => "S2",
        }
    }
}
