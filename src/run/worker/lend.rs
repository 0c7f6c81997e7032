//! How ports go from worker to worker: see [`gather`](crate::run::gather).

use std::io;

use mio::Poll;
use mio::unix::SourceFd;

use super::{Loop, Slot};
use crate::base::Instant;
use crate::run::gather::{Done, Part};

impl Loop {
    /// Lends the ports, or takes them home; takes those of others, or gives them back. Between two rounds, when all that came by
    /// them has been sent.
    pub(super) fn gather(&mut self, now: Instant, full_rounds: usize) -> io::Result<()> {
        let done = Done { busy: self.worker.load().busy.get(), answers: self.rest.answers() };
        match &mut self.ties.gather {
            Some(Part::Lender(lender)) => {
                if lender.has_lent() {
                    self.take_home(now)
                } else {
                    // What is handed over has to be back first, lest it is overtaken.
                    let lends = !self.slots.is_empty() && lender.lends(now, done);
                    if lends && !self.slots.iter().any(|s| s.shared) {
                        self.lend();
                    }
                    Ok(())
                }
            }
            Some(Part::First(first)) => {
                let too_much = first.is_too_much(now, done, full_rounds);
                if too_much || first.has_news() {
                    let everything = too_much || first.is_held();
                    self.take_loans();
                    self.give_back(everything);
                }
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn lend(&mut self) {
        let Some(Part::Lender(lender)) = &mut self.ties.gather else { return };
        let mut kept = Vec::new();
        for mut slot in self.slots.drain(..) {
            leave(&self.poll, &mut slot);
            let link = slot.link;
            match lender.lend(slot) {
                Ok(()) => self.away.push(link),
                // The first worker has ended, and so will this one.
                Err(slot) => kept.push(slot),
            }
        }
        self.slots = kept;
        lender.tell();
    }

    /// Takes what has come home, and sends what waited for it.
    pub(super) fn take_home(&mut self, now: Instant) -> io::Result<()> {
        let Some(Part::Lender(lender)) = &mut self.ties.gather else { return Ok(()) };
        let mut any = false;
        while let Some(mut slot) = lender.take_home(now) {
            slot.lender = None;
            self.away.retain(|link| *link != slot.link);
            self.slots.push(slot);
            any = true;
        }
        if any {
            self.check(now)?;
            self.flush(now);
        }
        Ok(())
    }

    /// Whether something is to be sent by ports that are away. They are asked for then.
    pub(super) fn wants_what_is_away(&self) -> bool {
        let Some(Part::Lender(lender)) = &self.ties.gather else { return false };
        let wants = self.away.iter().any(|link| self.worker.wants_transmit(*link));
        if wants {
            lender.want();
        }
        wants
    }

    fn take_loans(&mut self) {
        let Some(Part::First(first)) = &self.ties.gather else { return };
        while let Some((owner, slot)) = first.take() {
            self.slots.push(Slot { lender: Some(owner), ready: true, ..slot });
            // Then it is registered.
            self.next_check = Instant::ZERO;
        }
    }

    /// Gives back everything, or what is wanted. What is being shared stays until all of it is there, lest it is overtaken.
    fn give_back(&mut self, everything: bool) {
        let Some(Part::First(first)) = &self.ties.gather else { return };
        let goes = |slot: &mut Slot| {
            slot.lender.is_some_and(|owner| everything && !slot.shared || first.is_wanted(owner))
        };
        for mut slot in self.slots.extract_if(.., goes) {
            leave(&self.poll, &mut slot);
            if let Some(owner) = slot.lender {
                first.give_back(owner, slot);
            }
        }
    }

    /// Gives back whatever is another's, at once.
    pub(super) fn recall(&mut self) {
        self.take_loans();
        self.slots.iter_mut().for_each(|slot| slot.shared = false);
        self.give_back(true);
    }
}

/// Takes a port's descriptor out of the poll.
fn leave(poll: &Poll, slot: &mut Slot) {
    // One that is another by now left when it was closed.
    let is = slot.port.fd().map(|fd| (fd, slot.port.epoch()));
    if let Some((fd, _)) = slot.registered.take().filter(|was| Some(*was) == is) {
        // A file can't be there and not be taken out.
        poll.registry().deregister(&mut SourceFd(&fd)).ok();
    }
}
