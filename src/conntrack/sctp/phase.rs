//! The phases of an association as a router in the middle sees them, and what leads from one to the next.
//!
//! ```text
//! A row is a chunk; a column is where the association stands. Above: from the side that began; below: from the other.
//! "." is INVALID. Any other chunk changes nothing, and begins nothing.
//!
//! →                  NO  CL  CW  CE  ES  SS  SR  SA  HS
//! INIT               CL  CL  CW  CE  ES  CL  CL  SA  CW
//! INIT_ACK           CL  CL  CW  CE  ES  SS  SR  SA  CL
//! HEARTBEAT          HS  CL  CW  CE  ES  SS  SR  SA  HS
//! HEARTBEAT_ACK      CL  CL  CW  CE  ES  SS  SR  SA  HS
//! ABORT              CL  CL  CL  CL  CL  CL  CL  CL  CL
//! SHUTDOWN           CL  CL  CW  CE  SS  SS  SR  SA  CL
//! SHUTDOWN_ACK       SA  CL  CW  CE  ES  SA  SA  SA  SA
//! ERROR              CL  CL  CW  CE  ES  SS  SR  SA  CL
//! COOKIE_ECHO        CL  CL  CE  CE  ES  SS  SR  SA  CL
//! COOKIE_ACK         CL  CL  CW  ES  ES  SS  SR  SA  CL
//! SHUTDOWN_COMPLETE  CL  CL  CW  CE  ES  SS  SR  CL  CL
//!
//! ←                  NO  CL  CW  CE  ES  SS  SR  SA  HS
//! INIT                .  CL  CW  CE  ES  SS  SR  SA   .
//! INIT_ACK            .  CW  CW  CE  ES  SS  SR  SA   .
//! HEARTBEAT           .  CL  CW  CE  ES  SS  SR  SA  HS
//! HEARTBEAT_ACK       .  CL  CW  CE  ES  SS  SR  SA  ES
//! ABORT               .  CL  CL  CL  CL  CL  CL  CL   .
//! SHUTDOWN            .  CL  CW  CE  SR  SS  SR  SA   .
//! SHUTDOWN_ACK        .  CL  CW  CE  ES  SA  SA  SA   .
//! ERROR               .  CL  CW  CL  ES  SS  SR  SA   .
//! COOKIE_ECHO         .  CL  CE  CE  ES  SS  SR  SA   .
//! COOKIE_ACK          .  CL  CW  ES  ES  SS  SR  SA   .
//! SHUTDOWN_COMPLETE   .  CL  CW  CE  ES  SS  SR  CL   .
//! ```
//!
//! Knows nothing of tags.

use crate::conntrack::Timeout;
use crate::packet::Direction;

use super::packet::Kind;

/// Where an association stands, in the kernel's order (`enum sctp_conntrack`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Phase {
    /// Nothing was seen.
    None,
    /// INIT was, or the association is over.
    Closed,
    /// INIT was answered.
    CookieWait,
    /// The cookie came back.
    CookieEchoed,
    /// The association is open.
    Established,
    /// The side that began shuts down.
    ShutdownSent,
    /// The other side shuts down.
    ShutdownRecd,
    /// The shutdown was acknowledged.
    ShutdownAckSent,
    /// A heartbeat came first: a new path of an association that goes elsewhere already.
    HeartbeatSent,
}

impl Phase {
    #[cfg(test)]
    pub(super) const ALL: [Phase; 9] = [
        Phase::None,
        Phase::Closed,
        Phase::CookieWait,
        Phase::CookieEchoed,
        Phase::Established,
        Phase::ShutdownSent,
        Phase::ShutdownRecd,
        Phase::ShutdownAckSent,
        Phase::HeartbeatSent,
    ];

    /// Its name in listings.
    pub const fn name(self) -> &'static str {
        match self {
            Phase::None => "NONE",
            Phase::Closed => "CLOSED",
            Phase::CookieWait => "COOKIE_WAIT",
            Phase::CookieEchoed => "COOKIE_ECHOED",
            Phase::Established => "ESTABLISHED",
            Phase::ShutdownSent => "SHUTDOWN_SENT",
            Phase::ShutdownRecd => "SHUTDOWN_RECD",
            Phase::ShutdownAckSent => "SHUTDOWN_ACK_SENT",
            Phase::HeartbeatSent => "HEARTBEAT_SENT",
        }
    }

    /// Whether the association is closing, so that its end is no loss.
    pub const fn is_closing(self) -> bool {
        matches!(self, Phase::ShutdownSent | Phase::ShutdownRecd | Phase::ShutdownAckSent)
    }

    /// How long it lasts.
    pub(super) const fn timeout(self) -> Timeout {
        match self {
            Phase::None | Phase::Closed => Timeout::SctpClosed,
            Phase::CookieWait => Timeout::SctpCookieWait,
            Phase::CookieEchoed => Timeout::SctpCookieEchoed,
            Phase::Established => Timeout::SctpEstablished,
            Phase::ShutdownSent => Timeout::SctpShutdownSent,
            Phase::ShutdownRecd => Timeout::SctpShutdownRecd,
            Phase::ShutdownAckSent => Timeout::SctpShutdownAckSent,
            Phase::HeartbeatSent => Timeout::SctpHeartbeatSent,
        }
    }
}

