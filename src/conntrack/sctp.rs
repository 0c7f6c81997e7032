//! SCTP as conntrack follows it (RFC 9260).
//!
//! ```text
//! the side that began          the other          phase
//! INIT                ─────►                      CLOSED
//!                     ◄─────   INIT ACK           COOKIE_WAIT
//! COOKIE ECHO         ─────►                      COOKIE_ECHOED
//!                     ◄─────   COOKIE ACK         ESTABLISHED
//! ```
//!
//! Each side's packets carry the tag that the other side asked for in its INIT or INIT ACK; who does not know it does not
//! belong. What it allows is what Linux 6.18 does (`nf_conntrack_proto_sctp.c`), but that an INVALID packet changes
//! nothing, even if some of its chunks were right.
//!
//! Knows nothing of tables, tuples, or checksums.

mod packet;
mod phase;

use std::time::Duration;

use crate::packet::{Direction, Status};

use super::{Settings, Step};

pub use packet::{Malformed, Packet};
pub use phase::Phase;

use packet::{Chunk, Kind};

/// Where an association stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct State {
    /// The tag of each direction's packets; 0 if it is not known.
    tags: [u32; 2],
    phase: Phase,
    /// Whose INIT is open.
    inits: [bool; 2],
    /// The direction of a heartbeat whose tag was wrong: if it is answered, the tag was right.
    doubtful: Option<Direction>,
}

impl State {
    /// The state after the first packet of an association, and how long it lives; `None` if none can begin with it: it
    /// is INVALID then.
    pub fn begin(packet: &Packet<'_>, cfg: &Settings) -> Option<(State, Duration)> {
        // Nothing answers these (RFC 9260 §8.4).
        if packet.has(&[Kind::Abort, Kind::ShutdownComplete, Kind::CookieAck]) {
            return None;
        }
        let mut state = State { tags: [0; 2], phase: Phase::None, inits: [false; 2], doubtful: None };
        for chunk in packet.chunks() {
            let [original, reply] = &mut state.tags;
            match chunk.kind {
                Kind::Other => return None,
                Kind::Init if packet.tag != 0 => return None,
                Kind::Init => {
                    *reply = chunk.initiate_tag()?;
                    state.inits[Direction::Original as usize] = true;
                }
                Kind::Heartbeat => *original = packet.tag,
                // Of an association that we know nothing of: what answers has the same tag, and bit T.
                Kind::ShutdownAck => *reply = packet.tag,
                _ => {}
            }
        }
        match state.step(Direction::Original, packet, Status::default(), cfg) {
            Step::Accept { timeout: Some(timeout), .. } => Some((state, timeout)),
            _ => None,
        }
    }

    /// The verification tags, of the original direction's packets and of the reply's.
    pub fn tags(&self) -> [u32; 2] {
        self.tags
    }

    /// Goes on with a packet of the flow.
    ///
    /// `status` is the flow's before this packet.
    pub fn step(&mut self, dir: Direction, packet: &Packet<'_>, status: Status, cfg: &Settings) -> Step {
        const JUDGED_ALONE: [Kind; 7] = [
            Kind::Init,
            Kind::ShutdownComplete,
            Kind::CookieEcho,
            Kind::Abort,
            Kind::ShutdownAck,
            Kind::Heartbeat,
            Kind::HeartbeatAck,
        ];
        if !packet.has(&JUDGED_ALONE) && packet.tag != self.tags[dir as usize] {
            return Step::INVALID;
        }
        let mut after = *self;
        let (mut renews, mut set) = (true, Status::default());
        for chunk in packet.chunks() {
            match after.take(dir, packet, &chunk, renews) {
                Took::Invalid => return Step::INVALID,
                Took::Doubtful => renews = false,
                Took::Led { from, renewing } => {
                    renews &= renewing;
                    if after.phase != from && after.phase == Phase::Established {
                        set = Status::ASSURED;
                    }
                }
            }
        }
        *self = after;
        if status.has(Status::ASSURED) {
            set = Status::default();
        }
        Step::Accept { timeout: renews.then(|| cfg.timeout(self.phase.timeout())), set }
    }

