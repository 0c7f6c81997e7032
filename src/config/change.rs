//! A change of what the router is set up to be: what the verbs ask for, one type for all of them.
//!
//! Says what is to be different, by name, in the words of the tools it is asked with. What becomes of it in the end is
//! [`Setup::changed`](super::Setup::changed)'s affair. Knows nothing of sockets or devices.

mod addr;
mod link;
mod neigh;
mod route;
mod rules;

use serde::{Deserialize, Serialize};

pub use addr::AddrChange;
pub use link::{LinkChange, LinkSettings};
pub use neigh::NeighChange;
pub use route::{RouteChange, RouteOp};
pub use rules::{Edit, RulesChange};

/// One change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, tag = "object", rename_all = "kebab-case")]
pub enum Change {
    /// Of the links themselves.
    Link(LinkChange),
    /// Of their addresses.
    Addr(AddrChange),
    /// Of the routes.
    Route(RouteChange),
    /// Of the neighbors.
    Neigh(NeighChange),
    /// Of one family's rules.
    Rules(RulesChange),
    /// Several changes of links, addresses, routes and neighbors, one after the other, in one transaction.
    Several {
        /// The changes.
        changes: Vec<Change>,
        /// Go on after one that can't be made. Else those before it are made, and nothing after it.
        #[serde(default)]
        force: bool,
    },
}

/// Why nothing has changed, or there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct Refusal {
    /// One sentence that says what to do.
    pub text: String,
    /// Which of the kernel's errors it would have been, by its name in errno(3), where there is one.
    pub errno: Option<&'static str>,
}

impl Refusal {
    /// What the kernel has an error for.
    pub fn of(errno: &'static str, text: impl Into<String>) -> Self {
        Refusal { text: text.into(), errno: Some(errno) }
    }

    /// The same in a sentence that can be shown to anybody: it may tell words that somebody has sent.
    #[must_use]
    pub fn plain(mut self) -> Self {
        /// Characters of a sentence at most.
        const LONGEST: usize = 480;
        if self.text.chars().nth(LONGEST).is_some() {
            self.text = self.text.chars().take(LONGEST).chain("…".chars()).collect();
        }
        if self.text.contains(char::is_control) {
            let escaped = |c: char| if c.is_control() { c.escape_debug().to_string() } else { c.into() };
            self.text = self.text.chars().map(escaped).collect();
        }
        self
    }
}

impl From<String> for Refusal {
    fn from(text: String) -> Self {
        Refusal { text, errno: None }
    }
}

impl From<&str> for Refusal {
    fn from(text: &str) -> Self {
        text.to_owned().into()
    }
}

impl From<super::Problems> for Refusal {
    /// The first of them, and how many more there are.
    fn from(problems: super::Problems) -> Self {
        let mut all = problems.iter();
        let first = all.next().map(ToString::to_string).unwrap_or_default();
        match all.count() {
            0 => first.into(),
            n => format!("{first} (and {n} more: `sekisho check` says all)").into(),
        }
    }
}
