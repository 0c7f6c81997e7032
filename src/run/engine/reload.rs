//! Whole states: out of a file, or out of what was in force before; and what waits to be confirmed.
//!
//! What `diff` says of a file is what a reload would do with it: both ask [`Engine::prepared`].

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::{Engine, flows};
use crate::base::Instant;
use crate::config::{self, Refusal, Setup};
use crate::control::Answer;
use crate::control::protocol::Reload;
use crate::control::view::Applied;
use crate::router::Comparison;

/// When to try again to put in force what can't be just now.
const AGAIN: Duration = Duration::from_secs(5);

/// How long a reload may ask to be confirmed within: a day.
const LONGEST_WAIT: u64 = 86_400;

/// What is put in force again if nobody confirms.
pub(super) struct Unconfirmed {
    /// When.
    pub(super) until: Instant,
    back_to: Arc<Setup>,
    /// The transaction that waits.
    number: u64,
}

impl Engine {
    pub(super) fn reload(&mut self, asked: &Reload) -> Result<Applied, Refusal> {
        if let Some(u) = &self.unconfirmed {
            let left = u.until.since(self.clock.now()).as_secs();
            return Err(Refusal::of(
                "EBUSY",
                format!(
                    "a reload waits to be confirmed for another {left} s: `sekisho confirm` it, or `sekisho rollback`"
                ),
            ));
        }
        if asked.confirm.is_some_and(|s| !(1..=LONGEST_WAIT).contains(&s)) {
            return Err(format!("--confirm takes 1 to {LONGEST_WAIT} seconds").into());
        }
        let before = self.setup.load_full();
        let next = self.prepared(asked.file.as_deref(), &before)?;
        self.fits(&before, &next)?;
        let notes = self.commit(next)?;
        if let Some(seconds) = asked.confirm {
            let until = self.clock.now() + Duration::from_secs(seconds);
            let number = self.history.number();
            self.unconfirmed = Some(Unconfirmed { until, back_to: before, number });
        }
        Ok(Applied { confirm_within: asked.confirm, ..self.applied(notes) })
    }

    /// What a file makes of the router, as far as can be said without asking the router whether it has room for it.
    fn prepared(&self, file: Option<&Path>, before: &Setup) -> Result<Setup, Refusal> {
        let config = config::load_meanwhile(self.named(file)?)?;
        Ok(Setup::build(config, Some(before))?)
    }

    /// The file that is meant. The router is at home in another directory than who asks.
    fn named<'a>(&'a self, file: Option<&'a Path>) -> Result<&'a Path, Refusal> {
        match file {
            None => Ok(&self.file),
            Some(file) if file.is_absolute() => Ok(file),
            Some(file) => {
                let text =
                    format!("the file '{}' is named by no path from the root: write one", file.display());
                Err(Refusal::of("EINVAL", text).plain())
            }
        }
    }

    /// Whether all that a state wants to be different can be while the router runs.
    fn fits(&self, now: &Setup, next: &Setup) -> Result<(), Refusal> {
        let mut wrong = config::fixed(&now.config, &next.config);
        let (max, room) = (next.config.conntrack.table.max, self.router.live().conntrack.room());
        if max > room {
            wrong.push(format!("[conntrack] max beyond {room}, for which the table was made,"));
        }
        if !wrong.is_empty() {
            let what = wrong.join(", ");
            return Err(format!("{what} can't change while the router runs: restart it for that").into());
        }
        self.has_room(next)
    }

    /// Whether there are places for all links.
    pub(super) fn has_room(&self, next: &Setup) -> Result<(), Refusal> {
        match next.links.bound() > self.router.room() {
            true => {
                Err(format!("there is room for {} links: delete some first", self.router.room() - 1).into())
            }
            false => Ok(()),
        }
    }

    /// What a reload would change, and why it would not, if it would not.
    pub(super) fn diff(&self, file: Option<PathBuf>, flows: bool) -> Answer {
        let now = self.setup.load_full();
        let next = match self.prepared(file.as_deref(), &now) {
            Ok(next) => next,
            Err(no) => return Answer::Refused(no),
        };
        let no = self.fits(&now, &next).and_then(|()| self.devices.look(&now, &next)).err();
        let room = self.router.live().conntrack.room();
        match (Answer::list(config::diff(&now, &next, room)), no) {
            (Answer::Parts(parts), Some(no)) => Answer::PartsBut(parts, no),
            (Answer::Parts(parts), None) if flows => {
                let states = &self.router.live().states;
                // Links that would come are up, as far as the file says so.
                let stays = |l: &crate::link::Link| {
                    now.links.get(l.id).is_some_and(|o| (&o.name, o.up) == (&l.name, l.up))
                };
                let up =
                    |id| next.links.get(id).is_some_and(|l| if stays(l) { states.is_up(id) } else { l.up });
                let snapshot = self.snapshot(&next, up);
                let compare = Comparison::new(&self.router, &snapshot, self.clock.now());
                Answer::Parts(Box::new(parts.chain(flows::differ(compare))))
            }
            (differ, _) => differ,
        }
    }

    pub(super) fn rollback(&mut self, steps: usize) -> Result<Applied, Refusal> {
        let to = match (steps, &self.unconfirmed) {
            (1, Some(u)) => u.back_to.clone(),
            _ => self.history.back(steps)?,
        };
        let since = self.unconfirmed.as_ref().filter(|_| steps == 1).map(|u| self.since(u));
        let now = self.setup.load_full();
        let mut notes = self.commit(to.again(&now)?)?;
        self.unconfirmed = None;
        if let Some(since) = since {
            notes.push(format!("the reload that waited to be confirmed is taken back{since}"));
        }
        Ok(self.applied(notes))
    }

    pub(super) fn confirm(&mut self) -> Answer {
        match self.unconfirmed.take() {
            Some(_) => Answer::Done(serde_json::Value::Null),
            None => Answer::no(
                "nothing waits to be confirmed: it was too late, or `reload` was not asked to wait",
            ),
        }
    }

    /// What to say to who makes a transaction while a reload waits to be confirmed: what may become of it.
    pub(super) fn told_what_waits(&self) -> Option<String> {
        let left = self.unconfirmed.as_ref()?.until.since(self.clock.now()).as_secs();
        Some(format!(
            "a reload waits to be confirmed for another {left} s: unless it is, this is taken back with it"
        ))
    }

    /// What is taken back with what waits to be confirmed, in words.
    fn since(&self, u: &Unconfirmed) -> String {
        match self.history.number().saturating_sub(u.number) {
            0 => String::new(),
            1 => ", and the change made since with it".to_owned(),
            n => format!(", and the {n} changes made since with it"),
        }
    }

    /// Nobody has confirmed: all is as it was before.
    pub(super) fn give_back(&mut self) {
        let now = self.clock.now();
        let Some(waited) = self.unconfirmed.take_if(|u| u.until <= now) else { return };
        let since = self.since(&waited);
        let current = self.setup.load_full();
        let back = waited.back_to.again(&current).map_err(Refusal::from).and_then(|setup| self.commit(setup));
        match back {
            Ok(_) => {
                tracing::warn!("nobody confirmed the reload: what was before it is in force again{since}");
            }
            Err(e) => {
                tracing::error!(
                    "nobody confirmed the reload, and what was before can't be in force again yet: {e}"
                );
                self.unconfirmed = Some(Unconfirmed { until: now + AGAIN, ..waited });
            }
        }
    }
}