/// Where a chunk leads from here: the table above. `None` is INVALID.
pub(super) fn next(from: Phase, dir: Direction, kind: Kind) -> Option<Phase> {
    use Direction::{Original, Reply};
    use Phase::*;
    Some(match (kind, dir, from) {
        (Kind::Other, ..) => from,

        (Kind::ShutdownAck, Original, None | HeartbeatSent) => ShutdownAckSent,
        (Kind::Heartbeat, Original, None) => HeartbeatSent,
        (_, Original, None) => Closed,
        (_, Reply, None) => return Option::None,

        (Kind::Init, Original, HeartbeatSent) => CookieWait,
        (Kind::Heartbeat, _, HeartbeatSent) | (Kind::HeartbeatAck, Original, HeartbeatSent) => HeartbeatSent,
        (Kind::HeartbeatAck, Reply, HeartbeatSent) => Established,
        (_, Original, HeartbeatSent) => Closed,
        (_, Reply, HeartbeatSent) => return Option::None,

        (Kind::Init, Original, ShutdownSent | ShutdownRecd) => Closed,
        (Kind::InitAck, Reply, Closed) => CookieWait,
        (Kind::CookieEcho, _, CookieWait) => CookieEchoed,
        (Kind::CookieAck, _, CookieEchoed) => Established,
        // A stale cookie, probably.
        (Kind::Error, Reply, CookieEchoed) => Closed,
        (Kind::Abort, ..) => Closed,
        (Kind::Shutdown, Original, Established) => ShutdownSent,
        (Kind::Shutdown, Reply, Established) => ShutdownRecd,
        (Kind::ShutdownAck, _, ShutdownSent | ShutdownRecd) => ShutdownAckSent,
        (Kind::ShutdownComplete, _, ShutdownAckSent) => Closed,
        _ => from,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The drawing above is what the code does.
    #[test]
    fn every_phase_direction_and_chunk() {
        let drawing = include_str!("phase.rs").lines().filter_map(|l| l.strip_prefix("//! "));
        for (arrow, dir) in [("→ ", Direction::Original), ("← ", Direction::Reply)] {
            let rows = drawing.clone().skip_while(|l| !l.starts_with(arrow)).skip(1);
            for (kind, row) in Kind::KNOWN.into_iter().zip(rows) {
                let mut cells = row.split_whitespace();
                assert_eq!(cells.next(), Some(name(kind)));
                for from in Phase::ALL {
                    let to = next(from, dir, kind).map_or(".", short);
                    assert_eq!(Some(to), cells.next(), "{from:?} {dir:?} {kind:?}");
                }
                assert_eq!(cells.next(), None);
            }
            for from in Phase::ALL {
                assert_eq!(next(from, dir, Kind::Other), Some(from));
            }
        }
    }

    fn name(kind: Kind) -> &'static str {
        match kind {
            Kind::Init => "INIT",
            Kind::InitAck => "INIT_ACK",
            Kind::Heartbeat => "HEARTBEAT",
            Kind::HeartbeatAck => "HEARTBEAT_ACK",
            Kind::Abort => "ABORT",
            Kind::Shutdown => "SHUTDOWN",
            Kind::ShutdownAck => "SHUTDOWN_ACK",
            Kind::Error => "ERROR",
            Kind::CookieEcho => "COOKIE_ECHO",
            Kind::CookieAck => "COOKIE_ACK",
            Kind::ShutdownComplete => "SHUTDOWN_COMPLETE",
            Kind::Other => "",
        }
    }

    fn short(phase: Phase) -> &'static str {
        match phase {
            Phase::None => "NO",
            Phase::Closed => "CL",
            Phase::CookieWait => "CW",
            Phase::CookieEchoed => "CE",
            Phase::Established => "ES",
            Phase::ShutdownSent => "SS",
            Phase::ShutdownRecd => "SR",
            Phase::ShutdownAckSent => "SA",
            Phase::HeartbeatSent => "HS",
        }
    }
}
