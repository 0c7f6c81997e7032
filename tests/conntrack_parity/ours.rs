//! The conntrack stages of ours, alone.

use std::time::Instant;

use sekisho::base::{self, Hook};
use sekisho::conntrack::{Config, Conntrack, Flow, State, tuple};
use sekisho::packet::{CtState, Status, Tuple};

use crate::packet::Sent;

/// What was thought of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Label {
    Invalid,
    New,
    Established,
    Related,
    Untracked,
}

/// What became of a packet, and its flow afterwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seen {
    /// Absent: it was dropped.
    pub(crate) label: Option<Label>,
    pub(crate) entry: Option<Entry>,
}

/// A flow, as far as both tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Whether it began the way the packet goes.
    pub(crate) original: bool,
    /// The number of its phase, if its protocol has phases.
    pub(crate) phase: Option<u8>,
    pub(crate) seen_reply: bool,
    pub(crate) assured: bool,
    /// Whole seconds that it lives.
    pub(crate) left: u32,
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

/// The tuple whose flow a packet moves: its own, or that of what it quotes.
pub(crate) fn tuple_of(sent: &Sent) -> Option<Tuple> {
    let p = sent.parsed();
    let found = tuple::of(&p).or_else(|| tuple::inner(&p).map(|inner| inner.tuple));
    // An error about a message that is no query is about no flow.
    found.filter(|t| tuple::invert(t).is_some())
}

pub(crate) struct Ours {
    conntrack: Conntrack,
    start: Instant,
}

impl Ours {
    pub(crate) fn new(cfg: &Config) -> Ours {
        Ours { conntrack: Conntrack::new(cfg.clone(), 1), start: Instant::now() }
    }

    /// Lets a packet pass, and says what its flow is like then.
    pub(crate) fn pass(&mut self, sent: &Sent, tuple: Option<&Tuple>) -> Seen {
        let now = base::Instant::ZERO + self.start.elapsed();
        let mut p = sent.parsed();
        let mut current = None;
        let tracked = self.conntrack.track(&mut p, Hook::Prerouting, now, &mut current);
        let confirmed = match &mut current {
            Some(current) => self.conntrack.confirm(&mut p, current, now).is_ok(),
            None => true,
        };
        let label = match p.meta.ct.state {
            CtState::Unseen => panic!("nothing was thought of it"),
            CtState::Untracked => Label::Untracked,
            CtState::Invalid => Label::Invalid,
            CtState::New => Label::New,
            CtState::Established => Label::Established,
            CtState::Related => Label::Related,
        };
        let passed = tracked.is_ok() && confirmed;
        let found = tuple.and_then(|t| self.conntrack.find(t, now));
        Seen {
            label: passed.then_some(label),
            entry: found.map(|(_, dir, flow)| entry(dir as u8 == 0, &flow, now)),
        }
    }
}

fn entry(original: bool, flow: &Flow, now: base::Instant) -> Entry {
    Entry {
        original,
        phase: match flow.state {
            State::Tcp(state) => Some(state.phase() as u8),
            State::Sctp(state) => Some(state.phase() as u8),
            State::Udp { .. } | State::Other => None,
        },
        seen_reply: flow.status.has(Status::SEEN_REPLY),
        assured: flow.status.has(Status::ASSURED),
        left: flow.deadline.since(now).as_secs() as u32,
    }
}
