//! What a table would do around the state machines, for one flow.

use std::time::{Duration, Instant};

use sekisho::conntrack::{Config, Step, sctp, tcp};
use sekisho::packet::{Direction, Status};
use sekisho::wire::proto;

use crate::ctnetlink::Entry;

/// What was thought of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Label {
    Invalid,
    New,
    Established,
}

impl Label {
    pub(crate) fn of_dscp(dscp: u8) -> Label {
        match dscp {
            1 => Label::Invalid,
            2 => Label::New,
            3 => Label::Established,
            _ => panic!("no rule of ours sets DSCP {dscp}"),
        }
    }
}

/// What was thought of a packet, and its flow afterwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seen {
    /// Absent: it was dropped.
    pub(crate) label: Option<Label>,
    pub(crate) entry: Option<Entry>,
}

impl Seen {
    /// Whether two agree, but for a second.
    pub(crate) fn agrees(&self, other: &Seen) -> bool {
        let near = |a: Entry, b: Entry| Entry { left: b.left, ..a } == b && a.left.abs_diff(b.left) <= 1;
        self.label == other.label
            && match (self.entry, other.entry) {
                (Some(a), Some(b)) => near(a, b),
                (a, b) => a.is_none() && b.is_none(),
            }
    }
}

/// A protocol that has a state machine.
pub(crate) trait Protocol {
    const NUMBER: u8;
    type State: Copy;
    fn begin(l4: &[u8], cfg: &Config) -> Option<(Self::State, Duration)>;
    fn step(
        state: &mut Self::State,
        dir: Direction,
        l4: &[u8],
        status: Status,
        cfg: &Config,
        left: Duration,
    ) -> Step;
    fn phase(state: &Self::State) -> u8;
}

pub(crate) struct Tcp;

impl Protocol for Tcp {
    const NUMBER: u8 = proto::TCP;
    type State = tcp::State;

    fn begin(l4: &[u8], cfg: &Config) -> Option<(tcp::State, Duration)> {
        tcp::State::begin(&tcp::Segment::read(l4, l4.len()).ok()?, cfg)
    }

    fn step(
        state: &mut tcp::State,
        dir: Direction,
        l4: &[u8],
        status: Status,
        cfg: &Config,
        left: Duration,
    ) -> Step {
        match tcp::Segment::read(l4, l4.len()) {
            Ok(seg) => state.step(dir, &seg, status, cfg, left),
            Err(_) => Step::Invalid { timeout: None },
        }
    }

    fn phase(state: &tcp::State) -> u8 {
        state.phase() as u8
    }
}

pub(crate) struct Sctp;

impl Protocol for Sctp {
    const NUMBER: u8 = proto::SCTP;
    type State = sctp::State;

    fn begin(l4: &[u8], cfg: &Config) -> Option<(sctp::State, Duration)> {
        sctp::State::begin(&sctp::Packet::read(l4).ok()?, cfg)
    }

    fn step(
        state: &mut sctp::State,
        dir: Direction,
        l4: &[u8],
        status: Status,
        cfg: &Config,
        _: Duration,
    ) -> Step {
        match sctp::Packet::read(l4) {
            Ok(packet) => state.step(dir, &packet, status, cfg),
            Err(_) => Step::Invalid { timeout: None },
        }
    }

    fn phase(state: &sctp::State) -> u8 {
        state.phase() as u8
    }
}

/// The place of one flow.
pub(crate) struct Model<P: Protocol> {
    cfg: Config,
    flow: Option<Flow<P::State>>,
}

struct Flow<S> {
    began: usize,
    state: S,
    status: Status,
    deadline: Instant,
}

impl<P: Protocol> Model<P> {
    pub(crate) fn new(cfg: &Config) -> Self {
        Model { cfg: cfg.clone(), flow: None }
    }

    /// Judges a packet.
    pub(crate) fn pass(&mut self, from: usize, l4: &[u8], now: Instant) -> Seen {
        self.flow.take_if(|f| f.deadline <= now);
        let label = Some(self.judge(from, l4, now));
        let entry = self.flow.as_ref().map(|f| Entry {
            began: f.began,
            phase: P::phase(&f.state),
            seen_reply: f.status.has(Status::SEEN_REPLY),
            assured: f.status.has(Status::ASSURED),
            left: f.deadline.saturating_duration_since(now).as_secs() as u32,
        });
        Seen { label, entry }
    }

    fn judge(&mut self, from: usize, l4: &[u8], now: Instant) -> Label {
        let Some(flow) = &mut self.flow else { return self.begin(from, l4, now) };
        let dir = if flow.began == from { Direction::Original } else { Direction::Reply };
        let left = flow.deadline.saturating_duration_since(now);
        let replied = dir == Direction::Reply || flow.status.has(Status::SEEN_REPLY);
        let label = if replied { Label::Established } else { Label::New };
        match P::step(&mut flow.state, dir, l4, flow.status, &self.cfg, left) {
            Step::Accept { timeout, set } => {
                flow.status.set(set);
                if dir == Direction::Reply {
                    flow.status.set(Status::SEEN_REPLY);
                }
                flow.deadline = timeout.map_or(flow.deadline, |t| now + t);
                label
            }
            Step::Invalid { timeout } => {
                flow.deadline = timeout.map_or(flow.deadline, |t| now + t);
                Label::Invalid
            }
            Step::Remove => {
                self.flow = None;
                label
            }
            Step::Reopen => {
                self.flow = None;
                self.begin(from, l4, now)
            }
        }
    }

    fn begin(&mut self, from: usize, l4: &[u8], now: Instant) -> Label {
        let Some((state, timeout)) = P::begin(l4, &self.cfg) else { return Label::Invalid };
        self.flow = Some(Flow { began: from, state, status: Status::CONFIRMED, deadline: now + timeout });
        Label::New
    }
}
