//! Which packets are meant: expressions in the words of pcap-filter(7), and some of our own.
//!
//! A packet is judged before anything is changed on it: addresses are those it came with. What can only be known later (where
//! it goes, whether it is dropped, its mark, its state in conntrack) is `Maybe` until it has ended.
//!
//! Knows nothing of how packets are followed.

mod names;
mod parse;

use std::net::IpAddr;

use ipnet::IpNet;

use crate::base::DropReason;
use crate::conntrack::Flow;
use crate::packet::{CtState, FlowId, Net};

use super::glance::Glance;

pub use parse::ExprError;

/// An expression.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Expr {
    /// Every packet.
    #[default]
    All,
    /// One question.
    Ask(Ask),
    /// The opposite.
    Not(Box<Expr>),
    /// Both.
    And(Box<Expr>, Box<Expr>),
    /// Either.
    Or(Box<Expr>, Box<Expr>),
}

/// Of which end something is asked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Side {
    /// Of either.
    #[default]
    Either,
    /// Of both.
    Both,
    /// Of the source.
    Src,
    /// Of the destination.
    Dst,
}

/// One question about a packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ask {
    /// An address in a prefix.
    Net(Side, IpNet),
    /// A port between two.
    Port(Side, u16, u16),
    /// The upper-layer protocol.
    Proto(u8),
    /// The network protocol.
    Family(Net),
    /// The link it came in by.
    In(String),
    /// A link it left by, or was to leave by.
    Out(String),
    /// It belongs to this flow.
    Flow(FlowId),
    /// It goes between these two, or belongs to a flow one of whose directions does.
    Between(u8, [(IpAddr, Option<u16>); 2]),
    /// It was dropped; for this reason, if one is given.
    Drop(Option<DropReason>),
    /// Its mark under a mask, when it ended.
    Mark(u32, u32),
    /// What conntrack says of it.
    State(CtState),
}

/// An answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Truth {
    /// No.
    No,
    /// It is too early to say.
    Maybe,
    /// Yes.
    Yes,
}

impl From<bool> for Truth {
    fn from(is: bool) -> Self {
        if is { Truth::Yes } else { Truth::No }
    }
}

/// What is known of a packet.
pub struct Facts<'a> {
    /// What it looks like.
    pub glance: &'a Glance,
    /// The link it came in by; `None`: the router made it.
    pub input: Option<&'a str>,
    /// Finds its flow.
    pub flow: &'a dyn Fn() -> Option<(FlowId, Flow)>,
    /// How it ended.
    pub end: Ending<'a>,
}

/// What is known of a packet's end.
#[derive(Debug, Clone, Copy)]
pub enum Ending<'a> {
    /// Nothing.
    Open,
    /// That it is not dropped.
    Passes,
    /// That it is dropped; by which link it was to leave is not known.
    Dropped {
        /// Why.
        reason: DropReason,
        /// Its mark.
        mark: u32,
        /// What conntrack said of it.
        state: CtState,
    },
    /// All.
    Known {
        /// The links it left by, or was to.
        outputs: &'a [String],
        /// Why it was dropped, if it was.
        dropped: Option<DropReason>,
        /// Its mark.
        mark: u32,
        /// What conntrack said of it.
        state: CtState,
    },
}

impl Expr {
    /// Whether the packet is meant.
    pub fn holds(&self, facts: &Facts<'_>) -> Truth {
        match self {
            Expr::All => Truth::Yes,
            Expr::Ask(ask) => ask.holds(facts),
            Expr::Not(of) => match of.holds(facts) {
                Truth::No => Truth::Yes,
                Truth::Maybe => Truth::Maybe,
                Truth::Yes => Truth::No,
            },
            Expr::And(a, b) => match a.holds(facts) {
                Truth::No => Truth::No,
                first => first.min(b.holds(facts)),
            },
            Expr::Or(a, b) => match a.holds(facts) {
                Truth::Yes => Truth::Yes,
                first => first.max(b.holds(facts)),
            },
        }
    }

