//! Rooms whose last commit was asked for and not confirmed.
//!
//! Its connection is gone, but the server may not know that yet, and commit after all. Until then it holds the locks
//! of the rooms. So whoever wants to know where such a room ends waits for its lock.

use std::{
    collections::BTreeSet,
    sync::{Mutex, MutexGuard, PoisonError},
};

use chat_core::ids::RoomNo;

/// One commit as it concerns one room.
pub(super) type Mark = (RoomNo, u64);

/// Commits of which nobody knows, by room.
///
/// Whoever next has the lock of a room settles what was in doubt there: so it does not pile up.
#[derive(Debug, Default)]
pub(super) struct Doubts(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    marks: BTreeSet<Mark>,
    /// How many commits came in doubt so far.
    commits: u64,
}

/// A commit on its way. Unless it is settled its rooms are in doubt once it is dropped, and so before anybody is told
/// that there was no answer.
#[must_use]
pub(super) struct Doubt<'a> {
    doubts: &'a Doubts,
    rooms: Vec<RoomNo>,
}

impl Doubts {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A commit of these rooms is about to be asked for.
    pub(super) fn raise(&self, rooms: impl IntoIterator<Item = RoomNo>) -> Doubt<'_> {
        Doubt { doubts: self, rooms: rooms.into_iter().collect() }
    }

    /// Everything that is in doubt.
    pub(super) fn all(&self) -> Vec<Mark> {
        self.lock().marks.iter().copied().collect()
    }

    /// What is in doubt about these rooms.
    pub(super) fn about(&self, rooms: impl IntoIterator<Item = RoomNo>) -> Vec<Mark> {
        let inner = self.lock();
        if inner.marks.is_empty() {
            return Vec::new();
        }
        let marks = rooms.into_iter().flat_map(|room| inner.marks.range((room, 0)..=(room, u64::MAX)));
        marks.copied().collect()
    }

    /// These are over, one way or the other: somebody has had the locks of their rooms since.
    pub(super) fn settle(&self, marks: &[Mark]) {
        if !marks.is_empty() {
            let mut inner = self.lock();
            for mark in marks {
                inner.marks.remove(mark);
            }
        }
    }
}

impl Doubt<'_> {
    /// The answer came.
    pub(super) fn settle(mut self) {
        self.rooms.clear();
    }
}

impl Drop for Doubt<'_> {
    fn drop(&mut self) {
        if !self.rooms.is_empty() {
            let mut inner = self.doubts.lock();
            inner.commits += 1;
            let commit = inner.commits;
            inner.marks.extend(self.rooms.drain(..).map(|room| (room, commit)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_seen_in_doubt_is_settled() {
        let doubts = Doubts::default();
        let (first, second) = (RoomNo(1), RoomNo(2));
        doubts.raise([first, second]).settle();
        assert_eq!(doubts.about([first, second]), []);

        drop(doubts.raise([first, second]));
        let seen = doubts.about([first]);
        assert_eq!(seen, [(first, 1)]);
        drop(doubts.raise([first]));
        doubts.settle(&seen);
        assert_eq!(doubts.about([first]), [(first, 2)], "the later one is open still");
        assert_eq!(doubts.about([second]), [(second, 1)], "of another room nothing is known");
        assert_eq!(doubts.all(), [(first, 2), (second, 1)]);
    }
}
