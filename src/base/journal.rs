//! What happened lately, for those who follow it: bounded, and free when nobody does.
//!
//! Each follower has a place of its own in it. One who is too slow loses the oldest, and is told how many. Knows nothing of
//! what is written in it.

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A bounded list of what happened.
pub struct Journal<T> {
    followers: AtomicUsize,
    capacity: usize,
    pages: Mutex<Pages<T>>,
}

struct Pages<T> {
    kept: VecDeque<T>,
    /// The number of the first that is kept.
    first: u64,
}

impl<T> fmt::Debug for Journal<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Journal").field("followers", &self.followers).finish_non_exhaustive()
    }
}

impl<T: Clone> Journal<T> {
    /// An empty one that keeps `capacity` entries, 1 at least.
    pub fn new(capacity: usize) -> Self {
        let pages = Pages { kept: VecDeque::new(), first: 0 };
        Journal { followers: AtomicUsize::new(0), capacity: capacity.max(1), pages: Mutex::new(pages) }
    }

    /// Whether anybody follows it: who writes may ask before making an entry.
    #[inline]
    pub fn is_followed(&self) -> bool {
        self.followers.load(Relaxed) > 0
    }

    /// Writes an entry, if anybody follows.
    pub fn push(&self, entry: T) {
        if !self.is_followed() {
            return;
        }
        let mut pages = self.lock();
        if pages.kept.len() >= self.capacity {
            pages.kept.pop_front();
            pages.first += 1;
        }
        pages.kept.push_back(entry);
    }

    /// Follows it from now on.
    pub fn follow(self: &Arc<Self>) -> Follower<T> {
        let pages = self.lock();
        self.followers.fetch_add(1, Relaxed);
        let next = pages.first + pages.kept.len() as u64;
        drop(pages);
        Follower { journal: self.clone(), next }
    }

    fn lock(&self) -> MutexGuard<'_, Pages<T>> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Somebody who follows a journal. Dropping it ends the cost.
pub struct Follower<T: Clone> {
    journal: Arc<Journal<T>>,
    next: u64,
}

impl<T: Clone> Follower<T> {
    /// Up to `most` entries that have not been read, and how many before them were lost.
    pub fn read(&mut self, most: usize) -> (Vec<T>, u64) {
        let pages = self.journal.lock();
        let lost = pages.first.saturating_sub(self.next);
        self.next += lost;
        let from = usize::try_from(self.next - pages.first).unwrap_or(usize::MAX);
        let read: Vec<T> = pages.kept.iter().skip(from).take(most).cloned().collect();
        self.next += read.len() as u64;
        (read, lost)
    }
}

impl<T: Clone> Drop for Follower<T> {
    fn drop(&mut self) {
        let mut pages = self.journal.lock();
        if self.journal.followers.fetch_sub(1, Relaxed) == 1 {
            pages.first += pages.kept.len() as u64;
            pages.kept = VecDeque::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_written_only_while_somebody_follows() {
        let journal = Arc::new(Journal::new(3));
        journal.push(1);
        let mut one = journal.follow();
        journal.push(2);
        let mut other = journal.follow();
        journal.push(3);
        assert_eq!(one.read(9), (vec![2, 3], 0));
        assert_eq!(one.read(9), (vec![], 0));
        (4..=7).for_each(|n| journal.push(n));
        assert_eq!(other.read(2), (vec![5, 6], 2), "who is slow is told what is lost");
        assert_eq!(other.read(2), (vec![7], 0));
        drop((one, other));
        assert!(!journal.is_followed());
        journal.push(8);
        let mut late = journal.follow();
        assert_eq!(late.read(9), (vec![], 0));
        journal.push(9);
        assert_eq!(late.read(9), (vec![9], 0));
    }
}