    /// Calls `f` with every question in it.
    pub fn each(&self, f: &mut dyn FnMut(&Ask)) {
        match self {
            Expr::All => {}
            Expr::Ask(ask) => f(ask),
            Expr::Not(of) => of.each(f),
            Expr::And(a, b) | Expr::Or(a, b) => {
                a.each(f);
                b.each(f);
            }
        }
    }

    /// Whether it asks for drops.
    pub fn asks_drops(&self) -> bool {
        let mut asks = false;
        self.each(&mut |ask| asks |= matches!(ask, Ask::Drop(_)));
        asks
    }

    /// The links it names.
    pub fn links(&self) -> Vec<String> {
        let mut links = Vec::new();
        self.each(&mut |ask| {
            if let Ask::In(link) | Ask::Out(link) = ask {
                links.push(link.clone());
            }
        });
        links
    }
}

impl Ask {
    fn holds(&self, f: &Facts<'_>) -> Truth {
        let glance = f.glance;
        match self {
            Ask::Net(side, net) => glance
                .ends
                .is_some_and(|(src, dst)| side.holds(net.contains(&src), net.contains(&dst)))
                .into(),
            Ask::Port(side, first, last) => glance
                .ports
                .is_some_and(|(s, d)| {
                    side.holds((*first..=*last).contains(&s), (*first..=*last).contains(&d))
                })
                .into(),
            Ask::Proto(proto) => (glance.proto == Some(*proto)).into(),
            Ask::Family(net) => (glance.net == *net).into(),
            Ask::In(link) => (f.input == Some(link.as_str())).into(),
            Ask::Flow(id) => (f.flow)().is_some_and(|(is, _)| is == *id).into(),
            Ask::Between(proto, ends) => (goes_between(glance, *proto, ends)
                || (f.flow)().is_some_and(|(_, flow)| {
                    flow.tuples.iter().any(|t| goes_between(&Glance::known_by(t), *proto, ends))
                }))
            .into(),
            Ask::Out(link) => match f.end {
                Ending::Known { outputs, .. } => outputs.iter().any(|o| o == link).into(),
                Ending::Open | Ending::Passes | Ending::Dropped { .. } => Truth::Maybe,
            },
            Ask::Drop(reason) => match f.end {
                Ending::Known { dropped, .. } => {
                    dropped.is_some_and(|d| reason.is_none_or(|r| r == d)).into()
                }
                Ending::Dropped { reason: is, .. } => reason.is_none_or(|r| r == is).into(),
                Ending::Passes => Truth::No,
                Ending::Open => Truth::Maybe,
            },
            Ask::Mark(value, mask) => match f.end {
                Ending::Known { mark, .. } | Ending::Dropped { mark, .. } => (mark & mask == *value).into(),
                Ending::Open | Ending::Passes => Truth::Maybe,
            },
            Ask::State(wanted) => match f.end {
                Ending::Known { state, .. } | Ending::Dropped { state, .. } => (state == *wanted).into(),
                Ending::Open | Ending::Passes => Truth::Maybe,
            },
        }
    }
}

impl Side {
    fn holds(self, src: bool, dst: bool) -> bool {
        match self {
            Side::Either => src || dst,
            Side::Both => src && dst,
            Side::Src => src,
            Side::Dst => dst,
        }
    }
}

/// Whether a packet goes between two ends, one way or the other.
fn goes_between(g: &Glance, proto: u8, [a, b]: &[(IpAddr, Option<u16>); 2]) -> bool {
    let Some((src, dst)) = g.ends else { return false };
    let (s, d) = (g.ports.map(|p| p.0), g.ports.map(|p| p.1));
    let is = |addr: IpAddr, port: Option<u16>, end: &(IpAddr, Option<u16>)| {
        addr == end.0 && end.1.is_none_or(|p| port == Some(p))
    };
    g.proto == Some(proto) && (is(src, s, a) && is(dst, d, b) || is(src, s, b) && is(dst, d, a))
}

#[cfg(test)]
mod tests;