    /// A packet that this side may send next, as far as can be told: its tag, and the type of its chunk (RFC 9260 §3.2).
    /// For asking what would become of it.
    pub fn next_of(&self, dir: Direction) -> (u32, u8) {
        let tag = self.tags[dir as usize];
        match (self.phase, dir) {
            (Phase::None | Phase::Closed, Direction::Original) => (0, 1),
            (Phase::None | Phase::Closed, Direction::Reply) => (tag, 2),
            (Phase::CookieWait, Direction::Original) => (tag, 10),
            (Phase::CookieEchoed, Direction::Reply) => (tag, 11),
            _ => (tag, 3),
        }
    }

    /// Where it stands.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// Its name in listings.
    pub fn name(&self) -> &'static str {
        self.phase.name()
    }

    /// Goes on with one chunk. `renews`: whether no chunk before it was doubtful.
    fn take(&mut self, dir: Direction, packet: &Packet<'_>, chunk: &Chunk<'_>, renews: bool) -> Took {
        let (own, others) = (dir as usize, dir.turned() as usize);
        match chunk.kind {
            // RFC 9260 §8.5.1 (A).
            Kind::Init if packet.tag != 0 => return Took::Invalid,
            // (B), (C).
            Kind::Abort | Kind::ShutdownComplete
                if packet.tag != self.tags[if chunk.reflects { others } else { own }] =>
            {
                return Took::Invalid;
            }
            // (D).
            Kind::CookieEcho if packet.tag != self.tags[own] => return Took::Invalid,
            Kind::CookieAck => self.inits = [false; 2],
            Kind::Heartbeat | Kind::HeartbeatAck if self.tags[own] == 0 => self.tags[own] = packet.tag,
            Kind::Heartbeat | Kind::HeartbeatAck if packet.tag == self.tags[own] => self.doubtful = None,
            Kind::Heartbeat | Kind::HeartbeatAck if packet.has_data || !renews => return Took::Invalid,
            Kind::Heartbeat => {
                self.doubtful = Some(dir);
                return Took::Doubtful;
            }
            Kind::HeartbeatAck if self.doubtful != Some(dir.turned()) => return Took::Invalid,
            Kind::HeartbeatAck => {
                // The association began anew elsewhere. The other side's tag shows in its next heartbeat.
                self.doubtful = None;
                self.tags[own] = packet.tag;
                self.tags[others] = 0;
            }
            _ => {}
        }
        let from = self.phase;
        let Some(to) = phase::next(from, dir, chunk.kind) else { return Took::Invalid };
        let asked = match chunk.kind {
            Kind::Init | Kind::InitAck => match chunk.initiate_tag() {
                Some(tag) => tag,
                None => return Took::Invalid,
            },
            _ => 0,
        };
        match chunk.kind {
            // The same once more changes nothing.
            Kind::Init if self.tags[others] == asked => {}
            Kind::Init => {
                if self.inits == [true; 2] {
                    self.inits[others] = false;
                }
                self.inits[own] = true;
                self.tags[others] = asked;
            }
            Kind::InitAck => {
                let known = self.tags[others];
                let foreign = known != asked;
                let unasked = !self.inits[others] && known != 0;
                // Both have sent an INIT, and this answers neither.
                let collides = self.inits == [true; 2];
                if foreign && (unasked || collides) {
                    return Took::Invalid;
                }
                self.tags[others] = asked;
            }
            _ => {}
        }
        self.phase = to;
        // Who asks again and again must not hold the entry, and its port, forever.
        let again = chunk.kind == Kind::Init && (from, to) == (Phase::Closed, Phase::Closed);
        Took::Led { from, renewing: !again }
    }
}

/// What a chunk did.
enum Took {
    /// It makes its packet INVALID.
    Invalid,
    /// Nothing; and the flow lives no longer for it.
    Doubtful,
    /// It led on from there.
    Led { from: Phase, renewing: bool },
}

#[cfg(test)]
mod tests;
