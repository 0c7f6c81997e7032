//! Why an interface that is there can't be taken: looked at four times a second, said once.

use std::fmt::Display;

/// What was said last; nothing in the beginning.
#[derive(Debug, Default)]
pub(super) struct Complaint(String);

impl Complaint {
    /// Says why, if it is another reason than before.
    pub(super) fn say(&mut self, why: &impl Display) {
        let why = why.to_string();
        if self.0 != why {
            tracing::warn!("{why}");
            self.0 = why;
        }
    }
}
